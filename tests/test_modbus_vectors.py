"""Captured answers of Modbus devices, by the command `decode`: an optional folder of them."""

from collections.abc import Mapping
from typing import Any

import pytest

from heliobus.modbus import crc
from tests.helpers import flips, further_vectors
from tests.modbus_vectors import answer

Vector = dict[str, Any]

FRAMES: list[Vector] = further_vectors("sdm.json") or []
REGISTERS: list[Vector] = further_vectors("tristar.json") or []

# What a meter is called there -> its profile; the longest that fits counts.
PROFILES = {
    "SDM54": "eastron_sdm54",
    "SDM72": "eastron_sdm72_v2",
    "SDM120": "eastron_sdm120",
    "SDM220": "eastron_sdm220",
    "SDM230": "eastron_sdm230",
    "SDM630": "eastron_sdm630",
    "SDM": "eastron_sdm630",
    "DDSU666": "chint_ddsu666",
    "DTSU666": "chint_dtsu666",
    "WE-504": "orno_we504",
    "WE-514": "orno_we514",
    "WE-516": "orno_we516",
    "unnamed (SDM220 bench)": "eastron_sdm220",
    "same": "eastron_sdm220",
}
# Function and register -> the field, of meters with one phase; those of SDM630 differ in names.
ONE_PHASE = {
    (4, 0x00): "voltage_v",
    (4, 0x06): "current_a",
    (4, 0x0C): "power_w",
    (4, 0x12): "apparent_va",
    (4, 0x18): "reactive_var",
    (4, 0x1E): "power_factor",
    (4, 0x34): "power_w",
    (4, 0x46): "frequency_hz",
    (4, 0x48): "import_kwh",
    (4, 0x4A): "export_kwh",
    (3, 0x2000): "voltage_v",
    (3, 0x2002): "current_a",
    (3, 0x0130): "frequency_hz",
    (3, 0x0131): "voltage_v",
    (3, 0x0139): "current_a",
    (3, 0x0140): "power_w",
    (3, 0x0148): "reactive_var",
    (3, 0x0150): "apparent_va",
    (3, 0x0158): "power_factor",
    (3, 0xA000): "import_kwh",
    (3, 0xA01E): "import_kvarh",
}
THREE_PHASES = {
    **ONE_PHASE,
    (4, 0x00): "l1_v",
    (4, 0x06): "l1_a",
    (4, 0x0C): "l1_w",
    (4, 0x12): "l1_va",
    (4, 0x18): "l1_var",
    (4, 0x1E): "l1_power_factor",
}
# Names of theirs -> ours, where a vector has several values.
NAMES = {
    "voltage": "voltage_v",
    "current": "current_a",
    "active_power": "power_w",
    "apparent_power": "apparent_va",
    "reactive_power": "reactive_var",
    "power_factor": "power_factor",
    "phase_angle": "phase_deg",
    "frequency": "frequency_hz",
    "import_energy": "import_kwh",
    "l1_a": "l1_a",
    "l2_a": "l2_a",
    "l3_a": "l3_a",
    "l1_w": "l1_w",
    "l2_w": "l2_w",
    "l3_w": "l3_w",
}
PHASES = tuple(
    f"l{phase}_{unit}"
    for unit in ("v", "a", "w", "va", "var", "power_factor", "phase_deg")
    for phase in (1, 2, 3)
)
# There is no value at 0x0060 and 0x0062.
DEMANDS = (
    "apparent_kvah",
    "total_ah",
    "demand_w",
    "demand_max_w",
    "import_demand_w",
    "import_demand_max_w",
    "export_demand_w",
    "export_demand_max_w",
    "register_96",
    "register_98",
    "demand_va",
    "demand_max_va",
    "neutral_demand_a",
    "neutral_demand_max_a",
)
# Blocks of floats by their first register.
BLOCKS = {0x00: PHASES, 0x50: DEMANDS}
UNITS = {"degC": "°C", "kVArh": "kvarh"}


def profile_of(vector: Vector) -> str:
    """Give the profile of a vector; any other meter is read as the one with the most registers."""
    meter = vector["meter"]
    fits = [name for name in PROFILES if meter.startswith(name) or name in meter.split()]
    fits += [name for name in PROFILES if name in meter]
    return PROFILES[max(fits, key=len)] if fits else "eastron_sdm630"


def line_of(vector: Vector) -> Vector:
    return {"request": vector["request_hex"], "response": vector["response_hex"]}


def is_refused(vector: Vector) -> bool:
    """Say whether a vector is one that no reader may take: by what its bytes are."""
    request = bytes.fromhex(vector["request_hex"] or "")
    response = bytes.fromhex(vector["response_hex"] or "")
    if not request or not response:
        return True
    if vector["transport"] == "tcp":
        return request[7] not in {3, 4} or response[7] != request[7]
    if request[1] == 8:
        return response != request
    if request[1] not in {3, 4} or crc(request[:-2]) != request[-2:]:
        return True
    count = 2 * int.from_bytes(request[4:6])
    head, length = bytes([request[0], request[1], count]), 5 + count
    starts = (at for at in range(len(response)) if response[at:].startswith(head))
    found = [response[at : at + length] for at in starts]
    return not any(len(each) == length and crc(each[:-2]) == each[-2:] for each in found)


