"""The command `sim`: be a simulated device until Ctrl-C, on a line or at a broker."""

import signal
import threading
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, TextIO

from heliobus import broker_keys, components, credentials
from heliobus.address import parse
from heliobus.calling import serve_dialling
from heliobus.errors import ConfigError
from heliobus.line import Paced
from heliobus.simulation import Faults, Service, Simulated, serve_pty, serve_tcp
from heliobus.speaking import Speaker, Speaking

# Voltronic's rate, the slowest of all devices here: what works at it works at any.
_BAUD = 2400
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is to be: what of the options was given."""

    pty: bool = False
    tcp: str | None = None
    dial: str | None = None
    link: Path | None = None
    baud: int | None = None
    broker: str | None = None
    password_file: Path | None = None

    def given(self, *names: str) -> str:
        """Name the first of these options that was given, as it is typed."""
        found = [name for name in names if getattr(self, name)]
        return f"--{found[0].replace('_', '-')}" if found else ""


@dataclass(frozen=True, slots=True)
class Role:
    """What it is to be. `unit` is its address on a line of several devices."""

    faults: str = ""
    variant: str | None = None
    unit: int | None = None


def run(protocol: str, place: Place, role: Role, *, out: TextIO) -> int:
    """Serve until SIGINT or SIGTERM. Raise ConfigError, LinkError."""
    struck = Faults.parse(role.faults)
    simulated = _made(protocol, place, role, struck)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if isinstance(simulated, Speaking):
        return _at_broker(protocol, simulated, place, stop=stop, out=out)
    if strange := place.given("broker", "password_file"):
        raise ConfigError(f"{strange}: {protocol} is on a line; use --pty, --tcp or --dial")
    with _serve(simulated, place, struck) as service:
        print(f"{protocol}: link: {service.url} (Ctrl-C ends it)", file=out, flush=True)
        stop.wait()
    print(f"answered={service.answered} harmed={service.harmed}", file=out)
    return 0


def _made(protocol: str, place: Place, role: Role, struck: Faults) -> Simulated | Speaking:
    """Call its SIMULATOR with what was given, and with what it asks for."""
    make = components.simulator(protocol)
    given: dict[str, Any] = {"faults": struck}
    if role.variant is not None:
        given["variant"] = role.variant
    known = signature(make).parameters
    if role.unit is not None:
        if "unit" not in known:
            raise ConfigError(f"--unit: {protocol} has no unit ids; leave it out")
        given["unit"] = role.unit
    if "tcp" in known:
        given["tcp"] = place.tcp is not None
    made: Simulated | Speaking = make(**given)
    return made


def _at_broker(
    protocol: str, simulated: Speaking, place: Place, *, stop: threading.Event, out: TextIO
) -> int:
    if strange := place.given("pty", "tcp", "dial", "link", "baud"):
        raise ConfigError(f"{strange}: {protocol} speaks to a broker; use --broker")
    if place.broker is None:
        raise ConfigError(
            f"{protocol} speaks to a broker; name it, as in --broker mqtt://127.0.0.1:1883"
        )
    broker = broker_keys.at(place.broker, place.password_file, "--broker")
    if broker.tls:
        raise ConfigError("--broker: a simulated device speaks without TLS; write mqtt://")
    credentials.password(broker, protocol)  # a file that is not there will not come by itself
    with Speaker(simulated, broker) as speaker:
        while not speaker.connections and not stop.wait(_LOOK_S):
            continue
        if speaker.connections:
            print(f"{protocol}: {simulated.about} on {broker.url} (Ctrl-C ends it)", file=out)
            print("What it says stays on the broker afterwards, as from a real one.", file=out)
            out.flush()
        stop.wait()
    print(f"published={speaker.published}", file=out)
    return 0


def _serve(simulated: Simulated, place: Place, faults: Faults) -> Service:
    if place.dial is not None:
        host, port = _host_port(place.dial, "--dial")
        return serve_dialling(simulated, host, port, baud=place.baud, faults=faults)
    if place.tcp is None:
        link = place.link and place.link.absolute()
        usual = simulated.baud if isinstance(simulated, Paced) else _BAUD
        return serve_pty(simulated, baud=place.baud or usual, faults=faults, link_path=link)
    host, port = _any_port(place.tcp)
    return serve_tcp(simulated, host=host, port=port, baud=place.baud, faults=faults)


def _any_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if port == "0":
        return host.strip("[]") or "127.0.0.1", 0
    return _host_port(text, "--tcp")


def _host_port(text: str, option: str) -> tuple[str, int]:
    try:
        address = parse(f"tcp://{text}")
    except ConfigError as error:
        raise ConfigError(
            f"{option}: found {text!r}, expected HOST:PORT, port 1 to 65535"
        ) from error
    return address.host, address.port
