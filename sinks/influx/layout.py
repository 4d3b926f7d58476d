"""The layout `heliobus`: one measurement per kind, tags site and device, one field per value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from heliobus.contract import ANYTHING, Contract
from heliobus.cursor import Key
from heliobus.errors import FrameError
from heliobus.sample import Sample, Value, dumps
from sinks.influx.lines import line

Fields: TypeAlias = dict[str, float | str]

_MEASUREMENTS = {"event": "events"}
# Marks of a sample that are stored beside its values.
_MARKS = ("quality", "simulated")


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample and its lines; none where it says nothing that is kept. `fault`: why not."""

    sample: Sample
    lines: Sequence[bytes] = ()
    fault: str = ""

    @property
    def text(self) -> bytes:
        """Give the lines as they are sent."""
        return b"\n".join(self.lines)


class Layout(Protocol):
    """How samples become lines. `text`: the server keeps text as it is.

    `waiting` names those whose samples wait for something: they do not count as stored yet.
    """

    text: bool
    waiting: frozenset[Key]

    def __init__(self, contract: Contract) -> None:
        """Take the contract."""
        ...

    def entries(self, samples: Sequence[Sample]) -> list[Entry]:
        """Give the samples that are to be stored now."""
        ...

    def info(self, site: str, device: str, info: Mapping[str, Any]) -> None:
        """Hear what a device says of itself."""
        ...


class HeliobusLayout:
    """The layout `heliobus`."""

    waiting: frozenset[Key] = frozenset()

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.text = True

    def entries(self, samples: Sequence[Sample]) -> list[Entry]:
        """Give every sample, with its line."""
        return [self._entry(sample) for sample in samples]

    def info(self, site: str, device: str, info: Mapping[str, Any]) -> None:
        """Need nothing of it."""

    def _entry(self, sample: Sample) -> Entry:
        fields = self._fields(sample)
        if not fields:
            return Entry(sample)
        known = sample.kind if sample.kind in self._contract.kinds else ANYTHING
        # An event is said by a component: all of them have the same device name.
        device = sample.bridge or sample.device if sample.kind == "event" else sample.device
        tags = {"site": sample.site, "device": device}
        try:
            measurement = _MEASUREMENTS.get(known, known)
            return Entry(sample, [line(measurement, tags, fields, sample.time_ms)])
        except FrameError as error:
            return Entry(sample, fault=str(error))

    def _fields(self, sample: Sample) -> Fields:
        fields: Fields = {}
        for name, value in sample.values.items():
            fields.update(self._of(sample, name, value))
        for name in _MARKS:
            if name in sample.marks:
                fields.update(self._of(sample, name, sample.marks[name]))
        if sample.kind not in self._contract.kinds:
            fields.update(self._of(sample, "kind", sample.kind))
        return fields

    def _of(self, sample: Sample, name: str, value: Value) -> Iterator[tuple[str, float | str]]:
        if isinstance(value, list):
            yield f"{name}_count", float(len(value))
            if self.text:
                yield name, dumps(value).decode()
        elif isinstance(value, str):
            code = f"{name}_code"
            field = self._contract.field(sample.kind, name)
            if field is not None and field.enum and code not in sample.values:
                yield code, float(_position(value, field.enum))
            if self.text:
                yield name, value
        else:
            yield name, float(value)


def _position(word: str, words: Sequence[str]) -> int:
    """Give the place of a word in the contract's list; a newer word is as good as the first."""
    return words.index(word) if word in words else 0
