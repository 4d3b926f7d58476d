"""Say a lasting fault once, again every hour, and when it is over: a log that people still read."""

import logging
import math
import re
import time
from collections.abc import Callable

REPEAT_S = 3600.0
_NUMBER = re.compile("[0-9]+")


class Faults:
    """The faults of one component, each under a key of its own."""

    def __init__(
        self, log: logging.Logger, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._monotonic = monotonic
        self._open: dict[str, tuple[str, str, float]] = {}  # the newest text, the last logged

    def report(self, key: str, text: str, *, alike: bool = False) -> None:
        """Log the fault when it is new, reads otherwise than before, or an hour has passed.

        Other numbers alone (a process id, an age) are no other words. `alike`: neither are other
        words, such as the bytes on a wire.
        """
        now_s = self._monotonic()
        _, logged, logged_s = self._open.get(key, ("", "", -math.inf))
        is_new = not logged or not (alike or _NUMBER.sub("", logged) == _NUMBER.sub("", text))
        if is_new or now_s - logged_s >= REPEAT_S:
            logged, logged_s = text, now_s
            self._log.warning("%s", text)
        self._open[key] = (text, logged, logged_s)

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
        """Give what is wrong now; from any thread."""
        return [text for text, _, _ in list(self._open.values())]
