"""A simulated OpenDTU with its inverters: the topics of v26.3.30, in their order and format.

It has a clock and nothing else: what it says comes out of `due`, what is said to it goes into
`take`. Whoever serves it owns the connection. As the real one it polls its inverters by turns,
one every `poll_s`, and every 5 s publishes what it knows.

Read for it: src/MqttHandleInverter.cpp, Datastore.cpp and lib/Hoymiles/src of tbnobody/OpenDTU.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import Final

from bridges.mqtt.simulated_discovery import discovery
from bridges.mqtt.simulated_inverter import MODELS, Answer, Inverter, Model, String
from bridges.mqtt.simulated_topics import Known, Texts, of_all, of_dtu, of_inverter
from heliobus.errors import ConfigError
from heliobus.follower import Outgoing
from heliobus.house import House
from heliobus.line import Faults
from heliobus.settings import BridgeSettings

__all__ = ["SIMULATOR", "VARIANTS", "Simulator", "Variant", "simulate"]

PUBLISH_S: Final = 5.0
POLL_S: Final = 5.0
_QUICK_S: Final = (1.0, 2.0)  # in the place of both
_DAY_S: Final = 86400.0
_HAS_RUN_S = 200_000.0
_DISCOVERY_S = 60.0
_TROUBLE_S = 120.0
_HOUR_S = 3600.0

LIMITS: Final[Mapping[str, tuple[bool, bool]]] = MappingProxyType(
    {
        # command: (stored in the inverter, in W)
        "limit_persistent_relative": (True, False),
        "limit_persistent_absolute": (True, True),
        "limit_nonpersistent_relative": (False, False),
        "limit_nonpersistent_absolute": (False, True),
    }
)
COMMANDS: Final = (*LIMITS, "power", "restart", "reset_rf_stats")
# Of these a retained one is passed over; the others are obeyed anew at every connection.
_NOT_RETAINED: Final = frozenset(COMMANDS) - {name for name in LIMITS if "_p" in name} - {"power"}
_SERIAL: Final = re.compile("[0-9a-f]{12}")
_MODEL_OF: Final = {model.prefix: model for model in MODELS.values()}
_NUMBER: Final = re.compile(rb"\s*([-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)")
# Faults of the radio, and what the DTU counts them as.
_FAILURES: Final = {
    "silence": "rx_fail_nothing",
    "cut": "rx_fail_partial",
    "flip": "rx_fail_corrupt",
    "noise": "rx_fail_corrupt",
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One situation. `hour`: of the sun at the start; None: as the clock has it."""

    title: str
    models: tuple[str, ...] = ("hm800", "hm1500")
    hour: float | None = 12.0
    has_run: bool = True
    knows_time: bool = True
    on_wifi: bool = True
    announces: bool = False
    troubled: bool = False
    quick: bool = False


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "day": Variant("noon: an HM-800 with two strings, an HM-1500 with four"),
        "night": Variant("the inverters sleep, their last values stay", hour=22.5),
        "clock": Variant("the sun goes by the clock", hour=None),
        "boot": Variant("the DTU has just started: zeros until the first answers", has_run=False),
        "no_time": Variant("no time server: no inverter is asked", has_run=False, knows_time=False),
        "trouble": Variant("an inverter comes and goes, counters jump and fall", troubled=True),
        "ethernet": Variant("a DTU by cable, one inverter", models=("hm400",), on_wifi=False),
        "discovery": Variant("with its own discovery for Home Assistant", announces=True),
        "quick": Variant(
            "asks every second and speaks every two, by the clock", hour=None, quick=True
        ),
        "full": Variant("ten inverters with four strings each", models=("hm1500",) * 10),
    }
)


