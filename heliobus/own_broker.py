"""The broker that a process starts and keeps running."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from broker.listeners import listening
from broker.start import RunningBroker, accepts, chosen, lets_everybody_in, locked, start_broker
from heliobus.errors import ConfigError
from heliobus.settings import BrokerSettings, BrokerStart, Settings

log = logging.getLogger(__name__)

GONE_S = 30.0  # a broker of another that is away for longer is not just being restarted
# What mosquitto reads when it is told to, and what only when it starts.
_READ_AGAIN = ("passwords", "acl")
_READ_AT_START = ("mosquitto.conf", "tls/ca.crt", "tls/server.crt", "tls/server.key")


class OwnBroker:
    """The broker that this process starts and keeps running; nothing where it is another's.

    Given an installation, mosquitto gets a user with a password for each of its components.
    Without one everyone on this computer may do everything: that is for the demo.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        folder: Path,
        installation: Settings | None = None,
        *,
        gone_s: float = GONE_S,
    ) -> None:
        self.settings = settings
        self._folder = folder
        self._installation = installation
        self._locks: Path | None = None
        self._locks_of: list[int] = []  # what was `_changed` when mosquitto read them
        self._plan_of: list[int] = []  # the same of what it reads at its start only
        self._plan_seen: list[int] = []
        self._running: RunningBroker | None = None
        self._gone_s = gone_s
        self._listened_s: float | None = None  # when the one of another was there last

    def start(self, *, share: bool = False) -> None:
        """Start it, if it is ours to start. Raise ConfigError.

        `share`: `auto` takes a broker that listens there already, as a system service does.
        """
        if self.settings.start is BrokerStart.NO:
            return
        auto = self.settings.start is BrokerStart.AUTO
        if share and auto and accepts(self.settings.port, tls=self.settings.tls):
            self._share()
        else:
            self._own()

    def _share(self) -> None:
        self._listened_s = time.monotonic()
        if self.settings.tls or not lets_everybody_in(self.settings.port):
            log.info("broker %s: one listens there already; using it", self.settings.url)
            return
        log.warning(
            "broker %s: one listens there already and lets in everybody without a password; it is"
            " not ours, and is used: stop it to get one of our own, or give it our users:"
            " 'heliobus broker init'",
            self.settings.url,
        )

    def _own(self) -> None:
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
        self._locks_of = self._changed(_READ_AGAIN)
        self._plan_of = self._plan_seen = self._changed(_READ_AT_START)
        self._running = start_broker(
            self.settings.start,
            self.settings.port,
            self._folder,
            locks=self._locks,
            tls=self.settings.tls,
        )

    def _changed(self, names: Sequence[str]) -> list[int]:
        """Say when files were changed, in ns of a clock that may be set back."""
        times = []
        for name in names if self._locks is not None else ():
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
        """Start it again when it has died; have it read what is new.

        Start one of our own, other `settings` and all, when that of another is gone for good.
        """
        if self._running is None:
            self._look_for_the_other()
        elif not self._running.running:
            log.warning("broker %s: it has died; starting it again", self.settings.url)
            self._try(self._launch)
        elif (plan := self._changed(_READ_AT_START)) != self._plan_of:
            if plan == self._plan_seen:  # its writer is done
                self._plan_of = plan
                self._try(self._restart)
            self._plan_seen = plan
        elif (changed := self._changed(_READ_AGAIN)) != self._locks_of:
            self._locks_of = changed
            log.info("broker %s: users and rights have changed", self.settings.url)
            self._running.reload()

    def _look_for_the_other(self) -> None:
        now_s = time.monotonic()
        if self._listened_s is None or listening(self.settings.port):
            self._listened_s = self._listened_s and now_s
        elif now_s - self._listened_s >= self._gone_s:
            self._listened_s = now_s
            log.warning(
                "broker %s: the one that listened there is gone; starting one of our own",
                self.settings.url,
            )
            self._try(self._own)

    def _restart(self) -> None:
        if self._running is None or self._locks is None:
            return
        locked(self.settings.port, self._locks)  # while it cannot be started, the old one goes on
        log.info(
            "broker %s: listeners or certificates have changed; starting it again",
            self.settings.url,
        )
        self._running.stop()
        self._launch()

    def _try(self, start: Callable[[], None]) -> None:
        try:
            start()
        except ConfigError as error:
            log.warning("%s; trying again", error)

    def stop(self) -> None:
        """Stop it; safe to call twice."""
        if self._running is not None:
            self._running.stop()
            self._running = None
