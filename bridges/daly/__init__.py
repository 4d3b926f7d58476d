"""Bridge to the battery managers of Daly that speak the A5 protocol over UART or RS485.

One question at a time, each answered by a frame or several that name their board, command and
number. The voltage, the current, the alarms and the cells are asked at every beat, the rest less
often. What a board does not answer is learned. Nothing is ever set.
"""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Final

from bridges.daly import frame, other
from bridges.daly.asking import FILLS, Asker
from bridges.daly.codec import (
    CELLS_PER_FRAME,
    NOT_SAID,
    PARTS,
    SENSORS_PER_FRAME,
    Values,
    counts_of,
    decode,
)
from bridges.daly.decoding import decode_line
from heliobus.bridge import Group, Identity
from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.faults import Faults
from heliobus.link import Echo, Link, Silence, open_link
from heliobus.quantities import seconds
from heliobus.settings import DeviceSettings

__all__ = ["BRIDGE", "Daly", "decode_line"]

_log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 0.5
_BYTE_S: Final = 10 / 9600
# How long boards take to answer (maland16/daly-bms-uart #31), and the least before a request.
_TURN_S: Final = 0.05 + 0.02

_STATUS: Final = (frame.VOLTAGE, frame.MOSFETS, frame.ALARMS, frame.CELL_RANGE, frame.CELLS)
_WHO: Final = ("serial", "model")
# Group, cadence, commands.
_SLOW: Final = (
    ("temperatures", 5.0, (frame.TEMPERATURE_RANGE, frame.TEMPERATURES)),
    ("balance", 10.0, (frame.COUNTS, frame.BALANCE)),
    ("limits", 300.0, (frame.CELL_LIMITS, frame.BATTERY_LIMITS)),
)
# What never changes, each in a group of its own: what fails is asked again, and nothing else.
_ONCE: Final = {
    "capacity": frame.RATED,
    "production": frame.PRODUCED,
    "serial": frame.CODE,
    "model": frame.HARDWARE,
}
_OF_SENSORS: Final = frozenset({frame.TEMPERATURE_RANGE, frame.TEMPERATURES})
# Frames of an answer; those of cells and sensors follow from their counts.
_FRAMES: Final = {**PARTS, frame.CELLS: 6}
# A command that has never answered counts as unknown to the board after so many tries.
_SILENCES: Final = 3
# Smaller currents flicker and may have either sign, or read 0.
_SURE_A: Final = 2.5
_LASTING_BEATS: Final = 10


