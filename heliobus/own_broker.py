"""The broker that a process starts and keeps running."""

import logging
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from broker.start import RunningBroker, accepts, chosen, start_broker
from heliobus.errors import ConfigError
from heliobus.settings import BrokerSettings, BrokerStart, Settings

log = logging.getLogger(__name__)


class OwnBroker:
    """The broker that this process starts and keeps running; nothing where it is another's.

    Given an installation, mosquitto gets a user with a password for each of its components.
    Without one everyone on this computer may do everything: that is for the demo.
    """

    def __init__(
        self, settings: BrokerSettings, folder: Path, installation: Settings | None = None
    ) -> None:
        self.settings = settings
        self._folder = folder
        self._installation = installation
        self._locks: Path | None = None
        self._locks_of: list[int] = []  # what was `_changed` when mosquitto read them
        self._running: RunningBroker | None = None

    def start(self, *, share: bool = False) -> None:
        """Start it, if it is ours to start. Raise ConfigError.

        `share`: `auto` takes a broker that listens there already, as a system service does.
        """
        if self.settings.start is BrokerStart.NO:
            return
        auto = self.settings.start is BrokerStart.AUTO
        if share and auto and accepts(self.settings.port, tls=self.settings.tls):
            log.info("broker %s: one listens there already; using it", self.settings.url)
            return
        mosquitto = chosen(self.settings.start) == "mosquitto"
        if self._installation is not None and mosquitto:
            self._lock(self._installation)
        elif self._installation is not None:
            log.warning(
                "broker %s: the embedded one knows no users: every program on this computer may"
                " do everything; 'sudo apt install mosquitto' brings one that does",
                self.settings.url,
            )
        self._launch()
        self.settings = replace(self.settings, mqtt5=mosquitto)
        log.info("broker %s: %s started", self.settings.url, self.name)

    def _lock(self, installation: Settings) -> None:
        """Make or renew users and rights, and log in with them where nothing else is said."""
        from broker.accounts import Accounts

        report = Accounts(installation, self.settings.folder).make()
        for line in report.lines:
            log.info("broker: %s", line)
        self._locks = report.folder
        if not (self.settings.has_password or self.settings.cert_file):
            self.settings = replace(self.settings, passwords=report.folder / "users")

    def _launch(self) -> None:
        self._locks_of = self._changed()
        self._running = start_broker(
            self.settings.start,
            self.settings.port,
            self._folder,
            locks=self._locks,
            tls=self.settings.tls,
        )

    def _changed(self) -> list[int]:
        """Say when users and rights were changed, in ns of a clock that may be set back."""
        times = []
        for name in ("passwords", "acl") if self._locks is not None else ():
            with suppress(OSError):
                times.append(os.stat(f"{self._locks}/{name}").st_mtime_ns)
        return times

    @property
    def name(self) -> str:
        """Name the program that runs."""
        return self._running.name if self._running else "none of ours"

    @property
    def pid(self) -> int:
        """Give its process id, 0 where it is not ours."""
        return self._running.pid if self._running else 0

    def tend(self) -> None:
        """Start it again when it has died; have it read users and rights that are new."""
        if self._running is None:
            return
        if not self._running.running:
            log.warning("broker %s: it has died; starting it again", self.settings.url)
            try:
                self._launch()
            except ConfigError as error:
                log.warning("%s; trying again", error)
        elif (changed := self._changed()) != self._locks_of:
            self._locks_of = changed
            log.info("broker %s: users and rights have changed", self.settings.url)
            self._running.reload()

    def stop(self) -> None:
        """Stop it; safe to call twice."""
        if self._running is not None:
            self._running.stop()
            self._running = None
