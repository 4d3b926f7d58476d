"""`heliobus decode studer`: captured exchanges as values in the names of the contract."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.studer import decode_line
from bridges.studer.codec import Entry, Infos
from bridges.studer.frame import Frame, Question, answer, find, refusal, request
from bridges.studer.objects import FAMILIES, IDENTITY, named
from heliobus import components, contract, decode
from heliobus.components import Decoding
from heliobus.errors import FrameError

CONTRACT = contract.load()


def asked(question: Question) -> Frame:
    return find(request(question))[0][0]


def exchange(question: Question, data: bytes) -> tuple[bytes, bytes]:
    return request(question), answer(asked(question), data)


def decoded(question: Question, data: str) -> dict[str, Any]:
    return decode_line(*exchange(question, bytes.fromhex(data)))[0]


@pytest.mark.parametrize(
    ("question", "data", "values"),
    [
        (Question.info(101, 3005), "0000A0C1", {"battery_a": -20.0}),
        (Question.info(101, 3137), "0000A0BF", {"grid_w": -1250.0}),
        (Question.info(103, 3136), "0000A03F", {"output_w": 1250.0}),
        (Question.info(101, 3010), "0400", {"charge_state": "float", "charge_state_code": 4}),
        (Question.info(101, 3028), "0900", {"mode": "unknown", "mode_code": 9}),
        (Question.info(101, 3020), "0100", {"grid_connected": True}),
        (Question.info(100, 3000), "00004E42", {"battery_v": 51.5}),
        (Question.info(301, 11016), "0000", {"mode": "asleep", "mode_code": 0}),
        (Question.info(301, 11034), "0600", {"fault": "PV overvoltage", "fault_code": 6}),
        (Question.info(315, 11009), "00004841", {"yield_kwh": 12500.0}),
        (Question.info(701, 15010), "0000A03F", {"pv_w": 1250.0}),
        (Question.info(701, 15042), "0000003F", {"absorption_today_s": 1800.0}),
        (Question.info(601, 7003), "00808044", {"battery_w": 1028.0}),
        (Question.info(601, 7061), "00006042", {"charge_limit_v": 56.0}),
        (Question.info(601, 7011), "0000003F", {"charged_ah": 500.0}),
        (Question.info(101, 3124), "00008043", {"model": "Xtender XTM"}),
        (Question.parameter(301, 10017), "01", {"equalization_enabled": True}),
    ],
)
def test_an_object_becomes_a_field(question: Question, data: str, values: dict[str, Any]) -> None:
    assert decoded(question, data) == values


def test_a_unit_goes_with_a_value() -> None:
    _, units, note = decode_line(*exchange(Question.info(301, 11004), bytes.fromhex("00001840")))
    assert (units, note) == ({"pv_w": "W"}, "")


@pytest.mark.parametrize(
    ("question", "data", "value", "form"),
    [
        (Question.info(101, 3999), "00004E42", 51.5, "FLOAT"),
        (Question.info(101, 3999), "0700", 7, "SHORT_ENUM"),
        (Question.parameter(101, 1999), "04000000", 4, "LONG_ENUM"),
        (Question.parameter(101, 1999), "01", True, "BOOL"),
        (Question.parameter(101, 1999), "010203", "010203", "bytes"),
        (Question(501, 0x101, 1, 0x21), "4C47", "4c47", "bytes"),
    ],
)
def test_an_unknown_object_is_told_as_it_is(
    question: Question, data: str, value: object, form: str
) -> None:
    values, _, note = decode_line(*exchange(question, bytes.fromhex(data)))
    assert values == {f"object_{question.object_id}": value}
    assert note.endswith(f"is not known; read as {form}")


def test_an_object_of_one_family_is_not_that_of_another() -> None:
    assert named(1, 3000, 101) is not None
    assert named(1, 3000, 301) is None
    assert named(2, 3000, 101) is None


def test_no_number_is_no_value() -> None:
    values, _, note = decode_line(*exchange(Question.info(601, 7004), bytes.fromhex("0000C07F")))
    assert values == {}
    assert "object 7004 (time_to_empty_min) is not a number" in note


def test_many_infos_of_one_device_are_its_fields() -> None:
    items = [(3000, 1), (3136, 1), (3028, 1), (3001, 1), (3888, 1)]
    told = Infos(0x20, 0, dict(zip(items, [51.5, 1.25, 4.0, None, 7.0], strict=True)))
    values, units, note = decode_line(*exchange(Question.infos(items, 3), told.pack()))
    assert values == {
        "battery_v": 51.5, "output_w": 1250.0, "mode": "selling", "mode_code": 4,
        "object_3888": 7.0,
    }  # fmt: skip
    assert units["output_w"] == "W"
    assert note == "not known, given as told: 3888"


def test_many_infos_of_several_devices_say_whose_they_are() -> None:
    items = [(3000, 1), (3000, 2), (11004, 1), (7002, 1), (11004, 0xFE)]
    told = Infos(0, 0, dict.fromkeys(items, 2.0))
    values, units, _ = decode_line(*exchange(Question.infos(items, 3), told.pack()))
    assert values == {
        "xt_1.battery_v": 2.0, "xt_2.battery_v": 2.0, "vt_1.pv_w": 2000.0,
        "bms_1.soc_percent": 2.0, "vt_sum.pv_w": 2000.0,
    }  # fmt: skip
    assert units["vt_1.pv_w"] == "W"


def test_infos_without_an_answer_are_counted() -> None:
    question = Question.infos([(3000, 1), (3005, 1)], 3)
    _, _, note = decode_line(*exchange(question, Infos(0, 0, {(3000, 1): 1.0}).pack()))
    assert note == "not answered: 1 of the infos asked for"


def test_an_entry_of_the_log_is_told_in_words() -> None:
    entry = Entry(3, 19, 101, 1_700_000_000, 0)
    values = decode_line(*exchange(Question.message(0), entry.pack()))[0]
    assert values["text"] == "stopped, battery voltage too low"
    assert values["source"] == 101
    assert values["message_number"] == 19


def test_an_answer_needs_no_request() -> None:
    _, response = exchange(Question.info(101, 3000), bytes.fromhex("00004E42"))
    assert decode_line(None, response)[0] == {"battery_v": 51.5}
    assert decode_line(None, b"\xff" + response + b"\r\n")[0] == {"battery_v": 51.5}


def test_foreign_frames_before_the_answer_are_passed_over() -> None:
    foreign = exchange(Question.info(102, 3000), bytes.fromhex("00005C42"))
    sent, response = exchange(Question.info(101, 3000), bytes.fromhex("00004E42"))
    got = foreign[0] + foreign[1] + b"\r\n" + sent + response
    assert decode_line(sent, got)[0] == {"battery_v": 51.5}


@pytest.mark.parametrize(
    ("sent", "got", "words"),
    [
        (None, b"", "found no whole frame with sound checksums in 0 bytes, expected an answer"),
        (None, request(Question.info(101, 3000)), "found only a request: info 3000 of device 101"),
        (
            request(Question.info(101, 3001)),
            exchange(Question.info(101, 3000), bytes(4))[1],
            "found the answer to info 3000 of device 101, expected that to info 3001 of device 101",
        ),
        (
            request(Question.info(102, 3000)),
            exchange(Question.info(101, 3000), bytes(4))[1],
            "found the answer to info 3000 of device 101, expected that to info 3000 of device 102",
        ),
        (b"\x00", exchange(Question.info(101, 3000), bytes(4))[1], "request: found no whole frame"),
        (None, exchange(Question.info(101, 3000), bytes(2))[1], "found 2 bytes, expected 4"),
        (
            None,
            refusal(asked(Question.info(301, 11000)), 0x13),
            "GATEWAY_BUSY): the gateway is busy",
        ),
        (None, refusal(asked(Question.guid()), 0x11), "the GUID: refused with error 17"),
    ],
    ids=["nothing", "request", "object", "device", "no request", "length", "busy", "guid"],
)
def test_what_is_no_answer_is_refused_with_the_reason(
    sent: bytes | None, got: bytes, words: str
) -> None:
    with pytest.raises(FrameError) as refused:
        decode_line(sent, got)
    assert words in str(refused.value)


@given(st.none() | st.binary(max_size=60), st.binary(max_size=120))
def test_any_bytes_are_decoded_or_refused(sent: bytes | None, got: bytes) -> None:
    try:
        values = decode_line(sent, got)[0]
    except FrameError:
        return
    assert isinstance(values, dict)


@given(st.integers(0, 0xFFFF), st.integers(0, 20_000), st.binary(max_size=40))
def test_any_sound_answer_is_decoded_or_refused(sort: int, number: int, data: bytes) -> None:
    question = Question(101, sort, number, 1)
    try:
        values, units, _ = decode_line(*exchange(question, data))
    except FrameError:
        return
    assert set(units) <= set(values)


def test_the_command_gives_values_units_and_a_note() -> None:
    sent, got = exchange(Question.info(101, 3999), bytes.fromhex("00004E42"))
    lines = [
        json.dumps({"request": sent.hex(), "response": got.hex()}),
        json.dumps({"request": sent.hex()}),
        json.dumps({"request": None, "response": "ff"}),
    ]
    out = io.BytesIO()
    assert decode.run(
        Decoding.BYTES, components.decoder("studer"), [line.encode() for line in lines], out
    )
    first, second, third = (json.loads(line) for line in out.getvalue().splitlines())
    assert first == {
        "ok": True,
        "values": {"object_3999": 51.5},
        "units": {},
        "note": "info 3999 of device 101 is not known; read as FLOAT",
    }
    assert not second["ok"]
    assert '"response" is missing' in second["error"]
    assert not third["ok"]


# ---------------------------------------------------------------------- the tables


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_object_is_a_field_of_its_kind(family: Any) -> None:
    for each in family.objects.values():
        if each.group == IDENTITY:
            continue
        values = each.fields(next(iter(each.codes), 1))
        fine, faults = CONTRACT.strict(family.kind, values)
        assert (fine, faults) == (values, {})


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_word_of_a_code_is_one_of_the_contract(family: Any) -> None:
    for each in family.objects.values():
        if each.group != IDENTITY:
            for code in each.codes:
                values = each.fields(code)
                assert CONTRACT.strict(family.kind, values) == (values, {})


def test_no_field_of_a_family_comes_from_two_objects_that_are_asked() -> None:
    for family in FAMILIES.values():
        names = [each.name for each in family.objects.values() if each.group != "unasked"]
        assert sorted(set(names)) == sorted(names)
        assert all(each.group in ("fast", "slow", "settings", "identity", "unasked")
                   for each in family.objects.values())  # fmt: skip
