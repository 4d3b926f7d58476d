"""What the SQL archive knows: devices, their fields, and values over time. It only reads.

A device is (site, name). Several bridges may have measured it, and its kind may have changed:
its rows then lie under several ids and in several tables, and are given merged, by time.
"""

import heapq
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TextIO, TypeAlias

from heliobus import contract, health, history
from heliobus.database import FIRST_MS, JSON, Place, TimeMs, connect, place_of, sa, tables
from heliobus.database_errors import told
from heliobus.errors import ConfigError, guess
from heliobus.history import Bucket, Column, Point, Span
from heliobus.sample import LAST_MS, RESERVED, Sample, Value, time_text
from heliobus.settings import Settings

# Rows are fetched in pages: bounded memory, and no long transaction beside the writer.
_PAGE = 2000
# How far back `fields` looks; at 5 s a field that comes once an hour is among them.
_RECENT = 1000
# Looking at all columns takes 60 ms.
_LOOK_AGAIN_S = 60.0
_KEY = ("device_id", "time")
_OTHER = "other"
_TEXTS = ("kind", "role", "maker", "model", "serial", "firmware")
_KIND_OF_TABLE = {"events": "event"}
_EVER = Span()
_PATIENCE = "nothing has been stored yet; first samples may wait until this computer's clock is set"

