"""Counters of energy: what of them can be true. They only rise, and only as fast as power allows.

Seen in the field: a total that is 0 after a restart, one that leaps by a million for one message,
one that wavers in its last digit. An archive keeps such a value for ever.
"""

from dataclasses import dataclass

JITTER = 0.01
# So long, and so often, a counter has to go on from another place before that is believed.
BELIEVED_S, BELIEVED_TIMES = 600.0, 30
# What is late: a message is sent some time after its value was taken.
_LATE_S = 60.0
# Counters of today begin anew: at most this much is "about zero".
_ABOUT_ZERO_KWH = 0.05
_ABOUT_ZERO = 0.02
_WHOLE_STEP_KWH, _STEP_KWH = 1.0, 0.1
# The first value follows none; but nothing has run at its full power for longer than this.
_LIFE_YEARS = 30
_LIFE_H = _LIFE_YEARS * 8766.0
_DAY_H = 25.0  # that of the change to winter time


@dataclass(slots=True)
class _Place:
    """Where a counter was seen, and since when and how often it has gone on from there."""

    kwh: float
    seen_s: float
    since_s: float
    times: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be shown (None: nothing), why the value is refused, what is to be logged."""

    kwh: float | None
    refused: str = ""
    log: str = ""


class Counter:
    """One counter of one device. `today`: it begins anew each day."""

    def __init__(self, name: str, most_kw: float, *, today: bool) -> None:
        self._name = name
        self._most_kw = most_kw
        self._today = today
        self._good: _Place | None = None
        self._other: _Place | None = None
        self._day = 0

    def judge(self, kwh: float, now_s: float, day: int) -> Verdict:
        """Judge a new value; `day` is the number of the local day."""
        good = self._good
        if good is None:
            return self._first(kwh, now_s, day)
        if kwh < good.kwh:
            return self._falls(good, kwh, now_s, day)
        if self._can_rise(good, kwh, now_s):
            return self._take(kwh, now_s, day)
        known = self._other is not None and self._goes_on(self._other, kwh, now_s)
        taken = self._elsewhere(kwh, now_s, day)
        return taken or Verdict(None, "" if known else self._leap(good, kwh, now_s))

    def _falls(self, good: _Place, kwh: float, now_s: float, day: int) -> Verdict:
        if self._today and (day != self._day or _about_zero(kwh, good.kwh)):
            return self._take(kwh, now_s, day)
        held = good.kwh if kwh >= good.kwh * (1 - JITTER) else None
        return self._elsewhere(kwh, now_s, day) or Verdict(held)

    def _first(self, kwh: float, now_s: float, day: int) -> Verdict:
        most_h, told = (_DAY_H, "a day") if self._today else (_LIFE_H, f"{_LIFE_YEARS} years")
        if kwh <= self._most_kw * most_h:
            return self._take(kwh, now_s, day)
        return Verdict(
            None,
            f"{self._name}: found {kwh:.12g} kWh: more than {self._most_kw:g} kW give in {told};"
            " most_kw of the map says so",
        )

    def _take(self, kwh: float, now_s: float, day: int) -> Verdict:
        self._good = _Place(kwh, now_s, now_s)
        self._other = None
        self._day = day
        return Verdict(kwh)

    def _elsewhere(self, kwh: float, now_s: float, day: int) -> Verdict | None:
        """Note a value that cannot follow; it is taken once it has gone on for long enough."""
        other = self._other
        if other is None or not self._goes_on(other, kwh, now_s):
            self._other = _Place(kwh, now_s, now_s)
            return None
        other.kwh, other.seen_s, other.times = kwh, now_s, other.times + 1
        if other.times < BELIEVED_TIMES or now_s - other.since_s < BELIEVED_S:
            return None
        was = self._good.kwh if self._good else 0.0
        self._take(kwh, now_s, day)
        log = (
            f"{self._name}: it was {was:.12g} kWh, and has gone on from {kwh:.12g} kWh for"
            f" {BELIEVED_S / 60:.0f} minutes; counting from there"
        )
        return Verdict(kwh, log=log)

    def _goes_on(self, place: _Place, kwh: float, now_s: float) -> bool:
        return kwh >= place.kwh * (1 - JITTER) and self._can_rise(place, kwh, now_s)

    def _can_rise(self, place: _Place, kwh: float, now_s: float) -> bool:
        # A counter that shows whole kWh rises by one at a time.
        step = _WHOLE_STEP_KWH if kwh == int(kwh) and place.kwh == int(place.kwh) else _STEP_KWH
        most = self._most_kw * (now_s - place.seen_s + _LATE_S) / 3600
        return kwh - place.kwh <= most + step

    def _leap(self, good: _Place, kwh: float, now_s: float) -> str:
        return (
            f"{self._name}: found {kwh:.12g} kWh, {now_s - good.seen_s:.0f} s after"
            f" {good.kwh:.12g} kWh: more than {self._most_kw:g} kW can give; most_kw of the map"
            " says so"
        )


def _about_zero(kwh: float, was: float) -> bool:
    return kwh <= max(_ABOUT_ZERO_KWH, was * _ABOUT_ZERO)
