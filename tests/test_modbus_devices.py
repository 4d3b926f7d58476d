"""All profiles of Modbus devices: what must hold of each, and examples of each worked out."""

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bridges.modbus import profiles
from bridges.modbus.asking import Asker
from bridges.modbus.registers import Group, Profile, Row
from heliobus import contract
from sinks.homeassistant.entities import entity, meaning
from sinks.homeassistant.names import Place
from tests.ha_rules import unit_faults
from tests.helpers import ROOT
from tests.modbus_vectors import answer

NAMES = profiles.names()
CONTRACT = contract.load()
EXAMPLES: list[dict[str, Any]] = [
    example
    for path in sorted((ROOT / "bridges/modbus/vectors").glob("*.json"))
    for example in json.loads(path.read_text())
]
DELIVERED = {
    "abb_b",
    "anker_solix_max_ac",
    "anker_solix_meter",
    "anker_solix_plug",
    "carlo_gavazzi_em24",
    "carlo_gavazzi_em340",
    "chint_ddsu666",
    "chint_dtsu666",
    "eastron_sdm120",
    "eastron_sdm220",
    "eastron_sdm230",
    "eastron_sdm54",
    "eastron_sdm630",
    "eastron_sdm72",
    "eastron_sdm72_v2",
    "inepro_pro",
    "janitza_b23",
    "morningstar_tristar_mppt",
    "morningstar_tristar_mppt_600v",
    "orno_we504",
    "orno_we514",
    "orno_we516",
    "schneider_iem3000",
    "studer_bsp",
    "studer_vs",
    "studer_vt",
    "studer_xt",
}
# What shows at a glance whether a device works: it is asked at every turn.
LIVE = {
    "meter": {"power_w"},
    "relay": {"power_w"},
    "charger": {"battery_v", "pv_w"},
    "inverter": {"battery_w", "grid_w"},
    "battery": {"battery_v", "soc_percent"},
}


@cache
def profile_of(name: str) -> Profile:
    return profiles.load(name, beside=Path())


def rows_of(profile: Profile) -> list[Row]:
    return [*profile.rows, *profile.identity.values(), *profile.scales.values()]


def test_every_device_that_was_promised_has_a_profile() -> None:
    assert set(NAMES) >= DELIVERED


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_a_field_of_its_kind(name: str) -> None:
    profile = profile_of(name)
    for row in profile.rows:
        assert CONTRACT.field(profile.kind, row.name), row.name


@pytest.mark.parametrize("name", NAMES)
def test_no_two_rows_share_only_some_of_their_registers(name: str) -> None:
    places: dict[tuple[int, int], tuple[int, int]] = {}
    for row in rows_of(profile_of(name)):
        for at in range(row.at, row.end):
            assert places.setdefault((row.function, at), (row.at, row.end)) == (row.at, row.end)


@pytest.mark.parametrize("name", NAMES)
def test_a_device_is_known_by_a_value_that_it_gives_at_every_turn(name: str) -> None:
    profile = profile_of(name)
    assert profile.probe is not None
    assert profile.probe.least is not None
    assert profile.probe.most is not None
    assert profile.probe.least < profile.probe.most
    (row,) = [row for row in profile.rows if row.name == profile.probe.name]
    assert (row.at, row.count, row.type) == (
        profile.probe.at,
        profile.probe.count,
        profile.probe.type,
    )
    assert row.group is Group.FAST


@pytest.mark.parametrize("name", NAMES)
def test_what_matters_is_asked_at_every_turn(name: str) -> None:
    profile = profile_of(name)
    fast = {row.name for row in profile.rows if row.group is Group.FAST}
    assert fast & LIVE[profile.kind]
    assert not {field for field in fast if field.startswith(("import_k", "export_k", "total_k"))}


@pytest.mark.parametrize("name", NAMES)
def test_a_meter_that_counts_energy_has_the_counter_that_dashboards_show(name: str) -> None:
    profile = profile_of(name)
    fields = {row.name for row in profile.rows}
    if profile.kind != "meter" or not any(field.endswith("_kwh") for field in fields):
        return
    assert "import_kwh" in fields
    assert "export_kwh" in fields or profile.role == "load"


@pytest.mark.parametrize("name", ["orno_we504", "orno_we514"])
def test_the_owner_of_a_meter_with_one_counter_is_told_what_it_counts(name: str) -> None:
    assert "counts both directions alike" in profile_of(name).caveats[0].text


@pytest.mark.parametrize("name", NAMES)
def test_caveats_have_text_and_sources_are_named(name: str) -> None:
    profile = profile_of(name)
    assert profile.source
    assert profile.caveats
    for caveat in profile.caveats:
        assert caveat.text.strip().endswith((".", "?")), caveat.text
        assert caveat.link == "" or caveat.link.startswith("https://")


