"""The Home Assistant sink in a house: a simulated inverter, its bridge, a broker, processes."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from bridges.voltronic.simulator import Simulator
from heliobus.house import House as SimulatedHouse
from heliobus.simulation import serve_tcp
from tests.ha_rules import rejections, template_warnings
from tests.helpers import BrokerProcess, wait_until
from tests.house import House

pytestmark = [pytest.mark.broker, pytest.mark.slow]

CONFIGS = "homeassistant/device/+/config"
INVERTER = "homeassistant/device/heliobus_farm_inverter/config"
NOON_S = 1_790_000_000 - 1_790_000_000 % 86400 + 12 * 3600.0


class Listener:
    """What Home Assistant hears: the configs, each time that they come."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._take
        self.client.on_connect = lambda client, *_: client.subscribe(CONFIGS)
        self.client.connect("127.0.0.1", port)

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    @property
    def told(self) -> dict[str, Any]:
        """Give the newest of each, but those that were cleared."""
        newest = dict(self.heard)
        return {topic: json.loads(payload) for topic, payload in newest.items() if payload}


@contextmanager
def listening(port: int) -> Iterator[Listener]:
    listener = Listener(port)
    listener.client.loop_start()
    try:
        yield listener
    finally:
        listener.client.disconnect()
        listener.client.loop_stop()


@pytest.fixture
def house(mosquitto: BrokerProcess, tmp_path: Path) -> Iterator[House]:
    """Run an inverter, its bridge and the sink."""
    simulator = Simulator("pi30max", house=SimulatedHouse(lambda: NOON_S))
    with serve_tcp(simulator) as line:
        devices = {"inverter": {"every": "0.5s"}}
        house = House(
            tmp_path / "house",
            mosquitto,
            bridges={"axpert": {"type": "voltronic", "link": line.url, "devices": devices}},
            sinks={"hass": {"type": "homeassistant"}},
        )
        with house.running("axpert", "hass"):
            yield house


def test_an_inverter_is_announced_once_and_goes_when_its_info_is_cleared(
    house: House, mosquitto: BrokerProcess
) -> None:
    with listening(mosquitto.port) as home:
        wait_until(lambda: {"pv_w", "yield_kwh", "mode"} <= cmps(home), "the inverter", 25)
        wait_until(lambda: len(home.told) == 5, "strings and components", 25)
        for topic, payload in home.heard:
            assert rejections(topic, payload) == []
            assert template_warnings(payload) == []

        said = len(home.heard)
        since_s = time.monotonic()
        for name in ("axpert", "hass"):
            house.stop(name)
            house.start(name)
        wait_until(lambda: knows_all(house, since_s), "the bridge to know all again", 25)
        wait_until(lambda: announced(house, since_s) == 5, "the sink to know all again", 25)
        assert home.heard[said:] == []

        house.stop("axpert")
        house.ear.client.publish("heliobus/farm/inverter/info", b"", retain=True)
        wait_until(lambda: INVERTER not in home.told, "the inverter to go", 25)
        wait_until(lambda: len(home.told) == 2, "its strings to go", 25)


def cmps(home: Listener) -> set[str]:
    return set(home.told.get(INVERTER, {}).get("cmps", {}))


def knows_all(house: House, since_s: float) -> bool:
    infos = [json.loads(one.payload or b"{}") for one in house.ear.heard("/info", since_s)]
    return bool(infos) and {"pv_w", "yield_kwh", "mode"} <= set(infos[-1].get("fields", ()))


def announced(house: House, since_s: float) -> int | None:
    """Give how many devices the sink says that it has told of; None: it has not yet begun anew."""
    said = [json.loads(one.payload) for one in house.ear.heard("/bus/hass/status", since_s)]
    anew = [one for one in said if one.get("uptime_s", 99.0) < time.monotonic() - since_s]
    return anew[-1].get("announced") if anew else None


def test_a_value_set_in_home_assistant_becomes_a_command(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    """Play a device that takes commands: no bridge does yet."""
    house = House(tmp_path / "house", mosquitto, sinks={"hass": {"type": "homeassistant"}})
    command = {"type": "integer", "minimum": 0, "maximum": 10}
    info = {"kind": "relay", "bridge": "x", "fields": {"is_on": {}}, "commands": {"level": command}}
    with house.running("hass"), listening(mosquitto.port) as home:
        house.ear.say("pump/info", info, retain=True)
        wait_until(lambda: len(home.told) == 2, "the pump", 25)
        [topic] = [one for one in home.told if "pump" in one]
        value = home.told[topic]["cmps"]["set-level"]["cmd_t"]
        home.client.publish(value, b"11", qos=1)
        home.client.publish(value, b"7", qos=1)
        [given] = wait_until(lambda: house.ear.heard("/pump/set/hass"), "the command")
        assert json.loads(given.payload)["value"] == 7
        [refused] = wait_until(lambda: house.ear.heard("/bus/hass/rejected"), "the refusal")
        assert json.loads(refused.payload)["reason"] == (
            "found '11', expected a whole number from 0 to 10"
        )
