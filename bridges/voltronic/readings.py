"""What answers of both protocols say alike: currents and their sides, clocks, serial numbers."""

import re
from datetime import datetime

from bridges.voltronic.columns import NUMBER, Column, Values, number

NET = ("battery_a", "battery_w")


def pv_current(pv: str) -> Column:
    """Read a PV current: whole amperes are the battery's side, decimals the panels' side."""
    panels, battery = number(pv), number("pv_charge_a")

    def write(values: Values, found: str) -> None:
        (panels if "." in found else battery).write(values, found)

    return Column(NUMBER, (pv, "pv_charge_a"), write)


def net_current(values: Values) -> None:
    """Add the battery current and power, positive = charging."""
    charge, discharge = values.get("battery_charge_a"), values.get("battery_discharge_a")
    if not isinstance(charge, int | float) or not isinstance(discharge, int | float):
        return
    values["battery_a"] = charge - discharge
    battery_v = values.get("battery_v")
    if isinstance(battery_v, int | float):
        values["battery_w"] = round(battery_v * (charge - discharge))


def serial(found: re.Match[str]) -> Values:
    """Read two digits, which say how many of those that follow are the serial number."""
    length, digits = int(found.group(1)), found.group(2)
    return {"serial": digits[:length] if 0 < length <= len(digits) else digits}


def clock(found: re.Match[str]) -> Values:
    """Read a clock; one that was never set gives no value."""
    time = "{}-{}-{}T{}:{}:{}".format(*found.groups())
    try:
        datetime.fromisoformat(time)
    except ValueError:
        return {}
    return {"device_time": time}
