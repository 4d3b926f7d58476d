"""What both masters have in common: no late answer counts, and a wrong framing is told.

A device answers in order. So after a request without an answer something is asked whose answer
cannot be mistaken; when that is there, nothing asked before can come any more.
"""

import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType

from heliobus.address import Address
from heliobus.bridge import Lasting
from heliobus.errors import FrameError, LinkError
from heliobus.exchange import Silence
from heliobus.link import Link, open_link
from heliobus.master import Manner, Master, open_master
from heliobus.modbus import (
    HOLDING,
    MOST_REGISTERS,
    SILENT_BEHIND_A_GATEWAY,
    Identify,
    LoopBack,
    Question,
    Read,
    Refused,
    check_refused,
)

# A connection that has carried so many answers was meant to be kept. Some devices close each after
# an answer, or when they have not been asked for a while; many of ours ask for 40 things in a turn.
_KEPT_ANSWERS = 100
_NOTHING = Read(0, HOLDING, 0, 0)
# The other framing is tried after so many silent requests, and so seldom.
_SILENCES = 2
_TRY_OTHER_S = 300.0
_OTHER: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"tcp": ("socket", "RTU frames"), "socket": ("tcp", "the frames of Modbus TCP")}
)


class Guarded:
    """A master but for how one question is asked: subclasses give `_ask`."""

    def __init__(self, address: Address, line: Mapping[str, str] = MappingProxyType({})) -> None:
        self.url = address.url
        self.name = address.name
        self.tap: Callable[[str, bytes], None] | None = None
        self._line = line
        self._scheme = address.scheme
        self._link: Link | None = None
        self._answers = 0  # that this link has carried
        self.losses = 0  # of connections that were kept
        self._closing = threading.Event()
        self._unanswered: dict[int, set[Read]] = defaultdict(set)  # by unit
        self._deaf: set[int] = set()  # units that may know no loop-back
        self._looped: set[int] = set()  # units with a loop-back that may still be answered
        self._given: dict[int, Read] = {}  # by unit, the longest of which registers were given
        self._fresh = itertools.count(random.randrange(1 << 16))  # noqa: S311 - no secret
        self._heard = False
        self._silences = 0
        self._try_other_s = 0.0
        self._other: Master | None = None
        self._hint = ""

    def read(self, read: Read, manner: Manner) -> tuple[int, ...]:
        """Give the registers. Raise Silence, Refused, FrameError, LinkError."""
        if any(other.count == read.count for other in self._others(read)):
            self._settle(read, manner)
        try:
            registers = read.registers(self._answer(read, manner))
        except Refused as error:
            if error.code in SILENT_BEHIND_A_GATEWAY:
                self._unanswered[read.unit].add(read)
            elif self._others(read):
                self._settle(read, manner)
                raise FrameError(f"{error}, perhaps a late one") from error
            raise
        except (FrameError, LinkError):
            self._unanswered[read.unit].add(read)
            raise
        if read.count > self._given.get(read.unit, _NOTHING).count:
            self._given[read.unit] = read
        return registers

    def identify(self, unit: int, manner: Manner) -> Mapping[int, str]:
        """Give the objects of basic device identification. Raise as `read`."""
        objects: dict[int, str] = {}
        following: int | None = None
        while following != 0:
            question = Identify(unit, following or 0)
            more, following = question.objects(self._answer(question, manner))
            objects.update(more)
        return objects

    def release(self) -> None:
        """Let go of a TCP connection until the next request; a serial line stays open."""
        if self._scheme in _OTHER:
            self._drop()

    def close(self) -> None:
        """Close; what waits in another thread ends with LinkError. Safe to call twice."""
        self._closing.set()
        for one in (self._link, self._other):
            if one is not None:
                one.close()

    # ------------------------------------------------------------------ late answers

    def _others(self, read: Read) -> set[Read]:
        """Give the unanswered requests whose late answer could pass for that of this one."""
        return {
            other
            for other in self._unanswered[read.unit]
            if other.function == read.function and other != read
        }

    def _settle(self, read: Read, manner: Manner) -> None:
        """Have nothing late come any more from the unit of `read`. Raise FrameError, LinkError."""
        unit, marker = read.unit, self._marker(read)
        try:
            check_refused(marker, self._answer(marker, manner))
        except FrameError as error:
            refused = isinstance(error, Refused) and error.code not in SILENT_BEHIND_A_GATEWAY
            # Of two loop-backs, or of reads, it cannot be told whose exception it is.
            if refused and isinstance(marker, Read):
                self._wait(manner.timeout_s)
            elif not refused or unit in self._looped:
                self._unmarked(marker)
                raise
        self._looped.discard(unit)
        self._unanswered.pop(unit, None)

    def _marker(self, read: Read) -> Question:
        """Give a question whose answer cannot be mistaken: a loop-back, else another length."""
        if read.unit in self._deaf:
            taken = {read.count, *(other.count for other in self._unanswered[read.unit])}
            # The fewest of registers that were given before: a refusal could be that of another
            # request. Values of two registers are not divided, which some devices refuse.
            known = self._given.get(read.unit, _NOTHING)
            if free := set(range(2 - known.count % 2, known.count, 2)) - taken:
                return Read(read.unit, known.function, known.start, min(free))
            counts = (*range(read.count - 2, 0, -2), *range(read.count - 1, MOST_REGISTERS + 1))
            for count in counts:
                if count > 0 and count not in taken:
                    return Read(read.unit, read.function, read.start, count)
        data = (next(self._fresh) & 0xFFFF).to_bytes(2)
        return LoopBack(read.unit, data)

    def _unmarked(self, marker: Question) -> None:
        self._deaf ^= {marker.unit}  # the other marker may do better
        if isinstance(marker, Read):
            self._unanswered[marker.unit].add(marker)
        else:
            self._looped.add(marker.unit)

    def _wait(self, seconds: float) -> None:
        if self._closing.wait(max(seconds, 0.0)):
            raise LinkError(f"{self.name}: closed")

    # ------------------------------------------------------------------ asking

    def _ask(self, link: Link, question: Question, manner: Manner) -> bytes:
        """Give the PDU that answers, an exception or not. Raise FrameError, LinkError."""
        raise NotImplementedError

    def _answer(self, question: Question, manner: Manner) -> bytes:
        try:
            pdu = self._exchange(question, manner)
        except FrameError as error:
            if isinstance(question, Read) and (hint := self._other_framing(question, manner)):
                raise FrameError(f"{question}: {hint}") from error
            raise
        self._heard = True
        return pdu

    def _exchange(self, question: Question, manner: Manner) -> bytes:
        """Ask; once more where the other side has closed a connection meanwhile: some always do."""
        while True:
            is_new = self._link is None
            link = self._link or self._open()
            try:
                pdu = self._ask(link, question, manner)
            except FrameError:
                # To a server of Modbus TCP, RTU frames one after another can look like a write.
                if self._scheme == "socket" and not self._answers:
                    self._drop()
                raise
            except LinkError as error:
                self._drop()
                if self._closing.is_set() or self._scheme not in _OTHER:
                    raise
                if is_new:
                    raise Silence(f"{question}: connection closed without an answer") from error
                self.losses += self._answers >= _KEPT_ANSWERS
                continue
            self._answers += 1
            return pdu

    def _open(self) -> Link:
        link = open_link(self.url, line=self._line)
        link.tap = self._on_bytes
        self._link, self._answers = link, 0
        if self._closing.is_set():
            link.close()
            raise LinkError(f"{self.name}: closed")
        return link

    def _drop(self) -> None:
        if isinstance(self._link, Lasting) and not self._closing.is_set():
            self._link.renew()
            return
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _on_bytes(self, direction: str, data: bytes) -> None:
        if self.tap is not None:
            self.tap(direction, data)

    # ------------------------------------------------------------------ wrong framing

    @property
    def _framing_hint(self) -> str:
        scheme, frames = _OTHER[self._scheme]
        own, other = (f"{one}://{self.name}" for one in (self._scheme, scheme))
        return f"it answers in {frames}: write {other} instead of {own}"

    def _other_framing(self, read: Read, manner: Manner) -> str:
        """Say what to write where the other framing is answered; tried now and then, if ever."""
        if self._heard or self._scheme not in _OTHER:
            return ""
        self._silences += 1
        now_s = time.monotonic()
        if self._silences >= _SILENCES and now_s >= self._try_other_s:
            self._try_other_s = now_s + _TRY_OTHER_S
            self._drop()  # many take one connection only
            self._hint = self._framing_hint if self._answers_otherwise(read, manner) else ""
        return self._hint

    def _answers_otherwise(self, read: Read, manner: Manner) -> bool:
        other = self._other = open_master(f"{_OTHER[self._scheme][0]}://{self.name}")
        other.tap = self._on_bytes
        try:
            self._wait(0.0)  # a close that came before has not seen the other one
            other.read(read, manner)
        except Refused:
            return True
        except (FrameError, LinkError):
            return False
        finally:
            other.close()
        return True
