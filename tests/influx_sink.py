"""The influx sink for tests: with its options filled in, as heliobus.yaml would have them."""

from pathlib import Path
from typing import Any

from heliobus.sample import Sample
from heliobus.settings import SinkSettings
from sinks.influx import Influx

BEGIN_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
KEY = ("farm", "axpert", "inverter")


def settings(url: str, **options: Any) -> SinkSettings:
    """Give the settings of a sink; without other wishes for the bucket `solar` of `home`."""
    defaults = {
        "url": url,
        "org": "home",
        "bucket": "solar",
        "layout": "heliobus",
        "text": "auto",
        "timeout": 5.0,
    }
    return SinkSettings(name="grafana", type="influx", options={**defaults, **options})


def influx(url: str, folder: Path, **options: Any) -> Influx:
    """Give a sink that is not open yet; its files lie in `folder`."""
    return Influx(settings(url, **options), folder=folder, data=folder)


def sample(second: float = 0, **changes: Any) -> Sample:
    """Give a sample of an inverter, `second` seconds after BEGIN_MS."""
    values = {"battery_v": 52.1, "mode": "battery", "alarms": []}
    envelope = {"site": "farm", "bridge": "axpert", "device": "inverter", "kind": "inverter"}
    time_ms = BEGIN_MS + round(second * 1000)
    return Sample(**{**envelope, "time_ms": time_ms, "prev_ms": None, "values": values, **changes})
