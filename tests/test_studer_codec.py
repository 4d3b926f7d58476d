"""SCOM: frames in whatever surrounds and damages them, and the values in them."""

import inspect
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.studer import asking, codec, frame, reading
from bridges.studer.codec import Entry, Format, Infos, pack, unpack
from bridges.studer.frame import (
    ERRORS,
    LONGEST,
    Frame,
    Question,
    Refused,
    Stream,
    Type,
    answer,
    find,
    refusal,
    request,
)
from heliobus.errors import FrameError
from tests.helpers import flips

# From Studer's specification, V1.6.32, sections 5.3 and 6.1.5.
ASKED = bytes.fromhex("AA0001000000650000000A006F7100010100B80B00000100C590")
TOLD = bytes.fromhex("AA3465000000010000000E00A74502010100B80B0000010000C045410DCB")
GUID = bytes.fromhex(
    "AA23F5010000010000001A00334B020104000000000000003AD01B0B58C932BAEC4D3528613D7D4034A3"
)
PORTAL = bytes.fromhex("AA2065000000010000000E00936902010100B80B0000010000004D42569C")


def one(data: bytes) -> Frame:
    frames, rest = find(data)
    assert (len(frames), rest) == (1, b"")
    return frames[0]


def values_in(data: bytes) -> list[bytes]:
    return [each.data for each in find(data)[0]]


# ---------------------------------------------------------------------- out


def test_a_question_is_framed_as_the_specification_prints_it() -> None:
    assert request(Question.info(101, 3000)) == ASKED
    printed = "AA0001000000650000000A006F71000102007204000005007DD9"
    assert request(Question.parameter(101, 1138)).hex().upper() == printed
    printed = "AA0001000000F50100000A0000D600010400000000000000041F"
    assert request(Question.guid()).hex().upper() == printed


def test_an_answer_is_framed_as_the_specification_prints_it() -> None:
    assert answer(one(ASKED), bytes.fromhex("00C04541"), flags=0x34) == TOLD
    assert answer(one(request(Question.guid())), one(GUID).data, flags=0x23) == GUID


def test_what_asks_can_only_read() -> None:
    for question in (
        Question.info(101, 3000),
        Question.parameter(101, 1138),
        Question.message(0),
        Question.guid(),
        Question.infos([(3000, 1)], 7),
        Question(101, 2, 1138, 0x0D, struct.pack("<f", 30.0)),
    ):
        assert one(request(question)).service == 1
    # What a device sends back carries the bit of an answer, whatever it answers.
    write = "AA0001000000650000000E00737900020200720400000D000000F041B72B"
    assert one(answer(one(bytes.fromhex(write)), b"")).is_answer
    for module in (frame, codec, asking, reading):
        public = [name for name, _ in inspect.getmembers(module, inspect.isfunction)]
        assert not [name for name in public if "write" in name or "set_" in name]


def test_24_infos_at_once_cost_300_bytes() -> None:
    items = [(3000 + number, 1) for number in range(24)]
    asked = request(Question.infos(items, 1))
    told = Infos(0, 0, dict.fromkeys(items, 1.0)).pack()
    assert (len(asked), len(answer(one(asked), told))) == (98, 202)


def test_more_than_76_infos_at_once_are_not_asked_for() -> None:
    with pytest.raises(ValueError, match="found 77 infos, expected at most 76"):
        Question.infos([(3000, 1)] * 77, 1)


# ---------------------------------------------------------------------- in


def test_an_answer_says_whose_it_is_and_what_the_gateway_is_like() -> None:
    frame = one(TOLD)
    assert (frame.source, frame.target, frame.flags) == (101, 1, 0x34)
    assert (frame.is_answer, frame.is_error, frame.service) == (True, False, 1)
    assert (frame.object_type, frame.object_id, frame.property_id) == (1, 3000, 1)
    assert frame.question == Question.info(101, 3000)
    assert frame.told() == bytes.fromhex("00C04541")


