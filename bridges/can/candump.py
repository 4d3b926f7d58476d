"""Frames as text: what `candump` shows and writes, and what `cansend` takes.

    (1700000000.123456) can0 355#5D006400            candump -l, -L
      can0  355   [4]  5D 00 64 00   ']d.'           candump, with -t also a time, with -a letters
    355#5D006400                                     cansend

An identifier of 29 bits has eight digits. `#R` asks for data, `##` is CAN FD; an error frame has
bit 29 set.
"""

import calendar
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bridges.can.frames import (
    EXTENDED,
    LARGEST_EXTENDED,
    LARGEST_STANDARD,
    MOST_BYTES,
    told,
)
from heliobus.errors import FrameError

_ERROR_FLAG: Final = 1 << 29
_DIGITS_OF_29_BITS: Final = 8
_LONGEST: Final = 400  # a line of CAN FD with letters has 300

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ID = r"(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})"
_TIME = r"\((?P<time>[^()]{1,40})\)"
_CHANNEL = r"(?P<channel>[^\s()#]{1,32})"
_SHORT = re.compile(
    rf"(?:{_TIME}\s+)?(?:{_CHANNEL}\s+)?{_ID}(?P<mark>##|#)(?P<rest>[0-9A-Za-z._]*)(?:\s+[RT])?"
)
_LONG = re.compile(
    rf"(?:{_TIME}\s+)?{_CHANNEL}\s+(?:(?:RX|TX)\s+\S\s+\S\s+)?{_ID}"
    r"\s+\[(?P<count>[0-9]{1,2})\](?P<rest>.*)"
)
_REMOTE = re.compile(r"R[0-9A-F]?(?:_[0-9A-F])?")
_FD = re.compile(r"[0-9A-Fa-f](?:[0-9A-Fa-f]{2}){0,64}")
_DATA = re.compile(r"(?P<data>(?:[0-9A-Fa-f]{2}\.?)*)(?:_[0-9A-Fa-f])?")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}\.[0-9]{1,9})")


class Sort(Enum):
    """What sort of frame a line shows."""

    DATA = "data"
    REMOTE = "a remote request"
    FD = "a frame of CAN FD"
    ERROR = "an error frame"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Only of `DATA` there are bytes.

    `at_s` is as it stands there: absolute, since the first line, or since the line before; a date
    is counted as UTC. None: without a time. An identifier of 29 bits has `EXTENDED` added.
    """

    id: int
    data: bytes = b""
    sort: Sort = Sort.DATA
    at_s: float | None = None
    channel: str = ""


def read(text: str) -> Line:
    """Read a line in any of these forms. Raise FrameError."""
    plain = _COLOUR.sub("", text[:_LONGEST]).strip()
    found, content = _SHORT.fullmatch(plain), _short
    if found is None:
        found, content = _LONG.fullmatch(plain), _long
    if found is None:
        like = "'(0.000000) can0 355#5D006400' or 'can0  355   [4]  5D 00 64 00'"
        raise FrameError(f"found {plain!r:.60}, expected a line of candump such as {like}")
    digits = found["id"]
    number = int(digits, 16)
    at_s, channel = _time(found["time"]), found["channel"] or ""
    if len(digits) == _DIGITS_OF_29_BITS and number & _ERROR_FLAG:
        return Line(number & LARGEST_EXTENDED, sort=Sort.ERROR, at_s=at_s, channel=channel)
    identifier = _identifier(digits, number)
    sort, data = content(found)
    return Line(identifier, data, sort, at_s, channel)


def log_line(line: Line) -> str:
    """Write a line as `candump -l` does."""
    return f"({line.at_s or 0.0:017.6f}) {line.channel or 'can0'} {send_text(line)}"


def send_text(line: Line) -> str:
    """Write a frame as `cansend` takes it."""
    return told(line.id) + ("#R" if line.sort is Sort.REMOTE else f"#{line.data.hex().upper()}")


def view_line(line: Line, *, letters: bool = False) -> str:
    """Write a line as `candump` shows it: with its time, if it has one, as by -ta.

    `letters` adds the bytes as ASCII, as by -a.
    """
    time = "" if line.at_s is None else f" ({line.at_s:017.6f})"
    head = f"{time}  {line.channel or 'can0'}  {told(line.id)}   [{len(line.data)}]  "
    if line.sort is Sort.REMOTE:
        return f"{head}remote request"
    shown = " ".join(f"{byte:02X}" for byte in line.data)
    if not letters:
        return (head + shown).rstrip()
    ascii_column = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line.data)  # noqa: PLR2004  # printable
    return f"{head}{shown:{3 * MOST_BYTES}}  '{ascii_column}'"


def _identifier(digits: str, number: int) -> int:
    """Check an identifier; one of 29 bits gets its flag. Raise FrameError."""
    if len(digits) == _DIGITS_OF_29_BITS:
        if number > LARGEST_EXTENDED:
            raise FrameError(f"identifier: found {digits}, expected at most 1FFFFFFF")
        return number | EXTENDED
    if number > LARGEST_STANDARD:
        raise FrameError(f"identifier: found {digits}, expected at most 7FF, or eight digits")
    return number


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    date = _DATE.fullmatch(text)
    if date is None:
        raise FrameError(f"time: found {text!r}, expected one of candump such as 1700000000.123456")
    year, month, day, hour, minute = (int(part) for part in date.groups()[:5])
    return calendar.timegm((year, month, day, hour, minute, 0)) + float(date[6])


def _short(found: re.Match[str]) -> tuple[Sort, bytes]:
    rest = found["rest"]
    if found["mark"] == "##":
        if _FD.fullmatch(rest):
            return Sort.FD, b""
    elif _REMOTE.fullmatch(rest):
        return Sort.REMOTE, b""
    elif data := _DATA.fullmatch(rest):
        return Sort.DATA, _bytes(data["data"].replace(".", ""))
    raise FrameError(f"data: found {rest!r:.40}, expected hexadecimal bytes such as 5D006400")


def _long(found: re.Match[str]) -> tuple[Sort, bytes]:
    rest, count = found["rest"].strip(), int(found["count"])
    if rest.startswith("remote request"):
        return Sort.REMOTE, b""
    if len(found["count"]) > 1:
        return Sort.FD, b""
    words = rest.split()[:count] if count else []
    if len(words) < count or any(not re.fullmatch("[0-9A-Fa-f]{2}", word) for word in words):
        raise FrameError(f"data: found {rest!r:.40}, expected {count} bytes such as 5D 00")
    after = rest.split()[count:]
    if after and not after[0].startswith("'"):
        raise FrameError(f"data: found {rest!r:.40}, expected {count} bytes and no more")
    return Sort.DATA, _bytes("".join(words))


def _bytes(digits: str) -> bytes:
    data = bytes.fromhex(digits)
    if len(data) > MOST_BYTES:
        raise FrameError(f"data: found {len(data)} bytes, expected at most {MOST_BYTES}")
    return data
