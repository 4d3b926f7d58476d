"""Bridge to devices that publish on MQTT by themselves, in a manner of their own.

A map says which topic is which field of which device: `maps/NAME.yaml`, or a file of the owner.
The codec reads messages by it; a device keeps what it has said until that makes a reading.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridges.mqtt import maps
from bridges.mqtt.codec import Finder, Match, Said, hear
from bridges.mqtt.device import Device
from bridges.mqtt.owners import Key, Named, Owners
from bridges.mqtt.patterns import covering
from bridges.mqtt.rules import Captures, Map, Sort
from bridges.mqtt.speaking import Speaking
from bridges.mqtt.watching import Watching
from heliobus.bridge import Identity
from heliobus.bus import Message, Subscription
from heliobus.contract import Contract, load
from heliobus.errors import FrameError
from heliobus.listener import Heard, Moment, Reading, Refused
from heliobus.settings import BridgeSettings, BrokerSettings

if TYPE_CHECKING:
    from heliobus.follower import Outgoing

__all__ = ["BRIDGE", "Mqtt", "foreign_topics", "map_decoder"]

_log = logging.getLogger(__name__)
_LONGEST_SHOWN = 500
_LOOK_S = 1.0


class Mqtt:
    """Devices that speak in the manner of one map. Options: see config.json."""

    def __init__(self, settings: BridgeSettings, *, folder: Path, contract: Contract) -> None:
        options = settings.options
        self._settings = settings
        self._contract = contract
        self._map = _map(options, folder, contract)
        self._finder = Finder(self._map)
        self._owners = Owners(self._map, settings)
        self._watching = Watching(self._map.hints)
        self._speaking = Speaking(self._map.keepalive, options.get("known") or {})
        self._found: dict[Key, Device] = {}
        self._heard: dict[str, Heard] = {}
        self._ready: list[Reading] = []
        self._all_off = False
        self._looked_s = -_LOOK_S

    @property
    def broker(self) -> BrokerSettings | None:
        """Give the broker where the devices speak; None: that of the bus."""
        broker: BrokerSettings | None = self._settings.options.get("broker")
        return broker

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Give what to hear."""
        return [Subscription(one, 0, as_published=False) for one in _filters(self._map)]

    @property
    def devices(self) -> Mapping[str, Heard]:
        """Give every device heard of so far, by name."""
        return self._heard

    @property
    def hints(self) -> Sequence[str]:
        """Give what the owner should know now."""
        return self._watching.lines

    def connected(self, now: Moment) -> None:
        """Begin anew: nothing is carried over a lost connection."""
        self._ready.clear()
        self._all_off = False
        self._watching.begin_anew()
        self._speaking.connected()
        for device in self._found.values():
            device.begin_anew(now)
        self._looked_s = -_LOOK_S

    # ------------------------------------------------------------------ messages

    def take(self, message: Message, now: Moment) -> Sequence[Refused]:
        """Take in one message, which came at `now`. Return what of it is refused."""
        match = self._finder.find(message.topic)
        if match is None:
            return ()
        rule, live = match.rule, not message.retained
        if self._map.keepalive:
            self._speaking.heard(match.captures)
        if rule.command:
            self._watching.command(message.topic, message.payload, rule, retained=not live)
            return ()
        if rule.distinct and live:
            self._watching.distinct(message.topic, message.payload, rule, now.s)
        try:
            said = hear(match, message.payload)
        except FrameError as error:
            if not live and not rule.use_retained:
                return ()
            return self._refuse(message, [str(error)], self._known(match))
        refused: list[Refused] = []
        for one in said:
            refused += self._put(message, one, now)
        return refused

    def _put(self, message: Message, said: Said, now: Moment) -> Sequence[Refused]:
        rule, live = said.rule, not message.retained
        if not rule.device:
            if said.online is not None:
                self._all_off = not said.online
                self._looked_s = -_LOOK_S
            return ()
        if not (live or rule.use_retained or said.info or said.online is not None):
            return ()
        device = self._device(said, now)
        if device is None:
            return self._refuse(message, said.faults, None) if said.faults and live else ()
        was = device.stated
        reasons, logs = device.take(said, now, live=live)
        if device.stated is not was:
            self._looked_s = -_LOOK_S
        for line in logs:
            _log.warning("%s: %s", device.heard.name, line)
        if device.sort.quiet_s is None:
            self._ready += filter(None, [device.reading(now, at_once=True)])
        return self._refuse(message, reasons, device) if reasons else ()

    def _refuse(
        self, message: Message, reasons: Sequence[str], device: Device | None
    ) -> Sequence[Refused]:
        told = "; ".join(reasons)[:1000]
        if device is not None:
            device.heard.refused += 1
            device.heard.error = told
        text = message.payload[:_LONGEST_SHOWN].decode(errors="replace")
        return [Refused(message.topic, told, {"payload": text})]

    # ------------------------------------------------------------------ devices

    def _known(self, match: Match) -> Device | None:
        sort = self._map.sorts.get(match.rule.device)
        return self._found.get(self._owners.key(sort, match.captures)) if sort else None

    def _device(self, said: Said, now: Moment) -> Device | None:
        """Give a device; one that is new gets its name. None: it is left alone."""
        sort, captures = self._map.sorts[said.rule.device], said.captures
        key = self._owners.key(sort, captures)
        device = self._found.get(key)
        if device is None and said.something:
            named = self._owners.take(sort, captures)
            if named is not None:
                device = self._found[key] = self._new(sort, captures, named, now)
                self._heard[named.name] = device.heard
        if device is not None:
            device.heard.messages += 1
        return device

    def _new(self, sort: Sort, captures: Captures, named: Named, now: Moment) -> Device:
        options = self._settings.options
        owned = named.owned.options if named.owned else {}
        every_s = (named.owned.every_s if named.owned else 0) or self._settings.every_s
        facts = {fact: text.fill(captures) or "" for fact, text in sort.identity.items()}
        via = self._map.sorts.get(sort.via)
        reached = self._owners.name(via, captures) if via else None
        heard = Heard(
            name=named.name,
            kind=owned.get("kind") or sort.kind,
            every_s=every_s or sort.every_s,
            title=facts.pop("title", ""),
            identity=Identity(**facts),
            role=owned.get("role") or sort.role,
            via=reached.name if reached else "",
        )
        return Device(
            heard,
            sort,
            contract=self._contract,
            inverted=frozenset((*options.get("invert", ()), *owned.get("invert", ()))),
            silent_s=options.get("silent") or sort.silent_s,
            now=now,
        )

    # ------------------------------------------------------------------ what is due

    def due(self, now: Moment) -> Sequence[Reading]:
        """Give the readings that are complete; also notes who has fallen silent."""
        if now.s - self._looked_s >= _LOOK_S:
            self._look(now)
        ready, self._ready = self._ready, []
        for device in self._found.values():
            reading = device.reading(now)
            if reading is not None:
                ready.append(reading)
        return ready

    def _look(self, now: Moment) -> None:
        """See who is online, and what the owner should know."""
        self._looked_s = now.s
        by_via = sorted(self._found.values(), key=lambda device: bool(device.heard.via))
        for device in by_via:
            via = self._heard.get(device.heard.via)
            reached = not self._all_off and (via is None or via.online is not False)
            device.look(now, reached=reached)
        self._watching.look(by_via, now.s, self._owners.hints)

    def speak(self, now: Moment) -> Iterable["Outgoing"]:
        """Give what has to be said to the devices so that they go on speaking."""
        return self._speaking.due(now.s)


def foreign_topics(options: Mapping[str, Any], folder: Path) -> Sequence[tuple[str, str]]:
    """Give what a bridge hears and says on the broker of the bus: (access, filter)."""
    if options.get("broker") is not None:
        return []
    found = _map(options, folder, load())
    return [
        *(("read", one) for one in _filters(found)),
        *(("write", one.filter) for one in found.keepalive),
    ]


def map_decoder(name: str) -> Callable[[str, Any], dict[str, Any]]:
    """Give what answers a topic and a payload by the map of this name or path.

    Raise ConfigError; the answering raises FrameError.
    """
    from bridges.mqtt import decoding  # only `heliobus decode` needs it

    return decoding.map_decoder(name)


def _map(options: Mapping[str, Any], folder: Path, contract: Contract) -> Map:
    return maps.load(options["map"], beside=folder, contract=contract, base=options.get("base"))


def _filters(found: Map) -> Sequence[str]:
    return covering([one for rule in found.rules if not rule.ignore for one in rule.filters])


BRIDGE = Mqtt
