"""A map as it is used: what `maps.py` makes of the YAML file. Data only.

`codec.py` reads payloads by it, `device.py` makes readings of what they say.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from bridges.mqtt.patterns import Pattern, Template

Plain: TypeAlias = bool | int | float | str
Captures: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a field of the contract takes. `code`: there is FIELD_code, too."""

    type: str
    enum: tuple[str, ...] = ()
    code: bool = False


Shapes: TypeAlias = Callable[[str], Shape | None]


@dataclass(frozen=True, slots=True)
class Path:
    """A way into JSON: each step is a key, or a pattern of keys."""

    text: str
    steps: "tuple[str | Pattern, ...]" = ()

    @property
    def captures(self) -> tuple[str, ...]:
        """Name what is captured on the way."""
        patterns = (step for step in self.steps if not isinstance(step, str))
        return tuple(capture for step in patterns for capture in step.captures)


@dataclass(frozen=True, slots=True)
class Target:
    """What one value becomes. `leaf` is found in the topic, `path` in JSON."""

    leaf: "Pattern"
    path: Path
    field: "Template"
    scale: float | None = None
    beyond: float | None = None
    offset: float = 0.0
    largest: float = math.inf
    sign: int = 1
    words: Mapping[str, Plain] | None = None
    drop: frozenset[Plain] = frozenset()
    each: "Template | None" = None
    sum: bool = False
    minus: Path | None = None
    list: str = ""
    fact: str = ""  # who the device is, instead of a field: title, maker, model, serial, firmware


@dataclass(frozen=True, slots=True)
class Time:
    """Where a message says of when it is, and how: unix, unix_ms, iso or local."""

    path: Path
    how: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do with the topics of one pattern.

    `by_leaf`: the last part of the topic says what the value is; else its place in the JSON.
    `shapes` gives what the fields of its device take. `told`: captures that stand in the JSON.
    `objects`: of JSON it takes objects only.
    """

    topic: "Pattern"
    filters: tuple[str, ...]
    device: str = ""
    names: tuple[str, ...] = ()  # the captures that tell devices of its sort apart
    shapes: Shapes = lambda _name: None
    json: bool = False
    objects: bool = False
    by_leaf: bool = True
    at: Path = Path("")
    under: "Template | None" = None
    when: tuple[tuple[Path, frozenset[str]], ...] = ()
    told: "tuple[tuple[Pattern, Path], ...]" = ()
    group: str = ""
    beat: bool = True
    use_retained: bool = False
    gone_when_empty: bool = False
    time: Time | None = None
    values: tuple[Target, ...] = ()
    online: Mapping[str, bool] = field(default_factory=dict)
    command: str = ""
    distinct: str = ""
    ignore: str = ""

    @property
    def chooses(self) -> bool:
        """Say whether the payload decides if the rule takes a message."""
        return bool(self.when or self.told)


@dataclass(frozen=True, slots=True)
class Condition:
    """What one field has to be: a value, or within bounds."""

    field: str
    value: Plain | None = None
    above: float | None = None
    below: float | None = None


Conditions: TypeAlias = tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """How long and under which conditions values count."""

    lasts_s: float | None = None
    while_: Conditions = ()
    keep_counters: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of device that a map speaks of."""

    key: str
    name: "Template"
    kind: str
    captures: tuple[str, ...] = ()  # what tells devices of this sort apart
    role: str = ""
    via: str = ""
    identity: "Mapping[str, Template]" = field(default_factory=dict)
    every_s: float = 60.0
    silent_s: float = math.inf
    quiet_s: float | None = None  # None: each message makes a sample
    most_s: float = 3.0
    groups: Mapping[str, Group] = field(default_factory=dict)
    derive: Mapping[str, tuple[tuple[Plain, Conditions], ...]] = field(default_factory=dict)
    age: str = ""
    most_kw: float = 1000.0


@dataclass(frozen=True, slots=True)
class Keepalive:
    """What has to be said so that devices go on speaking."""

    topic: "Template"
    filter: str
    payload: bytes
    first: bytes
    every_s: float


@dataclass(frozen=True, slots=True)
class Hint:
    """What it means that nothing has come of `missing` while `alive` speaks.

    Where all of `so` holds, what has come counts as nothing.
    """

    alive: str
    missing: str
    after_s: float
    text: str
    so: Conditions = ()


@dataclass(frozen=True, slots=True)
class Map:
    """A whole map, below its base topic."""

    title: str
    base: str
    sorts: Mapping[str, Sort]
    rules: tuple[Rule, ...]
    expressions: Mapping[str, str] = field(default_factory=dict)  # by capture
    keepalive: tuple[Keepalive, ...] = ()
    hints: tuple[Hint, ...] = ()
