"""The SQL sink on a real MariaDB that refuses, hangs, hangs up and dies."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from heliobus.database import connect, locate
from heliobus.errors import SinkError
from heliobus.sample import Sample
from heliobus.wires import CALL_S
from sinks.sql import Sql
from tests.databases import fresh_at, opened, sink, stored
from tests.helpers import wait_until
from tests.samples import BEGIN_MS, KEY, sample
from tests.servers import DatabaseServer, MariaDB, running

pytestmark = pytest.mark.database


@pytest.fixture
def url(mariadb: MariaDB) -> Iterator[str]:
    yield from fresh_at(mariadb.url)


@pytest.fixture
def sql(url: str, tmp_path: Path) -> Iterator[Sql]:
    with opened(url, tmp_path) as one:
        yield one


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


def database(url: str) -> str:
    return url.rpartition("/")[2]


@contextmanager
def other_client(url: str) -> Iterator[sa.Connection]:
    """Give a client in the middle of a transaction of its own."""
    engine = sa.create_engine(url)
    try:
        connection = engine.connect()
        yield connection
        connection.invalidate()  # the server may be gone
    finally:
        engine.dispose()


def many(count: int, first: float = 0, **changes: Any) -> list[Sample]:
    return [sample(first + n, **changes) for n in range(count)]


def waits_for_a_lock(mariadb: MariaDB) -> bool:
    query = "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    return bool(mariadb.ask(query))


@contextmanager
def blocked(
    sql: Sql, url: str, pool: ThreadPoolExecutor, mariadb: MariaDB
) -> Iterator["Future[Any]"]:
    """Have the sink wait in the middle of its transaction for a row that another client holds."""
    sql.write([sample(1)], {KEY: BEGIN_MS})
    with other_client(url) as other:
        other.exec_driver_sql("UPDATE inverter SET battery_v = 1")
        writing = pool.submit(sql.write, many(5, first=1), {KEY: BEGIN_MS + 5000})
        wait_until(lambda: waits_for_a_lock(mariadb), "the sink to wait for a lock")
        yield writing


def is_as_before(sql: Sql, url: str, folder: Path) -> None:
    """Fail unless nothing of what was interrupted is stored, and the next write stores it."""
    assert sql.open() == {KEY: BEGIN_MS}
    assert len(stored(url, folder)) == 1
    assert sql.write(many(5, first=1), {KEY: BEGIN_MS + 5000}).stored == 4


# ---------------------------------------------------------------- many rows


@contextmanager
def overheard(mariadb: MariaDB, url: str) -> Iterator[Callable[[], list[str]]]:
    """Give what is asked of a database meanwhile, statement by statement."""
    mariadb.ask("SET GLOBAL log_output = 'TABLE'")
    mariadb.ask("TRUNCATE mysql.general_log")
    mariadb.ask("SET GLOBAL general_log = 1")
    heard = "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log"
    try:
        yield lambda: [text for (text,) in mariadb.ask(heard) if database(url) not in text]
    finally:
        mariadb.ask("SET GLOBAL general_log = 0")


def test_a_batch_is_one_statement_with_all_its_rows(sql: Sql, url: str, mariadb: MariaDB) -> None:
    with overheard(mariadb, url) as heard:
        sql.write(many(500), {KEY: 1})
        inserts = [text for text in heard() if text.startswith("INSERT INTO inverter")]
    assert len(inserts) == 1
    assert inserts[0].count("'battery'") == 500
    assert " ON DUPLICATE KEY UPDATE " in inserts[0]


@pytest.fixture
def narrow(mariadb: MariaDB) -> Iterator[MariaDB]:
    """Have the server take no more than 64 kB at once."""
    (before,) = mariadb.ask("SELECT @@GLOBAL.max_allowed_packet")[0]
    mariadb.ask("SET GLOBAL max_allowed_packet = 65536")
    yield mariadb
    mariadb.ask(f"SET GLOBAL max_allowed_packet = {before}")


@pytest.mark.usefixtures("narrow")
def test_a_batch_longer_than_the_server_takes_goes_in_parts(url: str, tmp_path: Path) -> None:
    sql = sink(url, tmp_path)
    samples = many(300, values={"mode": "m" * 1000})
    assert sql.write(samples, {KEY: 1}).stored == 300
    assert stored(url, tmp_path) == samples
    sql.close()


@pytest.mark.usefixtures("narrow")
def test_a_row_longer_than_the_server_takes_costs_no_other(url: str, tmp_path: Path) -> None:
    sql = sink(url, tmp_path)
    long = sample(1, values={"novel": ["'" * 1000 for _ in range(100)]})
    written = sql.write([sample(0), long, sample(2)], {KEY: 1})
    assert (written.stored, [bad for bad, _ in written.rejected]) == (2, [long])
    assert "max_allowed_packet" in written.rejected[0][1]
    sql.close()


# ---------------------------------------------------------------- connections that end


def test_a_connection_that_ended_between_two_writes_costs_nothing(
    sql: Sql, url: str, mariadb: MariaDB
) -> None:
    sql.write([sample(1)], {})
    mine = f"SELECT id FROM information_schema.processlist WHERE db = '{database(url)}'"
    ((number,),) = mariadb.ask(mine)
    mariadb.ask(f"KILL {number}")
    wait_until(lambda: not mariadb.ask(mine), "the end of the connection")
    assert sql.write([sample(2)], {}).stored == 1


def test_a_connection_that_ends_within_a_write_stores_nothing_of_it(
    sql: Sql, url: str, tmp_path: Path, mariadb: MariaDB, pool: ThreadPoolExecutor
) -> None:
    with blocked(sql, url, pool, mariadb) as writing:
        ((number,),) = mariadb.ask(
            "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"
            " WHERE trx_state = 'LOCK WAIT'"
        )
        mariadb.ask(f"KILL {number}")
        with pytest.raises(SinkError, match=r"127\.0\.0\.1:\d+/heliobus_test_\w+: Lost connection"):
            writing.result()
    is_as_before(sql, url, tmp_path)


def test_a_server_killed_within_a_write_stores_nothing_of_it(
    sql: Sql, url: str, tmp_path: Path, mariadb: MariaDB, pool: ThreadPoolExecutor
) -> None:
    with blocked(sql, url, pool, mariadb) as writing:
        mariadb.kill()
        with pytest.raises(SinkError, match="Lost connection"):
            writing.result()
    with pytest.raises(SinkError, match="Can't connect"):
        sql.open()
    mariadb.start()
    is_as_before(sql, url, tmp_path)


# ---------------------------------------------------------------- locks


def test_a_deadlock_is_tried_again_and_loses_nothing(
    sql: Sql, url: str, tmp_path: Path, mariadb: MariaDB, pool: ThreadPoolExecutor
) -> None:
    sql.write(many(400), {KEY: BEGIN_MS})
    count = "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"
    ((_, before),) = mariadb.ask(count)
    with other_client(url) as other:
        # Of two the server ends the one that has changed less: not this.
        other.exec_driver_sql("UPDATE inverter SET battery_v = 1")
        writing = pool.submit(sql.write, many(5, first=399), {KEY: BEGIN_MS + 5000})
        wait_until(lambda: waits_for_a_lock(mariadb), "the sink to wait for a lock")
        other.exec_driver_sql("UPDATE devices SET maker = 'x'")  # which the sink holds
        other.commit()
        written = writing.result()
    ((_, after),) = mariadb.ask(count)
    assert int(after) == int(before) + 1
    assert (written.stored, written.rewritten) == (4, 1)
    assert len(stored(url, tmp_path)) == 404
    assert sql.open() == {KEY: BEGIN_MS + 5000}


def test_a_row_that_stays_locked_is_said_and_waited_for(
    sql: Sql, url: str, tmp_path: Path, mariadb: MariaDB, pool: ThreadPoolExecutor
) -> None:
    with (
        blocked(sql, url, pool, mariadb) as writing,
        pytest.raises(SinkError, match="Lock wait timeout exceeded"),
    ):
        writing.result()
    is_as_before(sql, url, tmp_path)


def test_a_host_that_vanishes_within_a_write_keeps_no_locks_for_hours(
    url: str, tmp_path: Path
) -> None:
    engine = connect(locate("archive", url, tmp_path))
    with engine.connect() as writer:
        row = writer.exec_driver_sql("SELECT @@idle_transaction_timeout, @@wait_timeout").one()
    engine.dispose()
    assert tuple(row) == (30, 600)


# ---------------------------------------------------------------- rights and columns


def grant(mariadb: MariaDB, url: str, rights: str) -> str:
    """Make the user `clerk` with these rights and no others; give the address for it."""
    mariadb.ask("CREATE OR REPLACE USER clerk@localhost IDENTIFIED BY 'the right one'")
    mariadb.ask(f"GRANT {rights} ON {database(url)}.* TO clerk@localhost")
    return url.replace("root@", "clerk@")


def test_a_user_who_may_not_alter_stores_new_fields_as_json(
    sql: Sql, url: str, tmp_path: Path, mariadb: MariaDB, caplog: pytest.LogCaptureFixture
) -> None:
    sql.close()
    mariadb.ask("ALTER TABLE battery DROP COLUMN soc_percent", database(url))
    clerk = grant(mariadb, url, "SELECT, INSERT, UPDATE, DELETE")
    bank = sample(1, kind="battery", values={"battery_v": 52.1, "soc_percent": 80.0})
    poor = sink(clerk, tmp_path, password="the right one")
    poor.open()
    assert poor.write([bank], {}).stored == 1
    poor.close()
    rows = mariadb.ask("SELECT battery_v, other FROM battery", database(url))
    assert rows == [(52.1, '{"soc_percent":80.0}')]
    assert stored(url, tmp_path) == [bank]
    (said,) = caplog.messages
    assert "ALTER command denied" in said
    assert said.endswith("; kept in `other`: battery.soc_percent")


def fill_row(mariadb: MariaDB, url: str) -> None:
    """Leave less than 300 bytes of the 65,535 that a row of `battery` may have, texts apart."""
    for size in range(5400, 4000, -24):  # characters of at most four bytes
        wide = ", ".join(f"ADD COLUMN filler_{n} VARCHAR({size})" for n in range(3))
        with suppress(sa.exc.OperationalError):
            mariadb.ask(f"ALTER TABLE battery {wide}", database(url))
            return
    pytest.fail("no room at all")


def test_a_table_without_room_for_another_column_keeps_it_as_json(
    sql: Sql, url: str, tmp_path: Path, mariadb: MariaDB
) -> None:
    fill_row(mariadb, url)
    sql.open()
    cells = {f"cell_{n:02}_v": 3.3 for n in range(1, 99)}
    one = sample(1, kind="battery", values={"battery_v": 52.1, **cells})
    assert sql.write([one], {}).stored == 1
    assert stored(url, tmp_path) == [one]


def test_a_wrong_password_is_said_until_it_is_right(
    url: str, tmp_path: Path, mariadb: MariaDB
) -> None:
    clerk = grant(mariadb, url, "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER")
    sql = sink(clerk, tmp_path, password="hush hush")
    for _ in range(2):
        with pytest.raises(SinkError, match="Access denied for user 'clerk'") as raised:
            sql.open()
        assert "hush" not in str(raised.value)
    mariadb.ask("ALTER USER clerk@localhost IDENTIFIED BY 'hush hush'")
    assert sql.open() == {}
    sql.close()


def test_a_user_who_may_not_make_tables_is_said(url: str, tmp_path: Path, mariadb: MariaDB) -> None:
    sql = sink(grant(mariadb, url, "SELECT"), tmp_path, password="the right one")
    with pytest.raises(SinkError, match="CREATE command denied to user 'clerk'"):
        sql.open()
    mariadb.ask(f"GRANT CREATE, INSERT, UPDATE ON {database(url)}.* TO clerk@localhost")
    assert sql.open() == {}
    sql.close()


# ---------------------------------------------------------------- servers that hang


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_frozen_server_is_given_up_after_a_while(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    for url in fresh_at(server.url):
        sql = sink(url, tmp_path)
        sql.open()
        sql._wires.call_s = 0.5  # noqa: SLF001  (20 s are long for a test)
        server.freeze()
        with pytest.raises(SinkError, match=r"heliobus_test_\w+: no answer for 0\.5 s"):
            sql.write([sample(1)], {})
        server.thaw()
        sql._wires.call_s = CALL_S  # noqa: SLF001
        assert sql.open() == {}
        assert sql.write([sample(1)], {}).stored == 1
        sql.close()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_call_that_waits_can_be_interrupted_from_another_thread(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, pool: ThreadPoolExecutor
) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    for url in fresh_at(server.url):
        sql = sink(url, tmp_path)
        sql.open()
        server.freeze()
        writing = pool.submit(sql.write, [sample(1)], {})
        sql.interrupt()
        sql.interrupt()
        with pytest.raises(SinkError, match="did not answer in time for the stop"):
            writing.result(5)
        server.thaw()
        sql.close()


def fill(sql: Sql) -> None:
    for n in range(200):
        batch = many(50, first=n * 50, values={"mode": f"{n}" * 4000})
        sql.write(batch, {KEY: BEGIN_MS + n})


def test_a_full_server_is_waited_for_and_loses_nothing(tmp_path: Path) -> None:
    small = "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M"
    for server in running(MariaDB, "--skip-innodb-file-per-table", small):
        server.ask("CREATE DATABASE heliobus")
        sql = sink(f"{server.url}/heliobus", tmp_path)
        sql.open()
        with pytest.raises(SinkError, match="is full"):
            fill(sql)
        cursors = sql.open()
        rows = len(stored(f"{server.url}/heliobus", tmp_path))
        assert cursors[KEY] == BEGIN_MS + rows // 50 - 1
        sql.close()
