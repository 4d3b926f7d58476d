# ruff: noqa: INP001 - no module of ours: it runs in another Python
"""Home Assistant's own discovery in Pyodide, without a broker: what it makes of messages.

Its MQTT integration with the real platforms, registries and states; only the client is ours, the
end that would talk to a broker. run.mjs runs it, and tests/ha_code.py asks it.
"""

import asyncio
import importlib.abc
import importlib.machinery
import json
import logging
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable
from datetime import timedelta
from typing import Any

sys.path.insert(0, "/modules")

PREFIX = "homeassistant"
PLATFORMS = ("sensor", "binary_sensor", "number", "select", "switch", "button")
# Modules of Python itself that Pyodide lacks.
LACKING = frozenset({"fcntl", "termios", "resource"})


# ------------------------------------------------------------- what Home Assistant imports


class _Absent(type):
    """A class of a module that is not there: every attribute of it is another one."""

    def __getattr__(cls, name: str) -> Any:
        return _absent(name)

    def __or__(cls, _other: object) -> Any:
        return cls

    __ror__ = __or__

    def __getitem__(cls, _item: object) -> Any:
        return cls


class _Thing(metaclass=_Absent):
    """What such a class makes, of whatever it is given."""

    def __init__(self, *_given: object, **_named: object) -> None:
        super().__init__()


