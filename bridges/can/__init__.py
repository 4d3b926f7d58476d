"""Bridge to batteries that send their state by themselves on CAN.

Nothing is asked and nothing is sent: a poll takes the newest whole burst of frames that has come
since the last one, or waits for it. A profile says what is in which frame.
"""

import logging
import time
from collections.abc import Sequence
from itertools import combinations
from typing import Final

from bridges.can import codec, profiles, replay
from bridges.can.bursts import GAP_S, Burst, Bursts
from bridges.can.frames import EXTENDED, Values, told
from heliobus.address import parse
from heliobus.bridge import Group, Identity
from heliobus.can_bus import CanBus, open_bus
from heliobus.errors import ConfigError, FrameError
from heliobus.link import Silence
from heliobus.quantities import seconds
from heliobus.settings import DeviceSettings

__all__ = ["BRIDGE", "Can"]

_log = logging.getLogger(__name__)

_PROFILE: Final = "pylontech_lv"
# A US5000 sends every 2 s. Two beats without a burst are 10 s: with 5 s it was seen to flap.
_TIMEOUT_S: Final = 5.0
_OFFLINE_AFTER: Final = 2
_STRANGERS: Final = 8
_README: Final = "See 'No answer?' in bridges/can/README.md"


class Can:
    """One battery of a profile. Options: `profile`, `timeout` in seconds."""

    listens = True

    def __init__(self, device: DeviceSettings) -> None:
        name = device.options.get("profile", _PROFILE)
        self.name = device.name
        self.profile = profiles.load(name, beside=device.folder)
        self.kind = self.profile.kind
        self.warnings = _doubts(device, self.profile.bitrate)
        self._timeout_s = seconds(device.options.get("timeout", _TIMEOUT_S))
        self.groups: Sequence[Group] = (Group("beat", device.every_s, 0.0),)
        self._bursts = Bursts(self.profile)
        self._read_s = 0.0  # up to here
        self._given = 0
        self._heard_s = 0.0  # the end of the newest burst
        self._harmed = 0  # frames on the link until then
        self.forget()

    @staticmethod
    def open_link(url: str, devices: Sequence["Can"]) -> CanBus:
        """Open the bus of these devices."""
        wants = {one for device in devices for one in device.profile.messages if one & EXTENDED}
        return open_bus(
            url,
            wants=wants,
            bitrate=devices[0].profile.bitrate,
            others={"can:candump": replay.opened},
        )

    @staticmethod
    def check_link(url: str, devices: Sequence["Can"]) -> None:
        """Raise ConfigError where the link is no bus, or these devices cannot share it."""
        address = parse(url)
        if not address.scheme.startswith("can:"):
            adapter = f"slcan/{address.path}?bitrate=500000" if address.path else "socketcan/can0"
            raise ConfigError(f"link: '{url}' is no CAN bus; did you mean 'can:{adapter}'?")
        rates = {device.profile.bitrate: device for device in devices}
        if len(rates) > 1:
            told_rates = ", ".join(f"{one.name} {rate}" for rate, one in rates.items())
            raise ConfigError(f"link: a bus has one bit rate, found {told_rates}; use two adapters")
        for one, another in combinations(devices, 2):
            if one.profile.messages == another.profile.messages:
                raise ConfigError(
                    f"profile: {one.name} and {another.name} would both show the one battery that"
                    f" sends the frames of {one.profile.name}; delete one, or give each its own bus"
                )

    def forget(self) -> None:
        """Forget what was learned: another battery may be there now."""
        self._bursts.forget()
        self._who: dict[str, str] = {}
        self._dialect = ""
        self._missed = 0
        self._strangers: set[int] = set()

    @property
    def identity(self) -> Identity:
        """Give what the battery has said of itself, else what its profile says."""
        return Identity(
            maker=self._who.get("maker") or self.profile.maker,
            model=self._who.get("model", ""),
            serial=self._who.get("serial", ""),
            firmware=self._who.get("firmware", ""),
        )

    def poll(self, link: CanBus, group: str) -> Values:  # noqa: ARG002 - there is one
        """Give the newest burst since the last poll. Raise FrameError, LinkError."""
        burst = self._next(link)
        self._who |= codec.identity(self.profile, burst.frames)
        self._tell(codec.dialect(self.profile, burst.frames))
        values = codec.decode(self.profile, burst.frames)
        if not values:
            raise FrameError(
                "its frames came, but every value says 'not there' or is implausible;"
                f" is {self.profile.name} its profile?"
            )
        return values

    def _tell(self, dialect: str) -> None:
        if dialect and dialect != self._dialect:
            self._dialect = dialect
            _log.info("%s: %s", self.name, dialect)

    def _next(self, link: CanBus) -> Burst:
        """Wait for a burst that is new and not old. Raise Silence."""
        while True:
            now_s = time.monotonic()
            self._take(link)
            # What has come since belongs to its burst, and ends none.
            burst = self._bursts.newest(max(now_s, self._read_s))
            if burst and burst.number > self._given:
                self._note(link, burst)
                if now_s - burst.at_s <= self._timeout_s:
                    return burst
            # The bus is listened to all the time: who was silent before this poll began has used
            # up that time, and costs the others on the bus less.
            since_s = max(link.opened_s, self._heard_s)
            until_s = since_s + self._timeout_s * min(self._missed + 1, _OFFLINE_AFTER)
            if now_s >= until_s:
                self._missed += 1
                raise Silence(self._silent(link, now_s - since_s))
            # The end of a burst is a gap, in which nothing comes.
            gap_s = self._read_s + GAP_S
            link.take(self._read_s, min(until_s, gap_s) if gap_s > now_s else until_s)

    def _note(self, link: CanBus, burst: Burst) -> None:
        """Note that it speaks: what was strange or damaged until now explains no later silence."""
        self._given, self._heard_s = burst.number, burst.at_s
        self._missed = 0
        self._strangers.clear()
        self._harmed = _harmed(link)

    def _take(self, link: CanBus) -> None:
        for frame in link.take(self._read_s, 0.0):
            self._read_s = frame.at_s
            self._bursts.take(*frame)
            if frame.id not in self.profile.messages and len(self._strangers) < _STRANGERS:
                self._strangers.add(frame.id)

    def _silent(self, link: CanBus, silent_s: float) -> str:
        """Say what there is instead of its frames, and what to look at."""
        none = f"no frames of {self.profile.name} for {silent_s:.0f} s"
        if self._strangers:
            others = ", ".join(f"0x{told(one)}" for one in sorted(self._strangers))
            return f"{none}, only others such as {others}; is that its profile? {_README}"
        before = self._harmed if self._heard_s > link.opened_s else 0
        if _harmed(link) > before:
            return f"{none}, only damaged ones; is the bit rate {self.profile.bitrate}? {_README}"
        return f"{none}, nor any others; is it on, and are the two wires right? {_README}"


def _harmed(link: CanBus) -> int:
    return link.counts["errors"] + link.counts["malformed"]


def _doubts(device: DeviceSettings, bitrate: int) -> Sequence[str]:
    """Say where the link says another bit rate than the profile."""
    if not device.link:
        return ()
    found = parse(device.link).options.get("bitrate")
    if found is None or int(found) == bitrate:
        return ()
    return (f"link: found bitrate={found}, the profile says {bitrate}",)


BRIDGE = Can
