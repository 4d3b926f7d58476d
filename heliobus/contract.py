"""The contract on the bus: which fields exist, in which unit and range, and who may have them.

Everything is read from the folder `schemas/`: `fields.json` defines each field once and names
the kinds that may have it, `kinds/` tells about the kinds, and the other files describe the
messages. Values are checked field by field with small compiled checks (fastjsonschema), so
that a bad field costs that field only; whole messages with one compiled check each.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import fastjsonschema

from heliobus.errors import ConfigError, FrameError, guess
from heliobus.sample import RESERVED, Value, Values, load_object

Schema = Mapping[str, Any]
_Check = Callable[[Any], object]

# A legal field name. 63 is the length of a column name in PostgreSQL.
FIELD_NAME: Final = re.compile(r"[a-z0-9_]{1,63}\Z")
# Whole numbers beyond this lose digits in JSON readers that count in doubles.
LARGEST_INTEGER: Final = 2**53
LONGEST_TEXT: Final = 1000
LONGEST_LIST: Final = 256
# An unknown kind is read as this one, which may have every field.
ANYTHING: Final = "sensor"

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_CONSTRAINTS = ("type", "minimum", "maximum", "enum", "maxLength", "items")
_DIGITS = str.maketrans("123456789", "000000000")


@dataclass(frozen=True, slots=True)
class Field:
    """One field, or the pattern of a family such as `pv_[0-9][0-9]_w`.

    `constraints` is its JSON Schema without annotations. `diagnostic` marks settings, codes and
    raw values that a dashboard need not show.
    """

    name: str
    type: str
    title: str
    unit: str = ""
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[str, ...] = ()
    device_class: str = ""
    state_class: str = ""
    precision: int | None = None
    diagnostic: bool = False
    family: bool = False
    kinds: tuple[str, ...] = ()
    constraints: Schema = field(default_factory=dict, hash=False)

    @property
    def expected(self) -> str:
        """Say in words what its values must be."""
        if self.enum:
            return "one of " + ", ".join(self.enum)
        if self.type in ("number", "integer"):
            whole = "a whole number" if self.type == "integer" else "a number"
            return f"{whole} from {self.minimum:.16g} to {self.maximum:.16g} {self.unit}".rstrip()
        longest = self.constraints.get("items", self.constraints).get("maxLength", LONGEST_TEXT)
        words = {
            "boolean": "true or false",
            "string": f"a text of at most {longest} characters",
            "array": f"a list of at most {LONGEST_LIST} texts of at most {longest} characters",
        }
        return words[self.type]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of device. `main` names the fields to show first.

    `families` are the patterns, as they stand in `fields.json`: `^pv_[0-9][0-9]_w$`.
    """

    name: str
    title: str
    description: str
    required: tuple[str, ...]
    main: tuple[str, ...]
    every_field: bool
    fields: Mapping[str, Field]
    families: Mapping[str, Field]


def schemas_folder() -> Path:
    """Give the folder of the schemas: inside a wheel, else beside this package."""
    here = Path(__file__).parent
    inside = here / "_app" / "schemas"
    return inside if inside.is_dir() else here.parent / "schemas"


def load(folder: Path | None = None) -> "Contract":
    """Read the schemas. Raise ConfigError when they are missing or broken."""
    return Contract(folder or schemas_folder())


