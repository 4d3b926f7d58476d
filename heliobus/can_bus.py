"""A CAN bus that is listened to: all frames as they come, kept for a while with their times.

    bus = open_bus("can:slcan//dev/ttyACM0?bitrate=500000")
    frames = bus.take(after_s=0.0, until_s=time.monotonic() + 5.0)

A thread of its own reads, so that none is missed while others are being worked on. Nothing is ever
sent. python-can carries SocketCAN. An adapter on a serial port is a `Link`: one owner, no 12 MB for
python-can, and a damaged line costs that line.
"""

import errno
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from heliobus import slcan
from heliobus.address import Address, parse
from heliobus.errors import ConfigError, LinkError
from heliobus.faults import Faults
from heliobus.link import Link, open_link
from heliobus.slcan import EXTENDED, MOST_BYTES, Heard, Sort

if TYPE_CHECKING:  # it costs 12 MB: only for those that have a SocketCAN interface
    import can

__all__ = ["EXTENDED", "CanBus", "Frame", "Source", "open_bus"]

log = logging.getLogger(__name__)

USUAL_BITRATE: Final = 500_000
_LIKE: Final = "can:socketcan/can0"
_KEPT_FRAMES: Final = 4096  # 20 s of a bus with 200 frames a second
# How soon a close is noticed.
_SLICE_S: Final = 0.2
_CLOSE_S: Final = 0.8
_STEP_S: Final = 1e-6  # no two frames have one time
# An adapter that says nothing for so long may have been without power, and closed since.
_MUTE_S: Final = 10.0
# linux/can/error.h: classes of error frames, and what is in their second byte.
_CONTROLLER, _BUS_OFF, _RESTARTED = 0x04, 0x40, 0x100
_PASSIVE: Final = 0x10 | 0x20
_NETWORK: Final = Path("/sys/class/net")
_ARPHRD_CAN, _IFF_UP = 280, 1


class Frame(NamedTuple):
    """One data frame and when it came, by the monotonic clock.

    An identifier of 29 bits has `EXTENDED` added.
    """

    at_s: float
    id: int
    data: bytes


class Source(Protocol):
    """Where frames come from. One thread reads and then closes it; any thread may cut it off."""

    name: str

    def read(self, timeout_s: float) -> Iterable[Heard]:
        """Give what came, nothing when nothing came in `timeout_s`. Raise LinkError."""
        ...

    def close(self) -> None:
        """Close. Raise nothing."""
        ...

    def cut_off(self) -> None:
        """End a `read` that waits; it need not close."""
        ...


