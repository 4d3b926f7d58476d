"""A device that answers for others: each is a device of its own on the bus."""

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from heliobus import contract
from heliobus.asking import Asking
from heliobus.bridge import Gateway, Group, Identity, Part, Parts
from heliobus.bridging import BridgeComponent
from heliobus.claims import Claims
from heliobus.exchange import Silence
from heliobus.link import Link
from heliobus.sample import Values
from heliobus.settings import BridgeSettings, DeviceSettings
from heliobus.simulation import serve_tcp
from tests.bridge_site import OFFLINE, ONLINE, Site, running, state_of, told
from tests.helpers import BrokerProcess, wait_until
from tests.house import Counters
from tests.processes import Ear

pytestmark = pytest.mark.broker

CONTRACT = contract.load()


@dataclass
class Far:
    """What stands behind the gateway now: the values of each part, by the group."""

    now: dict[str, Values] = field(default_factory=dict)
    slow: dict[str, Values] = field(default_factory=dict)
    dead: bool = False


class Farm:
    """A bridge whose device says of itself what it is, and answers for chargers."""

    far: ClassVar[Far] = Far()

    def __init__(self, device: DeviceSettings) -> None:
        self.groups: Sequence[Group] = (Group("now", device.every_s, 0.001), Group("slow", 0.2, 0))
        self.kind = ""
        self.identity = Identity()
        named: Mapping[str, str] = device.options.get("parts", {})
        self.named = named
        self.parts: Mapping[str, Part] = {part: Part("", name=named[part]) for part in named}

    def poll(self, link: Link, group: str) -> Parts:  # noqa: ARG002
        if self.far.dead:
            raise Silence("no answer")
        if group == "slow":
            return Parts(self.far.slow)
        self.kind, self.identity = "site", Identity("Acme", "Gate")
        new = {
            name: Part(
                "charger" if name.startswith("charger") else "meter",
                Identity(model=f"C{name[-1]}"),
                role="" if name.startswith("charger") else "load",
                name=self.named.get(name, ""),
            )
            for name in self.far.now
            if name
        }
        self.parts = {**self.parts, **new}
        return Parts(self.far.now)

    def forget(self) -> None:
        """Forget what it is."""
        self.kind = ""


@pytest.fixture(autouse=True)
def far(monkeypatch: pytest.MonkeyPatch) -> Far:
    one = Far(now={"": {"pv_w": 30.0}, "charger_1": {"pv_w": 10.0}, "charger_2": {"pv_w": 20.0}})
    monkeypatch.setattr(Farm, "far", one)
    return one


@dataclass(frozen=True)
class Gates(Site):
    """A place with a link that opens."""

    url: str

    def bridge(
        self, name: str, *devices: str, takeover: bool = False, **options: Any
    ) -> BridgeComponent:
        bridge = BridgeSettings(
            name,
            "farm",
            tuple(DeviceSettings(device, 0.05, self.url, options) for device in devices),
            takeover=takeover,
        )
        return BridgeComponent(self.settings(name), bridge, Asking(bridge, Farm), CONTRACT)


@pytest.fixture
def site(mosquitto: BrokerProcess, tmp_path: Path) -> Iterator[Gates]:
    with serve_tcp(Counters()) as service:
        yield Gates(mosquitto, tmp_path, service.url)


def states(component: BridgeComponent) -> dict[str, str]:
    return {name: one["state"] for name, one in component.details()["devices"].items()}


