"""Profiles are read: what becomes of a file, and each mistake in it in one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bridges.modbus import profiles
from bridges.modbus.registers import Caveat, Group, Profile, Row
from bridges.modbus.units import conversion
from heliobus import config
from heliobus.errors import ConfigError

HEAD = "maker: Acme\nmodels: [M1]\nkind: meter\nsource: [a document]\nverified: document\n"
METER = (
    HEAD
    + "function: 4\ntype: f32\nregisters:\n"
    + "  - {name: voltage_v, at: 0}\n"
    + "  - {name: power_w, at: 12}\n"
    + "  - {name: import_kwh, at: 0x48, group: slow}\n"
)
FIRST = METER.count("\n") - 2  # the line of the first row

Write = Callable[..., Profile]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Give what writes files and loads the first of them."""
    monkeypatch.chdir(tmp_path)

    def load(text: str, **others: str) -> Profile:
        Path("meter.yaml").write_text(text)
        for name, other in others.items():
            Path(f"{name}.yaml").write_text(other)
        return profiles.load("meter.yaml", beside=Path())

    return load


def rows(written: str, kind: str = "meter", top: str = "") -> str:
    """Give a file with these rows; the first of them is in line 9."""
    head = HEAD.replace("meter", kind).replace("[a document]", "[it]")
    return f"{head}{top or 'unit_id: 1'}\ngaps: true\nregisters:\n{written}\n"


def faults(load: Write, text: str, **others: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **others)
    return str(caught.value).splitlines()


# ---------------------------------------------------------------------- what becomes of it


def test_a_file_becomes_a_profile(write: Write) -> None:
    told = """
role: grid
serial: [9600 8N1, 2400 8N1]
unit_id: 2
port: 1502
max_registers: 80
gaps: false
align: 2
pause: 60ms
timeout: 2s
connect: per_request
probe: {name: voltage_v, min: 80, max: 300}
identified: M1
scales:
  v_pu: {at: 200, type: u32, divide: 65536}
identity:
  serial: {at: 0xFC00, type: u32, function: 3, words: little}
caveats:
  - {text: The total depends on a setting., link: https://example.org}
"""
    found = write(METER + told)
    serial = Row("serial", 0xFC00, 2, "u32", 3, little=True)
    voltage = Row("voltage_v", 0, 2, "f32", 4)
    assert found == Profile(
        name="meter",
        maker="Acme",
        models=("M1",),
        kind="meter",
        rows=(
            voltage,
            Row("power_w", 12, 2, "f32", 4),
            Row("import_kwh", 72, 2, "f32", 4, group=Group.SLOW),
        ),
        scales={"v_pu": Row("v_pu", 200, 2, "u32", 4, divide=65536.0)},
        identity={"serial": serial},
        verified="document",
        source=("a document",),
        function=4,
        type="f32",
        role="grid",
        serial=("9600 8N1", "2400 8N1"),
        unit_id=2,
        port=1502,
        max_registers=80,
        gaps=False,
        align=2,
        pause_s=0.06,
        timeout_s=2.0,
        keep=False,
        probe=Row("voltage_v", 0, 2, "f32", 4, least=80, most=300),
        identified="M1",
        caveats=(Caveat("The total depends on a setting.", "https://example.org"),),
    )


def test_what_a_file_leaves_out_has_a_usual_value(write: Write) -> None:
    found = write(HEAD + "registers: [{name: power_w, at: 1}]\n")
    assert found.rows == (Row("power_w", 1, 1, "u16", 3),)
    assert (found.unit_id, found.port, found.max_registers, found.timeout_s) == (1, 502, 125, 1.0)
    assert (found.gaps, found.align, found.pause_s, found.keep) == (True, 1, 0.0, True)