def read_schema(path: Path) -> dict[str, Any]:
    """Read one schema file. Raise ConfigError when it is missing or no JSON object."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}; install heliobus again") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"{path}: found no JSON object; install heliobus again")
    return schema


class Contract:
    """The vocabulary of the bus and its checks. Read once with `load()` and handed around."""

    def __init__(self, folder: Path) -> None:
        """Read `fields.json` and `kinds/`; everything else waits until it is asked for."""
        self._folder = folder
        source = read_schema(folder / "fields.json")
        self.version: str = source["heliobus"]["contract"]
        self.units: Mapping[str, str] = MappingProxyType(source["heliobus"]["units"])
        self.fields: Mapping[str, Field] = {
            name: _field(name, schema) for name, schema in source["properties"].items()
        }
        self.families: Mapping[str, Field] = {
            pattern: replace(_field(pattern.strip("^$"), schema), family=True)
            for pattern, schema in source["patternProperties"].items()
        }
        self.kinds: Mapping[str, Kind] = {
            path.stem: self._kind(path) for path in sorted((folder / "kinds").glob("*.json"))
        }
        self._shapes = {_shape(family.name): family for family in self.families.values()}
        self._members: dict[str, Field] = {}
        self._field_checks: dict[str, _Check] = {}
        self._shared_checks: dict[str, _Check] = {}
        self._message_checks: dict[str, _Check] = {}

    @property
    def messages(self) -> tuple[str, ...]:
        """Name the messages and other objects that have a schema besides the kinds."""
        return tuple(p.stem for p in sorted(self._folder.glob("*.json")) if p.stem != "fields")

    def field(self, kind: str, name: str) -> Field | None:
        """Find a field of a kind, also a member of a family such as `pv_01_w`."""
        found = self.fields.get(name) or self._member(name)
        if found is None:
            return None
        known = self.kinds.get(kind) or self.kinds[ANYTHING]
        return found if known.every_field or known.name in found.kinds else None

    def no_field(self, kind: str, name: str) -> str:
        """Say that a kind has no such field, and what may have been meant."""
        if self.field(ANYTHING, name):
            return f"{name!r} is a field, but not of kind {kind}"
        known = self if self.kinds[kind].every_field else self.kinds[kind]
        members = (re.sub(r"\[[^]]*\]\[[^]]*\]", "01", f.name) for f in known.families.values())
        meant = guess(name, [*known.fields, *members])
        return f"{name!r} is not a field of kind {kind}{meant if 'mean' in meant else ''}"

    def unit(self, name: str) -> str:
        """Give the unit that the end of any legal field name states; "" for none."""
        parts = name.split("_")
        for size in (2, 1):
            unit = self.units.get("_".join(parts[-size:])) if len(parts) > size else None
            if unit is not None:
                return unit
        return ""

    def strict(self, kind: str, values: Mapping[str, Any]) -> tuple[Values, dict[str, str]]:
        """Judge values as a publisher must: part them into the good and the reasons of the bad.

        A field that the kind does not have, and a text outside its list, is bad.
        """
        return _part(values, lambda name, value: self._strict_fault(kind, name, value))

    def sift(self, kind: str, values: Mapping[str, Any]) -> tuple[Values, dict[str, str]]:
        """Judge values as a consumer must: part them into the good and the reasons of the bad.

        The publisher may know a newer contract. So a field that the kind does not have is good
        when its name is legal and its value plain, and a text may be new to its list.
        """
        return _part(values, lambda name, value: self._sift_fault(kind, name, value))

    def schema(self, name: str) -> dict[str, Any]:
        """Give the complete JSON Schema of a kind's `state` message, or of another message.

        Raise ConfigError when there is none of this name.
        """
        if name in self.kinds:
            return self._state_schema(self.kinds[name])
        if name not in self.messages:
            known = ", ".join([*self.kinds, *self.messages])
            raise ConfigError(f"schema: found {name!r}, expected one of {known}")
        return read_schema(self._folder / f"{name}.json")

    def check(self, name: str, message: object) -> str | None:
        """Check a whole message: a kind's `state`, or info, status, command, replay and so on.

        Give None when it is good, else in words where it is not.
        """
        if name not in self._message_checks:
            self._message_checks[name] = fastjsonschema.compile(self.schema(name))
        try:
            self._message_checks[name](message)
        except fastjsonschema.JsonSchemaValueException:
            return f"{name}: {_worded(self.schema(name), message)}"
        return None

    def parse(self, name: str, payload: bytes) -> dict[str, Any]:
        """Read and check a message that is a JSON object. Raise FrameError."""
        body = load_object(payload)
        if (fault := self.check(name, body)) is not None:
            raise FrameError(fault)
        return body

    def _kind(self, path: Path) -> Kind:
        source, name = read_schema(path), path.stem
        notes = source["heliobus"]
        return Kind(
            name=name,
            title=notes["title"],
            description=notes["description"],
            required=tuple(source["required"]),
            main=tuple(notes["main"]),
            every_field=notes.get("every_field", False),
            fields={key: found for key, found in self.fields.items() if name in found.kinds},
            families={key: found for key, found in self.families.items() if name in found.kinds},
        )

    def _member(self, name: str) -> Field | None:
        member = self._members.get(name)
        if member is not None:
            return member
        family = self._shapes.get(name.translate(_DIGITS))
        if family is None or not re.fullmatch(family.name, name):
            return None
        number = re.search("[0-9]+", name)
        title = family.title.replace("#", number[0].lstrip("0") or "0" if number else "")
        # Families are finite, so this cannot grow without end.
        self._members[name] = replace(family, name=name, title=title)
        return self._members[name]

    def _strict_fault(self, kind: str, name: str, value: Any) -> str | None:
        known = self.field(kind, name)
        if known is None:
            return _illegal(name) or f"{name}: not a field of kind {kind}{self._hint(kind, name)}"
        return _not_plain(name, value) or self._field_fault(known, value)

    def _sift_fault(self, kind: str, name: str, value: Any) -> str | None:
        known = self.field(kind, name)
        if known is None:
            return _illegal(name) or _not_plain(name, value)
        if known.enum and isinstance(value, str):
            return _not_plain(name, value)
        return _not_plain(name, value) or self._field_fault(known, value)

    def _field_fault(self, known: Field, value: Any) -> str | None:
        check = self._field_checks.get(known.name) or self._compile(known)
        try:
            check(value)
        except fastjsonschema.JsonSchemaValueException:
            return f"{known.name}: found {value!r:.60}, expected {known.expected}"
        return None

    def _compile(self, known: Field) -> _Check:
        # Many fields share their limits: a check takes 0.3 ms to compile and is kept once.
        key = str(known.constraints)
        if key not in self._shared_checks:
            self._shared_checks[key] = fastjsonschema.compile(dict(known.constraints))
        self._field_checks[known.name] = self._shared_checks[key]
        return self._shared_checks[key]

    def _hint(self, kind: str, name: str) -> str:
        import difflib

        known = self.kinds.get(kind) or self.kinds[ANYTHING]
        names = self.fields if known.every_field else known.fields
        near = difflib.get_close_matches(name, names, n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def _state_schema(self, kind: Kind) -> dict[str, Any]:
        source = read_schema(self._folder / "fields.json")
        envelope = read_schema(self._folder / "state.json")

        def of_kind(part: str) -> dict[str, Any]:
            return {
                name: schema
                for name, schema in source[part].items()
                if kind.every_field or kind.name in schema["heliobus"]["kinds"]
            }

        properties = envelope["properties"] | {"kind": {"const": kind.name}}
        return {
            "$schema": _DRAFT,
            "heliobus": {
                "title": kind.title,
                "description": kind.description,
                "contract": self.version,
                "main": list(kind.main),
            },
            "type": "object",
            "required": list(kind.required),
            "properties": properties | of_kind("properties"),
            "patternProperties": of_kind("patternProperties"),
            "additionalProperties": False,
        }


def _field(name: str, schema: Schema) -> Field:
    notes = schema["heliobus"]
    return Field(
        name=name,
        type=schema["type"],
        title=notes["title"],
        unit=notes.get("unit", ""),
        description=notes.get("description", ""),
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        enum=tuple(schema.get("enum", ())),
        device_class=notes.get("device_class", ""),
        state_class=notes.get("state_class", ""),
        precision=notes.get("precision"),
        diagnostic=notes.get("diagnostic", False),
        kinds=tuple(notes["kinds"]),
        constraints={key: schema[key] for key in _CONSTRAINTS if key in schema},
    )


def _part(
    values: Mapping[str, Any], fault: Callable[[str, Any], str | None]
) -> tuple[Values, dict[str, str]]:
    good: Values = {}
    bad: dict[str, str] = {}
    for name, value in values.items():
        reason = fault(name, value)
        if reason is None:
            good[name] = value
        else:
            bad[name] = reason
    return good, bad


def _shape(pattern: str) -> str:
    """Reduce a family's pattern to what its members look like with every digit set to 0."""
    return re.sub(r"\[[^]]*\]", "0", pattern)


