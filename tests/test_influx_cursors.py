"""The cursors of a destination without transactions: when they count, and what survives."""

import logging
import os
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heliobus.cursor import MINUS_INFINITY, Key
from heliobus.errors import SinkError
from sinks.influx.cursors import CursorFile, Cursors
from tests.samples import BEGIN_MS, KEY, sample

OTHER = ("farm", "bms", "bank")
TARGET = "http://127.0.0.1:8086 solar heliobus"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def file(folder: Path, target: str = TARGET) -> CursorFile:
    return CursorFile(folder / "grafana.cursors", target)


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ---------------------------------------------------------------------- the file


def test_the_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    assert file(tmp_path).load() == {}
    file(tmp_path).save({KEY: BEGIN_MS, OTHER: -1})
    assert file(tmp_path).load() == {KEY: BEGIN_MS, OTHER: -1}
    assert os.listdir(tmp_path) == ["grafana.cursors"]


def test_another_target_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file(tmp_path).save({KEY: BEGIN_MS})
    assert file(tmp_path, "http://127.0.0.1:8086 lunar heliobus").load() == {}
    assert "grafana.cursors: was of http://127.0.0.1:8086 solar heliobus; begins" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 100,
        b"[]",
        b'{"target": "x"}',
        b'{"target": "x", "cursors": [["farm", "axpert", 12]]}',
        b'{"target": "x", "cursors": [["farm", "axpert", "inverter", "12"]]}',
        b'{"target": "x", "cursors": [["farm", 7, "inverter", 12]]}',
        b'{"target": "x", "cursors": 3}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_set_aside_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    (tmp_path / "grafana.cursors").write_bytes(text)
    (tmp_path / "grafana.damaged-1").write_bytes(b"of last time")
    assert file(tmp_path, "x").load() == {}
    assert (tmp_path / "grafana.damaged-2").read_bytes() == text
    assert "grafana.cursors: damaged (" in caplog.text
    assert "; set aside as grafana.damaged-2;" in caplog.text


def test_a_file_that_cannot_be_written_is_said_and_the_old_one_kept(tmp_path: Path) -> None:
    file(tmp_path).save({KEY: 1})
    with full_disk(), pytest.raises(SinkError, match=r"grafana.cursors: File too large"):
        file(tmp_path).save({KEY: 2})
    assert file(tmp_path).load() == {KEY: 1}
    assert os.listdir(tmp_path) == ["grafana.cursors"]


def test_a_full_disk_is_said_while_running_and_stops_no_end(tmp_path: Path, clock: Clock) -> None:
    cursors = Cursors(file(tmp_path), monotonic=clock)
    cursors.begin("", 0)
    cursors.wrote({KEY: 1}, [])
    cursors.wrote({OTHER: 2}, [])
    with full_disk():
        with pytest.raises(SinkError, match="File too large"):
            cursors.settle("")
        cursors.close()
    assert cursors.begin("", 0) == {KEY: 1, OTHER: 2}
    cursors.close()
    assert file(tmp_path).load() == {KEY: 1, OTHER: 2}


# ---------------------------------------------------------------------- when they count


def test_what_needs_no_time_is_saved_every_ten_seconds_and_in_the_end(
    tmp_path: Path, clock: Clock
) -> None:
    cursors = Cursors(file(tmp_path), monotonic=clock)
    assert cursors.begin("", 0) == {}
    cursors.wrote({KEY: 1}, [])
    assert not cursors.due
    clock.now_s += 10
    assert cursors.due
    cursors.settle("")
    assert file(tmp_path).load() == {KEY: 1}
    cursors.wrote({KEY: 2}, [])
    assert not cursors.due
    cursors.close()
    assert file(tmp_path).load() == {KEY: 2}


