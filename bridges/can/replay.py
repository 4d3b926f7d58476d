"""A capture of candump as a bus: its frames come at the pace at which they were recorded."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

from bridges.can import candump
from heliobus.address import Address
from heliobus.errors import FrameError, LinkError
from heliobus.slcan import Heard, Sort

_log = logging.getLogger(__name__)

# Of lines without a time: as a US5000 sends its bursts.
_NEXT_S: Final = 0.002
_BURST_S: Final = 2.0
_LOOKED_AT: Final = 200


class Replay:
    """The frames of one file, of the interface that it names first; then silence."""

    def __init__(self, path: Path, *, speed: float = 1.0) -> None:
        self.name = f"{path}"
        self._speed = speed
        try:
            is_delta = _is_delta(path)
            self._file = path.open(errors="replace")
        except OSError as error:
            raise LinkError(f"{path}: cannot be read ({error.strerror})") from error
        self._began_s = time.monotonic()
        self._coming = self._dated(is_delta=is_delta)
        self._next: tuple[float, Heard] | None = next(self._coming, None)
        self._cut = threading.Event()
        self._ended = False

    def read(self, timeout_s: float) -> Iterable[Heard]:
        """Give what is due by now, else wait for it."""
        due_s = time.monotonic() + timeout_s if self._next is None else self._next[0]
        now_s = time.monotonic()
        if due_s > now_s:
            self._cut.wait(min(due_s - now_s, timeout_s))
            now_s = time.monotonic()
        found = []
        while self._next is not None and self._next[0] <= now_s:
            found.append(self._next[1])
            self._next = next(self._coming, None)
        if self._next is None and not self._ended:
            self._ended = True
            _log.info("%s: the capture has ended", self.name)
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def cut_off(self) -> None:
        """End a `read` that waits."""
        self._cut.set()

    def _dated(self, *, is_delta: bool) -> Iterator[tuple[float, Heard]]:
        """Give each frame and when it is due."""
        at_s, before_s, channel = 0.0, None, None
        burst: set[int] = set()
        for text in self._file:
            if not text.strip():
                continue
            try:
                line = candump.read(text)
            except FrameError:
                yield self._began_s + at_s / self._speed, Heard(Sort.MALFORMED)
                continue
            if line.at_s is None:
                at_s += _BURST_S if line.id in burst else _NEXT_S
                burst = {line.id} if line.id in burst else {*burst, line.id}
            elif is_delta:
                at_s += line.at_s
            else:
                at_s += 0.0 if before_s is None else max(0.0, line.at_s - before_s)
            before_s = line.at_s
            channel = channel or line.channel
            if line.channel == channel:
                sort = Sort[line.sort.name]
                yield self._began_s + at_s / self._speed, Heard(sort, line.id, line.data)


def _is_delta(path: Path) -> bool:
    """Say whether the times are those since the line before, as of `candump -td`: they fall.

    Raise LinkError where the file is no capture.
    """
    times = []
    with path.open(errors="replace") as file:
        for text in islice(file, _LOOKED_AT):
            with suppress(FrameError):
                times.append(candump.read(text).at_s)
    if not times:
        raise LinkError(
            f"{path}: has no line of candump, such as 'can0  355   [4]  5D 00 64 00'; record one"
            " with 'candump -L can0 > FILE'"
        )
    known = [at_s for at_s in times if at_s is not None]
    return any(later < earlier for earlier, later in pairwise(known))


def opened(address: Address) -> Replay:
    """Open the file of a link `can:candump//PATH`. Raise LinkError."""
    return Replay(Path(address.host), speed=float(address.options.get("speed", "1")))
