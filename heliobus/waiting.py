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

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Waiting:
    """The queue, oldest first, and its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: deque[Measured] = deque()
        self._on_disk = False

    def open(self) -> None:
        """Take up what an earlier process of this boot left; of an older boot no time is known."""
        with contextlib.suppress(OSError):
            boot, *lines = self._path.read_bytes().split(b"\n")
            if boot != self._boot():
                self._path.unlink()
                return
            self._on_disk = True
            for line in lines:
                with contextlib.suppress(ValueError, TypeError):  # a cut last line
                    self._queue.append(Measured(**json.loads(line)))

    def __len__(self) -> int:
        """Count what waits."""
        return len(self._queue)

    def put(self, measured: Measured, *, on_disk: bool) -> None:
        """Add to the end. A full disk costs the copy on it, not the sample."""
        self._queue.append(measured)
        if on_disk:
            with contextlib.suppress(OSError), self._path.open("ab") as file:
                if not self._on_disk:
                    file.write(self._boot() + b"\n")
                self._on_disk = True
                file.write(dumps(asdict(measured)) + b"\n")

    def take(self) -> Measured:
        """Take the oldest."""
        return self._queue.popleft()

    def clear_disk(self) -> None:
        """Drop the file: what was on it has been journaled."""
        if self._on_disk:
            self._path.unlink(missing_ok=True)
            self._on_disk = False

    def _boot(self) -> bytes:
        return _BOOT_ID.read_bytes().strip()
