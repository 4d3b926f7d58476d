"""The command `decode`: what was captured, one JSON object per line in and out, in order.

A line holds an exchange of bytes; by a map, a topic and its payload; registers from a start on; or
frames that came by themselves, also as the text of another program.
Every line is answered by one line, at once: also an empty one, so that line n of the output
always belongs to line n of the input.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, BinaryIO, TypeAlias

from heliobus.captured import answer_of, hexadecimal
from heliobus.components import Decoding
from heliobus.errors import FrameError
from heliobus.modbus import Read
from heliobus.sample import Values, dumps, loads

_Units: TypeAlias = dict[str, str]
# Values, units and, where there is something to say, a note.
_Decoded: TypeAlias = tuple[Values, _Units] | tuple[Values, _Units, str]
Decoder: TypeAlias = Callable[[bytes | None, bytes], _Decoded]
MapDecoder: TypeAlias = Callable[[str, Any], Mapping[str, Any]]
RegisterDecoder: TypeAlias = Callable[[Any, Any], Mapping[str, Any]]
_Object: TypeAlias = Mapping[str, Any]
_Answerer: TypeAlias = Callable[[Any], _Object]
_Reader: TypeAlias = Callable[[bytes], Any]

_LIKE = "28 30"
_log = logging.getLogger(__name__)


def run(way: Decoding, decoder: Any, lines: Iterable[bytes], out: BinaryIO) -> int:
    """Answer all lines; give 0 when each could be decoded, else 1.

    The decoder is what a bridge exports for this way; where it is by name, for that name.
    """
    answerer: _Answerer = {
        Decoding.BYTES: partial(_exchange, decoder),
        Decoding.MAP: partial(_message, decoder),
        Decoding.PROFILE: decoder,
        Decoding.FRAMES: decoder,
        Decoding.REGISTERS: partial(_registers, decoder),
    }[way]
    reader = _object_or_text if way is Decoding.FRAMES else _object
    failed = False
    for line in lines:
        decoded, answer = _answered(answerer, line, reader)
        failed = failed or not decoded
        out.write(answer + b"\n")
        out.flush()
    return int(failed)


def decode_line(decoder: Decoder, line: bytes) -> tuple[bool, bytes]:
    """Tell whether a line could be decoded, and its answer. Nothing is raised."""
    return _answered(partial(_exchange, decoder), line, _object)


def _answered(answerer: _Answerer, line: bytes, reader: _Reader) -> tuple[bool, bytes]:
    try:
        return True, dumps({"ok": True, **answerer(reader(line))})
    except FrameError as error:
        return _refusal(str(error))
    # A capture may hold anything and the rest of it is still wanted: a codec's bug costs a line.
    except Exception as error:  # noqa: BLE001  # see above
        _log.debug("the codec failed", exc_info=True)
        return _refusal(f"a bug in heliobus, please report it: {type(error).__name__}: {error}")


def _object(line: bytes) -> _Object:
    if not line.strip():
        raise FrameError("the line is empty, expected a JSON object")
    try:
        body = loads(line.decode())
    except UnicodeDecodeError as error:
        raise FrameError(f"not UTF-8 text at byte {error.start}") from error
    except FrameError as error:
        raise FrameError(f"{error}; 'heliobus decode --help' shows what a line is") from error
    if not isinstance(body, dict):
        raise FrameError(f"found {type(body).__name__}, expected a JSON object")
    return body


def _object_or_text(line: bytes) -> _Object | str:
    """Read a JSON object, or take the line of another program as it is."""
    text = line.strip()
    return _object(line) if not text or text.startswith(b"{") else text.decode(errors="replace")


def _exchange(decoder: Decoder, body: _Object) -> _Object:
    if "response" not in body:
        raise FrameError('"response" is missing, expected hexadecimal bytes')
    if body["response"] is None:
        raise FrameError("response: null, the device did not answer")
    request = None if body.get("request") is None else hexadecimal(body, "request", like=_LIKE)
    decoded = decoder(request, hexadecimal(body, "response", like=_LIKE))
    answer = dict(zip(("values", "units", "note"), decoded, strict=False))
    return {key: told for key, told in answer.items() if told or key != "note"}


def _message(decoder: MapDecoder, body: _Object) -> _Object:
    topic = body.get("topic")
    if not isinstance(topic, str):
        raise FrameError(f"topic: found {topic!r:.40}, expected a text")
    if "payload" not in body:
        raise FrameError('"payload" is missing, expected a text or JSON')
    return decoder(topic, body["payload"])


def _registers(decoder: RegisterDecoder, body: _Object) -> _Object:
    if body.get("registers") is None and "response" in body:
        return _frames(decoder, body)
    for key in ("start", "registers"):
        if key not in body:
            raise FrameError(f'"{key}" is missing, expected {{"start": 40000, "registers": [...]}}')
    return decoder(body["start"], body["registers"])


def _frames(decoder: RegisterDecoder, body: _Object) -> _Object:
    """Decode the registers of one exchange; where they do not say what they are, tell them bare."""
    question, pdu = answer_of(body)
    if not isinstance(question, Read):
        raise FrameError(f"{question}: it carries no registers")
    words = question.registers(pdu)
    try:
        return decoder(question.start, [*words])
    except FrameError as error:
        values = {f"register_{question.start + at}": word for at, word in enumerate(words)}
        return {"values": values, "units": {}, "note": f"{error}; told as they are"}


def _refusal(error: str) -> tuple[bool, bytes]:
    text = error.encode(errors="backslashreplace").decode()  # a lone surrogate is no UTF-8
    return False, dumps({"ok": False, "error": text})
