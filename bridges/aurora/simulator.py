"""Simulated Aurora inverters on one line, in the shared house.

Bytes in, bytes out; whoever serves it owns the port, the speed and the faults of the line. Nobody
answers for an address that is not there, nor at night, nor to a damaged request.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from bridges.aurora.frame import REQUEST, answer, is_request
from bridges.aurora.simulated_inverter import VARIANTS, Inverter, Variant
from heliobus.errors import ConfigError
from heliobus.house import DAY_S, House
from heliobus.line import Faults
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "VARIANTS", "Simulator", "simulate", "simulator"]

_USUAL, _ADDRESS, _MOST = "pvi36", 2, 63
_MORNING_H, _HOUR_S = 11, 3600.0


class Simulator:
    """The inverters of one line, by name and by address. `plays`: what each of them is."""

    baud = 19200

    def __init__(
        self,
        inverters: Mapping[str, tuple[int, Inverter]],
        *,
        plays: Mapping[str, str],
        faults: Faults | None = None,
    ) -> None:
        self.inverters = {name: inverter for name, (_, inverter) in inverters.items()}
        self.plays = plays
        self.faults = faults or Faults()
        self._at = dict(inverters.values())
        self._got = b""
        self._given: list[tuple[Inverter, bytes]] = []

    @property
    def polls(self) -> Mapping[str, int]:
        """Count the polls that were answered whole, by device."""
        return {name: inverter.polls for name, inverter in self.inverters.items()}

    def take(self, data: bytes) -> bytes:
        """Take bytes of requests, whole or in parts; give the answers."""
        self._got += data
        self._given = []
        out = b""
        while len(self._got) >= REQUEST:
            if not is_request(self._got[:REQUEST]):
                self._got = self._got[1:]  # noise
                continue
            head, self._got = self._got[: REQUEST - 2], self._got[REQUEST:]
            out += self._answer(head)
        return out

    def sent(self, answer: bytes, *, whole: bool) -> None:  # noqa: ARG002 - as the line calls it
        """Learn what became of the last answer."""
        if whole:
            for inverter, head in self._given:
                inverter.answered(head)

    def _answer(self, head: bytes) -> bytes:
        inverter = self._at.get(head[0])
        payload = inverter.answer(head) if inverter else b""
        if inverter is None or not payload:
            return b""
        self._given.append((inverter, head))
        return answer(payload)


def simulator(
    variant: str = _USUAL, *, unit: int | None = None, faults: Faults | None = None
) -> Simulator:
    """Be one inverter, in a house of its own in which it is day. Raise ConfigError."""
    house = House(_by_day())
    inverter = Inverter(variant, _variant(variant, "--model"), house)
    address = _ADDRESS if unit is None else unit
    if not 1 <= address <= _MOST:
        raise ConfigError(f"unit: found {address}, expected an address from 1 to {_MOST}")
    return Simulator({variant: (address, inverter)}, plays={variant: variant}, faults=faults)


def simulate(
    devices: Sequence[DeviceSettings], *, house: House, faults: Faults | None = None
) -> Simulator:
    """Be all inverters of one link; a sum of them is none. Raise ConfigError."""
    made, plays = {}, {}
    for device in devices:
        options = device.options
        if options.get("total"):
            plays[device.name] = "sum of others"
            continue
        plays[device.name] = variant = str(options.get("simulate", _USUAL))
        inverter = Inverter(device.name, _variant(variant, f"{device.name}: simulate"), house)
        made[device.name] = options.get("address", _ADDRESS), inverter
    return Simulator(made, plays=plays, faults=faults)


def _variant(name: str, what: str) -> Variant:
    if name not in VARIANTS:
        raise ConfigError(f"{what}: found {name!r:.60}, expected one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def _by_day() -> Callable[[], float]:
    """Give a clock that begins at eleven: who tries it out at night wants an answer, too.

    It is wrong by whole hours, which the bridge takes for another time zone.
    """
    hour = time.time() % DAY_S // _HOUR_S
    ahead_s = (_MORNING_H - hour) * _HOUR_S
    return lambda: time.time() + ahead_s


SIMULATOR = simulator
