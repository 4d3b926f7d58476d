"""Bridge to devices that publish on MQTT by themselves, in a manner of their own.

A map says which topic is which field of which device: `maps/NAME.yaml`, or a file of the owner.
The codec reads messages by it; a device keeps what it has said until that makes a reading.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridges.mqtt import maps
from bridges.mqtt.codec import LONGEST_TOPIC, Finder, Match, Said, hear, settled
from bridges.mqtt.device import Device
from bridges.mqtt.owners import MOST_DEVICES, Key, Named, Owners, check_kinds
from bridges.mqtt.patterns import apart, covering
from bridges.mqtt.rules import Captures, Map, Rule, Sort
from bridges.mqtt.speaking import Speaking
from bridges.mqtt.watching import Watching
from heliobus.bridge import Identity
from heliobus.bus import Message, Subscription
from heliobus.contract import ANYTHING, Contract, load
from heliobus.errors import ConfigError, FrameError, guess
from heliobus.listener import Heard, Moment, Reading, Refused
from heliobus.settings import BridgeSettings, BrokerSettings

if TYPE_CHECKING:
    from heliobus.follower import Outgoing

__all__ = ["BRIDGE", "Mqtt", "foreign_topics", "map_decoder"]

_log = logging.getLogger(__name__)
_LONGEST_SHOWN = 500
_LOOK_S = 1.0
# After so long without a word of a device that its owner has named, its id may be wrong.
_UNHEARD_S = 900.0


class Mqtt:
    """Devices that speak in the manner of one map. Options: see config.json.

    `read` is the map where it has been read already.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        *,
        folder: Path,
        contract: Contract,
        read: Map | None = None,
    ) -> None:
        options = settings.options
        _check_inverted(settings, contract)
        self._settings = settings
        self._contract = contract
        self._map = read or _map(options, folder, contract)
        check_kinds(self._map, settings, contract)
        self._subscriptions = _subscriptions(self._map)
        self._finder = Finder(self._map)
        self._owners = Owners(self._map, settings)
        self._watching = Watching(self._map.hints)
        self._speaking = Speaking(self._map.keepalive, options.get("known") or {})
        self._found: dict[Key, Device] = {}
        self._vias: dict[Key, Key] = {}
        self._stated: dict[Key, bool] = {}  # of what is no device yet: whether it is there
        self._heard: dict[str, Heard] = {}
        self._ready: list[Reading] = []
        self._refused: list[Refused] = []
        self._all_off = False
        self._looked_s = -math.inf
        self._connected_s = math.inf

    @property
    def broker(self) -> BrokerSettings | None:
        """Give the broker where the devices speak; None: that of the bus."""
        broker: BrokerSettings | None = self._settings.options.get("broker")
        return broker

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Give what to hear."""
        return self._subscriptions

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
        self._stated.clear()
        self._all_off = False
        self._connected_s = now.s
        self._watching.begin_anew()
        self._speaking.connected()
        for device in self._found.values():
            self._add(device, device.begin_anew(now))
            self._collect(device)
        self._looked_s = -math.inf

    # ------------------------------------------------------------------ messages

    def take(self, message: Message, now: Moment) -> Sequence[Refused]:
        """Take in one message, which came at `now`. Return what of it is refused.

        What is refused only after the messages that belong to it is returned with a later one.
        """
        match = self._finder.find(message.topic)
        if match is not None:
            self._hear(match, message, now)
        if not self._refused:
            return ()
        refused, self._refused = self._refused, []
        return refused

    def _hear(self, match: Match, message: Message, now: Moment) -> None:
        taker, body = settled(match, message.payload)
        if taker is None:
            return
        match, rule, live = taker, taker.rule, not message.retained
        if self._map.keepalive:
            self._speaking.heard(match.captures)
        if rule.command:
            self._watching.command(message.topic, message.payload, rule, retained=not live)
            return
        if rule.distinct and live:
            self._watching.distinct(message.topic, message.payload, rule, now.s)
        try:
            said = hear(match, message.payload, body)
        except FrameError as error:
            if live or rule.use_retained:
                self._refuse([(message, str(error))], self._known(match))
            return
        for one in said:
            self._put(message, one, now)

    def _put(self, message: Message, said: Said, now: Moment) -> None:
        rule = said.rule
        if not rule.device:
            if said.online is not None:
                self._all_off = not said.online
                self._looked_s = -math.inf
            return
        counts = not message.retained or rule.use_retained
        if not (counts or said.info or said.online is not None):
            return
        device = self._device(said, now)
        if device is None:
            if counts:
                self._refuse([(message, fault) for fault in said.faults], None)
            return
        was = device.stated
        device.take(said, message, now)
        if device.stated is not was or (device.heard.online is False and not message.retained):
            self._looked_s = -math.inf
        if device.sort.quiet_s is None:
            if device.heard.online is False:
                self._look(now)
            self._add(device, device.reading(now, at_once=True))
        self._collect(device)

    def _add(self, device: Device, reading: Reading | None) -> None:
        if reading is not None and self._shown(device):
            self._ready.append(reading)

    def _shown(self, device: Device) -> bool:
        """Say whether others see it; else it is only there for those that it reaches."""
        return self._heard.get(device.heard.name) is device.heard

    def _collect(self, device: Device) -> None:
        """Take over what a device refuses, and what it has to tell."""
        holding = device.holding
        if holding.refused:
            if self._shown(device):
                self._refuse(holding.refused, device)
            holding.refused.clear()
        for line in holding.logs:
            _log.warning("%s: %s", device.heard.name, line)
        holding.logs.clear()

    def _refuse(self, refused: Sequence[tuple[Message, str]], device: Device | None) -> None:
        """Note what is refused, one for each message."""
        by_message: dict[int, tuple[Message, list[str]]] = {}
        for message, reason in refused:
            by_message.setdefault(id(message), (message, []))[1].append(reason)
        for message, reasons in by_message.values():
            told = "; ".join(reasons)[:1000]
            if device is not None:
                device.heard.refused += 1
                device.heard.error = told
            text = message.payload[:_LONGEST_SHOWN].decode(errors="replace")
            self._refused.append(Refused(message.topic, told, {"payload": text}))

    # ------------------------------------------------------------------ devices

    def _known(self, match: Match) -> Device | None:
        sort = self._map.sorts.get(match.rule.device)
        return self._found.get(self._owners.key(sort, match.captures)) if sort else None

    def _device(self, said: Said, now: Moment) -> Device | None:
        """Give a device; one that is new gets its name. None: it is left alone."""
        sort, captures = self._map.sorts[said.rule.device], said.captures
        key = self._owners.key(sort, captures)
        device = self._found.get(key)
        if device is None and said.makes_device:
            named = self._owners.take(sort, captures)
            if named is not None:
                device = self._found[key] = self._new(sort, captures, named, now)
                device.stated = self._stated.pop(key, None)
                if not named.hidden:
                    self._heard[named.name] = device.heard
            self._move()
        if device is not None:
            device.heard.messages += 1
        elif said.online is not None and len(self._stated) < MOST_DEVICES:
            self._stated[key] = said.online
        return device

    def _move(self) -> None:
        """Let devices go that get another name when they speak again."""
        for key in self._owners.moved:
            self._found.pop(key).heard.online = False
        self._owners.moved.clear()

    def _new(self, sort: Sort, captures: Captures, named: Named, now: Moment) -> Device:
        options = self._settings.options
        owned = named.owned.options if named.owned else {}
        every_s = (named.owned.every_s if named.owned else 0) or self._settings.every_s
        facts = {fact: text.fill(captures) or "" for fact, text in sort.identity.items()}
        via = self._map.sorts.get(sort.via)
        reached = self._owners.name(via, captures) if via else None
        if via is not None:
            self._vias[self._owners.key(sort, captures)] = self._owners.key(via, captures)
        heard = Heard(
            name=named.name,
            kind=owned.get("kind") or sort.kind,
            every_s=every_s or sort.every_s,
            title=facts.pop("title", ""),
            identity=Identity(**facts),
            role=owned.get("role") or sort.role,
            via=reached.name if reached and not reached.hidden else "",
        )
        return Device(
            heard,
            sort,
            contract=self._contract,
            inverted=frozenset((*options.get("invert", ()), *owned.get("invert", ()))),
            silent_s=options.get("silent"),
            paced=every_s > 0,
            now=now,
        )

    # ------------------------------------------------------------------ what is due

    def due(self, now: Moment) -> Sequence[Reading]:
        """Give the readings that are complete; also notes who has fallen silent."""
        if now.s - self._looked_s >= _LOOK_S:
            self._look(now)
        for device in self._found.values():
            self._add(device, device.reading(now))
            self._collect(device)
        ready, self._ready = self._ready, []
        return ready

    def _look(self, now: Moment) -> None:
        """See who is online, and what the owner should know."""
        self._looked_s = now.s
        for key in sorted(self._found, key=self._how_far):
            via = self._found.get(self._vias[key]) if key in self._vias else None
            reached = not self._all_off and (via is None or via.heard.online is not False)
            self._found[key].look(now, reached=reached)
        self._watching.look(self._found.values(), now.s, self._more_hints(now))

    def _how_far(self, key: Key) -> int:
        """Count what a device is reached through."""
        count = 0
        while key in self._vias and count < len(self._map.sorts):
            key, count = self._vias[key], count + 1
        return count

    def _more_hints(self, now: Moment) -> Mapping[str, str]:
        more = dict(self._owners.hints)
        if now.s - self._connected_s >= _UNHEARD_S:
            more |= self._owners.unheard(self._heard)
        if self._finder.too_long:
            more["long"] = (
                f"topics of more than {LONGEST_TOPIC} characters are passed over; look who"
                " publishes them"
            )
        return more

    def speak(self, now: Moment) -> Iterable["Outgoing"]:
        """Give what has to be said to the devices so that they go on speaking."""
        return self._speaking.due(now.s)


def foreign_topics(options: Mapping[str, Any], folder: Path) -> Sequence[tuple[str, str]]:
    """Give what a bridge hears and says on the broker of the bus: (access, filter).

    Everything below the base topic: so what a newer map adds needs no new access list.
    """
    if options.get("broker") is not None:
        return []
    found = _map(options, folder, load())
    below = [f"{found.base}/#"] if found.base else []
    return [
        *(("read", one) for one in covering([*below, *_filters(found.rules)])),
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


def _check_inverted(settings: BridgeSettings, contract: Contract) -> None:
    """Raise ConfigError where `invert` names what is no number of the contract."""
    named = {device.name: device.options for device in settings.devices}
    for where, options in {"": settings.options, **named}.items():
        for name in options.get("invert", ()):
            known = contract.field(ANYTHING, name)
            if known is None or known.type not in ("number", "integer"):
                place = f"devices.{where}.invert" if where else "invert"
                numbers = [n for n, one in contract.fields.items() if one.type == "number"]
                told = guess(name, numbers) if "mean" in guess(name, numbers) else ""
                raise ConfigError(f"{place}: {name!r} is not a number of the contract{told}")


def _filters(rules: Iterable[Rule]) -> Iterable[str]:
    return [one for rule in rules if not rule.ignore for one in rule.filters]


def _subscriptions(found: Map) -> Sequence[Subscription]:
    """Give what to hear. Of commands also whether they are retained, each time one is published.

    A command that fits both comes twice, which does no harm.
    """
    heard = [rule for rule in found.rules if not rule.command]
    taken = {rule.topic.text for rule in heard}  # there the payload decides: it may be a value
    told = [rule for rule in found.rules if rule.command and rule.topic.text not in taken]
    return [
        *(Subscription(one, 0, as_published=False) for one in apart(_filters(heard))),
        *(Subscription(one, 0, as_published=True) for one in apart(_filters(told))),
    ]


BRIDGE = Mqtt
