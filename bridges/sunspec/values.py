"""From the points of models to the fields of heliobus, by the rules of the mapping. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from bridges.sunspec.codec import Reading
from bridges.sunspec.mapping import Mapped, Meanings, Rule, Sort, Total, Wanted

Readings: TypeAlias = Mapping[str, Reading]
Scalar: TypeAlias = bool | int | float | str | list[str]
Values: TypeAlias = dict[str, Scalar]

_WITH_CODE = ("mode", "charge_state")
_REPEATED = re.compile(r"(\w+)\[(\d+)\]\.(\w+)\Z")
# FX_Error_Low_VAC is an error of an FX: what remains is what it says.
_ALARM_PREFIX = re.compile(r"\A.*?_(?:Error|Warning|Faults)_")
_RESERVED = "RESERVED"
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
# Float noise of a factor such as 0.001, or of a sum.
_DIGITS = 9
# A value this many times what the device is made for is rubbish, as some send at dusk and dawn.
_IMPLAUSIBLE_TIMES = 2.0
_RATED = ("output_w", "output_va", "output_l1_w", "output_l2_w", "output_l3_w", "pv_w")


def values_of(found: Sequence[tuple[Mapped, Readings]], *, is_hybrid: bool = False) -> Values:
    """Give the fields of one device, of all its models that were read."""
    values: Values = {}
    for mapped, readings in found:
        for name, value in _fields(mapped, readings):
            known = values.get(name)
            if isinstance(known, list) and isinstance(value, list):
                values[name] = [*known, *(each for each in value if each not in known)]
            else:  # of two models that say the same, the first counts
                values.setdefault(name, value)
    return _finished(values, is_hybrid=is_hybrid)


def leanings(mapped: Mapped, readings: Readings) -> Mapping[str, float]:
    """Tell which sign what flows in has here, by field: the farther from 0, the surer."""
    found = {}
    for rule in mapped.rules:
        sign = _toward(rule, readings)
        own = readings.get(rule.of[0][0])
        if sign is not None and own is not None and isinstance(own.value, int | float):
            found[rule.name] = sign * own.value
    return found


def plausible(values: Values, rated_w: float | None) -> Values:
    """Leave out power that the device cannot have."""
    if not rated_w:
        return values
    most = _IMPLAUSIBLE_TIMES * rated_w

    def stays(name: str, value: Scalar) -> bool:
        return name not in _RATED or not isinstance(value, int | float) or abs(value) <= most

    return {name: value for name, value in values.items() if stays(name, value)}


def turned(values: Values, names: Iterable[str]) -> Values:
    """Turn the sign of some fields."""
    found = {name: values[name] for name in names if name in values}
    return values | {
        name: 0 - value
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def totals(
    mapping: Meanings, parts: Mapping[str, tuple[str, Values]], missing: Iterable[str]
) -> Values:
    """Give the totals over parts (kind and values, by name); `missing`: kinds not wholly read."""
    gone = frozenset(missing)
    found = ((total.name, _total(total, parts, gone)) for total in mapping.totals)
    values: Values = {name: value for name, value in found if value is not None}
    alarms = sorted(
        f"{part}: {alarm}"
        for part, (_, own) in parts.items()
        for alarm in _texts(own.get("alarms"))
    )
    return values | {"alarms": alarms}


def _total(
    total: Total, parts: Mapping[str, tuple[str, Values]], gone: frozenset[str]
) -> float | None:
    numbers = [
        value
        for kind, name in total.of
        for own_kind, values in parts.values()
        if own_kind == kind and isinstance(value := values.get(name), int | float)
    ]
    if not numbers or (total.how == "sum" and gone.intersection(kind for kind, _ in total.of)):
        return None
    return round(sum(numbers), _DIGITS) if total.how == "sum" else numbers[0]


def _texts(value: Scalar | None) -> list[str]:
    return value if isinstance(value, list) else []


# ---------------------------------------------------------------------- one model


def _fields(mapped: Mapped, readings: Readings) -> Iterator[tuple[str, Scalar]]:
    for rule in mapped.rules:
        yield from _named(rule, rule.name, readings)
    if mapped.groups:
        yield from _repeated(mapped.groups, readings)


def _named(rule: Rule, name: str, readings: Readings) -> Iterator[tuple[str, Scalar]]:
    value = _value(rule, readings)
    if value is None:
        return
    yield name, value
    if rule.codes and name in _WITH_CODE:
        yield f"{name}_code", readings[rule.of[0][0]].value


def _repeated(
    groups: Mapping[str, Sequence[Sort]], readings: Readings
) -> Iterator[tuple[str, Scalar]]:
    members: dict[tuple[str, int], dict[str, Reading]] = {}
    for path, reading in readings.items():
        if (found := _REPEATED.match(path)) and found[1] in groups:
            members.setdefault((found[1], int(found[2])), {})[found[3]] = reading
    sums: dict[str, float] = {}
    numbers: dict[int, int] = {}  # of each sort its own count: pv_01, pv_02
    for (group, _), own in sorted(members.items()):
        at, sort = next(
            ((n, one) for n, one in enumerate(groups[group]) if _fits(one.when, own)), (0, None)
        )
        if sort is None:
            continue
        number = numbers[at] = numbers.get(at, 0) + 1
        for rule in sort.rules:
            yield from _named(rule, rule.name.replace("##", f"{number:02d}"), own)
        for rule in sort.sums:
            value = _value(rule, own)
            if isinstance(value, int | float):
                sums[rule.name] = round(sums.get(rule.name, 0) + value, _DIGITS)
    yield from sums.items()


def _value(rule: Rule, readings: Readings) -> Scalar | None:
    if not _fits(rule.when, readings):
        return None
    if rule.manner == "alarms":
        return _alarms(rule, readings)
    found = [(readings[point].value, sign) for point, sign in rule.of if point in readings]
    if len(found) < (1 if rule.manner == "first" else len(rule.of)):
        return None
    if rule.manner == "first":
        found = found[:1]
    value = found[0][0]
    if isinstance(value, str):
        return value
    if rule.codes:
        return rule.codes.get(int(value), "unknown" if _worded(rule) else None)
    return _number(
        rule, sum(sign * each for each, sign in found if not isinstance(each, str)), readings
    )


def _worded(rule: Rule) -> bool:
    return any(isinstance(meaning, str) for meaning in rule.codes.values())


def _number(rule: Rule, number: float, readings: Readings) -> float:
    if rule.manner == "share" and abs(number) > 1:
        return number / 100
    if (sign := _toward(rule, readings)) is not None:
        return abs(number) * sign
    # + 0: minus nothing is nothing.
    is_plain = rule.times == 1 and len(rule.of) == 1
    return number if is_plain else round(number * rule.times, _DIGITS) + 0


def _toward(rule: Rule, readings: Readings) -> int | None:
    """Give the sign that the state of the device asks for, None where it tells nothing."""
    state = readings.get(rule.toward)
    if state is None or not isinstance(state.value, int):
        return None
    return rule.signs.get(state.value)


def _alarms(rule: Rule, readings: Readings) -> list[str] | None:
    found = [readings[point] for point, _ in rule.of if point in readings]
    if not found:
        return None
    texts = (
        _plain(text)
        for reading in found
        if isinstance(reading.value, int)
        for text in reading.point.texts(reading.value)
        if not text.startswith(_RESERVED)
    )
    return list(dict.fromkeys(texts))  # two points may have the same bit without a name


def _plain(text: str) -> str:
    return _NOT_PLAIN.sub("_", _ALARM_PREFIX.sub("", text).lower()).strip("_")


def _fits(wanted: Wanted, readings: Readings) -> bool:
    return all(point in readings and _is(readings[point].value, value) for point, value in wanted)


def _is(found: float | str, wanted: int | str) -> bool:
    if isinstance(wanted, str) and wanted.endswith("*"):
        return str(found).startswith(wanted[:-1])
    return found == wanted


# ---------------------------------------------------------------------- a whole device


def _finished(values: Values, *, is_hybrid: bool) -> Values:
    """Name what depends on what the whole device is.

    The DC side of a hybrid is PV and battery together, and what it delivers is no yield.
    """
    energy = values.pop("_energy_kwh", None)
    if energy is not None:
        values["output_kwh" if is_hybrid else "yield_kwh"] = energy
    direct = {unit: values.pop(f"_dc_{unit}", None) for unit in ("v", "a", "w")}
    if not is_hybrid:
        for unit, value in direct.items():
            if value is not None:
                values.setdefault(f"pv_{unit}", value)
    charge, discharge = values.get("battery_charge_w"), values.get("battery_discharge_w")
    if isinstance(charge, int | float) and isinstance(discharge, int | float):
        values.setdefault("battery_w", round(charge - discharge, _DIGITS))
    return values