def test_a_cursor_counts_when_the_server_has_lived_on_for_long_enough(
    tmp_path: Path, clock: Clock
) -> None:
    cursors = Cursors(file(tmp_path), monotonic=clock)
    cursors.begin("life 1", 15)
    cursors.wrote({KEY: 1, OTHER: 1}, [])
    clock.now_s += 20
    cursors.wrote({KEY: 2}, [])
    assert not cursors.due
    clock.now_s += 10
    assert cursors.due
    cursors.settle("life 1")
    assert file(tmp_path).load() == {KEY: 1, OTHER: 1}
    cursors.close()
    assert file(tmp_path).load() == {KEY: 1, OTHER: 1}
    clock.now_s += 30
    cursors.settle("life 1")
    assert file(tmp_path).load() == {KEY: 2, OTHER: 1}


def test_after_a_restart_of_the_server_only_what_was_settled_counts(
    tmp_path: Path, clock: Clock
) -> None:
    cursors = Cursors(file(tmp_path), monotonic=clock)
    cursors.begin("life 1", 15)
    cursors.wrote({KEY: 1}, [])
    clock.now_s += 30
    cursors.settle("life 1")
    cursors.wrote({KEY: 2}, [])
    clock.now_s += 30
    with pytest.raises(SinkError, match="was restarted; asking again"):
        cursors.settle("life 2")
    assert cursors.begin("life 2", 15) == {KEY: 1}
    cursors.wrote({KEY: 3}, [])
    clock.now_s += 30
    cursors.settle("life 2")
    assert cursors.begin("life 3", 15) == {KEY: 3}


@pytest.mark.parametrize(
    ("cursor", "begin_ms"),
    [
        ({}, MINUS_INFINITY),  # all of its past is still asked for
        ({KEY: BEGIN_MS - 86_400_000}, BEGIN_MS - 86_400_000),
        ({KEY: BEGIN_MS + 100_000}, BEGIN_MS + 6999),
    ],
)
@pytest.mark.parametrize("life", ["life 1", "life 2"])
def test_what_was_never_settled_begins_where_it_began(
    tmp_path: Path, clock: Clock, life: str, cursor: dict[Key, int], begin_ms: int
) -> None:
    cursors = Cursors(file(tmp_path), monotonic=clock)
    cursors.begin("life 1", 15)
    cursors.wrote(cursor, [sample(100), sample(7), sample(0, bridge=None, device="guest")], {KEY})
    assert cursors.begin(life, 15) == {KEY: begin_ms}
    cursors.wrote({KEY: BEGIN_MS + 200_000}, [sample(200)])
    assert cursors.begin("life 3", 15) == {KEY: begin_ms}


def test_a_connection_that_was_lost_costs_no_cursor(tmp_path: Path, clock: Clock) -> None:
    cursors = Cursors(file(tmp_path), monotonic=clock)
    cursors.begin("life 1", 15)
    cursors.wrote({KEY: 2}, [sample(1)])
    cursors.close()
    assert cursors.begin("life 1", 15) == {KEY: 2}
    assert Cursors(file(tmp_path), monotonic=clock).begin("life 1", 15) == {}


def test_a_disk_that_stays_full_costs_no_memory(tmp_path: Path, clock: Clock) -> None:
    cursors = Cursors(file(tmp_path), monotonic=clock)
    cursors.begin("life 1", 15)
    failed = 0
    tracemalloc.start()
    with full_disk():
        for turn in range(20_000):
            clock.now_s += 0.5
            cursors.wrote({KEY: turn, OTHER: turn}, [])
            if cursors.due:
                with pytest.raises(SinkError, match="File too large"):
                    cursors.settle("life 1")
                failed += 1
            if turn == 10_000:
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert failed > 300
    assert grown < 100_000
    assert cursors.begin("life 1", 15) == {KEY: 19_999, OTHER: 19_999}
    clock.now_s += 30
    cursors.settle("life 1")
    assert file(tmp_path).load() == {KEY: 19_999, OTHER: 19_999}


def test_a_cursor_may_go_back(tmp_path: Path, clock: Clock) -> None:
    cursors = Cursors(file(tmp_path), monotonic=clock)
    cursors.begin("", 0)
    cursors.wrote({KEY: 5}, [])
    cursors.close()
    cursors.wrote({KEY: 3}, [])
    assert cursors.begin("", 0) == {KEY: 3}
    cursors.close()
    assert file(tmp_path).load() == {KEY: 3}
