"""Chains that were recorded from real devices: an optional folder of further vectors."""

import io
import json
import random
from contextlib import suppress
from typing import Any

import pytest

from bridges.sunspec import models
from bridges.sunspec.chain import walk
from bridges.sunspec.codec import encode
from bridges.sunspec.decoding import decode_registers
from bridges.sunspec.simulator import simulator
from heliobus.components import Decoding
from heliobus.decode import run
from heliobus.errors import FrameError
from tests.helpers import further_vectors
from tests.sunspec_chains import END, SUNS, common

# Rows that hold a chain; others hold single frames.
ROWS: list[dict[str, Any]] = [
    row for row in further_vectors("sunspec.json") or [] if "registers" in row and "chain" in row
]
NAMED = [pytest.param(row, id=row["name"]) for row in ROWS]
_HEADER = ("addr", "id", "len")


def _blanked(row: dict[str, Any], path: str) -> bool:
    """Tell whether the registers of this point were set to 0 before the row was published."""
    return path == "64110#0.OutBack_MAC_Address" and not any(row["registers"][75:82])


@pytest.mark.parametrize("row", NAMED)
def test_a_recorded_chain_has_the_blocks_that_were_found_in_it(row: dict[str, Any]) -> None:
    found = decode_registers(row["start"], row["registers"])
    assert found["chain"] == [{key: block[key] for key in _HEADER} for block in row["chain"]]


@pytest.mark.parametrize("row", NAMED)
def test_a_recorded_chain_gives_exactly_its_values_and_units(row: dict[str, Any]) -> None:
    found = decode_registers(row["start"], row["registers"])
    told = {path: point for path, point in row["decoded"].items() if not _blanked(row, path)}
    values = {path: found["values"].get(path) for path in told}
    assert values == {path: point["value"] for path, point in told.items()}
    units = {path: point["unit"] for path, point in told.items() if "unit" in point}
    assert {path: found["units"][path] for path in units} == units


@pytest.mark.parametrize("row", NAMED)
def test_what_a_recorded_device_does_not_implement_is_absent(row: dict[str, Any]) -> None:
    found = decode_registers(row["start"], row["registers"])
    assert not set(row["not_implemented"]) & set(found["values"])


@pytest.mark.parametrize("row", NAMED)
def test_every_value_has_a_unit_and_is_fit_for_json(row: dict[str, Any]) -> None:
    found = decode_registers(row["start"], row["registers"])
    assert found["units"].keys() == found["values"].keys()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("row", NAMED)
def test_a_chain_that_is_cut_anywhere_keeps_what_is_whole(row: dict[str, Any]) -> None:
    start, registers = row["start"], row["registers"]
    whole = decode_registers(start, registers)["values"]
    random_cuts = random.Random(1).sample(range(len(registers)), min(150, len(registers)))
    for cut in sorted({0, 1, 2, 3, *random_cuts}):
        if cut < 4:
            with pytest.raises(FrameError):
                decode_registers(start, registers[:cut])
            continue
        found = decode_registers(start, registers[:cut])
        assert set(found["values"]) <= set(whole)
        if found["chain"][-1]["id"] not in (0, 0xFFFF):
            assert "end model" in found["warnings"][0]


@pytest.mark.parametrize("row", NAMED)
def test_no_changed_register_makes_a_chain_fail(row: dict[str, Any]) -> None:
    dice = random.Random(2)
    for _ in range(200):
        registers = list(row["registers"])
        for _ in range(dice.choice((1, 1, 3, 20))):
            registers[dice.randrange(len(registers))] = dice.choice(
                (0, 0xFFFF, 0x8000, 1, dice.randrange(0x10000))
            )
        with suppress(FrameError):
            found = decode_registers(row["start"], registers)
            assert json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("row", NAMED)
def test_a_recorded_chain_is_walked_with_few_requests(row: dict[str, Any]) -> None:
    asked: list[tuple[int, int]] = []

    def read(start: int, count: int) -> list[int]:
        asked.append((start, count))
        at = start - row["start"]
        return list(row["registers"][at : at + count])

    walk(read)
    assert len(asked) == 1 + len(row["chain"])


# ---------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("start", "registers", "reason"),
    [
        (40000, [], r"registers: found \[\], expected a list of whole numbers"),
        (40000, "5375", "registers: found '5375', expected a list of whole numbers"),
        (40000, [1, -1], r"registers\[1\]: found -1, expected a whole number from 0 to 65535"),
        (40000, [True], r"registers\[0\]: found True"),
        (None, [1], "start: found None, expected a whole number from 0 to 65535"),
        (40000, [1, 2], "no SunSpec in these registers; found 0001 0002 at 40000, expected the"),
        (40000, [0x5375, 0x6E53, 0xFFFF, 0], "SunSpec at 40000, but no model follows: found FFFF"),
        (40000, [0x5375, 0x6E53, 1], "SunSpec at 40000, but the registers end at 40003"),
    ],
)
def test_what_is_no_chain_is_refused_in_one_line(start: Any, registers: Any, reason: str) -> None:
    with pytest.raises(FrameError, match=reason) as refused:
        decode_registers(start, registers)
    assert "\n" not in str(refused.value)


