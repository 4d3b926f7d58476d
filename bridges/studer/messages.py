"""What the entries of an installation's message log say: `messages.yaml`, read once."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from heliobus import data_file

_FILE = Path(__file__).parent / "messages.yaml"


def text_of(number: int) -> str:
    """Say what a message means."""
    return _known().get(number, ("", f"message {number}"))[1]


def severity_of(number: int) -> str:
    """Say how bad a message is; what is not known is news."""
    return _known().get(number, ("info", ""))[0]


@cache
def _known() -> Mapping[int, tuple[str, str]]:
    body = data_file.read(_FILE)
    rows = {
        number: (severity, text) for severity in body for number, text in body[severity].items()
    }
    return MappingProxyType(rows)
