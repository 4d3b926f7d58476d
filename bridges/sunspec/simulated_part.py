"""What of the simulated house one SunSpec device has and shows, and what it counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from heliobus.house import House

_RANGES: Final = ("soc", "battery_v")


@dataclass(frozen=True, slots=True)
class Share:
    """What a device is in a house: nothing but a meter, or some of these.

    `roof_w`: the peak of panels behind a solar inverter; `panels_w`: behind a battery inverter or
    the charge controllers beside it.
    """

    roof_w: float = 0.0
    panels_w: float = 0.0
    inverts: bool = False
    stores: bool = False


class Part:
    """A device's part of the house; where it has none, all of it. Powers in W, now.

    `total` and `today` are energies in Wh. `low_s` and `high_s`: when the battery voltage was
    lowest and highest today.
    """

    def __init__(self, house: House, name: str, share: Share) -> None:
        self.house = house
        self._roof = house.array(name, share.roof_w, coupled=True) if share.roof_w else None
        self._inverter = house.inverter(name, pv_w=share.panels_w) if share.inverts else None
        self._bank = house.bank(name) if share.stores else None
        self._counters = house.count(self._rates)
        self._ranges: dict[str, tuple[float, float]] = {}
        self.low_s = self.high_s = house.now_s
        house.watch(self._note)

    @property
    def pv_w(self) -> float:
        """Give what its panels give."""
        own = self._roof.w if self._roof else 0.0
        return own + self._inverter.pv_w if self._inverter else own

    @property
    def load_w(self) -> float:
        """Give what the loads take."""
        return self._inverter.load_w if self._inverter else self.house.load_w

    @property
    def grid_w(self) -> float:
        """Give what comes from the mains."""
        return self._inverter.grid_w if self._inverter else self.house.grid_w

    @property
    def inverted_w(self) -> float:
        """Give what its inverters put into the battery, without their panels."""
        return self._inverter.battery_w - self.pv_w if self._inverter else 0.0

    @property
    def battery_w(self) -> float:
        """Give what goes into its battery, or by way of itself into that of the house."""
        if self._bank:
            return self._bank.w
        return self._inverter.battery_w if self._inverter else self.house.battery_w

    @property
    def capacity_wh(self) -> float:
        """Give what its battery holds."""
        return self._bank.capacity_wh if self._bank else self.house.capacity_wh

    @property
    def total(self) -> Mapping[str, float]:
        """Give what was counted of all time."""
        return self._counters.total

    @property
    def today(self) -> Mapping[str, float]:
        """Give what was counted today."""
        return self._counters.today

    def range_today(self, name: str) -> tuple[float, float]:
        """Give the lowest and the highest of today: of `soc` or `battery_v`."""
        now: float = getattr(self.house, name)
        low, high = self._ranges.get(name, (now, now))
        return min(low, now), max(high, now)

    def _note(self, is_new_day: bool) -> None:  # noqa: FBT001 - as the house calls it
        if is_new_day:
            self._ranges = {}
        before = self._ranges.get("battery_v")
        self._ranges = {name: self.range_today(name) for name in _RANGES}
        low, high = self._ranges["battery_v"]
        self.low_s = self.house.now_s if before is None or low < before[0] else self.low_s
        self.high_s = self.house.now_s if before is None or high > before[1] else self.high_s

    def _rates(self) -> dict[str, float]:
        return {
            "pv": self.pv_w,
            "load": self.load_w,
            "charged": max(0.0, self.battery_w),
            "discharged": max(0.0, -self.battery_w),
            "imported": max(0.0, self.grid_w),
            "exported": max(0.0, -self.grid_w),
        }
