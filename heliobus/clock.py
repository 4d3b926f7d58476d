"""The time of a measurement: an anchor on the wall clock plus the monotonic clock.

A Raspberry Pi has no clock of its own: it wakes in 1970 or hours behind and is set right some
minutes later. What is measured before is held, at most `wait_s`, and then stamped backwards
from the monotonic clock. After that the wall clock is followed: always while the kernel says
that it is synchronised (or it is trusted), else only in small steps forward.
"""

import ctypes
import os
import time
from collections.abc import Callable

from heliobus.settings import ClockSettings

# An unsynchronised clock that leaps further than this is not believed.
LARGEST_UNSYNCED_STEP_S = 300.0
_MEND = "Connect a time source, or write `clock: trust` as a line of its own into heliobus.yaml"
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256  # struct timex is 208 bytes on 64-bit Linux, less on 32-bit


def kernel_synced() -> bool:
    """Ask the kernel whether its clock is synchronised (adjtimex, read only)."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return False
    return bool(0 <= state < _TIME_ERROR) or os.path.exists("/run/systemd/timesync/synchronized")


class Clock:
    """Turn monotonic seconds into milliseconds since 1970 (UTC)."""

    def __init__(
        self,
        settings: ClockSettings,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        synced: Callable[[], bool] = kernel_synced,
    ) -> None:
        self._settings = settings
        self._wall = wall
        self._monotonic = monotonic
        self._kernel_synced = synced
        self._started_s = monotonic()
        self._anchor_s = wall() - monotonic()
        self.synced = False
        self.fault: str | None = None
        self.refresh()

    @property
    def ready(self) -> bool:
        """Say whether samples may be stamped now, or must wait for a better clock."""
        return self.synced or self._monotonic() - self._started_s >= self._settings.wait_s

    def refresh(self) -> None:
        """Look at the wall clock again and follow it as far as it can be believed."""
        self.synced = self._settings.trust or self._kernel_synced()
        step_s = self._wall() - self._monotonic() - self._anchor_s
        believed = self.synced or not self.ready or 0 < step_s <= LARGEST_UNSYNCED_STEP_S
        if believed:
            self._anchor_s += step_s
        self.fault = self._word_fault(None if believed else step_s)

    def _word_fault(self, disbelieved_s: float | None) -> str | None:
        if self.synced:
            return None
        if not self.ready:
            return (
                f"the clock is not synchronised; samples wait for it, at most "
                f"{self._settings.wait_s:g} s. {_MEND}"
            )
        if disbelieved_s is not None and abs(disbelieved_s) > LARGEST_UNSYNCED_STEP_S:
            return (
                f"the clock has leapt by {disbelieved_s / 60:.0f} min without being synchronised; "
                f"not followed. {_MEND}"
            )
        return f"the clock is not synchronised; samples are stamped with it all the same. {_MEND}"

    def monotonic(self) -> float:
        """Give the seconds that `stamp` takes."""
        return self._monotonic()

    def stamp(self, monotonic_s: float) -> int:
        """Give the time of a moment of the monotonic clock, in ms since 1970."""
        return round((self._anchor_s + monotonic_s) * 1000)

    def now_ms(self) -> int:
        """Give the present time, in ms since 1970."""
        return self.stamp(self._monotonic())