@pytest.mark.parametrize(
    ("written", "kind", "expected"),
    [
        ("{name: power_w, at: 1, unit: kW}", "meter", {"factor": 1000.0}),
        ("{name: power_w, at: 1, unit: kW, factor: 0.1}", "meter", {"factor": 100.0}),
        ("{name: import_kwh, at: 1, unit: Wh}", "meter", {"divide": 1000.0}),
        ("{name: import_kwh, at: 1, unit: Wh, divide: 10}", "meter", {"divide": 10000.0}),
        ("{name: import_kwh, at: 1, unit: MWh}", "meter", {"factor": 1000.0}),
        ("{name: import_kvarh, at: 1, unit: varh}", "meter", {"divide": 1000.0}),
        ("{name: reactive_var, at: 1, unit: kvar}", "meter", {"factor": 1000.0}),
        ("{name: apparent_va, at: 1, unit: kVA}", "meter", {"factor": 1000.0}),
        ("{name: voltage_v, at: 1, unit: mV}", "meter", {"divide": 1000.0}),
        ("{name: uptime_s, at: 1, unit: h}", "meter", {"factor": 3600.0}),
        ("{name: operating_h, at: 1, unit: s}", "charger", {"divide": 3600.0}),
        ("{name: device_c, at: 1, unit: C}", "meter", {}),
        ("{name: voltage_v, at: 1, unit: V}", "meter", {}),
        ("{name: voltage_v, at: 1, bytes: little, words: little}", "meter", {"little", "swapped"}),
        ("{name: voltage_v, at: 1, min: 1, max: 2.5}", "meter", {"least": 1, "most": 2.5}),
        ("{name: voltage_v, at: 1, absent: [0xFFFF, 7]}", "meter", {"absent": {7, 0xFFFF}}),
    ],
)
def test_a_row_is_made_of_what_it_says(
    write: Write, written: str, kind: str, expected: dict[str, object] | set[str]
) -> None:
    [row] = write(rows(f"  - {written}", kind)).rows
    wanted = dict.fromkeys(expected, True) if isinstance(expected, set) else expected
    usual = Row(row.name, 1, 1, "u16", 3)
    differs = {
        key: getattr(row, key) for key in Row.__slots__ if getattr(row, key) != getattr(usual, key)
    }
    assert differs == wanted


def test_an_enum_gives_its_number_where_the_contract_has_a_place_for_it(write: Write) -> None:
    state = "  - {name: charge_state, at: 1, type: enum, codes: {0: 'off', 0x05: bulk}}"
    [row] = write(rows(state, "charger")).rows
    assert (row.code_name, row.texts) == ("charge_state_code", {0: "off", 5: "bulk"})
    [row] = write(rows(state.replace("charge_state", "off_reason"), "charger")).rows
    assert row.code_name == ""


def test_one_bit_is_true_or_false_and_several_are_a_list(write: Write) -> None:
    flag = "  - {name: charging, at: 1, type: bits, bits: {2: charges}}"
    alarms = "  - {name: alarms, at: 2, type: bits, count: 2, bits: {0: hot, 31: cold}}"
    more = "  - {name: alarms, at: 4, type: bits, bits: {0: wet}}"
    made = write(rows(f"{flag}\n{alarms}\n{more}", "charger")).rows
    assert [(row.count, row.is_flag, row.texts) for row in made] == [
        (1, True, {2: "charges"}),
        (2, False, {0: "hot", 31: "cold"}),
        (1, False, {0: "wet"}),
    ]


def test_rows_may_read_the_same_registers_in_two_ways(write: Write) -> None:
    code = "  - {name: fault_code, at: 1}\n"
    alarms = "  - {name: alarms, at: 1, type: bits, bits: {0: hot}}"
    assert len(write(rows(code + alarms, "charger")).rows) == 2


# ---------------------------------------------------------------------- one that extends another

CHILD = "extends: ./base.yaml\nmodels: [M2]\n"


def test_what_is_left_out_is_taken_from_the_other(write: Write) -> None:
    found = write(
        CHILD
        + "unit_id: 9\nwords: little\nwithout: [import_kwh]\n"
        + "registers: [{name: power_w, at: 20}, {name: current_a, at: 6}]\n",
        base=METER + "unit_id: 3\nmax_registers: 60\n",
    )
    assert [(row.name, row.at, row.type, row.little) for row in found.rows] == [
        ("voltage_v", 0, "f32", True),
        ("power_w", 20, "f32", True),
        ("current_a", 6, "f32", True),
    ]
    assert (found.name, found.maker, found.models) == ("meter", "Acme", ("M2",))
    assert (found.unit_id, found.max_registers, found.kind) == (9, 60, "meter")


def test_scales_and_identity_are_taken_one_by_one(write: Write) -> None:
    more = "scales: {a: {at: 100}, b: {at: 101}}\nidentity: {serial: {at: 102, type: u16}}\n"
    own = "scales: {b: {at: 103}}\nidentity: {model: {at: 104, type: u16}}\n"
    found = write(CHILD + "type: u16\nfunction: 4\nregisters: []\n" + own, base=METER + more)
    places = {name: row.at for name, row in {**found.scales, **found.identity}.items()}
    assert places == {"a": 100, "b": 103, "serial": 102, "model": 104}


