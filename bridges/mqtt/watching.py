"""What the owner should know: retained commands, two senders on one topic, a silence."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bridges.mqtt.device import Device
from bridges.mqtt.rules import Hint, Rule

_MOST_TOPICS = 1000
_MOST_COMMANDS = 20
# Two senders: the same payload is back after another one within this time, and again and again.
_TURNS_S = 600.0
_OVER_S = 1800.0


@dataclass(slots=True)
class _Turns:
    """The last two different payloads of a topic, and when they last took turns."""

    now: bytes
    before: bytes = b""
    changed_s: float = 0.0
    turned_s: float | None = None


class Watching:
    """Collects hints. A line stays as long as it holds."""

    def __init__(self, hints: Sequence[Hint]) -> None:
        self._silences = hints
        self._commands: dict[str, str] = {}
        self._turns: dict[str, _Turns] = {}
        self._distinct: dict[str, str] = {}
        self._lines: list[str] = []

    def begin_anew(self) -> None:
        """Forget what the last connection told."""
        self._commands.clear()
        self._turns.clear()

    def command(self, topic: str, payload: bytes, rule: Rule, *, retained: bool) -> None:
        """Take note of a command; only a retained one is worth a hint."""
        if not payload:
            self._commands.pop(topic, None)
        elif retained and len(self._commands) < _MOST_COMMANDS:
            self._commands[topic] = (
                f"a command is retained on {topic}: {rule.command}. Clear it, as a user"
                f" that may write there, with: mosquitto_pub -r -n -t {shlex.quote(topic)}"
            )

    def distinct(self, topic: str, payload: bytes, rule: Rule, now_s: float) -> None:
        """Take note of a topic that should have one sender."""
        turns = self._turns.get(topic)
        if turns is None:
            if len(self._turns) < _MOST_TOPICS:
                self._turns[topic] = _Turns(payload[:100])
                self._distinct[topic] = rule.distinct
            return
        if payload[:100] == turns.now:
            return
        if payload[:100] == turns.before and now_s - turns.changed_s < _TURNS_S:
            turns.turned_s = now_s
        turns.before, turns.now, turns.changed_s = turns.now, payload[:100], now_s

    def look(self, devices: Iterable[Device], now_s: float, more: Mapping[str, str]) -> None:
        """See what holds now; `more` are hints of others."""
        lines = [*self._commands.values(), *more.values()]
        lines += {
            self._distinct[topic]: None
            for topic, turns in self._turns.items()
            if turns.turned_s is not None and now_s - turns.turned_s < _OVER_S
        }
        if self._silences:
            lines += self._silent(list(devices), now_s)
        self._lines = sorted(set(lines))

    def _silent(self, devices: Sequence[Device], now_s: float) -> Iterable[str]:
        for hint in self._silences:
            heard = [one for one in devices if one.sort.key == hint.missing and one.has_value]
            if not all(hint.so and one.holding.holds(hint.so) for one in heard):
                continue
            for one in devices:
                since_s = one.alive_since_s
                alive = one.sort.key == hint.alive and one.heard.online and since_s is not None
                if alive and now_s - (since_s or 0.0) >= hint.after_s:
                    yield f"{one.heard.name}: {hint.text}"

    @property
    def lines(self) -> Sequence[str]:
        """Give the hints."""
        return self._lines
