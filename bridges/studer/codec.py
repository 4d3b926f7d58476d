"""Values in the frames of SCOM, the protocol of Studer's Xcom-232i and Xcom-LAN; see frame.py.

    unpack(Format.FLOAT, bytes.fromhex("00C04541")) -> 12.359375

No number (NaN) means that there is no value now. Two answers have more than one value: an entry of
the log, and many infos at once, in which enums are floats, too.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Self, TypeAlias

from heliobus.errors import FrameError

Value: TypeAlias = bool | int | float | str

_ENTRY = struct.Struct("<IHIII")
_INFOS = struct.Struct("<II")
_TOLD = struct.Struct("<HBf")
_CHARSET = "iso-8859-15"
# A single has 7 to 9 digits; the fewest that give it back are those that were meant.
_DIGITS = range(6, 10)


class Format(Enum):
    """How the value of an object stands in its answer."""

    BOOL = "<?"
    SHORT_ENUM = "<H"
    LONG_ENUM = "<I"
    INT32 = "<i"
    FLOAT = "<f"
    STRING = ""


def unpack(form: Format, data: bytes) -> Value | None:
    """Give a value; None is not a number: there is none now. Raise FrameError."""
    if form is Format.STRING:
        return data.rstrip(b"\0").decode(_CHARSET)
    size = struct.calcsize(form.value)
    if len(data) != size:
        raise FrameError(f"found {len(data)} bytes, expected {size} of a value in {form.name}")
    if form is Format.BOOL and data > b"\1":
        raise FrameError(f"found {data[0]}, expected 0 or 1 of a value in BOOL")
    value: Value = struct.unpack(form.value, data)[0]
    return _number(value) if isinstance(value, float) else value


def pack(form: Format, value: Value | None) -> bytes:
    """Put a value into the bytes of an answer; None is not a number, and only a FLOAT can be it."""
    if form is Format.STRING:
        return str(value).encode(_CHARSET)
    return struct.pack(form.value, math.nan if value is None else value)


def _number(single: float) -> float | None:
    """Give a number of single precision with the digits that it has; None where it is none."""
    if not math.isfinite(single):
        return None
    shorter = (float(f"{single:.{digits}g}") for digits in _DIGITS)
    return next((number for number in shorter if _is(number, single)), single)


def _is(number: float, single: float) -> bool:
    try:
        return struct.pack("<f", number) == struct.pack("<f", single)
    except OverflowError:  # rounded up beyond the largest
        return False


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. `time_s`: the clock of the installation, as if it were UTC."""

    total: int
    number: int
    source: int
    time_s: int
    value: int

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Take the data of an answer. Raise FrameError."""
        if len(data) != _ENTRY.size:
            raise FrameError(f"found {len(data)} bytes of a message, expected {_ENTRY.size}")
        return cls(*_ENTRY.unpack(data))

    def pack(self) -> bytes:
        """Give the data of an answer."""
        return _ENTRY.pack(self.total, self.number, self.source, self.time_s, self.value)


@dataclass(frozen=True, slots=True)
class Infos:
    """Many infos at once, each by (number, device). `flags`: which families are there."""

    flags: int
    time_s: int
    values: Mapping[tuple[int, int], float | None]

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Take the data of an answer. Raise FrameError."""
        if len(data) < _INFOS.size or (len(data) - _INFOS.size) % _TOLD.size:
            raise FrameError(f"found {len(data)} bytes of infos, expected 8 and 7 for each")
        values = {
            (number, device): _number(value)
            for number, device, value in _TOLD.iter_unpack(data[_INFOS.size :])
        }
        flags, time_s = _INFOS.unpack_from(data)
        return cls(flags, time_s, values)

    def pack(self) -> bytes:
        """Give the data of an answer."""
        told = (
            _TOLD.pack(number, device, math.nan if value is None else value)
            for (number, device), value in self.values.items()
        )
        return _INFOS.pack(self.flags, self.time_s) + b"".join(told)
