"""A follower running: what it hears, what it says, and what waits for the broker."""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from heliobus import contract
from heliobus.bus import Message, Subscription
from heliobus.contract import Contract
from heliobus.follower import Outgoing
from heliobus.following import MOST_WAITING, FollowerComponent
from heliobus.settings import BrokerSettings, ClockSettings, Settings, SinkSettings
from heliobus.topics import Topics
from tests.helpers import BrokerProcess, wait_until
from tests.processes import SITE, Ear

pytestmark = pytest.mark.broker

CONTRACT = contract.load()


class Echo:
    """A follower that says what it is told to say, and refuses what is bad."""

    made: ClassVar[list["Echo"]] = []

    def __init__(
        self, settings: SinkSettings, *, topics: Topics, contract: Contract, now_ms: Any
    ) -> None:
        self.name = settings.name
        self.topics = topics
        self.version = contract.version
        self.now_ms = now_ms
        self.connections = 0
        self.heard: list[Message] = []
        self.to_say: list[Outgoing] = []
        self.made.append(self)

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        return [Subscription("heliobus/farm/+/state", 0, as_published=False)]

    def connected(self, now_s: float) -> None:  # noqa: ARG002
        self.connections += 1

    def take(self, message: Message, now_s: float) -> str | None:  # noqa: ARG002
        self.heard.append(message)
        return "found bad, expected good" if message.payload == b"bad" else None

    def due(self, now_s: float) -> Iterable[Outgoing]:  # noqa: ARG002
        said, self.to_say = self.to_say, []
        return said

    def details(self) -> Mapping[str, Any]:
        return {"heard": len(self.heard)}


@contextmanager
def running(folder: Path, broker: BrokerProcess) -> Iterator[tuple[Echo, Ear]]:
    """Run a follower, and an ear that hears what it says."""
    settings = Settings(
        site=SITE,
        folder=folder,
        data=folder / "data",
        broker=BrokerSettings(port=broker.port),
        clock=ClockSettings(trust=True),
    )
    settings.data.mkdir()
    component = FollowerComponent(settings, SinkSettings("echo", "echo"), Echo, CONTRACT)
    stop = threading.Event()
    thread = threading.Thread(target=component.run, args=(stop,))
    thread.start()
    echo = Echo.made[-1]
    try:
        with Ear(broker.port) as ear:
            wait_until(lambda: ear.status("echo") and echo.connections, "the follower on the bus")
            yield echo, ear
    finally:
        stop.set()
        thread.join(10)


