"""`heliobus up` as its owner meets it: a tree of processes that mends itself, and ends."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from heliobus.process import Lock
from heliobus.settings import BrokerStart
from tests.helpers import BrokerProcess, wait_until
from tests.house import BRIDGE, SINK, House, wall_ms
from tests.processes import Program

pytestmark = pytest.mark.broker

COMPONENTS = (BRIDGE, SINK)


@contextmanager
def up(folder: Path, start: BrokerStart) -> Iterator[tuple[House, Program]]:
    """Run a house by `heliobus up`, which starts the broker, too."""
    address = BrokerProcess(start, folder / "unused")
    config = {"url": address.url, "start": start.value}
    house = House(folder / "house", address, broker=config, journal={"flush": "1s"})
    with house.running("up"):
        house.recovers()
        yield house, house.programs["up"]


def component(house: House, name: str) -> int:
    """Give the process of a component, as its lock names it."""
    return int((house.data / f"{name}.lock").read_text() or 0)


def broker(house: House) -> int:
    """Give the process of the broker: the only child that is no component, 0 for none."""
    components = {component(house, name) for name in COMPONENTS}
    others = [pid for pid in children(house.programs["up"].pid) if pid not in components]
    return others[0] if others else 0


def children(parent: int) -> list[int]:
    return list(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One whose parent has died may wait for init to collect it.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def another(find: Callable[[House], int], house: House) -> None:
    """Kill a process, and wait until another has taken its place and all is well again."""
    killed = find(house)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: find(house) not in (0, killed), "another process", 15)
    house.recovers()


def test_up_starts_again_what_is_killed_and_ends_in_order(tmp_path: Path) -> None:
    with up(tmp_path, BrokerStart.MOSQUITTO) as (house, process):
        another(partial(component, name=BRIDGE), house)
        process.says(f"{BRIDGE}: killed by signal 9; starting it again in 1 s")
        another(broker, house)
        process.says("it has died; starting it again")
        everyone = children(process.pid)
        assert process.stop(5) == 0
        assert not [pid for pid in everyone if alive(pid)]


@pytest.mark.parametrize(
    "start", [BrokerStart.MOSQUITTO, pytest.param(BrokerStart.EMBEDDED, marks=pytest.mark.slow)]
)
def test_nothing_outlives_a_killed_parent_and_nothing_is_lost(
    start: BrokerStart, tmp_path: Path
) -> None:
    with up(tmp_path, start) as (house, process):
        everyone = children(process.pid)
        assert len(everyone) == 3
        process.kill()
        wait_until(lambda: not [pid for pid in everyone if alive(pid)], "the end of all", 5)
        before_ms = wall_ms()
        process.start()
        house.recovers()
        assert process.stop(5) == 0
        house.is_whole(before_ms)


def test_a_restart_waits_for_what_a_killed_parent_has_left(tmp_path: Path) -> None:
    with up(tmp_path, BrokerStart.MOSQUITTO) as (house, process):
        process.kill()
        with Lock(house.data, BRIDGE):  # as an orphan does that takes its time to stop
            process.start()
            wait_until(lambda: locks(process.pid, house), "the new process at the lock")
        house.recovers()
        assert process.stop(5) == 0


def locks(pid: int, house: House) -> list[Path]:
    """Give the locks that a process has open."""
    files = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            files.append(file.readlink())
    return [file for file in files if file == house.data / f"{BRIDGE}.lock"]
