"""The Flux of the dashboards: judged by InfluxData's own checker, and held against our lines.

There is no server here that runs Flux; InfluxQL and SQL are run in test_grafana_queries.py.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from heliobus import contract
from scripts.dashboards.__main__ import FOLDER
from sinks.influx.layout import HeliobusLayout
from tests.grafana_expander import View, expand_text
from tests.grafana_house import END_MS, samples
from tests.helpers import ROOT, lacking, require_program

CHECKER = ROOT / "tests" / "flux"
VALUES = {"site": ["farm"], "device": ["inverter", "roof"], "totals": ["site"]}
VIEW = View(END_MS, 86_400, VALUES)


def texts() -> Iterator[tuple[str, str]]:
    """Give the place and the text of every query and variable."""
    for path in sorted((FOLDER / "flux").glob("*.json")):
        page: Mapping[str, Any] = json.loads(path.read_text())
        for variable in page["templating"]["list"][1:]:
            yield f"{path.stem}, variable {variable['name']}", variable["query"]
        for panel in page["panels"]:
            for target in panel.get("targets", ()):
                place = f"{path.stem}, panel {panel['id']} {target['refId']}: {panel['title']}"
                yield place, target["query"]


TEXTS = dict(texts())


def judge(asked: list[str]) -> list[bool]:
    """Ask the checker."""
    node = require_program("node", package="nodejs")
    if not (CHECKER / "node_modules").is_dir():
        lacking("the checker of Flux is not installed: npm ci in tests/flux")
    done = subprocess.run(
        [node, "check.js"],
        cwd=CHECKER,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    verdicts: list[bool] = json.loads(done.stdout)
    return verdicts


def test_every_query_is_valid_flux() -> None:
    places = list(TEXTS)
    verdicts = judge([expand_text("flux", TEXTS[place], VIEW) for place in places])
    assert [place for place, good in zip(places, verdicts, strict=True) if not good] == []


def test_the_checker_knows_bad_flux() -> None:
    text = expand_text("flux", TEXTS["battery, panel 2 A: State of charge"], VIEW)
    wrong = [text.replace("last()", "lasst()"), text.replace("range(", "range(begin: 1h, ")]
    assert judge([text, *wrong]) == [True, False, False]


@pytest.fixture(scope="module")
def emitted() -> Mapping[str, set[str]]:
    """Give the fields of each measurement that the sink writes for the house."""
    found: dict[str, set[str]] = {}
    for entry in HeliobusLayout(contract.load()).entries(samples(contract.load())):
        for line in entry.lines:
            match = re.match(r"([a-z]+),device=\w+,site=\w+ (.*)", line.decode())
            assert match, line
            names = re.findall(r"(?:^|,)(\w+)=", match[2])
            found.setdefault(match[1], set()).update(names)
    return found


@pytest.mark.parametrize("place", TEXTS)
def test_what_is_asked_is_what_the_sink_writes(place: str, emitted: Mapping[str, set[str]]) -> None:
    text = TEXTS[place].replace("$totals", "site")
    columns = set(re.findall(r"\br\.(\w+)", text)) - {"_measurement", "_field", "_value"}
    pivoted = set(re.findall(r'r\._field == "(\w+)"', text)) if "pivot(" in text else set()
    assert columns - pivoted <= {"site", "device"}
    for kind in re.findall(r'r\._measurement == "(\w+)"', text):
        assert set(re.findall(r'r\._field == "(\w+)"', text)) <= emitted[kind]
        for pattern in re.findall(r"r\._field =~ /(.*?)/", text):
            assert any(re.search(pattern, name) for name in emitted[kind])
