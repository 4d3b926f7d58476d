"""Answers of PI30 units and their variants. Fields are counted from 0, as in the documents.

Sources: "HS_MS_MSX RS232 Protocol" 2014-08-22, "PI30MAX" 2021-02-17, "PIP-GK/MK", "Revo V02";
answers recorded by users, see vectors/. Layouts differ between models that all call themselves
PI30, never widths: the number of fields decides, and what follows the known ones is kept raw.
"""

import re

from bridges.voltronic import meanings
from bridges.voltronic.alarms import WARNINGS, read_warnings
from bridges.voltronic.columns import (
    DECIMAL,
    FEW_BITS,
    NUMBER,
    Answer,
    Column,
    Table,
    Values,
    Write,
    bits,
    choice,
    decimal,
    integer,
    mode,
    number,
    text,
    unknown,
    yes,
)
from bridges.voltronic.pi30_units import PARALLEL
from bridges.voltronic.readings import NET, clock, net_current, pv_current, serial

# No heat sink is hotter: 1 to 3 kVA units send the sensor's converter value (0620) instead.
_HOTTEST_C = 200


def _heatsink() -> Column:
    celsius, raw = number("heatsink_c"), number("heatsink_adc_code")

    def write(values: Values, found: str) -> None:
        cold = not found.isdigit() or int(found) <= _HOTTEST_C
        (celsius if cold else raw).write(values, found)

    return Column(NUMBER, ("heatsink_c", "heatsink_adc_code"), write)


def _status(field_15: Column) -> Answer:
    columns = (
        decimal("grid_v"),
        decimal("grid_hz"),
        decimal("output_v"),
        decimal("output_hz"),
        integer("output_va"),
        integer("output_w"),
        integer("load_percent"),
        number("bus_v"),
        decimal("battery_v"),
        number("battery_charge_a"),
        number("soc_percent"),
        _heatsink(),
        pv_current("pv_01_a"),
        number("pv_01_v"),
        number("scc_01_battery_v"),
        field_15,
        bits(
            "status_bits",
            (
                "sbu_priority_added",
                "settings_changed",
                "scc_firmware_updated",
                "load_on",
                "battery_voltage_steady",
                "charging",
                "solar_charging",
                "grid_charging",
            ),
        ),
        integer("fan_on_offset_v", 100),
        integer("eeprom_version_code"),
        integer("pv_01_w"),
        bits("status_extra_bits", ("charging_to_float", "switched_on"), FEW_BITS),
        yes("grid_feed_enabled"),
        integer("country_code"),
        integer("grid_feed_w"),
    )
    return Table(columns, 17, 32, "qpigs_extra", finish=net_current, finish_names=NET).answer()


STATUS = _status(number("battery_discharge_a"))
# Revo units put the PV energy of the day, in Wh, where others have the discharge current.
REVO_STATUS = _status(number("yield_today_kwh", 1000))

_RATINGS = (
    decimal("grid_rated_v"),
    decimal("grid_rated_a"),
    decimal("output_rated_v"),
    decimal("output_rated_hz"),
    decimal("output_rated_a"),
    integer("output_rated_va"),
    integer("output_rated_w"),
    decimal("battery_rated_v"),
    decimal("battery_recharge_v"),
    decimal("battery_under_v"),
    decimal("battery_bulk_v"),
    decimal("battery_float_v"),
    choice("battery_type", meanings.BATTERY_TYPES),
    integer("grid_charge_limit_a"),
    integer("charge_limit_a"),
    choice("input_range", meanings.INPUT_RANGES),
    choice("output_source_priority", meanings.OUTPUT_PRIORITIES),
    choice("charger_source_priority", meanings.CHARGER_PRIORITIES),
    integer("parallel_max_code"),
    choice("machine_type", meanings.MACHINES),
    choice("topology", meanings.TOPOLOGIES),
    choice("output_mode", meanings.OUTPUT_MODES),
    number("battery_redischarge_v"),
    choice("pv_ok_condition", meanings.PV_OK),
    choice("pv_power_balance", meanings.PV_BALANCE),
    # Clones (VMII-NXPW5KW) end with voltages here, as in `23.5 12 22.0`; nobody knows which.
    # The point in this field tells them apart, and all of the tail stays raw.
    integer("cv_time_limit_min"),
    choice("operation_logic", meanings.LOGICS),
    integer("discharge_limit_a"),
)

