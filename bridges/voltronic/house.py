"""A small off-grid house for the simulator: sun, clouds, loads and a battery, day by day.

Everything follows from the clock and the seed, so two runs over the same time are alike. Power
flows add up, and the energy counters are the sums of the flows.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

PV_PEAK_W = 5200.0
BATTERY_WH = 15_360.0
BATTERY_RATED_V = 48.0
CHARGE_LIMIT_W = 3800.0
# The grid (or a generator) takes over below the first, and lets go above the second.
GRID_FROM_SOC = 0.15
GRID_TO_SOC = 0.35

_STEP_S = 60.0
_DAY_S = 86400.0
_CLOUD_S = 420.0
_LOAD_S = 90.0
_FRIDGE_S = 2400.0
_FRIDGE_ON_S = 900.0
# What had been counted before the simulation began.
_EARLIER_WH = 6_345_200.0
_PER_DAY_WH = 14_600.0


@dataclass
class Counter:
    """One energy in Wh: of all time, this year, this month, today."""

    total_wh: float = _EARLIER_WH
    year_wh: float = 0.0
    month_wh: float = 0.0
    today_wh: float = 0.0

    def begin(self, day: datetime) -> None:
        """Count what the days before this one brought."""
        self.month_wh = (day.day - 1) * _PER_DAY_WH
        self.year_wh = (day.timetuple().tm_yday - 1) * _PER_DAY_WH
        self.total_wh = _EARLIER_WH + self.year_wh

    def roll(self, before: datetime, now: datetime) -> None:
        """Begin a new day, month or year."""
        if now.date() != before.date():
            self.today_wh = 0.0
        if (now.year, now.month) != (before.year, before.month):
            self.month_wh = 0.0
        if now.year != before.year:
            self.year_wh = 0.0

    def add(self, energy_wh: float) -> None:
        """Count energy."""
        self.total_wh += energy_wh
        self.year_wh += energy_wh
        self.month_wh += energy_wh
        self.today_wh += energy_wh


@dataclass
class House:
    """The flows of the house at `now_s` (seconds since 1970, taken as local time).

    `battery_w` is positive while charging, `grid_w` while importing.
    """

    now_s: float
    seed: int = 1
    soc: float = 0.58
    pv_w: float = 0.0
    load_w: float = 0.0
    battery_w: float = 0.0
    grid_w: float = 0.0
    on_grid: bool = False
    pv: Counter = field(default_factory=Counter)
    load: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Live through today until now."""
        now_s, self.now_s = self.now_s, self.now_s - self.now_s % _DAY_S
        self.pv.begin(self.time)
        self.load.begin(self.time)
        self._flow()
        self.live_until(now_s)

    @property
    def time(self) -> datetime:
        """Give the time in the house."""
        return datetime.fromtimestamp(self.now_s, UTC)

    @property
    def battery_v(self) -> float:
        """Give the battery voltage: it follows the charge, and sags under load."""
        return BATTERY_RATED_V + 1.5 + 5.0 * self.soc + self.battery_w / 2500.0

    def live_until(self, now_s: float) -> None:
        """Let time pass; a clock that was set back changes nothing but the clock."""
        if now_s - self.now_s > 2 * _DAY_S:
            self.now_s = now_s - now_s % _DAY_S  # a clock that jumped: do not live all of it
        while self.now_s < now_s:
            self._live(min(_STEP_S, now_s - self.now_s))
        self.now_s = now_s

    def _live(self, step_s: float) -> None:
        before = self.time
        hours = step_s / 3600.0
        self.pv.add(self.pv_w * hours)
        self.load.add(self.load_w * hours)
        self.soc = min(1.0, max(0.05, self.soc + self.battery_w * hours / BATTERY_WH))
        self.now_s += step_s
        self.pv.roll(before, self.time)
        self.load.roll(before, self.time)
        self._flow()

    def _flow(self) -> None:
        """Balance the powers of this moment."""
        self.load_w = self._load_w()
        self.on_grid = self.soc < (GRID_TO_SOC if self.on_grid else GRID_FROM_SOC)
        sun_w = PV_PEAK_W * self._sun() * self._clouds()
        room_w = CHARGE_LIMIT_W * min(1.0, (1.0 - self.soc) * 12.0)
        self.grid_w = self.load_w if self.on_grid else 0.0
        self.pv_w = min(sun_w, self.load_w - self.grid_w + room_w)
        self.battery_w = self.pv_w + self.grid_w - self.load_w

    def _hour(self) -> float:
        return self.now_s % _DAY_S / 3600.0

    def _sun(self) -> float:
        height = math.sin(math.pi * (self._hour() - 6.0) / 13.0)
        return float(max(0.0, height) ** 1.3)

    def _clouds(self) -> float:
        return 1.0 - 0.75 * max(0.0, self._wander("clouds", _CLOUD_S) - 0.45) / 0.55

    def _load_w(self) -> float:
        hour = self._hour()
        habit_w = sum(
            peak_w * math.exp(-(((hour - at) / width) ** 2))
            for at, width, peak_w in ((7.5, 1.0, 700.0), (13.0, 1.5, 450.0), (20.0, 2.2, 900.0))
        )
        fridge_w = 140.0 if self.now_s % _FRIDGE_S < _FRIDGE_ON_S else 0.0
        return 240.0 + habit_w + fridge_w + 120.0 * self._wander("load", _LOAD_S)

    def _wander(self, what: str, period_s: float) -> float:
        """Give smooth noise from 0 to 1 that depends on nothing but the time and the seed."""
        at, part = divmod(self.now_s / period_s, 1.0)
        ends = [Random(f"{self.seed} {what} {at + k:.0f}").random() for k in (0, 1)]  # noqa: S311
        smooth = part * part * (3.0 - 2.0 * part)
        return ends[0] + (ends[1] - ends[0]) * smooth
