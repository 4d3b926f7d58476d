"""What is on the bus, as a table for a terminal and as plain lines. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from textwrap import wrap
from typing import Any

from heliobus import cells
from heliobus.bus import Message
from heliobus.cells import Piece, Row, Style
from heliobus.contract import Contract
from heliobus.errors import FrameError
from heliobus.grouped import Column, Group, Line
from heliobus.sample import SIMULATED, Sample, load_object, parse_sample, time_ms
from heliobus.topics import BUS, Address, Topics

# A cell is a title, a value and its unit; a long text takes the place of several cells.
_TITLE, _VALUE, _UNIT = 20, 9, 5
_CELL = _TITLE + 1 + _VALUE + 1 + _UNIT
_GAP, _INDENT = "   ", "  "
_KIND = 24  # of a maker and model, or of a component's role and type
_MOST_FIELDS = 10  # of a kind that is not known
_ERROR_LINES = 2
_HINT_LINES = 4  # it may end with a command to copy
_STALE_TIMES = 3  # a sample this many times older than its cadence is marked
_NO_CADENCE_S = 60.0
_OLD_MS = 60_000


_OFFLINE: Piece = ("OFFLINE", Style.ALARM)


@dataclass(frozen=True, slots=True)
class _Size:
    """The widths that all blocks of a table share."""

    name: int
    row: int


@dataclass(slots=True)
class _Device:
    sample: Sample | None = None
    info: dict[str, Any] = field(default_factory=dict)
    available: str = ""

    @property
    def model(self) -> str:
        """Give its owner's name for it, else what it is."""
        if title := self.info.get("title"):
            return str(title)
        named = " ".join(self.info.get(key, "") for key in ("maker", "model")).strip()
        return named or (self.sample.kind if self.sample else self.info.get("kind", ""))


