"""`heliobus up --simulate`: an owner's own file, whose hardware is nowhere, as real processes."""

import json
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from heliobus.process import Lock
from tests.helpers import ROOT, free_port, require_program, wait_until
from tests.processes import Ear, Program

pytestmark = pytest.mark.broker

# Nothing of this is there: neither ports nor addresses, nor what is secret.
FILE = """\
site: farm
broker: {{url: "mqtt://127.0.0.1:{port}", password_file: secrets/mqtt}}
bridges:
  axpert:
    type: voltronic
    link: serial:///dev/serial/by-id/usb-nowhere?baud=2400
    devices: {{inverter: {{every: 1s}}}}
  meters:
    type: modbus
    link: rfc2217://192.0.2.7:2217?baud=9600
    every: 1s
    devices:
      grid: {{profile: eastron_sdm230, role: grid, unit: 1}}
      pump: {{profile: eastron_sdm120, role: load, unit: 2}}
  chargers:
    type: modbus
    every: 1s
    devices:
      sc1: {{link: "tcp://192.0.2.101:1025", profile: morningstar_tristar_mppt}}
      sc2: {{link: "tcp://192.0.2.102:1025", profile: morningstar_tristar_mppt}}
  dtu:
    type: mqtt
    map: opendtu
    base: sun
    only_named: true
    broker: {{url: "mqtt://192.0.2.20:1883"}}
    devices: {{roof: {{id: "116183123456"}}}}
  plugs: {{type: mqtt, map: shelly_gen2}}
sinks:
  influx: {{type: influx, url: "http://192.0.2.9:8086", bucket: heliobus, token_file: secrets/t}}
  archive: {{type: sql, url: "sqlite:///history.db"}}
  hass: {{type: homeassistant}}
"""
DEVICES = {"inverter", "grid", "pump", "sc1", "sc2"}
ARCHIVE = "data/simulated/history.db"


@pytest.fixture
def farm(tmp_path: Path) -> Path:
    """Give a folder with the file; somebody listens on the port of its broker, and waits."""
    require_program("mosquitto", package="mosquitto")
    (tmp_path / "heliobus.yaml").write_text(FILE.format(port=free_port()))
    return tmp_path


def simulated(farm: Path, *arguments: str) -> Program:
    """Give the command, not yet started."""
    return Program(farm, "up", "--simulate", "--port", str(free_port()), *arguments)


def port_of(program: Program) -> int:
    return int(re.findall(r" on 127\.0\.0\.1:(\d+)", program.says("broker  "))[0])


