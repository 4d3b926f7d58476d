"""SQL: the tables of sinks/sql, by Grafana's own MySQL data source and by a plugin for SQLite.

The plugin for SQLite takes the type of a column from its first row: a column of numbers must not
begin with a whole one. Times are stored in UTC. `${__to:date:Z}` is the offset of the browser's
time zone such as +02:00, for days that begin at midnight where the person sits.
"""

# ruff: noqa: S608 - it writes queries for people to run, from names of the contract

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from scripts.dashboards.language import (
    DEVICE,
    EVENT_FIELDS,
    EVENT_LIMIT,
    LATE_MIN,
    TableOfFields,
    variable,
)
from scripts.dashboards.model import Page, Query, Shape

_DAY_S, _QUARTER_S, _LATE_S = 86_400, 900, 60 * LATE_MIN
_HOW: Mapping[str, str] = {"mean": "AVG", "max": "MAX", "min": "MIN", "last": ""}
_THERE = "{source} AND {column} IS NOT NULL"
_EVENT = ", ".join(f"t.{name} AS {name}" for name in EVENT_FIELDS)
_TEXTS: Mapping[Shape, str] = {
    Shape.SERIES: f"""\
SELECT {{interval}} AS time, {{metric}} AS metric, {{how}}({{column}}) AS value
{_THERE}
GROUP BY 1, 2 ORDER BY 1""",
    Shape.TOTAL: f"""\
SELECT time, '{{legend}}' AS metric, SUM(value) AS value FROM (
SELECT {{interval}} AS time, t.device_id, AVG({{column}}) AS value
{_THERE}
GROUP BY 1, 2) each_device
GROUP BY 1 ORDER BY 1""",
    Shape.LATEST: f"""\
SELECT MAX({{epoch}}) AS time, {{metric}} AS metric, {{newest}} + 0.0 AS value
{_THERE}
GROUP BY 2 ORDER BY 1""",
    Shape.LATEST_TOTAL: f"""\
SELECT MAX(time) AS time, '{{legend}}' AS metric, SUM(value) AS value FROM (
SELECT MAX({{epoch}}) AS time, {{newest}} + 0.0 AS value
{_THERE}
GROUP BY t.device_id) each_device
HAVING COUNT(*) > 0""",
    Shape.NAMED: """\
SELECT {named} FROM (SELECT COALESCE({choices}, NULL) AS value) found
WHERE value IS NOT NULL""",
    Shape.TABLE: """\
SELECT devices.device AS device, {columns}
{source}
GROUP BY 1 ORDER BY 1""",
    Shape.WORDS: f"""\
SELECT {{moment}} AS time, devices.device AS device, {{newest}} AS {{field}}
{_THERE}
GROUP BY 1, 2 ORDER BY 1""",
    Shape.FAMILY: """\
SELECT {interval} AS time, {mean}
{source}
GROUP BY 1 ORDER BY 1""",
    Shape.FAMILY_LATEST: """\
SELECT {newest_members}
{source}""",
    Shape.DAYS: f"""\
SELECT {{late_day}} AS time, {{metric}} AS {{name}}, MAX({{column}}) AS value
{_THERE}
GROUP BY 1, 2 ORDER BY 1""",
    Shape.DAYS_COUNTED: f"""\
SELECT {{day}} AS time, name AS {{name}}, SUM(CASE WHEN step > 0 THEN step ELSE 0.0 END) AS value
FROM (
SELECT quarter, name, value - LAG(value) OVER (PARTITION BY name ORDER BY quarter) AS step FROM (
SELECT {{quarter}} AS quarter, {{metric}} AS name, MAX({{column}}) AS value
{_THERE}
GROUP BY 1, 2) quarters) steps
WHERE step IS NOT NULL
GROUP BY 1, 2 ORDER BY 1""",
    Shape.EVENTS: f"""\
SELECT {{at}} AS time, devices.bridge AS device, {_EVENT}
{{source}}
ORDER BY t.time DESC LIMIT {EVENT_LIMIT}""",
}
_CHOICE = f"""\
(SELECT {{total}}(value) FROM (
SELECT {{newest}} + 0.0 AS value
{_THERE}
GROUP BY t.device_id) each_device)"""
# A family's columns come with its first values, so a variable asks which there are.
_MEAN, _NEWEST = "mean", "newest"


