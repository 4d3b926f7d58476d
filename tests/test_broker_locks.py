"""A real mosquitto with the locks of `heliobus broker init`: who gets in, and how far."""

import io
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from broker import commands
from broker.accounts import Wish
from broker.roles import Role
from broker.start import start_broker
from heliobus.bus import Bus, Message
from heliobus.own_broker import OwnBroker
from heliobus.settings import BrokerSettings, BrokerStart
from tests.brokers import Locked, locked, served_house
from tests.helpers import ROOT, BrokerProcess, require_program, wait_until
from tests.house import SINK, House, wall_ms
from tests.processes import Program

pytestmark = pytest.mark.broker


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Locked]:
    with served_house(tmp_path) as one:
        yield one


class Heard:
    """Clients that hear `#` as a user, by what they heard."""

    def __init__(self) -> None:
        self.messages: dict[str, list[str]] = {}
        self._stack = ExitStack()

    def bus(self, broker: BrokerSettings, name: str) -> Bus:
        heard = self.messages.setdefault(name, [])

        def hear(message: Message) -> None:
            heard.append(message.topic)

        bus = Bus(
            broker,
            name,
            will=(f"heliobus/farm/bus/{name}/status", b"{}"),
            subscriptions=[("#", 1)],
            on_message=hear,
        )
        self._stack.callback(bus.stop)
        bus.start()
        return bus

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def heard() -> Iterator[Heard]:
    one = Heard()
    yield one
    one.close()


@pytest.mark.parametrize(
    ("topic", "authors", "readers"),
    [
        ("heliobus/farm/inverter/state", "axpert", "archive watch anna"),
        ("heliobus/farm/inverter/info", "axpert", "axpert meters archive watch anna"),
        ("heliobus/farm/bus/axpert/event", "axpert", "axpert archive watch anna"),
        ("heliobus/farm/bus/axpert/status", "axpert", "axpert meters archive watch anna"),
        ("heliobus/farm/bus/axpert/replay", "axpert archive", "axpert archive watch anna"),
        ("heliobus/farm/bus/archive/history", "axpert meters archive", "archive watch anna"),
        ("heliobus/farm/grid/set/anna", "anna", "meters archive watch anna"),
        ("heliobus/farm/grid/set/watch", "", ""),
        ("heliobus/hut/inverter/state", "", ""),
        ("solar/power", "opendtu", "opendtu"),
        ("elsewhere", "", ""),
    ],
)
def test_only_its_author_writes_a_topic_and_only_who_needs_it_hears_it(
    served: Locked, heard: Heard, topic: str, authors: str, readers: str
) -> None:
    names = ("axpert", "meters", "archive", "watch", "opendtu", "anna")
    buses = {name: heard.bus(served.broker, name) for name in names}
    for bus in buses.values():
        assert bus.wait_connected(10)

    def all_hear() -> bool:
        """Have all heard the end of what was said? By then they have heard what was before."""
        return all(
            ("solar/end" if reader == "opendtu" else "heliobus/farm/bus/archive/status") in said
            for reader, said in heard.messages.items()
        )

    def say_the_end(payload: bytes = b"{}", *, retain: bool = False) -> None:
        status = "heliobus/farm/bus/archive/status"
        assert buses["archive"].publish(status, payload, retain=retain)
        assert buses["opendtu"].publish("solar/end", payload, retain=retain)

    say_the_end(retain=True)  # whoever subscribes later hears it then
    wait_until(all_hear, "that all have subscribed")
    for name, bus in buses.items():
        for said in heard.messages.values():
            said.clear()
        assert bus.publish(topic, b"{}")
        assert bus.drain(5)
        say_the_end()
        wait_until(all_hear, "the end")
        found = {reader for reader, said in heard.messages.items() if topic in said}
        assert found == (set(readers.split()) if name in authors.split() else set()), name
    say_the_end(b"", retain=True)


