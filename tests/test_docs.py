"""The pages for people: what they show is true, and where they point there is something."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest
import yaml

from heliobus import check, config, contract, household
from heliobus.cli import cli
from heliobus.grouped import Column
from heliobus.topics import Topics
from tests.helpers import ROOT
from tests.test_house import LAYERS

CONTRACT = contract.load()
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
BY_NAME = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PAGES}
README = BY_NAME.get("README.md", "")
ARCHITECTURE = BY_NAME.get("docs/architecture.md", "")

# A fence, which may stand in a list, and the name of its file on a line before it.
BLOCK = re.compile(
    r"^(?:`(?P<file>[\w./-]+)`\n\n)? *```(?P<kind>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced part of a page, and the file that it is to be."""

    file: str | None
    kind: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(m["file"], m["kind"], dedent(m["text"])) for m in BLOCK.finditer(page)]


def prose(page: str) -> str:
    return BLOCK.sub("", page)


def anchors(page: str) -> set[str]:
    """Give the names of a page's headings as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# ---------------------------------------------------------------------- every page


@pytest.mark.parametrize("name", BY_NAME)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    targets = [a or b for a, b in LINK.findall(prose(BY_NAME[name]))]
    local = [t for t in targets if not re.match(r"[a-z]+:", t)]
    for path, _, anchor in (target.partition("#") for target in local):
        place = (ROOT / name).parent / path if path else ROOT / name
        assert place.exists(), f"{name}: {path}"
        assert ROOT in place.resolve().parents, f"{name}: {path} lies outside the repository"
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place.read_text(encoding="utf-8")), f"{name}: {path}#{anchor}"


@pytest.mark.parametrize("name", BY_NAME)
def test_no_page_sends_people_to_a_package_registry_by_host(name: str) -> None:
    hosts = r"pypi\.org|pythonhosted|npmjs|ghcr\.io|docker\.io|hub\.docker|deb\.debian"
    assert not re.findall(hosts, BY_NAME[name])


@pytest.mark.parametrize("name", BY_NAME)
def test_every_example_in_yaml_is_yaml_without_doubled_keys(name: str) -> None:
    for block in blocks(BY_NAME[name]):
        if block.kind == "yaml" and block.text.count("\nlink:") == 0:
            assert yaml.safe_load(block.text) is not None, block.text


def whole_configurations() -> Iterator[tuple[str, str]]:
    for name in ("README.md", *(name for name in BY_NAME if name.startswith("docs/"))):
        for block in blocks(BY_NAME[name]):
            # The type of the tutorial's own bridge is known only where it is installed.
            if block.kind == "yaml" and "site:" in block.text and "type: thermo" not in block.text:
                yield name, block.text
            elif name == "README.md" and block.text.startswith("bridges:"):
                yield name, "site: farm\n" + block.text


def test_every_whole_configuration_is_valid(tmp_path: Path) -> None:
    (tmp_path / "mqtt" / "users").mkdir(parents=True)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mqtt").write_text("secret\n")
    (tmp_path / "secrets" / "mqtt").chmod(0o600)
    found = list(whole_configurations())
    assert {name for name, _ in found} >= {"README.md", "docs/config.md"}
    for name, text in found:
        path = tmp_path / "heliobus.yaml"
        path.write_text(text, encoding="utf-8")
        assert config.read(path).warnings in ([], ()), name


def test_every_command_is_explained_somewhere() -> None:
    text = "\n".join(page for name, page in BY_NAME.items() if name.startswith(("README", "docs/")))
    missing = [name for name in cli.commands if not re.search(rf"heliobus (-\w+ )*{name}\b", text)]
    assert missing == []


@pytest.mark.parametrize("name", BY_NAME)
def test_every_make_target_that_a_page_names_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^|`)make(?: -C \w+)? ([a-z]+)", BY_NAME[name], re.MULTILINE)
    assert set(named) <= targets


# ---------------------------------------------------------------------- bridges/*/README.md

CONFIGURATIONS = {
    f"{path.parent.name}: sample.yaml": path.read_text()
    for path in ROOT.glob("bridges/*/sample.yaml")
} | {
    f"{name.removeprefix('bridges/')}: block {at}": block.text
    for name, page in BY_NAME.items()
    for at, block in enumerate(blocks(page))
    if name.startswith("bridges/") and block.text.startswith(("site:", "bridges:"))
}


@pytest.mark.parametrize("name", sorted(CONFIGURATIONS))
def test_every_configuration_of_a_bridge_is_accepted_as_it_stands(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mqtt").write_text("secret\n")
    (tmp_path / "secrets" / "mqtt").chmod(0o600)
    (tmp_path / "profiles").mkdir()
    own = (ROOT / "bridges/modbus/profiles/eastron_sdm120.yaml").read_text()
    (tmp_path / "profiles" / "my_meter.yaml").write_text(own)
    text, file, out = CONFIGURATIONS[name], tmp_path / "heliobus.yaml", io.StringIO()
    file.write_text(text if "site:" in text else "site: farm\n" + text)
    assert check.run(file, out) == 0
    assert "warning" not in out.getvalue()


CAPTURED = [
    (name, shown.text, said.text)
    for name, page in BY_NAME.items()
    for shown, said in pairwise(blocks(page))
    if name.startswith("bridges/") and re.match(r"echo .*heliobus decode", shown.text, re.DOTALL)
    if said.kind == "json"
]


@pytest.mark.parametrize(("name", "command", "said"), CAPTURED, ids=range(len(CAPTURED)))
def test_what_is_captured_decodes_as_the_page_of_its_bridge_shows(
    name: str, command: str, said: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", command.replace("heliobus ", '"$PYTHON" -m heliobus ')],
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, said, ""), name


# ---------------------------------------------------------------------- README.md

SECTIONS = (
    "Your own device",
    "Modbus devices",
    "Nothing gets lost",
    "What is here, and what comes",
    "Documentation",
)


def test_the_first_screen_has_the_picture_and_the_commands() -> None:
    first = "\n".join(README.splitlines()[:60])
    assert "docs/demo.svg" in first
    assert all(command in first for command in ("make demo", "make test", "mosquitto_sub -v -t"))


def test_the_readme_has_its_sections() -> None:
    titles = re.findall(r"^## (.*)$", README, re.MULTILINE)
    assert titles == list(SECTIONS)


def bus_lines(page: str) -> Iterator[tuple[str, str]]:
    for block in blocks(page):
        for line in block.text.splitlines():
            if block.kind in ("console", "text") and line.startswith("heliobus/"):
                topic, _, payload = line.partition(" ")
                yield topic, payload


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md", "docs/adding-a-bridge.md"])
def test_what_is_shown_of_the_bus_follows_the_contract(name: str) -> None:
    shown = list(bus_lines(BY_NAME[name]))
    assert shown
    for topic, payload in shown:
        address = Topics("demo").parse(topic)
        assert address is not None, topic
        if address.leaf == "availability":
            assert payload in ("online", "offline")
            continue
        body = json.loads(payload)
        schema = body["kind"] if address.leaf == "state" else address.leaf
        assert CONTRACT.check(schema, body) is None, topic


def test_the_picture_shows_titles_of_the_contract() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    kinds = [CONTRACT.kinds[name] for name in ("battery", "charger", "inverter", "meter")]
    titles = {kind.fields[name].title for kind in kinds for name in kind.main}
    heads = {Column(title, ()).cells()[0].strip() for title in titles}
    assert len([head for head in heads if f">{head}" in picture or f" {head}" in picture]) >= 8
    assert "online: " in picture


def test_the_picture_shows_the_whole_house() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    named = [name for _, devices in household.HOUSEHOLD.values() for name in devices]
    assert [name for name in (*household.HOUSEHOLD, *named) if name not in picture] == []


# ---------------------------------------------------------------------- docs/architecture.md


def test_the_table_of_layers_is_the_one_that_holds() -> None:
    table = ARCHITECTURE.partition("| layer | modules |\n|---|---|\n")[2].partition("\n\n")[0]
    shown = [set(re.findall(r"`(\w+)\.py`", row)) for row in table.splitlines()]
    assert shown == [set(names.split()) for names in LAYERS]


def test_every_module_of_the_kit_has_its_place_in_the_architecture() -> None:
    kit = {path.stem for path in (ROOT / "heliobus").glob("*.py")} - {"__init__"}
    named = set(re.findall(r"`(\w+)\.py`", ARCHITECTURE))
    assert sorted(kit - named) == []


def test_every_file_that_the_architecture_names_exists() -> None:
    for name in re.findall(r"`([\w/]+\.(?:py|json|conf|yaml))`", ARCHITECTURE):
        places = [ROOT / name, ROOT / "heliobus" / name, *ROOT.glob(f"*/*/{name}")]
        assert name == "heliobus.yaml" or any(place.exists() for place in places), name


def test_every_test_that_the_architecture_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", ARCHITECTURE)
    source = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    missing = [name for name in named if f"def {name}(" not in source]
    assert missing == []
    assert named


def test_the_pictures_are_whole() -> None:
    pictures = sorted((ROOT / "docs").glob("*.svg"))
    assert [picture.name for picture in pictures] == ["architecture.svg", "demo.svg"]
    for picture in pictures:
        root = ET.parse(picture).getroot()  # noqa: S314 - our own file
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
