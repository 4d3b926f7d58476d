"""Devices that speak by themselves: found, claimed, journaled and shown like all others."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heliobus.bridging import BridgeComponent
from heliobus.sample import time_ms
from heliobus.settings import BrokerSettings, BrokerStart, DeviceSettings
from tests.bridge_site import (
    CONTRACT,
    OFFLINE,
    ONLINE,
    Held,
    Site,
    bridge,
    made,
    running,
    state_of,
    told,
)
from tests.helpers import BrokerProcess, wait_until
from tests.house import wall_ms
from tests.processes import SITE, Ear

pytestmark = pytest.mark.broker


@pytest.fixture
def site(mosquitto: BrokerProcess, tmp_path: Path) -> Site:
    return Site(mosquitto, tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[BrokerProcess]:
    """Run a second broker."""
    broker = BrokerProcess(BrokerStart.MOSQUITTO, tmp_path / "other")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def ear(mosquitto: BrokerProcess) -> Iterator[Ear]:
    with Ear(mosquitto.port) as one:
        wait_until(one.client.is_connected, "the connection")
        yield one


def say(ear: Ear, topic: str, body: Any, *, retain: bool = False) -> None:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    ear.client.publish(f"plant/{topic}", payload, qos=1, retain=retain)


@contextmanager
def listening(component: BridgeComponent, ear: Ear) -> Iterator[BridgeComponent]:
    """Run it; from now on it hears what is said."""
    since_s = time.monotonic()

    def online() -> bool:
        heard = ear.heard(f"/bus/{component.name}/status", since_s)
        return any(b'"online"' in message.payload for message in heard if not message.retain)

    with running(component):
        wait_until(online, "its status, which it says after it has subscribed")
        yield component


def settled(ear: Ear) -> None:
    """Wait until a bridge has heard all that the broker retains."""
    say(ear, "settler/values", {"pv_w": 1})
    wait_until(lambda: ear.heard("/settler/state"), "its first device")


def history(ear: Ear, name: str, device: str) -> list[dict[str, Any]]:
    """Ask a bridge for all that it has of a device."""
    since_s = time.monotonic()
    ask = {"id": "1", "sink": "ear", "device": device, "after": None, "until": None}
    ear.say(f"bus/{name}/replay", ask)
    (answer,) = wait_until(lambda: ear.heard("/bus/ear/history", since_s), "the answer")
    samples: list[dict[str, Any]] = json.loads(answer.payload)["samples"]
    return samples


# ---------------------------------------------------------------------- found


def test_a_device_that_speaks_is_found_and_shown_as_the_contract_says(
    site: Site, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliobus.component.STATUS_S", 0.2)
    named = DeviceSettings("hm800", 10.0, "", options={"title": "Garage"})
    with listening(made(site, "roof", named)[0], ear):
        say(ear, "hm800/values", {"pv_w": 412.5, "model": "HM-800", "moon_phase": 3})
        told(site, "hm800/availability", ONLINE)
        found = told(site, "bus/roof/status", b"hm800", b"heads")
    assert {topic for topic in found if topic.startswith("hm800/")} == {
        "hm800/state",
        "hm800/info",
        "hm800/availability",
    }
    info, state, status = (
        json.loads(found[name]) for name in ("hm800/info", "hm800/state", "bus/roof/status")
    )
    assert CONTRACT.check("info", info) is None
    assert CONTRACT.check("status", status) is None
    assert CONTRACT.check("inverter", state) is None
    fields = info.pop("fields")
    assert info == {
        "kind": "inverter",
        "title": "Garage",
        "maker": "Acme",
        "model": "HM-800",
        "via": "gateway",
        "bridge": "roof",
        "contract": CONTRACT.version,
        "every_s": 10.0,
        "commands": {},
    }
    assert set(fields) == {"pv_w"}
    assert (fields["pv_w"]["unit"], fields["pv_w"]["every_s"]) == ("W", 10.0)
    assert (state["pv_w"], state["bridge"], state["prev"]) == (412.5, "roof", None)
    assert status["devices"]["hm800"] == {"state": "online", "messages": 1, "errors": 0}


def test_a_new_device_is_introduced_before_its_first_values(site: Site, ear: Ear) -> None:
    with listening(bridge(site), ear):
        settled(ear)
        say(ear, "hm800/values", {"pv_w": 5})
        wait_until(lambda: ear.heard("/hm800/state"), "its first values")
        heard = [message.topic.rpartition("/")[2] for message in ear.heard("") if _is_of(message)]
        (info,) = ear.heard("/hm800/info")
    assert heard == ["info", "availability", "state"]
    assert "pv_w" in json.loads(info.payload)["fields"]


def _is_of(message: Any) -> bool:
    return "/hm800/" in str(message.topic)


def test_what_is_learned_later_is_told_later(site: Site, ear: Ear) -> None:
    with listening(bridge(site), ear):
        say(ear, "hm800/values", {"pv_w": 5})
        told(site, "hm800/info", b"pv_w")
        say(ear, "hm800/values", {"output_w": 4, "model": "HM-800"})
        told(site, "hm800/info", b"pv_w", b"output_w", b"HM-800")


def test_how_often_a_device_speaks_may_be_learned(site: Site, ear: Ear) -> None:
    with listening(bridge(site), ear):
        say(ear, "hm800/values", {"pv_w": 5, "every": 5})
        told(site, "hm800/info", b"pv_w")
        say(ear, "hm800/values", {"output_w": 4, "every": 600})
        found = told(site, "hm800/info", b"output_w", b"600")
    info = json.loads(found["hm800/info"])
    assert info["every_s"] == 600.0
    assert {name: one["every_s"] for name, one in info["fields"].items()} == {
        "pv_w": 600.0,
        "output_w": 600.0,
    }


def test_samples_are_journaled_from_the_first_on(site: Site, ear: Ear) -> None:
    for count in range(5):
        say(ear, f"hm{count}/values", {"pv_w": count}, retain=True)
    with listening(bridge(site), ear):
        told(site, "hm4/state", b"pv_w")
        samples = [history(ear, "roof", f"hm{count}") for count in range(5)]
    assert [[(one["prev"], one["pv_w"]) for one in all_] for all_ in samples] == [
        [(None, count)] for count in range(5)
    ]


@pytest.mark.parametrize("name", ["Garage", "bus", "a-b", "x" * 64, "ä", "a b", "$a"])
def test_a_device_with_a_name_that_none_may_have_never_gets_through(
    site: Site, ear: Ear, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with listening(bridge(site), ear) as component:
        say(ear, f"{name}/values", {"pv_w": 1})
        settled(ear)
        assert history(ear, "roof", "settler")
        assert list(component.details()["devices"]) == ["settler"]
    assert f"a device is called {name!a:.60}, expected lower-case letters" in caplog.text
    assert {message.topic.split("/")[2] for message in ear.heard("")} == {"bus", "settler"}


def test_what_is_refused_is_told_and_counted(site: Site, ear: Ear) -> None:
    with listening(bridge(site), ear) as component:
        say(ear, "hm800/values", b"NaN")
        (letter,) = wait_until(lambda: ear.heard("/bus/roof/rejected"), "the refusal")
        wait_until(lambda: component.details()["rejected"] == 1, "its count")
        device = component.details()["devices"]["hm800"]
    assert json.loads(letter.payload)["topic"] == "plant/hm800/values"
    assert (device["errors"], device["error"][:9]) == (1, "not JSON:")


def test_what_the_owner_should_know_stands_in_the_status_and_once_in_the_log(
    site: Site, ear: Ear, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliobus.component.STATUS_S", 0.1)
    caplog.set_level(logging.INFO)
    with listening(bridge(site), ear):
        say(ear, "hint", b"its clock is not set")
        wait_until(lambda: ear.status("roof").get("hints") == ["its clock is not set"], "the hint")
        assert CONTRACT.check("status", ear.status("roof")) is None
        say(ear, "hint", b"")
        wait_until(lambda: "hints" not in ear.status("roof"), "its end")
    texts = [record.message for record in caplog.records]
    assert texts.count("its clock is not set") == 1
    assert texts.count("no longer so: its clock is not set") == 1


def test_a_bridge_that_has_heard_of_no_device_says_where_it_listens(
    site: Site, ear: Ear, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliobus.component.STATUS_S", 0.1)
    monkeypatch.setattr("heliobus.listening.SILENCE_S", 0.2)
    with listening(bridge(site), ear):
        (hint,) = wait_until(lambda: ear.status("roof").get("hints", []), "the hint")
        say(ear, "hm800/values", {"pv_w": 5})
        wait_until(lambda: "hints" not in ear.status("roof"), "its end")
    assert hint == (
        f"roof: no device heard yet on plant/# at mqtt://127.0.0.1:{site.broker.port}; is it on,"
        " does it speak to this broker, and is its base topic the one that is expected here?"
        " If not, set 'base'"
    )
    assert [record.message for record in caplog.records].count(hint) == 1


def test_a_device_that_only_was_there_once_is_not_said_to_go_or_come(
    site: Site, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    say(ear, "old/online", b"no", retain=True)
    with listening(bridge(site), ear):
        settled(ear)
        told(site, "old/availability", OFFLINE)
        assert "old (" not in caplog.text
    assert "settler (Acme): online" in caplog.text


def test_it_speaks_once_after_each_connection_and_leaves_nothing_behind(
    site: Site, ear: Ear
) -> None:
    component, listener = made(site)
    with listening(component, ear):
        wait_until(lambda: listener.hellos == 1, "the first")
        site.broker.restart()  # it keeps what is retained
        wait_until(lambda: listener.hellos == 2, "the second")
        say(ear, "settler/values", {"pv_w": 1}, retain=True)
        told(site, "settler/state", b"pv_w")
        assert listener.hellos == 2


# ---------------------------------------------------------------------- whose


def test_a_device_of_another_bridge_is_refused_by_name_until_that_one_ends(
    site: Site, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(bridge(site, "zebra"), ear):
        settled(ear)
        with listening(bridge(site, "ant"), ear) as ant:
            say(ear, "settler/values", {"pv_w": 2})
            wait_until(lambda: state_of(ant, "settler") == "refused", "the refusal")
            say(ear, "settler/values", {"pv_w": 3})
            wait_until(lambda: len(history(ear, "zebra", "settler")) == 3, "the third sample")
            settled(ear)
            assert history(ear, "ant", "settler") == []
            told(site, "settler/info", b'"bridge":"zebra"')
    said = "settler: bridge 'zebra' publishes this device; passing over what it says here. Rename"
    assert caplog.text.count(said) == 1


def test_a_refused_device_is_taken_over_when_its_bridge_ends(site: Site, ear: Ear) -> None:
    with listening(bridge(site, "second"), ear) as second:
        with listening(bridge(site, "first", prefix="first"), ear):
            ear.client.publish("first/hm800/values", b'{"pv_w": 1}', qos=1)
            told(site, "hm800/availability", ONLINE)
            say(ear, "hm800/values", {"pv_w": 2})
            wait_until(lambda: state_of(second, "hm800") == "refused", "the refusal")
        wait_until(lambda: state_of(second, "hm800") == "online", "the taking over")
        say(ear, "hm800/values", {"pv_w": 3})
        told(site, "hm800/info", b'"bridge":"second"')
        told(site, "hm800/state", b'"pv_w":3')


def test_a_stop_in_order_leaves_what_was_found_offline(site: Site, ear: Ear) -> None:
    with listening(bridge(site), ear):
        say(ear, "hm800/values", {"pv_w": 5})
        told(site, "hm800/availability", ONLINE)
    assert site.retained()["hm800/availability"] == OFFLINE


def test_what_was_found_before_a_kill_is_offline_until_it_speaks_again(
    site: Site, ear: Ear
) -> None:
    with listening(bridge(site), ear):
        say(ear, "hm800/values", {"pv_w": 5})
        told(site, "hm800/availability", ONLINE)
    ear.client.publish(f"heliobus/{SITE}/hm800/availability", ONLINE, qos=1, retain=True)
    with listening(bridge(site), ear):
        found = told(site, "hm800/availability", OFFLINE)
        assert b"roof" in found["hm800/info"]
        say(ear, "hm800/values", {"pv_w": 6})
        told(site, "hm800/availability", ONLINE)


# ---------------------------------------------------------------------- many messages


@contextmanager
def held(listener: Held, ear: Ear) -> Iterator[None]:
    """Keep the main loop from taking in what comes."""
    listener.taking.clear()
    listener.free.clear()
    say(ear, "hint", b"")
    wait_until(listener.taking.is_set, "that it is held")
    try:
        yield
    finally:
        listener.free.set()


def waiting(component: BridgeComponent) -> int:
    return component._inbox.qsize()  # noqa: SLF001 - nobody else wants to know


def test_a_reading_has_the_time_at_which_its_message_came(site: Site, ear: Ear) -> None:
    component, listener = made(site)
    with listening(component, ear):
        settled(ear)
        with held(listener, ear):
            say(ear, "hm800/values", {"pv_w": 5})
            wait_until(lambda: waiting(component) >= 1, "the message")
            came_ms = wall_ms()
            time.sleep(0.3)
        found = told(site, "hm800/state", b"pv_w")
    assert time_ms(json.loads(found["hm800/state"])["time"]) <= came_ms


def test_while_messages_wait_no_time_passes_for_the_listener(site: Site, ear: Ear) -> None:
    component, listener = made(site)
    with listening(component, ear):
        settled(ear)
        with held(listener, ear):
            for count in range(60):
                say(ear, "hm800/values", {"pv_w": count})
            wait_until(lambda: waiting(component) >= 60, "the messages")
            listener.lags_s.clear()
            listener.pause_s = 0.02
        wait_until(lambda: not waiting(component), "that all is taken in")
        lags_s = [*listener.lags_s]
    assert lags_s[:2] == [0.0, 0.0]


def test_messages_that_find_no_place_are_counted_and_said(
    site: Site, ear: Ear, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("heliobus.component.INBOX_MESSAGES", 10)
    monkeypatch.setattr("heliobus.component.STATUS_S", 0.2)
    component, listener = made(site)
    with listening(component, ear):
        settled(ear)
        with held(listener, ear):
            for count in range(50):
                say(ear, f"hm{count}/values", {"pv_w": count})
            wait_until(lambda: waiting(component) >= 10, "a full inbox")
            wait_until(lambda: component._dropped >= 35, "messages too many")  # noqa: SLF001
        wait_until(lambda: ear.status("roof").get("dropped", 0) >= 35, "their count")
        assert CONTRACT.check("status", ear.status("roof")) is None
    assert "messages came faster than they could be taken in, and were dropped;" in caplog.text


def test_a_flood_keeps_nobody_from_hearing_how_the_bridge_is(
    site: Site, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliobus.component.STATUS_S", 0.2)
    component, listener = made(site)
    with listening(component, ear):
        settled(ear)
        listener.pause_s = 0.002
        begin_s = time.monotonic()
        for count in range(2000):
            say(ear, "hm800/values", {"pv_w": count})
        wait_until(lambda: len(ear.heard("/bus/roof/status", begin_s)) >= 3, "its status", 20)
        assert waiting(component) > 0
        listener.pause_s = 0.0


# ---------------------------------------------------------------------- another broker


def test_devices_of_another_broker_are_offline_while_it_is_away(
    site: Site, other: BrokerProcess, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    component = bridge(site, broker=BrokerSettings(port=other.port))
    with listening(component, ear), Ear(other.port) as far:
        wait_until(far.client.is_connected, "the connection")
        say(far, "hm800/values", {"pv_w": 5}, retain=True)
        told(site, "hm800/availability", ONLINE)
        say(ear, "near/values", {"pv_w": 5})
        other.kill()
        told(site, "hm800/availability", OFFLINE)
        lost = f"broker {other.url}: the connection is lost; trying again"
        away = f"broker {other.url}: nothing listens there; is the broker running? Trying again"
        wait_until(lambda: component.details()["error"] in (lost, away), "the trouble")
        assert CONTRACT.check("status", {"state": "online", **component.details()}) is None
        other.start()
        wait_until(far.client.is_connected, "the connection")
        say(far, "hm800/values", {"pv_w": 6}, retain=True)
        told(site, "hm800/availability", ONLINE)
        assert list(component.details()["devices"]) == ["hm800"]
        assert "error" not in component.details()
    assert f"broker {other.url}: the connection is lost; trying again" in caplog.text


def test_what_another_broker_says_of_bridges_is_not_of_this_site(
    site: Site, other: BrokerProcess, ear: Ear
) -> None:
    component = bridge(site, prefix="heliobus", broker=BrokerSettings(port=other.port))
    with Ear(other.port) as far:
        wait_until(far.client.is_connected, "the connection")
        far.say("bus/zebra/status", {"state": "online"}, retain=True)
        far.say("hm800/info", {"bridge": "zebra"}, retain=True)
        with running(component):
            wait_until(lambda: ear.status("roof").get("state") == "online", "its status")
            far.client.publish("heliobus/hm800/values", b'{"pv_w": 5}', qos=1, retain=True)
            wait_until(lambda: state_of(component, "hm800") == "online", "the device")
            told(site, "hm800/info", b'"bridge":"roof"')


def test_a_bridge_may_hear_what_heliobus_itself_says(site: Site, ear: Ear) -> None:
    with listening(bridge(site, "totals", prefix=f"heliobus/{SITE}/plant"), ear):
        ear.say("plant/hm800/values", {"pv_w": 5})
        told(site, "hm800/state", b'"bridge":"totals"')
