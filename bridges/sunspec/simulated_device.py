"""One simulated SunSpec device: a chain of models that lives, a PDU in, a PDU out.

It answers function 3 alone, as most of them do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bridges.sunspec import mapping, models
from bridges.sunspec.chain import MARKER
from bridges.sunspec.codec import Value, encode
from bridges.sunspec.simulated_part import Part, Share
from heliobus.errors import ConfigError
from heliobus.line import Faults
from heliobus.modbus import (
    DEVICE_FAILURE,
    FAILED,
    HOLDING,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    MOST_REGISTERS,
)

_REQUEST_BYTES = 5
_HEADER = 2
_END = (0xFFFF, 0)
_WEAK_MOST = 100


@dataclass(frozen=True, slots=True)
class Content:
    """A model and what it says. `length`: registers, None for those of its definition."""

    id: int
    values: Mapping[str, Value] = field(default_factory=dict)
    length: int | None = None

    def words(self) -> tuple[int, ...]:
        """Give its block. Raise FrameError."""
        model = models.find(self.id)
        if model is None:
            raise ConfigError(f"model {self.id} is not known")
        return encode(model, self.values, length=self.length)


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of device. `zeros_until`: the chain ends in zeros up to this address."""

    title: str
    share: Share
    contents: Callable[[Part], Sequence[Content]]
    base: int = 40000
    unit: int = 1
    most: int = MOST_REGISTERS
    ends: bool = True
    zeros_until: int = 0


class Device:
    """A device of `kind`, which shows its `part` of the house.

    `polls` counts how often the last model that is asked at every beat was given whole.
    """

    def __init__(self, kind: Kind, part: Part) -> None:
        self.polls = 0
        self.kind = kind
        self.part = part
        self._made_s = -1.0
        self._words: tuple[int, ...] = ()
        self._end_of_poll = 0

    def registers(self) -> tuple[int, ...]:
        """Give all that can be read from the base on."""
        with self.part.house as house:
            if house.now_s != self._made_s:
                self._words = self._made()
                self._made_s = house.now_s
            return self._words

    def answer(self, pdu: bytes, faults: Faults) -> bytes:
        """Answer one request."""
        if pdu[0] != HOLDING or len(pdu) != _REQUEST_BYTES:
            return bytes([pdu[0] | FAILED, ILLEGAL_FUNCTION])
        start, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        most = _WEAK_MOST if count > _WEAK_MOST and faults.strikes("max100") else self.kind.most
        words = self.registers()
        begin = start - self.kind.base
        if not 1 <= count <= most:
            code = ILLEGAL_VALUE
        elif begin < 0 or begin + count > len(words):
            code = ILLEGAL_ADDRESS
        elif faults.strikes("nak"):
            code = DEVICE_FAILURE
        else:
            data = b"".join(word.to_bytes(2) for word in words[begin : begin + count])
            return bytes([HOLDING, len(data)]) + data
        return bytes([HOLDING | FAILED, code])

    def answered(self, pdu: bytes) -> None:
        """Learn that registers were given, and went out whole."""
        start, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        self.polls += count > _HEADER and start + count == self._end_of_poll

    def _made(self) -> tuple[int, ...]:
        words = list(MARKER)
        contents = self.kind.contents(self.part)
        asked = mapping.choose({content.id for content in contents})
        for content in contents:
            words += content.words()
            known = asked.models.get(content.id)
            if known and not known.slow:
                self._end_of_poll = self.kind.base + len(words)
        if self.kind.ends and not self.kind.zeros_until:
            words += _END
        missing = self.kind.zeros_until - self.kind.base - len(words)
        return (*words, *[0] * max(0, missing))
