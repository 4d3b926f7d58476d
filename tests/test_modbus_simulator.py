"""Simulated Modbus devices: what they say, what they refuse, and that it adds up."""

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bridges.modbus import Modbus, profiles
from bridges.modbus.registers import Row
from bridges.modbus.simulated_device import Device
from bridges.modbus.simulated_part import part_of
from bridges.modbus.simulated_scene import Scene
from bridges.modbus.simulator import SIMULATOR, Simulator, simulate, simulator
from bridges.modbus.types import TYPES
from heliobus.errors import ConfigError, FrameError
from heliobus.house import House
from heliobus.line import Faults
from heliobus.settings import DeviceSettings
from heliobus.simulation import serve_pty, serve_tcp
from tests.helpers import flips, wait_until

# 2026-06-15 00:00 in the house.
MIDNIGHT_S = 1_781_481_600.0
NOON_S = MIDNIGHT_S + 12 * 3600
HOUR_S = 3600.0

METER = """\
maker: Acme
models: [M1]
kind: meter
role: grid
source: [its document]
verified: document
serial: [4800 8N1]
unit_id: 17
function: 4
type: f32
max_registers: 80
align: 2
registers:
  - {name: voltage_v, at: 0}
  - {name: power_w, at: 12}
  - {name: import_kwh, at: 72, group: slow}
"""
# Voltage of METER at unit 17, as `function start count`, with its CRC by mbpoll.
ASK_VOLTAGE = bytes.fromhex("11 04 0000 0002 735b")


@pytest.fixture
def meter(tmp_path: Path) -> Callable[..., Simulator]:
    """Make the simulated meter of METER, with lines added or replaced."""

    def make(*, replaced: tuple[str, str] = ("", ""), **options: object) -> Simulator:
        path = tmp_path / "acme.yaml"
        path.write_text(METER.replace(*replaced))
        given = {"clock": lambda: NOON_S, **options}
        return simulator(str(path), **given)  # type: ignore[arg-type]  # as the test wants it

    return make


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = NOON_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Seen:
    """A device of a kind in a house, and what it shows at a time."""

    def __init__(
        self, kind: str, *, now_s: float = NOON_S, seed: int = 1, fields: str = "", **how: Any
    ) -> None:
        self.clock = Clock(now_s)
        self.house = House(self.clock, seed=seed)
        role = how.get("role", "")
        part = part_of(self.house, "far", kind, role=role, fields=set(fields.split()))
        self.scene = Scene(part, kind, **how)

    def at(self, now_s: float) -> Callable[[str], float | bool]:
        """Give what tells its numbers at a time."""
        self.clock.now_s = now_s
        with self.house:
            return self.scene.number


def f32(data: bytes) -> float:
    return float(struct.unpack(">f", data)[0])


# ---------------------------------------------------------------------- frames


def test_a_request_is_answered_with_the_registers_that_the_scene_gives(
    meter: Callable[..., Simulator],
) -> None:
    device = meter()
    answer = device.take(ASK_VOLTAGE)
    assert answer[:3] == bytes.fromhex("11 04 04")
    assert len(answer) == 9
    scene = device.devices["acme"].scene
    with scene.house:
        assert f32(answer[3:7]) == pytest.approx(scene.number("voltage_v"))
    assert 225 < f32(answer[3:7]) < 235


def test_a_request_in_parts_is_answered_once_and_whole(meter: Callable[..., Simulator]) -> None:
    whole = meter().take(ASK_VOLTAGE)
    device = meter()
    answers = [device.take(ASK_VOLTAGE[at : at + 1]) for at in range(len(ASK_VOLTAGE))]
    assert answers == [b""] * 7 + [whole]


@pytest.mark.parametrize("noise", ["00", "ff 00 ff", "11 04", "11 10 00 00 00 7b f6", "2b 0e"])
def test_noise_before_a_request_is_passed_over(meter: Callable[..., Simulator], noise: str) -> None:
    assert meter().take(bytes.fromhex(noise) + ASK_VOLTAGE) == meter().take(ASK_VOLTAGE)


def test_a_request_with_a_wrong_bit_anywhere_is_not_answered(
    meter: Callable[..., Simulator],
) -> None:
    device = meter()
    whole = device.take(ASK_VOLTAGE)
    for damaged in flips(ASK_VOLTAGE):
        assert device.take(damaged) == b""
        assert device.take(ASK_VOLTAGE) == whole


