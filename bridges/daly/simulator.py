"""Simulated Daly boards on one line: the same bytes as real ones, with what they leave behind.

Each board fills in of its eight bytes what a command says, and sends the rest as it was in the
answer before, as recorded boards do. What it measures is a bank of the simulated house.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bridges.daly import frame
from bridges.daly.codec import CELLS_PER_FRAME, SENSORS_PER_FRAME
from bridges.daly.frame import Frame, frames
from heliobus.errors import ConfigError
from heliobus.house import CELLS, RATED_V, Bank, House, chance, wander
from heliobus.line import Faults
from heliobus.modbus import HOLDING, crc, rtu
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "VARIANTS", "Board", "Simulator", "Variant", "simulate", "simulator"]

_NO_CURRENT, _NO_DEGREES = 30000, 40
_IDLE, _CHARGING, _DISCHARGING = range(3)
_PINS, _CYCLES = 0x02, 37
_SPREAD_MV = 12.0
_CELL_RATED_V = RATED_V / CELLS
# The highest two cells are balanced while the battery is nearly full and still charging.
_BALANCE_SOC, _BALANCED = 0.9, 2
_SOC_LOW = {0: 0.08, 1: 0.04}  # levels 1 and 2
_SOC_LOW_BIT = 2 * 8 + 6
_SERIAL, _HARDWARE = "DL24060100", "DL-BMS-R32-01E"
_TEXT_BYTES = 7
_NEWER_UNIT, _NEWER_SIZE = 0xD2, 8


@dataclass(frozen=True, slots=True)
class Variant:
    """What one model is. `sends_all`: also the frames of cells and sensors that it has not."""

    title: str
    cells: int = CELLS
    sensors: int = 1
    app_only: bool = False
    sends_all: bool = False
    newer: bool = False


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "16s": Variant("16 cells on RS485, answers computers only"),
        "8s": Variant("8 cells, for 24 V", cells=8),
        "14s": Variant("14 cells with two temperature sensors", cells=14, sensors=2),
        "host80": Variant(
            "16 cells on UART, answers as to the app only, and always sends all frames",
            app_only=True,
            sends_all=True,
        ),
        "modbus": Variant("The newer generation, which speaks Modbus", newer=True),
    }
)


class Board:
    """One board. While it is `asleep` it is silent; `alarm_bits` are raised in 0x98."""

    def __init__(self, name: str, number: int, variant: Variant, house: House) -> None:
        self.name = name
        self.number = number
        self.variant = variant
        self.house = house
        self.bank: Bank = house.bank(name)
        self.asleep = False
        self.alarm_bits: set[int] = set()
        self.polls = 0
        self.asked: Counter[int] = Counter()
        self._heartbeat = 0
        self._left = bytes(8)

    def answer(self, asked: Frame) -> bytes:
        """Give all frames of the answer to a request, none to one for another board."""
        host = frame.APP if self.variant.app_only else frame.COMPUTER - 1 + self.number
        say = _ANSWERS.get(asked.command)
        if self.asleep or asked.address != host or say is None:
            return b""
        self.asked[asked.command] += 1
        out = b""
        with self.house:
            for said in say(self):
                self._left = said + self._left[len(said) :]
                out += frame.answer(self.number, asked.command, self._left)
        return out

    # ------------------------------------------------------------------ what it measures

    @property
    def volts(self) -> float:
        """Give its voltage: the house's battery, or the part of it that its cells are."""
        return self.house.battery_v * self.variant.cells / CELLS

    @property
    def raw_current(self) -> int:
        """Give the current as it is sent: discharge counts up."""
        return round(_NO_CURRENT - 10 * self.bank.w / self.volts)

    @property
    def state(self) -> int:
        """Say what it does, as 0x93 has it."""
        raw = self.raw_current
        if raw == _NO_CURRENT:
            return _IDLE
        return _CHARGING if raw < _NO_CURRENT else _DISCHARGING

    @property
    def capacity_ah(self) -> float:
        """Give how much it holds."""
        return self.bank.capacity_wh / (_CELL_RATED_V * self.variant.cells)

    @property
    def cells_mv(self) -> Sequence[int]:
        """Give the cells, which differ a little."""
        count = self.variant.cells
        offs = [_SPREAD_MV * (chance(f"{self.name} cell {at}") - 0.5) for at in range(count)]
        mean = sum(offs) / count
        return [round(1000 * self.volts / count + off - mean) for off in offs]

    @property
    def degrees(self) -> Sequence[int]:
        """Give the temperatures."""
        now_s = self.house.now_s
        return [
            round(17 + 8 * wander(now_s, f"{self.name} sensor {at}", 7200.0))
            for at in range(self.variant.sensors)
        ]

    @property
    def balanced(self) -> int:
        """Give the bits of the cells that are balanced now, cell 1 first."""
        if self.house.soc < _BALANCE_SOC or self.state != _CHARGING:
            return 0
        cells = self.cells_mv
        highest = sorted(range(len(cells)), key=lambda at: cells[at])[-_BALANCED:]
        return sum(1 << at for at in highest)

    @property
    def alarms(self) -> int:
        """Give the bits of the alarms."""
        low = {_SOC_LOW_BIT + level for level, soc in _SOC_LOW.items() if self.house.soc < soc}
        return sum(1 << bit for bit in self.alarm_bits | low)

    def beat(self) -> int:
        """Count on."""
        self._heartbeat = (self._heartbeat + 1) % 256
        return self._heartbeat


