"""What a bridge is: the questions of one device in one protocol, without time or MQTT.

`heliobus.poller` asks them, `heliobus.bridging` runs a component of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:  # a protocol needs no more than their names
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


@dataclass(frozen=True, slots=True)
class Part:
    """A device behind another one that answers for it: an inverter of a gateway.

    `kind` "": the owner has named it, and it has not been seen yet. `name` is the one that the
    owner gave it on the bus; else it is DEVICE_PART.
    """

    kind: str
    identity: Identity = Identity()
    role: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """What one poll told of several devices, by the part's name; "" is the device itself.

    A part that two beats in a row do not tell of is offline.
    """

    values: "Mapping[str, Values]"


class Port(Protocol):
    """An open way to devices, as the loop sees it; what it carries is between it and its bridge.

    One that opens itself anew may count in `losses` how often it has lost what it should have kept:
    then nothing is carried on. One that hears more than it gives may have `counts` of it.
    """

    url: str
    name: str
    tap: Callable[[str, bytes], None] | None

    def close(self) -> None:
        """Close; safe to call twice, from any thread."""
        ...


@runtime_checkable
class Lasting(Protocol):
    """A way to devices that outlives what goes wrong on it: the port that a device dials into."""

    def renew(self) -> None:
        """Let go of what has failed; the loop goes on with this port, and does not open another."""
        ...

    def look(self) -> None:
        """Raise LinkError where what was there is over; called between the polls."""
        ...

    def judge(self, *, answers: bool) -> None:
        """Learn after each poll whether any device is online: nobody takes the place of that."""
        ...


P_contra = TypeVar("P_contra", bound=Port, contravariant=True)


class Bridge(Protocol[P_contra]):
    """One device on a link. A component's folder exports its class as BRIDGE.

    The class may have a static `open_link(url, devices)`, which opens the way to these devices of
    one link; without it there is `heliobus.link.open_link`. A likewise `check_link` raises
    ConfigError where they cannot share that link. A device may have a `role`: what it measures
    where its owner does not say. It may have `warnings`: what looks wrong in its settings, and
    may be right. `listens` True says that it only takes what has come: to look again costs nothing.
    """

    def __init__(self, device: "DeviceSettings") -> None:
        """Take the settings; no I/O. Raise ConfigError for options that cannot work."""
        ...

    @property
    def kind(self) -> str:
        """Name the kind of the contract; "" while only the device itself could tell."""
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

    def poll(self, link: P_contra, group: str) -> "Values | Parts":
        """Ask one group. Raise FrameError (it failed this time), LinkError (open the link anew)."""
        ...

    def forget(self) -> None:
        """Forget what was learned: the link was lost, another device may be plugged in."""
        ...


@runtime_checkable
class Gateway(Protocol):
    """A bridge whose device answers for others, too: each is a device of its own on the bus.

    Its polls give `Parts`. Its config.json says `"parts": true`, so that the broker lets it write
    them.
    """

    @property
    def parts(self) -> Mapping[str, Part]:
        """Give what is known to be behind it, of which there may be more with time.

        Called from any thread: what was given never changes.
        """
        ...


@runtime_checkable
class Sleeper(Protocol):
    """A bridge whose device is silent at night, which is no fault.

    It is asked less and less often, like any silent device, and these values are published at each
    of these tries from the second beat on.
    """

    def asleep(self, *, lost: bool) -> "Values | Parts | None":
        """Give what to publish while it is silent; None: it should be awake, so it is offline.

        `lost`: the link itself is gone. A device that has the link within it may sleep like that,
        and the answer outlives `forget`; one on a port of ours does not.
        """
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a device has logged: `name` like `alarm_logged`, and words for people.

    `details` are fields of the kind `event`.
    """

    name: str
    text: str
    details: "Values" = field(default_factory=dict)


@runtime_checkable
class Reporter(Protocol):
    """A bridge whose device has things to report that are no values: the entries of its log."""

    def events(self) -> Sequence[Event]:
        """Give what has happened since the last call; called after each poll, good or bad."""
        ...


def check_links(kind: type[Any], by_link: Mapping[str, Sequence[Bridge[Any]]]) -> None:
    """Raise ConfigError where devices of this class cannot share their link."""
    check = getattr(kind, "check_link", None)
    if check is not None:
        for url, devices in by_link.items():
            check(url, devices)
