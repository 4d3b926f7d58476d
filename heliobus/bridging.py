"""A bridge component: its devices, their retained topics, and whose they are.

Where its devices are from is the business of its source: `asking.py` or `listening.py`.
"""

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from heliobus import topics as t
from heliobus.bus import Message
from heliobus.claims import Claims
from heliobus.component import Component
from heliobus.contract import Contract
from heliobus.errors import FrameError
from heliobus.faults import Faults
from heliobus.sample import SIMULATED, Values, dumps, load_object
from heliobus.settings import BridgeSettings, Settings
from heliobus.source import Shown, Source

log = logging.getLogger(__name__)

# Without a broker nobody can say that a device is another bridge's: measure, and sort it out later.
CLAIM_WAIT_S = 3.0
# Messages may come by the hundred a second; all devices are not looked through for each of them.
LOOK_EVERY_S = 0.05


class BridgeComponent(Component):
    """One bridge of the configuration, running."""

    role = "bridge"

    def __init__(
        self, settings: Settings, bridge: BridgeSettings, source: Source, contract: Contract
    ) -> None:
        topics = t.Topics(settings.site, settings.base_topic)
        super().__init__(
            settings,
            bridge.name,
            type_name=bridge.type,
            contract=contract,
            subscriptions=[
                (topics.device("+", "info"), 1),
                (topics.component("+", "status"), 1),
                *source.subscriptions,
            ],
        )
        self._takeover = bridge.takeover
        self._source = source
        self.gather_s = LOOK_EVERY_S if source.finds else 0.0
        self._claims = Claims(bridge.name, source.devices, takeover=bridge.takeover)
        self._published: dict[str, Shown] = {}  # what each device's info on the bus says
        self._announced: dict[str, bool] = {}  # the availability that the bus has of each
        # Devices that the bus says are ours, and we do not know; and what they are reached through.
        self._former: dict[str, str] = {}
        self._claim_by_s: float | None = None
        self._looked_s = 0.0
        self._faults = Faults(log)

    # ------------------------------------------------------------------ for the source

    def refuses(self, device: str) -> bool:
        """Say whether a device is another bridge's."""
        return self._claims.refuses(device)

    def put(self, device: str, kind: str, values: Values, measured_s: float) -> Values:
        """Journal and send the values of a device; return what the contract lets pass.

        May be called from any thread. What is not claimed yet is journaled, and sent afterwards.
        """
        return self.outbox.put(device, kind, values, measured_s)

    # ------------------------------------------------------------------ the component

    def may_publish(self, device: str) -> bool:
        """Say whether a device is ours, as far as is known now: not so before it is claimed."""
        return self._claims.holds(device)

    def begin(self) -> None:
        """Start the source, with its devices at rest until it is known whose they are."""
        self._claim_by_s = time.monotonic() + CLAIM_WAIT_S
        self._source.start(self)

    def connected(self) -> None:
        """Ask anew whose the devices are; the status that follows marks the end of the answer."""
        self._claims.lost_connection()
        self._published.clear()
        self._announced.clear()
        self._former.clear()
        self._claim_by_s = time.monotonic() + CLAIM_WAIT_S
        self._source.connected()

    def take(self, message: Message) -> None:
        """Take in another's status or info, and what is the source's."""
        address = self.topics.parse(message.topic)
        if address is None:
            self._source.take(message)
            return
        if address.leaf == "status" and address.component is not None:
            self._take_status(address.component, message)
        elif address.leaf == "info" and address.device is not None:
            self._take_info(address.device, message.payload)
        self._source.take(message)

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
        if device not in self._claims:
            self._former.pop(device, None)
            if bridge == self.name:
                self._former[device] = str(body.get("via", ""))
        if isinstance(bridge, str | None):
            takeover = body.get("takeover") is True
            self._claimed(self._claims.take_info(device, bridge, takeover=takeover))
        self._refuse()

    def tick(self) -> None:
        """Claim what is new, start measuring what nobody has objected to, publish what has changed.

        A broker that was away or frozen did not take it: what it lacks is handed over again.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        devices = self._source.tick()
        self._take_up(devices)
        if self._claim_by_s is not None and now_s > self._claim_by_s:
            self._settle()
        self._tell(devices)

    def _tell(self, devices: Mapping[str, Shown]) -> None:
        """Publish what has changed of devices that are ours."""
        for name, shown in devices.items():
            if not self._claims.holds(name):
                continue
            if self._published.get(name) != shown:
                self._publish_info(name, shown)
            if self._announced.get(name) is not shown.online:
                self._publish_availability(name, online=shown.online)

    def _take_up(self, devices: Mapping[str, Shown]) -> None:
        """Claim devices that were found just now."""
        if new := [name for name in devices if name not in self._claims]:
            self._claimed(self._claims.add(new))
            self._refuse()

    def _settle(self) -> None:
        """Claim what is free, refuse what is another's, let go of what is ours no more."""
        self._claim_by_s = None
        if not self.bus.connected:
            for name in self._claims.devices:
                self._source.allow(name, allowed=True)
            return
        self._claimed(self._claims.settle())
        self._refuse()
        for former in self._former.keys() - self._claims.devices:
            self._let_go(former, self._former[former])
        self._former.clear()

    def _let_go(self, device: str, via: str) -> None:
        """Clear a device that was taken out of the configuration; one that was found may return."""
        if self._source.returns(device, via):
            self._publish_availability(device, online=False)
            return
        for leaf in ("state", "info", "availability"):
            self.bus.publish(self.topics.device(device, leaf), b"", retain=True)

    def _claimed(self, names: list[str]) -> None:
        devices = self._source.devices if names else {}
        for name in names:
            self._faults.over(name, f"{name}: taken over")
            self._publish_info(name, devices[name])
            self._publish_availability(name, online=devices[name].online)
            self.outbox.republish(name)
            self._source.allow(name, allowed=True)

    def _refuse(self) -> None:
        for name in self._claims.devices:
            if self._claims.refuses(name):
                self._source.allow(name, allowed=False)
                self._faults.report(
                    name,
                    f"{name}: bridge '{self._claims.holder(name)}' publishes this device; "
                    f"{self._source.hands_off}, or set 'takeover: true' here",
                )

    def finish(self) -> None:
        """Let the answers on their way arrive, then say that the devices are offline."""
        self._source.stop()
        devices = self._source.devices
        self._take_up(devices)  # the last answer may tell of more
        self._tell(devices)
        for name in self._claims.devices:
            if self._claims.holds(name):
                self._publish_availability(name, online=False)

    def well(self) -> bool:
        """Say whether the source is."""
        return self._source.well()

    # ------------------------------------------------------------------ what is retained

    def _publish_availability(self, name: str, *, online: bool) -> None:
        topic = self.topics.device(name, "availability")
        if self.bus.publish(topic, b"online" if online else b"offline", retain=True):
            self._announced[name] = online
        else:
            self._announced.pop(name, None)

    def _publish_info(self, name: str, shown: Shown) -> None:
        if not shown.kind:
            return  # not seen yet: what is retained from before stays
        topic = self.topics.device(name, "info")
        if self.bus.publish(topic, dumps(self._info(shown)), retain=True):
            self._published[name] = shown
        else:
            self._published.pop(name, None)

    def _info(self, shown: Shown) -> dict[str, Any]:
        named = {
            "title": shown.title,
            "maker": shown.identity.maker,
            "model": shown.identity.model,
            "serial": shown.identity.serial,
            "firmware": shown.identity.firmware,
            "role": shown.role,
            "via": shown.via,
        }
        info = {
            "kind": shown.kind,
            **{key: value for key, value in named.items() if value},
            "bridge": self.name,
            "contract": self.contract.version,
            "every_s": shown.every_s,
            "fields": {
                name: self._field(shown.kind, name, every_s)
                for name, every_s in sorted(shown.fields.items())
            },
            "commands": {},
        }
        flags = {"takeover": self._takeover, SIMULATED: self.simulated}
        return {**info, **{name: True for name, is_set in flags.items() if is_set}}

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
        """Give how each device is doing, and how much was refused."""
        shown = self._source.devices
        devices = {name: self._health(name, one) for name, one in shown.items()}
        return {"devices": devices, "rejected": self.rejects.count, **self._source.details()}

    def _health(self, name: str, shown: Shown) -> dict[str, Any]:
        state = "refused" if self._claims.refuses(name) else shown.state
        return {"state": state, **self._source.health(name)}


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        return load_object(payload)
    except FrameError:
        return None  # empty, or not ours to judge
