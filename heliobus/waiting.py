"""What waits for the clock to be set right: measured, but not yet stamped.

It is kept on disk, too, with its moment on the monotonic clock, which runs on from process to
process until the next boot: a component that is killed meanwhile loses nothing.
"""

import contextlib
import json
from collections import deque
from dataclasses import asdict
from pathlib import Path

from heliobus.sample import Measured, dumps

_SENT = b"-"  # a line of the file: the oldest of the lines before it has been journaled
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Waiting:
    """The queue, oldest first, and its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: deque[tuple[Measured, bool]] = deque()  # and whether the file has it
        self._on_disk = False
        self._taken_on_disk = False

    def open(self) -> None:
        """Take up what an earlier process of this boot left; of an older boot no time is known."""
        with contextlib.suppress(OSError, IndexError):
            boot, *lines = self._path.read_bytes().split(b"\n")
            if boot != self._boot():
                self._path.unlink()
                return
            self._on_disk = True
            for line in lines:
                if line == _SENT:
                    self._queue.popleft()
                    continue
                with contextlib.suppress(ValueError, TypeError):  # a line that was cut
                    self._queue.append((Measured(**json.loads(line)), True))

    def __len__(self) -> int:
        """Count what waits."""
        return len(self._queue)

    def put(self, measured: Measured, *, on_disk: bool) -> None:
        """Add to the end. A full disk costs the copy on it, not the sample."""
        self._queue.append((measured, on_disk and self._write(dumps(asdict(measured)))))

    def take(self) -> Measured:
        """Take the oldest."""
        measured, self._taken_on_disk = self._queue.popleft()
        return measured

    def sent(self) -> None:
        """Note that what was taken has been journaled: no later process takes it up again."""
        if self._taken_on_disk:
            self._taken_on_disk = False
            self._write(_SENT)

    def clear_disk(self) -> None:
        """Drop the file: what was on it has been journaled. What refuses is tried again later."""
        if self._on_disk:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
                self._on_disk = False

    def _write(self, line: bytes) -> bool:
        try:
            begin = b"" if self._on_disk else self._boot()
            with self._path.open("ab" if self._on_disk else "wb") as file:
                # On a line of its own, also after one that was cut.
                file.write(begin + b"\n" + line + b"\n")
        except OSError:
            return False
        self._on_disk = True
        return True

    def _boot(self) -> bytes:
        return _BOOT_ID.read_bytes().strip()
