"""What of the simulated house one device shows: its own part, or all of it."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from heliobus.house import House

PV_PEAK_W: Final = 3200.0
_OTHER_SHARE: Final = 0.3  # of the loads, behind a meter that is none of the house


@dataclass(frozen=True, slots=True)
class Part:
    """What a device shows of the house: powers in W, now. `ac_w` goes through its AC side."""

    house: House
    pv_w: Callable[[], float]
    load_w: Callable[[], float]
    grid_w: Callable[[], float]
    battery_w: Callable[[], float]
    ac_w: Callable[[], float]
    capacity_wh: Callable[[], float]


def part_of(house: House, name: str, kind: str, *, role: str, fields: AbstractSet[str]) -> Part:
    """Have a device join the house, by its kind, its role and what it has words for."""

    def knows(*prefixes: str) -> bool:
        return any(field.startswith(prefixes) for field in fields)

    whole = Part(
        house,
        pv_w=lambda: house.pv_w,
        load_w=lambda: house.load_w,
        grid_w=lambda: house.grid_w,
        battery_w=lambda: house.battery_w,
        ac_w=lambda: _metered_w(house, role),
        capacity_wh=lambda: house.capacity_wh,
    )
    if kind == "battery":
        bank = house.bank(name)
        return replace(
            whole,
            battery_w=lambda: bank.w,
            ac_w=lambda: bank.w,
            capacity_wh=lambda: bank.capacity_wh,
        )
    if kind == "charger":
        panels = house.array(name, PV_PEAK_W)
        return replace(whole, pv_w=lambda: panels.w, battery_w=lambda: panels.w)
    if kind == "inverter" and not knows("battery_", "soc_", "charge"):
        roof = house.array(name, PV_PEAK_W, coupled=True)
        return replace(whole, pv_w=lambda: roof.w, battery_w=lambda: 0.0, ac_w=lambda: roof.w)
    if kind == "inverter":
        pv_w = PV_PEAK_W if knows("pv_", "yield_") else 0.0
        inverter = house.inverter(name, pv_w=pv_w, couples=True)
        return replace(
            whole,
            pv_w=lambda: inverter.pv_w,
            load_w=lambda: inverter.load_w,
            grid_w=lambda: inverter.grid_w,
            battery_w=lambda: inverter.battery_w,
            ac_w=lambda: inverter.output_w,
        )
    return whole


def _metered_w(house: House, role: str) -> float:
    """Give what a meter of this role shows, and what has none: the loads."""
    powers_w = {
        "grid": house.grid_w,
        "pv": house.solar_w,
        "battery": house.battery_w,
        "other": _OTHER_SHARE * house.load_w,
    }
    return powers_w.get(role, house.load_w)
