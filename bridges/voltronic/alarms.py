"""Faults and warnings: QPIWS of PI30 units, FWS of PI18 units, fault codes of the display.

A raised bit becomes a text in one of three lists. `alarms`: everything that needs attention.
`faults`: those alarms that are faults. `notices`: what is normal off the grid or at night (no
grid, no sun) and bits that no document explains; nobody is to be woken for these.
"""

import re
from enum import Enum

from bridges.voltronic.columns import Values


class Rank(Enum):
    """What a raised bit means. EITHER: a fault while the bit `inverter fault` is raised too."""

    FAULT = "fault"
    WARNING = "warning"
    EITHER = "either"
    NOTICE = "notice"


_F, _W, _E, _N = Rank.FAULT, Rank.WARNING, Rank.EITHER, Rank.NOTICE
_INVERTER_FAULT = 1

# Index = position in the answer. "HS_MS_MSX", 2014 (32 positions); "PI30MAX", 2021, and
# "PIP-GK/MK" (36). What is reserved in one document means the same in none of the others, so
# that one table serves all.
_BITS: dict[int, tuple[str, Rank]] = {
    0: ("pv_lost", _N),
    1: ("inverter_fault", _F),
    2: ("bus_voltage_high", _F),
    3: ("bus_voltage_low", _F),
    4: ("bus_soft_start_failed", _F),
    5: ("grid_lost", _N),
    6: ("output_short", _E),
    7: ("inverter_voltage_low", _F),
    8: ("inverter_voltage_high", _F),
    9: ("over_temperature", _E),
    10: ("fan_locked", _E),
    11: ("battery_voltage_high", _E),
    12: ("battery_low", _W),
    14: ("battery_under_voltage", _W),
    15: ("battery_derating", _W),
    16: ("overload", _E),
    17: ("eeprom_failed", _W),
    18: ("inverter_over_current", _F),
    19: ("inverter_soft_start_failed", _F),
    20: ("self_test_failed", _F),
    21: ("output_dc_voltage_high", _F),
    22: ("battery_disconnected", _F),
    23: ("current_sensor_failed", _F),
    24: ("battery_short", _F),
    25: ("power_limited", _W),
    26: ("pv_voltage_high", _W),
    27: ("mppt_overload_fault", _F),
    28: ("mppt_overload", _W),
    29: ("battery_too_low_to_charge", _W),
    30: ("dcdc_over_current", _F),
    31: ("battery_weak", _W),
    33: ("pv_energy_low", _N),
    34: ("grid_voltage_high_at_start", _W),
    35: ("equalizing", _N),
}
# Positions 31 to 33 of the long form can hold digits of a fault code instead of bits.
_DIGITS = (31, 32, 33)

_PI18_BITS: dict[int, tuple[str, Rank]] = {
    0: ("grid_lost", _N),
    1: ("output_short", _F),
    2: ("over_temperature", _E),
    3: ("fan_locked", _E),
    4: ("battery_voltage_high", _E),
    5: ("battery_low", _W),
    6: ("battery_under_voltage", _W),
    7: ("overload", _E),
    8: ("eeprom_failed", _W),
    9: ("power_limited", _W),
    10: ("pv_01_voltage_high", _W),
    11: ("pv_02_voltage_high", _W),
    12: ("mppt_01_overload", _W),
    13: ("mppt_02_overload", _W),
    14: ("battery_too_low_to_charge_01", _W),
    15: ("battery_too_low_to_charge_02", _W),
}

# "PI30MAX", 2021; 11 is the main relay in the 2014 document, PV over voltage in this one.
FAULTS: dict[int, str] = {
    0: "none",
    1: "fan_locked",
    2: "over_temperature",
    3: "battery_voltage_high",
    4: "battery_voltage_low",
    5: "output_short_or_over_temperature",
    6: "output_voltage_high",
    7: "overload",
    8: "bus_voltage_high",
    9: "bus_soft_start_failed",
    10: "pv_over_current",
    11: "main_relay_or_pv_voltage_high",
    12: "dcdc_over_current",
    13: "battery_discharge_over_current",
    51: "inverter_over_current",
    52: "bus_voltage_low",
    53: "inverter_soft_start_failed",
    54: "self_test_failed",
    55: "output_dc_voltage_high",
    56: "battery_disconnected",
    57: "current_sensor_failed",
    58: "output_voltage_low",
    60: "power_feedback",
    71: "firmware_differs",
    72: "current_sharing_failed",
    80: "can_failed",
    81: "parallel_host_lost",
    82: "parallel_sync_lost",
    83: "parallel_battery_voltage_differs",
    84: "parallel_grid_differs",
    85: "parallel_output_unbalanced",
    86: "parallel_output_mode_differs",
}

WARNINGS = ("alarms", "faults", "notices", "warning_bits", "fault_code", "fault")


def read_warnings(found: re.Match[str]) -> Values:
    """Read QPIWS: 32 or 36 positions, `1` = raised."""
    bits = found.group()
    values = _fault_code(bits) if bits[_INVERTER_FAULT] == "1" else {}
    raised = [at for at, bit in enumerate(bits) if bit == "1" and not (values and at in _DIGITS)]
    _sort(values, raised, _BITS, in_fault=bits[_INVERTER_FAULT] == "1")
    values["warning_bits"] = bits
    return values


def read_pi18_warnings(found: re.Match[str]) -> Values:
    """Read FWS: a fault code, then sixteen or more flags."""
    code, *flags = found.group()[2:].split(",")
    values = fault(int(code))
    raised = [at for at, flag in enumerate(flags) if flag == "1"]
    _sort(values, raised, _PI18_BITS, in_fault=int(code) > 0)
    values["warning_bits"] = "".join(flags)
    return values


def fault(code: int) -> Values:
    """Give a fault code with its words."""
    return {"fault_code": code, "fault": FAULTS.get(code, "unknown")}


def _fault_code(bits: str) -> Values:
    """Find the fault code: 48 V units send it at 32 and 33, 24 V units at 31 and 32."""
    at_32, at_31 = bits[32:34], bits[31:33]
    if bits[31:32] > "1" or (at_32 > "00" and int(at_32) not in FAULTS):
        return fault(int(at_31))
    return fault(int(at_32)) if at_32 > "00" else {}


def _sort(
    values: Values, raised: list[int], table: dict[int, tuple[str, Rank]], *, in_fault: bool
) -> None:
    alarms: list[str] = []
    faults: list[str] = []
    notices: list[str] = []
    for at in raised:
        name, rank = table.get(at, (f"unknown_{at:02}", Rank.NOTICE))
        (notices if rank is Rank.NOTICE else alarms).append(name)
        if rank is Rank.FAULT or (rank is Rank.EITHER and in_fault):
            faults.append(name)
    values["alarms"] = alarms
    values["faults"] = faults
    values["notices"] = notices
