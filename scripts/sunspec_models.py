"""Make bridges/sunspec/models/standard/ of the SunSpec model definitions in pysunspec2.

    .venv/bin/python scripts/sunspec_models.py

A file holds the models that differ in nothing but their number; its name lists these numbers.
Names, places, types, units, scale factors and codes are taken, and no descriptions.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent / "bridges" / "sunspec" / "models" / "standard"
COLUMNS = ("offset", "size", "name", "type", "unit", "scale", "codes")
# Mapped to fields by the bridge, and the common model.
MAPPED = (
    *((1,), (101, 102, 103), (111, 112, 113), (120,), (121,), (123,), (124,), (160,)),
    *((201,), (202, 203, 204), (211, 212, 213, 214)),
    *((701,), (702,), (713,), (714,), (802,), (803,)),
)
# In the chains of real devices, so that `heliobus decode` names their points: an AXS Port (2), SMA
# (11, 12, 130; sunspec/pysunspec issue 7), a Fronius (122, 126, 131, 132), a Solren (402), a
# hybrid inverter of OutBack (7xx).
SEEN = (
    *((2,), (11,), (12,), (122,), (126,), (130,), (131,), (132,), (402,)),
    *((703,), (704,), (705,), (706,), (707,), (708,), (709,), (710,), (711,), (712,), (715,)),
)
# The same code has a prefix in one of its models and none in another.
PREFIXES = ("M_EVENT_", "gg")

Json = dict[str, Any]


def made() -> Mapping[str, str]:
    """Give the files by name."""
    files = {}
    for family in (*MAPPED, *SEEN):
        first, *others = (_model(number) for number in family)
        if any(other != first for other in others):
            raise ValueError(f"the models {family} are no longer alike")
        files["_".join(map(str, family)) + ".json"] = _text(first) + "\n"
    return files


def _model(number: int) -> Json:
    spec = find_spec("sunspec2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("pysunspec2 is not installed")
    path = Path(spec.origin).parent / "models" / "json" / f"model_{number}.json"
    made = _group(json.loads(path.read_text())["group"])
    del made["points"][:2]  # the number and the length, which every model begins with
    if number in (101, 102, 103, 111, 112, 113, *range(201, 205), *range(211, 215)):
        del made["name"]  # the phases are all that these names tell
    return made


def _group(group: Json) -> Json:
    rows, offset = [], 0
    for point in group["points"]:
        rows.append(_row(point, offset))
        offset += point["size"]
    made: Json = {"name": group["name"]}
    if "count" in group:
        made["count"] = str(group["count"] or "*")  # as many as fit
    made["points"] = rows
    if "groups" in group:
        made["groups"] = [_group(inner) for inner in group["groups"]]
    return made


def _row(point: Json, offset: int) -> list[Any]:
    codes = {str(code["value"]): _plain(code["name"]) for code in point.get("symbols", ())}
    unit = point.get("units", "").strip()
    row = [offset, point["size"], point["name"], point["type"], unit, point.get("sf", ""), codes]
    while not row[-1]:
        row.pop()
    return row


def _plain(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _text(value: Any, indent: str = "") -> str:
    """Write JSON with one point on each line."""
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{inner}{json.dumps(key)}: {_text(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[" + ", ".join(_text(item, inner) for item in value) + "]"
    if isinstance(value, list):
        return "[\n" + ",\n".join(inner + json.dumps(row) for row in value) + f"\n{indent}]"
    return json.dumps(value)


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    for name, text in made().items():
        (HERE / name).write_text(text)
