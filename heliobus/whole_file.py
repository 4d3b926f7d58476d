"""A small file, replaced as a whole: it is the old one or the new one, whatever happens."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, *, owner: tuple[int, int] | None = None) -> None:
    """Write a file that only its owner may read; on return it is on the disk. Raise OSError.

    `owner`: user and group, None for who we are.
    """
    # The name is a new one each time: two processes may write the same file.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
