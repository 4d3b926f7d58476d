"""The tables of the archive: made from the contract, and widened as it grows.

Nothing is ever dropped, renamed or retyped here. A column that somebody made with another type
stays as it is; what does not fit into it goes to the column `other`.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heliobus.contract import Contract
from heliobus.database import DIALECTS, JSON, TEXT, TimeMs, Upsert, sa, tables
from heliobus.database_errors import reason
from heliobus.errors import ConfigError
from heliobus.sample import Sample, dumps

KEY = ("device_id", "time")
OTHER = "other"
# Text of a key: MariaDB indexes at most 3072 bytes, three of these in utf8mb4 are 2280.
NAME_LENGTH = 190
# MariaDB's limit is 1017 columns, PostgreSQL's 1600, SQLite's 2000. Families have members up
# to 99, so a publisher that makes them up could fill a table; from here on they go to `other`.
_MAX_COLUMNS = 900
# Text longer than this is no value of a device.
_TEXT_LENGTH = 16_000
# A row wider than MariaDB's page, a table with too many columns, a user who may not alter it.
_REFUSALS = ("row size too large", "too many columns", "denied", "must be owner")
_TABLE_OF_KIND = {"event": "events"}
_ANY_KIND = "sensor"
_ATTEMPTS = 3
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.String(NAME_LENGTH)
# How MariaDB and MySQL compare text: exactly.
_MYSQL: Mapping[str, Any] = {
    f"{name}_{option}": value
    for name in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}

_META = sa.MetaData()
DEVICES = sa.Table(
    "devices",
    _META,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("site", _NAME, nullable=False),
    sa.Column("bridge", _NAME, nullable=False),  # "": a publisher that is not ours
    sa.Column("device", _NAME, nullable=False),
    *(sa.Column(name, TEXT) for name in ("kind", "role", "maker", "model", "serial", "firmware")),
    sa.Column("info", JSON),
    sa.Column("first_seen", TimeMs),
    sa.Column("last_seen", TimeMs),
    sa.UniqueConstraint("site", "bridge", "device"),
    **_MYSQL,
)
CURSORS = sa.Table(
    "cursors",
    _META,
    *(sa.Column(name, _NAME, primary_key=True) for name in ("site", "bridge", "device")),
    sa.Column("cursor_ms", sa.BigInteger, nullable=False),
    **_MYSQL,
)

_COLUMN_TYPES: Mapping[str, Any] = {
    "number": sa.Double(),
    "integer": sa.BigInteger(),
    "boolean": sa.Boolean(),
    "string": TEXT,
    "array": TEXT,
}
# What a column that exists can take without changing it.
_TAKES: Sequence[tuple[type[Any], frozenset[str]]] = (
    (sa.Float, frozenset({"number"})),
    (sa.Boolean, frozenset({"boolean"})),
    (sa.Integer, frozenset({"integer", "boolean"})),  # MariaDB's BOOLEAN is a TINYINT
    (sa.String, frozenset({"string", "array"})),
)
_MARKS = {"quality": "string", "simulated": "boolean"}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    # Whole numbers beyond 2**53 would be rounded.
    return float(value) if abs(value) < 1 << 53 or isinstance(value, float) else None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        return None
    return int(value) if -(1 << 63) <= value < 1 << 63 else None


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > _TEXT_LENGTH or "\0" in value:
        return None  # PostgreSQL has no NUL in text
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _array(value: Any) -> str | None:
    """Keep a list of texts as JSON text: exact, and LIKE '%"overload"%' finds a member."""
    if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
        return None
    return _text(json.dumps(value, ensure_ascii=False))


_FIT: Mapping[str, Callable[[Any], Any]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "string": _text,
    "array": _array,
}


@dataclass(slots=True)
class KindTable:
    """One table as it is now. `fields`: the columns that can be used, with their field type."""

    table: sa.Table
    fields: Mapping[str, str]
    taken: frozenset[str]  # every column name, in lower case, usable or not
    upsert: Upsert
    # A table has columns for every device there is; binding only those that these devices ever
    # filled makes a row five times cheaper. The others become NULL where a row is replaced.
    _filled: tuple[str, ...] = ()
    _statement: sa.Insert | None = None

    def row(self, sample: Sample, device_id: int) -> dict[str, Any]:
        """Lay out a sample; what has no fitting column goes to `other`. Raise FrameError."""
        row: dict[str, Any] = {"device_id": device_id, "time": sample.time_ms}
        other: dict[str, Any] = {}
        if table_name(sample.kind) != self.table.name:
            other["kind"] = sample.kind
        for name, value in (*sample.marks.items(), *sample.values.items()):
            field_type = self.fields.get(name)
            fitted = None if field_type is None else _FIT[field_type](value)
            if fitted is None:
                other[name] = value
            else:
                row[name] = fitted
        if other:
            dumps(other)  # what no JSON can hold is refused here, where it costs one row
            row[OTHER] = other
        return row

    def prepared(self, rows: Sequence[Mapping[str, Any]]) -> tuple[sa.Insert, list[dict[str, Any]]]:
        """Give the statement that stores these rows, and the rows with all its columns."""
        names = set(self._filled).union(*rows)
        if self._statement is None or len(names) > len(self._filled):
            self._filled = tuple(sorted(names))
            self._statement = self.upsert(self.table, KEY, self._filled)
        return self._statement, [{name: row.get(name) for name in self._filled} for row in rows]


def table_name(kind: str) -> str:
    """Name the table of a kind."""
    return _TABLE_OF_KIND.get(kind, kind)


@dataclass(slots=True)
class Tables:
    """All tables of the archive, kept in step with the contract and the database."""

    contract: Contract
    kinds: dict[str, KindTable]  # by the name of the table
    refused: Sequence[str]  # which columns the database would not add, and why

    def of(self, sample: Sample) -> KindTable:
        """Give the table that stores this sample; an unknown kind is stored as sensor."""
        return self.kinds[_known_table(self.contract, sample.kind)]

    def missing(self, samples: Iterable[Sample]) -> dict[str, dict[str, str]]:
        """Give the columns of the contract that these samples need and that do not exist yet."""
        found: dict[str, dict[str, str]] = {}
        for sample in samples:
            place = self.of(sample)
            room = _MAX_COLUMNS - len(place.taken)
            for name in sorted(sample.values.keys() - place.taken):
                field = self.contract.field(sample.kind, name)
                wanted = found.setdefault(place.table.name, {})
                if field is not None and len(wanted) < room:
                    wanted[name] = field.type
        return {table: wanted for table, wanted in found.items() if wanted}


def _refuses_columns(error: Exception) -> bool:
    """Tell whether the database will not add a column, however often it is asked."""
    text = str(error).lower()
    return any(words in text for words in _REFUSALS)


def _known_table(contract: Contract, kind: str) -> str:
    return table_name(kind if kind in contract.kinds else _ANY_KIND)


def contract_columns(contract: Contract) -> dict[str, dict[str, str]]:
    """Give the columns with their field types that each table has from the start."""
    kinds = {
        table_name(name): {f.name: f.type for f in kind.fields.values() if not f.family}
        for name, kind in contract.kinds.items()
    }
    kinds.setdefault(_ANY_KIND, {})
    return {name: {**_MARKS, **fields} for name, fields in kinds.items()}


def migrate(
    engine: sa.Engine, contract: Contract, wanted: Mapping[str, Mapping[str, str]]
) -> Tables:
    """Make the tables and columns that do not exist yet, and give all as they are now.

    Several processes may do this at the same time: who comes second finds the work done.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _migrate(engine, contract, wanted)
        except (sa.exc.OperationalError, sa.exc.ProgrammingError, sa.exc.IntegrityError) as error:
            if not any(word in str(error).lower() for word in ("exists", "duplicate")):
                raise
    return _migrate(engine, contract, wanted)


