"""Answers of PI18 units (InfiniSolar V, LV5048 hybrid V2, SILA, EASun iGrid): comma fields.

Source: "InfiniSolar V protocol" 2017-09-26; recordings of an LV5048. Several settings have the
numbers of PI30 with other meanings.
"""

import re

from bridges.voltronic import meanings
from bridges.voltronic.alarms import FAULTS, WARNINGS, read_pi18_warnings
from bridges.voltronic.columns import (
    PI18,
    Answer,
    Table,
    Values,
    choice,
    integer,
    yes,
)
from bridges.voltronic.readings import NET, clock, net_current, serial

_MODES = {0: "power_on", 1: "standby", 2: "bypass", 3: "battery", 4: "fault", 5: "hybrid"}
_OUTPUT_PRIORITIES = {0: "solar_utility_battery", 1: "solar_battery_utility"}
_CHARGER_PRIORITIES = {0: "solar_first", 1: "solar_and_utility", 2: "only_solar"}
_MACHINES = {0: "off_grid", 1: "grid_tie"}
_SOLAR_PRIORITIES = {0: "battery_first", 1: "load_first"}
_SCC_STATES = {0: "abnormal", 1: "idle", 2: "charging"}
_BATTERY_DIRECTIONS = {0: "idle", 1: "charging", 2: "discharging"}
_DCAC_DIRECTIONS = {0: "idle", 1: "ac_to_dc", 2: "dc_to_ac"}
_GRID_DIRECTIONS = {0: "idle", 1: "import", 2: "export"}

_STATUS = (
    integer("grid_v", 10),
    integer("grid_hz", 10),
    integer("output_v", 10),
    integer("output_hz", 10),
    integer("output_va"),
    integer("output_w"),
    integer("load_percent"),
    integer("battery_v", 10),
    integer("scc_01_battery_v", 10),
    integer("scc_02_battery_v", 10),
    integer("battery_discharge_a"),
    integer("battery_charge_a"),
    integer("soc_percent"),
    integer("heatsink_c"),
    integer("scc_01_c"),
    integer("scc_02_c"),
    integer("pv_01_w"),
    integer("pv_02_w"),
    integer("pv_01_v", 10),
    integer("pv_02_v", 10),
    yes("settings_changed"),
    choice("scc_01_state", _SCC_STATES),
    choice("scc_02_state", _SCC_STATES),
    yes("load_on"),
    choice("battery_direction", _BATTERY_DIRECTIONS),
    choice("dcac_direction", _DCAC_DIRECTIONS),
    choice("grid_direction", _GRID_DIRECTIONS),
    integer("parallel_id_code"),
)
_RATINGS = (
    integer("grid_rated_v", 10),
    integer("grid_rated_a", 10),
    integer("output_rated_v", 10),
    integer("output_rated_hz", 10),
    integer("output_rated_a", 10),
    integer("output_rated_va"),
    integer("output_rated_w"),
    integer("battery_rated_v", 10),
    integer("battery_recharge_v", 10),
    integer("battery_redischarge_v", 10),
    integer("battery_under_v", 10),
    integer("battery_bulk_v", 10),
    integer("battery_float_v", 10),
    choice("battery_type", meanings.BATTERY_TYPES),
    integer("grid_charge_limit_a"),
    integer("charge_limit_a"),
    choice("input_range", meanings.INPUT_RANGES),
    choice("output_source_priority", _OUTPUT_PRIORITIES),
    choice("charger_source_priority", _CHARGER_PRIORITIES),
    integer("parallel_max_code"),
    choice("machine_type", _MACHINES),
    choice("topology", meanings.TOPOLOGIES),
    choice("output_mode", meanings.OUTPUT_MODES),
    choice("solar_power_priority", _SOLAR_PRIORITIES),
    integer("mppt_strings_code"),
)
_FLAGS = tuple(yes(meanings.FLAGS[letter]) for letter in "abkuvxyz")
# In the document it is the temperature of whatever is hottest in that unit.
_PARALLEL = (
    yes("parallel_present"),
    choice("mode", _MODES),
    choice("fault", FAULTS),
    *_STATUS[:6],
    integer("total_output_va"),
    integer("total_output_w"),
    integer("load_percent"),
    integer("total_load_percent"),
    integer("battery_v", 10),
    integer("battery_discharge_a"),
    integer("battery_charge_a"),
    integer("total_charge_a"),
    integer("soc_percent"),
    *_STATUS[16:20],
    *_STATUS[21:27],
    integer("temperature_max_c"),
)

_SUMS = (*NET, "pv_w")


