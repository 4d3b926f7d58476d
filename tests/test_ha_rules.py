"""Our rules of Home Assistant's discovery: each of them refuses something, and nothing else."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from heliobus import contract
from tests.ha_examples import EXAMPLES, Example
from tests.ha_rules import RULES, ignored, rejections, template_warnings, unit_faults
from tests.helpers import further_vectors

SHED = "homeassistant/device/shed/config"
CONTRACT = contract.load()
FIELDS = {**CONTRACT.fields, **CONTRACT.families}


def vectors() -> Iterator[Any]:
    """Give the discovery of the further vectors."""
    for row in further_vectors("mqtt_topics.json") or ():
        if row["system"] in {"homeassistant", "opendtu"} and row["topic"].endswith("/config"):
            yield pytest.param(row, id=row["topic"])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_mistake_is_told_and_nothing_is_said_without_it(example: Example) -> None:
    (bad_topic, bad, _), (good_topic, good, _) = example.messages()
    reasons = rejections(bad_topic, bad.encode())
    assert example.words in "\n".join(reasons)
    assert rejections(good_topic, good.encode()) == []


@pytest.mark.parametrize("row", list(vectors()))
def test_the_vectors_are_judged_as_they_state(row: dict[str, Any]) -> None:
    reasons = rejections(row["topic"], row["payload"].encode())
    assert bool(reasons) == row["meaning"].startswith("INVALID"), reasons
    if wrong := re.search(r"at '([a-z_.]+)'|must be (\S+)", row["meaning"]):
        assert (wrong[1] or wrong[2]).rpartition(".")[2] in str(reasons)


def test_an_empty_payload_removes_what_was_announced() -> None:
    assert rejections(SHED, b"") == []
    assert rejections("homeassistant/sensor/node/power/config", b"") == []


@pytest.mark.parametrize(
    "topic",
    [
        "homeassistant/device/shed",
        "homeassistant/device/a/b/shed/config",
        "homeassistant/battery/shed/config",
        "homeassistant/device/shéd/config",
    ],
)
def test_a_topic_that_home_assistant_does_not_hear_is_told(topic: str) -> None:
    assert rejections(topic, b"")


def test_a_payload_that_is_no_text_is_told() -> None:
    assert "utf-8" in rejections(SHED, b"\xff")[0]


def test_keys_that_are_passed_over_are_told() -> None:
    payload = b'{"cmps":{"a":{"p":"sensor","obj_id":"a","pl_prs":"b","~":"c","stat_t":"d"}}}'
    assert ignored(SHED, payload) == ["a: obj_id", "a: payload_press"]
    assert ignored("homeassistant/switch/a/config", b'{"expire_after":1,"cmd_t":"a"}') == [
        ": expire_after"
    ]


@pytest.mark.parametrize(
    ("template", "warnings"),
    [
        ("{{ value_json.a }}", ["'dict object' has no attribute 'a'"]),
        ("{{ value_json['a'] | float }}", ["has no attribute 'a'"]),
        ("{{ 'x' | float }}", ["no default", "no default"]),
        ("{{ 1 if value_json.a.b else 0 }}", ["has no attribute 'a'"]),
        ("{{ value_json.get('a') + 1 }}", ["TypeError"]),
        ("{{ other }}", ["'other' is undefined", "'other' is undefined"]),
        ("{{ value_json.a | default(none) }}", []),
        ("{{ value_json.get('a', 0) + 1 }}", []),
        ("{{ (value_json.a | default({})).b | default(0) | round(1) }}", []),
        ("{{ 'ON' if value_json['a'] is true else none }}", []),
        ("online", []),
    ],
)
def test_a_template_that_meets_something_undefined_is_told(
    template: str, warnings: list[str]
) -> None:
    payload = json.dumps({"cmps": {"a": {"p": "sensor", "val_tpl": template}}})
    found = template_warnings(payload.encode())
    assert len(found) == len(warnings), found
    assert all(words in line for words, line in zip(warnings, found, strict=True))


def test_every_field_of_the_contract_goes_with_its_classes() -> None:
    for name, field in FIELDS.items():
        platform = RULES["schemas"]["binary_sensor" if field.type == "boolean" else "sensor"]
        assert (field.device_class or None) in platform["properties"]["device_class"]["enum"], name
        if field.type != "boolean":
            found = unit_faults(field.device_class or None, field.state_class or None, field.unit)
            assert list(found) == [], name
