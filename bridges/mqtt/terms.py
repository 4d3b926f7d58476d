"""What a map is checked against: the contract's fields, its own captures, its files."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bridges.mqtt.patterns import Pattern, Template, pattern, template
from bridges.mqtt.plain import written
from bridges.mqtt.rules import Condition, Conditions, Path, Shape
from heliobus.contract import ANYTHING, Contract
from heliobus.errors import ConfigError, guess

if TYPE_CHECKING:
    from heliobus.shelf import Source

_WORD = re.compile(r"[A-Za-z0-9_]+")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_INDEX = re.compile(r"\[([0-9]+)\]")
# What of a regular expression decides how long it takes: escaped and listed characters do not.
_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[a-zA-Z-]*[:=!<]?|[()|]|[*+?]|\{[0-9,]+\}|.", re.DOTALL
)
_MOST_OPEN = 3
OURS = ("bridge", "i")


@dataclass(slots=True)
class Terms:
    """The words that the files of one map may use."""

    contract: Contract
    expressions: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)  # what patterns capture
    _shapes: dict[tuple[str, str], Shape] = field(default_factory=dict)

    def take_captures(self, source: "Source") -> None:
        """Take the regular expressions of a file; they come before those already taken."""
        for name, expression in (source.values.get("captures") or {}).items():
            try:
                self.expressions[name] = _expression(name, expression)
            except ConfigError as error:
                source.fault(("captures", name), str(error))

    def check_captures(self, source: "Source") -> None:
        """Note the expressions of a file that stand for nothing."""
        for name in source.values.get("captures") or {}:
            if name in self.expressions and name not in self.used:
                meant = guess(name, self.used)
                meant = meant if "mean" in meant else "; take it out"
                told = f"no topic has {{{name}}}{meant}"
                source.fault(("captures", name), told)

    def shape(self, kind: str, name: str) -> Shape | None:
        """Give what a field of a kind takes; None where the kind has no such field."""
        known = self._shapes.get((kind, name))
        if known is None and (found := self.contract.field(kind, name)) is not None:
            code = self.contract.field(kind, f"{name}_code") is not None
            known = Shape(found.type, found.enum, code=code and found.type == "string")
            self._shapes[kind, name] = known  # fields are finite
        return known

    def check_field(self, kind: str, name: Template) -> None:
        """Raise ConfigError where no field of the contract can come of it."""
        if any(self.shape(kind, one) is not None for one in self._possible(name)):
            return
        if name.captures:
            raise ConfigError(f"no field of kind {kind} is called like {name.text!r}")
        found = self.contract.field(ANYTHING, name.text)
        if found is not None:
            raise ConfigError(f"{name.text!r} is not a field of kind {kind}")
        known = [*(self.contract.kinds.get(kind) or self.contract.kinds[ANYTHING]).fields]
        if kind == ANYTHING:
            known = [*self.contract.fields]
        told = guess(name.text, known)
        raise ConfigError(f"{name.text!r} is not a field{told if 'mean' in told else ''}")

    def _possible(self, name: Template) -> Iterator[str]:
        """Give names that may come of a template: numbers, and the words of the captures."""
        wanted = list(dict.fromkeys(name.captures))
        if not wanted:
            yield name.text
            return
        choices = [self._texts(one) for one in wanted]
        for index in range(max(map(len, choices))):
            captures = {
                one: texts[min(index, len(texts) - 1)]
                for one, texts in zip(wanted, choices, strict=True)
            }
            filled = name.fill(captures)
            if filled is not None:
                yield filled

    def _texts(self, capture: str) -> list[str]:
        expression = self.expressions.get(capture, ".+")
        texts = [*map(str, range(100)), *_WORD.findall(expression)]
        return [text for text in texts if re.fullmatch(expression, text)] or [""]

    def pattern(self, text: str) -> Pattern:
        """Read a pattern with the captures of this map. Raise ConfigError."""
        found = pattern(text, self.expressions)
        self.used.update(found.captures)
        for name in OURS:
            if name in found.captures:
                raise ConfigError(f"{{{name}}} cannot be captured: it is ours; choose another name")
        return found

    def path(self, text: str) -> Path:
        """Read a path into JSON. Raise ConfigError."""
        if _INDEX.search(text):
            better = _INDEX.sub(r".\1", text)
            raise ConfigError(f"found {text!r}; a place in a list is written {better!r}")
        steps = tuple(
            self.pattern(step) if "{" in step or "}" in step else step for step in text.split(".")
        )
        if "" in steps:
            raise ConfigError(f"found {text!r}, expected a path such as params.power")
        return Path(text, steps)

    def conditions(self, kind: str, values: Mapping[str, Any]) -> Conditions:
        """Read what `while` and `when` say of fields. Raise ConfigError."""
        found = []
        for name, wanted in values.items():
            self.check_field(kind, template(name))
            if isinstance(wanted, dict):
                if not wanted:
                    raise ConfigError(f"{name}: found nothing, expected above or below")
                found.append(Condition(name, above=wanted.get("above"), below=wanted.get("below")))
            else:
                found.append(Condition(name, value=wanted))
        return tuple(found)


def _expression(name: str, expression: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"found {name!r}, expected lower-case letters, digits and _")
    if name in OURS:
        raise ConfigError(f"{name!r} cannot be captured: it is ours; choose another name")
    if re.search(r"\(\?P?<[A-Za-z_]", expression):
        raise ConfigError("groups in it cannot have names; write (?:...)")
    try:
        re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"not a regular expression: {error}") from error
    _check_effort(expression)
    return f"(?:{expression})"


def _check_effort(expression: str) -> None:
    """Raise ConfigError where a text may take for ever: what repeats is repeated as a whole.

    ([a-z]+)+ takes twice as long with each letter; so anybody could stop the bridge by a topic.
    """
    varies = [False]  # for each open bracket: whether there is more than one way to fit
    closed = False
    open_ends = 0
    for part in _TOKEN.findall(expression):
        repeats = part in ("*", "+") or ("," in part and part[0] == "{")
        if (repeats or part[0] == "{") and closed:
            raise ConfigError(
                "what repeats, or has a choice, stands in a bracket that is repeated; some topics"
                " would take for ever. Write it without the outer repetition"
            )
        open_ends += part in ("*", "+") or part.endswith(",}")
        if part[0] == "(":
            varies.append(False)
        elif repeats or part in ("?", "|"):
            varies[-1] = True
        closed = part == ")" and varies.pop()
        if closed:
            varies[-1] = True
    if open_ends > _MOST_OPEN:
        raise ConfigError(f"found {open_ends} times * or +, expected at most {_MOST_OPEN}")


def texts(values: Any) -> frozenset[str]:
    """Give values as a JSON message may have them, written."""
    return frozenset(written(value) for value in values)
