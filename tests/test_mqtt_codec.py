"""What the codec makes of payloads, feature by feature of the map language."""

from pathlib import Path
from typing import Any

import pytest

from bridges.mqtt.codec import MOST_TOPICS, Finder, hear
from heliobus.errors import FrameError
from tests.mqtt_engine import load, say

PLAIN = """\
title: Own
captures: {n: "[1-9][0-9]?"}
devices:
  box: {name: "{id}", kind: inverter}
  cells: {name: "{id}", kind: battery}
topics:
  - topic: "{id}/cells/{leaf}"
    device: cells
    values: {"cell_{n}": "cell_{n:2}_v", "first_{n}": {field: "cell_{n+1:2}_v", scale: 0.001}}
  - topic: "{id}/{leaf}"
    device: box
    values:
      power: output_w
      energy: {field: yield_today_kwh, scale: 0.001}
      turned: {field: battery_w, sign: -1}
      fahrenheit: {field: device_c, scale: 0.5555555555555556, offset: -17.77777777777778}
      share: {field: power_factor, scale: 0.01, beyond: 2}
      bounded: {field: output_hz, largest: 70}
      dropped: {field: pv_w, drop: [-1, "none", false]}
      on: output_on
      count: fault_code
      name: status_bits
      state: {field: mode, words: {Bulk: charging, "0": "off", "4": asleep}}
      text: mode
      lock: {field: output_on, words: {locked: false, free: true}}
      hot: {field: alarms, list: too hot}
      cold: {field: alarms, list: too cold}
      all: faults
    info: {firmware: firmware}
"""


def value(folder: Path, leaf: str, payload: str) -> dict[str, Any]:
    """Give the values of one plain message."""
    [said] = say(load(folder, PLAIN), f"a/{leaf}", payload)
    if said.faults:
        raise FrameError(said.faults[0])
    return said.values


@pytest.mark.parametrize(
    ("leaf", "payload", "expected"),
    [
        ("power", "12.50", 12.5),
        ("power", " -7 ", -7),
        ("power", "+1e3", 1000.0),
        ("power", "00012", 12),
        ("power", ".5", 0.5),
        ("energy", "216", 0.216),
        ("energy", "3", 0.003),
        ("turned", "0.0", 0.0),
        ("turned", "-12.5", 12.5),
        ("fahrenheit", "212", 100.0),
        ("share", "95.8", 0.958),
        ("share", "1.001", 1.001),
        ("bounded", "50", 50),
        ("bounded", "198.4", None),
        ("dropped", "-1.00", None),
        ("dropped", "none", None),
        ("dropped", "1", 1),
        ("power", "25.600000381469727", 25.6),
        ("power", "0.30000000000000004", 0.3),
        ("power", "1234567.891", 1234567.891),
    ],
)
def test_a_number_is_read(tmp_path: Path, leaf: str, payload: str, expected: float) -> None:
    [found] = value(tmp_path, leaf, payload).values()
    assert found == expected
    assert str(found) == str(expected)  # no -0.0, no dust, 12 and not 12.0


@pytest.mark.parametrize(
    "payload", ["nan", "NaN", "inf", "-Infinity", "null", "None", "", "-", "--"]
)
def test_no_number_is_no_value(tmp_path: Path, payload: str) -> None:
    assert value(tmp_path, "power", payload) == {"output_w": None}


def test_a_number_without_end_is_no_value(tmp_path: Path) -> None:
    assert value(tmp_path, "power", "1e999") == {"output_w": None}


@pytest.mark.parametrize(
    "payload", ["12,5", "1.234,5", "12 W", "0x10", "1_000", "١٢", "1e99999", "true", "1" * 61]
)
def test_what_is_no_number_is_refused(tmp_path: Path, payload: str) -> None:
    with pytest.raises(FrameError, match=r"power: found .*, expected a number"):
        value(tmp_path, "power", payload)


def test_a_number_that_json_readers_cannot_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="too large"):
        value(tmp_path, "power", "9" * 20)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [("1", True), ("0", False), ("ON", True), ("off", False), ("True", True), ("no", False)],
)
def test_yes_or_no_is_read(tmp_path: Path, payload: str, expected: object) -> None:
    assert value(tmp_path, "on", payload) == {"output_on": expected}


