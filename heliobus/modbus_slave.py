"""A simulated Modbus line: one or several devices behind it, RTU frames or Modbus TCP.

Bytes in, bytes out; whoever serves it owns the port, the speed and the faults of the line. What
the registers hold is up to its units: a PDU in, a PDU out.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from heliobus.line import Faults
from heliobus.modbus import HOLDING, INPUT, crc, rtu

LOOP_BACK, IDENTIFY, READ_IDENTIFICATION = 0x08, 0x2B, 0x0E
# Function codes that change nothing in a device, whatever else they do.
_HARMLESS = frozenset({1, 2, 3, 4, 7, 11, 12, 17, 20, 24})
# How long the requests are, without unit and CRC. Those of the second table say it themselves: at
# this place stands how many bytes follow.
_LENGTHS: Mapping[int, int] = MappingProxyType(
    {
        **dict.fromkeys((1, 2, 3, 4, 5, 6, 8), 5),
        **dict.fromkeys((7, 11, 12, 17), 1),
        **dict.fromkeys((0x2B,), 4),
        **dict.fromkeys((22,), 7),
        **dict.fromkeys((24,), 3),
    }
)
_COUNT_AT: Mapping[int, int] = MappingProxyType({15: 5, 16: 5, 20: 1, 21: 1, 23: 9})
_SHORTEST_FRAME, _LONGEST_FRAME = 4, 256
_MBAP_BYTES, _LONGEST_PDU = 7, 253
_TARGET_SILENT = 11


class Unit(Protocol):
    """A simulated device behind a unit id. `polls` counts its polls that were answered whole."""

    polls: int

    def answer(self, pdu: bytes, faults: Faults) -> bytes:
        """Answer one request, empty for none."""
        ...

    def answered(self, pdu: bytes) -> None:
        """Learn that the registers that were asked for so were given, and went out whole."""
        ...


U = TypeVar("U", bound=Unit)


def is_write(pdu: bytes) -> bool:
    """Tell whether a request could change something: all that is not known to be harmless."""
    if pdu[:1] == bytes([LOOP_BACK]):
        return pdu[1:3] != b"\0\0"
    if pdu[:1] == bytes([IDENTIFY]):
        return pdu[1:2] != bytes([READ_IDENTIFICATION])
    return bool(pdu) and pdu[0] not in _HARMLESS


class Slave(Generic[U]):
    """The devices of one line or gateway: by name their unit ids and themselves.

    `polls` counts, by device name, the polls answered whole; `writes` all requests that could
    change something, to whatever unit. `mbap`: Modbus TCP, where a `gateway` answers for units
    that are not there. Each TCP connection has a side of its own by `connect`.
    """

    def __init__(
        self,
        devices: Mapping[str, tuple[int, U]],
        *,
        faults: Faults | None = None,
        mbap: bool = False,
        gateway: bool = True,
    ) -> None:
        self.writes = 0
        self.devices = {name: device for name, (_, device) in devices.items()}
        self.units: dict[int, U] = {}
        for unit, device in devices.values():
            self.units.setdefault(unit, device)
        self.faults = faults or Faults()
        self.mbap = mbap
        self._gateway = gateway and mbap
        self._side = self.connect()

    @property
    def polls(self) -> Mapping[str, int]:
        """Count the polls that were answered whole, by device."""
        return {name: device.polls for name, device in self.devices.items()}

    def connect(self) -> "_Side[U]":
        """Give the side of one more connection."""
        return _Side(self)

    def take(self, data: bytes) -> bytes:
        """Take bytes of requests, whole or in parts; give the answers."""
        return self._side.take(data)

    def sent(self, answer: bytes, *, whole: bool) -> None:
        """Learn what became of the last answer."""
        self._side.sent(answer, whole=whole)

    def respond(self, unit: int, pdu: bytes) -> bytes:
        """Give the answer to one request, empty for none."""
        self.writes += is_write(pdu)
        device = self.units.get(unit)
        if device is not None:
            return device.answer(pdu, self.faults)
        return bytes([pdu[0] | 0x80, _TARGET_SILENT]) if self._gateway and unit else b""


class _Side(Generic[U]):
    """One connection: what has come of it, and which registers its last answer gave."""

    def __init__(self, slave: Slave[U]) -> None:
        self._slave = slave
        self._got = b""
        self._given: list[tuple[int, bytes]] = []

    def take(self, data: bytes) -> bytes:
        self._got += data
        self._given = []
        cut = _next_mbap if self._slave.mbap else _next_rtu
        out = b""
        while (found := cut(self._got)) is not None:
            head, unit, pdu, self._got = found
            answer = self._slave.respond(unit, pdu)
            if answer:
                if answer[0] in {HOLDING, INPUT}:
                    self._given.append((unit, pdu))
                out += self._foreign(head, unit) + _framed(head, unit, answer)
        self._got = self._got[-2 * _LONGEST_FRAME :]
        return out

    def sent(self, answer: bytes, *, whole: bool) -> None:  # noqa: ARG002 - as the line calls it
        if whole:
            for unit, pdu in self._given:
                if device := self._slave.units.get(unit):
                    device.answered(pdu)

    def _foreign(self, head: bytes, unit: int) -> bytes:
        if not self._slave.faults.strikes("foreign"):
            return b""
        other = unit % 247 + 1
        return _framed(head, other, bytes.fromhex("04 04 41 20 00 00"))


# ---------------------------------------------------------------------- frames

_Found = tuple[bytes, int, bytes, bytes]  # transaction, unit, PDU, what follows


def _framed(head: bytes, unit: int, pdu: bytes) -> bytes:
    if not head:
        return rtu(unit, pdu)
    return head + bytes(2) + (len(pdu) + 1).to_bytes(2) + bytes([unit]) + pdu


def _next_mbap(got: bytes) -> _Found | None:
    if len(got) < _MBAP_BYTES:
        return None
    end = _MBAP_BYTES - 1 + int.from_bytes(got[4:6])
    if got[2:4] != b"\0\0" or not _MBAP_BYTES < end <= _MBAP_BYTES + _LONGEST_PDU:
        return None  # not Modbus TCP: there is no way back into step
    if len(got) < end:
        return None
    return got[:2], got[6], got[_MBAP_BYTES:end], got[end:]


def _next_rtu(got: bytes) -> _Found | None:
    """Find the first frame whose CRC is right; what is before it was noise."""
    for start in range(len(got) - _SHORTEST_FRAME + 1):
        end = _end_of_frame(got, start)
        if end is not None and crc(got[start : end - 2]) == got[end - 2 : end]:
            return b"", got[start], got[start + 1 : end - 2], got[end:]
    return None


def _end_of_frame(got: bytes, start: int) -> int | None:
    function = got[start + 1]
    if function in _COUNT_AT:
        at = start + 1 + _COUNT_AT[function]
        end = at + 1 + got[at] + 2 if at < len(got) else len(got) + 1
    elif function in _LENGTHS:
        end = start + 1 + _LENGTHS[function] + 2
    else:
        end = len(got)  # a real device would see the silence after it
    return end if end <= len(got) else None
