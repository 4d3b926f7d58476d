"""What a device is called on the bus, from what its own topics call it."""

import re
import unicodedata
import zlib

from bridges.mqtt.patterns import Template
from bridges.mqtt.rules import Captures
from heliobus.topics import BUS

LONGEST_NAME = 63
_UNFIT = re.compile("[^a-z0-9_]+")


def slug(text: str) -> str:
    """Make a name that may stand in a topic; one without such letters becomes a number."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = _UNFIT.sub("_", plain).strip("_")[:LONGEST_NAME]
    if not name or name == BUS:
        return f"device_{zlib.crc32(text.encode(errors='replace')):08x}"
    return name


def name_of(template: Template, captures: Captures, bridge: str) -> str | None:
    """Give a device's default name; None where a capture of it is missing."""
    filled = template.fill({**captures, "bridge": bridge})
    return None if filled is None else slug(filled)
