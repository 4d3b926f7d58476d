"""A panel as Grafana's JSON: field configuration, options and transformations of each look."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from scripts.dashboards import flow
from scripts.dashboards.language import DEVICE, Language
from scripts.dashboards.meaning import PLAIN, TEXT, THRESHOLDS, Meaning
from scripts.dashboards.model import (
    TOTALS,
    Look,
    Page,
    Panel,
    Query,
    Shape,
    Steps,
    several,
)

T = TypeVar("T")
_TYPES: Mapping[Look, str] = {
    Look.STAT: "stat",
    Look.GAUGE: "gauge",
    Look.BARGAUGE: "bargauge",
    Look.LINES: "timeseries",
    Look.STACK: "timeseries",
    Look.BARS: "timeseries",
    Look.MONTHS: "barchart",
    Look.YEARS: "barchart",
    Look.STATES: "state-timeline",
    Look.TABLE: "table",
    Look.FLOW: "canvas",
    Look.TEXT: "text",
}
_NEWEST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
_TOOLTIP = {"mode": "multi", "sort": "desc"}
_OVER_TIME = {"legend": _LEGEND, "tooltip": _TOOLTIP}
_COLUMNS = {"showValue": "auto", "orientation": "vertical", "xTickLabelRotation": 0}
_OPTIONS: Mapping[Look, Mapping[str, Any]] = {
    Look.STAT: {
        "reduceOptions": _NEWEST,
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
    },
    Look.GAUGE: {
        "reduceOptions": _NEWEST,
        "orientation": "auto",
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
    },
    Look.BARGAUGE: {
        "reduceOptions": _NEWEST,
        "displayMode": "lcd",
        "orientation": "vertical",
        "showUnfilled": True,
        "valueMode": "color",
        "minVizWidth": 24,
        "minVizHeight": 10,
    },
    Look.LINES: _OVER_TIME,
    Look.STACK: _OVER_TIME,
    Look.BARS: _OVER_TIME,
    Look.MONTHS: {**_OVER_TIME, **_COLUMNS, "xField": ""},
    Look.YEARS: {**_OVER_TIME, **_COLUMNS, "xField": ""},
    Look.STATES: {
        **_OVER_TIME,
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.9,
    },
    Look.FLOW: flow.options(),
    Look.TABLE: {"cellHeight": "md", "showHeader": True, "footer": {"show": False}},
}
_LINE = {
    "drawStyle": "line",
    "lineInterpolation": "linear",
    "lineWidth": 1,
    "fillOpacity": 8,
    "showPoints": "never",
    "spanNulls": 300_000,  # ms: a gap longer than this is shown as one
    "axisPlacement": "auto",
    "stacking": {"mode": "none", "group": "A"},
}
_STACKED = {"stacking": {"mode": "normal", "group": "A"}}
_CUSTOM: Mapping[Look, Mapping[str, Any]] = {
    Look.LINES: _LINE,
    Look.STACK: {**_LINE, **_STACKED, "fillOpacity": 40},
    Look.BARS: {**_LINE, **_STACKED, "drawStyle": "bars", "fillOpacity": 70, "barAlignment": 1},
    Look.MONTHS: {"fillOpacity": 70, "lineWidth": 1},
    Look.YEARS: {"fillOpacity": 70, "lineWidth": 1},
    Look.STATES: {"fillOpacity": 70, "lineWidth": 0},
    Look.TABLE: {"align": "auto", "filterable": True, "cellOptions": {"type": "auto"}},
}
_BY_THRESHOLD = (Look.STAT, Look.GAUGE, Look.BARGAUGE, Look.STATES)
_SPANS = {Look.MONTHS: "YYYY-MM", Look.YEARS: "YYYY"}
_TABLES = (Look.TABLE, Look.MONTHS, Look.YEARS, Look.FLOW)


class Looks:
    """Writes panels in one language."""

    def __init__(self, language: Language, meaning: Meaning) -> None:
        self._language = language
        self._meaning = meaning

    def panel(self, page: Page, panel: Panel) -> dict[str, Any]:
        """Give a panel without id and place."""
        head = {
            "type": _TYPES[panel.look],
            "title": panel.title,
            "description": panel.description,
        }
        if panel.look is Look.TEXT:
            return {**head, "options": {"mode": "markdown", "content": panel.text}}
        recent = {"timeFrom": panel.recent, "hideTimeOverride": True} if panel.recent else {}
        version = {"pluginVersion": flow.WRITTEN_FOR} if panel.look is Look.FLOW else {}
        return {
            **head,
            "datasource": self.datasource,
            "targets": list(self._targets(page, panel)),
            "fieldConfig": {
                "defaults": self._defaults(page, panel),
                "overrides": list(self._overrides(page, panel)),
            },
            "options": {**_OPTIONS[panel.look], **self._axis(panel), **panel.options},
            "transformations": self._transformations(panel),
            **({"maxDataPoints": 10_000} if self._of_days(panel) else {}),
            # No interval is shorter: what is measured every 5 s has two values in each.
            "interval": "10s",
            **recent,
            **version,
        }

    def _of_days(self, panel: Panel) -> bool:
        """Say whether a step is a day, which must not become two for want of room."""
        return panel.queries[0].shape in (Shape.DAYS, Shape.DAYS_COUNTED)

    @property
    def datasource(self) -> dict[str, str]:
        """Point to the page's variable, so that one file serves every data source."""
        return {"type": self._language.datasource, "uid": "${datasource}"}

    def _targets(self, page: Page, panel: Panel) -> Iterator[dict[str, Any]]:
        for ref, query in _lettered(self._asked(panel)):
            text = (
                query.shape in (Shape.WORDS, Shape.FAMILY_LATEST) and self._language.time == "time"
            )
            table = panel.look in _TABLES or text
            asked = query if page.devices else replace(query, every_device=True)
            target = self._language.target(asked, self._legend(panel, query), table=table)
            yield {"refId": ref, "datasource": self.datasource, **target}

    def _asked(self, panel: Panel) -> list[Query]:
        return [asked for query in panel.queries for asked in self._language.asks(query)]

    def _field_title(self, query: Query) -> str:
        kind = "site" if query.kind == TOTALS else query.kind
        return query.title or self._meaning.field(kind, query.field).title

    def _legend(self, panel: Panel, query: Query) -> str:
        if query.shape in (Shape.TOTAL, Shape.LATEST_TOTAL):
            return self._field_title(query)
        return f"{self._field_title(query)} {DEVICE}" if several(panel) else DEVICE

    def _defaults(self, page: Page, panel: Panel) -> dict[str, Any]:
        first = panel.queries[0]
        events = first.shape is Shape.EVENTS
        field = None if events else self._meaning.field(page.kinds(first)[0], first.field)
        steps = panel.steps or (self._meaning.steps(field) if field else PLAIN)
        unit = panel.unit or (self._meaning.unit(field) if field else TEXT)
        decimals = panel.decimals
        if decimals is None and field is not None and not panel.unit:
            decimals = self._meaning.decimals(field)
        scale = {"min": panel.minimum, "max": panel.maximum, "decimals": decimals}
        mapped = field is not None and panel.look is not Look.TABLE
        return {
            "unit": unit,
            "noValue": panel.no_value,
            "color": {"mode": self._color_mode(panel, steps)},
            "thresholds": _thresholds(steps),
            "mappings": self._meaning.mappings(field) if field and mapped else [],
            "custom": dict(_CUSTOM.get(panel.look, {})),
            **self._name_of_words(panel),
            **{name: value for name, value in scale.items() if value is not None},
        }

    def _name_of_words(self, panel: Panel) -> dict[str, str]:
        """Name lines of words for all fields: parted tables have lost the letter of their query."""
        first = panel.queries[0]
        name = self._language.display_name(first, self._legend(panel, first))
        return {"displayName": name} if name and first.shape is Shape.WORDS else {}

    def _color_mode(self, panel: Panel, steps: Steps) -> str:
        by_threshold = panel.look in _BY_THRESHOLD and steps != PLAIN
        always = panel.look in (Look.TABLE, Look.FLOW)
        return "thresholds" if by_threshold or always else "palette-classic"

    def _overrides(self, page: Page, panel: Panel) -> Iterator[dict[str, Any]]:
        if panel.look is Look.TABLE:
            yield from self._columns(panel)
            return
        if panel.look is Look.FLOW:
            yield from self._flow()
            return
        if panel.look in _SPANS:
            total = f"{self._language.value} (sum)"
            yield _override("byName", total, {"displayName": panel.queries[0].title or "Energy"})
            return
        first = self._meaning.field(page.kinds(panel.queries[0])[0], panel.queries[0].field)
        for ref, query in _lettered(panel.queries):
            field = self._meaning.field(page.kinds(query)[0], query.field)
            changes: dict[str, Any] = {}
            name = self._language.display_name(query, self._legend(panel, query))
            if name and query.shape is not Shape.WORDS:
                changes["displayName"] = name
            if query.color:
                changes["color"] = {"mode": "fixed", "fixedColor": query.color}
            changes |= query.style
            if field.unit != first.unit and not panel.unit:
                changes |= self._own_unit(panel, field.name, page.kinds(query)[0])
            if changes:
                yield _override("byFrameRefID", ref, changes)

    def _flow(self) -> Iterator[dict[str, Any]]:
        for name, found in flow.changes(THRESHOLDS["soc_percent"]):
            steps = found.get("thresholds")
            coloured = {"thresholds": _thresholds(steps)} if steps else {}
            yield _override("byName", name, {**found, **coloured})

    def _own_unit(self, panel: Panel, name: str, kind: str) -> dict[str, Any]:
        field = self._meaning.field(kind, name)
        decimals = self._meaning.decimals(field)
        changes: dict[str, Any] = {"unit": self._meaning.unit(field)}
        if decimals is not None:
            changes["decimals"] = decimals
        if _TYPES[panel.look] == "timeseries":
            changes["custom.axisPlacement"] = "right"
        return changes

    def _columns(self, panel: Panel) -> Iterator[dict[str, Any]]:
        yield _override("byName", "device", {"displayName": "Device"})
        query = panel.queries[0]
        if query.shape is Shape.EVENTS:
            yield _override("byRegexp", "/^(_?time|Time)$/", {"displayName": "Time"})
            severity = self._meaning.field("event", "severity")
            cell = {"custom.cellOptions": {"type": "color-text"}, "custom.width": 100}
            yield _override(
                "byName", "severity", {"mappings": self._meaning.mappings(severity), **cell}
            )
            return
        for ref, name in _lettered(query.fields):
            column = self._language.column(name, ref)
            yield _override("byName", column, self._column(query.kind, name))

    def _column(self, kind: str, name: str) -> dict[str, Any]:
        field = self._meaning.field(kind, name)
        changes: dict[str, Any] = {
            "displayName": field.title,
            "unit": self._meaning.unit(field),
        }
        decimals, steps = self._meaning.decimals(field), self._meaning.steps(field)
        mappings = self._meaning.mappings(field)
        if decimals is not None:
            changes["decimals"] = decimals
        if mappings:
            changes["mappings"] = mappings
        if steps != PLAIN:
            changes["thresholds"] = _thresholds(steps)
        if steps != PLAIN or mappings:
            changes["custom.cellOptions"] = {"type": "color-text"}
        return changes

    def _axis(self, panel: Panel) -> dict[str, Any]:
        return {"xField": self._language.time} if panel.look in _SPANS else {}

    def _transformations(self, panel: Panel) -> list[dict[str, Any]]:
        if panel.look in _SPANS:
            return _by_span(self._language, _SPANS[panel.look])
        if panel.queries[0].shape is Shape.TABLE:
            hidden = {"id": "organize", "options": {"excludeByName": {self._language.time: True}}}
            return [*self._language.join(), hidden]
        if panel.becomes is not None:
            family = panel.becomes[0]
            return [
                {
                    "id": "filterFieldsByName",
                    "options": {"include": {"pattern": f"/{family}|^_?[tT]ime$/"}},
                },
                {
                    "id": "renameByRegex",
                    "options": {"regex": f"^.*?{family}.*$", "renamePattern": panel.becomes[1]},
                },
            ]
        return [step for query in panel.queries for step in self._language.split(query)]


def _by_span(language: Language, form: str) -> list[dict[str, Any]]:
    """Sum days into months or years, in the browser: no query language has both."""
    time = language.time
    by = {"aggregations": [], "operation": "groupby"}
    total = {"aggregations": ["sum"], "operation": "aggregate"}
    conversion = {"targetField": time, "destinationType": "string", "dateFormat": form}
    return [
        {"id": "convertFieldType", "options": {"conversions": [conversion]}},
        {"id": "groupBy", "options": {"fields": {time: by, language.value: total}}},
        {"id": "sortBy", "options": {"sort": [{"field": time, "desc": False}]}},
    ]


def _thresholds(steps: Steps) -> dict[str, Any]:
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in steps],
    }


def _override(matcher: str, options: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "matcher": {"id": matcher, "options": options},
        "properties": [{"id": name, "value": value} for name, value in changes.items()],
    }


def _lettered(things: Sequence[T]) -> Iterator[tuple[str, T]]:
    """Give each its refId, as Grafana's editor does."""
    return ((chr(ord("A") + index), thing) for index, thing in enumerate(things))
