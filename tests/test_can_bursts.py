"""Frames that come by themselves become bursts: what was measured together stays together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.can import profiles
from bridges.can.bursts import Burst, Bursts
from bridges.can.frames import EXTENDED
from tests.helpers import ROOT

LV = profiles.load("pylontech_lv", beside=ROOT)
# As a US5000 sends them, 2 ms apart, every 2 s.
ORDER = (0x359, 0x351, 0x355, 0x356, 0x35C, 0x35E)


def bursts() -> Bursts:
    return Bursts(LV)


def send(
    to: Bursts, at_s: float, mark: int, *, ids: tuple[int, ...] = ORDER, step_s: float = 0.002
) -> float:
    """Send a burst whose bytes are all `mark`; give the time of its last frame."""
    for count, number in enumerate(ids):
        to.take(at_s + count * step_s, number, bytes([mark] * 8))
    return at_s + (len(ids) - 1) * step_s


def marks(burst: Burst | None) -> dict[int, int]:
    assert burst is not None
    return {number: data[0] for number, data in burst.frames.items()}


def test_a_burst_that_has_not_ended_is_not_given() -> None:
    one = bursts()
    assert one.newest(0.0) is None
    end_s = send(one, 100.0, 1)
    assert one.newest(end_s + 0.049) is None


def test_a_gap_ends_a_burst() -> None:
    one = bursts()
    end_s = send(one, 100.0, 1)
    found = one.newest(end_s + 0.051)
    assert found is not None
    assert marks(found) == dict.fromkeys(ORDER, 1)
    assert (found.number, found.at_s) == (1, end_s)


def test_an_identifier_that_comes_again_ends_a_burst() -> None:
    one = bursts()
    end_s = send(one, 100.0, 1)
    one.take(end_s + 0.002, 0x359, bytes([2] * 8))
    assert marks(one.newest(end_s + 0.003)) == dict.fromkeys(ORDER, 1)


def test_half_a_new_burst_is_never_mixed_with_the_old_one() -> None:
    one = bursts()
    send(one, 100.0, 1)
    send(one, 102.0, 2, ids=ORDER[:3])
    assert set(marks(one.newest(102.01)).values()) == {1}
    send(one, 102.006, 2, ids=ORDER[3:])
    assert set(marks(one.newest(103.0)).values()) == {2}


def test_a_burst_is_given_until_there_is_a_newer_one_and_has_its_number() -> None:
    one = bursts()
    send(one, 100.0, 1)
    first = one.newest(101.0)
    assert one.newest(1000.0) is first
    send(one, 1001.0, 2)
    second = one.newest(1002.0)
    assert second is not None
    assert second.number == 2


def test_what_comes_seldom_is_kept_with_its_age_and_then_left_out() -> None:
    one = bursts()
    send(one, 100.0, 1, ids=(0x35E,))
    send(one, 104.0, 2, ids=(0x356,))
    found = one.newest(105.0)
    assert found is not None
    assert found.ages_s == {0x35E: pytest.approx(4.0), 0x356: 0.0}
    send(one, 110.0, 3, ids=(0x356,))
    found = one.newest(111.0)
    assert found is not None
    assert set(found.frames) == {0x356}


def test_frames_that_come_one_by_one_are_all_there() -> None:
    """SMA asks for 200 ms between frames."""
    one = bursts()
    send(one, 100.0, 1, step_s=0.2)
    assert marks(one.newest(102.0)) == dict.fromkeys(ORDER, 1)


def test_what_the_profile_does_not_have_ends_no_burst_and_is_not_kept() -> None:
    """An inverter sends 305 at any time."""
    one = bursts()
    for count, number in enumerate((0x351, 0x305, 0x355, 0x305, 0x355 | EXTENDED, 0x356)):
        one.take(100.0 + count * 0.002, number, bytes(8))
    assert set(marks(one.newest(101.0))) == {0x351, 0x355, 0x356}


def test_an_empty_frame_is_a_frame() -> None:
    one = bursts()
    one.take(1.0, 0x351, b"")
    found = one.newest(2.0)
    assert found is not None
    assert found.frames == {0x351: b""}


def test_a_clock_that_went_back_ends_a_burst() -> None:
    one = bursts()
    send(one, 100.0, 1)
    send(one, 50.0, 2)
    assert marks(one.newest(50.02)) == dict.fromkeys(ORDER, 1)
    assert marks(one.newest(51.0)) == dict.fromkeys(ORDER, 2)


def test_what_is_forgotten_does_not_come_again() -> None:
    one = bursts()
    send(one, 100.0, 1)
    one.forget()
    assert one.newest(200.0) is None
    send(one, 200.0, 2, ids=(0x356,))
    assert marks(one.newest(201.0)) == {0x356: 2}


def test_two_devices_do_not_share_anything() -> None:
    one, other = bursts(), bursts()
    send(one, 100.0, 1)
    assert other.newest(101.0) is None


@given(
    frames=st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False, width=32),
            st.sampled_from(ORDER) | st.integers(0, 2**32 - 1),
            st.binary(max_size=8),
        ),
        max_size=60,
    )
)
def test_whatever_comes_only_the_newest_of_each_identifier_is_kept(
    frames: list[tuple[float, int, bytes]],
) -> None:
    one = bursts()
    for at_s, number, data in frames:
        one.take(at_s, number, data)
        found = one.newest(at_s)
        if found is not None:
            assert set(found.frames) <= set(LV.messages)
            assert set(found.ages_s) == set(found.frames)
            assert all(0 <= age_s < 10 for age_s in found.ages_s.values())