@pytest.mark.parametrize(
    "other",
    [
        Question.info(102, 3000),
        Question.info(101, 3001),
        Question.parameter(101, 3000),
        Question(101, Type.INFO, 3000, 5),
    ],
    ids=str,
)
def test_an_answer_belongs_to_one_question_only(other: Question) -> None:
    assert one(TOLD).answers(Question.info(101, 3000))
    assert not one(TOLD).answers(other)


def test_neither_a_question_nor_an_answer_for_others_is_an_answer_for_us() -> None:
    assert not one(ASKED).answers(Question.info(101, 3000))
    assert not one(TOLD).answers(Question.info(101, 3000), asker=2)


def test_a_refusal_says_why_in_words() -> None:
    refused = one(refusal(one(ASKED), 0x13))
    assert refused.answers(Question.info(101, 3000))
    with pytest.raises(Refused, match=r"info 3000 of device 101: refused with error 19 \(GATEWAY"):
        refused.told()
    for code in ERRORS:
        with pytest.raises(Refused) as raised:
            one(refusal(one(ASKED), code)).told()
        assert raised.value.code == code
    with pytest.raises(Refused, match=r"error 999 \(unknown\)"):
        one(refusal(one(ASKED), 999)).told()


@pytest.mark.parametrize("data", [ASKED, TOLD, GUID], ids=["question", "answer", "guid"])
def test_a_frame_may_be_cut_anywhere(data: bytes) -> None:
    for cut in range(1, len(data)):
        assert find(data[:cut]) == ([], data[:cut])
        stream = Stream()
        assert stream.feed(data[:cut]) == []
        assert stream.feed(data[cut:]) == [one(data)]
    stream = Stream()
    assert [frame for byte in data for frame in stream.feed(bytes([byte]))] == [one(data)]


@pytest.mark.parametrize("data", [ASKED, TOLD, GUID], ids=["question", "answer", "guid"])
def test_no_flipped_bit_ever_gives_another_frame(data: bytes) -> None:
    for damaged in flips(data):
        assert find(damaged)[0] == []
        assert values_in(damaged + TOLD)[-1:] in ([], [one(TOLD).data])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xff", b""),
        (b"\x00\xff\x00", b"\r\n"),
        (b"\r\n", b"\r\n"),
        (b"\xaa", b""),
        (b"\xaa\xaa\xff", b""),
        (PORTAL[:20], b""),
        (PORTAL[:-1] + b"\x00", b"\xff"),
        (TOLD[:14], b"\r\n"),
    ],
    ids=["ff", "00 ff 00", "cr lf", "aa", "aa aa", "cut", "damaged", "header"],
)
def test_what_surrounds_a_frame_is_passed_over(before: bytes, after: bytes) -> None:
    # The next frame shows that what went before was none.
    assert one(TOLD) in find(before + TOLD + after + GUID + GUID)[0]


def test_a_start_byte_within_a_frame_starts_nothing() -> None:
    data = bytes.fromhex("AA2065000000010000000E00936902010100B80B00000100AAAA4E42AB44")
    assert unpack(Format.FLOAT, one(data).data) == pytest.approx(51.666666)
    assert values_in(data + data) == [one(data).data] * 2


def test_a_header_that_promises_too_much_is_not_waited_for() -> None:
    head = struct.pack("<BIIH", 0, 1, 101, LONGEST + 1)
    assert find(b"\xaa" + head + frame.checksum(head) + TOLD)[0] == [one(TOLD)]


def test_a_sound_frame_that_is_too_short_says_nothing() -> None:
    head = struct.pack("<BIIH", 0, 1, 101, 3)
    short = b"\xaa" + head + frame.checksum(head) + b"abc" + frame.checksum(b"abc")
    assert find(short + TOLD) == ([one(TOLD)], b"")


@given(st.binary(max_size=400), st.binary(max_size=60), st.integers(0, 460))
def test_any_bytes_in_any_pieces_crash_nothing(data: bytes, more: bytes, cut: int) -> None:
    mixed = data + TOLD + more
    stream = Stream()
    whole = stream.feed(mixed[:cut]) + stream.feed(mixed[cut:])
    assert whole == find(mixed)[0]
    assert len(find(mixed)[1]) <= LONGEST + 15


