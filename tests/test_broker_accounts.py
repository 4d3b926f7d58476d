"""What `heliobus broker init` and `add-user` write: who may read it, and that it stays."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from broker.accounts import Accounts, Wish
from broker.passwords import hashed, matches
from broker.roles import Role
from heliobus.errors import ConfigError
from tests.brokers import ORDINARY, Locked, locked, not_as_root
from tests.helpers import require_program


@pytest.fixture
def made(common_path: Path) -> Locked:
    one = locked(common_path)
    one.make()
    return one


def contents(folder: Path) -> Mapping[str, tuple[bytes, int]]:
    """Give each file with what would show that it was written again."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# ---------------------------------------------------------------------- init


def test_every_component_and_the_person_get_a_password(made: Locked) -> None:
    names = {path.name for path in (made.folder / "users").iterdir()}
    assert names == {"axpert", "meters", "archive", "watch"}
    assert len({made.password(name) for name in names}) == 4
    assert all(len(made.password(name)) == 20 for name in names)


def test_secrets_are_for_their_owner_only(made: Locked) -> None:
    modes = {
        str(path.relative_to(made.folder)): stat.S_IMODE(path.stat().st_mode)
        for path in made.folder.rglob("*")
    }
    readable = {name for name, mode in modes.items() if mode & 0o077}
    assert readable == {"accounts.json"}
    assert modes["users"] == 0o700
    assert made.password("axpert") not in (made.folder / "accounts.json").read_text()


def test_the_rights_are_those_of_the_roles(made: Locked) -> None:
    made.add("opendtu", Role.DEVICE, "solar", "dtu/garage/#")
    made.add("anna", Role.OPERATOR)
    assert (made.folder / "acl").read_text() == (
        "# bridge\nuser axpert\n"
        "topic write heliobus/farm/inverter/+\n"
        "topic write heliobus/farm/bus/axpert/#\n"
        "topic write heliobus/farm/bus/+/history\n"
        "topic read heliobus/farm/inverter/set/+\n"
        "topic read heliobus/farm/bus/axpert/#\n"
        "topic read heliobus/farm/+/info\n"
        "topic read heliobus/farm/bus/+/status\n\n"
        "# bridge\nuser meters\n"
        "topic write heliobus/farm/grid/+\n"
        "topic write heliobus/farm/bus/meters/#\n"
        "topic write heliobus/farm/bus/+/history\n"
        "topic read heliobus/farm/grid/set/+\n"
        "topic read heliobus/farm/bus/meters/#\n"
        "topic read heliobus/farm/+/info\n"
        "topic read heliobus/farm/bus/+/status\n\n"
        "# sink\nuser archive\n"
        "topic write heliobus/farm/bus/archive/#\n"
        "topic write heliobus/farm/bus/+/history\n"
        "topic read heliobus/#\n"
        "topic write heliobus/+/bus/+/replay\n\n"
        "# reader\nuser watch\ntopic read heliobus/#\ntopic read $SYS/#\n\n"
        "# device\nuser opendtu\ntopic readwrite solar/#\ntopic readwrite dtu/garage/#\n\n"
        "# operator\nuser anna\ntopic read heliobus/#\ntopic read $SYS/#\n"
        "topic write heliobus/+/+/set/anna\n"
    )


def test_the_configuration_lets_nobody_in_from_elsewhere_or_without_a_password(
    made: Locked,
) -> None:
    lines = (made.folder / "mosquitto.conf").read_text().splitlines()
    port = made.settings.broker.port
    listeners = {line for line in lines if line.startswith("listener ")}
    assert listeners <= {f"listener {port} 127.0.0.1", f"listener {port} ::1"}
    assert "allow_anonymous false" in lines
    assert f"password_file {made.folder}/passwords" in lines
    assert f"acl_file {made.folder}/acl" in lines
    assert "max_queued_messages 20000" in lines


def test_a_second_run_writes_nothing(made: Locked) -> None:
    made.add("opendtu", Role.DEVICE, "solar")
    before = contents(made.folder)
    assert made.make() == []
    assert contents(made.folder) == before


