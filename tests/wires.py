"""A line in memory to a simulated device, for tests of what asks it."""

from collections.abc import Callable
from typing import Generic, TypeVar

from heliobus.line import Simulated
from heliobus.link import Link

F = TypeVar("F", bound=Simulated)
A = TypeVar("A")


class Wire(Link, Generic[F, A]):
    """A line in memory: `far` answers at once, or `respond` says something else.

    `sent` has the requests, `asked` what they ask by `what`, which each bridge words in its way;
    `respond` gets that of each with what would be answered. What does not arrive at once never
    does: nobody waits here. `broken`: it is unplugged.
    """

    def __init__(self, far: F, respond: Callable[[A, bytes], bytes] | None = None) -> None:
        super().__init__("memory:", "memory")
        self.far = far
        self.respond = respond or (lambda _, answered: answered)
        self.sent: list[bytes] = []
        self.waiting = b""
        self.broken = False

    @staticmethod
    def what(request: bytes) -> A:
        """Give what a request asks."""
        raise NotImplementedError

    @property
    def asked(self) -> list[A]:
        return [self.what(request) for request in self.sent]

    def _send(self, data: bytes) -> None:
        self._check()
        self.sent.append(data)
        self.waiting += self.respond(self.what(data), self.far.take(data))

    def _receive(self, timeout_s: float) -> bytes:  # noqa: ARG002 - it all is there at once
        self._check()
        data, self.waiting = self.waiting, b""
        return data

    def _check(self) -> None:
        if self.broken:
            raise OSError("unplugged")

    def _release(self) -> None:
        self.broken = True
