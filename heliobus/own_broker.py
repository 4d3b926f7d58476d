"""The broker that a process starts and keeps running."""

import logging
from dataclasses import replace
from pathlib import Path

from broker.start import RunningBroker, accepts, start_broker
from heliobus.errors import ConfigError
from heliobus.settings import BrokerSettings, BrokerStart

log = logging.getLogger(__name__)


class OwnBroker:
    """The broker that this process starts and keeps running; nothing where it is another's."""

    def __init__(self, settings: BrokerSettings, folder: Path) -> None:
        self.settings = settings
        self._folder = folder
        self._running: RunningBroker | None = None

    def start(self, *, share: bool = False) -> None:
        """Start it, if it is ours to start. Raise ConfigError.

        `share`: `auto` takes a broker that listens there already, as a system service does.
        """
        if self.settings.start is BrokerStart.NO:
            return
        auto = self.settings.start is BrokerStart.AUTO
        if share and auto and accepts(self.settings.port):
            log.info("broker %s: one listens there already; using it", self.settings.url)
            return
        self._running = start_broker(self.settings.start, self.settings.port, self._folder)
        embedded = self._running.name == "embedded"
        self.settings = replace(self.settings, mqtt5=not embedded)
        log.info("broker %s: %s started", self.settings.url, self._running.name)

    @property
    def name(self) -> str:
        """Name the program that runs."""
        return self._running.name if self._running else "none of ours"

    @property
    def pid(self) -> int:
        """Give its process id, 0 where it is not ours."""
        return self._running.pid if self._running else 0

    def tend(self) -> None:
        """Start it again when it has died."""
        if self._running is not None and not self._running.running:
            log.warning("broker %s: it has died; starting it again", self.settings.url)
            try:
                self._running = start_broker(self.settings.start, self.settings.port, self._folder)
            except ConfigError as error:
                log.warning("%s; trying again", error)

    def stop(self) -> None:
        """Stop it; safe to call twice."""
        if self._running is not None:
            self._running.stop()
            self._running = None
