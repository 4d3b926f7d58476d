"""One question at a time to a Studer gateway: late answers, echoes, and air for the portal."""

import time

import pytest

from bridges.studer.asking import Asker
from bridges.studer.frame import Frame, Question, Stream, answer, find, request
from heliobus.exchange import Echo, Silence
from tests.studer_far import XT, Far, connected

VOLTS = Question.info(101, 3000)


def test_the_same_question_is_not_asked_again_before_something_else_was_answered() -> None:
    far = Far({101: XT})
    far.many = False
    with connected(far, timeout=0.1) as near:
        near.poll()
        far.mute = {3000}
        with pytest.raises(Silence, match="no answer to info 3000 of device 101"):
            near.poll()
        far.mute = set()
        far.asked.clear()
        near.poll()
        assert [frame.object_id for frame in far.asked[:2]] == [3005, 3000]


class Answering:
    """A wire whose far end answers at once. `did` is what was done with it, in order."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self._got = b""

    def write(self, data: bytes) -> None:
        self.did.append("asked")
        self._got = answer(find(data)[0][0], bytes(4))

    def read(self, timeout_s: float) -> bytes:
        got, self._got = self._got, b""
        if not got:
            self.did.append("rested")
            time.sleep(timeout_s)
        return got

    def drain(self) -> bytes:
        return b""


def test_the_portal_gets_its_turn_after_a_long_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridges.studer.asking._AIR_S", 0.05)
    wire, asker = Answering(), Asker(1.0)
    asker.ask(wire, Question.info(101, 3000))
    monkeypatch.setattr("bridges.studer.asking._BURST_S", -1.0)  # it has lasted too long
    asker.ask(wire, Question.info(101, 3000))
    assert wire.did == ["asked", "rested", "asked"]
    monkeypatch.setattr("bridges.studer.asking._AIR_S", 0.0)  # there was as long a pause
    asker.ask(wire, Question.info(101, 3000))
    assert wire.did == ["asked", "rested", "asked", "asked"]


class Slow:
    """A wire whose far end answers each question only when so many more have come."""

    def __init__(self, behind: int) -> None:
        self.behind = behind
        self.asked: list[Frame] = []
        self._due: list[bytes] = []
        self._stream = Stream()

    def write(self, data: bytes) -> None:
        for frame in self._stream.feed(data):
            self.asked.append(frame)
            self._due.append(answer(frame, len(self.asked).to_bytes(4)))

    def read(self, timeout_s: float) -> bytes:
        if len(self._due) > self.behind:
            return self._due.pop(0)
        time.sleep(timeout_s)
        return b""

    def drain(self) -> bytes:
        return b""


@pytest.mark.parametrize("question", [VOLTS, Question.message(0), Question.guid()], ids=str)
def test_an_answer_is_that_to_the_question_asked_last(question: Question) -> None:
    wire, asker = Slow(1), Asker(0.02)
    with pytest.raises(Silence):
        asker.ask(wire, question)
    wire.behind = 0
    data = asker.ask(wire, question)
    assert int.from_bytes(data) == len(wire.asked) == 3
    assert wire.asked[1].question != question


def test_an_answer_that_is_two_questions_late_is_not_that_to_the_question_asked_last() -> None:
    wire, asker = Slow(2), Asker(0.02)
    for _ in range(2):  # the second ends at what is asked before it
        with pytest.raises(Silence):
            asker.ask(wire, VOLTS)
    wire.behind = 0
    data = asker.ask(wire, VOLTS)
    assert int.from_bytes(data) == len(wire.asked) == 4


def test_many_at_once_are_asked_for_again_at_once() -> None:
    wire, asker = Slow(1), Asker(0.02)
    with pytest.raises(Silence):
        asker.infos(wire, [(3000, 1)])
    with pytest.raises(Silence):
        asker.infos(wire, [(3000, 1)])
    tags = [frame.property_id for frame in wire.asked]
    assert len(set(tags)) == len(tags) == 2


class Echoing(Slow):
    """A wire whose ends are bridged."""

    def write(self, data: bytes) -> None:
        self._due.append(data)


def test_an_echo_is_no_answer() -> None:
    with pytest.raises(Echo, match="only its echo"):
        Asker(0.02).ask(Echoing(0), VOLTS)


def test_something_else_on_the_line_is_said() -> None:
    wire = Echoing(0)
    wire.write(request(Question.info(102, 3000), source=2) + b"??")
    with pytest.raises(Silence, match="54 bytes of something else"):
        Asker(0.02).ask(wire, VOLTS)
