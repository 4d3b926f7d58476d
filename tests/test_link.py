"""Links over pseudo-terminals, sockets and an RFC 2217 server, against served devices."""

import os
import pty
import select
import socket
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
import serial
from serial import rfc2217

from heliobus.errors import FrameError, LinkError
from heliobus.line import Faults
from heliobus.link import Echo, Link, Silence, ask, open_link
from heliobus.simulation import Service, serve_hidraw, serve_pty, serve_tcp

QPI = b"QPI\xbe\xac\r"
PI30 = b"(PI30\x9a\x0b\r"
# pyserial's RFC 2217 client still calls them.
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")


class Unit:
    """Answers every CR."""

    def __init__(self, answer: bytes = PI30) -> None:
        self.answer = answer

    def take(self, data: bytes) -> bytes:
        return self.answer if b"\r" in data else b""


def take(data: bytes) -> tuple[bytes, int] | None:
    """Take `(`, anything, CR; refuse a first byte that is none of a frame."""
    if not data.startswith(b"("):
        raise FrameError(f"found {data[:1]!r}, expected '('")
    frame, end, _ = data.partition(b"\r")
    return (frame + end, len(frame) + 1) if end else None


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """Give the served end of a raw pseudo-terminal and the path of the used end."""
    served, used = pty.openpty()
    tty.setraw(used)
    yield served, os.ttyname(used)
    os.close(used)
    os.close(served)


def read_to_the_end(link: Link) -> None:
    while True:
        link.read(10)


def received(served: int, count: int) -> bytes:
    data = b""
    while len(data) < count and select.select([served], [], [], 20)[0]:
        data += os.read(served, 4096)
    return data


class PtyWithoutLines(serial.Serial):
    """A pseudo-terminal has no modem lines; an RFC 2217 server reads and sets them."""

    cts = dsr = ri = cd = property(lambda _: True)

    def _update_dtr_state(self) -> None: ...

    def _update_rts_state(self) -> None: ...


class Rfc2217Server:
    """A real RFC 2217 server, pyserial's, in front of a served pseudo-terminal."""

    def __init__(self, behind: Service) -> None:
        self._behind = behind
        path = behind.url.removeprefix("serial://").partition("?")[0]
        self._port: Any = PtyWithoutLines(path, timeout=0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._hang_up, self.hang_up = socket.socketpair()
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}?baud=115200"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        writer: Any = connection.makefile("wb", buffering=0)
        manager = rfc2217.PortManager(self._port, writer)
        with connection, writer:
            while True:
                ready = select.select([connection, self._port, self._hang_up], [], [])[0]
                if self._hang_up in ready:
                    return
                if connection in ready:
                    data = connection.recv(1024)
                    if not data:
                        return
                    self._port.write(b"".join(manager.filter(data)))
                if self._port in ready:
                    writer.write(b"".join(manager.escape(self._port.read(1024))))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up.close()
        self._thread.join()
        self._hang_up.close()
        self._listener.close()
        self._port.close()
        self._behind.stop()


WAYS: dict[str, Callable[[Unit], Service | Rfc2217Server]] = {
    "serial": lambda unit: serve_pty(unit, baud=115200),
    "hidraw": lambda unit: serve_hidraw(unit, baud=115200),
    "tcp": serve_tcp,
    "rfc2217": lambda unit: Rfc2217Server(serve_pty(unit, baud=115200)),
}


@pytest.fixture(params=WAYS)
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    """Give a link of each sort to a unit that answers PI30."""
    with WAYS[request.param](Unit()) as served:
        opened = open_link(served.url)
        yield opened
        opened.close()


def test_a_question_is_answered(link: Link) -> None:
    for _ in range(3):
        assert ask(link, QPI, take, timeout_s=10) == PI30


def test_a_read_gives_nothing_when_nothing_comes(link: Link) -> None:
    assert link.read(0.01) == b""
    assert link.read(0.0) == b""
    assert link.read(-1.0) == b""


def test_drain_throws_away_what_has_arrived(link: Link) -> None:
    link.write(QPI)
    drained = b""
    while b"\r" not in drained:
        drained += link.drain()
    assert drained.startswith(PI30)
    assert ask(link, QPI, take, timeout_s=10) == PI30


def test_the_tap_sees_all_bytes_both_ways(link: Link) -> None:
    seen: dict[str, bytes] = {"tx": b"", "rx": b""}

    def note(way: str, data: bytes) -> None:
        seen[way] += data

    link.tap = note
    ask(link, QPI, take, timeout_s=10)
    assert seen["tx"] == QPI
    assert seen["rx"].startswith(PI30)


def test_a_close_ends_a_read_that_waits_in_another_thread(link: Link) -> None:
    ended: list[str] = []

    def wait() -> None:
        try:
            link.read(3600)
        except LinkError as error:
            ended.append(str(error))

    reader = threading.Thread(target=wait)
    reader.start()
    link.close()
    reader.join(timeout=20)
    assert ended == [f"{link.name}: closed"]


