"""The command line, run as people run it."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.voltronic.simulator import VARIANTS
from heliobus import cli, components
from heliobus.components import Decoding
from heliobus.decode import decode_line
from heliobus.decode import run as decode
from heliobus.errors import ConfigError
from heliobus.line import Faults
from heliobus.link import open_link
from heliobus.sample import Values
from tests.helpers import ROOT, Sim, wait_until

GOOD = """\
site: farm
bridges:
  axpert: {type: voltronic, link: "serial:///dev/nowhere", devices: {inverter: {every: 5s}}}
sinks:
  archive: {type: sql, url: "sqlite:///history.db"}
"""
QMOD = '{"request": "514D4F4449C10D", "response": "2842E7C90D"}'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def heliobus(
    *arguments: str, given: bytes = b"", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the real command."""
    return subprocess.run(
        [sys.executable, "-m", "heliobus", *arguments],
        input=given,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
        check=False,
        timeout=60,
    )


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit status, output, errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(list(arguments))
        return status, *capsys.readouterr()

    (here / "heliobus.yaml").write_text(GOOD)
    return command


def commands() -> list[str]:
    return sorted(cli.cli.commands)


def test_the_commands_are_those_of_the_manual() -> None:
    assert set(commands()) == {
        *("demo", "up", "run", "check", "list"),
        *("watch", "decode", "sim", "schema", "history"),
        *("broker", "prepare"),
    }


@pytest.mark.parametrize("name", commands())
def test_every_command_has_a_line_of_help_and_every_option_too(name: str) -> None:
    command = cli.cli.commands[name]
    assert len(command.get_short_help_str(limit=60)) > 10
    assert not command.get_short_help_str(limit=60).endswith("...")
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert all(option.help for option in options)


@pytest.mark.parametrize("name", commands())
def test_help_is_printed_for_every_command(
    run: Callable[..., tuple[int, str, str]], name: str
) -> None:
    status, out, _ = run(name, "--help")
    assert (status, out.startswith(f"Usage: heliobus {name} ")) == (0, True)


def test_the_help_of_sim_names_every_fault(run: Callable[..., tuple[int, str, str]]) -> None:
    words = " ".join(run("sim", "--help")[1].split())
    assert all(f" {kind} {text}" in words for kind, text in Faults.KINDS.items())


def test_the_help_of_sim_names_what_it_can_be(run: Callable[..., tuple[int, str, str]]) -> None:
    words = run("sim", "--help")[1]
    assert "\n  voltronic  " in words
    assert "\n  mqtt       " in words


def test_a_wrong_variant_lists_all_and_the_bridges_page_does_too() -> None:
    found = heliobus("sim", "voltronic", "--variant", "x")
    assert found.stderr.decode() == f"variant: found 'x', expected one of {', '.join(VARIANTS)}\n"
    page = (ROOT / "bridges" / "voltronic" / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | {each.title} |" in page for name, each in VARIANTS.items())


def test_help_and_version_are_quick_about_it() -> None:
    found = heliobus("--help")
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout.startswith(b"Usage: heliobus [OPTIONS] COMMAND [ARGS]...")
    loaded = "import sys, heliobus.cli; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", loaded], text=True, cwd=ROOT).split()
    heavy = {"yaml", "paho", "sqlalchemy", "jsonschema", "serial", "heliobus.config"}
    assert heavy.isdisjoint(modules)
    assert heliobus("--version").stdout.startswith(b"heliobus 0.")


def test_check_tells_what_would_run_and_warns(
    run: Callable[..., tuple[int, str, str]], here: Path
) -> None:
    (here / "mqtt").write_text("geheim")
    (here / "mqtt").chmod(0o644)
    (here / "heliobus.yaml").write_text(GOOD + "broker: {password_file: mqtt}\n")
    status, out, err = run("check")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"{here}/heliobus.yaml: site farm, broker mqtt://127.0.0.1:1883",
        "  bridge axpert: voltronic, inverter every 5 s on serial:///dev/nowhere",
        "  sink archive: sql, url sqlite:///history.db, backfill 24h",
        f"warning: {here}/mqtt: everyone on this computer can read it (mode 0644);"
        f" run: chmod 600 {here}/mqtt",
    ]


