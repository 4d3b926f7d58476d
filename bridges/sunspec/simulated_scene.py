"""What simulated SunSpec devices measure: a house with sun, clouds, loads, and maybe a battery.

Everything follows from the clock and the seed, however often it is looked at. Powers add up, and
energies are the sums of the powers. Battery power is positive while charging, grid power while
importing.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

_STEP_S, _DAY_S = 60.0, 86400.0
_CLOUD_S, _LOAD_S = 420.0, 90.0
# What had been counted before the first day that is lived.
_BUILT_S = 1_704_067_200.0  # 2024-01-01
_FROM_SOC, _TO_SOC = 0.15, 0.35


@dataclass(frozen=True, slots=True)
class Size:
    """How large a house is; without a battery it leans on the grid."""

    pv_w: float = 6000.0
    battery_wh: float = 0.0
    charge_w: float = 6000.0
    load: float = 1.0
    rated_v: float = 48.0


@dataclass
class Energies:
    """Sums of powers in Wh."""

    pv: float = 0.0
    load: float = 0.0
    charged: float = 0.0
    discharged: float = 0.0
    imported: float = 0.0
    exported: float = 0.0

    def add(self, house: "House", hours: float) -> None:
        """Let the powers of this moment count for some hours."""
        self.pv += house.pv_w * hours
        self.load += house.load_w * hours
        self.charged += max(0.0, house.battery_w) * hours
        self.discharged += max(0.0, -house.battery_w) * hours
        self.imported += max(0.0, house.grid_w) * hours
        self.exported += max(0.0, -house.grid_w) * hours


class House:
    """The flows of a house at `now_s` (seconds since 1970, taken as local time).

    `on_grid`: the grid, or off-grid the generator, carries the load and charges.
    """

    def __init__(self, size: Size, *, now_s: float, seed: int = 1) -> None:
        self.size = size
        self.seed = seed
        self.now_s = now_s - now_s % _DAY_S
        self.soc = 0.55
        self.on_grid = not size.battery_wh
        days = max(0.0, (self.now_s - _BUILT_S) / _DAY_S)
        daily_wh = 4.2 * size.pv_w, 14_000.0 * size.load
        self.total = Energies(daily_wh[0] * days, daily_wh[1] * days)
        if size.battery_wh:
            self.total.charged = self.total.discharged = daily_wh[1] * days / 2
        else:
            self.total.imported = self.total.load / 2
            self.total.exported = self.total.pv - self.total.load + self.total.imported
        self.today = Energies()
        self.soc_range = self.volt_range = (0.0, 0.0)
        self.low_s = self.high_s = self.now_s
        self._flow()
        self._begin_day()
        self.live_until(now_s)

    @property
    def battery_v(self) -> float:
        """Give the battery voltage: it follows the charge, and sags under load."""
        share = self.battery_w / self.size.charge_w
        return self.size.rated_v * (1.03 + 0.1 * self.soc + 0.03 * share)

    @property
    def battery_a(self) -> float:
        """Give the battery current, positive while charging."""
        return self.battery_w / self.battery_v

    @property
    def time(self) -> datetime:
        """Give the time in the house."""
        return datetime.fromtimestamp(self.now_s, UTC)

    def live_until(self, now_s: float) -> None:
        """Let time pass; a clock that was set back changes nothing but the clock."""
        if now_s - self.now_s > 2 * _DAY_S:
            self.now_s = now_s - now_s % _DAY_S  # a clock that jumped: do not live all of it
            self._begin_day()
        while self.now_s < now_s:
            # Always at the same moments, so that it does not matter who looks when.
            self._live(min(self.now_s - self.now_s % _STEP_S + _STEP_S, now_s))
        self.now_s = now_s

    def _live(self, until_s: float) -> None:
        hours = (until_s - self.now_s) / 3600.0
        self.total.add(self, hours)
        self.today.add(self, hours)
        if self.size.battery_wh:
            soc = self.soc + self.battery_w * hours / self.size.battery_wh
            self.soc = min(1.0, max(0.05, soc))
        day, self.now_s = self.now_s // _DAY_S, until_s
        self._flow()
        if self.now_s // _DAY_S != day:
            self._begin_day()
        self._note()

    def _begin_day(self) -> None:
        self.today = Energies()
        self.soc_range = (self.soc, self.soc)
        self.volt_range = (self.battery_v, self.battery_v)
        self.low_s = self.high_s = self.now_s

    def _note(self) -> None:
        low, high = self.volt_range
        if self.battery_v < low:
            low, self.low_s = self.battery_v, self.now_s
        if self.battery_v > high:
            high, self.high_s = self.battery_v, self.now_s
        self.volt_range = low, high
        self.soc_range = min(self.soc, self.soc_range[0]), max(self.soc, self.soc_range[1])

    def _flow(self) -> None:
        """Balance the powers of this moment."""
        self.load_w = self._load_w()
        sun_w = self.size.pv_w * self._sun() * self._clouds()
        if not self.size.battery_wh:
            self.pv_w, self.battery_w = sun_w, 0.0
            self.grid_w = self.load_w - self.pv_w
            return
        self.on_grid = self.soc < (_TO_SOC if self.on_grid else _FROM_SOC)
        room_w = self.size.charge_w * min(1.0, (1.0 - self.soc) * 12.0)
        source_w = self.load_w + 0.3 * room_w if self.on_grid else 0.0
        self.pv_w = min(sun_w, self.load_w - source_w + room_w)
        self.grid_w = source_w
        self.battery_w = self.pv_w + source_w - self.load_w

    def _sun(self) -> float:
        height = math.sin(math.pi * (self.now_s % _DAY_S / 3600.0 - 6.0) / 13.0)
        return float(max(0.0, height) ** 1.3)

    def _clouds(self) -> float:
        return 1.0 - 0.75 * max(0.0, self._wander("clouds", _CLOUD_S) - 0.45) / 0.55

    def _load_w(self) -> float:
        hour = self.now_s % _DAY_S / 3600.0
        habit_w = sum(
            peak_w * math.exp(-(((hour - at) / width) ** 2))
            for at, width, peak_w in ((7.5, 1.0, 700.0), (13.0, 1.5, 450.0), (20.0, 2.2, 900.0))
        )
        return self.size.load * (260.0 + habit_w + 120.0 * self._wander("load", _LOAD_S))

    def _wander(self, what: str, period_s: float) -> float:
        """Give smooth noise from 0 to 1 that depends on nothing but the time and the seed."""
        at, part = divmod(self.now_s / period_s, 1.0)
        ends = [Random(f"{self.seed} {what} {at + k:.0f}").random() for k in (0, 1)]  # noqa: S311
        smooth = part * part * (3.0 - 2.0 * part)
        return ends[0] + (ends[1] - ends[0]) * smooth
