"""The Aurora bridge against byte-level inverters: what it asks, learns and gives."""

import math
from datetime import datetime
from typing import Any

import pytest

from bridges.aurora import Aurora, clock_offset_s
from bridges.aurora.frame import ALARMS, ENERGY, FLOAT_ENERGY, MEASURE, SERIAL, STATE, answer
from bridges.aurora.resting import is_resting
from bridges.aurora.simulator import VARIANTS
from heliobus import contract
from heliobus.bridge import Identity, Reporter, Sleeper
from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.exchange import Silence
from tests.aurora_far import MIDNIGHT_S, Asked, Clock, Respond, Roof, settings

CONTRACT = contract.load()


def instead(what: int | tuple[int, int], data: bytes) -> Respond:
    """Answer a command, or a command with its first argument, with these bytes."""

    def respond(asked: Asked, answered: bytes) -> bytes:
        found = asked[1] if isinstance(what, int) else asked[1:]
        return data if found == what else answered

    return respond


def measured(roof: Roof, kind: int) -> int:
    return roof.wire.asked.count((2, MEASURE, kind))


# ---------------------------------------------------------------------- groups


def test_it_reports_and_sleeps() -> None:
    bridge = Aurora(settings())
    assert isinstance(bridge, Sleeper)
    assert isinstance(bridge, Reporter)
    assert {group.name: group.every_s for group in bridge.groups} == {
        "beat": 10.0, "energy": 60.0, "health": 60.0, "phases": 60.0, "details": 300.0,
        "identity": math.inf,
    }  # fmt: skip


def test_three_inverters_at_ten_seconds_leave_the_line_more_than_half_of_the_time() -> None:
    busy = 0.0
    for address in (2, 3, 4):
        for group in Aurora(settings(address=address, read_alarms=True)).groups:
            busy += 0.0 if math.isinf(group.every_s) else group.wire_s / group.every_s
    assert 0.2 < busy < 0.5
    assert all(group.wire_s < 1.0 for group in Aurora(settings()).groups)


def test_a_beat_is_the_state_and_nine_measures() -> None:
    roof = Roof()
    values = roof.poll()
    assert values["mode"] == "running"
    assert values["output_w"] == pytest.approx(values["pv_w"], rel=1e-3)
    assert values["pv_w"] == pytest.approx(values["pv_01_w"] + values["pv_02_w"])  # type: ignore[operator]
    assert values["output_w"] == pytest.approx(values["output_a"] * values["grid_v"], rel=1e-3)  # type: ignore[operator]
    roof.bus._doubtful_until_s = 0.0  # noqa: SLF001 - nobody waits for half a minute
    roof.wire.sent.clear()
    roof.poll()
    assert roof.wire.asked == [(2, STATE, 0), *((2, MEASURE, kind) for kind in
                               (8, 23, 25, 9, 26, 27, 1, 2, 3))]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_group_of_every_variant_obeys_the_contract(variant: str) -> None:
    roof = Roof(settings(simulate=variant))
    for group in roof.bridges["east"].groups:
        values = roof.poll(group=group.name)
        assert CONTRACT.strict("inverter", values) == (values, {})
    assert roof.bridges["east"].identity.model in VARIANTS[variant].title


def test_a_single_string_is_all_of_the_pv_power() -> None:
    values = Roof(settings(simulate="uno")).poll()
    assert values["pv_w"] == values["pv_01_w"]
    assert "pv_02_w" not in values


def test_three_phases_have_their_own_values() -> None:
    roof = Roof(settings(simulate="trio"))
    values = roof.poll(group="phases")
    assert set(values) == {
        f"{name}_l{phase}_{unit}"
        for phase in (1, 2, 3)
        for name, unit in (("grid", "v"), ("grid", "hz"), ("output", "a"))
    }


def test_a_model_that_does_not_tell_its_powers_has_them_by_volts_and_amperes() -> None:
    roof = Roof()
    roof.far.inverters["east"].refusals |= {(MEASURE, 8): 52, (MEASURE, 9): 51}
    values = roof.poll()
    assert values["pv_01_w"] == pytest.approx(values["pv_01_v"] * values["pv_01_a"])  # type: ignore[operator]
    assert values["pv_w"] == pytest.approx(values["output_w"], rel=1e-3)


def test_a_power_that_is_not_there_now_leaves_no_sum() -> None:
    roof = Roof()
    roof.far.inverters["east"].refusals[MEASURE, 9] = 58
    assert "pv_w" not in roof.poll()
    roof.far.inverters["east"].refusals.clear()
    assert "pv_w" in roof.poll()


