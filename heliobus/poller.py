"""The loop on one link: when to ask which device what.

Beats keep a fixed cadence without drift; slower groups are asked between them, where they fit or
where they have waited long enough. A device that does not answer costs the others at most one
timeout per back-off of 1, 2, 4 ... 60 s, and shows no old values as new.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from heliobus.bridge import Bridge, Group, Port
from heliobus.errors import FrameError, LinkError
from heliobus.faults import Faults
from heliobus.link import open_link
from heliobus.sample import Values
from heliobus.settings import DeviceSettings

log = logging.getLogger(__name__)

LONGEST_BACK_OFF_S = 60.0
# So many beats in a row without an answer: the device counts as offline.
MISSED_BEATS = 2
# A group that fits in no gap between beats is asked all the same after waiting so many beats.
PATIENCE_BEATS = 3
_SHARES = (0.50, 0.95)
# What a stop waits for the answers that are on their way, and then for links to be cut off.
STOP_GRACE_S = 1.0
_CUT_OFF_S = 0.2


def back_off_s(failures: int) -> float:
    """Give how long to wait after so many failures in a row: 1, 2, 4 ... 60 s."""
    return min(LONGEST_BACK_OFF_S, 2.0 ** min(failures - 1, 10))


class Polled:
    """One device as the loop sees it: what is due when, what is carried, how it went."""

    def __init__(self, settings: DeviceSettings, bridge: Bridge[Any]) -> None:
        self.settings = settings
        self.name = settings.name
        self.bridge = bridge
        self.allowed = False
        self.online: bool | None = None
        self.polls = 0
        self.errors = 0
        self.error = ""
        self.cadence_s: dict[str, float] = {}  # of every field published so far
        self.failures = 0
        self._beat_is_late = False
        self._durations_s: deque[float] = deque(maxlen=200)
        self._carried: dict[str, Values] = {}
        self._due_s: dict[str, float] = {}
        self._every_s: dict[str, float] = {}

    @property
    def beat(self) -> Group:
        """Give the group that publishes."""
        return self.bridge.groups[0]

    def show(self, published: Values) -> None:
        """Note which fields are published; another thread may be reading."""
        new = {name: self._every_s[name] for name in published if name not in self.cadence_s}
        if new:
            self.cadence_s = {**self.cadence_s, **new}

    def begin(self, now_s: float) -> None:
        """Start anew on a freshly opened link: the beat first, then all others."""
        self._carried.clear()
        self._due_s = {group.name: now_s for group in self.bridge.groups}

    def next(self, now_s: float) -> tuple[float, Group]:
        """Give the group to ask next and when."""
        beat = self.beat
        beat_s = self._due_s[beat.name]
        if self.failures or not self.online:
            return beat_s, beat
        others = self.bridge.groups[1:]
        # The one that has waited longest comes first: where time is short, all get their turn.
        for group in sorted(others, key=lambda one: self._due_s.setdefault(one.name, now_s)):
            due_s = self._due_s[group.name]
            fits = now_s + group.wire_s <= beat_s
            waited = now_s - due_s > min(PATIENCE_BEATS * beat.every_s, group.every_s)
            # One that does not fit makes a beat late, so the next one waits for that beat.
            if due_s <= now_s and (fits or (waited and not self._beat_is_late)):
                self._beat_is_late = not fits
                return due_s, group
        return beat_s, beat

    def asked(self, group: Group, now_s: float) -> None:
        """Plan the next turn of a group: on its fixed cadence, missed turns left out."""
        due_s = self._due_s[group.name]
        if math.isinf(group.every_s):
            self._due_s[group.name] = math.inf
            return
        self._due_s[group.name] = due_s + group.every_s * max(
            1, math.ceil((now_s - due_s) / group.every_s)
        )

    def took(self, group: Group, values: Values, duration_s: float) -> Values | None:
        """Take in an answer; give the whole sample where it was the beat."""
        self.polls += 1
        self._durations_s.append(duration_s)
        self._every_s.update(dict.fromkeys(values, group.every_s))
        if group.name != self.beat.name:
            self._carried[group.name] = values
            return None
        self.failures = 0
        self._beat_is_late = False
        self.error = ""
        merged: Values = {}
        for carried in self._carried.values():
            merged.update(carried)
        return {**merged, **values}

    def failed(self, group: Group, error: str, now_s: float) -> None:
        """Note that a group was not answered: its old values are dropped."""
        self.errors += 1
        self.error = error
        self._carried.pop(group.name, None)
        if group.name == self.beat.name:
            self.failures += 1
            self._due_s[group.name] = max(
                self._due_s[group.name], now_s + back_off_s(self.failures)
            )
        elif math.isinf(group.every_s):
            self._due_s[group.name] = now_s + LONGEST_BACK_OFF_S

    def percentiles_ms(self) -> tuple[float, float] | None:
        """Give the median and the 95th percentile of the time of a poll."""
        rising_s = sorted(self._durations_s)
        if not rising_s:
            return None
        half_s, most_s = (rising_s[round(share * (len(rising_s) - 1))] for share in _SHARES)
        return round(half_s * 1000, 1), round(most_s * 1000, 1)


class Poller:
    """The thread that owns one link.

    `on_sample(device, values, measured_s)` and `on_change(device)` (it came or went) are called
    from that thread.
    """

    def __init__(
        self,
        url: str,
        devices: Sequence[Polled],
        *,
        on_sample: Callable[[Polled, Values, float], None],
        on_change: Callable[[Polled], None],
    ) -> None:
        self.url = url
        self.devices = devices
        self._on_sample = on_sample
        self._on_change = on_change
        self._link: Port | None = None
        self._failures = 0  # of the link, in a row
        self._faults = Faults(log)
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"link {url}", daemon=True)
        self.progress_s = time.monotonic()

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look again at which devices may be asked."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the answer that is on its way, then end; safe to call twice."""
        stop_all([self])

    def ask_to_stop(self) -> None:
        """Let nothing begin that has not begun."""
        self._stopping = True
        self._wake.set()

    def join(self, end_s: float) -> None:
        """Wait for the end of the thread until a time of the monotonic clock."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, end_s - time.monotonic()))

    def close(self) -> None:
        """Cut off what is on its way; safe to call twice."""
        link = self._link  # the thread may let go of it meanwhile
        if link is not None:
            link.close()

    @property
    def alive(self) -> bool:
        """Say whether the thread runs."""
        return self._thread.is_alive()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopping:
            self.progress_s = time.monotonic()
            if not any(device.allowed for device in self.devices):
                self._pause(1.0)
                continue
            try:
                self._open_and_serve()
            except LinkError as error:
                if not self._stopping:
                    self._lost(f"{error}")

    def _open_and_serve(self) -> None:
        link = self._link = self._open()
        try:
            if log.isEnabledFor(logging.DEBUG):
                link.tap = self._log_bytes
            self._serve(link)
        finally:
            self._link = None
            link.close()

    def _open(self) -> Port:
        bridges = [device.bridge for device in self.devices]
        opened: Port = getattr(bridges[0], "open_link", _open_bytes)(self.url, bridges)
        return opened

    def _log_bytes(self, direction: str, data: bytes) -> None:
        log.debug("%s %s %s", self.url, direction, data.hex(" "))

    def _lost(self, error: str) -> None:
        self._failures += 1
        self._faults.report("link", f"{error}; trying again")
        for device in self.devices:
            device.bridge.forget()
            device.error = error
            device.errors += 1
            self._set_online(device, online=False)
        self._pause(back_off_s(self._failures))

    def _serve(self, link: Port) -> None:
        now_s = time.monotonic()
        for device in self.devices:
            device.begin(now_s)
        while not self._stopping:
            self.progress_s = now_s = time.monotonic()
            turns = [(*d.next(now_s), d) for d in self.devices if d.allowed]
            if not turns:
                return
            due_s, group, device = min(turns, key=lambda turn: turn[0])
            if due_s > now_s:
                self._pause(due_s - now_s)
                continue
            self._ask(link, device, group)

    def _ask(self, link: Port, device: Polled, group: Group) -> None:
        began_s = time.monotonic()
        try:
            values = device.bridge.poll(link, group.name)
        except FrameError as error:
            if self._stopping:
                return
            device.asked(group, time.monotonic())
            device.failed(group, str(error), time.monotonic())
            self._report(link, device, group, error)
            if device.failures >= MISSED_BEATS:
                self._set_online(device, online=False)
            return
        measured_s = time.monotonic()
        # Only an answer shows that a link works: some open, and fail at the first byte.
        self._failures = 0
        self._faults.over("link", f"{self.url}: open again")
        device.asked(group, measured_s)
        sample = device.took(group, values, measured_s - began_s)
        self._faults.over(
            f"{device.name} {group.name}", f"{device.name}: {group.name} answers again"
        )
        if sample is not None:
            self._on_sample(device, sample, measured_s)
            self._set_online(device, online=True)

    def _report(self, link: Port, device: Polled, group: Group, error: FrameError) -> None:
        if group.name == device.beat.name:
            again = f"trying again in {back_off_s(device.failures):.0f} s and less and less often"
        else:
            again = "trying again at its next turn"
        self._faults.report(
            f"{device.name} {group.name} {type(error).__name__}",
            f"{device.name} ({link.name}): {error}; {again}",
            alike=True,
        )

    def _set_online(self, device: Polled, *, online: bool) -> None:
        if not online:
            device.begin(time.monotonic() + (back_off_s(device.failures) if device.failures else 0))
        if device.online is not online:
            device.online = online
            self._on_change(device)

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        if not self._stopping:
            self._wake.clear()


def _open_bytes(url: str, _bridges: object) -> Port:
    return open_link(url)


def stop_all(pollers: Sequence[Poller]) -> None:
    """Stop links in the time that one takes; safe to call twice."""
    for poller in pollers:
        poller.ask_to_stop()
    end_s = time.monotonic() + STOP_GRACE_S
    for poller in pollers:
        poller.join(end_s)
    for poller in pollers:
        poller.close()
    end_s = time.monotonic() + _CUT_OFF_S
    for poller in pollers:
        poller.join(end_s)