class Simulator:
    """A simulated OpenDTU of one `variant`, below the topic `base`.

    `models` replace those of the variant, and `serials` their serial numbers; `poll_s` and
    `publish_s` are the settings of that name. `faults` strike its radio: silence, cut, flip and
    noise; nak refuses commands. `obeyed` counts the commands that were carried out. Without a
    `house` it has one of its own, whose sun is that of the variant; the time of the DTU itself
    is that of `clock`.
    """

    def __init__(
        self,
        variant: str = "day",
        *,
        house: House | None = None,
        clock: Callable[[], float] = time.time,
        faults: Faults | None = None,
        base: str = "solar",
        name: str = "opendtu",
        models: Sequence[Model] = (),
        serials: Sequence[str] = (),
        poll_s: float = POLL_S,
        publish_s: float = PUBLISH_S,
    ) -> None:
        if variant not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise ConfigError(f"variant: found {variant!r:.60}, expected one of {known}")
        self.variant = VARIANTS[variant]
        self.base = base
        self.obeyed: Counter[str] = Counter()
        self._clock = clock
        self._faults = faults or Faults()
        self._poll_s, self._every_s = _QUICK_S if self.variant.quick else (poll_s, publish_s)
        now_s = self._publish_s = self._announce_from_s = clock()
        self._house = house or _house(self.variant.hour, clock)
        models = models or [MODELS[model] for model in self.variant.models]
        self.inverters = [
            Inverter(model, at, self._house, clock=clock, serial=serial, dtu=name)
            for at, (model, serial) in enumerate(zip_longest(models, serials[: len(models)]))
        ]
        self._begin(now_s)
        self._has_run = self.variant.has_run

    # ------------------------------------------------------------------ for who serves it

    @property
    def about(self) -> str:
        """Say in a few words what it is, and where."""
        number = len(self.inverters)
        return f"an OpenDTU with {number} inverter{'s'[: number > 1]} speaks below {self.base}/"

    @property
    def will(self) -> Outgoing:
        """Give what the broker says when the DTU is gone."""
        return self._said("dtu/status", "offline")

    @property
    def filters(self) -> Sequence[str]:
        """Give what it listens to."""
        return [f"{self.base}/+/cmd/{name}" for name in COMMANDS]

    def connected(self) -> list[Outgoing]:
        """Give what is said first on a connection."""
        self._announce = self.variant.announces
        return [self._said("dtu/status", "online")]

    def due(self) -> list[Outgoing]:
        """Let time pass; give what is to be said by now."""
        now_s = self._clock()
        self._remember(now_s)
        self._poll_until(now_s)
        said: list[Outgoing] = []
        if self._announce and now_s >= self._announce_from_s:
            self._announce, self._announce_from_s = False, now_s + _DISCOVERY_S
            expires_s = len(self.inverters) * round(max(self._poll_s, self._every_s)) * 2
            for topic, payload in discovery(self.base, self.inverters, expires_s=expires_s):
                said.append(Outgoing(topic, payload.encode(), retain=True))
        if now_s < self._publish_s and self._publish_s - now_s <= self._every_s:
            return said
        self._publish_s = now_s + self._every_s - (now_s - self._publish_s) % self._every_s
        for topic, payload in self._everything(now_s):
            said.append(self._said(topic, payload))
        return said

    def take(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Take a command."""
        self._remember(self._clock())
        serial, _, command = topic.removeprefix(f"{self.base}/").partition("/cmd/")
        inverter = next((i for i in self.inverters if i.serial == serial.lower()), None)
        number = _NUMBER.match(payload)
        if inverter is None or number is None or (retained and command in _NOT_RETAINED):
            return
        known = self.known[inverter.serial]
        if command == "reset_rf_stats" and float(number[1]) == 1:
            known.radio.clear()
        elif inverter.answer() is None or self._faults.strikes("nak"):
            return  # it does not hear, or does not want to
        elif not self._obey(inverter, command, float(number[1])):
            return
        self.obeyed[command] += 1

    def leave(self) -> list[Outgoing]:
        """Give what is said last."""
        return [self.will]

    def reboot(self) -> None:
        """Start anew and know nothing. Who serves it breaks the connection, without `leave`."""
        self._has_run = False
        self._begin(self._clock())

    # ------------------------------------------------------------------ its life

    def _begin(self, now_s: float) -> None:
        self.known = {
            each.serial: Known(Answer((String(),) * each.model.strings)) for each in self.inverters
        }
        self._began_s = self._polled_s = self._publish_s = now_s
        self._announce, self._announce_from_s = False, now_s
        self._turn = 0

    def _remember(self, now_s: float) -> None:
        """Know what a DTU knows that has run for days, when it is first looked at."""
        if not self._has_run:
            return
        self._has_run = False
        self._began_s = now_s - _HAS_RUN_S
        for inverter in self.inverters:
            known = self.known[inverter.serial]
            known.radio.update(tx_request=4711, tx_re_request=12, rx_success=4690)
            known.radio.update(rx_fail_nothing=15, rx_fail_partial=5, rx_fail_corrupt=1)
            if answer := inverter.answer():
                known.learn(answer, inverter, now_s)
            elif inverter.evening:
                evening_s, answer = inverter.evening
                known.learn(answer, inverter, now_s - (self._house.now_s - evening_s))
                known.missed = 1000

    def _poll_until(self, now_s: float) -> None:
        """Ask the inverters whose turn has come; a clock that jumped has no more turns than one."""
        if not 0.0 <= now_s - self._polled_s <= 10 * self._poll_s * len(self.inverters):
            self._polled_s = now_s
        while self._polled_s + self._poll_s <= now_s:
            self._polled_s += self._poll_s
            inverter = self.inverters[self._turn % len(self.inverters)]
            self._turn += 1
            if self.variant.troubled:
                self._trouble(self._polled_s)
            if self.variant.knows_time:
                self._poll(inverter, self._polled_s)

    def _poll(self, inverter: Inverter, now_s: float) -> None:
        known = self.known[inverter.serial]
        known.radio["tx_request"] += 1
        answer = inverter.answer()
        failure = next((name for kind, name in _FAILURES.items() if self._faults.strikes(kind)), "")
        if answer is not None and not failure:
            known.learn(answer, inverter, now_s)
            return
        known.missed += 1
        known.radio[failure or "rx_fail_nothing"] += 1
        known.radio["tx_re_request"] += failure == "rx_fail_partial"

    def _trouble(self, now_s: float) -> None:
        """Have the last inverter gone every other while, and counters wrong now and then."""
        part = int((now_s - self._began_s) // _TROUBLE_S)
        self.inverters[-1].present = part % 2 == 0
        if self._turn % 7 == 0:
            self.inverters[0].glitch = "spike" if self._turn % 2 else "drop"

    def _obey(self, inverter: Inverter, command: str, number: float) -> bool:
        if command in LIMITS:
            stored, watts = LIMITS[command]
            percent = number / inverter.model.rated_w * 100 if watts else number
            if percent < 0:
                return False
            inverter.limit(min(100.0, int(percent * 10) / 10), stored=stored)
            self.known[inverter.serial].limit_percent = inverter.limit_percent
        elif command == "power":
            inverter.on = int(number) > 0
        elif command == "restart" and number == 1:
            inverter.restart()
        else:
            return False
        return True

    # ------------------------------------------------------------------ what it says

    def _said(self, topic: str, payload: str) -> Outgoing:
        return Outgoing(f"{self.base}/{topic}", payload.encode(), retain=True)

    def _everything(self, now_s: float) -> Texts:
        yield from of_dtu(int(now_s - self._began_s), on_wifi=self.variant.on_wifi)
        for inverter in self.inverters:
            yield from of_inverter(inverter, self.known[inverter.serial])
        yield from of_all(self.known.values())


SIMULATOR = Simulator


def _house(hour: float | None, clock: Callable[[], float]) -> House:
    """Give a house where it is this hour now; None: as the clock has it."""
    now_s = clock()
    shift_s = 0.0 if hour is None else hour * _HOUR_S - now_s % _DAY_S
    return House(lambda: clock() + shift_s)


def simulate(
    bridge: BridgeSettings,
    *,
    house: House,
    faults: Faults | None = None,
) -> Simulator:
    """Give what speaks to a bridge: an OpenDTU with the inverters that it names, else with two.

    Raise ConfigError.
    """
    if bridge.options["map"] != "opendtu":
        raise ConfigError(f"the map {bridge.options['map']!r} has no simulator; opendtu has")
    ids = [str(device.options.get("id", device.name)) for device in bridge.devices]
    serials = [found[0] for each in ids if (found := _SERIAL.search(each))]
    base = bridge.options.get("base", "solar")
    variant = str(bridge.options.get("simulate", "clock"))
    return Simulator(
        variant, house=house, faults=faults, base=base, serials=serials, name=bridge.name,
        models=[_MODEL_OF.get(serial[:4], MODELS["hm800"]) for serial in serials],
    )  # fmt: skip
