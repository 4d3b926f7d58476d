"""Hoymiles and other micro-inverters behind OpenDTU, in heliobus' own layout."""

from scripts.dashboards.model import (
    Look,
    Page,
    Panel,
    Query,
    Row,
    Shape,
    days,
    lines,
    members,
    newest,
    newest_members,
    newest_total,
    table,
)

_KIND, _NOW = "inverter", "15m"
_STRINGS = "pv_[0-9][0-9]_w"
_STRING = ("pv_0?([0-9]+)_w", "String $1")


def _gateway(shape: Shape, name: str) -> tuple[Query, ...]:
    return (Query(shape, "gateway", (name,), how="max", every_device=True),)


OPENDTU = Page(
    "opendtu",
    "heliobus: OpenDTU",
    "Micro-inverters behind OpenDTU: strings, yield, limit, radio.",
    (
        Row(
            "Now",
            (
                Panel(
                    "Power",
                    "What all chosen inverters deliver together.",
                    Look.STAT,
                    (newest_total(_KIND, "output_w", "Power", "yellow"),),
                    width=6,
                    height=5,
                    recent=_NOW,
                ),
                Panel(
                    "Today",
                    "Energy of all chosen inverters since their midnight.",
                    Look.STAT,
                    (newest_total(_KIND, "yield_today_kwh", "Today", "yellow"),),
                    width=6,
                    height=5,
                    recent="12h",
                ),
                Panel(
                    "Limit",
                    "Share of its rated power that each inverter may deliver. Orange: limited.",
                    Look.GAUGE,
                    newest(_KIND, "power_limit_percent"),
                    width=6,
                    height=5,
                    recent=_NOW,
                    minimum=0,
                    maximum=100,
                ),
                Panel(
                    "Radio",
                    "Signal of each inverter. Orange below -75 dBm, red below -85 dBm; older radio"
                    " modules only tell -30 or -80.",
                    Look.STAT,
                    newest(_KIND, "signal_dbm"),
                    width=6,
                    height=5,
                    recent=_NOW,
                ),
                Panel(
                    "Each inverter",
                    "The newest values. At night inverters are not reachable, and that is normal.",
                    Look.TABLE,
                    table(
                        _KIND,
                        "reachable",
                        "producing",
                        "output_w",
                        "output_v",
                        "output_hz",
                        "power_factor",
                        "efficiency_percent",
                        "device_c",
                        "power_limit_percent",
                        "power_limit_w",
                        "yield_today_kwh",
                        "yield_kwh",
                        "data_age_s",
                    ),
                    width=24,
                    height=7,
                    recent="1h",
                ),
            ),
        ),
        Row(
            "Strings of $device",
            (
                Panel(
                    "Strings now",
                    "Power of each string.",
                    Look.BARGAUGE,
                    newest_members(_KIND, _STRINGS),
                    width=8,
                    recent=_NOW,
                    minimum=0,
                    becomes=_STRING,
                    no_value="no strings reported",
                    options={"displayMode": "gradient"},
                ),
                Panel(
                    "Strings",
                    "Power of each string over time. One that lags behind is shaded or dirty.",
                    Look.LINES,
                    members(_KIND, _STRINGS),
                    width=8,
                    becomes=_STRING,
                    no_value="no strings reported",
                ),
                Panel(
                    "Use of the rated power",
                    "Power of each string as a share of its modules' rated power, where OpenDTU"
                    " knows it.",
                    Look.LINES,
                    members(_KIND, "pv_[0-9][0-9]_irradiation_percent"),
                    width=8,
                    becomes=("pv_0?([0-9]+)_irradiation_percent", "String $1"),
                    no_value="not set in OpenDTU",
                ),
            ),
            each_device=True,
        ),
        Row(
            "Over time",
            (
                Panel(
                    "Power", "What each inverter delivers.", Look.STACK, lines(_KIND, "output_w")
                ),
                Panel(
                    "Yield by day",
                    "Per inverter, by local day.",
                    Look.BARS,
                    (days(_KIND, "yield_today_kwh"),),
                    recent="14d",
                ),
                Panel("Temperature", "Of each inverter.", Look.LINES, lines(_KIND, "device_c")),
                Panel(
                    "Grid voltage and frequency",
                    "As the inverters see it; frequency on the right axis.",
                    Look.LINES,
                    lines(_KIND, "output_v", "output_hz"),
                ),
                Panel(
                    "Limit",
                    "Share of the rated power that each inverter may deliver.",
                    Look.LINES,
                    lines(_KIND, "power_limit_percent", how="min"),
                ),
                Panel(
                    "Reachable",
                    "When the gateway heard each inverter.",
                    Look.STATES,
                    lines(_KIND, "reachable", how="max"),
                ),
            ),
        ),
        Row(
            "Gateway",
            (
                Panel(
                    "Signal",
                    "WLAN of the gateway.",
                    Look.LINES,
                    _gateway(Shape.SERIES, "signal_dbm"),
                    width=8,
                    height=6,
                ),
                Panel(
                    "Running since",
                    "A short time means that it has restarted.",
                    Look.STAT,
                    _gateway(Shape.LATEST, "uptime_s"),
                    width=8,
                    height=6,
                    recent="1h",
                ),
                Panel(
                    "Free memory",
                    "What falls for days ends in a restart.",
                    Look.LINES,
                    _gateway(Shape.SERIES, "heap_free_bytes"),
                    width=8,
                    height=6,
                ),
            ),
        ),
    ),
    devices=_KIND,
)
