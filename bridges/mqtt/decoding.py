"""`heliobus decode mqtt --map M`: what a map makes of one message, told as JSON."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bridges.mqtt import maps
from bridges.mqtt.codec import Finder, Said, hear, settled
from bridges.mqtt.owners import name_of
from bridges.mqtt.rules import Map
from heliobus.contract import Contract, load
from heliobus.errors import FrameError


def map_decoder(name: str) -> Callable[[str, Any], dict[str, Any]]:
    """Give what answers a topic and a payload by the map of this name or path.

    Raise ConfigError; the answering raises FrameError.
    """
    contract = load()
    found = maps.load(name, beside=Path.cwd(), contract=contract)
    decoding = _Decoding(found, contract, Path(name).stem)
    return decoding.answer


class _Decoding:
    """Answers messages by one map."""

    def __init__(self, found: Map, contract: Contract, bridge: str) -> None:
        self._map = found
        self._finder = Finder(found)
        self._contract = contract
        self._bridge = bridge

    def answer(self, topic: str, payload: Any) -> dict[str, Any]:
        """Give what one message says."""
        match = self._finder.find(topic)
        if match is None:
            raise FrameError(f"no topic of the map fits {topic!r:.200}")
        text = payload if isinstance(payload, str) else json.dumps(payload)
        body = text.encode(errors="replace")
        taker, read = settled(match, body)
        match = taker or match
        answers = [self._told(said) for said in hear(match, body, read)]
        answer = answers[0] if answers else {"values": {}, "units": {}}
        if answers[1:]:
            answer["others"] = answers[1:]
        rule = match.rule
        if rule.command:
            answer["command"] = rule.command
        if rule.ignore:
            answer["note"] = rule.ignore
        elif not rule.command and not any(map(_says_something, answers)):
            answer["note"] = "the map takes nothing from it"
        return answer

    def _told(self, said: Said) -> dict[str, Any]:
        sort = self._map.sorts.get(said.rule.device)
        kind = sort.kind if sort else ""
        values, bad = self._contract.strict(
            kind, {name: value for name, value in said.values.items() if value is not None}
        )
        for (name, text), on in said.flags.items():
            if on is None:
                continue
            listed = values.setdefault(name, [])
            if on and isinstance(listed, list):
                listed.append(text)
        faults = [*said.faults, *bad.values()]
        if faults and not values:
            raise FrameError("; ".join(faults)[:1000])
        units = {name: self._unit(kind, name) for name in values}
        answer: dict[str, Any] = {
            "values": values,
            "units": {name: unit for name, unit in units.items() if unit},
        }
        if sort is not None:
            answer["device"] = name_of(sort.name, said.captures, self._bridge)
            answer["kind"] = kind
        more: Mapping[str, Any] = {
            "info": said.info or None,
            "online": said.online,
            "gone": said.gone or None,
            "refused": faults or None,
        }
        return answer | {key: value for key, value in more.items() if value is not None}

    def _unit(self, kind: str, name: str) -> str:
        known = self._contract.field(kind, name)
        return known.unit if known else ""


def _says_something(answer: Mapping[str, Any]) -> bool:
    return bool(answer["values"]) or not {"info", "online", "gone"}.isdisjoint(answer)
