"""How often something comes, learned from when it came. Its owner may have set it to any pace."""

# What comes less often than this has been away; and so long one waits before the pace is known.
SLOWEST_S = 900.0
# Silent is what has missed so many turns; but nothing is waited for longer than this.
TURNS, LONGEST_S = 3, 3600.0
# Messages that are closer than this belong together.
_APART_S = 1.0
_RECENT_TURNS = 5
# The first turn may be short: it began before we listened.
_KNOWN_TURNS = 2
_STEPS_S = (2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0)
_WAVERS = 0.9


class Cadence:
    """The longest recent pause between two times. `recent_s`: at least so long it is kept."""

    __slots__ = ("_last_s", "_longest_s", "_newer_s", "_recent_s", "_turns", "_until_s")

    def __init__(self, recent_s: float = 0.0) -> None:
        self._recent_s = recent_s
        self._last_s: float | None = None
        self._longest_s = self._newer_s = 0.0
        self._until_s = 0.0
        self._turns = 0

    def note(self, now_s: float) -> None:
        """Note that it comes now."""
        last_s, self._last_s = self._last_s, now_s
        if last_s is None or not _APART_S <= now_s - last_s <= SLOWEST_S:
            return
        self._turns += 1
        self._newer_s = max(self._newer_s, now_s - last_s)
        if self._newer_s >= self._longest_s or now_s >= self._until_s:
            self._longest_s, self._newer_s = self._newer_s, 0.0
            self._until_s = now_s + max(_RECENT_TURNS * self._longest_s, self._recent_s)

    def pause(self) -> None:
        """Pass over the time until it comes again."""
        self._last_s = None

    def patience_s(self, usual_s: float) -> float:
        """Give how long to wait for it, at least `usual_s`."""
        known = self._turns >= _KNOWN_TURNS
        return max(usual_s, min(TURNS * self._longest_s, LONGEST_S) if known else SLOWEST_S)

    def every_s(self, usual_s: float) -> float:
        """Give about how often it comes, not more often than `usual_s`; it changes seldom."""
        longest_s = self._longest_s * _WAVERS
        if longest_s <= usual_s:
            return usual_s
        return next((step_s for step_s in _STEPS_S if step_s >= longest_s), SLOWEST_S)
