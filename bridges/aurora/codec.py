r"""Decode the answers of Aurora inverters: a question and six bytes in, values out.

    decode(Question(59, 3), bytes.fromhex("00 06 45 9e 16 e1"))  -> {"output_w": 5058.86}
    decode(Question(63), b"123456")                              -> {"serial": "123456"}

Names, units and signs are those of the contract: what it feeds in is `output_*`, the grid that it
sees `grid_*`, energies are kWh. A number that nobody knows is given beside the text `unknown`.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

from bridges.aurora import frame, tables
from bridges.aurora.frame import is_request, take_answer, take_request
from heliobus.errors import FrameError

__all__ = [
    "IDENTITY",
    "RAW",
    "Question",
    "Refused",
    "Unsupported",
    "Values",
    "alarm_of",
    "decode",
    "decode_line",
    "take_answer",
    "unit_of",
]

Values: TypeAlias = dict[str, bool | int | float | str | list[str]]

UNKNOWN: Final = "unknown"
IDENTITY: Final = frozenset({"serial", "firmware", "model"})
"""Names that tell who the inverter is; the bridge does not publish these as values."""

RAW: Final = frozenset(
    {
        *("payload_hex", "text", "transmission_state", "transmission_state_code", "version"),
        *("flag_01_code", "flag_02_code", "switch_01_code", "switch_02_code", "whole_plant"),
        *("dcdc_grid_v", "dcdc_grid_hz", "dcdc_bus_v", "grid_neutral_phase_v"),
        *("bulk_ring_reference_v", "panel_micro_v", "yield_7_days_kwh", "yield_days_kwh"),
        *("yield_10_s_kwh", "last_alarms", "setup", "setup_code", "input_type", "days"),
        *("junction_box_state_code", "junction_boxes_code", "transformer", "transformer_code"),
        "modules_count",
        *(f"alarm_{number:02}_code" for number in range(1, 5)),
    }
)
"""Names that only captured bytes have; the bridge never asks for these."""

_DATA = 2  # where the data begins, after the two states
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - in the local time of the inverter
_WEEK = re.compile(rb"(\d\d)(\d\d)\Z")
_WH, _WS = 1e3, 3.6e6  # in a kWh
_LAST_DAYS = 5  # the period of 68 that has a number of days
_UNITS = MappingProxyType(
    {
        "v": "V",
        "a": "A",
        "w": "W",
        "hz": "Hz",
        "c": "°C",
        "ohm": "Ω",
        "kwh": "kWh",
        "rpm": "rpm",
        "s": "s",
    }
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a command, and its first arguments: which measure or period, of what."""

    command: int
    index: int = 0
    second: int = 0
    third: int = 0
    fourth: int = 0

    @property
    def arguments(self) -> tuple[int, ...]:
        """Give the bytes that follow the command."""
        return self.index, self.second, self.third, self.fourth

    def __str__(self) -> str:
        """Name it for messages: `measure 3`."""
        title = frame.TITLES.get(self.command, f"command {self.command}")
        return f"{title} {self.index}" if self.command in _BY_INDEX else title


class Refused(FrameError):
    """The inverter answers that it does not answer this; `state` says why."""

    def __init__(self, question: Question | None, state: int) -> None:
        self.state = state
        what = f"{question}: " if question else ""
        super().__init__(f"{what}refused, {tables.TRANSMISSION[state]} ({state})")


class Unsupported(Refused):
    """It has no such command or measure."""


def decode(question: Question, payload: bytes, *, tenths: bool = False) -> Values:
    """Give the values of an answer's six bytes. Raise Refused, FrameError.

    `tenths`: temperatures 47 to 52 are counted in tenths of a degree.
    """
    if question.command in _TEXTS:
        return _text(question, payload)
    check_transmission(question, payload[0])
    data = payload[_DATA:]
    if question.command == frame.MEASURE:
        return _measure(question, data, tenths=tenths)
    read = _READERS.get(question.command)
    if read is None:
        return {"payload_hex": payload.hex(" ")}
    return read(question, payload)


def check_transmission(question: Question | None, state: int) -> None:
    """Raise what a transmission state other than 0 means."""
    if state == 0:
        return
    if state not in tables.TRANSMISSION:
        known = "0 or 51 to 58"
        raise FrameError(f"{question}: transmission state is {state}, expected {known}")
    raise (Unsupported if state in tables.UNSUPPORTED else Refused)(question, state)


