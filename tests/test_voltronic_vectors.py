"""Recorded answers of Voltronic inverters: ours, and an optional folder of further ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridges.voltronic import decode_line
from bridges.voltronic.codec import request, take_answer, unit_of
from heliobus.errors import FrameError
from tests.helpers import flips, further_vectors

OURS = Path(__file__).parent.parent / "bridges" / "voltronic" / "vectors"


def _named(vectors: list[Any]) -> list[Any]:
    return [pytest.param(v, id=f"{at}-{v['name']}") for at, v in enumerate(vectors)]


def _ours() -> list[Any]:
    return [v for path in sorted(OURS.glob("*.json")) for v in json.loads(path.read_text())]


FURTHER = further_vectors("voltronic.json") or []
ANSWERS = [v for v in _ours() + FURTHER if v["response_hex"]]
SOUND = [v for v in ANSWERS if not v["malformed"] and v["response_hex"][:2] in ("28", "5e")]
REFUSED = [v for v in ANSWERS if v not in SOUND]


def _bytes(hexadecimal: str | None) -> bytes | None:
    return bytes.fromhex(hexadecimal) if hexadecimal else None


@pytest.mark.parametrize("vector", _named([v for v in _ours() if not v["malformed"]]))
def test_a_recorded_answer_gives_exactly_its_values(vector: dict[str, Any]) -> None:
    values, units = decode_line(
        _bytes(vector["request_hex"]), bytes.fromhex(vector["response_hex"])
    )
    assert values == vector["values"]
    assert set(units) == set(values)


@pytest.mark.parametrize("vector", _named([v for v in _ours() if v["malformed"]]))
def test_a_damaged_answer_is_refused_for_its_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        decode_line(_bytes(vector["request_hex"]), bytes.fromhex(vector["response_hex"]))
    assert vector["reason"] in str(refused.value)


@pytest.mark.parametrize("vector", _named(SOUND))
def test_every_sound_answer_is_accepted(vector: dict[str, Any]) -> None:
    response = bytes.fromhex(vector["response_hex"])
    for asked in (_bytes(vector["request_hex"]), None):
        values, units = decode_line(asked, response)
        assert values
        assert set(units) == set(values)


@pytest.mark.parametrize("vector", _named(REFUSED))
def test_every_other_answer_is_refused_with_a_reason(vector: dict[str, Any]) -> None:
    for asked in (_bytes(vector["request_hex"]), None):
        with pytest.raises(FrameError, match="expected"):
            decode_line(asked, bytes.fromhex(vector["response_hex"]))


@pytest.mark.parametrize("vector", _named(SOUND))
def test_every_answer_can_come_in_any_pieces(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["response_hex"])
    whole = take_answer(frame)
    assert whole is not None
    assert whole[1] == len(frame)
    for cut in range(len(frame)):
        assert take_answer(frame[:cut]) is None
    for after in (b"\n", b"\0\0\0", frame, b"(0"):
        assert take_answer(frame + after) == whole
    for before in (b"\n", b"\0", b"\r\n"):
        assert take_answer(before + frame) == (whole[0], whole[1] + len(before))


@pytest.mark.parametrize("vector", _named(SOUND))
def test_no_answer_with_a_flipped_bit_is_taken(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["response_hex"])
    for flipped in flips(frame):
        try:
            assert take_answer(flipped) is None
        except FrameError:
            continue


@pytest.mark.parametrize(
    "vector", _named([v for v in ANSWERS + FURTHER if v["command"] and v.get("request_crc_ok")])
)
def test_every_request_is_framed_as_recorded(vector: dict[str, Any]) -> None:
    assert request(vector["command"]).hex() == vector["request_hex"]


# ------------------------------------------------ the further vectors have names of their own

# Their name -> ours, and what their unit is ours times.
NUMBERS: dict[str, tuple[str, float]] = {
    "grid_voltage": ("grid_v", 1),
    "grid_frequency": ("grid_hz", 1),
    "ac_out_voltage": ("output_v", 1),
    "ac_out_frequency": ("output_hz", 1),
    "ac_out_apparent_power": ("output_va", 1),
    "ac_out_active_power": ("output_w", 1),
    "ac_out_load": ("load_percent", 1),
    "bus_voltage": ("bus_v", 1),
    "battery_voltage": ("battery_v", 1),
    "battery_charge_current": ("battery_charge_a", 1),
    "battery_soc": ("soc_percent", 1),
    "heatsink_temperature": ("heatsink_c", 1),
    "pv1_current": ("pv_01_a", 1),
    "pv1_voltage": ("pv_01_v", 1),
    "battery_voltage_scc": ("scc_01_battery_v", 1),
    "battery_voltage_scc1": ("scc_01_battery_v", 1),
    "battery_voltage_scc2": ("scc_02_battery_v", 1),
    "battery_discharge_current": ("battery_discharge_a", 1),
    "fan_on_voltage_offset": ("fan_on_offset_v", 0.01),
    "eeprom_version": ("eeprom_version_code", 1),
    "pv1_charge_power": ("pv_01_w", 1),
    "feed_to_grid_status": ("grid_feed_enabled", 1),
    "country_regulation": ("country_code", 1),
    "feed_to_grid_power": ("grid_feed_w", 1),
    "pv2_current": ("pv_02_a", 1),
    "pv2_voltage": ("pv_02_v", 1),
    "pv2_charge_power": ("pv_02_w", 1),
    "pv1_power": ("pv_01_w", 1),
    "pv2_power": ("pv_02_w", 1),
    "mppt1_temperature": ("scc_01_c", 1),
    "mppt2_temperature": ("scc_02_c", 1),
    "config_changed": ("settings_changed", 1),
    "mppt1_status": ("scc_01_state_code", 1),
    "mppt2_status": ("scc_02_state_code", 1),
    "load_connected": ("load_on", 1),
    "battery_power_direction": ("battery_direction_code", 1),
    "dcac_power_direction": ("dcac_direction_code", 1),
    "line_power_direction": ("grid_direction_code", 1),
    "parallel_id": ("parallel_id_code", 1),
    "grid_rating_voltage": ("grid_rated_v", 1),
    "grid_rating_current": ("grid_rated_a", 1),
    "ac_out_rating_voltage": ("output_rated_v", 1),
    "ac_out_rating_frequency": ("output_rated_hz", 1),
    "ac_out_rating_current": ("output_rated_a", 1),
    "ac_out_rating_apparent_power": ("output_rated_va", 1),
    "ac_out_rating_active_power": ("output_rated_w", 1),
    "battery_rating_voltage": ("battery_rated_v", 1),
    "battery_recharge_voltage": ("battery_recharge_v", 1),
    "battery_under_voltage": ("battery_under_v", 1),
    "battery_bulk_voltage": ("battery_bulk_v", 1),
    "battery_float_voltage": ("battery_float_v", 1),
    "battery_type": ("battery_type_code", 1),
    "max_ac_charge_current": ("grid_charge_limit_a", 1),
    "max_charge_current": ("charge_limit_a", 1),
    "input_voltage_range": ("input_range_code", 1),
    "output_source_priority": ("output_source_priority_code", 1),
    "charger_source_priority": ("charger_source_priority_code", 1),
    "parallel_max_num": ("parallel_max_code", 1),
    "machine_type": ("machine_type_code", 1),
    "topology": ("topology_code", 1),
    "output_mode": ("output_mode_code", 1),
    "battery_redischarge_voltage": ("battery_redischarge_v", 1),
    "pv_ok_condition": ("pv_ok_condition_code", 1),
    "pv_power_balance": ("pv_power_balance_code", 1),
    "max_cv_charge_time": ("cv_time_limit_min", 1),
    "operation_logic": ("operation_logic_code", 1),
    "max_discharge_current": ("discharge_limit_a", 1),
    "time_to_absorb_end": ("absorption_left_s", 1),
    "time_to_float_end": ("float_left_s", 1),
    "scc_flag": ("scc_ok", 1),
    "allow_scc_on": ("scc_allowed", 1),
    "charge_average_current": ("charge_average_a", 1),
    "scc_temperature": ("scc_01_c", 1),
    "inverter_temperature": ("inverter_c", 1),
    "battery_temperature": ("battery_c", 1),
    "transformer_temperature": ("transformer_c", 1),
    "gpio13": ("gpio_code", 1),
    "fan_lock": ("fan_locked", 1),
    "fan_pwm": ("fan_percent", 1),
    "scc_charge_power": ("scc_charge_w", 1),
    "parallel_warning": ("parallel_warning_code", 1),
    "sync_frequency": ("sync_hz", 1),
    "charge_stage": ("charge_state_code", 1),
    "eq_enabled": ("equalization_enabled", 1),
    "eq_time": ("equalization_time_min", 1),
    "eq_period": ("equalization_period_h", 24),
    "eq_max_current": ("equalization_limit_a", 1),
    "eq_voltage": ("equalization_v", 1),
    "eq_over_time": ("equalization_timeout_min", 1),
    "eq_active": ("equalization_active", 1),
    "eq_elapsed": ("equalization_elapsed_h", 1),
    "ack": ("ack", 1),
}
UNITS = {"degC": "°C", "10mV": "V", "day": "h"}
ENERGIES = {
    "QET": "yield_kwh",
    "QEY": "yield_year_kwh",
    "QEM": "yield_month_kwh",
    "QED": "yield_today_kwh",
    "QLT": "load_kwh",
    "QLY": "load_year_kwh",
    "QLM": "load_month_kwh",
    "QLD": "load_today_kwh",
}
TEXTS = {
    "QID": "serial",
    "QPI": "protocol",
    "QMN": "model",
    "QVFW": "firmware",
    "QVFW2": "firmware_2",
    "QVFW3": "firmware_3",
}
# Raw fields of theirs that we name: ours, and what a field counts.
FIELDS: dict[str, list[tuple[str, float]]] = {
    "QDI": [
        ("default_output_v", 1),
        ("default_output_hz", 1),
        ("default_grid_charge_limit_a", 1),
        ("default_battery_under_v", 1),
        ("default_battery_float_v", 1),
        ("default_battery_bulk_v", 1),
        ("default_battery_recharge_v", 1),
        ("default_charge_limit_a", 1),
        ("default_input_range_code", 1),
        ("default_output_source_priority_code", 1),
        ("default_charger_source_priority_code", 1),
        ("default_battery_type_code", 1),
        ("default_buzzer_silent", 1),
        ("default_power_saving", 1),
        ("default_overload_restart", 1),
        ("default_over_temperature_restart", 1),
        ("default_backlight", 1),
        ("default_source_loss_alarm", 1),
        ("default_fault_record", 1),
        ("default_overload_bypass", 1),
        ("default_lcd_default_page", 1),
        ("default_output_mode_code", 1),
        ("default_battery_redischarge_v", 1),
        ("default_pv_ok_condition_code", 1),
        ("default_pv_power_balance_code", 1),
    ],
    "^P007PIRI": [
        ("grid_rated_v", 0.1),
        ("grid_rated_a", 0.1),
        ("output_rated_v", 0.1),
        ("output_rated_hz", 0.1),
        ("output_rated_a", 0.1),
        ("output_rated_va", 1),
        ("output_rated_w", 1),
        ("battery_rated_v", 0.1),
        ("battery_recharge_v", 0.1),
        ("battery_redischarge_v", 0.1),
        ("battery_under_v", 0.1),
        ("battery_bulk_v", 0.1),
        ("battery_float_v", 0.1),
        ("battery_type_code", 1),
        ("grid_charge_limit_a", 1),
        ("charge_limit_a", 1),
        ("input_range_code", 1),
        ("output_source_priority_code", 1),
        ("charger_source_priority_code", 1),
        ("parallel_max_code", 1),
        ("machine_type_code", 1),
        ("topology_code", 1),
        ("output_mode_code", 1),
        ("solar_power_priority_code", 1),
        ("mppt_strings_code", 1),
    ],
    "^P007FLAG": [
        ("buzzer_enabled", 1),
        ("overload_bypass_enabled", 1),
        ("lcd_default_page_enabled", 1),
        ("overload_restart_enabled", 1),
        ("over_temperature_restart_enabled", 1),
        ("backlight_enabled", 1),
        ("source_loss_alarm_enabled", 1),
        ("fault_record_enabled", 1),
    ],
    "QBMS": [
        ("bms_connected", 1),  # 0 = connected, see _check_fields
        ("bms_soc_percent", 1),
        ("bms_force_charge", 1),
        ("bms_stop_discharge", 1),
        ("bms_stop_charge", 1),
        ("bms_charge_v", 0.1),
        ("bms_float_v", 0.1),
        ("bms_cutoff_v", 0.1),
        ("bms_charge_limit_a", 1),
        ("bms_discharge_limit_a", 1),
    ],
}
EXTRA = {"QDI": "qdi_extra", "^P007PIRI": "piri_extra", "^P007FLAG": "flag_extra"}
# What theirs calls otherwise, or what ours leaves raw.
WORDS = {"charge": "charging"}
RAW = {"reserved1", "reserved2", "unused", "pv_energy_total"}
# Their raw fields have names here; test_voltronic_codec.py has the values.
NAMED_BY_US = {"QPGS0", "QOPPT", "QCHPT"}
TAIL = ("clone_tail_1", "clone_tail_2", "clone_tail_3")


def _check_fields(command: str, stated: list[str], values: dict[str, Any]) -> None:
    if "fields" in values:
        assert values["fields"] == stated
        return
    names = FIELDS[command]
    for (name, factor), field in zip(names, stated, strict=False):
        expected = float(field) * factor
        assert values[name] == pytest.approx(1 - expected if name == "bms_connected" else expected)
    assert values.get(EXTRA.get(command, ""), []) == stated[len(names) :]


def _check_pv_current(stated: dict[str, Any], values: dict[str, Any]) -> None:
    """Their field 12 is the panels' current or the battery's; ours tells which."""
    found = [values[name] for name in ("pv_01_a", "pv_charge_a") if name in values]
    assert found == [stated["value"]]


CHECKS: dict[str, Callable[[str, Any, dict[str, Any]], None]] = {
    "fields": _check_fields,
    "status_b7_b0": lambda _, stated, v: _same(v["status_bits"], stated),
    "status_b10_b8": lambda _, stated, v: _same(v["status_extra_bits"], stated),
    "enabled": lambda _, stated, v: _same(v["flags_enabled"], stated),
    "disabled": lambda _, stated, v: _same(v["flags_disabled"], stated),
    "mode": lambda _, stated, v: _same(v["mode"], WORDS.get(stated, stated)),
    "mode_code": lambda _, stated, v: _same(chr(v["mode_code"]), stated),
    "energy": lambda command, stated, v: _same(v[ENERGIES[command[:3]]] * 1000, stated),
    "datetime": lambda _, stated, v: _same(
        v["device_time"].translate(str.maketrans("", "", "-T:")), stated
    ),
    "options": lambda command, stated, v: _same(
        [
            int(a)
            for a in v["charge_limit_options" if "QMC" in command else "grid_charge_limit_options"]
        ],
        stated,
    ),
    "bits_set": lambda _, stated, v: _same(
        [at for at, bit in enumerate(v["warning_bits"]) if bit == "1"], stated
    ),
    "bit_count": lambda _, stated, v: _same(len(v["warning_bits"]), stated),
    "extra": lambda command, stated, v: _same(
        v[f"{command.lower()}_extra"][-len(stated) :], stated
    ),
}


def _same(found: object, stated: object) -> None:
    assert found == pytest.approx(stated) if isinstance(stated, int | float) else found == stated


def _check_text(command: str, stated: str, values: dict[str, Any]) -> None:
    if command == "QSID":
        assert stated[2:].startswith(values["serial"])
        assert len(values["serial"]) == int(stated[:2])
    elif command == "QGMN":
        assert values["model_code"] == int(stated)
    elif command in TEXTS:
        assert values[TEXTS[command]] == stated.rpartition(":")[2]
    else:
        assert values["fields"] == [stated]


def _check(command: str, name: str, stated: dict[str, Any], values: dict[str, Any]) -> None:
    value = stated["value"]
    if name in TAIL:
        assert float(values["qpiri_extra"][TAIL.index(name)]) == value
    elif name == "text":
        _check_text(command, value, values)
    elif name == "pv1_current":
        _check_pv_current(stated, values)
    elif name in CHECKS:
        CHECKS[name](command, value, values)
    else:
        ours, factor = NUMBERS[name]
        assert values[ours] == pytest.approx(float(value) * factor), name
        if stated["unit"]:
            assert unit_of(ours) == UNITS.get(stated["unit"], stated["unit"]), name


@pytest.mark.parametrize("vector", _named([v for v in SOUND if v.get("decoded")]))
def test_every_stated_value_comes_out(vector: dict[str, Any]) -> None:
    values, _ = decode_line(_bytes(vector["request_hex"]), bytes.fromhex(vector["response_hex"]))
    for name, stated in vector["decoded"].items():
        if name in RAW or name.startswith("_") or vector["command"] in NAMED_BY_US:
            continue
        if vector["command"] == "^P005FWS":
            raised = f"{values['fault_code']:02}{values['warning_bits']}"
            assert raised == "".join(stated["value"])
            continue
        _check(vector["command"] or "", name, stated, values)
