"""From the words of a map to rules: what they name must exist, and fit together."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bridges.mqtt.patterns import LEAF, MOST_LEVELS, Pattern, Template, filters, template
from bridges.mqtt.rules import Conditions, Hint, Keepalive, Map, Path, Rule, Sort, Target, Time
from bridges.mqtt.terms import Terms, texts
from heliobus.contract import ANYTHING
from heliobus.errors import ConfigError, guess
from heliobus.shelf import Source

if TYPE_CHECKING:
    from heliobus.checked_yaml import Place

T = TypeVar("T")

_ACTIONS = ("values", "info", "online", "command", "distinct", "ignore")
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+", re.ASCII)
_OF_JSON = ("at", "under", "when", "told", "time")


def own_base(sources: Sequence[Source]) -> str:
    """Give the base topic that the files name."""
    return next((str(one.values["base"]) for one in sources if one.wrote("base")), "")


def make(
    files: Sequence[tuple[Source, Iterable[tuple[int, Mapping[str, Any]]]]],
    terms: Terms,
    sorts: Mapping[str, Sort],
    *,
    base: str,
) -> Map:
    """Make one map of its files and their topics: those that extend come first.

    Faults go to their readers.
    """
    sources = [source for source, _ in files]
    making = _Making(terms, sorts, base, sources)
    rules = tuple(rule for source, written in files for rule in making.rules(source, written))
    for source in sources:
        making.check_identities(source)
    return Map(
        title=str(sources[0].values["title"]),
        base=base,
        sorts=making.sorts,
        rules=rules,
        expressions=terms.expressions,
        keepalive=tuple(one for source in sources for one in making.keepalive(source)),
        hints=tuple(one for source in sources for one in making.hints(source)),
    )


class _Making:
    """The making of rules; notes what they capture."""

    def __init__(
        self, terms: Terms, sorts: Mapping[str, Sort], base: str, sources: Sequence[Source]
    ) -> None:
        self.sorts = sorts
        self._terms = terms
        self._sources = sources
        self._base = f"{base}/" if base else ""
        self._captured: dict[str, set[str]] = {}  # by device
        self._nameless: set[str] = set()  # devices of which that has been told

    def _try(self, source: Source, place: "Place", make: Callable[[], T]) -> T | None:
        """Give what `make` gives; None where it finds a fault."""
        try:
            return make()
        except ConfigError as error:
            source.fault(place, str(error))
        return None

    # ------------------------------------------------------------------ topics

    def rules(
        self, source: Source, written: Iterable[tuple[int, Mapping[str, Any]]]
    ) -> Iterator[Rule]:
        """Give the rules of one file."""
        for index, values in written:
            place = ("topics", f"[{index}]")
            rule = self._try(source, place, partial(self._rule, source, place, values))
            if rule is not None:
                yield rule

    def _rule(self, source: Source, place: "Place", values: Mapping[str, Any]) -> Rule:
        text = ("" if values.get("root") else self._base) + values["topic"]
        self._check_beginning(values)
        topic = self._terms.pattern(text)
        wanted = tuple(filters(text, _leaf_levels(values)))
        told = tuple(self._told(values))
        sort = self._sort(values)
        _check_words(values, sort)
        targets = dict(self._targets(source, place, values))
        is_json = values["payload"] != "plain"
        by_leaf = not is_json or LEAF in topic.captures
        if not is_json:
            _check_plain(source, topic, targets)
        if sort is not None:
            captured = {*topic.captures, *(name for one, _ in told for name in one.captures)}
            self._check_targets(source, sort, (captured, targets, by_leaf))
        return Rule(
            topic=topic,
            filters=wanted,
            device=sort.key if sort else "",
            names=sort.captures if sort else (),
            shapes=partial(self._terms.shape, sort.kind if sort else ""),
            json=is_json,
            objects=values["payload"] == "object",
            by_leaf=by_leaf,
            at=self._terms.path(values["at"]) if "at" in values else Path(""),
            under=_filled_by(template(values["under"]), topic) if "under" in values else None,
            when=tuple(
                (self._terms.path(path), texts(wanted))
                for path, wanted in (values.get("when") or {}).items()
            ),
            told=told,
            group=values.get("group", ""),
            beat=values.get("beat", True),
            use_retained=values.get("retained") == "use",
            gone_when_empty=values.get("empty") == "gone",
            time=self._time(values),
            values=tuple(targets.values()),
            online=values.get("online") or {},
            command=values.get("command", ""),
            distinct=values.get("distinct", ""),
            ignore=values.get("ignore", ""),
        )

    def _check_beginning(self, values: Mapping[str, Any]) -> None:
        """Raise ConfigError where a topic begins with what is put before it."""
        topic, own = values["topic"], own_base(self._sources)
        if not own or values.get("root"):
            return
        if topic.startswith((f"{own}/", "/")):
            found = own if topic.startswith(own) else "a /"
            rest = topic.removeprefix(own).removeprefix("/")
            raise ConfigError(
                f"it begins with {found}, but the base topic {own}/ is put before it anyway; write"
                f" {rest!r}"
            )

    def _told(self, values: Mapping[str, Any]) -> "Iterator[tuple[Pattern, Path]]":
        for name, path in (values.get("told") or {}).items():
            yield self._terms.pattern(f"{{{name}...}}"), self._terms.path(path)

    def _sort(self, values: Mapping[str, Any]) -> Sort | None:
        if "device" not in values:
            return None
        sort = self.sorts.get(values["device"])
        if sort is None:
            known = guess(values["device"], self.sorts)
            raise ConfigError(f"device: {values['device']!r} is not a device of this map{known}")
        return sort

    def _time(self, values: Mapping[str, Any]) -> Time | None:
        if "time" not in values:
            return None
        return Time(self._terms.path(values["time"]["at"]), values["time"].get("as", "unix"))

    def _targets(
        self, source: Source, place: "Place", values: Mapping[str, Any]
    ) -> "Iterator[tuple[Place, Target]]":
        """Give what each value and fact becomes, and where it stands in the file."""
        for part, read in (("values", self._value), ("info", self._fact)):
            for key, said in (values.get(part) or {}).items():
                here = (*place, part, key)
                target = self._try(source, here, partial(read, key, said))
                if target is not None:
                    yield here, target

    def _value(self, key: str, said: str | Mapping[str, Any]) -> Target:
        more: Mapping[str, Any] = {"field": said} if isinstance(said, str) else said
        return Target(
            leaf=self._terms.pattern(key),
            path=self._terms.path(key),
            field=template(more["field"]),
            scale=more.get("scale"),
            beyond=more.get("beyond"),
            offset=more.get("offset", 0.0),
            largest=more.get("largest", math.inf),
            sign=-1 if more.get("sign") == -1 else 1,
            words=more.get("words"),
            drop=frozenset(more.get("drop") or ()),
            each=template(more["each"]) if "each" in more else None,
            sum=more.get("sum", False),
            minus=self._terms.path(more["minus"]) if "minus" in more else None,
            list=more.get("list", ""),
        )

    def _fact(self, key: str, fact: str) -> Target:
        nothing = template("")
        return Target(self._terms.pattern(key), self._terms.path(key), nothing, fact=fact)

    def _check_targets(
        self,
        source: Source,
        sort: Sort,
        of_rule: "tuple[set[str], Mapping[Place, Target], bool]",
    ) -> None:
        before, targets, by_leaf = of_rule
        captured = self._captured.setdefault(sort.key, set())
        captured.update(before)
        sort = self._as_here(source, sort)
        for here, target in targets.items():
            own = target.leaf.captures if by_leaf else target.path.captures
            captured.update(own)
            known = {*before, *own}
            if not source.wrote(*here):  # of a map that it extends, and checked there
                continue
            self._try(source, here, partial(self._check_target, sort, target, known))
        if not targets:
            self._check_name(sort, before)

    def _check_name(self, sort: Sort, known: set[str]) -> None:
        """Raise ConfigError where a name needs what nothing captures; once for each device."""
        if sort.key not in self._nameless:
            self._nameless.add(sort.key)
            _needs(sort.name, known, f"the name of {sort.key!r}")
            self._nameless.discard(sort.key)

    def _as_here(self, source: Source, sort: Sort) -> Sort:
        """Give a sort with the kind that it has in this file, whatever extends it.

        A file that extends it may choose a kind with fewer fields; the others are left out then.
        """
        here = next(at for at, one in enumerate(self._sources) if one is source)
        for one in self._sources[here:]:
            if one.wrote("devices", sort.key, "kind"):
                return replace(sort, kind=one.values["devices"][sort.key]["kind"])
        return replace(sort, kind=ANYTHING)

    def _check_target(self, sort: Sort, target: Target, known: set[str]) -> None:
        self._check_name(sort, known)
        if target.fact:
            return
        self._terms.check_field(sort.kind, target.field)
        _needs(target.field, known, "the field")
        if target.each is not None:
            self._terms.check_field(sort.kind, target.each)
            _needs(target.each, {*known, "i"}, "each")
        shape = self._terms.shape(sort.kind, target.field.text)
        if shape is None:  # of a family; its members are numbers, or yes or no
            return
        if target.list and shape.type != "array":
            raise ConfigError(f"list: {target.field.text!r} is no list of texts")
        reckons = target.scale is not None or bool(target.offset) or target.sum
        if reckons and not target.list and shape.type not in ("number", "integer"):
            raise ConfigError(f"{target.field.text!r} is no number; it cannot be reckoned with")
        self._check_meanings(sort, target)

    def _check_meanings(self, sort: Sort, target: Target) -> None:
        """Check that what words mean is what the field takes."""
        name = target.field.text
        shape = self._terms.shape(sort.kind, name)
        for word, meaning in (target.words or {}).items():
            if shape is None or shape.type == "array" or target.list or meaning == "":
                continue
            _, bad = self._terms.contract.strict(sort.kind, {name: meaning})
            for told in bad.values():
                raise ConfigError(f"words: {word}: {told}")

    # ------------------------------------------------------------------ the rest

    def check_identities(self, source: Source) -> None:
        """Check that what an identity is made of is captured by a topic of the device."""
        for key in source.values.get("devices") or {}:
            sort = self.sorts.get(key)
            for fact, text in (sort.identity if sort else {}).items():
                if source.wrote("devices", key, "identity", fact):
                    known = self._captured.get(key, set())
                    check = partial(_needs, text, known, f"{fact} of {key!r}")
                    self._try(source, ("devices", key, "identity", fact), check)

    def keepalive(self, source: Source) -> Iterator[Keepalive]:
        """Give what has to be said."""
        for index, values in enumerate(source.values.get("keepalive") or ()):
            place = ("keepalive", f"[{index}]")
            made = self._try(source, place, partial(self._keepalive, values))
            if made is not None:
                yield made

    def _keepalive(self, values: Mapping[str, Any]) -> Keepalive:
        # Beside the base topic where it begins at the root, as Victron's R/ beside N/.
        text = values["topic"]
        topic = template(text)
        known = set().union(*self._captured.values())
        _needs(topic, known, "the topic")
        self._terms.pattern(text)
        payload = values.get("payload", "").encode()
        first = values["first"].encode() if "first" in values else payload
        wanted = next(filters(text))
        return Keepalive(topic, wanted, payload, first, values["every"])

    def hints(self, source: Source) -> Iterator[Hint]:
        """Give what a silence means."""
        for index, values in enumerate(source.values.get("hints") or ()):
            for word in ("alive", "missing"):
                if values[word] not in self.sorts:
                    told = f"{values[word]!r} is not a device of this map"
                    place = ("hints", f"[{index}]", word)
                    source.fault(place, told + guess(values[word], self.sorts))
            so: Conditions = ()
            if values["missing"] in self.sorts:
                kind = self.sorts[values["missing"]].kind
                try:
                    so = self._terms.conditions(kind, values.get("so") or {})
                except ConfigError as error:
                    source.fault(("hints", f"[{index}]", "so"), str(error))
            yield Hint(values["alive"], values["missing"], values["after"], values["text"], so)


def _check_words(values: Mapping[str, Any], sort: Sort | None) -> None:
    """Check that a rule does something, and has what that needs. Raise ConfigError."""
    if not any(values.get(action) for action in _ACTIONS):
        raise ConfigError(f"it does nothing; add one of {', '.join(_ACTIONS)}")
    if sort is None and (values.get("values") or values.get("info")):
        raise ConfigError("'device' is missing: whose values are they?")
    if values["payload"] == "plain":
        for word in _OF_JSON:
            if word in values:
                raise ConfigError(f"{word!r} is for JSON only; add 'payload: json'")
    group = values.get("group", "")
    if group and (sort is None or group not in sort.groups):
        known = guess(group, sort.groups if sort else ())
        raise ConfigError(f"group: {group!r} is not a group of its device{known}")


def _check_plain(source: Source, topic: Pattern, targets: "Mapping[Place, Target]") -> None:
    """Note the first key that no topic can end with."""
    end = topic.text.rpartition("/")[2]
    for here, target in targets.items():
        told = ""
        if LEAF in topic.captures:
            told = "take it out" if _PATH.fullmatch(target.leaf.text) else ""
        elif "{" not in end and target.leaf.match(end) is None:
            told = f"write {end!r}, with which the topic ends, or end it with {{leaf}}"
        if told:
            key = target.leaf.text
            told = f"{key!r} is never found. If it is in JSON, add 'payload: json'; else {told}"
            source.fault(here, told)
            return


def _leaf_levels(values: Mapping[str, Any]) -> int:
    """Say how long {leaf...} can be: as long as the longest key that is looked up."""
    keys = [*(values.get("values") or ()), *(values.get("info") or ())]
    most = max((key.count("/") + 1 for key in keys), default=MOST_LEVELS)
    return MOST_LEVELS if any("..." in key for key in keys) else min(most, MOST_LEVELS)


def _filled_by(text: Template, topic: Pattern) -> Template:
    _needs(text, set(topic.captures), "under")
    return text


def _needs(text: Template, known: Iterable[str], what: str) -> None:
    """Raise ConfigError where a template needs what nothing has captured."""
    for name in text.captures:
        if name != "bridge" and name not in known:
            raise ConfigError(f"{what} needs {{{name}}}, which nothing here captures")