def decode_line(request: bytes | None, response: bytes) -> tuple[Values, dict[str, str]]:
    """Decode one captured exchange: the values, and the unit of each. Raise FrameError.

    An echo of the request before the answer is passed over. Without a request only the states
    can be told, or the letters of an answer that has none.
    """
    head = None if request is None else take_request(request)
    if request is not None and response.startswith(request):
        response = response[len(request) :]
        if not response:
            raise FrameError("only the echo of the request, expected an answer after it")
    if is_request(response[: frame.REQUEST]):
        raise FrameError("found a request, expected an answer of 8 bytes")
    taken = take_answer(response)
    if taken is None:
        raise FrameError(f"found {len(response)} bytes, expected an answer of {frame.ANSWER}")
    values = _alone(taken[0]) if head is None else _asked(head, taken[0])
    return values, {name: unit_of(name) for name in values}


def alarm_of(code: int) -> str:
    """Give an alarm as the display shows it: `W001 sun low`."""
    return tables.ALARM.get(code, f"{UNKNOWN} {code}")


def unit_of(name: str) -> str:
    """Give the unit that a name ends in, as people write it; "" where there is none."""
    return _UNITS.get(name.rpartition("_")[2], "") if "_" in name else ""


# ---------------------------------------------------------------------- captured lines


def _asked(head: bytes, payload: bytes) -> Values:
    question = Question(head[1], *head[_DATA : _DATA + 4])
    values = decode(question, payload)
    if question.command in _TEXTS or question.command in _OTHER_STATES:
        return values
    if _is_of_plant(question):
        values["whole_plant"] = True
    return values | _global(payload[1])


def _is_of_plant(question: Question) -> bool:
    """Say whether the master was asked for all inverters of a plant."""
    match question.command:
        case frame.MEASURE:
            return question.second == 1
        case frame.FLOAT_ENERGY:
            return question.fourth == 1
    return False


def _alone(payload: bytes) -> Values:
    """Give what is certain of an answer whose question nobody knows."""
    text = payload.decode("ascii", "replace")
    if text.isascii() and text.isprintable():
        return {"text": text}
    values: Values = {"payload_hex": payload.hex(" ")}
    if text[_DATA:].isascii() and text[_DATA:].isprintable():
        values["text"] = text[_DATA:]
    if payload[0] in tables.TRANSMISSION:
        state = tables.TRANSMISSION[payload[0]]
        values |= {"transmission_state": state, "transmission_state_code": payload[0]}
        values |= _global(payload[1])
    return values


# ---------------------------------------------------------------------- one answer


def _text(question: Question, payload: bytes) -> Values:
    """Read the letters of an answer that has no states. Raise Refused, FrameError."""
    text = payload.rstrip(b"\0").decode("ascii", "replace")
    if payload[0] in tables.TRANSMISSION and not any(payload[_DATA:]):
        check_transmission(question, payload[0])
        text = ""
    if not (text and text.isascii() and text.isprintable()):
        raise FrameError(f"{question}: found '{payload.hex(' ')}', expected six letters")
    return {_TEXTS[question.command]: text.strip()}


def _measure(question: Question, data: bytes, *, tenths: bool) -> Values:
    value = _float(question, data)
    measure = tables.MEASURES.get(question.index)
    if measure is None:
        return {f"measure_{question.index:02}": value}
    if measure.tenths and tenths:
        return {measure.name: round(value / 10, 4)}
    return {measure.name: round(value * measure.factor) if measure.factor != 1 else value}


def _float(question: Question, data: bytes) -> float:
    """Read a float of four bytes, with as many digits as it has."""
    (value,) = struct.unpack(">f", data)
    if not math.isfinite(value):
        raise FrameError(f"{question}: found '{data.hex(' ')}', expected a finite number")
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if _bytes(short) == data:
            return short
    return float(f"{value:.9g}")


def _bytes(value: float) -> bytes:
    try:
        return struct.pack(">f", value)
    except OverflowError:  # rounded up beyond the largest
        return b""


def _global(code: int) -> Values:
    text, _ = tables.GLOBAL.get(code, (UNKNOWN, UNKNOWN))
    return {"global_state": text, "global_state_code": code}


def _state(_: Question, payload: bytes) -> Values:
    code, inverter, first, second, alarm = payload[1:]
    mode = tables.GLOBAL.get(code, (UNKNOWN, UNKNOWN))[1]
    if mode == tables.RUNNING:
        mode = tables.NOT_RUNNING.get(inverter, mode)
    return {
        "mode": mode,
        "mode_code": code,
        **_global(code),
        "inverter_state": tables.INVERTER.get(inverter, UNKNOWN),
        "inverter_state_code": inverter,
        "dcdc_01_state": tables.DCDC.get(first, UNKNOWN),
        "dcdc_01_state_code": first,
        "dcdc_02_state": tables.DCDC.get(second, UNKNOWN),
        "dcdc_02_state_code": second,
        "alarms": [alarm_of(alarm)] if alarm else [],
        "alarm_code": alarm,
    }


