"""The influx sink as a component: a server that asks to be left alone is left alone."""

from pathlib import Path

import pytest

from heliobus import contract
from heliobus.bus import Message
from heliobus.settings import ClockSettings, Settings
from heliobus.sinking import BATCH_S, SinkComponent
from sinks.influx import SINK
from tests.influx_sink import settings
from tests.influx_standin import Standin, failing

GOOD = Message(
    "heliobus/farm/inverter/state",
    b'{"time":"2026-11-21T10:15:30.123Z","kind":"inverter","bridge":"axpert","battery_v":52}',
    retained=False,
)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


def test_a_server_is_left_alone_for_as_long_as_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("heliobus.sinking.time", clock)
    house = Settings(site="farm", folder=tmp_path, data=tmp_path, clock=ClockSettings(trust=True))
    with Standin() as server:
        server.add_bucket("solar")
        server.tokens["sesame"] = {("write", "solar")}
        grafana = settings(server.url, token="sesame")
        sink = SinkComponent(house, grafana, SINK, contract.load())
        sink.tick()
        sink.take(GOOD)
        sink.tick()
        server.mishap = failing(503, Retry_After="30")
        clock.now_s += BATCH_S
        sink.tick()
        assert "answered 503" in sink.details()["error"]
        server.mishap = None
        asked = len(server.asked)
        clock.now_s += 29
        sink.tick()
        assert len(server.asked) == asked
        clock.now_s += 1
        sink.tick()
        assert len(server.asked) > asked
        assert "error" not in sink.details()
        sink.finish()
