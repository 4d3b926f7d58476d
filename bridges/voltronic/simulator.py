"""A simulated inverter: the same bytes as a real one, of a house that lives through the day.

It takes the bytes of requests and gives the bytes of answers; whoever serves it owns the port,
the speed and the faults of the line. What belongs to the device itself is here: models that
answer differently, NAK on demand, warnings on demand.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from zlib import crc32

from bridges.voltronic.frame import LONGEST, answer, checksum, command_of
from bridges.voltronic.house import BATTERY_RATED_V, PV_PEAK_W, House
from heliobus.errors import ConfigError
from heliobus.house import House as TheHouse
from heliobus.line import Faults
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "VARIANTS", "Simulator", "Variant", "simulate"]

_RATED_W = 5000
_SERIAL = "92932105105335"
_NAK = "NAK"
_SHORT_WARNINGS, _LONG_WARNINGS = 32, 36
_FULL_SOC, _NEARLY_FULL_SOC = 0.995, 0.95


@dataclass(frozen=True, slots=True)
class Variant:
    """What one model says otherwise. `refuses` and `ignores` are what it does not know."""

    title: str
    ratings_tail: str = " 0 54.0 0 1"
    warnings: int = _LONG_WARNINGS
    second_pv: bool = False
    feed_fields: bool = False
    revo: bool = False
    firmware: str = "VERFW:00072.70"
    model: str = ""
    end: bytes = b"\r"
    refuses: frozenset[str] = frozenset()
    echoes: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()


_NEW = frozenset({"QSID", "QVFW2", "QGMN", "QMN", "QT", "QET", "QEY", "QEM", "QED"})
_LOADS = frozenset({"QLT", "QLY", "QLM", "QLD"})
_TWO = frozenset({"QPIGS2"})

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "pi30": Variant(
            "Axpert MKS of 2014 and later: one PV input, no energy counters",
            warnings=_SHORT_WARNINGS,
            refuses=_NEW | _LOADS | _TWO,
        ),
        "pi30max": Variant(
            "Axpert MAX: two PV inputs, energy counters, 24 status fields",
            ratings_tail=" 0 54.0 0 1 480 0 140",
            second_pv=True,
            feed_fields=True,
            firmware="VERFW:00041.17",
            model="MAX-8000",
        ),
        "pip_gk": Variant(
            "PIP-GK/MK: one PV input, long warnings",
            refuses=_LOADS | _TWO | {"QVFW2", "QT", "QET", "QEY", "QEM", "QED"},
            model="PIP5048GK",
        ),
        "revo": Variant(
            "Revo: 21 rating fields, PV energy of the day in QPIGS, LF alone at the end",
            ratings_tail="",
            warnings=_SHORT_WARNINGS,
            revo=True,
            end=b"\n",
            refuses=_NEW | _LOADS | _TWO | {"Q1"},
        ),
        "clone": Variant(
            "A VMII-NXPW5KW: voltages at the end of QPIRI, CR LF, echoes what it does not know",
            ratings_tail=" 0 54.0 0 1 46.0 10 44.0",
            model="VMII-NXPW5KW",
            end=b"\r\n",
            echoes=_LOADS | _TWO | {"QVFW2"},
            ignores=frozenset({"QSID"}),
        ),
    }
)


class Simulator:
    """A simulated inverter of one `variant`.

    `answered_polls` counts the answers to QPIGS that went out whole, `asked` every command.
    `refused` commands are answered NAK, and positions in `warning_bits` are raised in QPIWS; both
    may be changed at any time. `house` is what it measures; `faults` is asked for `nak` only.
    """

    def __init__(
        self,
        variant: str = "pi30max",
        *,
        seed: int = 1,
        clock: Callable[[], float] = time.time,
        faults: Faults | None = None,
    ) -> None:
        if variant not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise ConfigError(f"variant: found {variant!r:.60}, expected one of {known}")
        self.variant = VARIANTS[variant]
        self.answered_polls = 0
        self.asked: Counter[str] = Counter()
        self.refused: set[str] = set()
        self.warning_bits: set[int] = set()
        self._clock = clock
        self._faults = faults
        self.house = House(clock(), seed=seed)
        self._got = b""
        self._last = ""

    def take(self, data: bytes) -> bytes:
        """Take bytes of requests, whole or in parts; give the answer to each whole one."""
        self._got += data
        out = b""
        while b"\r" in self._got:
            body, _, self._got = self._got.partition(b"\r")
            out += self._respond(body.lstrip(b"\n\0"))
        self._got = self._got[-LONGEST:]
        return out

    def sent(self, answer: bytes, *, whole: bool) -> None:  # noqa: ARG002 - as the line calls it
        """Learn whether the last answer went out whole."""
        if whole and self._last == "QPIGS":
            self.answered_polls += 1

    def _respond(self, body: bytes) -> bytes:
        command = command_of(body) or ""
        self._last = ""
        if checksum(body[:-2]) != body[-2:]:
            return self._frame(_NAK)
        self.asked[command] += 1
        name = command.rstrip("0123456789") if command not in _ANSWERS else command
        if name in self.variant.ignores:
            return b""
        if name in self.variant.echoes:
            return body + b"\r"
        refused = self.refused | self.variant.refuses
        say = _ANSWERS.get(name)
        if say is None or name in refused or (self._faults and self._faults.strikes("nak")):
            return self._frame(_NAK)
        self._last = command
        self.house.live_until(self._clock())
        return self._frame(say(self.variant, self.house, self))

    def _frame(self, payload: str) -> bytes:
        return answer(payload, self.variant.end)


# ---------------------------------------------------------------------- what it says

Say = Callable[[Variant, House, Simulator], str]


def _status(variant: Variant, house: House, _: Simulator) -> str:
    load_va = house.load_w * 1.06
    pv_w = house.pv_w * (0.6 if variant.second_pv else 1.0)
    pv_v = 240.0 + 60.0 * pv_w / PV_PEAK_W if pv_w > 1.0 else 0.0
    amps = house.battery_w / house.battery_v
    grid_v = 230.0 if house.on_grid else 0.0
    charging = house.battery_w > 1.0
    bits = f"000{house.load_w > 0:d}0{charging:d}{charging and pv_w > 1.0:d}0"
    field_15 = house.pv.today_wh if variant.revo else max(0.0, -amps)
    fields = (
        f"{grid_v:05.1f} {50.0 if house.on_grid else 0.0:04.1f} 230.1 50.0"
        f" {load_va:04.0f} {house.load_w:04.0f} {load_va / _RATED_W * 100:03.0f}"
        f" 398 {house.battery_v:05.2f} {max(0.0, amps):03.0f} {house.soc * 100:03.0f}"
        f" {32.0 + house.load_w / 150:04.0f} {pv_w / pv_v if pv_v else 0.0:04.1f} {pv_v:05.1f}"
        f" {house.battery_v if pv_v else 0.0:05.2f} {field_15:05.0f}"
        f" {bits} 00 00 {pv_w:05.0f} {house.soc > _FULL_SOC:d}10"
    )
    return fields + (" 0 00 0000" if variant.feed_fields else "")


def _second(_: Variant, house: House, __: Simulator) -> str:
    pv_w = house.pv_w * 0.4
    pv_v = 210.0 + 50.0 * pv_w / PV_PEAK_W if pv_w > 1.0 else 0.0
    return f"{pv_w / pv_v if pv_v else 0.0:04.1f} {pv_v:05.1f} {pv_w:05.0f} "


def _ratings(variant: Variant, _: House, __: Simulator) -> str:
    return (
        f"230.0 21.7 230.0 50.0 21.7 {_RATED_W} {_RATED_W} {BATTERY_RATED_V:04.1f} 46.0 42.0"
        f" 56.4 54.0 2 030 080 0 2 3 9 01 0{variant.ratings_tail}"
    )


def _warnings(variant: Variant, house: House, device: Simulator) -> str:
    raised = set(device.warning_bits)
    if not house.on_grid:
        raised.add(5)
    if house.pv_w < 1.0 and variant.warnings > _SHORT_WARNINGS:
        raised.add(0)
    return "".join(str(int(at in raised)) for at in range(variant.warnings))


def _charger(_: Variant, house: House, __: Simulator) -> str:
    stage = 11 + (house.soc > _NEARLY_FULL_SOC) + (house.soc > _FULL_SOC)
    stage = stage if house.pv_w >= 1.0 else 10
    celsius = 28.0 + house.load_w / 200
    return (
        f"00000 00000 01 01 {max(0.0, house.battery_w) / house.battery_v:02.0f}"
        f" {celsius + 4:03.0f} {celsius:03.0f} 025 {celsius + 2:03.0f} 02 00 000 0030"
        f" {max(0.0, house.battery_w):04.0f} 0000 {50.0 if house.on_grid else 0.0:05.2f} {stage}"
    )


def _energy(counter: str, span: str, step_wh: int) -> Say:
    """Say a counter; months, years and totals move in steps of 100 Wh, as recorded."""

    def say(_: Variant, house: House, __: Simulator) -> str:
        energy_wh = getattr(getattr(house, counter), span)
        return f"{energy_wh // step_wh * step_wh:08.0f}"

    return say


_ANSWERS: Mapping[str, Say] = MappingProxyType(
    {
        "QPI": lambda *_: "PI30",
        "QID": lambda *_: _SERIAL,
        "QSID": lambda *_: f"{len(_SERIAL):02}{_SERIAL}".ljust(22, "0"),
        "QVFW": lambda variant, *_: variant.firmware,
        "QVFW2": lambda *_: "VERFW2:00012.03",
        "QMN": lambda variant, *_: variant.model,
        "QGMN": lambda *_: "044",
        "QMOD": lambda _, house, __: "L" if house.on_grid else "B",
        "QPIGS": _status,
        "QPIGS2": _second,
        "QPIRI": _ratings,
        "QPIWS": _warnings,
        "QFLAG": lambda *_: "EakxyzDbjuv",
        "Q1": _charger,
        "QT": lambda _, house, __: f"{house.time:%Y%m%d%H%M%S}",
        "QET": _energy("pv", "total_wh", 100),
        "QEY": _energy("pv", "year_wh", 100),
        "QEM": _energy("pv", "month_wh", 100),
        "QED": _energy("pv", "today_wh", 1),
        "QLT": _energy("load", "total_wh", 100),
        "QLY": _energy("load", "year_wh", 100),
        "QLM": _energy("load", "month_wh", 100),
        "QLD": _energy("load", "today_wh", 1),
    }
)

SIMULATOR = Simulator


class Inverter(Simulator):
    """The simulated inverter in the place of one of the configuration."""

    def __init__(
        self, device: DeviceSettings, *, clock: Callable[[], float], faults: Faults | None
    ) -> None:
        revo = device.options.get("layout") == "revo"
        seed = crc32(device.name.encode())  # no two have the same clouds
        super().__init__("revo" if revo else "pi30max", seed=seed, clock=clock, faults=faults)
        self._name = device.name

    @property
    def polls(self) -> Mapping[str, int]:
        """Give how many polls were answered whole, by device."""
        return {self._name: self.answered_polls}


def simulate(
    devices: Sequence[DeviceSettings],
    *,
    house: TheHouse,
    faults: Faults | None = None,
) -> Inverter:
    """Give what is at the far end of a link: such a line has one inverter."""
    return Inverter(devices[0], clock=house.clock, faults=faults)
