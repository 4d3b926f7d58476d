"""The reference of topics is current, complete, and its examples are true."""

import json
import re
from pathlib import Path

import pytest

from heliobus import contract, docs
from heliobus.contract import schemas_folder
from heliobus.errors import ConfigError
from heliobus.sample import RESERVED
from heliobus.topics import Topics

CONTRACT = contract.load()
PAGE = Path(docs.__file__).parent.parent / "docs" / "topics.md"
TEXT = docs.render_topics(CONTRACT)
EXAMPLES = [stem for stem, _ in docs.EXAMPLES]


def test_the_page_in_docs_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == TEXT, "run python -m heliobus.docs topics"
    assert docs.main(["topics", "--check"]) == 0


@pytest.mark.parametrize("arguments", [["nonsense"], ["topics", "--chek"]])
def test_a_wrong_argument_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="expected topics --check"):
        docs.main(arguments)


def test_every_field_of_every_kind_is_on_the_page() -> None:
    for kind in CONTRACT.kinds.values():
        section = TEXT.split(f"(`{kind.name}`)\n", 1)[1].split("\n### ", 1)[0]
        rows = re.findall(r"^\| `([a-z0-9_]+)`", section, re.MULTILINE)
        singles = [name for name in rows if name in CONTRACT.fields]
        assert sorted(singles) == sorted(kind.fields)
        assert len(rows) == len(kind.fields) + len(kind.families)


def test_every_key_of_every_message_is_on_the_page() -> None:
    for name in docs.MESSAGES:
        section = TEXT.split(f"(`{name}`)\n", 1)[1].split("\n### ", 1)[0]
        assert all(f"| `{key}` |" in section for key in CONTRACT.schema(name)["properties"])


def test_every_table_has_rows_of_one_width() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        assert len({line.count(" | ") for line in table.splitlines()}) == 1


def test_the_envelope_is_the_list_of_reserved_names() -> None:
    assert set(CONTRACT.schema("state")["properties"]) == RESERVED


def test_every_example_is_on_the_page() -> None:
    files = (schemas_folder() / "examples").glob("*.json")
    assert sorted(EXAMPLES) == sorted(path.stem for path in files)
    for stem in EXAMPLES:
        topic, payload = docs.read_example(stem)
        assert f"on `{topic}`:" in TEXT
        if not isinstance(payload, str):
            assert json.dumps(payload, indent=2, ensure_ascii=False) in TEXT


def test_every_topic_has_an_example() -> None:
    shown = {Topics("farm").parse(docs.read_example(stem)[0]) for stem in EXAMPLES}
    assert None not in shown
    leaves = {address.leaf for address in shown if address is not None}
    listed = re.findall(r"^\| `heliobus/<site>/([^`]+)`", TEXT, re.MULTILINE)
    assert leaves == {topic.replace("/<issuer>", "").rsplit("/", 1)[1] for topic in listed}


@pytest.mark.parametrize("stem", EXAMPLES)
def test_an_example_is_a_legal_message(stem: str) -> None:
    topic, payload = docs.read_example(stem)
    address = Topics("farm").parse(topic)
    assert address is not None
    if address.leaf == "availability":
        assert payload in ("online", "offline")
        return
    name = {"state": payload.get("kind"), "set": "command"}.get(address.leaf, address.leaf)
    assert CONTRACT.check(name, payload) is None
    for sample in payload.get("samples", ()):
        assert CONTRACT.check(sample["kind"], sample) is None


def test_the_fields_of_the_info_example_are_told_as_the_contract_tells_them() -> None:
    _, info = docs.read_example("info")
    assert info["contract"] == CONTRACT.version
    for name, told in info["fields"].items():
        field = CONTRACT.field(info["kind"], name)
        assert field is not None
        assert all(getattr(field, key) == told[key] for key in told if key != "every_s")
