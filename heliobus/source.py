"""Where a bridge has its devices from: they are asked, or they are heard.

`heliobus.bridging` publishes what either gives, and settles whose the devices are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import Logger
from typing import TYPE_CHECKING, Any, Protocol

from heliobus.bridge import Identity

if TYPE_CHECKING:  # a protocol needs no more than their names
    from heliobus.bridging import BridgeComponent
    from heliobus.bus import Message, Subscription


@dataclass(frozen=True, slots=True)
class Shown:
    """One device as its retained topics show it; two are alike where their `info` is.

    `kind` "": it has not been seen yet, and nothing can be said of it.
    `fields`: every field that it has sent so far, and every how many seconds; inf: once.
    """

    kind: str
    every_s: float
    identity: Identity
    online: bool = field(compare=False)
    fields: Mapping[str, float]
    title: str = ""
    role: str = ""
    via: str = ""
    asleep: bool = field(default=False, compare=False)  # online, and silent

    @property
    def who(self) -> str:
        """Name it for people."""
        named = f"{self.identity.maker} {self.identity.model}".strip()
        return named or self.kind or "not seen yet"

    @property
    def state(self) -> str:
        """Say how it is, in a word."""
        return "asleep" if self.asleep else "online" if self.online else "offline"


def tell(log: Logger, name: str, shown: Shown) -> None:
    """Log that a device has come, gone or fallen asleep."""
    log.info("%s (%s): %s", name, shown.who, shown.state)


class Source(Protocol):
    """The devices of one bridge. Their samples go to `bridge.put`."""

    finds: bool  # devices come up while it runs
    hands_off: str  # what becomes of another bridge's device, and what its owner can do

    @property
    def subscriptions(self) -> "Sequence[Subscription]":
        """Give what to hear on the bus."""
        ...

    @property
    def devices(self) -> Mapping[str, Shown]:
        """Give each device as it is now. None is ever taken away."""
        ...

    def start(self, bridge: "BridgeComponent") -> None:
        """Begin."""
        ...

    def allow(self, name: str, *, allowed: bool) -> None:
        """Give samples of a device, or keep off it."""
        ...

    def returns(self, name: str, via: str) -> bool:
        """Say whether a device may be found again that was ours, reached through `via`."""
        ...

    def connected(self) -> None:
        """Take note that the bus has (again) accepted us."""
        ...

    def take(self, message: "Message") -> None:
        """Take in one message of the bus."""
        ...

    def tick(self) -> Mapping[str, Shown]:
        """Do what is due. Give the devices as they are then."""
        ...

    def well(self) -> bool:
        """Say whether real progress is being made. Raise RuntimeError where a thread has died."""
        ...

    def stop(self) -> None:
        """Stop; from now on all devices are offline."""
        ...

    def health(self, name: str) -> dict[str, Any]:
        """Give a device's part of the status."""
        ...

    def details(self) -> dict[str, Any]:
        """Give its own part of the status."""
        ...