def test_each_line_is_answered_in_order_whatever_the_others_are() -> None:
    chain = [*SUNS, *common(), 103, 50, *[0] * 12, 700, 0, *[0] * 36, *END]
    lines = [
        json.dumps({"start": 40000, "registers": chain}).encode(),
        b'{"start": 40000, "registers": [1, 2]}',
        b"",
        b'{"registers": [1]}',
        json.dumps({"start": 40000, "registers": chain[:100]}).encode(),
    ]
    out = io.BytesIO()
    assert run(Decoding.REGISTERS, decode_registers, lines, out) == 1
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [answer["ok"] for answer in answers] == [True, False, False, False, True]
    assert (answers[0]["values"]["103#0.W"], answers[0]["units"]["103#0.W"]) == (700, "W")
    assert answers[0]["devices"][""]["values"]["output_w"] == 700
    assert answers[4]["warnings"] == [
        "no end model: the registers end at 40100 within model 103 at 40070"
    ]


def _gateway(**texts: str) -> list[int]:
    model = models.find(64110)
    assert model is not None
    return [*SUNS, *common("OutBack_Power"), *encode(model, texts), *END]


def test_no_password_is_shown() -> None:
    names = [f"OutBack_{name}_Password" for name in ("Write", "SMTP_Email", "FTP", "Telnet")]
    found = decode_registers(40000, _gateway(**dict.fromkeys(names, "hunter2")))
    assert {name: found["values"][f"64110#0.{name}"] for name in names} == dict.fromkeys(
        names, "(hidden)"
    )
    assert "hunter2" not in json.dumps(found)


def test_what_merely_fills_the_registers_of_a_password_is_told() -> None:
    registers = _gateway(OutBack_FTP_Password="x" * 16)
    at = registers.index(0x7878)
    registers[at : at + 8] = [0xFFFF] * 8
    values = decode_registers(40000, registers)["values"]
    assert values["64110#0.OutBack_FTP_Password"] == "\xff" * 16
    assert "64110#0.OutBack_Telnet_Password" not in values


def test_a_capture_from_the_middle_of_a_model_is_told_where_to_begin() -> None:
    with pytest.raises(FrameError) as refused:
        decode_registers(40072, [285, 285, 285, 0xFFFE])
    assert str(refused.value) == (
        "no SunSpec in these registers; found 011D 011D at 40072, expected the marker 5375 6E53,"
        " or the number and the length of a model that is known; a capture must begin at the one"
        " or the other"
    )


def test_a_single_model_is_read_without_its_marker() -> None:
    words = [103, 50, *[0] * 12, 700, 0, 6000, 0xFFFE, *[0] * 34]
    found = decode_registers(40069, words)
    assert found["chain"] == [{"addr": 40069, "id": 103, "len": 50}]
    assert found["values"]["103#0.W"] == 700
    assert found["values"]["103#0.Hz"] == 60.0
    assert found["warnings"][0] == "no marker: read as models from the first register on"


def test_points_are_as_defined_and_the_bugs_of_a_maker_are_mended_in_its_devices() -> None:
    """OutBack's hybrid inverters have the low word of their 64-bit counters first."""
    model = models.find(714)
    assert model is not None
    dc = list(encode(model, {"NPrt": 1, "DCWH_SF": 0, "Prt[0].PrtTyp": 0}, length=43))
    dc[20 + 13 : 20 + 17] = [0xE240, 1, 0, 0]  # 123,456 Wh injected
    head = common("OutBack Power", model="OGHI8048A")
    found = decode_registers(40000, [*SUNS, *head, *dc, *END])
    assert found["values"]["714#0.Prt[0].DCWhInj"] == 0xE240_0001_0000_0000
    assert found["devices"][""]["values"]["pv_01_yield_kwh"] == pytest.approx(123.456)


def test_the_power_of_a_mate_is_not_taken_from_its_model_101() -> None:
    slave = simulator("mate3s", clock=lambda: 1_781_524_800.0)
    (device,) = slave.devices.values()
    found = decode_registers(40000, list(device.registers()))
    assert found["values"]["101#0.W"] < 5
    assert found["devices"]["inverter_1"]["kind"] == "inverter"
    assert found["devices"][""]["values"]["load_w"] > 300
    assert found["devices"][""]["values"]["alarms"] == []
