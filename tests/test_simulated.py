"""What is simulated says so, and an archive of real things does not keep it."""

import json
from pathlib import Path
from typing import Any

import pytest

from heliobus import contract
from heliobus.bus import Message
from heliobus.clock import Clock
from heliobus.following import FollowerComponent
from heliobus.health import Health
from heliobus.intake import Intake
from heliobus.journal import Journal
from heliobus.outbox import Outbox
from heliobus.rejects import Rejects
from heliobus.sample import Measured, time_ms
from heliobus.settings import ClockSettings, JournalSettings, Settings, SinkSettings
from heliobus.sinking import SinkComponent
from heliobus.topics import Topics
from heliobus.waiting import Waiting
from sinks.sql import Sql
from tests.test_following import Echo
from tests.test_outbox import Heard

CONTRACT = contract.load()
TOPICS = Topics("farm")
STATE, EVENT = "heliobus/farm/inverter/state", "heliobus/farm/bus/axpert/event"
HISTORY = "heliobus/farm/bus/archive/history"
BEGIN, THEN, NOW = (f"2026-11-21T10:15:{second}.000Z" for second in (20, 25, 30))
KEY = ("farm", "axpert", "inverter")


def office(folder: Path, clock: Clock) -> tuple[Outbox, Heard]:
    """Give the outbox of a simulated bridge, and its bus."""
    bus = Heard()
    journal = Journal(folder, "axpert", JournalSettings())
    journal.open()
    waiting = Waiting(folder / "axpert.waiting")
    waiting.open()
    made = Outbox(
        "axpert", TOPICS, contract=CONTRACT, journal=journal, bus=bus, waiting=waiting,
        clock=clock, settings=JournalSettings(), simulated=True,
        rejects=Rejects(folder / "axpert.rejected", "axpert", TOPICS, bus),
    )  # fmt: skip
    return made, bus


@pytest.fixture
def simulated(tmp_path: Path) -> tuple[Outbox, Heard]:
    """Give the outbox of a simulated bridge whose clock is right."""
    return office(tmp_path, Clock(ClockSettings(trust=True)))


def intake(*, simulated: bool) -> Intake:
    made = Intake(
        CONTRACT, backfill_ms=0, now_ms=lambda: time_ms(NOW), reject=lambda *_: None,
        lost=lambda _: None, simulated=simulated,
    )  # fmt: skip
    made.load({KEY: time_ms(BEGIN)})
    return made


def body(time: str = THEN, prev: str | None = BEGIN, **marks: Any) -> dict[str, Any]:
    return {
        "time": time, "prev": prev, "kind": "inverter", "bridge": "axpert", "pv_w": 812, **marks,
    }  # fmt: skip


def heard(taker: Intake, topic: str, said: dict[str, Any]) -> None:
    address = TOPICS.parse(topic)
    assert address is not None
    taker.take_sample(topic, address, json.dumps(said).encode())


# ---------------------------------------------------------------------- what is published


def test_every_sample_and_event_says_that_it_is_simulated(simulated: tuple[Outbox, Heard]) -> None:
    outbox, bus = simulated
    outbox.put("inverter", "inverter", {"pv_w": 812}, 1.0)
    outbox.event("night", "the sun has set")
    assert [b["simulated"] for topic in (STATE, EVENT) for b in bus.bodies(topic)] == [True, True]


def test_what_waits_for_the_clock_says_it_too(tmp_path: Path) -> None:
    outbox, bus = office(tmp_path, Clock(ClockSettings(wait_s=120.0), synced=lambda: False))
    outbox.put("inverter", "inverter", {"pv_w": 812}, 1.0)
    (shown,) = bus.bodies(STATE)
    assert (shown["quality"], shown["simulated"]) == ("provisional", True)


def test_what_is_sent_again_says_it_too(simulated: tuple[Outbox, Heard]) -> None:
    outbox, bus = simulated
    outbox.put("inverter", "inverter", {"pv_w": 812}, 1.0)
    asked = {"id": "x", "sink": "archive", "device": "inverter", "after": None, "until": None}
    outbox.answer("heliobus/farm/bus/axpert/replay", json.dumps(asked).encode())
    (answer,) = bus.bodies(HISTORY)
    assert [sample["simulated"] for sample in answer["samples"]] == [True]


def test_real_things_say_nothing_of_it() -> None:
    assert Measured("inverter", "inverter", {}, 1.0).marks == {}