SOUND = [vector for vector in FRAMES if not is_refused(vector)]
DAMAGED = [vector for vector in FRAMES if is_refused(vector)]
RTU = [v for v in SOUND if v["transport"] == "rtu" and bytes.fromhex(v["request_hex"])[1] in {3, 4}]


def named(vectors: list[Vector]) -> list[Any]:
    return [pytest.param(vector, id=f"{at}-{vector['name']}") for at, vector in enumerate(vectors)]


def expected(vector: Vector) -> dict[str, Any]:
    """Give what a vector states, by our names; nothing where it states no value that we name."""
    decoded, request = vector["decoded"], bytes.fromhex(vector["request_hex"])
    if "floats" in decoded:
        return dict(zip(BLOCKS.get(decoded["start"], ()), decoded["floats"], strict=False))
    stated = {NAMES[key]: value for key, value in decoded.items() if key in NAMES}
    if stated or vector["transport"] == "tcp" or "value" not in decoded:
        return stated
    value = decoded["value"][0] if isinstance(decoded["value"], list) else decoded["value"]
    names = THREE_PHASES if profile_of(vector) == "eastron_sdm630" else ONE_PHASE
    place = (request[1], int.from_bytes(request[2:4]))
    return {names.get(place, f"register_{place[1]}"): value}


def close(value: Any, times: float = 1) -> Any:
    """Take what is nearest at as many places as are stated."""
    if not isinstance(value, float):
        return value * times if times != 1 else value
    places = len(repr(value).partition(".")[2])
    return pytest.approx(value * times, rel=1e-9, abs=0.51 * 10**-places * times)


@pytest.mark.parametrize("vector", named(SOUND))
def test_a_captured_answer_gives_what_is_stated(vector: Vector) -> None:
    found = answer(profile_of(vector), line_of(vector))
    assert found["ok"], found
    for name, value in expected(vector).items():
        if name in found["values"] or not name.startswith("register_"):
            assert found["values"][name] == close(value), name
    if unit := vector["decoded"].get("unit"):
        (name,) = expected(vector)
        assert found["units"].get(name, "") == UNITS.get(unit, unit)


@pytest.mark.parametrize("vector", named(DAMAGED))
def test_what_is_no_answer_is_refused_with_a_reason(vector: Vector) -> None:
    found = answer(profile_of(vector), line_of(vector))
    assert not found["ok"]
    assert "bug" not in found["error"]


def test_requests_without_an_answer_and_what_would_write_are_among_the_refused() -> None:
    if FRAMES:
        assert any(vector["response_hex"] is None for vector in DAMAGED)
        assert all((vector["request_hex"] or "01 03")[3:5] != "10" for vector in SOUND)


@pytest.mark.parametrize("vector", named(RTU))
def test_an_answer_that_is_cut_anywhere_is_refused(vector: Vector) -> None:
    frame = bytes.fromhex(vector["response_hex"])
    request = bytes.fromhex(vector["request_hex"])
    whole = frame.rindex(bytes([request[0], request[1], 2 * int.from_bytes(request[4:6])]))
    end = whole + 5 + 2 * int.from_bytes(request[4:6])
    for cut in range(end):
        line = {"request": vector["request_hex"], "response": frame[:cut].hex()}
        assert not answer(profile_of(vector), line)["ok"], cut


@pytest.mark.parametrize("vector", named(RTU))
def test_bytes_around_an_answer_change_nothing(vector: Vector) -> None:
    frame = bytes.fromhex(vector["response_hex"])
    whole = answer(profile_of(vector), line_of(vector))
    for before, after in ((b"", b"\0"), (b"\0", b""), (b"\xff\0", b"\0\xff\xff"), (b"", frame)):
        line = {"request": vector["request_hex"], "response": (before + frame + after).hex()}
        assert answer(profile_of(vector), line) == whole


@pytest.mark.parametrize("vector", named(RTU))
def test_an_answer_with_a_flipped_bit_is_refused_or_the_same(vector: Vector) -> None:
    frame = bytes.fromhex(vector["response_hex"])
    whole = answer(profile_of(vector), line_of(vector))
    for flipped in flips(frame):
        line = {"request": vector["request_hex"], "response": flipped.hex()}
        found = answer(profile_of(vector), line)
        # Beside the frame itself there may be noise, of which a bit means nothing.
        assert not found["ok"] or (found == whole and vector["crc_ok"] is False)


# ---------------------------------------------------------------------- charge controllers