def test_how_a_device_is_told_from_others_is_not_taken(write: Write) -> None:
    base = METER + "identified: M1\nvariants: [./meter.yaml]\n"
    found = write(CHILD + "probe: {name: power_w}\nregisters: []\n", base=base)
    assert (found.identified, found.variants) == ("", ())
    assert profiles.load("base.yaml", beside=Path()).variants == (
        str(Path("meter.yaml").absolute()),
    )


def test_four_may_extend_one_another_and_no_more(write: Write) -> None:
    last = {"d": METER, "e": METER}
    chain = {name: f"extends: ./{follows}.yaml\n" for name, follows in ("bc", "cd")}
    assert len(write("extends: ./b.yaml\n", **chain, **last).rows) == 3
    chain["d"] = "extends: ./e.yaml\n"
    told = ["d.yaml:1: extends: more than 4 profiles extend one another"]
    assert faults(write, "extends: ./b.yaml\n", **chain, e=METER) == told


@pytest.mark.parametrize(
    ("text", "others", "told"),
    [
        ("extends: ./meter.yaml\n", {}, "meter.yaml:1: extends: meter.yaml extends itself"),
        (
            "extends: ./b.yaml\n",
            {"b": "maker: B\nextends: ./meter.yaml\n"},
            "b.yaml:2: extends: meter.yaml extends itself",
        ),
        ("extends: ./b.yaml\n", {}, "meter.yaml:1: extends: './b.yaml': b.yaml: no such file"),
        (
            "extends: eastron_smd120\n",
            {},
            "meter.yaml:1: extends: 'eastron_smd120' is not known; did you mean 'eastron_sdm120'?",
        ),
        (
            "extends: ./b.yaml\nwithout: [volts_v]\n",
            {"b": METER},
            "meter.yaml:2: without[0]: 'volts_v' is not a row of what it extends;"
            " did you mean 'voltage_v'?",
        ),
        (
            METER + "without: [power_w]\n",
            {},
            "meter.yaml:12: without: extends nothing; leave it out, or add 'extends'",
        ),
        (
            "extends: ./b.yaml\nregisters: [{name: current_a, at: 13}]\n",
            {"b": METER},
            "meter.yaml:2: registers[0].at: found registers 13 to 14, but 13 belongs to power_w"
            " (registers 12 to 13, b.yaml:10)",
        ),
        (
            "extends: ./b.yaml\n",
            {"b": METER.replace("power_w", "powr_w")},
            "b.yaml:10: registers[1].name: 'powr_w' is not a field of kind meter;"
            " did you mean 'power_w'?",
        ),
    ],
)
def test_a_fault_names_the_right_file_and_line(
    write: Write, text: str, others: dict[str, str], told: str
) -> None:
    assert faults(write, text, **others) == [told]


# ---------------------------------------------------------------------- variants

OTHER = METER + "identified: M2\n"


def test_a_variant_is_found_from_anywhere(write: Write) -> None:
    found = write(METER + "variants: [./other.yaml, eastron_sdm120]\n", other=OTHER)
    assert found.variants == (str(Path("other.yaml").absolute()), "eastron_sdm120")


def test_variants_may_name_one_another(write: Write) -> None:
    named = METER + "identified: M1\nvariants: [./other.yaml]\n"
    assert write(named, other=OTHER + "variants: [./meter.yaml]\n").identified == "M1"


@pytest.mark.parametrize(
    ("name", "other", "told"),
    [
        ("eastron_smd120", "", "'eastron_smd120' is not known; did you mean 'eastron_sdm120'?"),
        ("./x.yaml", "", "'./x.yaml': x.yaml: no such file"),
        ("./meter.yaml", "", "is this profile itself; name the others only"),
        (
            "./other.yaml",
            METER,
            "'./other.yaml' has neither 'identified' nor 'probe'; nothing would choose it",
        ),
        (
            "./other.yaml",
            OTHER.replace("meter", "inverter")
            .replace("voltage_v", "grid_v")
            .replace("power", "pv")
            .replace("import_kwh", "grid_import_kwh"),
            "'./other.yaml' is of kind inverter, expected meter as here",
        ),
    ],
)
def test_a_variant_that_cannot_be_is_told(write: Write, name: str, other: str, told: str) -> None:
    text = METER + f"variants: [{name}]\n"
    assert faults(write, text, other=other) == [f"meter.yaml:12: variants[0]: {told}"]


