"""No bridge to register devices ever sends what could write: shown by each byte that it sends."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pymodbus.framer.rtu import FramerRTU

from bridges.modbus import profiles
from heliobus import components
from heliobus.bridge import Bridge, Port
from heliobus.errors import FrameError, LinkError
from heliobus.house import House
from heliobus.line import Faults, Simulated
from heliobus.modbus_slave import Slave
from heliobus.settings import DeviceSettings
from heliobus.simulation import Service, serve_pty, serve_tcp
from tests.helpers import ROOT, free_port, wait_until
from tests.processes import Program

# All that may be on a wire: how a request begins, and how long it is, without unit and framing.
ALLOWED: Mapping[bytes, int] = MappingProxyType(
    {
        b"\x03": 5,  # read holding registers
        b"\x04": 5,  # read input registers
        b"\x08\0\0": 5,  # loop-back
        b"\x2b\x0e": 4,  # read device identification
    }
)
LONGEST = 6  # a unit and the longest of these
# 2026-06-15, noon in the simulated house.
NOON_S = 1_781_524_800.0
TROUBLE = ("silence", "nak", "late", "cut", "noise", "foreign", "flip", "echo", "max100")
FUNCTIONS = frozenset({0x03, 0x04, 0x08, 0x2B})


class Recorder:
    """A simulated line that keeps every byte that reaches it, of each connection."""

    def __init__(self, line: Slave[Any]) -> None:
        self.line = line
        self.closes: bool = getattr(line, "closes", False)
        self.heard: list[bytearray] = []
        self._first: Simulated | None = None

    def connect(self) -> Simulated:
        """Give the line as one more connection has it."""
        self.heard.append(bytearray())
        return _Side(self.line.connect(), self.heard[-1])

    def take(self, data: bytes) -> bytes:
        """Take bytes of the one who is on a line without connections."""
        self._first = self._first or self.connect()
        return self._first.take(data)

    @property
    def requests(self) -> list[bytes]:
        """Give what was asked: unit and PDU of each request. Fail at anything that could write."""
        divide = split_either if self.line.mbap else split_rtu
        return [request for heard in list(self.heard) for request in divide(bytes(heard))]


class _Side:
    def __init__(self, side: Simulated, heard: bytearray) -> None:
        self._side = side
        self._heard = heard

    def take(self, data: bytes) -> bytes:
        self._heard += data
        return self._side.take(data)


def split_either(heard: bytes) -> Iterator[bytes]:
    """Divide what was heard on one TCP connection: a bridge also tries the other framing."""
    is_rtu = FramerRTU.compute_CRC(heard[:6]).to_bytes(2) == heard[6:8]
    return split_rtu(heard) if is_rtu else split_mbap(heard)


def split_rtu(heard: bytes) -> Iterator[bytes]:
    """Divide what was heard of a serial line. Fail where it is not a whole allowed request."""
    while heard:
        end = 1 + length(heard[1:])
        crc = FramerRTU.compute_CRC(heard[:end]).to_bytes(2)
        assert heard[end : end + 2] == crc, f"sent {heard[: end + 2].hex(' ')}"
        yield heard[:end]
        heard = heard[end + 2 :]


def split_mbap(heard: bytes) -> Iterator[bytes]:
    """Divide what was heard of Modbus TCP. Fail where it is not a whole allowed request."""
    while heard:
        size = length(heard[7:])
        head = bytes(2) + (1 + size).to_bytes(2)
        assert heard[2:6] == head, f"sent {heard[:12].hex(' ')}"
        yield heard[6 : 7 + size]
        heard = heard[7 + size :]


def length(pdu: bytes) -> int:
    """Give how long a request is. Fail at one that could write."""
    for begin, size in ALLOWED.items():
        if pdu.startswith(begin):
            return size
    pytest.fail(f"a request begins with {pdu[:LONGEST].hex(' ')}, which is not a reading one")


# ---------------------------------------------------------------------- what is shown to work


@pytest.mark.parametrize(
    "frame",
    [
        "01 06 0001 0003 980b",  # write a register
        "01 10 0001 0001 02 0001 6641",  # write registers
        "01 05 0001 ff00 ddfa",  # switch a coil
        "01 08 0001 0000 b1cb",  # restart communications
        "01 04 0000 0002 71cb 01 06 0001 0003 980b",  # after one that reads
        "01 04 0000 0002 71cc",  # a wrong CRC
        "01 04 0000",  # half of one
    ],
)
def test_what_could_write_would_be_seen(frame: str) -> None:
    for divide in (split_rtu, split_mbap, split_either):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            list(divide(bytes.fromhex(frame)))


def test_what_reads_is_told_apart() -> None:
    heard = "01 04 0000 0002 71cb 01 08 0000 12ab ad14 01 2b 0e 01 00 7077"
    assert [request.hex() for request in split_rtu(bytes.fromhex(heard))] == [
        "010400000002",
        "0108000012ab",
        "012b0e0100",
    ]
    heard = "0001 0000 0006 01 03 0000 0002 0002 0000 0005 01 2b 0e 01 00"
    assert len(list(split_mbap(bytes.fromhex(heard)))) == 2
    with pytest.raises(pytest.fail.Exception):
        list(split_mbap(bytes.fromhex("0001 0000 0006 01 06 0000 0002")))


# ---------------------------------------------------------------------- every bridge, every device


def devices() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give every simulated register device there is: its bridge's name, and its options."""
    for component in components.simulated():
        module = import_module(f"bridges.{component.name}")
        simulator = import_module(f"bridges.{component.name}.simulator")
        if component.name == "modbus":
            yield from (("modbus", {"profile": name}) for name in profiles.names())
        elif component.name == "sunspec" and hasattr(module, "BRIDGE"):
            yield from (("sunspec", {"simulate": name}) for name in simulator.VARIANTS)


