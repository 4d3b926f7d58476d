"""Line protocol: what is written is what a strict reader gets back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliobus.errors import FrameError
from sinks.influx.lines import line
from tests.influx_standin import BadLine, read_line

TIME_MS = 1_795_255_200_123


@pytest.mark.parametrize(
    ("tags", "fields", "written"),
    [
        ({"site": "farm", "device": "bank"}, {"battery_v": 52.5}, b"kind,device=bank,site=farm"
         b" battery_v=52.5 1795255200123"),
        ({}, {"cycles": 12}, b"kind cycles=12.0 1795255200123"),
        ({}, {"on": True, "off": False}, b"kind on=1.0,off=0.0 1795255200123"),
        ({}, {"a": 1e22, "b": -1e-7}, b"kind a=1e+22,b=-1e-07 1795255200123"),
        ({"a b": "x,y=z"}, {"c": 1.0}, rb"kind,a\ b=x\,y\=z c=1.0 1795255200123"),
        ({"empty": ""}, {"c": 1.0}, b"kind c=1.0 1795255200123"),
        ({}, {"text": 'say "a\\b", c=d'}, rb'kind text="say \"a\\b\", c=d" 1795255200123'),
        ({}, {"text": "two\r\nlines"}, b'kind text="two  lines" 1795255200123'),
        ({"serial": "a\\"}, {"c": 1.0}, b"kind,serial=a/ c=1.0 1795255200123"),
        ({}, {"text": "grün"}, 'kind text="grün" 1795255200123'.encode()),
    ],
)  # fmt: skip
def test_a_line_is_written_as_the_reference_says(
    tags: dict[str, str], fields: dict[str, float | str], written: bytes
) -> None:
    assert line("kind", tags, fields, TIME_MS) == written


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(FrameError, match=r"battery_v: found .+, expected a finite number"):
        line("battery", {}, {"battery_v": value}, TIME_MS)


@pytest.mark.parametrize(("name", "fields"), [("battery", {}), ("", {"a": 1.0}), ("#", {"a": 1.0})])
def test_a_line_of_nothing_is_refused(name: str, fields: dict[str, float | str]) -> None:
    with pytest.raises(FrameError, match="expected a name and at least one field"):
        line(name, {}, fields, TIME_MS)


# What a publisher may send: no control characters but line breaks, no half of a pair.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.just("\n"))
NAMES = TEXT.filter(lambda text: text.strip("\n") != "")


@given(
    tags=st.dictionaries(NAMES, TEXT, max_size=3),
    fields=st.dictionaries(
        NAMES, TEXT | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4
    ),
    time_ms=st.integers(-(10**13), 10**13),
)
def test_a_strict_reader_gets_back_what_was_written(
    tags: dict[str, str], fields: dict[str, float | str], time_ms: int
) -> None:
    def named(text: str) -> str:
        return text.replace("\\", "/").replace("\n", " ")

    written = line("kind", tags, fields, time_ms).decode()
    assert "\n" not in written
    known = {named(k): named(v) for k, v in sorted(tags.items()) if v}
    if len(known) < len([v for v in tags.values() if v]) or list(known) != sorted(known):
        return  # two names that differ in a backslash or a line break only
    values = {
        named(k): v.replace("\n", " ") if isinstance(v, str) else v for k, v in fields.items()
    }
    assert read_line(written) == ("kind", known, values, time_ms)


@pytest.mark.parametrize(
    "text",
    [
        "kind",
        "kind a=1.0",
        "kind a= 1",
        "kind =1.0 1",
        "kind a=nan 1",
        'kind a="open 1',
        "kind,b=1,a=2 c=1.0 1",
        "kind,a= c=1.0 1",
        "kind a=1.0 1.5",
        "#kind a=1.0 1",
    ],
)
def test_the_stand_in_reads_no_bad_line(text: str) -> None:
    with pytest.raises(BadLine):
        read_line(text)
