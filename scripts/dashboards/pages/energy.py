"""Energy by day, month and year."""

from scripts.dashboards.model import TOTALS, Look, Page, Panel, Query, Row, days

_PV, _HOUSE, _IMPORT, _EXPORT = "yellow", "blue", "purple", "green"
_FALLS = " A counter that falls, because a device was replaced or reset, is a new beginning."


def _bars(title: str, told: str, *queries: Query) -> Panel:
    return Panel(title, told, Look.BARS, queries)


def _span(look: Look, recent: str, title: str, query: Query) -> Panel:
    told = f"Sum of all devices, from their counters for life.{_FALLS}"
    return Panel(title, told, look, (query,), recent=recent, unit="kwatth", decimals=0)


def _spans(look: Look, recent: str, by: str) -> tuple[Panel, ...]:
    return (
        _span(look, recent, f"PV by {by}", days(TOTALS, "yield_kwh", "PV", _PV)),
        _span(look, recent, f"House by {by}", days(TOTALS, "load_kwh", "House", _HOUSE)),
        _span(look, recent, f"Import by {by}", days("meter", "import_kwh", "Import", _IMPORT)),
        _span(look, recent, f"Export by {by}", days("meter", "export_kwh", "Export", _EXPORT)),
    )


ENERGY = Page(
    "energy",
    "heliobus: Energy",
    "Energy by day, month and year. Days begin at midnight where you sit.",
    (
        Row(
            "By day",
            (
                _bars(
                    "PV by day",
                    "The most that each device's counter of the day reached.",
                    days(TOTALS, "yield_today_kwh"),
                ),
                _bars(
                    "House by day",
                    "The most that each device's counter of the day reached.",
                    days(TOTALS, "load_today_kwh"),
                ),
                _bars(
                    "Battery by day",
                    "What went into and came out of the batteries, by their counters of the day.",
                    days("battery", "charged_today_kwh"),
                    days("battery", "discharged_today_kwh"),
                ),
                _bars(
                    "Meters by day",
                    f"Import and export by the meters' counters for life.{_FALLS}",
                    days("meter", "import_kwh"),
                    days("meter", "export_kwh"),
                ),
            ),
        ),
        Row("By month", _spans(Look.MONTHS, "1y", "month")),
        Row("By year", _spans(Look.YEARS, "10y", "year")),
    ),
    totals=("site", "inverter", "charger"),
    since="now-30d/d",
    refresh="5m",
)