def _absent(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Absent(name, (_Thing,), {})


class _Empty(types.ModuleType):
    """A module that is not there. Nothing of it is called on the way of an MQTT message."""

    def __getattr__(self, name: str) -> Any:
        return _absent(name)


class _Left(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Find an empty module where a package was left out of requirements.txt."""

    def __init__(self) -> None:
        self.left_out: set[str] = set()

    def find_spec(self, fullname: str, _path: Any, _target: Any = None) -> Any:
        package, _, inner = fullname.partition(".")
        if (inner and package not in self.left_out) or package.startswith("_"):
            return None
        if package in sys.stdlib_module_names - LACKING or package in {"homeassistant", "js"}:
            return None
        self.left_out.add(package)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing in it."""


class _Orjson(types.ModuleType):
    """The library orjson, by Python's own JSON."""

    JSONDecodeError = json.JSONDecodeError
    JSONEncodeError = TypeError
    Fragment = bytes

    @staticmethod
    def loads(text: str | bytes) -> Any:
        return json.loads(text, parse_constant=_refuse)

    @staticmethod
    def dumps(value: Any, default: Any = None, option: int = 0) -> bytes:
        del option
        return json.dumps(value, default=default).encode()

    def __getattr__(self, name: str) -> int:
        if not name.startswith("OPT_"):
            raise AttributeError(name)
        return 0


class _Cache(dict[Any, Any]):
    """The cache of the library lru, which forgets nothing here."""

    def __init__(self, _size: int, callback: Any = None) -> None:
        super().__init__()
        del callback


def _refuse(constant: str) -> Any:
    raise json.JSONDecodeError(f"{constant} is no JSON", constant, 0)


def _module(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


sys.meta_path.append(_Left())
sys.modules["orjson"] = _Orjson("orjson")
_module("lru", LRU=_Cache)
_module("certifi", where=lambda: __import__("os").devnull)

# ruff: noqa: E402 - only now can it be imported
from homeassistant import config_entries, loader
from homeassistant.components.mqtt import discovery, models
from homeassistant.core import CoreState, HomeAssistant
from homeassistant.helpers import (
    area_registry,
    category_registry,
    device_registry,
    entity,
    entity_registry,
    floor_registry,
    frame,
    issue_registry,
    label_registry,
    restore_state,
    storage,
    template,
    translation,
)
from homeassistant.helpers.entity_platform import EntityPlatform

REGISTRIES = (
    area_registry,
    category_registry,
    device_registry,
    entity_registry,
    floor_registry,
    issue_registry,
    label_registry,
    restore_state,
)


# ------------------------------------------------------------- its surroundings


class Log(logging.Handler):
    """Keep each warning and error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info and record.exc_info[1]:
            line += f" ({record.exc_info[1]!r})"
        self.lines.append(line)

    def take(self) -> list[str]:
        taken, self.lines = self.lines, []
        return taken


class Client:
    """Stand between Home Assistant and a broker: whoever listens to a topic hears it."""

    connected = True

    def __init__(self) -> None:
        self.listeners: list[tuple[str, Callable[[Any], None]]] = []

    def async_subscribe(
        self, topic: str, heard: Callable[[Any], None], *_how: object
    ) -> Callable[[], None]:
        listener = (topic, heard)
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def put(self, topic: str, payload: str) -> int:
        """Hand a message to all listeners, and give their number."""
        listeners = [one for one in self.listeners if _matches(one[0], topic)]
        for listened, heard in listeners:
            message = models.ReceiveMessage(
                topic,
                payload,
                qos=1,
                retain=False,
                subscribed_topic=listened,
                timestamp=time.time(),
            )
            try:
                heard(message)
            except Exception:
                logging.getLogger("homeassistant.client").exception("for %s", topic)
        return len(listeners)


def _matches(listened: str, topic: str) -> bool:
    wanted, given = listened.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(
        want in ("+", level) for want, level in zip(wanted, given, strict=True)
    )


def at_once(self: Any, target: Callable[..., Any], *values: Any) -> Any:
    """Do it now: there are no threads here."""
    future = self.loop.create_future()
    try:
        future.set_result(target(*values))
    except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
        future.set_exception(error)
    return future


async def started(client: Client) -> Any:
    """Start the MQTT integration as Home Assistant does, but for the client."""
    HomeAssistant.async_add_executor_job = at_once
    HomeAssistant.async_add_import_executor_job = at_once
    storage.Store.async_delay_save = lambda *_: None  # its timers are not those of Pyodide
    asyncio.get_running_loop()._thread_id = threading.get_ident()  # type: ignore[attr-defined] # noqa: SLF001
    hass = HomeAssistant(tempfile.mkdtemp())
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    hass.config_entries._initialized.set()  # noqa: SLF001 - nothing is stored
    for module in (entity, frame, loader, template, translation, device_registry):
        module.async_setup(hass)
    await asyncio.gather(*(one.async_load(hass, load_empty=True) for one in REGISTRIES))
    await template.async_load_custom_templates(hass)
    hass.set_state(CoreState.running)
    entry = _entry()
    hass.config_entries._entries[entry.entry_id] = entry  # noqa: SLF001 - without a setup
    data = hass.data[models.DATA_MQTT] = models.MqttData(client=client, config=[])
    for name in PLATFORMS:
        await _platform(hass, name).async_setup_entry(entry)
        data.platforms_loaded.add(name)
    await discovery.async_start(hass, PREFIX, entry)
    return hass


def _entry() -> Any:
    return config_entries.ConfigEntry(
        version=2,
        minor_version=1,
        domain="mqtt",
        title="mqtt",
        data={},
        options={},
        source="user",
        unique_id=None,
        discovery_keys={},
        subentries_data=None,
    )


def _platform(hass: Any, name: str) -> Any:
    return EntityPlatform(
        hass=hass,
        logger=logging.getLogger(f"homeassistant.components.{name}"),
        domain=name,
        platform_name="mqtt",
        platform=importlib.import_module(f"homeassistant.components.mqtt.{name}"),
        scan_interval=timedelta(seconds=30),
        entity_namespace=None,
    )


# ------------------------------------------------------------- question and answer


async def answer(asked: str) -> str:
    """Give what Home Assistant complains of at each message, and its states at the end."""
    log, client = Log(), Client()
    logging.getLogger().addHandler(log)
    hass = await started(client)
    complaints = [log.take()]
    for topic, payload in json.loads(asked)["messages"]:
        heard = client.put(topic, payload)
        models.LAST_PAYLOAD_JSON.clear()
        hass.data[models.DATA_MQTT].state_write_requests.process_write_state_requests(
            types.SimpleNamespace(topic=topic, payload=payload.encode())
        )
        await hass.async_block_till_done()
        complaints.append(log.take() + ([] if heard else [f"nobody listens to {topic}"]))
    states = {
        state.entity_id: {"state": state.state, "attributes": dict(state.attributes)}
        for state in hass.states.async_all()
    }
    found = {"complaints": complaints, "states": states, "tables": tables()}
    return json.dumps(found, default=str)


def tables() -> Any:
    """Give what tests/ha_rules.json has as data, from where Home Assistant has it."""
    sensor = importlib.import_module("homeassistant.components.sensor.const")
    short = importlib.import_module("homeassistant.components.mqtt.abbreviations")
    schemas = importlib.import_module("homeassistant.components.mqtt.schemas")
    return {
        "units": _sets(sensor.DEVICE_CLASS_UNITS),
        "units_of_state_class": _sets(sensor.STATE_CLASS_UNITS),
        "state_classes": _sets(sensor.DEVICE_CLASS_STATE_CLASSES),
        "same_units": sensor.AMBIGUOUS_UNITS,
        "not_numeric": sorted(sensor.NON_NUMERIC_DEVICE_CLASSES),
        "shared_options": sorted(schemas.SHARED_OPTIONS),
        "abbreviations": {
            "component": short.ABBREVIATIONS,
            "device": short.DEVICE_ABBREVIATIONS,
            "origin": short.ORIGIN_ABBREVIATIONS,
        },
        "keys": {name: sorted(map(str, _keys(name))) for name in PLATFORMS},
    }


def _sets(table: Any) -> Any:
    return {key: sorted(map(str, values)) for key, values in table.items()}


def _keys(platform: str) -> Any:
    module = importlib.import_module(f"homeassistant.components.mqtt.{platform}")
    schema = module.DISCOVERY_SCHEMA
    return getattr(schema, "validators", [schema])[0].schema
