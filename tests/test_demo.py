"""The demo as people run it: a whole house in processes, ended in every way that there is."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from heliobus import household
from heliobus.demo import Demo
from heliobus.journal import Journal
from heliobus.process import Lock
from heliobus.sample import Sample
from heliobus.settings import JournalSettings
from tests.helpers import ROOT, free_port, lacking, require_program, wait_until
from tests.terminal import BOLD, PLAIN, on_a_terminal

pytestmark = pytest.mark.broker

LINE = re.compile(
    r"measured=(\d+) published=(\d+) stored=(\d+)"
    r" lost=(\d+) duplicates=(\d+) rewritten=(\d+)"
)
BRIDGES = (
    "axpert", "chargers", "outback", "meters", "daly", "can", "aurora", "studer", "opendtu",
)  # fmt: skip
DEVICES = {
    "inverter", "tristar_1", "tristar_2", "house", "mate3s", "mate3s_battery_6",
    *(f"mate3s_inverter_{port}" for port in (1, 2, 3)),
    *(f"mate3s_charger_{port}" for port in (4, 5)),
    "bank", "pylontech", "east", "south", "west", "roof",
    "xcom", "xcom_xt_1", "xcom_vt_1", "xcom_vt_2", "xcom_bms", "opendtu", "shed", "barn",
}  # fmt: skip
KINDS = ("inverter", "charger", "meter", "battery", "site", "gateway")
# The demo as the command runs it, with another installation than the usual one.
OTHER = """\
import sys, threading
from dataclasses import replace
from pathlib import Path
from heliobus import demo, household
from heliobus.settings import BrokerSettings, BrokerStart, SinkSettings

folder, port = Path(sys.argv[1]), int(sys.argv[2])
house = demo.Demo(household.installation(folder), port)
usual = house.site.settings
"""
RUN = """\
house.site.settings = other
sys.exit(house.run(None, threading.Event()))
"""
AT_DUSK = """\
household.MORNING_S = 18.3 * 3600
dusk = demo.Demo(household.installation(folder), port)
sys.exit(dusk.run(60.0, threading.Event()))
"""
EMBEDDED = "other = replace(usual, broker=BrokerSettings(start=BrokerStart.EMBEDDED))\n"
ELSEWHERE = """\
options = {"url": "sqlite:///elsewhere.db"}
other = replace(usual, sinks={"archive": SinkSettings("archive", "sql", options=options)})
demo.DRAIN_S = 1.0
"""
DYING = """\
import os
from heliobus import tally
other = usual
take = demo._Counter.take
def die_first(counter, message):
    if tally.begin(folder / "died"):
        os._exit(9)
    take(counter, message)
demo._Counter.take = die_first
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Give the folder for temporary files of all that is started; all of it must end."""
    require_program("mosquitto", package="mosquitto")
    place = tmp_path / "tmp"
    place.mkdir()
    yield place
    wait_until(lambda: not processes(place), "the end of every process")


def processes(place: Path) -> list[int]:
    """Find what was started with this folder for temporary files, down to the broker."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"TMPDIR=%s\0" % bytes(place) in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:  # it has just ended
            continue
    return found


