"""Maps are read: a YAML file, what it extends, and what is wrong with it, line by line."""

from pathlib import Path

from bridges.mqtt.making import make
from bridges.mqtt.rules import Map
from bridges.mqtt.sorts import make_sorts
from bridges.mqtt.terms import Source, Terms
from heliobus.checked_yaml import Reader, compose, guess, read_text
from heliobus.contract import Contract, read_schema, schemas_folder
from heliobus.errors import ConfigError

_MOST_MAPS = 5  # that extend one another


def folder() -> Path:
    """Give the folder of the maps that come with heliobus."""
    return Path(__file__).parent / "maps"


def names() -> list[str]:
    """Name the maps that come with heliobus."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def load(name: str, *, beside: Path, contract: Contract, base: str | None = None) -> Map:
    """Read a map by its name, or by a path that starts at `beside`. Raise ConfigError.

    `base` is used instead of its own base topic.
    """
    sources = _chain(name, beside)
    terms = Terms(contract)
    for source in reversed(sources):
        terms.take_captures(source)
    sorts = make_sorts(sources, terms)
    found = make(sources, terms, sorts, base=base if base is not None else _base(sources))
    faults = []
    for source in sources:
        try:
            source.reader.finish()
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return found


def _base(sources: list[Source]) -> str:
    for source in sources:
        if source.wrote("base"):
            return str(source.values["base"])
    return ""


def _chain(name: str, beside: Path) -> list[Source]:
    """Read a map and those that it extends."""
    sources: list[Source] = []
    path, told = _path(name, beside), f"map: {name!r}"
    while True:
        if any(source.path == path for source in sources):
            raise ConfigError(f"{sources[-1].path}: extends itself by way of {path.name}")
        if len(sources) >= _MOST_MAPS:
            raise ConfigError(f"{path}: more than {_MOST_MAPS} maps extend one another")
        source = _read(path, told)
        sources.append(source)
        parent = source.values.get("extends")
        if parent is None:
            return sources
        line = source.reader.lines.get(("extends",), 1)
        told = f"{source.path}:{line}: extends: {parent!r}"
        path = _path(parent, path.parent)


def _path(name: str, beside: Path) -> Path:
    if "/" in name or name.endswith((".yaml", ".yml")):
        return beside / name
    return folder() / f"{name}.yaml"


def _read(path: Path, told: str) -> Source:
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        if path.parent == folder():
            raise ConfigError(f"{told} is not known{guess(path.stem, names())}") from error
        raise ConfigError(f"{told}: {path}: no such file") from error
    node = compose(text, str(path))
    if node is None:
        raise ConfigError(f"{path}:1: the file is empty; begin with 'title: NAME'")
    reader = Reader(str(path), environ={})
    values = reader.root(node, read_schema(schemas_folder() / "map.json"))
    if _has_faults(reader) or not isinstance(values, dict):
        reader.finish()
        raise ConfigError(f"{path}:1: found no mapping, expected title and topics")
    return Source(path, values, reader)


def _has_faults(reader: Reader) -> bool:
    try:
        reader.finish()
    except ConfigError:
        return True
    return False
