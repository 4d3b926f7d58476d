"""Maps are read: what they name must exist, and a fault is told with its line."""

from io import StringIO
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from bridges.mqtt import BRIDGE, foreign_topics, maps
from bridges.mqtt.patterns import covers, overlap
from heliobus.catalogue import list_components
from heliobus.errors import ConfigError
from heliobus.settings import BridgeSettings, BrokerSettings
from tests.mqtt_engine import CONTRACT, Hall, load, say, write

HEAD = """\
title: Own
captures: {serial: "[0-9]+"}
devices:
  box:
    name: "box_{serial}"
    kind: inverter
    groups: {data: {lasts: 10m}}
topics:
"""


def faults(folder: Path, text: str) -> list[str]:
    """Give what is wrong with a map, without its path."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        maps.load(str(path), beside=folder, contract=CONTRACT)
    return str(caught.value).replace(f"{path}:", "").split("\n")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            '{topic: "{serial}/x", device: bos, values: {x: output_w}}',
            "9: topics[0]: device: 'bos' is not a device of this map; did you mean 'box'?",
        ),
        (
            '{topic: "{serial}/x", device: box, values: {x: output_ww}}',
            "9: topics[0].values.x: 'output_ww' is not a field; did you mean 'output_w'?",
        ),
        (
            '{topic: "{serial}/x", device: box, values: {x: humidity_percent}}',
            "9: topics[0].values.x: 'humidity_percent' is not a field of kind inverter",
        ),
        (
            '{topic: "{serial}/{n}", device: box, values: {x: "pw_{n:2}_w"}}',
            "9: topics[0].values.x: no field of kind inverter is called like 'pw_{n:2}_w'",
        ),
        (
            '{topic: "{serial}/x", device: box, values: {x: "pv_{n:2}_w"}}',
            "9: topics[0].values.x: the field needs {n}, which nothing here captures",
        ),
        (
            '{topic: "{other}/x", device: box, values: {x: output_w}}',
            "9: topics[0].values.x: the name of 'box' needs {serial}, which nothing here captures",
        ),
        (
            '{topic: "x/status", device: box, online: {on: true}}',
            "9: topics[0]: the name of 'box' needs {serial}, which nothing here captures",
        ),
        (
            '{topic: "{serial}/x", device: box, group: dta, values: {x: output_w}}',
            "9: topics[0]: group: 'dta' is not a group of its device; did you mean 'data'?",
        ),
        (
            '{topic: "{serial}/x", values: {x: output_w}}',
            "9: topics[0]: 'device' is missing: whose values are they?",
        ),
        (
            '{topic: "{serial}/x", device: box}',
            "9: topics[0]: it does nothing; add one of values, info, online, command, distinct,"
            " ignore",
        ),
        (
            '{topic: "{serial}/x", device: box, at: y, values: {x: output_w}}',
            "9: topics[0]: 'at' is for JSON only; add 'payload: json'",
        ),
        (
            '{topic: "{serial}/x", device: box, values: {x: {field: mode, words: {a: dozing}}}}',
            "9: topics[0].values.x: words: a: mode: found 'dozing', expected one of unknown,",
        ),
        (
            '{topic: "{serial}/x", device: box, values: {x: {field: mode, scale: 2}}}',
            "9: topics[0].values.x: 'mode' is no number; it cannot be reckoned with",
        ),
        (
            '{topic: "{serial}/x", device: box, values: {x: {field: mode, list: hot}}}',
            "9: topics[0].values.x: list: 'mode' is no list of texts",
        ),
        (
            '{topic: "{serial}/+", device: box, values: {x: output_w}}',
            "9: topics[0]: found '{serial}/+', expected {name} where MQTT has + or #",
        ),
        (
            '{topic: "{serial/x", device: box, values: {x: output_w}}',
            "9: topics[0]: found '{serial/x', expected captures like {name} or {name...}:",
        ),
        (
            '{topic: "{serial}/x", device: box, values: {ac.w: output_w, ac.v: output_v}}',
            "9: topics[0].values.ac.w: 'ac.w' is never found. If it is in JSON, add 'payload: json'"
            "; else write 'x', with which the topic ends, or end it with {leaf}",
        ),
        (
            '{topic: "{serial}/{leaf}", device: box, values: {ac.w: output_w}}',
            "9: topics[0].values.ac.w: 'ac.w' is never found. If it is in JSON, add 'payload: json'"
            "; else take it out",
        ),
        (
            '{topic: "{serial}/x", device: box, values: {power: output_w}}',
            "9: topics[0].values.power: 'power' is never found. If it is in JSON, add",
        ),
        (
            '{topic: "{serial}/x", device: box, payload: json, values: {"ac[0].w": output_w}}',
            "9: topics[0].values.ac[0].w: found 'ac[0].w'; a place in a list is written 'ac.0.w'",
        ),
        (
            '{topic: "{other}/{leaf}", device: box, values: {x: output_w, y: output_v}}',
            "9: topics[0].values.x: the name of 'box' needs {serial}, which nothing here captures",
        ),
        (
            '{topic: "{bridge}/x", ignore: why}',
            "9: topics[0]: {bridge} cannot be captured: it is ours; choose another name",
        ),
        (
            '{topic: "{serial}/x", device: box, payload: json, values: {a..b: output_w}}',
            "9: topics[0].values.a..b: found 'a..b', expected a path such as params.power",
        ),
        (
            '{topic: "{serial}/x", device: box, payload: yaml, values: {x: output_w}}',
            "9: topics[0].payload: 'yaml' is not known; expected one of json,",
        ),
        (
            '{topic: "{serial}/x", device: box, valus: {x: output_w}}',
            "9: topics[0]: the key 'valus' is not known; did you mean 'values'?",
        ),
    ],
)
def test_a_fault_of_a_topic_is_told_with_its_line(tmp_path: Path, rule: str, told: str) -> None:
    [found] = faults(tmp_path, HEAD + f"  - {rule}\n")
    assert found.startswith(told)


DEVICES = """\
title: Own
topics: [{topic: "{serial}/x", device: box, online: {on: true}}]
devices:
  box:
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("kind: inverter", "4: devices.box: 'name' is missing"),
        (
            'name: "{serial}"\n    kind: inverters',
            "6: devices.box.kind: 'inverters' is not known; did you mean 'inverter'?",
        ),
        (
            'name: "{serial}"\n    via: dtu',
            "6: devices.box.via: 'dtu' is not a device of this map",
        ),
        (
            'name: "{serial}"\n    identity: {serial: "{number}"}',
            "6: devices.box.identity.serial: serial of 'box' needs {number}, which nothing here",
        ),
        (
            'name: "{serial}"\n    groups: {data: {while: {valit: true}}}',
            "6: devices.box.groups.data: 'valit' is not a field; did you mean",
        ),
        (
            'name: "{serial}"\n    derive: {mode: [{is: dozing}]}',
            "6: devices.box.derive.mode: mode: found 'dozing', expected one of unknown",
        ),
        ('name: "{serial}"\n    age: ago', "6: devices.box.age: 'ago' is not a field"),
        (
            'name: "{serial}"\n    silent: 5x',
            "6: devices.box.silent: found '5x', expected a duration such as 5s, 4m, 24h or 7d",
        ),
        ('name: "{Serial}"', "5: devices.box.name: found '{Serial}', expected captures like"),
    ],
)
def test_a_fault_of_a_device_is_told_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    assert faults(tmp_path, DEVICES + f"    {line}\n")[0].startswith(told)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ('captures: {n: "[0-"}', "3: captures.n: not a regular expression:"),
        ('captures: {n: "([a-z]+)+"}', "3: captures.n: what repeats, or has a choice, stands in a"),
        ('captures: {n: "(?:on|off)*"}', "3: captures.n: what repeats, or has a choice, stands in"),
        ('captures: {n: ".*a.*b.*c.*"}', "3: captures.n: found 4 times * or +, expected at most 3"),
        ('captures: {n: "[0-9]"}', "3: captures.n: no topic has {n}; take it out"),
        ('captures: {n: "(?P<x>.)"}', "3: captures.n: groups in it cannot have names"),
        ('captures: {bridge: "."}', "3: captures.bridge: 'bridge' cannot be captured"),
        (
            "hints: [{alive: a, missing: b, after: 1m, text: t}]",
            "3: hints[0].alive: 'a' is not a device of this map",
        ),
        (
            'keepalive: [{topic: "R/{portal}", every: 5s}]',
            "3: keepalive[0]: the topic needs {portal}, which nothing here captures",
        ),
        ("extends: nothing", "3: extends: 'nothing' is not known; expected one of"),
        ("extends: ./other.yaml", "3: extends: './other.yaml': "),
        ("extends: ./own.yaml", ""),
        ("base: a/#", "3: base: found 'a/#', expected a topic without #, +, braces"),
    ],
)
def test_a_fault_elsewhere_is_told_with_its_line(tmp_path: Path, part: str, told: str) -> None:
    text = f'title: Own\ntopics: [{{topic: "a", ignore: b}}]\n{part}\n'
    assert faults(tmp_path, text)[0].startswith(told)


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        ("hall/{n}/x", "it begins with hall, but the base topic hall/ is put before it anyway;"),
        ("/{n}/x", "it begins with a /, but the base topic hall/ is put before it anyway; write"),
    ],
)
def test_a_topic_that_begins_with_the_base_is_refused(
    tmp_path: Path, topic: str, told: str
) -> None:
    text = f'title: Own\nbase: hall\ntopics: [{{topic: "{topic}", ignore: b}}]\n'
    assert faults(tmp_path, text)[0].startswith(f"3: topics[0]: {told}")
    load(tmp_path, text.replace("base: hall\n", ""))


