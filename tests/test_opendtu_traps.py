"""The traps in what an OpenDTU says, one test each: messages in, readings out, a clock of ours.

The order of the messages is that of MqttHandleInverter.cpp and MqttHandleInverterTotal.cpp.
"""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridges.mqtt.simulator import Simulator
from tests.helpers import BrokerProcess, wait_until
from tests.mqtt_place import Place, Said
from tests.processes import SITE, Ear, Program

SERIAL = "114172608275"
INVERTER = f"inverter_{SERIAL}"
POWERS = {"output_w", "output_v", "output_a", "output_hz", "pv_w", "pv_01_w", "pv_02_w"}


def dtu(uptime_s: int = 86412) -> list[Said]:
    return [
        ("dtu/uptime", str(uptime_s)),
        ("dtu/ip", "192.0.2.23"),
        ("dtu/hostname", "OpenDTU-07F614"),
        ("dtu/heap/size", "327680"),
        ("dtu/heap/free", "142004"),
        ("dtu/heap/minfree", "110508"),
        ("dtu/heap/maxalloc", "65524"),
        ("dtu/rssi", "-74"),
        ("dtu/bssid", "02:00:5E:10:00:01"),
        ("dtu/temperature", "43.30"),
    ]


def totals(
    *,
    power: str,
    total: str,
    day: str,
    valid: str,
    dc: str = "400.0",
    uptime_s: int = 86412,
) -> list[Said]:
    """Give the totals, and before them what the DTU says of itself."""
    return [
        *dtu(uptime_s),
        ("ac/power", power),
        ("ac/yieldtotal", total),
        ("ac/yieldday", day),
        ("ac/is_valid", valid),
        ("dc/power", dc),
        ("dc/irradiation", "47.600"),
        ("dc/is_valid", valid),
    ]


def status(*, reachable: str, producing: str, last_update: int, serial: str = SERIAL) -> list[Said]:
    return [
        (f"{serial}/name", "Garage"),
        (f"{serial}/radio/tx_request", "4711"),
        (f"{serial}/radio/rx_success", "4598"),
        (f"{serial}/radio/rssi", "-80"),
        (f"{serial}/device/bootloaderversion", "104"),
        (f"{serial}/device/fwbuildversion", "10010"),
        (f"{serial}/device/hwversion", "01.10"),
        (f"{serial}/status/limit_relative", "100.00"),
        (f"{serial}/status/limit_absolute", "600.00"),
        (f"{serial}/status/reachable", reachable),
        (f"{serial}/status/producing", producing),
        (f"{serial}/status/last_update", str(last_update)),
    ]


def channels(
    power: str = "381.2", total: str = "502.345", day: str = "1217", serial: str = SERIAL
) -> list[Said]:
    return [
        (f"{serial}/0/voltage", "236.4"),
        (f"{serial}/0/current", "1.61"),
        (f"{serial}/0/power", power),
        (f"{serial}/0/frequency", "50.01"),
        (f"{serial}/0/powerfactor", "1.001"),
        (f"{serial}/0/reactivepower", "-2.5"),
        (f"{serial}/1/name", "22.5"),
        (f"{serial}/1/voltage", "33.1"),
        (f"{serial}/1/power", "200.2"),
        (f"{serial}/1/yieldday", "609"),
        (f"{serial}/1/yieldtotal", "251.201"),
        (f"{serial}/1/irradiation", "47.700"),
        (f"{serial}/2/name", "West"),
        (f"{serial}/2/power", "199.8"),
        (f"{serial}/0/powerdc", "400.0"),
        (f"{serial}/0/yieldday", day),
        (f"{serial}/0/yieldtotal", total),
        (f"{serial}/0/temperature", "31.2"),
        (f"{serial}/0/efficiency", "95.300"),
    ]


