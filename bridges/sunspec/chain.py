"""The chain of models in a SunSpec device: how it is walked, kept and read.

    chain = walk(read)                        read(start, count) -> registers
    words = read_block(read, chain.blocks[3], most=100)

At 40000, 50000 or 0 stands the marker SunS. From there on each model has its number, its length L
and L registers; the number 65535 ends the chain. Devices end it in other ways, too, so whatever
was found until then is kept, and `warnings` says how it ended.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bridges.sunspec import models
from bridges.sunspec.codec import HEADER, Place, Words, places
from heliobus.errors import FrameError
from heliobus.exchange import Silence
from heliobus.modbus import DEVICE_FAILURE, LACKING, MOST_REGISTERS, Refused

Read: TypeAlias = Callable[[int, int], Sequence[int]]

BASES = (40000, 50000, 0)
MARKER = (0x5375, 0x6E53)  # SunS
COMMON = 1
_END = 0xFFFF
_ADDRESSES = 0x10000
# The longest chains in the field have some dozens.
_MOST_MODELS = 200
_TRIES = 2  # to read a block whose scale factors stay as they are
_TOO_LONG = (
    "model {number} at {at} says it has {length} registers, which is more than there are;"
    " it and what follows is left out"
)


class Moved(FrameError):
    """A block is no longer where it was: a device was added or taken away."""


@dataclass(frozen=True, slots=True)
class Block:
    """A model in the chain: `at` is the address of its number; `index` counts from 0 by number."""

    id: int
    at: int
    length: int
    index: int = 0

    @property
    def end(self) -> int:
        """Give the address after it, where the next one begins."""
        return self.at + HEADER + self.length

    @property
    def name(self) -> str:
        """Name it as points are named: 64117#1."""
        return f"{self.id}#{self.index}"


@dataclass(frozen=True, slots=True)
class Chain:
    """What a device has. `end` is the block that ended it, None where there was none.

    `sure` False: it may go on, because only silence or a failure ended it.
    """

    base: int
    blocks: tuple[Block, ...]
    end: Block | None = None
    warnings: tuple[str, ...] = ()
    sure: bool = True

    @property
    def devices(self) -> tuple[tuple[Block, ...], ...]:
        """Divide it: each further common model begins a device behind this one."""
        found: list[list[Block]] = [[]]
        for block in self.blocks:
            if block.id == COMMON and block.index:
                found.append([])
            found[-1].append(block)
        return tuple(map(tuple, found))


def walk(read: Read, bases: Sequence[int] = BASES) -> Chain:
    """Find the marker and walk the chain. Raise FrameError, and what `read` raises."""
    base = find_base(read, bases)
    return walk_from(read, base, base + len(MARKER))


def find_base(read: Read, bases: Sequence[int] = BASES) -> int:
    """Find the marker. Raise FrameError.

    Silence is raised at once: a device that is away must not cost a timeout for each place.
    """
    found = []
    for base in bases:
        try:
            words = tuple(read(base, len(MARKER)))
        except Refused as error:
            found.append(f"{base}: exception {error.code}")
            continue
        if words == MARKER:
            return base
        found.append(f"{base}: {' '.join(f'{word:04X}' for word in words)}")
    raise FrameError(
        f"no SunSpec here; found {', '.join(found)}, expected 5375 6E53 at one of these;"
        " look whether SunSpec is switched on in the device, and at its unit id"
    )


def walk_from(read: Read, base: int, at: int) -> Chain:
    """Walk a chain whose first model is at `at`. Raise what `read` raises before the first."""
    blocks: list[Block] = []

    def chain(*warnings: str, end: Block | None = None, sure: bool = True) -> Chain:
        return Chain(base, _numbered(blocks), end, warnings, sure)

    while len(blocks) < _MOST_MODELS:
        if at + HEADER > _ADDRESSES:
            return chain(f"the chain reaches address {at} without an end")
        try:
            number, length = _header(read, at)
        except (Refused, Silence) as error:
            if not blocks or (isinstance(error, Refused) and error.code not in LACKING):
                raise
            why = f"exception {error.code}" if isinstance(error, Refused) else "no answer"
            sure = (
                isinstance(error, Refused) and error.code != DEVICE_FAILURE
            )  # then it may be starting
            return chain(f"no end model: {why} at {at}", sure=sure)
        block = Block(number, at, length)
        if number in (_END, 0) and not blocks:
            raise FrameError(f"SunSpec at {base}, but no model follows: found {number:04X} at {at}")
        if number == _END:
            return chain(end=block)
        if number == 0:
            return chain(f"no end model: zeros at {at}", end=block)
        if block.end > _ADDRESSES:
            return chain(_TOO_LONG.format(number=number, at=at, length=length))
        blocks.append(block)
        at = block.end
    return chain(f"more than {_MOST_MODELS} models; what follows {at} is left out")


