"""The cursors of a destination without transactions: a file, moved on in two steps.

    wrote     the server has said "done": a cursor is noted, in memory
    settle    the server still lives after a while: what was noted long enough ago goes to the file

How long is enough depends on the server. One that says "done" when the data is on its disk needs
no time; one that writes to its disk some seconds later can lose what it has acknowledged, and
then has another life: what is not in the file is asked for again.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from heliobus.cursor import MINUS_INFINITY, Key
from heliobus.errors import FrameError, SinkError
from heliobus.sample import LAST_MS, Sample, dumps, loads
from heliobus.whole_file import free_name, replace_file

_log = logging.getLogger(__name__)

# A kill costs the cursors of so long: their samples are stored once more. A file written with
# every batch would wear out an SD card.
SAVE_EVERY_S = 10.0


class CursorFile:
    """The file. It belongs to one target: with another one it begins anew."""

    def __init__(self, path: Path, target: str) -> None:
        self._path = path
        self._target = target

    def load(self) -> dict[Key, int]:
        """Give the cursors; none where there is no file, or one of another target."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from error
        try:
            body = loads(text)
            target, cursors = body["target"], dict(map(_cursor, body["cursors"]))
        except (FrameError, TypeError, KeyError, ValueError) as error:
            self._set_aside(error)
            return {}
        if target != self._target:
            _log.info("%s: was of %s; begins anew for %s", self._path.name, target, self._target)
            return {}
        return cursors

    def save(self, cursors: Mapping[Key, int]) -> None:
        """Replace the file as a whole: it is the old one or the new one, whatever happens."""
        listed = [[*key, cursor_ms] for key, cursor_ms in sorted(cursors.items())]
        try:
            replace_file(self._path, dumps({"target": self._target, "cursors": listed}))
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from error

    def _set_aside(self, error: Exception) -> None:
        aside = free_name(self._path)
        with suppress(OSError):
            self._path.rename(aside)
        _log.error(
            "%s: damaged (%s); set aside as %s; the bridges are asked for the time of 'backfill'",
            self._path, str(error)[:200], aside.name,
        )  # fmt: skip


def _cursor(item: Any) -> tuple[Key, int]:
    site, bridge, device, cursor_ms = item
    if not all(isinstance(name, str) for name in (site, bridge, device)):
        raise ValueError(f"found {item!r:.100}, expected three names and a time")
    if not isinstance(cursor_ms, int):
        raise TypeError(f"found {cursor_ms!r:.40}, expected a time in ms")
    return (site, bridge, device), cursor_ms


class Cursors:
    """The cursors of one destination, in memory and in its file."""

    def __init__(
        self, file: CursorFile, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file
        self._monotonic = monotonic
        self._settled: dict[Key, int] | None = None
        self._noted: deque[tuple[float, Mapping[Key, int]]] = deque()
        # Where those that are not settled began: a server that forgets all must get all again.
        self._begins: dict[Key, int] = {}
        self._life: object = None
        self._settle_s = 0.0
        self._asked_s = monotonic()

    def begin(self, life: object, settle_s: float) -> dict[Key, int]:
        """Give the cursors to go on from. `life` tells one run of the server from the next."""
        if self._settled is None:
            self._settled = self._file.load()
        if life != self._life:
            self._noted.clear()
        self._life, self._settle_s = life, settle_s
        self._asked_s = self._monotonic()
        cursors = self._begins | self._settled
        for _, noted in self._noted:
            cursors.update(noted)
        return cursors

    def wrote(
        self,
        cursors: Mapping[Key, int],
        samples: Iterable[Sample],
        waiting: Collection[Key] = (),
    ) -> None:
        """Note the cursors of a write that the server has acknowledged, but for those `waiting`.

        A sample without a cursor is a live one of a key that still asks for all of its past.
        """
        for sample in samples:
            key = (sample.site, sample.bridge or "", sample.device)
            if sample.bridge is not None and key not in (self._settled or ()):
                before_ms = (sample.time_ms - 1, cursors.get(key, MINUS_INFINITY))
                self._begins[key] = min(self._begins.get(key, LAST_MS), *before_ms)
        cursors = {key: ms for key, ms in cursors.items() if key not in waiting}
        if cursors and self._noted and not self._settle_s:  # all of them count alike
            cursors = {**self._noted.pop()[1], **cursors}
        if cursors:
            self._noted.append((self._monotonic(), cursors))

    @property
    def due(self) -> bool:
        """Say whether it is time to `settle`, for which the server must be asked for its life."""
        now_s = self._monotonic()
        every_s = max(SAVE_EVERY_S, 2 * self._settle_s)
        return bool(self._noted) and now_s - self._asked_s >= every_s

    def settle(self, life: object) -> None:
        """Move on what the server has had for long enough; it has lived until now.

        Raise SinkError where it has another life than before, once.
        """
        self._asked_s = self._monotonic()
        if life != self._life:
            self._noted.clear()
            self._life = life
            raise SinkError("the server was restarted; asking again for what it had not yet kept")
        old: dict[Key, int] = {}
        while self._noted and self._noted[0][0] <= self._asked_s - self._settle_s:
            old.update(self._noted.popleft()[1])
        settled = {**(self._settled or {}), **old}
        if settled != self._settled:
            # While it cannot be saved it stays noted, as one: on a full disk that may last.
            self._noted.appendleft((-math.inf, old))
            self._file.save(settled)
            self._noted.popleft()
        self._settled = settled
        self._begins = {key: ms for key, ms in self._begins.items() if key not in settled}

    def close(self) -> None:
        """Save what needs no time to settle. A disk that is full costs no more than a kill."""
        if self._settled is not None and not self._settle_s and self._noted:
            with suppress(SinkError):
                self.settle(self._life)