# ---------------------------------------------------------------------- what it says

_Say = Callable[[Board], list[bytes]]


def _u16(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2) for number in numbers)


def _voltage(board: Board) -> list[bytes]:
    volts, soc = round(10 * board.volts), round(1000 * board.house.soc)
    return [_u16(volts, 0, board.raw_current, soc)]


def _extremes(values: Sequence[int]) -> tuple[int, int, int, int]:
    most, least = max(values), min(values)
    return most, values.index(most) + 1, least, values.index(least) + 1


def _cell_range(board: Board) -> list[bytes]:
    most, most_at, least, least_at = _extremes(board.cells_mv)
    return [_u16(most) + bytes([most_at]) + _u16(least) + bytes([least_at])]


def _temperature_range(board: Board) -> list[bytes]:
    most, most_at, least, least_at = _extremes(board.degrees)
    return [bytes([most + _NO_DEGREES, most_at, least + _NO_DEGREES, least_at])]


def _mosfets(board: Board) -> list[bytes]:
    remaining_mah = round(1000 * board.capacity_ah * board.house.soc)
    return [bytes([board.state, 1, 1, board.beat()]) + remaining_mah.to_bytes(4)]


def _counts(board: Board) -> list[bytes]:
    model, state = board.variant, board.state
    connected = [state == _CHARGING, state == _DISCHARGING]
    return [bytes([model.cells, model.sensors, *connected, _PINS]) + _u16(_CYCLES)]


def _cells(board: Board) -> list[bytes]:
    """Say three cells in a frame. What the last one does not fill is left from the one before."""
    cells = board.cells_mv
    out: list[bytes] = []
    for at in range(0, len(cells), CELLS_PER_FRAME):
        out.append(bytes([len(out) + 1]) + _u16(*cells[at : at + CELLS_PER_FRAME]))
    while board.variant.sends_all and len(out) < frame.MOST_FRAMES:
        out.append(bytes([len(out) + 1]) + bytes(2 * CELLS_PER_FRAME))
    return out


def _temperatures(board: Board) -> list[bytes]:
    raw = bytes(degree + _NO_DEGREES for degree in board.degrees)
    count = 3 if board.variant.sends_all else math.ceil(len(raw) / SENSORS_PER_FRAME)
    raw = raw.ljust(count * SENSORS_PER_FRAME, b"\0")
    return [
        bytes([at + 1]) + raw[SENSORS_PER_FRAME * at :][:SENSORS_PER_FRAME] for at in range(count)
    ]


def _text(text: str, count: int) -> list[bytes]:
    raw = text.encode("ascii").ljust(count * _TEXT_BYTES, b"\0")
    return [bytes([at + 1]) + raw[_TEXT_BYTES * at :][:_TEXT_BYTES] for at in range(count)]


def _rated(board: Board) -> list[bytes]:
    capacity_mah = round(1000 * board.capacity_ah)
    return [capacity_mah.to_bytes(4) + _u16(0, round(1000 * _CELL_RATED_V) + 200)]