DEVICES = [pytest.param(*each, id="-".join((each[0], *each[1].values()))) for each in devices()]


@contextmanager
def served(
    component: str, options: Mapping[str, Any], way: str, faults: Faults
) -> Iterator[tuple[Recorder, Service, DeviceSettings]]:
    """Serve one simulated device, and give the settings of a bridge to it."""
    link = "tcp://192.0.2.1:502" if way == "tcp" else "serial:///dev/ttyX"
    quick = {**options, "timeout": 0.1, "pause": 0}
    line = simulate(component, [DeviceSettings("far", 1.0, link, quick)], faults)
    recorder = Recorder(line)
    service = (
        serve_tcp(recorder, faults=faults)
        if way == "tcp"
        else serve_pty(recorder, baud=115200, faults=faults)
    )
    with service:
        yield recorder, service, DeviceSettings("far", 1.0, service.url, quick)
    assert line.writes == 0


def simulate(component: str, settings: list[DeviceSettings], faults: Faults) -> Slave[Any]:
    module = import_module(f"bridges.{component}.simulator")
    line: Slave[Any] = module.simulate(settings, house=House(lambda: NOON_S), faults=faults)
    return line


class Asking:
    """A bridge that asks all groups of its device; a link that is lost is opened anew."""

    def __init__(self, settings: DeviceSettings, component: str) -> None:
        self._settings = settings
        self.bridge: Bridge[Any] = components.bridge(component)(settings)
        self.sent = b""
        self._link: Port | None = None

    def ask(self) -> dict[str, str]:
        """Ask each group once; give by group what went wrong."""
        wrong = {}
        for group in self.bridge.groups:
            try:
                self.bridge.poll(self._link or self._open(), group.name)
            except FrameError as error:
                wrong[group.name] = str(error)
            except LinkError as error:
                wrong[group.name] = str(error)
                self.close()
        return wrong

    def _open(self) -> Port:
        opened: Port = type(self.bridge).open_link(self._settings.link, [self.bridge])  # type: ignore[attr-defined]  # they have it
        opened.tap = self._tap
        self._link = opened
        return opened

    def _tap(self, direction: str, data: bytes) -> None:
        if direction == "tx":
            self.sent += data

    def close(self) -> None:
        """Close the link; the bridge forgets its device."""
        if self._link is not None:
            self._link.close()
            self._link = None
        self.bridge.forget()


@pytest.mark.parametrize("way", ["serial", "tcp"])
@pytest.mark.parametrize(("component", "options"), DEVICES)
def test_a_bridge_only_reads(component: str, options: Mapping[str, Any], way: str) -> None:
    with served(component, options, way, Faults()) as (recorder, _, settings):
        asking = Asking(settings, component)
        wait_until(lambda: asking.ask() == {}, "an undisturbed turn")
        asking.close()
        wait_until(lambda: asking.ask() == {}, "another on a new link")
        asking.close()
        assert {request[1] for request in recorder.requests} <= FUNCTIONS
        assert asking.sent == b"".join(bytes(one) for one in recorder.heard)


def in_trouble(component: str, options: Mapping[str, Any]) -> None:
    faults = Faults(seed=1)
    with served(component, options, "serial", faults) as (recorder, service, settings):
        asking = Asking(settings, component)
        wait_until(lambda: asking.ask() == {}, f"an undisturbed turn of {options}", 30)
        for kind in TROUBLE:
            faults.once(kind)
            asking.ask()
        assert service.harmed >= len(TROUBLE) // 2
        asking.close()
        wait_until(lambda: asking.ask() == {}, f"a turn of {options} after it all", 30)
        asking.close()
        assert {request[1] for request in recorder.requests} <= FUNCTIONS, options


