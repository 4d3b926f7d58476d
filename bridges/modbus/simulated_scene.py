"""What a simulated device measures: a house with sun, clouds, loads and a battery, day by day.

Everything follows from the clock and the seed, so two runs over the same time are alike. All
devices are under the same sky; the seed tells them apart. Powers add up, and energy counters are
the sums of the powers. Signs are those of the contract.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bridges.modbus.simulated_mains import Phase, mains_rates, mains_value
from bridges.modbus.simulated_sky import chance, load_w, sun, wander

Number = float | bool

_STEP_S, _COARSE_S = 60.0, 600.0
_DAY_S = 86400.0
_DEMAND_S = 900.0
# What had been counted before the first day that is lived: an average day, times the days.
_BUILT_S = 1_704_067_200.0  # 2024-01-01

_PV_PEAK_W = 3200.0
_BATTERY_WH = 15_360.0
_BATTERY_RATED_V = 48.0
_BATTERY_AH = 320.0
_CHARGE_LIMIT_W = 3000.0
_GRID_FROM_SOC, _GRID_TO_SOC = 0.15, 0.35
# From which state of charge on, the last first.
_STAGES = MappingProxyType({"float": 0.985, "absorption": 0.93, "bulk": 0.0, "equalize": -1.0})
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
        self.extremes: dict[str, tuple[float, float]] = {}  # of today
        self.counters = Counters()
        self._flow()
        self._begin()
        self._live_until(now_s, _COARSE_S)

    # ------------------------------------------------------------------ time

    def live_until(self, now_s: float) -> None:
        """Let time pass; a clock that was set back changes nothing but the clock."""
        if now_s - self.now_s > 2 * _DAY_S:
            self.now_s = now_s - now_s % _DAY_S  # a clock that jumped: do not live all of it
        self._live_until(now_s, _STEP_S)

    def _live_until(self, now_s: float, step_s: float) -> None:
        while self.now_s < now_s:
            self._live(min(step_s, now_s - self.now_s))
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
        self.now_s, self.soc, self.extremes = day_s, soc, {}
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
            self.extremes = {}
        self._flow()
        self.demand_w += (self.measured_w - self.demand_w) * min(1.0, step_s / _DEMAND_S)

    def _flow(self) -> None:
        """Balance the powers of this moment."""
        self.sun = sun(self.now_s)
        self.load_w = load_w(self.now_s, self.seed)
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
        self.grid_phases = [
            self._phase_of(self.grid_w / self.count, at) if self.on_grid else Phase(0.0, 0.0, 1.0)
            for at in range(self.count)
        ]
        self.measured_w = sum(phase.power_w for phase in self.phases)
        self.demand_max_w = max(self.demand_max_w, self.demand_w)
        self.peak_today_w = max(self.peak_today_w, self.pv_w)
        for name, now in (("battery", self.battery_v), ("pv", self.pv_v), ("soc", self.soc)):
            low, high = self.extremes.get(name, (now, now))
            self.extremes[name] = min(low, now), max(high, now)

    def _phase(self, at: int) -> Phase:
        shares = (1.0,) if self.count == 1 else (0.42, 0.33, 0.25)
        share = shares[(at + self.seed) % self.count]
        part = {
            "grid": self.load_w * share - (self.load_w - self.grid_w) / self.count,
            "pv": self.pv_w / self.count,
            "battery": self.battery_w / self.count,
            "other": self.load_w * share * 0.3,
        }
        return self._phase_of(part.get(self.role, self.load_w * share), at)

    def _phase_of(self, power_w: float, at: int) -> Phase:
        factor = 0.93 + 0.06 * wander(self.now_s, f"factor {at}", seed=self.seed, slow=True)
        volts = 229.0 + 3.0 * wander(self.now_s, f"volts {at}", seed=self.seed) - power_w / 2000.0
        return Phase(power_w=power_w, voltage_v=volts, factor=factor)

    def _rates(self) -> dict[str, float]:
        """Give what is counted in an hour, as Wh, varh, VAh, Ah and s, by the counters' names."""
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
            **{f"{stage}_s": 3600.0 * (stage == self.stage) for stage in _STAGES},
        }

    # ------------------------------------------------------------------ what is so

    @property
    def night(self) -> bool:
        """Tell whether the sun is down."""
        return self.sun < _DAWN

    @property
    def stage(self) -> str:
        """Give the stage of charging, "" at night."""
        stages = (stage for stage, least in _STAGES.items() if self.soc >= least)
        return "" if self.night else next(stages)

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
        return 49.97 + 0.06 * wander(self.now_s, "hertz", seed=self.seed)

    def texts(self, name: str) -> tuple[str, ...]:
        """Give the words that tell the state `name`, the best first."""
        if name in {"charge_state", "tracker_state"}:
            if not self.stage:
                return ("asleep", "night", "off", "idle")
            return (self.stage, "charging", "running")
        if name == "mode" and self.kind == "charger":
            return ("charging", "running") if self.stage else ("asleep", "off")
        if name == "mode":
            flow = "charging" if self.battery_w > 0.0 else "discharging"
            line = ("line", "support", "bypass") if self.on_grid else ()
            return (*line, *(() if self.kind == "battery" else ("inverting", "battery")), flow)
        return ("ok", "normal", "off", "none")

    def number(self, name: str) -> Number:
        """Give the number or truth called `name`, in the unit that its name ends in."""
        single = _INDEX.sub("", name)
        found = self._counted(single)
        if found is None and (told := _TABLE.get(name) or _TABLE.get(single)):
            found = told(self)
        if found is None:
            of_grid = single.startswith(("grid_", "input_"))
            phases = self.grid_phases if of_grid else self.phases
            hertz = self.mains_hz if self.on_grid or not of_grid else 0.0
            found = mains_value(single, phases, hertz)
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
        return place.get(name, 0.0) / (1.0 if name.endswith(("_ah", "_s")) else 1000.0)

    def _usual(self, name: str) -> Number:
        """Give what nothing else tells: fixed by the name and the seed, and harmless."""
        if name.endswith(("_code", "_count", "_today_min")) or "_" not in name:
            return 0
        unit = name.rpartition("_")[2]
        low, high = _USUAL.get(unit, (0.0, 0.0))
        return round(low + (high - low) * chance(f"{self.seed} {name}"), 1)


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
        "pv_max_today_v": lambda s: s.extremes["pv"][1],
        "pv_peak_w": lambda _: _PV_PEAK_W,
        "pv_peak_today_w": lambda s: s.peak_today_w,
        "pv_peak_yesterday_w": lambda s: s.peak_yesterday_w,
        "battery_v": lambda s: s.battery_v,
        "battery_average_v": lambda s: s.battery_v,
        "battery_sense_v": lambda s: s.battery_v + 0.02,
        "battery_min_v": lambda s: s.extremes["battery"][0] - 2.0,
        "battery_max_v": lambda s: s.extremes["battery"][1] + 1.5,
        "battery_min_today_v": lambda s: s.extremes["battery"][0],
        "battery_max_today_v": lambda s: s.extremes["battery"][1],
        "battery_a": lambda s: s.battery_a,
        "battery_average_a": lambda s: s.battery_a,
        "battery_w": lambda s: s.charger_w if s.kind == "charger" else s.battery_w,
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
        "soc_min_today_percent": lambda s: s.extremes["soc"][0] * 100.0,
        "soc_max_today_percent": lambda s: s.extremes["soc"][1] * 100.0,
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
        "output_on": lambda _: True,
        "switched_on": lambda _: True,
        "charge_limit_v": lambda _: 57.6,
        "discharge_limit_v": lambda _: 44.0,
        "discharge_limit_a": lambda _: 100.0,
        "grid_limit_a": lambda _: 16.0,
        "charge_limit_w": lambda _: _CHARGE_LIMIT_W,
        "discharge_limit_w": lambda _: _CHARGE_LIMIT_W,
        "soc_min_percent": lambda _: 10.0,
        "soc_max_percent": lambda _: 100.0,
        "sun_today_h": lambda s: float(s.number("yield_today_kwh")) / (_PV_PEAK_W / 1000.0),
        "grid_connected": lambda s: s.on_grid,
        "grid_present": lambda s: s.on_grid,
        "operating_h": lambda s: max(0.0, (s.now_s - _BUILT_S) / 3600.0),
        "output_peak_today_w": lambda s: s.peak_today_w * 0.97,
        "battery_terminal_v": lambda s: s.battery_v + 0.03,
        "battery_absorption_v": lambda _: 57.6,
        "battery_float_v": lambda _: 54.0,
        "equalization_v": lambda _: 58.4,
        "absorption_min": lambda _: 180.0,
        "charge_limit_a": lambda _: 60.0,
        "heatsink_c": lambda s: 26.0 + s.pv_w / 160.0,
        "power_limit_percent": lambda _: 100.0,
        "supply_01_v": lambda _: 12.1,
        "supply_02_v": lambda _: 3.3,
        "supply_03_v": lambda _: 5.0,
        "supply_04_v": lambda _: 1.8,
        "supply_05_v": lambda _: 1.5,
    }
)
