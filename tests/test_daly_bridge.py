"""The Daly bridge against byte-level boards: what it asks, learns and gives."""

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bridges.daly
from bridges.daly import BRIDGE, Daly
from bridges.daly.frame import APP, QUESTIONS, answer, request
from bridges.daly.simulator import VARIANTS
from heliobus import components
from heliobus.bridge import Sleeper, check_links
from heliobus.contract import load
from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.line import Faults
from heliobus.link import Echo, Silence
from heliobus.settings import DeviceSettings
from heliobus.simulation import serve_pty
from tests.daly_wire import Wire, boards, bridge, instead, only, wire

if TYPE_CHECKING:
    from heliobus.bridge import Bridge
    from heliobus.sample import Values

STATUS = [0x90, 0x93, 0x98, 0x91, 0x95]
SILENT = lambda _, __: b""  # noqa: E731


def test_it_is_what_the_kit_expects() -> None:
    one: Bridge[Any] = BRIDGE(DeviceSettings("bank", 1.0, "memory:"))
    assert one.kind == "battery"
    assert isinstance(one, Sleeper)
    assert [(g.name, g.every_s) for g in one.groups] == [
        ("status", 1.0),
        ("temperatures", 5.0),
        ("balance", 10.0),
        ("limits", 300.0),
        *((name, math.inf) for name in ("capacity", "production", "serial", "model")),
    ]
    # With each beat there is time for one more group.
    assert max(g.wire_s for g in one.groups[1:]) + one.groups[0].wire_s < 1.02


def test_slow_groups_are_never_asked_more_often_than_the_beat() -> None:
    groups = Daly(DeviceSettings("bank", 20.0, "memory:")).groups
    assert [g.every_s for g in groups] == [20.0, 20.0, 20.0, 300.0, *[math.inf] * 4]


def test_the_beat_is_five_questions_once_the_cells_are_counted() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    assert near.asked == [0x90, 0x94, *STATUS[1:]]
    near.sent.clear()
    values = one.poll(near, "status")
    assert near.asked == STATUS
    assert values["mode"] == "charging"
    assert isinstance(values["battery_a"], float)
    assert values["battery_a"] > 0
    assert [name for name in values if name.startswith("cell_") and name[5].isdigit()] == [
        f"cell_{cell:02}_v" for cell in range(1, 17)
    ]


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "modbus"])
def test_every_group_of_every_variant_obeys_the_contract(variant: str) -> None:
    near, one, contract = wire(variant), bridge(), load()
    for group in one.groups:
        values = one.poll(near, group.name)
        assert bool(values) == (group.name not in {"serial", "model"})
        assert contract.strict("battery", values) == (values, {})
    assert one.identity.model == "DL-BMS-R32-01E"
    assert one.identity.serial == "DL2406010001"


def test_nothing_that_was_left_by_another_answer_is_shown() -> None:
    near, one = wire("14s"), bridge()
    for _ in range(2):
        values: Values = {}
        for group in one.groups:
            values |= one.poll(near, group.name)
    assert "cell_14_v" in values
    assert "cell_14_balancing" in values
    assert "temperature_02_c" in values
    assert not {"cell_15_v", "cell_15_balancing", "temperature_03_c"} & set(values)


# ---------------------------------------------------------------------- how it is asked


def test_a_board_that_answers_the_app_is_found_and_remembered_until_it_is_forgotten() -> None:
    near, one = wire("host80"), bridge()
    for _ in range(2):
        one.poll(near, "status")
    # What may still answer the first request is passed over by asking something else.
    assert [each[1] for each in near.sent] == [0x40, *[APP] * 12]
    near.sent.clear()
    one.forget()
    one.poll(near, "status")
    assert [each[1] for each in near.sent[:2]] == [0x40, APP]


def test_only_board_1_is_asked_as_the_app_does() -> None:
    near = wire(respond=SILENT)
    with pytest.raises(Silence):
        bridge(board=3).poll(near, "status")
    assert {each[1] for each in near.sent if each[0] == 0xA5} == {0x42}


def test_requests_that_are_lost_are_filled_with_other_bytes() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    near.respond = lambda _, said: said if near.sent[-1][4] == 0xAA else b""
    assert "soc_percent" in one.poll(near, "status")
    near.sent.clear()
    one.poll(near, "status")
    assert {each[4] for each in near.sent} == {0xAA}


def test_two_boards_on_a_line_are_kept_apart() -> None:
    near = Wire(boards(1, 2))
    one, two = bridge(board=1), bridge(board=2)
    with near.far.boards[1].house:
        near.far.boards[1].alarm_bits.add(0)
    assert one.poll(near, "status")["alarms"] == []
    assert two.poll(near, "status")["alarms"] == ["cell voltage high, level 1"]


