"""The demo's last line: what was measured, published and stored, each counted on its own."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliobus import health
from heliobus.contract import Contract
from heliobus.journal import Journal
from heliobus.sample import parse_sample, time_text
from heliobus.settings import Settings
from heliobus.topics import BUS

Row = tuple[str, str]  # device, time as the archive writes it in SQLite
_ASLEEP = b'"mode":"asleep"'
_ASLEEP_ONLY = {"mode": "asleep"}


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of one run.

    `measured`: the answers that the simulated devices have counted, and `heard`, which is no answer
    and as journaled: of devices that speak by themselves, of sums, and of those asleep.
    """

    measured: int
    heard: int
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
    def note(self) -> str:
        """Say what of the measured no simulated device has counted; "" for nothing."""
        if not self.heard:
            return ""
        return (
            f"{self.heard} of the {self.measured} were heard: what devices said by themselves,"
            " sums, and that an inverter sleeps. The simulated devices have counted the others.\n"
        )

    @property
    def good(self) -> bool:
        """Say whether nothing was lost and nothing is there twice."""
        return not self.lost and not self.duplicates


def compare(
    *,
    measured: Mapping[str, int],
    heard: Iterable[Row] = (),
    published: int,
    rewritten: int,
    journaled: Iterable[Row],
    stored: Iterable[Row],
) -> Tally:
    """Compare, device by device, the samples that were measured, the journals and the database.

    Lost: answered and not journaled, or journaled and not stored. Duplicate: journaled twice or
    without having been answered, or stored twice or without having been journaled. `heard` is
    what was journaled and is no answer: of devices that nobody asks, and of silent ones.
    """
    log, rows, answered = Counter(journaled), Counter(stored), Counter(measured)
    once, by_itself = Counter(set(log)), set(heard)
    by_device = Counter(device for device, _ in once.keys() - by_itself)
    return Tally(
        measured=answered.total() + len(by_itself),
        heard=len(by_itself),
        published=published,
        stored=rows.total(),
        lost=(answered - by_device).total() + (once - rows).total(),
        duplicates=sum(each.total() for each in (log - once, by_device - answered, rows - once)),
        rewritten=rewritten,
    )


def expected(polls: Mapping[str, int], parts: Mapping[str, str]) -> dict[str, int]:
    """Give how many samples each device must have, by the polls of what was asked for it.

    `parts` says of each device on the bus through which other it is reached. One poll gives one
    sample of each part; a device that was never on the bus counts for itself.
    """
    found = {name: polls[via] for name, via in parts.items() if via in polls}
    seen = {via for name, via in parts.items()}
    return found | {name: count for name, count in polls.items() if name not in seen}


def journaled(
    settings: Settings, name: str, since_ms: int, *, silent_only: bool = False
) -> list[Row]:
    """Read what a stopped component has journaled since a time.

    A journal's answer may begin some time before what was asked for, so the times are looked at.
    `silent_only`: that of a device nothing is known but that it sleeps; nobody has answered that.
    """
    journal = Journal(settings.data, name, settings.journal)
    journal.open()
    rows: list[Row] = []
    for device in journal.heads():
        after_ms: int | None = since_ms - 1
        while device != BUS and (batch := journal.batch(device, after_ms, None)).entries:
            rows += [
                (device, time_text(entry.time_ms))
                for entry in batch.entries
                if entry.time_ms >= since_ms and (not silent_only or _is_silent(entry.payload))
            ]
            after_ms = batch.to_ms
    journal.close()
    return rows


def _is_silent(payload: bytes) -> bool:
    # Most need not be taken apart. Some devices say themselves that they sleep, with all they know.
    return _ASLEEP in payload and parse_sample("", "", payload).values == _ASLEEP_ONLY


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


def begin(path: Path) -> bool:
    """Say whether nobody has begun to count here before; who was killed leaves no counts."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def note(path: Path, **counts: Any) -> None:
    """Leave counts for the process that compares them."""
    path.write_text(json.dumps(counts))


def noted(path: Path) -> dict[str, Any]:
    """Read the counts that another process has left; none where it left none."""
    try:
        counts: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return counts
