"""What Home Assistant has been told, and what it is to be told next.

What it has been told is retained on the broker, one payload for each of its devices. Here is
decided what of that changes, and when. Whatever is taken away from Home Assistant is gone from its
owner's dashboards and automations, too; so that comes late, and in order.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final

from sinks.homeassistant.controls import PREFIX
from sinks.homeassistant.devices import IDENTITY, Payload
from sinks.homeassistant.entities import Entity

# A value that a device no longer reports. A bridge that was started at night does not know what
# the inverter reports by day.
FIELD_GONE_S: Final = 86_400.0
COMMAND_GONE_S: Final = 60.0
# How long the word stands that an entity is to be removed: Home Assistant may just be starting.
REMOVAL_STANDS_S: Final = 600.0
# An entity that becomes another sort, or goes to another device, is first removed where it was.
MOVE_S: Final = 2.0


class Announced:
    """The payloads by their ids. `next_s` is when time alone changes one of them."""

    def __init__(self) -> None:
        self.told: dict[str, Payload] = {}
        self.next_s = math.inf
        self._since_s: dict[tuple[str, str], float] = {}  # when something was first missing

    def changes(self, wanted: Mapping[str, Payload], now_s: float) -> Iterator[tuple[str, Payload]]:
        """Give what is to be published so that all that is wanted is told.

        What was told and is not wanted stays as it is; `told.pop` forgets it.
        """
        self.next_s = math.inf
        self._since_s = {key: at_s for key, at_s in self._since_s.items() if key[0] in self.told}
        owners = _owners(wanted)
        former = _owners(self.told)
        for name, payload in wanted.items():
            merged = self._merged(name, payload, owners, now_s)
            for key, one in payload["cmps"].items():
                if (holder := former.get(_unique(one), name)) != name:
                    merged["cmps"].pop(key)
                    if holder in wanted:  # else it comes when the holder goes
                        self._look_again(now_s + MOVE_S)
            if merged["cmps"] and merged != self.told.get(name):
                self.told[name] = merged
                yield name, merged

    def _merged(self, name: str, new: Payload, owners: Mapping[str, str], now_s: float) -> Payload:
        """Add to a payload what has to stay of the one that was told."""
        old = self.told.get(name)
        if old is None:
            return {**new, "cmps": dict(new["cmps"])}
        replaced = _is_another(old["dev"], new["dev"])
        kept = {} if replaced else {key: old["dev"][key] for key in IDENTITY if key in old["dev"]}
        cmps = {
            key: self._in_order(old["cmps"].get(key, one), one, now_s)
            for key, one in new["cmps"].items()
        }
        for key, one in old["cmps"].items():
            if key not in cmps:
                moved = replaced or owners.get(_unique(one), name) != name
                if (rest := self._missing((name, key), one, now_s, at_once=moved)) is not None:
                    cmps[key] = rest
            else:
                self._since_s.pop((name, key), None)
        return {**new, "dev": {**kept, **new["dev"]}, "cmps": cmps}

    def _in_order(self, old: Entity, new: Entity, now_s: float) -> Entity:
        if old["p"] == new["p"] or not _unique(old):
            return new
        self._look_again(now_s + MOVE_S)
        return {"p": old["p"]}

    def _missing(
        self, key: tuple[str, str], one: Entity, now_s: float, *, at_once: bool
    ) -> Entity | None:
        """Give what stands for an entity that is wanted no more; None: nothing any longer."""
        since_s = self._since_s.setdefault(key, now_s)
        if not _unique(one):
            end_s = since_s + REMOVAL_STANDS_S
            if now_s >= end_s:
                del self._since_s[key]
                return None
        else:
            end_s = since_s + (COMMAND_GONE_S if key[1].startswith(PREFIX) else FIELD_GONE_S)
            if at_once or now_s >= end_s:
                self._since_s[key] = now_s
                one, end_s = {"p": one["p"]}, now_s + REMOVAL_STANDS_S
        self._look_again(end_s)
        return one

    def _look_again(self, at_s: float) -> None:
        self.next_s = min(self.next_s, at_s)


def _is_another(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Say whether a device is another than it was; a model may only be known more exactly."""
    return "sn" in old and "sn" in new and old["sn"] != new["sn"]


def _unique(one: Entity) -> str:
    """Give the unique id of an entity; "" of the word that one is to be removed."""
    found: str = one.get("uniq_id", "")
    return found


def _owners(payloads: Mapping[str, Payload]) -> dict[str, str]:
    """Give the payload that has each unique id."""
    return {
        unique: name
        for name, payload in payloads.items()
        for one in payload["cmps"].values()
        if (unique := _unique(one))
    }
