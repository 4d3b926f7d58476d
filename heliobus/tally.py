"""The demo's last line: what was measured, published and stored, each counted on its own."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from heliobus import health
from heliobus.contract import Contract
from heliobus.journal import Journal
from heliobus.sample import time_text
from heliobus.settings import Settings
from heliobus.topics import BUS

Row = tuple[str, str]  # device, time as the archive writes it in SQLite


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of one run."""

    measured: int
    published: int
    stored: int
    lost: int
    duplicates: int
    rewritten: int

    def __str__(self) -> str:
        """Write the line."""
        names = ("measured", "published", "stored", "lost", "duplicates", "rewritten")
        return " ".join(f"{name}={getattr(self, name)}" for name in names)

    @property
    def good(self) -> bool:
        """Say whether nothing was lost and nothing is there twice."""
        return not self.lost and not self.duplicates


def compare(
    *,
    measured: int,
    published: int,
    rewritten: int,
    journaled: Iterable[Row],
    stored: Iterable[Row],
) -> Tally:
    """Compare the polls that were answered, the journal and the database.

    Lost: answered and not journaled, or journaled and not stored. Duplicate: journaled twice or
    without having been answered, or stored twice or without having been journaled.
    """
    log, rows = Counter(journaled), Counter(stored)
    once = Counter(set(log))
    return Tally(
        measured=measured,
        published=published,
        stored=rows.total(),
        lost=max(0, measured - len(once)) + (once - rows).total(),
        duplicates=(log - once).total() + max(0, len(once) - measured) + (rows - once).total(),
        rewritten=rewritten,
    )


def journaled(settings: Settings, name: str, since_ms: int) -> list[Row]:
    """Read what a stopped component has journaled since a time.

    A journal's answer may begin some time before what was asked for, so the times are looked at.
    """
    journal = Journal(settings.data, name, settings.journal)
    journal.open()
    rows: list[Row] = []
    for device in journal.heads():
        after_ms: int | None = since_ms - 1
        while device != BUS and (batch := journal.batch(device, after_ms, None)).entries:
            times_ms = (entry.time_ms for entry in batch.entries)
            rows += [(device, time_text(time_ms)) for time_ms in times_ms if time_ms >= since_ms]
            after_ms = batch.to_ms
    journal.close()
    return rows


def stored(path: Path, contract: Contract, since_ms: int, *, site: str) -> list[Row]:
    """Read the devices and times of all rows of a site in an SQLite archive since a time."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path.as_uri() + "?mode=ro", uri=True)) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        rows: list[Row] = []
        for kind in sorted(tables & set(contract.kinds) - {health.KIND}):
            rows += db.execute(
                f'SELECT device, time FROM "{kind}" JOIN devices ON devices.id = device_id '  # noqa: S608 - a kind of the contract
                "WHERE time >= ? AND site = ?",
                (time_text(since_ms), site),
            ).fetchall()
    return rows


def note(path: Path, **counts: int) -> None:
    """Leave counts for the process that compares them."""
    path.write_text(json.dumps(counts))


def noted(path: Path, name: str) -> int:
    """Read a count that another process has left; 0 where it left none."""
    try:
        return int(json.loads(path.read_text())[name])
    except (OSError, ValueError, KeyError):
        return 0
