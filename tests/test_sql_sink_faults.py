"""The SQL sink among others: locks, kills, full disks, damaged files, servers that are away."""

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliobus.errors import ConfigError, SinkError
from heliobus.sample import Sample
from sinks.sql import Sql
from tests.databases import DATABASES, fresh, sink, stored
from tests.helpers import ROOT, wait_until
from tests.samples import BEGIN_MS, KEY, sample


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield from fresh(request, tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Name an SQLite file: for what only SQLite does."""
    return tmp_path / "history.db"


# ---------------------------------------------------------------- several at once


_WRITER = """
import sys
from pathlib import Path
from tests.databases import sink
from tests.samples import sample
from heliobus.errors import SinkError
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
sql = sink(url, Path())
def insist(work):
    while True:
        try:
            return work()
        except SinkError as error:
            print(error, file=sys.stderr)
insist(sql.open)
print("ready", flush=True)
sys.stdin.readline()
stored = 0
for n in range(count):
    one = sample(n, bridge=name, kind="battery", values={f"cell_{n % 16:02}_v": 3.3})
    stored += insist(lambda: sql.write([one], {("farm", name, "inverter"): one.time_ms})).stored
print(stored, flush=True)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_several_processes_may_start_and_write_at_once(url: str, tmp_path: Path) -> None:
    writers = [start(_WRITER, url, f"bridge_{n}", 40) for n in range(3)]
    answers = [writer.communicate("\n", timeout=60)[0].split() for writer in writers]
    assert answers == [["ready", "40"]] * 3
    rows = stored(url, tmp_path)
    assert len(rows) == 120
    assert all(len(row.values) == 1 for row in rows)


_ENDLESS = """
import itertools, sys
from pathlib import Path
from tests.databases import sink
from tests.samples import sample
sql = sink(sys.argv[1], Path())
cursors = sql.open()
(begin,) = cursors.values() or (sample(0).time_ms,)
for n in itertools.count():
    batch = [sample((begin - sample(0).time_ms) / 1000 + n * 5 + i + 1) for i in range(5)]
    sql.write(batch, {("farm", "axpert", "inverter"): batch[-1].time_ms})
    print(n, flush=True)
"""


def test_a_killed_writer_leaves_data_and_cursor_in_step(url: str, tmp_path: Path) -> None:
    chance = random.Random(11)
    for _ in range(4):
        writer = start(_ENDLESS, url)
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 40)):
            assert writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        again = sink(url, tmp_path)
        cursor_ms = again.open()[KEY]
        again.close()
        times = [s.time_ms for s in stored(url, tmp_path)]
        assert times == list(range(BEGIN_MS + 1000, cursor_ms + 1, 1000))


_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_database_locked_by_another_process_is_said_and_waited_for(
    file: Path, tmp_path: Path
) -> None:
    sql = sink(f"sqlite:///{file}", tmp_path)
    sql.open()
    locker = start(_LOCKER, file)
    assert locker.stdout is not None
    assert locker.stdout.readline() == "locked\n"
    said = rf"history.db: database is locked by another process: .+ \(process {locker.pid}\)"
    with pytest.raises(SinkError, match=said):
        sql.write([sample(1)], {KEY: 1})
    with pytest.raises(SinkError, match="database is locked"):
        sql.open()
    locker.communicate("\n")
    assert sql.open() == {}
    assert sql.write([sample(1)], {KEY: 1}).stored == 1
    sql.close()


def test_a_reader_in_the_middle_of_a_query_delays_no_write(file: Path, tmp_path: Path) -> None:
    sql = sink(f"sqlite:///{file}", tmp_path)
    sql.write([sample(1), sample(2)], {})
    reader = sqlite3.connect(file)
    rows = reader.execute("SELECT time FROM inverter")
    rows.fetchone()
    assert sql.write([sample(3)], {}).stored == 1
    reader.close()
    sql.close()


# ---------------------------------------------------------------- files and disks


def test_a_relative_file_lies_beside_the_configuration(tmp_path: Path) -> None:
    sql = sink("sqlite:///here.db", tmp_path)
    sql.open()
    sql.close()
    assert (tmp_path / "here.db").exists()


def test_a_file_that_is_no_database_is_left_as_it_is(file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"a letter to a friend, not a database\n" * 40)
    with pytest.raises(ConfigError, match=r"history.db: is no SQLite database, or is damaged"):
        sink(f"sqlite:///{file}", tmp_path).open()
    assert file.read_bytes() == b"a letter to a friend, not a database\n" * 40


def test_a_damaged_database_is_said_and_never_replaced(file: Path, tmp_path: Path) -> None:
    sql = sink(f"sqlite:///{file}", tmp_path)
    sql.write([sample(n) for n in range(500)], {})
    sql.close()
    whole = file.read_bytes()
    damaged = whole[:4096] + b"\xff" * (len(whole) - 4096)
    file.write_bytes(damaged)
    with pytest.raises(ConfigError, match="the database is damaged; nothing was changed"):
        sql.open()
    assert file.read_bytes() == damaged


def test_a_missing_folder_is_waited_for_and_never_made(tmp_path: Path) -> None:
    sql = sink(f"sqlite:///{tmp_path}/disk/history.db", tmp_path)
    with pytest.raises(SinkError, match=r"disk: No such file or directory \(is its disk mounted"):
        sql.open()
    assert not (tmp_path / "disk").exists()
    (tmp_path / "disk").mkdir()
    assert sql.open() == {}
    sql.close()


