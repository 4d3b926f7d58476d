"""`python -m bench`: measure, compare with limits.toml, write RESULTS.md.

With names of figures (`make bench ARGS="qpigs help"`) only what gives these is measured and
nothing is written.
"""

import compileall
import os
import platform
import statistics
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bench import (
    can,
    hearing,
    household,
    keeping,
    living,
    noise,
    quick,
    registers,
    storing,
    wires,
)

ROUNDS = 5
_HERE = Path(__file__).parent
_OURS = ("heliobus", "bridges", "sinks", "broker", "schemas")
_HEAD = """# Results

Written by `make bench`: medians of {rounds} rounds (one of noisy answers and of the demo) on
{machine}. Each process ran as its users run it: started with its
compiled modules there, against mosquitto, on inverters simulated byte by byte
at 2400 baud by one other Python process. Nothing else of ours ran, except the sink in the rows
that name one and, under `heliobus up`, its parent. Memory that processes share counts for each
by its part (PSS); {others}.

| what | measured | limit | unit |
|---|---:|---:|---|
"""

BENCHES: Mapping[Callable[[Path], dict[str, float]], tuple[str, ...]] = MappingProxyType(
    {
        quick.decoding: ("qpigs",),
        quick.command: ("help",),
        keeping.transactions: ("commits",),
        keeping.bytes_a_day: ("written", "synced", "kept"),
        living.stopping: ("stop_in_a_read", "stop_without_broker"),
        living.together: ("pss_under_up",),
        living.alone: (
            *("pss_alone", "rss_alone", "cpu_at_1_hz"),
            *("first_request", "first_sample", "stop"),
        ),
        **{bench: bench.figures for bench in hearing.BENCHES},
        hearing.kept: ("kept_topics",),
        registers.refresh: ("refresh", "refresh_planned", "refresh_singly"),
        **{bench: bench.figures for bench in registers.BENCHES},
        wires.of_daly: ("daly", "daly_poll"),
        wires.of_aurora: ("aurora", "aurora_poll"),
        can.listening: ("can_cpu", "can_missed"),
        **{bench: bench.figures for bench in noise.BENCHES},
        household.demo: ("demo_cpu", "demo_pss"),
        **{bench: bench.figures for bench in storing.BENCHES},
    }
)
"""Every bench, and which figures it gives."""

ONCE = frozenset({*noise.BENCHES, household.demo})
"""Those that take a minute or so, and give much the same each time: one round of them is enough."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One table of limits.toml."""

    what: str
    unit: str
    limit: float


def limits() -> dict[str, Limit]:
    """Read limits.toml."""
    tables = tomllib.loads((_HERE / "limits.toml").read_text())
    return {name: Limit(**table) for name, table in tables.items()}


def main(wanted: Sequence[str]) -> int:
    """Measure what is wanted (nothing: all) and give the exit status."""
    known = limits()
    if unknown := set(wanted) - set(known):
        sys.stderr.write(f"bench: {unknown.pop()!r} is not known; there are {', '.join(known)}\n")
        return 2
    for folder in _OURS:
        compileall.compile_dir(_HERE.parent / folder, quiet=2)
    measured = _measure([b for b, names in BENCHES.items() if not wanted or {*names} & {*wanted}])
    rows = {name: known[name] for name in known if name in measured}
    over = [name for name, limit in rows.items() if measured[name] > limit.limit]
    if not wanted:
        table = "".join(_row(limit, measured[name]) for name, limit in rows.items())
        (_HERE / "RESULTS.md").write_text(_head() + table)
    for name in over:
        limit = rows[name]
        sys.stderr.write(
            f"bench: {name}: {limit.what}: measured {measured[name]:.4g} {limit.unit}, "
            f"the limit is {limit.limit:g}\n"
        )
    return 1 if over else 0


def _measure(benches: Sequence[Callable[[Path], dict[str, float]]]) -> dict[str, float]:
    """Give the median of each figure."""
    medians: dict[str, float] = {}
    for bench in benches:
        rounds: dict[str, list[float]] = defaultdict(list)
        for _ in range(1 if bench in ONCE else ROUNDS):
            with tempfile.TemporaryDirectory(prefix="heliobus-bench-") as folder:
                for name, value in bench(Path(folder, "stage")).items():
                    rounds[name].append(value)
        for name, values in rounds.items():
            medians[name] = statistics.median(values)
            every = " ".join(f"{value:.4g}" for value in sorted(values))
            sys.stdout.write(f"{name:20} {medians[name]:8.4g}   of {every}\n")
            sys.stdout.flush()
    return medians


def _row(limit: Limit, measured: float) -> str:
    return f"| {limit.what} | {measured:.3g} | {limit.limit:g} | {limit.unit} |\n"


def _head() -> str:
    machine = f"{os.cpu_count()} cores {platform.machine()}, CPython {platform.python_version()}"
    pythons = _other_pythons()
    others = "no foreign process with the same Python ran beside them"
    if pythons:
        others = f"{pythons} foreign processes with the same Python make it look smaller"
    return _HEAD.format(rounds=ROUNDS, machine=machine, others=others)


def _other_pythons() -> int:
    """Count the foreign processes with the same interpreter: they make PSS look smaller."""
    ours, found = os.path.realpath("/proc/self/exe"), 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += os.path.realpath(process / "exe") == ours and process.name != str(os.getpid())
        except OSError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
