"""Bridge to devices that have Modbus registers: meters, charge controllers, inverters.

A profile says which registers a device has and what they mean: `profiles/NAME.yaml`, or a file of
the owner. Nothing is ever written to a device.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

from bridges.modbus import codec
from bridges.modbus.asking import Asker
from bridges.modbus.candidate import FIRST, Candidate
from bridges.modbus.options import doubts, profiles_of, slow_s
from bridges.modbus.registers import Group as Cadence
from bridges.modbus.serial_line import is_serial, line_of, words
from bridges.modbus.types import Values
from heliobus.address import parse
from heliobus.bridge import Group, Identity
from heliobus.errors import ConfigError, FrameError
from heliobus.link import Silence
from heliobus.master import Manner, Master, open_master
from heliobus.modbus import Refused
from heliobus.settings import DeviceSettings

__all__ = ["BRIDGE", "Modbus"]

_log = logging.getLogger(__name__)

_FAST, _ONCE = Cadence.FAST.value, Cadence.ONCE.value
# What a request and its answer have beside registers, and how long a device takes to begin.
_FRAME_BYTES: Final = 8 + 5
_TURN_S: Final = 0.06
_BITS: Final = 11
_VENDOR, _PRODUCT, _REVISION = 0, 1, 2


class Modbus:
    """One device of a profile. Options: see config.json."""

    def __init__(self, device: DeviceSettings) -> None:
        found = profiles_of(device)
        self.name = device.name
        self.unit: int = device.options.get("unit", found[0].unit_id)
        self.says_unit = "unit" in device.options
        if self.unit == 0 and is_serial(device.link):
            raise ConfigError(
                "unit: found 0, which calls all devices of a line, and none answers;"
                " write the one that is set on the device, from 1 to 247"
            )
        self._candidates = [Candidate(profile, self.unit) for profile in found]
        self.profile = found[0]
        self.warnings = doubts(device, self.profile)
        self.kind = self.profile.kind
        self.role = self.profile.role
        self.groups: Sequence[Group] = self._groups(device)
        self.line = ""  # how it is set, such as 9600 8N1
        self._is_heard = False  # ever
        self.forget()

    @staticmethod
    def open_link(url: str, devices: Sequence["Modbus"]) -> Master:
        """Open the way to these devices."""
        line = line_of(url, [device.profile for device in devices])
        for device in devices:
            device.line = words(line) if line else ""
        return open_master(url, line=line)

    @staticmethod
    def check_link(url: str, devices: Sequence["Modbus"]) -> None:
        """Raise ConfigError where these devices cannot be on one line as it is set."""
        line_of(url, [device.profile for device in devices])
        for one, other in combinations(devices, 2):
            # Written at both, it is one device that is read in two ways.
            if one.unit == other.unit and not (one.says_unit and other.says_unit):
                raise ConfigError(
                    f"unit: {one.name} and {other.name} are both unit {one.unit} of '{url}';"
                    " write the 'unit' of each, as it is set on the device"
                )

    def forget(self) -> None:
        """Forget what was learned: another device may be there now."""
        for candidate in self._candidates:
            candidate.forget()
        self._chosen = self._candidates[0] if len(self._candidates) == 1 else None
        self._objects: Mapping[int, str] = {}
        self._who: Mapping[str, str] = {}

    @property
    def identity(self) -> Identity:
        """Give what the device has said of itself, else what its profile says."""
        told, who = self._objects, self._who
        if self._chosen is None:
            return Identity(maker=self.profile.maker)
        return Identity(
            maker=told.get(_VENDOR) or self._chosen.profile.maker,
            model=who.get("model")
            or told.get(_PRODUCT)
            or next(iter(self._chosen.profile.models), ""),
            serial=who.get("serial", ""),
            firmware=who.get("firmware") or told.get(_REVISION, ""),
        )

    def poll(self, link: Master, group: str) -> Values:
        """Ask one group. Raise FrameError, LinkError."""
        try:
            values = self._polled(link, group)
        except Silence as error:
            if self._is_heard or any(one.asker.is_heard for one in self._candidates):
                raise
            raise Silence(f"{error}; {self._never_heard}") from error
        self._is_heard = True
        return values

    @property
    def _never_heard(self) -> str:
        """Say what to look at where it has never answered."""
        line = f", and the line {self.line}" if self.line else ""
        return f"is its unit id {self.unit}{line}? See 'No answer?' in bridges/modbus/README.md"

    def _polled(self, link: Master, group: str) -> Values:
        candidate = self._chosen or self._choose(link)
        asked = FIRST if group == _FAST and not candidate.is_sure else group
        image = candidate.asker.ask(link, asked, candidate.rows[asked])
        if asked == FIRST:
            candidate.judge(image)
        if group == _ONCE:
            self._who = codec.identity(candidate.profile.identity, image)
        of_group = [row for row in candidate.profile.rows if row.group.value == group]
        values = codec.decode(of_group, candidate.profile.scales, image)
        if not values and group == _FAST:
            raise FrameError(
                "it answers, but every value says 'not there' or is implausible;"
                f" is {candidate.profile.name} its profile?"
            )
        return values

    # ------------------------------------------------------------------ which profile it is

    def _choose(self, link: Master) -> Candidate:
        """Decide between the profile and its variants. Raise FrameError, LinkError."""
        probes = [row for one in self._candidates for row in one.with_scales(one.probe)]
        image = Asker(self.profile, self.unit).ask(link, FIRST, probes)
        self._objects = self._identified(link, is_there=bool(image))
        found = self._by_name(image) or self._by_probe(image)
        if found is None:
            told = (one.told(one.probed(image)) for one in self._candidates)
            raise FrameError("; ".join(told))
        _log.info("%s: read as %s", self.name, found.profile.name)
        self._chosen = found
        return found

    def _identified(self, link: Master, *, is_there: bool) -> Mapping[int, str]:
        """Ask who it is; nothing where it does not know this question, as most do not."""
        manner = Manner(self.profile.timeout_s, self.profile.pause_s, self.profile.keep)
        try:
            return link.identify(self.unit, manner)
        except Silence:
            if not is_there:
                raise
        except FrameError as error:
            if not isinstance(error, Refused) and not is_there:
                raise
        return {}

    def _by_name(self, image: codec.Image) -> Candidate | None:
        """Give what the device names itself, but where its probe says otherwise."""
        told = " ".join(self._objects.values())
        named = (one for one in self._candidates if one.profile.identified)
        found = next((one for one in named if one.profile.identified in told), None)
        value = found.probed(image) if found is not None else None
        return found if found is None or value is None or found.fits(value) else None

    def _by_probe(self, image: codec.Image) -> Candidate | None:
        probed = ((one, one.probed(image)) for one in self._candidates)
        return next((one for one, value in probed if value is not None and one.fits(value)), None)

    # ------------------------------------------------------------------ groups

    def _groups(self, device: DeviceSettings) -> tuple[Group, ...]:
        every_s = {
            Cadence.FAST: device.every_s,
            Cadence.SLOW: slow_s(device),
            Cadence.ONCE: math.inf,
        }
        used = {group for one in self._candidates for group in Cadence if one.rows[group.value]} | {
            Cadence.FAST
        }
        return tuple(
            Group(group.value, every_s[group], self._wire_s(device.link, group.value))
            for group in Cadence
            if group in used
        )

    def _wire_s(self, link: str, group: str) -> float:
        """Give about how long a group takes. Raise ConfigError where it cannot be asked."""
        found = 0.0
        for one in self._candidates:
            blocks = one.asker.blocks(group, one.rows[group])
            each_s = one.profile.pause_s + _TURN_S
            count = sum(_FRAME_BYTES + 2 * block.count for block in blocks)
            found = max(found, len(blocks) * each_s + count * self._byte_s(link))
        return found

    def _byte_s(self, link: str) -> float:
        """Give how long a byte takes on its line; next to nothing on a network."""
        if not link:
            return 0.0
        baud = parse(link, line_of(link, [self.profile])).options.get("baud")
        return _BITS / int(baud) if baud else 0.0


BRIDGE = Modbus
