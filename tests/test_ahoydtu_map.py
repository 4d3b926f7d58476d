"""The map of AhoyDTU: what each of its topics becomes, row by row."""

from typing import Any

from tests.mqtt_maps import JSON, Rows
from tests.mqtt_place import Place, Said

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


(
    test_a_row_is_decoded_to_what_it_means,
    test_the_codec_makes_the_same_of_it,
    test_a_row_of_which_nobody_has_said_what_it_means_is_taken_in,
    test_each_value_has_the_unit_that_its_row_states,
) = ROWS.tests()


# ---------------------------------------------------------------------- how it lives


def ahoy() -> Place:
    place = Place("ahoydtu", name="ahoy")
    # The broker keeps these: they are sent when they change.
    hear(place, ("mqtt", "connected"), ("HM600/available", "2"), ("status", "2"), retained=True)
    hear(place, ("HM600/ch0/YieldDay", "9999"), ("version", "0.8.156"), retained=True)
    return place


def hear(place: Place, *said: Said, retained: bool = False) -> None:
    place.hear(*said, base="inverter/", retained=retained)


def cycle(place: Place, power: str = "71") -> None:
    hear(place, ("HM600/last_success", str(place.unix_s)))
    hear(place, ("HM600/ch1/U_DC", "38.9"), ("HM600/ch1/P_DC", "74.6"), ("HM600/ch0/P_AC", power))
    hear(place, ("HM600/ch0/YieldDay", "51"), ("HM600/ch0/YieldTotal", "465.294"))
    hear(place, ("total/P_AC", power), ("total/YieldTotal", "465.294"), ("total/YieldDay", "51"))
    place.wait(15)


def test_an_inverter_has_the_name_that_its_owner_gave_it() -> None:
    place = ahoy()
    cycle(place)
    heard = place.listener.devices["hm600"]
    assert (heard.kind, heard.title, heard.identity.maker, heard.via) == (
        "inverter",
        "HM600",
        "Hoymiles",
        "ahoy",
    )
    gateway = place.listener.devices["ahoy"]
    assert (gateway.kind, gateway.identity.firmware) == ("gateway", "0.8.156")
    assert list(place.listener.devices) == ["ahoy", "hm600"]


def test_one_cycle_is_one_sample_of_an_inverter_and_one_of_the_dtu() -> None:
    place = ahoy()
    place.wait(5)
    place.readings.clear()
    cycle(place)
    assert sorted(reading.device for reading in place.readings) == ["ahoy", "hm600"]
    assert place.newest("hm600") == {
        "mode": "running", "mode_code": 2, "last_update_s": 1_795_255_205, "data_age_s": 0.5,
        "pv_01_v": 38.9, "pv_01_w": 74.6, "output_w": 71,
        "yield_today_kwh": 0.051, "yield_kwh": 465.294,
    }  # fmt: skip
    assert place.newest("ahoy") == {
        "status_code": 2, "valid": True, "output_w": 71, "yield_kwh": 465.294,
        "yield_today_kwh": 0.051,
    }  # fmt: skip


def test_a_yield_that_the_broker_kept_is_not_shown() -> None:
    place = ahoy()
    place.wait(5)
    assert place.seen("hm600", "yield_today_kwh") == []
    assert place.newest("hm600")["mode"] == "running"


def test_an_inverter_that_is_off_sleeps_and_keeps_its_counters() -> None:
    place = ahoy()
    cycle(place)
    hear(place, ("HM600/ch0/P_AC", "0"), ("HM600/available", "0"), ("status", "0"))
    place.wait(5)
    newest = place.newest("hm600")
    assert newest["mode"] == "asleep"
    assert not {"output_w", "pv_01_w", "pv_01_v"} & newest.keys()
    assert (newest["yield_kwh"], newest["yield_today_kwh"]) == (465.294, 0.051)
    assert place.newest("ahoy")["valid"] is False


def test_at_night_an_inverter_of_which_nothing_is_said_stays_online() -> None:
    place = ahoy()
    cycle(place)
    hear(place, ("HM600/available", "0"))
    for _ in range(30):  # the DTU speaks of itself once a minute
        hear(place, ("uptime", str(place.unix_s)), ("wifi_rssi", "-75"), ("free_heap", "17784"))
        place.wait(60, step_s=5)
    assert place.listener.devices["ahoy"].online is True
    assert place.listener.devices["hm600"].online is True


def test_when_the_will_of_ahoy_is_heard_its_inverters_are_offline() -> None:
    place = ahoy()
    cycle(place)
    hear(place, ("mqtt", "not connected"))
    place.wait(2)
    assert [each.online for each in place.listener.devices.values()] == [False, False]


def test_a_retained_command_to_ahoy_is_reported() -> None:
    place = ahoy()
    hear(place, ("ctrl/power/0", "0"), retained=True)
    place.wait(2)
    assert list(place.listener.hints) == [
        "a command is retained on inverter/ctrl/power/0: AhoyDTU obeys it again at each connect."
        " Clear it, as a user that may write there, with:"
        " mosquitto_pub -r -n -t inverter/ctrl/power/0"
    ]