def cycle(place: Place, *, serial: str = SERIAL, **values: str) -> None:
    """Let the DTU say all that it says every 5 s in the day, and 5 s pass."""
    place.hear(*dtu())
    place.hear(*status(reachable="1", producing="1", last_update=place.unix_s, serial=serial))
    place.hear(*channels(serial=serial, **values))
    place.wait(5)


def a_day_of(place: Place) -> None:
    """Let it be day for a while."""
    place.hear(("dtu/status", "online"))
    for _ in range(3):
        cycle(place)


def asleep(place: Place, last_update: int) -> None:
    """Let the inverter be out of reach, and 5 s pass; `producing` stays what it was."""
    place.hear(*dtu())
    place.hear(*status(reachable="0", producing="1", last_update=last_update))
    place.wait(5)


# ---------------------------------------------------------------------- one cycle, one sample


def test_a_whole_cycle_is_one_sample_with_all_values() -> None:
    place = Place()
    place.hear(("dtu/status", "online"))
    place.hear(*status(reachable="1", producing="1", last_update=place.unix_s - 2))
    place.hear(*channels())
    place.wait(4)
    readings = [reading for reading in place.readings if reading.device == INVERTER]
    assert len(readings) == 1
    assert readings[0].values == {
        "mode": "running", "reachable": True, "producing": True,
        "last_update_s": 1_795_255_198, "data_age_s": 2.5,
        "power_limit_percent": 100.0, "power_limit_w": 600.0,
        "radio_sent_count": 4711, "radio_received_count": 4598, "signal_dbm": -80,
        "bootloader_version": "104", "hardware_version": "01.10",
        "output_v": 236.4, "output_a": 1.61, "output_w": 381.2, "output_hz": 50.01,
        "power_factor": 1.001, "output_var": -2.5, "pv_w": 400.0, "yield_today_kwh": 1.217,
        "yield_kwh": 502.345, "device_c": 31.2, "efficiency_percent": 95.3,
        "pv_01_name": "22.5", "pv_01_v": 33.1, "pv_01_w": 200.2, "pv_01_yield_today_kwh": 0.609,
        "pv_01_yield_kwh": 251.201, "pv_01_irradiation_percent": 47.7,
        "pv_02_name": "West", "pv_02_w": 199.8,
    }  # fmt: skip


def test_who_it_is_is_learned_from_its_topics() -> None:
    place = Place()
    a_day_of(place)
    heard = place.listener.devices[INVERTER]
    identity = heard.identity
    assert (heard.kind, heard.title, heard.via, heard.online) == (
        "inverter",
        "Garage",
        "roof",
        True,
    )
    assert (identity.maker, identity.serial, identity.firmware) == ("Hoymiles", SERIAL, "10010")
    gateway = place.listener.devices["roof"]
    assert (gateway.kind, gateway.identity.maker, gateway.online) == ("gateway", "OpenDTU", True)


def test_the_gateway_has_the_totals_and_what_the_dtu_says_of_itself() -> None:
    place = Place()
    place.hear(("dtu/status", "online"))
    place.hear(*totals(power="381.2", total="502.345", day="1217", valid="1"))
    place.wait(4)
    assert place.newest("roof") == {
        "uptime_s": 86412, "ip": "192.0.2.23", "hostname": "OpenDTU-07F614", "cpu_c": 43.3,
        "heap_size_bytes": 327680, "heap_free_bytes": 142004, "heap_min_free_bytes": 110508,
        "heap_largest_bytes": 65524, "signal_dbm": -74, "bssid": "02:00:5E:10:00:01",
        "output_w": 381.2, "yield_kwh": 502.345, "yield_today_kwh": 1.217, "valid": True,
        "pv_w": 400.0, "irradiation_percent": 47.6,
    }  # fmt: skip


# ---------------------------------------------------------------------- zeros


