"""The journal: nothing appended is lost, whatever happens to the process, the file or the clock."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliobus.journal import Journal
from heliobus.sample import Sample
from heliobus.settings import JournalSettings
from tests.helpers import ROOT, wait_until

T0 = 1_800_000_000_000


def sample(time_ms: int, prev_ms: int | None, device: str = "inverter") -> Sample:
    return Sample(
        site="farm",
        bridge="axpert",
        device=device,
        kind="inverter",
        time_ms=time_ms,
        prev_ms=prev_ms,
        values={"battery_v": 52.7},
    )


def opened(folder: Path, *, max_size_bytes: int = 256_000_000) -> Journal:
    journal = Journal(folder, "axpert", JournalSettings(max_size_bytes=max_size_bytes))
    assert journal.open() == []
    return journal


def fill(journal: Journal, times: list[int], device: str = "inverter") -> None:
    """Append samples at these times after T0; a time that falls back begins a new chain."""
    last = journal.last(device)
    for t in times:
        prev = last if last is not None and T0 + t > last else None
        one = sample(T0 + t, prev, device)
        assert journal.append(one, one.payload())
        last = T0 + t


def all_after(journal: Journal, after: int | None, device: str = "inverter") -> list[int]:
    """Follow the journal as a sink does, batch by batch; give the times after T0 that came."""
    got: list[int] = []
    cursor = None if after is None else T0 + after
    while True:
        batch = journal.batch(device, cursor, None, max_bytes=300)
        got += [entry.time_ms - T0 for entry in batch.entries]
        if not batch.entries:
            return got
        assert batch.restart or batch.after_ms == cursor
        cursor = batch.to_ms


def test_what_was_appended_is_answered_before_and_after_it_settles(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2, 3])
    assert all_after(journal, None) == [1, 2, 3]
    journal.flush(None)
    fill(journal, [4, 5])
    assert all_after(journal, None) == [1, 2, 3, 4, 5]
    assert all_after(journal, 3) == [4, 5]
    assert all_after(journal, 5) == []
    journal.close()


def test_the_payload_comes_back_as_it_was_published(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    one = sample(T0, None)
    journal.append(one, one.payload())
    journal.flush(None)
    assert journal.batch("inverter", None, None).entries[0].payload == (
        b'{"time":"2027-01-15T08:00:00.000Z","prev":null,"kind":"inverter","bridge":"axpert",'
        b'"battery_v":52.7}'
    )
    journal.close()


def test_a_batch_ends_at_the_time_that_was_asked_for(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2, 3, 4])
    batch = journal.batch("inverter", T0 + 1, T0 + 3)
    assert [entry.time_ms - T0 for entry in batch.entries] == [2, 3]
    assert batch.to_ms == T0 + 3
    journal.close()


def test_a_batch_stays_below_64_kb(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, list(range(2000)))
    batch = journal.batch("inverter", None, None)
    assert 400 < len(batch.entries) < 2000
    assert sum(len(entry.payload) for entry in batch.entries) < 64_000
    journal.close()


def test_devices_do_not_see_each_others_samples(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 3, 5], "a_b")
    fill(journal, [2, 4], "axb")
    journal.flush(None)
    assert all_after(journal, None, "a_b") == [1, 3, 5]
    assert all_after(journal, None, "axb") == [2, 4]
    assert journal.heads() == {"a_b": (T0 + 1, T0 + 5), "axb": (T0 + 2, T0 + 4)}
    journal.close()


def test_an_unknown_device_gets_an_empty_answer_that_ends_its_asking(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    batch = journal.batch("nobody", T0, None)
    assert (batch.after_ms, batch.to_ms, batch.entries) == (T0, T0, ())
    journal.close()


def test_the_tail_of_a_killed_process_is_taken_up_and_its_cut_last_line_dropped(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2])
    with (tmp_path / "axpert.tail").open("ab") as tail:
        tail.write(b'inverter\t1800000000003\t1800000000002\t{"time":"2027-01')
    again = opened(tmp_path)  # the first is never closed: as after kill -9
    assert all_after(again, None) == [1, 2]
    assert again.last("inverter") == T0 + 2
    again.close()


def test_a_process_killed_between_settling_and_deleting_the_tail_doubles_nothing(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2])
    lines = (tmp_path / "axpert.tail").read_bytes()
    journal.flush(None)
    journal.close()
    (tmp_path / "axpert.moving").write_bytes(lines)
    again = opened(tmp_path)
    assert all_after(again, None) == [1, 2]
    again.close()


def test_a_process_killed_while_settling_loses_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2])
    (tmp_path / "axpert.tail").rename(tmp_path / "axpert.moving")
    one = sample(T0 + 3, T0 + 2)
    (tmp_path / "axpert.tail").write_bytes(
        b"inverter\t%d\t%d\t%s\n" % (one.time_ms, T0 + 2, one.payload())
    )
    again = opened(tmp_path)
    assert all_after(again, None) == [1, 2, 3]
    again.close()


WRITER = """
import sys
from pathlib import Path
from heliobus.journal import Journal
from heliobus.settings import JournalSettings
from tests.test_journal import T0, sample
journal = Journal(Path(sys.argv[1]), "axpert", JournalSettings())
journal.open()
last = journal.last("inverter")
t = (last or T0) + 1
while True:
    one = sample(t, last)
    journal.append(one, one.payload())
    print(t - T0, flush=True)
    last, t = t, t + 1
    if t % 7 == 0:
        journal.flush(None)
