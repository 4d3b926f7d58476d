"""YAML read against a schema: checked values, or one line per fault with its line number.

The schema decides how a plain word is read, so `start: no` is the text "no" where text is
expected and `takeover: no` is false. Schemas keep to the subset of schemas/ and carry under
the keyword `heliobus`: title, description, example, default, unit, secret, address (a secret URL
with a place to show), format (how a text is converted, see FORMATS), keys (the format of keys).
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from heliobus.errors import ConfigError, guess
from heliobus.quantities import duration_s, duration_text, name, plain, size_bytes

Schema: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[str, ...]
Format: TypeAlias = Callable[[str], Any]
Entries: TypeAlias = dict[str, tuple[yaml.Node, yaml.Node]]

# A hundred components with all their devices stay below this; nine nested aliases do not.
_MOST_NODES = 20_000
_STANDARD_TAG = "tag:yaml.org,2002:"
_REFERENCE = re.compile(r"\$(\$?)\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_LONGEST_EXAMPLE = 60
_LOOK = (
    "check the indentation, a space after each colon, and closing brackets,"
    " here or in the line before"
)
_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


# How a text is converted before its value is checked; a caller adds those that need a context.
FORMATS: Final[Mapping[str, Format]] = {"duration": duration_s, "size": size_bytes, "name": name}


def limits(schema: Schema) -> str:
    """Word the range that a schema allows: `from 1 to 247`, `at least 1h`; "" for none."""
    note = _note_of(schema)
    word = duration_text if note.get("format") == "duration" else "{:,}".format
    low, high = (word(schema[key]) if key in schema else "" for key in ("minimum", "maximum"))
    unit = "" if word is duration_text else f" {note.get('unit', '')}".rstrip()
    if low and high:
        return f"from {low} to {high}{unit}"
    return f"at least {low}{unit}" if low else f"at most {high}{unit}" if high else ""


def compose(text: str, where: str) -> yaml.Node | None:
    """Parse one YAML document into its nodes; None for an empty one. Raise ConfigError."""
    try:
        # The C loader is faster, but ends the process on deep nesting instead of raising.
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = error.problem or error.context or "cannot be read"
        raise ConfigError(f"{where}:{line}: not YAML: {problem}{_yaml_hint(error)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where}:{line}: not YAML: the character U+{ord(text[error.position]):04X}"
            " is not allowed; delete it"
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{where}:1: nested too deeply; keep it flat") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{where}:1: not YAML: {error}") from error


def _yaml_hint(error: yaml.MarkedYAMLError) -> str:
    """Word what to do: the parser names what it stumbled over, often after the mistake."""
    if r"'\t'" in (error.problem or ""):
        return "; indent with spaces, not tabs"
    grammar = isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError)
    return f"; {_LOOK}" if grammar else ""


def read_text(path: Path) -> str:
    """Read a file of UTF-8 text. Raise FileNotFoundError, and ConfigError for all else."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from error


class _Fault(Exception):
    """What is wrong with the value at hand; `Reader.read` adds where."""


