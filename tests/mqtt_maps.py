"""What the tests of maps share: their rows, what is expected of each, and what becomes of it."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bridges.mqtt import maps
from bridges.mqtt.codec import Finder, hear
from heliobus import contract
from heliobus.cli import cli
from tests.helpers import ROOT, further_vectors

CONTRACT = contract.load()
VECTORS = ROOT / "bridges" / "mqtt" / "vectors"
Said = tuple[str, str]

# What stands in a table of expectations for a payload of JSON.
JSON = "{"
# What a unit of the systems becomes; others stay as they are.
UNITS = {"Wh": "kWh", "mV": "V", "0|1": "", "online|offline": "", "1": ""}
# The units of the contract for a unit of the systems, and how many of them it is.
MEANINGS = {
    **{unit: {unit: 1.0} for unit in ("W", "V", "A", "kWh", "Ah", "VA", "var", "%", "Hz", "°C")},
    **{unit: {unit: 1.0} for unit in ("dBm", "B", "hPa", "lx")},
    "s": {"s": 1.0, "min": 1 / 60, "h": 1 / 3600},
    "Wh": {"kWh": 0.001},
    "kWh?": {"kWh": 1.0},
    "Wmin": {"kWh": 1 / 60_000},
    "mV": {"V": 0.001},
}
TAKEN_FROM_NOTHING = "the map takes nothing from it"


def check_new_row(row: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Check a row of which nobody has said what it means: it is taken in, with its number.

    What the map knows as a command or passes over on purpose needs no number.
    """
    assert answer["ok"], f"{row['topic']}: {answer['error']}"
    number = stated_number(row["payload"])
    meanings = MEANINGS.get(row["unit"])
    on_purpose = "command" in answer or answer.get("note", "") not in ("", TAKEN_FROM_NOTHING)
    if number is None or meanings is None or on_purpose:
        return
    # Of either sign: not every system counts charging as positive.
    found = [
        answer["values"][name]
        for name, unit in answer["units"].items()
        if unit in meanings
        and abs(answer["values"][name]) == pytest.approx(abs(number) * meanings[unit])
    ]
    assert found, f"{row['topic']}: {number} {row['unit']} became {answer}"


def stated_number(payload: str) -> float | None:
    """Give the number that a payload is, alone or as a value in JSON; None for none."""
    try:
        body = json.loads(payload, parse_constant=lambda _name: None)
    except ValueError:
        return None
    value = body.get("value") if isinstance(body, dict) else body
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def decode_lines(map_name: str, said: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the answers of `heliobus decode mqtt` to messages, in order."""
    lines = "".join(json.dumps(each) + "\n" for each in said)
    result = CliRunner().invoke(cli, ["decode", "mqtt", "--map", map_name, "-"], input=lines)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == lines.count("\n"), result.output
    return answers


class Rows:
    """The rows of one map, and what is expected of each.

    Of the further vectors most stand in `expected`, others are new; ours say it themselves.
    """

    def __init__(self, map_name: str, expected: Mapping[Said, Any]) -> None:
        self.map_name = map_name
        self.units: dict[Said, str] = {}
        self.expected: dict[Said, Any] = {}
        self.new: list[Mapping[str, Any]] = []
        for row in further_vectors("mqtt_topics.json") or ():
            if row["system"] == map_name:
                topic, payload = row["topic"], row["payload"]
                key = topic, JSON if payload.startswith(JSON) else payload
                if key not in expected:
                    self.new.append(row)
                    continue
                self.expected[topic, payload] = expected[key]
                self.units[topic, payload] = UNITS.get(row["unit"], row["unit"])
        own = json.loads((VECTORS / f"{map_name}.json").read_text(encoding="utf-8"))
        for row in own["rows"]:
            self.expected[row["topic"], row["payload"]] = row["expect"]

    @property
    def cases(self) -> pytest.MarkDecorator:
        """Give them for pytest: topic, payload, what is expected."""
        found = [(*said, meaning) for said, meaning in self.expected.items()]
        ids = [f"{at} {case[0]}" for at, case in enumerate(found)]
        return pytest.mark.parametrize(("topic", "payload", "expected"), found, ids=ids)

    def tests(self) -> tuple[Callable[..., None], ...]:
        """Give the tests of the rows, in the order of what they say."""

        @self.cases
        def decoded(topic: str, payload: str, expected: Any) -> None:
            assert self.decoded(topic, payload) == expected

        @self.cases
        def read(topic: str, payload: str, expected: Any) -> None:
            assert self.read(topic, payload) == expected

        def new() -> None:
            self.check_new()

        def units() -> None:
            self.check_units()

        return decoded, read, new, units

    @cached_property
    def answers(self) -> Mapping[Said, Mapping[str, Any]]:
        """Give what `heliobus decode` says of each."""
        said = [{"topic": topic, "payload": payload} for topic, payload in self.expected]
        return dict(zip(self.expected, decode_lines(self.map_name, said), strict=True))

    def check_new(self) -> None:
        """Check the rows of the further vectors of which nobody has said what they mean."""
        said = [{"topic": row["topic"], "payload": row["payload"]} for row in self.new]
        for row, answer in zip(self.new, decode_lines(self.map_name, said), strict=True):
            check_new_row(row, answer)

    def check_units(self) -> None:
        """Check that each value has the unit that its row states."""
        for said, unit in self.units.items():
            answer = self.answers[said]
            if unit and answer.get("values") and "command" not in answer:
                assert set(answer["units"].values()) == {unit}, said

    def decoded(self, topic: str, payload: str) -> Any:
        """Give what `heliobus decode` says of a row, in the words of the tables."""
        answer = self.answers[topic, payload]
        if not answer["ok"]:
            return "not in the map"
        if "command" in answer:
            return "command"
        if "online" in answer:
            return "online" if answer["online"] else "offline"
        return (answer["values"] | answer.get("info", {})) or "passed over"

    @cached_property
    def finder(self) -> Finder:
        """Give what finds the rule of a topic."""
        return Finder(maps.load(self.map_name, beside=Path(), contract=CONTRACT))

    def read(self, topic: str, payload: str) -> Any:
        """Give what the codec makes of a row, in the words of the tables."""
        match = self.finder.find(topic)
        if match is None:
            return "not in the map"
        if match.rule.command:
            return "command"
        heard = hear(match, payload.encode())
        assert not [fault for said in heard for fault in said.faults]
        if heard and heard[0].online is not None:
            return "online" if heard[0].online else "offline"
        values: dict[str, Any] = {}
        for said in heard:
            values.update((n, value) for n, value in said.values.items() if value is not None)
            values.update(said.info)
            for (name, text), is_on in said.flags.items():
                values.setdefault(name, []).extend([text] * bool(is_on))
        return values or "passed over"
