"""Samples of an inverter, as tests of sinks store them."""

from typing import Any

from heliobus.sample import Sample

BEGIN_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
KEY = ("farm", "axpert", "inverter")


def sample(second: float = 0, **changes: Any) -> Sample:
    """Give a sample, `second` seconds after BEGIN_MS."""
    values = {"battery_v": 52.1, "mode": "battery", "alarms": []}
    envelope = {"site": "farm", "bridge": "axpert", "device": "inverter", "kind": "inverter"}
    time_ms = BEGIN_MS + round(second * 1000)
    return Sample(**{**envelope, "time_ms": time_ms, "prev_ms": None, "values": values, **changes})
