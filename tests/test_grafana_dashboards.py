"""The dashboards as files: whole, in place, the newest, and true to the contract."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from heliobus import config
from heliobus.contract import load
from scripts.dashboards.__main__ import FOLDER, files, main, stale
from scripts.dashboards.meaning import UNITS
from scripts.dashboards.model import Look, Shape
from scripts.dashboards.pages import PAGES
from tests.helpers import ROOT

Json = Mapping[str, Any]
VARIANTS = ("flux", "influxql", "mysql", "sqlite")
SCREEN = 24
GRAFANA = ROOT / "grafana"


def dashboards() -> Iterator[tuple[str, Json]]:
    """Give every committed dashboard."""
    for path in sorted(FOLDER.glob("*/*.json")):
        yield f"{path.parent.name}/{path.stem}", json.loads(path.read_text())


DASHBOARDS = dict(dashboards())


@pytest.fixture(params=sorted(DASHBOARDS))
def dashboard(request: pytest.FixtureRequest) -> Json:
    return DASHBOARDS[request.param]


def test_the_committed_dashboards_are_the_newest() -> None:
    assert list(stale(files())) == []
    assert main(["--check"]) == 0


def test_every_variant_has_every_page() -> None:
    assert set(DASHBOARDS) == {f"{v}/{page.name}" for v in VARIANTS for page in PAGES}


def test_every_dashboard_has_an_address_of_its_own() -> None:
    uids = [one["uid"] for one in DASHBOARDS.values()]
    assert len(set(uids)) == len(uids)
    assert max(map(len, uids)) <= 40  # Grafana's limit


def test_it_is_classic_json_that_can_be_imported_by_hand(dashboard: Json) -> None:
    assert 39 <= dashboard["schemaVersion"] <= 41
    assert "__inputs" not in dashboard
    assert "spec" not in dashboard
    assert "elements" not in dashboard


def test_every_panel_has_its_own_number(dashboard: Json) -> None:
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_no_panel_covers_another(dashboard: Json) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= SCREEN
        for x, y in itertools.product(range(place["w"]), range(place["h"])):
            cell = (place["x"] + x, place["y"] + y)
            assert cell not in taken, f"{panel['title']} covers {taken[cell]}"
            taken[cell] = panel["title"]


def test_every_line_of_panels_fills_the_screen(dashboard: Json) -> None:
    widths: dict[int, int] = {}
    for panel in dashboard["panels"]:
        widths[panel["gridPos"]["y"]] = widths.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    assert set(widths.values()) == {SCREEN}


def test_every_question_goes_to_the_chosen_data_source(dashboard: Json) -> None:
    first = dashboard["templating"]["list"][0]
    assert (first["type"], first["name"]) == ("datasource", "datasource")
    for panel in dashboard["panels"]:
        for part in (panel, *panel.get("targets", ())):
            if panel["type"] != "row":
                assert part["datasource"] == {"type": first["query"], "uid": "${datasource}"}
    for variable in dashboard["templating"]["list"][1:]:
        assert variable["datasource"]["uid"] == "${datasource}"


def test_every_panel_says_what_it_shows_and_in_which_unit(dashboard: Json) -> None:
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None
        assert "noValue" in defaults


def test_only_panels_of_grafana_itself_are_used(dashboard: Json) -> None:
    core = {"row", "stat", "gauge", "bargauge", "timeseries", "barchart", "state-timeline", "table"}
    assert {panel["type"] for panel in dashboard["panels"]} <= core | {"canvas"}


def test_every_page_leads_to_the_others_of_its_variant(dashboard: Json) -> None:
    (link,) = dashboard["links"]
    assert set(link["tags"]) <= set(dashboard["tags"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_field_is_in_the_contract(page: Any) -> None:
    contract = load()
    for query in page.queries:
        for kind, name in itertools.product(page.kinds(query), query.fields):
            field = contract.families.get(f"^{name}$") or contract.field(kind, name)
            assert field is not None, f"{kind}.{name}"
            assert kind in field.kinds, f"{kind}.{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_chosen_device_is_of_the_kind_that_is_asked(page: Any) -> None:
    for query in page.queries:
        assert not page.devices or query.every_device or query.kind == page.devices


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_of_one_device_is_in_a_row_of_that_device(page: Any) -> None:
    for row in page.rows:
        shapes = {query.shape for panel in row.panels for query in panel.queries}
        assert row.each_device == bool(shapes & {Shape.FAMILY, Shape.FAMILY_LATEST})


def test_where_there_is_a_sign_the_description_says_it() -> None:
    signed = {"battery_w", "battery_a", "grid_w", "power_w"}
    for page in PAGES:
        for panel in page.panels:
            fields = {name for query in panel.queries for name in query.fields}
            if fields & signed and panel.look is not Look.STACK and page.name != "power-room":
                assert re.search("ositive|Into the battery|each charger sees", panel.description), (
                    page.name,
                    panel.title,
                )


def test_every_unit_of_the_contract_has_one_in_grafana() -> None:
    assert set(load().units.values()) == set(UNITS)


def test_every_word_of_a_mode_has_a_colour() -> None:
    panels = DASHBOARDS["influxql/inverter"]["panels"]
    (mode,) = [panel for panel in panels if panel["title"] == "Mode"]
    (words,) = mode["fieldConfig"]["defaults"]["mappings"]
    assert set(words["options"]) == set(load().fields["mode"].enum)
    assert words["options"]["fault"]["color"] == "red"
    assert all(word["color"] for word in words["options"].values())


def test_influxql_has_no_slash_behind_what_grafana_would_escape() -> None:
    for name, one in DASHBOARDS.items():
        if name.startswith("influxql/"):
            for panel in one["panels"]:
                for target in panel.get("targets", ()):
                    for variable in ("$__interval", "$__timezone"):
                        *_, behind = target["query"].rpartition(variable)
                        assert variable not in target["query"] or "/" not in behind


def test_members_of_a_family_keep_the_name_that_is_shortened() -> None:
    for panel in DASHBOARDS["influxql/battery"]["panels"]:
        steps = {step["id"]: step["options"] for step in panel.get("transformations", ())}
        if "renameByRegex" in steps:
            (target,) = panel["targets"]
            assert target["alias"] == "$col"
            pattern = steps["renameByRegex"]["regex"]
            shown = [re.sub(pattern, r"\1", name) for name in MEMBERS if re.match(pattern, name)]
            assert shown == ["1", "16"], panel["title"]


MEMBERS = tuple(
    name.format(number)
    for name in ("mean_cell_{}_v", "last_cell_{}_balancing", "mean_temperature_{}_c")
    for number in ("01", "16")
)


# ---------------------------------------------------------------- provisioning


def provisioned(folder: str) -> Iterator[tuple[Path, Json]]:
    """Give the files that Grafana reads as they are, and those to choose from."""
    for path in sorted(GRAFANA.glob(f"*/{folder}/*.yaml")):
        yield path, yaml.safe_load(path.read_text())


def test_provisioned_data_sources_are_those_of_the_dashboards() -> None:
    sources = {s["uid"]: s for _, file in provisioned("datasources") for s in file["datasources"]}
    assert set(sources) == {f"heliobus-{variant}" for variant in VARIANTS}
    for one in DASHBOARDS.values():
        chosen = one["templating"]["list"][0]
        assert sources[chosen["current"]["value"]]["type"] == chosen["query"]
        assert sources[chosen["current"]["value"]]["name"] == chosen["current"]["text"]


def test_provisioning_holds_no_secret() -> None:
    for _, file in provisioned("datasources"):
        for source in file["datasources"]:
            for value in source.get("secureJsonData", {}).values():
                assert re.fullmatch(r"(Token )?\$__file\{[^}]+\}", value)


def test_what_is_provisioned_from_the_start_needs_nothing_but_influxdb() -> None:
    # Grafana does not start when a file of a secret is missing, or shows pages without a source.
    given = {path.stem for path in (GRAFANA / "provisioning").glob("*/*.yaml")}
    assert given == {"influxdb", "influxql"}


def test_each_variant_is_provisioned_from_its_folder() -> None:
    found = {
        provider["name"]: provider["options"]["path"]
        for _, file in provisioned("dashboards")
        for provider in file["providers"]
    }
    assert set(found) == {f"heliobus-{variant}" for variant in VARIANTS}
    for name, path in found.items():
        assert path.endswith(f"/dashboards/{name.removeprefix('heliobus-')}")


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/home.json")), ids=str)
def test_the_first_page_of_an_example_leads_to_dashboards_that_exist(path: Path) -> None:
    (panel,) = json.loads(path.read_text())["panels"]
    named = re.findall(r"\(/d/([\w-]+)(?:\?kiosk)?\)", panel["options"]["content"])
    assert named
    assert set(named) <= {one["uid"] for one in DASHBOARDS.values()}


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/heliobus.yaml")), ids=str)
def test_the_configuration_of_an_example_is_valid(path: Path) -> None:
    assert config.read(path).warnings in ([], ())


def test_every_example_has_its_page() -> None:
    for folder in ROOT.glob("examples/*/"):
        assert (folder / "README.md").is_file()
        assert (folder / "home.json").is_file()
