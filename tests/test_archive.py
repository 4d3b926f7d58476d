"""Questions to the archive, and what `heliobus history` prints."""

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliobus import contract
from heliobus.archive import Archive, history_command, open_archive
from heliobus.database import locate
from heliobus.errors import ConfigError
from heliobus.history import MOST_LINES, Bucket, Column, Point, Span, step_s
from heliobus.sample import Sample, Values
from heliobus.settings import Settings
from sinks.sql import Sql
from tests.databases import DATABASES, fresh, opened, settings, sink
from tests.samples import BEGIN_MS, sample


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield from fresh(request, tmp_path)


@pytest.fixture
def sql(url: str, tmp_path: Path) -> Iterator[Sql]:
    with opened(url, tmp_path) as one:
        yield one


@pytest.fixture
def archive(url: str, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive(locate("archive", url, tmp_path), contract.load())
    yield opened
    opened.close()


EVER = Span()


def volts(second: float, battery_v: float, **more: str) -> Sample:
    return sample(second, values={"battery_v": battery_v}, **more)


def points(
    archive: Archive, field: str, span: Span = EVER, limit: int | None = None
) -> list[Point]:
    device = archive.device("inverter")
    assert device is not None
    return archive.history(device, field, span, limit)


# ---------------------------------------------------------------- queries


def test_an_archive_without_samples_has_no_devices(sql: Sql, archive: Archive) -> None:
    sql.info("farm", "inverter", {"kind": "inverter", "maker": "Voltronic"})
    assert archive.devices() == []


def test_devices_are_listed_with_what_they_said(sql: Sql, archive: Archive) -> None:
    sql.info("farm", "inverter", {"bridge": "axpert", "kind": "inverter", "maker": "Voltronic"})
    sql.write([sample(1), sample(9)], {})
    sql.write([sample(2, device="bus", kind="event", values={"event": "x"})], {})
    sql.write([sample(3, site="barn", bridge=None, device="meter", kind="meter")], {})
    barn, farm = archive.devices()
    assert (barn.site, barn.name, barn.kind, list(barn.ids.values())) == (
        "barn", "meter", "meter", [""],
    )  # fmt: skip
    assert (farm.site, farm.name, farm.maker) == ("farm", "inverter", "Voltronic")
    assert (farm.first_ms, farm.last_ms) == (BEGIN_MS + 1000, BEGIN_MS + 9000)
    assert archive.devices("barn") == [barn]


def test_two_bridges_of_one_device_are_merged_by_time(sql: Sql, archive: Archive) -> None:
    sql.write([volts(1, 1.0), volts(3, 3.0), volts(5, 5.0)], {})
    sql.write([volts(2, 2.0, bridge="other"), volts(4, 4.0, bridge="other")], {})
    sql.write([volts(6, 6.0, kind="battery")], {})
    assert [p.value for p in points(archive, "battery_v")] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    (device,) = archive.devices()
    newest = archive.latest(device)
    assert newest is not None
    assert (newest.kind, newest.values) == ("battery", {"battery_v": 6.0})


def test_a_span_includes_both_its_ends_and_the_limit_takes_the_newest(
    sql: Sql, archive: Archive
) -> None:
    sql.write([volts(n, float(n)) for n in range(10)], {})
    span = Span(BEGIN_MS + 2000, BEGIN_MS + 7000)
    assert [p.value for p in points(archive, "battery_v", span)] == [2, 3, 4, 5, 6, 7]
    assert [p.value for p in points(archive, "battery_v", span, limit=2)] == [6, 7]
    assert points(archive, "battery_v", limit=0) == []


def test_pages_join_without_a_gap_in_both_directions(sql: Sql, archive: Archive) -> None:
    sql.write([volts(n / 100, float(n)) for n in range(4100)], {})
    device = archive.device("inverter")
    assert device is not None
    assert [p.value for p in archive.points(device, "battery_v")] == list(range(4100))
    assert [p.value for p in points(archive, "battery_v", limit=4090)] == list(range(10, 4100))


def test_a_field_that_became_known_later_is_whole(sql: Sql, archive: Archive) -> None:
    sql.write([sample(1, values={"grid_v": "n/a"}), sample(2, values={"grid_v": 230.5})], {})
    assert [p.value for p in points(archive, "grid_v")] == ["n/a", 230.5]


def test_the_fields_of_a_device_are_those_that_it_has(sql: Sql, archive: Archive) -> None:
    sql.write([sample(1, values={"grid_v": 230.0}), sample(2, values={"novel_w": 1})], {})
    (device,) = archive.devices()
    assert archive.fields(device) == ["grid_v", "novel_w"]


def test_booleans_and_lists_come_back_as_such(sql: Sql, archive: Archive) -> None:
    values: Values = {"charging": True, "alarms": ["low", "a, b"]}
    sql.write([sample(1, kind="battery", values=values)], {})
    assert points(archive, "charging")[0].value is True
    assert points(archive, "alarms")[0].value == ["low", "a, b"]


def test_buckets_sum_up_columns_and_json_alike(sql: Sql, archive: Archive) -> None:
    sql.write([sample(n, values={"battery_v": float(n), "novel_w": n}) for n in range(10)], {})
    sql.write([volts(2, 100.0, bridge="other")], {})
    (device,) = archive.devices()
    buckets = archive.buckets(device, "battery_v", Span(), bucket_s=5)
    assert buckets == [Bucket(BEGIN_MS, 0, 110, 100, 6), Bucket(BEGIN_MS + 5000, 5, 35, 9, 5)]
    assert buckets[1].mean == 7
    novel = archive.buckets(device, "novel_w", Span(BEGIN_MS + 3000), bucket_s=5)
    assert novel == [Bucket(BEGIN_MS, 3, 7, 4, 2), Bucket(BEGIN_MS + 5000, 5, 35, 9, 5)]
    assert archive.buckets(device, "mode", Span(), bucket_s=5) == []


def test_a_boolean_is_summed_up_as_its_share(sql: Sql, archive: Archive) -> None:
    sql.write([sample(n, kind="battery", values={"charging": n < 1}) for n in range(4)], {})
    (device,) = archive.devices()
    assert archive.buckets(device, "charging", Span(), bucket_s=60) == [
        Bucket(BEGIN_MS, 0, 1, 1, 4)
    ]


def test_days_may_begin_at_local_midnight(sql: Sql, archive: Archive) -> None:
    sql.write([volts(0, 1.0), volts(13 * 3600, 2.0)], {})  # 10:00 and 23:00 UTC
    (device,) = archive.devices()
    days = archive.buckets(device, "battery_v", Span(), bucket_s=86400, offset_s=3600)
    assert [day.time_ms - BEGIN_MS for day in days] == [-11 * 3600_000, 13 * 3600_000]


def test_a_file_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    missing = Archive(locate("archive", f"sqlite:///{tmp_path}/none.db", tmp_path), contract.load())
    with pytest.raises(ConfigError, match=r"none\.db: there is no such file yet"):
        missing.devices()
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("length_s", "step"),
    [(0, 1), (48, 1), (49, 2), (3600, 120), (86400, 1800), (86400 * 365, 86400 * 8)],
)
def test_a_table_is_never_longer_than_a_window(length_s: int, step: int) -> None:
    assert step_s(Span(0, length_s * 1000)) == step
    assert length_s / step < MOST_LINES


