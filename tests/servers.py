"""Real database servers for the tests: each in a folder of its own, on a free port of loopback."""

import os
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from broker.start import HOST
from tests.helpers import free_port, lacking, require_program, wait_until

Server = TypeVar("Server", bound="DatabaseServer")
READY_S = 30.0
# Their own time zone, that of Berlin, must make no difference to what is stored.
LOCAL_TIME = "CET-1CEST,M3.5.0,M10.5.0/3"
# PostgreSQL refuses to run as root.
_NOBODY = 65534


class DatabaseServer(ABC):
    """A server that is started, killed, frozen and restarted on the same data and port."""

    ends_by = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """Give the address for an administrator, without the name of a database."""

    @abstractmethod
    def _command(self, *options: str) -> Sequence[str]:
        """Give the command that runs it in the foreground."""

    @property
    def _as_user(self) -> Sequence[str]:
        return ()

    @property
    def pid(self) -> int:
        """Give the process id of the running server."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def ask(self, text: str, database: str = "") -> list[Any]:
        """Ask in SQL as administrator, on a connection of its own."""
        engine = sa.create_engine(
            f"{self.url}/{database}",
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 2},
        )
        try:
            with engine.connect() as connection:
                result = connection.exec_driver_sql(text)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def start(self, *options: str) -> None:
        """Start it and wait until somebody can log in; `options` are added to its command."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # It ends when the tests do, however they end.
                ["setpriv", "--pdeathsig", "TERM", *self._as_user, *self._command(*options)],
                cwd=self.folder,
                env={**os.environ, "TZ": LOCAL_TIME},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_ready, f"the server {self.log}", READY_S)

    def stop(self) -> None:
        """End it in order. Safe to call twice."""
        self.thaw()
        self._end(self.ends_by)

    def kill(self) -> None:
        """End it with SIGKILL, and come back when it is gone."""
        self._end(signal.SIGKILL)

    def restart(self, *options: str) -> None:
        """Stop it, if it runs, and start it again on the same port with the same data."""
        self.stop()
        self.start(*options)

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        self._frozen = [self.pid, *_children(self.pid)]
        for pid in self._frozen[1:]:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT). Safe to call twice."""
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def sound(self) -> None:
        """Leave it running, whatever a test has done to it."""
        self.thaw()
        if self._process is None or self._process.poll() is not None:
            self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        workers = _children(self.pid)
        with suppress(ProcessLookupError):
            os.kill(self.pid, how)
        self._process.wait(READY_S)
        self._process = None
        self._frozen = []
        wait_until(
            lambda: not any(map(_lives, workers)), "the end of the server's workers", READY_S
        )

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the server has ended:\n{self.log.read_text()[-2000:]}")
        try:
            return bool(self.ask("SELECT 1"))
        except sa.exc.OperationalError:
            return False


class MariaDB(DatabaseServer):
    """A real mariadbd with small buffers; root has no password."""

    def __init__(self, folder: Path) -> None:
        """Make an empty server in `folder`; skip the test where MariaDB is not installed."""
        super().__init__(folder)
        self._program = require_program("mariadbd", package="mariadb-server-core")
        require_program("my_print_defaults", package="mariadb-client-core")
        install = require_program("mariadb-install-db", package="mariadb-server-core")
        folder.mkdir(parents=True, exist_ok=True)
        how = ("--auth-root-authentication-method=normal", "--skip-test-db")
        _run([install, *self._common(), *how], folder)

    @property
    def url(self) -> str:
        return f"mysql+pymysql://root@{HOST}:{self.port}"

    def _common(self) -> list[str]:
        own = ["--user=root"] if os.geteuid() == 0 else []
        return ["--no-defaults", f"--datadir={self.folder}/data", "--innodb-log-file-size=8M", *own]

    def _command(self, *options: str) -> Sequence[str]:
        return [
            self._program,
            *self._common(),
            f"--bind-address={HOST}",
            f"--port={self.port}",
            "--socket=mariadb.sock",  # in its data folder: a full path may be too long
            "--pid-file=mariadb.pid",
            "--innodb-buffer-pool-size=32M",
            # What is written to the system outlives a kill; only a power cut would take it.
            "--innodb-flush-method=nosync",
            "--innodb-flush-log-at-trx-commit=2",
            *options,
        ]


class PostgreSQL(DatabaseServer):
    """A real postgres with small buffers; user postgres has no password, others need theirs."""

    ends_by = signal.SIGINT  # by SIGTERM it would wait until everybody has gone

    def __init__(self, folder: Path) -> None:
        """Make an empty server in `folder`; skip the test where PostgreSQL is not installed."""
        super().__init__(folder)
        self._bin = _postgresql()
        folder.mkdir(parents=True, exist_ok=True)
        if self._as_user:
            os.chown(folder, _NOBODY, _NOBODY)
        (folder / "hba").write_text(
            f"host all postgres {HOST}/32 trust\nhost all all {HOST}/32 scram-sha-256\n"
        )
        data = str(folder / "data")
        initdb = [str(self._bin / "initdb"), "-D", data, "-U", "postgres", "-A", "trust"]
        _run([*(("setpriv", *self._as_user) if self._as_user else ()), *initdb], folder)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@{HOST}:{self.port}"

    @property
    def _as_user(self) -> Sequence[str]:
        if os.geteuid() != 0:
            return ()
        return f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"

    def _command(self, *options: str) -> Sequence[str]:
        settings = (
            f"listen_addresses={HOST}",
            f"port={self.port}",
            "unix_socket_directories=",
            "shared_buffers=16MB",
            "fsync=off",  # what is written to the system outlives a kill
            f"hba_file={self.folder}/hba",
            *options,
        )
        program = [str(self._bin / "postgres"), "-D", str(self.folder / "data")]
        return [*program, *(word for setting in settings for word in ("-c", setting))]

    def ask(self, text: str, database: str = "") -> list[Any]:
        return super().ask(text, database or "postgres")


def running(kind: Callable[[Path], Server], *options: str) -> Iterator[Server]:
    """Run a server in a folder of its own, and leave nothing of it."""
    folder = Path(tempfile.mkdtemp(prefix="heliobus-"))  # pytest's own is closed to other users
    try:
        server = kind(folder)
        try:
            server.start(*options)
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _postgresql() -> Path:
    """Find PostgreSQL's programs; Debian keeps them outside of every PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else lacking("initdb is not installed: apt install postgresql")


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
