"""Write the table of ports in docs/network.md from what really decides who can reach what.

python -m scripts.network_table            write it
python -m scripts.network_table --check    exit 1 when it is not current

The truth: broker/mosquitto/mosquitto.conf, what `heliobus broker init --tls` adds to it, the
demo's broker, and the `ports` of compose.yaml. A port that has no words here is an error.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from broker import configuration
from broker.start import HOST
from heliobus.demo import USUAL_PORT

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "network.md"
BEGIN: Final = "<!-- ports: written by scripts/network_table.py, run by `make docs` -->"
END: Final = "<!-- end of ports -->"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})

_LISTENER: Final = re.compile(r"listener (\d+)(?: (\S+))?")
_PUBLISHED: Final = re.compile(
    r"\$\{(?P<bind>\w+):-(?P<address>[^}]+)\}:\$\{(?P<name>\w+):-(?P<port>\d+)\}:\d+"
)
# Program and port: the protocol, whether it is encrypted, who needs it.
_WORDS: Final = {
    ("mosquitto", 1883): ("MQTT", "no", "heliobus, and programs on the same computer"),
    ("mosquitto", 8883): ("MQTT", "TLS", "other computers and devices in the house"),
    ("influxdb", 8086): ("HTTP", "no", "you, for InfluxDB's own pages"),
    ("mariadb", 3306): ("MySQL", "no", "you, for questions in SQL"),
    ("grafana", 3000): ("HTTP", "no", "everyone who looks at dashboards"),
}
_TITLES: Final = {"influxdb": "InfluxDB", "mariadb": "MariaDB", "grafana": "Grafana"}
_HEADING: Final = (
    "port (TCP)",
    "protocol",
    "program",
    "who reaches it by default",
    "encrypted",
    "who needs it",
    "to open it",
)


@dataclass(frozen=True, slots=True)
class Port:
    """A port, where it listens unless told otherwise, and what opens it further."""

    number: int
    program: str
    addresses: tuple[str, ...]  # none: it does not listen
    opens: str
    note: str = ""


def listeners(conf: str) -> list[tuple[int, str]]:
    """Give port and address of each listener of a mosquitto.conf; `*` is every address."""
    found = (_LISTENER.fullmatch(line.strip()) for line in conf.splitlines())
    return [(int(match[1]), match[2] or "*") for match in found if match]


def of_the_broker() -> Iterator[Port]:
    """Give the ports of a mosquitto that `heliobus broker init` has set up."""
    shipped = (ROOT / "broker" / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
    for number in dict.fromkeys(port for port, _ in listeners(shipped)):
        addresses = tuple(address for port, address in listeners(shipped) if port == number)
        yield Port(number, "mosquitto", addresses, "do not: take the next one")
    wanted = configuration.listener("192.0.2.1", tls=True, plain=False)
    plan = configuration.Plan(Path("/etc/heliobus/mqtt"), USUAL_PORT, wanted)
    made = configuration.locked(plan)
    for number in [port for port, address in listeners(made) if address == wanted.address]:
        yield Port(number, "mosquitto", (), "`heliobus broker init --listen ADDRESS --tls`")


def of_the_demo() -> Port:
    """Give the port of the broker that `heliobus demo` starts."""
    text = configuration.open_to_all(USUAL_PORT)
    addresses = {address for _, address in listeners(text)} | {HOST}
    if not addresses <= LOOPBACK:
        raise ValueError(f"the demo's broker listens on {sorted(addresses)}")
    return Port(
        USUAL_PORT, "mosquitto", (HOST, "::1"), "cannot be opened", "`heliobus demo`, while it runs"
    )


def of_compose(text: str) -> Iterator[Port]:
    """Give the ports that compose.yaml publishes. Raise ValueError for one without variables."""
    for service, each in yaml.safe_load(text)["services"].items():
        for published in each.get("ports", ()):
            match = _PUBLISHED.fullmatch(str(published))
            if match is None:
                raise ValueError(
                    f"compose.yaml: {service}: found {published!r}, expected"
                    " ${NAME_BIND:-127.0.0.1}:${NAME_PORT:-1234}:1234"
                )
            opens = f"`{match['bind']}` in `.env`"
            yield Port(int(match["port"]), service, (match["address"],), opens, "`compose.yaml`")


def hidden(text: str) -> list[str]:
    """Name the lasting services of compose.yaml that publish no port."""
    services = yaml.safe_load(text)["services"]
    return [n for n, s in services.items() if "ports" not in s and s.get("restart") != "no"]


def render() -> str:
    """Give the table and what belongs to it. Raise ValueError for a port without words."""
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    ports = [*of_the_broker(), of_the_demo(), *of_compose(compose)]
    lines = [_row(_HEADING), "|" + "---|" * len(_HEADING), *map(row, ports)]
    names = [f"`{name}`" for name in hidden(compose)]
    lines += [
        "",
        f"In `compose.yaml`, {', '.join(names[:-1])} and {names[-1]} publish no port: only the"
        " other containers can reach them.",
    ]
    return "\n".join(lines)


def row(port: Port) -> str:
    """Give a line of the table. Raise ValueError for a port without words."""
    words = _WORDS.get((port.program, port.number))
    if words is None:
        raise ValueError(
            f"port {port.number} of {port.program} is new; add it to _WORDS of {__name__}"
        )
    protocol, encrypted, who = words
    program = _TITLES.get(port.program, port.program)
    if port.note:
        program += f" ({port.note})"
    return _row([str(port.number), protocol, program, _reach(port), encrypted, who, port.opens])


def _reach(port: Port) -> str:
    if not port.addresses:
        return "nobody: it is not there"
    text = ", ".join(f"`{address}`" for address in port.addresses)
    if set(port.addresses) <= LOOPBACK:
        return f"this computer only ({text})"
    return f"**other computers** ({text})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def put(page: str, table: str) -> str:
    """Give the page with the table between its markers. Raise ValueError without them."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE}: the lines {BEGIN} and {END} are missing")
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with --check tell whether it is current."""
    page = PAGE.read_text(encoding="utf-8")
    current = put(page, render())
    if "--check" not in arguments:
        PAGE.write_text(current, encoding="utf-8")
    elif page != current:
        sys.stderr.write(f"{PAGE} is not current; run make docs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
