"""Ask one inverter on a line of several, and take nothing for an answer that may be another's.

The serial number is what can be told: it is known, and no measure looks like it. After an answer
was given up or damaged it is asked until it comes, and everything before it is passed over: what
may still come then is a serial number, too. While an answer that was given up may still come,
perhaps of another inverter that is slow, each poll also ends with it: only if it comes at once,
none of the answers before it was a stray. What fails meanwhile is begun anew, from the first
question on.
"""

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial

from bridges.aurora.bus import Bus
from bridges.aurora.codec import Question, Refused, Unsupported, Values, decode
from bridges.aurora.frame import ANSWER, PART, SERIAL, request, take_answer
from heliobus.errors import FrameError
from heliobus.exchange import Echo, Silence

_WHO, _PART = Question(SERIAL), Question(PART)


class _Anew(FrameError):
    """Answers of this poll may have been strays: all of it is to be asked again."""


class Asker:
    """The questions to one inverter: what it does not answer is learned.

    `retries`: how often in one poll something may be asked again.
    """

    def __init__(self, address: int, *, timeout_s: float, retries: int, tenths: bool) -> None:
        self.address = address
        self.serial = ""
        self._timeout_s = timeout_s
        self._retries = retries
        self._tenths = tenths
        self._answered: set[Question] = set()
        self._unknown: set[Question] = set()
        self._met = False  # its serial number is the one of what is there
        self._nameless = False  # it does not tell its serial number
        # Of this poll:
        self._left = 0
        self._heard = False
        self._unsure = 0  # answers that were taken while a stray could come
        self._silences: Counter[Question] = Counter()
        self._told: set[Question] = set()
        self._refused: set[Question] = set()

    def forget(self) -> None:
        """Forget what it can answer, and doubt who it is."""
        self._met = self._nameless = False
        self.relearn()

    def relearn(self) -> None:
        """Ask again for what it did not have."""
        self._answered.clear()
        self._unknown.clear()

    def whole(self, bus: Bus, ask: Callable[[], Values]) -> Values:
        """Give what `ask` finds, once it is certain whose it is. Raise FrameError, LinkError."""
        self._heard, self._left = False, self._retries
        self._silences.clear()
        while True:
            try:
                values = self._once(bus, ask)
            except _Anew:
                continue
            # A stray might have taught this, so it counts only now.
            self._answered |= self._told
            self._unknown |= self._refused
            return values

    def _once(self, bus: Bus, ask: Callable[[], Values]) -> Values:
        self._unsure = 0
        self._told.clear()
        self._refused.clear()
        bus.begin()
        # Another may have turned out to have this serial number.
        self._met = self._met and bus.serials.get(self.address) == self.serial
        if not (self._met or self._nameless):
            self._try(self._meet, bus)
        values = ask()
        if bus.doubtful and not self._nameless:
            self._try(self._verify, bus)
        return values

    def must(self, bus: Bus, question: Question) -> Values:
        """Ask for what every inverter has. Raise FrameError, LinkError."""
        return self._try(partial(self._value, question=question), bus)

    def may(self, bus: Bus, question: Question) -> Values:
        """Ask for what not every model has: nothing where this one has not, or not now."""
        if not self.knows(question):
            return {}
        try:
            values = self._try(partial(self._value, question=question), bus)
        except Unsupported:
            self._refused.add(question)
            return {}
        except Refused:
            return {}
        except (Silence, Echo):
            self._learn_silent(question)
            if self._unsure or self.knows(question):
                raise
            return {}
        self._told.add(question)
        return values

    def _learn_silent(self, question: Question) -> None:
        """Learn what it does not answer, where all tries of a poll were for that.

        It has told its serial number between one try and the next, so it is there.
        """
        is_new = question not in self._answered | self._told
        if is_new and self._retries and self._heard and self._silences[question] > self._retries:
            self._unknown.add(question)

    def knows(self, question: Question) -> bool:
        """Say whether it may answer this."""
        return question not in self._unknown and question not in self._refused

    # ------------------------------------------------------------------ one question

    def _try(self, ask: Callable[[Bus], Values], bus: Bus) -> Values:
        """Ask, and again where that failed. A silent inverter costs one timeout."""
        while True:
            try:
                if self._met and not bus.in_step:
                    self._step(bus)
                values = ask(bus)
            except Refused:
                raise
            except FrameError as error:
                is_silent = isinstance(error, Silence | Echo)
                if (is_silent and not self._heard) or not self._left:
                    raise
                self._left -= 1
                if self._unsure:
                    raise _Anew(str(error)) from error
            else:
                self._heard = True
                return values

    def _value(self, bus: Bus, question: Question) -> Values:
        try:
            return self._ask(bus, question)
        except (Silence, Echo):
            self._silences[question] += 1
            raise

    def _ask(self, bus: Bus, question: Question) -> Values:
        if not bus.in_step and self._nameless:
            bus.settle(self._timeout_s)
            bus.in_step = True
        sent = request(self.address, question.command, question.arguments)
        found = bus.ask(
            sent,
            partial(_take, question, tenths=self._tenths, others=bus.serials.values()),
            timeout_s=self._timeout_s,
            what=f"{question} of address {self.address}",
        )
        self._heard = True
        self._unsure += bus.doubtful
        if isinstance(found, Refused):
            raise found
        return found

    # ------------------------------------------------------------------ who it is

    def _step(self, bus: Bus) -> None:
        """Get into step: pass over everything before the serial number that is known."""
        if bus.ask(
            request(self.address, SERIAL),
            partial(_take_serial, self.serial),
            timeout_s=self._timeout_s,
            what=f"the serial number of address {self.address}",
        ):
            self._silences.clear()  # what was silent has answered, late
        bus.in_step = True
        self._heard = True

    def _meet(self, bus: Bus) -> Values:
        """Learn its serial number: the same twice, and no other's."""
        found, again = (self._serial_of(bus) for _ in range(2))
        if found != again:
            bus.doubt()
            raise FrameError(
                f"address {self.address} gave the serial numbers {found!r} and {again!r};"
                " expected one, twice: do two inverters have the same address?"
            )
        if not found:
            self._nameless = True
            return {}
        others = [at for at, serial in bus.serials.items() if serial == found]
        if others and others != [self.address]:
            bus.doubt()
            del bus.serials[others[0]]  # unless it has moved: then all is well the next time
            raise FrameError(
                f"address {self.address} gave the serial number {found!r},"
                f" which was that of address {others[0]}; expected one of its own"
            )
        if found != self.serial:
            self.serial = found
            self.relearn()
        bus.serials[self.address] = found
        bus.in_step = self._met = True
        return {}

    def _verify(self, bus: Bus) -> Values:
        if (found := self._serial_of(bus)) != self.serial:
            bus.doubt()
            raise FrameError(
                f"found the serial number {found!r}, expected {self.serial!r};"
                " dropping this poll, as its answers may be late ones"
            )
        return {}

    def _serial_of(self, bus: Bus) -> str:
        """Give its serial number, "" where it refuses to."""
        try:
            return str(self._ask(bus, _WHO)["serial"])
        except Refused:
            return ""


def _take(
    question: Question, data: bytes, *, tenths: bool, others: Collection[str]
) -> tuple[Values | Refused, int] | None:
    """Take an answer that nothing follows; a refusal is given, not raised: it is no damage.

    A serial number is no answer to anything else, whatever its letters would mean.
    """
    taken = take_answer(data)
    if taken is None:
        return None
    payload, used = taken
    if len(data) > used:
        raise FrameError(f"{question}: found {len(data)} bytes, expected an answer of {ANSWER}")
    text = payload.decode("ascii", "replace")
    is_serial = text in others if question == _PART else text.isascii() and text.isprintable()
    if question != _WHO and is_serial:
        raise FrameError(f"{question}: found {text!r}, which answers something else")
    try:
        return decode(question, payload, tenths=tenths), used
    except Refused as refusal:
        return refusal, used


def _take_serial(serial: str, data: bytes) -> tuple[int, int] | None:
    """Take the answer with this serial number, and say how much came before it."""
    for at in range(len(data) - ANSWER + 1):
        with suppress(FrameError):
            taken = take_answer(data[at:])
            if taken and decode(_WHO, taken[0])["serial"] == serial:
                return at, at + ANSWER
    return None
