"""The devices of the configuration, asked in turn: one thread for each link."""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from heliobus.bridge import Bridge
from heliobus.poller import LONGEST_BACK_OFF_S, Polled, Poller, stop_all
from heliobus.sample import Values
from heliobus.settings import BridgeSettings
from heliobus.source import Shown

if TYPE_CHECKING:  # they know each other by their shape
    from heliobus.bridging import BridgeComponent
    from heliobus.bus import Message, Subscription

log = logging.getLogger(__name__)

# A poll that has not come back after this long hangs; the longest answers take some seconds.
HANG_S = 2 * LONGEST_BACK_OFF_S


class Asking:
    """A source whose devices answer."""

    finds = False
    hands_off = "not asking it. Remove it from one of the two"

    def __init__(self, bridge: BridgeSettings, kind: type[Bridge[Any]]) -> None:
        self._devices = {d.name: Polled(d, kind(d)) for d in bridge.devices}
        self._pollers: list[Poller] = []

    @property
    def subscriptions(self) -> "Sequence[Subscription]":
        """Give nothing: who asks need not listen."""
        return ()

    @property
    def devices(self) -> Mapping[str, Shown]:
        """Give each device as it is now."""
        return {name: _shown(device) for name, device in self._devices.items()}

    def start(self, bridge: "BridgeComponent") -> None:
        """Start the links, with their devices at rest until they are allowed."""
        by_link: dict[str, list[Polled]] = defaultdict(list)
        for device in self._devices.values():
            by_link[device.settings.link].append(device)
        self._pollers = [
            Poller(url, devices, on_sample=partial(_sample, bridge), on_change=_change)
            for url, devices in by_link.items()
        ]
        for poller in self._pollers:
            poller.start()

    def allow(self, name: str, *, allowed: bool) -> None:
        """Have a device asked, or let it be."""
        self._devices[name].allowed = allowed
        for poller in self._pollers:
            poller.wake()

    def connected(self) -> None:
        """Go on: the links have nothing to do with the bus."""

    def take(self, message: "Message") -> None:
        """Take no notice of messages."""

    def tick(self) -> Mapping[str, Shown]:
        """Leave it to the links' threads."""
        return self.devices

    def well(self) -> bool:
        """Say whether no link's thread hangs. Raise RuntimeError where one has died."""
        if dead := [poller.url for poller in self._pollers if not poller.alive]:
            raise RuntimeError(f"the thread of link {', '.join(dead)} has died")
        now_s = time.monotonic()
        return all(now_s - poller.progress_s < HANG_S for poller in self._pollers)

    def stop(self) -> None:
        """Let the answers on their way arrive; then nobody answers any more."""
        stop_all(self._pollers)
        for device in self._devices.values():
            device.online = False

    def health(self, name: str) -> dict[str, Any]:
        """Give how a device answers."""
        device = self._devices[name]
        health: dict[str, Any] = {"polls": device.polls, "errors": device.errors}
        if device.error:
            health["error"] = device.error[:1000]
        if (times_ms := device.percentiles_ms()) is not None:
            health["p50_ms"], health["p95_ms"] = times_ms
        return health

    def details(self) -> dict[str, Any]:
        """Give nothing more."""
        return {}


def _sample(bridge: "BridgeComponent", device: Polled, values: Values, measured_s: float) -> None:
    device.show(bridge.put(device.name, device.bridge.kind, values, measured_s))


def _change(device: Polled) -> None:
    identity = device.bridge.identity
    who = f"{identity.maker} {identity.model}".strip() or device.bridge.kind
    log.info("%s (%s): %s", device.name, who, "online" if device.online else "offline")


def _shown(device: Polled) -> Shown:
    return Shown(
        kind=device.bridge.kind,
        every_s=device.beat.every_s,
        identity=device.bridge.identity,
        online=bool(device.online),
        fields=device.cadence_s,
        role=device.settings.options.get("role", ""),
    )
