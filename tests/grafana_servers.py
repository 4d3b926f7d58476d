"""Servers that hold three days of a house, asked as Grafana asks them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from heliobus.sample import Sample
from scripts.dashboards.__main__ import FOLDER
from tests.grafana_expander import OFFSET_S, View, expand, expand_text, is_sound, seconds
from tests.grafana_house import END_MS
from tests.influx_servers import VictoriaMetrics

Rows = Sequence[Mapping[str, Any]]
FLOW = ("pv", "house", "battery", "grid", "generator", "soc")
# VictoriaMetrics takes nothing from the future, whatever the clock of this computer says.
_AGO_MS = 730 * 86_400_000
_DAY_S = 86_400


@dataclass
class Server:
    """A server with the house in it. `ask` gives the rows of an answer."""

    language: str
    ask: Callable[[str], Rows]

    def page(self, name: str) -> dict[str, Any]:
        """Read a dashboard, as Grafana would."""
        page: dict[str, Any] = json.loads((FOLDER / self.language / f"{name}.json").read_text())
        return page

    def view(self, page: Mapping[str, Any], panel: Mapping[str, Any]) -> View:
        """Look at a panel: variables are asked from left to right, All is chosen."""
        length_s = seconds(panel.get("timeFrom", page["time"]["from"]))
        values: dict[str, Sequence[str]] = {}
        for one in page["templating"]["list"]:
            if one["type"] != "query":
                continue
            view = View(END_MS, length_s, values)
            found = self.values(one, view)
            assert found, f"variable {one['name']} of {page['uid']} has no values"
            found.sort(reverse=one["sort"] == 2)
            values[one["name"]] = found if one["multi"] else found[:1]
        return View(END_MS, length_s, values)

    def values(self, variable: Mapping[str, Any], view: View) -> list[str]:
        """Ask for the values of a variable: the last column (key and value of SHOW TAG VALUES)."""
        rows = self.ask(expand_text(self.language, variable["query"], view))
        return [str(list(row.values())[-1]) for row in rows]

    def target(self, target: Mapping[str, Any], view: View) -> Rows:
        """Ask a target."""
        return self.ask(expand(self.language, target, view))

    def rows(self, page_name: str, title: str, ref: str = "A") -> Rows:
        """Ask one target of the panel with this title."""
        page = self.page(page_name)
        panel = next(p for p in page["panels"] if p["title"] == title)
        target = next(t for t in panel["targets"] if t["refId"] == ref)
        return self.target(target, self.view(page, panel))

    def flow(self, totals: str) -> Mapping[str, float]:
        """Give the values of the energy flow: Grafana takes the first that is found."""
        page = self.page("overview")
        panel = next(p for p in page["panels"] if p["type"] == "canvas")
        view = self.view(page, panel)
        view = View(view.end_ms, view.length_s, {**view.values, "totals": [totals]})
        found: dict[str, float] = {}
        for target in panel["targets"]:
            for row in self.target(target, view):
                shown = {n: float(v) for n, v in row.items() if n in FLOW}
                found = {**shown, **found}
        return found


@dataclass
class Metrics(Server):
    """VictoriaMetrics. It is asked as pkg/promlib/querydata of Grafana does."""

    server: VictoriaMetrics | None = field(default=None)

    @staticmethod
    def earlier(samples: Sequence[Sample]) -> list[Sample]:
        """Give the samples as if they were measured two years before."""
        return [replace(sample, time_ms=sample.time_ms - _AGO_MS) for sample in samples]

    def values(self, variable: Mapping[str, Any], view: View) -> list[str]:
        """Ask for the values of a label; the variable's regular expression takes a part of each."""
        text = expand_text(self.language, variable["query"]["query"], view)
        match = re.fullmatch(r"label_values\((?:(.+), )?(\w+)\)", text)
        assert match, text
        which = {"match[]": match[1]} if match[1] else {}
        found = self._get(f"label/{match[2]}/values", **which, **self._range(view))
        pattern = re.compile(variable["regex"].strip("/") or "(.+)")
        parts = [part[1] for part in map(pattern.search, found) if part]
        return list(dict.fromkeys(parts))

    def target(self, target: Mapping[str, Any], view: View) -> Rows:
        """Ask once at the end, or at every step."""
        text = expand(self.language, target, view)
        if target["instant"]:
            answer = self._get("query", query=text, time=self._range(view)["end"])
        else:
            step_s = round(seconds(target["interval"])) if "interval" in target else 0
            step_s = max(step_s, view.interval_s)
            times = {name: _begin_of_step(at, step_s) for name, at in self._range(view).items()}
            answer = self._get("query_range", query=text, step=f"{step_s}", **times)
        return [
            self._row(one["metric"], at_s, float(value))
            for one in answer["result"]
            for at_s, value in one.get("values") or [one["value"]]
        ]

    def _row(self, labels: Mapping[str, str], at_s: float, value: float) -> Mapping[str, Any]:
        name = labels.get("name", "value")
        return {**labels, "time": at_s + _AGO_MS / 1000, name: value}

    def _range(self, view: View) -> dict[str, str]:
        ends = {"start": view.from_ms, "end": view.end_ms}
        return {name: f"{(at_ms - _AGO_MS) / 1000:.3f}" for name, at_ms in ends.items()}

    def _get(self, what: str, **params: str) -> Any:
        # As the data source that we provision: an answer must not be of other days than asked for.
        assert self.server is not None
        return json.loads(self.server.get(f"/api/v1/{what}", nocache="1", **params))["data"]


def _begin_of_step(at: str, step_s: int) -> str:
    """Align as Grafana does: steps of a day begin at midnight of the person's time zone."""
    return str((float(at) + OFFSET_S) // step_s * step_s - OFFSET_S)


def fault(rows: Rows, panel: Mapping[str, Any]) -> str:
    """Say what is wrong with the answer that a panel gets; "" where nothing is."""
    if not rows:
        return "no rows"
    if not any(is_sound(value) for row in rows for value in _shown(row)):
        return "only nulls"
    bad = [value for row in rows for value in _shown(row) if value is not None]
    if not all(map(is_sound, bad)):
        return "a value is not finite"
    if panel["type"] == "table":
        columns = {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]}
        empty = [n for n in rows[0] if n in columns and all(row[n] is None for row in rows)]
        return f"empty columns {empty}" if empty else ""
    return ""


def _shown(row: Mapping[str, Any]) -> Iterator[Any]:
    hidden = ("time", "measurement", "device", "metric", "name", "site", "__name__", "db")
    return (value for name, value in row.items() if name not in hidden)
