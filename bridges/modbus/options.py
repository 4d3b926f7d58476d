"""What the owner says of one device, put into its profile."""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from bridges.modbus import profiles
from bridges.modbus.registers import Group, Profile, Row
from bridges.modbus.types import TYPES
from heliobus.errors import ConfigError, guess
from heliobus.quantities import seconds
from heliobus.settings import DeviceSettings

_SLOW_S: Final = 60.0
# What manuals call the first register, by the function that reads it.
_COUNTED_FROM_1: Final = MappingProxyType({3: 40001, 4: 30001})
_NO_SIGN: Final = frozenset({"V", "Hz"})
_QUICKER: Final = MappingProxyType({Group.SLOW: Group.FAST})


def profiles_of(device: DeviceSettings) -> tuple[Profile, ...]:
    """Give the profile of a device and its variants, as its owner wants them. Raise ConfigError."""
    name = device.options.get("profile", "")
    if not name:
        raise ConfigError("profile: is missing; 'heliobus list' shows the profiles")
    found = profiles.family(name, beside=device.folder)
    first = found[0]
    _check_inverted(device.options.get("invert", ()), found)
    if "role" in device.options and first.kind != "meter":
        raise ConfigError(f"role: only a meter has one, and {first.name} is of kind {first.kind}")
    return tuple(_adapted(profile, device) for profile in found)


def doubts(device: DeviceSettings, profile: Profile) -> Sequence[str]:
    """Give what looks wrong in a profile of the owner, and may be right."""
    if device.options["profile"] in profiles.names():
        return ()
    least = min((row.at for row in profile.rows), default=0)
    for function, first in _COUNTED_FROM_1.items():
        if all(row.function == function and first <= row.at < first + 9999 for row in profile.rows):
            return (
                f"profile: {profile.name} has its registers from {least} on. On the wire they are"
                f" counted from 0: where its manual calls the first one {first}, subtract {first},"
                f" so that {least} is {least - first}",
            )
    return ()


def slow_s(device: DeviceSettings) -> float:
    """Give how often what changes slowly is asked."""
    return seconds(device.options.get("slow", _SLOW_S))


def _adapted(profile: Profile, device: DeviceSettings) -> Profile:
    options = device.options
    profile = replace(
        profile,
        max_registers=options.get("max_registers", profile.max_registers),
        timeout_s=seconds(options.get("timeout", profile.timeout_s)),
        pause_s=seconds(options.get("pause", profile.pause_s)),
        keep=options["connect"] == "keep" if "connect" in options else profile.keep,
        role=options.get("role", profile.role),
    )
    if "words" in options:
        profile = in_order(profile, options["words"])
    inverted = options.get("invert", ())
    rows = profile.rows
    if slow_s(device) <= device.every_s:  # then one turn, and one plan, will do for both
        rows = tuple(replace(row, group=_QUICKER.get(row.group, row.group)) for row in rows)
    return replace(
        profile,
        rows=tuple(_turned(row, inverted) for row in rows),
        probe=profile.probe and _turned(profile.probe, inverted),
    )


def in_order(profile: Profile, words: str) -> Profile:
    """Give a profile whose longer numbers are all in one order, `big` or `little`."""

    def ordered(row: Row) -> Row:
        return replace(row, little=words == "little")

    return replace(
        profile,
        rows=tuple(map(ordered, profile.rows)),
        scales={name: ordered(row) for name, row in profile.scales.items()},
        identity={name: ordered(row) for name, row in profile.identity.items()},
        probe=profile.probe and ordered(profile.probe),
    )


def _turned(row: Row, inverted: Sequence[str]) -> Row:
    """Turn the sign of a row, and with it what is plausible."""
    if row.name not in inverted:
        return row
    least, most = (None if limit is None else -limit for limit in (row.most, row.least))
    return replace(row, factor=-row.factor, least=least, most=most)


def _check_inverted(names: Sequence[str], found: Sequence[Profile]) -> None:
    numbers = {row.name for profile in found for row in profile.rows if TYPES[row.type].is_number}
    for name in names:
        if name not in numbers:
            told = guess(name, numbers)
            raise ConfigError(f"invert: {name!r} is not a number of {found[0].name}{told}")
        known = profiles.contract().field(found[0].kind, name)
        if known is None:
            continue
        if known.unit in _NO_SIGN or (known.minimum is not None and known.minimum >= 0):
            raise ConfigError(f"invert: {name!r} is never below 0; name powers and currents only")
