"""Whole systems that speak MQTT by themselves, through the listener: messages in, readings out."""

import itertools
import json
from typing import Any

from heliobus.follower import Outgoing
from tests.mqtt_place import Place

PORTAL = "c0619ab12345"
AGAIN = b'{"keepalive-options":["suppress-republish"]}'


def hear(place: Place, topic: str, payload: object, *, retained: bool = False) -> None:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    assert place.hear((topic, text), base="", retained=retained) == []


# ---------------------------------------------------------------------- victron


def gx(**options: Any) -> Place:
    return Place("victron_venus", "gx", **options)


def victron(place: Place, path: str, value: object, portal: str = PORTAL) -> None:
    hear(place, f"N/{portal}/{path}", {"value": value})


def spoken(place: Place, seconds: float) -> list[tuple[float, Outgoing]]:
    """Let time pass; give what is said to the devices, and when."""
    said = []
    start_s = place.s
    while place.s < start_s + seconds:
        said += [(place.s - start_s, one) for one in place.listener.speak(place.now)]
        place.wait(1, step_s=1)
    return said


def test_a_gx_is_asked_for_everything_once_and_then_to_go_on() -> None:
    place = gx()
    victron(place, "system/0/Serial", PORTAL)
    said = spoken(place, 125)
    assert {one.topic for _, one in said} == {f"R/{PORTAL}/keepalive"}
    assert not any(one.retain for _, one in said)
    assert [one.payload for _, one in said] == [b"", *[AGAIN] * (len(said) - 1)]
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(said)]
    assert max(gaps) < 60


def test_each_gx_that_is_heard_of_is_asked() -> None:
    place = gx()
    for portal in ("c0619ab12345", "7c386655e76b"):
        victron(place, "system/0/Serial", portal, portal=portal)
    topics = {one.topic for _, one in spoken(place, 5)}
    assert topics == {"R/c0619ab12345/keepalive", "R/7c386655e76b/keepalive"}


def test_after_a_lost_connection_a_gx_is_asked_for_everything_again() -> None:
    place = gx()
    victron(place, "system/0/Serial", PORTAL)
    spoken(place, 45)
    place.connect()
    victron(place, "system/0/Serial", PORTAL)
    assert [one.payload for _, one in spoken(place, 5)] == [b""]


def test_there_is_one_device_for_each_service_and_instance() -> None:
    place = gx()
    for path, value in (
        ("system/0/Dc/Battery/Soc", 87.5),
        ("battery/512/Dc/0/Voltage", 52.71),
        ("battery/513/Dc/0/Voltage", 52.69),
        ("solarcharger/279/Yield/Power", 812),
        ("vebus/276/Ac/Out/P", 512),
        ("grid/30/Ac/Power", -1520.5),
        ("pvinverter/20/Ac/Power", 936),
        ("acload/41/Ac/Power", 75),
        ("temperature/24/Temperature", 21.5),
    ):
        victron(place, path, value)
    place.wait(5)
    assert {name: (heard.kind, heard.role) for name, heard in place.listener.devices.items()} == {
        "gx": ("site", ""),
        "gx_battery_512": ("battery", ""),
        "gx_battery_513": ("battery", ""),
        "gx_solarcharger_279": ("charger", ""),
        "gx_vebus_276": ("inverter", ""),
        "gx_grid_30": ("meter", "grid"),
        "gx_pvinverter_20": ("inverter", ""),
        "gx_acload_41": ("meter", "load"),
        "gx_temperature_24": ("sensor", ""),
    }
    assert place.newest("gx_battery_513") == {"battery_v": 52.69}
    assert place.newest("gx_pvinverter_20") == {"output_w": 936}


def test_a_service_that_has_gone_is_offline_and_comes_back() -> None:
    place = gx()
    victron(place, "pvinverter/20/Ac/Power", 936)
    victron(place, "pvinverter/20/Ac/Energy/Forward", 9120.2)
    place.wait(5)
    hear(place, f"N/{PORTAL}/pvinverter/20/Ac/Power", "")
    hear(place, f"N/{PORTAL}/pvinverter/20/Ac/Energy/Forward", "")
    place.wait(5)
    assert place.listener.devices["gx_pvinverter_20"].online is False
    victron(place, "pvinverter/20/Ac/Power", 12)
    place.wait(5)
    assert place.listener.devices["gx_pvinverter_20"].online is not False
    assert place.newest("gx_pvinverter_20") == {"output_w": 12}


def test_a_null_of_a_gx_is_no_value() -> None:
    place = gx()
    victron(place, "battery/512/Soc", 87.5)
    victron(place, "battery/512/Dc/0/Temperature", 19.0)
    place.wait(5)
    victron(place, "battery/512/Dc/0/Temperature", None)
    victron(place, "battery/512/Soc", 87)
    place.wait(5)
    assert place.newest("gx_battery_512") == {"soc_percent": 87}


