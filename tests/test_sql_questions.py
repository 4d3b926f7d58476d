"""docs/sql-questions.md: each query is asked of a real database, and its answer is known.

The house: 1 kW from the sun from 8 to 18 o'clock (2 kW on the second day), 0.5 kW used all day, the
battery takes and gives 0.5 kW until 4 o'clock, the grid the rest. Three days, and the same three in
the year before, a sample about every ten minutes, local time two hours ahead of UTC.
"""

import csv
import io
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from heliobus.sample import Sample, Values
from tests.databases import fresh_at, sink
from tests.helpers import ROOT, require_program
from tests.servers import LOCAL_TIME, DatabaseServer

PAGE = (ROOT / "docs" / "sql-questions.md").read_text(encoding="utf-8")
DIALECTS = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
STEP_MIN = 10
EARLIER_MS = 37  # each sample comes so much before the round step, as those of real bridges do
NIGHT_H = (6, 22)  # its ends are exact: who counts such a step in tells nothing
SUN_KW = {(2025, 9): 1, (2025, 10): 1, (2025, 11): 1, (2026, 9): 1, (2026, 10): 2, (2026, 11): 1}
SOME_MB: list[tuple[Any, ...]] = [("some megabytes",)]

# What each question is answered with, query by query; how numbers and times look differs.
ANSWERS: dict[str, list[list[tuple[Any, ...]]]] = {
    "How much energy was it per day, month or year?": [
        [
            ("2025-06-09", 10), ("2025-06-10", 10), ("2025-06-11", 10),
            ("2026-06-09", 10), ("2026-06-10", 20), ("2026-06-11", 10),
        ]
    ],
    "How much energy does a counter for life show?": [
        [
            ("2025-06-09", None), ("2025-06-10", 12), ("2025-06-11", 12),
            ("2026-06-09", 12), ("2026-06-10", 12), ("2026-06-11", 12),
        ]
    ],
    "How much of my solar energy do I use myself?": [
        [
            ("2025-06-10", 100, 83), ("2025-06-11", 100, 83),
            ("2026-06-09", 100, 83), ("2026-06-10", 50, 83), ("2026-06-11", 100, 83),
        ]
    ],
    "What was the peak power of each day, and when?": [
        [
            ("2026-06-09", 500, "00:00:00"), ("2026-06-10", 3000, "19:00:00"),
            ("2026-06-11", 500, "00:00:00"),
        ]
    ],
    "How deep was the battery used, and how many cycles is that?": [
        [
            ("2026-06-09", 30, 80, None, None), ("2026-06-10", 30, 80, 5, 0.5),
            ("2026-06-11", 30, 80, 5, 0.5),
        ]
    ],
    "How long did the house run without the grid?": [
        [("2026-06-09", 20), ("2026-06-10", 20), ("2026-06-11", 19.08)]
    ],
    "How much does the house use at night?": [
        [("2026-06-08", 3), ("2026-06-09", 4), ("2026-06-10", 4), ("2026-06-11", 0.92)]
    ],
    "Which cells of the battery drift apart?": [
        [("2026-06-09", 0.02), ("2026-06-10", 0.05), ("2026-06-11", 0.02)]
    ],
    "Are there gaps in the data?": [
        [("inverter", "2026-06-11 10:00:00", "2026-06-11 11:00:00", 60)]
    ],
    "How do I get it into a spreadsheet?": [
        [
            ("2026-06-10 10:00", 2000, 500), ("2026-06-10 10:15", 2000, 500),
            ("2026-06-10 10:30", 2000, 500), ("2026-06-10 10:45", 2000, 500),
        ]
    ],
    "Was this year better than the last?": [[("06", 30, 40)]],
    "Which alarms were there last month?": [
        [
            ("inverter", "2026-06-10 12:00:00", '["overload"]'),
            ("inverter", "2026-06-10 12:30:00", "[]"),
        ],
        [("farm", "axpert", "2026-06-11 10:00:00", "samples_lost", "an hour")],
    ],
    "How large is the archive?": [
        SOME_MB,
        [
            ("bank", "battery", "2025-06-08 22:00:00", "2026-06-11 21:50:00"),
            ("bus", "event", "2026-06-11 10:00:00", "2026-06-11 10:00:00"),
            ("grid", "meter", "2025-06-08 22:00:00", "2026-06-11 21:50:00"),
            ("inverter", "inverter", "2025-06-08 22:00:00", "2026-06-11 21:50:00"),
        ],
    ],
    "Why is the answer empty, or an error?": [[(859, 0, 859)]],
}  # fmt: skip


@dataclass(frozen=True)
class Query:
    """One query of the page, for one database."""

    question: str
    number: int  # of those that a database has for a question
    dialect: str
    text: str

    @property
    def answer(self) -> list[tuple[Any, ...]]:
        return ANSWERS[self.question][self.number]


