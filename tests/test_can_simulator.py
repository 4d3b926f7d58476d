"""The simulated battery on CAN: its adapter, its frames, and the line of what speaks by itself."""

import socket
from pathlib import Path
from typing import Any

import can
import pytest

from bridges.can import Can
from bridges.can.simulator import SIMULATOR, VARIANTS, Simulator, simulate
from heliobus import components
from heliobus.contract import load
from heliobus.errors import ConfigError
from heliobus.house import House
from heliobus.line import Faults, Line, Placed, Talking
from heliobus.settings import BridgeSettings, DeviceSettings, Settings
from heliobus.simulated_site import SimulatedSite
from heliobus.simulation import serve_pty, serve_tcp
from tests.can_far import bridge
from tests.helpers import wait_until

NOON = 1_790_000_000 - 1_790_000_000 % 86400 + 12 * 3600.0
MORNING = NOON - 5 * 3600.0
PROFILES = {"pylontech_v13": "pylontech_lv"}


def made(variant: str = "pylontech_lv", now_s: float = NOON) -> Simulator:
    return SIMULATOR(variant, clock=lambda: now_s)


def frames(device: Simulator, seconds: float) -> list[tuple[float, str]]:
    """Let it speak for a while of imagined time; give its lines and when they were due."""
    said: list[tuple[float, str]] = []
    now_s = 100.0
    while (wait_s := device.silent_s(now_s)) is not None and now_s + wait_s < 100.0 + seconds:
        now_s += wait_s
        said.append((round(now_s - 100.0, 3), device.say(now_s).decode()))
    return said


def opened(variant: str = "pylontech_lv", now_s: float = NOON) -> Simulator:
    device = made(variant, now_s)
    assert device.take(b"C\rS6\rO\r") == b"\r\r\r"
    return device


# ---------------------------------------------------------------------- the adapter


@pytest.mark.parametrize(
    ("commands", "answers"),
    [
        (b"", b""),
        (b"\r", b"\r"),
        (b"C\rS6\r\rO\rO\r", b"\r\r\r\r\r"),
        (b"S6\rL\rC\r", b"\r\r\r"),
        (b"V\r", b"V1013\r"),
        (b"N\r", b"N4711\r"),
        (b"F\r", b"F00\r"),
        (b"Z1\rZ0\r", b"\r\r"),
        (b"O\r", b"\a"),
        (b"S6\rO\rS6\r", b"\r\r\a"),
        (b"Q\r", b"\a"),
        (b"\xff\x00\r", b"\a"),
    ],
)
def test_the_adapter_answers_its_commands(commands: bytes, answers: bytes) -> None:
    whole, cut = made(), made()
    assert whole.take(commands) == answers
    pieces = [commands[at : at + 1] for at in range(len(commands))]
    assert b"".join(cut.take(piece) for piece in pieces) == answers


def test_it_speaks_only_while_it_is_open() -> None:
    device = made()
    assert frames(device, 5.0) == []
    device.take(b"S6\rO\r")
    assert frames(device, 5.0)
    device.take(b"C\r")
    assert frames(device, 5.0) == []
    assert device.say(200.0) == b""


def test_at_another_bit_rate_it_is_not_understood() -> None:
    device = made()
    device.take(b"S5\rO\r")
    assert frames(device, 5.0) == []


def test_its_times_are_told_where_they_are_wanted() -> None:
    device = opened()
    device.take(b"Z1\r")
    assert frames(device, 0.11)[0][1][:5] == "t3518"
    assert len(frames(device, 5.0)[0][1]) == len("t3518AABBCCDDEEFF00111234\r")


def test_what_it_is_told_to_send_is_counted() -> None:
    device = opened()
    assert device.sent_frames == 0
    device.take(b"t30580000000000000000\rT000003550\r")
    assert device.sent_frames == 2


# ---------------------------------------------------------------------- the battery


