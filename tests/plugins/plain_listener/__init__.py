"""A listener for tests, as another package would offer it.

plant/DEVICE/values  {"pv_w": 17}    one sample, at the moment at which the message came
plant/DEVICE/online  yes | no
plant/DEVICE/...     anything        counted
plant/hint           a text          what the owner should know
plant/hello          hello           what it says itself after each connection
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heliobus.bridge import Identity
from heliobus.bus import Message, Subscription
from heliobus.contract import Contract
from heliobus.errors import FrameError
from heliobus.follower import Outgoing
from heliobus.listener import Heard, Moment, Reading, Refused
from heliobus.sample import load_object
from heliobus.settings import BridgeSettings, BrokerSettings


class Plain:
    """Its devices are what it hears of."""

    def __init__(self, settings: BridgeSettings, *, folder: Path, contract: Contract) -> None:  # noqa: ARG002
        self.broker: BrokerSettings | None = settings.options.get("broker")
        self.devices: dict[str, Heard] = {}
        self.hints: tuple[str, ...] = ()
        self._prefix = settings.options.get("prefix", "plant")
        self._named = {device.name: device for device in settings.devices}
        self._every_s = settings.every_s or 5.0
        self._ready: list[Reading] = []
        self._greets = False

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Give all of them, as most brokers can give them: at QoS 0."""
        return (Subscription(f"{self._prefix}/#", 0, as_published=False),)

    def connected(self, now: Moment) -> None:  # noqa: ARG002
        """Say hello, and know of no device whether it is there."""
        self._greets = True
        for heard in self.devices.values():
            heard.online = None

    def take(self, message: Message, now: Moment) -> Sequence[Refused]:
        """Take in one message."""
        match message.topic.removeprefix(f"{self._prefix}/").split("/"):
            case ["hint"]:
                self.hints = (message.payload.decode(),) if message.payload else ()
            case [device, "online"]:
                self._heard(device).online = message.payload == b"yes"
            case [device, "values"]:
                heard = self._heard(device)
                heard.messages += 1
                try:
                    values = load_object(message.payload)
                except FrameError as error:
                    heard.refused += 1
                    heard.error = str(error)
                    return [Refused(message.topic, str(error), {"payload": message.payload})]
                heard.online = True
                heard.every_s = float(values.pop("every", heard.every_s))
                model = str(values.pop("model", heard.identity.model))
                heard.identity = Identity(maker="Acme", model=model)
                self._ready.append(Reading(device, values, now.s))
            case [device, _]:
                self._heard(device).messages += 1
        return ()

    def _heard(self, name: str) -> Heard:
        named = self._named.get(name)
        options: Mapping[str, Any] = named.options if named else {}
        every_s = (named.every_s if named else 0.0) or self._every_s
        found = Heard(name, "inverter", every_s, title=options.get("title", ""), via="gateway")
        return self.devices.setdefault(name, found)

    def due(self, now: Moment) -> Sequence[Reading]:  # noqa: ARG002
        """Give what has come since the last time."""
        ready, self._ready = self._ready, []
        return ready

    def speak(self, now: Moment) -> Sequence[Outgoing]:  # noqa: ARG002
        """Say hello once."""
        greets, self._greets = self._greets, False
        return [Outgoing(f"{self._prefix}/hello", b"hello")] if greets else []


def foreign_topics(options: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Give what it may do on the broker of the bus."""
    prefix = options.get("prefix", "plant")
    return [("read", f"{prefix}/#"), ("write", f"{prefix}/hello")]
