"""Simulated SunSpec devices, by Modbus TCP or on a serial line."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from zlib import crc32

from bridges.sunspec import simulated_others, simulated_outback
from bridges.sunspec.simulated_device import Device, Kind
from bridges.sunspec.simulated_scene import House
from heliobus.errors import ConfigError
from heliobus.line import Faults
from heliobus.modbus_slave import Slave
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "VARIANTS", "simulate", "simulator"]

VARIANTS: Mapping[str, Kind] = MappingProxyType(
    {**simulated_outback.KINDS, **simulated_others.KINDS}
)
_USUAL, _USUAL_UNIT = "mate3s", 1  # as the bridge has it


def simulator(
    variant: str = _USUAL,
    *,
    unit: int | None = None,
    tcp: bool = False,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,
) -> Slave[Device]:
    """Be one device. Raise ConfigError."""
    kind = _kind(variant, "variant")
    device = _device(kind, variant, clock())
    number = kind.unit if unit is None else unit
    return Slave({variant: (number, device)}, clock=clock, faults=faults, mbap=tcp)


def simulate(
    devices: Sequence[DeviceSettings],
    *,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,
) -> Slave[Device]:
    """Be all that is at the far end of one link. Raise ConfigError."""
    made = {}
    for device in devices:
        variant = str(device.options.get("simulate", _USUAL))
        kind = _kind(variant, f"{device.name}: simulate")
        unit = int(device.options.get("unit", _USUAL_UNIT))
        made[device.name] = (unit, _device(kind, device.name, clock()))
    mbap = devices[0].link.startswith("tcp://")
    return Slave(made, clock=clock, faults=faults, mbap=mbap)


def _kind(variant: str, what: str) -> Kind:
    if variant not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise ConfigError(f"{what}: found {variant!r:.60}, expected one of {known}")
    return VARIANTS[variant]


def _device(kind: Kind, name: str, now_s: float) -> Device:
    return Device(kind, House(kind.size, now_s=now_s, seed=1 + crc32(name.encode()) % 89))


SIMULATOR = simulator
