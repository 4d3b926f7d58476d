"""The Voltronic bridge against byte-level inverters: what it asks, learns and gives."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bridges.voltronic
from bridges.voltronic import BRIDGE
from bridges.voltronic.frame import answer
from bridges.voltronic.simulator import VARIANTS, Simulator
from heliobus import components
from heliobus.bridge import check_links
from heliobus.contract import load
from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.house import House
from heliobus.link import open_link
from heliobus.settings import DeviceSettings
from heliobus.simulation import Faults, serve_hidraw, serve_pty
from tests.voltronic_wire import NAK, NOON, alone, instead, wired

if TYPE_CHECKING:
    from heliobus.bridge import Bridge


def test_it_is_what_the_kit_expects() -> None:
    bridge: Bridge[Any] = BRIDGE(DeviceSettings("axpert", 5.0, "memory:"))
    assert bridge.kind == "inverter"
    assert bridge.groups[0].name == "status"
    assert [g.every_s for g in bridge.groups] == [5.0, 30.0, 30.0, 300.0, 300.0, math.inf]
    assert all(0 < group.wire_s < 2 for group in bridge.groups)


def test_slow_groups_are_never_asked_more_often_than_the_beat() -> None:
    bridge = alone(every_s=60.0)
    assert [g.every_s for g in bridge.groups] == [60.0, 60.0, 60.0, 300.0, 300.0, math.inf]


def test_the_status_is_three_questions() -> None:
    wire = wired()
    values = alone(layout="pi30").poll(wire, "status")
    assert wire.asked == ["QPIGS", "QMOD", "QPIGS2"]
    assert values["mode"] == "battery"
    assert values["pv_w"] == values["pv_01_w"] + values["pv_02_w"]  # type: ignore[operator]
    assert values["battery_a"] == values["battery_charge_a"]


def test_the_battery_current_waits_until_the_layout_is_known() -> None:
    wire, bridge = wired(), alone()
    assert "battery_a" not in bridge.poll(wire, "status")
    bridge.poll(wire, "settings")
    assert "battery_a" in bridge.poll(wire, "status")
    bridge.forget()
    assert "battery_a" not in bridge.poll(wire, "status")


def test_a_revo_is_known_by_its_ratings() -> None:
    wire, bridge = wired("revo"), alone()
    bridge.poll(wire, "settings")
    values = bridge.poll(wire, "status")
    assert isinstance(values["yield_today_kwh"], float)
    assert "battery_discharge_a" not in values


def test_an_inverter_that_refuses_its_ratings_is_no_revo() -> None:
    wire, bridge = wired(respond=instead(QPIRI=NAK)), alone()
    for _ in range(2):
        bridge.poll(wire, "settings")
    assert "battery_a" in bridge.poll(wire, "status")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_group_of_every_variant_obeys_the_contract(variant: str) -> None:
    wire, bridge, contract = wired(variant), alone(), load()
    for _ in range(2):
        for group in bridge.groups:
            try:
                values = bridge.poll(wire, group.name)
            except FrameError:
                assert variant == "clone"  # it is silent to QSID
                continue
            assert contract.strict("inverter", values) == (values, {})


def test_a_refused_command_is_asked_twice_and_then_no_more() -> None:
    wire, bridge = wired("pi30"), alone()
    polled = [bridge.poll(wire, "status") for _ in range(4)]
    assert wire.asked.count("QPIGS2") == 2
    assert all(values["pv_w"] == values["pv_01_w"] for values in polled)


def test_an_echoed_command_is_asked_twice_and_then_no_more() -> None:
    wire, bridge = wired("clone"), alone()
    for _ in range(4):
        assert "mode" in bridge.poll(wire, "status")
    assert wire.asked.count("QPIGS2") == 2


def test_a_silent_command_is_asked_three_times_and_then_no_more() -> None:
    wire, bridge = wired(respond=instead(Q1=b"")), alone()
    for _ in range(3):
        with pytest.raises(FrameError, match="no answer to Q1 in 3 s"):
            bridge.poll(wire, "charger")
        bridge.poll(wire, "status")
    assert bridge.poll(wire, "charger") == {}
    assert wire.asked.count("Q1") == 3


def test_two_entries_cannot_share_a_cable() -> None:
    with pytest.raises(ConfigError, match="axpert and axpert are on one cable, 'serial:///dev/x',"):
        check_links(BRIDGE, {"serial:///dev/x": [alone(), alone()]})
    check_links(BRIDGE, {"serial:///dev/x": [alone()], "serial:///dev/y": [alone()]})


def test_what_was_refused_is_asked_again_after_the_link_was_lost() -> None:
    wire, bridge = wired("pi30"), alone()
    for _ in range(3):
        bridge.poll(wire, "status")
    bridge.forget()
    bridge.poll(wire, "status")
    assert wire.asked.count("QPIGS2") == 3


def test_one_refusal_by_noise_costs_one_turn_only() -> None:
    wire, bridge = wired(), alone()
    assert "mode" in bridge.poll(wire, "status")
    for _ in range(5):
        wire.respond = instead(QMOD=NAK)
        assert "mode" not in bridge.poll(wire, "status")
    wire.respond = instead()
    assert "mode" in bridge.poll(wire, "status")


def test_a_new_firmware_may_know_more() -> None:
    wire, bridge = wired("pi30"), alone()
    for _ in range(2):
        bridge.poll(wire, "status")
    bridge.poll(wire, "identity")
    wire.respond = instead(QVFW=answer("VERFW:00099.01"))
    bridge.poll(wire, "identity")
    bridge.poll(wire, "status")
    assert wire.asked.count("QPIGS2") == 3
    assert bridge.identity.firmware == "00099.01"


@pytest.mark.parametrize("reply", [b"", NAK, b"(B\xe7\xc8\r", answer("PI30"), b"(B"])
def test_what_qpigs_said_is_given_when_the_mode_fails(reply: bytes) -> None:
    wire = wired(respond=instead(QMOD=reply))
    values = alone().poll(wire, "status")
    assert "mode" not in values
    assert values["battery_v"]


def test_what_qpigs_said_is_given_when_the_link_breaks_afterwards() -> None:
    wire, bridge = wired(), alone()

    def unplug(command: str, answered: bytes) -> bytes:
        wire.broken = command == "QMOD"
        return answered

    wire.respond = unplug
    assert "battery_v" in bridge.poll(wire, "status")
    with pytest.raises(LinkError, match="memory: connection lost"):
        bridge.poll(wire, "status")


def test_the_sum_of_the_inputs_is_left_out_when_one_is_not_known() -> None:
    wire, bridge = wired(), alone()
    assert "pv_w" in bridge.poll(wire, "status")
    wire.respond = instead(QPIGS2=b"")
    assert "pv_w" not in bridge.poll(wire, "status")


def test_damage_fails_the_group_and_says_so() -> None:
    wire = wired(respond=instead(QPIGS=b"(B\x12\x34\r"))
    with pytest.raises(FrameError, match=r"^QPIGS: CRC is 12 34, expected e7 c9: damaged"):
        alone().poll(wire, "status")


@pytest.mark.parametrize("before", [b"", b"QPIGS\xb7\xa9\r"], ids=["silence", "echo"])
@pytest.mark.parametrize("forgets", [False, True], ids=["known", "forgotten"])
def test_a_late_status_is_never_taken_for_a_new_one(before: bytes, *, forgets: bool) -> None:
    """It comes after the next request, when its own was given up: an hour-old value, as it were."""
    wire, bridge = wired(), alone()
    late = wire.far.take(b"QPIGS\xb7\xa9\r")
    wire.respond = instead(QPIGS=before)
    with pytest.raises(FrameError, match="no answer to QPIGS"):
        bridge.poll(wire, "status")
    if forgets:
        bridge.forget()

    first: list[str] = []

    def held(command: str, answered: bytes) -> bytes:
        first.append(command)
        return late + answered if len(first) == 1 else answered

    wire.respond = held
    wire.far.house.soc = 0.11
    values = bridge.poll(wire, "status")
    # Where nothing was ever heard, it might be of the other dialect.
    assert first[0] == ("QPI" if before else "^P005PI")
    assert values["soc_percent"] == 11


def test_an_inverter_without_qpi_comes_into_step_by_silence() -> None:
    wire, bridge = wired(respond=instead(QPIGS=b"", QPI=b"")), alone()
    for _ in range(2):
        with pytest.raises(FrameError, match="no answer"):
            bridge.poll(wire, "status")
    wire.respond = instead(QPI=b"")
    assert bridge.poll(wire, "status")


def test_an_answer_to_another_question_is_refused() -> None:
    wire = wired(respond=instead(QPIRI=answer("PI30"), QFLAG=answer("B")))
    with pytest.raises(FrameError, match="QFLAG: found 'B', expected letters after E and D"):
        alone().poll(wire, "settings")


def test_half_a_group_is_better_than_none() -> None:
    wire = wired(respond=instead(QFLAG=b"(E\x00\x00\r"))
    values = alone().poll(wire, "settings")
    assert values["battery_type"] == "user"
    assert "buzzer_enabled" not in values


def test_energies_are_asked_by_the_date_of_the_inverter() -> None:
    wire, bridge = wired(respond=instead(QT=answer("20210726122606"))), alone()
    bridge.poll(wire, "energy")
    dated = ["QED20210726", "QEM202107", "QEY2021", "QLD20210726"]
    assert wire.asked == ["QT", "QET", "QLT", *dated]


def test_without_a_date_only_totals_are_asked() -> None:
    wire, bridge = wired(respond=instead(QT=NAK)), alone()
    assert set(bridge.poll(wire, "energy")) == {"yield_kwh", "load_kwh"}
    assert wire.asked == ["QT", "QET", "QLT"]


def test_a_silent_inverter_costs_one_timeout_of_a_group() -> None:
    wire = wired(respond=lambda _, __: b"")
    with pytest.raises(FrameError, match="no answer to QT"):
        alone().poll(wire, "energy")
    assert wire.asked == ["QT"]


def test_the_identity_names_model_serial_and_firmware() -> None:
    wire, bridge = wired(), alone()
    assert bridge.identity.model == ""
    assert bridge.poll(wire, "identity") == {}
    who = bridge.identity
    assert (who.maker, who.model, who.serial) == ("Voltronic", "MAX-8000", "92932105105335")
    assert who.firmware == "00041.17 / 00012.03"


def test_a_model_without_a_name_has_its_number() -> None:
    wire, bridge = wired(respond=instead(QMN=NAK)), alone()
    bridge.poll(wire, "identity")
    assert bridge.identity.model == "model 44"


def test_the_identity_goes_on_where_it_stopped() -> None:
    wire, bridge = wired(respond=instead(QVFW=b"")), alone()
    with pytest.raises(FrameError):
        bridge.poll(wire, "identity")
    assert bridge.identity.serial
    wire.respond = instead()
    wire.sent.clear()
    bridge.poll(wire, "identity")
    assert wire.asked == ["QPI", "QVFW", "QVFW2", "QMN", "QGMN"]  # QPI: into step again


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ({"QPI": answer("PI34")}, r"it speaks PI34 \(a PCM60X solar charger\), expected PI30"),
        ({"QPI": answer("PI41")}, "PI41 .*split-phase"),
        ({"QPI": NAK, "^P005PI": NAK}, r"it answers neither QPI nor \^P005PI"),
        ({"QPI": answer("PI30")}, r"it refuses QPIGS \(NAK\); is it starting"),
    ],
)
def test_another_protocol_is_named(replies: dict[str, bytes], message: str) -> None:
    wire, bridge = wired(respond=instead(QPIGS=NAK, **replies)), alone()
    for _ in range(2):
        with pytest.raises(FrameError, match=message):
            bridge.poll(wire, "status")
    wire.respond = instead()
    assert bridge.poll(wire, "status")  # another inverter was plugged in


def test_another_protocol_that_answers_qpigs_is_found_by_its_identity() -> None:
    wire, bridge = wired(respond=instead(QPI=answer("PI41"))), alone()
    bridge.poll(wire, "status")
    for group in ("identity", "status"):
        with pytest.raises(FrameError, match="it speaks PI41"):
            bridge.poll(wire, group)
    wire.respond = instead()
    assert bridge.poll(wire, "status")
    bridge.poll(wire, "identity")
    assert bridge.identity.model == "MAX-8000"


@pytest.mark.parametrize(("timeout", "seconds"), [("1500ms", 1.5), (2, 2.0), (0.5, 0.5)])
def test_the_timeout_is_a_duration_or_seconds(timeout: object, seconds: float) -> None:
    wire = wired(respond=lambda _, __: b"")
    with pytest.raises(FrameError, match=f"no answer to QPIGS in {seconds:g} s; is it on, and"):
        alone(timeout=timeout).poll(wire, "status")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "max"}, "layout: found 'max', expected auto, pi30 or revo"),
        ({"timeout": "soon"}, "expected a duration"),
        ({"parts": {"unit_1": "left"}}, "parts: names units in parallel, and parallel does not"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        alone(**options)


def test_the_kit_finds_the_component() -> None:
    assert components.simulator("voltronic") is Simulator
    folder = Path(bridges.voltronic.__file__).parent
    assert set(json.loads((folder / "config.json").read_text())["device"]["properties"]) == {
        "timeout",
        "protocol",
        "layout",
        "energy_unit",
        "parallel",
        "parts",
    }


@pytest.mark.parametrize("serve", [serve_pty, serve_hidraw])
def test_a_real_port_at_the_real_speed_gives_the_same(serve: Callable[..., object]) -> None:
    device = Simulator("pi30max", house=House(lambda: NOON))
    expected = alone(layout="pi30").poll(wired(), "status")
    with serve(device, baud=2400) as service:  # type: ignore[attr-defined]
        link = open_link(service.url)
        assert alone(layout="pi30").poll(link, "status") == expected
        link.close()
    assert device.answered_polls == 1


@pytest.mark.parametrize(
    "kind", ["silence", "noise", "cut", "flip", "echo", "echo_only", "late", "slow"]
)
def test_a_faulty_line_gives_true_values_or_none(kind: str) -> None:
    device = Simulator("pi30max", house=House(lambda: NOON))
    expected = alone(layout="pi30").poll(wired(), "status")
    faults = Faults({kind: 0.4}, seed=3, slow_s=0.2)
    with serve_pty(device, baud=57600, faults=faults) as service:
        link, bridge, given = open_link(service.url), alone(layout="pi30", timeout=0.15), 0
        for _ in range(8):
            try:
                values = bridge.poll(link, "status")
            except FrameError:
                continue
            given += 1
            if "pv_02_w" not in values:
                values.pop("pv_w", None)
            assert values.items() <= expected.items()
        link.close()
    assert given