def test_nobody_gets_in_without_a_password_or_with_a_wrong_one(
    served: Locked, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    url = served.settings.broker.url
    nobody = heard.bus(served.settings.broker, "nobody")
    said = f"broker {url}: a connection without a password is not accepted"
    wait_until(lambda: said in caplog.text, said)
    wrong = heard.bus(replace(served.settings.broker, password="wrong"), "axpert")
    said = f"broker {url}: user 'axpert' or its password is not accepted"
    wait_until(lambda: said in caplog.text, said)
    assert not nobody.connected
    assert not wrong.connected


def test_a_password_file_that_is_corrected_is_enough(
    served: Locked, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = served.folder / "users" / "axpert"
    good = file.read_text()
    file.write_text("wrong\n")
    bus = heard.bus(served.broker, "axpert")
    said = (
        f"broker {served.broker.url}: user 'axpert' or its password is not accepted (Not"
        f" authorized); check {file} against the broker, as 'heliobus broker check' does."
        " Trying again"
    )
    wait_until(lambda: said in caplog.text, said)
    file.unlink()
    said = f"broker {served.broker.url}: cannot read {file}: No such file or directory"
    wait_until(lambda: said in caplog.text, said)
    file.write_text(good)
    assert bus.wait_connected(15)
    assert good.strip() not in caplog.text
    assert "wrong" not in caplog.text


def test_hashes_of_mosquittos_own_tool_are_kept(tmp_path: Path, heard: Heard) -> None:
    tool = require_program("mosquitto_passwd", package="mosquitto")
    one = locked(tmp_path)
    one.make()
    passwords = one.folder / "passwords"
    subprocess.run([tool, "-b", passwords, "axpert", one.password("axpert")], check=True)
    before = passwords.read_text()
    one.make()
    assert sorted(passwords.read_text().splitlines()) == sorted(before.splitlines())
    with one.serving():
        assert heard.bus(one.broker, "axpert").wait_connected(10)


def test_a_running_mosquitto_takes_in_a_new_user_and_throws_out_one_that_is_gone(
    tmp_path: Path, heard: Heard
) -> None:
    require_program("mosquitto", package="mosquitto")
    one = locked(tmp_path)
    settings = replace(one.settings.broker, start=BrokerStart.MOSQUITTO)
    own = OwnBroker(settings, tmp_path / "data", one.settings)
    own.start()
    try:
        one.add("anna", Role.READER)
        own.tend()
        anna = heard.bus(own.settings, "anna")
        assert anna.wait_connected(10)
        one.settings = replace(one.settings, bridges={})
        meters = heard.bus(own.settings, "meters")
        assert meters.wait_connected(10)
        one.make()
        own.tend()
        wait_until(lambda: not meters.connected, "the end of who is gone")
        assert anna.connected
    finally:
        own.stop()


def test_users_are_taken_in_also_when_the_clock_was_set_back(tmp_path: Path, heard: Heard) -> None:
    require_program("mosquitto", package="mosquitto")
    one = locked(tmp_path)
    settings = replace(one.settings.broker, start=BrokerStart.MOSQUITTO)
    own = OwnBroker(settings, tmp_path / "data", one.settings)
    own.start()
    try:
        one.add("anna", Role.READER)
        for name in ("passwords", "acl"):
            os.utime(one.folder / name, (1_000_000_000, 1_000_000_000))
        own.tend()
        assert heard.bus(own.settings, "anna").wait_connected(10)
    finally:
        own.stop()


def test_the_broker_of_up_logs_its_components_in(tmp_path: Path, heard: Heard) -> None:
    require_program("mosquitto", package="mosquitto")
    one = locked(tmp_path)
    settings = replace(one.settings.broker, start=BrokerStart.MOSQUITTO)
    own = OwnBroker(settings, tmp_path / "data", one.settings)
    own.start(share=True)
    try:
        assert own.settings.passwords == one.folder / "users"
        assert heard.bus(own.settings, "axpert").wait_connected(10)
    finally:
        own.stop()


def test_the_line_for_a_person_shows_the_bus_without_a_password_on_it(served: Locked) -> None:
    program = require_program("mosquitto_sub", package="mosquitto-clients")
    environ = {**os.environ, "XDG_CONFIG_HOME": str(served.folder / "clients")}
    shown = subprocess.run(
        [program, "-t", "$SYS/broker/version", "-C", "1", "-W", "10"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.startswith("mosquitto version")


def test_the_shipped_configuration_lets_nobody_in(tmp_path: Path) -> None:
    text = (ROOT / "broker" / "mosquitto" / "mosquitto.conf").read_text()
    lines = text.splitlines()
    assert "allow_anonymous false" in lines
    assert "listener 1883 127.0.0.1" in lines
    assert not [line for line in lines if line.startswith("per_listener_settings")]
    (tmp_path / "mqtt").mkdir()
    (tmp_path / "mqtt" / "passwords").touch()
    (tmp_path / "mqtt" / "acl").touch()
    port = BrokerProcess(BrokerStart.MOSQUITTO, tmp_path).port
    text = text.replace("/etc/heliobus", str(tmp_path)).replace("listener 1883", f"listener {port}")
    (tmp_path / "mqtt" / "mosquitto.conf").write_text(text)
    require_program("mosquitto", package="mosquitto")
    running = start_broker(BrokerStart.MOSQUITTO, port, tmp_path, locks=tmp_path / "mqtt")
    try:
        client = require_program("mosquitto_sub", package="mosquitto-clients")
        asked = subprocess.run(
            [client, "-p", str(port), "-t", "#", "-W", "5"], capture_output=True, check=False
        )
        assert b"not authorised" in asked.stderr
    finally:
        running.stop()


@pytest.mark.slow
def test_a_whole_house_lives_behind_the_locks(tmp_path: Path) -> None:
    """Everything that components say to each other passes, and nothing is refused."""
    address = BrokerProcess(BrokerStart.MOSQUITTO, tmp_path / "unused")
    config = {"url": address.url, "start": "mosquitto"}
    house = House(tmp_path / "house", address, broker=config, journal={"flush": "1s"})
    with house.running("up"):
        house.recovers()
        up = house.programs["up"]
        (users,) = house.folder.glob("mqtt/users")
        assert {path.name for path in users.iterdir()} == {"meters", "archive", "watch"}
        shutil.copytree(house.folder / "mqtt", tmp_path / "before")
        # What is measured while the archive is away is asked for and sent, through the locks.
        os.kill(int((house.data / f"{SINK}.lock").read_text()), signal.SIGKILL)
        wait_until(house.asked, "a request to the journal", 15)
        house.recovers()
        with Program(house.folder, "broker", "check") as check:
            assert check.wait(30) == 0, check.said
        before_ms = wall_ms()
        house.flows()
        assert up.stop(5) == 0
        house.is_whole(before_ms)
    assert "refused what" not in up.said
    for name in ("acl", "passwords"):  # a second start has kept them
        assert (house.folder / "mqtt" / name).read_bytes() == (
            tmp_path / "before" / name
        ).read_bytes()
    assert not list(house.data.glob("*.rejected"))


# The file of Debian's package, with its places changed.
SERVICE = """\
pid_file {0}/mosquitto.pid
persistence true
persistence_location {0}/lib/
log_dest file {0}/mosquitto.log
include_dir {0}/conf.d
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the service's user")
def test_the_service_of_debian_takes_it_as_its_own_user(
    common_path: Path, heard: Heard, capsys: pytest.CaptureFixture[str]
) -> None:
    program = require_program("mosquitto", package="mosquitto")
    one = locked(common_path / "home")
    (common_path / "home").mkdir(mode=0o700)
    one.settings.data.mkdir()
    os.chown(one.settings.data, 4711, 4711)  # whose heliobus is
    commands.init(one.settings, None, Wish(), io.StringIO())
    for folder in (common_path / "conf.d", common_path / "lib"):
        folder.mkdir()
        shutil.chown(folder, "mosquitto")
    shutil.chown(common_path, "mosquitto")
    out = io.StringIO()
    commands.init(one.settings, None, Wish(), out)
    said = "user mosquitto cannot reach its files here; run: sudo chmod o+x "
    (line,) = [line for line in out.getvalue().splitlines() if line.startswith(said)]
    assert str(common_path / "home") in line.split()
    (common_path / "home").chmod(0o755)
    assert (one.folder / "users" / "axpert").stat().st_uid == 4711
    (common_path / "mosquitto.conf").write_text(SERVICE.format(common_path))
    (common_path / "conf.d" / "heliobus.conf").symlink_to(one.folder / "mosquitto.conf")
    with subprocess.Popen([program, "-c", common_path / "mosquitto.conf"]) as service:
        try:
            assert heard.bus(one.broker, "axpert").wait_connected(10)
            status = Path(f"/proc/{service.pid}/status").read_text()
            assert f"\nUid:\t{os.stat(one.folder / 'acl').st_uid}\t" in status
            one.add("anna", Role.READER)
            service.send_signal(signal.SIGHUP)
            assert heard.bus(one.broker, "anna").wait_connected(10)
        finally:
            service.terminate()
    assert capsys.readouterr().err == ""
