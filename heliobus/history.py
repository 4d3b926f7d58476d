"""Values over time, and how a person reads them: local time in a table, UTC in CSV."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from heliobus.sample import LAST_MS, Value, time_text

# A table is at most as long as a large window; more values are summed up.
MOST_LINES = 50
_DAY_S = 86400
_STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, _DAY_S, 7 * _DAY_S),
)
_STEP_NAMES = ((_DAY_S, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, both ends within it, in ms since 1970. None: open."""

    since_ms: int | None = None
    until_ms: int | None = None

    def rest(self, time_ms: int, *, newest_first: bool) -> "Span":
        """Give what is left after a reader has come to `time_ms`."""
        if newest_first:
            return Span(self.since_ms, time_ms - 1)
        return Span(time_ms + 1, self.until_ms)


@dataclass(frozen=True, slots=True)
class Point:
    """One value at its time."""

    time_ms: int
    value: Value


@dataclass(frozen=True, slots=True)
class Bucket:
    """The numbers of a stretch of time that begins at `time_ms`, summed up."""

    time_ms: int
    low: float
    total: float
    high: float
    count: int

    @property
    def mean(self) -> float:
        """Give the mean of the values; each counts the same, however long it held."""
        return self.total / self.count

    def with_more(self, other: "Bucket") -> "Bucket":
        """Sum up with another; the time stays."""
        return Bucket(
            self.time_ms,
            min(self.low, other.low),
            self.total + other.total,
            max(self.high, other.high),
            self.count + other.count,
        )


@dataclass(frozen=True, slots=True)
class Column:
    """What is shown: a field of a device, with its unit and the digits after its point."""

    device: str
    field: str
    unit: str = ""
    precision: int | None = None

    def text(self, value: Value) -> str:
        """Write a value for people."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            digits = 3 if self.precision is None else self.precision
            text = f"{value:.{digits}f}"
            return text.rstrip("0").rstrip(".") if self.precision is None and digits else text
        return ", ".join(value) if isinstance(value, list) else value


def step_s(span: Span) -> int:
    """Choose the stretch in whole seconds that shows a closed span in at most MOST_LINES."""
    length_s = ((span.until_ms or 0) - (span.since_ms or 0)) / 1000
    for step in _STEPS_S:
        if length_s / step < MOST_LINES - 1:
            return step
    return -(-round(length_s / (MOST_LINES - 1)) // _DAY_S) * _DAY_S


def offset_s(time_ms: int) -> int:
    """Give how far the local time is ahead of UTC at that time, so that days begin at midnight."""
    offset = _local(time_ms).utcoffset()
    return round(offset.total_seconds()) if offset else 0


def point_lines(column: Column, points: Iterable[Point]) -> Iterator[str]:
    """Write one line per value."""
    yield f"{'time':<27}  {_titled(column)}"
    for point in points:
        yield f"{_local_text(point.time_ms, 'milliseconds'):<27}  {column.text(point.value)}"


def change_lines(column: Column, points: Iterable[Point]) -> Iterator[str]:
    """Write one line per change of a text, and how many values there were."""
    yield f"{'since':<27}  {_titled(column)}"
    before: Value | None = None
    count = changes = 0
    for point in points:
        count += 1
        if point.value != before:
            changes += before is not None
            before = point.value
            text = column.text(point.value) or "-"
            yield f"{_local_text(point.time_ms, 'milliseconds'):<27}  {text}"
    yield f"count {count}  changes {changes}"


def number_lines(
    column: Column, step: int, buckets: Sequence[Bucket], points: Iterable[Point]
) -> Iterator[str]:
    """Write one line per number, or per stretch where they are many, and what they sum up to."""
    whole = buckets[0]
    for bucket in buckets[1:]:
        whole = whole.with_more(bucket)
    if whole.count <= MOST_LINES:
        yield from point_lines(column, points)
    else:
        yield from bucket_lines(column, step, buckets)
    unit = f" {column.unit}" if column.unit else ""
    low, mean, high = (column.text(value) for value in (whole.low, whole.mean, whole.high))
    yield f"min {low}{unit}  mean {mean}{unit}  max {high}{unit}  count {whole.count}"


def bucket_lines(column: Column, step: int, buckets: Sequence[Bucket]) -> Iterator[str]:
    """Write one line per stretch."""
    rows = [
        [column.text(bucket.low), column.text(bucket.mean), column.text(bucket.high)]
        for bucket in buckets
    ]
    width = max(len(text) for row in [*rows, ["mean"]] for text in row)
    yield f"{_titled(column)}, one line per {_step_text(step)}"
    yield f"{'from':<23}  " + "  ".join(f"{name:>{width}}" for name in ("min", "mean", "max"))
    for bucket, row in zip(buckets, rows, strict=True):
        texts = "  ".join(f"{text:>{width}}" for text in row)
        yield f"{_local_text(bucket.time_ms, 'seconds'):<23}  {texts}"


def write_csv(column: Column, points: Iterable[Point], out: TextIO) -> None:
    """Write every value with its time in UTC, as programs read it."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", column.field])
    for point in points:
        exact = isinstance(point.value, int | float) and not isinstance(point.value, bool)
        writer.writerow(
            [time_text(point.time_ms), point.value if exact else column.text(point.value)]
        )


def _titled(column: Column) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.device} {column.field}{unit}"


def _step_text(step: int) -> str:
    for seconds, name in _STEP_NAMES:
        if step % seconds == 0:
            return f"{step // seconds} {name}"
    return f"{step} s"


def _local(time_ms: int) -> datetime:
    return datetime.fromtimestamp(
        max(0, min(time_ms, LAST_MS - _DAY_S * 1000)) / 1000, UTC
    ).astimezone()


def _local_text(time_ms: int, precision: str) -> str:
    moment = _local(time_ms)
    return f"{moment.replace(tzinfo=None).isoformat(' ', precision)} {moment.tzname()}"
