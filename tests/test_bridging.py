"""A bridge component on the bus: what it keeps retained there is true, whatever the bus does."""

import json
import logging
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from heliobus import contract
from heliobus.asking import Asking
from heliobus.bridge import Group, Identity
from heliobus.bridging import BridgeComponent
from heliobus.errors import FrameError
from heliobus.link import Link
from heliobus.sample import Values
from heliobus.settings import BridgeSettings, DeviceSettings
from heliobus.simulation import serve_tcp
from tests.bridge_site import OFFLINE, ONLINE, Site, running, state_of, told
from tests.helpers import BrokerProcess, wait_until
from tests.house import BRIDGE, Counters, House
from tests.processes import SITE, Ear

pytestmark = pytest.mark.broker


CONTRACT = contract.load()


class Battery:
    """A bridge whose device answers until it is dead, and tells its model at the second time."""

    kind = "battery"
    dead = threading.Event()

    def __init__(self, device: DeviceSettings) -> None:
        self.groups: Sequence[Group] = (
            Group("all", device.every_s, 0.001),
            Group("who", math.inf, 0.001),
        )
        self.identity = Identity()

    def poll(self, link: Link, group: str) -> Values:  # noqa: ARG002
        if self.dead.is_set():
            raise FrameError("no answer")
        if group == "who":
            self.identity = Identity(maker="Acme", model="B-48")
            return {"soc_percent": 80.0}
        return {"battery_v": 52.0, "moon_phase": 3}

    def forget(self) -> None:
        """Forget nothing."""


@pytest.fixture(autouse=True)
def alive() -> None:
    Battery.dead.clear()


@pytest.fixture
def line() -> Iterator[str]:
    with serve_tcp(Counters()) as service:
        yield service.url


@dataclass(frozen=True)
class Batteries(Site):
    """A place with a link that opens."""

    url: str

    def bridge(self, name: str, *devices: str, takeover: bool = False) -> BridgeComponent:
        bridge = BridgeSettings(
            name,
            "battery",
            tuple(DeviceSettings(device, 0.05, self.url) for device in devices),
            takeover=takeover,
        )
        return BridgeComponent(self.settings(name), bridge, Asking(bridge, Battery), CONTRACT)


@pytest.fixture
def site(mosquitto: BrokerProcess, tmp_path: Path, line: str) -> Batteries:
    return Batteries(mosquitto, tmp_path, line)


def polls_of(component: BridgeComponent, device: str = "pack") -> int:
    return int(component.details()["devices"][device]["polls"])


# ---------------------------------------------------------------------- what is retained


