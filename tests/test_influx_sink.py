"""The influx sink and a strict stand-in for InfluxDB 2: what is refused costs nothing else."""

import logging
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from heliobus.errors import ConfigError, SinkError
from sinks.influx import Influx
from sinks.influx.server import retry_after_s
from tests.helpers import free_port
from tests.influx_sink import TOKEN, influx, opened, serving
from tests.influx_standin import Handler, Standin, broken, failing, silent, slow
from tests.samples import BEGIN_MS, KEY, sample


@pytest.fixture
def server() -> Iterator[Standin]:
    with serving() as standin:
        yield standin


@pytest.fixture
def sink(server: Standin, tmp_path: Path) -> Iterator[Influx]:
    with opened(server, tmp_path) as one:
        yield one


def test_samples_become_points(server: Standin, sink: Influx) -> None:
    written = sink.write([sample(0), sample(5, values={"pv_w": 12})], {KEY: BEGIN_MS + 5000})
    assert (written.stored, written.rewritten, written.rejected) == (2, 0, [])
    tags = (("device", "inverter"), ("site", "farm"))
    assert server.points == {
        ("solar", "inverter", tags, BEGIN_MS): {
            "battery_v": 52.1,
            "mode": "battery",
            "mode_code": 11.0,
            "alarms": "[]",
            "alarms_count": 0.0,
        },
        ("solar", "inverter", tags, BEGIN_MS + 5000): {"pv_w": 12.0},
    }
    assert server.statuses == [204]


def test_a_batch_of_nothing_asks_nothing(server: Standin, sink: Influx) -> None:
    sink.write([], {KEY: BEGIN_MS})
    assert server.statuses == []
    sink.close()
    assert sink.open() == {KEY: BEGIN_MS}


def test_the_cursors_are_there_after_a_restart(
    server: Standin, sink: Influx, tmp_path: Path
) -> None:
    sink.write([sample(0)], {KEY: BEGIN_MS})
    sink.close()
    assert influx(server.url, tmp_path, token=TOKEN).open() == {KEY: BEGIN_MS}


def test_a_sample_that_waits_for_its_inverter_does_not_count_yet(
    server: Standin, tmp_path: Path
) -> None:
    sink = influx(server.url, tmp_path, token=TOKEN, layout="telegraf_opendtu")
    sink.open()
    sink.write([sample(0, values={"output_w": 1})], {KEY: BEGIN_MS})
    sink.close()
    assert sink.open() == {KEY: BEGIN_MS - 1}
    info = {"kind": "inverter", "maker": "Hoymiles", "serial": "114184609397"}
    sink.info("farm", "inverter", info)
    assert sink.write([sample(1, values={"output_w": 2})], {KEY: BEGIN_MS + 1000}).stored == 2
    assert len(server.points) == 2
    sink.close()
    assert sink.open() == {KEY: BEGIN_MS + 1000}


def test_another_bucket_begins_anew(server: Standin, sink: Influx, tmp_path: Path) -> None:
    sink.write([sample(0)], {KEY: BEGIN_MS})
    sink.close()
    assert influx(server.url, tmp_path, token=TOKEN, bucket="other").open() == {}
    assert influx(server.url, tmp_path, token=TOKEN, layout="telegraf_opendtu").open() == {}
    assert influx(server.url, tmp_path, token=TOKEN, org="other").open() == {}


# ---------------------------------------------------------------------- wrong at first, then right