def unchanged(read: Read, chain: Chain) -> bool:
    """Tell whether a chain that was kept is still the one of this device.

    Whatever is added or taken away moves the end. Raise what `read` raises, but for Refused.
    """
    first, last = chain.blocks[0], chain.end or chain.blocks[-1]
    try:
        begin = tuple(read(chain.base, len(MARKER) + HEADER))
        ending = _header(read, last.at)
    except Refused:
        return False
    return begin == (*MARKER, first.id, first.length) and ending == (last.id, last.length)


def read_block(read: Read, block: Block, *, most: int = MOST_REGISTERS) -> tuple[int, ...]:
    """Give a block with its header, read in pieces that end where points end.

    The header must be as it was, even where it costs a request; and so must scale factors that
    come in another piece than their values, before and after: some makers change them with the
    power. Raise Moved, FrameError where they go on changing, and what `read` raises.
    """
    apart = _apart(block, most)
    for _ in range(_TRIES):
        before = _words_at(read, block, apart, most)
        words = _pieces(read, block, most)
        scales = [words[at] for at in apart]
        if before == scales == _words_at(read, block, apart, most):
            return words
    raise FrameError(
        f"model {block.id} at {block.at}: its scale factors change while it is read in pieces;"
        " set max_registers to 125"
    )


def _pieces(read: Read, block: Block, most: int) -> tuple[int, ...]:
    whole = HEADER + block.length
    words: list[int] = []
    while len(words) < whole:
        stop = _stop(block, len(words), words, most)
        words += read(block.at + len(words), stop - len(words))
        if tuple(words[:HEADER]) != (block.id, block.length):
            raise Moved(
                f"model {block.id} is no longer at {block.at}: found {words[0]} with"
                f" {words[1]} registers; walking the chain again"
            )
    return tuple(words)


def _stop(block: Block, at: int, words: Words, most: int) -> int:
    """Give where the piece that begins at `at` ends: where a point ends, else where it must."""
    limit = min(at + most, HEADER + block.length)
    if limit == HEADER + block.length:
        return limit
    ends = (place.at + place.point.size for place in _places(block, words))
    return max((end for end in ends if at < end <= limit), default=limit)


def _places(block: Block, words: Words) -> Sequence[Place]:
    model = models.find(block.id)
    return places(model, block.length, words) if model else ()


def _apart(block: Block, most: int) -> Sequence[int]:
    """Give where the scale factors are that come in another piece than one of their values."""
    header, ends = (block.id, block.length), [0]
    while ends[-1] < HEADER + block.length:
        ends.append(_stop(block, ends[-1], header, most))
    if len(ends) == 2:  # noqa: PLR2004 - one piece
        return ()
    return sorted(
        {
            place.scale_at
            for place in _places(block, header)
            if place.scale_at is not None
            and bisect_right(ends, place.at) != bisect_right(ends, place.scale_at)
        }
    )


def _words_at(read: Read, block: Block, offsets: Sequence[int], most: int) -> list[int]:
    """Read some registers of a block, those that stand together at once."""
    words: list[int] = []
    while len(words) < len(offsets):
        left = offsets[len(words) :]
        count = sum(at == left[0] + number for number, at in enumerate(left[:most]))
        words += read(block.at + left[0], count)
    return words


def _header(read: Read, at: int) -> tuple[int, int]:
    """Read a model's number and length; one lost answer does not end a chain."""
    try:
        number, length = read(at, HEADER)
    except Silence:
        number, length = read(at, HEADER)
    return number, length


def _numbered(blocks: Sequence[Block]) -> tuple[Block, ...]:
    seen: Counter[int] = Counter()
    found = []
    for block in blocks:
        found.append(Block(block.id, block.at, block.length, seen[block.id]))
        seen[block.id] += 1
    return tuple(found)
