"""What is on the bus, as a table for a terminal and as plain lines. No I/O."""

from dataclasses import dataclass, field
from typing import Any

from heliobus.bus import Message
from heliobus.contract import Contract, Field
from heliobus.errors import FrameError
from heliobus.sample import Sample, Value, load_object, parse_sample, time_text
from heliobus.topics import BUS, Address, Topics

_COLUMN = 36
_STALE_TIMES = 3  # a sample this many times older than its cadence is marked
_NO_CADENCE_S = 60.0


@dataclass(slots=True)
class _Device:
    sample: Sample | None = None
    info: dict[str, Any] = field(default_factory=dict)
    available: str = "?"


class Board:
    """The newest of every device and component. `wanted` is part of a device's or field's name."""

    def __init__(self, contract: Contract, topics: Topics, wanted: str = "") -> None:
        self._contract = contract
        self._topics = topics
        self._wanted = wanted
        self._devices: dict[tuple[str, str], _Device] = {}
        self._components: dict[tuple[str, str], dict[str, Any]] = {}

    def take(self, message: Message) -> str | None:
        """Take in a message. Give a line for those who cannot have a table."""
        address = self._topics.parse(message.topic)
        if address is None:
            return None
        if not message.payload:
            self._clear(address)
            return None
        try:
            if address.component is not None:
                return self._take_component(address, load_object(message.payload))
            return self._take_device(address, message.payload)
        except FrameError as error:
            return f"{message.topic}: {error}"

    def _clear(self, address: Address) -> None:
        if address.leaf == "info" and address.device is not None:
            self._devices.pop((address.site, address.device), None)

    def _take_component(self, address: Address, body: dict[str, Any]) -> str | None:
        name = address.component or ""
        if address.leaf == "status":
            self._components[address.site, name] = body
        elif address.leaf == "event" and not self._wanted:
            return f"{_clock(body.get('time'))} {name}: {body.get('text', '')}"
        return None

    def _take_device(self, address: Address, payload: bytes) -> str | None:
        device = self._devices.setdefault((address.site, address.device or BUS), _Device())
        if address.leaf == "info":
            device.info = load_object(payload)
        elif address.leaf == "availability":
            device.available = payload.decode("utf-8", "replace")
        elif address.leaf == "state":
            device.sample = parse_sample(address.site, address.device or BUS, payload)
            return self._line(device.sample)
        return None

    # ------------------------------------------------------------------ plain lines

    def _line(self, sample: Sample) -> str | None:
        fields = self._fields(sample)
        if not fields:
            return None
        values = "  ".join(f"{name}={_plain(sample.values[name])}" for name in fields)
        return f"{_clock(time_text(sample.time_ms))} {sample.device}  {values}"

    def _fields(self, sample: Sample) -> list[str]:
        """Give the fields to show: those asked for, else the most important of the kind."""
        if self._wanted and self._wanted not in sample.device:
            return [name for name in sample.values if self._wanted in name]
        if self._wanted:
            return list(sample.values)
        kind = self._contract.kinds.get(sample.kind)
        main = [name for name in kind.main if name in sample.values] if kind else []
        return main or list(sample.values)[:10]

    # ------------------------------------------------------------------ the table

    def table(self, now_ms: int, width: int, height: int) -> list[str]:
        """Draw everything into lines no wider and no more than that."""
        lines = [f"heliobus {self._topics.site}   {_clock(time_text(now_ms))} UTC", ""]
        for (_, name), device in sorted(self._devices.items()):
            if device.sample is not None:
                lines += self._block(name, device, device.sample, now_ms, width)
        lines += [
            _component_line(name, body) for (_, name), body in sorted(self._components.items())
        ]
        if len(lines) > height:
            lines = [*lines[: height - 1], f"... and {len(lines) - height + 1} lines more"]
        return [line[:width] for line in lines]

    def _block(
        self, name: str, device: _Device, sample: Sample, now_ms: int, width: int
    ) -> list[str]:
        names = self._fields(sample)
        if not names:
            return []
        model = " ".join(str(device.info.get(key, "")) for key in ("maker", "model")).strip()
        cells = [self._cell(sample, field_name) for field_name in names]
        columns = max(1, width // (_COLUMN + 2))
        lines = [f"{name}  {model or sample.kind}  {self._state(device, sample, now_ms)}"]
        for start in range(0, len(cells), columns):
            row = "  ".join(f"{cell:<{_COLUMN}}" for cell in cells[start : start + columns])
            lines.append(f"  {row}".rstrip())
        return [*lines, ""]

    def _state(self, device: _Device, sample: Sample, now_ms: int) -> str:
        """Say whether the device is there: its own word, its bridge's, and the sample's age."""
        bridge = self._components.get((sample.site, sample.bridge or ""), {})
        age_s = max(0, now_ms - sample.time_ms) // 1000
        every_s = device.info.get("every_s")
        every_s = every_s if isinstance(every_s, int | float) else _NO_CADENCE_S
        if device.available == "offline" or bridge.get("state") == "offline":
            return f"OFFLINE for {age_s} s"
        mark = "  STALE" if age_s > _STALE_TIMES * every_s else ""
        return f"{device.available}, {age_s} s ago{mark}"

    def _cell(self, sample: Sample, name: str) -> str:
        known = self._contract.field(sample.kind, name)
        title = known.title if known else name
        return f"{title:<22.22} {_with_unit(sample.values[name], known):>13.20}"


def _with_unit(value: Value, known: Field | None) -> str:
    text = _plain(value)
    if known is not None and known.precision is not None and isinstance(value, int | float):
        text = f"{value:,.{known.precision}f}"
    return f"{text} {known.unit}".rstrip() if known else text


def _plain(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _clock(text: object) -> str:
    """Give the time of day of an ISO time."""
    return str(text)[11:19]


def _component_line(name: str, body: dict[str, Any]) -> str:
    shown = [f"{body.get('role', '')} {body.get('type', '')}".strip(), str(body.get("state"))]
    devices = body.get("devices")
    if isinstance(devices, dict):
        counts = [d for d in devices.values() if isinstance(d, dict)]
        shown += [f"{sum(d.get(key, 0) for d in counts)} {key}" for key in ("polls", "errors")]
    shown += [f"{key} {body[key]}" for key in ("stored", "holes", "rejected") if key in body]
    if body.get("lag_s"):
        shown.append(f"{body['lag_s']} s behind")
    if body.get("error"):
        shown.append(str(body["error"]))
    return f"{name}  " + "  ".join(shown)
