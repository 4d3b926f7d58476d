"""What the answers of Voltronic inverters say, field by field."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.voltronic.codec import (
    FIELDS,
    IDENTITY,
    Layout,
    Nak,
    decode,
    decode_line,
    request,
    unit_of,
)
from bridges.voltronic.frame import answer
from heliobus.contract import load
from heliobus.errors import FrameError

# Of an Axpert in 2014, 17 fields; the same with PV power; and of a MAX of 11 kW.
STATUS_17 = (
    "230.0 49.9 230.1 50.0 0161 0119 003 460 51.50 012 080 0041 0014 103.8 51.45 00002 00110110"
)
STATUS_21 = STATUS_17 + " 00 00 00856 010"
STATUS_24 = (
    "242.3 50.0 230.0 49.9 03013 02919 027 377 54.20 000 100 0037 02.3 266.3 00.00 00057"
    " 00010000 05 00 00647 110 1 02 0120"
)
RATINGS_25 = (
    "230.0 21.7 230.0 50.0 21.7 5000 4000 48.0 46.0 42.0 56.4 54.0 0 10 010 1 0 0 6 01 0 0 54.0 0 1"
)
PARALLEL = (
    "1 92931701100510 B 00 000.0 00.00 230.6 50.00 0275 0141 005 51.4 001 100 083.3 002 00574"
    " 00312 003 10100110 1 2 060 120 10 04 003"
)
# What the bridge asks: these values reach the bus.
POLLED = (
    *("QPIGS", "QPIGS (Revo)", "QPIGS2", "QPIGS2 (other)", "QMOD", "QPIWS", "Q1", "Q1 (other)"),
    *("QPIRI", "QFLAG", "QT", "QET", "QEY", "QEM", "QED", "QLT", "QLD", "QPGS"),
    *("^P GS", "^P MOD", "^P FWS", "^P PIRI", "^P FLAG", "^P T", "^P ED", "^P PGS"),
)
# Of units in parallel: their serial number is who they are. No mode has a second field.
NOT_PUBLISHED = {"serial", "mod_extra"}


def test_battery_current_and_power_are_positive_while_charging() -> None:
    charging, discharging = decode("QPIGS", STATUS_17), decode("QPIGS", STATUS_24)
    assert (charging["battery_charge_a"], charging["battery_discharge_a"]) == (12, 2)
    assert (charging["battery_a"], charging["battery_w"]) == (10, 515)
    assert (discharging["battery_a"], discharging["battery_w"]) == (-57, -3089)


def test_a_short_status_leaves_out_what_it_does_not_say() -> None:
    values = decode("QPIGS", STATUS_17)
    assert "pv_01_w" not in values
    assert "switched_on" not in values
    assert "pv_w" not in values
    assert decode("QPIGS", STATUS_21)["pv_01_w"] == 856


def test_a_long_status_says_what_goes_to_the_grid() -> None:
    values = decode("QPIGS", STATUS_24)
    assert (values["grid_feed_enabled"], values["grid_feed_w"]) == (True, 120)
    assert (values["country_code"], values["fan_on_offset_v"]) == (2, 0.05)
    assert (values["output_va"], values["load_on"]) == (3013, True)
    assert (values["charging_to_float"], values["switched_on"]) == (True, True)


def test_fields_that_nobody_knows_are_kept() -> None:
    assert decode("QPIGS", STATUS_24 + " 7 x-9")["qpigs_extra"] == ["7", "x-9"]
    assert decode("QPIRI", RATINGS_25 + " 060 0 120 54.7")["qpiri_extra"] == ["54.7"]


def test_a_whole_number_of_pv_amperes_is_the_side_of_the_battery() -> None:
    assert decode("QPIGS", STATUS_21)["pv_charge_a"] == 14
    assert "pv_01_a" not in decode("QPIGS", STATUS_21)
    assert decode("QPIGS", STATUS_24)["pv_01_a"] == 2.3


def test_a_heat_sink_hotter_than_iron_is_a_converter_value() -> None:
    raw = decode("QPIGS", STATUS_17.replace("0041", "0620"))
    assert raw["heatsink_adc_code"] == 620
    assert "heatsink_c" not in raw


def test_a_revo_has_the_energy_of_the_day_in_the_place_of_the_discharge() -> None:
    values = decode("QPIGS", STATUS_21.replace("00002", "04321"), Layout.REVO)
    assert values["yield_today_kwh"] == 4.321
    assert "battery_discharge_a" not in values
    assert "battery_a" not in values


@pytest.mark.parametrize("absent", ["-", "--", "---.-"])
def test_a_placeholder_is_no_value(absent: str) -> None:
    status = decode("QPIGS", STATUS_21.replace("230.0", absent, 1))
    assert "grid_v" not in status
    assert status["output_v"] == 230.1
    ratings = decode("QPIRI", RATINGS_25.replace(" 6 01 ", f" {absent} 01 "))
    assert "parallel_max_code" not in ratings
    assert ratings["battery_redischarge_v"] == 54.0


def test_the_point_in_field_25_tells_a_clone_from_a_max() -> None:
    largest = decode("QPIRI", RATINGS_25 + " 480 2 070")
    assert (largest["cv_time_limit_min"], largest["discharge_limit_a"]) == (480, 70)
    assert largest["operation_logic"] == "eco"
    clone = decode("QPIRI", RATINGS_25 + " 48.0 10 48.0")
    assert clone["qpiri_extra"] == ["48.0", "10", "48.0"]
    assert "cv_time_limit_min" not in clone


def test_21_ratings_are_enough() -> None:
    values = decode("QPIRI", RATINGS_25.rsplit(" ", 4)[0])
    assert values["topology"] == "transformerless"
    assert "output_mode" not in values


@pytest.mark.parametrize(
    ("letter", "mode"),
    [
        ("P", "power_on"),
        ("S", "standby"),
        ("L", "line"),
        ("B", "battery"),
        ("F", "fault"),
        ("H", "power_saving"),
        ("D", "shutdown"),
        ("E", "eco"),
        ("C", "charging"),
        ("Y", "bypass"),
        ("Q", "unknown"),
    ],
)
def test_a_mode_is_a_word_and_the_code_of_its_letter(letter: str, mode: str) -> None:
    assert decode("QMOD", letter) == {"mode": mode, "mode_code": ord(letter)}


def test_an_unknown_number_of_a_setting_is_published_as_unknown() -> None:
    values = decode("QPIRI", RATINGS_25.replace("54.0 0 10", "54.0 42 10", 1))
    assert (values["battery_type"], values["battery_type_code"]) == ("unknown", 42)


def _raised(*positions: int, length: int = 32) -> str:
    return "".join(str(int(at in positions)) for at in range(length))


@pytest.mark.parametrize(
    ("bits", "alarms", "faults", "notices"),
    [
        (_raised(), [], [], []),
        (_raised(5), [], [], ["grid_lost"]),
        (_raised(0, 5, length=36), [], [], ["pv_lost", "grid_lost"]),
        (_raised(35, length=36), [], [], ["equalizing"]),
        (_raised(12), ["battery_low"], [], []),
        (_raised(9), ["over_temperature"], [], []),
        (
            _raised(1, 9),
            ["inverter_fault", "over_temperature"],
            ["inverter_fault", "over_temperature"],
            [],
        ),
        (_raised(17, 22), ["eeprom_failed", "battery_disconnected"], ["battery_disconnected"], []),
        (_raised(13), [], [], ["unknown_13"]),
        (_raised(0, 31, length=36), ["battery_weak"], [], ["pv_lost"]),
    ],
)
def test_only_what_needs_attention_is_an_alarm(
    bits: str, alarms: list[str], faults: list[str], notices: list[str]
) -> None:
    values = decode("QPIWS", bits)
    assert values == {
        "alarms": alarms,
        "faults": faults,
        "notices": notices,
        "warning_bits": bits,
    }


@pytest.mark.parametrize(
    ("digits", "code", "fault"),
    [
        ("007", 7, "overload"),
        ("051", 51, "inverter_over_current"),
        ("510", 51, "inverter_over_current"),  # of a 24 V unit
        ("099", 9, "bus_soft_start_failed"),  # 99 is no fault, 09 of a 24 V unit is
    ],
)
def test_a_fault_carries_the_code_of_the_display(digits: str, code: int, fault: str) -> None:
    values = decode("QPIWS", "01" + "0" * 29 + digits + "00")
    assert (values["fault_code"], values["fault"]) == (code, fault)
    assert values["alarms"] == ["inverter_fault"]


def test_without_a_fault_there_is_no_code() -> None:
    assert "fault_code" not in decode("QPIWS", "0" * 33 + "100")
    assert decode("QPIWS", "0" * 33 + "100")["notices"] == ["pv_energy_low"]


def test_flags_are_settings_and_strange_letters_stay_raw() -> None:
    values = decode("QFLAG", "EakxyDbjuvzgln")
    assert (values["buzzer_enabled"], values["overload_bypass_enabled"]) == (True, False)
    assert values["flags_disabled"] == list("bjuvzgln")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("QET", "yield_kwh"),
        ("QEY2024", "yield_year_kwh"),
        ("QEM202410", "yield_month_kwh"),
        ("QED20241022", "yield_today_kwh"),
        ("QLT", "load_kwh"),
        ("QLD20241022", "load_today_kwh"),
        ("QLY2024", "load_year_kwh"),
        ("QLM202410", "load_month_kwh"),
    ],
)
def test_energies_are_watt_hours_on_the_wire(command: str, name: str) -> None:
    assert decode(command, "00003899") == {name: 3.899}


def test_a_short_answer_to_q1_has_a_layout_of_its_own() -> None:
    values = decode("Q1", "00001 00006 00 032 037 026 033 02 00 000 0030 00 11")
    assert (values["scc_01_c"], values["inverter_c"], values["transformer_c"]) == (32, 37, 33)
    assert (values["fan_percent"], values["charge_state"]) == (30, "bulk")
    assert "charge_average_a" not in values


def test_a_parallel_unit_tells_about_itself_and_the_whole() -> None:
    values = decode("QPGS1", PARALLEL)
    assert (values["parallel_present"], values["serial"]) == (True, "92931701100510")
    assert (values["total_output_va"], values["total_output_w"]) == (574, 312)
    assert (values["fault"], values["output_mode"]) == ("none", "parallel")
    assert values["battery_a"] == -2
    with_second = decode("QPGS0", PARALLEL + " 275.3 02")
    assert (with_second["pv_02_v"], with_second["pv_02_a"]) == (275.3, 2)


def test_hourly_settings_are_words() -> None:
    values = decode("QOPPT", "0 1 2 " + "2 " * 22 + "0 2 1")
    assert values["output_source_by_hour"] == ["utility_first", "solar_first"] + ["sbu"] * 22
    assert values["qoppt_extra"] == ["2", "0", "2", "1"]
    assert decode("QCHPT", "3 " * 25 + "0 0 0")["charger_source_by_hour"] == ["only_solar"] * 24


def test_equalization_periods_are_hours() -> None:
    values = decode("QBEQI", "1 030 030 080 021 55.40 224 030 0 0234")
    assert (values["equalization_period_h"], values["equalization_elapsed_h"]) == (720, 234)
    assert values["qbeqi_extra"] == ["021", "224"]


def test_a_second_status_of_another_layout_stays_raw() -> None:
    three = "03.1 327.3 52.3 01026 00000110 03.4 00120 02.2 110.0 52.1 00200 01346"
    assert decode("QPIGS2", three)["qpigs2_fields"] == three.split()
    assert decode("QPIGS2", "03.1 327.3 01026 ")["pv_02_w"] == 1026


def test_a_clock_that_was_never_set_gives_no_time() -> None:
    assert decode("QT", "20241022174501") == {"device_time": "2024-10-22T17:45:01"}
    assert decode("QT", "00000000000000") == {}


def test_a_long_serial_number_ends_where_it_says() -> None:
    assert decode("QSID", "1492932105105335005535") == {"serial": "92932105105335"}
    assert decode("QSID", "9992932105105335005535") == {"serial": "92932105105335005535"}


def test_pi18_settings_have_numbers_of_their_own() -> None:
    ratings = (
        "^D2300,243,2300,500,243,5600,5600,480,500,520,480,554,540,2,010,060,0,0,2,9,1,0,0,0,1,00"
    )
    values = decode("^P007PIRI", ratings)
    assert values["output_source_priority"] == "solar_utility_battery"
    assert values["charger_source_priority"] == "only_solar"
    assert values["machine_type"] == "grid_tie"
    assert decode("^P006MOD", "^D05") == {"mode": "hybrid", "mode_code": 5}
    assert decode("^P005PI", "^D18") == {"protocol": "PI18"}
    assert decode("^P005ET", "^D00802946") == {"fields": ["00802946"]}


@pytest.mark.parametrize(
    ("command", "payload"), [("QPIGS2", "NAK"), ("POP02", "NAK"), ("QPI", "^0")]
)
def test_a_refusal_is_told_apart_from_damage(command: str, payload: str) -> None:
    with pytest.raises(Nak, match="refuses"):
        decode(command, payload)


@pytest.mark.parametrize(("command", "payload"), [("POP02", "ACK"), ("^S006LON1", "^1")])
def test_a_setter_is_acknowledged(command: str, payload: str) -> None:
    assert decode(command, payload) == {"ack": True}


EXAMPLES = {
    "QPI": "PI30",
    "QMOD": "B",
    "QPIGS": STATUS_21,
    "QPIGS2": "03.1 327.3 01026 ",
    "QPIRI": RATINGS_25,
    "QPIWS": "0" * 36,
    "QFLAG": "EakxyDbjuvz",
    "QDI": "230.0 50.0 0030 42.0 54.0 56.4 46.0 60 0 0 2 0 0 0 0 0 1 1 1 0 1 0 54.0 0 1",
    "Q1": "00000 00000 01 01 00 059 045 053 068 00 00 000 0040 0580 0000 50.00 13",
    "QPGS0": PARALLEL,
    "QBEQI": "1 030 030 080 021 55.40 224 030 0 0234",
    "QBMS": "0 100 0 0 1 532 532 450 0000 0030",
    "QMCHGCR": "010 020 030",
    "QT": "20241022174501",
    "QET": "10636700",
    "^P005GS": "^D2312,500,0000,000,0000,0000,000,518,000,000,000,004,036,027,000,000,0302,0000,"
    "2438,0000,0,2,0,0,1,2,2,0",
    "POP02": "ACK",
}


@pytest.mark.parametrize("asked", EXAMPLES)
@pytest.mark.parametrize("answered", EXAMPLES)
def test_the_answer_to_another_question_is_refused(asked: str, answered: str) -> None:
    if asked == answered:
        assert decode(asked, EXAMPLES[answered])
    else:
        with pytest.raises(FrameError, match="expected"):
            decode(asked, EXAMPLES[answered])


@pytest.mark.parametrize(
    "command", ["QPIGS", "QPIRI", "QPIWS", "QFLAG", "QMOD", "QPI", "QDI", "QPGS0", "Q1", "QBEQI"]
)
def test_a_line_without_its_request_is_known_by_its_shape(command: str) -> None:
    assert decode_line(None, answer(EXAMPLES[command]))[0] == decode(command, EXAMPLES[command])


def test_a_line_that_could_be_several_answers_stays_raw() -> None:
    assert decode_line(None, answer("00003899")) == ({"fields": ["00003899"]}, {"fields": ""})


def test_a_line_carries_the_unit_of_each_value() -> None:
    _, units = decode_line(request("QPIGS"), answer(STATUS_21))
    assert (units["battery_v"], units["load_percent"], units["heatsink_c"]) == ("V", "%", "°C")
    assert (units["output_va"], units["grid_hz"], units["status_bits"]) == ("VA", "Hz", "")
    assert decode_line(request("QET"), answer("00003899"))[1] == {"yield_kwh": "kWh"}


def test_a_refusal_on_a_line_is_information() -> None:
    assert decode_line(request("QPIGS2"), answer("NAK"))[0] == {"ack": False}


def test_a_line_that_ends_too_early_is_refused() -> None:
    with pytest.raises(FrameError, match="without an end"):
        decode_line(request("QMOD"), b"(B\xe7")


def test_every_polled_field_is_in_the_contract_with_its_unit() -> None:
    contract = load()
    for command in POLLED:
        for name in set(FIELDS[command]) - NOT_PUBLISHED:
            field = contract.field("inverter", name)
            assert field is not None, f"{command}: {name}"
            if field.type in ("number", "integer"):
                assert field.unit == unit_of(name), name


@pytest.mark.parametrize(
    "command", ["QPIGS", "QPIGS2", "QMOD", "QPIWS", "Q1", "QPIRI", "QFLAG", "QET"]
)
def test_every_published_value_obeys_the_contract(command: str) -> None:
    values = decode(command, EXAMPLES[command])
    good, bad = load().strict("inverter", values)
    assert bad == {}
    assert good == values


def test_who_it_is_belongs_into_the_identity() -> None:
    for command in ("QPI", "QID", "QVFW", "QVFW2", "QVFW3", "QMN", "QGMN", "^P VFW", "^P GMN"):
        assert set(FIELDS[command]) <= IDENTITY


COMMANDS = [
    *(*sorted(EXAMPLES), "QOPPT", "QCHPT", "QSID", "QLITH0", "QBATCD", "^P005FWS", "^P006MOD"),
    *("^P007PGS0", "^P007PRI0", "^P005ID", "^P006VFW", "^P004T", "^P013ED20210521", "^P007PIRI"),
]
FIELD = st.from_regex(
    r"[-+]?[0-9]{0,4}\.?[0-9]{0,3}|[A-Z]{1,3}|[01]{8}|nan|inf|1e9|1_0", fullmatch=True
)
PAYLOAD = st.one_of(
    st.lists(FIELD, max_size=40).map(" ".join),
    st.lists(FIELD, max_size=40).map(lambda fields: "^D" + ",".join(fields)),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=150),
    st.sampled_from(sorted(EXAMPLES.values())).flatmap(
        lambda text: st.integers(0, len(text) - 1).map(lambda at: text[:at] + "9" + text[at + 1 :])
    ),
)


@given(command=st.sampled_from(COMMANDS), payload=PAYLOAD)
def test_any_payload_gives_legal_values_or_a_frame_error(command: str, payload: str) -> None:
    try:
        values = decode(command, payload)
    except FrameError:
        return
    for value in values.values():
        assert isinstance(value, bool | int | float | str | list)
        if isinstance(value, int | float):
            assert math.isfinite(value)


@given(asked=st.none() | st.binary(max_size=30), data=st.binary(max_size=600))
def test_any_line_gives_values_or_a_frame_error(asked: bytes | None, data: bytes) -> None:
    try:
        decode_line(asked, data)
    except FrameError:
        return


@given(payload=PAYLOAD, asked=st.none() | st.sampled_from(COMMANDS))
def test_any_framed_line_gives_values_or_a_frame_error(payload: str, asked: str | None) -> None:
    try:
        decode_line(request(asked) if asked else None, answer(payload))
    except FrameError:
        return
