"""TLS, with certificates of `heliobus broker init` and a real mosquitto."""

import io
import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from broker import certificates, commands
from broker.accounts import Wish
from broker.certificates import Authority, valid_for
from broker.check import Check
from broker.files import Writer
from broker.roles import Role
from heliobus.bus import Bus
from heliobus.errors import ConfigError
from heliobus.settings import BrokerSettings
from tests.brokers import Locked, locked, not_as_root
from tests.helpers import free_port, require_program, wait_until

pytestmark = pytest.mark.broker

Connect = Callable[[BrokerSettings], Bus]


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Locked]:
    """Run a mosquitto with TLS on a port of its own; `broker` is the way in by TLS."""
    require_program("openssl", package="openssl")
    one = locked(tmp_path)
    with serving(one, Wish(tls=True, hosts=["solar.lan"])):
        yield one


def serving(one: Locked, wish: Wish) -> ExitStack:
    stack = ExitStack()
    port = free_port()
    one.make(replace(wish, listen=f"127.0.0.1:{port}"))
    stack.enter_context(one.serving())
    one.settings = replace(one.settings, broker=way_in(one, port))
    return stack


def way_in(one: Locked, port: int) -> BrokerSettings:
    broker = replace(one.settings.broker, tls=True, port=port)
    return replace(broker, ca_file=one.folder / "tls" / "ca.crt")


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def make(broker: BrokerSettings) -> Bus:
            bus = Bus(broker, "axpert", will=("heliobus/farm/bus/axpert/status", b"{}"))
            stack.callback(bus.stop)
            bus.start()
            return bus

        yield make


def test_a_component_comes_in_by_tls(secured: Locked, connect: Connect) -> None:
    for host in ("127.0.0.1", "localhost"):
        bus = connect(replace(secured.broker, host=host))
        assert bus.wait_connected(10), host
        assert bus.publish("heliobus/farm/inverter/state", b"{}" * 20_000)
        assert bus.drain(10)


def complaint(broker: BrokerSettings, connect: Connect, caplog: pytest.LogCaptureFixture) -> str:
    """Give what is said of a connection that cannot be made; it goes on trying."""
    caplog.clear()
    bus = connect(broker)
    (record,) = wait_until(lambda: caplog.records[:1], "a word")
    assert not bus.connected
    assert bus.alive
    return record.getMessage().removeprefix(f"broker {broker.url}: ")


