"""Programs of others read our simulated Modbus devices: mbpoll, and pymodbus' own client."""

import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

from bridges.modbus.simulator import Simulator, simulate
from heliobus.house import House
from heliobus.line import Faults
from heliobus.settings import DeviceSettings
from heliobus.simulation import Service, serve_pty, serve_tcp
from tests.helpers import Sim, require_program, wait_until

# 2026-06-15, noon in the house.
NOON_S = 1_781_524_800.0
# Registers as mbpoll asks for them, and what it shows of them at noon.
READ_BY_MBPOLL = {
    "eastron_sdm230": (
        "-t 3:float -B -r 0 -c 7",
        {0: "230.976", 2: "0", 4: "0", 6: "15.5894", 8: "0", 10: "0", 12: "-3403.78"},
    ),
    "morningstar_tristar_mppt": (
        "-t 4 -r 0 -c 29",
        {0: "180", 1: "0", 2: "80", 3: "0", 24: "9992", 27: "18544", 28: "23089"},
    ),
    "carlo_gavazzi_em340": (
        "-t 3:int -r 0 -c 3",
        {0: "2299", 2: "2322", 4: "2305"},
    ),
}

Far = Callable[..., tuple[Service, Simulator]]


@pytest.fixture
def far() -> Iterator[Far]:
    """Serve a simulated device of a profile on a pseudo-terminal (rtu) or over TCP (tcp)."""
    with ExitStack() as stack:

        def serve(profile: str, way: str, **options: object) -> tuple[Service, Simulator]:
            link = "tcp://192.0.2.1" if way == "tcp" else "serial:///dev/ttyX"
            device = DeviceSettings("far", 5.0, link, {"profile": profile, **options})
            simulated = simulate([device], house=House(lambda: NOON_S))
            service = serve_tcp(simulated) if way == "tcp" else serve_pty(simulated, baud=9600)
            return stack.enter_context(service), simulated

        yield serve


def port_of(url: str) -> str:
    return url.partition("//")[2].partition("?")[0]


