"""Start a broker as a child process that lives as long as the process that started it."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from broker import configuration, listeners
from heliobus.errors import ConfigError
from heliobus.settings import BrokerStart

_log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
_HERE = Path(__file__).resolve().parent
# Distributions keep servers outside an ordinary user's PATH.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_ACCEPT_S = 15.0  # the embedded one imports for seconds on a small computer
_STOP_S = 2.0
# MQTT 3.1.1 CONNECT, clean session, keep alive 10 s, client id "heliobus-probe".
_CONNECT = b"\x10\x1a\x00\x04MQTT\x04\x02\x00\x0a\x00\x0eheliobus-probe"
_CONNACK = b"\x20\x02"
_ACCEPTED = b"\x20\x02\x00\x00"
_DISCONNECT = b"\xe0\x00"


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that we started: `name` is mosquitto or embedded, `log` the file it writes to."""

    name: str
    port: int
    tls: bool
    log: Path
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        """Give the process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Say whether it still lives."""
        return self._process.poll() is None

    def reload(self) -> None:
        """Have mosquitto read users and rights again."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it, by force after two seconds. Safe to call twice."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start_broker(
    kind: BrokerStart, port: int, folder: Path, *, locks: Path | None = None, tls: bool = False
) -> RunningBroker:
    """Start a broker with its files in `folder`, and wait until it accepts.

    `locks`: the folder that `heliobus broker init` has made. Without it everyone on this computer
    may do everything, and nobody else can reach it. Call it from a thread that lives as long as
    the broker should. Raise ConfigError.
    """
    name, prepare = _choose(kind)
    if listeners.taken(HOST, port):
        raise ConfigError(
            f"broker: port {port} on {HOST} is in use by {listeners.holder(port)};"
            " stop it, use it (broker.start: no), or choose another port in broker.url"
        )
    folder.mkdir(parents=True, exist_ok=True)
    command = prepare(port, folder, locks)
    log = folder / f"{name}.log"
    try:
        return _launch(name, command, log, (port, tls))
    except ConfigError:
        if not _set_damaged_file_aside(folder, log):
            raise
        return _launch(name, command, log, (port, tls))


def chosen(kind: BrokerStart) -> str:
    """Name the broker that would be started: mosquitto or embedded. Raise ConfigError."""
    return _choose(kind)[0]


def find_mosquitto() -> str | None:
    """Give the path of the mosquitto program, None where it is not installed."""
    return shutil.which("mosquitto", path=_PATH)


def _choose(kind: BrokerStart) -> tuple[str, Callable[[int, Path, Path | None], list[str]]]:
    """Give the name of a broker that is installed, and the maker of its command."""
    has = {
        BrokerStart.MOSQUITTO: find_mosquitto() is not None,
        BrokerStart.EMBEDDED: find_spec("amqtt") is not None,
    }
    wanted = list(_BROKERS) if kind is BrokerStart.AUTO else [kind]
    for candidate in wanted:
        if has.get(candidate):
            return candidate.value, _BROKERS[candidate]
    names = " or ".join(candidate.value for candidate in wanted)
    raise ConfigError(
        f"broker: start asks for {names}, which is not installed here;"
        " try 'sudo apt install mosquitto' or 'pip install heliobus[demo]'"
    )


def _mosquitto_command(port: int, folder: Path, locks: Path | None) -> list[str]:
    text = configuration.open_to_all(port) if locks is None else locked(port, locks)
    file = folder / "mosquitto.conf"
    file.write_text(configuration.started_by_us(text, folder))
    return [find_mosquitto() or "mosquitto", "-c", str(file)]


def locked(port: int, locks: Path) -> str:
    """Give the configuration that `heliobus broker init` has made. Raise ConfigError."""
    try:
        text = (locks / "mosquitto.conf").read_text()
    except OSError as error:
        raise ConfigError(f"broker: {locks}/mosquitto.conf: {error.strerror}") from error
    if port not in configuration.ports(text):
        raise ConfigError(
            f"broker: {locks}/mosquitto.conf does not listen on port {port} as broker.url says;"
            " run 'heliobus broker init' with --listen, or change broker.url"
        )
    return text


def _embedded_command(port: int, _folder: Path, _locks: Path | None) -> list[str]:
    # By its path and with -P: a folder named `broker` where the user stands is not ours.
    return [sys.executable, "-P", str(_HERE / "embedded.py"), "--port", str(port)]


_BROKERS: Final = {  # in order of preference
    BrokerStart.MOSQUITTO: _mosquitto_command,
    BrokerStart.EMBEDDED: _embedded_command,
}


def _launch(name: str, command: list[str], log: Path, address: tuple[int, bool]) -> RunningBroker:
    leash = [sys.executable, "-I", "-S", str(_HERE / "leash.py"), str(os.getpid())]
    with log.open("ab") as output:
        process = subprocess.Popen(
            leash + command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is ours to handle: the broker stops last
        )
    broker = RunningBroker(name, *address, log, process)
    _wait_until_it_accepts(broker)
    return broker


def _set_damaged_file_aside(folder: Path, log: Path) -> bool:
    """Move away the store that mosquitto could not read: it would refuse to start for ever.

    Only what other devices had retained is lost; ours is published anew on every connect.
    """
    store = folder / "mosquitto.db"
    if "Couldn't open database" not in _last_line(log) or not store.exists():
        return False
    aside = store.with_name(f"{store.name}.damaged-{time.time_ns()}")
    store.rename(aside)
    _log.warning(
        "broker: mosquitto cannot read %s, perhaps after a power cut; it is now %s and a new one"
        " is begun: other devices' retained messages come back when they publish again",
        store,
        aside.name,
    )
    return True


def _wait_until_it_accepts(broker: RunningBroker) -> None:
    deadline = time.monotonic() + _ACCEPT_S
    while time.monotonic() < deadline:
        if not broker.running:
            raise ConfigError(f"broker: {broker.name} ended at once: {_last_line(broker.log)}")
        if accepts(broker.port, tls=broker.tls):
            return
        time.sleep(0.02)
    broker.stop()
    raise ConfigError(
        f"broker: {broker.name} does not accept connections on {HOST}:{broker.port} after"
        f" {_ACCEPT_S:.0f} s: {_last_line(broker.log)}"
    )


def accepts(port: int, *, tls: bool = False) -> bool:
    """Say whether a broker answers an MQTT CONNECT, whatever it answers; with TLS, listens."""
    answer = _answer(port, tls=tls)
    return answer is not None and (tls or answer.startswith(_CONNACK))


def lets_everybody_in(port: int) -> bool:
    """Say whether a broker without TLS accepts somebody who gives no password."""
    return (_answer(port, tls=False) or b"").startswith(_ACCEPTED)


def _answer(port: int, *, tls: bool) -> bytes | None:
    """Give what a broker answers to a CONNECT without a password; None where nobody listens."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            if tls:
                return b""
            connection.sendall(_CONNECT)
            answer = connection.recv(4)
            connection.sendall(_DISCONNECT)
    except OSError:
        return None
    return answer


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
