"""An installation of Studer of a test's own at the far end of a link, and its bridge."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from bridges.studer import Studer
from bridges.studer.codec import Entry, Format, Infos, Value, pack
from bridges.studer.frame import GATEWAY, READ, Error, Frame, Stream, Type, answer, refusal
from bridges.studer.objects import named
from heliobus.bridge import Event
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from heliobus.simulation import serve_pty, serve_tcp

Told = Mapping[int, Value | None]

XT: Told = {
    3000: 51.5, 3005: -20.0, 3010: 4, 3011: 231.0, 3020: 0, 3021: 230.5, 3028: 1, 3049: 1,
    3136: 1.0, 3137: 0.0, 3083: 4.25, 3124: 256.0, 3130: 262.0, 3131: 18948.0, 3156: 4660.0,
    3157: 22136.0, 1138: 60.0,
}  # fmt: skip
VT: Told = {
    11000: 51.6, 11001: 40.0, 11002: 120.5, 11003: 17.5, 11004: 2.375, 11016: 9, 11038: 1,
    11007: 7.5, 11009: 12.5, 11015: 1,
}  # fmt: skip
BMS: Told = {7000: 51.4, 7001: 20.0, 7002: 88.0, 7003: 1028.0, 7054: 1.0, 7057: 99.0, 7067: 2}
BSP: Told = {7000: 51.4, 7001: 20.0, 7002: 88.0, 7003: 1028.0, 7034: 10241.0, 7004: None}
_NO_VALUE = 0x26


class Far:
    """A gateway. `devices` is what is there now, by address; `asked` what it was asked."""

    def __init__(self, devices: Mapping[int, Told]) -> None:
        self.devices = {address: dict(told) for address, told in devices.items()}
        self.flags = 0x24
        self.log: list[Entry] = []
        self.no_entry: int = Error.OBJECT_NOT_FOUND  # how it refuses what is not in the log
        self.logs_between: tuple[int, int, int] | None = None  # while the log is being read
        self.many = True  # it gives many infos at once
        self.busy = 0  # so many of the next answers
        self.mute: set[int] = set()  # objects and devices
        self.failing: set[int] = set()  # objects that cannot be read now
        self.silent = False
        self.own_name = False  # it refuses in its own name
        self.odd = False  # many infos at once come in another shape
        self.before = b""  # what comes before each answer
        self.late = False  # each answer comes only after the next request
        self.asked: list[Frame] = []
        self._held = b""
        self._stream = Stream()

    def take(self, data: bytes) -> bytes:
        """Answer requests."""
        out = b""
        for frame in self._stream.feed(data):
            self.asked.append(frame)
            if self.silent or {frame.object_id, frame.target} & self.mute:
                continue
            said = self._answer(frame)
            if self.late:
                said, self._held = self._held, said
            out += self.before + said if said else b""
        return out

    def count(self, object_type: int) -> int:
        """Count the questions for this type."""
        return sum(frame.object_type == object_type for frame in self.asked)

    def _answer(self, frame: Frame) -> bytes:
        if self.busy:
            self.busy -= 1
            return refusal(frame, Error.GATEWAY_BUSY, flags=self.flags)
        data = 0x2A if frame.object_id in self.failing else self._data(frame)
        if isinstance(data, int):
            asked = replace(frame, target=GATEWAY) if self.own_name else frame
            return refusal(asked, data, flags=self.flags)
        return answer(frame, data, flags=self.flags)

    def _data(self, frame: Frame) -> bytes | int:
        if frame.service != READ:
            return 0x2B
        if frame.target == GATEWAY:
            return self._own(frame)
        told = self.devices.get(frame.target)
        if told is None:
            return Error.DEVICE_NOT_FOUND
        if frame.object_id not in told:
            return _NO_VALUE if frame.object_id // 1000 == 7 else Error.OBJECT_NOT_FOUND
        known = named(frame.object_type, frame.object_id, frame.target)
        if known is None:  # what is only sought
            return pack(Format.FLOAT, told[frame.object_id])
        return pack(known.form, told[frame.object_id])

    def _own(self, frame: Frame) -> bytes | int:
        if frame.object_type == Type.GUID:
            return bytes(range(16))
        if frame.object_type == Type.MESSAGE:
            if frame.object_id >= len(self.log):
                return self.no_entry
            self.flags &= ~1
            entry = self.log[frame.object_id]
            if self.logs_between:
                self.logs(*self.logs_between)
                self.logs_between = None
            return entry.pack()
        if frame.object_type != Type.MULTI_INFO or not self.many:
            return Error.SERVICE_NOT_SUPPORTED
        values = {item: self._info(*item) for item in frame.question.items}
        return Infos(0x20, 1_700_000_000, values).pack() + (b"?" if self.odd else b"")

    def _info(self, number: int, device: int) -> float | None:
        first = {3: 100, 7: 600, 11: 300, 15: 700}[number // 1000]
        value = self.devices.get(first + device, {}).get(number)
        return None if value is None or isinstance(value, str) else float(value)

    def logs(self, number: int, source: int, time_s: int) -> None:
        """Have a new entry in the log."""
        self.log.insert(0, Entry(len(self.log) + 1, number, source, time_s, 0))
        self.flags |= 1


class Near:
    """The bridge of a gateway, connected."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.settings = DeviceSettings("xcom", 2.0, url, {"timeout": 0.4, **options})
        self.bridge = Studer(self.settings)
        self.link = Studer.open_link(url, [self.bridge])

    def poll(self, group: str = "fast") -> Mapping[str, Values]:
        """Ask one group; give the values by the part."""
        return self.bridge.poll(self.link, group).values

    def events(self) -> Sequence[Event]:
        """Give what has been logged."""
        return self.bridge.events()


@contextmanager
def connected(far: Far, *, pty: bool = False, **options: Any) -> Iterator[Near]:
    """Serve an installation, and connect its bridge."""
    with serve_pty(far, baud=38400) if pty else serve_tcp(far) as service:
        near = Near(service.url, options)
        try:
            yield near
        finally:
            near.link.close()
