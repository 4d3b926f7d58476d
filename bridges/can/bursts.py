"""Frames that come by themselves, put together to what belongs together.

A battery sends its frames in bursts: some ms apart, then nothing for a second or two. What is in
one burst was measured together. A burst ends when one of its identifiers comes again, or after a
gap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridges.can.frames import Profile

GAP_S: Final = 0.05  # a US5000 sends 6 frames 2 ms apart, every 2 s


@dataclass(frozen=True, slots=True)
class Burst:
    """The newest data by identifier at the end of a burst. `ages_s` are counted from there.

    What was not in the burst itself, but is not too old, is here with its age.
    """

    number: int  # of bursts, from 1
    at_s: float
    frames: Mapping[int, bytes]
    ages_s: Mapping[int, float]


class Bursts:
    """The frames of one device. Identifiers that its profile does not have are passed over."""

    def __init__(self, profile: Profile, *, gap_s: float = GAP_S) -> None:
        self._max_age_s = {one.id: one.max_age_s for one in profile.messages.values()}
        self._least = {one.id: one.min_dlc for one in profile.messages.values()}
        self._gap_s = gap_s
        self._number = 0
        self.forget()

    def forget(self) -> None:
        """Forget all frames: what comes next is of another device, or after a long silence."""
        self._open: dict[int, bytes] = {}
        self._last_s = 0.0
        self._kept: dict[int, tuple[float, bytes]] = {}
        self._newest: Burst | None = None

    def take(self, at_s: float, identifier: int, data: bytes) -> None:
        """Take a frame in the order in which they came."""
        least = self._least.get(identifier)
        if least is None or len(data) < least:
            return
        if self._open and (identifier in self._open or self._is_over(at_s)):
            self._close()
        self._open[identifier] = data
        self._last_s = at_s
        self._kept[identifier] = (at_s, data)

    def newest(self, now_s: float) -> Burst | None:
        """Give the newest burst that is whole, None before the first one."""
        if self._open and self._is_over(now_s):
            self._close()
        return self._newest

    def _is_over(self, now_s: float) -> bool:
        # A time before the last one is of a clock that was set; nothing tells the gap.
        return not 0 <= now_s - self._last_s < self._gap_s

    def _close(self) -> None:
        at_s = self._last_s
        fresh = {
            identifier: (then_s, data)
            for identifier, (then_s, data) in self._kept.items()
            if identifier in self._open or 0 <= at_s - then_s < self._max_age_s[identifier]
        }
        self._number += 1
        self._newest = Burst(
            number=self._number,
            at_s=at_s,
            frames={identifier: data for identifier, (_, data) in fresh.items()},
            ages_s={
                identifier: max(0.0, at_s - then_s) for identifier, (then_s, _) in fresh.items()
            },
        )
        self._kept = fresh
        self._open = {}
