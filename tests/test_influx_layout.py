"""What becomes of samples: the layout of our own, and the one that OpenDTU's dashboards read."""

import logging

import pytest

from heliobus import contract
from heliobus.sample import Sample
from sinks.influx.layout import HeliobusLayout
from sinks.influx.opendtu import AGE, TABLE, UPDATED, OpenDtuLayout
from tests.samples import sample

CONTRACT = contract.load()


def written(one: Sample, *, text: bool = True) -> list[bytes]:
    layout = HeliobusLayout(CONTRACT)
    layout.text = text
    return [line for entry in layout.entries([one]) for line in entry.lines]


# ---------------------------------------------------------------------- heliobus


def test_numbers_and_yes_or_no_are_floats() -> None:
    one = sample(values={"pv_w": 120, "battery_v": 52.1, "charging": True, "producing": False})
    assert written(one) == [
        b"inverter,device=inverter,site=farm pv_w=120.0,battery_v=52.1,charging=1.0,producing=0.0"
        b" 1795255200000"
    ]


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"mode": "battery"}, b'mode_code=11.0,mode="battery"'),
        ({"mode": "battery", "mode_code": 66}, b'mode="battery",mode_code=66.0'),
        ({"mode": "of the next version"}, b'mode_code=0.0,mode="of the next version"'),
        ({"charge_state": "bulk"}, b'charge_state_code=7.0,charge_state="bulk"'),
        ({"fault": "fan"}, b'fault="fan"'),
    ],
)
def test_an_enum_is_stored_as_text_and_as_its_code(values: dict[str, str], fields: bytes) -> None:
    assert written(sample(values=values)) == [
        b"inverter,device=inverter,site=farm " + fields + b" 1795255200000"
    ]


def test_alarms_are_stored_as_json_and_as_their_count() -> None:
    one = sample(values={"alarms": ["overload", "fan"]})
    assert written(one) == [
        b"inverter,device=inverter,site=farm"
        rb' alarms_count=2.0,alarms="[\"overload\",\"fan\"]" 1795255200000'
    ]


def test_a_server_that_keeps_no_text_gets_the_numbers_only() -> None:
    one = sample(values={"mode": "battery", "alarms": ["fan"], "fault": "fan", "pv_w": 1.5})
    assert written(one, text=False) == [
        b"inverter,device=inverter,site=farm mode_code=11.0,alarms_count=1.0,pv_w=1.5 1795255200000"
    ]
    assert written(sample(values={"fault": "fan"}), text=False) == []


def test_an_event_is_stored_under_the_name_of_who_said_it() -> None:
    one = sample(device="bus", kind="event", values={"event": "samples_lost", "text": "so"})
    assert written(one) == [
        b'events,device=axpert,site=farm event="samples_lost",text="so" 1795255200000'
    ]


def test_a_kind_that_is_not_known_is_stored_as_sensor() -> None:
    assert written(sample(kind="windmill", values={"rotor_rpm": 12})) == [
        b'sensor,device=inverter,site=farm rotor_rpm=12.0,kind="windmill" 1795255200000'
    ]


def test_the_marks_of_a_sample_are_stored_beside_its_values() -> None:
    one = sample(values={"pv_w": 1.5}, marks={"simulated": True, "contract": "0.1"})
    assert written(one) == [
        b"inverter,device=inverter,site=farm pv_w=1.5,simulated=1.0 1795255200000"
    ]


# ---------------------------------------------------------------------- telegraf_opendtu


def test_the_table_names_fields_of_the_contract() -> None:
    fields = {field for field, _ in TABLE.values()} | {AGE, UPDATED}
    assert [name for name in fields if CONTRACT.field("inverter", name) is None] == []
    assert len(fields) == len(TABLE) + 2


HOYMILES = {"kind": "inverter", "maker": "Hoymiles", "serial": "114184609397"}


def opendtu(*samples: Sample, info: dict[str, str] | None = None) -> list[bytes]:
    layout = OpenDtuLayout(CONTRACT)
    layout.info("farm", "inverter", HOYMILES if info is None else info)
    return [line for entry in layout.entries(samples) for line in entry.lines]


