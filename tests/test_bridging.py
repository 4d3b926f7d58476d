"""A bridge component on the bus: what it keeps retained there is true, whatever the bus does."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from heliobus import contract
from heliobus.bridge import Group, Identity
from heliobus.bridging import BridgeComponent
from heliobus.errors import FrameError
from heliobus.link import Link
from heliobus.sample import Values
from heliobus.settings import (
    BridgeSettings,
    BrokerSettings,
    ClockSettings,
    DeviceSettings,
    Settings,
)
from heliobus.simulation import serve_tcp
from tests.helpers import BrokerProcess, wait_until
from tests.house import Counters
from tests.processes import SITE, Ear

pytestmark = pytest.mark.broker


class Mortal:
    """A bridge whose device answers until it is dead."""

    kind = "battery"
    identity = Identity()
    groups: Sequence[Group] = (Group("all", 0.05, 0.001),)
    dead = threading.Event()

    def __init__(self, device: DeviceSettings) -> None:
        """Need nothing of the device."""

    def poll(self, link: Link, group: str) -> Values:  # noqa: ARG002
        if self.dead.is_set():
            raise FrameError("no answer")
        return {"battery_v": 52.0}

    def forget(self) -> None:
        """Forget nothing."""


@contextmanager
def running(component: BridgeComponent) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=component.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_device_that_dies_while_the_broker_is_frozen_is_offline_afterwards(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    Mortal.dead.clear()
    with serve_tcp(Counters()) as line, Ear(mosquitto.port) as ear:
        component = BridgeComponent(
            Settings(
                site=SITE,
                folder=tmp_path,
                data=tmp_path,
                broker=BrokerSettings(port=mosquitto.port),
                clock=ClockSettings(trust=True),
            ),
            BridgeSettings("bms", "mortal", (DeviceSettings("battery", 0.05, line.url),)),
            Mortal,
            contract.load(),
        )

        def said() -> bytes:
            heard = ear.heard("/battery/availability")
            return bytes(heard[-1].payload) if heard else b""

        def state() -> str:
            return str(component.details()["devices"]["battery"]["state"])

        with running(component):
            wait_until(lambda: said() == b"online", "the device")
            mosquitto.freeze()
            while component.bus.publish("heliobus/x", b""):
                pass  # until the broker is handed no more
            Mortal.dead.set()
            wait_until(lambda: state() == "offline", "the end of the device")
            mosquitto.thaw()
            wait_until(lambda: said() == b"offline", "the word of it")
