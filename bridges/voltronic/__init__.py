"""Bridge to the inverters of Voltronic and their many other names, which speak PI30.

One exchange at a time over RS232 (2400 baud) or USB (hidraw). The status is asked at every beat,
the rest seldom. What an inverter can answer differs from model to model and is learned.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial

from bridges.voltronic.codec import (
    Layout,
    Nak,
    decode,
    decode_line,
    request,
    take_answer,
)
from bridges.voltronic.columns import Values
from heliobus.bridge import Group, Identity
from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.link import Echo, Link, Silence, ask
from heliobus.quantities import duration_s
from heliobus.settings import DeviceSettings

__all__ = ["BRIDGE", "Voltronic", "decode_line"]

_BYTES_PER_S = 240  # 2400 baud
_TURN_S = 0.05
# esphome-pipsolar waits 5 s, skymax 2 s; a QPIRI in two halves, a second apart, has been seen.
_TIMEOUT_S = 3.0

# Group, cadence, and how long its questions and answers are, in bytes.
_BEAT = ("status", (8 + 122, 9 + 22, 7 + 5))
_SLOW = (
    ("warnings", 30.0, (8 + 40,)),
    ("charger", 30.0, (5 + 113,)),
    ("settings", 300.0, (8 + 113, 8 + 18)),
    ("energy", 300.0, (5 + 18, 6 + 12, 10 + 12, 12 + 12, 14 + 12, 6 + 12, 14 + 12)),
    ("identity", math.inf, (6 + 8, 6 + 18, 7 + 26, 7 + 18, 8 + 19, 6 + 16, 7 + 7)),
)
_IDENTITY = ("QPI", "QID", "QSID", "QVFW", "QVFW2", "QMN", "QGMN")

# A command that has never answered counts as unknown to the inverter after so many tries. A
# single NAK may also mean that noise damaged the request.
_REFUSALS = 2
_SILENCES = 3
_DATE = re.compile(r"\d{4,}\Z")
# What QPIGS says elsewhere on a Revo, and what is computed from it.
_NOT_ON_REVO = ("battery_discharge_a", "battery_a", "battery_w")
_OTHER_PROTOCOLS = {
    "PI16": "an Infini grid-tied inverter",
    "PI17": "an Infini three-phase inverter",
    "PI18": "an InfiniSolar V or LV5048 hybrid",
    "PI34": "a PCM60X solar charger",
    "PI41": "an LV5048 split-phase inverter",
}


class Voltronic:
    """One PI30 inverter. Options: `timeout` in seconds, `layout` auto, pi30 or revo."""

    kind = "inverter"

    def __init__(self, device: DeviceSettings) -> None:
        timeout = device.options.get("timeout", _TIMEOUT_S)
        self._timeout_s = duration_s(timeout) if isinstance(timeout, str) else float(timeout)
        self._stated_layout = _stated_layout(device.options.get("layout", "auto"))
        self.groups: Sequence[Group] = _groups(device.every_s)
        self._in_step = True  # not forgotten with the inverter: what is late may still come
        self.forget()

    def forget(self) -> None:
        """Forget what was learned: another inverter may be plugged in."""
        self._layout = self._stated_layout
        self._who: Values = {}
        self._unasked: list[str] = []
        self._answered: set[str] = set()
        self._refused: Counter[str] = Counter()
        self._unknown: set[str] = set()
        self._other_protocol = ""

    @property
    def identity(self) -> Identity:
        """Give what the inverter has said of itself so far."""
        who = {name: str(value) for name, value in self._who.items()}
        if not who:
            return Identity()
        number = f"model {who['model_code']}" if "model_code" in who else ""
        versions = [who[name] for name in ("firmware", "firmware_2") if name in who]
        return Identity(
            maker="Voltronic",
            model=who.get("model", number),
            serial=who.get("serial", ""),
            firmware=" / ".join(versions),
        )

    def poll(self, link: Link, group: str) -> Values:
        """Ask one group. Raise FrameError, LinkError."""
        match group:
            case "status":
                return self._status(link)
            case "warnings":
                return self._gather(link, "QPIWS")
            case "charger":
                return self._gather(link, "Q1")
            case "settings":
                return self._settings(link)
            case "energy":
                return self._energy(link)
            case _:
                self._identify(link)
                return {}

    # ------------------------------------------------------------------ the groups

    def _status(self, link: Link) -> Values:
        if self._other_protocol:
            self._recognise(link)
        try:
            values = self._query(link, "QPIGS")
        except Nak as refusal:
            self._recognise(link)
            raise FrameError("it refuses QPIGS (NAK); is it starting or updating?") from refusal
        if self._layout is None:
            for name in _NOT_ON_REVO:
                values.pop(name, None)
        one = values.get("pv_01_w")
        values |= self._perhaps(link, "QMOD") or {}
        second = self._perhaps(link, "QPIGS2")
        if second is not None:
            values |= second
            # Refused means that there is one PV input; a layout of its own gives no sum.
            two = second.get("pv_02_w") if second else 0
            if isinstance(one, int | float) and isinstance(two, int | float):
                values["pv_w"] = one + two
        return values

    def _perhaps(self, link: Link, command: str) -> Values | None:
        """Ask beside QPIGS: None when it failed. What QPIGS said was measured all the same."""
        try:
            return self._optional(link, command)
        except (FrameError, LinkError):  # a lost link shows at the next question
            return None

    def _settings(self, link: Link) -> Values:
        values = self._gather(link, "QPIRI", "QFLAG")
        if self._layout is None and ("topology" in values or "QPIRI" in self._unknown):
            # 21 fields, which end with the topology: Revo V02. All others have more.
            revo = "topology" in values and "output_mode" not in values
            self._layout = Layout.REVO if revo else Layout.PI30
        return values

    def _energy(self, link: Link) -> Values:
        """Ask the counters; those of a day, month or year by the inverter's own date."""
        clock = self._gather(link, "QT")
        commands = ["QET", "QLT"]
        if "device_time" in clock:
            day = str(clock["device_time"])[:10].replace("-", "")
            commands += ["QED" + day, "QEM" + day[:6], "QEY" + day[:4], "QLD" + day]
        return self._gather(link, *commands)

    def _identify(self, link: Link) -> None:
        """Ask who it is. After a failure the next turn goes on where this one stopped."""
        before = self.identity
        self._unasked = self._unasked or list(_IDENTITY)
        while self._unasked:
            self._who |= self._optional(link, self._unasked[0])
            del self._unasked[0]
            self._judge(self._who)
        if before.firmware and before != self.identity:
            self._unknown.clear()  # a new firmware may know more
            self._refused.clear()

    # ------------------------------------------------------------------ questions

    def _gather(self, link: Link, *commands: str) -> Values:
        """Ask what the inverter knows of these. Raise when something failed and nothing came."""
        values: Values = {}
        failed: FrameError | None = None
        for command in commands:
            try:
                values |= self._optional(link, command)
            except Silence as error:
                failed = error
                break  # a silent inverter costs one timeout, not one for each command
            except FrameError as error:
                failed = error
        if failed is not None and not values:
            raise failed
        return values

    def _optional(self, link: Link, command: str) -> Values:
        """Ask what not every model knows; nothing when this one does not."""
        name = _DATE.sub("", command)
        if name in self._unknown:
            return {}
        try:
            values = self._query(link, command)
        except (Nak, Echo, Silence) as error:
            if name in self._answered:
                raise
            self._refused[name] += 1
            enough = _SILENCES if isinstance(error, Silence) else _REFUSALS
            if self._refused[name] >= enough:
                self._unknown.add(name)
            if isinstance(error, Silence):
                raise
            return {}
        self._answered.add(name)
        return values

    def _query(self, link: Link, command: str) -> Values:
        if not self._in_step:
            self._step(link)
        take = partial(_take, command, self._layout or Layout.PI30)
        try:
            answer = ask(link, request(command), take, timeout_s=self._timeout_s, what=command)
        except Echo:
            raise
        except FrameError:
            self._in_step = False
            raise
        if isinstance(answer, Nak):
            raise answer
        return answer

    def _step(self, link: Link) -> None:
        """Get into step again: pass over late answers until that to QPI comes.

        Answers do not say to what. After a timeout the next one may belong to the question
        before, and an old status would pass for a new one.
        """
        try:
            ask(link, request("QPI"), _take_protocol, timeout_s=self._timeout_s, what="QPI")
        except (Silence, Echo):
            self._in_step = True  # nothing has come for all this time: nothing is under way
            raise
        self._in_step = True

    # ------------------------------------------------------------------ other protocols

    def _judge(self, who: Values) -> None:
        """Raise FrameError when the inverter speaks another protocol."""
        protocol = str(who.get("protocol", "PI30"))
        self._other_protocol = "" if protocol.startswith("PI30") else protocol
        if self._other_protocol:
            what = _OTHER_PROTOCOLS.get(protocol[:4], "another device")
            raise FrameError(
                f"it speaks {protocol} ({what}), expected PI30; this bridge cannot ask it yet"
            )

    def _recognise(self, link: Link) -> None:
        """Find out what it is that refuses QPIGS. Raise FrameError unless it is PI30."""
        for command in ("QPI", "^P005PI"):
            try:
                who = self._query(link, command)
            except FrameError:
                continue
            self._judge(who)
            self._who |= who
            return
        raise FrameError("it answers neither QPI nor ^P005PI; see which protocols the README names")


