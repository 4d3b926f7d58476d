"""A `heliobus` command on a terminal of its own, as a person sees it."""

import fcntl
import os
import re
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers import ROOT, wait_until

BOLD, RED, PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[0m"
OPENED, CLOSED = "\x1b[?1049h", "\x1b[?25h\x1b[?1049l"
_TABLE = re.compile(r"\x1b\[H((?:(?!\x1b\[H).)*)\x1b\[J", re.DOTALL)
_COMMAND = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal, the process on it, and what that has written."""

    def __init__(self, pid: int, ours: int) -> None:
        self._pid = pid
        self._ours = ours
        self.written = ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    def read(self) -> bool:
        """Read more; say whether there may be more still."""
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: nobody has the other end open
            return False
        self.written += data.decode()
        return True

    def end(self) -> int:
        """Read to the end, and give the exit status."""
        wait_until(lambda: not self.read(), "the end of the process")
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def table(self) -> list[str]:
        """Give the lines of the last table that was drawn whole."""
        tables = _TABLE.findall(self.written)
        text = _COMMAND.sub("", tables[-1] if tables else "")
        return [line.rstrip() for line in text.replace("\r", "").split("\n")]

    def wait_for(self, *texts: str, width: int = 80) -> list[str]:
        """Read until a table of this width shows these texts, and give it."""

        def shown() -> bool:
            table = self.table()
            clock = any(line.endswith(" UTC") and len(line) == width for line in table)
            return clock and all(any(text in line for line in table) for text in texts)

        end_s = time.monotonic() + 10
        while not shown() and self.read() and time.monotonic() < end_s:
            pass
        assert shown(), f"{texts} not in\n" + "\n".join(self.table())
        return self.table()

    def after_the_table(self) -> str:
        """Give what was written after the terminal had been given back, which must be once."""
        assert self.written.count(OPENED) == self.written.count(CLOSED) == 1
        return self.written.partition(CLOSED)[2]


@contextmanager
def on_a_terminal(
    *arguments: str, folder: Path = ROOT, width: int = 80, height: int = 24, **environ: str
) -> Iterator[Terminal]:
    """Run a command on a terminal, and hang up at the end."""
    pid, ours = os.forkpty()
    if not pid:
        os.chdir(folder)
        os.environ.pop("NO_COLOR", None)
        os.environ.update({"TERM": "xterm", "PYTHONPATH": str(ROOT), **environ})
        os.execv(sys.executable, [sys.executable, "-m", "heliobus", *arguments])
    terminal = Terminal(pid, ours)
    terminal.resize(width, height)
    try:
        yield terminal
    finally:
        os.close(ours)
