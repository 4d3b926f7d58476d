"""The energy flow of the overview: what is seen at which power, and that nothing is beside it."""

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from scripts.dashboards.__main__ import FOLDER
from tests.grafana_expander import KEYS

Json = Mapping[str, Any]
VARIANTS = sorted(path.name for path in FOLDER.iterdir())


def canvas(variant: str) -> Json:
    """Give the panel."""
    page = json.loads((FOLDER / variant / "overview.json").read_text())
    (found,) = [panel for panel in page["panels"] if panel["type"] == "canvas"]
    panel: Json = found
    return panel


def elements(panel: Json) -> dict[str, Json]:
    """Give what is drawn, by name."""
    return {each["name"]: each for each in panel["options"]["root"]["elements"]}


def properties(panel: Json) -> dict[str, Json]:
    """Give what is different for each column."""
    return {
        each["matcher"]["options"]: {one["id"]: one["value"] for one in each["properties"]}
        for each in panel["fieldConfig"]["overrides"]
    }


def color(panel: Json, column: str, power_w: float | None) -> str:
    """Give the colour of a column; Grafana takes the first step where there is no value."""
    found = ""
    for step in properties(panel)[column]["thresholds"]["steps"]:
        if step["value"] is None or (power_w is not None and power_w >= step["value"]):
            found = step["color"]
    return found


def seen(panel: Json, node: str, power_w: float | None) -> list[tuple[str, str, float, str]]:
    """Give the arrows that are seen: from where, to where, how thick, in which colour."""
    arrows = []
    for each in elements(panel).values():
        for arrow in each["connections"]:
            column = arrow["color"]["field"]
            if column.startswith(node):
                drawn = color(panel, column, power_w)
                arrows.append((each["name"], arrow["targetName"], arrow["size"]["fixed"], drawn))
    return [arrow for arrow in arrows if arrow[-1] != "transparent"]


@pytest.fixture(params=VARIANTS)
def panel(request: pytest.FixtureRequest) -> Json:
    return canvas(request.param)


@pytest.mark.parametrize(
    ("node", "power_w", "arrows"),
    [
        ("pv", 5, []),
        ("pv", 25, [("pv", "Inverter", 1.5, "yellow")]),
        ("pv", 1000, [("pv", "Inverter", 2.5, "yellow")]),
        ("pv", 9000, [("pv", "Inverter", 4, "yellow")]),
        ("house", 700, [("Inverter", "house", 1.5, "blue")]),
        ("battery", 1500, [("Inverter", "battery", 2.5, "green")]),
        ("battery", -1500, [("battery", "Inverter", 2.5, "blue")]),
        ("battery", -25, [("battery", "Inverter", 1.5, "blue")]),
        ("battery", -5, []),
        ("grid", 400, [("grid", "Inverter", 1.5, "purple")]),
        ("grid", -4000, [("Inverter", "grid", 4, "green")]),
        ("generator", 2000, [("generator", "Inverter", 2.5, "orange")]),
    ],
)
def test_an_arrow_points_to_who_is_fed_and_is_thicker_for_more(
    panel: Json, node: str, power_w: float, arrows: list[Any]
) -> None:
    assert seen(panel, node, power_w) == arrows


@pytest.mark.parametrize("node", ["pv", "house", "battery", "grid", "generator"])
def test_what_is_not_known_has_no_arrow(panel: Json, node: str) -> None:
    assert seen(panel, node, None) == []


def test_a_word_says_what_the_sign_means(panel: Json) -> None:
    words = {
        name: [
            (each["options"]["from"], each["options"]["to"], each["options"]["result"]["text"])
            for each in found["mappings"]
        ]
        for name, found in properties(panel).items()
        if "mappings" in found
    }
    assert words == {
        "battery_word": [
            (-1e9, -20, "discharging"),
            (-20, 20, "idle"),
            (20, 1e9, "charging"),
        ],
        "grid_word": [(-1e9, -20, "export"), (-20, 20, "idle"), (20, 1e9, "import")],
    }


def test_what_is_not_measured_says_so_and_a_generator_that_is_not_there_is_not_seen(
    panel: Json,
) -> None:
    shown = elements(panel)
    assert shown["grid power"]["config"]["text"]["fixed"] == "not measured"
    for name in ("generator", "generator title", "generator power"):
        known = shown[name]["config"].get("color") or shown[name]["border"]["color"]
        assert known in ({"field": "generator", "fixed": "transparent"}, {"fixed": "text"})
    assert shown["generator power"]["config"]["text"]["fixed"] == ""
    assert color(panel, "generator", None) == "transparent"
    assert color(panel, "generator", 0) == "orange"


def test_every_arrow_leads_from_one_thing_that_is_there_to_another(panel: Json) -> None:
    names = set(elements(panel))
    for each in elements(panel).values():
        for arrow in each["connections"]:
            assert arrow["targetName"] in names - {each["name"]}
            assert arrow["path"] == "straight"


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_column_that_is_drawn_is_asked_for(variant: str) -> None:
    found = canvas(variant)
    asked = " ".join(target[KEYS[variant]] for target in found["targets"])
    drawn = set(re.findall(r'"field": "(\w+)"', json.dumps(found["options"])))
    assert drawn == set(properties(found))
    assert {name for name in drawn if not re.search(rf"\b{name}\b", asked)} == set()


def test_no_box_and_no_text_covers_another(panel: Json) -> None:
    drawn = [each for each in elements(panel).values() if not each["name"].endswith(" way")]
    boxes = [each for each in drawn if not each["config"] or each["name"] == "Inverter"]
    texts = [each for each in drawn if each["config"]]
    assert len(boxes) == 6
    for group in (boxes, texts):
        for one, other in itertools.combinations(group, 2):
            assert apart(one["placement"], other["placement"]), (one["name"], other["name"])


def apart(one: Json, other: Json) -> bool:
    """Say whether two places in percent, each from its own side, do not meet."""
    beside = one["left"] >= 100 - other["right"] or other["left"] >= 100 - one["right"]
    below = one["top"] >= 100 - other["bottom"] or other["top"] >= 100 - one["bottom"]
    return bool(beside or below)


def test_grafana_brings_the_picture_up_to_date(panel: Json) -> None:
    # Its migrations ask for the version that wrote the options, as a number.
    assert float(panel["pluginVersion"].rpartition(".")[0]) == 10.4