def body(found: Mapping[str, bytes], topic: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(found[topic])
    return body


def test_the_farm_is_a_gateway() -> None:
    assert isinstance(Farm(DeviceSettings("gate", 1.0, "")), Gateway)


def test_each_part_is_a_device_of_its_own(site: Gates, far: Far) -> None:
    far.now["meter_1"] = {"power_w": -5.0}
    with running(site.bridge("farm", "gate")):
        for name in ("gate", "gate_charger_1", "gate_charger_2", "gate_meter_1"):
            told(site, f"{name}/availability", ONLINE)
        found = told(site, "gate_charger_2/info", b"pv_w")
        found |= told(site, "gate_meter_1/info", b"power_w")
    info = body(found, "gate_charger_2/info")
    assert CONTRACT.check("info", info) is None
    assert {key: info[key] for key in ("kind", "model", "via", "bridge")} == {
        "kind": "charger",
        "model": "C2",
        "via": "gate",
        "bridge": "farm",
    }
    assert body(found, "gate_meter_1/info")["role"] == "load"
    own = body(found, "gate/info")
    assert (own["kind"], own["maker"], own["model"]) == ("site", "Acme", "Gate")
    assert "via" not in own
    assert body(found, "gate/state")["pv_w"] == 30.0
    assert body(found, "gate_charger_1/state")["pv_w"] == 10.0


class Hurried(Claims):
    """Claims of a process whose main thread claims while a link's thread is at its busiest."""

    def __contains__(self, device: str) -> bool:
        known = super().__contains__(device)
        if not known and threading.current_thread().name.startswith("link "):
            wait_until(
                lambda: device in self._claims and self.holds(device), "the main thread's claim"
            )
            time.sleep(0.2)  # and to have done all that goes with it
        return known


def test_a_part_that_is_claimed_while_its_first_sample_is_put_is_published(
    site: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliobus.bridging.Claims", Hurried)
    with running(site.bridge("farm", "gate")):
        told(site, "gate_charger_1/availability", ONLINE)
        told(site, "gate_charger_1/state", b'"pv_w":10')


class Late(Farm):
    """A bridge whose answer comes when it is already being stopped."""

    asked: ClassVar[threading.Event] = threading.Event()
    stopping: ClassVar[threading.Event] = threading.Event()

    def poll(self, link: Link, group: str) -> Parts:
        self.asked.set()
        self.stopping.wait(10)
        return super().poll(link, group)


class Stopping(Asking):
    """A source that lets the answer come."""

    def stop(self) -> None:
        Late.stopping.set()
        super().stop()


def test_parts_that_are_found_at_the_very_end_are_published(site: Gates) -> None:
    farm = BridgeSettings("farm", "farm", (DeviceSettings("gate", 0.05, site.url),))
    source = Stopping(farm, Late)
    with running(BridgeComponent(site.settings("farm"), farm, source, CONTRACT)):
        told(site, "bus/farm/status", b"online")
        wait_until(Late.asked.is_set, "a question")
    found = site.retained()
    assert body(found, "gate/info")["kind"] == "site"
    assert body(found, "gate_charger_1/state")["pv_w"] == 10.0
    assert found["gate_charger_1/availability"] == OFFLINE


def test_each_part_has_a_chain_and_heads_of_its_own(site: Gates) -> None:
    with running(site.bridge("farm", "gate")), Ear(site.broker.port) as ear:
        wait_until(lambda: len(ear.heard("/gate_charger_1/state")) > 3, "samples")
    # The newest is published again when the device is claimed, which may be just after it came.
    heard = dict.fromkeys(m.payload for m in ear.heard("/gate_charger_1/state") if not m.retain)
    samples = [json.loads(payload) for payload in heard]
    assert [one["prev"] for one in samples[1:]] == [one["time"] for one in samples[:-1]]
    heads = body(site.retained(), "bus/farm/status")["heads"]
    assert set(heads) == {"gate", "gate_charger_1", "gate_charger_2"}


def test_values_of_slower_groups_are_carried_for_each_part(site: Gates, far: Far) -> None:
    far.slow = {"": {"grid_hz": 50.0}, "charger_2": {"charge_limit_a": 80.0}}
    with running(site.bridge("farm", "gate")):
        told(site, "gate_charger_2/state", b'"charge_limit_a":80')
        found = told(site, "gate/state", b'"grid_hz":50')
        assert "charge_limit_a" not in body(found, "gate_charger_1/state")
        assert "charge_limit_a" not in body(found, "gate/state")
        info = body(told(site, "gate_charger_2/info", b"charge_limit_a"), "gate_charger_2/info")
        assert info["fields"]["charge_limit_a"]["every_s"] == 0.2
        assert info["fields"]["pv_w"]["every_s"] == 0.05
        far.slow = {"": {}}
        wait_until(
            lambda: "charge_limit_a" not in body(site.retained(), "gate_charger_2/state"),
            "a value that is told no more to go",
        )


def test_a_part_that_comes_later_is_found(site: Gates, far: Far) -> None:
    with running(site.bridge("farm", "gate")):
        told(site, "gate_charger_2/availability", ONLINE)
        far.now["charger_3"] = {"pv_w": 1.0}
        told(site, "gate_charger_3/availability", ONLINE)
        told(site, "gate_charger_3/state", b'"pv_w":1')


def test_a_part_that_is_told_of_no_more_is_offline_and_comes_back(
    site: Gates, far: Far, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    component = site.bridge("farm", "gate")
    with running(component):
        told(site, "gate_charger_2/availability", ONLINE)
        gone = far.now.pop("charger_2")
        told(site, "gate_charger_2/availability", OFFLINE)
        assert states(component) == {
            "gate": "online",
            "gate_charger_1": "online",
            "gate_charger_2": "offline",
        }
        assert component.details()["devices"]["gate_charger_2"]["errors"] == 2
        far.now["charger_2"] = gone
        told(site, "gate_charger_2/availability", ONLINE)
    assert caplog.text.count("gate_charger_2 (C2): offline") == 1


def test_parts_are_offline_with_their_gateway(site: Gates, far: Far) -> None:
    component = site.bridge("farm", "gate")
    with running(component):
        told(site, "gate_charger_2/availability", ONLINE)
        far.dead = True
        for name in ("gate", "gate_charger_1", "gate_charger_2"):
            told(site, f"{name}/availability", OFFLINE)
        far.dead = False
        told(site, "gate_charger_2/availability", ONLINE)


def test_a_part_that_another_bridge_has_is_not_published(site: Gates, far: Far) -> None:
    far.now = {"": {}, "1": {"power_w": 7.0}}
    other, gate = site.bridge("other", "gate_1"), site.bridge("farm", "gate")
    with running(other):
        told(site, "gate_1/availability", ONLINE)
        with running(gate):
            wait_until(lambda: state_of(gate, "gate_1") == "refused", "the refusal")
            wait_until(lambda: state_of(gate, "gate") == "online", "the gateway itself")
            found = site.retained()
            assert body(found, "gate_1/state")["bridge"] == "other"
            assert body(found, "gate_1/info")["bridge"] == "other"
    assert "gate_1" not in body(site.retained(), "bus/farm/status")["heads"]


def test_an_owner_names_parts_and_sees_those_that_are_not_there(site: Gates, far: Far) -> None:
    component = site.bridge("farm", "gate", parts={"charger_1": "roof", "charger_9": "barn"})
    with running(component):
        told(site, "roof/state", b'"pv_w":10')
        assert b'"via":"gate"' in told(site, "roof/info", b"charger")["roof/info"]
        found = told(site, "barn/availability", OFFLINE)
        assert "barn/info" not in found
        assert "gate_charger_1/state" not in found
        assert states(component) == {
            "gate": "online",
            "gate_charger_2": "online",
            "roof": "online",
            "barn": "offline",
        }
        far.now["charger_9"] = {"pv_w": 2.0}
        told(site, "barn/info", b'"kind":"charger"')
        told(site, "barn/availability", ONLINE)


def test_two_devices_of_one_name_are_told_apart(
    site: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    component = site.bridge("farm", "gate", "shed", parts={"charger_1": "shed"})
    with running(component):
        wait_until(lambda: state_of(component, "shed") == "online", "the device that has the name")
        told(site, "shed/info", b'"kind":"site"')
    said = "gate: part 'charger_1' would be called 'shed', which is a device of 'shed' already;"
    assert caplog.text.count(said) == 1


def test_a_device_that_has_not_been_seen_says_nothing_of_itself(site: Gates, far: Far) -> None:
    far.dead = True
    component = site.bridge("farm", "gate")
    with running(component):
        found = told(site, "gate/availability", OFFLINE)
        assert "gate/info" not in found
        assert states(component) == {"gate": "offline"}
        assert body(told(site, "bus/farm/status", b"gate"), "bus/farm/status")["devices"]
        far.dead = False
        told(site, "gate/info", b'"kind":"site"')
        told(site, "gate/availability", ONLINE)


def test_after_a_restart_what_is_retained_waits_for_the_devices(site: Gates, far: Far) -> None:
    with running(site.bridge("farm", "gate")):
        told(site, "gate_charger_2/availability", ONLINE)
        before = told(site, "gate_charger_2/info", b"pv_w")
    far.dead = True
    component = site.bridge("farm", "gate", parts={"charger_1": "roof"})
    with running(component):
        wait_until(lambda: "gate_charger_1/info" not in site.retained(), "the old name to go")
        found = told(site, "gate_charger_2/availability", OFFLINE)
        assert found["gate_charger_2/info"] == before["gate_charger_2/info"]
        assert found["gate/info"] == before["gate/info"]
        far.dead = False
        told(site, "gate_charger_2/availability", ONLINE)
        told(site, "roof/availability", ONLINE)
    with running(site.bridge("farm", "other")):
        wait_until(
            lambda: not [t for t in site.retained() if t.startswith(("gate", "roof"))],
            "all parts of a gateway that is gone to go",
        )


def test_a_name_that_the_owner_has_changed_leaves_nothing_on_the_bus(site: Gates) -> None:
    with running(site.bridge("farm", "gate", parts={"charger_1": "roof", "charger_2": "barn"})):
        told(site, "roof/availability", ONLINE)
        told(site, "barn/info", b"pv_w")
    with running(site.bridge("farm", "gate", parts={"charger_1": "attic"})):
        told(site, "attic/availability", ONLINE)
        told(site, "gate_charger_2/availability", ONLINE)
        found = site.retained()
    assert not [topic for topic in found if topic.startswith(("roof/", "barn/"))]


def test_parts_of_a_gateway_that_another_bridge_has_taken_over_are_offline(site: Gates) -> None:
    first = site.bridge("farm", "gate", parts={"charger_1": "roof"})
    with running(first):
        told(site, "roof/availability", ONLINE)
        with running(site.bridge("other", "gate", takeover=True)):
            wait_until(lambda: state_of(first, "gate") == "refused", "the refusal")
            told(site, "gate_charger_1/availability", ONLINE)
            told(site, "roof/availability", OFFLINE)
