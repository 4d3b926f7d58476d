"""A private certificate authority, made with the command `openssl`. Keys on curve P-256."""

import ipaddress
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from secrets import randbits
from typing import Final

from broker.files import Owner, Writer
from heliobus.errors import ConfigError

CA_DAYS: Final = 3650
DAYS: Final = 825
ALWAYS: Final = ("localhost", "127.0.0.1", "::1")  # what the server's certificate names anyway
# Made anew by the next `heliobus broker init` when it is valid for less than this.
RENEW_DAYS: Final = 90
_DAY_S: Final = 86400
_TIMEOUT_S: Final = 60.0

_CA: Final = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
_SERVER: Final = (
    "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
    "extendedKeyUsage=serverAuth\n"
)
_CLIENT: Final = _SERVER.replace("serverAuth", "clientAuth")
# Nothing is taken from the system's openssl.cnf, which differs from one to the next.
_REQUEST: Final = "[req]\ndistinguished_name=name\nprompt=no\n[name]\nCN={name}\n[ext]\n{extension}"


class Authority:
    """The certificates of one folder: ca.crt, ca.key, server.crt, server.key, users/NAME.crt."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        self.folder = folder
        self._writer = writer

    @property
    def ca(self) -> Path:
        """Give the certificate that everyone else needs."""
        return self.folder / "ca.crt"

    def make_ca(self, name: str) -> bool:
        """Make the CA, unless there is one. Return whether one was made."""
        if self._kept(self.folder / "ca", Owner.OURS):
            return False
        extension = _CA + "subjectKeyIdentifier=hash\n"
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            _request(work, name, extension, "-x509", "-days", str(CA_DAYS), "-extensions", "ext")
            self._keep(work, self.folder / "ca", Owner.OURS)
        return True

    def make_server(self, hosts: Sequence[str], *, anew: bool) -> bool:
        """Make the server's certificate, unless it is good. Return whether one was made."""
        names = dict.fromkeys([*ALWAYS, *hosts])
        wanted = ",".join(f"{_kind(name)}:{name}" for name in names)
        name = next(iter(hosts), "localhost")
        extension = f"{_SERVER}subjectAltName={wanted}\n"
        return self._make(self.folder / "server", name, extension, Owner.BROKER, anew=anew)

    def make_user(self, name: str, *, anew: bool) -> bool:
        """Make a user's certificate, unless it is good. Return whether one was made."""
        return self._make(self.folder / "users" / name, name, _CLIENT, Owner.USER, anew=anew)

    def _make(self, place: Path, name: str, extension: str, owner: Owner, *, anew: bool) -> bool:
        if not anew and self._kept(place, owner):
            return False
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            _request(work, name, extension)
            (work / "request").write_bytes((work / "crt").read_bytes())
            (work / "extension").write_text(extension)
            _openssl(
                "x509", "-req", "-sha256", "-in", f"{work}/request", "-days", str(DAYS),
                "-CA", str(self.ca), "-CAkey", f"{self.folder}/ca.key",
                "-set_serial", str(randbits(120)), "-extfile", f"{work}/extension",
                "-out", f"{work}/crt",
            )  # fmt: skip
            self._keep(work, place, owner)
        return True

    def _kept(self, place: Path, owner: Owner) -> bool:
        """Keep key and certificate where they are good. Return whether they are."""
        if not self._good(place):
            return False
        self._writer.keep(_key(place), owner)
        self._writer.keep(_crt(place), Owner.ANYONE)
        return True

    def _good(self, place: Path) -> bool:
        """Say whether key and certificate are a pair of this authority's, not due for renewal.

        A run that was interrupted leaves others behind.
        """
        crt, key = _crt(place), _key(place)
        if not valid_for(crt, RENEW_DAYS) or not key.exists():
            return False
        # The clock of a computer without a battery is no reason for a new authority.
        of_ours = _run(
            ("verify", "-no_check_time", "-no-CApath", "-CAfile", str(self.ca), str(crt))
        )
        return of_ours.returncode == 0 and _public(crt) == _public(key)

    def _keep(self, work: Path, place: Path, owner: Owner) -> None:
        self._writer.write(_key(place), (work / "key").read_text(), owner)
        self._writer.write(_crt(place), (work / "crt").read_text(), Owner.ANYONE)


def valid_for(certificate: Path, days: int) -> bool:
    """Say whether a certificate is there and valid for so many days more. Raise ConfigError."""
    if not certificate.exists():
        return False
    command = ["x509", "-in", str(certificate), "-noout", "-checkend", str(days * _DAY_S)]
    return _run(command).returncode == 0


def valid_until(certificate: Path) -> str:
    """Give the day on which a certificate expires, as openssl writes it."""
    done = _run(("x509", "-in", str(certificate), "-noout", "-enddate"))
    return done.stdout.decode(errors="replace").strip().partition("=")[2] or "its end"


def _public(path: Path) -> bytes | None:
    """Give the public key of a certificate or a key; None for neither. Raise ConfigError."""
    try:
        path.open("rb").close()
    except OSError as error:  # it may be good, and is not to be replaced
        raise ConfigError(
            f"cannot read {path}: {error.strerror} for user {os.geteuid()}; run this with sudo"
        ) from error
    arguments = ("x509", "-noout", "-pubkey") if path.suffix == ".crt" else ("pkey", "-pubout")
    done = _run((*arguments, "-in", str(path)))
    return done.stdout if done.returncode == 0 else None


def _crt(place: Path) -> Path:
    return place.with_name(f"{place.name}.crt")


def _key(place: Path) -> Path:
    return place.with_name(f"{place.name}.key")


def _kind(name: str) -> str:
    """Say whether a certificate names this as an address or as a host."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "DNS"
    return "IP"


def _request(work: Path, name: str, extension: str, *more: str) -> None:
    (work / "config").write_text(_REQUEST.format(name=name, extension=extension))
    _openssl(
        "req", "-new", "-sha256", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-config", f"{work}/config", "-keyout", f"{work}/key", "-out", f"{work}/crt",
        *more,
    )  # fmt: skip


def _openssl(*arguments: str) -> None:
    done = _run(arguments)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(f"openssl {arguments[0]}: {said[-1] if said else 'failed'}")


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("openssl")
    if program is None:
        raise ConfigError(
            "certificates are made with openssl, which is not installed here;"
            " run: sudo apt install openssl"
        )
    return subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
        umask=0o077,
    )
