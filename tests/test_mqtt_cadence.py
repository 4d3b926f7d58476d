"""How often devices speak: learned, so that those that speak seldom are not taken for gone."""

from pathlib import Path

import pytest

from bridges.mqtt.cadence import Cadence
from bridges.mqtt.simulator import Simulator
from tests.mqtt_engine import Hall
from tests.mqtt_place import Place
from tests.test_mqtt_gather import BOX, GROUPS
from tests.test_opendtu_traps import INVERTER, channels, dtu, status, totals


def cadence(*times_s: float) -> Cadence:
    """Give the cadence of what came at these times."""
    found = Cadence()
    for each_s in times_s:
        found.note(each_s)
    return found


@pytest.mark.parametrize(
    ("times_s", "patience_s"),
    [
        ((), 900.0),
        ((0.0, 0.1, 0.2, 0.3), 900.0),
        ((0.0, 5.0), 900.0),
        ((0.0, 5.0, 10.0), 120.0),
        ((0.0, 0.5, 180.5, 181.0, 361.0), 540.0),
        ((0.0, 75.0, 825.0), 2250.0),
        ((0.0, 800.0, 1700.0), 2700.0),
        ((0.0, 5.0, 10.0, 5000.0), 120.0),  # it was away
    ],
)
def test_silent_is_what_misses_three_of_its_turns(
    times_s: tuple[float, ...], patience_s: float
) -> None:
    assert cadence(*times_s).patience_s(120.0) == patience_s


def test_what_comes_more_often_again_is_soon_expected_more_often() -> None:
    found = cadence(0.0, 600.0)
    for n in range(650):
        found.note(600.0 + 5.0 * n)
    assert found.patience_s(120.0) == 120.0


def test_a_pause_between_the_messages_of_one_turn_does_not_hide_the_turn() -> None:
    found = Cadence()
    for turn in range(40):
        for n in range(8):
            found.note(180.0 * turn + 1.5 * n)
        assert turn < 2 or found.patience_s(120.0) > 500.0


@pytest.mark.parametrize(
    ("gap_s", "every_s"), [(5.2, 5.0), (64.0, 60.0), (178.0, 180.0), (601.0, 600.0), (740.0, 900.0)]
)
def test_how_often_it_is_expected_is_a_round_number(gap_s: float, every_s: float) -> None:
    assert cadence(0.0, gap_s).every_s(5.0) == every_s


# ---------------------------------------------------------------------- an OpenDTU


@pytest.mark.parametrize("gap_s", [5, 60, 180, 600])
def test_an_opendtu_may_publish_as_seldom_as_it_likes(gap_s: int) -> None:
    place = Place()
    place.hear(("dtu/status", "online"))
    online = set()
    for _ in range(6):
        place.hear(*dtu(), *status(reachable="1", producing="1", last_update=place.unix_s))
        place.hear(*channels())
        place.hear(*totals(power="381.2", total="502.345", day="1217", valid="1"))
        for _ in range(gap_s):
            place.wait(1, step_s=1)
            online |= {(name, one.online) for name, one in place.listener.devices.items()}
    assert online == {("roof", True), (INVERTER, True)}
    assert {
        name for r in place.readings for name in ("output_w", "pv_w") if name not in r.values
    } == set()
    assert [one.every_s for one in place.listener.devices.values()] == [gap_s, gap_s]


def test_an_inverter_that_is_asked_every_750_s_keeps_its_values() -> None:
    place = Place()
    ten = Simulator("full", clock=lambda: place.now.ms / 1000, poll_s=75.0)
    for _ in range(480):
        place.hear(*((one.topic, one.payload.decode()) for one in ten.due()), base="")
        place.wait(5, step_s=1.25)
    first = place.start_s + 800
    values = [r.values for r in place.readings if r.device != "roof" and r.measured_s > first]
    assert len(values) > 200
    assert all("output_w" in each for each in values)


def test_an_opendtu_that_speaks_seldom_and_then_is_gone_is_offline_in_the_end() -> None:
    place = Place()
    for _ in range(3):
        place.hear(*dtu())
        place.wait(180, step_s=1)
    place.wait(350, step_s=1)
    assert place.listener.devices["roof"].online is True
    place.wait(20, step_s=1)
    assert place.listener.devices["roof"].online is False


# ---------------------------------------------------------------------- what is not learned


@pytest.mark.parametrize("said", [True, False])
def test_the_time_in_which_it_was_away_is_no_cadence(*, said: bool) -> None:
    place = Place()
    for _ in range(5):
        place.hear(*dtu())
        place.wait(5)
    if said:
        place.hear(("dtu/status", "offline"))
    place.wait(700, step_s=1)
    if said:
        place.hear(("dtu/status", "online"))
    else:
        place.connect()
    place.hear(*dtu())
    place.wait(110, step_s=1)
    assert place.listener.devices["roof"].online is True
    place.wait(20, step_s=1)
    assert place.listener.devices["roof"].online is False
    assert place.listener.devices["roof"].every_s == 5.0


def test_what_its_owner_says_is_not_changed_by_how_a_device_speaks(tmp_path: Path) -> None:
    # Also where it is what the map says.
    hall = Hall(tmp_path, BOX, devices={"box_1": {"every": 5.0}}, silent=60.0)
    for _ in range(5):
        hall.say("b/1/power", "5")
        hall.wait(40)
    assert hall.devices["box_1"].online is True
    hall.wait(25)
    assert hall.devices["box_1"].online is False
    assert hall.devices["box_1"].every_s == 5.0


def test_the_time_in_which_values_did_not_count_is_no_cadence(tmp_path: Path) -> None:
    hall = Hall(tmp_path, GROUPS)
    for reachable in ("1", "1", "0", "1", "1"):
        hall.say("b/1/power", "100")
        hall.say("b/1/status/update", "1795262400")
        hall.say("b/1/status/reachable", reachable)
        hall.wait(500 if reachable == "0" else 10)
    hall.wait(52)
    hall.say("b/1/status/reachable", "1")
    assert "output_w" not in hall.values()
