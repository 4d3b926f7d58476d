"""What `heliobus decode sunspec` makes of the captured registers of one chain."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bridges.sunspec import models
from bridges.sunspec.chain import BASES, MARKER, Block, Chain, walk_from
from bridges.sunspec.codec import HEADER, Reading, decode
from bridges.sunspec.devices import lay_out, shown
from bridges.sunspec.mapping import Maker, adapted
from heliobus.captured import register, registers
from heliobus.errors import FrameError
from heliobus.modbus import ILLEGAL_ADDRESS, Refused

_WORD = 0xFFFF
_PADDED = 1  # the common model has a last register that many devices leave out
_LONGEST = 2000  # registers; no model is nearly as long
_SECRET, _HIDDEN = "Password", "(hidden)"  # points of 64110 are named so
_FILLER = "\xff"
_NO_MARKER = "no marker: read as models from the first register on"


def decode_registers(start: Any, words: Any) -> dict[str, Any]:
    """Give all points of a chain, and the devices that the bridge would publish. Raise FrameError.

    Points have the values that the definitions give them; what is known of the bugs of a maker
    is mended in the devices.
    """
    if words == []:
        raise FrameError("registers: found [], expected a list of whole numbers")
    captured = _Captured(register(start, "start"), registers(words, "registers"))
    chain = captured.chain()
    readings = {block.name: captured.readings(block) for block in chain.blocks}
    maker = lay_out(chain, readings).maker
    mended = {block.name: captured.readings(block, maker) for block in chain.blocks}
    points = {
        f"{name}.{path}": _unless_secret(reading)
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


def _unless_secret(reading: Reading) -> Reading:
    """Keep a password back; what merely fills its registers is none."""
    is_secret = _SECRET in reading.point.name and set(str(reading.value)) - {_FILLER}
    return replace(reading, value=_HIDDEN) if is_secret else reading


class _Captured:
    """Registers that were captured; what lies outside does not exist."""

    def __init__(self, start: int, words: Sequence[int]) -> None:
        self._start = start
        self._words = words
        self._end = start + len(words)

    def read(self, start: int, count: int) -> Sequence[int]:
        """Give registers. Raise Refused."""
        if start == self._end - 1 and count == HEADER and self._words[-1] == _WORD:
            return [_WORD, 0]  # the end of a chain, captured without its length
        if start < self._start or start + count > self._end:
            raise Refused(f"registers {start} to {start + count - 1}", ILLEGAL_ADDRESS)
        return self._words[start - self._start : start - self._start + count]

    def chain(self) -> Chain:
        """Walk it from its marker, else from the model that comes first. Raise FrameError."""
        base = self._base()
        if base is not None:
            first = base + len(MARKER)
            if first + HEADER > self._end:
                raise FrameError(f"SunSpec at {base}, but the registers end at {self._end}")
            return self._ended(walk_from(self.read, base, first))
        if self._begins_with_a_model():
            chain = self._ended(walk_from(self.read, self._start, self._start))
            whole = bool(chain.blocks) and chain.blocks[-1].end == self._end
            return replace(chain, warnings=(_NO_MARKER, *(() if whole else chain.warnings)))
        found = " ".join(f"{word:04X}" for word in self._words[: len(MARKER)])
        raise FrameError(
            f"no SunSpec in these registers; found {found} at {self._start}, expected the marker"
            " 5375 6E53, or the number and the length of a model that is known; a capture must"
            " begin at the one or the other"
        )

    def _base(self) -> int | None:
        """Find the marker: first, or where devices have it."""
        for base in (self._start, *BASES):
            with suppress(Refused):
                if tuple(self.read(base, len(MARKER))) == MARKER:
                    return base
        return None

    def _ended(self, chain: Chain) -> Chain:
        """Tell where a chain ends only because no more was captured."""
        if chain.end or not chain.blocks or chain.blocks[-1].end < self._end - 1:
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
        """Tell whether a model comes first, as where one was read: all of it or its beginning.

        One that is whole may be shorter than defined, when there is a value in it.
        """
        if len(self._words) < HEADER:
            return False
        model, whole = models.find(self._words[0]), HEADER + self._words[1]
        if model is None or whole > _LONGEST:
            return False
        if whole <= len(self._words):
            return bool(decode(model, self._words))
        return whole >= model.top.size - _PADDED
