"""The map of OpenDTU-OnBattery: what each of its topics becomes, row by row."""

from typing import Any

from tests.mqtt_maps import Rows
from tests.mqtt_place import Place

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


(
    test_a_row_is_decoded_to_what_it_means,
    test_the_codec_makes_the_same_of_it,
    test_a_row_of_which_nobody_has_said_what_it_means_is_taken_in,
    test_each_value_has_the_unit_that_its_row_states,
) = ROWS.tests()


# ---------------------------------------------------------------------- how it lives

BATTERY = [
    ("battery/manufacturer", "Pylontech"),
    ("battery/dataAge", "3"),
    ("battery/stateOfCharge", "87.00"),
    ("battery/voltage", "51.92"),
    ("battery/current", "-12.30"),
    ("battery/alarm/overVoltage", "0"),
    ("battery/warning/lowVoltage", "1"),
]


def onbattery() -> Place:
    place = Place("opendtu_onbattery", name="home")
    place.hear(("dtu/status", "online"), ("dtu/uptime", "86412"))
    return place


def test_each_part_is_a_device_of_its_kind() -> None:
    place = onbattery()
    place.hear(*BATTERY, ("powermeter/powertotal", "-132.00"), ("huawei/reachable", "1"))
    place.hear(("victron/HQ2130ABCDE/PPV", "312"), ("powerlimiter/status/mode", "0"))
    place.hear(("114172608275/status/reachable", "1"))
    place.wait(5)
    found = {name: (one.kind, one.role, one.via) for name, one in place.listener.devices.items()}
    assert found == {
        "home": ("gateway", "", ""),
        "home_battery": ("battery", "", "home"),
        "home_grid": ("meter", "grid", "home"),
        "home_huawei": ("charger", "", "home"),
        "mppt_hq2130abcde": ("charger", "", "home"),
        "inverter_114172608275": ("inverter", "", "home"),
    }
    assert place.newest("home_battery") == {
        "data_age_s": 3, "soc_percent": 87.0, "battery_v": 51.92, "battery_a": -12.3,
        "alarms": ["warning: low voltage"],
    }  # fmt: skip
    assert place.newest("home") == {
        "uptime_s": 86412, "limiter_mode": "normal", "limiter_mode_code": 0
    }  # fmt: skip
    identity = place.listener.devices["home_battery"].identity
    assert identity.maker == "Pylontech"


def test_a_battery_that_has_fallen_silent_has_no_values() -> None:
    place = onbattery()
    place.hear(*BATTERY)
    place.wait(5)
    # The DTU goes on saying what it last heard, and how old that is.
    old = [("battery/dataAge", "600") if each[0] == "battery/dataAge" else each for each in BATTERY]
    place.hear(*old)
    place.wait(5)
    assert place.newest("home_battery") == {"data_age_s": 600}


def test_an_alarm_goes_when_its_bit_does() -> None:
    place = onbattery()
    place.hear(*BATTERY, ("battery/alarm/underVoltage", "1"))
    place.wait(5)
    place.hear(*BATTERY, ("battery/alarm/underVoltage", "0"), ("battery/warning/lowVoltage", "0"))
    place.wait(5)
    assert place.seen("home_battery", "alarms") == [["under-voltage", "warning: low voltage"], []]


def test_a_charger_that_tells_only_what_changes_keeps_the_rest() -> None:
    place = onbattery()
    place.hear(("victron/HQ2130ABCDE/V", "26.45"), ("victron/HQ2130ABCDE/CS", "Bulk"))
    place.wait(5)
    place.hear(("victron/HQ2130ABCDE/V", "26.47"), ("dtu/uptime", "86417"))
    place.wait(5)
    assert place.newest("mppt_hq2130abcde") == {"battery_v": 26.47, "charge_state": "bulk"}


def test_a_supply_that_is_not_reached_has_no_values() -> None:
    place = onbattery()
    place.hear(("huawei/output_power", "480.00"), ("huawei/reachable", "1"))
    place.wait(5)
    assert place.newest("home_huawei")["output_w"] == 480.0
    place.hear(("huawei/output_power", "480.00"), ("huawei/reachable", "0"))
    place.wait(5)
    assert place.newest("home_huawei") == {"reachable": False}


def test_a_retained_command_to_the_limiter_is_reported() -> None:
    place = onbattery()
    place.hear(("powerlimiter/cmd/mode", "1"), retained=True)
    place.wait(2)
    assert list(place.listener.hints) == [
        "a command is retained on solar/powerlimiter/cmd/mode: the power limiter obeys it again at"
        " each connect. Clear it, as a user that may write there, with:"
        " mosquitto_pub -r -n -t solar/powerlimiter/cmd/mode"
    ]


def test_the_traps_of_opendtu_are_handled_here_too() -> None:
    place = onbattery()
    serial = "114172608275"
    place.hear((f"{serial}/status/reachable", "1"), (f"{serial}/status/last_update", "0"))
    place.hear((f"{serial}/0/power", "0.0"), (f"{serial}/0/yieldtotal", "0.000"))
    place.wait(5)
    assert place.seen(f"inverter_{serial}", "yield_kwh") == []
