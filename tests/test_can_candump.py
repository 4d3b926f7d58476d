"""Lines of candump and cansend, read and written; also by the programs of can-utils themselves."""

import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.can.candump import Line, Sort, log_line, read, send_text, view_line
from bridges.can.frames import EXTENDED
from heliobus.errors import FrameError
from tests.helpers import require_program

SOC = Line(0x355, bytes.fromhex("5D006400"), at_s=1700000000.123456, channel="can0")
WIDE = Line(0x18FF50E5 | EXTENDED, b"", at_s=1700000000.2, channel="can0")


@pytest.mark.parametrize(
    ("text", "at_s", "channel"),
    [
        ("(1700000000.123456) can0 355#5D006400", 1700000000.123456, "can0"),
        ("(1700000000.123456) can0 355#5D006400 R", 1700000000.123456, "can0"),
        ("(1700000000.123456)  can0  355   [4]  5D 00 64 00", 1700000000.123456, "can0"),
        (" (1700000000.123456)  can0  355   [4]  5D 00 64 00   '].d.'", 1700000000.123456, "can0"),
        (" (000.000000)  can0  355   [4]  5D 00 64 00", 0.0, "can0"),
        (" (012.002000)  can0  355   [4]  5D 00 64 00", 12.002, "can0"),
        (" (2023-11-14 22:13:20.123456)  can0  355   [4]  5D 00 64 00", 1700000000.123456, "can0"),
        ("  can0  355   [4]  5D 00 64 00", None, "can0"),
        ("  slcan1       355   [4]  5D 00 64 00\r\n", None, "slcan1"),
        ("  can0  355   [4]  5D 00 64 00   '].d.'", None, "can0"),
        ("  vcan0  RX - -  355   [4]  5D 00 64 00", None, "vcan0"),
        ("  can0  TX B E  355   [4]  5D 00 64 00", None, "can0"),
        ("\x1b[31m  can0  355   [4]  5D 00 64 00\x1b[0m", None, "can0"),
        ("355#5D006400", None, ""),
        ("355#5D.00.64.00", None, ""),
        ("355#5d006400", None, ""),
    ],
)
def test_one_frame_is_the_same_in_every_form(text: str, at_s: float | None, channel: str) -> None:
    assert read(text) == Line(0x355, b"\x5d\x00\x64\x00", Sort.DATA, at_s, channel)


@pytest.mark.parametrize(
    "text",
    [
        "(1.0) can0 00000355#5D",
        "  can0  00000355   [1]  5D",
        "00000355#5D",
    ],
)
def test_eight_digits_are_an_identifier_of_29_bits(text: str) -> None:
    assert read(text).id == 0x355 | EXTENDED


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("(1.0) can0 355#R", Sort.REMOTE),
        ("(1.0) can0 355#R4", Sort.REMOTE),
        ("  can0  355   [0]  remote request", Sort.REMOTE),
        ("  can0  355   [4]  remote request", Sort.REMOTE),
        ("(1.0) can0 355##1", Sort.FD),
        ("(1.0) can0 355##01122334455667788990011", Sort.FD),
        ("  can0  355  [05]  00 00 AA BB CC", Sort.FD),
        ("  can0  355  [64]  00 00", Sort.FD),
        ("(1.0) can0 20000004#0004000000000000", Sort.ERROR),
        ("  can0  20000004   [8]  00 04 00 00 00 00 00 00   ERRORFRAME", Sort.ERROR),
    ],
)
def test_what_carries_no_values_is_told_apart(text: str, sort: Sort) -> None:
    found = read(text)
    assert (found.sort, found.data) == (sort, b"")


def test_letters_in_the_last_column_are_no_bytes() -> None:
    assert read("  can0  35E   [5]  31 32 20 33 34   '12 34'").data == b"12 34"


def test_a_length_beside_the_data_is_passed_over() -> None:
    assert read("(1.0) can0 123#1122334455667788_B").data == bytes.fromhex("1122334455667788")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found '', expected a line of candump"),
        ("hello", "found 'hello', expected a line of candump"),
        ("can0 35X#00", "found 'can0 35X#00', expected a line of candump"),
        ("355#5", "data: found '5', expected hexadecimal bytes such as 5D006400"),
        ("355#GG", "data: found 'GG', expected hexadecimal bytes such as 5D006400"),
        ("355##", "data: found '', expected hexadecimal bytes"),
        ("355#001122334455667788", "data: found 9 bytes, expected at most 8"),
        ("can0  355   [4]  5D 00 64", "data: found '5D 00 64', expected 4 bytes such as 5D 00"),
        ("can0  355   [2]  5D 00 64", "data: found '5D 00 64', expected 2 bytes and no more"),
        ("can0  355   [1]  01011101", "data: found '01011101', expected 1 bytes such as 5D 00"),
        ("can0  355   [2]  64`5D", "data: found '64`5D', expected 2 bytes such as 5D 00"),
        ("can0  355   [9]  00 00 00 00 00 00 00 00 00", "data: found 9 bytes, expected at most 8"),
        ("(now) can0 355#00", "time: found 'now', expected one of candump"),
        ("(2023-14-99 22:13) can0 355#00", "time: found '2023-14-99 22:13', expected"),
        ("(1.0) can0 800#00", "identifier: found 800, expected at most 7FF, or eight digits"),
        ("(1.0) can0 FFF#00", "identifier: found FFF, expected at most 7FF, or eight digits"),
        ("(1.0) can0 80000000#00", "identifier: found 80000000, expected at most 1FFFFFFF"),
    ],
)
def test_what_is_no_line_is_refused_with_what_was_found(text: str, told: str) -> None:
    with pytest.raises(FrameError) as caught:
        read(text)
    assert str(caught.value).startswith(told)


