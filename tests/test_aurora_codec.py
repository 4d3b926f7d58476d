"""The codec of Aurora inverters: frames, what the bytes mean, and what is refused."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.aurora import BRIDGE, codec, decode_line, frame, tables
from bridges.aurora.codec import Question, Refused, Unsupported, decode, unit_of
from heliobus import contract
from heliobus.errors import CommandError, FrameError
from tests.aurora_far import settings

KIND = contract.load().kinds["inverter"]
WRITES = (53, 71, 85, 252, 253, 254)


def asked(request: str, response: str) -> dict[str, Any]:
    """Decode, and leave out the state that every answer has."""
    values, units = decode_line(bytes.fromhex(request), bytes.fromhex(response))
    assert set(units) == set(values)
    return {name: value for name, value in values.items() if not name.startswith("global_state")}


def answered(payload: bytes) -> bytes:
    return payload + frame.checksum(payload)


# ---------------------------------------------------------------------- frames


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        ("02 32 00 00 00 00 00 00", "ed 69"),
        ("0f 32 00 00 00 00 00 00", "30 d3"),
        ("00 08 03 02 02 10", "eb 1e"),
        ("31 32 33 34 35 36 37 38 39", "6e 90"),  # the check value of CRC-16/X-25
    ],
)
def test_the_checksum_is_that_of_the_documents(data: str, crc: str) -> None:
    assert frame.checksum(bytes.fromhex(data)).hex(" ") == crc


def test_a_request_is_ten_bytes() -> None:
    assert frame.request(2, 59, (3,)).hex(" ") == "02 3b 03 00 00 00 00 00 a9 24"
    assert frame.request(1, 68, (5, 0, 10)).hex(" ") == "01 44 05 00 0a 00 00 00 95 62"


@pytest.mark.parametrize("command", [*WRITES, 0, 49, 51, 54, 73, 74, 79, 80, 84, 200, 255, 256, -1])
def test_what_does_not_only_read_is_never_framed(command: int) -> None:
    with pytest.raises(CommandError, match=f"command {command}: not one that only reads"):
        frame.request(2, command)


def test_all_that_can_be_framed_is_this() -> None:
    framed = []
    for command in range(-1, 300):
        try:
            frame.request(2, command)
        except CommandError:
            continue
        framed.append(command)
    assert framed == [50, 52, 58, 59, 63, 65, 67, 68, 70, 72, 76, 77, 78, 86]


def test_no_echo_begins_like_an_answer() -> None:
    """Eight bytes of an echo with the CRC of an answer would be taken for one."""
    indices = {frame.MEASURE: range(1, 102), frame.ENERGY: range(7), frame.FLOAT_ENERGY: range(8)}
    for address in range(1, 64):
        for command in frame.READS:
            for index in indices.get(command, range(2)):
                with pytest.raises(FrameError):
                    frame.take_answer(frame.request(address, command, (index,)))


@given(st.binary(max_size=40))
def test_any_bytes_are_an_answer_or_refused(data: bytes) -> None:
    try:
        taken = frame.take_answer(data)
    except FrameError:
        return
    if taken is None:
        assert len(data) < 8
    else:
        assert answered(taken[0]) == data[:8]


@given(st.one_of(st.none(), st.binary(max_size=12)), st.binary(max_size=24))
def test_any_captured_bytes_are_decoded_or_refused(request_: bytes | None, data: bytes) -> None:
    for response in (data, answered(data[:6].ljust(6, b"\0"))):
        try:
            values, _ = decode_line(request_, response)
        except FrameError:
            continue
        assert values


@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=6, max_size=6))
def test_any_six_bytes_are_the_answer_to_any_question_or_refused(
    command: int, index: int, payload: bytes
) -> None:
    try:
        values = decode(Question(command, index), payload)
    except FrameError:
        return
    for value in values.values():
        assert not isinstance(value, float) or math.isfinite(value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_comes_out_as_it_went_in(value: float) -> None:
    data = struct.pack(">f", value)
    found = decode(Question(frame.MEASURE, 3), b"\0\6" + data)["output_w"]
    assert struct.pack(">f", found) == data


# ---------------------------------------------------------------------- what they mean


def test_a_state_has_five_codes_with_their_words() -> None:
    assert asked("02 32 00 00 00 00 00 00 ed 69", "00 06 02 02 02 00 69 73") == {
        "mode": "running",
        "mode_code": 6,
        "inverter_state": "run",
        "inverter_state_code": 2,
        "dcdc_01_state": "MPPT",
        "dcdc_01_state_code": 2,
        "dcdc_02_state": "MPPT",
        "dcdc_02_state_code": 2,
        "alarms": [],
        "alarm_code": 0,
    }


def test_an_alarm_has_the_code_of_the_display() -> None:
    values = asked("02 32 00 00 00 00 00 00 ed 69", "00 01 00 00 00 01 42 ed")
    assert (values["mode"], values["alarms"], values["alarm_code"]) == (
        "waiting",
        ["W001 sun low"],
        1,
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "W001 sun low"), (5, "W001 sun low"), (13, "W003 grid fail"), (18, "ground fault"),
     (23, "E018 ground fault"), (24, "degauss error"), (31, "E023 DC injection error"),
     (38, "E025 Riso low"), (46, "W009 table fail"), (53, "W013 clock fail"),
     (61, "E043 autoexclusion"), (64, "W017 junction box fail"), (65, "unknown 65")],
)  # fmt: skip
def test_alarms_are_where_the_document_has_them(code: int, words: str) -> None:
    assert codec.alarm_of(code) == words


@pytest.mark.parametrize(
    ("code", "text", "mode"),
    [(0, "sending parameters", "starting"), (6, "run", "running"), (9, "ground fault", "fault"),
     (25, "remote off", "off"), (27, "executing autotest", "self_test"),
     (30, "waiting sun", "waiting"), (101, "freeze", "fault"), (28, "unknown", "unknown")],
)  # fmt: skip
def test_global_states_are_where_the_document_has_them(code: int, text: str, mode: str) -> None:
    values = decode(Question(frame.STATE), bytes((0, code, 2, 2, 2, 0)))
    assert (values["global_state"], values["global_state_code"], values["mode"]) == (
        text,
        code,
        mode,
    )


@pytest.mark.parametrize(
    ("code", "text", "mode"),
    [(2, "run", "running"), (15, "leak fail", "running"), (31, "internal error", "running"),
     (32, "unknown", "running"), (42, "zero power", "standby"), (45, "MPPT", "running"),
     (43, "grid not present", "waiting"), (47, "input OC", "running")],
)  # fmt: skip
def test_inverter_states_refine_the_mode(code: int, text: str, mode: str) -> None:
    values = decode(Question(frame.STATE), bytes((0, 6, code, 2, 2, 0)))
    assert (values["inverter_state"], values["mode"]) == (text, mode)


@pytest.mark.parametrize(
    ("code", "text"), [(0, "off"), (3, "not used"), (7, "input low"), (19, "communication error")]
)
def test_converter_states_are_where_the_document_has_them(code: int, text: str) -> None:
    values = decode(Question(frame.STATE), bytes((0, 6, 2, code, 20, 0)))
    assert (values["dcdc_01_state"], values["dcdc_02_state"]) == (text, "unknown")


def test_every_mode_is_one_of_the_contract() -> None:
    known = contract.load().strict
    modes = {mode for _, mode in tables.GLOBAL.values()} | set(tables.NOT_RUNNING.values())
    for mode in modes:
        assert known("inverter", {"mode": mode}) == ({"mode": mode}, {})


def test_isolation_is_in_ohms_and_energy_in_kwh() -> None:
    assert asked("02 3b 1e 00 00 00 00 00 c6 53", "00 06 41 9c cc cd 22 94") == {
        "isolation_ohm": 19_600_000
    }
    assert asked("02 4e 05 00 00 00 00 00 bc dd", "00 06 00 bc 61 4e 01 34") == {
        "yield_kwh": 12345.678
    }
    assert asked("01 44 01 00 00 00 00 00 97 ae", "00 00 44 9a 47 5c 50 fa") == {
        "yield_today_kwh": 1.23423
    }


def test_ten_seconds_are_joules() -> None:
    values = decode(Question(frame.LAST_10_S), bytes.fromhex("00 06 8c a0 00 00"))
    assert values == {"yield_10_s_kwh": 0.01}


def test_some_models_count_temperatures_in_tenths() -> None:
    payload = b"\0\6" + struct.pack(">f", 412.0)
    question = Question(frame.MEASURE, 49)
    assert decode(question, payload) == {"heatsink_c": 412.0}
    assert decode(question, payload, tenths=True) == {"heatsink_c": 41.2}
    assert decode(Question(frame.MEASURE, 21), payload, tenths=True) == {"inverter_c": 412.0}


def test_a_measure_of_the_whole_plant_says_so() -> None:
    values = asked("02 3b 03 01 00 00 00 00 ed 2f", "00 06 45 55 d8 00 52 9f")
    assert values == {"output_w": 3421.5, "whole_plant": True}


def test_a_measure_that_nobody_knows_has_its_number() -> None:
    assert decode(Question(frame.MEASURE, 77), bytes.fromhex("00 06 42 25 00 00")) == {
        "measure_77": 41.25
    }


def test_unknown_letters_of_a_version_are_kept() -> None:
    assert decode(Question(frame.VERSION), b"\0\6?#NZ") == {
        "version": "?#NZ",
        "model": "unknown ?",
        "grid_standard": "unknown #",
        "topology": "transformerless",
        "input_type": "unknown Z",
    }


def test_the_last_alarms_are_given_by_code_and_in_words() -> None:
    values = asked("01 56 00 00 00 00 00 00 ce 28", "00 00 01 02 03 04 c0 32")
    assert values["last_alarms"] == [
        "W001 sun low", "E001 input OC", "W002 input UV", "E002 input OV"
    ]  # fmt: skip
    assert [values[f"alarm_{at:02}_code"] for at in range(1, 5)] == [1, 2, 3, 4]


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("state", [51, 52])
def test_what_is_not_supported_is_refused_as_such(state: int) -> None:
    with pytest.raises(Unsupported, match=rf"measure 60: refused, .* \({state}\)") as refused:
        decode(Question(frame.MEASURE, 60), bytes((state, 6, 0, 0, 0, 0)))
    assert refused.value.state == state


@pytest.mark.parametrize(
    ("state", "words"),
    [(53, "value is out of range"), (54, "EEPROM is not accessible"), (55, "service mode"),
     (56, "internal processor"), (57, "not executed"), (58, "not available now, try again")],
)  # fmt: skip
def test_other_refusals_have_their_words(state: int, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        decode(Question(frame.STATE), bytes((state, 6, 0, 0, 0, 0)))
    assert not isinstance(refused.value, Unsupported)


def test_another_transmission_state_is_no_answer() -> None:
    with pytest.raises(FrameError, match="transmission state is 49, expected 0 or 51 to 58"):
        decode(Question(frame.STATE), b"123456")


@pytest.mark.parametrize("command", [frame.SERIAL, frame.PART])
def test_letters_have_no_transmission_state(command: int) -> None:
    assert list(decode(Question(command), b"312345").values()) == ["312345"]
    with pytest.raises(Unsupported):
        decode(Question(command), bytes((51, 6, 0, 0, 0, 0)))
    with pytest.raises(FrameError, match="expected six letters"):
        decode(Question(command), bytes.fromhex("00 06 45 9e 16 e1"))


@pytest.mark.parametrize("number", ["7f 80 00 00", "ff 80 00 00", "7f c0 00 00"])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(FrameError, match="expected a finite number"):
        decode(Question(frame.MEASURE, 3), b"\0\6" + bytes.fromhex(number))


@pytest.mark.parametrize(
    ("request_", "response", "message"),
    [
        ("02 3b 02 00 00 00 00 00 82 20", "02 3b 02 00 00 00 00 00 82 20", "only the echo"),
        (None, "02 3b 02 00 00 00 00 00 82 20", "found a request, expected an answer"),
        ("02 3b 02 00 00 00 00 00 82 20", "00 06 40 e7 47 30 e9", "found 7 bytes, expected"),
        ("02 3b 02 00 00 00 00 00 82 20", "", "found 0 bytes, expected an answer of 8"),
        ("02 3b 02 00 00 00 00 00 82 20", "00 06 40 e7 47 31 e9 65", "answer: CRC is e9 65"),
        ("02 3b 02 00 00 00 00 00 82 21", "00 06 40 e7 47 30 e9 65", "request: CRC is 82 21"),
        ("02 3b 02", "00 06 40 e7 47 30 e9 65", "request: found 3 bytes, expected 10"),
    ],
)
def test_a_line_that_cannot_be_decoded_says_why(
    request_: str | None, response: str, message: str
) -> None:
    with pytest.raises(FrameError, match=message):
        decode_line(bytes.fromhex(request_) if request_ else None, bytes.fromhex(response))


def test_an_echo_before_the_answer_is_passed_over() -> None:
    echo = "02 3b 02 00 00 00 00 00 82 20"
    assert asked(echo, f"{echo} 00 06 40 e7 47 30 e9 65") == {"output_a": 7.22744}


def test_without_a_request_only_what_is_certain_is_given() -> None:
    assert decode_line(None, bytes.fromhex("31 32 33 31 32 33 6a c5"))[0] == {"text": "123123"}
    assert decode_line(None, bytes.fromhex("00 10 01 02 03 04 80 86"))[0] == {
        "payload_hex": "00 10 01 02 03 04",
        "transmission_state": "ok",
        "transmission_state_code": 0,
        "global_state": "waiting for manual reset",
        "global_state_code": 16,
    }
    stray = b"\x07\x06\xff\xff\xff\xff"
    assert decode_line(None, answered(stray))[0] == {"payload_hex": "07 06 ff ff ff ff"}
    version = decode_line(None, answered(b"\0\0064INN"))[0]
    assert (version["text"], version["global_state"]) == ("4INN", "run")


def test_a_text_that_is_shorter_than_its_place_is_a_text() -> None:
    assert decode(Question(frame.SERIAL), b"12345\0") == {"serial": "12345"}
    assert decode(Question(frame.PART), b"3G79\0\0") == {"hardware_part": "3G79"}
    with pytest.raises(FrameError, match="expected six letters"):
        decode(Question(frame.SERIAL), bytes(6))


def test_what_central_inverters_say_of_their_set_up() -> None:
    two = bytes((0, 0, 2, 0, 0, 0))
    assert decode(Question(101, 1), two) == {"transformer": "100 kW", "transformer_code": 2}
    assert decode(Question(101, 2), two) == {"modules_count": 2}
    assert decode(Question(101, 1), bytes((0, 0, 9, 0, 0, 0)))["transformer"] == "unknown"
    boxes = Question(103)
    assert decode(boxes, bytes((0, 1, 1, 1, 2, 0))) == {"junction_boxes_code": 0x200}
    assert decode(boxes, bytes((0, 0, 1, 1, 2, 0))) == {"junction_boxes_code": 0}


# ---------------------------------------------------------------------- names


def test_every_name_is_a_field_of_an_inverter_or_known_to_be_none() -> None:
    measures = {measure.name for measure in tables.MEASURES.values()}
    energies = {*tables.ENERGIES.values(), *tables.FLOAT_ENERGIES.values()}
    told: set[str] = set()
    for command, payload in {
        frame.STATE: bytes(6), frame.PART: b"-3G79-", frame.VERSION: b"\0\0004INN",
        frame.SERIAL: b"123456", frame.MADE: b"\0\0002315", frame.FLAGS: bytes(6),
        frame.CLOCK: bytes(6), frame.FIRMWARE: b"\0\0C018", frame.LAST_10_S: bytes(6),
        frame.SETUP: bytes(6), frame.ALARMS: bytes(6),
    }.items():  # fmt: skip
        told |= set(decode(Question(command), payload))
    known = contract.load()
    for name in sorted(measures | energies | told):
        is_field = known.field("inverter", name) is not None
        assert is_field != (name in codec.RAW | codec.IDENTITY), name
        if is_field and unit_of(name):
            assert known.field("inverter", name).unit == unit_of(name), name  # type: ignore[union-attr]


def test_it_is_what_the_kit_expects() -> None:
    bridge = BRIDGE(settings())
    assert bridge.kind == "inverter"
    assert bridge.groups[0].name == "beat"
