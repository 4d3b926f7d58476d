"""All components of a configuration as supervised processes, and the broker where it is ours."""

import gc
from collections.abc import Sequence
from dataclasses import replace

from heliobus import components, contract
from heliobus.errors import ConfigError
from heliobus.own_broker import OwnBroker
from heliobus.process import Lock, run_component
from heliobus.settings import Settings
from heliobus.supervisor import Supervisor


def run(settings: Settings, only: Sequence[str] | None = None) -> int:
    """Run the components of the configuration (or only some) until a signal. Return 0 or 78."""
    names = [name for name in (*settings.bridges, *settings.sinks) if not only or name in only]
    if not names:
        raise ConfigError("nothing to run: the configuration has neither bridges nor sinks")
    for name in names:  # before a broker is started for nothing
        with Lock(settings.data, name):
            pass
    broker = OwnBroker(settings.broker, settings.data / "broker", settings)
    broker.start(share=True)
    # What all children share is loaded once and never looked at by the garbage collector again,
    # so that its memory stays shared.
    rules = contract.load()
    for bridge in settings.bridges.values():
        components.bridge(bridge.type)
    gc.collect()
    gc.freeze()
    try:
        supervisor = Supervisor(
            names,
            lambda name: run_component(replace(settings, broker=broker.settings), name, rules),
        )

        def tend() -> None:
            before = broker.settings
            broker.tend()
            if broker.settings != before:  # it is another broker now, which asks for passwords
                supervisor.restart()

        return supervisor.run(tend=tend)
    finally:
        broker.stop()
