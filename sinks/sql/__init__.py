"""The SQL sink: every sample in one wide table per kind, with its cursor, in one transaction."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heliobus import contract
from heliobus.cursor import Key
from heliobus.database import connect, locate, sa
from heliobus.database_errors import reason, told
from heliobus.errors import HeliobusError, SinkError
from heliobus.sample import Sample
from heliobus.settings import SinkSettings
from heliobus.sink import Written
from sinks.sql.retention import prune_some
from sinks.sql.rows import store, store_cursors, store_info
from sinks.sql.tables import CURSORS, Tables, contract_columns, migrate, refuses_columns

__all__ = ["SINK", "Sql"]

_log = logging.getLogger(__name__)


class Sql:
    """Store samples in SQLite, MariaDB, MySQL or PostgreSQL."""

    def __init__(self, settings: SinkSettings, *, folder: Path, data: Path) -> None:
        """Read the options; relative files start at `folder`. Raise ConfigError."""
        del data  # the cursors are in the database
        options = settings.options
        self._name = settings.name
        self._keep_s: float | None = options.get("keep")
        self._place = locate(settings.name, options["url"], folder, options.get("password"))
        self._engine: sa.Engine | None = None
        self._tables: Tables | None = None
        self._inode = 0
        self._expired_ms: int | None = None  # rows older than this are still to be removed

    def open(self) -> Mapping[Key, int]:
        """Connect, make or widen the tables, and give the stored cursors."""
        self.close()
        with self._told():
            engine, _ = self._ready(())
            with engine.connect() as connection:
                found = connection.execute(sa.select(CURSORS)).all()
        return {(row.site, row.bridge, row.device): row.cursor_ms for row in found}

    def write(self, samples: Sequence[Sample], cursors: Mapping[Key, int]) -> Written:
        """Store samples and cursors together. On SinkError nothing of them is stored."""
        with self._told():
            engine, tables = self._ready(samples)
            with engine.begin() as connection:
                written = store(connection, tables, samples)
                store_cursors(connection, cursors)
                if self._expired_ms is not None:
                    self._prune_some(connection, tables)
        return written

    def info(self, site: str, device: str, info: Mapping[str, Any]) -> None:
        """Keep what a device says about itself."""
        bridge = info.get("bridge")
        key = (site, bridge if isinstance(bridge, str) else "", device)
        with self._told():
            engine, _ = self._ready(())
            with engine.begin() as connection:
                store_info(connection, key, info)

    def prune(self, now_ms: int) -> None:
        """Remove some of what is older than `keep`; each write goes on with the rest."""
        if self._keep_s is None:
            return
        self._expired_ms = now_ms - round(self._keep_s * 1000)
        with self._told():
            engine, tables = self._ready(())
            with engine.begin() as connection:
                self._prune_some(connection, tables)

    def interrupt(self) -> None:
        """End a call that waits for the database."""

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._tables = None

    def _ready(self, samples: Sequence[Sample]) -> tuple[sa.Engine, Tables]:
        """Give the engine and tables that have a column for every field of these samples."""
        self._refuse_replaced_file()
        engine = self._engine = self._engine or connect(self._place)
        if self._tables is None:
            known = contract.load()
            self._tables = migrate(engine, known, contract_columns(known))
            self._inode = self._inode_now()
        missing = self._tables.missing(samples)
        if missing:
            self._tables = self._widened(engine, self._tables, missing)
        return engine, self._tables

    def _widened(
        self, engine: sa.Engine, there: Tables, missing: Mapping[str, Mapping[str, str]]
    ) -> Tables:
        try:
            return migrate(engine, there.contract, missing)
        except sa.exc.DBAPIError as error:
            if not refuses_columns(error):
                raise
            names = ", ".join(f"{table}.{name}" for table in missing for name in missing[table])
            why = reason(error)
            _log.warning("%s: %s; kept in `other`: %.300s", self._place, why, names)
            there.give_up(missing)
            return there

    def _prune_some(self, connection: sa.Connection, tables: Tables) -> None:
        if not prune_some(connection, tables, self._expired_ms or 0):
            self._expired_ms = None

    def _refuse_replaced_file(self) -> None:
        """Notice that the open file has no name any more: what goes into it would be lost."""
        if self._tables is not None and self._inode != self._inode_now():
            self.close()
            raise SinkError(
                f"{self._place}: the file was moved, removed or replaced"
                " while in use; opening it anew"
            )

    def _inode_now(self) -> int:
        file = self._place.file
        return os.stat(file).st_ino if file is not None and file.exists() else 0

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            with told(self._place):
                yield
        except HeliobusError:
            # Whatever it was, the tables may be others when it is over.
            self._tables = None
            raise


SINK = Sql
