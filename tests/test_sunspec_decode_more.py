"""`heliobus decode sunspec` with single exchanges, parts of a chain, and other keys in a line."""

import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from bridges.sunspec import models
from bridges.sunspec.codec import encode
from bridges.sunspec.decoding import decode_registers
from heliobus.components import Decoding
from heliobus.decode import run
from heliobus.modbus import rtu
from tests.sunspec_chains import END, SUNS, common

NO_MARKER = "no marker: read as models from the first register on"
INVERTER = [103, 50, *[0] * 12, 700, 0, 6000, 0xFFFE, *[0] * 34]


def told(line: dict[str, Any]) -> dict[str, Any]:
    """Give the answer to one line, as the command writes it."""
    out = io.BytesIO()
    run(Decoding.REGISTERS, decode_registers, [json.dumps(line).encode()], out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def tcp(pdu: bytes, unit: int = 1) -> str:
    return (bytes([0, 9, 0, 0, 0, len(pdu) + 1, unit]) + pdu).hex(" ")


def exchange(start: int, words: Sequence[int]) -> dict[str, str]:
    """Give the line of a request for these registers and its answer, as Modbus TCP."""
    data = b"".join(word.to_bytes(2) for word in words)
    asked = bytes([3, *start.to_bytes(2), 0, len(words)])
    return {"request": tcp(asked), "response": tcp(bytes([3, len(data)]) + data)}


# ---------------------------------------------------------------------- one exchange


def test_a_model_in_one_answer_of_modbus_tcp_is_told() -> None:
    found = told(exchange(40069, INVERTER))
    assert found["chain"] == [{"addr": 40069, "id": 103, "len": 50}]
    assert (found["values"]["103#0.W"], found["units"]["103#0.W"]) == (700, "W")
    assert found["values"]["103#0.Hz"] == 60.0
    assert found["warnings"] == [NO_MARKER]
    assert found["devices"][""]["values"]["output_w"] == 700


def test_a_model_in_one_answer_on_a_serial_line_is_told() -> None:
    asked = rtu(126, bytes([3, *(40069).to_bytes(2), 0, 52]))
    data = b"".join(word.to_bytes(2) for word in INVERTER)
    heard = b"\0" + rtu(126, bytes([3, len(data)]) + data) + b"\0"
    found = told({"request": asked.hex(), "response": heard.hex()})
    assert found["values"]["103#0.W"] == 700


def test_the_beginning_of_a_chain_in_one_answer_is_told() -> None:
    found = told(exchange(40000, [*SUNS, *common("Fronius"), *INVERTER[:17]]))
    assert (found["values"]["1#0.Mn"], found["values"]["103#0.W"]) == ("Fronius", 700)
    assert found["warnings"] == [
        "no end model: the registers end at 40087 within model 103 at 40070"
    ]


def test_registers_of_an_answer_that_do_not_say_what_they_are_are_told_as_they_are() -> None:
    assert told(exchange(40083, [700, 0])) == {
        "ok": True,
        "values": {"register_40083": 700, "register_40084": 0},
        "units": {},
        "note": "no SunSpec in these registers; found 02BC 0000 at 40083, expected the marker"
        " 5375 6E53, or the number and the length of a model that is known; a capture must begin at"
        " the one or the other; told as they are",
    }


def test_the_marker_alone_is_an_answer() -> None:
    found = told(exchange(40000, SUNS))
    assert found["ok"]
    assert "SunSpec at 40000, but the registers end at 40002" in found["note"]


def test_the_example_of_the_readme_tells_what_it_says() -> None:
    text = (models.FOLDER.parent / "README.md").read_text()
    [line] = re.findall(r"^echo '(.*)' \| heliobus decode sunspec -$", text, re.MULTILINE)
    found = told(json.loads(line))
    assert found["values"]["713#0.SoC"] == 64
    assert found["devices"][""]["values"]["remaining_kwh"] == 8.64


ASKED = "00 09 00 00 00 06 01 03 9c 85 00 34"
UNIT_1 = "unit 1, 52 holding registers from 0x9C85: "


@pytest.mark.parametrize(
    ("request_", "response", "reason"),
    [
        (ASKED, None, "response: null, the device did not answer"),
        (None, None, "response: null, the device did not answer"),
        (ASKED, "00 09 00 00 00 03 01 83 02", UNIT_1 + "exception 2 (illegal data address)"),
        (ASKED, "00 09 00 00 00 05 01 03 02 02 bc", UNIT_1 + "answered 2 bytes, expected 104"),
        (
            "00 09 00 00 00 05 01 2b 0e 01 00",
            "00 09 00 00 00 08 01 2b 0e 01 01 00 00 00",
            "unit 1, identification: it carries no registers",
        ),
        ("01 06 9c f0 00 01 66 69", "01 06 9c f0 00 01 66 69", "request: "),
    ],
    ids=["silence", "nothing", "exception", "short", "identification", "write"],
)
def test_an_exchange_without_registers_is_refused(
    request_: str | None, response: str | None, reason: str
) -> None:
    found = told({"request": request_, "response": response})
    assert set(found) == {"ok", "error"}
    assert found["error"].startswith(reason)


# ---------------------------------------------------------------------- parts of a chain


def test_one_model_that_is_shorter_than_defined_is_told() -> None:
    model = models.find(204)
    assert model is not None
    words = encode(model, {"W": 5000, "W_SF": 0, "PhV": 230.1, "V_SF": -1})
    found = decode_registers(50069, [204, 81, *words[2:83]])
    assert found["chain"] == [{"addr": 50069, "id": 204, "len": 81}]
    assert found["values"] == {"204#0.W": 5000, "204#0.PhV": 230.1}


def test_one_model_that_was_cut_is_told_as_far_as_it_goes() -> None:
    found = decode_registers(40069, INVERTER[:16])
    assert found["values"]["103#0.W"] == 700
    assert "103#0.Hz" not in found["values"]
    assert found["warnings"] == [
        NO_MARKER,
        "no end model: the registers end at 40085 within model 103 at 40069",
    ]


@pytest.mark.parametrize("start", [0, 40001, 40002, 50000])
def test_a_chain_begins_at_its_marker_whatever_the_start_is(start: int) -> None:
    found = decode_registers(start, [*SUNS, *common(), *INVERTER, *END])
    assert found["values"]["103#0.W"] == 700
    assert found["warnings"] == []


def test_an_end_that_was_captured_without_its_length_is_one() -> None:
    found = decode_registers(40000, [*SUNS, *common(), 0xFFFF])
    assert found["chain"][-1] == {"addr": 40070, "id": 65535, "len": 0}
    assert found["warnings"] == []


def test_registers_before_the_marker_are_passed_over() -> None:
    found = decode_registers(39998, [1, 66, *SUNS, *common(), *INVERTER, *END])
    assert found["chain"][0] == {"addr": 40002, "id": 1, "len": 66}


def test_other_keys_of_a_line_change_nothing() -> None:
    line = {"start": 40069, "registers": INVERTER, "base": 40000, "decoded": {}, "note": "x"}
    frames = {"request": None, "response": None}
    assert told({**line, **frames}) == told({"start": 40069, "registers": INVERTER})
    assert told({**exchange(40069, INVERTER), "registers": None})["ok"]


@pytest.mark.parametrize("words", [[1, 2, 5, 6], [1, 60000, 1], [0] * 50, [0xFFFF] * 50, [103]])
def test_registers_that_only_look_like_a_model_are_refused(words: list[int]) -> None:
    found = told({"start": 40000, "registers": words})
    assert found["error"].startswith("no SunSpec in these registers; found ")


# ---------------------------------------------------------------------- models besides


def test_the_network_models_of_inverters_are_named() -> None:
    link = [11, 13, 100, 3, 1, 0, 0x0040, 0xAD12, 0x3456, *[0] * 6]
    found = decode_registers(40000, [*SUNS, *common(), *link, *END])
    assert found["values"]["11#0.Spd"] == 100
    assert found["values"]["11#0.MAC"] == "00:40:AD:12:34:56"
