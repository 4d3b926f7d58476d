r"""Decode the answers of Voltronic inverters: a command and a payload in, values out.

    take_answer(b"(B\xe7\xc9\r") -> ("B", 5)
    decode("QMOD", "B")          -> {"mode": "battery", "mode_code": 66}

Names, units and signs are those of the contract: battery current and power are positive while
charging, energies are kWh. PV power is never computed from the current of QPIGS: field 12 is
the panels' current on some models and the battery's on others. `battery_w` is `battery_v` times
the net current, which the inverter gives in whole amperes.
"""

import re
from collections.abc import Mapping
from enum import Enum

from bridges.voltronic import pi18, pi30
from bridges.voltronic.columns import Answer, Values
from bridges.voltronic.frame import checksum, command_of, request, take_answer
from heliobus.errors import FrameError

__all__ = [
    "FIELDS",
    "IDENTITY",
    "Layout",
    "Nak",
    "checksum",
    "command_of",
    "decode",
    "decode_line",
    "request",
    "take_answer",
    "unit_of",
]


class Nak(FrameError):
    """The inverter refuses: it does not know the command, or not in this state or range."""


class Layout(Enum):
    """Which inverters QPIGS is read for; nothing in the answer itself tells."""

    PI30 = "pi30"
    REVO = "revo"


_PI18_HEAD = re.compile(r"\^P\d{3}")
# QEY2024 and QPGS0 carry a date or a number behind the command's name.
_DATED = re.compile(r"(Q[EL][YMD]|QPGS)\d+\Z")
_PI18_DATED = re.compile(r"(E[YMD]|PGS|PRI)\d+\Z")
_RAW = Answer(re.compile(""), lambda found: {"fields": found.string.split()}, ("fields",), "")
_UNITS = {
    "v": "V",
    "a": "A",
    "w": "W",
    "va": "VA",
    "hz": "Hz",
    "percent": "%",
    "c": "°C",
    "kwh": "kWh",
    "h": "h",
    "min": "min",
    "s": "s",
}

# What an answer is when nobody says what was asked. Only shapes that no other answer has.
_GUESSES = (
    *("QPIGS", "QPIRI", "QDI", "QPGS0", "QPIWS", "QFLAG", "QMOD", "QPI", "Q1", "QBEQI", "QPIGS2"),
    *("^P005GS", "^P007PIRI", "^P007FLAG", "^P005FWS", "^P007PGS0", "^P007PRI0"),
)

IDENTITY = frozenset(
    {"protocol", "serial", "firmware", "firmware_2", "firmware_3", "model", "model_code"}
)
"""Names that tell who the inverter is; the bridge does not publish these as values."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    **{command: answer.names for command, answer in pi30.ANSWERS.items()},
    **{f"{command} (other)": answer.names for command, answer in pi30.OTHERS.items()},
    **{f"^P {command}": answer.names for command, answer in pi18.ANSWERS.items()},
    "QPIGS (Revo)": pi30.REVO_STATUS.names,
    "POP": ("ack",),
    "anything else": _RAW.names,
}
"""Every name of a value that the answer to a command can give."""


def decode(command: str, payload: str, layout: Layout = Layout.PI30) -> Values:
    """Give the values of an answer's payload. A command without a table gives `fields`, raw.

    Raise Nak when the inverter refused, FrameError when the payload cannot be the answer to
    this command: it may be the late answer to another.
    """
    if payload in ("NAK", "^0"):
        raise Nak(f"{command}: the inverter refuses it (NAK)")
    if command[:1] == "Q" or command[:2] == "^P":
        return _query(command, payload, layout)
    if payload in ("ACK", "^1"):
        return {"ack": True}
    raise FrameError(f"{command}: found {payload!r:.60}, expected ACK or NAK")


def decode_line(request: bytes | None, response: bytes) -> tuple[Values, dict[str, str]]:
    """Decode one captured exchange: the values, and the unit of each. Raise FrameError.

    A refusal is `ack: false`. Without a request the answer is known by its shape where only one
    fits; else it is given as raw `fields`.
    """
    taken = take_answer(response)
    if taken is None:
        raise FrameError(f"found {len(response)} bytes without an end, expected CR")
    payload = taken[0]
    command = command_of(request) if request else None
    if payload in ("NAK", "^0"):
        values: Values = {"ack": False}
    elif command is None:
        values = _guess(payload)
    else:
        values = decode(command, payload)
    return values, {name: unit_of(name) for name in values}


def unit_of(name: str) -> str:
    """Give the unit that a name ends in, as people write it; "" where there is none."""
    return _UNITS.get(name.rpartition("_")[2], "") if "_" in name else ""


def _query(command: str, payload: str, layout: Layout) -> Values:
    answer = _answer_to(command)
    if answer is pi30.STATUS and layout is Layout.REVO:
        answer = pi30.REVO_STATUS
    values = None if payload in ("ACK", "^1") else answer.take(payload)
    if values is None and command in pi30.OTHERS:
        values = pi30.OTHERS[command].take(payload)
    if values is None:
        raise FrameError(f"{command}: found {payload!r:.60}, expected {answer.expected}")
    return values


def _answer_to(command: str) -> Answer:
    if command in pi30.ANSWERS:
        return pi30.ANSWERS[command]
    if head := _PI18_HEAD.match(command):
        name = command[head.end() :]
        dated = _PI18_DATED.match(name)
        return pi18.ANSWERS.get(dated.group(1) if dated else name, pi18.RAW)
    if dated := _DATED.match(command):
        return pi30.ANSWERS[dated.group(1)]
    return _RAW


def _guess(payload: str) -> Values:
    if payload in ("ACK", "^1"):
        return {"ack": True}
    for command in _GUESSES:
        if (values := _answer_to(command).take(payload)) is not None:
            return values
    return {"fields": payload.split()}
