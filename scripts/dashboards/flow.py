"""The energy flow: who feeds whom, as a diagram of Grafana's panel Canvas.

Everything is told by colours of fields, which every Grafana since 10.0 can do; that arrows follow
a field's sign or size by themselves came later, or is broken in some. So there is an arrow for
each direction and thickness, and all but one are transparent. Each is a column with thresholds of
its own: `battery_in_2` is the battery's power, seen from 1 to 3 kW of charging.

A text whose field has no value, or is not there, shows `missing`. The names of elements, of
configuration and of constraints are those of Grafana's own public/app/features/canvas and
public/app/plugins/panel/canvas.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.dashboards.model import TOTALS, Query, Shape, Steps

# Without it Grafana takes the options for those of its own version, and brings nothing up to date.
WRITTEN_FOR = "10.4.0"
CLEAR, TEXT, FAINT = "transparent", "text", "rgba(128, 128, 128, 0.2)"
_EVERYTHING = 1e9  # W
# From which power on an arrow is how thick. Its head is ten times as long as the line is thick.
_BANDS_W = (20, 1000, 3000, _EVERYTHING)
_THICK_PX = (1.5, 2.5, 4)
_PIPE_PX = 10  # Grafana makes no element smaller


@dataclass(frozen=True, slots=True)
class Box:
    """A place in percent of the panel."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Node:
    """One place where energy comes from or goes to. `words` tell a power below, near, above 0.

    Where `hides` is true, the node is not seen unless its power is known.
    """

    name: str
    title: str
    color: str
    box: Box
    missing: str = "no data"
    words: tuple[str, str, str] | None = None
    hides: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """A flow from one place to another; the points are in halves of a box from its middle.

    It is seen where the power of the node `of` has this sign.
    """

    of: str
    name: str
    sign: int
    color: str
    source: str
    start: tuple[float, float]
    target: str
    end: tuple[float, float]


_HUB = "Inverter"
_UP, _DOWN, _LEFT, _RIGHT = (0, 1), (0, -1), (-1, 0), (1, 0)
_SIZE = (28, 25)  # percent
_HUB_BOX = Box(42, 40, 16, 20)
NODES = (
    Node("pv", "☀ PV", "yellow", Box(36, 0, *_SIZE)),
    Node("house", "⌂ House", "blue", Box(72, 37.5, *_SIZE)),
    Node(
        "battery",
        "Battery",
        "green",
        Box(36, 75, *_SIZE),
        words=("discharging", "idle", "charging"),
    ),
    Node(
        "grid",
        "Grid",
        "purple",
        Box(0, 37.5, *_SIZE),
        missing="not measured",
        words=("export", "idle", "import"),
    ),
    Node("generator", "Generator", "orange", Box(0, 0, *_SIZE), missing="", hides=True),
)
ARROWS = (
    Arrow("pv", "pv", 1, "yellow", "pv", _DOWN, _HUB, _UP),
    Arrow("house", "house", 1, "blue", _HUB, _RIGHT, "house", _LEFT),
    Arrow("battery", "battery_in", 1, "green", _HUB, _DOWN, "battery", _UP),
    Arrow("battery", "battery_out", -1, "blue", "battery", _UP, _HUB, _DOWN),
    Arrow("grid", "grid_in", 1, "purple", "grid", _RIGHT, _HUB, _LEFT),
    Arrow("grid", "grid_out", -1, "green", _HUB, _LEFT, "grid", _RIGHT),
    Arrow("generator", "generator", 1, "orange", "generator", (1, -1), _HUB, (-1, 1)),
)
_SOC = "soc"


def _names(node: str) -> tuple[str, ...]:
    """Name the columns of a node: its power, its word, its arrows."""
    (found,) = (each for each in NODES if each.name == node)
    words = (f"{node}_word",) if found.words else ()
    arrows = (
        f"{arrow.name}_{number}"
        for arrow in ARROWS
        if arrow.of == node
        for number in range(1, len(_BANDS_W))
    )
    return (node, *words, *arrows)


