"""The way to the broker: it comes back by itself, keeps nothing, and says what is wrong."""

import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from heliobus.bus import MAX_UNACKED, Bus, Message
from heliobus.settings import BrokerSettings, BrokerStart
from tests.helpers import BrokerProcess, free_port, require_program, wait_until

pytestmark = pytest.mark.broker

STATUS = "heliobus/farm/bus/axpert/status"
ALL = [("heliobus/#", 1)]
Station = Callable[..., "Client"]


class Client(Bus):
    """A bus that keeps what it hears."""

    def __init__(
        self, broker: BrokerSettings, name: str, *, subscriptions: list[tuple[str, int]]
    ) -> None:
        self.heard: SimpleQueue[Message] = SimpleQueue()
        self.connections = 0
        self.hears = threading.Event()
        self.fail_on = b""
        super().__init__(
            broker,
            name,
            will=(f"heliobus/farm/bus/{name}/status", b'{"state":"offline"}'),
            subscriptions=subscriptions,
            on_connect=self._count,
            on_message=self._hear,
        )

    def _subscribed(self, *told: Any) -> None:
        super()._subscribed(*told)
        self.hears.set()

    def _count(self) -> None:
        self.connections += 1

    def _hear(self, message: Message) -> None:
        if self.fail_on and message.payload == self.fail_on:
            raise ZeroDivisionError("a bug of ours")
        self.heard.put(message)

    def next(self) -> tuple[str, bytes]:
        message = self.heard.get(timeout=10)
        return message.topic, message.payload

    def publish_surely(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        wait_until(lambda: self.publish(topic, payload, retain=retain), f"room for {topic}")


@pytest.fixture
def station() -> Iterator[Station]:
    """Make clients that are stopped at the end; `wait` False: do not wait for the connection."""
    with ExitStack() as stack:

        def make(
            broker: BrokerSettings | BrokerProcess,
            name: str = "axpert",
            *,
            hears: list[tuple[str, int]] | None = None,
            wait: bool = True,
        ) -> Client:
            settings = broker if isinstance(broker, BrokerSettings) else settings_of(broker)
            client = Client(settings, name, subscriptions=hears or [])
            stack.callback(client.stop)
            client.start()
            if wait:
                assert client.wait_connected(15)
                # What others publish is heard only from here on.
                assert not hears or client.hears.wait(15)
            return client

        yield make


def settings_of(broker: BrokerProcess) -> BrokerSettings:
    return BrokerSettings(port=broker.port, mqtt5=broker.kind is not BrokerStart.EMBEDDED)


# ---------------------------------------------------------------------- a broker that works


def test_what_is_published_is_acknowledged_and_heard(
    any_broker: BrokerProcess, station: Station
) -> None:
    listener = station(any_broker, "archive", hears=ALL)
    speaker = station(any_broker)
    assert speaker.publish("heliobus/farm/inverter/state", b'{"pv_w":812}', retain=True)
    assert speaker.drain(5.0)
    assert listener.next() == ("heliobus/farm/inverter/state", b'{"pv_w":812}')
    late = station(any_broker, "late", hears=ALL)
    message = late.heard.get(timeout=10)
    assert (message.payload, message.retained) == (b'{"pv_w":812}', True)


def test_the_will_says_offline_when_we_vanish(mosquitto: BrokerProcess, station: Station) -> None:
    listener = station(mosquitto, "archive", hears=ALL)
    speaker = station(mosquitto)
    speaker.publish_surely(STATUS, b"online", retain=True)
    assert listener.next() == (STATUS, b"online")
    station(mosquitto, wait=False)  # the same name: the broker ends the first connection
    assert listener.next() == (STATUS, b'{"state":"offline"}')


def test_who_has_no_will_leaves_nothing_when_it_vanishes(
    mosquitto: BrokerProcess, station: Station
) -> None:
    watcher = station(mosquitto, "watcher", hears=ALL)
    bus = Bus(settings_of(mosquitto), "roof")
    bus.start()
    assert bus.wait_connected(10)
    station(mosquitto, "roof")  # the same name: the broker ends the first connection
    bus.stop()
    watcher.publish_surely("heliobus/end", b"")
    assert watcher.next() == ("heliobus/end", b"")


def test_a_message_knows_when_it_came(any_broker: BrokerProcess, station: Station) -> None:
    client = station(any_broker, hears=ALL)
    before_s = time.monotonic()
    client.publish_surely("heliobus/x", b"1")
    message = client.heard.get(timeout=10)
    assert before_s < message.arrived_s < time.monotonic()


def test_a_stop_in_order_publishes_no_will(any_broker: BrokerProcess, station: Station) -> None:
    listener = station(any_broker, "archive", hears=ALL)
    speaker = station(any_broker)
    speaker.stop()
    assert not speaker.alive
    station(any_broker, "second").publish_surely("heliobus/x", b"end")
    assert listener.next() == ("heliobus/x", b"end")


def test_a_broker_of_mqtt_3_is_spoken_to_in_its_own_words(
    embedded_broker: BrokerProcess,
    station: Station,
    hasty: None,  # noqa: ARG001
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    client = station(BrokerSettings(port=embedded_broker.port), hears=ALL)
    # Retained, since this broker takes in a subscription while it forwards what comes after it.
    client.publish_surely("heliobus/x", b"y", retain=True)
    assert client.next() == ("heliobus/x", b"y")
    assert f"{embedded_broker.url}: no answer in 1 s; trying again with MQTT 3.1.1" in caplog.text


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a client notice sooner that a broker is silent, and come back sooner."""
    monkeypatch.setattr("heliobus.bus.CONNACK_S", 1.0)
    monkeypatch.setattr("heliobus.bus.KEEPALIVE_S", 1)
    monkeypatch.setattr("heliobus.bus.RECONNECT_S", (0.1,))


@pytest.mark.parametrize(
    ("mqtt5", "live", "kept"),
    [(True, (True, True), (True, True)), (False, (False, False), (True, True))],
    ids=["MQTT 5", "MQTT 3.1.1"],
)
def test_a_message_knows_whether_it_can_be_told_from_a_retained_one(
    mosquitto: BrokerProcess,
    station: Station,
    *,
    mqtt5: bool,
    live: tuple[bool, bool],
    kept: tuple[bool, bool],
) -> None:
    settings = BrokerSettings(port=mosquitto.port, mqtt5=mqtt5)
    client = station(settings, hears=ALL)
    client.publish_surely("heliobus/x", b"y", retain=True)
    message = client.heard.get(timeout=10)
    assert (message.retained, message.certain) == live
    message = station(settings, "late", hears=ALL).heard.get(timeout=10)
    assert (message.retained, message.certain) == kept


def test_a_broker_that_was_frozen_when_we_came_is_spoken_to_in_mqtt_5(
    mosquitto: BrokerProcess,
    station: Station,
    hasty: None,  # noqa: ARG001
    caplog: pytest.LogCaptureFixture,
) -> None:
    mosquitto.freeze()
    client = station(mosquitto, hears=[("heliobus/x", 1)], wait=False)
    wait_until(lambda: "again with MQTT 3.1.1" in caplog.text, "the doubt")
    mosquitto.thaw()
    assert client.wait_connected(10)
    client.publish_surely("heliobus/x", b"y")
    assert client.heard.get(timeout=10).certain


def test_a_broker_that_has_spoken_mqtt_5_and_is_frozen_is_never_asked_in_mqtt_3(
    mosquitto: BrokerProcess,
    station: Station,
    hasty: None,  # noqa: ARG001
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = station(mosquitto)
    mosquitto.freeze()
    wait_until(lambda: "no answer in 1 s; trying again with MQTT" in caplog.text, "the silence")
    mosquitto.thaw()
    wait_until(lambda: client.connected, "the connection")
    assert "3.1.1" not in caplog.text


def test_a_second_component_of_the_same_name_is_told_from_a_lost_connection(
    mosquitto: BrokerProcess, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    station(mosquitto)
    station(mosquitto)
    said = "It is lost again and again: does a second 'axpert' run somewhere?"
    wait_until(lambda: said in caplog.text, said)


def test_many_threads_publish_large_messages_to_a_broker_that_stutters(
    mosquitto: BrokerProcess, station: Station
) -> None:
    listener = station(mosquitto, "archive", hears=ALL)
    speaker = station(mosquitto)

    def speak(number: int) -> None:
        for _ in range(20):
            speaker.publish(f"heliobus/{number}", bytes([number]) * 60_000)

    for _ in range(6):
        mosquitto.freeze()  # what fills the socket's buffer goes out in parts
        threads = [threading.Thread(target=speak, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        mosquitto.thaw()
        for _ in range(8 * 20):
            topic, payload = listener.next()
            assert payload == bytes([int(topic[-1])]) * 60_000
        assert speaker.drain(5.0)
    assert speaker.connections == 1


# ---------------------------------------------------------------------- a broker that goes away


def test_a_broker_that_starts_later_is_found(
    mosquitto: BrokerProcess, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()
    client = station(mosquitto, wait=False)
    said = (
        f"broker {mosquitto.url}: nothing listens there; is the broker running? "
        "`heliobus up` starts one by `start: auto`. Trying again"
    )
    wait_until(lambda: said in caplog.text, "a word about the broker")
    assert not client.connected
    assert not client.publish("heliobus/x", b"y")
    assert client.drain(0.0)  # there is nothing to wait for
    mosquitto.start()
    assert client.wait_connected(10)
    assert caplog.text.count(said) == 1


def test_after_a_broker_was_killed_we_come_back_and_hear_again(
    any_broker: BrokerProcess, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    client = station(any_broker, hears=ALL)
    any_broker.kill()
    wait_until(lambda: not client.connected, "the loss to be noticed")
    any_broker.start()
    wait_until(lambda: client.connections == 2, "the second connection")
    client.publish_surely("heliobus/x", b"again")
    assert client.next() == ("heliobus/x", b"again")
    assert f"{any_broker.url}: the connection is lost; trying again" in caplog.text


def test_what_was_not_acknowledged_is_never_sent_again(
    mosquitto: BrokerProcess, station: Station
) -> None:
    client = station(mosquitto)
    mosquitto.freeze()
    for number in range(20):
        assert client.publish("heliobus/old", b"%d" % number)
    mosquitto.kill()
    wait_until(lambda: not client.connected, "the loss to be noticed")
    assert not client.publish("heliobus/old", b"while there is no broker")
    mosquitto.start()
    listener = station(mosquitto, "archive", hears=ALL)
    wait_until(lambda: client.connections == 2, "the second connection")
    client.publish_surely("heliobus/new", b"first")
    assert listener.next() == ("heliobus/new", b"first")


def test_a_frozen_broker_is_handed_so_much_and_no_more(
    mosquitto: BrokerProcess, station: Station
) -> None:
    listener = station(mosquitto, "archive", hears=ALL)
    client = station(mosquitto)
    mosquitto.freeze()
    taken = sum(client.publish("heliobus/x", b"%d" % number) for number in range(1000))
    assert taken == MAX_UNACKED
    assert not client.drain(0.05)
    mosquitto.thaw()
    assert client.drain(10)
    assert [listener.next()[1] for _ in range(taken)] == [b"%d" % n for n in range(taken)]
    assert client.publish("heliobus/x", b"more")


# ---------------------------------------------------------------------- a stop in every state


def test_a_bus_that_was_never_started_is_stopped() -> None:
    bus = Bus(BrokerSettings(port=free_port()), "axpert", will=(STATUS, b""))
    bus.stop()
    assert not bus.alive


def test_stopping_twice_is_safe(mosquitto: BrokerProcess, station: Station) -> None:
    client = station(mosquitto)
    client.stop()
    client.stop()
    assert not client.alive
    assert not client.publish("heliobus/x", b"y")


def test_a_stop_ends_the_thread_while_there_is_no_broker(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    client = station(BrokerSettings(port=free_port()), wait=False)
    wait_until(lambda: "nothing listens there" in caplog.text, "an attempt")
    client.stop(1.0)
    assert not client.alive


def test_a_stop_ends_the_thread_while_a_server_does_not_answer(station: Station) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        client = station(BrokerSettings(port=server.getsockname()[1]), wait=False)
        connection, _ = server.accept()
        with connection:
            client.stop(1.0)
            assert not client.alive


def test_a_stop_does_not_wait_for_a_frozen_broker(
    mosquitto: BrokerProcess, station: Station
) -> None:
    client = station(mosquitto)
    mosquitto.freeze()
    while client.publish("heliobus/x", bytes(60_000)):
        pass
    client.stop(1.0)
    mosquitto.thaw()
    wait_until(lambda: not client.alive, "the thread to end")


# ---------------------------------------------------------------------- a broker that refuses


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[BrokerSettings]:
    """Run a mosquitto with a password, which lets `axpert` write its own topics only."""
    program = require_program("mosquitto", package="mosquitto")
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    tool = require_program("mosquitto_passwd", package="mosquitto")
    subprocess.run([tool, "-b", str(passwords), "axpert", "s3cret"], check=True)
    (tmp_path / "acl").write_text("user axpert\ntopic readwrite heliobus/farm/bus/axpert/#\n")
    port = free_port()
    lines = [
        f"listener {port} 127.0.0.1", f"password_file {passwords}", f"acl_file {tmp_path}/acl",
    ]  # fmt: skip
    lines += ["user root"] if os.geteuid() == 0 else []
    (tmp_path / "conf").write_text("\n".join(lines) + "\n")
    broker = subprocess.Popen([program, "-c", str(tmp_path / "conf")], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port), "mosquitto to listen")
        yield BrokerSettings(port=port, password="s3cret")
    finally:
        broker.terminate()
        broker.wait(5)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def test_the_right_password_is_accepted_with_our_own_name_for_a_user(
    guarded: BrokerSettings, station: Station
) -> None:
    client = station(guarded, hears=[(STATUS, 1)])
    client.publish_surely(STATUS, b"{}")
    assert client.next() == (STATUS, b"{}")


def test_a_wrong_password_is_said_and_not_shown(
    guarded: BrokerSettings, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = station(
        BrokerSettings(port=guarded.port, username="axpert", password="hunter2"), wait=False
    )
    said = f"broker {guarded.url}: user 'axpert' or its password is not accepted"
    wait_until(lambda: said in caplog.text, "the refusal")
    assert "check broker.user and broker.password_file. Trying again" in caplog.text
    assert "hunter2" not in caplog.text + repr(guarded)
    assert not client.connected
    assert client.alive


def test_another_broker_that_refuses_us_is_named_by_its_own_keys(
    guarded: BrokerSettings, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    station(BrokerSettings(port=guarded.port, key="bridges.roof.broker"), wait=False)
    said = "check bridges.roof.broker.user and bridges.roof.broker.password_file. Trying again"
    wait_until(lambda: said in caplog.text, said)


def test_a_missing_password_is_said(
    guarded: BrokerSettings, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    station(BrokerSettings(port=guarded.port), wait=False)
    wait_until(lambda: "broker.password_file" in caplog.text, "the refusal")


def test_a_refused_publish_names_the_topic_and_what_to_do(
    guarded: BrokerSettings, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    client = station(guarded)
    topic = "heliobus/farm/inverter/state"
    for _ in range(3):
        client.publish_surely(topic, b"{}")
        assert client.drain(5.0)
    said = (
        f"broker {guarded.url}: refused what 'axpert' publishes on {topic} (Not authorized); "
        "allow it in the broker's access list"
    )
    wait_until(lambda: said in caplog.text, "the refusal")
    assert caplog.text.count(said) == 1
    assert client.connected


# ---------------------------------------------------------------------- servers in bytes


class Server:
    """A TCP server that answers each connection with bytes, one answer per packet it gets."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.connects: SimpleQueue[bytes] = SimpleQueue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.settings = BrokerSettings(port=self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(ConnectionError):
                    connection.settimeout(0.3)
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        for number, answer in enumerate(self.answers):
            request = connection.recv(65536)
            if number == 0:
                self.connects.put(request)
            connection.sendall(answer)
        with suppress(TimeoutError):
            while connection.recv(65536):
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:

        def make(*answers: bytes) -> Server:
            one = Server(*answers)
            stack.callback(one.close)
            return one

        yield make


CONNACK_5 = b"\x20\x03\x00\x00\x00"


def test_a_broker_that_refuses_mqtt_5_is_asked_in_mqtt_3(
    server: Callable[..., Server], station: Station
) -> None:
    refusing = server(b"\x20\x02\x00\x01")  # CONNACK of 3.1.1: unacceptable protocol version
    station(refusing.settings, wait=False)
    versions = [refusing.connects.get(timeout=10)[8] for _ in range(2)]
    assert versions == [5, 4]


class OldServer(Server):
    """A broker that refuses MQTT 5 in words, takes in MQTT 3.1.1, and is gone."""

    def _talk(self, connection: socket.socket) -> None:
        request = connection.recv(65536)
        self.connects.put(request)
        connection.sendall(b"\x20\x02\x00" + (b"\x01" if request[8] == 5 else b"\x00"))


def test_after_a_lost_connection_we_begin_with_mqtt_5_again(station: Station) -> None:
    with closing(OldServer()) as old:
        station(old.settings, wait=False)
        assert [old.connects.get(timeout=10)[8] for _ in range(4)] == [5, 4, 5, 4]


def test_a_refused_subscription_names_the_topic_and_what_to_do(
    server: Callable[..., Server], station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    suback = b"\x90\x05\x00\x01\x00\x01\x87"  # granted, not authorized
    one = server(CONNACK_5, suback)
    client = station(one.settings, hears=[("heliobus/a", 1), ("heliobus/b", 1)])
    said = (
        f"broker {one.settings.url}: refused 'axpert' the subscription heliobus/b "
        "(Not authorized); allow it in the broker's access list"
    )
    wait_until(lambda: said in caplog.text, "the refusal")
    assert "heliobus/a" not in caplog.text
    assert client.alive


NOISE = {
    "a web server": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "nothing but ones": b"\xff" * 64,
    "a cut CONNACK": b"\x20\x01\x00",
    "an unknown reason": b"\x20\x03\x00\x77\x00",
    "a cut PUBLISH": CONNACK_5 + b"\x32\x02\x00\x05",
    "a topic that is no UTF-8": CONNACK_5 + b"\x30\x05\x00\x02\xff\xfe\x00",
    "a topic with a wildcard": CONNACK_5 + b"\x30\x04\x00\x01#\x00",
    "an empty PUBACK": CONNACK_5 + b"\x40\x00",
    "a PUBACK of nothing": CONNACK_5 + b"\x40\x02\x12\x34",
    "an empty SUBACK": CONNACK_5 + b"\x90\x00",
    "properties that are none": CONNACK_5 + b"\x30\x07\x00\x01x\x03\xff\xff\xff",
    "packet 0": CONNACK_5 + b"\x00\x00",
}


NO_BROKERS = {
    **{name: NOISE[name] for name in ("a web server", "ssh")},
    "smtp": b"220 mail ESMTP Postfix\r\n",
    "nothing at all": b"",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_a_server_that_talks_nonsense_does_not_end_us(
    server: Callable[..., Server], station: Station, noise: bytes
) -> None:
    one = server(noise)
    client = station(one.settings, hears=ALL, wait=False)
    one.connects.get(timeout=10)
    one.connects.get(timeout=10)  # it tries again
    assert client.alive


@pytest.mark.parametrize("says", ["a web server", "ssh", "smtp", "nothing at all"])
def test_what_is_no_broker_is_said(
    server: Callable[..., Server], station: Station, caplog: pytest.LogCaptureFixture, says: str
) -> None:
    one = server(NO_BROKERS[says])
    station(one.settings, wait=False)
    hint = "" if NO_BROKERS[says] else " (mqtts:// where it wants TLS)"
    said = (
        f"broker {one.settings.url}: something answers there, but not as an MQTT broker; "
        f"check broker.url{hint}. Trying again"
    )
    wait_until(lambda: said in caplog.text, said)
    for _ in range(3):
        one.connects.get(timeout=10)
    assert len(caplog.records) == 1


def test_what_is_no_broker_and_stays_on_the_line_is_said(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        station(BrokerSettings(port=listener.getsockname()[1]), wait=False)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 mail ESMTP Postfix\r\n")
            said = "something answers there, but not as an MQTT broker"
            wait_until(lambda: said in caplog.text, said)


# ---------------------------------------------------------------------- callbacks


def test_a_bug_in_a_callback_is_logged_and_the_next_message_is_heard(
    mosquitto: BrokerProcess, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    client = station(mosquitto, hears=ALL)
    client.fail_on = b"bad"
    client.publish_surely("heliobus/x", b"bad")
    client.publish_surely("heliobus/x", b"good")
    assert client.next() == ("heliobus/x", b"good")
    assert "please report it" in caplog.text
    assert "ZeroDivisionError: a bug of ours" in caplog.text
    assert client.connections == 1
