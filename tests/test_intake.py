"""What a sink takes in: nothing is lost, nothing is asked for that is there, and nothing kills it.

The first half tells single messages; the second lets a bridge, a broker and a sink fail in every
order and looks at what is stored when they are left alone again.
"""

import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from heliobus.bus import Bus
from heliobus.clock import Clock
from heliobus.contract import load
from heliobus.cursor import MINUS_INFINITY, Key, Request
from heliobus.intake import FOREIGN_SAMPLES, Intake
from heliobus.journal import Journal
from heliobus.outbox import Outbox
from heliobus.rejects import Rejects
from heliobus.sample import Sample, dumps, time_text
from heliobus.settings import BrokerSettings, ClockSettings, JournalSettings
from heliobus.topics import Topics
from heliobus.waiting import Waiting

CONTRACT = load()
TOPICS = Topics("farm")
T0 = 1_800_000_000_000
DAY_MS = 86_400_000
STATE = "heliobus/farm/inverter/state"
HISTORY = "heliobus/farm/bus/archive/history"
KEY = ("farm", "axpert", "inverter")


def ms(after_t0: int | None) -> str | None:
    return None if after_t0 is None else time_text(T0 + after_t0)


class Desk:
    """An intake, and what it refused and lost. Times are in ms after T0."""

    def __init__(self, *, backfill_ms: int | None = DAY_MS) -> None:
        self.rejected: list[tuple[str, str, Mapping[str, Any]]] = []
        self.lost: list[str] = []
        self.now_s = 0.0
        self.intake = Intake(
            CONTRACT,
            backfill_ms=backfill_ms,
            now_ms=lambda: T0 + 1_000_000,
            reject=lambda *refused: self.rejected.append(refused),
            lost=self.lost.append,
        )

    def state(self, time: int, prev: int | None, **more: Any) -> None:
        body = {"time": ms(time), "prev": ms(prev), "kind": "inverter", "bridge": "axpert"}
        self.raw(json.dumps({**body, "pv_w": 812, **more}).encode())

    def raw(self, payload: bytes, topic: str = STATE) -> None:
        address = TOPICS.parse(topic)
        assert address is not None
        self.intake.take_sample(topic, address, payload)

    def status(self, first: int | None = None, last: int | None = None, **body: Any) -> None:
        head = {} if last is None else {"inverter": {"first": ms(first), "last": ms(last)}}
        self.intake.take_status("farm", "axpert", {"state": "online", "heads": head, **body})

    def answer(
        self, request_id: str, span: tuple[int | None, int | None], times: list[int], **more: Any
    ) -> None:
        after, to = span
        body = {
            "id": request_id, "bridge": "axpert", "device": "inverter",
            "after": ms(after), "to": ms(to),
            "samples": [
                {"time": ms(t), "prev": ms(t - 1), "kind": "inverter", "bridge": "axpert"}
                for t in times
            ], **more,
        }  # fmt: skip
        self.intake.take_history(HISTORY, "farm", json.dumps(body).encode())

    def load(self, cursor: int) -> None:
        self.intake.load({KEY: T0 + cursor})

    def store(self) -> list[int]:
        """Commit what is pending; give its times after T0."""
        times = [sample.time_ms - T0 for sample in self.intake.pending()]
        self.intake.commit()
        return times

    def ask(self, wait_s: float = 0.0) -> list[tuple[int | None, int | None]]:
        return [
            (
                None if r.after_ms == MINUS_INFINITY else r.after_ms - T0,
                None if r.until_ms is None else r.until_ms - T0,
            )
            for r in self.requests(wait_s)
        ]

    def requests(self, wait_s: float = 0.0) -> list[Request]:
        self.now_s += wait_s
        return self.intake.due(self.now_s)

    def cursor(self) -> int:
        return self.intake.cursors()[KEY] - T0


# ---------------------------------------------------------------------- another destination


@pytest.mark.parametrize(
    ("backfill_ms", "after"), [(None, None), (DAY_MS, 1_000_000 - DAY_MS), (0, 20)]
)
def test_a_destination_that_was_emptied_is_filled_again_as_a_new_one(
    backfill_ms: int | None, after: int | None
) -> None:
    desk = Desk(backfill_ms=backfill_ms)
    desk.load(0)
    desk.state(10, 0)
    desk.state(20, 10)
    assert desk.store() == [10, 20]
    desk.intake.load({})  # the file was removed, the bucket made anew
    desk.state(30, 20)
    desk.store()
    assert desk.ask(10.0) == ([] if backfill_ms == 0 else [(after, 20)])