def test_check_names_devices_together_that_are_asked_alike(
    run: Callable[..., tuple[int, str, str]], here: Path
) -> None:
    (here / "heliobus.yaml").write_text(
        "site: farm\nbridges:\n  roof:\n    type: aurora\n    link: serial:///dev/nowhere\n"
        "    devices:\n      east: {address: 2}\n      west: {address: 3}\n"
        "      barn: {link: 'socket://192.0.2.7:8899', every: 10s}\n"
    )
    assert run("check")[1].splitlines()[1] == (
        "  bridge roof: aurora, east, west every 5 s on serial:///dev/nowhere,"
        " barn every 10 s on socket://192.0.2.7:8899"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql+pymysql://me:geheim@db.lan:3307/sun", "mysql+pymysql://db.lan:3307/sun"),
        ("mysql+pymysql://me:ge/heim?x@db.lan/sun", "mysql+pymysql://..."),
        ("mysql+pymysql://db.lan/sun?password=x@geheim", "mysql+pymysql://..."),
        ("mysql+pymysql://db.lan/sun?password=geheim", "mysql+pymysql://db.lan/sun"),
    ],
)
def test_check_shows_a_sinks_options_and_no_secret(
    run: Callable[..., tuple[int, str, str]], here: Path, url: str, shown: str
) -> None:
    archive = f'{{type: sql, url: "{url}", password: geheim, keep: 730d, backfill: all}}'
    (here / "heliobus.yaml").write_text(f"site: farm\nsinks:\n  archive: {archive}\n")
    status, out, _ = run("check")
    assert status == 0
    assert f"  sink archive: sql, url {shown}, keep 730d, backfill all\n" in out
    assert "geheim" not in out


def test_check_warns_of_a_secret_that_is_still_to_be_made(
    run: Callable[..., tuple[int, str, str]], here: Path
) -> None:
    (here / "heliobus.yaml").write_text(
        "site: farm\nsinks:\n"
        "  archive: {type: sql, url: 'mysql://me@db.lan/sun', password_file: secrets/archive}\n"
        "  grafana: {type: influx, url: 'http://db.lan', bucket: sun, token_file: write,"
        " reader_token_file: read}\n"
    )
    status, out, _ = run("check")
    assert status == 0
    assert out.splitlines()[3:] == [
        "warning: secrets/archive: not there yet; run: heliobus prepare archive",
        "warning: write: not there yet; run: heliobus prepare grafana",
    ]
    (here / "secrets").mkdir()
    for name in ("secrets/archive", "write"):
        (here / name).write_text("geheim")
    assert "warning" not in run("check")[1]


def test_check_opens_and_makes_nothing(
    run: Callable[..., tuple[int, str, str]], here: Path
) -> None:
    run("check")
    assert [path.name for path in here.iterdir()] == ["heliobus.yaml"]


@pytest.mark.parametrize("command", [["check"], ["up"], ["run", "axpert"], ["watch"]])
def test_a_mistake_in_the_file_ends_with_78_and_one_line(here: Path, command: list[str]) -> None:
    (here / "heliobus.yaml").write_text(GOOD.replace("every", "evry"))
    found = heliobus(*command)
    assert (found.returncode, found.stdout) == (78, b"")
    assert found.stderr.decode() == (
        "heliobus.yaml:3: bridges.axpert.devices.inverter:"
        " the key 'evry' is not known; did you mean 'every'?\n"
    )


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (
            "  roof:\n    type: voltronic\n    link: serial:///dev/nowhere?baud=2400\n"
            "    devices: {other: {every: 5s}}\n",
            "6: bridges.roof.link: /dev/nowhere is the port of bridges.axpert already;"
            " only one bridge can have it, so put its devices into one, or write another port",
        ),
        (
            "  roof:\n    type: voltronic\n    link: serial:///dev/else\n    devices:\n"
            "      a: {every: 5s}\n      b: {every: 5s, link: 'serial:///dev/else?baud=2400'}\n",
            "6: bridges.roof.link: found 'serial:///dev/else' and"
            " 'serial:///dev/else?baud=2400', which are one port; write it alike",
        ),
        (
            "  roof:\n    type: voltronic\n    link: listen://0.0.0.0:4001\n"
            "    devices: {other: {every: 5s}}\n"
            "  yard:\n    type: voltronic\n    link: listen://0.0.0.0:4001\n"
            "    devices: {third: {every: 5s}}\n",
            "10: bridges.yard.link: 0.0.0.0:4001 is the port of bridges.roof already;"
            " only one bridge can have it, so put its devices into one, or write another port",
        ),
    ],
)
def test_two_that_want_one_port_are_told_by_check(
    run: Callable[..., tuple[int, str, str]], here: Path, second: str, told: str
) -> None:
    (here / "heliobus.yaml").write_text(GOOD.replace("sinks:", second + "sinks:"))
    with pytest.raises(ConfigError) as error:
        run("check")
    assert str(error.value) == f"heliobus.yaml:{told}"


