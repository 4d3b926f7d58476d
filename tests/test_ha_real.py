"""What a real Home Assistant makes of what it is told: entities, and complaints in its log."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bridges.voltronic.simulator import Simulator
from heliobus.house import House as SimulatedHouse
from heliobus.line import Faults
from heliobus.simulation import serve_tcp
from tests.ha_real import Entity, HomeAssistant
from tests.helpers import BrokerProcess
from tests.house import House

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
NOON_S = 1_790_000_000 - 1_790_000_000 % 86400 + 12 * 3600.0
# What is there of the inverter and of its bridge, as far as it is of different sorts.
EXPECTED = {
    "sensor.inverter": Entity(
        state="battery", name="Inverter", device="Inverter", device_class="enum"
    ),
    "sensor.inverter_output_voltage": Entity(
        state="230.1",
        name="Inverter Output voltage",
        device="Inverter",
        unit="V",
        device_class="voltage",
        state_class="measurement",
    ),
    "sensor.inverter_yield": Entity(
        state="23266.8",
        name="Inverter Yield",
        device="Inverter",
        unit="kWh",
        device_class="energy",
        state_class="total_increasing",
    ),
    "sensor.inverter_battery_temperature": Entity(
        state="25",
        name="Inverter Battery temperature",
        device="Inverter",
        unit="°C",
        device_class="temperature",
        state_class="measurement",
    ),
    "sensor.inverter_pv_2": Entity(
        state="1298",
        name="Inverter PV 2",
        device="Inverter PV 2",
        unit="W",
        device_class="power",
        state_class="measurement",
    ),
    "sensor.inverter_notices": Entity(
        state="grid_lost", name="Inverter Notices", device="Inverter"
    ),
    "binary_sensor.inverter_charging": Entity(
        state="on", name="Inverter Charging", device="Inverter"
    ),
    "binary_sensor.heliobus_axpert": Entity(
        state="on", name="heliobus axpert", device="heliobus axpert", device_class="connectivity"
    ),
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


def test_an_inverter_is_in_home_assistant_whatever_is_killed_silent_or_restarted(
    home: HomeAssistant, mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    inverter, faults = Simulator("pi30max", house=SimulatedHouse(lambda: NOON_S)), Faults()
    with serve_tcp(inverter, faults=faults) as line:
        devices = {"inverter": {"every": "0.5s", "timeout": "0.5s"}}
        house = House(
            tmp_path / "house",
            mosquitto,
            bridges={"axpert": {"type": "voltronic", "link": line.url, "devices": devices}},
            sinks={"ha": {"type": "homeassistant"}},
        )
        with house.running("axpert", "ha"):
            appears(home)
            assert home.render("{{ device_attr('sensor.inverter', 'model') }}") == "MAX-8000"
            everything = set(home.states())

            house.kill("axpert")
            home.shows("sensor.inverter", "unavailable")
            home.shows("sensor.inverter_pv_2", "unavailable")
            home.shows("binary_sensor.heliobus_axpert", "off")
            home.restart()
            home.shows("binary_sensor.heliobus_axpert", "off")
            assert home.states()["sensor.inverter_yield"].state == "unavailable"
            house.start("axpert")
            appears(home)
            assert everything <= set(home.states())

            faults.set("silence", 1.0)
            home.shows("sensor.inverter_output_voltage", "unavailable")
            home.shows("sensor.heliobus_axpert_devices_offline", "1")
            inverter.refused.add("QMOD")
            faults.set("silence", 0.0)
            home.shows("sensor.inverter_output_voltage", "230.1")
            home.shows("sensor.inverter", "unknown")
            assert home.complaints() == []


def appears(home: HomeAssistant) -> None:
    """Wait until all that is expected is there, just as it is expected, and nothing is missing."""
    for entity_id, entity in EXPECTED.items():
        assert home.shows(entity_id, entity.state) == entity
    assert [name for name, one in home.states().items() if one.state == "unavailable"] == []
