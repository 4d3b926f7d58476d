"""Who we are at the broker. Files are read at each connection: to correct one is enough."""

import os
import stat
from pathlib import Path

from heliobus.errors import ConfigError
from heliobus.settings import BrokerSettings
from heliobus.whole_file import replace_file

# A secret is a line, not a film.
_LONGEST = 10_000


def read_secret(path: Path) -> str:
    """Read a file that holds one secret. Raise ConfigError."""
    try:
        with path.open("rb") as file:
            secret = file.read(_LONGEST).decode().rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}{_access(path)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: not UTF-8 text") from error
    if not secret:
        raise ConfigError(f"{path} is empty; write the secret into it")
    return secret


def write_secret(path: Path, secret: str) -> None:
    """Write a file that only its owner may read: who owns its folder. Raise ConfigError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = path.parent.stat()
        owner = (folder.st_uid, folder.st_gid) if os.geteuid() == 0 else None
        replace_file(path, f"{secret}\n".encode(), owner=owner)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; make its folder writable") from error


def looseness(path: Path) -> str | None:
    """Say that others can read a secret file; None where they cannot, or need to.

    A group may read it where the file is not ours: then it is by the group that we can.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    mode = status.st_mode & 0o777
    group = mode & stat.S_IRGRP and status.st_uid == os.geteuid()
    if not mode & stat.S_IROTH and not group:
        return None
    who = "everyone" if mode & stat.S_IROTH else "a group"
    return f"{path}: {who} on this computer can read it (mode {mode:04o}); run: chmod 600 {path}"


def user(broker: BrokerSettings, name: str) -> str:
    """Name the user that component `name` logs in as."""
    return broker.username or name


def password(broker: BrokerSettings, name: str) -> str | None:
    """Give the password of component `name`, None for none. Raise ConfigError."""
    path = _password_path(broker, name)
    if path is None:
        return broker.password
    try:
        return read_secret(path)
    except ConfigError as error:
        if broker.passwords is None or not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ConfigError(f"{error}; run: heliobus broker init") from error


def advice(broker: BrokerSettings, name: str) -> str:
    """Say what to check when the broker does not accept the password."""
    path = _password_path(broker, name)
    if broker.passwords is not None and path is not None:
        return f"check {path} against the broker, as 'heliobus broker check' does"
    return f"check {broker.key}.user and {broker.key}.password_file"


def _password_path(broker: BrokerSettings, name: str) -> Path | None:
    if broker.passwords is not None:
        return broker.passwords / user(broker, name)
    return broker.password_file


def _access(path: Path) -> str:
    """Say who may read a file, as far as we can see it."""
    try:
        status = path.stat()
    except OSError:
        return ""
    mode = status.st_mode & 0o777
    return f" (mode {mode:04o}, owner {status.st_uid}, we are user {os.geteuid()})"
