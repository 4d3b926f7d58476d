"""The files of the broker's folder: written whole or not at all, each for who needs it."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from heliobus.errors import ConfigError
from heliobus.whole_file import replace_file


class Owner(Enum):
    """Who a file is for."""

    OURS = "ours"  # who runs `heliobus broker`
    BROKER = "broker"  # mosquitto
    USER = "user"  # who runs heliobus, or a person
    ANYONE = "anyone"  # no secret


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this computer."""

    name: str
    uid: int
    gid: int


def account(text: str) -> Account:
    """Find a user by name, or take numbers: UID or UID:GID. Raise ConfigError."""
    uid, _, gid = text.partition(":")
    if uid.isdecimal() and (not gid or gid.isdecimal()):
        return Account(text, int(uid), int(gid or uid))
    try:
        found = pwd.getpwnam(text)
    except KeyError as error:
        raise ConfigError(f"this computer has no user {text!r}; name one, or a number") from error
    return Account(text, found.pw_uid, found.pw_gid)


def has_account(name: str) -> bool:
    """Say whether this computer has a user of this name."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def name_of(uid: int) -> str:
    """Name a user, by its number where it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def owner_of(*folders: Path) -> Account | None:
    """Give whom the first of these folders that is there belongs to; None for root."""
    status = next((folder.stat() for folder in folders if folder.exists()), None)
    if status is None or status.st_uid == 0:
        return None
    return Account(name_of(status.st_uid), status.st_uid, status.st_gid)


class Writer:
    """Writes files and gives them to accounts; says which of them have changed."""

    def __init__(
        self, accounts: dict[Owner, Account | None], remedy: str = "run this with sudo"
    ) -> None:
        self._accounts = accounts
        self._remedy = remedy
        self.changed: set[Path] = set()

    def folder(self, path: Path, owner: Owner = Owner.ANYONE) -> None:
        """Make a folder; only who it is for may look into it. Raise ConfigError."""
        with self._worded(path):
            path.mkdir(parents=True, exist_ok=True)
            self._give(path, owner, 0o755 if owner is Owner.ANYONE else 0o700)

    def write(self, path: Path, text: str, owner: Owner) -> None:
        """Write a file, unless it reads so already. Raise ConfigError."""
        with self._worded(path):
            if not path.exists() or path.read_bytes() != text.encode():
                replace_file(path, text.encode())
                self.changed.add(path)
        self.keep(path, owner)

    def keep(self, path: Path, owner: Owner) -> None:
        """Leave a file as it is, but for who it is for. Raise ConfigError."""
        with self._worded(path):
            self._give(path, owner, 0o644 if owner is Owner.ANYONE else 0o600)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there. Raise ConfigError."""
        with self._worded(path):
            path.unlink(missing_ok=True)

    @contextmanager
    def _worded(self, path: Path) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ConfigError(
                f"{path}: {error.strerror} for user {os.geteuid()}; {self._remedy}, or name"
                " another folder with broker.folder in heliobus.yaml"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror}; name a folder that can be written to with"
                " broker.folder in heliobus.yaml"
            ) from error

    def _give(self, path: Path, owner: Owner, mode: int) -> None:
        """Set owner and mode where they differ: the file system may be read-only."""
        status = path.stat()
        account = self._accounts.get(owner)
        if account is not None and (status.st_uid, status.st_gid) != (account.uid, account.gid):
            os.chown(path, account.uid, account.gid)
        if stat.S_IMODE(status.st_mode) != mode:
            path.chmod(mode)


def closed_to(account: Account, path: Path) -> list[Path]:
    """Give the folders above `path` that an account may not enter."""
    closed = []
    groups = {account.gid}
    with suppress(KeyError):
        name = pwd.getpwuid(account.uid).pw_name
        groups |= {group.gr_gid for group in grp.getgrall() if name in group.gr_mem}
    for folder in reversed(path.parents):
        status = folder.stat()
        bit = stat.S_IXOTH
        if status.st_uid == account.uid:
            bit = stat.S_IXUSR
        elif status.st_gid in groups:
            bit = stat.S_IXGRP
        if account.uid != 0 and not status.st_mode & bit:
            closed.append(folder)
    return closed
