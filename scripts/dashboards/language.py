"""What a query language has to offer, and the names that all of them share."""

from collections.abc import Sequence
from typing import Any, Protocol

from scripts.dashboards.model import Page, Query

# A device's clock may be wrong, or know no summer time. So a day from a `*_today_kwh` begins 90
# minutes after midnight: by then the counter has fallen to 0, and has hardly risen again.
LATE_MIN = 90
EVENT_FIELDS = ("severity", "event", "subject", "text", "reason")
EVENT_LIMIT = 200
DEVICE = "{device}"
"""Stands for the name of the device in the name of a line."""


class TableOfFields:
    """The part of a language whose tables have a column for each field, by its name."""

    value = "value"
    numbers_only = False

    def asks(self, query: Query) -> Sequence[Query]:
        """Give a query and what is asked where it finds nothing."""
        return [query, query.otherwise] if query.otherwise else [query]

    def column(self, name: str, ref: str) -> str:  # noqa: ARG002 - a Language
        """Give the name of the field."""
        return name

    def join(self) -> list[dict[str, Any]]:
        """Leave it: it is one query."""
        return []


class Language(Protocol):
    """One query language on one data source of Grafana.

    `time` and `value` are what the columns of a table of days are called. `numbers_only`: its
    database has no text.
    """

    name: str
    title: str
    datasource: str
    uid: str
    time: str
    value: str
    numbers_only: bool

    def asks(self, query: Query) -> Sequence[Query]:
        """Give the queries that answer this one. Grafana takes the first that finds something."""
        ...

    def column(self, name: str, ref: str) -> str:
        """Give what the column of a field is called in a table of newest values."""
        ...

    def join(self) -> list[dict[str, Any]]:
        """Give what makes one table of newest values, where each column is a query of its own."""
        ...

    def target(self, query: Query, legend: str, *, table: bool) -> dict[str, Any]:
        """Give the target of a panel, without refId and data source."""
        ...

    def display_name(self, query: Query, legend: str) -> str:
        """Give the name for the override of a target; "" where the target names its lines."""
        ...

    def variables(self, page: Page) -> list[dict[str, Any]]:
        """Give the variables of a page behind the data source's."""
        ...

    def split(self, query: Query) -> list[dict[str, Any]]:
        """Give what parts a table into one line per device, where that is needed."""
        ...


def variable(
    name: str, label: str, query: Any, text: str, *, multi: bool = True, **more: Any
) -> dict[str, Any]:
    """Give a variable that the data source fills."""
    everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": {"type": more.pop("datasource"), "uid": "${datasource}"},
        "query": query,
        "definition": text,
        "current": everything if multi else {},
        "options": [],
        "includeAll": multi,
        "multi": multi,
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "hide": 0,
        "skipUrlSync": False,
        **more,
    }


def matched(
    datasource: str, name: str, label: str, query: Any, text: str, **more: Any
) -> dict[str, Any]:
    """Give a variable for a language that compares it as a regular expression."""
    if more.get("multi", True):
        more["allValue"] = ".*"
    return variable(name, label, query, text, datasource=datasource, **more)
