"""Decode the answers of Daly battery managers: a command and the data of its frames in, values out.

    decode(0x90, [bytes.fromhex("020a000075eb0370")]) ->
        {"battery_v": 52.2, "battery_a": -18.7, "battery_w": -976.1, "soc_percent": 88.0}

Names, units and signs are those of the contract: battery current is positive while charging, and
the raw number counts discharge upwards from 30000. What a command does not fill in its eight bytes
is left from an earlier answer, so nothing is read beyond what each command is known to say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from bridges.daly import frame
from bridges.daly.alarms import words
from bridges.daly.frame import by_number
from heliobus.errors import FrameError

Values: TypeAlias = dict[str, bool | int | float | str | list[str]]

MOST_CELLS, MOST_SENSORS = 48, 16
CELLS_PER_FRAME, SENSORS_PER_FRAME = 3, 7
PARTS: Mapping[int, int] = {frame.CODE: 5, frame.HARDWARE: 2}  # of a text
# From 3 cells that are empty to 48 that are full.
_LEAST_V, _MOST_V = 5.0, 210.0
_MOST_A = 1000.0
# 5 V is where the converter ends: what an open sense wire reads.
_LEAST_CELL_MV, _MOST_CELL_MV = 500, 5000
_NO_CURRENT, _NO_DEGREES = 30000, 40
_FULL = 1000  # 0.1 %
_UNUSED = (0x00, 0xFF)  # of a temperature
_MODES = ("idle", "charging", "discharging")
_LEVELS = ("warning", "protection")
_UNITS = {"v": "V", "a": "A", "w": "W", "percent": "%", "c": "°C", "ah": "Ah"}
# Commands that set something; nothing here sends them, but captures of other programs hold them.
_SET_CLOCK, _SET_DISCHARGE, _SET_CHARGE = 0x21, 0xD9, 0xDA


@dataclass(frozen=True, slots=True)
class Counts:
    """How many cells and temperature sensors a board has; None: it has not said."""

    cells: int | None = None
    sensors: int | None = None


NOT_SAID = Counts()


def decode(command: int, answers: Sequence[bytes], counts: Counts = NOT_SAID) -> Values:
    """Give the values of the frames that answer a command, as they came.

    Raise FrameError when they are no answer to it, or not plausible.
    """
    read = _READERS.get(command)
    if read is None:
        return {f"data_{command:02x}": answers[-1].hex()}
    if command not in frame.NUMBERED:
        return read([answers[-1]], counts)
    numbered = by_number(answers)
    if not numbered:
        raise FrameError(f"found frame {answers[-1][0]}, expected 1 to {frame.MOST_FRAMES}")
    return read([numbered[number] for number in sorted(numbered)], counts)


def counts_of(values: Values) -> Counts:
    """Give the counts that an answer to 0x94 says."""
    cells, sensors = values.get("cells_count"), values.get("temperature_sensors_count")
    return Counts(
        cells if isinstance(cells, int) else None, sensors if isinstance(sensors, int) else None
    )


def unit_of(name: str) -> str:
    """Give the unit that a name ends in, as people write it; "" where there is none."""
    return _UNITS.get(name.rpartition("_")[2], "")


# ---------------------------------------------------------------------- commands

_Read = Callable[[Sequence[bytes], Counts], Values]


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2])


def _voltage(answers: Sequence[bytes], _: Counts) -> Values:
    data = answers[0]
    if not any(data):
        raise FrameError(
            "all of 0x90 is zero: the serial side of the board has lost its values;"
            " unplug and plug its cable"
        )
    volts, amps = _u16(data, 0) / 10, (_NO_CURRENT - _u16(data, 4)) / 10
    soc = _u16(data, 6)
    if not _LEAST_V <= volts <= _MOST_V or abs(amps) > _MOST_A or soc > _FULL:
        raise FrameError(
            f"found {volts} V, {amps} A and {soc / 10} %, expected {_LEAST_V:g} to {_MOST_V:g} V,"
            f" at most {_MOST_A:g} A and 100 %"
        )
    values: Values = {"battery_v": volts, "battery_a": amps, "battery_w": round(volts * amps, 1)}
    if gathered := _u16(data, 2):  # zero in every recording
        values["cells_sum_v"] = gathered / 10
    return {**values, "soc_percent": soc / 10}


def _cell_range(answers: Sequence[bytes], counts: Counts) -> Values:
    data = answers[0]
    most_mv, least_mv = _u16(data, 0), _u16(data, 3)
    if not _is_cell(most_mv) or not _is_cell(least_mv) or least_mv > most_mv:
        raise FrameError(
            f"found {most_mv} mV as the highest cell and {least_mv} mV as the lowest, expected"
            f" {_LEAST_CELL_MV} to {_MOST_CELL_MV} mV"
        )
    values: Values = {
        "cell_max_v": most_mv / 1000,
        "cell_min_v": least_mv / 1000,
        "cell_delta_v": (most_mv - least_mv) / 1000,
    }
    known = range(1, (counts.cells or MOST_CELLS) + 1)
    named = {"cell_max_id": data[2], "cell_min_id": data[5]}
    return values | {name: str(cell) for name, cell in named.items() if cell in known}


def _is_cell(millivolts: int) -> bool:
    return _LEAST_CELL_MV <= millivolts <= _MOST_CELL_MV


def _temperature_range(answers: Sequence[bytes], counts: Counts) -> Values:
    data = answers[0]
    if counts.sensors == 0 or not any(data[:4]):
        return {}
    if data[2] > data[0]:
        raise FrameError(
            f"found '{data[:4].hex(' ')}', expected the hottest sensor and then the coldest"
        )
    most = MOST_SENSORS if counts.sensors is None else counts.sensors
    named = {"temperature_max_id": data[1], "temperature_min_id": data[3]}
    values: Values = {
        "temperature_max_c": data[0] - _NO_DEGREES,
        "temperature_min_c": data[2] - _NO_DEGREES,
    }
    return values | {name: str(at) for name, at in named.items() if 1 <= at <= most}


def _mosfets(answers: Sequence[bytes], _: Counts) -> Values:
    data = answers[0]
    return {
        "mode": _MODES[data[0]] if data[0] < len(_MODES) else "unknown",
        "mode_code": data[0],
        "charge_enabled": data[1] != 0,
        "discharge_enabled": data[2] != 0,
        "heartbeat_count": data[3],
        "remaining_ah": int.from_bytes(data[4:]) / 1000,
    }


def _counts(answers: Sequence[bytes], _: Counts) -> Values:
    data = answers[0]
    if not 1 <= data[0] <= MOST_CELLS or data[1] > MOST_SENSORS:
        raise FrameError(
            f"found {data[0]} cells and {data[1]} sensors, expected 1 to {MOST_CELLS} and"
            f" at most {MOST_SENSORS}"
        )
    return {
        "cells_count": data[0],
        "temperature_sensors_count": data[1],
        "charger_connected": data[2] != 0,
        "load_connected": data[3] != 0,
        "gpio_code": data[4],
        "cycles": _u16(data, 5),
    }


def _cells(answers: Sequence[bytes], counts: Counts) -> Values:
    volts: Values = {}
    for data in answers:
        for slot in range(CELLS_PER_FRAME):
            cell = (data[0] - 1) * CELLS_PER_FRAME + slot + 1
            millivolts = _u16(data, 1 + 2 * slot)
            if cell <= (counts.cells or MOST_CELLS) and _is_cell(millivolts):
                volts[f"cell_{cell:02}_v"] = millivolts / 1000
    if not volts:
        raise FrameError(
            f"found no cell between {_LEAST_CELL_MV} and {_MOST_CELL_MV} mV, expected some"
        )
    return volts


def _temperatures(answers: Sequence[bytes], counts: Counts) -> Values:
    degrees: Values = {}
    # Who has said how many sensors there are means the coldest of all by 0.
    unused = _UNUSED if counts.sensors is None else _UNUSED[1:]
    most = MOST_SENSORS if counts.sensors is None else counts.sensors
    for data in answers:
        for slot, raw in enumerate(data[1:], start=1):
            sensor = (data[0] - 1) * SENSORS_PER_FRAME + slot
            if raw not in unused and sensor <= most:
                degrees[f"temperature_{sensor:02}_c"] = raw - _NO_DEGREES
            elif counts.sensors is None:
                break  # sensors stand side by side: what follows a gap was left there
    return degrees


def _balance(answers: Sequence[bytes], counts: Counts) -> Values:
    bits = int.from_bytes(answers[0][:6], "little")
    cells = range(1, (counts.cells or MOST_CELLS) + 1)
    states = {cell: bool(bits >> cell - 1 & 1) for cell in cells}
    # Without the count nobody knows which cells there are.
    shown = states if counts.cells else {cell: True for cell, on in states.items() if on}
    values: Values = {"balancing": any(states.values())}
    return values | {f"cell_{cell:02}_balancing": on for cell, on in shown.items()}


def _alarms(answers: Sequence[bytes], _: Counts) -> Values:
    return {"alarms": list(words(answers[0])), "fault_code": answers[0][7]}


def _rated(answers: Sequence[bytes], _: Counts) -> Values:
    values: Values = {}
    if capacity_mah := int.from_bytes(answers[0][:4]):
        values["capacity_ah"] = capacity_mah / 1000
    if _is_cell(millivolts := _u16(answers[0], 6)):
        values["cell_rated_v"] = millivolts / 1000
    return values


def _produced(answers: Sequence[bytes], _: Counts) -> Values:
    year, month, day = answers[0][2:5]
    try:
        return {"production_date": date(2000 + year, month, day).isoformat()}
    except ValueError as error:
        found = answers[0][2:5].hex(" ")
        raise FrameError(f"found '{found}', expected year, month and day") from error


def _text(name: str, parts: int) -> _Read:
    def read(answers: Sequence[bytes], _: Counts) -> Values:
        numbers = [data[0] for data in answers]
        if numbers != list(range(1, parts + 1)):
            raise FrameError(f"found parts {numbers} of the {name}, expected 1 to {parts}")
        raw = b"".join(data[1:] for data in answers).rstrip(b"\0\xff ")
        text = raw.replace(b"\0", b" ").decode("ascii", "replace")
        if not text.isprintable() or not text.isascii():
            raise FrameError(f"found '{raw.hex(' ')}' as the {name}, expected letters")
        return {name: " ".join(text.split())} if text.split() else {}

    return read


def _limits(of: str, per_volt: int) -> _Read:
    names = tuple(f"{of}_{end}_{what}_v" for end in ("high", "low") for what in _LEVELS)

    def read(answers: Sequence[bytes], _: Counts) -> Values:
        return {
            name: _u16(answers[0], 2 * at) / per_volt
            for at, name in enumerate(names)
            if _u16(answers[0], 2 * at)
        }

    return read


def _switched(name: str) -> _Read:
    return lambda answers, _: {name: answers[0][0] != 0}


_READERS: Mapping[int, _Read] = {
    frame.VOLTAGE: _voltage,
    frame.CELL_RANGE: _cell_range,
    frame.TEMPERATURE_RANGE: _temperature_range,
    frame.MOSFETS: _mosfets,
    frame.COUNTS: _counts,
    frame.CELLS: _cells,
    frame.TEMPERATURES: _temperatures,
    frame.BALANCE: _balance,
    frame.ALARMS: _alarms,
    frame.RATED: _rated,
    frame.PRODUCED: _produced,
    frame.CODE: _text("serial", PARTS[frame.CODE]),
    frame.HARDWARE: _text("model", PARTS[frame.HARDWARE]),
    frame.CELL_LIMITS: _limits("cell", 1000),
    frame.BATTERY_LIMITS: _limits("battery", 10),
    _SET_CLOCK: _switched("ack"),
    _SET_DISCHARGE: _switched("discharge_enabled"),
    _SET_CHARGE: _switched("charge_enabled"),
}
