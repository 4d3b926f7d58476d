"""The stage of a bench: a folder, a real broker, simulated inverters, real processes of ours."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from broker.start import start_broker
from heliobus import components
from heliobus.bus import Bus, Message
from heliobus.sample import dumps
from heliobus.settings import BrokerSettings, BrokerStart
from heliobus.simulation import serve_pty
from tests.helpers import free_port

T = TypeVar("T")

BAUD = 2400
BYTE_S = 10 / BAUD
SITE = "bench"
_MEGA = 1e6
_ROOT = Path(__file__).parents[1]


def wait_for(condition: Callable[[], T | None], what: str, deadline_s: float = 30.0) -> T:
    """Wait until `condition` gives something true, and give that."""
    end_s = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > end_s:
            raise TimeoutError(f"waited {deadline_s:g} s in vain for {what}")
        time.sleep(0.005)
    return value


def environment() -> dict[str, str]:
    """Give the environment of a user, where Python keeps what it compiles; with this checkout."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(_ROOT)}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as it began to travel, and the answer to it."""

    began_s: float
    request: bytes
    answer: bytes

    @property
    def wire_s(self) -> float:
        """Give the time that both take on the wire."""
        return (len(self.request) + len(self.answer)) * BYTE_S


class Inverter:
    """A simulated inverter that keeps what it was asked; `halved`, it breaks off in its answers."""

    def __init__(self) -> None:
        self.halved = False
        self.exchanges: list[Exchange] = []
        self._simulated = components.simulator("voltronic")()

    def take(self, data: bytes) -> bytes:
        """Take a request, which has just arrived in full; give the answer."""
        began_s = time.monotonic() - len(data) * BYTE_S
        answer: bytes = self._simulated.take(data)
        answer = answer[: len(answer) // 2] if self.halved else answer
        self.exchanges.append(Exchange(began_s, data, answer))
        return answer

    def asked(self, command: bytes) -> bool:
        """Say whether it was asked this at least once."""
        return any(exchange.request.startswith(command) for exchange in self.exchanges)


class Process:
    """One process of ours."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.started_s = time.monotonic()
        with (folder / "heliobus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "heliobus", *arguments],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self._process.pid

    @property
    def children(self) -> list[int]:
        """Give the ids of its children."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    @property
    def cpu_s(self) -> float:
        """Give the processor time used so far, in user and kernel mode."""
        return processor_s(self.pid)

    def stop(self) -> float:
        """End it with SIGTERM and give how long that took."""
        began_s = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(30)
        if status != 0:
            raise RuntimeError(f"a process of ours ended with status {status}")
        return time.monotonic() - began_s

    def kill(self) -> None:
        """End it whatever it does. Safe to call twice."""
        self._process.kill()
        self._process.wait()


def processor_s(pid: int) -> float:
    """Give the processor time that a process has used so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> Mapping[str, float]:
    """Give Pss, Rss and the like of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {
        name.rstrip(":"): int(kilobytes) * 1024 / _MEGA
        for name, kilobytes, _ in (line.split() for line in lines)
    }


@dataclass
class Stage:
    """What a bench needs, in one folder. `config` is added to heliobus.yaml."""

    folder: Path
    bridges: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Start the broker and the inverters, and write heliobus.yaml."""
        self.folder.mkdir(parents=True)
        self.processes: list[Process] = []
        self.inverters = [Inverter() for _ in range(self.bridges)]
        self.broker = BrokerSettings(port=free_port())
        self._stack = ExitStack()
        self.running_broker = start_broker(
            BrokerStart.MOSQUITTO, self.broker.port, self.folder / "broker"
        )
        self._stack.callback(self.running_broker.stop)
        for number, inverter in enumerate(self.inverters, 1):
            path = self.folder / f"tty{number}"
            self._stack.enter_context(serve_pty(inverter, baud=BAUD, link_path=path))
        text = dumps(self._settings()).decode()  # JSON is YAML
        (self.folder / "heliobus.yaml").write_text(text)
        return self

    def __exit__(self, *_: object) -> None:
        """End all."""
        for process in self.processes:
            process.kill()
        self._stack.close()

    def _settings(self) -> dict[str, Any]:
        bridges = {
            f"bridge{number}": {
                "type": "voltronic",
                "link": f"serial://{self.folder}/tty{number}?baud={BAUD}",
                "devices": {f"inverter{number}": {"every": "1s"}},
            }
            for number in range(1, self.bridges + 1)
        }
        # Where nobody sets the clock, samples would wait for it.
        common = {"site": SITE, "broker": {"url": self.broker.url}, "clock": "trust"}
        return {**common, "bridges": bridges, **self.config}

    def start(self, *arguments: str) -> Process:
        """Start `heliobus` with these arguments."""
        process = Process(self.folder, *arguments)
        self.processes.append(process)
        return process

    @contextmanager
    def ear(self, topic: str) -> Iterator["list[tuple[float, Message]]"]:
        """Hear what is published on a topic, and when it came."""
        heard: list[tuple[float, Message]] = []
        ready = threading.Event()
        bus = self.bus(
            "ear",
            subscriptions=[(topic, 1)],
            on_connect=ready.set,
            on_message=lambda message: heard.append((time.monotonic(), message)),
        )
        ready.wait(10)
        try:
            yield heard
        finally:
            bus.stop()

    def bus(self, name: str, **how: Any) -> Bus:
        """Connect to the broker under this name."""
        bus = Bus(self.broker, name, will=(f"heliobus/{SITE}/bus/{name}/status", b""), **how)
        bus.start()
        if not bus.wait_connected(10):
            raise TimeoutError("the broker does not answer")
        return bus
