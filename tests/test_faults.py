"""Faults of whole installations: real processes, real brokers, kill -9."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridges.voltronic.simulator import Simulator
from heliobus.sample import time_ms, time_text
from heliobus.simulation import serve_pty, serve_tcp
from tests.helpers import BrokerProcess, wait_until
from tests.house import (
    BRIDGE,
    DEVICES,
    SINK,
    Counters,
    House,
    Rows,
    as_stored,
    wall_ms,
)
from tests.house_faults import Fault, Mishap, frozen, killed, locked, suffer
from tests.processes import SITE, Program

pytestmark = pytest.mark.broker

SHORT = {"flush": "1s"}


def quiet(house: House, samples: int = 20) -> None:
    """Let it run for some samples: each is stored once, without being asked for."""
    house.recovers()
    house.count_rewrites()
    asked, begin = house.asked(), len(house.stored())
    wait_until(lambda: len(house.stored()) >= begin + samples, "samples")
    assert (house.asked(), house.rewritten()) == (asked, 0)


# ---------------------------------------------------------------- killed, frozen, locked


def test_what_is_killed_frozen_or_locked_out_loses_nothing(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with House(tmp_path / "house", mosquitto, journal=SHORT).running() as house:
        quiet(house)
        for name in ("broker", BRIDGE):  # the sink: in the next test, and in that of the inverter
            suffer(house, Mishap(killed(name), 0.2))
            house.recovers()
        suffer(house, Mishap(locked, 4), Mishap(frozen, 2.5, at_s=0.5))
        house.recovers()
        stored = house.ends_without_loss()
        assert house.unmeasured(stored) <= house.kills[BRIDGE]


@pytest.mark.slow
def test_a_killed_embedded_broker_loses_nothing(
    embedded_broker: BrokerProcess, tmp_path: Path
) -> None:
    broker = {"url": embedded_broker.url, "start": "embedded"}  # known to speak 3.1.1 only
    with House(tmp_path / "house", embedded_broker, broker=broker).running() as house:
        house.flows()
        suffer(house, Mishap(killed("broker"), 0.2))
        house.recovers()
        house.ends_without_loss()


def test_a_sink_that_starts_while_its_database_is_locked_rewrites_nothing(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with House(tmp_path / "house", mosquitto).running() as house:
        house.recovers()
        house.count_rewrites()
        suffer(house, Mishap(killed(SINK), 0.5), Mishap(locked, 2.5, at_s=0.2))
        house.recovers()
        assert house.rewritten() == 0
        house.ends_without_loss()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "lasts_s"),
    [(locked, 60), (frozen, 40), (killed("broker"), 30), (killed(SINK), 30)],
    ids=["database locked", "broker frozen", "broker killed", "sink killed"],
)
def test_what_fails_for_long_loses_nothing(
    fault: Fault, lasts_s: float, mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with House(tmp_path / "house", mosquitto).running() as house:
        house.recovers()
        suffer(house, Mishap(fault, lasts_s))
        house.recovers()
        stored = house.ends_without_loss()
        assert house.unmeasured(stored) == 0


def test_an_inverter_on_a_serial_line_is_read_through_every_kill(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with serve_pty(Simulator(), baud=19200) as line:
        devices = {"inverter": {"every": "0.5s"}}
        bridges = {"axpert": {"type": "voltronic", "link": line.url, "devices": devices}}
        with House(tmp_path / "house", mosquitto, bridges=bridges).running() as house:
            house.recovers()
            for name in ("axpert", SINK, "broker"):
                suffer(house, Mishap(killed(name), 0.2))
                house.recovers()
            stored = house.ends_without_loss()
    assert all("battery_v" in values for (_, _, d, _), values in stored.items() if d != "bus")


# ---------------------------------------------------------------- whose a device is


def test_the_second_bridge_with_a_device_refuses_it(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    house, counters = House(tmp_path / "house", mosquitto), Counters()
    with house.running(), serve_tcp(counters) as other:
        house.flows()
        bridges = {"spare": {"type": "fast", "link": other.url, "devices": {"pump": {}}}}
        house.write("spare.yaml", bridges=bridges)
        with Program(house.folder, "run", "spare", config="spare.yaml") as spare:
            spare.says(f"pump: bridge '{BRIDGE}' publishes this device; not asking it")
            assert spare.stop() == 0
        house.ends_without_loss()
    assert not counters.counts


def test_a_device_that_moves_to_another_bridge_loses_nothing(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    pump, well = ({name: {"every": "0.1s"}} for name in DEVICES)
    with House(tmp_path / "house", mosquitto, journal=SHORT).running() as house:
        house.flows()
        house.kill(SINK)  # what the device still measures here stays in the old bridge's journal
        begin = house.counters.counts[b"pump"]
        wait_until(lambda: house.counters.counts[b"pump"] > begin + 10, "more of the pump")
        house.stop(BRIDGE)
        last_ms = max(key[3] for key in house.journaled(BRIDGE) if key[2] == "pump")
        with serve_tcp(Counters()) as line:
            moved = {"type": "fast", "link": line.url, "devices": pump}
            left = {"type": "fast", "link": house.link, "devices": well}
            house.configure(bridges={"others": moved, BRIDGE: left})
            for name in ("others", BRIDGE, SINK):
                house.start(name)
            house.recovers()
            old = (SITE, BRIDGE, "pump")  # the bus is quiet about it, but for the bridge's status
            wait_until(lambda: house.ends()[old] == (last_ms, last_ms), "the last of the old one")
            stored = house.ends_without_loss()
    assert {bridge for _, bridge, device, _ in stored if device == "pump"} == {BRIDGE, "others"}


# ---------------------------------------------------------------- other versions of the contract


class Stranger:
    """A bridge of another version, which says what it is given and has a journal of its own."""

    def __init__(self, house: House, name: str) -> None:
        self._house, self._name = house, name
        self._said: dict[str, list[dict[str, Any]]] = {}

    def measure(self, device: str, kind: str, *, heard: bool = True, **values: Any) -> None:
        said = self._said.setdefault(device, [])
        prev = said[-1]["time"] if said else None
        now = time_text(max(wall_ms(), time_ms(prev) + 1 if prev else 0))
        said.append({"time": now, "prev": prev, "kind": kind, "bridge": self._name, **values})
        if heard:
            self._house.ear.say(f"{device}/state", said[-1], retain=True)

    def answer(self, **extra: Any) -> None:
        """Wait to be asked for what was not heard, and answer."""
        replay = f"/bus/{self._name}/replay"
        asked = wait_until(lambda: self._house.ear.heard(replay), "a request")
        request = json.loads(asked[-1].payload)
        samples = [s for s in self._said[request["device"]] if s["time"] > request["after"]]
        body = {key: request[key] for key in ("id", "device", "after")}
        body |= {"bridge": self._name, "to": samples[-1]["time"], "samples": samples, **extra}
        self._house.ear.say(f"bus/{request['sink']}/history", body)

    def expected(self) -> Rows:
        return {
            (SITE, self._name, device, time_ms(body["time"])): as_stored(body)
            for device, said in self._said.items()
            for body in said
        }


def test_a_newer_contract_passes_through(mosquitto: BrokerProcess, tmp_path: Path) -> None:
    with House(tmp_path / "house", mosquitto).running(SINK) as house:
        wait_until(lambda: house.ear.status(SINK), "the sink")
        future = Stranger(house, "future")
        house.ear.say("bus/future/status", {"state": "online", "contract": "0.2", "moods": [1]})
        house.ear.say("roof/info", {"kind": "windmill", "bridge": "future", "contract": "0.2"})
        for device, kind in (("axpert", "inverter"), ("roof", "windmill")):
            future.measure(device, kind, pv_w=1.5, flux_gw=2.5, contract="0.2")
        future.measure("roof", "windmill", heard=False, rotor_hz=0.25, tilted=True, names=["a"])
        future.measure("roof", "windmill", rotor_hz=0.5)
        future.answer(contract="0.2", checksum="of a later version")
        expected = future.expected()
        wait_until(lambda: len(house.stored()) >= len(expected), "the rows")
        for key in expected:
            expected[key] |= {"kind": "windmill"} if key[2] == "roof" else {}
        assert house.stored() == expected
        assert not house.holes()
        assert not house.ear.heard("/rejected")
        house.stop(SINK)


def test_an_older_contract_passes_through(mosquitto: BrokerProcess, tmp_path: Path) -> None:
    with House(tmp_path / "house", mosquitto).running(SINK) as house:
        wait_until(lambda: house.ear.status(SINK), "the sink")
        past = Stranger(house, "past")
        house.ear.say("bus/past/status", {"state": "online"})
        house.ear.say("axpert/info", {"bridge": "past"})
        past.measure("axpert", "inverter", pv_w=1.5)
        past.measure("axpert", "inverter", heard=False, pv_w=2.5)
        past.measure("axpert", "inverter", pv_w=3.5)
        past.answer()
        expected = past.expected()
        # Not ours at all: it names neither itself nor what came before.
        alone = {"time": time_text(wall_ms()), "kind": "meter", "power_w": 7}
        house.ear.say("socket/state", alone)
        expected[SITE, "", "socket", time_ms(alone["time"])] = {"power_w": 7}
        wait_until(lambda: len(house.stored()) >= len(expected), "the rows")
        assert house.stored() == expected
        assert not house.holes()
        assert not house.ear.heard("/rejected")
        house.stop(SINK)
