"""Bridge to Aurora, Power-One and ABB inverters on RS485: what is asked when, and what it gives.

One question is one measure, so a poll has about ten. Only what reads is ever asked (frame.py);
that no late answer passes for another is up to asking.py. At night the inverters are silent.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from bridges.aurora import tables
from bridges.aurora.asking import Asker
from bridges.aurora.bus import BAUD, GAP_S, Bus, open_bus
from bridges.aurora.codec import IDENTITY, Question, Values, alarm_of, decode_line
from bridges.aurora.frame import (
    ALARMS,
    ANSWER,
    CLOCK,
    ENERGY,
    FIRMWARE,
    FLOAT_ENERGY,
    MADE,
    MEASURE,
    PART,
    REQUEST,
    STATE,
    VERSION,
)
from bridges.aurora.options import Options
from bridges.aurora.resting import is_resting
from bridges.aurora.totals import Presence, Said, total
from heliobus.bridge import Event, Group, Identity
from heliobus.errors import ConfigError, FrameError
from heliobus.exchange import Echo, Silence
from heliobus.settings import DeviceSettings

__all__ = ["BRIDGE", "Aurora", "decode_line"]

_README = "See 'No answer?' in bridges/aurora/README.md"
_BITS = 10  # start bit, eight data bits, stop bit
_THINK_S = 0.02  # an inverter takes about so long to answer
_EXCHANGE_S = GAP_S + (REQUEST + ANSWER) * _BITS / BAUD + _THINK_S
_SLOW_S, _SELDOM_S = 60.0, 300.0


def _measures(*types: int) -> tuple[Question, ...]:
    return tuple(Question(MEASURE, kind) for kind in types)


# The output power ends the beat: every inverter has it.
_BEAT = (*_measures(8, 23, 25, 9, 26, 27, 1, 2), Question(MEASURE, 3))
_GROUPS: Mapping[str, tuple[float, tuple[Question, ...]]] = {
    "health": (_SLOW_S, (*_measures(4, 21, 22, 30, 6, 7, 5, 34, 35), Question(CLOCK))),
    "phases": (_SLOW_S, _measures(61, 62, 63, 39, 40, 41, 42, 43, 44)),
    "details": (_SELDOM_S, _measures(47, 48, 49, 50, 51, 52, 32, 33, 36, 45, 46, 58)),
    "identity": (
        math.inf,
        (Question(VERSION), Question(FIRMWARE, 1), Question(PART), Question(MADE)),
    ),
}
# Each by command 78, and by 68 where there is no such: three-phase and central inverters.
_ENERGIES = ((0, 1), (1, 2), (3, 3), (4, 4), (5, 6), (6, 7))
_ALARMS = Question(ALARMS)
_STATE = Question(STATE)
# What is said of itself once; the model's letter is no value.
_NOT_VALUES = IDENTITY | {"version", "input_type"}
# Beyond this, a clock is not that of another time zone: it is wrong.
_ZONES_S, _HOUR_S = 26 * 3600.0, 3600.0


class Aurora:
    """One inverter, or the sum of several. Options: see config.json."""

    kind = "inverter"

    def __init__(self, device: DeviceSettings) -> None:
        self.name = device.name
        self._options = options = Options.of(device.options)
        self._asker = Asker(
            options.address,
            timeout_s=options.timeout_s,
            retries=options.retries,
            tenths=options.tenths,
        )
        self.groups: Sequence[Group] = _groups(device.every_s, options)
        self.warnings: Sequence[str] = options.warnings
        self._who: Values = {}
        self._rated_w = 0.0
        self._resting = False
        self._said = Said(self.name)
        self._events: list[Event] = []
        self._members: Sequence[Aurora] = ()

    @staticmethod
    def check_link(url: str, devices: "Sequence[Aurora]") -> None:
        """Raise ConfigError where two have one address, or a sum is of what is not there."""
        owners: dict[int, str] = {}
        for device in devices:
            if not device.is_total:
                address = device.address
                if address in owners:
                    raise ConfigError(
                        f"{device.name}: address {address} on {url} is that of"
                        f" {owners[address]} already; set another on the inverter's display"
                    )
                owners[address] = device.name
        for device in devices:
            device.join(devices)

    @staticmethod
    def open_link(url: str, devices: "Sequence[Aurora]") -> Bus:
        """Open the way to these devices. Raise LinkError."""
        for device in devices:
            device.join(devices)
            device.doubt()
        return open_bus(url)

    @property
    def is_total(self) -> bool:
        """Say whether it is a sum of others, and asks nothing itself."""
        return bool(self._options.total)

    @property
    def address(self) -> int:
        """Give its address on the line."""
        return self._options.address

    @property
    def said(self) -> Said:
        """Give what it has said last."""
        return self._said

    @property
    def identity(self) -> Identity:
        """Give what the inverter has said of itself so far."""
        if self.is_total:
            names = ", ".join(member.name for member in self._members)
            return Identity(model=f"sum of {names}") if names else Identity()
        if not self._asker.serial:
            return Identity()
        who = {name: str(value) for name, value in self._who.items()}
        return Identity(
            maker="ABB / Power-One",
            model=who.get("model", ""),
            serial=self._asker.serial,
            firmware=who.get("firmware", ""),
        )

    def join(self, devices: "Sequence[Aurora]") -> None:
        """Know whom it is the sum of, if it is one. Raise ConfigError."""
        if not self.is_total:
            return
        found = {device.name: device for device in devices if not device.is_total}
        names = list(found) if "all" in self._options.total else self._options.total
        for name in names:
            if name not in found:
                known = ", ".join(found) or "none"
                raise ConfigError(
                    f"{self.name}: total: found '{name}', expected inverters of its link: {known}"
                )
        if not names:
            raise ConfigError(f"{self.name}: total: there is no inverter on its link to add up")
        self._members = [found[name] for name in names]

    def poll(self, link: Bus, group: str) -> Values:
        """Ask one group. Raise FrameError, LinkError."""
        if self.is_total:
            return self._sum()
        try:
            values = self._asker.whole(link, partial(self._ask, link, group))
        except FrameError as error:
            self._failed(group, error)
            if self._asker.serial or not isinstance(error, Silence | Echo):
                raise
            told = f"is it day, and is its address {self.address}? {_README}"
            raise type(error)(f"{error}; {told}") from error
        if self._who.get("serial", self._asker.serial) != self._asker.serial:
            self._who = {}
        if group == "energy" and self._options.read_alarms:
            self._read_alarms(link)
        return self._took(group, values)

    def _read_alarms(self, link: Bus) -> None:
        """Read what is logged, which empties it; the energies are good without it."""
        with suppress(FrameError):
            alarms = self._asker.whole(link, partial(self._asker.may, link, _ALARMS))
            self._events += _events(alarms)

    def doubt(self) -> None:
        """Have said nothing yet over a port that was just opened: it may be day again."""
        self._said = Said(self.name)

    def forget(self) -> None:
        """Doubt what was learned: another inverter may be there. Who sleeps, sleeps on."""
        self._asker.forget()
        if self._said.presence is Presence.ONLINE:
            self._said = Said(self.name)

    def asleep(self, *, lost: bool) -> Values | None:
        """Give what an inverter says at night: nothing but that it is asleep."""
        return {"mode": "asleep"} if self._resting and not (lost or self.is_total) else None

    def events(self) -> Sequence[Event]:
        """Give the alarms that were read since the last call."""
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------------ the groups

    def _ask(self, link: Bus, group: str) -> Values:
        match group:
            case "beat":
                return self._beat(link)
            case "energy":
                return self._energy(link)
        values: Values = {}
        for question in _GROUPS[group][1]:
            values |= self._asker.may(link, question)
        if "device_time" in values:
            values["clock_offset_s"] = clock_offset_s(str(values["device_time"]), _local_time())
        return values

    def _beat(self, link: Bus) -> Values:
        values = self._asker.must(link, _STATE)
        for question in _BEAT:
            values |= self._asker.may(link, question)
        return values | self._pv(values)

    def _pv(self, values: Values) -> Values:
        """Add up the DC inputs; where a model does not tell their power, by volts and amperes."""
        found: Values = {}
        for at, power in enumerate(_measures(8, 9), start=1):
            name = f"pv_{at:02}_w"
            v, a = (values.get(f"pv_{at:02}_{unit}") for unit in "va")
            if name in values:
                found[name] = values[name]
            elif self._asker.knows(power):
                return {}  # it has one, and did not tell it now
            elif isinstance(v, float) and isinstance(a, float):
                found[name] = round(v * a, 3)
        powers = [value for value in found.values() if isinstance(value, int | float)]
        return {**found, "pv_w": round(sum(powers), 4)} if powers else {}

    def _energy(self, link: Bus) -> Values:
        values: Values = {}
        for plain, by_float in _ENERGIES:
            for question in (Question(ENERGY, plain), Question(FLOAT_ENERGY, by_float)):
                if found := self._asker.may(link, question):
                    values |= found
                    break
                if self._asker.knows(question):
                    break  # it has it, and not now
        return values

    # ------------------------------------------------------------------ what came of it

    def _took(self, group: str, values: Values) -> Values:
        said = self._said
        if group == "beat":
            woke = said.presence is Presence.ASLEEP
            energies = {} if woke else said.energies
            self._said = Said(self.name, Presence.ONLINE, values, energies)
            self._resting = is_resting(values, self._rated_w)
        elif group == "energy":
            self._said = Said(self.name, said.presence, said.beat, values)
        elif group == "identity":
            self._learn(values)
            return {name: value for name, value in values.items() if name not in _NOT_VALUES}
        return values

    def _learn(self, values: Values) -> None:
        if "firmware" in self._who and self._who["firmware"] != values.get("firmware"):
            self._asker.relearn()  # a new firmware may know more
        self._who = {**values, "serial": self._asker.serial}
        letter = str(values.get("version", ""))[:1]
        model = tables.MODELS.get(letter)
        self._rated_w = model.rated_w if model else 0.0

    def _failed(self, group: str, error: FrameError) -> None:
        said = self._said
        if group == "beat":
            sleeps = self._resting and isinstance(error, Silence | Echo)
            presence = Presence.ASLEEP if sleeps else Presence.GONE
            self._said = Said(self.name, presence, {}, said.energies if sleeps else {})
        elif group == "energy":
            self._said = Said(self.name, said.presence, said.beat)

    def _sum(self) -> Values:
        said = [member.said for member in self._members]
        if said and all(each.presence is Presence.GONE for each in said):
            raise FrameError(f"none of {', '.join(each.name for each in said)} answers")
        return total(said)


def clock_offset_s(device_time: str, local: datetime) -> float:
    """Give by how much a clock of the inverter is ahead of local time.

    Whole hours are left out: they are another time zone, or summer time, which it does not know.
    """
    offset_s = (datetime.fromisoformat(device_time) - local).total_seconds()
    if abs(offset_s) <= _ZONES_S:
        offset_s -= _HOUR_S * round(offset_s / _HOUR_S)
    return round(offset_s, 3)


def _local_time() -> datetime:
    return datetime.now(UTC).astimezone().replace(tzinfo=None)


def _events(values: Values) -> list[Event]:
    """Make an event of each alarm, the oldest first as they are given."""
    codes = [values.get(f"alarm_{at:02}_code") for at in range(1, 5)]
    known = [code for code in codes if isinstance(code, int) and code]
    return [Event("alarm_logged", alarm_of(code), _details(code)) for code in known]


def _details(code: int) -> Values:
    warns = alarm_of(code).startswith(tables.WARNS)
    return {"severity": "warning" if warns else "error", "field": "alarm_code", "after": str(code)}


def _groups(every_s: float, options: Options) -> tuple[Group, ...]:
    if options.total:
        return (Group("beat", every_s, 0.001),)
    exchange_s = _EXCHANGE_S
    beat = Group("beat", every_s, (1 + len(_BEAT)) * exchange_s)
    energies = len(_ENERGIES) + options.read_alarms
    energy = Group("energy", max(_SLOW_S, every_s), energies * exchange_s)
    others = (
        Group(name, max(seconds, every_s), len(questions) * exchange_s)
        for name, (seconds, questions) in _GROUPS.items()
    )
    return (beat, energy, *others)


BRIDGE = Aurora
