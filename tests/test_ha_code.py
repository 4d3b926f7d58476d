"""Home Assistant's own code says the same as our rules, and has nothing against our payloads."""

import json
from typing import Any

import pytest

from heliobus.contract import ANYTHING
from tests.ha_code import Verdict, judge, verdict
from tests.ha_examples import EXAMPLES
from tests.ha_rules import PLATFORMS, RULES, known_keys, rejections
from tests.homeassistant_sink import CONTRACT, Broker, info

# The first of them installs Home Assistant's code.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

INFO = "heliobus/farm/everything/info"
STATE = "heliobus/farm/everything/state"
AVAILABILITY = "heliobus/farm/everything/availability"
BRIDGE = "heliobus/farm/bus/axpert/status"


@pytest.fixture(scope="module")
def examples() -> Verdict:
    """Let it judge the examples; those that have a topic of their own get a value."""
    told = {topic: payload for one in EXAMPLES for topic, payload, _ in one.messages()}
    values = {
        value_topic(topic): "1" for topic, payload in told.items() if value_topic(topic) in payload
    }
    return verdict((topic, payload.encode()) for topic, payload in {**told, **values}.items())


def test_it_refuses_just_what_our_rules_refuse(examples: Verdict) -> None:
    for one in EXAMPLES:
        for topic, payload, good in one.messages():
            assert (rejections(topic, payload.encode()) == []) is good, topic
            found = examples.complaints[topic] + examples.complaints.get(value_topic(topic), [])
            assert (found == []) is good, topic


def test_its_tables_are_ours(examples: Verdict) -> None:
    found = examples.tables
    for name in ("units", "units_of_state_class", "state_classes"):
        assert {key: set(values) for key, values in RULES[name].items()} == {
            key: {None if value == "None" else value for value in values}
            for key, values in found[name].items()
        }
    assert RULES["same_units"] == found["same_units"]
    assert sorted(RULES["not_numeric"]) == found["not_numeric"]
    assert sorted(RULES["shared_options"]) == found["shared_options"]
    assert {name: sorted(known_keys(name)) for name in PLATFORMS} == found["keys"]
    for what, table in RULES["abbreviations"].items():
        assert table.items() <= found["abbreviations"][what].items()


def test_a_payload_that_nobody_hears_is_told() -> None:
    found = judge({"homeassistant/device/a/b/shed/config": b"{}", "homeassistant/x": b""})
    assert all("nobody listens" in lines[0] for lines in found.values())


def test_it_shows_every_field_of_the_contract_and_says_nothing() -> None:
    names = sorted({*CONTRACT.fields, *map(member, CONTRACT.families)})
    broker = Broker(health=True)
    broker.put("heliobus/farm/everything/info", info(*names, kind=ANYTHING))
    broker.put(BRIDGE, {"state": "online"})
    broker.start()
    told = [item for item in broker.retained.items() if item[0].startswith("homeassistant/")]
    assert len(told) > 2
    whole = {name: value(name) for name in names}
    states = [
        {},
        dict.fromkeys(names),
        dict.fromkeys(names, ""),
        {name: {"a": 1} for name in names},
        dict.fromkeys(names, 1e300),
        whole,
    ]
    found = verdict(
        [
            *told,
            (AVAILABILITY, b"online"),
            *((BRIDGE, json.dumps(body).encode()) for body in ({}, 1, {"state": "online"})),
            *((STATE, json.dumps(body).encode()) for body in states),
            (STATE, b"no JSON"),
            (STATE, json.dumps(whole).encode()),
        ]
    )
    assert {topic: lines for topic, lines in found.complaints.items() if lines} == {}
    of_device = {name: one for name, one in found.states.items() if ".farm_bus_" not in name}
    silent = ("unavailable", "unknown")
    assert [name for name, one in of_device.items() if one["state"] in silent] == []
    assert len(of_device) == len(names)


def value_topic(topic: str) -> str:
    """Give the topic of the value of an example that has one of its own."""
    return f"{topic.split('/')[2]}/state"


def member(family: str) -> str:
    """Name one of a family."""
    return (
        family.strip("^$")
        .replace("[0-9][0-9]", "01")
        .replace("[1-3][1-3]", "12")
        .replace("[1-3]", "1")
    )


def value(name: str) -> Any:
    """Give a value as a device has it."""
    field = CONTRACT.field(ANYTHING, name)
    assert field is not None
    if field.enum:
        return field.enum[-1]
    return {"boolean": True, "string": "text", "array": ["fan_locked"]}.get(field.type, 1)
