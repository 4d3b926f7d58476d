"""heliobus.yaml: checked against schemas/config.json and each component's config.json.

Every fault of the file is found in one go and worded as one line:

    heliobus.yaml:7: bridges.meters.every: found '5x', expected a duration such as 5s, 4m, 24h or 7d
"""

import json
import logging
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heliobus import broker_keys, components
from heliobus.checked_yaml import FORMATS, Place, Reader, Schema, compose, read_text
from heliobus.credentials import looseness, read_secret
from heliobus.errors import ConfigError, guess
from heliobus.settings import (
    BridgeSettings,
    BrokerSettings,
    ClockSettings,
    DeviceSettings,
    JournalSettings,
    Settings,
    SinkSettings,
)

_log = logging.getLogger(__name__)
_BRIDGE_KEYS = frozenset({"type", "link", "every", "takeover", "allow_commands", "devices"})
_DEVICE_KEYS = frozenset({"link", "every"})
_SINK_KEYS = frozenset({"type", "backfill"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """Checked settings, what to warn about, and the line of each key for messages."""

    settings: Settings
    warnings: tuple[str, ...] = ()
    lines: Mapping[Place, int] = field(default_factory=dict)


def load(path: Path | str) -> Settings:
    """Read and check a configuration; warnings are logged. Raise ConfigError."""
    loaded = read(path)
    for warning in loaded.warnings:
        _log.warning("%s", warning)
    return loaded.settings


def read(
    path: Path | str, environ: Mapping[str, str] | None = None, *, broker_files: bool = True
) -> Loaded:
    """Read and check a configuration. Raise ConfigError with one line per fault.

    `broker_files` False: the broker's passwords and certificates are about to be made.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; write one, or name it with --config FILE"
        ) from error
    node = compose(text, str(path))
    if node is None:
        raise ConfigError(f"{path}:1: the file is empty; begin with 'site: farm'")
    return _Loader(path, environ, broker_files=broker_files).load(node)


def file_schema() -> Schema:
    """Give schemas/config.json."""
    import schemas

    text = Path(schemas.__path__[0], "config.json").read_bytes()
    schema: Schema = json.loads(text)
    return schema


def refined(schema: Schema, component: components.Component) -> Schema:
    """Add a component's own keys to the schema of its place in the file."""
    config = component.config
    if component.listens:
        schema = _found(schema)
    joined = _joined(schema, config.get("component", {}))
    properties = joined["properties"]
    devices = properties.get("devices")
    if devices is not None:
        device = _joined(devices["additionalProperties"], config.get("device", {}))
        if config.get("link") is False or component.listens:
            device["properties"].pop("link", None)
            properties.pop("link", None)
        properties["devices"] = {**devices, "additionalProperties": device}
    if config.get("stores") is False:
        properties.pop("backfill", None)
    for key, own in properties.items():
        if broker_keys.is_broker(own):
            properties[key] = broker_keys.another(own, file_schema()["properties"]["broker"])
    return joined


def _found(schema: Schema) -> Schema:
    """Give the schema of a bridge whose devices are found: all that it says of them may be left."""
    properties = dict(schema["properties"])
    for key, without in (("devices", {"default": {}}), ("every", {"default": None})):
        note = {**properties[key]["heliobus"], **without}
        properties[key] = {**properties[key], "heliobus": note}
    required = [key for key in schema["required"] if key != "devices"]
    return {**schema, "properties": properties, "required": required}


def _joined(base: Schema, own: Schema) -> dict[str, Any]:
    properties = dict(base.get("properties", {}))
    for key, member in own.get("properties", {}).items():
        known = properties.get(key, {})  # a component may give one of ours another default
        note = {**known.get("heliobus", {}), **member.get("heliobus", {})}
        properties[key] = {**known, **member, "heliobus": note}
    return {
        **own,
        "type": "object",
        "properties": properties,
        "required": [*base.get("required", ()), *own.get("required", ())],
        "additionalProperties": own.get("additionalProperties", False),
    }


def _backfill(text: str) -> float:
    return math.inf if text == "all" else FORMATS["duration"](text)


def _finite(duration_s: float) -> float | None:
    return None if duration_s == math.inf else duration_s


def _link(text: str) -> str:
    from heliobus.link import check_url  # only where a file has links

    check_url(text)
    return text


class _Loader:
    """One reading of one file."""

    def __init__(
        self, path: Path, environ: Mapping[str, str] | None, *, broker_files: bool
    ) -> None:
        self._folder = path.absolute().parent
        self._warnings: list[str] = []
        self._known: dict[tuple[components.Kind, str], components.Component | None] = {}
        formats = {
            **FORMATS,
            **broker_keys.formats(self._folder, self._warnings, look=broker_files),
            "backfill": _backfill,
            "link": _link,
            "secret_file": self._secret,
            "bridge": lambda text: self._type(components.Kind.BRIDGE, text),
            "sink": lambda text: self._type(components.Kind.SINK, text),
        }
        self._reader = Reader(str(path), formats=formats, refine=self._refine, environ=environ)

    def load(self, node: Any) -> Loaded:
        values = self._reader.root(node, file_schema())
        if not isinstance(values, dict):
            self._reader.finish()
        self._check_names(values)
        self._check_links(values)
        self._read_brokers(values)
        broker = broker_keys.settings(values["broker"] or {}, self._reader, self._warnings)
        self._reader.finish()
        settings = self._settings(values, broker)
        if not settings.bridges and not settings.sinks:
            self._warnings.append("there is neither a bridge nor a sink: nothing will run")
        return Loaded(settings, tuple(self._warnings), self._reader.lines)

    def _component(self, kind: components.Kind, name: str) -> components.Component | None:
        if (kind, name) not in self._known:
            self._known[kind, name] = components.find(kind, name)
        return self._known[kind, name]

    def _type(self, kind: components.Kind, name: str) -> str:
        component = self._component(kind, name)
        if component is None:
            there = components.describe(kind)
            for each in there:
                if name in each.maps:
                    raise ConfigError(
                        f"{name!r} is a map: write 'type: {each.name}' and 'map: {name}'"
                    )
            names = [each.name for each in there]
            raise ConfigError(f"{name!r} is not known{guess(name, names)}")
        if component.fault:
            raise ConfigError(f"{component.what}: {component.fault}")
        return name

    def _refine(self, schema: Schema, texts: Mapping[str, str]) -> Schema:
        kind = schema.get("heliobus", {}).get("refine")
        if kind is None or "type" not in texts:
            return schema
        component = self._component(components.Kind(kind), texts["type"])
        if component is None or component.fault:  # what it needs is not known, either
            return {**schema, "required": ["type"]}
        return refined(schema, component)

    def _secret(self, text: str) -> str:
        path = self._folder / text
        secret = read_secret(path)
        if path.stat().st_mode & stat.S_IROTH and (told := looseness(path)):
            self._warnings.append(told)
        return secret

    def _check_names(self, values: Mapping[str, Any]) -> None:
        """Component names are unique among bridges and sinks, device names in the site."""
        owners: dict[str, str] = {}
        for bridge, device, _ in _devices(values):
            if device in owners:
                self._reader.fault(
                    ("bridges", bridge, "devices", device),
                    f"the device {device!r} belongs to {owners[device]} already;"
                    " device names are unique within a site, choose another",
                )
            owners.setdefault(device, f"bridges.{bridge}")
        for bridge, device, options in _devices(values):
            parts = options.get("parts")
            for part in parts.values() if isinstance(parts, dict) else ():
                if part in owners:
                    self._reader.fault(
                        ("bridges", bridge, "devices", device, "parts"),
                        f"the device {part!r} belongs to {owners[part]} already;"
                        " device names are unique within a site, choose another",
                    )
                owners.setdefault(part, f"bridges.{bridge}.devices.{device}")
        for name in values["sinks"] or ():
            if name in (values["bridges"] or ()):
                self._reader.fault(
                    ("sinks", name), f"a bridge is called {name!r}, too; choose another name"
                )

    def _check_links(self, values: Mapping[str, Any]) -> None:
        for name, bridge in (values["bridges"] or {}).items():
            place = ("bridges", name, "devices")
            if not isinstance(bridge, dict) or self._listens(bridge):
                continue
            if bridge.get("devices") == {} and self._empty(place):
                self._reader.fault(place, "is empty; name at least one device")
        for bridge, device, options in _devices(values):
            own = values["bridges"][bridge]
            component = self._component(components.Kind.BRIDGE, str(own.get("type")))
            if component is None or self._listens(own):
                continue
            kind, link = component.config.get("link"), options.get("link", own.get("link"))
            if kind is not False and "link" not in {*own, *options}:
                like = "can:socketcan/can0" if kind == "can" else "serial:///dev/ttyUSB0"
                self._reader.fault(
                    ("bridges", bridge, "devices", device),
                    f"has no link; add one here or to its bridge, such as 'link: {like}'",
                )
            if kind != "can" and str(link).startswith("can:"):
                self._reader.fault(
                    ("bridges", bridge, "devices", device),
                    f"link: '{link}' is a CAN bus, which 'type: {component.name}' does not speak;"
                    " write its serial or network port, such as 'link: serial:///dev/ttyUSB0'",
                )

    def _listens(self, bridge: Mapping[str, Any]) -> bool:
        component = self._component(components.Kind.BRIDGE, str(bridge.get("type")))
        return component is not None and component.listens

    def _read_brokers(self, values: Mapping[str, Any]) -> None:
        """Put the settings of other brokers where their keys were."""
        for kind in components.Kind:
            for name, own in (values[f"{kind.value}s"] or {}).items():
                component = self._component(kind, str((own or {}).get("type")))
                known = component.config.get("component", {}) if component else {}
                for key, schema in known.get("properties", {}).items():
                    if broker_keys.is_broker(schema) and isinstance(own.get(key), dict):
                        place = (f"{kind.value}s", name, key)
                        own[key] = broker_keys.settings(
                            own[key], self._reader, self._warnings, place=place
                        )

    def _empty(self, place: Place) -> bool:
        """Tell whether nothing was written there, not even what was refused."""
        return not any(each[:-1] == place for each in self._reader.lines)

    def _settings(self, values: Mapping[str, Any], broker: BrokerSettings) -> Settings:
        journal, clock = values["journal"], values["clock"]
        return Settings(
            site=values["site"],
            folder=self._folder,
            data=self._folder / values["data"],
            base_topic=values["base_topic"],
            broker=broker,
            journal=JournalSettings(
                flush_s=journal["flush"],
                keep_s=journal["keep"],
                max_size_bytes=journal["max_size"],
            ),
            clock=ClockSettings(trust=True) if clock == "trust" else ClockSettings(clock["wait"]),
            bridges={
                name: _bridge(name, own, self._folder) for name, own in values["bridges"].items()
            },
            sinks={
                name: SinkSettings(
                    name=name,
                    type=own["type"],
                    backfill_s=_finite(own.get("backfill", 0.0)),
                    options=_options(own, _SINK_KEYS),
                )
                for name, own in values["sinks"].items()
            },
        )


def _devices(values: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Give (bridge, device, its keys) for all that could be read."""
    return [
        (bridge, device, options)
        for bridge, own in (values["bridges"] or {}).items()
        for device, options in ((own or {}).get("devices") or {}).items()
        if isinstance(options, dict)
    ]


def _bridge(name: str, own: Mapping[str, Any], folder: Path) -> BridgeSettings:
    devices = tuple(
        DeviceSettings(
            name=device,
            every_s=keys.get("every", own.get("every", 0.0)),
            link=keys.get("link", own.get("link", "")),
            options=_options(keys, _DEVICE_KEYS),
            folder=folder,
        )
        for device, keys in own["devices"].items()
    )
    return BridgeSettings(
        name=name,
        type=own["type"],
        devices=devices,
        every_s=own.get("every", 0.0),
        takeover=own["takeover"],
        allow_commands=own["allow_commands"],
        options=_options(own, _BRIDGE_KEYS),
    )


def _options(values: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in known}
