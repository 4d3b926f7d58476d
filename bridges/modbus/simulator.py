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
from bridges.modbus.simulated_part import part_of
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
        faults: Faults | None = None,
        mbap: bool = False,
        gateway: bool = True,
    ) -> None:
        super().__init__(devices, faults=faults, mbap=mbap, gateway=gateway)
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
    device = _device(profile, profile.name, House(clock))
    number = profile.unit_id if unit is None else unit
    return Simulator({profile.name: (number, device)}, faults=faults, mbap=tcp)


def simulate(
    devices: Sequence[DeviceSettings],
    *,
    house: House,
    faults: Faults | None = None,
) -> Simulator:
    """Be all that is at the far end of one link. Raise ConfigError."""
    # Whatever is wrong with one of them: until here none has joined the house.
    known = [(device, profiles_of(device)[0]) for device in devices]
    made = {
        device.name: (
            device.options.get("unit", profile.unit_id),
            _device(profile, device.name, house),
        )
        for device, profile in known
    }
    mbap = devices[0].link.startswith("tcp://")
    return Simulator(made, faults=faults, mbap=mbap)


def _device(profile: Profile, name: str, house: House) -> Device:
    kind, role, fields = profile.kind, profile.role, {row.name for row in profile.rows}
    scene = Scene(
        part_of(house, name, kind, role=role, fields=fields),
        kind,
        role=role,
        phases=3 if any("l3_" in field for field in fields) else 1,
        seed=1 + crc32(name.encode()) % 99_991,
    )
    return Device(profile, scene)


def _baud(profile: Profile) -> int:
    """Give the rate of its line as it comes from the factory."""
    return int(profile.serial[0].split()[0]) if profile.serial else _USUAL_BAUD


SIMULATOR = simulator
