"""The command `demo`: a simulated house on byte-level wires, with everything else real.

    house    the simulated devices, each at the far end of a serial line
    axpert   the bridge on that line           archive  the sink into SQLite
    screen   what a person sees; it also counts, independently, what is on the bus

At the end three counts that know nothing of each other are compared: polls that the simulator
answered whole, samples on the bus, and the rows of the database against the journal.
"""

import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from broker import listeners
from heliobus import components, contract, tally, watch
from heliobus.bus import Bus, Message
from heliobus.errors import ConfigError, FrameError
from heliobus.guard import EXIT_FAILED, EXIT_STOPPED
from heliobus.own_broker import OwnBroker
from heliobus.process import Lock, run_component
from heliobus.sample import load_object, time_text
from heliobus.settings import (
    BridgeSettings,
    BrokerSettings,
    BrokerStart,
    ClockSettings,
    DeviceSettings,
    Settings,
    SinkSettings,
)
from heliobus.simulation import serve_pty
from heliobus.supervisor import Supervisor
from heliobus.topics import Topics

log = logging.getLogger(__name__)

EVERY_S = 2.0
BAUD = 2400
DRAIN_S = 10.0
START_S = 15.0
USUAL_PORT = 1883
_PORTS_END = 32768  # from there on the kernel gives ports to clients
# In the demo a day takes twelve minutes, and it begins in the morning.
FASTER = 120.0
_MORNING_S = 9 * 3600.0
_DAY_S = 86400.0


def run(*, seconds: float | None, port: int | None, data: Path | None) -> int:
    """Run the house until a signal or for some seconds. Return 1 if anything was lost."""
    # From here on, since Ctrl-C in the very first second is to end it in order, too.
    stop = _stop_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # The table is drawn by a child, which Ctrl-Z would not reach.
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    port = _port(port)
    folder = _folder(data)
    result = EXIT_STOPPED
    try:
        with Lock(folder, "demo"):
            result = Demo(installation(folder, port)).run(seconds, stop)
    finally:
        if data is None and result == EXIT_STOPPED:
            shutil.rmtree(folder, ignore_errors=True)
    return result


def _port(wanted: int | None) -> int:
    """Give the port that is wanted, or the first free one from the usual one on."""
    host = BrokerSettings().host
    if wanted is None:
        return next(p for p in range(USUAL_PORT, _PORTS_END) if not listeners.taken(host, p))
    if listeners.taken(host, wanted):
        raise ConfigError(
            f"--port {wanted}: in use by {listeners.holder(wanted)}; name another port, "
            "or leave --port out: then a free one is found"
        )
    return wanted


def _folder(data: Path | None) -> Path:
    try:
        if data is None:
            return Path(tempfile.mkdtemp(prefix="heliobus-demo-"))
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--data {data}: {error.strerror}; name a folder that you may write to"
        ) from error
    return data.absolute()


def installation(folder: Path, port: int) -> Settings:
    """Give the settings of the demo's installation."""
    inverter = DeviceSettings(
        name="inverter",
        every_s=EVERY_S,
        link=f"serial://{_port_path(folder)}?baud={BAUD}",
        options={"layout": "pi30"},
    )
    return Settings(
        site="demo",
        folder=folder,
        data=folder,
        broker=BrokerSettings(port=port, start=BrokerStart.AUTO),
        clock=ClockSettings(trust=True),
        bridges={"axpert": BridgeSettings("axpert", "voltronic", (inverter,))},
        sinks={"archive": SinkSettings("archive", "sql", options={"url": "sqlite:///history.db"})},
    )


