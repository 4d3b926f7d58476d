"""The outbox: what is measured is stamped, journaled, published, and answered for."""

import json
import resource
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliobus.bus import Bus
from heliobus.clock import Clock
from heliobus.contract import load
from heliobus.journal import Journal
from heliobus.outbox import MOST_RISING_MS, Outbox
from heliobus.rejects import Rejects
from heliobus.sample import time_ms, time_text
from heliobus.settings import BrokerSettings, ClockSettings, JournalSettings
from heliobus.topics import Topics
from heliobus.waiting import Waiting

CONTRACT = load()
TOPICS = Topics("farm")
T0 = 1_800_000_000_000
REPLAY = TOPICS.component("axpert", "replay")
HISTORY = TOPICS.component("archive", "history")
EVENT = TOPICS.component("axpert", "event")


class Heard(Bus):
    """The bus as a list of what was published; `up` False: there is no broker."""

    def __init__(self) -> None:
        super().__init__(BrokerSettings(), "axpert", will=("w", b""))
        self.messages: list[tuple[str, bytes, bool]] = []
        self.up = True
        self.before: Callable[[], object] = lambda: None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        self.before()
        if self.up:
            self.messages.append((topic, payload, retain))
        return self.up

    def bodies(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(payload) for heard, payload, _ in self.messages if heard == topic]


class Office:
    """An outbox with its journal in a folder, a list for a bus, and a clock that we hold."""

    def __init__(self, folder: Path, *, synced: bool = True, wait_s: float = 120.0) -> None:
        self.folder = folder
        self.synced = synced
        self.monotonic_s = 500.0
        self.wall_s = T0 / 1000
        self.bus = Heard()
        self.others: set[str] = set()  # devices that are not ours to publish
        self.journal = Journal(folder, "axpert", JournalSettings())
        assert self.journal.open() == []
        waiting = Waiting(folder / "axpert.waiting")
        waiting.open()
        self.outbox = Outbox(
            "axpert", TOPICS, contract=CONTRACT, journal=self.journal, bus=self.bus,
            clock=Clock(
                ClockSettings(wait_s=wait_s), wall=lambda: self.wall_s,
                monotonic=lambda: self.monotonic_s, synced=lambda: self.synced,
            ),
            rejects=Rejects(folder / "axpert.rejected", "axpert", TOPICS, self.bus),
            waiting=waiting,
            settings=JournalSettings(),
            may_publish=lambda device: device not in self.others,
        )  # fmt: skip

    def measure(self, after_s: float = 1.0, device: str = "inverter", **values: Any) -> None:
        self.let_pass(after_s)
        self.outbox.put(device, "inverter", values or {"pv_w": 812}, self.monotonic_s)

    def let_pass(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds

    def states(self, device: str = "inverter") -> list[dict[str, Any]]:
        """Give the states that are to be stored."""
        return [body for body in self.shown(device) if "quality" not in body]

    def shown(self, device: str = "inverter") -> list[dict[str, Any]]:
        return self.bus.bodies(TOPICS.device(device, "state"))

    def chain(self, device: str = "inverter") -> list[tuple[int | None, int]]:
        """Give (prev, time) of every state, in ms after T0."""
        return [
            (body["prev"] and time_ms(body["prev"]) - T0, time_ms(body["time"]) - T0)
            for body in self.states(device)
        ]

    def ask(self, **asked: Any) -> dict[str, Any]:
        before = len(self.bus.bodies(HISTORY))
        body = {
            "id": "x-1", "sink": "archive", "device": "inverter", "after": None, "until": None,
        }  # fmt: skip
        self.outbox.answer(REPLAY, json.dumps({**body, **asked}).encode())
        (answer,) = self.bus.bodies(HISTORY)[before:]
        return answer


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.outbox.close()


# ---------------------------------------------------------------------- stamping


def test_a_state_is_retained_schema_valid_and_names_the_one_before(office: Office) -> None:
    office.measure(battery_v=52.7, grid_hz=50.0)
    office.measure(battery_v=52.8)
    topic = "heliobus/farm/inverter/state"
    assert office.bus.messages == [
        (topic, b'{"time":"2027-01-15T08:00:01.000Z","prev":null,"kind":"inverter",'
         b'"bridge":"axpert","battery_v":52.7,"grid_hz":50.0}', True),
        (topic, b'{"time":"2027-01-15T08:00:02.000Z","prev":"2027-01-15T08:00:01.000Z",'
         b'"kind":"inverter","bridge":"axpert","battery_v":52.8}', True),
    ]  # fmt: skip
    assert [CONTRACT.check("inverter", body) for body in office.states()] == [None, None]


def test_each_device_has_a_chain_of_its_own(office: Office) -> None:
    for device in ("one", "two", "one", "two"):
        office.measure(1.0, device)
    assert office.chain("one") == [(None, 1000), (1000, 3000)]
    assert office.chain("two") == [(None, 2000), (2000, 4000)]


def test_the_chain_goes_on_after_a_restart(office: Office) -> None:
    office.measure()
    office.outbox.close()
    again = Office(office.folder)
    again.wall_s = office.wall_s
    again.measure()
    assert again.chain() == [(1000, 2000)]
    again.outbox.close()


def test_two_samples_in_one_millisecond_still_rise(office: Office) -> None:
    for _ in range(3):
        office.measure(0.0)
    assert office.chain() == [(None, 0), (0, 1), (1, 2)]


def test_a_clock_set_back_a_little_is_caught_up_with(office: Office) -> None:
    office.measure()
    office.wall_s -= MOST_RISING_MS / 1000
    office.measure(0.0)
    office.measure()
    assert office.chain() == [(None, 1000), (1000, 1001), (1001, 1002)]
    assert office.bus.bodies(EVENT) == []


def test_a_clock_set_back_further_begins_a_new_chain_with_an_event(office: Office) -> None:
    office.measure()
    office.wall_s -= MOST_RISING_MS / 1000 + 0.001
    office.measure(0.0)
    office.measure()
    assert office.chain() == [(None, 1000), (None, -59001), (-59001, -58001)]
    (event,) = office.bus.bodies(EVENT)
    assert event["event"] == "clock_set_back"
    assert event["text"] == (
        "inverter: the clock was set back from 2027-01-15T08:00:01.000Z to "
        "2027-01-15T07:59:00.999Z; a new chain of samples begins"
    )
    assert CONTRACT.check("event", event) is None
    answer = office.ask(after=time_text(T0 + 1000))
    assert (answer["restart"], answer["after"]) == (True, None)
    assert len(answer["samples"]) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-100_000, 100_000), st.booleans()), max_size=20))
