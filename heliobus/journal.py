"""The bounded log on disk of whoever publishes: every sample is here before it is on the bus.

    append   one line to NAME.tail with one write() and no sync: survives kill -9
    flush    the tail becomes one compressed block in NAME.journal, synced
    batch    what follows a sink's cursor, in the order in which it was measured

The order of the log is the order of measuring, also where the clock was set back and a new chain
begins (a sample without `prev`). So a cursor is found by its exact time first, and what follows
it in the log is what the sink lacks, whichever way the clock went.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from heliobus.blocks import Blocks, Entry, read_entries
from heliobus.sample import Sample
from heliobus.settings import JournalSettings

T = TypeVar("T")
log = logging.getLogger(__name__)

BATCH_BYTES = 60_000  # of samples; the whole answer stays below 64 kB
# A cursor of which there is no entry may be of the last seconds of the tail, which a power cut
# took: what came before it by so much is sent again, as the log may go on at an earlier time. One
# that lies further beyond the newest entry belongs to a clock that ran ahead: all is sent.
AHEAD_MS = 60_000
# To so much a tail grows whose journal cannot be written: it is held in memory, too.
MOST_TAIL_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """An answer to a sink: `entries` complete the interval (after_ms, to_ms].

    `restart`: a new chain begins here, or the cursor is not of this log: it becomes `to_ms` even
    when that is earlier.
    `lost_until_ms`: what lay between the cursor and this time is no longer kept.
    `is_end`: nothing follows in the log; what comes next will be published.
    """

    after_ms: int | None
    to_ms: int | None
    entries: tuple[Entry, ...] = ()
    restart: bool = False
    lost_until_ms: int | None = None
    is_end: bool = False


class Journal:
    """The journal of one component. `append` may be called from any thread, the rest from one."""

    def __init__(self, folder: Path, name: str, settings: JournalSettings) -> None:
        self._settings = settings
        self._tail_path = folder / f"{name}.tail"
        self._moving_path = folder / f"{name}.moving"
        self._blocks = Blocks(folder / f"{name}.journal")
        self._lock = threading.Lock()
        self._tail: int | None = None
        self._torn = False
        self._recent: list[Entry] = []
        self._moved = 0  # so many of them, the oldest, lie in NAME.moving
        self._last: dict[str, int] = {}
        self._is_open = False
        self._unsettled: str | None = None  # why the last flush failed
        self.unjournaled = 0
        self.fault: str | None = None

    def open(self) -> list[str]:
        """Open or create the files. Return what had to be mended, a line each.

        Where that cannot be done, as on a full disk, samples are only counted, and each flush
        tries again.
        """
        try:
            report = self._blocks.open()
            known = self._blocks.heads()
            for path in (self._moving_path, self._tail_path):
                known.update(self._take_up(path))
        except (OSError, sqlite3.OperationalError) as error:
            self._blocks.close()
            self.fault = f"{self._tail_path.stem}.journal: {error}"
            return []
        self.fault = None
        self._begin_tail()
        with self._lock:
            self._last = known | self._last
            self._is_open = True
        return [report] if report else []

    def _take_up(self, path: Path) -> dict[str, int]:
        """Take the entries of a tail that a stopped process left behind; give its heads."""
        try:
            entries = list(read_entries(path.read_bytes()))
        except FileNotFoundError:
            return {}
        # Killed after the block was written, before its tail was deleted: it is there already.
        settled = set(self._blocks.newest())
        fresh = [entry for entry in entries if entry not in settled]
        if fresh:
            self._blocks.add(fresh)
        path.unlink()
        return {entry.device: entry.time_ms for entry in entries}

    def _begin_tail(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._tail = os.open(self._tail_path, flags, 0o640)
        except OSError as error:
            self.fault = f"{self._tail_path}: {error.strerror}"

    def close(self) -> None:
        """Settle what the tail holds and close the files; safe to call twice."""
        self.hurry()
        if self._tail is not None:
            self.flush(None)
        if self._tail is not None:  # the flush may have failed between two tails
            os.close(self._tail)
            self._tail = None
        self._is_open = False
        self._blocks.close()

    # ------------------------------------------------------------------ writing

    def append(self, sample: Sample, payload: bytes) -> bool:
        """Write one sample to the tail. Return whether it is on disk; count it where not."""
        entry = Entry(sample.device, sample.time_ms, sample.prev_ms, payload)
        with self._lock:
            self._last[entry.device] = entry.time_ms
            written = self._is_open and self._write(entry.line())
            if written:
                self._recent.append(entry)
            else:
                self.unjournaled += 1
        return written

    def _write(self, line: bytes) -> bool:
        if self._tail is None:
            self._begin_tail()
        if self._tail is None or self._is_full(self._tail):
            return False
        if self._torn:  # the disk was full in the middle of a line: keep the next one whole
            line = b"\n" + line
        try:
            written = os.write(self._tail, line)
        except OSError as error:
            self.fault = f"{self._tail_path}: {error.strerror}"
            return False
        self._torn = written != len(line)
        self.fault = f"{self._tail_path}: no space left" if self._torn else None
        return not self._torn

    def _is_full(self, tail: int) -> bool:
        most_bytes = min(MOST_TAIL_BYTES, self._settings.max_size_bytes)
        if self._unsettled is None or os.fstat(tail).st_size < most_bytes:
            return False
        self.fault = f"{self._unsettled}; {self._tail_path} has reached {most_bytes:,} bytes"
        return True

    def hurry(self) -> None:
        """Hardly wait for a locked file any more: the process is about to end."""
        self._blocks.hurry()

    def flush(self, prune_before_ms: int | None) -> None:
        """Settle the tail in the journal, and drop what is too old or too much.

        `prune_before_ms` None: the clock is not good enough to delete by age.
        """
        if not self._is_open:
            self.open()
            return
        try:
            with self._lock:
                if self._recent and not self._moved:
                    self._turn_tail()
            if self._moved:
                self._settle()
            if self._blocks.prune(prune_before_ms, self._settings.max_size_bytes):
                self._forget_heads()
            self._unsettled = None
        except sqlite3.Error as error:
            self.fault = self._unsettled = self._mend(error)
        except OSError as error:
            self.fault = self._unsettled = f"{self._tail_path}: {error.strerror}"

    def _turn_tail(self) -> None:
        """Begin a new tail, so that measuring never waits for the disk to sync.

        Only when the one before is settled: until then the tail grows, and no line is copied.
        """
        if self._tail is not None:
            os.close(self._tail)
            self._tail = None
        self._tail_path.rename(self._moving_path)
        self._moved = len(self._recent)
        self._begin_tail()

    def _settle(self) -> None:
        self._blocks.add(self._recent[: self._moved])
        with self._lock:
            del self._recent[: self._moved]
            self._moved = 0
        self._moving_path.unlink(missing_ok=True)

    def _forget_heads(self) -> None:
        kept = self._blocks.heads()
        with self._lock:
            kept.update({entry.device: entry.time_ms for entry in self._recent})
            self._last = kept

    # ------------------------------------------------------------------ reading

    def last(self, device: str) -> int | None:
        """Give the time of the newest entry of a device."""
        return self._last.get(device)

    def heads(self) -> dict[str, tuple[int, int]]:
        """Give the oldest kept and the newest time of every device, in ms since 1970."""
        newest = dict(self._last)
        return self._readable(lambda: _ends(self._oldest(), newest), {})

    def _oldest(self) -> dict[str, int]:
        if not self._is_open:
            return {}
        with self._lock:
            oldest = {entry.device: entry.time_ms for entry in reversed(self._recent)}
        return oldest | self._blocks.firsts()

    @property
    def is_open(self) -> bool:
        """Say whether `batch` may be called; else a sink that asks is to ask again."""
        return self._is_open

    @property
    def size_bytes(self) -> int:
        """Give the bytes in use in the journal file."""
        return self._readable(lambda: self._blocks.size_bytes, 0) if self._is_open else 0

    @property
    def oldest_ms(self) -> int | None:
        """Give the time of the oldest entry that is kept."""
        return self._readable(lambda: self._blocks.oldest_ms, None) if self._is_open else None

    def batch(
        self, device: str, after_ms: int | None, until_ms: int | None, max_bytes: int = BATCH_BYTES
    ) -> Batch:
        """Give what follows `after_ms` (None: from the beginning) in the log, at most one batch.

        A batch ends at `until_ms`, at `max_bytes`, or before the sample that begins a new chain.
        Raise OSError where the file cannot be read now.
        """
        for _ in range(2):  # a second time on the new file, where a damaged one was set aside
            batch = self._readable(lambda: self._batch(device, after_ms, until_ms, max_bytes), None)
            if batch is not None:
                return batch
        raise OSError(self.fault or f"{self._tail_path.stem}.journal: damaged again")

    def _readable(self, read: Callable[[], T], otherwise: T) -> T:
        """Read from the file; set it aside where it is damaged, and give `otherwise`."""
        try:
            return read()
        except sqlite3.Error as error:
            self.fault = self._mend(error)
            return otherwise

    def _mend(self, error: sqlite3.Error) -> str | None:
        """Set a damaged file aside, and say so at once; give the fault where it is not damage."""
        report = self._blocks.mend(error)
        if report is None:
            return f"{self._tail_path.stem}.journal: {error}"
        log.error("%s", report)
        return None

    def _batch(
        self, device: str, after_ms: int | None, until_ms: int | None, max_bytes: int
    ) -> Batch:
        following = self._following(device, after_ms)
        first = next(following, None)
        if first is None:
            return self._nothing(device, after_ms)
        entries, size, is_end = [first], len(first.payload), True
        for entry in following:
            size += len(entry.payload)
            past = until_ms is not None and entries[-1].time_ms >= until_ms
            if past or size > max_bytes or entry.prev_ms is None:
                is_end = False
                break
            entries.append(entry)
        to_ms = entries[-1].time_ms
        restart = after_ms is not None and (first.prev_ms is None or to_ms <= after_ms)
        lost = after_ms is not None and first.prev_ms is not None and first.prev_ms > after_ms
        return Batch(
            after_ms=None if restart else after_ms,
            to_ms=to_ms,
            entries=tuple(entries),
            restart=restart,
            lost_until_ms=first.prev_ms if lost else None,
            is_end=is_end,
        )

    def _nothing(self, device: str, after_ms: int | None) -> Batch:
        """Answer where nothing follows the cursor: all was sent, or all was pruned."""
        last = self._last.get(device)
        if last is None or after_ms is None or last <= after_ms:
            return Batch(after_ms, last if after_ms is None else after_ms, is_end=True)
        return Batch(after_ms, last, lost_until_ms=last, is_end=True)

    def _following(self, device: str, after_ms: int | None) -> Iterator[Entry]:
        if after_ms is None:
            return self._entries(device, 0)
        exact = self._after_exact(device, after_ms)
        if exact is not None:
            return exact
        last = self._last.get(device)
        if last is not None and after_ms > last + AHEAD_MS:
            return self._entries(device, 0)
        return self._after_time(device, after_ms - AHEAD_MS)

    def _after_exact(self, device: str, after_ms: int) -> Iterator[Entry] | None:
        """Find the entry of just this time and give what follows it; None: no such entry."""
        for start in [*self._blocks.spanning(device, after_ms), None]:
            if any(entry.time_ms == after_ms for entry in self._part(device, start)):
                entries = self._entries(device, start)
                while next(entries).time_ms != after_ms:
                    pass
                return entries
        return None

    def _after_time(self, device: str, after_ms: int) -> Iterator[Entry]:
        entries = self._entries(device, self._blocks.first_past(after_ms))
        with contextlib.suppress(StopIteration):
            while (entry := next(entries)).time_ms <= after_ms:
                pass
            yield entry
        yield from entries

    def _entries(self, device: str, start: int | None) -> Iterator[Entry]:
        """Walk the log of a device from block `start` on, then the tail (None: only the tail)."""
        if start is not None:
            for number in self._blocks.numbers(device, start):
                yield from self._part(device, number)
        yield from self._part(device, None)

    def _part(self, device: str, number: int | None) -> list[Entry]:
        """Give a device's entries of one block, or of the tail (None)."""
        if number is not None:
            return self._blocks.entries(device, number)
        with self._lock:
            return [entry for entry in self._recent if entry.device == device]


def _ends(oldest: dict[str, int], newest: dict[str, int]) -> dict[str, tuple[int, int]]:
    return {device: (oldest.get(device, last), last) for device, last in newest.items()}
