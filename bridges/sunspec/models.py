"""The definitions of models, read from `models/` when they are first asked for.

`models/standard` is of SunSpec, `models/outback` of OutBack; a file is named by the numbers of
the models that it defines. Its rows are offset, size, name, type, unit, scale factor, codes; the
last of them may be missing. `models/NOTICE` says where all this is from.
"""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Any

from bridges.sunspec.codec import Group, Model, Point

FOLDER = Path(__file__).parent / "models"
# What a row ends with where it is shorter: no unit, no scale factor, no codes.
_MISSING: tuple[Any, ...] = (None, None, None, None, "", "", {})


@cache
def files() -> Mapping[int, Path]:
    """Give the file of each model that is known."""
    return {
        int(number): path
        for path in sorted(FOLDER.glob("*/*.json"))
        for number in path.stem.split("_")
    }


@cache
def find(number: int) -> Model | None:
    """Give the definition of a model, None where there is none."""
    path = files().get(number)
    return Model(number, _top(path)) if path else None


@cache
def _top(path: Path) -> Group:
    return _group(json.loads(path.read_bytes()))


def _group(raw: Mapping[str, Any]) -> Group:
    low, bits = set(raw.get("low_word_first", ())), set(raw.get("bits", ()))
    points = tuple(_point(row, low, bits) for row in raw["points"])
    groups = tuple(_group(inner) for inner in raw.get("groups", ()))
    return Group(raw.get("name", ""), points, groups, raw.get("count", ""))


def _point(row: Sequence[Any], low: AbstractSet[str], bits: AbstractSet[str]) -> Point:
    offset, size, name, kind, unit, scale, codes = (*row, *_MISSING[len(row) :])
    return Point(
        name=name,
        offset=offset,
        size=size,
        type=kind,
        unit=unit,
        scale=scale or 0,
        codes={int(code): text for code, text in codes.items()},
        bits=name in bits or kind.startswith("bitfield"),
        low_word_first=name in low,
    )
