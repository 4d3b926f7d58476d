"""Asks one device for registers: in few requests, divided where it refuses one.

Models of one series differ in what they have, and a request that touches what a device does not
have is refused whole. So a refused request is divided until the rows that are lacking are found;
they are left out from then on, but for one more try now and then: a device that starts may refuse
what it has. Of a turn that fails nothing is learned. Nothing is lacking before the device has
given any register at all, as it may be another device, or that it has once given.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bridges.modbus.plan import Block, Cut, pieces, plan
from bridges.modbus.registers import Profile, Row
from heliobus.errors import FrameError
from heliobus.master import Manner, Master
from heliobus.modbus import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    INPUT,
    Read,
    Refused,
)

_TOO_MANY: Final = ILLEGAL_VALUE
# What devices answer where they lack a register, and some where there are too many.
_NOT_HERE: Final = frozenset({ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, _TOO_MANY})
# A request may have been damaged in a way that its checksum does not show.
_REFUSALS: Final = 2
_TRY_AGAIN: Final = 60  # turns of a group, until what is lacking is asked for once more
_MOST_DIVIDED: Final = 12  # requests of a turn beyond its plan
_MOST_BLIND: Final = 16  # requests of a plan for a device that has given nothing yet


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A request that the device refused, and where to divide it; None: it is one piece."""

    block: Block
    error: Refused
    at: int | None = None
    parts: tuple[Block, ...] = ()

    @property
    def cut(self) -> Cut:
        return self.block.function, self.at or 0


class Asker:
    """What is known of one device of a profile."""

    def __init__(self, profile: Profile, unit: int) -> None:
        self._profile = profile
        self._unit = unit
        self._manner = Manner(profile.timeout_s, profile.pause_s, profile.keep)
        self.is_heard = False  # it has answered
        self._given: set[tuple[int, int]] = set()  # functions and registers
        self._given_whole: set[Block] = set()
        self._lacking: set[Block] = set()
        self._refused: Counter[Block] = Counter()
        self._cuts: dict[Cut, Block] = {}  # where a request was divided, and which one
        self._doubtful: set[Cut] = set()
        self._turns: Counter[str] = Counter()
        self._plans: dict[str, tuple[list[Row], tuple[Block, ...]]] = {}

    def blocks(self, group: str, rows: Sequence[Row]) -> tuple[Block, ...]:
        """Give the requests of a group as things stand. Raise ConfigError."""
        return self._planned(group, rows)[1]

    def ask(self, master: Master, group: str, rows: Sequence[Row]) -> dict[tuple[int, int], int]:
        """Give what these rows hold, without what the device lacks.

        Raise Silence at the first request without an answer, Refused, FrameError, LinkError.
        """
        self._turns[group] += 1
        if self._turns[group] % _TRY_AGAIN == 0:
            self._hope(rows)
        rows, blocks = self._planned(group, rows)
        waiting, left = deque(blocks), _MOST_DIVIDED
        image: dict[tuple[int, int], int] = {}
        refusals: list[_Refusal] = []
        while waiting:
            block = waiting.popleft()
            read = Read(self._unit, block.function, block.start, block.count)
            try:
                words = master.read(read, self._manner)
            except Refused as error:
                if error.code not in _NOT_HERE:
                    raise
                self.is_heard = True
                refusals.append(self._divide(block, rows, error))
                if refusals[-1].parts and left > 0:
                    waiting += refusals[-1].parts
                    left -= len(refusals[-1].parts)
            else:
                self.is_heard = True
                self._given_whole.add(block)
                image.update(((block.function, block.start + n), w) for n, w in enumerate(words))
        self._learn(refusals, image)
        return image

    def _planned(self, group: str, rows: Sequence[Row]) -> tuple[list[Row], tuple[Block, ...]]:
        if group not in self._plans:
            there = [row for row in rows if not any(one.touches(row) for one in self._lacking)]
            edges = ((one.function, at) for one in self._lacking for at in (one.start, one.end))
            blocks = plan(
                there,
                most=self._profile.max_registers,
                gaps=self._profile.gaps,
                align=self._profile.align,
                cuts={*self._cuts, *edges},
            )
            self._plans[group] = there, blocks
        return self._plans[group]

    def _divide(self, block: Block, rows: Sequence[Row], error: Refused) -> _Refusal:
        """Divide a request at the most registers without a name, else in its middle."""
        held = pieces((row for row in rows if block.holds(row)), self._profile.align)
        if len(held) < 2:  # noqa: PLR2004  # one piece has no parts
            return _Refusal(block, error)
        middle = block.start + block.count / 2

        def worth(index: int) -> tuple[int, float]:
            gap = held[index].start - held[index - 1].end
            return (0 if error.code == _TOO_MANY else gap), -abs(held[index].start - middle)

        best = max(range(1, len(held)), key=worth)
        parts = tuple(
            Block(block.function, some[0].start, some[-1].end - some[0].start)
            for some in (held[:best], held[best:])
        )
        return _Refusal(block, error, held[best].start, parts)

    # ------------------------------------------------------------------ learning

    def _learn(self, refusals: Sequence[_Refusal], image: dict[tuple[int, int], int]) -> None:
        if image and not self._given:
            self._doubtful = set(self._cuts)
        self._given.update(image)
        if refusals:
            for refusal in refusals:
                self._take(refusal)
            self._plans.clear()
            if not self._given:
                if len(self._cuts) >= _MOST_BLIND:
                    self._cuts.clear()
                raise FrameError(self._told(refusals[-1]))
        elif self._doubtful:
            # What they were made for may be over: try again with fewer requests.
            self._cuts = {cut: one for cut, one in self._cuts.items() if cut not in self._doubtful}
            self._doubtful.clear()
            self._plans.clear()

    def _take(self, refusal: _Refusal) -> None:
        block = refusal.block
        if refusal.parts:
            self._cuts[refusal.cut] = block
            # What has been given in one answer is refused for now only: it is busy, or starts.
            if any(whole.surrounds(block) for whole in self._given_whole):
                self._doubtful.add(refusal.cut)
        elif self._given and (block.function, block.start) not in self._given:
            self._refused[block] += 1
        if self._refused[block] >= _REFUSALS:
            self._lacking.add(block)
            self._doubtful |= {cut for cut, one in self._cuts.items() if one.surrounds(block)}

    def _hope(self, rows: Sequence[Row]) -> None:
        """Let what is lacking of these rows be asked for once, each piece by itself."""
        for piece in [one for one in self._lacking if any(map(one.touches, rows))]:
            self._lacking.discard(piece)
            self._refused[piece] = _REFUSALS - 1
            edges = {(piece.function, at) for at in (piece.start, piece.end)} - self._cuts.keys()
            self._cuts |= dict.fromkeys(edges, piece)
            self._doubtful |= edges
            self._plans.clear()

    def _told(self, refusal: _Refusal) -> str:
        function = refusal.block.function
        what = f"it gives none of its registers ({refusal.error})"
        if refusal.error.code == ILLEGAL_FUNCTION:
            sort = "input" if function == INPUT else "holding"
            what = f"it does not know function {function}, which reads {sort} registers"
        return f"{what}; is {self._profile.name} its profile, and {self._unit} its unit id?"
