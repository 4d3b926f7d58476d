"""A command of a device as an entity to set it with, and what was set as a command.

`info.commands` has the JSON Schema of each command's value. What can be shown as a number, a
select, a switch or a button is; Home Assistant then sends plain text, which is checked by the
same schema.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeGuard

from heliobus.errors import CommandError
from heliobus.topics import SLUG
from sinks.homeassistant import templates
from sinks.homeassistant.classes import fitting
from sinks.homeassistant.entities import Entity, choices, words
from sinks.homeassistant.names import Place

Schema = Mapping[str, Any]
Scalar = bool | int | float | str

PREFIX: Final = "set-"  # of the ids of these entities; no field has a -
# How long somebody who presses a button waits for something to happen.
VALID_FOR_S: Final = 30
# A state that is not safe ends then, unless it is set again.
LEASE_S: Final = 3600
LONGEST_LEASE_S: Final = 86400
_NUMBER: Final = re.compile(r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?\Z")
_BOOLEANS: Final = MappingProxyType(
    {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
)
_PRESS: Final = "PRESS"
FINEST_STEP: Final = 0.001  # of Home Assistant
LARGEST: Final = 1e12
LONGEST_NUMBER: Final = 32
LONGEST_VALUE: Final = 1000  # bytes
_SETTING: Final[Mapping[str, str]] = MappingProxyType({"ent_cat": "config"})


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a device, as its info describes it."""

    name: str
    schema: Schema

    @property
    def platform(self) -> str:
        """Give the platform that shows such a value; "" where none does."""
        if "const" in self.schema:
            return "button" if isinstance(self.schema["const"], bool | int | float | str) else ""
        match self.schema.get("type"):
            case "boolean":
                return "switch"
            case "number" | "integer" if self.limits:
                return "number"
            case "string" if self.options:
                return "select"
        return ""

    @property
    def note(self) -> Mapping[str, Any]:
        """Give its annotations."""
        note = self.schema.get("heliobus")
        return note if isinstance(note, Mapping) else {}

    @property
    def title(self) -> str:
        """Give the name to show."""
        title = words(self.note.get("title")) or self.name.replace("_", " ")
        return title[:1].upper() + title[1:]

    @property
    def options(self) -> tuple[str, ...]:
        """Give the texts to choose from."""
        return choices(self.schema.get("enum"))

    @property
    def limits(self) -> tuple[float, float] | None:
        """Give the smallest and the largest number; None where not both are known."""
        low, high = self.schema.get("minimum"), self.schema.get("maximum")
        if not _is_number(low) or not _is_number(high) or low > high:
            return None
        return low, high

    @property
    def is_whole(self) -> bool:
        """Say whether the number is a whole one."""
        return self.schema.get("type") == "integer"

    @property
    def step(self) -> float:
        """Give by how much a number may be changed."""
        precision = self.note.get("precision")
        if self.is_whole:
            return 1
        return 10**-precision if precision in (0, 1, 2) else FINEST_STEP

    @property
    def lease_s(self) -> float:
        """Give how long what is set may last without being set again."""
        lease = self.note.get("lease_s")
        return lease if _is_number(lease) and 0 <= lease <= LONGEST_LEASE_S else LEASE_S

    def value(self, text: str) -> Scalar:
        """Read what Home Assistant sent. Raise CommandError."""
        return _VALUES.get(self.platform, _no_value)(self, text.strip())


def commands(info: Mapping[str, Any]) -> dict[str, Command]:
    """Give the commands that a device's info describes."""
    found = info.get("commands")
    members = found.items() if isinstance(found, Mapping) else ()
    return {
        name: Command(name, schema)
        for name, schema in members
        if SLUG.match(name) and isinstance(schema, Mapping)
    }


def controls(where: Place, info: Mapping[str, Any], topic: str, state: str) -> dict[str, Entity]:
    """Give the entities of a device's commands. `topic` is where values go, less the name.

    The value that is set now is shown where the device has a field of the command's name in
    `state`.
    """
    fields = info.get("fields")
    found = {}
    for name, command in commands(info).items():
        if platform := command.platform:
            shown = isinstance(fields, Mapping) and name in fields
            found[f"{PREFIX}{name}"] = {
                "p": platform,
                "name": command.title,
                "uniq_id": where.unique_id("set", name),
                "def_ent_id": where.entity_id(platform, name),
                "cmd_t": topic + name,
                **_ENTITIES[platform](command, {"stat_t": state} if shown else {}),
            }
    return found


# ---------------------------------------------------------------------- as entities


def _number(command: Command, state: Entity) -> Entity:
    low, high = command.limits or (0, 0)
    classes = fitting(
        words(command.note.get("unit")), words(command.note.get("device_class")), state_class=""
    )
    own = {"unit_of_meas": classes.unit, "dev_cla": classes.device_class}
    if state:
        state = {**state, "val_tpl": templates.number(templates.path(command.name), (low, high))}
    return {
        "min": low,
        "max": high,
        "step": command.step,
        **{key: text for key, text in own.items() if text},
        **state,
        **_SETTING,
    }


def _select(command: Command, state: Entity) -> Entity:
    options = command.options
    if state:
        state = {**state, "val_tpl": templates.one_of(templates.path(command.name), options)}
    return {"ops": list(options), **state, **_SETTING}


def _switch(command: Command, state: Entity) -> Entity:
    return {**state, "val_tpl": templates.on_off(templates.path(command.name))} if state else {}


def _button(_command: Command, _state: Entity) -> Entity:
    return {"pl_prs": _PRESS, **_SETTING}


_ENTITIES: Final[Mapping[str, Callable[[Command, Entity], Entity]]] = MappingProxyType(
    {"number": _number, "select": _select, "switch": _switch, "button": _button}
)


# ---------------------------------------------------------------------- as values


def _number_of(command: Command, text: str) -> Scalar:
    low, high = command.limits or (0, 0)
    found = float(text) if len(text) <= LONGEST_NUMBER and _NUMBER.match(text) else math.nan
    if not low <= found <= high or (command.is_whole and not found.is_integer()):
        kind = "a whole number" if command.is_whole else "a number"
        raise CommandError(f"found {text!r:.60}, expected {kind} from {low:.16g} to {high:.16g}")
    return int(found) if found.is_integer() else found


def _option(command: Command, text: str) -> Scalar:
    if text not in command.options:
        options = ", ".join(command.options)
        raise CommandError(f"found {text!r:.60}, expected one of {options:.300}")
    return text


def _boolean(_command: Command, text: str) -> Scalar:
    if (found := _BOOLEANS.get(text.lower())) is None:
        raise CommandError(f"found {text!r:.60}, expected ON or OFF")
    return found


def _pressed(command: Command, text: str) -> Scalar:
    if text != _PRESS:
        raise CommandError(f"found {text!r:.60}, expected {_PRESS}")
    constant: Scalar = command.schema["const"]
    return constant


def _no_value(_command: Command, _text: str) -> Scalar:
    raise CommandError("its value cannot be sent as plain text; send a command")


_VALUES: Final[Mapping[str, Callable[[Command, str], Scalar]]] = MappingProxyType(
    {"number": _number_of, "select": _option, "switch": _boolean, "button": _pressed}
)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
