"""Who may do what on the bus: one table, from which the access list and its check are made.

An access list of mosquitto allows what it names and nothing else. Its `pattern` lines hold for
every user, readers and devices too, so each user gets lines of his own instead.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from types import MappingProxyType
from typing import Final

from heliobus import components as kit
from heliobus.errors import ConfigError
from heliobus.settings import BridgeSettings, BrokerSettings, Settings, SinkSettings
from heliobus.topics import SLUG

WATCH: Final = "watch"  # the reader that `heliobus watch` and its owner log in as
# The prefix of discovery, and where Home Assistant says that it is there, which does not follow the
# prefix; unless somebody has changed them.
DISCOVERY: Final = "homeassistant"
BIRTH: Final = "homeassistant/status"


class Role(Enum):
    """What kind of user it is. The first two are the components of heliobus.yaml."""

    BRIDGE = "bridge"
    SINK = "sink"
    DEVICE = "device"
    READER = "reader"
    OPERATOR = "operator"
    HOMEASSISTANT = "homeassistant"


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
            ("read", "{base}/#"),
        ),
        Role.DEVICE: (("readwrite", "{topic}/#"),),
        Role.READER: (*_READS_ALL, ("read", "{topic}/#")),
        Role.OPERATOR: (
            *_READS_ALL,
            ("write", "{base}/+/+/set/{name}"),
            ("readwrite", "{topic}/#"),
            # What is retained of who is gone; never a command of somebody else.
            *(("write", f"{{tended}}/+/{leaf}") for leaf in ("state", "info", "availability")),
            ("write", "{tended}/bus/+/status"),
        ),
        Role.HOMEASSISTANT: (
            ("read", "{base}/#"),
            ("readwrite", "{topic}/#"),  # it clears what announced a device that its owner deletes
            ("readwrite", BIRTH),
            ("write", "{base}/+/bus/{issuer}/set/#"),  # plain values, which become commands
        ),
    }
)
# A bridge whose devices are found: their names are not known before.
_FOUND: Final = tuple(
    ("write", f"{{base}}/{{site}}/+/{leaf}") for leaf in ("state", "info", "availability")
)
_STORES: Final = (("write", "{base}/+/bus/+/replay"),)
_ISSUES: Final = (("write", "{base}/+/+/set/{name}"),)
_ACCESS: Final = ("read", "write", "readwrite")
_FILTER: Final = re.compile(r"(?![$/])(([^+#\s\0/]*|\+)/)*([^+#\s\0/]+|\+|#)")


@dataclass(frozen=True, slots=True)
class Right:
    """One line of the access list: read, write or readwrite, and a topic filter."""

    access: str
    filter: str


@dataclass(frozen=True, slots=True)
class User:
    """A user of the broker; `devices` are a bridge's own, `topics` what somebody was given.

    `finds`: it has devices besides, which it finds. `stores`: it asks for what it has missed.
    `issues`: it issues commands. `foreign`: what it does beyond heliobus.
    """

    name: str
    role: Role
    devices: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    finds: bool = False
    stores: bool = False
    issues: bool = False
    foreign: tuple[Right, ...] = ()


def components(settings: Settings) -> list[User]:
    """Give the users of a configuration's components. Raise ConfigError."""
    bridges = [
        User(
            bridge.name,
            Role.BRIDGE,
            devices=tuple(device.name for device in bridge.devices),
            finds=kit.finds(bridge.type, bridge.devices),
            foreign=_foreign(bridge, kit.Kind.BRIDGE, settings),
        )
        for bridge in settings.bridges.values()
    ]
    sinks = [
        User(
            sink.name,
            Role.SINK,
            stores=kit.stores(sink.type),
            issues=kit.issues(sink.type),
            foreign=_foreign(sink, kit.Kind.SINK, settings),
        )
        for sink in settings.sinks.values()
    ]
    return [*bridges, *sinks]


def _foreign(
    component: BridgeSettings | SinkSettings, kind: kit.Kind, settings: Settings
) -> tuple[Right, ...]:
    """Give what a component does on this broker beyond heliobus. Raise ConfigError."""
    options = component.options
    if any(isinstance(value, BrokerSettings) for value in options.values()):
        return ()  # it does that on another broker
    found = kit.foreign_topics(kind, component.type, options, folder=settings.folder)
    for access, place in found:
        if access not in _ACCESS or not _FILTER.fullmatch(place):
            raise ConfigError(
                f"{kind.value}s.{component.name}: its folder asks for {access!r:.20} on"
                f" {place!r:.80}, expected read, write or readwrite, and a topic filter"
            )
        if access != "read" and _reaches(place, settings.base_topic):
            raise ConfigError(
                f"{kind.value}s.{component.name}: it would have to write {place}, but below"
                f" {settings.base_topic}/ each component writes only what is its own"
            )
    return tuple(Right(access, place) for access, place in found)


def _reaches(place: str, base: str) -> bool:
    """Say whether a filter takes in a topic below the base topic."""
    levels, wanted = place.split("/"), base.split("/")
    if "#" in levels[: len(wanted)]:
        levels = levels[: levels.index("#")]
    elif len(levels) <= len(wanted):
        return False
    return all(level in ("+", name) for level, name in zip(levels, wanted, strict=False))


def is_site(topic: str, base: str) -> bool:
    """Say whether it is the topic of a site."""
    return topic.startswith(f"{base}/") and bool(SLUG.match(topic.removeprefix(f"{base}/")))


def rights(user: User, settings: Settings) -> list[Right]:
    """Give what a user may do."""
    return list(_written_out(user, settings))


def _written_out(user: User, settings: Settings) -> Iterator[Right]:
    more = ((user.finds, _FOUND), (user.stores, _STORES), (user.issues, _ISSUES))
    templates = [*_RIGHTS[user.role], *(line for has, lines in more if has for line in lines)]
    issuers = [sink.name for sink in settings.sinks.values() if kit.issues(sink.type)]
    for access, template in templates:
        devices: Iterable[str] = user.devices if "{device}" in template else ("",)
        topics: Iterable[str] = ("",)
        if "{topic}" in template or "{tended}" in template:
            tended = "{tended}" in template
            topics = [one for one in user.topics if is_site(one, settings.base_topic) is tended]
        named: Iterable[str] = issuers if "{issuer}" in template else ("",)
        for device, topic, issuer in product(devices, topics, named):
            place = template.format(
                base=settings.base_topic,
                site=settings.site,
                name=user.name,
                device=device,
                topic=topic,
                tended=topic,
                issuer=issuer,
            )
            yield Right(access, place)
    yield from user.foreign


def access_list(users: Iterable[User], settings: Settings) -> str:
    """Write mosquitto's access list (acl_file)."""
    parts = []
    for user in users:
        lines = [f"topic {right.access} {right.filter}" for right in rights(user, settings)]
        parts.append("\n".join([f"# {user.role.value}", f"user {user.name}", *lines]) + "\n")
    return "\n".join(parts)
