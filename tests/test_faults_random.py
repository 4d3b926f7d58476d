"""Three minutes of random faults, often several at once, in several houses side by side."""

import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType

import pytest

from heliobus.settings import BrokerStart
from tests.helpers import BrokerProcess, require_program, wait_until
from tests.house import BRIDGE, SINK, House
from tests.house_faults import Fault, Mishap, frozen, killed, locked, suffer

SECONDS = 180.0
REWRITTEN_SHARE = 0.05
CALM_S = 6.0
# A seed has its broker, so that it always does the same.
SEEDS: Mapping[int, BrokerStart] = MappingProxyType(
    {1: BrokerStart.MOSQUITTO, 2: BrokerStart.EMBEDDED, 3: BrokerStart.MOSQUITTO}
)
# What may happen to each part of a house.
FAULTS: Mapping[str, Sequence[Fault]] = MappingProxyType(
    {
        "broker": (killed("broker"), frozen),
        BRIDGE: (killed(BRIDGE),),
        SINK: (killed(SINK),),
        "database": (locked,),
    }
)


def mishaps(chance: random.Random) -> list[Mishap]:
    """Choose what breaks in one round, when, and for how long."""
    parts = chance.sample(sorted(FAULTS), chance.choice((1, 1, 1, 2, 2, 3)))
    return [
        Mishap(chance.choice(FAULTS[part]), chance.uniform(0, 4), at_s=chance.uniform(0, 2))
        for part in parts
    ]


def live(seed: int, folder: Path) -> str:
    """Live through the faults of one seed, and tell how it went."""
    chance = random.Random(seed)
    broker = BrokerProcess(SEEDS[seed], folder / "broker")
    broker.start()
    house = House(folder / "house", broker, journal={"flush": "1s"})
    try:
        with house.running():
            return endure(house, chance)
    except pytest.fail.Exception as failed:
        raise RuntimeError(str(failed)) from None  # which another process can be told
    finally:
        broker.stop()


def endure(house: House, chance: random.Random) -> str:
    house.recovers()
    house.count_rewrites()
    end_s, faults, rests_s = time.monotonic() + SECONDS, 0, []
    while time.monotonic() < end_s:
        chosen = mishaps(chance)
        faults += len(chosen)
        suffer(house, *chosen)
        if chance.random() < 0.5:
            rests_s.append(house.recovers())
    house.recovers()
    begin_s = time.monotonic()
    wait_until(lambda: time.monotonic() > begin_s + CALM_S, "calm", 2 * CALM_S)
    assert house.asked(begin_s) == 0
    rewritten, stored = house.rewritten(), house.ends_without_loss()
    assert rewritten < REWRITTEN_SHARE * len(stored)
    assert house.unmeasured(stored) <= house.kills[BRIDGE]
    return (
        f"{len(stored)} samples, {faults} faults, {house.kills.total()} of them kill -9,"
        f" {rewritten} rewritten, {house.asked()} asked, at rest after {max(rests_s):.1f} s"
    )


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(400)
def test_three_minutes_of_random_faults_lose_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_program("mosquitto", package="mosquitto")
    pytest.importorskip("amqtt")
    # A process each: one that forks would hand the sockets of another's probing to its children.
    with ProcessPoolExecutor(len(SEEDS), get_context("spawn")) as houses:
        told = {seed: houses.submit(live, seed, tmp_path / f"seed-{seed}") for seed in SEEDS}
        for seed, future in told.items():
            fault = future.exception()
            with capsys.disabled():
                print(f"\nseed {seed} ({SEEDS[seed].value}):", fault or future.result())
    for future in told.values():
        future.result()