def test_zeros_before_the_first_answer_after_a_boot_are_no_values() -> None:
    place = Place()
    for _ in range(3):
        # It has asked nobody yet, and calls everything reachable.
        place.hear(*status(reachable="1", producing="0", last_update=0))
        place.hear(*channels(power="0.0", total="0.000", day="0"))
        place.wait(5)
    assert not POWERS & place.newest(INVERTER).keys()
    assert place.seen(INVERTER, "yield_kwh") == []
    assert place.seen(INVERTER, "yield_today_kwh") == []


def test_zeros_of_the_totals_after_a_boot_are_no_values() -> None:
    place = Place()
    # With and without the time: in the second case for hours.
    for uptime_s in (8, 13, 18, 7200, 7205):
        zeros = totals(power="0.0", total="0.000", day="0", valid="1", dc="0.0", uptime_s=uptime_s)
        place.hear(*zeros)
        place.wait(5)
    for field in ("output_w", "pv_w", "yield_kwh", "yield_today_kwh"):
        assert place.seen("roof", field) == []


def test_a_boot_in_the_day_makes_no_counter_fall() -> None:
    place = Place()
    for _ in range(3):
        place.hear(*totals(power="381.2", total="502.345", day="1217", valid="1"))
        place.wait(5)
    place.hear(("dtu/status", "offline"))
    place.wait(20)
    place.hear(("dtu/status", "online"))
    # Nothing is known, then one inverter of two, then both.
    for uptime_s, total, day in (
        (8, "0.000", "0"),
        (13, "250.000", "600"),
        (18, "502.350", "1222"),
    ):
        place.hear(*totals(power="0.0", total=total, day=day, valid="1", uptime_s=uptime_s))
        place.wait(5)
    place.hear(*totals(power="390.0", total="502.350", day="1222", valid="1", uptime_s=303))
    place.wait(5)
    assert set(place.seen("roof", "yield_kwh")) == {502.345, 502.35}
    assert set(place.seen("roof", "yield_today_kwh")) == {1.217, 1.222}
    assert 0.0 not in place.seen("roof", "output_w")
    assert place.newest("roof")["yield_today_kwh"] == 1.222


def test_zeros_at_night_are_no_values() -> None:
    place = Place()
    a_day_of(place)
    last = place.unix_s
    # With "zero runtime data" the DTU sends zeros once, after it has said that nobody answers.
    place.hear(*dtu())
    place.hear(*status(reachable="0", producing="0", last_update=last))
    place.hear(*channels(power="0.0", total="0.000", day="0"))
    place.hear(*totals(power="0.0", total="0.000", day="0", valid="0", dc="0.0"))
    place.wait(60)
    for _ in range(20):
        asleep(place, last)
    assert not POWERS & place.newest(INVERTER).keys()
    assert set(place.seen(INVERTER, "yield_kwh")) == {502.345}
    assert set(place.seen(INVERTER, "yield_today_kwh")) == {1.217}
    assert set(place.seen("roof", "yield_kwh")) <= {502.345}
    assert 0.0 not in place.seen("roof", "output_w")


def test_totals_count_only_while_the_dtu_calls_them_valid() -> None:
    place = Place()
    place.hear(*totals(power="381.2", total="502.345", day="2954", valid="1"))
    place.wait(5)
    place.hear(*totals(power="0.0", total="250.100", day="1400", valid="0", dc="1098.3"))
    place.wait(5)
    newest = place.newest("roof")
    assert newest["valid"] is False
    assert not {"output_w", "pv_w", "irradiation_percent"} & newest.keys()
    assert (newest["yield_kwh"], newest["yield_today_kwh"]) == (502.345, 2.954)
    place.hear(*totals(power="382.0", total="502.346", day="2955", valid="1"))
    place.wait(5)
    assert place.newest("roof")["output_w"] == 382.0
    assert place.newest("roof")["yield_kwh"] == 502.346


def test_a_zero_that_an_inverter_itself_tells_is_passed_on() -> None:
    place = Place()
    for power in ("381.2", "0.0", "383.9"):
        cycle(place, power=power)
    assert place.seen(INVERTER, "output_w") == [381.2, 0.0, 383.9]


