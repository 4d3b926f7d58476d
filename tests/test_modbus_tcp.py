"""Modbus TCP against servers that do what a test says."""

import itertools
import logging
from collections.abc import Sequence

import pytest

from heliobus.errors import FrameError, LinkError
from heliobus.guarded import Guarded
from heliobus.link import Silence
from heliobus.master import Manner, Master, open_master
from heliobus.modbus import Read, Refused, rtu
from tests.modbus_far import CLOSE, closed_while_it_waits, far_tcp, master_of, mbap

READ = Read(1, 3, 0x10, 2)
ASKED = "00 00 00 06 01 03 00 10 00 02"  # after the number of the transaction
PDU = bytes.fromhex("03 04 46 2a 75 21")
REGISTERS = (0x462A, 0x7521)

SOON = Manner(timeout_s=0.1)
PATIENT = Manner(timeout_s=10)
EACH = Manner(timeout_s=10, keep=False)


def answer(request: bytes) -> Sequence[bytes]:
    """Answer as a device should."""
    return [mbap(request, PDU)]


def failure(master: Master, kind: type[FrameError], read: Read = READ) -> str:
    with pytest.raises(FrameError) as caught:
        master.read(read, SOON)
    assert type(caught.value) is kind
    return str(caught.value)


def test_registers_are_read_over_one_connection() -> None:
    far = far_tcp(answer)
    with master_of(far) as master:
        for _ in range(3):
            assert master.read(READ, PATIENT) == REGISTERS
    assert far.connections == 1
    assert {request[2:].hex(" ") for request in far.asked} == {ASKED}
    assert len({request[:2] for request in far.asked}) == 3


def test_each_request_may_have_a_connection_of_its_own() -> None:
    far = far_tcp(answer)
    with master_of(far) as master:
        for _ in range(3):
            assert master.read(READ, EACH) == REGISTERS
    assert far.connections == 3


def test_a_connection_that_was_let_go_is_made_again() -> None:
    far = far_tcp(answer)
    with master_of(far) as master:
        for _ in range(3):
            assert master.read(READ, PATIENT) == REGISTERS
            assert master.read(READ, PATIENT) == REGISTERS
            master.release()
            master.release()
    assert far.connections == 3


def test_an_answer_may_come_byte_by_byte() -> None:
    def reply(request: bytes) -> Sequence[bytes]:
        return [bytes([byte]) for byte in mbap(request, PDU)]

    with master_of(far_tcp(reply)) as master:
        assert master.read(READ, PATIENT) == REGISTERS


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_host_may_be_of_either_sort(host: str) -> None:
    with master_of(far_tcp(answer, host=host)) as master:
        assert master.read(READ, PATIENT) == REGISTERS


@pytest.mark.parametrize("manner", [PATIENT, EACH], ids=["keep", "per request"])
def test_a_device_that_hangs_up_after_each_answer_is_called_again(manner: Manner) -> None:
    # Charge controllers do so (TriStar MPPT).
    far = far_tcp(lambda request: [mbap(request, PDU), CLOSE])
    with master_of(far) as master:
        for _ in range(5):
            assert master.read(READ, manner) == REGISTERS
    assert far.connections == len(far.asked) == 5


def test_a_kept_connection_that_is_lost_is_counted() -> None:
    # What is carried from poll to poll may be of the device before.
    far = far_tcp(lambda request: [mbap(request, PDU), *([CLOSE] if len(far.asked) == 120 else [])])
    with master_of(far) as master:
        for _ in range(120):
            assert master.read(READ, PATIENT) == REGISTERS
        assert losses(master) == 0
        assert master.read(READ, PATIENT) == REGISTERS
        assert losses(master) == 1


@pytest.mark.parametrize("manner", [PATIENT, EACH], ids=["keep", "per request"])
def test_connections_that_are_never_kept_for_long_are_no_losses(manner: Manner) -> None:
    far = far_tcp(lambda request: [mbap(request, PDU), *([CLOSE] if len(far.asked) % 9 else [])])
    with master_of(far) as master:
        for _ in range(150):
            master.read(READ, manner)
        assert losses(master) == 0


def losses(master: Master) -> int:
    assert isinstance(master, Guarded)
    return master.losses


def test_a_device_that_hangs_up_instead_of_answering_is_asked_once_more() -> None:
    far = far_tcp(lambda request: [CLOSE] if len(far.asked) == 2 else [mbap(request, PDU)])
    with master_of(far) as master:
        assert master.read(READ, PATIENT) == REGISTERS
        assert master.read(READ, PATIENT) == REGISTERS
    assert len(far.asked) == 3


