"""Real bridges that read registers: how near a refresh is to the best plan, and what eight cost."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.stage import Stage, memory_mb, wait_for
from bridges.modbus import BRIDGE
from bridges.modbus.registers import Group, Row
from heliobus import components
from heliobus.settings import DeviceSettings
from heliobus.simulation import serve_pty, serve_tcp

_BAUD = 9600
_BYTE_S = 10 / _BAUD
_GAP_S = 0.06
_FRAME_BYTES = 8 + 5  # a request, and an answer but for its registers
_METER = "eastron_sdm230"
_MOST = 80
_DEVICES = 8
_CPU_S = 30.0


def refresh(folder: Path) -> dict[str, float]:
    """Read all values of a meter on a line as slow as a real one: as planned, and one by one."""
    folder.mkdir()
    simulated = components.simulator("modbus")(variant=_METER)
    with serve_pty(simulated, baud=_BAUD, link_path=folder / "tty") as line:
        planned_s, rows = _refresh(line.url)
        singly_s, _ = _refresh(line.url, max_registers=2)
    return {
        "refresh": planned_s / _best_s(rows),
        "refresh_planned": planned_s,
        "refresh_singly": singly_s,
    }


def _refresh(url: str, **options: Any) -> tuple[float, Sequence[Row]]:
    """Give how long all values take, and what they are."""
    settings = DeviceSettings("meter", 60.0, url, {"profile": _METER, "pause": _GAP_S, **options})
    bridge = BRIDGE(settings)
    link = BRIDGE.open_link(url, [bridge])
    try:
        bridge.poll(link, "fast")
        began_s = time.perf_counter()
        values = bridge.poll(link, "fast")
        took_s = time.perf_counter() - began_s
    finally:
        link.close()
    rows = [row for row in bridge.profile.rows if row.group is not Group.ONCE]
    if {row.name for row in rows} != set(values):
        raise RuntimeError("the meter did not give all of its values")
    return took_s, rows


def _best_s(rows: Sequence[Row]) -> float:
    """Give what bytes and gaps take at least, however the registers are divided into requests."""
    rows = sorted(rows, key=lambda row: row.at)
    best_s = [0.0]
    for last in range(len(rows)):
        spans = ((first, rows[last].end - rows[first].at) for first in range(last + 1))
        best_s.append(
            min(
                best_s[first] + _GAP_S + (_FRAME_BYTES + 2 * count) * _BYTE_S
                for first, count in spans
                if count <= _MOST
            )
        )
    return best_s[-1]


class Eight:
    """The bench of eight meters in one process: called with a folder, it gives its figures."""

    def __init__(self, name: str, serve: Callable[[Path], Any]) -> None:
        self._serve = serve
        self.figures = (f"{name}_cpu", f"{name}_pss")

    def __call__(self, folder: Path) -> dict[str, float]:
        """Ask each once a second for 30 s."""
        with ExitStack() as lines:
            ports = folder.parent
            urls = [
                lines.enter_context(self._serve(ports / f"tty{number}")).url
                for number in range(_DEVICES)
            ]
            devices = {
                f"meter{number}": {"link": url, "profile": _METER, "every": "1s"}
                for number, url in enumerate(urls)
            }
            config = {"bridges": {"meters": {"type": "modbus", "devices": devices}}}
            with Stage(folder, config=config) as stage, stage.ear("heliobus/+/+/state") as heard:
                bridge = stage.start("run", "meters")
                wait_for(lambda: len({m.topic for _, m in list(heard)}) == _DEVICES, "all meters")
                cpu_s, samples = bridge.cpu_s, len(heard)
                time.sleep(_CPU_S)
                cpu_s, samples = bridge.cpu_s - cpu_s, len(heard) - samples
                if samples < (_CPU_S - 2) * _DEVICES:
                    raise RuntimeError(f"there were only {samples} samples")
                pss_mb = memory_mb(bridge.pid)["Pss"]
        return dict(zip(self.figures, (cpu_s / _CPU_S * 100, pss_mb), strict=True))


def _on_a_line(path: Path) -> Any:
    simulated = components.simulator("modbus")(variant=_METER)
    return serve_pty(simulated, baud=_BAUD, link_path=path)


def _on_the_network(_path: Path) -> Any:
    return serve_tcp(components.simulator("modbus")(variant=_METER, tcp=True))


BENCHES = [Eight("rtu", _on_a_line), Eight("modbus_tcp", _on_the_network)]
