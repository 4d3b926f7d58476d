"""Rights beyond heliobus' own topics: of bridges that listen, of sinks, of Home Assistant."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from broker.check import Check
from broker.roles import Role
from heliobus.bus import Bus, Message
from heliobus.errors import ConfigError
from heliobus.settings import BridgeSettings, BrokerSettings, DeviceSettings, SinkSettings
from tests.brokers import Locked, locked
from tests.helpers import wait_until
from tests.homeassistant_sink import OPTIONS
from tests.processes import PLUGINS


@pytest.fixture
def roof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locked:
    """Give an installation with one bridge, which listens, and Home Assistant."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    one = locked(tmp_path)
    listens(one)
    one.add("ha", Role.HOMEASSISTANT)
    return one


def listens(one: Locked, **options: Any) -> None:
    bridge = BridgeSettings("roof", "plain", (), options=options)
    one.settings = replace(one.settings, bridges={"roof": bridge}, sinks={})


def issues(one: Locked) -> None:
    """Add a sink that issues commands and stores nothing, and one that stores."""
    hass = SinkSettings("hass", "homeassistant", options=OPTIONS)
    archive = SinkSettings("archive", "sql")
    one.settings = replace(one.settings, sinks={"hass": hass, "archive": archive})


def lines_of(one: Locked, name: str) -> list[str]:
    (part,) = [p for p in (one.folder / "acl").read_text().split("\n\n") if f"user {name}\n" in p]
    return part.strip().splitlines()[2:]


def test_a_bridge_that_listens_may_write_devices_of_any_name_and_hear_what_it_asks_for(
    roof: Locked,
) -> None:
    assert lines_of(roof, "roof") == [
        "topic write heliobus/farm/bus/roof/#",
        "topic write heliobus/farm/bus/+/history",
        "topic read heliobus/farm/bus/roof/#",
        "topic read heliobus/farm/+/info",
        "topic read heliobus/farm/bus/+/status",
        "topic write heliobus/farm/+/state",
        "topic write heliobus/farm/+/info",
        "topic write heliobus/farm/+/availability",
        "topic read plant/#",
        "topic write plant/hello",
    ]


def test_a_gateway_may_write_the_devices_behind_it(roof: Locked) -> None:
    mate = DeviceSettings("mate", 10.0, "tcp://192.0.2.100:502")
    bridge = BridgeSettings("outback", "sunspec", (mate,))
    roof.settings = replace(roof.settings, bridges={"outback": bridge}, sinks={})
    roof.make()
    written = [line for line in lines_of(roof, "outback") if " write " in line]
    assert written == [
        "topic write heliobus/farm/mate/+",
        "topic write heliobus/farm/bus/outback/#",
        "topic write heliobus/farm/bus/+/history",
        "topic write heliobus/farm/+/state",
        "topic write heliobus/farm/+/info",
        "topic write heliobus/farm/+/availability",
    ]


def test_what_is_heard_on_another_broker_needs_no_rights_on_ours(roof: Locked) -> None:
    listens(roof, broker=BrokerSettings(host="192.0.2.10"))
    roof.make()
    assert not [line for line in lines_of(roof, "roof") if "plant" in line]


@pytest.mark.parametrize(("topics", "prefix"), [((), "homeassistant"), (("ha/own",), "ha/own")])
def test_home_assistant_reads_all_and_sets_plain_values_at_the_sinks_that_make_commands(
    roof: Locked, topics: Sequence[str], prefix: str
) -> None:
    issues(roof)
    roof.add("ha", Role.HOMEASSISTANT, *topics)
    assert lines_of(roof, "ha") == [
        "topic read heliobus/#",
        f"topic readwrite {prefix}/#",
        "topic readwrite homeassistant/status",
        "topic write heliobus/+/bus/hass/set/#",
    ]


def test_without_a_sink_that_makes_commands_home_assistant_sets_nothing(roof: Locked) -> None:
    assert not [line for line in lines_of(roof, "ha") if "set" in line]


def test_only_a_sink_that_issues_commands_may_write_them_and_only_one_that_stores_may_ask(
    roof: Locked,
) -> None:
    issues(roof)
    roof.make()
    assert [line for line in lines_of(roof, "hass") if "heliobus" in line] == [
        "topic write heliobus/farm/bus/hass/#",
        "topic write heliobus/farm/bus/+/history",
        "topic read heliobus/#",
        "topic write heliobus/+/+/set/hass",
    ]
    assert lines_of(roof, "archive") == [
        "topic write heliobus/farm/bus/archive/#",
        "topic write heliobus/farm/bus/+/history",
        "topic read heliobus/#",
        "topic write heliobus/+/bus/+/replay",
    ]


def test_who_tends_a_site_may_write_what_is_retained_there_and_no_commands_of_others(
    roof: Locked,
) -> None:
    roof.add("anna", Role.OPERATOR, "heliobus/farm", "homeassistant")
    assert lines_of(roof, "anna") == [
        "topic read heliobus/#",
        "topic read $SYS/#",
        "topic write heliobus/+/+/set/anna",
        "topic readwrite homeassistant/#",
        "topic write heliobus/farm/+/state",
        "topic write heliobus/farm/+/info",
        "topic write heliobus/farm/+/availability",
        "topic write heliobus/farm/bus/+/status",
    ]


