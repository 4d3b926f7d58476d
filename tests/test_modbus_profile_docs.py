"""docs/modbus-profile.md, followed to the letter: its files, its commands, its messages."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridges.modbus import profiles
from bridges.modbus.decoding import profile_decoder
from bridges.modbus.plan import plan
from heliobus.link import open_link
from heliobus.modbus import Read, rtu
from tests.helpers import ROOT, wait_until
from tests.test_docs import blocks

PAGE = (ROOT / "docs" / "modbus-profile.md").read_text(encoding="utf-8")
BLOCKS = blocks(PAGE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the files of the page, with a port of this test."""
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(here(block.text, tmp_path), encoding="utf-8")
    return tmp_path


def here(text: str, folder: Path) -> str:
    return text.replace("/tmp/meter", f"{folder}/meter")


def typed(begin: str) -> str:
    """Give the only command of the page that begins so."""
    found = [b.text for b in BLOCKS if b.kind == "sh" and b.text.startswith(begin)]
    assert len(found) == 1, (begin, found)
    return found[0]


def shown(kind: str, word: str) -> list[str]:
    """Give the lines of the only block of this kind with this word that is not a file."""
    found = [b.text for b in BLOCKS if b.kind == kind and not b.file and word in b.text]
    assert len(found) == 1, (kind, word, found)
    return found[0].splitlines()


def command(text: str, folder: Path) -> "subprocess.Popen[str]":
    text = here(text, folder).replace("heliobus ", f"exec '{sys.executable}' -m heliobus ", 1)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        ["sh", "-c", text.replace("|\n  exec", "|")],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(text: str, folder: Path) -> tuple[int, str, str]:
    process = command(text, folder)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_page_s_own_configuration_passes(folder: Path) -> None:
    status, out, err = ran(typed("heliobus check"), folder)
    assert (status, err) == (0, "")
    assert "bridge meters: modbus, pump every 2 s" in out


def test_a_mistake_is_told_as_the_page_shows(folder: Path) -> None:
    profile = folder / "ddm18sd.yaml"
    profile.write_text(profile.read_text().replace("power_w", "pover_w"))
    status, _, err = ran(typed("heliobus check"), folder)
    assert status == 78
    (told,) = shown("text", "pover_w")
    assert told in err.replace(f"{folder}/heliobus", "heliobus").replace(f"{folder}", "/home/you")


def test_the_simulated_meter_answers_on_the_port_of_the_page(folder: Path) -> None:
    process = command(typed("heliobus sim"), folder)
    try:
        wait_until((folder / "meter").exists, "the port")
        link = open_link(f"serial://{folder}/meter?baud=9600")
        link.write(rtu(1, Read(unit=1, function=4, start=0, count=2).pdu))
        got = b""
        while len(got) < 9 and (more := link.read(5.0)):
            got += more
        link.close()
        assert got.startswith(bytes.fromhex("01 04 04 43"))  # 128 to 512 V as a float
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_the_captured_pair_decodes_as_the_page_shows(folder: Path) -> None:
    status, out, _ = ran(typed("echo"), folder)
    (expected,) = shown("json", "voltage_v")
    assert (status, out.strip()) == (0, expected)
    request, response = (line.split("x ")[1] for line in shown("text", "meters: serial"))
    assert f'"request": "{request}", "response": "{response}"' in typed("echo")


def test_the_bytes_that_the_page_shows_are_those_of_its_bridge(folder: Path) -> None:
    profile = profiles.load("./ddm18sd.yaml", beside=folder)
    most = int(re.findall(r"add `max_registers: (\d+)`", PAGE)[0])
    first = plan(profile.rows, most=most, gaps=profile.gaps, align=profile.align)[0]
    asked = rtu(1, Read(1, first.function, first.start, first.count).pdu)
    assert shown("text", "meters: serial")[0].endswith(f" tx {asked.hex(' ')}")


def test_the_vector_of_the_page_is_one(folder: Path) -> None:
    (vector,) = json.loads((folder / "vectors.json").read_text())
    answer = profile_decoder(f"{folder}/{vector['profile']}.yaml")(vector)
    assert answer["values"] == vector["values"]


def test_the_registers_of_the_manual_are_those_of_the_profile(folder: Path) -> None:
    profile = profiles.load("./ddm18sd.yaml", beside=folder)
    numbers = [int(number) for number in re.findall(r"^\| (3\d{4}) \|", PAGE, re.MULTILINE)]
    assert sorted(row.at for row in profile.rows) == [number - 30001 for number in numbers]
