"""`heliobus broker check` on real brokers: it finds what is open, and disturbs nobody."""

import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.accounts import Wish
from broker.check import Check
from broker.roles import Role
from heliobus.bus import Bus
from heliobus.errors import ConfigError
from tests.brokers import Locked, locked, served_house
from tests.helpers import BrokerProcess, free_port, require_program, wait_until

pytestmark = pytest.mark.broker


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Locked]:
    with served_house(tmp_path) as one:
        yield one


def checked(one: Locked) -> tuple[int, str, list[str]]:
    """Give exit status, output, and the faults without the names that are made up each time."""
    out = io.StringIO()
    status = Check(one.settings, one.folder).run(out)
    text = re.sub(r"broker_check_[0-9a-f]{8}_\d+", "PROBE", out.getvalue())
    faults = [line.removeprefix("FAULT: ") for line in text.splitlines() if "FAULT" in line]
    return status, text, faults


def break_acl(one: Locked, old: str, new: str) -> None:
    acl = (one.folder / "acl").read_text()
    assert old in acl
    (one.folder / "acl").write_text(acl.replace(old, new))
    one.reload()


def test_a_broker_as_it_was_made_passes(served: Locked) -> None:
    status, text, faults = checked(served)
    assert (status, faults) == (0, [])
    assert text.splitlines()[1:] == [
        f"set up to listen at 127.0.0.1:{served.broker.port}",
        "",
        "user     role      log-in  writes  does not write  hears  does not hear",
        "axpert   bridge    ok      3       11              1      11",
        "meters   bridge    ok      3       11              1      11",
        "archive  sink      ok      3       11              10     2",
        "watch    reader    ok      0       14              11     1",
        "opendtu  device    ok      1       13              1      11",
        "anna     operator  ok      1       13              11     1",
        "",
        "Everyone can do what is his, and nothing else, on every topic that was tried (84).",
    ]


def test_lines_of_ones_own_are_said_not_to_be_tried(served: Locked) -> None:
    own = served.folder / "acl.own"
    own.write_text("user anna\ntopic read elsewhere/#\n")
    served.make()
    status, text, _ = checked(served)
    assert (status, text.splitlines()[-1]) == (0, f"The lines of {own} were not tried.")


@pytest.mark.parametrize(
    ("old", "new", "faults"),
    [
        (
            "topic write heliobus/farm/grid/+",
            "topic write heliobus/farm/+/+",
            ["meters can write heliobus/farm/PROBE/info and 2 more, and must not"],
        ),
        (
            "user watch\n",
            "user watch\ntopic write heliobus/farm/bus/archive/#\n",
            ["watch can write heliobus/farm/bus/archive/PROBE, and must not"],
        ),
        (
            "topic readwrite solar/#",
            "topic readwrite #",
            [
                "opendtu can write PROBE/topic and 12 more, and must not",
                "opendtu hears PROBE/topic and 22 more, and must not",
            ],
        ),
        (
            "topic write heliobus/farm/bus/axpert/#\n",
            "",
            ["axpert cannot write heliobus/farm/bus/axpert/PROBE"],
        ),
        ("set/anna", "set/+", ["anna can write heliobus/farm/PROBE/set/PROBE, and must not"]),
        ("user opendtu\n", "user nobody\n", ["opendtu cannot write solar/PROBE"]),
        (
            "topic read heliobus/farm/bus/axpert/#\n",
            "",
            ["axpert does not hear heliobus/farm/bus/axpert/PROBE"],
        ),
    ],
)
def test_a_right_too_many_or_too_few_is_found(
    served: Locked, old: str, new: str, faults: list[str]
) -> None:
    break_acl(served, old, new)
    wait_until(lambda: checked(served)[2], "a fault")
    status, _, found = checked(served)
    assert (status, found) == (1, faults)


