"""Blocks of registers become points, and points blocks."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.sunspec import models
from bridges.sunspec.codec import Group, Model, Point, Value, decode, encode, places
from heliobus.errors import FrameError

ABSENT: list[tuple[str, list[int]]] = [
    ("int16", [0x8000]),
    ("uint16", [0xFFFF]),
    ("count", [0xFFFF]),
    ("acc16", [0]),
    ("enum16", [0xFFFF]),
    ("bitfield16", [0xFFFF]),
    ("int32", [0x8000, 0]),
    ("uint32", [0xFFFF, 0xFFFF]),
    ("acc32", [0, 0]),
    ("enum32", [0xFFFF, 0xFFFF]),
    ("bitfield32", [0xFFFF, 0xFFFF]),
    ("int64", [0x8000, 0, 0, 0]),
    ("uint64", [0xFFFF] * 4),
    ("acc64", [0] * 4),
    ("bitfield64", [0xFFFF] * 4),
    ("float32", [0x7FC0, 0]),
    ("float32", [0xFFFF, 0xFFFF]),
    ("float32", [0x7F80, 0]),  # infinite
    ("float64", [0x7FF8, 0, 0, 0]),
    ("string", [0, 0]),
    ("string", [0x2020, 0]),
    ("ipaddr", [0, 0]),
    ("ipv6addr", [0] * 8),
    ("eui48", [0] * 4),
    ("eui48", [0, 0xFFFF, 0xFFFF, 0xFFFF]),
]
PRESENT: list[tuple[str, list[int], Value]] = [
    ("int16", [0xFFFF], -1),
    ("int16", [0x7FFF], 32767),
    ("uint16", [0x8000], 32768),
    ("count", [0], 0),
    ("acc16", [0xFFFF], 65535),
    ("enum16", [0], 0),
    ("bitfield16", [0x8001], 0x8001),
    ("int32", [0xFFFF, 0xFFFE], -2),
    ("uint32", [0x0001, 0x0000], 65536),
    ("acc32", [0xFFFF, 0xFFFF], 4294967295),
    ("enum32", [0, 7], 7),
    ("bitfield32", [0x0001, 0], 65536),
    ("int64", [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFD], -3),
    ("uint64", [0, 0, 1, 2], 65538),
    ("acc64", [0, 1, 0, 0], 4294967296),
    ("bitfield64", [0x8000, 0, 0, 0], 1 << 63),
    ("float32", [0x3F33, 0x3333], 0.7),
    ("float32", [0x4B36, 0x24FC], 11937020.0),
    ("float32", [0x8000, 0x0000], 0.0),
    ("float64", [0x4047, 0x0000, 0x0000, 0x0000], 46.0),
    ("string", [0x4142, 0x4300], "ABC"),
    ("string", [0x4120, 0x2020], "A"),
    ("string", [0x4100, 0x4243], "A"),
    ("string", [0xC3BC, 0x0000], "ü"),
    ("string", [0xFC41, 0x0000], "üA"),  # no UTF-8
    ("ipaddr", [0xC0A8, 0x0096], "192.168.0.150"),
    ("ipv6addr", [0x2001, 0xDB8, 0, 0, 0, 0, 0, 1], "2001:db8::1"),
    ("eui48", [0, 0x0090, 0xEAE0, 0x56AF], "00:90:EA:E0:56:AF"),
]


def _model(*points: Point, groups: tuple[Group, ...] = ()) -> Model:
    return Model(9, Group("test", points, groups))


def _found(model: Model, *body: int | None) -> dict[str, Value]:
    found = decode(model, (model.id, len(body), *body))
    return {path: reading.value for path, reading in found.items()}


def _named(cases: list[tuple[str, list[int]]]) -> list[str]:
    return [f"{kind}-{words[0]:04X}" for kind, words in cases]


@pytest.mark.parametrize(("kind", "words"), ABSENT, ids=_named(ABSENT))
def test_what_a_device_does_not_implement_has_no_value(kind: str, words: list[int]) -> None:
    model = _model(Point("X", 2, len(words), kind))
    assert _found(model, *words) == {}


@pytest.mark.parametrize(
    ("kind", "words", "value"), PRESENT, ids=_named([case[:2] for case in PRESENT])
)
def test_every_type_is_read(kind: str, words: list[int], value: Value) -> None:
    found = _found(_model(Point("X", 2, len(words), kind)), *words)
    assert found == {"X": value}
    assert type(found["X"]) is type(value)


@pytest.mark.parametrize(
    ("raw", "scale", "value"),
    [
        (5340, -2, 53.4),
        (6001, -2, 60.01),
        (-1, -3, -0.001),
        (53, 0, 53),
        (53, 3, 53000),
        (7, 10, 70_000_000_000),
        (3, -10, 3e-10),
    ],
)
def test_a_value_is_exactly_raw_times_ten_to_the_scale_factor(
    raw: int, scale: int, value: Value
) -> None:
    model = _model(Point("X", 2, 1, "int16", "", "X_SF"), Point("X_SF", 3, 1, "sunssf"))
    found = _found(model, raw & 0xFFFF, scale & 0xFFFF)
    assert found == {"X": value}
    assert type(found["X"]) is type(value)


@pytest.mark.parametrize("scale", [0x8000, 11, 0xFFF5, 0x7FFF])
def test_a_value_whose_scale_factor_is_unknown_is_unknown(scale: int) -> None:
    model = _model(Point("X", 2, 1, "int16", "", "X_SF"), Point("X_SF", 3, 1, "sunssf"))
    assert _found(model, 5340, scale) == {}


def test_a_value_whose_scale_factor_lies_beyond_the_block_is_unknown() -> None:
    model = _model(Point("X", 2, 1, "int16", "", "X_SF"), Point("X_SF", 3, 1, "sunssf"))
    assert _found(model, 5340) == {}


def test_a_scale_factor_may_be_a_number_of_the_definition() -> None:
    assert _found(_model(Point("X", 2, 1, "int16", "", -1)), 507) == {"X": 50.7}


def test_only_points_that_are_whole_within_the_block_have_values() -> None:
    model = _model(Point("A", 2, 1, "int16"), Point("B", 3, 2, "uint32"))
    assert _found(model, 1, 0, 2) == {"A": 1, "B": 2}
    assert _found(model, 1, 0) == {"A": 1}
    assert _found(model) == {}
    assert decode(model, (9, 3, 1, 0)).keys() == {"A"}  # the capture ends before the block
    assert decode(model, (9,)) == {}


def test_what_a_longer_block_has_besides_is_passed_over() -> None:
    assert _found(_model(Point("A", 2, 1, "int16")), 1, 2, 3) == {"A": 1}


def test_a_register_that_could_not_be_read_costs_its_points_only() -> None:
    model = _model(Point("A", 2, 1, "int16"), Point("B", 3, 2, "uint32"))
    assert _found(model, 1, None, 2) == {"A": 1}
    model = _model(Point("A", 2, 1, "int16", "", "SF"), Point("SF", 3, 1, "sunssf"))
    assert _found(model, 1, None) == {}


def test_a_group_repeats_as_often_as_it_fits_whatever_its_count_says() -> None:
    group = Group("string", (Point("V", 0, 1, "uint16"), Point("A", 1, 1, "int16")), count="N")
    model = _model(Point("N", 2, 1, "count"), groups=(group,))
    assert _found(model, 9, 10, 11, 20, 21, 30) == {
        "N": 9,
        "string[0].V": 10,
        "string[0].A": 11,
        "string[1].V": 20,
        "string[1].A": 21,
    }
    assert _found(model, 0, 10, 11)["string[0].V"] == 10


def test_groups_within_groups_are_counted_by_their_points() -> None:
    points = Group("Pt", (Point("V", 0, 1, "uint16", "", "V_SF"),), count="NPt")
    curve = Group("Crv", (Point("ActPt", 0, 1, "uint16"),), (points,), count="NCrv")
    top = (Point("NPt", 2, 1, "uint16"), Point("V_SF", 3, 1, "sunssf"))
    model = _model(*top, groups=(curve,))
    assert _found(model, 2, 0xFFFF, 1, 100, 105, 2, 200, 205) == {
        "NPt": 2,
        "Crv[0].ActPt": 1,
        "Crv[0].Pt[0].V": 10.0,
        "Crv[0].Pt[1].V": 10.5,
        "Crv[1].ActPt": 2,
        "Crv[1].Pt[0].V": 20.0,
        "Crv[1].Pt[1].V": 20.5,
    }


def test_a_group_that_stands_once_has_no_number() -> None:
    group = Group("PFWInj", (Point("PF", 0, 1, "uint16"),))
    model = _model(Point("A", 2, 1, "uint16"), groups=(group, group))
    assert _found(model, 1, 95) == {"A": 1, "PFWInj.PF": 95}


def test_a_count_that_cannot_be_true_ends_quickly() -> None:
    model = models.find(707)
    assert model is not None
    words = [707, 60, *[1] * 60]
    words[5] = 0xFFFE  # NPt
    assert "Crv[0].ReadOnly" not in decode(model, words)


def test_words_may_come_the_low_one_first() -> None:
    # A MATE3S: 2020-12-31, not 2031.
    point = Point("T", 2, 2, "uint32", low_word_first=True)
    assert _found(_model(point), 0x741D, 0x5FED) == {"T": 1609397277}
    four = Point("E", 2, 4, "uint64", low_word_first=True)
    assert _found(_model(four), 0x0005, 1, 0, 0) == {"E": 65541}


def test_a_meter_that_has_only_a_part_of_its_model_gives_that_part() -> None:
    model = models.find(204)
    assert model is not None
    whole = {place.path for place in places(model, 105)}
    part = {place.path for place in places(model, 81)}
    assert part < whole
    assert "TotVArhImpQ2" in part
    assert "TotVArhImpQ2PhA" not in part  # it would end one register beyond


# ---------------------------------------------------------------------- for the simulator


def test_what_is_encoded_is_read_as_it_was() -> None:
    model = models.find(103)
    assert model is not None
    values: dict[str, Value] = {"W": 24767, "W_SF": 0, "Hz": 59.99, "Hz_SF": -2, "St": 4}
    values |= {"WH": 17534384, "WH_SF": 0, "PF": -99.87, "PF_SF": -2}
    words = encode(model, values)
    assert words[:2] == (103, 50)
    assert len(words) == 52
    found = {path: reading.value for path, reading in decode(model, words).items()}
    assert found == {path: value for path, value in values.items() if "_SF" not in path}


def test_groups_are_encoded_by_their_length() -> None:
    model = models.find(160)
    assert model is not None
    values: dict[str, Value] = {"N": 2, "DCV_SF": -1, "module[1].DCV": 401.5}
    values["module[0].IDStr"] = "roof"
    words = encode(model, values, length=48)
    found = decode(model, words)
    assert (found["module[1].DCV"].value, found["module[0].IDStr"].value) == (401.5, "roof")
    assert "module[0].DCV" not in found


def test_a_path_that_a_block_does_not_have_is_refused() -> None:
    model = models.find(160)
    assert model is not None
    with pytest.raises(FrameError, match=r"model 160: has no module\[2\].DCV in 48 registers"):
        encode(model, {"module[2].DCV": 1, "DCV_SF": 0}, length=48)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"X": 40000, "X_SF": 0}, "X: 40000 does not fit into int16"),
        ({"X": 1}, "X: its scale factor has no value"),
    ],
)
def test_a_value_that_cannot_be_encoded_is_refused(values: dict[str, Value], found: str) -> None:
    model = _model(Point("X", 2, 1, "int16", "", "X_SF"), Point("X_SF", 3, 1, "sunssf"))
    with pytest.raises(FrameError, match=found):
        encode(model, values)


@pytest.mark.parametrize(
    ("kind", "words", "value"), PRESENT, ids=_named([case[:2] for case in PRESENT])
)
def test_every_type_is_encoded_to_what_is_read(kind: str, words: list[int], value: Value) -> None:
    model = _model(Point("X", 2, len(words), kind, low_word_first=kind == "uint64"))
    assert _found(model, *encode(model, {"X": value})[2:]) == {"X": value}


# ---------------------------------------------------------------------- whatever comes


@given(st.sampled_from(sorted(models.files())), st.binary(max_size=600))
def test_no_noise_makes_it_fail(number: int, noise: bytes) -> None:
    model = models.find(number)
    assert model is not None
    body = [word for (word,) in struct.iter_unpack(">H", noise[: len(noise) // 2 * 2])]
    for reading in decode(model, (number, len(body), *body)).values():
        assert isinstance(reading.value, int | float | str)


@given(st.sampled_from([1, 103, 160, 203, 705, 714, 803]), st.lists(st.integers(0, 65535)))
def test_less_of_a_block_never_gives_other_values(number: int, body: list[int]) -> None:
    model = models.find(number)
    assert model is not None
    whole = decode(model, (number, len(body), *body))
    cut = decode(model, (number, len(body), *body[: len(body) // 2]))
    scaled = {path for path, reading in whole.items() if isinstance(reading.point.scale, str)}
    for path in set(cut) - scaled:
        assert cut[path] == whole[path]
