"""The InfluxDB sink: line protocol for InfluxDB 1.8, 2 and 3, and for VictoriaMetrics."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heliobus import contract
from heliobus.credentials import looseness
from heliobus.cursor import Key
from heliobus.errors import SinkError
from heliobus.faults import Faults
from heliobus.sample import Sample
from heliobus.settings import SinkSettings
from heliobus.sink import Written
from sinks.influx.cursors import CursorFile, Cursors
from sinks.influx.layout import Entry, HeliobusLayout, Layout
from sinks.influx.opendtu import OpenDtuLayout
from sinks.influx.prepare import prepare
from sinks.influx.server import Refused, Server, TooLarge
from sinks.influx.target import read_token, target, written_token
from sinks.influx.victoria import (
    AHEAD_MS,
    CLOCK_PATIENCE_S,
    Victoria,
    advice,
    ask_report,
    marker,
)

__all__ = ["SINK", "Influx", "prepare"]

_log = logging.getLogger(__name__)

_LAYOUTS: Mapping[str, type[Layout]] = {
    "heliobus": HeliobusLayout,
    "telegraf_opendtu": OpenDtuLayout,
}
# InfluxDB says "done" when it is on its disk: it has one life, and nothing needs time to settle.
_ONE_LIFE = ""
# For all that one call sends; it may wait `timeout` longer. After a minute a supervisor ends us.
LONGEST_S = 20.0
_MOST_BAD = 10_000
_AHEAD = "more than two days ahead of the server's clock"


class Influx:
    """Write samples as line protocol, and remember in a file how far that has come."""

    def __init__(self, settings: SinkSettings, *, folder: Path, data: Path) -> None:
        """Read the options; relative files start at `folder`. Raise ConfigError."""
        self._settings = settings
        self._folder = folder
        self._written_token = written_token(settings)
        where = target(settings)
        org = f"{where.org} " if where.org else ""
        what = f"{where.url} {org}{where.bucket} {settings.options['layout']}"
        self._cursors = Cursors(CursorFile(data / f"{settings.name}.cursors", what))
        self._server = Server(where, "")
        self._victoria: Victoria | None = None
        self._layout: Layout | None = None
        self._doubtful = b""  # a line that could not be written when it was last tried
        self._takes_lines = False
        self._bad: dict[bytes, str] = {}  # lines that were refused alone, and not told yet: why
        self._end_s = 0.0
        self._ahead_since_s: float | None = None
        self._faults = Faults(_log)

    # ------------------------------------------------------------------ the protocol of a sink

    def open(self) -> Mapping[Key, int]:
        """Find out who is there, and whether what failed before can be written now."""
        self.close()
        self._end_s = time.monotonic() + LONGEST_S
        self._server = self._server.renewed(self._token())
        self._takes_lines = False
        self._victoria = self._recognised()
        if self._layout is None:
            self._layout = _LAYOUTS[self._settings.options["layout"]](contract.load())
        self._layout.text = self._keeps_text()
        if self._doubtful:
            self._try_again()
        if self._victoria is None:
            return self._cursors.begin(_ONE_LIFE, 0.0)
        return self._cursors.begin(self._victoria.life, self._victoria.settle_s)

    def write(self, samples: Sequence[Sample], cursors: Mapping[Key, int]) -> Written:
        """Write samples, then note the cursors. On SinkError writing all again does no harm."""
        if self._layout is None:
            raise SinkError(f"{self._server}: is not open")
        self._end_s = time.monotonic() + LONGEST_S
        self._settle()  # not in the end: what was refused would be told to nobody where it fails
        self._takes_lines = False  # what it took before says nothing of what it is now
        entries = self._layout.entries(samples)
        rejected = [(entry.sample, entry.fault) for entry in entries if entry.fault]
        stored = [entry for entry in entries if entry.lines]
        if self._victoria is not None:
            ahead = self._ahead(self._victoria, stored)
            stored = [entry for entry in stored if entry not in ahead]
            rejected += [(entry.sample, _AHEAD) for entry in ahead]
        try:
            refused = self._store(stored)
        except SinkError:
            self._doubtful = stored[0].lines[0]
            raise
        rejected += [(entry.sample, self._bad.get(entry.text, "refused")) for entry in refused]
        for entry in refused:
            self._bad.pop(entry.text, None)
        self._cursors.wrote(cursors, samples, self._layout.waiting)
        return Written(len(entries) - len(rejected), 0, rejected)

    def info(self, site: str, device: str, info: Mapping[str, Any]) -> None:
        """Keep what a device says about itself, for the layout."""
        if self._layout is not None:
            self._layout.info(site, device, info)

    def prune(self, now_ms: int) -> None:
        """Leave it to the server how long it keeps things."""

    def interrupt(self) -> None:
        """End a call that waits for the server."""
        self._server.interrupt()

    def close(self) -> None:
        """Save the cursors that count, and close the connection. Safe to call twice."""
        self._server.close()
        self._cursors.close()

    # ------------------------------------------------------------------ opening

    def _token(self) -> str:
        """Read the token: `heliobus prepare`, or a person, may have changed it meanwhile."""
        path = self._settings.options.get("token_file")
        if path is None:
            return self._written_token
        if (loose := looseness(self._folder / path)) is not None:
            self._faults.report("loose", loose)
        return read_token(self._folder / path, self._settings.name)

    def _recognised(self) -> Victoria | None:
        """Ask who is there. A proxy may let nothing but /api/v2/write through: InfluxDB, then."""
        ping = self._server.ask("GET", "/ping")
        if ping.is_passing:  # a proxy's word, as a rule: who is behind it is not known yet
            raise self._server.error(ping)
        build = ping.headers.get("x-influxdb-build")
        self._server.version = ping.headers.get("x-influxdb-version", "") if build else ""
        report = None if build else ask_report(self._server)
        if report is None and "x-server-hostname" in ping.headers:
            raise SinkError(
                f"{self._server}: is VictoriaMetrics, and does not show /metrics; it must, without"
                " a key, as it says there what it has kept"
            )
        if report is None:
            return None
        for text in advice(report):
            self._faults.report(text, f"{self._server}: VictoriaMetrics {text}")
        victoria = Victoria(self._server, self._settings.name, report)
        victoria.mark()
        return victoria

    def _keeps_text(self) -> bool:
        wanted = self._settings.options["text"]
        return self._victoria is None if wanted == "auto" else bool(wanted == "yes")

    # ------------------------------------------------------------------ storing

    def _store(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write all but those known as bad, and give these; learn more of them by halving."""
        known = [entry for entry in entries if entry.text in self._bad]
        return known + self._halve([entry for entry in entries if entry.text not in self._bad])

    def _halve(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write all; halve where the server refuses, until the bad ones stand alone: give them."""
        if not entries:
            return []
        reason = "larger than the server takes at once"
        try:
            self._send(b"\n".join(entry.text for entry in entries))
        except TooLarge:
            pass
        except Refused as refusal:
            self._prove(refusal)
            reason = str(refusal)
        else:
            self._takes_lines = True
            return []
        if len(entries) == 1:
            self._bad[entries[0].text] = reason
            if len(self._bad) > _MOST_BAD:
                del self._bad[next(iter(self._bad))]
            return list(entries)
        half = len(entries) // 2
        return [*self._halve(entries[:half]), *self._halve(entries[half:])]

    def _send(self, lines: bytes) -> None:
        """Send lines while there is time; what was refused until then is known next time."""
        if time.monotonic() >= self._end_s:
            raise SinkError(
                f"{self._server}: not done after {LONGEST_S:g} s; {len(self._bad)} samples are"
                " known that it refuses; going on with the others"
            )
        self._server.write(lines)

    def _ahead(self, victoria: Victoria, entries: Sequence[Entry]) -> list[Entry]:
        """Give what the server would drop as of the future. Raise SinkError while that may pass."""
        latest_ms = round(time.time() * 1000) + AHEAD_MS
        if all(entry.sample.time_ms <= latest_ms for entry in entries):
            return []
        latest_ms = victoria.latest_ms()
        ahead = [entry for entry in entries if entry.sample.time_ms > latest_ms]
        if ahead and self._ahead_since_s is None:
            self._ahead_since_s = time.monotonic()
        if ahead and time.monotonic() - (self._ahead_since_s or 0.0) < CLOCK_PATIENCE_S:
            raise SinkError(
                f"{self._server}: would drop {len(ahead)} samples, the last one of"
                f" {ahead[-1].sample.device}: {_AHEAD}; waiting a little for clocks to be set"
            )
        return ahead

    def _prove(self, refusal: Refused) -> None:
        """Make sure that it is the line that is bad: a server may refuse every line.

        An organization that is missing is answered like a bad line. Raise SinkError.
        """
        if not self._takes_lines:
            try:
                self._send(marker(self._settings.name))
            except Refused:
                raise SinkError(f"{self._server}: refuses every line: {refusal}") from refusal
            self._takes_lines = True

    def _try_again(self) -> None:
        """Write what failed before. Raise SinkError where it fails again."""
        try:
            self._send(self._doubtful)
        except Refused as refusal:
            self._prove(refusal)
        self._doubtful = b""

    def _settle(self) -> None:
        if self._cursors.due:
            life = self._victoria.check() if self._victoria is not None else _ONE_LIFE
            try:
                self._cursors.settle(life)
            except SinkError as error:
                raise SinkError(f"{self._server}: {error}") from error


SINK = Influx
