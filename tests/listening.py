"""A client that keeps what it hears below a topic, and can speak, for devices that are not ours."""

import threading
from pathlib import Path
from typing import Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.helpers import wait_until


class Listening:
    """It hears `filters`; `newest` is the newest payload of each topic. With `password` it logs in.

    `password` is a file with the name of its user.
    """

    def __init__(self, port: int, *filters: str, password: Path | None = None) -> None:
        self.newest: dict[str, bytes] = {}
        self.heard: list[MQTTMessage] = []
        self._port = port
        self._ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        if password is not None:
            self.client.username_pw_set(password.name, password.read_text().strip())
        self.client.on_connect = lambda client, *_: client.subscribe([(f, 1) for f in filters])
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._take

    def __enter__(self) -> Self:
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        wait_until(self._ready.is_set, "a connection to the broker")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.newest[message.topic] = bytes(message.payload)
        self.heard.append(message)

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)
