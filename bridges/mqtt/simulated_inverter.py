"""Simulated micro-inverters of Hoymiles: their strings, their day, their counters.

They live from their strings alone: at night they are silent, and the counter of the day begins
anew when they wake up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from heliobus.house import House, wander

_AWAKE_W = 3.0
_EFFICIENCY = 0.953
_STRING_PEAK_W = 415.0
STRING_MOST_W: Final = 420  # as the owner has set it for each string
# What the strings of a roof get of the same sun.
_SHARES = (1.0, 0.94, 0.97, 0.83)
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


class Inverter:
    """A simulated inverter, which feeds into the house what the sun gives it.

    `present` False: out of reach. `glitch` strikes the counters of the next answer: "spike" or
    "drop". Both may be changed at any time. `evening`: when it fell asleep, in the time of the
    house, and its last answer before. `clock` is that of the DTU. Where the house lives faster,
    energies rise as that clock allows: who hears of them knows what a power gives in a time.
    """

    def __init__(
        self,
        model: Model,
        number: int,
        house: House,
        *,
        clock: Callable[[], float],
        serial: str = "",
        dtu: str = "opendtu",
    ) -> None:
        self.model = model
        self.serial = serial or f"{model.prefix}{0x72608275 + number:08x}"
        self.name = f"Roof {number + 1}"
        self.present = True
        self.glitch = ""
        self.stored_limit_percent = 100.0
        self.evening: tuple[float, Answer] | None = None
        self._limit_percent, self._on = 100.0, True
        self._house = house
        shares = _SHARES[: model.strings]
        self._shares = [share / sum(shares) for share in shares]
        peak_w = _STRING_PEAK_W * sum(shares) * _EFFICIENCY
        self._array = house.array(f"{dtu} {self.serial}", peak_w, coupled=True)
        self._array.most_w = model.rated_w
        self._counters = house.count(lambda: {"w": self._array.w})
        self._awake = False
        self._clock = clock
        self._before_wh = 0.0  # counted today before it was last restarted
        # The clock, the house and what that had counted, when the DTU last heard of it.
        self._seen: tuple[float, float, float] | None = None
        self._ahead_wh = self._ahead_today_wh = 0.0
        house.watch(self._note)

    @property
    def limit_percent(self) -> float:
        """Give how much of its rated power it may give."""
        return self._limit_percent

    @property
    def on(self) -> bool:
        """Say whether it is switched on."""
        return self._on

    @on.setter
    def on(self, on: bool) -> None:
        self._on = on
        self._set()

    def answer(self) -> Answer | None:
        """Answer the DTU. None: it is asleep, or out of reach."""
        with self._house:
            self._look()
            if not self._awake or not self.present:
                return None
            self._keep_pace()
            answer, glitch, self.glitch = self._answer(), self.glitch, ""
        if not glitch:
            return answer
        total_wh = _SPIKE_WH if glitch == "spike" else 0
        first = replace(answer.strings[0], total_wh=total_wh)
        return replace(answer, strings=(first, *answer.strings[1:]))

    def limit(self, percent: float, *, stored: bool) -> None:
        """Limit its power. What is not stored is forgotten overnight."""
        self._limit_percent = percent
        if stored:
            self.stored_limit_percent = percent
        self._set()

    def restart(self) -> None:
        """Start anew, as after a night."""
        self._before_wh, self._ahead_today_wh = self._counters.today["w"], 0.0
        self.limit(self.stored_limit_percent, stored=True)

    def _set(self) -> None:
        self._array.most_w = self.model.rated_w * self._limit_percent / 100 * self._on

    def _note(self, is_new_day: bool) -> None:  # noqa: FBT001 - as the house calls it
        if is_new_day:
            self._before_wh = self._ahead_today_wh = 0.0
        self._look()

    def _look(self) -> None:
        """Wake up with the sun, and fall asleep when it is gone."""
        awake = self._array.possible_w > _AWAKE_W
        if awake and not self._awake:
            self.restart()
        if self._awake and not awake:
            self.evening = (self._house.now_s, self._answer())
        self._awake = awake

    def _keep_pace(self) -> None:
        """Note how far what the house has counted is ahead of what the DTU may be told."""
        clock_s, house_s, total_wh = self._clock(), self._house.now_s, self._counters.total["w"]
        seen_s, lived_s, before_wh = self._seen or (clock_s, house_s, total_wh)
        if self._seen is None or house_s != lived_s:
            self._seen = clock_s, house_s, total_wh
        if house_s > lived_s:
            share = min(1.0, max(0.0, (clock_s - seen_s) / (house_s - lived_s)))
            self._ahead_wh += (total_wh - before_wh) * (1.0 - share)
            self._ahead_today_wh += (total_wh - before_wh) * (1.0 - share)

    def _answer(self) -> Answer:
        now_s, array = self._house.now_s, self._array
        power_w = round(min(array.w, array.most_w), 1)
        powers_w = [round(power_w / _EFFICIENCY * share, 1) for share in self._shares]
        today_wh = max(0.0, self._counters.today["w"] - self._before_wh - self._ahead_today_wh)
        total_wh = self._counters.total["w"] - self._ahead_wh
        strings = []
        for at, string_w in enumerate(powers_w):
            of_voltage = at - at % 2 if self.model.pairs else at
            v = round(29.0 + 7.0 * powers_w[of_voltage] / _STRING_PEAK_W, 1)
            energies = (int(each * self._shares[at]) for each in (today_wh, total_wh))
            strings.append(String(v, round(string_w / v, 2), string_w, *energies))
        grid_v = round(229.0 + 4.0 * wander(now_s, "volts"), 1)
        return Answer(
            tuple(strings),
            v=grid_v,
            a=round(power_w / grid_v, 2),
            w=power_w,
            hz=round(49.97 + 0.06 * wander(now_s, "hertz"), 2),
            power_factor=1.0 if power_w else 0.0,
            var=round(power_w * 0.004, 1),
            celsius=round(14.0 + power_w / self.model.rated_w * 30.0, 1),
        )
