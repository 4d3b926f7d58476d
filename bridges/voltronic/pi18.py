"""Answers of PI18 units (InfiniSolar V, LV5048 hybrid V2, SILA, EASun iGrid): comma fields.

Source: "InfiniSolar V protocol" 2017-09-26; recordings of an LV5048. Several settings have the
numbers of PI30 with other meanings. These answers are decoded; PI18 units are not polled yet.
"""

import re

from bridges.voltronic import meanings
from bridges.voltronic.alarms import read_pi18_warnings
from bridges.voltronic.columns import (
    PI18,
    Answer,
    Table,
    Values,
    choice,
    integer,
    yes,
)
from bridges.voltronic.pi30 import WARNINGS, net_current

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


_SUMS = ("battery_a", "battery_w", "pv_w")


def _sum_pv(values: Values) -> None:
    net_current(values)
    one, two = values.get("pv_01_w"), values.get("pv_02_w")
    if isinstance(one, int) and isinstance(two, int):
        values["pv_w"] = one + two


# What has no table: the fields as they are.
RAW = Answer(
    re.compile(r"\^D"),
    lambda found: {"fields": found.string[2:].split(",")},
    ("fields",),
    "a PI18 answer",
)
# By the command without its head: GS for ^P005GS. ET, EY, EM and ED stay raw: an LV5048 that
# answers ET with 00802946 cannot mean kWh, as its document says.
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
}
