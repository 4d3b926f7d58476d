"""The way to any SQL database: its address, its connection, and how it differs from the others.

Everything goes through SQLAlchemy Core. What differs between databases stands in DIALECTS and
in the two column types below; the words for their errors are in `heliobus/database_errors.py`.

    table per kind   inverter, battery, ..., events (kind event), sensor (also unknown kinds)
    its key          (device_id, time); devices.id names one (site, bridge, device)
    its columns      quality, simulated, one per field of the contract, other (JSON)
"""

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from heliobus.credentials import read_secret
from heliobus.errors import ConfigError, SinkError
from heliobus.sample import dumps, time_ms, time_text
from heliobus.settings import SinkSettings

try:
    import sqlalchemy as sa
except ModuleNotFoundError as error:
    raise ConfigError(
        "an SQL archive needs the package SQLAlchemy: run 'make setup', or pip install '.[sql]'"
        " in the clone of heliobus"
    ) from error

from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = [
    "DIALECTS", "FIRST_MS", "JSON", "PACKET", "TEXT", "Place", "TimeMs", "Upsert",
    "connect", "locate", "place_of", "sa", "tables",
]  # fmt: skip

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MS = timedelta(milliseconds=1)
PACKET = "packet_bytes"  # in Connection.info: the longest statement that the server takes
FIRST_MS = -62135596800000  # the year 1, where Python's time begins
# One attempt at a lock: a stop must be served within 2 s, and whoever asks repeats anyway.
_LOCK_S = 1.0
_CONNECT_S = 2
_READ_S = 10
# A reader may ask about years.
_LONG_READ_S = 120
# PyMySQL joins rows to statements of at most so many bytes, whatever the server takes.
_STATEMENT_BYTES = 1_024_000
_PACKET_SPARE_BYTES = 1024

JSON = sa.JSON(none_as_null=True)


def _of(dialect: str) -> Any:
    """Import what SQLAlchemy has for one database: all of them would cost 4 MB."""
    return import_module(f"sqlalchemy.dialects.{dialect}")


class LongText(TypeDecorator[str]):
    """Text of any length: MariaDB's TEXT ends at 64 kB."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """Choose the type of column."""
        return dialect.type_descriptor(DIALECTS[dialect.name].text())


TEXT = LongText()


class TimeMs(TypeDecorator[int]):
    """Milliseconds since 1970, stored as the time type of the database, always UTC.

    SQLite has none: there it is the text of the bus, `2026-11-21T10:15:30.123Z`. It sorts by
    time, SQLite's date functions read it, and Grafana's SQLite plugin takes it as a time with
    milliseconds (it knows text only in this form, and numbers only as whole seconds).
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """Choose the type of column."""
        return dialect.type_descriptor(DIALECTS[dialect.name].time())

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> Any:
        """Turn milliseconds into what the driver takes."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return time_text(value)
        moment = _EPOCH + value * _ONE_MS
        return moment if DIALECTS[dialect.name].zoned else moment.replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        """Turn what the driver gives into milliseconds."""
        if value is None:
            return None
        if isinstance(value, str):
            return time_ms(value)
        moment: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _ONE_MS


Upsert = Callable[[sa.Table, Sequence[str], Sequence[str]], sa.Insert]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one database does differently.

    `driver` is taken when an address names none. `upsert(table, key, given)` stores the columns
    `given` and replaces a row that has the same key as a whole: its other columns become NULL.
    `epoch_s` turns a time column into whole seconds since 1970. A writer says `session` at the
    start of each connection, and asks `packet` how long a statement the server takes.
    """

    driver: str
    port: int | None  # the usual one
    time: Callable[[], TypeEngine[Any]]
    upsert: Upsert
    epoch_s: Callable[[sa.ColumnElement[Any]], sa.ColumnElement[int]]
    text: Callable[[], TypeEngine[Any]] = sa.Text
    zoned: bool = False
    connect: Mapping[str, Any] = field(default_factory=dict)
    session: str = ""
    packet: str = ""


def _replaced(table: sa.Table, key: Sequence[str], given: Sequence[str], new: Any) -> Any:
    others = (column.name for column in table.columns if column.name not in key)
    return {name: new[name] if name in given else sa.null() for name in others}


def _on_conflict(dialect: str) -> Upsert:
    def upsert(table: sa.Table, key: Sequence[str], given: Sequence[str]) -> sa.Insert:
        statement = _of(dialect).insert(table)
        replaced = _replaced(table, key, given, statement.excluded)
        result: sa.Insert = statement.on_conflict_do_update(index_elements=key, set_=replaced)
        return result

    return upsert


