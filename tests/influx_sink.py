"""The influx sink for tests: with its options filled in, as heliobus.yaml would have them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heliobus.settings import SinkSettings
from sinks.influx import Influx
from tests.influx_standin import Standin

TOKEN = "sesame"


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


@contextmanager
def serving() -> Iterator[Standin]:
    """Run a stand-in with the bucket `solar`, which TOKEN may write to."""
    with Standin() as standin:
        standin.add_bucket("solar")
        standin.tokens[TOKEN] = {("write", "solar")}
        yield standin


@contextmanager
def opened(server: Standin, folder: Path) -> Iterator[Influx]:
    """Give an open sink of that server, and close it in the end."""
    one = influx(server.url, folder, token=TOKEN)
    one.open()
    yield one
    one.close()
