"""What asks for registers: one interface, whatever is between.

`rtu.py` speaks it over a serial line (also one behind a TCP server), `modbus_tcp.py` over Modbus
TCP. `open_master` chooses by the link: `tcp://` is Modbus TCP, all others carry RTU frames.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from heliobus.address import parse
from heliobus.modbus import Read


@dataclass(frozen=True, slots=True)
class Manner:
    """How one device wants to be asked.

    `timeout_s` is what an answer has to begin. `pause_s` is the least silence on the line before a
    request. `keep` False: each request over TCP has a connection of its own.
    """

    timeout_s: float = 1.0
    pause_s: float = 0.0
    keep: bool = True


class Master(Protocol):
    """The way to the devices of one line or gateway. One thread uses it; any may close it."""

    url: str
    name: str
    tap: Callable[[str, bytes], None] | None

    def read(self, read: Read, manner: Manner) -> tuple[int, ...]:
        """Give the registers.

        Raise Silence (no answer), Refused (an exception), FrameError, LinkError.
        """
        ...

    def identify(self, unit: int, manner: Manner) -> Mapping[int, str]:
        """Give the objects of basic device identification (function 0x2B/0x0E). Raise as `read`."""
        ...

    def release(self) -> None:
        """Let go of a TCP connection until the next request, so that others can connect."""
        ...

    def close(self) -> None:
        """Close; safe to call twice."""
        ...


def open_master(url: str, *, line: Mapping[str, str] = MappingProxyType({})) -> Master:
    """Give the master of a link; nothing is opened before the first request.

    `line` has what a serial URL does not say itself, like {"baud": "9600", "parity": "N"}.
    Raise ConfigError when the URL is malformed.
    """
    address = parse(url, line)
    if address.scheme == "tcp":  # pymodbus costs 5 MB: not for a serial line
        from heliobus.modbus_tcp import ModbusTcp

        return ModbusTcp(address)
    from heliobus.rtu import DialledRtu, Rtu

    return (DialledRtu if address.scheme == "listen" else Rtu)(address, line)
