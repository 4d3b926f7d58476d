"""The part `broker` of heliobus.yaml, and what is written like it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliobus.checked_yaml import Format, Place, Reader, Schema
from heliobus.credentials import looseness, read_secret
from heliobus.errors import ConfigError
from heliobus.settings import BrokerSettings, BrokerStart

_URL = re.compile(
    r"(?P<scheme>[a-z0-9+]+)://((?P<user>[^@:/]+)(?P<password>:[^@/]*)?@)?"
    r"(\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^@:/\[\]\s]+))(:(?P<port>[0-9]{1,99}))?/?\Z"
)
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LAST_PORT = 65535
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_OF_TLS = ("ca_file", "cert_file", "key_file")
_OF_OURS = frozenset({"start", "folder", "passwords"})
_OF_A_PASSWORD = ("password", "password_file", "passwords")
_LONGEST_PEM = 1_000_000


@dataclass(frozen=True, slots=True)
class _Address:
    tls: bool = False
    host: str = "127.0.0.1"
    port: int = 1883
    user: str | None = None


def formats(folder: Path, warnings: list[str], *, look: bool) -> Mapping[str, Format]:
    """Give the formats of the keys; relative paths start at `folder`.

    `look` False: files are not looked into, and may be missing.
    """
    if not look:
        names = ("folder", "password_file", "certificate", "key")
        return {"broker_url": _address, **dict.fromkeys(names, lambda text: folder / text)}
    return {
        "broker_url": _address,
        "folder": lambda text: folder / text,
        "password_file": lambda text: _private(folder / text, read_secret, warnings),
        "certificate": lambda text: _pem(folder / text, "CERTIFICATE"),
        "key": lambda text: _private(
            folder / text, lambda path: _pem(path, "PRIVATE KEY"), warnings
        ),
    }


def is_broker(schema: Schema) -> bool:
    """Say whether a key of a component is another broker."""
    return bool(schema.get("heliobus", {}).get("same_as") == "broker")


def another(key: Schema, ours: Schema) -> Schema:
    """Give the schema of another broker: that of ours, but for what we do for our own."""
    properties = {name: own for name, own in ours["properties"].items() if name not in _OF_OURS}
    url = properties["url"]
    note = {name: said for name, said in url["heliobus"].items() if name != "default"}
    return {
        **key,
        "type": "object",
        "required": ["url"],
        "additionalProperties": False,
        "properties": {**properties, "url": {**url, "heliobus": note}},
    }


def settings(
    values: Mapping[str, Any],
    reader: Reader,
    warnings: list[str],
    *,
    place: Place = ("broker",),
) -> BrokerSettings:
    """Put the values together; faults go to `reader`, at their places below `place`."""
    address = values.get("url") or _Address()
    start = BrokerStart(values.get("start") or "no")
    folder = values.get("folder") or Path("mqtt")
    _check(values, address, start, lambda key, text: reader.fault((*place, key), text))
    passwords = values.get("passwords")
    if passwords is None and start is not BrokerStart.NO and not _names_a_password(values):
        users = folder / "users"  # as `heliobus up` has made it
        passwords = users if users.is_dir() else None
    elif passwords is not None and not passwords.is_dir():
        warnings.append(f"{passwords}: no such folder; 'heliobus broker init' makes one")
    if passwords is not None:
        warnings += filter(None, map(looseness, sorted(passwords.glob("*"))))
    return BrokerSettings(
        host=address.host,
        port=address.port,
        tls=address.tls,
        username=values.get("user") or address.user,
        password=values.get("password"),
        password_file=values.get("password_file"),
        passwords=passwords,
        **{key: values.get(key) for key in _OF_TLS},
        start=start,
        mqtt5=start is not BrokerStart.EMBEDDED,
        folder=folder,
        key=".".join(place),
    )


def at(url: str, password_file: Path | None, option: str) -> BrokerSettings:
    """Give the broker that an option of the command line names. Raise ConfigError."""
    try:
        address = _address(url)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from error
    return BrokerSettings(
        host=address.host,
        port=address.port,
        tls=address.tls,
        username=address.user,
        password_file=password_file,
    )


def _names_a_password(values: Mapping[str, Any]) -> bool:
    return any(values.get(key) for key in _OF_A_PASSWORD)


def _check(
    values: Mapping[str, Any],
    address: _Address,
    start: BrokerStart,
    fault: Callable[[str, str], None],
) -> None:
    """Note what does not go together."""
    if address.user and values.get("user"):
        fault("user", "the url names a user, too; delete one of them")
    first, *others = [*(key for key in _OF_A_PASSWORD if key in values), ""]
    for other in filter(None, others):
        fault(other, f"{first!r} is there, too; delete one of them")
    if not address.tls:
        for key in _OF_TLS:
            if key in values:
                fault(key, "is for TLS only; write mqtts:// in url, or delete it")
    if "key_file" in values and "cert_file" not in values:
        fault("key_file", "'cert_file' is missing; name the certificate of this key")
    if start is not BrokerStart.NO and address.host not in _LOOPBACK:
        fault(
            "start",
            f"{start.value} starts a broker on this computer, but url names {address.host};"
            " write 127.0.0.1 there, or start: no",
        )


def _address(text: str) -> _Address:
    match = _URL.match(text)
    if match is None:
        masked = re.sub(r":[^@/]*@", ":***@", text)
        raise ConfigError(f"found {masked!r}, expected mqtt://[user@]host[:port]")
    if match["scheme"] not in _PORTS:
        raise ConfigError(
            f"the scheme {match['scheme']}:// is not known; write mqtt:// or mqtts://"
        )
    if match["password"] is not None:
        raise ConfigError("a password must not stand in the address; use password_file")
    port = int(match["port"] or _PORTS[match["scheme"]])
    if not 1 <= port <= _LAST_PORT:
        raise ConfigError(f"the port is {port}, expected 1 to 65535")
    return _Address(match["scheme"] == "mqtts", match["v6"] or match["host"], port, match["user"])


def _private(path: Path, read: Callable[[Path], object], warnings: list[str]) -> Path:
    """Check a file that holds a secret by reading it. Raise ConfigError."""
    read(path)
    if path.is_file() and (told := looseness(path)):
        warnings.append(told)
    return path


def _pem(path: Path, what: str) -> Path:
    """Check that a file of PEM holds what it should; a folder is looked into later."""
    if path.is_dir():
        return path
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_PEM)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if f"{what}-----".encode() not in text:
        raise ConfigError(f"{path} holds no {what.lower()}; expected a file in PEM")
    return path