def test_what_repeats_in_brackets_that_do_not_is_no_fault(tmp_path: Path) -> None:
    for good in ("(?:.+/)?a[^/]*", "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", r"\\(a+\\)+", "[(+]+[)]*"):
        text = f'title: Own\ncaptures: {{n: "{good}"}}\ntopics: [{{topic: "{{n}}", ignore: b}}]\n'
        load(tmp_path, text)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    rules = '  - {topic: "{serial}/x", device: a, ignore: b}\n  - {topic: "{", ignore: c}\n'
    assert [line.partition(":")[0] for line in faults(tmp_path, HEAD + rules)] == ["9", "10"]


def test_a_map_that_extends_itself_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "title: A\nextends: ./b.yaml\ntopics: [{topic: a, ignore: b}]\n", "a.yaml")
    write(tmp_path, "title: B\nextends: ./a.yaml\ntopics: [{topic: a, ignore: b}]\n", "b.yaml")
    with pytest.raises(ConfigError, match=r"b\.yaml:\d+: extends: a\.yaml extends itself"):
        maps.load("./a.yaml", beside=tmp_path, contract=CONTRACT)


def test_an_unknown_map_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="map: 'opendtuu' is not known; did you mean 'opendtu'"):
        maps.load("opendtuu", beside=tmp_path, contract=CONTRACT)
    with pytest.raises(ConfigError, match=r"map: './own\.yaml': .*own\.yaml: no such file"):
        maps.load("./own.yaml", beside=tmp_path, contract=CONTRACT)


