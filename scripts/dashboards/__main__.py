"""Write the dashboards into grafana/dashboards, and the first pages of the examples.

python -m scripts.dashboards            writes them
python -m scripts.dashboards --check    exits 1 when those in the repository are not the newest
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from heliobus.contract import Contract, load
from heliobus.errors import ConfigError
from scripts.dashboards.flux import Flux
from scripts.dashboards.homes import HOMES, render_home
from scripts.dashboards.influxql import InfluxQL
from scripts.dashboards.language import Language
from scripts.dashboards.meaning import Meaning
from scripts.dashboards.numbers import Numbers
from scripts.dashboards.pages import PAGES
from scripts.dashboards.promql import PromQL
from scripts.dashboards.render import render
from scripts.dashboards.sql import MySql, Sqlite

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "grafana" / "dashboards"
_PLACES = ("grafana/dashboards/*/*.json", "examples/*/home.json")


def languages(contract: Contract) -> Sequence[Language]:
    """Give every language."""
    texts = frozenset(
        name for name, field in contract.fields.items() if field.type in ("string", "array")
    )
    return InfluxQL(), Flux(), MySql(texts), Sqlite(texts), PromQL(contract)


def files() -> Mapping[str, str]:
    """Give every file: its place in the repository and its text."""
    contract = load()
    texts, numbers = Meaning(contract), Numbers(contract)
    dashboards = {
        f"grafana/dashboards/{language.name}/{page.name}.json": (
            render(numbers.page(page), language, numbers)
            if language.numbers_only
            else render(page, language, texts)
        )
        for language in languages(contract)
        for page in PAGES
    }
    pages = {page.name: page for page in PAGES}
    homes = {
        f"examples/{name}/home.json": render_home(name, home, pages) for name, home in HOMES.items()
    }
    return dashboards | homes


def stale(wanted: Mapping[str, str]) -> Iterator[str]:
    """Name the files that are missing, not the newest, or too many."""
    there = {str(path.relative_to(ROOT)): path for place in _PLACES for path in ROOT.glob(place)}
    yield from sorted(there.keys() - wanted.keys())
    for name, text in wanted.items():
        if name not in there or there[name].read_text(encoding="utf-8") != text:
            yield name


def main(arguments: Sequence[str]) -> int:
    """Write or check."""
    if list(arguments) not in ([], ["--check"]):
        raise ConfigError(f"dashboards: found {' '.join(arguments)}, expected nothing or --check")
    wanted, status = files(), 0
    for name in stale(wanted):
        path = ROOT / name
        if arguments:
            sys.stderr.write(f"{path}: not the newest; run make dashboards\n")
            status = 1
        elif name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
        else:
            path.unlink()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
