"""Frames of the Aurora protocol: requests of 10 bytes, answers of 8, both with a CRC-16/X-25.

    request   address, command, six arguments, CRC low, CRC high
    answer    transmission state, global state, four bytes of data, CRC low, CRC high

An answer says neither whose it is nor to what. Those to 52 and 63 have no states, but six letters.
Sources: "Aurora Communication Protocol" 4.2 (Power-One, 2008), aurorapy 0.2.7.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from heliobus.errors import CommandError, FrameError

REQUEST, ANSWER, PAYLOAD = 10, 8, 6
STATE, PART, VERSION, MEASURE, SERIAL, MADE = 50, 52, 58, 59, 63, 65
FLAGS, FLOAT_ENERGY, CLOCK, FIRMWARE, LAST_10_S = 67, 68, 70, 72, 76
SETUP, ENERGY, ALARMS = 77, 78, 86

# All that can be asked. 86 empties the list of the last alarms that the inverter keeps; nothing
# else here changes anything in it. What is not in this list cannot be made into a request: 53
# ends an exclusion, 71 sets the clock, 85 the baud rate, 252 to 254 give out addresses.
READS: Final = frozenset(
    {
        *(STATE, PART, VERSION, MEASURE, SERIAL, MADE),
        *(FLAGS, FLOAT_ENERGY, CLOCK, FIRMWARE, LAST_10_S),
        *(SETUP, ENERGY, ALARMS),
    }
)
_POLYNOMIAL, _ONES = 0x8408, 0xFFFF
_ARGUMENTS = PAYLOAD
_ADDRESSES = range(256)


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(map(_table_entry, range(256)))


def checksum(data: bytes) -> bytes:
    """Give the CRC-16/X-25 of `data` as it stands on the wire, low byte first."""
    crc = _ONES
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return (crc ^ _ONES).to_bytes(2, "little")


def request(address: int, command: int, arguments: Sequence[int] = ()) -> bytes:
    """Frame a question. Raise CommandError for a command that does not only read."""
    if command not in READS:
        raise CommandError(f"command {command}: not one that only reads; it is never sent")
    if address not in _ADDRESSES or len(arguments) > _ARGUMENTS:
        raise CommandError(f"command {command}: address {address}, arguments {list(arguments)}")
    head = bytes((address, command, *arguments)).ljust(REQUEST - 2, b"\0")
    return head + checksum(head)


def answer(payload: bytes) -> bytes:
    """Frame the six bytes of an answer, as an inverter does."""
    return payload + checksum(payload)


def take_answer(data: bytes) -> tuple[bytes, int] | None:
    """Take one answer from the start of `data`: its six bytes, and how many it used.

    None means that more bytes are needed. Raise FrameError where its CRC is wrong.
    """
    if len(data) < ANSWER:
        return None
    _check(data[:ANSWER], "answer")
    return data[:PAYLOAD], ANSWER


def take_request(data: bytes) -> bytes:
    """Take a request apart: its eight bytes without the CRC. Raise FrameError."""
    if len(data) != REQUEST:
        raise FrameError(f"request: found {len(data)} bytes, expected {REQUEST}")
    _check(data, "request")
    return data[:-2]


def is_request(data: bytes) -> bool:
    """Say whether these are the bytes of a whole request."""
    return len(data) == REQUEST and checksum(data[:-2]) == data[-2:]


def _check(frame: bytes, what: str) -> None:
    want, found = checksum(frame[:-2]), frame[-2:]
    if want != found:
        raise FrameError(
            f"{what}: CRC is {found.hex(' ')}, expected {want.hex(' ')}:"
            f" damaged on the way: '{frame.hex(' ')}'"
        )


TITLES = MappingProxyType(
    {
        STATE: "the state",
        PART: "the part number",
        VERSION: "the version",
        MEASURE: "measure",
        SERIAL: "the serial number",
        MADE: "the week of manufacture",
        FLAGS: "the flags",
        FLOAT_ENERGY: "energy",
        CLOCK: "the clock",
        FIRMWARE: "the firmware",
        LAST_10_S: "the last 10 s",
        SETUP: "the set-up",
        ENERGY: "energy",
        ALARMS: "the last alarms",
    }
)
"""What is asked by each command, in words for messages."""
