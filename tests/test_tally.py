"""The demo's last line: every kind of loss and every kind of duplicate shows in it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliobus import contract, tally
from heliobus.journal import Journal
from heliobus.sample import Sample, Values
from heliobus.settings import JournalSettings, Settings, SinkSettings
from sinks.sql import Sql

T0 = 1_800_000_000_000
A, B, C = (("inverter", f"2027-01-15T08:00:0{second}.000Z") for second in range(3))
Rows = Sequence[tally.Row]


def judged(measured: int, journaled: Rows, stored: Rows) -> tally.Tally:
    answered = {"inverter": measured}
    return tally.compare(
        measured=answered, published=0, rewritten=0, journaled=journaled, stored=stored
    )


@pytest.mark.parametrize(
    ("measured", "journaled", "stored", "lost", "duplicates"),
    [
        pytest.param(0, [], [], 0, 0, id="nothing happened"),
        pytest.param(2, [A, B], [B, A], 0, 0, id="all is well, whatever the order"),
        pytest.param(3, [A, B], [A, B], 1, 0, id="answered and not journaled"),
        pytest.param(2, [A, B], [A], 1, 0, id="journaled and not stored"),
        pytest.param(3, [A, B], [A], 2, 0, id="both"),
        pytest.param(3, [A, B, C], [], 3, 0, id="no database"),
        pytest.param(3, [], [], 3, 0, id="no journal"),
        pytest.param(2, [A, B, B], [A, B], 0, 1, id="journaled twice"),
        pytest.param(1, [A, B], [A, B], 0, 1, id="journaled without an answer"),
        pytest.param(2, [A, B], [A, B, B], 0, 1, id="stored twice"),
        pytest.param(2, [A, B], [A, B, C], 0, 1, id="stored and never journaled"),
        pytest.param(2, [A, B], [A, C], 1, 1, id="another one stored in its place"),
        pytest.param(2, [A, A], [A], 1, 1, id="another one journaled in its place"),
        pytest.param(0, [A], [A], 0, 1, id="the devices left no count"),
    ],
)
def test_the_count(
    measured: int, journaled: Rows, stored: Rows, lost: int, duplicates: int
) -> None:
    result = judged(measured, journaled, stored)
    assert (result.lost, result.duplicates) == (lost, duplicates)
    assert result.stored == len(stored)
    assert result.good is (lost == duplicates == 0)


rows = st.lists(st.sampled_from([A, B, C]), max_size=5)


@given(measured=st.integers(0, 5), journaled=rows, stored=rows)
def test_it_is_good_only_when_all_three_agree(measured: int, journaled: Rows, stored: Rows) -> None:
    agree = sorted(journaled) == sorted(stored) == sorted(set(stored)) and measured == len(stored)
    assert judged(measured, journaled, stored).good is agree


def test_the_line_names_every_count() -> None:
    measured = {"inverter": 2, "meter": 1}
    result = tally.compare(
        measured=measured, published=2, rewritten=1, journaled=[A, B], stored=[A, A]
    )
    assert str(result) == "measured=3 published=2 stored=2 lost=2 duplicates=1 rewritten=1"
    assert not result.note


@pytest.mark.parametrize(
    ("journaled", "stored", "lost", "duplicates"),
    [
        pytest.param([A, B], [A, B], 0, 0, id="all is well"),
        pytest.param([A, B], [A], 1, 0, id="journaled and not stored"),
        pytest.param([A, A], [A], 0, 1, id="journaled twice"),
        pytest.param([A], [A, A], 0, 1, id="stored twice"),
        pytest.param([A], [A, B], 0, 1, id="stored and never journaled"),
    ],
)
def test_what_nobody_asks_for_is_counted_by_the_journal(
    journaled: Rows, stored: Rows, lost: int, duplicates: int
) -> None:
    meter = ("meter", A[1])
    result = tally.compare(
        measured={"meter": 1}, heard=journaled, published=0, rewritten=0,
        journaled=[*journaled, meter], stored=[*stored, meter],
    )  # fmt: skip
    assert (result.measured, result.heard) == (1 + len(set(journaled)), len(set(journaled)))
    assert result.note.startswith(f"{result.heard} of the {result.measured} were heard: ")
    assert (result.lost, result.duplicates) == (lost, duplicates)


def test_what_was_said_of_a_silent_device_makes_up_for_no_lost_answer() -> None:
    result = tally.compare(
        measured={"inverter": 2}, heard=[B, C], published=0, rewritten=0,
        journaled=[A, B, C], stored=[A, B, C],
    )  # fmt: skip
    assert (result.measured, result.heard) == (4, 2)
    assert (result.lost, result.duplicates) == (1, 0)


def test_a_loss_of_one_device_is_not_made_up_for_by_another() -> None:
    meter = ("meter", A[1])
    result = tally.compare(
        measured={"inverter": 2, "meter": 1}, published=0, rewritten=0,
        journaled=[A, meter, ("meter", B[1])], stored=[A, meter, ("meter", B[1])],
    )  # fmt: skip
    assert (result.lost, result.duplicates) == (1, 1)


def test_each_part_behind_a_device_must_have_a_sample_of_every_poll() -> None:
    polls = {"mate3s": 3, "house": 7}
    parts = {"mate3s_port_1": "mate3s", "mate3s_port_2": "mate3s", "house": "house"}
    assert tally.expected(polls, parts) == {"mate3s_port_1": 3, "mate3s_port_2": 3, "house": 7}


def test_a_device_that_was_never_on_the_bus_must_have_samples_all_the_same() -> None:
    assert tally.expected({"mate3s": 3, "house": 0}, {}) == {"mate3s": 3, "house": 0}


def test_what_is_on_the_bus_of_others_is_not_expected() -> None:
    assert tally.expected({"house": 7}, {"house": "house", "dtu": "dtu"}) == {"house": 7}


def sample(time_ms: int, device: str = "inverter", kind: str = "inverter") -> Sample:
    prev_ms = T0 + time_ms - 1 if time_ms else None
    return Sample("demo", "axpert", device, kind, T0 + time_ms, prev_ms, {"made_by": "x" * 200})


def test_a_journal_of_many_batches_is_read_from_a_time_on(tmp_path: Path) -> None:
    settings = Settings("demo", tmp_path, tmp_path)
    journal = Journal(tmp_path, "axpert", JournalSettings())
    journal.open()
    for number in range(1000):
        for one in (sample(number), sample(number, "battery", "battery")):
            assert journal.append(one, one.payload())
        if number % 300 == 0:
            journal.flush(None)
    event = sample(5, "bus", "event")
    journal.append(event, event.payload())
    journal.close()
    found = tally.journaled(settings, "axpert", T0 + 10)
    assert len(found) == len(set(found)) == 2 * 990
    assert min(found) == ("battery", "2027-01-15T08:00:00.010Z")
    assert max(found) == ("inverter", "2027-01-15T08:00:00.999Z")


def test_a_component_that_has_journaled_nothing_has_no_rows(tmp_path: Path) -> None:
    assert tally.journaled(Settings("demo", tmp_path, tmp_path), "axpert", 0) == []


def test_what_was_said_of_a_silent_device_is_told_apart(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "aurora", JournalSettings())
    journal.open()
    asleep: Values = {"mode": "asleep"}
    said: tuple[Values, ...] = (
        {"mode": "running", "charge_state": "asleep"},
        asleep,
        {**asleep, "battery_v": 52.1},  # a charger, which says so itself
        asleep,
        {"charge_state": "asleep"},
    )
    for number, values in enumerate(said):
        one = replace(sample(number), values=values, marks={"simulated": True})
        journal.append(one, one.payload())
    journal.close()
    settings = Settings("demo", tmp_path, tmp_path)
    assert len(tally.journaled(settings, "aurora", T0)) == 5
    found = tally.journaled(settings, "aurora", T0, silent_only=True)
    assert [time[-5:-1] for _, time in found] == [".001", ".003"]


def test_a_second_run_at_once_is_counted_for_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "axpert", JournalSettings())
    journal.open()
    for number in (0, 1, 2, 2000, 2001):
        one = sample(number)
        journal.append(one, one.payload())
    journal.close()
    found = tally.journaled(Settings("demo", tmp_path, tmp_path), "axpert", T0 + 1000)
    assert [time for _, time in found] == ["2027-01-15T08:00:02.000Z", "2027-01-15T08:00:02.001Z"]


def test_an_archive_is_read_from_a_time_on_whatever_the_kind(tmp_path: Path) -> None:
    rules = contract.load()
    path = tmp_path / "history.db"
    assert tally.stored(path, rules, T0, site="demo") == []
    sink = Sql(
        SinkSettings("archive", "sql", options={"url": "sqlite:///history.db"}),
        folder=tmp_path,
        data=tmp_path,
    )
    sink.open()
    sink.write([sample(1), sample(2), sample(3), sample(3, "bank", "battery")], {})
    # It is read while the archive is in use.
    assert sorted(tally.stored(path, rules, T0 + 2, site="demo")) == [
        ("bank", "2027-01-15T08:00:00.003Z"),
        ("inverter", "2027-01-15T08:00:00.002Z"),
        ("inverter", "2027-01-15T08:00:00.003Z"),
    ]
    sink.close()


def test_a_count_is_left_for_another_process(tmp_path: Path) -> None:
    note = tmp_path / "house.json"
    assert tally.noted(note) == {}
    tally.note(note, polls={"inverter": 17})
    assert tally.noted(note) == {"polls": {"inverter": 17}}
    note.write_text("{")
    assert tally.noted(note) == {}


def test_who_counts_after_another_that_left_nothing_knows_it(tmp_path: Path) -> None:
    path = tmp_path / "house.json"
    assert tally.begin(path)
    assert tally.noted(path) == {}
    assert not tally.begin(path)