def test_a_file_without_anything_is_no_map(tmp_path: Path) -> None:
    assert faults(tmp_path, "") == ["1: the file is empty; begin with 'title: NAME'"]
    assert faults(tmp_path, "- a\n")[0].startswith("1: found a list, expected a mapping")


PARENT = """\
title: Parent
base: parent
captures: {n: "[0-9]"}
devices:
  box: {name: "box_{n}", kind: inverter, every: 7s, identity: {maker: Acme}}
topics:
  - {topic: "{n}/power", device: box, values: {power: output_w}}
  - {topic: "{n}/volt", device: box, values: {volt: output_v}}
"""
KEEPALIVE = """\
title: Own
base: N
devices: {gx: {name: gx, kind: site}}
topics: [{topic: "{portal}/power", device: gx, values: {power: load_w}}]
keepalive: [{topic: "R/{portal}/keepalive", every: 30s}]
"""
CHILD = """\
title: Child
extends: ./parent.yaml
devices:
  box: {every: 30s, silent: 5m}
topics:
  - {topic: "{n}/volt", device: box, values: {volt: grid_v}}
"""


def test_a_map_that_extends_another_comes_first_and_takes_what_it_leaves_out(
    tmp_path: Path,
) -> None:
    write(tmp_path, PARENT, "parent.yaml")
    found = load(tmp_path, CHILD)
    assert (found.title, found.base) == ("Child", "parent")
    box = found.sorts["box"]
    assert (box.every_s, box.silent_s, box.kind) == (30.0, 300.0, "inverter")
    assert say(found, "parent/1/power", "5")[0].values == {"output_w": 5}
    assert say(found, "parent/1/volt", "5")[0].values == {"grid_v": 5}


