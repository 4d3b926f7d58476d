"""The maps of everything but OpenDTU: what each recorded topic becomes, row by row.

An expectation is the values in the units and signs of the contract with who the device is, or
what else becomes of the message. A row of the further vectors without one is taken in, with its
number in the unit of the contract.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from tests.helpers import further_vectors
from tests.mqtt_maps import CONTRACT, VECTORS, check_new_row, decode_lines

# The names of the further vectors, and of our maps.
MAPS = {
    "tasmota": "tasmota",
    "shelly_gen1": "shelly_gen1",
    "shelly": "shelly_gen2",
    "zigbee2mqtt": "zigbee2mqtt",
    "esphome": "esphome",
    "victron": "victron_venus",
    "solarassistant": "solarassistant",
    "evcc": "evcc",
    "anker_solix": "anker_solix",
}
PASSED_OVER = "passed over"
GONE = "gone"

SENSOR = "tele/tasmota_9CF9D1/SENSOR"
EM3 = "shellies/shellies/shellyem3"
GX = "N/7c386655e76b/system/0/Dc/Battery"
SA = "solar_assistant"
SOLIX = "solix-mqtt-bridge"

# A key is a topic and the beginning of a payload, as much as tells rows apart.
EXPECTED: dict[tuple[str, str], Any] = {
    # ------------------------------------------------------------------ tasmota
    ("tele/tasmota_9CF9D1/STATE", ""): {"uptime_s": 611, "is_on": False, "signal_dbm": -78},
    (SENSOR, ""): {"input_01_on": True},
    ("compteur/tele/SENSOR", '{"Time":"2021-03-13T09:20:26"'): {
        "import_kwh": 7970.903,
        "import_yesterday_kwh": 3.198,
        "import_today_kwh": 6.024,
        "power_w": 860,
        "current_a": 4.0,
    },
    ("compteur/tele/SENSOR", '{"Time":"2021-03-13T09:20:30"'): {
        "import_kwh": 7970.903,
        "apparent_va": 780,
        "current_a": 3,
    },
    ("tele/plug/SENSOR", ""): {
        "input_01_on": True,
        "import_kwh": 14.68792,
        "import_yesterday_kwh": 0.00001,
        "import_today_kwh": 0.00869,
        "power_w": 32,
        "apparent_va": 35,
        "reactive_var": 16,
        "power_factor": 0.89,
        "voltage_v": 238,
        "current_a": 0.148,
    },
    ("tele/shellyB/SENSOR", ""): {
        "input_01_on": False,
        "input_02_on": False,
        "temperature_c": pytest.approx(37.8333, abs=0.001),  # 100.1 °F
        "import_kwh": 0.586,
        "import_yesterday_kwh": 0.033,
        "import_today_kwh": 0.0,
        "power_w": 0,
        "apparent_va": 0,
        "reactive_var": 0,
        "power_factor": 0.0,
        "voltage_v": 0,
        "current_a": 0.0,
    },
    ("tele/shellyB/STATE", ""): {"relay_01_on": False, "relay_02_on": False},
    ("tele/tasmota_9CF9D1/LWT", "Online"): "online",
    ("tele/tasmota_9CF9D1/LWT", "Offline"): "offline",
    ("stat/tasmota_9CF9D1/POWER", ""): {"is_on": True},
    ("stat/tasmota_9CF9D1/RESULT", ""): {"is_on": True},
    ("cmnd/tasmota_9CF9D1/POWER", ""): "command",
    ("stat/tasmota_9CF9D1/STATUS10", ""): {
        "import_kwh": 41.573,
        "import_yesterday_kwh": 6.147,
        "import_today_kwh": 8.286,
        "power_w": 2,
        "apparent_va": 22,
        "reactive_var": 21,
        "power_factor": 0.08,
        "voltage_v": 230,
        "current_a": 0.094,
    },
    # ------------------------------------------------------------------ shelly, Gen2 and later
    ("shellies/plus1pm/status/switch:0", ""): {
        "is_on": True,
        "power_w": 0.0,
        "voltage_v": 232.6,
        "current_a": 0.0,
        "import_kwh": 0.0,
        "device_c": 46.0,
    },
    ("shellies/plus1pm/status/mqtt", ""): PASSED_OVER,
    ("shelly1pmminig3-48f6ee8d12dc/status/switch:0", ""): {
        "is_on": True,
        "power_w": 25.7,
        "voltage_v": 239.7,
        "frequency_hz": 50.2,
        "current_a": 0.188,
        "import_kwh": 0.913252,
        "export_kwh": 0.0,
        "device_c": 68.1,
    },
    ("shellypro3em-ec6260890b50/status/emdata:0", ""): {
        "l1_import_kwh": 1075.51308,
        "l1_export_kwh": 0.0,
        "l2_import_kwh": 1776.54272,
        "l2_export_kwh": 0.0,
        "l3_import_kwh": 0.00001,
        "l3_export_kwh": 0.0,
        "import_kwh": 2852.05581,
        "export_kwh": 0.0,
    },
    ("shellypro3em-ec6260890b50/rpc", ""): "command",
    ("shellyplus1-abc/rpc", ""): "command",
    # ------------------------------------------------------------------ shelly, first generation
    ("shellies/shelly1/relay/0", "off"): {"is_on": False},
    (f"{EM3}/emeter/0/power", "0.00"): {"l1_w": 0.0},
    (f"{EM3}/emeter/0/pf", "0.00"): {"l1_power_factor": 0.0},
    (f"{EM3}/emeter/0/voltage", "230.35"): {"l1_v": 230.35},
    (f"{EM3}/emeter/0/total_returned", "0.0"): {"l1_export_kwh": 0.0},
    (f"{EM3}/relay/0", "on"): {"relay_01_on": True},
    # 1,200,000 watt-minutes
    ("shellies/shellyplug-s-040BAD/relay/0/energy", "1200000"): {"import_kwh": 20.0},
    # ------------------------------------------------------------------ zigbee2mqtt
    ("zigbee2mqtt/z1/state", "OFF"): {"is_on": False},
    ("zigbee2mqtt/z1/current", "0"): {"current_a": 0},
    ("zigbee2mqtt/z1/energy", "12.05"): {"import_kwh": 12.05},
    ("zigbee2mqtt/Stopcontact", ""): {
        "current_a": 0,
        "import_kwh": 1.54,
        "power_w": 0,
        "is_on": True,
        "voltage_v": 239,
    },
    ("zigbee2mqtt/shelly-working-room", ""): {
        "channel_01_hz": 49.94,
        "channel_02_hz": 49.98,
        "channel_01_a": 0.125,
        "channel_02_a": 0,
        "channel_01_import_kwh": 2.056,
        "channel_02_import_kwh": 0.006,
        "channel_01_va": 9,
        "channel_01_w": 8,
        "channel_02_w": 0,
        "channel_01_export_kwh": 0,
        "relay_01_on": True,
        "relay_02_on": False,
        "channel_01_v": 228.08,
    },
    ("zigbee2mqtt/z1/availability", ""): "online",
    ("zigbee2mqtt/bridge/health", ""): PASSED_OVER,
    ("zigbee2mqtt/bridge/request/device/rename", ""): "command",
    ("zigbee2mqtt/bridge/response/device/rename", '{"data":{"from"'): PASSED_OVER,
    ("zigbee2mqtt/bridge/response/device/rename", '{"data":{}'): PASSED_OVER,
    ("zigbee2mqtt/bridge/event", ""): PASSED_OVER,
    ("zigbee2mqtt/bridge/logging", ""): PASSED_OVER,
    ("zigbee2mqtt/z1/get", ""): "command",
    # ------------------------------------------------------------------ victron
    (f"{GX}/ConsumedAmphours", '{"value": null}'): PASSED_OVER,
    (f"{GX}/Soc", '{"value": 100}'): {"soc_percent": 100},
    (f"{GX}/State", '{"value": 0}'): {"battery_direction": "idle", "battery_direction_code": 0},
    (f"{GX}/Temperature", '{"value": 25.600000381469727}'): {"battery_c": 25.6},
    (f"{GX}/Alarms/CircuitBreakerTripped", '{"value": null}'): PASSED_OVER,
    ("N/78a504c59655/system/0/Dc/Battery/Soc", ""): {"soc_percent": 64.7},
    ("N/<portal>/pvinverter/20/Ac/Power", '{"value": 936}'): {"output_w": 936},
    ("N/<portal>/solarcharger/279/Dc/0/Current", ""): {"battery_a": 0.0},
    ("N/<portal>/pvinverter/20/Ac/Power", ""): GONE,
    ("N/<portal>/full_publish_completed", '{"value"'): PASSED_OVER,
    ("N/<portal>/full_publish_completed", '{"full'): PASSED_OVER,
    # ------------------------------------------------------------------ solarassistant
    (f"{SA}/total/battery_power/state", "85"): {"battery_w": 85},
    (f"{SA}/inverter_1/battery_voltage/state", "50.0"): {"battery_v": 50.0},
    (f"{SA}/inverter_1/grid_power/state", "1140"): {"grid_w": 1140},
    (f"{SA}/inverter_1/load_power/state", "1086"): {"load_w": 1086},
    (f"{SA}/total/grid_energy_out/state", "0"): {"grid_export_kwh": 0},
    (f"{SA}/total/pv_energy/state", "0"): {"yield_kwh": 0},
    (f"{SA}/total/load_energy/state", "0"): {"load_kwh": 0},
    (f"{SA}/total/battery_energy_in/state", "0"): {"charged_kwh": 0},
    (f"{SA}/inverter_1/grid_charge_point_1/state", "true"): {"timer_01_grid_charge": True},
    (f"{SA}/inverter_1/work_mode_priority/set", "Battery first"): "command",
    (f"{SA}/inverter_1/temperature/state", "52.3"): {"device_c": 52.3},
    # ------------------------------------------------------------------ evcc
    ("evcc/site/pvPower", "6200"): {"pv_w": 6200},
    ("evcc/site/homePower", "1200"): {"load_w": 1200},
    ("evcc/site/battery/power", "-1880"): {"battery_w": 1880},  # it charges
    ("evcc/site/battery/soc", "64"): {"soc_percent": 64},
    ("evcc/site/pv/1/power", "6200"): {"pv_01_w": 6200},
    ("evcc/loadpoints/1/charging", "true"): {"charging": True},
    ("evcc/loadpoints/1/chargeCurrents", "48"): {"current_a": 48},
    ("evcc/loadpoints/1/mode", "pv"): {"charge_mode": "pv"},
    ("evcc/loadpoints/1/vehicleSoc", ""): PASSED_OVER,
    ("evcc/site/tariffGrid", "NaN"): PASSED_OVER,
    # ------------------------------------------------------------------ esphome
    ("ampinvt/status", "online"): "online",
    ("ampinvt/status", "offline"): "offline",
    ("ampinvt/sensor/solar_power/state", "312.5"): {"pv_w": 312.5},
    ("ampinvt/sensor/panel_voltage/state", "68.4"): {"pv_v": 68.4},
    ("ampinvt/sensor/panel_current/state", "4.57"): {"pv_a": 4.57},
    ("ampinvt/sensor/battery_current/state", "11.6"): {"battery_a": 11.6},
    ("smart-unifon/switch/mute/command", "ON"): "command",
    ("blueos/relay/binary_sensor/status/state", "ON"): {"reachable": True},
    ("esphome/discover/esp32-test", ""): PASSED_OVER,
    # ------------------------------------------------------------------ anker solix
    (f"{SOLIX}/availability", "online"): "online",
    (f"{SOLIX}/charge_power_w", "1500"): {"battery_w": 1500},
    (f"{SOLIX}/soc_percent", "63"): {"soc_percent": 63},
    (f"{SOLIX}/pv_power_w", "2000"): {"pv_w": 2000},
    (f"{SOLIX}/home_load_w", "500"): {"load_w": 500},
    (f"{SOLIX}/grid_power_w", "-10"): {"grid_w": -10},
    (f"{SOLIX}/discharged_total_wh", "1100000"): {"discharged_kwh": 1100.0},
}


def rows() -> list[tuple[str, dict[str, Any]]]:
    """Give the map and the row of each further vector that is of a system here."""
    found = further_vectors("mqtt_topics.json") or []
    return [(MAPS[row["system"]], row) for row in found if row["system"] in MAPS]


def own_rows() -> list[tuple[str, dict[str, Any]]]:
    files = [VECTORS / f"{name}.json" for name in MAPS.values()]
    return [(path.stem, row) for path in files for row in json.loads(path.read_text())["rows"]]


def named(found: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [
        pytest.param(name, row, id=f"{at}-{name}-{row['topic']}")
        for at, (name, row) in enumerate(found)
    ]


def expected(topic: str, payload: str) -> Any:
    """Give what a row of the further vectors becomes: the longest beginning that fits.

    None: nobody has said.
    """
    fitting = [key for key in EXPECTED if key[0] == topic and payload.startswith(key[1])]
    return EXPECTED[max(fitting, key=lambda key: len(key[1]))] if fitting else None


@cache
def answers(name: str) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Give what `heliobus decode` says of every row of a map."""
    said = [(row["topic"], row["payload"]) for of, row in rows() + own_rows() if of == name]
    lines = [{"topic": topic, "payload": payload} for topic, payload in said]
    return dict(zip(said, decode_lines(name, lines), strict=True))


