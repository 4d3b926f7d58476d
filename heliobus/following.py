"""A follower component: what it hears goes in, what it has to say comes out."""

import logging
import time
from collections import deque
from typing import Any

from heliobus.bus import Message
from heliobus.component import Component
from heliobus.contract import Contract
from heliobus.errors import FrameError
from heliobus.follower import Follower, Outgoing
from heliobus.sample import SIMULATED, load_object
from heliobus.settings import Settings, SinkSettings
from heliobus.topics import Topics

log = logging.getLogger(__name__)

# Messages that are not retained and wait for the broker: of more, the oldest are rejected.
MOST_WAITING = 1000


class FollowerComponent(Component):
    """One follower of the configuration, running."""

    role = "sink"

    def __init__(
        self, settings: Settings, sink: SinkSettings, kind: type[Follower], contract: Contract
    ) -> None:
        topics = Topics(settings.site, settings.base_topic)
        self._follower = kind(sink, topics=topics, contract=contract, now_ms=self._now_ms)
        super().__init__(
            settings,
            sink.name,
            type_name=sink.type,
            contract=contract,
            subscriptions=self._follower.subscriptions,
        )
        self._unsent: dict[str, Outgoing] = {}  # what is retained: the newest of each topic
        self._queue: deque[Outgoing] = deque()  # what is not, in its order
        self._tells_simulated = False

    def _now_ms(self) -> int:
        return self.clock.now_ms()

    def connected(self) -> None:
        """Forget what was to be said to the old connection; the follower says it again."""
        self._unsent.clear()
        while self._queue:
            self._reject_first("the connection was lost before it could be sent")
        self._follower.connected(time.monotonic())

    def take(self, message: Message) -> None:
        """Take in one message; what the follower refuses goes to `rejected`.

        A device that is simulated is not there for one that is real.
        """
        if not self.simulated and self._is_simulated(message):
            if not self._tells_simulated:
                self._tells_simulated = True
                log.warning("somebody publishes simulated devices here; they are passed over")
            return
        reason = self._follower.take(message, time.monotonic())
        if reason is not None:
            text = message.payload[:500].decode("utf-8", "replace")
            self.rejects.put(message.topic, reason, {"payload": text})

    def _is_simulated(self, message: Message) -> bool:
        address = self.topics.parse(message.topic)
        if address is None or address.leaf != "info" or address.device is None:
            return False
        try:
            return load_object(message.payload).get(SIMULATED) is True
        except FrameError:
            return False  # cleared, or not ours to judge

    def tick(self) -> None:
        """Publish what is due; what the broker does not take now waits for the next time."""
        for outgoing in self._follower.due(time.monotonic()):
            if outgoing.retain:
                self._unsent.pop(outgoing.topic, None)  # so that the newest stands last
                self._unsent[outgoing.topic] = outgoing
            else:
                self._queue.append(outgoing)
        while self._queue and self._published(self._queue[0]):
            self._queue.popleft()
        while len(self._queue) > MOST_WAITING:
            self._reject_first(f"more than {MOST_WAITING:,} messages wait for the broker")
        for topic, outgoing in list(self._unsent.items()):
            if not self._published(outgoing):
                return
            del self._unsent[topic]

    def _published(self, outgoing: Outgoing) -> bool:
        return self.bus.publish(outgoing.topic, outgoing.payload, retain=outgoing.retain)

    def _reject_first(self, reason: str) -> None:
        lost = self._queue.popleft()
        text = lost.payload[:500].decode("utf-8", "replace")
        self.rejects.put(lost.topic, reason, {"payload": text})

    def finish(self) -> None:
        """Publish what is still due."""
        self.tick()
        while self._queue:
            self._reject_first("the broker did not take it before the end")

    def details(self) -> dict[str, Any]:
        """Give what the follower says of itself, and what was refused."""
        return {"rejected": self.rejects.count, **self._follower.details()}