def _version(question: Question, payload: bytes) -> Values:
    text = payload[_DATA:].decode("ascii", "replace")
    if not (text.isascii() and text.isprintable()):
        raise FrameError(f"{question}: found '{payload.hex(' ')}', expected four letters")
    model, standard, topology, source = tuple(text)
    known = tables.MODELS.get(model)
    return {
        "version": text,
        "model": known.name if known else f"{UNKNOWN} {model}",
        "grid_standard": tables.STANDARDS.get(standard, f"{UNKNOWN} {standard}"),
        "topology": tables.TOPOLOGIES.get(topology, f"{UNKNOWN} {topology}"),
        "input_type": tables.SOURCES.get(source, f"{UNKNOWN} {source}"),
    }


def _made(question: Question, payload: bytes) -> Values:
    found = _WEEK.match(payload[_DATA:])
    if found is None:
        raise FrameError(f"{question}: found '{payload.hex(' ')}', expected week and year")
    week, year = (part.decode() for part in found.groups())
    return {"production_date": f"20{year}-W{week}"}


def _flags(_: Question, payload: bytes) -> Values:
    names = ("flag_01_code", "flag_02_code", "switch_01_code", "switch_02_code")
    return dict(zip(names, payload[_DATA:], strict=True))


def _clock(_: Question, payload: bytes) -> Values:
    seconds = int.from_bytes(payload[_DATA:])
    return {"device_time": (_EPOCH + timedelta(seconds=seconds)).isoformat()}


def _firmware(question: Question, payload: bytes) -> Values:
    text = payload[_DATA:].decode("ascii", "replace")
    if not (text.isascii() and text.isprintable()):
        raise FrameError(f"{question}: found '{payload.hex(' ')}', expected four letters")
    return {"firmware": ".".join(text)}


def _energy(question: Question, payload: bytes) -> Values:
    name = tables.ENERGIES.get(question.index, f"period_{question.index:02}_kwh")
    return {name: int.from_bytes(payload[_DATA:]) / _WH}


def _float_energy(question: Question, payload: bytes) -> Values:
    name = tables.FLOAT_ENERGIES.get(question.index, f"period_{question.index:02}_kwh")
    values: Values = {name: round(_float(question, payload[_DATA:]) / _WH, 6)}
    if question.index == _LAST_DAYS:
        values["days"] = question.second * 256 + question.third
    return values


def _last_10_s(_: Question, payload: bytes) -> Values:
    return {"yield_10_s_kwh": int.from_bytes(payload[_DATA : _DATA + 2]) / _WS}


def _setup(_: Question, payload: bytes) -> Values:
    code = payload[_DATA]
    return {"setup": tables.SETUPS.get(code, UNKNOWN), "setup_code": code}


def _alarms(_: Question, payload: bytes) -> Values:
    codes = payload[_DATA:]
    values: Values = {f"alarm_{at:02}_code": code for at, code in enumerate(codes, start=1)}
    return {"last_alarms": [alarm_of(code) for code in codes if code], **values}


def _central(question: Question, payload: bytes) -> Values:
    code = payload[_DATA]
    match question.index:
        case 1:
            return {"transformer": tables.TRANSFORMERS.get(code, UNKNOWN), "transformer_code": code}
        case 2:
            return {"modules_count": code}
    return {"payload_hex": payload.hex(" ")}


def _boxes(_: Question, payload: bytes) -> Values:
    """Say by bits which junction boxes there are; where it has none, the bytes mean nothing."""
    return {"junction_boxes_code": int.from_bytes(payload[4:]) if payload[1] else 0}


def _box_state(_: Question, payload: bytes) -> Values:
    return {"junction_box_state_code": payload[1]}


def _box_value(question: Question, payload: bytes) -> Values:
    return {f"junction_box_{question.second:02}": _float(question, payload[_DATA:])}


_BY_INDEX = frozenset({frame.MEASURE, frame.ENERGY, frame.FLOAT_ENERGY})
_TEXTS = MappingProxyType({frame.PART: "hardware_part", frame.SERIAL: "serial"})
# Junction boxes of central inverters answer with a state of their own in its place.
_CENTRAL, _BOXES, _BOX_STATE, _BOX_VALUE = 101, 103, 200, 201
_OTHER_STATES = frozenset({_BOXES, _BOX_STATE, _BOX_VALUE})
_READERS: Mapping[int, Callable[[Question, bytes], Values]] = MappingProxyType(
    {
        frame.STATE: _state,
        frame.VERSION: _version,
        frame.MADE: _made,
        frame.FLAGS: _flags,
        frame.FLOAT_ENERGY: _float_energy,
        frame.CLOCK: _clock,
        frame.FIRMWARE: _firmware,
        frame.LAST_10_S: _last_10_s,
        frame.SETUP: _setup,
        frame.ENERGY: _energy,
        frame.ALARMS: _alarms,
        _CENTRAL: _central,
        _BOXES: _boxes,
        _BOX_STATE: _box_state,
        _BOX_VALUE: _box_value,
    }
)
