"""Whatever anybody puts on the bus: the sink lives, and stores what is good."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from heliobus import contract
from heliobus.bus import Message
from heliobus.settings import ClockSettings, Settings, SinkSettings
from heliobus.sinking import BATCH_S, SinkComponent
from sinks.sql import SINK
from tests.helpers import wait_until

CONTRACT = contract.load()
TIME = b'"2026-11-21T10:15:30.123Z"'
LINE = b'{"time":' + TIME + b',"kind":"sensor","bridge":"b1","battery_v":1%s}'
GOOD = Message("heliobus/farm/good/state", LINE % b"", retained=False)

ODD = {
    "a head that cannot be asked for": (
        "heliobus/farm/bus/b1/status",
        b'{"state":"online","heads":{"\\ud800":{"first":%s,"last":%s}}}' % (TIME, TIME),
    ),
    "a head with a wildcard": (
        "heliobus/farm/bus/b1/status",
        b'{"state":"online","heads":{"#":{"first":%s,"last":%s}}}' % (TIME, TIME),
    ),
    "heads of the wrong types": (
        "heliobus/farm/bus/b1/status",
        b'{"state":["x"],"heads":{"a":{"first":5,"last":[]},"b":7}}',
    ),
    "a maker that is no text": ("heliobus/farm/inv/info", b'{"bridge":"b1","maker":"\\ud800"}'),
    "a maker with a NUL": ("heliobus/farm/inv/info", b'{"bridge":"b1","maker":"a\\u0000b"}'),
    "an infinite number": ("heliobus/farm/inv/info", b'{"bridge":"b1","x":1e999}'),
    "a huge number": ("heliobus/farm/inv/info", b'{"bridge":"b1","x":' + b"9" * 4000 + b"}"),
    "a bridge that is no text": ("heliobus/farm/inv/info", b'{"bridge":"\\ud800"}'),
    "a kind that is no name": (
        "heliobus/farm/inv/state",
        b'{"time":' + TIME + b',"kind":"\\ud800","bridge":"b1","battery_v":1}',
    ),
    "a mark that is no text": ("heliobus/farm/inv/state", LINE % b',"quality":"\\ud800"'),
    "a mark that is a list": ("heliobus/farm/inv/state", LINE % b',"quality":[1,{"a":1e999}]'),
    "a device that is no name": ("heliobus/farm/INV 1/state", LINE % b""),
    "a device with a long name": (f"heliobus/farm/{'a' * 300}/state", LINE % b""),
    "a site without a name": ("heliobus//inv/state", LINE % b""),
    "the end of time": (
        "heliobus/farm/inv/state",
        b'{"time":"9999-12-31T23:59:59.999Z","prev":null,"kind":"sensor","bridge":"b1"}',
    ),
    "the beginning of time": (
        "heliobus/farm/inv/state",
        b'{"time":"0001-01-01T00:00:00.000Z","prev":null,"kind":"sensor","bridge":"b1"}',
    ),
}


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SinkComponent]:
    settings = Settings(
        site="farm", folder=tmp_path, data=tmp_path, clock=ClockSettings(trust=True)
    )
    archive = SinkSettings("archive", "sql", None, {"url": "sqlite:///history.db"})
    component = SinkComponent(settings, archive, SINK, CONTRACT)
    yield component
    component.finish()


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_message_costs_itself_and_nothing_else(
    sink: SinkComponent, odd: tuple[str, bytes]
) -> None:
    topic, payload = odd

    def stored() -> bool:
        sink.tick()
        return bool(sink.details()["stored"]) and "error" not in sink.details()

    sink.tick()  # opens the database
    sink.take(Message(topic, payload, retained=True))
    sink.take(GOOD)
    wait_until(stored, "the good sample to be stored", 20 * BATCH_S)
    sink.take(Message(topic, payload, retained=True))  # as it comes with every new connection
    sink.tick()


def test_a_batch_of_a_journal_is_stored_without_waiting_for_more(sink: SinkComponent) -> None:
    sink.tick()  # opens the database
    sink.take(GOOD)
    sink.tick()
    assert sink.details()["stored"] == 0  # a live sample waits for others
    batch = (
        b'{"id":"1-1","bridge":"b1","device":"good","after":null,"to":' + TIME + b',"samples":['
        b'{"time":"2026-11-21T10:15:25.123Z","kind":"sensor","bridge":"b1","battery_v":2}]}'
    )
    sink.take(Message("heliobus/farm/bus/archive/history", batch, retained=False))
    sink.tick()
    assert sink.details()["stored"] == 2
