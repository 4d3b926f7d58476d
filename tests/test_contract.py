"""The contract: what stands in schemas/, and that its two checks agree about it."""

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from heliobus import contract
from heliobus.contract import Contract, Field
from heliobus.errors import ConfigError
from heliobus.sample import RESERVED, Value, dumps, loads, parse_sample

FOLDER = contract.schemas_folder()
CONTRACT = contract.load()
EVERY_FIELD = [*CONTRACT.fields.values(), *CONTRACT.families.values()]
KEYWORDS = {
    "$schema",
    "heliobus",
    "type",
    "properties",
    "patternProperties",
    "required",
    "additionalProperties",
    "enum",
    "const",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "items",
}
NOTES = {
    "title",
    "description",
    "unit",
    "device_class",
    "state_class",
    "precision",
    "diagnostic",
    "kinds",
}
# What Home Assistant accepts: https://developers.home-assistant.io/docs/entity_sensor
UNITS_OF_CLASS = {
    "voltage": {"V"},
    "current": {"A"},
    "power": {"W"},
    "apparent_power": {"VA"},
    "reactive_power": {"var"},
    "frequency": {"Hz"},
    "temperature": {"°C"},
    "energy": {"kWh"},
    "energy_storage": {"kWh"},
    "reactive_energy": {"kvarh"},
    "duration": {"s", "min", "h"},
    "irradiance": {"W/m²"},
    "illuminance": {"lx"},
    "signal_strength": {"dBm"},
    "data_size": {"B"},
    "battery": {"%"},
    "humidity": {"%"},
    "moisture": {"%"},
    "power_factor": {""},
    "atmospheric_pressure": {"hPa"},
    "wind_speed": {"m/s"},
    "wind_direction": {"°"},
    "precipitation": {"mm"},
    "distance": {"mm"},
    "carbon_dioxide": {"ppm"},
}
STATE_CLASSES_OF_CLASS = {
    "energy": {"total", "total_increasing"},
    "reactive_energy": {"total", "total_increasing"},
    "energy_storage": {"measurement"},
    "power": {"measurement"},
    "battery": {"measurement"},
    "wind_direction": {"measurement_angle"},
}
BOOLEAN_CLASSES = {"", "connectivity", "motion", "opening"}
SAMPLE_TIME = "2026-11-21T10:15:30.123Z"

numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1.0, 2**53, -(2**53), 65535]))
texts = st.one_of(st.text(max_size=130), st.sampled_from(["unknown", "battery", "x" * 1001, "\0"]))
json_values = st.one_of(st.none(), st.booleans(), numbers, texts, st.lists(texts, max_size=3))


def schema_files() -> list[Path]:
    return [p for p in sorted(FOLDER.rglob("*.json")) if p.parent.name != "examples"]


