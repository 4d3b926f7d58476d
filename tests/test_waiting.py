"""What waits for the clock survives its process, and only its boot."""

from pathlib import Path

from heliobus.sample import Measured
from heliobus.waiting import Waiting

ONE = Measured("inverter", "inverter", {"pv_w": 812, "alarms": ["fan_locked"]}, 12.5)
TWO = Measured("bus", "event", {"event": "started"}, 13.0)


def opened(path: Path) -> Waiting:
    waiting = Waiting(path)
    waiting.open()
    return waiting


def test_a_killed_process_leaves_what_waited_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "axpert.waiting"
    first = opened(path)
    first.put(ONE, on_disk=True)
    first.put(TWO, on_disk=True)
    with path.open("ab") as file:
        file.write(b'{"device":"inver')  # killed in the middle of a line
    second = opened(path)
    assert [second.take(), second.take(), len(second)] == [ONE, TWO, 0]


def test_what_has_been_journaled_is_not_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "axpert.waiting"
    first = opened(path)
    first.put(ONE, on_disk=True)
    first.take()
    first.clear_disk()
    assert not path.exists()
    first.put(TWO, on_disk=True)
    assert opened(path).take() == TWO


def test_moments_of_another_boot_are_no_times_and_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "axpert.waiting"
    path.write_bytes(b"00000000-0000-0000-0000-000000000000\n" + b'{"device":"a"}\n')
    waiting = opened(path)
    assert len(waiting) == 0
    waiting.put(ONE, on_disk=True)
    assert opened(path).take() == ONE


def test_a_disk_that_cannot_be_written_costs_no_sample(tmp_path: Path) -> None:
    waiting = opened(tmp_path / "no such folder" / "axpert.waiting")
    waiting.put(ONE, on_disk=True)
    assert waiting.take() == ONE
    waiting.clear_disk()


def test_what_was_sent_is_not_taken_up_again_after_a_kill_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "axpert.waiting"
    first = opened(path)
    first.put(ONE, on_disk=True)
    first.put(TWO, on_disk=True)
    first.take()
    first.sent()
    second = opened(path)
    assert [second.take(), len(second)] == [TWO, 0]


def test_what_is_put_after_a_cut_line_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "axpert.waiting"
    opened(path).put(ONE, on_disk=True)
    with path.open("ab") as file:
        file.write(b'{"device":"inver')
    opened(path).put(TWO, on_disk=True)
    third = opened(path)
    assert [third.take(), third.take(), len(third)] == [ONE, TWO, 0]


def test_a_file_that_cannot_be_deleted_is_deleted_later(tmp_path: Path) -> None:
    path = tmp_path / "axpert.waiting"
    waiting = opened(path)
    waiting.put(ONE, on_disk=True)
    waiting.take()
    path.unlink()
    path.mkdir()  # also root, who runs tests, cannot unlink a folder
    waiting.clear_disk()
    path.rmdir()
    path.touch()
    waiting.clear_disk()
    assert not path.exists()
