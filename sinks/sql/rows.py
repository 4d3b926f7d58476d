"""Samples into rows: device ids, upserts, and the one bad row that must not cost the others."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from heliobus.cursor import Key
from heliobus.database import DIALECTS, FIRST_MS, PACKET, sa
from heliobus.database_errors import is_row_fault, reason
from heliobus.errors import FrameError
from heliobus.sample import LAST_MS, Sample, dumps
from heliobus.sink import Written
from sinks.sql.tables import CURSORS, DEVICES, NAME_LENGTH, KindTable, Tables

# SQLite up to 3.31 takes 999 parameters in one statement.
_TIMES_AT_ONCE = 500

_KEY = ("site", "bridge", "device")
_Entry: TypeAlias = tuple[dict[str, Any], Sample]
_Rejected: TypeAlias = list[tuple[Sample, str]]


def store(connection: sa.Connection, tables: Tables, samples: Sequence[Sample]) -> Written:
    """Upsert samples. Each is counted once: stored anew, rewritten, or rejected."""
    rejected: _Rejected = []
    batches: dict[str, dict[tuple[int, int], _Entry]] = {}
    good = list(_sound(samples, rejected))
    ids = _device_ids(connection, good)
    for sample in good:
        device_id = ids[key_of(sample)]
        kind_table = tables.of(sample)
        try:
            row = kind_table.row(sample, device_id)
            _check_length(row, connection.info.get(PACKET))
            entry = (row, sample)
        except FrameError as error:
            rejected.append((sample, str(error)))
            continue
        batches.setdefault(kind_table.table.name, {})[device_id, sample.time_ms] = entry
    stored = 0
    for name, batch in batches.items():
        new, refused = _store_batch(connection, tables.kinds[name], batch)
        stored += new
        rejected += refused
    return Written(stored, len(samples) - len(rejected) - stored, rejected)


def store_cursors(connection: sa.Connection, cursors: Mapping[Key, int]) -> None:
    """Set the cursors, also backwards: a new chain may begin before the old one ended."""
    found = [
        {"site": site, "bridge": bridge, "device": device, "cursor_ms": cursor_ms}
        for (site, bridge, device), cursor_ms in cursors.items()
        if _fits(site, bridge, device)
    ]
    if found:
        upsert = DIALECTS[connection.dialect.name].upsert
        connection.execute(upsert(CURSORS, _KEY, (*_KEY, "cursor_ms")), found)


def store_info(connection: sa.Connection, key: Key, info: Mapping[str, Any]) -> None:
    """Keep what a device says about itself; `role`, `maker` ... also in columns of their own."""
    texts = {
        name: info[name] if isinstance(info.get(name), str) else None
        for name in ("kind", "role", "maker", "model", "serial", "firmware")
    }
    row = {**texts, "info": dict(info)}
    same = [DEVICES.c[name] == value for name, value in zip(_KEY, key, strict=True)]
    if connection.execute(sa.select(DEVICES.c.id).where(*same)).first() is None:
        connection.execute(DEVICES.insert(), {**dict(zip(_KEY, key, strict=True)), **row})
    else:
        connection.execute(DEVICES.update().where(*same), row)


def key_of(sample: Sample) -> Key:
    """Name the series of a sample: two bridges may have measured the same device."""
    return sample.site, sample.bridge or "", sample.device


def _fits(*names: str) -> bool:
    return all(len(name) <= NAME_LENGTH for name in names)


def _sound(samples: Iterable[Sample], rejected: _Rejected) -> Iterator[Sample]:
    for sample in samples:
        if not _fits(*key_of(sample)):
            why = f"site, bridge and device: expected at most {NAME_LENGTH} characters each"
        elif not FIRST_MS <= sample.time_ms <= LAST_MS:
            why = f"time: found {sample.time_ms} ms since 1970, expected the years 1 to 9999"
        else:
            yield sample
            continue
        rejected.append((sample, why))


def _check_length(row: Mapping[str, Any], most_bytes: int | None) -> None:
    """Refuse a row that is longer than what the server takes at once: it would hang up."""
    if most_bytes is None:
        return
    texts = (value for value in row.values() if isinstance(value, str | dict))
    length = sum(len(text.encode() if isinstance(text, str) else dumps(text)) for text in texts)
    if 4 * length > most_bytes:  # escaping may double it, and there are the other columns
        raise FrameError(
            f"found {length} bytes of text, expected at most a quarter of what the server takes"
            f" at once ({most_bytes} bytes, max_allowed_packet)"
        )


def _device_ids(connection: sa.Connection, samples: Sequence[Sample]) -> dict[Key, int]:
    """Give the ids, make those that are new, and note when each device was seen."""
    seen: dict[Key, tuple[int, int, str]] = {}
    for sample in samples:
        key, time_ms = key_of(sample), sample.time_ms
        first, last, kind = seen.get(key, (time_ms, time_ms, sample.kind))
        seen[key] = min(first, time_ms), max(last, time_ms), kind
    known = _devices(connection)
    new = [
        dict(zip(_KEY, key, strict=True)) | {"kind": kind}
        for key, (_, _, kind) in seen.items()
        if key not in known
    ]
    if new:
        connection.execute(DEVICES.insert(), new)
        known = _devices(connection)
    _note_seen(connection, seen, known)
    return {key: known[key].id for key in seen}


def _devices(connection: sa.Connection) -> dict[Key, Any]:
    c = DEVICES.c
    query = sa.select(c.id, c.site, c.bridge, c.device, c.first_seen, c.last_seen)
    return {(row.site, row.bridge, row.device): row for row in connection.execute(query)}


def _note_seen(
    connection: sa.Connection, seen: Mapping[Key, tuple[int, int, str]], known: Mapping[Key, Any]
) -> None:
    changed = []
    for key, (first, last, kind) in seen.items():
        row = known[key]
        since = first if row.first_seen is None else min(first, row.first_seen)
        until = last if row.last_seen is None else max(last, row.last_seen)
        if (since, until) != (row.first_seen, row.last_seen):
            changed.append({"at": row.id, "since": since, "until": until, "named": kind})
    if changed:
        update = (
            DEVICES.update()
            .where(DEVICES.c.id == sa.bindparam("at"))
            .values(
                first_seen=sa.bindparam("since"),
                last_seen=sa.bindparam("until"),
                # What `info` said stays; before it came, the samples know best.
                kind=sa.func.coalesce(DEVICES.c.kind, sa.bindparam("named")),
            )
        )
        connection.execute(update, changed)


def _store_batch(
    connection: sa.Connection, kind_table: KindTable, batch: Mapping[tuple[int, int], _Entry]
) -> tuple[int, _Rejected]:
    """Upsert the rows of one table; give how many did not exist before, and the refused."""
    there = _existing(connection, kind_table.table, batch)
    statement, rows = kind_table.prepared([row for row, _ in batch.values()])
    entries = list(zip(rows, (sample for _, sample in batch.values()), strict=True))
    refused = _upsert(connection, statement, entries)
    lost = {(row["device_id"], row["time"]) for (row, _), _ in refused}
    return len(batch.keys() - there - lost), [(sample, why) for (_, sample), why in refused]


def _existing(
    connection: sa.Connection, table: sa.Table, keys: Iterable[tuple[int, int]]
) -> set[tuple[int, int]]:
    times: dict[int, list[int]] = {}
    for device_id, time_ms in keys:
        times.setdefault(device_id, []).append(time_ms)
    there: set[tuple[int, int]] = set()
    for device_id, of_device in times.items():
        for begin in range(0, len(of_device), _TIMES_AT_ONCE):
            some = of_device[begin : begin + _TIMES_AT_ONCE]
            query = sa.select(table.c.time).where(
                table.c.device_id == device_id, table.c.time.in_(some)
            )
            there.update((device_id, time_ms) for time_ms in connection.scalars(query))
    return there


def _upsert(
    connection: sa.Connection, statement: sa.Insert, entries: Sequence[_Entry]
) -> list[tuple[_Entry, str]]:
    """Store all entries; halve where the database refuses, until the bad ones stand alone."""
    savepoint = connection.begin_nested()
    try:
        connection.execute(statement, [row for row, _ in entries])
    except sa.exc.DBAPIError as error:
        if not is_row_fault(error):
            raise  # after a deadlock there is no savepoint any more
        savepoint.rollback()
        if len(entries) == 1:
            return [(entries[0], reason(error))]
        half = len(entries) // 2
        return [
            *_upsert(connection, statement, entries[:half]),
            *_upsert(connection, statement, entries[half:]),
        ]
    savepoint.commit()
    return []
