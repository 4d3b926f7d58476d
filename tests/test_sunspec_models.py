"""The definitions of models: what they are made from, and that they hold together."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from bridges.sunspec import mapping, models
from bridges.sunspec.chain import COMMON
from bridges.sunspec.codec import SHOWN_TYPES, Group, Point
from scripts import sunspec_models
from tests.helpers import further_vectors

STANDARD = models.FOLDER / "standard"
OUTBACK = further_vectors("outback_models.json") or {"models": {}}
# The map of OutBack says otherwise; a MATE3S was seen to send -7200 for "never", in UTC+2.
SIGNED = {"OB_Gen_Last_Run_Start_Time_GMT"}
UNITS: dict[str | None, str] = {
    **dict.fromkeys(("Volts", "DC Volts", "Volts AC", "Volts DC"), "V"),
    **dict.fromkeys(("Hour", "Hours"), "h"),
    **dict.fromkeys(("Minutes", "Minute", "Mins"), "min"),
    **dict.fromkeys(("Seconds", "secs", "Secs", "Seconds xx.x"), "s"),
    **dict.fromkeys(("Percent", "Percentage"), "%"),
    **dict.fromkeys(("kW", "kWatts"), "kW"),
    **dict.fromkeys(("kWh", "KWH"), "kWh"),
    **dict.fromkeys((None, "Port", "key", "Cycles"), ""),
    "Amps": "A",
    "AH": "Ah",
    "Watts": "W",
    "Hz": "Hz",
    "Weeks": "wk",
    "Days": "d",
    "msecs": "ms",
    "Degrees C": "°C",
    "Milli Volts": "mV",
}
# Their map names the unit of a current and of a charge; both count thousands of Ah.
KILO = {"CC_Lifetime_kAmp_Hours", "FN_Lifetime_kAH_Removed"}


def _groups(group: Group) -> Iterator[Group]:
    yield group
    for inner in group.groups:
        yield from _groups(inner)


def _top(number: int) -> Group:
    model = models.find(number)
    assert model is not None
    return model.top


def test_the_definitions_are_those_of_the_installed_pysunspec2() -> None:
    assert {path.name: path.read_text() for path in STANDARD.glob("*.json")} == dict(
        sunspec_models.made()
    )


def test_the_models_that_are_listed_as_mapped_are_mapped() -> None:
    listed = {number for family in sunspec_models.MAPPED for number in family}
    assert listed == {COMMON, *mapping.standard().models}


def test_every_model_that_is_mapped_is_there_and_nothing_twice() -> None:
    assert set(mapping.standard().models) <= set(models.files())
    assert {64110 + at for at in range(11)} | {64255} <= set(models.files())
    families = (*sunspec_models.MAPPED, *sunspec_models.SEEN)
    assert len({number for family in families for number in family}) == sum(map(len, families))


def test_a_model_that_nobody_defined_is_none() -> None:
    assert models.find(64001) is None


def test_no_description_was_taken() -> None:
    for path in STANDARD.glob("*.json"):
        assert not {"desc", "label", "detail", "comments"} & _keys(json.loads(path.read_text()))


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


def test_the_licence_and_the_notice_lie_beside_the_definitions() -> None:
    assert "Apache License" in (models.FOLDER / "LICENSE").read_text()
    notice = (models.FOLDER / "NOTICE").read_text()
    assert "pysunspec2" in notice
    assert "What was changed" in notice


@pytest.mark.parametrize("number", sorted(models.files()))
def test_the_points_of_a_model_fill_it_without_a_gap(number: int) -> None:
    at = 2  # after its number and its length
    for group in _groups(_top(number)):
        for point in group.points:
            assert (point.name, point.offset) == (point.name, at)
            at += point.size
        at = 0


@pytest.mark.parametrize("number", sorted(models.files()))
def test_names_types_and_scale_factors_of_a_model_are_known(number: int) -> None:
    top = _top(number)
    for group in _groups(top):
        names = Counter(point.name for point in group.points)
        assert not [name for name, times in names.items() if times > 1]
        factors = {p.name for part in (top, group) for p in part.points if p.type == "sunssf"}
        for point in group.points:
            assert point.type in SHOWN_TYPES
            assert isinstance(point.scale, int) or point.scale in factors


def test_a_split_phase_radian_has_59_registers_by_its_map() -> None:
    assert _top(64115).size == 2 + 59


def test_bits_and_codes_have_their_texts() -> None:
    flags = next(p for p in _top(64115).points if p.name == "GS_Split_Error_Flags")
    assert flags.bits
    assert flags.texts(0b1000_0101) == (
        "GS_Split_Error_Low_VAC",
        "GS_Split_Error_Over_Temp",
        "GS_Split_Error_AC_Backfeed",
    )
    assert flags.texts(1 << 12) == ("BIT_12",)
    state = next(p for p in _top(103).points if p.name == "St")
    assert (state.bits, state.codes[4], state.codes[7]) == (False, "MPPT", "FAULT")


# ---------------------------------------------------------------------- OutBack's own map


def _entries() -> list[Any]:
    entries = [(n, e) for n, rows in OUTBACK["models"].items() for e in rows if e["offset"] > 1]
    return [pytest.param(int(n), e, id=f"{n}-{e['offset']}") for n, e in entries]


@pytest.mark.parametrize(("number", "entry"), _entries())
def test_a_field_of_outback_is_as_in_their_map(number: int, entry: dict[str, Any]) -> None:
    (point,) = (p for p in _top(number).points if p.offset == entry["offset"])
    assert (point.name, point.size) == (entry["name"], entry["size"])
    assert point.type == _type(number, entry)
    assert point.unit == ("kAh" if point.name in KILO else UNITS[entry.get("unit")])
    assert point.scale == entry.get("sf", 0)
    assert point.low_word_first == (entry["name"] in OUTBACK["word_order_low_first"])
    bits = OUTBACK["bitfields_mask_value_name"].get(str(number), {}).get(entry["name"])
    assert point.bits == (bits is not None)
    masks = {mask.bit_length() - 1: name for mask, value, name in bits or () if value}
    codes = {int(code): text for code, text in entry.get("enum", {}).items()}
    assert dict(point.codes) == masks | codes


def _type(number: int, entry: dict[str, Any]) -> str:
    if entry["name"] in SIGNED:
        return "int32"
    factors = {each.get("sf") for each in OUTBACK["models"][str(number)]}
    is_factor = entry["name"] in factors or entry["name"].lower().endswith("_sf")
    return "sunssf" if is_factor else str(entry["type"])


def test_no_point_was_added_to_outbacks_map() -> None:
    for number, entries in OUTBACK["models"].items():
        points: tuple[Point, ...] = _top(int(number)).points
        assert len(points) == len(entries) - 2