def test_a_wrong_token_is_said_and_waited_for_and_loses_nothing(
    server: Standin, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("wrong-and-secret\n")
    token.chmod(0o600)
    sink = influx(server.url, tmp_path, token_file="token")
    sink.open()
    with pytest.raises(SinkError) as raised:
        sink.write([sample(0)], {KEY: BEGIN_MS})
    assert str(raised.value) == (
        f"{server.url}: answered 401 (unauthorized access); the token is not known there;"
        " check token_file (InfluxDB 1.8: USER:PASSWORD)"
    )
    with pytest.raises(SinkError, match="answered 401"):
        sink.open()
    token.write_text(TOKEN)
    assert sink.open() == {}
    assert sink.write([sample(0)], {KEY: BEGIN_MS}).stored == 1
    assert len(server.points) == 1


@pytest.mark.parametrize(
    ("options", "rights", "said"),
    [
        ({"bucket": "lunar"}, set(), '404 (bucket "lunar" not found); check bucket and org'),
        ({"org": "nobody"}, set(), '404 (organization name "nobody" not found); check bucket'),
        ({}, set(), "403 (insufficient permissions for write); the token may not write into"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_named(
    server: Standin,
    tmp_path: Path,
    options: dict[str, str],
    rights: set[tuple[str, str]],
    said: str,
) -> None:
    server.tokens[TOKEN] = rights
    sink = influx(server.url, tmp_path, token=TOKEN, **options)
    sink.open()
    with pytest.raises(SinkError) as raised:
        sink.write([sample(0)], {KEY: BEGIN_MS})
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    server.add_bucket("lunar")
    server.orgs["nobody"] = "0c1d"
    server.tokens[TOKEN] = {("write", "solar"), ("write", "lunar")}
    assert sink.open() == {}
    assert sink.write([sample(0)], {KEY: BEGIN_MS}).stored == 1


def test_a_missing_token_file_is_waited_for(server: Standin, tmp_path: Path) -> None:
    sink = influx(server.url, tmp_path, token_file="secrets/influx")
    with pytest.raises(SinkError) as raised:
        sink.open()
    assert str(raised.value).startswith(
        f"sinks.grafana.token_file: cannot read {tmp_path}/secrets/influx: No such file"
    )
    assert str(raised.value).endswith("or for InfluxDB 2 run: heliobus prepare grafana")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "influx").write_text(TOKEN)
    sink.open()
    assert sink.write([sample(0)], {}).stored == 1


def test_a_token_that_everyone_can_read_is_said_once(
    server: Standin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o644)
    sink = influx(server.url, tmp_path, token_file="token")
    sink.open()
    sink.open()
    assert len(caplog.messages) == 1
    assert "everyone on this computer can read it" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_says_how_long_it_wants_to_be_left_alone(
    server: Standin, sink: Influx, status: int
) -> None:
    server.mishap = failing(status, Retry_After="17")
    with pytest.raises(SinkError, match=f"answered {status} ") as raised:
        sink.write([sample(0)], {KEY: BEGIN_MS})
    assert raised.value.retry_s == 17
    server.mishap = None
    assert sink.open() == {}
    assert sink.write([sample(0)], {KEY: BEGIN_MS}).stored == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("120", 120),
        (formatdate(1_000_030, usegmt=True), 30),
        (formatdate(999_000, usegmt=True), 0),
        ("soon", 0),
        ("-5", 0),
        ("²", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    assert retry_after_s(text, 1_000_000) == seconds


def test_an_answer_that_breaks_off_is_written_again(server: Standin, sink: Influx) -> None:
    server.mishap = broken
    with pytest.raises(SinkError):
        sink.write([sample(0)], {KEY: BEGIN_MS})
    assert len(server.points) == 1
    server.mishap = None
    assert sink.open() == {}
    assert sink.write([sample(0)], {KEY: BEGIN_MS}).stored == 1
    assert len(server.points) == 1


def test_a_server_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    sink = influx(f"http://127.0.0.1:{port}", tmp_path, token=TOKEN)
    with pytest.raises(SinkError) as raised:
        sink.open()
    assert str(raised.value) == (
        f"http://127.0.0.1:{port}: Failed to establish a new connection:"
        " [Errno 111] Connection refused"
    )
    with Standin(port=port) as late:
        late.add_bucket("solar")
        late.tokens[TOKEN] = {("write", "solar")}
        sink.open()
        assert sink.write([sample(0)], {}).stored == 1


def test_a_slow_server_is_waited_for_as_long_as_the_timeout_says(
    server: Standin, tmp_path: Path
) -> None:
    sink = influx(server.url, tmp_path, token=TOKEN, timeout=0.2)
    sink.open()
    server.mishap = slow(0.1)
    assert sink.write([sample(0)], {}).stored == 1
    server.mishap = silent
    with pytest.raises(SinkError, match="Read timed out"):
        sink.write([sample(1)], {})


def test_a_server_that_answers_something_else_is_none_of_ours(
    server: Standin, sink: Influx
) -> None:
    def login_page(handler: Handler) -> bool:
        handler.answer(200, "<html>Please log in</html>")
        return True

    def moved(handler: Handler) -> bool:
        handler.answer(307, "", Location="https://influx.example/api/v2/write")
        return True

    server.mishap = login_page
    with pytest.raises(SinkError, match=r"answered 200; expected 204; is that the address of"):
        sink.write([sample(0)], {})
    server.mishap = moved
    with pytest.raises(SinkError, match=r"it lies at https://influx.example/api/v2/write"):
        sink.write([sample(0)], {})


# ---------------------------------------------------------------------- the configuration


@pytest.mark.parametrize(
    "url",
    ["influx:8086", "ftp://host", "http://", "http://host:0", "http://host:x", "http://h?db=1"],
)
def test_an_address_that_cannot_work_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"sinks.grafana.url: expected an address like http://"):
        influx(url, tmp_path)


@pytest.mark.parametrize("token", ["geheim\ngeheim", "user:pässword", " ", "geheim\x00"])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigError) as raised:
        influx("http://127.0.0.1:8086", tmp_path, token=token)
    assert str(raised.value) == (
        "sinks.grafana.token: holds no token; expected one line of letters, digits and signs of"
        " ASCII; use token_file"
    )


def test_a_token_may_end_with_a_line_end(server: Standin, tmp_path: Path) -> None:
    sink = influx(server.url, tmp_path, token=f"{TOKEN}\r\n")
    sink.open()
    assert sink.write([sample(0)], {}).stored == 1


def test_a_password_in_the_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must not stand in the address; use token_file") as said:
        influx("http://me:geheim@host:8086", tmp_path)
    assert "geheim" not in str(said.value)
