"""A profile as the codec sees it: plain data, already checked. `profiles.py` makes it from YAML.

Identifiers are numbers as SocketCAN counts them: one of 29 bits has `EXTENDED` added, so that it is
never taken for the same number of 11 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Final, TypeAlias

Value: TypeAlias = float | int | bool | str | list[str]
Values: TypeAlias = dict[str, Value]

EXTENDED: Final = 1 << 31
LARGEST_STANDARD: Final = (1 << 11) - 1
LARGEST_EXTENDED: Final = (1 << 29) - 1
MOST_BYTES: Final = 8  # of a classic frame

# Numbers by type: how many bytes, and whether they have a sign.
NUMBERS: Final[Mapping[str, tuple[int, bool]]] = MappingProxyType(
    {
        "u8": (1, False),
        "s8": (1, True),
        "u16": (2, False),
        "s16": (2, True),
        "u32": (4, False),
        "s32": (4, True),
    }
)


def told(identifier: int) -> str:
    """Write an identifier as people do: three digits, of 29 bits eight."""
    return f"{identifier & ~EXTENDED:08X}" if identifier & EXTENDED else f"{identifier:03X}"


@dataclass(frozen=True, slots=True)
class Guard:
    """A number is taken only where it is `within` so much of the value of `of`."""

    of: str
    within: Decimal


@dataclass(frozen=True, slots=True)
class Field:
    """One value and where it lies in a message.

    value = raw * scale + add. `invalid` are raw numbers without sign that say: not there.
    """

    name: str
    at: int  # bytes
    type: str
    length: int  # bytes; 0: what there is, of a text
    scale: Decimal = Decimal(1)
    add: Decimal = Decimal(0)
    invalid: frozenset[int] = frozenset()
    is_absolute: bool = False
    guard: Guard | None = None
    least: float | None = None
    most: float | None = None
    min_dlc: int = 0
    bit: int = 0
    texts: Mapping[int, str] = field(default_factory=dict)  # of bits, or of pairs of them

    @property
    def end(self) -> int:
        """Give how many bytes a message must have to hold it."""
        return max(self.at + self.length, self.min_dlc)

    @property
    def is_whole(self) -> bool:
        """Say whether its values are whole numbers always, not only by chance."""
        return self.scale == int(self.scale) and self.add == int(self.add)


@dataclass(frozen=True, slots=True)
class Message:
    """What is in the frames of one identifier. Its values count for `max_age_s`."""

    id: int
    fields: tuple[Field, ...]
    identity: tuple[Field, ...] = ()  # of maker, model, serial, firmware
    min_dlc: int = 0  # a shorter one means something else and is passed over
    is_big: bool = False  # the high byte first
    max_age_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """A text about devices that send one of these messages."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Caveat:
    """What an owner has to know."""

    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """One sort of device. Of a value in several messages the first that is there counts."""

    name: str
    maker: str
    models: tuple[str, ...]
    kind: str
    messages: Mapping[int, Message]
    verified: str
    source: tuple[str, ...]
    bitrate: int = 500_000
    dialects: tuple[Dialect, ...] = ()  # the first that fits counts
    caveats: tuple[Caveat, ...] = ()