class CanBus:
    """A way to the devices on one bus: a `Port`. `counts` are of what was heard so far, by sort.

    `wants` are the identifiers of 29 bits that are kept; others are counted.
    """

    def __init__(self, url: str, source: Source, *, wants: Iterable[int] = ()) -> None:
        self.url = url
        self.name = source.name
        self.tap: Callable[[str, bytes], None] | None = None
        self.opened_s = time.monotonic()
        self.counts: Counter[str] = Counter()
        self._source = source
        self._wants = frozenset(wants)
        self._frames: deque[Frame] = deque(maxlen=_KEPT_FRAMES)
        self._last_s = self.opened_s
        self._error = ""
        self._closing = False
        self._news = threading.Condition()
        self._faults = Faults(log)
        self._thread = threading.Thread(target=self._run, name=f"read {url}", daemon=True)
        self._thread.start()

    def take(self, after_s: float, until_s: float) -> list[Frame]:
        """Give the frames that came after a time; wait for one until another, [] if none came.

        Raise LinkError once the bus is lost or closed.
        """
        with self._news:
            while True:
                if self._error:
                    raise LinkError(self._error)
                if self._frames and self._frames[-1].at_s > after_s:
                    return self._since(after_s)
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    return []
                self._news.wait(left_s)

    def _since(self, after_s: float) -> list[Frame]:
        found = []
        for frame in reversed(self._frames):
            if frame.at_s <= after_s:
                break
            found.append(frame)
        return found[::-1]

    def close(self) -> None:
        """Close. A `take` that waits in another thread ends at once with LinkError."""
        self._end(f"{self.name}: closed")
        self._closing = True
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():
                self._source.cut_off()
                self._thread.join(_CLOSE_S)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while not self._closing:
                self._heard(self._source.read(_SLICE_S))
        except LinkError as error:
            self._end(f"{error}")
        finally:
            self._end(f"{self.name}: nobody reads it any more")
            self._source.close()

    def _end(self, error: str) -> None:
        with self._news:
            self._error = self._error or error
            self._news.notify_all()

    def _heard(self, heard: Iterable[Heard]) -> None:
        frames = [one for one in heard if self._is_wanted(one)]
        if not frames:
            return
        now_s = time.monotonic()
        with self._news:
            for frame in frames:
                self._last_s = max(now_s, self._last_s + _STEP_S)
                self._frames.append(Frame(self._last_s, frame.id, frame.data))
            self._news.notify_all()
        if log.isEnabledFor(logging.DEBUG):
            for frame in frames:
                log.debug("%s  %s", self.name, _told(frame))

    def _is_wanted(self, heard: Heard) -> bool:
        sort, identifier, data = heard
        if sort is Sort.ERROR:
            self._look_at(identifier, data)
            return False
        if sort is Sort.DATA and identifier & EXTENDED and identifier not in self._wants:
            self.counts["extended"] += 1
            return False
        self.counts["frames" if sort is Sort.DATA else sort.value] += 1
        return sort is Sort.DATA

    def _look_at(self, error: int, data: bytes) -> None:
        """Count an error frame, and say once what state the adapter is in."""
        self.counts["errors"] += 1
        if error & _BUS_OFF:
            self.counts["bus_off"] += 1
            self._faults.report("off", f"{self.name}: {_WORDS['bus_off']}")
        if error & _RESTARTED:
            self.counts["restarts"] += 1
        if error & _CONTROLLER and data[1:2] and data[1] & _PASSIVE:
            self.counts["error_passive"] += 1
            self._faults.report("passive", f"{self.name}: {_WORDS['error_passive']}")


_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "bus_off": "bus-off: the adapter has cut itself off after too many errors. Check the bit"
        " rate, the two wires and the termination. It comes back by itself only where"
        " 'restart-ms 100' was given to 'ip link set'",
        "error_passive": "many errors (error-passive): check the bit rate, the two wires, and that"
        " there are two terminating resistors, no third one",
    }
)


def _told(frame: Heard) -> str:
    """Write a frame as candump does."""
    identifier, wide = frame.id & ~EXTENDED, frame.id & EXTENDED
    name = f"{identifier:08X}" if wide else f"{identifier:03X}"
    return f"{name}   [{len(frame.data)}]  {frame.data.hex(' ').upper()}"


# ---------------------------------------------------------------------- where frames come from


class _Adapter:
    """An adapter with slcan on a serial port. One that is mute is opened again and again."""

    def __init__(self, link: Link, *, bitrate: int, listen_only: bool) -> None:
        self.name = link.name
        self._link = link
        self._lines = slcan.Lines()
        self._opening = slcan.opening(bitrate, listen_only=listen_only)
        self._open()

    def _open(self) -> None:
        self._link.write(self._opening)
        self._spoke_s = time.monotonic()

    def read(self, timeout_s: float) -> Iterable[Heard]:
        data = self._link.read(timeout_s)
        if data:
            self._spoke_s = time.monotonic()
        elif time.monotonic() - self._spoke_s > _MUTE_S:
            self._open()
        return self._lines.take(data)

    def close(self) -> None:
        with suppress(LinkError):
            self._link.write(slcan.CLOSE)
        self._link.close()

    def cut_off(self) -> None:
        self._link.close()


class _Bus:
    """A bus of python-can. Its `recv` ends by itself, and `shutdown` may raise anything."""

    def __init__(self, name: str, bus: "can.BusABC") -> None:
        self.name = name
        self._bus = bus

    def read(self, timeout_s: float) -> Iterable[Heard]:
        from can import CanError

        try:
            message = self._bus.recv(timeout_s)
        except (CanError, OSError, ValueError) as error:
            raise LinkError(f"{self.name}: {_lost(self.name, error)}") from error
        return () if message is None else (_from(message),)

    def close(self) -> None:
        from can import CanError

        with suppress(CanError, OSError, ValueError):
            self._bus.shutdown()

    def cut_off(self) -> None:
        pass


