"""The first page of an example installation: links to the dashboards that belong to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.dashboards.model import Page
from scripts.dashboards.render import COLUMNS, SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Home:
    """One example: in which language its database is asked, and what it looks at, by name."""

    title: str
    language: str
    pages: tuple[str, ...]
    kiosk: tuple[str, ...] = ()


HOMES: Mapping[str, Home] = {
    "axpert_daly": Home(
        "An Axpert inverter and a Daly battery",
        "mysql",
        ("overview", "inverter", "battery", "meters", "energy", "health"),
    ),
    "opendtu_cloud": Home(
        "Hoymiles inverters behind an OpenDTU",
        "sqlite",
        ("opendtu", "overview", "inverter", "energy", "health"),
    ),
    "outback_tristar": Home(
        "OutBack inverters and six TriStar chargers",
        "influxql",
        ("power-room", "overview", "chargers", "inverter", "battery", "energy", "health"),
        kiosk=("power-room",),
    ),
}


def render_home(name: str, home: Home, pages: Mapping[str, Page]) -> str:
    """Give the text of an example's dashboard."""
    lines = [f"# {home.title}", ""]
    for page in (pages[each] for each in home.pages):
        kiosk = "?kiosk" if page.name in home.kiosk else ""
        address = f"/d/heliobus-{home.language}-{page.name}{kiosk}"
        shown = page.title.removeprefix("heliobus: ")
        lines.append(f"- **[{shown}]({address})**: {page.description}")
    panel = {
        "id": 1,
        "type": "text",
        "title": "",
        "transparent": True,
        "gridPos": {"x": 0, "y": 0, "w": COLUMNS, "h": 12},
        "options": {"mode": "markdown", "content": "\n".join(lines)},
    }
    dashboard = {
        "uid": f"heliobus-home-{name.replace('_', '-')}",
        "title": f"heliobus: {home.title}",
        "tags": ["heliobus", home.language],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": []},
        "panels": [panel],
    }
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"
