"""Electricity meters."""

from scripts.dashboards.model import (
    Look,
    Page,
    Panel,
    Row,
    days,
    lines,
    members,
    newest,
    table,
)

_KIND, _NOW = "meter", "15m"
_PHASE = ("l([1-3])_{}", "Phase $1")


def _phases(title: str, told: str, end: str) -> Panel:
    family, becomes = _PHASE
    return Panel(
        title,
        f"{told} Only meters that report their phases.",
        Look.LINES,
        members(_KIND, f"l[1-3]_{end}"),
        width=8,
        height=7,
        becomes=(family.format(end), becomes),
        no_value="no phases reported",
    )


METERS = Page(
    "meters",
    "heliobus: Meters",
    "Electricity meters. Power is positive while importing (consumption).",
    (
        Row(
            "Now",
            (
                Panel(
                    "Power",
                    "Positive (purple) = import or consumption, negative (green) = export.",
                    Look.STAT,
                    newest(_KIND, "power_w"),
                    width=24,
                    height=5,
                    recent=_NOW,
                    steps=((None, "green"), (0, "purple")),
                ),
                Panel(
                    "Each meter",
                    "The newest values. Power and current are positive while importing.",
                    Look.TABLE,
                    table(
                        _KIND,
                        "power_w",
                        "voltage_v",
                        "current_a",
                        "frequency_hz",
                        "power_factor",
                        "import_kwh",
                        "export_kwh",
                    ),
                    width=24,
                    height=7,
                    recent="1h",
                ),
            ),
        ),
        Row(
            "Over time",
            (
                Panel(
                    "Power",
                    "Positive = import or consumption, negative = export.",
                    Look.LINES,
                    lines(_KIND, "power_w"),
                    width=24,
                    height=9,
                ),
                Panel("Voltage", "Of each meter.", Look.LINES, lines(_KIND, "voltage_v")),
                Panel("Frequency", "Of each meter.", Look.LINES, lines(_KIND, "frequency_hz")),
                Panel(
                    "Import by day",
                    "Steps of the meter's counter, by local day. A counter that falls is taken as a"
                    " new beginning.",
                    Look.BARS,
                    (days(_KIND, "import_kwh"),),
                    recent="14d",
                ),
                Panel(
                    "Export by day",
                    "Steps of the meter's counter, by local day.",
                    Look.BARS,
                    (days(_KIND, "export_kwh"),),
                    recent="14d",
                ),
            ),
        ),
        Row(
            "Phases of $device",
            (
                _phases("Power of the phases", "Positive = import.", "w"),
                _phases("Voltage of the phases", "Against neutral.", "v"),
                _phases("Current of the phases", "Of each phase.", "a"),
            ),
            each_device=True,
        ),
    ),
    devices=_KIND,
)
