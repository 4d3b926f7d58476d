"""Bridge to Studer's Xtender, VarioTrack, VarioString and batteries behind an Xcom gateway.

One gateway (Xcom-232i or Xcom-LAN) answers for all devices of an installation. They are looked for
(reading.py), read many values at once where it can, and their numbers become fields by the tables
in objects/ (objects.py). Frames are frame.py's and codec.py's; asking.py tells each answer from
all others; log.py is the installation's message log. Nothing is ever written: there is no function
that could.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from bridges.studer.asking import Asker
from bridges.studer.decoding import decode_line
from bridges.studer.frame import GATEWAY, FrameFlag, Question, Refused
from bridges.studer.log import Log, event
from bridges.studer.objects import FAMILIES, FAST, IDENTITY, SETTINGS, SLOW, Values
from bridges.studer.reading import Device, Reader
from heliobus.bridge import Event, Group, Identity, Part, Parts
from heliobus.errors import ConfigError, FrameError
from heliobus.exchange import Echo, Silence
from heliobus.link import Link, open_link
from heliobus.quantities import seconds
from heliobus.settings import DeviceSettings

__all__ = ["BRIDGE", "Studer", "decode_line"]

_ITSELF = ""
_NEVER_HEARD = "is it on, and the cable right? See 'No answer?' in bridges/studer/README.md"
_MAKER = "Studer Innotec"
_TIMEOUT_S = 2.0
_SLOW_S = 60.0
# What was added, or was off, is found after this time at the latest.
_SETTINGS_S = 600.0
_WIRE_S = 0.4
# What the serial side is set to where the link does not say it.
_LINES: Mapping[str, Mapping[str, str]] = {
    "xcom-232i": {"baud": "38400", "parity": "E", "stopbits": "1"},
    "xcom-lan-serial": {"baud": "115200", "parity": "N", "stopbits": "1"},
}
_USUAL = "xcom-232i"
# What is on the network is an Xcom-LAN, whatever its line is set to.
_NETWORK = ("listen", "socket", "tcp")


class Studer:
    """One gateway and the devices behind it. Options: see config.json."""

    def __init__(self, device: DeviceSettings) -> None:
        options = device.options
        slow_s = seconds(options.get("slow", _SLOW_S))
        self.groups: Sequence[Group] = (
            Group(FAST, device.every_s, _WIRE_S),
            Group(SLOW, max(slow_s, device.every_s), _WIRE_S),
            Group(SETTINGS, max(_SETTINGS_S, device.every_s), _WIRE_S),
        )
        self.kind = "gateway"
        self.interface: str = options.get("interface", _USUAL)
        is_lan = urlsplit(device.link).scheme in _NETWORK or self.interface != _USUAL
        self._model = "Xcom-LAN" if is_lan else "Xcom-232i"
        self._reads_log: bool = options.get("read_log", True)
        self._name = device.name
        self._names: Mapping[str, str] = options.get("parts", {})
        _check_parts(device.name, self._names)
        self._parts = {part: Part("", name=name) for part, name in self._names.items()}
        self._asker = Asker(seconds(options.get("timeout", _TIMEOUT_S)))
        self._reader = Reader(self._asker, device.name)
        self._log = Log()
        self._devices: list[Device] = []
        self._guid = ""
        self._events: list[Event] = []

    @staticmethod
    def open_link(url: str, devices: Sequence["Studer"]) -> Link:
        """Open the way to a gateway, as the interface of its entry speaks."""
        return open_link(url, line=_LINES[devices[0].interface])

    @staticmethod
    def check_link(url: str, devices: Sequence["Studer"]) -> None:
        """Raise ConfigError where a link has more than one gateway."""
        if len(devices) > 1:
            raise ConfigError(
                f"link '{url}': found {len(devices)} entries, expected one: it gives all devices"
                " behind the gateway; name them under `parts`"
            )

    @property
    def identity(self) -> Identity:
        """Give what the gateway has said of itself."""
        return Identity(_MAKER, self._model, self._guid)

    @property
    def parts(self) -> Mapping[str, Part]:
        """Give the devices behind it."""
        return self._parts

    def poll(self, link: Link, group: str) -> Parts:
        """Ask one group. Raise FrameError, LinkError."""
        if group == SETTINGS:
            self._look_around(link)
        elif not self._devices:
            self._add(self._first(link))
        elif group == SLOW and (missing := self._missing):
            self._add(self._reader.find(link, self._devices, missing))
        found = self._reader.read(link, self._devices, group)
        if group == FAST:
            own = self._own()
            if own.get("message_pending"):
                self._read_log(link)
            return Parts({_ITSELF: own, **found})
        if group == SLOW:
            self._read_log(link)
        return Parts(found)

    def forget(self) -> None:
        """Doubt what was learned: another gateway may be there, or one with other devices."""
        self._devices = []
        self._asker.forget()
        self._reader.forget()
        self._log.forget()
        self._guid = ""

    def events(self) -> Sequence[Event]:
        """Give the new entries of the message log."""
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------------ who is there

    def _first(self, link: Link) -> Sequence[Device]:
        """Find who is there; say what to look at where nobody ever was."""
        try:
            return self._reader.find(link, ())
        except (Silence, Echo) as error:
            if any(part.kind for part in self._parts.values()):
                raise
            raise type(error)(f"{error}; {_NEVER_HEARD}") from error

    def _look_around(self, link: Link) -> None:
        """Find what was added, and hear who all are."""
        self._add(self._reader.find(link, self._devices))
        if not self._guid:
            with suppress(Refused, Silence):  # not every gateway has one
                self._guid = self._asker.ask(link, Question.guid()).hex()
        strangers = [one for one in self._devices if self._parts[one.part].identity == Identity()]
        for part, said in self._reader.read(link, strangers, IDENTITY).items():
            about = self._parts[part]
            self._parts = {**self._parts, part: Part(about.kind, _identity(said), name=about.name)}

    @property
    def _missing(self) -> set[str]:
        """Name what was there before, or has a name of its owner, and was not found."""
        return set(self._parts) - {one.part for one in self._devices}

    def _add(self, found: Sequence[Device]) -> None:
        self._devices += found
        added = {
            one.part: Part(one.family.kind, name=self._names.get(one.part, "")) for one in found
        }
        self._parts = {**self._parts, **added}

    def _own(self) -> Values:
        flags = self._asker.flags or 0
        return {
            "message_pending": bool(flags & FrameFlag.MESSAGE_PENDING),
            "sd_card_present": bool(flags & FrameFlag.SD_PRESENT),
            "sd_card_full": bool(flags & FrameFlag.SD_FULL),
        }

    # ------------------------------------------------------------------ the message log

    def _read_log(self, link: Link) -> None:
        """Read what is new in the log; the values that were read are good without it."""
        if not self._reads_log:
            return
        try:
            entries = self._log.look(link, self._asker)
        except FrameError:
            return
        self._events += [event(entry, self._subject(entry.source)) for entry in entries]

    def _subject(self, address: int) -> str:
        """Name on the bus who has logged something."""
        if address == GATEWAY:
            return self._name
        for part in (one.part for one in self._devices if one.address == address):
            return self._names.get(part, f"{self._name}_{part}")
        return f"{self._name} (device {address})"


def _identity(said: Values) -> Identity:
    """Put together who a device says it is: its numbers come in two halves."""
    firmware, serial = _halves(said, "firmware"), _halves(said, "serial")
    return Identity(
        str(said.get("maker") or _MAKER),
        str(said.get("model", "")),
        f"{serial[0]:04X}{serial[1]:04X}" if serial else "",
        f"{firmware[0] >> 8}.{firmware[1] >> 8}.{firmware[1] & 0xFF}" if firmware else "",
    )


def _halves(said: Values, name: str) -> tuple[int, int] | None:
    high, low = (said.get(f"{name}_{half}") for half in ("high", "low"))
    if not isinstance(high, float) or not isinstance(low, float):
        return None
    halves = int(high), int(low)
    return halves if all(half in range(1 << 16) for half in halves) else None


def _check_parts(name: str, parts: Mapping[str, str]) -> None:
    known = [f.part(address) for f in FAMILIES.values() for address in f.addresses]
    if strange := [part for part in parts if part not in known]:
        raise ConfigError(
            f"{name}: parts: found '{strange[0]}', expected what can be behind a gateway:"
            " xt_1 to xt_9, vt_1 to vt_15, vs_1 to vs_15, bms, bsp"
        )


BRIDGE = Studer
