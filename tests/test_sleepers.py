"""A device that is silent at night is asleep: available, without a fault and without old values."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from heliobus import contract
from heliobus.asking import Asking
from heliobus.bridge import Group, Identity, Parts, Sleeper
from heliobus.bridging import BridgeComponent
from heliobus.errors import FrameError, LinkError
from heliobus.exchange import Echo, Silence
from heliobus.link import Link
from heliobus.polled import Member, Polled, Presence
from heliobus.poller import Poller
from heliobus.sample import Values
from heliobus.settings import BridgeSettings, DeviceSettings
from heliobus.simulation import serve_tcp
from tests.bridge_site import ONLINE, Site, running, state_of, told
from tests.helpers import BrokerProcess, free_port, wait_until
from tests.house import Counters


class Panel:
    """A bridge whose device fails with `error` at its beat, and can be asleep then."""

    kind = "inverter"
    identity = Identity("Acme", "Sun 3")

    def __init__(self, device: DeviceSettings) -> None:
        self.groups: Sequence[Group] = (
            Group("beat", device.every_s, 0.001),
            Group("slow", 60.0, 0.001),
        )
        self.error: Exception | None = None
        self.sleeps: Values | Parts | None = {"mode": "asleep"}
        self.forgotten = 0
        self.on_our_port = False

    def poll(self, link: Link, group: str) -> Values:  # noqa: ARG002
        if self.error is not None:
            raise self.error
        return {"output_w": 5.0} if group == "beat" else {"rated_w": 3000}

    def asleep(self, *, lost: bool) -> Values | Parts | None:
        return None if lost and self.on_our_port else self.sleeps

    def forget(self) -> None:
        self.forgotten += 1


class Room:
    """A poller, and what it said."""

    def __init__(self, url: str, *panels: Panel) -> None:
        self.samples: SimpleQueue[tuple[str, Values]] = SimpleQueue()
        self.changes: SimpleQueue[tuple[str, Presence | None]] = SimpleQueue()
        self.devices = [
            Polled(DeviceSettings(f"panel_{n}", 0.02, url), panel) for n, panel in enumerate(panels)
        ]
        for device in self.devices:
            device.allowed = True
        self.poller = Poller(
            url,
            self.devices,
            on_sample=self._sample,
            on_change=self._change,
            on_event=lambda *_: None,
        )

    def _sample(self, member: Member, values: Values, _: float) -> None:
        self.samples.put((member.name, values))

    def _change(self, member: Member) -> None:
        self.changes.put((member.name, member.presence))

    def change(self) -> tuple[str, Presence | None]:
        return self.changes.get(timeout=10)

    def last(self) -> Values:
        """Give the newest of the samples so far."""
        values = self.samples.get(timeout=10)[1]
        while not self.samples.empty():
            values = self.samples.get()[1]
        return values


@contextmanager
def polling(url: str, *panels: Panel) -> Iterator[Room]:
    room = Room(url, *panels)
    room.poller.start()
    try:
        yield room
    finally:
        room.poller.stop()


@pytest.fixture
def url() -> Iterator[str]:
    with serve_tcp(Counters()) as service:
        yield service.url


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heliobus.polled.back_off_s", lambda _: 0.02)
    monkeypatch.setattr("heliobus.poller.back_off_s", lambda _: 0.02)


def panel() -> Panel:
    return Panel(DeviceSettings("panel", 0.02, ""))


def test_a_panel_is_a_sleeper() -> None:
    assert isinstance(panel(), Sleeper)


@pytest.mark.parametrize(
    "error",
    [Silence("no answer to unit 1 in 1 s"), LinkError("tcp://192.0.2.1: host unreachable")],
    ids=["silence", "link"],
)
def test_a_silent_device_that_is_asleep_is_available_and_says_so_at_each_try(
    url: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = panel()
    with polling(url, one) as room:
        wait_until(lambda: "rated_w" in room.last(), "both groups")
        one.error = error
        assert [room.change(), room.change()] == [
            ("panel_0", Presence.ONLINE),
            ("panel_0", Presence.ASLEEP),
        ]
        assert room.last() == {"mode": "asleep"}
        for _ in range(3):
            assert room.samples.get(timeout=10) == ("panel_0", {"mode": "asleep"})
        assert room.devices[0].error == ""
        assert room.devices[0].errors == 0
        one.error = None
        assert room.change() == ("panel_0", Presence.ONLINE)
        wait_until(lambda: room.last() == {"output_w": 5.0, "rated_w": 3000}, "the day")
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


class Hesitant(Panel):
    """One that leaves every other question of its beat without an answer."""

    beats = 0

    def poll(self, link: Link, group: str) -> Values:
        self.beats += group == "beat"
        if self.beats % 2:
            raise Silence("no answer")
        return super().poll(link, group)


def test_one_silence_is_not_sleep(url: str) -> None:
    one = Hesitant(DeviceSettings("panel", 0.02, ""))
    with polling(url, one) as room:
        samples = [room.samples.get(timeout=10)[1] for _ in range(5)]
    assert all(values["output_w"] == 5.0 for values in samples)
    assert room.changes.qsize() == 1


def test_a_host_that_is_not_there_is_asleep(caplog: pytest.LogCaptureFixture) -> None:
    with polling(f"tcp://127.0.0.1:{free_port()}", panel()) as room:
        assert room.change() == ("panel_0", Presence.ASLEEP)
        assert room.last() == {"mode": "asleep"}
    assert "trying again" not in caplog.text


def test_a_device_on_a_port_of_ours_does_not_sleep_while_the_port_is_gone() -> None:
    one = panel()
    one.on_our_port = True
    with polling(f"tcp://127.0.0.1:{free_port()}", one) as room:
        assert room.change() == ("panel_0", Presence.OFFLINE)


def test_one_of_which_only_the_echo_comes_back_sleeps(url: str) -> None:
    one = panel()
    one.error = Echo("no answer, only its echo")
    with polling(url, one) as room:
        assert room.change() == ("panel_0", Presence.ASLEEP)


def test_a_device_that_should_be_awake_is_offline(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = panel()
    one.sleeps, one.error = None, Silence("no answer to unit 1 in 1 s")
    with polling(url, one) as room:
        assert room.change() == ("panel_0", Presence.OFFLINE)
    assert "no answer to unit 1 in 1 s; trying again" in caplog.text


def test_a_damaged_answer_is_not_sleep(url: str, caplog: pytest.LogCaptureFixture) -> None:
    one = panel()
    one.error = FrameError("CRC is wrong")
    with polling(url, one) as room:
        assert room.change() == ("panel_0", Presence.OFFLINE)
    assert "CRC is wrong; trying again" in caplog.text


def test_an_awake_device_on_a_link_that_fails_is_told_of_beside_one_that_sleeps(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    sleeping, awake = panel(), panel()
    awake.sleeps = None
    with polling(url, sleeping, awake) as room:
        assert {room.change(), room.change()} == {
            ("panel_0", Presence.ONLINE),
            ("panel_1", Presence.ONLINE),
        }
        sleeping.error = awake.error = LinkError("host unreachable")
        assert {room.change(), room.change()} == {
            ("panel_0", Presence.ASLEEP),
            ("panel_1", Presence.OFFLINE),
        }
    assert caplog.text.count("host unreachable; trying again") == 1


def test_a_device_that_is_not_allowed_does_not_talk_in_its_sleep() -> None:
    sleeping, other = panel(), panel()
    room = Room(f"tcp://127.0.0.1:{free_port()}", sleeping, other)
    room.devices[0].allowed = False
    room.poller.start()
    try:
        for _ in range(3):
            assert room.samples.get(timeout=10)[0] == "panel_1"
    finally:
        room.poller.stop()


@pytest.mark.broker
def test_a_sleeping_device_is_online_on_the_bus_and_asleep_in_the_status(
    mosquitto: BrokerProcess, tmp_path: Path
) -> None:
    with serve_tcp(Counters()) as service:
        site = Site(mosquitto, tmp_path)
        bridge = BridgeSettings("sun", "panel", (DeviceSettings("roof", 0.05, service.url),))
        panels: list[Panel] = []

        def make(device: DeviceSettings) -> Panel:
            panels.append(Panel(device))
            return panels[0]

        source = Asking(bridge, make)  # type: ignore[arg-type]
        component = BridgeComponent(site.settings("sun"), bridge, source, contract.load())
        with running(component):
            told(site, "roof/state", b"output_w")
            panels[0].error = Silence("no answer")
            told(site, "roof/state", b'"mode":"asleep"')
            found = told(site, "roof/availability", ONLINE)
            assert b"output_w" not in found["roof/state"]
            assert state_of(component, "roof") == "asleep"
            panels[0].error = None
            told(site, "roof/state", b"output_w")
            wait_until(lambda: state_of(component, "roof") == "online", "the morning")


def test_one_that_is_silent_for_longer_than_any_night_is_offline(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliobus.polled.LONGEST_SLEEP_S", 0.3)
    one = panel()
    with polling(url, one) as room:
        assert room.change() == ("panel_0", Presence.ONLINE)
        one.error = Silence("no answer to unit 1 in 1 s")
        assert room.change() == ("panel_0", Presence.ASLEEP)
        assert room.change() == ("panel_0", Presence.OFFLINE)
        one.error = None
        assert room.change() == ("panel_0", Presence.ONLINE)
        one.error = Silence("no answer to unit 1 in 1 s")
        assert room.change() == ("panel_0", Presence.ASLEEP)  # the next night is another one
    assert caplog.text.count("no answer to unit 1 in 1 s; trying again") == 1


def test_a_night_of_a_day_and_a_half_is_a_night() -> None:
    device = Polled(DeviceSettings("panel", 1.0, ""), panel())
    device.slept(100.0)
    assert device.asleep(100.0 + 36 * 3600, lost=False) == {"": {"mode": "asleep"}}
    assert device.asleep(101.0 + 36 * 3600, lost=False) is None


def test_one_that_has_slept_may_be_another_in_the_morning(url: str) -> None:
    one = panel()
    with polling(url, one) as room:
        assert room.change() == ("panel_0", Presence.ONLINE)
        one.error = Silence("no answer to unit 1 in 1 s")
        assert room.change() == ("panel_0", Presence.ASLEEP)
        wait_until(lambda: one.forgotten == 1, "what was known to be forgotten")


def test_what_was_known_by_day_is_not_carried_over_the_night() -> None:
    one = panel()
    device = Polled(DeviceSettings("panel", 1.0, ""), one)
    beat, slow = one.groups
    device.begin(0.0)
    device.took(slow, {"rated_w": 3000}, 0.1)
    device.slept(1.0)
    assert device.took(beat, {"output_w": 5.0}, 0.1) == {"": {"output_w": 5.0}}