@pytest.mark.parametrize("total", ["1804.100", "250.100", "9999999.000"])
def test_a_total_that_is_not_believed_takes_no_other_total_with_it(total: str) -> None:
    place = Place()
    for each in ("502.345", total, total):
        place.hear(*totals(power="400.0", total=each, day="1218", valid="1"))
        place.wait(5)
    newest = place.newest("roof")
    assert "yield_kwh" not in newest
    shown = (newest["output_w"], newest["pv_w"], newest["yield_today_kwh"])
    assert shown == (400.0, 400.0, 1.218)


# ---------------------------------------------------------------------- counters


def test_a_lifetime_counter_that_drops_and_comes_back_never_shows_the_drop() -> None:
    place = Place()
    cycle(place, total="502.345")
    cycle(place, total="0.000")
    cycle(place, total="502.347")
    assert set(place.seen(INVERTER, "yield_kwh")) == {502.345, 502.347}
    assert place.newest(INVERTER)["yield_kwh"] == 502.347
    assert place.newest(INVERTER)["output_w"] == 381.2


def test_a_spike_of_a_counter_is_refused_and_reported_and_the_next_good_value_is_taken() -> None:
    place = Place()
    cycle(place, total="502.345")
    place.hear(*status(reachable="1", producing="1", last_update=place.unix_s))
    place.hear(*channels(total="2113405.250"))
    place.wait(5)
    cycle(place, total="502.347")
    assert [each.topic for each in place.refused] == [f"solar/{SERIAL}/0/yieldtotal"]
    assert place.refused[0].reason == (
        "yield_kwh: found 2113405.25 kWh, 5 s after 502.345 kWh: more than 5 kW can give; most_kw"
        " of the map says so"
    )
    assert set(place.seen(INVERTER, "yield_kwh")) == {502.345, 502.347}
    assert place.newest(INVERTER)["yield_kwh"] == 502.347


def test_a_spike_is_refused_even_where_it_is_the_first_value() -> None:
    place = Place()
    cycle(place, total="2113405.250")
    cycle(place, total="502.347")
    cycle(place, total="502.348")
    assert place.seen(INVERTER, "yield_kwh") == [502.347, 502.348]
    assert [each.reason for each in place.refused] == [
        "yield_kwh: found 2113405.25 kWh: more than 5 kW give in 30 years; most_kw of the map"
        " says so"
    ]


def test_a_lifetime_counter_that_stands_at_zero_is_never_believed() -> None:
    place = Place()
    cycle(place, total="502.345")
    for _ in range(125):
        cycle(place, total="0.000")
    cycle(place, total="502.346")
    assert set(place.seen(INVERTER, "yield_kwh")) == {502.345, 502.346}
    assert place.newest(INVERTER)["yield_kwh"] == 502.346


def test_a_wrong_first_value_is_disproved_in_some_messages() -> None:
    place = Place()
    cycle(place, total="21134.05")
    for n in range(4):
        cycle(place, total=f"502.34{n}")
    assert place.seen(INVERTER, "yield_kwh") == [21134.05, 502.343]


def test_a_first_value_of_today_that_the_power_cannot_give_is_refused() -> None:
    place = Place()
    for day in ("130000", "1217"):
        cycle(place, day=day)
    assert place.seen(INVERTER, "yield_today_kwh") == [1.217]
    assert place.refused[0].reason == (
        "yield_today_kwh: found 130 kWh: more than 5 kW give since midnight; most_kw of the map"
        " says so"
    )


@pytest.mark.parametrize(("hours", "kwh", "shown"), [(14, 60, False), (14, 1, True), (3, 4, True)])
def test_a_time_out_of_reach_allows_no_more_than_an_hour_of_full_power(
    hours: int, kwh: int, *, shown: bool
) -> None:
    place = Place()
    cycle(place, total="502.345")
    last = place.unix_s
    for _ in range(hours * 60):
        place.hear(*dtu())
        place.hear(*status(reachable="0", producing="1", last_update=last))
        place.wait(60, step_s=30)
    cycle(place, total=f"{502 + kwh}.345")
    assert (502.345 + kwh in place.seen(INVERTER, "yield_kwh")) is shown
    cycle(place, total="502.346")
    assert (502.346 in place.seen(INVERTER, "yield_kwh")) is not shown