# ---------------------------------------------------------------- heliobus history


@pytest.fixture
def farm(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Give the settings of an archive that holds an hour; it is 11:00 UTC in Berlin's winter."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    monkeypatch.setattr("heliobus.archive.time.time", lambda: BEGIN_MS / 1000 + 3600)
    opened = sink(url, tmp_path)
    modes = ["line"] * 300 + ["battery"] * 420
    opened.write(
        [
            sample(n * 5, values={"battery_v": 50 + n / 720, "mode": mode, "alarms": []})
            for n, mode in enumerate(modes)
        ],
        {},
    )
    opened.close()
    yield Settings(site="farm", folder=tmp_path, data=tmp_path, sinks={"archive": settings(url)})
    monkeypatch.undo()
    time.tzset()


def printed(farm: Settings, field: str, since_s: float = 86400, *, csv: bool = False) -> list[str]:
    out = io.StringIO()
    assert history_command(farm, "inverter", field, since_s=since_s, csv=csv, out=out) == 0
    return out.getvalue().splitlines()


def test_many_numbers_are_summed_up_in_local_time(farm: Settings) -> None:
    lines = printed(farm, "battery_v")
    assert lines[:4] == [
        "inverter battery_v (V), one line per 2 min",
        "from                       min   mean    max",
        "2026-11-21 11:00:00 CET  50.00  50.02  50.03",
        "2026-11-21 11:02:00 CET  50.03  50.05  50.07",
    ]
    assert lines[-1] == "min 50.00 V  mean 50.50 V  max 51.00 V  count 720"
    assert len(lines) == 33


def test_few_numbers_are_listed_as_they_were(farm: Settings) -> None:
    assert printed(farm, "battery_v", 12) == [
        "time                         inverter battery_v (V)",
        "2026-11-21 11:59:50.000 CET  51.00",
        "2026-11-21 11:59:55.000 CET  51.00",
        "min 51.00 V  mean 51.00 V  max 51.00 V  count 2",
    ]


def test_of_text_only_the_changes_are_listed(farm: Settings) -> None:
    assert printed(farm, "mode") == [
        "since                        inverter mode",
        "2026-11-21 11:00:00.000 CET  line",
        "2026-11-21 11:25:00.000 CET  battery",
        "count 720  changes 1",
    ]
    assert printed(farm, "alarms")[1:] == ["2026-11-21 11:00:00.000 CET  -", "count 720  changes 0"]


def test_csv_has_every_value_in_utc(farm: Settings) -> None:
    lines = printed(farm, "battery_v", csv=True)
    assert lines[:2] == ["time,battery_v", "2026-11-21T10:00:00.000Z,50.0"]
    assert len(lines) == 721


def test_a_wrong_name_is_said_with_a_suggestion(farm: Settings) -> None:
    for device, field, said in (
        ("invertor", "battery_v", "no device 'invertor'; did you mean 'inverter'?"),
        ("inverter", "batery_v", "no field 'batery_v' in the archive; did you mean 'battery_v'?"),
    ):
        with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
            history_command(farm, device, field, since_s=60, csv=False, out=io.StringIO())


def test_a_component_is_shown_where_no_device_has_its_name_or_by_its_kind(
    farm: Settings, url: str, tmp_path: Path
) -> None:
    opened = sink(url, tmp_path)
    health = {"bridge": None, "kind": "component", "values": {"uptime_s": 7.0}}
    opened.write([sample(10, device=name, **health) for name in ("inverter", "axpert")], {})
    opened.close()
    with pytest.raises(ConfigError, match=r"^inverter \(inverter\) has no field 'uptime_s'"):
        printed(farm, "uptime_s")
    for device, kind in (("inverter", "component"), ("axpert", "")):
        out = io.StringIO()
        history_command(farm, device, "uptime_s", since_s=86400, csv=True, out=out, kind=kind)
        assert out.getvalue().splitlines()[1:] == ["2026-11-21T10:00:10.000Z,7.0"]
    out = io.StringIO()
    history_command(farm, "axpert", "uptime_s", since_s=86400, csv=False, out=out)
    assert out.getvalue().split("\n")[0].endswith("  component axpert uptime_s (s)")
    with pytest.raises(ConfigError, match="no meter 'inverter'"):
        history_command(
            farm, "inverter", "x", since_s=60, csv=False, out=io.StringIO(), kind="meter"
        )


def test_before_the_first_sample_it_says_what_may_hold_it_back(url: str, tmp_path: Path) -> None:
    opened = sink(url, tmp_path)
    values = {"uptime_s": 7.0}
    opened.write([sample(device="axpert", bridge=None, kind="component", values=values)], {})
    opened.close()
    early = Settings(site="farm", folder=tmp_path, data=tmp_path, sinks={"a": settings(url)})
    with pytest.raises(ConfigError, match=r"nothing has been stored yet; first samples may wait"):
        history_command(early, "inverter", "pv_w", since_s=60, csv=False, out=io.StringIO())


def test_no_value_in_that_time_is_said(farm: Settings) -> None:
    out = io.StringIO()
    assert history_command(farm, "farm/inverter", "battery_v", since_s=1, csv=False, out=out) == 1
    assert out.getvalue() == (
        "inverter battery_v: no value in that time;"
        " the newest is of 2026-11-21T10:59:55.000Z, see --since\n"
    )


def test_a_configuration_without_an_archive_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no archive: the configuration has no sink of"):
        open_archive(Settings(site="farm", folder=tmp_path, data=tmp_path))


def test_values_are_written_for_people() -> None:
    plain, exact = Column("meter", "power_w"), Column("meter", "power_w", "W", 1)
    assert [plain.text(v) for v in (True, 5, 5.25, 100.0, "x", ["a", "b"])] == [
        "true", "5", "5.25", "100", "x", "a, b",
    ]  # fmt: skip
    assert [exact.text(v) for v in (5, 5.25, 100.0)] == ["5.0", "5.2", "100.0"]
