"""What a codec makes of a noisy line: whether it keeps anything of it, and how long it takes.

    python -m bench.noise daly 1000000        in a process of its own; gives JSON

Half of the answers are sound. The others are cut, have a wrong bit or noise within, are noise
alone or those of another device, all by a generator with a seed: two runs hear the same.
"""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from bench.stage import environment, memory_mb
from bridges import aurora, daly, studer, voltronic
from bridges.aurora.bus import Bus
from bridges.can import bursts, codec, profiles
from bridges.studer.frame import Stream
from heliobus import components, slcan
from heliobus.errors import FrameError
from heliobus.house import DAY_S, House
from heliobus.line import Simulated
from heliobus.link import Link
from heliobus.settings import DeviceSettings

ANSWERS: Final = 1_000_000
_WARM: Final = 20  # of so many parts the first
_BATCH: Final = 1000
_LEAST: Final = 0.15  # of all must give values, else they were no test; a burst on CAN gives one
_NOON_S: Final = 20_000 * DAY_S + 12 * 3600.0

Exchange: TypeAlias = tuple[bytes, bytes]  # a question, and the sound answer
Take: TypeAlias = Callable[[bytes, bytes], Any]
"""Decode what came after a question; what it gives is true where there were values.

Raise FrameError.
"""


@dataclass(frozen=True, slots=True)
class Codec:
    """What its device says, and how it is decoded: with all that is kept between answers."""

    exchanges: Callable[[], Sequence[Exchange]]
    make: Callable[[], Take]


class _Ear(Link):
    """A link to a simulated device that keeps what was said, and takes no time."""

    def __init__(self, simulated: Simulated) -> None:
        super().__init__("serial:///dev/null", "an ear")
        self.heard: list[Exchange] = []
        self._simulated = simulated
        self._left = b""

    def _send(self, data: bytes) -> None:
        self._left = self._simulated.take(data)
        self.heard.append((data, self._left))

    def _receive(self, timeout_s: float) -> bytes:  # noqa: ARG002 - all is there at once
        left, self._left = self._left, b""
        return left

    def _release(self) -> None:
        pass


def _heard(
    name: str, bridge: Callable[[DeviceSettings], Any], over: Callable[[Link], Any], **options: Any
) -> list[Exchange]:
    """Give all that a bridge asks a simulated device, and what that answers."""
    device = DeviceSettings("device", 1.0, "serial:///dev/null", options)
    asking = bridge(device)
    ear = _Ear(components.simulation(name)([device], house=House(lambda: _NOON_S)))
    for group in asking.groups:
        asking.poll(over(ear), group.name)
    return [exchange for exchange in ear.heard if exchange[1]]


def _as_it_is(link: Link) -> Link:
    return link


def _in_parallel() -> list[Exchange]:
    return [
        exchange
        for protocol in ("pi18", "pi30")
        for exchange in _heard(
            "voltronic", voltronic.BRIDGE, _as_it_is, protocol=protocol, parallel=3
        )
    ]


def _on_can() -> list[Exchange]:
    simulated = components.simulator("can")(_PROFILE)
    simulated.take(b"S6\rL\r")
    said = (simulated.say(tenth / 10) for tenth in range(100))
    return [(b"", line) for line in said if line]


_PROFILE: Final = "victron_lv"


def _can() -> Take:
    """Take lines of an adapter, some ms apart; each burst is decoded once."""
    lines, profile = slcan.Lines(), profiles.load(_PROFILE, beside=Path())
    gathered = bursts.Bursts(profile)
    random, at_s, given = Random(0), 0.0, 0  # noqa: S311 - it must be repeatable

    def take(_: bytes, data: bytes) -> bool:
        nonlocal at_s, given
        at_s += random.choice((0.002, 0.002, 0.002, 0.1))
        for heard in lines.take(data):
            gathered.take(at_s, heard.id, heard.data)
        burst = gathered.newest(at_s)
        if burst is not None and burst.number > given:
            given = burst.number
            codec.identity(profile, burst.frames)
            return bool(codec.decode(profile, burst.frames))
        return False

    return take


