"""Write docs/config.md from schemas/config.json and the components' config.json files.

python -m heliobus.config_docs            write it
python -m heliobus.config_docs --check    exit 1 when it is not current
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from heliobus import broker_keys
from heliobus.address import SCHEMES
from heliobus.checked_yaml import Schema, limits, written
from heliobus.components import Component, Kind, describe
from heliobus.config import file_schema

PAGE = Path(__file__).parent.parent / "docs" / "config.md"
_HEAD = """\
# The configuration: heliobus.yaml

<!-- Written by `python -m heliobus.config_docs` from schemas/config.json and the config.json of
each bridge and sink. Change those, then run it again. -->

{description} The command takes the file that `--config` names, else `heliobus.yaml` in the
current folder, else `/etc/heliobus/heliobus.yaml`.

```yaml
{example}```

`heliobus check` judges a file without opening any port, and names every fault in one line:

```text
heliobus.yaml:7: bridges.axpert.every: found '5x', expected a duration such as 5s, 4m, 24h or 7d
```

## How values are written

- **Durations** are written as `500ms`, `5s`, `4m`, `24h`, `7d`, `2w`, `1h30m`, or as plain seconds.
- **Sizes** are written as `64 kB`, `256 MB`, `1 GB` (steps of 1000), `1 MiB` (steps of 1024), or
  as plain bytes.
- **Names** of the site, of components and of devices stand in topics: lower-case letters, digits
  and `_`. The name `bus` is reserved. No two components may share a name, and no two devices.
- **Secrets** do not belong into this file. A key such as `password_file` names a file that holds
  the secret and nothing else; keep it readable for its owner only (`chmod 600`).
- **Environment variables**: `${{NAME}}` anywhere in a value is replaced by what the environment
  holds. Write `$${{` for a plain `${{`.
- **Paths** that are relative start at the folder of this file.
- **Anchors** (`&name`, `*name`, `<<: *name`) work; keys of the top level that begin with `x-` are
  not read, so anchors may stand there.

## Links

A link is the way to a device. What it leaves out, such as the speed of a serial port, is as the
device has it from the factory.

| link | is |
|---|---|
{links}
"""


def render() -> str:
    """Give the whole page."""
    schema = file_schema()
    note = schema["heliobus"]
    example = {
        **note["example"],
        "bridges": schema["properties"]["bridges"]["heliobus"]["example"],
        "sinks": schema["properties"]["sinks"]["heliobus"]["example"],
    }
    links = "\n".join(f"| {_code(one.example)} | {one.title} |" for one in SCHEMES.values())
    head = _HEAD.format(description=note["description"], example=_yaml(example), links=links)
    ours = [component for component in describe() if component.source == "heliobus"]
    return "\n".join([head, *_sections("", schema), *map(_component, ours)])


def _sections(place: str, schema: Schema) -> Iterator[str]:
    """Give one section for a mapping and one for each mapping in it."""
    properties: Mapping[str, Schema] = schema.get("properties", {})
    if place:
        yield _section(f"## `{place}`", schema, place)
    else:
        yield _section("## The whole file", {**schema, "heliobus": {}}, place)
    for key, member in properties.items():
        below = f"{place}.{key}" if place else key
        named = member.get("additionalProperties")
        if isinstance(named, dict):
            yield from _sections(f"{below}.NAME", {**named, "heliobus": member["heliobus"]})
        elif "properties" in member:
            yield from _sections(below, member)


def _section(heading: str, schema: Schema, place: str) -> str:
    note = schema.get("heliobus", {})
    parts = [heading, "", note["description"], ""] if "description" in note else [heading, ""]
    parts += _table(schema)
    if place and "." not in place and isinstance(note.get("example"), dict):
        parts += ["", "```yaml", _yaml({place: note["example"]}).rstrip(), "```"]
    return "\n".join(parts) + "\n"


def _component(component: Component) -> str:
    config = component.config
    parts = [
        f"## {component.kind.value.capitalize()} `{component.name}`: {component.title}",
        "",
        config.get("description", ""),
        "",
    ]
    if component.listens:
        parts += ["Its devices are found: it needs no `link`, and `devices` may be left out.", ""]
    elif config.get("link") is False:
        parts += ["It needs no `link`.", ""]
    levels = {"component": f"`{component.kind.value}s.NAME`", "device": "each device"}
    for level, where in levels.items():
        schema = config.get(level, {})
        if schema.get("properties"):
            parts += [f"Its own keys in {where}:", "", *_table(schema), ""]
        elif level == "component" or component.kind is Kind.BRIDGE:
            parts += [f"It has no keys of its own in {where}.", ""]
    return "\n".join(parts).rstrip() + "\n"


def _table(schema: Schema) -> list[str]:
    required = schema.get("required", ())
    rows = ["| key | what it is | default | example |", "|---|---|---|---|"]
    for key, member in schema.get("properties", {}).items():
        note = member.get("heliobus", {})
        text = note.get("description", "")
        if "enum" in member:
            text += f" One of {', '.join(f'`{value}`' for value in member['enum'])}."
        if broker_keys.is_broker(member):
            text += " Its keys are those of [`broker`](#broker), but for what concerns our own."
        default = "required" if key in required else _code(note.get("default"))
        if limits(member):
            text += f" {limits(member).capitalize()}."
        rows.append(f"| `{key}` | {text} | {default} | {_code(note.get('example'))} |")
    return rows


def _code(value: Any) -> str:
    if value is None or value == {}:
        return "-"
    return f"`{written(value)}`"


def _yaml(value: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, width=1000)
    return text


def main(arguments: list[str]) -> int:
    """Write the page, or with --check tell whether it is current."""
    page = render()
    if "--check" not in arguments:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        sys.stderr.write(f"{PAGE} is not current; run make docs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
