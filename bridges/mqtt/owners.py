"""Which device is which: its name on the bus, and what its owner wants of it."""

import re
import unicodedata
import zlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridges.mqtt.patterns import Template
from bridges.mqtt.rules import Captures, Map, Sort
from heliobus.errors import ConfigError
from heliobus.settings import BridgeSettings, DeviceSettings
from heliobus.topics import BUS

if TYPE_CHECKING:
    from heliobus.contract import Contract

MOST_DEVICES = 1000
LONGEST_NAME = 63
_UNFIT = re.compile("[^a-z0-9_]+")

Key = tuple[str, tuple[str, ...]]  # the sort, and the captures that its name is made of


def slug(text: str) -> str:
    """Make a name that may stand in a topic; where letters are lost, with a checksum of them."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(each for each in plain if not unicodedata.combining(each)).casefold()
    name = _UNFIT.sub("_", plain).strip("_")
    if not name or name == BUS:
        return f"device_{zlib.crc32(text.encode(errors='replace')):08x}"
    return name if plain.isascii() and len(name) <= LONGEST_NAME else _summed(name, text)


def _summed(name: str, text: str) -> str:
    """Tell a name from others like it: with a checksum of what the device itself is called."""
    return f"{name[: LONGEST_NAME - 5]}_{zlib.crc32(text.encode(errors='replace')) & 0xFFFF:04x}"


def name_of(template: Template, captures: Captures, bridge: str) -> str | None:
    """Give a device's default name; None where a capture of it is missing."""
    filled = template.fill({**captures, "bridge": bridge})
    return None if filled is None else slug(filled)


@dataclass(frozen=True, slots=True)
class Named:
    """The name of a device, and what its owner says of it; None: nothing.

    `hidden`: it is not wanted, but others are reached through it.
    """

    name: str
    owned: DeviceSettings | None = None
    hidden: bool = False


class Owners:
    """Gives devices their names, each only once.

    Where two would be called the same, both get a checksum, so that neither has the history of
    the other. `moved`: which devices have to be named anew.
    """

    def __init__(self, found: Map, settings: BridgeSettings) -> None:
        self._map = found
        self._bridge = settings.name
        self._only_named = bool(settings.options.get("only_named"))
        self._by_id = _by_id(settings)
        self._reserved = {device.name for device in settings.devices}
        self._vias = {sort.via for sort in found.sorts.values()}
        self._names: dict[str, Key] = {}
        self._hidden = 0
        self._alike: set[str] = set()
        self._refused: set[Key] = set()
        self.moved: list[Key] = []
        self.hints: dict[str, str] = {}

    @staticmethod
    def key(sort: Sort, captures: Captures) -> Key:
        """Tell devices apart."""
        return sort.key, tuple([captures.get(name, "") for name in sort.captures])

    def name(self, sort: Sort, captures: Captures) -> Named | None:
        """Say how a device is called, without taking the name; None: it has no name."""
        default = name_of(sort.name, captures, self._bridge)
        if default is None:
            return None
        owned = self._by_id.get(default) or self._by_capture(sort, captures)
        if owned is not None:
            return Named(owned.name, owned)
        if default in self._alike:
            default = self._apart(default, self.key(sort, captures))
        return Named(default, hidden=self._only_named)

    def take(self, sort: Sort, captures: Captures) -> Named | None:
        """Give a new device its name; None where it is left alone, with a hint why."""
        key = self.key(sort, captures)
        named = None if key in self._refused else self.name(sort, captures)
        if named is None:
            return None
        if named.hidden:
            return self._hide(named, sort)
        if named.owned is None and self._names.get(named.name, key) != key:
            named = self._tell_apart(named.name, key)
        taken = named.owned is None and named.name in self._reserved
        if taken or self._names.get(named.name, key) != key:
            self._refuse(key, named.name)
            return None
        if self._full():
            return None
        self._names[named.name] = key
        return named

    def unheard(self, heard: Container[str]) -> Mapping[str, str]:
        """Give a hint for each device of the owner's that is not among those heard of."""
        return {
            f"unheard {device.name}": (
                f"nothing was heard of {device.name} (id {wanted!r}). Does it speak, and is that"
                " its id?"
            )
            for wanted, device in self._by_id.items()
            if device.name not in heard
        }

    def _hide(self, named: Named, sort: Sort) -> Named | None:
        if sort.key not in self._vias or self._full():
            return None
        self._hidden += 1
        return named

    def _full(self) -> bool:
        if len(self._names) + self._hidden < MOST_DEVICES:
            return False
        self.hints["most"] = (
            f"more than {MOST_DEVICES} devices speak here; the others are left alone. Name"
            " those that you want below devices, and write only_named: true"
        )
        return True

    def _tell_apart(self, name: str, key: Key) -> Named:
        """Name two devices anew that would be called the same."""
        other = self._names.pop(name)
        self._alike.add(name)
        self.moved.append(other)
        if len(self.hints) <= 20:  # noqa: PLR2004  # more tell no more
            self.hints[f"name {name}"] = (
                f"two devices would be called {name!r}: {_called(other)} and {_called(key)}. They"
                f" are now {self._apart(name, other)} and {self._apart(name, key)}; give them names"
                f" of your own below devices: NAME: {{id: {_called(key)!r}}}"
            )
        return Named(self._apart(name, key))

    @staticmethod
    def _apart(name: str, key: Key) -> str:
        return _summed(name, "/".join([key[0], *key[1]]))

    def _refuse(self, key: Key, name: str) -> None:
        if len(self._refused) < MOST_DEVICES:
            self._refused.add(key)
        if len(self.hints) > 20:  # noqa: PLR2004  # more tell no more
            return
        first = self._names.get(name)
        other = _called(first) if first else "one of the configuration"
        self.hints[f"name {name}"] = (
            f"two devices would be called {name!r}: {other} and {_called(key)}; the second is left"
            f" alone. Give it a name below devices: NAME: {{id: {_called(key)!r}}}"
        )

    def _by_capture(self, sort: Sort, captures: Captures) -> DeviceSettings | None:
        """Find what the owner says of a device that he names by what its topics call it."""
        texts = tuple(captures.get(name, "") for name in sort.captures)
        owned = self._by_id.get("/".join(texts)) if texts else None
        fitting = (one for one in self._map.sorts.values() if _fits(self._map, one, texts))
        return owned if next(fitting, None) is sort else None


