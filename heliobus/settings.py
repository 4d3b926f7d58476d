"""The checked, typed settings of one `heliobus.yaml`. Plain data; `config.load` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


class BrokerStart(Enum):
    """Who starts the broker: nobody here, or `heliobus up` with one of ours."""

    NO = "no"
    AUTO = "auto"  # mosquitto when it is installed, else the embedded one
    MOSQUITTO = "mosquitto"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is and who we are there. `password` is never shown.

    Of the three ways to a password one is used at most: itself, a file, or a folder with a file
    for each user. `cert_file` and `key_file` may be folders, too: with NAME.crt and NAME.key.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    tls: bool = False
    username: str | None = None  # None: the component's name, when there is a password
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    passwords: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    start: BrokerStart = BrokerStart.NO
    folder: Path = Path("broker")  # where `heliobus broker init` keeps its files
    mqtt5: bool = True  # False: known to speak 3.1.1 only, as the embedded one
    key: str = "broker"  # where it stands in heliobus.yaml

    @property
    def url(self) -> str:
        """Give the address for messages; it holds no secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}"

    @property
    def has_password(self) -> bool:
        """Say whether we log in with a password."""
        return any((self.password, self.password_file, self.passwords))


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """How long and how large a component's journal may grow."""

    flush_s: float = 10.0
    keep_s: float = 7 * 86400.0
    max_size_bytes: int = 256_000_000


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """How long samples wait for a synchronised clock; `trust` takes the clock as it is."""

    wait_s: float = 120.0
    trust: bool = False


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """One device of a bridge. `options` are the bridge's own keys, checked by its config.json.

    `every_s` 0: the owner has not said it, of a device that is found. Relative paths in `options`
    start at `folder`.
    """

    name: str
    every_s: float
    link: str
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """One bridge component.

    `devices` are those that the owner names; `every_s` is for those that are found besides.
    """

    name: str
    type: str
    devices: tuple[DeviceSettings, ...]
    takeover: bool = False
    allow_commands: bool = False
    every_s: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One sink component. `options` are the sink's own keys, checked by its config.json.

    `backfill_s`: how much of the past to ask the bridges for at first; None: all there is.
    """

    name: str
    type: str
    backfill_s: float | None = 86400.0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole installation. Relative paths in the file start at `folder`.

    `simulated`: no hardware is behind it, which every sample of it says.
    """

    site: str
    folder: Path
    data: Path
    base_topic: str = "heliobus"
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    journal: JournalSettings = field(default_factory=JournalSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)
    bridges: Mapping[str, BridgeSettings] = field(default_factory=dict)
    sinks: Mapping[str, SinkSettings] = field(default_factory=dict)
    simulated: bool = False
