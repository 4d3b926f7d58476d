"""Counters of energy: what is shown, what is left out, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.mqtt.counters import Counter, Day

DAY = Day(740_000, 12.0)
NEXT = Day(740_001, 7.0)


def counter(kwh: float, most_kw: float = 5.0, *, today: bool = False, times: int = 40) -> Counter:
    """Give a counter that has heard this value so often, at last in the second 0."""
    found = Counter("yield_today_kwh" if today else "yield_kwh", most_kw)
    for n in range(times):
        assert found.judge(kwh, 10.0 * (n + 1 - times), DAY).kwh == kwh
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
        "yield_kwh: it was 100 kWh, and has gone on from 1 kWh for 31 messages in 10 minutes;"
        " counting from there"
    ]
    assert not any(verdict.refused for verdict in verdicts)


@pytest.mark.parametrize(("every_s", "times"), [(300.0, 30), (1.0, 500)])
def test_neither_a_few_values_nor_a_few_minutes_are_enough(every_s: float, times: int) -> None:
    values = [1.0 + n * 1e-4 for n in range(times)]
    assert shown(counter(100.0), *values, every_s=every_s) == [None] * times


@pytest.mark.parametrize(("seen", "more"), [(1, 4), (3, 4), (8, 9), (29, 30)])
@pytest.mark.parametrize("every_s", [5.0, 600.0])
def test_a_place_loses_when_another_was_seen_more_often(
    seen: int, more: int, every_s: float
) -> None:
    values = [502.0 + n * 0.001 for n in range(more)]
    found = counter(21134.05, times=seen)
    assert shown(found, *values, every_s=every_s) == [None] * (more - 1) + values[-1:]


@pytest.mark.parametrize("kwh", [0.0, 60.0, 21134.0])
def test_a_value_that_stands_still_is_never_believed(kwh: float) -> None:
    assert shown(counter(502.345), *[kwh] * 500) == [None] * 500
    assert shown(counter(502.345, times=1), *[kwh] * 500) == [None] * 500


def test_what_follows_a_place_that_was_not_believed_is_shown_at_once() -> None:
    assert shown(counter(502.345), *[0.0] * 500, 502.346)[-1] == 502.346


def test_good_values_between_wrong_ones_take_their_weight() -> None:
    values = [v for n in range(100) for v in (90_000.0 + n, 502.0 + n * 0.001)]
    seen = shown(counter(502.0), *values, every_s=1200.0)
    assert seen[::2] == [None] * 100
    assert seen[1::2] == values[1::2]


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
    found = Counter("yield_kwh", 5.0)
    verdicts = [found.judge(2113405.0 + n, 5.0 * n, DAY) for n in range(200)]
    assert [verdict.refused for verdict in verdicts if verdict.refused] == [
        "yield_kwh: found 2113405 kWh: more than 5 kW give in 30 years; most_kw of the map says so"
    ]
    assert {verdict.kwh for verdict in verdicts} == {None}


def test_the_first_value_of_a_lifetime_is_not_zero() -> None:
    found = Counter("yield_kwh", 50.0)
    values = (0.0, 0.0, 502.345, 502.346)
    assert shown(found, *values) == [None, None, 502.345, 502.346]


def test_a_house_without_pv_has_an_export_of_zero() -> None:
    found = Counter("export_kwh", 5.0)
    assert shown(found, 0.0, 0.0, 0.0, 0.01, 0.02) == [0.0, 0.0, 0.0, 0.01, 0.02]
    assert shown(Counter("export_kwh", 5.0), 0.0, 502.345, 0.0) == [0.0, 502.345, None]


def test_a_zero_of_today_that_comes_first_is_shown_and_proves_nothing() -> None:
    found = Counter("yield_today_kwh", 5.0)
    assert shown(found, 0.0, 0.0, 1.2, 1.2) == [0.0, 0.0, 1.2, 1.2]


@pytest.mark.parametrize(("hours", "kwh"), [(1.0, 10.0), (10.0, 55.0), (12.5, 65.0)])
def test_a_first_value_of_today_is_at_most_what_the_power_gives_since_midnight(
    hours: float, kwh: float
) -> None:
    day = Day(740_000, hours)
    assert Counter("yield_today_kwh", 5.0).judge(kwh, 0.0, day).kwh == kwh
    verdict = Counter("yield_today_kwh", 5.0).judge(kwh + 5, 0.0, day)
    assert verdict.kwh is None
    assert verdict.refused == (
        f"yield_today_kwh: found {kwh + 5:g} kWh: more than 5 kW give since midnight; most_kw of"
        " the map says so"
    )


def test_a_counter_of_today_may_fall_to_about_zero_when_a_second_message_says_so() -> None:
    assert shown(counter(12.0, today=True), 0.0, 0.0, 0.01) == [None, 0.0, 0.01]
    assert shown(counter(12.0, today=True), 0.2, 0.21) == [None, 0.21]
    assert shown(counter(12.0, today=True), 6.0, 6.0, 6.0) == [None] * 3


@pytest.mark.parametrize("zeros", [1, 2, 200])
def test_a_counter_of_today_that_was_zero_by_an_error_is_back_at_once(zeros: int) -> None:
    seen = shown(counter(8.0, today=True), *[0.0] * zeros, 8.001, 8.002)
    assert seen == [None, *[0.0] * (zeros - 1), 8.001, 8.002]


def test_a_counter_of_today_that_has_begun_anew_leaps_no_more() -> None:
    seen = shown(counter(8.0, today=True), 0.0, 0.0, 0.01, 8.0, 0.02)
    assert seen == [None, 0.0, 0.01, None, 0.02]


def test_a_counter_of_today_may_be_anything_that_the_power_gives_on_a_new_day() -> None:
    found = counter(12.0, today=True)
    assert found.judge(3.0, 7 * 3600.0, NEXT).kwh == 3.0
    assert found.judge(1.0, 7 * 3600.0 + 5, NEXT).kwh is None
    assert counter(12.0, today=True).judge(65.0, 3600.0, NEXT).kwh is None
    # The zero of a device that had not begun its day yet.
    found = counter(12.0, today=True)
    assert shown_at(found, NEXT, 0.0, 12.0) == [0.0, 12.0]


def shown_at(found: Counter, day: Day, *values: float) -> list[float | None]:
    """Give what is shown of values of another day."""
    return [found.judge(kwh, 3600.0 + n, day).kwh for n, kwh in enumerate(values)]


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.1, 4000), st.integers(0, 1)), max_size=60),
    st.floats(0.01, 1e6),
)
def test_what_is_shown_of_a_total_falls_only_to_a_place_where_it_has_stayed(
    steps: list[tuple[float, float, int]], most_kw: float
) -> None:
    found = Counter("yield_kwh", most_kw)
    now_s, last = 0.0, 0.0
    for kwh, pause_s, days in steps:
        now_s += pause_s
        verdict = found.judge(kwh, now_s, Day(DAY.number + days, 12.0))
        if verdict.kwh is not None:
            assert verdict.kwh >= last or verdict.log
            last = verdict.kwh