class Sql(TableOfFields, ABC):
    """What the dashboards for both have in common."""

    datasource: str
    time = "time"
    div: str

    def __init__(self, texts: Collection[str]) -> None:
        """`texts` are the fields that hold text; the others hold numbers."""
        self._texts = texts

    # ------------------------------------------------------------------ what differs

    @abstractmethod
    def target(self, query: Query, legend: str, *, table: bool) -> dict[str, Any]:
        """Give the target of a panel."""

    @abstractmethod
    def display_name(self, query: Query, legend: str) -> str:
        """Give the name for the override of a target."""

    @property
    @abstractmethod
    def in_range(self) -> str:
        """Give the condition that a row is within the dashboard's range; an index serves it."""

    @property
    @abstractmethod
    def epoch(self) -> str:
        """Give a row's time in whole seconds since 1970."""

    @property
    @abstractmethod
    def interval(self) -> str:
        """Give the begin of a row's interval, in seconds since 1970."""

    @property
    @abstractmethod
    def offset_s(self) -> str:
        """Give the browser's offset from UTC in seconds."""

    @abstractmethod
    def newest(self, column: str) -> str:
        """Give the value of the newest row of a group that has one, as text."""

    @abstractmethod
    def words(self, *parts: str) -> str:
        """Join texts and columns."""

    @abstractmethod
    def moment(self, epoch: str) -> str:
        """Turn seconds since 1970 into what a table takes for a time."""

    @abstractmethod
    def columns_of(self, table: str, family: str, expression: str) -> str:
        """Ask for the columns of a family, each in an expression ({} is its name)."""

    # ------------------------------------------------------------------ what is the same

    def asks(self, query: Query) -> Sequence[Query]:
        """Leave it: one query asks for all."""
        return [query]

    def split(self, query: Query) -> list[dict[str, Any]]:
        """Part a table of texts into one line per device."""
        if query.shape is not Shape.WORDS:
            return []
        return [{"id": "partitionByValues", "options": {"fields": ["device"]}}]

    def variables(self, page: Page) -> list[dict[str, Any]]:
        """Ask the table of devices, and for the columns of families."""
        found = [self._variable("site", "Site", "SELECT DISTINCT site FROM devices ORDER BY site")]
        if page.totals:
            kinds = ", ".join(f"'{kind}'" for kind in page.totals)
            text = f"SELECT DISTINCT kind FROM devices WHERE kind IN ({kinds}) ORDER BY kind DESC"
            found.append(self._variable("totals", "Totals from", text, multi=False, sort=2))
        if page.devices:
            text = (
                f"SELECT DISTINCT device FROM devices WHERE kind = '{page.devices}'"
                " AND site IN (${site:sqlstring}) ORDER BY device"
            )
            found.append(self._variable("device", "Device", text))
        return found + self._families(page)

    def text(self, query: Query, legend: str = DEVICE, *, table: bool = False) -> str:
        """Give the query."""
        column = f"t.{query.field}"
        late_day = self._day(f"{self.epoch} - {_LATE_S}")
        metric = self.words(*_parts(legend))
        return _TEXTS[query.shape].format(
            field=query.field,
            column=column,
            how=_HOW.get(query.how, ""),
            legend=legend,
            name="device" if table else "metric",
            metric="devices.device" if table else metric,
            columns=", ".join(f"{self._cell(name)} AS {name}" for name in query.fields),
            mean=f"${{{_family(query.field, _MEAN)}:csv}}",
            named=", ".join(f"value AS {name}" for name in query.names),
            choices=",\n".join(self._choices(query)),
            newest_members=f"${{{_family(query.field, _NEWEST)}:csv}}",
            newest=self.newest(column),
            interval=self.interval,
            moment=self.moment(self.interval),
            epoch=self.epoch,
            at=self.moment(self.epoch),
            late_day=self.moment(late_day) if table else late_day,
            day=self.moment(self._day("quarter")) if table else self._day("quarter"),
            quarter=f"{self.epoch} {self.div} {_QUARTER_S} * {_QUARTER_S}",
            source=self._source(query),
        )

    def _choices(self, query: Query) -> Iterator[str]:
        """Give what may be asked for, best first."""
        choice: Query | None = query if query.shape is Shape.NAMED else None
        while choice is not None:
            column = f"t.{choice.field}"
            yield _CHOICE.format(
                total={"sum": "SUM", "mean": "AVG"}[choice.how],
                newest=self.newest(column),
                column=column,
                source=self._source(choice),
            )
            choice = choice.otherwise

    def _day(self, epoch: str) -> str:
        """Give the begin of the local day that these seconds since 1970 lie in."""
        return f"({epoch} + {self.offset_s}) {self.div} {_DAY_S} * {_DAY_S} - {self.offset_s}"

    def _cell(self, name: str) -> str:
        newest = self.newest(f"t.{name}")
        return newest if name in self._texts else f"{newest} + 0.0"

    def _source(self, query: Query) -> str:
        kind = "${totals:raw}" if query.kind.startswith("$") else query.kind
        table = "events" if query.shape is Shape.EVENTS else kind
        where = f"{self.in_range} AND devices.site IN (${{site:sqlstring}})"
        if query.shape is not Shape.EVENTS and not query.every_device:
            where += " AND devices.device IN (${device:sqlstring})"
        if query.only_with:
            where += f" AND t.{query.only_with} IS NOT NULL"
        return f"FROM {table} t JOIN devices ON devices.id = t.device_id\nWHERE {where}"

    def _families(self, page: Page) -> list[dict[str, Any]]:
        wanted = {
            (query.kind, query.field, _MEAN if query.shape is Shape.FAMILY else _NEWEST)
            for query in page.queries
            if query.shape in (Shape.FAMILY, Shape.FAMILY_LATEST)
        }
        hows = {_MEAN: "AVG(t.{})", _NEWEST: f"{self.newest('t.{}')} + 0.0"}
        return [
            self._variable(
                _family(family, how),
                f"Columns {family}",
                self.columns_of(kind, family, f"{hows[how]} AS {{}}"),
                hide=2,
            )
            for kind, family, how in sorted(wanted)
        ]

    def _variable(self, name: str, label: str, text: str, **more: Any) -> dict[str, Any]:
        return variable(name, label, text, text, datasource=self.datasource, **more)


