"""mosquitto.conf: the shipped one, with the addresses and files of this place."""

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from heliobus.errors import ConfigError

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# What a listener takes of loopback. `::` is IPv6 only: mosquitto sets IPV6_V6ONLY.
_TAKES: Final = {"*": LOOPBACK, "0.0.0.0": {"127.0.0.1"}, "::": {"::1"}}  # noqa: S104 - not bound to
_SHIPPED: Final = Path(__file__).resolve().parent / "mosquitto" / "mosquitto.conf"
_LIMITS: Final = "# --- How much it holds"
_PORTS: Final = {False: 1883, True: 8883}
_LAST_PORT: Final = 65535
_LISTEN: Final = re.compile(
    r"(\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:\[\]]+))(:(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen at besides loopback; `*` is every one."""

    address: str
    port: int
    tls: bool

    def __str__(self) -> str:
        """Give it for people."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}{' with TLS' if self.tls else ''}"

    @property
    def lines(self) -> list[str]:
        """Give it as mosquitto wants it."""
        return [f"listener {self.port}{'' if self.address == '*' else f' {self.address}'}"]


def listener(text: str, *, tls: bool, plain: bool) -> Listener:
    """Read ADDRESS[:PORT]. Raise ConfigError where passwords could be read on the way."""
    match = _LISTEN.fullmatch(text)
    port = int((match and match["port"]) or _PORTS[tls])
    if match is None or not 1 <= port <= _LAST_PORT:
        raise ConfigError(
            f"--listen {text}: expected ADDRESS or ADDRESS:PORT, such as 0.0.0.0:8883"
        )
    address = match["v6"] or match["host"]
    if not (tls or plain or address in LOOPBACK):
        raise ConfigError(
            f"--listen {text}: whoever is on the network could read the passwords; add --tls, or"
            " --plain where the network is nobody else's, as that of a compose file"
        )
    return Listener(address, port, tls)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where mosquitto listens and what it reads."""

    folder: Path
    port: int  # on loopback, without TLS
    listener: Listener | None = None
    client_certificates: bool = False
    data: str | None = None  # where it keeps what it retains; None: where it usually does


def locked(plan: Plan) -> str:
    """Write the configuration of a broker with users and rights."""
    head = [
        "# Made by `heliobus broker init`, which writes it anew: change it by its options.",
        "",
        *_loopback(plan),
        "allow_anonymous false",
        f"password_file {plan.folder}/passwords",
        f"acl_file {plan.folder}/acl",
    ]
    if plan.data is not None:
        head += [f"persistence_location {plan.data.rstrip('/')}/"]
    if plan.listener is not None and plan.listener != Listener("127.0.0.1", plan.port, tls=False):
        head += ["", *plan.listener.lines]
        if plan.listener.tls:
            head += [f"{key} {plan.folder}/tls/{name}" for key, name in _TLS_FILES]
        if plan.listener.tls and plan.client_certificates:
            head += ["require_certificate true", "use_identity_as_username true"]
    return "\n".join(head) + "\n\n" + _limits()


_TLS_FILES: Final = (("cafile", "ca.crt"), ("certfile", "server.crt"), ("keyfile", "server.key"))


def open_to_all(port: int) -> str:
    """Write the configuration of the demo's broker: loopback, without users."""
    plan = Plan(Path(), port)
    return "\n".join([*_loopback(plan), "allow_anonymous true"]) + "\n\n" + _limits()


def started_by_us(text: str, data: Path) -> str:
    """Add what a mosquitto needs that is no service of the system."""
    lines = [line for line in text.splitlines() if not line.startswith("persistence_location ")]
    if not _has_ipv6():
        lines = [line for line in lines if not re.fullmatch(r"listener \d+ ::1", line)]
    lines += ["", "# Added for this start.", f"persistence_location {data.resolve()}/"]
    lines += ["log_dest stderr"]
    if os.geteuid() == 0:
        # Else it becomes user mosquitto: it could not write to the folder, and the change of
        # user would slip the leash (prctl(2), PR_SET_PDEATHSIG).
        lines += ["user root"]
    return "\n".join(lines) + "\n"


def ports(text: str) -> set[int]:
    """Give the ports on which a configuration listens."""
    return {int(port) for port in re.findall(r"^listener (\d+)", text, re.MULTILINE)}


def _loopback(plan: Plan) -> list[str]:
    other = plan.listener
    addresses = ["127.0.0.1", "::1"] if _has_ipv6() else ["127.0.0.1"]
    if other is not None and other.port == plan.port:
        if other.tls:
            raise ConfigError(
                f"--listen {other}: port {plan.port} is the one for this computer itself, without"
                " TLS (from broker.url); choose another, such as 8883"
            )
        taken = _TAKES.get(other.address, frozenset())
        addresses = [address for address in addresses if address not in taken]
    return [f"listener {plan.port} {address}" for address in addresses]


def _limits() -> str:
    _, mark, rest = _SHIPPED.read_text().partition(_LIMITS)
    return mark + rest


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