"""


@contextmanager
def a_locked_journal(folder: Path) -> Iterator[None]:
    """Hold the journal's file as another process may: nothing can be written to it meanwhile."""
    lock = sqlite3.connect(folder / "axpert.journal", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    yield
    lock.execute("ROLLBACK")
    lock.close()


def test_a_moved_tail_that_cannot_settle_is_left_as_it_is_and_the_tail_grows(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2])
    moving, tail = tmp_path / "axpert.moving", tmp_path / "axpert.tail"
    with a_locked_journal(tmp_path):
        journal.flush(None)
        moved = moving.read_bytes()
        fill(journal, [3, 4])
        journal.flush(None)
        assert (moving.read_bytes(), tail.read_bytes().count(b"\n")) == (moved, 2)
    journal.flush(None)
    fill(journal, [5])
    assert all_after(journal, None) == [1, 2, 3, 4, 5]
    again = opened(tmp_path)  # as after kill -9
    assert all_after(again, None) == [1, 2, 3, 4, 5]
    again.close()


def test_the_tail_of_a_journal_that_cannot_be_written_has_an_end(tmp_path: Path) -> None:
    limit = 10_000
    journal = opened(tmp_path, max_size_bytes=limit)
    one = sample(T0, None)
    with a_locked_journal(tmp_path):
        journal.append(one, one.payload())
        journal.flush(None)
        appended = [journal.append(one, one.payload()) for _ in range(200)]
        assert appended.index(False) > 50
        assert journal.unjournaled == appended.count(False)
        assert journal.fault is not None
        assert "axpert.journal: database is locked" in journal.fault
        assert (tmp_path / "axpert.tail").stat().st_size < limit + 200
    journal.flush(None)
    assert journal.append(one, one.payload())
    journal.close()


@pytest.mark.parametrize("copied", [1, 2, 3])
def test_lines_that_lie_in_both_tails_are_taken_up_once(tmp_path: Path, copied: int) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2, 3, 4])
    lines = (tmp_path / "axpert.tail").read_bytes().splitlines(keepends=True)
    (tmp_path / "axpert.moving").write_bytes(b"".join(lines[:copied]) + lines[copied][:20])
    again = opened(tmp_path)
    assert all_after(again, None) == [1, 2, 3, 4]
    again.close()


def test_what_a_process_had_appended_when_it_was_killed_is_there(tmp_path: Path) -> None:
    said: list[int] = []
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert writer.stdout is not None
        before = len(said)
        while len(said) < before + 200:
            said.append(int(writer.stdout.readline()))
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout.read().split() if line]
        writer.wait()
    journal = opened(tmp_path)
    there = all_after(journal, None)
    assert set(said) <= set(there)
    assert there == list(range(1, len(there) + 1))
    assert len(there) <= len(said) + 5  # one sample per kill may be written and not yet said
    journal.close()


@pytest.mark.parametrize("damage", ["rubbish", "cut", "block"])
def test_a_damaged_journal_is_set_aside_and_a_new_one_begun(tmp_path: Path, damage: str) -> None:
    journal = opened(tmp_path)
    fill(journal, list(range(50)))
    journal.close()
    path = tmp_path / "axpert.journal"
    if damage == "rubbish":
        path.write_bytes(b"this is not a database" * 400)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        with sqlite3.connect(path) as db:
            db.execute("UPDATE blocks SET data = x'00'")
    again = Journal(tmp_path, "axpert", JournalSettings())
    (report,) = again.open()
    assert "axpert.journal: damaged (" in report
    assert "set aside as axpert.damaged-1" in report
    assert (tmp_path / "axpert.damaged-1").exists()
    fill(again, [100])
    assert all_after(again, None) == [100]
    again.close()


