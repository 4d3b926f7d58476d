"""Flux: InfluxDB 2.x. It can be switched on in 1.8, and 3 has it no more."""

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.dashboards.language import (
    DEVICE,
    EVENT_FIELDS,
    EVENT_LIMIT,
    LATE_MIN,
    TableOfFields,
    matched,
)
from scripts.dashboards.model import Page, Query, Shape

_LOCAL = 'import "timezone"\n\noption location = timezone.location(name: "$__timezone")\n\n'
_BY_DEVICE = ('keep(columns: ["_time", "_value", "device"])', 'group(columns: ["device"])')
_BY_MEMBER = (
    'rename(columns: {{_field: "name"}})',
    'keep(columns: ["_time", "_value", "name"])',
    'group(columns: ["name"])',
)
_PIVOT = 'pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'


def _window(every: str, how: str, *more: str) -> str:
    return f"aggregateWindow({', '.join((every, f'fn: {how}', 'createEmpty: false', *more))})"


def _texts(*words: str) -> str:
    return ", ".join(f'"{word}"' for word in words)


_EVERY = "every: v.windowPeriod"
_STEPS: Mapping[Shape, Sequence[str]] = {
    Shape.SERIES: (_window(_EVERY, "{how}"), *_BY_DEVICE),
    Shape.WORDS: (_window(_EVERY, "{how}"), *_BY_DEVICE),
    Shape.TOTAL: (
        _window(_EVERY, "mean"),
        'group(columns: ["_time"])',
        "sum()",
        "group()",
        'sort(columns: ["_time"])',
    ),
    Shape.LATEST: ("last()", *_BY_DEVICE),
    Shape.LATEST_TOTAL: ("last()", "group()", "sum()"),
    Shape.NAMED: ("last()", "group()", "{how}()", "map(fn: (r) => ({{{named}}}))"),
    Shape.TABLE: (
        "last()",
        # Every newest value at one time, so that they share one row.
        "map(fn: (r) => ({{r with _time: v.timeRangeStop}}))",
        _PIVOT,
        "group()",
        "keep(columns: [{columns}])",
        'sort(columns: ["device"])',
    ),
    Shape.FAMILY: (_window(_EVERY, "mean"), *_BY_MEMBER),
    Shape.FAMILY_LATEST: ("last()", *_BY_MEMBER),
    Shape.DAYS: (
        _window(f"every: 1d, offset: {LATE_MIN}m", "max", 'timeSrc: "_start"'),
        *_BY_DEVICE,
    ),
    Shape.DAYS_COUNTED: (
        _window("every: 15m", "max"),
        "difference(nonNegative: true)",
        _window("every: 1d", "sum", 'timeSrc: "_start"'),
        *_BY_DEVICE,
    ),
    Shape.EVENTS: (
        _PIVOT,
        "group()",
        f"keep(columns: [{_texts('_time', 'device', *EVENT_FIELDS)}])",
        'sort(columns: ["_time"], desc: true)',
        f"limit(n: {EVENT_LIMIT})",
    ),
}


# Of the newest values of a device only those of one field, where there is another, too.
_WITH = (
    "last()",
    'group(columns: ["site", "device"])',
    'pivot(rowKey: ["device"], columnKey: ["_field"], valueColumn: "_value")',
    "filter(fn: (r) => exists r.{only_with} and exists r.{field})",
    "map(fn: (r) => ({{_time: v.timeRangeStop, device: r.device, _value: r.{field}}}))",
)


class Flux(TableOfFields):
    """The dashboards for Flux; the bucket is the data source's default."""

    name = "flux"
    title = "Flux"
    datasource = "influxdb"
    uid = "heliobus-flux"
    time = "Time"

    def target(self, query: Query, legend: str, *, table: bool) -> dict[str, Any]:  # noqa: ARG002
        """Give the target: nothing but the text."""
        return {"query": self.text(query, table=table)}

    def display_name(self, query: Query, legend: str) -> str:
        """Name the lines by the column that they are grouped by."""
        if query.shape in (Shape.FAMILY, Shape.FAMILY_LATEST, Shape.TABLE, Shape.EVENTS):
            return ""
        return legend.replace(DEVICE, "${__field.labels.device}")

    def split(self, query: Query) -> list[dict[str, Any]]:  # noqa: ARG002 - a Language
        """Leave it: each device is a frame of its own."""
        return []

    def variables(self, page: Page) -> list[dict[str, Any]]:
        """Ask for the tags."""
        schema = 'import "influxdata/influxdb/schema"\n\n'
        text = f'{schema}schema.tagValues(bucket: v.defaultBucket, tag: "site")'
        found = [_variable("site", "Site", text)]
        if page.totals:
            kinds = " or ".join(f'r._value == "{kind}"' for kind in page.totals)
            text = (
                f"{schema}schema.measurements(bucket: v.defaultBucket)\n"
                f"  |> filter(fn: (r) => {kinds})"
            )
            found.append(_variable("totals", "Totals from", text, multi=False, sort=2))
        if page.devices:
            text = (
                f'{schema}schema.tagValues(bucket: v.defaultBucket, tag: "device", predicate:'
                f' (r) => r._measurement == "{page.devices}" and r.site =~ /^${{site:regex}}$/)'
            )
            found.append(_variable("device", "Device", text))
        return found

    def text(self, query: Query, *, table: bool = False) -> str:
        """Give the query."""
        head, *steps = _base(query)
        columns = _texts("device", *query.fields)
        named = ", ".join(f"{name}: r._value" for name in query.names)
        forms = [*(_WITH if query.only_with else ()), *_STEPS[query.shape]]
        for form in forms:
            steps.append(
                form.format(
                    how=query.how,
                    columns=columns,
                    named=named,
                    field=query.field,
                    only_with=query.only_with,
                )
            )
        if query.shape in (Shape.DAYS, Shape.DAYS_COUNTED):
            head = _LOCAL + head
        if table and query.shape in (Shape.DAYS, Shape.DAYS_COUNTED):
            steps += ["group()", 'rename(columns: {_time: "Time", _value: "value"})']
        return head + "".join(f"\n  |> {step}" for step in steps)


def _base(query: Query) -> list[str]:
    kind = "events" if query.shape is Shape.EVENTS else query.kind
    if query.shape is Shape.EVENTS:
        fields = " or ".join(f'r._field == "{name}"' for name in EVENT_FIELDS)
    elif query.shape in (Shape.FAMILY, Shape.FAMILY_LATEST):
        fields = f"r._field =~ /^{query.field}$/"
    else:
        asked = (*query.fields, *((query.only_with,) if query.only_with else ()))
        fields = " or ".join(f'r._field == "{name}"' for name in asked)
    place = "r.site =~ /^${site:regex}$/"
    if query.shape is not Shape.EVENTS and not query.every_device:
        place += " and r.device =~ /^${device:regex}$/"
    return [
        "from(bucket: v.defaultBucket)",
        "range(start: v.timeRangeStart, stop: v.timeRangeStop)",
        f'filter(fn: (r) => r._measurement == "{kind}")',
        f"filter(fn: (r) => {fields})",
        f"filter(fn: (r) => {place})",
    ]


def _variable(name: str, label: str, text: str, **more: Any) -> dict[str, Any]:
    return matched(Flux.datasource, name, label, text, text, **more)
