"""QPGSn of PI30 units: one of several in parallel, and what all of them do together.

27 fields in "HS_MS_MSX", 2014; 29 in "PI30MAX", 2021.
"""

from bridges.voltronic import meanings
from bridges.voltronic.alarms import FAULTS
from bridges.voltronic.columns import (
    SERIAL,
    Table,
    Values,
    bits,
    choice,
    decimal,
    integer,
    mode,
    number,
    text,
    yes,
)
from bridges.voltronic.readings import NET, net_current, pv_current

_COLUMNS = (
    yes("parallel_present"),
    text("serial", SERIAL),
    mode(meanings.MODES),
    choice("fault", FAULTS),
    decimal("grid_v"),
    decimal("grid_hz"),
    decimal("output_v"),
    decimal("output_hz"),
    integer("output_va"),
    integer("output_w"),
    integer("load_percent"),
    decimal("battery_v"),
    number("battery_charge_a"),
    number("soc_percent"),
    number("pv_01_v"),
    number("total_charge_a"),
    integer("total_output_va"),
    integer("total_output_w"),
    integer("total_load_percent"),
    bits(
        "parallel_status_bits",
        # The two that are left out say how the battery is; then one that tells of no grid.
        (
            "scc_ok",
            "grid_charging",
            "solar_charging",
            *("", "", ""),
            "load_on",
            "settings_changed",
        ),
    ),
    choice("output_mode", meanings.OUTPUT_MODES),
    choice("charger_source_priority", meanings.CHARGER_PRIORITIES),
    integer("charge_limit_a"),
    integer("charge_limit_max_a"),
    integer("grid_charge_limit_a"),
    pv_current("pv_01_a"),
    number("battery_discharge_a"),
    decimal("pv_02_v"),
    number("pv_02_a"),
)


def _finish(values: Values) -> None:
    net_current(values)
    if "pv_02_v" in values and "pv_charge_a" in values:
        # Where there are two inputs both currents are those of the panels, in whole amperes.
        values["pv_01_a"] = values.pop("pv_charge_a")


PARALLEL = Table(_COLUMNS, 27, 32, "qpgs_extra", finish=_finish, finish_names=NET).answer()
