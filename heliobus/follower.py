"""What a follower is: something that acts on what it hears, and stores nothing.

Home Assistant's discovery is one, an alert or a rule could be. It lives without a clock and
without a connection: messages go in, messages come out. `heliobus.following` runs a component of
it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # a protocol needs no more than their names
    from heliobus.bus import Message, Subscription
    from heliobus.contract import Contract
    from heliobus.settings import SinkSettings
    from heliobus.topics import Topics


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be published; it waits while the broker takes none.

    A newer retained one takes the place of one that waits on the same topic. An empty retained
    payload clears a topic.
    """

    topic: str
    payload: bytes
    retain: bool = False


class Follower(Protocol):
    """One follower. A component's folder exports its class as SINK.

    Its `config.json` says `"stores": false`.
    """

    def __init__(
        self,
        settings: "SinkSettings",
        *,
        topics: "Topics",
        contract: "Contract",
        now_ms: Callable[[], int],
    ) -> None:
        """Take the settings and the topics of its own site; no I/O. Raise ConfigError.

        `now_ms` gives the time of day, for what bears one: milliseconds since 1970.
        """
        ...

    @property
    def subscriptions(self) -> Sequence["Subscription"]:
        """Give what it wants to hear, in this order."""
        ...

    def connected(self, now_s: float) -> None:
        """Begin anew: the broker has (again) accepted us, and will tell what it retains."""
        ...

    def take(self, message: "Message", now_s: float) -> str | None:
        """Take in one message. Return why it is refused, in one line; None: it is not.

        What is to be obeyed must be neither `retained` nor less than `certain`.
        """
        ...

    def due(self, now_s: float) -> Iterable[Outgoing]:
        """Give what is to be published now; called a few times a second."""
        ...

    def details(self) -> Mapping[str, Any]:
        """Give its part of the component's status."""
        ...