class Daly:
    """One board. Options: `board`, `invert_current`, `timeout`."""

    kind = "battery"

    def __init__(self, device: DeviceSettings) -> None:
        self.name = device.name
        self.board: int = device.options.get("board", 1)
        self._sign = -1 if device.options.get("invert_current", False) else 1
        timeout_s = seconds(device.options.get("timeout", _TIMEOUT_S))
        self.groups: Sequence[Group] = _groups(device.every_s)
        self._asker = Asker(self.board, timeout_s)  # not forgotten: what is late may still come
        self._hosts = (self._asker.host, frame.APP) if self.board == 1 else (self._asker.host,)
        self._faults = Faults(_log)
        self._has_answered = False  # ever
        self._searches = 0
        self._probed: Link | None = None
        self._is_newer = False
        self.forget()

    @staticmethod
    def open_link(url: str, devices: Sequence["Daly"]) -> Link:  # noqa: ARG004 - all alike
        """Open the way to these boards."""
        return open_link(url, line={"baud": "9600"})

    @staticmethod
    def check_link(url: str, devices: Sequence["Daly"]) -> None:
        """Raise ConfigError where two devices are one board."""
        for one, another in combinations(devices, 2):
            if one.board == another.board:
                raise ConfigError(
                    f"board: {one.name} and {another.name} are both board {one.board} of '{url}';"
                    " write the 'board' of each, as it is set in Daly's program"
                )

    def forget(self) -> None:
        """Forget what was learned: another board may be there now."""
        self._is_found = False
        self._is_awake = False
        self._counts = NOT_SAID
        self._who: Values = {}
        self._answered: set[int] = set()
        self._silences: Counter[int] = Counter()
        self._contradictions = 0

    @property
    def identity(self) -> Identity:
        """Give what the board has said of itself so far."""
        if not self._has_answered:
            return Identity()
        return Identity(
            maker="Daly",
            model=str(self._who.get("model", "")),
            serial=str(self._who.get("serial", "")),
        )

    def asleep(self, *, lost: bool) -> Values | None:
        """Give what a silent board says: it sleeps, if it has ever been awake on this port."""
        return {"mode": "asleep"} if self._has_answered and not lost else None

    def poll(self, link: Link, group: str) -> Values:
        """Ask one group. Raise FrameError, LinkError."""
        if group == self.groups[0].name:
            return self._status(link)
        if group in _ONCE:
            values = self._once(link, _ONCE[group])
        else:
            commands = next(commands for name, _, commands in _SLOW if name == group)
            values = self._gather(link, commands)
        self._who |= {name: values.pop(name) for name in _WHO if name in values}
        return values

    # ------------------------------------------------------------------ the groups

    def _status(self, link: Link) -> Values:
        values = self._voltage(link)
        more: Sequence[int] = _STATUS[1:]
        if self._counts == NOT_SAID:
            more = (frame.COUNTS, *more)
        for command in more:
            try:
                values |= self._optional(link, command)
            except (Silence, Echo, LinkError):
                break  # it fell asleep meanwhile, or was unplugged; the next beat will tell
            except FrameError:
                continue
        return self._signed(values)

    def _voltage(self, link: Link) -> Values:
        """Ask what every board answers; find out first how it wants to be asked."""
        try:
            if self._is_found:
                answers = self._asker.ask(link, frame.VOLTAGE, patient=self._is_awake)
            else:
                answers = self._find(link)
        except (Silence, Echo):
            self._is_awake = False
            raise
        self._is_found = self._is_awake = self._has_answered = True
        self._is_newer = False
        return decode(frame.VOLTAGE, answers)

    def _find(self, link: Link) -> Sequence[bytes]:
        """Ask as a computer does, then as the app."""
        self._asker.fill = FILLS[self._searches % len(FILLS)]
        self._searches += 1
        silent: FrameError | None = None
        for host in self._hosts:
            self._asker.host = host
            try:
                return self._asker.ask(link, frame.VOLTAGE, patient=False)
            except Silence as error:
                silent = silent or error
            except Echo as error:
                silent = error
        self._asker.host = self._hosts[0]
        if self._has_answered:
            raise silent or Silence(f"board {self.board} is silent")
        if link is not self._probed:
            self._probed = link
            self._is_newer = other.is_newer(link, self.board, self._asker.timeout_s)
        if self._is_newer:
            raise FrameError(other.NAMED)
        kind = Echo if isinstance(silent, Echo) else Silence
        raise kind(
            f"{silent}; is its number {self.board}, and is it awake?"
            " See 'No answer?' in bridges/daly/README.md"
        )

    def _gather(self, link: Link, commands: Sequence[int]) -> Values:
        """Ask what the board knows of these. Raise when something failed and nothing came."""
        values: Values = {}
        failed: FrameError | None = None
        for command in commands:
            try:
                values |= self._optional(link, command)
            except (Silence, Echo) as error:
                failed = error
                break  # a silent board costs the timeouts of one command
            except FrameError as error:
                failed = error
        if failed is not None and not values:
            raise failed
        return values

    def _once(self, link: Link, command: int) -> Values:
        """Ask what never changes. Raise while it may still come; nothing when it does not."""
        try:
            answers = self._asker.ask(link, command, count=self._frames(command), patient=False)
            return decode(command, answers)
        except FrameError:
            self._silences[command] += 1
            if self._silences[command] < _SILENCES:
                raise
            return {}

    def _optional(self, link: Link, command: int) -> Values:
        """Ask what not every board knows; nothing when this one does not."""
        if self._silences[command] >= _SILENCES or self._is_absent(command):
            return {}
        is_known = command in self._answered
        try:
            answers = self._asker.ask(link, command, count=self._frames(command), patient=is_known)
        except (Silence, Echo):
            if is_known:
                raise
            self._silences[command] += 1
            return {}
        self._answered.add(command)
        if command == frame.MOSFETS and not any(answers[-1]):
            # What a restart leaves would say that both MOSFETs are open and nothing is in there.
            raise FrameError("all of 0x93 is zero: the board is starting, or has lost its values")
        values = decode(command, answers, self._counts)
        if command == frame.COUNTS:
            self._counts = counts_of(values)
        return values

    def _is_absent(self, command: int) -> bool:
        """Say that there is nothing to ask for: no sensor; or slots, and nobody knows how many."""
        if command in _OF_SENSORS and self._counts.sensors == 0:
            return True
        waits = command in {frame.CELLS, frame.TEMPERATURES} and self._counts == NOT_SAID
        return waits and self._silences[frame.COUNTS] < _SILENCES

    def _frames(self, command: int) -> int:
        """Give how many frames the answer has, 0 where nobody knows."""
        counts = self._counts
        if command == frame.CELLS:
            return math.ceil((counts.cells or 0) / CELLS_PER_FRAME)
        if command == frame.TEMPERATURES:
            return math.ceil((counts.sensors or 0) / SENSORS_PER_FRAME)
        return _FRAMES.get(command, 1)

    # ------------------------------------------------------------------ the sign

    def _signed(self, values: Values) -> Values:
        """Turn the current where its owner says so; tell where it contradicts the state."""
        for name in ("battery_a", "battery_w"):
            number = values.get(name)
            if self._sign < 0 and isinstance(number, float):
                values[name] = 0.0 - number
        amps, mode = values["battery_a"], values.get("mode")
        if not isinstance(amps, float) or mode is None:
            return values
        if mode in {"charging", "discharging"} and abs(amps) >= _SURE_A:
            contradicts = (amps > 0) != (mode == "charging")
            self._contradictions = self._contradictions + 1 if contradicts else 0
        return values | {"notices": self._notices(f"{amps:g} A, and it says {mode}")}

    def _notices(self, found: str) -> list[str]:
        if self._contradictions < _LASTING_BEATS:
            self._faults.over("sign", f"{self.name}: the sign of its current fits its state again")
            return []
        told = "the sign of the current contradicts the state"
        turn = "true" if self._sign > 0 else "false"
        self._faults.report(
            "sign",
            f"{self.name}: {told}: {found}; if it is charging when the sun shines, write"
            f" 'invert_current: {turn}'",
        )
        return [told]


def _groups(every_s: float) -> tuple[Group, ...]:
    slow = (
        Group(name, max(slow_s, every_s), _wire_s(commands)) for name, slow_s, commands in _SLOW
    )
    once = (Group(name, math.inf, _wire_s((command,))) for name, command in _ONCE.items())
    return (Group("status", every_s, _wire_s(_STATUS)), *slow, *once)


def _wire_s(commands: Sequence[int]) -> float:
    count = sum(1 + _FRAMES.get(command, 1) for command in commands)
    return count * frame.SIZE * _BYTE_S + len(commands) * _TURN_S


BRIDGE = Daly
