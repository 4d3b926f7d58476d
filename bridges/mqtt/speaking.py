"""What has to be said to devices so that they go on speaking."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from bridges.mqtt.rules import Captures, Keepalive
from heliobus.errors import ConfigError, guess
from heliobus.follower import Outgoing

_MOST = 100  # of each, whoever makes up topics


class Speaking:
    """Says each keepalive in its time, once for each that was heard of or is known."""

    def __init__(self, keepalive: Sequence[Keepalive], known: Mapping[str, Any]) -> None:
        _check_known(keepalive, known)
        self._keepalive = keepalive
        self._topics: list[dict[str, float | None]] = []  # when each was said last
        for one in keepalive:
            names = dict.fromkeys(one.topic.captures)
            texts = [_listed(known.get(name)) for name in names]
            filled = (
                one.topic.fill(dict(zip(names, each, strict=True))) for each in product(*texts)
            )
            self._topics.append(dict.fromkeys(topic for topic in filled if topic is not None))
        self._connected = False

    def connected(self) -> None:
        """Begin anew."""
        self._connected = True
        for topics in self._topics:
            topics.update(dict.fromkeys(topics))

    def heard(self, captures: Captures) -> None:
        """Take note of what topics captured."""
        for one, topics in zip(self._keepalive, self._topics, strict=True):
            if len(topics) < _MOST and all(name in captures for name in one.topic.captures):
                topic = one.topic.fill(captures)
                if topic is not None and not {"+", "#", "\0"}.intersection(topic):
                    topics.setdefault(topic, None)

    def due(self, now_s: float) -> Iterator[Outgoing]:
        """Give what is to be said now."""
        if not self._connected:
            return
        for one, topics in zip(self._keepalive, self._topics, strict=True):
            for topic, last_s in topics.items():
                if last_s is None or now_s - last_s >= one.every_s:
                    topics[topic] = now_s
                    yield Outgoing(topic, one.first if last_s is None else one.payload)


def _check_known(keepalive: Sequence[Keepalive], known: Mapping[str, Any]) -> None:
    """Raise ConfigError for what no keepalive asks for."""
    names = {name for one in keepalive for name in one.topic.captures}
    for name in known:
        if name not in names:
            told = guess(name, names) or "; delete it"
            raise ConfigError(f"known: the map does not ask for {name!r}{told}")


def _listed(texts: Any) -> list[str]:
    return [] if texts is None else [texts] if isinstance(texts, str) else [*map(str, texts)]
