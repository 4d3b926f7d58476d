"""Inverters."""

from scripts.dashboards.model import Look, Page, Panel, Row, lines, members, newest, table, words

_KIND, _NOW = "inverter", "15m"

_FIRST = Row(
    "Now",
    (
        Panel(
            "Output",
            "Power out of each inverter.",
            Look.STAT,
            newest(_KIND, "output_w"),
            width=5,
            height=5,
            recent=_NOW,
        ),
        Panel(
            "PV",
            "Power of the PV at each inverter. Positive = producing.",
            Look.STAT,
            newest(_KIND, "pv_w"),
            width=5,
            height=5,
            recent=_NOW,
        ),
        Panel(
            "Battery",
            "Positive (green) = charging, negative (blue) = discharging.",
            Look.STAT,
            newest(_KIND, "battery_w"),
            width=5,
            height=5,
            recent=_NOW,
            steps=((None, "blue"), (0, "green")),
        ),
        Panel(
            "Load",
            "Share of the rated power. Orange from 80 %, red from 100 %.",
            Look.GAUGE,
            newest(_KIND, "load_percent"),
            width=5,
            height=5,
            recent=_NOW,
            minimum=0,
            maximum=120,
        ),
        Panel(
            "Heat sink",
            "Temperature of the power stage. Orange from 65 °C, red from 80 °C.",
            Look.STAT,
            newest(_KIND, "heatsink_c"),
            width=4,
            height=5,
            recent=_NOW,
        ),
        Panel(
            "Each inverter",
            "The newest values. Battery is positive while charging, grid while importing.",
            Look.TABLE,
            table(
                _KIND,
                "mode",
                "output_w",
                "output_v",
                "output_hz",
                "load_percent",
                "pv_w",
                "battery_v",
                "battery_a",
                "battery_w",
                "grid_v",
                "yield_today_kwh",
                "alarms",
            ),
            width=24,
            height=6,
            recent="1h",
        ),
    ),
)

_HISTORY = Row(
    "Over time",
    (
        Panel(
            "Mode",
            "What each inverter was doing. Purple is the grid, blue the battery.",
            Look.STATES,
            words(_KIND, "mode"),
            width=24,
            height=4,
        ),
        Panel(
            "Power",
            "PV, output and battery of each inverter. The battery is positive while charging.",
            Look.LINES,
            lines(_KIND, "pv_w", "output_w", "battery_w"),
            width=24,
            height=9,
        ),
        Panel(
            "PV voltage and current",
            "Of inverters that report them as a whole; see the inputs below for the others.",
            Look.LINES,
            lines(_KIND, "pv_v", "pv_a"),
        ),
        Panel(
            "Battery voltage and current",
            "Current on the right axis, positive = charging.",
            Look.LINES,
            lines(_KIND, "battery_v", "battery_a"),
        ),
        Panel(
            "Output and grid voltage",
            "0 V of the grid is a grid that is away.",
            Look.LINES,
            lines(_KIND, "output_v", "grid_v"),
        ),
        Panel(
            "Frequency of the output",
            "Off the grid, some inverters raise it to slow down PV inverters behind them.",
            Look.LINES,
            lines(_KIND, "output_hz"),
        ),
        Panel(
            "Load",
            "Share of the rated power.",
            Look.LINES,
            lines(_KIND, "load_percent", how="max"),
        ),
        Panel(
            "Heat sink",
            "Temperature of the power stage.",
            Look.LINES,
            lines(_KIND, "heatsink_c", how="max"),
        ),
    ),
)

_INPUT = "pv_[0-9][0-9]_{}"


def _inputs(title: str, told: str, end: str) -> Panel:
    return Panel(
        title,
        told,
        Look.LINES,
        members(_KIND, _INPUT.format(end)),
        width=8,
        height=7,
        becomes=(f"pv_0?([0-9]+)_{end}", "Input $1"),
        no_value="no inputs reported",
    )


_INPUTS = Row(
    "PV inputs of $device",
    (
        _inputs("Power of the inputs", "One input per tracker or string.", "w"),
        _inputs("Voltage of the inputs", "What falls to 0 V by day is a fuse or a plug.", "v"),
        _inputs("Current of the inputs", "One input per tracker or string.", "a"),
    ),
    each_device=True,
)

INVERTER = Page(
    "inverter",
    "heliobus: Inverter",
    "Inverters. Battery is positive while charging, grid while importing.",
    (_FIRST, _HISTORY, _INPUTS),
    devices=_KIND,
)