def test_a_new_component_is_added_and_one_that_is_gone_is_removed(made: Locked) -> None:
    made.add("opendtu", Role.DEVICE, "solar")
    kept = made.password("axpert"), made.password("opendtu")
    bridges = {"axpert": made.settings.bridges["axpert"]}
    bridges["sunny"] = replace(made.settings.bridges["meters"], name="sunny")
    made.settings = replace(made.settings, bridges=bridges)
    assert made.make() == [
        "user meters is gone: heliobus.yaml has no such component",
        "user sunny (bridge) is new",
    ]
    assert not (made.folder / "users" / "meters").exists()
    assert "meters" not in (made.folder / "acl").read_text()
    assert "meters" not in (made.folder / "passwords").read_text()
    assert (made.password("axpert"), made.password("opendtu")) == kept


def test_a_bridge_may_clear_what_is_retained_of_a_device_that_it_had(made: Locked) -> None:
    axpert = made.settings.bridges["axpert"]
    (inverter,) = axpert.devices
    other = replace(axpert, devices=(replace(inverter, name="second"),))
    made.settings = replace(made.settings, bridges={**made.settings.bridges, "axpert": other})
    for _ in range(2):
        made.make()
        acl = (made.folder / "acl").read_text()
        assert "topic write heliobus/farm/second/+\n" in acl
        assert "topic write heliobus/farm/inverter/+\n" in acl
    moved = replace(made.settings.bridges["meters"], devices=(inverter,))
    made.settings = replace(made.settings, bridges={"axpert": other, "meters": moved})
    made.make()
    acl = (made.folder / "acl").read_text()
    assert acl.count("topic write heliobus/farm/inverter/+\n") == 1


def test_a_deleted_password_is_made_anew(made: Locked) -> None:
    old, others = made.password("axpert"), made.password("archive")
    (made.folder / "users" / "axpert").unlink()
    assert made.make() == ["user axpert (bridge) is new"]
    assert made.password("axpert") != old
    assert made.password("archive") == others


def test_a_password_that_somebody_has_changed_is_taken_over(made: Locked) -> None:
    (made.folder / "users" / "axpert").write_text("my own choice\n")
    made.make()
    line = (made.folder / "passwords").read_text().splitlines()[0]
    assert matches("my own choice", line.partition(":")[2])


def test_lines_of_ones_own_are_added_to_the_rights(made: Locked) -> None:
    (made.folder / "acl.own").write_text("user axpert\ntopic read solar/#\n")
    made.make()
    assert (made.folder / "acl").read_text().endswith("user axpert\ntopic read solar/#\n")


@pytest.mark.parametrize("line", ["topic read #", "  topic solar/#", "pattern read a/%u\ntopic #"])
def test_a_line_of_ones_own_is_not_taken_for_the_last_users(made: Locked, line: str) -> None:
    before = (made.folder / "acl").read_text()
    (made.folder / "acl.own").write_text(f"# mine\n{line}\nuser axpert\n")
    with pytest.raises(ConfigError, match=r"acl\.own:\d: 'topic .*#' is nobody's; write"):
        made.make()
    assert (made.folder / "acl").read_text() == before


def test_a_pattern_of_ones_own_is_everybodys_and_may_stand_anywhere(made: Locked) -> None:
    (made.folder / "acl.own").write_text("pattern read own/%u\n")
    made.make()
    assert (made.folder / "acl").read_text().endswith("\npattern read own/%u\n")


def test_a_folder_of_another_site_is_left_alone(made: Locked) -> None:
    made.settings = replace(made.settings, site="hut")
    with pytest.raises(ConfigError, match="belongs to site 'farm', but this configuration is of"):
        made.make()


def test_a_component_that_is_called_like_the_person_is_refused(tmp_path: Path) -> None:
    one = locked(tmp_path)
    sinks = {"watch": replace(one.settings.sinks["archive"], name="watch")}
    one.settings = replace(one.settings, sinks=sinks)
    with pytest.raises(ConfigError, match="a component is called 'watch', which is the user of"):
        one.make()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a folder away from us")