def _power(node: str, field: str, otherwise: Query | None = None) -> Query:
    return _named(TOTALS, field, "sum", _names(node), otherwise=otherwise)


def _named(kind: str, field: str, how: str, names: tuple[str, ...], **more: Any) -> Query:
    return Query(Shape.NAMED, kind, (field,), how=how, names=names, every_device=True, **more)


# An inverter with a battery delivers to the house; one without, such as a micro-inverter, does not.
_DELIVERED = _named("inverter", "output_w", "sum", _names("house"), only_with="battery_w")
_CHARGERS = _named("charger", "pv_w", "sum", _names("pv"))
_BATTERIES = _named("battery", "battery_w", "sum", _names("battery"))
_CHARGED = _named("battery", "soc_percent", "mean", (_SOC,))
QUERIES = (
    _power("pv", "pv_w", _CHARGERS),
    _power("house", "load_w", _DELIVERED),
    _power("battery", "battery_w", _BATTERIES),
    _power("grid", "grid_w"),
    _power("generator", "generator_w"),
    _named(TOTALS, "soc_percent", "mean", (_SOC,), otherwise=_CHARGED),
)


# ---------------------------------------------------------------- the fields


def changes(soc: Steps) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give what is different for each column. `soc` are the colours of a state of charge."""
    for node in NODES:
        known: Steps = ((None, CLEAR), (-_EVERYTHING, node.color))
        yield node.name, {"noValue": node.missing, "thresholds": known}
        if node.words:
            yield f"{node.name}_word", {"noValue": " ", "mappings": _mappings(node.words)}
    for arrow in ARROWS:
        for number, steps in enumerate(_bands(arrow), 1):
            yield f"{arrow.name}_{number}", {"thresholds": steps}
    yield _SOC, {"unit": "percent", "decimals": 0, "noValue": " ", "thresholds": soc}


def _bands(arrow: Arrow) -> Iterator[Steps]:
    for near, far in itertools.pairwise(_BANDS_W):
        begin, end = (near, far) if arrow.sign > 0 else (-far, -near)
        yield ((None, CLEAR), (begin, arrow.color), (end, CLEAR))


def _mappings(words: tuple[str, str, str]) -> list[dict[str, Any]]:
    least = _BANDS_W[0]
    spans = ((-_EVERYTHING, -least), (-least, least), (least, _EVERYTHING))
    return [
        {
            "type": "range",
            "options": {"from": begin, "to": end, "result": {"index": index, "text": word}},
        }
        for index, ((begin, end), word) in enumerate(zip(spans, words, strict=True))
    ]


# ---------------------------------------------------------------- the picture


def options() -> dict[str, Any]:
    """Give the options of the panel."""
    elements = [*_pipes(), _box(_HUB, _HUB_BOX, _fixed(FAINT), _fixed(CLEAR), _fixed_text(_HUB))]
    for node in NODES:
        elements += _node(node)
    return {
        "inlineEditing": False,
        "showAdvancedTypes": True,
        "panZoom": False,
        "root": {
            "name": "Energy flow",
            "type": "frame",
            "background": {"color": _fixed(CLEAR)},
            "border": {"color": _fixed(CLEAR)},
            "constraint": {"horizontal": "left", "vertical": "top"},
            "placement": {"left": 0, "top": 0, "width": 100, "height": 100},
            "elements": elements,
        },
    }


def _node(node: Node) -> Iterator[dict[str, Any]]:
    box = node.box
    shown = {"field": node.name, "fixed": CLEAR}
    frame = shown if node.hides else _fixed(node.color)
    yield _box(node.name, box, frame, _fixed(CLEAR), None)
    title = _fixed_text(node.title, 14, frame)
    beside = 0.4 if node.name == "battery" else 0
    yield _line(f"{node.name} title", box, (0.04, 0.34), title, width=1 - beside)
    if beside:
        soc = _field_text(_SOC, "", 14, {"field": _SOC, "fixed": TEXT})
        yield _line(_SOC, box, (0.04, 0.34), soc, begin=1 - beside, width=beside)
    value = _field_text(node.name, node.missing, 20, _fixed(TEXT))
    yield _line(f"{node.name} power", box, (0.34, 0.68), value)
    if node.words:
        word = _field_text(f"{node.name}_word", "", 12, _fixed(TEXT))
        yield _line(f"{node.name} word", box, (0.68, 0.98), word)


def _pipes() -> Iterator[dict[str, Any]]:
    """Give the ways that energy can take, faint behind the arrows."""
    across = {"width": _PIPE_PX, "left": 0}
    along = {"height": _PIPE_PX, "top": 0}
    hub_right, hub_bottom = _HUB_BOX.left + _HUB_BOX.width, _HUB_BOX.top + _HUB_BOX.height
    yield _pipe("pv", {**across, "top": _SIZE[1], "bottom": 100 - _HUB_BOX.top})
    yield _pipe("battery", {**across, "top": hub_bottom, "bottom": _SIZE[1]})
    yield _pipe("grid", {**along, "left": _SIZE[0], "right": 100 - _HUB_BOX.left})
    yield _pipe("house", {**along, "left": hub_right, "right": _SIZE[0]})


def _pipe(name: str, placement: Mapping[str, float]) -> dict[str, Any]:
    upright = "bottom" in placement
    return {
        "name": f"{name} way",
        "type": "rectangle",
        "constraint": {
            "horizontal": "center" if upright else "scale",
            "vertical": "scale" if upright else "center",
        },
        "placement": dict(placement),
        "background": {"color": _fixed(FAINT)},
        "border": {"color": _fixed(CLEAR), "width": 0},
        "config": {},
        "connections": [],
    }


def _line(
    name: str,
    box: Box,
    span: tuple[float, float],
    config: Mapping[str, Any],
    *,
    begin: float = 0,
    width: float = 1,
) -> dict[str, Any]:
    """Give a line of text in a box; `span` is from where to where of its height."""
    top, bottom = (box.top + box.height * part for part in span)
    place = Box(box.left + box.width * begin, top, box.width * width, bottom - top)
    return _box(name, place, None, _fixed(CLEAR), config)


def _box(
    name: str,
    box: Box,
    border: Mapping[str, Any] | None,
    background: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "name": name,
        "type": "rectangle",
        "constraint": {"horizontal": "scale", "vertical": "scale"},
        "placement": {
            "left": box.left,
            "top": box.top,
            "right": 100 - box.left - box.width,
            "bottom": 100 - box.top - box.height,
        },
        "background": {"color": dict(background)},
        "border": {
            "color": dict(border or _fixed(CLEAR)),
            "width": 2 if border else 0,
            "radius": 8,
        },
        "config": dict(config or {}),
        "connections": list(_connections(name)),
    }


def _connections(source: str) -> Iterator[dict[str, Any]]:
    for arrow in ARROWS:
        if arrow.source == source:
            for number, thick_px in enumerate(_THICK_PX, 1):
                yield {
                    "path": "straight",
                    "source": dict(zip("xy", arrow.start, strict=True)),
                    "target": dict(zip("xy", arrow.end, strict=True)),
                    "targetName": arrow.target,
                    "color": {"field": f"{arrow.name}_{number}", "fixed": CLEAR},
                    "size": {"fixed": thick_px, "min": 1, "max": 10},
                }


def _fixed(color: str) -> dict[str, Any]:
    return {"fixed": color}


def _fixed_text(
    text: str, size: int = 12, color: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return _text({"mode": "fixed", "fixed": text}, size, color or _fixed(TEXT))


def _field_text(field: str, missing: str, size: int, color: Mapping[str, Any]) -> dict[str, Any]:
    return _text({"mode": "field", "field": field, "fixed": missing}, size, color)


def _text(text: Mapping[str, Any], size: int, color: Mapping[str, Any]) -> dict[str, Any]:
    aligned = {"align": "center", "valign": "middle"}
    return {"text": dict(text), "size": size, "color": dict(color), **aligned}
