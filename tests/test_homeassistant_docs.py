"""The commands of docs/home-assistant.md, at the broker that `heliobus broker init` makes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.start import RunningBroker, start_broker
from heliobus.settings import BrokerStart
from tests.helpers import ROOT, free_port, require_program
from tests.test_docs import blocks

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PAGE = (ROOT / "docs" / "home-assistant.md").read_text()
COMMANDS = [block.text for block in blocks(PAGE) if block.kind == "sh"]
RETAINED = [
    *(f"heliobus/farm/roof/{leaf}" for leaf in ("info", "state", "availability")),
    "heliobus/farm/bus/axpert/status",
    "homeassistant/device/heliobus_hut_pump/config",
    "homeassistant/device/heliobus_hut-bus-axpert/config",
    "homeassistant/device/heliobus_hutch_pump/config",
]


@dataclass
class House:
    """A folder with a configuration, its broker, and a shell in which a person works."""

    folder: Path
    port: int
    broker: RunningBroker

    def sh(self, text: str, **environment: str) -> str:
        """Run a command as the page has it. Give what it says."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-eu", "-c", text],
            cwd=self.folder,
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def mine(self, text: str) -> str:
        """Run a command as the user of whom the page speaks."""
        return self.sh(text, XDG_CONFIG_HOME=str(self.folder / "clients"))

    @property
    def retained(self) -> list[str]:
        """Name the topics that are retained, as that user sees it."""
        wanted = "-t 'heliobus/#' -t 'homeassistant/#'"
        said = self.mine(f"mosquitto_sub --retained-only -W 1 -F %t {wanted} || test $? = 27")
        return sorted(said.split())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Do what the page says in its first two steps."""
    require_program("mosquitto", package="mosquitto")
    require_program("mosquitto_sub", package="mosquitto-clients")
    port = free_port()
    [text] = [block.text for block in blocks(PAGE) if "bridges:" in block.text]
    (tmp_path / "heliobus.yaml").write_text(text.replace(":1883", f":{port}"))
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "heliobus"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m heliobus "$@"\n')
    command.chmod(0o755)
    shell = House(tmp_path, port, None)  # type: ignore[arg-type]  # it comes when it has its users
    users, clients = COMMANDS[0], COMMANDS[1]
    shell.sh(users)
    shell.sh(clients)
    for name in ("mosquitto_sub", "mosquitto_pub"):
        with (tmp_path / "clients" / name).open("a") as options:
            options.write(f"-p {port}\n")
    locks = tmp_path / "mqtt"
    shell.broker = start_broker(BrokerStart.MOSQUITTO, port, tmp_path / "data", locks=locks)
    try:
        yield shell
    finally:
        shell.broker.stop()


def say(house: House, user: str, topic: str) -> None:
    password = (house.folder / "mqtt" / "users" / user).read_text().strip()
    who = f"-p {house.port} -u {user} -P '{password}'"
    house.sh(f"mosquitto_pub {who} -q 1 -r -m '{{}}' -t {topic}", XDG_CONFIG_HOME="/nowhere")


def test_every_command_of_the_page_works_with_passwords(house: House) -> None:
    for topic in RETAINED:
        say(house, "hass" if topic.startswith("homeassistant/") else "me", topic)
    assert house.retained == sorted(RETAINED)
    shows, *clears = COMMANDS[2:]
    assert len(clears) == 3
    said = house.mine(f"{shows.strip()} -C 3")
    assert len(said.splitlines()) == 3
    for text in clears:
        house.mine(text)
    assert house.retained == ["homeassistant/device/heliobus_hutch_pump/config"]
