"""What `heliobus decode sunspec` makes of the captured registers of one chain."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bridges.sunspec import models
from bridges.sunspec.chain import BASES, MARKER, Block, Chain, find_base, walk_from
from bridges.sunspec.codec import HEADER, Reading, decode
from bridges.sunspec.devices import lay_out, shown
from bridges.sunspec.mapping import Maker, adapted
from heliobus.errors import FrameError
from heliobus.modbus import Refused

_ILLEGAL_ADDRESS = 2
_WORD = 0xFFFF


def decode_registers(start: Any, registers: Any) -> dict[str, Any]:
    """Give all points of a chain, and the devices that the bridge would publish. Raise FrameError.

    Points have the values that the definitions give them; what is known of the bugs of a maker
    is mended in the devices.
    """
    captured = _Captured(_number(start, "start"), _checked(registers))
    chain = captured.chain()
    readings = {block.name: captured.readings(block) for block in chain.blocks}
    maker = lay_out(chain, readings).maker
    mended = {block.name: captured.readings(block, maker) for block in chain.blocks}
    points = {
        f"{name}.{path}": reading
        for name, found in readings.items()
        for path, reading in found.items()
    }
    seen = (*chain.blocks, chain.end) if chain.end else chain.blocks
    return {
        "values": {path: reading.value for path, reading in points.items()},
        "units": {path: reading.point.unit for path, reading in points.items()},
        "chain": [{"addr": block.at, "id": block.id, "len": block.length} for block in seen],
        "warnings": [*chain.warnings],
        "devices": shown(chain, mended),
    }


class _Captured:
    """Registers that were captured; what lies outside does not exist."""

    def __init__(self, start: int, words: Sequence[int]) -> None:
        self._start = start
        self._words = words
        self._end = start + len(words)

    def read(self, start: int, count: int) -> Sequence[int]:
        """Give registers. Raise Refused."""
        if start < self._start or start + count > self._end:
            raise Refused(f"registers {start} to {start + count - 1}", _ILLEGAL_ADDRESS)
        return self._words[start - self._start : start - self._start + count]

    def chain(self) -> Chain:
        """Walk the chain. Raise FrameError."""
        if self._begins_with_a_model():
            chain = walk_from(self.read, self._start, self._start)
            warnings = ("no marker: read as models from the first register on", *chain.warnings)
            return replace(chain, warnings=warnings)
        base = find_base(self.read, (self._start, *(base for base in BASES if base != self._start)))
        first = base + len(MARKER)
        if first + HEADER > self._end:
            raise FrameError(f"SunSpec at {base}, but the registers end at {self._end}")
        chain = walk_from(self.read, base, first)
        cut = bool(chain.blocks) and chain.blocks[-1].end >= self._end - 1 and chain.end is None
        if not cut:
            return chain
        last = chain.blocks[-1]
        within = f" within model {last.id} at {last.at}" if last.end > self._end else ""
        return replace(chain, warnings=(f"no end model: the registers end at {self._end}{within}",))

    def readings(self, block: Block, maker: Maker | None = None) -> Mapping[str, Reading]:
        """Decode what there is of a block, as its maker fills it."""
        model = models.find(block.id)
        words = self._words[block.at - self._start : block.end - self._start]
        return decode(adapted(model, maker), words) if model else {}

    def _begins_with_a_model(self) -> bool:
        """Tell whether a whole model of the right length comes first, as where one was read."""
        if len(self._words) < HEADER or tuple(self._words[: len(MARKER)]) == MARKER:
            return False
        model, whole = models.find(self._words[0]), HEADER + self._words[1]
        return model is not None and model.top.size <= whole <= len(self._words)


def _checked(registers: Any) -> Sequence[int]:
    if not isinstance(registers, list) or not registers:
        raise FrameError(f"registers: found {registers!r:.40}, expected a list of numbers")
    return [_number(word, f"registers[{at}]") for at, word in enumerate(registers)]


def _number(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _WORD:
        raise FrameError(f"{what}: found {value!r:.40}, expected a whole number from 0 to 65535")
    return value
