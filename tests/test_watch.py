"""The command `watch` on a real bus: the table on a terminal, the lines elsewhere."""

import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from broker.start import find_mosquitto
from heliobus import contract
from heliobus.board import Board
from heliobus.settings import BrokerStart
from heliobus.topics import Topics
from heliobus.watch import Screen
from tests.helpers import ROOT, BrokerProcess, free_port, require_program, wait_until
from tests.terminal import CLOSED, OPENED, RED, on_a_terminal

pytestmark = pytest.mark.broker

TIME = "2025-11-21T10:15:30.123Z"
INVERTER = {"time": TIME, "prev": None, "kind": "inverter", "bridge": "axpert", "pv_w": 3021}
BATTERY = {"time": TIME, "prev": None, "kind": "battery", "bridge": "bms", "battery_v": 52.71}


@pytest.fixture
def here(mosquitto: BrokerProcess, tmp_path: Path) -> Path:
    """Give a folder with a configuration for the running broker."""
    return configured(tmp_path, mosquitto.port)


def configured(folder: Path, port: int, more: str = "") -> Path:
    url = f"mqtt://127.0.0.1:{port}"
    (folder / "heliobus.yaml").write_text(
        f"site: farm\nbroker: {{url: '{url}'{more}}}\n"
        "sinks: {archive: {type: sql, url: 'sqlite:///history.db'}}\n"
    )
    return folder


