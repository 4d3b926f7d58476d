"""One value of a payload becomes one value of the contract: numbers, yes or no, words, texts.

Number formats know no country: a point, no thousands. None is "there is none"; FrameError is
"this cannot be what the field is".
"""

import math
import re
import struct
from typing import TYPE_CHECKING, Any

from heliobus.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridges.mqtt.rules import Plain, Shape, Target

LONGEST_TEXT = 1000
LARGEST_INTEGER = 2**53
ANY = "*"  # in a map: whatever else it is

_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?", re.ASCII)
_LONGEST_NUMBER = 60
_WHOLE = re.compile(r"[-+]?[0-9]+", re.ASCII)
# What programs write where they have no value.
_NOTHING = frozenset(
    (
        *("", "null", "none", "nil", "nan", "-nan", "+nan", "inf", "+inf", "-inf", "infinity"),
        *("+infinity", "-infinity", "unknown", "unavailable", "undefined", "n/a", "-", "--"),
    )
)
_YES_NO = {
    **dict.fromkeys(("1", "true", "on", "yes"), True),
    **dict.fromkeys(("0", "false", "off", "no"), False),
}
# Beyond this a number has more digits than any device measures: dust of binary fractions.
_SHORT = 12
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")


def number(raw: Any) -> float | int | None:
    """Read a number; None for none. Raise FrameError."""
    if isinstance(raw, str):
        text = raw.strip()
        if text.lower() in _NOTHING:
            return None
        if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
            raise FrameError(f"found {shown(raw)}, expected a number")
        raw = int(text) if _WHOLE.fullmatch(text) else float(text)
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise FrameError(f"found {shown(raw)}, expected a number")
    if isinstance(raw, int):
        if abs(raw) > LARGEST_INTEGER:
            raise FrameError(f"found a number beyond {LARGEST_INTEGER}, too large")
        return raw
    return without_dust(raw) if math.isfinite(raw) else None


def without_dust(value: float) -> float:
    """Round what only binary fractions add: 25.600000381469727 is 25.6, 0.30000000000000004 0.3."""
    if len(repr(value)) <= _SHORT:
        return value
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = None
    if single == value:
        for digits in (6, 7, 8):
            shorter = float(f"{value:.{digits}g}")
            if struct.unpack("f", struct.pack("f", shorter))[0] == value:
                return shorter
    return float(f"{value:.14g}")


def scaled(value: float, target: "Target") -> float | int:
    """Apply scale, offset and sign."""
    if target.scale is not None and (target.beyond is None or abs(value) > target.beyond):
        value = without_dust(value * target.scale)
    if target.offset:
        value = without_dust(value + target.offset)
    if target.sign < 0:
        value = -value
    if not math.isfinite(value):
        raise FrameError("found a number without end, too large")
    return value + 0 if isinstance(value, int) else value + 0.0  # never -0.0


def yes_or_no(raw: Any) -> bool | None:
    """Read yes or no; None for neither being said. Raise FrameError."""
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, int | float):
        if raw in (0, 1):
            return bool(raw)
        if not math.isfinite(raw):
            return None
    elif isinstance(raw, str):
        text = raw.strip().lower()
        if text in _YES_NO:
            return _YES_NO[text]
        if text in _NOTHING:
            return None
        if _NUMBER.fullmatch(text) and len(text) <= _LONGEST_NUMBER and float(text) in (0.0, 1.0):
            return float(text) == 1.0
    raise FrameError(f"found {shown(raw)}, expected yes or no (1, 0, true, false, on, off)")


def clean_text(raw: Any) -> str:
    """Give a text that every database and display can hold, cut to the contract's length."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int | float):
        return written(raw)
    if not isinstance(raw, str):
        raise FrameError(f"found {shown(raw)}, expected a text")
    return _UNPRINTABLE.sub(" ", raw[: 2 * LONGEST_TEXT]).strip()[:LONGEST_TEXT]


def written(raw: Any) -> str:
    """Write a plain value as maps do: true, 2, on."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < LARGEST_INTEGER:
        return str(int(raw))
    if isinstance(raw, int) and abs(raw) > LARGEST_INTEGER:
        return "a large number"
    return "" if raw is None else str(raw)


