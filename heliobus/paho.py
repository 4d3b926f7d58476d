"""paho's client as the bus uses it: lean without TLS, talkative with it."""

import socket

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

__all__ = [
    "CallbackAPIVersion",
    "Client",
    "MQTTErrorCode",
    "ReasonCode",
    "SubscribeOptions",
    "TlsClient",
    "mqtt",
    "send_at_once",
]


class Client(mqtt.Client):
    """A client without TLS. paho asks of every error whether it is one of TLS, and loads `ssl`."""

    heard = False  # anything at all
    trouble: OSError | None = None

    def _sock_recv(self, bufsize: int) -> bytes:
        if (connection := self._sock) is None:
            raise ConnectionError("closed")
        received = connection.recv(bufsize)
        self.heard = self.heard or bool(received)
        return received

    def _sock_send(self, buf: bytes | bytearray) -> int:
        if (connection := self._sock) is None:
            raise ConnectionError("closed")
        return connection.send(buf)


class TlsClient(mqtt.Client):
    """A client with TLS, which remembers what has ended it: paho does not tell."""

    heard = False
    trouble: OSError | None = None

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            received = super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self.trouble = error
            raise
        self.heard = self.heard or bool(received)
        return received


def send_at_once(_client: object, _userdata: object, sock: object) -> None:
    """Have no message wait up to 40 ms for TCP to acknowledge the one before."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