def test_damage_that_shows_while_running_is_reported_and_measuring_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened(tmp_path)
    fill(journal, list(range(50)))
    journal.flush(None)
    with sqlite3.connect(tmp_path / "axpert.journal") as db:
        db.execute("UPDATE blocks SET data = x'00'")
    batch = journal.batch("inverter", T0 + 10, None)
    assert batch.lost_until_ms == T0 + 49
    assert caplog.text.count("axpert.journal: damaged (a block is damaged") == 1
    assert "set aside as axpert.damaged-1" in caplog.text
    fill(journal, [100])
    journal.flush(None)
    assert all_after(journal, 49) == [100]
    journal.close()


def test_a_disk_without_space_is_counted_and_said_and_the_next_lines_stay_whole(
    tmp_path: Path,
) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            journal = opened(tmp_path)
            fill(journal, [1])
            size = (tmp_path / "axpert.tail").stat().st_size
            # 40 bytes more fit: the second line is cut in its middle, the third finds no room.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limits[1]))
            two, three, four = (sample(T0 + t, T0 + t - 1) for t in (2, 3, 4))
            refused = not journal.append(two, two.payload())
            refused = refused and not journal.append(three, three.payload())
            refused = refused and journal.unjournaled == 2 and journal.fault is not None
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            written = journal.append(four, four.payload()) and journal.fault is None
            status = 0 if refused and written else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    journal = opened(tmp_path)
    assert all_after(journal, None) == [1, 4]
    assert journal.batch("inverter", T0 + 1, None).lost_until_ms == T0 + 3
    journal.close()


def test_a_folder_that_cannot_be_written_is_said_and_measuring_goes_on(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1])
    journal.flush(None)
    (tmp_path / "axpert.tail").unlink()
    (tmp_path / "axpert.tail").symlink_to("/dev/full")
    journal._begin_tail()  # noqa: SLF001 - as after a flush
    one = sample(T0 + 2, T0 + 1)
    assert not journal.append(one, one.payload())
    assert journal.fault == f"{tmp_path}/axpert.tail: No space left on device"
    assert journal.unjournaled == 1


def test_old_blocks_are_pruned_by_age_and_what_is_gone_is_said(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for start in range(0, 100, 10):
        fill(journal, list(range(start, start + 10)))
        journal.flush(None)
    journal.flush(T0 + 50)
    assert all_after(journal, None) == list(range(50, 100))
    batch = journal.batch("inverter", T0 + 20, None)
    assert batch.lost_until_ms == T0 + 49
    assert batch.entries[0].time_ms == T0 + 50
    assert journal.batch("inverter", T0 + 49, None).lost_until_ms is None
    assert journal.heads() == {"inverter": (T0 + 50, T0 + 99)}
    journal.close()


def test_nothing_is_pruned_by_age_without_a_good_clock(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, list(range(10)))
    journal.flush(None)
    journal.flush(None)
    assert len(all_after(journal, None)) == 10
    journal.close()


def test_the_oldest_goes_first_when_the_journal_is_full(tmp_path: Path) -> None:
    limit = 200_000
    journal = opened(tmp_path, max_size_bytes=limit)
    for start in range(300):
        one = [sample(T0 + start * 50 + i, T0 + start * 50 + i - 1) for i in range(50)]
        for s in one:
            payload = s.payload()[:-1] + b',"noise":"%s"}' % os.urandom(30).hex().encode()
            journal.append(s, payload)
        journal.flush(None)
    assert journal.size_bytes <= limit + 20_000
    there = all_after(journal, None)
    assert there[-1] == 300 * 50 - 1
    assert there == list(range(there[0], there[-1] + 1))
    assert there[0] > 0
    journal.close()


def test_a_device_that_is_gone_keeps_its_head_until_its_samples_age_out(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2], "old")
    journal.flush(None)
    fill(journal, [100], "new")
    journal.close()
    journal = opened(tmp_path)
    assert set(journal.heads()) == {"old", "new"}
    journal.flush(T0 + 50)
    assert set(journal.heads()) == {"new"}
    journal.close()


def test_heads_are_told_without_reading_a_block(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2])
    journal.flush(None)
    fill(journal, [3], "late")
    journal.flush(None)
    fill(journal, [4], "later")
    with sqlite3.connect(tmp_path / "axpert.journal") as db:
        db.execute("UPDATE blocks SET data = x'00'")
    ends = {"inverter": (T0 + 1, T0 + 2), "late": (T0 + 3, T0 + 3), "later": (T0 + 4, T0 + 4)}
    assert (journal.heads(), journal.fault) == (ends, None)
    journal.close()


def test_pruning_raises_the_oldest_time_of_the_devices_that_lost_by_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for devices in (["a", "b"], ["a"], ["a", "b"]):
        for device in devices:
            fill(journal, [(journal.last(device) or T0) - T0 + 1000], device)
        journal.flush(None)
    journal.flush(T0 + 1500)
    assert journal.heads() == {"a": (T0 + 2000, T0 + 3000), "b": (T0 + 2000, T0 + 2000)}
    journal.close()


