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
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

import yaml
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from heliobus.journal import Journal
from heliobus.sample import time_ms
from heliobus.settings import JournalSettings
from heliobus.simulation import serve_tcp
from tests.helpers import ROOT, BrokerProcess, wait_until

SITE = "farm"
BRIDGE, SINK = "meters", "archive"
DEVICES = ("pump", "well")
EVERY = "0.1s"
# Said by the design: so long after a fault the archive has caught up and nobody asks any more.
AT_REST_S = 5.0
# Nobody has asked for so long: the asking has stopped.
SILENCE_S = 1.5
PLUGINS = ROOT / "tests" / "plugins"

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


class Program:
    """One `heliobus` process, and what it says."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        config: str = "heliobus.yaml",
        before: Sequence[str] = (),
    ) -> None:
        self.log = folder / f"{'-'.join(arguments)}.log"
        self._folder = folder
        self._command = [*before, sys.executable, "-m", "heliobus", "-c", config, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.running:
            self.kill()
        if kind is None and ("Traceback" in self.said or "a bug in" in self.said):
            raise RuntimeError(f"{self._command}:\n{self.said}")

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self._command}: not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def start(self) -> None:
        path = os.pathsep.join(map(str, (ROOT, PLUGINS)))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def says(self, *words: str) -> str:
        """Wait for one line with all these words, and give it."""

        def line() -> str:
            lines = self.said.splitlines()
            return next((one for one in lines if all(word in one for word in words)), "")

        return wait_until(line, f"{words}\n{self.said}", 15)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self, deadline_s: float = 10.0) -> int:
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
        return self.wait(deadline_s)

    def wait(self, deadline_s: float = 10.0) -> int:
        if self._process is None:
            raise RuntimeError(f"{self._command}: not started")
        return self._process.wait(deadline_s)


class Ear:
    """A client of our own that keeps what is said on the bus, through every restart of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._heard: list[tuple[float, MQTTMessage]] = []
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_message = self._take
        self.client.on_connect = lambda client, *_: client.subscribe(f"heliobus/{SITE}/#", 1)

    def __enter__(self) -> Self:
        self.client.connect_async("127.0.0.1", self._port, keepalive=5)
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._lock:
            self._heard.append((time.monotonic(), message))

    def heard(self, leaf: str, since_s: float = 0.0) -> list[MQTTMessage]:
        """Give the messages whose topic ends so."""
        with self._lock:
            heard = list(self._heard)
        return [m for at_s, m in heard if at_s >= since_s and m.topic.endswith(leaf)]

    def status(self, name: str) -> dict[str, Any]:
        """Give the newest status of a component, {} before the first."""
        heard = self.heard(f"/bus/{name}/status")
        return json.loads(heard[-1].payload) if heard else {}

    def say(self, leaf: str, body: Mapping[str, Any], *, retain: bool = False) -> None:
        """Publish something of our own."""
        self.client.publish(f"heliobus/{SITE}/{leaf}", json.dumps(body), qos=1, retain=retain)


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
        self.ear = Ear(broker.port)
        self.link = ""
        self._config = config
        self._programs = ExitStack()

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
        if name not in self.programs:
            words = ("up",) if name == "up" else ("run", name)
            self.programs[name] = self._programs.enter_context(Program(self.folder, *words))
        else:
            self.programs[name].start()

    def kill(self, name: str) -> None:
        """End a component or the broker by SIGKILL."""
        (self.broker if name == "broker" else self.programs[name]).kill()

    def stop(self, name: str) -> None:
        """End a component in order."""
        status = self.programs[name].stop()
        if status != 0:
            raise RuntimeError(f"{name}: status {status}\n{self.programs[name].said}")

    # ------------------------------------------------------------------ judging it

    def flows(self, since_ms: int | None = None) -> None:
        """Wait until something newer than now is stored of every device."""
        since = wall_ms() if since_ms is None else since_ms
        count = sum(len(bridge["devices"]) for bridge in self._config["bridges"].values())

        def flow() -> bool:
            newest = [last for (_, _, d), (_, last) in self.ends().items() if d != "bus"]
            return len([last for last in newest if last > since]) >= count

        wait_until(flow, f"newer samples in the archive\n{self.said}", 30)

    def recovers(self) -> float:
        """Wait until all that was missed is stored and nobody asks for more. Give the seconds."""
        self.flows()
        begin_s = time.monotonic()
        wait_until(
            lambda: not self.holes() and not self.asked(time.monotonic() - SILENCE_S),
            f"rest\n{self.said}",
            AT_REST_S + SILENCE_S,
        )
        return time.monotonic() - begin_s - SILENCE_S

    def ends(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """Give cursor and newest stored time, in ms, of every device of the archive."""
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
                f"SELECT c.site, c.bridge, c.device, cursor_ms, last FROM cursors c JOIN devices"
                f" USING (site, bridge, device) JOIN ({newest}) ON device_id = devices.id"
            ).fetchall()
        return {(s, b, d): (cursor_ms, time_ms(last)) for s, b, d, cursor_ms, last in rows}

    def holes(self) -> list[Any]:
        """Give the devices whose cursor is not the newest stored time."""
        return [item for item in self.ends().items() if item[1][0] != item[1][1]]

    def asked(self, since_s: float = 0.0) -> int:
        """Count the requests to journals, heard on the bus."""
        return len(self.ear.heard("/replay", since_s))

    def stored(self) -> Rows:
        """Read the archive, row by row."""
        rows: Rows = {}
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            for table in _tables(db):
                if table in ("devices", "cursors", "rewrites"):
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
