"""Finds bridges and sinks: the folders here, and what other packages offer as entry points.

A component is a folder with `__init__.py` and `config.json`:

    {"title": ..., "description": ...,
     "component": {JSON Schema of the component's own keys},
     "device": {JSON Schema of each device's own keys},      bridges only
     "link": false,                                          only for a bridge without links;
                                                             "can" for one on a CAN bus
     "devices": "found",                                     only for a bridge that is a listener
     "parts": true,                                          only for a bridge that is a gateway:
                                                             or the device's key that makes it one
     "stores": false,                                        only for a sink that is a follower
     "issues": true,                                         only for a sink that issues commands
     "outside": true,                                        only for a sink that tells people or
                                                             other places: left out by --simulate
     "decode": "registers",                                  only for a bridge that is decoded so
     "foreign": true}                                        where `foreign_topics` is exported

The folder exports BRIDGE or SINK. A bridge also exports `decode_line(request, response)`, which
gives values, units and perhaps a note, and in `simulator.py` SIMULATOR, which is called with
`faults` and, where it plays several models, `variant`. A listener exports `map_decoder(map)`
instead, which gives what answers a topic and a payload; its maps are in `maps/`. A bridge that has
`profiles/` exports in `decoding.py` `profile_decoder(profile)`, which gives what answers a captured
object; one with "decode": "registers" exports there `decode_registers(start, registers)`, which
gives the answer; one with "decode": "frames" `frame_decoder(profile)`, which is given objects and
lines of text.
`simulator.py` may also export `simulate(devices, house=, faults=)`: all that is at the far end of
one link, with the polls that it has answered, by device, in `polls`. Its devices join the `House`
of heliobus.house, which all devices of a site share. For a listener it is
`simulate(bridge, house=, faults=)`, and gives what speaks.
A sink may export `prepare(settings, folder=, admin=)`, which makes what it needs at its server
and gives a line for each thing that it did. `admin` is "" where no administrator's file was named.
Either may export `foreign_topics(options)`, or `foreign_topics(options, folder)` where relative
paths matter: (access, filter) for each line that its user needs in the broker's access list beyond
the topics of heliobus. It is not looked for where "foreign" is not true.
An entry point of the group heliobus.bridges or heliobus.sinks names the class itself; its
config.json lies beside its module. Listing imports no component.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from heliobus.errors import ConfigError, guess
from heliobus.settings import DeviceSettings


class Kind(Enum):
    """What a component does."""

    BRIDGE = "bridge"
    SINK = "sink"


class Decoding(Enum):
    """By what `heliobus decode` turns what was captured of a bridge into values."""

    BYTES = "bytes"
    MAP = "map"
    PROFILE = "profile"
    FRAMES = "frames"
    REGISTERS = "registers"

    @property
    def by(self) -> str:
        """Say what it takes to choose one of several ways: a map, a profile, or nothing."""
        return {Decoding.FRAMES: "profile"}.get(self, self.value)


@dataclass(frozen=True, slots=True)
class Component:
    """One bridge or sink that could run here. `fault` says why it cannot."""

    name: str
    kind: Kind
    module: str
    attribute: str
    source: str  # "heliobus", or the plugin's distribution
    config: Mapping[str, Any]
    folder: Path | None = None
    fault: str = ""

    @property
    def title(self) -> str:
        """Give the name for people."""
        return str(self.config.get("title", self.name))

    @property
    def listens(self) -> bool:
        """Say whether it is a bridge that finds its devices by listening; else it asks."""
        return self.config.get("devices") == "found"

    @property
    def maps(self) -> list[str]:
        """Name its maps that come with heliobus."""
        folder = self.folder / "maps" if self.listens and self.folder else None
        return sorted(path.stem for path in folder.glob("*.yaml")) if folder else []

    @property
    def profiles(self) -> list[str]:
        """Name its profiles that come with heliobus."""
        there = self.folder.glob("profiles/*.yaml") if self.folder else ()
        return sorted(path.stem for path in there)

    @property
    def models(self) -> list[str]:
        """Name what its simulator can be, where its devices have that as an option."""
        options = self.config.get("device", {}).get("properties", {})
        return list(options.get("simulate", {}).get("enum", ()))

    @property
    def decoding(self) -> Decoding:
        """Say how what was captured of it is decoded."""
        if self.listens:
            return Decoding.MAP
        usual = Decoding.PROFILE if self.profiles else Decoding.BYTES
        return Decoding(self.config.get("decode", usual))

    @property
    def what(self) -> str:
        """Give the words for messages: the bridge 'acme' (heliobus-acme)."""
        return f"the {self.kind.value} {self.name!r} ({self.source})"


def describe(kind: Kind | None = None) -> list[Component]:
    """List every component, ours first, without importing any."""
    kinds = list(Kind) if kind is None else [kind]
    return [component for each in kinds for component in (*_folders(each), *_plugins(each))]


def find(kind: Kind, name: str) -> Component | None:
    """Give the component of that name; other packages are asked only when it is not ours."""
    for source in (_folders, _plugins):
        for component in source(kind):
            if component.name == name:
                return component
    return None


def bridge(name: str) -> type[Any]:
    """Import the class of a bridge. Raise ConfigError."""
    return _class(Kind.BRIDGE, name)


def sink(name: str) -> type[Any]:
    """Import the class of a sink. Raise ConfigError."""
    return _class(Kind.SINK, name)


def stores(sink: str) -> bool:
    """Say whether a sink stores samples; else it is a follower. Raise ConfigError."""
    return _known(Kind.SINK, sink).config.get("stores") is not False


def tells_outside(sink: str) -> bool:
    """Say whether a sink tells people or other places of what it hears. Raise ConfigError."""
    return _known(Kind.SINK, sink).config.get("outside") is True


def issues(sink: str) -> bool:
    """Say whether a sink issues commands. Raise ConfigError."""
    return _known(Kind.SINK, sink).config.get("issues") is True


def listens(bridge: str) -> bool:
    """Say whether a bridge finds its devices by listening; else it asks. Raise ConfigError."""
    return _known(Kind.BRIDGE, bridge).listens


def finds(bridge: str, devices: Iterable[DeviceSettings] = ()) -> bool:
    """Say whether devices of a bridge are found: heard, or behind a gateway. Raise ConfigError."""
    known = _known(Kind.BRIDGE, bridge)
    parts = known.config.get("parts")
    if isinstance(parts, str):
        return any(device.options.get(parts) for device in devices)
    return known.listens or parts is True


def simulator(name: str) -> Any:
    """Import the SIMULATOR of a bridge. Raise ConfigError."""
    found = _known(Kind.BRIDGE, name)
    return _import(found, found.module + ".simulator", "SIMULATOR")


def simulation(name: str) -> Any:
    """Import what makes the far end of a link of a bridge, or of a listener. Raise ConfigError."""
    found = _known(Kind.BRIDGE, name)
    return _import(found, found.module + ".simulator", "simulate")


def simulated() -> list[Component]:
    """List the bridges of ours that have a simulator, without importing any."""
    there = _folders(Kind.BRIDGE)
    return [each for each in there if each.folder and (each.folder / "simulator.py").is_file()]


def decoding(bridge: str) -> Decoding:
    """Say how what was captured of a bridge is decoded. Raise ConfigError."""
    return _known(Kind.BRIDGE, bridge).decoding


def usual_profile(bridge: str) -> str | None:
    """Name the profile that counts where none is named, None where one must be."""
    options = _known(Kind.BRIDGE, bridge).config.get("device", {}).get("properties", {})
    found: str | None = options.get("profile", {}).get("heliobus", {}).get("default")
    return found


def decoder(name: str) -> Any:
    """Import what decodes for a bridge, in the way that `decoding` says. Raise ConfigError."""
    found = _known(Kind.BRIDGE, name)
    module, function = {
        Decoding.BYTES: ("", "decode_line"),
        Decoding.MAP: ("", "map_decoder"),
        Decoding.PROFILE: (".decoding", "profile_decoder"),
        Decoding.FRAMES: (".decoding", "frame_decoder"),
        Decoding.REGISTERS: (".decoding", "decode_registers"),
    }[found.decoding]
    return _import(found, found.module + module, function)


def foreign_topics(
    kind: Kind, name: str, options: Mapping[str, Any], *, folder: Path
) -> list[tuple[str, str]]:
    """Give (access, filter) for what a component does on the broker beyond heliobus' own topics.

    Only what speaks of it is imported: the others may need packages that are not here, where only
    the broker runs. Raise ConfigError.
    """
    found = _known(kind, name)
    if found.config.get("foreign") is not True:
        return []
    function = _import(found, found.module, "foreign_topics")
    given = {"folder": folder} if "folder" in signature(function).parameters else {}
    return [*function(options, **given)]


def preparer(name: str) -> Any:
    """Import the function `prepare` of a sink. Raise ConfigError."""
    found = _known(Kind.SINK, name)
    return _import(found, found.module, "prepare")


def _class(kind: Kind, name: str) -> type[Any]:
    found = _known(kind, name)
    loaded: type[Any] = _import(found, found.module, found.attribute)
    return loaded


def _known(kind: Kind, name: str) -> Component:
    found = find(kind, name)
    if found is None:
        names = [component.name for component in describe(kind)]
        raise ConfigError(f"the {kind.value} {name!r} is not known{guess(name, names)}")
    if found.fault:
        raise ConfigError(f"{found.what}: {found.fault}")
    return found


def _import(component: Component, module: str, attribute: str) -> Any:
    """Import what a component exports; whatever goes wrong in it becomes one line."""
    what = component.what
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise ConfigError(f"{what} has no {module.rpartition('.')[2]}") from error
        raise ConfigError(
            f"{what} needs the Python package {error.name!r}, which is not installed"
        ) from error
    # A plugin is foreign code: nothing that it does at import may stop the others.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(f"{what} cannot be imported: {reason}") from error
    if not hasattr(loaded, attribute):
        raise ConfigError(f"{what} has no {attribute} in its module {module}")
    return getattr(loaded, attribute)


def _folders(kind: Kind) -> Iterator[Component]:
    package = import_module(f"{kind.value}s")
    folders = sorted(path for root in package.__path__ for path in Path(root).glob("*/config.json"))
    for path in folders:
        config, fault = _config(path)
        folder = path.parent
        yield Component(
            name=folder.name,
            kind=kind,
            module=f"{kind.value}s.{folder.name}",
            attribute=kind.name,
            source="heliobus",
            config=config,
            folder=folder,
            fault=fault,
        )


def _plugins(kind: Kind) -> Iterator[Component]:
    from importlib.metadata import entry_points  # 50 ms: only when it is needed

    points = entry_points(group=f"heliobus.{kind.value}s")
    for point in sorted(points, key=lambda point: point.name):
        source = point.dist.name if point.dist else point.module
        try:
            config, fault = _config(_source(point.module).parent / "config.json")
        except ConfigError as error:
            config, fault = {}, str(error)
        yield Component(
            name=point.name,
            kind=kind,
            module=point.module,
            attribute=point.attr,
            source=source,
            config=config,
            fault=fault,
        )


def _source(module: str) -> Path:
    """Find where a module lies without importing it; Python imports only its parents."""
    from importlib.util import find_spec

    try:
        spec = find_spec(module)
    except Exception as error:  # foreign code, too
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(f"its module {module} cannot be found: {reason}") from error
    if spec is None or spec.origin is None:
        raise ConfigError(f"its module {module} is not there; install its package again")
    return Path(spec.origin)


def _config(path: Path) -> tuple[Mapping[str, Any], str]:
    """Read a component's config.json; the text says why that failed."""
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        return {}, f"its config.json cannot be read: {error.strerror}"
    except ValueError as error:
        return {}, f"its config.json is not JSON: {error}"
    if not isinstance(config, dict):
        return {}, "its config.json is not a JSON object"
    return config, ""
