"""Questions to one gateway, one at a time, and the answer to each told from all others.

An answer names its device and object, and whom it is for; foreign frames (the portal asks, too)
are passed over. It does not say to which of two equal questions it belongs: after one that had no
answer in time, something else of the same device is asked first. Answers come in order, so what
follows that answer is not late. Many infos at once carry a tag of their own and need none of this.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

from bridges.studer.codec import Infos
from bridges.studer.frame import Error, Frame, Question, Refused, Stream, Type, request
from bridges.studer.objects import FAMILIES
from heliobus.exchange import Echo, Silence, Wire

# After so long without a pause the portal gets its turn: a second without a question.
_BURST_S = 5.0
_AIR_S = 1.0
_BUSY_PAUSES_S = (0.5, 1.0)
_TAGS = 1 << 16


class Asker:
    """Asks one gateway. `flags` is what it said of itself last (FrameFlag); None: nothing yet."""

    def __init__(self, timeout_s: float) -> None:
        self.flags: int | None = None
        self._timeout_s = timeout_s
        self._owed: set[Question] = set()  # without an answer in time, which may still come
        # Not what an earlier run of ours began with: its answers may still be on the way.
        self._tag = time.time_ns() // 1_000_000 % _TAGS
        self._burst_s = self._ended_s = 0.0

    def forget(self) -> None:
        """Forget what the gateway was like: another may be there."""
        self.flags = None

    def ask(self, link: Wire, question: Question) -> bytes:
        """Give the data of an answer. Raise Refused, Silence, Echo, LinkError."""
        for pause_s in _BUSY_PAUSES_S:
            try:
                return self._safely(link, question)
            except Refused as error:
                if error.code != Error.GATEWAY_BUSY:
                    raise
            _rest(link, pause_s)
        return self._safely(link, question)

    def infos(self, link: Wire, items: Sequence[tuple[int, int]]) -> Infos:
        """Give many infos at once, each (number, device). Raise as `ask`, FrameError."""
        return Infos.unpack(self.ask(link, self._tagged(items)))

    def _tagged(self, items: Sequence[tuple[int, int]]) -> Question:
        self._tag = (self._tag + 1) % _TAGS
        return Question.infos(items, self._tag)

    # ------------------------------------------------------------------ late answers

    def _safely(self, link: Wire, question: Question) -> bytes:
        if any(_alike(question, owed) for owed in self._owed):
            self._fence(link, question)
        return self._exchange(link, question)

    def _fence(self, link: Wire, question: Question) -> None:
        """Have something else answered, be it by a refusal."""
        other = self._other(question)
        with suppress(Refused):
            self._exchange(link, other)

    def _other(self, question: Question) -> Question:
        for family in FAMILIES.values():
            if question.target in family.addresses:
                for each in family.objects.values():
                    other = each.question(question.target)
                    if not any(_alike(other, owed) for owed in (*self._owed, question)):
                        return other
        return self._tagged([(FAMILIES["xt"].seek, 1)])

    # ------------------------------------------------------------------ one exchange

    def _exchange(self, link: Wire, question: Question) -> bytes:
        self._leave_air(link)
        sent = request(question)
        link.drain()
        link.write(sent)
        try:
            frame = self._collect(link, question, sent)
        finally:
            self._ended_s = time.monotonic()
        self._owed.clear()
        self.flags = frame.flags
        return frame.told()

    def _collect(self, link: Wire, question: Question, sent: bytes) -> Frame:
        stream, got, first = Stream(), 0, b""
        deadline = time.monotonic() + self._timeout_s
        while (left_s := deadline - time.monotonic()) > 0 and (more := link.read(left_s)):
            got += len(more)
            first += more[: len(sent) + 1 - len(first)]
            for frame in stream.feed(more):
                if frame.answers(question):
                    return frame
        if question.object_type != Type.MULTI_INFO:
            self._owed.add(question)
        late = f"no answer to {question} in {self._timeout_s:g} s"
        if first == sent:
            raise Echo(f"{late}, only its echo")
        raise Silence(f"{late}, {got} bytes of something else" if got else late)

    def _leave_air(self, link: Wire) -> None:
        now_s = time.monotonic()
        if now_s - self._ended_s >= _AIR_S:
            self._burst_s = now_s
        elif now_s - self._burst_s > _BURST_S:
            _rest(link, _AIR_S)
            self._burst_s = time.monotonic()


def _alike(one: Question, other: Question) -> bool:
    """Say whether the answer to one could be taken for that to the other, whoever refuses."""
    return (one.object_type, one.object_id) == (other.object_type, other.object_id)


def _rest(link: Wire, seconds: float) -> None:
    """Be silent for some time; what others say meanwhile is none of ours."""
    deadline = time.monotonic() + seconds
    while (left_s := deadline - time.monotonic()) > 0:
        link.read(left_s)
