"""Files that are replaced as a whole: secrets, cursors, what the broker reads."""

import os
from pathlib import Path

import pytest

from heliobus.credentials import write_secret
from heliobus.whole_file import replace_file


def test_a_file_is_replaced_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "cursors"
    path.write_text("old, and longer")
    path.chmod(0o644)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["cursors"]


def test_what_could_not_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "cursors").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "cursors", b"new")
    assert os.listdir(tmp_path) == ["cursors"]


def test_a_secret_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secrets" / "token"
    named: list[bool] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        named.append(path.exists())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_secret(path, "geheim")
    assert named == [False, True]  # the file, then the folder with its name
    assert path.read_text() == "geheim\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_secret_that_root_writes_is_for_who_owns_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 4711, 4712)
    write_secret(tmp_path / "token", "geheim")
    status = (tmp_path / "token").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (4711, 4712, 0o600)
