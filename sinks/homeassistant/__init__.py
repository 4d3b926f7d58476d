"""The Home Assistant sink: device-based MQTT discovery, and commands from plain values."""

import logging
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from heliobus.bus import Message, Subscription
from heliobus.contract import Contract
from heliobus.errors import CommandError, FrameError
from heliobus.faults import Faults
from heliobus.follower import Outgoing
from heliobus.sample import dumps, time_text
from heliobus.settings import SinkSettings
from heliobus.topics import Address, Topics
from sinks.homeassistant import controls, heard
from sinks.homeassistant.announced import FIELD_GONE_S, Announced
from sinks.homeassistant.components import shape
from sinks.homeassistant.devices import Payload
from sinks.homeassistant.echoes import COMES_BACK_S, Echoes
from sinks.homeassistant.names import Place, place
from sinks.homeassistant.wanted import Known, Wanted

log = logging.getLogger(__name__)

# What the broker retains has come when our own status comes back, but some brokers are slow.
READ_S: Final = 5.0
LONGEST_READ_S: Final = 30.0
# What belongs together comes within this time.
GATHER_S: Final = 2.0
# A device whose info was cleared may just be going to another bridge.
CLEARED_S: Final = 10.0
# A device that was not there when we came: bridges may be late.
ABSENT_S: Final = 60.0
ALL_SITES: Final = "all"
# One config of each OpenDTU inverter: all of them would be thousands, of all programs.
FOREIGN: Final = ("binary_sensor/+/reachable/config", "sensor/+/ch0_Power/config")


