"""Plugs and meters that speak MQTT by themselves: messages in, readings out."""

import json
import time
from typing import Any

import pytest

from tests.mqtt_place import Place

MINI = "shelly1pmminig3-48f6ee8d12dc"
PRO = "shellypro3em-ec6260890b50"


def plugs(map_name: str, **options: Any) -> Place:
    return Place(map_name, "plugs", **options)


def hear(place: Place, topic: str, payload: object, *, retained: bool = False) -> None:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    assert place.hear((topic, text), base="", retained=retained) == []


def notify(place: Place, shelly: str, method: str = "NotifyStatus", **params: object) -> None:
    """Let a Shelly tell what has changed, at the time that the test's clock shows."""
    body = {
        "src": shelly,
        "dst": f"{shelly}/events",
        "method": method,
        "params": {"ts": place.unix_s} | {key.replace("_0", ":0"): v for key, v in params.items()},
    }
    hear(place, f"{shelly}/events/rpc", body)


# ---------------------------------------------------------------------- shelly, Gen2 and later


def test_what_a_shelly_tells_of_changes_becomes_whole_samples() -> None:
    place = plugs("shelly_gen2")
    notify(
        place, MINI, "NotifyFullStatus", switch_0={"output": True, "apower": 25.7, "voltage": 231}
    )
    place.wait(5)
    notify(place, MINI, switch_0={"id": 0, "apower": 30.1})
    place.wait(5)
    notify(
        place, MINI, switch_0={"id": 0, "aenergy": {"total": 2000}, "ret_aenergy": {"total": 500}}
    )
    place.wait(5)
    values = dict(place.newest("shelly1pmminig3_48f6ee8d12dc"))
    values.pop("data_age_s")
    assert values == {
        "is_on": True,
        "power_w": 30.1,
        "voltage_v": 231,
        "import_kwh": 1.5,
        "export_kwh": 0.5,
    }


def test_a_value_that_a_shelly_takes_back_is_gone() -> None:
    place = plugs("shelly_gen2")
    notify(place, PRO, em_0={"n_current": 0.4, "total_act_power": 812.0})
    place.wait(5)
    assert place.newest("shellypro3em_ec6260890b50")["neutral_a"] == 0.4
    notify(place, PRO, em_0={"n_current": None})
    place.wait(5)
    values = place.newest("shellypro3em_ec6260890b50")
    assert "neutral_a" not in values
    assert values["power_w"] == 812.0


def test_the_age_of_the_values_is_known_where_the_shelly_knows_the_time() -> None:
    place = plugs("shelly_gen2")
    body = {
        "method": "NotifyStatus",
        "params": {"ts": place.unix_s - 20, "switch:0": {"apower": 1}},
    }
    hear(place, f"{MINI}/events/rpc", body)
    place.wait(1)
    assert 20 <= place.newest("shelly1pmminig3_48f6ee8d12dc")["data_age_s"] <= 22


def test_a_time_that_counts_from_the_start_of_the_shelly_is_passed_over() -> None:
    place = plugs("shelly_gen2")
    body = {"method": "NotifyStatus", "params": {"ts": 1234.5, "switch:0": {"apower": 1}}}
    hear(place, f"{MINI}/events/rpc", body)
    place.wait(5)
    assert place.newest("shelly1pmminig3_48f6ee8d12dc") == {"power_w": 1}


def test_import_and_export_of_a_shelly_rise_each_for_itself() -> None:
    place = plugs("shelly_gen2")
    for forth_wh, back_wh in ((10_000, 4_000), (10_250, 4_250), (10_750, 4_250)):
        switch = {"aenergy": {"total": forth_wh}, "ret_aenergy": {"total": back_wh}}
        notify(place, MINI, switch_0=switch)
        place.wait(60)
    assert set(place.seen("shelly1pmminig3_48f6ee8d12dc", "import_kwh")) == {6.0, 6.5}
    assert set(place.seen("shelly1pmminig3_48f6ee8d12dc", "export_kwh")) == {4.0, 4.25}


def test_a_three_phase_shelly_has_its_phases_totals_and_counters_in_one_sample() -> None:
    place = plugs("shelly_gen2")
    notify(
        place,
        PRO,
        em_0={
            "a_act_power": 100.5,
            "b_act_power": -20.0,
            "c_act_power": 0.0,
            "a_voltage": 230.1,
            "b_voltage": 231.2,
            "c_voltage": 229.9,
            "total_act_power": 80.5,
            "total_current": 1.2,
            "n_current": None,
        },
    )
    notify(place, PRO, emdata_0={"total_act": 2852055.81, "total_act_ret": 12.5})
    place.wait(5)
    values = dict(place.newest("shellypro3em_ec6260890b50"))
    values.pop("data_age_s")
    assert values == {
        "l1_w": 100.5,
        "l2_w": -20.0,
        "l3_w": 0.0,
        "l1_v": 230.1,
        "l2_v": 231.2,
        "l3_v": 229.9,
        "power_w": 80.5,
        "current_a": 1.2,
        "import_kwh": 2852.05581,
        "export_kwh": 0.0125,
    }
    assert place.listener.devices["shellypro3em_ec6260890b50"].kind == "meter"


