"""What OpenDTU itself tells Home Assistant, when that is switched on: an entity for each topic.

Read for it: src/MqttHandleHass.cpp and include/MqttHandleHass.h of tbnobody/OpenDTU.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from bridges.mqtt.simulated_inverter import Inverter
from bridges.mqtt.simulated_topics import HOSTNAME, IP

_PREFIX: Final = "homeassistant"
_DTU: Final = f"{HOSTNAME}_07F614"
_VERSION: Final = "v26.3.30"
_MOST_W: Final = 2250

Row = tuple[str, str, Mapping[str, Any]]


def _meta(
    *, unit: str = "", icon: str = "", device: str = "", state: str = "", category: str = ""
) -> Mapping[str, Any]:
    """Give the keys in OpenDTU's order, and only those that say something."""
    words = {
        "unit_of_meas": unit,
        "ic": icon,
        "dev_cla": device,
        "stat_cla": state,
        "ent_cat": category,
    }
    return MappingProxyType({key: word for key, word in words.items() if word})


_NOTED: Final = _meta(category="diagnostic")
_BYTES: Final = _meta(unit="Bytes", icon="mdi:memory", category="diagnostic")
_POWER: Final = _meta(unit="W", device="power", state="measurement")
_OF_DTU: Final[Sequence[Row]] = (
    ("IP", "dtu/ip", _meta(icon="mdi:network-outline", category="diagnostic")),
    (
        "WiFi Signal",
        "dtu/rssi",
        _meta(unit="dBm", device="signal_strength", category="diagnostic"),
    ),
    ("Uptime", "dtu/uptime", _meta(unit="s", device="duration", category="diagnostic")),
    (
        "Temperature",
        "dtu/temperature",
        _meta(unit="°C", device="temperature", state="measurement", category="diagnostic"),
    ),
    ("Heap Size", "dtu/heap/size", _BYTES),
    ("Heap Free", "dtu/heap/free", _BYTES),
    ("Largest Free Heap Block", "dtu/heap/maxalloc", _BYTES),
    ("Lifetime Minimum Free Heap", "dtu/heap/minfree", _BYTES),
    (
        "Yield Total",
        "ac/yieldtotal",
        _meta(unit="kWh", device="energy", state="total_increasing"),
    ),
    ("Yield Day", "ac/yieldday", _meta(unit="Wh", device="energy", state="total_increasing")),
    ("AC Power", "ac/power", _POWER),
    ("DC Power", "dc/power", _POWER),
)
_BUTTONS: Final = (
    ("Turn Inverter Off", "power", "0", _meta(icon="mdi:power-plug-off", category="config")),
    ("Turn Inverter On", "power", "1", _meta(icon="mdi:power-plug", category="config")),
    ("Restart Inverter", "restart", "1", _meta(device="restart", category="config")),
    ("Reset Radio Statistics", "reset_rf_stats", "1", _meta(category="config")),
)
_NUMBERS: Final = (
    ("Limit NonPersistent Relative", "nonpersistent_relative", "relative", "%", 100, 0.1),
    ("Limit Persistent Relative", "persistent_relative", "relative", "%", 100, 0.1),
    ("Limit NonPersistent Absolute", "nonpersistent_absolute", "absolute", "W", _MOST_W, 1),
    ("Limit Persistent Absolute", "persistent_absolute", "absolute", "W", _MOST_W, 1),
)
_RADIO: Final[Sequence[Row]] = (
    ("TX Requests", "radio/tx_request", _NOTED),
    ("RX Success", "radio/rx_success", _NOTED),
    ("RX Fail Receive Nothing", "radio/rx_fail_nothing", _NOTED),
    ("RX Fail Receive Partial", "radio/rx_fail_partial", _NOTED),
    ("RX Fail Receive Corrupt", "radio/rx_fail_corrupt", _NOTED),
    ("TX Re-Request Fragment", "radio/tx_re_request", _NOTED),
    ("RSSI", "radio/rssi", _meta(unit="dBm", device="signal_strength", category="diagnostic")),
)
_FIELDS: Final = MappingProxyType(
    {
        "Voltage": _meta(unit="V", device="voltage", state="measurement"),
        "Current": _meta(unit="A", device="current", state="measurement"),
        "Power": _POWER,
        "PowerDC": _POWER,
        "YieldDay": _meta(unit="Wh", device="energy", state="total_increasing"),
        "YieldTotal": _meta(unit="kWh", device="energy", state="total_increasing"),
        "Frequency": _meta(unit="Hz", device="frequency", state="measurement"),
        "Temperature": _meta(unit="°C", device="temperature", state="measurement"),
        "PowerFactor": _meta(device="power_factor", state="measurement"),
        "Efficiency": _meta(unit="%"),
        "Irradiation": _meta(unit="%"),
        "ReactivePower": _meta(unit="var", device="reactive_power", state="measurement"),
    }
)
_AC: Final = ("Voltage", "Current", "Power", "Frequency", "PowerFactor", "ReactivePower")
_DC: Final = ("Voltage", "Current", "Power", "YieldDay", "YieldTotal", "Irradiation")
_INV: Final = ("PowerDC", "YieldDay", "YieldTotal", "Temperature", "Efficiency")