class Reader:
    """Reads nodes against schemas and collects every fault with its line."""

    def __init__(
        self,
        where: str,
        *,
        formats: Mapping[str, Format] = FORMATS,
        refine: Callable[[Schema, Mapping[str, str]], Schema] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Take the file's name for messages; `refine` may replace the schema of a mapping.

        `refine` is given the schema and the mapping's own plain texts by key.
        """
        self.lines: dict[Place, int] = {}
        self._where = where
        self._formats = formats
        self._refine = refine
        self._environ = os.environ if environ is None else environ
        self._faults: list[tuple[int, str]] = []

    def fault(self, place: Place, text: str) -> None:
        """Note a fault at a place that has been read."""
        while place not in self.lines and place:
            place = place[:-1]
        self._note(self.lines.get(place, 1), place, text)

    def finish(self) -> None:
        """Raise ConfigError with one line per fault, in the order of the file, if any."""
        if self._faults:
            faults = dict.fromkeys(sorted(self._faults))  # an anchor used twice is one fault
            lines = [f"{self._where}:{line}: {text}" for line, text in faults]
            raise ConfigError("\n".join(lines))

    def root(self, node: yaml.Node, schema: Schema) -> Any:
        """Read a whole document; the value means nothing when `finish` raises."""
        self.lines[()] = 1
        try:
            if _weight(node, {}) <= _MOST_NODES:
                return self._read(node, schema, ())
            self._note(1, (), "its anchors and aliases unfold without end; write them out")
        except RecursionError:
            self._note(1, (), "nested too deeply; keep it flat")
        return None

    def _note(self, line: int, place: Place, text: str) -> None:
        path = ".".join(place).replace(".[", "[")
        told = f"{path}: {text}" if path else text
        # A key or a word may hold a line break; a fault is one line.
        self._faults.append((line, "".join(c if c.isprintable() else f"{c!a}"[1:-1] for c in told)))

    def _read(self, node: yaml.Node, schema: Schema, place: Place) -> Any:
        """Give the value, or None after noting its faults."""
        try:
            return self._value(node, schema, place)
        except (_Fault, ConfigError) as fault:
            self.fault(place, str(fault))
        return None

    def _value(self, node: yaml.Node, schema: Schema, place: Place) -> Any:
        types = _types(schema)
        if not node.tag.startswith(_STANDARD_TAG):
            raise _Fault(f"the tag {node.tag} is not known; use ${{NAME}} or a file")
        if isinstance(node, yaml.MappingNode) and "object" in types:
            return self._object(node, schema, place)
        if isinstance(node, yaml.SequenceNode) and "array" in types:
            return self._array(node, schema, place)
        if not isinstance(node, yaml.ScalarNode):
            found = "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
            raise _Fault(f"found {found}, expected {_expected(schema)}")
        if node.tag != _STANDARD_TAG + "null":
            return self._scalar(node, schema)
        if "object" in types:  # `devices:` with nothing below it
            return self._object(yaml.MappingNode(node.tag, []), schema, place)
        raise _Fault(f"found nothing, expected {_expected(schema)}")

    def _object(self, node: yaml.MappingNode, schema: Schema, place: Place) -> dict[str, Any]:
        entries = self._entries(node, place)
        if self._refine is not None:
            texts = {k: v.value for k, (_, v) in entries.items() if isinstance(v, yaml.ScalarNode)}
            schema = self._refine(schema, texts)
        values: dict[str, Any] = {}
        for key, (key_node, value_node) in entries.items():
            here = (*place, key)
            self.lines[here] = key_node.start_mark.line + 1
            try:
                values[key] = self._read(value_node, self._member(schema, key), here)
            except (_Fault, ConfigError) as fault:
                blamed = place if isinstance(fault, _Fault) else here
                self._note(self.lines[here], blamed, str(fault))
        for key in schema.get("required", ()):
            if key not in entries:
                self.fault(place, f"{key!r} is missing{_hint(schema, key)}")
        self._fill(values, schema, place)
        self._rename_secrets(values, schema, place)
        return values

    def _entries(self, node: yaml.MappingNode, place: Place) -> Entries:
        """Give key: (key node, value node); `<<` merges what is not written here."""
        own: Entries = {}
        merged: Entries = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _STANDARD_TAG + "merge":
                merged = {**self._merged(value, place), **merged}
            elif not isinstance(key, yaml.ScalarNode):
                self._note(line, place, "found a list or mapping as a key, expected a name")
            elif key.value in own:
                first = own[key.value][0].start_mark.line + 1
                self._note(
                    line,
                    place,
                    f"{key.value!r} is there twice, first in line {first}; rename or delete one",
                )
            else:
                own[key.value] = (key, value)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, place: Place) -> Entries:
        if isinstance(node, yaml.MappingNode):
            return self._entries(node, place)
        if not isinstance(node, yaml.SequenceNode):
            self._note(node.start_mark.line + 1, place, "'<<' merges mappings only")
            return {}
        entries: Entries = {}
        for part in node.value:
            entries = {**self._merged(part, place), **entries}
        return entries

    def _member(self, schema: Schema, key: str) -> Schema:
        keys = _note_of(schema).get("keys")
        if keys:
            self._formats[keys](key)
        properties: Mapping[str, Schema] = schema.get("properties", {})
        if key in properties:
            return properties[key]
        for pattern, member in schema.get("patternProperties", {}).items():
            if re.search(pattern, key):
                return member  # type: ignore[no-any-return]  # the JSON border
        rest = schema.get("additionalProperties", True)
        if rest is False:
            raise _Fault(f"the key {key!r} is not known{guess(key, properties)}")
        return {} if rest is True else rest

    def _fill(self, values: dict[str, Any], schema: Schema, place: Place) -> None:
        """Add the defaults, read as if they had been written."""
        for key, member in schema.get("properties", {}).items():
            if key not in values and (*place, key) not in self.lines:
                default = _note_of(member).get("default")
                if default is not None:
                    node = compose(json.dumps(default), self._where)
                    values[key] = node and self._read(node, member, (*place, key))

    def _rename_secrets(self, values: dict[str, Any], schema: Schema, place: Place) -> None:
        """Put what `password_file` held where `password` would stand."""
        for key, member in schema.get("properties", {}).items():
            if key in values and _note_of(member).get("format") == "secret_file":
                secret = key.removesuffix("_file")
                if secret in values:
                    self.fault((*place, key), f"{secret!r} is there, too; delete one of them")
                values[secret] = values.pop(key)

    def _array(self, node: yaml.SequenceNode, schema: Schema, place: Place) -> list[Any]:
        values = []
        for index, item in enumerate(node.value):
            here = (*place, f"[{index}]")
            self.lines[here] = item.start_mark.line + 1
            values.append(self._read(item, schema.get("items", {}), here))
        return values

    def _scalar(self, node: yaml.ScalarNode, schema: Schema) -> Any:
        text = self._substitute(node.value)
        # What was written, never what the environment holds.
        shown = "a secret" if _note_of(schema).get("secret") else f"{node.value!r:.60}"
        convert = self._formats.get(_note_of(schema).get("format", ""))
        if convert:
            value = convert(text)
        else:
            value = plain(text, _types(schema), quoted=bool(node.style) and text == node.value)
        if value is None:
            bare = plain(text, _types(schema), quoted=False) if node.style else None
            quotes = "" if bare is None else "; leave out the quotes, which make it a text"
            raise _Fault(f"found {shown}, expected {_expected(schema)}{quotes}")
        if not _allowed(value, schema):
            if "enum" in schema:
                raise _Fault(f"{shown} is not known{guess(text, map(written, schema['enum']))}")
            raise _Fault(f"found {shown}, expected {_expected(schema)}{_nearly(node, schema)}")
        return value

    def _substitute(self, text: str) -> str:
        """Put the environment's values in place of `${NAME}`; `$${` stays as `${`."""

        def value(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            if not _NAME.match(match[2]):
                raise _Fault(f"found {match[0]}, expected the name of a variable like ${{NAME}}")
            if match[2] not in self._environ:
                raise _Fault(f"the environment has no {match[2]}; set it, or write $${{ for ${{")
            return self._environ[match[2]]

        return _REFERENCE.sub(value, text) if "${" in text else text


def _weight(node: yaml.Node, known: dict[int, float]) -> float:
    """Count the nodes that aliases unfold to; infinite for one that holds itself."""
    if id(node) not in known:
        known[id(node)] = float("inf")
        children: Iterable[yaml.Node] = ()
        if isinstance(node, yaml.MappingNode):
            children = (child for pair in node.value for child in pair)
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        known[id(node)] = 1 + sum(_weight(child, known) for child in children)
    return known[id(node)]


def _note_of(schema: Schema) -> Mapping[str, Any]:
    note: Mapping[str, Any] = schema.get("heliobus", {})
    return note


def _types(schema: Schema) -> tuple[str, ...]:
    kinds = schema.get("type", tuple(_WORDS))
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _allowed(value: Any, schema: Schema) -> bool:
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if isinstance(value, str):
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10_000) and bool(
            re.search(schema.get("pattern", ""), value)
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    low, high = schema.get("minimum", -float("inf")), schema.get("maximum", float("inf"))
    return bool(low <= value <= high)


def _expected(schema: Schema) -> str:
    """Word what a schema takes: `a whole number from 1 to 247 such as 1`."""
    note = _note_of(schema)
    words = note.get("expects") or " or ".join(_WORDS[kind] for kind in _types(schema))
    if "minimum" in schema and "maximum" in schema:
        words += f" {limits(schema)}"
    elif limits(schema):
        words += f" of {limits(schema)}"
    example = note.get("example")
    is_whole = isinstance(example, list | dict) and "expects" in note  # its words show it
    if example is not None and not isinstance(example, bool) and not is_whole:
        shown = written(example)
        words += f" such as {shown}" if len(shown) <= _LONGEST_EXAMPLE else ""
    return words


def _nearly(node: yaml.ScalarNode, schema: Schema) -> str:
    """Word what a text that is refused for what stands around it may mean."""
    bare = node.value.strip("/ ")
    if bare == node.value or _note_of(schema).get("secret") or not _allowed(bare, schema):
        return ""
    return f"; did you mean {bare!r}?"


def _hint(schema: Schema, key: str) -> str:
    """Word how to write a missing key, when its schema has an example."""
    example = _note_of(schema.get("properties", {}).get(key, {})).get("example")
    return f"; add it, such as '{key}: {written(example)}'" if example is not None else "; add it"


def written(value: Any) -> str:
    """Write a value as it stands in a file, in one line: `{inverter: {every: 5s}}`."""
    if isinstance(value, str):
        return value
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")
