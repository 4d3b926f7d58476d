"""Line: the wire to a simulated device, its speed and its faults. No clock and no I/O."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from random import Random
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from heliobus.errors import ConfigError

# Start bit, eight data bits, stop bit.
_BITS = 10
# Bytes are handed over when this much time has passed since the last ones, or all are due.
_TICK_S = 0.01
# An answer that nobody has read by then is not going to be.
_FETCH_S = 5.0
_ASKED_BYTES = 4096


class Simulated(Protocol):
    """A simulated device."""

    def take(self, data: bytes) -> bytes:
        """Take bytes as they arrive, whole requests or parts; give what the device sends."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A simulated device that wants to know which of its answers went out whole."""

    def sent(self, answer: bytes, *, whole: bool) -> None:
        """Learn what became of the last answer.

        Called once for each `take` that gave bytes, and before the next `take`. `whole` means
        that it went out complete, in time and unaltered, with nothing but an echo around it,
        and was read by the other side (over TCP: taken by the network).
        """
        ...


@runtime_checkable
class Talking(Protocol):
    """A simulated device that speaks unasked, too. Times are those of the line."""

    def say(self, now_s: float) -> bytes:
        """Give what is due to be sent unasked, nothing where nothing is."""
        ...

    def silent_s(self, now_s: float) -> float | None:
        """Tell in how long `say` has something; None: not before bytes come."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A simulated device on a port whose link is no `serial://`."""

    def link_to(self, path: str) -> str:
        """Give the link URL of it on this port."""
        ...


@runtime_checkable
class Shared(Protocol):
    """A simulated device that serves several TCP connections at once.

    `closes`: it closes each after an answer, as some do.
    """

    closes: bool

    def connect(self) -> Simulated:
        """Give the device as one more connection has it."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A simulated device that knows how fast its line is."""

    baud: int


def _cut(random: Random, answer: bytes) -> bytes:
    return answer[: random.randrange(len(answer))] if answer else b""


def _flip(random: Random, answer: bytes) -> bytes:
    if not answer:
        return b""
    at = random.randrange(len(answer))
    return answer[:at] + bytes([answer[at] ^ 1 << random.randrange(8)]) + answer[at + 1 :]


def _noise(random: Random, answer: bytes) -> bytes:
    at = random.choice((0, random.randrange(len(answer) + 1), len(answer)))
    return answer[:at] + random.randbytes(random.randint(1, 8)) + answer[at:]


def _silence(_random: Random, _answer: bytes) -> bytes:
    return b""


# What alters the bytes of an answer, in the order in which it happens.
_HARMS: Mapping[str, Callable[[Random, bytes], bytes]] = MappingProxyType(
    {"flip": _flip, "cut": _cut, "noise": _noise, "silence": _silence}
)


