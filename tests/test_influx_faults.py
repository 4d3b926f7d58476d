"""The influx sink in a whole house: what is killed while it catches up costs nothing."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import BrokerProcess, wait_until
from tests.house import BRIDGE, DEVICES, SILENCE_S, SINK, House, Rows
from tests.house_bulk import catches_up, journal_samples
from tests.influx_servers import VictoriaMetrics
from tests.influx_standin import Standin, silent

pytestmark = [pytest.mark.database, pytest.mark.broker]

SAMPLES = 100_000
AWAY_S = 30.0
Series = dict[str, dict[int, float]]


def house_of(folder: Path, broker: BrokerProcess, server: VictoriaMetrics) -> House:
    options: dict[str, Any] = {
        "type": "influx",
        "url": server.url,
        "bucket": "solar",
        "backfill": "all",
    }
    return House(folder, broker, sinks={SINK: options})


def expected(journaled: Rows) -> Series:
    """Give the numbers that were journaled, as VictoriaMetrics has them."""
    series: Series = {}
    for (_, _, device, time_ms), values in journaled.items():
        if device in DEVICES:
            numbers = {name: v for name, v in values.items() if not isinstance(v, str)}
            numbers["alarms_count"] = values["alarms"].count("tenth")
            for name, value in numbers.items():
                series.setdefault(f"inverter_{name}{{{device}}}", {})[time_ms] = float(value)
    return series


def stored(server: VictoriaMetrics) -> Series:
    return {name: one for name, one in server.export().items() if name.startswith("inverter_")}


def rows_taken(server: VictoriaMetrics) -> float:
    return server.metric('vm_rows_inserted_total{type="influx"}')


def count(series: Series) -> int:
    return sum(len(one) for one in series.values())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_server_broker_and_sink_killed_amid_100_000_samples_cost_none(
    tmp_path: Path, mosquitto: BrokerProcess
) -> None:
    server = VictoriaMetrics(tmp_path / "vm")
    house = house_of(tmp_path / "house", mosquitto, server)
    house.folder.mkdir(exist_ok=True)
    journal_samples(house, SAMPLES)
    with server, house.running():
        wait_until(lambda: rows_taken(server) > SAMPLES, "the middle", 60)
        house.kill("broker")
        server.kill()
        away_s = time.monotonic() + AWAY_S
        wait_until(lambda: time.monotonic() > away_s, "its return", AWAY_S + 5)
        server.start()
        house.start("broker")
        wait_until(lambda: rows_taken(server) > SAMPLES, f"the rest\n{house.said}", 60)
        house.kill(SINK)
        house.start(SINK)
        wait_until(lambda: rows_taken(server) > 2 * SAMPLES, f"what is left\n{house.said}", 60)
        catches_up(house)
        house.stop(BRIDGE)
        wanted = expected(house.journaled(BRIDGE))
        assert count(wanted) >= 5 * SAMPLES
        wait_until(
            lambda: count(stored(server)) == count(wanted),
            f"{count(wanted)} numbers; stored are {count(stored(server))}\n{house.said}",
        )
        assert stored(server) == wanted
        house.stop(SINK)


def test_a_sink_whose_server_hangs_in_mid_answer_stops_in_order(
    tmp_path: Path, mosquitto: BrokerProcess
) -> None:
    with Standin() as server:
        server.add_bucket("solar")
        server.tokens["sesame"] = {("write", "solar")}
        options = {"type": "influx", "url": server.url, "org": "home", "bucket": "solar"}
        sinks = {SINK: {**options, "token": "sesame", "timeout": "20s"}}
        with House(tmp_path, mosquitto, sinks=sinks).running() as house:
            wait_until(lambda: 204 in server.statuses, f"the first samples\n{house.said}")
            before = len(server.asked)
            server.mishap = silent
            wait_until(lambda: len(server.asked) > before, "a write that hangs")
            house.stop(SINK)
            assert "interrupted" in house.programs[SINK].said
            server.mishap = None
            house.start(SINK)
            again_s = time.monotonic()
            wait_until(
                lambda: house.asked(again_s) and not house.asked(time.monotonic() - SILENCE_S),
                f"an end of asking\n{house.said}",
            )
            house.stop(BRIDGE)
            wanted = {
                (device, time_ms)
                for _, _, device, time_ms in house.journaled(BRIDGE)
                if device in DEVICES
            }

            def found() -> set[tuple[str, int]]:
                return {(dict(p[2])["device"], p[3]) for p in server.points if p[1] == "inverter"}

            wait_until(lambda: found() == wanted, f"what was journaled\n{house.said}")