def test_a_bridge_may_have_another_base_topic(tmp_path: Path) -> None:
    write(tmp_path, PARENT, "parent.yaml")
    hall = Hall(tmp_path, CHILD, base="barn/solar")
    assert [one.filter for one in hall.bridge.subscriptions] == [
        "barn/solar/+/volt",
        "barn/solar/+/power",
    ]
    assert hall.say("barn/solar/1/power", "5") == []
    assert list(hall.devices) == ["box_1"]


def test_subscriptions_tell_what_the_broker_had_kept_from_what_is_new(tmp_path: Path) -> None:
    for one in Hall(tmp_path, PARENT).bridge.subscriptions:
        assert (one.qos, one.as_published) == (0, False)


def test_a_command_is_heard_as_it_was_published(tmp_path: Path) -> None:
    command = '  - {topic: "{n}/set", device: box, command: it obeys again}\n'
    assert Hall(tmp_path, PARENT + command).bridge.subscriptions == [
        ("parent/+/power", 0, False),
        ("parent/+/volt", 0, False),
        ("parent/+/set", 0, True),
    ]


def test_where_the_payload_tells_a_command_from_a_value_it_is_heard_as_a_value(
    tmp_path: Path,
) -> None:
    command = '  - {topic: "{n}/power", command: it obeys again}\n'
    assert [one.filter for one in Hall(tmp_path, PARENT + command).bridge.subscriptions] == [
        "parent/+/power",
        "parent/+/volt",
    ]


def heard_by(name: str) -> list[str]:
    """Give the filters of a map's values."""
    settings = BridgeSettings("hall", "mqtt", (), options={"map": name})
    bridge = BRIDGE(settings, folder=Path(), contract=CONTRACT)
    return [one.filter for one in bridge.subscriptions if not one.as_published]


@pytest.mark.parametrize("name", maps.names())
def test_no_subscription_of_a_map_is_covered_by_another(name: str) -> None:
    heard = heard_by(name)
    assert heard
    for one in heard:
        assert [other for other in heard if covers(other, one)] == [one]


@pytest.mark.parametrize("name", maps.names())
def test_no_value_of_a_map_is_delivered_twice(name: str) -> None:
    # Two that begin in different ways would need one that takes everything.
    pairs = [pair for pair in combinations(heard_by(name), 2) if overlap(*pair)]
    assert [(a, b) for a, b in pairs if a.split("/")[0] == b.split("/")[0] != "+"] == []
    assert pairs == [] or name in ("tasmota", "shelly_gen2")


def test_of_opendtu_no_more_is_heard_than_its_topics_need() -> None:
    assert heard_by("opendtu") == ["solar/+/+/+", "solar/+/+"]


def test_the_access_list_lets_a_bridge_hear_its_topics_and_say_what_keeps_them_coming(
    tmp_path: Path,
) -> None:
    assert foreign_topics({"map": "opendtu"}, tmp_path) == [("read", "solar/#")]
    assert foreign_topics({"map": "opendtu", "base": "barn"}, tmp_path) == [("read", "barn/#")]
    write(tmp_path, KEEPALIVE)
    options = {"map": "./own.yaml"}
    assert foreign_topics(options, tmp_path) == [("read", "N/#"), ("write", "R/+/keepalive")]


def test_without_a_base_topic_the_access_list_has_the_filters(tmp_path: Path) -> None:
    write(tmp_path, 'title: A\ntopics: [{topic: "{a}/x", ignore: b}, {topic: y, command: c}]\n')
    assert foreign_topics({"map": "./own.yaml"}, tmp_path) == [("read", "y")]


def test_what_is_said_on_another_broker_needs_no_rights_on_ours(tmp_path: Path) -> None:
    assert foreign_topics({"map": "opendtu", "broker": BrokerSettings()}, tmp_path) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"invert": ["batery_w"]}, "invert: 'batery_w' is not a number of the contract; did"),
        ({"invert": ["mode"]}, "invert: 'mode' is not a number of the contract"),
    ],
)
def test_only_a_number_can_be_inverted(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{told}"):
        Hall(tmp_path, PARENT, **options)
    with pytest.raises(ConfigError, match=f"^devices.roof.{told}"):
        Hall(tmp_path, PARENT, devices={"roof": options})


def test_the_titles_of_all_maps_stand_in_their_first_line() -> None:
    out = StringIO()
    list_components(out)
    for name in maps.names():
        found = maps.load(name, beside=Path(), contract=CONTRACT)
        assert f"    map {name}: {found.title}\n" in out.getvalue()
