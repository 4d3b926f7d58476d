"""What `heliobus decode modbus` answers, for tests of profiles and of captured frames."""

import io
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from bridges.modbus.decoding import profile_decoder
from heliobus import decode
from heliobus.components import Decoding

decoder_of = cache(profile_decoder)


def answer(profile: str, line: Mapping[str, Any]) -> dict[str, Any]:
    """Give the answer to one line, as the command writes it."""
    out = io.BytesIO()
    decode.run(Decoding.PROFILE, decoder_of(profile), [json.dumps(line).encode()], out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found
