"""MetricsQL, the PromQL of VictoriaMetrics, by Grafana's data source Prometheus.

A value is called measurement_field. There is no text: a word of a list is its code, `mode_code`,
and a list of texts its length, `alarms_count`. Prometheus itself does not know all that is used.

Grafana asks at every step, and begins steps of a day at midnight where the person sits. An answer
looks back from there, so what is of a day is asked with a negative offset.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from heliobus.contract import Contract
from scripts.dashboards.language import DEVICE, LATE_MIN, matched
from scripts.dashboards.model import TOTALS, Page, Query, Shape

_DAY_MIN = 24 * 60
_NOW = "last_over_time({metric}[$__range])"
_THEN = "{how}_over_time({metric}[$__interval])"
# Not `increase`: to that a counter may begin at 0, so a device's first day would have all its life.
_STEPS = "ascent_over_time({metric}[1d] offset -1d)"
_TEXTS: Mapping[Shape, str] = {
    Shape.SERIES: _THEN,
    Shape.TOTAL: f"sum({_THEN})",
    Shape.LATEST: _NOW,
    Shape.LATEST_TOTAL: f"sum({_NOW})",
    Shape.NAMED: "WITH (found = {choices}) union({named})",
    Shape.TABLE: f"max by (device) ({_NOW})",
    Shape.FAMILY: _THEN,
    Shape.FAMILY_LATEST: _NOW,
    Shape.DAYS: f"max_over_time({{metric}}[1d] offset -{_DAY_MIN + LATE_MIN}m)",
    Shape.DAYS_COUNTED: _STEPS,
}
_NEWEST = (Shape.LATEST, Shape.LATEST_TOTAL, Shape.NAMED, Shape.TABLE, Shape.FAMILY_LATEST)
_OF_DAYS = (Shape.DAYS, Shape.DAYS_COUNTED)
_FAMILIES = (Shape.FAMILY, Shape.FAMILY_LATEST)


class PromQL:
    """The dashboards for VictoriaMetrics."""

    name = "promql"
    title = "VictoriaMetrics"
    datasource = "prometheus"
    uid = "heliobus-promql"
    time = "Time"
    value = "Value"
    numbers_only = True

    def __init__(self, contract: Contract) -> None:
        """`contract` tells which fields are stored under another name."""
        self._ends = {
            name: "_count" if field.type == "array" else "_code"
            for name, field in contract.fields.items()
            if field.type in ("array", "string")
        }

    def asks(self, query: Query) -> Sequence[Query]:
        """Ask a table's columns one by one."""
        if query.shape is not Shape.TABLE:
            return [query]
        return [replace(query, fields=(name,)) for name in query.fields]

    def column(self, name: str, ref: str) -> str:  # noqa: ARG002 - a Language
        """Give what Grafana calls the values of the target `ref` in a table."""
        return f"Value #{ref}"

    def target(self, query: Query, legend: str, *, table: bool) -> dict[str, Any]:
        """Give the target: at the end of the range, or at every step."""
        newest = query.shape in _NEWEST
        if query.shape in _FAMILIES:
            legend = "{{__name__}}"
        elif query.shape is Shape.NAMED:
            legend, table = "{{name}}", False
        return {
            "expr": self.text(query, table=table),
            "legendFormat": legend.replace(DEVICE, "{{device}}"),
            "format": "table" if table else "time_series",
            "instant": newest,
            "range": not newest,
            "editorMode": "code",
            **({"interval": "1d"} if query.shape in _OF_DAYS else {}),
        }

    def display_name(self, query: Query, legend: str) -> str:  # noqa: ARG002 - a Language
        """Leave it to the format of the legend."""
        return ""

    def split(self, query: Query) -> list[dict[str, Any]]:  # noqa: ARG002 - a Language
        """Leave it: each device is a frame of its own."""
        return []

    def join(self) -> list[dict[str, Any]]:
        """Make one table of the columns."""
        return [{"id": "merge", "options": {}}]

    def variables(self, page: Page) -> list[dict[str, Any]]:
        """Ask for the labels."""
        found = [_variable("site", "Site", "label_values(site)")]
        if page.totals:
            kinds = f"({'|'.join(page.totals)})"
            text = f'label_values({{__name__=~"{kinds}_.+"}}, __name__)'
            more: Mapping[str, Any] = {"multi": False, "sort": 2, "regex": f"/^{kinds}_/"}
            found.append(_variable("totals", "Totals from", text, **more))
        if page.devices:
            text = f'label_values({{__name__=~"{page.devices}_.+", site=~"$site"}}, device)'
            found.append(_variable("device", "Device", text))
        return found

    def text(self, query: Query, *, table: bool = False) -> str:
        """Give the query; for a table the sum over all devices of what is of days."""
        text = _TEXTS[query.shape].format(
            how={"mean": "avg"}.get(query.how, query.how),
            metric=self._metric(query),
            choices=" or ".join(self._choices(query)),
            named=", ".join(f'label_set(found, "name", "{name}")' for name in query.names),
        )
        return f"sum({text})" if table and query.shape in _OF_DAYS else text

    def _choices(self, query: Query) -> Sequence[str]:
        """Give what may be asked for, best first."""
        found, choice = [], query if query.shape is Shape.NAMED else None
        while choice is not None:
            total = {"sum": "sum", "mean": "avg"}[choice.how]
            text = _NOW.format(metric=self._metric(choice))
            if choice.only_with:
                other = self._metric(Query(Shape.NAMED, choice.kind, (choice.only_with,)))
                text += f" and on (site, device) {_NOW.format(metric=other)}"
            found.append(f"{total}({text})")
            choice = choice.otherwise
        return found

    def _metric(self, query: Query) -> str:
        kind = "${totals}" if query.kind == TOTALS else query.kind
        name = f"{kind}_{query.field}{self._ends.get(query.field, '')}"
        where = 'site=~"$site"'
        if not (query.every_device or query.shape is Shape.NAMED):
            where += ', device=~"$device"'
        if query.shape in _FAMILIES:
            return f'{{__name__=~"{name}", {where}}}'
        return f"{name}{{{where}}}"


def _variable(name: str, label: str, text: str, **more: Any) -> dict[str, Any]:
    query = {"query": text, "refId": "StandardVariableQuery"}
    return matched(PromQL.datasource, name, label, query, text, **more)
