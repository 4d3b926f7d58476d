"""The devices that speak by themselves, found as they speak: messages in, readings out.

They speak on the broker of the bus, or on another, to which this has a connection of its own.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heliobus.bus import Bus, Message, Subscription
from heliobus.faults import Faults
from heliobus.listener import Heard, Listener, Moment, Reading
from heliobus.paho import mqtt
from heliobus.settings import Settings
from heliobus.source import Shown, tell
from heliobus.topics import fits

if TYPE_CHECKING:  # they know each other by their shape
    from heliobus.bridging import BridgeComponent

log = logging.getLogger(__name__)

STOP_S = 0.4
SILENCE_S = 30.0  # after a connection; most devices speak within seconds
_MOST_NAMED = 3


class Listening:
    """A source whose devices are heard."""

    finds = True
    hands_off = "passing over what it says here. Rename it in one of the two"

    def __init__(self, listener: Listener, settings: Settings, name: str) -> None:
        self._listener = listener
        self._name = name
        self._own_base = f"{settings.base_topic}/"
        self._fields: dict[str, Mapping[str, float]] = {}
        self._online: dict[str, bool] = {}
        self._hints: set[str] = set()
        self._connected_s: float | None = None
        self._where = (listener.broker or settings.broker).url
        self._now_s = 0.0
        self._faults = Faults(log)
        self._bridge: BridgeComponent
        self._bus: Bus | None = None
        if listener.broker is not None:
            # Without a will: nothing there knows of us.
            self._bus = Bus(
                listener.broker,
                name,
                client_id=f"{settings.base_topic}-{settings.site}-{name}-source",
                subscriptions=listener.subscriptions,
                on_connect=lambda: self._bridge.post(self._connected),
                on_message=lambda message: self._bridge.receive(self._hear, message),
            )

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Give what to hear on the bus."""
        return () if self._bus is not None else self._listener.subscriptions

    @property
    def devices(self) -> Mapping[str, Shown]:
        """Give each device as it is now."""
        up = self._bus is None or self._bus.connected
        found = self._listener.devices
        return {name: self._shown(one, up=up) for name, one in found.items() if self._may(name)}

    def _shown(self, heard: Heard, *, up: bool) -> Shown:
        return Shown(
            kind=heard.kind,
            every_s=heard.every_s,
            identity=heard.identity,
            online=bool(heard.online) and up,
            fields=self._fields.get(heard.name, {}),
            title=heard.title,
            role=heard.role,
            via=heard.via,
        )

    def _may(self, name: str) -> bool:
        """Say whether a device may have this name: it becomes a part of topics and of keys."""
        if fits(name):
            return True
        self._faults.report(
            f"name {name!a:.60}",
            f"a device is called {name!a:.60}, expected lower-case letters, digits and _, and not"
            " 'bus'; passing it over",
        )
        return False

    def start(self, bridge: "BridgeComponent") -> None:
        """Begin to listen."""
        self._bridge = bridge
        if self._bus is not None:
            self._bus.start()

    def allow(self, name: str, *, allowed: bool) -> None:
        """Leave it at that: a device speaks whether it is allowed or not."""

    def returns(self, name: str, via: str) -> bool:  # noqa: ARG002 - any may
        """Say yes: a device that speaks seldom may have been heard long ago."""
        return True

    def connected(self) -> None:
        """Begin anew where the bus is what we listen to."""
        if self._bus is None:
            self._connected()

    def _connected(self) -> None:
        self._connected_s = time.monotonic()
        self._listener.connected(self._moment(time.monotonic()))

    def _moment(self, now_s: float) -> Moment:
        """Give a moment on both clocks; a listener's time never goes back."""
        self._now_s = max(self._now_s, now_s)
        return Moment(self._now_s, self._bridge.clock.stamp(self._now_s))

    def take(self, message: Message) -> None:
        """Take in what comes on the bus."""
        if self._bus is None:
            self._hear(message)

    def _hear(self, message: Message) -> None:
        # What heliobus itself says also fits filters that begin with a wildcard.
        if message.topic.startswith(self._own_base) and not any(
            wanted.filter.startswith(self._own_base)
            and mqtt.topic_matches_sub(wanted.filter, message.topic)
            for wanted in self._listener.subscriptions
        ):
            return
        now = self._moment(message.arrived_s or time.monotonic())
        for refused in self._listener.take(message, now):
            self._bridge.rejects.put(refused.topic, refused.reason, refused.data)

    def tick(self) -> Mapping[str, Shown]:
        """Send what is complete, say what has to be said."""
        now_s = time.monotonic()
        # What is still in the inbox may belong to what came last: its time has not passed yet.
        now = self._moment(self._now_s if self._bridge.behind else now_s)
        for reading in self._listener.due(now):
            self._send(reading)
        bus = self._bus or self._bridge.bus
        if bus.connected:
            for outgoing in self._listener.speak(now):
                bus.publish(outgoing.topic, outgoing.payload, retain=outgoing.retain)
        shown = self.devices
        self._tell(shown)
        return shown

    def _send(self, reading: Reading) -> None:
        heard = self._listener.devices[reading.device]
        if not self._may(reading.device) or self._bridge.refuses(reading.device):
            return
        good = self._bridge.put(heard.name, heard.kind, reading.values, reading.measured_s)
        known = self._fields.get(heard.name, {})
        # A listener learns how often a device speaks.
        paced = next(iter(known.values()), None) == heard.every_s
        if not paced or not known.keys() >= good.keys():
            self._fields[heard.name] = dict.fromkeys((*known, *good), heard.every_s)

    def _tell(self, devices: Mapping[str, Shown]) -> None:
        """Log who has come and gone, and what the owner should know, each once."""
        for name, shown in devices.items():
            # One of which there are old words only was not there before, either.
            if self._online.get(name, False) is not shown.online:
                self._online[name] = shown.online
                tell(log, name, shown)
        hints = set(self._all_hints())
        for hint in sorted(hints):
            self._faults.report(f"hint {hint}", hint)
        for hint in sorted(self._hints - hints):
            self._faults.over(f"hint {hint}", f"no longer so: {hint}")
        self._hints = hints

    def _all_hints(self) -> list[str]:
        """Give the listener's hints, and that it has heard of no device at all."""
        hints = [*self._listener.hints]
        since_s = self._connected_s
        if not self._listener.devices and since_s and time.monotonic() - since_s >= SILENCE_S:
            filters = [wanted.filter for wanted in self._listener.subscriptions]
            more = " and others" if len(filters) > _MOST_NAMED else ""
            hints.append(
                f"{self._name}: no device heard yet on {', '.join(filters[:_MOST_NAMED])}{more} at"
                f" {self._where}; is it on, does it speak to this broker, and is its base topic"
                " the one that is expected here? If not, set 'base'"
            )
        return hints

    def well(self) -> bool:
        """Say yes. Raise RuntimeError where the thread of the other broker has died."""
        if self._bus is not None and not self._bus.alive:
            raise RuntimeError("the thread of the devices' broker has died")
        return True

    def stop(self) -> None:
        """Send what is complete, and listen no more."""
        self.tick()
        if self._bus is not None:
            self._bus.stop(STOP_S)

    def health(self, name: str) -> dict[str, Any]:
        """Give how a device speaks."""
        heard = self._listener.devices[name]
        health: dict[str, Any] = {"messages": heard.messages, "errors": heard.refused}
        return {**health, "error": heard.error[:1000]} if heard.error else health

    def details(self) -> dict[str, Any]:
        """Give what the owner should know, and what is wrong with the devices' broker."""
        hints = [hint[:1000] for hint in self._all_hints()]
        trouble = self._bus.trouble if self._bus is not None else ""
        return {
            **({"hints": hints} if hints else {}),
            **({"error": trouble[:1000]} if trouble else {}),
        }