def test_a_broker_that_lets_anyone_in_is_found(mosquitto: BrokerProcess, tmp_path: Path) -> None:
    one = locked(tmp_path)
    one.settings = replace(one.settings, broker=replace(one.settings.broker, port=mosquitto.port))
    one.make()
    status, text, _ = checked(one)
    assert (status, text) == (
        1,
        f"FAULT: broker {one.broker.url}: this broker asks for no password: it is not the one that"
        " 'heliobus broker init' set up, or was not restarted since\n",
    )


def test_a_broker_that_knows_its_users_and_lets_strangers_in_too_is_found(tmp_path: Path) -> None:
    one = locked(tmp_path)
    one.make()
    conf = one.folder / "mosquitto.conf"
    conf.write_text(conf.read_text().replace("allow_anonymous false", "allow_anonymous true"))
    with one.serving():
        status, _, faults = checked(one)
    assert (status, faults[0]) == (
        1,
        "anyone is let in without a password; is 'allow_anonymous false' in mosquitto.conf,"
        " and mosquitto restarted?",
    )


def test_the_listener_for_others_is_named_with_its_certificate(tmp_path: Path) -> None:
    require_program("openssl", package="openssl")
    one, port = locked(tmp_path), free_port()
    one.make(Wish(listen=f"127.0.0.1:{port}", tls=True, hosts=["solar.lan"]))
    with one.serving():
        _, text, _ = checked(one)
    assert re.fullmatch(
        rf"set up to listen at 127\.0\.0\.1:{port} with TLS: certificate for localhost,"
        r" 127\.0\.0\.1, ::1, solar\.lan; valid until \w{3} +\d+ [\d:]{8} \d{4} GMT",
        text.splitlines()[2],
    )


def test_a_password_that_is_gone_is_said_with_what_to_do(served: Locked) -> None:
    (served.folder / "users" / "watch").unlink()
    with pytest.raises(
        ConfigError, match=r"users/watch: No such file .*; run: heliobus broker init"
    ):
        checked(served)


def test_a_user_that_the_broker_does_not_know_yet_is_found(served: Locked) -> None:
    served.add("anton", Role.READER)
    status, text, faults = checked(served)
    assert status == 1
    assert faults == [
        f"anton is not let in (broker {served.broker.url}: Not authorized); run 'heliobus broker"
        " init', and have mosquitto read its files again"
    ]
    assert "anton    reader    REFUSED  -" in text
    served.reload()
    wait_until(lambda: checked(served)[0] == 0, "the new user to be known")


def test_nobody_hears_of_it_and_nothing_stays_behind(served: Locked) -> None:
    heard: list[str] = []

    def listener(name: str, *filters: str) -> Bus:
        return Bus(
            served.broker,
            "watch",
            client_id=name,
            will=("heliobus-readers/x", b""),
            subscriptions=[(one, 1) for one in filters],
            on_message=lambda message: heard.append(message.topic),
        )

    during = listener("during", "heliobus/+/+/state", "heliobus/farm/bus/archive/#", "$SYS/#")
    after = listener("after", "heliobus/#", "$SYS/broker/version")
    during.start()
    wait_until(lambda: "$SYS/broker/version" in heard, "the subscriptions")
    assert checked(served)[0] == 0
    said = [topic for topic in heard if not topic.startswith("$SYS")]
    assert [topic.rpartition("_")[0][:-9] for topic in said] == [
        "heliobus/farm/bus/archive/broker_check"
    ]
    during.stop()
    heard.clear()
    after.start()
    wait_until(lambda: "$SYS/broker/version" in heard, "the end of what is retained")
    assert heard == ["$SYS/broker/version"]
    after.stop()


def test_where_there_is_no_broker_it_is_said_in_one_line(tmp_path: Path) -> None:
    one = locked(tmp_path)
    with pytest.raises(
        ConfigError, match="has no users yet; make them with 'heliobus broker init'"
    ):
        checked(one)
    one.make()
    with pytest.raises(ConfigError, match="Connection refused"):
        checked(one)
    shutil.rmtree(one.folder / "users")
    with pytest.raises(ConfigError, match="has no users yet"):
        checked(one)
