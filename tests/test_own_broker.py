"""The broker of `heliobus up`: started, shared, started again."""

import os
import signal
import socket
from importlib.util import find_spec
from pathlib import Path

import pytest

from heliobus.errors import ConfigError
from heliobus.own_broker import OwnBroker
from heliobus.settings import BrokerSettings, BrokerStart, Settings
from tests.helpers import BrokerProcess, free_port, lacking, wait_until


def test_auto_uses_a_broker_that_listens_there_already(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    broker = OwnBroker(BrokerSettings(port=mosquitto.port, start=BrokerStart.AUTO), tmp_path)
    broker.start(share=True)
    assert (broker.name, broker.pid) == ("none of ours", 0)
    broker.stop()


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
