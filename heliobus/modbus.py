"""Modbus requests and answers as bytes: no socket, no clock.

    read = Read(unit=1, function=4, start=0x48, count=2)
    read.registers(bytes.fromhex("04 04 46 2a 75 21"))  -> (0x462A, 0x7521)

Only what reads exists here: nothing in this module can make a request that writes.
Source: MODBUS Application Protocol Specification V1.1b3, MODBUS over Serial Line V1.02.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from heliobus.errors import FrameError

HOLDING, INPUT = 3, 4
# A PDU has at most 253 bytes: function, byte count, and 125 registers.
MOST_REGISTERS = 125
FAILED = 0x80  # the function of an exception is that of its request with this bit
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4
# The device does not have what it was asked for. What else is refused may pass: it is busy.
LACKING = frozenset({ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE})
_EXCEPTIONS: Mapping[int, str] = MappingProxyType(
    {
        ILLEGAL_FUNCTION: "illegal function",
        ILLEGAL_ADDRESS: "illegal data address",
        ILLEGAL_VALUE: "illegal data value",
        DEVICE_FAILURE: "device failure",
        5: "acknowledged, still working",
        6: "busy",
        8: "memory parity error",
        10: "gateway path unavailable",
        11: "gateway target does not respond",
    }
)


# What a gateway says for a device that does not answer it.
SILENT_BEHIND_A_GATEWAY = frozenset({10, 11})
_IDENTIFY = 7  # bytes of an identification before its first object


class Refused(FrameError):
    """The device answered with an exception; `code` is its number."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: exception {code} ({_EXCEPTIONS.get(code, 'unknown')})")
        self.code = code


class Question(Protocol):
    """A request, and which answer it takes."""

    @property
    def unit(self) -> int:
        """Name the unit that is asked."""
        ...

    @property
    def pdu(self) -> bytes:
        """Give the request without its framing."""
        ...

    def size(self, begun: bytes) -> int:
        """Give how long a PDU is that begins so and answers this; 0: it does not, or not yet."""
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """One request for registers: unit 0 to 255, addresses as on the wire, from 0."""

    unit: int
    function: int
    start: int
    count: int

    def __str__(self) -> str:
        """Word it for messages: unit 1, 2 input registers from 0x0048."""
        sort = "holding" if self.function == HOLDING else "input"
        what = "register at" if self.count == 1 else "registers from"
        return f"unit {self.unit}, {self.count} {sort} {what} 0x{self.start:04X}"

    @property
    def pdu(self) -> bytes:
        """Give the request without its framing."""
        return bytes([self.function, *self.start.to_bytes(2), *self.count.to_bytes(2)])

    def size(self, begun: bytes) -> int:
        """Give the length of the answer, when it begins as one."""
        return 2 + 2 * self.count if begun[:2] == bytes([self.function, 2 * self.count]) else 0

    def registers(self, pdu: bytes) -> tuple[int, ...]:
        """Take the registers out of an answer. Raise Refused, FrameError."""
        check_refused(self, pdu)
        if pdu[:1] != bytes([self.function]):
            raise FrameError(f"{self}: answered function '{pdu[:1].hex()}'")
        if len(pdu) != 2 + 2 * self.count or pdu[1] != 2 * self.count:
            raise FrameError(f"{self}: answered {len(pdu[2:])} bytes, expected {2 * self.count}")
        return tuple(int.from_bytes(pdu[at : at + 2]) for at in range(2, len(pdu), 2))


@dataclass(frozen=True, slots=True)
class LoopBack:
    """A request that a device only sends back (function 8, subfunction 0)."""

    unit: int
    data: bytes

    def __str__(self) -> str:
        """Word it for messages."""
        return f"unit {self.unit}, loop-back"

    @property
    def pdu(self) -> bytes:
        """Give the request without its framing."""
        return b"\x08\x00\x00" + self.data

    def size(self, begun: bytes) -> int:
        """Give the length of the answer, when it begins as one."""
        return len(self.pdu) if begun.startswith(self.pdu) else 0


@dataclass(frozen=True, slots=True)
class Identify:
    """A request for the basic identification of a device, from object `first` on."""

    unit: int
    first: int = 0

    def __str__(self) -> str:
        """Word it for messages."""
        return f"unit {self.unit}, identification"

    @property
    def pdu(self) -> bytes:
        """Give the request without its framing."""
        return bytes([0x2B, 0x0E, 1, self.first])

    def size(self, begun: bytes) -> int:
        """Give the length of the answer, when it is there whole."""
        if begun[:3] != self.pdu[:3] or begun[7:8] != self.pdu[3:]:
            return 0
        at = _IDENTIFY
        for _ in range(begun[6]):
            if at + 2 > len(begun):
                return 0
            at += 2 + begun[at + 1]
        return at if at <= len(begun) else 0

    def objects(self, pdu: bytes) -> tuple[Mapping[int, str], int]:
        """Give the objects of an answer and which is next; 0: none. Raise Refused, FrameError."""
        check_refused(self, pdu)
        if self.size(pdu) != len(pdu):
            raise FrameError(f"{self}: answered '{pdu.hex(' ')}', expected whole objects")
        objects, at = {}, _IDENTIFY
        while at < len(pdu):
            end = at + 2 + pdu[at + 1]
            objects[pdu[at]] = pdu[at + 2 : end].decode("ascii", "replace").strip("\0 ")
            at = end
        return objects, pdu[5] if pdu[4] and pdu[5] > self.first else 0


def check_refused(question: Question, pdu: bytes) -> None:
    """Raise Refused where an answer is an exception."""
    if pdu[:1] == bytes([question.pdu[0] | FAILED]) and len(pdu) == 2:  # noqa: PLR2004
        raise Refused(str(question), pdu[1])


def answers(question: Question, begun: bytes) -> int:
    """Give how long a PDU is that begins so and answers, or refuses; 0: it does neither."""
    if begun[:1] == bytes([question.pdu[0] | FAILED]):
        return 2
    return question.size(begun)


def find_rtu(question: Question, data: bytes) -> bytes:
    """Find the frame of a serial line that answers, whatever is around it; give its PDU or b""."""
    for at in range(len(data) - 4):
        if data[at] == question.unit and (size := answers(question, data[at + 1 :])):
            end = at + 1 + size
            if len(data) >= end + 2 and crc(data[at:end]) == data[end : end + 2]:
                return data[at + 1 : end]
    return b""


def find_mbap(question: Question, data: bytes) -> bytes:
    """Find an answer in the framing of Modbus TCP in `data`, whatever its number; give its PDU."""
    for at in range(len(data) - 8):
        size = int.from_bytes(data[at + 4 : at + 6]) - 1
        pdu = data[at + 7 : at + 7 + size]
        header = data[at + 2 : at + 4] == b"\0\0" and data[at + 6] == question.unit
        if header and size == len(pdu) == answers(question, pdu):
            return pdu
    return b""


def crc(data: bytes) -> bytes:
    """Give CRC-16/MODBUS, low byte first: polynomial 0xA001 reflected, start 0xFFFF."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def rtu(unit: int, pdu: bytes) -> bytes:
    """Frame a PDU for a serial line: unit, PDU, CRC."""
    frame = bytes([unit]) + pdu
    return frame + crc(frame)


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC = _crc_table()