def _on_duplicate_key(table: sa.Table, key: Sequence[str], given: Sequence[str]) -> sa.Insert:
    statement = _of("mysql").insert(table)
    result: sa.Insert = statement.on_duplicate_key_update(
        _replaced(table, key, given, statement.inserted)
    )
    return result


_MYSQL = Dialect(
    driver="pymysql",
    port=3306,
    time=lambda: _of("mysql").DATETIME(fsp=3),
    text=lambda: _of("mysql").LONGTEXT(),
    upsert=_on_duplicate_key,
    # UNIX_TIMESTAMP would read the column in the time zone of the session.
    epoch_s=lambda time: sa.func.timestampdiff(sa.text("SECOND"), "1970-01-01", time),
    connect={
        "connect_timeout": _CONNECT_S,
        "read_timeout": _READ_S,
        "write_timeout": _READ_S,
        "charset": "utf8mb4",
    },
    # Without strict mode a value that does not fit is cut in silence. A host that loses its power
    # in mid-transaction would keep its locks for eight hours (only MariaDB reads `/*M!`).
    session="SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'),"
    " /*M!100300 idle_transaction_timeout = 30, */ wait_timeout = 600,"
    " innodb_lock_wait_timeout = 1, lock_wait_timeout = 2",
    packet="SELECT @@max_allowed_packet",
)
DIALECTS: Mapping[str, Dialect] = {
    "sqlite": Dialect(
        driver="pysqlite",
        port=None,
        time=sa.Text,
        upsert=_on_conflict("sqlite"),
        epoch_s=lambda time: sa.cast(sa.func.strftime("%s", time), sa.Integer),
    ),
    "postgresql": Dialect(
        driver="psycopg",
        port=5432,
        time=lambda: _of("postgresql").TIMESTAMP(timezone=True, precision=3),
        upsert=_on_conflict("postgresql"),
        epoch_s=lambda time: sa.cast(sa.func.floor(sa.extract("epoch", time)), sa.BigInteger),
        zoned=True,
        connect={
            "connect_timeout": _CONNECT_S,
            "keepalives_idle": _READ_S,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": 2000 * _READ_S,
        },
        session="SET lock_timeout = '1s'; SET statement_timeout = '20s';"
        " SET idle_in_transaction_session_timeout = '30s'",
    ),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sink `name` stores. Its text holds no secret."""

    name: str
    url: sa.URL = field(repr=False)
    file: Path | None = None  # SQLite only
    password_file: Path | None = None  # read at each connection: to correct it is enough
    note: str = ""  # where the address was found, when that is not the sink's own

    def __str__(self) -> str:
        """Say where it is, for messages."""
        if self.file is not None:
            return str(self.file)
        port = "" if self.url.port in (None, self.dialect.port) else f":{self.url.port}"
        database = f"/{self.url.database}" if self.url.database else ""
        return f"{self.url.host or 'localhost'}{port}{database}{self.note}"

    @property
    def dialect(self) -> Dialect:
        """Give what this database does differently."""
        return DIALECTS[self.url.get_backend_name()]


def place_of(sink: SinkSettings, folder: Path) -> Place:
    """Read where a sink stores; relative files start at `folder`. No I/O. Raise ConfigError."""
    options = sink.options
    place = locate(sink.name, options["url"], folder, options.get("password"))
    if (path := options.get("password_file")) is None:
        return place
    if "password" in options:
        raise ConfigError(
            f"sinks.{sink.name}: password and password_file are both there; delete one of them"
        )
    return replace(place, password_file=folder / path)


def locate(name: str, url: str, folder: Path, password: str | None = None) -> Place:
    """Read the address of the sink `name`; a relative SQLite file starts at `folder`. No I/O.

    Raise ConfigError; its words never repeat the address, which may hold a password.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigError(
            f"sinks.{name}.url: found no address of a database, expected it like"
            " sqlite:///history.db or mysql+pymysql://user@host/heliobus"
        ) from None
    backend = parsed.get_backend_name()
    if backend not in DIALECTS:
        known = ", ".join(sorted(DIALECTS))
        raise ConfigError(f"sinks.{name}.url: found {backend!r}, expected one of {known}")
    if "+" not in parsed.drivername:
        parsed = parsed.set(drivername=f"{backend}+{DIALECTS[backend].driver}")
    if backend == "sqlite":
        return _file(name, parsed, folder)
    if not parsed.database:
        raise ConfigError(f"sinks.{name}.url: names no database, expected .../NAME at its end")
    return Place(name, parsed if password is None else parsed.set(password=password))


def _file(name: str, url: sa.URL, folder: Path) -> Place:
    if not url.database or url.database == ":memory:" or url.host:
        raise ConfigError(
            f"sinks.{name}.url: found no file, expected it like sqlite:///history.db (beside"
            " the configuration) or sqlite:////var/lib/heliobus/history.db"
        )
    file = folder / url.database
    return Place(name, url.set(database=str(file)), file)


def connect(place: Place, *, read_only: bool = False) -> sa.Engine:
    """Make the engine; it connects at its first use. Raise ConfigError when no driver is there.

    An SQLite transaction of a writer begins with BEGIN IMMEDIATE: a lock shows at its start,
    never in its middle.
    """
    options: dict[str, Any] = {"json_serializer": lambda value: dumps(value).decode()}
    if place.file is None:
        arguments = dict(place.dialect.connect)
        if read_only and "read_timeout" in arguments:
            arguments["read_timeout"] = _LONG_READ_S
        options |= {"connect_args": arguments, "pool_pre_ping": True}
    else:
        options["creator"] = _opener(place.file, read_only=read_only)
    engine = _engine(place, options)
    if engine.dialect.is_async:
        raise ConfigError(
            f"sinks.{place.name}.url: the driver {engine.driver} is asynchronous,"
            f" expected {place.dialect.driver}"
        )
    if place.password_file is not None:
        sa.event.listen(engine, "do_connect", _identify(place, place.password_file))
    if place.file is not None:
        begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    elif not read_only:
        sa.event.listen(engine, "connect", _introduce(place.dialect))
        sa.event.listen(engine, "before_cursor_execute", _bound_statement)
    return engine


def _engine(place: Place, options: Mapping[str, Any]) -> sa.Engine:
    try:
        return sa.create_engine(place.url, **options)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"sinks.{place.name}.url: the driver for {place.url.drivername} is not installed:"
            f" pip install {error.name}"
        ) from error
    except (sa.exc.SQLAlchemyError, TypeError) as error:
        # An option after `?` that the driver does not have, or no such driver at all.
        raise ConfigError(f"sinks.{place.name}.url: {' '.join(str(error).split())}") from error


