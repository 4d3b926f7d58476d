"""docs/adding-a-bridge.md, followed to the letter: its files, its commands, a real broker."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.helpers import ROOT, BrokerProcess, require_program, wait_until
from tests.test_docs import blocks

PAGE = (ROOT / "docs" / "adding-a-bridge.md").read_text(encoding="utf-8")


class Background:
    """A command of the page that runs beside us, and what it has written."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class Reader:
    """Whoever follows the page: with its files in a folder, and its commands."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder / "thermo"
        self._names = {
            "/tmp/thermo": str(folder / "port"),
            "/home/you/thermo": str(self._folder),
            "127.0.0.1:1883": f"127.0.0.1:{port}",
            "mosquitto_sub -v": f"mosquitto_sub -p {port} -v",
        }
        for block in blocks(PAGE):
            if block.file:
                path = self._folder / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.here(block.text), encoding="utf-8")
        self._environment = self._install(folder / "bin")

    def here(self, text: str) -> str:
        """Put this test's port and broker in the place of the page's."""
        for named, ours in self._names.items():
            text = text.replace(named, ours)
        return text

    def _install(self, programs: Path) -> dict[str, str]:
        """Do what `pip install` makes of the page's pyproject.toml. Give the environment."""
        project = tomllib.loads((self._folder / "pyproject.toml").read_text())["project"]
        name, version = project["name"], project["version"]
        points = [
            line
            for group, entries in project["entry-points"].items()
            for line in (f"[{group}]", *(f"{key} = {target}" for key, target in entries.items()))
        ]
        info = self._folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text("\n".join(points))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        programs.mkdir()
        for program, words in {"heliobus": "-m heliobus", "python": ""}.items():
            (programs / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            (programs / program).chmod(0o755)
        return {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{self._folder}",
        }

    def command(self, begin: str) -> tuple[str, str]:
        """Give the first command of the page that begins so, and what it is said to print."""
        for block in blocks(PAGE):
            for item in block.text.split("$ ")[1:] if block.kind == "console" else ():
                command, _, printed = item.partition("\n")
                if command.startswith(begin):
                    return self.here(command), self.here(printed)
        pytest.fail(f"the page has no command {begin}")

    def does(self, begin: str) -> tuple[str, str]:
        """Run a command to its end. Give what it printed, and what the page says."""
        command, told = self.command(begin)
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, told

    @contextmanager
    def running(self, *begins: str) -> Iterator[list[Background]]:
        """Run commands beside us."""
        with ExitStack() as last:
            running = []
            for begin in begins:
                log = self._folder / f"{'_'.join(begin.split()[:2])}.log"
                with log.open("wb") as out:
                    process = subprocess.Popen(
                        ["sh", "-c", f"exec {self.command(begin)[0]}"],
                        cwd=self._folder,
                        env=self._environment,
                        stdout=out,
                        stderr=out,
                    )
                running.append(Background(process, log))
                last.callback(running[-1].end)
            yield running


@pytest.fixture
def reader(tmp_path: Path, mosquitto: BrokerProcess) -> Reader:
    require_program("mosquitto_sub", package="mosquitto-clients")
    return Reader(tmp_path, mosquitto.port)


def states(said: str) -> list[dict[str, object]]:
    """Give the samples among the lines of mosquitto_sub."""
    found = re.findall(r"^heliobus/bench/shelf/state (.*)\n", said, re.MULTILINE)
    return [json.loads(payload) for payload in found]


def test_the_pages_own_tests_pass(reader: Reader) -> None:
    printed, _ = reader.does("python -m pytest")
    assert re.search(r"\d\d passed", printed)


@pytest.mark.parametrize("begin", ["echo", "heliobus check", "heliobus -c"])
def test_a_command_prints_what_the_page_says(begin: str, reader: Reader) -> None:
    printed, told = reader.does(begin)
    assert printed == told


def test_the_bridge_is_listed_as_the_page_says(reader: Reader) -> None:
    printed, told = reader.does("heliobus list")
    assert set(told.splitlines()) <= set(printed.splitlines())  # more bridges come


@contextmanager
def listening(reader: Reader) -> Iterator[Background]:
    """Run the page's mosquitto_sub, and come back when it hears."""
    knock = reader.here("mosquitto_sub -v").split()[1:3]
    with reader.running("mosquitto_sub") as (bus,):

        def hears() -> bool:
            topic = ["-t", "heliobus/bench/shelf/knock", "-m", "knock"]
            subprocess.run(["mosquitto_pub", *knock, *topic], timeout=10, check=True)
            return "knock" in bus.said

        wait_until(hears, "mosquitto_sub to hear")
        yield bus


def outline(said: str) -> list[str]:
    """Give what came, in order: `availability online`, `state time prev kind ...`."""
    lines = re.findall(r"^heliobus/bench/shelf/(availability|state) (.*)\n", said, re.MULTILINE)
    return [
        f"{leaf} {' '.join(json.loads(text)) if text[0] == '{' else text}" for leaf, text in lines
    ]


@pytest.mark.broker
def test_the_device_arrives_on_the_bus_as_the_page_says(reader: Reader) -> None:
    told = reader.command("mosquitto_sub")[1]
    with listening(reader) as bus, reader.running("heliobus sim", "heliobus run") as (device, _):
        wait_until(lambda: '"THERMO","firmware":"1.2"' in bus.said, "the version in info", 20)
        wait_until(lambda: len(states(bus.said)) >= len(states(told)), "the samples", 20)
        assert device.said == reader.command("heliobus sim")[1]
    assert outline(bus.said)[: len(outline(told))] == outline(told)
    for found, shown in zip(states(bus.said), states(told), strict=False):
        assert found["temperature_c"] == shown["temperature_c"]
        assert (found["prev"] is None) == (shown["prev"] is None)


@pytest.mark.broker
def test_no_fault_on_the_wire_becomes_a_value(reader: Reader) -> None:
    unkind = next(line for line in PAGE.splitlines() if "--faults" in line).removeprefix("$ ")
    with listening(reader) as bus, reader.running(unkind, "heliobus run") as (_, bridge):
        wait_until(lambda: "trying again" in bridge.said, "a word about the faults", 60)
        wait_until(lambda: len(states(bus.said)) >= 4, "samples between the faults", 60)
    assert {state["temperature_c"] for state in states(bus.said)} <= {21.2, 21.3, 21.4, 21.5}
