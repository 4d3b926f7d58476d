"""A house that has measured a lot before anybody stored it: for databases that are killed.

house = House(tmp_path, broker, sinks={SINK: {"type": "sql", "url": url, "backfill": "all"}})
journal_samples(house, 100_000)
with house.running():
    wait_until(lambda: count_in_the_database() > 20_000, "the middle")
    ...
"""

import time

from heliobus.journal import Journal
from heliobus.sample import Sample, Values
from heliobus.settings import JournalSettings
from tests.helpers import wait_until
from tests.house import BRIDGE, DEVICES, SILENCE_S, SINK, House, wall_ms
from tests.processes import SITE

EVERY_MS = 100
SETTLED_S = 5.0
_IN_A_BLOCK = 1000  # about what ten seconds bring at a hundred samples a second


def journal_samples(house: House, count: int) -> None:
    """Journal so many samples as the house's own bridge, which does not run: up to right now."""
    journal = Journal(house.data, BRIDGE, JournalSettings())
    if reports := journal.open():
        raise RuntimeError(f"{reports}")
    begin_ms = wall_ms() - (count // len(DEVICES) + 2) * EVERY_MS
    prev_ms: dict[str, int] = {}
    for number in range(count):
        turn, place = divmod(number, len(DEVICES))
        device, time_ms = DEVICES[place], begin_ms + turn * EVERY_MS
        values: Values = {
            "pv_w": turn / 8,
            "load_today_kwh": turn,
            "fault_code": turn % 7,
            "charging": turn % 2 == 0,
            "alarms": ["tenth"] if turn % 10 == 0 else [],
            "fault": f"count {turn}",
        }
        before_ms = prev_ms.get(device)
        sample = Sample(SITE, BRIDGE, device, "inverter", time_ms, before_ms, values)
        if not journal.append(sample, sample.payload()):
            raise RuntimeError(f"{journal.fault}")
        prev_ms[device] = time_ms
        if number % _IN_A_BLOCK == 0:
            journal.flush(None)
    journal.close()


def catches_up(house: House, deadline_s: float = 120.0) -> None:
    """Wait, once it has begun, until the sink knows of no hole and nobody has asked of late."""

    def rests() -> bool:
        status = house.ear.status(SINK)
        # Its first word is said before it knows of any hole.
        is_on = status.get("state") == "online" and status["uptime_s"] > SETTLED_S
        return (
            is_on
            and "error" not in status
            and status["holes"] == 0
            and not house.asked(time.monotonic() - SILENCE_S)
        )

    wait_until(rests, f"an end of catching up\n{house.said}", deadline_s)
