"""The page of the bridge: what it tells to write is accepted, and what it quotes is said."""

import io
import re
from pathlib import Path

import pytest

from bridges.modbus import profiles
from heliobus import check
from tests.helpers import ROOT

PAGE = (ROOT / "bridges" / "modbus" / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SAMPLE = (ROOT / "bridges" / "modbus" / "sample.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", [SAMPLE, *EXAMPLES], ids=range(1 + len(EXAMPLES)))
def test_every_example_is_a_configuration_without_a_fault(example: str, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mqtt").write_text("secret\n")
    (tmp_path / "secrets" / "mqtt").chmod(0o600)
    (tmp_path / "profiles").mkdir()
    own = (profiles.folder() / "eastron_sdm120.yaml").read_text()
    (tmp_path / "profiles" / "my_meter.yaml").write_text(own)
    file = tmp_path / "heliobus.yaml"
    file.write_text(example if "site:" in example else "site: farm\n" + example)
    out = io.StringIO()
    assert check.run(file, out) == 0
    assert "warning" not in out.getvalue()


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
