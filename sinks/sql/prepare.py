"""What a database server needs once: the database, a user who stores, a user who only reads.

The administrator's address is used here and nowhere else. Everything may be repeated: what is
there stays, and passwords are made to be those of the files.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heliobus.credentials import read_secret, write_secret
from heliobus.database import DIALECTS, Place, connect, place_of, sa
from heliobus.database_errors import told
from heliobus.errors import ConfigError
from heliobus.settings import SinkSettings

_RANDOM_BYTES = 24
# A user who may come from this computer only; a name of another host may stand for anything.
_LOOPBACK = frozenset({None, "", "localhost", "127.0.0.1", "::1"})
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_STORES = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER"


@dataclass(frozen=True, slots=True)
class _User:
    name: str
    password: str
    note: str  # where its password is
    file: Path | None = None  # where a new one is to be written

    @property
    def parameters(self) -> dict[str, Any]:
        return {"name": self.name, "password": self.password}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be there."""

    place: Place
    admin: Place
    database: str
    writer: _User
    reader: _User | None

    @property
    def users(self) -> Sequence[_User]:
        return [self.writer, *([self.reader] if self.reader else [])]

    def refuse(self, user: str | None) -> None:
        """Raise ConfigError where the administrator would get another password."""
        for one in self.users:
            if one.name == user:
                raise ConfigError(
                    f"sinks.{self.place.name}: {user!r} is the administrator; choose another user"
                )

    def keep_passwords(self, is_there: Callable[[str], bool]) -> None:
        """Write the new passwords, before anybody gets them.

        Raise ConfigError for a user who is there and whose password is not known here: somebody
        else uses that name, with rights of his own.
        """
        new = [(one, one.file) for one in self.users if one.file is not None]
        for one, file in new:
            if is_there(one.name):
                raise ConfigError(
                    f"sinks.{self.place.name}: a user {one.name!r} is there already; if it is to"
                    f" be this one, write its password into {file}, else choose another name"
                )
        for one, file in new:
            write_secret(file, one.password)

    @contextmanager
    def connected(self, database: str | None) -> Iterator[sa.Connection]:
        """Connect as administrator; each statement counts at once."""
        place = replace(self.admin, url=self.admin.url.set(database=database))
        with told(place):
            engine = connect(place, read_only=True)
            try:
                with engine.connect() as connection:
                    yield connection.execution_options(isolation_level="AUTOCOMMIT")
            finally:
                engine.dispose()


def prepare(settings: SinkSettings, *, folder: Path, admin: str) -> Sequence[str]:
    """Make database and users where they are missing; say what was done.

    `admin` is the administrator's address, such as mysql+pymysql://root:secret@127.0.0.1/.
    Raise ConfigError, SinkError.
    """
    place = place_of(settings, folder)
    if place.file is not None:
        return [
            f"{place}: SQLite knows no users. Who may write this file and its folder can store;"
            " who may read the file, and those beside it that begin with its name, can read"
        ]
    plan = _plan(settings, place, folder, admin)
    said = _SERVERS[place.url.get_backend_name()](plan)
    return [*said, *_tried(plan)]


def _plan(settings: SinkSettings, place: Place, folder: Path, admin: str) -> _Plan:
    options, name = settings.options, settings.name
    if not admin:
        raise ConfigError(
            f"sinks.{name}: {place} needs its administrator: write one line like"
            " mysql+pymysql://root:PASSWORD@127.0.0.1/ into a file and name it with"
            " --admin-file FILE"
        )
    try:
        url = sa.make_url(admin)
    except sa.exc.ArgumentError:
        raise ConfigError(
            "the administrator's file: found no address of a server, expected one line like"
            " mysql+pymysql://root:PASSWORD@127.0.0.1/"
        ) from None
    backend = place.url.get_backend_name()
    if DIALECTS.get(url.get_backend_name()) is not DIALECTS[backend]:
        raise ConfigError(
            f"the administrator's file: found the address of a {url.get_backend_name()!r},"
            f" but sinks.{name}.url is that of a {backend!r}"
        )
    if "+" not in url.drivername:
        url = url.set(drivername=place.url.drivername)
    user, reader = place.url.username, options.get("reader")
    if not user:
        raise ConfigError(
            f"sinks.{name}.url: names no user, expected it like .../heliobus@HOST/..."
        )
    if reader == user:
        raise ConfigError(f"sinks.{name}.reader: {reader!r} is who stores; choose another name")
    given = str(place.url.password) if place.url.password else None
    plan = _Plan(
        place,
        Place(name, url, note=" (from the administrator's file)"),
        str(place.url.database),
        _user(f"sinks.{name}.password_file", user, place.password_file, given=given),
        reader
        and _user(f"sinks.{name}.reader_password_file", reader, _reader_file(options, folder)),
    )
    plan.refuse(url.username)
    return plan


def _reader_file(options: Mapping[str, Any], folder: Path) -> Path | None:
    path = options.get("reader_password_file")
    return None if path is None else folder / path


