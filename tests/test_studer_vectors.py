"""Recorded and documented frames of SCOM: ours, and an optional folder of further ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridges.studer import decode_line
from bridges.studer.frame import Frame, Stream, find
from heliobus.errors import FrameError
from tests.helpers import flips, further_vectors

OURS = Path(__file__).parent.parent / "bridges" / "studer" / "vectors"
FURTHER: list[dict[str, Any]] = further_vectors("studer_scom.json") or []


def _ours() -> list[dict[str, Any]]:
    return [v for path in sorted(OURS.glob("*.json")) for v in json.loads(path.read_text())]


def _frames(vector: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["direction"]: one for one in vector.get("frames", []) if "direction" in one}


EXCHANGES = [v for v in _ours() + FURTHER if {"request", "response"} <= set(_frames(v))]
SINGLES = [one for v in _ours() + FURTHER for one in _frames(v).values()]
SOUND = [one for one in SINGLES if one["checksum_ok"]]
CASES = {case["name"]: case for v in FURTHER for case in v.get("cases", [])}


def _named(vectors: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(v, id=f"{at}-{v['name'][:60]}") for at, v in enumerate(vectors)]


def _numbered(frames: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(one, id=f"{at}-{one['hex'][:24]}") for at, one in enumerate(frames)]


@pytest.mark.parametrize("vector", _named(_ours()))
def test_a_recorded_exchange_gives_exactly_its_values(vector: dict[str, Any]) -> None:
    frames = _frames(vector)
    sent, got = (bytes.fromhex(frames[way]["hex"]) for way in ("request", "response"))
    if "error" in vector:
        with pytest.raises(FrameError) as refused:
            decode_line(sent, got)
        assert vector["error"] in str(refused.value)
        return
    assert decode_line(sent, got)[0] == vector["values"]


@pytest.mark.parametrize("one", _numbered(SOUND))
def test_a_sound_frame_is_read_as_it_was_written(one: dict[str, Any]) -> None:
    frames, rest = find(bytes.fromhex(one["hex"]))
    assert rest == b""
    [frame] = frames
    said = one.get("parsed")
    if said:
        assert _parsed(frame) == {key: said[key] for key in _parsed(frame)}


def _parsed(frame: Frame) -> dict[str, Any]:
    return {
        "frame_flags": frame.flags,
        "src_addr": frame.source,
        "dst_addr": frame.target,
        "is_response": frame.is_answer,
        "is_error": frame.is_error,
        "service": {1: "read_property", 2: "write_property"}[frame.service],
        "object_type": frame.object_type,
        "object_id": frame.object_id,
        "property_id": frame.property_id,
        "property_data_hex": frame.data.hex().upper(),
    }


def test_a_frame_with_a_wrong_checksum_is_refused() -> None:
    for one in SINGLES:
        if not one["checksum_ok"]:
            assert find(bytes.fromhex(one["hex"]))[0] == []


@pytest.mark.parametrize("one", _numbered(SOUND))
def test_a_frame_may_come_in_any_pieces_and_with_anything_around_it(one: dict[str, Any]) -> None:
    data = bytes.fromhex(one["hex"])
    whole = find(data)[0]
    for cut in range(len(data)):
        stream = Stream()
        assert stream.feed(data[:cut]) + stream.feed(data[cut:]) == whole
    for before in (b"\xff", b"\0\xff", b"\r\n", b"\xaa"):
        assert find(before + data + data)[0] == whole * 2


@pytest.mark.parametrize("one", _numbered(SOUND))
def test_no_flipped_bit_gives_another_frame(one: dict[str, Any]) -> None:
    data = bytes.fromhex(one["hex"])
    whole = find(data)[0]
    for damaged in flips(data):
        assert find(damaged)[0] in ([], whole)  # CR LF behind it may be damaged


@pytest.mark.parametrize("vector", _named(EXCHANGES))
def test_every_exchange_is_decoded_or_refused_for_its_error(vector: dict[str, Any]) -> None:
    frames = _frames(vector)
    got = bytes.fromhex(frames["response"]["hex"])
    for sent in (bytes.fromhex(frames["request"]["hex"]), None):
        if frames["response"].get("parsed", {}).get("is_error") or "error" in vector:
            with pytest.raises(FrameError, match="refused with error"):
                decode_line(sent, got)
        else:
            values, units, note = decode_line(sent, got)
            assert values or note
            assert set(units) <= set(values)


@pytest.mark.skipif(not CASES, reason="there are no further vectors here")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("leading 0xFF noise byte before 0xAA", 1),
        ("header checksum flipped", 0),
        ("data checksum flipped", 0),
        ("truncated", 0),
        ("two frames back to back", 2),
        ("0xAA inside payload (float bytes AA AA 4E 42 = 51.666666)", 1),
    ],
)
def test_a_stream_gives_the_frames_that_are_sound(name: str, count: int) -> None:
    data = bytes.fromhex(CASES[name]["hex"])
    assert len(find(data)[0]) == count
    stream = Stream()
    assert sum(len(stream.feed(bytes([byte]))) for byte in data) == count