def test_energies_come_by_78_or_by_68() -> None:
    names = {
        "yield_today_kwh", "yield_week_kwh", "yield_month_kwh", "yield_year_kwh", "yield_kwh",
        "yield_partial_kwh",
    }  # fmt: skip
    for variant, command in (("pvi36", ENERGY), ("trio", FLOAT_ENERGY)):
        roof = Roof(settings(simulate=variant))
        assert set(roof.poll(group="energy")) == names
        roof.wire.sent.clear()
        assert set(roof.poll(group="energy")) == names
        assert {asked[1] for asked in roof.wire.asked} <= {command, SERIAL}


def test_the_identity_is_asked_once_and_told() -> None:
    roof = Roof()
    assert roof.bridges["east"].identity == Identity()
    roof.poll()
    serial = roof.far.inverters["east"].serial
    assert roof.bridges["east"].identity.serial == serial
    assert roof.poll(group="identity") == {
        "hardware_part": "-3G79-",
        "production_date": "2015-W23",
        "grid_standard": "Germany VDE0126",
        "topology": "transformerless",
    }
    assert roof.bridges["east"].identity == Identity(
        "ABB / Power-One", "PVI-3.6-OUTD", serial, "C.0.1.8"
    )


# ---------------------------------------------------------------------- what a model has


def test_what_is_not_supported_is_not_asked_again() -> None:
    roof = Roof(settings(simulate="uno"))
    for _ in range(3):
        roof.poll()
    assert measured(roof, 9) == measured(roof, 26) == 1
    assert measured(roof, 8) == 3


def test_what_is_not_available_now_is_asked_at_the_next_turn() -> None:
    roof = Roof()
    roof.far.inverters["east"].refusals[MEASURE, 1] = 58
    assert "grid_v" not in roof.poll()
    roof.far.inverters["east"].refusals.clear()
    assert "grid_v" in roof.poll()


def test_after_the_link_was_lost_all_is_asked_again() -> None:
    roof = Roof(settings(simulate="uno"))
    for _ in range(2):
        roof.poll()
    roof.bridges["east"].forget()
    roof.poll()
    assert measured(roof, 9) == 2


def test_after_a_new_firmware_all_is_asked_again() -> None:
    roof = Roof(settings(simulate="uno"))
    roof.poll()
    roof.poll(group="identity")
    roof.wire.respond = instead(72, answer(b"\0\6C099"))
    roof.poll(group="identity")
    roof.poll()
    assert measured(roof, 9) == 2
    assert roof.bridges["east"].identity.firmware == "C.0.9.9"


def test_a_measure_that_is_met_with_silence_is_left_out_and_costs_no_other() -> None:
    roof = Roof(respond=instead((MEASURE, 26), b""))
    assert roof.tries() is not None
    assert measured(roof, 26) == 3
    values = roof.poll()
    assert measured(roof, 26) == 3
    assert "pv_02_v" not in values
    assert values["output_w"]


def test_a_refused_state_fails_with_its_words() -> None:
    roof = Roof()
    roof.far.inverters["east"].refusals[STATE] = 58
    with pytest.raises(FrameError, match=r"the state: refused, .* not available now"):
        roof.poll()


def test_a_silent_inverter_costs_one_timeout() -> None:
    roof = Roof(respond=lambda _, __: b"")
    for count in (1, 2, 3):
        with pytest.raises(Silence) as failed:
            roof.poll()
        assert len(roof.wire.sent) == count
        assert str(failed.value) == (
            "no answer to the serial number of address 2 in 1 s; is it day, and is its address 2?"
            " See 'No answer?' in bridges/aurora/README.md"
        )


def test_one_that_falls_silent_costs_one_timeout_at_each_turn() -> None:
    roof = Roof()
    roof.poll()
    roof.far.inverters["east"].awake = False
    for _ in range(4):
        roof.wire.sent.clear()
        with pytest.raises(Silence):
            roof.poll()
        assert len(roof.wire.sent) == 1


def test_a_broken_link_is_no_matter_of_frames() -> None:
    roof = Roof()
    roof.poll()
    roof.wire.broken = True
    with pytest.raises(LinkError, match="memory: connection lost"):
        roof.poll()


# ---------------------------------------------------------------------- the night


def test_one_that_has_faded_out_is_asleep() -> None:
    roof = Roof(clock=Clock(MIDNIGHT_S + 19 * 3600.0 - 480))
    values = roof.poll()
    assert values["mode"] == "waiting"
    assert values["alarms"] == ["W001 sun low"]
    roof.clock.now_s += 3600
    with pytest.raises(Silence):
        roof.poll()
    bridge = roof.bridges["east"]
    assert bridge.asleep(lost=False) == {"mode": "asleep"}
    assert bridge.asleep(lost=True) is None


def test_one_that_falls_silent_at_full_power_is_not_asleep() -> None:
    roof = Roof()
    roof.poll()
    roof.far.inverters["east"].awake = False
    assert roof.tries() is None
    assert roof.bridges["east"].asleep(lost=False) is None


