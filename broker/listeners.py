"""Who holds a TCP port of this machine, read from /proc."""

import errno
import socket
from pathlib import Path

from heliobus import ports


def taken(host: str, port: int) -> bool:
    """Say whether another program listens on the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections that have just ended are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def listening(port: int) -> bool:
    """Say whether anybody listens on the port, without a connection that he would log."""
    return bool(ports.listening(port))


def holder(port: int) -> str:
    """Name the program that listens on the port, as far as this user may see it."""
    wanted = ports.listening(port)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {str(entry.readlink()) for entry in (process / "fd").iterdir()}
            if wanted & links:
                name = (process / "comm").read_text().strip()
                return f"{name} (process {process.name})"
        except OSError:  # another user's process, or one that has just ended
            continue
    return "another program"
