"""The line that inverters share. Their answers say neither whose they are nor to what.

So nothing may be on the line but the one answer: it must be quiet before a question, and behind
the answer. Once an answer was given up, or damaged, the line is out of step, until something was
answered that can be told (see `heliobus.exchange`).
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from heliobus.dialled import Dialled
from heliobus.errors import FrameError
from heliobus.link import Link, ask, open_link

T = TypeVar("T")

BAUD: Final = 19200
# What others leave between two questions (jrbenito/ABBAurora, the openHAB binding).
GAP_S: Final = 0.05
# An answer that was given up is not expected any more after this time.
_LATEST_S = 30.0
_QUIET_S = 0.2  # after a damaged answer, whose rest may still come
_MOST_GAPS = 20  # a line that never falls silent


class Bus:
    """An open line to some inverters: a `Port`.

    `in_step`: nothing is on its way. `doubtful`: something may still be, from an inverter that
    was given up. `serials` are the serial numbers that are known to be on it, by the address.
    """

    def __init__(self, link: Link, *, gap_s: float = GAP_S, quiet_s: float = _QUIET_S) -> None:
        self._link = link
        self._gap_s = gap_s
        self._quiet_s = quiet_s
        self.url, self.name = link.url, link.name
        self.serials: dict[int, str] = {}
        self._doubtful_until_s = 0.0
        self.in_step = False  # who had the port before may have asked

    @property
    def tap(self) -> Callable[[str, bytes], None] | None:
        """Give what hears all bytes."""
        return self._link.tap

    @tap.setter
    def tap(self, tap: Callable[[str, bytes], None] | None) -> None:
        self._link.tap = tap

    @property
    def doubtful(self) -> bool:
        """Say whether an answer that was given up may still come."""
        return time.monotonic() < self._doubtful_until_s

    def doubt(self) -> None:
        """Note that what comes next may belong to an earlier question."""
        self.in_step = False
        self._doubtful_until_s = time.monotonic() + _LATEST_S

    def close(self) -> None:
        """Close; safe to call twice, from any thread."""
        self._link.close()

    def begin(self) -> None:
        """See that the line is quiet; the gap was left behind the last answer."""
        if self._link.drain():
            self._stray(self._gap_s)
            self.doubt()

    def settle(self, quiet_s: float) -> None:
        """Wait until nothing has come for so long."""
        self._stray(quiet_s)

    def ask(
        self,
        request: bytes,
        take: Callable[[bytes], tuple[T, int] | None],
        *,
        timeout_s: float,
        what: str,
    ) -> T:
        """Give the one answer that comes, as `heliobus.exchange.ask` does. Raise LinkError."""
        try:
            answer = ask(
                self._link, request, take, timeout_s=timeout_s, quiet_s=self._quiet_s, what=what
            )
        except FrameError:
            self.doubt()
            raise
        if more := self._stray(self._gap_s):
            self.doubt()
            raise FrameError(f"{what}: after the answer came '{more[:16].hex(' ')}' as well")
        return answer

    def _stray(self, quiet_s: float) -> bytes:
        """Give what comes until the line has been quiet for so long."""
        found, end_s = b"", time.monotonic() + _MOST_GAPS * quiet_s
        while (more := self._link.read(quiet_s)) and time.monotonic() < end_s:
            found = (found + more)[:64]
        return found


class DialledBus(Bus):
    """The line behind a serial server that dials in, whose port stays open."""

    def __init__(self, link: Dialled) -> None:
        super().__init__(link)
        self._port = link

    def renew(self) -> None:
        """Let go of a connection that has failed: what is behind the next one is not known."""
        self._port.renew()
        self.serials.clear()
        self.in_step = False

    def look(self) -> None:
        """Raise LinkError where another has called meanwhile."""
        self._port.look()

    def judge(self, *, answers: bool) -> None:
        """Learn whether any inverter answers."""
        self._port.judge(answers=answers)


def open_bus(url: str) -> Bus:
    """Open the way to inverters. Raise LinkError."""
    link = open_link(url, line={"baud": str(BAUD)})
    return DialledBus(link) if isinstance(link, Dialled) else Bus(link)
