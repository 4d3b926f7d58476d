"""The messages of a profile are made and checked: what is written, against the contract."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bridges.can.frames import MOST_BYTES, NUMBERS, Field, Guard, Message
from heliobus.errors import guess

if TYPE_CHECKING:
    from heliobus.contract import Contract
    from heliobus.contract import Field as Known
    from heliobus.shelf import Source

Place: TypeAlias = tuple[str, ...]

_NUMBERS: Final = frozenset(NUMBERS)
_LISTS: Final = frozenset({"bits", "pair2"})
_TEXTS: Final = frozenset({"ascii", "version"})
# Which types a key goes with.
_KEYS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(("scale", "add", "invalid", "abs", "guard", "min", "max"), _NUMBERS),
        "bit": frozenset({"bit"}),
        "texts": _LISTS,
        "length": _LISTS | _TEXTS,
    }
)
_FIT: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "number": _NUMBERS,
        "integer": _NUMBERS,
        "string": _TEXTS,
        "boolean": frozenset({"bit"}),
        "array": _LISTS,
    }
)
_WORDS: Final = MappingProxyType(
    {
        "number": "a number",
        "integer": "a whole number",
        "string": "a text",
        "boolean": "true or false",
        "array": "a list of texts",
    }
)
_LENGTHS: Final = MappingProxyType({"bit": 1, "bits": 1, "pair2": 1, "version": 2, "ascii": 0})


@dataclass(frozen=True, slots=True)
class Written:
    """What a file says of a message or one of its rows, and where."""

    source: "Source"
    place: Place
    name: str
    values: Mapping[str, Any]

    def fault(self, told: str, *key: str) -> None:
        """Note a fault of it, or of one of its keys."""
        self.source.fault((*self.place, *key), told)

    def rows(self, key: str) -> Iterator["Written"]:
        """Give the rows of a list; those that could not be read are told already."""
        for index, values in enumerate(self.values.get(key) or ()):
            if values is not None and values.get("name") and values.get("type"):
                place = (*self.place, key, f"[{index}]")
                yield Written(self.source, place, values["name"], values)


class Maker:
    """Makes messages. What is wrong is noted where it stands; something comes of it."""

    def __init__(self, contract: "Contract", kind: str, defaults: Mapping[str, Any]) -> None:
        """Take the kind, "" for one that is not known, and what counts for silent messages."""
        self._contract = contract
        self._kind = kind
        self._defaults = defaults

    def message(self, number: int, written: Written) -> Message:
        """Make one message."""
        values = {**self._defaults, **written.values}
        fields: list[Field] = []
        for row in written.rows("fields"):
            self._check_name(row, fields)
            fields.append(_row(row, fields))
        return Message(
            id=number,
            fields=tuple(fields),
            identity=tuple(_row(row, ()) for row in written.rows("identity")),
            min_dlc=written.values.get("min_dlc") or 0,
            is_big=values.get("order") == "big",
            max_age_s=values.get("max_age") or 10.0,
        )

    def _check_name(self, written: Written, before: Iterable[Field]) -> None:
        name, kind = written.name, self._kind
        known = self._contract.field(kind, name) if kind else None
        if known is None:
            if kind:
                written.fault(self._contract.no_field(kind, name), "name")
            return
        if known.type not in ("boolean", "array") and name in {row.name for row in before}:
            written.fault(f"{name!r} is there twice; delete one", "name")
        _check_type(written, known)


def _row(written: Written, before: Iterable[Field]) -> Field:
    values, kind = written.values, written.values["type"]
    for key, types in _KEYS.items():
        if key in values and values[key] is not None and kind not in types:
            written.fault(f"goes with type: {_any_of(types)}, not with {kind}", key)
    length = NUMBERS[kind][0] if kind in NUMBERS else values.get("length") or _LENGTHS[kind]
    at = values.get("at") or 0
    if at + length > MOST_BYTES:
        told = f"ends at byte {at + length - 1}, but a frame has at most {MOST_BYTES}, from 0 to 7"
        written.fault(told, *(("at",) if values.get("at") else ()))
    return Field(
        name=written.name,
        at=at,
        type=kind,
        length=length,
        scale=_scale(written),
        add=Decimal(repr(values.get("add") or 0)),
        invalid=_invalid(written, length),
        is_absolute=bool(values.get("abs")),
        guard=_guard(written, before),
        **_range(written),
        min_dlc=values.get("min_dlc") or 0,
        bit=_bit(written, kind),
        texts=_texts(written, kind, length),
    )


def _scale(written: Written) -> Decimal:
    if written.values.get("scale") == 0:
        written.fault("found 0, expected another number", "scale")
    return Decimal(repr(written.values.get("scale") or 1))


def _bit(written: Written, kind: str) -> int:
    if kind == "bit" and "bit" not in written.values:
        written.fault("'bit' is missing; say which bit of the byte it is, 0 the lowest")
    return written.values.get("bit") or 0


def _range(written: Written) -> dict[str, float | None]:
    least, most = written.values.get("min"), written.values.get("max")
    if least is not None and most is not None and least > most:
        written.fault(f"found {least:g}, which is above max {most:g}", "min")
    return {"least": least, "most": most}


def _guard(written: Written, before: Iterable[Field]) -> Guard | None:
    guard = written.values.get("guard")
    if not guard or not guard.get("of") or guard.get("within") is None:
        return None
    known = [row.name for row in before if row.type in NUMBERS]
    if guard["of"] not in known:
        told = f"{guard['of']!r} is no number of this message above it{guess(guard['of'], known)}"
        written.fault(told, "guard", "of")
    return Guard(guard["of"], Decimal(repr(guard["within"])))


def _invalid(written: Written, length: int) -> frozenset[int]:
    numbers, most = written.values.get("invalid") or (), (1 << 8 * length) - 1
    for index, number in enumerate(numbers):
        if number is not None and number > most:
            told = f"found {number}, expected the number without sign, at most {most:,}"
            written.fault(told, "invalid", f"[{index}]")
    return frozenset(number for number in numbers if number is not None)


def _texts(written: Written, kind: str, length: int) -> dict[int, str]:
    """Give the texts of bits or pairs by number."""
    if kind not in _LISTS:
        return {}
    if not written.values.get("texts"):
        written.fault("'texts' is missing; say what its bits mean")
    most = 8 * length // (2 if kind == "pair2" else 1) - 1
    found: dict[int, str] = {}
    for word, text in (written.values.get("texts") or {}).items():
        number = int(word, 0) if re.fullmatch("0x[0-9a-fA-F]+|0|[1-9][0-9]*", word) else -1
        if not 0 <= number <= most:
            told = f"found {word!r:.30}, expected a whole number from 0 to {most}"
            written.fault(told, "texts", word)
        elif number in found:
            written.fault(f"the number {number} is there twice; delete one", "texts", word)
        if text is not None:
            found.setdefault(number, text)
    return found


def _check_type(written: Written, known: "Known") -> None:
    """Note where the type of a row cannot give what its field takes."""
    kind, fit = written.values["type"], _FIT[known.type]
    if kind not in fit:
        told = f"found {kind!r}, but {known.name} is {_WORDS[known.type]}"
        written.fault(f"{told}; expected {_any_of(fit)}", "type")
        return
    for key in ("scale", "add"):
        number = written.values.get(key)
        if known.type == "integer" and number is not None and number != int(number):
            written.fault(f"{known.name} is a whole number, which cannot have parts", key)


def _any_of(types: frozenset[str]) -> str:
    """Word types for a message, without naming all."""
    return "u16, s16 or the like" if types == _NUMBERS else " or ".join(sorted(types))