def test_a_device_that_only_hangs_up_is_silent() -> None:
    with master_of(far_tcp(lambda _: [CLOSE])) as master:
        assert failure(master, Silence) == (
            "unit 1, 2 holding registers from 0x0010: connection closed without an answer"
        )


WRONG = {
    "another transaction": lambda request: mbap(request, PDU, transaction=0xABCD),
    "transaction 0": lambda request: mbap(request, PDU, transaction=0),
    "another protocol": lambda request: mbap(request, PDU, protocol=1),
    "another unit": lambda request: mbap(request, PDU, unit=2),
    "another function": lambda request: mbap(request, b"\x04" + PDU[1:]),
    "a shorter answer": lambda request: mbap(request, bytes.fromhex("03 02 46 2a")),
    "a longer answer": lambda request: mbap(request, bytes.fromhex("03 06 46 2a 75 21 00 00")),
    "more than it says": lambda request: mbap(request, PDU + b"\0"),
    "less than it says": lambda request: mbap(request, PDU[:-1]),
    "an odd length": lambda request: mbap(request, bytes.fromhex("03 05 46 2a 75 21 00")),
    "an exception to another function": lambda request: mbap(request, bytes.fromhex("84 02")),
    "an exception without a number": lambda request: mbap(request, b"\x83"),
    "no function": lambda request: mbap(request, b""),
    "a length of zero": lambda request: mbap(request, PDU, size=0),
    "a length of 64 kB": lambda request: mbap(request, PDU, size=0xFFFF),
    "an unknown function": lambda request: mbap(request, b"\x63" + PDU[1:]),
    "half an answer": lambda request: mbap(request, PDU)[:9],
    "noise": lambda _: b"\x15\x03\x01\0\x02\x02F" * 2,
    "very much noise": lambda _: bytes(100_000),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_answer_is_refused_and_the_next_one_counts(wrong: object) -> None:
    assert callable(wrong)
    far = far_tcp(lambda request: [wrong(request) if len(far.asked) == 1 else mbap(request, PDU)])
    with master_of(far) as master:
        assert "no sound answer in 0.1 s, got '" in failure(master, FrameError)
        assert master.read(READ, PATIENT) == REGISTERS
    assert far.connections == 2


@pytest.mark.parametrize(
    "changes", [{"transaction": 0xABCD}, {"unit": 2}], ids=["another transaction", "another unit"]
)
def test_frames_of_others_before_the_answer_are_passed_over(changes: dict[str, int]) -> None:
    def reply(request: bytes) -> Sequence[bytes]:
        return [mbap(request, bytes.fromhex("03 04 00 01 00 02"), **changes) + mbap(request, PDU)]

    with master_of(far_tcp(reply)) as master:
        assert master.read(READ, PATIENT) == REGISTERS


def test_what_came_before_the_request_is_no_answer() -> None:
    far = far_tcp(lambda request: [mbap(request, PDU) * 3] if len(far.asked) == 1 else [])
    with master_of(far) as master:
        assert master.read(READ, PATIENT) == REGISTERS
        failure(master, Silence)


def test_silence_drops_the_connection_and_what_comes_late_with_it() -> None:
    held: list[bytes] = []

    def reply(request: bytes) -> Sequence[bytes]:
        if far.connections == 1:
            held.append(mbap(request, bytes.fromhex("03 04 00 01 00 02")))
            return ()
        return [*held, mbap(request, PDU)]

    far = far_tcp(reply)
    with master_of(far) as master:
        message = failure(master, Silence)
        assert message == "unit 1, 2 holding registers from 0x0010: no answer in 0.1 s"
        assert master.read(READ, PATIENT) == REGISTERS
    assert far.connections == 2


@pytest.mark.parametrize("code", [2, 10, 11])
def test_an_exception_is_refused_and_the_connection_kept(code: int) -> None:
    far = far_tcp(lambda request: [mbap(request, bytes([0x83, code]))])
    with master_of(far) as master:
        for _ in range(3):
            with pytest.raises(Refused) as caught:
                master.read(READ, PATIENT)
            assert caught.value.code == code
    assert far.connections == 1


def test_a_unit_without_an_answer_behind_a_gateway_leaves_the_others_alone() -> None:
    def reply(request: bytes) -> Sequence[bytes]:
        return [mbap(request, PDU)] if request[6] != 3 else ()

    with master_of(far_tcp(reply)) as master:
        for _ in range(2):
            failure(master, Silence, Read(3, 3, 0x10, 2))
            assert master.read(READ, PATIENT) == REGISTERS


def test_a_host_that_refuses_is_a_lost_link() -> None:
    with far_tcp(answer) as far:
        master = open_master(far.url)
    with pytest.raises(
        LinkError,
        match=r"127\.0\.0\.1:[0-9]+: refused; check the port, and that a program there listens",
    ):
        master.read(READ, SOON)


def test_a_host_that_nobody_knows_is_a_lost_link() -> None:
    master = open_master("tcp://heliobus.invalid:502")
    with pytest.raises(LinkError, match=r"heliobus\.invalid:502: no host of this name is known"):
        master.read(READ, SOON)


def test_a_close_ends_a_read_that_waits() -> None:
    far = far_tcp(lambda _: ())
    with master_of(far) as master:
        assert isinstance(closed_while_it_waits(far, master, READ), LinkError)
        with pytest.raises(LinkError, match="closed"):
            master.read(READ, SOON)


def test_bytes_are_shown_once_to_whoever_wants_to_see_them() -> None:
    seen: list[tuple[str, bytes]] = []
    far = far_tcp(lambda request: [mbap(request, PDU)[:7], mbap(request, PDU)[7:]])
    with master_of(far) as master:
        master.tap = lambda way, data: seen.append((way, data))
        master.read(READ, PATIENT)
    assert seen[0] == ("tx", far.asked[0])
    assert b"".join(data for way, data in seen if way == "rx") == mbap(far.asked[0], PDU)


def test_pymodbus_says_nothing_in_our_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with master_of(far_tcp(lambda _: ())) as master:
        for _ in range(6):
            failure(master, Silence)
    assert caplog.text == ""


def test_a_device_says_who_it_is_in_as_many_parts_as_it_likes() -> None:
    parts = itertools.cycle(
        (
            "2b 0e 01 01 ff 02 02 00 04 4f 72 6e 6f 01 06 57 45 2d 35 31 34",
            "2b 0e 01 01 00 00 01 02 03 31 2e 30",
        )
    )
    far = far_tcp(lambda request: [mbap(request, bytes.fromhex(next(parts)))])
    with master_of(far) as master:
        assert master.identify(1, PATIENT) == {0: "Orno", 1: "WE-514", 2: "1.0"}
    assert [request[7:].hex(" ") for request in far.asked] == ["2b 0e 01 00", "2b 0e 01 02"]


def test_a_device_may_not_know_who_it_is() -> None:
    far = far_tcp(lambda request: [mbap(request, b"\xab\x01")])
    with master_of(far) as master, pytest.raises(Refused) as caught:
        master.identify(1, PATIENT)
    assert caught.value.code == 1


# ---------------------------------------------------------------------- wrong framing


def _rtu_only(request: bytes) -> Sequence[bytes]:
    return [rtu(1, PDU)] if request == bytes.fromhex("01 03 00 10 00 02 c5 ce") else ()


def test_rtu_frames_are_told_after_the_second_silence() -> None:
    with master_of(far_tcp(_rtu_only)) as master:
        failure(master, Silence)
        said = failure(master, FrameError)
        assert said == (
            "unit 1, 2 holding registers from 0x0010: it answers in RTU frames:"
            f" write socket://{master.name} instead of tcp://{master.name}"
        )
        assert failure(master, FrameError) == said


def test_rtu_frames_that_answer_are_told_at_once() -> None:
    with master_of(far_tcp(lambda _: [rtu(1, PDU)])) as master:
        assert "write socket://127.0.0.1" in failure(master, FrameError)


def test_the_other_framing_is_tried_once_and_not_again_and_again() -> None:
    far = far_tcp(lambda _: ())
    with master_of(far) as master:
        for _ in range(5):
            failure(master, Silence)
    assert [len(request) for request in far.asked] == [12, 12, 8, 12, 12, 12]


# ---------------------------------------------------------------------- late answers


def test_a_gateway_that_mixes_up_late_answers_is_asked_for_a_loop_back() -> None:
    other = Read(1, 3, 0x20, 2)

    def reply(request: bytes) -> Sequence[bytes]:
        return [mbap(request, request[7:] if request[7] == 8 else PDU)] if far.asked[1:] else ()

    far = far_tcp(reply)
    with master_of(far) as master:
        failure(master, Silence)
        assert master.read(other, PATIENT) == REGISTERS
    assert [request[7] for request in far.asked] == [3, 8, 3]
    assert far.asked[1][7:10] == b"\x08\0\0"