def test_a_missing_file_ends_with_78_and_says_what_to_do(here: Path) -> None:
    found = heliobus("-c", "other.yaml", "check")
    assert found.returncode == 78
    assert found.stderr == (b"other.yaml: no such file; write one, or name it with --config FILE\n")
    assert not list(here.iterdir())


def test_what_a_component_finds_impossible_is_told_by_check(
    run: Callable[..., tuple[int, str, str]], here: Path
) -> None:
    (here / "heliobus.yaml").write_text(GOOD.replace("sqlite:///", "oracle://a/"))
    with pytest.raises(ConfigError, match=r"^heliobus.yaml:5: sinks.archive.url: .*oracle"):
        run("check")


def test_what_a_component_says_of_one_key_is_told_with_the_line_of_that_key(
    run: Callable[..., tuple[int, str, str]], here: Path
) -> None:
    sinks = "sinks:\n  archive:\n    type: sql\n    url: sqlite://history.db\n"
    (here / "heliobus.yaml").write_text("site: farm\n" + sinks)
    with pytest.raises(ConfigError, match=r"^heliobus.yaml:5: sinks.archive.url: found no file"):
        run("check")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["run"], "Missing argument 'NAME'"),
        (["run", "axpart"], "no component is called 'axpart'; did you mean 'axpert'?"),
        (["up", "--only", "axpert,nothing"], "no component is called 'nothing'; expected one of"),
        (["history", "inverter", "pv_w", "--since", "later"], "expected a duration such as 5s"),
        (["sim", "voltronic", "--tcp", "a:1", "--pty"], "--tcp does not go with --pty"),
        (["sim", "voltronic", "--dial", "a:1", "--link", "x"], "--dial does not go with --link"),
        (["demo", "--seconds", "0"], "0.0 is not in the range"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_what_is_wrong(
    run: Callable[..., tuple[int, str, str]], arguments: list[str], told: str
) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert told in err


def test_a_sink_that_has_nothing_at_a_server_needs_no_preparation(
    run: Callable[..., tuple[int, str, str]], here: Path
) -> None:
    (here / "heliobus.yaml").write_text("site: farm\nsinks: {hass: {type: homeassistant}}\n")
    assert run("prepare", "hass") == (0, "'hass' needs no preparation\n", "")


def test_the_list_names_what_is_there_and_marks_plugins(here: Path) -> None:
    environ = acme(here, "raise SystemExit('imported')")
    with next(here.glob("*.dist-info/entry_points.txt")).open("a") as points:
        points.write("gone = heliobus_gone:Gone\n")
    found = heliobus("list", environ=environ)
    assert (found.returncode, found.stderr) == (0, b"")
    lines = [" ".join(line.split()) for line in found.stdout.decode().splitlines()]
    assert lines[0] == "bridges"
    assert "acme Acme inverters (plugin heliobus-acme)" in lines
    assert (
        "gone cannot run: its module heliobus_gone is not there; install its package again" in lines
    )
    assert "sql SQL archive" in lines[lines.index("sinks") :]


def test_schemas_are_printed_by_name(run: Callable[..., tuple[int, str, str]]) -> None:
    names = run("schema")[1].splitlines()
    assert {"config", "kinds/battery", "bridges/voltronic", "sinks/sql"} <= set(names)
    for name in names:
        assert isinstance(json.loads(run("schema", name)[1]), dict)
    assert run("schema", "battery")[1] == run("schema", "kinds/battery")[1]


def test_an_unknown_schema_gets_a_suggestion(run: Callable[..., tuple[int, str, str]]) -> None:
    with pytest.raises(ConfigError, match="'confg' is not known; did you mean 'config'"):
        run("schema", "confg")


def test_decode_answers_every_line_in_order() -> None:
    lines = [QMOD, "", "x", '{"request": null, "response": "00"}', QMOD]
    found = heliobus("decode", "voltronic", "-", given="\n".join(lines).encode())
    assert (found.returncode, found.stderr) == (1, b"")
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert [answer["ok"] for answer in answers] == [True, False, False, False, True]
    assert answers[0]["values"]["mode"] == "battery"
    assert set(answers[0]) == {"ok", "values", "units"}
    assert answers[1] == {"ok": False, "error": "the line is empty, expected a JSON object"}


def test_decode_ends_with_0_when_every_line_could_be_decoded(here: Path) -> None:
    (here / "capture").write_text(QMOD + "\n" + QMOD)
    assert heliobus("decode", "voltronic", "capture").returncode == 0
    assert heliobus("decode", "voltronic").stdout == b""


def test_decode_answers_each_line_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "heliobus", "decode", "voltronic", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(QMOD.encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["ok"]
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_decoding_an_unknown_protocol_suggests_another() -> None:
    found = heliobus("decode", "voltronik")
    assert found.returncode == 78
    assert found.stderr == (b"the bridge 'voltronik' is not known; did you mean 'voltronic'?\n")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"[1]", "found list, expected a JSON object"),
        (b"\xff", "not UTF-8 text at byte 0"),
        (b'{"response": NaN}', "not JSON: found NaN, expected a finite number"),
        (b"{}", '"response" is missing, expected hexadecimal bytes'),
        (b'{"response": 5}', "response: found 5, expected hexadecimal bytes such as 28 30"),
        (b'{"response": "2"}', "response: found '2', expected hexadecimal bytes such as 28 30"),
        (
            b'{"request": [], "response": ""}',
            "request: found [], expected hexadecimal bytes such as 28 30",
        ),
        (b"[" * 5000, "not JSON: maximum recursion depth exceeded"),
        (
            b"28 30",
            "not JSON: Extra data: line 1 column 4 (char 3); found '28 30';"
            " 'heliobus decode --help' shows what a line is",
        ),
    ],
)
def test_a_line_that_is_no_capture_is_refused(line: bytes, error: str) -> None:
    decoded, answer = decode_line(components.decoder("voltronic"), line)
    assert not decoded
    assert json.loads(answer)["error"].startswith(error)


