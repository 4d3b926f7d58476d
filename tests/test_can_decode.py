"""`heliobus decode can`: what is told of captured frames and lines of candump."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from heliobus.cli import cli, run
from heliobus.errors import ConfigError
from tests.can_vectors import answer

SOC = {"soc_percent": 93, "soh_percent": 100}
UNITS = {"soc_percent": "%", "soh_percent": "%"}


def frames(*pairs: tuple[object, object], profile: str = "pylontech_lv") -> dict[str, Any]:
    told = [{"id": number, "data": data} for number, data in pairs]
    return answer({"frames": told}, profile=profile)


def error(body: object) -> str:
    found = answer(body)
    assert set(found) == {"ok", "error"}
    return str(found["error"])


# ---------------------------------------------------------------------- what is taken


@pytest.mark.parametrize("number", ["0x355", "355", "0X355", 0x355])
@pytest.mark.parametrize("data", ["5D006400", "5d 00 64 00", "5D 00 64 00 "])
def test_a_frame_may_be_written_in_several_ways(number: object, data: str) -> None:
    assert frames((number, data)) == {"ok": True, "values": SOC, "units": UNITS}


def test_data_may_be_called_data_hex() -> None:
    found = answer({"frames": [{"id": "0x355", "data_hex": "5D006400"}]})
    assert found["values"] == SOC


def test_the_last_of_one_identifier_counts() -> None:
    assert frames(("0x355", "01000100"), ("0x355", "5D006400"))["values"] == SOC


def test_no_frames_are_no_values() -> None:
    assert frames() == {"ok": True, "values": {}, "units": {}}


def test_what_the_profile_does_not_know_is_told_as_it_is() -> None:
    found = frames(
        ("0x305", "00 01"), (0x18FF50E5, "ff"), ("0x00000355", "5D00"), ("0x35B", ""), ("0x7", "1A")
    )
    assert found["values"] == {
        "frame_305": "00 01",
        "frame_18ff50e5": "ff",
        "frame_00000355": "5d 00",
        "frame_35b": "",
        "frame_007": "1a",
    }


def test_a_frame_that_is_too_short_for_its_message_is_told_as_it_is() -> None:
    found = frames(("0x372", "00 00 00 02"), profile="victron_lv")
    assert found["values"] == {"frame_372": "00 00 00 02"}


def test_the_note_says_which_firmware_it_is() -> None:
    assert frames(("0x359", "0000000004504E"))["note"] == "protocol V1.2, by frames 359 and 35C"
    note = frames(("0x35F", "4C4901033C02AA00"))["note"]
    assert note.startswith("protocol V1.3, or that of another maker")
    assert "note" not in frames(("0x355", "5D006400"))


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, '"frames": found None, expected {"frames": [{"id": "0x351", "data": '),
        ({"frames": {}}, '"frames": found {}, expected'),
        ({"frames": [5]}, "frames[0]: found 5, expected an id and data"),
        ({"frames": [{}]}, "frames[0]: id: found None, expected an identifier such as"),
    ],
)
def test_what_is_no_list_of_frames_is_refused(body: object, told: str) -> None:
    assert error(body).startswith(told)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("0x35Z", "found '0x35Z', expected an identifier"),
        ("", "found '', expected an identifier"),
        ("0x123456789", "found '0x123456789', expected an identifier"),
        ("0x20000000", "found '0x20000000', expected at most 0x1FFFFFFF"),
        (0x20000000, "found 536870912, expected at most 0x1FFFFFFF"),
        (-1, "found -1, expected at most 0x1FFFFFFF"),
        (True, "found True, expected an identifier"),
        (3.5, "found 3.5, expected an identifier"),
        ([], "found [], expected an identifier"),
    ],
)
def test_what_is_no_identifier_is_refused(number: object, told: str) -> None:
    second = {"id": number, "data": "00"}
    assert error({"frames": [{"id": 1, "data": ""}, second]}).startswith(f"frames[1]: id: {told}")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("0", "data: found '0', expected hexadecimal bytes"),
        ("GG", "data: found 'GG', expected hexadecimal bytes"),
        (5, "data: found 5, expected hexadecimal bytes"),
        (None, "data: found None, expected hexadecimal bytes"),
        ("00 00 00 00 00 00 00 00 00", "data: found 9 bytes, expected at most 8"),
    ],
)
def test_what_are_no_data_is_refused(data: object, told: str) -> None:
    assert error({"frames": [{"id": 1, "data": data}]}).startswith(f"frames[0]: {told}")


def test_a_frame_without_data_is_refused() -> None:
    assert error({"frames": [{"id": 1}]}).startswith('frames[0]: "data" is missing')


# ---------------------------------------------------------------------- lines of candump


@pytest.mark.parametrize(
    "line",
    [
        "(1700000000.123456) can0 355#5D006400",
        "  can0  355   [4]  5D 00 64 00   '].d.'",
        "355#5D006400",
    ],
)
def test_a_line_of_candump_is_decoded_by_itself(line: str) -> None:
    assert answer(line) == {"ok": True, "values": SOC, "units": UNITS}


def test_a_line_without_data_is_answered_with_a_note() -> None:
    assert answer("(1.0) can0 355#R") == {
        "ok": True,
        "values": {},
        "units": {},
        "note": "a remote request; it carries no values",
    }


@pytest.mark.parametrize("line", ["hello", "[1, 2]", "355#5", "\x00"])
def test_another_line_is_refused(line: str) -> None:
    assert not answer(line)["ok"]


@given(text=st.text(max_size=40) | st.binary(max_size=40).map(lambda one: one.decode("latin-1")))
def test_no_line_is_a_bug(text: str) -> None:
    for line in text.splitlines() or [""]:
        found = answer(line)
        assert found["ok"] or "bug" not in found["error"]


# ---------------------------------------------------------------------- the command


def command(*arguments: str, given: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(
        cli, ["decode", "can", *arguments], input=given, standalone_mode=False
    )
    return int(result.return_value), [json.loads(line) for line in result.stdout.splitlines()]


def test_the_command_takes_the_usual_profile_where_none_is_named() -> None:
    line = json.dumps({"frames": [{"id": "0x355", "data": "5D006400"}]})
    status, answers = command(given=f"{line}\n355#5D006400\n\n")
    assert [one.get("values") for one in answers] == [SOC, SOC, None]
    assert "the line is empty" in answers[2]["error"]
    assert status == 1


def test_the_command_takes_a_profile_by_name_or_file(tmp_path: Path) -> None:
    frame = "(1.0) can0 356#0A0211FFBE000000\n"
    _, [by_name] = command("--profile", "discover", given=frame)
    assert by_name["values"]["battery_v"] == 52.2
    (tmp_path / "mine.yaml").write_text("extends: discover\n")
    _, [by_file] = command("--profile", str(tmp_path / "mine.yaml"), given=frame)
    assert by_file == by_name


def test_the_exit_status_says_whether_all_could_be_decoded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    capture = tmp_path / "capture.log"
    for text, status in (("355#5D00\n355#R\n", 0), ("355#5D00\nwhat\n", 1)):
        capture.write_text(text)
        assert run(["decode", "can", str(capture)]) == status
        assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_profile_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        run(["decode", "can", "--profile", "victron_vl", "-"])
    assert str(caught.value).endswith("'victron_vl' is not known; did you mean 'victron_lv'?")


def test_a_map_is_of_no_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["decode", "can", "--map", "opendtu", "-"]) != 0
    assert "can is decoded without a map" in capsys.readouterr().err
