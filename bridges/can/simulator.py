"""A simulated battery on CAN, behind an adapter with slcan: it speaks by itself while that is open.

    every second or two a burst of frames, 2 ms apart

The bytes are laid out here anew, not by the profiles that read them. Sources: CAN bus protocol
PYLON low voltage V1.2; bursts of US2000, US5000 and Victron-compatible batteries, recorded.
"""

import struct
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bridges.can import profiles
from bridges.can.frames import Profile
from heliobus import slcan
from heliobus.errors import ConfigError
from heliobus.house import CELLS, RATED_V, Bank, House
from heliobus.line import Faults
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "VARIANTS", "Simulator", "simulate"]

USUAL_PROFILE: Final = "pylontech_lv"
BITRATE: Final = 500_000
_APART_S: Final = 0.002
_OPEN_S: Final = 0.1  # until the first burst after the bus was opened
_MODULE_AH, _MODULE_A, _MOST_MODULES = 100.0, 80.0, 16
_CHARGE_V, _LOWEST_V = 56.8, 45.0
_SOH_PERCENT: Final = 99
_KELVIN: Final = 273
_FULL_SOC, _EMPTY_SOC = 0.995, 0.06
_COMMANDS: Final = 64  # kept

_OK, _NO = b"\r", b"\a"
_SAYS: Mapping[str, bytes] = MappingProxyType({"V": b"V1013\r", "N": b"N4711\r", "F": b"F00\r"})
_RATES: Mapping[str, int] = MappingProxyType({"S6": BITRATE})


@dataclass(frozen=True, slots=True)
class State:
    """What the battery shows of the house now. Positive = charging."""

    v: float
    a: float
    soc: float
    celsius: float
    capacity_ah: float
    modules: int
    charge_a: float
    energies_kwh: tuple[float, float]  # into it and out of it


Frame = tuple[int, bytes]
Say = Callable[[State], Sequence[Frame]]


@dataclass(frozen=True, slots=True)
class Variant:
    """What one sort of battery sends, how often."""

    title: str
    says: tuple[Say, ...]
    every_s: float = 1.0


# ---------------------------------------------------------------------- what they say


def _limits(state: State) -> Sequence[Frame]:
    most_a = state.modules * _MODULE_A
    tenths = (round(x * 10) for x in (_CHARGE_V, state.charge_a, most_a, _LOWEST_V))
    return ((0x351, struct.pack("<HhhH", *tenths)),)


def _charge(tail: bytes) -> Say:
    def say(state: State) -> Sequence[Frame]:
        return ((0x355, struct.pack("<HH", round(state.soc * 100), _SOH_PERCENT) + tail),)

    return say


def _fine_charge(state: State) -> Sequence[Frame]:
    return _charge(struct.pack("<HH", round(state.soc * 10_000), 0))(state)


def _measured(state: State) -> Sequence[Frame]:
    values = (round(state.v * 100), round(state.a * 10), round(state.celsius * 10))
    return ((0x356, struct.pack("<hhhH", *values, 0)),)


def _flags(state: State) -> Sequence[Frame]:
    wants = (state.soc < _FULL_SOC) << 7 | (state.soc > _EMPTY_SOC) << 6
    return (
        (0x359, bytes(4) + bytes([state.modules]) + b"PN"),
        (0x35C, bytes([wants, 0])),
    )


def _alarms(_: State) -> Sequence[Frame]:
    return ((0x35A, bytes(8)),)


def _is_called(name: str) -> Say:
    return lambda _: ((0x35E, name.encode().ljust(8)),)


def _is_made(maker: bytes, tail: bytes) -> Say:
    return lambda state: ((0x35F, maker + struct.pack("<H", round(state.capacity_ah)) + tail),)


def _cells_mv(state: State) -> tuple[int, int]:
    usual = state.v / CELLS * 1000
    return round(usual - 4), round(usual + 5)


def _is_named(first: str, second: str) -> Say:
    return lambda _: ((0x370, first.encode()), (0x371, second.encode()))


