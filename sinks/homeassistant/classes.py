"""Home Assistant's device classes, as of 2026.11: which units and state classes each goes with.

It drops a whole entity for a unit that does not go with its class, and keeps no statistics where a
state class does not. Only classes are here that a house with a power plant may need; a class that
is not here is left out of a payload, and costs an icon and a choice of units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_M: Final = ("measurement",)
_T: Final = ("total", "total_increasing")
_ANY: Final = ("measurement", "total", "total_increasing")
_STATES: Final = (*_ANY, "measurement_angle")
_ENERGY: Final = "J kJ MJ GJ mWh Wh kWh MWh GWh TWh"
_TIME: Final = "d h min s ms μs"

_TABLE: Final = (
    ("apparent_power", "mVA VA kVA", _M),
    ("atmospheric_pressure", "Pa hPa kPa bar mbar mmHg", _M),
    ("battery", "%", _M),
    ("carbon_dioxide", "ppm", _M),
    ("current", "μA mA A", _M),
    ("data_rate", "B/s kB/s MB/s bit/s kbit/s Mbit/s", _M),
    ("data_size", "B kB MB GB TB KiB MiB GiB bit kbit Mbit", _ANY),
    ("distance", "mm cm m km", _ANY),
    ("duration", _TIME, _ANY),
    ("energy", _ENERGY, _T),
    ("energy_storage", _ENERGY, _M),
    ("frequency", "mHz Hz kHz MHz GHz", _M),
    ("gas", "L m³", _T),
    ("humidity", "%", _M),
    ("illuminance", "lx", _M),
    ("irradiance", "W/m²", _M),
    ("moisture", "%", _M),
    ("power", "mW W kW MW GW TW", _M),
    ("power_factor", " %", _M),
    ("precipitation", "mm cm", _ANY),
    ("precipitation_intensity", "mm/h mm/d", _M),
    ("pressure", "Pa hPa kPa bar mbar mmHg", _M),
    ("reactive_energy", "varh kvarh", _T),
    ("reactive_power", "mvar var kvar", _M),
    ("signal_strength", "dB dBm", _M),
    ("speed", "mm/s m/s km/h", _M),
    ("temperature", "°C °F K", _M),
    ("voltage", "μV mV V kV MV", _M),
    ("volume", "mL L m³", _T),
    ("volume_flow_rate", "L/min L/h m³/h", _M),
    ("water", "L m³", _T),
    ("wind_direction", "°", ("measurement_angle",)),
    ("wind_speed", "m/s km/h", _M),
)
SENSOR: Final[Mapping[str, tuple[frozenset[str], tuple[str, ...]]]] = MappingProxyType(
    {name: (frozenset(units.split(" ")), states) for name, units, states in _TABLE}
)
_BINARY: Final = (
    "battery battery_charging carbon_monoxide cold connectivity door gas heat light lock moisture"
    " motion moving occupancy opening plug power presence problem running safety smoke sound tamper"
    " update vibration window"
)
BINARY_SENSOR: Final = frozenset(_BINARY.split())


@dataclass(frozen=True, slots=True)
class Classes:
    """A unit, and the classes that go with it; "" for none."""

    unit: str
    device_class: str = ""
    state_class: str = ""


def fitting(unit: str, device_class: str, state_class: str) -> Classes:
    """Give what of this Home Assistant takes; the unit is what the value has, and stays."""
    units, states = SENSOR.get(device_class, (frozenset(), _STATES))
    if unit not in units:
        device_class, states = "", _STATES
    if state_class not in states or (state_class == "measurement_angle" and unit != "°"):
        state_class = ""
    return Classes(unit, device_class, state_class)