def test_endless_noise_is_not_kept(meter: Callable[..., Simulator]) -> None:
    device = meter()
    for _ in range(100):
        assert device.take(b"\x11\x10\xff" * 100) == b""
    assert device.take(ASK_VOLTAGE) == meter().take(ASK_VOLTAGE)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("11 08 0000 12ab ae14", "11 08 0000 12ab ae14"),
        ("11 04 0001 0002 229b", "11 84 02 c305"),  # odd start
        ("11 04 0000 0003 b29b", "11 84 02 c305"),  # odd count
        ("11 04 0000 0000 f29a", "11 84 03 02c5"),
        ("11 04 0000 0052 7367", "11 84 03 02c5"),  # 82 registers, of 80
        ("11 04 0190 0002 7294", "11 84 02 c305"),  # far from any row
        ("11 03 0000 0002 c69b", "11 83 01 8135"),
        ("11 05 0001 ff00 df6a", "11 85 01 8356"),
        ("11 06 0001 0003 9a9b", "11 86 01 8366"),
        ("11 10 0001 0002 04 000a 0102 c6f0", "11 90 01 8d c5"),
        ("11 2b 0e 01 00 b9f3", "11 ab 01 9f 35"),
        ("12 04 0000 0002 7368", ""),  # another unit
        ("00 04 0000 0002 701a", ""),  # all units
    ],
)
def test_what_cannot_be_is_refused(
    meter: Callable[..., Simulator], request_: str, answer: str
) -> None:
    from heliobus.modbus import crc

    asked, told = bytes.fromhex(request_)[:-2], bytes.fromhex(answer)[:-2]
    asked += crc(asked)
    told += crc(told) if told else b""
    assert meter().take(asked) == told


def test_every_request_that_could_write_is_counted(meter: Callable[..., Simulator]) -> None:
    device = meter()
    for count, pdu in enumerate(
        ("05 0001 ff00", "06 0001 0003", "0f 0001 0001 01 01", "10 0001 0001 02 0001"), 1
    ):
        assert device.respond(17, bytes.fromhex(pdu))[0] == bytes.fromhex(pdu)[0] | 0x80
        assert device.writes == count
    for pdu in ("16 0001 0000 0000", "17 0000 0001 0001 0001 02 0001", "08 0001 0000", "5a"):
        device.respond(99, bytes.fromhex(pdu))
    assert device.writes == 8
    for pdu in ("04 0000 0002", "03 0000 0002", "08 0000 1234", "2b 0e 01 00", "11", "07"):
        device.respond(17, bytes.fromhex(pdu))
    assert device.writes == 8


def test_modbus_tcp_has_its_own_frame(meter: Callable[..., Simulator]) -> None:
    device = meter(tcp=True)
    asked = bytes.fromhex("abcd 0000 0006 11 04 0000 0002")
    answer = device.take(asked[:9]) + device.take(asked[9:])
    assert answer[:9] == bytes.fromhex("abcd 0000 0007 11 04 04")
    assert answer[9:] == meter().take(ASK_VOLTAGE)[3:7]


def test_a_gateway_tells_that_a_unit_is_not_there(meter: Callable[..., Simulator]) -> None:
    asked = bytes.fromhex("0001 0000 0006 12 04 0000 0002")
    assert meter(tcp=True).take(asked) == bytes.fromhex("0001 0000 0003 12 84 0b")


def test_rtu_frames_to_modbus_tcp_and_the_other_way_round_meet_silence(
    meter: Callable[..., Simulator],
) -> None:
    assert meter(tcp=True).take(bytes.fromhex("11 04 000c 0002 b358") * 3) == b""
    assert meter().take(bytes.fromhex("0001 0000 0006 11 04 0000 0002") * 3) == b""


# ---------------------------------------------------------------------- registers


def words(device: Simulator, start: int, count: int, *, function: int = 4) -> list[int] | int:
    """Give registers of unit 17, or the number of the exception."""
    answer = device.respond(17, bytes([function, *start.to_bytes(2), *count.to_bytes(2)]))
    if answer[0] & 0x80:
        return answer[1]
    return [int.from_bytes(answer[at : at + 2]) for at in range(2, len(answer), 2)]


def test_registers_that_no_row_names_are_zero(meter: Callable[..., Simulator]) -> None:
    found = words(meter(), 0, 14)
    assert isinstance(found, list)
    assert found[2:12] == [0] * 10
    assert found[0]
    assert found[12]


