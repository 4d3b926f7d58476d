"""A mosquitto with the locks of `heliobus broker init`, and the installation it belongs to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from broker.accounts import Accounts, Wish
from broker.roles import Role
from broker.start import RunningBroker, start_broker
from heliobus.settings import (
    BridgeSettings,
    BrokerSettings,
    BrokerStart,
    DeviceSettings,
    Settings,
    SinkSettings,
)
from tests.helpers import ROOT, free_port, require_program

ORDINARY = 65534


@dataclass
class Locked:
    """An installation of two bridges and a sink, and the folder of its broker."""

    settings: Settings
    running: RunningBroker | None = None

    @property
    def folder(self) -> Path:
        return self.settings.broker.folder

    @property
    def broker(self) -> BrokerSettings:
        """Give the broker as its components find it."""
        return replace(self.settings.broker, passwords=self.folder / "users")

    @property
    def pid(self) -> int:
        return self.running.pid if self.running else 0

    def password(self, name: str) -> str:
        return (self.folder / "users" / name).read_text().strip()

    def make(self, wish: Wish | None = None) -> list[str]:
        return Accounts(self.settings, self.folder).make(wish).lines

    def add(self, name: str, role: Role, *topics: str) -> None:
        accounts = Accounts(self.settings, self.folder)
        accounts.add(name, role, topics)
        accounts.make()

    def reload(self) -> None:
        if self.running is not None:
            self.running.reload()

    @contextmanager
    def serving(self) -> Iterator["Locked"]:
        """Run mosquitto with what was made."""
        require_program("mosquitto", package="mosquitto")
        port, data = self.settings.broker.port, self.settings.data / "broker"
        self.running = start_broker(BrokerStart.MOSQUITTO, port, data, locks=self.folder)
        try:
            yield self
        finally:
            self.running.stop()
            self.running = None


def locked(folder: Path) -> Locked:
    """Give an installation whose broker is not made yet."""
    inverter = DeviceSettings("inverter", 5.0, "serial:///dev/null")
    bridges = {
        "axpert": BridgeSettings("axpert", "voltronic", (inverter,)),
        "meters": BridgeSettings("meters", "voltronic", (replace(inverter, name="grid"),)),
    }
    return Locked(
        Settings(
            site="farm",
            folder=folder,
            data=folder / "data",
            broker=BrokerSettings(port=free_port(), folder=folder / "broker"),
            bridges=bridges,
            sinks={"archive": SinkSettings("archive", "sql")},
        )
    )


@contextmanager
def served_house(folder: Path) -> Iterator[Locked]:
    """Run it with a foreign device and a person who gives commands."""
    one = locked(folder)
    one.make()
    one.add("opendtu", Role.DEVICE, "solar")
    one.add("anna", Role.OPERATOR)
    with one.serving():
        yield one


@contextmanager
def not_as_root(folder: Path) -> Iterator[None]:
    """Be an ordinary user, to whom the folder belongs."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, ORDINARY, ORDINARY)
    with ordinary():
        yield


@contextmanager
def ordinary() -> Iterator[None]:
    """Be an ordinary user, who can come to the code; to folders, see `common_path`."""
    for place in (ROOT, *ROOT.parents):
        if str(place).startswith("/tmp/"):
            place.chmod(0o755)
    os.seteuid(ORDINARY)
    try:
        yield
    finally:
        os.seteuid(0)