def test_nothing_needs_to_be_written_where_nothing_can_be(made: Locked) -> None:
    with not_as_root(made.folder):
        os.seteuid(0)
        os.chown(made.folder, 0, 0)
        os.seteuid(ORDINARY)
        assert made.make() == []
        with pytest.raises(ConfigError, match="run this with sudo, or name another folder"):
            made.add("opendtu", Role.DEVICE, "solar")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"site": "farm", "added": []}',
        '{"site": "farm", "added": {"../../x": {"role": "reader", "topics": []}}}',
        '{"site": "farm", "added": {"x": {"role": "god", "topics": []}}}',
        '{"site": "farm", "added": {"x": {"role": "device", "topics": ["a\\ntopic #"]}}}',
        '{"site": "farm", "components": {"../x": []}}',
        '{"site": "farm", "former": {"axpert": ["a/#"]}}',
        '{"site": "farm", "wish": {"what": 1}}',
    ],
)
def test_a_damaged_list_of_accounts_is_said(made: Locked, text: str) -> None:
    (made.folder / "accounts.json").write_text(text)
    with pytest.raises(ConfigError, match=r"accounts\.json: not what we wrote"):
        made.make()


# ---------------------------------------------------------------------- where it listens


@pytest.mark.parametrize(
    "listen", ["192.0.2.10", "192.0.2.10:1884", "*", "solar.lan", "[2001:db8::1]"]
)
def test_passwords_do_not_go_over_a_network_in_the_clear(made: Locked, listen: str) -> None:
    with pytest.raises(ConfigError, match="could read the passwords; add --tls, or --plain where"):
        made.make(Wish(listen=listen))


@pytest.mark.parametrize("listen", ["192.0.2.10:99999", "a b", "[::1", ":1883", "a:b"])
def test_an_address_that_is_none_is_refused(made: Locked, listen: str) -> None:
    with pytest.raises(ConfigError, match="expected ADDRESS or ADDRESS:PORT, such as"):
        made.make(Wish(listen=listen, plain=True))


def listens(made: Locked) -> set[str]:
    text = (made.folder / "mosquitto.conf").read_text()
    lines = [line for line in text.splitlines() if line.startswith("listener ")]
    return {line for line in lines if not line.endswith("::1")}


def test_a_plain_listener_is_there_where_it_is_asked_for_and_stays(made: Locked) -> None:
    port = made.settings.broker.port
    made.make(Wish(listen=f"*:{port}", plain=True))
    assert listens(made) == {f"listener {port}"}
    made.make()
    assert listens(made) == {f"listener {port}"}
    made.make(Wish(listen="192.0.2.10", plain=True))
    assert listens(made) == {f"listener {port} 127.0.0.1", "listener 1883 192.0.2.10"}


@pytest.mark.parametrize(
    ("listen", "lines"),
    [
        ("*:{}", {"listener {}"}),
        ("0.0.0.0:{}", {"listener {} 0.0.0.0", "listener {} ::1"}),
        ("[::]:{}", {"listener {} ::", "listener {} 127.0.0.1"}),
    ],
)
def test_loopback_stays_open_beside_a_plain_listener_on_its_port(
    made: Locked, listen: str, lines: set[str]
) -> None:
    conf = made.folder / "mosquitto.conf"
    if " ::1" not in conf.read_text():
        pytest.skip("this computer has no IPv6")
    port = made.settings.broker.port
    made.make(Wish(listen=listen.format(port), plain=True))
    found = {line for line in conf.read_text().splitlines() if line.startswith("listener ")}
    assert found == {line.format(port) for line in lines}


@pytest.mark.parametrize("other", [Wish(listen="192.0.2.10"), Wish(listen="*", tls=False)])
def test_a_plain_listener_is_no_leave_for_another_one(made: Locked, other: Wish) -> None:
    made.make(Wish(listen="127.0.0.1:2883", plain=True))
    with pytest.raises(ConfigError, match="could read the passwords"):
        made.make(other)


def test_to_leave_tls_out_again_is_to_be_said_as_plain(made: Locked) -> None:
    require_program("openssl", package="openssl")
    made.make(Wish(listen="*", plain=True))
    made.make(Wish(tls=True))
    with pytest.raises(ConfigError, match="could read the passwords"):
        made.make(Wish(tls=False))
    assert listens(made) >= {"listener 8883"}


