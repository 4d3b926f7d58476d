"""What the contract says of a field, in Grafana's words: unit, decimals, colours, thresholds."""

from collections.abc import Mapping

from heliobus.contract import Contract, Field
from scripts.dashboards.model import Steps

# Unit of the contract -> Grafana's id of it (packages/grafana-data/src/valueFormats/categories.ts).
UNITS: Mapping[str, str] = {
    "V": "volt",
    "A": "amp",
    "W": "watt",
    "VA": "voltamp",
    "var": "voltampreact",
    "Hz": "hertz",
    "%": "percent",
    "°C": "celsius",
    "kWh": "kwatth",
    "kvarh": "suffix: kvarh",
    "kVAh": "suffix: kVAh",
    "Ah": "amph",
    "mAh": "mamph",
    "s": "s",
    "min": "m",
    "h": "h",
    "Ω": "ohm",
    "mΩ": "suffix: mΩ",
    "W/m²": "Wm2",
    "m/s": "velocityms",
    "mm": "lengthmm",
    "hPa": "pressurehpa",
    "lx": "lux",
    "ppm": "ppm",
    "dBm": "dBm",
    "°": "degree",
    "B": "bytes",
    "rpm": "rotrpm",
}
NUMBER = "none"
TEXT = "string"
# Grafana turns 3512 W into 3.51 kW, and picks the digits itself where none are fixed.
_SCALED = {"W", "VA", "var", "B", "s", "min", "h"}

GOOD, WARN, BAD, CALM, COLD = "green", "orange", "red", "blue", "light-blue"
PLAIN: Steps = ((None, "text"),)
_TEMPERATURE: Steps = ((None, COLD), (0, GOOD), (45, WARN), (55, BAD))
_SINK: Steps = ((None, GOOD), (65, WARN), (80, BAD))
# Cells of LiFePO4: empty at 2.5 V, full at 3.65 V. The descriptions say so.
_CELL: Steps = ((None, BAD), (2.8, WARN), (3.0, GOOD), (3.5, WARN), (3.65, BAD))
_NONE_IS_GOOD: Steps = ((None, GOOD), (1, WARN))
THRESHOLDS: Mapping[str, Steps] = {
    "soc_percent": ((None, BAD), (20, WARN), (40, GOOD)),
    "soh_percent": ((None, BAD), (70, WARN), (80, GOOD)),
    "cell_min_v": _CELL,
    "cell_max_v": _CELL,
    "cell_average_v": _CELL,
    "cell_[0-9][0-9]_v": _CELL,
    "cell_delta_v": ((None, GOOD), (0.05, WARN), (0.1, BAD)),
    "battery_c": _TEMPERATURE,
    "temperature_[0-9][0-9]_c": _TEMPERATURE,
    "heatsink_c": _SINK,
    "inverter_c": _SINK,
    "device_c": _SINK,
    "load_percent": ((None, GOOD), (80, WARN), (100, BAD)),
    "power_limit_percent": ((None, WARN), (100, GOOD)),
    "signal_dbm": ((None, BAD), (-85, WARN), (-75, GOOD)),
    "data_age_s": ((None, GOOD), (60, WARN), (300, BAD)),
    "reachable": ((None, BAD), (1, GOOD)),
    "producing": ((None, CALM), (1, GOOD)),
    "is_online": ((None, BAD), (1, GOOD)),
    "is_synced": ((None, BAD), (1, GOOD)),
    "offline_count": ((None, GOOD), (1, BAD)),
    "lag_s": ((None, GOOD), (10, WARN), (60, BAD)),
    "poll_p95_s": ((None, GOOD), (2, WARN), (5, BAD)),
    "unjournaled_count": ((None, GOOD), (1, BAD)),
    "waiting_count": _NONE_IS_GOOD,
    "rejected_count": _NONE_IS_GOOD,
    "holes_count": _NONE_IS_GOOD,
}

# Words of the contract's lists. What is not here is calm.
_COLORS: Mapping[str, str] = {
    **dict.fromkeys(("fault", "critical", "failed", "alarm", "error", "disconnected"), BAD),
    **dict.fromkeys(
        ("warning", "throttled", "limited", "shutting_down", "shutdown", "bypass", "offline"), WARN
    ),
    **dict.fromkeys(("unknown", "off", "asleep", "standby", "idle", "charger_off"), "#808080"),
    **dict.fromkeys(
        ("running", "inverting", "float", "selling", "online", "done", "storage"), GOOD
    ),
    **dict.fromkeys(("battery", "discharging", "absorption"), "#3274D9"),
    **dict.fromkeys(("charging", "bulk", "hybrid"), "yellow"),
    **dict.fromkeys(("line", "support", "offsetting"), "purple"),
    **dict.fromkeys(("equalize", "self_test"), "dark-orange"),
}
_FLAGS = {"is_online": ("offline", "online")}


class Meaning:
    """The contract, asked for one field at a time."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract

    def field(self, kind: str, name: str) -> Field:
        """Find a field, or a family by its pattern. Raise KeyError: the declaration is wrong."""
        found = self.contract.families.get(f"^{name}$") or self.contract.field(kind, name)
        if found is None or (kind not in found.kinds):
            raise KeyError(f"{kind}.{name}: not in the contract")
        return found

    def unit(self, field: Field) -> str:
        """Give Grafana's unit."""
        if field.unit:
            return UNITS[field.unit]
        return NUMBER if field.type in ("number", "integer", "boolean") else TEXT

    def decimals(self, field: Field) -> int | None:
        """Give the digits behind the point; None where Grafana scales the unit and picks them."""
        if field.type == "integer":
            return 0
        return None if field.unit in _SCALED else field.precision

    def steps(self, field: Field) -> Steps:
        """Give the thresholds that this field has, or none."""
        return THRESHOLDS.get(field.name, PLAIN)

    def mappings(self, field: Field) -> list[dict[str, object]]:
        """Give words and colours for the values of a list, of a flag, of a list of alarms."""
        if field.type == "boolean":
            words = _FLAGS.get(field.name, ("no", "yes"))
            return [mapping({str(n): (word, "") for n, word in enumerate(words)})]
        if field.type == "array":
            return [mapping({"[]": ("none", GOOD)})]
        if field.enum:
            shown = {w: (w.replace("_", " "), _COLORS.get(w, CALM)) for w in field.enum}
            return [mapping(shown)]
        return []


def mapping(words: Mapping[str, tuple[str, str]]) -> dict[str, object]:
    """Give a text and a colour, or none, for each value."""
    options = {
        value: {"index": index, "text": text, **({"color": color} if color else {})}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return {"type": "value", "options": options}
