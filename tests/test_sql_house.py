"""Whole installations that store in a database server: it is killed, frozen, and refuses."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.databases import fresh_at
from tests.helpers import BrokerProcess, wait_until
from tests.house import SINK, House, Rows
from tests.house_bulk import catches_up, journal_samples
from tests.servers import DatabaseServer, MariaDB

pytestmark = [pytest.mark.broker, pytest.mark.database]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Half a minute is how long a computer takes to start again.
AWAY_S = 30.0


class ServerHouse(House):
    """A house whose archive is on a server: `url` is for the sink, `admin` for the judge."""

    def __init__(self, folder: Path, broker: BrokerProcess, url: str, admin: str = "") -> None:
        sink = {"type": "sql", "url": url, "backfill": "all"}
        super().__init__(folder, broker, sinks={SINK: sink}, journal={"flush": "1s"})
        self._engine = sa.create_engine(admin or url, poolclass=sa.NullPool)

    def stored(self) -> Rows:
        """Read the archive, row by row."""
        rows: Rows = {}
        for table in self._tables():
            query = f"SELECT d.site, d.bridge, d.device, t.* FROM {table} t JOIN devices d"
            for row in self._ask(f"{query} ON d.id = t.device_id"):
                values = {k: v for k, v in row.items() if v is not None and k != "device_id"}
                site, bridge, device = (values.pop(k) for k in ("site", "bridge", "device"))
                other = values.pop("other", {})
                values |= json.loads(other) if isinstance(other, str) else other
                rows[site, bridge, device, _ms(values.pop("time"))] = values
        return rows

    def ends(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """Give cursor (0 for none) and newest stored time, in ms, of every device of ours."""
        newest = " UNION ALL ".join(
            f"SELECT device_id, max(time) AS last FROM {t} GROUP BY device_id"
            for t in self._tables()
        )
        if not newest:
            return {}
        rows = self._ask(
            "SELECT site, bridge, device, cursor_ms, last FROM devices"
            f" JOIN ({newest}) n ON device_id = devices.id LEFT JOIN cursors"
            " USING (site, bridge, device) WHERE bridge != ''"
        )
        return {
            (r["site"], r["bridge"], r["device"]): (r["cursor_ms"] or 0, _ms(r["last"]))
            for r in rows
        }

    def count(self) -> int:
        """Have the database count the measurements; it may have no table for them yet."""
        if "inverter" not in self._tables():
            return 0
        return int(self._ask("SELECT count(*) AS n FROM inverter")[0]["n"])

    def _tables(self) -> list[str]:
        there = sa.inspect(self._engine).get_table_names()
        return [name for name in ("inverter", "events") if name in there]

    def _ask(self, text: str) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.exec_driver_sql(text)]  # noqa: SLF001


def _ms(time: datetime) -> int:
    return (time.replace(tzinfo=time.tzinfo or UTC) - EPOCH) // timedelta(milliseconds=1)


def connects(server: DatabaseServer) -> None:
    """Wait until one more client is connected to a server, answered or not."""

    def connected() -> int:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()]
        return sum(row[2].endswith(f":{server.port:04X}") and row[3] == "01" for row in rows)

    before = connected()
    wait_until(lambda: connected() > before, "the sink to connect")


@pytest.fixture
def url(mariadb: MariaDB) -> Iterator[str]:
    yield from fresh_at(mariadb.url)


@pytest.mark.parametrize("kind", ["mariadb", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_frozen_server_delays_no_stop_and_loses_nothing(
    kind: str, mosquitto: BrokerProcess, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    for url in fresh_at(server.url):
        house = ServerHouse(tmp_path / "house", mosquitto, url)
        with house.running():
            house.flows()
            server.freeze()
            assert house.programs[SINK].stop(deadline_s=4) == 0
            house.start(SINK)
            connects(server)
            assert house.programs[SINK].stop(deadline_s=4) == 0
            server.thaw()
            house.start(SINK)
            house.recovers()
            house.ends_without_loss()


def test_a_wrong_password_is_said_once_and_loses_nothing(
    mosquitto: BrokerProcess, tmp_path: Path, mariadb: MariaDB, url: str
) -> None:
    name = url.rpartition("/")[2]
    mariadb.ask("CREATE OR REPLACE USER clerk@localhost IDENTIFIED BY 'another'")
    mariadb.ask(f"GRANT ALL ON {name}.* TO clerk@localhost")
    house = ServerHouse(tmp_path / "house", mosquitto, url.replace("root", "clerk:mine"), url)
    with house.running():
        program = house.programs[SINK]
        program.says("Access denied for user 'clerk'@'localhost'", "; trying again")
        tries = "SHOW GLOBAL STATUS LIKE 'Access_denied_errors'"
        ((_, before),) = mariadb.ask(tries)
        wait_until(lambda: int(mariadb.ask(tries)[0][1]) > int(before), "another attempt")
        assert program.said.count("Access denied") == 1
        assert "mine" not in program.said
        mariadb.ask("ALTER USER clerk@localhost IDENTIFIED BY 'mine'")
        program.says("stores again")
        house.recovers()
        house.ends_without_loss()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_killed_within_100000_samples_loses_nothing(
    mosquitto: BrokerProcess, tmp_path: Path, mariadb: MariaDB, url: str
) -> None:
    house = ServerHouse(tmp_path / "house", mosquitto, url)
    journal_samples(house, 100_000)
    with house.running():
        wait_until(lambda: house.count() > 20_000, f"the middle\n{house.said}", 60)
        mariadb.kill()
        away_s = time.monotonic() + AWAY_S
        house.programs[SINK].says("; trying again")
        house.kill("broker")
        house.start("broker")
        wait_until(lambda: time.monotonic() > away_s, "half a minute", AWAY_S + 1)
        mariadb.start()
        assert 20_000 < house.count() < 100_000
        catches_up(house)
        rows = house.ends_without_loss()
        assert house.count() == sum(1 for _, _, device, _ in rows if device != "bus") > 100_000
