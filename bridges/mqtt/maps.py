"""Maps are read: a YAML file, what it extends, and what is wrong with it, line by line."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bridges.mqtt.making import make, own_base
from bridges.mqtt.rules import Map
from bridges.mqtt.sorts import make_sorts
from bridges.mqtt.terms import Terms
from heliobus.contract import Contract
from heliobus.shelf import Shelf, Source, finish

_SHELF: Final = Shelf(Path(__file__).parent / "maps", "map", "map.json", "title: NAME")

Topic = Mapping[str, Any]

# What is not made of both: it says that nothing is taken from the message.
_ALONE = ("ignore", "command")
_LISTS = ("values", "info")


def names() -> list[str]:
    """Name the maps that come with heliobus."""
    return _SHELF.names()


def load(name: str, *, beside: Path, contract: Contract, base: str | None = None) -> Map:
    """Read a map by its name, or by a path that starts at `beside`. Raise ConfigError.

    `base` is used instead of its own base topic.
    """
    sources = _SHELF.read(_SHELF.path(name, beside), f"map: {name!r}")
    finish(sources)
    terms = Terms(contract)
    for source in reversed(sources):
        terms.take_captures(source)
    sorts = make_sorts(sources, terms)
    base = own_base(sources) if base is None else base
    found = make(list(zip(sources, _topics(sources), strict=True)), terms, sorts, base=base)
    finish(sources)
    for source in sources:  # only now: a topic that could not be read may have them
        terms.check_captures(source)
    finish(sources)
    return found


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