def _take(command: str, layout: Layout, data: bytes) -> tuple[Values | Nak, int] | None:
    """Take and decode; raise FrameError for an answer to another question too.

    A refusal is given, not raised: after damage `ask` waits for silence, after a NAK it need not.
    """
    try:
        taken = take_answer(data)
    except FrameError as error:
        raise FrameError(f"{command}: {error}") from error
    if taken is None:
        return None
    try:
        return decode(command, taken[0], layout), taken[1]
    except Nak as refusal:
        return refusal, taken[1]


def _take_protocol(data: bytes) -> tuple[str, int] | None:
    at = 0
    while (taken := take_answer(data[at:])) is not None:
        payload, used = taken
        at += used
        if payload == "NAK" or payload.startswith("PI"):
            return payload, at
    return None


def _stated_layout(name: object) -> Layout | None:
    try:
        return None if name == "auto" else Layout(name)
    except ValueError:
        raise ConfigError(f"layout: found {name!r:.60}, expected auto, pi30 or revo") from None


def _groups(every_s: float) -> tuple[Group, ...]:
    name, sizes = _BEAT
    slow = (Group(name, max(seconds, every_s), _wire_s(sizes)) for name, seconds, sizes in _SLOW)
    return (Group(name, every_s, _wire_s(sizes)), *slow)


def _wire_s(sizes: Sequence[int]) -> float:
    return sum(sizes) / _BYTES_PER_S + len(sizes) * _TURN_S


BRIDGE = Voltronic
