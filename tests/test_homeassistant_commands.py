"""What is set in Home Assistant: shown as it is, checked, and turned into a command."""

import json
from typing import Any

import pytest

from heliobus.follower import Outgoing
from tests.ha_rules import ignored, rejections, template_warnings
from tests.homeassistant_sink import CONTRACT, NOW_MS, Broker, info, topic

COMMANDS: dict[str, Any] = {
    "output_source_priority": {
        "type": "string",
        "enum": ["utility", "solar", "sbu"],
        "heliobus": {"title": "Output source"},
    },
    "charge_limit_a": {
        "type": "integer",
        "minimum": 10,
        "maximum": 120,
        "heliobus": {"unit": "A", "device_class": "current"},
    },
    "battery_float_v": {
        "type": "number",
        "minimum": 48.0,
        "maximum": 58.4,
        "heliobus": {"unit": "V", "precision": 1, "lease_s": 60},
    },
    "buzzer_enabled": {"type": "boolean"},
    "restart": {"const": "now", "heliobus": {"title": "Restart it"}},
}
VALUES = "heliobus/farm/bus/hass/set/inverter/"


def broker(**options: Any) -> Broker:
    found = Broker(**options)
    body = info("mode", "charge_limit_a", "buzzer_enabled", commands=COMMANDS)
    found.put("heliobus/farm/inverter/info", body)
    found.start()
    return found


def cmps() -> dict[str, Any]:
    found: dict[str, Any] = broker().config("heliobus_farm_inverter")["cmps"]
    return found


def sent(name: str, text: bytes) -> Outgoing:
    """Set a value, and give the command."""
    one = broker()
    assert one.hear(VALUES + name, text) is None
    [outgoing] = one.sink.due(one.now_s)
    return outgoing


# ---------------------------------------------------------------------- as entities


def test_home_assistant_takes_the_entities_of_commands() -> None:
    where = topic("heliobus_farm_inverter")
    payload = broker().retained[where]
    assert rejections(where, payload) == []
    assert template_warnings(payload) == []
    assert ignored(where, payload) == []


def test_a_command_is_an_entity_of_its_sort() -> None:
    sorts = {key: one["p"] for key, one in cmps().items() if key.startswith("set-")}
    assert sorts == {
        "set-output_source_priority": "select",
        "set-charge_limit_a": "number",
        "set-battery_float_v": "number",
        "set-buzzer_enabled": "switch",
        "set-restart": "button",
    }


def test_a_number_is_set_within_its_limits_and_shown_where_the_device_tells_it() -> None:
    source = '{% set v = (value_json | default({}))["charge_limit_a"] | default(none) %}'
    assert cmps()["set-charge_limit_a"] == {
        "p": "number",
        "name": "Charge limit a",
        "uniq_id": "heliobus_farm_inverter-set-charge_limit_a",
        "def_ent_id": "number.farm_inverter_charge_limit_a",
        "cmd_t": "heliobus/farm/bus/hass/set/inverter/charge_limit_a",
        "min": 10,
        "max": 120,
        "step": 1,
        "unit_of_meas": "A",
        "dev_cla": "current",
        "stat_t": "heliobus/farm/inverter/state",
        "val_tpl": source
        + "{{ v if v is number and v is not boolean and 10 <= v <= 120 else none }}",
        "ent_cat": "config",
    }


def test_a_value_that_the_device_does_not_tell_is_not_shown() -> None:
    one = cmps()["set-battery_float_v"]
    assert "stat_t" not in one
    assert one["step"] == 0.1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "minimum": 0},
        {"type": "number", "minimum": 3, "maximum": 2},
        {"type": "number", "minimum": "0", "maximum": 1},
        {"type": "string"},
        {"type": "string", "enum": []},
        {"type": "object"},
        {"const": {}},
        {},
        "number",
    ],
    ids=repr,
)
def test_what_cannot_be_shown_has_no_entity_and_takes_no_value(schema: Any) -> None:
    one = Broker()
    one.put("heliobus/farm/inverter/info", info("mode", commands={"x": schema}))
    one.start()
    assert list(one.config("heliobus_farm_inverter")["cmps"]) == ["mode"]
    assert one.hear(VALUES + "x", b"1") is not None
    assert one.publish() == []


