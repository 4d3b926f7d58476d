"""A whole day with an OpenDTU in a real Home Assistant: entities, sleep, silence, no complaint."""

from pathlib import Path

import pytest

from bridges.mqtt.simulator import Simulator
from heliobus.settings import BrokerSettings
from heliobus.speaking import Speaker
from tests.ha_real import Entity, HomeAssistant
from tests.helpers import BrokerProcess
from tests.house import House

# Whichever test is the first installs Home Assistant.
pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(900)]

POWER = {"unit": "W", "device_class": "power", "state_class": "measurement"}
ENERGY = {"unit": "kWh", "device_class": "energy", "state_class": "total_increasing"}


def test_an_opendtu_is_in_home_assistant_by_day_by_night_and_when_it_is_gone(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    dtu = Simulator("day", poll_s=0.3, publish_s=1.0)
    house = House(
        tmp_path / "house",
        mosquitto,
        bridges={"roof": {"type": "mqtt", "map": "opendtu"}},
        sinks={"ha": {"type": "homeassistant"}},
    )
    home = HomeAssistant(tmp_path / "ha", mosquitto)
    with home, house.running("roof", "ha"):
        with Speaker(dtu, BrokerSettings(port=mosquitto.port)):
            shows_the_day(home)
            everything = set(home.states())
            home.restart()
            shows_the_day(home)
            assert everything <= set(home.states())

            for inverter in dtu.inverters:
                inverter.present = False
            home.shows("sensor.roof_1", "asleep")
            home.shows("sensor.roof_2", "asleep")
            home.shows("binary_sensor.roof_1_reachable", "off")
            for nothing in ("output_power", "output_voltage", "pv_1", "device_temperature"):
                home.shows(f"sensor.roof_1_{nothing}", "unknown")
            assert float(home.states()["sensor.roof_1_yield"].state) > 800
            assert home.states()["sensor.roof_host_name"].state == "OpenDTU-07F614"

        for gone in ("sensor.roof_1", "sensor.roof_2_yield", "sensor.roof_host_name"):
            home.shows(gone, "unavailable")
        home.shows("binary_sensor.heliobus_roof", "on")
        assert home.complaints() == []


def shows_the_day(home: HomeAssistant) -> None:
    """Wait for inverters, a string and the DTU; look at what sorts of things those are."""
    home.shows("sensor.roof_1", "running")
    home.shows("binary_sensor.roof_2_producing", "on")
    home.shows("sensor.roof_host_name", "OpenDTU-07F614")
    for entity_id, name, device, sort in (
        ("sensor.roof_1_output_power", "Roof 1 Output power", "Roof 1", POWER),
        ("sensor.roof_1_pv_2", "Roof 1 PV 2", "Roof 1 PV 2", POWER),
        ("sensor.roof_2_yield", "Roof 2 Yield", "Roof 2", ENERGY),
        ("sensor.roof_yield_today", "Roof Yield today", "Roof", ENERGY),
    ):
        shown = home.states()[entity_id]
        assert shown == Entity(state=shown.state, name=name, device=device, **sort)
        assert float(shown.state) > 0
