"""What the errors of databases mean: keep the data and try again, or a person must come.

SinkError is the rule: a server that refuses a password now may know it when its set-up is done,
and what was measured waits in the journals meanwhile. ConfigError is only what no waiting mends.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from heliobus.database import Place, sa
from heliobus.errors import ConfigError, HeliobusError, SinkError

__all__ = ["is_row_fault", "is_worth_repeating", "reason", "told"]

# MariaDB's and MySQL's words for a failed CHECK, and for text that the column cannot hold:
# PyMySQL counts them among the operational errors.
_ROW_CODES = frozenset({4025, 3819, 1366})

# A deadlock, or another transaction held a lock for too long: for MariaDB, and for PostgreSQL.
_PASSING = frozenset({1213, 1205, "40P01", "40001", "55P03"})

# (words in SQLite's message, what is raised, what is said); the first match counts.
_SQLITE: Sequence[tuple[str, type[HeliobusError], str]] = (
    ("is locked", SinkError, "database is locked by {holder}"),
    ("is full", SinkError, "the disk is full; make room"),
    ("disk i/o error", SinkError, "the disk cannot be read or written, or is full"),
    (
        "not a database",
        ConfigError,
        "is no SQLite database, or is damaged; nothing was changed in it. Restore a backup, or"
        " move the file away and a new one is begun",
    ),
    (
        "malformed",
        ConfigError,
        "the database is damaged; nothing was changed in it. Save what is left with"
        " `sqlite3 FILE .recover`, or move the file away and a new one is begun",
    ),
)
_CLOSED = ("unable to open", "readonly database")


@contextmanager
def told(place: Place) -> Iterator[None]:
    """Turn what SQLAlchemy raises into SinkError or ConfigError, in one line with the place."""
    try:
        yield
    except sa.exc.StatementError as error:
        kind, text = _verdict(error, place.file)
        raise kind(f"{place}: {_without_password(text, place)}") from error
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise SinkError(f"{place}: {_line(error)}") from error


def is_row_fault(error: sa.exc.DBAPIError) -> bool:
    """Tell whether the database refused the values and nothing else: a row costs itself only."""
    if isinstance(error, sa.exc.DataError | sa.exc.IntegrityError):
        return True
    return error.orig is not None and error.orig.args[:1] != () and error.orig.args[0] in _ROW_CODES


def is_worth_repeating(error: sa.exc.DBAPIError) -> bool:
    """Tell whether another transaction was in the way, which may be over by now."""
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return bool(_PASSING & {code, getattr(error.orig, "sqlstate", None)})


def reason(error: sa.exc.StatementError) -> str:
    """Give the database's own words in one line."""
    return _line(error.orig or error)


def _verdict(error: sa.exc.StatementError, file: Path | None) -> tuple[type[HeliobusError], str]:
    said = reason(error)
    if file is None:
        return SinkError, said
    lowered = said.lower()
    if any(words in lowered for words in _CLOSED):
        return _closed(file, said)
    for words, kind, text in _SQLITE:
        if words in lowered:
            return kind, text.replace("{holder}", _holder(file))
    return SinkError, said


def _without_password(text: str, place: Place) -> str:
    password = place.url.password
    return text.replace(str(password), "***") if password else text


def _closed(file: Path, said: str) -> tuple[type[HeliobusError], str]:
    """Say why SQLite cannot open or write a file; its own message does not."""
    folder = file.parent
    try:
        os.stat(folder)
    except PermissionError:
        return ConfigError, f"no permission to enter {folder}; {_permit()}"
    except OSError as error:
        # A disk that is mounted later must not be replaced by a folder of the same name.
        return SinkError, f"{folder}: {error.strerror} (is its disk mounted?)"
    if file.is_dir():
        return ConfigError, "this is a folder, expected the name of a file"
    for path in (file, folder):
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            return ConfigError, f"no permission to write {path}; {_permit()}"
    return SinkError, said


def _permit() -> str:
    return f"give it to the user that runs heliobus (id {os.geteuid()})"


def _holder(file: Path) -> str:
    """Name who holds a lock on the database, as far as /proc tells."""
    try:
        names = [f"{_program(pid)} (process {pid})" for pid in sorted(_holders(file))]
    except (OSError, ValueError, IndexError):
        names = []
    return "another process" + (f": {', '.join(names)}" if names else "")


def _holders(file: Path) -> set[int]:
    """Read lines like `1: POSIX ADVISORY WRITE 812 08:01:5242 120 120`."""
    inodes = {
        str(os.stat(path).st_ino) for path in (str(file), f"{file}-shm") if os.path.exists(path)
    }
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    locks = [row for row in rows if "WRITE" in row and "->" not in row]
    pids = {int(row[4]) for row in locks if row[5].rpartition(":")[2] in inodes}
    return {pid for pid in pids if pid > 0} - {os.getpid()}


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _line(error: BaseException) -> str:
    """Give the driver's own words in one line; PyMySQL's arguments are (code, words)."""
    text = str(error.args[-1]) if error.args else str(error)
    return " ".join(text.split()) or type(error).__name__
