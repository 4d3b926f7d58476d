"""The command `demo`: a simulated house on byte-level wires, with everything else real.

    HOUSE    the simulated devices, each at the far end of a line or a connection
    axpert, chargers ...   the bridges to them      archive  the sink into SQLite
    screen   what a person sees; it also counts, independently, what is on the bus

At the end three counts that know nothing of each other are compared: polls that the simulators
answered whole, samples on the bus, and the rows of the database against the journals. Of what is
no answer, as it comes by itself, the journals and the database are compared.
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
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from heliobus import contract, household, simulated_site, tally, watch
from heliobus.bus import Bus, Message
from heliobus.errors import ConfigError, FrameError
from heliobus.guard import EXIT_FAILED, EXIT_STOPPED, stop_on
from heliobus.own_broker import OwnBroker
from heliobus.process import Lock, run_component
from heliobus.sample import load_object, time_text
from heliobus.settings import Settings
from heliobus.simulated_site import ARCHIVE, HOUSE, SimulatedSite
from heliobus.supervisor import Supervisor
from heliobus.topics import Topics

log = logging.getLogger(__name__)

DRAIN_S = 10.0
START_S = 15.0
USUAL_PORT = 1883


def run(*, seconds: float | None, port: int | None, data: Path | None) -> int:
    """Run the house until a signal or for some seconds. Return 1 if anything was lost."""
    # From here on, since Ctrl-C in the very first second is to end it in order, too.
    stop = stop_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # The table is drawn by a child, which Ctrl-Z would not reach.
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    port = simulated_site.port(port, USUAL_PORT)
    folder = _folder(data)
    result = EXIT_STOPPED
    try:
        with Lock(folder, "demo"):
            result = Demo(household.installation(folder), port).run(seconds, stop)
    finally:
        if data is None and result == EXIT_STOPPED:
            shutil.rmtree(folder, ignore_errors=True)
    if result == EXIT_STOPPED:
        where = f"It is kept in {folder}." if data else "It is removed now; --data DIR keeps it."
        sys.stdout.write(f"All that was measured was stored, once. {where}\n")
    return result


def _folder(data: Path | None) -> Path:
    try:
        if data is None:
            return Path(tempfile.mkdtemp(prefix="heliobus-demo-"))
        data.mkdir(parents=True, exist_ok=True)
        is_strange = any(data.iterdir()) and not (data / "demo.lock").exists()
    except OSError as error:
        raise ConfigError(
            f"--data {data}: {error.strerror}; name a folder that you may write to"
        ) from error
    if is_strange:  # its journals and archive may be real
        raise ConfigError(
            f"--data {data}: has files that are not of a demo; name a new folder or an empty one"
        )
    return data.absolute()


class Demo:
    """The processes of the demo's installation and what they leave to be counted.

    `site` may be changed until it runs.
    """

    def __init__(self, settings: Settings, port: int) -> None:
        self.site = SimulatedSite(settings, settings.data, clock=household.daylight())
        self._port = port
        self._folder = settings.data
        self._house_note = self._folder / "house.json"
        self._screen_note = self._folder / "screen.json"
        self._log_path = self._folder / "demo.log"
        self._contract = contract.load()
        self._head = self._brief = ""
        self._started_ms = 0

    @property
    def _settings(self) -> Settings:
        return self.site.settings

    def run(self, seconds: float | None, stop: threading.Event) -> int:
        """Start everything, keep it running, end it in order, and count."""
        self._started_ms = round(time.time() * 1000)
        for path in (self._house_note, self._screen_note):  # of a run that was killed
            path.unlink(missing_ok=True)
        self.site.open(self._port)
        if self.site.left_out:
            raise ConfigError("\n".join(self.site.left_out.values()))
        broker = OwnBroker(self._settings.broker, self._folder / "broker")
        with _log_to(self._log_path):
            broker.start()
            try:
                self.site.settings = replace(self._settings, broker=broker.settings)
                self.site.note()
                self._head, self._brief = self._describe(broker.name), self._in_brief()
                self._supervise(seconds, stop, broker)
            finally:
                broker.stop()
        return self.count()

    def _supervise(self, seconds: float | None, stop: threading.Event, broker: OwnBroker) -> None:
        end_s = time.monotonic() + seconds if seconds else math.inf
        bridges = self._settings.bridges
        supervisor = Supervisor((HOUSE, "screen", "archive", *bridges), self._work)

        def tend() -> None:
            broker.tend()
            if not supervisor.children[HOUSE].pid:
                self.site.unlink()

        supervisor.keep_running(until=lambda: stop.is_set() or time.monotonic() >= end_s, tend=tend)
        supervisor.stop(*bridges)
        self._drain()
        for name in ("archive", "screen", HOUSE):
            supervisor.stop(name)

    def _describe(self, broker: str) -> str:
        host, port = self._settings.broker.host, self._settings.broker.port
        about = "\n         ".join(household.ABOUT)
        return (
            "A simulated house: nothing is connected to this computer. Ctrl-C ends it.\n\n"
            f"devices  {about}\n"
            f"broker   {broker} on {host}:{port}; see all that is on it with\n"
            f"         mosquitto_sub -p {port} -v -t 'heliobus/#'\n"
            f"archive  {self._folder}/{ARCHIVE}\n"
            f"log      {self._log_path}\n\n"
        )

    def _in_brief(self) -> str:
        port = self._settings.broker.port
        return f"Ctrl-C ends.  day {household.DAY_MIN:.0f} min  port {port}  log {self._log_path}"

    # ------------------------------------------------------------------ the processes

    def _work(self, name: str) -> int:
        # Until a process is ready to end in order, SIGTERM ends it at once.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if name == HOUSE:
            return self._house()
        if name == "screen":
            return self._screen()
        if name in self._settings.bridges:
            self._wait_for_the_others(name)
        return run_component(self._settings, name, self._contract)

    def _wait_for_the_others(self, name: str) -> None:
        """Let the house make the ports and the archive listen before anything is measured.

        A bridge that comes first reports that there is no port; and what it has measured alone
        cannot be asked of it any more where the demo is ended at once.
        """
        topics = Topics(self._settings.site)
        listening = threading.Event()
        bus = Bus(
            self._settings.broker,
            f"demo_{name}",
            will=(topics.component("demo", "status"), b""),
            subscriptions=[(topics.component("archive", "status"), 1)],
            on_message=lambda message: listening.set() if b"online" in message.payload else None,
        )
        bus.start()
        listening.wait(START_S)
        bus.stop()
        self.site.wait()

    def _house(self) -> int:
        """Be the devices until SIGTERM; leave how many polls were answered whole."""
        stop = stop_on(signal.SIGTERM)
        whole = tally.begin(self._house_note)
        tally.note(self._house_note, whole=whole, polls=self.site.play(stop))
        return EXIT_STOPPED

    def _screen(self) -> int:
        """Show the bus until SIGTERM; leave how many samples were on it."""
        stop = stop_on(signal.SIGTERM)
        whole = tally.begin(self._screen_note)
        counter = _Counter(Topics(self._settings.site), time_text(self._started_ms))
        try:
            watch.show(
                self._settings, "", stop, head=self._head, brief=self._brief, seen=counter.take
            )
        except BrokenPipeError:
            # Whoever read our output has seen enough: the demo is over.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            os.kill(os.getppid(), signal.SIGTERM)
            stop.wait()
        tally.note(
            self._screen_note,
            whole=whole,
            published=len(counter.seen),
            rewritten=counter.rewritten,
            parts=counter.parts,
        )
        return EXIT_STOPPED

    # ------------------------------------------------------------------ the end

    def _drain(self) -> None:
        """Wait until the archive has what the bridge has journaled."""
        wanted = set(self._journaled())
        end_s = time.monotonic() + DRAIN_S
        while time.monotonic() < end_s and not wanted <= set(self._stored()):
            time.sleep(0.1)

    def _journaled(self, *, silent_only: bool = False) -> list[tally.Row]:
        settings, since_ms = self._settings, self._started_ms
        return [
            row
            for name in settings.bridges
            for row in tally.journaled(settings, name, since_ms, silent_only=silent_only)
        ]

    def _stored(self) -> list[tally.Row]:
        path, site = self._folder / ARCHIVE, self._settings.site
        return tally.stored(path, self._contract, self._started_ms, site=site)

    def count(self) -> int:
        """Compare the counts of what has ended, say what came of it, and give the exit status."""
        house, screen = tally.noted(self._house_note), tally.noted(self._screen_note)
        parts, rows = screen.get("parts", {}), self._journaled()
        heard = [row for row in rows if parts.get(row[0], row[0]) not in self.site.asked]
        result = tally.compare(
            measured=tally.expected(house.get("polls", {}), parts),
            published=screen.get("published", 0),
            rewritten=screen.get("rewritten", 0),
            heard=[*heard, *self._journaled(silent_only=True)],
            journaled=rows,
            stored=self._stored(),
        )
        sys.stdout.write(f"{self._never(rows)}{result.note}{result}\n")
        counting = {"the simulated devices": house, "the screen": screen}
        killed = [who for who, counts in counting.items() if rows and not counts.get("whole")]
        if result.good and not killed:
            return EXIT_STOPPED
        if killed:
            sys.stderr.write(f"this proves nothing: {' and '.join(killed)} died while counting\n")
        sys.stderr.write(f"{self._folder} is kept; demo.log in it may tell what has happened\n")
        return EXIT_FAILED

    def _never(self, rows: Iterable[tally.Row]) -> str:
        """Name the devices of which nothing was measured; "" where there are none, or nothing."""
        there = {device for device, _ in rows}
        names = [each.name for own in self._settings.bridges.values() for each in own.devices]
        never = [name for name in names if there and name not in there]
        return f"Nothing was measured of {', '.join(never)}.\n" if never else ""


class _Counter:
    """Count the samples on the bus, and what the archive says it has written twice.

    A kept folder's broker also brings the newest sample of the run before, from before `since`.
    """

    def __init__(self, topics: Topics, since: str) -> None:
        self._topics = topics
        self._since = since
        self.seen: set[tuple[str, str]] = set()
        self.rewritten = 0
        self.parts: dict[str, str] = {}  # a device behind another, and that one

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
            elif address.leaf == "info" and address.device is not None:
                self.parts[address.device] = load_object(message.payload).get("via", address.device)
            elif address.leaf == "status" and address.component == "archive":
                self.rewritten = load_object(message.payload).get("rewritten", self.rewritten)
        except FrameError:
            log.warning("%s: not JSON", message.topic)


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
