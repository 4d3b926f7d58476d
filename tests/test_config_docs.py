"""docs/config.md: written from the schemas, with examples that work."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heliobus import components, config, config_docs
from heliobus.checked_yaml import FORMATS, Reader, compose
from heliobus.link import check_url

PAGE = Path(__file__).parent.parent / "docs" / "config.md"


def test_the_reference_page_is_current() -> None:
    assert config_docs.main(["--check"]) == 0, "docs/config.md is not current; run make docs"


def test_a_page_that_is_not_current_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config_docs, "PAGE", tmp_path / "config.md")
    assert config_docs.main(["--check"]) == 1
    assert capsys.readouterr().err.endswith("is not current; run make docs\n")
    assert config_docs.main([]) == 0
    assert config_docs.main(["--check"]) == 0


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))
def test_every_example_of_the_page_is_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mqtt").write_text("geheim")
    path = tmp_path / "heliobus.yaml"
    path.write_text(text if text.startswith("site:") else "site: farm\n" + text)
    config.read(path, {})


def annotated(schema: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Give place, schema and value of every example and default."""
    if isinstance(schema, dict):
        note = schema.get("heliobus", {})
        yield from ((place, schema, note[key]) for key in ("example", "default") if key in note)
        for key, below in schema.items():
            if key != "heliobus":
                yield from annotated(below, f"{place}.{key}")


def all_annotated() -> list[tuple[str, Any, Any]]:
    own = [annotated(dict(found.config), found.name) for found in components.describe()]
    return [each for found in (annotated(config.file_schema(), "file"), *own) for each in found]


def link(text: str) -> str:
    check_url(text)
    return text


@pytest.mark.parametrize(("place", "schema", "value"), all_annotated())
def test_every_example_and_default_fits_its_own_schema(place: str, schema: Any, value: Any) -> None:
    formats = {**FORMATS, "link": link}
    secrets = dict.fromkeys(("MQTT_PASSWORD", "ARCHIVE_PASSWORD", "INFLUX_TOKEN"), "x")
    reader = Reader(place, formats=formats, environ=secrets)
    node = compose(json.dumps(value), place)
    assert node is not None
    reader.root(node, schema)
    reader.finish()


def every_property() -> Iterator[tuple[str, Any]]:
    def below(schema: Any, place: str) -> Iterator[tuple[str, Any]]:
        if isinstance(schema, dict):
            for key, member in schema.get("properties", {}).items():
                yield f"{place}.{key}", member
            for key, inner in schema.items():
                yield from below(inner, f"{place}.{key}")

    yield from below(config.file_schema(), "file")
    for found in components.describe():
        yield from below(dict(found.config), found.name)


@pytest.mark.parametrize(("place", "schema"), list(every_property()))
def test_every_key_has_a_title_and_a_description(place: str, schema: Any) -> None:
    note = schema.get("heliobus", {})
    assert note.get("title"), place
    assert note.get("description", "").endswith("."), place
