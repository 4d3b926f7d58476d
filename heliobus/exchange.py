"""Exchange: one question and its answer over a link. Import it from `heliobus.link`.

What arrived before a request is never its answer, and after a damaged answer the line must be
silent before the next request: devices answer without saying to what (an Axpert unit was seen to
send an answer in two halves a second apart, and with it all later ones shifted by one).
"""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from heliobus.errors import FrameError

T = TypeVar("T")

# The longest answers in the field have about 300 bytes.
_ANSWER_BYTES = 4096
# A line that never falls silent (a unit that broadcasts) must not hold up the next request.
_SETTLE_TIMES = 10
_SHOWN_BYTES = 16


class Silence(FrameError):
    """Not one byte came: asleep, switched off, unplugged, or a question it does not know."""


class Echo(FrameError):
    """Only the request itself came back: RX and TX are bridged, or the device is asleep."""


class Wire(Protocol):
    """What an exchange needs of a link."""

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    def read(self, timeout_s: float) -> bytes:
        """Give what has arrived, b"" when nothing came in `timeout_s`."""
        ...

    def drain(self) -> bytes:
        """Throw away what has already arrived."""
        ...


def ask(
    link: Wire,
    request: bytes,
    take: Callable[[bytes], tuple[T, int] | None],
    *,
    timeout_s: float,
    quiet_s: float = 0.2,
    what: str = "",
) -> T:
    """Send `request` and give the answer that `take` finds in the bytes that come back.

    `take` gets all bytes so far, without an echo before them; it gives the answer and its
    length, or None for "need more", or raises FrameError. `what` names the request in messages.
    Raise LinkError, or once the line is silent again: Silence, Echo, FrameError.
    """
    link.drain()
    link.write(request)
    try:
        return _collect(link, request, take, timeout_s=timeout_s, what=what or _hex(request))
    except Silence:
        raise
    except FrameError:
        _settle(link, quiet_s)
        raise


def _collect(
    link: Wire,
    request: bytes,
    take: Callable[[bytes], tuple[T, int] | None],
    *,
    timeout_s: float,
    what: str,
) -> T:
    got = b""
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0 and (more := link.read(left_s)):
        got += more
        answer = _take(got, request, take)
        if answer is not None:
            return answer[0]
        if len(got) > _ANSWER_BYTES:
            raise FrameError(f"no answer to {what} in {len(got)} bytes, got {_hex(got)}")
    if not got:
        raise Silence(f"no answer to {what} in {timeout_s:g} s")
    if got == request:
        raise Echo(f"no answer to {what} in {timeout_s:g} s, only its echo")
    raise FrameError(f"no whole answer to {what} in {timeout_s:g} s, got {_hex(got)}")


def _take(
    got: bytes, request: bytes, take: Callable[[bytes], tuple[T, int] | None]
) -> tuple[T, int] | None:
    if len(got) > len(request) and got.startswith(request):
        return take(got[len(request) :])
    try:
        return take(got)
    except FrameError:
        if request.startswith(got):  # an echo so far: the answer may follow
            return None
        raise


def _settle(link: Wire, quiet_s: float) -> None:
    """Wait until nothing has come for `quiet_s`: the rest of this answer is not the next one."""
    deadline = time.monotonic() + _SETTLE_TIMES * quiet_s
    while link.read(quiet_s) and time.monotonic() < deadline:
        pass


def _hex(data: bytes) -> str:
    """Write bytes as '28 30', the first few of many as '28 30 ..'."""
    more = " .." if len(data) > _SHOWN_BYTES else ""
    return f"'{data[:_SHOWN_BYTES].hex(' ')}{more}'"
