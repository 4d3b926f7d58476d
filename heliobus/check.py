"""The command `check`: judge a configuration and tell what it would run, opening nothing."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from heliobus import components, config, contract
from heliobus.address import Address, parse
from heliobus.bridge import check_links
from heliobus.checked_yaml import Place, Schema, written
from heliobus.errors import ConfigError
from heliobus.listener import Listener
from heliobus.quantities import duration_text
from heliobus.settings import BridgeSettings, BrokerSettings, Settings, SinkSettings
from heliobus.topics import Topics


def run(path: Path, out: TextIO) -> int:
    """Print one line per component, then the warnings. Raise ConfigError with every fault."""
    loaded = config.read(path)
    settings = loaded.settings
    doubts: list[str] = []
    faults = [
        f"{path}:{_line(place, loaded.lines)}: {'.'.join(place)}: {fault}"
        for place, fault in (
            _exact(*each, loaded.lines) for each in _told_once(_faults(settings, doubts))
        )
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    print(f"{path.absolute()}: site {settings.site}, broker {settings.broker.url}", file=out)
    for bridge in settings.bridges.values():
        print(f"  bridge {bridge.name}: {bridge.type}, {_devices(bridge)}", file=out)
    for sink in settings.sinks.values():
        print(f"  sink {sink.name}: {', '.join(_told(sink))}", file=out)
    for warning in (*loaded.warnings, *doubts, *_missing(settings)):
        print(f"warning: {warning}", file=out)
    return 0


def _faults(settings: Settings, doubts: list[str]) -> Iterator[tuple[Place, str]]:
    """Give what the components themselves find impossible; `doubts` gets what may be right."""
    heard: dict[object, str] = {}
    for bridge in settings.bridges.values():
        yield from _bridge_faults(bridge, settings, heard, doubts)
    yield from _port_faults(settings.bridges.values())
    for sink in settings.sinks.values():
        yield from _sink_faults(sink, settings)


def _told_once(faults: Iterable[tuple[Place, str]]) -> Iterator[tuple[Place, str]]:
    """Put what is wrong with a file below the first that names it, one line for each fault."""
    first: dict[str, Place] = {}
    for place, fault in faults:
        before = first.setdefault(fault, place)
        lines = fault.count("\n") + 1
        if lines == 1:
            yield place, fault
        elif before is place:
            yield place, f"{lines} faults in what it names:\n{fault}"
        else:
            yield place, f"the same {lines} faults as {'.'.join(before)}"


def _exact(place: Place, fault: str, lines: Mapping[Place, int]) -> tuple[Place, str]:
    """Take the key out of a fault that begins with one at or below `place`."""
    path, _, rest = fault.partition(": ")
    key = tuple(path.split("."))
    if rest and key[: len(place)] == place:
        return key, rest
    below = (*place, *key)
    return (below, rest) if rest and below in lines else (place, fault)


def _line(place: Place, lines: Mapping[Place, int]) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _bridge_faults(
    bridge: BridgeSettings, settings: Settings, heard: dict[object, str], doubts: list[str]
) -> Iterator[tuple[Place, str]]:
    """Give what one bridge finds impossible; `heard` keeps what each listens to."""
    place: Place = ("bridges", bridge.name)
    try:
        kind = components.bridge(bridge.type)
        if components.listens(bridge.type):
            listener = kind(bridge, folder=settings.folder, contract=contract.load())
            if (first := heard.setdefault(_ears(bridge, listener), bridge.name)) != bridge.name:
                fault = f"hears the same as bridges.{first}; give one of them another 'base'"
                yield place, f"{fault} or 'broker', or delete it"
            return
    except ConfigError as error:
        yield place, str(error)
        return
    by_link = defaultdict(list)
    for device in bridge.devices:
        try:
            made = kind(device)
        except ConfigError as error:
            yield (*place, "devices", device.name), str(error)
        else:
            by_link[device.link].append(made)
            named = f"{'.'.join(place)}.devices.{device.name}"
            doubts += (f"{named}: {told}" for told in getattr(made, "warnings", ()))
    try:
        check_links(kind, by_link)
    except ConfigError as error:
        yield place, str(error)


def _port_faults(bridges: Iterable[BridgeSettings]) -> Iterator[tuple[Place, str]]:
    """Give the ports of this computer that two want; whoever is first has them alone."""
    first: dict[str, tuple[str, str]] = {}
    told = set()
    for bridge in bridges:
        for link in dict.fromkeys(device.link for device in bridge.devices if device.link):
            port = _own_port(parse(link))
            owner, url = first.setdefault(port, (bridge.name, link))
            if not port or (owner, url) == (bridge.name, link) or (bridge.name, port) in told:
                continue
            told.add((bridge.name, port))
            if owner == bridge.name:
                fault = f"found '{url}' and '{link}', which are one port; write it alike"
            else:
                fault = f"{port} is the port of bridges.{owner} already; only one bridge can have"
                fault += " it, so put its devices into one, or write another port"
            yield ("bridges", bridge.name), f"link: {fault}"


def _own_port(address: Address) -> str:
    """Name the port of this computer that the link takes for itself; empty where there is none."""
    return address.name if address.scheme == "listen" else address.path


def _ears(bridge: BridgeSettings, listener: Listener) -> object:
    """Give what two bridges must not have in common; one that takes named devices only may."""
    if bridge.options.get("only_named"):
        return bridge.name
    broker = listener.broker and (listener.broker.host, listener.broker.port)
    filters = frozenset(wanted.filter for wanted in listener.subscriptions)
    return bridge.type, bridge.options.get("map"), broker, filters


def _sink_faults(sink: SinkSettings, settings: Settings) -> Iterator[tuple[Place, str]]:
    try:
        kind = components.sink(sink.type)
        if components.stores(sink.type):
            kind(sink, folder=settings.folder, data=settings.data)
        else:
            topics = Topics(settings.site, settings.base_topic)
            kind(sink, topics=topics, contract=contract.load(), now_ms=lambda: 0)
    except ConfigError as error:
        yield ("sinks", sink.name), str(error)


def _devices(bridge: BridgeSettings) -> str:
    alike = groupby(bridge.devices, key=lambda device: (device.every_s, device.link))
    devices = [
        ", ".join(device.name for device in group)
        + (f" every {every_s:g} s" if every_s else "")
        + (f" on {link}" if link else "")
        for (every_s, link), group in alike
    ]
    if components.listens(bridge.type):
        return ", ".join(["devices as they are found", *devices])
    return ", ".join(devices)


def _told(sink: SinkSettings) -> Iterator[str]:
    """Give its type and its options, except what its config.json does not name or calls secret."""
    yield sink.type
    known = _known(sink)
    for key, value in sink.options.items():
        note = known.get(key, {}).get("heliobus", {"secret": True})
        if f"{key}_file" in known:
            continue
        if note.get("address"):
            yield f"{key} {_address(value)}"
        elif not note.get("secret"):
            yield f"{key} {_option(value, note)}"
    if not components.stores(sink.type):
        return
    yield f"backfill {'all' if sink.backfill_s is None else duration_text(sink.backfill_s)}"


def _missing(settings: Settings) -> Iterator[str]:
    """Warn of files that `heliobus prepare` has not made yet; a sink waits for them."""
    for sink in settings.sinks.values():
        for key, schema in _known(sink).items():
            file = sink.options.get(key)
            if file and schema.get("heliobus", {}).get("prepared"):
                try:
                    (settings.folder / file).stat()
                except (FileNotFoundError, NotADirectoryError):
                    yield f"{file}: not there yet; run: heliobus prepare {sink.name}"
                except OSError:  # it may well be there: heliobus runs as another user
                    continue


def _known(sink: SinkSettings) -> Mapping[str, Schema]:
    """Give the keys of a sink that its config.json names."""
    found = components.find(components.Kind.SINK, sink.type)
    return found.config.get("component", {}).get("properties", {}) if found else {}


def _option(value: Any, note: Mapping[str, Any]) -> str:
    if isinstance(value, BrokerSettings):
        return value.url
    return duration_text(value) if note.get("format") == "duration" else written(value)


def _address(url: str) -> str:
    """Give a URL without user, password and query; its scheme alone when these are unclear."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    if place.count("@") > 1 or "@" in query:
        return f"{scheme}://..."
    return f"{scheme}://{place.rpartition('@')[2]}"