def test_time_rises_or_a_new_chain_begins_whatever_the_clock_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]]
) -> None:
    office = Office(tmp_path_factory.mktemp("office"))
    for step_ms, synced in steps:
        office.synced = synced
        office.wall_s += step_ms / 1000
        office.measure(0.5)
    office.outbox.close()
    before: int | None = None
    for prev, time in office.chain():
        assert prev == before or (prev is None and before is not None)
        if prev is None and before is not None:
            assert before - time > MOST_RISING_MS
        if prev is not None:
            assert time > prev
        before = time


# ---------------------------------------------------------------------- waiting for the clock


def test_samples_wait_for_the_clock_and_are_then_stamped_as_they_were_measured(
    tmp_path: Path,
) -> None:
    office = Office(tmp_path, synced=False)
    office.wall_s = 0.0
    for _ in range(3):
        office.measure(10.0)
    assert office.states() == []
    assert [body["quality"] for body in office.shown()] == ["provisional"] * 3
    assert all(CONTRACT.check("inverter", body) is None for body in office.shown())
    assert not any("prev" in body and body["prev"] for body in office.shown())
    assert office.outbox.status()["clock"] == {"synced": False, "waiting": 3}
    office.let_pass(10.0)
    office.wall_s = T0 / 1000
    office.synced = True
    office.outbox.tick()
    assert office.chain() == [(None, -30_000), (-30_000, -20_000), (-20_000, -10_000)]
    assert office.outbox.status()["clock"] == {"synced": True, "waiting": 0}
    office.outbox.close()


def test_samples_wait_no_longer_than_they_are_told_to(tmp_path: Path) -> None:
    office = Office(tmp_path, synced=False, wait_s=20.0)
    office.measure(1.0)
    office.let_pass(18.0)
    office.outbox.tick()
    assert office.states() == []
    office.let_pass(1.0)
    office.outbox.tick()
    assert office.chain() == [(None, 1000)]
    office.measure(1.0)
    assert office.chain() == [(None, 1000), (1000, 21_000)]
    office.outbox.close()


