"""Passwords, and the file in which mosquitto keeps their hashes (mosquitto_passwd(1))."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

# Some devices want it typed in by hand: no two characters that look alike. 20 of them cannot be
# guessed, however fast; so the number of iterations, mosquitto's own, may stay small.
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_LENGTH: Final = 20
_ITERATIONS: Final = 101
_SALT_BYTES: Final = 12  # what 2.0 reads; it refuses others
_LONGEST_PARTS: Final = 5  # "", 7, iterations, salt, hash


def new_password() -> str:
    """Make a password."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def hashed(password: str) -> str:
    """Hash a password as mosquitto does: PBKDF2 with SHA-512."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"$7${_ITERATIONS}${_text(salt)}${_text(_derived(password, salt, _ITERATIONS))}"


def matches(password: str, known: str) -> bool:
    """Say whether a hash is of this password; False for one in another format."""
    parts = known.split("$")
    if len(parts) != _LONGEST_PARTS or parts[1] != "7":
        return False
    try:
        iterations = int(parts[2])
        salt, expected = (base64.b64decode(part, validate=True) for part in parts[3:])
        return hmac.compare_digest(_derived(password, salt, iterations), expected)
    except ValueError:
        return False


def read_hashes(text: str) -> dict[str, str]:
    """Read a password file."""
    return {
        name: value
        for name, _, value in (line.partition(":") for line in text.splitlines())
        if value
    }


def write_hashes(plain: Mapping[str, str], known: Mapping[str, str]) -> str:
    """Write a password file; hashes that still hold are kept."""
    return "".join(
        f"{name}:{known[name] if matches(word, known.get(name, '')) else hashed(word)}\n"
        for name, word in plain.items()
    )


def _derived(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