def test_a_device_without_gaps_refuses_what_no_row_names(meter: Callable[..., Simulator]) -> None:
    device = meter(replaced=("align: 2", "align: 2\ngaps: false"))
    assert words(device, 0, 14) == 2
    found = words(device, 12, 2)
    assert isinstance(found, list)
    assert found[0]


def test_more_than_a_hundred_registers_are_refused_on_demand(
    meter: Callable[..., Simulator],
) -> None:
    device = meter(
        replaced=("max_registers: 80", "max_registers: 125"), faults=Faults({"max100": 1})
    )
    assert words(device, 0, 102) == 3
    assert len(words(device, 0, 100)) == 100  # type: ignore[arg-type]  # a list, or it fails


def test_a_frame_of_another_unit_comes_first_on_demand(meter: Callable[..., Simulator]) -> None:
    answer = meter(faults=Faults({"foreign": 1})).take(ASK_VOLTAGE)
    assert answer[:7] == bytes.fromhex("12 04 04 4120 0000")
    assert answer[9:] == meter().take(ASK_VOLTAGE)


# ---------------------------------------------------------------------- what it measures


@pytest.mark.parametrize("role", ["grid", "pv", "load", "battery", "other"])
def test_three_phases_add_up(role: str) -> None:
    seen = Seen("meter", role=role, phases=3)
    for hour in range(48):
        number = seen.at(NOON_S + hour * HOUR_S)
        for name in ("power_w", "apparent_va", "reactive_var", "current_a"):
            short = name.rpartition("_")[2]
            assert sum(float(number(f"l{at}_{short}")) for at in (1, 2, 3)) == pytest.approx(
                number(name), abs=1e-6
            )
        for name in ("import_kwh", "export_kwh", "import_kvarh"):
            assert sum(float(number(f"l{at}_{name}")) for at in (1, 2, 3)) == pytest.approx(
                number(name)
            )
        assert number("net_kwh") == pytest.approx(number("import_kwh") - number("export_kwh"))
        assert number("total_kwh") == pytest.approx(number("import_kwh") + number("export_kwh"))
        assert number("power_w") == pytest.approx(
            number("apparent_va") * number("power_factor"), abs=1e-6
        )
        assert number("l1_va") == pytest.approx(number("l1_v") * number("l1_a"))
        assert 390 < number("l12_v") < 405


def test_a_counter_is_the_sum_of_its_power_and_never_falls() -> None:
    seen = Seen("meter", role="grid", now_s=MIDNIGHT_S)
    number, counters = seen.at(MIDNIGHT_S), seen.scene.counters
    before = dict(counters.total)
    first_kwh, sum_kwh = float(number("import_kwh")), 0.0
    for minute in range(3 * 24 * 60):
        sum_kwh += max(0.0, float(number("power_w"))) / 60_000.0
        seen.at(MIDNIGHT_S + (minute + 1) * 60.0)
        after = dict(counters.total)
        assert all(after[name] >= before[name] for name in before if "net_" not in name)
        before = after
    assert number("import_kwh") - first_kwh == pytest.approx(sum_kwh)
    assert 5 < sum_kwh < 60


def test_the_counter_of_today_begins_anew_at_midnight() -> None:
    seen = Seen("charger", now_s=MIDNIGHT_S + 23 * HOUR_S)
    today_kwh = seen.at(MIDNIGHT_S + 23 * HOUR_S)("yield_today_kwh")
    assert today_kwh > 2
    number = seen.at(MIDNIGHT_S + 25 * HOUR_S)
    assert number("yield_today_kwh") == 0
    assert number("yield_yesterday_kwh") == today_kwh


def test_a_charge_controller_sleeps_at_night_and_goes_through_its_stages_by_day() -> None:
    home = Seen("charger", now_s=MIDNIGHT_S)
    seen: list[str] = []
    for minute in range(0, 24 * 60, 5):
        number = home.at(MIDNIGHT_S + minute * 60.0)
        state = home.scene.texts("charge_state")[0]
        if seen[-1:] != [state]:
            seen.append(state)
        if state == "asleep":
            assert number("pv_w") < 40
        else:
            assert number("battery_a") > 0
            assert number("pv_v") > 80
        assert number("pv_w") == pytest.approx(number("pv_v") * number("pv_a"))
    assert seen[0] == seen[-1] == "asleep"
    assert [state for state in ("bulk", "absorption", "float") if state in seen] == [
        "bulk",
        "absorption",
        "float",
    ]