def test_a_folder_in_place_of_the_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is a folder, expected the name of a file"):
        sink(f"sqlite:///{tmp_path}", tmp_path).open()


def test_a_file_that_was_moved_away_is_noticed(file: Path, tmp_path: Path) -> None:
    sql = sink(f"sqlite:///{file}", tmp_path)
    sql.write([sample(1)], {KEY: 1})
    file.rename(tmp_path / "old.db")
    with pytest.raises(SinkError, match="the file was moved, removed or replaced while in use"):
        sql.write([sample(2)], {KEY: 2})
    assert sql.open() == {}
    sql.close()


def test_a_folder_without_permission_is_said() -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own lies in a folder of root
    folder.chmod(0o555)
    try:
        said = as_nobody(lambda: sink(f"sqlite:///{folder}/history.db", folder).open())
        assert said.startswith(f"ConfigError: {folder}/history.db: no permission to write {folder}")
    finally:
        shutil.rmtree(folder)


def test_a_read_only_file_is_said() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    sql = sink("sqlite:///history.db", folder)
    sql.open()
    sql.close()
    (folder / "history.db").chmod(0o444)
    try:
        said = as_nobody(lambda: sink("sqlite:///history.db", folder).open())
        assert "history.db: no permission to write" in said
    finally:
        shutil.rmtree(folder)


def as_nobody(work: Callable[[], object]) -> str:
    """Do work in a child that is not root, and give the error it raised."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            work()
        except Exception as error:  # noqa: BLE001  (whatever it is, the parent shows it)
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def write_until_full(sql: Sql, match: str) -> list[Sample]:
    """Write until the disk is full, and give the batch that found no room."""
    batches = [
        [sample(n * 50 + i, values={"mode": "m" * 200}) for i in range(50)] for n in range(1, 200)
    ]
    tried: list[list[Sample]] = []

    def write_all() -> None:
        for batch in batches:
            tried.append(batch)
            sql.write(batch, {KEY: batch[-1].time_ms})

    with pytest.raises(SinkError, match=match):
        write_all()
    return tried[-1]


def test_a_full_disk_is_waited_for_and_loses_nothing(file: Path, tmp_path: Path) -> None:
    sql = sink(f"sqlite:///{file}", tmp_path)
    sql.write([sample(0)], {KEY: BEGIN_MS})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        batch = write_until_full(sql, match="history.db: the disk .*full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    sql.close()
    cursor_ms = sql.open()[KEY]
    assert max(s.time_ms for s in stored(f"sqlite:///{file}", tmp_path)) == cursor_ms
    assert sql.write(batch, {KEY: batch[-1].time_ms}).stored == 50
    sql.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_really_full_disk_is_said(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        sql = sink(f"sqlite:///{disk}/history.db", tmp_path)
        write_until_full(sql, match="history.db: the disk is full; make room")
        sql.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


# ---------------------------------------------------------------- addresses and servers


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("history.db", "sinks.archive.url: found no address of a database, expected it like"),
        ("", "found no address of a database"),
        ("sqlite://", "sinks.archive.url: found no file, expected it like sqlite:///history.db"),
        ("sqlite:///:memory:", "found no file"),
        ("sqlite://history.db", "found no file"),
        ("oracle://u:secret@h/d", "found 'oracle', expected one of mariadb, mysql, postgresql"),
        ("mysql+pymysql://u:secret@host", "names no database"),
    ],
)
def test_an_address_that_cannot_work_is_refused_without_io(
    tmp_path: Path, url: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        sink(url, tmp_path)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql+oursql://u:secret@h/d", "sinks.archive.url: .*oursql"),
        ("mysql+cymysql://u:secret@h/d", "driver for mysql.cymysql is not installed: pip install"),
        ("sqlite+aiosqlite:///h.db", "aiosqlite"),
    ],
)
def test_a_driver_that_cannot_work_is_said(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        sink(url, tmp_path).open()
    assert "secret" not in str(raised.value)


def test_a_server_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    sql = sink("mysql+pymysql://heliobus@127.0.0.1:1/heliobus", tmp_path, password="hush hush")
    with pytest.raises(SinkError, match=r"127\.0\.0\.1:1/heliobus: .*refused") as raised:
        sql.open()
    assert "hush" not in str(raised.value)


def test_the_sink_stops_between_two_attempts_at_a_lock(file: Path, tmp_path: Path) -> None:
    """One attempt ends by itself soon enough for a stop within 2 s."""
    sink(f"sqlite:///{file}", tmp_path).open()
    locker = start(_LOCKER, file)
    assert locker.stdout is not None
    assert locker.stdout.readline() == "locked\n"
    stopper = start(_STOPPED, file)
    assert stopper.stdout is not None
    assert stopper.stdout.readline() == "writing\n"
    stopper.terminate()
    wait_until(lambda: stopper.poll() is not None, "the end of the writer", deadline_s=2)
    locker.communicate("\n")
    stopper.communicate()


_STOPPED = """
import signal, sys
from pathlib import Path
from heliobus.errors import SinkError
from tests.databases import sink
from tests.samples import sample
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
sql = sink("sqlite:///" + sys.argv[1], Path())
print("writing", flush=True)
while not stop:
    try:
        sql.write([sample(1)], {})
    except SinkError:
        pass
"""
