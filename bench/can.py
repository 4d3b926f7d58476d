"""A real bridge on a CAN bus with much traffic: what listening costs, and whether all is heard."""

import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bench.stage import Stage, wait_for
from heliobus.contract import load
from heliobus.simulation import serve_pty
from heliobus.slcan import encode

_FRAMES_A_S: Final = 200
_FRAMES: Final = 3000
_BAUD: Final = 115200
_STATUS_S: Final = 25.0  # two of its turns
_BURST: Final = (
    (0x351, bytes.fromhex("1402740E740ECC01")),
    (0x355, bytes.fromhex("6300630000000000")),
    (0x356, bytes.fromhex("4E1302004A010000")),
    (0x359, bytes.fromhex("0000000002504E00")),
    (0x35C, bytes.fromhex("C000")),
    (0x35E, b"PYLON   "),
)


class _Busy:
    """An adapter on a bus with so many frames a second, while it is open and has some left."""

    baud = _BAUD

    def __init__(self) -> None:
        self.said = 0
        self._begun_s: float | None = None
        self._got = b""

    def take(self, data: bytes) -> bytes:
        *lines, self._got = (self._got + data).split(b"\r")
        if b"O" in lines:
            self._begun_s = -1.0
        return b"\r" * len(lines)

    def say(self, now_s: float) -> bytes:
        if self._begun_s is None or self.said >= _FRAMES:
            return b""
        if self._begun_s < 0:
            self._begun_s = now_s
        due = min(_FRAMES, int((now_s - self._begun_s) * _FRAMES_A_S))
        frames = [encode(*_BURST[number % len(_BURST)]) for number in range(self.said, due)]
        self.said = due
        return b"".join(frames)

    def silent_s(self, now_s: float) -> float | None:
        if self._begun_s is None or self.said >= _FRAMES:
            return None
        return max(0.0, self._begun_s + (self.said + 1) / _FRAMES_A_S - now_s)


def listening(folder: Path) -> dict[str, float]:
    """Let a bridge listen to 200 frames a second for 15 s."""
    adapter = _Busy()
    path = folder.parent / "tty"
    link = f"can:slcan/{path}?bitrate=500000"
    bridges = {"pack": {"type": "can", "link": link, "devices": {"bms": {"every": "1s"}}}}
    with Stage(folder, config={"bridges": bridges}) as stage, stage.ear("heliobus/+/#") as heard:
        bridge = stage.start("run", "pack")
        wait_for(lambda: any(m.topic.endswith("bus/pack/status") for _, m in list(heard)), "it")
        with serve_pty(adapter, baud=_BAUD, link_path=path):
            wait_for(lambda: adapter.said > 2 * _FRAMES_A_S, "the first frames")
            cpu_s, began_s, said = bridge.cpu_s, time.monotonic(), adapter.said
            wait_for(lambda: adapter.said == _FRAMES, "all frames", 60.0)
            share = (bridge.cpu_s - cpu_s) / (time.monotonic() - began_s) * 100
            if (adapter.said - said) / (time.monotonic() - began_s) < 0.9 * _FRAMES_A_S:
                raise RuntimeError("the adapter did not keep its pace")
            newest: deque[int] = deque(maxlen=1)

            def counted() -> bool:
                for _, message in list(heard):
                    if message.topic.endswith("bus/pack/status"):
                        newest.append(_count(message.payload, link))
                return bool(newest) and newest[-1] >= _FRAMES

            with suppress(TimeoutError):  # some were missed
                wait_for(counted, "all frames in the status", _STATUS_S)
    return {"can_cpu": share, "can_missed": _FRAMES - newest[-1]}


def _count(payload: bytes, link: str) -> int:
    status: Any = load().parse("status", payload)
    return int(status.get("links", {}).get(link, {}).get("frames", 0))
