"""docs/opendtu.md: what it shows works, and what it quotes is said."""

import json
import re
import shlex
from pathlib import Path

import pytest

from bridges.mqtt.simulated_topics import of_dtu
from bridges.mqtt.simulator import VARIANTS
from heliobus import cli, contract
from tests.helpers import ROOT, require_program
from tests.mqtt_maps import decode_lines
from tests.test_docs import blocks

PAGE = (ROOT / "docs" / "opendtu.md").read_text(encoding="utf-8")
MAP = (ROOT / "bridges" / "mqtt" / "maps" / "opendtu.yaml").read_text(encoding="utf-8")
FIRST = next(block.text for block in blocks(PAGE) if "type: sql" in block.text)


def test_every_command_for_the_broker_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_program("openssl", package="openssl")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heliobus.yaml").write_text(FIRST, encoding="utf-8")
    lines = [
        line for block in blocks(PAGE) if block.kind == "sh" for line in block.text.splitlines()
    ]
    commands = [shlex.split(line, comments=True) for line in lines if " broker " in line]
    assert len(commands) == 4
    for words in commands:
        assert words[0] == "heliobus"
        assert cli.run(["-c", "heliobus.yaml", *words[1:]]) == 0, capsys.readouterr().err
    assert (tmp_path / "mqtt" / "tls" / "ca.crt").is_file()
    assert (tmp_path / "mqtt" / "users" / "opendtu").is_file()
    acl = (tmp_path / "mqtt" / "acl").read_text()
    of_bridge = acl.partition("user dtu\n")[2].partition("\n\n")[0].splitlines()
    assert "topic read solar/#" in of_bridge
    of_dtu = acl.partition("user opendtu\n")[2].partition("\n\n")[0].splitlines()
    assert of_dtu == ["topic readwrite solar/#", "topic readwrite homeassistant/#"]


def test_the_decoded_topic_is_decoded_so() -> None:
    example = next(block.text for block in blocks(PAGE) if "heliobus decode" in block.text)
    command, answer = example.splitlines()
    said = json.loads(shlex.split(command.removeprefix("$ "))[1])
    assert decode_lines("opendtu", [said]) == [json.loads(answer)]


def test_the_fields_that_the_page_names_are_those_of_the_map() -> None:
    rows = re.findall(r"^\| `…/([0-9a-z_/]+)`.*\| `([a-z0-9_]+)`", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for topic, field in rows:
        said = {"topic": f"solar/114172608275/{topic}", "payload": "1"}
        [answer] = decode_lines("opendtu", [said])
        assert field in answer["values"], topic


def test_the_hints_that_the_page_quotes_begin_as_they_are_said() -> None:
    quoted = re.findall(r'^\| "(?:… )?(.*?)(?: …)?" \|', PAGE, re.MULTILINE)
    assert len(quoted) == 4
    said = MAP + (ROOT / "heliobus" / "listening.py").read_text(encoding="utf-8")
    for hint in quoted:
        assert hint in " ".join(said.split()), hint


def test_every_variant_that_can_be_simulated_is_told() -> None:
    page = PAGE.partition("## Without an OpenDTU")[2].partition("\n## ")[0]
    assert ["day", *re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)] == [*VARIANTS]


def test_every_configuration_keeps_the_archive() -> None:
    files = [block.text for block in blocks(PAGE) if "sinks:" in block.text]
    assert len(files) == 4
    assert all('archive: {type: sql, url: "sqlite:///history.db"}' in text for text in files)


def test_every_kind_that_the_page_names_is_one() -> None:
    kinds = contract.load().kinds
    table = PAGE[PAGE.index("| device | kind |") :].split("\n\n")[0].splitlines()[2:]
    assert [line.split("|")[2].strip() for line in table] == ["gateway", "inverter"]
    assert {"gateway", "inverter"} <= kinds.keys()


def test_what_the_gateway_is_said_to_have_is_what_a_dtu_says() -> None:
    leaves = {topic for topic, _ in of_dtu(10, on_wifi=True)}
    assert {"dtu/uptime", "dtu/heap/free", "dtu/temperature", "dtu/rssi"} <= leaves