def test_what_is_wrong_with_a_variant_is_told_of_its_own_file(write: Write) -> None:
    wrong = OTHER.replace("power_w", "pwr_w")
    [told] = faults(write, METER + "variants: [./other.yaml]\n", other=wrong)
    assert told.startswith("other.yaml:10: registers[1].name: 'pwr_w' is not a field")


# ---------------------------------------------------------------------- mistakes in a row


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "{name: pover_w, at: 1}",
            ".name: 'pover_w' is not a field of kind meter; did you mean 'power_w'?",
        ),
        ("{name: soc_percent, at: 1}", ".name: 'soc_percent' is a field, but not of kind meter"),
        ("{name: power_w}", ": 'at' is missing; add it, such as 'at: 72'"),
        ("{at: 1}", ": 'name' is missing; add it, such as 'name: import_kwh'"),
        ("{name: power_w, at: 1, tpe: u16}", ": the key 'tpe' is not known; did you mean 'type'?"),
        ("{name: power_w, at: 1, type: u17}", ".type: 'u17' is not known; did you mean 'u16'?"),
        (
            "{name: power_w, at: -1}",
            ".at: found '-1', expected a whole number from 0 to 65,535 such as 72",
        ),
        (
            "{name: power_w, at: 65536}",
            ".at: found '65536', expected a whole number from 0 to 65,535 such as 72",
        ),
        (
            "{name: power_w, at: 65535, type: i32}",
            ".at: its last register would be 65536, expected at most 65535",
        ),
        (
            "{name: power_w, at: 1, type: i32, count: 3}",
            ".count: found 3, but i32 has 2; leave it out",
        ),
        ("{name: power_w, at: 1, unit: kV}", ".unit: found 'kV', expected mW, W, kW or MW"),
        (
            "{name: device_c, at: 1, unit: K}",
            ".unit: found 'K', expected °C; K begins at another zero",
        ),
        (
            "{name: device_c, at: 1, unit: °F}",
            ".unit: found '°F', expected °C; °F begins at another zero",
        ),
        (
            "{name: import_kwh, at: 1, unit: WH}",
            ".unit: found 'WH', expected Wh, kWh, MWh or GWh; did you mean 'Wh'?",
        ),
        (
            "{name: power_factor, at: 1, unit: W}",
            ".unit: found 'W', but power_factor has no unit; leave it out",
        ),
        ("{name: power_w, at: 1, divide: 0}", ".divide: found 0, expected another number"),
        ("{name: power_w, at: 1, factor: 0}", ".factor: found 0, expected another number"),
        ("{name: power_w, at: 1, min: 3, max: 2}", ".min: found 3, which is above max 2"),
        (
            "{name: power_w, at: 1, absent: [-128]}",
            ".absent[0]: found -128, expected the number without sign, from 0 to 65,535;"
            " did you mean 65408?",
        ),
        ("{name: power_w, at: 1, scale: [v_pu]}", ".scale[0]: 'v_pu' is not one of its scales"),
        (
            "{name: power_w, at: 1, type: text, count: 2}",
            ".type: found 'text', but power_w is a number; expected u16, f32 or the like",
        ),
        (
            "{name: power_w, at: 1, codes: {0: a}}",
            ".codes: goes with type: enum, not with u16",
        ),
        ("{name: charging, at: 1}", ": found 'u16', but charging is true or false; expected bits"),
        (
            "{name: charging, at: 1, type: bits, bits: {0: a, 1: b}}",
            ".bits: found 2 bits, expected one: charging is true or false",
        ),
        (
            "{name: alarms, at: 1, type: text, count: 2}",
            ".type: found 'text', but alarms is a list of texts; expected bits",
        ),
        ("{name: alarms, at: 1, type: bits}", ": 'bits' is missing; say what its numbers mean"),
        (
            "{name: alarms, at: 1, type: bits, bits: {16: a}}",
            ".bits.16: found '16', expected a whole number from 0 to 15",
        ),
        (
            "{name: alarms, at: 1, type: bits, bits: {a: a}}",
            ".bits.a: found 'a', expected a whole number from 0 to 15",
        ),
        (
            "{name: alarms, at: 1, type: bits, bits: {1: a, 0x1: b}}",
            ".bits.0x1: the number 1 is there twice; delete one",
        ),
        (
            "{name: hardware_version, at: 1, type: text}",
            ": 'count' is missing; say how many registers this text has",
        ),
        (
            "{name: state_code, at: 1, type: f32}",
            ".type: found 'f32', but state_code is a whole number; expected u16, i32 or the like",
        ),
        (
            "{name: state_code, at: 1, factor: 0.1}",
            ": state_code is a whole number, which cannot have parts",
        ),
    ],
    ids=lambda one: one if one.startswith("{") else "",
)
def test_a_mistake_in_a_row_is_told(write: Write, written: str, told: str) -> None:
    assert faults(write, rows(f"  - {written}")) == [f"meter.yaml:9: registers[0]{told}"]