def test_a_closed_link_says_so(link: Link) -> None:
    link.close()
    link.close()
    for action in (link.drain, lambda: link.read(1), lambda: link.write(b"x")):
        with pytest.raises(LinkError, match=r"closed$"):
            action()


def test_a_close_ends_a_write_that_waits(terminal: tuple[int, str]) -> None:
    link = open_link(f"serial://{terminal[1]}")
    closer = threading.Thread(target=link.close)

    def start(_way: str, _data: bytes) -> None:
        closer.start()

    link.tap = start
    link.write(b"x")
    with pytest.raises(LinkError, match=r"closed$"):
        link.write(bytes(1_000_000))
    closer.join()


@pytest.mark.parametrize("scheme", ["serial", "hidraw"])
def test_a_cable_that_is_pulled_is_a_lost_device(scheme: str) -> None:
    served, used = pty.openpty()
    tty.setraw(used)
    link = open_link(f"{scheme}://{os.ttyname(used)}")
    os.close(used)
    os.close(served)
    for action in (lambda: link.read(10), link.drain, lambda: link.write(b"x")):
        with pytest.raises(LinkError, match=rf"^{link.name}: device lost"):
            action()
    link.close()


def test_a_pseudo_terminal_without_parity_stands_for_a_port_with_it(
    terminal: tuple[int, str],
) -> None:
    served, path = terminal
    for _ in range(3):
        link = open_link(f"serial://{path}?baud=9600&parity=E")
        link.write(b"x")
        assert received(served, 1) == b"x"
        link.close()


def test_a_peer_that_hangs_up_is_a_lost_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = open_link(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        listener.accept()[0].close()
        with pytest.raises(LinkError, match=rf"^{link.name}: connection lost"):
            link.read(10)
        link.close()


def test_an_rfc2217_server_that_hangs_up_is_a_lost_connection() -> None:
    with Rfc2217Server(serve_pty(Unit(), baud=115200)) as server:
        link = open_link(server.url)
        server.hang_up.send(b"now")
        with pytest.raises(LinkError, match=rf"^{link.name}: connection lost"):
            read_to_the_end(link)
        link.close()


def test_ipv6_literals_stay_in_brackets() -> None:
    with serve_tcp(Unit(), host="::1") as service:
        link = open_link(service.url)
        assert link.name == service.url.removeprefix("tcp://")
        assert ask(link, QPI, take, timeout_s=10) == PI30
        link.close()


@pytest.mark.parametrize(("query", "speed"), [("", termios.B2400), ("?baud=9600", termios.B9600)])
def test_the_baud_rate_is_that_of_the_url_or_2400(
    query: str, speed: int, terminal: tuple[int, str]
) -> None:
    served, path = terminal
    link = open_link(f"serial://{path}{query}")
    assert termios.tcgetattr(served)[4:6] == [speed, speed]
    link.close()


def test_a_caller_may_know_the_usual_baud_rate(terminal: tuple[int, str]) -> None:
    served, path = terminal
    link = open_link(f"serial://{path}", line={"baud": "19200"})
    assert termios.tcgetattr(served)[5] == termios.B19200
    link.close()


def test_a_slow_line_does_not_wake_us_for_every_byte() -> None:
    with serve_pty(Unit(b"(" + b"x" * 113 + b"\r"), baud=2400) as service:
        link = open_link(service.url)
        chunks: list[int] = []
        link.tap = lambda way, data: chunks.append(len(data)) if way == "rx" else None
        assert len(ask(link, QPI, take, timeout_s=10)) == 115
        link.close()
    assert sum(chunks) == 115
    assert len(chunks) <= 30


def test_hidraw_requests_go_out_in_padded_reports(terminal: tuple[int, str]) -> None:
    served, path = terminal
    link = open_link(f"hidraw://{path}")
    link.write(b"MUCHGC020\x8a\xb8\r")
    assert received(served, 16) == b"MUCHGC020\x8a\xb8\r\0\0\0\0"
    link.write(b"POP02\xe2\x0b\r")
    assert received(served, 8) == b"POP02\xe2\x0b\r"
    link.close()


def test_a_hidraw_report_that_begins_with_zero_is_numbered(terminal: tuple[int, str]) -> None:
    served, path = terminal
    link = open_link(f"hidraw://{path}")
    link.write(b"12345678\x00\xe7\r")
    assert received(served, 17) == b"12345678" + b"\0" + b"\x00\xe7\r\0\0\0\0\0"
    link.close()


def test_faults_of_a_real_line_are_told_apart() -> None:
    faults = Faults()
    with serve_pty(Unit(), baud=115200, faults=faults) as service:
        link = open_link(service.url)
        kinds = {"silence": Silence, "echo_only": Echo, "cut": FrameError, "late": Silence}
        for fault, kind in kinds.items():
            faults.once(fault)
            with pytest.raises(kind):
                ask(link, QPI, take, timeout_s=0.3, quiet_s=0.05)
        faults.once("echo")
        assert ask(link, QPI, take, timeout_s=10) == PI30
        link.close()
