"""Registers out of captured frames: what was asked, and the answer to it among what was heard.

RTU frames are unit, PDU, CRC. Those of Modbus TCP begin with MBAP: a number of the request, two
zero bytes, the length of what follows, the unit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from heliobus.errors import FrameError
from heliobus.modbus import HOLDING, INPUT, MOST_REGISTERS, Read, Refused, crc, find_rtu

_LOOP_BACK = 8
_FAILED = 0x80
_SHORTEST = 4  # unit, function, CRC
_EXCEPTION = 5
_MBAP = 7
_READ = 5  # a PDU: function, start, count


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame; `number` is that of MBAP, None on a serial line."""

    unit: int
    pdu: bytes
    number: int | None = None


def registers_of(body: Mapping[str, Any]) -> tuple[Read | None, tuple[int, ...]]:
    """Give what was asked and the registers of the answer; None for a loop-back.

    Raise FrameError, Refused.
    """
    asked = None if body.get("request") is None else _hex(body, "request")
    if body["response"] is None:
        raise FrameError("response: null, the device did not answer")
    heard = _hex(body, "response")
    if asked is None:
        _refuse_alone(heard)
    request = _whole(asked or b"", "request")
    if request.pdu[0] == _LOOP_BACK:
        return _loop_back(request, heard)
    read = _read(request)
    pdu = _tcp(request, read, heard) if request.number is not None else _rtu(read, heard)
    return read, read.registers(pdu)


def _loop_back(request: _Frame, heard: bytes) -> tuple[None, tuple[int, ...]]:
    answer = _whole(heard, "response")
    if answer != request:
        raise FrameError("response: the loop-back came back changed")
    return None, ()


def _refuse_alone(heard: bytes) -> None:
    """Raise for an answer without its request, which does not name its registers."""
    frame = _whole(heard, "response")
    _raise_exception(frame)
    raise FrameError(
        f"an answer of unit {frame.unit} that does not say which registers it gives;"
        ' add "request", the bytes that were sent'
    )


def _raise_exception(frame: _Frame) -> None:
    if frame.pdu[0] & _FAILED and len(frame.pdu) == 2:  # noqa: PLR2004
        function = frame.pdu[0] & ~_FAILED
        raise Refused(f"unit {frame.unit}, function {function}", frame.pdu[1])


def _read(request: _Frame) -> Read:
    pdu = request.pdu
    if pdu[0] not in (HOLDING, INPUT):
        raise FrameError(f"request: found function {pdu[0]}, expected 3 or 4, which read registers")
    if len(pdu) != _READ:
        raise FrameError(f"request: found {len(pdu)} bytes from the function on, expected {_READ}")
    read = Read(request.unit, pdu[0], int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5]))
    if not 1 <= read.count <= MOST_REGISTERS:
        raise FrameError(f"request: asks {read.count} registers, expected 1 to {MOST_REGISTERS}")
    return read


# ---------------------------------------------------------------------- frames


def _whole(data: bytes, what: str) -> _Frame:
    """Take bytes that are one frame and no more. Raise FrameError."""
    if len(data) >= _SHORTEST and crc(data[:-2]) == data[-2:]:
        return _Frame(data[0], data[1:-2])
    if _is_mbap(data):
        return _Frame(data[6], data[7:], int.from_bytes(data[:2]))
    if len(data) < _SHORTEST:
        raise FrameError(f"{what}: found {len(data)} bytes, expected at least {_SHORTEST}")
    raise FrameError(
        f"{what}: wrong CRC: found '{data[-2:].hex(' ')}', expected '{crc(data[:-2]).hex(' ')}';"
        " nor is it a frame of Modbus TCP"
    )


def _is_mbap(data: bytes) -> bool:
    says = int.from_bytes(data[4:6])
    return len(data) > _MBAP and data[2:4] == bytes(2) and says == len(data) - 6


def _rtu(read: Read, heard: bytes) -> bytes:
    """Find the answer on a serial line, as the bridge does: also among noise."""
    if pdu := find_rtu(read, heard):
        return pdu
    if _is_mbap(heard):
        raise FrameError(f"{read}: the request is RTU, but the answer a frame of Modbus TCP")
    for frame in _frames(heard):
        if frame.unit != read.unit:
            raise FrameError(f"{read}: unit {frame.unit} answered")
        return frame.pdu  # of another function or length: to be worded
    raise FrameError(f"{read}: {_damage(read, heard)}")


def _frames(heard: bytes) -> Iterator[_Frame]:
    """Give the frames with a right CRC that begin anywhere."""
    for at in range(len(heard) - _SHORTEST):
        failed = heard[at + 1] & _FAILED
        length = _EXCEPTION if failed else _EXCEPTION + heard[at + 2]
        frame = heard[at : at + length]
        if len(frame) == length and crc(frame[:-2]) == frame[-2:]:
            yield _Frame(frame[0], frame[1:-2])


def _damage(read: Read, heard: bytes) -> str:
    """Word why nothing in it is an answer."""
    wanted = _EXCEPTION + 2 * read.count
    head = bytes([read.unit, read.function, 2 * read.count])
    at = heard.find(head)
    frame = heard[at : at + wanted]
    if at >= 0 and len(frame) == wanted:
        right = crc(frame[:-2]).hex(" ")
        return f"wrong CRC: found '{frame[-2:].hex(' ')}', expected '{right}'"
    if at >= 0:
        return f"the answer is cut: found {len(frame)} bytes, expected {wanted}"
    return f"no answer to it in {len(heard)} bytes"


def _tcp(request: _Frame, read: Read, heard: bytes) -> bytes:
    """Take the answer of Modbus TCP."""
    if not _is_mbap(heard):
        if any(True for _ in _frames(heard)):
            raise FrameError(f"{read}: the request is Modbus TCP, but the answer an RTU frame")
        says = f"; its length says {int.from_bytes(heard[4:6])}" if len(heard) > _MBAP else ""
        raise FrameError(f"{read}: {len(heard)} bytes are no whole frame of Modbus TCP{says}")
    answer = _Frame(heard[6], heard[7:], int.from_bytes(heard[:2]))
    if answer.number != request.number:
        told = f"answers request {answer.number}, expected {request.number}"
        raise FrameError(f"{read}: {told}")
    if answer.unit != read.unit:
        raise FrameError(f"{read}: unit {answer.unit} answered")
    return answer.pdu


def _hex(body: Mapping[str, Any], key: str) -> bytes:
    text = body[key]
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError) as error:
        found = f"found {text!r:.40}"
        raise FrameError(f"{key}: {found}, expected hexadecimal bytes such as 01 04") from error