def _sum_pv(values: Values) -> None:
    net_current(values)
    one, two = values.get("pv_01_w"), values.get("pv_02_w")
    if isinstance(one, int) and isinstance(two, int):
        values["pv_w"] = one + two


def _firmware(found: re.Match[str]) -> Values:
    """VFW: the main processor and the others; those that are not there are 00000."""
    names = ("firmware", "firmware_2", "firmware_3")
    return {name: said for name, said in zip(names, found.groups(), strict=True) if said.strip("0")}


def _who(found: re.Match[str]) -> Values:
    """PRI: whose parallel status it is, and how that unit is set."""
    values: Values = {"parallel_present": found.group(1) == "1"}
    length, digits = int(found.group(2)), found.group(3)
    if 0 < length <= len(digits):
        values["serial"] = digits[:length]
    for column, field in zip(_SET, found.groups()[3:], strict=True):
        column.write(values, field)
    return values


_SET = (
    choice("charger_source_priority", _CHARGER_PRIORITIES),
    integer("charge_limit_a"),
    integer("grid_charge_limit_a"),
    choice("output_mode", meanings.OUTPUT_MODES),
)


def _raw(found: re.Match[str]) -> Values:
    return {"fields": found.string[2:].split(",")}


# What has no table: the fields as they are.
RAW = Answer(re.compile(r"\^D"), _raw, ("fields",), "a PI18 answer")
_COUNTER = r"\^D(\d{5,9})\Z"
_COUNT = Answer(re.compile(_COUNTER), _raw, ("fields",), "5 to 9 digits")
# By the command without its head, the date or the number behind it: GS for ^P005GS. ET, EY and EM
# stay raw: their document says kWh, and recordings of home inverters (ET 00802946, EY 05580051)
# cannot mean that; see `counted`. Of ED all sources say Wh.
ANSWERS: dict[str, Answer] = {
    "PI": Answer(
        re.compile(r"\^D(\d\d)\Z"),
        lambda found: {"protocol": "PI" + found.group(1)},
        ("protocol",),
        "the number of a protocol",
    ),
    "GS": Table(_STATUS, 28, 31, "gs_extra", PI18, _sum_pv, _SUMS).answer(),
    "PIRI": Table(_RATINGS, 25, 27, "piri_extra", PI18).answer(),
    "MOD": Table((choice("mode", _MODES),), 1, 1, "mod_extra", PI18).answer(),
    "FLAG": Table(_FLAGS, 8, 12, "flag_extra", PI18).answer(),
    "FWS": Answer(
        re.compile(r"\^D\d{2}(?:,[01]){16,20}\Z"),
        read_pi18_warnings,
        WARNINGS,
        "a fault code and 16 or more flags",
    ),
    "T": Answer(
        re.compile(r"\^D(\d{4})" + r"(\d\d)" * 5 + r"\Z"), clock, ("device_time",), "14 digits"
    ),
    "ID": Answer(re.compile(r"\^D(\d{2})(\d{20})\Z"), serial, ("serial",), "a serial number"),
    "VFW": Answer(
        re.compile(r"\^D(\d{5}),(\d{5}),(\d{5})\Z"),
        _firmware,
        ("firmware", "firmware_2", "firmware_3"),
        "three versions",
    ),
    "GMN": Answer(
        re.compile(r"\^D(\d\d)\Z"),
        lambda found: {"model_code": int(found.group(1))},
        ("model_code",),
        "the number of a model",
    ),
    "ET": _COUNT,
    "EY": _COUNT,
    "EM": _COUNT,
    "ED": Answer(
        re.compile(_COUNTER),
        lambda found: {"yield_today_kwh": int(found.group(1)) / 1000},
        ("yield_today_kwh",),
        "5 to 9 digits",
    ),
    "PGS": Table(_PARALLEL, 29, 32, "pgs_extra", PI18, _sum_pv, _SUMS).answer(),
    "PRI": Answer(
        re.compile(r"\^D([01]),(\d\d),(\d{20}),(\d),(\d{2,3}),(\d{2,3}),(\d)\Z"),
        _who,
        ("parallel_present", "serial", *(name for column in _SET for name in column.names)),
        "its 7 fields",
    ),
}
COUNTERS = {"ET": "yield_kwh", "EY": "yield_year_kwh", "EM": "yield_month_kwh"}


def counted(values: Values, command: str, counts_per_kwh: int) -> Values:
    """Give a counter of `COUNTERS`, raw as `values`, in the unit that its owner has stated."""
    match COUNTERS.get(command[5:7]), values:
        case str(name), {"fields": [said]}:
            return {name: int(said) / counts_per_kwh}
    return values
