"""A simulated Modbus line: devices of one or several profiles, RTU frames or Modbus TCP.

The line itself, and what every Modbus device does, is `heliobus.modbus_slave`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from zlib import crc32

from bridges.modbus import profiles
from bridges.modbus.options import profiles_of
from bridges.modbus.registers import Profile
from bridges.modbus.simulated_device import Device
from bridges.modbus.simulated_scene import Scene
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Faults
from heliobus.modbus_slave import Slave
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "Simulator", "simulate", "simulator"]

_USUAL_BAUD = 9600


class Simulator(Slave[Device]):
    """The devices of one line or gateway, by unit id."""

    def __init__(
        self,
        devices: Mapping[str, tuple[int, Device]],
        *,
        clock: Callable[[], float] = time.time,
        faults: Faults | None = None,
        mbap: bool = False,
        gateway: bool = True,
    ) -> None:
        super().__init__(devices, clock=clock, faults=faults, mbap=mbap, gateway=gateway)
        known = [device.profile for device in self.devices.values()]
        self.baud = min(map(_baud, known), default=_USUAL_BAUD)
        self.closes = mbap and any(not profile.keep for profile in known)


# ---------------------------------------------------------------------- makers


def simulator(
    variant: str | None = None,
    *,
    unit: int | None = None,
    tcp: bool = False,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,
) -> Simulator:
    """Be one device of a profile, by its name or file. Raise ConfigError."""
    if variant is None:
        raise ConfigError(
            "modbus needs --profile NAME or --profile FILE; 'heliobus list' shows all"
        )
    profile = profiles.load(variant, beside=Path.cwd())
    device = _device(profile, profile.name, clock())
    number = profile.unit_id if unit is None else unit
    return Simulator({profile.name: (number, device)}, clock=clock, faults=faults, mbap=tcp)


def simulate(
    devices: Sequence[DeviceSettings],
    *,
    house: House,
    faults: Faults | None = None,
) -> Simulator:
    """Be all that is at the far end of one link. Raise ConfigError."""
    made = {}
    for device in devices:
        profile = profiles_of(device)[0]
        unit = device.options.get("unit", profile.unit_id)
        made[device.name] = (unit, _device(profile, device.name, house.clock()))
    mbap = devices[0].link.startswith("tcp://")
    return Simulator(made, clock=house.clock, faults=faults, mbap=mbap)


def _device(profile: Profile, name: str, now_s: float) -> Device:
    fields = " ".join(row.name for row in profile.rows)
    scene = Scene(
        profile.kind,
        role=profile.role,
        phases=3 if "l3_" in fields else 1,
        now_s=now_s,
        seed=1 + crc32(name.encode()) % 99_991,
    )
    return Device(profile, scene)


def _baud(profile: Profile) -> int:
    """Give the rate of its line as it comes from the factory."""
    return int(profile.serial[0].split()[0]) if profile.serial else _USUAL_BAUD


SIMULATOR = simulator