def test_a_journal_without_the_oldest_times_is_given_them(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for t in (1, 2):
        fill(journal, [t])
        journal.flush(None)
    journal.close()
    with sqlite3.connect(tmp_path / "axpert.journal") as db:
        db.execute("CREATE TABLE old (device TEXT PRIMARY KEY, last_ms INTEGER NOT NULL)")
        db.execute("INSERT INTO old SELECT device, last_ms FROM heads")
        db.execute("DROP TABLE heads")
        db.execute("ALTER TABLE old RENAME TO heads")
    again = opened(tmp_path)
    fill(again, [3])
    again.flush(None)
    assert again.heads() == {"inverter": (T0 + 1, T0 + 3)}
    assert all_after(again, None) == [1, 2, 3]
    again.close()


def test_a_clock_set_back_is_followed_in_the_order_of_measuring(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [100_000, 100_001, 100_002])
    journal.flush(None)
    fill(journal, [100_003])
    fill(journal, [500, 501, 502])
    everything = [100_000, 100_001, 100_002, 100_003, 500, 501, 502]
    assert all_after(journal, None) == everything
    assert all_after(journal, 100_001) == everything[2:]
    assert all_after(journal, 100_003) == [500, 501, 502]
    assert all_after(journal, 501) == [502]
    first = journal.batch("inverter", T0 + 100_003, None)
    assert (first.restart, first.after_ms, first.to_ms) == (True, None, T0 + 502)
    journal.close()


def test_a_cursor_far_ahead_of_a_new_journal_gets_all_of_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2])
    batch = journal.batch("inverter", T0 + 10 * 365 * 86_400_000, None)
    assert batch.restart
    assert [entry.time_ms - T0 for entry in batch.entries] == [1, 2]
    journal.close()


def test_a_cursor_of_a_tail_that_was_lost_comes_back_to_what_is_there(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1, 2, 70_000, 70_001])
    batch = journal.batch("inverter", T0 + 79_000, None)
    assert (batch.restart, batch.to_ms) == (True, T0 + 70_001)
    assert [entry.time_ms - T0 for entry in batch.entries] == [70_000, 70_001]
    fill(journal, [70_500])  # the clock was set back a little after the power cut
    fill(journal, [79_500])
    batch = journal.batch("inverter", T0 + 79_000, None)
    assert [entry.time_ms - T0 for entry in batch.entries] == [70_000, 70_001, 70_500, 79_500]
    assert (batch.restart, batch.to_ms) == (False, T0 + 79_500)
    journal.close()


def test_a_cursor_ahead_of_a_pruned_journal_gets_all_of_it_once(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [10**9, 1, 2])
    journal.flush(None)
    fill(journal, [3, 4])
    journal.flush(None)
    journal.flush(T0 + 10**9 + 1)  # what had begun the chain is gone, and so is the cursor's entry
    fill(journal, [5, 6])
    batch = journal.batch("inverter", T0 + 10**9, None)
    assert (batch.restart, batch.to_ms) == (True, T0 + 6)
    assert journal.batch("inverter", batch.to_ms, None).entries == ()
    journal.close()


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(min_value=-5, max_value=9), st.booleans()), min_size=1, max_size=30
    ),
    after=st.integers(min_value=0, max_value=30),
)
def test_any_history_of_steps_and_flushes_is_answered_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]], after: int
) -> None:
    journal = opened(tmp_path_factory.mktemp("journal"))
    times: list[int] = []
    now = 1_000_000
    for step, flush in steps:
        # Steps back are far, so that no two samples share a time: each is a chain of its own.
        now += step * 1000 + len(times) + 1 if step >= 0 else step * 100_000 - len(times)
        if now in times:
            continue
        fill(journal, [now])
        times.append(now)
        if flush:
            journal.flush(None)
    assert all_after(journal, None) == times
    start = min(after, len(times) - 1)
    assert all_after(journal, times[start]) == times[start + 1 :]
    journal.close()


def test_waiting_for_the_disk_never_holds_up_an_append(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, [1])
    blocker = sqlite3.connect(tmp_path / "axpert.journal", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    journal.flush(None)  # gives up after its own patience and keeps the lines
    assert journal.fault is not None
    assert "locked" in journal.fault
    fill(journal, [2])
    blocker.execute("ROLLBACK")
    blocker.close()
    journal.flush(None)
    fill(journal, [3])
    assert all_after(journal, None) == [1, 2, 3]
    wait_until(lambda: not (tmp_path / "axpert.moving").exists(), "the moved tail to be deleted")
    journal.close()
    again = opened(tmp_path)
    assert all_after(again, None) == [1, 2, 3]
    again.close()
