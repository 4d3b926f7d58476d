"""A lasting fault is said once, again every hour, and anew when it is another."""

import logging

import pytest

from heliobus.faults import Faults


class Clock:
    """A clock that stands still until it is set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def faults(clock: Clock, caplog: pytest.LogCaptureFixture) -> Faults:
    caplog.set_level(logging.INFO)
    return Faults(logging.getLogger("test"), monotonic=clock)


def test_what_lasts_is_said_once_and_again_after_an_hour(
    faults: Faults, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for clock.now_s in (0.0, 4.0, 3599.0, 3600.0, 3604.0):
        faults.report("sink", "Connection refused")
    assert caplog.messages == ["Connection refused"] * 2


def test_another_reason_is_said_at_once(faults: Faults, caplog: pytest.LogCaptureFixture) -> None:
    faults.report("sink", "Connection refused")
    faults.report("sink", "Access denied")
    faults.report("sink", "Access denied")
    assert caplog.messages == ["Connection refused", "Access denied"]
    assert faults.texts() == ["Access denied"]


def test_other_numbers_are_no_other_reason(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.report("sink", "locked by sqlite3 (process 812)")
    faults.report("sink", "locked by sqlite3 (process 9)")
    assert caplog.messages == ["locked by sqlite3 (process 812)"]
    assert faults.texts() == ["locked by sqlite3 (process 9)"]


def test_other_bytes_on_the_wire_are_no_other_reason_where_the_caller_says_so(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.report("inverter", "no whole reply, got '28 30'", alike=True)
    faults.report("inverter", "no whole reply, got 'ff'", alike=True)
    assert caplog.messages == ["no whole reply, got '28 30'"]


def test_its_end_is_said_where_there_was_a_beginning(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.over("sink", "stores again")
    faults.report("sink", "Connection refused")
    faults.over("sink", "stores again")
    assert caplog.messages == ["Connection refused", "stores again"]
    assert faults.texts() == []
