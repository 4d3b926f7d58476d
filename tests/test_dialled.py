"""A device that dials in: who is let in, who takes over, and what becomes of the port."""

import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from queue import SimpleQueue
from subprocess import PIPE, Popen

import pytest

from heliobus import ports
from heliobus.bridge import Group, Identity, Lasting
from heliobus.calling import serve_dialling
from heliobus.errors import FrameError, LinkError
from heliobus.link import Link, Silence, ask, open_link
from heliobus.master import Manner, open_master
from heliobus.modbus import HOLDING, Read, rtu
from heliobus.polled import Polled, Presence
from heliobus.poller import Poller
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from tests.helpers import free_port, wait_until

QUESTION, ANSWER = b"?\n", b"!7\n"


class Unit:
    """Answers each line."""

    def __init__(self, answer: bytes = ANSWER) -> None:
        self.answer = answer

    def take(self, data: bytes) -> bytes:
        return self.answer if data.endswith(b"\n") else b""


def take(data: bytes) -> tuple[bytes, int] | None:
    """Take `!`, anything, LF."""
    if not data.startswith(b"!"):
        raise FrameError(f"found {data[:1]!r}, expected '!'")
    return (data, len(data)) if data.endswith(b"\n") else None


def asked(link: Link) -> bytes:
    return ask(link, QUESTION, take, timeout_s=10, quiet_s=0.05)


class Caller:
    """A device whose every move the test makes, from an address of loopback."""

    def __init__(self, port: int, host: str = "127.0.0.1", own: str = "") -> None:
        source = (own, 0) if own else None
        self.socket = socket.create_connection((host, port), timeout=10, source_address=source)

    def answer(self, data: bytes = ANSWER) -> None:
        """Wait for a question and answer it, in a thread of its own."""

        def work() -> None:
            if self.socket.recv(100):
                self.socket.sendall(data)

        threading.Thread(target=work, daemon=True).start()

    def is_hung_up_on(self) -> bool:
        with suppress(ConnectionResetError):
            return self.socket.recv(100) == b""
        return True


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def link(port: int) -> Iterator[Link]:
    """Give a link that nobody has dialled into yet."""
    opened = open_link(f"listen://127.0.0.1:{port}")
    yield opened
    opened.close()


@pytest.fixture
def call(port: int) -> Iterator[Callable[..., Caller]]:
    """Give how to dial in."""
    callers = []

    def dial(own: str = "", host: str = "127.0.0.1") -> Caller:
        callers.append(Caller(port, host, own))
        return callers[-1]

    yield dial
    for caller in callers:
        caller.socket.close()


def answering(link: Link, caller: Caller) -> Caller:
    """Have a caller answer one question."""
    caller.answer()
    assert asked(link) == ANSWER
    judge(link, answers=True)
    return caller


def judge(link: Link, *, answers: bool) -> None:
    """Tell the link what the loop thinks of it."""
    assert isinstance(link, Lasting)
    link.judge(answers=answers)


def loss(action: Callable[[], object]) -> str:
    with pytest.raises(LinkError) as caught:
        action()
    return str(caught.value)


def fails(link: Link) -> str:
    return loss(lambda: asked(link))


# ---------------------------------------------------------------------- one who calls


def test_a_device_that_dials_in_is_asked(port: int, link: Link) -> None:
    with serve_dialling(Unit(), "127.0.0.1", port) as served:
        assert served.url == link.url
        wait_until(lambda: not _nobody(link), "the device to call")
        assert [asked(link) for _ in range(3)] == [ANSWER] * 3


def _nobody(link: Link) -> str:
    try:
        link.drain()
    except LinkError as error:
        return str(error)
    return ""


def test_nobody_has_called(port: int, link: Link) -> None:
    told = (
        f"127.0.0.1:{port}: nobody has called yet;"
        f" set the device to connect to this computer's port {port}"
    )
    for action in (lambda: link.write(QUESTION), lambda: link.read(10), link.drain):
        assert loss(action) == told


