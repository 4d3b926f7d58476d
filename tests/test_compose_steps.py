"""What runs in the containers, run here: scripts, health checks, the steps that make things.

Each is run as compose.yaml runs it, with another root: the folders of the image in a scratch
folder, the ports of the containers as free ones.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliobus.components import simulator
from heliobus.simulation import serve_tcp
from tests.compose_files import SERVICES, dockerfile_runs, readable_by_all
from tests.helpers import ROOT, free_port, require_program, wait_until
from tests.influx_standin import ADMIN, Standin
from tests.processes import Program

COMPOSE = ROOT / "deploy" / "compose"
MADE = ("mqtt", "reader", "secrets", "telegraf")


def run(*command: str, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    """Run a program to its end; give its exit status and all that it said."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


# ------------------------------------------------------------------ scripts/compose-secrets


def contents(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_passwords_are_made_once_and_only_their_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = str(ROOT / "scripts" / "compose-secrets")
    assert run(script, str(folder))[0] == 0
    made = contents(folder)
    assert run(script, str(folder)) == (0, "")
    assert contents(folder) == made
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(readable_by_all(folder / name) for name in made)
    random = [text.strip() for name, text in made.items() if name != "mariadb_admin_url"]
    assert len(set(random)) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", text) for text in random)
    assert made["mariadb_root_password"].strip() in made["mariadb_admin_url"]


def test_without_a_folder_they_are_made_in_the_clone_whose_path_is_said_plainly(
    tmp_path: Path,
) -> None:
    script = tmp_path / "scripts" / "compose-secrets"
    script.parent.mkdir()
    shutil.copy(ROOT / "scripts" / "compose-secrets", script)
    _, said = run(str(script.parent / ".." / "scripts" / "compose-secrets"))
    assert said.splitlines()[0] == f"made {tmp_path}/secrets/influxdb_admin_password"


def test_a_password_of_which_only_half_was_written_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "influxdb_admin_token").write_text("")
    (tmp_path / "grafana_admin_password").write_text("mine\n")
    assert run(str(ROOT / "scripts" / "compose-secrets"), str(tmp_path))[0] == 0
    assert len((tmp_path / "influxdb_admin_token").read_text()) == 49
    assert (tmp_path / "grafana_admin_password").read_text() == "mine\n"


def test_passwords_are_never_shown(tmp_path: Path) -> None:
    _, said = run(str(ROOT / "scripts" / "compose-secrets"), str(tmp_path))
    assert not any(text.strip() in said for text in contents(tmp_path).values())


# ------------------------------------------------------------------ is it well?


def healthcheck(socket_path: Path) -> tuple[int, str]:
    script = str(COMPOSE / "healthcheck")
    return run(sys.executable, "-IS", script, NOTIFY_SOCKET=str(socket_path))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Simulate an inverter at the end of a TCP line, with a configuration of its bridge."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with serve_tcp(simulator("voltronic")(), host="127.0.0.1", port=0) as inverter:
        link = inverter.url.replace("tcp://", "socket://")
        bridge = {"type": "voltronic", "link": link, "devices": {"inverter": {"every": "1s"}}}
        config = {
            "site": "farm",
            "broker": {"url": f"mqtt://127.0.0.1:{free_port()}"},
            "bridges": {"axpert": bridge},
        }
        (tmp_path / "heliobus.yaml").write_text(json.dumps(config))
        yield tmp_path


@pytest.mark.parametrize("command", [("up",), ("run", "axpert")])
def test_a_container_is_well_while_heliobus_makes_progress(
    house: Path, command: tuple[str, ...]
) -> None:
    with Program(house, *command) as heliobus:
        heliobus.says("online")
        assert healthcheck(house / "notify") == (0, "")
        # A second look must not stumble over what the first one has left.
        assert healthcheck(house / "notify") == (0, "")
        assert heliobus.stop() == 0


@pytest.mark.slow
def test_a_container_is_not_well_where_nothing_makes_progress(tmp_path: Path) -> None:
    assert healthcheck(tmp_path / "notify") == (1, "no sign of progress in 10 s\n")


