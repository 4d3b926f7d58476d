"""What the supervisor does with children that hang, and where none can be started."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

# Each start of a child leaves a line; the second one ends the test.
HEAD = """
import errno, logging, os, signal, sys, time
from pathlib import Path
from heliobus.component import Notify
from heliobus.supervisor import Supervisor

logging.basicConfig(format="%(message)s")
starts = Path("starts")
starts.touch()

def count():
    return len(starts.read_text().splitlines())

def begin():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with starts.open("a") as file:
        file.write("NOTIFY_SOCKET" in os.environ and "loud\\n" or "quiet\\n")
"""
HANGS = """
def work(name):
    begin()
    signal.signal(signal.SIGTERM, signal.{reaction})
    Notify()("WATCHDOG=1")
    time.sleep(600)

sys.exit(Supervisor(["axpert"], work, silent_s=0.5).run(until=lambda: count() == 2))
"""
NEVER_SPEAKS = """
def work(name):
    begin()
    time.sleep(600)

end_s = time.monotonic() + 2.5
supervisor = Supervisor(["house"], work, silent_s=0.1)
sys.exit(supervisor.run(until=lambda: time.monotonic() > end_s))
"""
NO_FORK = """
def work(name):
    begin()
    time.sleep(600)

fork, refusals = os.fork, [errno.EAGAIN, errno.ENOMEM]

def refuse():
    if refusals:
        raise OSError(number := refusals.pop(0), os.strerror(number))
    return fork()

os.fork = refuse
sys.exit(Supervisor(["axpert"], work).run(until=lambda: count() == 1))
"""


def supervise(folder: Path, code: str) -> tuple[list[str], list[str]]:
    """Run a supervisor in a process of its own; give what its children noted, and the log."""
    environ = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "60000000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(environ["NOTIFY_SOCKET"])
        found = subprocess.run(
            [sys.executable, "-c", HEAD + code],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    return (folder / "starts").read_text().split(), found.stderr.splitlines()


@pytest.mark.parametrize(("reaction", "number"), [("SIG_DFL", 15), ("SIG_IGN", 9)])
def test_a_child_that_was_well_and_hangs_is_ended_and_started_again(
    tmp_path: Path, reaction: str, number: int
) -> None:
    starts, said = supervise(tmp_path, HANGS.format(reaction=reaction))
    assert starts == ["quiet", "quiet"]
    assert said[0].startswith("axpert: hangs, silent for ")
    assert said[1] == f"axpert: killed by signal {number}; starting it again in 1 s"


def test_a_child_that_never_says_how_it_is_may_be_silent(tmp_path: Path) -> None:
    assert supervise(tmp_path, NEVER_SPEAKS) == (["quiet"], [])


def test_where_no_process_can_be_made_it_is_tried_again_later(tmp_path: Path) -> None:
    starts, said = supervise(tmp_path, NO_FORK)
    assert starts == ["quiet"]
    assert said == [
        "axpert: cannot be started (Resource temporarily unavailable); starting it again in 1 s",
        "axpert: cannot be started (Cannot allocate memory); starting it again in 2 s",
    ]
