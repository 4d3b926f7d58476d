"""Whatever is said on whichever topic: readings of the contract, nothing, or a refusal."""

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.mqtt import BRIDGE, Mqtt, maps
from bridges.mqtt.codec import Finder, hear
from bridges.mqtt.decoding import map_decoder
from bridges.mqtt.rules import Map, Rule
from heliobus.bus import Message
from heliobus.errors import FrameError
from heliobus.listener import Moment
from heliobus.settings import BridgeSettings
from tests.mqtt_engine import CONTRACT, NOON_MS

MAPS = maps.names()
LEVEL = re.compile(r"\{([a-z0-9_]+)(\.\.\.)?\}")
EXAMPLES = 60  # of each map


@cache
def own(name: str) -> Map:
    return maps.load(name, beside=Path(), contract=CONTRACT)


def bridge(name: str) -> Mqtt:
    """Give a bridge of this map, with a connection."""
    settings = BridgeSettings("hall", "mqtt", (), options={"map": name})
    found = BRIDGE(settings, folder=Path(), contract=CONTRACT, read=own(name))
    found.connected(Moment(0.0, NOON_MS))
    return found


def topics(name: str) -> st.SearchStrategy[str]:
    """Give topics that the map takes: with its own leaves, and with others."""
    return st.sampled_from(own(name).rules).flatmap(_of_rule)


def _of_rule(rule: Rule) -> st.SearchStrategy[str]:
    leaves = [target.leaf.text for target in rule.values if target.leaf.literal]
    found = st.from_regex(rule.topic.regex, fullmatch=True)
    if not leaves or "leaf" not in rule.topic.captures or not rule.topic.text.endswith("leaf}"):
        return found
    if rule.topic.text.endswith("{leaf...}"):
        return found
    return st.builds(
        lambda topic, leaf: topic.rpartition("/")[0] + "/" + leaf, found, st.sampled_from(leaves)
    )


NUMBERS = st.floats() | st.integers() | st.integers(-(10**30), 10**30)
PLAIN = st.sampled_from(["", "nan", "-inf", "1e999", "on", "0", "offline", "-", "1,5"])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text() | PLAIN


@cache
def bodies(name: str) -> st.SearchStrategy[Any]:
    """Give JSON whose keys are those that the map looks for, with anything in them."""
    keys = {key for rule in own(name).rules for key in _keys(rule)} or {"x"}
    return st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(sorted(keys)) | st.text(), inner, max_size=6)
        ),
        max_leaves=12,
    )


def _keys(rule: Rule) -> Sequence[str]:
    paths = [rule.at, *(target.path for target in rule.values)]
    steps = [step for path in paths for step in path.steps]
    return [step if isinstance(step, str) else LEVEL.sub("1", step.text) for step in steps]


def payloads(name: str) -> st.SearchStrategy[bytes]:
    text = PLAIN | NUMBERS.map(str) | st.text()
    return (
        st.binary()
        | text.map(lambda one: one.encode("utf-8", "surrogatepass"))
        | bodies(name).map(lambda one: json.dumps(one).encode())
    )


@pytest.mark.parametrize("name", MAPS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_any_payload_on_any_topic_of_a_map_gives_readings_of_the_contract_or_a_refusal(
    name: str, data: st.DataObject
) -> None:
    mqtt = bridge(name)
    said = data.draw(
        st.lists(st.tuples(topics(name), payloads(name), st.booleans()), min_size=1, max_size=8)
    )
    for second, (topic, payload, retained) in enumerate(said):
        now = Moment(float(second), NOON_MS + second * 1000)
        for refused in mqtt.take(Message(topic, payload, retained), now):
            assert refused.topic in {topic for topic, _, _ in said}
            assert 0 < len(refused.reason) <= 1000
            assert json.dumps(refused.data, allow_nan=False)
        list(mqtt.speak(now))
    for second in (8, 12, 500):
        for reading in mqtt.due(Moment(float(second), NOON_MS + second * 1000)):
            _is_sound(mqtt, reading.device, reading.values)
    assert all(isinstance(hint, str) for hint in mqtt.hints)


def _is_sound(mqtt: Mqtt, device: str, values: Any) -> None:
    good, bad = CONTRACT.strict(mqtt.devices[device].kind, values)
    assert bad == {}
    assert good == values
    assert values
    assert not [one for one in values.values() if isinstance(one, float) and not math.isfinite(one)]
    assert json.dumps(values, allow_nan=False)


@pytest.mark.parametrize("name", MAPS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(topic=st.text(), payload=st.binary())
def test_any_topic_at_all_does_no_harm(name: str, topic: str, payload: bytes) -> None:
    mqtt = bridge(name)
    now = Moment(1.0, NOON_MS)
    for text in (topic, f"{own(name).base}/{topic}"):
        mqtt.take(Message(text, payload, retained=False), now)
    for reading in mqtt.due(Moment(9.0, NOON_MS)):
        _is_sound(mqtt, reading.device, reading.values)


@pytest.mark.parametrize("name", MAPS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_decoding_gives_an_answer_of_the_contract_or_an_error(
    name: str, data: st.DataObject
) -> None:
    decode = _decoder(name)
    topic = data.draw(topics(name) | st.text())
    payload = data.draw(st.text() | bodies(name))
    try:
        answer = decode(topic, payload)
    except FrameError:
        return
    for one in (answer, *answer.get("others", ())):
        assert json.dumps(one, allow_nan=False)
        if one["values"]:
            assert CONTRACT.strict(one["kind"], one["values"])[1] == {}
            assert set(one["units"]) <= set(one["values"])


@cache
def _decoder(name: str) -> Any:
    return map_decoder(name)


@pytest.mark.parametrize("name", MAPS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_the_codec_itself_gives_what_it_heard_or_an_error(name: str, data: st.DataObject) -> None:
    topic, payload = data.draw(topics(name)), data.draw(payloads(name))
    match = Finder(own(name)).find(topic)
    if match is None:
        return
    try:
        said = hear(match, payload)
    except FrameError:
        return
    for one in said:
        for value in one.values.values():
            assert value is None or isinstance(value, bool | int | float | str | list)
            assert not isinstance(value, float) or math.isfinite(value)