def mbpoll(url: str, asked: str) -> subprocess.CompletedProcess[str]:
    """Ask once, of registers counted from 0."""
    program = require_program("mbpoll", "mbpoll")
    way, where = ["-m", "rtu", "-b", "9600", "-P", "none"], port_of(url)
    if url.startswith("tcp"):
        where, _, port = where.partition(":")
        way = ["-m", "tcp", "-p", port]
    return subprocess.run(
        [program, *way, "-0", "-1", "-q", "-o", "5", *asked.split(), where],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def shown(output: str) -> dict[int, str]:
    return {
        int(at): value for at, value in re.findall(r"^\[(\d+)\]:\s+(\S+)", output, re.MULTILINE)
    }


@contextmanager
def client_to(service: Service) -> Iterator[ModbusSerialClient | ModbusTcpClient]:
    """Give pymodbus' client, connected."""
    client = _client(service)
    try:
        yield client
    finally:
        client.close()  # type: ignore[no-untyped-call]  # theirs


def _client(service: Service) -> ModbusSerialClient | ModbusTcpClient:
    where = port_of(service.url)
    if service.url.startswith("tcp"):
        host, _, port = where.partition(":")
        return ModbusTcpClient(host, port=int(port), timeout=5, retries=0)
    return ModbusSerialClient(where, baudrate=9600, timeout=5, retries=0)


@pytest.mark.parametrize("way", ["rtu", "tcp"])
@pytest.mark.parametrize("profile", READ_BY_MBPOLL)
def test_mbpoll_reads_a_simulated_device(far: Far, profile: str, way: str) -> None:
    service, simulated = far(profile, way)
    arguments, expected = READ_BY_MBPOLL[profile]
    found = mbpoll(service.url, f"-a 1 {arguments}")
    values = shown(found.stdout)
    assert {at: values[at] for at in expected} == expected, found.stderr
    assert simulated.writes == 0


def test_mbpoll_shows_what_the_bridge_would_publish(far: Far) -> None:
    service, simulated = far("eastron_sdm230", "tcp")
    values = shown(mbpoll(service.url, "-a 1 -t 3:float -B -r 72 -c 2").stdout)
    said = simulated.devices["far"].values()
    assert (said["import_kwh"], said["export_kwh"]) == (8932.9434, 18113.5078)
    assert values == {72: "8932.94", 74: "18113.5"}


def test_mbpoll_is_told_what_a_device_does_not_have(far: Far) -> None:
    service, _ = far("eastron_sdm230", "rtu")
    found = mbpoll(service.url, "-a 1 -t 3:float -B -r 3000 -c 1")
    assert "Illegal data address" in found.stderr


def test_mbpoll_cannot_write(far: Far) -> None:
    service, simulated = far("eastron_sdm230", "tcp")
    program = require_program("mbpoll", "mbpoll")
    host, _, port = port_of(service.url).partition(":")
    found = subprocess.run(
        [program, *f"-m tcp -p {port} -a 1 -0 -t 4 -r 28 -o 5 {host} 2".split()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Illegal function" in found.stderr
    assert simulated.writes == 1


@pytest.mark.parametrize("way", ["rtu", "tcp"])
def test_pymodbus_reads_a_meter(far: Far, way: str) -> None:
    service, _ = far("eastron_sdm230", way)
    with client_to(service) as client:
        words = client.read_input_registers(0, count=80, device_id=1).registers
        found = client.convert_from_registers(words, client.DATATYPE.FLOAT32, word_order="big")
    assert isinstance(found, list)
    assert [round(found[at], 3) for at in (0, 3, 6, 36)] == [230.976, 15.589, -3403.778, 8932.943]


@pytest.mark.parametrize("way", ["rtu", "tcp"])
@pytest.mark.parametrize("function", ["read_holding_registers", "read_input_registers"])
def test_pymodbus_reads_a_tristar_by_either_function(far: Far, function: str, way: str) -> None:
    service, _ = far("morningstar_tristar_mppt", way)
    with client_to(service) as client:
        words = getattr(client, function)(0, count=80, device_id=1).registers
    assert words[:4] == [180, 0, 80, 0]
    # V = n * 180 / 32768 and A = n * 80 / 32768, as its manual has it.
    assert words[24] * 180 / 32768 == pytest.approx(54.888, abs=0.001)
    assert words[28] * 80 / 32768 == pytest.approx(56.370, abs=0.001)
    assert words[50] == 6  # absorption


def test_pymodbus_reads_the_low_word_first(far: Far) -> None:
    service, _ = far("carlo_gavazzi_em340", "tcp")
    with client_to(service) as client:
        words = client.read_input_registers(0x28, count=2, device_id=1).registers
        kind = client.DATATYPE.INT32
        power = client.convert_from_registers(words, kind, word_order="little")
    assert power == -34038  # tenths of a watt


def test_pymodbus_is_told_who_a_tristar_is(far: Far) -> None:
    service, _ = far("morningstar_tristar_mppt_600v", "tcp")
    with client_to(service) as client:
        answer = client.read_device_information(device_id=1)
    found = answer.information  # type: ignore[attr-defined]  # of this answer
    assert found[0] == b"Morningstar"
    assert b"600V" in found[1]
    assert found[2].startswith(b"v")


def test_two_clients_are_served_at_once(far: Far) -> None:
    service, _ = far("eastron_sdm230", "tcp")
    with client_to(service) as one, client_to(service) as other:
        for client in (one, other, one, other):
            assert len(client.read_input_registers(0, count=2, device_id=1).registers) == 2
    wait_until(lambda: service.answered == 4, "four answers")


def test_a_tristar_closes_the_connection_after_each_answer(far: Far) -> None:
    service, _ = far("morningstar_tristar_mppt", "tcp")
    host, _, port = port_of(service.url).partition(":")
    for number in range(200):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(number.to_bytes(2) + bytes.fromhex("0000 0006 01 03 0000 0004"))
            answer = b""
            while data := connection.recv(100):
                answer += data
        assert answer == number.to_bytes(2) + bytes.fromhex(
            "0000 000b 01 03 08 00b4 0000 0050 0000"
        )
    wait_until(lambda: service.answered == 200, "200 answers")


def test_any_device_closes_the_connection_on_demand() -> None:
    device = DeviceSettings("far", 5.0, "tcp://192.0.2.1", {"profile": "eastron_sdm230"})
    faults = Faults({"close": 1.0})
    with serve_tcp(simulate([device], house=House(lambda: NOON_S)), faults=faults) as service:
        host, _, port = port_of(service.url).partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(bytes.fromhex("0001 0000 0006 01 04 0000 0002"))
            assert len(connection.recv(100)) == 13
            assert connection.recv(100) == b""


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (["--link", "meter"], r"serial://.*/meter\?baud=9600"),
        (["--pty", "--baud", "19200"], r"serial:///dev/pts/\d+\?baud=19200"),
        (["--tcp", "127.0.0.1:0"], r"tcp://127\.0\.0\.1:\d+"),
    ],
)
def test_sim_modbus_is_a_device_of_a_profile(sim: Sim, arguments: list[str], url: str) -> None:
    process, link = sim("modbus", "--profile", "eastron_sdm630", "--unit", "7", *arguments)
    assert re.fullmatch(url, link)
    baud = "-b 19200 " if "19200" in link else ""
    found = mbpoll(link, f"{baud}-a 7 -t 3:float -B -r 0 -c 3")
    values = shown(found.stdout)
    assert set(values) == {0, 2, 4}
    assert all(220 < float(value) < 240 for value in values.values())
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "answered=1 harmed=0\n"
    assert process.returncode == 0


def test_sim_modbus_is_a_device_of_an_own_profile(sim: Sim, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "extends: eastron_sdm230\nmodels: [Mine]\nunit_id: 9\nwords: little\n"
    )
    _, link = sim("modbus", "--profile", "mine.yaml", "--tcp", "127.0.0.1:0")
    found = mbpoll(link, "-a 9 -t 3:float -r 0 -c 1")
    assert 220 < float(shown(found.stdout)[0]) < 240
