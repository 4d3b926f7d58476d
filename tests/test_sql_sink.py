"""The SQL sink on real databases: SQLite always, and the servers of tests/databases.py."""

import itertools
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from heliobus import config, contract
from heliobus.archive import Archive
from heliobus.database import locate
from heliobus.errors import ConfigError, SinkError
from heliobus.sample import Value, Values, time_text
from sinks.sql import Sql
from tests.databases import DATABASES, fresh, opened, sink, stored
from tests.helpers import ROOT
from tests.samples import BEGIN_MS, KEY, sample

FOLDER = ROOT / "sinks" / "sql"


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield from fresh(request, tmp_path)


@pytest.fixture
def sql(url: str, tmp_path: Path) -> Iterator[Sql]:
    with opened(url, tmp_path) as one:
        yield one


@pytest.fixture
def query(url: str) -> Iterator[Callable[[str], list[Any]]]:
    """Ask the database in SQL, as a person would."""
    engine = sa.create_engine(url)

    def ask(text: str) -> list[Any]:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(text)
            return [tuple(row) for row in result] if result.returns_rows else []

    yield ask
    engine.dispose()


# ---------------------------------------------------------------- counting and cursors


def test_new_rows_and_rows_that_were_there_are_counted_apart(sql: Sql) -> None:
    first = sql.write([sample(1), sample(2), sample(3)], {})
    again = sql.write([sample(2), sample(3), sample(4)], {})
    assert (first.stored, first.rewritten, first.rejected) == (3, 0, [])
    assert (again.stored, again.rewritten, again.rejected) == (1, 2, [])


def test_a_sample_that_comes_twice_in_a_batch_is_stored_once(
    sql: Sql, url: str, tmp_path: Path
) -> None:
    older = sample(1, values={"battery_v": 51.0, "grid_v": 230.0})
    newer = sample(1, values={"battery_v": 52.0, "mode": "line"})
    written = sql.write([older, newer], {})
    assert (written.stored, written.rewritten) == (1, 1)
    assert stored(url, tmp_path) == [newer]


def test_a_rewritten_row_keeps_nothing_of_the_old_one(sql: Sql, url: str, tmp_path: Path) -> None:
    older = sample(1, values={"battery_v": 51.0, "grid_v": 230.0, "novel_w": 7})
    newer = sample(1, values={"battery_v": 52.0})
    sql.write([older], {})
    sql.write([newer], {})
    assert stored(url, tmp_path) == [newer]


def test_two_bridges_may_measure_one_device_in_the_same_millisecond(
    sql: Sql, url: str, tmp_path: Path
) -> None:
    one, other = sample(1), sample(1, bridge="other", values={"battery_v": 53.0})
    foreign = sample(1, bridge=None, values={"battery_v": 54.0})
    assert sql.write([one, other, foreign], {}).stored == 3
    assert {s.bridge for s in stored(url, tmp_path)} == {"axpert", "other", None}


def test_cursors_survive_and_may_go_backwards(sql: Sql, url: str, tmp_path: Path) -> None:
    sql.write([sample(1)], {KEY: 1000, ("farm", "bms", "battery"): -(1 << 62)})
    sql.write([], {KEY: 500})
    sql.close()
    again = sink(url, tmp_path)
    assert again.open() == {KEY: 500, ("farm", "bms", "battery"): -(1 << 62)}
    again.close()


def test_closing_twice_and_writing_after_it_work(sql: Sql) -> None:
    sql.close()
    sql.close()
    assert sql.write([sample(1)], {}).stored == 1


# ---------------------------------------------------------------- columns


def test_every_field_of_the_contract_has_its_column(
    sql: Sql, url: str, query: Callable[[str], list[Any]]
) -> None:
    quoted = sa.make_url(url).get_dialect()().identifier_preparer.quote
    sql.write(
        [sample(1, values={"battery_v": 52.1, "mode": "line", "alarms": ["low", "a, b"]})], {}
    )
    rows = query("SELECT battery_v, mode, alarms, other FROM inverter")
    assert rows == [(52.1, "line", '["low", "a, b"]', None)]
    for kind in contract.load().kinds.values():
        table = "events" if kind.name == "event" else kind.name
        names = ", ".join(quoted(name) for name in ["quality", "simulated", *kind.fields])
        assert len(query(f"SELECT {names} FROM {table}")) == (table == "inverter")


