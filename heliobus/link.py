"""Link: the one place that blocks on hardware. Bytes, timeouts and errors; no protocol.

    link = open_link("serial:///dev/ttyUSB0?baud=2400")
    answer = ask(link, request, take, timeout_s=3.0)

A port has one owner: a serial port or hidraw device that another process holds is refused.
A LinkError begins with the name of the link; a FrameError does not, as a codec cannot know it.
"""

import fcntl
import io
import os
import select
import socket
import stat
import termios
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from heliobus import ports
from heliobus.address import Address, parse
from heliobus.errors import LinkError
from heliobus.exchange import Echo, Silence, ask

if TYPE_CHECKING:  # it costs 20 ms: imported when a serial port is opened, not before
    from serial import rfc2217

__all__ = ["Echo", "Link", "Silence", "ask", "check_url", "open_link", "over"]

T = TypeVar("T")
A = TypeVar("A")

_CONNECT_S = 5.0
_WRITE_S = 5.0
_READ_BYTES = 4096
_DRAIN_BYTES = 65536
# Waking for each byte of a slow line costs more than decoding it: after the first byte wait
# for about 8 more (10 bits each), but never so long that the end of a frame is felt to be late.
_GATHER_BITS = 80
_GATHER_S = 0.03
# A serial server may send every byte in a packet of its own; a TCP device sends whole frames.
_SOCKET_GATHER_S = 0.01
# 8-byte reports, 50 ms before each that we send: what mpp-solar and powermon found to work.
_REPORT_BYTES = 8
_REPORT_PAUSE_S = 0.05
# pyserial's RFC 2217 port has no file to wait on: this is how soon a close is noticed.
_SLICE_S = 0.05
# A host that vanishes without a word is noticed after 60 s of idling, 20 s after a request.
_SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


class Link:
    """One open way to hardware. One thread uses it; any thread may close it.

    `name` is short text for messages: /dev/ttyUSB0 or 127.0.0.1:502. `tap` is called with "tx"
    or "rx" and the bytes. Subclasses give `_send`, `_receive`, `_interrupt` and `_release`.
    """

    _lost = "connection lost"

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self.tap: Callable[[str, bytes], None] | None = None
        self._closed = False
        # Files are closed only when no thread uses them: their numbers are given out again.
        self._using = threading.RLock()
        self._closing = threading.RLock()

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raise LinkError."""
        self._guard(self._send, data)
        if self.tap is not None:
            self.tap("tx", data)

    def read(self, timeout_s: float) -> bytes:
        """Give what has arrived, b"" when nothing came in `timeout_s`. Raise LinkError."""
        data = self._guard(self._receive, max(timeout_s, 0.0))
        if data and self.tap is not None:
            self.tap("rx", data)
        return data

    def drain(self) -> bytes:
        """Throw away and return what has already arrived, without waiting. Raise LinkError."""
        data = b""
        while len(data) < _DRAIN_BYTES and (more := self.read(0.0)):
            data += more
        return data

    def close(self) -> None:
        """Close. A read that waits in another thread ends at once with LinkError."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._interrupt()
            with self._using:
                self._release()

    def _guard(self, action: Callable[[A], T], argument: A) -> T:
        with self._using:
            self._check_open()
            try:
                return action(argument)
            except OSError as error:
                reason = error.strerror or error
                raise LinkError(f"{self.name}: {self._lost} ({reason})") from error

    def _check_open(self) -> None:
        if self._closed:
            raise LinkError(f"{self.name}: closed")

    def _send(self, data: bytes) -> None:
        raise NotImplementedError

    def _receive(self, timeout_s: float) -> bytes:
        """Wait for bytes; when `timeout_s` is 0, give only what is there."""
        raise NotImplementedError

    def _interrupt(self) -> None:
        """End a `_send` or `_receive` that waits in another thread."""

    def _release(self) -> None:
        raise NotImplementedError


class _File(Protocol):
    def fileno(self) -> int: ...

    def close(self) -> None: ...