class Faults:
    """What goes wrong on a line: for each kind the share of answers that it strikes, 0 to 1.

    Two lines with the same seed and the same questions fail alike. Rates may be changed while
    the line is in use. `slow_s` is how late a slow answer begins.
    """

    KINDS: Mapping[str, str] = MappingProxyType(
        {
            "silence": "no answer",
            "noise": "random bytes before, within or after the answer",
            "cut": "the answer ends too early",
            "flip": "one bit of the answer is wrong",
            "echo": "the request comes back before the answer",
            "echo_only": "the request comes back instead of the answer",
            "late": "the answer comes only after the next request",
            "slow": "the answer comes some seconds late",
            "close": "the TCP connection is closed after the answer",
            "nak": "the device refuses the request (simulated devices ask for this themselves)",
            "foreign": "the answer of another unit comes first (Modbus, the same)",
            "max100": "more than 100 registers at once are refused (Modbus, the same)",
        }
    )

    def __init__(
        self, rates: Mapping[str, float] | None = None, *, seed: int = 0, slow_s: float = 4.0
    ) -> None:
        self.random = Random(seed)  # noqa: S311 - it must be repeatable, not secret
        self.slow_s = slow_s
        self._rates: dict[str, float] = {}
        self._once: set[str] = set()
        for kind, rate in (rates or {}).items():
            self.set(kind, rate)

    @classmethod
    def parse(cls, text: str, *, seed: int = 0) -> "Faults":
        """Read `silence=0.05,echo=1`. Raise ConfigError."""
        rates: dict[str, float] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            kind, _, rate = item.partition("=")
            try:
                rates[kind] = float(rate)
            except ValueError:
                raise ConfigError(f"faults: found '{item}', expected it like cut=0.02") from None
        return cls(rates, seed=seed)

    def set(self, kind: str, rate: float) -> None:
        """Let `kind` strike this share of the answers from now on. Raise ConfigError."""
        self._check(kind)
        if not 0.0 <= rate <= 1.0:
            raise ConfigError(f"faults: found {kind}={rate:g}, expected a share from 0 to 1")
        self._rates[kind] = rate

    def once(self, kind: str) -> None:
        """Let `kind` strike the next answer, whatever its rate. Raise ConfigError."""
        self._check(kind)
        self._once.add(kind)

    def strikes(self, kind: str) -> bool:
        """Decide whether `kind` strikes now."""
        if kind in self._once:
            self._once.discard(kind)
            return True
        rate = self._rates.get(kind, 0.0)
        return rate > 0.0 and self.random.random() < rate

    def _check(self, kind: str) -> None:
        if kind not in self.KINDS:
            close = get_close_matches(kind, self.KINDS, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(self.KINDS)}"
            raise ConfigError(f"faults: '{kind}' is not known; {hint}")


