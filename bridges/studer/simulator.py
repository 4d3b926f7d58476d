"""A simulated Xcom gateway and what is behind it: Xtenders, solar chargers, a battery.

It takes the bytes of requests and gives the bytes of answers; whoever serves it owns the port, the
speed and the faults of the line. Of what cannot be understood it takes no notice, as the real one.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from bridges.studer.codec import Entry, Format, Infos, pack
from bridges.studer.frame import (
    GATEWAY,
    LONGEST,
    MOST_INFOS,
    READ,
    Error,
    Frame,
    FrameFlag,
    Question,
    Type,
    answer,
    find,
    refusal,
    request,
)
from bridges.studer.objects import FAMILIES, FAST, Family
from bridges.studer.simulated_devices import (
    CanBattery,
    Device,
    Monitor,
    Told,
    VarioString,
    VarioTrack,
    Xtender,
)
from heliobus.errors import ConfigError, FrameError
from heliobus.house import DAY_S, House
from heliobus.line import Faults
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "VARIANTS", "Simulator", "Variant", "simulate"]

_BAUDS: Mapping[str, int] = MappingProxyType({"xcom-232i": 38400, "xcom-lan-serial": 115200})
_USUAL = "xcom-232i"
_GUID = bytes.fromhex("4F1C20A68B3E4D5A92D77B60C1E8A3F4")
_GROUPS = frozenset({100, 300, 600, 700})  # addresses of all devices of a family
_INFO_PROPERTIES = frozenset({1, 5, 0x0D})  # real devices take the last two for the first
_PARAMETER_PROPERTIES = frozenset({5, 6, 7, 8, 0x0D})
_AVERAGE, _SUM = 0xFD, 0xFE
_FLAG_OF: Mapping[str, int] = MappingProxyType(
    {"xt": 0x20, "bms": 0x40, "bsp": 0x40, "vt": 0x80, "vs": 0x100}
)
_PORTAL: Final = 2  # some address that is not ours
_PORTAL_EACH = 3  # answers
_DATALOG_S, _DATALOG_LATE_S = 60.0, 1.5
_BATTERY_LOW = 0
_LOG_ENTRIES = 128
_NO_SUCH_PROPERTY, _WRONG_LENGTH = 0x23, 0x24


@dataclass(frozen=True, slots=True)
class Variant:
    """How a gateway is, and what is behind it where its owner has named nothing."""

    title: str
    counts: Mapping[str, int] = field(
        default_factory=lambda: MappingProxyType({"xt": 1, "vt": 2, "bms": 1})
    )
    infos: bool = True
    lan: bool = False
    datalogger: bool = False


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "xcom-232i": Variant("Xcom-232i: one Xtender, two VarioTracks, a battery at an Xcom-CAN"),
        "plain": Variant("the same with old software: one value at a time", infos=False),
        "lan": Variant("Xcom-LAN: CR LF after each answer, and the portal asks, too", lan=True),
        "datalogger": Variant("Xcom-232i that writes its card each minute", datalogger=True),
        "bsp": Variant(
            "Xcom-232i: three Xtenders, a VarioString, a battery monitor BSP",
            MappingProxyType({"xt": 3, "vs": 1, "bsp": 1}),
        ),
    }
)


class Simulator:
    """A gateway, `variant`, with `counts` devices of each family; `name` is that of its entry.

    `polls` counts the turns of the fast group that were answered whole: by their last answer.
    `writes` counts all that was no question, and is refused. `faults` is asked for `nak`: busy.
    """

    def __init__(
        self,
        variant: str = _USUAL,
        *,
        name: str = "xcom",
        counts: Mapping[str, int] | None = None,
        house: House | None = None,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if variant not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise ConfigError(f"variant: found {variant!r:.60}, expected one of {known}")
        self.variant = VARIANTS[variant]
        self.baud = _BAUDS[_USUAL]
        self.writes = 0
        self.house = house or House(clock)
        self.devices = _placed(self.house, name, counts or self.variant.counts)
        # Of the log, the newest first; an installation has had some battery low.
        self._began_s = int(self.house.now_s)
        earlier_s = int(self._began_s // DAY_S * DAY_S - 3 * DAY_S)
        self.entries = [Entry(0, _BATTERY_LOW, FAMILIES["xt"].first, earlier_s, 0)]
        self._name = name
        self._polls = 0
        self._faults = faults
        self._got = b""
        self._is_pending = self._was_on_mains = False
        self._is_last = False  # what is being sent ends a turn of the fast group
        self._answers = 0
        self._datalog_s = 0.0
        address, placed = list(self.devices.items())[-1]
        self._last = address, [each.number for each in placed.family.of(FAST)][-1]
        self.house.watch(self._look)

    @property
    def polls(self) -> Mapping[str, int]:
        """Give how many polls were answered whole, by device."""
        return {self._name: self._polls}

    def log(self, number: int, source: int, value: int = 0) -> None:
        """Put an entry into the message log, and say so in each frame until it is read."""
        entry = Entry(0, number, source, int(self.house.now_s), value)
        self.entries = [entry, *self.entries][:_LOG_ENTRIES]
        self._is_pending = entry.time_s >= self._began_s  # what is older has been read

    def _look(self, _is_new_day: bool) -> None:  # noqa: FBT001 - as the house calls it
        if self.house.on_mains and not self._was_on_mains:
            self.log(_BATTERY_LOW, FAMILIES["xt"].first)
        self._was_on_mains = self.house.on_mains

    # ------------------------------------------------------------------ as a device on a line

    def take(self, data: bytes) -> bytes:
        """Take bytes of requests, whole or in parts; give the answer to each whole one."""
        frames, rest = find(self._got + data)
        self._got = rest[-2 * LONGEST :]
        self._is_last = False
        if not frames:
            return b""
        with self.house:
            return b"".join(self._answer(asked) for asked in frames if not asked.is_answer)

    def sent(self, answer: bytes, *, whole: bool) -> None:  # noqa: ARG002 - as the line calls it
        """Learn whether the last answer went out whole."""
        self._polls += whole and self._is_last

    def _answer(self, asked: Frame) -> bytes:
        told = self._told(asked)
        self._be_late()
        if not isinstance(told, bytes):
            return self._on_the_net(refusal(asked, told, flags=self._flags))
        self._is_last = self._is_last or self._ends_a_turn(asked)
        return self._on_the_net(answer(asked, told, flags=self._flags))

    def _ends_a_turn(self, asked: Frame) -> bool:
        """Say whether this asks for what is last in the fast group."""
        address, number = self._last
        if asked.object_type == Type.MULTI_INFO:
            index = self.devices[address].family.index(address)
            return (number, index) in asked.question.items
        return (asked.target, asked.object_type, asked.object_id) == (address, Type.INFO, number)

    def _told(self, asked: Frame) -> bytes | int:
        """Give the data of an answer, or the code of a refusal."""
        self.writes += asked.service != READ
        if asked.service != READ:
            return Error.SERVICE_NOT_SUPPORTED
        if self._faults and self._faults.strikes("nak"):
            return Error.GATEWAY_BUSY
        if asked.target == GATEWAY:
            return self._of_the_gateway(asked)
        if asked.target in _GROUPS:
            return Error.MULTICAST_READ
        if asked.target not in self.devices:
            return Error.DEVICE_NOT_FOUND
        return _of_a_device(self.devices[asked.target].device, asked)

    def _of_the_gateway(self, asked: Frame) -> bytes | int:
        if asked.object_type == Type.GUID:
            return _GUID
        if asked.object_type == Type.MESSAGE:
            return self._entry(asked.object_id)
        if asked.object_type == Type.MULTI_INFO and self.variant.infos:
            return self._infos(asked.question)
        return Error.TYPE_NOT_SUPPORTED

    def _entry(self, index: int) -> bytes | int:
        if index >= len(self.entries):
            return Error.OBJECT_NOT_FOUND
        self._is_pending = self._is_pending and index > 0
        of = self.entries[index]
        return Entry(len(self.entries), of.number, of.source, of.time_s, of.value).pack()

    def _infos(self, question: Question) -> bytes | int:
        try:
            items = question.items
        except FrameError:
            return _WRONG_LENGTH
        if not 0 < len(items) <= MOST_INFOS:
            return _WRONG_LENGTH
        told = {address: placed.device.infos() for address, placed in self.devices.items()}
        flags = 0
        for placed in self.devices.values():
            flags |= _FLAG_OF[placed.family.name]
        values = {item: self._one_of_many(told, *item) for item in items}
        return Infos(flags, int(self.house.now_s), values).pack()

    def _one_of_many(self, told: Mapping[int, Told], number: int, device: int) -> float | None:
        """Give an info of one device, or the average or sum of all; None: there is none."""
        all_of = {
            self.devices[address].family.index(address): infos.get(number)
            for address, infos in told.items()
            if number in infos  # those of one family are in no other
        }
        there = {index: float(value) for index, value in all_of.items() if value is not None}
        if device in (_AVERAGE, _SUM) and there:
            return sum(there.values()) / (len(there) if device == _AVERAGE else 1)
        return there.get(device or 1)

    # ------------------------------------------------------------------ the way back

    @property
    def _flags(self) -> int:
        flags = FrameFlag.SD_PRESENT | FrameFlag.DATALOGGER if self.variant.datalogger else 0
        return flags | (FrameFlag.MESSAGE_PENDING if self._is_pending else 0)

    def _be_late(self) -> None:
        """Answer late once a minute, where the card is written."""
        now_s = self.house.now_s
        if self.variant.datalogger and self._faults and now_s >= self._datalog_s + _DATALOG_S:
            self._datalog_s = now_s
            self._faults.slow_s = _DATALOG_LATE_S
            self._faults.once("slow")

    def _on_the_net(self, data: bytes) -> bytes:
        if not self.variant.lan:
            return data
        self._answers += 1
        if self._answers % _PORTAL_EACH == 0:
            data = self._of_the_portal() + data
        return data + b"\r\n"

    def _of_the_portal(self) -> bytes:
        """Give what the portal has asked meanwhile, and the answer to it."""
        address = next(iter(self.devices))
        sent = request(Question.info(address, FAMILIES["xt"].seek), source=_PORTAL)
        return sent + answer(find(sent)[0][0], pack(Format.FLOAT, 1.0)) + b"\r\n"


# ---------------------------------------------------------------------- what is there


_MAKERS: Mapping[str, Callable[[House, str, int], Device]] = MappingProxyType(
    {
        "xt": Xtender,
        "vt": VarioTrack,
        "vs": VarioString,
        "bms": lambda house, name, _: CanBattery(house, name),
        "bsp": lambda house, name, _: Monitor(house, name),
    }
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A device at its address."""

    family: Family
    device: Device


