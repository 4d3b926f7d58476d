"""Frames of Voltronic inverters: requests out, answers in, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.voltronic.frame import LONGEST, answer, checksum, command_of, request, take_answer
from heliobus.errors import FrameError

MODE = bytes.fromhex("28 42 e7 c9 0d")  # (B
NAK = bytes.fromhex("28 4e 41 4b 73 73 0d")
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=150)


@pytest.mark.parametrize(
    ("command", "frame"),
    [
        ("QPI", "515049 beac 0d"),
        ("QPIGS", "5150494753 b7a9 0d"),
        ("QPIGS2", "515049475332 682d 0d"),
        ("QPIRI", "5150495249 f854 0d"),
        ("QMUCHGCR", "514d554348474352 2634 0d"),
        ("POP00", "504f503030 c248 0d"),
        # The CRC is E2 0A, and an inverter answers NAK when it is sent like that.
        ("POP02", "504f503032 e20b 0d"),
        ("MCHGC010", "4d43484743303130 8426 0d"),
        ("MCHGC090", "4d43484743303930 0e8f 0d"),  # raw 0D 8F
        ("PCVV57.0", "5043565635372e30 29eb 0d"),  # raw 28 EB
        ("PBFT55.7", "5042465435352e37 d00b 0d"),  # raw D0 0A
        ("PBFT57.5", "5042465435372e35 9e29 0d"),  # raw 9E 28
        ("^P005GS", "5e503030354753 5814 0d"),
        ("^P006MOD", "5e503030364d4f44 ddbe 0d"),
    ],
)
def test_a_request_carries_its_escaped_checksum(command: str, frame: str) -> None:
    assert request(command) == bytes.fromhex(frame)
    assert command_of(bytes.fromhex(frame)) == command


def test_a_zero_in_the_checksum_is_sent_as_it_is() -> None:
    status = (
        b"(230.0 49.9 230.0 49.9 0805 0751 020 448 29.00 000 100 0037 02.3 271.1 00.00 00007"
        b" 00010000 00 00 00647 011 0 00 0000"
    )
    assert checksum(status) == b"\x00\xe7"
    taken = take_answer(status + b"\x00\xe7\r")
    assert taken is not None
    assert taken[0].endswith(" 0 00 0000")


@pytest.mark.parametrize(
    ("data", "payload", "used"),
    [
        (MODE, "B", 5),
        (b"\n" + MODE, "B", 6),
        (b"\0\0\0" + MODE, "B", 8),
        (MODE + b"\n", "B", 5),
        (MODE + b"\0\0\0", "B", 5),
        (MODE + MODE, "B", 5),
        (MODE[:-1] + b"\n", "B", 5),
        (MODE[:-1] + b"\n" + NAK, "B", 5),
        (NAK, "NAK", 7),
        (b"(NAK\r", "NAK", 5),
        (bytes.fromhex("28 41 43 4b 39 20 0d"), "ACK", 7),
        (bytes.fromhex("5e 31 0b c2 0d"), "^1", 5),
        (bytes.fromhex("5e 30 1b e3 0d"), "^0", 5),
        (b"^D01100320400\x8ac\r", "^D00320400", 16),
        (b"(00238800!J\r", "00238800", 12),  # a checksum may look like text
    ],
)
def test_a_sound_answer_is_taken(data: bytes, payload: str, used: int) -> None:
    assert take_answer(data) == (payload, used)


@pytest.mark.parametrize("data", [b"", b"\n", b"(", MODE[:-1], b"\0\n(NAKss", b"^D011003"])
def test_a_part_of_an_answer_needs_more(data: bytes) -> None:
    assert take_answer(data) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"(S\x64\x39\r", "CRC is 64 39, expected e5 d9"),
        (b"(NAOss\r", "CRC is 73 73, expected 33 f7"),
        (b"QPGS0?\xda\r", "echo of a request"),
        (b"^P005GS\x58\x14\r", "echo of a request"),
        (b"^X" + checksum(b"^X") + b"\r", "expected '(', '^D', '^0' or '^1'"),
        (b"#-1\r", "with its CRC"),
        (b"hello there\r", "begins with '('"),
        (b"(\r", "with its CRC"),
        (b"(B\r", "with its CRC"),
        (
            b"^D012" + b"00320400" + checksum(b"^D01200320400") + b"\r",
            "length is 012, expected 011",
        ),
        (answer("B")[:1] + b"\x07" + checksum(b"(\x07") + b"\r", "printable"),
        (b"(" + bytes([0xE7]) + checksum(b"(\xe7") + b"\r", "printable"),
        (b"(" + b"1" * (LONGEST + 1), "without an end"),
    ],
)
def test_damage_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        take_answer(data)
    assert reason in str(refused.value)


def test_a_line_feed_within_a_damaged_answer_does_not_end_it() -> None:
    assert take_answer(b"(230.0\n49.9") is None


@given(
    payload=TEXT, end=st.sampled_from([b"\r", b"\n", b"\r\n"]), before=st.sampled_from([b"", b"\n"])
)
def test_what_an_inverter_frames_is_taken_again(payload: str, end: bytes, before: bytes) -> None:
    frame = before + answer(payload, end)
    expected = len(frame) - (len(end) - 1)
    assert take_answer(frame) == (payload, expected)


@given(payload=TEXT, cut=st.integers(0, 200))
def test_any_cut_gives_the_same_frame(payload: str, cut: int) -> None:
    frame = answer(payload)
    head = frame[:cut]
    if len(head) < len(frame):
        assert take_answer(head) is None
    assert take_answer(head + frame[cut:]) == (payload, len(frame))


@given(payload=TEXT, bit=st.integers(0, 8 * 155))
def test_a_flipped_bit_is_never_taken(payload: str, bit: int) -> None:
    frame = bytearray(answer(payload))
    frame[bit // 8 % len(frame)] ^= 1 << bit % 8
    try:
        taken = take_answer(bytes(frame))
    except FrameError:
        return
    assert taken is None


@given(st.binary(max_size=700))
def test_noise_gives_an_error_or_nothing(data: bytes) -> None:
    try:
        taken = take_answer(data)
    except FrameError:
        return
    assert taken is None


@given(st.binary(min_size=LONGEST + 1, max_size=2000))
def test_a_buffer_never_grows_beyond_the_longest_answer(data: bytes) -> None:
    endless = b"(" + data.replace(b"\r", b"0").replace(b"\n", b"0")
    with pytest.raises(FrameError, match="without an end"):
        take_answer(endless)


@given(st.binary(max_size=60))
def test_any_bytes_of_a_request_give_a_command_or_nothing(data: bytes) -> None:
    command = command_of(data)
    assert command is None or command.isascii()


@given(st.from_regex(r"[A-Z][A-Z0-9.]{1,14}", fullmatch=True))
def test_every_command_is_read_back_from_its_request(command: str) -> None:
    assert command_of(request(command)) == command
    assert request(command).count(b"\r") == 1