def test_an_inverter_of_an_opendtu_becomes_one_line_for_each_channel() -> None:
    values = {
        "output_w": 401.5, "output_v": 230.1, "output_a": 1.74, "output_hz": 49.99,
        "power_factor": 1.001, "output_var": -2.5, "device_c": 31.2, "yield_today_kwh": 1.217,
        "yield_kwh": 2113.405, "pv_w": 421, "efficiency_percent": 95.2,
        "pv_01_w": 210.2, "pv_01_v": 33.1, "pv_01_a": 6.35, "pv_01_yield_today_kwh": 0.6,
        "pv_01_yield_kwh": 1000.5, "pv_01_irradiation_percent": 51.3, "pv_06_w": 0,
        "reachable": True, "producing": False, "power_limit_percent": 75, "power_limit_w": 600,
        "data_age_s": 3, "mode": "running", "alarms": [], "heatsink_c": 12,
    }  # fmt: skip
    assert opendtu(sample(values=values)) == [
        b"mqtt_consumer,channel=0,serial=114184609397 power=401.5,voltage=230.1,current=1.74,"
        b"frequency=49.99,powerfactor=1.001,reactivepower=-2.5,temperature=31.2,yieldday=1217.0,"
        b"yieldtotal=2113.405,powerdc=421.0,efficiency=95.2 1795255200000",
        b"mqtt_consumer,channel=1,serial=114184609397 power=210.2,voltage=33.1,current=6.35,"
        b"yieldday=600.0,yieldtotal=1000.5,irradiation=51.3 1795255200000",
        b"mqtt_consumer,channel=6,serial=114184609397 power=0.0 1795255200000",
        b"mqtt_consumer,channel=status,serial=114184609397 reachable=1.0,producing=0.0,"
        b"limit_relative=75.0,limit_absolute=600.0,last_update=1795255197.0 1795255200000",
    ]


def test_what_the_dtu_says_of_radio_hardware_and_time_has_its_place() -> None:
    values = {
        "last_update_s": 1_795_255_198, "data_age_s": 2.5,
        "radio_sent_count": 4711, "radio_resent_count": 12, "radio_received_count": 4598,
        "radio_unanswered_count": 108, "radio_partial_count": 5, "radio_corrupt_count": 1,
        "signal_dbm": -80, "bootloader_version": "104", "hardware_part": "269553683",
        "hardware_version": "01.10", "firmware_date": "2022-11-10 16:11:00", "pv_01_name": "22",
    }  # fmt: skip
    assert opendtu(sample(values=values)) == [
        b"mqtt_consumer,channel=radio,serial=114184609397 tx_request=4711.0,tx_re_request=12.0,"
        b"rx_success=4598.0,rx_fail_nothing=108.0,rx_fail_partial=5.0,rx_fail_corrupt=1.0,"
        b"rssi=-80.0 1795255200000",
        b"mqtt_consumer,channel=device,serial=114184609397 bootloaderversion=104.0,"
        b"hwpartnumber=269553683.0 1795255200000",
        b"mqtt_consumer,channel=status,serial=114184609397 last_update=1795255198.0 1795255200000",
    ]


def test_hardware_that_is_no_number_has_no_place_among_numbers() -> None:
    assert opendtu(sample(values={"hardware_part": "HW-1", "bootloader_version": "1.0"})) == []


@pytest.mark.parametrize(
    "info",
    [
        {"kind": "inverter", "maker": "Voltronic", "serial": "1"},
        {"kind": "inverter", "maker": "Hoymiles"},
        {"kind": "meter", "maker": "Hoymiles", "serial": "1"},
    ],
)
def test_other_devices_are_left_out_and_that_is_said_once(
    info: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    component = sample(device="axpert", kind="component")
    other = sample(device="bank", kind="battery")
    assert opendtu(component, sample(0), sample(1), other, info=info) == []
    assert caplog.messages == [
        "the layout telegraf_opendtu has a place for inverters of an OpenDTU only; others are left"
        " out, such as inverter (inverter)"
    ]
    assert caplog.records[0].levelno == logging.INFO


def test_samples_wait_for_the_first_info_of_their_inverter() -> None:
    layout = OpenDtuLayout(CONTRACT)
    assert layout.entries([sample(0, values={"output_w": 1})]) == []
    assert layout.waiting == {("farm", "axpert", "inverter")}
    layout.info("farm", "inverter", HOYMILES)
    entries = layout.entries([sample(1, values={"output_w": 2})])
    assert [entry.lines for entry in entries] == [
        [b"mqtt_consumer,channel=0,serial=114184609397 power=1.0 1795255200000"],
        [b"mqtt_consumer,channel=0,serial=114184609397 power=2.0 1795255201000"],
    ]
    assert layout.waiting == frozenset()


def test_what_waits_in_vain_is_bounded() -> None:
    layout = OpenDtuLayout(CONTRACT)
    layout.entries([sample(second) for second in range(1500)])
    layout.info("farm", "inverter", HOYMILES)
    assert len(layout.entries([])) == 1000
