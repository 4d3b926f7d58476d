"""Databases for the tests of the SQL sink and of the archive.

SQLite is always there; a MariaDB and a PostgreSQL are started where they are installed.
HELIOBUS_TEST_DATABASES adds servers that run already, such as a MySQL: their addresses, separated
by spaces, with a user that may create databases, such as mysql+pymysql://root@127.0.0.1:3306.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
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
BEGIN_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
KEY = ("farm", "axpert", "inverter")


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


def settings(url: str, **options: Any) -> SinkSettings:
    """Give the settings of a sink."""
    return SinkSettings(name="archive", type="sql", options={"url": url, **options})


def sample(second: float = 0, **changes: Any) -> Sample:
    """Give a sample of the inverter, `second` seconds after BEGIN_MS."""
    values = {"battery_v": 52.1, "mode": "battery", "alarms": []}
    envelope = {"site": "farm", "bridge": "axpert", "device": "inverter", "kind": "inverter"}
    time_ms = BEGIN_MS + round(second * 1000)
    return Sample(**{**envelope, "time_ms": time_ms, "prev_ms": None, "values": values, **changes})


def stored(url: str, folder: Path, name: str = "inverter") -> list[Sample]:
    """Read everything of a device back."""
    archive = Archive(locate("archive", url, folder), contract.load())
    try:
        found = archive.device(name)
        return [] if found is None else list(archive.samples(found))
    finally:
        archive.close()
