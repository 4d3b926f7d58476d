"""Real servers of time series for the tests: VictoriaMetrics, and InfluxDB 1.x of Debian.

    with VictoriaMetrics(tmp_path / "vm") as server:
        server.url
        server.kill()
        server.start()

Both listen on a free port of loopback and keep that port and their files over a restart. Debian's
InfluxDB is older than 1.8: it has no /api/v2/write, only /write.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from broker.start import HOST
from tests.helpers import free_port, require_program, wait_until


class Server:
    """A server process, to be stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Give the address as heliobus.yaml writes it."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Give the process id of the running server."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    def command(self) -> Sequence[str]:
        """Give the command line."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, f"{self.url}\n{self.log.read_text()[-2000:]}", 30)

    def _answers(self) -> bool:
        try:
            self.get("/ping")
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it in order. Safe to call twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL, and come back when it is gone."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)
            os.kill(self._process.pid, how)
            self._process.wait(30)
            self._process = None

    def get(self, path: str, **params: str) -> str:
        """Ask for something, and give the text of the answer."""
        status, text = self._ask("GET", path, params)
        if status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"{self.url}{path}: {status} {text[:500]}")
        return text

    def post(self, path: str, body: bytes = b"", **params: str) -> tuple[int, str]:
        """Send something; give the status and the text of the answer, also of a refusal."""
        return self._ask("POST", path, params, body)

    def _ask(
        self, method: str, path: str, params: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request(method, f"{path}?{urllib.parse.urlencode(params)}", body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


class VictoriaMetrics(Server):
    """VictoriaMetrics as we tell people to run it; `flags` add to that or replace it."""

    def __init__(self, folder: Path, **flags: str) -> None:
        super().__init__(folder)
        self._program = require_program("victoria-metrics", package="victoria-metrics")
        self._flags = {
            "dedup.minScrapeInterval": "1ms",
            "retentionPeriod": "100y",
            "memory.allowedBytes": "128MB",
            "httpListenAddr": f"{HOST}:{self.port}",
            "storageDataPath": str(folder / "data"),
            **flags,
        }

    def command(self) -> Sequence[str]:
        """Give the command line."""
        return [self._program, *(f"-{name}={value}" for name, value in self._flags.items())]

    def lives_anew(self) -> None:
        """Kill it and start it, until it tells another moment of its start: in whole seconds."""
        life = self.metric("vm_app_start_timestamp")

        def restarted() -> bool:
            self.kill()
            self.start()
            return self.metric("vm_app_start_timestamp") != life

        wait_until(restarted, "another life")

    def export(self) -> dict[str, dict[int, float]]:
        """Give all that is stored: the series by name{device} and the values by time in ms."""
        # Asked anew each time: that a question has no answer is remembered for ten seconds.
        match = f'{{__name__!="",asked!="{time.monotonic_ns()}"}}'
        found: dict[str, dict[int, float]] = {}
        for line in self.get("/api/v1/export", **{"match[]": match}).splitlines():
            one = json.loads(line)
            tags: Mapping[str, str] = one["metric"]
            name = f"{tags['__name__']}{{{tags.get('device', '')}}}"
            found.setdefault(name, {}).update(zip(one["timestamps"], one["values"], strict=True))
        return found

    def metric(self, name: str) -> float:
        """Give one number of what the server tells of itself."""
        match = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        if match is None:
            raise RuntimeError(f"{self.url} has no metric {name}")
        return float(match[1])


_INFLUXDB_CONF = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
[monitor]
store-enabled = false
"""


class InfluxDB1(Server):
    """InfluxDB 1.x with one database: line protocol by /write, questions in InfluxQL."""

    database = "solar"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program = require_program("influxd", package="influxdb")
        self._conf = folder / "influxdb.conf"
        conf = _INFLUXDB_CONF.format(folder=folder, port=self.port, rpc_port=free_port())
        self._conf.write_text(conf)

    def command(self) -> Sequence[str]:
        """Give the command line."""
        return [self._program, "-config", str(self._conf)]

    def start(self) -> None:
        """Start it with its database."""
        super().start()
        self.post("/query", q=f'CREATE DATABASE "{self.database}"')

    def write(self, lines: bytes) -> tuple[int, str]:
        """Send line protocol in milliseconds; give the status and what the server says."""
        return self.post("/write", lines, db=self.database, precision="ms")

    def query(self, influxql: str) -> list[dict[str, Any]]:
        """Give the rows of an answer, each with its columns, tags and `measurement`."""
        text = self.get("/query", db=self.database, epoch="ms", q=influxql)
        rows: list[dict[str, Any]] = []
        for result in json.loads(text)["results"]:
            if "error" in result:
                raise RuntimeError(f"{influxql}: {result['error']}")
            for series in result.get("series", ()):
                fixed = {"measurement": series["name"], **series.get("tags", {})}
                columns = series["columns"]
                rows += [{**fixed, **dict(zip(columns, v, strict=True))} for v in series["values"]]
        return rows
