"""Processes that are kept running.

The parent has no threads: it forks and waits. A child that dies is started again after 1, 2, 4
... 60 s; one whose configuration is wrong is not. One that has said that it is well, and then
says so no more, is ended. A child never outlives its parent.
"""

import ctypes
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

from heliobus.component import PULSE, Notify
from heliobus.guard import EXIT_CONFIG, EXIT_FAILED, EXIT_STOPPED, guarded

log = logging.getLogger(__name__)

LONGEST_BACK_OFF_S = 60.0
STEADY_S = 60.0  # a child that has run so long has recovered
STOP_S = 3.0
SILENT_S = 60.0  # a child that was well hangs when it has said nothing for so long
# A longer turn of our own loop: we were frozen, and maybe the children with us.
_LONGEST_TURN_S = 2.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _pipe() -> tuple[int, int]:
    return os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)


@dataclass(slots=True)
class Child:
    """One supervised process; pid 0 while it does not run."""

    name: str
    pid: int = 0
    started_s: float = 0.0
    failures: int = 0
    due_s: float = 0.0
    given_up: bool = False
    silent_s: float | None = None  # None until it has said for the first time that it is well
    is_known: bool = False  # it has said that it is well, or ended
    pulse: tuple[int, int] = field(default_factory=_pipe)  # it writes, we read

    def has_spoken(self) -> bool:
        """Say whether it has said since the last look that it is well."""
        with suppress(BlockingIOError):
            return bool(os.read(self.pulse[0], 65536))
        return False

    @property
    def is_well(self) -> bool:
        """Say whether it runs and has said so."""
        return bool(self.pid) and self.silent_s is not None


class Supervisor:
    """Keep one process per name running `work(name)`, which gives an exit status."""

    def __init__(
        self, names: Iterable[str], work: Callable[[str], int], *, silent_s: float = SILENT_S
    ) -> None:
        self.children = {name: Child(name) for name in names}
        self._work = work
        self._silent_s = silent_s
        self._looked_s = time.monotonic()
        self._stopping = False
        self._wake_read, self._wake_write = _pipe()

    def run(
        self,
        *,
        until: Callable[[], bool] = lambda: False,
        tend: Callable[[], None] = lambda: None,
    ) -> int:
        """Supervise until a signal, until `until` says so, or until nothing is left to run.

        `tend` is called about once a second. Return 0, or 78 where all were given up.
        """
        self.keep_running(until=until, tend=tend)
        self.stop(*self.children)
        return EXIT_STOPPED if self._some_left() else EXIT_CONFIG

    def keep_running(self, *, until: Callable[[], bool], tend: Callable[[], None]) -> None:
        """Do what `run` does, but leave the children to be stopped by the caller."""
        self._catch_signals()
        notify = Notify()
        said = ""
        while not self._stopping and not until() and self._some_left():
            self._start_due()
            self._wait(1.0)
            self._reap()
            self._end_silent()
            tend()
            # Which components hang is judged above; this says that the judge does not.
            notify("WATCHDOG=1")
            if (state := self._state()) != said:
                notify(state)
                said = state
        notify("STOPPING=1")
        self._stopping = True

    def _state(self) -> str:
        """Word for sd_notify(3) how the children are.

        We are ready when we know of each how its start went, and not all went wrong.
        """
        children = self.children.values()
        missing = [child.name for child in children if not child.is_well]
        state = f"STATUS={len(children) - len(missing)} of {len(children)} components run"
        if missing:
            state += f"; missing: {', '.join(missing)}"
        if len(missing) < len(children) and all(child.is_known for child in children):
            state += "\nREADY=1"
        return state

    def _catch_signals(self) -> None:
        def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
            self._stopping = True

        signal.signal(signal.SIGTERM, ask_to_stop)
        signal.signal(signal.SIGINT, ask_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def _wait(self, longest_s: float) -> None:
        select.select([self._wake_read], [], [], longest_s)
        with suppress(BlockingIOError):
            os.read(self._wake_read, 512)

    def _some_left(self) -> bool:
        return any(not child.given_up for child in self.children.values())

    # ------------------------------------------------------------------ children

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for child in self.children.values():
            if not child.pid and not child.given_up and now_s >= child.due_s:
                self._start(child, now_s)

    def _start(self, child: Child, now_s: float) -> None:
        child.started_s = now_s
        child.has_spoken()  # what its predecessor has said last
        child.silent_s = None
        try:
            child.pid = self._fork(child.name, child.pulse[1])
        except OSError as error:
            self._again(child, f"cannot be started ({error.strerror})")

    def _fork(self, name: str, pulse: int) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = EXIT_FAILED
        try:
            signal.set_wakeup_fd(-1)
            # Until the component has handlers of its own, a signal must end it, not be noted.
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            die_with(parent)
            # A child speaks to us: systemd hears of the parent.
            os.environ.pop("NOTIFY_SOCKET", None)
            os.environ.pop("WATCHDOG_USEC", None)
            os.environ[PULSE] = str(pulse)
            # Ctrl-C goes to the whole group of a terminal; the parent stops us, in order.
            os.setpgid(0, 0)
            status = guarded(lambda: self._work(name), lambda text: log.error("%s", text))
        finally:
            # Whoever read our output may be gone; the child must end here all the same.
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        for child in self.children.values():
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, status: int) -> None:
        child.pid = 0
        child.is_known = True
        if self._stopping:
            return
        if status == EXIT_CONFIG:
            child.given_up = True
            log.error("%s: not started again: its configuration must be mended first", child.name)
            return
        how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        self._again(child, how)

    def _again(self, child: Child, how: str) -> None:
        ran_s = time.monotonic() - child.started_s
        child.failures = 1 if ran_s >= STEADY_S else child.failures + 1
        wait_s = min(LONGEST_BACK_OFF_S, 2.0 ** min(child.failures - 1, 10))
        child.due_s = time.monotonic() + wait_s
        log.warning("%s: %s; starting it again in %.0f s", child.name, how, wait_s)

    def _end_silent(self) -> None:
        now_s = time.monotonic()
        turn_s, self._looked_s = min(now_s - self._looked_s, _LONGEST_TURN_S), now_s
        for child in self.children.values():
            if not child.pid:
                continue
            if child.has_spoken():
                child.silent_s, child.is_known = 0.0, True
            elif child.silent_s is not None:
                child.silent_s, before_s = child.silent_s + turn_s, child.silent_s
                if before_s < self._silent_s <= child.silent_s:
                    log.warning("%s: hangs, silent for %.0f s; ended", child.name, child.silent_s)
                    os.kill(child.pid, signal.SIGTERM)
                elif child.silent_s > self._silent_s + STOP_S:
                    os.kill(child.pid, signal.SIGKILL)

    def restart(self) -> None:
        """End all children, which are then started again."""
        for child in self.children.values():
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)

    def stop(self, *names: str) -> None:
        """End some children in order, by force after three seconds; they stay ended."""
        running = [child for child in map(self.children.__getitem__, names) if child.pid]
        for child in running:
            child.due_s = float("inf")
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
        end_s = time.monotonic() + STOP_S
        while running and time.monotonic() < end_s:
            self._wait(0.05)
            running = [child for child in running if not self._collected(child)]
        for child in running:
            log.warning("%s: did not end in %.0f s; killed", child.name, STOP_S)
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            child.pid = 0

    def _collected(self, child: Child) -> bool:
        pid, _ = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            child.pid = 0
        return bool(pid)


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies, however it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(EXIT_FAILED)
