"""SunSpec models: the registers of one block in, named points out, and back for the simulator.

    decode(model, (101, 50, 28, ...))  -> {"A": Reading(0.28, ...), "W": Reading(45, ...), ...}

A block is a model's number, its length L and L registers. A value is raw * 10 ** scale factor;
one that the device does not implement, or whose scale factor it does not, is left out. Only the
points that are whole within L count, and how often a group repeats follows from L.
Source: SunSpec Information Models 12041 v1.9; Device Information Model Specification 1.1.
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TypeAlias

from heliobus.errors import FrameError

Value: TypeAlias = int | float | str
Words: TypeAlias = Sequence[int | None]  # None: a register that could not be read

HEADER = 2  # registers: the model's number and L
AS_MANY_AS_FIT = "*"
_SCALES = range(-10, 11)
_POWERS = tuple(int(10**zeros) for zeros in range(11))
_WHOLE = 1e7


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a model. Its offset counts from the number of the model, or from its group.

    `scale` is the name of a scale factor's point, or the scale factor. `codes` are the texts of
    the numbers, or of the bits where `bits`.
    """

    name: str
    offset: int
    size: int  # registers
    type: str
    unit: str = ""
    scale: str | int = 0
    codes: Mapping[int, str] = field(default_factory=dict)
    bits: bool = False
    low_word_first: bool = False

    def texts(self, value: int) -> tuple[str, ...]:
        """Give the texts of the bits that are set; one that has none is called BIT_7."""
        bits = (bit for bit in range(16 * self.size) if value >> bit & 1)
        return tuple(self.codes.get(bit, f"BIT_{bit}") for bit in bits)


@dataclass(frozen=True, slots=True)
class Group:
    """Points that stand together. `count`: "" once, "*" as many as fit, else a point's name."""

    name: str
    points: tuple[Point, ...]
    groups: tuple["Group", ...] = ()
    count: str = ""

    @property
    def size(self) -> int:
        """Count the registers of its own points."""
        return self.points[-1].offset + self.points[-1].size if self.points else 0


