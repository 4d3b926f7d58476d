"""Patterns: {name} stands for a text that is found in a topic or a key, and put into a name.

{serial}/0/{leaf}     of a topic: one level, or a part of one such as inverter_{n}
{prefix...}/status    one to four levels
pv_{input:2}_w        of a field: the number with two digits; {input+1} is one more
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, zip_longest

from heliobus.errors import ConfigError

MOST_LEVELS = 4
LEAF = "leaf"

_CAPTURE = re.compile(r"\{([a-z][a-z0-9_]*)(\.\.\.)?\}")
_INSERT = re.compile(r"\{([a-z][a-z0-9_]*)([+-][0-9]{1,3})?(?::([1-9]))?\}")
_ONE_LEVEL = "[^/]+"
_SOME_LEVELS = f"[^/]+(?:/[^/]+){{0,{MOST_LEVELS - 1}}}"
# A number in a topic or a key; more digits than this count nothing.
_NUMBER = re.compile(r"[0-9]{1,9}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of a topic, a leaf or a key. `one_level` names what may hold no slash."""

    text: str
    regex: re.Pattern[str]
    captures: tuple[str, ...]
    one_level: tuple[str, ...]

    @property
    def literal(self) -> bool:
        """Say whether it captures nothing."""
        return not self.captures

    def match(self, text: str) -> dict[str, str] | None:
        """Give the captures of a text that fits; None for another."""
        found = self.regex.fullmatch(text)
        if found is None:
            return None
        captures = found.groupdict()
        # A regular expression of the map may take in more levels than it should.
        if any("/" in captures[name] for name in self.one_level):
            return None
        if any(captures[name].count("/") >= MOST_LEVELS for name in self.captures):
            return None
        return captures


def pattern(text: str, known: Mapping[str, str]) -> Pattern:
    """Read a pattern; `known` are regular expressions by capture. Raise ConfigError."""
    parts: list[str] = []
    names: list[str] = []
    one_level: list[str] = []
    end = 0
    for found in _CAPTURE.finditer(text):
        parts.append(_literal(text[end : found.start()], text))
        end = found.end()
        name = found[1]
        if name in names:
            parts.append(f"(?P={name})")
            continue
        names.append(name)
        if not found[2]:
            one_level.append(name)
        parts.append(f"(?P<{name}>{known.get(name, _SOME_LEVELS if found[2] else _ONE_LEVEL)})")
    parts.append(_literal(text[end:], text))
    try:
        regex = re.compile("".join(parts), re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"{text!r} makes no regular expression: {error}") from error
    return Pattern(text, regex, tuple(names), tuple(one_level))


def _literal(part: str, text: str) -> str:
    if "{" in part or "}" in part:
        raise ConfigError(
            f"found {text!r}, expected captures like {{name}} or {{name...}}: lower-case letters,"
            " digits and _ between the braces"
        )
    return re.escape(part)


def filters(text: str, leaf_levels: int = MOST_LEVELS) -> Iterator[str]:
    """Give the MQTT filters that a pattern of topics needs. Raise ConfigError.

    `leaf_levels`: at its end {leaf...} is never longer.
    """
    if "#" in text or "+" in text:
        raise ConfigError(f"found {text!r}, expected {{name}} where MQTT has + or #")
    heads = [""]
    levels = text.split("/")
    for index, level in enumerate(levels):
        many = any(found[2] for found in _CAPTURE.finditer(level))
        most = MOST_LEVELS
        if many and index == len(levels) - 1:
            most = leaf_levels if level == f"{{{LEAF}...}}" else MOST_LEVELS
            if most == MOST_LEVELS:
                yield from (head + "#" for head in heads)
                return
        one = "+" if _CAPTURE.search(level) else level
        counts = range(1, most + 1) if many else (1,)
        heads = [head + f"{one}/" * count for head in heads for count in counts]
    yield from (head[:-1] for head in heads)