def test_a_frame_is_written_as_each_program_writes_it() -> None:
    assert log_line(SOC) == "(1700000000.123456) can0 355#5D006400"
    assert send_text(SOC) == "355#5D006400"
    assert view_line(SOC) == " (1700000000.123456)  can0  355   [4]  5D 00 64 00"
    plain = Line(SOC.id, SOC.data, channel="can0")
    assert view_line(plain) == "  can0  355   [4]  5D 00 64 00"
    assert view_line(plain, letters=True) == "  can0  355   [4]  5D 00 64 00               '].d.'"
    assert log_line(WIDE) == "(1700000000.200000) can0 18FF50E5#"
    assert send_text(Line(0x355, sort=Sort.REMOTE)) == "355#R"
    assert view_line(Line(0x355, sort=Sort.REMOTE)) == "  can0  355   [0]  remote request"


IDS = st.integers(0, 0x7FF) | st.integers(0, 0x1FFFFFFF).map(lambda one: one | EXTENDED)
LINES = st.builds(
    Line,
    id=IDS,
    data=st.binary(max_size=8),
    at_s=st.integers(0, 4 * 10**15).map(lambda one: one / 1e6),
    channel=st.sampled_from(["can0", "vcan12", "slcan0"]),
)


@given(line=LINES)
def test_every_frame_comes_back_from_each_form(line: Line) -> None:
    at_s = pytest.approx(line.at_s, abs=1e-6)
    for found in (
        read(log_line(line)),
        read(view_line(line)),
        read(view_line(line, letters=True)),
    ):
        assert (found.id, found.data, found.channel) == (line.id, line.data, line.channel)
        assert found.at_s == at_s
    assert read(send_text(line)) == Line(line.id, line.data)


@given(text=st.text(max_size=60) | st.from_regex(r"can0  [0-9A-F]{3} \[[0-9]\] [0-9A-F ]*"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read(text)
    except FrameError:
        return
    assert len(found.data) <= 8


def test_a_line_without_end_costs_no_time() -> None:
    for text in ("can0 " * 100_000, "(" * 100_000, "355#" + "00" * 100_000, "355#" + "." * 99_999):
        with pytest.raises(FrameError):
            read(text)


# ---------------------------------------------------------------------- the programs themselves

FRAMES = (
    SOC,
    Line(0x35E, b"PYLON   ", at_s=1700000000.125, channel="can0"),
    Line(0x35C, b"", at_s=1700000000.127, channel="can0"),
    Line(0x7FF, bytes(8), at_s=1700000000.13, channel="can0"),
    Line(0x355 | EXTENDED, b"\xff", at_s=1700000000.14, channel="can0"),
    WIDE,
)
LOG = "".join(f"{log_line(one)}\n" for one in FRAMES)


def ran(program: str, *arguments: str, given: str = "") -> list[str]:
    path = require_program(program, "can-utils")
    done = subprocess.run(
        [path, *arguments], input=given, capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout.splitlines()


def test_what_log2long_shows_of_our_lines_is_read_as_the_same_frames() -> None:
    shown = ran("log2long", given=LOG)
    assert [read(one) for one in shown] == list(FRAMES)


def test_what_asc2log_makes_of_what_log2asc_makes_is_read_as_the_same_frames(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("asc")
    (folder / "frames.log").write_text(LOG)
    made = ran("log2asc", "-I", str(folder / "frames.log"), "can0")
    (folder / "frames.asc").write_text("\n".join(made) + "\n")
    back = [read(one) for one in ran("asc2log", "-I", str(folder / "frames.asc"))]
    assert [(one.id, one.data) for one in back] == [(one.id, one.data) for one in FRAMES]
    first_s = back[0].at_s or 0.0
    for found, sent in zip(back, FRAMES, strict=True):
        # Seconds since 1970 have no finer digits than a quarter of a millionth.
        sent_s = (sent.at_s or 0.0) - (SOC.at_s or 0.0)
        assert (found.at_s or 0.0) - first_s == pytest.approx(sent_s, abs=1e-6)


def test_what_carries_no_values_is_told_apart_in_what_log2long_shows() -> None:
    log = "(1.000000) can0 355#R\n(1.000000) can0 355##10011\n(1.000000) can0 20000004#0004\n"
    shown = [read(one).sort for one in ran("log2long", given=log)]
    assert shown == [Sort.REMOTE, Sort.FD, Sort.ERROR]


def test_a_date_is_counted_as_utc() -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
    text = f" ({moment:%Y-%m-%d %H:%M:%S.%f})  can0  355   [0]"
    assert read(text).at_s == pytest.approx(moment.timestamp(), abs=1e-5)
