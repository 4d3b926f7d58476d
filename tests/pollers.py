"""A real poller on one link, and what it says of its devices."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from heliobus.bridge import Bridge, Event, check_links
from heliobus.polled import Member, Polled, Presence
from heliobus.poller import Poller
from heliobus.sample import Values
from heliobus.settings import DeviceSettings


class Seen:
    """What was published of each device, by its name."""

    def __init__(self, polled: list[Polled]) -> None:
        self.polled = polled
        self.samples: dict[str, list[Values]] = defaultdict(list)
        self.presence: dict[str, Presence | None] = {}
        self.events: list[tuple[str, Event]] = []

    def online(self) -> list[str]:
        """Name the devices that are there."""
        return sorted(n for n, there in self.presence.items() if there is Presence.ONLINE)

    def is_online(self, *names: str) -> bool:
        return all(self.presence.get(name) is Presence.ONLINE for name in names)

    def counts(self) -> dict[str, int]:
        """Count the samples of each so far."""
        return {name: len(samples) for name, samples in self.samples.items()}

    def sample(self, member: Member, values: Values, _measured_s: float) -> None:
        self.samples[member.name].append(values)

    def change(self, member: Member) -> None:
        self.presence[member.name] = member.presence


@contextmanager
def polling(url: str, kind: type[Bridge[Any]], *devices: DeviceSettings) -> Iterator[Seen]:
    """Ask devices as a running bridge of this kind does."""
    seen = Seen([Polled(device, kind(device)) for device in devices])
    check_links(kind, {url: [polled.bridge for polled in seen.polled]})
    for polled in seen.polled:
        polled.allowed = True
    poller = Poller(
        url,
        seen.polled,
        on_sample=seen.sample,
        on_change=seen.change,
        on_event=lambda member, event: seen.events.append((member.name, event)),
    )
    poller.start()
    try:
        yield seen
    finally:
        poller.stop()