def test_a_certificate_of_another_address_is_refused(
    tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    require_program("openssl", package="openssl")
    one, port = locked(tmp_path), free_port()
    # 127.0.0.2 is this computer as well, but its certificate does not name it.
    one.make(Wish(tls=True, listen=f"127.0.0.2:{port}"))
    with one.serving():
        broker = replace(way_in(one, port), host="127.0.0.2", passwords=one.folder / "users")
        assert complaint(broker, connect, caplog) == (
            "its certificate is for another address; use a name that it has in broker.url, or add"
            " this address with 'heliobus broker init --host'. Trying again"
        )
        one.make(Wish(hosts=["127.0.0.2"]))
    with one.serving():
        assert connect(broker).wait_connected(10)


def test_a_certificate_of_an_unknown_authority_is_refused(
    secured: Locked, tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    other = Authority(tmp_path / "other", Writer({}))
    (tmp_path / "other").mkdir()
    other.make_ca("heliobus farm")
    said = "its CA is not known here; name the CA's file in broker.ca_file. Trying again"
    assert complaint(replace(secured.broker, ca_file=None), connect, caplog) == said
    another = replace(secured.broker, ca_file=None, key="bridges.roof.broker")
    assert "in bridges.roof.broker.ca_file." in complaint(another, connect, caplog)
    wrong = complaint(replace(secured.broker, ca_file=other.ca), connect, caplog)
    assert wrong.startswith(("its CA is not known here", "its certificate is refused: "))


def test_a_certificate_that_has_expired_is_refused(
    tmp_path: Path,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_program("openssl", package="openssl")
    monkeypatch.setattr(certificates, "DAYS", -1)
    one = locked(tmp_path)
    with serving(one, Wish(tls=True)):
        assert complaint(one.broker, connect, caplog) == (
            "its certificate has expired; run 'heliobus broker init' there; if it is valid, the"
            " clock of this computer is wrong. Trying again"
        )
        with pytest.raises(ConfigError, match="its certificate has expired; run 'heliobus broker"):
            Check(one.settings, one.folder).run(io.StringIO())


def test_a_port_without_tls_is_said(
    secured: Locked, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    plain = locked(secured.folder.parent / "plain")
    plain.make()
    with plain.serving():
        broker = replace(secured.broker, port=plain.settings.broker.port)
        said = complaint(broker, connect, caplog)
    assert said in (
        "it closed the connection in the TLS handshake; check the port in broker.url (usually"
        " 8883). Trying again",
        "no TLS there; check the port in broker.url (usually 8883), or write mqtt://. Trying again",
    )


def test_a_port_with_tls_is_said(
    secured: Locked, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    plain = replace(secured.broker, tls=False)
    assert complaint(plain, connect, caplog) == (
        "something answers there, but not as an MQTT broker; check broker.url (mqtts:// where it"
        " wants TLS). Trying again"
    )


def test_a_file_that_is_no_certificate_is_said_and_read_again(
    secured: Locked, tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    broker = replace(secured.broker, ca_file=ca)
    assert complaint(broker, connect, caplog).startswith(f"broker.ca_file: cannot use {ca}: ")
    bus = connect(broker)
    ca.write_bytes((secured.folder / "tls" / "ca.crt").read_bytes())
    assert bus.wait_connected(15)


# ---------------------------------------------------------------------- client certificates


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Locked]:
    """Run a mosquitto that asks everyone who comes by TLS for a certificate."""
    require_program("openssl", package="openssl")
    one = locked(tmp_path)
    with serving(one, Wish(tls=True, client_certificates=True)):
        users = one.folder / "tls" / "users"
        broker = replace(one.settings.broker, cert_file=users, key_file=users)
        one.settings = replace(one.settings, broker=broker)
        yield one


def test_a_certificate_says_who_we_are_without_a_password(
    asking: Locked, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bus = connect(asking.settings.broker)
    assert bus.wait_connected(10)
    assert bus.publish("heliobus/farm/inverter/state", b"{}")
    assert bus.drain(10)
    assert caplog.text == ""
    assert bus.publish("heliobus/farm/grid/state", b"{}")
    said = "refused what 'axpert' publishes on heliobus/farm/grid/state (Not authorized)"
    wait_until(lambda: said in caplog.text, said)


def test_a_broker_that_asks_for_a_certificate_is_said(
    asking: Locked, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    broker = replace(asking.broker, cert_file=None, key_file=None)
    assert complaint(broker, connect, caplog) == (
        "it asks for a client certificate; name ours in broker.cert_file and key_file. Trying again"
    )


def test_a_certificate_of_another_authority_is_refused_by_the_broker(
    asking: Locked, tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "other"
    (folder / "users").mkdir(parents=True)
    other = Authority(folder, Writer({}))
    other.make_ca("heliobus farm")
    other.make_user("axpert", anew=True)
    broker = replace(asking.broker, cert_file=folder / "users", key_file=folder / "users")
    said = complaint(broker, connect, caplog)
    assert "our certificate (broker.cert_file)" in said, said


def test_check_comes_in_by_certificates_too(asking: Locked) -> None:
    out = io.StringIO()
    assert Check(asking.settings, asking.folder).run(out) == 0, out.getvalue()


# ---------------------------------------------------------------------- the authority


def test_check_by_tls_warns_before_the_certificate_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_program("openssl", package="openssl")
    monkeypatch.setattr(certificates, "DAYS", 20)
    one = locked(tmp_path)
    with serving(one, Wish(tls=True)):
        out = io.StringIO()
        assert Check(one.settings, one.folder).run(out) == 0, out.getvalue()
    (warning,) = [line for line in out.getvalue().splitlines() if "warning" in line]
    assert "the broker's certificate is valid for only 20 days more" in warning


def test_certificates_stay_until_they_are_due_or_for_other_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_program("openssl", package="openssl")
    one = locked(tmp_path)
    tls = one.folder / "tls"

    def certificates_of(wish: Wish | None = None) -> tuple[bytes, bytes]:
        one.make(wish)
        return (tls / "ca.crt").read_bytes(), (tls / "server.crt").read_bytes()

    monkeypatch.setattr(certificates, "DAYS", 60)  # less than is left when it is renewed
    ca, first = certificates_of(Wish(tls=True))
    monkeypatch.undo()
    assert not valid_for(tls / "server.crt", 90)
    same, second = certificates_of()
    assert (same, second != first) == (ca, True)
    assert valid_for(tls / "server.crt", 824)
    assert certificates_of() == (ca, second)
    same, third = certificates_of(Wish(hosts=["solar.lan", "192.0.2.10"]))
    assert (same, third != second) == (ca, True)
    shown = subprocess.check_output(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", tls / "server.crt"],
        text=True,
    )
    for name in ("DNS:localhost", "IP Address:127.0.0.1", "DNS:solar.lan", "IP Address:192.0.2.10"):
        assert name in shown
    assert certificates_of() == (ca, third)


def test_names_are_added_to_the_certificate_and_taken_away(tmp_path: Path) -> None:
    require_program("openssl", package="openssl")
    one = locked(tmp_path)
    new = f"{one.folder}/tls/server.crt is new, for localhost, 127.0.0.1, ::1"
    assert one.make(Wish(tls=True, hosts=["solar.lan", "localhost", "solar.lan"]))[-1] == (
        f"{new}, solar.lan"
    )
    assert one.make(Wish(hosts=["192.0.2.10"])) == [f"{new}, solar.lan, 192.0.2.10"]
    assert one.make(Wish(hosts=["solar.lan"])) == []
    assert one.make(Wish(no_hosts=["solar.lan"])) == [f"{new}, 192.0.2.10"]
    assert one.make() == []
    with pytest.raises(ConfigError, match=r"--no-host solar: no such name .* are: 192\.0\.2\.10"):
        one.make(Wish(no_hosts=["solar"]))


def public(path: Path) -> bytes:
    kind = ["x509", "-noout", "-pubkey"] if path.suffix == ".crt" else ["pkey", "-pubout"]
    return subprocess.check_output(["openssl", *kind, "-in", path])


@pytest.mark.parametrize(
    "broken",
    ["ca.crt", "ca.key", "server.crt", "server.key", "users/axpert.crt", "users/axpert.key"],
)
def test_what_an_interrupted_run_has_left_is_mended_by_the_next(
    tmp_path: Path, broken: str
) -> None:
    require_program("openssl", package="openssl")
    one, other = locked(tmp_path / "one"), locked(tmp_path / "other")
    wish = Wish(tls=True, client_certificates=True)
    one.make(wish)
    other.make(wish)
    tls = one.folder / "tls"
    (tls / broken).write_bytes((other.folder / "tls" / broken).read_bytes())
    assert one.make()
    for name in ("ca", "server", "users/axpert", "users/watch"):
        certificate = tls / f"{name}.crt"
        subprocess.run(["openssl", "verify", "-CAfile", tls / "ca.crt", certificate], check=True)
        assert public(certificate) == public(tls / f"{name}.key")
    assert one.make() == []


@pytest.mark.parametrize("gone", ["ca", "server"])
def test_a_new_authority_without_its_certificates_is_mended(tmp_path: Path, gone: str) -> None:
    require_program("openssl", package="openssl")
    one = locked(tmp_path)
    one.make(Wish(tls=True, client_certificates=True))
    tls = one.folder / "tls"
    if gone == "ca":  # a run that got no further than the authority
        (tls / "ca.crt").unlink()
        Authority(tls, Writer({})).make_ca("heliobus farm")
    else:
        (tls / "server.key").write_text("")
    one.make()
    subprocess.run(["openssl", "verify", "-CAfile", tls / "ca.crt", tls / "server.crt"], check=True)
    assert public(tls / "server.crt") == public(tls / "server.key")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a file away from us")
def test_an_authority_that_cannot_be_read_is_not_replaced(common_path: Path) -> None:
    require_program("openssl", package="openssl")
    one = locked(common_path)
    one.make(Wish(tls=True))
    key = one.folder / "tls" / "ca.key"
    before = key.read_bytes()
    with not_as_root(one.folder):
        os.seteuid(0)
        os.chown(key, 0, 0)
        os.seteuid(65534)
        with pytest.raises(ConfigError, match=r"ca\.key: Permission denied for user 65534; run"):
            one.make()
    assert key.read_bytes() == before


def test_that_the_certificate_of_a_removed_user_stays_valid_is_said(tmp_path: Path) -> None:
    require_program("openssl", package="openssl")
    one = locked(tmp_path)
    one.make(Wish(tls=True, client_certificates=True))
    one.add("anna", Role.READER)
    out = io.StringIO()
    assert commands.remove_user(one.settings, None, "anna", out) == 0
    removed, said, *_ = out.getvalue().splitlines()
    assert removed == "user anna is removed"
    assert re.fullmatch(
        r"the certificate of anna stays valid until \w{3} .* \d{4} GMT, and would be that of a new"
        rf" user anna; to lock it out delete {one.folder}/tls/ca\.\*, run 'heliobus broker init'"
        " and restart mosquitto",
        said,
    )


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    require_program("openssl", package="openssl")
    one = locked(tmp_path)
    one.make(Wish(tls=True, client_certificates=True))
    keys = sorted((one.folder / "tls").rglob("*.key"))
    assert [key.name for key in keys] == [
        *("ca.key", "server.key"),
        *("archive.key", "axpert.key", "meters.key", "watch.key"),
    ]
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
    assert all(b"BEGIN PRIVATE KEY" in key.read_bytes() for key in keys)


def test_without_openssl_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="which is not installed here; run: sudo apt install ope"):
        locked(tmp_path).make(Wish(tls=True))