def test_a_night_is_no_time_to_rise_also_when_the_connection_was_lost_in_it() -> None:
    place = Place()
    cycle(place, total="502.345")
    last = place.unix_s
    for minute in range(12 * 60):
        if minute == 6 * 60:
            place.connect()
        place.hear(*dtu())
        place.hear(*status(reachable="0", producing="1", last_update=last))
        place.wait(60, step_s=30)
    cycle(place, total="522.345")
    assert place.seen(INVERTER, "yield_kwh")[-1] == 502.345


def test_what_was_made_while_nobody_listened_counts() -> None:
    place = Place()
    cycle(place, total="502.345")
    place.hear(("dtu/status", "offline"))
    place.wait(10 * 3600, step_s=60)
    place.connect()
    place.hear(("dtu/status", "online"))
    cycle(place, total="542.345")
    assert place.newest(INVERTER)["yield_kwh"] == 542.345
    asleep(place, place.unix_s)
    place.connect()
    place.wait(10 * 3600, step_s=60)
    place.connect()
    cycle(place, total="582.345")
    assert place.newest(INVERTER)["yield_kwh"] == 582.345


def test_totals_that_jump_because_an_inverter_was_added_are_taken_in_the_end() -> None:
    place = Place()
    place.hear(*totals(power="381.2", total="502.345", day="1217", valid="1"))
    place.wait(5)
    for n in range(5):
        place.hear(*totals(power="761.0", total=f"1804.10{n}", day="2400", valid="1"))
        place.wait(30)
    assert place.newest("roof")["yield_kwh"] == 1804.104


def test_today_s_counter_falls_at_the_device_s_midnight() -> None:
    place = Place()
    cycle(place, day="1217")
    cycle(place, day="0")
    cycle(place, day="0")
    cycle(place, day="3")
    assert place.seen(INVERTER, "yield_today_kwh") == [1.217, 0.0, 0.003]


def test_today_s_counter_that_is_zero_by_an_error_is_back_with_the_next_good_value() -> None:
    place = Place()
    for day in ("1217", "0", "1217", "1218", "0", "0", "0", "1218", "1219"):
        cycle(place, day=day)
    seen = [1.217, 1.217, 1.218, 0.0, 0.0, 1.218, 1.219]
    assert place.seen(INVERTER, "yield_today_kwh") == seen
    assert place.refused == []


def test_today_s_counter_may_begin_anew_when_the_inverter_starts() -> None:
    place = Place()
    cycle(place, day="1217")
    last = place.unix_s
    for _ in range(200):
        asleep(place, last)
    for _ in range(2):
        cycle(place, day="1", total="502.346")
    assert place.newest(INVERTER)["yield_today_kwh"] == 0.001
    assert place.newest(INVERTER)["yield_kwh"] == 502.346


# ---------------------------------------------------------------------- what is old


def test_what_the_broker_kept_is_never_shown_as_fresh() -> None:
    place = Place()
    old = place.unix_s - 9 * 86400
    place.hear(("dtu/status", "online"), retained=True)
    place.hear(*status(reachable="1", producing="1", last_update=old), retained=True)
    place.hear(*channels(), retained=True)
    place.hear(*totals(power="381.2", total="1.0", day="1217", valid="1"), retained=True)
    place.wait(30)
    values: set[str] = set().union(*(reading.values for reading in place.readings))
    assert not values - {"mode"}
    # Who was there is known, and what comes live is taken.
    assert place.listener.devices[INVERTER].title == "Garage"
    cycle(place)
    assert place.newest(INVERTER)["output_w"] == 381.2


