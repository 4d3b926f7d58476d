"""Units that devices use, and what turns them into those of the contract."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Final


def _powers(text: str) -> dict[str, Fraction]:
    """Read `kW 3, W 0` as what one of each is in the smallest steps of its sort."""
    pairs = (part.split() for part in text.split(","))
    return {unit: Fraction(10) ** int(power) for unit, power in pairs}


# Units of one sort, each as a multiple of one of them. Case counts: mW is not MW.
_SORTS: Final = (
    _powers("mW -3, W 0, kW 3, MW 6"),
    _powers("mVA -3, VA 0, kVA 3, MVA 6"),
    _powers("mvar -3, var 0, kvar 3, Mvar 6"),
    _powers("Wh 0, kWh 3, MWh 6, GWh 9"),
    _powers("VAh 0, kVAh 3, MVAh 6"),
    _powers("varh 0, kvarh 3, Mvarh 6"),
    _powers("mV -3, V 0, kV 3"),
    _powers("mA -3, A 0, kA 3"),
    _powers("mAh -3, Ah 0, kAh 3"),
    _powers("mHz -3, Hz 0, kHz 3"),
    _powers("mΩ -3, Ω 0, kΩ 3, MΩ 6"),
    _powers("Pa 0, hPa 2, mbar 2, kPa 3, bar 5"),
    _powers("mm 0, cm 1, m 3"),
    _powers("B 0, kB 3, MB 6, GB 9"),
    {
        "ms": Fraction(1, 1000),
        "s": Fraction(1),
        "min": Fraction(60),
        "h": Fraction(3600),
        "d": Fraction(86400),
    },
    {"km/h": Fraction(10, 36), "m/s": Fraction(1)},
)
_OTHER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"C": "°C", "degC": "°C", "ohm": "Ω", "mohm": "mΩ", "kohm": "kΩ", "deg": "°", "percent": "%"}
)
# What a factor cannot turn into degrees Celsius.
OFFSETS: Final[Mapping[str, str]] = MappingProxyType(
    {"K": "K begins at another zero", "°F": "°F begins at another zero"}
)


def conversion(unit: str, wanted: str) -> Fraction | None:
    """Give what a number in `unit` is multiplied by to be in `wanted`; None where nothing does."""
    unit = _OTHER_NAMES.get(unit, unit)
    if unit == wanted:
        return Fraction(1)
    for sort in _SORTS:
        if unit in sort and wanted in sort:
            return sort[unit] / sort[wanted]
    return None


def fitting(wanted: str) -> list[str]:
    """Name the units that can be turned into `wanted`."""
    return list(_fitting(wanted)) or [wanted]


def _fitting(wanted: str) -> Iterator[str]:
    for sort in _SORTS:
        if wanted in sort:
            yield from sort
