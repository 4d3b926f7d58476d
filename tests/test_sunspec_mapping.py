"""Each mapped model, with another number in every register, gives the fields that are stated.

In `bridges/sunspec/vectors/` a register at offset N of its block holds 1000 + N, the low one of a
longer point so, too; scale factors differ within a model. So a stated value names its point.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from bridges.sunspec import mapping
from bridges.sunspec.decoding import decode_registers
from bridges.sunspec.mapping import Mapped
from tests.sunspec_chains import END, SUNS, common

FOLDER = Path(mapping.__file__).parent / "vectors"
ROWS: list[dict[str, Any]] = [
    row for path in sorted(FOLDER.glob("*.json")) for row in json.loads(path.read_bytes())
]
EACH = [
    pytest.param(row, number, id=f"{number}, {row['name']}")
    for row in ROWS
    for number in row["models"]
]
MAPPED = {**mapping.standard().models, **mapping.outback().models}
# values.py makes others of these.
INNER = {"_energy_kwh": "yield_kwh", "_dc_v": "pv_v", "_dc_a": "pv_a", "_dc_w": "pv_w"}


@pytest.mark.parametrize(("row", "number"), EACH)
def test_a_model_gives_the_fields_that_are_stated(row: dict[str, Any], number: int) -> None:
    (_, *rest), *others = row["blocks"]
    words = [word for block in ((number, *rest), *others) for word in block]
    found = decode_registers(40000, [*SUNS, *common(), *words, *END])
    assert found["warnings"] == []
    assert found["devices"] == row["devices"]


def _fields(mapped: Mapped) -> set[str]:
    sorts = [sort for sorts in mapped.groups.values() for sort in sorts]
    rules = [*mapped.rules, *(rule for sort in sorts for rule in (*sort.rules, *sort.sums))]
    return {INNER.get(rule.name, rule.name).replace("##", "01") for rule in rules}


@pytest.mark.parametrize("number", sorted(MAPPED))
def test_every_field_of_a_model_is_stated(number: int) -> None:
    stated = [row["devices"] for row in ROWS if number in row["models"]]
    names = {name for devices in stated for own in devices.values() for name in own["values"]}
    assert _fields(MAPPED[number]) - names == set()


def test_every_total_of_a_gateway_is_stated() -> None:
    sites = [row["devices"][""] for row in ROWS if row["devices"][""]["kind"] == "site"]
    names = {name for site in sites for name in site["values"]}
    assert {total.name for total in mapping.outback().totals} - names == set()
