"""A proxy before a server of time series, with pages of its own.

with Proxy(server.port) as proxy:
    proxy.away = ("/ping",)
    proxy.pages["/api/v1/export"] = "<html>"
"""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from broker.start import HOST

_OWN = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})


class Proxy:
    """Passes everything on but for `pages`, and for paths whose server is `away`: 502."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.away: tuple[str, ...] = ()
        self.pages: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._server = _Server((HOST, 0), _Handler)
        self._server.proxy = self
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def ask(self, one: BaseHTTPRequestHandler) -> tuple[int, list[tuple[str, str]], bytes]:
        """Give status, headers and body of the answer."""
        body = one.rfile.read(int(one.headers.get("Content-Length") or 0))
        path = one.path.partition("?")[0]
        if path in self.away:
            return 502, [("Retry-After", "3")], b"<html>502 Bad Gateway</html>"
        if path in self.pages:
            return 200, [], self.pages[path].encode()
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            headers = {name: value for name, value in one.headers.items() if name != "Host"}
            connection.request(one.command, one.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        status, headers, body = self.server.proxy.ask(self)
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OWN:
                self.send_header(name, value)
        if status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()