# As seen with QDI (25, 26 or 27 fields).
_DEFAULTS = (
    decimal("default_output_v"),
    decimal("default_output_hz"),
    integer("default_grid_charge_limit_a"),
    decimal("default_battery_under_v"),
    decimal("default_battery_float_v"),
    decimal("default_battery_bulk_v"),
    decimal("default_battery_recharge_v"),
    integer("default_charge_limit_a"),
    choice("default_input_range", meanings.INPUT_RANGES),
    choice("default_output_source_priority", meanings.OUTPUT_PRIORITIES),
    choice("default_charger_source_priority", meanings.CHARGER_PRIORITIES),
    choice("default_battery_type", meanings.BATTERY_TYPES),
    yes("default_buzzer_silent"),
    yes("default_power_saving"),
    yes("default_overload_restart"),
    yes("default_over_temperature_restart"),
    yes("default_backlight"),
    yes("default_source_loss_alarm"),
    yes("default_fault_record"),
    yes("default_overload_bypass"),
    yes("default_lcd_default_page"),
    choice("default_output_mode", meanings.OUTPUT_MODES),
    number("default_battery_redischarge_v"),
    choice("default_pv_ok_condition", meanings.PV_OK),
    choice("default_pv_power_balance", meanings.PV_BALANCE),
)

# In no document; found by users (forums.aeva.asn.au, Solar2MQTT). 13 fields on older units.
_CHARGER = (
    integer("absorption_left_s"),
    integer("float_left_s"),
    yes("scc_ok"),
    yes("scc_allowed"),
    integer("charge_average_a"),
    integer("scc_01_c"),
    integer("inverter_c"),
    integer("battery_c"),
    integer("transformer_c"),
    integer("gpio_code"),
    yes("fan_locked"),
    unknown("q1_extra"),
    integer("fan_percent"),
    integer("scc_charge_w"),
    integer("parallel_warning_code"),
    decimal("sync_hz"),
    choice("charge_state", meanings.CHARGE_STATES),
)
_OLD_CHARGER = (
    integer("absorption_left_s"),
    integer("float_left_s"),
    unknown("q1_extra"),
    integer("scc_01_c"),
    integer("inverter_c"),
    integer("battery_c"),
    integer("transformer_c"),
    unknown("q1_extra"),
    unknown("q1_extra"),
    unknown("q1_extra"),
    integer("fan_percent"),
    unknown("q1_extra"),
    choice("charge_state", meanings.CHARGE_STATES),
)

_PV2 = (decimal("pv_02_a"), decimal("pv_02_v"), integer("pv_02_w"))
# Split-phase units and those with three PV inputs answer QPIGS2 in layouts of their own.
_OTHER_PV2 = tuple(unknown("qpigs2_fields", token) for token in [DECIMAL] * 2 + [NUMBER] * 9)

_EQUALIZATION = (
    yes("equalization_enabled"),
    integer("equalization_time_min"),
    Column(
        r"\d{1,4}",
        ("equalization_period_h",),
        lambda values, days: values.__setitem__("equalization_period_h", int(days) * 24),
    ),
    integer("equalization_limit_a"),
    unknown("qbeqi_extra"),
    decimal("equalization_v"),
    unknown("qbeqi_extra"),
    integer("equalization_timeout_min"),
    yes("equalization_active"),
    integer("equalization_elapsed_h"),
)

_BMS = (
    yes("bms_connected", when="0"),
    integer("bms_soc_percent"),
    yes("bms_force_charge"),
    yes("bms_stop_discharge"),
    yes("bms_stop_charge"),
    integer("bms_charge_v", 10),
    integer("bms_float_v", 10),
    integer("bms_cutoff_v", 10),
    integer("bms_charge_limit_a"),
    integer("bms_discharge_limit_a"),
)


def _flags(found: re.Match[str]) -> Values:
    enabled, disabled = found.groups()
    values: Values = {name: True for letter, name in meanings.FLAGS.items() if letter in enabled}
    values |= {name: False for letter, name in meanings.FLAGS.items() if letter in disabled}
    values["flags_enabled"] = list(enabled)
    values["flags_disabled"] = list(disabled)
    return values


def _whole(pattern: str, write: Write, names: tuple[str, ...], expected: str) -> Answer:
    """Describe an answer of one field."""

    def read(found: re.Match[str]) -> Values:
        values: Values = {}
        write(values, found.group(1))
        return values

    return Answer(re.compile(pattern + r"\Z"), read, names, expected)


def _text(name: str, pattern: str, expected: str) -> Answer:
    return _whole(pattern, text(name, pattern).write, (name,), expected)


