"""A device of the bus as devices of Home Assistant: itself, and its strings and packs."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import heliobus
from heliobus.sample import RESERVED
from heliobus.topics import SLUG, Topics
from sinks.homeassistant import templates
from sinks.homeassistant.controls import controls
from sinks.homeassistant.entities import Entity, entity, meaning, seconds, words
from sinks.homeassistant.names import Place

if TYPE_CHECKING:
    from heliobus.contract import Contract

Payload = dict[str, Any]

ORIGIN: Final[Mapping[str, str]] = MappingProxyType(
    {"name": "heliobus", "sw": heliobus.__version__}
)
# The value that stands for the device itself: its entity bears the device's name alone.
MAIN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "battery": "soc_percent",
        "charger": "charge_state",
        "inverter": "mode",
        "meter": "power_w",
        "relay": "is_on",
    }
)
# What of a device's fields is of a part of it, and how many parts make them devices of their own.
_PART: Final = re.compile(r"((pv|module)_([0-9][0-9]))_([a-z0-9_]+)\Z")
_LEAST_PARTS: Final = MappingProxyType({"pv": 2, "module": 1})
_PART_TITLES: Final = MappingProxyType({"pv": "PV", "module": "Module"})
_PART_MAIN: Final = "w"
# In Home Assistant's words, and in those of `info`.
IDENTITY: Final = MappingProxyType(
    {"mf": "maker", "mdl": "model", "sn": "serial", "sw": "firmware"}
)


@dataclass(frozen=True, slots=True)
class Around:
    """What a device's payload depends on besides its own info.

    `bridge_has_status`: one that never speaks cannot be waited for. `parts`: those that are
    devices already stay it. `via`: the id of the device that this one is reached through.
    """

    bridge_has_status: bool = True
    parts: Collection[str] = ()
    via: str = ""


class Devices:
    """Makes the payloads of devices. `topics` are those of the own site, `sink` our name there."""

    def __init__(self, contract: "Contract", topics: Topics, sink: str) -> None:
        self._contract = contract
        self._own = topics
        self._sink = sink

    def payloads(self, where: Place, info: Mapping[str, Any], around: Around) -> dict[str, Payload]:
        """Give the payload of the device, and of each of its parts, by their ids."""
        topics = Topics(where.site, self._own.base)
        state = topics.device(where.device, "state")
        entities = dict(self._entities(where, info, state))
        parts = _parts(entities, around.parts)
        split = {field for part in parts.values() for field in part}
        body = self._body(where, info, around, topics)
        main = MAIN.get(str(info.get("kind")), "")
        own = {field: one for field, one in entities.items() if field not in split}
        own |= controls(where, info, topics.value(self._sink, where.device, ""), state)
        kind = _spelled(words(info.get("kind")))
        found = {where.id: {**body, "cmps": _named(_within(own, body["dev"]["name"], kind), main)}}
        for name, part in parts.items():
            place = Place(where.site, where.device, name)
            device = {
                "ids": [place.id],
                "name": f"{body['dev']['name']} {_part_title(name)}",
                "via_device": where.id,
            }
            named = _within(part, _part_title(name))
            found[place.id] = {
                **body,
                "dev": device,
                "cmps": _named(named, f"{name}_{_PART_MAIN}"),
            }
        return found

    def name(self, where: Place, title: str = "") -> str:
        """Give the name to show: the owner's title or the name on the bus; another's site first."""
        name = title or _spelled(where.owner)
        if where.component:
            name = f"{ORIGIN['name']} {where.component}"
        return name if where.site == self._own.site else f"{_spelled(where.site)} {name}"

    def _entities(
        self, where: Place, info: Mapping[str, Any], topic: str
    ) -> Iterator[tuple[str, Entity]]:
        notes = _objects(info.get("fields"))
        every_s = seconds(info.get("every_s"))
        # Who names a cadence for some fields has none for the others: they are asked for once.
        named = any(seconds(note.get("every_s")) for note in notes.values())
        common = {} if named or every_s is None else {"every_s": every_s}
        kind = str(info.get("kind"))
        for field, note in notes.items():
            if SLUG.match(field) and field not in RESERVED:
                what = meaning(self._contract, kind, field, {**common, **note})
                yield field, entity(where, field, what, topic=topic)

    def _body(
        self, where: Place, info: Mapping[str, Any], around: Around, topics: Topics
    ) -> Payload:
        device = {"ids": [where.id], "name": self.name(where, words(info.get("title")))}
        device |= {key: text for key, name in IDENTITY.items() if (text := words(info.get(name)))}
        if around.via:
            device["via_device"] = around.via
        availability: list[dict[str, str]] = [{"t": topics.device(where.device, "availability")}]
        if around.bridge_has_status and (bridge := words(info.get("bridge"))):
            availability.append(not_offline(topics.component(bridge, "status")))
        return {"dev": device, "o": dict(ORIGIN), "avty": availability, "avty_mode": "all"}


def not_offline(status: str) -> dict[str, str]:
    """Give the availability of whatever a component speaks for."""
    return {"t": status, "val_tpl": templates.offline_if(templates.path("state"))}


def _objects(value: object) -> dict[str, Mapping[str, Any]]:
    """Give what of an object are objects; anybody may publish an info, with anything in it."""
    members = value.items() if isinstance(value, Mapping) else ()
    return {name: one for name, one in members if isinstance(one, Mapping)}


def _parts(entities: Mapping[str, Entity], known: Collection[str]) -> dict[str, dict[str, Entity]]:
    """Give the fields of each part that is a device of its own."""
    found: dict[str, dict[str, dict[str, Entity]]] = defaultdict(lambda: defaultdict(dict))
    for field, one in entities.items():
        if match := _PART.match(field):
            found[match[2]][match[1]][field] = one
    for name in known:
        found[name.partition("_")[0]].setdefault(name, {})
    parts = {
        name: fields
        for sort, of_sort in found.items()
        if len(of_sort) >= _LEAST_PARTS.get(sort, 1)
        for name, fields in of_sort.items()
        if fields
    }
    rest = len(entities) - sum(map(len, parts.values()))
    # A device without values would not be there to belong to, unless it is there already.
    return parts if rest or known else {}


def _named(entities: Mapping[str, Entity], main: str) -> dict[str, Entity]:
    """Let the main entity have the name of its device."""
    return {
        field: {**one, "name": None} if field == main else one for field, one in entities.items()
    }


def _within(entities: Mapping[str, Entity], *names: str) -> dict[str, Entity]:
    """Name entities within their device: Home Assistant says its name first, such as PV 1."""
    taken = {str(one["name"]) for one in entities.values()}
    found = {}
    for field, one in entities.items():
        title = str(one["name"])
        rests = [title.removeprefix(f"{name} ") for name in names if title.startswith(f"{name} ")]
        shorter = rests[0][:1].upper() + rests[0][1:] if rests else ""
        if shorter and shorter not in taken:
            taken.add(shorter)
            found[field] = {**one, "name": shorter}
        else:
            found[field] = one
    return found


def _part_title(part: str) -> str:
    sort, _, number = part.partition("_")
    return f"{_PART_TITLES.get(sort, sort)} {int(number)}"


def _spelled(name: str) -> str:
    spelled = name.replace("_", " ").strip()
    return spelled[:1].upper() + spelled[1:]
