"""One connection to the broker, to see what becomes of it. It never reconnects."""

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from heliobus import tls
from heliobus.errors import ConfigError, HeliobusError
from heliobus.settings import BrokerSettings

_ANSWER_S: Final = 10.0
_LOOP_S: Final = 0.1
_FILTERS_AT_ONCE: Final = 100  # a packet must not be larger than brokers take
_MOST_UNACKED: Final = 10_000


class RefusedError(HeliobusError):
    """The broker does not let us in."""


class Peer:
    """A connection as `user`, None for anonymous; a context manager.

    With TLS it shows the user's own certificate, where there is one. It works only while one of
    its methods does: it needs no thread.
    """

    def __init__(
        self, broker: BrokerSettings, client_id: str, user: str | None, password: str | None
    ) -> None:
        self.heard: set[str] = set()
        self.certificate_until_s: float | None = None
        self._broker = broker
        self._reason: ReasonCode | None = None
        self._unanswered: set[int | None] = set()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.on_connect = self._connected
        self._client.on_message = lambda _client, _data, message: self.heard.add(message.topic)
        self._client.on_publish = lambda _client, _data, mid, *_: self._answered(mid)
        self._client.on_subscribe = lambda _client, _data, mid, *_: self._answered(mid)
        self._client.max_inflight_messages_set(_MOST_UNACKED)
        if user is not None:
            self._client.username_pw_set(user, password)
        if broker.tls:
            ours = broker if user is not None else replace(broker, cert_file=None, key_file=None)
            self._client.tls_set_context(tls.context(ours, user or ""))

    def __enter__(self) -> Self:
        """Connect. Raise RefusedError where we are not let in, ConfigError where nobody answers."""
        try:
            self._client.connect(self._broker.host, self._broker.port)
            self._wait(lambda: self._reason is not None)
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(f"{self._where}: {tls.told(error, self._broker.key)}") from error
        except ssl.SSLError as error:
            raise RefusedError(f"{self._where}: {tls.told(error, self._broker.key)}") from error
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self._where}: no connection ({error}); is the broker running, and broker.url"
                " right?"
            ) from error
        if self._reason is None or self._reason.is_failure:
            self.__exit__()
            raise RefusedError(f"{self._where}: {self._reason or 'it closed the connection'}")
        line = self._client.socket()
        if isinstance(line, ssl.SSLSocket) and (shown := line.getpeercert()):
            self.certificate_until_s = ssl.cert_time_to_seconds(str(shown["notAfter"]))
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; safe to call twice."""
        with suppress(OSError, ValueError):
            self._client.disconnect()
            self._client.loop(_LOOP_S)

    @property
    def _where(self) -> str:
        return f"broker {self._broker.url}"

    def subscribe(self, filters: Sequence[str]) -> None:
        """Ask for topics and take in what comes before the answer: all that was sent before.

        At QoS 0, so that nothing waits for acknowledgements of ours and is overtaken.
        """
        for start in range(0, len(filters), _FILTERS_AT_ONCE):
            part = [(one, 0) for one in filters[start : start + _FILTERS_AT_ONCE]]
            self._unanswered.add(self._client.subscribe(part)[1])
            self._wait_for_answers()

    def publish(self, topics: Iterable[str]) -> None:
        """Publish an empty message on each topic, not retained; the broker has dealt with them."""
        for topic in topics:
            self._unanswered.add(self._client.publish(topic, b"", qos=1, retain=False).mid)
        self._wait_for_answers()

    def _wait_for_answers(self) -> None:
        if not self._wait(lambda: not self._unanswered):
            raise ConfigError(f"{self._where}: it broke off the connection; try again")

    def _wait(self, done: Callable[[], bool]) -> bool:
        """Work until it is done; False when the connection has ended, or after ten seconds."""
        end_s = time.monotonic() + _ANSWER_S
        while not done():
            lost = self._client.loop(_LOOP_S) != MQTTErrorCode.MQTT_ERR_SUCCESS
            if (lost and not done()) or time.monotonic() > end_s:
                return False
        return True

    def _connected(
        self, _client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, *_: object
    ) -> None:
        self._reason = reason

    def _answered(self, mid: int) -> None:
        self._unanswered.discard(mid)