class _FileLink(Link):
    """A link over a file of the kernel, open and not blocking; it is closed with the link."""

    def __init__(self, address: Address, file: _File, gather_s: float) -> None:
        super().__init__(address.url, address.name)
        self._file = file
        self._number = file.fileno()
        self._gather_ms = gather_s * 1000
        self._wake, self._waker = os.pipe()
        self._bytes_or_wake = select.poll()
        self._bytes_or_wake.register(self._number, select.POLLIN)
        self._bytes_or_wake.register(self._wake, select.POLLIN)
        self._only_wake = select.poll()
        self._only_wake.register(self._wake, select.POLLIN)

    def _send(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._number, data) :]
            except BlockingIOError:
                self._wait_for_room()

    def _wait_for_room(self) -> None:
        room_or_wake = select.poll()
        room_or_wake.register(self._number, select.POLLOUT)
        room_or_wake.register(self._wake, select.POLLIN)
        if not room_or_wake.poll(_WRITE_S * 1000):
            raise LinkError(f"{self.name}: takes no bytes for {_WRITE_S:g} s; check that it is on")
        self._check_open()

    def _receive(self, timeout_s: float) -> bytes:
        if not self._bytes_or_wake.poll(timeout_s * 1000):
            return b""
        self._check_open()
        if timeout_s and self._gather_ms:
            self._pause(self._gather_ms)
        data = self._read_file()
        if not data:
            raise LinkError(f"{self.name}: {self._lost}")
        return data

    def _read_file(self) -> bytes:
        return os.read(self._number, _READ_BYTES)

    def _pause(self, pause_ms: float) -> None:
        if self._only_wake.poll(pause_ms):
            self._check_open()

    def _interrupt(self) -> None:
        os.write(self._waker, b"\0")

    def _release(self) -> None:
        os.close(self._wake)
        os.close(self._waker)
        with suppress(OSError):  # a device that is gone may refuse even this
            self._file.close()


class _DeviceLink(_FileLink):
    _lost = "device lost"


class _HidrawLink(_DeviceLink):
    """A USB inverter without a serial port of its own: reports instead of a stream."""

    def _send(self, data: bytes) -> None:
        for start in range(0, len(data), _REPORT_BYTES):
            chunk = data[start : start + _REPORT_BYTES].ljust(_REPORT_BYTES, b"\0")
            self._pause(_REPORT_PAUSE_S * 1000)
            # The kernel takes a leading 0 for the number of the report, and does not send it.
            super()._send(b"\0" + chunk if chunk[0] == 0 else chunk)

    def _read_file(self) -> bytes:
        reports = b""
        with suppress(BlockingIOError):  # nothing more yet
            while len(reports) < _READ_BYTES and (report := os.read(self._number, 64)):
                reports += report
        return reports


class _Rfc2217Link(Link):
    """A serial port of another host; pyserial sets its baud rate and parity there."""

    def __init__(self, address: Address, port: "rfc2217.Serial") -> None:
        super().__init__(address.url, address.name)
        self._port = port

    def _send(self, data: bytes) -> None:
        self._port.write(data)

    def _receive(self, timeout_s: float) -> bytes:
        if not timeout_s:
            return self._port.read(self._port.in_waiting)
        deadline = time.monotonic() + timeout_s
        while not (first := self._port.read(1)):  # waits for one slice
            self._check_open()
            if time.monotonic() >= deadline:
                return b""
        time.sleep(_GATHER_S)
        return first + self._port.read(self._port.in_waiting)

    def _release(self) -> None:
        self._port.close()


def check_url(url: str) -> None:
    """Judge `url` without opening it. Raise ConfigError."""
    parse(url)


def open_link(url: str, *, line: Mapping[str, str] = MappingProxyType({})) -> Link:
    """Open the way that `url` names; `line` has what counts where a serial URL does not say it.

    Raise LinkError when it cannot be opened now, ConfigError when the URL is malformed.
    """
    address = parse(url, line)
    if address.scheme not in _OPENERS:
        raise LinkError(f"{address.name}: '{url}' carries CAN frames, expected a link for bytes")
    return _OPENERS[address.scheme](address)