def _migrate(
    engine: sa.Engine, contract: Contract, wanted: Mapping[str, Mapping[str, str]]
) -> Tables:
    with engine.begin() as connection:
        _META.create_all(connection)
        there = tables(connection)
        for name in wanted.keys() - there.keys():
            _table(name, wanted[name]).create(connection)
    refused: list[str] = []
    for name in wanted.keys() & there.keys():
        taken = {column.lower() for column in there[name]}
        missing = {n: field_type for n, field_type in wanted[name].items() if n not in taken}
        if missing and (why := _add_columns(engine, name, missing)):
            refused.append(f"{why}; kept in `other`: {name}.{f', {name}.'.join(missing)}")
    with engine.connect() as connection:
        there = tables(connection)
    upsert = DIALECTS[engine.dialect.name].upsert
    kinds = {n: _as_it_is(contract, n, there[n], upsert) for n in contract_columns(contract)}
    for name, fields in wanted.items():
        kinds[name].taken |= fields.keys()  # what was refused is not asked for again
    return Tables(contract, kinds, refused)


def _add_columns(engine: sa.Engine, name: str, fields: Mapping[str, str]) -> str:
    """Add columns to a table. Give why the database will not, or nothing."""
    new = _table(name, fields).c
    texts = [
        f"ADD COLUMN {sa.schema.CreateColumn(new[field]).compile(dialect=engine.dialect)}"
        for field in fields
    ]
    if engine.dialect.name != "sqlite":  # which adds one at a time
        texts = [", ".join(texts)]
    try:
        with engine.begin() as connection:
            quoted = connection.dialect.identifier_preparer.quote(name)
            for text in texts:
                connection.exec_driver_sql(f"ALTER TABLE {quoted} {text}")
    except sa.exc.DBAPIError as error:
        if not _refuses_columns(error):
            raise
        return reason(error)
    return ""


def _table(name: str, fields: Mapping[str, str]) -> sa.Table:
    """Describe one table of a kind. SQLite keeps it sorted by its key: a device lies together."""
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("device_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", TimeMs, primary_key=True),
        *(sa.Column(column, _COLUMN_TYPES[field_type]) for column, field_type in fields.items()),
        sa.Column(OTHER, JSON),
        sqlite_with_rowid=False,
        **_MYSQL,
    )


def _as_it_is(contract: Contract, name: str, there: Mapping[str, Any], upsert: Upsert) -> KindTable:
    if not {*KEY, OTHER} <= there.keys():
        raise ConfigError(
            f"the table {name} was not made by heliobus: it lacks one of the columns"
            f" {', '.join((*KEY, OTHER))}; give heliobus a database of its own"
        )
    kind = next((kind for kind in contract.kinds if table_name(kind) == name), _ANY_KIND)
    fields: dict[str, str] = {}
    for column, column_type in there.items():
        field = contract.field(kind, column)
        field_type = _MARKS.get(column) or (field.type if field else None)
        if field_type is not None and _takes(column_type, field_type):
            fields[column] = field_type
    taken = frozenset(column.lower() for column in there)
    return KindTable(_table(name, fields), fields, taken, upsert)


def _takes(column_type: Any, field_type: str) -> bool:
    for kind, takes in _TAKES:
        if isinstance(column_type, kind):
            return field_type in takes
    return False