def test_a_word_that_the_field_does_not_know_is_told(write: Write) -> None:
    written = "  - {name: charge_state, at: 1, type: enum, codes: {5: bulc}}"
    assert faults(write, rows(written, "charger")) == [
        "meter.yaml:9: registers[0].codes.5: 'bulc' is not a word of charge_state;"
        " did you mean 'bulk'?"
    ]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (
            "{name: current_a, at: 2}",
            ".at: found register 2, but 2 belongs to power_w (registers 1 to 2, line 9)",
        ),
        (
            "{name: current_a, at: 0, type: u32}",
            ".at: found registers 0 to 1, but 1 belongs to power_w (registers 1 to 2, line 9)",
        ),
        ("{name: power_w, at: 7}", ".name: 'power_w' is there twice, first in line 9; delete one"),
    ],
)
def test_rows_that_do_not_go_together_are_told(write: Write, second: str, told: str) -> None:
    text = rows(f"  - {{name: power_w, at: 1, type: i32}}\n  - {second}")
    assert faults(write, text) == [f"meter.yaml:10: registers[1]{told}"]


def test_registers_of_two_functions_do_not_overlap(write: Write) -> None:
    first, second = "{name: power_w, at: 1, type: i32}", "{name: current_a, at: 2, function: 4}"
    assert len(write(rows(f"  - {first}\n  - {second}")).rows) == 2


def test_a_row_within_a_scale_is_told(write: Write) -> None:
    text = rows("  - {name: power_w, at: 1}", top="scales: {s: {at: 0, type: u32}}")
    assert faults(write, text) == [
        "meter.yaml:9: registers[0].at: found register 1, but 1 belongs to s"
        " (registers 0 to 1, line 6)"
    ]


def test_parts_of_one_list_that_are_asked_apart_are_told(write: Write) -> None:
    first = "{name: alarms, at: 1, type: bits, bits: {0: a}}"
    second = "{name: alarms, at: 2, type: bits, bits: {0: b}, group: slow}"
    assert faults(write, rows(f"  - {first}\n  - {second}")) == [
        "meter.yaml:10: registers[1].group: found 'slow', expected 'fast' as in line 9,"
        " whose list it is part of"
    ]


def test_a_number_that_an_enum_gives_already_is_told(write: Write) -> None:
    first = "{name: charge_state, at: 1, type: enum, codes: {0: 'off'}}"
    text = rows(f"  - {first}\n  - {{name: charge_state_code, at: 1}}", "charger")
    assert faults(write, text) == [
        "meter.yaml:9: registers[0]: 'charge_state_code' comes of this row already;"
        " delete the one in line 10"
    ]


def test_a_row_longer_than_an_answer_is_told(write: Write) -> None:
    text = rows("  - {name: hardware_version, at: 1, type: text, count: 9}", top="max_registers: 8")
    assert faults(write, text) == [
        "meter.yaml:9: registers[0]: has 9 registers, but one answer has at most 8 (max_registers)"
    ]


# ---------------------------------------------------------------------- mistakes elsewhere


