"""The sink's side of losing nothing: intervals, holes, and which batch to ask for next.

Every message completes an interval of one (site, bridge, device): a state message (prev, time],
a history batch (after, to]. What is stored without a gap ends at the cursor. An interval that
begins at the cursor moves it. One that begins later leaves a hole, which its bridge is asked to
fill from its journal. One that begins before it belongs to another chain, or to a journal that
lost its end: the bridge is asked what follows the cursor, until it says that nothing does.
Nothing here does I/O or knows a clock.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

Key = tuple[str, str, str]  # site, bridge, device

MINUS_INFINITY = -(1 << 62)
# A newest entry this far behind the cursor means that the device's clock was set back; less is a
# journal that lost its last seconds to a power cut, which goes on beyond the cursor by itself.
SET_BACK_MS = 60_000
# Complete stretches beyond a hole that are remembered; forgetting one costs rewritten rows only.
MAX_ISLANDS = 32
# A publisher that says `prev` and answers no replay is asked ever more seldom.
LONGEST_PAUSE_S = 600.0


@dataclass(frozen=True, slots=True)
class Track:
    """What is known of one key. Times in ms since 1970; MINUS_INFINITY before everything.

    `islands` are stored stretches beyond a hole, `newest_ms` the newest time that the bridge has
    named, `astray` that its chain went on somewhere behind the cursor (a clock set back).
    """

    cursor_ms: int
    newest_ms: int = MINUS_INFINITY
    islands: tuple[tuple[int, int], ...] = ()
    astray: bool = False

    def has(self, time_ms: int) -> bool:
        """Say whether a live sample of this time has come before."""
        return time_ms == self.cursor_ms or any(time_ms == end for _, end in self.islands)

    def take_state(self, prev_ms: int | None, time_ms: int) -> "Track":
        """Take in the interval of a live sample."""
        if self.has(time_ms):
            return self
        if prev_ms is None or time_ms < self.cursor_ms:
            # A new chain, or one whose beginning was missed: its bridge knows what came between.
            return replace(self, astray=True)
        return self._complete(prev_ms, time_ms)

    def take_batch(
        self, after_ms: int, to_ms: int, *, empty: bool, restart: bool, end: bool = False
    ) -> "Track":
        """Take in the interval of an answer from the journal.

        `end`: nothing follows in the journal. Whoever is astray asks until then. An answer with
        nothing in it would say so, too, but may never come: asking right after one device's
        sample can mean asking right before the next one's, every time.
        """
        if restart:
            return Track(cursor_ms=to_ms, newest_ms=to_ms, astray=not end)
        if empty and after_ms == self.cursor_ms:
            cursor_ms = max(self.cursor_ms, to_ms)
            return Track(cursor_ms=cursor_ms, newest_ms=cursor_ms)
        if empty and after_ms < self.cursor_ms:  # live samples were faster: what they say, stays
            return replace(self, astray=False)
        taken = self if to_ms <= self.cursor_ms else self._complete(after_ms, to_ms)
        return replace(taken, astray=False) if taken.astray and end else taken

    def take_head(self, last_ms: int) -> "Track":
        """Take in the newest time that the bridge's status names."""
        if last_ms < self.cursor_ms - SET_BACK_MS:
            return replace(self, astray=True)
        return replace(self, newest_ms=max(self.newest_ms, last_ms))

    def _complete(self, after_ms: int, to_ms: int) -> "Track":
        """Add an interval: to the cursor where it goes on from it, else as an island.

        One that begins before the cursor is of another chain, as after a clock set back: what
        lies before it is unknown, so the track is astray until its bridge has no more to send.
        """
        ends = dict(sorted({*self.islands, (after_ms, to_ms)}))
        cursor_ms = self.cursor_ms
        while cursor_ms in ends:
            cursor_ms = ends.pop(cursor_ms)
        islands: list[tuple[int, int]] = []
        for a, b in ends.items():
            if islands and a == islands[-1][1]:
                islands[-1] = (islands[-1][0], b)
            elif a > cursor_ms:
                islands.append((a, b))
        return replace(
            self,
            cursor_ms=cursor_ms,
            newest_ms=max(self.newest_ms, to_ms),
            islands=tuple(islands[-MAX_ISLANDS:]),
            astray=self.astray or min(ends, default=cursor_ms) < cursor_ms,
        )

    def hole(self) -> tuple[int, int | None] | None:
        """Give what is missing next: after which time, up to which (None: all there is)."""
        if self.astray:
            return self.cursor_ms, None
        if self.islands:
            return self.cursor_ms, self.islands[0][0]
        if self.newest_ms > self.cursor_ms:
            return self.cursor_ms, None
        return None


@dataclass(frozen=True, slots=True)
class Request:
    """One batch asked of one bridge."""

    id: str
    key: Key
    after_ms: int
    until_ms: int | None
    asked_s: float


class Requests:
    """Which questions are open: one per key, a few in all, asked again when no answer comes.

    A hole that only a status message has shown is given `patience_s` first: the sample itself
    may be on its way.
    """

    def __init__(self, *, retry_s: float = 5.0, patience_s: float = 2.0, most: int = 4) -> None:
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._most = most
        self._open: dict[str, Request] = {}
        self._turns: dict[Key, int] = {}
        self._unanswered: dict[Key, int] = {}
        self._asked_s: dict[Key, float] = {}
        self._seen_s: dict[Key, float] = {}
        # An answer to an earlier life of this sink must not pass for one to this.
        self._life = secrets.token_hex(4)
        self._count = 0

    def due(self, tracks: Mapping[Key, Track], now_s: float) -> list[Request]:
        """Give the requests to send now."""
        for request in list(self._open.values()):
            if now_s - request.asked_s >= self._retry_s:
                del self._open[request.id]
                self._unanswered[request.key] = self._unanswered.get(request.key, 0) + 1
        busy = {request.key for request in self._open.values()}
        due = []
        # Those that were asked last come last: four that never answer do not hold up the others.
        for key, track in sorted(tracks.items(), key=lambda item: self._turns.get(item[0], 0)):
            hole = track.hole()
            if hole is None:
                self._seen_s.pop(key, None)
                continue
            since_s = self._seen_s.setdefault(key, now_s)
            certain = track.islands or track.astray
            if key in busy or (not certain and now_s - since_s < self._patience_s):
                continue
            if now_s - self._asked_s.get(key, -math.inf) < self._pause_s(key):
                continue
            if len(self._open) >= self._most:
                break
            self._count += 1
            self._turns[key] = self._count
            self._asked_s[key] = now_s
            request = Request(f"{self._life}-{self._count}", key, *hole, asked_s=now_s)
            self._open[request.id] = request
            due.append(request)
        return due

    def answered(self, request_id: str) -> Request | None:
        """Close the request of this id; None where it is not open (any more)."""
        request = self._open.pop(request_id, None)
        if request is not None:
            self._unanswered.pop(request.key, None)
        return request

    def heard(self, site: str, bridge: str) -> None:
        """Note that a bridge lives: it is asked again without delay."""
        for key in [key for key in self._unanswered if key[:2] == (site, bridge)]:
            del self._unanswered[key]

    def _pause_s(self, key: Key) -> float:
        """Give how long to leave one alone that has not answered: some never will."""
        times = self._unanswered.get(key, 0)
        return min(LONGEST_PAUSE_S, self._retry_s * 2.0 ** min(times - 1, 10)) if times else 0.0

    def forget(self) -> None:
        """Close all requests: their answers would be to questions that count no more."""
        self._open.clear()
