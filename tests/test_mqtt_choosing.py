"""Rules that look into the payload before they take a message, and topics outside the base."""

import json
from pathlib import Path

import pytest

from bridges.mqtt.codec import Finder, settled
from heliobus.errors import FrameError
from tests.mqtt_engine import Hall, load, say

MAP = """\
title: Own
base: hall
captures: {id: "box_[0-9]"}
devices:
  box: {name: "{id}", kind: inverter}
topics:
  - topic: "offers/{what...}"
    root: true
    ignore: an offer
  - topic: "{client}/rpc"
    device: box
    payload: json
    when: {result: ["*"]}
    told: {id: from}
    at: result
    values: {power: output_w}
  - topic: "{client}/rpc"
    payload: json
    when: {error: ["*"]}
    ignore: not understood
  - topic: "{client}/rpc"
    command: the box obeys
  - topic: "{id}/limit"
    device: box
    values: {limit: {field: limit_accepted, words: {"no": false, "*": true}}}
  - topic: "{id}"
    device: box
    payload: object
    values: {power: output_w}
"""


def taken(folder: Path, topic: str, payload: str) -> str:
    """Say in a word by which rule a message is taken."""
    match = Finder(load(folder, MAP)).find(topic)
    assert match is not None
    found, read = settled(match, payload.encode())
    if match.rule.chooses:
        assert read == json.loads(payload)  # so nobody has to read it again
    if found is None:
        return "nothing"
    return found.rule.command or found.rule.ignore or found.rule.device


@pytest.mark.parametrize(
    ("payload", "by"),
    [
        ('{"from":"box_1","result":{"power":5}}', "box"),
        ('{"from":"box_1","result":null}', "box"),
        ('{"from":"elsewhere","result":{"power":5}}', "the box obeys"),
        ('{"result":{"power":5}}', "the box obeys"),
        ('{"from":7,"result":{"power":5}}', "the box obeys"),
        ('{"from":"box_1","error":{"code":404}}', "not understood"),
        ('{"from":"me","method":"Switch.Set"}', "the box obeys"),
        ("[]", "the box obeys"),
    ],
)
def test_the_payload_decides_which_rule_takes_a_message(
    tmp_path: Path, payload: str, by: str
) -> None:
    assert taken(tmp_path, "hall/me/rpc", payload) == by


def test_a_device_that_only_the_json_names_has_its_values(tmp_path: Path) -> None:
    payload = '{"from":"box_1","result":{"power":5}}'
    [said] = say(load(tmp_path, MAP), "hall/me/rpc", payload)
    assert (dict(said.captures)["id"], said.values) == ("box_1", {"output_w": 5})


def test_what_is_no_json_where_the_payload_decides_is_told(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="not JSON"):
        say(load(tmp_path, MAP), "hall/me/rpc", '{"result":')


def test_a_topic_outside_the_base_is_known(tmp_path: Path) -> None:
    assert taken(tmp_path, "offers/a/b", "{}") == "an offer"
    assert Finder(load(tmp_path, MAP)).find("hall/offers/a/b") is None


@pytest.mark.parametrize("payload", ["ON", "12", "[1]", "null", "2026-11-21T12:00:00Z", '"x"'])
def test_what_is_no_object_is_passed_over_where_only_objects_count(
    tmp_path: Path, payload: str
) -> None:
    assert say(load(tmp_path, MAP), "hall/box_1", payload) == []


def test_a_cut_object_is_told(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="not JSON"):
        say(load(tmp_path, MAP), "hall/box_1", '{"power":')


@pytest.mark.parametrize(("payload", "accepted"), [("no", False), ("true", True), ("70.0", True)])
def test_any_other_word_means_what_the_map_says(
    tmp_path: Path, payload: str, *, accepted: bool
) -> None:
    [said] = say(load(tmp_path, MAP), "hall/box_1/limit", payload)
    assert said.values == {"limit_accepted": accepted}


def test_a_kept_command_is_found_behind_rules_that_do_not_take_it(tmp_path: Path) -> None:
    hall = Hall(tmp_path, MAP)
    hall.say("hall/me/rpc", '{"from":"me","method":"Switch.Set"}', retained=True)
    hall.wait(5)
    assert ["the box obeys" in hint for hint in hall.bridge.hints] == [True]


def test_an_answer_becomes_a_reading_of_who_has_answered(tmp_path: Path) -> None:
    hall = Hall(tmp_path, MAP)
    hall.say("hall/me/rpc", '{"from":"box_1","result":{"power":5}}')
    hall.wait(5)
    assert [(one.device, one.values) for one in hall.readings] == [("box_1", {"output_w": 5})]
