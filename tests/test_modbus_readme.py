"""The page of the bridge: what it quotes is said, and all keys are told."""

import re
from pathlib import Path

from tests.helpers import ROOT

PAGE = (ROOT / "bridges" / "modbus" / "README.md").read_text(encoding="utf-8")


def test_the_table_of_faults_quotes_what_is_said() -> None:
    section = PAGE.partition("## No answer?")[2].partition("\n## ")[0]
    quoted = re.findall(r"^\| ([^|]*)\|", section, re.MULTILINE)[2:]
    words = [text for cell in quoted for text in re.findall("`(.*?)`", cell)]
    assert len(words) > 12
    source = "".join(_texts(ROOT / "heliobus")) + "".join(_texts(ROOT / "bridges" / "modbus"))
    assert [text for text in map(_as_written, words) if text not in source] == []


def _as_written(text: str) -> str:
    """Put back the names of what a message fills in."""
    text = re.sub("RTU frames|the frames of Modbus TCP", "{frames}", text)
    return text.replace("1 s", "{timeout_s:g} s")


def _texts(folder: Path) -> list[str]:
    """Give the source of a folder, with texts that go on in the next line as one."""
    joined = re.compile(r'"\n\s*f?"')
    return [joined.sub("", path.read_text()) for path in sorted(folder.glob("*.py"))]


def test_every_key_is_in_the_table_of_keys() -> None:
    section = PAGE.partition("## Configuration")[2].partition("\n## ")[0]
    config = (ROOT / "bridges" / "modbus" / "config.json").read_text()
    keys = re.findall(r'^      "(\w+)": \{$', config, re.MULTILINE)
    assert len(keys) == 10
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == keys
