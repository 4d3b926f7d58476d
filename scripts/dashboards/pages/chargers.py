"""Solar chargers: a page to look into, and one for a touchscreen in the power room."""

from scripts.dashboards.model import (
    Look,
    Page,
    Panel,
    Row,
    days,
    lines,
    newest,
    newest_total,
    table,
    total,
    words,
)

_KIND, _NOW = "charger", "15m"
_COLUMNS = (
    "charge_state",
    "pv_w",
    "pv_v",
    "battery_v",
    "battery_a",
    "charge_target_v",
    "heatsink_c",
    "yield_today_kwh",
    "alarms",
)

_FIRST = Row(
    "Now",
    (
        Panel(
            "All chargers",
            "Sum of the PV power of all chargers.",
            Look.STAT,
            (newest_total(_KIND, "pv_w", "PV", "yellow"),),
            width=6,
            height=5,
            recent=_NOW,
        ),
        Panel(
            "Each charger",
            "PV power.",
            Look.BARGAUGE,
            newest(_KIND, "pv_w"),
            width=18,
            height=5,
            recent=_NOW,
            minimum=0,
            options={"orientation": "horizontal", "displayMode": "gradient"},
        ),
        Panel(
            "Values",
            "The newest values of each charger. Battery current is positive while charging.",
            Look.TABLE,
            table(_KIND, *_COLUMNS),
            width=24,
            height=8,
            recent="1h",
        ),
    ),
)

_HISTORY = Row(
    "Over time",
    (
        Panel(
            "Stage of charging",
            "Bulk (yellow) takes all there is, absorption (blue) holds the voltage, float (green)"
            " keeps it full.",
            Look.STATES,
            words(_KIND, "charge_state"),
            width=24,
            height=7,
        ),
        Panel("PV power", "Stacked, per charger.", Look.STACK, lines(_KIND, "pv_w")),
        Panel(
            "Charge current",
            "Into the battery, stacked, per charger.",
            Look.STACK,
            lines(_KIND, "battery_a"),
        ),
        Panel("PV voltage", "Per charger.", Look.LINES, lines(_KIND, "pv_v")),
        Panel(
            "Battery voltage",
            "As each charger sees it. What differs by more than 0.2 V is a cable or a terminal.",
            Look.LINES,
            lines(_KIND, "battery_v"),
        ),
        Panel(
            "Heat sink",
            "Orange from 65 °C, red from 80 °C: chargers reduce their current then.",
            Look.LINES,
            lines(_KIND, "heatsink_c", how="max"),
        ),
        Panel(
            "Yield by day",
            "Per charger, stacked, by local day. Choose a longer range above for more days.",
            Look.BARS,
            (days(_KIND, "yield_today_kwh"),),
            recent="14d",
        ),
    ),
)

CHARGERS = Page(
    "chargers",
    "heliobus: Chargers",
    "Solar charge controllers. Battery current is positive while charging.",
    (_FIRST, _HISTORY),
    devices=_KIND,
)

_BIG = {"text": {"titleSize": 22, "valueSize": 64}}
_TILE = {"text": {"titleSize": 18, "valueSize": 40}, "colorMode": "background"}

POWER_ROOM = Page(
    "power-room",
    "heliobus: Power room",
    "Big numbers for a touchscreen. Open it with &kiosk at the end of its address. Battery power is"
    " positive while charging.",
    (
        Row(
            "Power room",
            (
                Panel(
                    "PV",
                    "Sum of all chargers.",
                    Look.STAT,
                    (newest_total(_KIND, "pv_w", "PV", "yellow"),),
                    width=6,
                    height=6,
                    recent=_NOW,
                    options=_BIG,
                ),
                Panel(
                    "Charge current",
                    "Into the battery, sum of all chargers.",
                    Look.STAT,
                    (newest_total(_KIND, "battery_a", "Current", "green"),),
                    width=6,
                    height=6,
                    recent=_NOW,
                    options=_BIG,
                ),
                Panel(
                    "Battery",
                    "State of charge. Red below 20 %, orange below 40 %.",
                    Look.STAT,
                    newest("battery", "soc_percent"),
                    width=6,
                    height=6,
                    recent=_NOW,
                    decimals=0,
                    options=_BIG,
                ),
                Panel(
                    "Inverters",
                    "Power out of all inverters.",
                    Look.STAT,
                    (newest_total("inverter", "output_w", "Output", "blue"),),
                    width=6,
                    height=6,
                    recent=_NOW,
                    options=_BIG,
                ),
                Panel(
                    "Chargers",
                    "PV power of each charger.",
                    Look.STAT,
                    newest(_KIND, "pv_w"),
                    width=24,
                    height=6,
                    recent=_NOW,
                    steps=((None, "#808080"), (5, "orange"), (300, "green")),
                    options=_TILE,
                ),
                Panel(
                    "Stage of charging",
                    "What each charger does, in the last hours.",
                    Look.STATES,
                    words(_KIND, "charge_state"),
                    width=12,
                    height=9,
                ),
                Panel(
                    "PV power",
                    "Sum of all chargers.",
                    Look.LINES,
                    (total(_KIND, "pv_w", "PV", "yellow", custom_fillOpacity=30),),
                    width=12,
                    height=9,
                ),
                Panel(
                    "Today",
                    "Energy of each charger since its midnight.",
                    Look.BARGAUGE,
                    newest(_KIND, "yield_today_kwh"),
                    width=24,
                    height=6,
                    recent=_NOW,
                    minimum=0,
                    options={"displayMode": "gradient", "text": {"titleSize": 18, "valueSize": 28}},
                ),
            ),
        ),
    ),
    since="now-12h",
    refresh="10s",
    tags=("touchscreen",),
)
