"""Simulated devices served for real: on pseudo-terminals and TCP ports."""

import fcntl
import os
import socket
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.link import ask, open_link
from heliobus.simulation import Faults, Service, serve_hidraw, serve_pty, serve_tcp
from tests.test_line import Clerk, taker


class Fixed:
    """Answers whatever comes, and does not care what becomes of it."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def take(self, data: bytes) -> bytes:
        return self.answer if data.endswith(b"\r") else b""


def anything(data: bytes) -> tuple[bytes, int] | None:
    return (data, len(data)) if b"\r" in data else None


def unread(port: int) -> int:
    return int.from_bytes(fcntl.ioctl(port, termios.FIONREAD, bytes(4)), sys.byteorder)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("the condition did not come true in 20 s")
        time.sleep(0.002)


SERVICES: dict[str, Callable[[Clerk], Service]] = {
    "pty": lambda clerk: serve_pty(clerk, baud=115200),
    "hidraw": lambda clerk: serve_hidraw(clerk, baud=115200),
    "tcp": serve_tcp,
    "tcp paced": lambda clerk: serve_tcp(clerk, baud=115200),
    "tcp IPv6": lambda clerk: serve_tcp(clerk, host="::1"),
}


@pytest.fixture(params=SERVICES)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Service, Clerk]]:
    clerk = Clerk()
    with SERVICES[request.param](clerk) as service:
        yield service, clerk


def test_every_service_answers_and_counts(served: tuple[Service, Clerk]) -> None:
    service, clerk = served
    link = open_link(service.url)
    for number in range(20):
        assert ask(link, b"?%d\r" % number, taker(number), timeout_s=10)
    until(lambda: service.answered == 20)
    link.close()
    assert [whole for _, whole in clerk.fates] == [True] * 20


def test_every_service_survives_that_the_other_side_comes_and_goes(
    served: tuple[Service, Clerk],
) -> None:
    service, _ = served
    for number in range(5):
        link = open_link(service.url)
        link.write(b"?99")  # and gone in the middle of a request
        link.close()
        link = open_link(service.url)
        assert ask(link, b"\r", anything, timeout_s=10)
        assert ask(link, b"?%d\r" % number, taker(number), timeout_s=10)
        link.close()


def test_stop_may_be_called_twice(served: tuple[Service, Clerk]) -> None:
    service, _ = served
    service.stop()
    service.stop()


def test_a_long_answer_crosses_reports_of_eight_bytes() -> None:
    with serve_hidraw(Clerk(b"x" * 200), baud=115200) as service:
        link = open_link(service.url)

        def take(data: bytes) -> tuple[bytes, int] | None:
            frame, end, rest = data.partition(b"\r")
            return (frame + b"|" + rest, len(data)) if end else None

        answer = ask(link, b"?1\r", take, timeout_s=10)
        link.close()
    frame, _, rest = answer.partition(b"|")
    assert frame == b"(1:" + b"x" * 200 + b"70"
    assert (len(frame) + 1 + len(rest)) % 8 == 0
    assert rest  # what stood there before, as devices send it


def test_a_service_that_stops_while_nobody_has_read_counts_nothing() -> None:
    clerk = Clerk()
    service = serve_pty(clerk, baud=115200)
    port = os.open(service.url.split("//")[1].split("?")[0], os.O_RDWR | os.O_NOCTTY)
    os.write(port, b"?1\r")
    until(lambda: unread(port) == 10)
    service.stop()
    os.close(port)
    assert clerk.fates == [(b"(1:fine70\r", False)]
    assert (service.answered, service.harmed) == (0, 1)


def test_a_device_that_talks_to_nobody_does_not_block_the_service() -> None:
    with serve_pty(Fixed(b"x" * 30_000), baud=4_000_000) as service:
        port = os.open(service.url.split("//")[1].split("?")[0], os.O_RDWR | os.O_NOCTTY)
        for count in range(1, 5):  # the kernel keeps 4 kB, and takes no more
            os.write(port, b"\r")
            until(lambda count=count: service.harmed == count)  # type: ignore[misc]
        assert unread(port) == 4095
        os.close(port)
        link = open_link(service.url)
        assert ask(link, b"\r", lambda data: (len(data), 1), timeout_s=10)
        link.close()


def test_a_pty_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    name = tmp_path / "inverter"
    name.symlink_to("/nowhere")  # left by one that was killed
    with serve_pty(Clerk(), baud=115200, link_path=name) as service:
        assert service.url == f"serial://{name}?baud=115200"
        link = open_link(service.url)
        assert ask(link, b"?1\r", taker(1), timeout_s=10)
        link.close()
    assert not name.is_symlink()


def test_a_file_is_not_replaced_by_a_pty(tmp_path: Path) -> None:
    name = tmp_path / "notes"
    name.write_text("mine")
    with pytest.raises(ConfigError, match=r"notes: is a file, expected a free name for a link to"):
        serve_pty(Clerk(), baud=2400, link_path=name)
    assert name.read_text() == "mine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no link can be made here \(No such file"):
        serve_pty(Clerk(), baud=2400, link_path=tmp_path / "no" / "inverter")


def test_a_taken_tcp_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LinkError, match=rf"127\.0\.0\.1:{port}: cannot listen there"):
            serve_tcp(Clerk(), port=port)


def test_a_new_tcp_connection_takes_over() -> None:
    with serve_tcp(Clerk()) as service:
        first = open_link(service.url)
        assert ask(first, b"?1\r", taker(1), timeout_s=10)
        second = open_link(service.url)
        assert ask(second, b"?2\r", taker(2), timeout_s=10)
        with pytest.raises(LinkError, match="connection lost"):
            ask(first, b"?3\r", taker(3), timeout_s=10)
        first.close()
        second.close()


class Crowd:
    """A device that serves several connections at once: each has a clerk of its own."""

    def __init__(self, *, closes: bool = False) -> None:
        self.closes = closes
        self.clerks: list[Clerk] = []

    def connect(self) -> Clerk:
        self.clerks.append(Clerk())
        return self.clerks[-1]


def test_a_shared_device_serves_several_connections_at_once() -> None:
    with serve_tcp(Crowd()) as service:
        links = [open_link(service.url) for _ in range(10)]
        for number, link in enumerate(links):
            link.write(b"?%d" % number)  # each begins before the first has ended
        for number, link in enumerate(links):
            assert ask(link, b"\r", taker(number), timeout_s=10)
        until(lambda: service.answered == 10)
        for link in links:
            link.close()
        link = open_link(service.url)
        assert ask(link, b"?7\r", taker(7), timeout_s=10)
        link.close()
        until(lambda: service.answered == 11)


def test_of_too_many_connections_the_oldest_is_closed() -> None:
    with serve_tcp(Crowd()) as service:
        links = [open_link(service.url) for _ in range(17)]
        assert ask(links[16], b"?1\r", taker(1), timeout_s=10)
        with pytest.raises(LinkError, match="connection lost"):
            ask(links[0], b"?1\r", taker(1), timeout_s=10)
        assert ask(links[1], b"?2\r", taker(2), timeout_s=10)
        for link in links:
            link.close()


@pytest.mark.parametrize("shared", [False, True])
def test_a_device_hangs_up_after_its_answer_which_counts(*, shared: bool) -> None:
    device, faults = (Crowd(closes=True), Faults()) if shared else (Clerk(), Faults({"close": 1}))
    with serve_tcp(device, faults=faults, baud=115200) as service:
        for number in range(1, 21):
            link = open_link(service.url)
            assert ask(link, b"?%d\r" % number, taker(number), timeout_s=10)
            with pytest.raises(LinkError, match="connection lost"):
                link.read(10)
            link.close()
            until(lambda number=number: service.answered == number)  # type: ignore[misc]
        assert service.harmed == 0


def test_a_device_that_gives_no_answer_does_not_hang_up() -> None:
    faults = Faults({"silence": 1.0})
    with serve_tcp(Crowd(closes=True), faults=faults) as service:
        link = open_link(service.url)
        link.write(b"?1\r")
        until(lambda: service.harmed == 1)
        faults.set("silence", 0.0)
        assert ask(link, b"?2\r", taker(2), timeout_s=10)
        link.close()


def test_a_line_recovers_as_soon_as_the_faults_end() -> None:
    shares = {kind: 0.2 for kind in Faults.KINDS if kind not in {"nak", "close"}}
    faults = Faults(shares, seed=1, slow_s=0.05)
    with serve_tcp(Clerk(), faults=faults) as service:
        link = open_link(service.url)
        for number in range(40):
            try:
                assert ask(link, b"?%d\r" % number, taker(number), timeout_s=0.1, quiet_s=0.02)
            except FrameError:
                continue
        for kind in shares:
            faults.set(kind, 0.0)
        for number in range(100, 103):  # one late and one slow answer may still be under way
            try:
                ask(link, b"?%d\r" % number, taker(number), timeout_s=5, quiet_s=0.1)
            except FrameError:
                continue
        assert ask(link, b"?7\r", taker(7), timeout_s=10)
        link.close()
