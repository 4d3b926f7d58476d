"""What an inverter of each protocol is asked, and how long that takes on the line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from heliobus.bridge import Group

_BYTES_PER_S = 240  # 2400 baud
_TURN_S = 0.05
# The beat, and one unit of several in parallel: how long each question and answer is, in bytes.
_BEAT = (8 + 122, 9 + 22, 7 + 5)
_UNIT = (8 + 143,)
# Group, cadence, and the same for its questions, whichever of the protocols has the longer ones.
_SLOW = (
    ("warnings", 30.0, (8 + 45,)),
    ("charger", 30.0, (5 + 113,)),
    ("settings", 300.0, (8 + 113, 8 + 26)),
    ("energy", 300.0, (7 + 23, 8 + 17, 16 + 17, 14 + 17, 12 + 17, 6 + 12, 14 + 12)),
    ("identity", math.inf, (8 + 11, 8 + 31, 9 + 26, 9 + 26, 8 + 19, 6 + 16, 7 + 7)),
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The questions of one protocol.

    `status` makes a beat, `beside` goes with it; `groups` are plain lists. `clock` gives the date
    for the `dated` counters; `counters` need none. `unit` and `who` ask for one of several units
    in parallel, `who` where `unit` does not say its serial number.
    """

    protocol: str
    protocol_question: str
    protocol_answer: str
    status: str
    beside: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    clock: str
    counters: tuple[str, ...]
    dated: tuple[str, ...]
    identity: tuple[str, ...]
    unit: str
    who: str = ""

    def counted(self, device_time: str) -> Sequence[str]:
        """Give the questions for the counters by the inverter's own date, "" where it has none."""
        day = device_time[:10].replace("-", "")
        dated = [question.format(day=day) for question in self.dated] if day else []
        return [*self.counters, *dated]


PI30 = Dialect(
    protocol="PI30",
    protocol_question="QPI",
    protocol_answer="PI30",
    status="QPIGS",
    beside=("QMOD", "QPIGS2"),
    groups=MappingProxyType(
        {"warnings": ("QPIWS",), "charger": ("Q1",), "settings": ("QPIRI", "QFLAG")}
    ),
    clock="QT",
    counters=("QET", "QLT"),
    dated=("QED{day}", "QEM{day:.6}", "QEY{day:.4}", "QLD{day}"),
    identity=("QPI", "QID", "QSID", "QVFW", "QVFW2", "QMN", "QGMN"),
    unit="QPGS{n}",
)
# Of the counters only that of the day has a unit on which its document and all recordings agree.
PI18 = Dialect(
    protocol="PI18",
    protocol_question="^P005PI",
    protocol_answer="^D18",
    status="^P005GS",
    beside=("^P006MOD",),
    groups=MappingProxyType(
        {"warnings": ("^P005FWS",), "charger": (), "settings": ("^P007PIRI", "^P007FLAG")}
    ),
    clock="^P004T",
    counters=(),
    dated=("^P013ED{day}",),
    identity=("^P005PI", "^P005ID", "^P006VFW", "^P006GMN"),
    unit="^P007PGS{n}",
    who="^P007PRI{n}",
)
PI18_COUNTING = replace(
    PI18,
    counters=("^P005ET",),
    dated=("^P013ED{day}", "^P011EM{day:.6}", "^P009EY{day:.4}"),
)


def groups(every_s: float, units: int) -> tuple[Group, ...]:
    """Give the poll groups of an inverter, or of several `units` in parallel."""
    slow = (Group(name, max(seconds, every_s), _wire_s(sizes)) for name, seconds, sizes in _SLOW)
    return (Group("status", every_s, _wire_s(_BEAT + _UNIT * units)), *slow)


def _wire_s(sizes: Sequence[int]) -> float:
    return sum(sizes) / _BYTES_PER_S + len(sizes) * _TURN_S
