"""A sink component: batches from the bus into a destination, holes asked for, refusals kept."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from heliobus import topics as t
from heliobus.bus import Message
from heliobus.component import Component
from heliobus.contract import Contract
from heliobus.cursor import MINUS_INFINITY, Request
from heliobus.errors import FrameError, SinkError
from heliobus.faults import Faults
from heliobus.health import KIND, Health
from heliobus.intake import Intake
from heliobus.sample import SIMULATED, Sample, dumps, load_object, time_text
from heliobus.settings import Settings, SinkSettings
from heliobus.sink import Sink, Written

log = logging.getLogger(__name__)

BATCH_S = 0.5  # a sample waits at most so long for others to be stored with it
BATCH_SAMPLES = 500
PRUNE_S = 3600.0
INFOS_S = 5.0  # of infos at once; a slow destination gets the others next time
LONGEST_RETRY_S = 4.0
LONGEST_ASKED_S = 3600.0  # a destination that asks for more is asked anyway


class SinkComponent(Component):
    """One sink of the configuration, running."""

    role = "sink"

    def __init__(
        self, settings: Settings, sink: SinkSettings, kind: type[Sink], contract: Contract
    ) -> None:
        everywhere = t.Topics("+", settings.base_topic)
        # The order matters: a status says what a journal holds before a state is judged by it.
        super().__init__(
            settings,
            sink.name,
            type_name=sink.type,
            contract=contract,
            subscriptions=[
                (everywhere.component(sink.name, "history"), 1),
                (everywhere.component("+", "status"), 1),
                (everywhere.device("+", "info"), 1),
                (everywhere.component("+", "event"), 1),
                (everywhere.device("+", "state"), 1),
            ],
        )
        self._sink = kind(sink, folder=settings.folder, data=settings.data)
        self._intake = Intake(
            contract,
            backfill_ms=None if sink.backfill_s is None else round(sink.backfill_s * 1000),
            now_ms=self.clock.now_ms,
            reject=self.rejects.put,
            lost=lambda text: self.outbox.event("samples_lost", text),
            simulated=settings.simulated,
        )
        self._health = Health(self.clock.now_ms)
        self._infos: dict[tuple[str, str], dict[str, Any]] = {}
        self._doubtful: dict[str, Any] = {}  # an info that could not be stored
        self._is_open = self._is_interrupted = False
        self._waiting_since_s: float | None = None
        self._failures = 0
        self._retry_s = self._pruned_s = 0.0
        self._stored = self._rewritten = 0
        self._stores = False  # values of a device, since the start
        self._tells_simulated = False
        self._faults = Faults(log)

    # ------------------------------------------------------------------ taking in

    def take(self, message: Message) -> None:
        """Take in one message of the bus."""
        address = self.topics.parse(message.topic)
        if address is None or not message.payload:
            return  # an empty payload clears a retained topic
        if (name := address.misnamed) is not None:
            reason = f"topic: found {name:.80}, expected up to 63 lower-case letters, digits and _"
            self._refuse(message, reason)
            return
        if address.leaf in ("state", "event"):
            self._intake.take_sample(message.topic, address, message.payload)
        elif address.leaf == "history":
            self._intake.take_history(message.topic, address.site, message.payload)
        else:
            self._take_object(address, message)

    def _take_object(self, address: t.Address, message: Message) -> None:
        try:
            body = load_object(message.payload)
            dumps(body)  # what cannot be written cannot be stored either
        except FrameError as error:
            self._refuse(message, str(error))
            return
        if address.leaf == "status" and address.component is not None:
            self._intake.take_status(address.site, address.component, body)
            if (health := self._health.take(address.site, address.component, body)) is not None:
                self._intake.take_foreign(message.topic, health)
        elif address.leaf == "info" and address.device is not None and self._is_wanted(body):
            self._infos[address.site, address.device] = body

    def _is_wanted(self, info: Mapping[str, Any]) -> bool:
        return self.simulated or info.get(SIMULATED) is not True

    def _refuse(self, message: Message, reason: str) -> None:
        text = message.payload[:500].decode("utf-8", "replace")
        self.rejects.put(message.topic, reason, {"payload": text})

    # ------------------------------------------------------------------ storing

    def tick(self) -> None:
        """Open the destination, write what has gathered, ask for what is missing."""
        now_s = time.monotonic()
        if not self._is_open and now_s >= self._retry_s:
            self._try(self._open)
        if not self._is_open:
            self._intake.drop()
            return  # what is missing will be asked for once it can be stored
        if self._intake.simulated_skipped and not self._tells_simulated:
            self._tells_simulated = True
            log.warning("somebody publishes simulated values here; they are not stored")
        if self._is_batch_due(now_s):
            self._try(self._write)
        elif now_s - self._pruned_s >= PRUNE_S and self.clock.synced:
            self._pruned_s = now_s
            self._try(lambda: self._sink.prune(self.clock.now_ms()))
        for request in self._intake.due(time.monotonic()):
            self._ask(request)

    def _try(self, work: Callable[[], None]) -> None:
        """Do work on the destination; where it fails, let go of it and try again later."""
        try:
            work()
        except SinkError as error:
            self._failures += 1
            wait_s = min(LONGEST_RETRY_S, 2.0 ** min(self._failures - 2, 10))
            self._retry_s = time.monotonic() + max(wait_s, min(error.retry_s, LONGEST_ASKED_S))
            further = "" if self._is_interrupted else "; trying again"
            self._faults.report("sink", f"{error}{further}")
            self._is_open = False
            self._intake.drop()
            self._sink.close()
        else:
            self._failures = 0

    def _open(self) -> None:
        self._intake.load(self._sink.open())
        self._is_open = True
        self._faults.over("sink", "stores again")

    def _is_batch_due(self, now_s: float) -> bool:
        waiting = len(self._intake.pending())
        if not waiting and not self._intake.cursors() and not self._infos:
            self._waiting_since_s = None
            return False
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        patience_s = 0.0 if self._intake.answered else BATCH_S
        return waiting >= BATCH_SAMPLES or now_s - self._waiting_since_s >= patience_s

    def _write(self) -> None:
        self._waiting_since_s = None
        samples = self._intake.pending()
        written = self._sink.write(samples, self._intake.cursors())
        self._intake.commit()
        self._count(written)
        if not self._stores:
            self._tell_first(samples)
        end_s = time.monotonic() + INFOS_S
        while self._infos and time.monotonic() < end_s:
            (site, device), info = next(iter(self._infos.items()))
            self._write_info(site, device, info)
            del self._infos[site, device]

    def _tell_first(self, samples: Sequence[Sample]) -> None:
        """Say once that values of a device are stored, not only how the components are."""
        devices = sorted({s.device for s in samples if s.kind not in (KIND, "event")})
        if devices:
            self._stores = True
            log.info("stores what comes; the first: %s", ", ".join(devices))

    def _write_info(self, site: str, device: str, info: dict[str, Any]) -> None:
        try:
            self._sink.info(site, device, info)
        except SinkError as error:
            if info != self._doubtful:
                self._doubtful = info
                raise
            # For the second time, between writes that went well: it is not the destination's fault.
            topic = t.Topics(site, self.topics.base).device(device, "info")
            self.rejects.put(topic, str(error), info)

    def _count(self, written: Written) -> None:
        self._stored += written.stored
        self._rewritten += written.rewritten
        for sample, reason in written.rejected:
            topic = f"{sample.site}/{sample.device} at {time_text(sample.time_ms)}"
            self.rejects.put(topic, reason, sample.values)

    def _ask(self, request: Request) -> None:
        site, bridge, device = request.key
        after = None if request.after_ms == MINUS_INFINITY else time_text(request.after_ms)
        until = None if request.until_ms is None else time_text(request.until_ms)
        body = {
            "id": request.id, "sink": self.name, "device": device, "after": after, "until": until,
        }  # fmt: skip
        topic = t.Topics(site, self.topics.base).component(bridge, "replay")
        self.bus.publish(topic, dumps(body))

    def interrupt(self) -> None:
        """End a call that waits for the destination."""
        self._is_interrupted = True
        self._sink.interrupt()

    def finish(self) -> None:
        """Store what has come in so far."""
        if self._is_open:
            self._try(self._write)
        self._sink.close()

    def details(self) -> dict[str, Any]:
        """Give what was stored, and how far behind the destination is."""
        details: dict[str, Any] = {
            "stored": self._stored,
            "rewritten": self._rewritten,
            "rejected": self.rejects.count,
            "holes": self._intake.holes,
            "lag_s": max(0.0, round(min(self._intake.lag_ms, 10**12) / 1000, 1)),
        }
        if skipped := self._intake.simulated_skipped:
            details["simulated_skipped"] = skipped
        if texts := self._faults.texts():
            details["error"] = texts[0][:1000]
        return details
