"""A whole installation as real processes, for the tests that hurt it.

    house = House(tmp_path, broker)
    with house.running():
        house.kill("meters")
        house.start("meters")
        house.recovers()

Everything is judged from outside: by the journal's files, by plain SQL, and by a client of our
own on the bus.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from heliobus import health
from heliobus.journal import Journal
from heliobus.sample import time_ms
from heliobus.settings import JournalSettings
from heliobus.simulation import serve_tcp
from tests.helpers import BrokerProcess, wait_until
from tests.processes import SITE, Ear, Program

BRIDGE, SINK = "meters", "archive"
DEVICES = ("pump", "well")
EVERY = "0.1s"
# Said by the design: so long after everybody is back, the archive has caught up and nobody asks.
AT_REST_S = 5.0
# The longest pauses between two attempts: at the broker, and at the database.
RECONNECT_S = RETRY_S = 4.0
# Nobody has asked for so long: the asking has stopped.
SILENCE_S = 1.0

Key: TypeAlias = tuple[str, str, str, int]  # site, bridge, device, ms since 1970
Rows: TypeAlias = dict[Key, dict[str, Any]]


class Counters:
    """Simulated devices: `pump` is answered by `pump 17`, the 17th time."""

    def __init__(self) -> None:
        self.counts: Counter[bytes] = Counter()
        self._got = b""

    def take(self, data: bytes) -> bytes:
        *names, self._got = (self._got + data).split(b"\n")
        self.counts.update(names)
        return b"".join(b"%s %d\n" % (name, self.counts[name]) for name in names)


@dataclass(frozen=True)
class Rest:
    """Whether all is well: no device has a hole, and nobody has asked of late."""

    holes: Sequence[Any]
    asked: Sequence[bytes]

    def __bool__(self) -> bool:
        return not self.holes and not self.asked


class House:
    """A broker, bridges, a sink with its SQLite file; `config` changes parts of heliobus.yaml."""

    def __init__(self, folder: Path, broker: BrokerProcess, /, **config: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.database = folder / "history.db"
        self.broker = broker
        self.counters = Counters()
        self.programs: dict[str, Program] = {}
        self.kills: Counter[str] = Counter()
        self.ear = Ear(broker.port, folder / "mqtt" / "users" / "watch")
        self.link = ""
        self._config = config
        self._programs = ExitStack()
        self._started_s: dict[str, float] = {}  # components that were not seen on the bus since

    @contextmanager
    def running(self, *names: str) -> Iterator["House"]:
        """Run all components, or some, and end what is left of them."""
        with serve_tcp(self.counters) as line, self.ear, ExitStack() as self._programs:
            self.link = line.url
            self.configure()
            for name in names or (SINK, *self.bridges):
                self.start(name)
            yield self

    def configure(self, **changes: Any) -> None:
        """Change heliobus.yaml, from the next start on."""
        devices = {name: {"every": EVERY} for name in DEVICES}
        self._config = {
            "site": SITE,
            "broker": {"url": self.broker.url},
            "clock": "trust",
            "bridges": {BRIDGE: {"type": "fast", "link": self.link, "devices": devices}},
            "sinks": {SINK: {"type": "sql", "url": "sqlite:///history.db", "backfill": "all"}},
            **self._config,
            **changes,
        }
        self.write("heliobus.yaml")

    def write(self, file: str, **changes: Any) -> None:
        """Write a configuration that differs from that of this house."""
        text = yaml.safe_dump({**self._config, **changes}, sort_keys=False)
        (self.folder / file).write_text(text)

    @property
    def bridges(self) -> Sequence[str]:
        return list(self._config["bridges"])

    # ------------------------------------------------------------------ hurting it

    def start(self, name: str) -> None:
        """Start a component, the broker or not."""
        if name == "broker":
            self.broker.start()
            return
        started = (SINK, *self.bridges) if name == "up" else (name,)
        self._started_s.update(dict.fromkeys(started, time.monotonic()))
        if name not in self.programs:
            words = ("up",) if name == "up" else ("run", name)
            self.programs[name] = self._programs.enter_context(Program(self.folder, *words))
        else:
            self.programs[name].start()

    def kill(self, name: str) -> None:
        """End a component or the broker by SIGKILL."""
        self.kills[name] += 1
        self._started_s.pop(name, None)
        (self.broker if name == "broker" else self.programs[name]).kill()

    def stop(self, name: str) -> None:
        """End a component in order."""
        self._started_s.pop(name, None)
        status = self.programs[name].stop()
        if status != 0:
            raise RuntimeError(f"{name}: status {status}\n{self.programs[name].said}")

    # ------------------------------------------------------------------ judging it

    def flows(self, since_ms: int | None = None) -> None:
        """Wait until something newer than now is stored of every device."""
        since = wall_ms() if since_ms is None else since_ms
        wait_until(lambda: self._flow(since), f"newer samples in the archive\n{self.said}", 30)

    def _flow(self, since_ms: int) -> bool:
        count = sum(len(bridge["devices"]) for bridge in self._config["bridges"].values())
        newest = [last for (_, _, d), (_, last) in self.ends().items() if d != "bus"]
        return len([last for last in newest if last > since_ms]) >= count

    def recovers(self) -> float:
        """Wait until all that was missed is stored and nobody asks for more. Give the seconds.

        To be called when the fault ends. From then on, and from when what was started again is
        on the bus, it may take AT_REST_S, and at most one pause of a client before its next
        attempt at the broker and one of the sink's before its next at the database.
        """
        wait_until(self._are_back, f"what was started\n{self.said}", 30)
        begin_s, begin_ms = time.monotonic(), wall_ms()
        bound_s = AT_REST_S + RECONNECT_S + RETRY_S
        wait_until(
            lambda: self._flow(begin_ms) and self._rest(),
            f"rest\n{self.said}",
            bound_s + SILENCE_S,
        )
        return time.monotonic() - begin_s - SILENCE_S

    def _are_back(self) -> bool:
        """Say whether every component has been on the bus since it was started."""
        for name, since_s in list(self._started_s.items()):
            said = self.ear.heard(f"/bus/{name}/status", since_s)
            if any(json.loads(one.payload)["state"] == "online" for one in said if not one.retain):
                del self._started_s[name]
        return not self._started_s

    def _rest(self) -> "Rest":
        heard = self.ear.heard("/replay", time.monotonic() - SILENCE_S)
        return Rest(self.holes(), [bytes(message.payload) for message in heard])

    def ends(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """Give cursor (0 for none) and newest stored time, in ms, of every device of ours."""
        if not self.database.exists():
            return {}
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            tables = [t for t in _tables(db) if t in ("inverter", "events")]
            newest = " UNION ALL ".join(
                f"SELECT device_id, max(time) AS last FROM {t} GROUP BY device_id" for t in tables
            )
            if not newest:
                return {}
            rows = db.execute(
                "SELECT site, bridge, device, cursor_ms, last FROM devices"
                f" JOIN ({newest}) ON device_id = devices.id LEFT JOIN cursors"
                " USING (site, bridge, device) WHERE bridge != ''"
            ).fetchall()
        return {(s, b, d): (cursor_ms or 0, time_ms(last)) for s, b, d, cursor_ms, last in rows}

    def holes(self) -> list[Any]:
        """Give the devices whose cursor is not the newest stored time."""
        return [item for item in self.ends().items() if item[1][0] != item[1][1]]

    def asked(self, since_s: float = 0.0) -> int:
        """Count the requests to journals, heard on the bus."""
        return len(self.ear.heard("/replay", since_s))

    def stored(self) -> Rows:
        """Read what the archive has of measurements and events, row by row."""
        rows: Rows = {}
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            for table in _tables(db):
                if table in ("devices", "cursors", "rewrites", health.KIND):
                    continue
                query = f"SELECT * FROM {table} t JOIN devices d ON d.id = t.device_id"
                for row in db.execute(query.replace("*", "d.site, d.bridge, d.device, t.*")):
                    values = {k: row[k] for k in row.keys()[3:] if row[k] is not None}
                    del values["device_id"]
                    key = (row["site"], row["bridge"], row["device"], time_ms(values.pop("time")))
                    rows[key] = values | _plain(json.loads(values.pop("other", "{}")))
        return rows

    def journaled(self, *names: str) -> Rows:
        """Read the journals of components that do not run, as the archive should hold them."""
        rows: Rows = {}
        for name in names:
            journal = Journal(self.data, name, JournalSettings())
            if reports := journal.open():
                raise RuntimeError(f"{reports}")
            for device in journal.heads():
                rows.update(_entries(journal, name, device))
            journal.close()
        return rows

    def ends_without_loss(self) -> Rows:
        """Stop all in order; fail unless just what was journaled is stored, with its values."""
        for name in self.bridges:
            self.stop(name)
        expected = self.journaled(*self.bridges)
        wait_until(
            lambda: expected.keys() <= self.stored().keys(), f"the last samples\n{self.said}"
        )
        self.stop(SINK)
        return self.is_whole()

    def is_whole(self, before_ms: int | None = None) -> Rows:
        """Fail unless just what was journaled is stored; for a house where nothing runs."""
        expected, stored = (
            {key: row for key, row in rows.items() if before_ms is None or key[3] < before_ms}
            for rows in (self.journaled(*self.bridges, SINK), self.stored())
        )
        lost, strange = expected.keys() - stored.keys(), stored.keys() - expected.keys()
        other = [key for key in expected.keys() & stored.keys() if expected[key] != stored[key]]
        if lost or strange or other:
            raise RuntimeError(
                f"of {len(expected)} journaled: lost {sorted(lost)[:5]}, not journaled"
                f" {sorted(strange)[:5]}, other values {sorted(other)[:5]}\n{self.said}"
            )
        return stored

    def unmeasured(self, stored: Rows) -> int:
        """Count the answers of the devices that were not stored: on their way at a kill."""
        return self.counters.counts.total() - sum(key[2] in DEVICES for key in stored)

    # ------------------------------------------------------------------ counting rewritten rows

    def count_rewrites(self) -> None:
        """Have the database itself count rows that are written again."""
        with closing(sqlite3.connect(self.database, timeout=10, isolation_level=None)) as db:
            db.execute("CREATE TABLE IF NOT EXISTS rewrites (device_id INTEGER, time TEXT)")
            for table in ("inverter", "events"):
                db.execute(
                    f"CREATE TRIGGER IF NOT EXISTS count_{table} AFTER UPDATE ON {table} BEGIN"
                    " INSERT INTO rewrites VALUES (NEW.device_id, NEW.time); END"
                )

    def rewritten(self) -> int:
        """Count the rows written again since then."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM rewrites").fetchone()[0])

    @property
    def said(self) -> str:
        """Give the end of what each process wrote."""
        return "\n".join(f"--- {name}\n{p.said[-2000:]}" for name, p in self.programs.items())


def wall_ms() -> int:
    """Give the time of the computer in ms since 1970."""
    return round(time.time() * 1000)


def _tables(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _entries(journal: Journal, name: str, device: str) -> Iterator[tuple[Key, dict[str, Any]]]:
    after_ms: int | None = None
    while (batch := journal.batch(device, after_ms, None)).entries:
        for entry in batch.entries:
            body = json.loads(entry.payload)
            if time_ms(body["time"]) != entry.time_ms or body["bridge"] != name:
                raise RuntimeError(f"{name}.journal: {entry}")
            yield (SITE, name, device, entry.time_ms), as_stored(body)
        after_ms = batch.to_ms


def as_stored(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of a message as plain SQL finds them in the archive."""
    return _plain({k: v for k, v in body.items() if k not in ("time", "prev", "kind", "bridge")})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: json.dumps(v) if isinstance(v, list) else v for k, v in values.items()}
