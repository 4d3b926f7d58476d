"""What a bridge is: the questions of one device in one protocol, without time or MQTT.

`heliobus.poller` asks them, `heliobus.bridging` runs a component of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a protocol needs no more than their names
    from heliobus.link import Link
    from heliobus.sample import Values
    from heliobus.settings import DeviceSettings


@dataclass(frozen=True, slots=True)
class Group:
    """Questions that are asked together. `every_s` inf: once, after the first values.

    `wire_s` is about how long they take, so that they can be put where they fit.
    """

    name: str
    every_s: float
    wire_s: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device says it is; empty where it has not said."""

    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


class Bridge(Protocol):
    """One device on a link. A component's folder exports its class as BRIDGE."""

    def __init__(self, device: "DeviceSettings") -> None:
        """Take the settings; no I/O. Raise ConfigError for options that cannot work."""
        ...

    @property
    def kind(self) -> str:
        """Name the kind of the contract."""
        ...

    @property
    def groups(self) -> Sequence[Group]:
        """Give the poll groups. The first is the beat: each success publishes one sample.

        The values of the others are carried until their next turn, and dropped when it fails.
        """
        ...

    @property
    def identity(self) -> Identity:
        """Give what has been learned so far."""
        ...

    def poll(self, link: "Link", group: str) -> "Values":
        """Ask one group. Raise FrameError (it failed this time), LinkError (open the link anew)."""
        ...

    def forget(self) -> None:
        """Forget what was learned: the link was lost, another device may be plugged in."""
        ...
