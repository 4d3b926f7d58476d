"""A whole configuration without its hardware: a simulator at the far end of every link.

The components run as they are, with settings whose links lead to simulators, a broker of their
own, and a folder of their own. One process serves all the simulators: `SimulatedSite.play`.
"""

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any, Final, Protocol, runtime_checkable

from broker import listeners
from heliobus import components
from heliobus.address import Address, parse
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Faults, Simulated
from heliobus.settings import (
    BridgeSettings,
    BrokerSettings,
    BrokerStart,
    ClockSettings,
    DeviceSettings,
    Settings,
    SinkSettings,
)
from heliobus.simulation import Service, listen, serve_hidraw, serve_pty, serve_tcp
from heliobus.speaking import Speaker, Speaking

FOLDER: Final = "simulated"  # in the data folder of the configuration
HOUSE: Final = "simulated devices"  # the process; no component is called so
ARCHIVE: Final = "history.db"
CONFIG: Final = "heliobus.yaml"
_HEAD: Final = "# Written by heliobus for 'watch --simulate' and 'history --simulate'."
_PORTS_END: Final = 32768  # from there on the kernel gives ports to clients
_OUTSIDE: Final = "it tells people or other places, and nothing of this is true"
_KEEP_S: Final = 7 * 86400.0
_USUAL_BAUD: Final = 9600
_START_S: Final = 15.0
_LOOK_S: Final = 0.02
_WIDEST: Final = 66  # of the names on one line


class FarEnd(Simulated, Protocol):
    """What is at the far end of one link."""

    @property
    def polls(self) -> Mapping[str, int]:
        """Count the polls that were answered whole, by device; empty where nobody is asked."""
        ...


@runtime_checkable
class Playing(Protocol):
    """A far end whose devices could be various things: `plays` names, by device, what each is."""

    plays: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Line:
    """A link, what is at its far end, and where that is served: a path or a listening socket."""

    address: Address
    simulated: FarEnd
    listener: socket.socket | None = None

    def start(self) -> Service:
        """Serve it. Raise ConfigError, LinkError."""
        usual = getattr(self.simulated, "baud", _USUAL_BAUD)
        baud = int(self.address.options.get("baud", usual))
        if self.listener is not None:
            return serve_tcp(self.simulated, listener=self.listener)
        serve = serve_hidraw if self.address.scheme == "hidraw" else serve_pty
        return serve(self.simulated, baud=baud, link_path=Path(self.address.path))


