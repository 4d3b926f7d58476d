"""Every register of the Eastron meters and the TriStar MPPT, written down a second time."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from bridges.modbus import profiles
from bridges.modbus.registers import Row

# ---------------------------------------------------------------------- Eastron

# All are floats of two registers, read by function 4.
ONE_PHASE = {
    0x00: "voltage_v",
    0x06: "current_a",
    0x0C: "power_w",
    0x12: "apparent_va",
    0x18: "reactive_var",
    0x1E: "power_factor",
    0x46: "frequency_hz",
    0x48: "import_kwh",
    0x4A: "export_kwh",
    0x4C: "import_kvarh",
    0x4E: "export_kvarh",
    0x54: "demand_w",
    0x56: "demand_max_w",
    0x58: "import_demand_w",
    0x5A: "import_demand_max_w",
    0x5C: "export_demand_w",
    0x5E: "export_demand_max_w",
    0x102: "demand_a",
    0x108: "demand_max_a",
    0x156: "total_kwh",
    0x158: "total_kvarh",
}
# What the SDM72 V2 and the SDM630 have in common.
EACH_PHASE = {
    0x00: "l1_v",
    0x02: "l2_v",
    0x04: "l3_v",
    0x06: "l1_a",
    0x08: "l2_a",
    0x0A: "l3_a",
    0x0C: "l1_w",
    0x0E: "l2_w",
    0x10: "l3_w",
    0x12: "l1_va",
    0x14: "l2_va",
    0x16: "l3_va",
    0x18: "l1_var",
    0x1A: "l2_var",
    0x1C: "l3_var",
    0x1E: "l1_power_factor",
    0x20: "l2_power_factor",
    0x22: "l3_power_factor",
    0x2A: "voltage_v",
    0x2E: "current_average_a",
    0x30: "current_a",
    0x34: "power_w",
    0x38: "apparent_va",
    0x3C: "reactive_var",
    0x3E: "power_factor",
    0x46: "frequency_hz",
    0x48: "import_kwh",
    0x4A: "export_kwh",
    0xC8: "l12_v",
    0xCA: "l23_v",
    0xCC: "l31_v",
    0xCE: "line_average_v",
    0xE0: "neutral_a",
    0x156: "total_kwh",
    0x158: "total_kvarh",
    0x180: "total_resettable_kwh",
    0x184: "import_resettable_kwh",
    0x186: "export_resettable_kwh",
    0x18C: "net_kwh",
}
SDM630 = {
    **EACH_PHASE,
    0x24: "l1_phase_deg",
    0x26: "l2_phase_deg",
    0x28: "l3_phase_deg",
    0x42: "phase_deg",
    0x4C: "import_kvarh",
    0x4E: "export_kvarh",
    0x50: "apparent_kvah",
    0x52: "total_ah",
    0x54: "demand_w",
    0x56: "demand_max_w",
    0x58: "import_demand_w",
    0x5A: "import_demand_max_w",
    0x5C: "export_demand_w",
    0x5E: "export_demand_max_w",
    0x64: "demand_va",
    0x66: "demand_max_va",
    0x68: "neutral_demand_a",
    0x6A: "neutral_demand_max_a",
    0xEA: "l1_voltage_thd_percent",
    0xEC: "l2_voltage_thd_percent",
    0xEE: "l3_voltage_thd_percent",
    0xF0: "l1_current_thd_percent",
    0xF2: "l2_current_thd_percent",
    0xF4: "l3_current_thd_percent",
    0xF8: "voltage_thd_percent",
    0xFA: "current_thd_percent",
    0x102: "l1_demand_a",
    0x104: "l2_demand_a",
    0x106: "l3_demand_a",
    0x108: "l1_demand_max_a",
    0x10A: "l2_demand_max_a",
    0x10C: "l3_demand_max_a",
    0x14E: "l12_voltage_thd_percent",
    0x150: "l23_voltage_thd_percent",
    0x152: "l31_voltage_thd_percent",
    0x154: "line_voltage_thd_percent",
    0x15A: "l1_import_kwh",
    0x15C: "l2_import_kwh",
    0x15E: "l3_import_kwh",
    0x160: "l1_export_kwh",
    0x162: "l2_export_kwh",
    0x164: "l3_export_kwh",
    0x166: "l1_total_kwh",
    0x168: "l2_total_kwh",
    0x16A: "l3_total_kwh",
    0x16C: "l1_import_kvarh",
    0x16E: "l2_import_kvarh",
    0x170: "l3_import_kvarh",
    0x172: "l1_export_kvarh",
    0x174: "l2_export_kvarh",
    0x176: "l3_export_kvarh",
    0x178: "l1_total_kvarh",
    0x17A: "l2_total_kvarh",
    0x17C: "l3_total_kvarh",
    0x182: "total_resettable_kvarh",
    0x18E: "net_kvarh",
}
EASTRON: Mapping[str, Mapping[int, str]] = {
    "eastron_sdm120": ONE_PHASE,
    "eastron_sdm220": {**ONE_PHASE, 0x24: "phase_deg"},
    "eastron_sdm230": {
        **ONE_PHASE,
        0x24: "phase_deg",
        0x180: "total_resettable_kwh",
        0x182: "total_resettable_kvarh",
    },
    "eastron_sdm54": {
        **SDM630,
        0x130C: "tariff_01_total_kwh",
        0x130E: "tariff_02_total_kwh",
        0x1314: "tariff_01_import_kwh",
        0x1316: "tariff_02_import_kwh",
        0x131C: "tariff_01_export_kwh",
        0x131E: "tariff_02_export_kwh",
    },
    "eastron_sdm630": SDM630,
    "eastron_sdm72": {
        0x34: "power_w",
        0x48: "import_kwh",
        0x4A: "export_kwh",
        0x156: "total_kwh",
        0x180: "total_resettable_kwh",
        0x184: "import_resettable_kwh",
        0x186: "export_resettable_kwh",
        0x500: "import_w",
        0x502: "export_w",
    },
    "eastron_sdm72_v2": {**EACH_PHASE, 0x500: "import_w", 0x502: "export_w"},
}


def rows_of(name: str) -> tuple[Row, ...]:
    return profiles.load(name, beside=Path()).rows


def test_every_eastron_meter_is_written_down() -> None:
    assert [name for name in profiles.names() if name.startswith("eastron")] == sorted(EASTRON)


@pytest.mark.parametrize("name", EASTRON)
def test_every_register_of_an_eastron_meter_is_the_makers(name: str) -> None:
    rows = rows_of(name)
    assert {row.at: row.name for row in rows} == EASTRON[name]
    assert len(rows) == len(EASTRON[name])
    for row in rows:  # in the units of the fields, high word first
        assert row == Row(row.name, row.at, 2, "f32", 4, group=row.group)


# ---------------------------------------------------------------------- TriStar MPPT

# Type, numbers that it is multiplied by, divisor.
VOLTS = ("i16", ("v_pu",), 32768)
AMPS = ("i16", ("i_pu",), 32768)
WATTS = ("u16", ("v_pu", "i_pu"), 131072)
WHOLE = ("u16", (), 1)
LONG = ("u32", (), 1)
CELSIUS = ("i16", (), 1)
HALF = ("f16", (), 1)
MEASURED = {
    24: ("battery_v", VOLTS),
    25: ("battery_terminal_v", VOLTS),
    26: ("battery_sense_v", VOLTS),
    27: ("pv_v", VOLTS),
    28: ("battery_a", AMPS),
    29: ("pv_a", AMPS),
    38: ("battery_average_v", VOLTS),
    39: ("battery_average_a", AMPS),
    40: ("battery_min_v", VOLTS),
    41: ("battery_max_v", VOLTS),
    51: ("charge_target_v", VOLTS),
    58: ("battery_w", WATTS),
    59: ("pv_w", WATTS),
    60: ("pv_mpp_w", WATTS),
    61: ("pv_mpp_v", VOLTS),
    62: ("pv_open_circuit_v", VOLTS),
    64: ("battery_min_today_v", VOLTS),
    65: ("battery_max_today_v", VOLTS),
    66: ("pv_max_today_v", VOLTS),
    70: ("output_peak_today_w", WATTS),
}
COUNTED = {
    (35, "heatsink_c", CELSIUS),
    (36, "battery_sensor_c", CELSIUS),
    (37, "battery_c", CELSIUS),
    (42, "operating_h", LONG),
    (44, "fault_code", WHOLE),
    (44, "alarms", ("bits", (), 1)),
    (46, "alarm_code", LONG),
    (46, "alarms", ("bits", (), 1)),
    (48, "dip_switch_code", WHOLE),
    (49, "led_state_code", WHOLE),
    (50, "charge_state", ("enum", (), 1)),
    (52, "charged_resettable_ah", ("u32", (), 10)),
    (54, "charged_ah", ("u32", (), 10)),
    (56, "yield_partial_kwh", WHOLE),
    (57, "yield_kwh", WHOLE),
    (67, "charged_today_ah", ("u16", (), 10)),
    (68, "yield_today_kwh", ("u16", (), 1000)),  # Wh
    (69, "notices", ("bits", (), 1)),
    (71, "battery_min_today_c", CELSIUS),
    (72, "battery_max_today_c", CELSIUS),
    (73, "fault_today_code", WHOLE),
    (73, "alarms_today", ("bits", (), 1)),
    (75, "alarm_today_code", LONG),
    (75, "alarms_today", ("bits", (), 1)),
    (77, "absorption_today_s", WHOLE),
    (78, "equalize_today_s", WHOLE),
    (79, "float_today_s", WHOLE),
}
ONLY_150_V = {
    (30, "supply_01_v", ("i16", (), 32768)),
    (31, "supply_02_v", ("i16", (), 32768)),
    (32, "supply_03_v", ("i16", (), 32768)),
    (33, "supply_04_v", ("i16", (), 32768)),
    (34, "supply_05_v", ("i16", (), 32768)),
    (0xE000, "battery_absorption_v", VOLTS),
    (0xE001, "battery_float_v", VOLTS),
    (0xE002, "absorption_min", ("u16", (), 60)),  # s
    (0xE007, "equalization_v", VOLTS),
    (0xE01D, "charge_limit_a", AMPS),
    (0xE0CD, "hardware_version", ("version", (), 1)),
}
TRISTAR: Mapping[str, set[tuple[int, str, tuple[str, tuple[str, ...], int]]]] = {
    "morningstar_tristar_mppt": (
        COUNTED | ONLY_150_V | {(at, name, how) for at, (name, how) in MEASURED.items()}
    ),
    "morningstar_tristar_mppt_600v": (
        COUNTED | {(at, name, HALF) for at, (name, _) in MEASURED.items()}
    ),
}


@pytest.mark.parametrize("name", TRISTAR)
def test_every_register_of_a_tristar_is_the_makers(name: str) -> None:
    rows = rows_of(name)
    assert {(row.at, row.name, (row.type, row.scales, row.divide)) for row in rows} == TRISTAR[name]
    assert len(rows) == len(TRISTAR[name])
    assert {(row.function, row.little, row.swapped) for row in rows} == {(3, False, False)}
    bits = {row.at: row.count for row in rows if row.type == "bits"}
    assert bits == {44: 1, 46: 2, 69: 1, 73: 1, 75: 2}
    absent = {row.at: set(row.absent) for row in rows if row.absent}
    assert absent == {at: {0x80} for at in (35, 36, 37, 71, 72)}
    factors = {row.name: row.factor for row in rows if row.factor != 1}
    supplies = {"supply_01_v": 18.612, "supply_02_v": 6.6, "supply_03_v": 18.612}
    supplies |= {"supply_04_v": 3, "supply_05_v": 3}
    assert factors == (supplies if name == "morningstar_tristar_mppt" else {})


def test_volts_and_amperes_of_a_tristar_are_scaled_by_its_first_four_registers() -> None:
    assert profiles.load("morningstar_tristar_mppt", beside=Path()).scales == {
        "v_pu": Row("v_pu", 0, 2, "u32", 3, divide=65536),
        "i_pu": Row("i_pu", 2, 2, "u32", 3, divide=65536),
    }
