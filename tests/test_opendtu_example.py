"""The installation examples/opendtu_cloud, its local part: from a simulated OpenDTU to the ends."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridges.mqtt.simulator import Simulator
from heliobus.credentials import write_secret
from heliobus.sample import time_ms
from heliobus.settings import BrokerSettings, BrokerStart
from heliobus.speaking import Speaker
from tests import ha_rules
from tests.helpers import ROOT, BrokerProcess, free_port, require_program, wait_until
from tests.house import House, Key, Rows, as_stored, wall_ms
from tests.influx_servers import VictoriaMetrics
from tests.listening import Listening
from tests.processes import SITE, Program

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.slow]

EXAMPLE = ROOT / "examples" / "opendtu_cloud"
BRIDGE = "dtu"
ROOF, SHED = "inverter_114172608275", "inverter_116172608276"
# What the common dashboard for OpenDTU asks for, by channel.
AC = {
    *("power", "voltage", "current", "frequency", "powerfactor", "reactivepower"),
    *("temperature", "yieldday", "yieldtotal", "powerdc", "efficiency"),
}
DC = {"power", "voltage", "current", "yieldday", "yieldtotal", "irradiation"}
STATUS = {"reachable", "producing", "limit_relative", "limit_absolute", "last_update"}
RADIO = {
    *("tx_request", "tx_re_request", "rx_success", "rssi"),
    *("rx_fail_nothing", "rx_fail_partial", "rx_fail_corrupt"),
}


@dataclass
class Installation:
    """The example as its owner runs it, with an OpenDTU in the neighbouring room."""

    folder: Path
    port: int
    server: VictoriaMetrics
    house: House
    dtu: Simulator = field(default_factory=lambda: Simulator(poll_s=0.4, publish_s=1.0))

    def configure(self) -> None:
        text = (EXAMPLE / "heliobus.yaml").read_text()
        changes = {
            "site: home": f"site: {SITE}\nclock: trust\njournal: {{flush: 1s}}",
            "mqtt://127.0.0.1:1883": f"mqtt://127.0.0.1:{self.port}",
            "http://127.0.0.1:8086": self.server.url,
        }
        for before, after in changes.items():
            assert before in text
            text = text.replace(before, after)
        (self.folder / "heliobus.yaml").write_text(text)
        for name in ("influx-write", "influx-read"):
            write_secret(self.folder / "secrets" / name, "none")

    def heliobus(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "heliobus", *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def written(self) -> Iterator[list[str]]:
        """Give the commands of the page that set up the broker, for this computer alone."""
        page = (EXAMPLE / "README.md").read_text()
        for line in map(str.strip, page.splitlines()):
            if line.startswith("heliobus broker "):
                alone = re.sub("--listen [0-9.]+", f"--listen 127.0.0.1:{free_port()}", line)
                yield shlex.split(alone)[1:]

    def password(self, user: str) -> Path:
        return self.folder / "mqtt" / "users" / user

    @property
    def opendtu(self) -> Speaker:
        """Give the OpenDTU, which logs in as its own user."""
        broker = BrokerSettings(
            port=self.port, username="opendtu", password_file=self.password("opendtu")
        )
        return Speaker(self.dtu, broker)

    def series(self) -> dict[tuple[str, str, str], dict[int, float]]:
        """Give what is in the database: by serial number, channel and field."""
        self.server.get("/internal/force_flush")
        text = self.server.get("/api/v1/export", **{"match[]": '{__name__=~"mqtt_consumer_.*"}'})
        found: dict[tuple[str, str, str], dict[int, float]] = {}
        for one in map(json.loads, text.splitlines()):
            tags = one["metric"]
            leaf = tags["__name__"].removeprefix("mqtt_consumer_")
            values = dict(zip(one["timestamps"], one["values"], strict=True))
            found[tags["serial"], tags["channel"], leaf] = values
        return found


@dataclass
class Lived:
    """What was heard and stored when the installation had run for a while."""

    killed_ms: int
    heard: Mapping[Key, Mapping[str, Any]]
    infos: Mapping[str, Mapping[str, Any]]
    stored: Rows
    journaled: Rows
    series: Mapping[tuple[str, str, str], Mapping[int, float]]
    announced: Mapping[str, bytes]


@contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    """Do what the page of the example says."""
    require_program("mosquitto", package="mosquitto")
    with VictoriaMetrics(folder / "server") as server:
        home = folder / "home"
        broker = BrokerProcess(BrokerStart.MOSQUITTO, folder / "unused")
        one = Installation(home, broker.port, server, House(home, broker))
        one.configure()
        for command in one.written():
            one.heliobus(*command)
        one.heliobus("check")
        yield one


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """Run it all, with a bridge that is killed in the middle."""
    with installed(tmp_path_factory.mktemp("opendtu")) as at_home:
        house = at_home.house
        with Program(at_home.folder, "up") as up, ExitStack() as ears:
            wait_until(lambda: up.running and _listens(at_home.port), "the broker", 20)
            bus, hass = (
                ears.enter_context(Listening(at_home.port, wanted, password=at_home.password(user)))
                for wanted, user in (("heliobus/#", "watch"), ("homeassistant/#", "ha"))
            )
            with at_home.opendtu:
                _wait_for_samples(bus, up, after_ms=0)
                killed_ms = wall_ms()
                os.kill(int((house.data / f"{BRIDGE}.lock").read_text()), signal.SIGKILL)
                _wait_for_samples(bus, up, after_ms=killed_ms)
            heard = _samples(bus)
            wait_until(lambda: _is_stored(at_home, heard), f"all of it\n{up.said}", 40)
            assert up.stop() == 0
        yield Lived(
            killed_ms,
            _samples(bus),
            {t.split("/")[2]: json.loads(p) for t, p in bus.newest.items() if t.endswith("/info")},
            {key: row for key, row in house.stored().items() if key[1] == BRIDGE},
            house.journaled(BRIDGE),
            at_home.series(),
            {topic: body for topic, body in hass.newest.items() if topic.endswith("/config")},
        )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _samples(bus: Listening) -> dict[Key, dict[str, Any]]:
    """Give the samples of the bridge that were heard, as they should be stored."""
    found: dict[Key, dict[str, Any]] = {}
    for message in list(bus.heard):
        if message.topic.endswith("/state") and message.payload:
            body = json.loads(message.payload)
            if body.get("bridge") == BRIDGE:
                device = message.topic.split("/")[2]
                found[SITE, BRIDGE, device, time_ms(body["time"])] = as_stored(body)
    return found


def _wait_for_samples(bus: Listening, up: Program, *, after_ms: int) -> None:
    """Wait for some samples of each device."""

    def enough() -> bool:
        counts = Counter(key[2] for key in _samples(bus) if key[3] > after_ms)
        return all(counts[device] >= 4 for device in (BRIDGE, ROOF, SHED))

    wait_until(enough, f"samples\n{up.said}", 60)


def _is_stored(at_home: Installation, heard: Mapping[Key, object]) -> bool:
    newest_ms = max(key[3] for key in heard if key[2] == ROOF)
    power = at_home.series().get((ROOF.removeprefix("inverter_"), "0", "power"), {})
    return heard.keys() <= at_home.house.stored().keys() and newest_ms in power


def test_what_was_on_the_bus_is_in_the_archive(lived: Lived) -> None:
    heard, stored = (
        {
            key: row
            for key, row in rows.items()
            if key[2] != "bus" and key[3] < lived.killed_ms - 1000
        }
        for rows in (lived.heard, lived.stored)
    )
    counts = Counter(key[2] for key in heard)
    assert counts == Counter(key[2] for key in stored)
    assert counts.keys() == {BRIDGE, ROOF, SHED}
    assert heard == stored


def test_a_bridge_that_was_killed_loses_nothing_that_it_had_journaled(lived: Lived) -> None:
    assert lived.journaled == lived.stored
    assert lived.heard.keys() <= lived.stored.keys()
    later = [key for key in lived.stored if key[3] > lived.killed_ms]
    assert min(len(later), len(lived.stored) - len(later)) >= 12


def test_each_inverter_and_the_dtu_is_a_device(lived: Lived) -> None:
    shown = {
        name: (info["kind"], info.get("maker"), info.get("serial"))
        for name, info in lived.infos.items()
    }
    assert shown == {
        BRIDGE: ("gateway", "OpenDTU", None),
        ROOF: ("inverter", "Hoymiles", "114172608275"),
        SHED: ("inverter", "Hoymiles", "116172608276"),
    }


def test_the_common_dashboard_finds_what_telegraf_would_have_written(lived: Lived) -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for serial, channel, leaf in lived.series:
        found.setdefault((serial, channel), set()).add(leaf)
    expected = {("114172608275", str(n)): DC for n in (1, 2)}
    expected |= {("116172608276", str(n)): DC for n in (1, 2, 3, 4)}
    for serial in ("114172608275", "116172608276"):
        expected |= {(serial, "0"): AC, (serial, "status"): STATUS, (serial, "radio"): RADIO}
        expected[serial, "device"] = {"bootloaderversion", "hwpartnumber"}
    assert found == expected


def test_the_values_there_are_those_of_the_archive_in_the_units_of_opendtu(lived: Lived) -> None:
    rows = {key[3]: row for key, row in lived.stored.items() if key[2] == ROOF}
    power = lived.series["114172608275", "0", "power"]
    assert power == {at: row["output_w"] for at, row in rows.items() if "output_w" in row}
    today = lived.series["114172608275", "1", "yieldday"]
    assert all(
        value == round(rows[at]["pv_01_yield_today_kwh"] * 1000) for at, value in today.items()
    )


def test_home_assistant_takes_what_it_is_told(lived: Lived) -> None:
    faults = {
        topic: [*ha_rules.rejections(topic, body), *ha_rules.template_warnings(body)]
        for topic, body in lived.announced.items()
        if body
    }
    assert not {topic: found for topic, found in faults.items() if found}
    bodies = [json.loads(body) for body in lived.announced.values() if body]
    names = {str(body.get("dev", body.get("device"))) for body in bodies}
    for serial in ("114172608275", "116172608276"):
        assert [name for name in names if serial in name]
