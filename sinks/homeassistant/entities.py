"""One value of a device as an entity of Home Assistant."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sinks.homeassistant import templates
from sinks.homeassistant.classes import BINARY_SENSOR, fitting
from sinks.homeassistant.names import Place

if TYPE_CHECKING:
    from heliobus.contract import Contract

Entity = dict[str, Any]

# A value is shown no longer when it has been due so many times, though not within a minute.
MISSED: Final = 4
SHORTEST_EXPIRY_S: Final = 60
LONGEST_CADENCE_S: Final = 7 * 86400.0
_DECIMALS: Final = tuple(range(10))
_OF_THE_CONTRACT: Final = (
    "type", "title", "unit", "device_class", "state_class", "precision", "enum", "diagnostic",
)  # fmt: skip
LONGEST_WORDS: Final = 120
# Home Assistant says unknown of its own accord where the value is none of the options.
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a value is: as the device's `info` says, and the contract where that is silent."""

    type: str
    title: str
    unit: str = ""
    device_class: str = ""
    state_class: str = ""
    precision: int | None = None
    options: tuple[str, ...] = ()
    diagnostic: bool = False
    every_s: float | None = None


def words(value: object, longest: int = LONGEST_WORDS) -> str:
    """Give what can be shown of a text that anybody may have written; "" for anything else."""
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value[:longest] if c.isprintable()).strip()


def seconds(value: object) -> float | None:
    """Give a cadence; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return min(float(value), LONGEST_CADENCE_S)


def choices(value: object) -> tuple[str, ...]:
    """Give the texts that a value may be, but for those that cannot be shown."""
    texts = value if isinstance(value, list | tuple) else ()
    shown = dict.fromkeys(one for one in texts if one and words(one) == one)
    return tuple(one for one in shown if one != UNKNOWN)


def meaning(contract: "Contract", kind: str, name: str, note: Mapping[str, Any]) -> Meaning:
    """Judge what a field is; `note` is what the device's info says of it."""
    known = contract.field(kind, name) or contract.field("sensor", name)
    told: dict[str, Any] = {"title": name.replace("_", " ").capitalize()}
    if known is None:
        told["unit"] = contract.unit(name)
    else:
        told |= {key: getattr(known, key) for key in _OF_THE_CONTRACT}
    told |= {key: value for key, value in note.items() if key != "title" or words(value)}
    precision = told.get("precision")
    return Meaning(
        type=words(told.get("type")),
        title=words(told["title"]),
        unit=words(told.get("unit")),
        device_class=words(told.get("device_class")),
        state_class=words(told.get("state_class")),
        precision=precision if precision in _DECIMALS else None,
        options=choices(told.get("enum")),
        diagnostic=told.get("diagnostic") is True,
        every_s=seconds(told.get("every_s")),
    )


def entity(where: Place, field: str, what: Meaning, *, topic: str, source: str = "") -> Entity:
    """Give the entity of a field. `source` is the expression for its value in the message."""
    kind = what.type or ("number" if what.unit else "string")
    platform, own = _SORTS.get(kind, _text)(source or templates.path(field), what)
    shown: Entity = {
        "p": platform,
        "name": what.title,
        "uniq_id": where.unique_id(field),
        "def_ent_id": where.entity_id(platform, field),
        "stat_t": topic,
        **own,
    }
    if what.diagnostic:
        shown["ent_cat"] = "diagnostic"
    if what.every_s is not None:
        shown["exp_aft"] = max(SHORTEST_EXPIRY_S, math.ceil(MISSED * what.every_s))
    return shown


def _number(source: str, what: Meaning) -> tuple[str, Entity]:
    classes = fitting(what.unit, what.device_class, what.state_class)
    own: Entity = {
        "unit_of_meas": classes.unit,
        "dev_cla": classes.device_class,
        "stat_cla": classes.state_class,
    }
    own = {key: value for key, value in own.items() if value}
    if what.precision is not None:
        own["sug_dsp_prc"] = what.precision
    return "sensor", {**own, "val_tpl": templates.number(source)}


def _boolean(source: str, what: Meaning) -> tuple[str, Entity]:
    own = {"dev_cla": what.device_class} if what.device_class in BINARY_SENSOR else {}
    return "binary_sensor", {**own, "val_tpl": templates.on_off(source)}


def _text(source: str, what: Meaning) -> tuple[str, Entity]:
    if not what.options:
        return "sensor", {"val_tpl": templates.text(source)}
    options = list(what.options)
    return "sensor", {
        "dev_cla": "enum",
        "ops": options,
        "val_tpl": templates.one_of(source, options),
    }


_SORTS: Final[Mapping[str, Callable[[str, Meaning], tuple[str, Entity]]]] = {
    "number": _number,
    "integer": _number,
    "boolean": _boolean,
}
