"""Intervals of one track, and which batch to ask for next."""

from itertools import pairwise

import pytest

from heliobus.cursor import (
    LONGEST_PAUSE_S,
    MAX_ISLANDS,
    MINUS_INFINITY,
    SET_BACK_MS,
    Requests,
    Track,
)

KEY = ("farm", "axpert", "inverter")


def live(track: Track, *pairs: tuple[int | None, int]) -> Track:
    for prev_ms, time_ms in pairs:
        track = track.take_state(prev_ms, time_ms)
    return track


def batch(track: Track, after_ms: int, to_ms: int) -> Track:
    return track.take_batch(after_ms, to_ms, empty=False, restart=False)


def test_an_interval_at_the_cursor_moves_it() -> None:
    track = live(Track(10), (10, 20), (20, 30))
    assert track == Track(30, newest_ms=30)
    assert track.hole() is None


def test_an_interval_beyond_the_cursor_is_an_island_and_shows_a_hole() -> None:
    track = live(Track(10), (20, 30), (30, 40))
    assert track == Track(10, newest_ms=40, islands=((20, 40),))
    assert track.hole() == (10, 20)


def test_a_filled_hole_joins_all_islands_that_touch() -> None:
    track = live(Track(10), (20, 30), (40, 50), (60, 70))
    assert track.islands == ((20, 30), (40, 50), (60, 70))
    track = batch(track, 10, 20)
    assert (track.cursor_ms, track.hole()) == (30, (30, 40))
    track = batch(track, 30, 40)
    assert (track.cursor_ms, track.hole()) == (50, (50, 60))
    assert batch(track, 50, 60).hole() is None


def test_a_hole_in_which_nothing_was_measured_closes_too() -> None:
    track = live(Track(10), (20, 30)).take_batch(10, 30, empty=True, restart=False)
    assert track == Track(30, newest_ms=30)


@pytest.mark.parametrize("time", [10, 30])
def test_a_repeated_sample_changes_nothing(time: int) -> None:
    track = live(Track(0), (0, 10), (20, 30))
    assert track.take_state(time - 10, time) is track


def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    track = live(Track(10), (10, 20), (20, 30))
    assert batch(track, 10, 20) is track


def test_an_empty_answer_that_was_overtaken_hides_no_hole() -> None:
    track = live(Track(10), (None, 5), (10, 20), (25, 30))
    assert track.astray
    track = track.take_batch(10, 10, empty=True, restart=False)
    assert track.hole() == (20, 25)


@pytest.mark.parametrize(
    ("prev", "time"), [(None, 5), (None, 150), (90, 95), (90, 110)],
    ids=["new chain", "new chain later", "behind the cursor", "across the cursor"],
)  # fmt: skip
def test_what_does_not_go_on_from_the_cursor_is_asked_about(prev: int | None, time: int) -> None:
    track = live(Track(100), (prev, time))
    assert track.cursor_ms == 100
    assert track.hole() == (100, None)
    assert track.take_batch(100, 100, empty=True, restart=False).hole() is None


def test_a_new_chain_sets_the_cursor_back_and_may_go_on() -> None:
    track = live(Track(100), (None, 5)).take_batch(MINUS_INFINITY, 7, empty=False, restart=True)
    assert track.cursor_ms == 7
    assert track.hole() == (7, None)
    assert track.take_batch(7, 7, empty=True, restart=False) == Track(7, newest_ms=7)


def test_who_is_astray_asks_until_the_journal_ends_though_live_samples_come_in_between() -> None:
    track = live(Track(10), (None, 5))
    track = track.take_batch(10, 20, empty=False, restart=False)
    assert track.astray
    track = live(track, (20, 30))
    track = track.take_batch(20, 30, empty=False, restart=False, end=True)
    assert track == Track(30, newest_ms=30)


def test_a_head_behind_the_cursor_by_more_than_a_lost_tail_is_asked_about() -> None:
    track = Track(SET_BACK_MS)
    assert track.take_head(0).hole() is None
    assert track.take_head(-1).hole() == (SET_BACK_MS, None)


def test_islands_of_two_chains_are_joined_by_neither() -> None:
    track = live(Track(90), (1005, 1020), (1000, 1010))
    track = batch(track, 90, 1000)
    assert (track.cursor_ms, track.astray) == (1010, True)


def test_only_so_many_islands_are_kept_and_the_oldest_are_asked_for_again() -> None:
    track = Track(0)
    for start in range(10, 10 + 20 * (MAX_ISLANDS + 3), 20):
        track = track.take_state(start, start + 10)
    assert len(track.islands) == MAX_ISLANDS
    assert track.hole() == (0, track.islands[0][0])


def asked(requests: Requests, tracks: dict[tuple[str, str, str], Track], now_s: float) -> list[str]:
    return [request.key[2] for request in requests.due(tracks, now_s)]


def test_one_question_is_open_per_track_and_four_in_all() -> None:
    requests = Requests()
    tracks = {("farm", "b", name): live(Track(0), (5, 9)) for name in "abcdef"}
    assert asked(requests, tracks, 0.0) == ["a", "b", "c", "d"]
    assert asked(requests, tracks, 1.0) == []


def test_an_answer_makes_room_for_the_next_question() -> None:
    requests = Requests()
    tracks = {("farm", "b", name): live(Track(0), (5, 9)) for name in "abcdef"}
    first = requests.due(tracks, 0.0)[1]
    assert requests.answered(first.id) == first
    assert requests.answered(first.id) is None
    assert asked(requests, tracks, 0.1) == ["e"]


def test_two_lives_of_a_sink_have_no_question_in_common() -> None:
    tracks = {KEY: live(Track(0), (5, 9))}
    (one,), (two,) = Requests().due(tracks, 0.0), Requests().due(tracks, 0.0)
    assert one.id != two.id
    assert (one.key, one.after_ms, one.until_ms) == (KEY, 0, 5)
    assert len(one.id) <= 64


def test_a_hole_seen_in_a_status_that_closes_by_itself_is_never_asked_about() -> None:
    requests = Requests()
    track = Track(10).take_head(20)
    assert requests.due({KEY: track}, 0.0) == []
    assert requests.due({KEY: live(track, (10, 20))}, 1.9) == []
    assert requests.due({KEY: track.take_state(10, 20).take_head(30)}, 2.1) == []  # a new wait


def test_who_never_answers_is_asked_ever_more_seldom_until_it_is_heard() -> None:
    requests = Requests(retry_s=5.0)
    key = ("farm", "axpert", "inverter")
    tracks = {key: Track(100, islands=((200, 300),))}
    asked = [s for s in range(2000) if requests.due(tracks, float(s))]
    assert asked[:5] == [0, 5, 15, 35, 75]
    assert max(later - earlier for earlier, later in pairwise(asked)) == LONGEST_PAUSE_S
    requests.heard("farm", "axpert")
    assert requests.due(tracks, 2000.0)
