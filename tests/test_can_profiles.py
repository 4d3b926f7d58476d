"""Profiles of CAN devices: what a file becomes, and what is told of its mistakes."""

import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridges.can import profiles
from bridges.can.codec import decode
from bridges.can.frames import EXTENDED, Field, Guard, Message, Profile
from heliobus.catalogue import list_components
from heliobus.errors import ConfigError
from tests.helpers import ROOT

HEAD = """\
maker: Acme
models: [B1]
kind: battery
source: [a document]
verified: document
"""
FIRST = HEAD.count("\n") + 4  # the line of the first row of `rows`

Write = Callable[..., Profile]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Give what writes files and loads the first of them."""
    monkeypatch.chdir(tmp_path)

    def load(text: str, **others: str) -> Profile:
        Path("mine.yaml").write_text(text)
        for name, other in others.items():
            Path(f"{name}.yaml").write_text(other)
        return profiles.load("mine.yaml", beside=Path())

    return load


def rows(*written: str, top: str = "", message: str = "") -> str:
    """Give a file with one message; its first row is in line FIRST, if nothing else is said."""
    lines = "".join(f"      - {one}\n" for one in written)
    return f"{HEAD}{top}messages:\n  0x355:\n{message}    fields:\n{lines}"


def faults(load: Write, text: str, **others: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **others)
    return str(caught.value).splitlines()


SOC = "{name: soc_percent, type: u16}"


# ---------------------------------------------------------------------- what becomes of it


def test_a_file_becomes_a_profile(write: Write) -> None:
    found = write(
        rows(
            "{name: soc_percent, type: u16, invalid: [0xFFFF]}",
            "{name: soc_hires_percent, at: 4, type: u16, scale: 0.01, min_dlc: 8,"
            " guard: {of: soc_percent, within: 1}}",
            "{name: battery_c, at: 2, type: s16, scale: 0.1, add: -273, abs: true,"
            " min: -40, max: 80}",
            "{name: charging, type: bit, at: 7, bit: 3}",
            "{name: alarms, type: bits, length: 2, texts: {0: low, 0xF: high}}",
            message="    min_dlc: 4\n    order: big\n    max_age: 1m\n",
            top="bitrate: 250000\ncaveats: [{text: beware, link: 'https://example.org'}]\n"
            "dialects: [{text: this one, ids: ['0x355']}]\n",
        )
    )
    assert (found.name, found.maker, found.models, found.kind) == (
        *("mine", "Acme", ("B1",), "battery"),
    )
    assert found.bitrate == 250_000
    assert [(one.text, one.link) for one in found.caveats] == [("beware", "https://example.org")]
    assert [(one.text, one.ids) for one in found.dialects] == [("this one", (0x355,))]
    assert found.messages == {
        0x355: Message(
            0x355,
            (
                Field("soc_percent", 0, "u16", 2, invalid=frozenset({0xFFFF})),
                Field(
                    *("soc_hires_percent", 4, "u16", 2),
                    scale=Decimal("0.01"),
                    guard=Guard("soc_percent", Decimal(1)),
                    min_dlc=8,
                ),
                Field(
                    *("battery_c", 2, "s16", 2),
                    scale=Decimal("0.1"),
                    add=Decimal(-273),
                    is_absolute=True,
                    least=-40,
                    most=80,
                ),
                Field("charging", 7, "bit", 1, bit=3),
                Field("alarms", 0, "bits", 2, texts={0: "low", 15: "high"}),
            ),
            min_dlc=4,
            is_big=True,
            max_age_s=60.0,
        )
    }


def test_what_is_not_said_is_usual(write: Write) -> None:
    found = write(rows(SOC))
    message = found.messages[0x355]
    assert (found.bitrate, message.max_age_s, message.is_big) == (500_000, 10.0, False)


def test_order_and_age_of_the_file_are_those_of_its_messages(write: Write) -> None:
    message = write(rows(SOC, top="order: big\nmax_age: 30s\n")).messages[0x355]
    assert (message.is_big, message.max_age_s) == (True, 30.0)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("0x355", 0x355),
        ("355", 0x355),
        ("0x7FF", 0x7FF),
        ("0x00000355", 0x355 | EXTENDED),
        ("0x18FF50E5", 0x18FF50E5 | EXTENDED),
        ("18ff50e5", 0x18FF50E5 | EXTENDED),
    ],
)
def test_an_identifier_is_hexadecimal_and_of_29_bits_with_eight_digits(
    write: Write, word: str, number: int
) -> None:
    assert list(write(rows(SOC).replace("0x355", word)).messages) == [number]


# ---------------------------------------------------------------------- one file on another


BASE = rows(SOC) + "  0x356:\n    fields:\n      - {name: battery_v, type: u16, scale: 0.01}\n"


def test_a_file_takes_what_it_does_not_say_from_the_one_it_extends(write: Write) -> None:
    own = "extends: ./base.yaml\nmaker: Mine\nmessages:\n  0x356:\n    fields:\n"
    found = write(f"{own}      - {{name: battery_v, type: u16, scale: 0.1}}\n", base=BASE)
    assert (found.maker, found.models, list(found.messages)) == ("Mine", ("B1",), [0x356, 0x355])
    assert decode(found, {0x356: b"\x0a\x02", 0x355: b"\x32\x00"}) == {
        "battery_v": 52.2,
        "soc_percent": 50,
    }


def test_a_file_leaves_out_what_it_does_not_want(write: Write) -> None:
    found = write("extends: ./base.yaml\nwithout: ['0x356']\n", base=BASE)
    assert list(found.messages) == [0x355]


def test_the_order_of_bytes_of_a_file_does_not_turn_those_of_another(write: Write) -> None:
    own = "extends: ./base.yaml\norder: big\nmessages:\n  0x100:\n    fields:\n"
    found = write(f"{own}      - {{name: battery_a, type: s16}}\n", base=BASE)
    assert [found.messages[one].is_big for one in (0x100, 0x355)] == [True, False]


def test_a_path_begins_at_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.yaml").write_text("extends: ./base.yaml\n")
    (tmp_path / "mine/base.yaml").write_text(BASE)
    assert profiles.load("mine/own.yaml", beside=tmp_path).maker == "Acme"


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            "{name: soc_percnt, type: u16}",
            ".name: 'soc_percnt' is not a field of kind battery; did you mean 'soc_percent'?",
        ),
        ("{name: zzz, type: u16}", ".name: 'zzz' is not a field of kind battery"),
        ("{name: pv_w, type: u16}", ".name: 'pv_w' is a field, but not of kind battery"),
        (
            "{name: soc_percent, type: ascii}",
            ".type: found 'ascii', but soc_percent is a number; expected u16, s16 or the like",
        ),
        (
            "{name: alarms, type: u16}",
            ".type: found 'u16', but alarms is a list of texts; expected bits or pair2",
        ),
        (
            "{name: charging, type: bits, texts: {0: a}}",
            ".type: found 'bits', but charging is true or false; expected bit",
        ),
        (
            "{name: soc_percent, at: 7, type: u16}",
            ".at: ends at byte 8, but a frame has at most 8, from 0 to 7",
        ),
        (
            "{name: alarms, type: bits, length: 8, at: 1, texts: {0: a}}",
            ".at: ends at byte 8, but a frame has at most 8, from 0 to 7",
        ),
        ("{name: charging, type: bit}", ": 'bit' is missing; say which bit of the byte it is,"),
        ("{name: alarms, type: bits}", ": 'texts' is missing; say what its bits mean"),
        (
            "{name: alarms, type: bits, texts: {8: a}}",
            ".texts.8: found '8', expected a whole number from 0 to 7",
        ),
        (
            "{name: alarms, type: pair2, texts: {4: a}}",
            ".texts.4: found '4', expected a whole number from 0 to 3",
        ),
        (
            "{name: alarms, type: bits, texts: {1: a, 0x1: b}}",
            ".texts.0x1: the number 1 is there twice; delete one",
        ),
        (
            "{name: soc_percent, type: u16, bit: 3}",
            ".bit: goes with type: bit, not with u16",
        ),
        (
            "{name: charging, type: bit, bit: 3, scale: 2}",
            ".scale: goes with type: u16, s16 or the like, not with bit",
        ),
        ("{name: soc_percent, type: u16, scale: 0}", ".scale: found 0, expected another number"),
        (
            "{name: cycles, type: u16, scale: 0.5}",
            ".scale: cycles is a whole number, which cannot have parts",
        ),
        (
            "{name: soc_percent, type: u8, invalid: [0xFF, 256]}",
            ".invalid[1]: found 256, expected the number without sign, at most 255",
        ),
        ("{name: soc_percent, type: u8, min: 2, max: 1}", ".min: found 2, which is above max 1"),
        (
            "{name: soc_percent, type: u8, guard: {of: soc_percent, within: 1}}",
            ".guard.of: 'soc_percent' is no number of this message above it",
        ),
    ],
)
def test_a_mistake_in_a_row_is_told_where_it_stands(write: Write, row: str, told: str) -> None:
    (line,) = faults(write, rows(row))
    assert line.startswith(f"mine.yaml:{FIRST}: messages.0x355.fields[0]{told}")


def test_a_field_stands_once_in_a_message(write: Write) -> None:
    (line,) = faults(write, rows(SOC, SOC))
    told = "messages.0x355.fields[1].name: 'soc_percent' is there twice; delete one"
    assert line == f"mine.yaml:{FIRST + 1}: {told}"


def test_every_mistake_is_told_at_once(write: Write) -> None:
    text = rows(
        "{name: soc_percnt, type: u16}", "{name: charging, type: bit}", top="kind: batery\n"
    )
    text = text.replace("kind: battery\n", "", 1)
    assert faults(write, text) == [
        "mine.yaml:5: kind: 'batery' is not known; did you mean 'battery'?",
        "mine.yaml:10: messages.0x355.fields[1]: 'bit' is missing; say which bit of the byte it is,"
        " 0 the lowest",
    ]


@pytest.mark.parametrize("word", ["0x35", "0x3555", "0x800", "0xFFFFFFFF", "35Z", "hello"])
def test_what_is_no_identifier_is_told(write: Write, word: str) -> None:
    (line,) = faults(write, rows(SOC).replace("0x355", word))
    told = "expected an identifier such as 0x351; of 29 bits with eight digits"
    assert line == f"mine.yaml:7: messages.{word}: found '{word}', {told}"


@pytest.mark.parametrize(
    ("top", "told"),
    [
        (
            "dialects: [{text: a, ids: ['0x111']}]\n",
            "mine.yaml:6: dialects[0].ids[0]: '0x111' is not one of its messages",
        ),
        (
            "without: ['0x111']\n",
            "mine.yaml:6: without[0]: '0x111' is not a message of what it extends",
        ),
    ],
)
def test_a_message_that_is_not_there_cannot_be_named(write: Write, top: str, told: str) -> None:
    assert faults(write, rows(SOC, top=top)) == [told]


def test_one_message_has_one_place(write: Write) -> None:
    text = rows(SOC) + "  '355':\n    fields: []\n"
    (line,) = faults(write, text)
    assert line == "mine.yaml:10: messages.355: the identifier 355 is there twice"


def test_a_profile_has_a_message(write: Write) -> None:
    (line,) = faults(write, f"{HEAD}messages: {{}}\n")
    assert line == "mine.yaml:6: messages: has no message; write one at least"


def test_a_file_that_extends_itself_is_told(write: Write) -> None:
    (line,) = faults(write, "extends: ./mine.yaml\n")
    assert line == "mine.yaml:1: extends: mine.yaml extends itself"


def test_a_mistake_in_the_file_that_is_extended_is_told_there(write: Write) -> None:
    (line,) = faults(write, "extends: ./base.yaml\n", base=BASE.replace("battery_v", "batery_v"))
    assert line.startswith("base.yaml:12: messages.0x356.fields[0].name: 'batery_v' is not a field")


def test_a_name_that_is_not_known_is_guessed() -> None:
    with pytest.raises(ConfigError) as caught:
        profiles.load("pylontec_lv", beside=Path())
    assert str(caught.value) == "profile: 'pylontec_lv' is not known; did you mean 'pylontech_lv'?"


# ---------------------------------------------------------------------- those that come with us


NAMES = profiles.names()


def test_the_profiles_are_these() -> None:
    assert NAMES == ["discover", "pylon_v2", "pylontech_lv", "sma_lv", "victron_lv"]


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_may_be_extended_by_one_s_own(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"extends: {name}\n")
    own = profiles.load("./own.yaml", beside=tmp_path)
    assert own.messages == profiles.load(name, beside=tmp_path).messages


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_is_read_and_names_its_sources(name: str) -> None:
    found = profiles.load(name, beside=Path("/nowhere"))
    assert found.name == name
    assert found.source
    assert found.models


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_an_explicit_profile_reads_370_to_377(name: str) -> None:
    """They mean different things with different makers."""
    messages = profiles.load(name, beside=Path()).messages
    reads = bool(messages.keys() & set(range(0x370, 0x378)))
    assert reads == (name in {"discover", "pylon_v2", "victron_lv"})


@pytest.mark.parametrize("name", NAMES)
def test_no_limit_is_judged_by_its_size(name: str) -> None:
    """Limits grow with the number of modules."""
    for message in profiles.load(name, beside=Path()).messages.values():
        for row in message.fields:
            if "_limit_" in row.name:
                assert (row.least, row.most) == (None, None)


@pytest.mark.parametrize("name", NAMES)
def test_every_current_limit_loses_its_sign(name: str) -> None:
    rows = [
        row for one in profiles.load(name, beside=Path()).messages.values() for row in one.fields
    ]
    limits = [row for row in rows if row.name.endswith("_limit_a")]
    assert len(limits) == 2
    assert all(row.is_absolute for row in limits)


def test_the_list_shows_each_with_its_makers() -> None:
    out = io.StringIO()
    list_components(out)
    assert "    profile pylontech_lv: Pylontech US2000, US3000, US5000\n" in out.getvalue()
    assert "    profile discover: Discover AES with a Lynx II gateway\n" in out.getvalue()


def test_what_comes_with_heliobus_is_read_once_for_all_devices() -> None:
    one, other = (profiles.load("pylontech_lv", beside=Path(place)) for place in ("/a", "/b"))
    assert one is other


# ---------------------------------------------------------------------- the schema


SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas/can_profile.json").read_text())


def test_every_example_of_the_schema_makes_a_profile(tmp_path: Path) -> None:
    def example(schema: dict[str, Any]) -> Any:
        return schema["heliobus"]["example"]

    top = {
        key: example(one)
        for key, one in SCHEMA["properties"].items()
        if "example" in one["heliobus"]
    }
    del top["extends"], top["without"]
    top["kind"] = "battery"
    top["messages"] = {"0x355": top["messages"]["0x355"], "0x359": {"fields": []}}
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(top))
    assert profiles.load("whole.yaml", beside=tmp_path).bitrate == 250_000
