"""telegraf/telegraf.conf: Telegraf would read it, and it writes what the sink `influx` writes.

Telegraf itself is in no package here. Its options are compared with those of its plugins
(telegraf_options.json), and its script, which is also Python, is run on real messages.
"""

import json
import re
import tomllib
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from heliobus import contract
from heliobus.sample import RESERVED, parse_sample
from heliobus.topics import Topics
from sinks.influx.layout import HeliobusLayout
from tests.helpers import ROOT
from tests.influx_standin import read_line

TEXT = (ROOT / "telegraf" / "telegraf.conf").read_text(encoding="utf-8")
README = (ROOT / "telegraf" / "README.md").read_text(encoding="utf-8")
CONF: dict[str, Any] = tomllib.loads(TEXT)
KNOWN: dict[str, Any] = json.loads((ROOT / "tests" / "telegraf_options.json").read_text())
OURS, OPENDTU = CONF["inputs"]["mqtt_consumer"]
VARIABLES = {
    "MQTT_SERVER", "MQTT_PASSWORD", "INFLUX_URL", "INFLUX_ORG", "INFLUX_BUCKET", "INFLUX_TOKEN",
}  # fmt: skip


def plugins() -> list[tuple[str, str, dict[str, Any]]]:
    """Give (kind, name, options) of each plugin that is used."""
    return [
        (kind, name, options)
        for kind in ("inputs", "processors", "outputs")
        for name, instances in CONF[kind].items()
        for options in instances
    ]


@pytest.mark.parametrize(("kind", "name", "options"), plugins())
def test_every_option_is_one_of_the_plugin(kind: str, name: str, options: dict[str, Any]) -> None:
    parser = KNOWN["parsers"].get(options.get("data_format"), [])
    known = {
        *KNOWN["plugins"][f"{kind}.{name}"], *KNOWN["common"][kind], *KNOWN["filters"],
        *KNOWN["tls"], *parser,
    }  # fmt: skip
    assert set(options) <= known
    for rule in options.get("topic_parsing", []):
        assert set(rule) <= set(KNOWN["plugins"][f"{kind}.{name}.topic_parsing"])


def test_every_section_and_every_option_of_the_agent_exists() -> None:
    assert set(CONF) == {"agent", "inputs", "processors", "outputs"}
    assert set(CONF["agent"]) <= set(KNOWN["agent"])


def test_each_rule_for_a_topic_has_as_many_levels_as_the_topic() -> None:
    for rule in (*OURS["topic_parsing"], *OPENDTU["topic_parsing"]):
        assert rule["topic"].count("/") == rule["tags"].count("/")


def test_the_first_lines_say_that_replay_is_not_seen() -> None:
    first = " ".join(line.lstrip("# ") for line in TEXT.splitlines()[:10])
    assert "NOT EVERYTHING ARRIVES" in first
    assert "Telegraf cannot ask" in first
    assert "Telegraf cannot ask" in README.partition("## ")[0]


# ------------------------------------------------------------------ at the broker


def covers(pattern: str, topic: str) -> bool:
    levels = re.escape(pattern).replace(r"\+", "[^/]+")
    return re.fullmatch(levels, topic) is not None


def tags_of(source: dict[str, Any], topic: str) -> dict[str, str]:
    """Do what Telegraf's topic_parsing does with a topic."""
    found: dict[str, str] = {}
    for rule in source["topic_parsing"]:
        if covers(rule["topic"], topic):
            names = zip(rule["tags"].split("/"), topic.split("/"), strict=True)
            found |= {name: level for name, level in names if name != "_"}
    return found


def test_it_listens_to_states_and_events_and_tags_them_with_site_and_device() -> None:
    topics = Topics("farm")
    state, event = topics.device("inverter", "state"), topics.component("axpert", "event")
    assert tags_of(OURS, state) == {"site": "farm", "device": "inverter"}
    assert tags_of(OURS, event) == {"site": "farm", "device": "axpert"}
    for topic in (state, event):
        assert sum(covers(pattern, topic) for pattern in OURS["topics"]) == 1