def test_one_that_was_never_heard_is_not_asleep() -> None:
    roof = Roof(clock=Clock(MIDNIGHT_S))
    assert roof.tries() is None
    assert roof.bridges["east"].asleep(lost=False) is None


def test_who_sleeps_keeps_its_name_until_the_morning() -> None:
    roof = Roof(clock=Clock(MIDNIGHT_S + 19 * 3600.0 - 480))
    roof.poll()
    roof.poll(group="identity")
    before = roof.bridges["east"].identity
    roof.clock.now_s += 3600
    for _ in range(2):
        assert roof.tries() is None
    roof.bridges["east"].forget()
    assert roof.bridges["east"].identity == before
    assert roof.bridges["east"].asleep(lost=False) == {"mode": "asleep"}
    roof.clock.now_s = MIDNIGHT_S + 30 * 3600.0
    modes = []
    while (values := roof.tries()) is None or values["mode"] != "running":
        modes += [values["global_state_code"]] if values else []
        roof.clock.now_s += 20
    assert list(dict.fromkeys(modes)) == [30, 1, 2]
    assert roof.bridges["east"].identity == before


@pytest.mark.parametrize(
    ("beat", "rests"),
    [
        ({"global_state_code": 30, "mode": "waiting"}, True),
        ({"global_state_code": 1, "mode": "waiting", "output_w": 900.0}, True),
        ({"global_state_code": 6, "mode": "running", "output_w": 40.0}, True),
        ({"global_state_code": 6, "mode": "running", "output_w": 120.0}, False),
        ({"global_state_code": 9, "mode": "fault", "output_w": 0.0}, False),
        ({"global_state_code": 6, "mode": "running"}, False),
    ],
)
def test_rest_is_judged_by_the_last_beat(beat: dict[str, Any], *, rests: bool) -> None:
    assert is_resting(beat, 0.0) == rests


def test_a_large_inverter_fades_out_at_more_watts() -> None:
    beat = {"global_state_code": 6, "mode": "running", "output_w": 800.0}
    assert is_resting(beat, 27_600.0)
    assert not is_resting(beat, 3600.0)


# ---------------------------------------------------------------------- clock and alarms


@pytest.mark.parametrize(
    ("device", "offset_s"),
    [
        ("2026-06-15T12:00:21", 21.0),
        ("2026-06-15T11:00:21", 21.0),  # no summer time
        ("2026-06-15T19:58:00", -120.0),  # eight hours east
        ("2026-06-15T12:31:00", -1740.0),
        ("2026-06-14T12:00:05", 5.0),
        ("2000-01-01T00:00:00", -834_840_000.0),  # never set
    ],
)
def test_whole_hours_are_no_drift(device: str, offset_s: float) -> None:
    assert clock_offset_s(device, datetime(2026, 6, 15, 12)) == offset_s  # noqa: DTZ001


def test_alarms_are_not_asked_unless_wanted() -> None:
    roof = Roof()
    roof.far.inverters["east"].warn(13)
    for group in roof.bridges["east"].groups:
        roof.poll(group=group.name)
    assert all(asked[1] != ALARMS for asked in roof.wire.asked)
    assert roof.bridges["east"].events() == []
    assert roof.far.inverters["east"].alarms == [13]


def test_alarms_that_are_read_are_events_and_no_values() -> None:
    roof = Roof(settings(read_alarms=True))
    for code in (1, 23):
        roof.far.inverters["east"].warn(code)
    values = roof.poll(group="energy")
    assert not any("alarm" in name for name in values)
    events = roof.bridges["east"].events()
    assert [(event.name, event.text, event.details["severity"]) for event in events] == [
        ("alarm_logged", "W001 sun low", "warning"),
        ("alarm_logged", "E018 ground fault", "error"),
    ]
    for event in events:
        assert CONTRACT.strict("event", event.details) == (event.details, {})
    roof.poll(group="energy")
    assert roof.bridges["east"].events() == []


# ---------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ([settings("east"), settings("west")], "west: address 2 on memory: is that of east"),
        ([settings("sum", total=["east"])], "sum: total: found 'east', expected .*: none"),
        (
            [settings("east"), settings("sum", total=["eats"])],
            "found 'eats', expected inverters of its link: east",
        ),
        ([settings("sum", total="all")], "there is no inverter on its link to add up"),
    ],
)
def test_devices_that_cannot_share_a_line_are_refused(devices: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Aurora.check_link("memory:", [Aurora(device) for device in devices])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total": []}, "total: is empty"),
        ({"timeout": "soon"}, "expected a duration"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Aurora(settings(**options))


def test_an_odd_address_is_doubted() -> None:
    assert Aurora(settings(address=1)).warnings == (
        "address: found 1; displays offer 2 to 63, check yours",
    )
    assert Aurora(settings(address=63)).warnings == ()