def test_what_was_never_stored_keeps_its_beginning() -> None:
    desk = Desk(backfill_ms=0)
    desk.intake.load({})
    desk.state(10, 0)
    desk.intake.load({})  # the database was down, and had nothing of it yet
    desk.state(20, 10)
    assert desk.store() == [20]
    assert desk.ask(10.0) == [(0, 10)]


# ---------------------------------------------------------------------- live samples


def test_a_chain_without_gaps_is_stored_and_nothing_is_asked() -> None:
    desk = Desk()
    desk.load(0)
    for time in (10, 20, 30):
        desk.state(time, time - 10)
    assert desk.cursor() == 30
    assert desk.store() == [10, 20, 30]
    assert desk.ask() == desk.ask(60) == []


def test_a_retained_duplicate_is_not_stored_again() -> None:
    desk = Desk()
    desk.load(20)
    desk.state(20, 10)
    assert desk.store() == []
    assert desk.ask(60) == []


def test_a_duplicate_beyond_a_hole_is_not_stored_again() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(30, 20)
    desk.state(30, 20)
    assert desk.store() == [30]


def test_a_hole_is_asked_for_and_what_lies_beyond_it_is_stored_at_once() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    assert desk.store() == [40]
    (request,) = desk.requests()
    assert (request.key, request.after_ms, request.until_ms) == (KEY, T0, T0 + 30)
    desk.answer(request.id, (0, 30), [10, 20, 30])
    assert desk.cursor() == 40
    assert desk.store() == [10, 20, 30]
    assert desk.ask(60) == []


def test_nothing_is_asked_before_what_has_come_is_stored() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    assert desk.ask() == []
    desk.store()
    assert desk.ask() == [(0, 30)]


def test_an_answer_that_does_not_come_is_asked_for_again() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    desk.store()
    assert desk.ask() == [(0, 30)]
    assert desk.ask(4.9) == []
    assert desk.ask(0.2) == [(0, 30)]


def test_a_late_answer_counts_once() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    desk.store()
    (first,) = desk.requests()
    (second,) = desk.requests(6)
    desk.answer(first.id, (0, 30), [10, 20, 30])
    desk.answer(second.id, (0, 30), [10, 20, 30])
    assert desk.cursor() == 40
    assert set(desk.store()) == {10, 20, 30}
    assert desk.ask(60) == []


def test_the_empty_answer_of_an_earlier_life_hides_no_hole() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    desk.answer("0badcafe-1", (0, 0), [])
    desk.store()
    assert desk.ask() == [(0, 30)]


def test_a_restart_from_an_earlier_life_moves_no_cursor() -> None:
    desk = Desk()
    desk.load(100)
    desk.answer("0badcafe-1", (None, 50), [40, 50], restart=True)
    assert desk.store() == [40, 50]
    desk.state(110, 100)
    assert desk.cursor() == 110


def test_a_restart_asked_for_before_the_cursor_was_loaded_anew_moves_no_cursor() -> None:
    desk = Desk()
    desk.load(1_000_000)
    desk.state(500, None)
    desk.store()
    (request,) = desk.requests()
    desk.load(900)  # the database was set back to an older copy meanwhile
    desk.answer(request.id, (None, 510), [500, 510], restart=True)
    desk.store()
    assert desk.ask(10) == [(900, None)]


def test_an_empty_answer_completes_its_interval() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    desk.store()
    (request,) = desk.requests()
    desk.answer(request.id, (0, 40), [])
    assert desk.cursor() == 40
    desk.store()
    desk.state(50, 40)
    assert desk.cursor() == 50


def test_what_a_journal_has_lost_is_told_and_counts_as_complete() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    desk.store()
    (request,) = desk.requests()
    desk.answer(request.id, (0, 30), [30], lost_until=ms(20))
    assert desk.lost == [
        "inverter: the journal of 'axpert' no longer holds what was measured up to "
        "2027-01-15T08:00:00.020Z"
    ]
    assert desk.cursor() == 40
    desk.store()
    assert desk.ask(60) == []


