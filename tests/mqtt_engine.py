"""Small maps of the tests' own, and a bridge whose clock the test moves."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from bridges.mqtt import BRIDGE, maps
from bridges.mqtt.codec import Finder, Said, hear
from bridges.mqtt.rules import Map
from heliobus import contract
from heliobus.bus import Message
from heliobus.listener import Heard, Moment, Reading, Refused
from heliobus.settings import BridgeSettings, DeviceSettings

CONTRACT = contract.load()
NOON_MS = 1_795_262_400_000  # 2026-11-21 12:00:00 UTC


def write(folder: Path, text: str, name: str = "own.yaml") -> Path:
    """Write a map."""
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    return path


def load(folder: Path, text: str) -> Map:
    """Write a map and read it."""
    return maps.load(str(write(folder, text)), beside=folder, contract=CONTRACT)


def say(found: Map, topic: str, payload: str) -> list[Said]:
    """Read one message by a map."""
    match = Finder(found).find(topic)
    assert match is not None, topic
    return hear(match, payload.encode())


class Hall:
    """A bridge with a map; what is said goes in, time passes as told."""

    def __init__(
        self, folder: Path, text: str, devices: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        named = tuple(
            DeviceSettings(name, own.get("every", 0.0), "", own)
            for name, own in (devices or {}).items()
        )
        settings = BridgeSettings(
            "hall", "mqtt", named, options={"map": str(write(folder, text)), **options}
        )
        self.bridge = BRIDGE(settings, folder=folder, contract=CONTRACT)
        self.s = 1000.0
        self.start_ms = NOON_MS
        self.readings: list[Reading] = []
        self.bridge.connected(self.now)

    @property
    def now(self) -> Moment:
        return Moment(self.s, self.start_ms + round((self.s - 1000) * 1000))

    @property
    def devices(self) -> Mapping[str, Heard]:
        return self.bridge.devices

    def say(self, topic: str, payload: str | bytes, *, retained: bool = False) -> list[Refused]:
        """Say one thing now; give what is refused."""
        raw = payload if isinstance(payload, bytes) else payload.encode()
        return list(self.bridge.take(Message(topic, raw, retained), self.now))

    def wait(self, seconds: float = 0.0) -> list[Reading]:
        """Let time pass in steps of a quarter of a second; give the new readings."""
        new = list(self.bridge.due(self.now))
        end_s = self.s + seconds
        while self.s < end_s:
            self.s = min(end_s, self.s + 0.25)
            new += self.bridge.due(self.now)
        self.readings += new
        return new

    def values(self, seconds: float = 1.0) -> Mapping[str, Any]:
        """Let time pass; give the values of the newest reading."""
        self.wait(seconds)
        return self.readings[-1].values