class MySql(Sql):
    """MariaDB and MySQL. The data source's session time zone must be +00:00."""

    name = "mysql"
    title = "MariaDB, MySQL"
    datasource = "mysql"
    uid = "heliobus-mysql"
    div = "DIV"

    def target(self, query: Query, legend: str, *, table: bool) -> dict[str, Any]:
        """Give the target: text, as a time series or a table."""
        return {
            "rawSql": self.text(query, legend, table=table),
            "rawQuery": True,
            "editorMode": "code",
            "format": "table" if table else "time_series",
        }

    def display_name(self, query: Query, legend: str) -> str:  # noqa: ARG002 - a Language
        """Leave it to the column `metric`; only words have a label."""
        return "${__field.labels.device}" if query.shape is Shape.WORDS else ""

    in_range = "$__timeFilter(t.time)"
    epoch = "UNIX_TIMESTAMP(t.time)"
    interval = "$__timeGroup(t.time, $__interval)"
    offset_s = (
        "TIMESTAMPDIFF(SECOND, '2000-01-01', CONVERT_TZ('2000-01-01', '+00:00', '${__to:date:Z}'))"
    )

    def newest(self, column: str) -> str:
        """Sort by a DATETIME(3) as 23 characters of text."""
        return f"SUBSTRING(MAX(CONCAT(t.time, {column})), 24)"

    def words(self, *parts: str) -> str:
        """Join."""
        return parts[0] if len(parts) == 1 else f"CONCAT({', '.join(parts)})"

    def moment(self, epoch: str) -> str:
        """Give a DATETIME."""
        return f"FROM_UNIXTIME({epoch})"

    def columns_of(self, table: str, family: str, expression: str) -> str:
        """Ask the schema."""
        parts = self.words(*_around(expression, "column_name"))
        return (
            f"SELECT {parts} FROM information_schema.columns WHERE table_schema = DATABASE()"
            f" AND table_name = '{table}' AND column_name REGEXP '^{family}$' ORDER BY column_name"
        )


