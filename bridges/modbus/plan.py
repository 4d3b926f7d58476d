"""Which requests give these rows.

As few as can be; of these the ones that keep most rows beside their scales; of these the ones of
the fewest registers.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bridges.modbus.registers import Row
from heliobus.errors import ConfigError

_Cost: TypeAlias = tuple[int, int, int]  # requests, rows apart from a scale, registers
# A function and a register that no request may have in its middle.
Cut: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """One request."""

    function: int
    start: int
    count: int

    @property
    def end(self) -> int:
        """Give the register after its last one."""
        return self.start + self.count

    def holds(self, row: Row) -> bool:
        """Say whether all registers of a row are in it."""
        return self.function == row.function and self.start <= row.at and row.end <= self.end

    def touches(self, row: Row) -> bool:
        """Say whether any register of a row is in it."""
        return self.function == row.function and self.start < row.end and row.at < self.end

    def surrounds(self, other: "Block") -> bool:
        """Say whether all registers of another request are in it."""
        same = self.function == other.function
        return same and self.start <= other.start and other.end <= self.end


def plan(
    rows: Iterable[Row],
    *,
    most: int,
    gaps: bool,
    align: int,
    cuts: Collection[Cut] = (),
) -> tuple[Block, ...]:
    """Give the requests, those with scales first.

    `most` registers each at most. `gaps` False: only what a row names, and what `align` adds.
    Raise ConfigError where a row has more than `most` registers.
    """
    given = sorted(rows, key=lambda row: (row.function, row.at, row.end))
    scales = {name for row in given for name in row.scales}
    planner = _Planner(most=most, gaps=gaps, align=align, cuts=frozenset(cuts))
    blocks: list[Block] = []
    for function in sorted({row.function for row in given}):
        blocks += planner.blocks([row for row in given if row.function == function])
    first = [row for row in given if row.name in scales]
    return tuple(sorted(blocks, key=lambda block: (not any(map(block.holds, first)), block)))


def pieces(rows: Iterable[Row], align: int) -> list[Block]:
    """Divide the registers of rows as far as can be: rows that share one stay together."""
    found: list[Block] = []
    for row in sorted(rows, key=lambda row: (row.function, row.at, row.end)):
        start, end = row.at // align * align, -(-row.end // align) * align
        last = found[-1] if found else None
        if last and last.function == row.function and start < last.end:
            end = max(end, last.end)
            found[-1] = Block(row.function, last.start, end - last.start)
        else:
            found.append(Block(row.function, start, end - start))
    return found


class _Planner:
    def __init__(self, *, most: int, gaps: bool, align: int, cuts: frozenset[Cut]) -> None:
        self._most = most
        self._gaps = gaps
        self._align = align
        self._cuts = cuts

    def blocks(self, rows: Sequence[Row]) -> list[Block]:
        """Plan rows of one function, sorted by register.

        Some best plan divides this order into runs: of two requests that cross, the one that
        reaches around a row of the other may as well have it. So the best plan of the first rows
        is the best one of fewer rows and a last request.
        """
        best: list[tuple[_Cost, list[Block]]] = [((0, 0, 0), [])]
        named = self._named(rows)
        for last in range(len(rows)):
            ways = [
                (_sum(best[first][0], (1, _apart(rows, first, last), block.count)), first, block)
                for first, block in self._runs(rows, last, named)
            ]
            cost, first, block = min(ways, key=lambda way: way[0])
            best.append((cost, [*best[first][1], block]))
        return best[-1][1]

    def _runs(
        self, rows: Sequence[Row], last: int, named: frozenset[int]
    ) -> Iterable[tuple[int, Block]]:
        """Give each request that ends with row `last`, and the index of its first row."""
        end = 0
        for first in range(last, -1, -1):
            start = rows[first].at // self._align * self._align
            end = max(end, -(-rows[first].end // self._align) * self._align)
            block = Block(rows[first].function, start, end - start)
            if block.count > self._most:
                if first == last:
                    raise ConfigError(
                        f"max_registers: found {self._most}, but {rows[first].name} alone"
                        f" needs {block.count}"
                    )
                return
            if first < last and not self._allowed(block, named):
                return
            yield first, block

    def _allowed(self, block: Block, named: frozenset[int]) -> bool:
        inside = range(block.start, block.end)
        cut = any(block.function == function and at in inside[1:] for function, at in self._cuts)
        return not cut and (self._gaps or named.issuperset(inside))

    def _named(self, rows: Sequence[Row]) -> frozenset[int]:
        return frozenset(
            at // self._align * self._align + more
            for row in rows
            for at in range(row.at, row.end)
            for more in range(self._align)
        )


def _apart(rows: Sequence[Row], first: int, last: int) -> int:
    """Count how often a row of this run needs a scale that is not in it."""
    inside = {row.name for row in rows[first : last + 1]}
    return sum(name not in inside for row in rows[first : last + 1] for name in row.scales)


def _sum(one: _Cost, other: _Cost) -> _Cost:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
