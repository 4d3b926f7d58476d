"""What the devices of the simulated house have counted."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

# What had been counted before the first day that is lived: an average day, times the days.
_BUILT = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Counters:
    """Sums of rates over time, by name: of all time, of spans that begin anew, and of yesterday."""

    total: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    year: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    month: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    week: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    today: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    yesterday: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, rates: Mapping[str, float], hours: float) -> None:
        """Let each rate count for some hours."""
        for span in (self.total, self.year, self.month, self.week, self.today):
            for name, rate in rates.items():
                span[name] += rate * hours

    def begin(self, day: datetime) -> None:
        """Let all days before this one have been like yesterday."""
        usual = dict(self.yesterday)
        spans = (
            (self.total, max(0, (day - _BUILT).days)),
            (self.year, day.timetuple().tm_yday - 1),
            (self.month, day.day - 1),
            (self.week, day.weekday()),
            (self.today, 0),
            (self.yesterday, 1),
        )
        for span, days in spans:
            span.update({name: count * days for name, count in usual.items()})

    def new_day(self, before: datetime, day: datetime) -> None:
        """Put today away as yesterday; begin a new week, month or year if `day` is in one."""
        self.yesterday = dict(self.today)
        over = [self.today]
        over += [self.week] if day.isocalendar()[:2] != before.isocalendar()[:2] else []
        over += [self.month] if (day.year, day.month) != (before.year, before.month) else []
        over += [self.year] if day.year != before.year else []
        for span in over:
            span.update(dict.fromkeys(span, 0.0))