def test_a_table_of_an_older_contract_is_widened(
    url: str, tmp_path: Path, query: Callable[[str], list[Any]]
) -> None:
    old = sink(url, tmp_path)
    old.open()
    old.write([sample(1, kind="battery", values={"battery_v": 52.1})], {})
    old.close()
    query("ALTER TABLE battery DROP COLUMN soc_percent")
    new = sink(url, tmp_path)
    new.open()
    new.write([sample(2, kind="battery", values={"battery_v": 52.2, "soc_percent": 80.0})], {})
    new.close()
    rows = query("SELECT battery_v, soc_percent FROM battery ORDER BY time")
    assert rows == [(52.1, None), (52.2, 80.0)]


def test_a_member_of_a_family_gets_its_column_at_first_sight(
    sql: Sql, query: Callable[[str], list[Any]]
) -> None:
    sql.write([sample(1, kind="battery", values={"cell_01_v": 3.3})], {})
    sql.write([sample(2, kind="battery", values={"cell_01_v": 3.4, "cell_16_v": 3.5})], {})
    rows = query("SELECT cell_01_v, cell_16_v, other FROM battery ORDER BY time")
    assert rows == [(3.3, None, None), (3.4, 3.5, None)]


def test_more_members_than_a_table_has_room_for_are_kept_as_json(
    sql: Sql, url: str, tmp_path: Path
) -> None:
    families = [f"cell_{{:02}}_{unit}" for unit in ("v", "mohm", "c")]
    families += [f"module_{{:02}}_{unit}" for unit in ("v", "a", "w", "c", "soc_percent")]
    families += ["temperature_{:02}_c", "shunt_{:02}_a"]
    values: Values = {f.format(n): n + 0.5 for f in families for n in range(100)}
    many = sample(1, kind="battery", values=values)
    assert sql.write([many], {}).stored == 1
    assert stored(url, tmp_path) == [many]


def test_what_the_contract_does_not_know_is_kept_as_json(
    sql: Sql, url: str, tmp_path: Path, query: Callable[[str], list[Any]]
) -> None:
    novel = sample(1, values={"battery_v": 52.0, "flux_w": 5, "colour": "blue", "tags": ["x"]})
    sql.write([novel], {})
    (other,) = query("SELECT other FROM inverter")[0]
    other = json.loads(other) if isinstance(other, str) else other
    assert other == {"flux_w": 5, "colour": "blue", "tags": ["x"]}
    assert stored(url, tmp_path) == [novel]


def test_an_unknown_kind_is_stored_as_sensor_and_keeps_its_name(
    sql: Sql, url: str, tmp_path: Path, query: Callable[[str], list[Any]]
) -> None:
    pump = sample(1, device="pump", kind="heatpump", values={"temperature_c": 40.5, "flow_w": 3.0})
    sql.write([pump], {})
    assert query("SELECT temperature_c FROM sensor") == [(40.5,)]
    assert query("SELECT kind FROM devices") == [("heatpump",)]
    assert stored(url, tmp_path, "pump") == [pump]


def test_marks_are_kept(
    sql: Sql, url: str, tmp_path: Path, query: Callable[[str], list[Any]]
) -> None:
    marked = sample(1, marks={"quality": "estimated", "simulated": True, "contract": "9.9"})
    odd = sample(2, marks={"quality": 5, "simulated": "yes"})
    sql.write([marked, odd], {})
    assert query("SELECT quality FROM inverter ORDER BY time") == [("estimated",), (None,)]
    assert stored(url, tmp_path) == [marked, odd]


def test_events_have_a_table_of_their_own(sql: Sql, query: Callable[[str], list[Any]]) -> None:
    values: Values = {"event": "samples_lost", "text": "a hole"}
    sql.write([sample(1, device="bus", kind="event", values=values)], {})
    assert query("SELECT event, text FROM events") == [("samples_lost", "a hole")]


