"""Write `docs/topics.md`, the reference of the bus, from `schemas/`.

python -m heliobus.docs topics            writes the page
python -m heliobus.docs topics --check    exits 1 when the page in docs/ is not the newest
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from heliobus.contract import (
    LARGEST_INTEGER,
    LONGEST_LIST,
    LONGEST_TEXT,
    Contract,
    Field,
    Kind,
    load,
    read_schema,
    schemas_folder,
)
from heliobus.errors import ConfigError
from heliobus.topics import Topics

# Example file and what its message is called, in the order of the page.
EXAMPLES: Sequence[tuple[str, str]] = (
    ("state", "An inverter's `state`"),
    ("state_meter", "A meter's `state`"),
    ("info", "`info`"),
    ("availability", "`availability`"),
    ("command", "A command"),
    ("result", "Its `result`"),
    ("status", "A bridge's `status`"),
    ("event", "An `event`"),
    ("rejected", "A `rejected`"),
    ("replay", "A `replay` request"),
    ("history", "The `history` that answers it"),
)
MESSAGES: Sequence[str] = (
    "info",
    "command",
    "result",
    "status",
    "rejected",
    "replay",
    "history",
)

_INTRODUCTION = """\
# Topics and messages

<!-- Written by `python -m heliobus.docs topics` from schemas/. Change it there, not here. -->

This page says everything that a program must know to read from or write to the bus of heliobus.
It describes version {version} of the contract. Until 1.0 a version may still change names.

The base topic is `heliobus` unless the configuration says otherwise; then follow the site and
the device. The names of sites, devices and components are made of `a-z`, `0-9` and `_`; no
device may be called `bus`. Everything is sent with QoS 1. Payloads are UTF-8 JSON objects, except
for `availability`, which is plain text. NaN and Infinity never occur.

## Topics
"""

_READING = f"""\
## Rules for readers

1. **A device is available** when its `availability` says `online` **and** the `status` of the
   bridge that its `info` names does not say `offline`. Look at both: when a bridge dies, the
   broker publishes the bridge's will, and the device's own topic still says `online`.
2. A retained `state` may be old. Its age is now less `time`; a value's age is at most that and
   the field's `every_s` in `info`: values that a device is asked for less often are carried in
   each message until their next turn.
3. A value that the device did not report is absent. It is not zero and not null.
4. Be tolerant. A field that you do not know is good when its name is legal and its value is a
   finite number, true or false, a text or a list of texts; the end of its name states its unit.
   A kind that you do not know is read as `sensor`. A text that is new to a list of texts is
   taken as it is. A value out of its range costs that value, never the message.
5. No value has more than {LONGEST_TEXT} characters, no list more than {LONGEST_LIST} texts, no
   whole number is beyond {LARGEST_INTEGER}.
6. A `state` completes the stretch of time (`prev`, `time`], a `history` the stretch
   (`after`, `to`]. Who stores data keeps one cursor per site, bridge and device: a stretch that
   begins at the cursor moves it to the end of the stretch. One that begins later leaves a hole;
   one that begins before it, or with `prev: null`, belongs to a new chain. In both cases a
   `replay` request asks the bridge for what follows the cursor, batch by batch, until the answer
   says `end`. `restart` in an answer sets the cursor to its `to`, even backwards. A `state` with
   `quality: provisional` is shown and not stored: it comes again.
7. Messages may arrive twice and history may arrive late. The key of a sample is site, bridge,
   device and `time`.

## Rules for writers

1. Send only fields of the device's kind, in the unit that the name states, within their range.
2. Leave out what you do not know. Publish a code that you cannot name as `<what>_code` and the
   text as `unknown`.
3. `time` is when the answer was complete. It rises strictly. A writer that keeps no journal
   leaves out `prev` and `bridge`: its data is stored, but nobody can see what is missing.
4. Publish every retained topic anew on each connect, and clear those of devices that are gone.
5. Check messages with `heliobus schema KIND`, which prints the JSON Schema of a kind.

## Signs

| what | positive means |
| --- | --- |
| battery current and power | charging |
| grid and meter power | import (consumption) |
| PV | producing; small negative noise is passed on |
| load | consumption; small negative noise is passed on |
| output of an inverter | out of the device |
| counters `*_kwh` | only rise; a bare name counts for life, `*_today_kwh` falls to 0 at the \
device's midnight |

## Evolution

Fields, kinds and texts are added. They are never renamed, retyped or rescaled once the contract
is frozen, and a range is never narrowed. So a reader that follows the rules above understands
messages of one version ahead and of one behind. `info` and `status` name the version that their
writer follows.

## Names and units