def test_a_bug_in_a_codec_costs_one_line() -> None:
    def codec(_request: bytes | None, response: bytes) -> tuple[Values, dict[str, str]]:
        return {"a": 1 / response[0], "b": float("nan") if response[0] == 2 else 1}, {}

    out = io.BytesIO()
    lines = [b'{"response": "%02x"}' % number for number in (0, 1, 2)]
    assert decode(Decoding.BYTES, codec, lines, out) == 1
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {
            "ok": False,
            "error": "a bug in heliobus, please report it: ZeroDivisionError: division by zero",
        },
        {"ok": True, "values": {"a": 1.0, "b": 1}, "units": {}},
        {
            "ok": False,
            "error": "cannot be written as JSON: Out of range float values are not JSON compliant",
        },
    ]


@given(
    st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.builds(
            lambda request, response: json.dumps({"request": request, "response": response}),
            st.one_of(st.none(), st.text(), st.binary().map(bytes.hex)),
            st.one_of(st.none(), st.text(), st.binary().map(lambda body: (b"(" + body).hex())),
        ).map(str.encode),
    )
)
def test_whatever_the_line_its_answer_is_one_line_of_json(line: bytes) -> None:
    out = io.BytesIO()
    decode(Decoding.BYTES, components.decoder("voltronic"), [line], out)
    [answer] = out.getvalue().splitlines()
    body = json.loads(answer)
    assert set(body) in ({"ok", "values", "units"}, {"ok", "error"})
    assert "bug" not in body.get("error", "")


