"""The page of the bridge: what it tells to write is accepted, and what it quotes is said."""

import io
import json
import re
from pathlib import Path

from bridges.studer.simulator import VARIANTS
from heliobus import check
from tests.helpers import ROOT

FOLDER = ROOT / "bridges" / "studer"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
SAMPLE = (FOLDER / "sample.yaml").read_text(encoding="utf-8")
UNCOMMENTED = re.sub(r"(?m)^( +)# (?=\w+: )", r"\1", SAMPLE)


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_sample_is_accepted_with_all_that_is_commented_out(tmp_path: Path) -> None:
    file = tmp_path / "heliobus.yaml"
    file.write_text(UNCOMMENTED)
    out = io.StringIO()
    assert check.run(file, out) == 0
    assert "warning" not in out.getvalue()


def test_the_table_of_faults_quotes_what_is_said() -> None:
    cells = re.findall(r"^\| ([^|]*)\|", section("No answer?"), re.MULTILINE)[2:]
    words = [text for cell in cells for text in re.findall("`(.*?)`", cell)]
    assert len(words) > 9
    source = "".join(_texts(ROOT / "heliobus")) + "".join(_texts(FOLDER))
    assert [text for text in map(_as_written, words) if text not in source] == []


def _as_written(text: str) -> str:
    """Put back the names of what a message fills in."""
    text = re.sub(r"info 3000 of device 101 in 2 s", "{question} in {self._timeout_s:g} s", text)
    return re.sub(r"refused with error \d+ \(\w+\)", "refused with error {code} ({name})", text)


def _texts(folder: Path) -> list[str]:
    """Give the source of a folder, with texts that go on in the next line as one."""
    joined = re.compile(r'"\n\s*f?"')
    return [joined.sub("", path.read_text()) for path in sorted(folder.glob("*.py"))]


def test_every_key_is_in_the_table_of_keys() -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    keys = list(config["device"]["properties"])
    assert re.findall(r"^\| `(\w+)` \|", section("Configuration"), re.MULTILINE) == keys


def test_every_variant_is_in_the_table_of_variants() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| (.*) \|$", section("Practising without one"), re.MULTILINE
    )
    assert dict(rows) == {name: variant.title for name, variant in VARIANTS.items()}


def test_the_profiles_for_an_xcom_485i_are_there() -> None:
    named = re.findall(r"`(studer_\w+)`", PAGE)
    there = [path.stem for path in (ROOT / "bridges/modbus/profiles").glob("studer_*.yaml")]
    assert sorted(named) == sorted(there)
