"""Daly boards in memory: what is asked, and what would be answered."""

from collections.abc import Callable, Sequence

from bridges.daly import Daly
from bridges.daly.simulator import VARIANTS, Board, Simulator
from heliobus.house import House
from heliobus.link import Link
from heliobus.settings import DeviceSettings

# When the battery of the simulated house is charged with more than 2.5 A.
MORNING = 1_790_000_000 - 1_790_000_000 % 86400 + 10 * 3600.0
Respond = Callable[[int, bytes], bytes]


class Wire(Link):
    """A link in memory. `respond` gets each command with what the boards would answer.

    `asked` has the commands in their order, `requests` all that was written.
    """

    def __init__(self, line: Simulator, respond: Respond | None = None) -> None:
        super().__init__("memory:", "memory")
        self.line = line
        self.respond: Respond = respond or (lambda _, answered: answered)
        self.requests: list[bytes] = []
        self.broken = False
        self._waiting = b""

    @property
    def asked(self) -> list[int]:
        """Give the commands that were asked."""
        return [each[2] for each in self.requests]

    @property
    def board(self) -> Board:
        """Give the only board."""
        return self.line.boards[0]

    def _send(self, data: bytes) -> None:
        self._check()
        self.requests.append(data)
        self._waiting += self.respond(data[2], self.line.take(data))

    def _receive(self, timeout_s: float) -> bytes:  # noqa: ARG002 - it all is there at once
        self._check()
        data, self._waiting = self._waiting, b""
        return data

    def _check(self) -> None:
        if self.broken:
            raise OSError("unplugged")

    def _release(self) -> None:
        self.broken = True


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
