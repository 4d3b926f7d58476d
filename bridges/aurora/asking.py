"""Ask one inverter on a line of several, and take nothing for an answer that may be another's.

The serial number is what can be told: it is known, and no measure looks like it. After an answer
was given up or damaged it is asked until it comes, and everything before it is passed over. While
an answer that was given up may still come, each poll ends with it: only if it comes at once, none
of the answers before it was a stray.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bridges.aurora.bus import Bus
from bridges.aurora.codec import Question, Refused, Unsupported, Values, decode
from bridges.aurora.frame import ANSWER, SERIAL, request, take_answer
from heliobus.errors import FrameError
from heliobus.exchange import Echo, Silence

_WHO = Question(SERIAL)


class Asker:
    """The questions to one inverter: what it does not answer is learned.

    `retries`: how many questions of one poll may be asked again.
    """

    def __init__(self, address: int, *, timeout_s: float, retries: int, tenths: bool) -> None:
        self.address = address
        self.serial = ""
        self._timeout_s = timeout_s
        self._retries = retries
        self._tenths = tenths
        self._left = 0
        self._heard = False  # in this poll
        self._answered: set[Question] = set()
        self._unknown: set[Question] = set()
        self._met = False  # its serial number is the one of what is there
        self._nameless = False  # it does not tell its serial number

    def forget(self) -> None:
        """Forget what it can answer, and doubt who it is."""
        self._met = self._nameless = False
        self.relearn()

    def relearn(self) -> None:
        """Ask again for what it did not have."""
        self._answered.clear()
        self._unknown.clear()

    def begin(self, bus: Bus) -> None:
        """Begin a poll: know who is there. Raise FrameError, LinkError."""
        self._heard, self._left = False, self._retries
        bus.begin()
        if not (self._met or self._nameless):
            self._try(self._meet, bus)

    def verify(self, bus: Bus) -> None:
        """End a poll. Raise FrameError where its answers may have been strays."""
        if not bus.doubtful or self._nameless:
            return
        if (found := self._serial_of(bus)) != self.serial:
            bus.doubt()
            raise FrameError(
                f"found the serial number {found!r}, expected {self.serial!r};"
                " dropping this poll, as its answers may be late ones"
            )

    def must(self, bus: Bus, question: Question) -> Values:
        """Ask for what every inverter has. Raise FrameError, LinkError."""
        return self._try(partial(self._ask, question=question), bus)

    def may(self, bus: Bus, question: Question) -> Values:
        """Ask for what not every model has: nothing where this one has not, or not now."""
        if question in self._unknown:
            return {}
        whole_budget = self._left == self._retries
        try:
            values = self._try(partial(self._ask, question=question), bus)
        except Unsupported:
            self._unknown.add(question)
            return {}
        except Refused:
            return {}
        except (Silence, Echo):
            # It has told its serial number between one try and the next, so it is there.
            if question in self._answered or not (whole_budget and self._retries and self._heard):
                raise
            self._unknown.add(question)
            return {}
        self._answered.add(question)
        return values

    def knows(self, question: Question) -> bool:
        """Say whether it may answer this."""
        return question not in self._unknown

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
            else:
                self._heard = True
                return values

    def _ask(self, bus: Bus, question: Question) -> Values:
        if not bus.in_step and self._nameless:
            bus.settle(self._timeout_s)
            bus.in_step = True
        sent = request(self.address, question.command, question.arguments)
        found = bus.ask(
            sent,
            partial(_take, question, tenths=self._tenths),
            timeout_s=self._timeout_s,
            what=f"{question} of address {self.address}",
        )
        self._heard = True
        if isinstance(found, Refused):
            raise found
        return found

    # ------------------------------------------------------------------ who it is

    def _step(self, bus: Bus) -> None:
        """Get into step: pass over everything before the serial number that is known."""
        try:
            bus.ask(
                request(self.address, SERIAL),
                partial(_take_serial, self.serial),
                timeout_s=self._timeout_s,
                what=f"the serial number of address {self.address}",
            )
        except (Silence, Echo):
            bus.in_step = True  # nothing has come for all this time: nothing is under way
            raise
        bus.in_step = True
        self._heard = True

    def _meet(self, bus: Bus) -> Values:
        """Learn its serial number: the same twice, and no other's."""
        try:
            found, again = (self._serial_of(bus) for _ in range(2))
        except Refused:
            self._nameless = True
            return {}
        others = [at for at, serial in bus.serials.items() if serial == found]
        if found != again:
            bus.doubt()
            raise FrameError(
                f"address {self.address} gave the serial numbers {found!r} and {again!r};"
                " expected one, twice: do two inverters have the same address?"
            )
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

    def _serial_of(self, bus: Bus) -> str:
        return str(self._ask(bus, _WHO)["serial"])


def _take(question: Question, data: bytes, *, tenths: bool) -> tuple[Values | Refused, int] | None:
    """Take an answer that nothing follows; a refusal is given, not raised: it is no damage."""
    taken = take_answer(data)
    if taken is None:
        return None
    payload, used = taken
    if len(data) > used:
        raise FrameError(f"{question}: found {len(data)} bytes, expected an answer of {ANSWER}")
    try:
        return decode(question, payload, tenths=tenths), used
    except Refused as refusal:
        return refusal, used


def _take_serial(serial: str, data: bytes) -> tuple[str, int] | None:
    """Take the answer with this serial number, wherever it is."""
    for at in range(len(data) - ANSWER + 1):
        with suppress(FrameError):
            taken = take_answer(data[at:])
            if taken and decode(_WHO, taken[0])["serial"] == serial:
                return serial, at + ANSWER
    return None
