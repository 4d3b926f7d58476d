"""What more than one test file needs: waiting, ports, what must be installed, real brokers."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

from broker.start import HOST, RunningBroker, start_broker
from heliobus.settings import BrokerStart

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
# Of the fixture `sim`.
Sim = Callable[..., tuple[subprocess.Popen[str], str]]
REQUIRE_ALL = os.environ.get("HELIOBUS_REQUIRE_ALL", "") not in {"", "0"}


def wait_until(condition: Callable[[], T], what: str, deadline_s: float = 10.0) -> T:
    """Call `condition` until it gives something true, and give that; else fail the test."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"waited {deadline_s:g} s in vain for: {what}; last seen: {value!r:.500}")
        time.sleep(0.01)


def lacking(reason: str) -> NoReturn:
    """Skip this test because the machine lacks something; HELIOBUS_REQUIRE_ALL=1: fail it."""
    if REQUIRE_ALL:
        pytest.fail(f"HELIOBUS_REQUIRE_ALL is set, but {reason}", pytrace=False)
    pytest.skip(reason)


def require_program(name: str, package: str) -> str:
    """Give the path of a program of a system package, or skip the test."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=path)
    return found or lacking(f"{name} is not installed here: apt install {package}")


def free_port() -> int:
    """Give a TCP port of loopback that nobody listens on, also while its server is restarted.

    From 32768 on the kernel gives ports to clients: one that tries again and again to reach a
    server that is down can be given the server's own port, and is connected to itself.
    """
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = random.randrange(16384, 32768)
            probe.bind((HOST, port))
            return port


def flips(frame: bytes) -> Iterator[bytes]:
    """Give a frame with one bit of it wrong, each bit in its turn."""
    number = int.from_bytes(frame)
    return ((number ^ 1 << bit).to_bytes(len(frame)) for bit in range(8 * len(frame)))


def vectors_folder() -> Path | None:
    """Give the optional folder of further vectors (HELIOBUS_VECTORS), None where there is none."""
    folder = Path(os.environ.get("HELIOBUS_VECTORS", ROOT / ".." / "shared" / "vectors"))
    return folder.resolve() if folder.is_dir() else None


def further_vectors(file: str) -> Any:
    """Give the parsed JSON file of further vectors, None where there is none.

    For parametrising: without the folder there are simply fewer cases.
    """
    folder = vectors_folder()
    if folder is None or not (folder / file).is_file():
        return None
    return json.loads((folder / file).read_text())


class BrokerProcess:
    """A real broker on a free port of loopback, to be stopped, killed, frozen and restarted."""

    def __init__(self, kind: BrokerStart, folder: Path, port: int | None = None) -> None:
        self.kind = kind
        self.folder = folder
        self.host = HOST
        self.port = port or free_port()
        self.running: RunningBroker | None = None

    @property
    def url(self) -> str:
        """Give the address as heliobus.yaml writes it."""
        return f"mqtt://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Give the process id of the running broker."""
        if self.running is None:
            raise RuntimeError("the broker is not running")
        return self.running.pid

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self.running = start_broker(self.kind, self.port, self.folder)

    def stop(self) -> None:
        """End it with SIGTERM. Safe to call twice."""
        if self.running is not None:
            if self.running.running:
                self.thaw()
            self.running.stop()
            self.running = None

    def kill(self) -> None:
        """End it with SIGKILL, and come back when it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        if self.running is not None:
            self.running.stop()
            self.running = None

    def restart(self) -> None:
        """Stop it, if it runs, and start it again on the same port with the same files."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)