WRONG: list[tuple[str, Value]] = [
    ("battery_v", "high"),
    ("battery_v", True),
    ("battery_v", ["x"]),
    ("mode", 3),
    ("mode", "x\0y"),
    ("mode_code", 1.5),
    ("mode_code", 1 << 70),
    ("alarms", "overload"),
    ("alarms", [1]),  # type: ignore[list-item]  # what a careless publisher may send
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_of_the_wrong_type_goes_to_other(
    sql: Sql, url: str, tmp_path: Path, name: str, value: Value
) -> None:
    wrong = sample(1, values={"grid_v": 230.0, name: value})
    assert sql.write([wrong], {}).stored == 1
    assert stored(url, tmp_path) == [wrong]


def test_a_column_that_somebody_made_with_another_type_stops_nothing(
    sql: Sql, url: str, tmp_path: Path, query: Callable[[str], list[Any]]
) -> None:
    sql.close()
    query("ALTER TABLE inverter DROP COLUMN battery_v")
    query("ALTER TABLE inverter ADD COLUMN battery_v TEXT")
    sql.open()
    one = sample(1)
    assert sql.write([one], {}).stored == 1
    assert query("SELECT battery_v FROM inverter") == [(None,)]
    assert stored(url, tmp_path) == [one]


def test_a_foreign_table_of_the_same_name_is_refused_in_words(
    url: str, tmp_path: Path, query: Callable[[str], list[Any]]
) -> None:
    query("CREATE TABLE site (name VARCHAR(10))")
    sql = sink(url, tmp_path)
    with pytest.raises(ConfigError, match="the table site was not made by heliobus"):
        sql.open()
    sql.close()


def test_a_column_dropped_while_running_is_made_again(
    sql: Sql, query: Callable[[str], list[Any]]
) -> None:
    sql.write([sample(1)], {})
    query("ALTER TABLE inverter DROP COLUMN battery_v")
    with pytest.raises(SinkError, match="battery_v"):
        sql.write([sample(2)], {})
    sql.write([sample(2)], {})
    assert query("SELECT battery_v FROM inverter ORDER BY time") == [(None,), (52.1,)]


# ---------------------------------------------------------------- devices


def test_what_a_device_says_about_itself_is_kept(
    sql: Sql, query: Callable[[str], list[Any]]
) -> None:
    sql.write([sample(1)], {})
    info = {"bridge": "axpert", "kind": "inverter", "maker": "Voltronic", "serial": "92932001"}
    sql.info("farm", "inverter", {**info, "fields": {}})
    sql.info("farm", "early", {"kind": "meter", "role": "grid", "maker": 7})
    rows = query("SELECT bridge, device, kind, role, maker, serial FROM devices ORDER BY id")
    assert rows == [
        ("axpert", "inverter", "inverter", None, "Voltronic", "92932001"),
        ("", "early", "meter", "grid", None, None),
    ]
    sql.write([sample(2)], {})
    assert query("SELECT maker FROM devices WHERE device = 'inverter'") == [("Voltronic",)]


def test_text_of_others_is_data_never_sql(
    sql: Sql, url: str, tmp_path: Path, query: Callable[[str], list[Any]]
) -> None:
    evil = "x'); DROP TABLE inverter; -- \" ` % :name {} \\"
    one = sample(1, device=evil, bridge=evil, values={"mode": evil, evil: evil})
    assert sql.write([one], {("farm", evil, evil): 1}).stored == 1
    sql.info("farm", evil, {"bridge": evil, "maker": evil})
    assert query("SELECT maker FROM devices") == [(evil,)]
    assert stored(url, tmp_path, evil) == [one]


# ---------------------------------------------------------------- one bad row


def test_a_row_that_the_database_refuses_costs_no_other(
    sql: Sql, url: str, tmp_path: Path, query: Callable[[str], list[Any]]
) -> None:
    if url.startswith("mysql"):
        query("ALTER TABLE inverter ADD CONSTRAINT sane CHECK (battery_v < 100)")
    else:
        query("ALTER TABLE inverter ADD COLUMN sane INTEGER CHECK (battery_v < 100)")
    bad = {7, 8, 30}
    samples = [sample(n, values={"battery_v": 999.0 if n in bad else 52.0}) for n in range(40)]
    written = sql.write(samples, {KEY: 5})
    assert (written.stored, written.rewritten) == (37, 0)
    assert {s.time_ms for s, _ in written.rejected} == {BEGIN_MS + n * 1000 for n in bad}
    assert all("sane" in why or "battery_v" in why for _, why in written.rejected)
    assert [s for s in samples if s.values["battery_v"] != 999.0] == stored(url, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "d" * 200},
        {"values": {"mode": "half a pair \ud800"}},
        {"time_ms": 1 << 60},
        {"values": {"novel_w": float("nan")}},
    ],
)
def test_a_sample_that_no_row_can_hold_is_rejected_with_the_reason(
    sql: Sql, url: str, tmp_path: Path, changes: dict[str, Any]
) -> None:
    bad = replace(sample(1), **changes)
    written = sql.write([sample(0), bad, sample(2)], {("farm", "axpert", bad.device): 5})
    assert (written.stored, [s for s, _ in written.rejected]) == (2, [bad])
    assert written.rejected[0][1]
    assert stored(url, tmp_path) == [sample(0), sample(2)]


