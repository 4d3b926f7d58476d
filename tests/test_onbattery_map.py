"""The map of OpenDTU-OnBattery: what each of its topics becomes, row by row."""

from typing import Any

from tests.mqtt_maps import Rows

EXPECTED: dict[tuple[str, str], Any] = {
    ("solar/battery/dataAge", "3"): {"data_age_s": 3},
    ("solar/battery/stateOfCharge", "87.00"): {"soc_percent": 87.0},
    ("solar/battery/temperature", "18.50"): {"battery_c": 18.5},
    ("solar/battery/settings/chargeVoltage", "53.20"): {"charge_limit_v": 53.2},
    ("solar/battery/settings/dischargeCurrentLimitation", "50.00"): {"discharge_limit_a": 50.0},
    ("solar/battery/charging/chargeEnabled", "1"): {"charge_enabled": True},
    ("solar/battery/alarm/overVoltage", "0"): {"alarms": []},
    ("solar/battery/CellMinMilliVolt", "3291"): {"cell_min_v": 3.291},
    ("solar/powermeter/powertotal", "-132.00"): {"power_w": -132.0},
    ("solar/powermeter/power1", "-40.00"): {"l1_w": -40.0},
    ("solar/powermeter/import", "1234.56"): {"import_kwh": 1234.56},
    ("solar/powerlimiter/status/upper_power_limit", "800"): {"limiter_max_w": 800},
    ("solar/powerlimiter/status/target_power_consumption", "0"): {"limiter_target_w": 0},
    ("solar/powerlimiter/status/threshold/soc/start", "80"): {"limiter_start_soc_percent": 80},
    ("solar/powerlimiter/cmd/mode", "1"): "command",
    ("solar/powerlimiter/cmd/target_power_consumption", "-10"): "command",
    ("solar/victron/HQ2130ABCDE/PPV", "312"): {"pv_w": 312},
    ("solar/victron/HQ2130ABCDE/V", "26.45"): {"battery_v": 26.45},
    ("solar/victron/HQ2130ABCDE/CS", "Bulk"): {"charge_state": "bulk"},
    ("solar/huawei/output_power", "480.00"): {"output_w": 480.0},
}
ROWS = Rows("opendtu_onbattery", EXPECTED)


@ROWS.cases
def test_a_row_is_decoded_to_what_it_means(topic: str, payload: str, expected: Any) -> None:
    assert ROWS.decoded(topic, payload) == expected


@ROWS.cases
def test_the_codec_makes_the_same_of_it(topic: str, payload: str, expected: Any) -> None:
    assert ROWS.read(topic, payload) == expected


def test_each_value_has_the_unit_that_its_row_states() -> None:
    for said, unit in ROWS.units.items():
        answer = ROWS.answers[said]
        if unit and answer.get("values") and "command" not in answer:
            assert set(answer["units"].values()) == {unit}, said
