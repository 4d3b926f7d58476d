"""Foreign clients read our simulated SunSpec devices: a second opinion on models and codec."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from bridges.sunspec.decoding import decode_registers
from bridges.sunspec.simulated_device import Device
from bridges.sunspec.simulator import simulator
from heliobus.modbus_slave import Slave
from heliobus.simulation import serve_tcp
from tests.helpers import require_program

NOON_S = 1_781_481_600.0 + 12 * 3600
# Of SunSpec's own models alone: theirs of OutBack are of an older map.
VARIANTS = ("fronius", "fronius_float", "solaredge", "battery", "hybrid_701")


def _points(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, point in group.points.items():
        header = not prefix and name in ("ID", "L")
        if point.pdef["type"] not in ("pad", "sunssf") and not header:
            yield prefix + name, point
    for name, inner in group.groups.items():
        instances = inner if isinstance(inner, list) else [inner]
        for at, instance in enumerate(instances):
            yield from _points(instance, f"{prefix}{name}[{at}].")


def _told(client: Any) -> Mapping[str, Any]:
    """Give what pysunspec2 has read, by our names; what is not implemented is left out."""
    told = {}
    for number, found in client.models.items():
        if not isinstance(number, int):
            continue
        for index, model in enumerate(found):
            for path, point in _points(model):
                value = point.cvalue
                if value not in (None, "") and not _absent(point):
                    told[f"{number}#{index}.{path}"] = value
    return told


def _absent(point: Any) -> bool:
    return bool(point.pdef["type"].startswith("acc") and point.value == 0)


def _read(slave: Slave[Device], unit: int) -> Mapping[str, Any]:
    """Let pysunspec2 scan and read a device."""
    with serve_tcp(slave) as service:
        host, _, port = service.url.removeprefix("tcp://").rpartition(":")
        client = SunSpecModbusClientDeviceTCP(
            slave_id=unit, ipaddr=host, ipport=int(port), timeout=5
        )
        try:
            client.scan()
            return _told(client)
        finally:
            client.disconnect()


@pytest.mark.parametrize("variant", VARIANTS)
def test_pysunspec2_reads_the_same_values_from_a_simulated_device(variant: str) -> None:
    slave = simulator(variant, tcp=True, clock=lambda: NOON_S)
    (device,) = slave.devices.values()
    ours = decode_registers(device.kind.base, list(device.registers()))["values"]
    told = _read(slave, device.kind.unit)
    assert sorted(told) == sorted(ours)
    for path, value in told.items():
        wanted = value.rstrip() if isinstance(value, str) else pytest.approx(value, rel=1e-6)
        assert ours[path] == wanted, path
    assert slave.writes == 0


def test_pysunspec2_reads_the_standard_models_of_a_mate3s() -> None:
    slave = simulator("mate3s", tcp=True, clock=lambda: NOON_S)
    (device,) = slave.devices.values()
    ours = decode_registers(40000, list(device.registers()))["values"]
    told = _read(slave, 1)
    known = {path: value for path, value in told.items() if path.startswith(("1#", "101#"))}
    assert known == pytest.approx(
        {path: value for path, value in ours.items() if path.startswith(("1#", "101#"))}
    )


@pytest.mark.parametrize("variant", [*VARIANTS, "mate3s", "sma", "acuvim"])
def test_mbpoll_reads_the_marker_and_can_write_nothing(variant: str) -> None:
    program = require_program("mbpoll", "mbpoll")
    slave = simulator(variant, tcp=True)
    (device,) = slave.devices.values()
    with serve_tcp(slave) as service:
        host, _, port = service.url.removeprefix("tcp://").rpartition(":")
        asked = f"{program} -m tcp -p {port} -0 -1 -q -o 5 -a {device.kind.unit}".split()
        where = ["-r", str(device.kind.base), "-t", "4:hex", host]
        read = subprocess.run(
            [*asked, "-c", "3", *where], capture_output=True, text=True, timeout=30, check=True
        )
        values = re.findall(r"^\[\d+\]:\s+(\S+)", read.stdout, re.MULTILINE)
        assert values == ["0x5375", "0x6E53", "0x0001"]
        write = subprocess.run(
            [*asked, *where, "7"], capture_output=True, text=True, timeout=30, check=False
        )
        assert "Illegal function" in write.stdout + write.stderr
    assert slave.writes == 1