def became(answer: Mapping[str, Any]) -> Any:
    """Say what a message became: values and who it is, or in one word what else."""
    if not answer["ok"]:
        return "refused"
    assert not answer.get("refused"), answer
    told = answer["values"] | answer.get("info", {})
    if told:
        return told
    if "command" in answer:
        return "command"
    if "gone" in answer:
        return GONE
    if "online" in answer:
        return "online" if answer["online"] else "offline"
    assert answer["note"]
    return PASSED_OVER


def check(name: str, row: Mapping[str, Any], wanted: Any) -> None:
    answer = answers(name)[row["topic"], row["payload"]]
    assert became(answer) == wanted, answer
    for field, unit in answer["units"].items():
        assert CONTRACT.unit(field) == unit


@pytest.mark.parametrize(("name", "row"), named(rows()))
def test_a_recorded_message_means_what_is_known_of_it(name: str, row: dict[str, Any]) -> None:
    wanted = expected(row["topic"], row["payload"])
    if wanted is None:
        check_new_row(row, answers(name)[row["topic"], row["payload"]])
    else:
        check(name, row, wanted)


@pytest.mark.parametrize(("name", "row"), named(own_rows()))
def test_a_message_of_the_map_means_what_its_source_says(name: str, row: dict[str, Any]) -> None:
    check(name, row, row["expect"])


