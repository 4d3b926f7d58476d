"""Units in parallel behind one cable: each is a device of its own, whatever happens to another."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridges.voltronic import Voltronic
from bridges.voltronic.codec import decode
from bridges.voltronic.frame import answer, request
from bridges.voltronic.simulator import VARIANTS, Simulator, Variant, simulate
from heliobus.bridge import Gateway, Parts
from heliobus.contract import load
from heliobus.errors import FrameError
from heliobus.house import House
from heliobus.link import Link, open_link
from heliobus.polled import Presence
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from heliobus.simulation import Faults, serve_pty
from tests import pollers
from tests.helpers import wait_until
from tests.pollers import Seen
from tests.voltronic_wire import NAK, NOON, Wire, instead, wired

THREE = VARIANTS["parallel"]
TWO_OLD = replace(VARIANTS["pi30"], units=2)
THREE_PI18 = replace(VARIANTS["pi18"], units=3)
UNITS = ["unit_1", "unit_2", "unit_3"]
SERIALS = ["92932105105335", "92932105105336", "92932105105337"]
# Of two clones, which have all the same serial number; a third one is not there.
TWIN = (
    "1 55355535553555 L 00 238.1 49.98 238.1 49.98 0357 0165 007 50.3 001 081 053.2 002 00596"
    " 00293 003 10100010 1 3 060 120 20 01 000"
)
NOBODY = (
    "0 00000000000000 P 00 000.0 00.00 000.0 00.00 0000 0000 000 00.0 000 000 000.0 002 00619"
    " 00303 003 00000000 0 0 010 110 02 00 000"
)


def units(count: int = 3, *, every_s: float = 5.0, **options: Any) -> Voltronic:
    """Give the bridge of several units, which has not asked anything yet."""
    settings = DeviceSettings("axpert", every_s, "memory:", {"parallel": count, **options})
    return Voltronic(settings)


def told(bridge: Voltronic, wire: Link) -> Mapping[str, Values]:
    """Poll once; give the values of each unit, and those of the device itself as ""."""
    found = bridge.poll(wire, "status")
    assert isinstance(found, Parts)
    return found.values


def who(bridge: Voltronic) -> dict[str, str]:
    """Give the serial number of each part that has been seen."""
    return {name: part.identity.serial for name, part in bridge.parts.items() if part.kind}


# ---------------------------------------------------------------------- what comes of it


def test_a_single_inverter_is_asked_for_no_others() -> None:
    wire = wired("parallel")
    bridge = Voltronic(DeviceSettings("axpert", 5.0, "memory:", {}))
    assert not isinstance(bridge.poll(wire, "status"), Parts)
    assert [command for command in wire.asked if "PGS" in command] == []
    assert bridge.parts == {}


def test_each_unit_is_a_device_with_its_serial_number() -> None:
    wire, bridge = wired("parallel"), units()
    found = told(bridge, wire)
    assert wire.asked == ["QPIGS", "QMOD", "QPIGS2", "QPGS0", "QPGS1", "QPGS2"]
    assert list(found) == ["", *UNITS]
    assert who(bridge) == dict(zip(UNITS, SERIALS, strict=True))
    assert isinstance(bridge, Gateway)
    assert {part.kind for part in bridge.parts.values()} == {"inverter"}


@pytest.mark.parametrize("variant", [THREE, TWO_OLD, THREE_PI18], ids=["max", "old", "pi18"])
def test_the_device_has_the_totals_and_its_units_have_none(variant: Variant) -> None:
    wire, bridge = wired(variant), units(variant.units)
    found = dict(told(bridge, wire))
    own = found.pop("")
    assert len(found) == variant.units
    summed_w = sum(int(str(unit["output_w"])) for unit in found.values())
    assert own["total_output_w"] == pytest.approx(summed_w, abs=2)
    assert own["total_output_w"] == pytest.approx(wire.far.plant.inverter.output_w, abs=1)
    assert {"total_output_va", "total_charge_a", "total_load_percent"} <= set(own)
    for unit in found.values():
        assert unit["mode"] == "battery"
        assert (unit["fault"], unit["fault_code"]) == ("none", 0)
        assert unit["battery_a"] == unit["battery_charge_a"]
        assert not {name for name in unit if name.startswith("total_") or name == "serial"}


@pytest.mark.parametrize("variant", [THREE, TWO_OLD, THREE_PI18], ids=["max", "old", "pi18"])
def test_every_value_obeys_the_contract(variant: Variant) -> None:
    contract = load()
    for values in told(units(variant.units), wired(variant)).values():
        assert contract.strict("inverter", values) == (values, {})


def test_the_fields_of_newer_units_are_more() -> None:
    assert "pv_02_v" in told(units(), wired(THREE))["unit_1"]
    assert "pv_02_v" not in told(units(2), wired(TWO_OLD))["unit_1"]


def test_the_current_of_one_input_is_the_battery_s_side_and_that_of_two_is_not() -> None:
    old, new = decode("QPGS0", TWIN), decode("QPGS0", TWIN + " 275.3 02")
    assert (old["pv_charge_a"], "pv_01_a" in old) == (1, False)
    assert (new["pv_01_a"], new["pv_02_a"], new["pv_02_v"]) == (1, 2, 275.3)
    assert "pv_charge_a" not in new


def test_the_bits_of_a_unit_say_what_charges_and_whether_the_load_is_on() -> None:
    values = decode("QPGS0", TWIN)
    assert values["parallel_status_bits"] == "10100010"
    assert (values["scc_ok"], values["solar_charging"], values["grid_charging"]) == (
        True,
        True,
        False,
    )
    assert (values["load_on"], values["settings_changed"]) == (True, False)


def test_a_unit_in_trouble_says_so() -> None:
    ill = answer(TWIN.replace(" L 00 ", " F 83 ").replace("55355535553555", SERIALS[1]))
    own = told(units(), wired("parallel", instead(QPGS1=ill)))["unit_2"]
    assert (own["mode"], own["fault_code"]) == ("fault", 83)
    assert own["fault"] == "parallel_battery_voltage_differs"


def test_what_the_others_are_asked_is_for_the_unit_on_the_cable() -> None:
    wire, bridge = wired("parallel"), units()
    for group in bridge.groups[1:]:
        assert not isinstance(bridge.poll(wire, group.name), Parts)
    assert bridge.identity.serial == SERIALS[0]


def test_pi18_units_are_asked_once_who_they_are_and_again_with_the_settings() -> None:
    wire, bridge = wired(THREE_PI18), units()
    for _ in range(3):
        told(bridge, wire)
    assert who(bridge) == dict(zip(UNITS, SERIALS, strict=True))
    assert [wire.asked.count(f"^P007PRI{n}") for n in range(3)] == [1, 1, 1]
    bridge.poll(wire, "settings")
    told(bridge, wire)
    assert [wire.asked.count(f"^P007PRI{n}") for n in range(3)] == [2, 2, 2]


def test_pi18_units_that_change_places_between_two_seldom_beats_keep_their_names() -> None:
    wire, bridge = wired(THREE_PI18), units(every_s=30.0)
    before = told(bridge, wire)
    wire.far.plant.order = [2, 0, 1]
    after = told(bridge, wire)
    for unit in UNITS:
        assert after[unit]["output_w"] == before[unit]["output_w"]


def test_pi18_units_that_do_not_say_who_they_are_are_known_by_their_number() -> None:
    wire, bridge = wired(THREE_PI18), units()
    wire.far.refused.add("PRI")
    assert set(told(bridge, wire)) == {""}  # it may have been noise
    for _ in range(8):
        found = told(bridge, wire)
    assert set(found) == {"", *UNITS}


def test_a_beat_without_room_for_all_units_is_doubted() -> None:
    assert units(3, every_s=5.0).warnings == ()
    (doubt,) = units(9, every_s=5.0).warnings
    assert doubt.startswith("every: 9 units in parallel take 7.0 s at 2400 baud; write every: 8s")


def test_an_owner_who_does_not_know_of_the_others_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = wired("parallel")
    bridge = Voltronic(DeviceSettings("axpert", 5.0, "memory:", {}))
    for _ in range(3):
        bridge.poll(wire, "settings")
    said = [record.getMessage() for record in caplog.records if "parallel" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("axpert: it is set to be one of several in parallel; write parallel:")


# ---------------------------------------------------------------------- names


def test_a_unit_keeps_its_name_when_the_numbers_are_dealt_out_anew() -> None:
    wire, bridge = wired("parallel"), units()
    before = told(bridge, wire)
    wire.far.plant.order = [2, 0, 1]
    bridge.forget()
    after = told(bridge, wire)
    assert who(bridge) == dict(zip(UNITS, SERIALS, strict=True))
    for unit in UNITS:
        assert after[unit]["output_w"] == before[unit]["output_w"]


def test_a_unit_that_comes_later_does_not_take_the_name_of_another() -> None:
    wire, bridge = wired("parallel"), units()
    wire.far.plant.order = [1, 2, 0]
    wire.far.plant.away = {0}
    assert set(told(bridge, wire)) == {"", "unit_1", "unit_2"}
    wire.far.plant.order = [0, 1, 2]
    wire.far.plant.away = set()
    assert set(told(bridge, wire)) == {"", *UNITS}
    assert who(bridge) == dict(zip(UNITS, [SERIALS[1], SERIALS[2], SERIALS[0]], strict=True))


def test_the_owner_names_units_by_number_or_by_serial_number() -> None:
    names = {"unit_1": "left", SERIALS[2]: "right"}
    wire, bridge = wired("parallel"), units(parts=names)
    assert {part.name for part in bridge.parts.values()} == {"left", "right"}
    assert set(told(bridge, wire)) == {"", "unit_1", "unit_2", SERIALS[2]}
    assert {name: part.name for name, part in bridge.parts.items()} == {
        "unit_1": "left",
        "unit_2": "",
        SERIALS[2]: "right",
    }


def test_a_name_of_no_unit_is_told_with_those_that_there_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bridge = units(2, parts={"12345678901234": "left"})
    told(bridge, wired(TWO_OLD))
    assert (
        "axpert: parts: no 12345678901234 in parallel; there are:"
        " unit_1 (92932105105335), unit_2 (92932105105336)"
    ) in caplog.messages


def test_units_with_the_same_serial_number_are_known_by_their_number() -> None:
    twin = answer(TWIN)
    wire = wired("parallel", instead(QPGS0=twin, QPGS1=twin, QPGS2=answer(NOBODY)))
    bridge = units()
    for _ in range(2):
        assert list(told(bridge, wire)) == ["", "unit_1", "unit_2"]
    wire.respond = instead(QPGS0=answer(NOBODY), QPGS1=twin, QPGS2=answer(NOBODY))
    assert list(told(bridge, wire)) == ["", "unit_2"]


def test_twins_that_are_seen_one_after_the_other_share_no_name() -> None:
    twin = answer(TWIN)
    wire = wired("parallel", instead(QPGS0=answer(NOBODY), QPGS1=twin, QPGS2=answer(NOBODY)))
    bridge = units()
    assert list(told(bridge, wire)) == ["", "unit_2"]
    wire.respond = instead(QPGS0=twin, QPGS1=twin, QPGS2=answer(NOBODY))
    assert list(told(bridge, wire)) == ["", "unit_1", "unit_2"]


# ---------------------------------------------------------------------- when one fails


def test_a_unit_that_is_not_there_is_not_published(caplog: pytest.LogCaptureFixture) -> None:
    wire, bridge = wired("parallel"), units()
    told(bridge, wire)
    wire.far.plant.away = {1}
    found = told(bridge, wire)
    assert list(found) == ["", "unit_1", "unit_3"]
    assert found[""]["total_output_w"] == pytest.approx(wire.far.plant.inverter.output_w, abs=1)
    assert "axpert: unit 2 of 3 is not there; is it off?" in caplog.messages
    wire.far.plant.away = set()
    with caplog.at_level(logging.INFO):
        assert list(told(bridge, wire)) == ["", *UNITS]
    assert caplog.messages[-1] == "axpert: unit 2 is there again"


def test_a_silent_unit_costs_one_timeout_at_each_back_off() -> None:
    wire, bridge = wired("parallel"), units()
    told(bridge, wire)
    wire.far.ignored.add("QPGS0")
    wire.sent.clear()
    found = [told(bridge, wire) for _ in range(16)]
    # It ends the first turn before the others are asked; from then on it is asked last.
    assert [set(UNITS) & set(beat) for beat in found] == [set(), *[{"unit_2", "unit_3"}] * 15]
    asked = [n for n, beat in enumerate(_beats(wire.asked)) if "QPGS0" in beat]
    assert asked == [0, 1, 3, 7, 15]
    wire.far.ignored.clear()
    assert [len(told(bridge, wire)) for _ in range(13)][-1] == 4


def _beats(asked: Sequence[str]) -> list[list[str]]:
    beats: list[list[str]] = []
    for command in asked:
        if command == "QPIGS":
            beats.append([])
        if beats:
            beats[-1].append(command)
    return beats


def test_a_model_that_knows_nothing_of_parallel_units_is_read_all_the_same() -> None:
    for reply in (b"", NAK):
        wire, bridge = wired("pi30max", instead(QPGS0=reply, QPGS1=reply)), units(2)
        for _ in range(6):
            assert set(told(bridge, wire)) == {""}
        assert len([command for command in wire.asked if "PGS" in command]) <= 8


@pytest.mark.parametrize("damaged", [b"(1 929\r", NAK, answer("PI30"), answer("1 2 3")])
def test_a_damaged_answer_costs_that_unit_one_turn(damaged: bytes) -> None:
    wire, bridge = wired("parallel"), units()
    told(bridge, wire)
    wire.respond = instead(QPGS1=damaged)
    assert list(told(bridge, wire)) == ["", "unit_1", "unit_3"]
    wire.respond = instead()
    assert list(told(bridge, wire)) == ["", *UNITS]


def test_the_late_answer_of_a_unit_is_never_that_of_another() -> None:
    wire, bridge = wired("parallel"), units()
    told(bridge, wire)
    late = wire.far.take(request("QPGS0"))
    wire.respond = instead(QPGS0=b"")
    assert list(told(bridge, wire)) == [""]
    first: list[str] = []

    def held(command: str, answered: bytes) -> bytes:
        first.append(command)
        return late + answered if len(first) == 1 else answered

    wire.respond = held
    assert list(told(bridge, wire)) == ["", *UNITS]
    assert first[0] == "QPI"
    assert {name: who(bridge)[name] for name in UNITS} == dict(zip(UNITS, SERIALS, strict=True))


def test_what_was_said_when_the_link_breaks_was_measured() -> None:
    wire, bridge = wired("parallel"), units()

    def unplug(command: str, answered: bytes) -> bytes:
        wire.broken = command == "QPGS1"
        return answered

    wire.respond = unplug
    assert list(told(bridge, wire)) == ["", "unit_1"]


# ---------------------------------------------------------------------- on a real port


def polling(url: str, **options: Any) -> AbstractContextManager[Seen]:
    """Ask it as a running bridge does."""
    settings = DeviceSettings("axpert", 0.2, url, {"timeout": 0.3, **options})
    return pollers.polling(url, Voltronic, settings)


NAMES = ["axpert", *(f"axpert_{unit}" for unit in UNITS)]


@pytest.mark.parametrize("variant", [THREE, THREE_PI18], ids=["pi30", "pi18"])
def test_a_unit_that_vanishes_is_offline_and_the_others_go_on(variant: Variant) -> None:
    device = Simulator(variant, house=House(lambda: NOON))
    with serve_pty(device, baud=115200) as service, polling(service.url, parallel=3) as seen:
        wait_until(lambda: seen.is_online(*NAMES), "all units")
        device.plant.away = {1}
        wait_until(lambda: seen.presence["axpert_unit_2"] is Presence.OFFLINE, "it to be offline")
        assert seen.is_online("axpert", "axpert_unit_1", "axpert_unit_3")
        device.plant.away = set()
        wait_until(lambda: seen.is_online("axpert_unit_2"), "it to be back")
        device.ignored |= {"QPGS2", "PGS2"}
        wait_until(lambda: seen.presence["axpert_unit_3"] is Presence.OFFLINE, "the silent one")
        assert seen.is_online("axpert", "axpert_unit_1", "axpert_unit_2")


@pytest.mark.parametrize("variant", [THREE, THREE_PI18], ids=["pi30", "pi18"])
def test_a_cable_that_is_plugged_in_again_is_in_use_within_5_s(
    variant: Variant, tmp_path: Path
) -> None:
    device, path = Simulator(variant, house=House(lambda: NOON)), tmp_path / "cable"
    with polling(f"serial://{path}?baud=115200", parallel=3) as seen:
        with serve_pty(device, baud=115200, link_path=path):
            wait_until(lambda: seen.is_online(*NAMES), "all units", 15)
        wait_until(
            lambda: all(one is Presence.OFFLINE for one in seen.presence.values()), "the loss"
        )
        counts = seen.counts()
        with serve_pty(device, baud=115200, link_path=path):
            wait_until(lambda: seen.is_online(*NAMES), "all units again", 5)
        assert all(len(seen.samples[name]) > count for name, count in counts.items())


@pytest.mark.parametrize(
    "kind", ["silence", "noise", "cut", "flip", "echo", "echo_only", "late", "slow", "nak"]
)
def test_a_faulty_line_gives_each_unit_its_own_values_or_none(kind: str) -> None:
    expected = told(units(), wired("parallel"))
    faults = Faults({kind: 0.2}, seed=7, slow_s=0.15)
    device = Simulator("parallel", house=House(lambda: NOON), faults=faults)
    found: dict[str, list[Values]] = {}
    with serve_pty(device, baud=115200, faults=faults) as service:
        link, bridge = open_link(service.url), units(timeout=0.1, layout="pi30")
        for _ in range(60):
            if all(len(found.get(unit, ())) > 2 for unit in UNITS):
                break
            with suppress(FrameError):
                for unit, values in told(bridge, link).items():
                    found.setdefault(unit, []).append(values)
            bridge.forget()  # who fails rests no beats
        link.close()
    assert set(found) == {"", *UNITS}
    for unit in UNITS:
        assert [values for values in found[unit] if values != expected[unit]] == []


def test_what_simulates_an_entry_has_the_units_that_its_owner_names() -> None:
    parts = {"55355535553555": "left", "unit_2": "middle"}
    settings = DeviceSettings("axpert", 5.0, "", {"parallel": 3, "parts": parts})
    bridge = Voltronic(settings)
    found = told(bridge, Wire(simulate([settings], house=House(lambda: NOON))))
    assert set(found) == {"", "55355535553555", "unit_2", "unit_3"}


def test_what_simulates_an_entry_has_as_many_units_as_it_says() -> None:
    settings = DeviceSettings("roof", 5.0, "", {"parallel": 3, "protocol": "pi18"})
    device = simulate([settings], house=House(lambda: NOON))
    assert (len(device.plant.units), device.variant.pi18) == (3, True)
    bridge = Voltronic(settings)
    assert len(told(bridge, Wire(device))) == 4
    with pytest.raises(FrameError, match="no answer"):
        bridge.poll(Wire(device, lambda _, __: b""), "status")
