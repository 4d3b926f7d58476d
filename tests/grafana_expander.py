"""What Grafana makes of a target before the server sees it: variables, ranges, macros.

Only what the dashboards use. The sources are named where a rule is not plain from the manual.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "M": 30 * 86_400, "y": 365 * 86_400}
# @grafana/data rangeutil.roundInterval: the steps that an interval is rounded to, in seconds.
_STEPS_S = (10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200)
_POINTS = 1000
# Where a target keeps its text.
KEYS = {
    "influxql": "query",
    "flux": "query",
    "mysql": "rawSql",
    "sqlite": "queryText",
    "promql": "expr",
}
ZONE = "Europe/Berlin"
OFFSET, OFFSET_S = "+01:00", 3600  # of Berlin in November


@dataclass(frozen=True)
class View:
    """A dashboard as somebody looks at it: its range, and what the variables hold."""

    end_ms: int
    length_s: float
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def from_ms(self) -> int:
        """Give the begin of the range."""
        return self.end_ms - round(self.length_s * 1000)

    @property
    def interval_s(self) -> int:
        """Give the interval: at least the 10 s of the panels, rounded as Grafana does."""
        wanted = self.length_s / _POINTS
        return next((step for step in _STEPS_S if step >= wanted), 86_400)


def seconds(text: str) -> float:
    """Read a range such as now-24h, now-30d/d or 15m."""
    match = re.fullmatch(r"(?:now-)?([0-9]+)([smhdMy])(?:/d)?", text)
    if match is None:
        raise ValueError(f"{text!r}: not a range that the dashboards use")
    return float(match[1]) * _UNITS_S[match[2]]


def expand(language: str, target: Mapping[str, Any], view: View) -> str:
    """Give the text that the server gets."""
    return expand_text(language, target[KEYS[language]], view)


def expand_text(language: str, text: str, view: View) -> str:
    """Expand the text of a target or of a variable."""
    text = _variables(text, view, in_regex=language in ("influxql", "promql"))
    dialects = {
        "influxql": _influxql,
        "mysql": _mysql,
        "sqlite": _plain,
        "flux": _flux,
        "promql": _promql,
    }
    text = dialects[language](text, view)
    if re.search(r"\$[\w{]", text):
        raise ValueError(f"not expanded: {text}")
    return text


def _variables(text: str, view: View, *, in_regex: bool) -> str:
    text = text.replace("${__to:date:Z}", OFFSET).replace("$__timezone", ZONE)
    text = text.replace("$__interval_ms", str(view.interval_s * 1000))
    text = text.replace("$__interval", f"{view.interval_s}s")
    text = text.replace("$__from", str(view.from_ms)).replace("$__to", str(view.end_ms))

    def chosen(match: re.Match[str]) -> str:
        name, form = match["plain"] or match["name"], match["form"] or ""
        return _formatted(view.values[name], "regex" if in_regex else form)

    names = "|".join(view.values)
    if not names:
        return text
    return re.sub(
        rf"\$(?:(?P<plain>{names})\b|\{{(?P<name>{names})(?::(?P<form>\w+))?\}})", chosen, text
    )


def _formatted(values: Sequence[str], form: str) -> str:
    """Write the values of a variable (public/app/features/templating/formatVariableValue.ts)."""
    if form == "sqlstring":
        return ",".join("'" + value.replace("'", "''") + "'" for value in values)
    if form == "csv":
        return ",".join(values)
    if form == "regex" and len(values) > 1:
        return f"({'|'.join(map(re.escape, values))})"
    return values[0]


def _influxql(text: str, view: View) -> str:
    # pkg/tsdb/influxdb/models/query.go: renderTimeFilter
    return text.replace("$timeFilter", f"time >= {view.from_ms}ms and time <= {view.end_ms}ms")


def _mysql(text: str, view: View) -> str:
    """Expand the macros of pkg/tsdb/mysql/macros.go; they end at the first closing bracket."""

    def macro(match: re.Match[str]) -> str:
        name, parts = match[1], [part.strip() for part in match[2].split(",")]
        if name == "timeFilter":
            begin, end = view.from_ms // 1000, view.end_ms // 1000
            return f"{parts[0]} BETWEEN FROM_UNIXTIME({begin}) AND FROM_UNIXTIME({end})"
        if name == "timeGroup":
            step = round(seconds(parts[1].strip("'\"")))
            return f"UNIX_TIMESTAMP({parts[0]}) DIV {step} * {step}"
        raise ValueError(f"$__{name}: no macro of the MySQL data source that is used here")

    return re.sub(r"\$__([_a-zA-Z0-9]+)\(([^)]*)\)", macro, text)


def _promql(text: str, view: View) -> str:
    return text.replace("$__range", f"{round(view.length_s)}s")


def _plain(text: str, view: View) -> str:  # noqa: ARG001 - as the others
    """Leave it: the dashboards use none of the SQLite plugin's macros."""
    return text


def _flux(text: str, view: View) -> str:
    """Set `v` behind the imports; pkg/tsdb/influxdb/flux/macros.go writes its values in."""
    imports = re.match(r'(?:import "[^"]+"\n+)*', text)
    head = imports[0] if imports else ""
    times = f"timeRangeStart: {_rfc3339(view.from_ms)}, timeRangeStop: {_rfc3339(view.end_ms)}"
    bucket = f'windowPeriod: {view.interval_s}s, defaultBucket: "heliobus"'
    return f"{head}option v = {{{times}, {bucket}}}\n{text[len(head) :]}"


def _rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_sound(value: object) -> bool:
    """Say whether a value is one that Grafana can draw."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))
