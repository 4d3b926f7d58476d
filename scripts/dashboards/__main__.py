"""Write the dashboards into grafana/dashboards.

python -m scripts.dashboards            writes them
python -m scripts.dashboards --check    exits 1 when those in grafana/ are not the newest
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from heliobus.contract import Contract, load
from heliobus.errors import ConfigError
from scripts.dashboards.flux import Flux
from scripts.dashboards.influxql import InfluxQL
from scripts.dashboards.language import Language
from scripts.dashboards.meaning import Meaning
from scripts.dashboards.pages import PAGES
from scripts.dashboards.render import render
from scripts.dashboards.sql import MySql, Sqlite

FOLDER = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"


def languages(contract: Contract) -> Sequence[Language]:
    """Give every language."""
    texts = frozenset(
        name for name, field in contract.fields.items() if field.type in ("string", "array")
    )
    return InfluxQL(), Flux(), MySql(texts), Sqlite(texts)


def files() -> Mapping[str, str]:
    """Give every file below `FOLDER`: its name and its text."""
    contract = load()
    meaning = Meaning(contract)
    return {
        f"{language.name}/{page.name}.json": render(page, language, meaning)
        for language in languages(contract)
        for page in PAGES
    }


def stale(wanted: Mapping[str, str]) -> Iterator[str]:
    """Name the files that are missing, not the newest, or too many."""
    there = {str(path.relative_to(FOLDER)): path for path in FOLDER.glob("*/*.json")}
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
        path = FOLDER / name
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