def test_live_messages_of_a_dtu_that_retains_all_it_says_are_fresh() -> None:
    place = Place()
    # Told apart by the broker, not by the flag that the DTU sets.
    told = {each.filter: each.as_published for each in place.listener.subscriptions}
    assert told == {"solar/+/+/+": False, "solar/+/+": False, "solar/+/cmd/+": True}


def test_nothing_is_carried_over_a_lost_connection() -> None:
    place = Place()
    a_day_of(place)
    place.connect()
    before = len(place.readings)
    place.hear(*channels(), retained=True)
    place.wait(30)
    later = set().union(*(reading.values for reading in place.readings[before:]))
    assert not POWERS & later


# ---------------------------------------------------------------------- night, and away


def test_an_inverter_sleeps_at_night_and_keeps_its_counters() -> None:
    place = Place()
    a_day_of(place)
    last = place.unix_s
    for _ in range(24):
        asleep(place, last)
    newest = place.newest(INVERTER)
    assert newest["mode"] == "asleep"
    assert newest["reachable"] is False
    assert not POWERS & newest.keys()
    assert "producing" not in newest  # the DTU goes on saying 1
    assert (newest["yield_kwh"], newest["yield_today_kwh"]) == (502.345, 1.217)
    assert place.listener.devices[INVERTER].online is True


def test_today_s_counter_of_a_sleeping_inverter_ends_at_midnight() -> None:
    place = Place()
    a_day_of(place)
    last = place.unix_s
    for _ in range(200):
        asleep(place, last)
    assert place.newest(INVERTER)["yield_today_kwh"] == 1.217
    place.start_ms += 86_400_000  # the same hour of the next day
    asleep(place, last)
    newest = place.newest(INVERTER)
    assert "yield_today_kwh" not in newest
    assert newest["yield_kwh"] == 502.345


def test_when_the_dtu_is_gone_its_inverters_are_offline() -> None:
    place = Place()
    a_day_of(place)
    place.hear(("dtu/status", "offline"))
    place.wait(1)
    assert {name: each.online for name, each in place.listener.devices.items()} == {
        "roof": False,
        INVERTER: False,
    }
    place.hear(("dtu/status", "online"))
    cycle(place)
    assert place.listener.devices[INVERTER].online is True


def test_a_dtu_whose_will_is_missing_is_offline_after_a_silence() -> None:
    place = Place()
    a_day_of(place)
    place.wait(130)
    assert place.listener.devices["roof"].online is False
    assert place.listener.devices[INVERTER].online is False


# ---------------------------------------------------------------------- several, and wrong ones


def test_two_dtus_below_one_base_are_told() -> None:
    place = Place()
    for _ in range(3):
        for ip, host in (("192.0.2.23", "OpenDTU-07F614"), ("192.0.2.24", "OpenDTU-1A2B3C")):
            place.hear(("dtu/ip", ip), ("dtu/hostname", host))
            place.wait(2.5)
    hints = [hint for hint in place.listener.hints if "two DTUs" in hint]
    assert hints
    assert "Base Topic" in hints[0]


def test_one_dtu_that_gets_a_new_address_is_no_second_dtu() -> None:
    place = Place()
    for ip in ("192.0.2.23", "192.0.2.23", "192.0.2.77", "192.0.2.77"):
        place.hear(("dtu/ip", ip))
        place.wait(5)
    assert list(place.listener.hints) == []


def test_two_dtus_with_bases_of_their_own_are_two_bridges() -> None:
    one, two = Place(name="house"), Place(name="barn", base="barn")
    one.hear(*dtu())
    one.hear(*channels(), base="barn/")
    two.hear(*dtu(), base="barn/")
    two.hear(*channels())
    one.wait(5)
    two.wait(5)
    assert (list(one.listener.devices), list(two.listener.devices)) == (["house"], ["barn"])