def test_two_holes_are_filled_one_after_the_other() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(30, 20)
    desk.state(60, 50)
    desk.store()
    (request,) = desk.requests()
    assert (request.after_ms, request.until_ms) == (T0, T0 + 20)
    desk.answer(request.id, (0, 20), [10, 20])
    assert desk.cursor() == 30
    desk.store()
    assert desk.ask() == [(30, 50)]


def test_the_destination_fails_and_what_it_did_not_take_is_asked_for() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(10, 0)
    desk.state(20, 10)
    desk.intake.drop()
    assert desk.store() == []
    desk.load(0)
    assert desk.ask() == []  # what shows without a gap in the chain may be on its way
    assert desk.ask(2.1) == [(0, None)]


def test_a_status_shows_what_no_sample_has_shown() -> None:
    desk = Desk()
    desk.load(20)
    desk.status(first=0, last=50)
    assert desk.ask() == []
    assert desk.ask(2.1) == [(20, None)]


def test_a_bridge_that_is_offline_is_not_asked() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    desk.store()
    desk.status(state="offline")
    assert desk.ask(60) == []
    desk.status()
    assert desk.ask() == [(0, 30)]


def test_status_messages_of_others_or_of_later_versions_do_no_harm() -> None:
    desk = Desk()
    odd: list[Any] = [
        None, 7, [], "x", {"inverter": None}, {"inverter": {}}, {"inverter": []},
        {"inverter": {"first": 1, "last": 2}}, {"inverter": {"first": None, "last": None}},
        {"inverter": {"first": "2027-01-15", "last": "yesterday"}},
    ]  # fmt: skip
    for heads in odd:
        desk.intake.take_status("farm", "axpert", {"heads": heads})
        desk.intake.take_status("farm", "axpert", {"state": heads, "heads": heads})
    assert desk.ask(60) == []


def test_four_bridges_that_never_answer_do_not_keep_a_fifth_from_being_asked() -> None:
    desk = Desk()
    bridges = [f"far_{number}" for number in range(6)]
    desk.intake.load({("farm", bridge, "inverter"): T0 for bridge in bridges})
    for bridge in bridges:
        desk.state(40, 30, bridge=bridge)
    desk.store()
    asked = [r.key[1] for r in desk.requests()]
    assert asked == ["far_0", "far_1", "far_2", "far_3"]
    asked = [r.key[1] for r in desk.requests(6)]
    assert asked == ["far_4", "far_5", "far_0", "far_1"]


# ---------------------------------------------------------------------- the first time


@pytest.mark.parametrize(
    ("backfill_ms", "asked"),
    [(0, []), (DAY_MS, [(1_000_000 - DAY_MS, 30)]), (None, [(None, 30)])],
    ids=["0", "24h", "all"],
)
def test_the_first_sample_ever_seen_asks_for_the_past_as_the_option_backfill_says(
    backfill_ms: int | None, asked: list[tuple[int | None, int | None]]
) -> None:
    desk = Desk(backfill_ms=backfill_ms)
    desk.state(40, 30)
    assert desk.store() == [40]
    assert desk.ask() == asked


@pytest.mark.parametrize("backfill_ms", [0, DAY_MS, None], ids=["0", "24h", "all"])
def test_a_bridge_that_begins_is_not_asked_for_what_cannot_be(backfill_ms: int | None) -> None:
    desk = Desk(backfill_ms=backfill_ms)
    desk.status()
    desk.state(40, None)
    desk.state(50, 40)
    assert desk.store() == [40, 50]
    assert desk.ask(60) == []


@pytest.mark.parametrize(
    ("backfill_ms", "asked"),
    [(0, []), (DAY_MS, [(1_000_000 - DAY_MS, None)]), (None, [(None, None)])],
    ids=["0", "24h", "all"],
)
def test_a_journal_of_a_device_that_is_silent_now_is_asked_for(
    backfill_ms: int | None, asked: list[tuple[int | None, int | None]]
) -> None:
    desk = Desk(backfill_ms=backfill_ms)
    desk.status(first=0, last=50)
    desk.requests()
    assert desk.ask(2.1) == asked


# ---------------------------------------------------------------------- a clock set back