def test_without_commands_nothing_can_be_set() -> None:
    one = Broker()
    one.put("heliobus/farm/inverter/info", info("mode"))
    one.start()
    assert list(one.config("heliobus_farm_inverter")["cmps"]) == ["mode"]


def test_a_command_that_is_gone_goes_after_a_minute() -> None:
    one = broker()
    one.put("heliobus/farm/inverter/info", info("mode", "charge_limit_a", "buzzer_enabled"))
    assert one.after() == []
    one.after(60)
    assert one.config("heliobus_farm_inverter")["cmps"]["set-restart"] == {"p": "button"}


# ---------------------------------------------------------------------- as commands


def test_a_value_becomes_a_command() -> None:
    outgoing = sent("output_source_priority", b"sbu")
    assert (outgoing.topic, outgoing.retain) == ("heliobus/farm/inverter/set/hass", False)
    body = json.loads(outgoing.payload)
    assert CONTRACT.check("command", body) is None
    assert len(body.pop("id")) == len("hass-") + 32
    assert NOW_MS == 1_795_255_200_000
    assert body == {
        "name": "output_source_priority",
        "value": "sbu",
        "time": "2026-11-21T10:00:00.000Z",
        "valid_for_s": 30,
        "lease_s": 3600,
        "reason": "set in Home Assistant",
    }


def test_no_two_commands_have_one_id() -> None:
    one = broker()
    for _ in range(2):
        one.hear(VALUES + "restart", b"PRESS")
    first, second = (json.loads(outgoing.payload) for outgoing in one.sink.due(one.now_s))
    assert first.pop("id") != second.pop("id")
    assert first == second


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("charge_limit_a", b"10", 10),
        ("charge_limit_a", b"60.0", 60),
        ("battery_float_v", b"54.4", 54.4),
        ("battery_float_v", b" 5.4e1\n", 54),
        ("buzzer_enabled", b"ON", True),
        ("buzzer_enabled", b"false", False),
        ("restart", b"PRESS", "now"),
        ("output_source_priority", b"solar", "solar"),
    ],
)
def test_a_value_is_read_as_what_it_is(name: str, text: bytes, value: Any) -> None:
    found = json.loads(sent(name, text).payload)["value"]
    assert (found, type(found)) == (value, type(value))


def test_the_lease_is_that_of_the_command() -> None:
    assert json.loads(sent("battery_float_v", b"54").payload)["lease_s"] == 60


@pytest.mark.parametrize(
    ("lease_s", "taken"), [(0, 0), (86_400, 86_400), (86_401, 3600), (-1, 3600), ("1", 3600)]
)
def test_a_lease_of_more_than_a_day_is_not_taken(lease_s: Any, taken: int) -> None:
    one = Broker()
    note = {"lease_s": lease_s}
    commands = {"restart": {"const": "now", "heliobus": note}}
    one.put("heliobus/farm/inverter/info", info("mode", commands=commands))
    one.start()
    one.hear(VALUES + "restart", b"PRESS")
    [outgoing] = one.sink.due(one.now_s)
    assert json.loads(outgoing.payload)["lease_s"] == taken


@pytest.mark.parametrize(
    ("precision", "step"), [(0, 1), (2, 0.01), (3, 0.001), (4, 0.001), (-1, 0.001), ("1", 0.001)]
)
def test_no_step_is_finer_than_home_assistant_takes(precision: Any, step: float) -> None:
    schema = {"type": "number", "minimum": 0, "maximum": 1, "heliobus": {"precision": precision}}
    one = Broker()
    one.put("heliobus/farm/inverter/info", info("mode", commands={"x": schema}))
    one.start()
    assert one.config("heliobus_farm_inverter")["cmps"]["set-x"]["step"] == step
    where = topic("heliobus_farm_inverter")
    assert rejections(where, one.retained[where]) == []


