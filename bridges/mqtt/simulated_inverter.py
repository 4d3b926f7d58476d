"""Simulated micro-inverters of Hoymiles: their strings, their day, their counters.

Everything follows from the clock and the seed. An inverter lives from its strings alone: at night
it is silent, and its counter of the day begins anew when it wakes up.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType
from typing import Final

_DAY_S = 86400.0
_HOUR_S = 3600.0
_NOON = 12.0
_STEP_S = 120.0
_CLOUD_S = 420.0
_AWAKE_W = 3.0
_EFFICIENCY = 0.953
_STRING_PEAK_W = 415.0
STRING_MOST_W: Final = 420  # as the owner has set it for each string
# What the strings of a roof get of the same sun.
_SHARES = (1.0, 0.94, 0.97, 0.83)
# One after the other, strings have counted before the simulation began.
_EARLIER_WH = 412_000
_FEWER_WH = 23_500
# What owners have seen once, for one answer (tbnobody/OpenDTU issue 1022).
_SPIKE_WH = 2_113_405_000


@dataclass(frozen=True, slots=True)
class Model:
    """One model; `pairs`: two strings share the converter whose voltage is told."""

    type_name: str
    prefix: str
    rated_w: int
    strings: int
    pairs: bool = False


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "hm400": Model("HM-300/350/400-1T", "1121", 400, 1),
        "hm800": Model("HM-600/700/800-2T", "1141", 800, 2),
        "hm1500": Model("HM-1000/1200/1500-4T", "1161", 1500, 4, pairs=True),
    }
)


@dataclass(frozen=True, slots=True)
class String:
    """What an answer says of one string, in the steps in which it travels by radio."""

    v: float = 0.0
    a: float = 0.0
    w: float = 0.0
    today_wh: int = 0
    total_wh: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an inverter; all zeros is what a DTU has before the first."""

    strings: tuple[String, ...]
    v: float = 0.0
    a: float = 0.0
    w: float = 0.0
    hz: float = 0.0
    power_factor: float = 0.0
    var: float = 0.0
    celsius: float = 0.0


class Sun:
    """How much of the sun there is, 0 to 1. Its day is that of the clock, `shift_s` later."""

    def __init__(self, seed: int = 1, shift_s: float = 0.0) -> None:
        self.shift_s = shift_s
        self._seed = seed

    def hour(self, now_s: float) -> float:
        """Give the hour of its day."""
        return (now_s + self.shift_s) % _DAY_S / _HOUR_S

    def share(self, now_s: float) -> float:
        """Give its share at a moment."""
        height = math.sin(math.pi * (self.hour(now_s) - 6.0) / 13.0)
        return max(0.0, height) ** 1.3 * self._clouds(now_s) if height > 0.0 else 0.0

    def _clouds(self, now_s: float) -> float:
        at, part = divmod(now_s / _CLOUD_S, 1.0)
        ends = [Random(f"{self._seed} {at + k:.0f}").random() for k in (0, 1)]  # noqa: S311
        smooth = ends[0] + (ends[1] - ends[0]) * part * part * (3.0 - 2.0 * part)
        return 1.0 - 0.7 * max(0.0, smooth - 0.4) / 0.6


class Inverter:
    """A simulated inverter, which has lived since the noon or midnight before.

    `present` False: out of reach. `glitch` strikes the counters of the next answer: "spike" or
    "drop". All may be changed at any time.
    """

    def __init__(self, model: Model, number: int, sun: Sun, now_s: float) -> None:
        self.model = model
        self.serial = f"{model.prefix}{0x72608275 + number:08x}"
        self.name = f"Roof {number + 1}"
        self.present = True
        self.on = True
        self.glitch = ""
        self.limit_percent = self.stored_limit_percent = 100.0
        self.evening: tuple[float, Answer] | None = None  # its last answer before it fell asleep
        self._sun = sun
        self._number = number
        self._awake = False
        self._today_wh = [0.0] * model.strings
        self._total_wh = [float(_EARLIER_WH - _FEWER_WH * at) for at in range(model.strings)]
        hour = sun.hour(now_s)
        self._now_s = now_s - (hour if hour >= _NOON else hour + _NOON) * _HOUR_S
        self.live_until(now_s)

    def live_until(self, now_s: float) -> None:
        """Let time pass; a clock that was set back changes nothing but the clock."""
        if now_s - self._now_s > 2 * _DAY_S:
            self._now_s = now_s - _DAY_S  # a clock that jumped: do not live all of it
        while self._now_s < now_s:
            self._live(min(_STEP_S, now_s - self._now_s))
        self._now_s = now_s

    def answer(self) -> Answer | None:
        """Answer the DTU. None: it is asleep, or out of reach."""
        if not self._awake or not self.present:
            return None
        answer, glitch, self.glitch = self._answer(), self.glitch, ""
        if not glitch:
            return answer
        total_wh = _SPIKE_WH if glitch == "spike" else 0
        first = replace(answer.strings[0], total_wh=total_wh)
        return replace(answer, strings=(first, *answer.strings[1:]))

    def limit(self, percent: float, *, stored: bool) -> None:
        """Limit its power. What is not stored is forgotten overnight."""
        self.limit_percent = percent
        if stored:
            self.stored_limit_percent = percent

    def restart(self) -> None:
        """Start anew, as after a night."""
        self._today_wh = [0.0] * self.model.strings
        self.limit_percent = self.stored_limit_percent

    def _live(self, step_s: float) -> None:
        sun_w = self._strings_w(limited=False)
        awake = sum(sun_w) > _AWAKE_W
        if awake and not self._awake:
            self.restart()
        if self._awake and not awake:
            self.evening = (self._now_s, self._answer())
        self._awake = awake
        for at, power_w in enumerate(self._strings_w()):
            energy_wh = power_w * step_s / _HOUR_S if awake else 0.0
            self._today_wh[at] += energy_wh
            self._total_wh[at] += energy_wh
        self._now_s += step_s

    def _strings_w(self, *, limited: bool = True) -> list[float]:
        share = self._sun.share(self._now_s + 7.0 * self._number)
        powers_w = [_STRING_PEAK_W * share * each for each in _SHARES[: self.model.strings]]
        most_w = self.model.rated_w * self.limit_percent / 100 / _EFFICIENCY * self.on
        total_w = sum(powers_w)
        if limited and total_w > most_w:
            return [power_w * most_w / total_w for power_w in powers_w]
        return powers_w

    def _answer(self) -> Answer:
        powers_w = [round(power_w, 1) for power_w in self._strings_w()]
        strings = []
        for at, power_w in enumerate(powers_w):
            of_voltage = at - at % 2 if self.model.pairs else at
            v = round(29.0 + 7.0 * powers_w[of_voltage] / _STRING_PEAK_W, 1)
            energies = int(self._today_wh[at]), int(self._total_wh[at])
            strings.append(String(v, round(power_w / v, 2), power_w, *energies))
        power_w = round(sum(powers_w) * _EFFICIENCY, 1)
        grid_v = round(231.0 + 2.0 * math.sin(self._now_s / 170.0), 1)
        return Answer(
            tuple(strings),
            v=grid_v,
            a=round(power_w / grid_v, 2),
            w=power_w,
            hz=round(50.0 + 0.03 * math.sin(self._now_s / 90.0), 2),
            power_factor=1.0 if power_w else 0.0,
            var=round(power_w * 0.004, 1),
            celsius=round(14.0 + power_w / self.model.rated_w * 30.0, 1),
        )
