"""What `heliobus decode studer` makes of a captured exchange."""

from functools import cache

from bridges.studer.codec import Entry, Format, Infos, Value, unpack
from bridges.studer.frame import READ, Frame, Type, find
from bridges.studer.messages import text_of
from bridges.studer.objects import FAMILIES, Object, Values, named
from heliobus import contract
from heliobus.errors import FrameError

_Decoded = tuple[Values, dict[str, str], str]
_SINGLE = 4  # bytes
_WIDTHS = (1, 2, _SINGLE)  # of a code
_NO_NUMBER = tuple(bytes.fromhex(f"0000{end}") for end in ("c07f", "c0ff", "807f", "80ff"))
# The value of an info is property 1, of a parameter 5, and 13 of one that is not kept; devices
# answer to each of them for an info.
_VALUES = (1, 5, 0x0D)
_LIMITS = {6: "min", 7: "max"}
_LEVEL = 8
_SMALLEST = 1e-30  # what is measured is not less; a code that is read as a number is


def decode_line(request: bytes | None, response: bytes) -> _Decoded:
    """Decode one captured exchange: the values, the unit of each, a note. Raise FrameError.

    Foreign frames in the response are passed over where the request is there to tell them.
    """
    asked = None if request is None else _one(request, "request", is_answer=False)
    answer = _answer(response, asked)
    if answer.service != READ:
        answer.told()
        values, note = {"ack": True, **_written(asked)}, "a write was acknowledged"
    else:
        values, note = _values(answer, asked)
        if asked is None:
            values = {**_others(response, answer), **values}
    units = {name: unit for name in values if (unit := _unit(name))}
    return values, units, note


def _others(data: bytes, first: Frame) -> Values:
    """Give what further answers say; where they say the same of another device, with its name."""
    values: Values = {}
    for frame in find(data)[0]:
        if frame == first or not frame.is_answer or frame.service != READ or frame.is_error:
            continue
        try:
            found, _ = _values(frame, None)
        except FrameError:
            continue
        before = "" if frame.source == first.source else f"{_device(frame.source)}."
        values |= {f"{before}{name}": value for name, value in found.items()}
    return values


def _device(address: int) -> str:
    parts = (each.part(address) for each in FAMILIES.values() if address in each.addresses)
    return next(parts, f"device_{address}")


def _written(asked: Frame | None) -> Values:
    """Give what a request to write has set."""
    if asked is None or asked.property_id not in _VALUES:
        return {}
    return _object(asked, asked.target, asked.data)[0]


def _one(data: bytes, what: str, *, is_answer: bool) -> Frame:
    """Give the first sound frame of this sort. Raise FrameError."""
    frames = find(data)[0]
    for frame in frames:
        if frame.is_answer is is_answer:
            return frame
    if frames:
        found = f"only {'a request' if is_answer else 'an answer'}: {frames[0].question}"
        raise FrameError(f"{what}: found {found}, expected {_sort(is_answer=is_answer)}")
    raise FrameError(
        f"{what}: found no whole frame with sound checksums in {len(data)} bytes,"
        f" expected {_sort(is_answer=is_answer)} of SCOM"
    )


def _sort(*, is_answer: bool) -> str:
    return "an answer" if is_answer else "a request"


def _answer(data: bytes, asked: Frame | None) -> Frame:
    first = _one(data, "response", is_answer=True)
    if asked is None:
        return first
    for frame in find(data)[0]:
        if frame.is_answer and _belongs(frame, asked):
            return frame
    raise FrameError(
        f"response: found the answer to {first.question}, expected that to {asked.question}"
    )


def _belongs(answer: Frame, asked: Frame) -> bool:
    """Say whether an answer is that to a request, of whatever service."""
    if asked.service == READ:
        return answer.answers(asked.question, asked.source)
    same = asked.service, asked.object_type, asked.object_id, asked.property_id
    return (answer.service, answer.object_type, answer.object_id, answer.property_id) == same


def _values(answer: Frame, asked: Frame | None) -> tuple[Values, str]:
    data = answer.told()
    if answer.object_type == Type.GUID:
        return {"guid": data.hex()}, ""
    if answer.object_type == Type.MESSAGE:
        return _entry(Entry.unpack(data)), ""
    if answer.object_type == Type.MULTI_INFO:
        return _infos(Infos.unpack(data), asked)
    return _object(answer, answer.source, data)


def _object(frame: Frame, address: int, data: bytes) -> tuple[Values, str]:
    """Give one object of a device: its value, or a limit of it."""
    known = named(frame.object_type, frame.object_id, address)
    is_parameter = frame.object_type == Type.PARAMETER
    if is_parameter and frame.property_id in (*_LIMITS, _LEVEL):
        return _limit(known, frame, data), ""
    if known is None or frame.property_id not in _VALUES:
        return _raw(frame, data)
    values = known.fields(_value(known, data))
    absent = f"object {known.number} ({known.name}) is not a number: there is no value now"
    return values, "" if values else absent