def command(farm: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run another command on the same file to its end."""
    return subprocess.run(
        [sys.executable, "-m", "heliobus", *arguments],
        cwd=farm,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def rows(farm: Path) -> Mapping[str, list[Any]]:
    """Give the marks of all that is stored of devices, by device."""
    if not (farm / ARCHIVE).exists():
        return {}
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(f"file:{farm / ARCHIVE}?mode=ro", uri=True)) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        for table in tables & {"inverter", "meter", "charger", "component", "gateway"}:
            query = f"SELECT device, simulated FROM {table} JOIN devices ON id = device_id"
            for device, mark in db.execute(query):
                found.setdefault(device, []).append(mark)
    return found


def states(ear: Ear) -> dict[str, dict[str, Any]]:
    """Give the newest state of each device."""
    heard = [(m.topic.split("/")[2], json.loads(m.payload)) for m in ear.heard("/state")]
    return dict(heard)


@pytest.fixture
def wire() -> Iterator[socket.socket]:
    """Be the broker that the file names; nobody is to come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


# ---------------------------------------------------------------------- what runs


def test_the_very_file_runs_without_its_hardware(farm: Path, wire: socket.socket) -> None:
    (farm / "heliobus.yaml").write_text(FILE.format(port=wire.getsockname()[1]))
    with simulated(farm) as program, Ear(port_of(program)) as ear:
        wait_until(lambda: states(ear).keys() >= DEVICES, f"all devices\n{program.said}", 20)
        assert all(state["simulated"] is True for state in states(ear).values())
        assert states(ear)["inverter"]["bridge"] == "axpert"
        wait_until(lambda: rows(farm).keys() >= DEVICES, f"all stored\n{program.said}", 20)
        assert program.stop() == 0
    stored = rows(farm)
    assert {mark for marks in stored.values() for mark in marks} == {1}
    assert stored.keys() >= {"axpert", "influx"}  # how the components are is marked, too
    assert not (farm / "history.db").exists()
    assert sorted(path.name for path in (farm / "data").iterdir()) == ["simulated"]
    assert select.select([wire], [], [], 0)[0] == []
    assert not re.search("WARNING|ERROR|Traceback", program.said)


@pytest.mark.slow
def test_devices_that_speak_are_those_of_the_file_too(farm: Path) -> None:
    with simulated(farm, "--only", "dtu,influx") as program, Ear(port_of(program)) as ear:
        wait_until(lambda: rows(farm).get("roof"), f"a row\n{program.said}", 20)
        assert states(ear).keys() == {"roof"}
        info = json.loads(ear.heard("roof/info")[-1].payload)
        assert (info["serial"], info["simulated"]) == ("116183123456", True)


def test_what_is_retained_says_that_it_is_simulated(farm: Path) -> None:
    with simulated(farm, "--only", "chargers,influx") as program, Ear(port_of(program)) as ear:
        wait_until(lambda: ear.heard("sc1/state"), f"a state of sc1\n{program.said}", 20)
        said = wait_until(lambda: ear.heard("sc1/info"), "info of sc1")
        assert json.loads(said[-1].payload)["simulated"] is True
        wait_until(lambda: ear.status("influx").get("simulated"), "the status of the archive")
        ear.say("bus/chargers/replay", {
            "id": "x", "sink": "tester", "device": "sc1", "after": None, "until": None,
        })  # fmt: skip
        answers = wait_until(lambda: ear.heard("/bus/tester/history"), "what was journaled")
        samples = json.loads(answers[0].payload)["samples"]
        assert samples
        assert all(sample["simulated"] is True for sample in samples)


def test_the_screen_says_what_is_simulated_and_how_to_look_at_it(farm: Path) -> None:
    with simulated(farm) as program:
        program.says("history --simulate")
        screen = program.said[program.said.index("Simulated:") :].split("\n\n")
        assert screen[0] == (
            "Simulated: no real device is asked, and nothing is written to your archives."
            " Ctrl-C ends it."
        )
        port = port_of(program)
        assert screen[1].splitlines() == [
            "axpert      inverter",
            "meters      grid, pump",
            "chargers    sc1, sc2",
            "dtu         roof",
            "plugs       LEFT OUT: the map 'shelly_gen2' has no simulator; opendtu has",
            f"broker      mosquitto on 127.0.0.1:{port}",
            f"archive     {farm}/data/simulated/history.db, in the place of influx and archive",
            "look at it  heliobus -c heliobus.yaml watch --simulate",
            "            heliobus -c heliobus.yaml history --simulate DEVICE FIELD",
        ]
        wait_until(lambda: rows(farm).get("sc1"), "a row", 20)
        history = command(farm, "history", "--simulate", "sc1", "battery_v")
        assert (history.returncode, history.stderr) == (0, "")
        assert re.match(r"time +sc1 battery_v \(V\)\n2.* UTC  [45]\d\.\d+\n", history.stdout)
        watch = subprocess.Popen(
            [sys.executable, "-m", "heliobus", "watch", "--simulate", "sc1"],
            cwd=farm, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        with watch:
            assert watch.stdout is not None
            line = next(line for line in watch.stdout if "battery_v=" in line)
            watch.send_signal(signal.SIGTERM)
        assert " sc1  " in line


def test_only_some_of_the_components_run(farm: Path) -> None:
    with simulated(farm, "--only", "meters,archive") as program, Ear(port_of(program)) as ear:
        wait_until(lambda: rows(farm).keys() >= {"grid", "pump"}, f"rows\n{program.said}", 20)
        assert states(ear).keys() == {"grid", "pump"}
        assert "chargers" not in program.said
        assert program.stop() == 0
    assert "history.db, in the place of archive\n" in program.said
    kept = f"What was simulated is kept in {farm}/data/simulated; you may delete that folder.\n"
    assert program.said.endswith(kept)


def test_without_a_sink_that_stores_there_is_no_archive(farm: Path) -> None:
    with simulated(farm, "--only", "axpert,hass") as program, Ear(port_of(program)) as ear:
        wait_until(lambda: "inverter" in states(ear), f"a state\n{program.said}", 20)
        assert program.stop() == 0
    assert not (farm / ARCHIVE).exists()
    assert "archive   " not in program.said
    assert "history --simulate" not in program.said


@pytest.mark.slow
def test_home_assistant_is_told_at_the_simulated_broker(farm: Path) -> None:
    with simulated(farm, "--only", "axpert,hass") as program, Ear(port_of(program)) as ear:
        wait_until(lambda: ear.status("hass"), f"the sink\n{program.said}", 20)
        ear.client.subscribe("homeassistant/#", 1)
        wait_until(lambda: ear.heard("/config"), f"a discovery\n{program.said}")


PAGER = """\
from pathlib import Path

class Pager:
    subscriptions = ()

    def __init__(self, settings, **_):
        Path("sent").touch()

    def connected(self, now_s): ...
    def take(self, message, now_s): ...
    def due(self, now_s): return ()
    def details(self): return {}
"""


def add_pager(farm: Path, **config: Any) -> None:
    """Install a sink of somebody else, which sends messages, and name it in the file."""
    package, info = farm / "acme_pager", farm / "acme_pager-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text(PAGER)
    (package / "config.json").write_text(json.dumps({"stores": False, **config}))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-pager\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[heliobus.sinks]\npager = acme_pager:Pager\n")
    with (farm / "heliobus.yaml").open("a") as file:
        file.write("  pager: {type: pager}\n")


def test_a_sink_that_tells_others_is_left_out_and_the_screen_says_so(farm: Path) -> None:
    add_pager(farm, outside=True)
    with simulated(farm, "--only", "axpert,pager") as program, Ear(port_of(program)) as ear:
        wait_until(lambda: "inverter" in states(ear), f"a state\n{program.said}", 20)
        assert program.stop() == 0
    assert (
        "pager       LEFT OUT: it tells people or other places, and nothing of this is true\n"
        in program.said
    )
    assert not (farm / "sent").exists()


def test_a_sink_that_tells_nobody_outside_runs(farm: Path) -> None:
    add_pager(farm)
    with simulated(farm, "--only", "axpert,pager") as program:
        wait_until((farm / "sent").exists, f"the sink\n{program.said}", 20)


def test_a_second_run_begins_with_nothing_of_the_first_but_its_archive(farm: Path) -> None:
    with simulated(farm, "--only", "axpert,archive") as program:
        wait_until(lambda: rows(farm).get("inverter"), f"a row\n{program.said}", 20)
        assert program.stop() == 0
    before = len(rows(farm)["inverter"])
    with simulated(farm, "--only", "chargers,archive") as program, Ear(port_of(program)) as ear:
        wait_until(lambda: rows(farm).get("sc1"), f"a row\n{program.said}", 20)
        assert states(ear).keys() == {"sc1", "sc2"}
    assert len(rows(farm)["inverter"]) == before


# ---------------------------------------------------------------------- faults


def test_the_devices_are_served_again_after_their_process_was_killed(farm: Path) -> None:
    some = "axpert,chargers,meters"
    with simulated(farm, "--only", some) as program, Ear(port_of(program)) as ear:
        wait_until(lambda: len(states(ear)) == 5, f"all devices\n{program.said}", 20)
        os.kill(_house(program.pid), signal.SIGKILL)
        program.says("simulated devices: killed by signal 9")
        # Terminals are numbered: the next one that somebody opens may be that of the device.
        links = farm / "data" / "simulated" / "links"
        wait_until(lambda: not [*links.iterdir()], "the names of its terminals to go")
        killed_s = time.monotonic()
        wait_until(
            lambda: len({m.topic for m in ear.heard("/state", killed_s + 1)}) == 5,
            f"all devices again\n{program.said}",
            30,
        )


def _house(parent: int) -> int:
    """Find the process that is all devices: the one that has pseudo-terminals to serve."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (found,) = [child for child in children if "/dev/ptmx" in _files(child)]
    return int(found)


def _files(process: str) -> list[str]:
    found = []
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(file.readlink()))
    return found


def test_killing_it_leaves_nothing_behind(farm: Path) -> None:
    with simulated(farm, "--only", "axpert,archive") as program:
        program.says("INFO axpert: started")
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        assert len(children) >= 3
        program.kill()
        wait_until(lambda: not any(Path(f"/proc/{c}").exists() for c in children), "their end")


@pytest.mark.slow
def test_it_runs_once_and_beside_the_real_one(farm: Path) -> None:
    (farm / "data" / "simulated").mkdir(parents=True)
    with Lock(farm / "data", "axpert"), simulated(farm, "--only", "axpert") as program:
        program.says("INFO axpert: started")
        second = command(farm, "up", "--simulate")
        assert second.returncode == 1
        assert "'up-simulate' runs already (pid " in second.stderr


def test_without_anything_to_simulate_it_says_why(farm: Path) -> None:
    found = command(farm, "up", "--simulate", "--only", "plugs")
    assert found.returncode == 78
    assert found.stderr.splitlines() == [
        "nothing to run",
        "the map 'shelly_gen2' has no simulator; opendtu has",
    ]


@pytest.mark.parametrize("name", ["watch", "history"])
def test_who_looks_too_early_is_told_what_to_run(farm: Path, name: str) -> None:
    more = ["sc1", "pv_w"] if name == "history" else []
    found = command(farm, name, "--simulate", *more)
    assert found.returncode == 78
    assert found.stderr == (
        "nothing has been simulated yet: run 'heliobus up --simulate', and leave it running\n"
    )


def test_a_port_in_use_names_its_holder(farm: Path, wire: socket.socket) -> None:
    port = wire.getsockname()[1]
    ended = command(farm, "up", "--simulate", "--port", str(port))
    assert (ended.returncode, ended.stdout) == (78, "")
    assert re.search(
        rf"--port {port}: in use by \S+ \(process {os.getpid()}\); name another port, "
        r"or leave --port out: then a free one is found\n$",
        ended.stderr,
    )


def test_a_port_is_for_the_simulated_broker_only(farm: Path) -> None:
    found = command(farm, "up", "--port", "1884")
    assert found.returncode == 2
    assert "--port goes with --simulate; else broker.url says the port" in found.stderr
