"""What a sink is: a place that takes samples, and remembers up to where it has them all.

`heliobus.sinking` runs a component of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from heliobus.cursor import Key
from heliobus.sample import Sample
from heliobus.settings import SinkSettings


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch: new rows, rows that were there already, and refusals with reasons."""

    stored: int
    rewritten: int
    rejected: Sequence[tuple[Sample, str]] = ()


class Sink(Protocol):
    """One destination. A component's folder exports its class as SINK."""

    def __init__(self, settings: SinkSettings, *, folder: Path, data: Path) -> None:
        """Take the settings; no I/O. Raise ConfigError.

        Relative paths of the configuration start at `folder`; a destination that cannot keep
        cursors beside the samples keeps them in a file of its own in `data`.
        """
        ...

    def open(self) -> Mapping[Key, int]:
        """Connect, and give the stored cursors (ms since 1970). Raise SinkError, ConfigError."""
        ...

    def write(self, samples: Sequence[Sample], cursors: Mapping[Key, int]) -> Written:
        """Store samples and cursors in one transaction.

        Raise SinkError where nothing of it is stored, or where storing it again does no harm.
        """
        ...

    def info(self, site: str, device: str, info: Mapping[str, Any]) -> None:
        """Store what a device says of itself. Raise SinkError."""
        ...

    def prune(self, now_ms: int) -> None:
        """Drop what is older than is to be kept; called about once an hour. Raise SinkError."""
        ...

    def interrupt(self) -> None:
        """End a call that waits for the destination, from another thread or a signal handler.

        That call then raises SinkError. Called when the process is to stop; may be called twice.
        """
        ...

    def close(self) -> None:
        """Let go; safe to call twice."""
        ...