def answer_to_qmod(url: str) -> bytes:
    link = open_link(url)
    got = bytearray()

    def heard() -> bytes:
        got.extend(link.read(0.1))
        return bytes(got)

    try:
        link.write(b"QMOD\x49\xc1\r")
        wait_until(lambda: heard().endswith(b"\r"), "an answer to QMOD")
    finally:
        link.close()
    return bytes(got)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--link", "port"],
        ["--pty", "--baud", "9600", "--variant", "pi30"],
        ["--tcp", "127.0.0.1:0"],
        ["--tcp", "[::1]:0"],
    ],
)
def test_sim_is_a_device_that_answers_until_it_is_stopped(
    sim: Sim, here: Path, arguments: list[str]
) -> None:
    process, url = sim("voltronic", *arguments)
    if arguments[0] == "--link":
        assert url == f"serial://{here}/port?baud=2400"
    answer = answer_to_qmod(url)
    assert (answer[:1], len(answer)) == (b"(", 5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "answered=1 harmed=0\n"
    assert process.returncode == 0


def acme(here: Path, code: str) -> dict[str, str]:
    """Install the bridge `acme` and a configuration with it; give the environment."""
    package = here / "heliobus_acme"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    (package / "config.json").write_text('{"title": "Acme inverters", "link": false}')
    info = here / "heliobus_acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: heliobus-acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[heliobus.bridges]\nacme = heliobus_acme:Acme\n")
    (here / "heliobus.yaml").write_text(
        "site: farm\nbridges: {a: {type: acme, devices: {b: {}}}}\n"
    )
    return {"PYTHONPATH": f"{here}{os.pathsep}{ROOT}"}


def test_a_plugin_runs_like_one_of_ours(here: Path) -> None:
    found = heliobus(
        "check", environ=acme(here, "class Acme:\n    def __init__(self, device): ...\n")
    )
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"  bridge a: acme, b every 5 s\n" in found.stdout


def test_a_plugin_that_cannot_be_imported_is_told_with_its_line(here: Path) -> None:
    found = heliobus("check", environ=acme(here, "import acme_library"))
    assert (found.returncode, found.stdout) == (78, b"")
    assert found.stderr.decode() == (
        "heliobus.yaml:2: bridges.a: the bridge 'acme' (heliobus-acme) needs the Python package"
        " 'acme_library', which is not installed\n"
    )


def test_a_bug_is_logged_with_its_trace_and_ends_with_1(here: Path) -> None:
    code = "class Acme:\n    def __init__(self, device): 1 / 0\n"
    found = heliobus("check", environ=acme(here, code))
    assert (found.returncode, found.stdout) == (1, b"")
    assert b"ERROR heliobus: a bug in heliobus; please report these lines\n" in found.stderr
    assert found.stderr.endswith(b"ZeroDivisionError: division by zero\n")


def test_what_fails_otherwise_ends_with_1_and_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = heliobus("sim", "voltronic", "--tcp", f"127.0.0.1:{port}")
    assert (found.returncode, found.stdout) == (1, b"")
    told = f"127.0.0.1:{port}: cannot listen there (Address already in use)\n"
    assert found.stderr.decode() == told


@pytest.mark.parametrize("place", ["nowhere", "127.0.0.1:x", "127.0.0.1:22222222"])
def test_a_wrong_place_to_listen_is_told(place: str) -> None:
    found = heliobus("sim", "voltronic", "--tcp", place)
    assert found.returncode == 78
    told = f"--tcp: found {place!r}, expected HOST:PORT, port 1 to 65535\n"
    assert found.stderr.decode() == told


def test_ctrl_c_is_quiet() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "heliobus", "decode", "voltronic", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith(b'{"ok":false')
    process.send_signal(signal.SIGINT)
    # A terminal shows ^C: the line break lets the prompt begin on a line of its own.
    assert process.communicate(timeout=30) == (b"", b"\n")
    assert process.returncode == 130


def test_a_reader_who_has_seen_enough_ends_it_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "heliobus", "schema", "config"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process:
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({}, rb"[0-9-]{10} [0-9:,]{12} INFO heliobus: hello\n"),
        ({"INVOCATION_ID": "x"}, rb"INFO heliobus: hello\n"),
        ({"JOURNAL_STREAM": "8:1"}, rb"INFO heliobus: hello\n"),
    ],
)
def test_the_time_is_logged_except_under_systemd(environ: dict[str, str], line: bytes) -> None:
    code = (
        "import logging, heliobus.cli; heliobus.cli.set_up_logging(verbose=False);"
        "log = logging.getLogger('heliobus'); log.debug('no'); log.info('hello')"
    )
    bare = {k: v for k, v in os.environ.items() if k not in ("INVOCATION_ID", "JOURNAL_STREAM")}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**bare, **environ},
        capture_output=True,
        check=True,
    )
    assert re.fullmatch(line, found.stderr)
