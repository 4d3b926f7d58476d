"""Captured Modbus frames: what was asked, and the answer to it among what was heard.

    question, pdu = answer_of({"request": "01 04 00 48 00 02 f1 dd", "response": "01 04 04 ..."})

RTU frames are unit, PDU, CRC. Those of Modbus TCP begin with MBAP: a number of the request, two
zero bytes, the length of what follows, the unit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from heliobus.errors import FrameError
from heliobus.modbus import (
    FAILED,
    HOLDING,
    INPUT,
    MOST_REGISTERS,
    Identify,
    LoopBack,
    Question,
    Read,
    Refused,
    crc,
    find_rtu,
)

Request: TypeAlias = Read | Identify | LoopBack

MOST = 0xFFFF  # of a register, and of the number of one
_LIKE = "01 04"
_LOOP_BACK = b"\x08\0\0"
_IDENTIFY = b"\x2b\x0e\x01"  # the basic identification
_SHORTEST = 4  # unit, function, CRC
_EXCEPTION = 5
_MBAP = 7
_SHORTEST_TCP = 9  # MBAP and an exception
_READ = 5  # a PDU: function, start, count


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame; `number` is that of MBAP, None on a serial line."""

    unit: int
    pdu: bytes
    number: int | None = None


def answer_of(body: Mapping[str, Any]) -> tuple[Request, bytes]:
    """Give what "request" asks and the PDU that answers it in "response". Raise FrameError.

    The PDU may be an exception, which the question tells of.
    """
    asked = None if body.get("request") is None else hexadecimal(body, "request", like=_LIKE)
    if body["response"] is None:
        raise FrameError("response: null, the device did not answer")
    heard = hexadecimal(body, "response", like=_LIKE)
    if asked is None:
        _refuse_alone(heard)
    request = _whole(asked, "request")
    question = _question(request)
    if request.number is not None:
        return question, _tcp(question, request.number, heard)
    return question, _rtu(question, heard, asked)


def _refuse_alone(heard: bytes) -> NoReturn:
    """Raise for an answer without its request, which does not name its registers."""
    frame = _whole(heard, "response")
    if frame.pdu[0] & FAILED and len(frame.pdu) == 2:  # noqa: PLR2004
        function = frame.pdu[0] & ~FAILED
        raise Refused(f"unit {frame.unit}, function {function}", frame.pdu[1])
    raise FrameError(
        f"an answer of unit {frame.unit} that does not say which registers it gives;"
        ' add "request", the bytes that were sent'
    )


def _question(request: _Frame) -> Request:
    unit, pdu = request.unit, request.pdu
    if pdu.startswith(_LOOP_BACK):
        return LoopBack(unit, pdu[len(_LOOP_BACK) :])
    if pdu.startswith(_IDENTIFY) and len(pdu) == len(_IDENTIFY) + 1:
        return Identify(unit, pdu[-1])
    if pdu[0] not in (HOLDING, INPUT):
        raise FrameError(f"request: found function {pdu[0]}, expected 3 or 4, which read registers")
    if len(pdu) != _READ:
        raise FrameError(f"request: found {len(pdu)} bytes from the function on, expected {_READ}")
    read = Read(unit, pdu[0], int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5]))
    if not 1 <= read.count <= MOST_REGISTERS:
        raise FrameError(f"request: asks {read.count} registers, expected 1 to {MOST_REGISTERS}")
    return read


# ---------------------------------------------------------------------- frames


def _whole(data: bytes, what: str) -> _Frame:
    """Take bytes that are one frame and no more. Raise FrameError."""
    if len(data) >= _SHORTEST and crc(data[:-2]) == data[-2:]:
        return _Frame(data[0], data[1:-2])
    tcp = _mbap(data)
    if tcp and len(data) == _length(data):
        return tcp
    if len(data) < _SHORTEST:
        raise FrameError(f"{what}: found {len(data)} bytes, expected at least {_SHORTEST}")
    raise FrameError(f"{what}: {_wrong_crc(data)}; nor is it a frame of Modbus TCP")


def _wrong_crc(frame: bytes) -> str:
    found, right = frame[-2:].hex(" "), crc(frame[:-2]).hex(" ")
    return f"wrong CRC: found '{found}', expected '{right}'"


