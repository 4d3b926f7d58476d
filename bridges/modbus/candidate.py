"""One profile that a device may have: its rows by group, and whether what it says fits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bridges.modbus.asking import Asker
from bridges.modbus.codec import Image, decode
from bridges.modbus.options import in_order
from bridges.modbus.registers import Group, Profile, Row
from heliobus.errors import FrameError

FIRST = "first"
# Whole numbers, and floats in the other order of words, read as floats are mostly this near to 0.
_NO_MEASUREMENT: Final = 1e-9


class Candidate:
    """A profile, and what is known of the device by it."""

    def __init__(self, profile: Profile, unit: int) -> None:
        self.profile = profile
        self.unit = unit
        self.rows: Mapping[str, Sequence[Row]] = {
            **{group.value: self._group(group) for group in Group},
            FIRST: self.with_scales([*self._group(Group.FAST), *self.probe]),
        }
        self.forget()

    def forget(self) -> None:
        """Forget what was learned of the device."""
        self.asker = Asker(self.profile, self.unit)
        self.is_sure = False

    @property
    def probe(self) -> list[Row]:
        """Give the row by which the device is known, where there is one."""
        return [] if self.profile.probe is None else [self.profile.probe]

    def with_scales(self, rows: Iterable[Row]) -> list[Row]:
        """Give rows and what they are multiplied by."""
        rows = list(rows)
        needed = {name: self.profile.scales[name] for row in rows for name in row.scales}
        return [*needed.values(), *rows]

    def _group(self, group: Group) -> list[Row]:
        rows = [row for row in self.profile.rows if row.group is group]
        if group is Group.ONCE:
            rows += self.profile.identity.values()
        return self.with_scales(rows)

    # ------------------------------------------------------------------ what it says

    def probed(self, image: Image) -> float | None:
        """Give the value of the probe, plausible or not; None where the image has none."""
        if self.profile.probe is None:
            return None
        bare = replace(self.profile.probe, least=None, most=None)
        value = decode([bare], self.profile.scales, image).get(bare.name)
        return float(value) if isinstance(value, int | float) else None

    def fits(self, value: float) -> bool:
        """Say whether a value of the probe is plausible."""
        probe = self.profile.probe
        least, most = (probe.least, probe.most) if probe else (None, None)
        if 0 < abs(value) < _NO_MEASUREMENT:
            return False
        return (least is None or value >= least) and (most is None or value <= most)

    def judge(self, image: Image) -> None:
        """Raise FrameError where the probe says that it is another device, or set otherwise."""
        value = self.probed(image)
        if value is None:
            self.is_sure = self.profile.probe is None
            return
        self.is_sure = self.fits(value)
        if not self.is_sure:
            raise FrameError(f"{self.told(value)}; {self._advice(image)}")

    def told(self, value: float | None) -> str:
        """Word what the probe says, and what was expected."""
        probe = self.profile.probe
        if probe is None or value is None:
            return f"{self.profile.name} finds nothing to know it by"
        limits = {"at least": probe.least, "at most": probe.most}
        expected = " and ".join(f"{word} {n:g}" for word, n in limits.items() if n is not None)
        told = f"by {self.profile.name} its {probe.name} is {value:.6g}"
        if 0 < abs(value) < _NO_MEASUREMENT:
            return f"{told}, which is no measurement"
        return f"{told}, expected {expected}"

    def _advice(self, image: Image) -> str:
        probe = self.profile.probe
        if probe is not None and probe.count > 1:
            words = "big" if probe.little else "little"
            other = Candidate(in_order(self.profile, words), self.unit)
            value = other.probed(image)
            if value and other.fits(value):
                return f"with 'words: {words}' it would be {value:.6g}: is it set to that order?"
        return f"is that its profile, and {self.unit} its unit id?"
