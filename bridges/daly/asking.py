"""One question to one board and the frames of its answer, over a line that others may share."""

import time
from collections.abc import Sequence
from typing import Final

from bridges.daly.frame import COMPUTER, FIRST_HOST, NUMBERED, Frame, by_number, frames, request
from bridges.daly.frame import COUNTS as _ANY
from bridges.daly.frame import MOSFETS as _ANY_OTHER
from heliobus.errors import FrameError
from heliobus.link import Echo, Link, Silence

# dbus-serialbattery found 20 ms to be the least between two requests.
_GAP_S: Final = 0.02
# A line that never falls silent is asked all the same.
_HUSH_S: Final = 0.5
# An answer has ended when nothing has come for so long: of one frame, and of several.
_QUIET_S: Final = (0.2, 0.5)
# An answer that has begun may take so long: 16 frames are 0.22 s.
_LONGEST_S: Final = 1.5
_TRIES: Final = 3
_KEPT_BYTES: Final = 4096
_SHOWN_BYTES: Final = 16
# The document fills requests with zeros. Bytes with edges in them help the UART of some boards to
# follow: dbus-serialbattery and batmon-ha (#398) found that far fewer requests are lost.
FILLS: Final = (0x00, 0xAA)


class Asker:
    """Asks one board. `host` is the address that it answers to, `fill` what requests hold."""

    def __init__(self, board: int, timeout_s: float) -> None:
        self.board = board
        self.timeout_s = timeout_s
        self.host = COMPUTER - 1 + board
        self.fill = FILLS[0]
        self._unanswered: set[int] = set()

    def ask(
        self, link: Link, command: int, *, count: int = 1, patient: bool = True
    ) -> Sequence[bytes]:
        """Give the data of the frames of an answer, those of a long one in their order.

        `count`: how many frames are expected, 0 where nobody knows. What is missing after another
        try is left out. Silence is tried again only when `patient`. Raise LinkError; Silence, Echo
        or FrameError where not one frame has come.
        """
        if command in self._unanswered:
            self._step(link, command)
        have: dict[int, bytes] = {}
        failed: FrameError | None = None
        for _ in range(_TRIES):
            before = len(have)
            try:
                have |= self._once(link, command, count)
            except FrameError as error:
                failed = error
                if not patient and isinstance(error, Silence | Echo):
                    break
                self.fill = FILLS[FILLS.index(self.fill) - 1]
                continue
            if _is_whole(have, count) or len(have) == before or not count:
                break
        if not have:
            self._unanswered.add(command)
            raise failed or FrameError(f"0x{command:02X}: no frame has a number")
        self._unanswered.clear()
        return [have[number] for number in sorted(have)]

    def _step(self, link: Link, command: int) -> None:
        """Ask something else first: a late answer to the earlier question is not a new one.

        Raise like `ask`.
        """
        self._unanswered.clear()  # what is late by more than this turn does not come
        self.ask(link, _ANY_OTHER if command == _ANY else _ANY, patient=False)

    def _once(self, link: Link, command: int, count: int) -> dict[int, bytes]:
        link.drain()
        link.write(request(command, self.host, self.fill))
        got, found = b"", dict[int, bytes]()
        end_s = deadline_s = time.monotonic() + self.timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0 and (more := link.read(left_s)):
            got = (got + more)[:_KEPT_BYTES]
            found = self._own(got, command)
            if found and _is_whole(found, count):
                # What follows may show that it is none, and nothing is asked before silence.
                found = self._own(got + _rest(link), command)
                break
            deadline_s = min(time.monotonic() + _QUIET_S[command in NUMBERED], end_s + _LONGEST_S)
        if found:
            return found
        raise self._failure(command, got)

    def _own(self, got: bytes, command: int) -> dict[int, bytes]:
        """Give our board's frames to this command by their number; 0 where they have none."""
        mine = [each.data for each in frames(got) if self._answers(each, command)]
        if command in NUMBERED:
            return by_number(mine)
        return {0: mine[-1]} if mine else {}

    def _answers(self, each: Frame, command: int) -> bool:
        return each.address == self.board and each.command == command

    def _failure(self, command: int, got: bytes) -> FrameError:
        what = f"0x{command:02X} of board {self.board}"
        if not got:
            return Silence(f"no answer to {what} in {self.timeout_s:g} s")
        sound = list(frames(got))
        if sound and all(each.address >= FIRST_HOST for each in sound):
            return Echo(f"no answer to {what} in {self.timeout_s:g} s, only its echo")
        others = [each.address for each in sound if each.address not in (self.board, self.host)]
        if others and others[0] < FIRST_HOST:
            return FrameError(f"{what}: board {others[0]} answers; write the number in 'board'")
        more = " .." if len(got) > _SHOWN_BYTES else ""
        return FrameError(f"no whole answer to {what}, got '{got[:_SHOWN_BYTES].hex(' ')}{more}'")


def _is_whole(found: dict[int, bytes], count: int) -> bool:
    """Say whether nothing is missing: one frame without a number, or those from 1 to `count`."""
    return 0 in found or (count > 0 and all(at in found for at in range(1, count + 1)))


def _rest(link: Link) -> bytes:
    """Give what comes until the line has been silent for the least time between two frames."""
    rest, end_s = b"", time.monotonic() + _HUSH_S
    while time.monotonic() < end_s and (more := link.read(_GAP_S)):
        rest += more
    return rest
