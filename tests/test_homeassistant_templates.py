"""The templates for Home Assistant: a good value or none, never a warning, whatever comes."""

import json
import logging
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import make_logging_undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sinks.homeassistant import templates
from tests.homeassistant_sink import Broker

LOG = logging.getLogger("jinja2.templates")
ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=make_logging_undefined(LOG))
X = templates.path("x")


def of_a_component() -> dict[str, str]:
    """Give the templates of a component's entities by their names."""
    broker = Broker(health=True)
    broker.put("heliobus/farm/bus/axpert/status", {"state": "online", "devices": {"a": {}}})
    broker.start()
    cmps = broker.config("heliobus_farm-bus-axpert")["cmps"]
    return {name: one["val_tpl"] for name, one in cmps.items()}


KINDS = {
    "number": templates.number(X),
    "limited": templates.number(X, (0, 100)),
    "hours": templates.number(X, shown="(v / 3600) | round(1)"),
    "on_off": templates.on_off(X),
    "one_of": templates.one_of(X, ["on", "off"]),
    "text": templates.text(X),
    "offline": templates.offline_if(X),
    "deep": templates.number(templates.path("x", "y", "z")),
    **of_a_component(),
}
COMPILED = {name: ENVIRONMENT.from_string(text) for name, text in KINDS.items()}


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def render(name: str, payload: str) -> str:
    """Render as Home Assistant does: no value_json where the payload is no JSON."""
    variables: dict[str, Any] = {"value": payload}
    with suppress(ValueError):
        variables["value_json"] = json.loads(payload, parse_constant=_refuse)
    return COMPILED[name].render(variables).strip()


@pytest.mark.parametrize(
    ("name", "payload", "shown"),
    [
        ("number", '{"x": 52.71}', "52.71"),
        ("number", '{"x": -3}', "-3"),
        ("number", '{"x": 0}', "0"),
        ("number", '{"x": null}', "None"),
        ("number", "{}", "None"),
        ("number", '{"x": "52"}', "None"),
        ("number", '{"x": true}', "None"),
        ("number", '{"x": NaN}', "None"),
        ("number", '{"x": 1e999}', "None"),
        ("number", "", "None"),
        ("number", "null", "None"),
        ("number", "[1]", "None"),
        ("limited", '{"x": 100}', "100"),
        ("limited", '{"x": 101}', "None"),
        ("hours", '{"x": 5400}', "1.5"),
        ("on_off", '{"x": true}', "ON"),
        ("on_off", '{"x": false}', "OFF"),
        ("on_off", '{"x": 1}', "None"),
        ("one_of", '{"x": "on"}', "on"),
        ("one_of", '{"x": "unknown"}', "None"),
        ("one_of", '{"x": ["on"]}', "None"),
        ("text", '{"x": "hello"}', "hello"),
        ("text", '{"x": ["hot", "overload"]}', "hot, overload"),
        ("text", '{"x": []}', "none"),
        ("text", '{"x": 7}', "7"),
        ("text", json.dumps({"x": "a" * 1000}), "a" * 255),
        ("text", json.dumps({"x": ["ä" * 200] * 2}), "ä" * 200 + ", " + "ä" * 53),
        ("offline", '{"x": "offline"}', "offline"),
        ("offline", '{"x": "odd"}', "online"),
        ("offline", "", "online"),
        ("deep", '{"x": {"y": {"z": 3}}}', "3"),
        ("deep", '{"x": {"y": null}}', "None"),
        ("is_online", '{"state": "offline"}', "OFF"),
        ("is_online", '{"state": "online"}', "ON"),
        ("is_online", "", "None"),
        ("errors_count", '{"devices": {"a": {"errors": 3}, "b": {}, "c": {"errors": 1}}}', "4"),
        ("offline_count", '{"devices": {"a": {"state": "online"}, "b": {}}}', "1"),
        ("poll_p95_ms", '{"devices": {"a": {"p95_ms": 5}, "b": {"p95_ms": 9}}}', "9"),
        ("poll_p95_ms", '{"devices": {"a": {}}}', "None"),
        (
            "component_error",
            '{"error": "disk full", "devices": {"a": {"error": "x"}}}',
            "disk full",
        ),
        ("component_error", '{"devices": {"a": {}, "b": {"error": "no answer"}}}', "no answer"),
        ("component_error", '{"devices": {}}', "none"),
    ],
)
def test_a_value_is_shown_as_what_it_is(name: str, payload: str, shown: str) -> None:
    assert render(name, payload) == shown


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "y", "z", "errors", "state"]), inner, max_size=3)
    ),
    max_leaves=6,
)
MESSAGES = (
    st.text(max_size=10)
    | VALUES.map(json.dumps)
    | st.fixed_dictionaries(
        {}, optional={"x": VALUES, "devices": VALUES, "state": VALUES, "error": VALUES}
    ).map(json.dumps)
)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_whatever_comes_nothing_is_logged_and_a_number_is_one(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    @given(MESSAGES)
    def check(payload: str) -> None:
        shown = render(name, payload)
        assert caplog.messages == []
        assert len(shown) <= 255
        if "number" in KINDS[name] and shown != "None":
            assert abs(float(shown)) < 1e100

    check()


@pytest.mark.parametrize("word", ['a"b', "}}", "{% x %}", "a\\", "\n", "ä", "\U0001f31e", "'"])
def test_any_word_can_stand_in_a_template(word: str) -> None:
    template = ENVIRONMENT.from_string(templates.one_of(templates.path(word), [word]))
    assert template.render(value_json={word: word}) == word
