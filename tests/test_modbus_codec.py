"""Registers to values: literal words, as devices send them, and what they say."""

from collections.abc import Mapping
from typing import Any

import pytest

from bridges.modbus.codec import decode, encode, identity
from bridges.modbus.registers import Row
from bridges.modbus.types import TYPES, Value

AT = 0x48


def row(kind: str = "u16", **more: Any) -> Row:
    count = TYPES[kind].registers or more.pop("count", 1)
    return Row(**{"name": "x", "at": AT, "count": count, "type": kind, "function": 4, **more})


def image(words: str, at: int = AT) -> dict[tuple[int, int], int]:
    return {(4, at + index): int(word, 16) for index, word in enumerate(words.split())}


def value(kind: str, words: str, **more: Any) -> Value | None:
    return decode([row(kind, **more)], {}, image(words)).get("x")


@pytest.mark.parametrize(
    ("kind", "words", "more", "expected"),
    [
        ("u16", "FFFE", {}, 65534),
        ("i16", "FFFE", {}, -2),
        ("i16", "7FFF", {}, 32767),
        ("u32", "0002 E786", {}, 190342),
        ("i32", "FFFF FFFF", {}, -1),
        ("i32", "00E6 0000", {"little": True}, 230),
        ("u64", "0000 0000 0001 8FCC", {}, 102348),
        ("u64", "8FCC 0001 0000 0000", {"little": True}, 102348),
        ("i64", "FFFF FFFF FFFF FF9C", {}, -100),
        ("f16", "52B4", {}, 53.625),
        ("f32", "4369 697A", {}, 233.41202),
        ("f32", "4369 6979", {}, 233.412),
        ("f32", "4366 3333", {}, 230.2),
        ("f32", "6943 7969", {"swapped": True}, 233.412),
        ("f32", "6979 4369", {"little": True}, 233.412),
        ("f32", "7969 6943", {"little": True, "swapped": True}, 233.412),
        ("f32", "0000 0000", {}, 0.0),
        ("f64", "406C CCCC CCCC CCCD", {}, 230.4),
        ("bcd", "0029", {}, 29),
        ("bcd", "0001 2345", {"count": 2}, 12345),
        ("text", "5344 4D32 3330 0000", {"count": 4}, "SDM230"),
        ("text", "3130 3834 3630 3637", {"count": 4, "swapped": True}, "01480676"),
        ("text", "2020 4142 2000", {"count": 3, "little": True}, "AB"),
        ("text", "4100 FFFF", {"count": 2}, "A"),
        ("text", "C3A4 0000", {"count": 2}, "ä"),
        ("text", "E420 0000", {"count": 2}, "ä"),
        ("text", "4107 4200", {"count": 2}, "AB"),
        ("enum", "0005", {"texts": {5: "bulk"}}, "bulk"),
        ("enum", "0006", {"texts": {5: "bulk"}}, "unknown"),
        ("enum", "0005 0000", {"count": 2, "little": True, "texts": {5: "bulk"}}, "bulk"),
        ("bits", "0013", {"texts": {0: "a", 1: "b"}}, ["a", "b", "bit 4"]),
        ("bits", "0001 0000", {"count": 2, "texts": {16: "c"}}, ["c"]),
        ("bits", "0000", {"texts": {0: "a"}}, []),
        ("bits", "0004", {"texts": {2: "on"}, "is_flag": True}, True),
        ("bits", "FFFB", {"texts": {2: "on"}, "is_flag": True}, False),
    ],
)
def test_words_are_read_by_their_type(
    kind: str, words: str, more: dict[str, Any], expected: Value
) -> None:
    found = value(kind, words, **more)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "words", "more"),
    [
        ("f16", "7E00", {}),
        ("f32", "7FC0 0000", {}),
        ("f32", "7F80 0000", {}),
        ("f64", "FFF0 0000 0000 0000", {}),
        ("bcd", "00A9", {}),
        ("text", "0000 2020", {"count": 2}),
        ("text", "FFFF FFFF", {"count": 2}),
        ("i16", "8000", {"absent": frozenset({0x8000})}),
        ("i32", "FFFF 7FFF", {"little": True, "absent": frozenset({0x7FFFFFFF})}),
        ("enum", "FFFF", {"absent": frozenset({0xFFFF}), "texts": {5: "bulk"}}),
        ("bits", "FFFF", {"absent": frozenset({0xFFFF}), "texts": {5: "bulk"}}),
        ("u16", "0BB9", {"most": 3000}),
        ("i16", "FFFF", {"least": 0}),
        ("u16", "0BB9", {"divide": 10.0, "most": 300.0}),
        ("f64", "7FE0 0000 0000 0000", {"factor": 1e300}),
    ],
)
def test_what_is_absent_or_implausible_is_left_out(
    kind: str, words: str, more: dict[str, Any]
) -> None:
    assert value(kind, words, **more) is None


@pytest.mark.parametrize(
    ("kind", "words", "more", "expected"),
    [
        ("u16", "08FD", {"factor": 0.1}, 230.1),
        ("u16", "08FD", {"divide": 10.0}, 230.1),
        ("u16", "0003", {"factor": 0.1}, 0.3),
        ("u16", "0002", {"factor": 1000.0}, 2000),
        ("u16", "08FC", {"divide": 10.0}, 230.0),  # not a whole number by chance
        ("f32", "3E0F 5C29", {"factor": 1000.0}, 140.0),  # 0.14 kW
        ("i16", "FFFD", {"divide": 32768.0, "factor": 180.0}, -0.01647949),
        ("u16", "0001", {"divide": 3.0}, 0.3333333),
        ("u64", "0000 0002 540B E3FF", {"divide": 1000.0}, 9999999.999),
    ],
)
def test_factors_are_exact(kind: str, words: str, more: dict[str, Any], expected: float) -> None:
    found = value(kind, words, **more)
    assert (found, type(found)) == (expected, type(expected))