def test_a_name_of_a_string_is_text_even_where_it_looks_like_a_number() -> None:
    place = Place()
    cycle(place)
    assert place.refused == []
    assert place.newest(INVERTER)["pv_01_name"] == "22.5"


def test_a_retained_command_is_reported_with_what_clears_it() -> None:
    place = Place()
    place.hear((f"{SERIAL}/cmd/limit_persistent_relative", "50"), retained=True)
    place.wait(1)
    hints = [hint for hint in place.listener.hints if "cmd" in hint]
    assert len(hints) == 1
    assert "obeys" in hints[0]
    assert f"mosquitto_pub -r -n -t solar/{SERIAL}/cmd/limit_persistent_relative" in hints[0]
    # Once it is cleared the hint goes.
    place.hear((f"{SERIAL}/cmd/limit_persistent_relative", ""))
    place.wait(1)
    assert [hint for hint in place.listener.hints if "cmd" in hint] == []


def test_a_command_that_passes_by_is_no_value_and_no_fault() -> None:
    place = Place()
    place.hear((f"{SERIAL}/cmd/limit_nonpersistent_absolute", "300"))
    place.wait(5)
    assert (place.readings, place.refused, list(place.listener.hints)) == ([], [], [])


def test_a_dtu_that_never_speaks_of_an_inverter_may_not_know_the_time() -> None:
    place = Place()
    for turn in range(40):
        place.hear(*dtu(uptime_s=5 * turn))
        place.wait(5)
    assert any("time server" in hint for hint in place.listener.hints)
    cycle(place)
    place.wait(5)
    assert list(place.listener.hints) == []


def test_a_dtu_that_asks_none_of_its_inverters_may_not_know_the_time_either() -> None:
    place = lived("no_time", 4)
    assert len(place.listener.devices) == 3  # it names them, and calls them reachable
    [hint] = place.listener.hints
    assert hint.startswith("roof: the DTU runs")
    assert "time server" in hint
    assert list(lived("night", 4).listener.hints) == []
    assert list(lived("boot", 4).listener.hints) == []


def test_an_inverter_that_is_added_appears_by_itself() -> None:
    place = Place()
    a_day_of(place)
    cycle(place, serial="1161a0b1c2d3")
    assert list(place.listener.devices) == ["roof", INVERTER, "inverter_1161a0b1c2d3"]
    assert place.newest("inverter_1161a0b1c2d3")["output_w"] == 381.2


def test_what_is_of_a_later_version_is_passed_over() -> None:
    place = Place()
    said: list[Any] = [(f"{SERIAL}/9/power", "1"), (f"{SERIAL}/0/new", "x"), ("new/thing", "1")]
    assert place.hear(*said) == []


# ---------------------------------------------------------------------- whole stretches of life


def lived(variant: str, minutes: float, *, step_s: float = 5.0) -> Place:
    """Let a simulated OpenDTU of ours live for a while, and hear all that it says."""
    place = Place()
    dtu = Simulator(variant, clock=lambda: place.now.ms / 1000)
    for said in dtu.connected():
        place.hear((said.topic, said.payload.decode()), base="")
    for _ in range(round(minutes * 60 / step_s)):
        for said in dtu.due():
            place.hear((said.topic, said.payload.decode()), base="")
        place.wait(step_s, step_s=step_s / 4)
    return place


def rises(values: list[float]) -> bool:
    return all(before <= after for before, after in pairwise(values))


@pytest.mark.parametrize("variant", ["day", "boot", "trouble", "full", "ethernet"])
def test_no_counter_ever_falls_or_leaps_in_a_life_with_faults(variant: str) -> None:
    place = lived(variant, 25)
    assert len(place.listener.devices) >= 2
    for device in place.listener.devices:
        for field in ("yield_kwh", "yield_today_kwh", "pv_01_yield_kwh"):
            seen = place.seen(device, field)
            assert seen or (device == "roof" and field == "pv_01_yield_kwh")
            assert rises(seen), (device, field)
            assert not seen or seen[-1] - seen[0] < 8, (device, field)
            assert 0.0 not in seen, (device, field)


