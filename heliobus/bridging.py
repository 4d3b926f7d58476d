"""A bridge component: its links, its devices, their retained topics, and whose they are."""

import logging
import math
import time
from collections import defaultdict
from typing import Any

from heliobus import topics as t
from heliobus.bridge import Bridge
from heliobus.bus import Message
from heliobus.claims import Claim, Claims
from heliobus.component import Component
from heliobus.contract import Contract
from heliobus.errors import FrameError
from heliobus.faults import Faults
from heliobus.poller import LONGEST_BACK_OFF_S, Polled, Poller, stop_all
from heliobus.sample import Values, dumps, load_object
from heliobus.settings import BridgeSettings, Settings

log = logging.getLogger(__name__)

# Without a broker nobody can say that a device is another bridge's: measure, and sort it out later.
CLAIM_WAIT_S = 3.0
# A poll that has not come back after this long hangs; the longest answers take some seconds.
HANG_S = 2 * LONGEST_BACK_OFF_S


class BridgeComponent(Component):
    """One bridge of the configuration, running."""

    role = "bridge"

    def __init__(
        self, settings: Settings, bridge: BridgeSettings, kind: type[Bridge], contract: Contract
    ) -> None:
        topics = t.Topics(settings.site, settings.base_topic)
        super().__init__(
            settings,
            bridge.name,
            type_name=bridge.type,
            contract=contract,
            subscriptions=[(topics.device("+", "info"), 1), (topics.component("+", "status"), 1)],
        )
        self._takeover = bridge.takeover
        self._devices = {d.name: Polled(d, kind(d)) for d in bridge.devices}
        self._claims = Claims(bridge.name, self._devices, takeover=bridge.takeover)
        self._pollers = self._make_pollers()
        self._published: dict[str, object] = {}  # the shape of each device's info on the bus
        self._announced: dict[str, bool] = {}  # the availability that the bus has of each
        self._former: set[str] = set()
        self._claim_by_s: float | None = None
        self._faults = Faults(log)

    def _make_pollers(self) -> list[Poller]:
        by_link: dict[str, list[Polled]] = defaultdict(list)
        for device in self._devices.values():
            by_link[device.settings.link].append(device)
        return [
            Poller(url, devices, on_sample=self._sample, on_change=self._change)
            for url, devices in by_link.items()
        ]

    # ------------------------------------------------------------------ from the links' threads

    def _sample(self, device: Polled, values: Values, measured_s: float) -> None:
        good = self.outbox.put(device.name, device.bridge.kind, values, measured_s)
        device.show(good)

    def _change(self, device: Polled) -> None:
        identity = device.bridge.identity
        who = f"{identity.maker} {identity.model}".strip() or device.bridge.kind
        log.info("%s (%s): %s", device.name, who, "online" if device.online else "offline")

    # ------------------------------------------------------------------ the component

    def begin(self) -> None:
        """Start the links, with their devices at rest until it is known whose they are."""
        self._claim_by_s = time.monotonic() + CLAIM_WAIT_S
        for device in self._devices:
            self.outbox.silence(device, silent=True)
        for poller in self._pollers:
            poller.start()

    def connected(self) -> None:
        """Ask anew whose the devices are; the status that follows marks the end of the answer."""
        self._claims.lost_connection()
        self._published.clear()
        self._announced.clear()
        self._former.clear()
        self._claim_by_s = time.monotonic() + CLAIM_WAIT_S
        for device in self._devices:
            self.outbox.silence(device, silent=True)

    def take(self, message: Message) -> None:
        """Take in another's status or info."""
        address = self.topics.parse(message.topic)
        if address is None:
            return
        if address.leaf == "status" and address.component is not None:
            self._take_status(address.component, message)
        elif address.leaf == "info" and address.device is not None:
            self._take_info(address.device, message.payload)

    def _take_status(self, component: str, message: Message) -> None:
        if component == self.name:
            # What we published after subscribing came back: all that is retained came before it.
            if message.payload == self.last_status and self._claim_by_s is not None:
                self._settle()
            return
        body = _object(message.payload)
        offline = body is None or body.get("state") == "offline"
        self._claimed(self._claims.take_status(component, offline=offline))

    def _take_info(self, device: str, payload: bytes) -> None:
        body = _object(payload) or {}
        bridge = body.get("bridge")
        if device not in self._devices:
            (self._former.add if bridge == self.name else self._former.discard)(device)
        if isinstance(bridge, str | None):
            takeover = body.get("takeover") is True
            self._claimed(self._claims.take_info(device, bridge, takeover=takeover))
        self._refuse()

    def tick(self) -> None:
        """Start measuring what nobody has objected to; publish what has changed of ours.

        A broker that was away or frozen did not take it: what it lacks is handed over again.
        """
        if self._claim_by_s is not None and time.monotonic() > self._claim_by_s:
            self._settle()
        for device in self._devices.values():
            if self._claims.state(device.name) not in (Claim.CLAIMED, Claim.OURS):
                continue
            if self._published.get(device.name) != device.shape:
                self._publish_info(device)
            if self._announced.get(device.name) is not bool(device.online):
                self._publish_availability(device)

    def _settle(self) -> None:
        """Claim what is free, refuse what is another's, clear what is ours no more."""
        self._claim_by_s = None
        if not self.bus.connected:
            for device in self._devices.values():
                self._allow(device, allowed=True)
            return
        self._claimed(self._claims.settle())
        self._refuse()
        for former in self._former:
            for leaf in ("state", "info", "availability"):
                self.bus.publish(self.topics.device(former, leaf), b"", retain=True)
        self._former.clear()

    def _claimed(self, names: list[str]) -> None:
        for name in names:
            device = self._devices[name]
            self._faults.over(name, f"{name}: taken over")
            self._published.pop(name, None)
            self._announced.pop(name, None)
            self._publish_info(device)
            self._publish_availability(device)
            self.outbox.silence(name, silent=False)
            self.outbox.republish(name)
            self._allow(device, allowed=True)

    def _refuse(self) -> None:
        for name, device in self._devices.items():
            if self._claims.state(name) is Claim.THEIRS:
                self.outbox.silence(name, silent=True)
                self._allow(device, allowed=False)
                self._faults.report(
                    name,
                    f"{name}: bridge '{self._claims.holder(name)}' publishes this device; not "
                    "asking it. Remove it from one of the two, or set 'takeover: true' here",
                )

    def _allow(self, device: Polled, *, allowed: bool) -> None:
        device.allowed = allowed
        for poller in self._pollers:
            poller.wake()

    def finish(self) -> None:
        """Let the answers on their way arrive, then say that the devices are offline."""
        stop_all(self._pollers)
        for device in self._devices.values():
            if self._claims.state(device.name) in (Claim.CLAIMED, Claim.OURS):
                device.online = False
                self._publish_availability(device)

    def well(self) -> bool:
        """Say whether no link's thread hangs. Raise RuntimeError where one has died."""
        if dead := [poller.url for poller in self._pollers if not poller.alive]:
            raise RuntimeError(f"the thread of link {', '.join(dead)} has died")
        now_s = time.monotonic()
        return all(now_s - poller.progress_s < HANG_S for poller in self._pollers)

    # ------------------------------------------------------------------ what is retained

    def _publish_availability(self, device: Polled) -> None:
        online = bool(device.online)
        topic = self.topics.device(device.name, "availability")
        if self.bus.publish(topic, b"online" if online else b"offline", retain=True):
            self._announced[device.name] = online

    def _publish_info(self, device: Polled) -> None:
        shape = device.shape
        topic = self.topics.device(device.name, "info")
        if self.bus.publish(topic, dumps(self._info(device)), retain=True):
            self._published[device.name] = shape

    def _info(self, device: Polled) -> dict[str, Any]:
        identity = device.bridge.identity
        named = {
            "maker": identity.maker,
            "model": identity.model,
            "serial": identity.serial,
            "firmware": identity.firmware,
            "role": device.settings.options.get("role", ""),
        }
        info = {
            "kind": device.bridge.kind,
            **{key: value for key, value in named.items() if value},
            "bridge": self.name,
            "contract": self.contract.version,
            "every_s": device.beat.every_s,
            "fields": {
                name: self._field(device.bridge.kind, name, every_s)
                for name, every_s in sorted(device.cadence_s.items())
            },
            "commands": {},
        }
        return {**info, "takeover": True} if self._takeover else info

    def _field(self, kind: str, name: str, every_s: float) -> dict[str, Any]:
        field = self.contract.field(kind, name)
        shown: dict[str, Any] = {}
        if field is not None:
            shown = {"unit": field.unit, "title": field.title}
            for key in ("device_class", "state_class", "precision"):
                if (value := getattr(field, key)) is not None and value != "":
                    shown[key] = value
        if not math.isinf(every_s):
            shown["every_s"] = every_s
        return shown

    def details(self) -> dict[str, Any]:
        """Give how each device is doing."""
        return {"devices": {name: self._health(d) for name, d in self._devices.items()}}

    def _health(self, device: Polled) -> dict[str, Any]:
        refused = self._claims.state(device.name) is Claim.THEIRS
        health: dict[str, Any] = {
            "state": "refused" if refused else "online" if device.online else "offline",
            "polls": device.polls,
            "errors": device.errors,
        }
        if device.error:
            health["error"] = device.error[:1000]
        if (times_ms := device.percentiles_ms()) is not None:
            health["p50_ms"], health["p95_ms"] = times_ms
        return health


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        return load_object(payload)
    except FrameError:
        return None  # empty, or not ours to judge
