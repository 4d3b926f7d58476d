"""The command `check`: judge a configuration and tell what it would run, opening nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from heliobus import components, config
from heliobus.checked_yaml import Place
from heliobus.errors import ConfigError
from heliobus.settings import BridgeSettings, Settings, SinkSettings


def run(path: Path, out: TextIO) -> int:
    """Print one line per component, then the warnings. Raise ConfigError with every fault."""
    loaded = config.read(path)
    settings = loaded.settings
    faults = [
        f"{path}:{loaded.lines.get(place, 1)}: {'.'.join(place)}: {fault}"
        for place, fault in _faults(settings)
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    print(f"{path}: site {settings.site}, broker {settings.broker.url}", file=out)
    for bridge in settings.bridges.values():
        print(f"  bridge {bridge.name}: {bridge.type}, {_devices(bridge)}", file=out)
    for sink in settings.sinks.values():
        print(f"  sink {sink.name}: {sink.type}", file=out)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=out)
    return 0


def _faults(settings: Settings) -> Iterator[tuple[Place, str]]:
    """Give what the components themselves find impossible."""
    for bridge in settings.bridges.values():
        yield from _bridge_faults(bridge)
    for sink in settings.sinks.values():
        yield from _sink_faults(sink, settings.folder)


def _bridge_faults(bridge: BridgeSettings) -> Iterator[tuple[Place, str]]:
    place: Place = ("bridges", bridge.name)
    try:
        kind = components.bridge(bridge.type)
        for device in bridge.devices:
            place = ("bridges", bridge.name, "devices", device.name)
            kind(device)
    except ConfigError as error:
        yield place, str(error)


def _sink_faults(sink: SinkSettings, folder: Path) -> Iterator[tuple[Place, str]]:
    try:
        components.sink(sink.type)(sink, folder)
    except ConfigError as error:
        yield ("sinks", sink.name), str(error)


def _devices(bridge: BridgeSettings) -> str:
    return ", ".join(
        f"{device.name} every {device.every_s:g} s" + (f" on {device.link}" if device.link else "")
        for device in bridge.devices
    )