def _from(message: "can.Message") -> Heard:
    """Give a frame of python-can. A frame counts by the data that it has, not by its DLC."""
    data = bytes(message.data)
    if message.is_error_frame:
        return Heard(Sort.ERROR, message.arbitration_id, data)
    if message.is_remote_frame:
        return Heard(Sort.REMOTE)
    if message.is_fd:
        return Heard(Sort.FD)
    if len(data) != message.dlc or len(data) > MOST_BYTES:
        return Heard(Sort.MALFORMED)
    wide = EXTENDED if message.is_extended_id else 0
    return Heard(Sort.DATA, message.arbitration_id | wide, data)


# ---------------------------------------------------------------------- opening


def open_bus(
    url: str,
    *,
    wants: Iterable[int] = (),
    bitrate: int = USUAL_BITRATE,
    others: Mapping[str, Callable[[Address], Source]] = MappingProxyType({}),
) -> CanBus:
    """Open the bus that `url` names; `bitrate` counts where a URL for an adapter does not say it.

    `others` open what only their caller can. Raise LinkError when it cannot be opened now,
    ConfigError when the URL is malformed or for no bus.
    """
    address = parse(url, {"bitrate": f"{bitrate}"})
    openers = {**_OPENERS, **others}
    if address.scheme not in openers:
        raise ConfigError(f"link '{url}': carries no CAN frames; expected it like {_LIKE}")
    return CanBus(url, openers[address.scheme](address), wants=wants)


def _open_slcan(address: Address) -> Source:
    baud = address.options.get("baud", f"{slcan.USUAL_BAUD}")
    link = open_link(f"serial://{address.path}?baud={baud}")
    try:
        bitrate = int(address.options["bitrate"])
        return _Adapter(link, bitrate=bitrate, listen_only=address.listen_only)
    except LinkError:
        link.close()
        raise


def _open_socketcan(address: Address) -> Source:
    if fault := interface_fault(address.host):
        raise LinkError(f"{address.host}: {fault}")
    from can.interfaces.socketcan import SocketcanBus

    logging.getLogger("can").setLevel(logging.CRITICAL)  # what it finds is raised, too
    try:
        return _Bus(address.name, SocketcanBus(address.host))
    except OSError as error:
        raise LinkError(f"{address.host}: {_unopened(address.host, error)}") from error


def _open_virtual(address: Address) -> Source:
    from can.interfaces.virtual import VirtualBus

    return _Bus(address.name, VirtualBus(address.host))


def interface_fault(name: str, folder: Path = _NETWORK) -> str:
    """Say why an interface of SocketCAN cannot be listened to, and what to type; "" if it can."""
    try:
        kind = int((folder / name / "type").read_text())
        flags = int((folder / name / "flags").read_text(), 16)
    except (OSError, ValueError):
        others = ", ".join(sorted(each.name for each in folder.glob("*") if _is_can(each)))
        there = f"there is {others}" if others else "plug the adapter in, or load its driver"
        return f"no such CAN interface; {there}; then type `{_up(name)}`"
    if kind != _ARPHRD_CAN:
        return "is no CAN interface; those are called can0 and the like"
    return "" if flags & _IFF_UP else f"the interface is down; type `{_up(name)}`"


def _is_can(interface: Path) -> bool:
    with suppress(OSError, ValueError):
        return int((interface / "type").read_text()) == _ARPHRD_CAN
    return False


def _up(name: str) -> str:
    return f"sudo ip link set {name} up type can bitrate {USUAL_BITRATE} restart-ms 100"


def _unopened(name: str, error: OSError) -> str:
    if error.errno == errno.EAFNOSUPPORT:
        return (
            "there is no CAN here; type `sudo modprobe can_raw`. In a systemd unit of your own"
            " RestrictAddressFamilies must name AF_CAN; a container needs the host's network"
        )
    return _lost(name, error)


def _lost(name: str, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"the bus is lost ({reason}); is the interface up? Type `{_up(name)}`"


_OPENERS: Mapping[str, Callable[[Address], Source]] = MappingProxyType(
    {
        "can:slcan": _open_slcan,
        "can:socketcan": _open_socketcan,
        "can:virtual": _open_virtual,
    }
)
