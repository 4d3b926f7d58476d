"""The whole simulated house of `heliobus demo`: what all of its processes take together."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.stage import Process, memory_mb, processor_s, wait_for
from heliobus.household import HOUSEHOLD
from tests.helpers import free_port

# The parent, the broker, the devices, the screen and the archive.
_OTHERS: Final = 5
_SETTLE_S: Final = 20.0  # until each bridge has asked everything once
_CPU_S: Final = 40.0


def demo(folder: Path) -> dict[str, float]:
    """Run the house for a minute; what was lost ends it with another status than 0."""
    folder.mkdir()
    house = Process(folder, "demo", "--port", f"{free_port()}", "--data", f"{folder / 'demo'}")
    try:
        count = len(HOUSEHOLD) + _OTHERS
        pids = wait_for(lambda: _all_of(house, count), "all of its processes", 60.0)
        time.sleep(_SETTLE_S)
        before_s = [processor_s(pid) for pid in pids]
        time.sleep(_CPU_S)
        used_s = [processor_s(pid) - then_s for pid, then_s in zip(pids, before_s, strict=True)]
        memory = [memory_mb(pid)["Pss"] for pid in pids]
        house.stop()
    finally:
        house.kill()
    return {"demo_cpu": sum(used_s) / _CPU_S * 100, "demo_pss": sum(memory)}


def _all_of(house: Process, count: int) -> list[int] | None:
    """Give all processes, once there are so many."""
    try:
        pids = list(_family(house.pid))
    except OSError:  # one has just ended: some live for a moment only
        return None
    return pids if len(pids) == count else None


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _family(int(child))