def _called(key: Key) -> str:
    return "/".join(key[1]) or key[0]


def _fits(found: Map, sort: Sort, texts: Sequence[str]) -> bool:
    names = sort.captures
    return len(names) == len(texts) and all(
        re.fullmatch(found.expressions.get(name, ".+"), text, re.DOTALL)
        for name, text in zip(names, texts, strict=True)
    )


def _by_id(settings: BridgeSettings) -> Mapping[str, DeviceSettings]:
    found: dict[str, DeviceSettings] = {}
    for device in settings.devices:
        wanted = str(device.options.get("id", device.name))
        if wanted in found:
            raise ConfigError(
                f"devices: {found[wanted].name} and {device.name} are both the device with the id"
                f" {wanted!r}; take one out, or give it another id"
            )
        found[wanted] = device
    return found


def check_kinds(found: Map, settings: BridgeSettings, contract: "Contract") -> None:
    """Raise ConfigError where the kind that an owner has chosen can never have values."""
    for device in settings.devices:
        kind, wanted = device.options.get("kind"), str(device.options.get("id", device.name))
        sorts = [s for s in found.sorts.values() if _may_be(found, s, (wanted, settings.name))]
        missing = [_missing(one, kind, contract) for one in sorts] if kind else []
        if missing and all(missing):
            raise ConfigError(
                f"devices.{device.name}.kind: a {kind} has no {' and no '.join(missing[0])}, on"
                f" which its values hang; choose another kind, such as {sorts[0].kind}"
            )


def _missing(sort: Sort, kind: str, contract: "Contract") -> list[str]:
    wanted = [one.field for group in sort.groups.values() for one in group.while_]
    return [name for name in dict.fromkeys(wanted) if contract.field(kind, name) is None]


def _may_be(found: Map, sort: Sort, wanted: tuple[str, str]) -> bool:
    """Say whether an id may mean a device of this sort: by its name, or what its topics say."""
    text, bridge = wanted
    parts = (
        part if isinstance(part, str) else bridge if part[0] == "bridge" else None
        for part in sort.name.parts
    )
    name = "".join("[a-z0-9_]+" if part is None else re.escape(part) for part in parts)
    one = _fits(found, sort, (text,)) or _fits(found, sort, text.split("/"))
    return one or re.fullmatch(name, text) is not None
