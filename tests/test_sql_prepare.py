"""`heliobus prepare` for SQL: a database, who stores, and who can only read."""

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from heliobus import config
from heliobus.errors import ConfigError, SinkError
from heliobus.settings import SinkSettings
from sinks.sql import Sql, prepare
from tests.helpers import ROOT, free_port
from tests.samples import KEY, sample
from tests.servers import DatabaseServer, MariaDB

pytestmark = pytest.mark.database

README = (ROOT / "sinks" / "sql" / "README.md").read_text(encoding="utf-8")

WRITES = (
    "INSERT INTO devices (site, bridge, device) VALUES ('farm', 'x', 'y')",
    "UPDATE devices SET maker = 'x'",
    "DELETE FROM inverter",
    "DROP TABLE inverter",
    "ALTER TABLE inverter ADD COLUMN mine INTEGER",
    "CREATE TABLE mine (id INTEGER)",
)


@dataclass
class Place:
    """A sink on a server where nothing is prepared yet."""

    server: DatabaseServer
    folder: Path
    admin: str
    database: str = field(default_factory=lambda: f"heliobus_{secrets.token_hex(6)}")

    @property
    def writer(self) -> str:
        return f"w_{self.database[-8:]}"

    @property
    def reader(self) -> str:
        return f"r_{self.database[-8:]}"

    def settings(self, **changes: str) -> SinkSettings:
        url = sa.make_url(self.server.url).set(username=self.writer, database=self.database)
        options = {
            "url": url.render_as_string(),
            "password_file": "secrets/archive",
            "reader": self.reader,
            "reader_password_file": "secrets/grafana",
            **changes,
        }
        return SinkSettings("archive", "sql", options={k: v for k, v in options.items() if v})

    def prepare(self, **changes: str) -> list[str]:
        return list(prepare(self.settings(**changes), folder=self.folder, admin=self.admin))

    def sink(self) -> Sql:
        return Sql(self.settings(), folder=self.folder, data=self.folder)

    def asks(self, user: str, password_file: str) -> Callable[[str], list[tuple[object, ...]]]:
        """Ask in SQL as a user."""
        password = (self.folder / password_file).read_text().strip()
        url = sa.make_url(self.server.url).set(
            username=user, password=password, database=self.database
        )
        engine = sa.create_engine(url, poolclass=sa.NullPool)

        def ask(text: str) -> list[tuple[object, ...]]:
            with engine.begin() as connection:
                result = connection.exec_driver_sql(text)
                return [tuple(row) for row in result] if result.returns_rows else []

        return ask


