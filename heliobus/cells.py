"""The pieces of a table for a terminal: how they stand out, and values in words. No I/O."""

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from heliobus.sample import Value, time_text

if TYPE_CHECKING:  # only its name is needed
    from heliobus.contract import Field

_AHEAD_MS = 10_000
_AGES = ((2 * 86400, 86400, "d"), (2 * 3600, 3600, "h"), (120, 60, "min"))


class Style(Enum):
    """How a piece of a row stands out."""

    PLAIN = "plain"
    NAME = "name"
    ALARM = "alarm"


Piece: TypeAlias = tuple[str, Style]
Row: TypeAlias = tuple[Piece, ...]


def row(text: str) -> Row:
    """Give a row that does not stand out."""
    return ((text, Style.PLAIN),)


def printable(text: str) -> str:
    """Take out what a terminal could take for a command."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def plain(value: Value, known: "Field | None" = None) -> str:
    """Write a value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if known is not None and known.precision is not None and isinstance(value, int | float):
        return f"{value:,.{known.precision}f}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def count(number: int, word: str) -> str:
    """Write a number of things."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def ago(age_ms: int) -> str:
    """Say how old something is; clocks that differ by some seconds are no news."""
    if age_ms < -_AHEAD_MS:
        return f"{age(-age_ms)} in the future"
    return f"{age(max(0, age_ms))} ago"


def age(age_ms: int) -> str:
    """Write an age in its largest unit that fits."""
    seconds = age_ms // 1000
    for least_s, unit_s, unit in _AGES:
        if seconds >= least_s:
            return f"{seconds // unit_s} {unit}"
    return f"{seconds} s"


def clock(ms: int) -> str:
    """Give the time of day, UTC."""
    return time_text(ms)[11:19]
