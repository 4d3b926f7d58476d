"""The words in which dashboards are declared: pages, rows, panels and queries.

Nothing here knows a query language or Grafana's JSON. Fields are names of the contract; unit,
title, decimals and the words of a list come from there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

# The kind that a page's variable `totals` names: what has the sums of the house.
TOTALS = "$totals"


class Shape(Enum):
    """What a query gives."""

    SERIES = auto()  # one line per device
    TOTAL = auto()  # one line: the sum over all devices
    LATEST = auto()  # the newest value of each device
    LATEST_TOTAL = auto()  # the sum of these
    NAMED = auto()  # the same, or their mean, as a row with a column for each of the names
    TABLE = auto()  # one row per device, one column per field, newest values
    WORDS = auto()  # a text over time, per device
    FAMILY = auto()  # one line per member of a family such as cell_01_v, of one device
    FAMILY_LATEST = auto()  # the newest value of each member, of one device
    DAYS = auto()  # energy per local day, per device: the most that `*_today_kwh` reached
    DAYS_COUNTED = auto()  # the same from a counter for life: the sum of its steps upwards
    EVENTS = auto()  # the newest events


class Look(Enum):
    """How a panel shows it."""

    STAT = auto()
    GAUGE = auto()
    BARGAUGE = auto()
    LINES = auto()
    STACK = auto()  # lines on top of each other
    BARS = auto()
    MONTHS = auto()
    YEARS = auto()
    STATES = auto()  # coloured bands over time
    TABLE = auto()
    FLOW = auto()  # the diagram of scripts/dashboards/flow.py
    TEXT = auto()


Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from this value on this colour. The first has None."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `fields` is one name, but many for a TABLE and a pattern for a FAMILY.

    `how` is mean, max, min or last within an interval. Where `every_device` is true, the page's
    variable `device` does not count. `style` are further properties of its lines. NAMED alone has
    the others: `how` is sum or mean, `only_with` a field that a device must report, too, and
    `otherwise` is asked where this finds nothing.
    """

    shape: Shape
    kind: str
    fields: tuple[str, ...]
    title: str = ""
    how: str = "mean"
    color: str = ""
    every_device: bool = False
    style: Mapping[str, object] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    only_with: str = ""
    otherwise: "Query | None" = None

    @property
    def field(self) -> str:
        """Give the one field, or the first of a table."""
        return self.fields[0]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `description` says what is seen, and what positive means.

    `recent` asks for the newest part of the range only, such as "15m". `unit` and `steps` stand
    for those of the first field where they are given. `of` and `becomes` rename the members of a
    family. `options` replace Grafana's where a panel is special.
    """

    title: str
    description: str
    look: Look
    queries: tuple[Query, ...]
    width: int = 12
    height: int = 8
    recent: str = ""
    unit: str = ""
    decimals: int | None = None
    steps: Steps | None = None
    minimum: float | None = None
    maximum: float | None = None
    no_value: str = "no data"
    becomes: tuple[str, str] | None = None
    text: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and its panels, left to right. `each_device` repeats the row for each device."""

    title: str
    panels: tuple[Panel, ...]
    each_device: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One dashboard. `devices` is the kind that its variable `device` lists, or "" for none.

    `totals` are the kinds that may have the sums of the house, best first.
    """

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    devices: str = ""
    totals: tuple[str, ...] = ()
    since: str = "now-24h"
    refresh: str = "30s"
    tags: tuple[str, ...] = ()

    @property
    def panels(self) -> Iterator[Panel]:
        """Give every panel, top to bottom."""
        return (panel for row in self.rows for panel in row.panels)

    @property
    def queries(self) -> Iterator[Query]:
        """Give every query."""
        return (query for panel in self.panels for query in panel.queries)

    def kinds(self, query: Query) -> tuple[str, ...]:
        """Give the kinds that a query may be asked of."""
        return self.totals if query.kind == TOTALS else (query.kind,)


def several(panel: Panel) -> bool:
    """Say whether the names of lines must tell fields apart, and not only devices."""
    return len({query.fields for query in panel.queries}) > 1


def lines(kind: str, *fields: str, **more: Any) -> tuple[Query, ...]:
    """Ask for fields over time, one line per device."""
    return tuple(Query(Shape.SERIES, kind, (name,), **more) for name in fields)


def words(kind: str, name: str) -> tuple[Query, ...]:
    """Ask for a text over time."""
    return (Query(Shape.WORDS, kind, (name,), how="last"),)


def total(kind: str, name: str, title: str, color: str, **style: object) -> Query:
    """Ask for the sum over all devices over time."""
    style = {name.replace("_", "."): value for name, value in style.items()}
    return Query(Shape.TOTAL, kind, (name,), title, color=color, style=style)


def newest(kind: str, *fields: str, **more: Any) -> tuple[Query, ...]:
    """Ask for the newest value of each device."""
    return tuple(Query(Shape.LATEST, kind, (name,), **more) for name in fields)


def newest_total(kind: str, name: str, title: str, color: str = "") -> Query:
    """Ask for the sum of the newest values of all devices."""
    return Query(Shape.LATEST_TOTAL, kind, (name,), title, color=color)


def table(kind: str, *fields: str) -> tuple[Query, ...]:
    """Ask for the newest values, a row per device."""
    return (Query(Shape.TABLE, kind, fields),)


def members(kind: str, family: str, **more: Any) -> tuple[Query, ...]:
    """Ask for the members of a family over time; the family as a pattern like cell_[0-9][0-9]_v."""
    return (Query(Shape.FAMILY, kind, (family,), **more),)


def newest_members(kind: str, family: str) -> tuple[Query, ...]:
    """Ask for the newest values of the members of a family."""
    return (Query(Shape.FAMILY_LATEST, kind, (family,)),)


def days(kind: str, name: str, title: str = "", color: str = "") -> Query:
    """Ask for the energy of each local day: of a counter of the day, else of one for life."""
    shape = Shape.DAYS if name.endswith("_today_kwh") else Shape.DAYS_COUNTED
    return Query(shape, kind, (name,), title, color=color)


EVENTS = (Query(Shape.EVENTS, "event", ("event",), every_device=True),)
