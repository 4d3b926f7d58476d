"""Which point of which model is which field: the files of `mapping/`, read once.

Their language is told at the top of `mapping/standard.yaml`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from bridges.sunspec.codec import Group, Model, Point
from heliobus import data_file

FOLDER = Path(__file__).parent / "mapping"

Meaning: TypeAlias = str | bool | int
Wanted: TypeAlias = tuple[tuple[str, int | str], ...]
_NONE: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rule:
    """How a field of this name comes about: the sum of points, with the sign of each."""

    name: str
    of: tuple[tuple[str, int], ...]
    times: float = 1.0
    codes: Mapping[int, Meaning] = field(default_factory=dict)
    when: Wanted = ()
    toward: str = ""
    signs: Mapping[int, int] = field(default_factory=dict)
    manner: str = ""  # first, share, alarms


@dataclass(frozen=True, slots=True)
class Sort:
    """What one sort of the repeated groups of a model means."""

    when: Wanted
    rules: tuple[Rule, ...]
    sums: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Mapped:
    """What one model means.

    `kind` "": it belongs to the device whose model is in `pairs`. `port`: the point that names the
    port of its device. `storage`: its device has a battery. `identity`: point by part of it.
    """

    kind: str
    rules: tuple[Rule, ...]
    groups: Mapping[str, tuple[Sort, ...]]
    slow: bool = False
    storage: bool = False
    port: str = ""
    pairs: tuple[int, ...] = ()
    identity: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def leaning(self, signs: Mapping[str, float]) -> "Mapped":
        """Take the signs of fields as the device was seen to mean them."""
        rules = tuple(
            replace(rule, times=math.copysign(rule.times, sign))
            if (sign := signs.get(rule.name))
            else rule
            for rule in self.rules
        )
        return replace(self, rules=rules)


@dataclass(frozen=True, slots=True)
class Maker:
    """What a maker does otherwise: fields whose sign it turns, by kind; points by model.

    `signed_counters`: its counters may be below zero, and mean their amount.
    """

    match: Mapping[str, str]
    turn: Mapping[str, tuple[str, ...]]
    low_word_first: Mapping[int, frozenset[str]]
    signed_counters: bool = False


@dataclass(frozen=True, slots=True)
class Total:
    """A total over the devices of a gateway: `how` is sum or first, `of` kinds and fields."""

    name: str
    how: str
    of: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Meanings:
    """One file. `match`: the model that shows that it is to be used, 0 for the standard."""

    models: Mapping[int, Mapped]
    match: int = 0
    makers: tuple[Maker, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    totals: tuple[Total, ...] = ()


@cache
def standard() -> Meanings:
    """Give the mapping of SunSpec's own models."""
    return _read("standard")


@cache
def outback() -> Meanings:
    """Give the mapping of OutBack's gateways."""
    return _read("outback")


def choose(models: Iterable[int]) -> Meanings:
    """Give the mapping for a chain of these models."""
    return outback() if outback().match in models else standard()


def ported(models: Iterable[int]) -> frozenset[int]:
    """Name those of a chain's models that say at which port their device is."""
    found = choose(chain := frozenset(models)).models
    return frozenset(number for number in chain if number in found and found[number].port)


def adapted(model: Model, maker: Maker | None) -> Model:
    """Give the definition of a model as this maker fills it."""
    if maker is None:
        return model
    names = maker.low_word_first.get(model.id, frozenset())
    is_other = names or maker.signed_counters
    return replace(model, top=_filled(model.top, names, maker)) if is_other else model


def _filled(group: Group, names: frozenset[str], maker: Maker) -> Group:
    points = tuple(
        replace(
            point,
            low_word_first=point.low_word_first or point.name in names,
            type=f"signed_{point.type}" if _is_signed(point, maker) else point.type,
        )
        for point in group.points
    )
    groups = tuple(_filled(each, names, maker) for each in group.groups)
    return replace(group, points=points, groups=groups)


def _is_signed(point: Point, maker: Maker) -> bool:
    return maker.signed_counters and point.type.startswith("acc")


# ---------------------------------------------------------------------- the files


def _read(name: str) -> Meanings:
    raw = data_file.read(FOLDER / f"{name}.yaml")
    tables = raw["tables"]
    return Meanings(
        models={
            number: _mapped(number, entry, tables)
            for entry in raw["models"]
            for number in entry["models"]
        },
        match=raw.get("match", 0),
        makers=tuple(_maker(entry) for entry in raw.get("makers", ())),
        roles=tuple(raw.get("roles", _NONE).items()),
        totals=tuple(_total(name, spec) for name, spec in raw.get("totals", _NONE).items()),
    )


def _mapped(number: int, raw: Mapping[str, Any], tables: Mapping[str, Any]) -> Mapped:
    prefix = raw.get("prefix", "")
    fields = {
        name: spec
        for name, spec in raw.get("fields", _NONE).items()
        if not isinstance(spec, Mapping) or number in spec.get("only", (number,))
    }
    return Mapped(
        kind=raw.get("kind", ""),
        rules=_rules(fields, tables, prefix),
        groups={
            name: tuple(_sort(entry, tables) for entry in sorts)
            for name, sorts in raw.get("groups", _NONE).items()
        },
        slow=raw.get("slow", False),
        storage=raw.get("storage", False),
        port=f"{prefix}{raw['port']}" if "port" in raw else "",
        pairs=tuple(raw.get("pairs", ())),
        identity={
            key: tuple(f"{prefix}{point}" for point in _listed(points))
            for key, points in raw.get("identity", _NONE).items()
        },
    )


def _sort(raw: Mapping[str, Any], tables: Mapping[str, Any]) -> Sort:
    return Sort(
        when=tuple(raw.get("when", _NONE).items()),
        rules=_rules(raw["fields"], tables),
        sums=_rules(raw.get("sums", _NONE), tables),
    )


def _rules(
    fields: Mapping[str, Any], tables: Mapping[str, Any], prefix: str = ""
) -> tuple[Rule, ...]:
    return tuple(_rule(name, spec, tables, prefix) for name, spec in fields.items())


def _rule(name: str, spec: Any, tables: Mapping[str, Any], prefix: str) -> Rule:
    own = spec if isinstance(spec, Mapping) else {"of": spec}
    codes = own.get("codes", _NONE)
    return Rule(
        name=name,
        of=tuple(_signed(point, prefix) for point in _listed(own["of"])),
        times=own.get("times", 1.0),
        codes=tables[codes] if isinstance(codes, str) else codes,
        when=tuple((f"{prefix}{point}", value) for point, value in own.get("when", _NONE).items()),
        toward=own.get("toward", ""),
        signs=tables["toward"] if "toward" in own else _NONE,
        manner=own.get("as", ""),
    )


def _signed(point: str, prefix: str) -> tuple[str, int]:
    return (f"{prefix}{point[1:]}", -1) if point.startswith("-") else (f"{prefix}{point}", 1)


def _listed(value: Any) -> Sequence[str]:
    return value if isinstance(value, list) else [value]


def _maker(raw: Mapping[str, Any]) -> Maker:
    return Maker(
        match=raw["match"],
        turn={kind: tuple(names) for kind, names in raw.get("turn", _NONE).items()},
        low_word_first={
            number: frozenset(names) for number, names in raw.get("low_word_first", _NONE).items()
        },
        signed_counters=raw.get("signed_counters", False),
    )


def _total(name: str, spec: Mapping[str, Any]) -> Total:
    ((how, of),) = spec.items()
    pairs = (each.partition(".") for each in _listed(of))
    return Total(name, how, tuple((kind, what) for kind, _, what in pairs))
