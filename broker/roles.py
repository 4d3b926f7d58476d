"""Who may do what on the bus: one table, from which the access list and its check are made.

An access list of mosquitto allows what it names and nothing else. Its `pattern` lines hold for
every user, readers and devices too, so each user gets lines of his own instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from types import MappingProxyType
from typing import Final

from heliobus.settings import Settings

WATCH: Final = "watch"  # the reader that `heliobus watch` and its owner log in as


class Role(Enum):
    """What kind of user it is. The first two are the components of heliobus.yaml."""

    BRIDGE = "bridge"
    SINK = "sink"
    DEVICE = "device"
    READER = "reader"
    OPERATOR = "operator"


_READS_ALL = (("read", "{base}/#"), ("read", "$SYS/#"))  # `#` alone does not reach $SYS
_RIGHTS: Final[Mapping[Role, Sequence[tuple[str, str]]]] = MappingProxyType(
    {
        Role.BRIDGE: (
            ("write", "{base}/{site}/{device}/+"),  # state, info, ...: not set/ISSUER
            ("write", "{base}/{site}/bus/{name}/#"),
            ("write", "{base}/{site}/bus/+/history"),
            ("read", "{base}/{site}/{device}/set/+"),
            ("read", "{base}/{site}/bus/{name}/#"),  # replay
            ("read", "{base}/{site}/+/info"),  # whose the devices are
            ("read", "{base}/{site}/bus/+/status"),
        ),
        Role.SINK: (
            ("write", "{base}/{site}/bus/{name}/#"),
            ("write", "{base}/{site}/bus/+/history"),  # its events have a journal, too
            ("write", "{base}/+/bus/+/replay"),
            ("read", "{base}/#"),
        ),
        Role.DEVICE: (("readwrite", "{topic}/#"),),
        Role.READER: (*_READS_ALL, ("read", "{topic}/#")),
        Role.OPERATOR: (
            *_READS_ALL,
            ("write", "{base}/+/+/set/{name}"),
            ("readwrite", "{topic}/#"),
        ),
    }
)


@dataclass(frozen=True, slots=True)
class User:
    """A user of the broker; `devices` are a bridge's own, `topics` what somebody was given."""

    name: str
    role: Role
    devices: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Right:
    """One line of the access list: read, write or readwrite, and a topic filter."""

    access: str
    filter: str


def components(settings: Settings) -> list[User]:
    """Give the users of a configuration's components."""
    bridges = [
        User(bridge.name, Role.BRIDGE, devices=tuple(device.name for device in bridge.devices))
        for bridge in settings.bridges.values()
    ]
    return [*bridges, *(User(sink, Role.SINK) for sink in settings.sinks)]


def rights(user: User, settings: Settings) -> list[Right]:
    """Give what a user may do."""
    return list(_written_out(user, settings))


def _written_out(user: User, settings: Settings) -> Iterator[Right]:
    for access, template in _RIGHTS[user.role]:
        devices: Iterable[str] = user.devices if "{device}" in template else ("",)
        topics: Iterable[str] = user.topics if "{topic}" in template else ("",)
        for device, topic in product(devices, topics):
            place = template.format(
                base=settings.base_topic,
                site=settings.site,
                name=user.name,
                device=device,
                topic=topic,
            )
            yield Right(access, place)


def access_list(users: Iterable[User], settings: Settings) -> str:
    """Write mosquitto's access list (acl_file)."""
    parts = []
    for user in users:
        lines = [f"topic {right.access} {right.filter}" for right in rights(user, settings)]
        parts.append("\n".join([f"# {user.role.value}", f"user {user.name}", *lines]) + "\n")
    return "\n".join(parts)