CHARGER = {
    "V_PU": "v_pu",
    "I_PU": "i_pu",
    "ver_sw": "firmware",
    "adc_vb_f_med": "battery_v",
    "adc_vbterm_f": "battery_terminal_v",
    "adc_vbs_f": "battery_sense_v",
    "adc_va_f": "pv_v",
    "adc_ib_f_shadow": "battery_a",
    "adc_ia_f_shadow": "pv_a",
    "adc_p12_f": "supply_01_v",
    "adc_p3_f": "supply_02_v",
    "adc_pmeter_f": "supply_03_v",
    "adc_p18_f": "supply_04_v",
    "adc_v_ref": "supply_05_v",
    "T_hs": "heatsink_c",
    "T_rts": "battery_sensor_c",
    "T_batt": "battery_c",
    "adc_vb_f_1m": "battery_average_v",
    "adc_ib_f_1m": "battery_average_a",
    "vb_min": "battery_min_v",
    "vb_max": "battery_max_v",
    "hourmeter": "operating_h",
    "led_state": "led_state_code",
    "vb_ref": "charge_target_v",
    "Ahc_r": "charged_resettable_ah",
    "Ahc_t": "charged_ah",
    "kwhc_r": "yield_partial_kwh",
    "kwhc_t": "yield_kwh",
    "power_out_shadow": "battery_w",
    "power_in_shadow": "pv_w",
    "sweep_Pin_max": "pv_mpp_w",
    "sweep_vmp": "pv_mpp_v",
    "sweep_voc": "pv_open_circuit_v",
    "vb_min_daily": "battery_min_today_v",
    "vb_max_daily": "battery_max_today_v",
    "va_max_daily": "pv_max_today_v",
    "Ahc_daily": "charged_today_ah",
    "whc_daily": "yield_today_kwh",
    "Pout_max_daily": "output_peak_today_w",
    "Tb_min_daily": "battery_min_today_c",
    "Tb_max_daily": "battery_max_today_c",
    "time_ab_daily": "absorption_today_s",
    "time_eq_daily": "equalize_today_s",
    "time_fl_daily": "float_today_s",
    "serial": "serial",
    "model": "model",
    "hw_version": "hardware_version",
}
STATES = {
    "START": "starting",
    "NIGHT_CHECK": "waiting",
    "DISCONNECT": "disconnected",
    "NIGHT": "asleep",
    "FAULT": "fault",
    "MPPT": "bulk",
    "ABSORPTION": "absorption",
    "FLOAT": "float",
    "EQUALIZE": "equalize",
    "SLAVE": "external",
    "FIXED": "fixed",
}
LISTS = {
    "fault": "alarms",
    "alarm": "alarms",
    "fault_daily": "alarms_today",
    "alarm_daily": "alarms_today",
    "flags_daily": "notices",
}
FLAGS = {
    "reset_detected": "reset_today",
    "equalize_triggered": "equalized_today",
    "entered_float": "float_reached_today",
    "alarm_occurred": "alarm_today",
    "fault_occurred": "fault_today",
}
# What theirs counts in -> what ours is times.
COUNTED = {"Wh": 0.001}


def controller_of(vector: Vector) -> str:
    return f"morningstar_tristar_mppt{'_600v' if '600v' in vector['name'].casefold() else ''}"


def captured(vector: Vector) -> Vector:
    wanted = ("start", "registers", "function", "scaling_context")
    return {key: vector[key] for key in wanted if key in vector}


def words(texts: list[str]) -> set[str]:
    return {text.casefold().replace(" ", "_") for text in texts}


def check(name: str, stated: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Compare one value of theirs with ours; one that this test does not know says nothing."""
    value, ours = stated["value"], CHARGER.get(name, "")
    if name in LISTS:
        assert {FLAGS.get(text, text) for text in value} <= words(values[LISTS[name]])
    elif name == "dip":
        assert [bit + 1 for bit in range(8) if values["dip_switch_code"] >> bit & 1] == value
    elif name == "charge_state":
        assert values["charge_state"] == STATES[value]
    elif not ours:
        return
    elif value is None:
        assert ours not in values
    else:
        assert values[ours] == close(value, COUNTED.get(stated["unit"], 1)), name


def check_all(decoded: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Compare all values, and show that our lists hold nothing beside theirs."""
    for name, stated in decoded.items():
        check(name, stated, values)
    for ours in set(LISTS.values()):
        theirs = [name for name, field in LISTS.items() if field == ours]
        if all(name in decoded for name in theirs):
            stated = {FLAGS.get(t, t) for name in theirs for t in decoded[name]["value"]}
            assert words(values[ours]) == stated


@pytest.mark.parametrize("vector", named([v for v in REGISTERS if "registers" in v]))
def test_captured_registers_of_a_controller_give_what_is_stated(vector: Vector) -> None:
    found = answer(controller_of(vector), captured(vector))
    assert found["ok"], found
    check_all(vector["decoded"], found["values"])


@pytest.mark.parametrize("vector", named([v for v in REGISTERS if "registers" in v]))
def test_both_functions_lead_to_the_registers_of_a_controller(vector: Vector) -> None:
    line = captured(vector)
    found = [answer(controller_of(vector), {**line, "function": each}) for each in (3, 4)]
    assert found[0] == found[1]


def test_captured_frames_of_a_controller_give_what_is_stated() -> None:
    for vector in REGISTERS:  # perhaps none of them has frames
        if vector.get("response_hex"):
            scales = captured({key: v for key, v in vector.items() if "context" in key})
            found = answer(controller_of(vector), {**line_of(vector), **scales})
            assert found["ok"], (vector["name"], found)
            check_all(vector["decoded"], found["values"])
