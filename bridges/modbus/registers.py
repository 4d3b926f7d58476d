"""A profile as the codec, the planner and the simulator see it: plain data, already checked.

`profiles.py` makes it from YAML. Registers are counted from 0, as on the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Group(Enum):
    """How often a row is asked."""

    FAST = "fast"
    SLOW = "slow"
    ONCE = "once"


@dataclass(frozen=True, slots=True)
class Row:
    """One value and where it lies.

    value = raw * factor / divide * every scale. `absent` are raw numbers without sign.
    `little`: the low word first; `swapped`: the low byte first within each register.
    """

    name: str
    at: int
    count: int  # registers
    type: str
    function: int
    little: bool = False
    swapped: bool = False
    factor: float = 1.0
    divide: float = 1.0
    scales: tuple[str, ...] = ()
    absent: frozenset[int] = frozenset()
    least: float | None = None
    most: float | None = None
    texts: Mapping[int, str] = field(default_factory=dict)  # of codes or bits
    group: Group = Group.FAST
    code_name: str = ""  # the field that has the number of an enum; "" for none
    is_flag: bool = False  # one bit as true or false
    of: str = ""  # the type of the number in which codes or bits come, "" for one without sign

    @property
    def end(self) -> int:
        """Give the register after its last one."""
        return self.at + self.count


@dataclass(frozen=True, slots=True)
class Caveat:
    """What an owner has to know."""

    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """One sort of device."""

    name: str
    maker: str
    models: tuple[str, ...]
    kind: str
    rows: tuple[Row, ...]
    scales: Mapping[str, Row]
    identity: Mapping[str, Row]  # of model, serial, firmware
    verified: str
    source: tuple[str, ...]
    function: int = 3  # of the rows that do not say, as is the type
    type: str = "u16"
    either_function: bool = False  # 3 and 4 lead to the same registers
    role: str = ""
    serial: tuple[str, ...] = ()  # such as 9600 8N1
    unit_id: int = 1
    port: int = 502
    max_registers: int = 125
    gaps: bool = True
    align: int = 1
    pause_s: float = 0.0
    timeout_s: float = 1.0
    keep: bool = True
    probe: Row | None = None  # its range is the plausible one
    variants: tuple[str, ...] = ()
    identified: str = ""
    caveats: tuple[Caveat, ...] = ()
