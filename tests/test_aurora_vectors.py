"""Recorded answers of Aurora inverters: ours, and an optional folder of further ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridges.aurora import decode_line
from bridges.aurora.frame import take_answer
from heliobus.errors import FrameError
from tests.helpers import flips, further_vectors

OURS = Path(__file__).parent.parent / "bridges" / "aurora" / "vectors"


def _named(vectors: list[Any]) -> list[Any]:
    return [pytest.param(v, id=f"{at}-{v['name']}") for at, v in enumerate(vectors)]


def _bytes(hexadecimal: str | None) -> bytes | None:
    return bytes.fromhex(hexadecimal) if hexadecimal else None


RECORDED = [v for path in sorted(OURS.glob("*.json")) for v in json.loads(path.read_text())]
FURTHER = further_vectors("aurora.json") or []
ANSWERS = [v for v in RECORDED + FURTHER if v["response_hex"]]
SOUND = [v for v in ANSWERS if v.get("crc_ok", "CRC" not in (v.get("reason") or ""))]


@pytest.mark.parametrize("vector", _named(RECORDED))
def test_a_recorded_answer_gives_exactly_its_values(vector: dict[str, Any]) -> None:
    asked, response = _bytes(vector["request_hex"]), bytes.fromhex(vector["response_hex"])
    if vector["values"] is None:
        with pytest.raises(FrameError) as refused:
            decode_line(asked, response)
        assert vector["reason"] in str(refused.value)
    else:
        assert decode_line(asked, response)[0] == vector["values"]


@pytest.mark.parametrize("vector", _named(SOUND))
def test_every_answer_can_come_in_any_pieces(vector: dict[str, Any]) -> None:
    whole = bytes.fromhex(vector["response_hex"])
    taken = take_answer(whole)
    assert taken == (whole[:6], 8)
    for cut in range(8):
        assert take_answer(whole[:cut]) is None
    for after in (b"\0", whole, b"\xff" * 9):
        assert take_answer(whole + after) == taken
    for before in (b"\0", b"\xff", b"\r\n"):
        with pytest.raises(FrameError):
            take_answer(before + whole)


@pytest.mark.parametrize("vector", _named(SOUND))
def test_no_answer_with_a_flipped_bit_is_taken(vector: dict[str, Any]) -> None:
    whole = bytes.fromhex(vector["response_hex"])
    asked = _bytes(vector["request_hex"])
    for flipped in flips(whole):
        with pytest.raises(FrameError):
            decode_line(asked, flipped)


# ------------------------------------------------ the further vectors have names of their own

# Their name -> ours.
CODES = {
    "global_state": "global_state_code",
    "inverter_state": "inverter_state_code",
    "dcdc1_state": "dcdc_01_state_code",
    "dcdc1": "dcdc_01_state_code",
    "dcdc2_state": "dcdc_02_state_code",
    "dcdc2": "dcdc_02_state_code",
    "alarm_state": "alarm_code",
    "alarm": "alarm_code",
    "flag1": "flag_01_code",
    "flag2": "flag_02_code",
    "switch1": "switch_01_code",
    "switch2": "switch_02_code",
    "serial": "serial",
    "part_number": "hardware_part",
    "release": "firmware",
    "iso": "device_time",
    "ndays": "days",
    "jbox_state_bits": "junction_box_state_code",
}
# What their unit is in ours.
FACTORS = {"MΩ": 1e6, "Wh": 1e-3}
ENERGIES = (68, 78)


def _refusal(vector: dict[str, Any]) -> bool:
    return not vector["crc_ok"] or "error" in vector["decoded"]


@pytest.mark.parametrize("vector", _named([v for v in FURTHER if v["response_hex"]]))
def test_every_further_answer_is_decoded_as_stated(vector: dict[str, Any]) -> None:
    asked, response = _bytes(vector["request_hex"]), bytes.fromhex(vector["response_hex"])
    if _refusal(vector):
        with pytest.raises(FrameError):
            decode_line(asked, response)
        return
    values, _ = decode_line(asked, response)
    stated = vector["decoded"]
    for theirs, ours in CODES.items():
        if theirs in stated and ours in values:
            assert values[ours] == stated[theirs], theirs
    if asked and "value" in stated:
        unit = "Wh" if asked[1] in ENERGIES else stated.get("unit", "")
        expected = stated["value"] * FACTORS.get(unit, 1)
        (found,) = [v for name, v in values.items() if isinstance(v, float) or name.endswith("ohm")]
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("vector", _named([v for v in FURTHER if v["response_hex"]]))
def test_every_further_answer_is_understood_without_its_request(vector: dict[str, Any]) -> None:
    if vector["response_crc_ok"]:
        assert decode_line(None, bytes.fromhex(vector["response_hex"]))[0]
