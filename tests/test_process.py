"""A component as a process: its lock, its signals, its log, and what systemd hears of it."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heliobus import contract
from heliobus.errors import ConfigError
from heliobus.link import Link, open_link
from heliobus.process import HeldError, Lock, make_component
from heliobus.settings import BridgeSettings, Settings, SinkSettings
from heliobus.simulation import serve_tcp
from tests.helpers import ROOT, free_port, wait_until

QMOD = b"QMOD\x49\xc1\r"
NAK = b"(NAKss\r"


class Silence:
    """A device that hears and does not answer."""

    def __init__(self) -> None:
        self.heard = b""

    def take(self, data: bytes) -> bytes:
        self.heard += data
        return b""


@contextmanager
def running(folder: Path, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in a folder, and kill it at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "heliobus", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Silence]:
    """Write a configuration: a bridge to a silent device, an archive, no broker."""
    device = Silence()
    with serve_tcp(device) as served:
        (tmp_path / "heliobus.yaml").write_text(
            "site: farm\n"
            "clock: trust\n"
            f"broker: {{url: 'mqtt://127.0.0.1:{free_port()}'}}\n"
            "bridges:\n"
            f"  axpert: {{type: voltronic, link: '{served.url}',"
            " devices: {inverter: {timeout: 30s}}}\n"
            "sinks: {archive: {type: sql, url: 'sqlite:///history.db'}}\n"
        )
        yield device


# ---------------------------------------------------------------------- the lock


def test_the_lock_of_a_component_is_held_by_one_process(tmp_path: Path) -> None:
    with (
        Lock(tmp_path, "axpert"),
        Lock(tmp_path, "archive"),
        pytest.raises(HeldError) as refused,
        Lock(tmp_path, "axpert", wait_s=0.0),
    ):
        pass
    assert str(refused.value) == (
        f"'axpert' runs already (pid {os.getpid()}, {tmp_path}/axpert.lock); stop it first"
    )
    with Lock(tmp_path, "axpert"):
        pass


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from heliobus.process import Lock\n"
        "with Lock(Path(sys.argv[1]), 'axpert'): print('held', flush=True), sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        held = pytest.raises(HeldError, match=rf"\(pid {process.pid}, ")
        with held, Lock(tmp_path, "axpert", wait_s=0.0):
            pass
        process.kill()
    with Lock(tmp_path, "axpert"):
        assert (tmp_path / "axpert.lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_waited_for_while_its_holder_stops(tmp_path: Path) -> None:
    first = Lock(tmp_path, "axpert")
    first.__enter__()
    letting_go = threading.Timer(0.3, first.__exit__)
    letting_go.start()
    with Lock(tmp_path, "axpert"):
        assert letting_go.finished.is_set()


@pytest.mark.parametrize("arguments", [("run", "axpert"), ("up",)])
def test_what_runs_already_is_an_ordinary_failure_that_may_be_tried_again(
    silent: Silence, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    with Lock(data, "axpert"), running(tmp_path, *arguments) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"'axpert' runs already (pid {os.getpid()}, {data}/axpert.lock); stop it first" in err
    assert silent.heard == b""


def test_the_lock_makes_its_folder_or_says_why_not(tmp_path: Path) -> None:
    with Lock(tmp_path / "a" / "b", "axpert"):
        assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as refused, Lock(tmp_path / "file", "axpert"):
        pass
    assert str(refused.value) == (
        f"data folder {tmp_path}/file: File exists; make it writable for this user, "
        "or name another with 'data:' in the configuration"
    )


def test_the_lock_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with Lock(tmp_path, "axpert"), pytest.raises(HeldError, match=r"pid unknown"):
            Lock(tmp_path, "axpert", wait_s=0.0).__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_only_what_is_configured_can_be_made(tmp_path: Path) -> None:
    bridges = {"axpert": BridgeSettings("axpert", "voltronic", ())}
    sinks = {"archive": SinkSettings("archive", "sql", options={"url": "sqlite:///history.db"})}
    settings = Settings("farm", tmp_path, tmp_path, bridges=bridges, sinks=sinks)
    rules = contract.load()
    assert [make_component(settings, name, rules).role for name in ("axpert", "archive")] == [
        *("bridge", "sink"),
    ]
    with pytest.raises(ConfigError) as refused:
        make_component(settings, "axprt", rules)
    assert str(refused.value) == (
        "no component is called 'axprt'; the configuration has: axpert, archive"
    )


# ---------------------------------------------------------------------- signals and the log


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_ends_a_bridge_in_the_middle_of_a_read(
    silent: Silence, tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path, "run", "axpert", INVOCATION_ID="0") as process:
        wait_until(lambda: silent.heard, "a request on the wire")
        process.send_signal(number)
        _, err = process.communicate(timeout=10)  # the answer would be waited for for 30 s
    assert process.returncode == 0
    # systemd adds the time itself.
    lines = err.splitlines()
    unlike = [line for line in lines if not re.match(r"(INFO|WARNING) \w", line)]
    assert unlike == []
    assert lines[0].endswith("axpert: started")
    assert lines[-1].endswith("axpert: stopped")


# ---------------------------------------------------------------------- a bug


@pytest.mark.parametrize(
    ("patched", "thread"),
    [
        ("bridges.voltronic.Voltronic.poll", "link tcp://127.0.0.1:"),
        ("heliobus.bus.Bus._new_client", "bus"),
    ],
)
def test_a_thread_that_dies_ends_the_process_as_a_bug(
    silent: Silence, tmp_path: Path, patched: str, thread: str
) -> None:
    code = (
        "import sys; from unittest import mock; from heliobus.__main__ import main\n"
        "sys.argv = ['heliobus', 'run', 'axpert']\n"
        f"with mock.patch({patched!r}, side_effect=KeyError('a field')): sys.exit(main())\n"
    )
    assert silent.heard == b""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert found.returncode == 1
    assert f"thread {thread}" in found.stderr
    assert "KeyError: 'a field'" in found.stderr
    assert "has died" in found.stderr


# ---------------------------------------------------------------------- systemd


@pytest.fixture(params=["a path", "an abstract name"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Listen as systemd does; give NOTIFY_SOCKET and the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(10)
        if request.param == "a path":
            listener.bind(str(tmp_path / "notify"))
            yield str(tmp_path / "notify"), listener
        else:
            listener.bind(f"\0heliobus-{os.getpid()}")
            yield f"@heliobus-{os.getpid()}", listener


@pytest.mark.parametrize("arguments", [("run", "axpert"), ("run", "archive"), ("up",)])
def test_systemd_hears_when_it_is_ready_that_it_lives_and_when_it_stops(
    silent: Silence,
    systemd: tuple[str, socket.socket],
    tmp_path: Path,
    arguments: tuple[str, ...],
) -> None:
    assert silent.heard == b""
    address, listener = systemd

    def hears(state: bytes) -> bool:
        return any(state in listener.recv(200).splitlines() for _ in range(100))

    with running(tmp_path, *arguments, NOTIFY_SOCKET=address, WATCHDOG_USEC="400000") as process:
        assert hears(b"READY=1")
        assert hears(b"WATCHDOG=1")
        assert hears(b"WATCHDOG=1")
        process.terminate()
        assert hears(b"STOPPING=1")
        process.communicate(timeout=10)
    assert process.returncode == 0


# ---------------------------------------------------------------------- a simulated device


def answer(link: Link, *, until: Callable[[bytes], bool]) -> bytes:
    """Ask for the mode and give what has come when it is enough."""
    got = bytearray()

    def enough() -> bool:
        got.extend(link.read(0.05))
        return until(bytes(got))

    link.write(QMOD)
    wait_until(enough, "an answer")
    return bytes(got)


@pytest.mark.parametrize("place", [("--pty",), ("--tcp", "127.0.0.1:0")])
def test_a_simulated_device_has_the_faults_it_is_told_to_have(
    tmp_path: Path, place: tuple[str, ...]
) -> None:
    with running(tmp_path, "sim", "voltronic", *place, "--faults", "nak=1,flip=1") as process:
        assert process.stdout is not None
        link = open_link(process.stdout.readline().split()[2])
        said = answer(link, until=lambda got: len(got) == len(NAK))
        link.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    flipped = int.from_bytes(said, "big") ^ int.from_bytes(NAK, "big")
    assert flipped.bit_count() == 1
    assert (process.returncode, out, err) == (0, "answered=0 harmed=1\n", "")


def test_a_simulated_device_counts_what_it_answered(tmp_path: Path) -> None:
    with running(tmp_path, "sim", "voltronic", "--tcp", "127.0.0.1:0") as process:
        assert process.stdout is not None
        link = open_link(process.stdout.readline().split()[2])
        for _ in range(3):
            assert re.fullmatch(rb"\([BL]..\r", answer(link, until=lambda got: got[-1:] == b"\r"))
        link.close()
        process.terminate()
        assert process.communicate(timeout=10) == ("answered=3 harmed=0\n", "")


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ("silence", "faults: found 'silence', expected it like cut=0.02\n"),
        ("cut=2", "faults: found cut=2, expected a share from 0 to 1\n"),
    ],
)
def test_a_fault_that_cannot_be_is_told(tmp_path: Path, faults: str, said: str) -> None:
    with running(tmp_path, "sim", "voltronic", "--faults", faults) as process:
        assert process.communicate(timeout=10) == ("", said)
    assert process.returncode == 78