def test_no_two_profiles_are_for_the_same_model() -> None:
    models = Counter(
        (profile_of(name).maker, model.casefold())
        for name in NAMES
        for model in profile_of(name).models
    )
    assert [model for model, times in models.items() if times > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_each_profile_says_how_its_device_is_reached(name: str) -> None:
    profile = profile_of(name)
    assert profile.serial or profile.maker == "Anker"  # by Ethernet or Wi-Fi only
    assert profile.role if profile.kind == "meter" else not profile.role


@pytest.mark.parametrize("name", NAMES)
def test_home_assistant_shows_every_value(name: str) -> None:
    profile = profile_of(name)
    where = Place("farm", "shed")
    for row in profile.rows:
        field = CONTRACT.field(profile.kind, row.name)
        assert field is not None
        what = meaning(CONTRACT, profile.kind, row.name, {})
        shown = entity(where, row.name, what, topic="heliobus/farm/shed/state")
        assert shown["name"] == field.title
        classes = shown.get("dev_cla"), shown.get("stat_cla"), shown.get("unit_of_meas")
        assert shown["p"] == "binary_sensor" or not list(unit_faults(*classes))


# ---------------------------------------------------------------------- worked examples


@pytest.mark.parametrize(
    "example", [pytest.param(e, id=f"{e['profile']}-{e['name']}") for e in EXAMPLES]
)
def test_an_example_gives_exactly_its_values(example: dict[str, Any]) -> None:
    line: dict[str, Any] = {
        key: example[key]
        for key in ("request", "response", "start", "registers", "function", "scaling_context")
        if key in example
    }
    found = answer(example["profile"], line)
    assert found["ok"], found
    values = {key: v for key, v in found["values"].items() if not key.startswith("register_")}
    assert values == {
        key: pytest.approx(v, rel=1e-6, abs=5e-5) if isinstance(v, float) else v
        for key, v in example["values"].items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_there_is_an_example_of_each_type_that_a_profile_uses(name: str) -> None:
    assert any(example["profile"] == name for example in EXAMPLES)
    types = {(row.type, row.of) for row in rows_of(profile_of(name))}
    assert types <= shown_types(profile_of(name).maker)


@cache
def shown_types(maker: str) -> frozenset[tuple[str, str]]:
    """Give the types of which the examples of a maker have a value: profiles inherit rows."""
    shown = set()
    for example in EXAMPLES:
        profile = profile_of(example["profile"])
        told = (
            {row.name: row for row in profile.rows} | dict(profile.identity) | dict(profile.scales)
        )
        if profile.maker == maker:
            shown |= {(told[key].type, told[key].of) for key in example["values"] if key in told}
    return frozenset(shown)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_was_recorded_is_called_verified_by_a_recording(name: str) -> None:
    recorded = any(e["profile"] == name and e["recorded"] for e in EXAMPLES)
    assert (profile_of(name).verified == "recording") == recorded


@pytest.mark.parametrize("name", [n for n in profiles.names() if n.startswith("studer")])
def test_where_each_value_is_a_request_what_changes_slowly_is_asked_slowly(name: str) -> None:
    profile = profiles.load(name, beside=profiles.folder())
    assert profile.max_registers == 2
    fast = [row.name for row in profile.rows if row.group is Group.FAST]
    assert [name for name in fast if name.endswith("_c") or "_limit_" in name] == []


@pytest.mark.parametrize(
    ("name", "requests"),
    [("eastron_sdm120", 1), ("eastron_sdm72", 1), ("eastron_sdm72_v2", 2), ("eastron_sdm630", 2)],
)
def test_a_turn_of_a_meter_costs_few_requests(name: str, requests: int) -> None:
    profile = profile_of(name)
    fast = [row for row in profile.rows if row.group is Group.FAST]
    assert len(Asker(profile, 1).blocks("fast", fast)) == requests


# 1234.5 kWh as each maker has it, and where: what owners look at first, stated a second time.
F32, F32_WH, TENTHS = (0x449A, 0x5000), (0x4996, 0xB220), (0x3039, 0)  # the last low word first
HUNDREDTHS, WH = (0, 0, 1, 0xE23A), (0, 0, 0x12, 0xD644)
COUNTERS = {
    "abb_b": (3, {"import_kwh": 0x5000, "export_kwh": 0x5004}, HUNDREDTHS),
    "anker_solix_max_ac": (
        4,
        {"yield_kwh": 10018, "charged_kwh": 10262, "discharged_kwh": 10264},
        TENTHS[::-1],
    ),
    "carlo_gavazzi_em24": (4, {"import_kwh": 0x3E, "export_kwh": 0x5C}, TENTHS),
    "carlo_gavazzi_em340": (4, {"import_kwh": 0x34, "export_kwh": 0x4E}, TENTHS),
    "chint_ddsu666": (3, {"import_kwh": 0x4000, "export_kwh": 0x400A}, F32),
    "chint_dtsu666": (3, {"import_kwh": 0x101E, "export_kwh": 0x1028}, F32),
    **{
        name: (4, {"import_kwh": 0x48, "export_kwh": 0x4A, "total_kwh": 0x156}, F32)
        for name in NAMES
        if name.startswith("eastron")
    },
    "inepro_pro": (3, {"total_kwh": 0x6000, "import_kwh": 0x600C, "export_kwh": 0x6018}, F32),
    "janitza_b23": (3, {"import_kwh": 0x4A7C, "export_kwh": 0x4A84}, F32_WH),
    "orno_we504": (3, {"import_kwh": 0x07}, WH[2:]),
    "orno_we514": (3, {"import_kwh": 0xA000}, HUNDREDTHS[2:]),
    "orno_we516": (3, {"total_kwh": 0x100, "import_kwh": 0x108, "export_kwh": 0x110}, F32),
    "schneider_iem3000": (3, {"import_kwh": 0x0C83, "export_kwh": 0x0C87}, WH),
    "studer_vs": (4, {"yield_today_kwh": 34}, F32),
    "studer_vt": (4, {"yield_today_kwh": 14}, F32),
}


@pytest.mark.parametrize("name", COUNTERS)
def test_the_counters_of_energy_are_where_the_maker_has_them(name: str) -> None:
    function, counters, words = COUNTERS[name]
    for field, start in counters.items():
        line = {"function": function, "start": start, "registers": list(words)}
        assert answer(name, line)["values"] == {field: 1234.5}