@pytest.mark.parametrize(
    ("top", "told"),
    [
        ("function: 5", "function: '5' is not known; expected one of 3, 4"),
        ("serial: [9600]", "serial[0]: found '9600', expected a line such as 9600 8N1"),
        ("timeout: 5x", "timeout: found '5x', expected a duration such as 5s, 4m, 24h or 7d"),
        (
            "probe: {name: powr_w}",
            "probe.name: 'powr_w' is not one of its rows; did you mean 'power_w'?",
        ),
        ("probe: {name: power_w, min: 2, max: 1}", "probe.min: found 2, which is above max 1"),
        (
            "scales: {s: {at: 3, type: text}}",
            "scales.s: 'count' is missing; say how many registers this text has",
        ),
        (
            "identity: {model: {at: 3, type: bits}}",
            "identity.model.type: found 'bits', expected text, u16 or the like",
        ),
        ("unknown: 1", "the key 'unknown' is not known"),
    ],
    ids=lambda one: "" if ": " in one and "'" in one else one,
)
def test_a_mistake_in_the_rest_is_told(write: Write, top: str, told: str) -> None:
    found = faults(write, rows("  - {name: power_w, at: 1}", top=top))
    assert any(one.startswith(f"meter.yaml:6: {told}") for one in found), found


@pytest.mark.parametrize(
    ("kind", "hint"), [("metre", "did you mean 'meter'?"), ("component", "expected one of battery")]
)
def test_a_kind_that_no_device_has_is_told(write: Write, kind: str, hint: str) -> None:
    [told] = faults(write, rows("  - {name: power_w, at: 1}", kind))
    assert told.startswith(f"meter.yaml:3: kind: {kind!r} is not known; {hint}")


def test_only_a_meter_has_a_role(write: Write) -> None:
    text = rows("  - {name: pv_w, at: 1}", "inverter", top="role: grid")
    told = "only a meter has a role, not the kind inverter; leave it out"
    assert faults(write, text) == [f"meter.yaml:6: role: {told}"]


def test_all_faults_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = rows("  - {name: powr_w, at: 1}\n  - {name: current_a, at: x}", top="function: 7")
    assert [one.partition(": ")[0] for one in faults(write, text)] == [
        "meter.yaml:6",
        "meter.yaml:9",
        "meter.yaml:10",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "meter.yaml:1: the file is empty; begin with 'maker: NAME'"),
        ("[1]", "meter.yaml:1: found a list, expected a mapping"),
        ("a: [", "meter.yaml:1: not YAML: "),
        (HEAD, "meter.yaml:1: 'registers' is missing"),
        (HEAD + "registers: []\n", "meter.yaml:6: registers: is empty; add a row such as"),
        (
            "maker: ${HOME}\n" + HEAD[12:] + "registers: []\n",
            "meter.yaml:1: maker: the environment has no HOME",
        ),
    ],
)
def test_a_file_that_is_none_is_told(write: Write, text: str, told: str) -> None:
    assert faults(write, text)[0].startswith(told)


# ---------------------------------------------------------------------- names and paths


def test_ours_are_known_by_name() -> None:
    assert "eastron_sdm230" in profiles.names()
    assert profiles.load("eastron_sdm230", beside=Path("/nowhere")).maker == "Eastron"


def test_an_unknown_name_is_told_with_one_that_may_be_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        profiles.load("schneider_iem300", beside=Path())
    told = "profile: 'schneider_iem300' is not known; did you mean 'schneider_iem3000'?"
    assert str(caught.value) == told


def test_a_path_starts_beside_the_configuration(write: Write, tmp_path: Path) -> None:
    write(METER)
    assert profiles.load("./meter.yaml", beside=tmp_path).name == "meter"
    assert profiles.load(str(tmp_path / "meter.yaml"), beside=Path("/nowhere")).name == "meter"
    with pytest.raises(ConfigError, match=r"profile: 'a/b': /nowhere/a/b: no such file"):
        profiles.load("a/b", beside=Path("/nowhere"))


CONFIGURATION = """\
site: farm
bridges:
  meters:
    type: modbus
    link: serial:///dev/ttyUSB0
    devices:
      house: {profile: ./meter.yaml}
      heat: {profile: ./meter.yaml, unit: 2}
      pump: {profile: eastron_smd230, unit: 3}
"""


def test_each_device_is_told_where_relative_paths_start(write: Write, tmp_path: Path) -> None:
    write(METER)
    (tmp_path / "heliobus.yaml").write_text(CONFIGURATION)
    bridge = config.load(tmp_path / "heliobus.yaml").bridges["meters"]
    assert [device.folder for device in bridge.devices] == [tmp_path] * 3


