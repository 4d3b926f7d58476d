"""Simulation: serve a simulated device on a pseudo-terminal or a TCP port, with faults on demand.

    with serve_pty(Simulator(), baud=2400, faults=Faults.parse("silence=0.05,late=0.01")) as served:
        link = open_link(served.url)

A simulated device is a codec's other side: bytes in, bytes out, no clock and no socket. The line
between gives every byte the time it takes on a real wire, both ways.
"""

import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from heliobus.errors import ConfigError, LinkError
from heliobus.line import Counting, Faults, Line, Placed, Shared, Simulated

__all__ = [
    "Counting",
    "Faults",
    "Service",
    "Shared",
    "Simulated",
    "listen",
    "serve_hidraw",
    "serve_pty",
    "serve_tcp",
]

_READ_BYTES = 4096
_REPORT_BYTES = 8


class Service:
    """A simulated device that a thread serves until `stop`; a context manager.

    `url` is what `open_link` takes. Subclasses give `_arrived`, `_send` and `_release`.
    """

    def __init__(self, url: str, line: Line) -> None:
        self.url = url
        self._line = line
        self._stopping = False
        self._wake, self._waker = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name=f"serve {url}", daemon=True)

    @property
    def answered(self) -> int:
        """Count the answers that went out whole and unharmed, and were fetched."""
        return self._line.answered

    @property
    def harmed(self) -> int:
        """Count the answers that did not: a fault struck, or nobody fetched them."""
        return self._line.harmed

    def start(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End, when the answer under way has been judged. Safe to call twice."""
        if self._stopping:
            return
        self._stopping = True
        os.write(self._waker, b"\0")
        self._thread.join()
        os.close(self._wake)
        os.close(self._waker)
        self._release()

    def __enter__(self) -> Self:
        """Give the service, which is already running."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _run(self) -> None:
        while not self._stopping:
            wait_s = self._wait_s(time.monotonic())
            for number, _ in self._poll.poll(None if wait_s is None else wait_s * 1000):
                self._arrived(number)
            self._work()
        self._end()

    def _wait_s(self, now_s: float) -> float | None:
        """Tell when `_work` has something to do again; None: not before bytes come."""
        return self._line.wait_s(now_s)

    def _work(self) -> None:
        """Hand over what is due."""
        data = self._line.due(time.monotonic())
        if data and not self._send(data):
            self._line.spoil()

    def _end(self) -> None:
        """Judge what is under way: we go."""
        self._line.close()

    def _arrived(self, number: int) -> None:
        """Take in what can be read from the file `number`."""
        raise NotImplementedError

    def _send(self, data: bytes) -> bool:
        """Send, and tell whether all of it went out."""
        raise NotImplementedError

    def _release(self) -> None:
        raise NotImplementedError


class _Pty:
    """A raw pseudo-terminal, by a second name if wanted.

    We hold the user's end open too: without it the end that we serve fails with EIO whenever
    nobody has the port open.
    """

    def __init__(self, link_path: Path | None) -> None:
        self.served, self.used = os.openpty()
        tty.setraw(self.used)
        os.set_blocking(self.served, False)
        self.path = os.ttyname(self.used)
        self._link = link_path
        if link_path is not None:
            self._point(link_path)
            self.path = str(link_path)

    def _point(self, link: Path) -> None:
        target = os.ttyname(self.used)
        if link.exists() and not link.is_symlink():
            self.close()
            raise ConfigError(f"{link}: is a file, expected a free name for a link to {target}")
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        except OSError as error:
            self._link = None
            self.close()
            raise ConfigError(f"{link}: no link can be made here ({error.strerror})") from error

    def unread(self) -> int:
        """Count the bytes that were sent and that nobody has read."""
        packed = fcntl.ioctl(self.used, termios.FIONREAD, b"\0\0\0\0")
        return int(struct.unpack("i", packed)[0])

    def close(self) -> None:
        if self._link is not None and self._link.is_symlink():
            self._link.unlink()
        os.close(self.served)
        os.close(self.used)


class _PtyService(Service):
    def __init__(self, url: str, line: Line, pty: _Pty) -> None:
        super().__init__(url, line)
        self._pty = pty
        self._poll.register(pty.served, select.POLLIN)

    def _arrived(self, number: int) -> None:
        if number == self._pty.served:
            self._line.receive(time.monotonic(), os.read(number, _READ_BYTES))

    def _send(self, data: bytes) -> bool:
        try:
            return os.write(self._pty.served, data) == len(data)
        except BlockingIOError:  # 4 kB lie there and nobody reads them
            return False

    def _release(self) -> None:
        self._pty.close()


class _HidrawService(_PtyService):
    """Reports of 8 bytes each way, as a USB inverter sends them over hidraw."""

    _rest = b""
    _report = bytes(_REPORT_BYTES)

    def _arrived(self, number: int) -> None:
        if number != self._pty.served:
            return
        data = os.read(number, _READ_BYTES)
        if len(data) % _REPORT_BYTES == 1 and data[0] == 0:
            data = data[1:]  # the number of the report, which a kernel would not send
        self._line.receive(time.monotonic(), data)

    def _send(self, data: bytes) -> bool:
        self._rest += data
        sent = True
        while len(self._rest) >= _REPORT_BYTES or (self._rest and self._line.idle):
            # Devices leave in the last report what stood there in the one before.
            self._report = self._rest[:_REPORT_BYTES] + self._report[len(self._rest) :]
            self._rest = self._rest[_REPORT_BYTES:]
            sent = sent and super()._send(self._report)
        return sent


class ConnectedService(Service):
    """TCP connections, each with its line. Subclasses say in `_arrived` how they come about."""

    def __init__(self, url: str, line: Line) -> None:
        super().__init__(url, line)
        self._connections: dict[int, tuple[socket.socket, Line]] = {}

    def _new_line(self) -> Line:
        """Give the line of a new connection: here all have the one, one after the other."""
        return self._line

    def _wait_s(self, now_s: float) -> float | None:
        waits_s = [line.wait_s(now_s) for _, line in self._connections.values()]
        return min((wait_s for wait_s in waits_s if wait_s is not None), default=None)

    def _work(self) -> None:
        for number, (connection, line) in list(self._connections.items()):
            data = line.due(time.monotonic())
            if data and not self._sent(connection, data):
                line.spoil()
            if line.ending:
                self._hang_up(number)

    def _end(self) -> None:
        for number in list(self._connections):
            self._hang_up(number)

    def _connect(self, connection: socket.socket) -> None:
        """Serve a connection."""
        connection.settimeout(0.0)  # do not block
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(connection, select.POLLIN)
        self._connections[connection.fileno()] = connection, self._new_line()

    def _arrived(self, number: int) -> None:
        if number not in self._connections:
            return
        connection, line = self._connections[number]
        try:
            data = connection.recv(_READ_BYTES)
        except BlockingIOError:  # the event was for the one before, which had the same number
            return
        except OSError:  # reset by the other side
            data = b""
        if data:
            line.receive(time.monotonic(), data)
        else:
            self._hang_up(number)

    @staticmethod
    def _sent(connection: socket.socket, data: bytes) -> bool:
        try:
            return connection.send(data) == len(data)
        except OSError:  # it has gone, or does not read
            return False

    def _hang_up(self, number: int) -> None:
        connection, line = self._connections.pop(number)
        self._poll.unregister(connection)
        connection.close()
        line.close()


class _TcpService(ConnectedService):
    """One connection at a time; a new one takes over, as with most serial servers."""

    _most = 1

    def __init__(self, url: str, line: Line, listener: socket.socket) -> None:
        super().__init__(url, line)
        self._listener = listener
        self._poll.register(listener, select.POLLIN)

    def _arrived(self, number: int) -> None:
        if number != self._listener.fileno():
            super()._arrived(number)
            return
        while len(self._connections) >= self._most:
            self._hang_up(next(iter(self._connections)))
        with suppress(OSError):  # it has gone again
            self._connect(self._listener.accept()[0])

    def _release(self) -> None:
        self._listener.close()


class _SharedTcpService(_TcpService):
    """Several connections at once, each with a line of its own."""

    _most = 16

    def __init__(self, url: str, new_line: Callable[[], Line], listener: socket.socket) -> None:
        super().__init__(url, new_line(), listener)
        self._make_line = new_line
        self._gone = [0, 0]

    @property
    def answered(self) -> int:
        """Count over all connections."""
        return self._gone[0] + sum(line.answered for _, line in [*self._connections.values()])

    @property
    def harmed(self) -> int:
        """Count over all connections."""
        return self._gone[1] + sum(line.harmed for _, line in [*self._connections.values()])

    def _new_line(self) -> Line:
        return self._make_line()

    def _hang_up(self, number: int) -> None:
        line = self._connections[number][1]
        super()._hang_up(number)
        self._gone = [self._gone[0] + line.answered, self._gone[1] + line.harmed]


def serve_pty(
    simulated: Simulated,
    *,
    baud: int,
    faults: Faults | None = None,
    link_path: Path | None = None,
) -> Service:
    """Serve on a pseudo-terminal, which may get the name `link_path` too. Raise ConfigError."""
    pty = _Pty(link_path)
    line = Line(simulated, baud=baud, faults=faults or Faults(), unread=pty.unread)
    url = f"serial://{pty.path}?baud={baud}"
    if isinstance(simulated, Placed):
        url = simulated.link_to(pty.path)
    return _PtyService(url, line, pty).start()


def serve_hidraw(
    simulated: Simulated,
    *,
    baud: int = 2400,
    faults: Faults | None = None,
    link_path: Path | None = None,
) -> Service:
    """Serve on a pseudo-terminal that behaves like a hidraw device. Raise ConfigError."""
    pty = _Pty(link_path)
    line = Line(simulated, baud=baud, faults=faults or Faults(), unread=pty.unread)
    return _HidrawService(f"hidraw://{pty.path}", line, pty).start()


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Listen on a TCP port, 0 for any free one. Raise LinkError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason, _, _ = (error.strerror or str(error)).partition(" (while")
        raise LinkError(f"{host}:{port}: cannot listen there ({reason})") from error


def serve_tcp(
    simulated: Simulated | Shared,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    baud: int | None = None,
    faults: Faults | None = None,
    listener: socket.socket | None = None,
) -> Service:
    """Serve on a TCP port, 0 for any free one, or by a `listener`. Raise LinkError."""
    listener = listener or listen(host, port)
    listener.settimeout(0.0)
    place = f"[{host}]" if ":" in host else host
    url = f"tcp://{place}:{listener.getsockname()[1]}"
    faults = faults or Faults()

    def line_to(device: Simulated, *, closes: bool = False) -> Line:
        return Line(device, baud=baud, faults=faults, unread=lambda: 0, closes=closes)

    if isinstance(simulated, Shared):
        shared = simulated
        return _SharedTcpService(
            url, lambda: line_to(shared.connect(), closes=shared.closes), listener
        ).start()
    return _TcpService(url, line_to(simulated), listener).start()