class Demo:
    """The processes of the demo's installation and what they leave to be counted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.data
        self._house_note = self._folder / "house.json"
        self._screen_note = self._folder / "screen.json"
        self._log_path = self._folder / "demo.log"
        self._contract = contract.load()
        self._head = ""
        self._started_ms = 0

    def run(self, seconds: float | None, stop: threading.Event) -> int:
        """Start everything, keep it running, end it in order, and count."""
        self._started_ms = round(time.time() * 1000)
        # What a run that was killed has left; its port may be somebody's terminal by now.
        for path in (self._house_note, self._screen_note, _port_path(self._folder)):
            path.unlink(missing_ok=True)
        broker = OwnBroker(self._settings.broker, self._folder / "broker")
        with _log_to(self._log_path):
            broker.start()
            try:
                self._settings = replace(self._settings, broker=broker.settings)
                self._head = self._describe(broker.name)
                self._supervise(seconds, stop, broker)
            finally:
                broker.stop()
        return self._count()

    def _supervise(self, seconds: float | None, stop: threading.Event, broker: OwnBroker) -> None:
        end_s = time.monotonic() + seconds if seconds else math.inf
        supervisor = Supervisor(("house", "screen", "archive", "axpert"), self._work)
        supervisor.keep_running(
            until=lambda: stop.is_set() or time.monotonic() >= end_s, tend=broker.tend
        )
        supervisor.stop("axpert")
        self._drain()
        for name in ("archive", "screen", "house"):
            supervisor.stop(name)

    def _describe(self, broker: str) -> str:
        host, port = self._settings.broker.host, self._settings.broker.port
        return (
            "A simulated house: nothing is connected to this computer. Ctrl-C ends it.\n\n"
            f"inverter  an Axpert MAX on a {BAUD}-baud line;"
            f" its day takes {_DAY_S / FASTER / 60:.0f} minutes\n"
            f"broker    {broker} on {host}:{port}; see all that is on it with\n"
            f"          mosquitto_sub -p {port} -v -t 'heliobus/#'\n"
            f"archive   {self._folder}/history.db\n"
            f"log       {self._log_path}\n\n"
        )

    # ------------------------------------------------------------------ the processes

    def _work(self, name: str) -> int:
        # Until a process is ready to end in order, SIGTERM ends it at once.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if name == "house":
            return self._house()
        if name == "screen":
            return self._screen()
        if name in self._settings.bridges:
            self._wait_for_the_others()
        return run_component(self._settings, name, self._contract)

    def _wait_for_the_others(self) -> None:
        """Let the house make the port and the archive listen before anything is measured.

        A bridge that comes first reports that there is no port; and what it has measured alone
        cannot be asked of it any more where the demo is ended at once.
        """
        end_s = time.monotonic() + START_S
        topics = Topics(self._settings.site)
        listening = threading.Event()
        bus = Bus(
            self._settings.broker,
            "demo",
            will=(topics.component("demo", "status"), b""),
            subscriptions=[(topics.component("archive", "status"), 1)],
            on_message=lambda message: listening.set() if b"online" in message.payload else None,
        )
        bus.start()
        listening.wait(START_S)
        bus.stop()
        while not _port_path(self._folder).exists() and time.monotonic() < end_s:
            time.sleep(0.02)

    def _house(self) -> int:
        """Be the devices until SIGTERM; leave how many polls were answered whole."""
        stop = _stop_on(signal.SIGTERM)
        began_s = time.monotonic()
        today_s = time.time() // _DAY_S * _DAY_S + _MORNING_S
        inverter = components.simulator("voltronic")(
            clock=lambda: today_s + FASTER * (time.monotonic() - began_s)
        )
        with serve_pty(inverter, baud=BAUD, link_path=_port_path(self._folder)):
            stop.wait()
        tally.note(self._house_note, measured=inverter.answered_polls)
        return EXIT_STOPPED

    def _screen(self) -> int:
        """Show the bus until SIGTERM; leave how many samples were on it."""
        stop = _stop_on(signal.SIGTERM)
        counter = _Counter(Topics(self._settings.site), time_text(self._started_ms))
        try:
            watch.show(self._settings, "", stop, head=self._head, seen=counter.take)
        except BrokenPipeError:
            # Whoever read our output has seen enough: the demo is over.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            os.kill(os.getppid(), signal.SIGTERM)
            stop.wait()
        tally.note(self._screen_note, published=len(counter.seen), rewritten=counter.rewritten)
        return EXIT_STOPPED

    # ------------------------------------------------------------------ the end

    def _drain(self) -> None:
        """Wait until the archive has what the bridge has journaled."""
        wanted = set(tally.journaled(self._settings, "axpert", self._started_ms))
        end_s = time.monotonic() + DRAIN_S
        while time.monotonic() < end_s and not wanted <= set(self._stored()):
            time.sleep(0.1)

    def _stored(self) -> list[tally.Row]:
        return tally.stored(
            self._folder / "history.db", self._contract, self._started_ms, site=self._settings.site
        )

    def _count(self) -> int:
        result = tally.compare(
            measured=tally.noted(self._house_note, "measured"),
            published=tally.noted(self._screen_note, "published"),
            rewritten=tally.noted(self._screen_note, "rewritten"),
            journaled=tally.journaled(self._settings, "axpert", self._started_ms),
            stored=self._stored(),
        )
        sys.stdout.write(f"{result}\n")
        if result.good:
            return EXIT_STOPPED
        sys.stderr.write(f"{self._folder} is kept; demo.log in it may tell what has happened\n")
        return EXIT_FAILED


class _Counter:
    """Count the samples on the bus, and what the archive says it has written twice.

    A kept folder's broker also brings the newest sample of the run before, from before `since`.
    """

    def __init__(self, topics: Topics, since: str) -> None:
        self._topics = topics
        self._since = since
        self.seen: set[tuple[str, str]] = set()
        self.rewritten = 0

    def take(self, message: Message) -> None:
        """Take in one message."""
        address = self._topics.parse(message.topic)
        if address is None or not message.payload or address.site != self._topics.site:
            return  # other houses may share this broker
        try:
            if address.leaf == "state" and address.device is not None:
                time_of = str(load_object(message.payload).get("time"))
                if time_of >= self._since:
                    self.seen.add((address.device, time_of))
            elif address.leaf == "status" and address.component == "archive":
                self.rewritten = load_object(message.payload).get("rewritten", self.rewritten)
        except FrameError:
            log.warning("%s: not JSON", message.topic)


def _port_path(folder: Path) -> Path:
    """Name the inverter's port."""
    return folder / "inverter"


def _stop_on(*numbers: signal.Signals) -> threading.Event:
    stop = threading.Event()
    for number in numbers:
        signal.signal(number, lambda *_: stop.set())
    return stop


class _log_to:  # noqa: N801 - read as a verb
    """Send what this process and its children say to a file: the screen is for the table."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = -1

    def __enter__(self) -> None:
        sys.stderr.flush()
        self._kept = os.dup(sys.stderr.fileno())
        with self._path.open("a") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())

    def __exit__(self, *_: object) -> None:
        sys.stderr.flush()
        os.dup2(self._kept, sys.stderr.fileno())
        os.close(self._kept)
