"""The loop on one link: when to ask which device what.

Beats keep a fixed cadence without drift; slower groups are asked between them, where they fit or
where they have waited long enough. A device that does not answer costs the others at most one
timeout per back-off of 1, 2, 4 ... 60 s, and shows no old values as new. One that is asleep says
so at each of these tries.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from heliobus.bridge import Event, Group, Lasting, Parts, Port, Reporter
from heliobus.errors import FrameError, LinkError
from heliobus.faults import Faults
from heliobus.link import Echo, Silence, open_link
from heliobus.polled import (
    ITSELF,
    LONGEST_BACK_OFF_S,
    LONGEST_REOPEN_S,
    MISSED_BEATS,
    Member,
    Polled,
    Presence,
    back_off_s,
)
from heliobus.sample import Values

log = logging.getLogger(__name__)

# What a stop waits for the answers that are on their way, and then for links to be cut off.
STOP_GRACE_S = 1.0
_CUT_OFF_S = 0.2


class Poller:
    """The thread that owns one link.

    `on_sample(member, values, measured_s)`, `on_change(member)` (it came, went or fell asleep) and
    `on_event(device, event)` are called from that thread.
    """

    def __init__(
        self,
        url: str,
        devices: Sequence[Polled],
        *,
        on_sample: Callable[[Member, Values, float], None],
        on_change: Callable[[Member], None],
        on_event: Callable[[Polled, Event], None],
    ) -> None:
        self.url = url
        self.devices = devices
        self._on_sample = on_sample
        self._on_change = on_change
        self._on_event = on_event
        self._link: Port | None = None
        self._losses = 0
        self._got = b""  # in answer to what was sent last, to be logged
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
    def counts(self) -> Mapping[str, int]:
        """Give what its link has heard since it was opened, where that counts it."""
        return dict(getattr(self._link, "counts", {}))

    @property
    def alive(self) -> bool:
        """Say whether the thread runs."""
        return self._thread.is_alive()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopping:
            self.progress_s = time.monotonic()
            self._let_be()
            if not any(device.allowed for device in self.devices):
                self._pause(1.0)
                continue
            try:
                self._open_and_serve()
            except LinkError as error:
                if not self._stopping:
                    self._lost(f"{error}")

    def _open_and_serve(self) -> None:
        link = self._link = self._link or self._open()
        try:
            self._losses = 0
            if log.isEnabledFor(logging.DEBUG):
                link.tap = self._tap
            self._serve(link)
        finally:
            self._let_go(link)

    def _let_go(self, link: Port) -> None:
        if isinstance(link, Lasting) and not self._stopping:
            link.renew()
        else:
            self._link = None
            link.close()

    def _open(self) -> Port:
        bridges = [device.bridge for device in self.devices]
        opened: Port = getattr(bridges[0], "open_link", _open_bytes)(self.url, bridges)
        return opened

    def _tap(self, direction: str, data: bytes) -> None:
        """Log what is sent, and in one line what came after it."""
        if direction == "rx":
            self._got += data
            return
        self._log_got()
        log.debug("%s tx %s", self.url, data.hex(" "))

    def _log_got(self) -> None:
        got, self._got = self._got, b""
        if got:
            log.debug("%s rx %s", self.url, got.hex(" "))

    def _lost(self, error: str) -> None:
        self._failures += 1
        awake, now_s = False, time.monotonic()
        for device in self.devices:
            if device.allowed and (said := device.asleep(now_s, lost=True)) is not None:
                device.slept(now_s)
                self._publish(device, said, now_s, Presence.ASLEEP)
            else:
                awake = True
                device.error = error
                device.errors += 1
                self._gone(device)
            device.bridge.forget()
        again_s = back_off_s(self._failures)
        if awake:
            self._faults.report("link", f"{error}; trying again")
            again_s = min(again_s, LONGEST_REOPEN_S)
        self._pause(again_s)

    def _serve(self, link: Port) -> None:
        now_s = time.monotonic()
        for device in self.devices:
            device.begin(now_s)
        while not self._stopping:
            self.progress_s = now_s = time.monotonic()
            self._let_be()
            turns = [(*d.next(now_s), d) for d in self.devices if d.allowed]
            if not turns:
                return
            due_s, group, device = min(turns, key=lambda turn: turn[0])
            if due_s > now_s:
                self._rest(link, due_s - now_s)
                continue
            self._ask(link, device, group)

    def _ask(self, link: Port, device: Polled, group: Group) -> None:
        began_s = time.monotonic()
        try:
            answer = self._poll(link, device, group)
        except FrameError as error:
            if not self._stopping:
                self._failed(link, device, group, error)
                self._judge(link)
            return
        measured_s = time.monotonic()
        # Only an answer shows that a link works: some open, and fail at the first byte.
        self._failures = 0
        self._faults.over("link", f"{self.url}: open again")
        device.asked(group, measured_s)
        samples = device.took(group, answer, measured_s - began_s)
        if samples is not None:
            if device.itself.presence is Presence.OFFLINE:
                self._faults.over_all(f"{device.name} ", f"{device.name}: answers again")
            self._publish(device, samples, measured_s, Presence.ONLINE)
            self._judge(link)

    def _judge(self, link: Port) -> None:
        if isinstance(link, Lasting):
            link.judge(answers=any(d.itself.presence is Presence.ONLINE for d in self.devices))

    def _poll(self, link: Port, device: Polled, group: Group) -> Values | Parts:
        try:
            answer: Values | Parts = device.bridge.poll(link, group.name)
            return answer
        finally:
            self._log_got()
            if isinstance(device.bridge, Reporter):
                for event in device.bridge.events():
                    self._on_event(device, event)
            losses = getattr(link, "losses", 0)
            if losses != self._losses:
                self._losses = losses
                for one in self.devices:
                    one.lost(time.monotonic())

    def _failed(self, link: Port, device: Polled, group: Group, error: FrameError) -> None:
        now_s = time.monotonic()
        device.asked(group, now_s)
        is_silent = group.name == device.beat.name and isinstance(error, Silence | Echo)
        if is_silent and (said := device.asleep(now_s, lost=False)) is not None:
            device.slept(now_s)
            if device.failures >= MISSED_BEATS:
                self._publish(device, said, now_s, Presence.ASLEEP)
        else:
            device.failed(group, str(error), now_s)
            self._report(link, device, group, error)
            if device.failures >= MISSED_BEATS:
                self._gone(device)
        if group.name == device.beat.name and device.failures == MISSED_BEATS:
            device.bridge.forget()  # another one may be in its place when something answers again

    def _report(self, link: Port, device: Polled, group: Group, error: FrameError) -> None:
        if group.name == device.beat.name and device.longest_back_off_s < LONGEST_BACK_OFF_S:
            again = "listening on"
        elif group.name == device.beat.name:
            again = f"trying again in {back_off_s(device.failures):.0f} s and less and less often"
        else:
            again = "trying again at its next turn"
        self._faults.report(
            f"{device.name} {group.name} {type(error).__name__}",
            f"{device.name} ({link.name}): {error}; {again}",
            alike=True,
        )

    # ------------------------------------------------------------------ who is there

    def _publish(
        self, device: Polled, samples: Mapping[str, Values], at_s: float, presence: Presence
    ) -> None:
        for part, values in samples.items():
            self._on_sample(device.member(part), values, at_s)
        for part in {ITSELF: (), **samples}:
            self._set(device.member(part), presence)
        for member in device.absent(samples):
            self._set(member, Presence.OFFLINE)

    def _let_be(self) -> None:
        """Have devices offline that are not asked any more, with all that is behind them."""
        for device in self.devices:
            if not device.allowed and device.itself.presence in (Presence.ONLINE, Presence.ASLEEP):
                self._gone(device)
                device.bridge.forget()

    def _gone(self, device: Polled) -> None:
        device.begin(time.monotonic() + device.pause_s(device.beat))
        for member in device.members:
            self._set(member, Presence.OFFLINE)

    def _set(self, member: Member, presence: Presence) -> None:
        if member.presence is not presence:
            member.presence = presence
            self._on_change(member)

    def _rest(self, link: Port, seconds: float) -> None:
        """Wait; a device that dials in anew does not wait as long as one that is silent."""
        if isinstance(link, Lasting):
            self._pause(min(seconds, LONGEST_REOPEN_S))
            link.look()
        else:
            self._pause(seconds)

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