# ---------------------------------------------------------------- values


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
_VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    _TEXTS,
    st.lists(_TEXTS, max_size=3),
)


def test_whatever_passes_the_contract_comes_back_equal(sql: Sql, url: str, tmp_path: Path) -> None:
    known = contract.load()
    names = [*known.kinds["inverter"].fields, "pv_01_w", "novel_w", "colour"]
    archive = Archive(locate("archive", url, tmp_path), known)
    times = itertools.count(1)
    sql.write([sample(0, values={"pv_01_w": 1.0})], {})

    @given(st.dictionaries(st.sampled_from(names), _VALUES, max_size=8))
    @hypothesis_settings(max_examples=150, deadline=None)
    def same(values: Values) -> None:
        sent = sample(next(times), values=values)
        assert sql.write([sent], {}).stored == 1
        found = archive.device("inverter")
        assert found is not None
        got = archive.latest(found)
        assert got == sent
        assert [type(v) is bool for v in got.values.values()] == [
            type(sent.values[name]) is bool for name in got.values
        ]

    same()
    archive.close()


@pytest.mark.parametrize(
    "time_ms", [-62135596800000, -1, 0, 999, 1_795_255_200_001, 253402300799999]
)
def test_every_time_comes_back_to_the_millisecond(
    sql: Sql, url: str, tmp_path: Path, time_ms: int
) -> None:
    sql.write([replace(sample(), time_ms=time_ms)], {})
    assert [s.time_ms for s in stored(url, tmp_path)] == [time_ms]


def test_time_in_sqlite_is_text_that_its_date_functions_read(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    sql = sink(f"sqlite:///{file}", tmp_path)
    sql.write([sample(1.123)], {})
    rows = sqlite3.connect(file).execute("SELECT time, datetime(time), typeof(time) FROM inverter")
    assert rows.fetchall() == [("2026-11-21T10:00:01.123Z", "2026-11-21 10:00:01", "text")]
    sql.close()


# ---------------------------------------------------------------- retention


def test_only_what_is_older_than_keep_is_removed(url: str, tmp_path: Path) -> None:
    sql = sink(url, tmp_path, keep=60.0)
    sql.write([sample(n) for n in range(100)], {KEY: 1})
    sql.prune(BEGIN_MS + 100_000)
    assert [s.time_ms for s in stored(url, tmp_path)] == [
        BEGIN_MS + n * 1000 for n in range(40, 100)
    ]
    assert sql.open() == {KEY: 1}
    sql.close()


def test_without_keep_nothing_is_removed(sql: Sql, url: str, tmp_path: Path) -> None:
    sql.write([sample(1)], {})
    sql.prune(BEGIN_MS * 2)
    assert len(stored(url, tmp_path)) == 1


def test_a_large_backlog_is_removed_bit_by_bit_while_writing(url: str, tmp_path: Path) -> None:
    sql = sink(url, tmp_path, keep=60.0)
    sql.write([sample(n) for n in range(1800)], {})
    sql.prune(BEGIN_MS + 10_000_000)
    left = [1300]
    while left[-1] > 1:
        sql.write([sample(10_000)], {})
        left.append(len(stored(url, tmp_path)))
    assert left == [1300, 801, 301, 1]
    sql.close()


# ---------------------------------------------------------------- what the folder says


def test_the_sample_configuration_is_complete_and_valid() -> None:
    loaded = config.load(FOLDER / "sample.yaml")
    own = loaded.sinks["archive"]
    assert own.options == {"url": "sqlite:///history.db", "keep": 730 * 86400.0}
    Sql(own, folder=loaded.folder, data=loaded.data)


def test_the_query_in_the_readme_runs(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    sql = sink(f"sqlite:///{file}", tmp_path)
    now_ms = round(time.time() * 1000)
    one = sample(device="bank", kind="battery", values={"soc_percent": 80.0, "battery_v": 52.0})
    sql.write([replace(one, time_ms=now_ms)], {})
    (query,) = re.findall(r"```sql\n(-- .*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    ((hour, *values),) = sqlite3.connect(file).execute(query)
    assert (hour, values) == (time_text(now_ms)[:13], [80.0, None, 52.0])
    sql.close()
