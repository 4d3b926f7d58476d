"""The reverse proxies of docs/network.md, run by a real nginx."""

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from broker.accounts import Wish
from broker.certificates import Authority
from broker.files import Writer
from tests.brokers import Locked, locked
from tests.helpers import free_port, lacking, require_program, wait_until
from tests.test_network_docs import block

STREAM_MODULES = (
    Path("/usr/lib/nginx/modules/ngx_stream_module.so"),  # Debian and its children
    Path("/usr/lib64/nginx/modules/ngx_stream_module.so"),
)


class Echo(BaseHTTPRequestHandler):
    """In Grafana's place: it answers with the headers that reach it."""

    def do_GET(self) -> None:
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def grafana() -> Iterator[int]:
    """Serve in Grafana's place, and give the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "tls"
    folder.mkdir()
    made = Authority(folder, Writer({}))
    made.make_ca("test")
    made.make_server(["grafana.example.org"], anew=True)
    return made


@contextmanager
def nginx(folder: Path, text: str, port: int, *, stream: bool = False) -> Iterator[None]:
    """Run nginx with this part of a configuration, once it has judged it good."""
    program = require_program("nginx", package="nginx")
    head = "worker_processes 1;\ndaemon off;\nmaster_process off;\n"
    head += f"pid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
    if stream:
        head = _stream_module(program) + head
    else:
        temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{name}_temp_path {folder}/{name};\n" for name in temporary)
        text = f"http {{\naccess_log off;\n{places}{text}}}\n"
    conf = folder / "nginx.conf"
    conf.write_text(head + text, encoding="utf-8")
    command = [program, "-p", str(folder), "-c", str(conf), "-e", "stderr"]
    judged = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command])
    try:
        wait_until(lambda: _listens(port), "nginx listens")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _stream_module(program: str) -> str:
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
    if re.search(r"--with-stream( |$)", said):
        return ""
    found = next(filter(Path.exists, STREAM_MODULES), None)
    if found is None:
        lacking("nginx has no streams here: apt install libnginx-mod-stream")
    return f"load_module {found};\n"


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def here(text: str, places: Mapping[str, str]) -> str:
    """Give an example with this machine's ports and files; each of `places` must be in it."""
    for there, ours in places.items():
        assert there in text, there
        text = text.replace(there, ours)
    return text


# ---------------------------------------------------------------------- Grafana


def ask(port: int, authority: Authority, headers: Mapping[str, str]) -> tuple[int, str]:
    trust = ssl.create_default_context(cafile=str(authority.ca))
    connection = HTTPSConnection("127.0.0.1", port, context=trust, timeout=10)
    connection.request("GET", "/", headers=dict(headers))
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_nginx_passes_on_what_grafana_needs_and_keeps_strangers_out(
    tmp_path: Path, authority: Authority
) -> None:
    port, folder = free_port(), authority.folder
    called = {"Host": "grafana.example.org:8443", "Upgrade": "websocket"}
    with grafana() as behind:
        example = here(
            block("nginx", "$connection_upgrade"),
            {
                "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                "/etc/ssl/grafana/fullchain.pem": f"{folder}/server.crt",
                "/etc/ssl/grafana/privkey.pem": f"{folder}/server.key",
                "127.0.0.1:3000": f"127.0.0.1:{behind}",
            },
        )
        with nginx(tmp_path, example, port):
            assert ask(port, authority, called)[0] == 403
        with nginx(tmp_path, example.replace("192.168.1.0/24", "127.0.0.0/8"), port):
            status, seen = ask(port, authority, called)
            quiet = ask(port, authority, {"Host": "grafana.example.org"})[1]
    assert status == 200
    assert "Host: grafana.example.org:8443\n" in seen
    assert "Upgrade: websocket\nConnection: upgrade\n" in seen
    assert "X-Forwarded-Proto: https\n" in seen
    assert "X-Forwarded-For: 127.0.0.1\n" in seen
    assert "Upgrade" not in quiet


# ---------------------------------------------------------------------- MQTT


def logs_in(port: int, ca: Path, password: str) -> bool:
    """Say whether the user `watch` gets onto the broker by TLS."""
    answers: list[bool] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.tls_set(ca_certs=str(ca))
    client.username_pw_set("watch", password)
    client.on_connect = lambda *words: answers.append(not words[3].is_failure)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(lambda: answers, "an answer of the broker")
    client.disconnect()
    client.loop_stop()
    return answers[0]


@pytest.fixture
def house(tmp_path: Path) -> Locked:
    return locked(tmp_path)


def test_nginx_passes_tls_through_to_the_broker(tmp_path: Path, house: Locked) -> None:
    port, behind = free_port(), free_port()
    house.make(Wish(listen=f"127.0.0.1:{behind}", tls=True))
    example = here(
        block("nginx", "192.168.1.20:8883"),
        {"listen 8883": f"listen 127.0.0.1:{port}", "192.168.1.20:8883": f"127.0.0.1:{behind}"},
    )
    with house.serving(), nginx(tmp_path, example, port, stream=True):
        assert logs_in(port, house.folder / "tls" / "ca.crt", house.password("watch"))
        assert not logs_in(port, house.folder / "tls" / "ca.crt", "guessed")


def test_nginx_ends_tls_before_the_broker(
    tmp_path: Path, house: Locked, authority: Authority
) -> None:
    port = free_port()
    house.make()
    example = here(
        block("nginx", "listen 8883 ssl"),
        {
            "listen 8883 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/broker/fullchain.pem": f"{authority.folder}/server.crt",
            "/etc/ssl/broker/privkey.pem": f"{authority.folder}/server.key",
            "127.0.0.1:1883": f"127.0.0.1:{house.settings.broker.port}",
        },
    )
    with ExitStack() as running:
        running.enter_context(house.serving())
        running.enter_context(nginx(tmp_path, example, port, stream=True))
        assert logs_in(port, authority.ca, house.password("watch"))
        assert not logs_in(port, authority.ca, "guessed")
