"""Line protocol: one measured moment as one line of text. Pure.

    measurement,tag=value,tag=value field=52.5,text="in words" 1795255200000

Numbers are always floats: a field that is a whole number today and a fraction tomorrow would
be refused by the server as another type. Source: InfluxDB's "Line protocol reference".
"""

import math
from collections.abc import Mapping

from heliobus.errors import FrameError

# What the server's reader takes for a separator, outside of a quoted text.
_NAME = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_MEASUREMENT = str.maketrans({",": r"\,", " ": r"\ "})
_TEXT = str.maketrans({"\\": r"\\", '"': r"\""})
# A backslash cannot be written before a separator, and not every server reads a line break.
_UNWRITABLE = str.maketrans({"\\": "/", "\n": " ", "\r": " "})
_LINE_BREAKS = str.maketrans({"\n": " ", "\r": " "})


def line(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, float | str], time_ms: int
) -> bytes:
    """Write one line, without its end. Raise FrameError where the server could not read it."""
    if not measurement or measurement.startswith("#") or not fields:
        raise FrameError(f"{measurement!r:.60}: expected a name and at least one field")
    named = "".join(
        f",{_name(name)}={_name(value)}" for name, value in sorted(tags.items()) if value
    )
    values = ",".join(f"{_name(name)}={_value(name, value)}" for name, value in fields.items())
    head = measurement.translate(_UNWRITABLE).translate(_MEASUREMENT)
    return f"{head}{named} {values} {time_ms:d}".encode()


def _name(text: str) -> str:
    return text.translate(_UNWRITABLE).translate(_NAME)


def _value(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return '"' + value.translate(_LINE_BREAKS).translate(_TEXT) + '"'
    if not math.isfinite(value):
        raise FrameError(f"{name}: found {value}, expected a finite number")
    return repr(float(value))
