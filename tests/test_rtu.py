"""Modbus RTU over pseudo-terminals and sockets whose far end does what a test says."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from heliobus.errors import FrameError, LinkError
from heliobus.link import Echo, Silence
from heliobus.master import Manner, Master, open_master
from heliobus.modbus import Read, Refused, rtu
from heliobus.simulation import serve_pty
from tests.helpers import flips, wait_until
from tests.modbus_far import CLOSE, Far, closed_while_it_waits, far_pty, far_tcp, master_of, mbap

# An Eastron SDM230 asked for its imported energy: an exchange on the bus of a Solax inverter.
IMPORT_KWH = Read(1, 4, 0x48, 2)
REQUEST = bytes.fromhex("01 04 00 48 00 02 f1 dd")
ANSWER = bytes.fromhex("01 04 04 46 2a 75 21 29 8c")
REGISTERS = (0x462A, 0x7521)
REFUSED = bytes.fromhex("01 84 02 c2 c1")

SOON = Manner(timeout_s=0.1)
PATIENT = Manner(timeout_s=10)


@contextmanager
def line(*answers: Iterable[bytes | None]) -> Iterator[tuple[Far, Master]]:
    """Give a line that sends these pieces, one list for each request, and its master."""
    script = iter(answers)
    far = far_pty(lambda _: next(script, ()))
    with master_of(far) as master:
        yield far, master


def failure(master: Master, kind: type[FrameError], read: Read = IMPORT_KWH) -> str:
    with pytest.raises(FrameError) as caught:
        master.read(read, SOON)
    assert type(caught.value) is kind
    return str(caught.value)


def test_registers_are_read_as_recorded() -> None:
    with line([ANSWER]) as (far, master):
        assert master.read(IMPORT_KWH, PATIENT) == REGISTERS
        assert far.asked == [REQUEST]


def test_an_answer_may_come_byte_by_byte() -> None:
    with line([bytes([byte]) for byte in ANSWER]) as (_, master):
        assert master.read(IMPORT_KWH, PATIENT) == REGISTERS


NOISE = (b"\0", b"\xff", b"\0\0\0", b"\x01", b"\x01\x04", b"\x01\x04\x04", REQUEST[:5], bytes(300))


@pytest.mark.parametrize("noise", NOISE, ids=lambda noise: noise[:8].hex())
def test_noise_before_and_after_an_answer_is_passed_over(noise: bytes) -> None:
    # Zeros around every frame were recorded on a line without bias resistors.
    answers = ([noise + ANSWER + noise], [noise, ANSWER, noise])
    with line(*answers, [ANSWER]) as (_, master):
        for _ in range(3):
            assert master.read(IMPORT_KWH, PATIENT) == REGISTERS


def test_noise_within_an_answer_is_no_answer() -> None:
    for at in range(1, len(ANSWER)):
        with line([ANSWER[:at] + b"\0" + ANSWER[at:]]) as (_, master):
            failure(master, FrameError)


def test_an_answer_with_any_bit_wrong_is_no_answer() -> None:
    harmed = list(flips(ANSWER))
    with line(*([one] for one in harmed)) as (far, master):
        for _ in harmed:
            with pytest.raises(FrameError):
                master.read(IMPORT_KWH, Manner(timeout_s=0.02))
        assert far.asked == [REQUEST] * len(harmed)


FOREIGN = {
    "another unit": rtu(2, bytes.fromhex("04 04 00 01 00 02")),
    "another function": rtu(1, bytes.fromhex("03 04 00 01 00 02")),
    "a shorter answer": rtu(1, bytes.fromhex("04 02 00 01")),
    "a longer answer": rtu(1, bytes.fromhex("04 06 00 01 00 02 00 03")),
    "an exception of another unit": rtu(2, bytes.fromhex("84 02")),
    "an exception to another function": rtu(1, bytes.fromhex("83 02")),
    "a request of another master": rtu(1, bytes.fromhex("04 00 00 00 02")),
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_frames_that_do_not_answer_are_passed_over(foreign: bytes) -> None:
    with line([foreign + ANSWER], [foreign, ANSWER], [foreign]) as (_, master):
        assert master.read(IMPORT_KWH, PATIENT) == REGISTERS
        assert master.read(IMPORT_KWH, PATIENT) == REGISTERS
        assert failure(master, FrameError) == (
            "unit 1, 2 input registers from 0x0048: no sound answer in 0.1 s, got"
            f" '{foreign.hex(' ')}'; check baud rate and parity, and that no two devices have"
            " the same unit"
        )


def test_what_came_before_the_request_is_no_answer() -> None:
    with line([ANSWER + ANSWER], []) as (far, master):
        assert master.read(IMPORT_KWH, PATIENT) == REGISTERS
        failure(master, Silence)
        far.send(ANSWER)
        failure(master, Silence)


@pytest.mark.parametrize("cut", range(len(REQUEST) + 1))
def test_an_echo_is_passed_over_however_it_is_cut(cut: int) -> None:
    whole = REQUEST + ANSWER
    with line([REQUEST[:cut], REQUEST[cut:] + ANSWER], [b"\0" + whole]) as (_, master):
        assert master.read(IMPORT_KWH, PATIENT) == REGISTERS
        assert master.read(IMPORT_KWH, PATIENT) == REGISTERS


@pytest.mark.parametrize("cut", range(9))
def test_an_echo_that_begins_like_an_answer_is_none(cut: int) -> None:
    # The last byte of this CRC is zero: the seven before are a sound answer of one register.
    read, echo = Read(4, 3, 0x02B0, 1), bytes.fromhex("04 03 02 b0 00 01 84 00")
    own = rtu(4, bytes.fromhex("03 02 12 34"))
    with line([echo[:cut], echo[cut:] + own], [echo[:-1]]) as (_, master):
        assert master.read(read, PATIENT) == (0x1234,)
        failure(master, FrameError, read)


def test_an_echo_alone_is_told() -> None:
    with line([REQUEST]) as (_, master):
        assert failure(master, Echo).endswith("no answer in 0.1 s, only the echo of the request")


def test_silence_is_told() -> None:
    with line() as (_, master):
        message = failure(master, Silence)
        assert message == "unit 1, 2 input registers from 0x0048: no answer in 0.1 s"


def test_an_exception_is_refused() -> None:
    with line([REFUSED]) as (_, master):
        message = failure(master, Refused)
        assert message.endswith("0x0048: exception 2 (illegal data address)")


def test_a_line_that_babbles_is_asked_and_left_in_time() -> None:
    stop = threading.Event()

    def babble(_: bytes) -> Iterable[bytes]:
        while not stop.is_set():
            yield b"\x01\x04\x04" * 100

    with master_of(far_pty(babble)) as master:
        assert "no sound answer in 0.1 s, got '01 04 04 01" in failure(master, FrameError)
        failure(master, FrameError)
        stop.set()


def test_the_line_is_silent_for_the_pause_before_each_request() -> None:
    with line([ANSWER], [ANSWER]) as (far, master):
        master.read(IMPORT_KWH, PATIENT)
        before_s = time.monotonic()
        master.read(IMPORT_KWH, Manner(timeout_s=10, pause_s=0.05))
        assert time.monotonic() - before_s >= 0.04  # the first answer was a moment earlier
        assert len(far.asked) == 2


def test_the_silence_begins_anew_with_every_byte_of_anyone() -> None:
    with line([ANSWER], [ANSWER]) as (far, master):
        master.read(IMPORT_KWH, PATIENT)
        asking = threading.Thread(
            target=master.read, args=(IMPORT_KWH, Manner(timeout_s=10, pause_s=0.3))
        )
        asking.start()
        far.send(b"\0")  # comes back when it has been read
        heard_s = time.monotonic()
        wait_until(lambda: len(far.asked) == 2, "the second request")
        assert time.monotonic() - heard_s >= 0.28
        asking.join()


class Unit:
    """Answers any request with forty registers that hold zero."""

    def take(self, data: bytes) -> bytes:
        return rtu(1, bytes([4, 80, *bytes(80)])) if data else b""


def test_an_answer_that_has_begun_may_take_the_time_that_a_slow_line_needs() -> None:
    # 85 bytes at 2400 baud: 0.35 s.
    with serve_pty(Unit(), baud=2400) as served:
        master = open_master(served.url)
        assert master.read(Read(1, 4, 0, 40), Manner(timeout_s=0.2)) == (0,) * 40
        master.close()


def test_the_usual_line_is_that_of_the_caller() -> None:
    with line([ANSWER]) as (far, _):
        master = open_master(far.url.partition("?")[0], line={"baud": "9600", "parity": "N"})
        assert master.read(IMPORT_KWH, PATIENT) == REGISTERS
        master.close()


def test_bytes_are_shown_to_whoever_wants_to_see_them() -> None:
    seen: list[tuple[str, bytes]] = []
    with line([ANSWER]) as (_, master):
        master.tap = lambda way, data: seen.append((way, data))
        master.read(IMPORT_KWH, PATIENT)
    assert seen == [("tx", REQUEST), ("rx", ANSWER)]


def test_a_close_ends_a_read_that_waits() -> None:
    with line() as (far, master):
        assert isinstance(closed_while_it_waits(far, master, IMPORT_KWH), LinkError)
        with pytest.raises(LinkError, match="closed"):
            master.read(IMPORT_KWH, SOON)


def test_a_port_that_is_not_there_is_a_lost_link() -> None:
    master = open_master("serial:///dev/heliobus_none")
    with pytest.raises(LinkError, match="/dev/heliobus_none: no such port"):
        master.read(IMPORT_KWH, SOON)


# ---------------------------------------------------------------------- behind a TCP server


def test_a_serial_server_that_hung_up_is_called_again() -> None:
    with master_of(far_tcp(lambda _: [ANSWER, CLOSE], scheme="socket")) as master:
        for _ in range(3):
            assert master.read(IMPORT_KWH, PATIENT) == REGISTERS


def test_what_a_serial_server_that_hung_up_was_asked_may_still_be_answered() -> None:
    script = iter(([ANSWER], [CLOSE], [ANSWER], [ANSWER]))
    far = far_tcp(lambda request: [request] if request[1] == 8 else next(script), scheme="socket")
    with master_of(far) as master:
        for _ in range(2):  # the second is asked twice
            assert master.read(IMPORT_KWH, PATIENT) == REGISTERS
        master.read(Read(1, 4, 0x4A, 2), PATIENT)
        assert [request[1] for request in far.asked] == [4, 4, 4, 8, 4]


def test_a_serial_server_that_refuses_is_a_lost_link() -> None:
    with far_tcp(lambda _: (), scheme="socket") as far:
        master = open_master(far.url)
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:[0-9]+: refused"):
        master.read(IMPORT_KWH, SOON)


def _modbus_tcp(request: bytes) -> Sequence[bytes | None]:
    """Answer as Modbus TCP; hang up at once on anything else."""
    return [mbap(request, ANSWER[1:-2])] if request[2:6] == b"\0\0\0\6" else [CLOSE]


def test_frames_of_modbus_tcp_are_told_after_the_second_silence() -> None:
    with master_of(far_tcp(_modbus_tcp, scheme="socket")) as master:
        assert "connection closed without an answer" in failure(master, Silence)
        said = failure(master, FrameError)
        assert said == (
            "unit 1, 2 input registers from 0x0048: it answers in the frames of Modbus TCP:"
            f" write tcp://{master.name} instead of socket://{master.name}"
        )
        assert failure(master, FrameError) == said


def test_the_other_framing_is_tried_once_and_not_again_and_again() -> None:
    far = far_tcp(lambda _: (), scheme="socket")
    with master_of(far) as master:
        for _ in range(5):
            failure(master, Silence)
        assert [len(request) for request in far.asked] == [8, 8, 12, 8, 8, 8]


def test_a_server_that_has_not_answered_hears_one_frame_on_each_connection() -> None:
    # 0c 04 00 00 00 0a 71 10, sent again and again: without a CRC to check, a server of Modbus TCP
    # takes what follows the first seven bytes for function 16, which writes.
    far = far_tcp(lambda _: (), scheme="socket")
    with master_of(far) as master:
        for _ in range(3):
            with pytest.raises(Silence):
                master.read(Read(12, 4, 0, 10), SOON)
        assert len(far.asked) == far.connections
        assert max(map(len, far.asked)) <= 12  # one is in the other framing


def test_who_was_once_heard_is_not_suspected() -> None:
    answers = itertools.chain([[ANSWER]], itertools.repeat(()))
    far = far_tcp(lambda _: next(answers), scheme="socket")
    with master_of(far) as master:
        master.read(IMPORT_KWH, PATIENT)
        for _ in range(4):
            failure(master, Silence)
        assert [len(request) for request in far.asked] == [8] * 5


def test_an_answer_in_the_frames_of_modbus_tcp_is_told_at_once() -> None:
    tcp = bytes.fromhex("01 04 00 00 00 07 01 04 04 46 2a 75 21")
    with master_of(far_tcp(lambda _: [tcp], scheme="socket")) as master:
        assert "write tcp://127.0.0.1" in failure(master, FrameError)


# ---------------------------------------------------------------------- identification


def test_a_device_says_who_it_is_in_as_many_parts_as_it_likes() -> None:
    parts = (
        "2b 0e 01 01 ff 02 02 00 04 4f 72 6e 6f 01 06 57 45 2d 35 31 34",
        "2b 0e 01 01 00 00 01 02 03 31 2e 30",
    )
    with line(*([rtu(1, bytes.fromhex(part))] for part in parts)) as (far, master):
        assert master.identify(1, PATIENT) == {0: "Orno", 1: "WE-514", 2: "1.0"}
        assert far.asked == [rtu(1, b"\x2b\x0e\x01\x00"), rtu(1, b"\x2b\x0e\x01\x02")]


def test_a_device_may_not_know_who_it_is() -> None:
    with line([rtu(1, b"\xab\x01")]) as (_, master), pytest.raises(Refused) as caught:
        master.identify(1, PATIENT)
    assert caught.value.code == 1


# ---------------------------------------------------------------------- late answers

OTHER = Read(1, 4, 0x52, 2)
LATE = ANSWER
OWN = rtu(1, bytes.fromhex("04 04 11 11 22 22"))
OWN_REGISTERS = (0x1111, 0x2222)

Slave = Callable[[bytes], Sequence[bytes]]


def slave(loop_back: Slave, *, missing: bool = False) -> Slave:
    """Answer OTHER at once; IMPORT_KWH only with the next request, which is then answered, too."""
    late: list[bytes] = []

    def reply(request: bytes) -> Sequence[bytes]:
        if request == REQUEST:
            late.append(REFUSED if missing else LATE)
            return ()
        before, late[:] = late[:], []
        function = request[1]
        if function == 8:
            return [*before, *loop_back(request)]
        count = int.from_bytes(request[4:6])
        return [*before, OWN if count == 2 else rtu(1, bytes([4, 2 * count, *bytes(2 * count)]))]

    return reply


LOOP_BACKS: dict[str, Slave] = {
    "sends it back": lambda request: [request],
    "refuses it": lambda _: [rtu(1, b"\x88\x01")],
    "ignores it": lambda _: (),
}


@pytest.mark.parametrize("loop_back", LOOP_BACKS.values(), ids=LOOP_BACKS)
def test_a_late_answer_never_counts_for_other_registers(loop_back: Slave) -> None:
    with master_of(far_pty(slave(loop_back))) as master:
        for round_number in range(5):
            failure(master, Silence)
            if loop_back is LOOP_BACKS["ignores it"] and not round_number:
                failure(master, FrameError, OTHER)  # a loop-back was tried, and is not again
            assert master.read(OTHER, SOON) == OWN_REGISTERS


def test_a_request_that_is_repeated_may_take_its_own_late_answer() -> None:
    with line([], [LATE]) as (far, master):
        failure(master, Silence)
        assert master.read(IMPORT_KWH, SOON) == REGISTERS
        assert far.asked == [REQUEST, REQUEST]


def test_registers_of_another_length_need_no_loop_back() -> None:
    with line([], [LATE, rtu(1, b"\x04\x02\x11\x11")]) as (far, master):
        failure(master, Silence)
        assert master.read(Read(1, 4, 0x52, 1), SOON) == (0x1111,)
        assert len(far.asked) == 2


def test_other_units_need_no_loop_back() -> None:
    with line([], [LATE, rtu(2, OWN[1:-2])]) as (far, master):
        failure(master, Silence)
        assert master.read(Read(2, 4, 0x52, 2), SOON) == OWN_REGISTERS
        assert len(far.asked) == 2


def test_a_late_exception_does_not_say_that_registers_are_missing() -> None:
    with master_of(far_pty(slave(LOOP_BACKS["sends it back"], missing=True))) as master:
        failure(master, Silence)
        read = Read(1, 4, 0x52, 1)
        assert failure(master, FrameError, read).endswith(
            "exception 2 (illegal data address), perhaps a late one"
        )
        assert master.read(read, SOON) == (0,)


def test_an_echo_of_a_loop_back_is_not_its_answer() -> None:
    late = slave(LOOP_BACKS["sends it back"])
    with master_of(far_pty(lambda request: [request, *late(request)])) as master:
        for _ in range(3):
            failure(master, Echo)
            assert master.read(OTHER, SOON) == OWN_REGISTERS


def test_a_refused_loop_back_counts_only_when_it_can_be_no_late_one() -> None:
    # Silent until the fourth request; then the answers to all come, one with each further one.
    waiting: list[bytes] = []
    asked = itertools.count(1)

    def reply(request: bytes) -> Sequence[bytes]:
        count = request[5] if request[1] == 4 else 0
        values = bytes([4, 2 * count, *request[2:4] * count])
        waiting.append(rtu(1, values if count else b"\x88\x01"))
        return [waiting.pop(0)] if next(asked) > 4 else ()

    with master_of(far_pty(reply)) as master:
        for read in itertools.islice(itertools.cycle((IMPORT_KWH, OTHER)), 40):
            try:
                registers = master.read(read, SOON)
            except FrameError:
                continue
            assert registers == (read.start, read.start)


def test_a_marker_that_is_refused_is_followed_by_a_silence() -> None:
    refusal = rtu(1, b"\x84\x03")
    with line([], [], [refusal], [OWN]) as (far, master):
        failure(master, Silence)
        failure(master, Silence, OTHER)  # it knows no loop-back
        asked_s = time.monotonic()
        assert master.read(OTHER, SOON) == OWN_REGISTERS
        assert time.monotonic() - asked_s >= SOON.timeout_s
        assert [request[1] for request in far.asked] == [4, 8, 4, 4]
