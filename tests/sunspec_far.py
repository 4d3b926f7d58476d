"""A SunSpec device of a test's own at the far end of a TCP connection, and its bridge."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bridges.sunspec import SunSpec, models
from bridges.sunspec.codec import Value, encode
from heliobus.bridge import Identity
from heliobus.line import Faults
from heliobus.modbus import HOLDING
from heliobus.modbus_slave import Slave
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from heliobus.simulation import serve_tcp

SUNS = (0x5375, 0x6E53)
END = (0xFFFF, 0)
UNIT = 1
_ILLEGAL_FUNCTION = 1


def block(number: int, values: Mapping[str, Value], *, length: int | None = None) -> list[int]:
    """Give the registers of a model; what has no value is not implemented."""
    model = models.find(number)
    if model is None:
        raise ValueError(f"model {number} is not known")
    return list(encode(model, values, length=length))


def common(
    maker: str = "Acme", model: str = "One", serial: str = "A1", option: str = ""
) -> list[int]:
    """Give a common model."""
    said: dict[str, Value] = {
        "Mn": maker,
        "Md": model,
        "Opt": option,
        "Vr": "1.2",
        "SN": serial,
        "DA": 1,
    }
    return block(1, {name: value for name, value in said.items() if value})


class Far:
    """The registers of one device. `asked`: function, start and count of each request."""

    def __init__(self, *blocks: Sequence[int], base: int = 40000, most: int = 125) -> None:
        self.base = base
        self.most = most
        self.put(*blocks)
        self.refused: dict[int, int] = {}  # exception by the address that a request holds
        self.silent = False
        self.asked: list[tuple[int, int, int]] = []
        self.polls = 0

    def put(self, *blocks: Sequence[int]) -> None:
        """Have these registers from the base on."""
        self.words = [word for one in (SUNS, *blocks) for word in one]

    def answer(self, pdu: bytes, faults: Faults) -> bytes:  # noqa: ARG002
        """Answer one request."""
        function, start, count = pdu[0], int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        self.asked.append((function, start, count))
        if self.silent:
            return b""
        if function != HOLDING:
            return bytes([function | 0x80, _ILLEGAL_FUNCTION])
        codes = (code for at, code in self.refused.items() if start <= at < start + count)
        code = next(codes, 0) or self._code(start, count)
        if code:
            return bytes([function | 0x80, code])
        at = start - self.base
        words = self.words[at : at + count]
        return bytes([function, 2 * count]) + b"".join(word.to_bytes(2) for word in words)

    def _code(self, start: int, count: int) -> int:
        if count > self.most:
            return 3
        inside = self.base <= start and start + count <= self.base + len(self.words)
        return 0 if inside else 2

    def answered(self, pdu: bytes) -> None:
        """Count nothing."""


class Near:
    """The bridge of a device, connected."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.settings = DeviceSettings("dev", 10.0, url, {"timeout": 0.4, **options})
        self.bridge = SunSpec(self.settings)
        self.master = SunSpec.open_link(url, [self.bridge])

    def poll(self, group: str = "fast") -> Mapping[str, Values]:
        """Ask one group; give the values by the part."""
        return self.bridge.poll(self.master, group).values

    @property
    def kinds(self) -> Mapping[str, str]:
        """Give the kinds of the device and its parts."""
        parts = {name: part.kind for name, part in self.bridge.parts.items()}
        return {"": self.bridge.kind, **parts}

    def identity(self, part: str) -> Identity:
        """Give what a part has said of itself."""
        return self.bridge.parts[part].identity


@contextmanager
def connected(far: Far, **options: Any) -> Iterator[Near]:
    """Serve a device, and connect its bridge."""
    slave = Slave({"far": (UNIT, far)}, mbap=True)
    with serve_tcp(slave) as service:
        near = Near(service.url, options)
        try:
            yield near
        finally:
            near.master.close()
    if slave.writes:
        raise AssertionError(f"{slave.writes} requests would have written")