def _illegal(name: str) -> str | None:
    if name in RESERVED:
        return f"{name}: a reserved name, no field may have it"
    if not FIELD_NAME.match(name):
        return f"{name!r:.80}: not a field name; expected at most 63 of a-z, 0-9 and _"
    return None


def _not_plain(name: str, value: Any) -> str | None:
    """Refuse what no field may hold, whatever its schema says: NaN passes every validator."""
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{name}: found {value}, expected a finite number"
    if isinstance(value, int):
        large = abs(value) > LARGEST_INTEGER
        return f"{name}: found a number beyond {LARGEST_INTEGER}, too large" if large else None
    if isinstance(value, list):
        if len(value) <= LONGEST_LIST and all(_is_text(item) for item in value):
            return None
    elif _is_text(value):
        return None
    return f"{name}: found {value!r:.60}, expected a number, true or false, a text or texts"


def _is_text(value: Value) -> bool:
    """Tell a text that every database and encoding can hold: no NUL, no half of a pair."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _worded(schema: Schema, message: object) -> str:
    # 80 ms and 10 MB that a running component does not spend unless something is wrong.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(message))
    if error is None:  # a line end after the text: Python's $ is laxer than the compiled check
        return "a name or time ends with a line break"
    where = error.json_path.removeprefix("$").removeprefix(".")
    return f"{where}: {error.message:.300}" if where else f"{error.message:.300}"
