"""The dead letter: what was refused, from where and why, on the bus and in a bounded file."""

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from heliobus.bus import Bus
from heliobus.sample import dumps, time_text
from heliobus.topics import Topics

MAX_FILE_BYTES = 1_000_000  # and as much again in the file before it
AGAIN_S = 60.0  # the same refusal is told no more often
MOST_KNOWN = 1000  # refusals are made of what others write: no more sorts are told in that time
SWEEP_S = 1.0
_VALUE = re.compile(r"found .*?(?=, expected|\Z)", re.DOTALL)


class Rejects:
    """The refusals of one component. `put` may be called from any thread."""

    def __init__(
        self,
        path: Path,
        name: str,
        topics: Topics,
        bus: Bus,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._topic = topics.component(name, "rejected")
        self._bus = bus
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._told_s: dict[tuple[str, str], float] = {}
        self._times: dict[tuple[str, str], int] = {}
        self._swept_s = -math.inf
        self.count = 0

    def put(self, topic: str, reason: str, found: Mapping[str, Any]) -> None:
        """Note a refusal. A full disk costs the file's line, never the caller.

        One that differs from an earlier one only by the value is told at most once a minute.
        """
        with self._lock:
            self.count += 1
            times = self._due(_sayable(topic), _VALUE.sub("", _sayable(reason)))
            if times:
                self._tell(topic, reason, found, times)

    def _due(self, topic: str, reason: str) -> int:
        """Give how many refusals of this sort are to be told now; 0: it was told just now."""
        sort, now_s = (topic, reason), self._monotonic()
        if len(self._told_s) >= MOST_KNOWN and now_s - self._swept_s >= SWEEP_S:
            self._sweep(now_s)
        is_new = sort not in self._told_s
        if is_new and len(self._told_s) >= MOST_KNOWN:
            return 0
        times = self._times.pop(sort, 0) + 1
        if not is_new and now_s - self._told_s[sort] < AGAIN_S:
            self._times[sort] = times
            return 0
        self._told_s[sort] = now_s
        return times

    def _sweep(self, now_s: float) -> None:
        """Forget what was told long ago."""
        self._swept_s = now_s
        self._told_s = {s: told_s for s, told_s in self._told_s.items() if now_s - told_s < AGAIN_S}
        self._times = {s: times for s, times in self._times.items() if s in self._told_s}

    def _tell(self, topic: str, reason: str, found: Mapping[str, Any], times: int) -> None:
        body: dict[str, Any] = {
            "time": time_text(round(time.time() * 1000)),
            "topic": _sayable(topic),
            "reason": _sayable(reason),
            "found": {_sayable(name)[:200]: repr(value)[:200] for name, value in found.items()},
        }
        line = dumps({**body, "times": times} if times > 1 else body)
        self._bus.publish(self._topic, line)
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size > MAX_FILE_BYTES:
                self._path.replace(self._path.with_suffix(".rejected-before"))
            with self._path.open("ab") as file:
                file.write(line + b"\n")


def _sayable(text: str) -> str:
    """Cut a text that somebody else wrote, and take from it what UTF-8 cannot say."""
    return text[:1000].encode("utf-8", "replace").decode()
