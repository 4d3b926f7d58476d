"""What the numbers in Aurora answers mean. Data alone.

Sources: "Aurora Communication Protocol" 4.2 and aurorapy 0.2.7 for states, alarms and measures;
the letters of the models and countries also from Curtronics' aurora 1.9.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Byte 0 of an answer: what became of the question.
TRANSMISSION: Mapping[int, str] = MappingProxyType(
    {
        0: "ok",
        51: "command is not implemented",
        52: "variable does not exist",
        53: "value is out of range",
        54: "EEPROM is not accessible",
        55: "service mode is not on",
        56: "cannot be sent to the internal processor",
        57: "command was not executed",
        58: "variable is not available now, try again",
    }
)
UNSUPPORTED = frozenset({51, 52})
TRY_AGAIN = 58

# Global states, and what the inverter does in each, in the words of the contract.
GLOBAL: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("sending parameters", "starting"),
        1: ("wait sun/grid", "waiting"),
        2: ("checking grid", "starting"),
        3: ("measuring Riso", "starting"),
        4: ("DC/DC start", "starting"),
        5: ("inverter start", "starting"),
        6: ("run", "running"),
        7: ("recovery", "starting"),
        8: ("pause", "standby"),
        9: ("ground fault", "fault"),
        10: ("OTH fault", "fault"),
        11: ("address setting", "standby"),
        12: ("self test", "self_test"),
        13: ("self test fail", "fault"),
        14: ("sensor test and measuring Riso", "self_test"),
        15: ("leak fault", "fault"),
        16: ("waiting for manual reset", "fault"),
        17: ("internal error E026", "fault"),
        18: ("internal error E027", "fault"),
        19: ("internal error E028", "fault"),
        20: ("internal error E029", "fault"),
        21: ("internal error E030", "fault"),
        22: ("sending wind table", "starting"),
        23: ("failed sending table", "fault"),
        24: ("UTH fault", "fault"),
        25: ("remote off", "off"),
        26: ("interlock fail", "fault"),
        27: ("executing autotest", "self_test"),
        30: ("waiting sun", "waiting"),
        31: ("temperature fault", "fault"),
        32: ("fan stuck", "fault"),
        33: ("internal communication fault", "fault"),
        34: ("slave insertion", "standby"),
        35: ("DC switch open", "fault"),
        36: ("TRAS switch open", "fault"),
        37: ("master exclusion", "fault"),
        38: ("auto exclusion", "fault"),
        98: ("erasing internal EEPROM", "standby"),
        99: ("erasing external EEPROM", "standby"),
        100: ("counting EEPROM", "standby"),
        101: ("freeze", "fault"),
    }
)
INVERTER: Mapping[int, str] = MappingProxyType(
    {
        **dict(
            enumerate(
                (
                    *("stand by", "checking grid", "run", "bulk OV", "out OC", "IGBT sat"),
                    *("bulk UV", "degauss error", "no parameters", "bulk low", "grid OV"),
                    *("communication error", "degaussing", "starting", "bulk cap fail"),
                    *("leak fail", "DC/DC fail", "leakage sensor fail"),
                    *("self test: relay inverter", "self test: wait for sensor test"),
                    *("self test: test relay DC/DC and sensor", "self test: relay inverter fail"),
                    *("self test: timeout fail", "self test: relay DC/DC fail", "self test 1"),
                    *("waiting self test start", "DC injection", "self test 2", "self test 3"),
                    *("self test 4", "internal error", "internal error"),
                )
            )
        ),
        **dict(
            enumerate(
                (
                    *("forbidden state", "input UC", "zero power", "grid not present"),
                    *("waiting start", "MPPT", "grid fail", "input OC"),
                ),
                start=40,
            )
        ),
    }
)
RUNNING = "running"
# What the inverter part does although the global state is "run": stand by, checking grid,
# starting, zero power, grid not present, waiting start.
NOT_RUNNING: Mapping[int, str] = MappingProxyType(
    {0: "standby", 1: "starting", 13: "starting", 42: "standby", 43: "waiting", 44: "waiting"}
)
DCDC: Mapping[int, str] = MappingProxyType(
    dict(
        enumerate(
            (
                *("off", "ramp start", "MPPT", "not used", "input OC", "input UV", "input OV"),
                *("input low", "no parameters", "bulk OV", "communication error", "ramp fail"),
                *("internal error", "input mode error", "ground fault", "inverter fail"),
                *("IGBT sat", "leakage fail", "grid fail", "communication error"),
            )
        )
    )
)
# Alarms as the display shows them: its code, if it has one, and words.
ALARM: Mapping[int, str] = MappingProxyType(
    dict(
        enumerate(
            (
                *("W001 sun low", "E001 input OC", "W002 input UV", "E002 input OV"),
                *("W001 sun low", "E003 no parameters", "E004 bulk OV", "E005 comm. error"),
                *("E006 output OC", "E007 IGBT sat", "W011 bulk UV", "E009 internal error"),
                *("W003 grid fail", "E010 bulk low", "E011 ramp fail", "E012 DC/DC fail"),
                *("E013 wrong mode", "ground fault", "E014 over temperature"),
                *("E015 bulk cap fail", "E016 inverter fail", "E017 start timeout"),
                *("E018 ground fault", "degauss error", "E019 leakage sensor fail"),
                *("E012 DC/DC fail", "E020 self test error 1", "E021 self test error 2"),
                *("E019 self test error 3", "E022 self test error 4", "E023 DC injection error"),
                *("W004 grid OV", "W005 grid UV", "W006 grid OF", "W007 grid UF"),
                *("W008 Z grid high", "E024 internal error", "E025 Riso low"),
                *("E026 Vref error", "E027 error measuring V", "E028 error measuring f"),
                *("E029 error measuring Z", "E030 error measuring leakage"),
                *("E031 error reading V", "E032 error reading I", "W009 table fail"),
                *("W010 fan fail", "E033 UTH", "E034 interlock fail", "E035 remote off"),
                *("E036 Vout average error", "W012 battery low", "W013 clock fail"),
                *("E037 input UC", "W014 zero power", "E038 fan stuck", "E039 DC switch open"),
                *("E040 TRAS switch open", "E041 AC switch open", "E042 bulk UV"),
                *("E043 autoexclusion", "W015 grid df/dt", "W016 DEN switch open"),
                *("W017 junction box fail",),
            ),
            start=1,
        )
    )
)
# A warning is W and a number; what has neither E nor W is an error, too.
WARNS = "W"


@dataclass(frozen=True, slots=True)
class Measure:
    """What a measure of command 59 is called here, and how many of our unit its unit has."""

    name: str
    factor: float = 1.0
    tenths: bool = False  # some models were seen to count these in tenths


MEASURES: Mapping[int, Measure] = MappingProxyType(
    {
        1: Measure("grid_v"),
        2: Measure("output_a"),
        3: Measure("output_w"),
        4: Measure("grid_hz"),
        5: Measure("bus_v"),
        6: Measure("dc_leakage_a"),
        7: Measure("leakage_a"),
        8: Measure("pv_01_w"),
        9: Measure("pv_02_w"),
        21: Measure("inverter_c"),
        22: Measure("booster_c"),
        23: Measure("pv_01_v"),
        25: Measure("pv_01_a"),
        26: Measure("pv_02_v"),
        27: Measure("pv_02_a"),
        28: Measure("dcdc_grid_v"),
        29: Measure("dcdc_grid_hz"),
        30: Measure("isolation_ohm", 1e6),
        31: Measure("dcdc_bus_v"),
        32: Measure("grid_average_v"),
        33: Measure("bus_mid_v"),
        34: Measure("output_peak_w"),
        35: Measure("output_peak_today_w"),
        36: Measure("grid_neutral_v"),
        37: Measure("wind_turbine_hz"),
        38: Measure("grid_neutral_phase_v"),
        39: Measure("output_l1_a"),
        40: Measure("output_l2_a"),
        41: Measure("output_l3_a"),
        42: Measure("grid_l1_hz"),
        43: Measure("grid_l2_hz"),
        44: Measure("grid_l3_hz"),
        45: Measure("bus_plus_v"),
        46: Measure("bus_minus_v"),
        47: Measure("supervisor_c", tenths=True),
        48: Measure("supply_c", tenths=True),
        49: Measure("heatsink_c", tenths=True),
        50: Measure("temperature_01_c", tenths=True),
        51: Measure("temperature_02_c", tenths=True),
        52: Measure("temperature_03_c", tenths=True),
        53: Measure("fan_01_rpm"),
        54: Measure("fan_02_rpm"),
        55: Measure("fan_03_rpm"),
        56: Measure("fan_04_rpm"),
        57: Measure("fan_05_rpm"),
        58: Measure("power_limit_w"),
        59: Measure("bulk_ring_reference_v"),
        60: Measure("panel_micro_v"),
        61: Measure("grid_l1_v"),
        62: Measure("grid_l2_v"),
        63: Measure("grid_l3_v"),
        95: Measure("fan_01_rpm"),
        96: Measure("fan_02_rpm"),
        97: Measure("fan_03_rpm"),
        98: Measure("fan_04_rpm"),
        99: Measure("fan_05_rpm"),
        100: Measure("fan_06_rpm"),
        101: Measure("fan_07_rpm"),
    }
)
# Command 78 and, of three-phase and central inverters, 68. Both count in Wh.
ENERGIES: Mapping[int, str] = MappingProxyType(
    {
        0: "yield_today_kwh",
        1: "yield_week_kwh",
        2: "yield_7_days_kwh",
        3: "yield_month_kwh",
        4: "yield_year_kwh",
        5: "yield_kwh",
        6: "yield_partial_kwh",
    }
)
FLOAT_ENERGIES: Mapping[int, str] = MappingProxyType(
    {
        1: "yield_today_kwh",
        2: "yield_week_kwh",
        3: "yield_month_kwh",
        4: "yield_year_kwh",
        5: "yield_days_kwh",
        6: "yield_kwh",
        7: "yield_partial_kwh",
    }
)
TRANSFORMERS: Mapping[int, str] = MappingProxyType(
    {0: "none", 1: "50 kW", 2: "100 kW", 3: "200 kW", 4: "300 kW"}
)
SETUPS: Mapping[int, str] = MappingProxyType(
    {
        0: "both strings connected",
        1: "string 1 connected, string 2 disconnected",
        2: "string 2 connected, string 1 disconnected",
    }
)


@dataclass(frozen=True, slots=True)
class Model:
    """A model by its letter; `rated_w` 0 where a letter stands for something else."""

    name: str
    rated_w: float = 0.0


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "i": Model("PVI-2000", 2000),
        "o": Model("PVI-2000-OUTD", 2000),
        "I": Model("PVI-3600", 3600),
        "O": Model("PVI-3.6-OUTD", 3600),
        "5": Model("PVI-5000-OUTD", 5000),
        "6": Model("PVI-6000-OUTD", 6000),
        "P": Model("3-phase interface 3G74"),
        "C": Model("PVI-CENTRAL-50 module", 50_000),
        "4": Model("PVI-4.2-OUTD", 4200),
        "3": Model("PVI-3.6-OUTD", 3600),
        "2": Model("PVI-3.3-OUTD", 3300),
        "1": Model("PVI-3.0-OUTD", 3000),
        "D": Model("PVI-12.5-OUTD", 12_500),
        "X": Model("PVI-10.0-OUTD", 10_000),
        "H": Model("PVI-4.6-I-OUTD", 4600),
        "h": Model("PVI-3.8-I-OUTD", 3800),
        "T": Model("PVI-12.0-I-OUTD 480 V", 12_000),
        "t": Model("PVI-10.0-I-OUTD 480 V", 10_000),
        "U": Model("PVI-12.0-I-OUTD 208 V", 12_000),
        "u": Model("PVI-10.0-I-OUTD 208 V", 10_000),
        "V": Model("PVI-12.0-I-OUTD 380 V", 12_000),
        "v": Model("PVI-10.0-I-OUTD 380 V", 10_000),
        "Z": Model("PVI-12.0-I-OUTD 600 V", 12_000),
        "z": Model("PVI-10.0-I-OUTD 600 V", 10_000),
        "w": Model("PVI-10.0-I-OUTD 480 V 12 A", 10_000),
        "M": Model("PVI-CENTRAL-250", 250_000),
        "L": Model("PVI-CENTRAL-350 control board"),
        "B": Model("PVI-CENTRAL-350 display board"),
        "A": Model("PVI-CENTRAL-350 AC gathering"),
        "Y": Model("TRIO-27.6-TL-OUTD", 27_600),
        "y": Model("TRIO-20.0-TL-OUTD", 20_000),
        "g": Model("UNO-2.0-I", 2000),
        "G": Model("UNO-2.5-I", 2500),
    }
)
STANDARDS: Mapping[str, str] = MappingProxyType(
    {
        "A": "USA UL1741",
        "a": "USA UL1741 208 V",
        "b": "USA UL1741 240 V",
        "c": "USA UL1741 277 V",
        "E": "Germany VDE0126",
        "S": "Spain DR 1663/2000",
        "I": "Italy ENEL DK 5950",
        "U": "UK G83",
        "u": "UK G59",
        "K": "Australia AS 4777",
        "F": "France VDE",
        "R": "Ireland EN50438",
        "B": "Belgium VDE",
        "G": "Greece VDE",
        "O": "Korea",
        "T": "Taiwan",
        "C": "Czech Republic",
        "Q": "China",
    }
)
TOPOLOGIES: Mapping[str, str] = MappingProxyType({"N": "transformerless", "T": "transformer"})
SOURCES: Mapping[str, str] = MappingProxyType({"N": "PV", "W": "wind"})
