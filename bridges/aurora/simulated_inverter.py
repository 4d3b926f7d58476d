"""A simulated Aurora inverter: what one address answers, and when it is silent."""

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from zlib import crc32

from bridges.aurora import frame
from heliobus.house import House, wander

_EPOCH_S = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_NO_COMMAND, _NO_VARIABLE = 51, 52
RUN: Final = 6
# As the sun rises: its share of a clear noon with which one wakes up, and those below which each
# global state holds, and the alarm. All of that is before the panels give anything.
_WAKES = 0.01
_DAWN = ((0.012, 30, 1), (0.014, 1, 1), (0.017, 2, 0))
_VOLTS, _HERTZ = 230.0, 50.0  # of a house that is off the mains
_KEPT_ALARMS = 4
_SPANS = ("today", "week", "month", "year", "total", "partial")


@dataclass(frozen=True, slots=True)
class Variant:
    """What one model has. `strings` are the shares of its DC inputs."""

    title: str
    version: str
    peak_w: float
    strings: tuple[float, ...] = (1.0,)
    phases: int = 1
    float_energies: bool = False
    part: str = "-3G79-"
    firmware: str = "C018"


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "pvi36": Variant("PVI-3.6-OUTD: two strings, one phase", "3ENN", 3600.0, (0.54, 0.46)),
        "trio": Variant(
            "TRIO-27.6-TL-OUTD: two strings, three phases, energies as floats",
            "YINN",
            27_600.0,
            (0.5, 0.5),
            phases=3,
            float_energies=True,
            part="-3P75-",
            firmware="A120",
        ),
        "uno": Variant("UNO-2.0-I: one string, one phase", "gKTN", 2000.0, part="-3M47-"),
    }
)


