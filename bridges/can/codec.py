"""Frames to values, as a profile says. Frames come and go by themselves; the newest ones count.

What a frame is too short to hold is left out, never guessed, and what no frame has told is not
there at all: unknown is not false. Numbers are scaled as decimals, so that 4996 hundredths are
49.96.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from bridges.can.frames import MOST_BYTES, NUMBERS, Field, Message, Profile, Value, Values, told

_PADDING = {0x00, 0x20, 0xFF}
_SURE_LETTERS = 3
_ACTIVE = 1  # of a pair of bits; 2 is "not active", 0 and 3 say nothing


def decode(profile: Profile, frames: Mapping[int, bytes]) -> Values:
    """Give the values of the newest data by identifier; what is absent or implausible is left out.

    Lists of one name are joined. A yes-or-no is true where one of several says so.
    """
    values: Values = {}
    lacking: set[str] = set()
    owner: dict[str, int] = {}
    for message, data in _present(profile, frames):
        for row in message.fields:
            if len(data) < row.end:
                lacking.add(row.name)
            joined = row.type in {"bit", "bits", "pair2"}
            if not joined and owner.get(row.name, message.id) != message.id:
                continue
            found = _value(row, message, data, values)
            if found is not None or len(data) < row.end:
                owner[row.name] = message.id  # also of one that was cut: never another number
            if found is not None:
                values[row.name] = _joined(values.get(row.name), found)
    return _power(_certain(values, lacking))


def identity(profile: Profile, frames: Mapping[int, bytes]) -> dict[str, str]:
    """Give what the frames tell of who the device is: maker, model, serial, firmware.

    A text that fills its frame goes on in the next identifier; of others the first counts.
    """
    told_in = {(row.name, one.id) for one in profile.messages.values() for row in one.identity}
    found: dict[str, tuple[int, str]] = {}
    for message, data in _present(profile, frames):
        for row in message.identity:
            last, before = found.get(row.name, (0, ""))
            goes_on = (row.name, message.id - 1) in told_in
            if goes_on:
                fits = bool(before) and last == message.id - 1 and len(before) % MOST_BYTES == 0
            else:
                fits = not before
            if fits and len(data) >= row.end:
                found[row.name] = message.id, before + _text(row, message, data)
    texts = {name: " ".join(text.split()) for name, (_, text) in found.items()}
    return {name: text for name, text in texts.items() if text}


def dialect(profile: Profile, frames: Iterable[int]) -> str:
    """Word what kind of device sends these identifiers; "" where the profile says nothing."""
    seen = frozenset(frames)
    fitting = (one.text for one in profile.dialects if seen.intersection(one.ids))
    return next(fitting, "")


def _present(profile: Profile, frames: Mapping[int, bytes]) -> Iterator[tuple[Message, bytes]]:
    for message in profile.messages.values():
        data = frames.get(message.id)
        if data is not None and len(data) >= message.min_dlc:
            yield message, data


def _joined(before: Value | None, found: Value) -> Value:
    if isinstance(before, list) and isinstance(found, list):
        return before + [text for text in found if text not in before]
    return before is True or found if isinstance(found, bool) else found


def _certain(values: Values, lacking: set[str]) -> Values:
    """Leave out what a frame that was cut short could have told otherwise."""
    uncertain = {
        name for name in lacking if isinstance(values.get(name), list) or values.get(name) is False
    }
    return {name: value for name, value in values.items() if name not in uncertain}


def _power(values: Values) -> Values:
    """Add the power of the battery where it is not told itself."""
    volts, amperes = values.get("battery_v"), values.get("battery_a")
    if isinstance(volts, float | int) and isinstance(amperes, float | int):
        exact = Decimal(repr(volts)) * Decimal(repr(amperes))
        values.setdefault("battery_w", float(exact) + 0.0)
    return values


def _value(row: Field, message: Message, data: bytes, values: Values) -> Value | None:
    if len(data) < row.end:
        return None
    if row.type in NUMBERS:
        return _number(row, message, data, values)
    if row.type == "bit":
        return bool(data[row.at] >> row.bit & 1)
    if row.type in {"bits", "pair2"}:
        return list(_raised(row, message, data))
    return _text(row, message, data).strip() or None


def _number(row: Field, message: Message, data: bytes, values: Values) -> float | int | None:
    size, signed = NUMBERS[row.type]
    raw = _raw(row, message, data)
    if raw in row.invalid:
        return None
    if signed and raw >> 8 * size - 1:
        raw -= 1 << 8 * size
    exact = raw * row.scale + row.add
    if row.is_absolute:
        exact = abs(exact)
    if row.guard is not None:
        near = values.get(row.guard.of)
        if near is None or abs(exact - Decimal(repr(near))) > row.guard.within:
            return None
    value = float(exact) + 0.0  # of a negative zero it makes zero
    if (row.least is not None and value < row.least) or (row.most is not None and value > row.most):
        return None
    return int(exact) if row.is_whole else value


def _raised(row: Field, message: Message, data: bytes) -> Iterator[str]:
    """Give the texts of the bits, or pairs, that are active; also of those without a meaning."""
    raw = _raw(row, message, data)
    width = 2 if row.type == "pair2" else 1
    mask = (1 << width) - 1
    word = "pair" if width > 1 else "bit"
    for place in range(8 * row.length // width):
        if raw >> width * place & mask == _ACTIVE:
            text = row.texts.get(place, f"unknown {word} {place} of {told(message.id)}")
            if text:  # "" is of one that is no alarm
                yield text


def _raw(row: Field, message: Message, data: bytes) -> int:
    held = data[row.at : row.at + row.length]
    return int.from_bytes(held, "big" if message.is_big else "little")


def _text(row: Field, message: Message, data: bytes) -> str:
    """Read a text up to its first byte that is no letter, or the bytes of a version."""
    if row.type in NUMBERS:
        raw = _raw(row, message, data)
        return "" if raw in row.invalid else str(raw)
    held = data[row.at : row.at + row.length] if row.length else data[row.at :]
    if row.type == "version":
        return "" if set(held) <= _PADDING else ".".join(map(str, held))
    shown = held.decode("latin-1")
    end = next((at for at, letter in enumerate(shown) if not " " <= letter <= "~"), len(shown))
    # Numbers may begin like a text: 76 00 6C 00 is no name "v". Batteries do add bytes to theirs.
    is_text = end >= _SURE_LETTERS or set(held[end:]) <= _PADDING
    return shown[:end] if is_text else ""
