"""How the serial line of some devices is set, where its URL does not say it."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from bridges.modbus.registers import Profile
from heliobus.address import parse
from heliobus.errors import ConfigError

_USUAL: Final = "9600 8N1"
_SERIAL: Final = frozenset({"serial", "rfc2217"})


def line_of(url: str, profiles: Iterable[Profile]) -> Mapping[str, str]:
    """Give the settings that all these devices have from the factory, and `url` allows.

    Raise ConfigError where there are none.
    """
    address = parse(url)
    if address.scheme not in _SERIAL:
        return MappingProxyType({})
    found = {one.name: _ways(one, address.options) for one in profiles}
    first, *others = found
    for way in found[first]:
        if all(way in found[name] for name in others):
            return way
    other = next(name for name in others if found[first][0] not in found[name])
    written = "&".join(f"{key}={value}" for key, value in found[first][0].items())
    raise ConfigError(
        f"link: found '{url}', but from the factory {first} has {words(found[first][0])} and"
        f" {other} {words(found[other][0])}; set all devices of the line alike and write how,"
        f" such as '{url.partition('?')[0]}?{written}'"
    )


def is_serial(url: str) -> bool:
    """Say whether a link is a serial line."""
    return url.partition(":")[0] in _SERIAL


def _ways(profile: Profile, said: Mapping[str, str]) -> list[Mapping[str, str]]:
    """Give how a line of this profile may be set, the usual way first, with what is said."""
    ways = [_options(text) for text in profile.serial or (_USUAL,)]
    alike = [way for way in ways if way["baud"] == said.get("baud")]
    return [{**way, **said} for way in alike or ways]


def _options(text: str) -> Mapping[str, str]:
    baud, how = text.split()
    return {"baud": baud, "bytesize": how[0], "parity": how[1], "stopbits": how[2]}


def words(way: Mapping[str, str]) -> str:
    """Word how a line is set: `9600 8N1`."""
    return f"{way['baud']} {way['bytesize']}{way['parity']}{way['stopbits']}"