def _value(known: Object, data: bytes) -> Value | None:
    """Read a value; codes come in two bytes, in four, or as a float."""
    is_code = known.codes or known.is_bool
    return _guessed(data) if is_code and len(data) in _WIDTHS else unpack(known.form, data)


def _limit(known: Object | None, frame: Frame, data: bytes) -> Values:
    """Give the least or most that a parameter can be, or who may change it."""
    name = known.name if known else f"object_{frame.object_id}"
    if frame.property_id == _LEVEL:
        if len(data) not in _WIDTHS:
            raise FrameError(f"found {len(data)} bytes, expected 1, 2 or 4 of a level")
        stem = name.rpartition("_")[0] if known and _unit(name) else name
        return {f"{stem}_level_code": int.from_bytes(data, "little")}
    value = _guessed(data) if known is None else _value(known, data)
    if value is None:
        return {}
    end = _LIMITS[frame.property_id]
    if known is None or not _unit(name):
        return {f"{name}_{end}": value}
    stem, _, unit = name.rpartition("_")
    return {f"{stem}_{end}_{unit}": each for each in known.fields(value).values()}


def _entry(entry: Entry) -> Values:
    return {
        "message_number": entry.number,
        "text": text_of(entry.number),
        "source": entry.source,
        "time_s": entry.time_s,
        "value": entry.value,
        "messages_count": entry.total,
    }


def _infos(infos: Infos, asked: Frame | None) -> tuple[Values, str]:
    """Give many infos at once; those of several devices, and of all, say whose they are."""
    devices = {device for _, device in infos.values}
    families = {family for number, _ in infos.values if (family := _family_of(number))}
    is_one = len(devices) <= 1 and len(families) <= 1
    values: Values = {}
    unknown, notes = [], []
    for (number, device), value in infos.values.items():
        family = _family_of(number)
        found = _known(number)
        if value is None:
            continue
        before = "" if is_one else f"{family or 'device'}_{_whose(device)}."
        if found is None:
            unknown.append(number)
            values[f"{before}object_{number}"] = value
            continue
        try:
            values |= {f"{before}{name}": each for name, each in found.fields(value).items()}
        except FrameError as error:
            notes.append(str(error))
            values[f"{before}object_{number}"] = value
    missing = asked is not None and set(asked.question.items) - set(infos.values)
    if unknown:
        notes.append(f"not known, given as told: {', '.join(map(str, unknown))}")
    notes += [f"not answered: {len(missing)} of the infos asked for"] if missing else []
    return values, "; ".join(notes)


def _whose(device: int) -> str:
    return {0: "master", 0xFD: "average", 0xFE: "sum"}.get(device, str(device))


def _known(number: int) -> Object | None:
    found = (family.objects.get(number) for family in FAMILIES.values())
    return next((each for each in found if each is not None), None)


def _family_of(number: int) -> str:
    thousands = {name: family.seek // 1000 for name, family in FAMILIES.items()}
    return next((name for name, base in thousands.items() if number // 1000 == base), "")


def _raw(frame: Frame, data: bytes) -> tuple[Values, str]:
    """Give what nobody has named, as it is."""
    name = f"object_{frame.object_id}"
    if named(frame.object_type, frame.object_id, _address(frame)):
        name += f"_property_{frame.property_id}"
    form = _shape(data) if frame.object_type in (Type.INFO, Type.PARAMETER) else None
    value = data.hex() if form is None else _read(form, data)
    note = f"{frame.question} is not known; read as {form.name if form else 'bytes'}"
    return ({} if value is None else {name: value}), note


def _address(frame: Frame) -> int:
    return frame.source if frame.is_answer else frame.target


def _guessed(data: bytes) -> Value | None:
    form = _shape(data)
    return data.hex() if form is None else _read(form, data)


def _read(form: Format, data: bytes) -> Value | None:
    """Read a value; what is no yes or no is a number."""
    if form is Format.BOOL and data > b"\1":
        return data[0]
    return unpack(form, data)


def _shape(data: bytes) -> Format | None:
    """Guess what a value is that nobody has named."""
    if len(data) == _SINGLE:
        number = unpack(Format.FLOAT, data)
        if number is None:
            # Of what is no number a device sends one sort; others are small negative numbers.
            return Format.FLOAT if data in _NO_NUMBER else Format.INT32
        is_code = isinstance(number, float) and 0 < abs(number) < _SMALLEST
        return Format.LONG_ENUM if is_code else Format.FLOAT
    if (
        len(data) > _SINGLE
        and (text := data.rstrip(b"\0")).isascii()
        and text.decode().isprintable()
    ):
        return Format.STRING
    return {1: Format.BOOL, 2: Format.SHORT_ENUM}.get(len(data))


def _unit(name: str) -> str:
    return _contract().unit(name.rpartition(".")[2])


@cache
def _contract() -> contract.Contract:
    return contract.load()