def test_the_same_time_and_seed_give_the_same_and_another_seed_does_not() -> None:
    one, same, other = (Seen("inverter", seed=seed).at(NOON_S)("load_w") for seed in (3, 3, 4))
    assert one == same != other


@pytest.mark.parametrize("role", ["grid", "pv", "load", "battery"])
def test_a_meter_shows_what_its_role_is_in_the_house(role: str) -> None:
    seen = Seen("meter", role=role)
    for hour in (0, 12):
        number, house = seen.at(MIDNIGHT_S + hour * HOUR_S), seen.house
        powers = {"grid": house.grid_w, "pv": house.pv_w, "load": house.load_w, "battery": 0.0}
        assert number("power_w") == pytest.approx(powers[role])


def test_a_meter_of_panels_shows_those_of_solar_inverters_where_there_are_any() -> None:
    house = House(Clock())
    roof, _ = house.array("roof", 5000.0, coupled=True), house.array("charger", 3000.0)
    meter = Scene(part_of(house, "pv", "meter", role="pv", fields=set()), "meter", role="pv")
    with house:
        assert meter.number("power_w") == roof.w > 500


@pytest.mark.parametrize(
    ("kind", "fields", "joins"),
    [
        ("charger", "pv_w", "array"),
        ("inverter", "power_w yield_kwh", "solar"),
        ("inverter", "battery_v output_w", "inverter"),
        ("inverter", "battery_v pv_w", "inverter with panels"),
        ("battery", "battery_v", "bank"),
    ],
)
def test_a_device_is_in_the_house_what_its_kind_and_its_words_say(
    kind: str, fields: str, joins: str
) -> None:
    seen = Seen(kind, fields=fields)
    number, house = seen.at(NOON_S), seen.house
    pv_w, battery_w, output_w = number("pv_w"), number("battery_w"), number("power_w")
    told = {
        "array": (house.pv_w, house.pv_w),
        "solar": (house.pv_w, 0.0, house.pv_w),
        "inverter": (0.0, house.battery_w - house.pv_w, house.load_w),
        "inverter with panels": (house.pv_w, house.battery_w, house.load_w),
        "bank": (house.pv_w, house.battery_w, house.battery_w),
    }[joins]
    assert (pv_w, battery_w, output_w)[: len(told)] == pytest.approx(told)
    assert house.pv_w > 500


def test_a_profile_that_is_wrong_leaves_the_house_to_the_others() -> None:
    house = House(Clock())
    with pytest.raises(ConfigError, match="no_such"):
        simulate([settings("a", SERIAL), settings("b", SERIAL, profile="no_such")], house=house)
    simulate([settings("a", SERIAL)], house=house)


# ---------------------------------------------------------------------- all profiles


def step_of(row: Row, scales: dict[str, float], value: float) -> float:
    """Give how far apart two values are that a row can say."""
    if TYPES[row.type].is_float:
        bits = {1: 10, 2: 23, 4: 52}[row.count]
        raw = value / row.factor * row.divide
        return 2.0 ** (math.frexp(raw)[1] - 1 - bits) * abs(row.factor / row.divide)
    return abs(row.factor / row.divide) * math.prod(scales[name] for name in row.scales)


def rows_that_say(device: Device) -> Iterator[Row]:
    """Give the rows with a number; of those that share registers the first."""
    seen = set()
    for row in device.profile.rows:
        if TYPES[row.type].is_number and (row.function, row.at) not in seen:
            seen.add((row.function, row.at))
            yield row


@pytest.mark.parametrize("name", profiles.names())
def test_what_every_device_says_is_what_its_scene_has(name: str) -> None:
    clock = Clock(MIDNIGHT_S)
    device = simulator(name, clock=clock).devices[name]
    scales = {"v_pu": 180.0, "i_pu": 80.0}
    for hour in (1, 6.5, 12, 20):
        clock.now_s = MIDNIGHT_S + hour * HOUR_S
        values = device.values()
        for row in rows_that_say(device):
            has = float(device.scene.number(row.name))
            found = values[row.name]
            assert isinstance(found, int | float), row
            assert abs(found - has) <= 1.001 * step_of(row, scales, has) + 1e-9, (hour, row)