def test_noise_without_end_takes_no_memory() -> None:
    stream = Stream()
    for _ in range(500):
        stream.feed(b"\xaa\x55" * 512)
        stream.feed(TOLD[:20])
        assert len(stream._rest) <= LONGEST + 15  # noqa: SLF001


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 0xFFFF),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=300),
)
def test_what_is_framed_is_found(target: int, sort: int, number: int, data: bytes) -> None:
    question = Question(target, sort, number, 1, data)
    asked = one(request(question))
    assert asked.question == question
    told = one(answer(asked, data, flags=0x20))
    assert told.answers(question)
    assert told.told() == data


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("form", "data", "value"),
    [
        (Format.FLOAT, "00C04541", 12.359375),
        (Format.FLOAT, "0000C07F", None),
        (Format.FLOAT, "0000807F", None),
        (Format.FLOAT, "CDCCCC3D", 0.1),
        (Format.BOOL, "01", True),
        (Format.SHORT_ENUM, "0900", 9),
        (Format.LONG_ENUM, "00000080", 2**31),
        (Format.INT32, "FFFFFFFF", -1),
        (Format.STRING, "41A4" + "0000", "A€"),
    ],
)
def test_a_value_is_read_by_its_format(form: Format, data: str, value: codec.Value | None) -> None:
    read = unpack(form, bytes.fromhex(data))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("form", [form for form in Format if form.value], ids=lambda f: f.name)
def test_a_value_of_another_length_is_refused(form: Format) -> None:
    size = struct.calcsize(form.value)
    for wrong in (size - 1, size + 1):
        with pytest.raises(FrameError, match=f"found {wrong} bytes, expected {size} of a value in"):
            unpack(form, bytes(wrong))


def test_a_truth_is_0_or_1() -> None:
    with pytest.raises(FrameError, match="found 2, expected 0 or 1"):
        unpack(Format.BOOL, b"\x02")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_keeps_all_digits_that_it_has(number: float) -> None:
    read = unpack(Format.FLOAT, struct.pack("<f", number))
    assert isinstance(read, float)
    assert struct.pack("<f", read) == struct.pack("<f", number)
    assert len(f"{read!r}".replace("-", "").partition("e")[0].strip("0.")) <= 18  # no tail of f64


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (Format.FLOAT, 51.5),
        (Format.FLOAT, None),
        (Format.BOOL, False),
        (Format.SHORT_ENUM, 12),
        (Format.LONG_ENUM, 2**32 - 1),
        (Format.INT32, -7),
        (Format.STRING, "LG171010.CSV"),
    ],
)
def test_a_value_is_packed_as_it_is_read(form: Format, value: codec.Value | None) -> None:
    assert unpack(form, pack(form, value)) == value


def test_many_infos_are_told_by_number_and_device() -> None:
    data = bytes.fromhex("A000000000F15365B80B0100004E42FC2A020000C07F")
    infos = Infos.unpack(data)
    assert (infos.flags, infos.time_s) == (0xA0, 0x6553F100)
    assert infos.values == {(3000, 1): 51.5, (11004, 2): None}
    assert math.isnan(struct.unpack("<f", infos.pack()[-4:])[0])
    assert Infos.unpack(infos.pack()) == infos
    for wrong in (data[:7], data[:-1], data + b"\0"):
        with pytest.raises(FrameError, match="bytes of infos, expected 8 and 7 for each"):
            Infos.unpack(wrong)


def test_what_is_asked_for_at_once_is_read_back() -> None:
    items = ((3000, 1), (11004, 15), (7002, 0xFE))
    assert one(request(Question.infos(items, 9))).question.items == items
    with pytest.raises(FrameError, match="expected 3 for each"):
        _ = Question(501, Type.MULTI_INFO, 1, 1, b"1234").items


def test_an_entry_of_the_log_is_told_whole() -> None:
    entry = Entry(17, 19, 101, 1_700_000_000, 5)
    assert Entry.unpack(entry.pack()) == entry
    assert entry.pack().hex() == "1100000013006500000000f1536505000000"
    with pytest.raises(FrameError, match="found 17 bytes of a message, expected 18"):
        Entry.unpack(entry.pack()[:-1])
