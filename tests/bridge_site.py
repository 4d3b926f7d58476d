"""A place where bridges run in the tests' own process, and what the bus retains of them."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliobus import contract
from heliobus.bridging import BridgeComponent
from heliobus.bus import Message
from heliobus.listener import Moment, Reading, Refused
from heliobus.listening import Listening
from heliobus.settings import (
    BridgeSettings,
    BrokerSettings,
    BrokerStart,
    ClockSettings,
    DeviceSettings,
    Settings,
)
from tests.helpers import BrokerProcess, wait_until
from tests.plugins.plain_listener import Plain
from tests.processes import SITE, Ear

CONTRACT = contract.load()
ONLINE, OFFLINE = b"online", b"offline"


@contextmanager
def running(component: BridgeComponent) -> Iterator[None]:
    """Run a bridge in a thread, and stop it in order."""
    stop = threading.Event()
    thread = threading.Thread(target=component.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True)
class Site:
    """A broker and a data folder."""

    broker: BrokerProcess
    folder: Path

    def settings(self, name: str) -> Settings:
        """Give the settings of one bridge here."""
        embedded = self.broker.kind is BrokerStart.EMBEDDED
        return Settings(
            site=SITE,
            folder=self.folder,
            data=self.folder / name,
            broker=BrokerSettings(port=self.broker.port, mqtt5=not embedded),
            clock=ClockSettings(trust=True),
        )

    def retained(self) -> dict[str, bytes]:
        """Give what a client that comes now is told, by the topic below the site."""
        with Ear(self.broker.port) as ear:

            def ends() -> bool:
                ear.say("x/end", {})
                return bool(ear.heard("/x/end"))

            wait_until(ends, "our own word, after all that is retained")
            return {
                message.topic.removeprefix(f"heliobus/{SITE}/"): bytes(message.payload)
                for message in ear.heard("")
                if message.retain
            }


class Held(Plain):
    """One that takes in nothing while it is held, and tells how far it is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.free = threading.Event()
        self.free.set()
        self.taking = threading.Event()
        self.pause_s = 0.0
        self.hellos = 0
        self.came_s = 0.0
        self.lags_s: list[float] = []  # at each turn: how long ago the newest message came

    def take(self, message: Message, now: Moment) -> Sequence[Refused]:
        self.hellos += message.topic == "plant/hello"
        self.came_s = now.s
        self.taking.set()
        self.free.wait(20)
        time.sleep(self.pause_s)
        return super().take(message, now)

    def due(self, now: Moment) -> Sequence[Reading]:
        self.lags_s.append(now.s - self.came_s)
        return super().due(now)


def made(
    site: Site, name: str = "roof", *devices: DeviceSettings, takeover: bool = False, **options: Any
) -> tuple[BridgeComponent, Held]:
    """Make a bridge that listens, and give its listener, too."""
    settings = site.settings(name)
    roof = BridgeSettings(name, "plain", devices, takeover=takeover, options=options)
    listener = Held(roof, folder=site.folder, contract=CONTRACT)
    source = Listening(listener, settings, name)
    return BridgeComponent(settings, roof, source, CONTRACT), listener


def bridge(site: Site, name: str = "roof", **options: Any) -> BridgeComponent:
    """Make a bridge that listens."""
    return made(site, name, **options)[0]


def state_of(component: BridgeComponent, device: str = "pack") -> str:
    """Give the state of a device as the bridge's status has it, "" for one not known."""
    return str(component.details()["devices"].get(device, {}).get("state", ""))


def told(site: Site, topic: str, *words: bytes, deadline_s: float = 10.0) -> dict[str, bytes]:
    """Wait until what is retained on a topic holds all these words; give all that is retained."""

    def look() -> dict[str, bytes]:
        retained = site.retained()
        return retained if all(word in retained.get(topic, b"") for word in words) else {}

    return wait_until(look, f"{words} on {topic}", deadline_s)
