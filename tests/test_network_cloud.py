"""The broker in the cloud of docs/network.md: two real mosquittos, set up as the page says."""

import json
import shlex
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
import yaml
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from broker import configuration
from broker.start import accepts, find_mosquitto
from heliobus import components
from heliobus.simulation import serve_tcp
from tests.helpers import ROOT, free_port, require_program, wait_until
from tests.processes import Program
from tests.test_network_docs import block, number, table

HOUSE = """
site: farm
broker: {{url: "mqtt://127.0.0.1:{port}", passwords: mqtt/users}}
clock: trust
bridges:
  axpert: {{type: voltronic, link: "{link}", devices: {{inverter: {{every: 500ms}}}}}}
"""


@dataclass
class Place:
    """A heliobus.yaml and the mosquitto that belongs to it."""

    folder: Path
    port: int

    def write(self, config: str) -> None:
        self.folder.mkdir()
        (self.folder / "heliobus.yaml").write_text(config)

    def run(self, line: str) -> None:
        """Run a `heliobus` command of the page here."""
        words = shlex.split(line.removeprefix("sudo heliobus"))
        done = subprocess.run(
            [sys.executable, "-m", "heliobus", *words],
            cwd=self.folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def password(self, user: str) -> str:
        return (self.folder / "mqtt" / "users" / user).read_text().strip()

    @contextmanager
    def serving(self, extra: str = "") -> Iterator["Place"]:
        """Run its mosquitto, with lines of an example at the end."""
        require_program("mosquitto", package="mosquitto")
        data = self.folder / "mosquitto"
        data.mkdir(exist_ok=True)
        conf = configuration.started_by_us(
            (self.folder / "mqtt" / "mosquitto.conf").read_text(), data
        )
        (data / "mosquitto.conf").write_text(conf + extra)
        with (data / "log").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", find_mosquitto() or "", "-c",
                 str(data / "mosquitto.conf")],
                stderr=log,
            )  # fmt: skip
        try:
            wait_until(lambda: accepts(self.port), f"the broker {data / 'log'}")
            yield self
        finally:
            process.terminate()
            process.wait(10)