def test_what_floats_of_32_bits_add_is_taken_off() -> None:
    place = gx()
    victron(place, "battery/512/Dc/0/Current", -12.300000190734863)
    victron(place, "battery/512/Dc/0/Voltage", 52.709999084472656)
    place.wait(5)
    assert place.newest("gx_battery_512") == {"battery_a": -12.3, "battery_v": 52.71}


def test_alarms_of_a_battery_stand_in_a_list_while_they_last() -> None:
    place = gx()
    victron(place, "battery/512/Alarms/LowVoltage", 2)
    victron(place, "battery/512/Alarms/HighTemperature", 1)
    victron(place, "battery/512/Alarms/LowSoc", 0)
    place.wait(5)
    assert sorted(place.newest("gx_battery_512")["alarms"]) == ["high temperature", "low voltage"]
    victron(place, "battery/512/Alarms/LowVoltage", 0)
    victron(place, "battery/512/Alarms/HighTemperature", 0)
    place.wait(5)
    assert place.newest("gx_battery_512")["alarms"] == []


def test_what_is_retained_for_a_gx_to_do_is_told() -> None:
    place = gx()
    hear(place, f"W/{PORTAL}/vebus/276/Mode", {"value": 4}, retained=True)
    place.wait(5)
    assert any("vebus/276/Mode" in line for line in place.listener.hints)


def test_what_a_gx_says_at_once_is_one_sample() -> None:
    place = gx()
    for phase in "123":
        victron(place, f"grid/30/Ac/L{phase}/Power", 100 * int(phase))
    victron(place, "grid/30/Ac/Power", 600)
    place.wait(5)
    assert [r.values for r in place.readings if r.device == "gx_grid_30"] == [
        {"l1_w": 100, "l2_w": 200, "l3_w": 300, "power_w": 600}
    ]


# ---------------------------------------------------------------------- evcc


def evcc(**options: Any) -> Place:
    return Place("evcc", "evcc", **options)


def test_evccs_battery_is_turned_and_its_grid_is_not() -> None:
    place = evcc()
    hear(place, "evcc/site/grid/power", "-3491.5")
    hear(place, "evcc/site/battery/power", "-1880")
    hear(place, "evcc/site/battery/devices/1/power", "850")
    place.wait(5)
    assert place.newest("evcc") == {"grid_w": -3491.5, "battery_w": 1880}
    assert place.newest("evcc_battery_1") == {"battery_w": -850}


def test_a_battery_of_an_older_evcc_is_the_same_device() -> None:
    place = evcc()
    hear(place, "evcc/site/battery/1/power", "850")
    place.wait(5)
    assert place.newest("evcc_battery_1") == {"battery_w": -850}


def test_no_number_and_no_payload_of_evcc_are_no_value() -> None:
    place = evcc()
    for leaf, payload in (("vehicleSoc", "64"), ("chargePower", "11040"), ("charging", "true")):
        hear(place, f"evcc/loadpoints/1/{leaf}", payload)
    place.wait(5)
    hear(place, "evcc/loadpoints/1/vehicleSoc", "")
    hear(place, "evcc/loadpoints/1/chargePower", "NaN")
    hear(place, "evcc/loadpoints/1/chargeTotalImport", "+Inf")
    place.wait(5)
    assert place.newest("evcc_loadpoint_1") == {"charging": True}


def test_how_many_there_are_is_no_value_and_no_device() -> None:
    place = evcc()
    for topic in ("loadpoints", "vehicles", "site/pv", "site/battery/devices", "site/battery"):
        hear(place, f"evcc/{topic}", "2")
    hear(place, "evcc/updated", "1795255200")
    place.wait(5)
    assert place.readings == []


def test_the_phases_and_the_sum_of_a_charge_point_are_one_sample() -> None:
    place = evcc()
    for leaf, payload in (("", "48"), ("/l1", "16"), ("/l2", "16"), ("/l3", "16")):
        hear(place, f"evcc/loadpoints/1/chargeCurrents{leaf}", payload)
    place.wait(5)
    assert [r.values for r in place.readings] == [
        {"current_a": 48, "l1_a": 16, "l2_a": 16, "l3_a": 16}
    ]
    heard = place.listener.devices["evcc_loadpoint_1"]
    assert (heard.kind, heard.role) == ("meter", "load")


def test_the_energy_of_a_new_charging_begins_at_zero() -> None:
    place = evcc()
    for energy_wh in ("20000", "0", "0", "150"):
        hear(place, "evcc/loadpoints/1/chargedEnergy", energy_wh)
        place.wait(30)
    assert place.seen("evcc_loadpoint_1", "session_kwh") == [20.0, 0.0, 0.15]


def test_a_command_to_evcc_is_no_value() -> None:
    place = evcc()
    hear(place, "evcc/loadpoints/1/mode/set", "now")
    place.wait(5)
    assert place.readings == []


def test_everything_is_gone_with_evcc() -> None:
    place = evcc()
    hear(place, "evcc/status", "online", retained=True)
    hear(place, "evcc/site/homePower", "1200")
    hear(place, "evcc/loadpoints/1/chargePower", "0")
    place.wait(5)
    hear(place, "evcc/status", "offline")
    place.wait(1)
    assert {d.online for d in place.listener.devices.values()} == {False}


