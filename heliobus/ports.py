"""Who holds a port, who may use it, and which ports there are: words for a port that fails.

Everything is read from /proc, /dev and the user database; nothing is opened.
"""

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

PROC = Path("/proc")
BY_ID = Path("/dev/serial/by-id")
# Linux Documentation/admin-guide/devices.txt: majors of the slaves of pseudo-terminals.
_PTY_MAJORS = range(136, 144)
_LISTEN = "0A"  # a state in /proc/net/tcp
# Read and write for the group.
_GROUP_RW = stat.S_IRGRP | stat.S_IWGRP


def is_pty(path: str) -> bool:
    """Tell whether `path` is a pseudo-terminal: its maker keeps it open beside its user."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in _PTY_MAJORS


def holders(path: str) -> list[str]:
    """Name the other processes that have `path` open, like `mpp-solar (pid 4711)`.

    Processes of other users are seen by root alone: an empty list proves nothing.
    """
    return _holders({os.path.realpath(path)})


def _holders(files: set[str]) -> list[str]:
    found = []
    for process in PROC.glob("[0-9]*"):
        pid = int(process.name)
        if pid != os.getpid() and not files.isdisjoint(_open_files(process)):
            found.append(f"{_program(process)} (pid {pid})")
    return found


def listening(port: int) -> set[str]:
    """Give the sockets that listen on a TCP port, as processes have them open."""
    sockets = set()
    for table in ("net/tcp", "net/tcp6"):
        try:
            rows = (PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for _, local, _, state, *columns in map(str.split, rows):
            if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{columns[5]}]")
    return sockets


def held(path: str) -> str:
    """Say by whom the busy port `path` is held, and what to do."""
    names = holders(path)
    if names:
        return f"held by {', '.join(names[:3])}; a port has one owner, stop the other one"
    return f"in use by another process; `sudo fuser -v {path}` names it"


def missing(path: str, by_id: Path = BY_ID) -> str:
    """Say that there is no port `path`, and which there are."""
    others = _similar(path, by_id)
    if others:
        return f"no such port; there is {', '.join(others)}"
    return "no such port, and no other one; plug the cable in and switch the device on"


def forbidden(path: str) -> str:
    """Say which group may use `path`, and how to join it."""
    try:
        status = os.stat(path)
    except OSError:
        return "no permission to look for it"
    if status.st_gid == 0 or status.st_mode & _GROUP_RW != _GROUP_RW:
        # /dev/hidraw* belongs to root alone unless a udev rule says otherwise.
        return (
            "no permission, only root has it; add a udev rule such as "
            f'KERNEL=="{_family(path)}*", GROUP="dialout", MODE="0660" and plug it in again'
        )
    group, user = _group_name(status.st_gid), _user_name()
    if user in _members(status.st_gid):
        return f"no permission yet: {user} is in group {group} only after logging in again"
    return (
        f"no permission, it belongs to group {group}; "
        f"run `sudo usermod -aG {group} {user}` and log in again"
    )


def port_fault(path: str, error: BaseException) -> str:
    """Say why `path` could not be opened as a port, and what to do."""
    number = _number(error)
    for numbers, words in _PORT_FAULTS:
        if number in numbers:
            return words(path)
    return f"not a port that works ({error})"


def host_fault(error: BaseException) -> str:
    """Say why a host could not be connected to, and what to do."""
    number = getattr(error, "errno", None)
    for kind, numbers, words in _HOST_FAULTS:
        if isinstance(error, kind) or number in numbers:
            return words
    return f"cannot be reached ({error})"


def listen_fault(port: int, error: BaseException) -> str:
    """Say why nobody can be waited for on the TCP port, and what to do."""
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        holder = ", ".join(_holders(listening(port))[:3]) or "another program"
        return f"port {port} is in use by {holder}; stop it, or take another port here and there"
    if number in (errno.EACCES, errno.EPERM):
        return f"no permission for port {port}; take one above 1023"
    return "no address of this computer; write 0.0.0.0 for all that it has, or [::] for IPv6"


def _number(error: BaseException) -> int | None:
    """Give the number of an error; termios has it elsewhere, and pyserial words it as text."""
    for each in (error, error.__context__):
        number = getattr(each, "errno", None)
        if number is None and isinstance(each, termios.error):
            number = each.args[0]
        if isinstance(number, int):
            return number
    return None


def _open_files(process: Path) -> Iterator[str]:
    try:
        numbers = os.listdir(process / "fd")
    except OSError:  # it has ended, or belongs to another user
        return
    for number in numbers:
        with contextlib.suppress(OSError):  # closed while we look
            yield os.readlink(process / "fd" / number)


def _program(process: Path) -> str:
    """Give the name a person knows the process by: the script, where Python runs one."""
    try:
        name = (process / "comm").read_text().strip()
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "a process"
    if not name.startswith("python"):
        return name
    script = words[2:3] if words[1:2] == ["-m"] else [w for w in words[1:2] if w[:1] != "-"]
    return Path(script[0]).name if script and script[0] else name


def _similar(path: str, by_id: Path) -> list[str]:
    """Give up to three ports of the same sort, those with the most similar names first."""
    from difflib import get_close_matches

    folder, pattern = Path("/dev"), f"{_family(path)}*"
    if "hidraw" not in pattern and by_id.is_dir():
        folder, pattern = by_id, "*"
    names = sorted(str(port) for port in folder.glob(pattern))
    close = get_close_matches(path, names, n=3, cutoff=0.6)
    return close or names[:3]


def _family(path: str) -> str:
    return Path(path).name.rstrip("0123456789") or "tty"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _members(gid: int) -> list[str]:
    try:
        return grp.getgrgid(gid).gr_mem
    except KeyError:
        return []


_PORT_FAULTS: tuple[tuple[tuple[int, ...], Callable[[str], str]], ...] = (
    ((errno.ENOENT, errno.ENODEV, errno.ENXIO), missing),
    ((errno.EACCES, errno.EPERM), forbidden),
    ((errno.EBUSY, errno.EAGAIN), held),
    ((errno.ENOTTY, errno.EISDIR), lambda _: "not a serial port"),
)
_HOST_FAULTS: tuple[tuple[type[Exception], tuple[int, ...], str], ...] = (
    (socket.gaierror, (), "no host of this name is known; check its spelling and the network"),
    (UnicodeError, (), "no host can have this name"),
    (ConnectionRefusedError, (), "refused; check the port, and that a program there listens on it"),
    (
        TimeoutError,
        (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN),
        "unreachable; check that it is switched on and in this network",
    ),
)