def discovery(
    base: str, inverters: Sequence[Inverter], *, expires_s: int
) -> Iterator[tuple[str, str]]:
    """Give topics and payloads; an empty payload takes back what there may have been."""
    there = {"avty_t": f"{base}/dtu/status", "pl_avail": "online", "pl_not_avail": "offline"}
    dtu = _device(HOSTNAME, _DTU, "OpenDTU")
    for name, topic, meta in _OF_DTU:
        body = {**_named(dtu, name, _DTU), "stat_t": f"{base}/{topic}", **meta, **there}
        yield _config("sensor", _DTU, name), _json(body)
    status = {**_named(dtu, "Status", _DTU), "stat_t": f"{base}/dtu/status"}
    status |= {"pl_on": "online", "pl_off": "offline", "dev_cla": "connectivity"}
    yield _config("binary_sensor", _DTU, "Status"), _json({**status, **_NOTED})
    for inverter in inverters:
        device = _device(inverter.name, inverter.serial, inverter.model.type_name)
        device["dev"]["via_device"] = _DTU
        topics = f"{base}/{inverter.serial}"
        node = f"dtu_{inverter.serial}"
        for component, name, control in _controls(device, inverter.serial, topics):
            yield _config(component, node, name), _json(control)
        for name, topic, meta in _RADIO:
            body = {**_named(device, name, inverter.serial), "stat_t": f"{topics}/{topic}"}
            body |= {**meta, **there}
            yield _config("sensor", node, name), _json(body)
        yield from _fields(device, inverter, topics, expires_s=expires_s)


def _controls(
    device: Mapping[str, Any], serial: str, topics: str
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, command, payload, meta in _BUTTONS:
        press = {"cmd_t": f"{topics}/cmd/{command}", "payload_press": payload}
        yield "button", name, {**device, **meta, **_named({}, name, serial), **press}
    for name, command, leaf, unit, most, step in _NUMBERS:
        meta = _meta(unit=unit, icon="mdi:speedometer", category="config")
        of = {"cmd_t": f"{topics}/cmd/limit_{command}", "stat_t": f"{topics}/status/limit_{leaf}"}
        span = {"min": 0, "max": most, "step": step}
        yield "number", name, {**device, **meta, **_named({}, name, serial), **of, **span}
    for name, meta in (
        ("Reachable", _meta(device="connectivity", category="diagnostic")),
        ("Producing", _meta()),
    ):
        of = {"stat_t": f"{topics}/status/{name.lower()}", "pl_on": "1", "pl_off": "0"}
        yield "binary_sensor", name, {**_named(device, name, serial), **of, **meta}


def _fields(
    device: Mapping[str, Any], inverter: Inverter, topics: str, *, expires_s: int
) -> Iterator[tuple[str, str]]:
    channels = [(0, _AC), *((at, _DC) for at in range(1, inverter.model.strings + 1)), (0, _INV)]
    for channel, names in channels:
        for name in names:
            key = f"ch{channel}_{name}"
            topic = f"{_PREFIX}/sensor/dtu_{inverter.serial}/{key}/config"
            body = {
                **device,
                **_FIELDS[name],
                "name": name,
                "stat_t": f"{topics}/{channel}/{name.lower()}",
                "uniq_id": f"{inverter.serial}_{key}",
                "exp_aft": expires_s,
            }
            yield topic, "" if channel else _json(body)  # the single strings are off by default


def _device(name: str, identifier: str, model: str) -> dict[str, Any]:
    return {
        "dev": {
            "name": name,
            "ids": identifier,
            "cu": f"http://{IP}",
            "mf": "OpenDTU",
            "mdl": model,
            "sw": _VERSION,
        }
    }


def _named(device: Mapping[str, Any], name: str, prefix: str) -> dict[str, Any]:
    return {**device, "name": name, "uniq_id": f"{prefix}_{_id(name)}"}


def _config(component: str, node: str, name: str) -> str:
    return f"{_PREFIX}/{component}/{node}/{_id(name)}/config"


def _id(name: str) -> str:
    return name.lower().replace(" ", "_")


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
