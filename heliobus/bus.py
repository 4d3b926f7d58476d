"""The MQTT client of a component.

MQTT 5 first, since only it reports a refused publish, and tells what is retained from what is new;
3.1.1 where the broker knows no better: it says so, or answers 3.1.1 and then again not 5. One that
only was frozen does neither.
Each connection has a paho client of its own: nothing is queued, resent or remembered across a
lost connection. What could not be sent is in the journal, and the next message shows the hole.
"""

import errno
import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Concatenate, NamedTuple, ParamSpec

from heliobus.errors import ConfigError
from heliobus.faults import Faults
from heliobus.lazy import postpone
from heliobus.settings import BrokerSettings

# paho imports these for TLS, proxies and websockets: a fifth of a bridge's memory.
postpone("ssl", "hashlib", "urllib.request")

from heliobus.paho import (  # noqa: E402
    CallbackAPIVersion,
    Client,
    MQTTErrorCode,
    ReasonCode,
    SubscribeOptions,
    TlsClient,
    mqtt,
    send_at_once,
)

log = logging.getLogger(__name__)

KEEPALIVE_S = 15
CONNACK_S = 3.0
BRIEF_S = 10.0
BRIEF_TIMES = 3
RECONNECT_S = (0.5, 1.0, 2.0, 4.0)
# More unacknowledged messages than this: the broker does not follow (frozen, or far away), and
# handing it more would only fill memory. The journal keeps what is not sent.
MAX_UNACKED = 200


