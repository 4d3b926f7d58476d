"""What is different where the server is VictoriaMetrics.

It answers 204 to anything, also to lines that it cannot read; it keeps numbers only; it writes to
its disk some seconds after it has said "done"; and it keeps rows that are written twice, unless
it is told not to. So it is asked how it was started and how it is, at /metrics.
"""

import json
import logging
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from heliobus.errors import SinkError
from sinks.influx.lines import line
from sinks.influx.server import Server

_log = logging.getLogger(__name__)

# It writes to its disk every second, since version 1.85 every five (-inmemoryDataFlushInterval).
SETTLE_S = 15.0
_SETTLES_AFTER = 3  # of those intervals
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
# What lies further ahead of its clock it drops, without a word.
AHEAD_MS = 2 * 86_400_000
# A clock is set some time after a computer was started.
CLOCK_PATIENCE_S = 120.0
_DROPPED = {
    "big_timestamp": "they lie more than two days ahead of its clock",
    "small_timestamp": "they are older than its -retentionPeriod, or than 1970",
}
_MARKER = "heliobus"
_DEDUP = "1ms"
_METRIC = re.compile(r"^(vm_[a-z_]+(?:{type=\"influx\"})?) (\S+)$", re.MULTILINE)
_IGNORED = re.compile(r"^vm_rows_ignored_total{reason=\"([a-z_]+)\"} (\S+)$", re.MULTILINE)
_DURATION = re.compile(r"([0-9.]+)(ms|[hms])")
_FLAG = re.compile(r"^flag{name=\"([a-zA-Z.]+)\", ?value=\"([^\"]*)\"", re.MULTILINE)
_OK = 200


@dataclass(frozen=True, slots=True)
class Report:
    """What it says of itself.

    `life`: when it was started. `refused`: lines it could not read. `dropped`: rows, by reason.
    """

    life: str
    refused: float
    dedup: str
    retention: str
    settle_s: float = SETTLE_S
    dropped: Mapping[str, float] = field(default_factory=dict)


def read_report(metrics: str) -> Report | None:
    """Read the page /metrics; None: this is not VictoriaMetrics."""
    numbers = dict(_METRIC.findall(metrics))
    life = numbers.get("vm_app_start_timestamp")
    if life is None:
        return None
    flags = dict(_FLAG.findall(metrics))
    flush = _DURATION.findall(flags.get("inmemoryDataFlushInterval", ""))
    flush_s = sum(float(number) * _UNIT_S[unit] for number, unit in flush)
    return Report(
        life=life,
        refused=float(numbers.get('vm_rows_invalid_total{type="influx"}', 0)),
        dedup=flags.get("dedup.minScrapeInterval", ""),
        retention=flags.get("retentionPeriod", ""),
        settle_s=max(SETTLE_S, _SETTLES_AFTER * flush_s),
        dropped={reason: float(count) for reason, count in _IGNORED.findall(metrics)},
    )


def marker(name: str, at_ms: int | None = None) -> bytes:
    """Give a line that says when the sink of that name was opened, and that no server refuses."""
    now_ms = round(time.time() * 1000)
    return line(_MARKER, {"sink": name}, {"opened": 1.0}, now_ms if at_ms is None else at_ms)


class Victoria:
    """One opened VictoriaMetrics. `name`: the sink's, for the marker that is written and read."""

    def __init__(self, server: Server, name: str, report: Report) -> None:
        self._server = server
        self._name = name
        self._known = report
        self._marked_ms: int | None = None
        self.life = report.life
        self.settle_s = report.settle_s

    def mark(self) -> None:
        """Write the moment of opening, which `check` must find again. Raise SinkError."""
        self._marked_ms = round(time.time() * 1000)
        self._server.write(marker(self._name, self._marked_ms))

    def check(self) -> str:
        """Give its life as it is now. Raise SinkError where it does not give back what it took."""
        report = ask_report(self._server)
        if report is None:
            raise SinkError(f"{self._server}: is no VictoriaMetrics any more; looking again")
        if report.life == self.life:
            self._tell(report)
        self._known = report
        if self._marked_ms is not None and report.life == self.life:
            self._find_marker(self._marked_ms)
            self._marked_ms = None
        return report.life

    def latest_ms(self) -> int:
        """Say up to which time it keeps rows, by its own clock. Raise SinkError."""
        now_s = time.time()
        with suppress(ValueError, TypeError, OverflowError):
            date = self._server.ask("GET", "/ping").headers.get("date")
            now_s = parsedate_to_datetime(date or "").timestamp()
        return round(now_s * 1000) + AHEAD_MS

    def _tell(self, report: Report) -> None:
        if report.refused > self._known.refused:
            _log.warning(
                "%s: could not read %d lines and dropped them, of this or another sender;"
                " its log shows them",
                self._server,
                report.refused - self._known.refused,
            )
        for reason, count in report.dropped.items():
            if (more := count - self._known.dropped.get(reason, 0)) > 0:
                _log.warning(
                    "%s: dropped %d rows, of this or another sender: %s",
                    self._server, more, _DROPPED.get(reason, reason),
                )  # fmt: skip

    def _find_marker(self, at_ms: int) -> None:
        fields = {
            "match[]": f'{_MARKER}_opened{{sink="{self._name}"}}',
            "start": f"{at_ms / 1000:.3f}",
            "end": f"{at_ms / 1000 + 0.001:.3f}",
        }
        answer = self._server.ask("GET", "/api/v1/export", fields=fields)
        found: list[object] | None = None
        if answer.status == _OK:
            with suppress(ValueError, KeyError, TypeError):
                rows = [json.loads(text) for text in answer.text.splitlines()]
                found = [time_ms for row in rows for time_ms in row["timestamps"]]
        if found is None:
            _log.warning(
                "%s: answered %d to /api/v1/export, with no rows, so nobody has seen whether what"
                " is written can be read back", self._server, answer.status,
            )  # fmt: skip
            return
        if at_ms not in found:
            raise SinkError(
                f"{self._server}: said that it took a row, and does not give it back;"
                " see its log, and its relabelling if it has any"
            )


def ask_report(server: Server) -> Report | None:
    """Ask a server how it is; None: it is not VictoriaMetrics. Raise SinkError."""
    answer = server.ask("GET", "/metrics")
    if answer.is_passing:
        raise server.error(answer)
    return read_report(answer.text) if answer.status == _OK else None


def advice(report: Report) -> list[str]:
    """Say what should be otherwise in how it was started, a line each."""
    said = []
    if report.dedup != _DEDUP:
        found = report.dedup or "0s"
        harm = "keeps rows that are written twice" if found == "0s" else f"thins to one per {found}"
        said.append(f"{harm}; start it with -dedup.minScrapeInterval={_DEDUP}")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?[hdw]?", report.retention):
        unit = "" if report.retention[-1:].isalpha() else " month(s)"
        said.append(
            f"forgets after {report.retention}{unit}; start it with -retentionPeriod=100y"
            " to keep everything"
        )
    return said
