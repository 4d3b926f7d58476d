"""Frames to values: each type of row, each rule, and the mistakes that others have made."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.can import profiles
from bridges.can.codec import decode, dialect, identity
from bridges.can.frames import EXTENDED, NUMBERS, Field, Guard, Message, Profile
from heliobus.contract import load
from tests.helpers import ROOT

LV = profiles.load("pylontech_lv", beside=ROOT)
VICTRON = profiles.load("victron_lv", beside=ROOT)
SMA = profiles.load("sma_lv", beside=ROOT)
V2 = profiles.load("pylon_v2", beside=ROOT)


def by(profile: Profile, frames: Mapping[int, str]) -> dict[str, Any]:
    return decode(profile, {number: bytes.fromhex(data) for number, data in frames.items()})


def lv(frames: Mapping[int, str]) -> dict[str, Any]:
    return by(LV, frames)


def made(*fields: Field, **other: Any) -> Profile:
    """Give a profile of one message, 0x100."""
    return Profile(
        name="made",
        maker="",
        models=(),
        kind="battery",
        messages={0x100: Message(0x100, fields, **other)},
        verified="document",
        source=(),
    )


def row(kind: str, at: int = 0, **other: Any) -> Field:
    length = other.pop("length", NUMBERS[kind][0] if kind in NUMBERS else 1)
    return Field(other.pop("name", "value"), at, kind, length, **other)


def value(field: Field, data: str, **other: Any) -> Any:
    return by(made(field, **other), {0x100: data}).get(field.name)


# ---------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("kind", "little", "big"),
    [
        ("u8", 0xFE, 0xFE),
        ("s8", -2, -2),
        ("u16", 0xFFFE, 0xFEFF),
        ("s16", -2, -257),
        ("u32", 0x8001FFFE, 0xFEFF0180),
        ("s32", -2147352578, -16842368),
    ],
)
def test_a_number_is_read_from_either_end(kind: str, little: int, big: int) -> None:
    assert value(row(kind), "FE FF 01 80") == little
    assert value(row(kind), "FE FF 01 80", is_big=True) == big


def test_a_number_begins_at_its_byte() -> None:
    assert value(row("u16", 6), "00 00 00 00 00 00 34 12") == 0x1234


def test_a_number_is_scaled_as_a_decimal_and_then_added_to() -> None:
    assert value(row("s16", scale=Decimal("0.01")), "84 13") == 49.96
    assert value(row("u16", add=Decimal(-273)), "26 01") == 21
    assert value(row("u16", scale=Decimal("0.1"), add=Decimal("0.05")), "01 00") == 0.15


def test_whole_numbers_stay_whole_and_the_others_are_floats_always() -> None:
    assert isinstance(value(row("u16"), "05 00"), int)
    assert isinstance(value(row("u16", scale=Decimal("0.1")), "0A 00"), float)


def test_no_zero_is_negative() -> None:
    assert str(value(row("s16", scale=Decimal("-0.1")), "00 00")) == "0.0"


def test_what_says_that_it_is_not_there_is_not_there() -> None:
    field = row("s16", invalid=frozenset({0x8000}))
    assert value(field, "00 80") is None
    assert value(field, "01 80") == -32767


def test_a_number_outside_its_range_is_left_out_and_one_at_its_end_is_not() -> None:
    field = row("s16", scale=Decimal("0.1"), least=-60.0, most=100.0)
    assert [value(field, data) for data in ("A8 FD", "A7 FD", "E8 03", "E9 03")] == [
        *(-60.0, None, 100.0, None)
    ]


def test_a_bit_is_true_or_false() -> None:
    assert value(row("bit", 1, bit=7), "00 80") is True
    assert value(row("bit", 1, bit=7), "FF 7F") is False


def test_bits_that_are_set_are_told_in_words_and_those_without_words_as_unknown() -> None:
    field = row("bits", length=2, texts={0: "low", 9: "high"})
    assert value(field, "01 02") == ["low", "high"]
    assert value(field, "00 00") == []
    assert value(field, "02 80") == ["unknown bit 1 of 100", "unknown bit 15 of 100"]


def test_a_bit_with_an_empty_text_is_passed_over() -> None:
    assert value(row("bits", texts={0: "", 1: "low"}), "03") == ["low"]


def test_a_pair_of_bits_is_active_at_1_only() -> None:
    field = row("pair2", length=1, texts={0: "a", 1: "b", 2: "c", 3: "d"})
    assert value(field, "00") == []
    assert value(field, "55") == ["a", "b", "c", "d"]
    assert value(field, "AA") == []
    assert value(field, "FF") == []
    assert value(field, "E4") == ["b"]  # 0, 1, 2, 3


def test_a_text_ends_at_the_first_byte_that_is_no_letter() -> None:
    assert value(row("ascii", length=0), "50 59 4C 4F 4E 20 20 20") == "PYLON"
    assert value(row("ascii", length=0), "50 59 4C 4F 4E 02 41") == "PYLON"
    assert value(row("ascii", 2, length=2), "50 59 4C 4F 4E") == "LO"
    assert value(row("ascii", length=0), "FF FF") is None
    assert value(row("ascii", length=0), "20 20 00") is None


def test_a_version_has_dots() -> None:
    assert value(row("version", 2, length=2), "00 00 0D 05") == "13.5"


def test_a_number_is_taken_only_near_to_the_one_that_guards_it() -> None:
    coarse = row("u8", name="soc_percent")
    fine = row(
        "u16",
        1,
        name="soc_hires_percent",
        scale=Decimal("0.01"),
        guard=Guard("soc_percent", Decimal(1)),
    )
    profile = made(coarse, fine)
    assert by(profile, {0x100: "32 24 13"})["soc_hires_percent"] == 49.0
    assert "soc_hires_percent" not in by(profile, {0x100: "32 23 13"})
    assert "soc_hires_percent" not in by(made(fine), {0x100: "32 88 13"})


# ---------------------------------------------------------------------- what there is not


@pytest.mark.parametrize("length", range(8))
def test_what_a_frame_is_too_short_for_is_left_out(length: int) -> None:
    found = decode(LV, {0x351: bytes.fromhex("1402B0044006C201")[:length]})
    names = ("charge_limit_v", "charge_limit_a", "discharge_limit_a", "discharge_limit_v")
    assert tuple(found) == names[: length // 2]


def test_bytes_beyond_those_that_are_known_change_nothing() -> None:
    assert lv({0x355: "5A 00 64 00"}) == lv({0x355: "5A 00 64 00 00 00 00 00"})


def test_a_field_may_ask_for_a_longer_frame() -> None:
    field = row("u16", 4, min_dlc=8)
    assert value(field, "00 00 00 00 05 00 00 00") == 5
    assert value(field, "00 00 00 00 05 00 00") is None


def test_a_frame_that_is_too_short_for_its_message_means_something_else() -> None:
    assert by(VICTRON, {0x372: "00 00 00 02", 0x373: "01 00 00 00"}) == {}
    assert by(VICTRON, {0x372: "02 00 00 00 00 00 01 00"})["modules_offline_count"] == 1


def test_nothing_is_false_before_its_frame_was_seen() -> None:
    found = lv({0x356: "84 13 F1 FF 37 00"})
    assert set(found) == {"battery_v", "battery_a", "battery_w", "battery_c"}


def test_a_list_of_alarms_is_told_whole_or_not_at_all() -> None:
    assert lv({0x359: "02 00 00"}) == {"protection_code": 2}
    assert lv({0x359: "02 00 00 00"})["alarms"] == ["over-voltage protection"]
    assert "alarms" not in lv({0x35A: "04 00 00 00 00 00 00"})


def test_a_no_that_is_told_in_part_is_not_told_and_a_yes_is() -> None:
    said = {0x35C: "C0 00", 0x360: ""}
    assert "charge_requested" not in by(VICTRON, said)
    assert by(VICTRON, {**said, 0x35C: "E0 00"})["charge_requested"] is True
    assert by(VICTRON, {**said, 0x360: "FF"})["charge_requested"] is True
    assert by(VICTRON, {**said, 0x360: "00"})["charge_requested"] is False


def test_alarms_of_two_frames_are_joined() -> None:
    found = lv({0x359: "02 00 00 00 01", 0x35A: "04 00 00 00 00 00 00 00"})
    assert found["alarms"] == ["over-voltage protection", "high voltage alarm"]


def test_of_a_value_in_two_frames_the_first_that_is_there_counts() -> None:
    both = {0x370: "76 00 6C 00 CF 0C CA 0C", 0x373: "CA 0C CF 0C 1B 01 1C 01"}
    assert by(V2, both)["temperature_max_c"] == 11.8
    assert by(V2, {0x373: both[0x373]})["temperature_max_c"] == 11


def test_a_frame_that_says_not_there_leaves_the_value_to_the_next_one() -> None:
    both = {0x370: "00 80 6C 00 00 00 CA 0C", 0x373: "CA 0C CF 0C 1B 01 1C 01"}
    values = by(V2, both)
    assert (values["temperature_max_c"], values["temperature_min_c"]) == (11, 10.8)
    assert (values["cell_max_v"], values["cell_min_v"]) == (3.279, 3.274)


def test_an_identifier_of_29_bits_is_another_one() -> None:
    assert decode(LV, {0x355 | EXTENDED: bytes.fromhex("5A006400")}) == {}


def test_the_power_is_that_of_voltage_and_current() -> None:
    assert lv({0x356: "84 13 F1 FF"})["battery_w"] == -74.94
    assert "battery_w" not in lv({0x356: "84 13 00 80 37 00"})
    assert "battery_w" not in lv({0x356: "84 13"})


# ---------------------------------------------------------------------- alarms, word for word


@pytest.mark.parametrize(
    ("bit", "told"),
    [
        (1, "over-voltage protection"),
        (2, "under-voltage protection"),
        (3, "over-temperature protection"),
        (4, "under-temperature protection"),
        (7, "discharge over-current protection"),
        (8, "charge over-current protection"),
        (11, "system error protection"),
        (15, "unknown bit 15 of 359"),  # YamBMS means charge over-current
        (17, "high voltage warning"),
        (18, "low voltage warning"),
        (19, "high temperature warning"),
        (20, "low temperature warning"),
        (23, "high discharge current warning"),
        (24, "high charge current warning"),
        (27, "internal communication warning"),
    ],
)
def test_each_bit_of_359_has_its_words(bit: int, told: str) -> None:
    data = (1 << bit).to_bytes(4, "little") + bytes.fromhex("04504E")
    found = decode(LV, {0x359: data})
    assert found["alarms"] == [told]
    assert found["protection_code"] == (1 << bit) % 65536
    assert found["protection_warning_code"] == 1 << bit >> 16
    assert found["modules_count"] == 4


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        *enumerate(
            (
                "general",
                "high voltage",
                "low voltage",
                "high temperature",
                "low temperature",
                "high temperature, charging",
                "low temperature, charging",
                "high discharge current",
                "high charge current",
                "contactor",
                "short circuit",
                "internal failure",
                "cell imbalance",
            )
        )
    ],
)
@pytest.mark.parametrize(("place", "word"), [(0, "alarm"), (32, "warning")])
def test_each_pair_of_35a_has_its_words(pair: int, told: str, place: int, word: str) -> None:
    what, _, when = told.partition(", ")
    words = f"{what} {word} while {when}" if when else f"{what} {word}"
    found = decode(SMA, {0x35A: (1 << place + 2 * pair).to_bytes(8, "little")})
    assert found["alarms"] == [words]
    assert found[f"{word}_code"] == 1 << 2 * pair


@pytest.mark.parametrize(
    ("bit", "name"),
    [
        (7, "charge_enabled"),
        (6, "discharge_enabled"),
        (5, "charge_requested"),
        (4, "charge_requested"),
        (3, "full_charge_requested"),
    ],
)
def test_each_bit_of_35c_has_its_meaning(bit: int, name: str) -> None:
    found = decode(LV, {0x35C: bytes([1 << bit, 0])})
    assert [key for key, flag in found.items() if flag is True] == [name]
    assert found["request_code"] == 1 << bit


# ---------------------------------------------------------------------- mistakes of others


@pytest.mark.parametrize("sent", ["9C FF", "64 00"])
def test_a_discharge_limit_is_positive_whatever_its_sign(sent: str) -> None:
    """An early diyBMS sends it negative (stuartpittaway/diyBMSv4ESP32, issue 87)."""
    assert lv({0x351: f"44 02 64 00 {sent} 3F 02"})["discharge_limit_a"] == 10.0


def test_a_limit_of_0_is_a_limit() -> None:
    found = lv({0x351: "14 02 00 00 00 00"})
    assert (found["charge_limit_a"], found["discharge_limit_a"]) == (0.0, 0.0)
    assert "discharge_limit_v" not in found


def test_a_limit_is_not_judged_by_its_size() -> None:
    """Limits grow with the number of modules: up to what the two bytes hold."""
    assert lv({0x351: "14 02 FF 7F FF 7F"})["charge_limit_a"] == 3276.7


def test_the_discharge_voltage_needs_a_frame_of_8_bytes() -> None:
    """OpenDTU-OnBattery reads bytes 6 and 7 of any frame 351."""
    assert "discharge_limit_v" not in lv({0x351: "14 02 B0 04 40 06"})


def test_a_pack_with_firmware_v13_is_not_dead() -> None:
    """It sends neither 359 nor 35C; what they tell is not known."""
    found = lv(
        {
            0x351: "14 02 B0 04 40 06 C2 01",
            0x355: "5A 00 64 00 00 00",
            0x356: "84 13 F1 FF 37 00",
            0x35A: "00 00 00 00 00 00 00 00",
            0x35E: "50 59 4C 4F 4E 20 20 20",
            0x35F: "4C 49 01 03 3C 02 AA 00",
        }
    )
    assert found["soc_percent"] == 90
    assert found["alarms"] == []
    assert found["capacity_ah"] == 572
    assert not {"charge_enabled", "discharge_enabled", "modules_count"} & set(found)


@pytest.mark.parametrize("constant", ["00 00", "09 00", "FF FF"])
def test_constants_in_the_place_of_hundredths_are_no_state_of_charge(constant: str) -> None:
    for soc in ("00 00", "01 00", "64 00"):
        assert set(lv({0x355: f"{soc} 64 00 {constant}"})) == {"soc_percent", "soh_percent"}


def test_hundredths_that_are_near_are_told_beside_the_whole_number() -> None:
    found = by(VICTRON, {0x355: "57 00 64 00 1E 22"})
    assert (found["soc_percent"], found["soc_hires_percent"]) == (87, 87.34)


def test_cell_voltages_in_355_are_no_state_of_charge() -> None:
    """LuxPower has the highest and the lowest cell there, in mV."""
    assert "soc_hires_percent" not in lv({0x355: "57 00 64 00 F8 0C F0 0C"})


def test_no_health_is_not_a_health_of_0() -> None:
    assert lv({0x355: "57 00 00 00"}) == {"soc_percent": 87}


def test_a_temperature_that_no_cell_has_is_left_out() -> None:
    """An emitter without a sensor sends -150.0."""
    assert "battery_c" not in lv({0x356: "84 13 00 00 24 FA"})


def test_a_voltage_in_tenths_is_not_taken_for_one_in_hundredths() -> None:
    """A Discover gateway sends 522 for 52.2 V, which would be 5.22."""
    assert "battery_v" not in lv({0x356: "0A 02 11 FF BE 00 00 00"})


def test_what_sma_calls_invalid_is_absent() -> None:
    said = {0x355: "32 00 FF FF FF FF", 0x356: "50 14 00 80 00 80"}
    assert lv(said) == {"soc_percent": 50, "battery_v": 52.0}


# ---------------------------------------------------------------------- who it is


@pytest.mark.parametrize(
    ("data", "maker"),
    [
        ("50 59 4C 4F 4E 20 20 20", "PYLON"),
        ("50 59 4C 4F 4E 02 03 00", "PYLON"),
        ("50 59 54 45 53", "PYTES"),
        ("50 59 4C 4F 59 4C 4F 4E", "PYLOYLON"),  # AntBmsToCan; it is what was sent
    ],
)
def test_the_maker_is_what_35e_spells(data: str, maker: str) -> None:
    assert identity(LV, {0x35E: bytes.fromhex(data)}) == {"maker": maker}


@pytest.mark.parametrize("data", ["76006C00CF0CCA0C", "41016C00CF0CCA0C", "4142014341424344"])
def test_numbers_that_begin_like_a_letter_are_no_name(data: str) -> None:
    assert identity(VICTRON, {0x370: bytes.fromhex(data)}) == {}


@pytest.mark.parametrize("data", ["4C47000000000000", "4C47202020202020", "4C47FFFFFFFFFFFF"])
def test_a_short_name_is_one_where_nothing_follows(data: str) -> None:
    assert identity(VICTRON, {0x370: bytes.fromhex(data)}) == {"model": "LG"}


def test_a_version_that_is_not_there_is_none() -> None:
    assert identity(VICTRON, {0x35F: bytes.fromhex("0000FFFFFFFFFFFF")}) == {}


def test_a_name_that_fills_its_frame_goes_on_in_the_next() -> None:
    whole = {0x370: b"CAN-SMAR", 0x371: b"TBMS-BAT"}
    assert identity(VICTRON, whole)["model"] == "CAN-SMARTBMS-BAT"
    assert (
        identity(VICTRON, {0x370: b"Discover", 0x371: b" AES\0\0\0\0"})["model"] == "Discover AES"
    )
    assert identity(VICTRON, {0x370: b"diyBMS\0\0", 0x371: b"\0" * 8})["model"] == "diyBMS"
    assert identity(VICTRON, {0x371: b"TBMS-BAT"}) == {}


def test_a_product_name_counts_where_there_is_no_other() -> None:
    assert identity(VICTRON, {0x382: b"Pelio_L"}) == {"model": "Pelio_L"}
    assert identity(VICTRON, {0x370: b"mine", 0x382: b"Pelio_L"}) == {"model": "mine"}


def test_the_kind_of_firmware_is_told_by_the_frames_that_come() -> None:
    assert dialect(LV, {0x355, 0x359}).startswith("protocol V1.2")
    assert dialect(LV, {0x355, 0x35C, 0x35A, 0x35F}).startswith("protocol V1.2")
    assert dialect(LV, {0x355, 0x35A}).startswith("protocol V1.3")
    assert dialect(LV, {0x355}) == ""


# ---------------------------------------------------------------------- whatever comes

FRAMES = st.dictionaries(
    st.sampled_from([*V2.messages, *LV.messages, 0x305]) | st.integers(0, 2**32 - 1),
    st.binary(max_size=8),
    max_size=30,
)


@pytest.mark.parametrize("name", profiles.names())
@given(frames=FRAMES)
def test_any_bytes_give_fields_of_the_contract_or_nothing(
    name: str, frames: dict[int, bytes]
) -> None:
    profile = profiles.load(name, beside=ROOT)
    contract = load()
    values = decode(profile, frames)
    assert all(contract.field(profile.kind, name) for name in values)
    assert set(identity(profile, frames)) <= {"maker", "model", "serial", "firmware"}


@pytest.mark.parametrize("name", profiles.names())
@given(data=st.data())
def test_any_frame_cut_anywhere_gives_fewer_values_and_never_others(
    name: str, data: st.DataObject
) -> None:
    profile = profiles.load(name, beside=ROOT)
    frames = data.draw(st.dictionaries(st.sampled_from([*profile.messages]), st.binary(max_size=8)))
    values = decode(profile, frames)
    for number, whole in frames.items():
        least = profile.messages[number].min_dlc
        for length in range(least, len(whole)):
            cut = decode(profile, {**frames, number: whole[:length]})
            assert {key: values.get(key) for key in cut} == cut


@given(raw=st.integers(-32768, 32767))
def test_every_current_comes_back_as_it_was_sent(raw: int) -> None:
    found = decode(LV, {0x356: bytes(2) + raw.to_bytes(2, "little", signed=True)})
    told = None if raw == -32768 else raw / 10
    assert found.get("battery_a") == told
