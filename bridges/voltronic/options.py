"""What the owner says of one inverter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from bridges.voltronic.codec import Layout
from heliobus.errors import ConfigError
from heliobus.quantities import duration_s

# esphome-pipsolar waits 5 s, skymax 2 s; a QPIRI in two halves, a second apart, has been seen.
_TIMEOUT_S = 3.0
_COUNTS_PER_KWH = {"wh": 1000, "kwh": 1}


@dataclass(frozen=True, slots=True)
class Options:
    """`layout` None: found out. `parallel`: how many units, 0 for a single one.

    `counts_per_kwh`: of a PI18 unit's counters, None where the owner does not say.
    """

    timeout_s: float
    protocol: str
    layout: Layout | None
    parallel: int
    parts: Mapping[str, str]
    counts_per_kwh: int | None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take the device's own keys. Raise ConfigError."""
        timeout = options.get("timeout", _TIMEOUT_S)
        parallel, parts = options.get("parallel", 0), options.get("parts", {})
        if parts and not parallel:
            raise ConfigError(
                "parts: names units in parallel, and parallel does not say how many there are;"
                " write it, as in parallel: 3"
            )
        return cls(
            timeout_s=duration_s(timeout) if isinstance(timeout, str) else float(timeout),
            protocol=options.get("protocol", "auto"),
            layout=_layout(options.get("layout", "auto")),
            parallel=parallel,
            parts=parts,
            counts_per_kwh=_COUNTS_PER_KWH.get(options.get("energy_unit", "")),
        )


def _layout(name: object) -> Layout | None:
    try:
        return None if name == "auto" else Layout(name)
    except ValueError:
        raise ConfigError(f"layout: found {name!r:.60}, expected auto, pi30 or revo") from None
