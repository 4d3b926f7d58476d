"""Aurora inverters whose answers come late: some requests later, or never."""

import random
import struct
from collections import Counter
from collections.abc import Mapping

import pytest

from bridges.aurora import Aurora
from bridges.aurora.bus import Bus
from bridges.aurora.frame import (
    ALARMS,
    CLOCK,
    FIRMWARE,
    MADE,
    STATE,
    VERSION,
    answer,
)
from heliobus.errors import FrameError
from heliobus.link import Link
from heliobus.sample import Values
from tests.aurora_far import settings

ADDRESSES = {"east": 2, "west": 3, "shed": 4}
# Read as something else, the first two of these refuse a measure.
SERIALS = {2: b"345678", 3: b"412345", 4: b"100001"}
_SAYS: Mapping[int, bytes] = {
    STATE: b"\2\2\2\0", VERSION: b"iENN", FIRMWARE: b"C014", MADE: b"2315", ALARMS: bytes(4),
    CLOCK: bytes.fromhex("2F AF 08 00"),
}  # fmt: skip
_REFUSED = bytes((52, 6, 0, 0, 0, 0))
_LATEST = 3  # requests


def told(address: int, command: int, index: int) -> bytes:
    """Answer so that each measure of each inverter has a value that no other has."""
    match command:
        case 63:
            return SERIALS[address]
        case 52:
            return b"-3G7%d-" % address
        case 78:
            return b"\0\6" + (address * 1_000_000 + index * 1000).to_bytes(4)
        case 59 if index < 60:
            return b"\0\6" + struct.pack(">f", address * 1000 + index)
    return b"\0\6" + _SAYS[command] if command in _SAYS else _REFUSED


class Late(Link):
    """A line that gives `late` of the answers up to three requests late, and loses `lost`.

    Those of one inverter come in order; with `in_order` so do those of all.
    """

    def __init__(self, seed: int, *, late: float, lost: float, in_order: bool) -> None:
        super().__init__("memory:", "memory")
        self.late, self.lost = late, lost
        self._in_order = in_order
        self._random = random.Random(seed)
        self._requests = 0
        self._due: list[tuple[int, int, bytes]] = []
        self._here: list[bytes] = []

    def _send(self, data: bytes) -> None:
        self._requests += 1
        if self._random.random() >= self.lost:
            is_late = self._random.random() < self.late
            due = self._requests + (self._random.randint(1, _LATEST) if is_late else 0)
            before = [at for at, who, _ in self._due if self._in_order or who == data[0]]
            due = max(due, *before, 0)
            self._due.append((due, data[0], answer(told(data[0], data[1], data[2]))))
        self._here = [said for at, _, said in self._due if at <= self._requests]
        self._due = [each for each in self._due if each[0] > self._requests]

    def _receive(self, timeout_s: float) -> bytes:  # noqa: ARG002 - what is not here never comes
        return self._here.pop(0) if self._here else b""

    def _release(self) -> None: ...


class Roof:
    """Three inverters on such a line, polled as the loop does it."""

    def __init__(self, seed: int, *, late: float, lost: float, in_order: bool) -> None:
        self.link = Late(seed, late=late, lost=lost, in_order=in_order)
        self.bus = Bus(self.link)
        self.bridges = {name: Aurora(settings(name, address=at)) for name, at in ADDRESSES.items()}
        self._failures: Counter[str] = Counter()
        self._random = random.Random(seed)

    def turn(self) -> tuple[str, Values | None]:
        """Poll one of them, one of its groups where its beat was answered."""
        name = self._random.choice(list(self.bridges))
        bridge = self.bridges[name]
        at = 0 if self._failures[name] else self._random.randrange(len(bridge.groups))
        try:
            values = bridge.poll(self.bus, bridge.groups[at].name)
        except FrameError:
            self._failures[name] += 1
            if self._failures[name] == 2:
                bridge.forget()
            return name, None
        self._failures[name] = 0
        return name, known(values)

    def all_of(self, name: str) -> Values:
        """Poll all groups of one."""
        values: Values = {}
        for group in self.bridges[name].groups:
            values |= self.bridges[name].poll(self.bus, group.name)
        return known(values)


def known(values: Values) -> Values:
    """Leave out what tells the time."""
    return {name: value for name, value in values.items() if name != "clock_offset_s"}


def _truth() -> Mapping[str, Values]:
    roof = Roof(0, late=0.0, lost=0.0, in_order=True)
    return {name: roof.all_of(name) for name in ADDRESSES}


TRUTH = _truth()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("late", "lost", "in_order"),
    [(0.02, 0.0, True), (0.1, 0.0, False), (0.1, 0.03, True), (0.2, 0.0, True), (0.2, 0.0, False)],
    ids=["few", "few, slow ones", "and lost ones", "many", "many, slow ones"],
)
def test_no_order_of_late_answers_puts_a_value_under_another(
    late: float,
    lost: float,
    in_order: bool,  # noqa: FBT001
    seed: int,
) -> None:
    roof = Roof(seed, late=late, lost=lost, in_order=in_order)
    good = 0
    for _ in range(300):
        name, values = roof.turn()
        if values is not None:
            assert values.items() <= TRUTH[name].items(), name
            good += 1
    assert good > 4


@pytest.mark.parametrize("seed", range(4))
def test_late_answers_teach_nothing_wrong(seed: int) -> None:
    """A serial number that begins with 3 to 8 looks like the refusal of a measure."""
    roof = Roof(seed, late=0.1, lost=0.0, in_order=True)
    for _ in range(100):
        roof.turn()
    roof.link.late = 0.0
    for _ in range(10):
        roof.turn()
    for name, truth in TRUTH.items():
        assert roof.all_of(name) == truth
        assert roof.bridges[name].identity.serial == SERIALS[ADDRESSES[name]].decode()


@pytest.mark.parametrize("stray", [SERIALS[3], _REFUSED, b"\0\6" + bytes(4)], ids=repr)
def test_a_stray_answer_takes_no_name_from_an_inverter(stray: bytes) -> None:
    """At the first question nobody knows who is there."""
    roof = Roof(0, late=0.0, lost=0.0, in_order=True)
    roof.link._due.append((1, 3, answer(stray)))  # noqa: SLF001 - it was asked by an earlier run
    for _ in range(3):
        try:
            roof.bridges["east"].poll(roof.bus, "beat")
        except FrameError:
            continue
    assert roof.bridges["east"].identity.serial == SERIALS[2].decode()
