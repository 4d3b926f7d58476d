"""The influx sink and lines that are refused: bad ones, and all of them."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from heliobus.errors import SinkError
from sinks.influx import Influx
from tests.influx_sink import TOKEN, influx, opened, serving
from tests.influx_standin import Handler, Standin
from tests.samples import BEGIN_MS, KEY, sample


@pytest.fixture
def server() -> Iterator[Standin]:
    with serving() as standin:
        yield standin


@pytest.fixture
def sink(server: Standin, tmp_path: Path) -> Iterator[Influx]:
    with opened(server, tmp_path) as one:
        yield one


def test_one_bad_line_costs_no_good_one(server: Standin, sink: Influx) -> None:
    sink.write([sample(-1, values={"new_field": 1})], {})
    samples = [sample(second) for second in range(100)]
    samples[17] = sample(17, values={"new_field": "a text now"})
    samples[63] = sample(63, values={"new_field": "another"})
    written = sink.write(samples, {KEY: BEGIN_MS + 99_000})
    assert written.stored == 98
    assert [one for one, _ in written.rejected] == [samples[17], samples[63]]
    why = 'field type conflict: input field "new_field" on measurement "inverter" is type str'
    assert all(why in reason for _, reason in written.rejected)
    assert [p[1] for p in server.points].count("inverter") == 99
    sink.close()
    assert sink.open() == {KEY: BEGIN_MS + 99_000}


def test_a_batch_that_is_all_bad_is_refused_sample_by_sample(server: Standin, sink: Influx) -> None:
    sink.write([sample(0, values={"new_field": 1})], {})
    sink.close()
    sink.open()
    bad = [sample(second, values={"new_field": "text"}) for second in range(1, 4)]
    assert [one for one, _ in sink.write(bad, {}).rejected] == bad
    # That the server takes lines at all was seen by one that is good for certain.
    assert [point[1] for point in server.points] == ["inverter", "heliobus"]


class Seconds:
    """A clock that is a second further each time it is read: once before each request."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1
        return self.now_s


def test_a_write_that_takes_too_long_goes_on_where_it_was(
    server: Standin, sink: Influx, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.write([sample(-1, values={"new_field": 1})], {})
    samples = [
        sample(second, values={"new_field": "text"} if second % 2 else {"new_field": 2})
        for second in range(60)
    ]
    monkeypatch.setattr("sinks.influx.time", Seconds())
    attempts = 0
    written = None
    while written is None:
        attempts += 1
        before = len(server.statuses)
        with suppress(SinkError):
            written = sink.write(samples, {KEY: BEGIN_MS})
        assert len(server.statuses) - before <= 20
        assert attempts < 20
    assert attempts > 3
    assert (written.stored, [one for one, _ in written.rejected]) == (30, samples[1::2])
    assert all("field type conflict" in reason for _, reason in written.rejected)


def test_a_server_that_refuses_every_line_costs_no_sample(server: Standin, tmp_path: Path) -> None:
    one = influx(server.url, tmp_path, token=TOKEN, org="")
    one.open()
    with pytest.raises(SinkError, match=r"refuses every line: please provide either orgID or org"):
        one.write([sample(0), sample(1)], {KEY: BEGIN_MS})
    with pytest.raises(SinkError, match="refuses every line"):
        one.open()


def test_a_server_that_begins_to_refuse_every_line_costs_no_sample(
    server: Standin, sink: Influx
) -> None:
    def speaks_tls(handler: Handler) -> bool:
        handler.answer(400, "Client sent an HTTP request to an HTTPS server.")
        return True

    assert sink.write([sample(0)], {KEY: BEGIN_MS}).stored == 1
    server.mishap = speaks_tls
    with pytest.raises(SinkError, match=r"refuses every line: Client sent an HTTP request to an"):
        sink.write([sample(1)], {KEY: BEGIN_MS + 1000})
    server.mishap = None
    assert sink.open() == {KEY: BEGIN_MS}


def test_what_was_refused_is_told_although_the_cursors_cannot_be_saved(
    sink: Influx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.influx.cursors.SAVE_EVERY_S", 0.0)
    sink.write([sample(0, values={"new_field": 1})], {KEY: BEGIN_MS})
    bad = sample(1, values={"new_field": "text"})
    with monkeypatch.context() as full:
        full.setattr("sinks.influx.cursors.replace_file", _full)
        with pytest.raises(SinkError, match=r"grafana.cursors: No space left on device"):
            sink.write([bad], {KEY: BEGIN_MS + 1000})
        sink.close()
        assert sink.open() == {KEY: BEGIN_MS}
    assert [one for one, _ in sink.write([bad], {KEY: BEGIN_MS + 1000}).rejected] == [bad]


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_batch_that_is_too_large_is_halved(server: Standin, sink: Influx) -> None:
    server.largest_bytes = 2000
    written = sink.write([sample(second) for second in range(50)], {KEY: BEGIN_MS})
    assert (written.stored, len(server.points)) == (50, 50)
    assert 413 in server.statuses
    server.largest_bytes = 10
    (rejected,) = sink.write([sample(99)], {}).rejected
    assert rejected == (sample(99), "larger than the server takes at once")