def test_what_a_bridge_retains_is_what_the_contract_says(
    any_broker: BrokerProcess, tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliobus.component.STATUS_S", 0.2)
    site = Batteries(any_broker, tmp_path, line)
    with running(site.bridge("bms", "pack")):
        told(site, "pack/info", b"B-48", b"soc_percent")
        found = told(site, "bus/bms/status", b"p95_ms", b"heads")
    assert set(found) == {"pack/state", "pack/info", "pack/availability", "bus/bms/status"}
    assert found["pack/availability"] == ONLINE
    info, state, status = (
        json.loads(found[name]) for name in ("pack/info", "pack/state", "bus/bms/status")
    )
    assert CONTRACT.check("info", info) is None
    assert CONTRACT.check("status", status) is None
    assert CONTRACT.check("battery", state) is None
    assert (info["kind"], info["bridge"], info["model"]) == ("battery", "bms", "B-48")
    assert info["fields"]["battery_v"]["unit"] == "V"
    assert info["fields"]["battery_v"]["every_s"] == 0.05
    assert "every_s" not in info["fields"]["soc_percent"]  # asked once
    assert "moon_phase" not in state.keys() | info["fields"].keys()
    assert (status["state"], status["role"], status["type"]) == ("online", "bridge", "battery")
    assert status["devices"]["pack"]["state"] == "online"
    assert set(status["heads"]) == {"pack"}


def test_a_stop_in_order_leaves_everything_offline(site: Batteries) -> None:
    with running(site.bridge("bms", "pack")):
        told(site, "pack/availability", ONLINE)
    found = site.retained()
    assert found["pack/availability"] == OFFLINE
    assert json.loads(found["bus/bms/status"])["state"] == "offline"
    assert "pack/state" in found


def test_a_bridge_that_is_killed_is_said_to_be_offline(site: Batteries) -> None:
    house = House(site.folder / "house", site.broker)
    with house.running(BRIDGE):
        wait_until(lambda: house.ear.status(BRIDGE).get("state") == "online", "the bridge")
        house.programs[BRIDGE].kill()
        wait_until(lambda: house.ear.status(BRIDGE) == {"state": "offline"}, "its will")


def test_what_is_retained_is_published_anew_on_every_connection(site: Batteries) -> None:
    with running(site.bridge("bms", "pack")):
        told(site, "pack/availability", ONLINE)
        site.broker.kill()
        for file in site.broker.folder.glob("*.db*"):
            file.unlink()
        site.broker.start()
        Battery.dead.set()  # nothing new is measured
        found = told(site, "bus/bms/status", b"online", deadline_s=15)
        found = told(site, "pack/state", b"battery_v")
        assert json.loads(found["pack/info"])["bridge"] == "bms"
        told(site, "pack/availability", OFFLINE)


def test_what_a_bridge_no_longer_has_is_cleared(site: Batteries) -> None:
    with running(site.bridge("bms", "pack", "sold")):
        told(site, "sold/availability", ONLINE)
        told(site, "pack/availability", ONLINE)
    with running(site.bridge("bms", "pack")):
        wait_until(lambda: not [t for t in site.retained() if "sold" in t], "its topics cleared")
        told(site, "pack/availability", ONLINE)
    assert {t for t in site.retained() if t.startswith("pack/")} == {
        "pack/state",
        "pack/info",
        "pack/availability",
    }


def test_a_device_that_another_bridge_has_now_is_not_cleared(site: Batteries) -> None:
    with running(site.bridge("old", "pack", "other")):
        told(site, "pack/availability", ONLINE)
    with running(site.bridge("new", "pack")), running(site.bridge("old", "other")):
        told(site, "other/availability", ONLINE)
        told(site, "pack/availability", ONLINE)
        told(site, "pack/info", b'"bridge":"new"')


def test_an_info_of_ours_that_somebody_clears_comes_back(site: Batteries) -> None:
    with running(site.bridge("bms", "pack")), Ear(site.broker.port) as ear:
        told(site, "pack/availability", ONLINE)
        ear.client.publish(f"heliobus/{SITE}/pack/info", b"", qos=1, retain=True)
        wait_until(lambda: any(not m.payload for m in ear.heard("/pack/info")), "the clearing")
        told(site, "pack/info", b"B-48")


@pytest.mark.parametrize(
    "odd",
    [b"7", b"[]", b"null", b"{", b"\xff", b'{"bridge":7}', b'{"bridge":["x"]}',
     b'{"bridge":"#"}', b'{"state":{}}', b"[" * 100_000],
)  # fmt: skip
def test_odd_words_of_others_end_no_bridge(site: Batteries, odd: bytes) -> None:
    with Ear(site.broker.port) as ear:
        wait_until(ear.client.is_connected, "the connection")
        for topic in ("pack/info", "bus/nobody/status", "bus/bms/status", "bus/bms/replay"):
            ear.client.publish(
                f"heliobus/{SITE}/{topic}", odd, qos=1, retain=True
            ).wait_for_publish(10)
        with running(site.bridge("bms", "pack")):
            told(site, "pack/info", b"B-48")
            told(site, "bus/bms/status", b"uptime_s")
            told(site, "pack/availability", ONLINE)


# ---------------------------------------------------------------------- without a broker


def test_without_a_broker_it_measures_and_what_it_has_is_sent_when_asked(site: Batteries) -> None:
    site.broker.stop()
    component = site.bridge("bms", "pack")
    with running(component):
        wait_until(lambda: polls_of(component) > 5, "polls without a broker")
        site.broker.start()
        with Ear(site.broker.port) as ear:
            found = told(site, "pack/state", b'"prev":"', deadline_s=15)
            assert json.loads(found["pack/state"])["bridge"] == "bms"
            ask = {"id": "1", "sink": "ear", "device": "pack", "after": None, "until": None}
            ear.say("bus/bms/replay", ask)
            (answer,) = wait_until(lambda: ear.heard("/bus/ear/history"), "the answer")
            history = json.loads(answer.payload)
    assert history["samples"][0]["prev"] is None
    assert len(history["samples"]) > 5


# ---------------------------------------------------------------------- two bridges, one device


def test_the_second_bridge_refuses_by_name_and_asks_its_other_devices(
    site: Batteries, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = site.bridge("zebra", "pack"), site.bridge("ant", "pack", "own")
    with running(first):
        wait_until(lambda: state_of(first) == "online", "the first")
        with running(second):
            wait_until(lambda: state_of(second) == "refused", "the refusal")
            wait_until(lambda: state_of(second, "own") == "online", "its other device")
            assert polls_of(second) == 0
            said = "pack: bridge 'zebra' publishes this device; not asking it."
            assert caplog.text.count(said) == 1
            before = polls_of(first)
            wait_until(lambda: polls_of(first) > before, "the first to go on")


def test_a_refused_device_is_taken_over_when_its_bridge_stops(
    site: Batteries, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    second = site.bridge("second", "pack")
    with ExitStack() as first:
        first.enter_context(running(site.bridge("first", "pack")))
        told(site, "pack/availability", ONLINE)
        with running(second):
            wait_until(lambda: state_of(second) == "refused", "the refusal")
            first.close()
            wait_until(lambda: state_of(second) == "online", "the second")
            told(site, "pack/info", b'"bridge":"second"')
            told(site, "pack/state", b'"bridge":"second"')
            told(site, "pack/availability", ONLINE)
    assert "pack: taken over" in caplog.text


def test_a_bridge_with_takeover_takes_a_device_from_one_that_lives(site: Batteries) -> None:
    first, second = site.bridge("first", "pack"), site.bridge("second", "pack", takeover=True)
    with running(first):
        wait_until(lambda: state_of(first) == "online", "the first")
        with running(second):
            wait_until(lambda: state_of(second) == "online", "the second")
            wait_until(lambda: state_of(first) == "refused", "the first to give way")
            told(site, "pack/info", b'"bridge":"second"')
            told(site, "pack/availability", ONLINE)
        wait_until(lambda: state_of(first) == "online", "the first to have it back")


def test_of_bridges_that_start_at_once_one_gets_the_device(site: Batteries) -> None:
    components = [site.bridge(f"bms_{number}", "pack") for number in range(4)]
    with ExitStack() as stack:
        for component in components:
            stack.enter_context(running(component))

        def states() -> list[str]:
            return sorted(state_of(component) for component in components)

        wait_until(lambda: states() == ["online", "refused", "refused", "refused"], "one of four")
        (owner,) = [c for c in components if state_of(c) == "online"]
        told(site, "pack/info", f'"bridge":"{owner.name}"'.encode())
        told(site, "pack/availability", ONLINE)


# ---------------------------------------------------------------------- devices that die


def test_a_device_that_dies_is_offline_and_comes_back(site: Batteries) -> None:
    with running(site.bridge("bms", "pack")):
        told(site, "pack/availability", ONLINE)
        Battery.dead.set()
        told(site, "pack/availability", OFFLINE)
        Battery.dead.clear()
        told(site, "pack/availability", ONLINE)


def test_a_device_that_dies_while_the_broker_is_frozen_is_offline_afterwards(
    site: Batteries,
) -> None:
    component = site.bridge("bms", "pack")
    with running(component):
        told(site, "pack/availability", ONLINE)
        site.broker.freeze()
        while component.bus.publish("heliobus/x", b""):
            pass  # until the broker is handed no more
        Battery.dead.set()
        wait_until(lambda: state_of(component) == "offline", "the end of the device")
        site.broker.thaw()
        told(site, "pack/availability", OFFLINE)