def test_who_calls_before_anybody_asks_is_not_refused(
    link: Link, call: Callable[[], Caller]
) -> None:
    answering(link, call())


def test_a_lost_connection_is_lost_and_the_port_is_not(
    port: int, link: Link, call: Callable[[], Caller]
) -> None:
    answering(link, call()).socket.close()
    assert fails(link).startswith(f"127.0.0.1:{port}: connection lost")
    assert fails(link) == (
        f"127.0.0.1:{port}: 127.0.0.1 has not called again yet; check that it is on"
        f" and still set to connect to this computer's port {port}"
    )
    answering(link, call())


def test_what_has_failed_is_let_go_and_the_port_stays(
    link: Link, call: Callable[[], Caller]
) -> None:
    caller = answering(link, call())
    link.renew()  # type: ignore[attr-defined] # of a link of this sort
    assert caller.is_hung_up_on()
    answering(link, call())


def test_nothing_of_an_old_connection_is_read_from_a_new_one(
    link: Link, call: Callable[[], Caller]
) -> None:
    old = answering(link, call())
    old.socket.sendall(b"!late\n")
    new = call()
    assert "has called anew" in fails(link)
    answering(link, new)


# ---------------------------------------------------------------------- several who call


def test_who_calls_again_takes_over_at_once(
    port: int, link: Link, call: Callable[[], Caller]
) -> None:
    old = answering(link, call())
    new = call()
    assert fails(link) == f"127.0.0.1:{port}: 127.0.0.1 has called anew; its old call is over"
    assert old.is_hung_up_on()
    answering(link, new)


def test_who_calls_again_ends_the_wait_for_an_answer(
    link: Link, call: Callable[[], Caller]
) -> None:
    answering(link, call())
    ended: list[str] = []
    waiting = threading.Thread(target=lambda: ended.append(fails(link)))
    waiting.start()
    new = call()
    waiting.join(5)
    assert "has called anew" in ended[0]
    answering(link, new)


def test_of_several_who_have_called_meanwhile_the_last_counts(
    link: Link, call: Callable[[], Caller]
) -> None:
    early = [call(), call(), call()]
    answering(link, call())
    assert all(caller.is_hung_up_on() for caller in early)


def test_a_stranger_does_not_interrupt_a_device_that_answers(
    link: Link, call: Callable[..., Caller], caplog: pytest.LogCaptureFixture
) -> None:
    device = answering(link, call())
    for _ in range(3):
        stranger = call(own="127.0.0.2")
        answering(link, device)
        assert stranger.is_hung_up_on()
    told = f"{link.name}: hung up on 127.0.0.2, as 127.0.0.1 is connected and answers"
    assert caplog.messages.count(told) == 1


def test_a_stranger_does_not_cut_the_wait_for_an_answer_short(
    link: Link, call: Callable[..., Caller]
) -> None:
    device = answering(link, call())

    def work() -> None:
        device.socket.recv(100)
        assert call(own="127.0.0.2").is_hung_up_on()
        device.socket.sendall(ANSWER)

    threading.Thread(target=work, daemon=True).start()
    assert asked(link) == ANSWER


def test_a_device_with_a_new_address_takes_over_when_the_old_one_is_silent(
    link: Link, call: Callable[..., Caller]
) -> None:
    answering(link, call())
    with pytest.raises(Silence):
        ask(link, QUESTION, take, timeout_s=0.05)
    judge(link, answers=False)
    moved = call(own="127.0.0.2")
    assert "127.0.0.2 has called anew" in fails(link)
    answering(link, moved)


def test_a_stranger_who_was_first_gives_way_to_the_device(
    link: Link, call: Callable[..., Caller]
) -> None:
    stranger = call(own="127.0.0.2")
    stranger.socket.sendall(b"GET / HTTP/1.1\r\nHost: heliobus\r\n\r\n")
    with pytest.raises(Silence):
        ask(link, QUESTION, take, timeout_s=0.05)
    device = call()
    assert "127.0.0.1 has called anew" in fails(link)
    answering(link, device)


