"""Files as a whole: replaced by a new one, or set aside under another name."""

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, *, owner: tuple[int, int] | None = None) -> None:
    """Write a file that only its owner may read; on return it is on the disk. Raise OSError.

    `owner`: user and group, None for who we are.
    """
    import tempfile  # most processes never write such a file

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


def free_name(path: Path) -> Path:
    """Give the name under which a damaged file is to be kept: one that nobody has yet."""
    number = 1
    while (other := path.with_suffix(f".damaged-{number}")).exists():
        number += 1
    return other
