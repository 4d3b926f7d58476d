"""What holds for any registers, values, files and captured lines."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bridges.modbus import profiles
from bridges.modbus.codec import decode, encode
from bridges.modbus.decoding import profile_decoder
from bridges.modbus.registers import Row
from bridges.modbus.types import TYPES
from heliobus import contract
from heliobus.components import Decoding
from heliobus.decode import run
from heliobus.errors import ConfigError
from heliobus.modbus import Read, crc, rtu

CONTRACT = contract.load()
NUMBERS = [name for name, one in TYPES.items() if one.is_number]
WHOLE = [name for name in NUMBERS if not TYPES[name].is_float]
words = st.integers(0, 0xFFFF)


@st.composite
def rows(draw: st.DrawFn, types: list[str]) -> Row:
    kind = draw(st.sampled_from(types))
    return Row(
        name="x",
        at=draw(st.integers(0, 0xFFF0)),
        count=TYPES[kind].registers or draw(st.integers(1, 4)),
        type=kind,
        function=draw(st.sampled_from([3, 4])),
        little=draw(st.booleans()),
        swapped=draw(st.booleans()),
        factor=draw(st.sampled_from([1.0, 0.1, 0.001, 10.0, 1000.0, -1.0, 0.25, 18.612])),
        divide=draw(st.sampled_from([1.0, 10.0, 3.0, 1000.0, 32768.0, 131072.0])),
        scales=draw(st.sampled_from([(), ("a",), ("a", "b")])),
        texts=draw(st.dictionaries(st.integers(0, 15), st.sampled_from("abcdef"), max_size=3)),
        absent=draw(st.frozensets(words, max_size=3)),
    )


def scales_of(numbers: dict[str, int]) -> tuple[dict[str, Row], dict[tuple[int, int], int]]:
    """Give the rows of scales, far from all others, and what they hold."""
    made = {
        name: Row(name, 0xFFF8 + 2 * at, 2, "u32", 3, divide=65536.0)
        for at, name in enumerate(numbers)
    }
    image: dict[tuple[int, int], int] = {}
    for name, row in made.items():
        image |= image_of(row, (numbers[name] >> 16, numbers[name] & 0xFFFF))
    return made, image


def image_of(row: Row, held: tuple[int, ...]) -> dict[tuple[int, int], int]:
    return {(row.function, row.at + at): word for at, word in enumerate(held)}


def read(row: Row, held: tuple[int, ...], numbers: dict[str, int]) -> Any:
    made, image = scales_of(numbers)
    return decode([row], made, image | image_of(row, held)).get("x")


NAMED = st.fixed_dictionaries({"a": st.integers(1, 2**32 - 1), "b": st.integers(1, 2**32 - 1)})


@given(rows(WHOLE), st.lists(words, min_size=4, max_size=4), NAMED)
def test_any_number_is_written_back_as_the_registers_it_was_read_from(
    row: Row, some: list[int], numbers: dict[str, int]
) -> None:
    held = tuple(some[: row.count])
    value = read(row, held, numbers)
    assume(value is not None)
    assume(row.count < 4)  # a float holds fewer digits than 64 bits
    scales = {name: number / 65536 for name, number in numbers.items()}
    assert encode(row, value, scales) == held


FLOATS = {
    "f16": (6.2e-5, 65504.0, 1e-3),
    "f32": (1.2e-38, 3.4e38, 1.3e-7),
    "f64": (1e-300, 1e300, 0),
}


@given(st.data(), st.sampled_from(sorted(FLOATS)), st.sampled_from([1, -1]))
def test_any_float_is_read_as_it_was_written(data: st.DataObject, kind: str, sign: int) -> None:
    least, most, share = FLOATS[kind]
    value = data.draw(st.floats(least, most)) * sign
    row = Row("x", 0, TYPES[kind].registers, kind, 3, little=sign < 0)
    assert read(row, encode(row, value, {}), {}) == pytest.approx(value, rel=share, abs=0.0)


@given(rows(["u64", "i64"]), st.lists(words, min_size=4, max_size=4))
def test_a_whole_number_of_64_bits_loses_no_bit(row: Row, some: list[int]) -> None:
    row = Row("x", row.at, 4, row.type, row.function, little=row.little, swapped=row.swapped)
    value = read(row, tuple(some), {})
    assert isinstance(value, int)
    assert encode(row, value, {}) == tuple(some)


@given(
    rows(NUMBERS),
    st.one_of(st.none(), st.integers(), st.floats(), st.booleans()),
    NAMED,
)
def test_any_number_is_written_as_registers(
    row: Row, value: float | None, numbers: dict[str, int]
) -> None:
    written = encode(row, value, dict(numbers))
    assert len(written) == row.count
    assert all(0 <= word <= 0xFFFF for word in written)


@given(rows(WHOLE), st.integers())
def test_a_number_beyond_the_type_is_its_last_one(row: Row, value: int) -> None:
    row = Row("x", row.at, row.count, row.type, row.function, little=row.little)
    digits = 10 ** (4 * row.count) - 1 if row.type == "bcd" else 2 ** (16 * row.count) - 1
    most = digits // 2 if TYPES[row.type].signed else digits
    least = -most - 1 if TYPES[row.type].signed else 0
    assert read(row, encode(row, value, {}), {}) == max(least, min(most, value))


@given(rows(list(TYPES)), st.lists(words, max_size=8), NAMED)
def test_any_registers_are_values_or_nothing(
    row: Row, some: list[int], numbers: dict[str, int]
) -> None:
    value = read(row, tuple(some), numbers)
    assert value is None or isinstance(value, bool | int | float | str | list)
    assert not isinstance(value, float) or math.isfinite(value)
    assert not isinstance(value, str) or (value and value.isprintable())
    json.dumps(value, allow_nan=False)


@given(
    st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_any_text_is_read_as_it_was_written(text: str, little: bool, swapped: bool) -> None:  # noqa: FBT001
    row = Row("x", 0, 4, "text", 3, little=little, swapped=swapped)
    assert read(row, encode(row, text, {}), {}) == (text.strip() or None)


@given(st.sets(st.integers(0, 31)), st.booleans())
def test_any_bits_are_read_as_they_were_written(bits: set[int], little: bool) -> None:  # noqa: FBT001
    row = Row("x", 0, 2, "bits", 3, little=little, texts={0: "a", 17: "b"})
    texts = [row.texts.get(bit, f"bit {bit}") for bit in sorted(bits)]
    assert read(row, encode(row, texts, {}), {}) == texts


# ---------------------------------------------------------------------- captured lines

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
frames = st.binary(max_size=40).map(lambda data: (data + crc(data)).hex()) | st.text(max_size=30)
answers = st.builds(
    lambda unit, pdu: rtu(unit, pdu).hex(" "),
    st.integers(0, 255),
    st.builds(
        lambda function, size, data: bytes([function, size]) + data,
        st.sampled_from([3, 4, 0x83, 0x84, 8]),
        st.integers(0, 255),
        st.binary(max_size=20),
    ),
)
requests = st.builds(
    lambda unit, function, start, count: rtu(unit, Read(unit, function, start, count).pdu).hex(),
    st.integers(0, 255),
    st.sampled_from([3, 4, 6, 8, 16]),
    words,
    words,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "request": requests | frames | json_values,
        "response": answers | frames | json_values,
        "start": words | json_values,
        "registers": st.lists(words, max_size=200) | json_values,
        "function": st.sampled_from([3, 4]) | json_values,
        "scaling_context": st.lists(words, max_size=8) | json_values,
    },
)


class Lines:
    """A file that keeps what is written to it."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, data: bytes) -> None:
        self.text += data

    def flush(self) -> None:
        """Do nothing: it is kept already."""


