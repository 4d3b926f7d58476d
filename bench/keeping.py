"""What is kept: the journal's transactions and bytes, and the way of a sample into the archive."""

import sqlite3
import statistics
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.stage import SITE, Stage, wait_for
from bridges.voltronic.codec import Layout, decode, request, take_answer
from heliobus import components
from heliobus.bus import Bus
from heliobus.journal import Journal
from heliobus.sample import Sample, Values
from heliobus.settings import JournalSettings
from heliobus.topics import Topics

_DEVICES = 10
_EVERY_S = 5
_FLUSH_S = 10
_HOUR_S = 3600
_MORNING_S = 1_795_248_000  # of 2026-11-21, 8:00 UTC: the sun rises, all values change
_COMMANDS = ("QPIRI", "QFLAG", "Q1", "QPIWS", "QPIGS2", "QMOD", "QPIGS")
_COUNTED = 50

_RATE_HZ = 20
_SAMPLES = 200
_ARCHIVE = {"sinks": {"archive": {"type": "sql", "url": "sqlite:///history.db"}}}


def transactions(folder: Path) -> dict[str, float]:
    """Count the commits in the write-ahead log of a journal."""
    folder.mkdir(parents=True)
    journal = Journal(folder, "bridge", JournalSettings())
    journal.open()
    wal = folder / "bridge.journal-wal"
    before = _commits(wal)
    for number in range(_COUNTED):
        _append(journal, _sample("inverter", number, {"load_w": number}))
        _append(journal, _sample("battery", number, {"soc_percent": 50}))
        journal.flush(None)
    counted = _commits(wal) - before
    journal.close()
    return {"commits": counted / _COUNTED}


def _commits(wal: Path) -> int:
    """Count the frames that end a transaction (https://sqlite.org/fileformat2.html#walformat)."""
    data = wal.read_bytes()
    page_size = struct.unpack_from(">I", data, 8)[0]
    ends = (
        struct.unpack_from(">I", data, at + 4)[0] for at in range(32, len(data), 24 + page_size)
    )
    return sum(pages > 0 for pages in ends)


def bytes_a_day(folder: Path) -> dict[str, float]:
    """Live through an hour of ten inverters, as fast as it goes."""
    folder.mkdir(parents=True)
    journal = Journal(folder, "bridge", JournalSettings())
    journal.open()
    size_bytes, written_bytes, synced_bytes = journal.size_bytes, _written_bytes(), 0
    for second, values in _hour():
        for device in range(_DEVICES):
            _append(journal, _sample(f"inverter{device}", second * 1000 + device, values))
        if second % _FLUSH_S == 0:
            before_bytes = _written_bytes()
            journal.flush(None)
            synced_bytes += _written_bytes() - before_bytes
    kept_bytes = journal.size_bytes - size_bytes
    written_bytes = _written_bytes() - written_bytes
    journal.close()
    return {
        "written": written_bytes * 24 / 1e6,
        "synced": synced_bytes * 24 / 1e6,
        "kept": kept_bytes * 24 / 1e6,
    }


def _hour() -> Iterator[tuple[int, Values]]:
    now_s = _MORNING_S
    inverter = components.simulator("voltronic")(clock=lambda: now_s)
    while now_s < _MORNING_S + _HOUR_S:
        values: Values = {}
        for command in _COMMANDS:
            taken = take_answer(inverter.take(request(command)))
            if taken is None:
                raise RuntimeError(f"{command}: the answer is not whole")
            values |= decode(command, taken[0], Layout.PI30)
        yield now_s, values
        now_s += _EVERY_S


def _written_bytes() -> int:
    """Give what this process has handed to write(), as /proc/PID/io counts it."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


def _sample(device: str, time_ms: int, values: Values) -> Sample:
    return Sample(SITE, "bridge", device, "inverter", time_ms, time_ms - 1, values)


def _append(journal: Journal, sample: Sample) -> None:
    if not journal.append(sample, sample.payload()):
        raise OSError(f"{journal.fault}")


def latency(folder: Path) -> dict[str, float]:
    """Publish at an even pace and look into the archive when each sample has come."""
    with Stage(folder, config=_ARCHIVE) as stage:
        stage.start("run", "archive")
        database = folder / "history.db"
        wait_for(lambda: _stored(database) is not None, "the archive")
        bus = stage.bus("bridge")
        sent_s, seen_s = _follow(bus, database)
        bus.stop()
    late_s = [seen - sent for sent, seen in zip(sent_s[1:], seen_s[1:], strict=True)]
    hundredths = statistics.quantiles(late_s, n=100)
    return {"latency_p50": hundredths[49], "latency_p99": hundredths[98]}


def _follow(bus: Bus, database: Path) -> tuple[list[float], list[float]]:
    """Give when each sample was sent and when it was seen; the first one only sets off."""
    topic = Topics(SITE).device("inverter", "state")
    sent_s: list[float] = []
    seen_s: list[float] = []
    end_s = time.monotonic() + 10 * _SAMPLES / _RATE_HZ
    while len(seen_s) < _SAMPLES:
        now_s = time.monotonic()
        if now_s > end_s:
            raise TimeoutError(f"{len(sent_s)} samples were sent, {len(seen_s)} stored")
        if len(sent_s) < _SAMPLES and (not sent_s or now_s >= sent_s[0] + len(sent_s) / _RATE_HZ):
            sample = _sample("inverter", _MORNING_S * 1000 + len(sent_s), {"load_w": 1})
            bus.publish(topic, sample.payload(), retain=True)
            sent_s.append(now_s)
        seen_s += [now_s] * ((_stored(database) or 0) - len(seen_s))
        time.sleep(0.002)
    return sent_s, seen_s


def _stored(database: Path) -> int | None:
    """Count the rows of the archive; None: it is not there yet."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            found: int = db.execute("SELECT count(*) FROM inverter").fetchone()[0]
    except sqlite3.OperationalError:
        return None
    return found