@pytest.mark.parametrize(
    ("access", "place"),
    [
        ("all", "x/#"),
        ("read", ""),
        ("read", "x\ntopic write #"),
        ("read", "x y"),
        ("read", "$SYS/#"),
        ("read", "x/#/y"),
        ("read", "x/a+"),
    ],
)
def test_what_is_no_line_of_an_access_list_is_refused(
    roof: Locked, monkeypatch: pytest.MonkeyPatch, access: str, place: str
) -> None:
    asks_for(monkeypatch, access, place)
    with pytest.raises(ConfigError) as refused:
        roof.make()
    assert str(refused.value) == (
        f"bridges.roof: its folder asks for {access!r} on {place!r}, expected read, write or"
        " readwrite, and a topic filter"
    )


@pytest.mark.parametrize(
    "place", ["#", "+/#", "heliobus/#", "heliobus/farm/x", "+/farm/#", "+/+/+/state"]
)
def test_nobody_is_let_write_what_is_another_components(
    roof: Locked, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    asks_for(monkeypatch, "readwrite", place)
    with pytest.raises(ConfigError, match="below heliobus/ each component writes only what is its"):
        roof.make()


@pytest.mark.parametrize("place", ["heliobus", "heliobusx/#", "x/heliobus/#", "+"])
def test_what_only_looks_like_ours_may_be_written(
    roof: Locked, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    asks_for(monkeypatch, "write", place)
    roof.make()
    assert lines_of(roof, "roof")[-1] == f"topic write {place}"


def asks_for(monkeypatch: pytest.MonkeyPatch, access: str, place: str) -> None:
    def foreign_topics(options: Mapping[str, Any], folder: Path) -> Sequence[tuple[str, str]]:
        assert (options, folder.is_dir()) == ({}, True)
        return [(access, place)]

    monkeypatch.setattr(import_module("plain_listener"), "foreign_topics", foreign_topics)


# ---------------------------------------------------------------------- proven on mosquitto


def faults(one: Locked) -> list[str]:
    out = io.StringIO()
    Check(one.settings, one.folder).run(out)
    text = re.sub(r"broker_check_[0-9a-f]{8}_\d+", "PROBE", out.getvalue())
    return [line.removeprefix("FAULT: ") for line in text.splitlines() if "FAULT" in line]


@pytest.mark.broker
def test_check_proves_what_was_made(roof: Locked) -> None:
    issues(roof)
    roof.add("anna", Role.OPERATOR, "heliobus/farm", "homeassistant")
    with roof.serving():
        assert faults(roof) == []


LEFT = {
    "homeassistant/device/heliobus_farm_gone/config": "hass",
    "heliobus/farm/bus/roof/status": "roof",
    "heliobus/farm/gone/state": "roof",
    "heliobus/farm/gone/info": "roof",
    "heliobus/farm/gone/availability": "roof",
}


@pytest.mark.broker
def test_who_tends_a_site_clears_what_is_left_there(roof: Locked) -> None:
    issues(roof)
    roof.add("anna", Role.OPERATOR, "heliobus/farm", "homeassistant")
    with roof.serving():
        for topic, author in LEFT.items():
            said(roof, author, topic, b"left")
        assert retained(roof) == set(LEFT)
        for topic in LEFT:
            said(roof, "anna", topic, b"")
        assert retained(roof) == set()


@pytest.mark.broker
def test_home_assistant_clears_what_announced_a_device(roof: Locked) -> None:
    issues(roof)
    roof.make()
    topic = "homeassistant/device/heliobus_farm_gone/config"
    with roof.serving():
        said(roof, "hass", topic, b"left")
        said(roof, "ha", topic, b"")
        assert retained(roof) == set()


def said(one: Locked, name: str, topic: str, payload: bytes) -> None:
    bus = Bus(one.broker, name)
    bus.start()
    assert bus.wait_connected(10)
    assert bus.publish(topic, payload, retain=True)
    assert bus.drain(5)
    bus.stop()


def retained(one: Locked) -> set[str]:
    """Give what the broker retains, as one hears who hears the end of it."""
    heard: Queue[Message] = Queue()
    end = "heliobus/farm/bus/archive/status"
    said(one, "archive", end, b"{}")
    places = ("homeassistant/#", "heliobus/farm/+/+", "heliobus/farm/bus/roof/#", end)
    filters = [(place, 0) for place in places]  # answered in this order
    bus = Bus(one.broker, "ha", subscriptions=filters, on_message=heard.put)
    bus.start()
    topics = set()
    while end not in topics:
        topics.add(heard.get(timeout=10).topic)
    bus.stop()
    said(one, "archive", end, b"")
    return topics - {end}


@pytest.mark.broker
@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("write heliobus/farm/+/state", "roof cannot write heliobus/farm/PROBE/state"),
        (
            "write heliobus/farm/+/availability",
            "roof cannot write heliobus/farm/PROBE/availability",
        ),
        ("read plant/#", "roof does not hear plant/PROBE"),
        (
            "write heliobus/+/bus/hass/set/#",
            "ha cannot write heliobus/farm/bus/hass/set/PROBE/PROBE",
        ),
        ("readwrite homeassistant/status", "ha cannot write homeassistant/status"),
        ("readwrite ha/own/#", "ha cannot write ha/own/PROBE"),
        ("write heliobus/+/+/set/hass", "hass cannot write heliobus/farm/PROBE/set/hass"),
    ],
)
def test_check_finds_what_is_missing(roof: Locked, line: str, fault: str) -> None:
    issues(roof)
    roof.add("plants", Role.DEVICE, "plant")
    roof.add("ha", Role.HOMEASSISTANT, "ha/own")
    acl = (roof.folder / "acl").read_text()
    assert f"topic {line}\n" in acl
    with roof.serving():
        (roof.folder / "acl").write_text(acl.replace(f"topic {line}\n", "", 1))
        roof.reload()
        wait_until(lambda: faults(roof) == [fault], fault)
