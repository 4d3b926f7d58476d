"""The simulated SunSpec devices: their habits, their days, and that their values add up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bridges.sunspec.chain import Chain, read_block, walk
from bridges.sunspec.decoding import decode_registers
from bridges.sunspec.simulated_device import Device
from bridges.sunspec.simulator import SIMULATOR, VARIANTS, simulate, simulator
from heliobus import components
from heliobus.cli import cli
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Counting, Faults, Paced, Simulated
from heliobus.modbus import Read, crc
from heliobus.modbus_slave import Slave
from heliobus.settings import BridgeSettings, DeviceSettings, Settings
from heliobus.simulated_site import SimulatedSite

MIDNIGHT_S = 1_781_481_600.0  # 2026-06-15 in the house
HOUR_S, DAY_S = 3600.0, 86400.0
NOON_S = MIDNIGHT_S + 12 * HOUR_S


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = NOON_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def _made(variant: str, now_s: float = NOON_S, **options: Any) -> Slave[Device]:
    return simulator(variant, clock=Clock(now_s), **options)


def _read(slave: Slave[Device], start: int, count: int) -> tuple[int, ...]:
    (unit,) = slave.units
    read = Read(unit, 3, start, count)
    return read.registers(slave.respond(unit, read.pdu))


def _walked(slave: Slave[Device]) -> Chain:
    return walk(lambda start, count: _read(slave, start, count))


def _values(variant: str, now_s: float = NOON_S) -> Mapping[str, Any]:
    (device,) = _made(variant, now_s).devices.values()
    found = decode_registers(device.kind.base, list(device.registers()))["values"]
    assert isinstance(found, dict)
    return found


def _hours(variant: str) -> list[Mapping[str, Any]]:
    """Give what one device says at each hour of two days."""
    clock = Clock(MIDNIGHT_S)
    (device,) = simulator(variant, clock=clock).devices.values()
    told = []
    for hour in range(48):
        clock.now_s = MIDNIGHT_S + hour * HOUR_S
        words = list(device.registers())
        told.append(decode_registers(device.kind.base, words)["values"])
    return told


def test_it_is_what_the_kit_serves() -> None:
    device: Simulated = SIMULATOR()
    assert isinstance(device, Counting)


def test_an_unknown_variant_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="--model: found 'mate4', expected one of mate3s,"):
        simulator("mate4")


@pytest.mark.parametrize(
    ("variant", "numbers"),
    [
        (
            "mate3s",
            [1, 64110, 64120, 101, 64255, *[64115, 64116] * 3, *[64111, 64112] * 2, 64118, 64119],
        ),
        (
            "mate3s_fx",
            [1, 64110, 64120, 101, 64255, *[64117, 64116] * 3, *[64111, 64112] * 2, 64118, 64119],
        ),
        ("axs_empty", [1, 64110]),
        ("mate3s_radians", [1, 64110, 64120, 101, 64255, *[64115, 64116] * 3, 64118, 64119]),
        ("fronius", [1, 103, 120, 121, 122, 123, 160]),
        ("fronius_float", [1, 113, 120, 121, 122, 123, 160]),
        ("solaredge", [1, 103, 1, 203, 1, 203]),
        ("sma", [1, 103, 120, 121, 122, 123, 126, 130, 160]),
        ("acuvim", [1, 204]),
        ("battery", [1, 802, 803]),
        ("hybrid_701", [1, 701, 713, 714]),
    ],
)
def test_every_variant_has_its_chain(variant: str, numbers: list[int]) -> None:
    assert [block.id for block in _walked(_made(variant)).blocks] == numbers


def test_every_variant_is_tested() -> None:
    assert len(VARIANTS) == 11


def test_every_variant_can_be_configured_and_is_named_by_the_help() -> None:
    known = components.find(components.Kind.BRIDGE, "sunspec")
    assert known is not None
    assert sorted(known.models) == sorted(VARIANTS)
    told = " ".join(CliRunner().invoke(cli, ["sim", "--help"]).output.split())
    assert "SunSpec devices: mate3s, mate3s_fx, mate3s_radians, axs_empty, fronius" in told


@pytest.mark.parametrize(
    ("variant", "warnings"),
    [
        ("mate3s", ()),
        ("axs_empty", ("no end model: zeros at 40491",)),
        ("sma", ("no end model: exception 2 at 40432",)),
    ],
)
def test_chains_end_as_those_of_their_makers(variant: str, warnings: tuple[str, ...]) -> None:
    assert _walked(_made(variant)).warnings == warnings


def test_an_axs_port_without_devices_gives_zeros_up_to_43007() -> None:
    slave = _made("axs_empty")
    assert _read(slave, 43000, 8) == (0,) * 8
    assert slave.respond(1, Read(1, 3, 43000, 9).pdu) == bytes([0x83, 2])


def test_an_acuvim_begins_at_50000_and_ends_within_its_model() -> None:
    chain = _walked(_made("acuvim"))
    assert (chain.base, chain.blocks[1].length) == (50000, 81)


def test_an_sma_answers_as_unit_126() -> None:
    assert set(_made("sma").units) == {126}
    assert set(_made("sma", unit=3).units) == {3}


# ---------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("03 9c40 0065", "83 03"),  # 101 registers
        ("03 9c40 0000", "83 03"),
        ("03 9c3f 0002", "83 02"),
        ("03 ffff 0001", "83 02"),
        ("04 9c40 0002", "84 01"),
        ("06 9c40 0001", "86 01"),
        ("10 9c40 0001 02 0001", "90 01"),
        ("08 0000 1234", "88 01"),
    ],
)
def test_a_mate_refuses_what_it_does_not_know(pdu: str, answer: str) -> None:
    assert _made("mate3s").respond(1, bytes.fromhex(pdu)) == bytes.fromhex(answer)


def test_a_mate_gives_100_registers_and_others_125() -> None:
    assert len(_read(_made("mate3s"), 40000, 100)) == 100
    assert len(_read(_made("fronius"), 40000, 125)) == 125


def test_writes_are_counted_and_change_nothing() -> None:
    slave = _made("mate3s")
    before = _read(slave, 40000, 100)
    slave.respond(1, bytes.fromhex("06 9c40 0001"))
    slave.respond(1, bytes.fromhex("10 9c40 0001 02 0001"))
    assert slave.writes == 2
    assert _read(slave, 40000, 100) == before


def test_it_can_be_told_to_refuse_and_to_be_weak() -> None:
    faults = Faults({"nak": 1.0})
    assert _made("fronius", faults=faults).respond(1, Read(1, 3, 40000, 2).pdu) == bytes([0x83, 4])
    weak = _made("fronius", faults=Faults({"max100": 1.0}))
    assert weak.respond(1, Read(1, 3, 40000, 101).pdu) == bytes([0x83, 3])
    assert len(_read(weak, 40000, 100)) == 100


# ---------------------------------------------------------------------- framed


def test_it_speaks_modbus_tcp_and_rtu() -> None:
    tcp = _made("fronius", tcp=True).take(bytes.fromhex("0007 0000 0006 01 03 9c40 0002"))
    assert tcp == bytes.fromhex("0007 0000 0007 01 03 04 5375 6e53")
    asked = bytes.fromhex("01 03 9c40 0002")
    told = bytes.fromhex("01 03 04 5375 6e53")
    assert _made("fronius").take(asked + crc(asked)) == told + crc(told)


def test_one_link_has_all_its_devices() -> None:
    def device(name: str, unit: int, variant: str) -> DeviceSettings:
        options = {"unit": unit, "simulate": variant}
        return DeviceSettings(name, 10.0, "tcp://192.0.2.1:502", options)

    slave = simulate(
        [device("roof", 1, "fronius"), device("grid", 240, "acuvim")], house=House(Clock())
    )
    assert slave.mbap
    assert set(slave.units) == {1, 240}
    assert slave.polls == {"roof": 0, "grid": 0}


@pytest.mark.parametrize(
    ("options", "variant"),
    [
        ({}, "fronius"),
        ({"unit": 126}, "fronius"),
        ({"unit": 200, "role": "grid"}, "acuvim"),
        ({"parts": {"inverter_1": "left"}}, "mate3s"),
        ({"parts": {"inverter_1": "left"}, "role": "grid"}, "mate3s"),
        ({"parts": {}}, "fronius"),
        ({"parts": {"inverter_1": "left"}, "simulate": "solaredge"}, "solaredge"),
    ],
)
def test_what_a_device_is_follows_from_what_its_owner_says_of_it(
    options: Mapping[str, Any], variant: str
) -> None:
    settings = DeviceSettings("roof", 10.0, "tcp://192.0.2.1:502", options)
    slave = simulate([settings], house=House(Clock()))
    assert [device.kind for device in slave.units.values()] == [VARIANTS[variant]]
    assert slave.plays == {"roof": variant}


def test_the_screen_says_what_is_in_the_place_of_each_device(tmp_path: Path) -> None:
    link = "tcp://192.0.2.1:502"
    devices = (
        DeviceSettings("symo", 10.0, link, {"unit": 1}),
        DeviceSettings("grid_meter", 10.0, link, {"unit": 200, "role": "grid"}),
        DeviceSettings("mate", 10.0, "tcp://192.0.2.2:502", {"parts": {"inverter_1": "left"}}),
    )
    bridge = BridgeSettings("roof", "sunspec", devices=devices)
    site = SimulatedSite(Settings("farm", tmp_path, tmp_path, bridges={"roof": bridge}), tmp_path)
    site.open(1884)
    assert site.rows() == [
        ("roof", "symo: a simulated fronius"),
        ("", "grid_meter: a simulated acuvim"),
        ("", "mate: a simulated mate3s"),
    ]


def test_a_device_is_where_its_owner_says_that_its_models_begin() -> None:
    options = {"role": "grid", "base": 40000}
    settings = DeviceSettings("grid", 10.0, "tcp://192.0.2.1:502", options)
    assert _walked(simulate([settings], house=House(Clock()))).base == 40000


def test_a_line_of_its_own_is_as_fast_as_the_bridge_takes_it_to_be() -> None:
    assert isinstance(simulator(), Paced)
    assert simulator().baud == 9600


def test_a_link_has_its_devices_where_the_bridge_asks_them() -> None:
    settings = DeviceSettings("roof", 10.0, "tcp://192.0.2.1:502", {"simulate": "sma"})
    assert set(simulate([settings], house=House(Clock())).units) == {1}


def test_a_wrong_variant_is_refused_with_the_device_that_has_it() -> None:
    settings = DeviceSettings("mate", 10.0, "tcp://192.0.2.1:502", {"simulate": "mate4"})
    with pytest.raises(ConfigError, match="mate: simulate: found 'mate4', expected one of mate3s"):
        simulate([settings], house=House(Clock()))


def test_a_poll_is_counted_when_the_last_living_model_went_out_whole() -> None:
    slave = _made("mate3s", tcp=True)
    chain = _walked(slave)
    monitor = next(block for block in chain.blocks if block.id == 64118)

    def exchange(start: int, count: int, *, whole: bool) -> None:
        pdu = Read(1, 3, start, count).pdu
        answer = slave.take(bytes(5) + bytes([6, 1]) + pdu)
        slave.sent(answer, whole=whole)

    for block in chain.blocks:
        exchange(block.at, 2, whole=True)  # a walk is no poll
    exchange(monitor.at, 2 + monitor.length, whole=False)
    assert slave.polls == {"mate3s": 0}
    exchange(monitor.at, 2 + monitor.length, whole=True)
    assert slave.polls == {"mate3s": 1}


def test_every_block_can_be_read_in_its_pieces() -> None:
    slave = _made("mate3s")
    for block in _walked(slave).blocks:
        words = read_block(lambda start, count: _read(slave, start, count), block, most=100)
        assert words[:2] == (block.id, block.length)


# ---------------------------------------------------------------------- its days


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_can_say_what_it_measures_at_any_time_of_the_day(variant: str) -> None:
    for at in range(0, 96, 5):
        assert _values(variant, MIDNIGHT_S + at * 900.0)


def test_what_is_told_changes_when_time_passes_and_else_stays() -> None:
    clock = Clock(MIDNIGHT_S + 9 * HOUR_S)
    (device,) = simulator("mate3s", clock=clock).devices.values()
    first = device.registers()
    assert device.registers() == first
    clock.now_s += 600.0
    assert device.registers() != first


@pytest.mark.parametrize("variant", ["fronius", "solaredge", "mate3s", "hybrid_701"])
def test_what_a_device_counts_is_the_sum_of_its_powers(variant: str) -> None:
    clock = Clock(MIDNIGHT_S)
    (device,) = simulator(variant, clock=clock).devices.values()
    part, sums = device.part, dict.fromkeys(("pv", "load", "imported"), 0.0)
    begun: dict[str, float] = {}
    for minute in range(24 * 60 + 1):
        clock.now_s = MIDNIGHT_S + 60.0 * minute
        with part.house:
            begun = begun or dict(part.total)
            counted = {name: part.total[name] - begun[name] for name in sums}
            assert counted == pytest.approx(sums)
            sums["pv"] += part.pv_w / 60.0
            sums["load"] += part.load_w / 60.0
            sums["imported"] += max(0.0, part.grid_w) / 60.0
    assert sums["pv"] > 10_000


def test_a_monitor_keeps_the_lowest_and_the_highest_of_the_day() -> None:
    clock = Clock(MIDNIGHT_S)
    (device,) = simulator("mate3s", clock=clock).devices.values()
    volts = []
    for minute in range(0, 24 * 60, 7):
        clock.now_s = MIDNIGHT_S + 60.0 * minute
        with device.part.house as house:
            volts.append(house.battery_v)
            low, high = device.part.range_today("battery_v")
            assert low <= min(volts) <= max(volts) <= high
            assert MIDNIGHT_S <= device.part.low_s <= clock.now_s
            assert MIDNIGHT_S <= device.part.high_s <= clock.now_s
    assert high - low > 3


def test_an_empty_battery_starts_the_generator_of_a_mate() -> None:
    clock = Clock(MIDNIGHT_S)
    (device,) = simulator("mate3s", clock=clock).devices.values()

    def told() -> tuple[bool, float, float]:
        values = decode_registers(device.kind.base, list(device.registers()))["values"]
        first = "64115#0.GS_Split_"
        buys_kw, load_kw = values[first + "Buy_kW"], values[first + "Load_kW"]
        return values[first + "AC_Input_State"] == 1, buys_kw, buys_kw - load_kw

    with device.part.house as house:
        house.soc = 0.151
    is_on, buys_kw, charges_kw = told()
    assert (is_on, buys_kw) == (False, 0.0)
    assert charges_kw < 0
    clock.now_s += HOUR_S
    is_on, buys_kw, charges_kw = told()
    assert is_on
    assert buys_kw > charges_kw > 0.5


def test_what_the_inverters_of_a_mate_say_adds_up_with_its_monitor() -> None:
    values = _values("mate3s", MIDNIGHT_S + 21 * HOUR_S)
    load_kw = sum(values[f"64115#{at}.GS_Split_Load_kW"] for at in range(3))
    assert values["101#0.W"] == pytest.approx(load_kw, abs=0.15)  # in kW: their bug
    assert values["64118#0.FN_Output_kW"] == pytest.approx(load_kw, abs=0.15)
    shunts = [values[f"64118#0.FN_Shunt_{name}_Current"] for name in "ABC"]
    assert values["64118#0.FN_Battery_Current"] == pytest.approx(sum(shunts))
    assert values["64118#0.FN_Net_kW"] < 0  # discharging


def test_what_the_chargers_of_a_mate_say_adds_up_with_its_monitor() -> None:
    values = _values("mate3s")
    watts = sum(values[f"64111#{at}.CC_Watts"] for at in range(2))
    assert values["64118#0.FN_Input_kW"] == pytest.approx(watts / 1000, abs=0.05)
    assert {values[f"64111#{at}.CC_Port_number"] for at in range(2)} == {4, 5}


def test_a_mate_has_the_bugs_of_a_mate() -> None:
    values = _values("mate3s")
    assert (values["101#0.St"], values["101#0.StVnd"]) == (7, 2)
    assert values["101#0.W"] < 5
    assert "101#0.WH" not in values
    # The low word first; read the other way it would be another century.
    assert MIDNIGHT_S <= values["64118#0.FN_Todays_Maximum_Battery_Time"] <= NOON_S


def test_the_counters_of_an_inverter_only_rise() -> None:
    for variant, path in (("fronius", "103#0.WH"), ("solaredge", "203#0.TotWhExp")):
        told = [values[path] for values in _hours(variant)]
        assert told == sorted(told)
        assert told[47] > told[0]


def test_what_is_of_today_falls_to_zero_at_midnight() -> None:
    told = [values["64111#0.CC_Todays_kWH"] for values in _hours("mate3s")]
    assert told[0] == told[24] == 0.0
    assert told[23] > 1.0


def test_an_inverter_sleeps_at_night() -> None:
    night, day = _values("fronius", MIDNIGHT_S + HOUR_S), _values("fronius")
    assert (night["103#0.St"], night["103#0.W"]) == (2, 0)
    assert (day["103#0.St"], day["103#0.W"] > 500) == (4, True)


def test_the_ports_of_a_hybrid_inverter_add_up() -> None:
    for hour in (2, 9, 12, 20):
        values = _values("hybrid_701", MIDNIGHT_S + hour * HOUR_S)
        ports = values["714#0.Prt[0].DCW"] + values["714#0.Prt[1].DCW"]
        assert values["714#0.DCW"] == pytest.approx(ports, abs=1)
        assert values["701#0.W"] == pytest.approx(ports, abs=1)


def test_two_strings_are_the_whole_of_an_inverter_and_an_unused_one_has_no_values() -> None:
    values = _values("fronius")
    strings = values["160#0.module[0].DCW"] + values["160#0.module[1].DCW"]
    assert values["103#0.DCW"] == pytest.approx(strings, abs=2)
    values = _values("fronius_float")
    assert values["160#0.module[1].IDStr"] == "Not supported"
    assert "160#0.module[1].DCW" not in values
