"""Bad input to real processes: one line on stderr says where, what is wrong and what to do."""

import grp
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridges.voltronic.simulator import Simulator
from heliobus.guard import EXIT_CONFIG, EXIT_FAILED
from heliobus.settings import BrokerStart
from heliobus.simulation import serve_pty
from tests.helpers import BrokerProcess, free_port, require_program, wait_until
from tests.house import BRIDGE, SINK, House
from tests.processes import SITE, Program

pytestmark = pytest.mark.broker

# Root may do anything: without these two capabilities (linux/capability.h: CAP_DAC_OVERRIDE,
# CAP_DAC_READ_SEARCH) it has the permissions of files like anybody else.
WITHOUT_POWERS = (
    sys.executable,
    "-c",
    "import ctypes, os, sys\n"
    "prctl = ctypes.CDLL(None).prctl\n"
    "PR_CAPBSET_DROP = 24\n"
    "prctl(PR_CAPBSET_DROP, 1), prctl(PR_CAPBSET_DROP, 2)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n",
)
HOLD = """
import fcntl, os, sys
port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
fcntl.flock(port, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def write(folder: Path, **config: Any) -> None:
    """Write a heliobus.yaml whose broker is not there."""
    absent = {"url": f"mqtt://127.0.0.1:{free_port()}"}
    text = yaml.safe_dump({"site": SITE, "broker": absent, "clock": "trust", **config})
    (folder / "heliobus.yaml").write_text(text)


def voltronic(*links: str) -> dict[str, Any]:
    devices = {f"inverter_{n}": {"link": link} for n, link in enumerate(links)}
    return {"axpert": {"type": "voltronic", "devices": devices}}


# ---------------------------------------------------------------- the broker


def test_a_broker_that_is_down_is_named_once_and_waited_for(tmp_path: Path) -> None:
    require_program("mosquitto", package="mosquitto")
    broker = BrokerProcess(BrokerStart.MOSQUITTO, tmp_path / "broker")
    with House(tmp_path / "house", broker).running() as house:
        says = (
            f"broker {broker.url}: nothing listens there; is the broker running? "
            "`heliobus up` starts one by `start: auto`. Trying again"
        )
        for name in (BRIDGE, SINK):
            house.programs[name].says(says)
        wait_until(lambda: house.counters.counts[b"pump"] > 2, "that it measures all the same", 15)
        broker.start()
        house.recovers()
        house.ends_without_loss()
        assert [house.programs[name].said.count(says) for name in (BRIDGE, SINK)] == [1, 1]
    broker.stop()


@contextmanager
def guarded_broker(folder: Path) -> Iterator[str]:
    """Run a mosquitto that knows one user, meters, who may publish nothing but its own things."""
    mosquitto = require_program("mosquitto", package="mosquitto")
    passwords, rights, config = (folder / name for name in ("passwords", "rights", "config"))
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, BRIDGE, "right"], check=True)
    rights.write_text("pattern write heliobus/+/bus/%u/#\npattern read heliobus/#\n")
    port = free_port()
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
        f"acl_file {rights}\n{'user root' if os.geteuid() == 0 else ''}\n"
    )
    with subprocess.Popen([mosquitto, "-c", config], stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: _listens(port), "the broker")
        try:
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ({}, "a connection without a password is not accepted"),
        ({"password": "wrong"}, f"user '{BRIDGE}' or its password is not accepted"),
        ({"password": "right"}, f"refused what '{BRIDGE}' publishes on heliobus/{SITE}/pump/"),
    ],
)
def test_what_a_broker_refuses_is_told(password: dict[str, str], says: str, tmp_path: Path) -> None:
    with guarded_broker(tmp_path) as url:
        devices = {"pump": {"link": f"tcp://127.0.0.1:{free_port()}"}}
        bridges = {BRIDGE: {"type": "fast", "devices": devices}}
        write(tmp_path, broker={"url": url, **password}, bridges=bridges)
        with Program(tmp_path, "run", BRIDGE) as program:
            program.says(f"broker {url}:", says)
            assert program.stop() == 0
            assert program.said.count(says) <= 2  # one for `info`, one for `availability`


def test_a_port_in_use_comes_with_the_program_that_has_it(tmp_path: Path) -> None:
    require_program("mosquitto", package="mosquitto")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broker = {"url": f"mqtt://127.0.0.1:{port}", "start": "mosquitto"}
        write(tmp_path, broker=broker, bridges=voltronic("serial:///dev/ttyUSB0"))
        with Program(tmp_path, "up") as program:
            program.says(f"broker: port {port} on 127.0.0.1 is in use by", f"{os.getpid()}")
            assert program.wait() == EXIT_CONFIG


# ---------------------------------------------------------------- the ports of devices


def test_ports_that_are_missing_held_or_forbidden_are_told_apart(tmp_path: Path) -> None:
    script = tmp_path / "mpp-solar"
    script.write_text(HOLD)
    with serve_pty(Simulator(), baud=9600) as busy, serve_pty(Simulator(), baud=9600) as closed:
        held, forbidden = (
            port.url.removeprefix("serial://").split("?")[0] for port in (busy, closed)
        )
        os.chmod(forbidden, 0o060)  # for its group alone
        if os.geteuid() == 0:
            os.chown(forbidden, -1, grp.getgrnam("dialout").gr_gid)
        command = [sys.executable, str(script), held]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            bridges = voltronic("serial:///dev/ttyNone0", busy.url, closed.url)
            write(tmp_path, bridges=bridges)
            with Program(tmp_path, "run", "axpert", before=WITHOUT_POWERS) as program:
                program.says("/dev/ttyNone0: no such port")
                program.says(f"{held}: held by", f"mpp-solar (pid {holder.pid})", "one owner")
                program.says(f"{forbidden}: no permission, it belongs to group ", "sudo usermod")
                assert program.stop() == 0
            holder.communicate()


# ---------------------------------------------------------------- files and folders


def test_a_component_that_runs_already_is_not_started_twice(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with House(tmp_path / "house", mosquitto).running() as house:
        house.recovers()
        with Program(house.folder, "run", BRIDGE) as second:
            first = house.programs[BRIDGE]
            second.says(f"'{BRIDGE}' runs already (pid {first.pid},", "stop it first")
            assert second.wait() == EXIT_FAILED  # it may end, and then trying again does help
            assert first.running


def test_a_damaged_journal_is_set_aside_and_measuring_goes_on(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    house = House(tmp_path / "house", mosquitto)
    house.data.mkdir()
    (house.data / f"{BRIDGE}.journal").write_bytes(b"not a database" * 1000)
    (house.data / f"{BRIDGE}.tail").write_bytes(b"pump\t17")
    with house.running():
        says = (
            f"{BRIDGE}.journal: damaged (file is not a database); set aside as {BRIDGE}.damaged-1"
        )
        house.programs[BRIDGE].says(says)
        wait_until(lambda: (SITE, BRIDGE, "bus") in house.ends(), "the event in the archive")
        stored = house.ends_without_loss()
    assert [row["event"] for key, row in stored.items() if key[2] == "bus"] == ["journal_damaged"]


def test_a_data_folder_without_permission_ends_the_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(0o500)
    write(tmp_path, bridges=voltronic("serial:///dev/ttyUSB0"))
    with Program(tmp_path, "run", "axpert", before=WITHOUT_POWERS) as program:
        program.says(f"data folder {data}: Permission denied; make it writable", "'data:'")
        assert program.wait() == EXIT_CONFIG


def test_a_fault_in_the_configuration_is_one_line_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, bridges=voltronic("serial:///dev/ttyUSB0"), sinc={})
    with Program(tmp_path, "run", "axpert") as program:
        assert program.wait() == EXIT_CONFIG
        assert program.says("heliobus.yaml:", "sinc", "did you mean 'sinks'?") == program.said[:-1]


# ---------------------------------------------------------------- a full disk


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of 512 kB, where that is allowed."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("ab", buffering=0) as ballast:
        for size in (4096, 1):
            try:
                while ballast.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def test_a_full_disk_costs_the_journal_and_not_the_archive(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    # The tail must outgrow one page of the disk before it moves into the journal, which may have
    # pages to spare: in 10 s it does, however slow the machine is.
    house = House(tmp_path / "house", mosquitto, journal={"flush": "10s"})
    with small_disk(house.data) as mounted, house.running():
        house.recovers()
        bridge = house.programs[BRIDGE]
        if not mounted:  # no file of it may grow
            resource.prlimit(bridge.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

        def is_said() -> bool:
            if mounted:  # a tail that moves into its journal makes room again
                fill(house.data)
            return "publishing goes on unjournaled" in bridge.said

        wait_until(is_said, house.said, 30)
        house.flows()
        if mounted:
            (house.data / "ballast").unlink()
        else:
            resource.prlimit(bridge.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        bridge.says("the journal is written again")
        house.flows()
        for name in (BRIDGE, SINK):
            house.stop(name)
        journaled, stored = house.journaled(BRIDGE, SINK), house.stored()
        assert not [key for key in journaled if journaled[key] != stored.get(key)]
        assert len(journaled) < len(stored)


def test_a_component_starts_on_a_full_disk(mosquitto: BrokerProcess, tmp_path: Path) -> None:
    house = House(tmp_path / "house", mosquitto, journal={"flush": "1s"})
    with small_disk(house.data) as mounted:
        if not mounted:
            pytest.skip("only root can mount a small disk")
        fill(house.data)
        with house.running():
            bridge = house.programs[BRIDGE]
            bridge.says(f"{BRIDGE}.journal: database or disk is full; publishing goes on unjourn")
            house.flows()
            (house.data / "ballast").unlink()
            bridge.says("the journal is written again")
            assert bridge.said.count("is full") == 1