def _placed(house: House, name: str, counts: Mapping[str, int]) -> Mapping[int, Placed]:
    """Make the devices, by their addresses."""
    made: dict[int, Placed] = {}
    for family in FAMILIES.values():
        for address in family.addresses[: counts.get(family.name, 0)]:
            if address not in made:  # a BSP has the address of an Xcom-CAN's battery
                called = f"{name} {family.part(address)}"
                device = _MAKERS[family.name](house, called, family.index(address))
                made[address] = Placed(family, device)
    return made


def _of_a_device(device: Device, asked: Frame) -> bytes | int:
    if asked.object_type == Type.INFO:
        told, properties = device.infos(), _INFO_PROPERTIES
    elif asked.object_type == Type.PARAMETER:
        told, properties = device.parameters, _PARAMETER_PROPERTIES
    else:
        return Error.TYPE_NOT_SUPPORTED
    if asked.object_id not in told:
        return Error.OBJECT_NOT_FOUND
    if asked.property_id not in properties:
        return _NO_SUCH_PROPERTY
    value = told[asked.object_id]
    if isinstance(value, bool):
        return pack(Format.BOOL, value)
    return pack(Format.SHORT_ENUM if isinstance(value, int) else Format.FLOAT, value)


def simulate(
    devices: Sequence[DeviceSettings], *, house: House, faults: Faults | None = None
) -> Simulator:
    """Give what is at the far end of a link: a gateway, with what its owner has named behind it."""
    entry = devices[0]
    variant = _USUAL if entry.link.startswith("serial:") else "lan"
    named = _counts(entry.options.get("parts", {}))
    far_end = Simulator(variant, name=entry.name, counts=named, house=house, faults=faults)
    far_end.baud = _BAUDS[entry.options.get("interface", _USUAL)]
    return far_end


def _counts(parts: Iterable[str]) -> Mapping[str, int]:
    """Count the devices of each family: whoever has a third Xtender has a first and a second."""
    counts: dict[str, int] = {}
    for part in parts:
        family, _, index = part.partition("_")
        counts[family] = max(counts.get(family, 0), int(index or 1))
    return counts


SIMULATOR = Simulator
