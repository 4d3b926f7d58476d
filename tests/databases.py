"""Databases for the tests of the SQL sink and of the archive.

SQLite is always there; a MariaDB and a PostgreSQL are started where they are installed.
HELIOBUS_TEST_DATABASES adds servers that run already, such as a MySQL: their addresses, separated
by spaces, with a user that may create databases, such as mysql+pymysql://root@127.0.0.1:3306.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from heliobus import contract
from heliobus.archive import Archive
from heliobus.database import locate
from heliobus.sample import Sample
from heliobus.settings import SinkSettings
from sinks.sql import Sql

SERVERS = (
    "mariadb",  # the names of fixtures
    "postgresql",
    *os.environ.get("HELIOBUS_TEST_DATABASES", "").split(),
)
# The same tests on every server take minutes: in CI only. What servers do differently is tested
# in files of their own.
_MARKS = (pytest.mark.database, pytest.mark.slow)
DATABASES = ("sqlite", *(pytest.param(name, marks=_MARKS) for name in SERVERS))


def fresh(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Give the address of an empty database, and remove it in the end.

    The test is run once for each of DATABASES.
    """
    database: str = request.param
    if database == "sqlite":
        yield f"sqlite:///{folder}/history.db"
    elif "://" in database:
        yield from fresh_at(database)
    else:
        yield from fresh_at(request.getfixturevalue(database).url)


def fresh_at(database: str) -> Iterator[str]:
    """Give the address of an empty database of a server, and remove it in the end."""
    name = f"heliobus_test_{secrets.token_hex(6)}"
    default = "postgres" if database.startswith("postgresql") else ""
    server = sa.create_engine(
        f"{database}/{default}",
        isolation_level="AUTOCOMMIT",
        pool_pre_ping=True,  # the test may have killed it
    )
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield f"{database}/{name}"
    # Where the test has failed, the server may be down.
    with suppress(sa.exc.OperationalError), server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name}{' WITH (FORCE)' if default else ''}")
    server.dispose()


def sink(url: str, folder: Path, **options: Any) -> Sql:
    """Give a sink that is not open yet."""
    return Sql(settings(url, **options), folder=folder, data=folder)


@contextmanager
def opened(url: str, folder: Path) -> Iterator[Sql]:
    """Give an open sink, and close it in the end."""
    one = sink(url, folder)
    one.open()
    yield one
    one.close()


def settings(url: str, **options: Any) -> SinkSettings:
    """Give the settings of a sink."""
    return SinkSettings(name="archive", type="sql", options={"url": url, **options})


def stored(url: str, folder: Path, name: str = "inverter") -> list[Sample]:
    """Read everything of a device back."""
    archive = Archive(locate("archive", url, folder), contract.load())
    try:
        found = archive.device(name)
        return [] if found is None else list(archive.samples(found))
    finally:
        archive.close()