A field is called `<what>_<unit>`; the end of the name fixes the unit. Without a unit are only
`power_factor`, `cycles`, `<what>_count`, and `<what>_code`, the device's own number for
something. A name with two digits such as `pv_01_w` belongs to a family: `pv_01_w` to `pv_99_w`.
Phases are `l1_`, `l2_` and `l3_`, and `l12_` lies between two of them.
"""


def render_topics(contract: Contract) -> str:
    """Give the text of `docs/topics.md`."""
    parts = [
        _INTRODUCTION.format(version=contract.version),
        _topics_table(),
        _READING,
        _table(("end of the name", "unit"), _units(contract)),
        "## The envelope of `state`\n\n" + _note(contract.schema("state")),
        _properties_table(contract.schema("state")),
        "## Kinds and their fields\n\n" + _KINDS,
        *(_kind(kind) for kind in contract.kinds.values()),
        "## Other messages\n",
        *(_message(name, contract.schema(name)) for name in MESSAGES),
        "## Examples\n",
        *(_example(stem, title) for stem, title in EXAMPLES),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


_KINDS = """\
Values are shown with their range; whatever lies outside is refused. A name followed by … stands
for a family. The fields below the line "Settings, codes and raw values" are `diagnostic`: a
dashboard need not show them.
"""


def _note(schema: Mapping[str, Any]) -> str:
    return f"{schema['heliobus']['description']}\n"


def _topics_table() -> str:
    topics = Topics("<site>")
    device, component = "<device>", "<component>"
    rows = (
        (topics.device(device, "state"), "yes", "the newest sample of the device"),
        (topics.device(device, "info"), "yes", "what the device is: kind, identity, fields"),
        (topics.device(device, "availability"), "yes", "`online` or `offline`, plain text"),
        (topics.command(device, "<issuer>"), "never", "a command to the device"),
        (topics.device(device, "result"), "no", "what became of a command"),
        (topics.component(component, "status"), "yes", "how a bridge or sink is; its will"),
        (topics.component(component, "event"), "no", "what happened: the audit trail"),
        (topics.component(component, "rejected"), "no", "what was refused, and why"),
        (topics.component("<bridge>", "replay"), "no", "a sink asks for a batch of the journal"),
        (topics.component("<sink>", "history"), "no", "the batch"),
    )
    return _table(
        ("topic", "retained", "payload"), ((f"`{name}`", keep, what) for name, keep, what in rows)
    )


def _units(contract: Contract) -> Iterator[tuple[str, str]]:
    return ((f"`_{suffix}`", unit) for suffix, unit in contract.units.items())


def _kind(kind: Kind) -> str:
    fields = [*kind.fields.values(), *kind.families.values()]
    main = [kind.fields[name] for name in kind.main]
    shown = main + [f for f in fields if not f.diagnostic and f not in main]
    further = [f for f in fields if f.diagnostic and f not in main]
    parts = [f"### {kind.title} (`{kind.name}`)\n", f"{kind.description}\n", _fields_table(shown)]
    if further:
        parts += ["Settings, codes and raw values:\n", _fields_table(further)]
    return "\n".join(parts)


def _fields_table(fields: Iterable[Field]) -> str:
    rows = ((_shown_name(f), f.unit, _told(f), _values(f)) for f in fields)
    return _table(("field", "unit", "meaning", "values"), rows)


def _shown_name(field: Field) -> str:
    if not field.family:
        return f"`{field.name}`"
    name = field.name
    for pattern, digits in (("[0-9][0-9]", "01"), ("[1-3][1-3]", "12"), ("[1-3]", "1")):
        name = name.replace(pattern, digits)
    return f"`{name}` …"


def _told(field: Field) -> str:
    title = field.title.replace("#", "1, 2, …") if field.family else field.title
    return f"{title}. {field.description}" if field.description else title


def _values(field: Field) -> str:
    if field.enum:
        return ", ".join(f"`{text}`" for text in field.enum)
    if field.minimum is not None and field.maximum is not None:
        return f"{field.minimum:.16g} to {field.maximum:.16g}"
    return {"boolean": "true, false", "array": "list of texts"}.get(field.type, "text")


def _message(name: str, schema: Mapping[str, Any]) -> str:
    head = f"### {schema['heliobus']['title']} (`{name}`)\n\n{_note(schema)}"
    return f"{head}\n{_properties_table(schema)}"


def _properties_table(schema: Mapping[str, Any]) -> str:
    return _table(("key", "must be there", "meaning", "values"), _properties(schema, ""))


def _properties(schema: Mapping[str, Any], above: str) -> Iterator[tuple[str, str, str, str]]:
    for name, part in schema.get("properties", {}).items():
        notes = part["heliobus"]
        meaning = ". ".join(filter(None, (notes["title"], notes.get("description"))))
        needed = "yes" if name in schema.get("required", ()) else ""
        yield f"`{above}{name}`", needed, meaning, _allowed(part)
        yield from _properties(part, f"{above}{name}.")
        each = part.get("additionalProperties")
        if isinstance(each, Mapping):
            yield from _properties(each, f"{above}{name}.<name>.")


def _allowed(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(f"`{text}`" for text in part["enum"])
    types = part["type"] if isinstance(part["type"], list) else [part["type"]]
    text = "text"
    if "pattern" in part:
        text = "time" if "[0-9]{4}" in part["pattern"] else "name"
    return " or ".join(text if one == "string" else one for one in types)


def read_example(stem: str) -> tuple[str, Any]:
    """Read the topic and the payload of one example."""
    example = read_schema(schemas_folder() / "examples" / f"{stem}.json")
    return example["topic"], example["payload"]


def _example(stem: str, title: str) -> str:
    topic, payload = read_example(stem)
    if isinstance(payload, str):
        language, text = "text", payload
    else:
        language, text = "json", json.dumps(payload, indent=2, ensure_ascii=False)
    return f"{title}, on `{topic}`:\n\n```{language}\n{text}\n```\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


PAGES: Mapping[str, Callable[[Contract], str]] = {"topics": render_topics}


def main(arguments: Sequence[str]) -> int:
    """Write or check the pages that are named, or all."""
    names = [word for word in arguments if not word.startswith("-")] or list(PAGES)
    if not set(names) <= set(PAGES) or not set(arguments) - set(names) <= {"--check"}:
        raise ConfigError(f"docs: found {' '.join(arguments)}, expected {', '.join(PAGES)} --check")
    contract, stale = load(), 0
    for name in names:
        path = Path(__file__).parent.parent / "docs" / f"{name}.md"
        text = PAGES[name](contract)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            sys.stderr.write(f"{path}: not the newest; run python -m heliobus.docs {name}\n")
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
