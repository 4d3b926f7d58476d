"""Days of a simulated OpenDTU, through the real map: what its owner would see, and would not."""

from functools import cache
from itertools import pairwise

import pytest

from bridges.mqtt.simulator import VARIANTS, Simulator
from heliobus.line import Faults
from tests.mqtt_place import CONTRACT, Place

EVERY_S = 120.0
ROOF, SHED = "inverter_114172608275", "inverter_116172608276"
DTU = "roof"
LONG = ("day", "night", "boot", "trouble")


@cache
def life(variant: str, hours: float, faults: str = "") -> Place:
    """Let a bridge hear an OpenDTU of a variant for some hours."""
    place = Place()
    dtu = Simulator(
        variant,
        clock=lambda: place.now.ms / 1000,
        poll_s=EVERY_S / 2,
        publish_s=EVERY_S,
        faults=Faults.parse(faults),
    )
    place.hear(*((one.topic, one.payload.decode()) for one in dtu.connected()), base="")
    while place.s < place.start_s + hours * 3600:
        place.hear(*((one.topic, one.payload.decode()) for one in dtu.due()), base="")
        place.wait(0.75)
        place.wait(EVERY_S - 0.75, step_s=30.0)
    return place


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_value_of_an_opendtu_is_one_of_the_contract(variant: str) -> None:
    place = life(variant, 36 if variant in LONG else 0.5)
    for reading in place.readings:
        kind = place.listener.devices[reading.device].kind
        assert CONTRACT.strict(kind, reading.values)[1] == {}


@pytest.mark.parametrize("variant", LONG)
@pytest.mark.parametrize(
    ("device", "field"), [(DTU, "yield_kwh"), (ROOF, "yield_kwh"), (ROOF, "pv_01_yield_kwh")]
)
def test_counters_of_a_lifetime_only_rise_and_never_leap(
    variant: str, device: str, field: str
) -> None:
    seen = life(variant, 36).seen(device, field)
    assert min(seen) > 100
    assert all(0 <= after - before < 1 for before, after in pairwise(seen))
    assert seen[-1] > seen[0] + 2


@pytest.mark.parametrize("variant", LONG)
def test_the_counter_of_today_begins_anew_once(variant: str) -> None:
    seen = life(variant, 36).seen(ROOF, "yield_today_kwh")
    assert sum(after < before for before, after in pairwise(seen)) == 1
    assert max(seen) < 10


@pytest.mark.parametrize("variant", LONG)
def test_who_sleeps_is_online_and_gives_no_power(variant: str) -> None:
    place = life(variant, 36)
    asleep = [
        reading.values
        for reading in place.readings
        if reading.device == ROOF and reading.values.get("mode") == "asleep"
    ]
    assert asleep
    assert not [values for values in asleep if {"output_w", "pv_w", "pv_01_w"} & values.keys()]
    assert place.listener.devices[ROOF].online


def test_what_cannot_be_is_refused_by_name() -> None:
    refused = life("trouble", 36).refused
    assert {one.topic for one in refused} == {
        *(f"solar/114172608275/{leaf}" for leaf in ("0/yieldtotal", "1/yieldtotal")),
        "solar/ac/yieldtotal",
    }


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - {"trouble"}))
def test_of_a_sound_opendtu_nothing_is_refused_and_nothing_hinted(variant: str) -> None:
    place = life(variant, 36 if variant in LONG else 0.5)
    assert place.refused == []
    assert (variant == "no_time") == bool(place.listener.hints)


def test_an_opendtu_without_the_time_is_told_apart_from_one_whose_inverters_sleep() -> None:
    (hint,) = life("no_time", 0.5).listener.hints
    assert "before its clock is set" in hint


def test_a_bad_radio_makes_gaps_and_no_wrong_values() -> None:
    place = life("day", 3, "silence=0.3,cut=0.2,flip=0.1")
    seen = place.seen(ROOF, "yield_kwh")
    assert all(0 <= after - before < 1 for before, after in pairwise(seen))
    assert set(place.seen(ROOF, "mode")) == {"running", "asleep"}
    assert place.newest(ROOF)["radio_unanswered_count"] > 20