# ---------------------------------------------------------------------- several rows


SCALES = {
    "v_pu": row("u32", name="v_pu", at=0, divide=65536.0),
    "i_pu": row("u32", name="i_pu", at=2, divide=65536.0),
}
SCALED = row("i16", name="pv_v", at=27, scales=("v_pu",), divide=32768.0)
POWER = row(name="pv_w", at=59, scales=("v_pu", "i_pu"), divide=131072.0)


def test_a_value_is_multiplied_by_its_scales() -> None:
    words = {**image("00B4 0000 0050 0000", 0), **image("0BD0", 27), **image("0017", 59)}
    assert decode([SCALED, POWER], SCALES, words) == {"pv_v": 16.61133, "pv_w": 2.526855}


@pytest.mark.parametrize("scale", [{}, image("0000 0000", 0)], ids=["missing", "zero"])
def test_a_value_without_its_scale_is_left_out(scale: Mapping[tuple[int, int], int]) -> None:
    assert decode([SCALED], SCALES, {**scale, **image("0BD0", 27)}) == {}


def test_a_row_of_which_a_register_is_missing_is_left_out() -> None:
    assert decode([row("u32"), row(name="y")], {}, image("0001")) == {"y": 1}


def test_a_register_of_the_other_function_is_another() -> None:
    assert decode([row(function=3)], {}, image("0001")) == {}


def test_a_code_is_told_beside_its_text() -> None:
    state = row("enum", name="charge_state", texts={5: "bulk"}, code_name="charge_state_code")
    assert decode([state], {}, image("0005")) == {"charge_state": "bulk", "charge_state_code": 5}
    assert decode([state], {}, image("0009")) == {"charge_state": "unknown", "charge_state_code": 9}


def test_lists_of_the_same_name_are_joined() -> None:
    first, second = row("bits", texts={0: "a"}), row("bits", at=AT + 1, texts={1: "b", 3: "a"})
    assert decode([first, second], {}, image("0001 000A")) == {"x": ["a", "b"]}


def test_who_a_device_is_is_told_in_texts() -> None:
    rows = {
        "serial": row("u32"),
        "model": row("enum", at=AT + 2, texts={1: "TS-MPPT-60"}),
        "firmware": row("bcd", at=AT + 3),
    }
    words = image("00BC 614E 0001 0029")
    assert identity(rows, words) == {"serial": "12345678", "model": "TS-MPPT-60", "firmware": "29"}
    assert identity(rows, image("00BC 614E 0007 00FF")) == {"serial": "12345678"}


# ---------------------------------------------------------------------- back


@pytest.mark.parametrize(
    ("kind", "said", "more", "expected"),
    [
        ("u16", 230.1, {"divide": 10.0}, "08FD"),
        ("u16", 1e9, {}, "FFFF"),
        ("u16", -5, {}, "0000"),
        ("i16", -40000, {}, "8000"),
        ("i16", -40000, {"absent": frozenset({0x8000})}, "8001"),
        ("u16", 70000, {"absent": frozenset({0xFFFF})}, "FFFE"),
        ("u16", 0, {"absent": frozenset({0})}, "0001"),
        ("u16", None, {"absent": frozenset({0xFFFF})}, "FFFF"),
        ("u16", None, {}, "0000"),
        ("u16", float("nan"), {"absent": frozenset({0xFFFF})}, "FFFF"),
        ("f32", None, {}, "7FC0 0000"),
        ("f32", 233.412, {}, "4369 6979"),
        ("f32", 233.412, {"little": True, "swapped": True}, "7969 6943"),
        ("f32", 1e300, {}, "7F7F FFFF"),
        ("f16", 53.625, {}, "52B4"),
        ("f16", -1e9, {}, "FBFF"),
        ("bcd", 29, {}, "0029"),
        ("bcd", 123456, {}, "9999"),
        ("text", "SDM230", {"count": 4}, "5344 4D32 3330 0000"),
        ("text", "ABCDE", {"count": 2, "swapped": True}, "4241 4443"),
        ("enum", "bulk", {"texts": {0: "off", 5: "bulk"}}, "0005"),
        ("enum", 9, {"texts": {5: "bulk"}}, "0009"),
        ("enum", "unknown", {"texts": {0: "off"}}, "0001"),
        ("bits", ["b", "bit 4"], {"texts": {1: "b"}}, "0012"),
        ("bits", True, {"texts": {2: "on"}, "is_flag": True}, "0004"),
        ("bits", False, {"texts": {2: "on"}, "is_flag": True}, "0000"),
    ],
)
def test_values_are_written_as_the_nearest_that_the_type_holds(
    kind: str, said: Value | None, more: dict[str, Any], expected: str
) -> None:
    words = encode(row(kind, **more), said, {})
    assert " ".join(f"{word:04X}" for word in words) == expected


def test_a_scaled_value_is_written_by_its_scales() -> None:
    assert encode(SCALED, 16.61133, {"v_pu": 180.0}) == (0x0BD0,)
    assert encode(POWER, 2.526855, {"v_pu": 180.0, "i_pu": 80.0}) == (23,)
    assert encode(SCALED, 16.61133, {"v_pu": 0.0}) == (0,)
