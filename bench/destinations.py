"""Where a sink stores, for the benches: real servers, and what of a series is in them."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from heliobus.sample import time_text
from tests.influx_servers import VictoriaMetrics
from tests.servers import MariaDB, running


class Destination(Protocol):
    """One destination; `config` is the sink's part of heliobus.yaml."""

    name: str
    config: dict[str, Any]

    def times_ms(self, device: str, since_ms: int) -> set[int]:
        """Give the times of the stored samples of an inverter, from `since_ms` on."""
        ...


class _Sql:
    def __init__(self, name: str, url: str, configured: str) -> None:
        self.name = name
        self.config: dict[str, Any] = {"type": "sql", "url": configured}
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")

    def times_ms(self, device: str, since_ms: int) -> set[int]:
        """Ask for them; no table means none."""
        text = sa.text(
            "SELECT time FROM inverter JOIN devices ON devices.id = device_id"
            " WHERE device = :device AND time >= :since"
        )
        since: Any = time_text(since_ms)
        if self.name != "sqlite":
            since = datetime.fromtimestamp(since_ms / 1000, UTC).replace(tzinfo=None)
        try:
            with self._engine.connect() as connection:
                found = connection.scalars(text, {"device": device, "since": since}).all()
        except sa.exc.DatabaseError:
            return set()
        return {_ms(time) for time in found}


def _ms(time: str | datetime) -> int:
    moment = datetime.fromisoformat(time) if isinstance(time, str) else time.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


class _Series:
    def __init__(self, server: VictoriaMetrics) -> None:
        self.name = "victoriametrics"
        self.config: dict[str, Any] = {
            "type": "influx", "url": server.url, "org": "home", "bucket": "house", "token": "none",
        }  # fmt: skip
        self._server = server

    def times_ms(self, device: str, since_ms: int) -> set[int]:
        """Ask for them, having told the server to let what it has taken in be found at once."""
        self._server.get("/internal/force_flush")
        match = f'{{__name__="inverter_battery_v",device="{device}"}}'
        text = self._server.get(
            "/api/v1/export", **{"match[]": match, "start": f"{since_ms / 1e3}"}
        )
        return {time for line in text.splitlines() for time in json.loads(line)["timestamps"]}


@contextmanager
def sqlite(folder: Path) -> Iterator[Destination]:
    """Give a file in the folder of heliobus.yaml."""
    yield _Sql(
        "sqlite", f"sqlite:///file:{folder}/history.db?mode=ro&uri=true", "sqlite:///history.db"
    )


@contextmanager
def mariadb(_folder: Path) -> Iterator[Destination]:
    """Give a database of a MariaDB server, which runs meanwhile."""
    for server in running(MariaDB):
        server.ask("CREATE DATABASE house")
        yield _Sql("mariadb", f"{server.url}/house", f"{server.url}/house")


@contextmanager
def victoriametrics(_folder: Path) -> Iterator[Destination]:
    """Give a VictoriaMetrics server, which runs meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="heliobus-"))
    try:
        with VictoriaMetrics(folder / "server") as server:
            yield _Series(server)
    finally:
        shutil.rmtree(folder)
