"""Questions to one inverter, one at a time, and what is learned of which it knows.

Answers do not say to what. What can be told by its shape is; after a timeout everything is passed
over until an answer comes that can only be to the question just asked.
"""

import re
from collections import Counter
from functools import partial

from bridges.voltronic import pi18
from bridges.voltronic.codec import Layout, Nak, decode, request, take_answer
from bridges.voltronic.columns import Values
from heliobus.errors import FrameError, LinkError
from heliobus.link import Echo, Link, Silence, ask

# A command that has never answered counts as unknown to the inverter after so many tries. A
# single NAK may also mean that noise damaged the request.
_REFUSALS = 2
_SILENCES = 3
_DATE = re.compile(r"\d{4,}\Z")
# To QPI and to ^P005PI; no mode has the number 18.
_PROTOCOL = re.compile(r"NAK|\^0|PI\w+|\^D18")


class Asker:
    """The questions to one inverter. `layout`: how QPIGS is read, as far as that is known.

    `counts_per_kwh`: in which unit a PI18 unit counts, None where nobody asks for that.
    """

    def __init__(self, timeout_s: float, counts_per_kwh: int | None = None) -> None:
        self._timeout_s = timeout_s
        self._counts_per_kwh = counts_per_kwh
        self._in_step = True  # not forgotten with the inverter: what is late may still come
        self.protocol_question = ""  # one that each inverter of this dialect knows
        self.layout: Layout | None = None
        self.forget()

    def forget(self) -> None:
        """Forget what this inverter knows: another may be plugged in, or know more by now."""
        self._answered: set[str] = set()
        self._refused: Counter[str] = Counter()
        self._unknown: set[str] = set()

    def knows(self, command: str) -> bool:
        """Say whether the inverter may know a command."""
        return command not in self._unknown

    def gather(self, link: Link, *commands: str) -> Values:
        """Ask what the inverter knows of these. Raise when something failed and nothing came."""
        values: Values = {}
        failed: FrameError | None = None
        for command in commands:
            try:
                values |= self.optional(link, command)
            except Silence as error:
                failed = error
                break  # a silent inverter costs one timeout, not one for each command
            except FrameError as error:
                failed = error
        if failed is not None and not values:
            raise failed
        return values

    def perhaps(self, link: Link, command: str) -> Values | None:
        """Ask beside the status: None when it failed. What that said was measured all the same."""
        try:
            return self.optional(link, command)
        except (FrameError, LinkError):  # a lost link shows at the next question
            return None

    def optional(self, link: Link, command: str) -> Values:
        """Ask what not every model knows; nothing when this one does not."""
        name = _DATE.sub("", command)
        if name in self._unknown:
            return {}
        try:
            values = self.query(link, command)
        except (Nak, Echo, Silence) as error:
            if name in self._answered:
                raise
            self._refused[name] += 1
            enough = _SILENCES if isinstance(error, Silence) else _REFUSALS
            if self._refused[name] >= enough:
                self._unknown.add(name)
            if isinstance(error, Silence):
                raise
            return {}
        self._answered.add(name)
        return values

    def query(self, link: Link, command: str) -> Values:
        """Ask one question. Raise Nak, FrameError, LinkError."""
        if not self._in_step:
            self.step(link, self.protocol_question)
        take = partial(_take, command, self.layout or Layout.PI30)
        try:
            answer = ask(link, request(command), take, timeout_s=self._timeout_s, what=command)
        except FrameError:
            self._in_step = False
            raise
        if isinstance(answer, Nak):
            raise answer
        if self._counts_per_kwh is not None:
            return pi18.counted(answer, command, self._counts_per_kwh)
        return answer

    def step(self, link: Link, question: str) -> str:
        """Get into step again: pass over late answers until that to `question`; give it.

        After a timeout the next answer may belong to the question before, and an old status would
        pass for a new one.
        """
        try:
            said = ask(
                link, request(question), _take_protocol, timeout_s=self._timeout_s, what=question
            )
        except (Silence, Echo):
            self._in_step = True  # nothing has come for all this time: nothing is under way
            raise
        self._in_step = True
        return said


def _take(command: str, layout: Layout, data: bytes) -> tuple[Values | Nak, int] | None:
    """Take and decode; raise FrameError for an answer to another question too.

    A refusal is given, not raised: after damage `ask` waits for silence, after a NAK it need not.
    """
    try:
        taken = take_answer(data)
    except FrameError as error:
        raise FrameError(f"{command}: {error}") from error
    if taken is None:
        return None
    try:
        return decode(command, taken[0], layout), taken[1]
    except Nak as refusal:
        return refusal, taken[1]


def _take_protocol(data: bytes) -> tuple[str, int] | None:
    at = 0
    while (taken := take_answer(data[at:])) is not None:
        payload, used = taken
        at += used
        if _PROTOCOL.fullmatch(payload):
            return payload, at
    return None
