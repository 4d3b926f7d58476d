"""Link URLs: `serial:///dev/ttyUSB0?baud=2400`, `tcp://[::1]:502`, taken apart and judged.

A new scheme is one row in SCHEMES and one in the table of `heliobus.link` that opens them; those
that begin with `can:` carry frames, and `heliobus.can_bus` opens them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import SplitResult, parse_qsl, urlsplit

from heliobus.errors import ConfigError

# Those that Linux and pyserial both know; devices here use 1200 to 115200.
_BAUDS = tuple(
    f"{rate}"
    for rate in (
        *(300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800),
        *(500000, 576000, 921600, 1000000, 1500000, 2000000, 3000000, 4000000),
    )
)
_LINE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "baud": _BAUDS,
        "parity": ("N", "E", "O", "M", "S"),
        "bytesize": ("8", "7", "6", "5"),
        "stopbits": ("1", "1.5", "2"),
    }
)
# What is written for a device of Modbus TCP: a host, or a scheme of other programs.
_TCP = re.compile(
    r"(?:(?P<scheme>modbus|modbus-tcp|modbustcp|https?)://|(?=[^:]*[.:]))"
    r"(?P<host>[A-Za-z0-9][\w.-]*)(?::(?P<port>[0-9]{1,5}))?/?"
)
_PORT = 502
# What a CAN adapter on a serial port can be set to: the commands S0 to S9 of slcan.
CAN_BITRATES = (
    *("10000", "20000", "50000", "100000", "125000", "250000", "500000", "750000", "1000000"),
    "83300",
)
_CAN = "can:"
_YES = ("yes", "true", "1")
_SLCAN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bitrate": CAN_BITRATES,
        "baud": _BAUDS,
        "listen_only": (*_YES, "no", "false", "0"),
    }
)
# How much faster than it was recorded.
_SPEEDS = ("0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50", "100", "1000")
_CAN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")  # that of an interface, in Linux
# What is written for CAN: an interface alone, or a scheme of other programs.
_CAN_MEANT = re.compile(
    r"(?:(?:can|socketcan|slcan)(?::/*|/)(?:/?(?P<tty>dev/[^?]+)|(?=v?can|slcan)))?"
    r"(?P<name>v?can[0-9]+|slcan[0-9]+)?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a link URL: a path, or a host and a port; and the options that it names.

    What several may have open is a host without a port: a CAN interface, a capture.
    """

    url: str
    scheme: str
    path: str
    host: str
    port: int
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """Give the short text for messages: /dev/ttyUSB0, 127.0.0.1:502, [::1]:502 or can0."""
        if self.path or not self.port:
            return self.path or self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def listen_only(self) -> bool:
        """Say whether not even an acknowledgement may be sent."""
        return self.options.get("listen_only") in _YES


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the URLs of one scheme look: an example, what it is, where it leads, its options."""

    example: str
    title: str
    place: Callable[[SplitResult], tuple[str, str, int]]
    options: Mapping[str, tuple[str, ...]]


def parse(url: str, line: Mapping[str, str] = MappingProxyType({})) -> Address:
    """Take `url` apart; `line` has options for where it does not say them itself.

    Raise ConfigError that says what is wrong and what would be right.
    """
    name = url.partition("/")[0] if url.startswith(_CAN) else url.partition(":")[0]
    if name not in SCHEMES:
        raise ConfigError(f"link '{url}': {_unknown_scheme(url, name)}")
    scheme = SCHEMES[name]
    try:
        parts = urlsplit(url, allow_fragments=False)
        path, host, port = scheme.place(parts)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:  # some are urlsplit's own: a bad IPv6 literal, a port of 99999
        told = (
            f"{error}"
            if f"{error}".endswith("?")
            else f"{error}; expected it like {scheme.example}"
        )
        raise ConfigError(f"link '{url}': {told}") from error
    said = {key for key, _ in pairs}
    pairs += [pair for pair in line.items() if pair[0] in scheme.options and pair[0] not in said]
    options = _options(url, pairs, scheme.options)
    return Address(url, name, path, host, port, options)


def _path(parts: SplitResult) -> tuple[str, str, int]:
    if parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/"):
        place = f"{parts.netloc}{parts.path}"
        is_device = place.startswith("dev/") and not place.endswith("/")
        meant = f"; did you mean '{parts.scheme}:///{place}'?" if is_device else ""
        raise ValueError(f"found '{place}', not a full path after ://{meant}")
    return parts.path, "", 0


def _host(parts: SplitResult) -> tuple[str, str, int]:
    if not parts.hostname:
        raise ValueError("found no host")
    if not parts.port:
        raise ValueError("found no port")
    if "@" in parts.netloc or parts.path not in ("", "/"):
        raise ValueError("found more than a host and a port")
    return "", parts.hostname, parts.port


def _can_device(parts: SplitResult) -> tuple[str, str, int]:
    return _can_path(parts), "", 0


def _can_file(parts: SplitResult) -> tuple[str, str, int]:
    return "", _can_path(parts), 0


def _can_path(parts: SplitResult) -> str:
    interface, _, path = parts.path.partition("/")
    if not path.startswith("/") or path.endswith("/"):
        is_device = path.startswith("dev/") and not path.endswith("/")
        query = f"?{parts.query}" if parts.query else ""
        meant = f"; did you mean 'can:{interface}//{path}{query}'?" if is_device else ""
        raise ValueError(f"found '{path}', not a full path after /{meant}")
    return path


def _can_name(parts: SplitResult) -> tuple[str, str, int]:
    interface, _, name = parts.path.partition("/")
    if not _CAN_NAME.fullmatch(name):
        raise ValueError(f"found '{name}', not a name")
    if parts.query and interface == "socketcan":
        up = f"sudo ip link set {name} up type can bitrate 500000 restart-ms 100"
        raise ValueError(f"found '?{parts.query}', which is not set here but by '{up}'")
    return "", name, 0


def _options(
    url: str, pairs: Iterable[tuple[str, str]], known: Mapping[str, tuple[str, ...]]
) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for key, value in pairs:
        if key not in known:
            raise ConfigError(f"link '{url}': option {_not_known(key, known)}")
        if key in options:
            raise ConfigError(f"link '{url}': option '{key}' is given twice; leave one")
        if value not in known[key]:
            raise ConfigError(f"link '{url}': {key} {_not_known(value, known[key])}")
        options[key] = value
    return MappingProxyType(options)


def _unknown_scheme(url: str, name: str) -> str:
    is_can = url.startswith(_CAN) or name in {"slcan", "socketcan"}
    if is_can or (url and _CAN_MEANT.fullmatch(url)):
        return _unknown_can(url, name)
    if url.startswith("/"):
        scheme = "hidraw" if "hidraw" in url else "serial"
        return f"found no scheme; did you mean '{scheme}://{url}'?"
    if meant := _TCP.fullmatch(url):
        port = (not url.startswith("http") and meant["port"]) or _PORT
        what = f"scheme '{name}' is not known" if meant["scheme"] else "found no scheme"
        return f"{what}; did you mean 'tcp://{meant['host']}:{port}'?"
    if ":" not in url:
        return f"found no scheme; expected it like {SCHEMES['serial'].example}"
    return f"scheme {_not_known(name, {each.partition(':')[0]: each for each in SCHEMES})}"


def _unknown_can(url: str, name: str) -> str:
    meant = _CAN_MEANT.fullmatch(url.partition("?")[0])
    if meant and (meant["name"] or meant["tty"]):
        is_scheme = name in {"slcan", "socketcan"}
        found = f"scheme '{name}' is not known" if is_scheme else "found no interface"
        like = f"socketcan/{meant['name']}" if meant["name"] else f"slcan//{meant['tty']}"
        return f"{found}; did you mean 'can:{like}{'?bitrate=500000' if meant['tty'] else ''}'?"
    known = tuple(each.removeprefix(_CAN) for each in SCHEMES if each.startswith(_CAN))
    interface = name.removeprefix(_CAN) if name.startswith(_CAN) else url.partition(":")[2]
    return f"CAN interface {_not_known(interface, known)}"


def _not_known(found: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """Say that `found` is not known, with the nearest that is, else with all that are."""
    from difflib import get_close_matches

    # A parity that is written out, a bit rate in thousands.
    meant = {found[:1].upper(), found.lower().replace("k", "000")}
    close = [one for one in known if one in meant] or get_close_matches(found, known, n=1)
    if close:
        return f"'{found}' is not known; did you mean '{close[0]}'?"
    if not known:
        return f"'{found}' is not known; there are none here"
    return f"'{found}' is not known; known are {', '.join(known)}"


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "can:candump": Scheme(
            "can:candump//home/pi/candump.log",
            "a recording of candump, played as it was heard",
            _can_file,
            {"speed": _SPEEDS},
        ),
        "can:slcan": Scheme(
            "can:slcan//dev/ttyACM0?bitrate=500000",
            "a CAN adapter on a serial port",
            _can_device,
            _SLCAN,
        ),
        "can:socketcan": Scheme(
            "can:socketcan/can0", "a CAN interface of this computer", _can_name, {}
        ),
        "can:virtual": Scheme(
            "can:virtual/test", "a CAN bus within one program, for tests", _can_name, {}
        ),
        "hidraw": Scheme("hidraw:///dev/hidraw0", "a USB device without a serial port", _path, {}),
        "listen": Scheme(
            "listen://0.0.0.0:4001",
            "a port of this computer that the device dials into; 0.0.0.0 is any address of it",
            _host,
            {},
        ),
        "rfc2217": Scheme(
            "rfc2217://192.0.2.7:2217?baud=2400",
            "a serial port of another computer, which sets its speed (RFC 2217)",
            _host,
            _LINE,
        ),
        "serial": Scheme(
            "serial:///dev/ttyUSB0?baud=2400", "a serial port of this computer", _path, _LINE
        ),
        "socket": Scheme(
            "socket://192.0.2.7:8899",
            "a serial port behind a network adapter that passes on bytes (TCP server)",
            _host,
            {},
        ),
        "tcp": Scheme(
            "tcp://192.0.2.7:502", "a device with a network socket of its own", _host, {}
        ),
    }
)
