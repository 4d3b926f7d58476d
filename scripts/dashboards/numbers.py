"""Pages for a database that keeps numbers only: a word is its code, a list of texts its length."""

from collections.abc import Iterator
from dataclasses import replace

from heliobus.contract import Field
from scripts.dashboards.meaning import GOOD, WARN, Meaning, mapping
from scripts.dashboards.model import Page, Panel, Query, Row, Shape, Steps

_SCREEN = 24
_OF_TEXT = (Shape.WORDS, Shape.EVENTS)


class Numbers(Meaning):
    """The contract, as such a database keeps it."""

    def page(self, page: Page) -> Page:
        """Leave out what cannot be shown, and give its room to what is beside it."""
        rows = (replace(row, panels=tuple(self._panels(row))) for row in page.rows)
        return replace(page, rows=tuple(row for row in rows if row.panels))

    def field(self, kind: str, name: str) -> Field:
        """Find a field as it is stored. A code of the device's own has no words."""
        found = super().field(kind, name)
        if found.type == "array":
            return replace(found, type="integer")
        if found.enum and self.contract.field(kind, f"{name}_code") is not None:
            return replace(found, type="integer", enum=(), title=f"{found.title} (code)")
        return found

    def unit(self, field: Field) -> str:
        """Give Grafana's unit; words are numbers, too."""
        return super().unit(replace(field, type="integer") if field.enum else field)

    def mappings(self, field: Field) -> list[dict[str, object]]:
        """Give words for the places in a list of the contract."""
        if field.enum:
            words = {str(n): (word.replace("_", " "), "") for n, word in enumerate(field.enum)}
            return [mapping(words)]
        return super().mappings(field)

    def steps(self, field: Field) -> Steps:
        """Give the thresholds; an alarm is never good."""
        return ((None, GOOD), (1, WARN)) if field.name == "alarms" else super().steps(field)

    def _panels(self, row: Row) -> Iterator[Panel]:
        line: list[Panel] = []
        width = 0
        for panel in row.panels:
            if width + panel.width > _SCREEN:
                yield from _widened(line)
                line, width = [], 0
            width += panel.width
            line += [self._panel(panel)] if self._is_shown(panel) else []
        yield from _widened(line)

    def _is_shown(self, panel: Panel) -> bool:
        return not any(query.shape in _OF_TEXT for query in panel.queries)

    def _panel(self, panel: Panel) -> Panel:
        return replace(panel, queries=tuple(map(self._query, panel.queries)))

    def _query(self, query: Query) -> Query:
        if query.shape is not Shape.TABLE:
            return query
        found = {name: self.field(query.kind, name) for name in query.fields}
        kept = (name for name, field in found.items() if field.type != "string" or field.enum)
        return replace(query, fields=tuple(kept))


def _widened(line: list[Panel]) -> Iterator[Panel]:
    """Let the last panel of a line fill it."""
    for number, panel in enumerate(line, 1):
        free = _SCREEN - sum(each.width for each in line)
        yield replace(panel, width=panel.width + free) if number == len(line) else panel
