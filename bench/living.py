"""Real bridges that run: how soon they measure, what they cost, how soon they end."""

import os
import signal
import time
from pathlib import Path

from bench.stage import Inverter, Process, Stage, memory_mb, wait_for

_CPU_S = 30.0
_LAST_ASKED = (b"QGMN", b"QLD")  # of identity and energy: after these it has asked everything once
_BEAT = 3  # requests: QPIGS, QMOD, QPIGS2


def alone(folder: Path) -> dict[str, float]:
    """Run one bridge from its start through a whole sweep and 30 s more to its end."""
    with Stage(folder, bridges=1) as stage, stage.ear("heliobus/+/+/state") as heard:
        inverter = stage.inverters[0]
        bridge = stage.start("run", "bridge1")
        first_sample_s, _ = wait_for(lambda: heard[0] if heard else None, "the first sample")
        beat = inverter.exchanges[:_BEAT]
        wait_for(lambda: _swept(inverter), "a whole sweep", 120)
        cpu_s = bridge.cpu_s
        time.sleep(_CPU_S)
        memory = memory_mb(bridge.pid)
        return {
            "first_request": beat[0].began_s - bridge.started_s,
            "first_sample": (first_sample_s - beat[0].began_s) / sum(e.wire_s for e in beat),
            "cpu_at_1_hz": (bridge.cpu_s - cpu_s) / _CPU_S * 100,
            "pss_alone": memory["Pss"],
            "rss_alone": memory["Rss"],
            "stop": bridge.stop(),
        }


def together(folder: Path) -> dict[str, float]:
    """Run eight bridges under `heliobus up` through a whole sweep."""
    with Stage(folder, bridges=8) as stage:
        parent = stage.start("up")
        for inverter in stage.inverters:
            wait_for(lambda inverter=inverter: _swept(inverter), "a whole sweep", 120)  # type: ignore[misc]
        largest_mb = max(memory_mb(pid)["Pss"] for pid in parent.children)
        parent.stop()
        return {"pss_under_up": largest_mb}


def stopping(folder: Path) -> dict[str, float]:
    """Stop bridges at bad moments."""
    with Stage(folder / "read", bridges=1) as stage:
        bridge = _running(stage)
        inverter = stage.inverters[0]
        inverter.halved = True
        before = len(inverter.exchanges)
        wait_for(lambda: len(inverter.exchanges) > before, "a question")
        time.sleep(inverter.exchanges[-1].wire_s)  # until half of an answer has arrived
        in_a_read_s = bridge.stop()
    with Stage(folder / "broker", bridges=1) as stage:
        bridge = _running(stage)
        os.kill(stage.running_broker.pid, signal.SIGKILL)
        log = stage.folder / "heliobus.log"
        wait_for(lambda: "connection is lost" in log.read_text(), "the loss of the broker")
        without_broker_s = bridge.stop()
    return {"stop_in_a_read": in_a_read_s, "stop_without_broker": without_broker_s}


def _running(stage: Stage) -> Process:
    """Start a bridge and wait for its first sample."""
    with stage.ear("heliobus/+/+/state") as heard:
        bridge = stage.start("run", "bridge1")
        wait_for(lambda: bool(heard), "the first sample")
    return bridge


def _swept(inverter: Inverter) -> bool:
    return all(map(inverter.asked, _LAST_ASKED))