class Person:
    """Somebody at a broker, with a password; keeps what is heard."""

    def __init__(self, place: Place, user: str, *topics: str) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.username_pw_set(user, place.password(user))
        self.client.on_message = self._take
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("127.0.0.1", place.port)
        self.client.loop_start()
        if topics:
            self.client.subscribe([(topic, 1) for topic in topics])
            assert self._subscribed.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload), message.retain))

    def says(self, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def hears(self, topic: str) -> bytes:
        def found() -> list[bytes]:
            return [payload for name, payload, _ in self.heard if name == topic]

        return wait_until(found, f"{topic}; heard: {self.topics}")[-1]

    @property
    def topics(self) -> set[str]:
        return {topic for topic, _, _ in self.heard}


def cloud(folder: Path) -> Place:
    """Set up the place in the cloud by the page's own lines."""
    place = Place(folder / "cloud", free_port())
    config = block("yaml", file="cloud/heliobus.yaml")
    place.write(config.replace("127.0.0.1:1883", f"127.0.0.1:{place.port}"))
    tls = free_port()
    init, add = block("sh", "--host broker.example.org").splitlines()[:2]
    place.run(init.replace("0.0.0.0", f"127.0.0.1:{tls}"))  # noqa: S104 - replaced
    (place.folder / "mqtt" / "acl.own").write_text(block("conf", file="cloud/acl.own"))
    place.run(add)
    return place


def home(folder: Path, link: str) -> Place:
    """Set up the house by the page's own lines."""
    place = Place(folder / "home", free_port())
    place.write(HOUSE.format(port=place.port, link=link))
    place.run("sudo heliobus broker init")
    return place


def broker_bridge(far: Place, *, commands: bool = False) -> str:
    """Give the page's block, with the password and addresses of this test.

    `commands`: as somebody changes it who gives commands from the cloud.
    """
    ports = configuration.ports((far.folder / "mqtt" / "mosquitto.conf").read_text())
    (port,) = ports - {far.port}
    text = block("conf", file="cloud.conf")
    for there, here in {
        "broker.example.org:8883": f"127.0.0.1:{port}",
        "/etc/ssl/certs/ca-certificates.crt": f"{far.folder}/mqtt/tls/ca.crt",
        "remote_password PASSWORD": f"remote_password {far.password('farm')}",
    }.items():
        assert there in text
        text = text.replace(there, here)
    assert text.count("\n#topic ") == 2
    return text.replace("\n#topic ", "\ntopic ") if commands else text


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """Run both brokers, joined by the page's block, for an inverter that nobody answers for."""
    with ExitStack() as running:
        yield joined(tmp_path, "serial:///dev/null", running)


@pytest.fixture
def commanded(tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """Do the same for somebody who gives commands from the cloud."""
    with ExitStack() as running:
        yield joined(tmp_path, "serial:///dev/null", running, commands=True)


def joined(
    folder: Path, link: str, running: ExitStack, *, commands: bool = False
) -> tuple[Place, Place]:
    far = running.enter_context(cloud(folder).serving())
    near = home(folder, link)
    running.enter_context(near.serving(broker_bridge(far, commands=commands)))
    with Person(far, "watch", "sites/farm/#") as there, Person(near, "axpert") as axpert:

        def arrived() -> bool:
            axpert.says("heliobus/farm/bus/axpert/status", b"probe", retain=True)
            return "sites/farm/bus/axpert/status" in there.topics

        wait_until(arrived, "the broker bridge")
    return near, far


OUTWARD = (
    "inverter/state",
    "inverter/info",
    "inverter/availability",
    "bus/axpert/status",
    "bus/axpert/event",
    "bus/cloud_archive/history",
)


def test_what_the_house_says_is_in_the_cloud_below_its_site(both: tuple[Place, Place]) -> None:
    near, far = both
    with Person(far, "watch", "#") as there, Person(near, "axpert") as axpert:
        for leaf in ("inverter/result", "bus/axpert/rejected", "bus/archive/history", *OUTWARD):
            axpert.says(f"heliobus/farm/{leaf}", leaf.encode(), retain=leaf == "inverter/state")
        for leaf in OUTWARD:
            assert there.hears(f"sites/farm/{leaf}") == leaf.encode()
        assert there.topics == {f"sites/farm/{leaf}" for leaf in OUTWARD}
    with Person(far, "watch", "sites/#") as later:
        assert later.hears("sites/farm/inverter/state") == b"inverter/state"
        assert all(retained for _, _, retained in later.heard)


def test_only_questions_come_into_the_house(both: tuple[Place, Place]) -> None:
    assert heard_at_home(*both) == {"bus/axpert/replay"}


def test_commands_of_one_user_come_into_the_house_where_that_is_wanted(
    commanded: tuple[Place, Place],
) -> None:
    near, far = commanded
    assert heard_at_home(near, far) == {"bus/axpert/replay", "inverter/set/cloud"}
    with Person(far, "watch", "sites/farm/#") as there, Person(near, "axpert") as axpert:
        axpert.says("heliobus/farm/inverter/result", b"done")
        assert there.hears("sites/farm/inverter/result") == b"done"


def heard_at_home(near: Place, far: Place) -> set[str]:
    """Say in the cloud what may and may not come home, and give the topics that did."""
    with Person(near, "watch", "#") as here, Person(far, "farm") as there:
        there.says("sites/farm/inverter/set/anna", b"not allowed in the house")
        there.says("sites/farm/inverter/state", b"the cloud measures nothing")
        there.says("sites/farm/inverter/set/cloud", b"command")
        there.says("sites/farm/bus/axpert/replay", b"question")
        assert here.hears("heliobus/farm/bus/axpert/replay") == b"question"
        heard = {topic.removeprefix("heliobus/farm/") for topic in here.topics}
        return heard - {"bus/axpert/status"}  # retained before


def test_a_house_reads_and_writes_nothing_of_another(both: tuple[Place, Place]) -> None:
    _, far = both
    with Person(far, "watch", "sites/#") as watcher, Person(far, "farm", "#") as farm:
        farm.says("sites/neighbour/inverter/state")
        farm.says("sites/farm/inverter/state", b"own")
        assert watcher.hears("sites/farm/inverter/state") == b"own"
        assert farm.hears("sites/farm/inverter/state") == b"own"
        assert not {topic for topic in watcher.topics if "neighbour" in topic}


def test_a_sink_in_the_cloud_fills_its_holes_from_the_journal_at_home(tmp_path: Path) -> None:
    simulated = components.simulator("voltronic")()
    with ExitStack() as running:
        line = running.enter_context(serve_tcp(simulated))
        near, far = joined(tmp_path, line.url, running)
        config = far.folder / "heliobus.yaml"
        text = config.read_text()
        assert "type: sql, " in text
        config.write_text(text.replace("type: sql, ", "type: sql, backfill: all, "))
        heard = running.enter_context(Person(near, "watch", "heliobus/farm/inverter/state"))
        running.enter_context(Program(near.folder, "run", "axpert"))
        wait_until(lambda: len(heard.heard) >= 5, "samples that nobody in the cloud stores", 20)
        before = {json.loads(payload)["time"] for _, payload, _ in heard.heard}
        running.enter_context(Program(far.folder, "run", "cloud_archive"))
        wait_until(lambda: times(far) >= before, "what was missed", 20)
        whole = max(len(payload) for _, payload, _ in heard.heard)
    # What the page says of the size of a state, within what its numbers vary by.
    assert number(table("what | bytes")[0][1]) == pytest.approx(whole, rel=0.03)


def times(far: Place) -> set[str]:
    """Give the times of what is stored of the inverter in the cloud."""
    path = far.folder / "history.db"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return {row[0] for row in database.execute("SELECT time FROM inverter")}
    except sqlite3.OperationalError:  # not there yet
        return set()


def test_the_place_in_the_cloud_has_no_sink_of_the_house() -> None:
    (name,) = yaml.safe_load(block("yaml", file="cloud/heliobus.yaml"))["sinks"]
    assert name != "archive"
    assert f"topic bus/{name}/history out 1 " in block("conf", file="cloud.conf")


def test_a_reader_s_options_are_in_a_file(both: tuple[Place, Place], tmp_path: Path) -> None:
    _, far = both
    program = require_program("mosquitto_sub", package="mosquitto-clients")
    (port,) = configuration.ports((far.folder / "mqtt/mosquitto.conf").read_text()) - {far.port}
    options = block("conf", file="clients/mosquitto_sub")
    for there, here in {
        "heliobus.local": "localhost",
        "8883": str(port),
        "ca.crt": f"{far.folder}/mqtt/tls/ca.crt",
        "PASSWORD": far.password("watch"),
        "nodered": "watch",
    }.items():
        assert options.count(there) == 1
        options = options.replace(there, here)
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients/mosquitto_sub").write_text(options)
    setting, command, *words = shlex.split(block("sh", "XDG_CONFIG_HOME").splitlines()[-1])
    assert (setting, command) == ("XDG_CONFIG_HOME=clients", "mosquitto_sub")
    topic = "sites/farm/#" if words.pop() == "heliobus/#" else ""
    done = subprocess.run(
        [program, *words, topic, "-C", "1", "-W", "10"],
        cwd=tmp_path,
        env={"XDG_CONFIG_HOME": "clients"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "sites/farm/bus/axpert/status probe\n"
