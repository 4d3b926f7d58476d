"""Real bridges on lines as slow as real ones: how near a poll is to what bytes and silences take.

What a poll must ask is written down here, not taken from the bridges: a question too many shows.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.stage import wait_for
from bridges import aurora, daly
from bridges.aurora.simulator import simulate as simulate_inverters
from heliobus import components
from heliobus.house import DAY_S, House
from heliobus.line import Faults
from heliobus.settings import DeviceSettings
from heliobus.simulation import serve_pty

_BITS: Final = 10
_POLLS: Final = 5
_NOON_S: Final = 20_000 * DAY_S + 12 * 3600.0

# Of Daly: the frames of the answers to 0x90, 0x91, 0x93 and 0x98, and to 0x95 of 16 cells.
_DALY_BAUD, _DALY_FRAME = 9600, 13
_DALY_ANSWERS: Final = (1, 1, 1, 1, 6)
_DALY_GAP_S, _DALY_LATENCY_S = 0.02, 0.05
_CELLS: Final = {f"cell_{number:02}_v" for number in range(1, 17)}
_TOLD: Final = {"battery_v", "battery_a", "cell_max_v", "alarms", "mode"} | _CELLS

# Of Aurora: the state, and of each of two inputs and of the output volts, amperes and watts.
_AURORA_BAUD, _AURORA_BYTES = 19200, 10 + 8
_AURORA_QUESTIONS: Final = 1 + 3 * 3
_AURORA_GAP_S: Final = 0.05
_ADDRESSES: Final = (2, 3, 4)
_DOUBTS_S: Final = 40.0  # a line is doubted for 30 s after it was opened, at one question a poll
_STRINGS: Final = {f"pv_{at}_{unit}" for at in ("01", "02") for unit in ("v", "a", "w")}
_MEASURED: Final = {"mode", "grid_v", "output_a", "output_w"} | _STRINGS


def of_daly(folder: Path, *, polls: int = _POLLS) -> dict[str, float]:
    """Ask a board with 16 cells, which takes 50 ms for each answer, for what is asked at 1 Hz."""
    folder.mkdir()
    board = daly.BRIDGE(DeviceSettings("bank", 1.0, ""))
    late = Faults({"slow": 1.0}, slow_s=_DALY_LATENCY_S)
    simulated = components.simulator("daly")()
    with serve_pty(simulated, baud=_DALY_BAUD, faults=late, link_path=folder / "tty") as line:
        link = daly.BRIDGE.open_link(line.url, [board])
        try:
            _polled_s(link, "status", [board], _TOLD)
            took_s = _polled_s(link, "status", [board] * polls, _TOLD) / polls
        finally:
            link.close()
    frames = len(_DALY_ANSWERS) + sum(_DALY_ANSWERS)
    best_s = frames * _DALY_FRAME * _BITS / _DALY_BAUD
    best_s += len(_DALY_ANSWERS) * (_DALY_GAP_S + _DALY_LATENCY_S)
    return {"daly": took_s / best_s, "daly_poll": took_s}


def of_aurora(folder: Path, *, polls: int = _POLLS, settles: bool = True) -> dict[str, float]:
    """Ask three inverters on one line for what is asked every 10 s."""
    folder.mkdir()
    settings = [DeviceSettings(f"at_{a}", 10.0, "", {"address": a}) for a in _ADDRESSES]
    inverters = [aurora.BRIDGE(each) for each in settings]
    simulated = simulate_inverters(settings, house=House(lambda: _NOON_S))
    with serve_pty(simulated, baud=_AURORA_BAUD, link_path=folder / "tty") as line:
        link = aurora.BRIDGE.open_link(line.url, inverters)
        try:
            _polled_s(link, "beat", inverters, _MEASURED)
            wait_for(lambda: not (settles and link.doubtful), "the end of all doubts", _DOUBTS_S)
            took_s = _polled_s(link, "beat", inverters * polls, _MEASURED) / polls
        finally:
            link.close()
    exchange_s = _AURORA_GAP_S + _AURORA_BYTES * _BITS / _AURORA_BAUD
    best_s = len(inverters) * _AURORA_QUESTIONS * exchange_s
    return {"aurora": took_s / best_s, "aurora_poll": took_s}


def _polled_s(link: Any, group: str, bridges: Sequence[Any], wanted: set[str]) -> float:
    """Give how long it takes to poll these, one after the other."""
    began_s = time.perf_counter()
    told = [bridge.poll(link, group) for bridge in bridges]
    took_s = time.perf_counter() - began_s
    for values in told:
        if missing := wanted - set(values):
            raise RuntimeError(f"the poll did not give {', '.join(sorted(missing))}")
    return took_s
