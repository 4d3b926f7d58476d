"""The map of AhoyDTU: what each of its topics becomes, row by row."""

from typing import Any

from tests.mqtt_maps import JSON, Rows

EXPECTED: dict[tuple[str, str], Any] = {
    ("inverter/comm_start", "1672123767"): {"asking_from_s": 1672123767},
    ("inverter/device", "AHOY-DTU"): {"title": "AHOY-DTU"},
    ("inverter/free_heap", "17784"): {"heap_free_bytes": 17784},
    ("inverter/mqtt", "connected"): "online",
    ("inverter/status", "1"): {"status_code": 1},
    ("inverter/sunrise", "1672124667"): {"sunrise_s": 1672124667},
    ("inverter/sunset", "1672154809"): {"sunset_s": 1672154809},
    ("inverter/uptime", "73630"): {"uptime_s": 73630},
    ("inverter/version", "0.5.61"): {"firmware": "0.5.61"},
    ("inverter/ip_addr", "192.168.178.25"): {"ip": "192.168.178.25"},
    ("inverter/HM600/available", "2"): {"mode": "running", "mode_code": 2},
    ("inverter/HM600/ch0/U_AC", "233.3"): {"output_v": 233.3},
    ("inverter/HM600/ch0/I_AC", "0.3"): {"output_a": 0.3},
    ("inverter/HM600/ch0/PF_AC", "95.8"): {"power_factor": 0.958},
    ("inverter/HM600/ch0/YieldDay", "51"): {"yield_today_kwh": 0.051},
    ("inverter/HM600/ch0/P_DC", "74.6"): {"pv_w": 74.6},
    ("inverter/HM600/ch1/I_DC", "0.64"): {"pv_01_a": 0.64},
    ("inverter/total/YieldDay", "0"): {"yield_today_kwh": 0.0},
    ("inverter/HM600/alarm/0", JSON): {"event_code": 1, "last_event": "Inverter start"},
    ("inverter/ctrl/restart/0", "1"): "command",
    ("inverter/setup/set_time", "1672155690"): "command",
}
ROWS = Rows("ahoydtu", EXPECTED)


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
