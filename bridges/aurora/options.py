"""What the owner says of one inverter, or of a sum of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from heliobus.errors import ConfigError
from heliobus.quantities import seconds

_ADDRESS, _TIMEOUT_S, _RETRIES = 2, 1.0, 2
# Those of the display; 1 was seen to work as well.
_USUAL = range(2, 64)


@dataclass(frozen=True, slots=True)
class Options:
    """`total`: the inverters that are added up, `all` for each; empty for an inverter."""

    address: int
    timeout_s: float
    retries: int
    tenths: bool
    read_alarms: bool
    total: Sequence[str]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take the device's own keys. Raise ConfigError."""
        total = options.get("total", ())
        total = (total,) if isinstance(total, str) else tuple(total)
        if "total" in options and not total:
            raise ConfigError("total: is empty, expected names of inverters, or all")
        return cls(
            address=options.get("address", _ADDRESS),
            timeout_s=seconds(options.get("timeout", _TIMEOUT_S)),
            retries=options.get("retries", _RETRIES),
            tenths=options.get("temperatures", "degrees") == "tenths",
            read_alarms=options.get("read_alarms", False),
            total=total,
        )

    @property
    def warnings(self) -> Sequence[str]:
        """Say what looks wrong, and may be right."""
        if self.total or self.address in _USUAL:
            return ()
        return (f"address: found {self.address}; displays offer 2 to 63, check yours",)
