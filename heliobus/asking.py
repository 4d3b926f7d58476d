"""The devices of the configuration, asked in turn: one thread for each link."""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from heliobus.bridge import Bridge, Event, check_links
from heliobus.faults import Faults
from heliobus.polled import ITSELF, LONGEST_BACK_OFF_S, Member, Polled, Presence
from heliobus.poller import Poller, stop_all
from heliobus.sample import Values
from heliobus.settings import BridgeSettings
from heliobus.source import Shown, tell
from heliobus.topics import fits

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
        self._by_link: dict[str, list[Polled]] = defaultdict(list)
        for device in self._devices.values():
            self._by_link[device.settings.link].append(device)
        check_links(kind, {url: [one.bridge for one in ds] for url, ds in self._by_link.items()})
        # Whose a name on the bus is: parts of gateways are found as they answer.
        self._named = {name: device.itself for name, device in self._devices.items()}
        self._faults = Faults(log)
        self._pollers: list[Poller] = []

    @property
    def subscriptions(self) -> "Sequence[Subscription]":
        """Give nothing: who asks need not listen."""
        return ()

    @property
    def devices(self) -> Mapping[str, Shown]:
        """Give each device as it is now."""
        members = [member for device in self._devices.values() for member in device.members]
        return {member.name: _shown(member) for member in members if self._may(member)}

    def _may(self, member: Member) -> bool:
        """Say whether a device may have its name: no other has it, and it fits into a topic."""
        name = member.name
        if not fits(name):
            self._faults.report(
                f"name {member.device.name} {member.part}",
                f"{member.device.name}: a part would be called {name!a:.80}, expected at most 63"
                " lower-case letters, digits and _; passing it over, give it another name",
            )
            return False
        if (other := self._named.setdefault(name, member)) is member:
            return True
        self._faults.report(
            f"name {member.device.name} {member.part}",
            f"{member.device.name}: part {member.part!r} would be called {name!r}, which is"
            f" a device of '{other.device.name}' already; passing it over, rename one of the two",
        )
        return False

    def start(self, bridge: "BridgeComponent") -> None:
        """Start the links, with their devices at rest until they are allowed."""
        self._pollers = [
            Poller(
                url,
                devices,
                on_sample=partial(self._sample, bridge),
                on_change=self._change,
                on_event=partial(self._event, bridge),
            )
            for url, devices in self._by_link.items()
        ]
        for poller in self._pollers:
            poller.start()

    def _sample(
        self, bridge: "BridgeComponent", member: Member, values: Values, measured_s: float
    ) -> None:
        if self._may(member) and not bridge.refuses(member.name):
            member.samples += 1
            member.show(bridge.put(member.name, member.about.kind, values, measured_s))

    def _event(self, bridge: "BridgeComponent", device: Polled, event: Event) -> None:
        if not bridge.refuses(device.name):
            details = {"subject": device.name, **event.details}
            bridge.outbox.event(event.name, event.text, **details)

    def _change(self, member: Member) -> None:
        if self._may(member):
            tell(log, member.name, _shown(member))

    def allow(self, name: str, *, allowed: bool) -> None:
        """Have a device asked, or let it be. Parts are answered for whether allowed or not."""
        if name in self._devices:
            self._devices[name].allowed = allowed
            for poller in self._pollers:
                poller.wake()

    def returns(self, name: str, via: str) -> bool:
        """Say whether a device that was ours may come back: what a gateway answered for.

        All that its owner has named is known from the start.
        """
        if (gateway := self._devices.get(via)) is None:
            return False
        usual = {f"{via}_{m.part}": m.name for m in gateway.members}
        return name.startswith(f"{via}_") and usual.get(name, name) == name

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
            for member in device.members:
                member.presence = Presence.OFFLINE

    def health(self, name: str) -> dict[str, Any]:
        """Give how a device answers."""
        member = self._named[name]
        if member.part != ITSELF:
            return {"polls": member.samples, "errors": member.missed}
        device = member.device
        health: dict[str, Any] = {"polls": device.polls, "errors": device.errors}
        if device.error:
            health["error"] = device.error[:1000]
        if (times_ms := device.percentiles_ms()) is not None:
            health["p50_ms"], health["p95_ms"] = times_ms
        return health

    def details(self) -> dict[str, Any]:
        """Give what the links have heard, where they count it."""
        heard = {poller.url: poller.counts for poller in self._pollers if poller.counts}
        return {"links": heard} if heard else {}


def _shown(member: Member) -> Shown:
    about = member.about
    return Shown(
        kind=about.kind,
        every_s=member.device.beat.every_s,
        identity=about.identity,
        online=member.presence in (Presence.ONLINE, Presence.ASLEEP),
        fields=member.cadence_s,
        role=about.role,
        via="" if member.part == ITSELF else member.device.name,
        asleep=member.presence is Presence.ASLEEP,
    )
