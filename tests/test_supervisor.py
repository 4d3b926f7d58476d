"""What the supervisor does with children that end, that hang, and where none can be started."""

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
ENDS = """
def work(name):
    begin()
    if count() == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if count() == 3:
        time.sleep(600)
    return 1

sys.exit(Supervisor(["axpert"], work).run(until=lambda: count() == 3))
"""
GIVEN_UP = """
from heliobus.errors import ConfigError

def work(name):
    begin()
    if name == "meters":
        time.sleep(600)
    raise ConfigError("bridges.axpert.link: found nothing, expected a link")

names = {names}
supervisor = Supervisor(names, work)
status = supervisor.run(until=lambda: count() == 2 and supervisor.children["axpert"].given_up)
print(status, *(child.pid for child in supervisor.children.values()), file=sys.stderr)
"""
STOPS = """
def work(name):
    begin()
    if name == "slow":
        signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), Path("ended").touch()))
        Path("ready").touch()
        signal.pause()
        return 0
    time.sleep(600)

def until():
    if Path("ready").exists() and count() == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return False

supervisor = Supervisor(["axpert", "meters", "slow"], work)
status = supervisor.run(until=until)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(status, Path("ended").exists(), "none left", file=sys.stderr)
"""
LONG_AGO = """
def work(name):
    begin()
    return 1

supervisor = Supervisor(["axpert"], work)
supervisor.children["axpert"].failures = 5000
until = lambda: supervisor.children["axpert"].failures > 5000
sys.exit(supervisor.run(until=until))
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


def test_a_child_that_ends_is_started_again_less_and_less_often(tmp_path: Path) -> None:
    starts, said = supervise(tmp_path, ENDS)
    assert starts == ["quiet", "quiet", "quiet"]
    assert said == [
        "axpert: ended with status 1; starting it again in 1 s",
        "axpert: killed by signal 9; starting it again in 2 s",
    ]


def test_a_child_that_has_failed_five_thousand_times_is_waited_for_a_minute(tmp_path: Path) -> None:
    _, said = supervise(tmp_path, LONG_AGO)
    assert said == ["axpert: ended with status 1; starting it again in 60 s"]


@pytest.mark.parametrize(
    ("names", "status"), [(["axpert"], 78), (["axpert", "meters"], 0)], ids=["alone", "of two"]
)
def test_a_child_whose_configuration_is_wrong_is_given_up(
    tmp_path: Path, names: list[str], status: int
) -> None:
    starts, said = supervise(tmp_path, GIVEN_UP.format(names=names))
    assert starts == ["quiet"] * len(names)
    assert said == [
        "bridges.axpert.link: found nothing, expected a link",
        "axpert: not started again: its configuration must be mended first",
        " ".join(map(str, [status, *(0 for _ in names)])),
    ]


def test_a_signal_ends_all_children_and_waits_for_them(tmp_path: Path) -> None:
    starts, said = supervise(tmp_path, STOPS)
    assert len(starts) == 3
    assert said == ["0 True none left"]
