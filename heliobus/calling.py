"""Calling: a simulated device that dials, and dials again when the connection is lost.

with serve_dialling(Simulator(), "127.0.0.1", 4001) as served:
    link = open_link(served.url)  # listen://127.0.0.1:4001
"""

import socket
import time
from contextlib import suppress

from heliobus.line import Faults, Line, Simulated
from heliobus.simulation import ConnectedService

# How soon it dials again: a Moxa does so within some seconds.
REDIAL_S = 1.0
_CONNECT_S = 1.0  # as long as a stop may wait for it


class _DiallingService(ConnectedService):
    """One connection, made by itself."""

    def __init__(self, url: str, line: Line, place: tuple[str, int]) -> None:
        super().__init__(url, line)
        self._place = place
        self._dial_s = 0.0

    def _wait_s(self, now_s: float) -> float | None:
        if self._connections:
            return super()._wait_s(now_s)
        return max(0.0, self._dial_s - now_s)

    def _work(self) -> None:
        if not self._connections and time.monotonic() >= self._dial_s:
            with suppress(OSError):  # nobody there yet
                self._connect(socket.create_connection(self._place, timeout=_CONNECT_S))
            self._dial_s = time.monotonic() + REDIAL_S
        super()._work()

    def _release(self) -> None:
        """Have nothing open but the connections."""


def serve_dialling(
    simulated: Simulated,
    host: str,
    port: int,
    *,
    baud: int | None = None,
    faults: Faults | None = None,
) -> ConnectedService:
    """Dial `host` until it answers, and serve it; `url` is the link of who is to be dialled."""
    place = f"[{host}]" if ":" in host else host
    line = Line(simulated, baud=baud, faults=faults or Faults(), unread=lambda: 0)
    service = _DiallingService(f"listen://{place}:{port}", line, (host, port))
    service.start()
    return service