def test_it_takes_no_other_topic_of_ours_for_a_state() -> None:
    topics = Topics("farm")
    others = [
        *(topics.device("inverter", leaf) for leaf in ("info", "availability", "result")),
        *(topics.component("axpert", leaf) for leaf in ("status", "rejected", "history", "replay")),
        topics.command("inverter", "automation"),
    ]
    assert not [t for t in others if any(covers(pattern, t) for pattern in OURS["topics"])]


@pytest.mark.parametrize("source", [OURS, OPENDTU], ids=["heliobus", "opendtu"])
def test_the_broker_keeps_messages_for_it_while_it_restarts(source: dict[str, Any]) -> None:
    assert (source["persistent_session"], source["qos"]) == (True, 1)
    assert source["topic_tag"] == ""


def test_its_two_clients_are_one_user_with_names_of_their_own() -> None:
    assert {OURS["username"], OPENDTU["username"]} == {"telegraf"}
    assert OURS["client_id"] != OPENDTU["client_id"]


def test_secrets_and_places_come_from_the_environment_and_are_explained() -> None:
    assert set(re.findall(r"\$\{(\w+)\}", TEXT)) == VARIABLES
    assert all(re.search(rf"^#   {name} ", TEXT, re.MULTILINE) for name in VARIABLES)
    assert all(f"{name}=" in README for name in VARIABLES)
    assert OURS["password"] == OPENDTU["password"] == "${MQTT_PASSWORD}"
    assert CONF["outputs"]["influxdb_v2"][0]["token"] == "${INFLUX_TOKEN}"


# ------------------------------------------------------------------ the script


@dataclass
class Metric:
    """Telegraf's metric as a script sees it."""

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    time: int = 0


TYPES = {"str": "string"}
SOURCE: str = CONF["processors"]["starlark"][0]["source"]


def script() -> dict[str, Any]:
    """Run the script's definitions with what Starlark gives it, in the shape of Python."""

    def parse_time(text: str) -> SimpleNamespace:
        moment = datetime.fromisoformat(text)
        return SimpleNamespace(unix_nano=round(moment.timestamp() * 1000) * 1_000_000)

    def encode(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    given: dict[str, Any] = {
        "load": lambda *_: None,
        "json": SimpleNamespace(decode=json.loads, encode=encode),
        "time": SimpleNamespace(parse_time=parse_time),
        "type": lambda value: TYPES.get(type(value).__name__, type(value).__name__),
    }
    exec(SOURCE, given)  # noqa: S102 - our own file
    return given


def points(body: dict[str, Any]) -> Metric | None:
    found: Metric | None = script()["apply"](Metric("heliobus", fields={"value": json.dumps(body)}))
    return found


def test_the_script_uses_only_what_starlark_has() -> None:
    words = set(re.findall(r"\b[a-z]+\b", re.sub(r'"[^"]*"|#.*', "", SOURCE)))
    absent = {"as", "assert", "class", "del", "except", "finally", "from", "global", "import", "is"}
    absent |= {"nonlocal", "raise", "try", "with", "yield", "while", "isinstance", "f"}
    assert not words & absent


def test_a_state_becomes_a_point_of_its_kind() -> None:
    point = points(
        {
            "time": "2026-11-21T10:15:30.123Z", "prev": "2026-11-21T10:15:25.121Z",
            "kind": "inverter", "bridge": "axpert", "mode": "battery", "mode_code": 66,
            "output_v": 230.1, "battery_a": -14, "charging": True, "grid_present": False,
            "charge_state": "bulk", "battery_type": "lithium", "alarms": ["fan_locked"],
        }
    )  # fmt: skip
    assert point is not None
    assert (point.name, point.time) == ("inverter", 1795256130123_000_000)
    assert point.fields == {
        "mode": "battery", "mode_code": 66.0, "output_v": 230.1, "battery_a": -14.0,
        "charging": 1.0, "grid_present": 0.0, "charge_state": "bulk", "charge_state_code": 7.0,
        "battery_type": "lithium", "alarms": '["fan_locked"]', "alarms_count": 1.0,
    }  # fmt: skip
    assert {type(value) for value in point.fields.values()} == {float, str}


def test_an_empty_list_of_alarms_is_zero_alarms() -> None:
    point = points({"time": "2026-11-21T10:15:30.123Z", "kind": "battery", "alarms": []})
    assert point is not None
    assert point.fields == {"alarms": "[]", "alarms_count": 0.0}


def test_an_event_becomes_a_point_of_events() -> None:
    body = {"time": "2026-11-21T10:15:30Z", "kind": "event", "bridge": "axpert", "event": "alert"}
    point = points(body)
    assert point is not None
    assert (point.name, point.fields) == ("events", {"event": "alert"})


def test_an_unknown_kind_is_stored_as_sensor() -> None:
    point = points({"time": "2026-11-21T10:15:30Z", "kind": "heatpump", "power_w": 5})
    assert point is not None
    assert (point.name, point.fields) == ("sensor", {"kind": "heatpump", "power_w": 5.0})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("state", {}),
        ("state", {"simulated": True, "charge_state": "a word of the next version"}),
        ("state", {"kind": "heatpump", "alarms": ["überlast", "fan"]}),
        ("state_meter", {}),
        ("event", {}),
    ],
)
def test_it_writes_what_the_sink_influx_writes(name: str, changes: dict[str, Any]) -> None:
    example = json.loads((ROOT / "schemas" / "examples" / f"{name}.json").read_text())
    body = {**example["payload"], **changes}
    source = tags_of(OURS, example["topic"])
    sample = parse_sample(source["site"], source["device"], body)
    ((line,),) = (entry.lines for entry in HeliobusLayout(contract.load()).entries([sample]))
    measurement, tags, fields, time_ms = read_line(line.decode())
    point = points(body)
    assert point is not None
    assert (point.name, source) == (measurement, tags)
    assert (point.fields, point.time) == (fields, time_ms * 1_000_000)


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "inverter", "quality": "provisional", "pv_w": 1},
        {"kind": "inverter", "bridge": "axpert", "prev": None},
    ],
    ids=["waits for the clock", "has no values"],
)
def test_what_no_sink_stores_is_dropped(body: dict[str, Any]) -> None:
    assert points({"time": "2026-11-21T10:15:30Z", **body}) is None