def _user(key: str, name: str, path: Path | None, *, given: str | None = None) -> _User:
    """Read a user's password, or make one."""
    if path is None:
        if given is None:
            raise ConfigError(
                f"{key}: is missing; add it, and a password is written into that file"
            )
        return _User(name, given, "its password is that of the configuration")
    if path.exists():
        return _User(name, read_secret(path), f"its password is in {path}")
    password = secrets.token_urlsafe(_RANDOM_BYTES)
    return _User(name, password, f"its new password is in {path}", path)


def _tried(plan: _Plan) -> list[str]:
    """Log in as everybody whose user was made, from here."""
    for user in plan.users:
        url = plan.place.url.set(username=user.name, password=user.password)
        place = Place(plan.place.name, url)
        engine = connect(place, read_only=True)
        try:
            with told(place), engine.connect() as connection:
                connection.execute(sa.select(1))
        finally:
            engine.dispose()
    names = " and ".join(user.name for user in plan.users)
    return [f"{names} can log in at {plan.place}"]


# ---------------------------------------------------------------- MariaDB and MySQL


def _prepare_mysql(plan: _Plan) -> list[str]:
    quoted = f"`{plan.database.replace('`', '``')}`"
    granted = quoted.replace("_", "\\_")  # in a GRANT, _ stands for any character
    hosts = _LOCAL_HOSTS if plan.place.url.host in _LOOPBACK else ("%",)
    with plan.connected(None) as connection:
        line = _database_line(plan, there=_has_schema(connection, plan.database))
        anybody = sa.text("SELECT 1 FROM mysql.user WHERE user = :name")
        plan.keep_passwords(lambda name: _is_any(connection, anybody, name))
        run = connection.exec_driver_sql
        run(f"CREATE DATABASE IF NOT EXISTS {quoted} CHARACTER SET utf8mb4")
        for user, rights in zip(plan.users, (_STORES, "SELECT"), strict=False):
            for host in hosts:
                who = {**user.parameters, "host": host}
                named = "%(name)s@%(host)s"
                run(f"CREATE USER IF NOT EXISTS {named} IDENTIFIED BY %(password)s", who)
                run(f"ALTER USER {named} IDENTIFIED BY %(password)s", who)
                run(f"GRANT {rights} ON {granted}.* TO {named}", who)
    return [line, *_user_lines(plan, f" (from {', '.join(hosts)})" if hosts != ("%",) else "")]


def _has_schema(connection: sa.Connection, name: str) -> bool:
    query = sa.text("SELECT 1 FROM information_schema.schemata WHERE schema_name = :name")
    return _is_any(connection, query, name)


def _is_any(connection: sa.Connection, query: sa.TextClause, name: str) -> bool:
    return connection.execute(query, {"name": name}).first() is not None


# ---------------------------------------------------------------- PostgreSQL


def _prepare_postgresql(plan: _Plan) -> list[str]:
    maintenance = plan.admin.url.database or "postgres"
    with plan.connected(maintenance) as connection:
        has_role = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name")
        plan.keep_passwords(lambda name: _is_any(connection, has_role, name))
        for user in plan.users:
            there = _is_any(connection, has_role, user.name)
            _run(connection, f"{'ALTER' if there else 'CREATE'} ROLE %I LOGIN PASSWORD %L", user)
        has_database = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
        there = _is_any(connection, has_database, plan.database)
        if not there:
            _run(connection, "CREATE DATABASE %I OWNER %I", plan.database, plan.writer.name)
            _run(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", plan.database)
        for user in plan.users:
            _run(connection, "GRANT CONNECT ON DATABASE %I TO %I", plan.database, user.name)
    with plan.connected(plan.database) as connection:
        _run(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        _run(connection, "GRANT USAGE, CREATE ON SCHEMA public TO %I", plan.writer.name)
        if plan.reader:
            names = (plan.writer.name, plan.reader.name)
            _run(connection, "GRANT USAGE ON SCHEMA public TO %I", plan.reader.name)
            _run(connection, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO %I", names[1])
            later = "ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public"
            _run(connection, f"{later} GRANT SELECT ON TABLES TO %I", *names)
    return [_database_line(plan, there=there), *_user_lines(plan)]


def _run(connection: sa.Connection, statement: str, *values: "str | _User") -> None:
    """Run a statement that takes no parameters: the server itself quotes the values."""
    words = [w for v in values for w in ((v.name, v.password) if isinstance(v, _User) else (v,))]
    names = "".join(f", CAST(:v{n} AS text)" for n in range(len(words)))
    query = sa.text(f"SELECT format(:statement{names})")
    parameters = {"statement": statement, **{f"v{n}": word for n, word in enumerate(words)}}
    connection.exec_driver_sql(
        connection.execute(query, parameters).scalar_one().replace("%", "%%")
    )


def _database_line(plan: _Plan, *, there: bool) -> str:
    return f"{'found' if there else 'made'} the database {plan.database}"


def _user_lines(plan: _Plan, whence: str = "") -> list[str]:
    does = ("may store", "may only read")
    pairs = zip(plan.users, does, strict=False)
    return [f"the user {user.name}{whence} {may}; {user.note}" for user, may in pairs]


_SERVERS: Mapping[str, Callable[[_Plan], list[str]]] = {
    "mysql": _prepare_mysql,
    "mariadb": _prepare_mysql,
    "postgresql": _prepare_postgresql,
}