def test_a_chain_that_begins_anew_is_asked_for_from_the_cursor() -> None:
    desk = Desk()
    desk.load(1_000_000)
    desk.state(500, None)
    desk.state(600, 500)
    assert desk.store() == [500, 600]
    (request,) = desk.requests()
    assert (request.after_ms, request.until_ms) == (T0 + 1_000_000, None)
    desk.answer(request.id, (None, 600), [500, 600], restart=True)
    assert desk.cursor() == 600
    desk.store()
    (request,) = desk.requests()  # there may be more behind the first batch
    desk.answer(request.id, (600, 600), [])
    desk.store()
    assert desk.ask(60) == []


def test_a_new_chain_is_noticed_when_its_beginning_was_missed() -> None:
    desk = Desk()
    desk.load(1_000_000)
    desk.state(600, 500)
    desk.store()
    assert desk.ask() == [(1_000_000, None)]


def test_a_new_chain_is_noticed_when_all_of_it_was_missed() -> None:
    desk = Desk()
    desk.load(1_000_000)
    desk.status(first=0, last=600)
    assert desk.ask() == [(1_000_000, None)]


def test_a_new_chain_is_noticed_when_it_has_overtaken_the_cursor() -> None:
    desk = Desk()
    desk.load(1_000_000)
    desk.state(1_000_400, 999_900)  # the chain of the cursor would have 1,000,000 in `prev`
    desk.store()
    assert desk.ask() == [(1_000_000, None)]


def test_an_old_chain_longer_than_the_hole_is_not_taken_for_the_new_one() -> None:
    # The log: 90, 950, 1010, 1900 of the old chain; then 1000, 1005, 1020 of the new one, of
    # which only the last was heard. Asked for (90, 1005], the bridge sends up to 1010.
    desk = Desk()
    desk.load(90)
    desk.state(1020, 1005)
    desk.store()
    (request,) = desk.requests()
    desk.answer(request.id, (90, 1010), [950, 1010])
    assert desk.store() == [950, 1010]
    (request,) = desk.requests()
    assert (request.after_ms, request.until_ms) == (T0 + 1010, None)
    desk.answer(request.id, (1010, 1900), [1900])
    desk.store()
    (request,) = desk.requests()
    desk.answer(request.id, (None, 1020), [1000, 1005, 1020], restart=True)
    desk.store()
    desk.state(1030, 1020)
    assert desk.cursor() == 1030


# ---------------------------------------------------------------------- what others send


def test_a_publisher_that_is_not_ours_is_stored_and_never_asked() -> None:
    desk = Desk()
    for time in (10, 90):
        desk.raw(b'{"time":"%s","kind":"meter","power_w":4}' % (ms(time) or "").encode())
    (one, two) = desk.intake.pending()
    assert (one.bridge, one.prev_ms, two.time_ms) == (None, None, T0 + 90)
    desk.intake.drop()
    assert desk.store() == [10, 90]  # nobody could send it again, so it waits
    assert desk.intake.cursors() == {}
    assert desk.ask(60) == []


def test_a_state_that_still_waits_for_the_clock_is_not_stored() -> None:
    desk = Desk()
    desk.raw(b'{"time":"1970-01-01T00:00:05.000Z","prev":null,"kind":"inverter","pv_w":1,'
             b'"quality":"provisional"}')  # fmt: skip
    assert desk.intake.pending() == []


