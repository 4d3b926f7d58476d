"""Where a bridge has its devices from: they are asked, or they are heard.

`heliobus.bridging` publishes what either gives, and settles whose the devices are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from heliobus.bridge import Identity

if TYPE_CHECKING:  # a protocol needs no more than their names
    from heliobus.bridging import BridgeComponent
    from heliobus.bus import Message, Subscription


@dataclass(frozen=True, slots=True)
class Shown:
    """One device as its retained topics show it; two are alike where their `info` is.

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