class Inverter:
    """One inverter in the house. `alarms` is its list of the last, which reading empties.

    `alarm` is an alarm that is there now; `clock_ahead_s` is how wrong its clock is; `refusals`
    are transmission states by command or by (command, index); `writes` counts what it was told
    to do and did not.
    """

    def __init__(self, name: str, variant: Variant, house: House) -> None:
        self.variant = variant
        self.serial = f"{crc32(name.encode()) % 1_000_000:06}"
        self.clock_ahead_s = 21
        self.alarm = 0
        self.alarms: list[int] = []
        self.refusals: dict[int | tuple[int, int], int] = {}
        self.awake: bool | None = None  # True, False: whatever the sun does
        self.asked: Counter[int] = Counter()
        self.writes = 0
        self.polls = 0
        self._in_beat = False
        self._house = house
        self._array = house.array(name, variant.peak_w, coupled=True)
        self._counted = house.count(lambda: {"pv": self._array.w})
        self._peak_w = self._peak_today_w = 0.0
        self._warned = 0
        house.watch(self._watch)
        self._measures = self._made_measures()

    def warn(self, code: int) -> None:
        """Keep an alarm in the list of the last four."""
        self.alarms = [*self.alarms, code][-_KEPT_ALARMS:]

    def answer(self, head: bytes) -> bytes:
        """Give the six bytes of an answer, b"" for none."""
        command, index = head[1], head[2]
        with self._house:
            if self._sleeps():
                return b""
            self.asked[command] += 1
            if command not in frame.READS:
                self.writes += 1
                return self._say(_NO_COMMAND)
            state = self.refusals.get(command, self.refusals.get((command, index), 0))
            return self._say(state) if state else self._told(command, index)

    def answered(self, head: bytes) -> None:
        """Learn that an answer went out whole; the output power ends a beat of the bridge."""
        if head[1] == frame.STATE:
            self._in_beat = True
        elif head[1:3] == bytes((frame.MEASURE, 3)) and self._in_beat:
            self._in_beat = False
            self.polls += 1

    # ------------------------------------------------------------------ what it says

    def _sleeps(self) -> bool:
        return self._house.sun < _WAKES if self.awake is None else not self.awake

    def _state(self) -> tuple[int, int]:
        """Give the global state and the alarm of this moment."""
        if self.alarm:
            return RUN, self.alarm
        rising = (each[1:] for each in _DAWN if self._house.sun < each[0])
        return next(rising, (RUN, 0)) if self.awake is None else (RUN, 0)

    def _say(self, transmission: int, data: bytes = bytes(4)) -> bytes:
        return bytes((transmission, self._state()[0])) + data

    def _told(self, command: int, index: int) -> bytes:
        by_float = self.variant.float_energies
        if command == frame.SERIAL:
            return self.serial.encode()
        if command == frame.PART:
            return self.variant.part.encode()
        if command == frame.MEASURE:
            return self._floating(self._measures.get(index))
        if command == frame.ENERGY and not by_float and index < len(_ENERGY_SPANS):
            return self._say(0, int(self._count(_ENERGY_SPANS[index])).to_bytes(4))
        if command == frame.FLOAT_ENERGY and by_float and index in _FLOAT_SPANS:
            return self._floating(lambda: self._count(_FLOAT_SPANS[index]))
        data = self._data(command)
        return self._say(_NO_COMMAND) if data is None else self._say(0, data)

    def _data(self, command: int) -> bytes | None:
        known: Mapping[int, Callable[[], bytes]] = {
            frame.STATE: self._states,
            frame.VERSION: self.variant.version.encode,
            frame.FIRMWARE: self.variant.firmware.encode,
            frame.MADE: lambda: b"2315",
            frame.CLOCK: lambda: self._since_2000_s().to_bytes(4),
            frame.LAST_10_S: lambda: min(int(self._array.w * 10), 0xFFFF).to_bytes(2) + bytes(2),
            frame.SETUP: lambda: bytes(4),
            frame.ALARMS: self._emptied,
        }
        return known[command]() if command in known else None

    def _states(self) -> bytes:
        state, alarm = self._state()
        runs = 2 * (state == RUN)
        second = runs * (len(self.variant.strings) > 1)
        return bytes((runs, runs, second, alarm))

    def _since_2000_s(self) -> int:
        return int(self._house.now_s - _EPOCH_S) + self.clock_ahead_s

    def _emptied(self) -> bytes:
        codes, self.alarms = self.alarms, []
        return bytes(codes).ljust(_KEPT_ALARMS, b"\0")

    def _floating(self, value: Callable[[], float] | None) -> bytes:
        if value is None:
            return self._say(_NO_VARIABLE)
        return self._say(0, struct.pack(">f", value()))

    def _count(self, span: str) -> float:
        span = "total" if span == "partial" else span
        return float(getattr(self._counted, span)["pv"])

    def _watch(self, is_new: bool) -> None:  # noqa: FBT001 - as the house calls it
        alarm = 0 if self._sleeps() else self._state()[1]
        if alarm and alarm != self._warned:
            self.warn(alarm)
        self._warned = alarm
        self._peak_today_w = 0.0 if is_new else max(self._peak_today_w, self._array.w)
        self._peak_w = max(self._peak_w, self._array.w)

    # ------------------------------------------------------------------ what it measures

    def _made_measures(self) -> Mapping[int, Callable[[], float]]:
        house, array = self._house, self._array
        phases = self.variant.phases
        measures: dict[int, Callable[[], float]] = {
            1: self._volts,
            2: lambda: array.w / phases / self._volts(),
            3: lambda: array.w,
            4: lambda: house.mains_hz or _HERTZ,
            5: lambda: 360.0 + 40.0 * house.sun,
            7: lambda: 0.004 + 0.003 * house.sun,
            21: lambda: 24.0 + 30.0 * array.w / array.peak_w,
            22: lambda: 23.0 + 24.0 * array.w / array.peak_w,
            30: lambda: 19.6 - 4.0 * wander(house.now_s, f"{array.name} Riso"),
            34: lambda: self._peak_w,
            35: lambda: self._peak_today_w,
        }
        for at, share in enumerate(self.variant.strings):
            power, volts, amperes = ((8, 23, 25), (9, 26, 27))[at]
            measures[power] = lambda share=share: array.w * share  # type: ignore[misc]
            measures[volts] = self._string_v
            measures[amperes] = lambda share=share: array.w * share / self._string_v()  # type: ignore[misc]
        for phase in range(phases if phases > 1 else 0):
            measures[61 + phase] = self._volts
            measures[39 + phase] = measures[2]
            measures[42 + phase] = measures[4]
        return measures

    def _volts(self) -> float:
        return self._house.mains_v or _VOLTS

    def _string_v(self) -> float:
        return 220.0 + 160.0 * min(1.0, 4.0 * self._house.sun)


_ENERGY_SPANS = ("today", "week", "week", "month", "year", "total", "partial")
_FLOAT_SPANS: Mapping[int, str] = MappingProxyType(
    dict(zip((1, 2, 3, 4, 6, 7), _SPANS, strict=True))
)