def _victron_cells(state: State) -> Sequence[Frame]:
    coldest, warmest = (round(state.celsius + each) + _KELVIN for each in (-1, 1))
    return (
        (0x372, struct.pack("<HHHH", state.modules, 0, 0, 0)),
        (0x373, struct.pack("<HHHH", *_cells_mv(state), coldest, warmest)),
        *((identifier, text.ljust(8, b"\0")) for identifier, text in _PLACES),
        (0x378, struct.pack("<II", *(round(kwh * 10) for kwh in state.energies_kwh))),
        (0x379, struct.pack("<H", round(state.capacity_ah)) + bytes(6)),
    )


_PLACES = ((0x374, b"C03"), (0x375, b"C11"), (0x376, b"T1"), (0x377, b"T4"))


def _pylon_cells(state: State) -> Sequence[Frame]:
    lowest_mv, highest_mv = _cells_mv(state)
    warmest, coldest = (round((state.celsius + each) * 10) for each in (1, -1))
    return (
        (0x370, struct.pack("<hhHH", warmest, coldest, highest_mv, lowest_mv)),
        (0x371, struct.pack("<HHHH", 4, 1, 11, 3)),
    )


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "pylontech_lv": Variant(
            "Pylontech US2000, US3000 or US5000 with protocol V1.2",
            (
                _limits,
                _charge(bytes.fromhex("09 00 0F 00")),
                _measured,
                _flags,
                _is_called("PYLON"),
            ),
        ),
        "pylontech_v13": Variant(
            "Pylontech US5000 with protocol V1.3: neither 0x359 nor 0x35C, every 2 s",
            (
                _limits,
                _charge(bytes(2)),
                _measured,
                _alarms,
                _is_called("PYLON"),
                _is_made(b"LI\x01\x03", b"\xaa\x00"),
            ),
            every_s=2.0,
        ),
        "victron_lv": Variant(
            "A battery that speaks to a Victron GX",
            (
                _limits,
                _fine_charge,
                _measured,
                _alarms,
                _is_called("SMARTBMS"),
                _is_made(b"\x33\xa1\x02\x14", b"\x00\x00"),
                _is_named("CAN-SMAR", "TBMS-BAT"),
                _victron_cells,
            ),
        ),
        "pylon_v2": Variant(
            "Seplos and others with the second version of Pylontech's frames",
            (_limits, _charge(bytes(4)), _measured, _flags, _is_called("PYLON"), _pylon_cells),
        ),
    }
)


