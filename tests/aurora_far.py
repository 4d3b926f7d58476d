"""Simulated Aurora inverters at the far end, and bridges to them, for the tests."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bridges.aurora import Aurora
from bridges.aurora.bus import Bus
from bridges.aurora.frame import REQUEST
from bridges.aurora.simulator import Simulator, simulate
from heliobus.errors import FrameError
from heliobus.house import House
from heliobus.line import Faults, Simulated
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from tests import wires

# 2026-06-15 in the simulated house.
MIDNIGHT_S = 1_781_481_600.0
NOON_S = MIDNIGHT_S + 12 * 3600.0

Asked = tuple[int, int, int]
Respond = Callable[[Asked, bytes], bytes]


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, now_s: float = NOON_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Wire(wires.Wire[Simulated, Asked]):
    """A line in memory; what is asked is an address, a command and its first argument."""

    @staticmethod
    def what(request: bytes) -> Asked:
        return request[0], request[1], request[2]


def settings(name: str = "east", link: str = "memory:", /, **options: Any) -> DeviceSettings:
    """Give the settings of a device."""
    return DeviceSettings(name, 10.0, link, options)


def far(
    *devices: DeviceSettings, clock: Callable[[], float] | None = None, faults: Faults | None = None
) -> Simulator:
    """Give the inverters of a line, at noon."""
    house = House(clock or Clock())
    found = simulate(devices or [settings()], house=house, faults=faults)
    with house:  # they warned of little sun in the morning
        for inverter in found.inverters.values():
            inverter.alarms.clear()
    return found


class Roof:
    """Bridges to the inverters of a line in memory."""

    def __init__(
        self, *devices: DeviceSettings, clock: Clock | None = None, respond: Respond | None = None
    ) -> None:
        devices = devices or (settings(),)
        self.clock = clock or Clock()
        self.far = far(*devices, clock=self.clock)
        self.wire = Wire(self.far, respond)
        self.bus = Bus(self.wire)
        self.bridges = {device.name: Aurora(device) for device in devices}
        Aurora.check_link("memory:", list(self.bridges.values()))

    def poll(self, name: str = "east", group: str = "beat") -> Values:
        """Poll one group of one device."""
        return self.bridges[name].poll(self.bus, group)

    def tries(self, name: str = "east", group: str = "beat") -> Values | None:
        """Poll, and give None where that failed."""
        with suppress(FrameError):
            return self.poll(name, group)
        return None


class Heard:
    """A simulated line that keeps all that reaches it."""

    def __init__(self, far: Simulator) -> None:
        self.far = far
        self.bytes = b""

    def take(self, data: bytes) -> bytes:
        self.bytes += data
        return self.far.take(data)

    def sent(self, answer: bytes, *, whole: bool) -> None:
        self.far.sent(answer, whole=whole)

    @property
    def requests(self) -> list[bytes]:
        """Give the requests, each of ten bytes."""
        return [self.bytes[at : at + REQUEST] for at in range(0, len(self.bytes), REQUEST)]
