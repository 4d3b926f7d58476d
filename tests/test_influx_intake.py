"""The influx sink and what the kit asks for: a fault in the middle cancels no part of the past."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliobus import contract
from heliobus.cursor import MINUS_INFINITY
from heliobus.errors import SinkError
from heliobus.intake import Intake
from heliobus.sample import time_text
from heliobus.topics import Topics
from tests.influx_servers import VictoriaMetrics
from tests.influx_sink import influx
from tests.influx_standin import Standin, failing
from tests.samples import sample

LIVE_MS = 5000
DAY_MS = 86_400_000
NOW_MS = round(time.time() * 1000)
FAR_S = 1000.0  # of the monotonic clock: whoever is to be asked again is asked


@pytest.fixture
def standin() -> Iterator[Standin]:
    with Standin() as server:
        server.add_bucket("solar")
        server.tokens["sesame"] = {("write", "solar")}
        yield server


def intake_of(backfill_ms: int | None) -> Intake:
    def fail(*said: object) -> None:
        raise AssertionError(said)

    return Intake(
        contract.load(),
        backfill_ms=backfill_ms,
        now_ms=lambda: NOW_MS,
        reject=fail,
        lost=fail,
    )


def take_live(intake: Intake, time_ms: int) -> None:
    topic = Topics("farm").device("inverter", "state")
    address = Topics("farm").parse(topic)
    assert address is not None
    body = {
        "time": time_text(time_ms),
        "prev": time_text(time_ms - LIVE_MS),
        "kind": "inverter",
        "bridge": "axpert",
        "pv_w": 1.0,
    }
    intake.take_sample(topic, address, json.dumps(body).encode())


def asked_after(intake: Intake) -> int:
    """Give from when on is asked; a hole that only a head has shown is given time first."""
    now_s = time.monotonic() + FAR_S
    (request,) = intake.due(now_s) or intake.due(now_s + FAR_S)
    return request.after_ms


@pytest.mark.parametrize("backfill_ms", [None, DAY_MS])
def test_a_write_that_fails_before_the_past_is_there_cancels_none_of_it(
    standin: Standin, tmp_path: Path, backfill_ms: int | None
) -> None:
    intake = intake_of(backfill_ms)
    sink = influx(standin.url, tmp_path, token="sesame")
    intake.load(sink.open())
    take_live(intake, NOW_MS)
    sink.write(intake.pending(), intake.cursors())
    intake.commit()
    before_ms = asked_after(intake)
    standin.mishap = failing(503)
    with pytest.raises(SinkError, match="answered 503"):
        sink.write([sample(0)], {})
    standin.mishap = None
    intake.drop()
    sink.close()
    intake.load(sink.open())
    assert asked_after(intake) == before_ms


@pytest.mark.database
@pytest.mark.database
@pytest.mark.parametrize(
    ("backfill_ms", "after_ms"),
    [(None, MINUS_INFINITY), (DAY_MS, NOW_MS - DAY_MS), (0, NOW_MS - LIVE_MS - 1)],
    ids=["all", "a day", "nothing"],
)
def test_what_victoriametrics_forgot_before_it_settled_is_asked_for(
    tmp_path: Path, backfill_ms: int | None, after_ms: int
) -> None:
    with VictoriaMetrics(tmp_path / "vm") as server:
        intake = intake_of(backfill_ms)
        sink = influx(server.url, tmp_path)
        intake.load(sink.open())
        for time_ms in (NOW_MS - LIVE_MS, NOW_MS):
            take_live(intake, time_ms)
            sink.write(intake.pending(), intake.cursors())
            intake.commit()
        server.lives_anew()
        intake.drop()
        sink.close()
        intake.load(sink.open())
        assert asked_after(intake) == after_ms


@pytest.mark.database
def test_what_it_forgot_beyond_a_hole_is_asked_for_too(tmp_path: Path) -> None:
    with VictoriaMetrics(tmp_path / "vm") as server:
        intake = intake_of(None)
        sink = influx(server.url, tmp_path)
        intake.load(sink.open())
        take_live(intake, NOW_MS)
        sink.write(intake.pending(), intake.cursors())
        intake.commit()
        server.lives_anew()
        intake.drop()
        sink.close()
        intake.load(sink.open())
        now_s = time.monotonic() + FAR_S
        (request,) = intake.due(now_s) or intake.due(now_s + FAR_S)
        assert request.until_ms is None
