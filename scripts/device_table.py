"""Write the tables of Modbus devices into the pages that have them, from the profiles.

python -m scripts.device_table            write them
python -m scripts.device_table --check    exit 1 when one is not current
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bridges.modbus import profiles
from bridges.modbus.registers import Profile

ROOT: Final = Path(__file__).resolve().parent.parent
BEGIN: Final = "<!-- devices: written by scripts/device_table.py, run by `make docs` -->"
END: Final = "<!-- end of devices -->"
_KINDS: Final = {"charger": "charge controller", "relay": "plug or relay"}
_VERIFIED: Final = {"recording": "recorded frames", "document": "its document"}


def whole(found: Sequence[Profile]) -> str:
    """Give a row for each profile: what it is, how its line is set, by what it was checked."""
    head = ("device", "kind", "`profile:`", "line or port", "unit", "checked by")
    rows = (
        (
            f"{one.maker} {', '.join(one.models)}",
            _KINDS.get(one.kind, one.kind),
            f"`{one.name}`",
            " or ".join(one.serial) if one.serial else f"TCP {one.port}",
            str(one.unit_id),
            _VERIFIED[one.verified],
        )
        for one in found
    )
    return _table(head, rows)


def caveats(found: Sequence[Profile]) -> str:
    """Give what owners have to know, a list for each maker; alike ones once."""
    by_text: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in found:
        for caveat in one.caveats:
            by_text[one.maker, caveat.text, caveat.link].append(f"`{one.name}`")
    lines = []
    for (_, text, link), names in by_text.items():
        source = f" ([source]({link}))" if link else ""
        lines.append(f"- {', '.join(names)}: {text}{source}")
    return "\n".join(lines)


def makers(found: Sequence[Profile]) -> str:
    """Give a row for each maker: which of its devices there are."""
    models: dict[str, list[str]] = defaultdict(list)
    for one in found:
        models[one.maker] += [model for model in one.models if model not in models[one.maker]]
    return _table(
        ("maker", "devices"), ((maker, ", ".join(names)) for maker, names in models.items())
    )


# Page: what stands between its markers, in this order.
PAGES: Final[Mapping[str, Sequence[Callable[[Sequence[Profile]], str]]]] = {
    "README.md": (makers,),
    "bridges/modbus/README.md": (whole, caveats),
}


def put(page: str, parts: Sequence[str], name: str) -> str:
    """Give the page with these parts between its markers. Raise ValueError without them."""
    head, *sections = page.split(BEGIN)
    if len(sections) != len(parts) or any(END not in section for section in sections):
        raise ValueError(f"{name}: found {len(sections)} times {BEGIN} to {END}, not {len(parts)}")
    tails = (section.partition(END)[2] for section in sections)
    filled = (f"{BEGIN}\n\n{part}\n\n{END}{tail}" for part, tail in zip(parts, tails, strict=True))
    return head + "".join(filled)


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Write the pages, or with --check tell whether they are current."""
    found = [profiles.load(name, beside=profiles.folder()) for name in profiles.names()]
    stale = False
    for name, writers in PAGES.items():
        path = root / name
        page = path.read_text(encoding="utf-8")
        current = put(page, [write(found) for write in writers], name)
        if "--check" not in arguments:
            path.write_text(current, encoding="utf-8")
        elif page != current:
            sys.stderr.write(f"{name} is not current; run make docs\n")
            stale = True
    return int(stale)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
