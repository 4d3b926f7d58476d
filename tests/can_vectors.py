"""What `heliobus decode can` answers, for tests of profiles and of captured frames."""

import io
import json
from functools import cache
from typing import Any

from bridges.can.decoding import frame_decoder
from heliobus import decode
from heliobus.components import Decoding

decoder_of = cache(frame_decoder)


def answer(line: object, *, profile: str = "pylontech_lv") -> dict[str, Any]:
    """Give the answer to one line, an object or a text, as the command writes it."""
    text = line if isinstance(line, str) else json.dumps(line)
    out = io.BytesIO()
    decode.run(Decoding.FRAMES, decoder_of(profile), [text.encode()], out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found
