"""The sum of several inverters, from what each of them has said last. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from bridges.aurora.codec import Values

POWERS: Final = ("output_w", "pv_w")
# What cannot change while an inverter sleeps; the others may have begun anew.
LASTING: Final = ("yield_kwh",)
ENERGIES: Final = (
    "yield_today_kwh",
    "yield_week_kwh",
    "yield_month_kwh",
    "yield_year_kwh",
    *LASTING,
)
# The mode of all is the first of these that one of them is in.
_MODES = ("fault", "running", "self_test", "starting", "waiting", "standby", "off", "unknown")


class Presence(Enum):
    """How an inverter's last turn went."""

    UNASKED = "unasked"
    ONLINE = "online"
    ASLEEP = "asleep"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Said:
    """What one inverter has said: at its last beat, and of its energies."""

    name: str
    presence: Presence = Presence.UNASKED
    beat: Values = field(default_factory=dict)
    energies: Values = field(default_factory=dict)


def total(said: Sequence[Said]) -> Values:
    """Add up. A sum is given only where each of its parts is known; who sleeps gives 0 W."""
    values: Values = {"mode": _mode(said)}
    for name in POWERS:
        _add(values, name, [_power(each, name) for each in said])
    for name in ENERGIES:
        _add(values, name, [_energy(each, name) for each in said])
    if gone := [each.name for each in said if each.presence is Presence.GONE]:
        values["notices"] = [f"{name} does not answer" for name in gone]
    return values


def _mode(said: Sequence[Said]) -> str:
    if all(each.presence is Presence.ASLEEP for each in said):
        return "asleep"
    modes = {each.beat.get("mode") for each in said if each.presence is Presence.ONLINE}
    return next((mode for mode in _MODES if mode in modes), "unknown")


def _power(one: Said, name: str) -> float | None:
    if one.presence is Presence.ASLEEP:
        return 0.0
    return _number(one.beat, name) if one.presence is Presence.ONLINE else None


def _energy(one: Said, name: str) -> float | None:
    if one.presence is Presence.ONLINE or (one.presence is Presence.ASLEEP and name in LASTING):
        return _number(one.energies, name)
    return None


def _number(values: Mapping[str, object], name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else None


def _add(values: Values, name: str, parts: Sequence[float | None]) -> None:
    known = [part for part in parts if part is not None]
    if len(known) == len(parts):
        values[name] = round(sum(known), 6)