def test_of_a_publisher_that_is_not_ours_only_so_much_waits_for_the_destination() -> None:
    desk = Desk()
    for time in range(FOREIGN_SAMPLES + 5):
        desk.raw(b'{"time":"%s","kind":"meter"}' % (ms(time) or "").encode())
        desk.intake.drop()
    assert desk.store() == list(range(5, FOREIGN_SAMPLES + 5))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"online",
        b"[]",
        b"null",
        b"{}",
        b'{"time":"2027-01-15T08:00:00.000Z"}',
        b'{"time":"2027-01-15T08:00:00.000Z","kind":""}',
        b'{"time":"2027-01-15T08:00:00.000Z","kind":7}',
        b'{"time":"2027-01-15T08:00:00","kind":"meter"}',
        b'{"time":"2027-13-15T08:00:00Z","kind":"meter"}',
        b'{"time":1800000000,"kind":"meter"}',
        b'{"time":"9999-12-31T23:59:59.999-12:00","kind":"meter","bridge":"b","prev":null}',
        b'{"time":"0001-01-01T00:00:00+23:59","kind":"meter","bridge":"b","prev":null}',
        b'{"time":"2027-01-15T08:00:00Z","prev":"0001-01-01T00:00+23:00","kind":"m","bridge":"b"}',
        b'{"time":"2027-01-15T08:00:00.000Z","prev":5,"kind":"meter","bridge":"b"}',
        b'{"time":"2027-01-15T08:00:00.000Z","kind":"meter","bridge":7}',
        b'{"time":"2027-01-15T08:00:00.000Z","kind":"meter","bridge":"#"}',
        b'{"time":"2027-01-15T08:00:00.000Z","kind":"meter","bridge":"a/b"}',
        b'{"time":"2027-01-15T08:00:00.000Z","kind":"meter","bridge":""}',
        b'{"time":"2027-01-15T08:00:00.000Z","kind":"meter","power_w":NaN}',
        b'{"time":"2027-01-15T08:00:00.000Z","kind":"meter","power_w":-Infinity}',
        b'{"a":' * 100_000,
    ],
)
def test_a_malformed_message_is_rejected_with_its_beginning(payload: bytes) -> None:
    desk = Desk()
    desk.raw(payload)
    assert desk.intake.pending() == []
    ((topic, reason, found),) = desk.rejected
    assert topic == STATE
    assert reason
    assert found == {"payload": payload[:500].decode("utf-8", "replace")}
    assert desk.ask(60) == []


def test_a_bad_field_costs_that_field_only() -> None:
    desk = Desk()
    desk.state(10, None, battery_v="full", grid_hz=50.02)
    (sample,) = desk.intake.pending()
    assert sample.values == {"pv_w": 812, "grid_hz": 50.02}
    ((topic, reason, found),) = desk.rejected
    assert topic == STATE
    assert reason.startswith("battery_v: found 'full', expected a number")
    assert found == {"battery_v": "full"}


def test_a_contract_one_version_ahead_is_stored() -> None:
    desk = Desk()
    desk.state(10, None, kind="fusion_reactor", plasma_k=1.5e8, quality="good", Bad="x")
    (sample,) = desk.intake.pending()
    assert sample.kind == "fusion_reactor"
    assert sample.values == {"pv_w": 812, "plasma_k": 1.5e8}
    assert [found for _, _, found in desk.rejected] == [{"Bad": "x"}]


def test_a_contract_one_version_behind_is_stored() -> None:
    desk = Desk()
    body = b'{"time":"2027-01-15T08:00:00.010Z","prev":null,"kind":"inverter","bridge":"axpert"}'
    desk.raw(body)  # without `contract`, and without a field that is required now
    assert desk.store() == [10]
    assert desk.rejected == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"id":"x-1","bridge":"axpert","device":"inverter","after":null,"to":null}',
        b'{"id":"x","bridge":"a/b","device":"d","after":null,"to":null,"samples":[]}',
        b'{"id":"x","bridge":"b","device":"d","after":"now","to":null,"samples":[]}',
        b'{"id":"x","bridge":"b","device":"d","after":null,"to":"2027-99-15T08:00:00.000Z",'
        b'"samples":[]}',
        b'{"id":"x","bridge":"b","device":"d","after":null,"to":null,"samples":[7]}',
    ],
)
def test_a_malformed_answer_is_rejected(payload: bytes) -> None:
    desk = Desk()
    desk.intake.take_history(HISTORY, "farm", payload)
    ((topic, _, _),) = desk.rejected
    assert topic == HISTORY


def test_a_malformed_sample_of_a_journal_is_rejected_and_its_interval_is_complete() -> None:
    desk = Desk()
    desk.load(0)
    desk.state(40, 30)
    desk.store()
    (request,) = desk.requests()
    good = {"time": ms(30), "prev": ms(20), "kind": "inverter", "bridge": "axpert"}
    body = {
        "id": request.id, "bridge": "axpert", "device": "inverter", "after": ms(0), "to": ms(30),
        "samples": [{"time": "never"}, good],
    }  # fmt: skip
    desk.intake.take_history(HISTORY, "farm", json.dumps(body).encode())
    assert [found for _, _, found in desk.rejected] == [{"sample": {"time": "never"}}]
    assert desk.store() == [30]
    assert desk.ask(60) == []


# ---------------------------------------------------------------------- everything fails


