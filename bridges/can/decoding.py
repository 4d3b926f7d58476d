"""What `heliobus decode can` makes of captured frames, by a profile."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridges.can import candump, profiles
from bridges.can.candump import Sort
from bridges.can.codec import decode, dialect, identity
from bridges.can.frames import (
    EXTENDED,
    LARGEST_EXTENDED,
    LARGEST_STANDARD,
    MOST_BYTES,
    Profile,
    Value,
    told,
)
from heliobus.captured import hexadecimal
from heliobus.errors import FrameError

Answer: TypeAlias = Mapping[str, Any]

_HEXADECIMAL = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,8})")
_DIGITS_OF_29_BITS: Final = 8
_EXPECTED: Final = '{"frames": [{"id": "0x351", "data": "14 02 74 0E"}, ...]}'


def frame_decoder(name: str) -> Callable[[Mapping[str, Any] | str], Answer]:
    """Give what answers captured frames, or a line of candump, by a profile, its name or file.

    Raise ConfigError.
    """
    return partial(_answer, profiles.load(name, beside=Path()))


def _answer(profile: Profile, body: Mapping[str, Any] | str) -> Answer:
    """Give values, units and, where there is something to say, a note. Raise FrameError."""
    if not isinstance(body, str):
        return _values(profile, _frames(body))
    line = candump.read(body)
    if line.sort is not Sort.DATA:
        return {"values": {}, "units": {}, "note": f"{line.sort.value}; it carries no values"}
    return _values(profile, {line.id: line.data})


def _values(profile: Profile, frames: Mapping[int, bytes]) -> Answer:
    values: dict[str, Value] = {**decode(profile, frames), **identity(profile, frames)}
    contract = profiles.contract()
    known = {name: contract.field(profile.kind, name) for name in values}
    units = {name: field.unit for name, field in known.items() if field is not None and field.unit}
    values |= {
        f"frame_{told(number).lower()}": data.hex(" ")
        for number, data in frames.items()
        if number not in profile.messages or len(data) < profile.messages[number].min_dlc
    }
    note = dialect(profile, frames)
    return {"values": values, "units": units, **({"note": note} if note else {})}


def _frames(body: Mapping[str, Any]) -> dict[int, bytes]:
    """Give the newest data by identifier. Raise FrameError."""
    frames = body.get("frames")
    if not isinstance(frames, list):
        raise FrameError(f'"frames": found {frames!r:.40}, expected {_EXPECTED}')
    return dict(_each(frames))


def _each(frames: Iterable[Any]) -> Iterable[tuple[int, bytes]]:
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise FrameError(f"frames[{index}]: found {frame!r:.40}, expected an id and data")
        try:
            yield _identifier(frame.get("id")), _data(frame)
        except FrameError as error:
            raise FrameError(f"frames[{index}]: {error}") from error


def _data(frame: Mapping[str, Any]) -> bytes:
    key = "data" if "data" in frame else "data_hex"
    if key not in frame:
        raise FrameError('"data" is missing, expected hexadecimal bytes such as 14 02')
    data = hexadecimal(frame, key, like="14 02")
    if len(data) > MOST_BYTES:
        raise FrameError(f"{key}: found {len(data)} bytes, expected at most {MOST_BYTES}")
    return data


def _identifier(stated: object) -> int:
    """Read an identifier: a number, or its hexadecimal digits; eight of them are of 29 bits."""
    wide = False
    if isinstance(stated, str) and (digits := _HEXADECIMAL.fullmatch(stated.strip())):
        number, wide = int(digits[1], 16), len(digits[1]) == _DIGITS_OF_29_BITS
    elif isinstance(stated, int) and not isinstance(stated, bool):
        number = stated
    else:
        raise FrameError(f'id: found {stated!r:.40}, expected an identifier such as "0x351"')
    if not 0 <= number <= LARGEST_EXTENDED:
        raise FrameError(f"id: found {stated!r:.40}, expected at most 0x1FFFFFFF")
    return number | EXTENDED if wide or number > LARGEST_STANDARD else number
