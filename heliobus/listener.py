"""What a listener is: a bridge whose devices speak by themselves, and are found as they speak.

It lives without a clock and without a connection: messages go in, readings come out.
`heliobus.listening` runs a component of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from heliobus.bridge import Identity

if TYPE_CHECKING:  # a protocol needs no more than their names
    from heliobus.bus import Message, Subscription
    from heliobus.contract import Contract
    from heliobus.follower import Outgoing
    from heliobus.sample import Values
    from heliobus.settings import BridgeSettings, BrokerSettings


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on two clocks: monotonic seconds, and milliseconds since 1970 as far as known."""

    s: float
    ms: int


@dataclass(slots=True)
class Heard:
    """One device that was heard of. `online` None: not known yet, which is shown as offline.

    `every_s` is how often it is expected to give a sample; `title` is its owner's name for it;
    `via` names the device that it is reached through.
    """

    name: str
    kind: str
    every_s: float
    identity: Identity = field(default_factory=Identity)
    title: str = ""
    role: str = ""
    via: str = ""
    online: bool | None = None
    messages: int = 0
    refused: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Values of one device that belong together, complete at a moment of the monotonic clock."""

    device: str
    values: "Values"
    measured_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What a message held that cannot be used, and why; it goes to `rejected`."""

    topic: str
    reason: str
    data: Mapping[str, Any]


class Listener(Protocol):
    """One bridge of devices that speak by themselves. A folder exports its class as BRIDGE.

    Its `config.json` says `"devices": "found"`.
    """

    def __init__(self, settings: "BridgeSettings", *, folder: Path, contract: "Contract") -> None:
        """Take the settings; no I/O but the files they name. Raise ConfigError.

        Relative paths of the configuration start at `folder`.
        """
        ...

    @property
    def broker(self) -> "BrokerSettings | None":
        """Give the broker where the devices speak; None: that of the bus."""
        ...

    @property
    def subscriptions(self) -> Sequence["Subscription"]:
        """Give what to hear."""
        ...

    @property
    def devices(self) -> Mapping[str, Heard]:
        """Give every device heard of so far, by name. None is ever taken away."""
        ...

    @property
    def hints(self) -> Sequence[str]:
        """Give what the owner should know now, a line each; they stand in the status.

        A line keeps its words as long as it holds: each new one is logged.
        """
        ...

    def connected(self, now: Moment) -> None:
        """Begin anew: nothing is carried over a lost connection."""
        ...

    def take(self, message: "Message", now: Moment) -> Sequence[Refused]:
        """Take in one message, which came at `now`. Return what of it is refused."""
        ...

    def due(self, now: Moment) -> Sequence[Reading]:
        """Give the readings that are complete; also notes who has fallen silent.

        Called a few times a second and after each burst of messages. While messages wait, `now`
        is when the newest one came that was taken in: never earlier than before.
        """
        ...

    def speak(self, now: Moment) -> Iterable["Outgoing"]:
        """Give what has to be said to the devices so that they go on speaking."""
        ...
