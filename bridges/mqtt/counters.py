"""Counters of energy: what of them can be true. An archive keeps a wrong value for ever.

A counter goes on from where it was and rises no faster than the device's power allows; what falls
or leaps is left out, and what does so again and again is another place where it may be.
Another place is believed once it has risen there and was seen there more often than at the one
before: more than 3 times, and never more than 30 times and for 10 minutes.
Zero proves nothing, as devices say it while they know nothing: a counter of a lifetime never goes
there, and that of a yield does not begin there; another may stay at zero for ever, as the export
of a house without PV, and is shown there.
A counter that begins anew may fall to about zero when a second message says so, and goes back at
once if it was an error; that of today may be what the power gives since midnight on a new day.
Time in which the device says that its values do not count, as in a night, allows the rise of one
hour at most; time in which nothing was heard allows all that the power gives.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

JITTER = 0.01
# A place loses when another was seen more often; so often, and for so long, is always enough.
LEAST_TIMES, MOST_TIMES = 3, 30
BELIEVED_S = 600.0
# So much of the time in which values did not count may have been spent at full power: a radio
# fails in the day, too.
IDLE_S = 3600.0
# What is late: a message is sent some time after its value was taken.
_LATE_S = 60.0
# At most this much is "about zero".
_ABOUT_ZERO_KWH = 0.05
_ABOUT_ZERO = 0.02
_WHOLE_STEP_KWH, _STEP_KWH = 1.0, 0.1
# The first value follows none; but nothing has run at its full power for longer than this.
_LIFE_YEARS = 30
_LIFE_H = _LIFE_YEARS * 8766.0
_SUMMER_TIME_H = 1.0  # as much longer or shorter a day may be


class Day(NamedTuple):
    """A local day, by its number, and how many hours of it have passed."""

    number: int
    hours: float


@dataclass(slots=True)
class _Place:
    """Where a counter is seen, and since when and how often it has gone on from there."""

    kwh: float
    seen_s: float
    since_s: float
    first_kwh: float
    times: int = 1
    was_good: bool = False

    def see(self, kwh: float, now_s: float) -> None:
        self.kwh, self.seen_s = kwh, now_s
        self.times += 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be shown (None: nothing), why the value is refused, what is to be logged."""

    kwh: float | None
    refused: str = ""
    log: str = ""


class Counter:
    """One counter of one device; its name says whether and when it begins anew."""

    def __init__(self, name: str, most_kw: float) -> None:
        self._name = name
        self._most_kw = most_kw
        self._today = is_of_today(name)
        self._anew = self._today or any(
            part in name for part in ("session_", "_partial_", "_resettable_")
        )
        self._may_be_zero = self._anew or "yield" not in name
        self._good: _Place | None = None
        self._other: _Place | None = None
        self._day = 0

    def judge(self, kwh: float, now_s: float, day: Day) -> Verdict:
        """Judge a new value; `now_s` leaves out the time in which the counter cannot have risen."""
        good = self._good
        if kwh <= 0 and good is None:
            return Verdict(kwh if self._may_be_zero else None)
        if self._fits(kwh, now_s, day):
            return self._go_on(kwh, now_s, day)
        known = self._other is not None and self._goes_on(self._other, kwh, now_s)
        if self._believes(kwh, now_s, day):
            return self._move(kwh, day)
        if good is not None and kwh < good.kwh:
            return Verdict(good.kwh if kwh >= good.kwh * (1 - JITTER) else None)
        return Verdict(None, "" if known else self._too_much(kwh, now_s))

    def _fits(self, kwh: float, now_s: float, day: Day) -> bool:
        """Say whether a value can follow, or be the first of all or of a day."""
        good = self._good
        if good is not None and kwh >= good.kwh and self._can_rise(good, kwh, now_s):
            return True
        first = good is None or (self._today and day.number != self._day)
        return first and kwh <= self._most_kwh(day)

    def _most_kwh(self, day: Day) -> float:
        return self._most_kw * (day.hours + _SUMMER_TIME_H if self._today else _LIFE_H)

    def _go_on(self, kwh: float, now_s: float, day: Day) -> Verdict:
        good = self._good
        if good is None or kwh < good.kwh:
            self._leave(_Place(kwh, now_s, now_s, kwh))
        else:
            good.see(kwh, now_s)
            if kwh > 0:
                self._other = None
        self._day = day.number
        return Verdict(kwh)

    def _leave(self, place: _Place) -> None:
        """Go to another place; from one that begins anew it may have been an error."""
        good, self._good = self._good, place
        self._other = good if self._anew and good is not None and place.kwh < good.kwh else None
        if self._other is not None:
            self._other.was_good = True

    def _believes(self, kwh: float, now_s: float, day: Day) -> bool:
        """Note a value that cannot follow. Say whether it is there that the counter goes on."""
        good, other = self._good, self._other
        if other is None or not self._goes_on(other, kwh, now_s):
            self._other = _Place(kwh, now_s, now_s, kwh)
            return False
        other.see(kwh, now_s)
        if other.was_good or (good is not None and self._begins_anew(kwh, good)):
            return True
        if kwh > self._most_kwh(day._replace(hours=24.0)):
            return False
        times = 0 if good is None else good.times
        if kwh <= other.first_kwh or other.times <= max(LEAST_TIMES, min(times, MOST_TIMES)):
            return False
        return times < MOST_TIMES or now_s - other.since_s >= BELIEVED_S

    def _begins_anew(self, kwh: float, good: _Place) -> bool:
        return self._anew and kwh <= max(_ABOUT_ZERO_KWH, good.kwh * _ABOUT_ZERO)

    def _move(self, kwh: float, day: Day) -> Verdict:
        good, other = self._good, self._other
        log = ""
        if good and other and not (other.was_good or self._begins_anew(kwh, good)):
            minutes = (other.seen_s - other.since_s) / 60
            log = (
                f"{self._name}: it was {good.kwh:.12g} kWh, and has gone on from"
                f" {other.first_kwh:.12g} kWh for {other.times} messages in {minutes:.0f} minutes;"
                " counting from there"
            )
        if other is not None:
            self._leave(other)
        self._day = day.number
        return Verdict(kwh, log=log)

    def _goes_on(self, place: _Place, kwh: float, now_s: float) -> bool:
        return kwh >= place.kwh * (1 - JITTER) and self._can_rise(place, kwh, now_s)

    def _can_rise(self, place: _Place, kwh: float, now_s: float) -> bool:
        # A counter that shows whole kWh rises by one at a time.
        step = _WHOLE_STEP_KWH if kwh == int(kwh) and place.kwh == int(place.kwh) else _STEP_KWH
        most = self._most_kw * (now_s - place.seen_s + _LATE_S) / 3600
        return kwh - place.kwh <= most + step

    def _too_much(self, kwh: float, now_s: float) -> str:
        good, found = self._good, f"{self._name}: found {kwh:.12g} kWh"
        if good is None:
            told = "since midnight" if self._today else f"in {_LIFE_YEARS} years"
            return (
                f"{found}: more than {self._most_kw:g} kW give {told}; most_kw of the map says so"
            )
        return (
            f"{found}, {now_s - good.seen_s:.0f} s after {good.kwh:.12g} kWh: more than"
            f" {self._most_kw:g} kW can give; most_kw of the map says so"
        )


def is_of_today(name: str) -> bool:
    """Say whether a counter begins anew each day."""
    return "_today_" in name


def day_at(ms: int) -> Day:
    """Give the local day of a moment."""
    local = datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone()
    return Day(local.toordinal(), local.hour + local.minute / 60)
