"""What `heliobus up` tells systemd: when it is ready, and how its components are."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, wait_until

# Each component reacts as its name says; `gate` is a file that the test makes.
CODE = """
import logging, signal, sys, time
from pathlib import Path
from heliobus.component import Notify
from heliobus.errors import ConfigError
from heliobus.supervisor import Supervisor

def work(name):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if name == "crashes":
        with Path("starts").open("a") as file:
            file.write("start\\n")
        return 1
    if name == "misnamed":
        raise ConfigError("bridges.misnamed.link: found nothing")
    while name == "late" and not Path("gate").exists():
        time.sleep(0.02)
    notify = Notify()
    while True:
        notify("WATCHDOG=1")
        time.sleep(0.1)

sys.exit(Supervisor(sys.argv[1:], work).run())
"""


class Systemd:
    """The side of sd_notify(3) that listens."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(0)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, *names],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "NOTIFY_SOCKET": str(folder / "notify"),
                "WATCHDOG_USEC": "200000",
            },
        )

    def hears(self, line: str) -> bool:
        try:
            while True:
                self.said += self._socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return line in self.said

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(10)
        self.hears("")
        self._socket.close()
        return status


def test_up_is_ready_when_every_component_has_said_that_it_is_well(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path, "axpert", "late")
    wait_until(
        lambda: systemd.hears("STATUS=1 of 2 components run; missing: late"), "the first one"
    )
    assert "READY=1" not in systemd.said
    (tmp_path / "gate").touch()
    wait_until(lambda: systemd.hears("READY=1"), "the other one")
    assert systemd.stop() == 0
    assert systemd.said.count("READY=1") == 1
    assert systemd.said[-1] == "STOPPING=1"
    assert "STATUS=2 of 2 components run" in systemd.said


@pytest.mark.parametrize("broken", ["crashes", "misnamed"])
def test_one_broken_component_does_not_hold_up_the_others(tmp_path: Path, broken: str) -> None:
    systemd = Systemd(tmp_path, "axpert", broken)
    wait_until(lambda: systemd.hears("READY=1"), "ready")
    assert f"STATUS=1 of 2 components run; missing: {broken}" in systemd.said
    systemd.stop()


def test_up_is_never_ready_while_no_component_starts(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path, "crashes")
    starts = tmp_path / "starts"
    wait_until(lambda: starts.exists() and len(starts.read_text().split()) == 2, "two starts")
    systemd.stop()
    assert "STATUS=0 of 1 components run; missing: crashes" in systemd.said
    assert "READY=1" not in systemd.said


def test_the_watchdog_is_fed_while_the_parent_supervises(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path, "axpert")
    wait_until(
        lambda: systemd.hears("WATCHDOG=1") and systemd.said.count("WATCHDOG=1") >= 2, "two feeds"
    )
    systemd.stop()
