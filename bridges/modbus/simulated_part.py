"""What of the simulated house one device shows: its own part, or all of it."""

from collections.abc import Set as AbstractSet

from heliobus.house import House

PV_PEAK_W = 3200.0
_OTHER_SHARE = 0.3  # of the loads, behind a meter that is none of the house


class Part:
    """What a device shows that is of no other kind: the whole house. Powers in W, now.

    `ac_w`: what goes through its AC side, or through a meter.
    """

    peak_w = PV_PEAK_W

    def __init__(self, house: House) -> None:
        self.house = house

    @property
    def pv_w(self) -> float:
        """Give what its panels give."""
        return self.house.pv_w

    @property
    def load_w(self) -> float:
        """Give what the loads behind it take."""
        return self.house.load_w

    @property
    def grid_w(self) -> float:
        """Give what it takes from the mains."""
        return self.house.grid_w

    @property
    def battery_w(self) -> float:
        """Give what it puts into the battery."""
        return self.house.battery_w

    @property
    def capacity_wh(self) -> float:
        """Give what its battery holds."""
        return self.house.capacity_wh

    @property
    def ac_w(self) -> float:
        """Give what goes through its AC side."""
        return self.house.load_w


class _Charger(Part):
    """A charge controller: what its panels give goes into the battery."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(house)
        self._array = house.array(name, self.peak_w)

    @property
    def pv_w(self) -> float:
        return self._array.w

    battery_w = pv_w


class _SolarInverter(Part):
    """An inverter without a battery, which feeds into the house."""

    battery_w = 0.0

    def __init__(self, house: House, name: str) -> None:
        super().__init__(house)
        self._array = house.array(name, self.peak_w, coupled=True)

    @property
    def pv_w(self) -> float:
        return self._array.w

    ac_w = pv_w


class _Inverter(Part):
    """A battery inverter with its circuit, and panels of its own if it has a word for them."""

    def __init__(self, house: House, name: str, *, has_panels: bool) -> None:
        super().__init__(house)
        pv_w = self.peak_w if has_panels else 0.0
        self._inverter = house.inverter(name, pv_w=pv_w, couples=True)

    @property
    def pv_w(self) -> float:
        return self._inverter.pv_w

    @property
    def load_w(self) -> float:
        return self._inverter.load_w

    @property
    def grid_w(self) -> float:
        return self._inverter.grid_w

    @property
    def battery_w(self) -> float:
        return self._inverter.battery_w

    @property
    def ac_w(self) -> float:
        return self._inverter.output_w


class _Battery(Part):
    """One battery of those that the house has."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(house)
        self._bank = house.bank(name)

    @property
    def capacity_wh(self) -> float:
        return self._bank.capacity_wh

    @property
    def battery_w(self) -> float:
        return self._bank.w

    ac_w = battery_w


class _Meter(Part):
    def __init__(self, house: House, role: str) -> None:
        super().__init__(house)
        self._role = role

    @property
    def ac_w(self) -> float:
        house = self.house
        if self._role == "other":
            return _OTHER_SHARE * house.load_w
        return {"grid": house.grid_w, "pv": house.solar_w, "battery": house.battery_w}.get(
            self._role, house.load_w
        )


def part_of(house: House, name: str, kind: str, *, role: str, fields: AbstractSet[str]) -> Part:
    """Have a device join the house, by its kind, its role and what it has words for."""

    def knows(*prefixes: str) -> bool:
        return any(field.startswith(prefixes) for field in fields)

    if kind == "meter":
        return _Meter(house, role)
    if kind == "battery":
        return _Battery(house, name)
    if kind == "charger":
        return _Charger(house, name)
    if kind == "inverter" and not knows("battery_", "soc_", "charge"):
        return _SolarInverter(house, name)
    if kind == "inverter":
        return _Inverter(house, name, has_panels=knows("pv_", "yield_"))
    return Part(house)