@pytest.mark.parametrize("payload", ["2", "maybe", "-1", "0.5"])
def test_what_is_neither_yes_nor_no_is_refused(tmp_path: Path, payload: str) -> None:
    with pytest.raises(FrameError, match=r"on: found .*, expected yes or no"):
        value(tmp_path, "on", payload)


def test_a_whole_number_is_wanted_whole(tmp_path: Path) -> None:
    assert value(tmp_path, "count", "7.0") == {"fault_code": 7}
    with pytest.raises(FrameError, match=r"count: found '7.5', expected a whole number"):
        value(tmp_path, "count", "7.5")


def test_a_text_is_cleaned_and_cut(tmp_path: Path) -> None:
    assert value(tmp_path, "name", " a\0b\r\nc ") == {"status_bits": "a b c"}
    assert value(tmp_path, "name", "  ") == {"status_bits": None}
    found = value(tmp_path, "name", "ü" * 2000)["status_bits"]
    assert found == "ü" * 1000


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("Bulk", {"mode": "charging"}),
        ("bulk", {"mode": "charging"}),
        ("0", {"mode": "off", "mode_code": 0}),
        ("4.0", {"mode": "asleep", "mode_code": 4}),
        ("9", {"mode": "unknown", "mode_code": 9}),
        ("Absorption", {"mode": "unknown"}),
        ("", {"mode": None}),
    ],
)
def test_words_say_what_a_text_or_code_means(
    tmp_path: Path, payload: str, expected: dict[str, Any]
) -> None:
    assert value(tmp_path, "state", payload) == expected


def test_a_text_that_an_enum_lacks_is_unknown(tmp_path: Path) -> None:
    assert value(tmp_path, "text", "asleep") == {"mode": "asleep"}
    assert value(tmp_path, "text", "dreaming") == {"mode": "unknown"}


def test_a_word_for_yes_or_no_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    assert value(tmp_path, "lock", "locked") == {"output_on": False}
    with pytest.raises(FrameError, match=r"lock: found 'open', expected one of locked, free"):
        value(tmp_path, "lock", "open")


def test_a_flag_stands_in_a_list(tmp_path: Path) -> None:
    [said] = say(load(tmp_path, PLAIN), "a/hot", "1")
    assert said.flags == {("alarms", "too hot"): True}


def test_a_text_becomes_a_list_of_one(tmp_path: Path) -> None:
    assert value(tmp_path, "all", "fan") == {"faults": ["fan"]}


def test_a_leaf_may_hold_a_number(tmp_path: Path) -> None:
    own = load(tmp_path, PLAIN)
    assert say(own, "b/cells/cell_3", "3.3")[0].values == {"cell_03_v": 3.3}
    assert say(own, "b/cells/first_1", "3300")[0].values == {"cell_02_v": 3.3}
    assert say(own, "b/cells/cell_0", "3.3")[0].values == {}


def test_what_is_not_listed_is_passed_over(tmp_path: Path) -> None:
    [said] = say(load(tmp_path, PLAIN), "a/other", "x")
    assert not said.something


def test_who_it_is_is_read(tmp_path: Path) -> None:
    [said] = say(load(tmp_path, PLAIN), "a/firmware", "v" * 200)
    assert said.info == {"firmware": "v" * 120}


def test_bytes_that_are_no_text_are_no_number(tmp_path: Path) -> None:
    match = Finder(load(tmp_path, PLAIN)).find("a/power")
    assert match is not None
    [said] = hear(match, b"\xff\xfe1")
    assert "expected a number" in said.faults[0]


# ---------------------------------------------------------------------- JSON