def test_a_crowd_of_strangers_does_not_keep_an_answer_from_being_read(
    link: Link, call: Callable[..., Caller]
) -> None:
    device = answering(link, call())
    device.socket.sendall(ANSWER)
    for _ in range(17):  # more than are hung up on at once
        call(own="127.0.0.2")
    assert link.read(0.0) == ANSWER


def test_what_a_stranger_says_is_never_an_answer(link: Link, call: Callable[..., Caller]) -> None:
    stranger = call()
    stranger.socket.sendall(b"!1\n")  # before anything was asked
    stranger.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(FrameError, match="expected '!'"):
        asked(link)


# ---------------------------------------------------------------------- the port


def test_only_the_address_that_is_given_is_bound(port: int, link: Link) -> None:
    assert link.name == f"127.0.0.1:{port}"
    with pytest.raises(ConnectionRefusedError):
        Caller(port, host="127.0.0.2")


def test_ipv6_literals_stay_in_brackets(port: int) -> None:
    with closing(open_link(f"listen://[::1]:{port}")) as link:
        assert link.name == f"[::1]:{port}"
        with serve_dialling(Unit(), "::1", port) as served:
            assert served.url == link.url
            wait_until(lambda: not _nobody(link), "the device to call")
            assert asked(link) == ANSWER


def test_a_close_frees_the_port_and_ends_what_waits(
    port: int, link: Link, call: Callable[[], Caller]
) -> None:
    caller = answering(link, call())
    ended: list[str] = []
    reader = threading.Thread(target=lambda: ended.append(loss(lambda: link.read(3600))))
    reader.start()
    link.close()
    link.close()
    reader.join(5)
    assert ended == [f"127.0.0.1:{port}: closed"]
    assert caller.is_hung_up_on()
    with pytest.raises(ConnectionRefusedError):
        Caller(port)
    open_link(link.url).close()


@contextmanager
def held_by_another(port: int) -> Iterator[int]:
    """Have another process listen there; give its id."""
    code = f"import socket; s = socket.create_server(('127.0.0.1', {port})); print(); input()"
    with Popen([sys.executable, "-uc", code], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_port_in_use_is_told_with_its_holder(port: int) -> None:
    with held_by_another(port) as pid:
        told = loss(lambda: open_link(f"listen://127.0.0.1:{port}"))
    assert told.startswith(f"127.0.0.1:{port}: port {port} is in use by ")
    assert told.endswith(f" (pid {pid}); stop it, or take another port here and there")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.1", "no address of this computer; write 0.0.0.0 for all that it has"),
        ("no.such.host.invalid", "no address of this computer; write 0.0.0.0"),
        (f"{'x' * 70}.example", "no address of this computer; write 0.0.0.0"),
    ],
)
def test_an_address_of_elsewhere_is_refused_in_words(host: str, words: str, port: int) -> None:
    assert words in loss(lambda: open_link(f"listen://{host}:{port}"))


def test_a_port_of_root_is_refused_in_words() -> None:
    told = ports.listen_fault(81, PermissionError(errno.EACCES, "Permission denied"))
    assert told == "no permission for port 81; take one above 1023"


# ---------------------------------------------------------------------- in the loop


class Lines:
    """A bridge whose device answers lines."""

    kind = "sensor"
    identity = Identity()

    def __init__(self, every_s: float) -> None:
        self.groups = (Group("beat", every_s, 0.01),)

    def poll(self, link: Link, _group: str) -> Values:
        return {"x": int(ask(link, QUESTION, take, timeout_s=1, quiet_s=0.02)[1:])}

    def forget(self) -> None: ...


