"""The objects of Studer's devices: which number is which field, in `objects/*.yaml`, read once.

    FAMILIES["vt"].objects[11004].fields(2.375)    -> {"pv_w": 2375.0}

The language of these files is told at the top of `objects/xt.yaml`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from bridges.studer.codec import Format, Value
from bridges.studer.frame import Question, Type
from heliobus import data_file
from heliobus.errors import FrameError

FOLDER = Path(__file__).parent / "objects"
FAST, SLOW, SETTINGS, IDENTITY = "fast", "slow", "settings", "identity"
# Those of a battery share numbers and address: what its first one does not have, the next has.
_ORDER = ("xt", "vt", "vs", "bms", "bsp")
_DIGITS: Final = 9  # of a single
_CODE_BITS: Final = 32

Values: TypeAlias = dict[str, bool | int | float | str | list[str]]


@dataclass(frozen=True, slots=True)
class Object:
    """One info or parameter of a family, and the field that it is."""

    number: int
    name: str
    form: Format
    object_type: Type
    group: str = FAST
    factor: int = 1
    codes: Mapping[int, str] = field(default_factory=dict)
    is_bool: bool = False

    def question(self, address: int) -> Question:
        """Ask a device for it."""
        ask = Question.info if self.object_type is Type.INFO else Question.parameter
        return ask(address, self.number)

    def fields(self, value: Value | None) -> Values:
        """Give the fields that a value is: none where there is none now. Raise FrameError.

        An enum may come as a float: it does so where many infos are read at once.
        """
        if value is None:
            return {}
        if self.is_bool:
            return {self.name: bool(_among(range(2), value, self))}
        if self.codes:
            return self._coded(_among(range(1 << _CODE_BITS), value, self))
        if isinstance(value, bool | str) or self.factor == 1:
            return {self.name: value}
        return {self.name: float(f"{value * self.factor:.{_DIGITS}g}")}

    def _coded(self, code: int) -> Values:
        if self.group == IDENTITY:
            return {self.name: self.codes[code]} if code in self.codes else {}
        return {self.name: self.codes.get(code, "unknown"), f"{self.name}_code": code}


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Devices of one sort: where they are on the bus, and what they can be asked."""

    name: str
    kind: str
    title: str
    first: int
    most: int
    seek: int
    objects: Mapping[int, Object]

    def part(self, address: int) -> str:
        """Name the device at an address: xt_1; bms where there can be but one."""
        return self.name if self.most == 1 else f"{self.name}_{self.index(address)}"

    def index(self, address: int) -> int:
        """Give its number within the family, from 1."""
        return address - self.first + 1

    @property
    def addresses(self) -> range:
        """Give where its devices can be."""
        return range(self.first, self.first + self.most)

    def of(self, group: str) -> Iterator[Object]:
        """Give what is asked together."""
        return (each for each in self.objects.values() if each.group == group)


def named(object_type: int, number: int, address: int) -> Object | None:
    """Give what an object is, of a device at an address; None where it is not known."""
    if object_type not in (Type.INFO, Type.PARAMETER):
        return None
    for family in FAMILIES.values():
        found = family.objects.get(number)
        is_its = address in family.addresses or address == family.first - 1
        if found and is_its and found.object_type == object_type:
            return found
    return None


def _among(codes: range, value: Value, of: Object) -> int:
    # A range looks for what is no int at each of its numbers.
    if isinstance(value, str) or value != int(value) or int(value) not in codes:
        raise FrameError(f"object {of.number} ({of.name}): found {value}, expected a code")
    return int(value)


def _row(row: Mapping[str, Any], infos: range) -> Object:
    is_info = row["number"] in infos
    is_bool = row.get("bool", False)
    form = Format.FLOAT
    if is_bool and not is_info:
        form = Format.BOOL
    elif (is_bool or "codes" in row) and not row.get("float"):
        form = Format.SHORT_ENUM
    return Object(
        row["number"],
        row["name"],
        form,
        Type.INFO if is_info else Type.PARAMETER,
        row.get("group", FAST),
        row.get("factor", 1),
        MappingProxyType(row.get("codes", {})),
        is_bool,
    )


@cache
def _family(name: str) -> Family:
    body = data_file.read(FOLDER / f"{name}.yaml")
    first, last = body["infos"]
    rows = [_row(row, range(first, last + 1)) for row in body["rows"]]
    objects = MappingProxyType({row.number: row for row in rows})
    return Family(
        body["family"],
        body["kind"],
        body["title"],
        body["first"],
        body["most"],
        body["seek"],
        objects,
    )


FAMILIES: Mapping[str, Family] = MappingProxyType({name: _family(name) for name in _ORDER})
