"""Simulated inverters in the house: one, or several in parallel that share its loads and panels."""

from collections.abc import Sequence
from dataclasses import dataclass

from heliobus.house import House

PV_PEAK_W = 5200.0  # of each unit
_HEAVIER = 0.06  # what each unit carries more than the next one


@dataclass(frozen=True, slots=True)
class Variant:
    """What one model says otherwise. `refuses` and `ignores` are what it does not know."""

    title: str
    pi18: bool = False
    units: int = 1
    ratings_tail: str = " {mode} 54.0 0 1"
    warnings: int = 36
    second_pv: bool = False
    feed_fields: bool = False
    revo: bool = False
    firmware: str = "VERFW:00072.70"
    model: str = ""
    end: bytes = b"\r"
    refuses: frozenset[str] = frozenset()
    echoes: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()

    @property
    def mode(self) -> int:
        """Give the output mode: single or parallel."""
        return int(self.units > 1)


class Plant:
    """All units at one cable. `away`: those that are switched off; `order`: who has which number.

    What is away is carried by the others. The unit on the cable is the first, whatever its number.
    """

    def __init__(self, house: House, name: str, variant: Variant, serials: Sequence[str]) -> None:
        self.house = house
        self.variant = variant
        self.inverter = house.inverter(name, pv_w=PV_PEAK_W * variant.units)
        self.counters = house.count(
            lambda: {"pv": self.inverter.pv_w, "load": self.inverter.output_w}
        )
        self.units = [Unit(self, at, serials[at]) for at in range(variant.units)]
        self.warning_bits: set[int] = set()
        self.away: set[int] = set()
        self.order = list(range(variant.units))

    @property
    def there(self) -> list["Unit"]:
        """Give the units that are on."""
        return [unit for unit in self.units if unit.at not in self.away]

    def numbered(self, number: int) -> "Unit | None":
        """Give the unit that has a number, None where that one is off or not there."""
        if number >= len(self.order) or self.order[number] in self.away:
            return None
        return self.units[self.order[number]]


class Unit:
    """One of them."""

    def __init__(self, plant: Plant, at: int, serial: str) -> None:
        self.plant = plant
        self.house = plant.house
        self.variant = plant.variant
        self.at = at
        self.serial = serial

    @property
    def share(self) -> float:
        """Give which part of everything is its own."""
        there = self.plant.there
        weights = {unit.at: 1.0 - _HEAVIER * unit.at for unit in there}
        return weights.get(self.at, 0.0) / (sum(weights.values()) or 1.0)

    @property
    def output_w(self) -> float:
        """Give what it delivers."""
        return self.plant.inverter.output_w * self.share

    @property
    def pv_w(self) -> float:
        """Give what its panels give."""
        return self.plant.inverter.pv_w * self.share

    @property
    def pv_v(self) -> float:
        """Give the voltage of its panels."""
        return 240.0 + 60.0 * self.pv_w / PV_PEAK_W if self.pv_w >= 1.0 else 0.0

    @property
    def battery_a(self) -> float:
        """Give the current into the battery."""
        return self.plant.inverter.battery_w * self.share / self.house.battery_v

    @property
    def charge_a(self) -> float:
        """Give the current while charging, else 0."""
        return max(0.0, self.battery_a)

    @property
    def discharge_a(self) -> float:
        """Give the current while discharging, else 0."""
        return max(0.0, -self.battery_a)

    @property
    def heatsink_c(self) -> float:
        """Give the temperature of its heat sink."""
        return 32.0 + self.output_w / 150
