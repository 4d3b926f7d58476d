"""Topics of a map that extends another one: one that both have is made of both."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # its name is all that is needed
    from bridges.mqtt.terms import Source

Topic = Mapping[str, Any]

# What is not made of both: it says that nothing is taken from the message.
_ALONE = ("ignore", "command")
_LISTS = ("values", "info")


def topics(sources: Sequence["Source"]) -> list[list[tuple[int, Topic]]]:
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
    source: "Source", index: int, values: Topic, extended: Sequence[Sequence[tuple[int, Topic]]]
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
