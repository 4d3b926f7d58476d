"""What a turn reads of the devices behind a gateway: many infos at once, or each by itself.

A gateway with old software (before 1.6.74) refuses many at once; that is learned, and so is which
objects a device does not have.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bridges.studer.asking import Asker
from bridges.studer.codec import Format, Infos, Value, unpack
from bridges.studer.frame import NOT_NOW, Error, Question, Refused
from bridges.studer.objects import FAMILIES, SETTINGS, Family, Object, Values
from heliobus.errors import FrameError
from heliobus.exchange import Echo, Silence, Wire
from heliobus.faults import Faults

_log = logging.getLogger(__name__)

# About 0.1 s on the wire at 38400 baud; more at once would hold up the portal and save little.
_AT_ONCE = 24
_TRIES = 2
_GONE = (Error.DEVICE_NOT_FOUND, Error.RESPONSE_TIMEOUT)
_BATTERIES = ("bms", "bsp")

Wanted: TypeAlias = tuple["Device", Object]
Read: TypeAlias = dict[str, Values]  # by the part


@dataclass(frozen=True, slots=True)
class Device:
    """A device behind the gateway."""

    family: Family
    address: int

    @property
    def part(self) -> str:
        """Name it."""
        return self.family.part(self.address)

    def key(self, each: Object) -> tuple[int, int]:
        """Name one of its infos among many."""
        return each.number, self.family.index(self.address)


class Reader:
    """Reads the devices of one gateway. `name` is for messages."""

    def __init__(self, asker: Asker, name: str) -> None:
        self._asker = asker
        self._name = name
        self._faults = Faults(_log)
        self.forget()

    def forget(self) -> None:
        """Forget what was learned: another gateway may be there."""
        self._one_by_one = False
        self._proven = False  # it has given many at once
        self._silences = 0  # to many at once, while that was not proven
        self._lacking: set[tuple[int, int]] = set()
        self._mute: set[Device] = set()

    def read(self, link: Wire, devices: Sequence[Device], group: str) -> Read:
        """Read a group of all devices; those that are not there are left out.

        Raise FrameError where nothing can be read now, LinkError.
        """
        wanted = [
            (device, each)
            for device in devices
            for each in device.family.of(group)
            if (device.address, each.number) not in self._lacking
        ]
        if not self._one_by_one and group != SETTINGS:  # which are parameters
            try:
                return self._at_once(link, wanted)
            except (Silence, Echo):
                raise
            except FrameError as error:
                if _is_busy(error):
                    raise
                self._learn(error)
        return self._singly(link, wanted)

    def find(self, link: Wire, known: Sequence[Device], only: Collection[str] = ()) -> list[Device]:
        """Look for devices that are not known yet, or `only` for these parts.

        Raise FrameError, LinkError.
        """
        found: list[Device] = []
        for family in FAMILIES.values():
            has_battery = any(each.family.name in _BATTERIES for each in (*known, *found))
            if family.name in _BATTERIES and has_battery:
                continue
            for address in family.addresses:
                device = Device(family, address)
                if device in known or (only and device.part not in only):
                    continue
                if (device in self._mute and not only) or not self._is_there(link, device):
                    break
                found.append(device)
        return found

    # ------------------------------------------------------------------ how

    def _is_there(self, link: Wire, device: Device) -> bool:
        question = Question.info(device.address, device.family.seek)
        try:
            data = self._patiently(link, question, once=device in self._mute)
        except Refused as error:
            if _is_busy(error):
                raise
            return False
        except Silence:
            if self._asker.flags is None:
                raise
            self._mute.add(device)  # a gateway that says nothing of what is not there
            return False
        # A BSP has no version of a battery's own electronics.
        return device.family.name not in _BATTERIES or unpack(Format.FLOAT, data) is not None

    def _patiently(self, link: Wire, question: Question, *, once: bool) -> bytes:
        try:
            return self._asker.ask(link, question)
        except Silence:
            if once:
                raise
            return self._asker.ask(link, question)

    def _at_once(self, link: Wire, wanted: Sequence[Wanted]) -> Read:
        values: Read = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            told = self._infos(link, [device.key(each) for device, each in some]).values
            self._proven = True
            for device, each in some:
                fields = self._fields(device, each, told.get(device.key(each)))
                if fields:
                    values.setdefault(device.part, {}).update(fields)
        return values

    def _infos(self, link: Wire, items: Sequence[tuple[int, int]]) -> Infos:
        for _ in range(_TRIES - 1):
            try:
                return self._asker.infos(link, items)
            except Silence:
                self._silences += 1
        try:
            return self._asker.infos(link, items)
        except Silence as error:
            self._silences += 1
            if not self._proven and self._silences >= 2 * _TRIES:
                self._learn(error)
            raise

    def _learn(self, error: FrameError) -> None:
        if not self._proven:
            self._one_by_one = True
            _log.info("%s: reading its values one by one (%s)", self._name, error)

    def _singly(self, link: Wire, wanted: Sequence[Wanted]) -> Read:
        values: Read = {}
        silent: set[Device] = set()
        gone: set[Device] = set()
        for device, each in wanted:
            if device in gone:
                continue
            try:
                fields = self._one(link, device, each)
            except Refused as error:
                if _is_busy(error):
                    raise
                gone.add(device)
                continue
            except (Silence, Echo):
                if not values:
                    raise
                gone.add(device)
                silent.add(device)
                if len(silent) > 1:  # perhaps all is gone: no timeout for each device
                    break
                continue
            values.setdefault(device.part, {}).update(fields)
        parts = {device.part for device in gone}
        return {part: fields for part, fields in values.items() if fields and part not in parts}

    def _one(self, link: Wire, device: Device, each: Object) -> Values:
        """Read one value; none where the device does not have it. Raise Refused: it is gone."""
        try:
            data = self._asker.ask(link, each.question(device.address))
            value = unpack(each.form, data)
        except Refused as error:
            if error.code in _GONE or _is_busy(error):
                raise
            if error.code not in NOT_NOW:
                self._leave_out(device, each, error)
            return {}
        except (Silence, Echo):
            raise
        except FrameError as error:
            self._leave_out(device, each, error)
            return {}
        return self._fields(device, each, value)

    def _fields(self, device: Device, each: Object, value: Value | None) -> Values:
        try:
            return each.fields(value)
        except FrameError as error:
            self._faults.report(f"{device.part} {each.number}", f"{self._name}: {error}")
            return {}

    def _leave_out(self, device: Device, each: Object, error: FrameError) -> None:
        self._lacking.add((device.address, each.number))
        _log.debug("%s: %s has no %s: %s", self._name, device.part, each.name, error)


def _is_busy(error: FrameError) -> bool:
    return isinstance(error, Refused) and error.code == Error.GATEWAY_BUSY