def queries() -> list[Query]:
    found = []
    for question, text in re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL
    ):
        blocks = re.findall(r"^```sql\n-- ([\w, ]+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for dialect, name in DIALECTS.items():
            own = [query for names, query in blocks if name in names.split(", ")]
            found += [Query(question, n, dialect, query) for n, query in enumerate(own)]
    return found


QUERIES = queries()


# ---------------------------------------------------------------- the house


def house() -> Iterator[Sample]:
    totals = {"yield": 1000.0, "load": 2000.0, "import": 300.0, "export": 40.0, "discharged": 50.0}
    for (year, day), sun_kw in SUN_KW.items():
        midnight = datetime(year, 6, day, tzinfo=UTC) - timedelta(hours=2)
        for minute in range(0, 24 * 60, STEP_MIN):
            at = midnight + timedelta(minutes=minute, milliseconds=odd_ms(minute))
            yield from moment(at, minute / 60, sun_kw, totals)
        begin = totals.copy()
        for name, kwh in day_of(24, sun_kw).items():
            totals[name] = begin[name] + kwh


def odd_ms(minute: int) -> int:
    """Give what a sample is late: seconds between two are never whole, so none may be cut off."""
    return 0 if minute / 60 in NIGHT_H else -minute // STEP_MIN * EARLIER_MS % 1000


def day_of(hour: float, sun_kw: float) -> dict[str, float]:
    """Give what each counter has gained since midnight."""
    sun_h = min(max(hour - 8, 0), 10)
    return {
        "yield": sun_kw * sun_h,
        "load": 0.5 * hour,
        "import": 0.5 * min(max(hour - 4, 0), 4),
        "export": (sun_kw - 1) * sun_h,
        "discharged": 0.5 * (min(hour, 4) + max(hour - 18, 0)),
    }


def moment(at: datetime, hour: float, sun_kw: float, totals: dict[str, float]) -> Iterator[Sample]:
    today = day_of(hour, sun_kw)
    now = {name: totals[name] + kwh for name, kwh in today.items()}
    is_special = (at.year, at.day) == (2026, 10)
    soc = 30 + 5 * min(max(hour - 8, 0), 10) if hour < 18 else 80 - 5 * (hour - 18)
    yield one(at, "bank", "battery", {
        "soc_percent": 50 - 5 * hour if hour < 4 else soc,
        "discharged_kwh": now["discharged"],
        "cell_01_v": 3.30, "cell_02_v": 3.35 if is_special and hour == 12 else 3.31,
        "cell_03_v": 3.32,
    })  # fmt: skip
    yield one(at, "grid", "meter", {"import_kwh": now["import"], "export_kwh": now["export"]})
    if (at.year, at.day) == (2026, 11) and 12 < hour < 13:
        return
    yield one(at, "inverter", "inverter", {
        "mode": "line" if 4 <= hour < 8 else "battery",
        "pv_w": 1000 * sun_kw if 8 <= hour < 18 else 0,
        "load_w": 3000 if is_special and hour == 19 else 500,
        "yield_today_kwh": today["yield"], "yield_kwh": now["yield"], "load_kwh": now["load"],
        "alarms": ["overload"] if is_special and 14 <= hour < 14.5 else [],
    })  # fmt: skip


def one(at: datetime, device: str, kind: str, values: Values) -> Sample:
    return Sample("farm", "axpert", device, kind, round(at.timestamp() * 1000), None, values)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    lost = datetime(2026, 6, 11, 10, tzinfo=UTC)
    values: Values = {"event": "samples_lost", "text": "an hour"}
    return [*house(), one(lost, "bus", "event", values)]


@pytest.fixture(scope="module")
def archive(
    request: pytest.FixtureRequest, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Fill an archive with the house, once for each database; give its address."""
    folder = tmp_path_factory.mktemp("questions")
    if request.param == "sqlite":
        yield from filled(f"sqlite:///{folder}/history.db", samples, folder)
        return
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_of_the_session")
    for url in fresh_at(server.url):
        yield from filled(url, samples, folder)


def filled(url: str, samples: list[Sample], folder: Path) -> Iterator[str]:
    sql = sink(url, folder)
    sql.write(samples, {})
    sql.close()
    yield url


@pytest.fixture
def local_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have SQLite live where the house is; the servers do already."""
    monkeypatch.setenv("TZ", LOCAL_TIME)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ask(url: str, text: str) -> list[tuple[Any, ...]]:
    """Give the answer as people read it: times to the second, in UTC."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(text if "sqlite" in url else text.replace("%", "%%"))
        return [tuple(map(shown, row)) for row in rows]


def shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC) if value.tzinfo else value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, date):
        return str(value)
    if isinstance(value, str):
        is_time = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value)
        return value[:-5].replace("T", " ") if is_time else value
    return value if value is None else float(value)


# ---------------------------------------------------------------- the page


def on(dialect: str, *values: Any) -> Any:
    marks = {
        "mariadb": [pytest.mark.database],
        "postgresql": [pytest.mark.database, pytest.mark.slow],
    }
    return pytest.param(dialect, *values, marks=marks.get(dialect, []))


def test_every_question_has_an_answer_for_sqlite_and_for_mariadb() -> None:
    for dialect in ("sqlite", "mariadb"):
        asked = [(q.question, q.number) for q in QUERIES if q.dialect == dialect]
        assert asked == [(title, n) for title, known in ANSWERS.items() for n in range(len(known))]


def test_every_question_says_what_it_needs() -> None:
    assert re.findall(r"^## (.*)\n\nNeeds: .*\.$", PAGE, re.MULTILINE) == list(ANSWERS)


ERRORS = re.findall(r"^\| `(no such .*?)` \| `(.*?)` \| ", PAGE, re.MULTILINE)


@pytest.mark.parametrize("archive", [on("sqlite"), on("mariadb")], indirect=True)
def test_what_databases_say_of_unknown_names_is_as_the_page_has_it(archive: str) -> None:
    asked = ["SELECT cell_04_v FROM battery", "SELECT load_w FROM inverters"]
    for text, words in zip(asked, ERRORS, strict=True):
        said = words["mysql" in archive].replace("heliobus.inverter", "[^']*.inverters")
        with pytest.raises(sa.exc.DBAPIError, match=said):
            ask(archive, text)


@pytest.mark.usefixtures("local_time")
@pytest.mark.parametrize(
    ("archive", "query"), [on(q.dialect, q) for q in QUERIES], indirect=["archive"]
)
def test_a_query_of_the_page_gives_the_right_answer(archive: str, query: Query) -> None:
    answer = ask(archive, query.text)
    if query.answer == SOME_MB:
        assert 0.1 < answer[0][0] < 100
    else:
        assert answer == query.answer


PERIODS = re.findall(
    r"^\| (day|month|year) \| `(.*?)` \| `(.*?)` \| `(.*?)` \|$", PAGE, re.MULTILINE
)
YIELDS = {
    "day": ANSWERS["How much energy was it per day, month or year?"][0],
    "month": [("2025-06", 30), ("2026-06", 40)],
    "year": [("2025", 30), ("2026", 40)],
}


@pytest.mark.usefixtures("local_time")
@pytest.mark.parametrize(
    ("archive", "period", "way"),
    [on(d, row[0], row[1 + n]) for row in PERIODS for n, d in enumerate(DIALECTS)],
    indirect=["archive"],
)
def test_the_same_query_sums_up_days_months_and_years(archive: str, period: str, way: str) -> None:
    dialect = next(name for name in DIALECTS if name[:5] in archive.replace("mysql", "mariadb"))
    text = next(q.text for q in QUERIES if q.dialect == dialect)
    day = next(row[1 + list(DIALECTS).index(dialect)] for row in PERIODS if row[0] == "day")
    assert day in text
    answer = ask(archive, text.replace(day, way))
    assert [(str(name).removesuffix(".0"), kwh) for name, kwh in answer] == YIELDS[period]


def command(program: str) -> list[str]:
    """Give the words of the page's command line for a program."""
    (line,) = re.findall(rf"^({program} .*) < quarters.sql > .*$", PAGE, re.MULTILINE)
    return str(line).split()[1:]


QUARTERS = [
    ["utc", "pv_w", "load_w"],
    ["2026-06-10 10:00", "2000", "500"],
    ["2026-06-10 10:15", "2000", "500"],
    ["2026-06-10 10:30", "2000", "500"],
    ["2026-06-10 10:45", "2000", "500"],
]


def quarters(dialect: str) -> str:
    question = "How do I get it into a spreadsheet?"
    return next(q.text for q in QUERIES if (q.dialect, q.question) == (dialect, question))


@pytest.mark.parametrize("archive", [on("sqlite")], indirect=True)
def test_sqlite_writes_the_spreadsheet(archive: str) -> None:
    program = require_program("sqlite3", package="sqlite3")
    folder = Path(archive.removeprefix("sqlite:///")).parent
    text = output([program, *command("sqlite3")], quarters("sqlite"), folder)
    rows = list(csv.reader(io.StringIO(text)))
    assert [[cell.removesuffix(".0") for cell in row] for row in rows] == QUARTERS


@pytest.mark.parametrize("archive", [on("mariadb")], indirect=True)
def test_mariadb_writes_the_spreadsheet(archive: str, tmp_path: Path) -> None:
    program = require_program("mariadb", package="mariadb-client-core")
    url = sa.make_url(archive)
    words = command("mariadb")
    assert words[:6] == ["-h", "127.0.0.1", "-u", "grafana", "-p", "heliobus"]
    here = ["--no-defaults", "-h", "127.0.0.1", "-P", str(url.port), "-u", "root"]
    text = output([program, *here, str(url.database), *words[6:]], quarters("mariadb"), tmp_path)
    assert list(csv.reader(io.StringIO(text), delimiter="\t")) == QUARTERS


def output(words: list[str], text: str, folder: Path) -> str:
    done = subprocess.run(
        words, input=text, cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout
