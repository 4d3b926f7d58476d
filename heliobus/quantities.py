"""Durations and sizes as people write them."""

import re

from heliobus.errors import ConfigError

_PLAIN = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?\Z")
_DURATION = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(ms|s|min|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*((?:[kmgt]i?)?b?)\Z", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def duration_s(text: str) -> float:
    """Read `5s`, `4m`, `1h30m`, `7d` or plain seconds as seconds. Raise ConfigError."""
    if _PLAIN.match(text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ConfigError(f"found {text!r:.60}, expected a duration such as 5s, 4m, 24h or 7d")
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def size_bytes(text: str) -> int:
    """Read `256 MB`, `1 GiB` or plain bytes as bytes. Raise ConfigError."""
    match = _SIZE.match(text.strip())
    if not match:
        raise ConfigError(f"found {text!r:.60}, expected a size such as 64 kB, 256 MB or 1 GB")
    unit = match[2].lower().removesuffix("b")
    step = 1024 if unit.endswith("i") else 1000
    return round(float(match[1]) * float(step ** _POWERS[unit.removesuffix("i")]))
