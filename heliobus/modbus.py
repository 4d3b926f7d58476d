"""Modbus requests and answers as bytes: no socket, no clock.

    read = Read(unit=1, function=4, start=0x48, count=2)
    read.registers(bytes.fromhex("04 04 46 2a 75 21"))  -> (0x462A, 0x7521)

Only what reads exists here: nothing in this module can make a request that writes.
Source: MODBUS Application Protocol Specification V1.1b3, MODBUS over Serial Line V1.02.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from heliobus.errors import FrameError

HOLDING, INPUT = 3, 4
# A PDU has at most 253 bytes: function, byte count, and 125 registers.
MOST_REGISTERS = 125
_FAILED = 0x80
_EXCEPTIONS: Mapping[int, str] = MappingProxyType(
    {
        1: "illegal function",
        2: "illegal data address",
        3: "illegal data value",
        4: "device failure",
        5: "acknowledged, still working",
        6: "busy",
        8: "memory parity error",
        10: "gateway path unavailable",
        11: "gateway target does not respond",
    }
)


class Refused(FrameError):
    """The device answered with an exception; `code` is its number."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: exception {code} ({_EXCEPTIONS.get(code, 'unknown')})")
        self.code = code


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
        return f"unit {self.unit}, {self.count} {sort} registers from 0x{self.start:04X}"

    @property
    def pdu(self) -> bytes:
        """Give the request without its framing."""
        return bytes([self.function, *self.start.to_bytes(2), *self.count.to_bytes(2)])

    def registers(self, pdu: bytes) -> tuple[int, ...]:
        """Take the registers out of an answer. Raise Refused, FrameError."""
        if pdu[:1] == bytes([self.function | _FAILED]) and len(pdu) == 2:  # noqa: PLR2004
            raise Refused(str(self), pdu[1])
        if pdu[:1] != bytes([self.function]):
            raise FrameError(f"{self}: answered function '{pdu[:1].hex()}'")
        if len(pdu) != 2 + 2 * self.count or pdu[1] != 2 * self.count:
            raise FrameError(f"{self}: answered {len(pdu[2:])} bytes, expected {2 * self.count}")
        return tuple(int.from_bytes(pdu[at : at + 2]) for at in range(2, len(pdu), 2))


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
