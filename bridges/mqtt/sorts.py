"""The part `devices` of a map: which sorts of devices there are, and how long values count."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridges.mqtt.patterns import Template, template
from bridges.mqtt.rules import Group, Plain, Sort
from bridges.mqtt.terms import Terms
from heliobus.contract import ANYTHING
from heliobus.errors import ConfigError, guess
from heliobus.shelf import Source

# Without `silent`, a device is offline after so many of its turns, and not sooner than this.
_SILENT_TURNS, _SILENT_S = 10, 120.0
_EVERY_S = 60.0
_MOST_S = 3.0
_MOST_KW = 1000.0
_AGE = "data_age_s"


@dataclass(slots=True)
class _Draft:
    """What the files say of one sort of device, and the file that names it first."""

    source: Source
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Source] = field(default_factory=dict)


def make_sorts(sources: Sequence[Source], terms: Terms) -> dict[str, Sort]:
    """Make the sorts of devices; what a file leaves out it has from the one that it extends."""
    drafts: dict[str, _Draft] = {}
    for source in sources:
        for key, values in (source.values.get("devices") or {}).items():
            draft = drafts.setdefault(key, _Draft(source))
            for word, value in values.items():
                if source.wrote("devices", key, word) and word not in draft.values:
                    draft.values[word] = value
                    draft.places[word] = source
    return {key: _Making(key, draft, terms).make(drafts) for key, draft in drafts.items()}


class _Making:
    """The making of one sort."""

    def __init__(self, key: str, draft: _Draft, terms: Terms) -> None:
        self._key = key
        self._draft = draft
        self._terms = terms
        self._kind = str(draft.values.get("kind", ANYTHING))

    def make(self, drafts: Mapping[str, _Draft]) -> Sort:
        """Make it also of what is wrong, so that one fault does not lead to others."""
        values = self._draft.values
        if self._kind not in self._terms.contract.kinds:
            self._fault("kind", f"{self._kind!r} is not known{guess(self._kind, self._known)}")
            self._kind = ANYTHING
        via = values.get("via", "")
        if via and (via not in drafts or via == self._key):
            self._fault("via", f"{via!r} is not a device of this map{guess(via, drafts)}")
        if "name" not in values:
            told = "'name' is missing; add it, such as 'name: inverter_{serial}'"
            self._draft.source.fault(("devices", self._key), told)
        name = (self._template("name") if "name" in values else None) or template("")
        every_s = values.get("every", _EVERY_S)
        usual_s = math.inf if via else max(_SILENT_TURNS * every_s, _SILENT_S)
        gather = values.get("gather")
        return Sort(
            key=self._key,
            name=name,
            kind=self._kind,
            captures=tuple(dict.fromkeys(one for one in name.captures if one != "bridge")),
            role=values.get("role", ""),
            via=via,
            identity=self._identity(),
            every_s=every_s,
            silent_s=values.get("silent", usual_s),
            quiet_s=None if gather is None else gather.get("quiet", 0.0),
            most_s=_MOST_S if gather is None else gather.get("most", _MOST_S),
            groups=self._groups(),
            derive=self._derive(),
            age=self._age(),
            most_kw=values.get("most_kw", _MOST_KW),
        )

    @property
    def _known(self) -> list[str]:
        return [kind for kind in self._terms.contract.kinds if kind not in ("component", "event")]

    def _fault(self, *place_and_text: str) -> None:
        *place, told = place_and_text
        source = self._draft.places.get(place[0], self._draft.source)
        source.fault(("devices", self._key, *place), told)

    def _template(self, *place: str) -> Template | None:
        value: Any = self._draft.values
        for word in place:
            value = value[word]
        try:
            return template(value)
        except ConfigError as error:
            self._fault(*place, str(error))
        return None

    def _identity(self) -> dict[str, Template]:
        found = {
            fact: self._template("identity", fact)
            for fact in self._draft.values.get("identity") or {}
        }
        return {fact: text for fact, text in found.items() if text is not None}

    def _groups(self) -> dict[str, Group]:
        found = {}
        for name, values in (self._draft.values.get("groups") or {}).items():
            try:
                found[name] = Group(
                    lasts_s=values.get("lasts"),
                    while_=self._terms.conditions(self._kind, values.get("while") or {}),
                    keep_counters=values.get("keep") == "counters",
                )
            except ConfigError as error:
                self._fault("groups", name, str(error))
                found[name] = Group()
        return found

    def _derive(self) -> dict[str, tuple[tuple[Plain, Any], ...]]:
        found = {}
        for name, lines in (self._draft.values.get("derive") or {}).items():
            try:
                self._terms.check_field(self._kind, template(name))
                found[name] = tuple(
                    (line["is"], self._terms.conditions(self._kind, line.get("when") or {}))
                    for line in lines
                )
                self._check_derived(name, [line["is"] for line in lines])
            except ConfigError as error:
                self._fault("derive", name, str(error))
        return found

    def _check_derived(self, name: str, values: list[Plain]) -> None:
        for value in values:
            _, bad = self._terms.contract.strict(self._kind, {name: value})
            for told in bad.values():
                raise ConfigError(told)

    def _age(self) -> str:
        name: str = self._draft.values.get("age", "")
        if name:
            try:
                self._terms.check_field(self._kind, template(name))
                self._terms.check_field(self._kind, template(_AGE))
            except ConfigError as error:
                self._fault("age", str(error))
        return name