def say(broker: BrokerProcess, leaf: str, body: object) -> None:
    """Publish, retained, as another process would."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    publish.single(
        f"heliobus/farm/{leaf}", payload, qos=1, retain=True, hostname=broker.host, port=broker.port
    )


class Watcher:
    """A `heliobus watch` whose output goes to a pipe."""

    def __init__(self, folder: Path, *wanted: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "heliobus", "watch", *wanted],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out: deque[str] = deque()
        self.err: deque[str] = deque()
        self._readers = [
            threading.Thread(target=lambda: self.out.extend(self.process.stdout or ())),
            threading.Thread(target=lambda: self.err.extend(self.process.stderr or ())),
        ]
        for reader in self._readers:
            reader.start()

    def waits_for(self, line: str) -> None:
        wait_until(lambda: re.search(line, "".join([*self.out, *self.err])), line)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        status = self.process.wait(10)
        for reader in self._readers:
            reader.join(10)
        return status


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Any]:
    started: list[Watcher] = []

    def start(*wanted: str) -> Watcher:
        started.append(Watcher(tmp_path, *wanted))
        return started[-1]

    yield start
    for watcher in started:
        if watcher.process.poll() is None:
            watcher.end(signal.SIGKILL)


def without_time(lines: Sequence[str]) -> list[str]:
    return [re.sub(r"^\d\d:\d\d:\d\d |  \(\d+ \w+ ago\)$", "", line.rstrip()) for line in lines]


def test_what_is_retained_and_what_comes_are_lines_for_those_who_wait_for_them(
    mosquitto: BrokerProcess, here: Path, watch: Any
) -> None:
    assert here.exists()
    say(mosquitto, "inverter/state", INVERTER)
    everything, device, field = watch(), watch("bank"), watch("pv_")
    everything.waits_for("pv_w=3021")
    field.waits_for("pv_w=3021")
    say(mosquitto, "bank/state", BATTERY)
    say(mosquitto, "bank/availability", b"offline")
    say(mosquitto, "bus/axpert/status", {"state": "offline"})
    say(mosquitto, "inverter/state", {**INVERTER, "pv_w": 3022})
    for each in (everything, field):
        each.waits_for("pv_w=3022")
    device.waits_for("bank  offline")
    assert [each.end() for each in (everything, device, field)] == [0, 0, 0]
    assert without_time(everything.out) == [
        "inverter  pv_w=3021",
        "bank  battery_v=52.71",
        "bank  offline",
        "bus/axpert  offline",
        "inverter  pv_w=3022",
    ]
    assert without_time(device.out) == ["bank  battery_v=52.71", "bank  offline"]
    assert without_time(field.out) == ["inverter  pv_w=3021", "inverter  pv_w=3022"]
    assert not [*everything.err, *device.err, *field.err]


def test_a_malformed_message_is_one_line(mosquitto: BrokerProcess, here: Path, watch: Any) -> None:
    assert here.exists()
    watcher = watch()
    say(mosquitto, "pump/state", b"\xff\x1b[2J")
    watcher.waits_for("pump")
    say(mosquitto, "pump/state", b"")
    say(mosquitto, "inverter/state", INVERTER)
    watcher.waits_for("pv_w=3021")
    assert watcher.end(signal.SIGTERM) == 0
    assert re.match(r"heliobus/farm/pump/state: not JSON: ", without_time(watcher.out)[0])
    assert without_time(watcher.out)[1:] == ["inverter  pv_w=3021"]


def test_a_broker_that_is_down_is_said_and_waited_for(tmp_path: Path, watch: Any) -> None:
    require_program("mosquitto", package="mosquitto")
    broker = BrokerProcess(BrokerStart.MOSQUITTO, tmp_path / "mosquitto")
    configured(tmp_path, broker.port)
    watcher = watch()
    watcher.waits_for(f"broker {broker.url}: nothing listens there; is the broker running")
    broker.start()
    watcher.waits_for(f"broker {broker.url}: connected")
    say(broker, "inverter/state", INVERTER)
    watcher.waits_for("pv_w=3021")
    broker.stop()
    watcher.waits_for(f"broker {broker.url}: the connection is lost; trying again")
    assert watcher.end() == 0
    assert without_time(watcher.out) == ["inverter  pv_w=3021"]
    assert all(re.search("(WARNING|INFO) .*broker ", line) for line in watcher.err)


def test_where_passwords_are_wanted_the_user_is_watch(tmp_path: Path, watch: Any) -> None:
    require_program("mosquitto", package="mosquitto")
    tool = require_program("mosquitto_passwd", package="mosquitto")
    passwords = tmp_path / "passwords"
    subprocess.run([tool, "-c", "-b", str(passwords), "watch", "s3cret"], check=True)
    port = free_port()
    lines = [f"listener {port} 127.0.0.1", f"password_file {passwords}"]
    lines += ["user root"] if os.geteuid() == 0 else []  # else it could not read the file
    (tmp_path / "mosquitto.conf").write_text("\n".join(lines))
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "secret").chmod(0o600)
    configured(tmp_path, port, ", password_file: secret")
    watcher = watch()
    watcher.waits_for("nothing listens there")
    with subprocess.Popen(
        [find_mosquitto() or "mosquitto", "-c", str(tmp_path / "mosquitto.conf")],
        stderr=subprocess.DEVNULL,
    ) as server:
        watcher.waits_for(f"broker mqtt://127.0.0.1:{port}: connected")
        server.terminate()


# ---------------------------------------------------------------------- on a terminal


def test_the_table_shows_who_is_there_and_who_is_not(mosquitto: BrokerProcess, here: Path) -> None:
    with on_a_terminal("watch", folder=here) as terminal:
        terminal.wait_for("waiting for the first sample ...")
        say(mosquitto, "inverter/state", INVERTER)
        say(mosquitto, "bus/axpert/status", {"state": "online"})
        terminal.wait_for("inverter  inverter                  STALE, ")
        say(mosquitto, "bus/axpert/status", {"state": "offline"})
        table = terminal.wait_for("OFFLINE with its bridge axpert, ")
        assert "  PV power                 3,021 W" in table
        assert f"{RED}OFFLINE" in terminal.written
        say(mosquitto, "pump/state", b"{")
        terminal.wait_for("1 message refused: heliobus/farm/pump/state: not JSON")
        say(mosquitto, "inverter/state", b"")
        table = terminal.wait_for("waiting for the first sample ...")
        assert not any("inverter" in line for line in table)
        terminal.type(b"\x03")
        assert terminal.end() == 0
    assert terminal.after_the_table() == ""


def test_a_broker_that_is_down_stands_below_the_table(tmp_path: Path) -> None:
    require_program("mosquitto", package="mosquitto")
    broker = BrokerProcess(BrokerStart.MOSQUITTO, tmp_path / "mosquitto")
    configured(tmp_path, broker.port)
    with on_a_terminal("watch", folder=tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("waiting for", f"broker {broker.url}: nothing listens there; is the")
        broker.start()
        say(broker, "inverter/state", INVERTER)
        table = terminal.wait_for("PV power")
        assert not any("nothing listens" in line for line in table)
        broker.stop()
        terminal.wait_for(f"broker {broker.url}: the connection is lost")
        terminal.type(b"\x03")
        assert terminal.end() == 0
    assert "\x1b[31m" not in terminal.written
    assert "\x1b[1m" not in terminal.written
    # Nothing was logged into the table.
    assert not re.search("WARNING|INFO", terminal.written)


def test_a_dumb_terminal_has_lines(mosquitto: BrokerProcess, here: Path) -> None:
    say(mosquitto, "inverter/state", INVERTER)
    with on_a_terminal("watch", folder=here, TERM="dumb") as terminal:
        wait_until(lambda: terminal.read() and "pv_w=3021" in terminal.written, "a line")
        terminal.type(b"\x03")
        assert terminal.end() == 0
    assert "\x1b" not in terminal.written


def test_a_bug_gives_the_terminal_and_the_log_back() -> None:
    ours, theirs = pty.openpty()
    handlers = logging.getLogger().handlers
    board = Board(contract.load(), Topics("farm"))
    with open(theirs, "w") as out:

        def fail() -> None:
            with Screen(out, board, ""):
                assert logging.getLogger().handlers != handlers
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
    assert logging.getLogger().handlers is handlers
    written = b""
    while not written.endswith(CLOSED.encode()):  # it may come in pieces
        written += os.read(ours, 100)
    assert written.decode() == OPENED + "\x1b[?25l" + CLOSED
    os.close(ours)
