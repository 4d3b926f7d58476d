"""Durations, sizes, names and plain words as people write them."""

import re
import unicodedata

from heliobus.errors import ConfigError
from heliobus.topics import fits, slug

_PLAIN = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?\Z")
_DURATION = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(ms|s|min|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*((?:[kmgt]i?)?b?)\Z", re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_HEXADECIMAL = re.compile(r"0x[0-9A-Fa-f]{1,15}\Z")
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]{0,17})(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,2})?\Z")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def duration_s(text: str) -> float:
    """Read `5s`, `4m`, `1h30m`, `7d` or plain seconds as seconds. Raise ConfigError."""
    if _PLAIN.match(text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ConfigError(f"found {text!r:.60}, expected a duration such as 5s, 4m, 24h or 7d")
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def seconds(stated: float | str) -> float:
    """Read a duration that may stand as a plain number. Raise ConfigError."""
    return duration_s(stated) if isinstance(stated, str) else float(stated)


def duration_text(seconds: float) -> str:
    """Word seconds as `duration_s` reads them: 1h for 3600, 24h for a day, 100ms for 0.1."""
    for unit in ("d", "h", "m", "s", "ms"):
        number = round(seconds / _SECONDS[unit], 6)
        if number >= (2 if unit == "d" else 1) and number == int(number):
            return f"{int(number)}{unit}"
    return f"{seconds:g}s"


def size_bytes(text: str) -> int:
    """Read `256 MB`, `1 GiB` or plain bytes as bytes. Raise ConfigError."""
    match = _SIZE.match(text.strip())
    if not match:
        raise ConfigError(f"found {text!r:.60}, expected a size such as 64 kB, 256 MB or 1 GB")
    unit = match[2].lower().removesuffix("b")
    step = 1024 if unit.endswith("i") else 1000
    return round(float(match[1]) * float(step ** _POWERS[unit.removesuffix("i")]))


def name(text: str) -> str:
    """Give a name that may stand in a topic. Raise ConfigError with one that might do."""
    try:
        return slug(text, "")
    except ConfigError as error:
        told = str(error).removeprefix(": ")
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
        better = re.sub("[^a-z0-9]+", "_", plain).strip("_")
        hint = f"; did you mean {better!r}?" if fits(better) else ""
        raise ConfigError(told + hint) from error


def plain(text: str, types: tuple[str, ...], *, quoted: bool) -> bool | float | str | None:
    """Read a word as the first type of JSON Schema it fits; None when it fits none."""
    if not quoted:
        if "boolean" in types and text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        whole = "integer" in types or "number" in types
        if whole and (_INTEGER.match(text) or _HEXADECIMAL.match(text)):
            return int(text, 0)
        if "number" in types and _NUMBER.match(text):
            return float(text)
    return text if "string" in types else None
