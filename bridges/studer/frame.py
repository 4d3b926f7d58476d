"""Frames of SCOM, the protocol of Studer's Xcom-232i and Xcom-LAN: bytes in, values out, and back.

    AA | flags | source u32 | target u32 | length u16 | sum 2 | data | sum 2       little endian
    data: flags (1 error, 2 answer) | service | type u16 | object u32 | property u16 | its data

The first sum is of the eleven bytes before it, the second of the data. Only reading can be asked
here: there is no way to make a request of another service. Source: Studer, "Technical
specification - Xtender serial protocol", V1.6.32.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Self

from heliobus.errors import FrameError

US: Final = 1  # the address of who asks
GATEWAY: Final = 501
# The longest answer is that to a question for 76 infos.
MOST_INFOS: Final = 76
# A header may be damaged into another that is sound; what is longer than this is not waited for.
LONGEST: Final = 1024
READ: Final = 1
_IS_ERROR, _IS_ANSWER = 1, 2
_INFO_VALUE, _PARAMETER_VALUE = 1, 5
_MULTI_INFO = 1  # the object of that type
_START = b"\xaa"
_HEADER = struct.Struct("<BIIH")
_SERVICE = struct.Struct("<BBHIH")
_SUM = 2
_DATA_AT = 1 + _HEADER.size + _SUM
_ASKED = struct.Struct("<HB")
_CODE = struct.Struct("<H")


class Type(IntEnum):
    """What an object is."""

    INFO = 1
    PARAMETER = 2
    MESSAGE = 3
    GUID = 4
    DATALOG = 5
    MULTI_INFO = 0x0A
    SCREEN = 0x100
    DATALOG_FILE = 0x101


class FrameFlag(IntEnum):
    """What the gateway says of itself in each frame that it sends."""

    MESSAGE_PENDING = 0x01
    RESTARTED = 0x02
    SD_PRESENT = 0x04
    SD_FULL = 0x08
    NEW_DATALOG = 0x10
    DATALOGGER = 0x20


class Error(IntEnum):
    """Refusals that mean something to who asked; `ERRORS` has words for all."""

    DEVICE_NOT_FOUND = 2
    RESPONSE_TIMEOUT = 3
    SERVICE_NOT_SUPPORTED = 0x11
    GATEWAY_BUSY = 0x13
    TYPE_NOT_SUPPORTED = 0x21
    OBJECT_NOT_FOUND = 0x22
    MULTICAST_READ = 0x2D


ERRORS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0x01: ("INVALID_FRAME", "the frame is malformed"),
        0x02: ("DEVICE_NOT_FOUND", "there is no device at this address"),
        0x03: ("RESPONSE_TIMEOUT", "the device did not answer the gateway"),
        0x11: ("SERVICE_NOT_SUPPORTED", "the gateway does not know this service"),
        0x12: ("INVALID_SERVICE_ARGUMENT", "an argument of the service is wrong"),
        0x13: ("GATEWAY_BUSY", "the gateway is busy; ask again later"),
        0x21: ("TYPE_NOT_SUPPORTED", "this type of object is not known"),
        0x22: ("OBJECT_ID_NOT_FOUND", "the device has no such object"),
        0x23: ("PROPERTY_NOT_SUPPORTED", "the object has no such property"),
        0x24: ("INVALID_DATA_LENGTH", "the data has the wrong length"),
        0x25: ("PROPERTY_IS_READ_ONLY", "the property can only be read"),
        0x26: ("INVALID_DATA", "the data is wrong here, or the device has no value for it"),
        0x27: ("DATA_TOO_SMALL", "the value is too small"),
        0x28: ("DATA_TOO_BIG", "the value is too big"),
        0x29: ("WRITE_PROPERTY_FAILED", "the property could not be written"),
        0x2A: ("READ_PROPERTY_FAILED", "the property could not be read"),
        0x2B: ("ACCESS_DENIED", "access is denied"),
        0x2C: ("OBJECT_NOT_SUPPORTED", "this device does not support the object"),
        0x2D: ("MULTICAST_READ_NOT_SUPPORTED", "an address of several devices cannot be read"),
        0x2E: ("OBJECT_PROPERTY_INVALID", "the property of the object is invalid"),
        0x2F: ("FILE_OR_DIR_NOT_PRESENT", "there is no such file, or no SD card"),
        0x30: ("FILE_CORRUPTED", "the file is damaged"),
        0x81: ("INVALID_SHELL_ARG", "an argument of the shell is wrong"),
    }
)


# There is nothing of the sort; there is none now; it cannot be had at this moment.
NO_LOG: Final = frozenset({0x11, 0x21, 0x2C})
NO_VALUE: Final = frozenset({0x22, 0x26})
NOT_NOW: Final = frozenset({0x26, 0x2A})


class Refused(FrameError):
    """The gateway or a device refuses what was asked; `code` says why."""

    def __init__(self, code: int, what: str = "") -> None:
        name, words = ERRORS.get(code, ("unknown", "an error without a name"))
        of = f"{what}: " if what else ""
        super().__init__(f"{of}refused with error {code} ({name}): {words}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Question:
    """What is read: a property of an object of one device. `data` goes with a few of them."""

    target: int
    object_type: int
    object_id: int
    property_id: int
    data: bytes = b""

    @classmethod
    def info(cls, target: int, number: int) -> Self:
        """Ask for an info: what a device measures and says."""
        return cls(target, Type.INFO, number, _INFO_VALUE)

    @classmethod
    def parameter(cls, target: int, number: int) -> Self:
        """Ask for a parameter: a setting, as it is stored."""
        return cls(target, Type.PARAMETER, number, _PARAMETER_VALUE)

    @classmethod
    def message(cls, index: int) -> Self:
        """Ask for an entry of the log; 0 is the newest."""
        return cls(GATEWAY, Type.MESSAGE, index, 0)

    @classmethod
    def guid(cls) -> Self:
        """Ask the gateway for its name in Studer's portal."""
        return cls(GATEWAY, Type.GUID, 0, 0)

    @classmethod
    def infos(cls, items: Sequence[tuple[int, int]], tag: int) -> Self:
        """Ask for many infos at once, each (number, device): 1 is the first device of its family.

        The answer carries the `tag` (0 to 65535). Raise ValueError for more than 76.
        """
        if len(items) > MOST_INFOS:
            raise ValueError(f"found {len(items)} infos, expected at most {MOST_INFOS}")
        data = b"".join(_ASKED.pack(*item) for item in items)
        return cls(GATEWAY, Type.MULTI_INFO, _MULTI_INFO, tag, data)

    @property
    def items(self) -> tuple[tuple[int, int], ...]:
        """Give the infos that are asked for at once. Raise FrameError."""
        if len(self.data) % _ASKED.size:
            raise FrameError(f"found {len(self.data)} bytes of infos, expected 3 for each")
        return tuple((number, device) for number, device in _ASKED.iter_unpack(self.data))

    def __str__(self) -> str:
        """Name it for people."""
        names = {Type.INFO: "info", Type.PARAMETER: "parameter", Type.MESSAGE: "message"}
        if self.object_type in names:
            return f"{names[Type(self.object_type)]} {self.object_id} of device {self.target}"
        more = {Type.GUID: "the GUID", Type.MULTI_INFO: f"{len(self.data) // _ASKED.size} infos"}
        known = self.object_type in more
        return (
            more[Type(self.object_type)]
            if known
            else f"object {self.object_id} of type {self.object_type}"
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole, sound frame: a request or an answer."""

    source: int
    target: int
    flags: int
    service_flags: int
    service: int
    object_type: int
    object_id: int
    property_id: int
    data: bytes = b""

    @property
    def is_answer(self) -> bool:
        """Say whether it is an answer, not a request."""
        return bool(self.service_flags & _IS_ANSWER)

    @property
    def is_error(self) -> bool:
        """Say whether it refuses."""
        return bool(self.service_flags & _IS_ERROR)

    @property
    def question(self) -> Question:
        """Give what this request asks, or this answer was asked."""
        device, data = (self.source, b"") if self.is_answer else (self.target, self.data)
        return Question(device, self.object_type, self.object_id, self.property_id, data)

    def answers(self, question: Question, asker: int = US) -> bool:
        """Say whether this is the answer to a question, and not to any other.

        What the gateway cannot pass on it may refuse in its own name.
        """
        sources = (question.target, GATEWAY) if self.is_error else (question.target,)
        return (
            self.is_answer
            and self.service == READ
            and self.source in sources
            and self.target == asker
            and (self.object_type, self.object_id) == (question.object_type, question.object_id)
            and self.property_id == question.property_id
        )

    def told(self) -> bytes:
        """Give the data of an answer. Raise Refused where it is an error."""
        if not self.is_error:
            return self.data
        if len(self.data) != _CODE.size:
            raise FrameError(f"found an error of {len(self.data)} bytes, expected 2")
        (code,) = _CODE.unpack(self.data)
        raise Refused(code, str(self.question))


def checksum(data: bytes) -> bytes:
    """Give the two bytes that follow a header or its data."""
    first, second = 0xFF, 0
    for byte in data:
        first += byte
        second += first
    return bytes((first & 0xFF, second & 0xFF))


# ---------------------------------------------------------------------- out


def request(question: Question, *, source: int = US) -> bytes:
    """Frame a question."""
    of = question
    data = _SERVICE.pack(0, READ, of.object_type, of.object_id, of.property_id) + of.data
    return _framed(0, source, of.target, data)


def answer(asked: Frame, data: bytes, *, flags: int = 0) -> bytes:
    """Frame the answer to a request, as a device does."""
    return _answered(asked, _IS_ANSWER, data, flags)


def refusal(asked: Frame, code: int, *, flags: int = 0) -> bytes:
    """Frame an error in answer to a request, as a device does."""
    return _answered(asked, _IS_ANSWER | _IS_ERROR, _CODE.pack(code), flags)


def _answered(asked: Frame, service_flags: int, data: bytes, flags: int) -> bytes:
    head = _SERVICE.pack(
        service_flags, asked.service, asked.object_type, asked.object_id, asked.property_id
    )
    return _framed(flags, asked.target, asked.source, head + data)


def _framed(flags: int, source: int, target: int, data: bytes) -> bytes:
    header = _HEADER.pack(flags, source, target, len(data))
    return _START + header + checksum(header) + data + checksum(data)


# ---------------------------------------------------------------------- in


class Stream:
    """Frames out of bytes as they come, in any pieces, with anything between them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take more bytes; give the frames that are whole now."""
        frames, self._rest = find(self._rest + data)
        return frames


def find(data: bytes) -> tuple[list[Frame], bytes]:
    """Give the sound frames in `data`, and the rest that may be the begin of one.

    Whatever is no sound frame is passed over: noise, damaged frames, CR LF between frames.
    """
    frames: list[Frame] = []
    at = data.find(_START)
    while at >= 0:
        end = _end(data, at)
        if end is None:
            return frames, data[at:]
        if end > at:
            frames += _frame(data[at:end])
        at = data.find(_START, max(end, at + 1))
    return frames, b""


def _end(data: bytes, at: int) -> int | None:
    """Say where the frame at `at` ends; `at` itself: none begins there; None: more is needed."""
    header = data[at + 1 : at + 1 + _HEADER.size]
    if len(data) < at + _DATA_AT:
        return None
    if checksum(header) != data[at + _DATA_AT - _SUM : at + _DATA_AT]:
        return at
    length: int = _HEADER.unpack(header)[3]
    if length > LONGEST:
        return at
    end = at + _DATA_AT + length + _SUM
    if len(data) < end:
        return None
    return end if checksum(data[at + _DATA_AT : end - _SUM]) == data[end - _SUM : end] else at


def _frame(data: bytes) -> Iterator[Frame]:
    flags, source, target, length = _HEADER.unpack_from(data, 1)
    if length >= _SERVICE.size:  # what is shorter says nothing
        told = data[_DATA_AT + _SERVICE.size : -_SUM]
        yield Frame(source, target, flags, *_service(data), told)


def _service(data: bytes) -> tuple[int, int, int, int, int]:
    said, service, object_type, object_id, property_id = _SERVICE.unpack_from(data, _DATA_AT)
    return said, service, object_type, object_id, property_id
