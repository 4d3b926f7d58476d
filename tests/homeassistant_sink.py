"""The Home Assistant sink for tests, at a broker that is a dictionary."""

import json
from collections.abc import Mapping
from typing import Any

from heliobus import contract
from heliobus.bus import Message
from heliobus.settings import SinkSettings
from heliobus.topics import Topics
from sinks.homeassistant import GATHER_S, LONGEST_READ_S, READ_S, HomeAssistant

CONTRACT = contract.load()
OPTIONS: Mapping[str, Any] = {
    "prefix": "homeassistant",
    "status_topic": "homeassistant/status",
    "leave_out": [],
    "opendtu": "leave_out",
    "health": False,
}
NOW_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
ENDS_READING = ("heliobus/farm/bus/hass/status", {"state": "online"})

Config = dict[str, Any]


def homeassistant(**options: Any) -> HomeAssistant:
    """Give the sink `hass` of the site `farm`."""
    return HomeAssistant(
        SinkSettings(name="hass", type="homeassistant", options={**OPTIONS, **options}),
        topics=Topics("farm"),
        contract=CONTRACT,
        now_ms=lambda: NOW_MS,
    )


class Broker:
    """What a broker retains, and a sink at it, with a clock that is set by hand."""

    def __init__(self, **options: Any) -> None:
        self.now_s = 1000.0
        self.options = options
        self.retained: dict[str, bytes] = {}
        self.sink = homeassistant(**options)
        self.refused: list[str] = []
        self.takes_configs = True

    def start(self) -> list[str]:
        """Start the sink, or start it again, and wait until it has read. Give what it publishes."""
        self.sink = homeassistant(**self.options)
        return self.connect()

    def connect(self, *, slow: bool = False) -> list[str]:
        """Connect and wait; a slow broker never brings our own status back."""
        self.sink.connected(self.now_s)
        for topic, payload in self.retained.items():
            self.hear(topic, payload, retained=True)
        if not slow:
            self.hear(*ENDS_READING)
        return self.after(LONGEST_READ_S if slow else READ_S)

    def hear(
        self, topic: str, body: Any, *, retained: bool = False, certain: bool = True
    ) -> str | None:
        """Let the sink hear a message: JSON, or bytes as they are. Give why it is refused."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        refused = self.sink.take(Message(topic, payload, retained, certain=certain), self.now_s)
        if refused is not None:
            self.refused.append(refused)
        return refused

    def put(self, topic: str, body: Any) -> str | None:
        """Let somebody publish a retained message, for the sink to hear now and later."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        if payload:
            self.retained[topic] = payload
        else:
            self.retained.pop(topic, None)
        return self.hear(topic, payload)

    def after(self, wait_s: float = GATHER_S) -> list[str]:
        """Wait, and give the topics that the sink has published on since."""
        self.now_s += wait_s
        return self.publish()

    def publish(self) -> list[str]:
        """Give the topics that the sink publishes on now; what is retained comes back to it."""
        published = [*self.sink.due(self.now_s)]
        for outgoing in published:
            if outgoing.retain and self.takes_configs:
                self.put(outgoing.topic, outgoing.payload)
        return [outgoing.topic for outgoing in published]

    def config(self, name: str) -> Config:
        """Give a config of ours as it is retained."""
        found: Config = json.loads(self.retained[topic(name)])
        return found

    @property
    def configs(self) -> list[str]:
        """Name the configs that are retained."""
        return [one.split("/")[2] for one in self.retained if one.startswith("homeassistant/dev")]


def topic(name: str) -> str:
    """Give the topic of a config."""
    return f"homeassistant/device/{name}/config"


def info(*fields: str, **changes: Any) -> dict[str, Any]:
    """Give the info of an inverter as its bridge makes it."""
    kind = changes.get("kind", "inverter")
    return {
        "kind": "inverter",
        "bridge": "axpert",
        "contract": "0.1",
        "every_s": 5,
        "fields": {name: note(kind, name) for name in fields},
        "commands": {},
        **changes,
    }


def note(kind: str, name: str, every_s: float | None = 5) -> dict[str, Any]:
    """Give what an info says of a field."""
    field = CONTRACT.field(kind, name)
    if field is None:
        raise ValueError(f"{name} is no field of {kind}")
    shown: dict[str, Any] = {"unit": field.unit, "title": field.title}
    for key in ("device_class", "state_class", "precision"):
        if (value := getattr(field, key)) not in (None, ""):
            shown[key] = value
    return shown if every_s is None else {**shown, "every_s": every_s}
