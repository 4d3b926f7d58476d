"""Chains of models for tests: registers at addresses, and a device that has nothing else."""

from collections.abc import Sequence

from heliobus.modbus import Refused

SUNS = (0x5375, 0x6E53)
END = (0xFFFF, 0)


def common(maker: str = "Maker", *, length: int = 66, model: str = "Model") -> tuple[int, ...]:
    """Give a common model."""
    data = maker.encode().ljust(32, b"\0") + model.encode().ljust(32, b"\0")
    data = data.ljust(2 * length, b"\0")[: 2 * length]
    words = [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]
    return (1, length, *words)


class Registers:
    """A device: what is outside is an illegal address. `asked` are start and count of each read."""

    def __init__(self, start: int, *parts: Sequence[int], most: int = 125) -> None:
        self.start = start
        self.words = [word for part in parts for word in part]
        self.most = most
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, count: int) -> Sequence[int]:
        self.asked.append((start, count))
        if not 1 <= count <= self.most:
            raise Refused(f"{count} registers", 3)
        if start < self.start or start + count > self.start + len(self.words):
            raise Refused(f"registers from {start}", 2)
        return self.words[start - self.start : start - self.start + count]
