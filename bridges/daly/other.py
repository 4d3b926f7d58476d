"""The newer generation of Daly, which speaks a sort of Modbus RTU: recognised, and not read."""

import time

from heliobus.link import Link
from heliobus.modbus import HOLDING, Read, find_rtu, rtu

# Its own address, whatever the board number is; and the first of those by board number.
_ALWAYS, _FIRST_BOARD = 0xD2, 0x81
# A board asked as 0x81 answers as 0x51.
_ANSWER_BITS = 0xD0
_STATUS_REGISTERS = 62
_GAP_S = 0.02

NAMED = (
    "it is a Daly of the newer generation (H, K, M or S series), which speaks Modbus;"
    " this bridge reads those that speak the A5 protocol, and cannot read it"
)


def is_newer(link: Link, board: int, timeout_s: float) -> bool:
    """Say whether a board that is silent answers a read of its status registers."""
    return any(_answers(link, unit, timeout_s) for unit in (_ALWAYS, _FIRST_BOARD - 1 + board))


def _answers(link: Link, unit: int, timeout_s: float) -> bool:
    question = Read(unit, HOLDING, 0, _STATUS_REGISTERS)
    units = (unit,) if unit == _ALWAYS else (unit, unit ^ _ANSWER_BITS)
    link.read(_GAP_S)
    link.write(rtu(unit, question.pdu))
    got, deadline_s = b"", time.monotonic() + timeout_s
    while (left_s := deadline_s - time.monotonic()) > 0 and (more := link.read(left_s)):
        got += more
        for each in units:
            if find_rtu(Read(each, HOLDING, 0, _STATUS_REGISTERS), got):
                return True
    return False
