"""What `heliobus decode studer` makes of a captured exchange."""

from functools import cache

from bridges.studer.codec import (
    READ,
    Entry,
    Format,
    Frame,
    Infos,
    Type,
    find,
    unpack,
)
from bridges.studer.messages import text_of
from bridges.studer.objects import FAMILIES, Object, Values, named
from heliobus import contract
from heliobus.errors import FrameError

_Decoded = tuple[Values, dict[str, str], str]
_SINGLE = 4  # bytes
_SMALLEST = 1e-30  # what is measured is not less; a code that is read as a number is


def decode_line(request: bytes | None, response: bytes) -> _Decoded:
    """Decode one captured exchange: the values, the unit of each, a note. Raise FrameError.

    Foreign frames in the response are passed over where the request is there to tell them.
    """
    asked = None if request is None else _one(request, "request", is_answer=False)
    answer = _answer(response, asked)
    if answer.service != READ:
        answer.told()
        return {"ack": True}, {}, "a write was acknowledged"
    values, note = _values(answer, asked)
    units = {name: unit for name in values if (unit := _unit(name))}
    return values, units, note


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
    known = named(answer.object_type, answer.object_id, answer.source)
    if known is None:
        return _raw(answer, data)
    values = known.fields(unpack(known.form, data))
    absent = f"object {known.number} ({known.name}) is not a number: there is no value now"
    return values, "" if values else absent


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
    unknown = []
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
        values |= {f"{before}{name}": each for name, each in found.fields(value).items()}
    missing = asked is not None and set(asked.question.items) - set(infos.values)
    notes = [f"not known, given as told: {', '.join(map(str, unknown))}"] if unknown else []
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


def _raw(answer: Frame, data: bytes) -> tuple[Values, str]:
    """Give an object that nobody has named, as it is."""
    name = f"object_{answer.object_id}"
    form = _shape(data) if answer.object_type in (Type.INFO, Type.PARAMETER) else None
    value = data.hex() if form is None else unpack(form, data)
    note = f"{answer.question} is not known; read as {form.name if form else 'bytes'}"
    return ({} if value is None else {name: value}), note


def _shape(data: bytes) -> Format | None:
    """Guess what a value is that nobody has named."""
    if len(data) == _SINGLE:
        number = unpack(Format.FLOAT, data)
        is_code = isinstance(number, float) and 0 < abs(number) < _SMALLEST
        return Format.LONG_ENUM if is_code else Format.FLOAT
    return {1: Format.BOOL, 2: Format.SHORT_ENUM}.get(len(data))


def _unit(name: str) -> str:
    return _contract().unit(name.rpartition(".")[2])


@cache
def _contract() -> contract.Contract:
    return contract.load()
