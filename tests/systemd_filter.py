"""Become a command under the system call filter of a unit file, as systemd would start it.

    python -m tests.systemd_filter UNIT COMMAND [ARGUMENT...]

systemd answers a forbidden call with an error, which a library may swallow; here it ends the
process. The filters are libseccomp's, which systemd itself uses: SystemCallFilter,
MemoryDenyWriteExecute and RestrictAddressFamilies.
"""

import ctypes
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ALLOW = 0x7FFF0000  # seccomp.h of libseccomp
KILL = 0x80000000
ERRNO = 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
EQUAL, MASKED_EQUAL = 4, 7
WRITE_AND_EXECUTE, EXECUTE = 6, 4  # mmap(2)
FAMILIES = 46  # more than Linux has
# The tests may run as root, the service never does: for SQLite that makes a difference.
ROOTS_OWN = ("chown", "fchown", "fchownat", "lchown")


class _Condition(ctypes.Structure):
    """One argument of a system call, and what it is compared with."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class Filter:
    """One filter of libseccomp."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, action: int, call: str, *conditions: tuple[int, int, int, int]) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # not on this architecture
            return
        array = (_Condition * len(conditions))(*(_Condition(*each) for each in conditions))
        failed = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(conditions), array
        )
        if failed:
            raise OSError(-failed, f"libseccomp refuses the rule for {call}")

    def load(self) -> None:
        failed = self._library.seccomp_load(self._context)
        if failed:
            raise OSError(-failed, "libseccomp cannot load the filter")


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def group(name: str) -> set[str]:
    """Give the calls of a group such as @clock; @known is all that libseccomp knows."""
    lines = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", name],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return resolved(line.strip() for line in lines[1:] if not line.strip().startswith("#"))


def resolved(names: Iterable[str]) -> set[str]:
    calls: set[str] = set()
    for name in filter(None, names):
        calls |= group(name) if name.startswith("@") else {name}
    return calls


def allowed(unit: str) -> set[str]:
    """Give the calls that a unit file allows: later lines win over earlier ones."""
    calls = group("@default")
    for line in values(unit, "SystemCallFilter"):
        named = resolved(line.removeprefix("~").split())
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def confine(unit: str) -> None:
    """Put this process, and all that it becomes, under the filters of a unit file."""
    calls = allowed(unit)
    by_name = Filter(ERRNO | ENOSYS)  # newer than libseccomp: as if the kernel did not know it
    for call in group("@known"):
        if call in calls:
            by_name.add(ALLOW, call)
        else:
            excused = os.geteuid() == 0 and call in ROOTS_OWN
            by_name.add(ERRNO | EPERM if excused else KILL, call)
    memory = Filter(ALLOW)
    if "yes" in values(unit, "MemoryDenyWriteExecute"):
        memory.add(KILL, "mmap", (2, MASKED_EQUAL, WRITE_AND_EXECUTE, WRITE_AND_EXECUTE))
        memory.add(KILL, "mprotect", (2, MASKED_EQUAL, EXECUTE, EXECUTE))
    families = Filter(ALLOW)
    named = " ".join(values(unit, "RestrictAddressFamilies")).split()
    for number in set(range(FAMILIES)) - {getattr(socket, name) for name in named}:
        families.add(ERRNO | EAFNOSUPPORT, "socket", (0, EQUAL, number, 0))
    for one in (memory, families, by_name):
        one.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.execvp(sys.argv[2], sys.argv[2:])
