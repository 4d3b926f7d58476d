"""A bridge with a map, alone: messages go in, readings come out, and the test moves its clock."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridges.mqtt import BRIDGE
from heliobus import contract
from heliobus.bus import Message
from heliobus.listener import Moment, Reading, Refused
from heliobus.settings import BridgeSettings, DeviceSettings

CONTRACT = contract.load()
START_MS = 1_795_255_200_000  # 2026-11-21 10:00:00 UTC
STEP_S = 0.25

Said = tuple[str, str]


class Place:
    """One bridge with a map: what is said goes in, readings come out, time passes as told."""

    def __init__(self, map_name: str = "opendtu", name: str = "roof", **options: Any) -> None:
        named = options.pop("devices", {})
        devices = tuple(DeviceSettings(one, 0, "", more) for one, more in named.items())
        settings = BridgeSettings(name, "mqtt", devices, options={"map": map_name, **options})
        self.listener = BRIDGE(settings, folder=Path(), contract=CONTRACT)
        self.s = 5000.0
        self.start_s = self.s
        self.start_ms = START_MS
        self.readings: list[Reading] = []
        self.refused: list[Refused] = []
        self.connect()

    @property
    def now(self) -> Moment:
        """Give the moment on both clocks."""
        return Moment(self.s, self.start_ms + round((self.s - self.start_s) * 1000))

    @property
    def unix_s(self) -> int:
        """Give the seconds since 1970."""
        return self.now.ms // 1000

    def connect(self) -> None:
        """Let the broker accept the bridge, as at its start."""
        self.listener.connected(self.now)

    def hear(self, *said: Said, base: str = "solar/", retained: bool = False) -> list[Refused]:
        """Say something to it; give what it refused."""
        refused: list[Refused] = []
        for topic, payload in said:
            message = Message(base + topic, payload.encode(), retained)
            refused += self.listener.take(message, self.now)
        self.refused += refused
        return refused

    def wait(self, seconds: float, step_s: float = STEP_S) -> list[Reading]:
        """Let time pass; give what is complete by then."""
        new: list[Reading] = []
        end_s = self.s + seconds
        while self.s < end_s:
            self.s = min(end_s, self.s + step_s)
            new += self.listener.due(self.now)
        self.readings += new
        return new

    def newest(self, device: str) -> Mapping[str, Any]:
        """Give the values of a device's newest reading."""
        return next(each.values for each in reversed(self.readings) if each.device == device)

    def seen(self, device: str, field: str) -> list[Any]:
        """Give every value that a field has ever had, in order."""
        return [r.values[field] for r in self.readings if r.device == device and field in r.values]
