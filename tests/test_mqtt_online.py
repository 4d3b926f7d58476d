"""Devices that go and come: nothing is shown of who is not there, and nothing is lost before."""

from pathlib import Path

from tests.mqtt_engine import Hall
from tests.mqtt_place import Place
from tests.test_mqtt_gather import BOX, NOON_S, VIA, WHOLE
from tests.test_opendtu_traps import INVERTER, a_day_of, channels, cycle, dtu, status


def online(place: Place) -> dict[str, bool | None]:
    """Say who is there."""
    return {name: one.online for name, one in place.listener.devices.items()}


def test_what_was_under_way_when_an_opendtu_went_makes_no_reading() -> None:
    place = Place()
    a_day_of(place)
    before = len(place.readings)
    place.hear(("dtu/status", "offline"))
    place.hear(*dtu())
    place.wait(0.5)
    place.hear(*status(reachable="1", producing="1", last_update=place.unix_s), *channels())
    place.wait(60)
    assert place.readings[before:] == []
    assert online(place) == {"roof": False, INVERTER: False}
    place.hear(("dtu/status", "online"))
    place.hear(*dtu(), (f"{INVERTER[9:]}/status/reachable", "1"))
    place.wait(5)
    assert "output_w" not in place.newest(INVERTER)
    cycle(place)
    assert place.newest(INVERTER)["output_w"] == 381.2


def test_what_comes_through_a_device_that_is_gone_makes_no_reading(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    hall.say("b/dtu/status", "on")
    hall.say("b/1/power", "5")
    hall.wait(1)
    hall.say("b/dtu/status", "off")
    hall.wait(1)
    hall.say("b/1/power", "6")
    assert hall.wait(5) == []
    hall.say("b/dtu/status", "on")
    hall.say("b/1/power", "7")
    assert [r.values for r in hall.wait(1) if r.device == "box_1"] == [{"output_w": 7}]


def test_a_device_that_speaks_again_after_a_silence_gives_its_first_value(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX.replace("    gather: {quiet: 500ms, most: 3s}\n", ""), silent=20.0)
    for power in ("5", "6"):
        hall.say("b/1/power", power)
        assert [r.values for r in hall.wait(1)] == [{"output_w": int(power)}]
        hall.wait(60)
        assert hall.devices["box_1"].online is False


# ---------------------------------------------------------------------- a lost connection


def test_what_was_heard_before_the_connection_was_lost_is_given_once(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    hall.say("b/1/power", "5")
    hall.bridge.connected(hall.now)
    [reading] = hall.wait(5)
    assert (reading.values, reading.measured_s) == ({"output_w": 5}, 1000.0)
    hall.bridge.connected(hall.now)
    assert hall.wait(5) == []


def test_after_a_lost_connection_a_device_has_its_time_to_speak(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX, silent=60.0)
    hall.say("b/1/power", "5")
    hall.wait(50)
    hall.bridge.connected(hall.now)
    hall.say("b/1/online", "1", retained=True)
    hall.wait(50)
    assert hall.devices["box_1"].online is True
    hall.wait(15)
    assert hall.devices["box_1"].online is False


def test_that_all_are_gone_is_said_of_one_connection_only(tmp_path: Path) -> None:
    hall = Hall(tmp_path, VIA)
    hall.say("b/1/power", "5")
    hall.say("b/status", "off")
    hall.wait(1)
    assert hall.devices["box_1"].online is False
    hall.bridge.connected(hall.now)
    hall.say("b/1/power", "5")
    hall.wait(1)
    assert hall.devices["box_1"].online is True


def test_the_time_of_old_data_is_not_the_time_of_new(tmp_path: Path) -> None:
    hall = Hall(tmp_path, WHOLE)
    hall.say("b/1", f'{{"power": 1, "ts": {NOON_S - 30}}}')
    assert hall.values()["data_age_s"] == 30.0
    hall.say("b/1", "")
    hall.wait(1)
    hall.say("b/1/info", '{"volt": 230}')
    assert hall.values() == {"voltage_v": 230}


# ---------------------------------------------------------------------- faults


def test_a_fault_is_told_for_ten_minutes_after_the_last(tmp_path: Path) -> None:
    hall = Hall(tmp_path, BOX)
    for _ in range(2):
        hall.say("b/1/power", "x")
        hall.say("b/1/volt", "230")
        hall.say("b/1/power", "x")
        hall.wait(590)
        assert hall.devices["box_1"].error == "power: found 'x', expected a number"
    hall.wait(20)
    assert (hall.devices["box_1"].error, hall.devices["box_1"].refused) == ("", 3)
