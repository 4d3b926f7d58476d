"""The influx sink and a real VictoriaMetrics, which says "done" to anything, and too early."""

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliobus.errors import SinkError
from sinks.influx.server import Server
from sinks.influx.target import target
from sinks.influx.victoria import Report, Victoria, advice, ask_report, read_report
from tests.helpers import ROOT, wait_until
from tests.influx_proxy import Proxy
from tests.influx_servers import VictoriaMetrics
from tests.influx_sink import influx, settings
from tests.samples import KEY, sample

pytestmark = pytest.mark.database

DAY_MS = 86_400_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    with VictoriaMetrics(tmp_path / "vm") as running:
        yield running


def opened(server: VictoriaMetrics) -> Victoria:
    there = Server(target(settings(server.url)), "")
    report = ask_report(there)
    assert report is not None
    return Victoria(there, "grafana", report)


def test_numbers_are_stored_and_text_is_left_out(server: VictoriaMetrics, tmp_path: Path) -> None:
    sink = influx(server.url, tmp_path)
    assert sink.open() == {}
    now_ms = round(time.time() * 1000)
    one = sample(values={"pv_w": 12.5, "mode": "battery", "alarms": []}, time_ms=now_ms)
    assert sink.write([one], {KEY: now_ms}).stored == 1
    expected = {
        "inverter_pv_w{inverter}": {now_ms: 12.5},
        "inverter_mode_code{inverter}": {now_ms: 11.0},
        "inverter_alarms_count{inverter}": {now_ms: 0.0},
    }

    def is_stored() -> bool:
        found = server.export()
        return {name: found[name] for name in found if "inverter" in name} == expected

    wait_until(is_stored, f"{expected}")
    assert server.metric('vm_rows_invalid_total{type="influx"}') == 0


def test_text_can_be_forced_and_becomes_nothing(server: VictoriaMetrics, tmp_path: Path) -> None:
    sink = influx(server.url, tmp_path, text="yes")
    sink.open()
    now_ms = round(time.time() * 1000)
    sink.write([sample(values={"fault": "fan"}, time_ms=now_ms)], {})
    wait_until(lambda: server.export().get("inverter_fault{inverter}") == {now_ms: 0.0}, "the 0")


def test_what_it_took_must_come_back(server: VictoriaMetrics) -> None:
    victoria = opened(server)
    victoria.mark()
    wait_until(lambda: "heliobus_opened{}" in server.export(), "the marker")
    assert victoria.check() == str(int(server.metric("vm_app_start_timestamp")))


def test_what_does_not_come_back_is_said(tmp_path: Path) -> None:
    rules = tmp_path / "relabel.yaml"
    rules.write_text('- action: drop\n  source_labels: [__name__]\n  regex: "heliobus.*"\n')
    with VictoriaMetrics(tmp_path / "vm", relabelConfig=str(rules)) as server:
        victoria = opened(server)
        victoria.mark()
        with pytest.raises(SinkError) as raised:
            victoria.check()
        assert str(raised.value) == (
            f"{server.url}: said that it took a row, and does not give it back;"
            " see its log, and its relabelling if it has any"
        )


def test_one_that_does_not_show_how_it_is_is_not_taken_for_influxdb(tmp_path: Path) -> None:
    with VictoriaMetrics(tmp_path / "vm", metricsAuthKey="key") as server:
        sink = influx(server.url, tmp_path)
        with pytest.raises(SinkError, match="is VictoriaMetrics, and does not show /metrics"):
            sink.open()


