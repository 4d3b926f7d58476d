"""What every component has, be it a bridge or a sink: a name, the bus, an outbox, a status."""

import logging
import math
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import heliobus
from heliobus.bus import Bus, Message, Subscription
from heliobus.clock import Clock
from heliobus.contract import Contract
from heliobus.faults import Faults
from heliobus.journal import Journal
from heliobus.outbox import Outbox
from heliobus.rejects import Rejects
from heliobus.sample import SIMULATED, dumps, time_text
from heliobus.settings import Settings
from heliobus.topics import Topics
from heliobus.waiting import Waiting

log = logging.getLogger(__name__)

STATUS_S = 10.0
TICK_S = 0.2
# Messages that wait to be taken in; beyond that new ones are dropped, and samples show as holes.
# A loop that stands still for ten seconds loses none of 2,000 messages a second.
INBOX_MESSAGES = 20_000
DRAIN_S = 0.4
# In this variable a supervisor names the pipe that a process writes to while it is well.
PULSE = "HELIOBUS_PULSE"
FED_EVERY_S = 1.0


class Component:
    """The main loop of a process: messages in, status out. Subclasses are a bridge and a sink."""

    role = ""
    gather_s = 0.0  # so long messages gather: many at once cost less than one by one

    def __init__(
        self,
        settings: Settings,
        name: str,
        *,
        type_name: str,
        contract: Contract,
        subscriptions: Sequence[Subscription | tuple[str, int]],
    ) -> None:
        self.name = name
        self.contract = contract
        self.topics = Topics(settings.site, settings.base_topic)
        self.clock = Clock(settings.clock)
        self._type_name = type_name
        self._started_s = time.monotonic()
        self._status_s = 0.0
        self.last_status = b""
        self._status_topic = self.topics.component(name, "status")
        self._replay_topic = self.topics.component(name, "replay")
        self._inbox: queue.Queue[Callable[[], None]] = queue.Queue()
        self._dropped = 0
        self._inbox_faults = Faults(log)
        self.bus = Bus(
            settings.broker,
            name,
            # Two sites may share a broker, and name their components alike.
            client_id=f"{settings.base_topic}-{settings.site}-{name}",
            will=(self._status_topic, dumps({"state": "offline"})),
            subscriptions=[*subscriptions, (self._replay_topic, 1)],
            on_connect=partial(self.post, self._greet),
            on_message=partial(self.receive, self._take_in),
        )
        self._journal = Journal(settings.data, name, settings.journal)
        self._waiting = Waiting(settings.data / f"{name}.waiting")
        self.rejects = Rejects(settings.data / f"{name}.rejected", name, self.topics, self.bus)
        self.outbox = Outbox(
            name,
            self.topics,
            contract=contract,
            clock=self.clock,
            journal=self._journal,
            bus=self.bus,
            rejects=self.rejects,
            waiting=self._waiting,
            settings=settings.journal,
            may_publish=self.may_publish,
            simulated=settings.simulated,
        )
        self.simulated = settings.simulated

    # ------------------------------------------------------------------ for subclasses

    def begin(self) -> None:
        """Start what the component has of its own."""

    def connected(self) -> None:
        """Publish what is retained: the broker has (again) accepted us."""

    def take(self, message: Message) -> None:
        """Take in one message."""

    def tick(self) -> None:
        """Do what is due; called a few times a second."""

    def finish(self) -> None:
        """Stop what `begin` started, while the bus is still there."""

    def may_publish(self, device: str) -> bool:  # noqa: ARG002 - others have one of their own
        """Say whether a device is ours to publish; from any thread."""
        return True

    def interrupt(self) -> None:
        """End a call that keeps the loop from stopping; from a signal handler, also repeatedly."""

    def details(self) -> dict[str, Any]:
        """Give the component's own part of its status."""
        return {}

    def well(self) -> bool:
        """Say whether real progress is being made: it feeds the watchdog.

        Raise RuntimeError where a thread has died.
        """
        return True

    # ------------------------------------------------------------------ the loop

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set; then end in order, within two seconds."""
        notify = Notify()
        self._waiting.open()
        for report in self._journal.open():
            self.outbox.event("journal_damaged", report)
        self.bus.start()
        self.begin()
        notify("READY=1")
        try:
            while not stop.is_set():
                self._take_all(TICK_S)
                self.outbox.tick()
                self.tick()
                if time.monotonic() - self._status_s >= STATUS_S:
                    self.publish_status()
                if not self.bus.alive:
                    raise RuntimeError("the thread of the bus has died")
                if self.well():
                    notify("WATCHDOG=1")
        finally:
            notify("STOPPING=1")
            self.finish()
            self.outbox.flush()
            self.publish_status("offline")
            self.bus.drain(DRAIN_S)
            self.bus.stop(DRAIN_S)
            self.outbox.close()

    def post(self, do: Callable[[], None]) -> None:
        """Have something done in the main loop, after what waits there; from any thread."""
        self._inbox.put(do)

    def receive(self, take: Callable[[Message], None], message: Message) -> None:
        """Have a message taken in by the main loop; one too many is dropped. From any thread."""
        if self._inbox.qsize() < INBOX_MESSAGES:
            self._inbox.put(partial(take, message))
        else:
            self._dropped += 1

    @property
    def behind(self) -> bool:
        """Say whether messages wait to be taken in."""
        return not self._inbox.empty()

    def _take_all(self, wait_s: float) -> None:
        """Take in what has come, waiting a little for the first; not so much that a stop waits."""
        end_s = time.monotonic() + 2 * wait_s
        with suppress(queue.Empty):
            first = self._inbox.get(timeout=wait_s)
            time.sleep(self.gather_s)
            first()
            while time.monotonic() <= end_s:
                self._inbox.get_nowait()()
        if self._dropped:
            self._inbox_faults.report(
                "inbox",
                f"{self._dropped} messages came faster than they could be taken in, and were"
                " dropped; samples of heliobus are fetched again, what others say is lost",
            )

    def _greet(self) -> None:
        self.connected()
        self.publish_status()

    def _take_in(self, message: Message) -> None:
        if message.topic == self._replay_topic:
            self.outbox.answer(message.topic, message.payload)
        else:
            self.take(message)

    def publish_status(self, state: str = "online") -> None:
        """Publish how we are, retained."""
        self._status_s = time.monotonic()
        uptime_s = time.monotonic() - self._started_s
        status = {
            "state": state,
            "role": self.role,
            "type": self._type_name,
            "version": heliobus.__version__,
            "contract": self.contract.version,
            "time": time_text(self.clock.now_ms()),
            "uptime_s": round(uptime_s, 1),
            **({SIMULATED: True} if self.simulated else {}),
            **({"dropped": self._dropped} if self._dropped else {}),
            **self.outbox.status(),
            **self.details(),
        }
        self.last_status = dumps(status)
        self.bus.publish(self._status_topic, self.last_status, retain=True)


class Notify:
    """Tell systemd (sd_notify(3)) and our supervisor how we are; nothing where neither asks."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._pulse = int(os.environ.get(PULSE, "-1"))
        watchdog_us = int(os.environ.get("WATCHDOG_USEC", "0") or "0")
        self._every_s = watchdog_us / 2_000_000 or FED_EVERY_S
        self._fed_s = -math.inf

    def __call__(self, state: str) -> None:
        """Send one state; WATCHDOG=1 no more often than is asked for."""
        if state == "WATCHDOG=1":
            now_s = time.monotonic()
            if now_s - self._fed_s < self._every_s:
                return
            self._fed_s = now_s
            if self._pulse >= 0:
                with suppress(OSError):  # full or closed: the supervisor has stopped, or died
                    os.write(self._pulse, b".")
        if self._address:
            with (
                suppress(OSError),  # a socket that is gone: systemd will find out by itself
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
            ):
                sender.connect(self._address)
                sender.send(state.encode())