@pytest.mark.parametrize(
    ("variant", "identifiers", "every_s"),
    [
        ("pylontech_lv", ["351", "355", "356", "359", "35C", "35E"], 1.0),
        ("pylontech_v13", ["351", "355", "356", "35A", "35E", "35F"], 2.0),
        ("pylon_v2", ["351", "355", "356", "359", "35C", "35E", "370", "371"], 1.0),
        (
            "victron_lv",
            [
                *("351", "355", "356", "35A", "35E", "35F", "370", "371", "372", "373"),
                *("374", "375", "376", "377", "378", "379"),
            ],
            1.0,
        ),
    ],
)
def test_a_burst_has_its_frames_two_milliseconds_apart(
    variant: str, identifiers: list[str], every_s: float
) -> None:
    said = frames(opened(variant), 2 * every_s + 0.2)[: 2 * len(identifiers)]
    assert [line[1:4] for _, line in said] == 2 * identifiers
    assert [at_s for at_s, _ in said] == [
        round(0.1 + burst * every_s + at * 0.002, 3)
        for burst in range(2)
        for at in range(len(identifiers))
    ]


def test_the_frames_of_v12_are_laid_out_as_the_document_says() -> None:
    said = [line for _, line in frames(opened(), 0.5)]
    assert said[0].startswith("t35183802")  # 56.8 V
    assert said[0].endswith("C201\r")  # 45.0 V
    assert said[1] in {f"t3558{percent:02X}006300" + "09000F00\r" for percent in range(101)}
    assert said[3] == "t359700000000" + "03504E\r"
    assert said[5] == "t35E850594C4F4E202020\r"


def test_v13_has_a_shorter_state_of_charge_and_neither_flags_nor_modules() -> None:
    said = [line for _, line in frames(opened("pylontech_v13"), 0.5)]
    assert said[1][:5] == "t3556"
    assert said[3] == "t35A80000000000000000\r"
    assert said[5].startswith("t35F84C490103")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("now_s", [MORNING, NOON, NOON + 9 * 3600.0], ids=["morning", "noon", "9"])
def test_every_variant_obeys_the_contract_and_shows_the_house(variant: str, now_s: float) -> None:
    house = House(lambda: now_s)
    device = Simulator(VARIANTS[variant], house)
    reader = bridge(profile=PROFILES.get(variant, variant))
    with serve_pty(device, baud=115200) as served:
        link = Can.open_link(served.url, [reader])
        values = reader.poll(link, "beat")
        link.close()
    assert load().strict("battery", values) == (values, {})
    with house:
        assert values["battery_v"] == pytest.approx(house.battery_v, abs=0.006)
        assert values["soc_percent"] == pytest.approx(house.soc * 100, abs=0.51)
        amps_to_w = 0.06 * house.battery_v
        assert values["battery_w"] == pytest.approx(house.battery_w, rel=0.005, abs=amps_to_w)
    assert device.sent_frames == 0
    assert device.polls == {}


def test_two_batteries_in_one_house_share_its_power() -> None:
    house = House(lambda: MORNING)
    settings = [DeviceSettings(name, 1.0, "can:socketcan/can0") for name in ("one", "other")]
    both = [simulate([each], house=house) for each in settings]
    amps = []
    for device in both:
        device.take(b"S6\rO\r")
        line = next(line for _, line in frames(device, 0.5) if line.startswith("t356"))
        amps.append(int.from_bytes(bytes.fromhex(line[9:13]), "little", signed=True) / 10)
    with house:
        assert sum(amps) == pytest.approx(house.battery_a, abs=0.11)


@pytest.mark.parametrize(
    ("profile", "variant"),
    [
        (None, "pylontech_lv"),
        ("pylontech_lv", "pylontech_lv"),
        ("victron_lv", "victron_lv"),
        ("pylon_v2", "pylon_v2"),
        ("sma_lv", "pylontech_v13"),
    ],
)
def test_what_a_profile_reads_is_simulated(profile: str | None, variant: str) -> None:
    options: dict[str, Any] = {} if profile is None else {"profile": profile}
    settings = [DeviceSettings("bms", 1.0, "can:socketcan/can0", options)]
    device = simulate(settings, house=House(lambda: NOON))
    assert device.variant is VARIANTS[variant]
    assert device.polls == {}


@pytest.mark.parametrize(
    "link", ["can:socketcan/can0", "can:slcan//dev/ttyACM0?listen_only=yes", "can:candump//x.log"]
)
def test_whatever_the_link_is_an_adapter_is_in_its_place(tmp_path: Path, link: str) -> None:
    pack = BridgeSettings("pack", "can", (DeviceSettings("bms", 1.0, link),))
    site = SimulatedSite(Settings("farm", tmp_path, tmp_path, bridges={"pack": pack}), tmp_path)
    site.open(1883)
    assert site.left_out == {}
    (device,) = site.settings.bridges["pack"].devices
    assert device.link == f"can:slcan/{tmp_path}/links/pack?bitrate=500000"