def test_the_answer_of_another_board_is_none() -> None:
    foreign = answer(2, 0x90, bytes.fromhex("0200000075300100"))
    near = wire(respond=lambda command, said: foreign + said if command == 0x90 else said)
    assert bridge().poll(near, "status")["battery_v"] != 51.2
    near.respond = lambda command, said: foreign if command == 0x90 else said
    with pytest.raises(FrameError, match="board 2 answers; write the number in 'board'"):
        bridge().poll(near, "status")


def test_two_devices_cannot_be_one_board() -> None:
    link = "serial:///dev/ttyUSB0"
    with pytest.raises(ConfigError, match=r"bank and bank are both board 1 of 'serial:"):
        check_links(Daly, {link: [bridge(), bridge()]})
    check_links(Daly, {link: [bridge(), bridge(board=2)]})


# ---------------------------------------------------------------------- what is missing


def test_cells_whose_frame_is_lost_are_asked_once_more() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    near.sent.clear()
    near.respond = lambda command, said: (
        said[:26] + said[39:] if command == 0x95 and near.asked.count(0x95) == 1 else said
    )
    assert "cell_07_v" in one.poll(near, "status")
    assert near.asked.count(0x95) == 2


def test_cells_that_do_not_come_are_absent_and_the_others_are_there() -> None:
    near, one = wire(), bridge()
    near.respond = lambda command, said: said[:26] + said[39:] if command == 0x95 else said
    values = one.poll(near, "status")
    assert {"cell_06_v", "cell_10_v"} <= set(values)
    assert not {"cell_07_v", "cell_08_v", "cell_09_v"} & set(values)


def test_the_end_of_an_earlier_answer_is_not_taken_for_new_cells() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    old = answer(1, 0x95, bytes.fromhex("0609c409c409c400"))  # 2.5 V in cells 16 to 18
    near.respond = lambda command, said: old + said[:65] if command == 0x95 else said
    values = one.poll(near, "status")
    assert "cell_15_v" in values
    assert "cell_16_v" not in values


def test_cells_are_not_shown_before_they_are_counted() -> None:
    near, one = wire(respond=instead({0x94: b""})), bridge()
    assert "cell_01_v" not in one.poll(near, "status")
    one.poll(near, "status")
    # A board that does not count them at all: all that is plausible is shown.
    assert "cell_16_v" in one.poll(near, "status")
    assert near.asked.count(0x94) == 3


def test_sensors_that_are_not_there_are_not_asked() -> None:
    none = answer(1, 0x94, bytes.fromhex("1000000000000000"))
    near, one = wire(respond=instead({0x94: none})), bridge()
    one.poll(near, "status")
    assert one.poll(near, "temperatures") == {}
    assert not {0x92, 0x96} & set(near.asked)


def test_a_command_that_never_answers_is_asked_three_times_and_then_no_more() -> None:
    near, one = wire(respond=instead({0x98: b""})), bridge()
    for _ in range(6):
        assert "cell_16_v" in one.poll(near, "status")
    # After each silence something else is asked first, and so its late answer passed over.
    assert near.asked.count(0x98) == 3
    one.forget()
    one.poll(near, "status")
    assert near.asked.count(0x98) == 4


@pytest.mark.parametrize("lost", [b"", b"\xa5\x01\x57\x08\x01"], ids=["silence", "damage"])
def test_who_it_is_is_asked_again_when_the_answer_was_lost(lost: bytes) -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    near.respond = instead({0x57: lost})
    for _ in range(2):
        with pytest.raises(FrameError, match="answer to 0x57 of board 1"):
            one.poll(near, "serial")
    near.respond = lambda _, said: said
    assert one.poll(near, "serial") == {}
    assert one.identity.serial == "DL2406010001"


def test_who_it_is_is_not_asked_for_ever() -> None:
    near, one = wire(respond=instead({0x53: answer(1, 0x53, bytes(8))})), bridge()
    one.poll(near, "status")
    for _ in range(2):
        with pytest.raises(FrameError, match="expected year, month and day"):
            one.poll(near, "production")
    assert one.poll(near, "production") == {}


def test_damage_costs_its_command_only() -> None:
    near, one = wire(respond=instead({0x93: b"\xa5\x01\x93\x08\x00"})), bridge()
    values = one.poll(near, "status")
    assert "mode" not in values
    assert "cell_16_v" in values
    assert near.asked.count(0x93) == 3


def test_half_a_group_is_better_than_none() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    near.respond = instead({0x94: b"\xa5\xa5"})
    assert "balancing" in one.poll(near, "balance")
    near.respond = lambda _, __: b"\xa5\xa5"
    with pytest.raises(FrameError, match="no whole answer to 0x97 of board 1, got 'a5 a5'"):
        one.poll(near, "balance")


