"""Maps are read: a YAML file, what it extends, and what is wrong with it, line by line."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bridges.mqtt.making import make, own_base
from bridges.mqtt.rules import Map
from bridges.mqtt.sorts import make_sorts
from bridges.mqtt.terms import Source, Terms
from heliobus.checked_yaml import Reader, compose, guess, read_text
from heliobus.contract import Contract, read_schema, schemas_folder
from heliobus.errors import ConfigError

_MOST_MAPS = 5  # that extend one another

Topic = Mapping[str, Any]

# What is not made of both: it says that nothing is taken from the message.
_ALONE = ("ignore", "command")
_LISTS = ("values", "info")


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
    base = own_base(sources) if base is None else base
    found = make(list(zip(sources, _topics(sources), strict=True)), terms, sorts, base=base)
    _finish(sources)
    for source in sources:  # only now: a topic that could not be read may have them
        terms.check_captures(source)
    _finish(sources)
    return found


def _finish(sources: Sequence[Source]) -> None:
    """Raise ConfigError where anything is wrong with any of the files."""
    faults = []
    for source in sources:
        try:
            source.reader.finish()
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))


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


# ---------------------------------------------------------------------- extending


def _topics(sources: Sequence[Source]) -> list[list[tuple[int, Topic]]]:
    """Give the topics of each file with their places in it, those that extend first."""
    found: list[list[tuple[int, Topic]]] = []
    for source in reversed(sources):
        own = [
            (index, topic)
            for index, written in enumerate(source.values["topics"])
            for topic in _with_extended(source, index, written, found)
        ]
        found.insert(0, own)
    return found


def _with_extended(
    source: Source, index: int, values: Topic, extended: Sequence[Sequence[tuple[int, Topic]]]
) -> Iterator[Topic]:
    """Give a topic with what it leaves out: once for each that is written like it."""
    same = [one for topics in extended for _, one in topics if one["topic"] == values["topic"]]
    if not same or any(key in values for key in _ALONE):
        yield values
        return
    place = ("topics", f"[{index}]")
    written = {key: said for key, said in values.items() if source.wrote(*place, key)}
    for one in same:
        lists = {
            key: {**written.get(key, {}), **_less(one.get(key), written.get(key, {}))}
            for key in _LISTS
        }
        yield {**one, **written, **{key: said for key, said in lists.items() if said}}


def _less(said: Mapping[str, Any] | None, without: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (said or {}).items() if key not in without}
