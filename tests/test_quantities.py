"""Durations, sizes and names as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliobus.errors import ConfigError
from heliobus.quantities import duration_s, duration_text, name, size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("5s", 5), ("4m", 240), ("24h", 86400), ("7d", 604800), ("90", 90), ("2.5", 2.5)),
        *(("1h30m", 5400), ("1h 30m", 5400), ("500ms", 0.5), ("1 min", 60), ("1.5 h", 5400)),
    ],
)
def test_durations_are_read_in_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5x", "s", "-5s", "1e3", "5s5", "nan", "s5", "5 5s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration such as"):
        duration_s(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("256 MB", 256_000_000), ("64kB", 64_000), ("1GiB", 2**30), ("1.5 M", 1_500_000)),
        *(("12", 12), ("12 B", 12)),
    ],
)
def test_sizes_are_read_in_bytes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1 XB", "1 iB", "1 MBB", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a size such as"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *(
            (3600, "1h"),
            (86400, "24h"),
            (172800, "2d"),
            (5400, "90m"),
            (60, "1m"),
            (90, "90s"),
            (0.1, "100ms"),
        ),
        *((0, "0s"), (2.5, "2500ms"), (730 * 86400.0, "730d"), (0.0001, "0.0001s")),
    ],
)
def test_durations_are_worded_in_the_largest_unit_that_fits_and_a_day_in_hours(
    seconds: float, text: str
) -> None:
    assert duration_text(seconds) == text


@given(st.integers(0, 10**9))
def test_a_worded_duration_reads_as_the_same_seconds(seconds: int) -> None:
    assert duration_s(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "better"),
    [
        *(("Inverter-1", "inverter_1"), ("Farm House", "farm_house"), ("Gr\u00fcn", "grun")),
        (" a/b ", "a_b"),
    ],
)
def test_a_bad_name_gets_a_good_one(text: str, better: str) -> None:
    with pytest.raises(ConfigError, match=rf"digits and _; did you mean '{better}'\?$"):
        name(text)
    assert name(better) == better


@pytest.mark.parametrize("text", ["", "-", "\u592a\u967d", "Bus"])
def test_a_name_without_a_good_one_gets_no_suggestion(text: str) -> None:
    with pytest.raises(ConfigError, match=r"digits and _$"):
        name(text)