class Room:
    """A loop on a port into which a device dials, and what it said."""

    def __init__(self, url: str, every_s: float = 0.05) -> None:
        self.samples: SimpleQueue[Values] = SimpleQueue()
        self.changes: SimpleQueue[Presence | None] = SimpleQueue()
        device = self.device = Polled(DeviceSettings("device", every_s, ""), Lines(every_s))
        device.allowed = True
        self.poller = Poller(
            url,
            [device],
            on_sample=lambda _, values, __: self.samples.put(values),
            on_change=lambda who: self.changes.put(who.presence),
            on_event=lambda *_: None,
        )

    def change(self) -> Presence | None:
        return self.changes.get(timeout=10)


@pytest.fixture
def room(port: int) -> Iterator[Room]:
    one = Room(f"listen://127.0.0.1:{port}")
    one.poller.start()
    yield one
    one.poller.stop()


def test_a_device_that_goes_and_comes_is_offline_and_online(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    room = Room(f"listen://127.0.0.1:{port}")
    room.poller.start()
    assert room.change() is Presence.OFFLINE
    for _ in range(2):
        with serve_dialling(Unit(), "127.0.0.1", port):
            assert room.change() is Presence.ONLINE
            assert room.samples.get(timeout=10) == {"x": 7}
        assert room.change() is Presence.OFFLINE
    room.poller.stop()
    assert caplog.text.count("nobody has called yet; set the device to connect") == 1
    assert caplog.text.count(f"{room.poller.url}: open again") == 2


def test_who_dials_while_the_loop_waits_is_not_refused(
    port: int, room: Room, call: Callable[[], Caller]
) -> None:
    assert room.change() is Presence.OFFLINE
    for _ in range(3):
        caller = call()  # the port stays open: else this would be refused
        caller.answer()
        assert room.change() is Presence.ONLINE
        caller.socket.close()
        assert room.change() is Presence.OFFLINE
    room.poller.stop()
    with pytest.raises(ConnectionRefusedError):
        Caller(port)


def test_a_serial_server_with_registers_behind_it_may_dial_in_too(
    port: int, call: Callable[[], Caller]
) -> None:
    url = f"listen://127.0.0.1:{port}"
    read = Read(1, HOLDING, 0, 1)
    answer = rtu(1, bytes([HOLDING, 2, 0, 42]))
    with closing(open_master(url)) as master:
        assert isinstance(master, Lasting)
        for _ in range(2):
            assert "called" in loss(lambda: master.read(read, Manner()))
            caller = call()  # the port stays open: else this would be refused
            caller.answer(answer)
            assert master.read(read, Manner()) == (42,)
            caller.socket.close()
            assert "connection lost" in loss(lambda: master.read(read, Manner()))
    with pytest.raises(ConnectionRefusedError):
        Caller(port)


def test_a_device_that_has_restarted_goes_on_with_its_new_connection(
    room: Room, call: Callable[[], Caller]
) -> None:
    """The old connection is half open: nothing tells of its end but the new one."""
    assert room.change() is Presence.OFFLINE
    call().answer()
    assert room.change() is Presence.ONLINE
    call().answer()
    assert room.change() is Presence.OFFLINE
    assert room.change() is Presence.ONLINE


def test_a_stranger_who_answers_everything_with_noise_does_not_keep_the_device_away(
    room: Room, call: Callable[..., Caller]
) -> None:
    assert room.change() is Presence.OFFLINE
    stranger = call(own="127.0.0.2")

    def babble() -> None:
        with suppress(OSError):
            while stranger.socket.recv(100):
                stranger.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3)

    threading.Thread(target=babble, daemon=True).start()
    wait_until(lambda: room.device.errors > 1, "some questions to the stranger")
    call().answer()
    assert room.change() is Presence.ONLINE


def test_a_device_that_calls_anew_does_not_wait_for_its_next_turn(
    port: int, call: Callable[[], Caller]
) -> None:
    room = Room(f"listen://127.0.0.1:{port}", every_s=3600)
    room.poller.start()
    assert room.change() is Presence.OFFLINE
    call().answer()
    assert room.change() is Presence.ONLINE
    call().answer()
    assert room.change() is Presence.OFFLINE
    assert room.change() is Presence.ONLINE
    room.poller.stop()