def _open_serial(address: Address) -> Link:
    import serial

    line = _line(address)
    pty = _refuse_held(address)
    if pty:  # it has no parity, and the C library refuses one from the second opening on
        line["parity"] = "N"
    try:
        port = serial.Serial(address.path, exclusive=True, timeout=0, **line)
        if not pty:
            # The lock stops only those that ask for it; this stops all but root. On a PTY it
            # would outlive us, as its maker holds it open.
            fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
    except (OSError, ValueError, termios.error) as error:
        raise LinkError(f"{address.name}: {ports.port_fault(address.path, error)}") from error
    return _DeviceLink(address, port, min(_GATHER_S, _GATHER_BITS / line["baudrate"]))


def _line(address: Address) -> dict[str, Any]:
    options = address.options
    return {
        "baudrate": int(options.get("baud", 2400)),
        "parity": options.get("parity", "N"),
        "bytesize": int(options.get("bytesize", 8)),
        "stopbits": float(options.get("stopbits", 1)),
    }


def _open_hidraw(address: Address) -> Link:
    _refuse_held(address)
    try:
        if not stat.S_ISCHR(os.stat(address.path).st_mode):
            raise LinkError(f"{address.name}: a file, expected a device like /dev/hidraw0")
        file = io.FileIO(address.path, "r+", opener=_open_locked)
    except OSError as error:
        raise LinkError(f"{address.name}: {ports.port_fault(address.path, error)}") from error
    return _HidrawLink(address, file, _GATHER_S)


def _open_locked(path: str, flags: int) -> int:
    # Nothing of termios here: every such call fails on hidraw with EINVAL.
    number = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        raise
    return number


def _open_socket(address: Address) -> Link:
    # pyserial's own socket:// would add a pause of 0.3 s when it is closed, and nothing else.
    return _connect(address, _SOCKET_GATHER_S)


def _open_tcp(address: Address) -> Link:
    return _connect(address, 0.0)


def _connect(address: Address, gather_s: float) -> Link:
    try:
        connection = socket.create_connection((address.host, address.port), timeout=_CONNECT_S)
    except (OSError, UnicodeError) as error:
        raise LinkError(f"{address.name}: {ports.host_fault(error)}") from error
    return over(connection, address, gather_s)


def over(connection: socket.socket, address: Address, gather_s: float = _SOCKET_GATHER_S) -> Link:
    """Give the link over a connection, which is closed with it."""
    connection.settimeout(0.0)  # do not block
    for level, option, value in _SOCKET_OPTIONS:
        connection.setsockopt(level, option, value)
    return _FileLink(address, connection, gather_s)


def _open_listen(address: Address) -> Link:
    from heliobus.dialled import open_dialled  # few have one, and it is made of links

    return open_dialled(address)


def _open_rfc2217(address: Address) -> Link:
    from serial import rfc2217

    url = f"rfc2217://{address.name}"
    try:
        port = rfc2217.Serial(url, timeout=_SLICE_S, **_line(address))
    except (OSError, ValueError) as error:
        # pyserial wraps what the socket said into text.
        fault = ports.host_fault(error.__context__ or error)
        raise LinkError(f"{address.name}: {fault}") from error
    return _Rfc2217Link(address, port)


def _refuse_held(address: Address) -> bool:
    """Raise LinkError when another process has the port open, locked or not. Tell if a PTY."""
    pty = ports.is_pty(address.path)
    if not pty and ports.holders(address.path):
        raise LinkError(f"{address.name}: {ports.held(address.path)}")
    return pty


_OPENERS: Mapping[str, Callable[[Address], Link]] = MappingProxyType(
    {
        "hidraw": _open_hidraw,
        "listen": _open_listen,
        "rfc2217": _open_rfc2217,
        "serial": _open_serial,
        "socket": _open_socket,
        "tcp": _open_tcp,
    }
)
