"""Samples: what is written is read back, and nothing malformed is let in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliobus.errors import FrameError
from heliobus.sample import (
    LAST_MS,
    Sample,
    dumps,
    load_object,
    loads,
    parse_sample,
    time_ms,
    time_text,
)

TEXT = "2026-11-21T10:15:30.123Z"
MS = 1795256130123


def test_a_sample_is_the_flat_object_of_the_contract() -> None:
    sample = Sample(
        site="farm",
        bridge="bms",
        device="pack",
        kind="battery",
        time_ms=MS,
        prev_ms=MS - 5002,
        values={"battery_v": 52.71, "alarms": ["cold"], "charging": True},
        marks={"simulated": True},
    )
    assert sample.payload() == (
        b'{"time":"2026-11-21T10:15:30.123Z","prev":"2026-11-21T10:15:25.121Z","kind":"battery",'
        b'"bridge":"bms","simulated":true,"battery_v":52.71,"alarms":["cold"],"charging":true}'
    )
    assert parse_sample("farm", "pack", sample.payload()) == sample


def test_the_first_of_a_chain_says_so_and_a_stranger_names_no_bridge() -> None:
    body = b'{"time":"2026-11-21T10:15:30.123Z","prev":null,"kind":"meter","power_w":1}'
    sample = parse_sample("farm", "grid", body)
    assert (sample.bridge, sample.prev_ms) == (None, None)
    assert sample.payload() == body


@given(st.integers(min_value=-62135596800000, max_value=LAST_MS))
def test_every_time_is_written_and_read_to_the_millisecond(ms: int) -> None:
    text = time_text(ms)
    assert len(text) == len(TEXT)
    assert time_ms(text) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        (TEXT, MS),
        ("2026-11-21T10:15:30.123999Z", MS),
        ("2026-11-21T11:15:30.123+01:00", MS),
        ("2026-11-21 10:15:30.123+00:00", MS),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_other_ways_to_write_a_time_are_understood(text: str, ms: int) -> None:
    assert time_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        None, 1795256130, "", "now", "2026-11-21", "2026-11-21T10:15:30", "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999-12:00",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(FrameError, match=r"^time: found "):
        time_ms(text)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"NaN", b'{"a":Infinity}', b'{"a":-Infinity}', b"\xff", b"[" * 100_000],
)
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError, match=r"^not JSON: "):
        loads(payload)


@pytest.mark.parametrize("payload", [b"[]", b"7", b"null", b'"x"'])
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError, match="expected a JSON object"):
        load_object(payload)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": object()}, "\ud800"])
def test_what_json_cannot_say_is_not_written(value: object) -> None:
    with pytest.raises(FrameError, match="cannot be written as JSON"):
        dumps(value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_noise_is_no_sample(payload: bytes) -> None:
    with pytest.raises(FrameError):
        parse_sample("farm", "pack", payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "time": st.just(TEXT) | JSON,
            "prev": st.just(TEXT) | st.none() | JSON,
            "kind": st.just("meter") | JSON,
            "bridge": st.just("bms") | JSON,
            "power_w": JSON,
        },
    )
)
def test_any_envelope_gives_a_sound_sample_or_a_frame_error(body: dict[str, object]) -> None:
    try:
        sample = parse_sample("farm", "pack", body)
    except FrameError:
        return
    assert time_ms(time_text(sample.time_ms)) == sample.time_ms
    assert sample.bridge is None or sample.bridge.isascii()
    assert set(sample.values) <= {"power_w"}