# ---------------------------------------------------------------------- what is stored


@pytest.mark.parametrize(
    ("simulated", "stored", "skipped"),
    [
        pytest.param(False, 1, 1, id="a real archive"),
        pytest.param(True, 2, 0, id="a simulated one"),
    ],
)
def test_a_real_archive_keeps_no_simulated_sample(
    *, simulated: bool, stored: int, skipped: int
) -> None:
    taker = intake(simulated=simulated)
    heard(taker, STATE, body(THEN, BEGIN, simulated=True))
    heard(taker, STATE, body(NOW, THEN))
    assert len(taker.pending()) == stored
    assert taker.simulated_skipped == skipped


def test_the_stretch_of_a_simulated_sample_is_complete() -> None:
    taker = intake(simulated=False)
    heard(taker, STATE, body(simulated=True))
    assert taker.cursors() == {KEY: time_ms(THEN)}
    taker.commit()
    assert taker.holes == 0
    assert taker.due(0.0) == []


def test_simulated_samples_of_a_journal_are_complete_and_not_kept() -> None:
    taker = intake(simulated=False)
    heard(taker, STATE, body(NOW, THEN, simulated=True))  # a hole before it
    taker.commit()
    (request,) = taker.due(0.0)
    answer = {
        "id": request.id, "bridge": "axpert", "device": "inverter", "after": BEGIN, "to": THEN,
        "samples": [body(simulated=True)],
    }  # fmt: skip
    taker.take_history(HISTORY, "farm", json.dumps(answer).encode())
    assert (taker.pending(), taker.cursors()) == ([], {KEY: time_ms(NOW)})
    assert taker.simulated_skipped == 2


def test_simulated_samples_of_a_stranger_are_not_kept() -> None:
    taker = intake(simulated=False)
    said = body(simulated=True)
    del said["bridge"], said["prev"]
    heard(taker, STATE, said)
    assert (taker.pending(), taker.simulated_skipped) == ([], 1)


@pytest.mark.parametrize("mark", [False, "true", 1])
def test_only_true_is_a_mark(mark: object) -> None:
    taker = intake(simulated=False)
    heard(taker, STATE, body(simulated=mark))
    assert len(taker.pending()) == 1


def test_the_health_of_what_is_simulated_is_marked_to_its_end() -> None:
    health = Health(lambda: time_ms(NOW))
    online = health.take("farm", "axpert", {"state": "online", "time": THEN, "simulated": True})
    offline = health.take("farm", "axpert", {"state": "offline"})
    assert online is not None
    assert offline is not None
    assert online.marks == offline.marks == {"simulated": True}


def test_a_sink_tells_once_that_it_keeps_nothing_simulated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = SinkSettings("archive", "sql", options={"url": "sqlite:///history.db"})
    component = SinkComponent(
        Settings("farm", tmp_path, tmp_path, sinks={"archive": sink}), sink, Sql, CONTRACT
    )
    for time, prev in ((THEN, BEGIN), (NOW, THEN)):
        payload = json.dumps(body(time, prev, simulated=True)).encode()
        component.take(Message(STATE, payload, retained=False))
        component.tick()
    info = {"kind": "inverter", "bridge": "axpert", "contract": "0", "simulated": True}
    component.take(Message("heliobus/farm/inverter/info", json.dumps(info).encode(), retained=True))
    component.tick()
    component.finish()
    assert component.details()["simulated_skipped"] == 2
    assert component.details()["stored"] == 0
    said = "somebody publishes simulated values here; they are not stored"
    assert [record.getMessage() for record in caplog.records].count(said) == 1


@pytest.mark.parametrize(("simulated", "heard"), [(False, 0), (True, 2)])
def test_a_real_follower_hears_of_no_simulated_device(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, simulated: bool, heard: int
) -> None:
    settings = Settings("farm", tmp_path, tmp_path, simulated=simulated)
    component = FollowerComponent(settings, SinkSettings("echo", "echo"), Echo, CONTRACT)
    info = {"kind": "inverter", "bridge": "axpert", "contract": "0", "simulated": True}
    for payload in (info, info, {**info, "simulated": False}):
        component.take(
            Message("heliobus/farm/inverter/info", json.dumps(payload).encode(), retained=True)
        )
    assert len(Echo.made[-1].heard) == heard + 1
    said = "somebody publishes simulated devices here; they are passed over"
    assert [record.getMessage() for record in caplog.records].count(said) == (not simulated)