def test_a_shelly_that_switches_is_a_relay_and_its_will_takes_it_away() -> None:
    place = plugs("shelly_gen2")
    hear(place, "garage/pump/online", "true", retained=True)
    hear(place, "garage/pump/status/switch:0", {"id": 0, "output": False, "apower": 0.0})
    place.wait(5)
    heard = place.listener.devices["garage_pump"]
    assert (heard.kind, heard.online) == ("relay", True)
    assert place.newest("garage_pump") == {"is_on": False, "power_w": 0.0}
    hear(place, "garage/pump/online", "false")
    place.wait(1)
    assert place.listener.devices["garage_pump"].online is False


def test_the_owner_says_what_a_shelly_with_a_name_of_his_own_is() -> None:
    place = plugs("shelly_gen2", devices={"house": {"kind": "meter", "role": "grid"}})
    hear(place, "house/status/em:0", {"id": 0, "a_act_power": 12.5, "total_act_power": 12.5})
    place.wait(5)
    heard = place.listener.devices["house"]
    assert (heard.kind, heard.role) == ("meter", "grid")
    assert place.newest("house") == {"l1_w": 12.5, "power_w": 12.5}


# ---------------------------------------------------------------------- shelly, first generation


def test_single_values_of_an_old_shelly_become_one_sample() -> None:
    place = plugs("shelly_gen1")
    for topic, payload in (
        ("relay/0", "on"),
        ("relay/0/power", "61.2"),
        ("relay/0/energy", "90000"),
    ):
        hear(place, f"shellies/shellyplug-s-040BAD/{topic}", payload)
    place.wait(5)
    assert place.readings[0].values == {"is_on": True, "power_w": 61.2, "import_kwh": 1.5}
    assert place.listener.devices["shellyplug_s_040bad"].kind == "relay"


def test_an_old_shelly_with_three_phases_is_one_meter() -> None:
    place = plugs("shelly_gen1")
    for phase, power in enumerate(("100.0", "-50.5", "0.0")):
        hear(place, f"shellies/shellyem3-485519D64C5B/emeter/{phase}/power", power)
    place.wait(5)
    assert place.newest("shellyem3_485519d64c5b") == {"l1_w": 100.0, "l2_w": -50.5, "l3_w": 0.0}
    assert place.listener.devices["shellyem3_485519d64c5b"].kind == "meter"


# ---------------------------------------------------------------------- tasmota

DUAL = {
    "Time": "2026-11-21T11:00:00",
    "ENERGY": {
        "Total": [2.813, 0.254],
        "Power": [52, 5],
        "Voltage": 235,
        "Current": [0.278, 0.044],
    },
}


def test_a_meter_with_two_channels_has_both_and_their_sum() -> None:
    place = plugs("tasmota")
    hear(place, "tele/dual/SENSOR", DUAL)
    place.wait(5)
    values = dict(place.newest("dual"))
    values.pop("data_age_s", None)
    assert values == {
        "power_w": 57,
        "channel_01_w": 52,
        "channel_02_w": 5,
        "voltage_v": 235,
        "current_a": 0.322,
        "channel_01_a": 0.278,
        "channel_02_a": 0.044,
        "import_kwh": 3.067,
        "channel_01_import_kwh": 2.813,
        "channel_02_import_kwh": 0.254,
    }


def test_both_orders_of_tasmotas_topics_are_one_device_each() -> None:
    place = plugs("tasmota")
    hear(place, "tele/pump/STATE", {"POWER": "ON", "UptimeSec": 10})
    hear(place, "fridge/tele/STATE", {"POWER": "OFF", "UptimeSec": 20})
    place.wait(5)
    assert place.newest("pump") == {"is_on": True, "uptime_s": 10}
    assert place.newest("fridge") == {"is_on": False, "uptime_s": 20}
    assert set(place.listener.devices) == {"pump", "fridge"}


def test_tasmotas_topics_may_stand_below_a_base() -> None:
    place = plugs("tasmota", base="smarthome")
    hear(place, "smarthome/tele/tasmota7163/STATE", {"POWER": "ON"})
    place.wait(5)
    assert place.newest("tasmota7163") == {"is_on": True}


def test_tasmotas_local_time_is_that_of_this_computer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")  # 5:30 before UTC, where the test's clock has 10:00
    time.tzset()
    place = plugs("tasmota")
    hear(place, "tele/pump/SENSOR", {"Time": "2026-11-21T15:29:30", "ENERGY": {"Power": 5}})
    place.wait(3)
    monkeypatch.undo()
    time.tzset()
    assert 30 <= place.newest("pump")["data_age_s"] <= 33


def test_the_answer_to_status_10_is_as_good_as_a_message() -> None:
    place = plugs("tasmota")
    hear(place, "stat/pump/STATUS10", {"StatusSNS": {"ENERGY": {"Power": 7, "Total": 41.5}}})
    place.wait(5)
    assert place.newest("pump") == {"power_w": 7, "import_kwh": 41.5}


