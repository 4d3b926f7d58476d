"""What `heliobus decode modbus` makes of captured frames and registers, by a profile."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from bridges.modbus import profiles
from bridges.modbus.candidate import Candidate
from bridges.modbus.codec import decode, identity, scale_values
from bridges.modbus.registers import Profile, Row
from bridges.modbus.types import TYPES, Value, number
from heliobus.captured import MOST, answer_of, register, registers
from heliobus.errors import FrameError
from heliobus.modbus import HOLDING, INPUT, Identify, LoopBack, Read, check_refused

Image: TypeAlias = dict[tuple[int, int], int]

# The objects of an identification.
_OBJECTS = MappingProxyType({0: "maker", 1: "model", 2: "firmware"})
# Registers that no row names are read as a float only where it is one that a device would send;
# whole numbers and texts make floats such as 9e-41.
_PLAUSIBLE = (1e-6, 1e12)


def profile_decoder(name: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Give what answers a captured line by a profile, its name or file. Raise ConfigError."""
    found = profiles.family(name, beside=Path())
    return partial(_answer, [Candidate(profile, profile.unit_id) for profile in found])


def _answer(candidates: Sequence[Candidate], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give values, units and, where there is something to say, a note. Raise FrameError."""
    profile = candidates[0].profile
    if body.get("registers") is None and "response" in body:
        question, pdu = answer_of(body)
        if not isinstance(question, Read):
            return _told(question, pdu)
        function, start, words = question.function, question.start, question.registers(pdu)
    elif "registers" in body:
        function = body.get("function", profile.function)
        if function not in (HOLDING, INPUT) or isinstance(function, bool):
            raise FrameError(f"function: found {function!r:.40}, expected 3 or 4")
        start, words = (
            register(body.get("start"), "start"),
            registers(body["registers"], "registers"),
        )
    else:
        raise FrameError(
            '"response" or "registers" is missing, expected hexadecimal bytes or a list'
        )
    if start + len(words) > MOST + 1:
        raise FrameError(f"registers: {len(words)} from {start} on would end beyond {MOST}")
    read_image: Image = {(function, start + at): word for at, word in enumerate(words)}
    image = _with_context(profile, body) | _either(profile, read_image)
    fitting = _fitting(candidates, image)
    found = _values(fitting, read_image, image)
    return found if fitting is profile else {**found, "note": f"read as {fitting.name}"}


def _fitting(candidates: Sequence[Candidate], image: Image) -> Profile:
    """Choose between a profile and its variants as the bridge does, where its probe was read."""
    first = candidates[0]
    if all(_is_whole(row, image) for row in first.with_scales(first.probe)):
        for one in candidates:
            value = one.probed(image)
            if value is not None and one.fits(value):
                return one.profile
    return first.profile


def _told(question: Identify | LoopBack, pdu: bytes) -> Mapping[str, Any]:
    """Give what an answer tells that carries no registers. Raise FrameError."""
    if isinstance(question, Identify):
        objects, _ = question.objects(pdu)
        names = {number: _OBJECTS.get(number, f"object_{number}") for number in objects}
        return {"values": {names[number]: text for number, text in objects.items()}, "units": {}}
    check_refused(question, pdu)
    return {"values": {}, "units": {}, "note": "a loop-back; it carries no registers"}


def _values(profile: Profile, read: Image, image: Image) -> Mapping[str, Any]:
    """Give what the image holds, except rows of which nothing was read."""
    seen = _either(profile, read)
    rows = [row for row in profile.rows if _is_whole(row, seen)]
    scales = {name: row for name, row in profile.scales.items() if _is_whole(row, seen)}
    known = [*rows, *scales.values(), *(r for r in profile.identity.values() if _is_whole(r, seen))]
    lacking = _lacking(rows, profile.scales, image)
    covered = {place for row in known if row not in lacking for place in _places(row)}
    values: dict[str, Value] = {
        **decode(rows, profile.scales, image),
        **scale_values(scales, image),
        **_identity(profile.identity, seen),
    }
    units = {name: _unit(profile.kind, name) for name in values}
    values |= _unnamed(profile, read, covered)
    note = {"note": _note(lacking)} if lacking else {}
    return {"values": values, "units": {n: unit for n, unit in units.items() if unit}, **note}


def _identity(rows: Mapping[str, Row], seen: Image) -> dict[str, Value]:
    """Give who the device is; what its registers hold as a number is told as one."""
    texts = identity(rows, seen)
    numbers = {name for name in texts if TYPES[rows[name].type].is_number}
    return {
        name: int(text) if name in numbers and text.isdecimal() else text
        for name, text in texts.items()
    }


def _lacking(rows: Iterable[Row], scales: Mapping[str, Row], image: Image) -> list[Row]:
    """Give the rows whose scales were not captured."""
    there = scale_values(scales, image)
    return [row for row in rows if any(name not in there for name in row.scales)]


def _note(lacking: Iterable[Row]) -> str:
    names = ", ".join(row.name for row in lacking)
    scales = ", ".join(sorted({name for row in lacking for name in row.scales}))
    told = f"not captured: {scales}, by which {names} would be scaled"
    return f'{told}; add "scaling_context", the registers from 0 on'


def _unnamed(profile: Profile, read: Image, covered: set[tuple[int, int]]) -> dict[str, Value]:
    """Give the registers that no row names: floats where the profile is of floats, else words."""
    found: dict[str, Value] = {}
    rest = {place for place in read if not {place, *_same(profile, place)} & covered}
    for function, at in sorted(rest):
        if (function, at) not in rest:
            continue
        value: Value = read[function, at]
        pair = (function, at + 1)
        if profile.type == "f32" and pair in rest:
            exact = number("f32", read[function, at] << 16 | read[pair], 4)
            if exact is None:
                rest.discard(pair)
                continue
            if not exact or _PLAUSIBLE[0] <= abs(float(exact)) < _PLAUSIBLE[1]:
                rest.discard(pair)
                value = float(exact)
        found[f"register_{at}"] = value
    return found


# ---------------------------------------------------------------------- images


def _is_whole(row: Row, image: Image) -> bool:
    return all(place in image for place in _places(row))


def _places(row: Row) -> list[tuple[int, int]]:
    return [(row.function, at) for at in range(row.at, row.end)]


def _same(profile: Profile, place: tuple[int, int]) -> list[tuple[int, int]]:
    """Give the other place of the same register, where both functions lead to it."""
    return [(HOLDING + INPUT - place[0], place[1])] if profile.either_function else []


def _either(profile: Profile, read: Image) -> Image:
    return {same: word for place, word in read.items() for same in _same(profile, place)} | read


def _with_context(profile: Profile, body: Mapping[str, Any]) -> Image:
    """Give the registers that computed scales need, where they were captured apart."""
    captured = body.get("scaling_context") is not None
    words = registers(body["scaling_context"], "scaling_context") if captured else ()
    functions = {row.function for row in profile.scales.values()}
    return {(function, at): word for function in functions for at, word in enumerate(words)}


def _unit(kind: str, name: str) -> str:
    known = profiles.contract().field(kind, name)
    return known.unit if known else ""
