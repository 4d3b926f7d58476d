"""TLS to the broker, and its errors in words. `ssl` is loaded by those only who use it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from heliobus import credentials
from heliobus.errors import ConfigError
from heliobus.settings import BrokerSettings

if TYPE_CHECKING:
    import ssl

_CLOCK = "if it is valid, the clock of this computer is wrong"
# x509_vfy.h of OpenSSL: what a certificate was refused for. {key} is the broker's own.
_VERIFIED: Final[Mapping[int, str]] = MappingProxyType(
    {
        9: f"its certificate is not valid yet; {_CLOCK}",
        10: f"its certificate has expired; run 'heliobus broker init' there; {_CLOCK}",
        18: "its certificate is signed by itself; name it, or its CA, in {key}.ca_file",
        19: "its CA is not known here; name the CA's file in {key}.ca_file",
        20: "its CA is not known here; name the CA's file in {key}.ca_file",
        21: "its CA is not known here; name the CA's file in {key}.ca_file",
        62: "its certificate is for another host name; use one that it has in {key}.url,"
        " or add this one with 'heliobus broker init --host'",
        64: "its certificate is for another address; use a name that it has in {key}.url,"
        " or add this address with 'heliobus broker init --host'",
    }
)
_NEEDS_CERTIFICATE = "it asks for a client certificate; name ours in {key}.cert_file and key_file"
_NO_TLS = "no TLS there; check the port in {key}.url (usually 8883), or write mqtt://"
_EOF: Final = "UNEXPECTED_EOF_WHILE_READING"
# OpenSSL's own reasons, as Python names them.
_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": _NO_TLS,
        "RECORD_LAYER_FAILURE": _NO_TLS,
        _EOF: "it closed the connection in the TLS handshake;"
        " check the port in {key}.url (usually 8883)",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED": _NEEDS_CERTIFICATE,
        "SSLV3_ALERT_HANDSHAKE_FAILURE": f"it refuses the handshake; perhaps {_NEEDS_CERTIFICATE}",
        "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA of our certificate ({key}.cert_file)",
        "TLSV1_ALERT_DECRYPT_ERROR": "it does not accept our certificate ({key}.cert_file)",
        "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate ({key}.cert_file)",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate ({key}.cert_file) has expired",
        "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks only TLS older than 1.2",
        "UNSUPPORTED_PROTOCOL": "it speaks only TLS older than 1.2",
    }
)


def context(broker: BrokerSettings, name: str) -> "ssl.SSLContext":
    """Make the TLS context of component `name`: TLS 1.2 or newer. Raise ConfigError."""
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the certificate and the host name
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if broker.ca_file is None:
        made.load_default_certs()
    else:
        try:
            made.load_verify_locations(broker.ca_file)
        except OSError as error:
            raise ConfigError(_unusable(f"{broker.key}.ca_file", broker.ca_file, error)) from error
    if broker.cert_file is not None:
        user = credentials.user(broker, name)
        cert = _own(broker.cert_file, f"{user}.crt")
        key = _own(broker.key_file or cert, f"{user}.key")
        try:
            made.load_cert_chain(cert, key, password=lambda: b"")  # never asks at the terminal
        except OSError as error:
            raise ConfigError(_unusable(f"{broker.key}.cert_file", cert, error)) from error
    return made


def _own(path: Path, name: str) -> Path:
    """Give a component's own file where a folder is named."""
    return path / name if path.is_dir() else path


def _unusable(key: str, path: Path, error: OSError) -> str:
    return f"{key}: cannot use {path}: {_reason(error)}"


def told(error: Exception, key: str) -> str | None:
    """Word what has ended a TLS connection; None where it is nothing of TLS.

    `key`: where the broker stands in heliobus.yaml.
    """
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        words = _VERIFIED.get(error.verify_code)
        return words.format(key=key) if words else f"its certificate is refused: {_reason(error)}"
    if isinstance(error, ssl.SSLError):
        words = _REASONS.get(error.reason or "")
        return words.format(key=key) if words else f"TLS failed: {_reason(error)}"
    return _REASONS[_EOF].format(key=key) if isinstance(error, ConnectionResetError) else None


def _reason(error: OSError) -> str:
    text = str(error.strerror or error)  # OpenSSL's end with the line of its C source
    return text.partition(" (_ssl.c")[0].partition("] ")[2] or text
