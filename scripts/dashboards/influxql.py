"""InfluxQL: InfluxDB 1.x, 2.x by a DBRP mapping, and 3 Core.

Grafana escapes a variable that stands between two slashes of a line, as it does in a regular
expression. So `$__interval` and `$__timezone` come after the last slash of every query.
"""

# ruff: noqa: S608 - it writes queries for people to run, from names of the contract

from collections.abc import Mapping
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

_FROM = 'FROM "{kind}" WHERE {where} GROUP BY'
_STEPS = 'time($__interval), "device" fill(none)'
_LOCAL = "tz('$__timezone')"
_EVENT = ", ".join(f'"{name}"' for name in ("device", *EVENT_FIELDS))
_TEXTS: Mapping[Shape, str] = {
    Shape.SERIES: f'SELECT {{how}}("{{field}}") {_FROM} {_STEPS}',
    Shape.WORDS: f'SELECT {{how}}("{{field}}") {_FROM} {_STEPS}',
    Shape.TOTAL: (
        f'SELECT sum("v") FROM (SELECT mean("{{field}}") AS "v" {_FROM} {_STEPS})'
        " WHERE $timeFilter GROUP BY time($__interval) fill(none)"
    ),
    Shape.LATEST: f'SELECT last("{{field}}") {_FROM} "device"',
    Shape.LATEST_TOTAL: (
        f'SELECT sum("v") FROM (SELECT last("{{field}}") AS "v" {_FROM} "device") WHERE $timeFilter'
    ),
    Shape.NAMED: (
        f'SELECT {{named}} FROM (SELECT last("{{field}}") AS "v" {_FROM} "device")'
        " WHERE $timeFilter"
    ),
    Shape.TABLE: f'SELECT {{columns}} {_FROM} "device"',
    Shape.FAMILY: f"SELECT mean(/^{{field}}$/) {_FROM} time($__interval) fill(none)",
    Shape.FAMILY_LATEST: 'SELECT last(/^{field}$/) FROM "{kind}" WHERE {where}',
    Shape.DAYS: (
        f'SELECT max("{{field}}") AS "value" {_FROM} time(1d, {LATE_MIN}m), "device" fill(none)'
        f" {_LOCAL}"
    ),
    Shape.DAYS_COUNTED: (
        'SELECT sum("v") AS "value" FROM (SELECT non_negative_difference(max("{field}")) AS "v"'
        f' {_FROM} time(15m), "device" fill(none)) WHERE $timeFilter'
        f' GROUP BY time(1d), "device" fill(none) {_LOCAL}'
    ),
    Shape.EVENTS: (
        f'SELECT {_EVENT} FROM "events" WHERE {{where}} ORDER BY time DESC LIMIT {EVENT_LIMIT}'
    ),
}


class InfluxQL(TableOfFields):
    """The dashboards for InfluxQL."""

    name = "influxql"
    title = "InfluxQL"
    datasource = "influxdb"
    uid = "heliobus-influxql"
    time = "Time"

    def target(self, query: Query, legend: str, *, table: bool) -> dict[str, Any]:
        """Give the target: raw text, as a time series or a table."""
        family = query.shape in (Shape.FAMILY, Shape.FAMILY_LATEST)
        alias = "$col" if family else legend.replace(DEVICE, "$tag_device")
        return {
            "query": self.text(query),
            "rawQuery": True,
            "resultFormat": "table" if table else "time_series",
            "alias": "" if table else alias,
        }

    def display_name(self, query: Query, legend: str) -> str:  # noqa: ARG002 - a Language
        """Leave it to the alias."""
        return ""

    def split(self, query: Query) -> list[dict[str, Any]]:  # noqa: ARG002 - a Language
        """Leave it: each device is a frame of its own."""
        return []

    def variables(self, page: Page) -> list[dict[str, Any]]:
        """Ask for the tags."""
        found = [_variable("site", "Site", 'SHOW TAG VALUES WITH KEY = "site"')]
        if page.totals:
            kinds = "|".join(page.totals)
            text = f"SHOW MEASUREMENTS WITH MEASUREMENT =~ /^({kinds})$/"
            found.append(_variable("totals", "Totals from", text, multi=False, sort=2))
        if page.devices:
            text = (
                f'SHOW TAG VALUES FROM "{page.devices}" WITH KEY = "device"'
                ' WHERE "site" =~ /^$site$/'
            )
            found.append(_variable("device", "Device", text))
        return found

    def text(self, query: Query) -> str:
        """Give the query."""
        return _TEXTS[query.shape].format(
            kind=query.kind,
            field=query.field,
            how=query.how,
            columns=", ".join(f'last("{name}") AS "{name}"' for name in query.fields),
            named=", ".join(f'{query.how}("v") AS "{name}"' for name in query.names),
            where=_where(query),
        )


def _where(query: Query) -> str:
    device = "" if query.every_device else ' AND "device" =~ /^$device$/'
    there = f' AND "{query.only_with}" > -1000000' if query.only_with else ""
    return f'$timeFilter AND "site" =~ /^$site$/{device}{there}'


def _variable(name: str, label: str, text: str, **more: Any) -> dict[str, Any]:
    return matched(InfluxQL.datasource, name, label, text, text, **more)
