"""What a simulated device shows of its part of the house, in the words of the contract.

The house has the powers; of the device are its phases and their power factors, what it counts,
and the lowest and highest of its day. Signs are those of the contract.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bridges.modbus.simulated_mains import Phase, mains_rates, mains_value
from bridges.modbus.simulated_part import PV_PEAK_W, Part
from heliobus.house import RATED_V, chance, wander

Number = float | bool

_DEMAND_S: Final = 900.0
_FACTOR_S: Final = 420.0
_LIMIT_W: Final = 3000.0
_BUILT_S: Final = 1_704_067_200.0  # 2024-01-01
# What it carries of the load, of three phases.
_SHARES: Final = (0.42, 0.33, 0.25)
# From which state of charge on, the last first.
_STAGES = MappingProxyType({"float": 0.985, "absorption": 0.93, "bulk": 0.0, "equalize": -1.0})

_INDEX = re.compile(r"_\d\d(?=_)")
_SPAN = re.compile(r"_(today|yesterday|week|month|year|partial|resettable)(?=_)")


class Scene:
    """What one device shows of the house while somebody has entered that.

    `role` is that of a meter; `phases` 1 or 3; the seed tells two devices apart. `number` and
    `texts` tell what is so.
    """

    def __init__(
        self, part: Part, kind: str, *, role: str = "", phases: int = 1, seed: int = 1
    ) -> None:
        self.part = part
        self.house = part.house
        self.kind = kind
        self.role = role or "load"
        self.count = phases
        self.seed = seed
        self.demand_w = self.demand_max_w = 0.0
        self.peak_today_w = self.peak_yesterday_w = 0.0
        self._noted_s = self.house.now_s
        self._extremes: dict[str, tuple[float, float]] = {}  # of today
        self._phases: tuple[float, Sequence[Phase]] = (-1.0, ())
        self.counters = self.house.count(self._rates)
        self.house.watch(self._note)

    # ------------------------------------------------------------------ time

    def _note(self, is_new_day: bool) -> None:  # noqa: FBT001 - as the house calls it
        step_s, self._noted_s = self.house.now_s - self._noted_s, self.house.now_s
        self.demand_w += (self.part.ac_w() - self.demand_w) * min(1.0, abs(step_s) / _DEMAND_S)
        self.demand_max_w = max(self.demand_max_w, self.demand_w)
        if is_new_day:
            self.peak_yesterday_w, self.peak_today_w = self.peak_today_w, 0.0
            self._extremes = {}
        self.peak_today_w = max(self.peak_today_w, self.part.pv_w())
        for name in ("battery", "pv", "soc"):
            self._extremes[name] = self.range_today(name)

    def range_today(self, name: str) -> tuple[float, float]:
        """Give the lowest and the highest of today."""
        now = {"battery": self.battery_v, "pv": self.pv_v, "soc": self.house.soc}[name]
        low, high = self._extremes.get(name, (now, now))
        return min(low, now), max(high, now)

    @property
    def phases(self) -> Sequence[Phase]:
        """Give what goes through it, or comes out of it, by phase."""
        if self._phases[0] != self.house.now_s:
            watts = self.part.ac_w()
            shares = [self._share(at) for at in range(self.count)]
            if self.role == "grid" and self.kind == "meter":  # loads lean, panels do not
                load_w = self.house.load_w
                split_w = [load_w * each - (load_w - watts) / self.count for each in shares]
            elif self.role in {"pv", "battery"}:
                split_w = [watts / self.count] * self.count
            else:
                split_w = [watts * each for each in shares]
            phases = [self._phase(power_w, at) for at, power_w in enumerate(split_w)]
            self._phases = self.house.now_s, phases
        return self._phases[1]

    @property
    def grid_phases(self) -> Sequence[Phase]:
        """Give what it takes from the mains, by phase."""
        if not self.house.on_mains:
            return [Phase(0.0, 0.0, 1.0)] * self.count
        return [self._phase(self.part.grid_w() / self.count, at) for at in range(self.count)]

    def _share(self, at: int) -> float:
        return 1.0 if self.count == 1 else _SHARES[(at + self.seed) % self.count]

    def _phase(self, power_w: float, at: int) -> Phase:
        now_s, seed = self.house.now_s, self.seed
        factor = 0.93 + 0.06 * wander(now_s, f"{seed} factor {at}", _FACTOR_S)
        volts = 229.0 + 3.0 * wander(now_s, f"{seed} volts {at}") - power_w / 2000.0
        return Phase(power_w=power_w, voltage_v=volts, factor=factor)

    def _rates(self) -> dict[str, float]:
        """Give what is counted in an hour, as Wh, varh, VAh, Ah and s, by the counters' names."""
        part = self.part
        charge_w, discharge_w = max(0.0, part.battery_w()), max(0.0, -part.battery_w())
        return {
            **mains_rates(self.phases),
            "yield_kwh": part.pv_w(),
            "pv_yield_kwh": part.pv_w(),
            "load_kwh": part.load_w(),
            "output_kwh": part.load_w(),
            "grid_import_kwh": max(0.0, part.grid_w()),
            "grid_export_kwh": max(0.0, -part.grid_w()),
            "charged_kwh": charge_w,
            "discharged_kwh": discharge_w,
            "charged_ah": charge_w / self.battery_v,
            "discharged_ah": discharge_w / self.battery_v,
            **{f"{stage}_s": 3600.0 * (stage == self.stage) for stage in _STAGES},
        }

    # ------------------------------------------------------------------ what is so

    @property
    def stage(self) -> str:
        """Give the stage of charging, "" at night."""
        stages = (stage for stage, least in _STAGES.items() if self.house.soc >= least)
        return "" if self.house.night else next(stages)

    @property
    def battery_v(self) -> float:
        """Give the battery voltage."""
        return self.house.battery_v

    @property
    def battery_a(self) -> float:
        """Give the current of the battery; of a charge controller, its own."""
        if self.kind == "charger" and self.house.night:
            return -0.01  # its measurement is some counts below zero, as recorded of a TriStar
        return self.part.battery_w() / self.battery_v

    @property
    def pv_v(self) -> float:
        """Give the voltage of the panels."""
        return 3.0 if self.house.night else 88.0 + 14.0 * self.house.sun

    @property
    def mains_hz(self) -> float:
        """Give the frequency of the mains."""
        return 49.97 + 0.06 * wander(self.house.now_s, f"{self.house.seed} hertz")

    def texts(self, name: str) -> tuple[str, ...]:
        """Give the words that tell the state `name`, the best first."""
        if name in {"charge_state", "tracker_state"}:
            if not self.stage:
                return ("asleep", "night", "off", "idle")
            return (self.stage, "charging", "running")
        if name == "mode" and self.kind == "charger":
            return ("charging", "running") if self.stage else ("asleep", "off")
        if name == "mode":
            flow = "charging" if self.part.battery_w() > 0.0 else "discharging"
            line = ("line", "support", "bypass") if self.house.on_mains else ()
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
            hertz = self.mains_hz if self.house.on_mains or not of_grid else 0.0
            found = mains_value(single, phases, hertz)
        if found is None:
            return self._usual(name)
        shared = single != name and single.startswith("pv_") and not single.endswith("_v")
        return found / 2 if shared else found  # there are two strings

    def _counted(self, name: str) -> float | None:
        span = _SPAN.search(name)
        name = _SPAN.sub("", name).removeprefix("tariff_").removeprefix("channel_")
        place: Mapping[str, float] = getattr(
            self.counters, span[1] if span else "", self.counters.total
        )
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
        "pv_w": lambda s: s.part.pv_w(),
        "pv_v": lambda s: s.pv_v,
        "pv_a": lambda s: s.part.pv_w() / s.pv_v,
        "pv_open_circuit_v": lambda s: s.pv_v * 1.22,
        "pv_mpp_v": lambda s: s.pv_v,
        "pv_mpp_w": lambda s: PV_PEAK_W * s.house.sun,
        "pv_max_v": lambda _: 128.4,
        "pv_max_today_v": lambda s: s.range_today("pv")[1],
        "pv_peak_w": lambda _: PV_PEAK_W,
        "pv_peak_today_w": lambda s: s.peak_today_w,
        "pv_peak_yesterday_w": lambda s: s.peak_yesterday_w,
        "battery_v": lambda s: s.battery_v,
        "battery_average_v": lambda s: s.battery_v,
        "battery_sense_v": lambda s: s.battery_v + 0.02,
        "battery_min_v": lambda s: s.range_today("battery")[0] - 2.0,
        "battery_max_v": lambda s: s.range_today("battery")[1] + 1.5,
        "battery_min_today_v": lambda s: s.range_today("battery")[0],
        "battery_max_today_v": lambda s: s.range_today("battery")[1],
        "battery_a": lambda s: s.battery_a,
        "battery_average_a": lambda s: s.battery_a,
        "battery_w": lambda s: s.part.battery_w(),
        "battery_charge_w": lambda s: max(0.0, s.battery_a * s.battery_v),
        "battery_charge_a": lambda s: max(0.0, s.battery_a),
        "battery_discharge_a": lambda s: max(0.0, -s.battery_a),
        "battery_discharge_w": lambda s: max(0.0, -s.battery_a * s.battery_v),
        "battery_c": lambda _: 23.0,
        "battery_min_today_c": lambda _: 21.0,
        "battery_max_today_c": lambda _: 24.0,
        "battery_rated_v": lambda _: RATED_V,
        "battery_percent": lambda s: s.house.soc * 100.0,
        "charge_target_v": lambda s: 0.0 if s.house.night else 57.6,
        "soc_percent": lambda s: s.house.soc * 100.0,
        "soc_min_today_percent": lambda s: s.range_today("soc")[0] * 100.0,
        "soc_max_today_percent": lambda s: s.range_today("soc")[1] * 100.0,
        "soh_percent": lambda _: 98.0,
        "remaining_ah": lambda s: s.house.soc * s.part.capacity_wh() / RATED_V,
        "capacity_ah": lambda s: s.part.capacity_wh() / RATED_V,
        "consumed_ah": lambda s: (s.house.soc - 1.0) * s.part.capacity_wh() / RATED_V,
        "remaining_kwh": lambda s: s.house.soc * s.part.capacity_wh() / 1000.0,
        "capacity_kwh": lambda s: s.part.capacity_wh() / 1000.0,
        "time_to_empty_min": lambda s: (
            60.0 * s.house.soc * s.part.capacity_wh() / max(50.0, s.part.load_w())
        ),
        "charging": lambda s: s.part.battery_w() > 1.0,
        "discharging": lambda s: s.part.battery_w() < -1.0,
        "load_w": lambda s: s.part.load_w(),
        "load_percent": lambda s: s.part.load_w() / 50.0,
        "output_percent": lambda s: s.part.load_w() / 50.0,
        "grid_w": lambda s: s.part.grid_w(),
        "grid_import_w": lambda s: max(0.0, s.part.grid_w()),
        "grid_feed_w": lambda s: max(0.0, -s.part.grid_w()),
        "input_w": lambda s: s.part.grid_w(),
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
        "charge_limit_w": lambda _: _LIMIT_W,
        "discharge_limit_w": lambda _: _LIMIT_W,
        "soc_min_percent": lambda _: 10.0,
        "soc_max_percent": lambda _: 100.0,
        "sun_today_h": lambda s: float(s.number("yield_today_kwh")) / (PV_PEAK_W / 1000.0),
        "grid_connected": lambda s: s.house.on_mains,
        "grid_present": lambda s: s.house.on_mains,
        "operating_h": lambda s: max(0.0, (s.house.now_s - _BUILT_S) / 3600.0),
        "output_peak_today_w": lambda s: s.peak_today_w,
        "battery_terminal_v": lambda s: s.battery_v + 0.03,
        "battery_absorption_v": lambda _: 57.6,
        "battery_float_v": lambda _: 54.0,
        "equalization_v": lambda _: 58.4,
        "absorption_min": lambda _: 180.0,
        "charge_limit_a": lambda _: 60.0,
        "heatsink_c": lambda s: 26.0 + s.part.pv_w() / 160.0,
        "power_limit_percent": lambda _: 100.0,
        "supply_01_v": lambda _: 12.1,
        "supply_02_v": lambda _: 3.3,
        "supply_03_v": lambda _: 5.0,
        "supply_04_v": lambda _: 1.8,
        "supply_05_v": lambda _: 1.5,
    }
)
