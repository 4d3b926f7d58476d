"""Modbus RTU over a link: frames without an end mark, told apart by silence and CRC.

Whatever else is on the line is passed over: noise, an echo, other units, answers of another length.
Source: MODBUS over Serial Line V1.02, 2.5.1.1: 3.5 characters of silence between frames.
"""

import time
from collections.abc import Mapping

from heliobus.address import Address
from heliobus.bridge import Lasting
from heliobus.errors import FrameError, LinkError
from heliobus.exchange import Echo, Silence
from heliobus.guarded import Guarded
from heliobus.link import Link
from heliobus.master import Manner
from heliobus.modbus import LoopBack, Question, Read, find_mbap, find_rtu, rtu

# Start bit, eight data bits, parity or a second stop bit, stop bit.
_BITS = 11
_BAUD = 9600  # where a serial server keeps it to itself
_SILENT_CHARS = 3.5
_SHORTEST_S = 0.00175  # the specification, for all rates above 19200
# After a damaged answer, the line is left alone for so long: its rest may still come.
_QUIET_S = 0.05
_MOST_BYTES = 256  # of a frame
_KEPT_BYTES = 1024  # of a line that never falls silent
_SHOWN_BYTES = 24


class Rtu(Guarded):
    """The master of a serial line, also of one behind a TCP server."""

    def __init__(self, address: Address, line: Mapping[str, str]) -> None:
        super().__init__(address, line)
        baud = int(address.options.get("baud", line.get("baud", _BAUD)))
        self._char_s = _BITS / baud
        self._last_s = 0.0  # when the last byte was on the line, anyone's
        self._quiet_s = 0.0
        self._echoes = False

    def _ask(self, link: Link, question: Question, manner: Manner) -> bytes:
        self._await_silence(link, manner)
        request = rtu(question.unit, question.pdu)
        link.write(request)
        self._last_s = time.monotonic() + len(request) * self._char_s
        try:
            pdu = self._collect(link, question, manner.timeout_s)
        except LinkError:
            if isinstance(question, Read):  # it may be asked again on a new connection
                self._unanswered[question.unit].add(question)
            raise
        except FrameError:
            self._quiet_s = _QUIET_S
            raise
        self._quiet_s = 0.0
        return pdu

    def _await_silence(self, link: Link, manner: Manner) -> None:
        shortest_s = max(_SILENT_CHARS * self._char_s, _SHORTEST_S)
        silence_s = max(manner.pause_s, shortest_s, self._quiet_s)
        # A line that babbles is asked all the same: the CRC tells its bytes from the answer's.
        end_s = time.monotonic() + manner.timeout_s
        if link.drain():
            self._last_s = time.monotonic()
        while (left_s := self._last_s + silence_s - time.monotonic()) > 0:
            if link.read(left_s):
                self._last_s = time.monotonic()
                if self._last_s > end_s:
                    return

    def _collect(self, link: Link, question: Question, timeout_s: float) -> bytes:
        echo, got, seen = rtu(question.unit, question.pdu), b"", b""
        deadline_s = self._last_s + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0 and (more := link.read(left_s)):
            self._last_s = time.monotonic()
            if not seen:  # what has begun may end
                deadline_s = max(deadline_s, self._last_s + _MOST_BYTES * self._char_s)
            seen = (seen + more)[:_SHOWN_BYTES]
            got += more
            if echo and echo in got and self._is_echo(question):
                before, _, after = got.partition(echo)
                echo, got = b"", before + after
            pdu = find_rtu(question, got)
            # An echo whose last byte is not there yet can look like an answer of one register.
            if pdu and not (len(pdu) < len(question.pdu) and question.pdu.startswith(pdu)):
                return pdu
            got = got[-_KEPT_BYTES:]
        raise self._failure(question, timeout_s, got, seen)

    def _is_echo(self, question: Question) -> bool:
        """Say whether what equals the request is no answer: adapters may hear themselves."""
        # A loop-back is answered by its like: it is known by then whether the line has an echo.
        self._echoes = self._echoes or not isinstance(question, LoopBack)
        return self._echoes

    def _failure(self, question: Question, timeout_s: float, got: bytes, seen: bytes) -> FrameError:
        if not seen:
            return Silence(f"{question}: no answer in {timeout_s:g} s")
        if not got:
            return Echo(f"{question}: no answer in {timeout_s:g} s, only the echo of the request")
        if self._scheme == "socket" and find_mbap(question, got):
            return FrameError(f"{question}: {self._framing_hint}")
        return FrameError(
            f"{question}: no sound answer in {timeout_s:g} s, got '{seen.hex(' ')}';"
            " check baud rate and parity, and that no two devices have the same unit"
        )


class DialledRtu(Rtu):
    """The master of a line behind a serial server that dials in, whose port stays open."""

    def renew(self) -> None:
        """Let go of a connection that has failed."""
        self._drop()

    def look(self) -> None:
        """Raise LinkError where another has called meanwhile."""
        if isinstance(self._link, Lasting):
            self._link.look()

    def judge(self, *, answers: bool) -> None:
        """Learn whether any device answers."""
        if isinstance(self._link, Lasting):
            self._link.judge(answers=answers)
