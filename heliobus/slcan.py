r"""slcan: CAN frames as text on a serial port, as adapters with the Lawicel protocol write them.

    t3558AABBCCDDEEFF0011\r        t: 11 bits, then identifier, count and bytes of data

`T` has 29 bits, `r` and `R` ask for data, `d D b B` are CAN FD. After `Z1` four digits of time
follow the data. A command is answered by CR, or by BEL where it is refused. Source: CAN232 manual
of Lawicel, V3; python-can's `slcan.py`.
"""

import re
from collections.abc import Iterator
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

EXTENDED: Final = 1 << 31  # added to an identifier of 29 bits, as in SocketCAN
MOST_BYTES: Final = 8
USUAL_BAUD: Final = 115200
CLOSE: Final = b"C\r"

# The longest line: a frame of CAN FD with 64 bytes, 8 digits of identifier, and a time.
_LONGEST_LINE: Final = 160
_BITRATES: Final = MappingProxyType(
    {
        10_000: b"S0",
        20_000: b"S1",
        50_000: b"S2",
        100_000: b"S3",
        125_000: b"S4",
        250_000: b"S5",
        500_000: b"S6",
        750_000: b"S7",
        1_000_000: b"S8",
        83_300: b"S9",
    }
)
_DATA = re.compile(rb"t([0-7][0-9A-Fa-f]{2})([0-8])((?:[0-9A-Fa-f]{2})*)")
_EXTENDED = re.compile(rb"[Tx]([01][0-9A-Fa-f]{7})([0-8])((?:[0-9A-Fa-f]{2})*)")
_REMOTE = re.compile(rb"(?:r[0-7][0-9A-Fa-f]{2}|R[01][0-9A-Fa-f]{7})[0-8](?:[0-9A-Fa-f]{4})?")
_FD = re.compile(rb"(?:[db][0-7][0-9A-Fa-f]{2}|[DB][01][0-9A-Fa-f]{7})[0-9A-Fa-f]+")
# What an adapter says of itself or of a command.
_SAID = re.compile(rb"[zZ]?|[VvNF][0-9A-Za-z]{0,16}")
_TIME_BYTES = 2


class Sort(Enum):
    """What was heard on a bus."""

    DATA = "data"
    REMOTE = "remote"
    FD = "fd"
    ERROR = "error"
    MALFORMED = "malformed"


class Heard(NamedTuple):
    """One frame as it came. Only of `DATA` and `ERROR` there is more than the sort."""

    sort: Sort
    id: int = 0
    data: bytes = b""


def opening(bitrate: int, *, listen_only: bool) -> bytes:
    """Give the commands that open the bus: all that is ever sent to an adapter but `CLOSE`."""
    return CLOSE + _BITRATES[bitrate] + b"\r" + (b"L\r" if listen_only else b"O\r")


def encode(identifier: int, data: bytes) -> bytes:
    """Write a frame as an adapter does."""
    wide = identifier & EXTENDED
    head = f"T{identifier & ~EXTENDED:08X}" if wide else f"t{identifier:03X}"
    return f"{head}{len(data)}{data.hex().upper()}\r".encode()


class Lines:
    """Takes bytes as they come, whole lines or parts, and gives the frames in them.

    What cannot be read costs its own line: the next CR or BEL begins a new one.
    """

    def __init__(self) -> None:
        self._got = b""
        self._skips = False  # the rest of a line that is too long

    def take(self, data: bytes) -> Iterator[Heard]:
        """Give what has become whole."""
        *lines, rest = (self._got + data).replace(b"\a", b"\r").split(b"\r")
        self._got = rest
        for line in lines:
            skips, self._skips = self._skips, False
            if not skips and (heard := _read(line)) is not None:
                yield heard
        if len(self._got) > _LONGEST_LINE:
            self._got = b""
            if not self._skips:
                self._skips = True
                yield Heard(Sort.MALFORMED)


def _read(line: bytes) -> Heard | None:
    """Read one line; None for what is no frame and need not be one."""
    line = line.strip(b"\n")
    for pattern, wide in ((_DATA, 0), (_EXTENDED, EXTENDED)):
        if match := pattern.fullmatch(line):
            identifier, count, data = match.groups()
            payload = bytes.fromhex(data.decode())
            if len(payload) - int(count) in (0, _TIME_BYTES):
                return Heard(Sort.DATA, int(identifier, 16) | wide, payload[: int(count)])
    if _REMOTE.fullmatch(line):
        return Heard(Sort.REMOTE)
    if _FD.fullmatch(line):
        return Heard(Sort.FD)
    return None if _SAID.fullmatch(line) else Heard(Sort.MALFORMED)
