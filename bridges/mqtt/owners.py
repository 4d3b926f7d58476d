"""Which device is which: its name on the bus, and what its owner wants of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridges.mqtt.naming import name_of
from bridges.mqtt.rules import Captures, Map, Sort
from heliobus.settings import BridgeSettings, DeviceSettings

MOST_DEVICES = 1000

Key = tuple[str, tuple[str, ...]]  # the sort, and the captures that its name is made of


@dataclass(frozen=True, slots=True)
class Named:
    """The name of a device, and what its owner says of it; None: nothing."""

    name: str
    owned: DeviceSettings | None = None


class Owners:
    """Gives devices their names, each only once."""

    def __init__(self, found: Map, settings: BridgeSettings) -> None:
        self._map = found
        self._bridge = settings.name
        self._only_named = bool(settings.options.get("only_named"))
        self._by_id: Mapping[str, DeviceSettings] = {
            str(device.options.get("id", device.name)): device for device in settings.devices
        }
        self._reserved = {device.name for device in settings.devices}
        self._names: dict[str, Key] = {}
        self._refused: set[Key] = set()
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
        return Named(owned.name if owned else default, owned)

    def take(self, sort: Sort, captures: Captures) -> Named | None:
        """Give a new device its name; None where it is left alone, with a hint why."""
        key = self.key(sort, captures)
        if key in self._refused:
            return None
        named = self.name(sort, captures)
        if named is None:
            return None
        if named.owned is None and (self._only_named or self._taken(named.name, key)):
            self._refuse(key, named.name)
            return None
        if self._names.get(named.name, key) != key:
            self._refuse(key, named.name)
            return None
        if len(self._names) >= MOST_DEVICES:
            self.hints["most"] = (
                f"more than {MOST_DEVICES} devices speak here; the others are left alone. Name"
                " those that you want below devices, and write only_named: true"
            )
            return None
        self._names[named.name] = key
        return named

    def _taken(self, name: str, key: Key) -> bool:
        return name in self._reserved or self._names.get(name, key) != key

    def _refuse(self, key: Key, name: str) -> None:
        if len(self._refused) < MOST_DEVICES:
            self._refused.add(key)
        if self._only_named or len(self.hints) > 20:  # noqa: PLR2004  # more tell no more
            return
        first = self._names.get(name)
        texts = self._text(key[1]) or key[0]
        other = (self._text(first[1]) or first[0]) if first else "one of the configuration"
        self.hints[f"name {name}"] = (
            f"two devices would be called {name!r}: {other} and {texts}; the second is left alone."
            f" Give it a name below devices: NAME: {{id: {texts!r}}}"
        )

    def _by_capture(self, sort: Sort, captures: Captures) -> DeviceSettings | None:
        """Find what the owner says of a device that he names by what its topics call it."""
        texts = tuple(captures.get(name, "") for name in sort.captures)
        owned = self._by_id.get(self._text(texts)) if texts else None
        first = next((each for each in self._map.sorts.values() if self._fits(each, texts)), None)
        return owned if first is sort else None

    def _fits(self, sort: Sort, texts: Sequence[str]) -> bool:
        names = sort.captures
        return len(names) == len(texts) and all(
            re.fullmatch(self._map.expressions.get(name, ".+"), text, re.DOTALL)
            for name, text in zip(names, texts, strict=True)
        )

    @staticmethod
    def _text(texts: Sequence[str]) -> str:
        return "/".join(texts)