def test_lines_that_it_dropped_are_said(
    server: VictoriaMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    victoria = opened(server)
    server.post("/api/v2/write", b"no line at all\nbattery v=1\n")
    wait_until(lambda: server.metric('vm_rows_invalid_total{type="influx"}') == 1, "the count")
    victoria.check()
    victoria.check()
    assert caplog.messages == [
        f"{server.url}: could not read 1 lines and dropped them, of this or another sender;"
        " its log shows them"
    ]


@pytest.mark.parametrize("page", ["sinks/influx/README.md", "docs/influxdb-grafana.md"])
def test_as_the_pages_start_it_it_listens_here_only_and_the_sink_is_content(
    page: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (line,) = re.findall(r'^ARGS="(.*)"$', text, re.MULTILINE)
    flags = dict(option.removeprefix("-").split("=") for option in line.split())
    assert flags.pop("httpListenAddr") == "127.0.0.1:8428"
    assert flags.pop("storageDataPath") == "/var/lib/victoria-metrics"
    with VictoriaMetrics(tmp_path / "vm", **flags) as server:
        influx(server.url, tmp_path).open()
    assert caplog.messages == []


def test_rows_that_it_dropped_for_their_time_are_said(
    server: VictoriaMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    victoria = opened(server)
    ahead_ms = round(time.time() * 1000) + 3 * DAY_MS
    server.post("/api/v2/write", f"a v=1 {ahead_ms}\na v=2 {ahead_ms}".encode(), precision="ms")
    name = 'vm_rows_ignored_total{reason="big_timestamp"}'
    wait_until(lambda: server.metric(name) == 2, "the count")
    victoria.check()
    victoria.check()
    assert caplog.messages == [
        f"{server.url}: dropped 2 rows, of this or another sender:"
        " they lie more than two days ahead of its clock"
    ]


def test_samples_of_the_future_are_refused_once_the_clocks_had_time(
    server: VictoriaMetrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = influx(server.url, tmp_path)
    sink.open()
    now_ms = round(time.time() * 1000)
    samples = [sample(time_ms=now_ms), sample(time_ms=now_ms + 3 * DAY_MS)]
    with pytest.raises(SinkError, match=r"would drop 1 samples, the last one of inverter: more th"):
        sink.write(samples, {KEY: now_ms})
    assert sink.open() == {}
    monkeypatch.setattr("sinks.influx.CLOCK_PATIENCE_S", 0.0)
    written = sink.write(samples, {KEY: now_ms})
    assert written.stored == 1
    assert written.rejected == [(samples[1], "more than two days ahead of the server's clock")]
    # A clock that is behind here, and not there, costs nothing.
    monkeypatch.setattr("sinks.influx.time.time", lambda: 0.0)
    assert sink.write(samples[:1], {KEY: now_ms}).stored == 1


def test_a_proxy_that_says_that_nobody_is_there_is_not_taken_for_influxdb(
    server: VictoriaMetrics, tmp_path: Path
) -> None:
    with Proxy(server.port) as proxy:
        sink = influx(proxy.url, tmp_path)
        for paths in (("/ping", "/metrics"), ("/metrics",)):
            proxy.away = paths
            with pytest.raises(SinkError, match="answered 502") as raised:
                sink.open()
            assert raised.value.retry_s == 3
        proxy.away = ()
        sink.open()
        now_ms = round(time.time() * 1000)
        sink.write([sample(values={"fault": "fan", "pv_w": 1.5}, time_ms=now_ms)], {})
        wait_until(lambda: "inverter_pv_w{inverter}" in server.export(), "the number")
        assert "inverter_fault{inverter}" not in server.export()


@pytest.mark.parametrize("page", ["<html>Please log in</html>", "[1]", '{"timestamps": 3}', "{}"])
def test_a_page_that_is_no_export_is_said_and_ends_nothing(
    server: VictoriaMetrics, caplog: pytest.LogCaptureFixture, page: str
) -> None:
    with Proxy(server.port) as proxy:
        proxy.pages["/api/v1/export"] = page
        there = Server(target(settings(proxy.url)), "")
        report = ask_report(there)
        assert report is not None
        victoria = Victoria(there, "grafana", report)
        victoria.mark()
        assert victoria.check() == report.life
        assert "answered 200 to /api/v1/export, with no rows, so nobody has seen" in caplog.text


def test_how_it_should_be_started_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    flags = {"dedup.minScrapeInterval": "0s", "retentionPeriod": "1"}
    with VictoriaMetrics(tmp_path / "vm", **flags) as server:
        sink = influx(server.url, tmp_path)
        sink.open()
        sink.open()
        head = f"{server.url}: VictoriaMetrics"
        assert caplog.messages == [
            f"{head} keeps rows that are written twice; start it with -dedup.minScrapeInterval=1ms",
            f"{head} forgets after 1 month(s);"
            " start it with -retentionPeriod=100y to keep everything",
        ]


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (Report("1", 0, "1ms", "100y"), []),
        (
            Report("1", 0, "30s", "100y"),
            ["thins to one per 30s; start it with -dedup.minScrapeInterval=1ms"],
        ),
        (
            Report("1", 0, "1ms", "90d"),
            ["forgets after 90d; start it with -retentionPeriod=100y to keep everything"],
        ),
    ],
)
def test_only_what_is_wrong_is_said(report: Report, said: list[str]) -> None:
    assert advice(report) == said


def test_the_page_of_newer_versions_is_read_too() -> None:
    page = (
        'flag{name="dedup.minScrapeInterval",value="1ms",is_set="true"} 1\n'
        'flag{name="retentionPeriod",value="100y",is_set="true"} 1\n'
        'flag{name="inmemoryDataFlushInterval",value="1m30s",is_set="true"} 1\n'
        'vm_rows_invalid_total{type="influx"} 3\n'
        'vm_rows_ignored_total{reason="small_timestamp"} 2\n'
        "vm_app_start_timestamp 1795243889\n"
    )
    dropped = {"small_timestamp": 2.0}
    assert read_report(page) == Report("1795243889", 3.0, "1ms", "100y", 270.0, dropped)
    assert read_report("go_goroutines 12\n") is None


@pytest.mark.parametrize(
    ("flush", "settle_s"), [("", 15), ("200ms", 15), ("5s", 15), ("10s", 30), ("1h0m0s", 10800)]
)
def test_cursors_wait_for_three_times_what_it_takes_to_write_to_its_disk(
    flush: str, settle_s: float
) -> None:
    page = f'vm_app_start_timestamp 1\nflag{{name="inmemoryDataFlushInterval", value="{flush}"}} 1'
    report = read_report(page)
    assert report is not None
    assert report.settle_s == settle_s


def test_a_cursor_does_not_count_as_soon_as_it_says_done(
    server: VictoriaMetrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.influx.cursors.SAVE_EVERY_S", 0.0)
    sink = influx(server.url, tmp_path)
    sink.open()
    now_ms = round(time.time() * 1000)
    sink.write([sample(time_ms=now_ms)], {KEY: now_ms})
    sink.close()
    assert influx(server.url, tmp_path).open() == {}


def test_a_restart_of_the_server_is_noticed(server: VictoriaMetrics) -> None:
    victoria = opened(server)
    life = victoria.life

    def restarted() -> bool:
        server.kill()
        server.start()
        return opened(server).life != life  # it is dated in whole seconds

    wait_until(restarted, "another life")
    assert victoria.check() != life
