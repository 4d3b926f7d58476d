"""The codec: a topic and its payload, by the rules of a map, become what they say of a device.

No clock, and no state but a memory of topics. What is said is in the contract's terms already;
whether it can be true is judged elsewhere.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bridges.mqtt.patterns import LEAF, Pattern
from bridges.mqtt.plain import ANY, clean_text, code_of, converted, number, shown, written
from bridges.mqtt.rules import Captures, Map, Path, Rule, Shape, Target, Time
from heliobus.errors import FrameError

MOST_TOPICS = 10_000  # remembered
LONGEST_TOPIC = 256
LONGEST_PAYLOAD = 256_000
LONGEST_INFO = 120
UNREAD = object()
# Clocks of today: 2020 to 2100. Others have not been set.
_EARLIEST_MS, _LATEST_MS = 1_577_836_800_000, 4_102_444_800_000


@dataclass(frozen=True, slots=True)
class Match:
    """The rule that takes a topic, what was captured, and what its leaf is called.

    `targets`: what the leaf becomes, each with all captures. `otherwise`: what takes a message
    that does not fulfil the rule's `when`.
    """

    rule: Rule
    captures: Captures
    leaf: str
    targets: tuple[tuple[Target, Captures], ...]
    otherwise: "Match | None" = None


@dataclass(slots=True)
class Said:
    """What one message says of one device, by which rule.

    A value None: there is none now. `flags`: whether a text stands in a list.
    """

    rule: Rule
    captures: Captures
    values: dict[str, Any] = field(default_factory=dict)
    flags: dict[tuple[str, str], bool | None] = field(default_factory=dict)
    info: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    online: bool | None = None
    gone: bool = False
    time_ms: int | None = None

    @property
    def makes_device(self) -> bool:
        """Say whether there is a device by this: it has a value, or says who it is.

        Whether it is there counts only where no other system's topic fits as well.
        """
        found = any(value is not None for value in (*self.values.values(), *self.flags.values()))
        return found or bool(self.info) or (self.online is not None and self.rule.topic.literal)

    @property
    def something(self) -> bool:
        """Say whether anything is said; else it is only a sign of life."""
        return self.makes_device or self.online is not None


class Finder:
    """Finds the rule of a topic; the first that fits takes it."""

    def __init__(self, found: Map) -> None:
        self._rules = found.rules
        self._known: dict[str, Match | None] = {}
        self.too_long = 0  # topics that were passed over for their length

    def find(self, topic: str) -> Match | None:
        """Give what takes this topic; None: nothing does."""
        try:
            return self._known[topic]
        except KeyError:
            pass
        if len(topic) > LONGEST_TOPIC:  # it would fill memory, and take long to search
            self.too_long += 1
            return None
        if len(self._known) >= MOST_TOPICS:
            self._known.clear()
        self._known[topic] = found = self._search(topic)
        return found

    def _search(self, topic: str, first: int = 0) -> Match | None:
        for index in range(first, len(self._rules)):
            rule = self._rules[index]
            captures = rule.topic.match(topic)
            if captures is not None:
                leaf = captures.get(LEAF) or topic.rpartition("/")[2]
                otherwise = self._search(topic, index + 1) if rule.chooses else None
                return Match(rule, captures, leaf, _of_leaf(rule, leaf, captures), otherwise)
        return None


def _of_leaf(rule: Rule, leaf: str, captures: Captures) -> tuple[tuple[Target, Captures], ...]:
    found: dict[bool, tuple[Target, Captures]] = {}
    for target in rule.values:
        own = target.leaf.match(leaf)
        fresh = bool(target.fact) not in found or target.leaf.literal
        if own is not None and fresh and _agree(own, captures):
            found[bool(target.fact)] = (target, {**captures, **own})
    return tuple(found.values())


def _agree(own: Captures, captures: Captures) -> bool:
    """Say whether nothing is captured as two different texts."""
    return all(captures.get(name, text) == text for name, text in own.items())


def hear(match: Match, payload: bytes, body: Any = UNREAD) -> list[Said]:
    """Read what a message says. Raise FrameError where nothing of it can be read.

    `body`: its JSON, where that has been read already.
    """
    rule = match.rule
    if rule.ignore or not (rule.values or rule.online):
        return []
    if len(payload) > LONGEST_PAYLOAD:
        raise FrameError(f"found {len(payload)} bytes, expected at most {LONGEST_PAYLOAD}")
    if not payload.strip():
        return _empty(match)
    text = payload.decode(errors="replace")
    return _json(match, payload, text, body) if rule.json else _leaf(match, text, text.strip())


def _json(match: Match, payload: bytes, text: str, read: Any) -> list[Said]:
    rule = match.rule
    if rule.objects and not text.lstrip().startswith("{"):
        return []
    whole = _parsed(text) if read is UNREAD else read
    if not _fulfils(whole, rule):
        return hear(match.otherwise, payload, whole) if match.otherwise else []
    if rule.told:
        match = replace(match, captures={**match.captures, **(_told(whole, rule) or {})})
    body = _first(whole, rule.at)
    if body is _MISSING:
        return []
    said = _body(match, body, text.strip())
    if rule.time is not None:
        for one in said:
            one.time_ms = _time_ms(_first(whole, rule.time.path), rule.time)
    return said


def settled(match: Match, payload: bytes) -> tuple[Match | None, Any]:
    """Give the rule that takes a message, and its JSON where that was read to see it.

    None: none takes it. What is no JSON stays with the first one, which says so.
    """
    if not match.rule.chooses:
        return match, UNREAD
    try:
        whole = _parsed(payload[:LONGEST_PAYLOAD].decode(errors="replace"))
    except FrameError:
        return match, UNREAD
    found: Match | None = match
    while found is not None and not _fulfils(whole, found.rule):
        found = found.otherwise
    return found, whole


def _fulfils(whole: Any, rule: Rule) -> bool:
    fits = all(_one_of(whole, path, wanted) for path, wanted in rule.when)
    return fits and _told(whole, rule) is not None


def _told(whole: Any, rule: Rule) -> Captures | None:
    """Give the captures that stand in the JSON; None where one is not there."""
    found: dict[str, str] = {}
    for pattern, path in rule.told:
        raw = _first(whole, path)
        own = pattern.match(raw) if isinstance(raw, str) else None
        if own is None:
            return None
        found.update(own)
    return found


def _empty(match: Match) -> list[Said]:
    rule = match.rule
    said = Said(rule, match.captures)
    if rule.gone_when_empty:
        said.gone = True
        return [said]
    for target, captures in match.targets:
        _put(said, rule, target, (captures, None, None))
    return [said]


def _body(match: Match, body: Any, text: str) -> list[Said]:
    """Read JSON: one value that the topic names, or an object with many."""
    rule = match.rule
    named = match.targets or (rule.online and not rule.values)
    if rule.by_leaf or (named and not isinstance(body, dict)):
        return _leaf(match, body, text)
    if not isinstance(body, dict | list) and not rule.online:
        return []
    if rule.under is not None:
        body = {rule.under.fill(match.captures) or "": body}
    found: dict[tuple[str | None, ...], Said] = {}
    for target in rule.values:
        for own, raw in walk(body, target.path.steps):
            if not _agree(own, match.captures):
                continue
            captures = {**match.captures, **own} if own else match.captures
            key = tuple(captures.get(name) for name in rule.names)
            said = found.get(key)
            if said is None:
                said = found[key] = Said(rule, captures)
            _put(said, rule, target, (captures, raw, body))
    if rule.online:
        said = found.setdefault((), Said(rule, match.captures))
        said.online = _online(rule, body, text)
    return list(found.values()) or [Said(rule, match.captures)]


def _leaf(match: Match, raw: Any, text: str) -> list[Said]:
    rule = match.rule
    said = Said(rule, match.targets[0][1] if match.targets else match.captures)
    if rule.online:
        said.online = _online(rule, raw, text)
        # Where anybody's topics fit, another system may use the same word for something else.
        if said.online is None and not rule.values and rule.topic.literal:
            known = ", ".join(rule.online)
            raise FrameError(f"found {shown(text)}, expected one of {known}"[:300])
    for target, captures in match.targets:
        _put(said, rule, target, (captures, raw, None))
    return [said]


def _online(rule: Rule, raw: Any, text: str) -> bool | None:
    for each in (text, written(raw).strip() if isinstance(raw, str | int | float) else text):
        if each in rule.online:
            return rule.online[each]
    # As JSON it may be written with blanks; people write True, ON, Online.
    folded = (written(raw) if isinstance(raw, str | int | float) else text).strip().casefold()
    folded = "".join(folded.split()) if folded.startswith("{") else folded
    return next((is_on for word, is_on in rule.online.items() if word.casefold() == folded), None)


def _put(said: Said, rule: Rule, target: Target, found: tuple[Captures, Any, Any]) -> None:
    """Note what one value says; a fault of it costs only itself."""
    captures, raw, body = found
    try:
        if target.fact:
            text = clean_text(raw)[:LONGEST_INFO] if raw is not None else ""
            if text:
                said.info[target.fact] = text
            return
        if target.minus is not None and raw is not None:
            raw = _less(raw, body, (target.minus, captures))
        if isinstance(raw, list) and (target.each is not None or target.sum):
            _array(said, rule, target, (captures, raw))
            return
        _single(said, rule, target, (captures, raw))
    except FrameError as error:
        said.faults.append(f"{target.path.text or target.leaf.text}: {error}")


def _single(said: Said, rule: Rule, target: Target, found: tuple[Captures, Any]) -> None:
    captures, raw = found
    name = target.field.fill(captures)
    shape = rule.shapes(name) if name is not None else None
    if name is None or shape is None:
        return
    if isinstance(raw, list) and shape.type != "array":
        if len(raw) != 1:
            raise FrameError(f"found a list of {len(raw)}, expected one value")
        raw = raw[0]
    if target.list:
        flag = converted(raw, target, _FLAG)
        said.flags[name, target.list] = flag
        return
    value = converted(raw, target, shape)
    said.values[name] = value
    if value is None or target.words is None:
        return
    if shape.code and (code := code_of(raw)) is not None:
        said.values[f"{name}_code"] = code


_FLAG = Shape("boolean")


def _array(said: Said, rule: Rule, target: Target, found: tuple[Captures, list[Any]]) -> None:
    captures, items = found
    numbers = []
    for index, item in enumerate(items[:100], start=1):
        value = converted(item, target, Shape("number"))
        numbers.append(value)
        name = target.each.fill({**captures, "i": str(index)}) if target.each else None
        if name is not None and rule.shapes(name) is not None:
            said.values[name] = value
    name = target.field.fill(captures)
    if not target.sum or name is None or rule.shapes(name) is None:
        return
    whole = bool(numbers) and None not in numbers
    said.values[name] = float(f"{sum(numbers):.12g}") if whole else None


def _less(raw: Any, body: Any, minus: tuple[Path, Captures]) -> Any:
    """Take another number of the same JSON off; one that is not there is nothing."""
    path, captures = minus
    taken = _first(body, path, captures)
    if taken is _MISSING:
        return raw
    first, second = number(raw), number(taken)
    return None if first is None or second is None else float(f"{first - second:.14g}")


# ---------------------------------------------------------------------- JSON

_MISSING = object()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _name: None)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}; found {text[:40]!r}"[:300]) from error


def walk(body: Any, steps: tuple[str | Pattern, ...]) -> Iterator[tuple[Captures, Any]]:
    """Give what stands at a path, with what its keys captured. A list is entered by number."""
    if not steps:
        yield {}, body
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        inner = _member(body, step)
        if inner is not _MISSING:
            yield from walk(inner, rest)
        return
    keys = body if isinstance(body, dict) else map(str, range(len(_listed(body))))
    for key in keys:
        own = step.match(key)
        if own is not None:
            for more, found in walk(_member(body, key), rest):
                yield {**own, **more}, found


def _listed(body: Any) -> list[Any]:
    return body[:100] if isinstance(body, list) else []


def _member(body: Any, key: str) -> Any:
    if isinstance(body, dict):
        return body.get(key, _MISSING)
    if isinstance(body, list) and key.isascii() and key.isdigit() and len(key) < 4:  # noqa: PLR2004  # a short number
        return body[int(key)] if int(key) < len(body) else _MISSING
    return _MISSING


def _first(body: Any, path: Path, captures: Captures | None = None) -> Any:
    """Give what stands at a path whose captures are known or may be anything."""
    for own, found in walk(body, path.steps):
        if captures is None or all(captures.get(name) == text for name, text in own.items()):
            return found
    return _MISSING


def _one_of(whole: Any, path: Path, wanted: frozenset[str]) -> bool:
    found = _first(whole, path)
    if ANY in wanted:
        return found is not _MISSING
    return isinstance(found, str | int | float) and written(found) in wanted


def _time_ms(raw: Any, time: Time) -> int | None:
    """Read when the message is of; None where no clock of today says so."""
    try:
        found_ms = _read_time(raw, time.how)
    except (ValueError, OverflowError, OSError, FrameError):
        return None
    return found_ms if found_ms is not None and _EARLIEST_MS < found_ms < _LATEST_MS else None


def _read_time(raw: Any, how: str) -> int | None:
    if how in ("unix", "unix_ms"):
        found = number(raw)
        return None if found is None else int(found * (1000 if how == "unix" else 1))
    if not isinstance(raw, str):
        return None
    moment = datetime.fromisoformat(raw.strip())
    if how == "iso" and moment.tzinfo is None:
        return None
    return int(moment.timestamp() * 1000)
