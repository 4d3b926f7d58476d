"""The dead letter: what was refused, from where and why, on the bus and in a bounded file."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heliobus.bus import Bus
from heliobus.sample import dumps, time_text
from heliobus.topics import Topics

MAX_FILE_BYTES = 1_000_000  # and as much again in the file before it


class Rejects:
    """The refusals of one component."""

    def __init__(self, path: Path, name: str, topics: Topics, bus: Bus) -> None:
        self._path = path
        self._topic = topics.component(name, "rejected")
        self._bus = bus
        self.count = 0

    def put(self, topic: str, reason: str, found: Mapping[str, Any]) -> None:
        """Note a refusal. A full disk costs the file's line, never the caller."""
        self.count += 1
        line = dumps(
            {
                "time": time_text(round(time.time() * 1000)),
                "topic": _sayable(topic),
                "reason": _sayable(reason),
                "found": {_sayable(name)[:200]: repr(value)[:200] for name, value in found.items()},
            }
        )
        self._bus.publish(self._topic, line)
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size > MAX_FILE_BYTES:
                self._path.replace(self._path.with_suffix(".rejected-before"))
            with self._path.open("ab") as file:
                file.write(line + b"\n")


def _sayable(text: str) -> str:
    """Cut a text that somebody else wrote, and take from it what UTF-8 cannot say."""
    return text[:1000].encode("utf-8", "replace").decode()