def test_a_board_that_lost_its_values_is_told_so() -> None:
    near = wire(respond=instead({0x90: answer(1, 0x90, bytes(8))}))
    with pytest.raises(FrameError, match="all of 0x90 is zero"):
        bridge().poll(near, "status")


def test_a_board_that_restarts_within_a_beat_does_not_say_that_all_is_switched_off() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    near.respond = lambda command, said: said if command == 0x90 else answer(1, command, bytes(8))
    values = one.poll(near, "status")
    assert "soc_percent" in values
    assert not {"mode", "charge_enabled", "remaining_ah", "cell_max_v", "cell_01_v"} & set(values)


def test_what_was_measured_is_given_when_the_link_breaks_afterwards() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")

    def unplug(command: int, said: bytes) -> bytes:
        near.broken = command == 0x98
        return said

    near.respond = unplug
    values = one.poll(near, "status")
    assert "mode" in values
    assert "cell_01_v" not in values
    with pytest.raises(LinkError, match="memory: connection lost"):
        one.poll(near, "status")


def test_a_late_answer_is_never_taken_for_a_new_one() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    late = near.far.take(request(0x90))
    near.respond = SILENT
    with pytest.raises(Silence):
        one.poll(near, "status")
    asked: list[int] = []

    def held(command: int, said: bytes) -> bytes:
        asked.append(command)
        return late + said if len(asked) == 1 else said

    near.respond = held
    near.board.house.soc = 0.11
    assert one.poll(near, "status")["soc_percent"] == 11.0


# ---------------------------------------------------------------------- asleep, or another


def test_a_board_that_was_awake_and_is_silent_sleeps() -> None:
    near, one = wire(), bridge()
    near.board.asleep = True
    with pytest.raises(Silence, match=r"is its number 1, and is it awake\? See 'No answer\?'"):
        one.poll(near, "status")
    assert one.asleep(lost=False) is None  # it has never answered
    near.board.asleep = False
    one.poll(near, "status")
    near.board.asleep = True
    with pytest.raises(Silence, match=r"no answer to 0x90 of board 1 in 0.5 s\Z"):
        one.poll(near, "status")
    assert one.asleep(lost=False) == {"mode": "asleep"}
    assert one.asleep(lost=True) is None
    one.forget()
    assert one.asleep(lost=False) == {"mode": "asleep"}
    near.board.asleep = False
    assert one.poll(near, "status")["mode"] == "charging"


def test_an_echo_is_no_answer() -> None:
    near, one = wire(), bridge()
    near.respond = lambda _, said: near.sent[-1] + said
    assert "cell_16_v" in one.poll(near, "status")
    near.respond = lambda _, __: near.sent[-1]
    with pytest.raises(Echo, match="only its echo"):
        one.poll(near, "status")


def test_a_silent_board_costs_the_others_one_timeout_of_each_way_to_ask() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    near.respond = SILENT
    for _ in range(2):
        near.sent.clear()
        with pytest.raises(Silence):
            one.poll(near, "status")
    assert len(near.sent) == 1
    near.sent.clear()
    one.forget()
    with pytest.raises(Silence):
        one.poll(near, "status")
    assert len(near.sent) == 2


def test_a_board_that_falls_asleep_within_a_beat_gives_what_it_said() -> None:
    near, one = wire(), bridge()
    one.poll(near, "status")
    near.respond = only([0x90, 0x93])
    values = one.poll(near, "status")
    assert {"soc_percent", "mode"} <= set(values)
    assert "alarms" not in values
    assert 0x95 not in near.asked[-4:]


def test_the_newer_generation_is_named_after_one_harmless_read() -> None:
    near, one = wire("modbus"), bridge()
    for _ in range(3):
        with pytest.raises(FrameError, match=r"newer generation .* cannot read it") as refused:
            one.poll(near, "status")
        assert not isinstance(refused.value, Silence)
    others = [each.hex() for each in near.sent if each[0] != 0xA5]
    assert others == ["d2030000003ed7b9"]
    assert one.asleep(lost=False) is None
    # Another link: another board may be there.
    with pytest.raises(Silence):
        one.poll(wire(respond=SILENT), "status")
    assert "soc_percent" in one.poll(wire(), "status")


def test_a_newer_board_that_answers_by_its_number_is_recognised_too() -> None:
    near = wire(respond=SILENT)
    said = bytes.fromhex("51037c") + bytes(124) + bytes.fromhex("0000")
    near.respond = lambda _, __: said if near.sent[-1][0] == 0x82 else b""
    with pytest.raises(Silence):  # its sum is wrong
        bridge(board=2).poll(near, "status")
    assert [each.hex()[:4] for each in near.sent if each[0] != 0xA5] == ["d203", "8203"]


# ---------------------------------------------------------------------- the sign