def _identify(place: Place, path: Path) -> Callable[..., None]:
    def identify(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        try:
            options["password"] = read_secret(path)
        except ConfigError as error:
            raise SinkError(
                f"sinks.{place.name}.password_file: {error}; write the password into it, or run:"
                f" heliobus prepare {place.name}"
            ) from error

    return identify


def _introduce(dialect: Dialect) -> Callable[[Any, Any], None]:
    def introduce(connection: Any, record: Any) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute(dialect.session)
            if dialect.packet:
                cursor.execute(dialect.packet)
                record.info[PACKET] = cursor.fetchone()[0] - _PACKET_SPARE_BYTES
        connection.commit()  # PostgreSQL would take the settings back with a rollback

    return introduce


def _bound_statement(connection: sa.Connection, cursor: Any, *_: Any) -> None:
    if (most_bytes := connection.info.get(PACKET)) is not None:
        cursor.max_stmt_length = min(_STATEMENT_BYTES, most_bytes)


def _opener(file: Path, *, read_only: bool) -> Callable[[], sqlite3.Connection]:
    def opened() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(os.fspath(file))}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            timeout=_LOCK_S,
            isolation_level=None,  # SQLAlchemy says BEGIN, see `connect`
            check_same_thread=False,  # its pool hands a connection to one thread at a time
        )
        if not read_only:
            if not os.access(file, os.W_OK):
                # SQLite itself would say so at the first row, not now.
                raise sqlite3.OperationalError("attempt to write a readonly database")
            # A power cut may take the last transactions, each as a whole: data and cursor go
            # together, so the sink asks for that stretch again. That is why NORMAL is enough,
            # and it spares an SD card one sync per transaction.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    return opened


def tables(connection: sa.Connection) -> dict[str, dict[str, TypeEngine[Any]]]:
    """Give every table with its columns as the database has them now."""
    inspector = sa.inspect(connection)
    return {
        name: {column["name"]: column["type"] for column in inspector.get_columns(name)}
        for name in inspector.get_table_names()
    }
