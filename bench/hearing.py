"""Real bridges that listen: what many inverters of an OpenDTU cost, and what is found at first."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.stage import Stage, memory_mb, wait_for
from bridges.mqtt.simulated_inverter import MODELS
from bridges.mqtt.simulator import Simulator
from heliobus.speaking import Speaker

_BRIDGE = "opendtu"
_CONFIG: Mapping[str, Any] = {"bridges": {_BRIDGE: {"type": "mqtt", "map": "opendtu"}}}
_INVERTERS = 50
_EVERY_S = 5.0
_CPU_S = 30.0
# An inverter with four strings has 57 topics, and the DTU itself 18.
_KEPT = 5000
_OF_DTU, _OF_INVERTER = 18, 57


class Hearing:
    """The bench of inverters of one model: called with a folder, it gives its figures."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.figures = (f"{model}_cpu", f"{model}_pss")

    def __call__(self, folder: Path) -> dict[str, float]:
        """Let all of them answer in each turn, and the bridge listen for 30 s."""
        with (
            Stage(folder, config=_CONFIG) as stage,
            stage.ear("heliobus/+/+/state") as heard,
            Speaker(_dtu(self._model, _INVERTERS), stage.broker),
        ):
            bridge = stage.start("run", _BRIDGE)
            wait_for(lambda: len({m.topic for _, m in list(heard)}) > _INVERTERS, "samples of all")
            cpu_s, samples = bridge.cpu_s, len(heard)
            time.sleep(_CPU_S)
            cpu_s, samples = bridge.cpu_s - cpu_s, len(heard) - samples
            if samples < (_CPU_S / _EVERY_S - 1) * _INVERTERS:
                raise RuntimeError(f"there were only {samples} samples")
            pss_mb = memory_mb(bridge.pid)["Pss"]
        return dict(zip(self.figures, (cpu_s / _CPU_S * 100, pss_mb), strict=True))


def kept(folder: Path) -> dict[str, float]:
    """Let a bridge find what an OpenDTU has left at the broker: names and firmware are of use."""
    inverters = (_KEPT - _OF_DTU) // _OF_INVERTER + 1
    with Stage(folder, config=_CONFIG) as stage, stage.ear("heliobus/+/+/info") as infos:
        with Speaker(_dtu("hm1500", inverters), stage.broker) as speaker:
            wait_for(lambda: speaker.published >= _OF_DTU + inverters * _OF_INVERTER, "all of it")
        bridge = stage.start("run", _BRIDGE)
        wait_for(lambda: len(infos) > inverters, "all devices")
        return {"kept_topics": infos[inverters][0] - bridge.started_s}


def _dtu(model: str, inverters: int) -> Simulator:
    """Give an OpenDTU whose inverters all answer between two of its turns."""
    return Simulator(models=[MODELS[model]] * inverters, poll_s=_EVERY_S / inverters)


BENCHES = [Hearing("hm800"), Hearing("hm1500")]