def test_a_variant_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"found .v3., expected one of pylontech_lv, "):
        SIMULATOR("v3")


def test_it_is_on_no_network() -> None:
    with pytest.raises(ConfigError, match="--tcp: an adapter with slcan is on a serial port"):
        SIMULATOR(tcp=True)


def test_the_kit_finds_it_and_its_link() -> None:
    assert components.simulator("can") is SIMULATOR
    device = made()
    assert isinstance(device, Talking)
    assert isinstance(device, Placed)
    assert device.link_to("/dev/pts/7") == "can:slcan//dev/pts/7?bitrate=500000"


# ---------------------------------------------------------------------- lines that speak


class Clock:
    """Says the second that has come, each once; answers what it is asked."""

    def __init__(self) -> None:
        self.second = 0

    def take(self, data: bytes) -> bytes:
        return b"<" + data + b">"

    def say(self, now_s: float) -> bytes:
        if int(now_s) <= self.second:
            return b""
        self.second += 1
        return f"{self.second};".encode()

    def silent_s(self, now_s: float) -> float | None:
        return max(0.0, self.second + 1 - now_s)


def line(faults: Faults | None = None, baud: int | None = None) -> Line:
    return Line(Clock(), baud=baud, faults=faults or Faults(), unread=lambda: 0)


def test_what_is_due_is_said_unasked() -> None:
    wire = line()
    assert wire.due(0.5) == b""
    assert wire.wait_s(0.5) == 0.5
    assert wire.due(1.0) == b"1;"
    assert wire.wait_s(1.0) == 1.0
    assert (wire.answered, wire.harmed) == (1, 0)


def test_a_question_comes_before_what_is_due() -> None:
    wire = line()
    wire.receive(1.0, b"?")
    assert wire.due(1.0) == b"<?>"
    assert wire.due(1.0) == b"1;"
    assert wire.wait_s(1.0) is not None


def test_what_is_said_takes_its_time_on_the_wire() -> None:
    wire = line(baud=10)  # a byte a second
    assert wire.due(1.0) == b""
    assert wire.due(2.0) == b"1"
    assert wire.due(3.0) == b";"


@pytest.mark.parametrize("kind", ["silence", "noise", "cut", "flip", "late", "slow"])
def test_faults_strike_what_is_said_unasked(kind: str) -> None:
    faults = Faults(seed=2, slow_s=5.0)
    wire = line(faults)
    faults.once(kind)
    assert wire.due(1.0) != b"1;"
    assert (wire.answered, wire.harmed) == (0, 1)
    assert wire.due(2.0) == {"late": b"1;2;", "slow": b""}.get(kind, b"2;")


def test_it_speaks_over_tcp_to_who_is_connected() -> None:
    with serve_tcp(Clock()) as served:
        _, _, place = served.url.partition("//")
        host, _, port = place.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"?")
            got = b""
            while b"<?>" not in got or b"2;" not in got:
                got += connection.recv(100)
        wait_until(lambda: served.answered >= 2, "that it is counted")


def test_on_a_terminal_nobody_has_to_ask() -> None:
    with serve_pty(made(), baud=115200) as served:
        assert served.url.startswith("can:slcan//dev/")
        reader = bridge()
        link = Can.open_link(served.url, [reader])
        assert reader.poll(link, "beat")["modules_count"] == 3
        link.close()
        wait_until(lambda: served.answered, "that it is counted")
        assert served.harmed == 0


def test_python_can_hears_a_whole_burst_of_the_simulated_adapter() -> None:
    device = made()
    with serve_pty(device, baud=115200) as service:
        path = service.url.removeprefix("can:slcan/").partition("?")[0]
        with can.Bus(interface="slcan", channel=path, bitrate=500_000, sleep_after_open=0) as bus:
            heard: dict[int, bytes] = {}
            while 0x35E not in heard:
                message = bus.recv(5.0)
                assert message is not None, heard
                heard[message.arbitration_id] = bytes(message.data)
    assert heard[0x35E] == b"PYLON   "
    assert list(heard) == [0x351, 0x355, 0x356, 0x359, 0x35C, 0x35E]
