"""The page of the maps: what it shows is so; and a map that adds to another."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bridges.mqtt import maps
from bridges.mqtt.codec import LONGEST_TOPIC
from heliobus import contract
from heliobus.errors import ConfigError
from tests.helpers import ROOT
from tests.mqtt_maps import decode_lines

CONTRACT = contract.load()
PAGE = (ROOT / "docs" / "mqtt-maps.md").read_text(encoding="utf-8")
FILE = re.compile(r"^`(maps/\w+\.yaml)`\n\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(
    r"^```sh\necho '(.*?)' \| heliobus (.*?)$.*?^```json\n(.*?)$", re.MULTILINE | re.DOTALL
)
SECTIONS = {
    "tasmota": "Tasmota",
    "shelly_gen1": "Shelly, first generation",
    "shelly_gen2": "Shelly, second generation and later",
    "zigbee2mqtt": "zigbee2mqtt",
    "esphome": "ESPHome",
    "victron_venus": "Victron Venus OS",
    "solarassistant": "SolarAssistant",
    "evcc": "evcc",
    "anker_solix": "Anker SOLIX",
}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the maps of the page into a folder, and go there."""
    (tmp_path / "maps").mkdir()
    for name, text in FILE.findall(PAGE):
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def decoded(map_name: str, *said: tuple[str, Any]) -> list[dict[str, Any]]:
    lines = [{"topic": topic, "payload": payload} for topic, payload in said]
    return decode_lines(map_name, lines)


def test_each_hint_that_the_page_of_the_bridge_explains_is_said_somewhere() -> None:
    folder = ROOT / "bridges" / "mqtt"
    page = (folder / "README.md").read_text(encoding="utf-8")
    rows = page.partition("## No answer?")[2].partition("\n## ")[0]
    hints = re.findall(r"`((?:\w+ ){2,}\w+)", rows)
    assert len(hints) > 4
    said = "".join(path.read_text() for path in [*folder.glob("*.py"), *folder.glob("maps/*.yaml")])
    said = said.replace("{LONGEST_TOPIC}", str(LONGEST_TOPIC))
    assert [hint for hint in hints if hint not in said] == []


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_map_has_its_section_or_is_named() -> None:
    for name in maps.names():
        assert f"`{name}`" in PAGE or SECTIONS[name] in PAGE


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_to_switch_on_what_appears_and_what_the_limits_are(name: str) -> None:
    text = section(SECTIONS[name])
    assert "**On the bus:**" in text
    assert "**Switch on:**" in text or "solix-mqtt-bridge" in text


@pytest.mark.parametrize("name", SECTIONS)
def test_what_a_section_calls_a_field_is_one(name: str) -> None:
    for word in re.findall(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`", section(SECTIONS[name])):
        if CONTRACT.unit(word):
            assert CONTRACT.field(contract.ANYTHING, word), word


@pytest.mark.usefixtures("written")
def test_the_example_that_is_shown_gives_what_is_shown() -> None:
    assert SHOWN.findall(PAGE)
    for line, command, shown in SHOWN.findall(PAGE):
        name = re.search(r"--map (\S+)", command)
        assert name is not None
        message = json.loads(line)
        assert decode_lines(name[1], [message]) == [json.loads(shown)]


@pytest.mark.usefixtures("written")
def test_the_example_of_a_map_of_ones_own_reads_every_topic_of_it() -> None:
    answers = decoded(
        "maps/wallpanel.yaml",
        ("hall/p1/alive", "yes"),
        ("hall/p1/volts", "230.5"),
        ("hall/p1/exported_wh", "1500"),
        ("hall/p1/now", {"clamp1": {"w": 1}, "clamp5": {"w": 2}}),
    )
    assert answers[0]["online"] is True
    assert [each["values"] for each in answers[1:]] == [
        {"voltage_v": 230.5},
        {"export_kwh": 1.5},
        {"channel_01_w": 1},
    ]


# ---------------------------------------------------------------------- extends


@pytest.mark.usefixtures("written")
def test_a_map_adds_values_to_those_of_the_map_that_it_extends() -> None:
    answers = decoded(
        "maps/bms.yaml",
        ("bms/sensor/current/state", "-5.2"),
        ("bms/sensor/charged_energy_wh/state", "1500"),
        ("bms/sensor/state_of_charge/state", "87"),
        ("bms/status", "online"),
    )
    assert [each["kind"] for each in answers] == ["battery"] * 4
    assert [each["values"] for each in answers] == [
        {"battery_a": 5.2},
        {"charged_kwh": 1.5},
        {"soc_percent": 87},
        {},
    ]
    assert answers[3]["online"] is True


@pytest.mark.usefixtures("written")
def test_a_kind_that_a_map_chooses_leaves_out_what_it_does_not_have() -> None:
    answer = decoded("maps/bms.yaml", ("bms/sensor/solar_power/state", "312"))[0]
    assert answer["values"] == {}


@pytest.mark.usefixtures("written")
def test_each_topic_that_is_written_alike_takes_the_additions() -> None:
    sml = {"SML": {"Total_in": 2924.9, "Power_curr": -210}, "ENERGY": {"Voltage": 231}}
    answers = decoded(
        "maps/meter.yaml",
        ("tele/meter/SENSOR", sml),
        ("tele/meter/SENSOR", sml | {"TempUnit": "F"}),
        ("meter/tele/SENSOR", {"ENERGY": {"Power": 3}}),
    )
    assert [each["values"] for each in answers] == [
        {"import_kwh": 2924.9, "power_w": -210, "voltage_v": 231},
        {"import_kwh": 2924.9, "power_w": -210, "voltage_v": 231},
        {"power_w": 3},
    ]


def test_a_value_that_both_maps_name_is_what_the_extending_one_says(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        'title: Mine\nextends: esphome\ntopics:\n  - topic: "{node...}/sensor/{leaf}/state"\n'
        "    values: {battery_current: {field: battery_a, sign: -1}}\n"
    )
    answer = decoded(str(tmp_path / "mine.yaml"), ("x/sensor/battery_current/state", "3"))[0]
    assert answer["values"] == {"battery_a": -3}


def test_a_topic_with_a_reason_to_ignore_it_takes_nothing_from_the_other_map(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.yaml").write_text(
        'title: Mine\nextends: esphome\ntopics:\n  - topic: "{node...}/sensor/{leaf}/state"\n'
        "    ignore: not of interest\n"
    )
    answer = decoded(str(tmp_path / "mine.yaml"), ("x/sensor/battery_current/state", "3"))[0]
    assert (answer["values"], answer["note"]) == ({}, "not of interest")


def test_a_field_that_the_chosen_kind_lacks_is_a_fault_of_the_map_that_names_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "title: Mine\nextends: esphome\ndevices:\n  node: {kind: battery}\ntopics:\n"
        '  - topic: "{node...}/sensor/{leaf}/state"\n    values: {sun: pv_w}\n'
    )
    with pytest.raises(ConfigError) as refused:
        maps.load("mine.yaml", beside=tmp_path, contract=CONTRACT)
    told = "topics[0].values.sun: 'pv_w' is not a field of kind battery"
    assert str(refused.value) == f"{tmp_path}/mine.yaml:7: {told}"
