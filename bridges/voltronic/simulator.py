"""A simulated inverter: the same bytes as a real one, of a house that lives through the day.

It takes the bytes of requests and gives the bytes of answers; whoever serves it owns the port,
the speed and the faults of the line. What belongs to the device itself is here: models that
answer differently, NAK on demand, warnings on demand, units in parallel.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from zlib import crc32

from bridges.voltronic import simulated_pi18, simulated_pi30
from bridges.voltronic.frame import LONGEST, answer, checksum, command_of
from bridges.voltronic.simulated_unit import Plant, Variant
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Faults
from heliobus.settings import DeviceSettings

__all__ = ["SIMULATOR", "VARIANTS", "Simulator", "Variant", "simulate"]

_SERIAL = 92932105105335
_PI18_HEAD = re.compile(r"\^P\d{3}")

_NEW = frozenset({"QSID", "QVFW2", "QGMN", "QMN", "QT", "QET", "QEY", "QEM", "QED"})
_LOADS = frozenset({"QLT", "QLY", "QLM", "QLD"})
_TWO = frozenset({"QPIGS2"})
_LARGE = Variant(
    "Axpert MAX: two PV inputs, energy counters, 24 status fields",
    ratings_tail=" {mode} 54.0 0 1 480 0 140",
    second_pv=True,
    feed_fields=True,
    firmware="VERFW:00041.17",
    model="MAX-8000",
)

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "pi30": Variant(
            "Axpert MKS of 2014 and later: one PV input, no energy counters",
            warnings=simulated_pi30.SHORT_WARNINGS,
            refuses=_NEW | _LOADS | _TWO,
        ),
        "pi30max": _LARGE,
        "pip_gk": Variant(
            "PIP-GK/MK: one PV input, long warnings",
            refuses=_LOADS | _TWO | {"QVFW2", "QT", "QET", "QEY", "QEM", "QED"},
            model="PIP5048GK",
        ),
        "revo": Variant(
            "Revo: 21 rating fields, PV energy of the day in QPIGS, LF alone at the end",
            ratings_tail="",
            warnings=simulated_pi30.SHORT_WARNINGS,
            revo=True,
            end=b"\n",
            refuses=_NEW | _LOADS | _TWO | {"Q1"},
        ),
        "clone": Variant(
            "A VMII-NXPW5KW: voltages at the end of QPIRI, CR LF, echoes what it does not know",
            ratings_tail=" {mode} 54.0 0 1 46.0 10 44.0",
            model="VMII-NXPW5KW",
            end=b"\r\n",
            echoes=_LOADS | _TWO | {"QVFW2"},
            ignores=frozenset({"QSID"}),
        ),
        "parallel": replace(_LARGE, title="Three Axpert MAX in parallel, one cable", units=3),
        "pi18": Variant("InfiniSolar V or LV5048: speaks PI18, one PV input", pi18=True),
    }
)
_PARALLEL = frozenset({"QPGS", "PGS", "PRI"})


class Simulator:
    """A simulated inverter of one `variant`, or several in parallel.

    `answered_polls` counts the beats that were answered whole, `asked` every command. `refused`
    commands are answered NAK, `ignored` ones not at all, and positions in `warning_bits` are
    raised; all may be changed at any time, as may what `plant` says of its units. `faults` is
    asked for `nak` only.
    """

    def __init__(
        self,
        variant: str | Variant = "pi30max",
        *,
        name: str = "inverter",
        house: House | None = None,
        faults: Faults | None = None,
        serials: Sequence[str] = (),
    ) -> None:
        self.variant = variant if isinstance(variant, Variant) else _known(variant)
        self.house = house or House()
        serials = [*serials, *(f"{_SERIAL + at}" for at in range(self.variant.units))]
        self.plant = Plant(self.house, name, self.variant, serials)
        self.answered_polls = 0
        self.asked: Counter[str] = Counter()
        self.refused = set(self.variant.refuses) | (_PARALLEL if self.variant.units == 1 else set())
        self.ignored = set(self.variant.ignores)
        self.warning_bits = self.plant.warning_bits
        self._name = name
        self._faults = faults
        self._got = b""
        self._last = ""

    @property
    def polls(self) -> Mapping[str, int]:
        """Give how many polls were answered whole, by device."""
        return {self._name: self.answered_polls}

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
        if whole and self._last == self._end_of_beat:
            self.answered_polls += 1

    @property
    def _end_of_beat(self) -> str:
        """Name the last question without which the beat is not whole."""
        last = self.variant.units - 1
        if self.variant.pi18:
            return f"PGS{last}" if last else "GS"
        return f"QPGS{last}" if last else "QPIGS"

    def _respond(self, body: bytes) -> bytes:
        command = command_of(body) or ""
        self._last = ""
        if checksum(body[:-2]) != body[-2:]:
            return self._refusal()
        self.asked[command] += 1
        answers = simulated_pi18.ANSWERS if self.variant.pi18 else simulated_pi30.ANSWERS
        question = _PI18_HEAD.sub("", command) if self.variant.pi18 else command
        name = question if question in answers else question.rstrip("0123456789")
        if {name, question} & self.ignored:
            return b""
        if name in self.variant.echoes:
            return body + b"\r"
        say = answers.get(name)
        if say is None or {name, question} & self.refused or self._strikes():
            return self._refusal()
        self._last = question
        with self.house:
            return self._frame(say(self.plant.units[0], question))

    def _strikes(self) -> bool:
        return self._faults is not None and self._faults.strikes("nak")

    def _refusal(self) -> bytes:
        return self._frame("^0" if self.variant.pi18 else "NAK")

    def _frame(self, payload: str) -> bytes:
        return answer(payload, self.variant.end)


def _known(variant: str) -> Variant:
    if variant not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise ConfigError(f"variant: found {variant!r:.60}, expected one of {known}")
    return VARIANTS[variant]


SIMULATOR = Simulator


def simulate(
    devices: Sequence[DeviceSettings], *, house: House, faults: Faults | None = None
) -> Simulator:
    """Give what is at the far end of a link: such a line has one inverter on its cable."""
    device = devices[0]
    options = device.options
    variant = "pi18" if options.get("protocol") == "pi18" else "pi30max"
    if options.get("layout") == "revo":
        variant = "revo"
    model = replace(_known(variant), units=options.get("parallel", 1))
    # Those that the owner names, and others of which no two in a house are the same.
    named = [name for name in options.get("parts", {}) if name.isdigit()]
    serial = _SERIAL + 10 * (crc32(device.name.encode()) % 1_000_000)
    serials = [*named, *(f"{serial + at}" for at in range(model.units))]
    return Simulator(model, name=device.name, house=house, faults=faults, serials=serials)
