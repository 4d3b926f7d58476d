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

    def __init__(self, settings: SinkSettings, folder: Path) -> None:
        """Take the settings; no I/O. Relative paths start at `folder`. Raise ConfigError."""
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

    def close(self) -> None:
        """Let go; safe to call twice."""
        ...