def _turned(command: int, said: bytes) -> bytes:
    """Measure the current the other way round."""
    if command != 0x90 or not said:
        return said
    raw = 60000 - int.from_bytes(said[8:10])
    return answer(1, 0x90, said[4:8] + raw.to_bytes(2) + said[10:12])


def test_a_current_that_is_measured_the_other_way_can_be_turned() -> None:
    expected = bridge().poll(wire(), "status")
    values = bridge(invert_current=True).poll(wire(respond=_turned), "status")
    assert {n: values[n] for n in ("battery_a", "battery_w")} == {
        n: expected[n] for n in ("battery_a", "battery_w")
    }
    idle = instead({0x90: answer(1, 0x90, bytes.fromhex("020a000075300370"))})
    amps = bridge(invert_current=True).poll(wire(respond=idle), "status")["battery_a"]
    assert str(amps) == "0.0"


@pytest.mark.parametrize(("inverts", "advice"), [(False, "true"), (True, "false")])
def test_a_lasting_contradiction_of_sign_and_state_is_said_once_and_shown(
    caplog: pytest.LogCaptureFixture, *, inverts: bool, advice: str
) -> None:
    near, one = wire(respond=None if inverts else _turned), bridge(invert_current=inverts)
    with caplog.at_level(logging.INFO):
        shown = [one.poll(near, "status")["notices"] for _ in range(14)]
    told = ["the sign of the current contradicts the state"]
    assert shown == [[]] * 9 + [told] * 5
    assert [record.getMessage() for record in caplog.records if "sign" in record.getMessage()] == [
        f"bank: {told[0]}: {one.poll(near, 'status')['battery_a']:g} A, and it says charging;"
        f" if it is charging when the sun shines, write 'invert_current: {advice}'"
    ]
    near.respond = _turned if inverts else (lambda _, said: said)
    assert one.poll(near, "status")["notices"] == []


def test_small_currents_contradict_nothing() -> None:
    small = instead({0x90: answer(1, 0x90, bytes.fromhex("020a000075480370"))})  # 2.4 A out
    near, one = wire(respond=small), bridge()
    assert [one.poll(near, "status")["notices"] for _ in range(12)] == [[]] * 12


# ---------------------------------------------------------------------- whatever happens


def test_nothing_but_questions_is_ever_sent() -> None:
    sent: list[bytes] = []
    replies = (SILENT, lambda _, said: said, lambda _, __: b"\xa5\x01")
    for variant in VARIANTS:
        for respond in replies:
            near, one = wire(variant, respond), bridge()
            for group in (*one.groups, *one.groups):
                try:
                    one.poll(near, group.name)
                except FrameError:
                    continue
            assert near.far.writes == 0
            sent += near.sent
    assert {each[2] for each in sent if each[0] == 0xA5} <= QUESTIONS
    assert {each[1] for each in sent if each[0] != 0xA5} == {3}  # Modbus: read registers


@pytest.mark.parametrize(
    "options", [{"timeout": "soon"}, {"timeout": "5 parsecs"}], ids=["soon", "parsecs"]
)
def test_options_that_cannot_work_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected a duration"):
        bridge(**options)


def test_the_kit_finds_the_component() -> None:
    assert components.bridge("daly") is Daly
    folder = Path(bridges.daly.__file__).parent
    assert set(json.loads((folder / "config.json").read_text())["device"]["properties"]) == {
        "board",
        "invert_current",
        "timeout",
    }


@pytest.mark.parametrize("variant", ["16s", "host80"])
def test_a_real_port_at_the_real_speed_gives_the_same(variant: str) -> None:
    expected = bridge().poll(wire(variant), "status")
    line = boards(1, variant=variant)
    with serve_pty(line, baud=9600) as service:
        one = bridge()
        link = one.open_link(service.url, [one])
        assert one.poll(link, "status") == expected
        link.close()
    assert line.polls == {"bank_1": 1}


@pytest.mark.parametrize(
    "kind", ["silence", "noise", "cut", "flip", "echo", "echo_only", "late", "slow"]
)
def test_a_faulty_line_gives_true_values_or_none(kind: str) -> None:
    expected: dict[str, object] = {"notices": []}
    near, calm = wire("14s"), bridge()
    for group in ("status", "temperatures", "balance"):
        expected |= calm.poll(near, group)
    expected.pop("heartbeat_count")
    faults = Faults({kind: 0.3}, seed=3, slow_s=0.12)
    given = 0
    with serve_pty(boards(1, variant="14s"), baud=57600, faults=faults) as service:
        one = bridge(timeout=0.1)
        link = one.open_link(service.url, [one])
        for turn in range(6):
            try:
                values = one.poll(link, ("status", "temperatures", "balance")[turn % 3])
            except FrameError:
                continue
            given += bool(values)
            values.pop("heartbeat_count", None)
            assert values.items() <= expected.items()
        link.close()
    assert given
