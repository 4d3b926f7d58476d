"""Dialled: a device that dials in. `listen://0.0.0.0:4001` waits for a Xcom-LAN and its like.

The port is open from the beginning until `close`. `renew` ends a connection, never the port: who
dials while the loop recovers is not refused. Who calls again from the same address takes over at
once, as it has restarted and does not know of its old connection. Who calls from elsewhere does
so only when no device is online on the connection that is there: no stranger interrupts one that
works, and none who calls first keeps it away, whatever he says.
"""

import logging
import os
import select
import socket
import time

from heliobus import ports
from heliobus.address import Address
from heliobus.errors import LinkError
from heliobus.faults import Faults
from heliobus.link import Link, over

log = logging.getLogger(__name__)

# Calls that have not been seen yet: a device without patience has called several times.
_BACKLOG = 16


class Dialled(Link):
    """The connection of whoever has called last, one at a time. Made by `open_link`."""

    def __init__(self, address: Address, door: socket.socket) -> None:
        super().__init__(address.url, address.name)
        self._address = address
        self._door = door
        self._caller: Link | None = None
        self._number = -1  # of its file
        self._host = ""  # whose it is, or was
        self._asked = False
        self._answers = False  # as the loop has judged
        self._faults = Faults(log)
        self._wake, self._waker = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(door, select.POLLIN)

    def renew(self) -> None:
        """End a connection that has failed. One on which nothing was asked is a newer call."""
        with self._using:
            if self._asked:
                self._hang_up()

    def look(self) -> None:
        """Raise LinkError where another has called meanwhile, or nobody is there."""
        self._guard(lambda _: self._connected(), None)

    def judge(self, *, answers: bool) -> None:
        """Learn whether a device is online on this connection: then no stranger is let in."""
        self._answers = answers and self._caller is not None

    # ------------------------------------------------------------------ as a link

    def _send(self, data: bytes) -> None:
        caller = self._connected()
        self._asked = True
        try:
            caller.write(data)
        except LinkError:
            self._hang_up()
            raise

    def _receive(self, timeout_s: float) -> bytes:
        end_s = time.monotonic() + timeout_s
        while True:
            caller = self._connected()
            left_s = max(0.0, end_s - time.monotonic())
            numbers = [number for number, _ in self._poll.poll(left_s * 1000)]
            self._check_open()
            if self._door.fileno() in numbers:
                caller = self._connected()
            if self._number in numbers:
                return self._heard(caller, left_s)
            if not left_s or not numbers:
                return b""

    def _heard(self, caller: Link, left_s: float) -> bytes:
        try:
            return caller.read(left_s)
        except LinkError:
            self._hang_up()
            raise

    def _interrupt(self) -> None:
        os.write(self._waker, b"\0")
        caller = self._caller
        if caller is not None:
            caller.close()

    def _release(self) -> None:
        self._hang_up()
        self._door.close()
        os.close(self._wake)
        os.close(self._waker)

    # ------------------------------------------------------------------ who calls

    def _connected(self) -> Link:
        """Give the connection of now. Raise LinkError: there is none, or it is another one."""
        before = self._caller if self._asked else None
        for _ in range(_BACKLOG):  # the last of them counts
            try:
                connection, place = self._door.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            self._let_in(connection, place[0])
        if self._caller is None:
            raise LinkError(f"{self.name}: {self._nobody()}")
        if before not in (None, self._caller):
            raise LinkError(f"{self.name}: {self._host} has called anew; its old call is over")
        return self._caller

    def _let_in(self, connection: socket.socket, host: str) -> None:
        if self._answers and host != self._host:
            connection.close()
            self._faults.report(
                "stranger",
                f"{self.name}: hung up on {host}, as {self._host} is connected and answers",
                alike=True,
            )
            return
        self._hang_up()
        self._caller = over(connection, self._address)
        self._number = connection.fileno()
        self._poll.register(self._number, select.POLLIN)
        self._host = host
        log.info("%s: called by %s", self.name, host)

    def _nobody(self) -> str:
        to_do = f"to connect to this computer's port {self._address.port}"
        if not self._host:
            return f"nobody has called yet; set the device {to_do}"
        return f"{self._host} has not called again yet; check that it is on and still set {to_do}"

    def _hang_up(self) -> None:
        caller, self._caller = self._caller, None
        self._asked = self._answers = False
        if caller is not None:
            self._poll.unregister(self._number)
            self._number = -1
            caller.close()


def open_dialled(address: Address) -> Dialled:
    """Listen on the port that `address` names, and on no other address. Raise LinkError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        door = socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise LinkError(f"{address.name}: {ports.listen_fault(address.port, error)}") from error
    door.settimeout(0.0)  # do not block
    return Dialled(address, door)
