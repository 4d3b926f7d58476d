"""What a component publishes: stamped, journaled, then sent; and answered for afterwards."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliobus import topics as t
from heliobus.errors import ConfigError, FrameError
from heliobus.faults import Faults
from heliobus.sample import (
    PROVISIONAL,
    SIMULATED,
    Measured,
    Sample,
    Value,
    Values,
    dumps,
    time_ms,
    time_text,
)

if TYPE_CHECKING:  # it is given them
    from heliobus.bus import Bus
    from heliobus.clock import Clock
    from heliobus.contract import Contract
    from heliobus.journal import Batch, Journal
    from heliobus.rejects import Rejects
    from heliobus.settings import JournalSettings
    from heliobus.waiting import Waiting

log = logging.getLogger(__name__)

# Keeping time rising after the clock was set back is done by stamping 1 ms later than the sample
# before, as long as that leads away from the true time by no more than this.
MOST_RISING_MS = 60_000


class Outbox:
    """The way of a reading from a component to the bus. `put` may be called from any thread.

    `may_publish(device)`: its samples go on the bus; else they are journaled only. It is called
    from the same threads. `simulated`: no hardware is behind it, and each sample is marked so.
    """

    def __init__(
        self,
        name: str,
        topics: t.Topics,
        *,
        contract: "Contract",
        clock: "Clock",
        journal: "Journal",
        bus: "Bus",
        rejects: "Rejects",
        waiting: "Waiting",
        settings: "JournalSettings",
        may_publish: Callable[[str], bool] = lambda _: True,
        simulated: bool = False,
    ) -> None:
        self._name = name
        self._topics = topics
        self._contract = contract
        self._clock = clock
        self._journal = journal
        self._bus = bus
        self._settings = settings
        self._rejects = rejects
        self._marks: dict[str, Value] = {SIMULATED: True} if simulated else {}
        self._faults = Faults(log)
        self._lock = threading.Lock()
        self._waiting = waiting
        self._newest: dict[str, bytes] = {}
        self._may_publish = may_publish
        self._flushed_s = time.monotonic()
        self.published = 0

    # ------------------------------------------------------------------ from the component

    def put(self, device: str, kind: str, values: Values, measured_s: float) -> Values:
        """Send the values of one device, measured at a moment of the monotonic clock.

        Return those that the contract lets pass; the others go to `rejected`.
        """
        good, bad = self._contract.strict(kind, values)
        for name, reason in bad.items():
            self._rejects.put(self._topics.device(device, "state"), reason, {name: values[name]})
        self._put(Measured(device, kind, good, measured_s))
        return good

    def event(self, event: str, text: str, **details: Value) -> None:
        """Send an event: something that happened once and that somebody may ask about later."""
        log.info("%s: %s", event, text)
        values: Values = {"event": event, "text": text, **details}
        self._put(Measured(t.BUS, "event", values, self._clock.monotonic()))

    def _put(self, measured: Measured) -> None:
        with self._lock:
            self._clock.refresh()
            self._waiting.put(measured, on_disk=not self._clock.ready)
            if self._clock.ready:
                self._release()
            elif measured.device != t.BUS:
                self._show(measured)

    def republish(self, device: str) -> None:
        """Publish the newest state of a device, again or because that may be done now."""
        with self._lock:
            payload = self._newest.get(device)
            if payload is not None:
                self._bus.publish(self._topics.device(device, "state"), payload, retain=True)

    # ------------------------------------------------------------------ stamping

    def _release(self) -> None:
        """Stamp and send what waits."""
        while self._waiting:
            self._send(self._waiting.take())
        self._waiting.clear_disk()

    def _show(self, measured: Measured) -> None:
        """Let people see a value that waits: it comes again, with its true time, to be stored."""
        self._publish(
            Sample(
                site=self._topics.site,
                bridge=None,
                device=measured.device,
                kind=measured.kind,
                time_ms=self._clock.stamp(measured.measured_s),
                prev_ms=None,
                values=measured.values,
                marks={**self._marks, **measured.marks, "quality": PROVISIONAL},
            ).payload(),
            measured.device,
        )

    def _send(self, measured: Measured) -> None:
        time_ms = self._clock.stamp(measured.measured_s)
        last_ms = self._journal.last(measured.device)
        if last_ms is not None and last_ms - time_ms > MOST_RISING_MS:
            self._set_back(measured.device, last_ms, time_ms)
            last_ms = None
        elif last_ms is not None:
            time_ms = max(time_ms, last_ms + 1)
        sample = Sample(
            site=self._topics.site,
            bridge=self._name,
            device=measured.device,
            kind=measured.kind,
            time_ms=time_ms,
            prev_ms=last_ms,
            values=measured.values,
            marks={**self._marks, **measured.marks},
        )
        payload = sample.payload()
        journaled = self._journal.append(sample, payload)
        self._waiting.sent()
        if not journaled:
            text = f"{self._journal.fault}; publishing goes on unjournaled"
            self._faults.report("journal", text, alike=True)
        if measured.device == t.BUS:
            self._bus.publish(self._topics.component(self._name, "event"), payload)
            return
        self._publish(payload, measured.device)

    def _publish(self, payload: bytes, device: str) -> None:
        self._newest[device] = payload
        if self._may_publish(device):
            topic = self._topics.device(device, "state")
            self.published += self._bus.publish(topic, payload, retain=True)

    def _set_back(self, device: str, last_ms: int, time_ms: int) -> None:
        text = (
            f"{device}: the clock was set back from {time_text(last_ms)} to {time_text(time_ms)}; "
            "a new chain of samples begins"
        )
        log.warning("%s", text)
        if device != t.BUS:
            values: Values = {"event": "clock_set_back", "text": text}
            event = Measured(t.BUS, "event", values, self._clock.monotonic())
            self._waiting.put(event, on_disk=False)

    # ------------------------------------------------------------------ from the main loop

    def tick(self) -> None:
        """Do what is due: send what was held, settle the journal."""
        with self._lock:
            self._clock.refresh()
            if self._clock.ready:
                self._release()
        if self._clock.fault and (self._waiting or self._newest):
            self._faults.report("clock", self._clock.fault)
        else:
            self._faults.over("clock", "the clock is synchronised")
        now_s = time.monotonic()
        if now_s - self._flushed_s >= self._settings.flush_s:
            self._flushed_s = now_s
            self._flush()

    def flush(self) -> None:
        """Settle the journal at a stop, which does not wait for a locked file."""
        self._journal.hurry()
        self._flush()

    def _flush(self) -> None:
        keep_ms = round(self._settings.keep_s * 1000)
        trusted = self._clock.synced
        self._journal.flush(self._clock.now_ms() - keep_ms if trusted else None)
        if self._journal.fault:
            self._faults.report("journal", self._journal.fault, alike=True)
        else:
            self._faults.over("journal", "the journal is written again")

    def close(self) -> None:
        """Stamp what is still held, as well as the clock allows, and settle the journal."""
        with self._lock:
            self._release()
        self._journal.close()

    def status(self) -> dict[str, Any]:
        """Give the parts of the component's status that are known here."""
        journal: dict[str, Any] = {
            "size_bytes": self._journal.size_bytes,
            "unjournaled": self._journal.unjournaled,
        }
        if (oldest_ms := self._journal.oldest_ms) is not None:
            journal["oldest"] = time_text(oldest_ms)
        return {
            "clock": {"synced": self._clock.synced, "waiting": len(self._waiting)},
            "journal": journal,
            "heads": {
                device: {"first": time_text(first_ms), "last": time_text(last_ms)}
                for device, (first_ms, last_ms) in self._journal.heads().items()
            },
        }

    # ------------------------------------------------------------------ replay

    def answer(self, topic: str, payload: bytes) -> None:
        """Answer a sink's request for one batch; a malformed one goes to `rejected`."""
        try:
            request = self._contract.parse("replay", payload)
            after_ms, until_ms = (
                None if request.get(key) is None else time_ms(request[key])
                for key in ("after", "until")
            )
            sink = t.slug(request["sink"], "sink")
        except (FrameError, ConfigError) as error:
            self._rejects.put(
                topic, str(error), {"request": payload[:200].decode("utf-8", "replace")}
            )
            return
        if not self._journal.is_open:
            return
        try:
            batch = self._journal.batch(request["device"], after_ms, until_ms)
        except OSError as error:
            self._faults.report("journal", f"{error}; not answering '{sink}', which asks again")
            return
        self._bus.publish(
            self._topics.component(sink, "history"),
            self._history(request["id"], request["device"], batch),
        )

    def _history(self, request_id: str, device: str, batch: "Batch") -> bytes:
        head: dict[str, Any] = {
            "id": request_id,
            "bridge": self._name,
            "device": device,
            "after": None if batch.after_ms is None else time_text(batch.after_ms),
            "to": None if batch.to_ms is None else time_text(batch.to_ms),
        }
        if batch.restart:
            head["restart"] = True
        if batch.lost_until_ms is not None:
            head["lost_until"] = time_text(batch.lost_until_ms)
        if batch.is_end:
            head["end"] = True
        # The payloads are JSON as they were published: joined, not parsed again.
        samples = b",".join(entry.payload for entry in batch.entries)
        return dumps(head)[:-1] + b',"samples":[' + samples + b"]}"