def check(folder: Path) -> list[str]:
    """Give what `heliobus check` says of a configuration that is wrong."""
    (folder / "heliobus.yaml").write_text(CONFIGURATION)
    command = [sys.executable, "-m", "heliobus", "check"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (78, "")
    return found.stderr.replace(f"{folder}/", "").splitlines()


def test_the_check_tells_each_fault_of_a_profile_in_a_line_of_its_own(tmp_path: Path) -> None:
    text = rows("  - {name: pover_w, at: 1, type: i32}\n  - {name: current_a, at: 2, unit: V}")
    (tmp_path / "meter.yaml").write_text(text)
    assert check(tmp_path) == [
        "heliobus.yaml:7: bridges.meters.devices.house: 3 faults in what it names:",
        "meter.yaml:9: registers[0].name: 'pover_w' is not a field of kind meter;"
        " did you mean 'power_w'?",
        "meter.yaml:10: registers[1].at: found register 2, but 2 belongs to pover_w"
        " (registers 1 to 2, line 9)",
        "meter.yaml:10: registers[1].unit: found 'V', expected mA, A or kA",
        "heliobus.yaml:8: bridges.meters.devices.heat: the same 3 faults as"
        " bridges.meters.devices.house",
        "heliobus.yaml:9: bridges.meters.devices.pump.profile: 'eastron_smd230' is not known;"
        " did you mean 'eastron_sdm230'?",
    ]


def test_the_check_tells_a_single_fault_in_the_line_of_the_device(tmp_path: Path) -> None:
    (tmp_path / "meter.yaml").write_text(rows("  - {name: pover_w, at: 1}"))
    assert check(tmp_path)[0] == (
        "heliobus.yaml:7: bridges.meters.devices.house: meter.yaml:9: registers[0].name:"
        " 'pover_w' is not a field of kind meter; did you mean 'power_w'?"
    )


@pytest.mark.parametrize(
    ("unit", "wanted", "times"),
    [
        *(("mW", "W", 0.001), ("kW", "W", 1000), ("MW", "W", 1_000_000)),
        *(("mVA", "VA", 0.001), ("kVA", "VA", 1000), ("MVA", "VA", 1_000_000)),
        *(("mvar", "var", 0.001), ("kvar", "var", 1000), ("Mvar", "var", 1_000_000)),
        *(("Wh", "kWh", 0.001), ("MWh", "kWh", 1000), ("GWh", "kWh", 1_000_000)),
        *(("VAh", "kVAh", 0.001), ("MVAh", "kVAh", 1000)),
        *(("varh", "kvarh", 0.001), ("Mvarh", "kvarh", 1000)),
        *(("mV", "V", 0.001), ("kV", "V", 1000), ("mA", "A", 0.001), ("kA", "A", 1000)),
        *(("mAh", "Ah", 0.001), ("kAh", "Ah", 1000), ("mHz", "Hz", 0.001), ("kHz", "Hz", 1000)),
        *(("Ω", "mΩ", 1000), ("kohm", "Ω", 1000), ("MΩ", "Ω", 1_000_000)),
        *(("Pa", "hPa", 0.01), ("mbar", "hPa", 1), ("kPa", "hPa", 10), ("bar", "hPa", 1000)),
        *(("cm", "mm", 10), ("m", "mm", 1000), ("kB", "B", 1000), ("GB", "B", 1_000_000_000)),
        *(("ms", "s", 0.001), ("min", "s", 60), ("h", "min", 60), ("d", "h", 24)),
        *(("km/h", "m/s", 1 / 3.6), ("degC", "°C", 1), ("percent", "%", 1)),
    ],
)
def test_a_unit_is_so_many_of_another(unit: str, wanted: str, times: float) -> None:
    found = conversion(unit, wanted)
    assert found is not None
    assert float(found) == pytest.approx(times)


def test_a_variant_is_looked_for_beside_the_profile_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    probe = "probe: {name: voltage_v, min: 80, max: 300}\n"
    named = f"{METER}{probe}variants: [./other.yaml]\n"
    (tmp_path / "mine/meter.yaml").write_text(named)
    (tmp_path / "mine/other.yaml").write_text(METER + probe)
    found = profiles.family("mine/meter.yaml", beside=tmp_path)
    assert [profile.name for profile in found] == ["meter", "other"]


def test_what_comes_with_heliobus_is_read_once_for_all_devices() -> None:
    one, other = (profiles.load("eastron_sdm230", beside=Path(place)) for place in ("/a", "/b"))
    assert one is other