def covering(wanted: Iterable[str]) -> list[str]:
    """Leave out the filters that another one covers."""
    kept: list[str] = []
    for each in dict.fromkeys(wanted):
        if not any(covers(other, each) for other in kept):
            kept = [other for other in kept if not covers(each, other)]
            kept.append(each)
    return kept


def apart(wanted: Iterable[str]) -> list[str]:
    """Cover filters by others that no topic fits twice: it would be delivered twice.

    Two that begin in different ways stay as they are: what covers both would take everything.
    """
    raw = list(dict.fromkeys(wanted))
    kept = covering(raw)
    while True:
        pairs = (one for one in combinations(kept, 2) if overlap(*one))
        pair = next((one for one in pairs if not {"+", "#"} & {one[0][0], one[1][0]}), None)
        if pair is None:
            return kept
        wide = next((one for one in pair if one.endswith("#")), None)
        if wide is None:
            kept = covering([*kept, _both(*pair)])
        else:
            kept.remove(wide)
            kept = covering([*kept, *(n for one in raw if covers(wide, one) for n in _levels(one))])


def _both(first: str, second: str) -> str:
    pairs = zip(first.split("/"), second.split("/"), strict=True)
    return "/".join(a if a == b else "+" for a, b in pairs)


def _levels(one: str) -> Iterator[str]:
    """Give the filters of one, two ... levels that a pattern means by #."""
    if not one.endswith("#"):
        yield one
        return
    for count in range(1, MOST_LEVELS + 1):
        yield one[:-1] + "/".join("+" * count)


def overlap(first: str, second: str) -> bool:
    """Say whether a topic may fit both filters."""
    for ours, theirs in zip_longest(first.split("/"), second.split("/")):
        if "#" in (ours, theirs):
            return True
        if None in (ours, theirs) or (ours != theirs and "+" not in (ours, theirs)):
            return False
    return True


def covers(wide: str, narrow: str) -> bool:
    """Say whether everything that the filter `narrow` takes is taken by `wide`."""
    ours, theirs = wide.split("/"), narrow.split("/")
    for index, level in enumerate(ours):
        if level == "#":
            return True
        if index >= len(theirs) or theirs[index] == "#" or level not in ("+", theirs[index]):
            return False
    return len(ours) == len(theirs)


@dataclass(frozen=True, slots=True)
class Template:
    """A text with captures in it. A part is a text, or (capture, what is added, digits)."""

    text: str
    parts: tuple[str | tuple[str, int | None, int], ...]

    @property
    def captures(self) -> tuple[str, ...]:
        """Name what it needs."""
        return tuple(part[0] for part in self.parts if not isinstance(part, str))

    def fill(self, captures: Mapping[str, str]) -> str | None:
        """Put the captures in; None where one is missing, or no number where one is needed."""
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            return self.parts[0]
        texts = []
        for part in self.parts:
            text = part if isinstance(part, str) else _inserted(captures.get(part[0]), part)
            if text is None:
                return None
            texts.append(text)
        return "".join(texts)


def _inserted(text: str | None, part: tuple[str, int | None, int]) -> str | None:
    _, more, digits = part
    if text is None or (more is None and not digits):
        return text
    if not _NUMBER.match(text):
        return None
    number = int(text) + (more or 0)
    return None if number < 0 else f"{number:0{digits}d}" if digits else str(number)


def template(text: str) -> Template:
    """Read a template. Raise ConfigError."""
    parts: list[str | tuple[str, int | None, int]] = []
    end = 0
    for found in _INSERT.finditer(text):
        parts += [text[end : found.start()]] * (found.start() > end)
        parts.append((found[1], int(found[2]) if found[2] else None, int(found[3] or 0)))
        end = found.end()
    parts += [text[end:]] * (end < len(text) or not parts)
    if any(isinstance(part, str) and ("{" in part or "}" in part) for part in parts):
        raise ConfigError(
            f"found {text!r}, expected captures like {{name}}, {{name:2}} or {{name+1}}"
        )
    return Template(text, tuple(parts))
