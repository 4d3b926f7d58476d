"""Bridges that listen, as real processes: much at once, and what is killed."""

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from heliobus.settings import BrokerStart
from tests.bridge_site import Site, bridge, running
from tests.helpers import BrokerProcess, free_port, require_program, wait_until
from tests.house import House
from tests.processes import Ear

pytestmark = pytest.mark.broker

ROOF = "roof"


@contextmanager
def plain_mosquitto(folder: Path) -> Iterator[int]:
    """Run mosquitto as Debian's package does, with its own limits. Give the port."""
    program = require_program("mosquitto", package="mosquitto")
    port = free_port()
    conf = folder / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(conf)], stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


class Plants:
    """Devices that say how often they have spoken."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._unsaid: set[int] = set()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = lambda _client, _data, mid, *_: self._unsaid.discard(mid)
        self._counts: Counter[str] = Counter()
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()
        wait_until(self._client.is_connected, "the connection")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, topic: str, *, retain: bool = False) -> None:
        self._counts[topic] += 1
        body = json.dumps({"pv_w": self._counts[topic]})
        said = self._client.publish(f"plant/{topic}", body, qos=1, retain=retain)
        self._unsaid.add(said.mid)

    def wait(self) -> None:
        wait_until(lambda: not self._unsaid, "that the broker has it all", 30)

    @contextmanager
    def speaking(self, *devices: str) -> Iterator[None]:
        """Have each speak ten times a second; what is said while the broker is away is lost."""

        def speak() -> None:
            while not self._stopping.wait(0.1):
                for device in devices if self._client.is_connected() else ():
                    self.say(f"{device}/values")

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()


def test_all_of_5000_topics_that_a_broker_retains_are_heard_at_a_connection(
    tmp_path: Path,
) -> None:
    with plain_mosquitto(tmp_path) as port:
        with Plants(port) as plants:
            for leaf in ("values", *(f"leaf_{number}" for number in range(99))):
                for number in range(50):
                    plants.say(f"p{number}/{leaf}", retain=True)
            plants.wait()
        component = bridge(Site(BrokerProcess(BrokerStart.MOSQUITTO, tmp_path, port), tmp_path))

        def heard() -> int:
            return sum(one["messages"] for one in component.details()["devices"].values())

        with Ear(port) as ear, running(component):
            wait_until(lambda: heard() == 5000, "all messages")
            wait_until(lambda: len(ear.heard("/state")) >= 50, "all values")


def test_what_is_killed_loses_nothing_that_was_journaled_and_the_devices_appear_again(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    bridges = {ROOF: {"type": "plain", "devices": {"pump": {}, "well": {}}}}
    house = House(tmp_path / "house", mosquitto, journal={"flush": "1s"}, bridges=bridges)
    with house.running(), Plants(mosquitto.port) as plants, plants.speaking("pump", "well"):
        house.recovers()
        for name in ("broker", ROOF):
            since_s = time.monotonic()
            house.kill(name)
            house.start(name)
            house.recovers()
            for device in ("pump", "well"):
                heard = house.ear.heard(f"/{device}/availability", since_s)
                assert [bytes(one.payload) for one in heard][-1:] == [b"online"]
        stored = house.ends_without_loss()
        assert {device for _, bridge, device, _ in stored if bridge == ROOF} == {"pump", "well"}
