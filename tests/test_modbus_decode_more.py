"""`heliobus decode modbus --profile P` with what captures hold besides good answers."""

from typing import Any

import pytest

from tests.modbus_vectors import answer

ASKED = "01 04 00 00 00 02 71 cb"  # the voltage of an SDM230
VOLTAGE = {"voltage_v": 230.7}
UNIT_1 = "unit 1, 2 input registers from 0x0000: "


def told(response: str | None, request: str | None = ASKED, **others: Any) -> object:
    """Give the values of one exchange with an SDM230, or why there are none."""
    found = answer("eastron_sdm230", {"request": request, "response": response, **others})
    return found["values"] if found["ok"] else found["error"]


def registers(profile: str, start: int, *words: int, **others: Any) -> object:
    found = answer(profile, {"start": start, "registers": words, **others})
    return found["values"] if found["ok"] else found["error"]


# ---------------------------------------------------------------------- what is around a frame


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("00 01 04 04 43 66 b3 33 3b 3a 00", VOLTAGE),
        (f"{ASKED} 01 04 04 43 66 b3 33 3b 3a", VOLTAGE),
        ("01 04 04 43 66 b3 33 3b 3a 01 04 04 43 67 b3 33 6a fa", VOLTAGE),
        ("00 01 04 04 43 66 b3 33 3b", UNIT_1 + "the answer is cut: found 8 bytes, expected 9"),
        (ASKED, UNIT_1 + "nothing but the echo of the request"),
        (f"{ASKED} 01 04 04 43", UNIT_1 + "the answer is cut: found 4 bytes, expected 9"),
        ("01 84 02 c2 00", UNIT_1 + "wrong CRC: found 'c2 00', expected 'c2 c1'"),
        ("01 84", UNIT_1 + "the answer is cut: found 2 bytes, expected 5"),
        (None, "response: null, the device did not answer"),
    ],
    ids=["zeros", "echo", "two", "shifted", "only echo", "echo, cut", "bad", "cut", "none"],
)
def test_an_answer_is_found_and_what_is_none_is_told(
    response: str | None, expected: object
) -> None:
    assert told(response) == expected


def test_a_damaged_request_of_the_first_registers_is_not_taken_for_modbus_tcp() -> None:
    """Its two zeros and its count look like the beginning of such a frame."""
    assert told("01 04 04 43 66 b3 33 3b 3a", "01 04 00 00 00 02 71 00") == (
        "request: wrong CRC: found '71 00', expected '71 cb'; nor is it a frame of Modbus TCP"
    )


TCP = "00 07 00 00 00 06 01 04 00 00 00 02"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("00 06 00 00 00 03 01 84 06 00 07 00 00 00 07 01 04 04 43 66 b3 33", VOLTAGE),
        ("00 07 00 00 00 07 01 04 04 43 66 b3 33 00 08 00", VOLTAGE),
        ("00 06 00 00 00 03 01 84 06", UNIT_1 + "answers request 6, expected 7"),
        ("00 07 00 00 00 03 01 84 02", UNIT_1 + "exception 2 (illegal data address)"),
    ],
    ids=["late one before", "begun one behind", "late one", "exception"],
)
def test_the_answer_of_modbus_tcp_is_the_one_with_the_number(
    response: str, expected: object
) -> None:
    assert told(response, TCP) == expected


def test_other_keys_of_a_line_change_nothing() -> None:
    others: dict[str, Any] = {
        "name": "a",
        "decoded": {"value": [230.7]},
        "registers": None,
        "crc_ok": True,
    }
    assert told("01 04 04 43 66 b3 33 3b 3a", **others) == VOLTAGE


# ---------------------------------------------------------------------- what is no measurement


@pytest.mark.parametrize(
    ("request_", "response", "expected"),
    [
        ("01 03 00 0b 00 01 f5 c8", "01 03 02 00 a8 b9 fa", {"register_11": 168}),
        ("01 03 00 14 00 02 84 0f", "01 03 04 40 e0 00 00 ee 05", {"register_20": 7.0}),
        ("01 03 fc 00 00 02 f4 5b", "01 03 04 01 23 45 67 79 7f", {"serial": 19088743}),
        (
            "01 03 fc 02 00 02 55 9b",
            "01 03 04 00 20 01 02 7b a8",
            {
                "register_64514": 32,
                "register_64515": 258,
            },
        ),
        ("01 03 00 01 00 02 95 cb", "01 03 04 43 66 00 01 ce 68", {"register_1": 230.00002}),
    ],
    ids=["meter code", "address", "serial", "whole numbers", "float"],
)
def test_settings_are_told_as_what_they_are(
    request_: str, response: str, expected: dict[str, float]
) -> None:
    assert told(response, request_) == expected


def test_an_identification_is_told() -> None:
    asked = "00 01 00 00 00 05 01 2b 0e 01 00"
    heard = "00 01 00 00 00 13 01 2b 0e 01 01 00 00 02 00 03 41 62 63 01 04 54 53 2d 36"
    assert answer("morningstar_tristar_mppt", {"request": asked, "response": heard}) == {
        "ok": True,
        "values": {"maker": "Abc", "model": "TS-6"},
        "units": {},
    }


def test_an_identification_that_is_refused_is_told() -> None:
    asked = "00 01 00 00 00 05 01 2b 0e 01 00"
    assert told("00 01 00 00 00 03 01 ab 01", asked) == (
        "unit 1, identification: exception 1 (illegal function)"
    )


def test_a_context_that_was_not_captured_is_none() -> None:
    values = registers("morningstar_tristar_mppt", 37, 0xFFF9, scaling_context=None)
    assert values == {"battery_c": -7}


def test_a_firmware_that_is_a_number_is_told_as_one() -> None:
    assert registers("morningstar_tristar_mppt", 4, 0x29) == {"firmware": 29}


# ---------------------------------------------------------------------- variants

HALF_FLOATS = [0x52B4, 0x52B6, 0x52B3, 0x5E1E]  # 53.625 V and more, from register 24 on


def controller(*words: int, **others: Any) -> dict[str, Any]:
    line = {"start": 0, "registers": [*words, 25, *[0] * 19, *HALF_FLOATS], **others}
    return answer("morningstar_tristar_mppt", line)


def test_registers_of_a_variant_are_read_as_the_bridge_reads_them() -> None:
    found = controller(0, 0, 0, 0)
    assert (found["values"]["battery_v"], found["values"]["pv_v"]) == (53.625, 391.5)
    assert found["note"] == "read as morningstar_tristar_mppt_600v"


def test_a_profile_that_fits_is_not_changed_for_a_variant() -> None:
    found = controller(80, 0, 40, 0)
    assert found["values"]["battery_v"] == 51.68945
    assert "note" not in found


def test_what_does_not_say_whether_it_fits_is_read_by_the_profile_that_was_named() -> None:
    found = answer("morningstar_tristar_mppt", {"start": 24, "registers": HALF_FLOATS})
    assert found["values"]["register_24"] == 21172
