"""The message log of an installation, as events: each new entry is told once."""

from datetime import UTC, datetime
from typing import TypeAlias

from bridges.studer.asking import Asker
from bridges.studer.codec import Entry
from bridges.studer.frame import NO_LOG, NO_VALUE, Question, Refused
from bridges.studer.messages import severity_of, text_of
from heliobus.bridge import Event
from heliobus.exchange import Wire

# More than these at one look are told by a later one, or are history.
_MOST = 20
# The clock may be set back, as in autumn. What is older than that was there before.
_CLOCK_S = 7200

_Key: TypeAlias = tuple[int, int, int, int]
# What has been seen of an empty log: whatever comes is new.
_NOTHING: _Key = (-1, 0, 0, 0)


class Log:
    """What is in the log, and what of it has been seen."""

    def __init__(self) -> None:
        self._seen: _Key | None = None
        self._is_missing = False

    def forget(self) -> None:
        """Try again whether there is one. What was seen is kept: it may be the same."""
        self._is_missing = False

    def look(self, link: Wire, asker: Asker) -> list[Entry]:
        """Give the new entries, the oldest first; none at the first look.

        Reading the newest one tells the gateway that no message is pending any more.
        Raise FrameError, LinkError.
        """
        if self._is_missing:
            return []
        try:
            newest = _entry(link, asker, 0)
        except Refused as error:
            self._is_missing = error.code in NO_LOG
            if error.code in NO_VALUE:
                self._seen = _NOTHING
            return []
        new = [] if self._seen is None else self._since(self._seen, newest, link, asker)
        self._seen = _key(newest)
        return new[::-1]

    def _since(self, seen: _Key, newest: Entry, link: Wire, asker: Asker) -> list[Entry]:
        new: list[Entry] = []
        entry = newest
        for index in range(1, _MOST + 1):
            if _key(entry) == seen or entry.time_s < seen[2] - _CLOCK_S:
                break
            if entry not in new:  # one that came meanwhile has moved the others on
                new.append(entry)
            try:
                entry = _entry(link, asker, index)
            except Refused:
                break
        return new


def event(entry: Entry, subject: str) -> Event:
    """Tell an entry of the log of what is called `subject` on the bus."""
    moment = datetime.fromtimestamp(entry.time_s, UTC)
    said = text_of(entry.number)
    number = "" if said.endswith(f" {entry.number}") else f" (message {entry.number})"
    text = f"{said}{number}, logged {moment:%Y-%m-%d %H:%M:%S} by the clock of the installation"
    severity = severity_of(entry.number)
    return Event("message_logged", text, {"severity": severity, "subject": subject})


def _entry(link: Wire, asker: Asker, index: int) -> Entry:
    return Entry.unpack(asker.ask(link, Question.message(index)))


def _key(entry: Entry) -> _Key:
    return entry.number, entry.source, entry.time_s, entry.value