def test_the_script_knows_the_kinds_and_words_of_the_contract() -> None:
    rules, schema = script(), json.loads((ROOT / "schemas" / "fields.json").read_text())
    words = {n: member["enum"] for n, member in schema["properties"].items() if "enum" in member}
    assert rules["WORDS"] == words
    assert set(rules["KINDS"]) == set(contract.load().kinds)
    assert set(rules["ENVELOPE"]) == RESERVED - {"quality", "simulated"}


# ------------------------------------------------------------------ OpenDTU


@pytest.mark.parametrize(
    ("topic", "channel", "name"),
    [
        ("solar/116180405144/0/power", "0", "power"),
        ("solar/116180405144/6/yieldday", "6", "yieldday"),
        ("solar/116180405144/status/limit_absolute", "status", "limit_absolute"),
    ],
)
def test_opendtu_has_the_layout_of_its_usual_dashboard(topic: str, channel: str, name: str) -> None:
    assert sum(covers(pattern, topic) for pattern in OPENDTU["topics"]) == 1
    assert tags_of(OPENDTU, topic) == {"serial": "116180405144", "channel": channel, "field": name}
    (pivot,) = CONF["processors"]["pivot"]
    assert (pivot["tag_key"], pivot["value_key"]) == ("field", "value")
    # The name of the input is the measurement, and only its points are pivoted.
    assert "name_override" not in OPENDTU
    assert pivot["namepass"] == ["mqtt_consumer"]


@pytest.mark.parametrize(
    "topic", ["solar/116180405144/cmd/power", "solar/ac/power", "solar/dtu/ip"]
)
def test_opendtu_s_commands_totals_and_own_state_are_left_out(topic: str) -> None:
    assert not any(covers(pattern, topic) for pattern in OPENDTU["topics"])


def test_the_text_among_opendtu_s_numbers_is_left_out() -> None:
    assert OPENDTU["tagdrop"] == {"field": ["name"]}
