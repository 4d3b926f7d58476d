"""`heliobus prepare` at InfluxDB 2: bucket, a token that writes and one that reads, and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from heliobus.cli import run
from heliobus.errors import ConfigError, SinkError
from sinks.influx import prepare
from tests.helpers import free_port
from tests.influx_servers import InfluxDB1, VictoriaMetrics
from tests.influx_sink import influx, settings
from tests.influx_standin import ADMIN, Handler, Standin, failing
from tests.samples import sample

CONFIGURATION = """\
site: farm
sinks:
  grafana: {{type: influx, url: "{url}", org: home, bucket: solar, token_file: secrets/write}}
"""
FILES = {"token_file": "secrets/write", "reader_token_file": "secrets/read"}


@pytest.fixture
def server() -> Iterator[Standin]:
    with Standin() as standin:
        yield standin


def prepared(url: str, folder: Path, admin: str = ADMIN, **options: str) -> list[str]:
    return list(prepare(settings(url, **{**FILES, **options}), folder=folder, admin=admin))


def test_bucket_and_tokens_are_made_once(server: Standin, tmp_path: Path) -> None:
    write, read = tmp_path / "secrets" / "write", tmp_path / "secrets" / "read"
    assert prepared(server.url, tmp_path) == [
        "made the bucket solar, which keeps everything",
        f"made a token that may only write the bucket solar: {write}",
        f"made a token that may only read the bucket solar: {read}",
    ]
    tokens = [path.read_text().strip() for path in (write, read)]
    assert [server.tokens[token] for token in tokens] == [{("write", "solar")}, {("read", "solar")}]
    assert [path.stat().st_mode & 0o777 for path in (write, read, write.parent)] == [
        0o600,
        0o600,
        0o700,
    ]
    assert server.buckets["solar"].every_s == 0
    assert prepared(server.url, tmp_path) == [
        "the bucket solar was there",
        f"the token in {write} works (write)",
        f"the token in {read} works (read)",
    ]
    assert [path.read_text().strip() for path in (write, read)] == tokens
    assert len(server.tokens) == 2
    assert server.points == {}


def test_the_sink_writes_with_what_was_made(server: Standin, tmp_path: Path) -> None:
    sink = influx(server.url, tmp_path, **FILES)
    with pytest.raises(SinkError, match="or for InfluxDB 2 run: heliobus prepare grafana"):
        sink.open()
    prepared(server.url, tmp_path)
    sink.open()
    assert sink.write([sample(0)], {}).stored == 1
    sink.close()


def test_a_token_that_is_no_longer_good_is_replaced_and_kept(
    server: Standin, tmp_path: Path
) -> None:
    prepared(server.url, tmp_path)
    write = tmp_path / "secrets" / "write"
    old = write.read_text()
    del server.tokens[old.strip()]
    assert prepared(server.url, tmp_path)[1].startswith("made a token that may only write")
    assert write.read_text() != old
    assert (tmp_path / "secrets" / "write.old").read_text() == old


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_costs_no_token(server: Standin, tmp_path: Path, status: int) -> None:
    prepared(server.url, tmp_path)
    before = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    server.mishap = failing(status)
    with pytest.raises(SinkError, match=f"answered {status} "):
        prepared(server.url, tmp_path)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == before


def test_a_token_that_cannot_be_replaced_stays_where_it_is(
    server: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(server.url, tmp_path)
    write = tmp_path / "secrets" / "write"
    old = write.read_text()
    del server.tokens[old.strip()]
    monkeypatch.setattr(Handler, "make_token", lambda one, _: one.refuse(503, "", "busy"))
    with pytest.raises(SinkError, match="answered 503 "):
        prepared(server.url, tmp_path)
    assert write.read_text() == old


def test_a_bucket_that_forgets_is_left_as_it_is_and_that_is_said(
    server: Standin, tmp_path: Path
) -> None:
    bucket = server.add_bucket("solar", every_s=30 * 86400)
    assert prepared(server.url, tmp_path)[0] == (
        "the bucket solar was there, and forgets after 30 days; that was left as it is. To keep"
        f" everything: influx bucket update --id {bucket.id} --retention 0"
    )
    assert server.buckets["solar"].every_s == 30 * 86400


def test_another_bucket_of_a_similar_name_is_not_taken(server: Standin, tmp_path: Path) -> None:
    server.add_bucket("solar_old")
    assert prepared(server.url, tmp_path)[0] == "made the bucket solar, which keeps everything"


@pytest.mark.parametrize(
    ("admin", "options", "said"),
    [
        ("", {}, r"grafana: InfluxDB 2 needs its administrator: .* --admin-file FILE"),
        ("wrong", {}, r"refuses the administrator's token \(unauthorized access\); it must be"),
        (ADMIN, {"org": "nobody"}, r"has no organization 'nobody'; check org"),
        (ADMIN, {"org": ""}, r"add org, the organization that you named when you set it up"),
    ],
)
def test_what_cannot_be_prepared_is_said(
    server: Standin, tmp_path: Path, admin: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        prepared(server.url, tmp_path, admin, **options)
    assert not admin or admin not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_for_the_token_nothing_is_made(server: Standin, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sinks.grafana: add token_file"):
        prepare(settings(server.url, token="inline"), folder=tmp_path, admin=ADMIN)
    assert server.asked == ["GET /metrics"]


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="Connection refused"):
        prepared(f"http://127.0.0.1:{free_port()}", tmp_path)


def test_the_command_says_what_it_did(
    server: Standin,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("heliobus.yaml").write_text(CONFIGURATION.format(url=server.url))
    Path("admin").write_text(f"{ADMIN}\n")
    Path("admin").chmod(0o644)
    assert run(["prepare", "grafana", "--admin-file", "admin"]) == 0
    assert capsys.readouterr().out == (
        "made the bucket solar, which keeps everything\n"
        f"made a token that may only write the bucket solar: {tmp_path}/secrets/write\n"
        "warning: admin: everyone on this computer can read it (mode 0644); run: chmod 600 admin\n"
        "now delete the administrator's file: rm admin\n"
    )
    with pytest.raises(ConfigError, match="no sink is called 'axpert'; the configuration has: gra"):
        run(["prepare", "axpert", "--admin-file", "admin"])
    with pytest.raises(ConfigError, match="cannot read nowhere: No such file or directory"):
        run(["prepare", "grafana", "--admin-file", "nowhere"])


def test_sqlite_needs_no_administrator_s_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("heliobus.yaml").write_text(
        'site: farm\nsinks: {archive: {type: sql, url: "sqlite:///history.db"}}\n'
    )
    assert run(["prepare", "archive"]) == 0
    assert "SQLite knows no users" in capsys.readouterr().out


@pytest.mark.database
def test_victoriametrics_needs_nothing(tmp_path: Path) -> None:
    with VictoriaMetrics(tmp_path / "vm") as server:
        said = prepare(settings(server.url), folder=tmp_path, admin="")
        assert said == [f"{server.url}: is VictoriaMetrics, which needs nothing to be made"]


@pytest.mark.database
def test_an_older_influxdb_is_sent_to_its_own_program(tmp_path: Path) -> None:
    with (
        InfluxDB1(tmp_path / "influxdb") as server,
        pytest.raises(ConfigError, match=r"is not InfluxDB 2. For InfluxDB 1.8 make database"),
    ):
        prepared(server.url, tmp_path)