@pytest.mark.parametrize(
    ("topic", "payload", "unit"),
    [
        ("evcc/site/grid/nextyear", "12", "W"),  # taken from nothing
        ("evcc/site/pvPower", "12", "kWh"),  # another unit
        ("elsewhere/site", "12", "W"),  # no topic of the map
    ],
)
def test_a_new_row_whose_number_is_lost_is_found(topic: str, payload: str, unit: str) -> None:
    row = {"topic": topic, "payload": payload, "unit": unit}
    with pytest.raises(AssertionError, match=topic):
        check_new_row(row, decode_lines("evcc", [row])[0])


@pytest.mark.parametrize(
    ("topic", "payload", "unit"),
    [
        ("evcc/site/battery/power", "-1880", "W"),  # its sign is turned
        ("evcc/loadpoints/1/chargedEnergy", "5200", "Wh"),
        ("evcc/site/bufferSoc/set", "50", "%"),  # a command
        ("evcc/vehicles/golf/limitSoc", "80", "%"),  # passed over on purpose
        ("evcc/site/tariffGrid", "NaN", "W"),  # no number
        ("evcc/loadpoints/1/vehicleRange", "230", "km"),  # no unit of the contract
    ],
)
def test_a_new_row_that_is_taken_in_as_it_should_is_no_fault(
    topic: str, payload: str, unit: str
) -> None:
    row = {"topic": topic, "payload": payload, "unit": unit}
    check_new_row(row, decode_lines("evcc", [row])[0])


def test_what_no_topic_of_the_map_fits_is_said() -> None:
    answer = decode_lines("victron_venus", [{"topic": "zigbee2mqtt/x", "payload": "1"}])[0]
    assert answer["ok"] is False
    assert "no topic of the map" in answer["error"]