def _energy(name: str) -> Answer:
    return _whole(r"(\d{5,9})", number(name, 1000).write, (name,), "8 digits")


def _amperes(name: str) -> Answer:
    """Describe a list of currents that can be chosen."""

    def read(found: re.Match[str]) -> Values:
        return {name: [str(int(ampere)) for ampere in found.group().split()]}

    return Answer(
        re.compile(r"\d{3}(?: +\d{3})* *\Z"), read, (name,), "a list of currents of 3 digits"
    )


def _hours(name: str, meanings: dict[int, str], extra: str) -> Answer:
    """Describe 24 hourly settings, the one in force now, and three more."""

    def read(found: re.Match[str]) -> Values:
        codes = found.group().split()
        return {
            name: [meanings.get(int(code), "unknown") for code in codes[:24]],
            extra: codes[24:],
        }

    return Answer(re.compile(r"\d(?: +\d){24,31} *\Z"), read, (name, extra), "25 to 32 digits")


# Every PI30 command that is known; energies and QPGS without the date or number behind them.
ANSWERS: dict[str, Answer] = {
    "QPI": _text("protocol", r"(PI\d{2}\w{0,12})", "the name of a protocol, such as PI30"),
    "QID": _text("serial", r"(\w{6,32})", "a serial number"),
    "QSID": Answer(re.compile(r"(\d{2})(\d{6,30})\Z"), serial, ("serial",), "a serial number"),
    "QVFW": _text("firmware", r"(?:VERFW:)?([0-9A-Fa-f]{1,8}\.[0-9A-Fa-f]{1,4})", "a version"),
    "QVFW2": _text("firmware_2", r"(?:VERFW2?:)?([0-9A-Fa-f]{1,8}\.[0-9A-Fa-f]{1,4})", "a version"),
    "QVFW3": _text("firmware_3", r"(?:VERFW3?:)?([0-9A-Fa-f]{1,8}\.[0-9A-Fa-f]{1,4})", "a version"),
    "QMN": _text("model", r"(\w[\w.+-]{1,31})", "the name of a model"),
    "QGMN": _whole(
        r"(\d{2,4})", number("model_code").write, ("model_code",), "the number of a model"
    ),
    "QMOD": _whole(r"([A-Z])", mode(meanings.MODES).write, ("mode", "mode_code"), "one letter"),
    "QPIGS": STATUS,
    "QPIGS2": Table(_PV2, 3, 3, "qpigs2_fields").answer(),
    "QPIRI": Table(_RATINGS, 21, 40, "qpiri_extra").answer(),
    "QPIWS": Answer(
        re.compile(r"[01]{31}(?:[01]|\d{3}[01]{2,12})\Z"),
        read_warnings,
        WARNINGS,
        "32 or 36 bits",
    ),
    "QFLAG": Answer(
        re.compile(r"E([a-z]*)D([a-z]*)\Z"),
        _flags,
        (*meanings.FLAGS.values(), "flags_enabled", "flags_disabled"),
        "letters after E and D",
    ),
    "QDI": Table(_DEFAULTS, 25, 32, "qdi_extra").answer(),
    "Q1": Table(_CHARGER, 17, 40, "q1_extra").answer(),
    "QMCHGCR": _amperes("charge_limit_options"),
    "QMUCHGCR": _amperes("grid_charge_limit_options"),
    "QBEQI": Table(_EQUALIZATION, 10, 12, "qbeqi_extra").answer(),
    "QOPPT": _hours("output_source_by_hour", meanings.OUTPUT_PRIORITIES, "qoppt_extra"),
    "QCHPT": _hours("charger_source_by_hour", meanings.CHARGER_PRIORITIES, "qchpt_extra"),
    "QT": Answer(
        re.compile(r"(\d{4})" + r"(\d\d)" * 5 + r"\Z"), clock, ("device_time",), "14 digits"
    ),
    "QPGS": PARALLEL,
    "QBMS": Table(_BMS, 10, 12, "qbms_extra").answer(),
    "QBATCD": _text("battery_control_bits", r"([01]{3})", "3 bits"),
    **{command: _energy(name) for command, name in meanings.ENERGIES.items()},
}
# A second layout of the same answer, tried when the first does not fit.
OTHERS: dict[str, Answer] = {
    "Q1": Table(_OLD_CHARGER, 13, 13, "q1_extra").answer(),
    "QPIGS2": Table(_OTHER_PV2, 11, 14, "qpigs2_fields").answer(),
}
