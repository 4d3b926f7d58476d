"""What a real Home Assistant makes of what it is told: entities, and complaints in its log."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.ha_real import Entity, HomeAssistant
from tests.helpers import BrokerProcess

# The first of them installs Home Assistant.
pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(900)]

GOOD: Mapping[str, Any] = {
    "dev": {"ids": ["shed"], "name": "Shed", "mf": "Acme", "mdl": "S1"},
    "o": {"name": "tests"},
    "avty": [{"t": "shed/availability"}],
    "stat_t": "shed/state",
    "cmps": {
        "power": {
            "p": "sensor",
            "uniq_id": "shed_power",
            "name": "Power",
            "dev_cla": "power",
            "unit_of_meas": "W",
            "stat_cla": "measurement",
            "val_tpl": "{{ value_json.power_w }}",
        },
        "door": {
            "p": "binary_sensor",
            "uniq_id": "shed_door",
            "name": "Door",
            "dev_cla": "door",
            "val_tpl": "{{ 'ON' if value_json.door else 'OFF' }}",
        },
    },
}


@pytest.fixture
def home(tmp_path: Path, mosquitto: BrokerProcess) -> Iterator[HomeAssistant]:
    """Run a Home Assistant that nobody has used yet."""
    with HomeAssistant(tmp_path / "ha", mosquitto) as one:
        yield one


def test_home_assistant_shows_a_good_device_and_remembers_it(home: HomeAssistant) -> None:
    home.publish("homeassistant/device/shed/config", GOOD)
    home.publish("shed/state", {"power_w": 230.5, "door": True})
    home.publish("shed/availability", "online")
    home.shows("sensor.shed_power", "230.5")
    assert home.states() == {
        "sensor.shed_power": Entity(
            state="230.5",
            name="Shed Power",
            device="Shed",
            unit="W",
            device_class="power",
            state_class="measurement",
        ),
        "binary_sensor.shed_door": Entity(
            state="on", name="Shed Door", device="Shed", device_class="door"
        ),
    }
    assert home.render("{{ device_attr('sensor.shed_power', 'manufacturer') }}") == "Acme"

    home.publish("shed/availability", "offline")
    home.shows("sensor.shed_power", "unavailable")
    home.restart()
    home.shows("sensor.shed_power", "unavailable")
    home.publish("shed/availability", "online")
    home.shows("sensor.shed_power", "230.5")
    assert home.complaints() == []


def test_home_assistant_complains_of_what_is_wrong(home: HomeAssistant) -> None:
    """Without this, that there is no complaint would mean nothing."""
    power = GOOD["cmps"]["power"] | {"unit_of_meas": "kg"}
    home.publish("homeassistant/device/shed/config", {**GOOD, "cmps": {"power": power}})
    home.complains("WARNING homeassistant.components.mqtt.sensor:", "`kg`", "`power`")

    barn = {**GOOD, "dev": {"ids": ["barn"], "name": "Barn"}, "colour": "red"}
    home.publish("homeassistant/device/barn/config", barn)
    home.complains("Invalid MQTT device discovery payload for barn", "data['colour']")

    home.publish("shed/availability", "online")
    home.publish("shed/state", {"power_w": 230.5})
    home.complains("WARNING homeassistant.components.sensor:", "'kg'", "sensor.shed_power")
    home.publish("shed/state", {"power_w": "much"})
    home.complains("ERROR homeassistant", "sensor.shed_power", "much")
    home.publish("shed/state", {"door": False})
    home.complains("WARNING homeassistant.helpers.template:", "no attribute 'power_w'")
    assert list(home.states()) == ["sensor.shed_power"]