def test_a_value_that_was_not_sent_before_the_connection_was_lost_is_forgotten() -> None:
    one = broker()
    assert one.hear(VALUES + "restart", b"PRESS") is None
    assert one.connect() == []


def test_home_assistant_sends_a_value_once_or_not_at_all() -> None:
    assert not [name for name, one in cmps().items() if "qos" in one]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("charge_limit_a", b"9", "found '9', expected a whole number from 10 to 120"),
        ("charge_limit_a", b"10.5", "found '10.5', expected a whole number from 10 to 120"),
        ("charge_limit_a", b"nan", "found 'nan', expected a whole number from 10 to 120"),
        ("charge_limit_a", b"1_0", "found '1_0', expected a whole number from 10 to 120"),
        ("charge_limit_a", b"", "found '', expected a whole number from 10 to 120"),
        ("charge_limit_a", b"\xff", "found '\ufffd', expected a whole number from 10 to 120"),
        ("battery_float_v", b"1e999", "found '1e999', expected a number from 48 to 58.4"),
        ("battery_float_v", b"5" * 40, f"found '{'5' * 40}', expected a number from 48 to 58.4"),
        ("output_source_priority", b"SBU", "found 'SBU', expected one of utility, solar, sbu"),
        ("buzzer_enabled", b"on please", "found 'on please', expected ON or OFF"),
        ("restart", b"now", "found 'now', expected PRESS"),
        ("moon", b"1", "inverter takes no command moon"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(name: str, text: bytes, reason: str) -> None:
    one = broker()
    assert one.hear(VALUES + name, text) == reason
    assert one.publish() == []


def test_a_value_that_may_be_retained_is_refused() -> None:
    one = broker()
    assert one.hear(VALUES + "restart", b"PRESS", certain=False) == (
        "the broker speaks MQTT 3.1.1 only, where a retained value looks like a new one;"
        " use a broker that speaks MQTT 5, such as mosquitto"
    )
    assert one.publish() == []


def test_a_retained_value_is_refused() -> None:
    one = broker()
    assert one.hear(VALUES + "restart", b"PRESS", retained=True) == (
        "a retained value is not taken: it would be set again at every connect; remove it with"
        " mosquitto_pub -r -n -t heliobus/farm/bus/hass/set/inverter/restart"
    )
    assert one.publish() == []


def test_a_value_for_a_device_that_is_not_there_is_refused() -> None:
    one = broker(sites=["farm", "hut"])
    assert one.hear("heliobus/farm/bus/hass/set/moon/restart", b"PRESS") == (
        "no device is called moon at farm"
    )
    assert one.hear("heliobus/hut/bus/hass/set/inverter/restart", b"PRESS") == (
        "no device is called inverter at hut"
    )


def test_a_value_for_another_sink_is_none_of_ours() -> None:
    one = broker()
    assert one.hear("heliobus/farm/bus/other/set/inverter/restart", b"PRESS") is None
    assert one.publish() == []


def test_a_value_for_a_site_of_another_sink_is_none_of_ours() -> None:
    one = broker()
    one.put("heliobus/hut/inverter/info", info("mode", commands=COMMANDS))
    assert one.hear("heliobus/hut/bus/hass/set/inverter/restart", b"PRESS") is None
    assert one.publish() == []


def test_a_device_of_another_site_is_commanded_there() -> None:
    one = broker(sites="all")
    one.put("heliobus/hut/inverter/info", info("mode", commands=COMMANDS))
    assert one.hear("heliobus/hut/bus/hass/set/inverter/restart", b"PRESS") is None
    assert "heliobus/hut/inverter/set/hass" in one.publish()