class Simulator:
    """One battery and the adapter before it. `commands` are the newest that it was sent.

    `sent_frames` counts those that it was told to send: where one only listens there are none.
    """

    baud = slcan.USUAL_BAUD
    polls: Mapping[str, int] = MappingProxyType({})  # nobody asks

    def __init__(self, variant: Variant, house: House, *, name: str = "battery") -> None:
        self.variant = variant
        self.commands: deque[str] = deque(maxlen=_COMMANDS)
        self.sent_frames = 0
        self.bursts = 0
        self._house = house
        self._bank: Bank = house.bank(name)
        self._energy = house.count(self._rates)
        self._got = b""
        self._rate: int | None = None
        self._is_open = False
        self._opens = False
        self._is_timed = False
        self._due: deque[tuple[float, Frame]] = deque()
        self._next_s = 0.0

    def link_to(self, path: str) -> str:
        """Give the link URL of it on this port."""
        return f"can:slcan/{path}?bitrate={BITRATE}"

    # ------------------------------------------------------------------ the adapter

    def take(self, data: bytes) -> bytes:
        """Take bytes of commands, whole or in parts; answer each whole one."""
        *lines, self._got = (self._got + data).split(b"\r")
        self._got = self._got[-_COMMANDS:]
        return b"".join(self._obey(line.decode("latin-1")) for line in lines)

    def _obey(self, command: str) -> bytes:
        self.commands.append(command)
        letter = command[:1]
        if letter in _SAYS:
            return _SAYS[letter]
        obey = {
            "": lambda: True,
            "C": self._close,
            "S": lambda: self._set_rate(command),
            "O": self._open,
            "L": self._open,
            "Z": lambda: self._set_time(command),
            **dict.fromkeys("tTrR", self._send),
        }.get(letter)
        return _OK if obey is not None and obey() else _NO

    def _close(self) -> bool:
        self._is_open = False
        self._due.clear()
        return True

    def _set_rate(self, command: str) -> bool:
        if not self._is_open:
            self._rate = _RATES.get(command, 0)
        return not self._is_open

    def _open(self) -> bool:
        if self._rate is None:
            return False
        self._opens = self._opens or not self._is_open
        self._is_open = True
        return True

    def _set_time(self, command: str) -> bool:
        self._is_timed = command == "Z1"
        return True

    def _send(self) -> bool:
        self.sent_frames += 1
        return True

    # ------------------------------------------------------------------ the battery

    def say(self, now_s: float) -> bytes:
        """Give the next frame that is due."""
        self._plan(now_s)
        if not self._due or self._due[0][0] > now_s:
            return b""
        _, (identifier, data) = self._due.popleft()
        line = slcan.encode(identifier, data)
        return (
            line[:-1] + f"{round(now_s * 1000) % 60_000:04X}\r".encode() if self._is_timed else line
        )

    def silent_s(self, now_s: float) -> float | None:
        """Tell in how long `say` has something."""
        if not self._is_open or self._rate != BITRATE:
            return None  # an adapter at another bit rate hears nothing that it understands
        self._plan(now_s)
        return max(0.0, (self._due[0][0] if self._due else self._next_s) - now_s)

    def _plan(self, now_s: float) -> None:
        if not self._is_open or self._rate != BITRATE or self._due:
            return
        if self._opens:
            self._opens, self._next_s = False, now_s + _OPEN_S
        if now_s < self._next_s:
            return
        state = self._state()
        frames = _burst(self.variant, state)
        self._due.extend((now_s + at * _APART_S, frame) for at, frame in enumerate(frames))
        self._next_s = max(self._next_s + self.variant.every_s, now_s)
        self.bursts += 1

    def _rates(self) -> Mapping[str, float]:
        return {"charged": max(0.0, self._bank.w), "discharged": max(0.0, -self._bank.w)}

    def _state(self) -> State:
        with self._house as house:
            energy = self._energy.total
            capacity_ah = self._bank.capacity_wh / RATED_V
            modules = min(_MOST_MODULES, max(1, round(capacity_ah / _MODULE_AH)))
            share = self._bank.capacity_wh / house.capacity_wh
            return State(
                v=house.battery_v,
                a=self._bank.w / house.battery_v,
                soc=house.soc,
                celsius=22.0 + 4.0 * abs(self._bank.w) / (modules * _MODULE_A * RATED_V),
                capacity_ah=capacity_ah,
                modules=modules,
                charge_a=min(modules * _MODULE_A, house.charge_limit_w * share / house.battery_v),
                energies_kwh=(energy["charged"] / 1000.0, energy["discharged"] / 1000.0),
            )


# ---------------------------------------------------------------------- makers


def simulator(
    variant: str = "pylontech_lv",
    *,
    tcp: bool = False,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,  # noqa: ARG001 - those of the line are enough
) -> Simulator:
    """Be one battery. Raise ConfigError."""
    if variant not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise ConfigError(f"variant: found {variant!r:.60}, expected one of {known}")
    if tcp:
        raise ConfigError("--tcp: an adapter with slcan is on a serial port; leave it out")
    return Simulator(VARIANTS[variant], House(clock))


def simulate(
    devices: Sequence[DeviceSettings],
    *,
    house: House,
    faults: Faults | None = None,  # noqa: ARG001 - those of the line are enough
) -> Simulator:
    """Be the bus of these devices: one battery, which all of them read. Raise ConfigError."""
    first = devices[0]
    profile = profiles.load(first.options.get("profile", USUAL_PROFILE), beside=first.folder)
    return Simulator(_playing(profile), house, name=first.name)


def _playing(profile: Profile) -> Variant:
    """Give the battery for a profile: of its name, else the one with most of its frames."""
    if profile.name in VARIANTS:
        return VARIANTS[profile.name]
    some = State(50.0, 0.0, 0.5, 20.0, 100.0, 1, 0.0, (0.0, 0.0))
    fits = {
        name: sum(identifier in profile.messages for identifier, _ in _burst(one, some))
        for name, one in VARIANTS.items()
    }
    best = max(fits, key=lambda name: fits[name])
    if not fits[best]:
        raise ConfigError(f"profile {profile.name}: no simulated battery sends its frames")
    return VARIANTS[best]


def _burst(variant: Variant, state: State) -> list[Frame]:
    return [frame for says in variant.says for frame in says(state)]


SIMULATOR = simulator