# ---------------------------------------------------------------------- solarassistant


def test_the_owner_turns_what_counts_the_other_way_round() -> None:
    plain = Place("solarassistant", "sa")
    turned = Place("solarassistant", "sa", devices={"sa": {"invert": ["battery_w"]}})
    for place in (plain, turned):
        hear(place, "solar_assistant/total/battery_power/state", "85")
        hear(place, "solar_assistant/total/battery_state_of_charge/state", "64")
        place.wait(5)
    assert plain.newest("sa") == {"battery_w": 85, "soc_percent": 64}
    assert turned.newest("sa") == {"battery_w": -85, "soc_percent": 64}


def test_time_slots_have_a_start_a_charge_and_yes_or_no() -> None:
    place = Place("solarassistant", "sa")
    for leaf, payload in (
        ("time_point_3", "08:00"),
        ("capacity_point_3", "90"),
        ("grid_charge_point_3", "true"),
        ("gen_charge_point_3", "false"),
    ):
        hear(place, f"solar_assistant/inverter_1/{leaf}/state", payload)
    place.wait(5)
    assert place.newest("sa_inverter_1") == {
        "timer_03_start": "08:00",
        "timer_03_soc_percent": 90,
        "timer_03_grid_charge": True,
        "timer_03_generator_charge": False,
    }


def test_inverters_batteries_and_totals_are_devices_of_their_own() -> None:
    place = Place("solarassistant", "sa")
    for topic in (
        "total/pv_power",
        "inverter_1/pv_power",
        "inverter_2/pv_power",
        "battery_1/power",
    ):
        hear(place, f"solar_assistant/{topic}/state", "100")
    place.wait(5)
    assert {name: heard.kind for name, heard in place.listener.devices.items()} == {
        "sa": "site",
        "sa_inverter_1": "inverter",
        "sa_inverter_2": "inverter",
        "sa_battery_1": "battery",
    }


# ---------------------------------------------------------------------- anker solix


def test_a_solarbank_is_one_sample_with_its_counters_in_kwh() -> None:
    place = Place("anker_solix", "solarbank")
    hear(place, "solix-mqtt-bridge/availability", "online", retained=True)
    for leaf, payload in (
        ("charge_power_w", "1500"),
        ("soc_percent", "63"),
        ("battery_status", "charging"),
        ("grid_power_w", "-10"),
        ("charged_total_wh", "1234500"),
        ("discharged_total_wh", "1100000"),
    ):
        hear(place, f"solix-mqtt-bridge/{leaf}", payload)
    place.wait(5)
    assert [r.values for r in place.readings] == [
        {
            "battery_w": 1500,
            "soc_percent": 63,
            "mode": "charging",
            "grid_w": -10,
            "charged_kwh": 1234.5,
            "discharged_kwh": 1100.0,
        }
    ]


def test_a_solarbank_whose_data_is_stale_is_offline() -> None:
    place = Place("anker_solix", "solarbank")
    hear(place, "solix-mqtt-bridge/soc_percent", "63")
    hear(place, "solix-mqtt-bridge/availability", "offline")
    place.wait(5)
    assert place.listener.devices["solarbank"].online is False


# ---------------------------------------------------------------------- esphome


def test_a_node_of_esphome_has_the_name_of_its_prefix() -> None:
    place = Place("esphome", "nodes")
    hear(place, "solar/shed/status", "online", retained=True)
    hear(place, "solar/shed/sensor/panel_voltage/state", "68.4")
    hear(place, "solar/shed/sensor/battery_current/state", "11.6")
    place.wait(5)
    assert place.newest("solar_shed") == {"pv_v": 68.4, "battery_a": 11.6}
    assert place.listener.devices["solar_shed"].online is True


def test_the_owner_gives_the_beginning_of_a_prefix_as_base() -> None:
    place = Place("esphome", "nodes", base="solar/garden")
    hear(place, "solar/garden/shed/sensor/solar_power/state", "312.5")
    place.wait(5)
    assert place.newest("shed") == {"pv_w": 312.5}


def test_the_owner_says_what_a_node_of_esphome_is() -> None:
    place = Place("esphome", "nodes", devices={"bms": {"kind": "battery", "invert": ["battery_a"]}})
    hear(place, "bms/sensor/battery_current/state", "-11.6")
    hear(place, "bms/sensor/state_of_charge/state", "87")
    place.wait(5)
    assert place.newest("bms") == {"battery_a": 11.6, "soc_percent": 87}
    assert place.listener.devices["bms"].kind == "battery"


def test_what_the_broker_had_kept_of_a_node_is_not_taken_for_fresh() -> None:
    place = Place("esphome", "nodes")
    hear(place, "ampinvt/status", "online", retained=True)
    hear(place, "ampinvt/sensor/solar_power/state", "312.5", retained=True)
    place.wait(5)
    assert place.readings == []
