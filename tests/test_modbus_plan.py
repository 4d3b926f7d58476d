"""The requests that give all rows: no better ones exist, and none breaks a rule of the device."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.modbus.plan import Block, Cut, pieces, plan
from bridges.modbus.registers import Row
from heliobus.errors import ConfigError

FUNCTION = 4


def row(at: int, count: int = 2, *scales: str, name: str = "", function: int = FUNCTION) -> Row:
    return Row(name or f"r{at}", at, count, "u16", function, scales=scales)


def planned(
    *rows: Row, most: int = 125, gaps: bool = True, align: int = 1, cuts: Sequence[Cut] = ()
) -> list[tuple[int, int]]:
    """Give start and count of each request."""
    blocks = plan(rows, most=most, gaps=gaps, align=align, cuts=cuts)
    return [(block.start, block.count) for block in blocks]


def test_no_rows_need_no_request() -> None:
    assert planned() == []


def test_rows_side_by_side_are_one_request() -> None:
    assert planned(row(0), row(2), row(4)) == [(0, 6)]


def test_one_request_reaches_over_a_gap() -> None:
    assert planned(row(0), row(98)) == [(0, 100)]


def test_a_request_has_no_more_registers_than_the_device_gives() -> None:
    assert planned(row(0), row(78), most=80) == [(0, 80)]
    assert planned(row(0), row(79), most=80) == [(0, 2), (79, 2)]


def test_of_as_many_requests_those_of_fewer_registers_are_made() -> None:
    # Filled up from the left it would be 0 to 79 and 100 to 101.
    assert planned(row(0), row(40, 38), row(78), row(100), most=80) == [(0, 2), (40, 62)]


def test_where_gaps_are_refused_only_named_registers_are_read() -> None:
    assert planned(row(0), row(2), row(6), gaps=False) == [(0, 4), (6, 2)]


def test_requests_begin_and_end_at_even_registers_where_the_device_wants_it() -> None:
    assert planned(row(1, 1), row(4, 1), align=2) == [(0, 6)]
    assert planned(row(1, 1), row(4, 1), align=2, gaps=False) == [(0, 2), (4, 2)]


def test_an_odd_limit_is_kept_by_even_requests() -> None:
    assert planned(row(0), row(2), row(4), align=2, most=5) == [(0, 4), (4, 2)]


def test_each_function_has_requests_of_its_own() -> None:
    blocks = plan([row(0), row(2, function=3)], most=125, gaps=True, align=1)
    assert blocks == (Block(3, 2, 2), Block(4, 0, 2))


def test_a_scale_is_in_the_request_of_its_rows_where_that_fits() -> None:
    apart = [row(0, name="scale"), row(6), row(10)]
    assert planned(*apart, most=8) == [(0, 2), (6, 6)]
    beside = [row(0, name="scale"), row(6, 2, "scale"), row(10)]
    assert planned(*beside, most=8) == [(0, 8), (10, 2)]


def test_scales_are_asked_first() -> None:
    rows = [row(0, 2, "scale"), row(500, name="scale")]
    assert planned(*rows) == [(500, 2), (0, 2)]


def test_what_must_be_apart_is_asked_apart() -> None:
    rows = [row(0), row(2), row(4)]
    assert planned(*rows, cuts=[(FUNCTION, 2)]) == [(0, 2), (2, 4)]
    assert planned(*rows, cuts=[(3, 2)]) == [(0, 6)]


def test_a_row_longer_than_any_answer_is_told() -> None:
    with pytest.raises(ConfigError, match="max_registers: found 3, but serial alone needs 4"):
        planned(row(0, 4, name="serial"), most=3)


def test_rows_that_share_registers_stay_together() -> None:
    rows = [row(4, 1), row(0), row(1, 1, name="flag"), row(5, 1)]
    assert pieces(rows, 1) == [Block(4, 0, 2), Block(4, 4, 1), Block(4, 5, 1)]
    assert pieces(rows, 2) == [Block(4, 0, 2), Block(4, 4, 2)]


# ---------------------------------------------------------------------- against brute force

ROWS = st.lists(
    st.builds(row, st.integers(0, 40), st.integers(1, 5), function=st.sampled_from([3, 4, 4])),
    min_size=1,
    max_size=6,
)
RULES = st.fixed_dictionaries(
    {"most": st.integers(6, 20), "gaps": st.booleans(), "align": st.sampled_from([1, 2])}
)


def partitions(rows: Sequence[Row]) -> Iterator[list[list[Row]]]:
    """Give every way to divide rows into sets."""
    if not rows:
        yield []
        return
    head, *rest = rows
    for division in partitions(rest):
        yield [[head], *division]
        for number, one in enumerate(division):
            yield [*division[:number], [head, *one], *division[number + 1 :]]


def judged(
    division: Sequence[Sequence[Row]], rows: Sequence[Row], *, most: int, gaps: bool, align: int
) -> tuple[int, int, int] | None:
    """Give what a division costs; None: a rule forbids it, or it reads a register twice."""
    count = 0
    spans = sorted((min(one.at for one in some), max(one.end for one in some)) for some in division)
    if any(one.scales for one in rows) and any(a[1] > b[0] for a, b in pairwise(spans)):
        return None
    named = {
        (one.function, at // align) for one in rows for at in range(one.at, one.at + one.count)
    }
    for some in division:
        start = min(one.at for one in some)
        end = max(one.at + one.count for one in some)
        start -= start % align
        end += -end % align
        functions = {one.function for one in some}
        if len(functions) > 1 or end - start > most:
            return None
        inside = {(functions.copy().pop(), at // align) for at in range(start, end)}
        if not gaps and inside - named:
            return None
        count += end - start
    return len(division), _apart(division), count


def _apart(division: Sequence[Sequence[Row]]) -> int:
    return sum(
        scale not in {other.name for other in some}
        for some in division
        for one in some
        for scale in one.scales
    )


def best(rows: Sequence[Row], *, most: int, gaps: bool, align: int) -> tuple[int, int, int]:
    every = (judged(d, rows, most=most, gaps=gaps, align=align) for d in partitions(rows))
    return min(cost for cost in every if cost is not None)


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, rules=RULES)
def test_no_plan_has_fewer_requests_or_as_many_with_fewer_registers(
    rows: list[Row], rules: dict[str, int]
) -> None:
    blocks = plan(rows, **rules)  # type: ignore[arg-type]  # a mapping of three types
    requests, _, registers = best(rows, **rules)  # type: ignore[arg-type]  # as above
    assert (len(blocks), sum(block.count for block in blocks)) == (requests, registers)


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, rules=RULES)
def test_every_plan_keeps_the_rules(rows: list[Row], rules: dict[str, int]) -> None:
    blocks = plan(rows, **rules)  # type: ignore[arg-type]  # a mapping of three types
    align = rules["align"]
    named = {(one.function, at // align) for one in rows for at in range(one.at, one.end)}
    for block in blocks:
        assert block.count <= rules["most"]
        assert block.start % align == block.count % align == 0
        inside = {(block.function, at // align) for at in range(block.start, block.end)}
        assert rules["gaps"] or inside <= named
    assert all(any(block.holds(one) for block in blocks) for one in rows)


SCALED = st.lists(
    st.tuples(
        st.integers(0, 3),  # registers before it
        st.integers(1, 4),
        st.sets(st.integers(0, 5), max_size=2),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(drawn=SCALED, most=st.integers(4, 16))
def test_no_plan_of_as_many_requests_keeps_more_rows_beside_their_scales(
    drawn: list[tuple[int, int, set[int]]], most: int
) -> None:
    rows, at = [], 0
    for number, (before, count, needed) in enumerate(drawn):
        scales = [f"n{other}" for other in needed if other < len(drawn) and other != number]
        rows.append(row(at + before, count, *scales, name=f"n{number}"))
        at += before + count
    blocks = plan(rows, most=most, gaps=True, align=1)
    division = [[one for one in rows if block.holds(one)] for block in blocks]
    cost = len(blocks), _apart(division), sum(block.count for block in blocks)
    assert cost == best(rows, most=most, gaps=True, align=1)