def test_what_waited_for_the_clock_when_the_process_was_killed_is_stamped_by_the_next(
    tmp_path: Path,
) -> None:
    killed = Office(tmp_path, synced=False)
    killed.measure(10.0)
    killed.measure(10.0)
    again = Office(tmp_path, synced=False)
    again.monotonic_s, again.wall_s = killed.monotonic_s, killed.wall_s
    again.let_pass(10.0)
    again.synced = True
    again.outbox.tick()
    assert again.chain() == [(None, 10_000), (10_000, 20_000)]
    again.outbox.close()


def test_a_process_killed_while_it_sends_what_waited_doubles_nothing(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill() -> None:
        raise KilledError

    killed = Office(tmp_path, synced=False)
    killed.measure(10.0)
    killed.measure(10.0)
    killed.synced, killed.bus.before = True, kill
    with pytest.raises(KilledError):
        killed.outbox.tick()
    again = Office(tmp_path)
    again.monotonic_s, again.wall_s = killed.monotonic_s, killed.wall_s
    again.outbox.tick()
    assert again.chain() == [(10_000, 20_000)]
    assert len(again.ask()["samples"]) == 2
    again.outbox.close()


def test_what_waits_for_the_clock_at_a_stop_is_stamped_as_well_as_may_be(tmp_path: Path) -> None:
    office = Office(tmp_path, synced=False)
    office.measure()
    office.outbox.close()
    again = Office(tmp_path)
    assert len(again.ask()["samples"]) == 1
    again.outbox.close()


# ---------------------------------------------------------------------- journal before bus


def test_a_sample_is_on_disk_before_it_is_on_the_bus(office: Office) -> None:
    on_disk: list[bytes] = []
    office.bus.before = lambda: on_disk.append((office.folder / "axpert.tail").read_bytes())
    office.measure(battery_v=51.5)
    assert len(on_disk) == 1
    assert b'"battery_v":51.5' in on_disk[0]


def test_without_a_broker_everything_is_journaled_and_nothing_kept_to_be_sent(
    office: Office,
) -> None:
    office.bus.up = False
    office.measure()
    office.measure()
    office.bus.up = True
    office.outbox.tick()
    assert office.bus.messages == []
    assert len(office.ask()["samples"]) == 2


@contextmanager
def a_full_disk() -> Iterator[None]:
    """Let no file grow, as on a full disk."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_stops_no_publishing_and_is_counted_and_said(
    office: Office, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    office.measure()
    with capsys.disabled(), a_full_disk():
        office.measure()
        office.measure()
        office.outbox.flush()
        status = office.outbox.status()
    office.measure()
    assert office.chain() == [(None, 1000), (1000, 2000), (2000, 3000), (3000, 4000)]
    assert status["journal"]["unjournaled"] == 2
    assert "axpert.tail: File too large; publishing goes on unjournaled" in caplog.text
    assert caplog.text.count("unjournaled") == 1
    answer = office.ask(after=time_text(T0 + 1000))
    assert answer["lost_until"] == time_text(T0 + 3000)
    assert [body["time"] for body in answer["samples"]] == [time_text(T0 + 4000)]


def test_a_journal_that_is_damaged_while_running_stops_nothing(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        office.measure()
    office.outbox.flush()
    with sqlite3.connect(office.folder / "axpert.journal") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = office.folder / "axpert.journal"
    path.write_bytes(b"\xa5" * path.stat().st_size)
    for _ in range(3):
        office.measure()
        assert CONTRACT.check("status", {"state": "online", **office.outbox.status()}) is None
        office.outbox.flush()
    assert office.states()[-1]["time"] == time_text(T0 + 103_000)
    assert "set aside as axpert.damaged-1" in caplog.text
    assert len(office.ask(after=time_text(T0 + 101_000))["samples"]) == 2


def test_a_journal_that_cannot_be_read_now_stops_nothing_and_is_not_answered_from(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.measure()
    office.outbox.flush()
    with sqlite3.connect(office.folder / "axpert.journal") as db:
        db.execute("ALTER TABLE blocks RENAME TO hidden")
    office.outbox.status()
    with pytest.raises(ValueError, match="not enough values"):
        office.ask()
    assert "no such table: blocks; not answering 'archive', which asks again" in caplog.text
    with sqlite3.connect(office.folder / "axpert.journal") as db:
        db.execute("ALTER TABLE hidden RENAME TO blocks")
    assert len(office.ask()["samples"]) == 1


# ---------------------------------------------------------------------- what the contract refuses


def test_a_field_that_is_not_in_the_contract_costs_that_field(office: Office) -> None:
    office.measure(pv_w=5, battery_v=float("nan"), moon_phase=3)
    (state,) = office.states()
    assert state["pv_w"] == 5
    assert not {"battery_v", "moon_phase"} & set(state)
    rejected = office.bus.bodies(TOPICS.component("axpert", "rejected"))
    assert [body["found"] for body in rejected] == [{"battery_v": "nan"}, {"moon_phase": "3"}]
    assert [CONTRACT.check("rejected", body) for body in rejected] == [None, None]
    lines = (office.folder / "axpert.rejected").read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == rejected


@pytest.mark.parametrize(
    ("name", "value"),
    [("\ud800", 1), ("a" * 5000, 1), ("pv_w", "\ud800" * 5000), ("ü\0\n", "\0")],
)
def test_whatever_is_refused_can_be_said(office: Office, name: str, value: object) -> None:
    values: dict[str, Any] = {name: value, "grid_hz": 50.0}
    office.measure(**values)
    (rejected,) = office.bus.bodies(TOPICS.component("axpert", "rejected"))
    assert CONTRACT.check("rejected", rejected) is None
    assert office.states()[0]["grid_hz"] == 50.0


def test_the_same_refusal_is_told_once_a_minute_with_how_often(tmp_path: Path) -> None:
    bus, now_s = Heard(), 0.0
    rejects = Rejects(tmp_path / "axpert.rejected", "axpert", TOPICS, bus, monotonic=lambda: now_s)
    for second in range(121):
        now_s = float(second)
        reason = f"grid_hz: found {second}.5, expected 45 to 65 Hz"
        rejects.put("state", reason, {"grid_hz": second + 0.5})
        if second in {3, 4}:
            rejects.put("state", "pv_w: found -1, expected at least 0 W", {"pv_w": -1})
    told = bus.bodies(TOPICS.component("axpert", "rejected"))
    assert [(*body["found"].items(), body.get("times")) for body in told] == [
        (("grid_hz", "0.5"), None),
        (("pv_w", "-1"), None),
        (("grid_hz", "60.5"), 60),
        (("grid_hz", "120.5"), 60),
    ]
    assert [CONTRACT.check("rejected", body) for body in told] == [None] * 4
    assert len((tmp_path / "axpert.rejected").read_bytes().splitlines()) == 4
    assert rejects.count == 123


def test_ever_new_refusals_fill_neither_the_bus_nor_the_disk(tmp_path: Path) -> None:
    bus, now_s = Heard(), 0.0
    rejects = Rejects(tmp_path / "axpert.rejected", "axpert", TOPICS, bus, monotonic=lambda: now_s)

    def told(since: int) -> int:
        for number in range(since, since + 5000):
            rejects.put(f"solar/{number}", "not JSON", {})
        return len(bus.bodies(TOPICS.component("axpert", "rejected")))

    assert told(0) == 1000
    assert told(5000) == 1000
    now_s = 60.0
    assert told(10000) == 2000
    assert rejects.count == 15000


# ---------------------------------------------------------------------- silence


def test_a_device_that_is_not_ours_is_journaled_and_not_published(office: Office) -> None:
    office.others.add("inverter")
    office.measure()
    office.measure()
    assert office.states() == []
    office.others.clear()
    office.outbox.republish("inverter")
    assert office.chain() == [(1000, 2000)]
    assert len(office.ask()["samples"]) == 2


# ---------------------------------------------------------------------- answers


def test_an_answer_is_schema_valid_and_holds_what_follows_the_cursor(office: Office) -> None:
    for _ in range(3):
        office.measure()
    answer = office.ask(id="abc-7", after=time_text(T0 + 1000))
    assert CONTRACT.check("history", answer) is None
    states = office.states()
    assert answer == {
        "id": "abc-7", "bridge": "axpert", "device": "inverter",
        "after": states[0]["time"], "to": states[2]["time"], "samples": states[1:], "end": True,
    }  # fmt: skip


def test_answers_stay_below_64_kb_and_together_hold_everything(office: Office) -> None:
    for number in range(900):
        office.measure(pv_w=number, mode="line", alarms=["x" * 60])
    after, count, batches = None, 0, 0
    while (answer := office.ask(after=after))["samples"]:
        assert CONTRACT.check("history", answer) is None
        after, count, batches = answer["to"], count + len(answer["samples"]), batches + 1
    assert (count, answer["after"], answer["to"]) == (900, after, after)
    assert batches > 2
    assert max(len(payload) for topic, payload, _ in office.bus.messages) < 64_000


def test_a_large_sample_is_still_sent_alone(office: Office) -> None:
    for _ in range(2):
        office.measure(alarms=["é" * 100] * 256)
    answers = [office.ask(), office.ask(after=office.states()[0]["time"])]
    assert [len(answer["samples"]) for answer in answers] == [1, 1]


def test_an_answer_is_never_retained(office: Office) -> None:
    office.measure()
    office.ask()
    assert [retain for topic, _, retain in office.bus.messages if topic == HISTORY] == [False]


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"7", b"{}", b"\xff",
        b'{"id":"x","sink":"archive","device":"inverter"}',
        b'{"id":"x","sink":"a/b","device":"inverter","after":null,"until":null}',
        b'{"id":"x","sink":"#","device":"inverter","after":null,"until":null}',
        b'{"id":"x","sink":"bus","device":"inverter","after":null,"until":null}',
        b'{"id":"x","sink":"archive","device":"inverter","after":"now","until":null}',
        b'{"id":"x","sink":"archive","device":"i","after":"2027-02-31T00:00:00.000Z","until":null}',
        b'{"id":"x","sink":"archive","device":"i","after":"0000-01-31T00:00:00.000Z","until":null}',
    ],
)  # fmt: skip
def test_a_malformed_request_is_rejected_and_not_answered(office: Office, payload: bytes) -> None:
    office.measure()
    office.outbox.answer(REPLAY, payload)
    assert office.bus.bodies(HISTORY) == []
    (rejected,) = office.bus.bodies(TOPICS.component("axpert", "rejected"))
    assert rejected["topic"] == REPLAY
    assert CONTRACT.check("rejected", rejected) is None


@pytest.mark.parametrize("after", ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"])
def test_the_ends_of_time_can_be_asked_for(office: Office, after: str) -> None:
    office.measure()
    assert len(office.ask(after=after)["samples"]) == 1


# ---------------------------------------------------------------------- events and status


def test_an_event_is_published_and_can_be_asked_for_later(office: Office) -> None:
    office.outbox.event("samples_lost", "some are gone", subject="inverter")
    ((topic, payload, retain),) = office.bus.messages
    assert (topic, retain) == (EVENT, False)
    assert CONTRACT.check("event", json.loads(payload)) is None
    assert office.ask(device="bus")["samples"] == [json.loads(payload)]


def test_a_status_is_schema_valid_and_names_the_ends_of_each_journal(office: Office) -> None:
    assert office.outbox.status() == {
        "clock": {"synced": True, "waiting": 0},
        "journal": {"size_bytes": office.journal.size_bytes, "unjournaled": 0},
        "heads": {},
    }
    office.measure()
    office.measure()
    office.measure(device="second")
    office.outbox.flush()
    status = office.outbox.status()
    assert CONTRACT.check("status", {"state": "online", **status}) is None
    assert status["journal"]["oldest"] == "2027-01-15T08:00:01.000Z"
    assert status["heads"] == {
        "inverter": {"first": "2027-01-15T08:00:01.000Z", "last": "2027-01-15T08:00:02.000Z"},
        "second": {"first": "2027-01-15T08:00:03.000Z", "last": "2027-01-15T08:00:03.000Z"},
    }


# ---------------------------------------------------------------------- the stop


def test_a_stop_hardly_waits_for_a_locked_journal(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.measure()
    lock = sqlite3.connect(
        tmp_path / "axpert.journal", isolation_level=None, check_same_thread=False
    )
    lock.execute("BEGIN IMMEDIATE")
    end = threading.Timer(1.9, lock.close)  # less than what one flush waits while running
    end.start()
    office.outbox.flush()
    office.outbox.close()
    assert lock.in_transaction
    end.cancel()
    lock.close()
    again = Office(tmp_path)
    assert len(again.ask()["samples"]) == 1
    again.outbox.close()
