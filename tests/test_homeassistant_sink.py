"""The Home Assistant sink over time: what is told when, and what is taken away when."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliobus.bus import Message, Subscription
from sinks.homeassistant import READ_S, foreign_topics
from sinks.homeassistant.echoes import Echoes
from tests.ha_rules import rejections
from tests.homeassistant_sink import CONTRACT, OPTIONS, Broker, homeassistant, info, topic

INFO = "heliobus/farm/inverter/info"
CONFIG = topic("heliobus_farm_inverter")
BRIDGE = "heliobus/farm/bus/axpert/status"
DAY_S = 86_400.0
OPENDTU = (
    "as OpenDTU announces inverter 114172608275 to Home Assistant itself. Switch that off on"
    " OpenDTU's page and delete its device in Home Assistant, or name it in 'leave_out', or set"
    " 'opendtu: announce'"
)


def started(*fields: str, **options: Any) -> Broker:
    """Give a broker where an inverter with these fields is announced."""
    broker = Broker(**options)
    broker.put(INFO, info(*(fields or ("mode", "pv_w"))))
    broker.put(BRIDGE, {"state": "online"})
    broker.start()
    return broker


def entities(broker: Broker, name: str = "heliobus_farm_inverter") -> list[str]:
    cmps = broker.config(name)["cmps"]
    return [key for key, one in cmps.items() if "uniq_id" in one]


# ---------------------------------------------------------------------- at the start


def test_nothing_is_said_before_what_is_retained_has_been_read() -> None:
    broker = Broker()
    broker.put(INFO, info("pv_w"))
    broker.sink.connected(broker.now_s)
    broker.hear(INFO, info("pv_w"), retained=True)
    broker.hear("heliobus/farm/bus/hass/status", {"state": "online"})
    assert broker.after(READ_S - 0.1) == []
    assert broker.after(0.1) == [CONFIG]


def test_a_slow_broker_is_waited_for() -> None:
    broker = Broker()
    broker.sink.connected(broker.now_s)
    broker.hear(INFO, info("pv_w"), retained=True)
    assert broker.after(20) == []
    broker.hear("heliobus/farm/bus/hass/status", {"state": "online"}, retained=True)
    assert broker.after(1) == []  # the old one of before the start
    broker.hear("heliobus/farm/bus/hass/status", {"state": "online"})
    assert broker.after(0) == [CONFIG]


def test_a_second_start_publishes_nothing() -> None:
    broker = started("mode", "pv_w", "pv_01_w", "pv_02_w", health=True)
    assert broker.start() == []
    assert broker.connect() == []


def test_what_changed_while_we_were_away_is_published_alone() -> None:
    broker = started()
    broker.put("heliobus/farm/bank/info", info("soc_percent", kind="battery"))
    broker.start()
    broker.put(INFO, info("mode", "pv_w", title="Shed"))
    assert broker.start() == [CONFIG]
    assert broker.config("heliobus_farm_inverter")["dev"]["name"] == "Shed"


def test_a_new_device_is_announced_once_all_of_it_has_come() -> None:
    broker = started()
    broker.put("heliobus/farm/bank/info", info("soc_percent", kind="battery"))
    assert broker.after(1.9) == []
    assert broker.after(0.1) == [topic("heliobus_farm_bank")]
    assert broker.after(DAY_S) == []


def test_a_device_without_fields_waits_for_its_first_ones() -> None:
    broker = Broker()
    broker.put(INFO, info())
    assert broker.start() == []
    broker.put(INFO, info("pv_w"))
    assert broker.after() == [CONFIG]


def test_all_is_published_again_when_home_assistant_starts() -> None:
    broker = started("mode", "pv_w", "pv_01_w", "pv_02_w")
    broker.hear("homeassistant/status", b"offline")
    assert broker.after(0.2) == []
    broker.hear("homeassistant/status", b"online")
    assert broker.after(0.2) == [
        CONFIG,
        topic("heliobus_farm_inverter-pv_01"),
        topic("heliobus_farm_inverter-pv_02"),
    ]
    assert broker.after(0.2) == []
    broker.retained["homeassistant/status"] = b"online"  # said some day: no reason to repeat it
    assert broker.start() == []


# ---------------------------------------------------------------------- entities that come and go


def test_a_new_field_is_added() -> None:
    broker = started("mode")
    broker.put(INFO, info("mode", "pv_w"))
    assert broker.after() == [CONFIG]
    assert entities(broker) == ["mode", "pv_w"]


def test_a_bridge_that_knows_less_after_its_start_takes_nothing_away() -> None:
    broker = started("mode", "pv_w", "pv_01_w", "pv_02_w")
    broker.put(INFO, info("mode", "pv_01_w"))
    assert broker.after() == []
    assert broker.start() == []
    broker.put(INFO, info())
    assert broker.after(3600) == []


def test_a_string_stays_a_device_while_it_alone_is_known() -> None:
    broker = started("mode", "pv_01_w", "pv_02_w")
    body = info("mode", "pv_01_w", "pv_01_v")
    broker.put(INFO, body)
    first = topic("heliobus_farm_inverter-pv_01")
    assert broker.after() == [first]
    assert entities(broker, "heliobus_farm_inverter-pv_01") == ["pv_01_w", "pv_01_v"]


def test_the_identity_stays_while_a_device_is_silent_about_itself() -> None:
    broker = Broker()
    broker.put(INFO, info("mode", maker="Voltronic", model="MAX", serial="1", firmware="7"))
    broker.start()
    broker.put(INFO, info("mode"))
    assert broker.after() == []
    broker.put(INFO, info("mode", maker="Voltronic", model="MAX", serial="1", firmware="8"))
    assert broker.after() == [CONFIG]
    assert broker.config("heliobus_farm_inverter")["dev"]["sw"] == "8"


def test_a_field_that_is_gone_for_a_day_is_removed_once_and_then_left_out() -> None:
    broker = started("mode", "pv_w")
    broker.put(INFO, info("mode"))
    assert broker.after() == []
    assert broker.after(DAY_S - 1) == []
    assert broker.after(1) == [CONFIG]
    assert broker.config("heliobus_farm_inverter")["cmps"]["pv_w"] == {"p": "sensor"}
    assert broker.start() == []  # Home Assistant may not have seen it yet
    assert broker.after(600) == [CONFIG]
    assert list(broker.config("heliobus_farm_inverter")["cmps"]) == ["mode"]
    assert broker.after(DAY_S) == []


def test_the_fields_of_the_device_before_are_removed_at_once() -> None:
    broker = Broker()
    broker.put(INFO, info("mode", "pv_w", serial="1"))
    broker.start()
    broker.put(INFO, info("mode", serial="2"))
    assert broker.after() == [CONFIG]
    assert broker.config("heliobus_farm_inverter")["cmps"]["pv_w"] == {"p": "sensor"}


def test_a_model_that_is_known_more_exactly_is_no_other_device() -> None:
    broker = Broker()
    broker.put(INFO, info("mode", "pv_w", model="Axpert"))
    broker.start()
    broker.put(INFO, info("mode", model="Axpert MAX 7.2"))
    assert broker.after() == [CONFIG]
    assert entities(broker) == ["mode", "pv_w"]


def test_another_device_has_nothing_of_the_identity_of_the_one_before() -> None:
    broker = Broker()
    broker.put(INFO, info("mode", maker="Voltronic", serial="1", firmware="7"))
    broker.start()
    broker.put(INFO, info("mode", serial="2"))
    assert broker.after() == [CONFIG]
    assert broker.config("heliobus_farm_inverter")["dev"] == {
        "ids": ["heliobus_farm_inverter"],
        "name": "Inverter",
        "sn": "2",
    }


def test_a_field_that_came_back_has_its_day_again() -> None:
    broker = started("mode", "pv_w")
    for wait_s in (DAY_S - 10, DAY_S - 10):
        broker.put(INFO, info("mode"))
        assert broker.after() == []
        assert broker.after(wait_s) == []
        broker.put(INFO, info("mode", "pv_w"))
        assert broker.after() == []


def test_a_device_that_came_back_knows_nothing_of_what_was_missing_before() -> None:
    broker = started("mode", "pv_w")
    broker.put(INFO, info("mode"))
    broker.after()
    broker.put(INFO, b"")
    assert broker.after() + broker.after(10) == [CONFIG]
    broker.after(3 * DAY_S)
    for fields in (("mode", "pv_w"), ("mode",)):
        broker.put(INFO, info(*fields))
        broker.after()
    assert entities(broker) == ["mode", "pv_w"]


def test_strings_stay_devices_while_nothing_else_is_known_of_theirs() -> None:
    broker = started("mode", "pv_01_w", "pv_02_w")
    broker.put(INFO, info("pv_01_w", "pv_02_w"))
    assert broker.after() == []
    assert broker.sink.next_s > broker.now_s + 3600
    assert entities(broker) == ["mode"]
    parts = [f"heliobus_farm_inverter-pv_0{n}" for n in (1, 2)]
    for _ in range(3):
        broker.after(DAY_S / 2)
        assert [entities(broker, part) for part in parts] == [["pv_01_w"], ["pv_02_w"]]


def test_an_entity_that_another_config_claims_is_not_looked_for_without_end() -> None:
    broker = Broker()
    theirs = {"p": "sensor", "uniq_id": "heliobus_farm_inverter-pv_w", "def_ent_id": "sensor.x"}
    avty = [{"t": "heliobus/farm/inverter/availability"}]
    body = {"o": {"name": "heliobus"}, "dev": {}, "avty": avty, "cmps": {"pv_w": theirs}}
    broker.put(topic("heliobus_farm_inverter-pv_07"), body)
    broker.put(BRIDGE, {"state": "online"})
    broker.put(INFO, info("mode", "pv_w"))
    broker.start()
    assert entities(broker) == ["mode"]
    assert broker.sink.next_s > broker.now_s + 3600


def test_a_value_of_another_type_is_removed_before_it_is_added() -> None:
    broker = started("mode", "pv_w")
    changed = info("mode", "pv_w")
    changed["fields"]["pv_w"] = {"type": "boolean", "every_s": 5}
    broker.put(INFO, changed)
    broker.after()
    assert broker.config("heliobus_farm_inverter")["cmps"]["pv_w"] == {"p": "sensor"}
    broker.after()
    assert broker.config("heliobus_farm_inverter")["cmps"]["pv_w"]["p"] == "binary_sensor"


def test_a_string_that_becomes_a_device_is_removed_before_it_is_added() -> None:
    broker = started("mode", "pv_01_w")
    assert entities(broker) == ["mode", "pv_01_w"]
    broker.put(INFO, info("mode", "pv_01_w", "pv_02_w"))
    second = topic("heliobus_farm_inverter-pv_02")
    assert broker.after() == [CONFIG, second]
    assert broker.config("heliobus_farm_inverter")["cmps"]["pv_01_w"] == {"p": "sensor"}
    assert broker.after() == [topic("heliobus_farm_inverter-pv_01")]
    first = broker.config("heliobus_farm_inverter-pv_01")["cmps"]["pv_01_w"]
    assert first["uniq_id"] == "heliobus_farm_inverter-pv_01_w"


# ---------------------------------------------------------------------- devices that go


def test_a_device_whose_info_is_cleared_goes_with_its_parts() -> None:
    broker = started("mode", "pv_01_w", "pv_02_w")
    broker.put(INFO, b"")
    assert broker.after(9) == []
    assert broker.after(3) == []  # counted from when it was noticed
    assert sorted(broker.after(10)) == sorted(
        [CONFIG, *(topic(f"heliobus_farm_inverter-pv_0{n}") for n in (1, 2))]
    )
    assert broker.configs == []


def test_a_device_that_goes_to_another_bridge_stays() -> None:
    broker = started("mode")
    broker.put(INFO, b"")
    broker.after(5)
    broker.put(INFO, info("mode", bridge="other"))
    assert broker.after() == [CONFIG]  # without the bridge whose status nobody has heard
    assert broker.after(60) == []


def test_a_device_that_went_while_we_were_away_goes_after_a_minute() -> None:
    broker = started("mode")
    del broker.retained[INFO]
    assert broker.start() == []
    assert broker.after(59) == []
    assert broker.after(1) == [CONFIG]


def test_a_device_whose_site_is_all_silent_stays() -> None:
    broker = started("mode")
    broker.retained = {CONFIG: broker.retained[CONFIG]}
    assert broker.start() == []
    assert broker.after(DAY_S) == []
    assert broker.sink.details() == {
        "announced": 1,
        "entities": 1,
        "hints": ["nothing is heard of the site farm: its devices stay in Home Assistant"],
    }
    broker.put("heliobus/farm/bank/info", info("soc_percent", kind="battery"))
    broker.after()
    assert broker.after(60) == [CONFIG]


def test_a_device_that_is_cleared_twice_has_its_time_again() -> None:
    broker = started("mode")
    broker.put(INFO, b"")
    broker.after(5)
    broker.put(INFO, info("mode"))
    broker.after(60)
    broker.put(INFO, b"")
    assert broker.after() == []
    assert broker.after(9) == []
    assert broker.after(1) == [CONFIG]


def test_a_site_that_falls_silent_once_more_has_its_minute_again() -> None:
    broker = started("mode")
    del broker.retained[INFO]
    bank = "heliobus/farm/bank/info"
    broker.put(bank, info("soc_percent", kind="battery"))
    broker.put(BRIDGE, {"state": "offline"})
    broker.start()
    broker.after(30)
    broker.put(bank, b"")
    assert broker.after(2) + broker.after(10) == [topic("heliobus_farm_bank")]
    broker.after(DAY_S)
    broker.put(bank, info("soc_percent", kind="battery"))
    assert broker.after() == [topic("heliobus_farm_bank")]
    assert broker.after(59) == []
    assert broker.after(1) == [CONFIG]


def test_a_broker_that_did_not_tell_all_costs_no_device() -> None:
    broker = started("mode")
    del broker.retained[INFO]
    broker.put("heliobus/farm/bank/info", info("soc_percent", kind="battery"))
    broker.sink = homeassistant()
    assert broker.connect(slow=True) == [topic("heliobus_farm_bank")]
    assert broker.after(DAY_S) == []


def test_what_its_owner_removed_in_home_assistant_stays_away_until_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="sinks.homeassistant")
    broker = started("mode", "pv_01_w", "pv_02_w")
    caplog.clear()
    broker.put(CONFIG, b"")
    assert broker.after(60) == []
    assert caplog.messages == [
        "heliobus_farm_inverter was removed in Home Assistant: it is told again when it changes,"
        " or when heliobus starts"
    ]
    broker.put("heliobus/farm/bank/info", info("soc_percent", kind="battery"))
    broker.hear("homeassistant/status", b"online")
    assert CONFIG not in broker.after()
    broker.put(INFO, info("mode", "pv_01_w", "pv_02_w", title="Shed"))
    assert CONFIG in broker.after()


def test_what_its_owner_removed_in_home_assistant_is_back_at_the_next_start() -> None:
    broker = started("mode")
    broker.put(CONFIG, b"")
    assert broker.after(60) == []
    assert broker.connect() == []
    assert broker.start() == [CONFIG]


def test_a_removal_that_crosses_a_change_does_not_remove_it() -> None:
    broker = started("mode")
    broker.put(INFO, info("mode", "pv_w"))
    [changed] = broker.sink.due(broker.now_s + 2)
    broker.put(CONFIG, b"")
    assert broker.after() == []
    broker.put(CONFIG, changed.payload)
    broker.hear("homeassistant/status", b"online")
    assert broker.after() == [CONFIG]
    broker.put("heliobus/farm/bank/info", info("soc_percent", kind="battery"))
    broker.after()
    assert broker.after(DAY_S) == []
    assert broker.configs == ["heliobus_farm_inverter", "heliobus_farm_bank"]


def test_what_changes_just_after_its_owner_removed_it_is_told_again() -> None:
    broker = started("mode")
    broker.put(CONFIG, b"")
    assert broker.after(0.2) == []
    broker.put(INFO, info("mode", title="Shed"))
    assert broker.after() == [CONFIG]


# ---------------------------------------------------------------------- what has come back


def test_what_the_broker_refuses_is_told_again_each_minute_and_said() -> None:
    broker = started("mode")
    broker.takes_configs = False
    broker.put(INFO, info("mode", "pv_w"))
    assert broker.after() == [CONFIG]
    assert broker.sink.details() == {"announced": 0, "entities": 0}
    assert broker.after(59) == []
    assert broker.after(1) == [CONFIG]
    assert broker.sink.details()["hints"] == [
        "what is told of heliobus_farm_inverter does not come back from the broker: may hass"
        " write and read homeassistant/device/+/config? Run `heliobus broker init` again"
    ]
    broker.takes_configs = True
    assert broker.after(60) == [CONFIG]
    assert broker.sink.details() == {"announced": 1, "entities": 2}
    assert broker.after(DAY_S) == []


def test_a_removal_that_the_broker_refuses_is_told_again() -> None:
    broker = started("mode")
    broker.takes_configs = False
    broker.put(INFO, b"")
    assert broker.after(2) + broker.after(10) == [CONFIG]
    broker.takes_configs = True
    assert broker.after(60) == [CONFIG]
    assert broker.configs == []
    assert broker.after(DAY_S) == []


def test_what_comes_back_late_and_twice_is_no_removal() -> None:
    broker = started("mode")
    broker.takes_configs = False
    broker.put(INFO, b"")
    broker.after(2)
    broker.after(10)
    broker.put(INFO, info("mode"))
    said = [*broker.sink.due(broker.now_s + 2), *broker.sink.due(broker.now_s + 62)]
    assert len(said) == 2
    for payload in (b"", said[0].payload, said[1].payload):
        broker.put(CONFIG, payload)
    broker.takes_configs = True
    assert broker.after(DAY_S) == []
    assert broker.sink.details()["announced"] == 1


def test_what_was_awaited_of_the_old_connection_is_awaited_no_longer() -> None:
    broker = started("mode")
    broker.takes_configs = False
    broker.put(INFO, info("mode", "pv_w"))
    assert broker.after() == [CONFIG]
    broker.takes_configs = True
    broker.put(INFO, info("mode"))
    assert broker.connect() == []
    assert broker.after(60) == []


def test_echoes_come_in_their_order_and_only_so_many_are_awaited() -> None:
    echoes = Echoes()
    for payload in (b"1", b"", b"1"):
        echoes.sent("x", payload, 0.0)
    assert [echoes.came("x", payload) for payload in (b"1", b"", b"")] == [True, True, False]
    assert "x" in echoes
    assert echoes.came("x", b"1")
    assert "x" not in echoes
    for number in range(9):
        echoes.sent("x", b"%d" % number, 0.0)
    assert not echoes.came("x", b"0")
    assert echoes.came("x", b"8")


def test_a_config_that_somebody_else_changed_is_told_again_after_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = started("mode")
    ours = broker.config("heliobus_farm_inverter")
    broker.put(CONFIG, {**ours, "dev": {**ours["dev"], "name": "Theirs"}})
    assert broker.after(59) == []
    assert broker.after(1) == [CONFIG]
    assert broker.config("heliobus_farm_inverter") == ours
    broker.put(CONFIG, b"{")
    assert broker.after(60) == [CONFIG]
    assert caplog.messages == [
        "heliobus_farm_inverter: somebody else told Home Assistant of it; are there two sinks?"
    ]


@pytest.mark.parametrize(
    ("name", "origin", "state"),
    [
        ("zigbee2mqtt_1", "Zigbee2MQTT", "heliobus/farm/inverter/availability"),
        ("heliobus_farm_old", "other", "heliobus/farm/old/availability"),
        ("heliobus_farm_old", "heliobus", "solar/farm/old/availability"),
    ],
)
def test_what_others_announce_is_left_alone(name: str, origin: str, state: str) -> None:
    broker = started("mode")
    body = {"o": {"name": origin}, "dev": {"ids": ["x"]}, "avty": [{"t": state}], "cmps": {}}
    broker.put(topic(name), body)
    broker.start()
    assert broker.after(DAY_S) == []


def test_what_is_not_as_we_make_it_is_not_taken_over() -> None:
    broker = started("mode")
    ours = broker.config("heliobus_farm_inverter")
    strange = {
        "state": {"p": "sensor", "uniq_id": "heliobus_farm_other-state", "def_ent_id": "sensor.x"},
        "moon": {"p": "moon"},
        "bare": {"p": "sensor", "uniq_id": "heliobus_farm_inverter-bare"},
    }
    dev = {**ours["dev"], "mf": ["Acme"]}
    broker.retained[CONFIG] = json.dumps({**ours, "dev": dev, "cmps": strange}).encode()
    assert broker.start() == [CONFIG]
    assert broker.config("heliobus_farm_inverter") == ours


# ---------------------------------------------------------------------- what is left out


@pytest.mark.parametrize("name", ["inverter", "inv*", "farm/inverter"])
def test_a_device_is_left_out_by_its_name(name: str) -> None:
    broker = started("mode", "pv_01_w", "pv_02_w")
    broker.options = {"leave_out": [name]}
    assert CONFIG in broker.start()
    assert broker.configs == []


def test_health_is_there_until_it_is_switched_off() -> None:
    broker = started("mode", health=True)
    assert "heliobus_farm-bus-axpert" in broker.configs
    broker.options = {"health": False}
    broker.start()
    assert broker.configs == ["heliobus_farm_inverter"]


@pytest.mark.parametrize(
    "theirs",
    [
        "homeassistant/binary_sensor/dtu_114172608275/reachable/config",
        "homeassistant/sensor/dtu_114172608275/ch0_Power/config",
    ],
)
def test_an_inverter_that_opendtu_announces_is_left_out_and_said(
    theirs: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker()
    broker.put("heliobus/farm/roof/info", info("output_w", serial="114172608275"))
    broker.put(theirs, {"name": "Power", "dev": {"ids": "114172608275"}})
    assert broker.start() == []
    text = f"roof: left out, {OPENDTU}"
    assert caplog.messages == [text]
    assert broker.sink.details()["hints"] == [text]
    broker.put(theirs, b"")
    assert broker.after() == [topic("heliobus_farm_roof")]
    assert "hints" not in broker.sink.details()


def test_an_inverter_that_opendtu_announces_is_told_all_the_same_on_request() -> None:
    broker = Broker(opendtu="announce")
    broker.put("heliobus/farm/roof/info", info("output_w", serial="114172608275"))
    broker.put("homeassistant/binary_sensor/dtu_114172608275/reachable/config", {"dev": {}})
    assert broker.start() == [topic("heliobus_farm_roof")]


@pytest.mark.parametrize(
    ("theirs", "serial", "kind"),
    [
        ("binary_sensor/dtu_114172608275/reachable", "114172608276", "inverter"),
        ("sensor/1/ch0_Power", "1", "inverter"),
        ("sensor/dtu_/ch0_Power", "1", "inverter"),
        ("sensor/dtu_1/ch0_Power", "1", "battery"),
    ],
)
def test_what_is_not_of_the_same_inverter_leaves_nothing_out(
    theirs: str, serial: str, kind: str
) -> None:
    broker = Broker()
    broker.put(
        "heliobus/farm/roof/info",
        info("output_w" if kind == "inverter" else "soc_percent", kind=kind, serial=serial),
    )
    broker.put(f"homeassistant/{theirs}/config", {"dev": {"ids": "1"}})
    assert broker.start() == [topic("heliobus_farm_roof")]


def test_what_is_told_stays_when_opendtu_begins_to_announce_it() -> None:
    broker = Broker()
    broker.put("heliobus/farm/roof/info", info("output_w", serial="114172608275"))
    broker.start()
    broker.put("homeassistant/sensor/dtu_114172608275/ch0_Power/config", {"dev": {}})
    assert broker.after() == []
    assert broker.after(DAY_S) == []
    assert broker.sink.details()["hints"] == [f"roof: is there twice, {OPENDTU}"]
    assert broker.start() == []
    broker.options = {"leave_out": ["roof"]}
    assert broker.start() == [topic("heliobus_farm_roof")]
    assert broker.configs == []
    assert "hints" not in broker.sink.details()


# ---------------------------------------------------------------------- several sinks


def test_a_sink_tells_and_removes_only_what_is_of_its_sites() -> None:
    broker = Broker(sites=["hut", "shed"])
    broker.put("heliobus/hut/pump/info", info("mode"))
    assert broker.start() == [topic("heliobus_hut_pump")]
    broker.options = {"leave_out": ["pump"]}
    broker.put(INFO, info("mode"))
    broker.put("heliobus/hut/bus/x/status", {"state": "online"})
    del broker.retained["heliobus/hut/pump/info"]
    assert broker.start() == [CONFIG]
    assert broker.after(DAY_S) == []
    assert broker.configs == ["heliobus_hut_pump", "heliobus_farm_inverter"]
    assert "hints" not in broker.sink.details()


@pytest.mark.parametrize(
    ("options", "heard"),
    [({}, ["farm"]), ({"sites": []}, ["farm"]), ({"sites": "all"}, ["+"]),
     ({"sites": ["hut", "shed"]}, ["hut", "shed"])],
    ids=["own", "none", "all", "two"],
)  # fmt: skip
def test_a_sink_hears_its_sites_only(options: dict[str, Any], heard: list[str]) -> None:
    filters = [one.filter for one in homeassistant(**options).subscriptions]
    for rest in ("bus/hass/set/+/+", "bus/+/status", "+/info"):
        assert [one for one in filters if one.endswith(f"/{rest}")] == [
            f"heliobus/{site}/{rest}" for site in heard
        ]
    own_status = "heliobus/farm/bus/hass/status"  # tells that all that is retained has come
    assert (own_status in filters) is (heard == ["hut", "shed"])


# ---------------------------------------------------------------------- whatever is said


@pytest.mark.parametrize(
    ("where", "payload", "reason"),
    [
        (INFO, b"{", "not JSON: Expecting property name enclosed in double quotes"),
        (INFO, b"[]", "found list, expected a JSON object"),
        (INFO, b'{"kind": 1}', "kind: found 1, expected the name of a kind"),
        ("heliobus/farm/Shed/info", b"{}", "topic: found Shed, expected up to 63 lower-case"),
        (BRIDGE, b"online", "not JSON"),
        (CONFIG, b"\xff", "not JSON"),
        (CONFIG, b'{"o":{"name":"heliobus"},"avty":[{"t":"heliobus/farm/x"}]}', "found no device"),
        ("homeassistant/sensor/dtu_1/ch0_Power/config", b"NaN", "not JSON: found NaN"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    where: str, payload: bytes, reason: str
) -> None:
    broker = Broker()
    broker.sink.connected(broker.now_s)
    refused = broker.hear(where, payload, retained=True)
    assert refused is not None
    assert refused.startswith(reason)
    assert "\n" not in refused


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
somebodys = st.fixed_dictionaries(
    {},
    optional={
        "kind": json_values | st.just("inverter"),
        "fields": json_values
        | st.dictionaries(
            st.sampled_from(["pv_w", "pv_01_w", "pv_02_w", "01_w", "w", "mode", "time", "Ä"]),
            json_values
            | st.dictionaries(
                st.sampled_from(["unit", "title", "every_s", "enum", "type", "precision"]),
                json_values,
            ),
        ),
        "commands": json_values
        | st.dictionaries(
            st.sampled_from(["mode", "x", "Ä"]),
            st.fixed_dictionaries(
                {"type": st.sampled_from(["number", "string", "boolean", 3])},
                optional=dict.fromkeys(["minimum", "maximum", "enum", "heliobus"], json_values),
            ),
        ),
        "every_s": json_values, "bridge": json_values | st.just("axpert"), "via": json_values,
        "title": json_values, "serial": json_values, "state": json_values, "devices": json_values,
        "o": json_values | st.just({"name": "heliobus"}), "cmps": json_values, "dev": json_values,
        "avty": json_values | st.just([{"t": "heliobus/farm/x"}]),
    },
)  # fmt: skip
payloads = (
    st.binary(max_size=40)
    | json_values.map(lambda value: json.dumps(value).encode())
    | somebodys.map(lambda value: json.dumps(value).encode())
)
TOPICS = [
    INFO, BRIDGE, CONFIG, topic("heliobus_farm-bus-axpert"), topic("heliobus_farm_inverter-pv_01"),
    topic("heliobus_x--y-z"), topic("other"), "homeassistant/status", "homeassistant/",
    "homeassistant/sensor/dtu_1/ch0_Power/config", "heliobus/farm/bus/hass/set/inverter/mode",
    "heliobus/farm/bus/hass/set/inverter/x", "heliobus/farm/bus/hass/status", "heliobus/Ä/b/info",
    "heliobus/farm/inverter_pv/info", "heliobus/farm/inverter_pv_01/info",
]  # fmt: skip
messages = st.builds(Message, st.sampled_from(TOPICS), payloads, st.booleans())


@given(st.lists(messages, max_size=12))
def test_whatever_anybody_publishes_it_lives_and_publishes_json(heard: list[Message]) -> None:
    sink = homeassistant(health=True)
    sink.connected(0.0)
    configs: dict[str, bytes] = {}
    for half, now_s in ((heard[:6], 0.0), (heard[6:], 40.0)):
        for message in half:
            refused = sink.take(message, now_s)
            assert refused is None or ("\n" not in refused and len(refused) < 1000)
        for outgoing in sink.due(now_s + 35.0):
            if outgoing.retain:
                configs[outgoing.topic] = outgoing.payload
    for where, payload in configs.items():
        assert rejections(where, payload) == []
    told = [json.loads(payload) for payload in configs.values() if payload]
    ids = [one["uniq_id"] for body in told for one in body["cmps"].values() if "uniq_id" in one]
    assert len(ids) == len(set(ids))
    json.dumps(sink.details())


def test_the_topics_of_home_assistant_follow_the_prefix() -> None:
    assert foreign_topics({**OPTIONS, "prefix": "ha/discovery"}) == [
        ("write", "ha/discovery/device/+/config"),
        ("read", "homeassistant/status"),
        ("read", "ha/discovery/device/+/config"),
        ("read", "ha/discovery/binary_sensor/+/reachable/config"),
        ("read", "ha/discovery/sensor/+/ch0_Power/config"),
    ]


@pytest.mark.parametrize("birth", ["homeassistant/status", "ha/discovery/status", "up"])
def test_home_assistants_birth_is_heard_where_it_says_it_whatever_the_prefix(birth: str) -> None:
    broker = started("mode", status_topic=birth)
    broker.sink = homeassistant(prefix="ha/discovery", status_topic=birth)
    broker.connect()
    assert birth in [one.filter for one in broker.sink.subscriptions]
    broker.hear(birth, b"online")
    assert broker.after() == ["ha/discovery/device/heliobus_farm_inverter/config"]


def test_what_is_retained_is_asked_for_without_a_queue_that_may_overflow() -> None:
    sink = homeassistant()
    assert [one.qos for one in sink.subscriptions] == [1, 0, 0, 0, 0, 0, 0]
    assert sink.subscriptions[0] == Subscription("heliobus/farm/bus/hass/set/+/+")
    assert sink.subscriptions[0].as_published  # else a retained value would be taken for a new one
    assert not any(one.as_published for one in sink.subscriptions[1:])
    assert CONTRACT.version
