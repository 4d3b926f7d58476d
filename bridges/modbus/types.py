"""The types of registers: how many a value has, and how a raw number becomes a value and back.

A raw number is what the registers hold, high word first, without sign. Floats are told with as few
digits as tell them apart from their neighbours and are right to four decimals: 10909.2822, not
10909.2822265625.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final, TypeAlias

Value: TypeAlias = bool | int | float | str | list[str]
Values: TypeAlias = dict[str, Value]

# With how many digits a float of so many bytes may be told. Half floats are coarse: the fewest
# that tell them apart would make 53.6 of 53.625.
_DIGITS: Final = MappingProxyType({2: (7,), 4: (6, 7, 8, 9), 8: ()})
_CLOSE: Final = 0.00005
_FORMATS: Final = MappingProxyType({2: ">e", 4: ">f", 8: ">d"})
_LARGEST: Final = MappingProxyType({2: 65504.0, 4: 3.4028234663852886e38, 8: 1.797693134862315e308})


@dataclass(frozen=True, slots=True)
class Type:
    """One type. `registers` 0: the row says how many; `fewest` is then what it has without."""

    registers: int
    fewest: int = 1
    signed: bool = False
    is_float: bool = False
    is_number: bool = True


TYPES: Final[Mapping[str, Type]] = MappingProxyType(
    {
        "u16": Type(1),
        "i16": Type(1, signed=True),
        "u32": Type(2),
        "i32": Type(2, signed=True),
        "u64": Type(4),
        "i64": Type(4, signed=True),
        "f16": Type(1, is_float=True),
        "f32": Type(2, is_float=True),
        "f64": Type(4, is_float=True),
        "text": Type(0, fewest=0, is_number=False),
        "bits": Type(0, is_number=False),
        "enum": Type(0, is_number=False),
        "bcd": Type(0),
        "version": Type(0, is_number=False),
    }
)


def number(kind: str, raw: int, size: int) -> int | Decimal | None:
    """Read a raw number of `size` bytes; None where it is none: NaN, infinity, no decimal digit."""
    known = TYPES[kind]
    if known.is_float:
        return _float(raw, size)
    if kind == "bcd":
        digits = f"{raw:x}"
        return int(digits) if digits.isdecimal() else None
    return raw - (1 << 8 * size) if known.signed and raw >> 8 * size - 1 else raw


def raw(kind: str, value: Decimal, size: int) -> int:
    """Write a number as a raw one, the nearest that the type can hold."""
    known = TYPES[kind]
    if known.is_float:
        largest = _LARGEST[size]
        held = max(-largest, min(largest, float(value)))
        return int.from_bytes(struct.pack(_FORMATS[size], held))
    most = 10 ** (2 * size) - 1 if kind == "bcd" else (1 << 8 * size - known.signed) - 1
    least = -most - 1 if known.signed else 0
    whole = int(max(Decimal(least), min(Decimal(most), value)).to_integral_value())
    return int(str(whole), 16) if kind == "bcd" else whole % (1 << 8 * size)


def nan(size: int) -> int:
    """Give the raw number of a float that is not a number."""
    return int.from_bytes(struct.pack(_FORMATS[size], math.nan))


def _float(raw: int, size: int) -> Decimal | None:
    how = _FORMATS[size]
    value: float = struct.unpack(how, raw.to_bytes(size))[0]
    if not math.isfinite(value):
        return None
    for digits in _DIGITS[size]:
        short = f"{value:.{digits}g}"
        if _read(how, short) == value and abs(float(short) - value) <= _CLOSE:
            return Decimal(short)
    return Decimal(repr(value))


def _read(how: str, text: str) -> float | None:
    """Give the float of that format nearest to a text; None beyond its range."""
    try:
        found: float = struct.unpack(how, struct.pack(how, float(text)))[0]
    except OverflowError:
        return None
    return found