class Line:
    """The wire to one simulated device, driven by whoever owns the clock and the files.

    `receive` what has come, send what is `due`, and be back after `wait_s`. Bytes take their
    time both ways at `baud` (None: no time). The device works on one request at a time: what
    comes while its answer is leaving waits. `unread` counts the bytes that were sent and not
    yet read by the other side. `ending` tells that the device hangs up now; with `closes` it
    does after each answer.
    """

    def __init__(
        self,
        simulated: Simulated,
        *,
        baud: int | None,
        faults: Faults,
        unread: Callable[[], int],
        closes: bool = False,
    ) -> None:
        self.answered = 0
        self.harmed = 0
        self._simulated = simulated
        self._talking = simulated if isinstance(simulated, Talking) else None
        self._byte_s = _BITS / baud if baud else 0.0
        self._faults = faults
        self._unread = unread
        self._arriving: deque[tuple[float, bytes]] = deque()  # with the time of the last bit
        self._leaving: deque[tuple[float, bytes]] = deque()  # with the time of the first bit
        self._inward_s = -math.inf  # the wire is taken until then, each way
        self._outward_s = -math.inf
        self._asked = b""
        self._held = b""
        self._mixed = False  # rests of an earlier answer are read with the next one
        self._unjudged: bytes | None = None
        self._left_s = 0.0
        self._closes = closes
        self._closing = False

    @property
    def ending(self) -> bool:
        """Tell whether the device hangs up now: its last answer has left."""
        return self._closing and self.idle

    @property
    def idle(self) -> bool:
        """Tell whether nothing more is leaving."""
        return not self._leaving

    def receive(self, now_s: float, data: bytes) -> None:
        """Let `data`, sent by the other side at `now_s`, travel to the device."""
        self._mixed = self._mixed or bool(self._leaving)
        self._inward_s = max(now_s, self._inward_s) + len(data) * self._byte_s
        self._arriving.append((self._inward_s, data))

    def due(self, now_s: float) -> bytes:
        """Give the bytes that are to be handed over now."""
        if self._leaving:
            return self._leave(now_s)
        asked = bool(self._arriving) and self._arriving[0][0] <= now_s
        self._judge(now_s, last_chance=asked)
        if asked:
            self._work(*self._arriving.popleft())
        elif not self._speaks(now_s):
            return b""
        return self._leave(now_s)

    def wait_s(self, now_s: float) -> float | None:
        """Tell when `due` has something to do again; None: not before bytes come."""
        if self._leaving:
            begin_s, data = self._leaving[0]
            end_s = begin_s + len(data) * self._byte_s
            next_s = max(begin_s + self._byte_s, now_s + _TICK_S)
            return max(min(end_s, next_s) - now_s, 0.0)
        waits_s = [self._arriving[0][0] - now_s] if self._arriving else []
        if self._unjudged is not None:
            waits_s.append(_TICK_S)
        if self._talking and (silent_s := self._talking.silent_s(now_s)) is not None:
            waits_s.append(silent_s)
        return max(min(waits_s), 0.0) if waits_s else None

    def close(self) -> None:
        """Judge the answer under way and forget it: the other side has gone, or we go."""
        self._end(whole=self.idle and self._unread() == 0)
        self.spoil()

    def spoil(self) -> None:
        """Forget what is on the way: the other side takes no more."""
        self._arriving.clear()
        self._leaving.clear()
        self._held = self._asked = b""
        self._mixed = self._closing = False
        self._end(whole=False)

    def _work(self, now_s: float, data: bytes) -> None:
        self._asked = (self._asked + data)[-_ASKED_BYTES:]
        if self._faults.strikes("echo"):
            self._send(now_s, data)
        self._mixed = self._mixed or bool(self._held)
        self._send(now_s, self._held)
        self._held = b""
        answer = self._simulated.take(data)
        if answer:
            self._unjudged = answer
            self._answer(now_s, answer)
            self._asked, self._mixed = b"", False

    def _speaks(self, now_s: float) -> bool:
        """Send what is due unasked, and tell whether there was any. Who has read it is not seen."""
        said = self._talking.say(now_s) if self._talking else b""
        if said:
            late, self._held = self._held, b""
            self._send(now_s, late)
            struck = self._strike(now_s, said)
            self.answered += not struck
            self.harmed += struck
        return bool(said)

    def _answer(self, now_s: float, answer: bytes) -> None:
        if self._strike(now_s, answer) or self._mixed:
            self._end(whole=False)

    def _strike(self, now_s: float, answer: bytes) -> bool:
        """Send it with the faults that strike; tell whether any did."""
        faults, altered = self._faults, answer
        struck = [kind for kind in _HARMS if faults.strikes(kind)]
        for kind in struck:
            altered = _HARMS[kind](faults.random, altered)
        if faults.strikes("echo_only"):
            struck, altered = [*struck, "echo_only"], self._asked
        if faults.strikes("late"):
            struck, self._held, altered = [*struck, "late"], altered, b""
        if faults.strikes("slow"):
            struck, now_s = [*struck, "slow"], now_s + faults.slow_s
        self._send(now_s, altered)
        self._closing = bool(altered) and (self._closes or faults.strikes("close"))
        return bool(struck)

    def _send(self, now_s: float, data: bytes) -> None:
        if data:
            begin_s = max(now_s, self._outward_s)
            self._outward_s = begin_s + len(data) * self._byte_s
            self._leaving.append((begin_s, data))

    def _leave(self, now_s: float) -> bytes:
        out = b""
        while self._leaving and self._leaving[0][0] <= now_s:
            begin_s, data = self._leaving.popleft()
            # A byte is handed over at its last bit; a millionth makes up for rounding.
            count = int((now_s - begin_s) / self._byte_s + 1e-6) if self._byte_s else len(data)
            out += data[:count]
            if count < len(data):
                self._leaving.appendleft((begin_s + count * self._byte_s, data[count:]))
                break
        self._left_s = now_s
        return out

    def _judge(self, now_s: float, *, last_chance: bool) -> None:
        if self._unjudged is None:
            return
        # The kernel takes a moment to move bytes to where they count as unread.
        settled = last_chance or now_s >= self._left_s + _TICK_S
        if settled and self._unread() == 0:
            self._end(whole=True)
        elif last_chance or now_s >= self._left_s + _FETCH_S:
            self._end(whole=False)

    def _end(self, *, whole: bool) -> None:
        answer, self._unjudged = self._unjudged, None
        if answer is None:
            return
        self.answered += whole
        self.harmed += not whole
        if isinstance(self._simulated, Counting):
            self._simulated.sent(answer, whole=whole)
