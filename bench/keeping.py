"""What is kept: the transactions and bytes of a journal."""

import struct
from collections.abc import Iterator
from pathlib import Path

from bench.stage import SITE
from bridges.voltronic.codec import Layout, decode, request, take_answer
from heliobus import components
from heliobus.house import House
from heliobus.journal import Journal
from heliobus.sample import Sample, Values
from heliobus.settings import JournalSettings

_DEVICES = 10
_EVERY_S = 5
_FLUSH_S = 10
_HOUR_S = 3600
_MORNING_S = 1_795_248_000  # of 2026-11-21, 8:00 UTC: the sun rises, all values change
_COMMANDS = ("QPIRI", "QFLAG", "Q1", "QPIWS", "QPIGS2", "QMOD", "QPIGS")
_COUNTED = 50


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
    for second, values in hour():
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


def hour() -> Iterator[tuple[int, Values]]:
    """Give the values of an inverter through a morning hour, each with its second since 1970."""
    now_s = _MORNING_S
    inverter = components.simulator("voltronic")(house=House(lambda: now_s))
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
