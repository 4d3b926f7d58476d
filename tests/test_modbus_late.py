"""Late answers, at random: they never become the registers of another request.

A slave answers in order, now and then much later than asked to. Each register holds a number made
from its own address, so any mix-up shows.
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Self

import pytest

from heliobus.address import parse
from heliobus.errors import FrameError
from heliobus.guarded import Guarded
from heliobus.master import Manner, Master
from heliobus.modbus import LoopBack, Question, Read, Refused, rtu
from tests.modbus_far import Far, far_pty, far_tcp, master_of, mbap

ROUNDS = 1000
TIMEOUT_S = 0.02
LATEST_S = 4 * TIMEOUT_S
SHARE = 0.08  # of the answers is late
MISSING = 0x8000  # from this register on there are none
STARTS = (0, 100, 200, 300, MISSING)


def held(register: int) -> int:
    """Give what a register holds."""
    return (register * 40503 + 7) & 0xFFFF


class Slave:
    """Answers PDUs in order, each after its own time; `send` gets the answers."""

    def __init__(self, loop_back: str) -> None:
        self.loop_back = loop_back
        self.late = 0
        self._random = Random(5)
        self._asked: queue.SimpleQueue[tuple[bytes, Callable[[bytes], None]] | None]
        self._asked = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def ask(self, pdu: bytes, send: Callable[[bytes], None]) -> None:
        self._asked.put((pdu, send))

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            pdu, send = asked
            if self._random.random() < SHARE:
                self.late += 1
                self._stopped.wait(self._random.uniform(0, LATEST_S))
            if answer := self._answer(pdu):
                send(answer)

    def _answer(self, pdu: bytes) -> bytes:
        function, start, count = pdu[0], int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        if function == 8:
            return {"sends it back": pdu, "refuses it": b"\x88\x01"}.get(self.loop_back, b"")
        if start >= MISSING:
            return bytes([function | 0x80, 2])
        registers = range(start, start + count)
        return bytes([function, 2 * count]) + b"".join(held(n).to_bytes(2) for n in registers)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._asked.put(None)
        self._thread.join()


def on_a_line(slave: Slave, far: Callable[..., Far]) -> Far:
    """Put a slave on a serial line: requests of eight bytes, one after the other."""

    def reply(request: bytes) -> Sequence[bytes]:
        for at in range(0, len(request), 8):
            pdu = request[at + 1 : at + 6]
            slave.ask(pdu, lambda answer: served.send(rtu(1, answer)))
        return ()

    served = far(reply)
    return served


def at_a_port(slave: Slave) -> Far:
    """Give a slave with a network port of its own."""

    def reply(request: bytes) -> Sequence[bytes]:
        asked_over = far.connections

        def send(answer: bytes) -> None:
            if far.connections == asked_over:  # what has hung up gets nothing more
                far.send(mbap(request, answer))

        slave.ask(request[7:], send)
        return ()

    far = far_tcp(reply)
    return far


def behind_a_gateway(slave: Slave) -> Far:
    """Give a gateway that takes the next answer on its line for that of the last request."""
    line: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def reply(request: bytes) -> Sequence[bytes]:
        while not line.empty():
            line.get()
        slave.ask(request[7:], line.put)
        try:
            return [mbap(request, line.get(timeout=TIMEOUT_S / 2))]
        except queue.Empty:
            return [mbap(request, bytes([request[7] | 0x80, 11]))]

    return far_tcp(reply)


WAYS: dict[str, Callable[[Slave], Far]] = {
    "serial": lambda slave: on_a_line(slave, far_pty),
    "socket": lambda slave: on_a_line(slave, lambda reply: far_tcp(reply, scheme="socket")),
    "tcp": at_a_port,
    "gateway": behind_a_gateway,
}


class Scripted(Guarded):
    """A master whose questions are answered as a test says: registers, or an exception."""

    def __init__(self, *answers: int) -> None:
        super().__init__(parse("tcp://127.0.0.1:1"))
        self.answers = list(answers)
        self.asked: list[Question] = []

    def _answer(self, question: Question, manner: Manner) -> bytes:  # noqa: ARG002
        self.asked.append(question)
        if code := self.answers.pop(0):
            raise Refused(f"{question}", code)
        assert isinstance(question, Read)
        return bytes([3, 2 * question.count]) + bytes(2 * question.count)


def test_the_marker_for_a_unit_without_loop_back_asks_for_what_was_given_before() -> None:
    # A refusal of the marker could be a late one; behind a gateway it may be very late.
    manner = Manner(timeout_s=0.0)
    master = Scripted(0, 11, 11, 0, 0)
    assert master.read(Read(1, 3, 100, 6), manner) == (0,) * 6
    for start in (MISSING, 0):
        with pytest.raises(FrameError):
            master.read(Read(1, 3, start, 2), manner)
    assert master.read(Read(1, 3, 0, 2), manner) == (0, 0)
    assert isinstance(master.asked[2], LoopBack)
    assert master.asked[3:] == [Read(1, 3, 100, 4), Read(1, 3, 0, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "loop_back"),
    [
        ("serial", "sends it back"),
        ("serial", "refuses it"),
        ("serial", "ignores it"),
        ("socket", "sends it back"),
        ("tcp", "ignores it"),
        ("gateway", "refuses it"),
        ("gateway", "ignores it"),
    ],
)
def test_no_late_answer_is_ever_that_of_other_registers(way: str, loop_back: str) -> None:
    random, manner = Random(7), Manner(timeout_s=TIMEOUT_S)
    outcomes: Counter[str] = Counter()
    slave = Slave(loop_back)
    with master_of(WAYS[way](slave)) as master, slave:
        for _ in range(ROUNDS):
            read = Read(1, 3, random.choice(STARTS), random.choice((2, 2, 2, 6)))
            outcomes[outcome(master, read, manner)] += 1
    assert slave.late > ROUNDS * SHARE / 2
    assert outcomes["registers"] > ROUNDS / 10
    assert outcomes["missing"] > ROUNDS / 100


def outcome(master: Master, read: Read, manner: Manner) -> str:
    """Read, and name what came of it; fail where it is not the truth."""
    try:
        registers = master.read(read, manner)
    except Refused as error:
        if error.code == 2:
            assert read.start == MISSING
            return "missing"
        return "silent"
    except FrameError:
        return "failed"
    assert registers == tuple(held(n) for n in range(read.start, read.start + read.count))
    return "registers"
