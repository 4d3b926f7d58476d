"""The house at a glance: where power comes from and where it goes."""

from scripts.dashboards import flow
from scripts.dashboards.model import (
    EVENTS,
    TOTALS,
    Look,
    Page,
    Panel,
    Query,
    Row,
    Shape,
    lines,
    newest,
    newest_total,
    total,
    words,
)

PV, HOUSE, BATTERY, GRID = "yellow", "blue", "green", "purple"
_NOW = "15m"
_BIG = {"text": {"valueSize": 42}}
_ALONE = {"custom_stacking": {"mode": "none", "group": "A"}, "custom_fillOpacity": 0}

_FLOW = Row(
    "Energy flow",
    (
        Panel(
            "Who feeds whom",
            "Power now. The thicker the arrow, the more: from 20 W, from 1 kW, from 3 kW. The"
            " battery is positive while charging, the grid while importing. Where the load is not"
            " measured, the house is what the inverters with a battery deliver. A generator is"
            " shown where one is measured.",
            Look.FLOW,
            flow.QUERIES,
            height=12,
            recent=_NOW,
            steps=((None, flow.CLEAR),),
        ),
        Panel(
            "Balance",
            "What feeds the house, stacked: PV, the battery while discharging (above zero) or"
            " charging (below), the grid while importing (above) or exporting (below). The lines"
            " are the house and what the inverters deliver. The battery is drawn with its sign"
            " turned: on the bus, + is charging.",
            Look.STACK,
            (
                total(TOTALS, "pv_w", "PV", PV),
                total(TOTALS, "battery_w", "Battery", BATTERY, custom_transform="negative-Y"),
                total(TOTALS, "grid_w", "Grid", GRID),
                total(TOTALS, "load_w", "House", HOUSE, **_ALONE),
                total("inverter", "output_w", "Inverters", "light-blue", **_ALONE),
            ),
            width=12,
            height=12,
        ),
    ),
)

_NUMBERS = Row(
    "Now",
    (
        Panel(
            "☀ PV →",
            "Power of all PV now. Positive = producing.",
            Look.STAT,
            (newest_total(TOTALS, "pv_w", "PV", PV),),
            width=5,
            height=5,
            recent=_NOW,
            options=_BIG,
        ),
        Panel(
            "→ ⌂ House",
            "What the house draws now. Where the load is not measured, what the inverters deliver.",
            Look.STAT,
            (
                newest_total(TOTALS, "load_w", "House", HOUSE),
                newest_total("inverter", "output_w", "Inverters", HOUSE),
            ),
            width=6,
            height=5,
            recent=_NOW,
            options=_BIG,
        ),
        Panel(
            "↔ Battery",
            "Power of the battery now. Positive (green) = charging, negative (blue) = discharging.",
            Look.STAT,
            (newest_total(TOTALS, "battery_w", "Battery"),),
            width=5,
            height=5,
            recent=_NOW,
            steps=((None, "blue"), (0, "green")),
            options=_BIG,
        ),
        Panel(
            "State of charge",
            "How full the battery is. Red below 20 %, orange below 40 %.",
            Look.GAUGE,
            newest(TOTALS, "soc_percent"),
            width=3,
            height=5,
            recent=_NOW,
            minimum=0,
            maximum=100,
        ),
        Panel(
            "↔ Grid",
            "Power from the grid now. Positive (purple) = import, negative (green) = export."
            " Many off-grid inverters do not measure it.",
            Look.STAT,
            (newest_total(TOTALS, "grid_w", "Grid"),),
            width=5,
            height=5,
            recent=_NOW,
            steps=((None, "green"), (1, "purple")),
            no_value="not measured",
            options=_BIG,
        ),
    ),
)

_TODAY = Row(
    "Today",
    (
        Panel(
            "PV today",
            "Energy of the PV since the device's midnight.",
            Look.STAT,
            (newest_total(TOTALS, "yield_today_kwh", "PV", PV),),
            width=4,
            height=6,
            recent=_NOW,
        ),
        Panel(
            "House today",
            "Energy that the house has used since the device's midnight.",
            Look.STAT,
            (newest_total(TOTALS, "load_today_kwh", "House", HOUSE),),
            width=4,
            height=6,
            recent=_NOW,
        ),
        Panel(
            "State of charge",
            "How full the battery was.",
            Look.LINES,
            lines(TOTALS, "soc_percent"),
            width=16,
            height=6,
            minimum=0,
            maximum=100,
        ),
        Panel(
            "Modes",
            "What each inverter was doing.",
            Look.STATES,
            words("inverter", "mode"),
            width=24,
            height=4,
        ),
    ),
)

_HEALTH = Row(
    "heliobus itself",
    (
        Panel(
            "Components",
            "Which parts of heliobus were running. Red = offline.",
            Look.STATES,
            (Query(Shape.SERIES, "component", ("is_online",), how="min"),),
            width=10,
        ),
        Panel(
            "Events",
            "Alerts, commands and losses, the newest first.",
            Look.TABLE,
            EVENTS,
            width=14,
            no_value="",
        ),
    ),
)

OVERVIEW = Page(
    "overview",
    "heliobus: Overview",
    "The house at a glance. On the bus and here, battery power is positive while charging and grid"
    " power positive while importing.",
    (_FLOW, _NUMBERS, _TODAY, _HEALTH),
    totals=("site", "inverter"),
)
