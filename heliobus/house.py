"""The simulated house: one sun, one battery, one mains; each simulated device shows its part.

    house = House(clock)
    roof = house.array("tristar_1", 3200.0)      # all join before anybody looks
    kitchen = house.inverter("axpert")
    with house:                                  # now, and nobody moves it meanwhile
        roof.w, kitchen.output_w, house.soc

Wires and converters lose nothing, so at any moment `pv_w + grid_w` is `load_w + battery_w`, and
what the devices show adds up. Everything follows from the clock, the seed and who has joined,
whoever looks when and how often: between two full minutes all that is counted goes on as it was
at the first. What nobody shows is there all the same: a house with a lone meter has a roof, too.
Signs are those of the contract.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from threading import RLock
from typing import Final, Self, TypeVar

from heliobus.counters import Counters

T = TypeVar("T")

DAY_S: Final = 86400.0
RATED_V: Final = 48.0
CELLS: Final = 16  # in a row, of lithium iron phosphate

_STEP_S, _COARSE_S = 60.0, 600.0
_CLOUD_S, _LOAD_S = 1500.0, 600.0
_FIRST_SOC = 0.55
_LEAST_SOC = 0.05
# The mains (or a generator) takes over below the first, and lets go above the second.
_MAINS_FROM_SOC, _MAINS_TO_SOC = 0.15, 0.35
_FULL_WITHIN = 12.0  # charging slows down over the last twelfth
_USUAL_PEAK_W = 5200.0
_PEAK_PER_LOAD_W = 4000.0  # so that a summer day fills the battery after noon
_USUAL_WH, _HOURS_OF_PEAK = 15_360.0, 3.0
_CHARGE_RATE, _MAINS_CHARGE = 0.4, 0.3  # of the capacity in an hour, of that by the mains
_SCALES, _DAWN = (0.4, 3.0), 0.018
_UNSEEN = "not shown"  # no device can have this name


def chance(what: str) -> float:
    """Give a number from 0 to 1 that depends on nothing but the text."""
    return int.from_bytes(blake2b(what.encode(), digest_size=4).digest()) / 2**32


def wander(now_s: float, what: str, period_s: float = _LOAD_S) -> float:
    """Give smooth noise from 0 to 1 that depends on nothing but the time and the text."""
    at, part = divmod(now_s / period_s, 1.0)
    ends = [chance(f"{what} {at + k:.0f}") for k in (0, 1)]
    smooth = part * part * (3.0 - 2.0 * part)
    return ends[0] + (ends[1] - ends[0]) * smooth


@dataclass
class Array:
    """Panels with a converter of their own. `w` is what they give, `possible_w` what they could.

    The converter takes `most_w` of it, which may be changed at any time.
    """

    name: str
    peak_w: float
    w: float = 0.0
    possible_w: float = 0.0
    most_w: float = math.inf


@dataclass
class Inverter:
    """A battery inverter, which carries a circuit of the house, with panels of its own if any.

    `coupled`: solar inverters that feed into its output. All powers of one moment, in W.
    """

    name: str
    array: Array | None = None
    coupled: list[Array] = field(default_factory=list)
    load_w: float = 0.0
    grid_w: float = 0.0

    @property
    def pv_w(self) -> float:
        """Give what its own panels give."""
        return self.array.w if self.array else 0.0

    @property
    def coupled_w(self) -> float:
        """Give what solar inverters feed into its output."""
        return sum(array.w for array in self.coupled)

    @property
    def output_w(self) -> float:
        """Give what it delivers at its output; negative: it is fed."""
        return self.load_w - self.coupled_w

    @property
    def battery_w(self) -> float:
        """Give what it puts into the battery."""
        return self.pv_w + self.grid_w - self.output_w


@dataclass
class Bank:
    """A battery with a manager of its own, one of those that lie in parallel."""

    name: str
    capacity_wh: float = 0.0
    w: float = 0.0


class House:
    """The flows of the house. Its day is that of the clock, in seconds since 1970, as local time.

    `sun` is the share of a clear noon's sun. `on_mains`: the mains carries the loads and charges;
    a house in which nothing stores lives on it, and feeds into it. Enter it to look at it.
    """

    def __init__(self, clock: Callable[[], float] = time.time, *, seed: int = 1) -> None:
        self.clock = clock
        self.seed = seed
        self.now_s = clock()
        self.soc = _FIRST_SOC
        self.sun = self.load_w = self.pv_w = self.battery_w = self.grid_w = 0.0
        self.on_mains = False
        self._arrays: dict[str, Array] = {}
        self._coupled: list[Array] = []
        self._inverters: dict[str, Inverter] = {}
        self._banks: dict[str, Bank] = {}
        self._has_chargers = False
        self._coupler: Inverter | None = None
        self._counters: list[tuple[Counters, Callable[[], Mapping[str, float]]]] = []
        self._rates: list[Mapping[str, float]] = []  # of the last full step
        self._charging_w = 0.0
        self._watching: list[Callable[[bool], None]] = []
        self._scale = 1.0
        self.capacity_wh = _USUAL_WH
        self._lock = RLock()
        self._looking = 0
        self._stores = self._is_old = False

    # ------------------------------------------------------------------ joining

    def array(self, name: str, peak_w: float, *, coupled: bool = False) -> Array:
        """Join with panels: those of a charge controller, or `coupled`, of a solar inverter."""
        array = self._new(self._arrays, name, Array(name, peak_w))
        if coupled:
            self._coupled.append(array)
        else:
            self._has_chargers = True
        return array

    def inverter(self, name: str, *, pv_w: float = 0.0, couples: bool = False) -> Inverter:
        """Join as a battery inverter; `pv_w`: the peak of its own panels.

        `couples`: it takes what solar inverters feed into its output.
        """
        inverter = self._new(self._inverters, name, Inverter(name))
        if pv_w:
            inverter.array = self._new(self._arrays, name, Array(name, pv_w))
        if couples and self._coupler is None:
            self._coupler = inverter
        return inverter

    def bank(self, name: str) -> Bank:
        """Join as a battery. The house says how large it is."""
        return self._new(self._banks, name, Bank(name))

    def count(self, rates: Callable[[], Mapping[str, float]]) -> Counters:
        """Have rates counted: `rates` is called at each step, and gives W for Wh, A for Ah."""
        self._check_young("counters")
        counters = Counters()
        self._counters.append((counters, rates))
        return counters

    def watch(self, step: Callable[[bool], None]) -> None:
        """Have `step` called at each full step; it is told whether a new day has begun."""
        self._check_young("a watcher")
        self._watching.append(step)

    def _new(self, known: dict[str, T], name: str, one: T) -> T:
        self._check_young(name)
        if name in known:
            raise ValueError(f"{name!r} is in the house already")
        known[name] = one
        return one

    def _check_young(self, what: str) -> None:
        if self._is_old:
            raise RuntimeError(f"{what} joins too late: the house has been looked at")

    # ------------------------------------------------------------------ looking

    def __enter__(self) -> Self:
        """Let it live until now, and hold it there; whoever holds it may enter it again."""
        self._lock.acquire()
        self._looking += 1
        try:
            if self._looking == 1:
                self._begin()
                self._live_until(self.clock())
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let others look."""
        self._leave()

    def _leave(self) -> None:
        self._looking -= 1
        self._lock.release()

    @property
    def time(self) -> datetime:
        """Give the time in the house."""
        return datetime.fromtimestamp(self.now_s, UTC)

    @property
    def night(self) -> bool:
        """Say whether the sun is too low for panels to give anything."""
        return self.sun < _DAWN

    @property
    def solar_w(self) -> float:
        """Give what a meter of solar panels shows: those that are coupled, or all if none is."""
        return sum(array.w for array in self._coupled) if self._coupled else self.pv_w

    @property
    def battery_v(self) -> float:
        """Give the battery voltage: it follows the charge, and sags under load."""
        return RATED_V + 1.5 + 5.0 * self.soc + 5.0 * self.battery_w / self.capacity_wh

    @property
    def battery_a(self) -> float:
        """Give the battery current, positive while charging."""
        return self.battery_w / self.battery_v

    @property
    def charge_limit_w(self) -> float:
        """Give the most that may go into the battery now."""
        most_w = _CHARGE_RATE * self.capacity_wh
        return most_w * min(1.0, (1.0 - self.soc) * _FULL_WITHIN)

    @property
    def mains_v(self) -> float:
        """Give the voltage of the mains; 0 where there is none now."""
        return 229.0 + 3.0 * wander(self.now_s, f"{self.seed} volts") if self.on_mains else 0.0

    @property
    def mains_hz(self) -> float:
        """Give the frequency of the mains; 0 where there is none now."""
        return 49.97 + 0.06 * wander(self.now_s, f"{self.seed} hertz") if self.on_mains else 0.0

    # ------------------------------------------------------------------ living

    def _begin(self) -> None:
        """Add what nobody shows, and live through yesterday and today until now, roughly."""
        if self._is_old:
            return
        self._stores = bool(self._inverters or self._banks or self._has_chargers)
        self._complete()
        self._is_old = True
        now_s = self.now_s
        self.now_s = now_s // DAY_S * DAY_S - DAY_S
        self._settle()
        self._steps(now_s // DAY_S * DAY_S, _COARSE_S)
        for counters, _ in self._counters:
            counters.begin(self.time)
        self._steps(now_s // _COARSE_S * _COARSE_S, _COARSE_S)
        self._steps(now_s, _STEP_S)

    def _complete(self) -> None:
        if not self._arrays:
            self.array(_UNSEEN, _USUAL_PEAK_W, coupled=not self._stores)
        if not self._inverters or (self._coupled and self._coupler is None):
            self.inverter(_UNSEEN, couples=True)
        self._banks = self._banks or {_UNSEEN: Bank(_UNSEEN)}
        coupler = self._coupler or next(iter(self._inverters.values()))
        coupler.coupled = self._coupled
        peak_w = sum(array.peak_w for array in self._arrays.values())
        least, most = _SCALES
        scale = peak_w / _PEAK_PER_LOAD_W / len(self._inverters)
        self._scale = min(most, max(least, scale))
        self.capacity_wh = max(_USUAL_WH, _HOURS_OF_PEAK * peak_w)
        for bank in self._banks.values():
            bank.capacity_wh = self.capacity_wh / len(self._banks)

    def _live_until(self, now_s: float) -> None:
        """Let time pass; a clock that was set back changes nothing but the clock."""
        if now_s - self.now_s > 2 * DAY_S:
            self._reach(now_s - now_s % DAY_S)  # a clock that jumped: do not live all of it
        self._steps(now_s, _STEP_S)
        if self.now_s != now_s:
            self.now_s = now_s
            self._settle()

    def _steps(self, until_s: float, step_s: float) -> None:
        while self.now_s < until_s:
            end_s = self.now_s - self.now_s % step_s + step_s
            hours = (min(end_s, until_s) - self.now_s) / 3600.0
            for (counters, _), rates in zip(self._counters, self._rates, strict=True):
                counters.add(rates, hours)
            soc = self.soc + self._charging_w * hours / self.capacity_wh
            self.soc = min(1.0, max(_LEAST_SOC, soc))
            if end_s <= until_s:
                self._reach(end_s)
            else:
                self.now_s = until_s
                self._flow()

    def _reach(self, now_s: float) -> None:
        """Come to the end of a step."""
        before, self.now_s = self.time, now_s
        is_new = self.time.date() != before.date()
        if is_new:
            for counters, _ in self._counters:
                counters.new_day(before, self.time)
        self._settle()
        for step in self._watching:
            step(is_new)

    def _settle(self) -> None:
        """Balance the powers of this moment, and let all go on so for a step."""
        self._flow()
        self._rates = [rates() for _, rates in self._counters]
        self._charging_w = self.battery_w

    def _flow(self) -> None:
        """Balance the powers of this moment."""
        self.sun = self._sun()
        light = 0.0 if self.night else self.sun
        for array in self._arrays.values():
            array.possible_w = array.peak_w * light * (0.95 + 0.05 * chance(array.name))
        for inverter in self._inverters.values():
            inverter.load_w = self._load_w(inverter.name)
        self.load_w = sum(inverter.load_w for inverter in self._inverters.values())
        if self._stores:
            self._flow_with_battery()
        else:
            self._flow_into_mains()
        for bank in self._banks.values():
            bank.w = self.battery_w * bank.capacity_wh / self.capacity_wh

    def _flow_with_battery(self) -> None:
        self.on_mains = self.soc < (_MAINS_TO_SOC if self.on_mains else _MAINS_FROM_SOC)
        room_w = self.charge_limit_w
        charge_w = _MAINS_CHARGE * room_w if self.on_mains else 0.0
        carried_w = self.load_w if self.on_mains else 0.0
        self._use(self.load_w - carried_w + room_w - charge_w)
        for inverter in self._inverters.values():
            share_w = charge_w / len(self._inverters)
            inverter.grid_w = (inverter.load_w + share_w) if self.on_mains else 0.0
        self.grid_w = carried_w + charge_w
        self.battery_w = self.pv_w + self.grid_w - self.load_w

    def _flow_into_mains(self) -> None:
        self.on_mains, self.battery_w = True, 0.0
        self._use(math.inf)
        for inverter in self._inverters.values():
            inverter.grid_w = inverter.output_w
        self.grid_w = self.load_w - self.pv_w

    def _use(self, most_w: float) -> None:
        """Take from the panels what is wanted of them, from each the same share."""
        arrays = self._arrays.values()
        possible_w = sum(min(array.possible_w, array.most_w) for array in arrays)
        share = min(1.0, most_w / possible_w) if possible_w else 0.0
        for array in arrays:
            array.w = min(array.possible_w, array.most_w) * share
        self.pv_w = possible_w * share

    def _sun(self) -> float:
        hour = self.now_s % DAY_S / 3600.0
        height = max(0.0, math.sin(math.pi * (hour - 6.0) / 13.0)) ** 1.3
        clouds = max(0.0, wander(self.now_s, f"{self.seed} clouds", _CLOUD_S) - 0.45) / 0.55
        return float(height * (1.0 - 0.75 * clouds))

    def _load_w(self, name: str) -> float:
        hour = self.now_s % DAY_S / 3600.0
        habit_w = sum(
            peak_w * math.exp(-(((hour - at) / width) ** 2))
            for at, width, peak_w in ((7.5, 1.0, 700.0), (12.5, 2.5, 900.0), (20.0, 2.2, 900.0))
        )
        own = 0.85 + 0.3 * chance(f"{name} size")
        noise_w = 140.0 * wander(self.now_s, f"{self.seed} {name} load")
        return self._scale * own * (250.0 + habit_w + noise_w)
