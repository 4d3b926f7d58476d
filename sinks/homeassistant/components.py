"""How a component of heliobus is, from its status, as a device of Home Assistant."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from heliobus.health import FIELDS, KIND
from heliobus.topics import Topics
from sinks.homeassistant import templates
from sinks.homeassistant.devices import ORIGIN, Payload, not_offline
from sinks.homeassistant.entities import Entity, Meaning, entity, meaning, words
from sinks.homeassistant.names import Place

if TYPE_CHECKING:
    from heliobus.contract import Contract

_ONLINE: Final = "is_online"
_ERROR: Final = "component_error"
_DEVICES: Final = f"({templates.path('devices')} | default({{}}))"
# What a bridge says of its devices, as a list; an empty one where it says nothing.
_EACH: Final = f"({_DEVICES}.values() | select('mapping') if {_DEVICES} is mapping else [])"
_OF_DEVICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "offline_count": f"{_EACH} | rejectattr('state', 'eq', 'online') | list | count",
        "errors_count": f"{_EACH} | map(attribute='errors') | select('number') | sum",
        "polls_count": f"{_EACH} | map(attribute='polls') | select('number') | sum",
        "poll_p95_ms": f"{_EACH} | map(attribute='p95_ms') | select('number') | max",
    }
)
_ANY_ERROR: Final = f"{_EACH} | map(attribute='error') | select('string') | first"
_OWN: Final[Mapping[str, Meaning]] = MappingProxyType(
    {
        "poll_p95_ms": Meaning(
            "number", "Longest poll of 95 in 100", "ms", "duration", "measurement", precision=0
        ),
        "uptime_h": Meaning("number", "Uptime", "h", "duration", "measurement", precision=1),
    }
)
# Shown once somebody enables them: they change with each status, or matter to few.
_HIDDEN: Final = frozenset(
    {
        "component_role",
        "holes_count",
        "poll_p95_ms",
        "polls_count",
        "rewritten_count",
        "stored_count",
        "waiting_count",
    }
)


def shape(status: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give what of a status its payload depends on."""
    return (*(words(status.get(key)) for key in ("type", "role", "version")), *_present(status))


class Components:
    """Makes the payloads of components."""

    def __init__(self, contract: "Contract", base: str) -> None:
        self._contract = contract
        self._base = base

    def payload(
        self, where: Place, status: Mapping[str, Any], *, name: str, known: Collection[str]
    ) -> Payload:
        """Give the payload of a component; `known` are the entities that it has had so far.

        A status that the broker published as the component's will says nothing but offline.
        """
        topic = Topics(where.site, self._base).component(where.component, "status")
        fields = {_ONLINE, _ERROR, *_present(status), *_ALL.intersection(known)}
        device = {"ids": [where.id], "name": name, "mf": ORIGIN["name"]}
        if model := " ".join(filter(None, (words(status.get("type")), words(status.get("role"))))):
            device["mdl"] = model
        if version := words(status.get("version")):
            device["sw"] = version
        return {
            "dev": device,
            "o": dict(ORIGIN),
            "avty": [not_offline(topic)],
            "avty_mode": "all",
            "cmps": {field: self._entity(where, field, topic) for field in sorted(fields)},
        }

    def _entity(self, where: Place, field: str, topic: str) -> Entity:
        what = _OWN.get(field) or meaning(self._contract, KIND, field, {})
        shown = entity(where, field, what, topic=topic, source=_source(field))
        shown["ent_cat"] = "diagnostic"
        if field == _ONLINE:
            # It must be there to say that the component is not.
            always = {"t": topic, "val_tpl": templates.ALWAYS_ONLINE}
            shown |= {"name": None, "val_tpl": _is_online(), "avty": [always]}
        elif field == "uptime_h":
            hours = "(v / 3600) | round(1)"
            shown["val_tpl"] = templates.number(templates.path("uptime_s"), shown=hours)
        if field in _HIDDEN:
            shown["en"] = False
        return shown


def _is_online() -> str:
    state = templates.path("state")
    return templates.of(state, "none if v is none else 'OFF' if v == 'offline' else 'ON'")


def _source(field: str) -> str:
    if field == _ERROR:
        return f"{templates.path('error')} | default({_ANY_ERROR} | default('none'))"
    return _OF_DEVICES.get(field) or templates.path(*FIELDS.get(field, (field,)))


def _present(status: Mapping[str, Any]) -> Iterator[str]:
    for field, path in FIELDS.items():
        found: Any = status
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            yield _SHOWN_AS.get(field, field)
    if status.get("devices") and isinstance(status["devices"], Mapping):
        yield from _OF_DEVICES


_SHOWN_AS: Final[Mapping[str, str]] = MappingProxyType({"uptime_s": "uptime_h"})
_ALL: Final = frozenset({_SHOWN_AS.get(field, field) for field in FIELDS} | _OF_DEVICES.keys())