JSON = """\
title: Own
captures: {n: "[0-9]", next: "[1-9]"}
devices:
  meter: {name: "{id}", kind: meter}
  socket: {name: "{id}_{n}", kind: relay}
topics:
  - topic: "{id}/shut"
    device: meter
    payload: json
    when: {method: [Status, 7, true]}
    at: params
    time: {at: params.ts, as: unix}
    values: {"em:0.power": power_w}
  - topic: "{id}/shut"
    device: meter
    payload: json
    values: {other: power_w}
  - topic: "{id}/sockets"
    device: socket
    payload: json
    values: {"switch:{n}.output": is_on, "switch:{n}.power": power_w}
  - topic: "{id}/status/{component}"
    device: meter
    payload: json
    under: "{component}"
    values: {"em:0.power": power_w, "em:{next}.power": "l{next}_w"}
  - topic: "{id}/value/{leaf}"
    device: meter
    payload: json
    at: value
    values: {power: power_w, list: alarms}
  - topic: "{id}/gone"
    device: meter
    payload: json
    empty: gone
    values: {power: power_w}
  - topic: "{id}/seen"
    device: meter
    payload: json
    time: {at: seen, as: iso}
    values: {power: power_w}
  - topic: "{id}/state"
    device: meter
    payload: json
    at: state
    online: {online: true, offline: false}
  - topic: "{id}"
    device: meter
    payload: json
    values:
      a.power: power_w
      phases: {field: power_w, each: "l{i}_w", sum: true}
      volts: {field: voltage_v, each: "l{i}_v", scale: 0.1}
      used: {field: import_kwh, minus: back, scale: 0.001}
      pairs.1.power: current_a
      nothing: frequency_hz
      faults: alarms
"""


def values(folder: Path, topic: str, payload: str) -> dict[str, Any]:
    """Give the values of one message that speaks of one device."""
    [said] = say(load(folder, JSON), topic, payload)
    assert said.faults == []
    return said.values


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"a": {"power": 12}}', {"power_w": 12}),
        ('{"a": {"power": "12.5"}}', {"power_w": 12.5}),
        ('{"a": {"power": null}}', {"power_w": None}),
        ('{"a": {"power": NaN}}', {"power_w": None}),
        ('{"a": {"power": -Infinity}}', {"power_w": None}),
        ('{"a": {"power": 1e999}}', {"power_w": None}),
        ('{"a": 5, "b": 1}', {}),
        ('{"phases": [1, 2.5, -1]}', {"l1_w": 1, "l2_w": 2.5, "l3_w": -1, "power_w": 2.5}),
        ('{"phases": [1, null]}', {"l1_w": 1, "l2_w": None, "power_w": None}),
        ('{"phases": [0.1, 0.2]}', {"l1_w": 0.1, "l2_w": 0.2, "power_w": 0.3}),
        ('{"phases": 7}', {"power_w": 7}),
        ('{"phases": [1, 2, 3, 4]}', {"l1_w": 1, "l2_w": 2, "l3_w": 3, "power_w": 10.0}),
        ('{"phases": []}', {"power_w": None}),
        ('{"volts": [2301, 2299]}', {"l1_v": 230.1, "l2_v": 229.9}),
        ('{"used": 1500, "back": 500}', {"import_kwh": 1.0}),
        ('{"used": 1500}', {"import_kwh": 1.5}),
        ('{"used": 1500, "back": null}', {"import_kwh": None}),
        ('{"pairs": [{}, {"power": 3}]}', {"current_a": 3}),
        ('{"faults": ["a", "b", ""]}', {"alarms": ["a", "b"]}),
        ("[1, 2]", {}),
    ],
)
def test_json_is_read(tmp_path: Path, payload: str, expected: dict[str, Any]) -> None:
    assert values(tmp_path, "m", payload) == expected


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ('{"a": {"power": true}}', "a.power: found True, expected a number"),
        ('{"a": {"power": {"x": 1}}}', "a.power: found an object, expected a number"),
        ('{"a": {"power": [1, 2]}}', "a.power: found a list of 2, expected one value"),
        ('{"a": {"power": %s}}' % ("9" * 400), "a.power: found a number beyond"),
        ('{"phases": [1, "x"]}', "phases: found 'x', expected a number"),
        ('{"used": "x", "back": 1}', "used: found 'x', expected a number"),
    ],
)
def test_a_value_of_json_that_cannot_be_read_costs_itself(
    tmp_path: Path, payload: str, fault: str
) -> None:
    [said] = say(load(tmp_path, JSON), "m", payload[:-1] + ', "faults": []}')
    assert said.values["alarms"] == []
    assert said.faults[0].startswith(fault)


@pytest.mark.parametrize("payload", ["", " ", "5", '"text"', "null", "true"])
def test_json_that_is_no_object_says_nothing(tmp_path: Path, payload: str) -> None:
    assert [said for said in say(load(tmp_path, JSON), "m", payload) if said.something] == []