def walk(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give every schema inside a schema."""
    yield schema
    for part in ("properties", "patternProperties"):
        for inner in schema.get(part, {}).values():
            yield from walk(inner)
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), Mapping):
            yield from walk(schema[part])


def member(field: Field) -> str:
    """Give one name of a family, or the name itself."""
    return re.sub(r"\[([0-9])-[0-9]\]", r"\1", field.name)


def message(kind: str, **values: object) -> dict[str, object]:
    return {"time": SAMPLE_TIME, "prev": None, "kind": kind, "bridge": "axpert", **values}


# ---------------------------------------------------------------------- the files


@pytest.mark.parametrize("path", schema_files(), ids=lambda path: path.stem)
def test_a_schema_stays_in_the_subset_on_which_all_validators_agree(path: Path) -> None:
    for part in walk(json.loads(path.read_text(encoding="utf-8"))):
        assert part.keys() <= KEYWORDS
        # A class such as \d means other letters in other validators.
        assert not any(
            "\\" in p for p in (*part.get("patternProperties", ()), part.get("pattern", ""))
        )


@pytest.mark.parametrize("path", schema_files(), ids=lambda path: path.stem)
def test_a_schema_is_a_legal_json_schema(path: Path) -> None:
    Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["state", *CONTRACT.messages])
def test_every_key_of_a_message_has_a_title(name: str) -> None:
    for part in walk(CONTRACT.schema(name)):
        for inner in part.get("properties", {}).values():
            assert inner["heliobus"]["title"]


def test_every_field_has_a_title_a_kind_and_known_notes() -> None:
    source = json.loads((FOLDER / "fields.json").read_text(encoding="utf-8"))
    for name, schema in [*source["properties"].items(), *source["patternProperties"].items()]:
        notes = schema["heliobus"]
        assert notes.keys() <= NOTES, name
        assert notes["title"][0].isupper() or notes["title"][0] == "#", name
        assert notes["kinds"], name
        assert set(notes["kinds"]) <= CONTRACT.kinds.keys(), name


def test_the_end_of_a_name_states_the_unit() -> None:
    for field in EVERY_FIELD:
        stated = CONTRACT.unit(member(field))
        numeric = field.type in ("number", "integer")
        assert field.unit == stated, field.name
        assert numeric or not stated, f"{field.name} ends like a number"


def test_a_number_without_unit_is_in_the_closed_list() -> None:
    for field in EVERY_FIELD:
        if field.type in ("number", "integer") and not field.unit:
            listed = r"(.*_)?power_factor|cycles|.+_(code|count)"
            assert re.fullmatch(listed, member(field)), field.name


def test_every_number_has_a_range_and_every_text_a_longest_length() -> None:
    for field in EVERY_FIELD:
        if field.type in ("number", "integer"):
            assert field.minimum is not None
            assert field.maximum is not None
            assert -contract.LARGEST_INTEGER <= field.minimum < field.maximum
            assert field.maximum <= contract.LARGEST_INTEGER
        elif field.type == "string" and not field.enum:
            assert 0 < field.constraints["maxLength"] <= contract.LONGEST_TEXT
        elif field.type == "array":
            assert field.constraints["items"]["maxLength"] <= contract.LONGEST_TEXT


def test_classes_and_units_are_those_of_home_assistant() -> None:
    for field in EVERY_FIELD:
        if field.enum:
            assert field.device_class == "enum", field.name
        elif field.type == "boolean":
            assert field.device_class in BOOLEAN_CLASSES, field.name
        elif field.device_class:
            assert field.unit in UNITS_OF_CLASS[field.device_class], field.name
        classes = STATE_CLASSES_OF_CLASS.get(field.device_class)
        assert classes is None or field.state_class in classes, field.name


def test_only_real_numbers_have_a_state_class_and_decimals() -> None:
    for field in EVERY_FIELD:
        assert field.type in ("number", "integer") or not field.state_class, field.name
        assert (field.precision is not None) == (field.type == "number"), field.name


def test_an_energy_only_rises_unless_its_description_says_otherwise() -> None:
    for field in EVERY_FIELD:
        if field.unit == "kWh" and field.minimum == 0 and field.state_class == "total":
            assert "yesterday" in field.name


def test_no_field_has_a_reserved_name() -> None:
    assert not RESERVED & {member(field) for field in EVERY_FIELD}


def test_every_closed_list_knows_unknown_where_a_device_sends_codes() -> None:
    for name in ("mode", "charge_state", "input_source"):
        assert CONTRACT.fields[name].enum[0] == "unknown"


def test_no_two_families_and_no_single_field_share_a_name() -> None:
    members = [member(family) for family in CONTRACT.families.values()]
    assert len(set(members)) == len(members)
    for name in CONTRACT.fields:
        owners = [f.name for f in CONTRACT.families.values() if re.fullmatch(f.name, name)]
        assert not owners, f"{name} is also of {owners}"


def test_a_family_is_finite() -> None:
    for family in CONTRACT.families.values():
        assert re.fullmatch(r"([a-z0-9_]|\[[0-9]-[0-9]\])+", family.name)


@pytest.mark.parametrize("kind", [k for k in CONTRACT.kinds if k != contract.ANYTHING])
def test_titles_differ_within_a_kind(kind: str) -> None:
    titles = [field.title for field in CONTRACT.kinds[kind].fields.values()]
    assert sorted(set(titles)) == sorted(titles)


def test_main_fields_belong_to_their_kind() -> None:
    for kind in CONTRACT.kinds.values():
        assert set(kind.main) <= kind.fields.keys()


def test_the_kinds_are_those_of_the_design() -> None:
    kinds = "battery charger component event gateway inverter meter relay sensor site weather"
    assert sorted(CONTRACT.kinds) == kinds.split()


@pytest.mark.parametrize("kind", ["battery", "charger", "meter", "relay", "gateway", "weather"])
def test_grid_fields_belong_to_inverter_and_site(kind: str) -> None:
    assert not [name for name in CONTRACT.kinds[kind].fields if name.startswith("grid_")]


# ---------------------------------------------------------------------- looking up


@pytest.mark.parametrize(
    ("kind", "name", "title", "unit"),
    [
        ("inverter", "pv_01_w", "PV 1 power", "W"),
        ("battery", "cell_07_v", "Cell 7 voltage", "V"),
        ("battery", "temperature_12_c", "Temperature 12", "°C"),
        ("meter", "l1_v", "L1 voltage", "V"),
        ("meter", "l12_v", "L12 voltage", "V"),
        ("meter", "l3_power_factor", "L3 power factor", ""),
    ],
)
def test_a_member_of_a_family_is_found(kind: str, name: str, title: str, unit: str) -> None:
    field = CONTRACT.field(kind, name)
    assert field is not None
    assert (field.name, field.title, field.unit, field.family) == (name, title, unit, True)


@pytest.mark.parametrize(
    "name", ["pv_1_w", "pv_001_w", "pv_01_w\n", "pv_aa_w", "l4_v", "l0_v", "pv_\u0661\u0662_w", ""]
)
def test_a_name_beside_a_family_is_not_found(name: str) -> None:
    assert CONTRACT.field("inverter", name) is None
    assert CONTRACT.field("meter", name) is None


def test_a_field_is_found_only_with_its_kinds() -> None:
    assert CONTRACT.field("inverter", "grid_v") is not None
    assert CONTRACT.field("meter", "grid_v") is None


def test_a_sensor_and_an_unknown_kind_may_have_every_field() -> None:
    assert CONTRACT.field("sensor", "cell_07_v") == CONTRACT.field("battery", "cell_07_v")
    assert CONTRACT.field("heat_pump", "grid_v") == CONTRACT.field("inverter", "grid_v")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("compressor_w", "W"),
        ("roof_w_m2", "W/m²"),
        ("gust_m_s", "m/s"),
        ("cell_mohm", "mΩ"),
        ("reason", ""),
        ("w", ""),
        ("m_s", "s"),
        ("", ""),
    ],
)
def test_the_unit_of_an_unknown_field_is_read_from_its_name(name: str, unit: str) -> None:
    assert CONTRACT.unit(name) == unit


def test_a_missing_folder_is_said() -> None:
    with pytest.raises(ConfigError, match=r"nowhere/fields\.json"):
        contract.load(Path("nowhere"))


def test_an_unknown_schema_is_said() -> None:
    with pytest.raises(ConfigError, match="found 'batery', expected one of battery"):
        CONTRACT.schema("batery")


# ---------------------------------------------------------------------- judging values


def edges(field: Field) -> tuple[list[object], list[object]]:
    """Give values that a field must take and values that it must refuse."""
    wrong: list[object] = [None, {}, b"1", math.nan, math.inf, -math.inf, (1,), [["x"]]]
    if field.enum:
        return list(field.enum), [*wrong, "no such text", 1, True]
    if field.type == "string":
        longest = field.constraints["maxLength"]
        return ["", "x" * longest, "Größe"], [*wrong, "x" * (longest + 1), 1, True, "\0", "\ud800"]
    if field.type == "boolean":
        return [True, False], [*wrong, 0, 1, "true"]
    if field.type == "array":
        longest = field.constraints["items"]["maxLength"]
        return [[], ["x" * longest]], [*wrong, ["x" * (longest + 1)], [1], "x", ["x"] * 257]
    assert field.minimum is not None
    assert field.maximum is not None
    wrong += [field.minimum - 1, field.maximum + 1, True, False, "1", [], 1e38, 10**400]
    if field.type == "integer":
        wrong += [field.minimum + 0.5]
    return [field.minimum, field.maximum, float(field.maximum)], wrong


@pytest.mark.parametrize("field", EVERY_FIELD, ids=lambda field: field.name)
def test_a_field_takes_what_lies_within_its_limits_and_nothing_else(field: Field) -> None:
    kind, name = field.kinds[0], member(field)
    good, wrong = edges(field)
    for value in good:
        assert CONTRACT.strict(kind, {name: value}) == ({name: value}, {})
        assert CONTRACT.sift(kind, {name: value}) == ({name: value}, {})
    for value in wrong:
        taken, refused = CONTRACT.strict(kind, {name: value})
        assert taken == {}
        assert refused[name].startswith(f"{name}: found ")
        assert "\n" not in refused[name]


def test_a_bad_value_costs_that_value_only() -> None:
    values = {"battery_v": 52.7, "battery_a": 70000, "mode": "battery", "soc_percent": "87"}
    good, bad = CONTRACT.strict("inverter", values)
    assert good == {"battery_v": 52.7, "mode": "battery"}
    assert bad == {
        "battery_a": "battery_a: found 70000, expected a number from -5000 to 5000 A",
        "soc_percent": "soc_percent: found '87', expected a number from 0 to 110 %",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("batery_v", "not a field of kind battery; did you mean battery_v?"),
        ("zzzz", "not a field of kind battery"),
        ("grid_v", "not a field of kind battery"),
        ("time", "a reserved name"),
        ("Battery_V", "not a field name"),
        ("x" * 64, "not a field name"),
        ("battery_v\n", "not a field name"),
    ],
)
def test_a_publisher_may_send_only_fields_of_its_kind(name: str, words: str) -> None:
    good, bad = CONTRACT.strict("battery", {name: 1})
    assert good == {}
    assert words in bad[name]


@pytest.mark.parametrize("value", [1, -1.5, 2**53, True, "text", "", [], ["a", "b"]])
def test_a_consumer_takes_a_plain_value_of_an_unknown_field(value: Value) -> None:
    assert CONTRACT.sift("battery", {"new_field": value}) == ({"new_field": value}, {})


@pytest.mark.parametrize(
    "value",
    [None, {}, [1], [None], math.nan, math.inf, 2**53 + 1, "x" * 1001, ["x"] * 257, "\0", "\udfff"],
)
def test_a_consumer_refuses_what_no_database_could_hold(value: object) -> None:
    good, bad = CONTRACT.sift("battery", {"new_field": value})
    assert good == {}
    assert bad["new_field"].startswith("new_field: found ")


@pytest.mark.parametrize("name", ["site", "New", "", "a-b", "x" * 64, "a\n", "ä"])
def test_a_consumer_refuses_an_illegal_name(name: str) -> None:
    assert CONTRACT.sift("battery", {name: 1})[0] == {}


def test_a_consumer_takes_a_text_that_is_new_to_its_list() -> None:
    assert CONTRACT.strict("battery", {"mode": "turbo"})[0] == {}
    assert CONTRACT.sift("battery", {"mode": "turbo"}) == ({"mode": "turbo"}, {})


def test_a_consumer_reads_an_unknown_kind_as_a_sensor() -> None:
    values = {"temperature_c": 21.5, "grid_v": 70000, "compressor_w": 800}
    good, bad = CONTRACT.sift("heat_pump", values)
    assert good == {"temperature_c": 21.5, "compressor_w": 800}
    assert list(bad) == ["grid_v"]


def test_contracts_of_one_version_ahead_and_behind_understand_each_other(tmp_path: Path) -> None:
    newer = _next_version(tmp_path / "schemas")
    ahead: dict[str, Value] = {"battery_v": 52.7, "mode": "turbo", "core_c": 31.5, "heat_w": 5}
    assert newer.strict("battery", ahead) == (ahead, {})
    assert CONTRACT.sift("battery", ahead) == (ahead, {})
    assert newer.strict("heat_pump", {"heat_w": 5}) == ({"heat_w": 5}, {})
    assert CONTRACT.sift("heat_pump", {"heat_w": 5}) == ({"heat_w": 5}, {})
    behind: dict[str, Value] = {"battery_v": 52.7, "mode": "running"}
    assert CONTRACT.strict("battery", behind) == (behind, {})
    assert newer.sift("battery", behind) == (behind, {})


def _next_version(folder: Path) -> Contract:
    shutil.copytree(FOLDER, folder)
    fields = json.loads((folder / "fields.json").read_text(encoding="utf-8"))
    fields["heliobus"]["contract"] = "0.2"
    fields["properties"]["mode"]["enum"].append("turbo")
    for name, unit in (("core_c", "°C"), ("heat_w", "W")):
        notes = {"unit": unit, "title": name, "kinds": ["battery", "heat_pump"]}
        limits = {"type": "number", "minimum": 0, "maximum": 99}
        fields["properties"][name] = {**limits, "heliobus": notes}
    (folder / "fields.json").write_text(json.dumps(fields), encoding="utf-8")
    shutil.copy(folder / "kinds" / "sensor.json", folder / "kinds" / "heat_pump.json")
    return contract.load(folder)


# ---------------------------------------------------------------------- both checks agree


@pytest.fixture(scope="module", params=sorted(CONTRACT.kinds))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def fast_says(check: Any, value: object) -> bool:
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def test_both_validators_agree_about_every_field_of_a_kind(kind: str) -> None:
    schema = CONTRACT.schema(kind)
    compiled, slow = fastjsonschema.compile(schema), Draft202012Validator(schema)
    base = message(kind, **({"event": "lost"} if kind == "event" else {}))
    assert slow.is_valid(base)
    for field in EVERY_FIELD:
        if kind not in field.kinds and not CONTRACT.kinds[kind].every_field:
            continue
        good, wrong = edges(field)
        for value in good + wrong:
            plain = not isinstance(value, tuple | bytes) and value == value  # noqa: PLR0124
            if plain and not (isinstance(value, list) and len(value) > contract.LONGEST_LIST):
                whole = {**base, member(field): value}
                assert fast_says(compiled, whole) == slow.is_valid(whole), (field.name, value)


@given(field=st.sampled_from(EVERY_FIELD), value=json_values)
def test_a_value_is_judged_as_jsonschema_would(field: Field, value: object) -> None:
    name, kind = member(field), field.kinds[0]
    plain = CONTRACT.sift("sensor", {"new_field": value})[1] == {}
    expected = plain and Draft202012Validator(dict(field.constraints)).is_valid(value)
    assert bool(CONTRACT.strict(kind, {name: value})[0]) == expected


@given(values=st.dictionaries(st.text(max_size=70), json_values, max_size=8))
def test_whatever_comes_is_parted_without_loss_and_without_an_error(
    values: dict[str, object],
) -> None:
    for judge in (CONTRACT.strict, CONTRACT.sift):
        good, bad = judge("inverter", values)
        assert good.keys() | bad.keys() == values.keys()
        assert not good.keys() & bad.keys()
        assert loads(dumps(good)) == good
        assert all("\n" not in reason for reason in bad.values())


def examples() -> list[tuple[str, object]]:
    """Give the name and the payload of every example."""
    found: list[tuple[str, object]] = []
    for path in sorted((FOLDER / "examples").glob("*.json")):
        payload = json.loads(path.read_text(encoding="utf-8"))["payload"]
        if isinstance(payload, dict):
            known = path.stem in CONTRACT.messages and path.stem != "state"
            found.append((path.stem if known else payload["kind"], payload))
    return found


@pytest.mark.parametrize(("name", "payload"), examples(), ids=lambda value: str(value)[:10])
def test_both_validators_agree_about_examples_and_what_is_next_to_them(
    name: str, payload: dict[str, object]
) -> None:
    slow = Draft202012Validator(CONTRACT.schema(name))
    assert CONTRACT.check(name, payload) is None
    assert slow.is_valid(payload)
    for key in payload:
        without = {k: v for k, v in payload.items() if k != key}
        wrong: tuple[object, ...] = (None, -1, "", "x" * 5000, [], {})
        for broken in (without, *({**payload, key: value} for value in wrong)):
            assert (CONTRACT.check(name, broken) is None) == slow.is_valid(broken)


@given(name=st.sampled_from(CONTRACT.messages), value=st.dictionaries(texts, json_values))
def test_a_message_of_anything_is_judged_as_jsonschema_would(
    name: str, value: dict[str, object]
) -> None:
    valid = Draft202012Validator(CONTRACT.schema(name)).is_valid(value)
    assert (CONTRACT.check(name, value) is None) == valid


# ---------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("status", {"state": "asleep"}, "status: state: 'asleep' is not one of"),
        ("status", {}, "status: 'state' is a required property"),
        ("replay", [], "replay: [] is not of type 'object'"),
        ("battery", message("battery", battery_v=70000), "battery: battery_v: 70000 is greater"),
        ("battery", message("meter"), "battery: kind: 'battery' was expected"),
        ("meter", message("meter", grid_v=230), "meter: "),
    ],
)
def test_a_refused_message_is_told_where_it_is_wrong(name: str, body: object, words: str) -> None:
    refusal = CONTRACT.check(name, body)
    assert refusal is not None
    assert refusal.startswith(words)
    assert "\n" not in refusal


def test_a_name_that_ends_with_a_line_break_is_refused() -> None:
    request = {"id": "1", "sink": "archive\n", "device": "bms", "after": None, "until": None}
    assert CONTRACT.check("replay", request) == "replay: a name or time ends with a line break"


def test_a_sample_that_we_write_is_a_legal_state_message() -> None:
    body = message("battery", battery_v=52.7, cell_07_v=3.31, alarms=["cell 7 low"])
    sample = parse_sample("farm", "bms", dumps(body))
    assert CONTRACT.check("battery", loads(sample.payload())) is None


def test_the_version_is_that_of_the_fields() -> None:
    assert re.fullmatch(r"[0-9]+\.[0-9]+", CONTRACT.version)


def test_a_running_component_does_not_load_the_slow_validator() -> None:
    program = (
        "import sys\n"
        "from heliobus import contract\n"
        "known = contract.load()\n"
        "known.strict('inverter', {'battery_v': 52.7, 'grid_v': 70000, 'nonsense': 1})\n"
        "known.check('replay', {'id': '1', 'sink': 'a', 'device': 'b', 'after': None,"
        " 'until': None})\n"
        "assert 'fastjsonschema' in sys.modules\n"
        "assert 'jsonschema' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    "path", sorted(contract.schemas_folder().rglob("*.json")), ids=lambda p: p.name
)
def test_no_schema_says_the_same_key_twice(path: Path) -> None:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), [key for key in keys if keys.count(key) > 1]
        return dict(pairs)

    json.loads(path.read_text(), object_pairs_hook=once)
