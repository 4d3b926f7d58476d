"""The broker of `heliobus up`: started, shared, started again."""

import os
import signal
import socket
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from broker.accounts import Wish
from broker.roles import Role
from broker.start import accepts, lets_everybody_in
from heliobus.errors import ConfigError
from heliobus.own_broker import OwnBroker
from heliobus.settings import BrokerSettings, BrokerStart, Settings
from tests.brokers import locked, served_house
from tests.helpers import BrokerProcess, free_port, lacking, require_program, wait_until


def test_auto_uses_a_broker_that_listens_there_already(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    broker = OwnBroker(BrokerSettings(port=mosquitto.port, start=BrokerStart.AUTO), tmp_path)
    broker.start(share=True)
    assert (broker.name, broker.pid) == ("none of ours", 0)
    broker.stop()


def test_a_broker_of_another_that_lets_everybody_in_is_said(
    mosquitto: BrokerProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = OwnBroker(BrokerSettings(port=mosquitto.port, start=BrokerStart.AUTO), tmp_path)
    broker.start(share=True)
    (said,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "lets in everybody without a password; it is not ours" in said.message


@pytest.mark.broker
def test_a_broker_of_another_that_asks_for_a_password_needs_no_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served_house(tmp_path) as one:
        settings = replace(one.settings.broker, start=BrokerStart.AUTO)
        broker = OwnBroker(settings, tmp_path / "data", one.settings)
        broker.start(share=True)
    assert (broker.pid, caplog.text) == (0, "")


def test_one_of_our_own_takes_the_place_of_a_broker_that_is_gone(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    one = locked(tmp_path)
    settings = replace(one.settings.broker, port=mosquitto.port, start=BrokerStart.AUTO)
    broker = OwnBroker(
        settings, tmp_path / "data", replace(one.settings, broker=settings), gone_s=0.1
    )
    broker.start(share=True)
    assert not broker.settings.has_password
    mosquitto.stop()
    try:

        def ours() -> bool:
            broker.tend()
            return broker.pid != 0

        wait_until(ours, "a broker of our own")
        assert broker.settings.passwords == one.folder / "users"
        assert not lets_everybody_in(settings.port)
    finally:
        broker.stop()


def test_a_broker_of_another_that_is_being_restarted_is_waited_for(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    settings = BrokerSettings(port=mosquitto.port, start=BrokerStart.AUTO)
    broker = OwnBroker(settings, tmp_path / "own")
    broker.start(share=True)
    mosquitto.stop()
    broker.tend()
    broker.tend()
    assert broker.pid == 0


@pytest.mark.broker
def test_it_is_started_again_for_new_listeners_and_certificates_and_not_for_users(
    tmp_path: Path,
) -> None:
    require_program("mosquitto", package="mosquitto")
    require_program("openssl", package="openssl")
    one = locked(tmp_path)
    settings = replace(one.settings.broker, start=BrokerStart.MOSQUITTO)
    broker = OwnBroker(settings, tmp_path / "data", one.settings)
    broker.start()

    def again() -> int:
        """Give the process id after what `up` does within seconds."""
        for _ in range(3):
            broker.tend()
        return broker.pid

    try:
        first = broker.pid
        one.add("anna", Role.READER)
        assert again() == first
        port = free_port()
        one.make(Wish(listen=f"127.0.0.1:{port}", tls=True))
        second = again()
        assert second != first
        assert accepts(port, tls=True)
        one.make(Wish(hosts=["solar.lan"]))
        assert again() not in {first, second}
    finally:
        broker.stop()


@pytest.mark.broker
def test_it_goes_on_as_it_is_where_the_new_configuration_has_left_its_port(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    require_program("mosquitto", package="mosquitto")
    one = locked(tmp_path)
    settings = replace(one.settings.broker, start=BrokerStart.MOSQUITTO)
    broker = OwnBroker(settings, tmp_path / "data", one.settings)
    broker.start()
    try:
        first = broker.pid
        one.make(Wish(port=free_port()))
        for _ in range(3):
            broker.tend()
        assert broker.pid == first
    finally:
        broker.stop()
    assert caplog.text.count(f"does not listen on port {settings.port}") == 1


def test_auto_takes_nothing_else_for_a_broker(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        broker = OwnBroker(BrokerSettings(port=port, start=BrokerStart.AUTO), tmp_path)
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is in use by"):
            broker.start(share=True)


@pytest.mark.parametrize(
    ("start", "share"), [(BrokerStart.AUTO, False), (BrokerStart.MOSQUITTO, True)]
)
def test_a_port_that_is_taken_is_refused_where_a_broker_of_our_own_is_wanted(
    mosquitto: BrokerProcess, tmp_path: Path, start: BrokerStart, *, share: bool
) -> None:
    broker = OwnBroker(BrokerSettings(port=mosquitto.port, start=start), tmp_path)
    with pytest.raises(ConfigError, match=f"port {mosquitto.port} on 127.0.0.1 is in use by mosq"):
        broker.start(share=share)


@pytest.mark.broker
def test_a_broker_that_has_died_is_started_again(tmp_path: Path) -> None:
    broker = OwnBroker(BrokerSettings(port=free_port(), start=BrokerStart.AUTO), tmp_path)
    broker.start(share=True)
    try:
        first = broker.pid
        os.kill(first, signal.SIGKILL)

        def again() -> bool:
            broker.tend()
            return broker.pid not in {0, first}

        wait_until(again, "another process")
    finally:
        broker.stop()
    assert broker.pid == 0


@pytest.mark.broker
def test_a_broker_that_knows_no_users_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if find_spec("amqtt") is None:
        lacking("amqtt is not installed here: make setup")
    settings = BrokerSettings(
        port=free_port(), start=BrokerStart.EMBEDDED, folder=tmp_path / "broker"
    )
    broker = OwnBroker(settings, tmp_path / "data", Settings("farm", tmp_path, tmp_path))
    broker.start()
    broker.stop()
    assert "the embedded one knows no users: every program on this computer may do" in caplog.text
    assert not settings.folder.exists()
