"""Run a command that ends when the process that started it ends, even by kill -9.

    python -I -S leash.py PARENT_PID COMMAND [ARGUMENT...]

The wish is set on this process and then handed to the command by exec, so that it needs no
code of ours between fork and exec, which is unsafe in a process with threads. The kernel ties
it to the starting *thread*: start brokers from one that lives as long as they should.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent_pid: int, command: list[str]) -> None:
    """Become `command`, to be sent SIGTERM when `parent_pid` ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent_pid:  # else the parent ended before the wish was set
        os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
