"""One device: what it has said, how long that counts, and when it makes a reading."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from bridges.mqtt.codec import Said
from bridges.mqtt.counters import Counter
from bridges.mqtt.rules import Condition, Conditions, Group, Sort
from heliobus.contract import Contract
from heliobus.listener import Heard, Moment, Reading
from heliobus.sample import Values

# A field, or one text of a list.
Key: TypeAlias = str | tuple[str, str]

_AGE = "data_age_s"
# Clocks of two computers differ; a time further ahead than this is wrong.
_AHEAD_S = 60.0
_NO_GROUP = Group()


@dataclass(slots=True)
class _Entry:
    """One value, when it came, and to which group it belongs."""

    value: Any
    came_s: float
    group: str


@dataclass(slots=True)
class _Kept:
    """A counter that is shown on; `day` where it ends with that day."""

    value: Any
    day: int | None


class Device:
    """One device of a map. `heard` is what others see of it."""

    def __init__(
        self,
        heard: Heard,
        sort: Sort,
        *,
        contract: Contract,
        inverted: frozenset[str],
        silent_s: float,
        now: Moment,
    ) -> None:
        self.heard = heard
        self.sort = sort
        self.stated: bool | None = None  # what its own topics say of its being online
        self.has_value = False  # since the connection
        self.alive_since_s: float | None = None
        self._contract = contract
        self._inverted = inverted
        self._silent_s = silent_s
        self._entries: dict[Key, _Entry] = {}
        self._kept: dict[str, _Kept] = {}
        self._counters: dict[str, Counter | None] = {}
        self._conditional = {one.field for group in sort.groups.values() for one in group.while_}
        self._data_ms: int | None = None
        self._now = now
        self._spoke_s = now.s
        self._spoken = False
        self._first_s = self._last_s = 0.0
        self._pending = False
        self._reading_s = -math.inf

    # ------------------------------------------------------------------ what is said

    def take(self, said: Said, now: Moment, *, live: bool) -> tuple[list[str], list[str]]:
        """Take in what a message says. Give why some of it is refused, and what is to be logged."""
        self._now = now
        self._take_info(said.info)
        if live:
            self._spoke_s, self._spoken = now.s, True
            self.alive_since_s = now.s if self.alive_since_s is None else self.alive_since_s
        if said.online is not None:
            self.stated = said.online
        if not live and not said.rule.use_retained:
            return [], []
        if said.time_ms is not None:
            self._data_ms = said.time_ms
        refused, logs = list(said.faults), list[str]()
        changed = self._take_values(said, now, (refused, logs))
        if said.gone:
            changed |= self._gone(said)
        elif (said.values or said.flags) and live and self.stated is False:
            self.stated = None  # it speaks again
        says_values = bool(said.values or said.flags)
        if changed or (says_values and said.rule.beat):
            self._first_s = self._first_s if self._pending else now.s
            self._last_s, self._pending = now.s, True
        return refused, logs

    def _take_info(self, info: Mapping[str, str]) -> None:
        if not info:
            return
        facts = dict(info)
        self.heard.title = facts.pop("title", self.heard.title)
        if facts:
            self.heard.identity = replace(self.heard.identity, **facts)

    def _take_values(self, said: Said, now: Moment, told: tuple[list[str], list[str]]) -> bool:
        """Take in each value. Give whether anything is other than before."""
        name_of_group = said.rule.group
        group = self.sort.groups.get(name_of_group, _NO_GROUP)
        changed = False
        found: dict[Key, Any] = {}
        found.update(said.values)
        found.update(said.flags)
        keys = list(found)
        if len(keys) > 1 and self._conditional:  # what conditions hang on comes first
            keys.sort(key=lambda key: key not in self._conditional)
        for key in keys:
            value = found[key]
            if value is not None and key not in self._conditional and not self._holds(group.while_):
                continue
            if value is not None and isinstance(key, str):
                value = self._judged(key, value, now, told)
                if value is None:
                    changed |= self._remove(key)
                    continue
            changed |= self._put(key, value, _Entry(value, now.s, name_of_group))
        if said.rule.whole:
            gone = [k for k, e in self._entries.items() if e.group == name_of_group]
            for key in set(gone).difference(keys):
                changed |= self._remove(key)
        return changed

    def _put(self, key: Key, value: Any, entry: _Entry) -> bool:
        if value is None:
            return self._remove(key)
        old = self._entries.get(key)
        self._entries[key] = entry
        self.has_value = True
        if self._kept:
            self._kept.pop(key, None)  # type: ignore[arg-type]
        if old is not None and old.value == value:
            return False
        if key in self._conditional:
            self._end_groups()
        return True

    def _remove(self, key: Key) -> bool:
        if self._entries.pop(key, None) is None:
            return False
        if key in self._conditional:
            self._end_groups()
        return True

    def _judged(
        self, name: str, value: Any, now: Moment, told: tuple[list[str], list[str]]
    ) -> Any | None:
        """Give a value that its field may have and that can be true; None for none."""
        known = self._contract.field(self.heard.kind, name)
        if known is None:  # the owner has chosen a kind that lacks it
            return None
        if name in self._inverted and isinstance(value, int | float):
            value = -value + 0
        good, bad = self._contract.strict(self.heard.kind, {name: value})
        if bad:
            told[0].extend(bad.values())
            return None
        counter = self._counter(name, known.state_class)
        if counter is None:
            return good[name]
        verdict = counter.judge(value, now.s, _day(now.ms))
        told[0].extend([verdict.refused] * bool(verdict.refused))
        told[1].extend([verdict.log] * bool(verdict.log))
        return verdict.kwh

    def _counter(self, name: str, state_class: str) -> Counter | None:
        try:
            return self._counters[name]
        except KeyError:
            found = None
            if name.endswith("_kwh") and state_class == "total_increasing":
                found = Counter(name, self.sort.most_kw, today=_is_of_today(name))
            self._counters[name] = found
            return found

    def _gone(self, said: Said) -> bool:
        """Let go of the device when all of its values are gone."""
        if said.values and self._entries:
            return False
        self.stated = False
        self.forget()
        return False

    # ------------------------------------------------------------------ what holds

    def _holds(self, conditions: Conditions) -> bool:
        for one in conditions:
            entry = self._entries.get(one.field)
            if entry is None or not _is(entry.value, one):
                return False
        return True

    def _end_groups(self) -> None:
        """Let go of the values whose conditions hold no longer."""
        for name, group in self.sort.groups.items():
            if not group.while_ or self._holds(group.while_):
                continue
            for key in [k for k, e in self._entries.items() if e.group == name]:
                if key in self._conditional:
                    continue
                entry = self._entries.pop(key)
                if group.keep_counters and isinstance(key, str) and self._counters.get(key):
                    day = _day(self._now.ms) if _is_of_today(key) else None
                    self._kept[key] = _Kept(entry.value, day)

    def _expire(self) -> None:
        """Let go of what has not come again."""
        for key, entry in list(self._entries.items()):
            lasts_s = self.sort.groups.get(entry.group, _NO_GROUP).lasts_s
            if lasts_s is not None and self._now.s - entry.came_s > lasts_s:
                self._remove(key)
        if self._kept:
            today = _day(self._now.ms)
            kept = self._kept.items()
            self._kept = {k: one for k, one in kept if one.day is None or one.day == today}

    def forget(self) -> None:
        """Forget all values: they are not shown again before they come again."""
        self._entries.clear()
        self._kept.clear()
        self._pending = False
        self._data_ms = None

    def begin_anew(self, now: Moment) -> None:
        """Forget what was heard on a connection that is lost."""
        self.forget()
        self.has_value = self._spoken = False
        self.alive_since_s = self.stated = None
        self._spoke_s = now.s
        self._now = now
        self.heard.online = None

    # ------------------------------------------------------------------ what is due

    def look(self, now: Moment, *, reached: bool) -> None:
        """Note whether it is online; `reached`: what it is reached through does not say offline."""
        self._now = now
        online: bool | None = self.stated
        if online is None and self._spoken:
            online = True
        if not reached or now.s - self._spoke_s > self._silent_s:
            online = False
        if online is False and self.heard.online is not False:
            self.forget()
            self.alive_since_s = None
        self.heard.online = online

    def reading(self, now: Moment, *, at_once: bool = False) -> Reading | None:
        """Give a reading when one is complete; None: not yet."""
        self._now = now
        if self._pending:
            quiet_s, most_s = self.sort.quiet_s or 0.0, self.sort.most_s
            over = now.s - self._last_s >= quiet_s or now.s - self._first_s >= most_s
            if not (over or at_once):
                return None
            measured_s = self._last_s
        elif self._reading_s < self._spoke_s and (now.s - self._reading_s >= self.sort.heartbeat_s):
            measured_s = self._spoke_s
        else:
            return None
        self._pending = False
        self._expire()
        values = self._values()
        if not values:
            return None
        self._reading_s = measured_s
        return Reading(self.heard.name, values, measured_s)

    def _values(self) -> Values:
        values: dict[str, Any] = {name: one.value for name, one in self._kept.items()}
        lists: dict[str, list[str]] = {}
        for key, entry in self._entries.items():
            if isinstance(key, str):
                values[key] = entry.value
            else:
                listed = lists.setdefault(key[0], [])
                if entry.value:
                    listed.append(key[1])
        for name, texts in lists.items():
            own = values.get(name)
            values[name] = sorted({*texts, *(own if isinstance(own, list) else ())})
        if not values:
            return {}
        self._derive(values)
        self._add_age(values)
        return values

    def _derive(self, values: dict[str, Any]) -> None:
        for name, lines in self.sort.derive.items():
            if self._contract.field(self.heard.kind, name) is None:
                continue
            for value, conditions in lines:
                if all(_is(values.get(one.field), one) for one in conditions):
                    values[name] = value
                    break

    def _add_age(self, values: dict[str, Any]) -> None:
        of_s = values.get(self.sort.age) if self.sort.age else None
        data_ms = int(of_s * 1000) if of_s else self._data_ms
        if data_ms is None or self._contract.field(self.heard.kind, _AGE) is None:
            return
        age_s = (self._now.ms - data_ms) / 1000
        good, _ = self._contract.strict(self.heard.kind, {_AGE: round(max(age_s, 0.0), 1)})
        if age_s > -_AHEAD_S:
            values.update(good)


def _is(value: Any, condition: Condition) -> bool:
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


def _is_of_today(name: str) -> bool:
    return "_today_" in name


def _day(ms: int) -> int:
    """Give a number for the local day."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone().toordinal()
