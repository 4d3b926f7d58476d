"""A shelf of YAML files of one schema, which may extend one another: maps, profiles.

A name means a file on the shelf; with a slash or an ending it is a path of the owner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliobus.errors import ConfigError, guess

if TYPE_CHECKING:  # at the top it would make chains of imports too long
    from heliobus.checked_yaml import Place, Reader, Schema
    from heliobus.contract import Contract

_NOT_OF_DEVICES = ("component", "event")
_MOST = 4  # files that extend one another


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was read. Its faults gather in its reader until `finish`."""

    path: Path
    values: Mapping[str, Any]
    reader: "Reader"

    def wrote(self, *place: str) -> bool:
        """Say whether this stands in the file; else it is a default."""
        return place in self.reader.lines

    def line(self, place: "Place") -> int:
        """Give the line where this stands, else the first."""
        return self.reader.lines.get(place, 1)

    def fault(self, place: "Place", told: str) -> None:
        """Note a fault."""
        self.reader.fault(place, told)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The files of `folder`, checked by `schema`. `what` is the word for one of them.

    `begin` is a first line, for whoever finds his file empty. `inherits`: what the schema asks for
    may be left to the file that is extended.
    """

    folder: Path
    what: str
    schema: str
    begin: str
    inherits: bool = False

    def names(self) -> list[str]:
        """Name what is on the shelf."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def path(self, name: str, beside: Path) -> Path:
        """Give the file of a name, or of a path that starts at `beside`."""
        if "/" in name or name.endswith((".yaml", ".yml")):
            return beside / name
        return self.folder / f"{name}.yaml"

    def read(self, path: Path, told: str) -> list[Source]:
        """Read a file and those that it extends, in this order. `told` says who names it.

        Raise ConfigError for what cannot be read at all.
        """
        sources: list[Source] = []
        while True:
            if any(source.path.resolve() == path.resolve() for source in sources):
                sources[-1].fault(("extends",), f"{path.name} extends itself")
                return sources
            if len(sources) >= _MOST:
                sources[-1].fault(
                    ("extends",), f"more than {_MOST} {self.what}s extend one another"
                )
                return sources
            source = self._read_one(path, told)
            sources.append(source)
            parent = source.values.get("extends")
            if parent is None:
                return sources
            told = f"{source.path}:{source.line(('extends',))}: extends: {parent!r}"
            path = self.path(parent, path.parent)

    def _read_one(self, path: Path, told: str) -> Source:
        from heliobus.checked_yaml import Reader, compose, read_text
        from heliobus.contract import read_schema, schemas_folder

        try:
            text = read_text(path)
        except FileNotFoundError as error:
            if path.parent == self.folder:
                raise ConfigError(f"{told} is not known{guess(path.stem, self.names())}") from error
            raise ConfigError(f"{told}: {path}: no such file") from error
        node = compose(text, str(path))
        if node is None:
            raise ConfigError(f"{path}:1: the file is empty; begin with '{self.begin}'")
        refine = _asks_nothing if self.inherits else None
        reader = Reader(str(path), refine=refine, environ={})
        values = reader.root(node, read_schema(schemas_folder() / self.schema))
        if not isinstance(values, dict):
            reader.finish()
            raise ConfigError(f"{path}:1: found no mapping, expected '{self.begin}' and more")
        return Source(path, values, reader)


def finish(sources: Sequence[Source]) -> None:
    """Raise ConfigError where anything is wrong with any of the files."""
    faults = []
    for source in sources:
        try:
            source.reader.finish()
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))


class Said:
    """What a file says, and where it is silent, those that it extends: key by key.

    `own` are the keys that only the first file may say for itself.
    """

    def __init__(self, sources: Sequence[Source], own: frozenset[str]) -> None:
        self.values: dict[str, Any] = {}
        self._first = sources[0]
        self._by: dict[str, Source] = {}
        for source in sources:
            for key, value in source.values.items():
                is_foreign = key in own and source is not sources[0]
                if not is_foreign and source.wrote(key) and key not in self._by:
                    self._by[key] = source
                    self.values[key] = value
        for key, value in sources[0].values.items():
            self.values.setdefault(key, value)

    def fault(self, told: str, *place: str) -> None:
        """Note a fault in the file that said the key."""
        self._by.get(place[0], self._first).fault(place, told)

    def kind(self, contract: "Contract") -> str:
        """Give the kind of its devices, "" where there is none such."""
        kind = self.values.get("kind")
        known = [one for one in contract.kinds if one not in _NOT_OF_DEVICES]
        if kind is None or kind in known:
            return kind or ""
        self.fault(f"{kind!r} is not known{guess(kind, known)}", "kind")
        return ""


def _asks_nothing(schema: "Schema", texts: Mapping[str, str]) -> "Schema":
    """Ask nothing of a file that has what it leaves out from another."""
    return {**schema, "required": ()} if "$schema" in schema and "extends" in texts else schema
