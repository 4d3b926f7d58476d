"""Who holds a TCP port of this machine, read from /proc."""

import errno
import socket
from pathlib import Path

_LISTEN = "0A"  # state column of /proc/net/tcp


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
    return bool(_listening_inodes(port))


def holder(port: int) -> str:
    """Name the program that listens on the port, as far as this user may see it."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {str(entry.readlink()) for entry in (process / "fd").iterdir()}
            if wanted & links:
                name = (process / "comm").read_text().strip()
                return f"{name} (process {process.name})"
        except OSError:  # another user's process, or one that has just ended
            continue
    return "another program"


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.append(columns[9])
    return inodes
