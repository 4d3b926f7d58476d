"""Simulated SunSpec devices, by Modbus TCP or on a serial line."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from bridges.sunspec import simulated_others, simulated_outback
from bridges.sunspec.simulated_device import Device, Kind
from bridges.sunspec.simulated_part import Part
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Faults
from heliobus.modbus_slave import Slave
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "VARIANTS", "Simulator", "simulate", "simulator"]

VARIANTS: Mapping[str, Kind] = MappingProxyType(
    {**simulated_outback.KINDS, **simulated_others.KINDS}
)
_USUAL, _USUAL_UNIT = "mate3s", 1
# What is put in the place of a device without `simulate`: by the first of these keys that it has.
_BY_KEY: Mapping[str, str] = MappingProxyType({"parts": "mate3s", "role": "acuvim"})
_ANY = "fronius"


class Simulator(Slave[Device]):
    """The devices of one link. `plays`: what each of them is, by its name."""

    baud = 9600  # as the bridge has it

    def __init__(
        self,
        devices: Mapping[str, tuple[int, Device]],
        *,
        plays: Mapping[str, str],
        faults: Faults | None = None,
        mbap: bool = False,
    ) -> None:
        super().__init__(devices, faults=faults, mbap=mbap)
        self.plays = plays


def simulator(
    variant: str = _USUAL,
    *,
    unit: int | None = None,
    tcp: bool = False,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,
) -> Simulator:
    """Be one device. Raise ConfigError."""
    kind = _kind(variant, "--model")
    device = _device(kind, variant, House(clock))
    number = kind.unit if unit is None else unit
    plays = {variant: variant}
    return Simulator({variant: (number, device)}, plays=plays, faults=faults, mbap=tcp)


def simulate(
    devices: Sequence[DeviceSettings],
    *,
    house: House,
    faults: Faults | None = None,
) -> Simulator:
    """Be all that is at the far end of one link. Raise ConfigError."""
    plays = {
        device.name: str(device.options.get("simulate") or _guessed(device.options))
        for device in devices
    }
    # Whatever is wrong with one of them: until here none has joined the house.
    kinds = {name: _kind(variant, f"{name}: simulate") for name, variant in plays.items()}
    made = {}
    for device in devices:
        kind, options = kinds[device.name], device.options
        kind = replace(kind, base=options.get("base", kind.base))
        unit = options.get("unit", _USUAL_UNIT)
        made[device.name] = unit, _device(kind, device.name, house)
    mbap = devices[0].link.startswith("tcp://")
    return Simulator(made, plays=plays, faults=faults, mbap=mbap)


def _guessed(options: Mapping[str, Any]) -> str:
    return next((variant for key, variant in _BY_KEY.items() if options.get(key)), _ANY)


def _kind(variant: str, what: str) -> Kind:
    if variant not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise ConfigError(f"{what}: found {variant!r:.60}, expected one of {known}")
    return VARIANTS[variant]


def _device(kind: Kind, name: str, house: House) -> Device:
    return Device(kind, Part(house, name, kind.share))


SIMULATOR = simulator
