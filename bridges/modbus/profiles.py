"""Profiles are read: a YAML file, what it extends, and what is wrong with it, line by line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from bridges.modbus.registers import Caveat, Profile, Row
from bridges.modbus.rows import Maker, Written, check_places
from bridges.modbus.types import TYPES
from heliobus import contract as contracts
from heliobus.contract import Contract
from heliobus.errors import guess
from heliobus.shelf import Said, Shelf, Source, finish

_SHELF: Final = Shelf(
    Path(__file__).parent / "profiles", "profile", "profile.json", "maker: NAME", inherits=True
)
# Of the file itself alone: they say how it is told from others.
_OWN = frozenset({"variants", "identified", "extends", "without"})
_NUMBERS = frozenset(name for name, one in TYPES.items() if one.is_number)


def folder() -> Path:
    """Give the folder of the profiles that come with heliobus."""
    return _SHELF.folder


def names() -> list[str]:
    """Name the profiles that come with heliobus."""
    return _SHELF.names()


@cache
def contract() -> Contract:
    """Give the contract that profiles are checked against."""
    return contracts.load()


def load(name: str, *, beside: Path) -> Profile:
    """Read a profile by its name, or by a path that starts at `beside`. Raise ConfigError."""
    return family(name, beside=beside)[0]


def family(name: str, *, beside: Path) -> tuple[Profile, ...]:
    """Read a profile as `load` does, and its variants. Raise ConfigError."""
    path = _SHELF.path(name, beside)
    return _shipped(name) if name == path.stem else _family(path, name)


@cache  # devices are often alike, and a Raspberry Pi takes a second for a profile
def _shipped(name: str) -> tuple[Profile, ...]:
    return _family(_SHELF.path(name, Path()), name)


def _family(path: Path, name: str) -> tuple[Profile, ...]:
    sources, profile = _made(path, f"profile: {name!r}")
    variants = list(_variants(sources[0], profile))
    finish(sources)
    return (profile, *variants)


def _made(path: Path, told: str) -> tuple[Sequence[Source], Profile]:
    sources = _SHELF.read(path, told)
    profile = _Making(sources, contract()).make()
    finish(sources)
    return sources, profile


def _variants(source: Source, profile: Profile) -> Iterator[Profile]:
    """Read the variants; note those that are wrong, or cannot be told from others."""
    for index, name in enumerate(source.values.get("variants") or ()):
        place = ("variants", f"[{index}]")
        line = source.line(place)
        told = f"{source.path}:{line}: variants[{index}]: {name!r}"
        path = _SHELF.path(name, source.path.parent)
        if path.resolve() == source.path.resolve():
            source.fault(place, "is this profile itself; name the others only")
            continue
        _, variant = _made(path, told)
        if variant.kind != profile.kind:
            told = f"{name!r} is of kind {variant.kind}, expected {profile.kind} as here"
            source.fault(place, told)
        if variant.probe is None and not variant.identified:
            told = f"{name!r} has neither 'identified' nor 'probe'; nothing would choose it"
            source.fault(place, told)
        yield variant


# ---------------------------------------------------------------------- making


class _Making:
    """The making of one profile from its file and those that it extends, which come after it."""

    def __init__(self, sources: Sequence[Source], contract: Contract) -> None:
        self._sources = sources
        self._contract = contract
        self._said = Said(sources, _OWN)

    def make(self) -> Profile:
        """Make it also of what is wrong, so that all faults are found at once."""
        kind = self._said.kind(self._contract)
        maker = Maker(self._contract, kind, self._defaults())
        scales = self._plain("scales", maker, _NUMBERS)
        identity = self._plain("identity", maker, frozenset(TYPES) - {"bits"})
        written = self._registers()
        made = [(one, maker.field_row(one, scales)) for one in written]
        rows = [(one, row) for one, row in made if row is not None]
        self._check_names(written, rows)
        every = [*rows, *self._placed("scales", scales), *self._placed("identity", identity)]
        check_places(every, self._whole("max_registers", 125))
        return self._profile(
            kind=kind,
            role=self._role(kind),
            rows=tuple(row for _, row in rows),
            scales=scales,
            identity=identity,
            probe=self._probe([row for _, row in rows], written),
        )

    def _profile(self, **made: Any) -> Profile:
        values = {key: value for key, value in self._said.values.items() if value is not None}
        path = self._sources[0].path
        return Profile(
            name=path.stem,
            maker=values.get("maker", ""),
            models=tuple(values.get("models", ())),
            verified=values.get("verified", ""),
            source=tuple(values.get("source", ())),
            serial=tuple(values.get("serial", ())),
            unit_id=values.get("unit_id", 1),
            port=values.get("port", 502),
            max_registers=values.get("max_registers", 125),
            function=values.get("function", 3),
            type=values.get("type", "u16"),
            either_function=values.get("either_function", False),
            gaps=values.get("gaps", True),
            align=values.get("align", 1),
            pause_s=values.get("pause", 0.0),
            timeout_s=values.get("timeout", 1.0),
            keep=values.get("connect", "keep") == "keep",
            variants=tuple(_found(name, path.parent) for name in values.get("variants", ())),
            identified=values.get("identified", ""),
            caveats=tuple(
                Caveat(one["text"], one.get("link", ""))
                for one in values.get("caveats", ())
                if one and one.get("text")
            ),
            **made,
        )

    # ------------------------------------------------------------------ single keys

    def _whole(self, key: str, default: int) -> int:
        value = self._said.values.get(key)
        return value if isinstance(value, int) else default

    def _role(self, kind: str) -> str:
        role: str = self._said.values.get("role") or ""
        if role and kind and kind != "meter":
            self._said.fault(f"only a meter has a role, not the kind {kind}; leave it out", "role")
        return role

    def _defaults(self) -> dict[str, Any]:
        usual = {"type": "u16", "function": 3, "words": "big", "bytes": "big"}
        return {key: self._said.values.get(key) or value for key, value in usual.items()}

    def _probe(self, rows: Sequence[Row], written: Sequence[Written]) -> Row | None:
        probe = self._said.values.get("probe")
        if not probe or not probe.get("name"):
            return None
        named = [row for row in rows if row.name == probe["name"]]
        if not named:
            known = {one.name for one in written}
            if probe["name"] not in known:  # else the row itself is wrong
                told = f"{probe['name']!r} is not one of its rows{guess(probe['name'], known)}"
                self._said.fault(told, "probe", "name")
            return None
        if named[0].type not in _NUMBERS:
            told = f"{probe['name']!r} is of type {named[0].type}, expected a number"
            self._said.fault(told, "probe", "name")
        least, most = probe.get("min"), probe.get("max")
        if least is not None and most is not None and least > most:
            self._said.fault(f"found {least:g}, which is above max {most:g}", "probe", "min")
        return replace(named[0], least=least, most=most)

    # ------------------------------------------------------------------ rows

    def _plain(self, key: str, maker: Maker, types: frozenset[str]) -> dict[str, Row]:
        """Make the rows of `scales` or `identity`: each from the first file that has it."""
        found = {}
        for written in self._written(key).values():
            row = maker.plain_row(written, types=types)
            if row is not None:
                found[written.name] = row
        return found

    def _written(self, key: str) -> dict[str, Written]:
        found: dict[str, Written] = {}
        for source in self._sources:
            for name, values in (source.values.get(key) or {}).items():
                if values is not None:
                    found.setdefault(name, Written(source, (key, name), name, values))
        return found

    def _placed(self, key: str, rows: Mapping[str, Row]) -> list[tuple[Written, Row]]:
        written = self._written(key)
        return [(written[name], row) for name, row in rows.items()]

    def _registers(self) -> list[Written]:
        """Give the rows of all files, less those that are replaced or taken out."""
        found: list[Written] = []
        for source in reversed(self._sources):
            own = [
                Written(source, ("registers", f"[{index}]"), values.get("name") or "", values)
                for index, values in enumerate(source.values.get("registers") or ())
                if values is not None
            ]
            gone = self._without(source, {one.name for one in found})
            gone |= {one.name for one in own}
            found = [one for one in found if one.name not in gone] + own
        if not found and self._sources[-1].values.get("registers") == []:
            self._said.fault("is empty; add a row such as {name: voltage_v, at: 0}", "registers")
        return found

    def _without(self, source: Source, known: set[str]) -> set[str]:
        without = source.values.get("without") or ()
        if without and not source.wrote("extends"):
            source.fault(("without",), "extends nothing; leave it out, or add 'extends'")
            return set()
        for index, name in enumerate(without):
            if name is not None and name not in known:
                told = f"{name!r} is not a row of what it extends{guess(name, known)}"
                source.fault(("without", f"[{index}]"), told)
        return set(without)

    def _check_names(self, written: Sequence[Written], rows: Sequence[tuple[Written, Row]]) -> None:
        """Note names that two rows have. Lists are joined, but only what is asked together."""
        first: dict[str, Written] = {}
        made = {id(one): row for one, row in rows}
        for one in written:
            row = made.get(id(one))
            before = first.setdefault(one.name, one)
            if before is one or not one.name:
                continue
            known = self._contract.field(self._said.values.get("kind") or "", one.name)
            if known is None or known.type != "array":
                told = f"{one.name!r} is there twice, first in {before.line_for(one)}"
                one.fault(f"{told}; delete one", "name")
                continue
            other = made.get(id(before))
            if row is not None and other is not None and row.group is not other.group:
                told = f"found {row.group.value!r}, expected {other.group.value!r} as in"
                one.fault(f"{told} {before.line_for(one)}, whose list it is part of", "group")
        for one, row in rows:
            if row.code_name and row.code_name in first:
                told = f"{row.code_name!r} comes of this row already; delete the one in"
                one.fault(f"{told} {first[row.code_name].line_for(one)}")


def _found(name: str, beside: Path) -> str:
    """Give the name under which a profile is found from anywhere."""
    path = _SHELF.path(name, beside)
    return name if path.parent == folder() else str(path.absolute())