@pytest.mark.parametrize("part", range(4))
def test_a_bridge_in_trouble_only_reads(part: int) -> None:
    """They wait for answers most of the time, so some are in trouble at once."""
    with ThreadPoolExecutor(8) as pool:
        for result in [pool.submit(in_trouble, *each) for each in list(devices())[part::4]]:
            result.result()


@pytest.mark.parametrize("kind", ["silence", "late", "close", "nak", "cut"])
@pytest.mark.parametrize(
    "profile", ["eastron_sdm230", "morningstar_tristar_mppt", "morningstar_tristar_mppt_600v"]
)
def test_a_bridge_in_trouble_on_the_network_only_reads(profile: str, kind: str) -> None:
    faults = Faults({kind: 0.5}, seed=1)
    with served("modbus", {"profile": profile}, "tcp", faults) as (recorder, _, settings):
        asking = Asking(settings, "modbus")
        for _ in range(4):
            asking.ask()
        faults.set(kind, 0.0)
        asking.close()
        wait_until(lambda: asking.ask() == {}, "an undisturbed turn after it all")
        asking.close()
        assert {request[1] for request in recorder.requests} <= FUNCTIONS


@pytest.mark.parametrize("way", ["serial", "tcp"])
def test_a_bridge_that_chooses_between_variants_only_reads(way: str) -> None:
    there = {"profile": "morningstar_tristar_mppt_600v"}
    with served("modbus", there, way, Faults()) as (recorder, _, settings):
        named = {**settings.options, "profile": "morningstar_tristar_mppt"}
        asking = Asking(replace(settings, options=named), "modbus")
        wait_until(lambda: asking.ask() == {}, "an undisturbed turn")
        asking.close()
        assert {request[1] for request in recorder.requests} == {0x03, 0x2B}


def test_a_bridge_that_looks_for_the_right_framing_only_reads() -> None:
    faults = Faults({"silence": 1.0})
    with served("modbus", {"profile": "eastron_sdm230"}, "tcp", faults) as (recorder, _, settings):
        asking = Asking(settings, "modbus")
        for _ in range(3):
            assert asking.ask()
        asking.close()
        framings = {bytes(one[2:6]) == b"\0\0\0\x06" for one in recorder.heard}
        assert framings == {True, False}
        assert {request[1] for request in recorder.requests} <= {0x03, 0x04}


# ---------------------------------------------------------------------- as a process


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Recorder, str]]:
    """Serve a device of each profile behind one address, as units 1, 2, 3 ..."""
    recorder = Recorder(simulate("modbus", settings_of("tcp://192.0.2.1:502"), Faults()))
    with serve_tcp(recorder) as service:
        yield recorder, service.url


def settings_of(url: str) -> list[DeviceSettings]:
    return [
        DeviceSettings(name, 2.0, url, {"profile": name, "unit": unit})
        for unit, name in enumerate(profiles.names(), 1)
    ]


@cache
def named(profile: str) -> frozenset[tuple[int, int]]:
    """Give every register that a profile names, by function."""
    loaded = profiles.load(profile, beside=ROOT)
    rows = (*loaded.rows, *loaded.identity.values())
    return frozenset((row.function, at) for row in rows for at in range(row.at, row.end))


def lacking(recorder: Recorder) -> list[str]:
    """Name the profiles of which some row has not been asked for."""
    asked: dict[int, set[tuple[int, int]]] = {}
    for unit, function, *rest in filter(lambda one: one[1] in {3, 4}, recorder.requests):
        start, count = int.from_bytes(rest[:2]), int.from_bytes(rest[2:])
        asked.setdefault(unit, set()).update((function, start + at) for at in range(count))
    every = enumerate(profiles.names(), 1)
    return [name for unit, name in every if not named(name) <= asked.get(unit, set())]


@pytest.mark.parametrize("allow", ["false", "true"])
def test_a_running_bridge_only_reads_whether_commands_are_allowed_or_not(
    gateway: tuple[Recorder, str], tmp_path: Path, allow: str
) -> None:
    recorder, url = gateway
    recorder.heard.clear()
    devices = "".join(
        f"      d{unit}: {{profile: {name}, unit: {unit}, timeout: 5s, pause: 0s}}\n"
        for unit, name in enumerate(profiles.names(), 1)
    )
    (tmp_path / "heliobus.yaml").write_text(
        f"site: farm\nclock: trust\nbroker: {{url: 'mqtt://127.0.0.1:{free_port()}'}}\n"
        f"bridges:\n  meters:\n    type: modbus\n    link: {url}\n    every: 2s\n"
        f"    allow_commands: {allow}\n    devices:\n{devices}"
    )
    with Program(tmp_path, "run", "meters") as program:
        wait_until(
            lambda: recorder.heard and not lacking(recorder), "every row of every profile", 30
        )
        program.stop()
    assert {request[1] for request in recorder.requests} <= FUNCTIONS
    assert recorder.line.writes == 0
