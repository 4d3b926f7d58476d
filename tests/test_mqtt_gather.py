"""How messages become readings: gathering, groups, what is online, what is due, what to know."""

from pathlib import Path
from typing import Any

import pytest

from heliobus.errors import ConfigError
from tests.mqtt_engine import Hall

HEAD = """\
title: Own
base: b
captures: {n: "[0-9]"}
"""
BOX = (
    HEAD
    + """\
devices:
  box:
    name: "box_{n}"
    kind: inverter
    every: 5s
    silent: 1m
    gather: {quiet: 500ms, most: 3s}
topics:
  - topic: "{n}/status/{leaf}"
    device: box
    beat: false
    values: {reachable: reachable, limit: power_limit_percent}
  - {topic: "{n}/name", device: box, info: {name: title}}
  - {topic: "{n}/online", device: box, online: {"1": true, "0": false}}
  - topic: "{n}/{leaf}"
    device: box
    values: {power: output_w, volt: output_v}
"""
)


def test_messages_that_come_together_become_one_reading(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    hall.say("b/1/power", "100")
    hall.say("b/1/volt", "230")
    hall.say("b/2/power", "7")
    [first, second] = hall.wait(2)
    assert (first.device, first.values, first.measured_s) == (
        "box_1",
        {"output_w": 100, "output_v": 230},
        1000.0,
    )
    assert (second.device, second.values) == ("box_2", {"output_w": 7})


def test_messages_without_a_pause_become_a_reading_after_a_while(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    for number in range(20):
        hall.say("b/1/power", str(number))
        hall.wait(0.25)
    assert [reading.measured_s for reading in hall.readings] == [1002.75]


def test_without_gathering_each_message_makes_a_reading(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX.replace("    gather: {quiet: 500ms, most: 3s}\n", ""))
    hall.say("b/1/power", "1")
    hall.say("b/1/power", "2")
    assert [reading.values for reading in hall.wait()] == [{"output_w": 1}, {"output_w": 2}]


def test_a_value_stays_until_it_is_said_that_there_is_none(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    hall.say("b/1/power", "1")
    hall.say("b/1/volt", "230")
    hall.wait(2)
    hall.say("b/1/power", "2")
    assert hall.values() == {"output_w": 2, "output_v": 230}
    hall.say("b/1/volt", "nan")
    assert hall.values() == {"output_w": 2}


def test_what_is_no_beat_makes_a_reading_only_when_it_changes(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    for payload in ("1", "1", "1", "0"):
        hall.say("b/1/status/reachable", payload)
        hall.wait(5)
    assert [r.values for r in hall.readings] == [{"reachable": True}, {"reachable": False}]


def test_what_is_a_beat_makes_a_reading_also_when_nothing_changes(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    for _ in range(3):
        hall.say("b/1/power", "0")
        hall.wait(5)
    assert len(hall.readings) == 3


def test_while_it_speaks_a_reading_is_made_now_and_then(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    for _ in range(37):
        hall.say("b/1/status/reachable", "1")
        hall.wait(5)
    assert [round(reading.measured_s) for reading in hall.readings] == [1000, 1060, 1120, 1180]


def test_a_device_that_is_silent_is_offline_and_its_values_are_forgotten(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    for _ in range(3):
        hall.wait(5)
        hall.say("b/1/power", "5")
        hall.say("b/1/volt", "230")
    hall.wait(55)
    assert hall.devices["box_1"].online is True
    hall.wait(10)
    assert hall.devices["box_1"].online is False
    hall.say("b/1/power", "6")
    assert hall.values() == {"output_w": 6}
    assert hall.devices["box_1"].online is True


def test_a_bridge_may_have_another_silence(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX, silent=10.0)
    hall.say("b/1/power", "5")
    hall.wait(12)
    assert hall.devices["box_1"].online is False


def test_a_device_says_that_it_goes_and_comes(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    hall.say("b/1/online", "1", retained=True)
    hall.wait(1)
    assert dict(hall.devices) == {}
    hall.say("b/1/name", "Garage", retained=True)
    hall.wait(1)
    assert hall.devices["box_1"].online is True
    hall.say("b/1/power", "5")
    hall.say("b/1/online", "0")
    assert hall.wait(2) == []
    assert hall.devices["box_1"].online is False
    hall.say("b/1/power", "5")
    assert hall.values() == {"output_w": 5}
    assert hall.devices["box_1"].online is True


def test_a_word_that_says_neither_is_refused(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    [refused] = hall.say("b/dtu/status", "2")
    assert (refused.topic, refused.reason, refused.data) == (
        "b/dtu/status",
        "found '2', expected one of on, off",
        {"payload": "2"},
    )


def test_what_cannot_be_read_is_refused_and_counted(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    hall.say("b/1/volt", "230")
    [refused] = hall.say("b/1/power", "x")
    assert refused.reason == "power: found 'x', expected a number"
    [refused] = hall.say("b/1/power", "1e9")
    assert refused.reason.startswith("output_w: found 1000000000.0, expected a number from")
    heard = hall.devices["box_1"]
    assert (heard.messages, heard.refused, heard.error) == (3, 2, refused.reason)
    assert hall.values() == {"output_v": 230}


def test_what_was_kept_is_no_value_but_tells_who_a_device_is(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    assert hall.say("b/1/power", "5", retained=True) == []
    assert hall.say("b/1/power", "x", retained=True) == []
    assert dict(hall.devices) == {}
    hall.say("b/1/name", "Garage", retained=True)
    assert hall.wait(2) == []
    assert (hall.devices["box_1"].title, hall.devices["box_1"].online) == ("Garage", None)


def test_a_map_can_use_what_was_kept(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX.replace("beat: false", "retained: use"))
    hall.say("b/1/status/reachable", "1", retained=True)
    assert hall.values() == {"reachable": True}


def test_nothing_is_carried_over_a_lost_connection(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    for _ in range(3):
        hall.wait(5)
        hall.say("b/1/power", "5")
        hall.say("b/1/volt", "230")
    hall.wait(0.25)
    hall.bridge.connected(hall.now)
    assert [reading.measured_s for reading in hall.wait(100)] == [1015.0]
    assert hall.devices["box_1"].online is False
    hall.say("b/1/volt", "231")
    assert hall.values() == {"output_v": 231}


def test_a_message_that_says_nothing_makes_no_device(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    for leaf, payload in (("other", "1"), ("power", ""), ("power", "nan"), ("power", "x")):
        hall.say(f"b/1/{leaf}", payload)
    assert dict(hall.devices) == {}


# ---------------------------------------------------------------------- groups

GROUPS = (
    HEAD
    + """\
devices:
  box:
    name: "box_{n}"
    kind: inverter
    silent: 2h
    gather: {quiet: 500ms, most: 3s}
    groups:
      data: {lasts: 1m, while: {reachable: true, last_update_s: {above: 0}}, keep: counters}
      short: {lasts: 10s}
    derive:
      mode:
        - {is: asleep, when: {reachable: false}}
        - {is: running, when: {output_w: {above: 5}}}
        - {is: standby}
    age: last_update_s
    most_kw: 5
topics:
  - topic: "{n}/status/{leaf}"
    device: box
    beat: false
    values: {reachable: reachable, update: last_update_s}
  - {topic: "{n}/short/{leaf}", device: box, group: short, values: {c: device_c}}
  - topic: "{n}/{leaf}"
    device: box
    group: data
    values:
      power: output_w
      total: yield_kwh
      day: yield_today_kwh
      hot: {field: alarms, list: too hot}
"""
)
NOON_S = 1_795_262_400


@pytest.fixture
def box(tmp_path: Path) -> Hall:
    """Give a device whose data has been heard and counts."""
    hall = Hall(tmp_path, GROUPS)
    burst(hall, power="100", total="50", day="2", hot="1", reachable="1", update=str(NOON_S))
    hall.wait(2)
    return hall


def burst(hall: Hall, **said: str) -> None:
    """Say several things at once."""
    for leaf, payload in said.items():
        part = "status/" if leaf in ("reachable", "update") else ""
        hall.say(f"b/1/{part}{leaf}", payload)


def test_values_count_while_their_conditions_hold_whatever_comes_first(box: Hall) -> None:
    assert box.readings[-1].values == {
        "output_w": 100, "yield_kwh": 50, "yield_today_kwh": 2, "alarms": ["too hot"],
        "reachable": True, "last_update_s": NOON_S, "mode": "running", "data_age_s": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "status", [{}, {"reachable": "1"}, {"update": "5"}, {"reachable": "1", "update": "0"}]
)
def test_values_do_not_count_before_their_conditions_hold(
    tmp_path: Path, status: dict[str, str]
) -> None:
    hall = Hall(tmp_path, GROUPS)
    burst(hall, power="0", total="0", **status)
    hall.wait(2)
    assert not [one for one in hall.readings if {"output_w", "yield_kwh"} & one.values.keys()]


def test_when_the_conditions_end_only_counters_stay(box: Hall) -> None:
    box.say("b/1/status/reachable", "0")
    values = dict(box.values())
    assert values.pop("data_age_s") > 0
    assert values == {
        "yield_kwh": 50, "yield_today_kwh": 2, "reachable": False, "last_update_s": NOON_S,
        "mode": "asleep",
    }  # fmt: skip


def test_when_a_condition_is_no_longer_said_only_counters_stay(box: Hall) -> None:
    box.say("b/1/status/reachable", "")
    values = dict(box.values())
    assert values.pop("data_age_s") > 0
    assert values == {
        "yield_kwh": 50, "yield_today_kwh": 2, "last_update_s": NOON_S, "mode": "standby",
    }  # fmt: skip


def test_what_ended_is_not_shown_again_before_it_comes_again(box: Hall) -> None:
    box.say("b/1/status/reachable", "0")
    box.wait(2)
    burst(box, reachable="1", total="50.001")
    values = box.values(2)
    assert "output_w" not in values
    assert values["yield_kwh"] == 50.001


def test_what_comes_with_the_end_of_the_conditions_does_not_count(box: Hall) -> None:
    burst(box, total="0", day="0", power="0", reachable="0")
    values = box.values(2)
    assert (values["yield_kwh"], values["yield_today_kwh"]) == (50, 2)
    burst(box, reachable="1", day="2.001", total="50.001")
    assert box.values(2)["yield_today_kwh"] == 2.001


def test_a_counter_that_was_kept_does_not_come_back_behind_a_newer_one(box: Hall) -> None:
    box.say("b/1/status/reachable", "0")
    box.wait(2)
    burst(box, reachable="1", total="50.002", power="7")
    assert box.values(2)["yield_kwh"] == 50.002
    box.say("b/1/total", "nan")
    assert "yield_kwh" not in box.values(2)


def test_a_counter_of_today_that_was_kept_ends_at_midnight(box: Hall) -> None:
    box.say("b/1/status/reachable", "0")
    box.wait(2)
    box.start_ms += 86_400_000
    values = box.values(2)
    assert "yield_today_kwh" not in values
    assert values["yield_kwh"] == 50


def test_a_value_that_does_not_come_again_is_left_out(box: Hall) -> None:
    for celsius in ("39", "39", "40"):
        box.wait(2)
        box.say("b/1/power", "7")
        box.say("b/1/short/c", celsius)
    assert box.values(2)["device_c"] == 40
    assert "device_c" not in box.values(10)
    box.wait(60)
    assert "output_w" not in box.values(1)


def test_flags_stand_in_a_list_while_they_are_up(box: Hall) -> None:
    box.say("b/1/hot", "0")
    assert box.values(2)["alarms"] == []


def test_a_spike_of_a_counter_is_refused(box: Hall) -> None:
    box.say("b/1/total", "99999")
    assert "yield_kwh" not in box.values(2)
    [refused] = box.say("b/1/power", "100")
    assert refused.topic == "b/1/total"
    assert refused.reason.startswith("yield_kwh: found 99999 kWh, 2 s after 50 kWh: more than 5 kW")
    assert refused.data == {"payload": "99999"}


def test_the_age_of_the_data_is_reckoned(box: Hall) -> None:
    box.say("b/1/status/update", str(NOON_S - 90))
    assert box.values(2)["data_age_s"] == 92.5
    box.say("b/1/status/update", str(NOON_S + 3600))
    assert "data_age_s" not in box.values(2)


BOTH = (
    HEAD
    + """\
devices:
  plug: {name: "plug_{n}", kind: relay}
topics:
  - topic: "{n}"
    device: plug
    payload: json
    values: {power: power_w}
    info: {name: title}
"""
)


def test_of_a_message_that_was_kept_only_who_it_is_counts(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOTH)
    hall.say("b/1", '{"power": 5, "name": "Pump"}', retained=True)
    assert hall.wait(2) == []
    assert hall.devices["plug_1"].title == "Pump"


WHOLE = (
    HEAD
    + """\
devices:
  meter: {name: "meter_{n}", kind: meter, silent: 1h}
topics:
  - {topic: "{n}/info", device: meter, payload: json, values: {volt: voltage_v}}
  - topic: "{n}"
    device: meter
    payload: json
    time: {at: ts, as: unix}
    group: ""
    empty: gone
    values: {power: power_w, current: current_a}
"""
)


def test_a_message_says_of_when_it_is(tmp_path: Path) -> None:
    hall = Hall(tmp_path, WHOLE)
    hall.say("b/1", f'{{"power": 1, "ts": {NOON_S - 30}}}')
    hall.say("b/1", '{"power": 2, "ts": 12}')
    assert [r.values.get("data_age_s") for r in hall.wait()] == [30.0, 30.0]


def test_a_device_that_is_gone_is_offline_without_values(tmp_path: Path) -> None:
    hall = Hall(tmp_path, WHOLE)
    hall.say("b/1", '{"power": 1}')
    hall.wait(1)
    hall.say("b/1", "")
    hall.wait(1)
    assert hall.devices["meter_1"].online is False
    hall.say("b/1/info", '{"volt": 230}')
    assert hall.values() == {"voltage_v": 230}


# ---------------------------------------------------------------------- several devices

VIA = (
    HEAD
    + """\
devices:
  dtu: {name: "{bridge}", kind: gateway, silent: 1m}
  box: {name: "box_{n}", kind: inverter, via: dtu, identity: {maker: Acme, serial: "{n}"}}
  strip: {name: "strip_{n}_{socket}", kind: relay, via: box}
topics:
  - {topic: status, online: {on: true, off: false}}
  - {topic: dtu/status, device: dtu, online: {on: true, off: false}}
  - topic: dtu/ip
    device: dtu
    beat: false
    values: {ip: ip}
    distinct: two of them speak
  - {topic: "{n}/set/{what}", device: box, command: it obeys again}
  - {topic: "{n}/{socket}/on", device: strip, values: {on: is_on}}
  - topic: "{n}/{leaf}"
    device: box
    values: {power: output_w, level: battery_w}
    info: {v: firmware}
keepalive:
  - {topic: "ask/{n}", first: "all", payload: "more", every: 30s}
hints:
  - {alive: dtu, missing: box, after: 3m, text: no box speaks}
"""
)


def test_a_device_is_offline_with_what_it_is_reached_through(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    hall.say("b/dtu/status", "on")
    hall.say("b/1/power", "5")
    hall.say("b/1/2/on", "1")
    hall.wait(1)
    assert [(one.name, one.via, one.online) for one in hall.devices.values()] == [
        ("hall", "", True),
        ("box_1", "hall", True),
        ("strip_1_2", "box_1", True),
    ]
    hall.say("b/dtu/status", "off")
    hall.wait(1)
    assert [one.online for one in hall.devices.values()] == [False, False, False]


def test_a_message_can_speak_of_all_devices(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    hall.say("b/1/power", "5")
    hall.say("b/status", "off", retained=True)
    hall.wait(1)
    assert hall.devices["box_1"].online is False
    hall.say("b/status", "on")
    hall.say("b/1/power", "5")
    hall.wait(1)
    assert hall.devices["box_1"].online is True


def test_what_is_known_of_a_device_is_told(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    hall.say("b/1/power", "5")
    hall.say("b/1/v", "1.2.3")
    identity = hall.devices["box_1"].identity
    assert (identity.maker, identity.serial, identity.firmware) == ("Acme", "1", "1.2.3")


def test_a_retained_command_is_told_with_what_clears_it(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    hall.say("b/1/set/a b", "1", retained=True)
    hall.say("b/1/set/off", "1")
    hall.wait(1)
    assert hall.bridge.hints == [
        "a command is retained on b/1/set/a b: it obeys again."
        " Clear it, as a user that may write there, with: mosquitto_pub -r -n -t 'b/1/set/a b'"
    ]
    hall.say("b/1/set/a b", "")
    hall.wait(1)
    assert (list(hall.bridge.hints), dict(hall.devices)) == ([], {})


def test_two_senders_that_take_turns_are_told(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    for ip in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        hall.say("b/dtu/ip", ip)
        hall.wait(5)
    assert list(hall.bridge.hints) == []
    hall.say("b/dtu/ip", "192.0.2.1")
    hall.wait(5)
    assert list(hall.bridge.hints) == ["two of them speak"]
    hall.wait(1900)
    assert list(hall.bridge.hints) == []


def test_an_address_that_changes_now_and_then_is_one_sender(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        for _ in range(70):
            hall.say("b/dtu/ip", ip)
            hall.say("b/1/power", "5")
            hall.wait(10)
    assert list(hall.bridge.hints) == []


def test_an_address_that_changes_often_but_never_back_is_one_sender(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    for number in range(1, 5):
        hall.say("b/dtu/ip", f"192.0.2.{number}")
        hall.wait(5)
    assert list(hall.bridge.hints) == []


def test_a_silence_is_told_as_long_as_it_lasts(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    for _ in range(40):
        hall.say("b/dtu/status", "on")
        hall.wait(5)
    assert list(hall.bridge.hints) == ["hall: no box speaks"]
    hall.say("b/1/power", "5")
    hall.wait(1)
    assert list(hall.bridge.hints) == []


def test_what_has_to_be_said_is_said_in_its_time(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA, known={"n": "7"})
    assert said(hall) == [("ask/7", b"all", False)]
    hall.say("b/1/other", "x", retained=True)
    assert said(hall) == [("ask/1", b"all", False)]
    hall.wait(30)
    assert said(hall) == [("ask/7", b"more", False), ("ask/1", b"more", False)]
    assert said(hall) == []
    hall.bridge.connected(hall.now)
    assert said(hall) == [("ask/7", b"all", False), ("ask/1", b"all", False)]


def said(hall: Hall) -> list[tuple[str, bytes, bool]]:
    return [(one.topic, one.payload, one.retain) for one in hall.bridge.speak(hall.now)]


def test_not_ever_more_is_said(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA.replace('captures: {n: "[0-9]"}\n', ""), known={"n": ["7", "8"]})
    for number in range(300):
        hall.say(f"b/x{number}/power", "1")
    hall.say("b/+/power", "1")
    topics = [topic for topic, _, _ in said(hall)]
    assert (len(topics), topics[:3]) == (100, ["ask/7", "ask/8", "ask/x0"])


# ---------------------------------------------------------------------- the owner's wishes

OWNED: dict[str, Any] = {
    "roof": {"id": "box_1", "every": 9.0},
    "shed": {"id": "2", "kind": "battery", "role": "battery", "invert": ["battery_w"]},
    "box_3": {"role": "pv"},
    "lamp": {"id": "4/1"},
}


def test_the_owner_names_his_devices(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA, devices=OWNED, invert=["output_w"])
    for number in "1234":
        hall.say(f"b/{number}/power", "5")
        hall.say(f"b/{number}/level", "-70")
    hall.say("b/4/1/on", "1")
    newest = {one.device: one.values for one in hall.wait(1)}
    assert newest == {
        "roof": {"output_w": -5, "battery_w": -70},
        "shed": {"battery_w": 70},
        "box_3": {"output_w": -5, "battery_w": -70},
        "box_4": {"output_w": -5, "battery_w": -70},
        "lamp": {"is_on": True},
    }
    heard = hall.devices
    assert (heard["roof"].every_s, heard["box_3"].every_s) == (9.0, 60.0)
    assert (heard["shed"].kind, heard["shed"].role, heard["box_3"].role) == (
        "battery",
        "battery",
        "pv",
    )


def test_only_what_the_owner_names_is_taken(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA, devices=OWNED, only_named=True)
    for number in "1234":
        hall.say(f"b/{number}/power", "5")
    hall.wait(1)
    assert list(hall.devices) == ["roof", "shed", "box_3"]
    assert list(hall.bridge.hints) == []


NAMES = """\
title: Own
devices: {plug: {name: "{name}", kind: relay}}
topics: [{topic: "{name}/power", device: plug, values: {power: power_w}}]
"""


def names_after(folder: Path, *order: str) -> tuple[set[str], list[str]]:
    """Let devices speak twice in this order; give the names of the last round, and the hints."""
    hall = Hall(folder, NAMES)
    for name in order:
        hall.say(f"{name}/power", "5")
        hall.wait(1)
    hall.readings.clear()
    for name in order:
        hall.say(f"{name}/power", "6")
        hall.wait(1)
    return {one.device for one in hall.readings}, list(hall.bridge.hints)


def test_two_that_would_be_called_the_same_have_other_names_whoever_speaks_first(
    tmp_path: Path,
) -> None:
    names, hints = names_after(tmp_path, "Plug 1", "plug-1", "fan")
    assert names == {"plug_1_5a84", "plug_1_21ff", "fan"}
    assert hints == [
        "two devices would be called 'plug_1': Plug 1 and plug-1. They are now plug_1_5a84 and"
        " plug_1_21ff; give them names of your own below devices: NAME: {id: 'plug-1'}"
    ]
    assert names_after(tmp_path, "fan", "plug-1", "Plug 1")[0] == names


def test_the_name_that_two_would_have_is_offline(tmp_path: Path) -> None:
    hall = Hall(tmp_path, NAMES)
    for name in ("Plug 1", "plug-1"):
        hall.say(f"{name}/power", "5")
        hall.wait(1)
    assert {name: one.online for name, one in hall.devices.items()} == {
        "plug_1": False,
        "plug_1_21ff": True,
    }


def test_two_names_for_one_device_are_refused(tmp_path: Path) -> None:
    told = "devices: a and b are both the device with the id 'plug'; take one out"
    with pytest.raises(ConfigError, match=told):
        Hall(tmp_path, NAMES, devices={"a": {"id": "plug"}, "b": {"id": "plug"}})
    with pytest.raises(ConfigError, match="plug and b are both the device"):
        Hall(tmp_path, NAMES, devices={"plug": {}, "b": {"id": "plug"}})


def test_a_device_of_the_owners_that_never_speaks_is_told(tmp_path: Path) -> None:
    hall = Hall(tmp_path, NAMES, devices={"pump": {"id": "plug-1"}, "fan": {}})
    hall.say("plug-1/power", "5")
    hall.wait(890)
    assert list(hall.bridge.hints) == []
    hall.wait(20)
    assert list(hall.bridge.hints) == [
        "nothing was heard of fan (id 'fan'). Does it speak, and is that its id?"
    ]
    hall.say("fan/power", "5")
    hall.wait(1)
    assert list(hall.bridge.hints) == []


def test_what_a_named_device_is_reached_through_is_heard_but_not_shown(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA, devices={"roof": {"id": "1"}}, only_named=True)
    hall.say("b/dtu/status", "on")
    hall.say("b/dtu/ip", "192.0.2.1")
    hall.say("b/1/power", "5")
    hall.wait(1)
    assert [(one.name, one.via, one.online) for one in hall.devices.values()] == [
        ("roof", "", True)
    ]
    assert [one.device for one in hall.readings] == ["roof"]
    hall.say("b/dtu/status", "off")
    hall.wait(1)
    assert hall.devices["roof"].online is False


@pytest.mark.parametrize("wanted", ["box_1", "1"])
def test_a_kind_with_which_no_value_can_count_is_refused(tmp_path: Path, wanted: str) -> None:
    told = (
        "^devices.roof.kind: a site has no reachable and no last_update_s, on which its values"
        " hang; choose another kind, such as inverter$"
    )
    with pytest.raises(ConfigError, match=told):
        Hall(tmp_path, GROUPS, devices={"roof": {"id": wanted, "kind": "site"}})
    Hall(tmp_path, GROUPS, devices={"roof": {"id": wanted, "kind": "inverter"}})
    Hall(tmp_path, GROUPS, devices={"roof": {"id": "another", "kind": "site"}})


def test_the_owner_can_tell_two_apart_that_would_be_called_the_same(tmp_path: Path) -> None:
    hall = Hall(tmp_path, NAMES, devices={"other": {"id": "plug-1"}})
    for name in ("Plug 1", "plug-1"):
        hall.say(f"{name}/power", "5")
    hall.wait(1)
    assert (list(hall.devices), list(hall.bridge.hints)) == (["plug_1", "other"], [])


def test_a_name_that_the_owner_has_given_is_not_given_to_another(tmp_path: Path) -> None:
    hall = Hall(tmp_path, NAMES, devices={"plug_1": {"id": "kitchen"}})
    hall.say("plug_1/power", "5")
    hall.say("kitchen/power", "6")
    hall.wait(1)
    assert [one.values for one in hall.readings] == [{"power_w": 6}]
    assert "two devices would be called 'plug_1'" in hall.bridge.hints[0]


def test_a_thousand_devices_are_enough(tmp_path: Path) -> None:
    hall = Hall(tmp_path, NAMES)
    for number in range(1010):
        hall.say(f"plug{number}/power", "5")
    hall.wait(1)
    assert len(hall.devices) == 1000
    [hint] = hall.bridge.hints
    assert hint.startswith("more than 1000 devices speak here; the others are left alone")
