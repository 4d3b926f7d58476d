"""What else is said at the same broker: heliobus itself, other systems, and nonsense."""

from pathlib import Path

import pytest

from heliobus.bus import Bus
from heliobus.settings import BrokerSettings
from tests.helpers import BrokerProcess, wait_until
from tests.mqtt_engine import Hall
from tests.mqtt_place import Place
from tests.processes import SITE, Ear, Program

WITHOUT_BASE = ("esphome", "shelly_gen2", "tasmota")
OTHERS = [
    ("homeassistant/status", "online"),
    ("evcc/status", "online"),
    ("solar/dtu/status", "online"),
    ("solar/114172608275/status/reachable", "1"),
    ("zigbee2mqtt/bridge/state", '{"state":"online"}'),
    ("shellies/x/online", "true"),
    ("shellies/x/announce", '{"id":"x","model":"SHSW-1","mac":"A8032ABE54DC","fw_ver":"1.14"}'),
    ("inverter/status", "1"),
    ("wled/abc/status", "online"),
    ("frigate/available", "online"),
]


@pytest.mark.parametrize("name", WITHOUT_BASE)
def test_a_map_without_a_base_takes_nothing_of_other_systems(name: str) -> None:
    place = Place(name)
    assert place.hear(*OTHERS, base="") == []
    place.wait(4)
    assert (dict(place.listener.devices), place.readings) == ({}, [])


def test_what_was_said_before_a_device_is_known_tells_whether_it_is_there() -> None:
    place = Place("shelly_gen2")
    place.hear(("plug/online", "true"), base="", retained=True)
    announced = '{"name": "Pump", "model": "SNPL-00112EU", "gen": 2}'
    place.hear(("plug/announce", announced), base="", retained=True)
    place.wait(2)
    assert [(one.title, one.online) for one in place.listener.devices.values()] == [("Pump", True)]


def test_a_topic_that_is_longer_than_any_device_has_is_passed_over_and_told(
    tmp_path: Path,
) -> None:
    own = 'title: Own\ndevices: {plug: {name: "{name}", kind: relay}}\ntopics: [{topic: '
    hall = Hall(tmp_path, own + '"{name}/power", device: plug, values: {power: power_w}}]\n')
    hall.say("x" * 251 + "/power", "5")
    hall.wait(1)
    assert list(hall.bridge.hints) == [
        "topics of more than 256 characters are passed over; look who publishes them"
    ]
    assert dict(hall.devices) == {}
    hall.say("x" * 250 + "/power", "5")
    assert len(hall.devices) == 1


CONFIG = """\
site: {site}
clock: trust
broker: {{url: "mqtt://127.0.0.1:{port}"}}
bridges:
  nodes: {{type: mqtt, map: esphome}}
  roof: {{type: mqtt, map: opendtu}}
"""


@pytest.mark.broker
def test_a_bridge_does_not_take_its_own_status_for_a_device(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    (tmp_path / "heliobus.yaml").write_text(CONFIG.format(site=SITE, port=mosquitto.port))
    with Ear(mosquitto.port) as ear, Program(tmp_path, "run", "nodes") as nodes:
        wait_until(lambda: ear.status("nodes").get("state") == "online", "its status")
        for topic in ("heliobus/barn/sensor/power/state", "garage/sensor/power/state"):
            ear.client.publish(topic, "5", qos=1)
        wait_until(lambda: ear.heard("/garage/state"), "a device")
        assert nodes.stop() == 0
        assert ear.heard("/heliobus_barn/state") == []
    assert not (tmp_path / "data" / "nodes.rejected").exists()


@pytest.mark.broker
def test_a_command_that_is_retained_while_a_bridge_is_connected_is_told_at_once(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    (tmp_path / "heliobus.yaml").write_text(CONFIG.format(site=SITE, port=mosquitto.port))
    topic = "solar/114172608275/cmd/limit_nonpersistent_relative"
    with Ear(mosquitto.port) as ear, Program(tmp_path, "run", "roof") as roof:
        wait_until(lambda: ear.status("roof").get("state") == "online", "its status")
        ear.client.publish(topic, "10", qos=1, retain=True)
        roof.says("a command is retained on", topic)
        ear.client.publish(topic, "", qos=1, retain=True)
        roof.says("no longer so: a command is retained on", topic)


@pytest.mark.broker
def test_each_message_of_a_dtu_is_heard_once(mosquitto: BrokerProcess) -> None:
    heard: list[str] = []
    bus = Bus(
        BrokerSettings(port=mosquitto.port),
        "roof",
        client_id="roof",
        subscriptions=Place("opendtu").listener.subscriptions,
        on_message=lambda message: heard.append(message.topic),
    )
    topics = ["dtu/status", "dtu/uptime", "dtu/heap/size", "ac/power", "ac/is_valid"]
    topics += ["114172608275/name", "114172608275/0/power", "114172608275/status/reachable"]
    bus.start()
    try:
        wait_until(lambda: bus.connected, "the connection")
        with Ear(mosquitto.port) as ear:
            for topic in [*topics, "dtu/ip"]:
                ear.client.publish(f"solar/{topic}", "400", qos=1)
            wait_until(lambda: "solar/dtu/ip" in heard, "the last one")
    finally:
        bus.stop(1.0)
    assert heard == [f"solar/{topic}" for topic in [*topics, "dtu/ip"]]
