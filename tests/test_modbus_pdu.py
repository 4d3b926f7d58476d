"""Requests and answers of Modbus as bytes, in RTU frames and out of noise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliobus.errors import FrameError
from heliobus.modbus import (
    HOLDING,
    INPUT,
    Identify,
    LoopBack,
    Question,
    Read,
    Refused,
    check_refused,
    crc,
    find_mbap,
    find_rtu,
    rtu,
)
from tests.helpers import flips

# An Eastron SDM230 asked for its imported energy: an exchange on the bus of a Solax inverter.
IMPORT_KWH = Read(1, INPUT, 0x48, 2)
REQUEST = bytes.fromhex("01 04 00 48 00 02 f1 dd")
ANSWER = bytes.fromhex("01 04 04 46 2a 75 21 29 8c")
REGISTERS = (0x462A, 0x7521)
REFUSED = bytes.fromhex("01 84 02 c2 c1")

# Two parts, made by the rules of the specification (V1.1b3, 6.21).
BASIC = bytes.fromhex(
    "2b 0e 01 01 ff 02 02 00 0a 43 6f 6d 70 61 6e 79 20 69 64 01 05 50 72 6f 64 75"
)
LAST = bytes.fromhex("2b 0e 01 01 00 00 01 02 05 56 32 2e 31 31")


def test_a_request_is_what_was_recorded() -> None:
    assert rtu(1, IMPORT_KWH.pdu) == REQUEST


def test_an_answer_is_what_was_recorded() -> None:
    assert IMPORT_KWH.registers(find_rtu(IMPORT_KWH, ANSWER)) == REGISTERS


def test_the_checksum_is_that_of_the_specification() -> None:
    # MODBUS over Serial Line V1.02, 6.2.2: the message 02 07 has the CRC 0x1241, sent 41 12.
    assert crc(bytes.fromhex("02 07")) == bytes.fromhex("41 12")


def test_an_exception_is_refused_with_its_number_and_name() -> None:
    with pytest.raises(Refused) as caught:
        IMPORT_KWH.registers(find_rtu(IMPORT_KWH, REFUSED))
    assert caught.value.code == 2
    assert str(caught.value) == (
        "unit 1, 2 input registers from 0x0048: exception 2 (illegal data address)"
    )


@pytest.mark.parametrize(
    "pdu", ["", "04", "03 04 46 2a 75 21", "04 02 46 2a", "04 04 46 2a 75", "04 04 46 2a 75 21 00"]
)
def test_an_answer_of_another_function_or_length_is_none(pdu: str) -> None:
    with pytest.raises(FrameError, match=r"unit 1, 2 input registers from 0x0048: answered"):
        IMPORT_KWH.registers(bytes.fromhex(pdu))


@given(before=st.binary(max_size=40), after=st.binary(max_size=40))
def test_an_answer_is_found_in_any_noise(before: bytes, after: bytes) -> None:
    assert find_rtu(IMPORT_KWH, before + ANSWER + after) == ANSWER[1:-2]


def test_no_answer_is_found_with_any_bit_wrong() -> None:
    for harmed in flips(ANSWER):
        assert find_rtu(IMPORT_KWH, harmed) == b""


def test_no_answer_is_found_in_a_part_of_one() -> None:
    for count in range(len(ANSWER)):
        assert find_rtu(IMPORT_KWH, ANSWER[:count]) == b""


@pytest.mark.parametrize(
    ("unit", "pdu"),
    [
        (2, "04 04 46 2a 75 21"),
        (1, "03 04 46 2a 75 21"),
        (1, "04 02 46 2a"),
        (1, "04 06 46 2a 75 21 00 00"),
        (2, "84 02"),
        (1, "83 02"),
        (1, "04 00 48 00 02"),
    ],
)
def test_frames_of_others_are_passed_over(unit: int, pdu: str) -> None:
    foreign = rtu(unit, bytes.fromhex(pdu))
    assert find_rtu(IMPORT_KWH, foreign) == b""
    assert find_rtu(IMPORT_KWH, foreign + ANSWER + foreign) == ANSWER[1:-2]


def test_a_loop_back_is_answered_by_its_own_data_only() -> None:
    question = LoopBack(1, b"\x12\x34")
    assert rtu(1, question.pdu) == bytes.fromhex("01 08 00 00 12 34 ed 7c")
    assert find_rtu(question, bytes.fromhex("01 08 00 00 12 34 ed 7c")) == question.pdu
    assert find_rtu(question, rtu(1, b"\x08\x00\x00\x12\x35")) == b""
    assert find_rtu(question, bytes.fromhex("01 88 01 87 c0")) == b"\x88\x01"


def test_an_identification_is_read_in_parts() -> None:
    first, last = Identify(1), Identify(1, 2)
    assert first.pdu == bytes.fromhex("2b 0e 01 00")
    assert first.objects(BASIC) == ({0: "Company id", 1: "Produ"}, 2)
    assert last.pdu == bytes.fromhex("2b 0e 01 02")
    assert last.objects(LAST) == ({2: "V2.11"}, 0)


def test_an_identification_is_found_when_it_is_whole() -> None:
    frame = rtu(1, BASIC)
    assert find_rtu(Identify(1), b"\0" + frame + b"\0") == BASIC
    for count in range(len(frame)):
        assert find_rtu(Identify(1), frame[:count]) == b""


def test_a_part_of_an_identification_that_was_not_asked_for_is_none() -> None:
    assert find_rtu(Identify(1, 2), rtu(1, BASIC)) == b""


def test_a_device_that_promises_what_it_has_given_is_not_asked_without_end() -> None:
    again = BASIC[:5] + b"\0" + BASIC[6:]
    assert Identify(1).objects(again)[1] == 0


def test_a_device_without_identification_refuses() -> None:
    with pytest.raises(Refused, match=r"unit 1, identification: exception 1 \(illegal function\)"):
        Identify(1).objects(bytes.fromhex("ab 01"))


def test_an_answer_in_the_frames_of_modbus_tcp_is_known() -> None:
    answer = bytes.fromhex("01 04 00 00 00 07 01 04 04 46 2a 75 21")
    assert find_mbap(IMPORT_KWH, answer) == ANSWER[1:-2]
    assert find_mbap(IMPORT_KWH, ANSWER) == b""
    assert find_mbap(Read(2, INPUT, 0x48, 2), answer) == b""


@given(data=st.binary(max_size=80))
def test_noise_answers_nothing_and_raises_nothing(data: bytes) -> None:
    questions: tuple[Question, ...] = (Read(1, HOLDING, 0, 4), LoopBack(1, b"ab"), Identify(1))
    for question in questions:
        assert find_rtu(question, data) == b""
        check_refused(question, data[:1])
