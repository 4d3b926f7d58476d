"""Frames of the Voltronic protocols: requests out, answers in.

    request   QPIGS <CRC high> <CRC low> CR          PI18: ^P005GS <CRC> CR, ^S... for settings
    answer    (230.0 49.9 ... <CRC> CR               PI18: ^D106... <CRC> CR, ^1 and ^0

CRC-16/XMODEM over everything before it. A CRC byte that would equal `(`, CR or LF is sent one
higher; 00 is sent as it is (an Axpert VM IV answered QPIGS with CRC 00 E7). Some units end with
CR LF, some with LF alone. Sources: "HS_MS_MSX RS232 Protocol", 2014; "PI30MAX", 2021.
"""

import re
from binascii import crc_hqx

from heliobus.errors import FrameError

# The longest known answer (QPGSn, 29 fields) has 143 bytes.
LONGEST = 512

_ESCAPED = frozenset(b"(\r\n")
# What stands between two frames: the LF of CR LF, the padding of a hidraw report.
_BETWEEN = b"\r\n\0"
_COMMAND = re.compile(rb"\^?[A-Z][A-Za-z0-9.,:+^-]*")
_PI18_HEAD = re.compile(rb"\^D([0-9]{3})")
_SHOWN = 16
_CRC = 2
_COUNTED = 3  # the number in the head of PI18 counts the fields, the CRC and CR
_SHORTEST = 4  # ^0 or (B, and the CRC


def checksum(data: bytes) -> bytes:
    """Give the two CRC bytes as they stand on the wire."""
    crc = crc_hqx(data, 0)
    high, low = crc >> 8, crc & 0xFF
    return bytes((high + (high in _ESCAPED), low + (low in _ESCAPED)))


def request(command: str) -> bytes:
    """Frame a command of any kind, such as QPIGS, POP02 or ^P005GS."""
    data = command.encode("ascii")
    return data + checksum(data) + b"\r"


def answer(payload: str, end: bytes = b"\r") -> bytes:
    """Frame the payload of an answer, as `take_answer` gives it, as an inverter does."""
    data = payload.encode("ascii")
    if data[:2] == b"^D":
        data = b"^D%03d" % (len(data) - 2 + _COUNTED) + data[2:]
    elif data not in (b"^0", b"^1"):
        data = b"(" + data
    return data + checksum(data) + end


def command_of(data: bytes) -> str | None:
    """Give the command in the bytes of a request, sound or not; None when there is none."""
    body = data.lstrip(_BETWEEN).partition(b"\r")[0]
    if len(body) > _CRC and checksum(body[:-2]) == body[-2:]:
        body = body[:-2]
    found = _COMMAND.match(body)
    return found.group().decode("ascii") if found else None


def take_answer(data: bytes) -> tuple[str, int] | None:
    """Take one answer from the start of `data`: its payload, and how many bytes it used.

    None means that more bytes are needed. The payload is what stands between `(` and the CRC;
    of PI18 `^D` and the fields, `^1` or `^0`. NAK is a payload like any other. Raise FrameError
    when the bytes are no sound answer.
    """
    start = len(data) - len(data.lstrip(_BETWEEN))
    line_feed = data.find(b"\n", start)
    carriage = data.find(b"\r", start)
    # LF alone ends a frame only when the CRC says so: it may also be a damaged byte.
    if line_feed > 0 and (carriage < 0 or line_feed < carriage):
        body = data[start:line_feed]
        if body[:1] in (b"(", b"^") and _sound(body):
            return _payload(body), line_feed + 1
    if carriage >= 0:
        return _payload(data[start:carriage]), carriage + 1
    if len(data) - start > LONGEST:
        raise FrameError(f"found {len(data) - start} bytes without an end, expected CR")
    return None


def _sound(body: bytes) -> bool:
    return len(body) >= _SHORTEST and checksum(body[:-2]) == body[-2:]


def _payload(body: bytes) -> str:
    if body == b"(NAK":  # the 2014 document prints some refusals without CRC
        return "NAK"
    _check(body)
    if body[:1] == b"(":
        text = body[1:-2]
    elif body[:2] in (b"^0", b"^1") and len(body) == _SHORTEST:
        text = body[:2]
    else:
        text = _pi18_payload(body[:-2])
    if not text.isascii() or not text.decode("ascii").isprintable():
        raise FrameError(f"found {_shown(text)}, expected printable text")
    return text.decode("ascii")


def _check(body: bytes) -> None:
    if len(body) < _SHORTEST:
        raise FrameError(f"found {_shown(body)}, expected an answer with its CRC")
    want, found = checksum(body[:-2]), body[-2:]
    if body[:1] not in (b"(", b"^") or body[:2] in (b"^P", b"^S"):
        if want == found:
            raise FrameError(f"found the echo of a request, {_shown(body)}, expected '('")
        raise FrameError(f"found {_shown(body)}, expected an answer that begins with '('")
    if want != found:
        raise FrameError(
            f"CRC is {found.hex(' ')}, expected {want.hex(' ')}: damaged on the way: {_shown(body)}"
        )


def _pi18_payload(body: bytes) -> bytes:
    head = _PI18_HEAD.match(body)
    if head is None:
        raise FrameError(f"found {_shown(body)}, expected '(', '^D', '^0' or '^1'")
    length = len(body) - 5 + _COUNTED
    if int(head.group(1)) != length:
        raise FrameError(f"length is {head.group(1).decode()}, expected {length:03}")
    return b"^D" + body[5:]


def _shown(data: bytes) -> str:
    more = " ..." if len(data) > _SHOWN else ""
    return f"'{data[:_SHOWN].hex(' ')}{more}'"
