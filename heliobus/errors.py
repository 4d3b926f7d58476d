"""The five errors of heliobus, one per reaction.

    HeliobusError
    ├── ConfigError    stop: only a person can mend it
    ├── LinkError      close the link and open it again later
    ├── FrameError     drop these bytes, ask again at the next turn
    ├── CommandError   refuse the command and answer why
    └── SinkError      keep the data and try again later

A message says where, what was found, what was expected and what to do, in one line. `guess` words
what may have been meant.
Anything else that escapes from heliobus is a bug.
"""

from collections.abc import Iterable


class HeliobusError(Exception):
    """One of the errors below; never raised itself."""


class ConfigError(HeliobusError):
    """The configuration, or what it names on this machine, cannot work as it stands."""


class LinkError(HeliobusError):
    """The way to a device is gone: port closed, cable pulled, host unreachable, no answer."""


class FrameError(HeliobusError):
    """Bytes that are not a whole, sound answer to what was asked."""


class CommandError(HeliobusError):
    """A command that must not be carried out."""


class SinkError(HeliobusError):
    """A destination that cannot take data now; `retry_s` is how long it asks to be left alone."""

    def __init__(self, message: str, *, retry_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_s = retry_s


def guess(word: str, known: Iterable[str]) -> str:
    """Word what may have been meant: `; did you mean 'x'?`, or all that is known."""
    from difflib import get_close_matches

    names = sorted(known)
    small = {one.lower(): one for one in names}
    close = [small[one] for one in get_close_matches(word.lower(), small, n=1)]
    if close or (close := [one for one in names if word.lower() in one.lower().split("_")]):
        return f"; did you mean {close[0]!r}?"
    return f"; expected one of {', '.join(names)}" if names else ""
