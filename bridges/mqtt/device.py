"""One device: whether it is there, and when what it has said makes a reading."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridges.mqtt.cadence import Cadence
from bridges.mqtt.codec import Said
from bridges.mqtt.holding import Holding, is_so
from bridges.mqtt.rules import Sort
from heliobus.listener import Heard, Moment, Reading

if TYPE_CHECKING:
    from heliobus.bus import Message
    from heliobus.contract import Contract

_AGE = "data_age_s"
# Clocks of two computers differ; a time further ahead than this is wrong.
_AHEAD_S = 60.0
# While it speaks and nothing changes, a sample so often.
_HEARTBEAT_S = 60.0
# What comes so soon after the word that it is offline was said before.
_IN_FLIGHT_S = 2.0
# So long a fault is told after it was found last.
_FAULT_S = 600.0
# What others expect changes seldom: Home Assistant is told anew each time.
_PACE_S = 3600.0


class Device:
    """One device of a map. `heard` is what others see of it.

    `silent_s` and whether it is `paced`: what its owner says, which its speaking does not change.
    """

    def __init__(
        self,
        heard: Heard,
        sort: Sort,
        *,
        contract: "Contract",
        inverted: frozenset[str],
        silent_s: float | None,
        paced: bool,
        now: Moment,
    ) -> None:
        self.heard = heard
        self.sort = sort
        self.holding = Holding(sort, heard.kind, contract, inverted)
        self.stated: bool | None = None  # what its own topics say of its being online
        self.has_value = False  # since the connection
        self.alive_since_s: float | None = None
        self._contract = contract
        self._silent_s = silent_s
        self._paced = paced
        self._speech, self._pace = Cadence(), Cadence(_PACE_S)
        self._data_ms: int | None = None
        self._off_s = -math.inf
        self._faults, self._fault_s = 0, now.s
        self._spoke_s = now.s
        self._spoken = False
        self._first_s = self._last_s = 0.0
        self._open = False  # messages have come that may belong together
        self._wanted = False  # and they make a reading
        self._reading_s = -math.inf

    # ------------------------------------------------------------------ what is said

    def take(self, said: Said, message: "Message", now: Moment) -> None:
        """Take in what a message says."""
        live = not message.retained
        self._take_info(said.info)
        if live:
            self._spoke_s, self._spoken = now.s, True
            self._speech.note(now.s)
            self.alive_since_s = now.s if self.alive_since_s is None else self.alive_since_s
        if said.online is not None:
            self.stated = said.online
            self._off_s = -math.inf if said.online else now.s
        if not live and not said.rule.use_retained:
            return
        self.holding.refused += [(message, fault) for fault in said.faults]
        if said.time_ms is not None:
            self._data_ms = said.time_ms
        changed = self.holding.take(said, message, now)
        if said.gone and (self.holding.empty or not said.values):
            self.stated = False
            self.forget(now)
        elif said.values or said.flags:
            self._note(now, wanted=changed or said.rule.beat)
            self.has_value |= said.something
            over = now.s - self._off_s >= _IN_FLIGHT_S
            if live and not said.gone and self.stated is False and over:
                self.stated = None  # it speaks again

    def _take_info(self, info: Mapping[str, str]) -> None:
        if not info:
            return
        facts = dict(info)
        self.heard.title = facts.pop("title", self.heard.title)
        if facts:
            self.heard.identity = replace(self.heard.identity, **facts)

    def _note(self, now: Moment, *, wanted: bool) -> None:
        """Let a reading become due. What a beat makes of it lasts from its first message."""
        if wanted and not self._wanted:
            self._wanted, self._first_s = True, now.s
        elif not self._open:
            self._first_s = now.s
        self._open, self._last_s = True, now.s

    def forget(self, now: Moment) -> None:
        """Forget all values: they are not shown again before they come again."""
        self.holding.forget(now)
        self._open = self._wanted = False
        self._data_ms = None
        self._pace.pause()

    def begin_anew(self, now: Moment) -> Reading | None:
        """Forget what was heard on a connection that is lost. Give what it has heard last."""
        last = self.reading(now, at_once=True) if self._open else None
        self.forget(now)
        self.has_value = self._spoken = False
        self.alive_since_s = self.stated = None
        self._spoke_s = now.s
        self._speech.pause()
        self.heard.online = None
        return last

    # ------------------------------------------------------------------ what is due

    def look(self, now: Moment, *, reached: bool) -> None:
        """Note whether it is online; `reached`: what it is reached through does not say offline."""
        online: bool | None = self.stated
        if online is None and self._spoken:
            online = True
        if online is False or not reached:
            online = False
            self._speech.pause()
        if now.s - self._spoke_s > self._patience_s:
            online = False
        if online is False and self.heard.online is not False:
            self.forget(now)
            self.alive_since_s = None
        self.heard.online = online
        if self._faults != self.heard.refused:
            self._faults, self._fault_s = self.heard.refused, now.s
        elif now.s - self._fault_s >= _FAULT_S:
            self.heard.error = ""
        if online and self.holding.expire(now):
            self._note(now, wanted=True)

    @property
    def _patience_s(self) -> float:
        """Give how long it may be silent."""
        if self._silent_s is not None:
            return self._silent_s
        return self._speech.patience_s(self.sort.silent_s)

    def reading(self, now: Moment, *, at_once: bool = False) -> Reading | None:
        """Give a reading when one is complete; None: not yet."""
        if self.heard.online is False:
            if self._open:
                self.forget(now)  # what has come since was under way
            return None
        measured_s = self._last_s
        if self._open:
            quiet_s = self.sort.quiet_s or 0.0
            over = now.s - self._last_s >= quiet_s or now.s - self._first_s >= self.sort.most_s
            if not (over or at_once):
                return None
            self.holding.settle(now)
        self._open = False
        if not self._wanted:
            if self._spoke_s - self._reading_s < _HEARTBEAT_S:
                return None
            measured_s = self._spoke_s
        self._wanted = False
        self.holding.expire(now)
        values = self.holding.values()
        if not values:
            return None
        self._derive(values)
        self._add_age(values, now)
        self._reading_s = measured_s
        self._pace.note(measured_s)
        if not self._paced:
            self.heard.every_s = self._pace.every_s(self.sort.every_s)
        return Reading(self.heard.name, values, measured_s)

    def _derive(self, values: dict[str, Any]) -> None:
        for name, lines in self.sort.derive.items():
            if self._contract.field(self.heard.kind, name) is None:
                continue
            for value, conditions in lines:
                if all(is_so(values.get(one.field), one) for one in conditions):
                    values[name] = value
                    break

    def _add_age(self, values: dict[str, Any], now: Moment) -> None:
        of_s = values.get(self.sort.age) if self.sort.age else None
        data_ms = int(of_s * 1000) if of_s else self._data_ms
        if data_ms is None or self._contract.field(self.heard.kind, _AGE) is None:
            return
        age_s = (now.ms - data_ms) / 1000
        if age_s > -_AHEAD_S:
            good, _ = self._contract.strict(self.heard.kind, {_AGE: round(max(age_s, 0.0), 1)})
            values.update(good)