_ANSWERS: Mapping[int, _Say] = MappingProxyType(
    {
        frame.VOLTAGE: _voltage,
        frame.CELL_RANGE: _cell_range,
        frame.TEMPERATURE_RANGE: _temperature_range,
        frame.MOSFETS: _mosfets,
        frame.COUNTS: _counts,
        frame.CELLS: _cells,
        frame.TEMPERATURES: _temperatures,
        frame.BALANCE: lambda board: [board.balanced.to_bytes(6, "little")],
        frame.ALARMS: lambda board: [board.alarms.to_bytes(8, "little")],
        frame.RATED: _rated,
        frame.PRODUCED: lambda _: [bytes([0, 0, 24, 6, 1])],
        frame.CODE: lambda board: _text(f"{_SERIAL}{board.number:02}", 5),
        frame.HARDWARE: lambda _: _text(_HARDWARE, 2),
        frame.CELL_LIMITS: lambda _: [_u16(3600, 3650, 2800, 2500)],
        frame.BATTERY_LIMITS: lambda board: [
            _u16(*(board.variant.cells * tenths for tenths in (36, 37, 28, 25)))
        ],
    }
)


class Simulator:
    """The boards of one line. `writes` counts the requests that would have set something."""

    baud = 9600

    def __init__(self, boards: Sequence[Board]) -> None:
        self.boards = boards
        self.writes = 0
        self._got = b""
        self._beats: list[Board] = []

    @property
    def polls(self) -> Mapping[str, int]:
        """Count the polls that were answered whole, by device: the cells are asked last."""
        return {board.name: board.polls for board in self.boards}

    def take(self, data: bytes) -> bytes:
        """Take bytes of requests, whole or in parts; give the answers."""
        self._got += data
        self._beats = []
        out = self._newer()
        for asked in frames(self._got):
            self.writes += asked.command not in frame.QUESTIONS
            for board in self.boards:
                answer = b"" if board.variant.newer else board.answer(asked)
                if answer and asked.command == frame.CELLS:
                    self._beats.append(board)
                out += answer
            self._got = b""
        self._got = self._got[-(frame.SIZE - 1) :]
        return out

    def sent(self, answer: bytes, *, whole: bool) -> None:  # noqa: ARG002 - as the line calls it
        """Learn whether the last answer went out whole."""
        for board in self._beats if whole else ():
            board.polls += 1

    def _newer(self) -> bytes:
        """Answer as the newer generation does: 62 registers, of which the first are the cells."""
        asked = self._got[-_NEWER_SIZE:]
        board = next((each for each in self.boards if each.variant.newer), None)
        is_sound = len(asked) == _NEWER_SIZE and crc(asked[:-2]) == asked[-2:]
        if board is None or not is_sound or asked[:2] != bytes([_NEWER_UNIT, HOLDING]):
            return b""
        self._got = b""
        with board.house:
            size = 2 * int.from_bytes(asked[4:6])
            registers = _u16(*board.cells_mv).ljust(size, b"\0")[:size]
        return rtu(_NEWER_UNIT, bytes([HOLDING, len(registers)]) + registers)


def simulator(
    variant: str = "16s",
    *,
    unit: int | None = None,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,  # noqa: ARG001 - all of its faults are those of the line
) -> Simulator:
    """Be one board in a house of its own. `unit`: its number. Raise ConfigError."""
    if variant not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise ConfigError(f"variant: found {variant!r:.60}, expected one of {known}")
    number = 1 if unit is None else unit
    if not 1 <= number <= frame.MOST_BOARDS:
        raise ConfigError(f"unit: found {number}, expected a board from 1 to {frame.MOST_BOARDS}")
    return Simulator([Board("battery", number, VARIANTS[variant], House(clock))])


def simulate(
    devices: Sequence[DeviceSettings],
    *,
    house: House,
    faults: Faults | None = None,  # noqa: ARG001 - all of its faults are those of the line
) -> Simulator:
    """Be all boards at the far end of one link, in a house with others."""
    usual = VARIANTS["16s"]
    return Simulator(
        [Board(each.name, each.options.get("board", 1), usual, house) for each in devices]
    )


SIMULATOR = simulator