def test_a_follower_hears_what_it_asked_for_and_its_refusals_are_told(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with running(tmp_path, mosquitto) as (echo, ear):
        ear.client.publish("heliobus/farm/shed/state", b"good", qos=1, retain=True)
        ear.client.publish("heliobus/farm/shed/info", b"bad", qos=1)
        ear.client.publish("heliobus/farm/shed/state", b"bad", qos=1)
        [refused] = wait_until(lambda: ear.heard("/bus/echo/rejected"), "the refusal")
        body = json.loads(refused.payload)
        del body["time"]
        assert body == {
            "topic": "heliobus/farm/shed/state",
            "reason": "found bad, expected good",
            "found": {"payload": "'bad'"},
        }
        assert [message.payload for message in echo.heard] == [b"good", b"bad"]
        assert not any(message.retained for message in echo.heard)


def test_what_it_says_of_itself_is_in_its_status(mosquitto: BrokerProcess, tmp_path: Path) -> None:
    with running(tmp_path, mosquitto) as (echo, ear):
        status = ear.status("echo")
        assert (status["role"], status["type"]) == ("sink", "echo")
        assert (status["heard"], status["rejected"]) == (0, 0)
        assert (echo.topics, echo.version) == (Topics(SITE), CONTRACT.version)
        assert abs(echo.now_ms() - time.time() * 1000) < 60_000


def test_of_what_waits_for_a_frozen_broker_the_newest_retained_and_all_else_are_sent(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with running(tmp_path, mosquitto) as (echo, ear):
        mosquitto.freeze()
        numbers = [b"%d" % number for number in range(500)]
        echo.to_say = [
            one
            for number in numbers
            for one in (
                Outgoing("heliobus/farm/bus/echo/kept", number, retain=True),
                Outgoing("heliobus/farm/bus/echo/event", number),
            )
        ]
        wait_until(lambda: not echo.to_say, "the follower to have said it all")
        mosquitto.thaw()
        wait_until(lambda: len(ear.heard("/event")) >= len(numbers), "all that waited")
        kept = wait_until(lambda: ear.heard("/kept"), "what is retained")
        assert [message.payload for message in ear.heard("/event")] == numbers
        assert [message.payload for message in kept] == [numbers[-1]]


def test_what_was_to_be_said_to_a_lost_connection_is_forgotten(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with running(tmp_path, mosquitto) as (echo, ear):
        mosquitto.stop()
        wait_until(lambda: not ear.client.is_connected(), "the broker to be gone")
        echo.to_say = [
            Outgoing(f"heliobus/farm/{name}/set/echo", b"old", retain=name == "kept")
            for name in ("kept", "pump", "fan")
        ]
        wait_until(lambda: not echo.to_say, "the follower to have said it")
        since_s = time.monotonic()
        mosquitto.start()
        wait_until(lambda: echo.connections >= 2, "the second connection")
        wait_until(lambda: ear.heard("/bus/echo/status", since_s), "the ear")
        # Retained, too: it stands behind what is retained and waits.
        echo.to_say = [Outgoing("heliobus/farm/bus/echo/event", b"new", retain=True)]
        wait_until(lambda: ear.heard("/event"), "the new one")
        assert [message.topic for message in ear.heard("/set/echo")] == []
        lost = "the connection was lost before it could be sent"
        assert rejected(tmp_path) == [
            (f"heliobus/farm/{name}/set/echo", lost, {"payload": "'old'"})
            for name in ("pump", "fan")
        ]


def rejected(folder: Path) -> list[tuple[str, str, Any]]:
    """Give what was refused, as its file says."""
    lines = (folder / "data" / "echo.rejected").read_text().splitlines()
    bodies = [json.loads(line) for line in lines]
    return [(body["topic"], body["reason"], body["found"]) for body in bodies]


def test_of_too_many_that_wait_the_oldest_are_rejected(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with running(tmp_path, mosquitto) as (echo, ear):
        mosquitto.stop()
        wait_until(lambda: not ear.client.is_connected(), "the broker to be gone")
        echo.to_say = [
            Outgoing(f"heliobus/farm/d{number}/set/echo", b"{}")
            for number in range(MOST_WAITING + 2)
        ]
        wait_until((tmp_path / "data" / "echo.rejected").exists, "the first rejected one")
        wait_until(lambda: len(rejected(tmp_path)) > 1, "the second")
        assert rejected(tmp_path) == [
            (
                f"heliobus/farm/d{number}/set/echo",
                "more than 1,000 messages wait for the broker",
                {"payload": "'{}'"},
            )
            for number in range(2)
        ]


def test_what_no_broker_took_before_the_end_is_rejected(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with running(tmp_path, mosquitto) as (echo, ear):
        mosquitto.stop()
        wait_until(lambda: not ear.client.is_connected(), "the broker to be gone")
        echo.to_say = [Outgoing("heliobus/farm/pump/set/echo", b"{}")]
        wait_until(lambda: not echo.to_say, "the follower to have said it")
    assert rejected(tmp_path) == [
        (
            "heliobus/farm/pump/set/echo",
            "the broker did not take it before the end",
            {"payload": "'{}'"},
        )
    ]


def test_what_is_retained_is_sent_in_the_order_of_its_newest(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    said = [("pump", b"1"), ("fan", b"1"), ("pump", b"2")]
    with running(tmp_path, mosquitto) as (echo, ear):
        echo.to_say = [
            Outgoing(f"heliobus/farm/{device}/kept", payload, retain=True)
            for device, payload in said
        ]
        wait_until(lambda: len(ear.heard("/kept")) >= 2, "both")
        assert [(message.topic, message.payload) for message in ear.heard("/kept")] == [
            ("heliobus/farm/fan/kept", b"1"),
            ("heliobus/farm/pump/kept", b"2"),
        ]


def test_what_is_due_at_the_end_is_still_said(mosquitto: BrokerProcess, tmp_path: Path) -> None:
    with Ear(mosquitto.port) as ear:
        wait_until(ear.client.is_connected, "the ear")
        with running(tmp_path, mosquitto) as (echo, _):
            echo.to_say = [
                Outgoing("heliobus/farm/bus/echo/event", b"last", retain=retain)
                for retain in (True, False)
            ]
        wait_until(lambda: len(ear.heard("/event")) > 1, "both")
