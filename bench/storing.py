"""Sinks at work: how late a sample is stored, and what catching up costs."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench.destinations import Destination, mariadb, sqlite, victoriametrics
from bench.keeping import hour
from bench.stage import SITE, Stage, memory_mb, wait_for
from heliobus.bus import Bus, Message
from heliobus.journal import Journal
from heliobus.sample import Sample, parse_sample
from heliobus.settings import JournalSettings
from heliobus.topics import Topics

_SINK = "archive"
_RATE_HZ = 100
_SAMPLES = 1000
_MISSED = 20_000
_EVERY_MS = 5000
_DEADLINE_S = 500.0

_Open = Callable[[Path], AbstractContextManager[Destination]]


class Bench:
    """One destination's bench: called with a folder, it gives its figures."""

    def __init__(self, destination: _Open) -> None:
        self._open = destination
        name = destination.__name__
        figures = ("p99", "pss", "rss", "delay", "catching_up")
        self.figures = tuple(f"{name}_{figure}" for figure in figures)

    def __call__(self, folder: Path) -> dict[str, float]:
        """Measure."""
        measured: list[float] = []
        for work in (_latency, _catch_up):
            stage_folder = folder / work.__name__
            with self._open(stage_folder) as destination:
                measured += work(stage_folder, destination)
        return dict(zip(self.figures, measured, strict=True))


BENCHES = [Bench(sqlite), Bench(mariadb), Bench(victoriametrics)]


def _latency(folder: Path, destination: Destination) -> list[float]:
    """Publish at an even pace and look at the destination when each sample has come."""
    with Stage(folder, config={"sinks": {_SINK: destination.config}}) as stage:
        stage.start("run", _SINK)
        bus = stage.bus("bridge")
        values = next(iter(hour()))[1]
        begin_ms = round(time.time() * 1000)
        topic = Topics(SITE).device("inverter", "state")

        def publish(number: int) -> int:
            time_ms = begin_ms + number
            prev_ms = time_ms - 1 if number else None
            sample = Sample(SITE, "bridge", "inverter", "inverter", time_ms, prev_ms, values)
            bus.publish(topic, sample.payload(), retain=True)
            return time_ms

        # The first one sets off: tables are made. What comes before that is asked of a journal,
        # and this bridge has none.
        while begin_ms not in destination.times_ms("inverter", 0):
            publish(0)
            time.sleep(0.5)
        late_s = _follow(publish, lambda: destination.times_ms("inverter", begin_ms))
        _end(bus)
    return [statistics.quantiles(late_s, n=100)[98]]


def _follow(publish: Callable[[int], int], stored: Callable[[], set[int]]) -> list[float]:
    """Give how long after its publishing each sample was seen."""
    sent_s: dict[int, float] = {}
    late_s: list[float] = []
    begin_s = time.monotonic()
    while len(late_s) < _SAMPLES:
        now_s = time.monotonic()
        if now_s - begin_s > 10 * _SAMPLES / _RATE_HZ:
            raise TimeoutError(f"{_SAMPLES} samples were sent, {len(late_s)} stored")
        due = min(_SAMPLES, int((now_s - begin_s) * _RATE_HZ))
        for number in range(len(late_s) + len(sent_s), due):
            sent_s[publish(number + 1)] = now_s
        seen = stored() & sent_s.keys()
        late_s += [time.monotonic() - sent_s.pop(time_ms) for time_ms in seen]
        time.sleep(0.01)
    return late_s


def _end(bus: Bus) -> None:
    bus.publish(Topics(SITE).device("inverter", "state"), b"", retain=True)
    bus.stop()


def _catch_up(folder: Path, destination: Destination) -> list[float]:
    """Let a sink find a bridge that has measured for a day without it, and measures on."""
    config = {"sinks": {_SINK: {**destination.config, "backfill": "all"}}}
    with Stage(folder, bridges=1, config=config) as stage, stage.ear("heliobus/+/+/state") as heard:
        _fill(folder / "data")
        stage.start("run", "bridge1")
        wait_for(lambda: len(heard) > 1, "live samples", 60)
        began_s = time.monotonic()
        sink = stage.start("run", _SINK)
        largest_mb = {"Pss": 0.0, "Rss": 0.0}
        late_s: dict[int, float] = {}
        while not late_s or len(destination.times_ms("inverter1", 0)) < _MISSED:
            if time.monotonic() - began_s > _DEADLINE_S:
                raise TimeoutError("the sink does not catch up")
            round_s = time.monotonic() + 2.0  # counting all is dear, the newest are cheap
            while time.monotonic() < round_s:
                now_mb = memory_mb(sink.pid)
                largest_mb = {kind: max(most, now_mb[kind]) for kind, most in largest_mb.items()}
                waiting_s = _waiting(heard, late_s, began_s)
                late_s |= _seen(waiting_s, destination)
                time.sleep(0.05)
        took_s = time.monotonic() - began_s
        # Whatever is still not there is at least so late.
        still_s = [time.monotonic() - at for at in _waiting(heard, late_s, began_s).values()]
    return [*largest_mb.values(), max([*late_s.values(), *still_s]), took_s]


def _waiting(
    heard: list[tuple[float, Message]], late_s: dict[int, float], began_s: float
) -> dict[int, float]:
    """Give when each live sample that was not yet seen in the destination was published.

    What was published before the sink was there is not counted, nor its start.
    """
    at_s = {
        parse_sample(SITE, "inverter1", message.payload).time_ms: when_s
        for when_s, message in list(heard)
        if when_s > began_s + 2.0
    }
    return {time_ms: when_s for time_ms, when_s in at_s.items() if time_ms not in late_s}


def _seen(waiting_s: dict[int, float], destination: Destination) -> dict[int, float]:
    """Give how late those are that are in the destination now."""
    if not waiting_s:
        return {}
    there = destination.times_ms("inverter1", min(waiting_s)) & waiting_s.keys()
    now_s = time.monotonic()
    return {time_ms: now_s - waiting_s[time_ms] for time_ms in there}


def _fill(data: Path) -> None:
    """Write the journal of a bridge that nobody has listened to."""
    data.mkdir(parents=True)
    journal = Journal(data, "bridge1", JournalSettings())
    journal.open()
    values = [values for _, values in hour()]
    begin_ms = round(time.time() * 1000) - (_MISSED + 1) * _EVERY_MS
    prev_ms = None
    for number in range(_MISSED):
        time_ms = begin_ms + number * _EVERY_MS
        those = values[number % len(values)]
        sample = Sample(SITE, "bridge1", "inverter1", "inverter", time_ms, prev_ms, those)
        if not journal.append(sample, sample.payload()):
            raise OSError(f"{journal.fault}")
        if number % 10 == 0:
            journal.flush(None)
        prev_ms = time_ms
    journal.close()
