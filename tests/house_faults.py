"""What can be broken in a house, and mended again."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from tests.helpers import wait_until
from tests.house import House


class Broken(Protocol):
    """Something that is broken until it is mended."""

    def mend(self) -> None: ...


Fault: TypeAlias = Callable[[House], Broken]


@dataclass(frozen=True)
class _Mended:
    mend: Callable[[], None]


def killed(name: str) -> Fault:
    """Kill a component or the broker; mended, it is started again."""

    def kill(house: House) -> Broken:
        house.kill(name)
        return _Mended(lambda: house.start(name))

    return kill


def frozen(house: House) -> Broken:
    """Stop the broker in its tracks; mended, it goes on."""
    house.broker.freeze()
    return _Mended(house.broker.thaw)


def locked(house: House) -> Broken:
    """Have another process lock the database."""
    return _Lock(house.database)


_LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


class _Lock:
    def __init__(self, database: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOCK, str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self._process.stdout is None or self._process.stdout.readline() != b"locked\n":
            raise RuntimeError("the database could not be locked")

    def mend(self) -> None:
        self._process.communicate(timeout=10)


@dataclass(frozen=True)
class Mishap:
    """A fault that strikes at a time and lasts for some seconds."""

    fault: Fault
    lasts_s: float
    at_s: float = 0.0


def suffer(house: House, *mishaps: Mishap) -> None:
    """Let things break and be mended, each at its time."""
    begin_s = time.monotonic()
    broken: dict[int, Broken] = {}
    steps = [(one.at_s, number, True) for number, one in enumerate(mishaps)]
    steps += [(one.at_s + one.lasts_s, number, False) for number, one in enumerate(mishaps)]
    for at_s, number, breaks in sorted(steps, key=lambda step: step[0]):
        _wait_for(begin_s + at_s)
        if breaks:
            broken[number] = mishaps[number].fault(house)
        else:
            broken.pop(number).mend()


def _wait_for(moment_s: float) -> None:
    wait_until(lambda: time.monotonic() >= moment_s, "the time", 120)