@pytest.fixture(params=["mariadb", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    server: DatabaseServer = request.getfixturevalue(request.param)
    admin = server.url
    if request.param == "mariadb":
        server.ask("CREATE OR REPLACE USER boss@localhost IDENTIFIED BY 'very secret'")
        server.ask("GRANT ALL ON *.* TO boss@localhost WITH GRANT OPTION")
        admin = server.url.replace("root@", "boss:very%20secret@")
    place = Place(server, tmp_path, f"{admin}/")
    yield place
    server.ask(f"DROP DATABASE IF EXISTS {place.database}")


def test_a_prepared_archive_stores_and_its_reader_can_only_read(place: Place) -> None:
    place.prepare()
    sql = place.sink()
    sql.open()
    assert sql.write([sample(1)], {KEY: 1}).stored == 1
    sql.write([sample(2, values={"pv_01_w": 7.0})], {})  # a column that came later
    sql.close()
    reader = place.asks(place.reader, "secrets/grafana")
    assert reader("SELECT battery_v, pv_01_w FROM inverter ORDER BY time") == [
        (52.1, None),
        (None, 7.0),
    ]
    for text in WRITES:
        with pytest.raises(sa.exc.DBAPIError, match=r"denied|must be owner"):
            reader(text)
    assert len(reader("SELECT * FROM inverter")) == 2


def test_preparing_again_changes_nothing(place: Place) -> None:
    first = place.prepare()
    passwords = [(place.folder / "secrets" / n).read_text() for n in ("archive", "grafana")]
    again = place.prepare()
    assert [(place.folder / "secrets" / n).read_text() for n in ("archive", "grafana")] == passwords
    assert re.match(r"made the database heliobus_", first[0])
    assert re.match(r"found the database heliobus_", again[0])
    assert all("; its new password is in " in line for line in first[1:3])
    assert all("; its password is in " in line for line in again[1:3])
    address = f"127.0.0.1:{place.server.port}/{place.database}"
    assert again[3] == f"{place.writer} and {place.reader} can log in at {address}"
    assert all(password.strip() not in "\n".join(first + again) for password in passwords)


@pytest.mark.parametrize("whose", ["writer", "reader"])
def test_a_user_of_somebody_else_is_left_alone(place: Place, whose: str) -> None:
    name = getattr(place, whose)
    file = {"writer": "archive", "reader": "grafana"}[whose]
    word = "USER" if place.admin.startswith("mysql") else "ROLE"
    who = f"{name}@localhost" if word == "USER" else name
    how = "IDENTIFIED BY" if word == "USER" else "LOGIN PASSWORD"
    place.server.ask(f"CREATE {word} {who} {how} 'mine'")
    with pytest.raises(ConfigError) as raised:
        place.prepare()
    assert str(raised.value) == (
        f"sinks.archive: a user {name!r} is there already; if it is to be this one, write its"
        f" password into {place.folder}/secrets/{file}, else choose another name"
    )
    assert not (place.folder / "secrets").exists()
    (place.folder / "secrets").mkdir(mode=0o700)
    (place.folder / "secrets" / file).write_text("mine\n")
    place.prepare()
    assert place.asks(name, f"secrets/{file}")("SELECT 1") == [(1,)]


def test_new_passwords_are_long_different_and_for_their_owner_only(place: Place) -> None:
    place.prepare()
    files = [place.folder / "secrets" / name for name in ("archive", "grafana")]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    texts = {file.read_text().strip() for file in files}
    assert len(texts) == 2
    assert all(len(text) >= 32 for text in texts)


def test_a_password_that_was_chosen_is_taken_and_a_changed_one_counts(place: Place) -> None:
    (place.folder / "secrets").mkdir()
    file = place.folder / "secrets" / "archive"
    for chosen in ('it\'s "mine" \\ 100%', "another :name %s"):
        file.write_text(chosen + "\n")
        place.prepare()
        assert file.read_text() == chosen + "\n"
        assert place.asks(place.writer, "secrets/archive")("SELECT 1") == [(1,)]


def test_a_sink_works_as_soon_as_it_is_prepared(place: Place) -> None:
    sql = place.sink()
    with pytest.raises(SinkError, match=r"password_file: cannot read .*heliobus prepare archive"):
        sql.open()
    place.prepare()
    assert sql.open() == {}
    sql.close()


def test_the_reader_sees_tables_that_are_made_later(place: Place) -> None:
    place.prepare()
    writer = place.asks(place.writer, "secrets/archive")
    writer("CREATE TABLE later (id INTEGER)")
    assert place.asks(place.reader, "secrets/grafana")("SELECT * FROM later") == []


def test_nobody_has_a_right_in_another_database(place: Place) -> None:
    other = place.database.replace("_", "x")  # which GRANT would take for the same
    place.server.ask(f"CREATE DATABASE {other}")
    place.prepare()
    place.database = other
    reader = place.asks(place.reader, "secrets/grafana")
    if place.server.url.startswith("postgresql"):
        with pytest.raises(sa.exc.DBAPIError, match="permission denied"):
            reader("CREATE TABLE mine (id INTEGER)")
    else:
        with pytest.raises(sa.exc.OperationalError, match="Access denied"):
            reader("SELECT 1")


def test_an_archive_without_a_reader_is_prepared_too(place: Place) -> None:
    said = place.prepare(reader="", reader_password_file="")
    assert len(said) == 3
    assert not (place.folder / "secrets" / "grafana").exists()


def test_the_administrator_may_come_by_the_socket(mariadb: MariaDB, tmp_path: Path) -> None:
    socket = f"{mariadb.folder}/data/mariadb.sock"
    place = Place(mariadb, tmp_path, f"mysql+pymysql://root@localhost/?unix_socket={socket}")
    address = f"127.0.0.1:{mariadb.port}/{place.database}"
    assert place.prepare()[-1].endswith(f"can log in at {address}")
    mariadb.ask(f"DROP DATABASE {place.database}")


def test_a_wrong_administrator_is_said_without_the_password(place: Place) -> None:
    place.admin = str(sa.make_url(place.admin).set(username="nobody_here")).replace("***", "hush")
    if place.server.url.startswith("postgresql"):
        place.admin = place.admin.replace("nobody_here@", "nobody_here:hush@")
    with pytest.raises(SinkError, match=r"Access denied|authentication failed") as raised:
        place.prepare()
    assert "hush" not in str(raised.value)


def test_what_the_readme_makes_by_hand_is_the_same(mariadb: MariaDB, tmp_path: Path) -> None:
    (by_hand,) = re.findall(r"```sql\n(  CREATE .*?)```", README, re.DOTALL)
    url = f"{mariadb.url}/heliobus"
    try:
        for statement in by_hand.split(";")[:-1]:
            mariadb.ask(statement)
        (tmp_path / "password").write_text("a long password\n")
        options = {"url": url.replace("root@", "heliobus@"), "password_file": "password"}
        sql = Sql(SinkSettings("archive", "sql", options=options), folder=tmp_path, data=tmp_path)
        assert sql.write([sample(1)], {KEY: 1}).stored == 1
        sql.close()
        reader = sa.create_engine(url.replace("root@", "grafana:another long password@"))
        with reader.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM inverter").scalar() == 1
            with pytest.raises(sa.exc.DBAPIError, match="denied"):
                connection.exec_driver_sql(WRITES[0])
        reader.dispose()
    finally:
        mariadb.ask("DROP DATABASE IF EXISTS heliobus")


def test_the_configuration_in_the_readme_is_valid_and_its_administrators_are_understood(
    tmp_path: Path,
) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "heliobus.yaml").write_text(f"site: farm\n{text}")
    sink = config.load(tmp_path / "heliobus.yaml").sinks["archive"]
    Sql(sink, folder=tmp_path, data=tmp_path)
    admins = re.findall(r"^  \| .* \| `(\w+\+\w+://.*?)` \|$", README, re.MULTILINE)
    assert [sa.make_url(admin).username for admin in admins] == ["root", "root", "postgres"]


# ---------------------------------------------------------------- what needs no server

URL = "mysql+pymysql://heliobus@127.0.0.1/heliobus"
ADMIN = "mysql+pymysql://root:hush@127.0.0.1/"


@pytest.mark.parametrize(
    ("options", "admin", "said"),
    [
        ({}, ADMIN, r"sinks.archive.password_file: is missing; add it"),
        ({"password": "x", "reader": "grafana"}, ADMIN, "reader_password_file: is missing"),
        ({"password": "x", "reader": "heliobus"}, ADMIN, "'heliobus' is who stores; choose"),
        ({"password": "x", "reader": "root", "reader_password_file": "r"}, ADMIN, "administrator"),
        ({"password": "x", "password_file": "w"}, ADMIN, "are both there; delete one of them"),
        ({"password": "x"}, "", r"archive: 127.0.0.1/heliobus needs .* --admin-file FILE"),
        ({"password": "x"}, "hush", "administrator's file: found no address of a server"),
        ({"password": "x"}, "postgresql://u:hush@h/", "'postgresql', but sinks.archive.url is"),
        ({"password": "x", "url": URL.replace("heliobus@", "")}, ADMIN, "names no user"),
    ],
)
def test_what_cannot_be_prepared_is_said(
    options: dict[str, str], admin: str, said: str, tmp_path: Path
) -> None:
    settings = SinkSettings("archive", "sql", options={"url": URL, **options})
    with pytest.raises(ConfigError, match=said) as raised:
        prepare(settings, folder=tmp_path, admin=admin)
    assert "hush" not in str(raised.value)


def test_the_port_of_an_administrator_s_server_that_is_away_is_said(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    settings = SinkSettings("archive", "sql", options={"url": URL, "password": "x"})
    with pytest.raises(SinkError) as raised:
        prepare(settings, folder=tmp_path, admin=f"mysql+pymysql://root:hush@{place}/")
    assert str(raised.value).startswith(f"{place} (from the administrator's file): Can't connect")


def test_sqlite_needs_nothing_but_permissions(tmp_path: Path) -> None:
    settings = SinkSettings("archive", "sql", options={"url": "sqlite:///history.db"})
    (said,) = prepare(settings, folder=tmp_path, admin="")
    assert said.startswith(f"{tmp_path}/history.db: SQLite knows no users.")
    assert list(tmp_path.iterdir()) == []
