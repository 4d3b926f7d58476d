"""A `heliobus` process from outside: started, killed, and listened to on stderr and on the bus."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.helpers import ROOT, wait_until

SITE = "farm"
# The fast bridge, found as another package's would be: by its entry point.
PLUGINS = ROOT / "tests" / "plugins"


class Program:
    """One `heliobus` process, and what it says."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        config: str = "heliobus.yaml",
        before: Sequence[str] = (),
    ) -> None:
        self.log = folder / f"{'-'.join(arguments)}.log"
        self._folder = folder
        self._command = [*before, sys.executable, "-m", "heliobus", "-c", config, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.running:
            self.kill()
        if kind is None and ("Traceback" in self.said or "a bug in" in self.said):
            raise RuntimeError(f"{self._command}:\n{self.said}")

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self._command}: not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def start(self) -> None:
        path = os.pathsep.join(map(str, (ROOT, PLUGINS)))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def says(self, *words: str) -> str:
        """Wait for one line with all these words, and give it."""

        def line() -> str:
            lines = self.said.splitlines()
            return next((one for one in lines if all(word in one for word in words)), "")

        return wait_until(line, f"{words}\n{self.said}", 15)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self, deadline_s: float = 10.0) -> int:
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
        return self.wait(deadline_s)

    def wait(self, deadline_s: float = 10.0) -> int:
        if self._process is None:
            raise RuntimeError(f"{self._command}: not started")
        return self._process.wait(deadline_s)


class Ear:
    """A client of our own that keeps what is said on the bus, through every restart of it.

    Once there is a password of its user, it logs in.
    """

    def __init__(self, port: int, password: Path | None = None) -> None:
        self._port = port
        self._password = password
        self._lock = threading.Lock()
        self._heard: list[tuple[float, MQTTMessage]] = []
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_message = self._take
        self.client.on_pre_connect = lambda *_: self._log_in()
        self.client.on_connect = lambda client, *_: client.subscribe(f"heliobus/{SITE}/#", 1)

    def __enter__(self) -> Self:
        self.client.connect_async("127.0.0.1", self._port, keepalive=5)
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _log_in(self) -> None:
        if self._password is not None and self._password.exists():
            self.client.username_pw_set(self._password.name, self._password.read_text().strip())

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._lock:
            self._heard.append((time.monotonic(), message))

    def heard(self, leaf: str, since_s: float = 0.0) -> list[MQTTMessage]:
        """Give the messages whose topic ends so."""
        with self._lock:
            heard = list(self._heard)
        return [m for at_s, m in heard if at_s >= since_s and m.topic.endswith(leaf)]

    def status(self, name: str) -> dict[str, Any]:
        """Give the newest status of a component, {} before the first."""
        heard = self.heard(f"/bus/{name}/status")
        return json.loads(heard[-1].payload) if heard else {}

    def say(self, leaf: str, body: Mapping[str, Any], *, retain: bool = False) -> None:
        """Publish something of our own."""
        self.client.publish(f"heliobus/{SITE}/{leaf}", json.dumps(body), qos=1, retain=retain)