@dataclass(frozen=True, slots=True)
class Model:
    """The definition of a model. The size of `top` includes the header."""

    id: int
    top: Group


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a block a point lies. `scale_at`: its scale factor, None where `scale` says it."""

    path: str
    at: int
    point: Point
    scale_at: int | None
    scale: int | None  # None: the model names a scale factor that its block does not have


@dataclass(frozen=True, slots=True)
class Reading:
    """A value and what it is."""

    value: Value
    point: Point


def places(model: Model, length: int, words: Words = ()) -> tuple[Place, ...]:
    """Lay out a block of `length` registers after its header.

    Groups within groups are counted by points: they are only found where `words` has these.
    """
    return tuple(_Layout(model, HEADER + length, words).places())


def decode(model: Model, words: Words) -> dict[str, Reading]:
    """Give the implemented points of a block by their paths, such as string[0].StrSoC."""
    length = (words[1] or 0) if len(words) >= HEADER else 0
    found = {}
    for place in places(model, min(length, len(words) - HEADER), words):
        if place.point.type in _UNSHOWN:
            continue
        value = _value(place, words)
        if value is not None:
            found[place.path] = Reading(value, place.point)
    return found


def encode(
    model: Model, values: Mapping[str, Value], *, length: int | None = None
) -> tuple[int, ...]:
    """Give a whole block; what has no value is not implemented. Scale factors are values, too.

    Raise FrameError for a path that the block does not have and a value that does not fit.
    """
    length = model.top.size - HEADER if length is None else length
    words = [model.id, length, *[0] * length]
    counts = {point.name: point for point in model.top.points if point.name in values}
    for name, point in counts.items():  # first, because groups within groups depend on them
        _put(words, Place(name, point.offset, point, None, 0), values[name])
    layout = {place.path: place for place in places(model, length, words)}
    if strange := set(values) - set(layout):
        raise FrameError(f"model {model.id}: has no {min(strange)} in {length} registers")
    for path, place in sorted(layout.items(), key=lambda item: item[1].point.type != "sunssf"):
        _put(words, place, values.get(path))
    return tuple(words)


# ---------------------------------------------------------------------- where the points lie


class _Layout:
    """The points of one block, `end` registers long with its header."""

    def __init__(self, model: Model, end: int, words: Words) -> None:
        self._model = model
        self._end = end
        self._counts = {
            point.name: words[point.offset] or 0
            for point in model.top.points
            if point.size == 1 and point.offset < len(words)
        }

    def places(self) -> Iterator[Place]:
        """Give them in order."""
        top = self._model.top
        yield from self._own(top, "", 0, {})
        at, scales = top.size, self._scales(top, 0, {})
        for group in top.groups:
            extent = self._extent(group)
            # The outermost repetition follows from L: what devices say of it is not reliable.
            times = 1 if not group.count else (self._end - at) // extent if extent else 0
            for name in self._names(group, times):
                yield from self._whole(group, name, at, scales)
                at += extent

    def _whole(
        self, group: Group, prefix: str, at: int, scales: Mapping[str, int]
    ) -> Iterator[Place]:
        yield from self._own(group, prefix, at, scales)
        scales = self._scales(group, at, scales)
        at += group.size
        for inner in group.groups:
            for name in self._names(inner, self._times(inner)):
                yield from self._whole(inner, prefix + name, at, scales)
                at += self._extent(inner)

    def _own(
        self, group: Group, prefix: str, at: int, scales: Mapping[str, int]
    ) -> Iterator[Place]:
        scales = self._scales(group, at, scales)
        for point in group.points:
            if at + point.offset + point.size <= self._end:
                scale_at, scale = None, None
                if isinstance(point.scale, int):
                    scale = point.scale
                else:
                    scale_at = scales.get(point.scale)
                yield Place(prefix + point.name, at + point.offset, point, scale_at, scale)

    def _scales(self, group: Group, at: int, outer: Mapping[str, int]) -> Mapping[str, int]:
        own = {
            point.name: at + point.offset
            for point in group.points
            if point.type == "sunssf" and at + point.offset < self._end
        }
        return {**outer, **own}

    def _names(self, group: Group, times: int) -> Iterator[str]:
        for number in range(times):
            yield f"{group.name}[{number}]." if group.count else f"{group.name}."

    def _times(self, group: Group) -> int:
        # No more than there is room for: a count may be anything.
        return min(self._counts.get(group.count, 0), self._end) if group.count else 1

    def _extent(self, group: Group) -> int:
        inner = sum(self._times(inner) * self._extent(inner) for inner in group.groups)
        return group.size + inner


# ---------------------------------------------------------------------- the types


@dataclass(frozen=True, slots=True)
class _Integer:
    """`absent` is the number, without sign, of a value that is not implemented.

    `amount`: its sign means nothing.
    """

    registers: int
    absent: int
    signed: bool = False
    amount: bool = False


def _integers() -> Mapping[str, _Integer]:
    kinds = {}
    for bits in (16, 32, 64):
        registers, ones, lowest = bits // 16, (1 << bits) - 1, 1 << bits - 1
        kinds[f"int{bits}"] = _Integer(registers, lowest, signed=True)
        kinds[f"acc{bits}"] = _Integer(registers, 0)
        kinds[f"signed_acc{bits}"] = _Integer(registers, 0, signed=True, amount=True)
        for name in ("uint", "enum", "bitfield"):
            kinds[f"{name}{bits}"] = _Integer(registers, ones)
    kinds["count"] = kinds["uint16"]
    kinds["sunssf"] = kinds["int16"]
    kinds["pad"] = kinds["int16"]
    return MappingProxyType(kinds)


_INTEGERS = _integers()
_FLOATS: Mapping[str, str] = MappingProxyType({"float32": ">f", "float64": ">d"})
_UNSHOWN = frozenset({"sunssf", "pad"})


def _string(data: bytes) -> str:
    """Read UTF-8; devices with other letters are read as Latin-1, which has one for each byte."""
    data = data.partition(b"\0")[0].rstrip()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _eui48(data: bytes) -> str:
    mac = data[2:]
    return mac.hex(":").upper() if any(mac) and mac != b"\xff" * 6 else ""


_TEXTS: Mapping[str, Callable[[bytes], str]] = MappingProxyType(
    {
        "string": _string,
        "ipaddr": lambda data: str(IPv4Address(data)) if any(data) else "",
        "ipv6addr": lambda data: str(IPv6Address(data)) if any(data) else "",
        "eui48": _eui48,
    }
)


def _value(place: Place, words: Words) -> Value | None:
    point = place.point
    taken = words[place.at : place.at + point.size]
    known = [word for word in taken if word is not None]
    if len(known) < point.size:
        return None
    data = b"".join(word.to_bytes(2) for word in known[:: -1 if point.low_word_first else 1])
    if point.type in _TEXTS:
        return _TEXTS[point.type](data) or None
    if point.type in _FLOATS:
        return _float(point.type, data)
    kind = _INTEGERS[point.type]
    if int.from_bytes(data) == kind.absent:
        return None
    raw = int.from_bytes(data, signed=kind.signed)
    return _scaled(abs(raw) if kind.amount else raw, _scale(place, words))


def _scale(place: Place, words: Words) -> int | None:
    if place.scale_at is None:
        return place.scale
    word = words[place.scale_at] if place.scale_at < len(words) else None
    if word is None:
        return None
    scale = word - 0x10000 if word & 0x8000 else word
    return scale if scale in _SCALES else None


def _scaled(raw: int, scale: int | None) -> Value | None:
    if scale is None:
        return None
    # Dividing by a whole power of ten gives the float nearest to the decimal; multiplying by
    # 0.01 does not.
    return raw * _POWERS[scale] if scale >= 0 else raw / _POWERS[-scale]


def _float(kind: str, data: bytes) -> float | None:
    (value,) = struct.unpack(_FLOATS[kind], data)
    if not math.isfinite(value):
        return None
    if kind == "float64":
        return float(value)
    # 32 bits carry seven digits: 0.7, not 0.699999988. Whole numbers keep theirs.
    return float(f"{value:.7g}") if abs(value) < _WHOLE else float(value)


def _put(words: list[int], place: Place, value: Value | None) -> None:
    point, size = place.point, place.point.size
    data = _absent(point) if value is None else _raw(place, value, words)
    taken = [int.from_bytes(data[at : at + 2]) for at in range(0, 2 * size, 2)]
    words[place.at : place.at + size] = taken[:: -1 if point.low_word_first else 1]


def _absent(point: Point) -> bytes:
    if point.type in _FLOATS:
        return struct.pack(_FLOATS[point.type], math.nan)
    kind = _INTEGERS.get(point.type)
    return kind.absent.to_bytes(2 * point.size) if kind else bytes(2 * point.size)


def _raw(place: Place, value: Value, words: Words) -> bytes:
    point, size = place.point, 2 * place.point.size
    try:
        if isinstance(value, str):
            return _text_bytes(point.type, value).ljust(size, b"\0")[:size]
        if point.type in _FLOATS:
            return struct.pack(_FLOATS[point.type], value)
        scale = _scale(place, words)
        if scale is None:
            raise FrameError(f"{place.path}: its scale factor has no value")
        raw = round(value * _POWERS[-scale]) if scale <= 0 else round(value / _POWERS[scale])
        return raw.to_bytes(size, signed=_INTEGERS[point.type].signed)
    except (OverflowError, ValueError) as error:
        raise FrameError(f"{place.path}: {value!r:.40} does not fit into {point.type}") from error


def _text_bytes(kind: str, value: str) -> bytes:
    if kind == "ipaddr":
        return IPv4Address(value).packed
    if kind == "ipv6addr":
        return IPv6Address(value).packed
    if kind == "eui48":
        return bytes(2) + bytes.fromhex(value.replace(":", ""))
    return value.encode()


SHOWN_TYPES = frozenset({*_INTEGERS, *_FLOATS, *_TEXTS})
