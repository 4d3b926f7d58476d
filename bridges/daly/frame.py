"""Frames of Daly's UART protocol: A5, address, command, 08, eight bytes of data, their sum.

    request  a5 40 90 08 00 00 00 00 00 00 00 00 7d     to board 1; board n has 3F + n
    answer   a5 01 90 08 02 0a 00 00 75 eb 03 70 1d     from board 1

Requests and answers always have 13 bytes, and only questions can be framed here. Source: "Daly
UART/485 Communications Protocol" V1.2.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from heliobus.errors import FrameError

START, SIZE = 0xA5, 13
# Addresses from here on are those of hosts: such a frame is the echo of a request.
FIRST_HOST = 0x20
# A computer on RS485 or UART, and the app; which of them a board answers differs.
COMPUTER, APP = 0x40, 0x80
MOST_BOARDS = 16
# The longest answer: 48 cells, three in a frame.
MOST_FRAMES = 16

VOLTAGE, CELL_RANGE, TEMPERATURE_RANGE, MOSFETS, COUNTS = 0x90, 0x91, 0x92, 0x93, 0x94
CELLS, TEMPERATURES, BALANCE, ALARMS = 0x95, 0x96, 0x97, 0x98
RATED, PRODUCED, CODE, HARDWARE = 0x50, 0x53, 0x57, 0x63
CELL_LIMITS, BATTERY_LIMITS = 0x59, 0x5A
# All that can be asked. What sets something (0x21, 0xD9, 0xDA) or resets (0x00) is not here.
QUESTIONS = frozenset(
    {
        *(VOLTAGE, CELL_RANGE, TEMPERATURE_RANGE, MOSFETS, COUNTS),
        *(CELLS, TEMPERATURES, BALANCE, ALARMS),
        *(RATED, PRODUCED, CODE, HARDWARE, CELL_LIMITS, BATTERY_LIMITS),
    }
)
# Answers of several frames, whose first byte of data is their number.
NUMBERED = frozenset({CELLS, TEMPERATURES, CODE, HARDWARE})

_LENGTH = 8
_SUMMED = SIZE - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame whose sum is right. `data` has eight bytes."""

    address: int
    command: int
    data: bytes


def request(command: int, host: int = COMPUTER, fill: int = 0) -> bytes:
    """Frame a question; boards do not read the eight bytes that `fill` it.

    Raise ValueError for a command that is no question.
    """
    if command not in QUESTIONS:
        raise ValueError(f"0x{command:02X} is no question, and nothing else is ever sent")
    return _framed(host, command, bytes([fill]) * _LENGTH)


def answer(board: int, command: int, data: bytes) -> bytes:
    """Frame eight bytes as a board does."""
    return _framed(board, command, data)


def frames(data: bytes) -> Iterator[Frame]:
    """Give the frames in any bytes, whatever is around them.

    One in 256 of those that lost bytes has the right sum with the first bytes of what follows. So
    a frame in which another one begins is none.
    """
    at = _next(data, 0)
    while at >= 0:
        inner = _next(data, at + 1)
        if not at < inner < at + SIZE:
            yield Frame(data[at + 1], data[at + 2], data[at + 4 : at + _SUMMED])
        at = inner


def by_number(answers: Iterable[bytes]) -> dict[int, bytes]:
    """Give the data of an answer's frames by their number, which begins at 1; the last one counts.

    Boards send them in rising order. What came before a lower number is the end of an earlier
    answer, which lay in a buffer: it is older than the rest. Raise FrameError for a number 0.
    """
    found: dict[int, bytes] = {}
    last = 0
    for data in answers:
        number = data[0]
        if number == 0:
            raise FrameError("found a frame with the number 0, expected them to begin at 1")
        if number > MOST_FRAMES:
            continue
        if number < last:
            found.clear()
        found[number], last = data, number
    return found


def _next(data: bytes, at: int) -> int:
    """Find where the next 13 bytes with the right sum begin, -1 for nowhere."""
    while 0 <= (at := data.find(START, at)) <= len(data) - SIZE:
        raw = data[at : at + SIZE]
        if raw[3] == _LENGTH and sum(raw[:_SUMMED]) & 0xFF == raw[_SUMMED]:
            return at
        at += 1
    return -1


def _framed(address: int, command: int, data: bytes) -> bytes:
    frame = bytes([START, address, command, _LENGTH]) + data
    return frame + bytes([sum(frame) & 0xFF])
