"""One component as a process: its lock, its signals, its exit status."""

import fcntl
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from heliobus import components
from heliobus import contract as contracts
from heliobus.asking import Asking
from heliobus.bridging import BridgeComponent
from heliobus.component import Component
from heliobus.contract import Contract
from heliobus.errors import ConfigError, HeliobusError
from heliobus.guard import EXIT_STOPPED
from heliobus.settings import BridgeSettings, Settings, SinkSettings
from heliobus.source import Source

log = logging.getLogger(__name__)

# What a killed `up` leaves behind holds its locks until it has stopped, which takes some seconds.
LOCK_WAIT_S = 5.0
_LOCK_RETRY_S = 0.1
# A stop is to be served within 2 s. What the loop waits for may take this much of it; then it is
# interrupted, and so is what it begins after that.
INTERRUPT_S = 0.8
INTERRUPT_AGAIN_S = 0.2


class HeldError(HeliobusError):
    """Another process runs this component; it may end by itself, so trying again helps."""


def run_component(settings: Settings, name: str, contract: Contract | None = None) -> int:
    """Run one component of the configuration until SIGTERM or Ctrl-C. Return its exit status."""
    stop = threading.Event()
    component: Component | None = None

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        if not stop.is_set():
            signal.setitimer(signal.ITIMER_REAL, INTERRUPT_S, INTERRUPT_AGAIN_S)
        stop.set()

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if component is not None:
            component.interrupt()

    name_log_lines(name)
    threading.excepthook = log_dead_thread
    signal.signal(signal.SIGALRM, interrupt)
    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    with Lock(settings.data, name):
        component = make_component(settings, name, contract or contracts.load())
        log.info("started")
        component.run(stop)
        signal.setitimer(signal.ITIMER_REAL, 0)
        log.info("stopped")
    return EXIT_STOPPED


def make_component(settings: Settings, name: str, contract: Contract) -> Component:
    """Make a component by its name in the configuration. Raise ConfigError."""
    if name in settings.bridges:
        bridge = settings.bridges[name]
        return BridgeComponent(settings, bridge, _source(settings, bridge, contract), contract)
    if name in settings.sinks:
        return _make_sink(settings, settings.sinks[name], contract)
    names = ", ".join([*settings.bridges, *settings.sinks]) or "none"
    raise ConfigError(f"no component is called {name!r}; the configuration has: {names}")


def _source(settings: Settings, bridge: BridgeSettings, contract: Contract) -> Source:
    kind = components.bridge(bridge.type)
    if not components.listens(bridge.type):
        return Asking(bridge, kind)
    from heliobus.listening import Listening  # few bridges do

    return Listening(kind(bridge, folder=settings.folder, contract=contract), settings, bridge.name)


def _make_sink(settings: Settings, sink: SinkSettings, contract: Contract) -> Component:
    kind = components.sink(sink.type)  # what a bridge can do without is imported here
    if components.stores(sink.type):
        from heliobus.sinking import SinkComponent

        return SinkComponent(settings, sink, kind, contract)
    from heliobus.following import FollowerComponent

    return FollowerComponent(settings, sink, kind, contract)


def log_dead_thread(died: threading.ExceptHookArgs) -> None:
    """Log what has ended a thread; the main loop ends the process for it."""
    if died.exc_value is not None:
        name = died.thread.name if died.thread else "unknown"
        log.error("thread %s: a bug; please report these lines", name, exc_info=died.exc_value)


def name_log_lines(name: str) -> None:
    """Have the log say which component speaks, not which module."""
    for handler in logging.getLogger().handlers:
        line = handler.formatter._fmt if handler.formatter else None  # noqa: SLF001 - no getter
        if line:
            handler.setFormatter(logging.Formatter(line.replace("%(name)s", name)))


class Lock:
    """Hold `NAME.lock`, so that no second process runs the same component on the same journal."""

    def __init__(self, folder: Path, name: str, *, wait_s: float = LOCK_WAIT_S) -> None:
        self._path = folder / f"{name}.lock"
        self._name = name
        self._wait_s = wait_s
        self._file: int | None = None

    def __enter__(self) -> None:
        """Take the lock, waiting for another to let go of it. Raise ConfigError, HeldError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise ConfigError(
                f"data folder {self._path.parent}: {error.strerror}; make it writable for this "
                "user, or name another with 'data:' in the configuration"
            ) from error
        if not self._taken(self._file):
            holder = os.pread(self._file, 20, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise HeldError(
                f"'{self._name}' runs already (pid {holder or 'unknown'}, {self._path}); "
                "stop it first"
            )
        with suppress(OSError):  # only for messages: a full disk is no reason not to run
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, b"%d\n" % os.getpid(), 0)

    def _taken(self, file: int) -> bool:
        end_s = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= end_s:
                    return False
                time.sleep(_LOCK_RETRY_S)
            else:
                return True

    def __exit__(self, *_: object) -> None:
        """Let go of the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
