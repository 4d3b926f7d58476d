"""The settled part of a journal: compressed blocks of samples in one SQLite file (WAL).

A block holds what one flush of the tail brought, in the order in which it was measured; block
numbers rise in that order too, also where the clock was set back.
"""

import contextlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliobus.whole_file import free_name

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (
    id INTEGER PRIMARY KEY, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    devices TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS blocks_last ON blocks (last_ms);
CREATE TABLE IF NOT EXISTS heads (
    device TEXT PRIMARY KEY, last_ms INTEGER NOT NULL, first_ms INTEGER);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One journaled sample: its payload as published."""

    device: str
    time_ms: int
    prev_ms: int | None
    payload: bytes

    def line(self) -> bytes:
        """Write the entry as one line."""
        prev = b"" if self.prev_ms is None else b"%d" % self.prev_ms
        return b"%s\t%d\t%s\t%s\n" % (self.device.encode(), self.time_ms, prev, self.payload)


def read_entries(data: bytes) -> Iterator[Entry]:
    """Read lines of entries; a cut or damaged line is passed over."""
    for line in data.split(b"\n"):
        with contextlib.suppress(ValueError):
            device, time_ms, prev_ms, payload = line.split(b"\t", 3)
            if payload.endswith(b"}"):
                yield Entry(
                    device.decode(), int(time_ms), int(prev_ms) if prev_ms else None, payload
                )


class Blocks:
    """The SQLite file. Used from one thread. Faults are raised as sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._patience_s = 2.0  # with another process that has locked the file

    def open(self) -> str | None:
        """Open or create the file. Say so in a line where a damaged one had to be set aside.

        Raise OSError and sqlite3.OperationalError, which may pass: locked, full, input/output.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            return self.mend(error)
        return None

    def mend(self, error: sqlite3.Error) -> str | None:
        """Set a damaged file aside and begin a new one; None where the file is not damaged."""
        # An OperationalError (locked, full, input/output) may pass; damage does not.
        if isinstance(error, sqlite3.OperationalError):
            return None
        self.close()
        report = self._set_aside(error)
        self._db = self._connect()
        return report

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=self._patience_s, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            # In kB. SQLite's own 2 MB would fill within days, with pages that nobody reads again.
            db.execute("PRAGMA cache_size=-256")
            db.executescript(_SCHEMA)
            # Not the whole file (256 MB take long on an SD card): `mend` serves what shows later.
            for (data,) in db.execute("SELECT data FROM blocks ORDER BY id DESC LIMIT 1"):
                _unpack(data)
            self._migrate(db)
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def hurry(self) -> None:
        """Hardly wait for a locked file any more: the process is about to end."""
        self._patience_s = 0.3
        if self._db is not None:
            self._db.execute(f"PRAGMA busy_timeout = {round(self._patience_s * 1000)}")

    def _migrate(self, db: sqlite3.Connection) -> None:
        """Give a file of before heads had their oldest time that column, and fill it."""
        if not any(column[1] == "first_ms" for column in db.execute("PRAGMA table_info(heads)")):
            db.execute("ALTER TABLE heads ADD COLUMN first_ms INTEGER")
        unknown = db.execute("SELECT device FROM heads WHERE first_ms IS NULL").fetchall()
        _find_first(db, [device for (device,) in unknown])

    def _set_aside(self, error: Exception) -> str:
        aside = free_name(self._path)
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return (
            f"{self._path}: damaged ({error}); set aside as {aside.name} and a new journal begun; "
            "what a sink had not yet stored from it is lost"
        )

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @property
    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError(f"{self._path} is not open")
        return self._db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._open
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def add(self, entries: Sequence[Entry]) -> None:
        """Store the entries as one block, synced when this returns."""
        times = [entry.time_ms for entry in entries]
        heads = {entry.device: entry.time_ms for entry in entries}
        firsts = {entry.device: entry.time_ms for entry in reversed(entries)}
        data = zlib.compress(b"".join(entry.line() for entry in entries))
        with self._transaction() as db:
            db.execute(
                "INSERT INTO blocks (first_ms, last_ms, devices, data) VALUES (?, ?, ?, ?)",
                (min(times), max(times), f",{','.join(sorted(heads))},", data),
            )
            db.executemany(
                "INSERT INTO heads (device, last_ms, first_ms) VALUES (?, ?, ?) "
                "ON CONFLICT (device) DO UPDATE SET last_ms = excluded.last_ms",
                [(device, last_ms, firsts[device]) for device, last_ms in heads.items()],
            )

    def prune(self, before_ms: int | None, max_bytes: int) -> bool:
        """Drop the oldest blocks: those before a time (None: none by age), those over a size.

        Return whether anything was dropped.
        """
        oldest_ms = self._one("SELECT last_ms FROM blocks ORDER BY id LIMIT 1")
        by_age = before_ms is not None and oldest_ms is not None and oldest_ms < before_ms
        excess_bytes = self.size_bytes - max_bytes
        if not by_age and excess_bytes <= 0:
            return False
        with self._transaction() as db:
            keep = max(
                _first_young(db, before_ms) if by_age else 0,
                _first_within(db, excess_bytes) if excess_bytes > 0 else 0,
            )
            dropped = db.execute("SELECT DISTINCT devices FROM blocks WHERE id < ?", (keep,))
            devices = {device for (names,) in dropped for device in names.strip(",").split(",")}
            db.execute("DELETE FROM blocks WHERE id < ?", (keep,))
            # Only what was in a dropped block may have lost its oldest time.
            _find_first(db, devices)
        return True

    # ------------------------------------------------------------------ reading

    def heads(self) -> dict[str, int]:
        """Give the newest time of every device of which something is kept."""
        return dict(self._open.execute("SELECT device, last_ms FROM heads"))

    def firsts(self) -> dict[str, int]:
        """Give the oldest time of every device of which something is kept."""
        return dict(self._open.execute("SELECT device, first_ms FROM heads"))

    def newest(self) -> list[Entry]:
        """Give the entries of the newest block."""
        data = self._one("SELECT data FROM blocks ORDER BY id DESC LIMIT 1")
        return list(read_entries(_unpack(data))) if data else []

    def numbers(self, device: str, start: int) -> Iterator[int]:
        """Walk the numbers of a device's blocks from `start` on."""
        for (number,) in self._open.execute(
            "SELECT id FROM blocks WHERE id >= ? AND instr(devices, ?) ORDER BY id",
            (start, f",{device},"),
        ):
            yield number

    def entries(self, device: str, number: int) -> list[Entry]:
        """Give a device's entries of one block."""
        data = _unpack(self._one("SELECT data FROM blocks WHERE id = ?", number))
        return [entry for entry in read_entries(data) if entry.device == device]

    def spanning(self, device: str, time_ms: int) -> list[int]:
        """Give the blocks that may hold an entry of just this time, oldest first."""
        rows = self._open.execute(
            "SELECT id FROM blocks WHERE last_ms >= ? AND first_ms <= ? AND instr(devices, ?) "
            "ORDER BY id",
            (time_ms, time_ms, f",{device},"),
        )
        return [number for (number,) in rows]

    def first_past(self, time_ms: int) -> int | None:
        """Give the first block that holds anything later than this time."""
        number: int | None = self._one("SELECT min(id) FROM blocks WHERE last_ms > ?", time_ms)
        return number

    @property
    def size_bytes(self) -> int:
        """Give the bytes in use; pages that pruning has freed do not count."""
        page_size, pages, free = (
            self._one(f"PRAGMA {name}") for name in ("page_size", "page_count", "freelist_count")
        )
        return int(page_size * (pages - free))

    @property
    def oldest_ms(self) -> int | None:
        """Give the time of the oldest block that is kept."""
        time_ms: int | None = self._one("SELECT first_ms FROM blocks ORDER BY id LIMIT 1")
        return time_ms

    def _one(self, query: str, *parameters: object) -> Any:
        row = self._open.execute(query, parameters).fetchone()
        return row[0] if row else None


def _unpack(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise sqlite3.DatabaseError(f"a block is damaged: {error}") from error


# Blocks go in the order of the log: up to the first that may stay. `+` keeps SQLite from sorting
# all that its index on the time finds.
_YOUNG = "SELECT id FROM blocks WHERE +last_ms >= ? ORDER BY id LIMIT 1"
_ALL = 1 << 62  # beyond the last block


def _first_young(db: sqlite3.Connection, before_ms: int | None) -> int:
    row = db.execute(_YOUNG, (before_ms,)).fetchone()
    return int(row[0]) if row else _ALL


def _first_within(db: sqlite3.Connection, excess_bytes: int) -> int:
    for number, size_bytes in db.execute("SELECT id, length(data) + 64 FROM blocks ORDER BY id"):
        if excess_bytes <= 0:
            return int(number)
        excess_bytes -= size_bytes
    return _ALL


def _find_first(db: sqlite3.Connection, devices: Iterable[str]) -> None:
    """Look for the oldest kept time of these devices; a head goes with the last block."""
    for device in devices:
        row = db.execute(
            "SELECT data FROM blocks WHERE instr(devices, ?) ORDER BY id LIMIT 1", (f",{device},",)
        ).fetchone()
        entries = read_entries(_unpack(row[0])) if row else iter(())
        first_ms = next((entry.time_ms for entry in entries if entry.device == device), None)
        if first_ms is None:
            db.execute("DELETE FROM heads WHERE device = ?", (device,))
        else:
            db.execute("UPDATE heads SET first_ms = ? WHERE device = ?", (first_ms, device))
