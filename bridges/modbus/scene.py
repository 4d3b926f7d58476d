"""What a simulated device measures: a house with sun, clouds, loads and a battery, day by day.

Everything follows from the clock and the seed, so two runs over the same time are alike. All
devices are under the same sky; the seed tells them apart. Powers add up, and energy counters are
the sums of the powers. Signs are those of the contract.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from types import MappingProxyType

from bridges.modbus.mains import Phase, mains_rates, mains_value

Number = float | bool

_STEP_S, _COARSE_S = 60.0, 600.0
_DAY_S = 86400.0
_CLOUD_S = 420.0
_LOAD_S = 90.0
_DEMAND_S = 900.0
# What had been counted before the first day that is lived: an average day, times the days.
_BUILT_S = 1_704_067_200.0  # 2024-01-01

_PV_PEAK_W = 3200.0
_BATTERY_WH = 15_360.0
_BATTERY_RATED_V = 48.0
_BATTERY_AH = 320.0
_CHARGE_LIMIT_W = 3000.0
_GRID_FROM_SOC, _GRID_TO_SOC = 0.15, 0.35
_ABSORPTION_SOC, _FLOAT_SOC = 0.93, 0.985
_DAWN = 0.01
_STORES = frozenset({"charger", "inverter", "battery"})

_INDEX = re.compile(r"_\d\d(?=_)")
_SPAN = re.compile(r"_(today|yesterday|week|month|year|partial|resettable)(?=_)")


@dataclass
class Counters:
    """Sums of rates over time, by name: of all time, of today, and of yesterday."""

    total: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    today: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    yesterday: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, rates: Mapping[str, float], hours: float) -> None:
        """Let each rate count for some hours."""
        for name, rate in rates.items():
            self.total[name] += rate * hours
            self.today[name] += rate * hours

    def new_day(self) -> None:
        """Put today away as yesterday."""
        self.yesterday, self.today = self.today, defaultdict(float)


class Scene:
    """What one device measures at `now_s` (seconds since 1970, taken as local time).

    `role` is that of a meter; `phases` 1 or 3. `live_until` moves the time, `number` and `texts`
    tell what is so.
    """

    def __init__(
        self, kind: str, *, role: str = "", phases: int = 1, now_s: float, seed: int = 1
    ) -> None:
        self.kind = kind
        self.role = role or "load"
        self.count = phases
        self.seed = seed
        self.now_s = now_s - now_s % _DAY_S
        self.soc = 0.5 + 0.02 * (seed % 10)
        self.on_grid = False
        self.demand_w = self.demand_max_w = 0.0
        self.peak_today_w = self.peak_yesterday_w = 0.0
        self.low_v, self.high_v = math.inf, -math.inf
        self.counters = Counters()
        self._flow()
        self._begin()
        self.live_until(now_s)

    # ------------------------------------------------------------------ time

    def live_until(self, now_s: float) -> None:
        """Let time pass; a clock that was set back changes nothing but the clock."""
        if now_s - self.now_s > 2 * _DAY_S:
            self.now_s = now_s - now_s % _DAY_S  # a clock that jumped: do not live all of it
        while self.now_s < now_s:
            self._live(min(_STEP_S, now_s - self.now_s))
        self.now_s = now_s
        self._flow()

    def _begin(self) -> None:
        """Count what the days before this one brought: each as much as the first."""
        day_s, soc = self.now_s, self.soc
        self.now_s = _BUILT_S
        while self.now_s < _BUILT_S + _DAY_S:
            self._flow()
            self.counters.add(self._rates(), _COARSE_S / 3600.0)
            self.now_s += _COARSE_S
        days = max(0.0, (day_s - _BUILT_S) / _DAY_S)
        before = {name: count * days for name, count in self.counters.total.items()}
        self.counters = Counters(total=before, yesterday=self.counters.today)
        self.now_s, self.soc = day_s, soc
        self.peak_yesterday_w, self.peak_today_w = self.peak_today_w, 0.0
        self._flow()

    def _live(self, step_s: float) -> None:
        self.counters.add(self._rates(), step_s / 3600.0)
        self.soc += self.battery_w * step_s / 3600.0 / _BATTERY_WH
        self.soc = min(1.0, max(0.05, self.soc))
        day = self.now_s // _DAY_S
        self.now_s += step_s
        if self.now_s // _DAY_S != day:
            self.counters.new_day()
            self.peak_yesterday_w, self.peak_today_w = self.peak_today_w, 0.0
            self.low_v, self.high_v = math.inf, -math.inf
        self._flow()
        self.demand_w += (self.measured_w - self.demand_w) * min(1.0, step_s / _DEMAND_S)

    def _flow(self) -> None:
        """Balance the powers of this moment."""
        self.sun = self._height() * self._clouds()
        self.load_w = self._load_w()
        sun_w = _PV_PEAK_W * self.sun * (1.0 - 0.01 * (self.seed % 7))
        if self.kind in _STORES:
            self.on_grid = self.soc < (_GRID_TO_SOC if self.on_grid else _GRID_FROM_SOC)
            room_w = _CHARGE_LIMIT_W * min(1.0, (1.0 - self.soc) * 12.0)
            self.grid_w = self.load_w if self.on_grid else 0.0
            self.pv_w = min(sun_w, self.load_w - self.grid_w + room_w)
            self.battery_w = self.pv_w + self.grid_w - self.load_w
        else:
            self.on_grid, self.pv_w, self.battery_w = True, sun_w, 0.0
            self.grid_w = self.load_w - self.pv_w
        self.phases = [self._phase(at) for at in range(self.count)]
        self.measured_w = sum(phase.power_w for phase in self.phases)
        self.demand_max_w = max(self.demand_max_w, self.demand_w)
        self.peak_today_w = max(self.peak_today_w, self.pv_w)
        self.low_v, self.high_v = min(self.low_v, self.battery_v), max(self.high_v, self.battery_v)

    def _phase(self, at: int) -> Phase:
        shares = (1.0,) if self.count == 1 else (0.42, 0.33, 0.25)
        share = shares[(at + self.seed) % self.count]
        part = {
            "grid": self.load_w * share - (self.load_w - self.grid_w) / self.count,
            "pv": self.pv_w / self.count,
            "battery": self.battery_w / self.count,
            "other": self.load_w * share * 0.3,
        }
        power_w = part.get(self.role, self.load_w * share)
        factor = 0.93 + 0.06 * self._wander(f"factor {at}", _CLOUD_S)
        volts = 229.0 + 3.0 * self._wander(f"volts {at}", _LOAD_S) - power_w / 2000.0
        return Phase(power_w=power_w, voltage_v=volts, factor=factor)

    def _rates(self) -> dict[str, float]:
        """Give what is counted, as W, var, VA and A, by the names of the counters."""
        charge_w, discharge_w = max(0.0, self.battery_w), max(0.0, -self.battery_w)
        if self.kind == "charger":
            charge_w, discharge_w = self.charger_w, 0.0
        return {
            **mains_rates(self.phases),
            "yield_kwh": self.pv_w,
            "pv_yield_kwh": self.pv_w,
            "load_kwh": self.load_w,
            "output_kwh": self.load_w,
            "grid_import_kwh": max(0.0, self.grid_w),
            "grid_export_kwh": max(0.0, -self.grid_w),
            "charged_kwh": charge_w,
            "discharged_kwh": discharge_w,
            "charged_ah": charge_w / self.battery_v,
            "discharged_ah": discharge_w / self.battery_v,
        }

    # ------------------------------------------------------------------ what is so

    @property
    def night(self) -> bool:
        """Tell whether the sun is down."""
        return self.sun < _DAWN

    @property
    def charger_w(self) -> float:
        """Give what a charge controller puts into the battery."""
        return self.pv_w * 0.97

    @property
    def battery_v(self) -> float:
        """Give the battery voltage: it follows the charge, and sags under load."""
        return _BATTERY_RATED_V + 1.5 + 5.0 * self.soc + self.battery_w / 2500.0

    @property
    def battery_a(self) -> float:
        """Give the current of the battery; of a charge controller, its own."""
        if self.kind == "charger":
            # At night its measurement is some counts below zero, as recorded of a TriStar.
            return -0.01 if self.night else self.charger_w / self.battery_v
        return self.battery_w / self.battery_v

    @property
    def pv_v(self) -> float:
        """Give the voltage of the panels."""
        return 3.0 if self.night else 88.0 + 14.0 * self.sun

    @property
    def mains_hz(self) -> float:
        """Give the frequency of the mains."""
        return 49.97 + 0.06 * self._wander("hertz", _LOAD_S)

    def texts(self, name: str) -> tuple[str, ...]:
        """Give the words that tell the state `name`, the best first."""
        if name in {"charge_state", "tracker_state"}:
            if self.night:
                return ("asleep", "night", "off", "idle")
            stages = ((_FLOAT_SOC, "float"), (_ABSORPTION_SOC, "absorption"), (0.0, "bulk"))
            stage = next(word for least, word in stages if self.soc >= least)
            return (stage, "charging", "running")
        if name == "mode" and self.on_grid:
            return ("line", "support", "bypass", "charging", "running")
        if name == "mode":
            return ("charging", "inverting") if self.kind == "battery" else ("inverting", "battery")
        return ("ok", "normal", "off", "none")

    def number(self, name: str) -> Number:
        """Give the number or truth called `name`, in the unit that its name ends in."""
        single = _INDEX.sub("", name)
        found = self._counted(single)
        if found is None and single in _TABLE:
            found = _TABLE[single](self)
        if found is None:
            found = mains_value(single, self.phases, self.mains_hz)
        if found is None:
            return self._usual(name)
        shared = single != name and single.startswith("pv_") and not single.endswith("_v")
        return found / 2 if shared else found  # there are two strings

    def _counted(self, name: str) -> float | None:
        span = _SPAN.search(name)
        name = _SPAN.sub("", name).removeprefix("tariff_").removeprefix("channel_")
        places = {"today": self.counters.today, "yesterday": self.counters.yesterday}
        place = places.get(span[1], self.counters.total) if span else self.counters.total
        if name not in self.counters.total:
            return None
        return place.get(name, 0.0) / (1.0 if name.endswith("_ah") else 1000.0)

    def _usual(self, name: str) -> Number:
        """Give what nothing else tells: fixed by the name and the seed, and harmless."""
        if name.endswith(("_code", "_count", "_today_min")) or "_" not in name:
            return 0
        unit = name.rpartition("_")[2]
        low, high = _USUAL.get(unit, (0.0, 0.0))
        return round(low + (high - low) * Random(f"{self.seed} {name}").random(), 1)  # noqa: S311

    # ------------------------------------------------------------------ the sky and the habits

    def _hour(self) -> float:
        return self.now_s % _DAY_S / 3600.0

    def _height(self) -> float:
        return float(max(0.0, math.sin(math.pi * (self._hour() - 6.0) / 13.0)) ** 1.3)

    def _clouds(self) -> float:
        return 1.0 - 0.75 * max(0.0, self._wander("clouds", _CLOUD_S, seed=0) - 0.45) / 0.55

    def _load_w(self) -> float:
        hour = self._hour()
        habit_w = sum(
            peak_w * math.exp(-(((hour - at) / width) ** 2))
            for at, width, peak_w in ((7.5, 1.0, 600.0), (13.0, 1.5, 350.0), (20.0, 2.2, 800.0))
        )
        return 190.0 + 12.0 * (self.seed % 9) + habit_w + 120.0 * self._wander("load", _LOAD_S)

    def _wander(self, what: str, period_s: float, *, seed: int | None = None) -> float:
        """Give smooth noise from 0 to 1 that depends on nothing but the time and the seed."""
        at, part = divmod(self.now_s / period_s, 1.0)
        seed = self.seed if seed is None else seed
        ends = [Random(f"{seed} {what} {at + k:.0f}").random() for k in (0, 1)]  # noqa: S311
        smooth = part * part * (3.0 - 2.0 * part)
        return ends[0] + (ends[1] - ends[0]) * smooth


# Of what nothing else is known, by the unit that the name ends in.
_USUAL: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"c": (24.0, 36.0), "percent": (5.0, 60.0), "hz": (49.9, 50.1), "v": (46.0, 54.0)}
)

_TABLE: Mapping[str, Callable[[Scene], Number]] = MappingProxyType(
    {
        "pv_w": lambda s: s.pv_w,
        "pv_v": lambda s: s.pv_v,
        "pv_a": lambda s: s.pv_w / s.pv_v,
        "pv_open_circuit_v": lambda s: s.pv_v * 1.22,
        "pv_mpp_v": lambda s: s.pv_v,
        "pv_mpp_w": lambda s: _PV_PEAK_W * s.sun,
        "pv_max_v": lambda _: 128.4,
        "pv_max_today_v": lambda _: 122.0,
        "pv_peak_w": lambda _: _PV_PEAK_W,
        "pv_peak_today_w": lambda s: s.peak_today_w,
        "pv_peak_yesterday_w": lambda s: s.peak_yesterday_w,
        "battery_v": lambda s: s.battery_v,
        "battery_average_v": lambda s: s.battery_v,
        "battery_sense_v": lambda s: s.battery_v + 0.02,
        "battery_min_v": lambda s: s.low_v - 2.0,
        "battery_max_v": lambda s: s.high_v + 1.5,
        "battery_min_today_v": lambda s: s.low_v,
        "battery_max_today_v": lambda s: s.high_v,
        "battery_a": lambda s: s.battery_a,
        "battery_average_a": lambda s: s.battery_a,
        "battery_w": lambda s: s.battery_a * s.battery_v,
        "battery_charge_w": lambda s: max(0.0, s.battery_a * s.battery_v),
        "battery_charge_a": lambda s: max(0.0, s.battery_a),
        "battery_discharge_a": lambda s: max(0.0, -s.battery_a),
        "battery_discharge_w": lambda s: max(0.0, -s.battery_a * s.battery_v),
        "battery_c": lambda _: 23.0,
        "battery_min_today_c": lambda _: 21.0,
        "battery_max_today_c": lambda _: 24.0,
        "battery_rated_v": lambda _: _BATTERY_RATED_V,
        "battery_percent": lambda s: s.soc * 100.0,
        "charge_target_v": lambda s: 0.0 if s.night else 57.6,
        "soc_percent": lambda s: s.soc * 100.0,
        "soc_min_today_percent": lambda _: 20.0,
        "soc_max_today_percent": lambda _: 100.0,
        "soh_percent": lambda _: 98.0,
        "remaining_ah": lambda s: s.soc * _BATTERY_AH,
        "capacity_ah": lambda _: _BATTERY_AH,
        "consumed_ah": lambda s: (s.soc - 1.0) * _BATTERY_AH,
        "remaining_kwh": lambda s: s.soc * _BATTERY_WH / 1000.0,
        "capacity_kwh": lambda _: _BATTERY_WH / 1000.0,
        "time_to_empty_min": lambda s: 60.0 * s.soc * _BATTERY_WH / max(50.0, s.load_w),
        "charging": lambda s: s.battery_w > 1.0,
        "discharging": lambda s: s.battery_w < -1.0,
        "load_w": lambda s: s.load_w,
        "load_percent": lambda s: s.load_w / 50.0,
        "output_percent": lambda s: s.load_w / 50.0,
        "grid_w": lambda s: s.grid_w,
        "grid_import_w": lambda s: max(0.0, s.grid_w),
        "grid_feed_w": lambda s: max(0.0, -s.grid_w),
        "input_w": lambda s: s.grid_w,
        "demand_w": lambda s: s.demand_w,
        "demand_max_w": lambda s: s.demand_max_w,
        "import_demand_w": lambda s: max(0.0, s.demand_w),
        "import_demand_max_w": lambda s: max(0.0, s.demand_max_w),
        "export_demand_w": lambda s: max(0.0, -s.demand_w),
        "is_on": lambda _: True,
        "grid_connected": lambda s: s.on_grid,
        "grid_present": lambda s: s.on_grid,
        "operating_h": lambda s: max(0.0, (s.now_s - _BUILT_S) / 3600.0),
        "absorption_today_s": lambda _: 4380.0,
        "float_today_s": lambda _: 7210.0,
        "equalize_today_s": lambda _: 0.0,
        "heatsink_c": lambda s: 26.0 + s.pv_w / 160.0,
        "power_limit_percent": lambda _: 100.0,
        "device_time_s": lambda s: datetime.fromtimestamp(s.now_s, UTC).timestamp(),
    }
)
