"""What `heliobus decode modbus` makes of captured frames and registers, by a profile."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from bridges.modbus import profiles
from bridges.modbus.captured import registers_of
from bridges.modbus.codec import decode, identity, scale_values
from bridges.modbus.profile import Profile, Row
from bridges.modbus.types import Value, number
from heliobus import contract as contracts
from heliobus.contract import Contract
from heliobus.errors import FrameError
from heliobus.modbus import HOLDING, INPUT

Image: TypeAlias = dict[tuple[int, int], int]

_WORD = 0xFFFF


def profile_decoder(name: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Give what answers a captured line by a profile, its name or file. Raise ConfigError."""
    contract = contracts.load()
    return partial(_answer, profiles.load(name, beside=Path(), contract=contract), contract)


def _answer(profile: Profile, contract: Contract, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give values, units and, where something had to be left out, a note. Raise FrameError."""
    if "registers" in body:
        function = body.get("function", profile.function)
        if function not in (HOLDING, INPUT) or isinstance(function, bool):
            raise FrameError(f"function: found {function!r:.40}, expected 3 or 4")
        start, words = _number(body.get("start"), "start"), tuple(_words(body, "registers"))
    elif "response" in body:
        read, words = registers_of(body)
        if read is None:
            return {"values": {}, "units": {}, "note": "a loop-back; it carries no registers"}
        function, start = read.function, read.start
    else:
        raise FrameError(
            '"response" or "registers" is missing, expected hexadecimal bytes or a list'
        )
    if start + len(words) > _WORD + 1:
        raise FrameError(f"registers: {len(words)} from {start} on would end beyond {_WORD}")
    read_image: Image = {(function, start + at): word for at, word in enumerate(words)}
    image = _with_context(profile, body) | _either(profile, read_image)
    return _values(profile, contract, read_image, image)


def _values(profile: Profile, contract: Contract, read: Image, image: Image) -> Mapping[str, Any]:
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
        **identity(profile.identity, seen),
    }
    units = {name: _unit(contract, profile.kind, name) for name in values}
    values |= _unnamed(profile, read, covered)
    note = {"note": _note(lacking)} if lacking else {}
    return {"values": values, "units": {n: unit for n, unit in units.items() if unit}, **note}


def _lacking(rows: Iterable[Row], scales: Mapping[str, Row], image: Image) -> list[Row]:
    """Give the rows whose scales were not captured."""
    there = scale_values(scales, image)
    return [row for row in rows if any(name not in there for name in row.scales)]


def _note(lacking: Iterable[Row]) -> str:
    names = ", ".join(row.name for row in lacking)
    scales = ", ".join(sorted({name for row in lacking for name in row.scales}))
    told = f"{names} need the scales {scales}, which were not captured"
    return f'{told}; add "scaling_context", the registers from 0 on'


def _unnamed(profile: Profile, read: Image, covered: set[tuple[int, int]]) -> dict[str, Value]:
    """Give the registers that no row names: floats where the profile is of floats, else words."""
    found: dict[str, Value] = {}
    rest = {place for place in read if not {place, *_same(profile, place)} & covered}
    for function, at in sorted(rest):
        if (function, at) not in rest:
            continue
        pair = (function, at + 1)
        value: Value = read[function, at]
        if profile.type == "f32" and pair in rest:
            rest.discard(pair)
            exact = number("f32", read[function, at] << 16 | read[pair], 4)
            if exact is None:
                continue
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
    words = _words(body, "scaling_context") if "scaling_context" in body else []
    functions = {row.function for row in profile.scales.values()}
    return {(function, at): word for function in functions for at, word in enumerate(words)}


def _unit(contract: Contract, kind: str, name: str) -> str:
    known = contract.field(kind, name)
    return known.unit if known else ""


def _words(body: Mapping[str, Any], key: str) -> list[int]:
    words = body[key]
    if not isinstance(words, list):
        raise FrameError(f"{key}: found {words!r:.40}, expected a list of whole numbers")
    if len(words) > _WORD + 1:
        raise FrameError(f"{key}: found {len(words)} of them, expected at most {_WORD + 1}")
    return [_number(word, f"{key}[{at}]") for at, word in enumerate(words)]


def _number(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _WORD:
        raise FrameError(f"{what}: found {value!r:.40}, expected a whole number from 0 to {_WORD}")
    return value
