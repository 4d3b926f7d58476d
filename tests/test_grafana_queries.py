"""Every query of every dashboard, asked of real servers that hold three days of a house."""

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from heliobus import contract
from heliobus.sample import Sample
from scripts.dashboards.pages import PAGES
from sinks.influx.layout import HeliobusLayout
from tests.databases import sink
from tests.grafana_expander import ZONE
from tests.grafana_house import END_MS, samples
from tests.grafana_servers import Metrics, Rows, Server, fault
from tests.influx_servers import InfluxDB1, VictoriaMetrics
from tests.servers import MariaDB
from tests.test_grafana_dashboards import provisioned

LANGUAGES = ("influxql", "mysql", "sqlite", "promql")
BATCH = 1000


@pytest.fixture(scope="module")
def house() -> list[Sample]:
    return samples(contract.load())


@pytest.fixture(scope="module")
def influxql(house: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """InfluxDB 1.x, filled by the sink's own lines."""
    layout = HeliobusLayout(contract.load())
    lines = [line for entry in layout.entries(house) for line in entry.lines]
    with InfluxDB1(tmp_path_factory.mktemp("influxdb")) as server:
        for begin in range(0, len(lines), BATCH):
            status, text = server.write(b"\n".join(lines[begin : begin + BATCH]))
            assert status == 204, text
        yield Server("influxql", server.query)


@pytest.fixture(scope="module")
def sqlite(house: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sqlite")
    _fill("sqlite:///history.db", house, folder)
    # Read-only, as the plugin opens it.
    connection = sqlite3.connect(f"file:{folder}/history.db?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    yield Server("sqlite", lambda text: [dict(row) for row in connection.execute(text)])
    connection.close()


@pytest.fixture(scope="module")
def mysql(
    house: list[Sample],
    mariadb_of_the_session: MariaDB,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    mariadb_of_the_session.ask("CREATE DATABASE grafana_house")
    url = f"{mariadb_of_the_session.url}/grafana_house"
    _fill(url, house, tmp_path_factory.mktemp("mysql"))
    # `timezone` of the data source becomes the time_zone of each session (pkg/tsdb/mysql).
    how = {"init_command": "SET time_zone = '+00:00'"}
    engine = sa.create_engine(url, connect_args=how)

    def ask(text: str) -> Rows:
        with engine.connect() as connection:
            return [dict(row) for row in connection.exec_driver_sql(text).mappings()]

    yield Server("mysql", ask)
    engine.dispose()
    mariadb_of_the_session.ask("DROP DATABASE grafana_house")


@pytest.fixture(scope="module")
def promql(house: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """VictoriaMetrics, filled by the sink's own lines, without text."""
    layout = HeliobusLayout(contract.load())
    layout.text = False
    entries = layout.entries(Metrics.earlier(house))
    lines = [line for entry in entries for line in entry.lines]
    with VictoriaMetrics(tmp_path_factory.mktemp("victoria")) as server:
        for begin in range(0, len(lines), BATCH):
            body = b"\n".join(lines[begin : begin + BATCH])
            status, text = server.post("/api/v2/write", body, bucket="heliobus", precision="ms")
            assert status == 204, text
        server.get("/internal/force_flush")
        yield Metrics("promql", lambda _: [], server)


@pytest.fixture(params=LANGUAGES)
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.mark.database
@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_every_query_gives_data(server: Server, name: str) -> None:
    page, faults = server.page(name), []
    for panel in page["panels"]:
        for target in panel.get("targets", ()):
            view = server.view(page, panel)
            rows = server.target(target, view)
            if found := fault(rows, panel):
                faults.append(f"{panel['title']} {target['refId']}: {found}")
    assert not faults


@pytest.mark.database
@pytest.mark.parametrize("server", LANGUAGES, indirect=True)
def test_a_day_of_energy_is_the_same_in_every_language(server: Server) -> None:
    by_meter = _by_day(server.rows("energy", "Meters by day", "A"), "meter_grid")
    # 0.5 kW for 24 hours; on the 19th the meter was replaced, which costs one quarter of an hour.
    assert by_meter["2026-11-19"] == pytest.approx(11.875)
    assert by_meter["2026-11-20"] == pytest.approx(12.0)


@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_a_column_of_sqlite_that_has_fractions_begins_with_one(sqlite: Server, name: str) -> None:
    # The plugin takes the type of a column from its first value, and would cut the others off.
    page = sqlite.page(name)
    for panel in page["panels"]:
        for target in panel.get("targets", ()):
            rows = sqlite.target(target, sqlite.view(page, panel))
            for column in rows[0]:
                kinds = [type(row[column]) for row in rows if row[column] is not None]
                assert float not in kinds or kinds[0] is float, (panel["title"], column)


def test_days_of_a_long_range_begin_at_midnight_of_the_person(promql: Server) -> None:
    page = promql.page("energy")
    panel = next(p for p in page["panels"] if p["title"] == "PV by day")
    view = promql.view({**page, "time": {"from": "now-90d"}}, panel)
    rows = promql.target(panel["targets"][0], view)
    assert {row["time"] % 86_400 for row in rows} == {23 * 3600}  # 00:00 in Berlin
    (source,) = provisioned("promql", "datasources")
    assert source["jsonData"]["customQueryParameters"] == "nocache=1"


@pytest.mark.database
def test_a_device_whose_clock_is_an_hour_late_has_the_right_day(server: Server) -> None:
    # Its counter falls to 0 at midnight UTC, which is 01:00 in Berlin.
    by_inverter = _by_day(server.rows("opendtu", "Yield by day"), "roof")
    assert by_inverter["2026-11-19"] == pytest.approx(6.927)
    assert by_inverter["2026-11-20"] == pytest.approx(5.938)


@pytest.mark.database
def test_where_the_load_is_not_measured_the_house_is_what_inverters_with_a_battery_deliver(
    server: Server, house: list[Sample]
) -> None:
    (newest,) = [s for s in house if s.device == "inverter" and s.time_ms == END_MS]
    assert "load_w" not in newest.values
    assert server.flow("inverter")["house"] == newest.values["output_w"]
    assert "grid" not in server.flow("inverter")
    assert server.flow("site") == pytest.approx(
        {
            "pv": 3970.8,
            "house": 700.0,
            "battery": 2478.1,
            "grid": -120.0,
            "generator": 0,
            "soc": 89.7,
        }
    )


def _fill(url: str, house: Sequence[Sample], folder: Path) -> None:
    archive = sink(url, folder)
    archive.open()
    try:
        for begin in range(0, len(house), BATCH):
            written = archive.write(house[begin : begin + BATCH], {})
            assert not written.rejected
    finally:
        archive.close()


def _by_day(rows: Rows, device: str) -> dict[str, float]:
    """Give the values of a device by the local day of Berlin; times are s or ms since 1970."""
    found = {}
    for row in rows:
        if device not in str(row.get("device") or row.get("metric")):
            continue
        at_s = row["time"] / 1000 if row["time"] > 10**11 else row["time"]
        day = datetime.fromtimestamp(float(at_s), ZoneInfo(ZONE)).date()
        found[day.isoformat()] = float(row["value"])
    return found