class SimulatedSite:
    """A configuration with a simulator in the place of each device, below `folder`.

    `settings` are those of what runs, once it is open; `left_out` says of each bridge that cannot
    be simulated why, and of each sink that must not hear of it. All devices are in one house, whose
    time is that of `clock`.
    """

    def __init__(
        self, settings: Settings, folder: Path, *, clock: Callable[[], float] = time.time
    ) -> None:
        outside = [name for name, o in settings.sinks.items() if components.tells_outside(o.type)]
        sinks = {name: own for name, own in settings.sinks.items() if name not in outside}
        self._real = settings = replace(settings, sinks=sinks)
        self.house = House(clock)
        self._lines: list[_Line] = []
        self._speaking: list[Speaking] = []
        self.left_out = dict.fromkeys(outside, _OUTSIDE)
        self.folder = folder
        self.settings = replace(
            settings,
            data=folder,
            broker=BrokerSettings(start=BrokerStart.AUTO),
            clock=ClockSettings(trust=True),
            sinks=_sinks(settings, folder),
            simulated=True,
        )

    @property
    def names(self) -> Sequence[str]:
        """Name the components that run."""
        return [*self.settings.bridges, *self.settings.sinks]

    @property
    def asked(self) -> AbstractSet[str]:
        """Name the devices whose answers are counted; others speak by themselves, or are sums."""
        return {name for line in self._lines for name in line.simulated.polls}

    @property
    def replaced(self) -> Sequence[str]:
        """Name the sinks whose archives stay as they are."""
        return [name for name, sink in self._real.sinks.items() if components.stores(sink.type)]

    def open(self, port: int) -> None:
        """Make the links, to what is behind them and to the broker at `port`. Raise ConfigError."""
        note = self.folder / CONFIG
        if note.exists() and not note.read_bytes().startswith(_HEAD.encode()):
            raise ConfigError(f"{note}: is somebody's own, and would be overwritten; move it away")
        links = self.folder / "links"
        links.mkdir(parents=True, exist_ok=True)
        self.unlink()
        # What an earlier configuration had retained is no part of this one.
        (self.folder / "broker" / "mosquitto.db").unlink(missing_ok=True)
        bridges: dict[str, BridgeSettings] = {}
        for name, bridge in self._real.bridges.items():
            try:
                bridges[name] = self._simulated(bridge, links)
            except ConfigError as error:
                self.left_out[name] = str(error)
        broker = replace(self.settings.broker, port=port)
        self.settings = replace(self.settings, bridges=bridges, broker=broker)

    def _simulated(self, bridge: BridgeSettings, links: Path) -> BridgeSettings:
        """Make what a bridge asks or hears, and give the bridge with its new links."""
        simulate = components.simulation(bridge.type)
        bridge = replace(bridge, options=_at_our_broker(bridge.options))
        if components.listens(bridge.type):
            self._speaking.append(simulate(bridge, house=self.house, faults=Faults()))
            return bridge
        by_link: dict[str, list[DeviceSettings]] = defaultdict(list)
        for device in bridge.devices:
            by_link[device.link].append(device)
        lines: list[_Line] = []
        moved: dict[str, DeviceSettings] = {}
        for number, (url, devices) in enumerate(by_link.items(), start=1):
            path = links / (bridge.name if len(by_link) == 1 else f"{bridge.name}-{number}")
            link, listener = _replaced(parse(url), path)
            there = [replace(device, link=link) for device in devices]
            moved |= {device.name: device for device in there}
            made = simulate(there, house=self.house, faults=Faults())
            lines.append(_Line(parse(link), made, listener))
        self._lines += lines
        return replace(bridge, devices=tuple(moved[device.name] for device in bridge.devices))

    # ------------------------------------------------------------------ the processes

    def play(self, stop: threading.Event) -> Mapping[str, int]:
        """Be every device until `stop`; give the polls that were answered, by device."""
        with ExitStack() as served:
            for line in self._lines:
                served.enter_context(line.start())
            for speaking in self._speaking:
                served.enter_context(Speaker(speaking, self.settings.broker))
            stop.wait()
        return {name: count for line in self._lines for name, count in line.simulated.polls.items()}

    def unlink(self) -> None:
        """Remove the names of terminals that are gone: each may be somebody else's by now."""
        for old in (self.folder / "links").iterdir():
            old.unlink()

    def wait(self) -> None:
        """Wait until the ports of all devices are there: a bridge would report that one is not."""
        paths = [Path(line.address.path) for line in self._lines if line.address.path]
        end_s = time.monotonic() + _START_S
        while not all(path.exists() for path in paths) and time.monotonic() < end_s:
            time.sleep(_LOOK_S)

    # ------------------------------------------------------------------ for people

    def note(self) -> None:
        """Leave a configuration for those who look at it: `watch` and `history`."""
        lines = [
            _HEAD,
            f"site: {self.settings.site}",
            f"base_topic: {self.settings.base_topic}",
            f'broker: {{url: "{self.settings.broker.url}"}}',
            "data: .",
        ]
        if self.replaced:
            lines += ["sinks:", f'  archive: {{type: sql, url: "sqlite:///{ARCHIVE}"}}']
        (self.folder / CONFIG).write_text("\n".join(lines) + "\n")

    def rows(self) -> list[tuple[str, str]]:
        """Say what is simulated and what is not: bridges and their devices."""
        rows = []
        for name, bridge in self.settings.bridges.items():
            first, *more = self._told(bridge)
            rows += [(name, first), *(("", text) for text in more)]
        return rows + [(name, f"LEFT OUT: {why}") for name, why in self.left_out.items()]

    def _told(self, bridge: BridgeSettings) -> Sequence[str]:
        """Name its devices on one line; on one each where they could be various things."""
        names = [device.name for device in bridge.devices]
        ends = [line.simulated for line in self._lines if isinstance(line.simulated, Playing)]
        plays = {name: what for end in ends for name, what in end.plays.items() if name in names}
        if plays:
            return [f"{name}: a simulated {plays[name]}" for name in names]
        text = ", ".join(names) or "devices that are found"
        return [shorten(text, _WIDEST, placeholder=" ...")]


def port(wanted: int | None, first: int) -> int:
    """Give the port that is wanted, else the first free one from `first` on. Raise ConfigError."""
    host = BrokerSettings().host
    if wanted is None:
        return next(p for p in range(first, _PORTS_END) if not listeners.taken(host, p))
    if listeners.taken(host, wanted):
        raise ConfigError(
            f"--port {wanted}: in use by {listeners.holder(wanted)}; name another port, "
            "or leave --port out: then a free one is found"
        )
    return wanted


def looked_at(settings: Settings, command: str) -> Path:
    """Give the configuration for those who look at a simulated site. Raise ConfigError."""
    path = settings.data / FOLDER / CONFIG
    if not path.exists():
        raise ConfigError(
            f"nothing has been simulated yet: run '{command} up --simulate', and leave it running"
        )
    return path


def _sinks(settings: Settings, folder: Path) -> dict[str, SinkSettings]:
    """Give the sinks that run: in the place of all that store there is one file."""
    sinks: dict[str, SinkSettings] = {}
    archive = {"url": f"sqlite:///{folder.absolute() / ARCHIVE}", "keep": _KEEP_S}
    is_there = False
    for name, sink in settings.sinks.items():
        if not components.stores(sink.type):
            sinks[name] = replace(sink, options=_at_our_broker(sink.options))
        elif not is_there:
            is_there = True
            sinks[name] = SinkSettings(name, "sql", backfill_s=None, options=archive)
    return sinks


def _at_our_broker(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what leads to another broker."""
    return {key: own for key, own in options.items() if not isinstance(own, BrokerSettings)}


def _replaced(address: Address, path: Path) -> tuple[str, socket.socket | None]:
    """Give the link in the place of another, and the socket where it is one. Raise LinkError."""
    if address.scheme.startswith("can:"):  # whatever it is, the far end is an adapter
        return f"can:slcan/{path}?bitrate=500000", None
    if address.path:
        options = "&".join(f"{key}={value}" for key, value in address.options.items())
        return f"{address.scheme}://{path}{'?' if options else ''}{options}", None
    listener = listen()
    # An RFC 2217 server is a socket with the speed and parity besides, which nothing here has.
    scheme = "tcp" if address.scheme == "tcp" else "socket"
    return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", listener
