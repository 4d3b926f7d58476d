"""What a simulated PI18 inverter answers, by the question without its head."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bridges.voltronic.simulated_unit import Unit
from heliobus.house import RATED_V

RATED_W = 5600
_VA_PER_W = 1.06
_FLAGS = 17  # as an LV5048 sends; its document has one less
_LINE_FAILS = 0

Say = Callable[[Unit, str], str]


def _status(unit: Unit, _: str) -> str:
    house, output_w = unit.house, unit.output_w
    return (
        f"^D{_mains(unit)},2301,500,{output_w * _VA_PER_W:04.0f},{output_w:04.0f},"
        f"{output_w * _VA_PER_W / RATED_W * 100:03.0f},{house.battery_v * 10:03.0f},000,000,"
        f"{unit.discharge_a:03.0f},{unit.charge_a:03.0f},{house.soc * 100:03.0f},"
        f"{unit.heatsink_c:03.0f},000,000,{_panels(unit)},0,{_directions(unit)},{unit.at}"
    )


def _mains(unit: Unit) -> str:
    return f"{unit.house.mains_v * 10:04.0f},{unit.house.mains_hz * 10:03.0f}"


def _panels(unit: Unit) -> str:
    return f"{unit.pv_w:04.0f},0000,{unit.pv_v * 10:04.0f},0000"


def _directions(unit: Unit) -> str:
    """Say what the solar chargers do, whether the load is on, and which way the powers go."""
    battery = 1 if unit.battery_a > 0 else 2
    return f"{1 + (unit.pv_w >= 1.0)},0,1,{battery},2,{int(unit.house.on_mains)}"


def _mode(unit: Unit) -> str:
    return "05" if unit.house.on_mains else "03"


def _ratings(unit: Unit, _: str) -> str:
    return (
        f"^D2300,243,2300,500,243,{RATED_W},{RATED_W},{RATED_V * 10:03.0f},470,530,440,555,544,2,"
        f"030,090,1,1,2,9,0,0,{unit.variant.mode},0,1,00"
    )


def _warnings(unit: Unit, _: str) -> str:
    raised = {*unit.plant.warning_bits, *(() if unit.house.on_mains else (_LINE_FAILS,))}
    return ",".join(["^D00", *(str(int(at in raised)) for at in range(_FLAGS))])


def _energy(span: str) -> Say:
    return lambda unit, *_: f"^D{getattr(unit.plant.counters, span)['pv'] * unit.share:08.0f}"


def _parallel(unit: Unit, question: str) -> str:
    plant = unit.plant
    there = plant.numbered(int(question.removeprefix("PGS")))
    output_w, charge_a = plant.inverter.output_w, max(0.0, sum(u.battery_a for u in plant.there))
    total_va, total_percent = output_w * _VA_PER_W, output_w * _VA_PER_W / RATED_W * 100
    totals = f"{total_va:05.0f},{output_w:05.0f}"
    percent = f"{total_percent / (len(plant.there) or 1):03.0f}"
    if there is None:
        return (
            f"^D0,0,00,0000,000,0000,000,0000,0000,{totals},000,{percent},000,000,000,"
            f"{charge_a:03.0f},000,0000,0000,0000,0000,0,0,0,0,0,0,000"
        )
    own_va = there.output_w * _VA_PER_W
    return (
        f"^D1,{_mode(there)[1]},00,{_mains(there)},2301,500,{own_va:04.0f},{there.output_w:04.0f},"
        f"{totals},{own_va / RATED_W * 100:03.0f},{percent},{there.house.battery_v * 10:03.0f},"
        f"{there.discharge_a:03.0f},{there.charge_a:03.0f},{charge_a:03.0f},"
        f"{there.house.soc * 100:03.0f},{_panels(there)},{_directions(there)},"
        f"{there.heatsink_c:03.0f}"
    )


def _who(unit: Unit, question: str) -> str:
    there = unit.plant.numbered(int(question.removeprefix("PRI")))
    if there is None:
        return "^D0,00,00000000000000000000,0,000,000,0"
    serial = there.serial.ljust(20, "0")
    return f"^D1,{len(there.serial):02},{serial},2,090,030,{unit.variant.mode}"


ANSWERS: Mapping[str, Say] = MappingProxyType(
    {
        "PI": lambda *_: "^D18",
        "ID": lambda unit, *_: "^D" + f"{len(unit.serial):02}{unit.serial}".ljust(22, "0"),
        "VFW": lambda *_: "^D05402,08025,00000",
        "GMN": lambda *_: "^D12",
        "GS": _status,
        "MOD": lambda unit, *_: f"^D{_mode(unit)}",
        "PIRI": _ratings,
        "FLAG": lambda *_: "^D1,1,1,0,0,1,0,1,0",
        "FWS": _warnings,
        "T": lambda unit, *_: f"^D{unit.house.time:%Y%m%d%H%M%S}",
        "ET": _energy("total"),
        "EY": _energy("year"),
        "EM": _energy("month"),
        "ED": _energy("today"),
        "PGS": _parallel,
        "PRI": _who,
    }
)
