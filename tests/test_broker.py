"""The brokers that heliobus starts, each one really started."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker.start import find_mosquitto, start_broker
from heliobus.errors import ConfigError
from heliobus.settings import BrokerStart
from tests.helpers import ROOT, BrokerProcess, free_port, wait_until

pytestmark = pytest.mark.broker

_PARENT = """
import sys, time
from pathlib import Path
from broker.start import start_broker
from heliobus.settings import BrokerStart
broker = start_broker(BrokerStart(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
print(broker.pid, flush=True)
time.sleep(600)
"""


class Peer:
    """A client that keeps what it hears, in order. `gate` closed: it is slow, it takes nothing."""

    def __init__(self, port: int, will: str | None = None) -> None:
        self.heard: SimpleQueue[MQTTMessage] = SimpleQueue()
        self.gate = threading.Event()
        self.gate.set()
        self._subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self.client.on_message = self._take
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        if will is not None:
            self.client.will_set(will, b"offline", qos=1, retain=True)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.gate.wait()
        self.heard.put(message)

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, qos=1)
        assert self._subscribed.wait(10)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain)

    def publish_and_wait(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def next(self) -> tuple[str, bytes, bool]:
        message = self.heard.get(timeout=10)
        return message.topic, bytes(message.payload), message.retain

    def take(self, count: int) -> list[bytes]:
        return [bytes(self.heard.get(timeout=10).payload) for _ in range(count)]

    def lose_the_line(self) -> None:
        """End the connection without a DISCONNECT."""
        line = self.client.socket()
        assert isinstance(line, socket.socket)
        self.client.loop_stop()
        line.shutdown(socket.SHUT_RDWR)


@contextmanager
def peer(broker: BrokerProcess, will: str | None = None) -> Iterator[Peer]:
    one = Peer(broker.port, will)
    try:
        wait_until(one.client.is_connected, "the connection")
        yield one
    finally:
        one.gate.set()
        one.client.disconnect()
        one.client.loop_stop()


def test_a_message_of_qos_1_goes_round(any_broker: BrokerProcess) -> None:
    with peer(any_broker) as listener, peer(any_broker) as speaker:
        listener.subscribe("heliobus/#")
        speaker.publish_and_wait("heliobus/farm/inverter/state", b'{"pv_w":812}')
        assert listener.next() == ("heliobus/farm/inverter/state", b'{"pv_w":812}', False)


def test_a_retained_message_waits_for_later_subscribers(any_broker: BrokerProcess) -> None:
    with peer(any_broker) as speaker:
        speaker.publish_and_wait("heliobus/farm/inverter/info", b"{}", retain=True)
    with peer(any_broker) as listener:
        listener.subscribe("heliobus/#")
        assert listener.next() == ("heliobus/farm/inverter/info", b"{}", True)


def test_the_will_is_published_when_the_line_is_lost(any_broker: BrokerProcess) -> None:
    status = "heliobus/farm/bus/axpert/status"
    with peer(any_broker) as listener, peer(any_broker, will=status) as mortal:
        listener.subscribe("heliobus/#")
        mortal.lose_the_line()
        assert listener.next() == (status, b"offline", False)


def test_a_broker_says_nothing_while_all_is_well(any_broker: BrokerProcess) -> None:
    running = any_broker.running
    assert running is not None
    with peer(any_broker) as one:
        one.subscribe("heliobus/#")
        one.publish_and_wait("heliobus/farm/inverter/state", b"{}")
    any_broker.stop()
    # As root, mosquitto has one more thing to say, and it is not about our configuration.
    said = [line for line in running.log.read_text().splitlines() if "run as root" not in line]
    assert said == []


def test_mosquitto_brings_all_of_5000_retained_messages(mosquitto: BrokerProcess) -> None:
    with peer(mosquitto) as speaker, peer(mosquitto) as listener:
        for number in range(5000):
            speaker.publish(f"homeassistant/sensor/{number}/config", b"%d" % number, retain=True)
        speaker.publish_and_wait("homeassistant/last", b"", retain=False)
        listener.subscribe("homeassistant/sensor/#")
        assert sorted(map(int, listener.take(5000))) == list(range(5000))


def test_mosquitto_keeps_10000_messages_for_a_slow_subscriber(mosquitto: BrokerProcess) -> None:
    with peer(mosquitto) as listener, peer(mosquitto) as speaker:
        listener.subscribe("heliobus/#")
        listener.gate.clear()
        for number in range(10_000):
            speaker.publish("heliobus/farm/inverter/state", b"%d" % number)
        speaker.publish_and_wait("elsewhere", b"")
        listener.gate.set()
        assert list(map(int, listener.take(10_000))) == list(range(10_000))


def test_mosquitto_keeps_retained_messages_over_a_restart(mosquitto: BrokerProcess) -> None:
    with peer(mosquitto) as speaker:
        speaker.publish_and_wait("shellies/pump/relay/0", b"on", retain=True)
    mosquitto.restart()
    with peer(mosquitto) as listener:
        listener.subscribe("shellies/#")
        assert listener.next() == ("shellies/pump/relay/0", b"on", True)


def test_mosquitto_sets_a_damaged_store_aside(
    mosquitto: BrokerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()
    (mosquitto.folder / "mosquitto.db").write_bytes(b"cut off by a power f")
    mosquitto.start()
    (aside,) = mosquitto.folder.glob("mosquitto.db.damaged-*")
    assert aside.read_bytes() == b"cut off by a power f"
    assert f"it is now {aside.name} and a new one is begun" in caplog.text


def test_the_embedded_broker_keeps_nothing_over_a_restart(embedded_broker: BrokerProcess) -> None:
    with peer(embedded_broker) as speaker:
        speaker.publish_and_wait("heliobus/farm/inverter/info", b"{}", retain=True)
    embedded_broker.restart()
    with peer(embedded_broker) as listener:
        listener.subscribe("heliobus/#")
        listener.publish_and_wait("heliobus/farm/later", b"first heard")
        assert listener.next() == ("heliobus/farm/later", b"first heard", False)


def test_a_broker_is_not_reachable_from_elsewhere(any_broker: BrokerProcess) -> None:
    # 127.0.0.2 is this machine, but not the address that it listens on; so is the outer address.
    for address in {"127.0.0.2", _outer_address()}:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, any_broker.port), timeout=5)


def _outer_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; asks the routing table
        except OSError:  # a machine without a network
            return "127.0.0.2"
        address: str = probe.getsockname()[0]
        return address


def test_a_killed_broker_can_be_started_again_at_once(any_broker: BrokerProcess) -> None:
    first = any_broker.pid
    any_broker.kill()
    any_broker.start()
    assert any_broker.pid != first
    with peer(any_broker) as one:
        one.publish_and_wait("heliobus/farm/inverter/state", b"{}")


def test_a_frozen_broker_goes_on_where_it_was(any_broker: BrokerProcess) -> None:
    with peer(any_broker) as listener, peer(any_broker) as speaker:
        listener.subscribe("heliobus/#")
        any_broker.freeze()
        speaker.publish("heliobus/farm/inverter/state", b"{}")
        wait_until(lambda: _state(any_broker.pid) == "T", "the broker to be frozen")
        assert listener.heard.empty()
        any_broker.thaw()
        assert listener.next() == ("heliobus/farm/inverter/state", b"{}", False)


def test_a_broker_dies_with_the_process_that_started_it(any_broker: BrokerProcess) -> None:
    any_broker.stop()
    command = [sys.executable, "-c", _PARENT, any_broker.kind.value, str(any_broker.port)]
    parent = subprocess.Popen(
        [*command, str(any_broker.folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    # Z: dead, but nobody has collected it yet.
    wait_until(lambda: _state(pid) in {"X", "Z"}, "the broker's end")


def _state(pid: int) -> str:
    """Give a process's state as in proc(5); X where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def test_a_broker_that_is_stopped_twice_is_stopped(any_broker: BrokerProcess) -> None:
    running = any_broker.running
    assert running is not None
    running.stop()
    running.stop()
    assert not running.running


def test_a_taken_port_names_its_holder(any_broker: BrokerProcess, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        start_broker(any_broker.kind, any_broker.port, tmp_path / "second")
    assert str(caught.value) == (
        f"broker: port {any_broker.port} on 127.0.0.1 is in use by"
        f" {_comm(any_broker.pid)} (process {any_broker.pid});"
        " stop it, use it (broker.start: no), or choose another port in broker.url"
    )


def _comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_auto_takes_mosquitto_where_it_is_installed(tmp_path: Path) -> None:
    broker = start_broker(BrokerStart.AUTO, free_port(), tmp_path)
    broker.stop()
    assert broker.name == ("mosquitto" if find_mosquitto() else "embedded")
