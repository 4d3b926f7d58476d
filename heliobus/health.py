"""How the components are, as samples: the `status` of each, made storable once a minute.

A status is for now, and retained; nobody journals it. So these samples are live only, and have
no bridge: a sink stores them and sees no holes in them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from heliobus.contract import LARGEST_INTEGER
from heliobus.errors import FrameError
from heliobus.sample import SIMULATED, Sample, Value, time_ms

KIND = "component"
EVERY_MS = 60_000
_AVAILABLE = ("online", "asleep")

# Field of the contract <- where the status has it.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "component_role": ("role",),
    "component_error": ("error",),
    "uptime_s": ("uptime_s",),
    "is_synced": ("clock", "synced"),
    "waiting_count": ("clock", "waiting"),
    "journal_bytes": ("journal", "size_bytes"),
    "unjournaled_count": ("journal", "unjournaled"),
    "lag_s": ("lag_s",),
    "stored_count": ("stored",),
    "rewritten_count": ("rewritten",),
    "rejected_count": ("rejected",),
    "holes_count": ("holes",),
}


class Health:
    """Decides when a component's next sample is due: once a minute, and whenever it comes or goes.

    `now_ms` dates the status that a broker has published as a will.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._last: dict[tuple[str, str], Sample] = {}

    def take(self, site: str, component: str, status: Mapping[str, Any]) -> Sample | None:
        """Give the sample of this status, or None: it is not due yet, or its time is no time."""
        online = status.get("state") != "offline"
        last = self._last.get((site, component))
        # A will does not know; it is of whoever was online.
        simulated = status.get(SIMULATED) is True if online or last is None else bool(last.marks)
        if not online and (last is None or last.values["is_online"] is False):
            return None  # what has long been gone is not news at every connect
        try:
            at_ms = time_ms(status["time"]) if online else self._now_ms()
        except (KeyError, FrameError):
            return None
        if last is not None and last.values["is_online"] is online:
            passed_ms = at_ms - last.time_ms
            if 0 <= passed_ms < EVERY_MS:
                return None
        values = {"is_online": online, **(dict(_values(status, at_ms)) if online else {})}
        marks = {SIMULATED: True} if simulated else {}
        sample = Sample(site, None, component, KIND, at_ms, None, values, marks)
        self._last[site, component] = sample
        return sample


def _values(status: Mapping[str, Any], at_ms: int) -> Iterator[tuple[str, Value]]:
    for name, path in FIELDS.items():
        found: Any = status
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            yield name, found
    with suppress(FrameError, KeyError, TypeError):  # no journal, or nothing in it
        yield "journal_age_s", max(0.0, (at_ms - time_ms(status["journal"]["oldest"])) / 1000)
    devices = status.get("devices")
    if isinstance(devices, Mapping):
        yield from _of_devices([one for one in devices.values() if isinstance(one, Mapping)])


def _of_devices(devices: list[Mapping[str, Any]]) -> Iterator[tuple[str, Value]]:
    yield "offline_count", sum(one.get("state") not in _AVAILABLE for one in devices)
    yield "polls_count", round(sum(_numbers(devices, "polls")))
    yield "errors_count", round(sum(_numbers(devices, "errors")))
    for name, key in (("poll_p50_s", "p50_ms"), ("poll_p95_s", "p95_ms")):
        if times_ms := _numbers(devices, key):
            yield name, max(times_ms) / 1000
    if errors := [one["error"] for one in devices if isinstance(one.get("error"), str)]:
        yield "component_error", errors[0]


def _numbers(devices: list[Mapping[str, Any]], key: str) -> list[float]:
    """Give what is a number; anybody may publish a status, with anything in it."""
    found = [one.get(key) for one in devices]
    numbers = [n for n in found if isinstance(n, int | float) and not isinstance(n, bool)]
    return [n for n in numbers if 0 <= n <= LARGEST_INTEGER]
