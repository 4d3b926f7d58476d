"""The simulated Daly boards: what they say of the house, and how they differ."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bridges.daly import Daly, decode_line
from bridges.daly.frame import APP, FIRST_HOST, frames, request
from bridges.daly.simulator import SIMULATOR, VARIANTS, Simulator, simulate, simulator
from heliobus import components
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Counting, Faults, Simulated
from heliobus.polled import Presence
from heliobus.settings import DeviceSettings
from heliobus.simulation import serve_pty
from tests import pollers
from tests.daly_wire import MORNING, boards
from tests.helpers import wait_until
from tests.pollers import Seen


def _ask(line: Simulator, command: int, host: int = 0x40) -> dict[str, Any]:
    asked = request(command, host)
    return dict(decode_line(asked, line.take(asked))[0])


# ---------------------------------------------------------------------- one board


def test_it_is_what_the_kit_serves() -> None:
    line: Simulated = SIMULATOR()
    assert isinstance(line, Counting)
    assert components.simulator("daly") is simulator


def test_what_is_not_there_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match="expected one of 16s, 8s, 14s, host80, modbus"):
        simulator("4s")
    with pytest.raises(ConfigError, match="unit: found 17, expected a board from 1 to 16"):
        simulator(unit=17)


def test_every_variant_is_in_the_readme() -> None:
    page = (Path(__file__).parent.parent / "bridges" / "daly" / "README.md").read_text()
    for name, variant in VARIANTS.items():
        assert f"| `{name}` | {variant.title} |" in page


@pytest.mark.parametrize(("variant", "cells"), [("16s", 16), ("8s", 8), ("14s", 14)])
def test_voltage_cells_and_power_are_those_of_the_house(variant: str, cells: int) -> None:
    line = boards(1, variant=variant)
    board = line.boards[0]
    said = _ask(line, 0x90) | _ask(line, 0x94) | _ask(line, 0x91)
    with board.house:
        assert said["battery_w"] == pytest.approx(board.bank.w, rel=0.02)
        assert said["soc_percent"] == pytest.approx(100 * board.house.soc, abs=0.1)
        assert said["battery_v"] == pytest.approx(board.house.battery_v * cells / 16, abs=0.06)
    assert said["cells_count"] == cells
    volts = [v for n, v in _ask(line, 0x95).items() if n != "board"][:cells]
    assert sum(volts) == pytest.approx(said["battery_v"], abs=0.1)
    assert (max(volts), min(volts)) == (said["cell_max_v"], said["cell_min_v"])


def test_two_banks_share_what_the_house_stores() -> None:
    line = boards(1, 2)
    house = line.boards[0].house
    powers = [_ask(line, 0x90, host)["battery_w"] for host in (0x40, 0x41)]
    with house:
        assert sum(powers) == pytest.approx(house.battery_w, rel=0.02)


def test_charge_is_positive_by_day_and_the_state_says_the_same() -> None:
    now_s = [MORNING]
    line = simulator(clock=lambda: now_s[0])
    assert (_ask(line, 0x93)["mode"], _ask(line, 0x90)["battery_w"] > 0) == ("charging", True)
    now_s[0] += 12 * 3600.0
    night = _ask(line, 0x93) | _ask(line, 0x90)
    assert night["mode"] == "discharging"
    assert night["battery_a"] < 0


def test_bytes_that_a_command_does_not_fill_are_left_from_the_answer_before() -> None:
    line = boards(1)
    voltage = line.take(request(0x90))
    cells = line.take(request(0x91))
    assert cells[10:12] == voltage[10:12] != b"\0\0"
    last = list(frames(line.take(request(0x95))))[-2:]
    assert last[1].data[3:] == last[0].data[3:]  # only cell 16 is new


def test_the_app_is_answered_with_all_frames() -> None:
    line = boards(1, variant="host80")
    assert line.take(request(0x95)) == b""
    assert len(list(frames(line.take(request(0x95, APP))))) == 16
    assert len(list(frames(line.take(request(0x96, APP))))) == 3


def test_a_board_answers_to_its_number_only_and_not_while_it_sleeps() -> None:
    line = simulator(unit=3)
    assert line.take(request(0x90)) == b""
    assert _ask(line, 0x90, 0x42)["board"] == 3
    line.boards[0].asleep = True
    assert line.take(request(0x90, 0x42)) == b""


def test_what_would_set_something_is_counted_and_not_answered() -> None:
    line = boards(1)
    assert line.take(bytes.fromhex("a540d9080000000000000000c6")) == b""
    assert line.writes == 1


def test_alarms_can_be_raised_and_an_empty_battery_raises_its_own() -> None:
    line = boards(1)
    line.boards[0].alarm_bits.add(42)
    assert _ask(line, 0x98)["alarms"] == ["cell temperature sensor failed"]
    line.boards[0].house.soc = 0.05
    assert "state of charge low, level 1" in str(_ask(line, 0x98)["alarms"])


def test_requests_may_come_in_pieces_and_after_noise() -> None:
    line = boards(1)
    asked = b"\xa5\0" + request(0x90)
    got = [line.take(bytes([byte])) for byte in asked]
    assert got[:-1] == [b""] * (len(asked) - 1)
    assert next(iter(frames(got[-1]))).address < FIRST_HOST


def test_the_newer_generation_answers_modbus_only() -> None:
    line = boards(1, variant="modbus")
    assert line.take(request(0x90)) == b""
    said = line.take(bytes.fromhex("d2030000003ed7b9"))
    assert (said[:3].hex(), len(said)) == ("d2037c", 129)


def test_polls_are_counted_when_the_cells_went_out_whole() -> None:
    devices = [
        DeviceSettings("one", 1.0, "serial:///dev/x", {}),
        DeviceSettings("two", 1.0, "serial:///dev/x", {"board": 2}),
    ]
    line = simulate(devices, house=House(lambda: MORNING), faults=Faults())
    for host, whole in ((0x40, True), (0x41, True), (0x41, False)):
        for command in (0x90, 0x95):
            line.sent(line.take(request(command, host)), whole=whole)
    assert line.polls == {"one": 1, "two": 1}


def test_many_frames_cost_no_memory() -> None:
    line = boards(1)
    for _ in range(200):
        line.take(b"\xa5\x40\x90" * 50)
    assert _ask(line, 0x90)["board"] == 1


# ---------------------------------------------------------------------- asked by the loop


def polling(url: str, *numbers: int) -> AbstractContextManager[Seen]:
    options = ({"board": number, "timeout": 0.2} for number in numbers)
    devices = (DeviceSettings(f"bank_{each['board']}", 0.4, url, each) for each in options)
    return pollers.polling(url, Daly, *devices)


def waits_for(seen: Seen, presence: Presence, name: str = "bank_1", deadline_s: float = 10) -> None:
    wait_until(lambda: seen.presence.get(name) is presence, f"{name} {presence}", deadline_s)


def test_a_board_that_falls_silent_is_asleep_and_the_other_one_goes_on() -> None:
    line = boards(1, 2)
    with serve_pty(line, baud=57600) as service, polling(service.url, 1, 2) as seen:
        waits_for(seen, Presence.ONLINE, "bank_2")
        line.boards[1].asleep = True
        waits_for(seen, Presence.ASLEEP, "bank_2")
        assert seen.samples["bank_2"][-1] == {"mode": "asleep"}
        waits_for(seen, Presence.ONLINE, "bank_1")
        line.boards[1].asleep = False
        waits_for(seen, Presence.ONLINE, "bank_2")


def test_a_board_that_was_never_awake_is_offline() -> None:
    line = boards(1)
    line.boards[0].asleep = True
    with serve_pty(line, baud=57600) as service, polling(service.url, 1) as seen:
        waits_for(seen, Presence.OFFLINE)
        assert seen.samples == {}


def test_a_port_that_is_gone_and_back_is_read_within_five_seconds(tmp_path: Path) -> None:
    path = tmp_path / "bms"
    line = boards(1)
    with polling(f"serial://{path}", 1) as seen:
        with serve_pty(line, baud=57600, link_path=path):
            waits_for(seen, Presence.ONLINE)
        waits_for(seen, Presence.OFFLINE)
        told = len(seen.samples["bank_1"])
        line.boards[0].house.soc = 0.11
        with serve_pty(line, baud=57600, link_path=path):
            waits_for(seen, Presence.ONLINE, deadline_s=5)
            assert {values["soc_percent"] for values in seen.samples["bank_1"][told:]} == {11.0}
