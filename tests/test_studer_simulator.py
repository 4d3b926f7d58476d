"""The simulated Studer installation: its frames, its refusals, its powers, its faults."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue

import pytest

from bridges.studer import BRIDGE
from bridges.studer.codec import Entry, Format, Infos, unpack
from bridges.studer.frame import (
    GATEWAY,
    Error,
    Frame,
    FrameFlag,
    Question,
    Refused,
    Type,
    answer,
    checksum,
    find,
    request,
)
from bridges.studer.simulator import SIMULATOR, VARIANTS, Simulator, simulate
from heliobus import config, contract
from heliobus.calling import serve_dialling
from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.exchange import Silence
from heliobus.house import House
from heliobus.line import Counting, Faults, Paced, Simulated
from heliobus.link import open_link
from heliobus.polled import Polled, Presence
from heliobus.poller import Poller
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from heliobus.simulated_site import SimulatedSite
from heliobus.simulation import Service, serve_pty, serve_tcp
from tests.helpers import ROOT, flips, free_port, wait_until

MIDNIGHT = 1_790_000_000 - 1_790_000_000 % 86400 + 0.0
NOON, DAY_S = MIDNIGHT + 43_200, 86_400.0
BATTERY_V, POWER = Question.info(101, 3000), Question.info(101, 3136)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = NOON) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def made(variant: str = "xcom-232i", **more: object) -> Simulator:
    return Simulator(variant, **{"clock": Clock(), **more})  # type: ignore[arg-type]


def answered(device: Simulator, question: Question) -> Frame:
    sent = request(question)
    frames, rest = find(device.take(sent))
    assert rest in (b"", b"\r\n")
    (frame,) = [one for one in frames if one.answers(question)]
    return frame


def told(device: Simulator, target: int, number: int) -> float:
    value = unpack(Format.FLOAT, answered(device, Question.info(target, number)).told())
    assert isinstance(value, float)
    return value


def refused(device: Simulator, question: Question) -> int:
    with pytest.raises(Refused) as caught:
        answered(device, question).told()
    return caught.value.code


def test_it_is_what_the_kit_serves() -> None:
    device: Simulated = SIMULATOR()
    assert isinstance(device, Counting)
    assert isinstance(device, Paced)


def test_an_unknown_variant_is_refused_with_those_that_exist() -> None:
    known = "expected one of xcom-232i, plain, lan, datalogger, bsp"
    with pytest.raises(ConfigError, match=known):
        Simulator("xcom-can")


# ---------------------------------------------------------------------- frames


def test_the_answer_to_a_question_has_its_form_to_the_byte() -> None:
    whole = made().take(bytes.fromhex("AA0001000000650000000A006F7100010100B80B00000100C590"))
    assert whole[:14] == bytes.fromhex("AA 00 65000000 01000000 0E00") + checksum(whole[1:12])
    assert whole[14:24] == bytes.fromhex("02 01 0100 B80B0000 0100")
    assert whole[28:] == checksum(whole[14:28])
    assert 46.0 < unpack(Format.FLOAT, whole[24:28]) < 58.0  # type: ignore[operator]


def test_a_request_that_comes_byte_by_byte_with_noise_around_is_answered_once() -> None:
    device = made()
    noise = bytes.fromhex("FF 00 0D 0A AA 55") + random.Random(7).randbytes(40).replace(
        b"\xaa", b""
    )
    out = [device.take(bytes([byte])) for byte in noise + request(BATTERY_V) + noise]
    assert len([one for one in out if one]) == 1
    assert find(b"".join(out))[0][0].answers(BATTERY_V)


def test_a_request_that_is_cut_or_has_one_wrong_bit_is_not_answered() -> None:
    sent, device = request(BATTERY_V), made()
    for end in range(len(sent)):
        assert made().take(sent[:end]) == b""
    for wrong in flips(sent):
        assert device.take(wrong + bytes(2048)) == b""
    assert answered(device, BATTERY_V).answers(BATTERY_V)


def test_whatever_comes_is_survived_and_forgotten() -> None:
    device, dice = made(), random.Random(3)
    for _ in range(300):
        device.take(b"\xaa" + dice.randbytes(dice.randrange(200)))
    device.take(bytes(4096))
    assert answered(device, BATTERY_V).answers(BATTERY_V)


def test_the_answers_of_others_are_not_answered() -> None:
    device = made()
    asked = find(request(BATTERY_V))[0][0]
    assert device.take(answer(asked, bytes(4))) == b""


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (Question.info(102, 3000), Error.DEVICE_NOT_FOUND),
        (Question.info(301, 3000), Error.OBJECT_NOT_FOUND),
        (Question.info(101, 3999), Error.OBJECT_NOT_FOUND),
        (Question.info(100, 3000), Error.MULTICAST_READ),
        (Question.parameter(101, 3000), Error.OBJECT_NOT_FOUND),
        (Question(101, Type.INFO, 3000, 9), 0x23),
        (Question(101, Type.SCREEN, 0, 1), Error.TYPE_NOT_SUPPORTED),
        (Question(GATEWAY, Type.DATALOG, 0, 1), Error.TYPE_NOT_SUPPORTED),
        (Question(GATEWAY, Type.MULTI_INFO, 1, 5, b"\xb8\x0b"), 0x24),
        (Question.infos([], 5), 0x24),
        (Question.message(99), Error.OBJECT_NOT_FOUND),
    ],
    ids=str,
)
def test_what_cannot_be_told_is_refused_with_its_code(question: Question, code: int) -> None:
    assert refused(made(), question) == code


def test_a_write_is_refused_and_counted() -> None:
    device = made()
    data = bytes.fromhex("00 02 0200 72040000 0500 00007042")
    header = bytes.fromhex("00 01000000 65000000 0E00")
    sent = b"\xaa" + header + checksum(header) + data + checksum(data)
    (frame,) = find(device.take(sent))[0]
    assert frame.is_error
    assert device.writes == 1


# ---------------------------------------------------------------------- what it knows


@pytest.mark.parametrize("variant", ["xcom-232i", "bsp"])
def test_all_that_the_bridge_may_ask_is_known_in_its_form(variant: str) -> None:
    device, judge = made(variant), contract.load().strict
    for address, placed in device.devices.items():
        for each in placed.family.objects.values():
            value = unpack(each.form, answered(device, each.question(address)).told())
            fields = each.fields(value)
            assert "unknown" not in fields.values()
            if each.group != "identity":
                assert judge(placed.family.kind, fields) == (fields, {})


@pytest.mark.parametrize("variant", ["xcom-232i", "bsp"])
def test_many_at_once_are_those_that_are_read_one_by_one(variant: str) -> None:
    device = made(variant)
    for address, placed in device.devices.items():
        infos = [o for o in placed.family.objects.values() if o.object_type == Type.INFO]
        items = [(each.number, placed.family.index(address)) for each in infos]
        many = Infos.unpack(answered(device, Question.infos(items, 9)).told())
        for each, item in zip(infos, items, strict=True):
            one = unpack(each.form, answered(device, each.question(address)).told())
            assert many.values[item] == (None if one is None else pytest.approx(one))


def test_many_at_once_may_be_sums_averages_and_of_what_is_not_there() -> None:
    device = made("bsp")
    items = [(3136, 0), (3136, 1), (3136, 2), (3136, 3), (3136, 0xFD), (3136, 0xFE), (3136, 9)]
    infos = Infos.unpack(answered(device, Question.infos([*items, (11004, 1)], 1)).told())
    first, one, two, three, average, total, ninth = (infos.values[item] for item in items)
    assert first == one
    assert total == pytest.approx(one + two + three)  # type: ignore[operator]
    assert average == pytest.approx(total / 3)  # type: ignore[operator]
    assert (ninth, infos.values[11004, 1]) == (None, None)
    assert infos.flags == 0x20 | 0x40 | 0x100
    assert infos.time_s == NOON


def test_seventy_six_at_once_are_given_and_one_more_is_refused() -> None:
    device = made()
    most = Question.infos([(3000 + at, 1) for at in range(76)], 1)
    assert len(device.take(request(most))) == 14 + 10 + 8 + 76 * 7 + 2
    more = Question(GATEWAY, Type.MULTI_INFO, 1, 1, most.data + most.data[:3])
    assert refused(device, more) == 0x24


def test_old_software_refuses_many_at_once() -> None:
    assert refused(made("plain"), Question.infos([(3000, 1)], 1)) == Error.TYPE_NOT_SUPPORTED


def test_a_monitor_knows_nothing_of_the_electronics_of_a_battery() -> None:
    assert refused(made("bsp"), Question.info(601, 7054)) == Error.OBJECT_NOT_FOUND
    assert refused(made(), Question.info(601, 7034)) == Error.OBJECT_NOT_FOUND


# ---------------------------------------------------------------------- the house


def test_powers_add_up_to_those_of_the_house_at_any_time_of_two_days() -> None:
    clock = Clock(MIDNIGHT)
    house = House(clock)
    roof = house.array("a roof of somebody else", 2000.0)
    device = Simulator("bsp", house=house, counts={"xt": 3, "vt": 2, "vs": 1, "bms": 1})
    for hour in range(48):
        clock.now_s = MIDNIGHT + 3600.0 * hour
        out_w = sum(1000.0 * told(device, address, 3136) for address in (101, 102, 103))
        in_w = sum(1000.0 * told(device, address, 3137) for address in (101, 102, 103))
        solar_w = 1000.0 * (told(device, 301, 11004) + told(device, 302, 11004))
        solar_w += 1000.0 * told(device, 701, 15010)
        near = 0.02 * house.load_w
        assert out_w == pytest.approx(house.load_w, abs=near)
        assert in_w == pytest.approx(house.grid_w, abs=near)
        assert solar_w == pytest.approx(house.pv_w - roof.w, abs=near)
        assert told(device, 601, 7003) == pytest.approx(house.battery_w, abs=near)
        amps = sum(told(device, address, 3005) for address in (101, 102, 103))
        amps += told(device, 301, 11001) + told(device, 302, 11001) + told(device, 701, 15001)
        amps += roof.w / house.battery_v
        assert told(device, 601, 7001) == pytest.approx(amps, abs=1.0)
        for address, amps_number in ((301, 11003), (701, 15007)):
            volts = told(device, address, amps_number - 1 if address == 301 else 15004)
            watts = 1000.0 * told(device, address, 11004 if address == 301 else 15010)
            assert told(device, address, amps_number) * volts == pytest.approx(watts, rel=0.02)


def test_counters_rise_and_those_of_today_fall_to_zero_at_midnight() -> None:
    clock = Clock(MIDNIGHT)
    device = Simulator(clock=clock)
    today, total = [], []
    for hour in range(49):
        clock.now_s = MIDNIGHT + 3600.0 * hour
        today.append(told(device, 301, 11007))
        total.append(told(device, 301, 11009))
    assert total == sorted(total)
    assert (today[0], today[24], today[48]) == (0.0, 0.0, 0.0)
    assert today[23] == pytest.approx(1000.0 * (total[24] - total[0]), rel=0.02)
    assert today[23] > 3.0
    assert told(device, 301, 11011) == pytest.approx(today[47], rel=0.01)


def test_the_sun_is_down_at_night() -> None:
    device = made(clock=Clock(MIDNIGHT + 3600))
    assert told(device, 301, 11004) == 0.0
    mode = answered(device, Question.info(301, 11016)).told()
    assert unpack(Format.SHORT_ENUM, mode) == 0


# ---------------------------------------------------------------------- the log


def test_a_message_is_pending_until_the_newest_is_read() -> None:
    device = made()
    answered(device, Question.message(0))
    assert not answered(device, BATTERY_V).flags & FrameFlag.MESSAGE_PENDING
    device.log(16, 102, 7)
    assert answered(device, BATTERY_V).flags & FrameFlag.MESSAGE_PENDING
    second = Entry.unpack(answered(device, Question.message(1)).told())
    assert second.number == 0
    assert answered(device, BATTERY_V).flags & FrameFlag.MESSAGE_PENDING
    newest = Entry.unpack(answered(device, Question.message(0)).told())
    assert (newest.number, newest.source, newest.time_s, newest.value) == (16, 102, NOON, 7)
    assert newest.total == len(device.entries)
    assert not answered(device, BATTERY_V).flags & FrameFlag.MESSAGE_PENDING


def test_an_empty_battery_is_logged_when_the_mains_takes_over() -> None:
    clock = Clock(MIDNIGHT)
    device = Simulator(clock=clock)
    told(device, 101, 3000)
    before, device.house.soc = len(device.entries), 0.151
    clock.now_s += 1800
    assert answered(device, BATTERY_V).flags & FrameFlag.MESSAGE_PENDING
    assert (len(device.entries), device.entries[0].number) == (before + 1, 0)
    assert unpack(Format.SHORT_ENUM, answered(device, Question.info(101, 3020)).told()) == 1


# ---------------------------------------------------------------------- faults and ways


def test_a_busy_gateway_refuses_once() -> None:
    faults = Faults()
    device = made(faults=faults)
    faults.once("nak")
    assert refused(device, BATTERY_V) == Error.GATEWAY_BUSY
    assert not answered(device, BATTERY_V).is_error


def test_the_portal_is_heard_on_the_network_and_answers_end_with_a_line() -> None:
    device = made("lan")
    out = [device.take(request(POWER)) for _ in range(6)]
    assert all(one.endswith(b"\r\n") for one in out)
    found = [find(one)[0] for one in out]
    assert [len(frames) for frames in found] == [1, 1, 3, 1, 1, 3]
    foreign = [one for frames in found for one in frames if not one.answers(POWER)]
    assert len(foreign) == 4
    assert all(not one.answers(BATTERY_V) for one in foreign)


def test_a_datalogger_makes_one_answer_late_each_minute() -> None:
    clock, faults = Clock(), Faults()
    device = Simulator("datalogger", clock=clock, faults=faults)
    late = []
    for _ in range(180):
        answered(device, BATTERY_V)
        late.append(faults.strikes("slow"))
        clock.now_s += 1
    assert late.count(True) == 3
    assert faults.slow_s < 2.0


# ---------------------------------------------------------------------- with the bridge


def polled(device: Simulator, service: Service, turns: int = 1) -> list[Mapping[str, Values]]:
    """Have the bridge read its groups, the fast one `turns` times."""
    bridge = BRIDGE(DeviceSettings("xcom", 2.0, service.url))
    link = BRIDGE.open_link(service.url, [bridge])
    try:
        groups = [bridge.groups[0]] * turns + list(bridge.groups[1:])
        return [bridge.poll(link, group.name).values for group in groups]
    finally:
        link.close()
        assert device.writes == 0


WAYS: Mapping[str, Callable[[Simulator], Service]] = {
    "serial": lambda device: serve_pty(device, baud=1_000_000),
    "tcp": serve_tcp,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_bridge_reads_all_and_its_turns_are_counted(variant: str, way: str) -> None:
    device = made(variant)
    with WAYS[way](device) as service:
        first, second, slow, settings = polled(device, service, turns=2)
    behind = {placed.family.part(address) for address, placed in device.devices.items()}
    assert set(first) == set(second) == {"", *behind}
    assert set(slow) == behind
    assert "xt_1" in settings
    assert first["xt_1"]["output_w"] == pytest.approx(1000.0 * told(device, 101, 3136))
    assert device.polls == {"xcom": 2}


@pytest.mark.parametrize(
    ("question", "counts"),
    [
        (Question.info(601, 7003), 1),
        (Question.infos([(7002, 1), (7003, 1)], 1), 1),
        (Question.infos([(7002, 1)], 1), 0),
        (Question.parameter(601, 7003), 0),
        (POWER, 0),
    ],
    ids=str,
)
def test_what_ends_a_turn_counts_when_it_went_out_whole(question: Question, counts: int) -> None:
    device = made()
    for whole in (False, True):
        device.sent(device.take(request(question)), whole=whole)
        assert device.polls == {"xcom": counts * whole}


def test_a_turn_whose_answers_are_harmed_does_not_count() -> None:
    faults = Faults()
    device = made(faults=faults)
    with serve_pty(device, baud=1_000_000, faults=faults) as service:
        bridge = BRIDGE(DeviceSettings("xcom", 2.0, service.url, {"timeout": 0.3}))
        link = BRIDGE.open_link(service.url, [bridge])
        bridge.poll(link, "fast")
        faults.set("flip", 1.0)
        with pytest.raises(FrameError):
            bridge.poll(link, "fast")
        link.close()
    assert device.polls == {"xcom": 1}


def test_it_is_what_its_owner_has_named_on_the_link_that_it_has() -> None:
    parts = {"xt_3": "upstairs", "vs_1": "roof", "bsp": "battery"}
    options = {"parts": parts, "interface": "xcom-lan-serial"}
    house = House(Clock())
    serial = simulate([DeviceSettings("a", 2.0, "serial:///dev/x", options)], house=house)
    assert list(serial.devices) == [101, 102, 103, 701, 601]
    assert (serial.baud, serial.variant.lan) == (115200, False)
    lan = simulate([DeviceSettings("b", 2.0, "socket://127.0.0.1:1", {})], house=house)
    assert list(lan.devices) == [101, 301, 302, 601]
    assert (lan.polls, lan.variant.lan) == ({"b": 0}, True)
    assert told(serial, 601, 7003) + told(lan, 601, 7003) == pytest.approx(house.battery_w)


@pytest.fixture
def dialled() -> Iterator[tuple[Poller, int, SimpleQueue[Presence | None]]]:
    """Give the loop of a bridge on a port into which an Xcom-LAN dials, and what becomes of it."""
    changes: SimpleQueue[Presence | None] = SimpleQueue()
    port = free_port()
    url = f"listen://127.0.0.1:{port}"
    device = Polled(DeviceSettings("xcom", 0.1, url), BRIDGE(DeviceSettings("xcom", 0.1, url)))
    device.allowed = True
    poller = Poller(
        url,
        [device],
        on_sample=lambda *_: None,
        on_change=lambda who: changes.put(who.presence) if who.name == "xcom" else None,
        on_event=lambda *_: None,
    )
    poller.start()
    yield poller, port, changes
    poller.stop()


def test_an_xcom_lan_that_dials_in_is_read_and_read_again_after_a_restart(
    dialled: tuple[Poller, int, SimpleQueue[Presence | None]],
) -> None:
    _, port, changes = dialled
    assert changes.get(timeout=10) is Presence.OFFLINE
    for _ in range(2):
        device = made("lan")
        with serve_dialling(device, "127.0.0.1", port):
            assert changes.get(timeout=10) is Presence.ONLINE
        assert changes.get(timeout=10) is Presence.OFFLINE
        assert device.polls["xcom"] >= 1


def test_what_a_browser_says_is_no_value() -> None:
    class Browser:
        def take(self, data: bytes) -> bytes:
            return b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" if data else b""

    def has_called() -> bool:
        with suppress(LinkError):
            link.drain()
            return True
        return False

    port = free_port()
    with closing(open_link(f"listen://127.0.0.1:{port}")) as link:
        bridge = BRIDGE(DeviceSettings("xcom", 2.0, link.url, {"timeout": 0.2}))
        with serve_dialling(Browser(), "127.0.0.1", port):
            wait_until(has_called, "the browser to call")
            with pytest.raises(Silence, match="bytes of something else"):
                bridge.poll(link, "fast")


def test_a_port_to_be_dialled_into_is_replaced_by_one_to_call(tmp_path: Path) -> None:
    sample = ROOT / "bridges" / "studer" / "sample.yaml"
    site = SimulatedSite(config.load(sample), tmp_path, clock=Clock())
    site.open(free_port())
    (device,) = site.settings.bridges["studer"].devices
    assert device.link.startswith("socket://127.0.0.1:")
    stop = threading.Event()
    stop.set()
    assert site.play(stop) == {"xcom": 0}