class Board:
    """The newest of every device and component. `wanted` is part of a device's or field's name."""

    def __init__(self, contract: Contract, topics: Topics, wanted: str = "") -> None:
        self._contract = contract
        self._topics = topics
        self._wanted = wanted
        self._devices: dict[tuple[str, str], _Device] = {}
        self._components: dict[tuple[str, str], dict[str, Any]] = {}
        self._refused = 0
        self._refusal = ""

    def take(self, message: Message, now_ms: int) -> str | None:
        """Take in a message. Give what is new, in lines, for those who cannot have a table."""
        address = self._topics.parse(message.topic)
        if address is None:
            return None
        take = self._take_device if address.component is None else self._take_component
        try:
            lines = [*take(address, message.payload, now_ms)]
        except FrameError as error:
            self._refused += 1
            self._refusal = f"{message.topic}: {error}"
            lines = [f"{cells.clock(now_ms)} {self._refusal}"]
        return "\n".join(cells.printable(line) for line in lines) or None

    def _take_component(self, address: Address, payload: bytes, now_ms: int) -> Iterable[str]:
        key = address.site, address.component or ""
        # A device may have the same name; in the table the next column tells them apart.
        head = f"{cells.clock(now_ms)} {self._name((address.site, f'{BUS}/{address.component}'))}  "
        if address.leaf == "event" and payload and not self._wanted:
            return [f"{head}{load_object(payload).get('text', '')}"]
        if address.leaf != "status":
            return ()
        if not payload:
            self._components.pop(key, None)
            return ()
        before = self._components.get(key, {"state": ""})
        self._components[key] = body = self._contract.parse("status", payload)
        if self._wanted not in key[1]:
            return ()
        states = [body["state"]] if body["state"] != before["state"] else []
        return [f"{head}{text}" for text in (*states, *_new_troubles(before, body))]

    def _take_device(self, address: Address, payload: bytes, now_ms: int) -> Iterable[str]:
        key = address.site, address.device or ""
        device = self._devices.get(key) or _Device()
        line = None
        if address.leaf == "info":
            device.info = self._contract.parse("info", payload) if payload else {}
        elif address.leaf == "availability":
            line = self._take_availability(key, device, payload, now_ms)
        elif address.leaf == "state":
            device.sample = None
            if payload:
                device.sample, faults = self._judged(parse_sample(*key, payload))
                line = self._line(key, device.sample, faults, now_ms)
        self._devices[key] = device
        if device == _Device():
            del self._devices[key]
        return [line] if line else ()

    def _take_availability(
        self, key: tuple[str, str], device: _Device, payload: bytes, now_ms: int
    ) -> str | None:
        text = payload.decode("utf-8", "replace")
        if text not in ("", "online", "offline"):
            raise FrameError(f"found {text!r:.40}, expected online or offline")
        changed = device.available != text
        device.available = text
        shown = changed and text and self._wanted in key[1]
        return f"{cells.clock(now_ms)} {self._name(key)}  {text}" if shown else None

    def _judged(self, sample: Sample) -> tuple[Sample, list[str]]:
        """Part from a sample the values that the contract refuses; a table must hold the rest."""
        good, faults = self._contract.sift(sample.kind, sample.values)
        return replace(sample, values=good), list(faults.values())

    def _name(self, key: tuple[str, str]) -> str:
        site, name = key
        return name if site == self._topics.site else f"{site}/{name}"

    # ------------------------------------------------------------------ plain lines

    def _line(
        self, key: tuple[str, str], sample: Sample, faults: Iterable[str], now_ms: int
    ) -> str | None:
        shown = [f"{name}={cells.plain(sample.values[name])}" for name in self._fields(sample)]
        if self._wanted in sample.device:
            shown += [f"({fault})" for fault in faults]
        if not shown:
            return None
        if abs(age_ms := now_ms - sample.time_ms) > _OLD_MS:
            shown.append(f"({cells.ago(age_ms)})")
        return f"{cells.clock(sample.time_ms)} {self._name(key)}  {'  '.join(shown)}"

    def _fields(self, sample: Sample) -> list[str]:
        """Give the fields to show: those asked for, else the most important of the kind."""
        if self._wanted and self._wanted not in sample.device:
            return [name for name in sample.values if self._wanted in name]
        if self._wanted:
            return list(sample.values)
        kind = self._contract.kinds.get(sample.kind)
        main = [name for name in kind.main if name in sample.values] if kind else []
        return main or list(sample.values)[:_MOST_FIELDS]

    # ------------------------------------------------------------------ the table

    def table(self, now_ms: int, width: int, height: int | None = None) -> list[Row]:
        """Draw everything into rows no wider than that.

        Where a block for each device is higher than `height`, those of a kind share one; where
        that is still too high, so do the components with which all is well.
        """
        names = [self._name(key) for key in (*self._devices, *self._components)]
        size = _Size(name=max((len(name) for name in names), default=0), row=width)
        rows = self._whole(self._blocks(now_ms, size), now_ms, size)
        if height is None or len(rows) <= height:
            return rows
        groups = self._groups(now_ms)
        rows = self._whole(
            [r for g in groups for r in (*g.rows(size.name, width), ())], now_ms, size
        )
        if len(rows) <= height:
            return rows
        close = [r for g in groups for r in g.rows(size.name, width)]
        close += [()] if close else []
        rows = self._whole([*close], now_ms, size)
        return rows if len(rows) <= height else self._whole(close, now_ms, size, folds=True)

    def _whole(
        self, rows: list[Row], now_ms: int, size: _Size, *, folds: bool = False
    ) -> list[Row]:
        """Put a head above the devices, and the components below them."""
        width = size.row
        if not rows:
            wanted = f"of {self._wanted!r} " if self._wanted else ""
            rows = [cells.row(f"waiting for the first sample {wanted}..."), ()]
        well: list[str] = []
        for key, body in sorted(self._components.items()):
            if folds and _is_well(body):
                well.append(" ".join((self._name(key), *islice(_counts(body, now_ms), 1))))
            else:
                rows += _component_rows(self._name(key), body, now_ms, size)
        rows += map(cells.row, wrap(f"online: {', '.join(well)}", width)) if well else ()
        if self._refused:
            rows += [
                (),
                cells.row(f"{cells.count(self._refused, 'message')} refused: {self._refusal}"),
            ]
        title = f"heliobus {self._topics.site}{self._simulated()}"
        clock = f"{cells.clock(now_ms)} UTC"
        head = ((title, Style.NAME), (f"{clock:>{max(0, width - len(title))}}", Style.PLAIN))
        return [_cut(row, width) for row in (head, (), *rows)]

    def _simulated(self) -> str:
        """Say whether no hardware is behind what is shown."""
        samples = [device.sample for device in self._devices.values() if device.sample]
        marks = {sample.marks.get(SIMULATED) is True for sample in samples}
        return {(True,): " (simulated)", (False, True): " (some simulated)"}.get(
            tuple(sorted(marks)), ""
        )

    def _blocks(self, now_ms: int, size: _Size) -> list[Row]:
        devices = sorted(self._devices.items())
        return [row for key, device in devices for row in self._block(key, device, now_ms, size)]

    def _groups(self, now_ms: int) -> list[Group]:
        """Put devices of a kind together, as far as they have something to show."""
        by_kind: dict[str, list[tuple[str, _Device, list[str]]]] = defaultdict(list)
        for key, device in sorted(self._devices.items()):
            names = self._fields(device.sample) if device.sample else []
            if names or self._wanted in key[1]:
                kind = device.sample.kind if device.sample else device.info.get("kind", "")
                by_kind[kind].append((self._name(key), device, names))
        return [self._group(kind, members, now_ms) for kind, members in sorted(by_kind.items())]

    def _group(
        self, kind: str, members: Sequence[tuple[str, _Device, list[str]]], now_ms: int
    ) -> Group:
        columns = []
        for name in dict.fromkeys(name for _, _, names in members for name in names):
            known = self._contract.field(kind, name)
            values = [
                device.sample.values.get(name) if device.sample else None
                for _, device, _ in members
            ]
            texts = tuple("" if value is None else cells.plain(value, known) for value in values)
            unit = known.unit if known else ""
            columns.append(Column(known.title if known else name, texts, unit))
        lines = [Line(name, self._short(device, now_ms)) for name, device, _ in members]
        return Group(kind, tuple(lines), tuple(columns))

    def _short(self, device: _Device, now_ms: int) -> Piece:
        """Say in few letters whether a device is there."""
        state = self._state(device, now_ms)
        if state[0][1] is Style.ALARM or device.sample is None:
            return state[0]
        return cells.age(max(0, now_ms - device.sample.time_ms)), Style.PLAIN

    def _block(self, key: tuple[str, str], device: _Device, now_ms: int, size: _Size) -> list[Row]:
        names = self._fields(device.sample) if device.sample else []
        if not names and self._wanted not in key[1]:
            return []
        head = (
            (f"{self._name(key):<{size.name}}", Style.NAME),
            (f"  {device.model:<{_KIND}.{_KIND}}  ", Style.PLAIN),
            *self._state(device, now_ms),
        )
        cells = [self._cell(device.sample, name) for name in names if device.sample]
        return [head, *_packed(cells, size.row), ()]

    def _state(self, device: _Device, now_ms: int) -> Row:
        """Say whether the device is there: its own word, its bridge's, and the sample's age."""
        sample = device.sample
        if sample is None:
            return cells.row("waiting for its first sample")
        age_ms = now_ms - sample.time_ms
        age = cells.ago(age_ms)
        bridge = sample.bridge or ""
        if self._components.get((sample.site, bridge), {}).get("state") == "offline":
            return (_OFFLINE, (f" with its bridge {bridge}, {age}", Style.PLAIN))
        if device.available == "offline":
            return (_OFFLINE, (f", {age}", Style.PLAIN))
        if age_ms > _STALE_TIMES * 1000 * device.info.get("every_s", _NO_CADENCE_S):
            return (("STALE", Style.ALARM), (f", {age}", Style.PLAIN))
        return cells.row(", ".join(filter(None, (device.available, age))))

    def _cell(self, sample: Sample, name: str) -> str:
        known = self._contract.field(sample.kind, name)
        title = f"{known.title if known else name:<{_TITLE}.{_TITLE}}"
        text, unit = cells.plain(sample.values[name], known), known.unit if known else ""
        if len(text) > _VALUE:  # the text begins where short ones do, and takes what it needs
            return f"{title} {text}"
        return f"{title} {text:>{_VALUE}} {unit:<{_UNIT}}"


