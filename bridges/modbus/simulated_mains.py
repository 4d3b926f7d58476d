"""What a simulated connection to the mains shows, of one phase or three, and what it counts."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

_PHASE = re.compile(r"l([123])_")
_LINE = re.compile(r"l([123])([123])_(v|voltage_thd_percent)$")
# The same connection by the names that an inverter has for it, and one of several channels.
_SIDE = re.compile(r"^(grid|output|input|load|channel|generator)_")
_THD_PERCENT = 1.9
_WHOLE = MappingProxyType({"v": "voltage_v", "a": "current_a", "w": "power_w", "va": "apparent_va"})
_ALIASES: Mapping[str, str] = MappingProxyType(
    {**_WHOLE, "var": "reactive_var", "hz": "frequency_hz", "average_v": "voltage_v"}
)


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: its power (+ = import), its voltage, and the size of its power factor."""

    power_w: float
    voltage_v: float
    factor: float

    @property
    def apparent_va(self) -> float:
        """Give the apparent power."""
        return abs(self.power_w) / self.factor

    @property
    def reactive_var(self) -> float:
        """Give the reactive power: the loads here are inductive."""
        return abs(self.power_w) * math.tan(math.acos(self.factor))

    @property
    def current_a(self) -> float:
        """Give the current, which has no sign."""
        return self.apparent_va / self.voltage_v if self.voltage_v else 0.0


def mains_value(name: str, phases: Sequence[Phase], hertz: float) -> float | None:
    """Give what is called `name` at these phases; None: it is nothing of theirs."""
    name = _SIDE.sub("", name)
    if line := _LINE.match(name):
        one, two = (phases[(int(line[at]) - 1) % len(phases)].voltage_v for at in (1, 2))
        return _between(one, two) if line[3] == "v" else _THD_PERCENT
    if phase := _PHASE.match(name):
        phases = [phases[(int(phase[1]) - 1) % len(phases)]]
        name = name[phase.end() :]
    name = _ALIASES.get(name, name)
    if name == "frequency_hz":
        return hertz
    return _VALUES[name](phases) if name in _VALUES else None


def mains_rates(phases: Sequence[Phase]) -> dict[str, float]:
    """Give what is counted, as W, var, VA and A, by the names of the counters."""
    rates = _counted("", phases)
    for at, phase in enumerate(phases, 1):
        rates |= _counted(f"l{at}_", [phase])
    return rates


def _counted(prefix: str, phases: Sequence[Phase]) -> dict[str, float]:
    # Each phase counts by itself, as most meters do: their counters add up.
    taken_w = sum(max(0.0, phase.power_w) for phase in phases)
    given_w = sum(max(0.0, -phase.power_w) for phase in phases)
    reactive_var = sum(phase.reactive_var for phase in phases)
    apparent_va = sum(phase.apparent_va for phase in phases)
    rates = {
        "import_kwh": taken_w,
        "export_kwh": given_w,
        "total_kwh": taken_w + given_w,
        "net_kwh": taken_w - given_w,
        "import_kvarh": reactive_var,
        "export_kvarh": 0.0,
        "total_kvarh": reactive_var,
        "net_kvarh": reactive_var,
        "apparent_kvah": apparent_va,
        "import_kvah": apparent_va,
        "export_kvah": 0.0,
        "total_ah": sum(phase.current_a for phase in phases),
    }
    return {prefix + name: rate for name, rate in rates.items()}


def _between(one_v: float, two_v: float) -> float:
    """Give the voltage between two phases a third of a turn apart."""
    return math.sqrt(one_v**2 + two_v**2 + one_v * two_v)


def _sum(what: str) -> Callable[[Sequence[Phase]], float]:
    return lambda phases: float(sum(getattr(phase, what) for phase in phases))


def _mean(what: str) -> Callable[[Sequence[Phase]], float]:
    return lambda phases: float(sum(getattr(phase, what) for phase in phases) / len(phases))


def _factor(phases: Sequence[Phase]) -> float:
    apparent_va = sum(phase.apparent_va for phase in phases)
    return sum(phase.power_w for phase in phases) / apparent_va if apparent_va else 1.0


def _degrees(phases: Sequence[Phase]) -> float:
    power_w = sum(phase.power_w for phase in phases)
    return math.degrees(math.atan2(sum(phase.reactive_var for phase in phases), power_w))


def _line_average(phases: Sequence[Phase]) -> float:
    volts = [phase.voltage_v for phase in phases]
    return sum(_between(volts[at], volts[at - 1]) for at in range(len(volts))) / len(volts)


def _neutral(phases: Sequence[Phase]) -> float:
    """Give what three currents, a third of a turn apart, leave over."""
    amps = [phase.current_a for phase in phases]
    squares = sum(amp**2 for amp in amps)
    products = sum(amps[at] * amps[at - 1] for at in range(len(amps)))
    return math.sqrt(max(0.0, squares - products))


_VALUES: Mapping[str, Callable[[Sequence[Phase]], float]] = MappingProxyType(
    {
        "voltage_v": _mean("voltage_v"),
        "line_average_v": _line_average,
        "current_a": _sum("current_a"),
        "current_average_a": _mean("current_a"),
        "demand_a": _sum("current_a"),
        "demand_max_a": lambda phases: 1.3 * _sum("current_a")(phases),
        "neutral_a": _neutral,
        "power_w": _sum("power_w"),
        "import_w": lambda phases: max(0.0, _sum("power_w")(phases)),
        "export_w": lambda phases: max(0.0, -_sum("power_w")(phases)),
        "apparent_va": _sum("apparent_va"),
        "demand_va": _sum("apparent_va"),
        "demand_max_va": lambda phases: 1.3 * _sum("apparent_va")(phases),
        "reactive_var": _sum("reactive_var"),
        "power_factor": _factor,
        "phase_deg": _degrees,
        "voltage_thd_percent": lambda _: 2.1,
        "line_voltage_thd_percent": lambda _: _THD_PERCENT,
        "current_thd_percent": lambda _: 7.4,
    }
)