def shown(raw: Any) -> str:
    """Show what was found, in one short line."""
    if isinstance(raw, dict):
        return "an object"
    if isinstance(raw, list):
        return "a list"
    if isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) > LARGEST_INTEGER:
        return "a large number"
    return f"{raw!r:.60}"


def dropped(raw: Any, drop: "frozenset[Plain]") -> bool:
    """Say whether the map counts this as none, however it is written."""
    if not isinstance(raw, str | int | float):
        return False
    if not isinstance(raw, str):
        return any(each == raw and isinstance(each, bool) == isinstance(raw, bool) for each in drop)
    text = raw.strip()
    if text in drop or (text.lower() in ("true", "false") and (text.lower() == "true") in drop):
        return True
    if _NUMBER.fullmatch(text) and len(text) <= _LONGEST_NUMBER:
        return any(each == float(text) for each in drop if not isinstance(each, bool | str))
    return False


def converted(raw: Any, target: "Target", shape: "Shape") -> Any:
    """Give what a field takes: a number, yes or no, a text, a list of texts; None for none."""
    if target.drop and dropped(raw, target.drop):
        return None
    if target.words is not None and raw is not None and raw != "":
        raw = _word(raw, target.words, shape)
    match shape.type:
        case "number":
            return measured(raw, target)
        case "integer":
            return _whole(raw, target)
        case "boolean":
            return yes_or_no(raw)
        case "array":
            return _texts(raw)
        case _:
            return _text(raw, shape)


def measured(raw: Any, target: "Target") -> float | int | None:
    """Read a number and reckon with it as the map says; None for none. Raise FrameError."""
    found = number(raw)
    if found is None or found > target.largest:
        return None
    return scaled(found, target)


def _whole(raw: Any, target: "Target") -> int | None:
    value = measured(raw, target)
    if value is None:
        return None
    if value != int(value):
        raise FrameError(f"found {shown(raw)}, expected a whole number")
    return int(value)


def _text(raw: Any, shape: "Shape") -> str | None:
    if raw is None:
        return None
    text = clean_text(raw)
    if not text:
        return None
    if shape.enum and text not in shape.enum:
        if "unknown" in shape.enum:
            return "unknown"
        raise FrameError(f"found {shown(text)}, expected one of {', '.join(shape.enum)}")
    return text


def _texts(raw: Any) -> list[str] | None:
    if raw is None:
        return None
    items = raw if isinstance(raw, list) else [raw]
    return [text for text in map(clean_text, items[:256]) if text]


def _word(raw: Any, words: "Mapping[str, Plain]", shape: "Shape") -> Any:
    if isinstance(raw, dict | list):
        raise FrameError(f"found {shown(raw)}, expected a word or code")
    text = written(raw).strip()
    if text in words:
        return words[text]
    folded = text.casefold()
    for word, meaning in words.items():
        if word.casefold() == folded:
            return meaning
    code = code_of(raw)
    if code is not None and str(code) in words:
        return words[str(code)]
    if ANY in words:
        return words[ANY]
    if shape.type in ("string", "array"):
        return "unknown"
    known = ", ".join(map(str, words))
    raise FrameError(f"found {shown(raw)}, expected one of {known}"[:300])


def code_of(raw: Any) -> int | None:
    """Give the whole number that a text or number is, None where it is another."""
    if isinstance(raw, str):
        text = raw.strip()
        if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
            return None
        raw = float(text)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    if not math.isfinite(raw) or abs(raw) > LARGEST_INTEGER or raw != int(raw):
        return None
    return int(raw)
