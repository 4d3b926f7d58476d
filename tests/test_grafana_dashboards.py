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
VARIANTS = ("flux", "influxql", "mysql", "promql", "sqlite")
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


def columns(name: str) -> dict[str, Json]:
    """Give the columns of the table of newest values of a page, by what Grafana calls them."""
    (table,) = [
        panel
        for panel in DASHBOARDS[name]["panels"]
        if panel["type"] == "table" and panel["title"].startswith("Each")
    ]
    return {
        each["matcher"]["options"]: {one["id"]: one["value"] for one in each["properties"]}
        for each in table["fieldConfig"]["overrides"]
    }


def test_without_text_a_code_has_words_only_where_it_is_a_place_in_the_contract_s_list() -> None:
    # An Axpert says 66 for `battery`; the sink numbers the roles of components itself.
    mode = columns("promql/inverter")["Value #A"]
    assert mode["displayName"] == "Mode (code)"
    assert "mappings" not in mode
    (words,) = columns("promql/health")["Value #A"]["mappings"]
    assert {value: word["text"] for value, word in words["options"].items()} == {
        "0": "bridge",
        "1": "sink",
        "2": "broker",
    }


def test_without_text_a_column_is_a_query_and_has_the_name_of_its_value() -> None:
    for page in ("battery", "inverter", "meters", "opendtu", "health"):
        (table,) = [
            panel
            for panel in DASHBOARDS[f"promql/{page}"]["panels"]
            if panel["type"] == "table" and panel["title"].startswith("Each")
        ]
        refs = [f"Value #{target['refId']}" for target in table["targets"]]
        assert [name for name in columns(f"promql/{page}") if name != "device"] == refs
        assert {target["format"] for target in table["targets"]} == {"table"}
        assert [step["id"] for step in table["transformations"]] == ["merge", "organize"]


def test_without_text_no_panel_asks_for_it() -> None:
    titles = {name: {p["title"] for p in one["panels"]} for name, one in DASHBOARDS.items()}
    assert titles["influxql/overview"] - titles["promql/overview"] == {"Modes", "Events"}
    assert titles["influxql/health"] - titles["promql/health"] == {"Events"}
    assert titles["influxql/battery"] == titles["promql/battery"]


def test_a_step_of_a_day_stays_one_day_however_narrow_the_panel() -> None:
    for panel in DASHBOARDS["promql/energy"]["panels"]:
        for target in panel.get("targets", ()):
            assert target["interval"] == "1d"
            # Ten years of them.
            assert panel["maxDataPoints"] >= 3660


MEMBERS = tuple(
    name.format(number)
    for name in ("mean_cell_{}_v", "last_cell_{}_balancing", "mean_temperature_{}_c")
    for number in ("01", "16")
)


# ---------------------------------------------------------------- provisioning


def provisioned(variant: str, what: str) -> Iterator[Json]:
    """Give what Grafana reads when it is given the folder of a variant."""
    for path in sorted((GRAFANA / "provisioning" / variant / what).glob("*.yaml")):
        yield from yaml.safe_load(path.read_text())[
            {"datasources": "datasources", "dashboards": "providers"}[what]
        ]


def test_there_is_a_folder_to_provision_for_every_variant() -> None:
    folders = (GRAFANA / "provisioning").iterdir()
    assert {folder.name for folder in folders} == set(VARIANTS)
    for variant in VARIANTS:
        found = {path.name for path in (GRAFANA / "provisioning" / variant).iterdir()}
        assert found == {"datasources", "dashboards"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_comes_with_its_data_source_and_its_dashboards_only(variant: str) -> None:
    (provider,) = provisioned(variant, "dashboards")
    assert provider["name"] == f"heliobus-{variant}"
    assert provider["options"]["path"] == f"/etc/grafana/dashboards/{variant}"
    sources = {source["uid"]: source for source in provisioned(variant, "datasources")}
    (chosen,) = [source["uid"] for source in sources.values() if source.get("isDefault")]
    for name, one in DASHBOARDS.items():
        if name.startswith(f"{variant}/"):
            first = one["templating"]["list"][0]
            assert first["current"]["value"] == chosen == f"heliobus-{variant}"
            assert first["current"]["text"] == sources[chosen]["name"]
            assert first["query"] == sources[chosen]["type"]


@pytest.mark.parametrize(
    ("variant", "servers", "secrets"),
    [
        ("influxql", {"http://influxdb:8086"}, {"influx"}),
        ("flux", {"http://influxdb:8086"}, {"influx"}),
        ("mysql", {"mariadb:3306"}, {"mariadb"}),
        ("promql", {"http://victoriametrics:8428"}, set()),
        ("sqlite", {None}, set()),
    ],
)
def test_a_variant_needs_no_other_database_s_secret(
    variant: str, servers: set[str], secrets: set[str]
) -> None:
    # Grafana does not start while the file of a secret is missing.
    found = list(provisioned(variant, "datasources"))
    assert {source.get("url") for source in found} == servers
    files = re.findall(r"\$__file\{/etc/heliobus/reader/(\w+)\}", json.dumps(found))
    assert set(files) == secrets


@pytest.mark.parametrize("variant", VARIANTS)
def test_provisioning_holds_no_secret(variant: str) -> None:
    for source in provisioned(variant, "datasources"):
        for value in source.get("secureJsonData", {}).values():
            assert re.fullmatch(r"(Token )?\$__file\{[^}]+\}", value)


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/home.json")), ids=str)
def test_the_first_page_of_an_example_leads_to_dashboards_that_exist(path: Path) -> None:
    (panel,) = json.loads(path.read_text())["panels"]
    named = re.findall(r"\(/d/([\w-]+)(?:\?kiosk)?\)", panel["options"]["content"])
    assert named
    assert set(named) <= {one["uid"] for one in DASHBOARDS.values()}


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/heliobus.yaml")), ids=str)
def test_the_configuration_of_an_example_is_valid(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mqtt" / "users").mkdir(parents=True)  # by `heliobus broker init`
    copy = tmp_path / path.name
    copy.write_text(path.read_text())
    assert config.read(copy).warnings in ([], ())


def test_every_example_has_its_page() -> None:
    for folder in ROOT.glob("examples/*/"):
        assert (folder / "README.md").is_file()
        assert (folder / "home.json").is_file()
