"""`heliobus broker` as people type it, and what its page shows."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliobus import cli, config
from tests.helpers import ROOT, BrokerProcess, free_port, require_program, wait_until
from tests.processes import Program
from tests.test_docs import blocks

PAGE = (ROOT / "broker" / "README.md").read_text()
CONFIG = """\
site: farm
broker: {{url: "mqtt://127.0.0.1:{port}"{more}}}
sinks:
  archive: {{type: sql, url: "sqlite:///history.db"}}
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    return tmp_path


def write(here: Path, more: str = "", port: int = 1883) -> None:
    (here / "heliobus.yaml").write_text(CONFIG.format(port=port, more=more))


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(["-c", str(here / "heliobus.yaml"), "broker", *arguments])
        return status, *capsys.readouterr()

    return command


def shown() -> Iterator[list[str]]:
    for block in blocks(PAGE):
        for line in block.text.splitlines() if block.kind == "sh" else ():
            words = shlex.split(line.removeprefix("sudo "), comments=True)
            if words[:2] == ["heliobus", "broker"]:
                yield words[2:]


def test_every_command_of_the_page_works(run: Run) -> None:
    require_program("openssl", package="openssl")
    commands = list(shown())
    assert {words[0] for words in commands} == {"init", "add-user", "remove-user", "check"}
    for words in commands:
        if words != ["check"]:  # it needs a broker
            assert run(*words)[0] == 0, words


