"""Units in parallel: one cable, and each unit is a device of its own.

The unit on the cable answers for all of them by their number. Numbers are dealt out anew when units
are switched on, so a unit is known by its serial number, and keeps the name that it once had.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from bridges.voltronic.codec import Nak
from bridges.voltronic.columns import Values
from bridges.voltronic.dialects import Dialect
from heliobus.bridge import Identity, Part
from heliobus.errors import FrameError, LinkError
from heliobus.faults import Faults
from heliobus.link import Silence

_log = logging.getLogger(__name__)

# Said by each unit of all of them together: values of the device itself.
_TOTALS = ("total_charge_a", "total_output_va", "total_output_w", "total_load_percent")
_NO_VALUES = ("parallel_present", "serial")
_REFUSALS = 3  # a single one may also mean that noise damaged the request
_LONGEST_REST_S = 60.0
# An inverter that is switched on again is not back within less: a shorter beat sees that it is off.
_SOONEST_BACK_S = 10.0

Query = Callable[[str], Values]


class Units:
    """The units of one entry. `names` are the owner's, by `unit_1` or by the serial number."""

    def __init__(self, device: str, count: int, every_s: float, names: Mapping[str, str]) -> None:
        self.count = count
        self._device = device
        self._names = names
        self._most_rest = int(_LONGEST_REST_S / every_s)
        self._is_slow = every_s > _SOONEST_BACK_S
        self._part_of: dict[str, str] = {}  # by the serial number
        self._twins: set[str] = set()  # serial numbers that several units have
        self._faults = Faults(_log)
        self.parts: Mapping[str, Part] = {part: Part("", name=own) for part, own in names.items()}
        self.forget()

    def forget(self) -> None:
        """Forget who is where; a unit that comes back has its name again."""
        self._serials: dict[int, str] = {}  # of PI18 units, which say it apart
        self._refusals: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()  # in a row, by the number
        self._rests: dict[int, int] = defaultdict(int)  # beats to let it be

    def doubt(self) -> None:
        """Ask again who is where."""
        self._serials.clear()

    def poll(self, query: Query, dialect: Dialect) -> tuple[dict[str, Values], Values]:
        """Ask all units; give their values by the part, and those of all together.

        What fell silent is asked last and seldom, and the first silence ends the turn: one dead
        unit costs the others one timeout at each back-off.
        """
        if self._is_slow:
            self.doubt()  # they may have been off and on since the last beat
        told: dict[int, Values] = {}
        for n in sorted(range(self.count), key=lambda n: self._failures[n]):
            if self._rests[n]:
                self._rests[n] -= 1
                continue
            try:
                told[n] = self._ask(query, dialect, n)
            except LinkError:
                break  # it shows at the next question; what was said until now was measured
            except FrameError as error:
                self._failed(n, f"{error}; going on without that unit")
                if isinstance(error, Silence):
                    break
        return self._sorted({n: told[n] for n in sorted(told)})

    def _ask(self, query: Query, dialect: Dialect, n: int) -> Values:
        values = query(dialect.unit.format(n=n))
        if values.get("parallel_present") and dialect.who:
            values["serial"] = self._who(query, dialect.who.format(n=n), n)
        self._failures[n] = 0
        return values

    def _who(self, query: Query, question: str, n: int) -> str:
        if n not in self._serials:
            try:
                self._serials[n] = str(query(question).get("serial", ""))
            except Nak:
                self._refusals[n] += 1
                if self._refusals[n] < _REFUSALS:
                    raise
                self._serials[n] = ""  # this model does not say it
        return self._serials[n]

    def _failed(self, n: int, text: str) -> None:
        self._serials.pop(n, None)
        self._failures[n] += 1
        self._rests[n] = min(2 ** min(self._failures[n] - 1, 10) - 1, self._most_rest)
        self._report(n, text)

    def _report(self, n: int, text: str) -> None:
        self._faults.report(f"{n}", f"{self._device}: {text}", alike=True)

    # ------------------------------------------------------------------ who is who

    def _sorted(self, told: Mapping[int, Values]) -> tuple[dict[str, Values], Values]:
        found: dict[str, Values] = {}
        totals: Values = {}
        there = {n: values for n, values in told.items() if values.get("parallel_present")}
        self._know_twins([str(values.get("serial", "")) for values in there.values()])
        for n, values in told.items():
            if n not in there:
                self._serials.pop(n, None)
                self._report(n, f"unit {n + 1} of {self.count} is not there; is it off?")
                continue
            self._faults.over(f"{n}", f"{self._device}: unit {n + 1} is there again")
            serial = str(values.get("serial", ""))
            totals = totals or {name: values[name] for name in _TOTALS if name in values}
            hidden = (*_TOTALS, *_NO_VALUES)
            part = self._part(n, serial)
            found[part] = {name: own for name, own in values.items() if name not in hidden}
        if len(there) == self.count:
            self._compare_names(found)
        return found, totals

    def _know_twins(self, serials: list[str]) -> None:
        """Take no notice of a serial number that several have, as some clones do."""
        twins = {serial for serial, count in Counter(serials).items() if count > 1}
        for serial in twins - self._twins:
            self._part_of.pop(serial, None)
        self._twins |= twins

    def _part(self, n: int, serial: str) -> str:
        """Give the part that a unit is: the one that it was, else one that nobody was."""
        is_known = bool(serial.strip("0")) and serial not in self._twins
        key = serial if is_known else f"number {n}"
        if key not in self._part_of:
            self._part_of[key] = serial if serial in self._names and is_known else self._free(n)
        part = self._part_of[key]
        about = Part("inverter", Identity("Voltronic", serial=serial), name=self._name(part))
        if self.parts.get(part) != about:
            self.parts = {**self.parts, part: about}
        return part

    def _free(self, n: int) -> str:
        taken = self._part_of.values()
        wanted = [n + 1, *range(1, len(taken) + 2)]
        return next(part for k in wanted if (part := f"unit_{k}") not in taken)

    def _name(self, part: str) -> str:
        return self._names.get(part, "")

    def _compare_names(self, found: Mapping[str, Values]) -> None:
        """Say which names of the configuration are of nobody: off, or misspelled."""
        if missing := [part for part in self._names if part not in found]:
            there = (f"{part} ({self.parts[part].identity.serial})" for part in found)
            self._faults.report(
                "names",
                f"{self._device}: parts: no {', '.join(missing)} in parallel;"
                f" there are: {', '.join(there)}",
            )
        else:
            self._faults.over("names", f"{self._device}: all that parts names is there")