def _studer() -> Take:
    stream = Stream()

    def take(question: bytes, data: bytes) -> Any:
        stream.feed(data)
        return studer.decode_line(question, data)[0]

    return take


CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "daly": Codec(
            lambda: _heard("daly", daly.BRIDGE, _as_it_is),
            lambda: lambda question, data: daly.decode_line(question, data)[0],
        ),
        "aurora": Codec(
            lambda: _heard("aurora", aurora.BRIDGE, Bus, address=2),
            lambda: lambda question, data: aurora.decode_line(question, data)[0],
        ),
        "studer": Codec(lambda: _heard("studer", studer.BRIDGE, _as_it_is), _studer),
        "can": Codec(_on_can, _can),
        "voltronic": Codec(
            _in_parallel,
            lambda: lambda question, data: voltronic.decode_line(question, data)[0],
        ),
    }
)


# ---------------------------------------------------------------------- the noise


def _noisy(name: str) -> Iterator[Exchange]:
    """Give answers without end, as a bad line brings them."""
    random = Random(name)  # noqa: S311 - it must be repeatable
    own = CODECS[name].exchanges()
    foreign = [each for other in CODECS if other != name for each in CODECS[other].exchanges()]

    def cut(data: bytes) -> bytes:
        return data[: random.randrange(len(data))]

    def flip(data: bytes) -> bytes:
        at = random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]

    def noise(data: bytes) -> bytes:
        at = random.randrange(len(data) + 1)
        return data[:at] + random.randbytes(random.randint(1, 8)) + data[at:]

    def alone(data: bytes) -> bytes:
        return random.randbytes(len(data))

    def strange(_: bytes) -> bytes:
        return random.choice(foreign)[1]

    harms = (cut, flip, noise, alone, strange)
    while True:
        question, answer = random.choice(own)
        yield question, answer if random.getrandbits(1) else random.choice(harms)(answer)


def measure(name: str, answers: int) -> dict[str, float]:
    """Decode so many; give what memory grew by after the first of them, and the time of each."""
    take, noisy = CODECS[name].make(), _noisy(name)
    gave, took_s, before_mb, grown_mb = 0, 0.0, 0.0, 0.0
    for number in range(batches := answers // _BATCH):
        batch = list(islice(noisy, _BATCH))
        began_s = time.perf_counter()
        gave += sum(_gives(take, *exchange) for exchange in batch)
        took_s += time.perf_counter() - began_s
        del batch
        if number == batches // _WARM:
            before_mb = _own_mb()
        elif number > batches // _WARM and (number + 1) % max(1, batches // _WARM) == 0:
            grown_mb = max(grown_mb, _own_mb() - before_mb)
    if gave < _LEAST * answers:
        raise RuntimeError(f"{name}: only {gave} of {answers} answers gave values")
    return {f"{name}_growth": grown_mb, f"{name}_answer": took_s / answers * 1e6}


def _gives(take: Take, question: bytes, data: bytes) -> bool:
    try:
        return bool(take(question, data))
    except FrameError:
        return False


def _own_mb() -> float:
    """Give the memory that is this process's alone: nothing of files, nor of what it shares."""
    gc.collect()
    return memory_mb(os.getpid())["Anonymous"]


class Noise:
    """The bench of one codec: called with a folder, it gives its figures."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.figures = (f"{name}_growth", f"{name}_answer")

    def __call__(self, _folder: Path) -> dict[str, float]:
        """Decode a million answers in a process of its own."""
        command = [sys.executable, "-m", "bench.noise", self._name, str(ANSWERS)]
        done = subprocess.run(command, check=True, env=environment(), stdout=subprocess.PIPE)
        figures: dict[str, float] = json.loads(done.stdout)
        return figures


BENCHES = [Noise(name) for name in CODECS]

if __name__ == "__main__":
    json.dump(measure(sys.argv[1], int(sys.argv[2])), sys.stdout)