def test_every_key_of_the_page_is_known(here: Path) -> None:
    (here / "mqtt" / "users").mkdir(parents=True)
    (here / "mqtt.password").write_text("geheim\n")
    (here / "mqtt.password").chmod(0o600)
    (here / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    found = [block.text for block in blocks(PAGE) if block.kind == "yaml"]
    assert len(found) == 3
    for text in found:
        (here / "heliobus.yaml").write_text(f"site: farm\n{text}")
        assert len(config.read("heliobus.yaml").warnings) == 1  # that nothing will run


def test_init_says_what_to_do_and_shows_no_password(run: Run, here: Path) -> None:
    status, first, _ = run("init")
    assert status == 0
    assert "user archive (sink) is new\nuser watch (reader) is new\n" in first
    assert f"{here}/mqtt: written; 2 users, passwords in users/" in first
    assert f"sudo ln -sf {here}/mqtt/mosquitto.conf /etc/mosquitto/conf.d/" in first
    assert f"broker: {{..., passwords: {here}/mqtt/users}}" in first
    assert f"XDG_CONFIG_HOME={here}/mqtt/clients mosquitto_sub -v -t 'heliobus/#'" in first
    _, second, _ = run("init")
    assert f"{here}/mqtt: as it was; 2 users" in second
    for name in ("archive", "watch"):
        assert (here / "mqtt" / "users" / name).read_text().strip() not in first + second


def test_init_in_another_folder_leaves_the_usual_one_alone(run: Run, here: Path) -> None:
    assert run("init", "--folder", "elsewhere")[0] == 0
    assert (here / "elsewhere" / "mosquitto.conf").exists()
    assert not (here / "mqtt").exists()


def test_init_works_before_the_files_that_the_configuration_names_are_there(
    run: Run, here: Path
) -> None:
    require_program("openssl", package="openssl")
    keys = ", passwords: mqtt/users, ca_file: mqtt/tls/ca.crt}"
    text = (here / "heliobus.yaml").read_text().replace("}\nsinks", f"{keys}\nsinks", 1)
    (here / "heliobus.yaml").write_text(text.replace("mqtt://", "mqtts://"))
    assert run("init", "--tls", "--listen", "127.0.0.1:8883")[0] == 0
    assert config.read("heliobus.yaml").warnings == ()


def test_add_user_says_what_to_enter_where(run: Run, here: Path) -> None:
    require_program("openssl", package="openssl")
    run("init", "--listen", "*", "--tls")
    status, out, _ = run("add-user", "opendtu", "--role", "device", "--topic", "solar/")
    assert status == 0
    assert out.splitlines() == [
        "user opendtu: device",
        f"  password: in {here}/mqtt/users/opendtu",
        "  broker: this computer's name or address, port 8883",
        f"  TLS: on; CA certificate: {here}/mqtt/tls/ca.crt",
        "  topics: solar/...",
        "A mosquitto that runs has to read its files again: sudo systemctl reload mosquitto, or"
        " send it SIGHUP.",
    ]
    _, again, _ = run("add-user", "opendtu", "--role", "device", "--topic", "solar")
    assert again.endswith("Nothing has changed.\n")


def test_add_user_tells_how_devices_get_in_and_nothing_that_up_does_itself(
    run: Run, here: Path
) -> None:
    require_program("openssl", package="openssl")
    write(here, ", start: auto")
    _, out, _ = run("add-user", "opendtu", "--role", "device", "--topic", "solar")
    assert out.splitlines() == [
        "user opendtu: device",
        f"  password: in {here}/mqtt/users/opendtu",
        "  broker: 127.0.0.1, port 1883; for other machines:"
        " heliobus broker init --listen 0.0.0.0 --tls --host NAME",
        "  topics: solar/...",
    ]
    assert run("init", "--listen", "*", "--tls", "--host", "solar.lan")[0] == 0


def test_init_says_when_a_service_has_to_be_restarted(run: Run, here: Path) -> None:
    require_program("openssl", package="openssl")
    said = "Listeners or certificates have changed: restart mosquitto; until then it listens"
    assert said not in run("init")[1]
    assert said in run("init", "--listen", "*", "--tls")[1]
    assert said not in run("init")[1]
    assert said in run("init", "--host", "solar.lan")[1]
    write(here, ", start: auto")
    assert said not in run("init", "--no-host", "solar.lan")[1]


@pytest.mark.broker
def test_a_newcomer_needs_no_other_step_than_up(here: Path, run: Run) -> None:
    require_program("mosquitto", package="mosquitto")
    write(here, ", start: auto", free_port())
    with Program(here, "up") as up:
        up.says("archive: started")
        status, out, _ = run("check")
        assert status == 0, out
        with Program(here, "watch") as watch:
            watch.says("archive", "online")
        assert up.stop() == 0
    assert not re.search("WARNING|ERROR", up.said), up.said


@pytest.mark.broker
@pytest.mark.slow  # what is gone is waited for
def test_up_goes_on_with_a_broker_of_its_own_when_that_of_another_is_gone(
    mosquitto: BrokerProcess, here: Path, run: Run
) -> None:
    write(here, ", start: auto", mosquitto.port)
    with Program(here, "up") as up:
        up.says("lets in everybody without a password")
        up.says("archive: started")
        mosquitto.stop()
        wait_until(lambda: "starting one of our own" in up.said, "a broker of its own", 50)
        wait_until(lambda: up.said.count("archive: started") == 2, "a second log-in", 20)
        wait_until(lambda: run("check")[0] == 0, "users that are let in")
        assert up.stop() == 0


@pytest.mark.broker
def test_up_speaks_tls_to_a_broker_of_its_own(here: Path, run: Run) -> None:
    require_program("mosquitto", package="mosquitto")
    require_program("openssl", package="openssl")
    port = free_port()
    keys = ", start: mosquitto, ca_file: mqtt/tls/ca.crt"
    write(here, keys, port)
    text = (here / "heliobus.yaml").read_text()
    (here / "heliobus.yaml").write_text(text.replace("mqtt://", "mqtts://"))
    run("init", "--tls", "--listen", f"127.0.0.1:{port}", "--port", str(free_port()))
    with Program(here, "up") as up:
        up.says("archive: started")
        status, out, _ = run("check")
        assert status == 0, out
        assert up.stop() == 0
