"""Rights beyond heliobus' own topics: of bridges that listen, of sinks, of Home Assistant."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from broker.check import Check
from broker.roles import Role
from heliobus.errors import ConfigError
from heliobus.settings import BridgeSettings, BrokerSettings
from tests.brokers import Locked, locked
from tests.helpers import wait_until
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


def test_what_is_heard_on_another_broker_needs_no_rights_on_ours(roof: Locked) -> None:
    listens(roof, broker=BrokerSettings(host="192.0.2.10"))
    roof.make()
    assert not [line for line in lines_of(roof, "roof") if "plant" in line]


@pytest.mark.parametrize(
    ("topics", "lines"),
    [
        ((), ["read homeassistant/#", "readwrite homeassistant/status"]),
        (("ha/own",), ["read ha/own/#", "readwrite ha/own/status"]),
    ],
)
def test_home_assistant_reads_all_and_sets_plain_values(
    roof: Locked, topics: Sequence[str], lines: Sequence[str]
) -> None:
    roof.add("ha", Role.HOMEASSISTANT, *topics)
    assert lines_of(roof, "ha") == [
        "topic read heliobus/#",
        *(f"topic {line}" for line in lines),
        "topic write heliobus/+/bus/+/set/#",
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
    with roof.serving():
        assert faults(roof) == []


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
            "write heliobus/+/bus/+/set/#",
            "ha cannot write heliobus/farm/bus/PROBE/set/PROBE/PROBE",
        ),
        ("readwrite homeassistant/status", "ha cannot write homeassistant/status"),
        ("read homeassistant/#", "ha does not hear homeassistant/PROBE"),
    ],
)
def test_check_finds_what_is_missing(roof: Locked, line: str, fault: str) -> None:
    roof.add("plants", Role.DEVICE, "plant")
    roof.add("shelf", Role.DEVICE, "homeassistant")
    acl = (roof.folder / "acl").read_text()
    assert f"topic {line}\n" in acl
    with roof.serving():
        (roof.folder / "acl").write_text(acl.replace(f"topic {line}\n", "", 1))
        roof.reload()
        wait_until(lambda: faults(roof) == [fault], fault)
