"""What the answers of Daly boards say, byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.daly import decode_line
from bridges.daly.codec import Counts, decode
from bridges.daly.frame import QUESTIONS, answer, by_number, frames, request
from heliobus.contract import load
from heliobus.errors import FrameError

# Of a board with 16 cells that is discharging: 52.2 V, 18.7 A, 88 %.
VOLTAGE = bytes.fromhex("a5019008020a000075eb03701d")
EIGHT_BYTES = st.binary(min_size=8, max_size=8)
ASKED = bytes.fromhex("a540900800000000000000007d")


def _one(command: int, data: str, counts: Counts | None = None) -> dict[str, object]:
    return dict(decode(command, [bytes.fromhex(data)], counts or Counts()))


# ---------------------------------------------------------------------- frames


def test_a_request_is_thirteen_bytes_with_their_sum() -> None:
    assert request(0x90) == ASKED
    assert request(0x95, 0x41).hex() == "a5419508000000000000000083"
    assert request(0x90, fill=0xAA).hex() == "a5409008aaaaaaaaaaaaaaaacd"


@pytest.mark.parametrize("command", [0x00, 0x21, 0x61, 0xD8, 0xD9, 0xDA])
def test_what_sets_something_cannot_be_framed(command: int) -> None:
    with pytest.raises(ValueError, match="is no question"):
        request(command)


def test_nothing_but_the_known_questions_can_be_framed() -> None:
    framed = set()
    for command in range(256):
        try:
            framed.add(request(command)[2])
        except ValueError:
            continue
    assert framed == QUESTIONS
    assert all(0x50 <= command <= 0x63 or 0x90 <= command <= 0x98 for command in framed)


def test_a_sum_of_zero_is_a_sum() -> None:
    (found,) = frames(bytes.fromhex("a501930802010171000486c000"))
    assert found.data.hex() == "02010171000486c0"


def test_a_frame_in_which_another_begins_is_none() -> None:
    """One that lost its last bytes has the right sum with those that follow."""
    cut, follows = bytes.fromhex("a501950802"), bytes.fromhex("a5019008020a008f75eb0370ac")
    mixed = (cut + follows)[:13]
    assert sum(mixed[:12]) & 0xFF == mixed[12]
    assert [found.command for found in frames(cut + follows)] == [0x90]


def test_the_end_of_an_earlier_answer_is_passed_over() -> None:
    old, *new = (bytes([number, *[tag] * 7]) for number, tag in ((6, 1), (1, 2), (2, 3), (2, 4)))
    assert by_number([old, *new]) == {1: new[0], 2: new[2]}


def test_numbers_that_cannot_be_are_not_taken_for_cells() -> None:
    with pytest.raises(FrameError, match="number 0, expected them to begin at 1"):
        by_number([bytes(8)])
    assert by_number([bytes([0xFF] * 8), bytes([17] * 8)]) == {}
    with pytest.raises(FrameError, match="found frame 255, expected 1 to 16"):
        _one(0x95, "ff0ca30ca70ca6f9")


# ---------------------------------------------------------------------- values


def test_the_current_is_positive_while_charging() -> None:
    assert _one(0x90, "020a000075eb0370") == {
        "battery_v": 52.2,
        "battery_a": -18.7,
        "battery_w": -976.1,
        "soc_percent": 88.0,
    }
    assert _one(0x90, "020a000074750370")["battery_a"] == 18.7


def test_the_sum_of_the_cells_is_shown_where_the_board_states_it() -> None:
    assert _one(0x90, "020a020c75eb0370")["cells_sum_v"] == 52.4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("0000000000000000", "all of 0x90 is zero"),
        ("0000000075300370", "found 0.0 V"),
        ("0900000075300370", "found 230.4 V"),
        ("020a000075eb03e9", "100.1 %, expected"),
        ("020a0000ffff0370", "-3553.5 A"),
        ("020a000000000370", "3000.0 A"),
    ],
)
def test_a_voltage_that_cannot_be_is_refused(data: str, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        _one(0x90, data)


def test_the_highest_and_lowest_cell_come_with_their_numbers() -> None:
    assert _one(0x91, "0ec8050e9c0901f4") == {
        "cell_max_v": 3.784,
        "cell_max_id": "5",
        "cell_min_v": 3.74,
        "cell_min_id": "9",
        "cell_delta_v": 0.044,
    }
    assert "cell_min_id" not in _one(0x91, "0ec8050e9c0901f4", Counts(8, 1))


@pytest.mark.parametrize("data", ["0000000000000000", "1389050e9c090000", "0e9c090ec8050000"])
def test_cells_that_cannot_be_are_refused(data: str) -> None:
    with pytest.raises(FrameError, match="expected 500 to 5000 mV"):
        _one(0x91, data)


def test_temperatures_are_counted_from_minus_40() -> None:
    assert _one(0x92, "4701470113050338") == {
        "temperature_max_c": 31,
        "temperature_max_id": "1",
        "temperature_min_c": 31,
        "temperature_min_id": "1",
    }
    assert _one(0x92, "3d021e0100000000", Counts(16, 2))["temperature_min_c"] == -10


@pytest.mark.parametrize("counts", [Counts(16, 0), Counts()])
def test_minus_40_of_no_sensor_is_no_temperature(counts: Counts) -> None:
    assert _one(0x92, "0000000013050338", counts) == {}


def test_a_hottest_sensor_that_is_colder_than_the_coldest_is_refused() -> None:
    with pytest.raises(FrameError, match="expected the hottest"):
        _one(0x92, "3d013e0213050338")


@pytest.mark.parametrize(
    ("code", "mode"), [(0, "idle"), (1, "charging"), (2, "discharging"), (7, "unknown")]
)
def test_the_state_is_a_word_and_its_code(code: int, mode: str) -> None:
    assert _one(0x93, f"0{code}010025 00009de9") == {
        "mode": mode,
        "mode_code": code,
        "charge_enabled": True,
        "discharge_enabled": False,
        "heartbeat_count": 37,
        "remaining_ah": 40.425,
    }


def test_the_counts_come_with_what_is_connected() -> None:
    assert _one(0x94, "0c010001020025f9") == {
        "cells_count": 12,
        "temperature_sensors_count": 1,
        "charger_connected": False,
        "load_connected": True,
        "gpio_code": 2,
        "cycles": 37,
    }
    for data in ("0001000000000000", "3101000000000000", "1011000000000000"):
        with pytest.raises(FrameError, match="sensors, expected 1 to 48"):
            _one(0x94, data)


def test_places_beyond_the_cells_are_never_shown() -> None:
    data = [bytes.fromhex(each) for each in ("040ec40ec40ec420", "050ec30ec00ec420")]
    shown = decode(0x95, data, Counts(14, 1))
    assert list(shown) == [f"cell_{cell:02}_v" for cell in range(10, 15)]


def test_a_cell_that_cannot_be_is_absent_and_the_others_are_there() -> None:
    assert _one(0x95, "0113880c8f01f3f8") == {"cell_01_v": 5.0, "cell_02_v": 3.215}
    with pytest.raises(FrameError, match="found no cell between 500 and 5000 mV"):
        _one(0x95, "01000000000000f8")


def test_what_stands_behind_the_last_sensor_is_never_shown() -> None:
    assert _one(0x96, "013d000000000032") == {"temperature_01_c": 21}
    assert _one(0x96, "013d3cff32323232") == {"temperature_01_c": 21, "temperature_02_c": 20}
    assert _one(0x96, "013d3c3200000032", Counts(16, 2)) == {
        "temperature_01_c": 21,
        "temperature_02_c": 20,
    }
    assert _one(0x96, "0100000000000032") == {}


def test_a_sensor_that_is_counted_may_be_at_minus_40() -> None:
    assert _one(0x96, "0100000000000032", Counts(16, 1)) == {"temperature_01_c": -40}


def test_balancing_is_bit_by_bit_from_cell_1_on() -> None:
    assert _one(0x97, "9000000000000000") == {
        "balancing": True,
        "cell_05_balancing": True,
        "cell_08_balancing": True,
    }
    known = _one(0x97, "02000100ffffffff", Counts(8, 1))
    assert known == {"balancing": True} | {
        f"cell_{cell:02}_balancing": cell == 2 for cell in range(1, 9)
    }
    assert _one(0x97, "00000000000001ff") == {"balancing": False}  # beyond the 48 bits


@pytest.mark.parametrize(
    ("data", "alarms"),
    [
        ("0000000000000000", []),
        ("0300000000000000", ["cell voltage high, level 1", "cell voltage high, level 2"]),
        ("8800000000000000", ["cell voltage low, level 2", "battery voltage low, level 2"]),
        ("0081000000000000", ["charge temperature high, level 1"]),
        ("0000800000000000", ["state of charge low, level 2"]),
        ("0000000800000000", ["temperature difference high, level 2"]),
        ("0000000010000000", ["charge MOSFET stuck closed"]),
        ("0000000000020000", ["cell voltage wire lost"]),
        ("0000000000000400", ["short circuit protection"]),
        ("0000001000001000", ["unknown alarm, byte 3 bit 4", "unknown alarm, byte 6 bit 4"]),
    ],
)
def test_alarms_are_words_with_their_level(data: str, alarms: list[str]) -> None:
    found = _one(0x98, data)
    if data.startswith("0081"):
        alarms = [*alarms, "discharge temperature low, level 2"]
    assert found == {"alarms": alarms, "fault_code": 0}


def test_a_fault_code_is_no_alarm_bit() -> None:
    assert _one(0x98, "0000000000000003") == {"alarms": [], "fault_code": 3}


def test_who_a_board_is_comes_in_parts() -> None:
    parts = [bytes([number]) + text for number, text in ((1, b"DL-BMS-"), (2, b"R32-01E"))]
    assert decode(0x63, parts) == {"model": "DL-BMS-R32-01E"}
    with pytest.raises(FrameError, match=r"found parts \[2\] of the model, expected 1 to 2"):
        decode(0x63, parts[1:])
    with pytest.raises(FrameError, match="as the model, expected letters"):
        decode(0x63, [parts[0], b"\x02\x81\x82AAAAA"])
    code = [b"\x01DL24060"] + [bytes([at, *bytes(7)]) for at in range(2, 6)]
    assert decode(0x57, code) == {"serial": "DL24060"}


def test_what_is_on_the_label_of_a_board() -> None:
    assert _one(0x50, "0004f58800000c80") == {"capacity_ah": 325.0, "cell_rated_v": 3.2}
    assert _one(0x50, "0000000000000000") == {}
    assert _one(0x53, "0000180601000000") == {"production_date": "2024-06-01"}
    with pytest.raises(FrameError, match="expected year, month and day"):
        _one(0x53, "0000180d01000000")


def test_limits_come_high_before_low_and_warning_before_protection() -> None:
    assert _one(0x59, "0e100e420af009c4") == {
        "cell_high_warning_v": 3.6,
        "cell_high_protection_v": 3.65,
        "cell_low_warning_v": 2.8,
        "cell_low_protection_v": 2.5,
    }
    assert _one(0x5A, "0240025001c00000") == {
        "battery_high_warning_v": 57.6,
        "battery_high_protection_v": 59.2,
        "battery_low_warning_v": 44.8,
    }


def test_every_value_of_a_question_is_in_the_contract() -> None:
    everything = (
        _one(0x90, "020a020c75eb0370")
        | _one(0x91, "0ec8050e9c0901f4")
        | _one(0x92, "4701470113050338")
        | _one(0x93, "0101002500009de9")
        | _one(0x94, "0c010001020025f9")
        | _one(0x95, "010ca30ca70ca6f9")
        | _one(0x96, "013d000000000032")
        | _one(0x97, "9000000000000000")
        | _one(0x98, "0300000000000000")
        | _one(0x50, "0004f58800000c80")
        | _one(0x53, "0000180601000000")
        | _one(0x59, "0e100e420af009c4")
        | _one(0x5A, "0240025001c00190")
    )
    assert load().strict("battery", everything) == (everything, {})


# ---------------------------------------------------------------------- captures


def test_a_capture_of_several_questions_gives_all_of_them() -> None:
    counts = answer(1, 0x94, bytes.fromhex("0e010000000000f9"))
    cells = answer(1, 0x95, bytes.fromhex("050ec30ec00ec420"))
    values, units, _ = decode_line(ASKED, cells + VOLTAGE + counts)
    assert (values["battery_v"], values["cell_14_v"], values["board"]) == (52.2, 3.776, 1)
    assert "cell_15_v" not in values
    assert (units["battery_w"], units["mode" if "mode" in units else "board"]) == ("W", "")


def test_what_cannot_be_costs_only_itself_unless_it_was_asked() -> None:
    zero = answer(1, 0x90, bytes(8))
    cells = answer(1, 0x95, bytes.fromhex("010ec30ec00ec420"))
    assert "battery_v" not in decode_line(None, zero + cells)[0]
    with pytest.raises(FrameError, match="all of 0x90 is zero"):
        decode_line(ASKED, zero + cells)
    with pytest.raises(FrameError, match="all of 0x90 is zero"):
        decode_line(None, zero)


@pytest.mark.parametrize(
    ("asked", "response", "message"),
    [
        ("", "", "found no whole frame in 0 bytes"),
        ("", "a5019008020a000075eb03701c", "expected 13 bytes from a5 on with the right sum"),
        ("", VOLTAGE.hex() + answer(2, 0x90, VOLTAGE[4:12]).hex(), "found boards 1 and 2"),
        ("", "d2037c0ccb0cc9", "found Modbus of the newer generation"),
        ("d2030000003ed7b9", VOLTAGE.hex(), "request: found 'd2 03 00"),
        (ASKED.hex(), ASKED.hex(), "found only a request, sent back .* sleeps; expected an answer"),
    ],
)
def test_a_capture_without_an_answer_is_refused(asked: str, response: str, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        decode_line(bytes.fromhex(asked) or None, bytes.fromhex(response))


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        (ASKED, ""),
        (request(0x91), "found answers to 0x90; 0x91 was asked"),
        (request(0x90, 0x41), "board 1 answers; board 2 was asked"),
    ],
)
def test_an_answer_that_was_not_asked_is_true_and_noted(asked: bytes, note: str) -> None:
    values, _, found = decode_line(asked, VOLTAGE)
    assert (values["battery_v"], values["board"]) == (52.2, 1)
    assert found == note


def test_a_board_without_a_sensor_is_no_error() -> None:
    values, _, note = decode_line(None, answer(1, 0x96, bytes([1, *bytes(7)])))
    assert values == {"board": 1}
    assert "nothing is there" in note


def test_one_of_two_boards_is_told_by_the_request() -> None:
    other = answer(2, 0x90, bytes.fromhex("0200000075300100"))
    both = VOLTAGE + other
    assert decode_line(ASKED, both)[0]["battery_v"] == 52.2
    assert decode_line(request(0x90, 0x41), both)[0]["battery_v"] == 51.2


def test_what_other_programs_set_is_shown_as_the_board_echoes_it() -> None:
    off = bytes.fromhex("a501d908000d130d210d17c0b9")
    assert decode_line(None, off)[0] == {"discharge_enabled": False, "board": 1}
    assert decode_line(None, answer(1, 0x21, bytes([1, *bytes(7)])))[0]["ack"] is True


# ---------------------------------------------------------------------- any bytes


@given(st.binary(max_size=400))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for asked in (None, ASKED, data[:13]):
        try:
            values, units, _ = decode_line(asked, data)
        except FrameError:
            continue
        assert set(units) == set(values)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted({*QUESTIONS, 0xD8})), st.binary(min_size=8, max_size=8))
    )
)
def test_any_frames_are_decoded_or_refused(said: list[tuple[int, bytes]]) -> None:
    try:
        values, *_ = decode_line(None, b"".join(answer(1, *each) for each in said))
    except FrameError:
        return
    assert values["board"] == 1


@given(
    st.integers(1, 31),
    st.integers(0, 255),
    st.binary(min_size=8, max_size=8),
    st.binary(max_size=9),
)
def test_what_is_framed_is_found_again(
    board: int, command: int, data: bytes, before: bytes
) -> None:
    framed = answer(board, command, data)
    found = list(frames(framed))
    assert [(each.address, each.command, each.data) for each in found] == [(board, command, data)]
    noise = before.replace(b"\xa5", b"")
    assert list(frames(noise + framed)) == found
