"""What Home Assistant is to be told, of all that is known."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from heliobus.topics import Topics
from sinks.homeassistant.components import Components
from sinks.homeassistant.devices import Around, Devices, Payload
from sinks.homeassistant.entities import Entity, words
from sinks.homeassistant.heard import Body
from sinks.homeassistant.names import Place, place

if TYPE_CHECKING:
    from heliobus.contract import Contract


@dataclass
class Known:
    """What is known: devices, components, and serial numbers that others announce, by topic."""

    infos: dict[Place, Body] = field(default_factory=dict)
    statuses: dict[Place, Body] = field(default_factory=dict)
    foreign: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Count the devices and components."""
        return len(self.infos) + len(self.statuses)

    def clear(self) -> None:
        """Forget all of it."""
        self.infos.clear()
        self.statuses.clear()
        self.foreign.clear()


class Wanted:
    """Makes the payloads of all that is known and not left out."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        contract: "Contract",
        topics: Topics,
        sink: str,
    ) -> None:
        self._leave_out: Collection[str] = options["leave_out"]
        self._leaves_doubles = options["opendtu"] == "leave_out"
        self._shows_health: bool = options["health"]
        self._base = topics.base
        self._devices = Devices(contract, topics, sink)
        self._components = Components(contract, topics.base)

    def payloads(self, known: Known, told: Mapping[str, Payload]) -> dict[str, Payload]:
        """Give the payloads by their ids, a device before those that are reached through it."""
        payloads: dict[str, Payload] = {}
        infos = known.infos.items()
        parts = _parts(told)
        for where, info in sorted(infos, key=lambda one: ("via" in one[1], one[0].id)):
            if not self.is_left_out(where) and (where.id in told or not self.double(where, known)):
                around = self._around(where, info, known, told)
                around = replace(around, parts=parts.get(where, ()))
                payloads.update(self._devices.payloads(where, info, around))
        for where, status in sorted(known.statuses.items(), key=lambda one: one[0].id):
            if not self.is_left_out(where):
                payloads[where.id] = self.component(where, status, told)
        _number_alike(payloads, told)
        return payloads

    def component(self, where: Place, status: Body, told: Mapping[str, Payload]) -> Payload:
        """Give the payload of one component."""
        name = self._devices.name(where)
        so_far = told.get(where.id, {}).get("cmps", {})
        return self._components.payload(where, status, name=name, known=so_far.keys())

    def is_left_out(self, where: Place) -> bool:
        """Say whether Home Assistant is never to be told of it."""
        if where.component and not self._shows_health:
            return True
        names = (where.owner, f"{where.site}/{where.owner}")
        patterns = self._leave_out
        return any(fnmatchcase(name, one) for name in names for one in patterns)

    def double(self, where: Place, known: Known) -> str:
        """Give the serial number by which OpenDTU announces this device; "" for none.

        What has been told already stays all the same: it is on dashboards by now.
        """
        info = known.infos.get(where.whole, {})
        serial = words(info.get("serial")) if info.get("kind") == "inverter" else ""
        if self.is_left_out(where):
            return ""
        others = known.foreign.values() if self._leaves_doubles and serial else ()
        return serial if any(serial.casefold() in serials for serials in others) else ""

    def _around(
        self, where: Place, info: Body, known: Known, told: Mapping[str, Payload]
    ) -> Around:
        bridge = Place(where.site, component=words(info.get("bridge")))
        via = Place(where.site, words(info.get("via")))
        is_there = via != where and via in known.infos and not self.is_left_out(via)
        # Once it has spoken it is waited for: else a device that is gone would be there by what it
        # said last.
        topic = Topics(where.site, self._base).component(bridge.component, "status")
        spoke = any(one.get("t") == topic for one in told.get(where.id, {}).get("avty", ()))
        return Around(
            bridge_has_status=spoke or bridge in known.statuses,
            via=via.id if is_there else "",
        )


def _number_alike(payloads: Mapping[str, Payload], told: Mapping[str, Payload]) -> None:
    """Append a number to entity ids that are alike: house + grid_w, house_grid + w.

    What is told stays. Home Assistant would number them as they happen to come.
    """
    holders = {one["def_ent_id"]: one["uniq_id"] for one in _told_entities(told)}
    for one in (one for payload in payloads.values() for one in payload["cmps"].values()):
        wish, number = one["def_ent_id"], 1
        while holders.setdefault(one["def_ent_id"], one["uniq_id"]) != one["uniq_id"]:
            number += 1
            one["def_ent_id"] = f"{wish}_{number}"


def _told_entities(told: Mapping[str, Payload]) -> Iterator[Entity]:
    for payload in told.values():
        yield from (one for one in payload["cmps"].values() if "uniq_id" in one)


def _parts(told: Mapping[str, Payload]) -> dict[Place, list[str]]:
    """Give the parts of each device that are devices already."""
    found: dict[Place, list[str]] = defaultdict(list)
    for name in told:
        where = place(name)
        if where is not None and where.part:
            found[where.whole].append(where.part)
    return found