_Row: TypeAlias = tuple[sa.Table, Any]


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the archive. `ids`: bridge ("" for a foreign publisher) by id in `devices`."""

    site: str
    name: str
    kind: str
    role: str
    maker: str
    model: str
    serial: str
    firmware: str
    first_ms: int
    last_ms: int
    ids: dict[int, str]


@dataclass(frozen=True, slots=True)
class _Query:
    """Which rows: all, or those that may hold `field`."""

    span: Span = _EVER
    field: str | None = None
    newest_first: bool = False
    page: int = _PAGE


class Archive:
    """Queries on one archive. Nothing is opened before the first. They raise SinkError."""

    def __init__(self, place: Place, known: contract.Contract) -> None:
        """Take where it is. Raise ConfigError when its driver is not installed."""
        self._place = place
        self._contract = known
        self._engine = connect(place, read_only=True)
        self._known: list[sa.Table] = []
        self._looked_s = -math.inf

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        self._engine.dispose()

    def devices(self, site: str | None = None, kind: str = "") -> list[Device]:
        """List the devices that have samples, of one site or of all, of one kind or of all.

        A component is among them unless a device has its name.
        """
        table = sa.table(
            "devices",
            *(sa.column(name) for name in ("id", "site", "bridge", "device", *_TEXTS)),
            *(sa.column(name, TimeMs()) for name in ("first_seen", "last_seen")),
        )
        query = sa.select(table).where(table.c.last_seen.is_not(None)).order_by(table.c.last_seen)
        with self._connected() as connection:
            there = sa.inspect(connection).has_table("devices")
            rows = connection.execute(query).all() if there else ()
        found: dict[tuple[str, str], list[Any]] = {}
        for row in rows:
            if row.kind != "event" and site in (None, row.site) and kind in ("", row.kind):
                found.setdefault((row.site, row.device), []).append(row)
        for key, same in found.items():
            found[key] = [row for row in same if row.kind != health.KIND] or same
        return [_device(found[key]) for key in sorted(found)]

    def device(self, name: str, site: str | None = None, kind: str = "") -> Device | None:
        """Find a device; without `site` only where a single site has that name."""
        found = [device for device in self.devices(site, kind) if device.name == name]
        return found[0] if len(found) == 1 else None

    def fields(self, device: Device) -> list[str]:
        """List the fields that the newest samples of the device have."""
        recent = islice(self._rows(device, _Query(newest_first=True, page=_RECENT)), _RECENT)
        return sorted({name for row in recent for name in self._sample(device, row).values})

    def latest(self, device: Device) -> Sample | None:
        """Give the newest sample."""
        for row in self._rows(device, _Query(newest_first=True, page=1)):
            return self._sample(device, row)
        return None

    def column(self, device: Device, field: str) -> Column:
        """Tell how a field is shown."""
        known = self._contract.field(device.kind, field)
        name = f"component {device.name}" if device.kind == health.KIND else device.name
        unit = known.unit if known else self._contract.unit(field)
        return Column(name, field, unit, known.precision if known else None)

    def samples(self, device: Device, span: Span = _EVER) -> Iterator[Sample]:
        """Give whole samples as they were stored, oldest first; `prev_ms` is not kept."""
        for row in self._rows(device, _Query(span)):
            yield self._sample(device, row)

    def points(self, device: Device, field: str, span: Span = _EVER) -> Iterator[Point]:
        """Give the values of one field, oldest first, page by page."""
        yield from self._points(device, _Query(span, field))

    def history(
        self, device: Device, field: str, span: Span = _EVER, limit: int | None = None
    ) -> list[Point]:
        """Give the values of one field, oldest first; at most the newest `limit`."""
        page = _PAGE if limit is None else min(limit, _PAGE)
        query = _Query(span, field, newest_first=True, page=max(page, 1))
        return list(islice(self._points(device, query), limit))[::-1]

    def buckets(
        self, device: Device, field: str, span: Span, *, bucket_s: int, offset_s: int = 0
    ) -> list[Bucket]:
        """Sum numbers up in stretches of `bucket_s` seconds; a boolean counts as 0 or 1.

        Stretches begin at multiples of `bucket_s` in a time that is `offset_s` ahead of UTC.
        """
        found: dict[int, Bucket] = {}

        def add(bucket: Bucket) -> None:
            known = found.get(bucket.time_ms)
            found[bucket.time_ms] = bucket if known is None else known.with_more(bucket)

        with self._connected() as connection:
            for table in self._tables(connection, field):
                if _is_number(table, field):
                    query = self._bucket_query(table, field, bucket_s, offset_s)
                    within = _within(table, span)
                    query = query.where(table.c.device_id.in_(device.ids), *within)
                    for slot, low, total, high, count in connection.execute(query):
                        add(Bucket(int(slot) * 1000, low, float(total), high, count))
        for point in self._points(device, _Query(span, field), only_other=True):
            if isinstance(point.value, int | float):
                number = float(point.value)
                second = point.time_ms // 1000 + offset_s
                slot = second - second % bucket_s - offset_s
                add(Bucket(slot * 1000, number, number, number, 1))
        return [found[key] for key in sorted(found)]

    def _bucket_query(
        self, table: sa.Table, field: str, bucket_s: int, offset_s: int
    ) -> sa.Select[*tuple[Any, ...]]:
        column: sa.ColumnElement[Any] = table.c[field]
        if isinstance(column.type, sa.Boolean):
            column = sa.case((column.is_(None), None), (column, 1), else_=0)
        second = self._place.dialect.epoch_s(table.c.time) + offset_s
        slot = (second - second % bucket_s - offset_s).label("slot")
        f = sa.func
        return (
            sa.select(slot, f.min(column), f.sum(column), f.max(column), f.count(column))
            .where(column.is_not(None))
            .group_by(sa.text("slot"))
        )

    def _points(
        self, device: Device, query: _Query, *, only_other: bool = False
    ) -> Iterator[Point]:
        field = query.field or ""
        for table, row in self._rows(device, query):
            value = None if only_other else self._value(table, field, row)
            if value is None and row.other:
                value = row.other.get(field)
            if value is not None:
                yield Point(row.time, value)

    def _rows(self, device: Device, query: _Query) -> Iterator[_Row]:
        """Merge the rows of all tables and ids by time."""
        with self._connected() as connection:
            there = self._tables(connection, query.field)
        streams = [self._stream(table, each, query) for table in there for each in device.ids]
        return heapq.merge(*streams, key=lambda row: row[1].time, reverse=query.newest_first)

    def _stream(self, table: sa.Table, device_id: int, query: _Query) -> Iterator[_Row]:
        """Give the rows of one id in one table, page by page; its times are unique."""
        time_column, other = table.c.time, table.c[_OTHER]
        select = sa.select(table)
        if query.field is not None:
            own = [table.c[query.field]] if query.field in table.c else []
            select = sa.select(table.c.device_id, time_column, other, *own)
            select = select.where(sa.or_(*(c.is_not(None) for c in (*own, other))))
        order = time_column.desc() if query.newest_first else time_column
        select = select.where(table.c.device_id == device_id).order_by(order).limit(query.page)
        span = query.span
        while True:
            with self._connected() as connection:
                rows = connection.execute(select.where(*_within(table, span))).all()
            yield from ((table, row) for row in rows)
            if len(rows) < query.page:
                return
            span = span.rest(rows[-1].time, newest_first=query.newest_first)

    def _sample(self, device: Device, found: _Row) -> Sample:
        table, row = found
        names = [column.name for column in table.c if column.name not in (*_KEY, _OTHER)]
        values = {name: self._value(table, name, row) for name in names}
        values |= row.other or {}
        kind = values.pop("kind", None) or _KIND_OF_TABLE.get(table.name, table.name)
        return Sample(
            site=device.site,
            bridge=device.ids[row.device_id] or None,
            device=device.name,
            kind=str(kind),
            time_ms=row.time,
            prev_ms=None,
            values={k: v for k, v in values.items() if v is not None and k not in RESERVED},
            marks={k: v for k, v in values.items() if v is not None and k in RESERVED},
        )

    def _value(self, table: sa.Table, field: str, row: Any) -> Value | None:
        raw: Value | None = row._mapping.get(field)  # noqa: SLF001  (its documented name)
        known = self._contract.field(_KIND_OF_TABLE.get(table.name, table.name), field)
        if known is not None and known.type == "array" and isinstance(raw, str):
            members: list[str] = json.loads(raw)
            return members
        return raw

    def _tables(self, connection: sa.Connection, field: str | None) -> list[sa.Table]:
        """Give the tables of kinds. The sink may widen them at any time, so look again."""
        now_s = time.monotonic()
        missed = field is not None and all(field not in table.c for table in self._known)
        if missed or now_s - self._looked_s > _LOOK_AGAIN_S:
            self._looked_s = now_s
            self._known = [
                self._table(name, columns)
                for name, columns in tables(connection).items()
                if {*_KEY, _OTHER} <= columns.keys()
            ]
        return self._known

    def _table(self, name: str, columns: dict[str, Any]) -> sa.Table:
        kind = _KIND_OF_TABLE.get(name, name)

        def type_of(column: str) -> Any:
            known = self._contract.field(kind, column)
            if column == "simulated" or (known is not None and known.type == "boolean"):
                return sa.Boolean()  # MariaDB shows it as a TINYINT
            if isinstance(columns[column], sa.Float):
                return sa.Double()  # MariaDB's would come as a Decimal
            return {"time": TimeMs(), _OTHER: JSON}.get(column, columns[column])

        return sa.Table(name, sa.MetaData(), *(sa.Column(c, type_of(c)) for c in columns))

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        if self._place.file is not None and not self._place.file.exists():
            raise ConfigError(f"{self._place}: there is no such file yet; has heliobus stored?")
        with told(self._place), self._engine.connect() as connection:
            yield connection


def open_archive(settings: Settings) -> Archive:
    """Give the archive of this configuration: its first sink of type sql. Raise ConfigError."""
    for sink in settings.sinks.values():
        if sink.type == "sql":
            return Archive(place_of(sink, settings.folder), contract.load())
    raise ConfigError(
        "there is no archive: the configuration has no sink of type sql; add to it"
        ' sinks: {archive: {type: sql, url: "sqlite:///history.db"}}'
    )


def history_command(
    settings: Settings,
    device: str,
    field: str,
    *,
    since_s: float,
    csv: bool,
    out: TextIO,
    kind: str = "",
) -> int:
    """Print what a field of a device was. Give 0, or 1 when there is nothing to print.

    Raise ConfigError for an unknown device or field, SinkError when the archive cannot be read.
    """
    archive = open_archive(settings)
    try:
        found = _find(archive, device, settings.site, kind)
        now_ms = round(time.time() * 1000)
        span = Span(now_ms - round(since_s * 1000))
        first = next(archive.points(found, field, span), None)
        if first is None:
            print(_why_nothing(archive, found, field), file=out)
            return 1
        if csv:
            history.write_csv(archive.column(found, field), archive.points(found, field, span), out)
        else:
            _print_table(archive, found, archive.column(found, field), first=first, out=out)
        return 0
    finally:
        archive.close()


def _find(archive: Archive, name: str, site: str, kind: str) -> Device:
    """Find a device of this site, else of the only other that has it; `site/device` is exact."""
    elsewhere, _, own = name.rpartition("/")
    found = archive.device(own, elsewhere or site, kind)
    if found is None and not elsewhere:
        found = archive.device(own, kind=kind)
    if found is None:
        devices = archive.devices(kind=kind)
        known = [d.name if d.site == site else f"{d.site}/{d.name}" for d in devices]
        stored = kind or any(device.kind != health.KIND for device in devices)
        hint = guess(name, known) if stored else f": {_PATIENCE}"
        raise ConfigError(f"the archive has no {kind or 'device'} {name!r}{hint}")
    return found


def _why_nothing(archive: Archive, device: Device, field: str) -> str:
    newest = archive.history(device, field, limit=1)
    if not newest:
        hint = guess(field, archive.fields(device))
        raise ConfigError(
            f"{device.name} ({device.kind}) has no field {field!r} in the archive{hint}"
        )
    when = time_text(newest[0].time_ms)
    return f"{device.name} {field}: no value in that time; the newest is of {when}, see --since"


def _print_table(
    archive: Archive, device: Device, column: Column, *, first: Point, out: TextIO
) -> None:
    since = Span(first.time_ms)
    points = archive.points(device, column.field, since)
    if isinstance(first.value, bool) or not isinstance(first.value, int | float):
        lines = history.change_lines(column, points)
    else:
        newest = archive.history(device, column.field, since, limit=1)
        whole = Span(first.time_ms, newest[0].time_ms)
        step = history.step_s(whole)
        offset_s = history.offset_s(newest[0].time_ms)
        buckets = archive.buckets(device, column.field, whole, bucket_s=step, offset_s=offset_s)
        lines = history.number_lines(column, step, buckets, points)
    for line in lines:
        print(line, file=out)


def _device(rows: list[Any]) -> Device:
    """Merge what several bridges know of one device; the one that saw it last counts."""
    newest = rows[-1]
    return Device(
        site=newest.site,
        name=newest.device,
        **{name: getattr(newest, name) or "" for name in _TEXTS},
        first_ms=min(row.first_seen for row in rows),
        last_ms=newest.last_seen,
        ids={row.id: row.bridge for row in rows},
    )


def _within(table: sa.Table, span: Span) -> list[sa.ColumnElement[bool]]:
    """Give the conditions of a span; one that ends where no time is needs none."""
    since_ms, until_ms = span.since_ms, span.until_ms
    conditions = []
    if since_ms is not None:
        conditions.append(table.c.time >= max(since_ms, FIRST_MS))
    if until_ms is not None:
        conditions.append(table.c.time <= min(until_ms, LAST_MS))
    return conditions


def _is_number(table: sa.Table, field: str) -> bool:
    return field in table.c and isinstance(
        table.c[field].type, sa.Integer | sa.Float | sa.Numeric | sa.Boolean
    )
