"""What a simulated PI30 inverter answers."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bridges.voltronic.simulated_unit import Unit
from heliobus.house import RATED_V

RATED_W = 5000
_VA_PER_W = 1.06
SHORT_WARNINGS, _LONG_WARNINGS = 32, 36
_FULL_SOC, _NEARLY_FULL_SOC = 0.995, 0.95
_NO_UNIT = "0 00000000000000 P 00 000.0 00.00 000.0 00.00 0000 0000 000 00.0 000 000 000.0"

Say = Callable[[Unit, str], str]


def _status(unit: Unit, _: str) -> str:
    house, variant = unit.house, unit.variant
    output_w, charging = unit.output_w, unit.battery_a > 0
    pv_w = unit.pv_w * (0.6 if variant.second_pv else 1.0)
    bits = f"000{output_w > 0:d}0{charging:d}{charging and pv_w >= 1.0:d}{house.on_mains:d}"
    field_15 = unit.plant.counters.today["pv"] if variant.revo else unit.discharge_a
    fields = (
        f"{house.mains_v:05.1f} {house.mains_hz:04.1f} 230.1 50.0"
        f" {output_w * _VA_PER_W:04.0f} {output_w:04.0f}"
        f" {output_w * _VA_PER_W / RATED_W * 100:03.0f}"
        f" 398 {house.battery_v:05.2f} {unit.charge_a:03.0f} {house.soc * 100:03.0f}"
        f" {unit.heatsink_c:04.0f} {pv_w / unit.pv_v if unit.pv_v else 0.0:04.1f} {unit.pv_v:05.1f}"
        f" {house.battery_v if unit.pv_v else 0.0:05.2f} {field_15:05.0f}"
        f" {bits} 00 00 {pv_w:05.0f} {house.soc > _FULL_SOC:d}10"
    )
    return fields + (" 0 00 0000" if variant.feed_fields else "")


def _second(unit: Unit, _: str) -> str:
    pv_a, pv_v = _second_input(unit)
    return f"{pv_a:04.1f} {pv_v:05.1f} {pv_a * pv_v:05.0f} "


def _second_input(unit: Unit) -> tuple[float, float]:
    """Give the current and the voltage of the second string, 0.4 of the panels."""
    pv_v = unit.pv_v * 0.9
    return unit.pv_w * 0.4 / pv_v if pv_v else 0.0, pv_v


def _ratings(unit: Unit, _: str) -> str:
    tail = unit.variant.ratings_tail.format(mode=unit.variant.mode)
    return (
        f"230.0 21.7 230.0 50.0 21.7 {RATED_W} {RATED_W} {RATED_V:04.1f} 46.0 42.0"
        f" 56.4 54.0 2 030 080 0 2 3 9 01 0{tail}"
    )


def _warnings(unit: Unit, _: str) -> str:
    raised = set(unit.plant.warning_bits)
    if not unit.house.on_mains:
        raised.add(5)
    if unit.pv_w < 1.0 and unit.variant.warnings > SHORT_WARNINGS:
        raised.add(0)
    return "".join(str(int(at in raised)) for at in range(unit.variant.warnings))


def _charger(unit: Unit, _: str) -> str:
    house = unit.house
    stage = 11 + (house.soc > _NEARLY_FULL_SOC) + (house.soc > _FULL_SOC)
    stage = stage if unit.pv_w >= 1.0 else 10
    celsius = 28.0 + unit.output_w / 200
    return (
        f"00000 00000 01 01 {unit.charge_a:02.0f}"
        f" {celsius + 4:03.0f} {celsius:03.0f} 025 {celsius + 2:03.0f} 02 00 000 0030"
        f" {unit.charge_a * house.battery_v:04.0f} 0000 {house.mains_hz:05.2f} {stage}"
    )


def _parallel(unit: Unit, command: str) -> str:
    """Say the state of the unit that has a number, with what all of them do together."""
    plant = unit.plant
    there = plant.numbered(int(command.removeprefix("QPGS")))
    own = _NO_UNIT if there is None else _one_of_several(there)
    output_w, charge_a = plant.inverter.output_w, max(0.0, sum(u.battery_a for u in plant.there))
    rated_w = RATED_W * (len(plant.there) or 1)
    totals = (
        f" {charge_a:03.0f} {output_w * _VA_PER_W:05.0f} {output_w:05.0f}"
        f" {output_w * _VA_PER_W / rated_w * 100:03.0f}"
    )
    if there is None:
        return f"{own}{totals} 00000000 0 0 010 110 02 00 000"
    charging = there.pv_w >= 1.0
    bits = f"{charging:d}{unit.house.on_mains:d}{charging:d}00{not unit.house.on_mains:d}10"
    pv_a, tail = there.pv_w / unit.house.battery_v, ""
    if unit.variant.second_pv:
        second_a, second_v = _second_input(there)
        pv_a = there.pv_w * 0.6 / there.pv_v if there.pv_v else 0.0
        tail = f" {second_v:05.1f} {second_a:02.0f}"
    set_to = f"{unit.variant.mode} 3 080 120 030"
    return f"{own}{totals} {bits} {set_to} {pv_a:02.0f} {there.discharge_a:03.0f}{tail}"


def _one_of_several(unit: Unit) -> str:
    house = unit.house
    apparent_va = unit.output_w * _VA_PER_W
    return (
        f"1 {unit.serial} {_mode(unit)} 00 {house.mains_v:05.1f} {house.mains_hz:05.2f} 230.1 50.00"
        f" {apparent_va:04.0f} {unit.output_w:04.0f} {apparent_va / RATED_W * 100:03.0f}"
        f" {house.battery_v:04.1f} {unit.charge_a:03.0f} {house.soc * 100:03.0f} {unit.pv_v:05.1f}"
    )


def _mode(unit: Unit) -> str:
    return "L" if unit.house.on_mains else "B"


def _energy(counter: str, span: str, step_wh: int) -> Say:
    """Say a counter; months, years and totals move in steps of 100 Wh, as recorded."""

    def say(unit: Unit, _: str) -> str:
        energy_wh = getattr(unit.plant.counters, span)[counter] * unit.share
        return f"{energy_wh // step_wh * step_wh:08.0f}"

    return say


ANSWERS: Mapping[str, Say] = MappingProxyType(
    {
        "QPI": lambda *_: "PI30",
        "QID": lambda unit, *_: unit.serial,
        "QSID": lambda unit, *_: f"{len(unit.serial):02}{unit.serial}".ljust(22, "0"),
        "QVFW": lambda unit, *_: unit.variant.firmware,
        "QVFW2": lambda *_: "VERFW2:00012.03",
        "QMN": lambda unit, *_: unit.variant.model,
        "QGMN": lambda *_: "044",
        "QMOD": lambda unit, *_: _mode(unit),
        "QPIGS": _status,
        "QPIGS2": _second,
        "QPIRI": _ratings,
        "QPIWS": _warnings,
        "QPGS": _parallel,
        "QFLAG": lambda *_: "EakxyzDbjuv",
        "Q1": _charger,
        "QT": lambda unit, *_: f"{unit.house.time:%Y%m%d%H%M%S}",
        "QET": _energy("pv", "total", 100),
        "QEY": _energy("pv", "year", 100),
        "QEM": _energy("pv", "month", 100),
        "QED": _energy("pv", "today", 1),
        "QLT": _energy("load", "total", 100),
        "QLY": _energy("load", "year", 100),
        "QLM": _energy("load", "month", 100),
        "QLD": _energy("load", "today", 1),
    }
)
