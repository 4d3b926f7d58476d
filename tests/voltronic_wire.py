"""A simulated Voltronic inverter at the far end of a link in memory, and its bridge."""

from collections.abc import Callable
from typing import Any

from bridges.voltronic import Voltronic
from bridges.voltronic.frame import answer, command_of
from bridges.voltronic.simulator import Simulator, Variant
from heliobus.bridge import Parts
from heliobus.house import House
from heliobus.link import Link
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from tests import wires

NOON = 1_790_000_000 - 1_790_000_000 % 86400 + 12 * 3600.0
NAK = answer("NAK")
Respond = Callable[[str, bytes], bytes]


class Wire(wires.Wire[Simulator, str]):
    """A line in memory; what is asked is a command."""

    @staticmethod
    def what(request: bytes) -> str:
        return command_of(request) or ""


class Alone(Voltronic):
    """The bridge of an inverter that is alone: its values are no parts."""

    def poll(self, link: Link, group: str) -> Values:
        """Ask one group."""
        told = super().poll(link, group)
        if isinstance(told, Parts):
            raise TypeError("there are several")
        return told


def alone(*, every_s: float = 5.0, **options: Any) -> Alone:
    """Give a bridge that has not asked anything yet."""
    return Alone(DeviceSettings("axpert", every_s, "memory:", options))


def wired(variant: str | Variant = "pi30max", respond: Respond | None = None) -> Wire:
    """Give the link to a simulated inverter, at noon."""
    return Wire(Simulator(variant, house=House(lambda: NOON)), respond)


def instead(**answers: bytes) -> Respond:
    """Answer these commands with these bytes."""
    return answers.get
