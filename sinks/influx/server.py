"""The way to a server that takes line protocol at /api/v2/write: one question at a time.

influxdb-client (on urllib3) does the HTTP, in its synchronous mode and without repeats: what is
repeated, halved or given up is decided here and in the sink.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from heliobus.errors import SinkError
from sinks.influx.target import Target

if TYPE_CHECKING:
    import urllib3
    from influxdb_client import InfluxDBClient

# A stop has two seconds in all; a server that cannot be reached in this time is tried again.
CONNECT_S = 1.2
_LONGEST_REASON = 200
# How urllib3 begins its messages, in its older and its newer versions.
_OBJECT = re.compile(r"^<?[\w.]+(?:\(host=[^)]*\)| object at 0x\w+)>?: ")

_NO_CONTENT = 204
BAD_LINES = frozenset({400, 422})  # InfluxDB 2 answers 422 where a field has another type
_TOO_LARGE = 413
_RETRY = 429
_FAULT = 500


class Refused(Exception):
    """The server will not have these lines; another try brings nothing."""


class TooLarge(Exception):
    """The server will not have so much at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server has said."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def is_passing(self) -> bool:
        """Say whether this is about now: a server or proxy that is busy or starting."""
        return self.status == _RETRY or self.status >= _FAULT

    def reason(self) -> str:
        """Give the words of a refusal, in one line."""
        text: object = self.text
        with suppress(ValueError, AttributeError):
            body = json.loads(self.text)
            text = body.get("message") or body.get("error") or self.text
        return " ".join(str(text).split())[:_LONGEST_REASON]


