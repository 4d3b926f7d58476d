"""The far end of a CAN bus for tests: an adapter on a pseudo-terminal, and what hears a poller."""

import os
import pty
import select
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from bridges.can import Can
from heliobus.polled import Member, Polled, Presence
from heliobus.poller import Poller, stop_all
from heliobus.sample import Values
from heliobus.settings import DeviceSettings

# Six frames of one burst of a US5000, as an adapter writes them.
BURST = (
    b"t3518140274 0E740ECC01\r"
    b"t355863006300 0000 0000\r"
    b"t3568 4E130200 4A010000\r"
    b"t3597 00000000 02504E\r"
    b"t35C2C000\r"
    b"t35E850594C4F4E202020\r"
).replace(b" ", b"")
VALUES: Values = {
    "charge_limit_v": 53.2,
    "charge_limit_a": 370.0,
    "discharge_limit_a": 370.0,
    "discharge_limit_v": 46.0,
    "soc_percent": 99,
    "soh_percent": 99,
    "battery_v": 49.42,
    "battery_a": 0.2,
    "battery_c": 33.0,
    "battery_w": 9.884,
    "protection_code": 0,
    "protection_warning_code": 0,
    "alarms": [],
    "modules_count": 2,
    "charge_enabled": True,
    "discharge_enabled": True,
    "charge_requested": False,
    "full_charge_requested": False,
    "request_code": 192,
}


class Adapter:
    """A pseudo-terminal of which the test is the adapter, by a name of its own if wanted."""

    def __init__(self, path: Path | None = None) -> None:
        self.served, used = pty.openpty()
        tty.setraw(used)
        self._used = used
        self._path = path
        if path is not None:
            path.symlink_to(os.ttyname(used))
        self.path = str(path or os.ttyname(used))
        self.url = f"can:slcan/{self.path}?bitrate=500000"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pull()

    def say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.served, data) :]

    def heard(self, count: int) -> bytes:
        """Give so many bytes of what was written to the adapter, fewer where no more came."""
        data = b""
        while len(data) < count and select.select([self.served], [], [], 10)[0]:
            data += os.read(self.served, 4096)
        return data

    def hears_nothing(self, seconds: float = 0.3) -> bool:
        return not select.select([self.served], [], [], seconds)[0]

    def pull(self) -> None:
        """Pull it out. Safe to call twice."""
        if self.served >= 0:
            os.close(self.served)
            os.close(self._used)
            self.served = -1
            if self._path is not None:
                self._path.unlink()


def bridge(link: str = "", name: str = "bms", every_s: float = 0.2, **options: Any) -> Can:
    return Can(DeviceSettings(name, every_s, link, options))


class Loop:
    """A poller of bridges on one link, and what it told."""

    def __init__(self, url: str, *bridges: Can, every_s: float = 0.2) -> None:
        self.samples: SimpleQueue[tuple[str, Values, float]] = SimpleQueue()
        self.changes: SimpleQueue[tuple[str, Presence | None]] = SimpleQueue()
        self.devices = [Polled(DeviceSettings(one.name, every_s, url), one) for one in bridges]
        for device in self.devices:
            device.allowed = True
        self.poller = Poller(
            url,
            self.devices,
            on_sample=self._sample,
            on_change=self._change,
            on_event=lambda *_: None,
        )
        self.poller.start()

    def _sample(self, member: Member, values: Values, measured_s: float) -> None:
        self.samples.put((member.name, values, measured_s))

    def _change(self, member: Member) -> None:
        self.changes.put((member.name, member.presence))


@contextmanager
def looping(
    url: str, *bridges: Can, make: Callable[..., Loop] = Loop, every_s: float = 0.2
) -> Iterator[Loop]:
    loop = make(url, *bridges, every_s=every_s)
    try:
        yield loop
    finally:
        stop_all([loop.poller])


def lines(*frames: tuple[int, str]) -> bytes:
    """Write frames as an adapter does, by the document."""
    whole = (f"t{each:03X}{len(data) // 2}{data}\r" for each, data in frames)
    return "".join(whole).encode()


__all__: Sequence[str] = ("BURST", "VALUES", "Adapter", "Loop", "bridge", "lines", "looping")
