"""The connections to a database server, which can be cut: no call may wait for one without end.

A driver's own limits are not enough: PyMySQL's hold for each read, psycopg has none, and a server
that was frozen or whose host is gone answers neither a query nor a wish to cancel it.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from heliobus.database import Place, sa
from heliobus.errors import SinkError

__all__ = ["CALL_S", "Wires"]

# For all that one call asks of the server. Beyond a minute a supervisor ends the process.
CALL_S = 20.0


class Wires:
    """The connections that the engines of one place have open."""

    def __init__(self, place: Place) -> None:
        self.call_s = CALL_S
        self._place = place
        self._open: dict[int, Any] = {}
        self._is_reaching = False
        self._is_ended = False
        self._why = ""
        self._gone: tuple[type[Exception], ...] = (OSError, AttributeError, ValueError)

    def watch(self, engine: sa.Engine) -> None:
        """Know the connections of an engine from now on."""
        self._gone = (*self._gone, engine.dialect.loaded_dbapi.Error)
        sa.event.listen(engine, "do_connect", self._reach)
        sa.event.listen(engine, "connect", self._opened, insert=True)  # before anything is asked
        sa.event.listen(engine, "close", self._closed)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Bound what happens within. Where it is cut short, raise SinkError that says why."""
        if self._place.file is not None:
            yield
            return
        if not self._is_ended:
            self._why = ""
        late = f"no answer for {self.call_s:g} s"
        timer = threading.Timer(self.call_s, self._cut, [late])
        timer.daemon = True
        timer.start()
        try:
            yield
        except SinkError as error:
            if self._why:
                raise SinkError(f"{self._place}: {self._why}") from error
            raise
        finally:
            timer.cancel()

    def end(self) -> None:
        """Cut all connections for good, from another thread or from a signal handler.

        Where this is a signal handler and a connection is just being made, raise OSError into that.
        """
        self._is_ended = True
        self._cut("did not answer in time for the stop; what it has not taken is asked for again")
        if self._is_reaching and threading.current_thread() is threading.main_thread():
            raise ConnectionAbortedError(self._why)

    def _cut(self, why: str) -> None:
        self._why = why
        for connection in list(self._open.values()):
            with suppress(*self._gone):
                _shut(connection)

    def _reach(self, dialect: sa.Dialect, _record: Any, args: Any, options: Any) -> Any:
        if self._why:  # the call has been cut short already
            raise ConnectionAbortedError(self._why)
        self._is_reaching = True
        try:
            return dialect.connect(*args, **options)
        finally:
            self._is_reaching = False

    def _opened(self, connection: Any, _record: Any) -> None:
        self._open[id(connection)] = connection

    def _closed(self, connection: Any, _record: Any) -> None:
        self._open.pop(id(connection), None)


def _shut(connection: Any) -> None:
    """End what goes over a connection in both directions; whoever reads from it finds its end."""
    # psycopg says its number; PyMySQL does not, and has no other way to be interrupted.
    own = connection if hasattr(connection, "fileno") else connection._sock  # noqa: SLF001
    with socket.socket(fileno=os.dup(own.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)
