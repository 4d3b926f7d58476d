"""What the owner says of one SunSpec device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bridges.sunspec.chain import BASES
from bridges.sunspec.devices import ITSELF
from heliobus.modbus import MOST_REGISTERS
from heliobus.quantities import seconds

_TIMEOUT_S = 3.0
_SLOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """`parts`: names on the bus; `inverted`: fields whose sign is turned; both by the part.

    `keep` a connection over a request, `release` it after a poll.
    """

    unit: int
    bases: tuple[int, ...]
    timeout_s: float
    pause_s: float
    keep: bool
    release: bool
    max_registers: int
    slow_s: float
    role: str
    parts: Mapping[str, str]
    inverted: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take the device's own keys."""
        return cls(
            unit=options.get("unit", 1),
            bases=(options["base"],) if "base" in options else BASES,
            timeout_s=seconds(options.get("timeout", _TIMEOUT_S)),
            pause_s=seconds(options.get("pause", 0.0)),
            keep=options.get("connect") != "per_request",
            release=options.get("connect") == "per_poll",
            max_registers=options.get("max_registers", MOST_REGISTERS),
            slow_s=seconds(options.get("slow", _SLOW_S)),
            role=options.get("role", ""),
            parts=options.get("parts", {}),
            inverted=_by_part(options.get("invert", ())),
        )


def _by_part(names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Take `power_w` for the device itself, and `meter_1.power_w` for a part."""
    found: dict[str, list[str]] = {}
    for name in names:
        part, _, own = name.rpartition(".")
        found.setdefault(part or ITSELF, []).append(own)
    return found
