"""The influx sink at a stop, and a server that lets nobody in: no call waits without end."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from heliobus.errors import SinkError
from sinks.influx import Influx
from tests.helpers import ROOT, wait_until
from tests.influx_sink import TOKEN, influx, opened, serving
from tests.influx_standin import Standin, silent
from tests.samples import BEGIN_MS, KEY, sample


@pytest.fixture
def server() -> Iterator[Standin]:
    with serving() as standin:
        yield standin


@pytest.fixture
def sink(server: Standin, tmp_path: Path) -> Iterator[Influx]:
    with opened(server, tmp_path) as one:
        yield one


@contextmanager
def full_queue() -> Iterator[str]:
    """Give the address of one whose queue of those who wait to be let in is full."""
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


def test_a_server_that_lets_nobody_in_is_named_in_one_line(tmp_path: Path) -> None:
    with full_queue() as url, pytest.raises(SinkError) as raised:
        influx(url, tmp_path, token=TOKEN).open()
    said = f"{url}: Connection to 127.0.0.1 timed out. (connect timeout=1.2)"
    assert str(raised.value) == said


def test_a_call_that_waits_can_be_interrupted(server: Standin, sink: Influx) -> None:
    server.mishap = silent
    threading.Timer(0.3, sink.interrupt).start()
    begin_s = time.monotonic()
    with pytest.raises(SinkError, match="interrupted"):
        sink.write([sample(0)], {KEY: BEGIN_MS})
    assert time.monotonic() - begin_s < 3
    server.mishap = None
    sink.interrupt()
    assert sink.open() == {}
    assert sink.write([sample(0)], {KEY: BEGIN_MS}).stored == 1


_WAITING = """
import signal, sys
from pathlib import Path
from heliobus.errors import SinkError
from tests.influx_sink import influx
from tests.samples import sample
sink = influx(sys.argv[1], Path(sys.argv[2]), token="sesame", timeout=60.0)
signal.signal(signal.SIGTERM, lambda *_: sink.interrupt())
sink.open()
print("open", flush=True)
try:
    sink.write([sample(0)], {})
except SinkError as error:
    print(error)
"""


def test_a_signal_ends_a_call_that_waits(server: Standin, tmp_path: Path) -> None:
    server.mishap = silent
    child = subprocess.Popen(
        [sys.executable, "-c", _WAITING, server.url, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: "POST /api/v2/write" in server.asked, "the write")
    os.kill(child.pid, signal.SIGTERM)
    said, _ = child.communicate(timeout=5)
    assert said == f"open\n{server.url}: interrupted\n"


_REACHING = """
import signal, socket, sys
from pathlib import Path
from heliobus.errors import SinkError
from tests.influx_sink import influx
sink = influx(sys.argv[1], Path(sys.argv[2]))
signal.signal(signal.SIGTERM, lambda *_: sink.interrupt())
one = socket.getaddrinfo
def ten_addresses(*args):
    print("reaching", flush=True)
    return one(*args) * 10
socket.getaddrinfo = ten_addresses
try:
    sink.open()
except SinkError as error:
    print(error)
"""


def test_a_signal_ends_the_search_for_a_server_of_many_addresses(tmp_path: Path) -> None:
    with full_queue() as url:
        child = subprocess.Popen(
            [sys.executable, "-c", _REACHING, url, tmp_path],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "reaching\n"
        os.kill(child.pid, signal.SIGTERM)
        said, _ = child.communicate(timeout=5)
    assert said == f"{url}: interrupted\n"
