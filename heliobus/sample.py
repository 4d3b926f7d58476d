"""Sample: the values of one device at one time, and the interval that they complete.

On the wire a sample is the flat JSON object of a `state` message; site and device stand in
its topic. Inside the process time is counted in whole milliseconds since 1970 (UTC), so that
comparing, storing and sending never round.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from heliobus.errors import FrameError

Value: TypeAlias = bool | int | float | str | list[str]
Values: TypeAlias = dict[str, Value]

# Keys of the envelope: no field of any kind may have one of these names.
RESERVED = frozenset(
    {"time", "prev", "kind", "bridge", "site", "device", "contract", "quality", "simulated"}
)
# The mark `quality` of a state that only waits for the clock: to be shown, not to be stored.
PROVISIONAL = "provisional"
# The mark of what no hardware is behind: True, or absent.
SIMULATED = "simulated"
_ENVELOPE = frozenset({"time", "prev", "kind", "bridge"})
_LONGEST_MARK = 32
# What may stand in a topic, and in a key of a database.
_NAME = re.compile(r"[a-z0-9_]{1,63}\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MS = timedelta(milliseconds=1)
# 0001-01-01 and 9999-12-31: the first and the last day that datetime knows.
_FIRST_MS = -62135596800000
LAST_MS = 253402300799999


def time_text(time_ms: int) -> str:
    """Write milliseconds since 1970 as `2026-11-21T10:15:30.123Z`."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


def time_ms(text: object) -> int:
    """Read an ISO 8601 time with zone as milliseconds since 1970. Raise FrameError."""
    if not isinstance(text, str):
        raise FrameError(f"time: found {text!r:.60}, expected text like 2026-11-21T10:15:30.123Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise FrameError(f"time: found {text!r:.60}, expected it like 2026-11-21T10:15:30.123Z")
    found_ms = (moment - _EPOCH) // _ONE_MS
    if not _FIRST_MS <= found_ms <= LAST_MS:  # the zone can lead out of the years 1 to 9999
        raise FrameError(f"time: found {text!r:.60}, expected a year from 1 to 9999")
    return found_ms


def loads(payload: bytes | str) -> Any:
    """Parse JSON strictly: no NaN, no Infinity, no runaway nesting. Raise FrameError."""
    try:
        return json.loads(payload, parse_constant=_refuse_constant)
    except FrameError:
        raise
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}; found {payload[:40]!r}") from error


def load_object(payload: bytes | str) -> dict[str, Any]:
    """Parse JSON strictly and expect an object. Raise FrameError."""
    body = loads(payload)
    if not isinstance(body, dict):
        raise FrameError(f"found {type(body).__name__}, expected a JSON object")
    return body


def dumps(value: Any) -> bytes:
    """Write compact JSON as UTF-8. Raise FrameError on NaN and Infinity."""
    try:
        return json.dumps(
            value, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        ).encode()
    except (ValueError, TypeError) as error:
        raise FrameError(f"cannot be written as JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise FrameError(f"not JSON: found {name}, expected a finite number")


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of a device at a moment of the monotonic clock."""

    device: str
    kind: str
    values: Values
    measured_s: float
    marks: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of `device` at `time_ms`, completing the interval (prev_ms, time_ms].

    `prev_ms` None begins a chain: nothing of this bridge and device lies before it.
    `bridge` None marks a publisher that is not ours: stored, but holes are not seen.
    `marks` holds the reserved keys that travel beside the values: quality, simulated, contract.
    """

    site: str
    bridge: str | None
    device: str
    kind: str
    time_ms: int
    prev_ms: int | None
    values: Mapping[str, Value]
    marks: Mapping[str, Value] = field(default_factory=dict)

    def payload(self) -> bytes:
        """Give the body of the `state` message."""
        prev = None if self.prev_ms is None else time_text(self.prev_ms)
        envelope = {"time": time_text(self.time_ms), "prev": prev, "kind": self.kind}
        if self.bridge is not None:
            envelope["bridge"] = self.bridge
        return dumps({**envelope, **self.marks, **self.values})


def parse_sample(site: str, device: str, payload: bytes | str | Mapping[str, Any]) -> Sample:
    """Read the body of a `state` message. Raise FrameError where its envelope is malformed.

    The values are handed on as they are: `contract.sift` judges each.
    """
    body = payload if isinstance(payload, Mapping) else load_object(payload)
    kind, bridge = body.get("kind"), body.get("bridge")
    if not isinstance(kind, str) or not _NAME.match(kind):
        raise FrameError(f"kind: found {kind!r:.60}, expected the name of a kind such as battery")
    if not isinstance(bridge, str | None) or (bridge is not None and not _NAME.match(bridge)):
        raise FrameError(f"bridge: found {bridge!r:.60}, expected the name of a component")
    prev = body.get("prev")
    marks = {k: v for k, v in body.items() if k in RESERVED - _ENVELOPE and _is_mark(v)}
    values = {k: v for k, v in body.items() if k not in RESERVED}
    return Sample(
        site=site,
        bridge=bridge,
        device=device,
        kind=kind,
        time_ms=time_ms(body.get("time")),
        prev_ms=None if prev is None else time_ms(prev),
        values=values,
        marks=marks,
    )


def _is_mark(value: object) -> bool:
    """Say whether this is a flag or a short word; what else somebody sends there is left out."""
    if isinstance(value, str):
        return len(value) <= _LONGEST_MARK and value.isprintable()
    return isinstance(value, bool)
