"""Registers to values and back: pure.

An image is what was read: (function, register) -> 16-bit word. All arithmetic is decimal, so that
2301 tenths are 230.1.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import TypeAlias

from bridges.modbus.registers import Row
from bridges.modbus.types import TYPES, Value, Values, nan, number, raw

Image: TypeAlias = Mapping[tuple[int, int], int]

UNKNOWN = "unknown"
_DIGITS_PER_BIT = math.log10(2)
# Enough for 64 bits times two scales; no trap: what cannot be computed is left out.
_EXACT = Context(prec=50, traps=[])


def decode(rows: Iterable[Row], scales: Mapping[str, Row], image: Image) -> Values:
    """Give the values of all rows that the image holds; what is absent or implausible is left out.

    Rows of the same name are lists, which are joined.
    """
    # A scale of 0 says nothing, and all that it scales would be 0.
    known = {name: scale for name, row in scales.items() if (scale := _number(row, image))}
    values: Values = {}
    for row in rows:
        held = _whole(row, image)
        if held is None or (found := _value(row, held, known)) is None:
            continue
        joined = values.get(row.name)
        if isinstance(joined, list) and isinstance(found, list):
            found = joined + [text for text in found if text not in joined]
        values[row.name] = found
        if row.code_name:
            values[row.code_name] = held
    return values


def scale_values(scales: Mapping[str, Row], image: Image) -> dict[str, float]:
    """Give the scales that the image holds."""
    found = {name: _number(row, image) for name, row in scales.items()}
    return {name: float(number) for name, number in found.items() if number is not None}


def identity(rows: Mapping[str, Row], image: Image) -> dict[str, str]:
    """Give what the registers tell of who the device is, as texts."""
    found = {}
    for name, row in rows.items():
        held = _whole(row, image)
        value = None if held is None else _value(row, held, {})
        if value is not None and value != UNKNOWN:
            found[name] = str(value)
    return found


def encode(row: Row, value: Value | None, scales: Mapping[str, float]) -> tuple[int, ...]:
    """Give the registers that hold a value, the nearest there is; None: as if it were absent.

    `scales` are numbers by name. Of an enum the value is its text or its number.
    """
    size = 2 * row.count
    if value is None:
        held = _absent(row, size)
    elif row.type == "text":
        held = int.from_bytes(str(value).encode()[:size].ljust(size, b"\0"))
    elif row.type == "bits":
        held = _bits(row, value)
    elif row.type == "enum":
        held = _code(row, value)
    elif row.type == "version":
        held = int.from_bytes(_version(str(value))[:size].ljust(size, b"\0"))
    else:
        held = _unscaled(row, value, scales)
    if row.of and value is not None:
        held = raw(row.of, Decimal(held), size)
    words = [held >> 16 * place & 0xFFFF for place in reversed(range(row.count))]
    return tuple(_ordered(row, words))


# ---------------------------------------------------------------------- registers


def _held(row: Row, image: Image) -> int | None:
    """Give what its registers hold as one number; None: the image lacks some, or it is absent."""
    words = []
    for at in range(row.at, row.end):
        word = image.get((row.function, at))
        if word is None:
            return None
        words.append(word)
    held = 0
    for word in _ordered(row, words):
        held = held << 16 | word
    return None if held in row.absent else held


def _ordered(row: Row, words: list[int]) -> list[int]:
    """Turn words around as the row says; the same leads back. Texts have no low word."""
    if row.swapped:
        words = [word >> 8 | (word & 0xFF) << 8 for word in words]
    return words[::-1] if row.little and row.type != "text" else words


# ---------------------------------------------------------------------- to values


def _whole(row: Row, image: Image) -> int | None:
    """Give the number of which a row tells codes or bits; None where it is none, or not there."""
    held = _held(row, image)
    if held is None or not row.of:
        return held
    found = number(row.of, held, 2 * row.count)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def _value(row: Row, held: int, scales: Mapping[str, Decimal]) -> Value | None:
    if row.type in {"text", "version"}:
        data = held.to_bytes(2 * row.count)
        return _text(data) if row.type == "text" else ".".join(map(str, data))
    if row.type == "enum":
        return row.texts.get(held, UNKNOWN)
    if row.is_flag:
        return any(held >> bit & 1 for bit in row.texts)
    if row.type == "bits":
        bits = (bit for bit in range(16 * row.count) if held >> bit & 1)
        return [row.texts.get(bit, f"bit {bit}") for bit in bits]
    found = _scaled(row, held, scales)
    if found is None or not _is_plausible(row, found):
        return None
    return _shown(row, found)


def _shown(row: Row, found: Decimal) -> float:
    """Give a number with two digits more than the registers can hold; the rest says nothing."""
    if _is_whole(row):
        return int(found)
    shown = float(found.normalize(Context(prec=int(16 * row.count * _DIGITS_PER_BIT) + 3)))
    return shown + 0.0  # of a negative zero it makes zero


def _is_plausible(row: Row, found: Decimal) -> bool:
    # Compared as the floats that will be published: a limit of 0.1 is the float 0.1.
    value = float(found)
    return (row.least is None or value >= row.least) and (row.most is None or value <= row.most)


def _is_whole(row: Row) -> bool:
    """Say whether its values are whole numbers always, not only by chance."""
    plain = row.divide == 1 and not row.scales and not TYPES[row.type].is_float
    return plain and row.factor == int(row.factor)


def _number(row: Row, image: Image) -> Decimal | None:
    held = _held(row, image)
    return None if held is None else _scaled(row, held, {})


def _scaled(row: Row, held: int, scales: Mapping[str, Decimal]) -> Decimal | None:
    found = number(row.type, held, 2 * row.count)
    if found is None or any(name not in scales for name in row.scales):
        return None
    if row.factor == 1 and row.divide == 1 and not row.scales:
        return Decimal(found)
    up, down = _factors(row, scales)
    scaled = _EXACT.divide(_EXACT.multiply(Decimal(found), up), down)
    return scaled if math.isfinite(float(scaled)) else None


def _factors(row: Row, scales: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
    """Give what a raw number is multiplied and divided by."""
    up = Decimal(repr(row.factor))
    for name in row.scales:
        up = _EXACT.multiply(up, scales[name])
    return up, Decimal(repr(row.divide))


def _text(data: bytes) -> str | None:
    """Read a text up to its first NUL; None for an empty one and for erased memory."""
    shown = data.lstrip(b"\0 ").partition(b"\0")[0]
    if not shown.strip(b"\xff"):
        return None
    try:
        text = shown.decode()
    except UnicodeDecodeError:
        text = shown.decode("latin-1")
    return "".join(letter for letter in text if letter.isprintable()).strip() or None


# ---------------------------------------------------------------------- to registers


def _absent(row: Row, size: int) -> int:
    if row.absent:
        return min(row.absent)
    return nan(size) if TYPES[row.of or row.type].is_float else 0


def _version(text: str) -> bytes:
    """Give the bytes of a version such as 2.0; of another text none."""
    parts = text.split(".")
    return bytes(int(part) & 0xFF for part in parts) if all(p.isdecimal() for p in parts) else b""


def _bits(row: Row, value: Value) -> int:
    if row.is_flag:
        return sum(1 << bit for bit in row.texts) if value else 0
    wanted = value if isinstance(value, list) else []
    every = {row.texts.get(bit, f"bit {bit}"): bit for bit in range(16 * row.count)}
    return sum(1 << every[text] for text in set(wanted))


def _code(row: Row, value: Value) -> int:
    if isinstance(value, int):
        return value & (1 << 16 * row.count) - 1
    for code, text in row.texts.items():
        if text == value:
            return code
    return next(code for code in range(1 << 16 * row.count) if code not in row.texts)


def _unscaled(row: Row, value: Value, scales: Mapping[str, float]) -> int:
    size = 2 * row.count
    wanted = Decimal(repr(value)) if isinstance(value, float) else Decimal(0)
    if isinstance(value, int):
        wanted = Decimal(int(value))
    if not wanted.is_finite():
        return _absent(row, size)
    exact = {name: Decimal(repr(scales[name])) for name in row.scales}
    up, down = _factors(row, exact)
    bare = _EXACT.divide(_EXACT.multiply(wanted, down), up)
    held = raw(row.type, bare if bare.is_finite() else Decimal(0), size)
    return _telling(row, held, size) if held in row.absent else held


def _telling(row: Row, held: int, size: int) -> int:
    """Give the raw number nearest to one that would say: not there."""
    here = number(row.type, held, size)
    if not isinstance(here, int):
        return held
    for step in range(1, len(row.absent) + 2):
        for near in (here - step, here + step):
            found = raw(row.type, Decimal(near), size)
            if found not in row.absent:
                return found
    return held