class Wire(Bus):
    """The bridge's way to the broker of a model: what is published goes to `broker`."""

    def __init__(self, broker: "Broker") -> None:
        super().__init__(BrokerSettings(), "axpert", will=("w", b""))
        self.broker = broker

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        return self.broker.publish(topic, payload, retain=retain)


class Broker:
    """A broker that keeps order and loses or doubles messages when told to."""

    def __init__(self) -> None:
        self.bridge_up = True
        self.lose = self.double = 0
        self.retained: dict[str, bytes] = {}
        self.to_sink: deque[tuple[str, bytes]] = deque()
        self.to_bridge: deque[tuple[str, bytes]] = deque()

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> bool:
        if not self.bridge_up:
            return False
        if retain:
            self.retained[topic] = payload
        if self.lose:
            self.lose -= 1
            return True
        self.to_sink.extend([(topic, payload)] * (2 if self.double else 1))
        self.double = max(0, self.double - 1)
        return True

    def subscribe(self) -> None:
        """Give a sink that has just connected what is retained: each status, then each state."""
        self.to_sink.clear()
        self.to_sink.extend(sorted(self.retained.items(), key=lambda item: "/bus/" not in item[0]))


class NotedJournal(Journal):
    """A journal beside which everything it took is noted."""

    noted: dict[tuple[str, int], bytes]

    def append(self, sample: Sample, payload: bytes) -> bool:
        self.noted[sample.device, sample.time_ms] = payload
        return super().append(sample, payload)