class Server:
    """A connection that is made when it is first needed. `interrupt` may come from anywhere."""

    def __init__(self, target: Target, token: str) -> None:
        self._target = target
        self._token = token
        self._client: InfluxDBClient | None = None
        self._connection: urllib3.connection.HTTPConnection | None = None
        self._busy = self._interrupted = self._is_reaching = False
        self.version = ""  # as the server says it, for messages

    def __str__(self) -> str:
        """Name the server for messages."""
        return self._target.url

    def renewed(self, token: str) -> "Server":
        """Give a connection to the same server with another token."""
        return Server(self._target, token)

    # ------------------------------------------------------------------ asking

    def write(self, lines: bytes) -> None:
        """Send lines, in one request. Raise Refused, TooLarge, SinkError."""
        answer = self.post(lines)
        if answer.status in BAD_LINES:
            raise Refused(answer.reason() or f"answered {answer.status}")
        if answer.status == _TOO_LARGE:
            raise TooLarge
        if answer.status != _NO_CONTENT:
            raise self.error(answer)

    def post(self, lines: bytes) -> Answer:
        """Send lines, and give whatever is answered. Raise SinkError."""
        from influxdb_client import WriteService

        return self._guarded(
            lambda client, timeout: WriteService(client.api_client).post_write_with_http_info(
                org=self._target.org,
                bucket=self._target.bucket,
                body=lines,
                precision="ms",
                _request_timeout=timeout,
            )
        )

    def ask(
        self, method: str, path: str, *, fields: Mapping[str, str] | None = None, body: Any = None
    ) -> Answer:
        """Put a question of another kind; give the answer, also a refusal. Raise SinkError."""
        token = {"Authorization": f"Token {self._token}"} if self._token else {}
        headers = {**token, "Accept-Encoding": "gzip", "Content-Type": "application/json"}
        url = self._target.url + path

        def request(client: "InfluxDBClient", timeout: tuple[int, int]) -> Any:
            if body is None:
                return client.api_client.rest_client.request(
                    method, url, query_params=fields, headers=headers, _request_timeout=timeout
                )
            return client.api_client.rest_client.request(
                method, url, body=body, headers=headers, _request_timeout=timeout
            )

        return self._guarded(request)

    def _guarded(self, request: Any) -> Answer:
        """Do a request; whatever goes wrong on the way becomes a SinkError of one line."""
        import urllib3
        from influxdb_client.rest import ApiException

        client = self._opened()
        timeout = (round(CONNECT_S * 1000), round(self._target.timeout_s * 1000))
        self._busy = True
        try:
            answer = request(client, timeout)
        except ApiException as error:
            if not error.status:  # a certificate that is not good
                raise SinkError(f"{self}: {_short(error.reason)}") from error
            return Answer(error.status, _lower(error.headers), str(error.body or ""))
        except UnicodeDecodeError as error:
            raise SinkError(f"{self}: the answer is no text; is that the right address?") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if self._interrupted:
                raise SinkError(f"{self}: interrupted") from error
            raise SinkError(f"{self}: {_short(error)}") from error
        finally:
            self._busy = self._interrupted = self._is_reaching = False
        if isinstance(answer, tuple):
            _, status, headers = answer
            return Answer(status, _lower(headers), "")
        return Answer(answer.status, _lower(answer.getheaders()), answer.data)

    def _opened(self) -> "InfluxDBClient":
        if self._client is None:
            from influxdb_client import InfluxDBClient

            self._client = InfluxDBClient(self._target.url, token=self._token, enable_gzip=True)
            pools = self._client.api_client.rest_client.pool_manager
            pools.pool_classes_by_scheme = _watched_pools(self)
        return self._client

    # ------------------------------------------------------------------ ending

    def connecting(self, connection: "urllib3.connection.HTTPConnection") -> None:
        """Note the connection that the next answer comes from, and that it is being made."""
        self._connection = connection
        self._is_reaching = True

    def connected(self) -> None:
        """Go no further where `interrupt` came before there was a socket to close."""
        self._is_reaching = False
        if self._interrupted:
            raise ConnectionAbortedError("interrupted")

    def interrupt(self) -> None:
        """End the request that waits, if one does.

        Where this is a signal handler and a connection is just being made, raise SinkError into
        that: a name may have many addresses, which urllib3 would go on to try.
        """
        self._interrupted = self._busy
        sock = self._connection.sock if self._connection is not None else None
        if self._busy and sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if self._is_reaching and threading.current_thread() is threading.main_thread():
            raise SinkError(f"{self}: interrupted")

    def close(self) -> None:
        """Close the connection; the next question makes a new one."""
        if self._client is not None:
            self._client.close()
        self._client = self._connection = None

    # ------------------------------------------------------------------ what a refusal means

    def error(self, answer: Answer) -> SinkError:
        """Say what was answered, and what to do."""
        said = answer.reason()
        head = f"{self}: answered {answer.status}" + (f" ({said})" if said else "")
        advice = _ADVICE.get(answer.status, "")
        if answer.status == 404 and not _is_about_names(said):  # noqa: PLR2004
            runs = f"it is InfluxDB {self.version}; " if self.version else ""
            advice = f"{runs}expected InfluxDB 1.8 or newer, which has /api/v2/write, at this url"
        elif "location" in answer.headers:
            advice = f"it lies at {answer.headers['location']:.200}; write that as url"
        elif answer.status < 300:  # noqa: PLR2004
            advice = "expected 204; is that the address of InfluxDB?"
        retry_s = 0.0
        if answer.is_passing:
            retry_s = retry_after_s(answer.headers.get("retry-after", ""), time.time())
        return SinkError(f"{head}; {advice}" if advice else head, retry_s=retry_s)


_ADVICE: Mapping[int, str] = {
    401: "the token is not known there; check token_file (InfluxDB 1.8: USER:PASSWORD)",
    403: "the token may not write into this bucket; give it the right, or make another token",
    404: "check bucket and org, or make them: heliobus prepare",
    429: "it asks to be left alone for a while",
    503: "it is busy or starting",
}


def _is_about_names(said: str) -> bool:
    """Tell "bucket not found" from the page that is shown where nothing is."""
    return any(word in said.lower() for word in ("bucket", "organization", "org", "database"))


def retry_after_s(text: str, now_s: float) -> float:
    """Read a Retry-After header: seconds, or a date. 0 where it says nothing that we know."""
    if text.isascii() and text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def _short(error: object) -> str:
    """Say in one line what a library worded in several, without its objects' names."""
    inner = error.args[1:] if isinstance(error, Exception) else ()
    # urllib3 gives (words, exception), (connection, words), or words alone.
    cause = inner[0] if inner and isinstance(inner[0], Exception | str) else error
    text = " ".join(str(cause).split())
    return _OBJECT.sub("", text)[:_LONGEST_REASON]


def _watched_pools(server: Server) -> dict[str, Any]:
    """Give urllib3's pools, with connections that tell the server which of them is in use."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(HTTPConnection):
        def connect(self) -> None:
            server.connecting(self)
            super().connect()
            server.connected()

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            server.connecting(self)
            super().connect()
            server.connected()

    return {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": Plain}),
        "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": Secure}),
    }
