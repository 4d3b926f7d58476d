"""The rows of a profile are made and checked: what is written, against the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bridges.modbus.registers import Group, Row
from bridges.modbus.types import TYPES
from bridges.modbus.units import OFFSETS, conversion, fitting
from heliobus.errors import guess

if TYPE_CHECKING:
    from heliobus.contract import Contract, Field
    from heliobus.shelf import Source

Place: TypeAlias = tuple[str, ...]

_LAST = 65535
_NUMBERS: Final = frozenset(name for name, one in TYPES.items() if one.is_number)
_WHOLE: Final = frozenset(name for name in _NUMBERS if not TYPES[name].is_float)
# Which types a key goes with.
_KEYS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(("factor", "divide", "scale", "unit", "min", "max"), _NUMBERS),
        "codes": frozenset({"enum"}),
        "bits": frozenset({"bits"}),
        "of": frozenset({"enum", "bits"}),
        "absent": _NUMBERS | {"bits", "enum"},
    }
)
_DEFAULTS: Final = ("type", "function", "words", "bytes")


@dataclass(frozen=True, slots=True)
class Written:
    """What a file says of one row, and where."""

    source: "Source"
    place: Place
    name: str
    values: Mapping[str, Any]

    @property
    def is_whole(self) -> bool:
        """Say whether all of it could be read; else its faults are told already."""
        return "at" in self.values and not _has_gaps(self.values)

    def fault(self, told: str, *key: str) -> None:
        """Note a fault of the row, or of one of its keys."""
        self.source.fault((*self.place, *key), told)

    def line_for(self, other: "Written") -> str:
        """Word where this is, for a message about another row."""
        line = self.source.line(self.place)
        return f"line {line}" if self.source is other.source else f"{self.source.path}:{line}"


def _has_gaps(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_gaps(each) for each in value.values())
    if isinstance(value, list):
        return any(_has_gaps(each) for each in value)
    return value is None


class Maker:
    """Makes the rows of one profile. What is wrong is noted where it stands; a row comes of it."""

    def __init__(self, contract: "Contract", kind: str, defaults: Mapping[str, Any]) -> None:
        """Take the kind, "" for one that is not known, and what counts where a row says nothing."""
        self._contract = contract
        self._kind = kind
        self._defaults = defaults

    def field_row(self, written: Written, scales: Mapping[str, Row]) -> Row | None:
        """Make a row of `registers`; None where its place could not be read."""
        known = self._field(written) if self._kind else None
        if not written.is_whole:
            return None
        for index, name in enumerate(written.values.get("scale", ())):
            if name not in scales:
                told = f"{name!r} is not one of its scales{guess(name, scales)}"
                written.fault(told, "scale", f"[{index}]")
        row = self._row(written, known)
        if known is not None and row.type in TYPES:
            _check_type(written, row, known)
        return row

    def plain_row(self, written: Written, *, types: frozenset[str]) -> Row | None:
        """Make a row of `scales` or `identity`, which has no field."""
        if not written.is_whole:
            return None
        row = self._row(written, None)
        if row.type not in types:
            told = f"found {row.type!r}, expected {_any_of(types)}"
            written.fault(told, *(("type",) if "type" in written.values else ()))
        return row

    def _field(self, written: Written) -> "Field | None":
        name, kind = written.name, self._kind
        known = self._contract.field(kind, name)
        if known is not None or not name:
            return known
        written.fault(self._contract.no_field(kind, name), "name")
        return None

    def _row(self, written: Written, known: "Field | None") -> Row:
        values = {**{key: self._defaults[key] for key in _DEFAULTS}, **written.values}
        kind, of = values["type"], values.get("of", "")
        for key, types in _KEYS.items():
            if key in written.values and kind not in types:
                written.fault(f"goes with type: {_any_of(types)}, not with {kind}", key)
        count = _count(written, of or kind)
        up, down = _factors(written, known)
        row = Row(
            name=written.name,
            at=values["at"],
            count=count,
            type=kind,
            function=values["function"],
            little=values["words"] == "little",
            swapped=values["bytes"] == "little",
            factor=up,
            divide=down,
            scales=tuple(values.get("scale", ())),
            absent=_absent(written, count),
            least=values.get("min"),
            most=values.get("max"),
            texts=_texts(written, kind, count),
            group=Group(values.get("group", "fast")),
            code_name=self._code_name(written, kind, known),
            is_flag=known is not None and known.type == "boolean" and kind == "bits",
            of=of,
        )
        _check_range(written, row)
        return row

    def _code_name(self, written: Written, kind: str, known: "Field | None") -> str:
        """Name the field that has the number of an enum, "" where there is none."""
        code = f"{written.name}_code"
        has_code = kind == "enum" and known is not None and self._contract.field(self._kind, code)
        return code if has_code else ""


# ---------------------------------------------------------------------- the parts of a row


def _count(written: Written, kind: str) -> int:
    known, said = TYPES[kind], written.values.get("count")
    if known.registers:
        if said not in (None, known.registers):
            told = f"found {said}, but {kind} has {known.registers}; leave it out"
            written.fault(told, "count")
        return known.registers
    if said is None and not known.fewest:
        written.fault(f"'count' is missing; say how many registers this {kind} has")
    return int(said or 1)


def _factors(written: Written, known: "Field | None") -> tuple[float, float]:
    """Give factor and divisor, with those of the unit."""
    for key in ("factor", "divide"):
        if written.values.get(key) == 0:
            written.fault("found 0, expected another number", key)
    up = Decimal(repr(written.values.get("factor", 1))) or Decimal(1)
    down = Decimal(repr(written.values.get("divide", 1))) or Decimal(1)
    change = _unit(written, known)
    return float(up * change.numerator), float(down * change.denominator)


def _unit(written: Written, known: "Field | None") -> Fraction:
    unit = written.values.get("unit")
    if unit is None or known is None:
        return Fraction(1)
    found = conversion(unit, known.unit) if known.unit else None
    if found is not None:
        return found
    if not known.unit:
        written.fault(f"found {unit!r}, but {known.name} has no unit; leave it out", "unit")
    else:
        choices = fitting(known.unit)
        why = f"; {OFFSETS[unit]}" if unit in OFFSETS else ""
        why = next(
            (f"; did you mean {one!r}?" for one in choices if one.lower() == unit.lower()), why
        )
        written.fault(f"found {unit!r}, expected {_either(choices)}{why}", "unit")
    return Fraction(1)


def _absent(written: Written, count: int) -> frozenset[int]:
    numbers, most = written.values.get("absent", ()), (1 << 16 * count) - 1
    for index, number in enumerate(numbers):
        if not 0 <= number <= most:
            told = f"found {number}, expected the number without sign, from 0 to {most:,}"
            like = number % (most + 1)
            hint = f"; did you mean {like}?" if -most // 2 <= number < 0 else ""
            written.fault(told + hint, "absent", f"[{index}]")
    return frozenset(numbers)


def _texts(written: Written, kind: str, count: int) -> dict[int, str]:
    """Give the texts of codes or bits by number."""
    key = {"enum": "codes", "bits": "bits"}.get(kind)
    if key is None:
        return {}
    if not written.values.get(key):
        written.fault(f"'{key}' is missing; say what its numbers mean")
    most = (1 << 16 * count) - 1 if key == "codes" else 16 * count - 1
    found: dict[int, str] = {}
    for word, text in written.values.get(key, {}).items():
        try:
            number = int(word, 0)
        except ValueError:
            number = -1
        if not 0 <= number <= most:
            told = f"found {word!r:.30}, expected a whole number from 0 to {most:,}"
            written.fault(told, key, word)
        elif number in found:
            written.fault(f"the number {number} is there twice; delete one", key, word)
        found.setdefault(number, text)
    return found


def _check_range(written: Written, row: Row) -> None:
    """Note registers beyond the last one, and limits that exclude each other."""
    if row.end - 1 > _LAST:
        told = f"its last register would be {row.end - 1}, expected at most {_LAST}"
        written.fault(told, "at")
    if row.least is not None and row.most is not None and row.least > row.most:
        written.fault(f"found {row.least:g}, which is above max {row.most:g}", "min")


# ---------------------------------------------------------------------- against the field


def _check_type(written: Written, row: Row, known: "Field") -> None:
    """Note where the type of a row cannot give what its field takes."""
    fit = {
        "number": _NUMBERS,
        "integer": _WHOLE,
        "string": frozenset({"enum"} if known.enum else {"enum", "text", "version"}),
        "boolean": frozenset({"bits"}),
        "array": frozenset({"bits"}),
    }[known.type]
    place = ("type",) if "type" in written.values else ()
    if row.type not in fit:
        told = f"found {row.type!r}, but {known.name} is {_WORDS[known.type]}"
        written.fault(f"{told}; expected {_any_of(fit)}", *place)
        return
    whole = row.factor == int(row.factor) and row.divide == 1 and not row.scales
    if known.type == "integer" and not whole:
        written.fault(f"{known.name} is a whole number, which cannot have parts", *place)
    if row.is_flag and len(row.texts) > 1:
        told = f"found {len(row.texts)} bits, expected one: {known.name} is true or false"
        written.fault(told, "bits")
    if known.enum:
        for word, text in written.values.get("codes", {}).items():
            if text not in known.enum:
                told = f"{text!r} is not a word of {known.name}{guess(text, known.enum)}"
                written.fault(told, "codes", word)


_WORDS: Final = MappingProxyType(
    {
        "number": "a number",
        "integer": "a whole number",
        "string": "a text",
        "boolean": "true or false",
        "array": "a list of texts",
    }
)


def _any_of(types: frozenset[str]) -> str:
    """Word types for a message, without naming all."""
    if types >= _NUMBERS:
        return "u16, f32 or the like" if types == _NUMBERS else "text, u16 or the like"
    return "u16, i32 or the like" if types == _WHOLE else _either(sorted(types))


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


# ---------------------------------------------------------------------- all rows together


def check_places(made: Sequence[tuple[Written, Row]], most: int) -> None:
    """Note rows that share some registers but not all, and those longer than one answer."""
    last: tuple[Written, Row] | None = None
    for written, row in sorted(made, key=lambda one: (one[1].function, one[1].at, -one[1].end)):
        if row.count > most:
            told = f"has {row.count} registers, but one answer has at most {most} (max_registers)"
            written.fault(told)
        if last is not None and row.function == last[1].function and row.at < last[1].end:
            if (row.at, row.end) != (last[1].at, last[1].end):
                _overlap((written, row), last)
            if row.end <= last[1].end:
                continue
        last = written, row


def _overlap(one: tuple[Written, Row], other: tuple[Written, Row]) -> None:
    """Note an overlap at the one that stands further below."""

    def order(each: tuple[Written, Row]) -> int:
        return each[0].source.reader.lines.get(each[0].place, 1)

    if one[0].source is other[0].source and order(one) < order(other):
        one, other = other, one
    (here, row), (there, there_row) = one, other
    shared = max(row.at, there_row.at)
    owner = f"{there_row.name or there.place[-1]} ({_span(there_row)}, {there.line_for(here)})"
    here.fault(f"found {_span(row)}, but {shared} belongs to {owner}", "at")


def _span(row: Row) -> str:
    last = f" to {row.end - 1}" if row.count > 1 else ""
    return f"register{'s' if last else ''} {row.at}{last}"
