"""The sum of several Aurora inverters: only of what each of them has said."""

from dataclasses import replace

import pytest

from bridges.aurora import Aurora
from bridges.aurora.totals import Presence, Said, total
from heliobus import contract
from heliobus.bridge import Identity
from heliobus.errors import FrameError
from heliobus.sample import Values
from heliobus.simulation import serve_pty
from tests.aurora_far import MIDNIGHT_S, Clock, Roof, far, settings
from tests.helpers import wait_until
from tests.pollers import polling

EAST: Values = {"mode": "running", "output_w": 1000.5, "pv_w": 1030.0}
WEST: Values = {"mode": "running", "output_w": 2000.0, "pv_w": 2060.0}
COUNTED: Values = {"yield_kwh": 1000.0, "yield_today_kwh": 3.5}


def said(
    name: str, presence: Presence, beat: Values | None = None, energies: Values | None = None
) -> Said:
    return Said(name, presence, beat or {}, energies or {})


def test_powers_and_energies_of_all_add_up() -> None:
    online = Presence.ONLINE
    assert total([said("east", online, EAST, COUNTED), said("west", online, WEST, COUNTED)]) == {
        "mode": "running",
        "output_w": 3000.5,
        "pv_w": 3090.0,
        "yield_kwh": 2000.0,
        "yield_today_kwh": 7.0,
    }


@pytest.mark.parametrize("presence", [Presence.GONE, Presence.UNASKED])
def test_without_one_there_is_no_sum(presence: Presence) -> None:
    values = total([said("east", Presence.ONLINE, EAST, COUNTED), said("west", presence, {})])
    assert values.pop("notices", None) == (
        ["west does not answer"] if presence is Presence.GONE else None
    )
    assert values == {"mode": "running"}


def test_who_sleeps_gives_no_power_and_has_counted_what_it_has() -> None:
    asleep = said("west", Presence.ASLEEP, {}, COUNTED)
    assert total([said("east", Presence.ONLINE, EAST, COUNTED), asleep]) == {
        "mode": "running",
        "output_w": 1000.5,
        "pv_w": 1030.0,
        "yield_kwh": 2000.0,
    }
    assert total([asleep, asleep]) == {
        "mode": "asleep",
        "output_w": 0.0,
        "pv_w": 0.0,
        "yield_kwh": 2000.0,
    }


def test_a_value_that_one_has_not_said_is_left_out() -> None:
    silent: Values = {"mode": "fault", "output_w": 0.0}
    east = said("east", Presence.ONLINE, EAST, COUNTED)
    assert total([east, said("west", Presence.ONLINE, silent)]) == {
        "mode": "fault",
        "output_w": 1000.5,
    }


# ---------------------------------------------------------------------- on a line

DEVICES = (
    settings("all", total="all"),
    settings("east", address=2),
    settings("west", address=3),
)


def test_a_total_asks_nothing() -> None:
    roof = Roof(*DEVICES)
    assert roof.poll("all") == {"mode": "unknown"}
    assert roof.wire.sent == []
    assert roof.bridges["all"].identity == Identity(model="sum of east, west")


def test_a_total_is_what_the_others_have_said() -> None:
    roof = Roof(*DEVICES)
    east, west = (roof.poll(name) for name in ("east", "west"))
    found = roof.poll("all")
    assert found["output_w"] == pytest.approx(east["output_w"] + west["output_w"])  # type: ignore[operator]
    assert "yield_kwh" not in found
    counted = [roof.poll(name, "energy")["yield_kwh"] for name in ("east", "west")]
    found = roof.poll("all")
    assert found["yield_kwh"] == pytest.approx(sum(counted))  # type: ignore[arg-type]
    assert contract.load().strict("inverter", found) == (found, {})


def test_a_total_of_named_ones_is_of_these_alone() -> None:
    roof = Roof(*DEVICES[1:], settings("half", total=["west"]))
    west = roof.poll("west")
    assert roof.poll("half")["output_w"] == west["output_w"]


def test_a_missed_beat_costs_the_total_its_power() -> None:
    roof = Roof(*DEVICES)
    for name in ("east", "west"):
        roof.poll(name)
        roof.poll(name, "energy")
    roof.far.inverters["west"].awake = False
    assert roof.tries("west") is None
    assert roof.poll("all") == {"mode": "running", "notices": ["west does not answer"]}
    assert roof.tries("east")
    roof.far.inverters["east"].awake = False
    assert roof.tries("east") is None
    with pytest.raises(FrameError, match="none of east, west answers"):
        roof.poll("all")


def test_over_a_lost_link_nothing_is_added_up() -> None:
    roof = Roof(*DEVICES)
    for name in ("east", "west"):
        roof.poll(name)
        roof.poll(name, "energy")
    for bridge in roof.bridges.values():
        bridge.forget()
    roof.poll("east")
    assert roof.poll("all") == {"mode": "running"}


def test_through_the_night_a_total_keeps_what_cannot_change() -> None:
    roof = Roof(*DEVICES, clock=Clock(MIDNIGHT_S + 19 * 3600.0 - 480))
    for name in ("east", "west"):
        roof.poll(name)
        roof.poll(name, "energy")
    counted = roof.poll("all")["yield_kwh"]
    roof.clock.now_s += 4 * 3600.0
    for name in ("east", "west"):
        assert roof.tries(name) is None
    night = {"mode": "asleep", "output_w": 0.0, "pv_w": 0.0, "yield_kwh": counted}
    assert roof.poll("all") == night
    for bridge in roof.bridges.values():
        bridge.forget()
    assert roof.poll("all") == night
    roof.clock.now_s += 13 * 3600.0
    for name in ("east", "west"):
        roof.poll(name)
    morning = roof.poll("all")
    assert morning["output_w"]
    assert "yield_kwh" not in morning  # until the counters are asked


def test_who_slept_before_a_port_was_gone_is_in_no_sum_before_it_is_asked() -> None:
    roof = Roof(*DEVICES, clock=Clock(MIDNIGHT_S + 19 * 3600.0 - 480))
    for name in ("east", "west"):
        roof.poll(name)
    roof.clock.now_s += 4 * 3600.0
    for name in ("east", "west"):
        assert roof.tries(name) is None
    assert roof.poll("all")["output_w"] == 0.0
    with serve_pty(roof.far, baud=19200) as service:
        Aurora.open_link(service.url, list(roof.bridges.values())).close()
    assert roof.poll("all") == {"mode": "unknown"}


def test_a_total_keeps_its_beat_while_another_times_out() -> None:
    simulator = far(*DEVICES)
    simulator.inverters["west"].awake = False
    quick = [replace(one, every_s=0.4) for one in DEVICES]
    devices = [
        one if "total" in one.options else replace(one, options={**one.options, "timeout": 0.3})
        for one in quick
    ]
    with (
        serve_pty(simulator, baud=115200) as service,
        polling(service.url, Aurora, *devices) as seen,
    ):
        wait_until(lambda: len(seen.samples["all"]) > 5, "beats of the sum", 30)
        assert seen.samples["all"][-1] == {
            "mode": "running",
            "notices": ["west does not answer"],
        }
        assert abs(len(seen.samples["all"]) - len(seen.samples["east"])) <= 6
