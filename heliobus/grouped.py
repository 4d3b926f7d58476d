"""Devices of one kind as a table of their own, a line for each: where there is little room."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from heliobus.cells import Piece, Row, Style

# A unit says which of these it is.
_QUANTITIES: Final = frozenset({"power", "voltage", "current", "energy"})
_STATE: Final = 7  # OFFLINE
_LONGEST: Final = 16  # a text
_GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Line:
    """A device, and whether it is there."""

    name: str
    state: Piece


@dataclass(frozen=True, slots=True)
class Column:
    """A field, and its text of each device; "" where a device has none."""

    title: str
    texts: Sequence[str]
    unit: str = ""

    def cells(self) -> list[str]:
        """Give the title and the texts, all equally wide."""
        head, _, last = self.title.rpartition(" ")
        title = head if head and last.lower() in _QUANTITIES else self.title
        texts = [f"{text} {self.unit}".rstrip() if text else "" for text in self.texts]
        texts = [text[:_LONGEST] for text in texts]
        width = max(map(len, (title[:_LONGEST], *texts)))
        side = ">" if self.unit else "<"
        return [f"{text:{side}{width}.{width}}" for text in (title, *texts)]


@dataclass(frozen=True, slots=True)
class Group:
    """The devices of one kind; the most important columns come first."""

    kind: str
    lines: Sequence[Line]
    columns: Sequence[Column]

    def rows(self, name: int, width: int) -> Iterator[Row]:
        """Draw a head and a row for each device; columns that do not fit are left out."""
        room = width - name - len(_GAP) - _STATE
        shown: list[list[str]] = []
        for column in self.columns:
            texts = [_GAP + text for text in column.cells()]
            room -= len(texts[0])
            if room < 0:
                break
            shown.append(texts)
        titles, *rest = (
            map("".join, zip(*shown, strict=True)) if shown else [""] * (1 + len(self.lines))
        )
        yield ((f"{self.kind:<{name}}{_GAP}{'':{_STATE}}{titles}", Style.PLAIN),)
        for line, values in zip(self.lines, rest, strict=True):
            text, style = line.state
            yield (
                (f"{line.name:<{name}}", Style.NAME),
                (_GAP, Style.PLAIN),
                (text[:_STATE], style),
                (" " * (_STATE - len(text)) + values, Style.PLAIN),
            )
