"""Recorded answers of Daly boards: ours, and an optional folder of further ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridges.daly import decode_line
from bridges.daly.frame import QUESTIONS, frames, request
from heliobus.errors import FrameError
from tests.helpers import flips, further_vectors

OURS = Path(__file__).parent.parent / "bridges" / "daly" / "vectors"
SLOTS = ("cell_", "temperature_0", "temperature_1")


def _named(vectors: list[Any]) -> list[Any]:
    return [pytest.param(v, id=f"{at}-{v['name']}") for at, v in enumerate(vectors)]


def _ours() -> list[Any]:
    return [v for path in sorted(OURS.glob("*.json")) for v in json.loads(path.read_text())]


FURTHER = further_vectors("daly.json") or []
ANSWERED = [v for v in _ours() + FURTHER if v["response_hex"]]


def _decode(vector: dict[str, Any], response: bytes | None = None) -> dict[str, Any]:
    asked = vector["request_hex"]
    response = bytes.fromhex(vector["response_hex"]) if response is None else response
    return dict(decode_line(bytes.fromhex(asked) if asked else None, response)[0])


def _is_answered(vector: dict[str, Any]) -> bool:
    """Say whether a board speaks in it, and not only a host."""
    return any(each.address < 0x20 for each in frames(bytes.fromhex(vector["response_hex"])))


SOUND = [v for v in ANSWERED if _is_answered(v)]
# All but those that begin with the end of an earlier answer: cut there, they are that answer.
IN_ORDER = [v for v in SOUND if not v["name"].endswith("leading-leftover")]
REFUSED = [v for v in ANSWERED if not _is_answered(v)]


@pytest.mark.parametrize("vector", _named([v for v in _ours() if v["values"]]))
def test_a_recorded_answer_gives_exactly_its_values(vector: dict[str, Any]) -> None:
    assert _decode(vector) == vector["values"]


@pytest.mark.parametrize("vector", _named([v for v in _ours() if not v["values"]]))
def test_an_echo_is_refused_for_its_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        _decode(vector)
    assert vector["reason"] in str(refused.value)


@pytest.mark.parametrize("vector", _named(SOUND))
def test_every_answer_is_known_without_its_request(vector: dict[str, Any]) -> None:
    values = _decode(vector)
    assert len(values) > 1
    assert _decode({**vector, "request_hex": None}) == values


@pytest.mark.parametrize("vector", _named(REFUSED))
def test_what_no_board_has_said_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError, match="expected"):
        _decode(vector)


@pytest.mark.parametrize("vector", _named(IN_ORDER))
def test_what_is_cut_gives_true_values_or_none(vector: dict[str, Any]) -> None:
    response, whole = bytes.fromhex(vector["response_hex"]), _decode(vector)
    for cut in range(len(response)):
        for part in (response[:cut], response[cut:]):
            _is_part(vector, part, whole)


@pytest.mark.parametrize("vector", _named(SOUND))
def test_bytes_around_an_answer_change_nothing(vector: dict[str, Any]) -> None:
    response, whole = bytes.fromhex(vector["response_hex"]), _decode(vector)
    echo = bytes.fromhex(vector["request_hex"])[:13]
    for around in (b"\x0a", b"\0\0", b"\xa5", b"\xa5\x01\x95\x08", echo):
        assert _decode(vector, around + response) == whole
        assert _decode(vector, response + around) == whole


@pytest.mark.parametrize("vector", _named(SOUND))
def test_no_flipped_bit_changes_a_value(vector: dict[str, Any]) -> None:
    response, whole = bytes.fromhex(vector["response_hex"]), _decode(vector)
    for flipped in flips(response):
        _is_part(vector, flipped, whole)


def _is_part(vector: dict[str, Any], response: bytes, whole: dict[str, Any]) -> None:
    """See that no value differs; where the counts are lost, more slots are shown."""
    try:
        found = _decode(vector, response)
    except FrameError:
        return
    for name, value in found.items():
        assert whole.get(name, value) == value
        assert name in whole or ("cells_count" in whole and name.startswith(SLOTS))


@pytest.mark.parametrize(
    "vector",
    _named(
        [
            v
            for v in _ours() + FURTHER
            if bytes.fromhex(v["request_hex"])[2] in QUESTIONS and len(v["request_hex"]) == 26
        ]
    ),
)
def test_every_request_is_framed_as_recorded(vector: dict[str, Any]) -> None:
    asked = bytes.fromhex(vector["request_hex"])
    assert request(asked[2], asked[1]) == asked


# ------------------------------------------------ the further vectors have names of their own

# Their name -> ours, and what ours times this is theirs.
NUMBERS: dict[str, tuple[str, float]] = {
    "cell_v_max": ("cell_max_v", 1000),
    "cell_v_min": ("cell_min_v", 1000),
    "temp_max": ("temperature_max_c", 1),
    "temp_min": ("temperature_min_c", 1),
    "pack_voltage": ("battery_v", 1),
    "current_daly_sign": ("battery_a", -1),
    "soc": ("soc_percent", 1),
    "bms_life": ("heartbeat_count", 1),
    "remaining_capacity": ("remaining_ah", 1000),
    "bms_address": ("board", 1),
    "fault_code": ("fault_code", 1),
    "cells": ("cells_count", 1),
    "temp_sensors": ("temperature_sensors_count", 1),
    "dio_bits": ("gpio_code", 1),
    "cycles": ("cycles", 1),
}
SAME = {
    "cell_v_max_no": "cell_max_id",
    "cell_v_min_no": "cell_min_id",
    "temp_max_no": "temperature_max_id",
    "temp_min_no": "temperature_min_id",
    "charge_mos": "charge_enabled",
    "discharge_mos": "discharge_enabled",
    "charger_connected": "charger_connected",
    "load_connected": "load_connected",
}
MODES = {"stationary": "idle", "charging": "charging", "discharging": "discharging"}
FAULTS = {
    "rsv6_4": "unknown alarm, byte 6 bit 4",
    "soc_low_2": "state of charge low, level 2",
}


def _check(name: str, value: Any, values: dict[str, Any]) -> None:
    if name in NUMBERS:
        ours, factor = NUMBERS[name]
        assert values[ours] * factor == pytest.approx(value), name
    elif name in SAME:
        found = values[SAME[name]]
        assert found == (str(value) if isinstance(found, str) else value)
    elif name == "state":
        assert values["mode"] == MODES[value]
    elif name == "cell_mv":
        found = {cell: values[f"cell_{int(cell):02}_v"] * 1000 for cell in value}
        assert found == pytest.approx(value)
    elif name == "temps":
        unused = {at for at, degrees in value.items() if degrees == -40}
        assert {a: values[f"temperature_{int(a):02}_c"] for a in value if a not in unused} == {
            a: degrees for a, degrees in value.items() if a not in unused
        }
    elif name == "balancing_cells":
        assert values["balancing"] == bool(value)
        on = [n for n, is_on in values.items() if n.endswith("_balancing") and is_on is True]
        assert on == [f"cell_{cell:02}_balancing" for cell in value]
    elif name == "faults":
        assert values["alarms"] == [FAULTS.get(fault, fault) for fault in value]


@pytest.mark.parametrize("vector", _named([v for v in FURTHER if v in SOUND]))
def test_every_stated_value_comes_out(vector: dict[str, Any]) -> None:
    values = _decode(vector)
    for decoded in (vector["decoded"] or {}, *vector.get("decoded_multi", ())):
        for name, stated in decoded.items():
            _check(name, stated["value"], values)
