"""What the simulated devices of an installation say of the house: their infos and parameters.

A bool is a BOOL, an int a SHORT_ENUM, a float a FLOAT, None a FLOAT that is no number. Powers are
in kW and lifetime energies in MWh, as the appendix of Studer's specification has them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from heliobus.house import House

Told: TypeAlias = Mapping[int, bool | int | float | None]

FIRMWARE: Final = (0x0100, 0x064A)  # 1.6.74
_FULL_SOC, _NEARLY_FULL_SOC = 0.99, 0.95
_VOLTS = 230.0
_TRACK_W, _STRING_W = 3200.0, 4500.0  # of the panels
_PANELS_V, _STRING_V = 96.0, 410.0
_AMPS = 60.0
_SUN_W = 50.0  # what counts as an hour of sun
_BULK, _ABSORPTION, _FLOAT = 0, 1, 3  # an Xtender counts from 1
_FLOAT_V, _ABSORPTION_V, _EQUALIZE_V = 54.4, 57.6, 62.4
_DOWN_TO_V = 46.0


class Device(Protocol):
    """One simulated device; `parameters` never change."""

    parameters: Told

    def infos(self) -> Told:
        """Give all that it measures and says, inside `with house:`."""
        ...


def _celsius(house: House, watts: float) -> float:
    return 24.0 + 6.0 * house.sun + abs(watts) / 250.0


def _phase(house: House) -> int:
    """Give the stage of the charge: bulk, absorption, floating."""
    if house.soc > _FULL_SOC:
        return _FLOAT
    return _ABSORPTION if house.soc > _NEARLY_FULL_SOC else _BULK


def _serial(number: int) -> tuple[float, float]:
    """Give the halves of a serial number."""
    return float(0x0A41 + number), float(0x2F00 + 17 * number)


class Xtender:
    """An XTM, which carries a circuit of the house."""

    parameters: Told = MappingProxyType(
        {1107: 32.0, 1138: _AMPS, 1140: _FLOAT_V, 1156: _ABSORPTION_V}
    )

    def __init__(self, house: House, name: str, number: int) -> None:
        self._house = house
        self._number = number
        self._is = house.inverter(name, couples=True)
        self._counters = house.count(self._rates)

    def _rates(self) -> Mapping[str, float]:
        battery_w = self._is.battery_w
        return {
            "load": max(0.0, self._is.output_w),
            "grid": max(0.0, self._is.grid_w),
            "in": max(0.0, battery_w),
            "out": max(0.0, -battery_w),
        }

    def infos(self) -> Told:
        """Give all that it measures and says."""
        return {**self._powers(), **self._energies(), **self._itself()}

    def _powers(self) -> Told:
        house, is_ = self._house, self._is
        on_mains = house.on_mains
        output_v = house.mains_v or _VOLTS
        battery_a = is_.battery_w / house.battery_v
        return {
            3000: house.battery_v,
            3005: battery_a,
            3007: 100.0 * house.soc,
            3010: _phase(house) + 1,
            3011: house.mains_v,
            3012: abs(is_.grid_w) / house.mains_v if on_mains else 0.0,
            3017: 32.0,
            3020: int(on_mains),
            3021: output_v,
            3022: abs(is_.output_w) / output_v,
            3028: 2 if on_mains else 1,
            3084: house.mains_hz,
            3085: house.mains_hz or 50.0,
            3095: battery_a,
            3136: is_.output_w / 1000.0,
            3137: is_.grid_w / 1000.0,
            3138: is_.grid_w / 1000.0,
            3139: abs(is_.output_w) / 1000.0,
        }

    def _energies(self) -> Told:
        today, before = self._counters.today, self._counters.yesterday
        return {
            3078: today["out"] / 1000.0,
            3079: today["in"] / 1000.0,
            3080: before.get("grid", 0.0) / 1000.0,
            3081: today["grid"] / 1000.0,
            3082: before.get("load", 0.0) / 1000.0,
            3083: today["load"] / 1000.0,
        }

    def _itself(self) -> Told:
        celsius = _celsius(self._house, self._is.output_w)
        high, low = _serial(self._number)
        return {
            3001: 21.5,
            3030: 1,
            3031: 0,
            3032: 0,
            3049: 1,
            3104: celsius + 6.0,
            3107: celsius,
            3124: 256.0,
            3130: float(FIRMWARE[0]),
            3131: float(FIRMWARE[1]),
            3156: high,
            3157: low,
        }


class _Charger:
    """What both sorts of solar chargers count."""

    def __init__(self, house: House, name: str, peak_w: float, number: int) -> None:
        self._house = house
        self._number = number
        self._is = house.array(name, peak_w)
        self._counters = house.count(self._rates)
        self._peak_w = 0.0
        self._peak_battery_v, self._least_battery_v = 0.0, house.battery_v
        house.watch(self._look)

    def _rates(self) -> Mapping[str, float]:
        watts = self._is.w
        amps = watts / self._house.battery_v
        return {"solar": watts, "charge": amps, "sun": float(self._is.possible_w > _SUN_W)}

    def _look(self, is_new_day: bool) -> None:  # noqa: FBT001 - as the house calls it
        volts = self._house.battery_v
        if is_new_day:
            self._peak_w, self._peak_battery_v, self._least_battery_v = 0.0, volts, volts
        self._peak_w = max(self._peak_w, self._is.w)
        self._peak_battery_v = max(self._peak_battery_v, volts)
        self._least_battery_v = min(self._least_battery_v, volts)

    @property
    def _solar_kwh(self) -> tuple[float, float, float]:
        """Give what was harvested: today, yesterday, ever."""
        of = self._counters
        today, before, ever = of.today["solar"], of.yesterday.get("solar", 0.0), of.total["solar"]
        return today / 1000.0, before / 1000.0, ever / 1000.0


class VarioTrack(_Charger):
    """A VT-65 with panels of its own."""

    parameters: Told = MappingProxyType(
        {
            10002: _AMPS,
            10005: _FLOAT_V,
            10009: _ABSORPTION_V,
            10011: 120.0,
            10017: False,
            10021: _EQUALIZE_V,
        }
    )

    def __init__(self, house: House, name: str, number: int) -> None:
        super().__init__(house, name, _TRACK_W, number)

    def infos(self) -> Told:
        """Give all that it measures and says."""
        house, watts = self._house, self._is.w
        today_kwh, yesterday_kwh, ever_kwh = self._solar_kwh
        panels_v = 3.0 if house.night else _PANELS_V + 20.0 * house.sun
        amps = watts / house.battery_v
        celsius = _celsius(house, watts)
        high, low = _serial(20 + self._number)
        return {
            11000: house.battery_v,
            11001: amps,
            11002: panels_v,
            11003: watts / panels_v,
            11004: watts / 1000.0,
            11005: 21.5,
            11006: self._counters.today["charge"],
            11007: today_kwh,
            11008: ever_kwh,
            11009: ever_kwh / 1000.0,
            11011: yesterday_kwh,
            11015: 1,
            11016: 0 if house.night else 8,
            11017: _PANELS_V + 20.0,
            11019: self._peak_w / 1000.0,
            11020: self._peak_battery_v,
            11021: self._least_battery_v,
            11025: self._counters.today["sun"],
            11034: 0,
            11038: _phase(house),
            11039: house.battery_v,
            11040: amps,
            11043: watts / 1000.0,
            11045: celsius + 8.0,
            11046: celsius,
            11050: float(FIRMWARE[0]),
            11051: float(FIRMWARE[1]),
            11061: 0,
            11062: 0,
            11067: high,
            11068: low,
            11069: 1,
        }


class VarioString(_Charger):
    """A VS-120 with two strings of panels, which are alike."""

    parameters: Told = MappingProxyType(
        {14005: _FLOAT_V, 14009: _ABSORPTION_V, 14011: 120.0, 14017: False, 14021: _EQUALIZE_V}
    )

    def __init__(self, house: House, name: str, number: int) -> None:
        super().__init__(house, name, _STRING_W, number)

    def infos(self) -> Told:
        """Give all that it measures and says."""
        house, watts = self._house, self._is.w
        celsius = _celsius(house, watts)
        high, low = _serial(40 + self._number)
        return {
            **self._powers(),
            **self._energies(),
            15001: watts / house.battery_v,
            15032: 21.5,
            15042: 0.0,
            15049: 0,
            15053: _ABSORPTION_V if house.soc <= _FULL_SOC else _FLOAT_V,
            15054: house.battery_v,
            15057: watts / house.battery_v,
            15065: celsius + 8.0,
            15068: celsius,
            15074: 12801.0,
            15077: float(FIRMWARE[0]),
            15078: float(FIRMWARE[1]),
            15088: 0,
            15089: 0,
            15102: high,
            15103: low,
        }

    def _powers(self) -> Told:
        house, half_kw = self._house, self._is.w / 2000.0
        volts = 9.0 if house.night else _STRING_V + 40.0 * house.sun
        amps = 1000.0 * half_kw / volts
        return {
            15000: house.battery_v,
            15002: _phase(house),
            15004: volts,
            15005: volts,
            15006: volts,
            15007: 2.0 * amps,
            15008: amps,
            15009: amps,
            15010: 2.0 * half_kw,
            15011: half_kw,
            15012: half_kw,
            15013: 0 if house.night else 4,
        }

    def _energies(self) -> Told:
        today_kwh, yesterday_kwh, ever_kwh = self._solar_kwh
        ever_mwh = ever_kwh / 1000.0
        return {
            15016: self._counters.today["charge"],
            15017: today_kwh,
            15018: today_kwh / 2.0,
            15019: today_kwh / 2.0,
            15020: ever_kwh,
            15023: ever_mwh,
            15024: ever_mwh / 2.0,
            15025: ever_mwh / 2.0,
            15027: yesterday_kwh,
            15030: self._counters.today["sun"],
            15033: _STRING_V + 40.0,
            15037: self._peak_w / 1000.0,
            15040: self._peak_battery_v,
            15041: self._least_battery_v,
        }


class _Battery:
    """What a BSP and the battery behind an Xcom-CAN have in common, under one address."""

    parameters: Told = MappingProxyType({})

    def __init__(self, house: House, name: str) -> None:
        self._house = house
        self._is = house.bank(name)
        self._counters = house.count(self._rates)

    @property
    def _amps(self) -> float:
        return self._is.w / self._house.battery_v

    def _rates(self) -> Mapping[str, float]:
        return {"in": max(0.0, self._amps), "out": max(0.0, -self._amps)}

    def infos(self) -> Told:
        """Give all that it measures and says."""
        house, today = self._house, self._counters.today
        high, low = _serial(60)
        return {
            7000: house.battery_v,
            7001: self._amps,
            7002: 100.0 * house.soc,
            7003: self._is.w,
            7007: today["in"],
            7008: today["out"],
            7029: 22.0,
            7030: house.battery_v,
            7031: self._amps,
            7037: float(FIRMWARE[0]),
            7038: float(FIRMWARE[1]),
            7048: high,
            7049: low,
        }


class CanBattery(_Battery):
    """A Pylontech whose frames an Xcom-CAN repeats on Studer's bus."""

    def infos(self) -> Told:
        """Give all that it measures and says."""
        house, amps = self._house, 0.4 * self._is.capacity_wh / 48.0
        return {
            **super().infos(),
            7047: 1.0,
            7053: 1.0,
            7054: 258.0,
            7055: self._is.capacity_wh / 48.0,
            7056: 1.0,
            7057: 98.0,
            7058: 100.0 * house.soc,
            7061: 56.0,
            7062: _DOWN_TO_V,
            7063: house.charge_limit_w / house.battery_v,
            7064: amps,
            7067: 2,
        }


class Monitor(_Battery):
    """A battery monitor BSP, which knows its shunt and nothing of the battery's electronics."""

    def infos(self) -> Told:
        """Give all that it measures and says."""
        house, amps, total = self._house, self._amps, self._counters.total
        left_ah = house.soc * self._is.capacity_wh / 48.0
        return {
            **super().infos(),
            7004: None if amps >= 0 else 60.0 * left_ah / -amps,
            7005: 22.0,
            7011: total["in"] / 1000.0,
            7012: total["out"] / 1000.0,
            7034: 10241.0,
        }
