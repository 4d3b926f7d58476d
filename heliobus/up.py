"""All components of a configuration as supervised processes, and the broker where it is ours."""

import gc
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

from heliobus import components, contract, simulated_site
from heliobus.errors import ConfigError
from heliobus.guard import EXIT_CONFIG, EXIT_STOPPED, stop_on
from heliobus.own_broker import OwnBroker
from heliobus.process import Lock, name_log_lines, run_component
from heliobus.settings import Settings
from heliobus.simulated_site import ARCHIVE, FOLDER, HOUSE, SimulatedSite
from heliobus.supervisor import Supervisor

log = logging.getLogger(__name__)

# The one after the usual: a program that looks for the real broker must not find this one.
FIRST_PORT = 1884


def run(settings: Settings, only: Sequence[str] | None = None) -> int:
    """Run the components of the configuration (or only some) until a signal. Return 0 or 78."""
    names = _names(settings, only)
    for name in names:  # before a broker is started for nothing
        with Lock(settings.data, name):
            pass
    broker = OwnBroker(settings.broker, settings.data / "broker", settings)
    broker.start(share=True)
    rules = _shared(settings)
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


def simulate(
    settings: Settings,
    only: Sequence[str] | None = None,
    *,
    port: int | None = None,
    command: str = "heliobus",
    out: TextIO = sys.stdout,
) -> int:
    """Do what `run` does with a simulator in the place of each device. Return 0 or 78.

    Its broker is on `port`, else on a free one; `command` is how the caller was called.
    """
    names = _names(settings, only)
    settings = replace(
        settings,
        bridges={name: own for name, own in settings.bridges.items() if name in names},
        sinks={name: own for name, own in settings.sinks.items() if name in names},
    )
    site = SimulatedSite(settings, settings.data / FOLDER)
    with Lock(site.folder, "up-simulate"):
        site.open(simulated_site.port(port, FIRST_PORT))
        if not site.names:
            raise ConfigError("\n".join(["nothing to run", *site.left_out.values()]))
        broker = OwnBroker(site.settings.broker, site.folder / "broker")
        broker.start()
        try:
            site.settings = replace(site.settings, broker=broker.settings)
            site.note()
            out.write(_described(site, broker.name, command))
            out.flush()
            result = _supervised(site, broker)
        finally:
            broker.stop()
    out.write(f"What was simulated is kept in {site.folder}; you may delete that folder.\n")
    return result


def _names(settings: Settings, only: Sequence[str] | None) -> list[str]:
    names = [name for name in (*settings.bridges, *settings.sinks) if not only or name in only]
    if not names:
        raise ConfigError("nothing to run: the configuration has neither bridges nor sinks")
    return names


def _shared(settings: Settings) -> contract.Contract:
    """Load what all children share once, and never have the garbage collector look at it again.

    So its memory stays shared.
    """
    rules = contract.load()
    for bridge in settings.bridges.values():
        components.bridge(bridge.type)
    gc.collect()
    gc.freeze()
    return rules


def _supervised(site: SimulatedSite, broker: OwnBroker) -> int:
    """Keep the devices and the components running; devices that end first would be faults."""
    rules = _shared(site.settings)
    supervisor = Supervisor((HOUSE, *site.names), lambda name: _work(site, name, rules))
    house, *children = [supervisor.children[name] for name in (HOUSE, *site.names)]

    def given_up() -> bool:
        return all(child.given_up for child in children)

    def tend() -> None:
        broker.tend()
        if not house.pid:
            site.unlink()

    supervisor.keep_running(until=given_up, tend=tend)
    for some in (site.settings.bridges, site.settings.sinks, [HOUSE]):
        supervisor.stop(*some)
    return EXIT_CONFIG if given_up() else EXIT_STOPPED


def _work(site: SimulatedSite, name: str, rules: contract.Contract) -> int:
    if name == HOUSE:
        name_log_lines(HOUSE)
        site.play(stop_on(signal.SIGTERM))
        return EXIT_STOPPED
    if name in site.settings.bridges:
        site.wait()
    return run_component(site.settings, name, rules)


def _described(site: SimulatedSite, broker: str, command: str) -> str:
    settings = site.settings
    rows = [*site.rows(), ("broker", f"{broker} on {settings.broker.host}:{settings.broker.port}")]
    if site.replaced:
        archive = f"{site.folder / ARCHIVE}, in the place of {' and '.join(site.replaced)}"
        rows.append(("archive", archive))
    rows.append(("look at it", f"{command} watch --simulate"))
    if site.replaced:
        rows.append(("", f"{command} history --simulate DEVICE FIELD"))
    width = max(len(name) for name, _ in rows)
    lines = "".join(f"{name:<{width}}  {text}\n" for name, text in rows)
    return (
        "Simulated: no real device is asked, and nothing is written to your archives."
        f" Ctrl-C ends it.\n\n{lines}\n"
    )
