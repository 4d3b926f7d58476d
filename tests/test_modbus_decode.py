"""`heliobus decode modbus --profile P`: what is told of captured frames and registers."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from heliobus.cli import cli, run
from heliobus.errors import ConfigError

METER = """\
maker: Acme
models: [M1]
kind: meter
source: [a document]
verified: document
function: 4
type: f32
registers:
  - {name: voltage_v, at: 0}
  - {name: power_w, at: 12}
  - {name: import_kwh, at: 0x48}
"""
CHARGER = """\
maker: Acme
models: [C1]
kind: charger
source: [a document]
verified: document
either_function: true
scales: {v_pu: {at: 0, type: u32, divide: 65536}}
identity:
  serial: {at: 100, type: text, count: 2, bytes: little}
  firmware: {at: 4, type: bcd}
registers:
  - {name: battery_v, at: 24, type: i16, scale: [v_pu], divide: 32768}
  - {name: heatsink_c, at: 35, type: i16}
  - {name: charge_state, at: 50, type: enum, codes: {5: bulk}}
  - {name: yield_kwh, at: 56, type: u32}
"""
ASKED = "01 04 00 48 00 02 f1 dd"
ENERGY = {"import_kwh": 10909.2822}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("meter.yaml").write_text(METER)
    Path("charger.yaml").write_text(CHARGER)


def decode(*lines: Any, profile: str = "./meter.yaml") -> list[dict[str, Any]]:
    """Give the answers to lines."""
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)
    command = ["decode", "modbus", "--profile", profile]
    result = CliRunner().invoke(cli, command, input=text, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    answers = [json.loads(one) for one in result.stdout.splitlines()]
    assert result.return_value == int(not all(answer["ok"] for answer in answers))
    return answers


def exchange(response: str | None, request: str | None = ASKED) -> dict[str, Any]:
    [answer] = decode({"request": request, "response": response})
    return answer


def error(response: str | None, request: str | None = ASKED) -> str:
    answer = exchange(response, request)
    assert set(answer) == {"ok", "error"}
    return str(answer["error"])


def registers(profile: str = "./charger.yaml", **body: Any) -> dict[str, Any]:
    [answer] = decode(body, profile=profile)
    return answer


# ---------------------------------------------------------------------- frames


def test_an_answer_on_a_serial_line_is_told_with_units() -> None:
    assert exchange("01 04 04 46 2a 75 21 29 8c") == {
        "ok": True,
        "values": ENERGY,
        "units": {"import_kwh": "kWh"},
    }


@pytest.mark.parametrize(
    "response",
    [
        "00 01 04 04 46 2a 75 21 29 8c 00",
        f"{ASKED} 01 04 04 46 2a 75 21 29 8c",  # with its echo
        "01 04 04 46 01 04 04 46 2a 75 21 29 8c",
        "02 04 04 46 2a 75 21 1a 8c 01 04 04 46 2a 75 21 29 8c",
    ],
    ids=["noise", "echo", "cut one before", "foreign one before"],
)
def test_an_answer_is_found_among_other_bytes(response: str) -> None:
    assert exchange(response)["values"] == ENERGY


def test_an_answer_of_modbus_tcp_is_told() -> None:
    request = "00 02 00 00 00 06 01 04 00 48 00 02"
    assert exchange("00 02 00 00 00 07 01 04 04 46 2a 75 21", request)["values"] == ENERGY


UNIT_1 = "unit 1, 2 input registers from 0x0048: "


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (None, "response: null, the device did not answer"),
        ("01 84 02 c2 c1", UNIT_1 + "exception 2 (illegal data address)"),
        (
            "01 04 04 46 2a 75 21 29 8d",
            UNIT_1 + "wrong CRC: found '29 8d', expected '29 8c'",
        ),
        ("01 04 04 46 2a 75 21", UNIT_1 + "the answer is cut: found 7 bytes, expected 9"),
        ("02 04 04 46 2a 75 21 1a 8c", UNIT_1 + "unit 2 answered"),
        ("01 03 04 46 2a 75 21 28 3b", UNIT_1 + "answered function '03'"),
        ("01 04 02 46 2a 0a 8f", UNIT_1 + "answered 2 bytes, expected 4"),
        ("", UNIT_1 + "no answer to it in 0 bytes"),
        ("00", UNIT_1 + "no answer to it in 1 bytes"),
        (
            "00 02 00 00 00 07 01 04 04 46 2a 75 21",
            UNIT_1 + "the request is RTU, but the answer a frame of Modbus TCP",
        ),
        ("01 0", "response: found '01 0', expected hexadecimal bytes such as 01 04"),
    ],
    ids=lambda one: None if one is None else "",
)
def test_a_damaged_or_wrong_answer_on_a_serial_line_is_refused(
    response: str | None, told: str
) -> None:
    assert error(response) == told


@pytest.mark.parametrize(
    ("response", "told"),
    [
        ("00 02 00 00 00 03 01 84 0b", "exception 11 (gateway target does not respond)"),
        ("00 03 00 00 00 07 01 04 04 46 2a 75 21", "answers request 3, expected 2"),
        ("00 02 00 00 00 07 05 04 04 46 2a 75 21", "unit 5 answered"),
        ("00 02 00 00 00 05 01 04 02 46 2a", "answered 2 bytes, expected 4"),
        (
            "00 02 00 00 00 07 01 04 04 46 2a 75",
            "12 bytes are no whole frame of Modbus TCP; its length says 7",
        ),
        ("00 02", "2 bytes are no whole frame of Modbus TCP"),
        (
            "01 04 04 46 2a 75 21 29 8c",
            "the request is Modbus TCP, but the answer an RTU frame",
        ),
    ],
    ids=["exception", "number", "unit", "length", "cut", "short", "rtu"],
)
def test_a_damaged_or_wrong_answer_of_modbus_tcp_is_refused(response: str, told: str) -> None:
    assert error(response, "00 02 00 00 00 06 01 04 00 48 00 02") == UNIT_1 + told


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (
            None,
            "an answer of unit 1 that does not say which registers it gives; add"
            ' "request", the bytes that were sent',
        ),
        (
            "01 04 00 48 00 02 f1 de",
            "request: wrong CRC: found 'f1 de', expected 'f1 dd'; nor is it a frame of Modbus TCP",
        ),
        (
            "01 10 00 16 00 02 04 3f 80 00 00 7f 75",
            "request: found function 16, expected 3 or 4, which read registers",
        ),
        ("01 04 00 48 00 00 70 1c", "request: asks 0 registers, expected 1 to 125"),
        ("01 04 00 48 40 2f", "request: found 3 bytes from the function on, expected 5"),
        ("01", "request: found 1 bytes, expected at least 4"),
    ],
    ids=["none", "crc", "write", "count", "length", "short"],
)
def test_a_request_that_asks_no_registers_is_told(request_: str | None, told: str) -> None:
    assert error("01 04 04 46 2a 75 21 29 8c", request_) == told


def test_an_exception_is_told_without_its_request_too() -> None:
    assert error("01 90 01 8d c0", None) == "unit 1, function 16: exception 1 (illegal function)"


def test_a_loop_back_carries_no_registers() -> None:
    loop = "01 08 00 00 aa 55 5e 94"
    assert exchange(loop, loop)["note"] == "a loop-back; it carries no registers"
    assert error("01 08 00 00 aa 56 1e 95", loop) == "response: the loop-back came back changed"


# ---------------------------------------------------------------------- registers


def test_registers_are_told_by_the_profile_with_scales_and_identity() -> None:
    assert registers(start=0, registers=[180, 0, 80, 0, 41]) == {
        "ok": True,
        "values": {"v_pu": 180.0, "firmware": 29, "register_2": 80, "register_3": 0},
        "units": {},
    }
    serial = registers(start=100, registers=[0x3130, 0x3834])
    assert serial["values"] == {"serial": "0148"}


def test_what_a_scale_needs_may_be_captured_apart() -> None:
    found = registers(start=24, registers=[2445], scaling_context=[180, 0])
    assert (found["values"], found["units"]) == ({"battery_v": 13.43079}, {"battery_v": "V"})


def test_a_value_whose_scale_was_not_captured_is_told_as_it_was() -> None:
    assert registers(start=24, registers=[2445]) == {
        "ok": True,
        "values": {"register_24": 2445},
        "units": {},
        "note": "not captured: v_pu, by which battery_v would be scaled;"
        ' add "scaling_context", the registers from 0 on',
    }


def test_half_a_value_is_told_as_its_register() -> None:
    assert registers(start=57, registers=[7])["values"] == {"register_57": 7}


def test_either_function_may_lead_to_the_same_registers() -> None:
    assert registers(start=35, registers=[0xFFF9], function=4)["values"] == {"heatsink_c": -7}


def test_registers_of_another_function_are_others() -> None:
    found = registers("./meter.yaml", start=0, registers=[0x3F80, 0, 1], function=3)
    assert found["values"] == {"register_0": 1.0, "register_2": 1}


def test_unnamed_registers_of_floats_are_told_as_floats() -> None:
    words = [0x4369, 0x6979, 0x7FC0, 0, 0x3F80, 0, 5]
    found = registers("./meter.yaml", start=0, registers=words)
    assert found["values"] == {"voltage_v": 233.412, "register_4": 1.0, "register_6": 5}


def test_a_code_is_told_with_its_number() -> None:
    found = registers(start=50, registers=[5])
    assert found["values"] == {"charge_state": "bulk", "charge_state_code": 5}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            {"start": 0},
            '"response" or "registers" is missing, expected hexadecimal bytes or a list',
        ),
        ({"registers": [1]}, "start: found None, expected a whole number from 0 to 65535"),
        ({"start": "0", "registers": [1]}, "start: found '0', expected a whole number"),
        ({"start": 0, "registers": [1, 65536]}, "registers[1]: found 65536, expected a whole"),
        ({"start": 0, "registers": [1, -1]}, "registers[1]: found -1, expected a whole"),
        ({"start": 0, "registers": [1.5]}, "registers[0]: found 1.5, expected a whole number"),
        ({"start": 0, "registers": [True]}, "registers[0]: found True, expected a whole number"),
        ({"start": 0, "registers": [[1]]}, "registers[0]: found [1], expected a whole number"),
        ({"start": 0, "registers": "01"}, "registers: found '01', expected a list of whole"),
        ({"start": 0, "registers": None}, "registers: found None, expected a list of whole"),
        ({"start": 65535, "registers": [1, 2]}, "registers: 2 from 65535 on would end beyond"),
        ({"start": 0, "registers": [0] * 70_000}, "registers: found 70000 of them, expected at"),
        ({"start": 0, "registers": [1], "function": 6}, "function: found 6, expected 3 or 4"),
        ({"start": 0, "registers": [1], "function": "4"}, "function: found '4', expected 3 or 4"),
        (
            {"start": 0, "registers": [1], "scaling_context": [None]},
            "scaling_context[0]: found None, expected a whole number",
        ),
        ({"response": 5}, "response: found 5, expected hexadecimal bytes"),
        ({"response": "01", "request": []}, "request: found [], expected hexadecimal bytes"),
    ],
    ids=lambda one: "" if isinstance(one, str) else " ".join(map(str, one)),
)
def test_what_cannot_be_registers_is_told(body: dict[str, Any], told: str) -> None:
    answer = registers(**body)
    assert (answer["ok"], answer["error"][: len(told)]) == (False, told)


def test_every_line_is_answered_in_order() -> None:
    lines = ["", "{}", "[1]", {"start": 0, "registers": []}, {"start": 12, "registers": [0, 0]}]
    answers = decode(*lines)
    assert [answer["ok"] for answer in answers] == [False, False, False, True, True]
    assert answers[-1]["values"] == {"power_w": 0.0}


# ---------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["modbus"], "modbus needs --profile NAME or --profile FILE; 'heliobus list' shows all"),
        (["modbus", "--map", "opendtu"], "modbus is decoded without a map; leave --map out"),
        (["mqtt"], "mqtt needs --map NAME or --map FILE; 'heliobus list' shows all"),
        (["voltronic", "--profile", "x"], "voltronic is decoded without a profile; leave"),
    ],
    ids=" ".join,
)
def test_what_a_protocol_is_decoded_by_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["decode", *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "schneider_iem300",
            "profile: 'schneider_iem300' is not known; did you mean 'schneider_iem3000'?",
        ),
        ("./metre.yaml", "profile: './metre.yaml': metre.yaml: no such file"),
    ],
    ids=["name", "path"],
)
def test_a_profile_that_is_not_there_is_told(name: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(profile=name)
    assert str(caught.value) == told


def test_profiles_are_listed_with_makers_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 0
    shown = capsys.readouterr().out.splitlines()
    # What a profile does not say itself is what it extends says.
    assert any(one.startswith("    profile eastron_sdm230: Eastron SDM230") for one in shown)
    assert any(one.startswith("    profile schneider_iem3000: Schneider") for one in shown)
