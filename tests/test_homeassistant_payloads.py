"""What the Home Assistant sink tells of a device: every field, as Home Assistant takes it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from heliobus.contract import ANYTHING
from sinks.homeassistant.names import Place, place
from tests.ha_rules import ignored, rejections, template_warnings
from tests.homeassistant_sink import CONTRACT, Broker, Config, info, note, topic

STATE = "heliobus/farm/inverter/state"
INFO = "heliobus/farm/inverter/info"
BRIDGE = "heliobus/farm/bus/axpert/status"
# A status as a bridge and a sink publish them between them.
STATUS = {
    "state": "online", "role": "sink", "type": "sql", "version": "0.1.0", "contract": "0.1",
    "time": "2026-11-21T10:15:30.600Z", "uptime_s": 101728.0,
    "devices": {"inverter": {"state": "online", "polls": 9, "errors": 3, "p50_ms": 5, "p95_ms": 6}},
    "clock": {"synced": True, "waiting": 0},
    "journal": {"size_bytes": 1830912, "oldest": "2026-11-20T06:00:05.113Z", "unjournaled": 0},
    "stored": 5, "rewritten": 0, "rejected": 0, "holes": 0, "lag_s": 0.1, "error": "no answer",
}  # fmt: skip


def announced(body: dict[str, Any], **options: Any) -> Broker:
    broker = Broker(**options)
    broker.put(INFO, body)
    broker.put(BRIDGE, {"state": "online"})
    broker.start()
    return broker


def config(body: dict[str, Any]) -> Config:
    return announced(body).config("heliobus_farm_inverter")


def entity(name: str, **changes: Any) -> dict[str, Any]:
    """Give the entity of one field of an inverter, whose info says this of it."""
    body = info("fault_code")
    body["fields"][name] = changes or note("inverter", name)
    found: dict[str, Any] = config(body)["cmps"][name]
    return found


# ---------------------------------------------------------------------- the whole contract


def members(kind: str) -> Iterator[str]:
    """Name every field of a kind, of a family two members."""
    known = CONTRACT.kinds[kind]
    fields = CONTRACT.fields if known.every_field else known.fields
    families = CONTRACT.families if known.every_field else known.families
    yield from fields
    for pattern in families.values():
        for digits in ("01", "02", "12"):
            name = pattern.name.replace("[0-9][0-9]", digits)
            name = name.replace("[1-3][1-3]", digits).replace("[1-3]", digits[1])
            if CONTRACT.field(kind, name) is not None:
                yield name


@pytest.mark.parametrize("kind", sorted(CONTRACT.kinds))
def test_home_assistant_takes_every_field_of_every_kind(kind: str) -> None:
    names = sorted(set(members(kind)))
    broker = announced(info(*names, kind=kind), health=True)
    told = {one: broker.retained[one] for one in broker.retained if one.startswith("homeass")}
    assert len(told) > 1
    for where, payload in told.items():
        assert rejections(where, payload) == []
        if kind == ANYTHING:  # it has the fields of all
            assert template_warnings(payload) == []
            assert ignored(where, payload) == []
    found = {key for one in told if "-bus-" not in one for key in json.loads(told[one])["cmps"]}
    assert found == set(names)


@pytest.mark.parametrize("kind", sorted(CONTRACT.kinds))
def test_what_an_info_leaves_out_is_in_the_contract(kind: str) -> None:
    names = sorted(set(members(kind)))
    told = announced(info(kind=kind, fields={name: note(kind, name, None) for name in names}))
    silent = announced(info(kind=kind, fields={name: {} for name in names}))
    assert told.configs == silent.configs
    for name in told.configs:
        assert told.config(name) == silent.config(name)


def test_no_two_devices_have_an_entity_of_the_same_id() -> None:
    """Play house + grid_import_kwh beside house_grid + import_kwh, and all pairs of that sort."""
    names = {*CONTRACT.fields, *members(ANYTHING)}
    devices = {"house": set(names)}
    for name in names:
        for cut, letter in enumerate(name):
            if letter == "_" and name[cut + 1 :] in names:
                devices.setdefault(f"house_{name[:cut]}", set()).add(name[cut + 1 :])
    assert "import_kwh" in devices["house_grid"]
    broker = Broker()
    for device, fields in devices.items():
        body = info(*sorted(fields), kind=ANYTHING, commands={"charge_w": {"const": 1}})
        broker.put(f"heliobus/farm/{device}/info", body)
    broker.start()
    cmps = [one for name in broker.configs for one in broker.config(name)["cmps"].values()]
    assert len(cmps) == sum(len(fields) + 1 for fields in devices.values())
    for key in ("uniq_id", "def_ent_id"):
        assert len({one[key] for one in cmps}) == len(cmps)


@pytest.mark.parametrize("first", ["house", "house_grid"])
def test_entity_ids_that_are_alike_are_numbered_and_stay(first: str) -> None:
    fields = {"house": "grid_import_kwh", "house_grid": "import_kwh"}
    broker = Broker()
    broker.put(f"heliobus/farm/{first}/info", info(fields[first], kind=ANYTHING))
    broker.start()
    alone = broker.config(f"heliobus_farm_{first}")
    [second] = fields.keys() - {first}
    broker.put(f"heliobus/farm/{second}/info", info(fields[second], kind=ANYTHING))
    assert broker.after() == [topic(f"heliobus_farm_{second}")]
    assert broker.start() == []
    assert broker.config(f"heliobus_farm_{first}") == alone
    found = {
        one: broker.config(f"heliobus_farm_{one}")["cmps"][field] for one, field in fields.items()
    }
    assert found[first]["def_ent_id"] == "sensor.farm_house_grid_import_kwh"
    assert found[second]["def_ent_id"] == "sensor.farm_house_grid_import_kwh_2"
    assert found["house"]["uniq_id"] == "heliobus_farm_house-grid_import_kwh"
    assert found["house_grid"]["uniq_id"] == "heliobus_farm_house_grid-import_kwh"


def test_units_and_classes_of_the_contract_are_all_kept() -> None:
    for field in CONTRACT.fields.values():
        one = entity(field.name, **note("sensor", field.name))
        number = field.type in ("number", "integer")
        assert one.get("unit_of_meas", "") == (field.unit if number else ""), field.name
        assert one.get("stat_cla", "") == field.state_class, field.name
        assert one.get("dev_cla", "") == field.device_class, field.name
        assert (one.get("ent_cat") == "diagnostic") is field.diagnostic, field.name


def test_every_counter_of_energy_suits_the_energy_dashboard() -> None:
    counters = [
        name
        for name, field in CONTRACT.fields.items()
        if name.endswith("_kwh") and field.state_class in ("total", "total_increasing")
    ]
    assert len(counters) > 30
    for name in counters:
        one = entity(name, **note("sensor", name))
        assert (one["dev_cla"], one["unit_of_meas"]) == ("energy", "kWh")
        assert one["stat_cla"] in ("total", "total_increasing")
    assert entity("yield_kwh")["stat_cla"] == "total_increasing"
    assert entity("pv_w")["dev_cla"] == "power"


# ---------------------------------------------------------------------- one device


def test_a_device_says_who_it_is_and_when_it_is_there() -> None:
    body = info("mode", maker="Voltronic", model="MAX", serial="923", firmware="72.70")
    found = config(body)
    del found["cmps"]
    offline = (
        '{% set v = (value_json | default({}))["state"] | default(none) %}'
        "{{ 'offline' if v == 'offline' else 'online' }}"
    )
    assert found == {
        "dev": {
            "ids": ["heliobus_farm_inverter"], "name": "Inverter", "mf": "Voltronic",
            "mdl": "MAX", "sn": "923", "sw": "72.70",
        },
        "o": {"name": "heliobus", "sw": "0.1.0"},
        "avty": [
            {"t": "heliobus/farm/inverter/availability"},
            {"t": "heliobus/farm/bus/axpert/status", "val_tpl": offline},
        ],
        "avty_mode": "all",
    }  # fmt: skip


def test_a_bridge_that_never_speaks_is_not_waited_for() -> None:
    broker = Broker()
    broker.put(INFO, info("mode", bridge="esp32"))
    broker.start()
    assert broker.config("heliobus_farm_inverter")["avty"] == [
        {"t": "heliobus/farm/inverter/availability"}
    ]


def test_a_bridge_whose_status_is_cleared_is_still_waited_for() -> None:
    broker = announced(info("mode"))
    two = broker.config("heliobus_farm_inverter")["avty"]
    assert len(two) == 2
    broker.put(BRIDGE, b"")
    assert broker.after() == []
    assert broker.start() == []
    broker.put(INFO, info("mode", title="Shed"))
    assert broker.after() == [topic("heliobus_farm_inverter")]
    assert broker.config("heliobus_farm_inverter")["avty"] == two


def test_a_number_is_told_whole() -> None:
    assert entity("battery_v") == {
        "p": "sensor",
        "name": "Battery voltage",
        "uniq_id": "heliobus_farm_inverter-battery_v",
        "def_ent_id": "sensor.farm_inverter_battery_v",
        "stat_t": STATE,
        "unit_of_meas": "V",
        "dev_cla": "voltage",
        "stat_cla": "measurement",
        "sug_dsp_prc": 2,
        "val_tpl": '{% set v = (value_json | default({}))["battery_v"] | default(none) %}'
        "{{ v if v is number and v is not boolean and -1e+99 <= v <= 1e+99 else none }}",
        "exp_aft": 60,
    }


def test_ids_do_not_change_with_titles() -> None:
    before, after = entity("pv_w"), entity("pv_w", title="Sonne", unit="W")
    assert after["name"] == "Sonne"
    assert after["uniq_id"] == before["uniq_id"] == "heliobus_farm_inverter-pv_w"
    assert after["def_ent_id"] == before["def_ent_id"] == "sensor.farm_inverter_pv_w"


def test_a_text_that_is_one_of_a_list_is_an_enum_without_unknown() -> None:
    one = entity("charge_state")
    assert one["dev_cla"] == "enum"
    assert one["ops"][:3] == ["off", "asleep", "idle"]
    assert "unknown" not in one["ops"]
    assert "stat_cla" not in one


def test_yes_or_no_is_a_binary_sensor() -> None:
    one = entity("reachable")
    assert (one["p"], one["dev_cla"], one["ent_cat"]) == (
        "binary_sensor",
        "connectivity",
        "diagnostic",
    )
    assert one["def_ent_id"] == "binary_sensor.farm_inverter_reachable"


@pytest.mark.parametrize(
    ("every_s", "expires"), [(1, 60), (5, 60), (20, 80), (300, 1200), (0, None), (None, None)]
)
def test_a_value_expires_after_several_missed_ones(
    every_s: float | None, expires: int | None
) -> None:
    body = info("mode")
    body["fields"]["pv_w"] = {"unit": "W"} if every_s is None else {"every_s": every_s}
    assert config(body)["cmps"]["pv_w"].get("exp_aft") == expires


def test_one_cadence_for_all_fields_is_that_of_each() -> None:
    body = info(fields={"mode": {}, "pv_w": {}}, every_s=30)
    assert [one["exp_aft"] for one in config(body)["cmps"].values()] == [120, 120]


@pytest.mark.parametrize(
    ("kind", "main"),
    [("inverter", "mode"), ("battery", "soc_percent"), ("meter", "power_w"), ("relay", "is_on")],
)
def test_the_main_entity_has_the_name_of_its_device(kind: str, main: str) -> None:
    found = config(info(main, "alarms", kind=kind))
    assert [key for key, one in found["cmps"].items() if one["name"] is None] == [main]


@pytest.mark.parametrize("title", ["", "Shed"])
def test_no_entity_repeats_what_its_device_is_called(title: str) -> None:
    told = config(info("mode", "inverter_c", "inverter_state_code", title=title))
    assert [one["name"] for one in told["cmps"].values()] == [None, "Temperature", "State code"]


def test_no_two_entities_are_called_alike_for_the_sake_of_shortness() -> None:
    told = config(info(fields={"x": {"title": "Temperature"}, "inverter_c": {}}))
    assert [one["name"] for one in told["cmps"].values()] == ["Temperature", "Inverter temperature"]


def test_of_two_names_that_would_be_shortened_alike_one_stays() -> None:
    fields = {"x": {"title": "Shed power"}, "y": {"title": "Inverter power"}}
    told = config(info(fields=fields, title="Shed"))
    assert [one["name"] for one in told["cmps"].values()] == ["Power", "Inverter power"]


def test_a_device_of_another_site_bears_its_name() -> None:
    broker = Broker(sites="all")
    broker.put("heliobus/old_hut/inverter/info", info("mode"))
    assert broker.start() == [topic("heliobus_old_hut--inverter")]
    found = broker.config("heliobus_old_hut--inverter")
    assert found["dev"]["name"] == "Old hut Inverter"
    assert found["cmps"]["mode"]["def_ent_id"] == "sensor.old_hut_inverter_mode"


# ---------------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("told", "unit", "device_class", "state_class"),
    [
        ({"unit": "kW", "device_class": "power", "state_class": "measurement"},
         "kW", "power", "measurement"),
        ({"unit": "C", "device_class": "temperature", "state_class": "measurement"},
         "C", None, "measurement"),
        ({"unit": "kWh", "device_class": "energy", "state_class": "measurement"},
         "kWh", "energy", None),
        ({"unit": "Ah", "device_class": "current"}, "Ah", None, "measurement"),
        ({"unit": "W", "device_class": "shine", "state_class": "rising"}, "W", None, None),
        ({"unit": 3, "device_class": [], "state_class": {}}, None, None, None),
    ],
    ids=["kW", "C", "energy", "Ah", "shine", "types"],
)  # fmt: skip
def test_what_home_assistant_would_refuse_is_left_out(
    told: dict[str, Any], unit: str, device_class: str, state_class: str
) -> None:
    one = entity("pv_w", type="number", **told)
    found = [one.get(key) for key in ("unit_of_meas", "dev_cla", "stat_cla")]
    assert found == [unit, device_class, state_class]


def test_an_unknown_field_is_a_number_where_its_name_has_a_unit_else_a_text() -> None:
    body = info(fields={"moon_w": {}, "moon_phase": {}, "Moon": {}, "time": {}, "site": {}})
    cmps = config(body)["cmps"]
    assert list(cmps) == ["moon_w", "moon_phase"]
    assert (cmps["moon_w"]["unit_of_meas"], cmps["moon_w"]["name"]) == ("W", "Moon w")
    assert "unit_of_meas" not in cmps["moon_phase"]


def test_texts_of_others_are_shown_without_what_cannot_be() -> None:
    body = info("mode", title="My\n\ud800 'shed' {{ 1 }}", maker=7)
    assert config(body)["dev"]["name"] == "My 'shed' {{ 1 }}"
    assert "mf" not in config(body)["dev"]
    options = ["a", 'b"}}', "\n", 3, "unknown", "a"]
    one = entity("pv_word", enum=options)
    assert one["ops"] == ["a", 'b"}}']
    assert rejections(topic("x"), json.dumps(config(body)).encode()) == []


# ---------------------------------------------------------------------- parts, and ways


def test_two_strings_are_devices_of_their_own() -> None:
    broker = announced(info("mode", "pv_w", "pv_01_w", "pv_01_v", "pv_02_w"))
    assert list(broker.config("heliobus_farm_inverter")["cmps"]) == ["mode", "pv_w"]
    first = broker.config("heliobus_farm_inverter-pv_01")
    assert first["dev"] == {
        "ids": ["heliobus_farm_inverter-pv_01"],
        "name": "Inverter PV 1",
        "via_device": "heliobus_farm_inverter",
    }
    assert {key: one["name"] for key, one in first["cmps"].items()} == {
        "pv_01_w": None,
        "pv_01_v": "Voltage",
    }
    assert first["cmps"]["pv_01_v"]["def_ent_id"] == "sensor.farm_inverter_pv_01_v"
    assert len(first["avty"]) == 2


def test_one_string_is_no_device_of_its_own() -> None:
    broker = announced(info("mode", "pv_01_w", "pv_01_v"))
    assert broker.configs == ["heliobus_farm_inverter"]


def test_packs_are_devices_of_their_own() -> None:
    broker = announced(info("soc_percent", "module_01_soc_percent", kind="battery"))
    assert broker.configs == ["heliobus_farm_inverter", "heliobus_farm_inverter-module_01"]
    pack = broker.config("heliobus_farm_inverter-module_01")
    assert pack["dev"]["name"] == "Inverter Module 1"
    assert pack["cmps"]["module_01_soc_percent"]["name"] == "State of charge"


def test_parts_without_a_whole_stay_together() -> None:
    broker = announced(info("pv_01_w", "pv_02_w"))
    assert broker.configs == ["heliobus_farm_inverter"]


def test_an_inverter_belongs_to_the_gateway_that_it_is_reached_through() -> None:
    broker = Broker()
    broker.put(INFO, info("mode", via="z_dtu"))
    broker.put("heliobus/farm/z_dtu/info", info("uptime_s", kind="gateway"))
    gateway, inverter = topic("heliobus_farm_z_dtu"), topic("heliobus_farm_inverter")
    assert broker.start() == [gateway, inverter]
    assert broker.config("heliobus_farm_inverter")["dev"]["via_device"] == "heliobus_farm_z_dtu"


def test_a_gateway_that_came_late_is_told_first_when_home_assistant_starts() -> None:
    broker = Broker()
    broker.put(INFO, info("mode", "pv_01_w", "pv_02_w", via="z_dtu"))
    broker.start()
    broker.put("heliobus/farm/z_dtu/info", info("uptime_s", kind="gateway"))
    broker.after()
    broker.hear("homeassistant/status", b"online")
    assert broker.publish() == [
        topic("heliobus_farm_z_dtu"),
        topic("heliobus_farm_inverter"),
        topic("heliobus_farm_inverter-pv_01"),
        topic("heliobus_farm_inverter-pv_02"),
    ]


@pytest.mark.parametrize("leave_out", [[], ["dtu"]], ids=["unknown", "left out"])
def test_a_gateway_that_is_not_there_is_not_named(leave_out: list[str]) -> None:
    broker = Broker(leave_out=leave_out)
    broker.put(INFO, info("mode", via="dtu" if leave_out else "nowhere"))
    broker.put("heliobus/farm/dtu/info", info("uptime_s", kind="gateway"))
    broker.start()
    assert "via_device" not in broker.config("heliobus_farm_inverter")["dev"]


# ---------------------------------------------------------------------- components


def test_a_component_is_a_device_that_says_so_when_it_is_gone() -> None:
    broker = Broker(health=True)
    broker.put("heliobus/farm/bus/archive/status", STATUS)
    broker.start()
    found = broker.config("heliobus_farm-bus-archive")
    assert found["dev"] == {
        "ids": ["heliobus_farm-bus-archive"],
        "name": "heliobus archive",
        "mf": "heliobus",
        "mdl": "sql sink",
        "sw": "0.1.0",
    }
    assert sorted(found["cmps"]) == [
        "component_error", "component_role", "errors_count", "holes_count", "is_online",
        "is_synced", "journal_bytes", "lag_s", "offline_count", "poll_p95_ms", "polls_count",
        "rejected_count", "rewritten_count", "stored_count", "unjournaled_count", "uptime_h",
        "waiting_count",
    ]  # fmt: skip
    assert {one["ent_cat"] for one in found["cmps"].values()} == {"diagnostic"}
    online = found["cmps"]["is_online"]
    assert (online["p"], online["name"], online["dev_cla"]) == (
        "binary_sensor",
        None,
        "connectivity",
    )
    assert online["avty"] == [{"t": "heliobus/farm/bus/archive/status", "val_tpl": "online"}]
    payload = broker.retained[topic("heliobus_farm-bus-archive")]
    assert rejections(topic("heliobus_farm-bus-archive"), payload) == []
    assert template_warnings(payload) == []


def test_a_component_that_went_keeps_its_entities() -> None:
    broker = Broker(health=True)
    broker.put("heliobus/farm/bus/archive/status", STATUS)
    broker.start()
    broker.put("heliobus/farm/bus/archive/status", {"state": "offline"})
    assert broker.after(60) + broker.after(10 * 86_400) == []
    assert topic("heliobus_farm-bus-archive") not in broker.start()


def test_each_status_is_looked_at_and_only_news_is_told() -> None:
    broker = Broker(health=True)
    broker.put("heliobus/farm/bus/archive/status", STATUS)
    broker.start()
    broker.put("heliobus/farm/bus/archive/status", {**STATUS, "stored": 6, "error": "other"})
    assert broker.after(60) == []
    broker.put("heliobus/farm/bus/archive/status", {**STATUS, "version": "0.2.0"})
    assert broker.after() == [topic("heliobus_farm-bus-archive")]


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Place("farm", "inverter"), "heliobus_farm_inverter"),
        (Place("farm", "big_inverter"), "heliobus_farm_big_inverter"),
        (Place("farm_big", "inverter"), "heliobus_farm_big--inverter"),
        (Place("farm", "inverter", "pv_01"), "heliobus_farm_inverter-pv_01"),
        (Place("farm_big", "inverter", "pv_01"), "heliobus_farm_big--inverter-pv_01"),
        (Place("farm", component="axpert"), "heliobus_farm-bus-axpert"),
        (Place("farm_big", component="axpert"), "heliobus_farm_big-bus-axpert"),
        (Place("_", "_"), "heliobus__--_"),
    ],
)
def test_an_id_is_read_back_as_what_it_stands_for(where: Place, text: str) -> None:
    assert where.id == text
    assert place(text) == where


def test_an_entity_id_has_no_two_underscores_beside_each_other() -> None:
    assert Place("old_", "_inverter").entity_id("sensor", "x__y_") == "sensor.old_inverter_x_y"
    assert Place("_", "_").entity_id("sensor", "_") == "sensor.bus"


@pytest.mark.parametrize(
    "text", ["", "heliobus_", "heliobus_farm", "farm_inverter", "heliobus_a-b-c-d", "heliobus_a-"]
)
def test_other_ids_are_none_of_ours(text: str) -> None:
    assert place(text) is None