def start(place: Path, *arguments: str, code: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start the command, or Python code, as a terminal does: in a process group of its own."""
    command = ("-m", "heliobus", "demo", "--port", str(free_port()))
    return subprocess.Popen(
        [sys.executable, *(code or command), *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end: exit status, output, errors."""
    out, err = process.communicate(timeout=80)
    return process.returncode, out, err


def counts(out: str) -> dict[str, int]:
    """Take the line of the counts apart."""
    (found,) = LINE.finditer(out)
    names = ("measured", "published", "stored", "lost", "duplicates", "rewritten")
    return dict(zip(names, map(int, found.groups()), strict=True))


def first_sample(process: subprocess.Popen[str]) -> str:
    """Read the output up to the first sample."""
    assert process.stdout is not None
    return next(line for line in process.stdout if "pv_w=" in line)


def measured(
    process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM
) -> tuple[int, str, str]:
    """End it with a signal to all of its group after the first sample."""
    first_sample(process)
    os.killpg(process.pid, number)
    return end(process)


# ---------------------------------------------------------------------- a quiet run


def stored_all(found: dict[str, int]) -> bool:
    """Say whether all that there was came to the bus and into the database."""
    return found["measured"] == found["published"] == found["stored"] > 0


def test_twenty_seconds_lose_nothing(place: Path) -> None:
    status, out, err = end(start(place, "--seconds", "20"))
    found = counts(out)
    assert (status, err) == (0, "")
    assert stored_all(found)
    # Ten turns; fewer on a busy machine.
    assert found["measured"] > 2 * len(DEVICES)
    assert re.search(r"\n[1-9]\d* of the \d+ were heard: what devices said by themselves, ", out)
    assert found["lost"] == found["duplicates"] == found["rewritten"] == 0
    assert {device for device in DEVICES if f" {device}  " in out} == DEVICES
    assert out.startswith("A simulated house: nothing is connected to this computer.")
    assert "broker   mosquitto on 127.0.0.1:" in out
    assert re.search(r"\d\d:\d\d:\d\d inverter  mode=battery  output_w=\d+  pv_w=\d+ ", out)
    assert out.splitlines()[-1] == (
        "All that was measured was stored, once. It is removed now; --data DIR keeps it."
    )
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_at_dusk_who_falls_asleep_is_neither_lost_nor_a_duplicate(
    place: Path, tmp_path: Path
) -> None:
    code = ("-c", OTHER + AT_DUSK)
    status, out, err = end(start(place, str(tmp_path), str(free_port()), code=code))
    found = counts(out)
    assert (status, err) == (0, "")
    assert stored_all(found)
    assert re.search(r"east  mode=(?!asleep)", out)
    assert re.search(r"east  mode=asleep", out)
    assert re.search(r"barn  mode=asleep", out)


def test_the_embedded_broker_loses_nothing_either(place: Path, tmp_path: Path) -> None:
    if find_spec("amqtt") is None:
        lacking("amqtt is not installed here: make setup")
    code = ("-c", OTHER + EMBEDDED + RUN)
    status, out, err = measured(start(place, str(tmp_path), str(free_port()), code=code))
    found = counts(out)
    assert (status, err) == (0, "")
    assert (tmp_path / "broker" / "embedded.log").exists()
    assert stored_all(found)
    assert found["lost"] == found["duplicates"] == found["rewritten"] == 0


def test_a_folder_is_kept_and_gone_on_with(place: Path, tmp_path: Path) -> None:
    data = tmp_path / "my data"
    stored = []
    for _ in range(2):
        process = start(place, "--data", str(data))
        first_sample(process)  # which is retained, in the second run
        status, out, _ = measured(process)
        found = counts(out)
        assert status == 0
        assert stored_all(found)
        stored.append(found["stored"])
    with closing(sqlite3.connect(data / "history.db")) as db:
        rows = [db.execute(f"SELECT count(*) FROM {kind}").fetchone()[0] for kind in KINDS]
    assert sum(rows) == sum(stored)
    # A demo in which nothing goes wrong logs nothing that has.
    log = (data / "demo.log").read_text()
    assert [log.count(f"INFO {bridge}: started") for bridge in BRIDGES] == [2] * len(BRIDGES)
    assert not re.search("WARNING|ERROR|Traceback", log)


# ---------------------------------------------------------------------- the end


def test_ctrl_c_in_the_first_moment_ends_it_in_order(place: Path) -> None:
    process = start(place)
    caught = 1 << (signal.SIGHUP - 1)  # which Python leaves alone: the demo has begun

    def begun() -> bool:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return bool(int(re.findall(r"SigCgt:\s(\w+)", status)[0], 16) & caught)

    wait_until(begun, "the demo to catch signals")
    os.killpg(process.pid, signal.SIGINT)
    status, out, err = end(process)
    assert (status, err) == (0, "")
    assert counts(out)["lost"] == counts(out)["duplicates"] == 0
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_a_signal_ends_it_in_order(place: Path, number: signal.Signals) -> None:
    status, out, err = measured(start(place), number)
    assert (status, err) == (0, "")
    assert stored_all(counts(out))
    assert counts(out)["lost"] == counts(out)["duplicates"] == 0
    assert list(place.iterdir()) == []


def test_kill_9_leaves_no_process_behind(place: Path) -> None:
    process = start(place)
    first_sample(process)
    # The demo, the broker, all devices, the screen, the archive; and the bridges.
    assert len(processes(place)) == 5 + len(BRIDGES)
    process.kill()
    end(process)
    wait_until(lambda: not processes(place), "the end of every process")


@pytest.mark.slow
def test_a_reader_who_has_seen_enough_ends_it(place: Path) -> None:
    process = start(place)
    assert process.stdout is not None
    assert process.stderr is not None
    first_sample(process)
    process.stdout.close()
    with process:
        assert process.stderr.read() == ""
    assert process.returncode == 1
    wait_until(lambda: not list(place.iterdir()), "an empty folder")


# ---------------------------------------------------------------------- what goes wrong


def test_a_loss_is_counted_and_kept(place: Path, tmp_path: Path) -> None:
    # The archive writes to another database than the one that is counted.
    code = ("-c", OTHER + ELSEWHERE + RUN)
    status, out, err = measured(start(place, str(tmp_path), str(free_port()), code=code))
    found = counts(out)
    assert status == 1
    assert found["stored"] == found["duplicates"] == 0
    assert found["lost"] == found["measured"] > 0
    assert err == f"{tmp_path} is kept; demo.log in it may tell what has happened\n"


def test_a_device_that_was_never_measured_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house = Demo(household.installation(tmp_path), free_port())
    for name, bridge in house.site.settings.bridges.items():
        journal = Journal(tmp_path, name, JournalSettings())
        journal.open()
        for device in bridge.devices:
            if device.name not in {"tristar_2", "west"}:
                one = Sample("demo", name, device.name, "inverter", 1, None, {"pv_w": 1.0})
                journal.append(one, one.payload())
        journal.close()
    assert house.count() == 1
    assert capsys.readouterr().out.startswith("Nothing was measured of tristar_2, west.\n")


@pytest.mark.slow
def test_where_who_counts_was_killed_nothing_is_proved(place: Path, tmp_path: Path) -> None:
    code = ("-c", OTHER + DYING + RUN)
    status, out, err = measured(start(place, str(tmp_path), str(free_port()), code=code))
    assert (status, counts(out)["lost"], counts(out)["duplicates"]) == (1, 0, 0)
    assert err.splitlines()[0] == "this proves nothing: the screen died while counting"


def test_a_port_in_use_names_its_holder(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = end(start(place, "--port", str(port)))
    assert (status, out) == (78, "")
    assert re.fullmatch(
        rf"--port {port}: in use by \S+ \(process {os.getpid()}\); name another port, "
        r"or leave --port out: then a free one is found\n",
        err,
    )
    assert list(place.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, out, err = end(start(place, "--data", str(tmp_path / "file" / "below")))
    assert (status, out) == (78, "")
    assert err == (
        f"--data {tmp_path}/file/below: Not a directory; name a folder that you may write to\n"
    )


def test_a_folder_of_an_owner_is_left_alone(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    own = folder / "heliobus.yaml"
    own.write_text("site: farm\n")
    status, out, err = end(start(place, "--data", str(folder)))
    assert (status, out) == (78, "")
    assert err == (
        f"--data {folder}: has files that are not of a demo; name a new folder or an empty one\n"
    )
    (folder / "demo.lock").touch()  # a demo was here before the file
    status, out, err = end(start(place, "--data", str(folder)))
    assert (status, out) == (78, "")
    assert err == f"{own}: is somebody's own, and would be overwritten; move it away\n"
    assert own.read_text() == "site: farm\n"
    assert sorted(path.name for path in folder.iterdir()) == ["demo.lock", "heliobus.yaml"]


@pytest.mark.slow
def test_a_folder_has_one_demo(place: Path, tmp_path: Path) -> None:
    with Lock(tmp_path, "demo"):
        status, out, err = end(start(place, "--data", str(tmp_path)))
    assert (status, out) == (1, "")
    assert err == f"'demo' runs already (pid {os.getpid()}, {tmp_path}/demo.lock); stop it first\n"


@pytest.mark.slow
def test_where_the_usual_port_is_in_use_another_is_found(place: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # by some broker that was there before
            taken.bind(("127.0.0.1", 1883))
            taken.listen()
        process = start(place, code=("-m", "heliobus", "demo"))
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("broker "))
        os.killpg(process.pid, signal.SIGTERM)
        assert end(process)[0] == 0
    port = re.findall(r" on 127\.0\.0\.1:(\d+);", line)[0]
    assert 1883 < int(port) < 32768


# ---------------------------------------------------------------------- on a terminal


def test_the_table_fits_its_terminal_which_is_given_back(place: Path) -> None:
    with on_a_terminal("demo", f"--port={free_port()}", TMPDIR=str(place)) as terminal:
        table = terminal.wait_for("waiting for", width=80)
        assert table[0].startswith("A simulated house:")
        table = terminal.wait_for("charger  ", "tristar_2", "lines more", width=80)
        assert len(table) <= 24
        assert all(len(line) <= 80 for line in table)
        terminal.resize(100, 40)
        table = terminal.wait_for("charger  ", *DEVICES, "online: ", *BRIDGES, width=100)
        assert len(table) <= 40
        assert re.match(r"Ctrl-C ends\.  day 12 min  port \d+  log /", table[1])
        assert f"{BOLD}inverter{PLAIN}" in re.sub(" +", "", terminal.written)
        terminal.resize(120, 160)
        table = terminal.wait_for("Battery voltage", *DEVICES, width=120)
        assert table[0].startswith("A simulated house:")
        terminal.resize(80, 12)  # too low for all: the table is more than what stands above it
        table = terminal.wait_for("lines more", width=80)
        assert len(table) <= 12
        assert table[0].startswith("heliobus demo (simulated)")
        terminal.type(b"\x1a\x03")  # Ctrl-Z, which would leave the screen to nobody; and Ctrl-C
        assert terminal.end() == 0
    assert counts(terminal.after_the_table())["measured"] > 0