def test_after_a_boot_all_totals_come_at_once_and_whole() -> None:
    place = lived("boot", 8)
    first = next(r.values for r in place.readings if r.device == "roof" and "pv_w" in r.values)
    inverters = [name for name in place.listener.devices if name != "roof"]
    assert len(inverters) == 2
    known = [place.newest(name) for name in inverters]
    assert first["yield_kwh"] == pytest.approx(sum(each["yield_kwh"] for each in known), abs=0.5)


def test_a_night_of_a_simulated_dtu_is_asleep_and_online() -> None:
    place = lived("night", 10)
    for name, heard in place.listener.devices.items():
        assert heard.online is True
        if name != "roof":
            assert place.newest(name)["mode"] == "asleep"
            assert place.seen(name, "output_w") == []


# ---------------------------------------------------------------------- at a real broker

CONFIG = """\
site: {site}
clock: trust
broker: {{url: "mqtt://127.0.0.1:{port}"}}
bridges:
  roof: {{type: mqtt, map: opendtu}}
  barn: {{type: mqtt, map: opendtu, base: barn}}
"""


def all_of(unix_s: int) -> list[Said]:
    said = status(reachable="1", producing="1", last_update=unix_s)
    return [("dtu/status", "online"), *dtu(), *said, *channels()]


@pytest.mark.broker
def test_what_a_dtu_retains_while_it_is_heard_is_fresh_and_afterwards_old(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    (tmp_path / "heliobus.yaml").write_text(CONFIG.format(site=SITE, port=mosquitto.port))
    with Ear(mosquitto.port) as ear:
        with Program(tmp_path, "run", "roof") as roof:
            hears(ear, "roof")
            speak(ear, "solar", 1_795_255_198)
            (state,) = wait_until(lambda: ear.heard(f"/{INVERTER}/state"), "its state")
            assert json.loads(state.payload)["output_w"] == 381.2
            assert roof.stop() == 0
        since_s = time.monotonic()
        with Program(tmp_path, "run", "roof"):
            # All that is retained is heard before this, which is said live.
            hears(ear, "roof", since_s)
            ear.client.publish("solar/dtu/uptime", "5")
            wait_until(lambda: ear.heard("/roof/state", since_s), "the state of the DTU")
            live = [each for each in ear.heard(f"/{INVERTER}/state", since_s) if not each.retain]
            assert live == []


@pytest.mark.broker
def test_the_second_bridge_that_hears_of_an_inverter_leaves_it_alone(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    (tmp_path / "heliobus.yaml").write_text(CONFIG.format(site=SITE, port=mosquitto.port))
    with (
        Ear(mosquitto.port) as ear,
        Program(tmp_path, "run", "roof"),
        Program(tmp_path, "run", "barn") as barn,
    ):
        hears(ear, "roof")
        hears(ear, "barn")
        speak(ear, "solar", 1_795_255_198)
        wait_until(lambda: ear.heard(f"/{INVERTER}/state"), "the state of the first")
        speak(ear, "barn", 1_795_255_198)
        barn.says(INVERTER, "roof")
        wait_until(lambda: ear.heard("/barn/state"), "the state of the second DTU")
        bridges = {json.loads(each.payload)["bridge"] for each in ear.heard(f"/{INVERTER}/state")}
    assert bridges == {"roof"}


def speak(ear: Ear, base: str, unix_s: int) -> None:
    for topic, payload in all_of(unix_s):
        ear.client.publish(f"{base}/{topic}", payload, qos=0, retain=True)


def hears(ear: Ear, name: str, since_s: float = 0.0) -> None:
    """Wait for the status that a bridge says after it has subscribed."""

    def online() -> bool:
        heard = ear.heard(f"/bus/{name}/status", since_s)
        return any(b'"online"' in each.payload for each in heard if not each.retain)

    wait_until(online, f"the status of {name}", 15)
