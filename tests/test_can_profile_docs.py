"""docs/can-profile.md, followed to the letter: its files, its commands, its messages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridges.can import profiles
from tests.can_vectors import answer
from tests.helpers import ROOT
from tests.test_docs import Block, blocks

PAGE = (ROOT / "docs" / "can-profile.md").read_text(encoding="utf-8")
BLOCKS = blocks(PAGE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the files of the page."""
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    return tmp_path


def shown_after(typed: str) -> tuple[str, list[str]]:
    """Give the only command that begins so, and the lines of the block that follows it."""
    (index,) = [
        index
        for index, block in enumerate(BLOCKS)
        if block.kind == "sh" and block.text.startswith(typed)
    ]
    following: Block = BLOCKS[index + 1]
    return BLOCKS[index].text, following.text.splitlines()


def ran(command: str, folder: Path) -> tuple[int, list[str], list[str]]:
    text = command.replace("heliobus ", f"'{sys.executable}' -m heliobus ", 1)
    done = subprocess.run(
        ["sh", "-c", text],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_frames_without_a_profile_are_told_as_the_page_shows(folder: Path) -> None:
    command, shown = shown_after("heliobus decode can battery.log")
    status, out, _ = ran(command, folder)
    assert (status, out[:1]) == (0, shown)
    assert len(out) == 5


def test_each_line_decodes_as_the_page_shows(folder: Path) -> None:
    command, shown = shown_after("heliobus decode can --profile")
    status, out, _ = ran(command, folder)
    assert (status, out[:3]) == (0, shown)


def test_frames_together_decode_as_the_page_shows(folder: Path) -> None:
    command, shown = shown_after("echo")
    assert ran(command, folder)[:2] == (0, shown)


def test_the_page_s_own_configuration_passes(folder: Path) -> None:
    command, _ = shown_after("heliobus check")
    status, out, err = ran(command, folder)
    assert (status, err) == (0, [])
    assert "  bridge packs: can, battery every 5 s on can:socketcan/can0" in out


def test_a_mistake_is_told_as_the_page_shows(folder: Path) -> None:
    profile = folder / "acme.yaml"
    profile.write_text(profile.read_text().replace("battery_v", "batery_v"))
    command, shown = shown_after("heliobus check")
    status, _, err = ran(command, folder)
    assert status == 78
    told = [line.replace(f"{folder}/heliobus", "heliobus") for line in err]
    assert [line.replace(f"{folder}", "/home/you") for line in told] == shown


def test_the_vector_of_the_page_is_one(folder: Path) -> None:
    (vector,) = json.loads((folder / "vectors.json").read_text())
    found = answer({"frames": vector["frames"]}, profile=f"{folder}/{vector['profile']}.yaml")
    assert found["values"] == vector["values"]


def test_the_page_names_every_profile() -> None:
    assert [name for name in profiles.names() if f"`{name}`" not in PAGE] == []