def test_a_switch_is_seen_at_once_and_the_measured_stays() -> None:
    place = plugs("tasmota")
    hear(place, "tele/pump/SENSOR", {"ENERGY": {"Power": 7}})
    place.wait(5)
    hear(place, "stat/pump/POWER", "OFF")
    place.wait(5)
    assert place.newest("pump") == {"power_w": 7, "is_on": False}


def test_tasmotas_will_takes_it_away_and_its_first_words_bring_it_back() -> None:
    place = plugs("tasmota")
    hear(place, "tele/pump/LWT", "Offline", retained=True)
    hear(
        place, "tele/pump/INFO1", {"Info1": {"Module": "Sonoff Pow", "Version": "14.2.0(tasmota)"}}
    )
    place.wait(1)
    hear(place, "tele/pump/LWT", "Online")
    hear(place, "tele/pump/STATE", {"POWER": "ON"})
    place.wait(5)
    heard = place.listener.devices["pump"]
    assert heard.online is True
    assert (heard.identity.model, heard.identity.firmware) == ("Sonoff Pow", "14.2.0(tasmota)")


# ---------------------------------------------------------------------- zigbee2mqtt


def test_a_name_with_slashes_is_one_device() -> None:
    place = plugs("zigbee2mqtt")
    hear(place, "zigbee2mqtt/kitchen/plug left", {"power": 12.5, "state": "ON", "linkquality": 63})
    place.wait(5)
    assert place.newest("kitchen_plug_left") == {"power_w": 12.5, "is_on": True}
    assert place.listener.devices["kitchen_plug_left"].title == "kitchen/plug left"


def test_null_of_a_zigbee_device_takes_the_value_away() -> None:
    place = plugs("zigbee2mqtt")
    hear(place, "zigbee2mqtt/plug", {"power": 12.5, "voltage": 231})
    place.wait(5)
    hear(place, "zigbee2mqtt/plug", {"power": None, "voltage": 230})
    place.wait(5)
    assert place.newest("plug") == {"voltage_v": 230}


def test_a_zigbee_device_is_there_or_not_in_both_ways_of_saying_so() -> None:
    for there, gone in (("online", "offline"), ('{"state":"online"}', '{"state": "offline"}')):
        place = plugs("zigbee2mqtt")
        hear(place, "zigbee2mqtt/plug/availability", there, retained=True)
        hear(place, "zigbee2mqtt/plug", {"power": 1})
        place.wait(5)
        assert place.listener.devices["plug"].online is True
        hear(place, "zigbee2mqtt/plug/availability", gone)
        place.wait(1)
        assert place.listener.devices["plug"].online is False


def test_all_zigbee_devices_are_gone_with_zigbee2mqtt() -> None:
    place = plugs("zigbee2mqtt")
    for name in ("one", "two"):
        hear(place, f"zigbee2mqtt/{name}", {"power": 1})
    place.wait(5)
    hear(place, "zigbee2mqtt/bridge/state", {"state": "offline"})
    place.wait(1)
    assert [place.listener.devices[name].online for name in ("one", "two")] == [False, False]


def test_single_attributes_of_a_zigbee_device_become_one_sample() -> None:
    place = plugs("zigbee2mqtt")
    for topic, payload in (
        ("state", "OFF"),
        ("current", "0"),
        ("energy", "12.05"),
        ("linkquality", "9"),
    ):
        hear(place, f"zigbee2mqtt/z1/{topic}", payload)
    place.wait(5)
    assert [r.values for r in place.readings] == [
        {"is_on": False, "current_a": 0, "import_kwh": 12.05}
    ]
    assert set(place.listener.devices) == {"z1"}


def test_two_endpoints_of_a_zigbee_device_keep_apart() -> None:
    place = plugs("zigbee2mqtt")
    hear(
        place,
        "zigbee2mqtt/double",
        {"power_l1": 8, "power_l2": 0, "state_l1": "ON", "state_l2": "OFF"},
    )
    place.wait(5)
    assert place.newest("double") == {
        "channel_01_w": 8,
        "channel_02_w": 0,
        "relay_01_on": True,
        "relay_02_on": False,
    }


def test_what_only_measures_has_no_switch_once_its_owner_says_so() -> None:
    place = plugs("zigbee2mqtt", devices={"fridge": {"kind": "meter", "role": "load"}})
    hear(place, "zigbee2mqtt/fridge", {"power": 60, "energy": 12.5, "state": "ON"})
    place.wait(5)
    assert place.newest("fridge") == {"power_w": 60, "import_kwh": 12.5}


def test_what_zigbee2mqtt_says_of_itself_makes_no_device() -> None:
    place = plugs("zigbee2mqtt")
    hear(place, "zigbee2mqtt/bridge/devices", [{"friendly_name": "z1"}])
    hear(place, "zigbee2mqtt/bridge/event", {"type": "device_joined", "data": {}})
    hear(place, "zigbee2mqtt/bridge/state", "online")
    place.wait(5)
    assert place.listener.devices == {}
