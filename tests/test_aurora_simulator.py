"""The simulated Aurora inverters: what they say, when they are silent, and that it adds up."""

import json
import struct
from pathlib import Path

import pytest

from bridges.aurora.frame import ENERGY, FLOAT_ENERGY, MEASURE, STATE, checksum, request
from bridges.aurora.simulator import SIMULATOR, VARIANTS, Simulator, simulate
from heliobus import components
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.settings import DeviceSettings
from tests.aurora_far import MIDNIGHT_S, NOON_S, Clock, far, settings

VECTORS = Path(__file__).parent.parent / "bridges" / "aurora" / "vectors"


def measured(simulator: Simulator, kind: int, address: int = 2) -> float:
    answer = simulator.take(request(address, MEASURE, (kind,)))
    assert answer[0] == 0
    return float(struct.unpack(">f", answer[2:6])[0])


def written(command: int) -> bytes:
    head = bytes((2, command, 10, 201, 0, 0, 0, 0))
    return head + checksum(head)


def test_the_kit_finds_it() -> None:
    assert components.simulator("aurora") is SIMULATOR
    assert components.simulation("aurora") is simulate


def test_it_answers_at_its_address_only() -> None:
    simulator = far(settings(address=5))
    assert len(simulator.take(request(5, STATE))) == 8
    assert simulator.take(request(2, STATE)) == b""


def test_requests_may_come_in_pieces_together_and_with_noise_before_them() -> None:
    simulator, asked = far(), request(2, STATE)
    answer = simulator.take(asked)
    assert [simulator.take(bytes([byte])) for byte in asked] == [b""] * 9 + [answer]
    assert simulator.take(asked * 2) == answer * 2
    assert simulator.take(b"\xff\x02\x32" + asked) == answer
    assert simulator.take(b"\x55" * 100_000) == b""
    assert simulator.take(asked) == answer


def test_a_damaged_request_has_no_answer() -> None:
    assert far().take(bytes.fromhex("02 32 00 00 00 00 00 00 ed 68")) == b""


@pytest.mark.parametrize("command", [53, 71, 85, 252, 253, 254])
def test_what_writes_is_counted_and_not_done(command: int) -> None:
    simulator = far()
    assert simulator.take(written(command))[0] == 51
    assert simulator.inverters["east"].writes == 1


def test_it_is_silent_at_night_and_wakes_in_steps() -> None:
    clock = Clock(MIDNIGHT_S)
    simulator = far(clock=clock)
    assert simulator.take(request(2, STATE)) == b""
    states: list[int] = []
    while not states or states[-1] != 6:
        clock.now_s += 20
        answer = simulator.take(request(2, STATE))
        states += [answer[1]] if answer else []
    assert list(dict.fromkeys(states)) == [30, 1, 2, 6]
    assert simulator.inverters["east"].alarms == [1]


def test_powers_are_those_of_the_house() -> None:
    house = House(lambda: NOON_S)
    devices = [settings("east", address=2), settings("west", address=3, simulate="trio")]
    simulator = simulate(devices, house=house)
    with house:
        total_w = house.pv_w
    outputs = [measured(simulator, 3, address) for address in (2, 3)]
    assert sum(outputs) == pytest.approx(total_w, rel=0.001)
    for address in (2, 3):
        inputs = sum(measured(simulator, kind, address) for kind in (8, 9))
        assert inputs == pytest.approx(measured(simulator, 3, address), rel=0.001)
        amperes = measured(simulator, 23, address) * measured(simulator, 25, address)
        assert amperes == pytest.approx(measured(simulator, 8, address), rel=0.001)


def test_counters_rise_and_today_begins_anew_at_midnight() -> None:
    clock = Clock(MIDNIGHT_S + 8 * 3600.0)
    simulator = far(clock=clock)
    simulator.inverters["east"].awake = True
    counted: dict[int, list[int]] = {0: [], 5: []}
    for _ in range(40):
        for period, values in counted.items():
            answer = simulator.take(request(2, ENERGY, (period,)))
            values.append(int.from_bytes(answer[2:6]))
        clock.now_s += 3600.0
    assert counted[5] == sorted(counted[5])
    assert counted[5][-1] - counted[5][0] > 10_000
    assert counted[0][16] == 0  # at midnight
    assert max(counted[0]) < 60_000


def test_a_trio_counts_in_floats() -> None:
    simulator = far(settings(simulate="trio"))
    assert simulator.take(request(2, ENERGY, (5,)))[0] == 51
    assert simulator.take(request(2, FLOAT_ENERGY, (6,)))[0] == 0


def test_alone_it_begins_by_day() -> None:
    simulator = SIMULATOR("uno", unit=7)
    assert measured(simulator, 3, address=7) > 100
    assert simulator.plays == {"uno": "uno"}


def test_an_address_that_no_inverter_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="unit: found 64, expected an address from 1 to 63"):
        SIMULATOR("uno", unit=64)


def test_a_model_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="--model: found 'pvi', expected one of pvi36, trio, uno"):
        SIMULATOR("pvi")
    with pytest.raises(ConfigError, match="east: simulate: found 'pvi'"):
        far(settings(simulate="pvi"))


def test_a_poll_counts_when_its_last_answer_went_out_whole() -> None:
    simulator = far()
    for kind, whole in ((3, True), (3, True)):
        simulator.sent(simulator.take(request(2, MEASURE, (kind,))), whole=whole)
    assert simulator.polls == {"east": 0}
    for whole in (False, True, True):
        simulator.sent(simulator.take(request(2, STATE)), whole=True)
        simulator.sent(simulator.take(request(2, MEASURE, (3,))), whole=whole)
    assert simulator.polls == {"east": 2}


def test_a_sum_is_nothing_at_the_far_end() -> None:
    devices = [settings("east"), DeviceSettings("all", 10.0, "memory:", {"total": "all"})]
    simulator = simulate(devices, house=House(lambda: NOON_S))
    assert simulator.polls == {"east": 0}
    assert simulator.plays == {"east": "pvi36", "all": "sum of others"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_says_what_it_said_before(variant: str) -> None:
    simulator = far(settings("roof", simulate=variant), clock=Clock(MIDNIGHT_S + 41_000))
    found = json.loads((VECTORS / "simulated.json").read_text())
    ours = [vector for vector in found if vector["name"].startswith(f"{variant} ")]
    assert len(ours) > 5
    for vector in ours:
        answer = simulator.take(bytes.fromhex(vector["request_hex"]))
        assert answer.hex(" ") == vector["response_hex"], vector["name"]
