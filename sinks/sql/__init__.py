"""The SQL sink: every sample in one wide table per kind, with its cursor, in one transaction."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heliobus import contract
from heliobus.credentials import looseness
from heliobus.cursor import Key
from heliobus.database import connect, place_of, sa
from heliobus.database_errors import is_worth_repeating, told
from heliobus.errors import HeliobusError, SinkError
from heliobus.faults import Faults
from heliobus.sample import Sample
from heliobus.settings import SinkSettings
from heliobus.sink import Written
from heliobus.wires import Wires
from sinks.sql.prepare import prepare
from sinks.sql.retention import prune_some
from sinks.sql.rows import store, store_cursors, store_info
from sinks.sql.tables import CURSORS, Tables, contract_columns, migrate

__all__ = ["SINK", "Sql", "prepare"]

_log = logging.getLogger(__name__)
# Another transaction was in the way: each attempt waits a second for it.
_ATTEMPTS = 3


class Sql:
    """Store samples in SQLite, MariaDB, MySQL or PostgreSQL."""

    def __init__(self, settings: SinkSettings, *, folder: Path, data: Path) -> None:
        """Read the options; relative files start at `folder`. Raise ConfigError."""
        del data  # the cursors are in the database
        self._keep_s: float | None = settings.options.get("keep")
        self._place = place_of(settings, folder)
        self._wires = Wires(self._place)
        self._faults = Faults(_log)
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
            for _ in range(_ATTEMPTS - 1):
                try:
                    return self._write(engine, tables, samples, cursors)
                except sa.exc.DBAPIError as error:
                    if not is_worth_repeating(error):
                        raise
            return self._write(engine, tables, samples, cursors)

    def _write(
        self,
        engine: sa.Engine,
        tables: Tables,
        samples: Sequence[Sample],
        cursors: Mapping[Key, int],
    ) -> Written:
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
        """End a call that waits for the database; there will be no other."""
        self._wires.end()

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._tables = None

    def _ready(self, samples: Sequence[Sample]) -> tuple[sa.Engine, Tables]:
        """Give the engine and tables that have a column for every field of these samples."""
        self._refuse_replaced_file()
        if self._engine is None:
            path = self._place.password_file
            if path is not None and (loose := looseness(path)) is not None:
                self._faults.report("loose", loose)
            self._engine = connect(self._place)
            self._wires.watch(self._engine)
        if self._tables is None:
            known = contract.load()
            self._tables = self._migrated(self._engine, known, contract_columns(known))
            self._inode = self._inode_now()
        missing = self._tables.missing(samples)
        if missing:
            self._tables = self._migrated(self._engine, self._tables.contract, missing)
        return self._engine, self._tables

    def _migrated(
        self, engine: sa.Engine, known: contract.Contract, wanted: Mapping[str, Mapping[str, str]]
    ) -> Tables:
        tables = migrate(engine, known, wanted)
        for refused in tables.refused:
            _log.warning("%s: %.500s", self._place, refused)
        return tables

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
            with self._wires.call(), told(self._place):
                yield
        except HeliobusError:
            # Whatever it was, the tables may be others when it is over.
            self._tables = None
            raise


SINK = Sql