_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came. `arrived_s` is the moment on the monotonic clock.

    `certain` False: it may be retained though it does not say so. MQTT 3.1.1 marks only what was
    there before us. What acts on a message should refuse such a one.
    """

    topic: str
    payload: bytes
    retained: bool
    arrived_s: float = 0.0
    certain: bool = True


class Subscription(NamedTuple):
    """What to hear. `as_published` False: only what the broker had retained counts as retained.

    Devices that are not ours may retain all they publish; so what is new is told from what is old.
    MQTT 3.1.1 knows no other way.
    """

    filter: str
    qos: int = 1
    as_published: bool = True


def _guarded(
    callback: Callable[Concatenate["Bus", _P], None],
) -> Callable[Concatenate["Bus", _P], None]:
    """Keep an exception from killing paho's thread in silence: it is a bug, and is logged."""

    @functools.wraps(callback)
    def call(bus: "Bus", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            callback(bus, *args, **kwargs)
        except Exception:
            log.exception("bug in %s; please report it", callback.__name__)

    return call


class Bus:
    """One component's way to the broker; reconnects for ever.

    `on_connect` and `on_message` run in the network thread and must not wait for the bus.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        name: str,
        *,
        will: tuple[str, bytes] | None = None,
        client_id: str = "",
        subscriptions: Sequence[Subscription | tuple[str, int]] = (),
        on_connect: Callable[[], None] = lambda: None,
        on_message: Callable[[Message], None] = lambda _message: None,
    ) -> None:
        self._broker = broker
        self._name = name
        self._client_id = client_id or name
        self._will = will
        self._subscriptions = [Subscription(*each) for each in subscriptions]
        self._on_connect_done = on_connect
        self._on_message_done = on_message
        self._advice = ""
        self._newest = mqtt.MQTTv5 if broker.mqtt5 else mqtt.MQTTv311
        self._protocol = self._newest
        self._spoke_5 = False  # the broker, at any time
        self._knows_no_5 = not broker.mqtt5  # for sure
        self._client: mqtt.Client | None = None
        self._lock = threading.Lock()
        self._topics: dict[int, str] = {}
        self._answered = False
        self._since_s = 0.0
        self._brief_ones = 0
        self._sent = 0
        self._acked = 0
        self._up = threading.Event()
        self._idle = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
        self._faults = Faults(log)

    # ------------------------------------------------------------------ for the component

    def start(self) -> None:
        """Begin to connect, in a thread."""
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Say whether the broker has accepted us and nothing has gone wrong since."""
        return self._up.is_set()

    @property
    def alive(self) -> bool:
        """Say whether the network thread runs."""
        return self._thread.is_alive()

    @property
    def trouble(self) -> str:
        """Give what is wrong with the connection now; "" for nothing."""
        return "; ".join(self._faults.texts())

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait for the first connection."""
        return self._up.wait(timeout_s)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand a message to the broker at QoS 1. False: not now; it is not kept."""
        with self._lock:
            client = self._client
            if client is None or not self._up.is_set() or self._unacked >= MAX_UNACKED:
                return False
            self._sent += 1
            self._idle.clear()
        info = client.publish(topic, payload, qos=1, retain=retain)
        with self._lock:
            if client is self._client and self._unacked:
                self._topics[info.mid] = topic
        return info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    @property
    def _unacked(self) -> int:
        return self._sent - self._acked

    def drain(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged all that was published."""
        return not self.connected or self._idle.wait(timeout_s)

    def stop(self, timeout_s: float = 1.0) -> None:
        """Disconnect in order and end the thread; safe to call twice."""
        self._stop.set()
        client = self._client
        if client is not None:
            client.disconnect()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    # ------------------------------------------------------------------ the network thread

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                client = self._new_client()
                client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)
            except (OSError, ValueError, ConfigError) as error:
                self._faults.report("broker", self._no_connection(error))
            else:
                self._serve(client)
                if self._lost():
                    attempt = 0
            self._stop.wait(RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)])
            attempt += 1

    def _serve(self, client: Client | TlsClient) -> None:
        """Run one connection to its end."""
        end_s = time.monotonic() + CONNACK_S
        lost = False
        while not (self._answered or lost or self._stop.is_set()) and time.monotonic() < end_s:
            lost = client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS
        if self._answered and not lost:
            client.loop_forever()
        if self._answered or self._stop.is_set():
            return
        if lost or client.heard:
            self._faults.report("broker", self._no_broker(client))
            return
        # Some brokers of 3.1.1 read the words of MQTT 5 as lengths, and wait for ever.
        is_next_3 = self._protocol == mqtt.MQTTv5 and not self._spoke_5
        self._protocol = mqtt.MQTTv311 if is_next_3 else self._newest
        version = "3.1.1" if self._protocol == mqtt.MQTTv311 else "5"
        self._faults.report(
            "broker",
            f"broker {self._broker.url}: no answer in {CONNACK_S:.0f} s; "
            f"trying again with MQTT {version}",
        )

    def _new_client(self) -> Client | TlsClient:
        client = (TlsClient if self._broker.tls else Client)(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=self._protocol,
            reconnect_on_failure=False,
            clean_session=None if self._protocol == mqtt.MQTTv5 else True,
        )
        client.max_inflight_messages_set(MAX_UNACKED)
        if self._will is not None:
            client.will_set(*self._will, qos=1, retain=True)
        self._log_in(client)
        # Without this, paho writes to the socket in whichever thread publishes, and in its own: two
        # that write at once mix their packets where the socket takes only part of one.
        client.on_socket_register_write = lambda *_: None
        client.on_socket_open = send_at_once
        client.on_connect = self._connected
        client.on_publish = self._published
        client.on_message = self._message
        client.on_subscribe = self._subscribed
        with self._lock:
            self._client = client
            self._answered = False
            self._sent = self._acked = 0
            self._topics.clear()
            self._idle.set()
        return client

    def _log_in(self, client: mqtt.Client) -> None:
        """Take password and certificates as they are now. Raise ConfigError."""
        from heliobus import credentials  # at the top it would make the chain of imports too long

        self._advice = credentials.advice(self._broker, self._name)
        password = credentials.password(self._broker, self._name)
        if password is not None:
            client.username_pw_set(credentials.user(self._broker, self._name), password)
        if self._broker.tls:
            from heliobus import tls  # loads `ssl`

            client.tls_set_context(tls.context(self._broker, self._name))

    def _lost(self) -> bool:
        """Note that the connection has ended. Return whether there was one."""
        was_up = self._up.is_set()
        self._up.clear()
        if was_up:
            self._protocol = self._newest
        if was_up and not self._stop.is_set():
            brief = time.monotonic() - self._since_s < BRIEF_S
            self._brief_ones = self._brief_ones + 1 if brief else 0
            text = f"broker {self._broker.url}: the connection is lost; trying again"
            if self._brief_ones >= BRIEF_TIMES:  # a broker keeps the newer of two that are alike
                text += f". It is lost again and again: does a second '{self._name}' run somewhere?"
            self._faults.report("broker", text)
        self._idle.set()
        return was_up

    def _no_broker(self, client: Client | TlsClient) -> str:
        where = f"broker {self._broker.url}"
        if client.trouble is not None and (why := self._tls_trouble(client.trouble)):
            return f"{where}: {why}. Trying again"
        hint = "" if self._broker.tls or client.heard else " (mqtts:// where it wants TLS)"
        return (
            f"{where}: something answers there, but not as an MQTT broker; "
            f"check {self._broker.key}.url{hint}. Trying again"
        )

    def _no_connection(self, error: Exception) -> str:
        where = f"broker {self._broker.url}"
        if getattr(error, "errno", None) == errno.ECONNREFUSED:
            own = self._broker.key == "broker"
            hint = " `heliobus up` starts one by `start: auto`." if own else ""
            return f"{where}: nothing listens there; is the broker running?{hint} Trying again"
        if why := error if isinstance(error, ConfigError) else self._tls_trouble(error):
            return f"{where}: {why}. Trying again"
        check = f"check {self._broker.key}.url and the network"
        return f"{where}: no connection ({error}); {check}. Trying again"

    def _tls_trouble(self, error: Exception) -> str | None:
        if not self._broker.tls:
            return None
        from heliobus import tls

        return tls.told(error, self._broker.key)

    # ------------------------------------------------------------------ paho's callbacks

    @_guarded
    def _connected(
        self, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        self._answered = True
        if reason.is_failure:
            self._refused(client, reason)
            return
        if self._protocol == mqtt.MQTTv5:
            self._spoke_5 = True
        elif not self._knows_no_5:  # it lives: if it is silent again, that is not why
            self._knows_no_5 = True
            self._protocol = mqtt.MQTTv5
            client.disconnect()
            return
        self._since_s = time.monotonic()
        self._faults.over("broker", f"broker {self._broker.url}: connected")
        if self._subscriptions:
            if self._protocol == mqtt.MQTTv5:
                options = [
                    (topic, SubscribeOptions(qos=qos, retainAsPublished=as_published))
                    for topic, qos, as_published in self._subscriptions
                ]
                client.subscribe(options)
            else:
                client.subscribe([(topic, qos) for topic, qos, _ in self._subscriptions])
        self._up.set()  # what is published from now on comes after the subscriptions
        self._on_connect_done()

    def _refused(self, client: mqtt.Client, reason: ReasonCode) -> None:
        where = f"broker {self._broker.url}"
        if reason.getName() == "Unsupported protocol version" and self._protocol == mqtt.MQTTv5:
            log.info("%s speaks no MQTT 5; going on with 3.1.1", where)
            self._protocol = mqtt.MQTTv311
            self._knows_no_5 = True
        elif reason.getName() in ("Bad user name or password", "Not authorized"):
            who = f"user '{self._broker.username or self._name}' or its password is"
            if not self._broker.has_password:
                who = "a connection without a password is"
            text = f"{where}: {who} not accepted ({reason}); {self._advice}. Trying again"
            self._faults.report("broker", text)
        else:
            self._faults.report("broker", f"{where}: refused us ({reason}). Trying again")
        client.disconnect()

    @_guarded
    def _published(
        self, client: mqtt.Client, _data: object, mid: int, reason: ReasonCode, _props: object
    ) -> None:
        with self._lock:
            if client is not self._client:
                return
            self._acked += 1
            topic = self._topics.pop(mid, "?")
            if not self._unacked:
                self._idle.set()
        if reason.is_failure:
            self._faults.report(
                f"publish {topic}",
                f"broker {self._broker.url}: refused what '{self._name}' publishes on {topic} "
                f"({reason}); allow it in the broker's access list",
            )

    @_guarded
    def _subscribed(
        self, _client: object, _data: object, _mid: int, reasons: list[ReasonCode], *_more: object
    ) -> None:
        for (topic, *_), reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                self._faults.report(
                    f"subscribe {topic}",
                    f"broker {self._broker.url}: refused '{self._name}' the subscription {topic} "
                    f"({reason}); allow it in the broker's access list",
                )

    @_guarded
    def _message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        payload, now_s = bytes(message.payload), time.monotonic()
        certain = message.retain or self._protocol == mqtt.MQTTv5
        self._on_message_done(Message(message.topic, payload, message.retain, now_s, certain))