DECODERS = {
    name: profile_decoder(name)
    for name in ("eastron_sdm630", "morningstar_tristar_mppt", "orno_we514")
}


@settings(max_examples=300)
@given(st.sampled_from(sorted(DECODERS)), bodies | json_values)
def test_whatever_was_captured_is_answered_in_one_line(name: str, body: Any) -> None:
    out = Lines()
    line = json.dumps(body).encode()
    run(Decoding.PROFILE, DECODERS[name], [line], out)  # type: ignore[arg-type]  # what it needs
    [answer] = out.text.splitlines()
    told = json.loads(answer)
    assert told["ok"] is True or "bug" not in told["error"]


# ---------------------------------------------------------------------- files

ROW = contract.read_schema(contract.schemas_folder() / "profile.json")["properties"]["registers"]
keys = st.sampled_from([*ROW["items"]["properties"], "x"])
plain = st.one_of(
    st.sampled_from(["power_w", "alarms", "charge_state", "f32", "u16", "bits", "enum", "kW", "W"]),
    st.integers(-5, 70_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.lists(st.integers(-2, 70_000), max_size=2),
    st.dictionaries(st.sampled_from(["0", "0x1", "16", "a"]), st.sampled_from(["a", "bulk"])),
)
written_rows = st.lists(
    st.dictionaries(keys, plain, max_size=6) | plain
    | st.fixed_dictionaries({"name": st.just("power_w"), "at": st.integers(0, 9)}),
    max_size=4,
)  # fmt: skip
TOP = {"maker": "A", "models": ["B"], "kind": "charger", "source": ["C"], "verified": "document"}


@settings(max_examples=200)
@given(
    written_rows,
    st.dictionaries(
        st.sampled_from(
            ["type", "probe", "scales", "identity", "without", "extends", "kind", "role"]
        ),
        plain | st.dictionaries(st.sampled_from(["serial", "a"]), st.dictionaries(keys, plain)),
        max_size=3,
    ),
)
def test_whatever_a_file_says_is_a_profile_or_told(
    tmp_path_factory: pytest.TempPathFactory, written: Any, more: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump({**TOP, "registers": written, **more}))
    with contextlib.suppress(ConfigError):
        profiles.load("./any.yaml", beside=path.parent)


@given(st.text(max_size=60))
def test_whatever_text_is_a_profile_or_told(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(ConfigError):
        profiles.load(str(path), beside=Path())
