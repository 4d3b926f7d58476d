"""The tables of devices in the pages are those of the profiles."""

from pathlib import Path

import pytest

from scripts import device_table
from scripts.device_table import BEGIN, END, PAGES, put
from tests.helpers import ROOT


def test_the_pages_are_current() -> None:
    assert device_table.main(["--check"]) == 0, "run make docs"


def test_a_page_that_is_not_current_is_named_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in PAGES:
        page = tmp_path / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text((ROOT / name).read_text().replace("`eastron_sdm230`", "`eastron_sdm231`"))
    assert device_table.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == "bridges/modbus/README.md is not current; run make docs\n"
    assert device_table.main([], tmp_path) == 0
    assert device_table.main(["--check"], tmp_path) == 0


def test_what_stands_around_a_table_stays() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nbetween\n{BEGIN}{END}\nafter\n"
    assert put(page, ["one", "two"], "page") == (
        f"before\n{BEGIN}\n\none\n\n{END}\nbetween\n{BEGIN}\n\ntwo\n\n{END}\nafter\n"
    )


def test_a_page_without_its_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"README\.md: found 0 times .*, not 1"):
        put("no markers", ["one"], "README.md")