@pytest.mark.parametrize("name", profiles.names())
def test_every_state_of_a_device_is_a_known_one(name: str) -> None:
    clock = Clock(MIDNIGHT_S)
    device = simulator(name, clock=clock).devices[name]
    for hour in (1, 9, 13):
        clock.now_s = MIDNIGHT_S + hour * HOUR_S
        values = device.values()
        for row in device.profile.rows:
            if row.type == "enum":
                assert values[row.name] in row.texts.values()
            elif row.type == "bits" and not row.is_flag:
                assert values[row.name] == []


# ---------------------------------------------------------------------- by settings


SERIAL = "serial:///dev/ttyX"


def settings(name: str, link: str, **options: object) -> DeviceSettings:
    return DeviceSettings(name, 5.0, link, {"profile": "eastron_sdm230", **options})


def test_one_line_has_several_devices_each_at_its_unit() -> None:
    line = simulate(
        [settings("a", SERIAL), settings("b", SERIAL, unit=2)], house=House(lambda: NOON_S)
    )
    one = line.respond(1, bytes.fromhex("04 0000 0002"))
    two = line.respond(2, bytes.fromhex("04 0000 0002"))
    assert len(one) == len(two) == 6
    assert one != two
    assert line.respond(3, bytes.fromhex("04 0000 0002")) == b""
    assert not line.mbap


def test_a_tcp_link_has_modbus_tcp_behind_it() -> None:
    line = simulate([settings("a", "tcp://192.0.2.1:502")], house=House(lambda: NOON_S))
    assert line.take(bytes.fromhex("0001 0000 0006 01 04 0000 0002"))[:6] == bytes.fromhex(
        "0001 0000 0007"
    )


def test_a_device_that_is_set_otherwise_says_it_otherwise() -> None:
    def raw(**options: object) -> bytes:
        line = simulate([settings("a", SERIAL, **options)], house=House(lambda: NOON_S))
        return line.respond(1, bytes.fromhex("04 000c 0002"))[2:]

    high, low = raw()[:2], raw()[2:]
    assert raw(words="little") == low + high
    assert f32(raw(invert=["power_w"])) == -f32(raw()) != 0


def test_polls_are_counted_when_the_last_register_of_the_fast_ones_was_given() -> None:
    line = simulate([settings("a", SERIAL)], house=House(lambda: NOON_S))
    assert line.polls == {"a": 0}
    for count in (1, 2):
        for start, words_ in ((0, 2), (0, 72), (0x48, 4), (0x156, 2)):
            answer = line.respond(1, bytes([4, *start.to_bytes(2), *words_.to_bytes(2)]))
            assert answer[0] == 4
        line.take(bytes.fromhex("01 04 0000 0048 f03c"))
        line.sent(b"", whole=True)
        assert line.polls == {"a": count}


@pytest.mark.parametrize("name", profiles.names())
def test_the_polls_that_are_counted_are_those_of_the_bridge(name: str) -> None:
    device = settings("far", "tcp://192.0.2.1:502", profile=name, pause=0)
    line = simulate([device], house=House(lambda: NOON_S))
    with serve_tcp(line) as service:
        bridge = Modbus(device)
        master = bridge.open_link(service.url, [bridge])
        for turn in range(1, 4):
            for group in bridge.groups:
                bridge.poll(master, group.name)
            wait_until(lambda turn=turn: line.polls == {"far": turn}, f"{turn} polls")  # type: ignore[misc]  # bound now
        master.close()


def test_a_poll_that_fails_half_way_is_not_counted() -> None:
    device = settings("far", SERIAL, profile="eastron_sdm630", timeout=0.1, pause=0)
    faults = Faults()
    line = simulate([device], house=House(lambda: NOON_S), faults=faults)
    with serve_pty(line, baud=115200, faults=faults) as service:
        bridge = Modbus(device)
        master = bridge.open_link(service.url, [bridge])
        counted = 0
        for number in range(30):
            if number % 3 == 0:
                faults.set("silence", 0.3)
            with suppress(FrameError):
                bridge.poll(master, "fast")
                counted += 1
            faults.set("silence", 0.0)
        wait_until(lambda: line.polls == {"far": counted}, f"{counted} polls")
        master.close()
    assert 20 <= counted < 30


def test_a_profile_has_to_be_named() -> None:
    with pytest.raises(ConfigError, match=r"modbus needs --profile NAME or --profile FILE"):
        SIMULATOR()


def test_the_factory_rate_is_the_pace_of_the_line(meter: Callable[..., Simulator]) -> None:
    assert meter().baud == 4800
