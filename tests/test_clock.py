"""The clock: what is measured gets its true time, whatever the computer believed at first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliobus.clock import LARGEST_UNSYNCED_STEP_S, Clock, kernel_synced
from heliobus.settings import ClockSettings

T0 = 1_800_000_000
YEAR_S = 365 * 86_400
Y2036 = T0 + 9 * YEAR_S


class Machine:
    """A computer whose clocks we hold, and which has just started."""

    def __init__(
        self, wall_s: float, *, synced: bool = False, wait_s: float = 120.0, trust: bool = False
    ) -> None:
        self.wall_s = wall_s
        self.monotonic_s = 17.0
        self.synced = synced
        self.clock = Clock(
            ClockSettings(wait_s=wait_s, trust=trust),
            wall=lambda: self.wall_s,
            monotonic=lambda: self.monotonic_s,
            synced=lambda: self.synced,
        )

    def let_pass(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds
        self.clock.refresh()

    def set(self, wall_s: float, *, synced: bool | None = None) -> None:
        self.wall_s = wall_s
        self.synced = self.synced if synced is None else synced
        self.clock.refresh()

    @property
    def now_s(self) -> float:
        return self.clock.now_ms() / 1000


def test_what_to_do_about_a_clock_without_time_is_a_line_of_the_configuration() -> None:
    fault = Machine(0.0).clock.fault
    assert fault is not None
    assert fault.endswith("write `clock: trust` as a line of its own into heliobus.yaml")


def test_a_synchronised_clock_is_taken_at_once() -> None:
    machine = Machine(T0, synced=True)
    assert machine.clock.ready
    assert machine.clock.synced
    assert machine.now_s == T0
    machine.let_pass(5.5)
    assert machine.now_s == T0 + 5.5


def test_what_was_measured_in_1970_is_stamped_with_the_time_that_came_later() -> None:
    machine = Machine(0.0)
    measured_s = machine.clock.monotonic()
    machine.let_pass(30.0)
    assert not machine.clock.ready
    machine.set(T0 + 30.0, synced=True)
    assert machine.clock.ready
    assert machine.clock.stamp(measured_s) == T0 * 1000


def test_a_clock_hours_behind_is_waited_for_too() -> None:
    machine = Machine(T0 - 7 * 3600)
    measured_s = machine.clock.monotonic()
    machine.let_pass(60.0)
    machine.set(T0 + 60.0, synced=True)
    assert machine.clock.stamp(measured_s) == T0 * 1000


def test_a_clock_that_never_is_synchronised_is_taken_after_the_wait() -> None:
    machine = Machine(T0)
    machine.let_pass(119.9)
    assert not machine.clock.ready
    machine.let_pass(0.1)
    assert machine.clock.ready
    assert not machine.clock.synced
    assert machine.now_s == T0 + 120


def test_a_clock_that_is_trusted_is_not_waited_for_and_is_followed_anywhere() -> None:
    machine = Machine(T0, trust=True)
    assert machine.clock.ready
    machine.set(T0 + 10 * YEAR_S)
    assert machine.now_s == T0 + 10 * YEAR_S
    machine.set(T0)
    assert machine.now_s == T0


@pytest.mark.parametrize("step_s", [0.5, LARGEST_UNSYNCED_STEP_S])
def test_a_small_step_forward_is_taken_from_an_unsynchronised_clock(step_s: float) -> None:
    machine = Machine(T0, wait_s=0.0)
    machine.set(T0 + step_s)
    assert machine.now_s == T0 + step_s


@pytest.mark.parametrize("step_s", [LARGEST_UNSYNCED_STEP_S + 1, YEAR_S, -1.0, -YEAR_S])
def test_a_large_step_or_one_back_is_taken_only_from_a_synchronised_clock(step_s: float) -> None:
    machine = Machine(T0, wait_s=0.0)
    machine.set(T0 + step_s)
    assert machine.now_s == T0
    machine.let_pass(10.0)
    assert machine.now_s == T0 + 10
    machine.set(T0 + 10 + step_s, synced=True)
    assert machine.now_s == T0 + 10 + step_s


def test_a_clock_that_wakes_in_2036_is_brought_back() -> None:
    machine = Machine(Y2036)
    machine.let_pass(120.0)
    assert machine.clock.ready
    assert machine.now_s == Y2036 + 120
    machine.set(T0, synced=True)
    assert machine.now_s == T0


def test_a_clock_that_loses_its_source_goes_on() -> None:
    machine = Machine(T0, synced=True)
    machine.let_pass(86_400.0)
    machine.synced = False
    machine.let_pass(10.0)
    assert machine.clock.ready
    assert not machine.clock.synced
    assert machine.now_s == T0 + 86_410


@given(
    steps=st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(0, 1e4), st.booleans()), max_size=15),
    last_s=st.floats(0, 4e9),
)
def test_once_synchronised_it_always_agrees_with_the_wall(
    steps: list[tuple[float, float, bool]], last_s: float
) -> None:
    machine = Machine(T0)
    for step_s, pass_s, synced in steps:
        machine.set(machine.wall_s + step_s, synced=synced)
        machine.let_pass(pass_s)
    machine.set(last_s, synced=True)
    assert machine.clock.now_ms() == pytest.approx(last_s * 1000, abs=1)


def test_the_kernel_can_be_asked() -> None:
    assert kernel_synced() in (True, False)