def foreign_topics(options: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Give what it does outside the tree of heliobus: "read" or "write", and a filter."""
    prefix = options["prefix"]
    return [
        ("write", f"{prefix}/device/+/config"),
        ("read", options["status_topic"]),
        *(("read", f"{prefix}/{rest}") for rest in ("device/+/config", *FOREIGN)),
    ]


class HomeAssistant:
    """Tells Home Assistant what is on the bus, and the devices what was set there."""

    def __init__(
        self,
        settings: SinkSettings,
        *,
        topics: Topics,
        contract: Contract,
        now_ms: Callable[[], int],
    ) -> None:
        """Take the settings; no I/O."""
        self._name = settings.name
        self._topics = topics
        self._own_status = topics.component(settings.name, "status")
        self._now_ms = now_ms
        self._prefix: str = settings.options["prefix"]
        self._birth: str = settings.options["status_topic"]
        self._foreign = [
            one for access, one in foreign_topics(settings.options) if access == "read"
        ]
        sites = settings.options.get("sites") or [topics.site]
        self._sites: Sequence[str] | None = None if sites == ALL_SITES else sites
        self._wanted = Wanted(settings.options, contract=contract, topics=topics, sink=self._name)
        self._known = Known()
        self._announced = Announced()
        self._echoes = Echoes()
        # What somebody removed in Home Assistant, as it was wanted then.
        self._removed: dict[str, Payload | None] = {}
        self._commands: list[Outgoing] = []
        self._reading = self._has_all = self._was_born = False
        self._begun_s = self._next_s = math.inf
        self._absent_s: dict[str, float] = {}  # since when a device that was told is not there
        self._silent: set[str] = set()  # sites whose devices are not there, and nothing else
        self._cleared: set[Place] = set()  # since we are connected
        self._doubles: dict[str, str] = {}
        self._faults = Faults(log)

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Give what it wants to hear.

        What is retained comes at QoS 0: brokers drop what does not fit into a queue, and there
        may be thousands.
        """
        sites = "+" if self._sites is None else self._sites
        each = [Topics(site, self._topics.base) for site in sites]
        filters = [
            *self._foreign,
            *(one.component("+", "status") for one in each),
            *(() if self._is_ours(self._topics.site) else (self._own_status,)),
            *(one.device("+", "info") for one in each),
        ]
        return [
            *(Subscription(one.value(self._name, "+", "+")) for one in each),
            *(Subscription(one, 0, as_published=False) for one in filters),
        ]

    def _is_ours(self, site: str) -> bool:
        """Say whether this sink tells of a site; other sinks may tell of the others."""
        return self._sites is None or site in self._sites

    def connected(self, now_s: float) -> None:
        """Begin anew: read what is retained before anything is said."""
        self._known.clear()
        self._announced.told.clear()
        self._echoes.clear()
        self._commands.clear()
        self._absent_s.clear()
        self._cleared.clear()
        self._begun_s = now_s
        self._reading, self._has_all = True, False

    @property
    def next_s(self) -> float:
        """Give when it looks again at what is to be told, if nothing is heard until then."""
        return min(self._next_s, self._announced.next_s)

    # ------------------------------------------------------------------ hearing

    def take(self, message: Message, now_s: float) -> str | None:
        """Take in one message. Return why it is refused."""
        try:
            if message.topic == self._birth:
                self._was_born |= message.payload == b"online" and not message.retained
            elif message.topic.startswith(f"{self._prefix}/"):
                self._take_theirs(message, now_s)
            elif (address := self._topics.parse(message.topic)) is not None:
                self._take_ours(address, message, now_s)
        except (FrameError, CommandError) as error:
            return str(error)
        return None

    def _take_theirs(self, message: Message, now_s: float) -> None:
        match message.topic.removeprefix(f"{self._prefix}/").split("/"):
            case ["device", name, "config"]:
                self._take_config(name, message.payload, now_s)
            case [_, node, _, "config"]:
                self._known.foreign.pop(message.topic, None)
                if message.payload:
                    serials = heard.foreign_serials(node, message.payload)
                    self._known.foreign[message.topic] = serials
                self._look_again(now_s + GATHER_S)

    def _take_config(self, name: str, payload: bytes, now_s: float) -> None:
        """Learn what Home Assistant is told: by us before, or by somebody else meanwhile."""
        where, told = place(name), self._announced.told
        if where is None or not self._is_ours(where.site):
            return
        if not self._reading and self._echoes.came(name, payload) and name not in self._removed:
            return
        before = told.pop(name, None)
        if not self._reading:
            self._look_again(now_s + COMES_BACK_S if payload else now_s)
        if payload and (config := heard.own_config(where, self._topics.base, payload)) is not None:
            told[name] = config
            self._removed.pop(name, None)
        if payload and before is not None and before != told.get(name):
            log.warning("%s: somebody else told Home Assistant of it; are there two sinks?", name)
        elif before is not None and not payload:
            self._removed[name] = None
            log.info(
                "%s was removed in Home Assistant: it is told again when it changes, or when"
                " heliobus starts",
                name,
            )

    def _take_ours(self, address: Address, message: Message, now_s: float) -> None:
        if (name := address.misnamed) is not None:
            raise FrameError(
                f"topic: found {name:.80}, expected up to 63 lower-case letters, digits and _"
            )
        if message.topic == self._own_status and not message.retained:
            self._has_all = True  # what we published after subscribing comes after what is retained
        if not self._is_ours(address.site):
            return
        if address.leaf == "set" and address.component == self._name and address.device:
            self._commands.append(self._command(address, message))
        elif address.leaf == "info" and address.device:
            self._take_info(Place(address.site, address.device), message.payload, now_s)
        elif address.leaf == "status" and address.component:
            where = Place(address.site, component=address.component)
            self._take_status(where, message.payload, now_s)

    def _take_info(self, where: Place, payload: bytes, now_s: float) -> None:
        info = heard.info(payload) if payload else None
        self._replace(self._known.infos, where, info, now_s)

    def _take_status(self, where: Place, payload: bytes, now_s: float) -> None:
        status = heard.status(payload) if payload else None
        known = self._known.statuses.get(where)
        if known is not None and status is not None and shape(known) == shape(status):
            self._known.statuses[where] = status
            return
        self._replace(self._known.statuses, where, status, now_s)

    def _replace(
        self, bodies: dict[Place, heard.Body], where: Place, body: heard.Body | None, now_s: float
    ) -> None:
        if bodies.get(where) == body:
            return
        if body is None:
            del bodies[where]
            self._cleared.add(where)
        else:
            bodies[where] = body
        self._look_again(now_s + GATHER_S)

    def _look_again(self, at_s: float) -> None:
        self._next_s = min(self._next_s, at_s)

    # ------------------------------------------------------------------ commands

    def _command(self, address: Address, message: Message) -> Outgoing:
        """Make a command of a plain value. Raise CommandError."""
        device, name = str(address.device), str(address.name)
        if message.retained:
            raise CommandError(
                "a retained value is not taken: it would be set again at every connect; remove it"
                f" with mosquitto_pub -r -n -t {message.topic}"
            )
        if not message.certain:
            raise CommandError(
                "the broker speaks MQTT 3.1.1 only, where a retained value looks like a new one;"
                " use a broker that speaks MQTT 5, such as mosquitto"
            )
        info = self._known.infos.get(Place(address.site, device))
        if info is None:
            raise CommandError(f"no device is called {device} at {address.site}")
        command = controls.commands(info).get(name)
        if command is None:
            raise CommandError(f"{device} takes no command {name}")
        text = message.payload[: controls.LONGEST_VALUE].decode("utf-8", "replace")
        body = {
            "id": f"{self._name}-{uuid.uuid4().hex}",
            "name": name,
            "value": command.value(text),
            "time": time_text(self._now_ms()),
            "valid_for_s": controls.VALID_FOR_S,
            "lease_s": command.lease_s,
            "reason": "set in Home Assistant",
        }
        topic = Topics(address.site, self._topics.base).command(device, self._name)
        log.info("%s: %s is to be %s", device, name, body["value"])
        return Outgoing(topic, dumps(body))

    # ------------------------------------------------------------------ telling

    def due(self, now_s: float) -> Iterable[Outgoing]:
        """Give what is to be published now."""
        commands, self._commands = self._commands, []
        yield from commands
        if self._reading:
            read_s = now_s - self._begun_s
            if read_s < READ_S or not (self._has_all or read_s >= LONGEST_READ_S):
                return
            self._reading = False
            self._next_s = now_s
            log.info("tells Home Assistant of %d devices and components", self._known.count)
        if now_s >= self.next_s:
            self._next_s = math.inf
            yield from self._plan(now_s)
        if self._was_born:
            self._was_born = False
            for name, payload in sorted(self._announced.told.items(), key=_depth):
                yield self._outgoing(name, payload, now_s)
        for name in self._echoes.overdue(now_s):
            yield self._outgoing(name, self._announced.told.get(name), now_s)

    def _plan(self, now_s: float) -> Iterator[Outgoing]:
        told = self._announced.told
        wanted = self._wanted.payloads(self._known, told)
        self._leave_removed(wanted)
        self._tell_doubles()
        self._silent.clear()
        for name in [name for name in told if name not in wanted]:
            if self._is_gone(name, wanted, now_s):
                del told[name]
                yield self._outgoing(name, None, now_s)
        for name in wanted:
            self._absent_s.pop(name, None)
        for name, payload in self._announced.changes(wanted, now_s):
            yield self._outgoing(name, payload, now_s)

    def _leave_removed(self, wanted: dict[str, Payload]) -> None:
        """Leave out what its owner removed in Home Assistant, until something of it changes."""
        for name, before in list(self._removed.items()):
            payload = wanted.get(name)
            if payload is None or before not in (None, payload):
                del self._removed[name]
            else:
                self._removed[name] = wanted.pop(name)

    def _outgoing(self, name: str, config: Payload | None, now_s: float) -> Outgoing:
        """Give the message that tells a config, or that clears it."""
        payload = b"" if config is None else dumps(config)
        self._echoes.sent(name, payload, now_s)
        return Outgoing(f"{self._prefix}/device/{name}/config", payload, retain=True)

    def _is_gone(self, name: str, wanted: Mapping[str, Payload], now_s: float) -> bool:
        """Say whether a device that was told and is not there is to be taken away by now."""
        where = place(name)
        if where is None or self._wanted.is_left_out(where.whole):
            return True
        if where.whole.id in wanted:
            wait_s = FIELD_GONE_S
        elif where.whole in self._cleared:
            wait_s = CLEARED_S
        elif self._has_all and self._is_alive(where.site):
            wait_s = ABSENT_S
        else:
            if not self._is_alive(where.site):
                self._silent.add(where.site)
            self._absent_s.pop(name, None)
            return False
        since_s = self._absent_s.setdefault(name, now_s)
        self._look_again(since_s + wait_s)
        return now_s >= since_s + wait_s

    def _is_alive(self, site: str) -> bool:
        """Say whether anything of a site is there: one that is all silent may have lost all."""
        ourselves = Place(self._topics.site, component=self._name)
        return any(where.site == site for where in self._known.infos) or any(
            where.site == site and where != ourselves and status.get("state") == "online"
            for where, status in self._known.statuses.items()
        )

    def _tell_doubles(self) -> None:
        doubles = {}
        for where in self._known.infos:
            if serial := self._wanted.double(where, self._known):
                found = "is there twice" if where.id in self._announced.told else "left out"
                doubles[where.id] = (
                    f"{where.device}: {found}, as OpenDTU announces inverter {serial} to Home"
                    " Assistant itself. Switch that off on OpenDTU's page and delete its device in"
                    " Home Assistant, or name it in 'leave_out', or set 'opendtu: announce'"
                )
        for name, text in doubles.items():
            self._faults.report(name, text)
        for name in self._doubles.keys() - doubles:
            self._faults.over(name, f"{name}: OpenDTU announces it no longer")
        self._doubles = doubles

    def details(self) -> Mapping[str, Any]:
        """Give how much Home Assistant knows of, and what its owner should know."""
        told = {
            name: payload
            for name, payload in self._announced.told.items()
            if name not in self._echoes
        }
        hints = [
            *self._doubles.values(),
            *([self._is_late()] if self._echoes.late else []),
            *(
                f"nothing is heard of the site {site}: its devices stay in Home Assistant"
                for site in sorted(self._silent)
            ),
        ]
        return {
            "announced": len(told),
            "entities": sum(len(payload["cmps"]) for payload in told.values()),
            **({"hints": hints} if hints else {}),
        }

    def _is_late(self) -> str:
        return (
            f"what is told of {', '.join(sorted(self._echoes.late)):.200} does not come back from"
            f" the broker: may {self._name} write and read {self._prefix}/device/+/config? Run"
            " `heliobus broker init` again"
        )


def _depth(told: tuple[str, Payload]) -> tuple[bool, bool]:
    """Order devices so that each comes after the one that it belongs to."""
    name, payload = told
    where = place(name)
    return where is not None and bool(where.part), "via_device" in payload["dev"]


SINK = HomeAssistant