def test_a_place_for_what_is_retained_is_written(made: Locked) -> None:
    made.make(Wish(data="/var/lib/mosquitto"))
    text = (made.folder / "mosquitto.conf").read_text()
    assert "\npersistence_location /var/lib/mosquitto/\n" in text


# ---------------------------------------------------------------------- add-user


@pytest.mark.parametrize(
    ("name", "role", "topics", "fault"),
    [
        ("axpert", Role.READER, [], "'axpert' has a user of its own by 'heliobus broker init'"),
        ("watch", Role.READER, [], "'watch' has a user of its own"),
        ("Anna", Role.OPERATOR, [], "the user's name: found 'Anna', expected lower-case"),
        ("dtu", Role.DEVICE, [], "a device needs the topics that it uses: add --topic, such as"),
        ("dtu", Role.DEVICE, ["#"], "expected what the device's topics begin with, such as solar"),
        ("dtu", Role.DEVICE, ["$SYS"], "expected what the device's topics begin with"),
        ("dtu", Role.DEVICE, ["a/+/b"], "expected what the device's topics begin with"),
        ("dtu", Role.DEVICE, ["a\ntopic write #"], "expected what the device's topics begin with"),
        ("dtu", Role.DEVICE, ["heliobus"], "below heliobus/ only components write"),
        ("dtu", Role.DEVICE, ["heliobus/farm/x"], "below heliobus/ only components write"),
        ("dtu", Role.DEVICE, ["heliobus/farm"], "below heliobus/ only components write"),
        ("anna", Role.OPERATOR, ["heliobus/farm/x"], "below heliobus/ only components write"),
        ("ha", Role.HOMEASSISTANT, ["heliobus/farm"], "below heliobus/ only components write"),
    ],
)
def test_users_that_could_do_harm_are_refused(
    made: Locked, name: str, role: Role, topics: list[str], fault: str
) -> None:
    before = contents(made.folder)
    with pytest.raises(ConfigError, match=re.escape(fault)):
        made.add(name, role, *topics)
    assert contents(made.folder) == before


def test_no_device_gets_what_is_above_the_bus(made: Locked) -> None:
    made.settings = replace(made.settings, base_topic="acme/solar")
    with pytest.raises(ConfigError, match="below acme/solar/ only components write"):
        made.add("cam", Role.DEVICE, "acme")
    made.add("cam", Role.DEVICE, "acme/sol")


def test_a_user_that_is_added_again_keeps_its_password_and_gets_the_new_role(made: Locked) -> None:
    made.add("anna", Role.READER)
    password = made.password("anna")
    made.add("anna", Role.OPERATOR)
    assert made.password("anna") == password
    assert "topic write heliobus/+/+/set/anna" in (made.folder / "acl").read_text()


def test_a_user_that_is_removed_leaves_nothing(made: Locked) -> None:
    made.add("anna", Role.READER)
    accounts = Accounts(made.settings, made.folder)
    accounts.remove("anna")
    accounts.make()
    assert not [path for path, (text, _) in contents(made.folder).items() if b"anna" in text]
    assert not (made.folder / "users" / "anna").exists()
    with pytest.raises(ConfigError, match="no user 'anna' was added; there are: none"):
        Accounts(made.settings, made.folder).remove("anna")


# ---------------------------------------------------------------------- hashes


def test_a_hash_is_of_its_password_only() -> None:
    # Made by mosquitto_passwd 2.0.11 for the password s3cret.
    theirs = (
        "$7$101$8VBU+xxbg+5sVhWo$"
        "caIzeMO5tIsm3K+2f+E4mJiBE/83wdKg9625iDPq0lOh"
        "gzcn/1IY3r1EuFlIoaDm+UPgVVbtSuEE+00hf7rfcg=="
    )
    assert matches("s3cret", theirs)
    assert not matches("s3cre", theirs)
    assert matches("s3cret", hashed("s3cret"))
    assert hashed("s3cret") != hashed("s3cret")


@pytest.mark.parametrize("text", ["", "plain", "$6$salt$hash", "$7$x$AA==$AA==", "$7$1$?$?"])
def test_what_is_no_hash_of_ours_matches_nothing(text: str) -> None:
    assert not matches("s3cret", text)
