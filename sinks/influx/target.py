"""Where the lines go, and the token that is read anew at each attempt."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from heliobus.credentials import read_secret
from heliobus.errors import ConfigError, SinkError
from heliobus.settings import SinkSettings

_EXPECTED = "holds no token; expected one line of letters, digits and signs of ASCII"


@dataclass(frozen=True, slots=True)
class Target:
    """A bucket of a server. `url` has no slash at its end."""

    url: str
    org: str
    bucket: str
    timeout_s: float


def target(settings: SinkSettings) -> Target:
    """Read the options. Raise ConfigError."""
    options = settings.options
    url = str(options["url"]).rstrip("/")
    place = f"sinks.{settings.name}.url"
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment:
        raise ConfigError(f"{place}: expected an address like http://127.0.0.1:8086")
    if "@" in parts.netloc:
        raise ConfigError(f"{place}: a password must not stand in the address; use token_file")
    return Target(url, options.get("org") or "", options["bucket"], options["timeout"])


def written_token(settings: SinkSettings) -> str:
    """Give the token of the option itself; "" where there is none. Raise ConfigError."""
    written = settings.options.get("token")
    token = str(written or "").strip()
    if written is not None and not _is_sound(token):
        raise ConfigError(f"sinks.{settings.name}.token: {_EXPECTED}; use token_file")
    return token


def _is_sound(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable()


def read_token(path: Path, name: str) -> str:
    """Read a token from its file. Raise SinkError: it may be written at any time."""
    try:
        token = read_secret(path)
    except ConfigError as error:
        raise SinkError(
            f"sinks.{name}.token_file: {error}; write the token into it,"
            f" or for InfluxDB 2 run: heliobus prepare {name}"
        ) from error
    if not _is_sound(token):
        raise SinkError(f"sinks.{name}.token_file: {path}: {_EXPECTED}")
    return token
