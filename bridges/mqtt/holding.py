"""The values of one device: what of them can be true, and how long and when they count."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bridges.mqtt.cadence import Cadence
from bridges.mqtt.codec import Said
from bridges.mqtt.counters import IDLE_S, Counter, day_at, is_of_today
from bridges.mqtt.rules import Condition, Conditions, Group, Sort

if TYPE_CHECKING:
    from heliobus.bus import Message
    from heliobus.contract import Contract
    from heliobus.listener import Moment

# A field, or one text of a list.
Key: TypeAlias = str | tuple[str, str]

_NO_GROUP = Group()


@dataclass(slots=True)
class _Entry:
    """One value, when it came, to which group it belongs, and the message that brought it.

    `value` is what was said, on which conditions hang; `shown` what of it can be true.
    """

    value: Any
    came_s: float
    group: str
    message: "Message"
    shown: Any = None


@dataclass(slots=True)
class _Kept:
    """A counter that is shown on; `day` where it ends with that day."""

    value: Any
    day: int | None


class Holding:
    """Holds the values of one device.

    What belongs to a group with conditions waits until `settle`: its messages may be sent before
    the one that says whether they count. `refused` and `logs` are for whoever asks.
    """

    def __init__(
        self, sort: Sort, kind: str, contract: "Contract", inverted: frozenset[str]
    ) -> None:
        self.refused: list[tuple[Message, str]] = []
        self.logs: list[str] = []
        self._sort = sort
        self._kind = kind
        self._contract = contract
        self._inverted = inverted
        self._entries: dict[Key, _Entry] = {}
        self._waiting: dict[Key, _Entry] = {}
        self._kept: dict[str, _Kept] = {}
        self._counters: dict[str, Counter | None] = {}
        # Since when a group is said not to count, and how long counters cannot have risen.
        self._denied_s: dict[str, float] = {}
        self._idle_s: dict[str, float] = {}
        self._cadences = {
            name: Cadence() for name, group in sort.groups.items() if group.lasts_s is not None
        }
        self._conditional = {one.field for group in sort.groups.values() for one in group.while_}
        # What a group's own conditions hang on always counts.
        self._free = {
            name: {one.field for one in group.while_} for name, group in sort.groups.items()
        }

    @property
    def empty(self) -> bool:
        """Say whether there is no value of its own."""
        return not self._entries

    def forget(self, now: "Moment") -> None:
        """Forget all values: they are not shown again before they come again."""
        self._entries.clear()
        self._waiting.clear()
        self._kept.clear()
        self._note_idle(now.s)
        for cadence in self._cadences.values():
            cadence.pause()

    # ------------------------------------------------------------------ taking in

    def take(self, said: Said, message: "Message", now: "Moment") -> bool:
        """Take in what a message says. Give whether anything is other than before."""
        name = said.rule.group
        group = self._sort.groups.get(name, _NO_GROUP)
        if name in self._cadences:
            self._cadences[name].note(now.s)
        found: dict[Key, Any] = {}
        found.update(said.values)
        found.update(said.flags)
        holds = not group.while_ or self.holds(group.while_)
        changed = False
        for key, raw in found.items():
            value = -raw + 0 if key in self._inverted and isinstance(raw, int | float) else raw
            entry = _Entry(value, now.s, name, message)
            if not group.while_ or key in self._free[name]:
                changed |= self._judge(key, entry, now)
                continue
            self._waiting[key] = entry
            old = self._entries.get(key)
            changed |= holds and (None if old is None else old.value) != value
        return changed

    def settle(self, now: "Moment") -> None:
        """Judge what has waited by the conditions as they are now."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        # What other groups hang on comes first.
        for first in (self._conditional & waiting.keys(), waiting.keys() - self._conditional):
            holds = {name: self.holds(group.while_) for name, group in self._sort.groups.items()}
            for key, entry in waiting.items():
                if key in first and holds[entry.group]:
                    self._judge(key, entry, now)

    def _judge(self, key: Key, entry: _Entry, now: "Moment") -> bool:
        """Show a value that can be true. Give whether anything is other than before."""
        if entry.value is None:
            return self._remove(key, now)
        entry.shown = self._true(key, entry, now) if isinstance(key, str) else entry.value
        if entry.shown is None and key not in self._conditional:
            return self._remove(key, now)
        old = self._entries.get(key)
        self._entries[key] = entry
        if self._kept and isinstance(key, str) and entry.shown is not None:
            self._kept.pop(key, None)
        if old is not None and (old.value, old.shown) == (entry.value, entry.shown):
            return False
        if key in self._conditional:
            self._end_groups(now)
        return True

    def _remove(self, key: Key, now: "Moment") -> bool:
        if self._entries.pop(key, None) is None:
            return False
        if key in self._conditional:
            self._end_groups(now)
        return True

    def _true(self, name: str, entry: _Entry, now: "Moment") -> Any:
        """Give a value that its field may have and that can be true; None for none."""
        known = self._contract.field(self._kind, name)
        if known is None:  # the owner has chosen a kind that lacks it
            return None
        good, bad = self._contract.strict(self._kind, {name: entry.value})
        if bad:
            self.refused += [(entry.message, reason) for reason in bad.values()]
            return None
        counter = self._counter(name, known.state_class)
        if counter is None:
            return good[name]
        rising_s = entry.came_s - self._idle_s.get(entry.group, 0.0)
        verdict = counter.judge(entry.value, rising_s, day_at(now.ms))
        if verdict.refused:
            self.refused.append((entry.message, verdict.refused))
        if verdict.log:
            self.logs.append(verdict.log)
        return verdict.kwh

    def _counter(self, name: str, state_class: str) -> Counter | None:
        try:
            return self._counters[name]
        except KeyError:
            found = None
            if name.endswith("_kwh") and state_class == "total_increasing":
                found = Counter(name, self._sort.most_kw)
            self._counters[name] = found
            return found

    # ------------------------------------------------------------------ what holds

    def holds(self, conditions: Conditions) -> bool:
        """Say whether the fields are so; one that has not been heard of is not."""
        for one in conditions:
            entry = self._entries.get(one.field)
            if entry is None or not is_so(entry.value, one):
                return False
        return True

    def _end_groups(self, now: "Moment") -> None:
        """Let go of the values whose conditions hold no longer."""
        self._note_idle(now.s)
        for name, group in self._sort.groups.items():
            if not group.while_ or self.holds(group.while_):
                continue
            free = self._free[name]
            ended = [k for k, e in self._entries.items() if e.group == name and k not in free]
            if ended and name in self._cadences:
                self._cadences[name].pause()
            for key in ended:
                entry = self._entries.pop(key)
                counts = isinstance(key, str) and self._counters.get(key)
                if group.keep_counters and counts and entry.shown is not None:
                    self._kept[str(key)] = _Kept(entry.shown, _last_day(str(key), now))
            if not self._conditional.isdisjoint(ended):
                self._end_groups(now)

    def _note_idle(self, now_s: float) -> None:
        """Note how long each group is said not to count; of what is not said nothing is known."""
        for name, group in self._sort.groups.items():
            said = [(self._entries.get(one.field), one) for one in group.while_]
            if any(entry is not None and not is_so(entry.value, one) for entry, one in said):
                self._denied_s.setdefault(name, now_s)
            elif name in self._denied_s:
                idle_s = now_s - self._denied_s.pop(name) - IDLE_S
                self._idle_s[name] = self._idle_s.get(name, 0.0) + max(idle_s, 0.0)

    def expire(self, now: "Moment") -> bool:
        """Let go of what has not come again. Give whether there was any."""
        expired = []
        if self._cadences:
            lasts_s = {
                name: cadence.patience_s(self._sort.groups[name].lasts_s or 0.0)
                for name, cadence in self._cadences.items()
            }
            for key, entry in self._entries.items():
                if now.s - entry.came_s > lasts_s.get(entry.group, math.inf):
                    expired.append(key)
        for key in expired:
            self._remove(key, now)
        over = []
        if self._kept:
            today = day_at(now.ms).number
            over = [k for k, one in self._kept.items() if one.day not in (None, today)]
            for key in over:
                del self._kept[key]
        return bool(expired or over)

    def values(self) -> dict[str, Any]:
        """Give what is shown now."""
        values: dict[str, Any] = {name: one.value for name, one in self._kept.items()}
        lists: dict[str, set[str]] = {}
        for key, entry in self._entries.items():
            if isinstance(key, str):
                if entry.shown is not None:
                    values[key] = entry.shown
            else:
                listed = lists.setdefault(key[0], set())
                if entry.value:
                    listed.add(key[1])
        for name, texts in lists.items():
            own = values.get(name)
            values[name] = sorted(texts.union(own if isinstance(own, list) else ()))
        return values


def is_so(value: Any, condition: Condition) -> bool:
    """Say whether a value is as a condition wants it; one that is not there is not."""
    if value is None:
        return False
    if condition.value is not None:
        wanted = condition.value
        return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)
    if not isinstance(value, int | float):
        return False
    above, below = condition.above, condition.below
    return (above is None or value > above) and (below is None or value < below)


def _last_day(name: str, now: "Moment") -> int | None:
    """Give the day with which a kept counter ends; None: with none."""
    return day_at(now.ms).number if is_of_today(name) else None
