"""Tables of answers: what stands in which field, and how it becomes values.

A column has a token, the pattern of its field, and a writer, which puts what it found into the
values. The patterns of all columns make the shape of the answer: answers carry no command, so
the shape is the only proof that an answer belongs to its question.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | list[str]
Values: TypeAlias = dict[str, Value]
Write: TypeAlias = Callable[[Values, str], None]

# A device that has nothing to say prints `-`, `--` or `---.-`: such a field gives no value.
_ABSENT = r"-[-.]*"
NUMBER = rf"(?:[-+]?\d{{1,9}}(?:\.\d{{1,6}})?|{_ABSENT})"
DECIMAL = rf"(?:[-+]?\d{{1,9}}\.\d{{1,6}}|{_ABSENT})"
INTEGER = rf"(?:[-+]?\d{{1,9}}|{_ABSENT})"
DIGIT = rf"(?:\d{{1,2}}|{_ABSENT})"
BITS = r"[01]{8}"
FEW_BITS = r"[01]{1,3}"
LETTER = r"[A-Z]"
SERIAL = r"[0-9A-Za-z]{6,30}"


@dataclass(frozen=True, slots=True)
class Column:
    """One field of an answer; `names` are those of the values it can give."""

    token: str
    names: tuple[str, ...]
    write: Write


@dataclass(frozen=True, slots=True)
class Answer:
    """How the payload of an answer looks, and what it says. `expected` is for messages."""

    shape: re.Pattern[str]
    read: Callable[[re.Match[str]], Values]
    names: tuple[str, ...]
    expected: str

    def take(self, payload: str) -> Values | None:
        """Read a payload; None when it has another shape."""
        found = self.shape.match(payload)
        return None if found is None else self.read(found)


@dataclass(frozen=True, slots=True)
class Style:
    """How a family of protocols writes its fields."""

    head: str = ""
    gap: str = " +"
    strange: str = "[!-~]+"
    tail: str = " *"
    separator: str | None = None  # None: runs of spaces


PI30 = Style()
PI18 = Style(head=r"\^D", gap=",", strange="[!-+.-~]*", tail="", separator=",")


def unknown(name: str, token: str = NUMBER) -> Column:
    """Add a field that no document explains to a list, raw."""

    def write(values: Values, found: str) -> None:
        kept = values.setdefault(name, [])
        if isinstance(kept, list):
            kept.append(found)

    return Column(token, (name,), write)


def number(name: str, divisor: int = 1, token: str = NUMBER) -> Column:
    """Read a number; on the wire it is `divisor` times as large."""

    def write(values: Values, text: str) -> None:
        try:
            found = float(text) if "." in text else int(text)
        except ValueError:
            return  # the only other texts that pass the token stand for "absent"
        values[name] = found if divisor == 1 else found / divisor

    return Column(token, (name,), write)


def decimal(name: str) -> Column:
    """Read a number that always has a decimal point: it tells answers apart."""
    return number(name, token=DECIMAL)


def integer(name: str, divisor: int = 1) -> Column:
    """Read a number that never has a decimal point: it tells answers apart."""
    return number(name, divisor, INTEGER)


def choice(name: str, meanings: Mapping[int, str]) -> Column:
    """Read the number of a setting: its meaning, `unknown` for a new one, and the number."""

    def write(values: Values, text: str) -> None:
        if text.isdigit():
            values[name] = meanings.get(int(text), "unknown")
            values[name + "_code"] = int(text)

    return Column(DIGIT, (name, name + "_code"), write)


def yes(name: str, when: str = "1") -> Column:
    """Read `0` or `1`, with or without leading zeros."""

    def write(values: Values, text: str) -> None:
        if text.isdigit() and int(text) <= 1:
            values[name] = text[-1] == when

    return Column(DIGIT, (name,), write)


def text(name: str, token: str) -> Column:
    """Keep a field as it is."""

    def write(values: Values, found: str) -> None:
        values[name] = found

    return Column(token, (name,), write)


def bits(name: str, meanings: Sequence[str], token: str = BITS) -> Column:
    """Read a field of bits: raw, and each that has a meaning; the highest bit comes first."""

    def write(values: Values, found: str) -> None:
        values[name] = found
        for meaning, bit in zip(meanings, found, strict=False):
            if meaning:
                values[meaning] = bit == "1"

    return Column(token, (name, *filter(None, meanings)), write)


def mode(meanings: Mapping[str, str]) -> Column:
    """Read the letter of a working mode; `mode_code` is its ASCII code."""

    def write(values: Values, letter: str) -> None:
        values["mode"] = meanings.get(letter, "unknown")
        values["mode_code"] = ord(letter)

    return Column(LETTER, ("mode", "mode_code"), write)


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of an answer of `least` to `most` fields; strange ones go to `extra`, raw."""

    columns: tuple[Column, ...]
    least: int
    most: int
    extra: str
    style: Style = PI30
    finish: Callable[[Values], None] | None = None
    finish_names: tuple[str, ...] = ()
    _writers: tuple[Write, ...] = field(init=False)
    _keep: Write = field(init=False)

    def __post_init__(self) -> None:
        """Collect the writers once: this is the bridge's hottest loop."""
        object.__setattr__(self, "_writers", tuple(column.write for column in self.columns))
        object.__setattr__(self, "_keep", unknown(self.extra).write)

    def answer(self) -> Answer:
        """Compile the table."""
        names = [name for column in self.columns for name in column.names]
        return Answer(
            shape=re.compile(self._pattern()),
            read=self._read,
            names=tuple(dict.fromkeys((*names, *self.finish_names, self.extra))),
            expected=f"its {self.least} to {self.most} fields",
        )

    def _pattern(self) -> str:
        """Nest the optional fields, so that the first strange one ends the known part."""
        style, tokens = self.style, [column.token for column in self.columns]
        optional = ""
        for token in reversed(tokens[self.least :]):
            optional = f"(?:{style.gap}({token}){optional})?"
        first = style.gap.join(tokens[: self.least])
        rest = f"(?:{style.gap}{style.strange}){{0,{self.most - self.least}}}"
        return f"{style.head}{first}{optional}{rest}{style.tail}\\Z"

    def _read(self, found: re.Match[str]) -> Values:
        style = self.style
        tokens = found.string[2 if style.head else 0 :].split(style.separator)
        known = self.least + (found.lastindex or 0)
        values: Values = {}
        for write, token in zip(self._writers[:known], tokens, strict=False):
            write(values, token)
        for token in tokens[known:]:
            self._keep(values, token)
        if self.finish is not None:
            self.finish(values)
        return values