class BridgeSide:
    """The journal and outbox of a bridge, on a disk that survives its death."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.broker = broker
        self.monotonic_s = 1000.0
        self.wall_s = T0 / 1000 - 1000.0
        self.noted: dict[tuple[str, int], bytes] = {}
        self.count = 0
        self.begin(folder / "0")

    def begin(self, folder: Path) -> None:
        clock = Clock(
            ClockSettings(trust=True),
            wall=lambda: self.wall_s + self.monotonic_s,
            monotonic=lambda: self.monotonic_s,
        )
        self.home = folder
        self.journal = NotedJournal(folder, "axpert", JournalSettings())
        self.journal.noted = self.noted
        folder.mkdir(exist_ok=True)
        self.journal.open()
        self.outbox = Outbox(
            "axpert", TOPICS, contract=CONTRACT, clock=clock, journal=self.journal,
            bus=(wire := Wire(self.broker)), settings=JournalSettings(),
            rejects=Rejects(folder / "axpert.rejected", "axpert", TOPICS, wire),
            waiting=Waiting(folder / "axpert.waiting"),
        )  # fmt: skip

    def measure(self, device: str, after_ms: int) -> None:
        self.monotonic_s += after_ms / 1000
        self.count += 1
        self.outbox.put(device, "meter", {"power_w": self.count}, self.monotonic_s)

    def status(self) -> None:
        body = dumps({"state": "online", **self.outbox.status()})
        self.broker.publish(TOPICS.component("axpert", "status"), body, retain=True)

    def connect(self) -> None:
        self.broker.bridge_up = True
        self.status()
        for device in DEVICES:
            self.outbox.republish(device)

    def kill(self, lost_bytes: int) -> None:
        """Die and come back with what is on the disk; `lost_bytes` of the tail are not."""
        self.broker.to_bridge.clear()
        self.broker.bridge_up = False
        snapshot = self.folder / str(int(self.home.name) + 1)
        shutil.copytree(self.home, snapshot)
        self.journal.close()
        tail = snapshot / "axpert.tail"
        if lost_bytes and tail.exists():
            tail.write_bytes(tail.read_bytes()[:-lost_bytes])
        self.begin(snapshot)

    def lose_the_disk(self) -> None:
        """Come back with an empty data folder, later than all that was measured."""
        newest_ms = max((time for _, time in self.noted), default=T0)
        self.wall_s = max(self.wall_s, newest_ms / 1000 + 1.0 - self.monotonic_s)
        for path in self.home.iterdir():
            path.unlink()
        self.kill(0)

    def kept(self) -> dict[tuple[str, int], bytes]:
        """Give all that the journal holds, read in the way of the log."""
        return {
            (device, entry.time_ms): entry.payload
            for device in (*DEVICES, "bus")
            for entry in self._walk(device)
        }

    def _walk(self, device: str) -> Iterator[Any]:
        after = None
        while (batch := self.journal.batch(device, after, None)).entries:
            yield from batch.entries
            after = batch.to_ms

    def answer(self) -> None:
        while self.broker.to_bridge:
            self.outbox.answer(*self.broker.to_bridge.popleft())


class SinkSide:
    """An intake before a database, as `heliobus.sinking` runs it."""

    def __init__(self, broker: Broker, backfill_ms: int | None) -> None:
        self.broker = broker
        self.backfill_ms = backfill_ms
        self.rows: dict[tuple[str, int], Mapping[str, Any]] = {}
        self.cursors: dict[Key, int] = {}
        self.rewritten = 0
        self.now_s = 0.0
        self.begin()

    def begin(self) -> None:
        self.intake = Intake(
            CONTRACT, backfill_ms=self.backfill_ms, now_ms=lambda: T0,
            reject=lambda *refused: pytest.fail(f"{refused}"), lost=lambda _: None,
        )  # fmt: skip
        self.intake.load(self.cursors)
        self.broker.subscribe()

    def take(self, most: int = 1_000_000) -> None:
        while self.broker.to_sink and most > 0:
            most -= 1
            topic, payload = self.broker.to_sink.popleft()
            address = TOPICS.parse(topic)
            assert address is not None
            if address.leaf == "history":
                self.intake.take_history(topic, "farm", payload)
            elif address.leaf == "status":
                self.intake.take_status("farm", "axpert", json.loads(payload))
            else:
                self.intake.take_sample(topic, address, payload)

    def write(self) -> None:
        for sample in self.intake.pending():
            key = (sample.device, sample.time_ms)
            self.rewritten += key in self.rows
            self.rows[key] = sample.values
        self.cursors.update(self.intake.cursors())

    def fail(self, *, stored: bool) -> None:
        if stored:  # it was, and only its answer was lost
            self.write()
        self.intake.drop()
        self.intake.load(self.cursors)

    def store(self) -> None:
        self.write()
        self.intake.commit()

    def ask(self, wait_s: float, lost: int = 0) -> int:
        self.now_s += wait_s
        requests = self.intake.due(self.now_s)
        for number, request in enumerate(requests):
            if number >= lost:
                self.broker.to_bridge.append((TOPICS.component("axpert", "replay"), _body(request)))
        return len(requests)


def _body(request: Request) -> bytes:
    after = None if request.after_ms == MINUS_INFINITY else time_text(request.after_ms)
    until = None if request.until_ms is None else time_text(request.until_ms)
    names = {"id": request.id, "sink": "archive", "device": request.key[2]}
    return dumps({**names, "after": after, "until": until})


DEVICES = ("one", "two")
ROUND_S = 2.5  # a round of asking; four of them are longer than every patience of a sink
MOST_ROUNDS = 60
EXAMPLES = int(os.environ.get("HELIOBUS_EXAMPLES", "60"))


class AnythingFails(RuleBasedStateMachine):
    """Bridge, broker, sink, database and clock fail in any order; then all is left alone."""

    @initialize(backfill_ms=st.sampled_from([None, DAY_MS]))
    def begin(self, backfill_ms: int | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="heliobus-"))
        self.broker = Broker()
        self.bridge = BridgeSide(self.broker, self.folder)
        self.bridge.connect()
        self.sink = SinkSide(self.broker, backfill_ms)
        self.lost: set[tuple[str, int]] = set()

    @rule(
        device=st.sampled_from(DEVICES),
        cadence_ms=st.integers(1, 40_000),
        times=st.integers(1, 12),
    )
    def measure(self, device: str, cadence_ms: int, times: int) -> None:
        for _ in range(times):
            self.bridge.measure(device, cadence_ms)

    @rule(step_ms=st.integers(-400_000, 400_000))
    def step_the_clock(self, step_ms: int) -> None:
        self.bridge.wall_s += step_ms / 1000

    @rule()
    def flush(self) -> None:
        self.bridge.outbox.flush()

    @rule(seconds=st.integers(0, 600))
    def prune(self, seconds: int) -> None:
        now_s = self.bridge.wall_s + self.bridge.monotonic_s
        with self._noting_what_is_lost():
            self.bridge.journal.flush(round(now_s - seconds) * 1000)

    @rule()
    def lose_the_disk(self) -> None:
        with self._noting_what_is_lost():
            self.bridge.lose_the_disk()
        for device in DEVICES:
            self.bridge.measure(device, 1)
        self.bridge.connect()

    @contextmanager
    def _noting_what_is_lost(self) -> Iterator[None]:
        before = set(self.bridge.kept())
        yield
        self.lost |= before - set(self.bridge.kept())

    @rule()
    def publish_status(self) -> None:
        self.bridge.status()

    @rule(lost_bytes=st.sampled_from([0, 0, 1, 90, 300, 2000]))
    def kill_the_bridge(self, lost_bytes: int) -> None:
        with self._noting_what_is_lost():
            self.bridge.kill(lost_bytes)
        self.bridge.connect()

    @rule()
    def cut_the_bridge_off(self) -> None:
        self.broker.bridge_up = False
        self.broker.to_bridge.clear()

    @rule()
    def connect_the_bridge(self) -> None:
        self.bridge.connect()

    @rule()
    def kill_the_broker(self) -> None:
        self.broker.retained.clear()
        self.broker.to_sink.clear()
        self.broker.to_bridge.clear()
        self.bridge.connect()

    @rule(number=st.integers(1, 8))
    def lose_messages(self, number: int) -> None:
        self.broker.lose = number

    @rule(number=st.integers(1, 8))
    def double_messages(self, number: int) -> None:
        self.broker.double = number

    @rule(most=st.integers(1, 9))
    def take_some(self, most: int) -> None:
        self.sink.take(most)

    @rule()
    def take_and_store(self) -> None:
        self.sink.take()
        self.sink.store()

    @rule(stored=st.booleans())
    def fail_to_store(self, stored: bool) -> None:  # noqa: FBT001 - as hypothesis calls it
        self.sink.fail(stored=stored)

    @rule(stored=st.booleans())
    def kill_the_sink(self, stored: bool) -> None:  # noqa: FBT001 - as hypothesis calls it
        if stored:
            self.sink.write()
        self.sink.begin()

    @rule(wait_s=st.sampled_from([0.0, 1.0, 2.5, 6.0]), lost=st.integers(0, 2))
    def ask(self, wait_s: float, lost: int) -> None:
        self.sink.ask(wait_s, lost)

    @rule()
    def answer(self) -> None:
        self.bridge.answer()

    @rule()
    def leave_alone(self) -> None:
        self.broker.lose = self.broker.double = 0
        self.bridge.connect()
        for device in DEVICES:
            self.bridge.measure(device, 61_000)
        self._rest()
        kept = self.bridge.kept()
        times = len(self.bridge.noted)
        assume(times == self.bridge.count + sum(d == "bus" for d, _ in self.bridge.noted))
        missing = {key for key in kept if key not in self.sink.rows}
        assert not missing, f"{sorted(missing)} of {sorted(kept)}"
        assert set(self.sink.rows) <= set(kept) | self.lost
        for key, payload in kept.items():
            body = json.loads(payload)
            assert {name: body[name] for name in self.sink.rows[key]} == self.sink.rows[key]
        assert self.sink.intake.holes == 0
        self._all_is_quiet()

    def _rest(self) -> None:
        """Let the sink ask and store until it has nothing more to ask."""
        idle = 0
        for _ in range(MOST_ROUNDS):
            self.sink.take()
            self.sink.store()
            idle = 0 if self.sink.ask(ROUND_S) else idle + 1
            if idle > 3:
                return
            self.bridge.answer()
        pytest.fail(f"still asking after {MOST_ROUNDS} rounds")

    def _all_is_quiet(self) -> None:
        """See that samples of a quiet hour are stored once and nothing is asked for."""
        rewritten = self.sink.rewritten
        for _ in range(2):
            for device in DEVICES:
                self.bridge.measure(device, 61_000)
            self.sink.take()
            self.sink.store()
        assert [self.sink.ask(ROUND_S) for _ in range(5)] == [0] * 5
        assert self.sink.rewritten == rewritten

    def teardown(self) -> None:
        if hasattr(self, "bridge"):
            self.leave_alone()
            self.bridge.journal.close()
            shutil.rmtree(self.folder)


AnythingFails.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWhateverFailsNothingIsLost = AnythingFails.TestCase
