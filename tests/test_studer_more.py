"""`heliobus decode studer` beyond plain values: limits, other widths, several answers, writes."""

import struct
from typing import Any

import pytest

from bridges.studer import decode_line
from bridges.studer.codec import Infos
from bridges.studer.frame import Frame, Question, answer, find, request
from heliobus import decode

PARAMETER = 2
QUESTION = Question.parameter(101, 1138)


def _answer(question: Question, data: str) -> bytes:
    return answer(find(request(question))[0][0], bytes.fromhex(data))


def _decoded(question: Question, data: str) -> dict[str, Any]:
    return decode_line(request(question), _answer(question, data))[0]


@pytest.mark.parametrize(
    ("property_id", "data", "values"),
    [
        (0x05, "00007042", {"charge_limit_a": 60.0}),
        (0x0D, "00007042", {"charge_limit_a": 60.0}),
        (0x06, "00000000", {"charge_limit_min_a": 0.0}),
        (0x07, "0000C842", {"charge_limit_max_a": 100.0}),
        (0x08, "1000", {"charge_limit_level_code": 16}),
        (0x08, "10000000", {"charge_limit_level_code": 16}),
        (0x21, "00007042", {"object_1138_property_33": 60.0}),
    ],
)
def test_a_limit_of_a_parameter_is_not_its_value(
    property_id: int, data: str, values: dict[str, Any]
) -> None:
    assert _decoded(Question(101, PARAMETER, 1138, property_id), data) == values


def test_the_unit_of_a_limit_is_that_of_its_parameter() -> None:
    question = Question(301, PARAMETER, 10009, 7)
    values, units, _ = decode_line(request(question), _answer(question, "00006842"))
    assert (values, units) == (
        {"battery_absorption_max_v": 58.0},
        {"battery_absorption_max_v": "V"},
    )


def test_the_limit_of_an_unknown_parameter_says_so() -> None:
    assert _decoded(Question(101, PARAMETER, 1999, 6), "00007042") == {"object_1999_min": 60.0}
    assert _decoded(Question(101, PARAMETER, 1999, 8), "1000") == {"object_1999_level_code": 16}


@pytest.mark.parametrize("property_id", [1, 5, 0x0D])
def test_an_info_may_be_read_by_the_property_of_a_parameter(property_id: int) -> None:
    assert _decoded(Question(101, 1, 3000, property_id), "00004E42") == {"battery_v": 51.5}


@pytest.mark.parametrize("data", ["04", "0400", "04000000", "00008040"])
def test_a_code_may_be_wider_or_narrower_than_usual(data: str) -> None:
    assert _decoded(Question.info(101, 3028), data) == {"mode": "selling", "mode_code": 4}


@pytest.mark.parametrize(("data", "state"), [("00", False), ("0100", True), ("01000000", True)])
def test_a_yes_or_no_may_be_wider_than_usual(data: str, *, state: bool) -> None:
    assert _decoded(Question.parameter(301, 10017), data) == {"equalization_enabled": state}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("18FCFFFF", -1000),
        ("FFFFFFFF", -1),
        ("05", 5),
        ("58636F6D2D323332690000", "Xcom-232i"),
    ],
    ids=["INT32", "minus one", "one byte", "STRING"],
)
def test_an_unknown_object_is_read_by_what_its_bytes_can_be(data: str, value: object) -> None:
    assert _decoded(Question.parameter(101, 1999), data) == {"object_1999": value}


def test_a_true_nan_of_an_unknown_object_is_no_value() -> None:
    for data in ("0000C07F", "0000C0FF"):
        assert _decoded(Question.info(101, 3999), data) == {}


def test_without_a_request_every_answer_counts() -> None:
    first = _answer(Question.info(101, 3000), "00004D42")
    second = _answer(Question.info(102, 3000), "00004E42")
    third = _answer(Question.info(101, 3136), "0000A03F")
    unlike = _answer(Question.info(101, 3005), "0000")
    values, units, _ = decode_line(None, first + b"\r\n" + second + unlike + third)
    assert values == {"battery_v": 51.25, "xt_2.battery_v": 51.5, "output_w": 1250.0}
    assert units == {"battery_v": "V", "xt_2.battery_v": "V", "output_w": "W"}


def test_a_code_that_is_none_costs_only_itself_among_many() -> None:
    items = [(3000, 1), (3020, 1)]
    data = Infos(0, 0, dict(zip(items, [51.5, 2.5], strict=True))).pack()
    question = Question.infos(items, 7)
    values, _, note = decode_line(request(question), _answer(question, data.hex()))
    assert values == {"battery_v": 51.5, "object_3020": 2.5}
    assert "found 2.5, expected a code" in note


def test_an_acknowledged_write_says_what_was_written() -> None:
    sent = bytes.fromhex("AA0001000000650000000E00737900020200720400000D000000F041B72B")
    got = bytes.fromhex("AA2065000000010000000A008F6102020200720400000D008806")
    assert decode_line(sent, got)[0] == {"ack": True, "charge_limit_a": 30.0}
    assert decode_line(None, got)[0] == {"ack": True}


def test_single_bytes_of_any_float_are_no_trap() -> None:
    for bits in range(0, 1 << 32, 0x00FE_DCBB):
        _decoded(Question.parameter(101, 1999), struct.pack("<I", bits).hex())
    assert isinstance(find(request(QUESTION))[0][0], Frame)


def test_a_request_that_nobody_answered_is_told_as_such() -> None:
    done, told = decode.decode_line(decode_line, b'{"request": null, "response": null}')
    assert not done
    assert b'"response: null, the device did not answer"' in told
