"""Whom `heliobus broker init` gives the broker's files to."""

import os
import pwd
import re
from dataclasses import replace
from pathlib import Path

import pytest

from broker.accounts import Wish
from broker.files import Account, closed_to
from broker.roles import Role
from heliobus.errors import ConfigError
from heliobus.settings import BrokerStart
from tests.brokers import ORDINARY, Locked, locked, not_as_root, ordinary
from tests.helpers import require_program


@pytest.fixture
def made(common_path: Path) -> Locked:
    one = locked(common_path)
    one.make()
    return one


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_each_file_to_whom_it_is_for(common_path: Path) -> None:
    one = locked(common_path)
    one.make(Wish(owner="65534", user="4711:4712"))
    owners = {
        name: ((one.folder / name).stat().st_uid, (one.folder / name).stat().st_gid)
        for name in ("mosquitto.conf", "passwords", "acl", "users", "users/axpert", "accounts.json")
    }
    assert owners == {
        **dict.fromkeys(("mosquitto.conf", "passwords", "acl"), (65534, 65534)),
        **dict.fromkeys(("users", "users/axpert"), (4711, 4712)),
        "accounts.json": (0, 0),
    }
    one.add("anna", Role.READER)  # as the last time
    assert (one.folder / "users" / "anna").stat().st_uid == 4711


def started_by_an_ordinary_user(folder: Path) -> Locked:
    one = locked(folder)
    (folder / "data").mkdir()
    os.chown(folder / "data", ORDINARY, ORDINARY)
    broker = replace(one.settings.broker, start=BrokerStart.AUTO)
    one.settings = replace(one.settings, broker=broker)
    return one


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_for_a_broker_that_up_starts_is_for_who_runs_up(common_path: Path) -> None:
    require_program("openssl", package="openssl")
    one = started_by_an_ordinary_user(common_path)
    one.make(Wish(tls=True, owner="4711"))  # as for a service, before
    one.add("anna", Role.READER)
    owners = {path.stat().st_uid for path in (one.folder, *one.folder.rglob("*"))}
    assert owners == {ORDINARY}
    with ordinary():
        assert one.make() == []
        one.add("opendtu", Role.DEVICE, "solar")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_the_files_to_the_service_once_nobody_else_starts_it(common_path: Path) -> None:
    require_program("mosquitto", package="mosquitto")
    require_program("openssl", package="openssl")
    one = started_by_an_ordinary_user(common_path)
    one.make(Wish(tls=True))
    one.settings = replace(one.settings, broker=replace(one.settings.broker, start=BrokerStart.NO))
    service = pwd.getpwnam("mosquitto").pw_uid
    for_the_service = ("mosquitto.conf", "passwords", "acl", "tls/server.key")
    one.make()
    owners = {
        name: (one.folder / name).stat().st_uid
        for name in (*for_the_service, "users", "users/axpert")
    }
    assert owners == {
        **dict.fromkeys(for_the_service, service),
        **dict.fromkeys(("users", "users/axpert"), ORDINARY),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a file away from us")
def test_who_cannot_read_the_files_of_his_broker_is_told_how_to_own_them(common_path: Path) -> None:
    one = started_by_an_ordinary_user(common_path)
    one.make()
    os.chown(one.folder / "passwords", 0, 0)
    said = f"Permission denied for user {ORDINARY}; run: sudo chown -R nobody {one.folder}"
    with ordinary(), pytest.raises(ConfigError, match=re.escape(said)):
        one.make()


def test_who_is_not_root_cannot_give_files_away(made: Locked) -> None:
    said = "--owner: only root can give files away; run this with sudo"
    with not_as_root(made.folder), pytest.raises(ConfigError, match=said):
        made.make(Wish(owner="65534"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_user_that_this_computer_does_not_have_is_said(made: Locked) -> None:
    with pytest.raises(ConfigError, match="this computer has no user 'nobody_here'"):
        made.make(Wish(owner="nobody_here"))


def test_a_folder_that_keeps_somebody_out_is_found(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "mqtt").mkdir()
    stranger = Account("stranger", 4711, 4712)
    assert tmp_path / "home" in closed_to(stranger, tmp_path / "home" / "mqtt" / "acl")
    assert tmp_path / "home" not in closed_to(stranger, tmp_path / "home")
    assert closed_to(Account("root", 0, 0), tmp_path / "home" / "mqtt" / "acl") == []