class Sqlite(Sql):
    """SQLite by the plugin frser-sqlite-datasource."""

    name = "sqlite"
    title = "SQLite"
    datasource = "frser-sqlite-datasource"
    uid = "heliobus-sqlite"
    div = "/"

    def target(self, query: Query, legend: str, *, table: bool) -> dict[str, Any]:
        """Give the target: text, as a time series or a table, and which column is a time."""
        text = self.text(query, legend, table=table)
        return {
            "queryText": text,
            "rawQueryText": text,
            "queryType": "table" if table else "time series",
            "timeColumns": ["time"],
        }

    def display_name(self, query: Query, legend: str) -> str:  # noqa: ARG002 - a Language
        """Use the text columns, which are labels of the lines."""
        if query.shape in (Shape.FAMILY, Shape.FAMILY_LATEST, Shape.TABLE, Shape.EVENTS):
            return ""
        return f"${{__field.labels.{'device' if query.shape is Shape.WORDS else 'metric'}}}"

    # The plugin has no macro for a range of text. Before Grafana 11 these variables are the range
    # of the dashboard, also where the panel has its own (timeFrom): so SQLite needs Grafana 11.
    in_range = (
        "t.time BETWEEN strftime('%Y-%m-%dT%H:%M:%fZ', $__from / 1000.0, 'unixepoch')"
        " AND strftime('%Y-%m-%dT%H:%M:%fZ', $__to / 1000.0, 'unixepoch')"
    )
    epoch = "CAST(strftime('%s', t.time) AS INTEGER)"
    interval = f"{epoch} / ($__interval_ms / 1000) * ($__interval_ms / 1000)"
    offset_s = "(strftime('%s', '2000-01-01', '${__to:date:Z}') - strftime('%s', '2000-01-01'))"

    def newest(self, column: str) -> str:
        """Sort by a time as 24 characters of text."""
        return f"substr(MAX(t.time || {column}), 25)"

    def words(self, *parts: str) -> str:
        """Join."""
        return " || ".join(parts)

    def moment(self, epoch: str) -> str:
        """Seconds since 1970 are a time in a time column."""
        return epoch

    def columns_of(self, table: str, family: str, expression: str) -> str:
        """Ask the schema; a GLOB knows the same classes of characters."""
        parts = self.words(*_around(expression, "name"))
        return (
            f"SELECT {parts} FROM pragma_table_info('{table}')"
            f" WHERE name GLOB '{family}' ORDER BY name"
        )


def _family(pattern: str, how: str) -> str:
    """Name the variable with the columns of a family: cell_[0-9][0-9]_v -> cell_v_mean."""
    name = re.sub(r"\[[^]]*\]_?", "", pattern)
    return f"{name}_{how}"


def _parts(legend: str) -> list[str]:
    """Part `PV power {device}` into a text and a column."""
    text, found, rest = legend.partition(DEVICE)
    return [*([f"'{text}'"] if text else []), *(["devices.device"] if found else []), *rest]


def _around(expression: str, column: str) -> list[str]:
    """Part `AVG(t.{}) AS {}` into texts and the name of a column."""
    texts = [f"'{part}'" if part else "" for part in expression.split("{}")]
    joined = [part for text in texts[:-1] for part in (text, column)]
    return [part for part in (*joined, texts[-1]) if part]
