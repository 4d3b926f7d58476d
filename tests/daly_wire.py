"""Daly boards in memory: what is asked, and what would be answered."""

from collections.abc import Callable, Sequence

from bridges.daly import Daly
from bridges.daly.simulator import VARIANTS, Board, Simulator
from heliobus.house import House
from heliobus.settings import DeviceSettings
from tests import wires

# When the battery of the simulated house is charged with more than 2.5 A.
MORNING = 1_790_000_000 - 1_790_000_000 % 86400 + 10 * 3600.0
Respond = Callable[[int, bytes], bytes]


class Wire(wires.Wire[Simulator, int]):
    """A line in memory; what is asked is a command."""

    @staticmethod
    def what(request: bytes) -> int:
        return request[2]

    @property
    def board(self) -> Board:
        """Give the only board."""
        return self.far.boards[0]


def boards(*numbers: int, variant: str = "16s") -> Simulator:
    """Give boards on one line, in a house in the morning."""
    house = House(lambda: MORNING)
    return Simulator([Board(f"bank_{n}", n, VARIANTS[variant], house) for n in numbers])


def wire(variant: str = "16s", respond: Respond | None = None) -> Wire:
    """Give a line with board 1."""
    return Wire(boards(1, variant=variant), respond)


def bridge(**options: object) -> Daly:
    """Give the bridge of one board."""
    return Daly(DeviceSettings("bank", 1.0, "memory:", options))


def instead(answers: dict[int, bytes]) -> Respond:
    """Answer these commands with these bytes."""
    return answers.get


def only(commands: Sequence[int]) -> Respond:
    """Answer these commands, and no others."""
    return lambda command, answered: answered if command in commands else b""