def _rtu(question: Question, heard: bytes, asked: bytes) -> bytes:
    """Find the answer on a serial line, as the bridge does: also among noise."""
    if pdu := find_rtu(question, heard):
        return pdu
    if isinstance(question, LoopBack):
        raise FrameError("response: the loop-back came back changed")
    if _mbap(heard):
        raise FrameError(f"{question}: the request is RTU, but the answer a frame of Modbus TCP")
    if heard == asked:
        raise FrameError(f"{question}: nothing but the echo of the request")
    heard = heard.removeprefix(asked)
    for frame in _frames(heard):
        if frame.unit != question.unit:
            raise FrameError(f"{question}: unit {frame.unit} answered")
        return frame.pdu  # of another function or length: to be worded
    raise FrameError(f"{question}: {_damage(question, heard)}")


def _frames(heard: bytes) -> Iterator[_Frame]:
    """Give the frames with a right CRC that begin anywhere."""
    for at in range(len(heard) - _SHORTEST):
        failed = heard[at + 1] & FAILED
        length = _EXCEPTION if failed else _EXCEPTION + heard[at + 2]
        frame = heard[at : at + length]
        if len(frame) == length and crc(frame[:-2]) == frame[-2:]:
            yield _Frame(frame[0], frame[1:-2])


def _damage(question: Question, heard: bytes) -> str:
    """Word why nothing in it is an answer."""
    unit, function = question.unit, question.pdu[0]
    heads = [(bytes([unit, function | FAILED]), _EXCEPTION)]
    if isinstance(question, Read):
        bytes_ = 2 * question.count
        heads.insert(0, (bytes([unit, function, bytes_]), _EXCEPTION + bytes_))
    for head, wanted in heads:
        if (at := heard.find(head)) < 0:
            continue
        frame = heard[at : at + wanted]
        if len(frame) == wanted:
            return _wrong_crc(frame)
        return f"the answer is cut: found {len(frame)} bytes, expected {wanted}"
    return f"no answer to it in {len(heard)} bytes"


def _length(data: bytes) -> int:
    """Give how long a frame of Modbus TCP says it is."""
    return _MBAP - 1 + int.from_bytes(data[4:6])


def _mbap(data: bytes) -> _Frame | None:
    """Take the frame of Modbus TCP that data begins with, None where there is no whole one."""
    if len(data) < _SHORTEST_TCP or data[2:4] != bytes(2):
        return None
    length = _length(data)
    if not _SHORTEST_TCP <= length <= len(data):
        return None
    return _Frame(data[6], data[_MBAP:length], int.from_bytes(data[:2]))


def _tcp(question: Question, number: int, heard: bytes) -> bytes:
    """Take the answer of Modbus TCP; others may come before it."""
    found = list(_tcp_frames(heard))
    if not found:
        if any(True for _ in _frames(heard)):
            raise FrameError(f"{question}: the request is Modbus TCP, but the answer an RTU frame")
        says = f"; its length says {int.from_bytes(heard[4:6])}" if len(heard) > _MBAP else ""
        raise FrameError(f"{question}: {len(heard)} bytes are no whole frame of Modbus TCP{says}")
    answer = next((frame for frame in found if frame.number == number), None)
    if answer is None:
        raise FrameError(f"{question}: answers request {found[0].number}, expected {number}")
    if answer.unit != question.unit:
        raise FrameError(f"{question}: unit {answer.unit} answered")
    return answer.pdu


def _tcp_frames(heard: bytes) -> Iterator[_Frame]:
    while frame := _mbap(heard):
        yield frame
        heard = heard[_length(heard) :]


# ---------------------------------------------------------------------- what a line holds


def hexadecimal(body: Mapping[str, Any], key: str, *, like: str) -> bytes:
    """Give bytes that are written as `like` is. Raise FrameError."""
    text = body[key]
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError) as error:
        found = f"found {text!r:.40}"
        raise FrameError(f"{key}: {found}, expected hexadecimal bytes such as {like}") from error


def register(value: Any, what: str) -> int:
    """Give a register, or the number of one. Raise FrameError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise FrameError(f"{what}: found {value!r:.40}, expected a whole number from 0 to {MOST}")
    return value


def registers(value: Any, what: str) -> tuple[int, ...]:
    """Give a list of registers. Raise FrameError."""
    if not isinstance(value, list):
        raise FrameError(f"{what}: found {value!r:.40}, expected a list of whole numbers")
    if len(value) > MOST + 1:
        raise FrameError(f"{what}: found {len(value)} of them, expected at most {MOST + 1}")
    return tuple(register(one, f"{what}[{at}]") for at, one in enumerate(value))
