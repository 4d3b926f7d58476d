"""`heliobus decode mqtt --map M`, and the examples of the bridge's page."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from heliobus import config, contract
from heliobus.cli import cli, run
from heliobus.errors import ConfigError
from tests.helpers import ROOT
from tests.test_docs import blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = ROOT / "bridges" / "mqtt"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SERIAL = "116480512345"


def decode(*said: Any, map_name: str = "opendtu") -> tuple[int, list[dict[str, Any]]]:
    """Give the exit status and the answers to messages."""
    lines = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in said)
    result = CliRunner().invoke(
        cli, ["decode", "mqtt", "--map", map_name, "-"], input=lines, standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return int(result.return_value or 0), [json.loads(one) for one in result.stdout.splitlines()]


def message(topic: str, payload: Any) -> dict[str, Any]:
    return {"topic": topic, "payload": payload}


def test_a_value_is_told_with_its_unit_its_device_and_its_kind() -> None:
    assert decode(message(f"solar/{SERIAL}/0/yieldday", "216")) == (
        0,
        [
            {
                "ok": True,
                "values": {"yield_today_kwh": 0.216},
                "units": {"yield_today_kwh": "kWh"},
                "device": f"inverter_{SERIAL}",
                "kind": "inverter",
            }
        ],
    )


@pytest.mark.parametrize(
    ("topic", "payload", "more"),
    [
        (f"{SERIAL}/name", "Garage", {"info": {"title": "Garage"}}),
        ("dtu/status", "online", {"online": True}),
        (f"{SERIAL}/0/new", "1", {"note": "the map takes nothing from it"}),
        (f"{SERIAL}/0/power", "nan", {"note": "the map takes nothing from it"}),
    ],
)
def test_what_is_no_value_is_told_too(topic: str, payload: str, more: dict[str, Any]) -> None:
    status, [answer] = decode(message(f"solar/{topic}", payload))
    assert (status, answer["ok"], answer["values"]) == (0, True, {})
    assert {key: answer.get(key) for key in more} == more


def test_a_command_is_told_as_one() -> None:
    _, [answer] = decode(message(f"solar/{SERIAL}/cmd/power", "0"))
    assert set(answer) == {"ok", "values", "units", "command"}


def test_what_is_passed_over_is_told_with_the_reason() -> None:
    _, [answer] = decode(message("zigbee2mqtt/bridge/logging", "{}"), map_name="zigbee2mqtt")
    assert answer["note"] == "about zigbee2mqtt itself, not about a device"


def test_json_in_the_line_is_taken_as_json() -> None:
    for payload in ({"power": 5}, '{"power": 5}'):
        _, [answer] = decode(message("zigbee2mqtt/plug", payload), map_name="zigbee2mqtt")
        assert answer["values"] == {"power_w": 5}
    _, [answer] = decode(message(f"solar/{SERIAL}/0/power", 5.5))
    assert answer["values"] == {"output_w": 5.5}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (message("solra/x", "1"), "no topic of the map fits 'solra/x'"),
        (message(f"solar/{SERIAL}/0/power", "x"), "power: found 'x', expected a number"),
        (
            message(f"solar/{SERIAL}/0/power", "1e9"),
            "output_w: found 1000000000.0, expected a number from -10000000 to 10000000 W",
        ),
        ({"payload": "1"}, "topic: found None, expected a text"),
        ({"topic": 5, "payload": "1"}, "topic: found 5, expected a text"),
        ({"topic": "x"}, '"payload" is missing, expected a text or JSON'),
        ("", "the line is empty, expected a JSON object"),
    ],
)
def test_what_cannot_be_read_is_an_error(line: Any, error: str) -> None:
    good = message(f"solar/{SERIAL}/0/power", "1")
    status, answers = decode(good, line, good)
    assert status == 1
    assert answers[1] == {"ok": False, "error": error}
    assert [answer["ok"] for answer in answers] == [True, False, True]


def test_what_is_refused_of_a_message_is_told_beside_the_rest() -> None:
    payload = {"power": "x", "voltage": 230}
    _, [answer] = decode(message("zigbee2mqtt/plug", payload), map_name="zigbee2mqtt")
    assert answer["values"] == {"voltage_v": 230}
    assert answer["refused"] == ["power: found 'x', expected a number"]


def test_a_message_of_several_devices_tells_of_each(tmp_path: Path) -> None:
    path = tmp_path / "strip.yaml"
    path.write_text(
        "title: Strip\n"
        'devices: {socket: {name: "socket_{n}", kind: relay}}\n'
        'topics: [{topic: strip, device: socket, payload: json, values: {"s{n}.on": is_on}}]\n'
    )
    payload = {"s1": {"on": True}, "s2": {"on": 0}}
    _, [answer] = decode(message("strip", payload), map_name=str(path))
    assert (answer["device"], answer["values"]) == ("socket_1", {"is_on": True})
    [other] = answer["others"]
    assert (other["device"], other["values"]) == ("socket_2", {"is_on": False})


def test_a_map_is_needed_and_only_for_what_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decode", "mqtt"]) == 2
    assert "mqtt needs --map NAME or --map FILE; 'heliobus list' shows all" in (
        capsys.readouterr().err
    )
    assert run(["decode", "voltronic", "--map", "opendtu"]) == 2
    assert "voltronic is decoded without a map; leave --map out" in capsys.readouterr().err


def test_an_unknown_map_is_no_traceback() -> None:
    with pytest.raises(ConfigError, match="map: 'opendut' is not known; did you mean 'opendtu'"):
        decode(map_name="opendut")
    found = subprocess.run(
        [sys.executable, "-m", "heliobus", "decode", "mqtt", "--map", "opendut"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        timeout=30,
    )
    assert (found.returncode, found.stderr.count(b"\n")) == (78, 1)


# ---------------------------------------------------------------------- the page


def said_and_map(line: str) -> tuple[str, str]:
    """Give what an example pipes into decode, and its map."""
    words: Sequence[str] = shlex.split(line)
    assert (words[0], words[2:6]) == ("echo", ["|", "heliobus", "decode", "mqtt"])
    return words[1], words[words.index("--map") + 1]


def test_the_examples_of_the_page_are_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(README)
    for block in found:
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    first, second = [block.text for block in found if block.kind == "sh"]
    line, map_name = said_and_map(first)
    [shown] = [json.loads(block.text) for block in found if block.kind == "json"]
    assert decode(line, map_name=map_name) == (0, [shown])
    line, map_name = said_and_map(second)
    _, [answer] = decode(line, map_name=map_name)
    assert (answer["device"], answer["values"]) == ("heat_cellar", {"power_w": 1250.0})


def test_the_configurations_of_the_page_are_valid(tmp_path: Path) -> None:
    parts = [b.text for b in blocks(README) if b.kind == "yaml" and b.text.startswith("bridges:")]
    assert len(parts) == 3
    for part in parts:
        path = tmp_path / "heliobus.yaml"
        path.write_text(f"site: farm\n{part}", encoding="utf-8")
        [bridge] = config.read(path).settings.bridges.values()
        assert bridge.type == "mqtt"


def test_the_sample_is_valid_and_its_comments_too(tmp_path: Path) -> None:
    text = (FOLDER / "sample.yaml").read_text(encoding="utf-8")
    path = tmp_path / "heliobus.yaml"
    for written in (text, re.sub(r"(?m)^(    )# ", r"\1", text)):
        path.write_text(written, encoding="utf-8")
        assert config.read(path).warnings == ()
    bridge = config.read(path).settings.bridges["opendtu"]
    assert bridge.options["base"] == "solar"
    assert [device.name for device in bridge.devices] == ["roof"]


def test_the_page_names_every_option() -> None:
    keys = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    for part in ("component", "device"):
        for key in keys[part]["properties"]:
            assert f"| `{key}` |" in README, key


def test_every_kind_that_a_device_may_have_is_one_of_the_contract() -> None:
    keys = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    named = set(keys["device"]["properties"]["kind"]["enum"])
    assert named == set(contract.load().kinds) - {"component", "event"}
