"""Counters of energy: what is shown, what is left out, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.mqtt.counters import Counter

DAY = 740_000


def counter(kwh: float, most_kw: float = 5.0, *, today: bool = False) -> Counter:
    """Give a counter that has heard this value in the second 0."""
    found = Counter("yield_kwh", most_kw, today=today)
    found.judge(kwh, 0.0, DAY)
    return found


def shown(found: Counter, *values: float, every_s: float = 10.0) -> list[float | None]:
    """Give what is shown of further values."""
    return [found.judge(kwh, every_s * (n + 1), DAY).kwh for n, kwh in enumerate(values)]


def test_a_counter_that_rises_is_shown() -> None:
    assert shown(counter(100.0), 100.0, 100.01, 100.05) == [100.0, 100.01, 100.05]


def test_a_total_that_falls_is_left_out_until_it_is_back() -> None:
    values = (0.0, 0.0, 60.0, 100.2, 100.3)
    assert shown(counter(100.0), *values) == [None, None, None, 100.2, 100.3]


def test_a_total_that_wavers_in_its_last_digit_is_held() -> None:
    assert shown(counter(100.0), 99.9, 99.5, 100.0) == [100.0, 100.0, 100.0]
    assert shown(counter(100.0), 98.9) == [None]


def test_a_total_that_goes_on_from_another_place_is_believed_in_the_end() -> None:
    found = counter(100.0)
    verdicts = [found.judge(1.0 + n * 0.01, 20.0 * (n + 1), DAY) for n in range(32)]
    assert [verdict.kwh for verdict in verdicts] == [None] * 30 + [1.3, 1.31]
    assert [verdict.log for verdict in verdicts if verdict.log] == [
        "yield_kwh: it was 100 kWh, and has gone on from 1.3 kWh for 10 minutes; counting from"
        " there"
    ]
    assert not any(verdict.refused for verdict in verdicts)


@pytest.mark.parametrize(("every_s", "times"), [(300.0, 29), (1.0, 500)])
def test_neither_a_few_values_nor_a_few_minutes_are_enough(every_s: float, times: int) -> None:
    assert shown(counter(100.0), *[1.0] * times, every_s=every_s) == [None] * times


def test_a_new_place_that_wavers_is_not_believed() -> None:
    values = [1.0, 40.0] * 40
    assert set(shown(counter(100.0), *values, every_s=60.0)) == {None}


def test_a_leap_is_refused_once_with_the_reason_and_what_follows_is_shown() -> None:
    found = counter(502.345)
    first, second = found.judge(2113405.25, 5.0, DAY), found.judge(2113405.26, 10.0, DAY)
    assert (first.kwh, second.kwh) == (None, None)
    assert first.refused == (
        "yield_kwh: found 2113405.25 kWh, 5 s after 502.345 kWh: more than 5 kW can give;"
        " most_kw of the map says so"
    )
    assert second.refused == ""
    assert found.judge(502.35, 15.0, DAY).kwh == 502.35


def test_a_leap_that_lasts_is_believed_in_the_end() -> None:
    found = counter(502.0)
    seen = [found.judge(90000.0 + n * 0.001, 30.0 * (n + 1), DAY).kwh for n in range(40)]
    assert seen[:29] == [None] * 29
    assert seen[39] == 90000.039


def test_after_a_long_silence_a_counter_may_have_risen_by_what_its_power_gives() -> None:
    assert counter(100.0).judge(148.0, 10 * 3600.0, DAY).kwh == 148.0
    assert counter(100.0).judge(160.0, 10 * 3600.0, DAY).kwh is None


def test_a_counter_of_whole_kwh_may_rise_by_one() -> None:
    assert shown(counter(100.0), 101.0, 102.0) == [101.0, 102.0]
    assert shown(counter(100.5), 101.5) == [None]


def test_a_first_value_beyond_the_life_of_a_device_is_refused() -> None:
    verdict = Counter("yield_kwh", 5.0, today=False).judge(2113405.0, 0.0, DAY)
    assert verdict.refused.endswith("more than 5 kW give in 30 years; most_kw of the map says so")
    assert verdict.kwh is None
    verdict = Counter("yield_today_kwh", 5.0, today=True).judge(2113.0, 0.0, DAY)
    assert "more than 5 kW give in a day" in verdict.refused


def test_a_counter_of_today_may_fall_to_about_zero() -> None:
    assert shown(counter(12.0, today=True), 0.0, 0.01) == [0.0, 0.01]
    assert shown(counter(12.0, today=True), 0.2) == [0.2]
    assert shown(counter(12.0, today=True), 6.0) == [None]


def test_a_counter_of_today_may_fall_to_anything_at_midnight() -> None:
    found = counter(12.0, today=True)
    assert found.judge(3.0, 7 * 3600.0, DAY + 1).kwh == 3.0
    assert found.judge(1.0, 7 * 3600.0 + 5, DAY + 1).kwh is None


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.1, 4000), st.integers(0, 1)), max_size=60),
    st.floats(0.01, 1e6),
)
def test_what_is_shown_of_a_total_falls_only_to_a_place_where_it_has_stayed(
    steps: list[tuple[float, float, int]], most_kw: float
) -> None:
    found = Counter("yield_kwh", most_kw, today=False)
    now_s, last = 0.0, 0.0
    for kwh, pause_s, days in steps:
        now_s += pause_s
        verdict = found.judge(kwh, now_s, DAY + days)
        if verdict.kwh is not None:
            assert verdict.kwh >= last or verdict.log
            last = verdict.kwh