@pytest.mark.parametrize("payload", ["{", "x", '{"a": 01}', "[" * 5000, '{"a": %s}' % ("1" * 5000)])
def test_what_is_no_json_is_refused(tmp_path: Path, payload: str) -> None:
    with pytest.raises(FrameError, match="not JSON"):
        say(load(tmp_path, JSON), "m", payload)


def test_more_bytes_than_any_device_sends_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="found 256001 bytes, expected at most 256000"):
        say(load(tmp_path, JSON), "m", " " * 256_000 + "1")


def test_a_message_counts_only_where_its_condition_holds(tmp_path: Path) -> None:
    body = '{"method": %s, "params": {"ts": 1795262400.5, "em:0": {"power": 9}}}'
    for word in ('"Status"', "7", "true"):
        assert values(tmp_path, "m/shut", body % word) == {"power_w": 9}
    [said] = say(load(tmp_path, JSON), "m/shut", body % '"Status"')
    assert said.time_ms == 1795262400500


def test_what_one_rule_leaves_the_next_one_of_this_topic_may_take(tmp_path: Path) -> None:
    assert values(tmp_path, "m/shut", '{"method": "Other", "other": 3}') == {"power_w": 3}


def test_a_key_can_name_the_device(tmp_path: Path) -> None:
    body = '{"switch:0": {"output": true, "power": 5}, "switch:1": {"output": false}, "x": 1}'
    first, second = say(load(tmp_path, JSON), "strip/sockets", body)
    assert (first.captures["n"], first.values) == ("0", {"is_on": True, "power_w": 5})
    assert (second.captures["n"], second.values) == ("1", {"is_on": False})


def test_a_part_is_read_as_a_member_of_the_whole(tmp_path: Path) -> None:
    assert values(tmp_path, "m/status/em:0", '{"power": 4}') == {"power_w": 4}
    assert values(tmp_path, "m/status/em:2", '{"power": 4}') == {"l2_w": 4}
    assert values(tmp_path, "m/status/sys", '{"power": 4}') == {}


def test_a_topic_can_name_what_its_json_holds(tmp_path: Path) -> None:
    assert values(tmp_path, "m/value/power", '{"value": 4, "max": 9}') == {"power_w": 4}
    assert values(tmp_path, "m/value/power", '{"value": null}') == {"power_w": None}
    assert values(tmp_path, "m/value/list", '{"value": ["a"]}') == {"alarms": ["a"]}
    assert say(load(tmp_path, JSON), "m/value/power", "{}") == []


def test_an_empty_payload_can_mean_that_it_has_gone(tmp_path: Path) -> None:
    [said] = say(load(tmp_path, JSON), "m/gone", "")
    assert said.gone


def test_an_empty_payload_else_means_that_there_is_no_value(tmp_path: Path) -> None:
    [said] = say(load(tmp_path, JSON), "m/value/power", "")
    assert (said.values, said.gone) == ({"power_w": None}, False)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"state": "online"}', True),
        ('{"state": "Offline"}', False),
        ('{"state": "away"}', None),
        ("{}", None),
    ],
)
def test_json_says_whether_a_device_is_there(
    tmp_path: Path, payload: str, expected: object
) -> None:
    said = say(load(tmp_path, JSON), "m/state", payload)
    assert next((one.online for one in said), None) is expected


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ('"2026-11-21T12:00:00Z"', 1_795_262_400_000),
        ('"2026-11-21T13:00:00.250+01:00"', 1_795_262_400_250),
        ('"2026-11-21T12:00:00"', None),
        ('"1970-01-01T00:00:07Z"', None),
        ('"yesterday"', None),
        ("7", None),
        ("null", None),
    ],
)
def test_a_time_that_no_clock_of_today_shows_is_passed_over(
    tmp_path: Path, text: str, time_ms: int | None
) -> None:
    [said] = say(load(tmp_path, JSON), "m/seen", f'{{"power": 1, "seen": {text}}}')
    assert said.time_ms == time_ms


def test_a_topic_that_was_forgotten_is_found_again(tmp_path: Path) -> None:
    finder = Finder(load(tmp_path, PLAIN))
    first = finder.find("5/power")
    assert finder.find("5/power") is first
    for number in range(MOST_TOPICS):
        finder.find(f"other{number}/power")
    again = finder.find("5/power")
    assert again is not first
    assert again == first