def _component_rows(name: str, body: Mapping[str, Any], now_ms: int, size: _Size) -> list[Row]:
    kind = f"{body.get('role', '')} {body.get('type', '')}".strip()
    offline = body["state"] == "offline"
    row = (
        (f"{name:<{size.name}}  ", Style.NAME),
        (f"{kind:<{_KIND}.{_KIND}}  ", Style.PLAIN),
        _OFFLINE if offline else ("online", Style.PLAIN),
        ("".join(f", {text}" for text in _counts(body, now_ms)), Style.PLAIN),
    )
    room = max(20, size.row - size.name - 2)
    lines = [line for text in _errors(body) for line in wrap(text, room)[:_ERROR_LINES]]
    lines += [line for text in _hints(body) for line in wrap(text, room)[:_HINT_LINES]]
    return [row, *(cells.row(f"{'':{size.name}}  {line}") for line in lines)]


def _is_well(body: Mapping[str, Any]) -> bool:
    devices = _devices_of(body).values()
    errors = sum(device.get("errors", 0) for device in devices)
    return body["state"] != "offline" and not (errors or any(_errors(body)) or any(_hints(body)))


def _devices_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    devices: Mapping[str, Any] = body.get("devices", {})
    return devices


def _counts(body: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    """Give what a component has done, as of its newest status."""
    if "devices" in body:
        devices = _devices_of(body).values()
        asked = any("polls" in device for device in devices)  # else they speak by themselves
        for key in ("polls" if asked else "messages", "errors"):
            yield cells.count(sum(device.get(key, 0) for device in devices), key.removesuffix("s"))
    if "stored" in body:
        yield f"{body['stored']:,} stored"
    if body.get("rejected"):
        yield f"{body['rejected']:,} rejected"
    if body.get("holes"):
        yield cells.count(body["holes"], "hole")
    if body.get("lag_s"):
        yield f"{cells.age(round(body['lag_s'] * 1000))} behind"
    if "time" in body:
        with suppress(FrameError):
            yield cells.ago(now_ms - time_ms(body["time"]))


def _errors(body: Mapping[str, Any]) -> Iterator[str]:
    if body.get("clock", {}).get("synced") is False:
        waiting = body["clock"].get("waiting", 0)
        held = f"; {cells.count(waiting, 'sample')} held back until it is" if waiting else ""
        yield f"its clock is not synchronised{held}"
    yield body.get("error", "")
    for name, device in _devices_of(body).items():
        if device.get("error"):
            yield f"{name}: {device['error']}"


def _hints(body: Mapping[str, Any]) -> Iterator[str]:
    """Give what the owner should know."""
    hints: Iterable[object] = body.get("hints", ())
    yield from (f"hint: {hint}" for hint in hints if isinstance(hint, str))


def _new_troubles(before: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    """Give what a component says of itself that it did not say before."""
    if body.get("error") and body["error"] != before.get("error"):
        yield body["error"]
    known = {*_hints(before)}
    yield from (hint for hint in _hints(body) if hint not in known)


# ---------------------------------------------------------------------- rows


def _packed(shown: Iterable[str], width: int) -> Iterator[Row]:
    """Put cells side by side; a long one takes the place of several."""
    columns = max(1, (width - len(_INDENT) + len(_GAP)) // (_CELL + len(_GAP)))
    row: list[str] = []
    used = 0
    for cell in shown:
        span = min(columns, -(-(len(cell) + len(_GAP)) // (_CELL + len(_GAP))))
        if used + span > columns:
            yield cells.row(_INDENT + _GAP.join(row))
            row, used = [], 0
        row.append(f"{cell:<{span * (_CELL + len(_GAP)) - len(_GAP)}}")
        used += span
    if row:
        yield cells.row(_INDENT + _GAP.join(row))


def _cut(row: Row, width: int) -> Row:
    """Cut a row to a width, and take out what a terminal could take for a command."""
    pieces: list[Piece] = []
    for text, style in row:
        room = width - sum(len(piece) for piece, _ in pieces)
        pieces.append((cells.printable(text)[:room], style))
    return tuple(pieces)