def mosquitto_check(port: int) -> int:
    """Run the health check of the broker's container at another port."""
    command = SERVICES["mosquitto"]["healthcheck"]["test"][1]
    return run("sh", "-c", command.replace("-h 127.0.0.1", f"-h 127.0.0.1 -p {port}"))[0]


def mosquitto(folder: Path, *lines: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a mosquitto on a free port of loopback, and wait until it answers."""
    program, port = require_program("mosquitto", "mosquitto"), free_port()
    path = folder / "mosquitto.conf"
    path.write_text("\n".join([f"listener {port} 127.0.0.1", "user root", *lines]) + "\n")
    started = subprocess.Popen([program, "-c", str(path)], stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, "mosquitto answers")
    return started, port


@pytest.mark.broker
@pytest.mark.parametrize(("anonymous", "is_well"), [("false", True), ("true", False)])
def test_a_broker_is_well_that_answers_and_lets_nobody_in(
    tmp_path: Path, anonymous: str, *, is_well: bool
) -> None:
    require_program("mosquitto_sub", "mosquitto-clients")
    started, port = mosquitto(tmp_path, f"allow_anonymous {anonymous}")
    try:
        assert (mosquitto_check(port) == 0) is is_well
    finally:
        started.kill()
        started.wait()
    assert mosquitto_check(port) != 0


def in_proc_net_tcp(name: str, port: int, own: int) -> bool:
    """Run a health check that looks for port `own` of a container, for another port."""
    kind, *command = SERVICES[name]["healthcheck"]["test"]
    assert kind == "CMD"
    return run(*[part.replace(f":{own:04X} ", f":{port:04X} ") for part in command])[0] == 0


def test_the_simulated_inverter_is_well_while_it_listens() -> None:
    with serve_tcp(simulator("voltronic")(), host="127.0.0.1", port=0) as inverter:
        port = int(inverter.url.rpartition(":")[2])
        # A container listens at 0.0.0.0, this one at 127.0.0.1: the check looks at the port only.
        assert in_proc_net_tcp("sim", port, 8899)
    assert not in_proc_net_tcp("sim", port, 8899)


def test_telegraf_is_well_while_it_is_connected_to_the_broker() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as broker:
        address = broker.getsockname()
        assert not in_proc_net_tcp("telegraf", address[1], 1883)
        with socket.create_connection(address):
            assert in_proc_net_tcp("telegraf", address[1], 1883)


# ------------------------------------------------------------------ the step of the broker


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Make a scratch /etc/heliobus, as the containers of the demo have it."""
    folder = tmp_path / "etc"
    for name in MADE:
        (folder / name).mkdir(parents=True)
    shutil.copy(COMPOSE / "demo.yaml", folder / "heliobus.yaml")
    return folder


def test_the_broker_s_step_may_run_again(etc: Path) -> None:
    script = str(COMPOSE / "broker-init")
    status, said = run("sh", script, cwd=etc)
    assert (status, said) == (0, "the broker's users: archive axpert telegraf watch \n")
    made = contents(etc)
    assert run("sh", script, cwd=etc) == (0, said)
    assert contents(etc) == made
    assert made["mqtt"] == (etc / "mqtt" / "users" / "telegraf").read_text()
    assert os.listdir(etc / "telegraf") == ["mqtt"]


def test_the_broker_s_step_says_what_is_wrong_and_makes_nothing(etc: Path) -> None:
    (etc / "heliobus.yaml").write_text("site: My House\n")
    status, said = run("sh", str(COMPOSE / "broker-init"), cwd=etc)
    assert status != 0
    assert "heliobus.yaml:1: site" in said
    assert os.listdir(etc / "mqtt") == []


@pytest.mark.broker
def test_telegraf_reads_states_and_opendtu_and_writes_nothing(etc: Path, tmp_path: Path) -> None:
    publish = require_program("mosquitto_pub", "mosquitto-clients")
    subscribe = require_program("mosquitto_sub", "mosquitto-clients")
    run("sh", str(COMPOSE / "broker-init"), cwd=etc)
    users = etc / "mqtt" / "users"
    # Its own listener would be port 1883 of all addresses, which a container has to itself.
    text = (etc / "mqtt" / "mosquitto.conf").read_text()
    assert "listener 1883\n" in text
    assert "persistence_location /var/lib/mosquitto/" in text
    mine = [line for line in text.splitlines() if not re.match("listener|persistence_", line)]
    started, port = mosquitto(tmp_path, *mine)
    try:
        at = ("-h", "127.0.0.1", "-p", str(port), "-V", "5")

        def as_user(name: str) -> tuple[str, ...]:
            folder = etc / "telegraf" / "mqtt" if name == "telegraf" else users / name
            return (*at, "-u", name, "-P", folder.read_text().strip())

        topic = "heliobus/demo/inverter/state"
        assert mosquitto_check(port) == 0
        kept = (publish, "-r", "-q", "1", "-t", topic, "-m")
        assert run(*kept, "1", *as_user("axpert"))[0] == 0
        assert run(subscribe, "-C", "1", "-W", "5", "-t", topic, *as_user("telegraf")) == (0, "1\n")
        for other in (topic, "heliobus/demo/inverter/set/telegraf", "solar/1161/cmd/power"):
            tried = (publish, "-q", "1", "-t", other, "-m", "2", *as_user("telegraf"))
            assert "Not authorized" in run(*tried)[1], other
        assert run(subscribe, "-C", "1", "-W", "5", "-t", topic, *as_user("watch")) == (0, "1\n")
    finally:
        started.kill()
        started.wait()


# ------------------------------------------------------------------ the step of InfluxDB


def influx_init(etc: Path, server: Standin, *, token: str = ADMIN) -> tuple[int, str]:
    """Run the step as its container does, against a stand-in for InfluxDB."""
    text = (COMPOSE / "demo.yaml").read_text()
    (etc / "heliobus.yaml").write_text(text.replace("http://influxdb:8086", server.url))
    (etc.parent / "token").write_text(f"{token}\n")
    return run("sh", str(COMPOSE / "influx-init"), str(etc.parent / "token"), cwd=etc)


def test_influxdb_s_step_may_run_again(etc: Path) -> None:
    with Standin(orgs={"heliobus": "0a1b"}) as server:
        server.add_bucket("heliobus")
        status, said = influx_init(etc, server)
        assert status == 0, said
        made = contents(etc)
        assert influx_init(etc, server)[0] == 0
        assert contents(etc) == made
        tokens = {path: (etc / path).read_text().strip() for path in TOKENS}
        assert {path: server.tokens[token] for path, token in tokens.items()} == TOKENS
        assert ADMIN not in "".join(made.values())
        assert not any(token in said for token in (ADMIN, *tokens.values()))


TOKENS = {
    "secrets/influx": {("write", "heliobus")},
    "reader/influx": {("read", "heliobus")},
    "telegraf/influx": {("write", "heliobus")},
}


def test_influxdb_s_step_with_a_wrong_token_says_so_and_fails(etc: Path) -> None:
    with Standin(orgs={"heliobus": "0a1b"}) as server:
        status, said = influx_init(etc, server, token="wrong")
    assert status != 0
    assert "refuses the administrator's token" in said
    assert os.listdir(etc / "telegraf") == []


# ------------------------------------------------------------------ the demo as a whole


@pytest.mark.broker
def test_the_demo_comes_from_the_simulated_inverter_to_influxdb(etc: Path, tmp_path: Path) -> None:
    """Run what the containers run, in their order, with nothing but the addresses changed."""
    with (
        serve_tcp(simulator("voltronic")(), host="127.0.0.1", port=0) as inverter,
        Standin(orgs={"heliobus": "0a1b"}) as influxdb,
    ):
        assert influx_init(etc, influxdb)[0] == 0
        assert run("sh", str(COMPOSE / "broker-init"), cwd=etc)[0] == 0
        conf = (etc / "mqtt" / "mosquitto.conf").read_text().splitlines()
        broker, port = mosquitto(
            tmp_path, *[line for line in conf if not re.match("listener|persistence_", line)]
        )
        text = (etc / "heliobus.yaml").read_text()
        for there, here in (
            ("mqtt://mosquitto", f"mqtt://127.0.0.1:{port}"),
            ("socket://sim:8899", inverter.url.replace("tcp://", "socket://")),
            ("/var/lib/heliobus", str(tmp_path / "data")),
        ):
            assert there in text
            text = text.replace(there, here)
        (etc / "heliobus.yaml").write_text(f"{text}\nclock: trust\n")
        try:
            with Program(etc, "up") as heliobus:
                tags = (("device", "inverter"), ("site", "demo"))
                wait_until(
                    lambda: [p for p in influxdb.points if p[:3] == ("heliobus", "inverter", tags)],
                    "a value of the inverter in InfluxDB",
                    30,
                )
                assert heliobus.stop() == 0
        finally:
            broker.kill()
            broker.wait()


# ------------------------------------------------------------------ Telegraf's start


def test_telegraf_starts_with_its_passwords_and_without_their_newlines(tmp_path: Path) -> None:
    (tmp_path / "mqtt").write_text("pass word\n")
    (tmp_path / "influx").write_text("to=ken==")
    program = tmp_path / "bin" / "telegraf"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s|" "$MQTT_PASSWORD" "$INFLUX_TOKEN" "$@"\n')
    program.chmod(0o755)
    script = str(COMPOSE / "telegraf")
    status, said = run("sh", script, str(tmp_path), "a.conf", PATH=f"{program.parent}:/bin")
    assert (status, said) == (0, "pass word|to=ken==|--config|a.conf|")


def test_telegraf_does_not_start_without_its_passwords(tmp_path: Path) -> None:
    status, said = run("sh", str(COMPOSE / "telegraf"), str(tmp_path))
    assert status != 0
    assert "mqtt" in said


# ------------------------------------------------------------------ the image


@pytest.mark.slow
def test_the_image_s_commands_make_a_heliobus_without_tools(tmp_path: Path) -> None:
    """Run the lines of the first stage, in a copy of what Docker would be given."""
    source, opt, wheels = tmp_path / "src", tmp_path / "opt", tmp_path / "wheels"
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule.startswith("!"):
            given, target = ROOT / rule[1:], source / rule[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if given.is_dir():
                shutil.copytree(given, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(given, target)
    venv.create(tmp_path / "python", with_pip=True)
    for line in dockerfile_runs(0):
        here = line.replace("/opt/heliobus", str(opt)).replace("/wheels", str(wheels))
        path = f"{tmp_path / 'python' / 'bin'}:{os.environ['PATH']}"
        status, said = run(
            "sh", "-c", here, cwd=source, PATH=path, PIP_DISABLE_PIP_VERSION_CHECK="1"
        )
        assert status == 0, f"{line}\n{said}"
    python = str(opt / "venv" / "bin" / "python")
    status, said = run(python, "-I", "-m", "heliobus", "list", cwd=tmp_path)
    assert status == 0
    assert all(name in said for name in ("voltronic", "influx", "sql"))
    for module in ("pip", "hatchling", "pytest"):
        assert run(python, "-I", "-c", f"import {module}", cwd=tmp_path)[0] == 1, module
    for script in ("broker-init", "healthcheck", "influx-init"):
        assert os.access(opt / "bin" / script, os.X_OK)


def test_every_command_of_our_containers_is_one_of_heliobus() -> None:
    known = run("heliobus", "--help")[1]
    for name, service in SERVICES.items():
        if "build" in service and "entrypoint" not in service:
            command = service.get("command", ["up"])[0]
            assert re.search(rf"^  {command} ", known, re.MULTILINE), f"{name}: {command}"
    for script in ("broker-init", "influx-init"):
        for line in (COMPOSE / script).read_text().splitlines():
            if line.startswith("heliobus "):
                assert re.search(rf"^  {shlex.split(line)[1]} ", known, re.MULTILINE), line
