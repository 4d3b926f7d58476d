"""The far end of Modbus as bytes: a line or a TCP server that does what a test says.

far = far_pty(lambda request: [ANSWER])
with master_of(far) as master:
    master.read(...)
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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Self, TypeAlias

from heliobus.master import Manner, Master, open_master
from heliobus.modbus import Read
from tests.helpers import wait_until

CLOSE = None  # hang up instead of the next piece
Reply: TypeAlias = Callable[[bytes], Iterable[bytes | None]]


class Far:
    """Calls `reply` with each chunk that comes, and sends its pieces, each read on its own.

    `asked` has the chunks, `connections` counts.
    """

    def __init__(self, reply: Reply) -> None:
        self.url = ""
        self.asked: list[bytes] = []
        self.connections = 0
        self._reply = reply
        self._stop, self._stopper = os.pipe()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Say something unasked."""
        raise NotImplementedError

    def _serve(self, number: int) -> None:
        """Answer what comes from one file until it ends, or we do."""
        while self._stop not in select.select([number, self._stop], [], [])[0]:
            try:
                request = os.read(number, 4096)
            except OSError:
                return
            if not request:
                return
            self.asked.append(request)
            for piece in self._reply(request):
                if piece is CLOSE:
                    return
                self.send(piece)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        os.write(self._stopper, b"\0")
        self._thread.join()
        os.close(self._stop)
        os.close(self._stopper)


class _FarPty(Far):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._served, self._used = os.openpty()
        tty.setraw(self._used)
        self.url = f"serial://{os.ttyname(self._used)}?baud=115200"

    def _run(self) -> None:
        self._serve(self._served)

    def send(self, data: bytes) -> None:
        os.write(self._served, data)
        end_s = time.monotonic() + 1
        while self._unread() and time.monotonic() < end_s and not self._stopped.wait(0.0005):
            pass

    def _unread(self) -> int:
        packed = fcntl.ioctl(self._used, termios.FIONREAD, b"\0\0\0\0")
        return int(struct.unpack("i", packed)[0])

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        os.close(self._served)
        os.close(self._used)


class _FarTcp(Far):
    def __init__(self, reply: Reply, scheme: str, host: str, port: int) -> None:
        super().__init__(reply)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        place = f"[{host}]" if ":" in host else host
        self.url = f"{scheme}://{place}:{self._listener.getsockname()[1]}"
        self._connection: socket.socket | None = None

    def _run(self) -> None:
        listener = self._listener.fileno()
        while self._stop not in select.select([listener, self._stop], [], [])[0]:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            with connection:
                self._connection = connection
                self._serve(connection.fileno())
                self._connection = None

    def send(self, data: bytes) -> None:
        if self._connection is not None:
            with suppress(OSError):  # it may hang up in this moment
                self._connection.sendall(data)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._listener.close()


def far_pty(reply: Reply) -> Far:
    """Give the far end of a serial line."""
    return _FarPty(reply)


def far_tcp(reply: Reply, *, scheme: str = "tcp", host: str = "127.0.0.1", port: int = 0) -> Far:
    """Give a TCP server, which has one connection at a time."""
    return _FarTcp(reply, scheme, host, port)


@contextmanager
def master_of(far: Far) -> Iterator[Master]:
    """Give the master of a far end, which is served meanwhile."""
    with far:
        master = open_master(far.url)
        try:
            yield master
        finally:
            master.close()


def closed_while_it_waits(far: Far, master: Master, read: Read) -> BaseException | None:
    """Close a master that waits for an answer; give what its read raises within a second."""
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(master.read, read, Manner(timeout_s=30))
        wait_until(lambda: far.asked, "the request")
        master.close()
        return reading.exception(timeout=1)


def mbap(request: bytes, pdu: bytes, **changes: int) -> bytes:
    """Frame an answer to a request of Modbus TCP; `changes`: transaction, protocol, unit, size."""
    own = {
        "transaction": int.from_bytes(request[:2]),
        "protocol": 0,
        "size": len(pdu) + 1,
        "unit": request[6],
    } | changes
    header = b"".join(own[name].to_bytes(2) for name in ("transaction", "protocol", "size"))
    return header + bytes([own["unit"]]) + pdu
