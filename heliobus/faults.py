"""Say a lasting fault once, again every hour, and when it is over: a log that people still read."""

import logging
import time
from collections.abc import Callable

REPEAT_S = 3600.0


class Faults:
    """The faults of one component, each under a key of its own."""

    def __init__(
        self, log: logging.Logger, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._monotonic = monotonic
        self._open: dict[str, tuple[str, float]] = {}

    def report(self, key: str, text: str, *, alike: bool = False) -> None:
        """Log the fault when it is new, reads otherwise than before, or an hour has passed.

        `alike`: a new text (other bytes on the wire) does not make it another fault.
        """
        now_s = self._monotonic()
        known = self._open.get(key)
        if known is None or (known[0] != text and not alike) or now_s - known[1] >= REPEAT_S:
            self._open[key] = (text, now_s)
            self._log.warning("%s", text)

    def over(self, key: str, text: str) -> None:
        """Log that the fault has ended, if there was one."""
        if self._open.pop(key, None) is not None:
            self._log.info("%s", text)

    def over_all(self, prefix: str, text: str) -> None:
        """Log once that all faults whose key begins so have ended, if there were any."""
        ended = [key for key in self._open if key.startswith(prefix)]
        for key in ended:
            del self._open[key]
        if ended:
            self._log.info("%s", text)

    def texts(self) -> list[str]:
        """Give what is wrong now."""
        return [text for text, _ in self._open.values()]
