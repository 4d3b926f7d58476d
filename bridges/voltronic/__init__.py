"""Bridge to the inverters of Voltronic and their many other names, which speak PI30 or PI18.

One exchange at a time over RS232 (2400 baud) or USB (hidraw). The status is asked at every beat,
the rest seldom. What an inverter can answer differs from model to model and is learned.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from bridges.voltronic.asking import Asker
from bridges.voltronic.codec import Layout, Nak, decode_line
from bridges.voltronic.columns import Values
from bridges.voltronic.dialects import PI18, PI18_COUNTING, PI30, Dialect, groups
from bridges.voltronic.options import Options
from bridges.voltronic.parallel import Units
from heliobus.bridge import Group, Identity, Part, Parts
from heliobus.errors import ConfigError, FrameError
from heliobus.faults import Faults
from heliobus.link import Link, Silence
from heliobus.settings import DeviceSettings

__all__ = ["BRIDGE", "Voltronic", "decode_line"]

_log = logging.getLogger(__name__)

_ITSELF = ""
_NEVER_HEARD = "is it on, and the cable right? See 'No answer?' in bridges/voltronic/README.md"
# One that has answered before is doubted at every fourth silence only: it is likely off.
_DOUBTED = 4
# What QPIGS says elsewhere on a Revo, and what is computed from it.
_NOT_ON_REVO = ("battery_discharge_a", "battery_a", "battery_w")
_OTHER_PROTOCOLS = {
    "PI16": "an Infini grid-tied inverter",
    "PI17": "an Infini three-phase inverter",
    "PI18": "an InfiniSolar V or LV5048 hybrid",
    "PI30": "an Axpert and its kin",
    "PI34": "a PCM60X solar charger",
    "PI41": "an LV5048 split-phase inverter",
}


class Voltronic:
    """One inverter, or several in parallel behind one cable. Options: see config.json."""

    kind = "inverter"

    def __init__(self, device: DeviceSettings) -> None:
        self.name = device.name
        self._options = options = Options.of(device.options)
        self._units: Units | None = None
        if options.parallel:
            self._units = Units(device.name, options.parallel, device.every_s, options.parts)
        self.groups: Sequence[Group] = groups(device.every_s, options.parallel)
        self.warnings = self._doubts(self.groups[0])
        counts = PI18 if options.counts_per_kwh is None else PI18_COUNTING
        self._dialects = {"pi30": PI30, "pi18": counts}
        self._dialect = self._dialects.get(options.protocol, PI30)
        self._is_met = False  # it has answered at all, in its dialect
        self._silences = 0  # of the status, in a row
        self._may_be_other = False
        self._faults = Faults(_log)
        self._asker = Asker(options.timeout_s, options.counts_per_kwh)
        self._asker.protocol_question = self._dialect.protocol_question
        self.forget()

    @staticmethod
    def check_link(url: str, devices: Sequence["Voltronic"]) -> None:
        """Raise ConfigError where several entries would show the one inverter of a cable."""
        if len(devices) > 1:
            names = " and ".join(device.name for device in devices)
            raise ConfigError(
                f"link: {names} are on one cable, '{url}', and would show the same inverter; give"
                " each its own, or write one entry with parallel: 2 for those that work in parallel"
            )

    def forget(self) -> None:
        """Forget what was learned: another inverter may be plugged in."""
        self._asker.forget()
        self._asker.layout = self._options.layout
        self._who: Values = {}
        self._unasked: list[str] = []
        self._other_protocol = ""
        if self._units is not None:
            self._units.forget()

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

    @property
    def parts(self) -> Mapping[str, Part]:
        """Give the units in parallel."""
        return self._units.parts if self._units is not None else {}

    def poll(self, link: Link, group: str) -> Values | Parts:
        """Ask one group. Raise FrameError, LinkError."""
        match group:
            case "status":
                return self._whole_status(link)
            case "settings":
                return self._settings(link)
            case "energy":
                return self._energy(link)
            case "identity":
                self._identify(link)
                return {}
            case _:
                return self._asker.gather(link, *self._dialect.groups[group])

    # ------------------------------------------------------------------ the groups

    def _whole_status(self, link: Link) -> Values | Parts:
        values = self._status(link)
        if self._units is None:
            return values
        found, totals = self._units.poll(partial(self._asker.query, link), self._dialect)
        return Parts({_ITSELF: {**values, **totals}, **found})

    def _status(self, link: Link) -> Values:
        self._look_who(link)
        values = self._first_status(link)
        if self._dialect is PI30 and self._asker.layout is None:
            for name in _NOT_ON_REVO:
                values.pop(name, None)
        one = values.get("pv_01_w")
        for command in self._dialect.beside:
            beside = self._asker.perhaps(link, command)
            if command == "QPIGS2":
                _add_second(values, one, beside)
            values |= beside or {}
        return values

    def _first_status(self, link: Link) -> Values:
        """Ask the question that makes the beat, of an inverter that may speak another dialect."""
        dialect = self._dialect
        try:
            values = self._asker.query(link, dialect.status)
        except Nak as refusal:
            self._recognise(link)
            if self._dialect is dialect:
                told = f"it refuses {dialect.status} (NAK); is it starting or updating?"
                raise FrameError(told) from refusal
            values = self._asker.query(link, self._dialect.status)
        except Silence as error:
            self._silences += 1
            self._may_be_other = self._silences % (_DOUBTED if self._is_met else 1) == 0
            if self._is_met:
                raise
            raise Silence(f"{error}; {_NEVER_HEARD}") from error
        self._is_met, self._silences = True, 0
        # In parallel some PI18 units say nothing but zeros here, and the truth by the unit.
        return values if self._dialect is PI30 or _says_anything(values) else {}

    def _settings(self, link: Link) -> Values:
        asker = self._asker
        values = asker.gather(link, *self._dialect.groups["settings"])
        if asker.layout is None and ("topology" in values or not asker.knows("QPIRI")):
            # 21 fields, which end with the topology: Revo V02. All others have more.
            revo = "topology" in values and "output_mode" not in values
            asker.layout = Layout.REVO if revo else Layout.PI30
        self._look_for_others(values)
        return values

    def _look_for_others(self, values: Values) -> None:
        """Tell the owner once that there are others in parallel, which could be read, too."""
        if self._units is not None:
            self._units.doubt()
        elif values.get("output_mode_code"):
            self._faults.report(
                "parallel",
                f"{self.name}: it is set to be one of several in parallel; write parallel: 2,"
                " or as many as there are, to see each of them",
            )

    def _energy(self, link: Link) -> Values:
        """Ask the counters; those of a day, month or year by the inverter's own date."""
        asker, dialect = self._asker, self._dialect
        values = asker.gather(link, dialect.clock)
        return asker.gather(link, *dialect.counted(str(values.get("device_time", ""))))

    def _identify(self, link: Link) -> None:
        """Ask who it is. After a failure the next turn goes on where this one stopped."""
        before = self.identity
        self._unasked = self._unasked or list(self._dialect.identity)
        while self._unasked:
            self._who |= self._asker.optional(link, self._unasked[0])
            del self._unasked[0]
            self._judge(self._who)
        if before.firmware and before != self.identity:
            self._asker.forget()  # a new firmware may know more

    # ------------------------------------------------------------------ protocols

    def _look_who(self, link: Link) -> None:
        """Find out what is there where that is in doubt. Raise FrameError for what is foreign."""
        if self._other_protocol:
            self._recognise(link)
        is_doubted, self._may_be_other = self._may_be_other, False
        if is_doubted and self._options.protocol == "auto":
            # A PI18 unit may be silent to questions of PI30. One question at a turn.
            other = self._dialects["pi18" if self._dialect is PI30 else "pi30"]
            said = self._asker.step(link, other.protocol_question)
            if said.startswith(other.protocol_answer):
                self._speak(other)

    def _judge(self, who: Values) -> None:
        """Take to the protocol that it names. Raise FrameError when that is none of ours."""
        protocol = str(who.get("protocol", self._dialect.protocol))
        found = next((d for d in self._dialects.values() if protocol.startswith(d.protocol)), None)
        self._other_protocol = ""
        if found is self._dialect:
            return
        if found is not None and self._options.protocol == "auto":
            self._speak(found)
            return
        self._other_protocol = protocol
        what = _OTHER_PROTOCOLS.get(protocol[:4], "another device")
        expected = "PI30 or PI18; this bridge cannot ask it"
        if found is not None:
            expected = f"{self._dialect.protocol}, as its option protocol says; write auto"
        raise FrameError(f"it speaks {protocol} ({what}), expected {expected}")

    def _speak(self, dialect: Dialect) -> None:
        _log.info("%s: it speaks %s", self.name, dialect.protocol)
        self._dialect = dialect
        self._asker.protocol_question = dialect.protocol_question
        self._asker.forget()
        self._unasked = []

    def _recognise(self, link: Link) -> None:
        """Find out what it is that refuses the status. Raise FrameError unless it is ours."""
        for dialect in self._dialects.values():
            try:
                who = self._asker.query(link, dialect.protocol_question)
            except FrameError:
                continue
            self._judge(who)
            self._who |= who
            return
        raise FrameError("it answers neither QPI nor ^P005PI; see which protocols the README names")

    def _doubts(self, beat: Group) -> Sequence[str]:
        """Doubt a beat that has no room for what is asked in it."""
        if not self._options.parallel or beat.wire_s <= beat.every_s:
            return ()
        return (
            f"every: {self._options.parallel} units in parallel take {beat.wire_s:.1f} s at 2400"
            f" baud; write every: {beat.wire_s + 1:.0f}s or more",
        )


def _add_second(values: Values, one: object, second: Values | None) -> None:
    """Sum up the PV inputs. Refused means that there is one; a layout of its own gives no sum."""
    if second is None:
        return
    two = second.get("pv_02_w") if second else 0
    if isinstance(one, int | float) and isinstance(two, int | float):
        values["pv_w"] = one + two


def _says_anything(values: Values) -> bool:
    numbers = (value for name, value in values.items() if not name.endswith("_code"))
    return any(value for value in numbers if isinstance(value, int | float))


BRIDGE = Voltronic
