"""The command `sim`: be a simulated device until Ctrl-C."""

import signal
import threading
from pathlib import Path
from typing import TextIO

from heliobus import components
from heliobus.address import parse
from heliobus.errors import ConfigError
from heliobus.simulation import Faults, Service, Simulated, serve_pty, serve_tcp

# Voltronic's rate, the slowest of all devices here: what works at it works at any.
_BAUD = 2400


def run(
    protocol: str,
    *,
    tcp: str | None,
    link: Path | None,
    baud: int | None,
    faults: str,
    variant: str | None,
    out: TextIO,
) -> int:
    """Serve until SIGINT or SIGTERM. Raise ConfigError, LinkError."""
    make = components.simulator(protocol)
    struck = Faults.parse(faults)
    given = {} if variant is None else {"variant": variant}
    simulated: Simulated = make(faults=struck, **given)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with _serve(simulated, tcp, baud=baud, faults=struck, link=link) as service:
        print(f"{protocol}: link: {service.url} (Ctrl-C ends it)", file=out, flush=True)
        stop.wait()
    print(f"answered={service.answered} harmed={service.harmed}", file=out)
    return 0


def _serve(
    simulated: Simulated, tcp: str | None, *, baud: int | None, faults: Faults, link: Path | None
) -> Service:
    if tcp is None:
        return serve_pty(
            simulated, baud=baud or _BAUD, faults=faults, link_path=link and link.absolute()
        )
    host, port = _host_port(tcp)
    return serve_tcp(simulated, host=host, port=port, baud=baud, faults=faults)


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if port == "0":
        return host.strip("[]") or "127.0.0.1", 0
    try:
        address = parse(f"tcp://{text}")
    except ConfigError as error:
        raise ConfigError(f"--tcp: found {text!r}, expected HOST:PORT, port 1 to 65535") from error
    return address.host, address.port
