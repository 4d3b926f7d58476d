"""A page as a dashboard: panels in their places, variables, links. Classic JSON, Grafana 10 on."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from scripts.dashboards.language import Language
from scripts.dashboards.looks import Looks
from scripts.dashboards.meaning import Meaning
from scripts.dashboards.model import Page, Panel, Row

SCHEMA_VERSION = 39  # of Grafana 10.4; later ones bring it up to date while loading
COLUMNS = 24
_TAG = "heliobus"


def render(page: Page, language: Language, meaning: Meaning) -> str:
    """Give the text of a dashboard's file."""
    return json.dumps(_dashboard(page, language, meaning), indent=1, ensure_ascii=False) + "\n"


def _dashboard(page: Page, language: Language, meaning: Meaning) -> dict[str, Any]:
    tags = [_TAG, language.name]
    return {
        "uid": f"{_TAG}-{language.name}-{page.name}",
        "title": f"{page.title}",
        "description": page.description,
        "tags": [*tags, *page.tags],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # a shared crosshair
        "timezone": "browser",
        "time": {"from": page.since, "to": "now"},
        "refresh": page.refresh,
        "timepicker": {},
        "annotations": {"list": []},
        "links": [_pages(tags)],
        "templating": {"list": [_datasource(language), *language.variables(page)]},
        "panels": list(_placed(page, Looks(language, meaning))),
    }


def _pages(tags: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "heliobus",
        "tags": list(tags),
        "asDropdown": True,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "The other pages",
        "url": "",
    }


def _datasource(language: Language) -> dict[str, Any]:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": language.datasource,
        "current": {"selected": True, "text": f"heliobus {language.title}", "value": language.uid},
        "options": [],
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
    }


def _placed(page: Page, looks: Looks) -> Iterator[dict[str, Any]]:
    """Set panels side by side; a line ends where the next would not fit."""
    number, y = 0, 0
    for row in page.rows:
        number += 1
        yield _heading(row, number, y)
        y += 1
        x = height = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            number += 1
            yield {"id": number, "gridPos": _place(panel, x, y), **looks.panel(page, panel)}
            x, height = x + panel.width, max(height, panel.height)
        y += height


def _heading(row: Row, number: int, y: int) -> dict[str, Any]:
    repeat = {"repeat": "device"} if row.each_device else {}
    return {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
        "panels": [],
        **repeat,
    }


def _place(panel: Panel, x: int, y: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": panel.width, "h": panel.height}
