"""Speaking: serve a simulated device that publishes by itself, as a client of a broker.

    with Speaker(Simulator(), broker) as served:
        ...

It speaks like small devices do: MQTT 3.1.1, QoS 0, all that it has to say in one burst, and a
will. One thread does it all, so the device needs no lock.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, Self, runtime_checkable

from heliobus import credentials
from heliobus.errors import ConfigError
from heliobus.faults import Faults
from heliobus.paho import (
    CallbackAPIVersion,
    Client,
    MQTTErrorCode,
    ReasonCode,
    mqtt,
    send_at_once,
)

if TYPE_CHECKING:
    from heliobus.follower import Outgoing
    from heliobus.settings import BrokerSettings

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.05
_KEEPALIVE_S: Final = 15
_RECONNECT_S: Final = 2.0
_CONNACK_S: Final = 3.0
_LAST_WORDS_S: Final = 1.0
_NAME: Final = "sim"


@runtime_checkable
class Speaking(Protocol):
    """A simulated device that publishes. It has a clock, and neither thread nor connection."""

    @property
    def about(self) -> str:
        """Say in a few words what it is, and where it speaks."""
        ...

    @property
    def will(self) -> "Outgoing":
        """Give what the broker says when it is gone."""
        ...

    @property
    def filters(self) -> Sequence[str]:
        """Give what it listens to."""
        ...

    def connected(self) -> Iterable["Outgoing"]:
        """Give what is said first on a connection."""
        ...

    def due(self) -> Iterable["Outgoing"]:
        """Give what is to be said by now; called many times a second."""
        ...

    def take(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Take in a message."""
        ...

    def leave(self) -> Iterable["Outgoing"]:
        """Give what is said last."""
        ...

    def reboot(self) -> None:
        """Start anew, as after a loss of power."""
        ...


class Speaker:
    """A simulated device on a broker, until `stop`; a context manager."""

    def __init__(self, simulated: Speaking, broker: "BrokerSettings") -> None:
        self.published = 0
        self.connections = 0
        self._simulated = simulated
        self._broker = broker
        self._faults = Faults(_log)
        self._reboots = threading.Event()
        self._stop = threading.Event()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._run, name="speak", daemon=True)

    def __enter__(self) -> Self:
        """Begin to speak, as soon as the broker is there."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """Say the last words and go. Safe to call twice."""
        self._stop.set()
        self._thread.join()

    def reboot(self) -> None:
        """Have it lose its power: the connection breaks, and the broker speaks its will."""
        self._reboots.set()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._connect()
            except (OSError, ConfigError) as error:
                reason = getattr(error, "strerror", None) or error
                self._faults.report("broker", f"broker {self._broker.url}: {reason}. Trying again")
            else:
                self._speak()
            self._stop.wait(_RECONNECT_S)

    def _connect(self) -> None:
        """Connect. Raise OSError, ConfigError."""
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{_NAME}-{id(self):x}",
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        will = self._simulated.will
        client.will_set(will.topic, will.payload, qos=2, retain=will.retain)
        password = credentials.password(self._broker, _NAME)
        if password is not None:
            client.username_pw_set(credentials.user(self._broker, _NAME), password)
        client.on_socket_open = send_at_once
        client.on_connect = self._connected
        client.on_message = self._heard
        client.connect(self._broker.host, self._broker.port, _KEEPALIVE_S)

    def _speak(self) -> None:
        """Speak on one connection until it ends."""
        if self._client is None:
            return
        client, end_s = self._client, time.monotonic() + _CONNACK_S
        while client.loop(_TICK_S) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._reboots.is_set():
                self._reboots.clear()
                self._simulated.reboot()
                if (connection := client.socket()) is not None:
                    connection.close()
                return
            if client.is_connected():
                self._say(self._simulated.due())
            elif time.monotonic() > end_s:
                break
            if self._stop.is_set():
                self._leave(client)
                return
        if not self._faults.texts():  # else it has been said already
            lost = f"broker {self._broker.url}: the connection is lost. Trying again"
            self._faults.report("broker", lost)

    def _leave(self, client: Client) -> None:
        if client.is_connected():
            self._say(self._simulated.leave())
        client.disconnect()
        end_s = time.monotonic() + _LAST_WORDS_S
        while client.want_write() and time.monotonic() < end_s:
            client.loop(_TICK_S)

    def _say(self, said: Iterable["Outgoing"]) -> None:
        if self._client is None:
            return
        for each in said:
            self._client.publish(each.topic, each.payload, qos=0, retain=each.retain)
            self.published += 1

    # ------------------------------------------------------------------ paho's callbacks

    def _connected(
        self, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, *_: object
    ) -> None:
        if reason.is_failure:
            text = f"broker {self._broker.url} refuses us ({reason}): {self._advice()}"
            self._faults.report("broker", f"{text}. Trying again")
            return
        self._faults.over("broker", f"broker {self._broker.url}: connected")
        self.connections += 1
        self._say(self._simulated.connected())
        client.subscribe([(each, 0) for each in self._simulated.filters])

    def _advice(self) -> str:
        """Say what to do about a refusal."""
        broker = self._broker
        if broker.username and broker.password_file:
            return f"check the user {broker.username!r} and its password in {broker.password_file}"
        return (
            "name a user and its password,"
            f" as in --broker mqtt://USER@{broker.host}:{broker.port} --password-file FILE"
        )

    def _heard(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self._simulated.take(message.topic, bytes(message.payload), retained=message.retain)
