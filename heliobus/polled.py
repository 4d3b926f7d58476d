"""A device that is asked, as the loop on its link sees it: what is due, carried, known, and how.

A gateway answers for others, too: each of them, and the device itself, is a `Member`.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from heliobus.bridge import Bridge, Gateway, Group, Part, Parts, Sleeper
from heliobus.sample import Values
from heliobus.settings import DeviceSettings

LONGEST_BACK_OFF_S = 60.0
# A port that is gone costs nobody anything, and is wanted as soon as it is there again.
LONGEST_REOPEN_S = 2.0
# So many beats in a row without an answer: the device counts as offline.
MISSED_BEATS = 2
# A group that fits in no gap between beats is asked all the same after waiting so many beats.
PATIENCE_BEATS = 3
# What is silent for longer does not sleep: outside the polar circles a night has less than a day,
# and the rest is for snow and fog in the morning.
LONGEST_SLEEP_S = 36 * 3600.0
ITSELF = ""  # the name of the part that is no part
_SHARES = (0.50, 0.95)


def back_off_s(failures: int) -> float:
    """Give how long to wait after so many failures in a row: 1, 2, 4 ... 60 s."""
    return min(LONGEST_BACK_OFF_S, 2.0 ** min(failures - 1, 10))


class Presence(Enum):
    """Whether a device is there. One that is asleep is available, and silent."""

    ONLINE = "online"
    ASLEEP = "asleep"
    OFFLINE = "offline"


class Member:
    """One device on the bus: what is asked, or a part of it."""

    def __init__(self, device: "Polled", part: str) -> None:
        self.device = device
        self.part = part
        self.presence: Presence | None = None
        self.samples = 0
        self.missed = 0  # in all
        self.missed_beats = 0  # in a row
        self.cadence_s: dict[str, float] = {}  # of every field published so far
        self._about = Part("")

    @property
    def name(self) -> str:
        """Give its name on the bus."""
        if self.part == ITSELF:
            return self.device.name
        return self.about.name or f"{self.device.name}_{self.part}"

    @property
    def about(self) -> Part:
        """Give what it is, as far as is known; while it is offline, what it was."""
        bridge, options = self.device.bridge, self.device.settings.options
        if self.part == ITSELF:
            if self.presence is not Presence.OFFLINE or not self._about.kind:
                role: str = options.get("role", "") or getattr(bridge, "role", "")
                self._about = Part(bridge.kind, bridge.identity, role)
        elif isinstance(bridge, Gateway):  # which may have forgotten what is behind it
            self._about = bridge.parts.get(self.part, self._about)
        return self._about

    def show(self, published: Values) -> None:
        """Note which fields are published; another thread may be reading."""
        every_s = self.device.every_s
        new = {n: every_s[self.part, n] for n in published if n not in self.cadence_s}
        if new:
            self.cadence_s = {**self.cadence_s, **new}


class Polled:
    """One device that is asked: what is due when, what is carried, how it went."""

    def __init__(self, settings: DeviceSettings, bridge: Bridge[Any]) -> None:
        self.settings = settings
        self.name = settings.name
        self.bridge = bridge
        self.allowed = False
        self.longest_back_off_s = (
            LONGEST_REOPEN_S if getattr(bridge, "listens", False) else LONGEST_BACK_OFF_S
        )
        self.polls = 0
        self.errors = 0
        self.error = ""
        self.every_s: dict[tuple[str, str], float] = {}  # of every part's field so far
        self.itself = Member(self, ITSELF)
        self._members = {ITSELF: self.itself}
        self._beat_is_late = False
        self._durations_s: deque[float] = deque(maxlen=200)
        self._carried: dict[str, dict[str, Values]] = {}  # by the group and the part
        self._due_s: dict[str, float] = {}
        self._failures: Counter[str] = Counter()  # of each group, in a row
        self._sleeps_since_s: float | None = None

    @property
    def beat(self) -> Group:
        """Give the group that publishes."""
        return self.bridge.groups[0]

    @property
    def failures(self) -> int:
        """Count the beats in a row that have failed."""
        return self._failures[self.beat.name]

    @property
    def members(self) -> list[Member]:
        """Give the device itself and what is known to be behind it; from any thread."""
        if isinstance(self.bridge, Gateway):
            for part in self.bridge.parts:
                self._members.setdefault(part, Member(self, part))
        return list(self._members.values())

    def member(self, part: str) -> Member:
        """Give one of them."""
        return self._members.setdefault(part, Member(self, part))

    def begin(self, now_s: float) -> None:
        """Start anew on a freshly opened link: the beat first, then all others."""
        self._carried.clear()
        self._due_s = {group.name: now_s for group in self.bridge.groups}

    def lost(self, now_s: float) -> None:
        """Carry nothing on: its connection was lost, and is there again. The beat has its time."""
        self._carried.clear()
        for group in self.bridge.groups[1:]:
            self._due_s[group.name] = now_s

    def next(self, now_s: float) -> tuple[float, Group]:
        """Give the group to ask next and when."""
        beat = self.beat
        beat_s = self._due_s[beat.name]
        if self.failures or self.itself.presence is not Presence.ONLINE:
            return beat_s, beat
        others = self.bridge.groups[1:]
        # The one that has waited longest comes first: where time is short, all get their turn.
        for group in sorted(others, key=lambda one: self._due_s.setdefault(one.name, now_s)):
            due_s = self._due_s[group.name]
            fits = now_s + group.wire_s <= beat_s
            waited = now_s - due_s > min(PATIENCE_BEATS * beat.every_s, group.every_s)
            # One that does not fit makes a beat late, so the next one waits for that beat.
            if due_s <= now_s and (fits or (waited and not self._beat_is_late)):
                self._beat_is_late = not fits
                return due_s, group
        return beat_s, beat

    def asked(self, group: Group, now_s: float) -> None:
        """Plan the next turn of a group: on its fixed cadence, missed turns left out."""
        due_s = self._due_s[group.name]
        if math.isinf(group.every_s):
            self._due_s[group.name] = math.inf
            return
        self._due_s[group.name] = due_s + group.every_s * max(
            1, math.ceil((now_s - due_s) / group.every_s)
        )

    def took(
        self, group: Group, answer: Values | Parts, duration_s: float
    ) -> Mapping[str, Values] | None:
        """Take in an answer; give the whole samples by the part where it was the beat."""
        self.polls += 1
        self._durations_s.append(duration_s)
        self._failures[group.name] = 0
        parts = self._told(answer, group)
        if group.name != self.beat.name:
            self._carried[group.name] = dict(parts)
            return None
        self._sleeps_since_s = None
        self._beat_is_late = False
        self.error = ""
        return {part: {**self._carried_of(part), **values} for part, values in parts.items()}

    def _told(self, answer: Values | Parts, group: Group) -> Mapping[str, Values]:
        """Give an answer by the part, and note how often its fields come."""
        parts = answer.values if isinstance(answer, Parts) else {ITSELF: answer}
        for part, values in parts.items():
            self.every_s |= {(part, name): group.every_s for name in values}
        return parts

    def _carried_of(self, part: str) -> Values:
        merged: Values = {}
        for carried in self._carried.values():
            merged.update(carried.get(part, {}))
        return merged

    def absent(self, answered: Iterable[str]) -> list[Member]:
        """Note which parts are not in a beat's answer; give those that have missed two.

        Of these nothing is carried.
        """
        there = {ITSELF, *answered}
        absent = [member for member in self.members if member.part not in there]
        for part in there:
            self.member(part).missed_beats = 0
        for member in absent:
            member.missed_beats += 1
            member.missed += member.presence is Presence.ONLINE
        gone = [member for member in absent if member.missed_beats >= MISSED_BEATS]
        for carried in self._carried.values():
            for member in gone:
                carried.pop(member.part, None)
        return gone

    def failed(self, group: Group, error: str, now_s: float) -> None:
        """Note that a group was not answered: its old values are dropped."""
        self.errors += 1
        self.error = error
        self._carried.pop(group.name, None)
        self._failures[group.name] += 1
        due_s = self._due_s[group.name]
        if group.name != self.beat.name:  # what has turns of five minutes is not missed for so long
            due_s = min(due_s, now_s + LONGEST_BACK_OFF_S)
        self._due_s[group.name] = max(due_s, now_s + self.pause_s(group))

    def pause_s(self, group: Group) -> float:
        """Give for how long a group is let be after its failures, 0 where there are none."""
        failures = self._failures[group.name]
        return min(back_off_s(failures), self.longest_back_off_s) if failures else 0.0

    def slept(self, now_s: float) -> None:
        """Note that a silent device is asleep, which is no error: only its beat is asked now."""
        self._failures[self.beat.name] += 1
        if self._sleeps_since_s is None:
            self._sleeps_since_s = now_s
        self.error = ""
        self.begin(now_s + back_off_s(self.failures))

    def asleep(self, now_s: float, *, lost: bool) -> Mapping[str, Values] | None:
        """Give what a silent device says in its sleep; None: it should be awake.

        `lost`: its link is gone.
        """
        since_s = now_s if self._sleeps_since_s is None else self._sleeps_since_s
        if not isinstance(self.bridge, Sleeper) or now_s - since_s > LONGEST_SLEEP_S:
            return None
        said = self.bridge.asleep(lost=lost)
        return None if said is None else self._told(said, self.beat)

    def percentiles_ms(self) -> tuple[float, float] | None:
        """Give the median and the 95th percentile of the time of a poll."""
        rising_s = sorted(self._durations_s)
        if not rising_s:
            return None
        half_s, most_s = (rising_s[round(share * (len(rising_s) - 1))] for share in _SHARES)
        return round(half_s * 1000, 1), round(most_s * 1000, 1)
