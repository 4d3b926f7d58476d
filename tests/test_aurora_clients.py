"""aurorapy, a foreign client, reads our simulated Aurora inverters: a second opinion."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aurorapy.client import AuroraError, AuroraSerialClient, AuroraTCPClient
from aurorapy.mapping import Mapping

from bridges.aurora import Aurora, tables
from bridges.aurora.bus import Bus
from bridges.aurora.simulated_inverter import VARIANTS
from bridges.aurora.simulator import Simulator
from heliobus.sample import Values
from heliobus.simulation import serve_pty, serve_tcp
from tests.aurora_far import Wire, far, settings

# aurorapy ends a read at each 0x0A within an answer, and waits for its timeout then.
_TIMEOUT_S = 1.0


@contextmanager
def over_tcp(simulator: Simulator, address: int) -> Iterator[Any]:
    with serve_tcp(simulator) as service:
        host, _, port = service.url.removeprefix("tcp://").rpartition(":")
        client = AuroraTCPClient(ip=host, port=int(port), address=address, timeout=_TIMEOUT_S)
        client.connect()
        yield client
        client.close()


@contextmanager
def over_serial(simulator: Simulator, address: int) -> Iterator[Any]:
    with serve_pty(simulator, baud=19200) as service:
        path = service.url.removeprefix("serial://").partition("?")[0]
        client = AuroraSerialClient(
            address=address, port=path, baudrate=19200, timeout=_TIMEOUT_S, tries=3
        )
        client.connect()
        yield client
        client.close()


@pytest.fixture(params=[over_tcp, over_serial], ids=["tcp", "serial"])
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


def ours(variant: str) -> tuple[Simulator, Values]:
    """Give a simulator, and what our bridge reads of one that is the same."""
    device = settings("roof", address=5, simulate=variant)
    bridge, bus = Aurora(device), Bus(Wire(far(device)))
    values: Values = {}
    for group in bridge.groups:
        values |= bridge.poll(bus, group.name)
    who = bridge.identity
    return far(device), {**values, "serial": who.serial, "firmware": who.firmware}


@pytest.mark.parametrize("variant", VARIANTS)
def test_aurorapy_reads_every_measure_as_we_do(variant: str, way: Any) -> None:
    simulator, expected = ours(variant)
    read = {}
    with way(simulator, 5) as client:
        for kind, measure in tables.MEASURES.items():
            if measure.name in expected:
                read[measure.name] = client.measure(kind) * measure.factor
    assert len(read) > 12
    for name, value in read.items():
        assert value == pytest.approx(expected[name], rel=1e-6), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_aurorapy_reads_every_state_as_we_do(variant: str, way: Any) -> None:
    simulator, expected = ours(variant)
    with way(simulator, 5) as client:
        codes = [client.state(kind, mapped=False) for kind in range(1, 6)]
        assert client.state(1) == "Run"
        assert client.state(5) == "No alarm"
    assert codes == [
        expected[name]
        for name in (
            "global_state_code",
            "inverter_state_code",
            "dcdc_01_state_code",
            "dcdc_02_state_code",
            "alarm_code",
        )
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_aurorapy_reads_every_energy_as_we_do(variant: str, way: Any) -> None:
    simulator, expected = ours(variant)
    by_float = VARIANTS[variant].float_energies
    names = tables.FLOAT_ENERGIES if by_float else tables.ENERGIES
    with way(simulator, 5) as client:
        ask = client.cumulated_float_energy if by_float else client.cumulated_energy
        read = {name: ask(period) for period, name in names.items() if name in expected}
        joules = client.joules_in_last_10s()
    assert len(read) == 6
    for name, value_wh in read.items():
        assert value_wh / 1000 == pytest.approx(expected[name], rel=1e-6), name
    assert joules == min(65535, math.floor(float(str(expected["output_w"])) * 10))


def test_aurorapy_reads_who_it_is_as_we_do(way: Any) -> None:
    simulator, expected = ours("pvi36")
    with way(simulator, 5) as client:
        assert client.serial_number() == expected["serial"]
        assert client.pn() == expected["hardware_part"]
        assert client.firmware(1) == expected["firmware"]
        assert client.manufacturing_date() == "15-W23"
        assert client.version() == (
            "Aurora 3.6kW new - VDE0126 - Transformerless Version - PV Version"
        )
        told = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(client.time_date() + 946_684_800))
        assert told == expected["device_time"]


def test_aurorapy_empties_the_list_of_alarms(way: Any) -> None:
    simulator, _ = ours("pvi36")
    simulator.inverters["roof"].warn(13)
    with way(simulator, 5) as client:
        assert client.alarms() == ["Grid Fail", *["No alarm"] * 3]
        assert client.alarms() == ["No alarm"] * 4


def test_aurorapy_is_refused_what_is_not_there(way: Any) -> None:
    simulator, _ = ours("pvi36")
    with way(simulator, 5) as client:
        with pytest.raises(AuroraError, match="Variable does not exist"):
            client.measure(61)
        with pytest.raises(AuroraError, match="Command is not implemented"):
            client.flags_and_switches()
        with pytest.raises(AuroraError, match="Command is not implemented"):
            client.reset_auto_exclusion()
    assert simulator.inverters["roof"].writes == 1


def test_our_tables_are_those_of_aurorapy() -> None:
    assert set(tables.GLOBAL) == set(Mapping.GLOBAL_STATES)
    assert set(tables.INVERTER) == set(Mapping.INVERTER_STATES)
    assert set(tables.DCDC) == {3, *Mapping.DCDC_STATES}
    assert set(tables.ALARM) == set(Mapping.ALARM_STATES) - {0}
    assert set(tables.TRANSMISSION) == set(Mapping.TRANSMISSION_STATES)
    for ours_, theirs in (
        ({code: text for code, (text, _) in tables.GLOBAL.items()}, Mapping.GLOBAL_STATES),
        (tables.INVERTER, Mapping.INVERTER_STATES),
        (tables.DCDC, Mapping.DCDC_STATES),
    ):
        alike = [code for code, text in theirs.items() if text.lower() == ours_[code].lower()]
        assert len(alike) > len(theirs) / 3
