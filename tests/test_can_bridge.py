"""The CAN bridge on buses of bytes and of python-can: what it gives, when, and when nothing."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import can
import pytest
from can.interfaces.virtual import VirtualBus

from bridges.can import BRIDGE, Can
from bridges.can.bursts import Bursts
from bridges.can.simulator import SIMULATOR
from heliobus.contract import load
from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.link import Silence
from heliobus.polled import Polled, Presence
from heliobus.settings import DeviceSettings
from heliobus.simulation import Faults, serve_pty
from tests.can_far import BURST, VALUES, Adapter, Loop, bridge, lines, looping
from tests.helpers import wait_until

if TYPE_CHECKING:
    from heliobus.bridge import Bridge
    from heliobus.can_bus import CanBus, Frame
    from heliobus.sample import Values

PACK = """
maker: Somebody
models: [Pack]
kind: battery
source: [our own]
verified: recording
messages:
  0x701:
    fields:
      - {name: battery_v, at: 0, type: u16, scale: 0.01}
"""


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    with Adapter() as made:
        yield made


@pytest.fixture
def pack(tmp_path: Path) -> str:
    path = tmp_path / "pack.yaml"
    path.write_text(PACK)
    return str(path)


def opened(url: str, *devices: Can) -> "CanBus":
    return Can.open_link(url, devices)


def test_it_is_what_the_kit_expects() -> None:
    made: Bridge[Any] = BRIDGE(DeviceSettings("bms", 5.0, "can:socketcan/can0"))
    assert made.kind == "battery"
    assert [(group.name, group.every_s) for group in made.groups] == [("beat", 5.0)]
    assert made.identity.maker == "Pylontech"


def test_a_burst_is_one_poll(adapter: Adapter) -> None:
    device = bridge()
    link = opened(adapter.url, device)
    adapter.say(BURST)
    values = device.poll(link, "beat")
    assert values == VALUES
    assert load().strict("battery", values) == (values, {})
    assert device.identity.maker == "PYLON"
    link.close()


def test_noise_between_the_lines_changes_no_value(adapter: Adapter) -> None:
    device = bridge()
    link = opened(adapter.url, device)
    adapter.say(b"\xff\xfe\r" + BURST.replace(b"\r", b"\r\x80\xff\r\a"))
    assert device.poll(link, "beat") == VALUES
    assert link.counts["malformed"] == 7
    link.close()


def test_what_comes_while_it_is_looked_at_is_not_cut_from_its_burst(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = bridge()
    link = opened(adapter.url, device)
    monkeypatch.setattr(device, "_bursts", Bursts(device.profile, gap_s=60.0))
    halves, look = [BURST[:40], BURST[40:] + BURST], link.take

    def take(after_s: float, until_s: float) -> "list[Frame]":
        if halves:
            said = halves.pop(0)
            whole = link.counts["frames"] + said.count(b"\r")
            adapter.say(said)
            wait_until(lambda: link.counts["frames"] == whole, "all that was said")
        return look(after_s, until_s)

    monkeypatch.setattr(link, "take", take)
    assert device.poll(link, "beat") == VALUES
    link.close()


def test_the_newest_burst_since_the_last_poll_is_given(adapter: Adapter) -> None:
    device = bridge()
    link = opened(adapter.url, device)
    for percent in ("6300", "6200", "6100"):
        adapter.say(lines((0x355, percent + "6300"), (0x356, "4E1302004A010000")))
    wait_until(lambda: link.counts["frames"] == 6, "all bursts")
    assert device.poll(link, "beat")["soc_percent"] in {98, 97}  # the last one may still be open
    assert device.poll(link, "beat")["soc_percent"] == 97
    link.close()


def test_no_burst_is_given_twice(adapter: Adapter) -> None:
    device = bridge(timeout=0.3)
    link = opened(adapter.url, device)
    adapter.say(BURST)
    device.poll(link, "beat")
    with pytest.raises(Silence, match="no frames of pylontech_lv for 0 s, nor any others; is it"):
        device.poll(link, "beat")
    adapter.say(BURST)
    assert device.poll(link, "beat") == VALUES
    link.close()


def test_a_burst_that_is_old_by_now_is_never_given(adapter: Adapter) -> None:
    device = bridge(timeout=0.2)
    link = opened(adapter.url, device)
    adapter.say(BURST)
    wait_until(lambda: link.counts["frames"] == 6, "the burst")
    at_s = link.take(0.0, 0.0)[-1].at_s
    wait_until(lambda: time.monotonic() > at_s + 0.45, "that it is old")
    with pytest.raises(Silence, match="no frames of pylontech_lv"):
        device.poll(link, "beat")
    link.close()


def test_who_was_silent_all_the_time_is_not_waited_for_again(adapter: Adapter) -> None:
    device = bridge(timeout=0.5)
    link = opened(adapter.url, device)
    began_s = time.monotonic()
    for _ in range(20):
        with pytest.raises(Silence):
            device.poll(link, "beat")
    assert time.monotonic() - began_s < 5.0  # two timeouts, not twenty
    link.close()


def test_frames_of_others_are_named_where_there_are_none_of_its_own(adapter: Adapter) -> None:
    device = bridge(timeout=0.3)
    link = opened(adapter.url, device)
    adapter.say(lines((0x305, "0000000000000000"), (0x701, "8813")))
    with pytest.raises(Silence, match=r"only others such as 0x305, 0x701; is that its profile\?"):
        device.poll(link, "beat")
    link.close()


def test_damage_alone_is_said_as_a_wrong_bit_rate(adapter: Adapter) -> None:
    device = bridge(timeout=0.3)
    link = opened(adapter.url, device)
    adapter.say(b"\xff\x80\xfe\r")
    with pytest.raises(Silence, match=r"only damaged ones; is the bit rate 500000\?"):
        device.poll(link, "beat")
    link.close()


def test_what_was_strange_or_damaged_before_explains_no_silence(adapter: Adapter) -> None:
    device = bridge(timeout=0.2)
    link = opened(adapter.url, device)
    adapter.say(b"\xff\r" + lines((0x305, "0000000000000000")) + BURST)
    wait_until(lambda: link.counts["frames"] == 7, "the burst")
    assert device.poll(link, "beat") == VALUES
    for _ in range(3):
        with pytest.raises(Silence, match="no frames of pylontech_lv for 0 s, nor any others"):
            device.poll(link, "beat")
        device.forget()
    adapter.say(b"\xff\r")
    wait_until(lambda: link.counts["malformed"] == 2, "the damage")
    with pytest.raises(Silence, match="only damaged ones"):
        device.poll(link, "beat")
    link.close()


def test_a_silence_is_counted_from_the_last_burst_however_often_it_was_forgotten(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = bridge(timeout=0.2)
    link = opened(adapter.url, device)
    adapter.say(BURST)
    device.poll(link, "beat")
    monkeypatch.setattr(link, "opened_s", link.opened_s - 3600.0)
    for _ in range(3):
        device.forget()
        with pytest.raises(Silence, match="for 0 s"):
            device.poll(link, "beat")
    link.close()


def test_frames_without_a_value_fail_and_say_so(adapter: Adapter) -> None:
    device = bridge()
    link = opened(adapter.url, device)
    adapter.say(lines((0x356, "0080008000800080")))
    with pytest.raises(FrameError, match="every value says 'not there' or is implausible"):
        device.poll(link, "beat")
    link.close()


def test_a_message_that_comes_seldom_is_kept_for_as_long_as_it_may(adapter: Adapter) -> None:
    device = bridge()
    link = opened(adapter.url, device)
    adapter.say(BURST)
    device.poll(link, "beat")
    adapter.say(lines((0x356, "4E1302004A010000")))
    assert device.poll(link, "beat")["modules_count"] == 2
    device.forget()
    adapter.say(lines((0x356, "4E1302004A010000")))
    assert "modules_count" not in device.poll(link, "beat")
    link.close()


def test_a_closed_link_ends_a_poll_at_once(adapter: Adapter) -> None:
    device = bridge(timeout=60)
    link = opened(adapter.url, device)
    link.close()
    with pytest.raises(LinkError, match="closed"):
        device.poll(link, "beat")


# ---------------------------------------------------------------------- python-can


def test_a_bus_of_python_can_gives_the_same() -> None:
    device = bridge()
    link = opened("can:virtual/bridge", device)
    with VirtualBus("bridge") as other:
        for line in BURST.decode().split("\r")[:-1]:
            identifier, data = int(line[1:4], 16), bytes.fromhex(line[5:])
            other.send(can.Message(arbitration_id=identifier, data=data, is_extended_id=False))
        assert device.poll(link, "beat") == VALUES
    link.close()


def test_a_class_of_errors_is_never_taken_for_an_identifier(pack: str) -> None:
    """0x701 as an error frame would be a class of errors, and a voltage as an identifier."""
    device = bridge(profile=pack, timeout=0.3)
    link = opened("can:virtual/class", device)
    with VirtualBus("class") as other:
        other.send(can.Message(arbitration_id=0x701, is_error_frame=True, data=b"\x88\x13"))
        with pytest.raises(Silence, match="only damaged ones"):
            device.poll(link, "beat")
    link.close()


# ---------------------------------------------------------------------- with the loop


def sample(loop: Loop, deadline_s: float = 20.0) -> tuple[str, Any, float]:
    return loop.samples.get(timeout=deadline_s)


def changes(loop: Loop, *expected: tuple[str, Presence]) -> None:
    for one in expected:
        assert loop.changes.get(timeout=20) == one


def test_what_is_unplugged_is_offline_and_back_within_five_seconds(tmp_path: Path) -> None:
    path = tmp_path / "ttyACM0"
    url = f"can:slcan/{path}?bitrate=500000"
    with serve_pty(SIMULATOR(), baud=115200, link_path=path), looping(url, bridge()) as loop:
        changes(loop, ("bms", Presence.ONLINE))
        assert sample(loop)[0] == "bms"
    with looping(url, bridge()) as loop:
        changes(loop, ("bms", Presence.OFFLINE))
        with serve_pty(SIMULATOR(), baud=115200, link_path=path):
            changes(loop, ("bms", Presence.ONLINE))
        changes(loop, ("bms", Presence.OFFLINE))
        gone_s = time.monotonic()
        while not loop.samples.empty():
            assert sample(loop)[2] < gone_s
        with pytest.raises(Empty):
            sample(loop, 1.0)
        back_s = time.monotonic()
        with serve_pty(SIMULATOR(), baud=115200, link_path=path):
            assert sample(loop)[2] - back_s < 5.0
            changes(loop, ("bms", Presence.ONLINE))


def test_a_battery_that_falls_silent_is_offline_and_back_when_it_speaks(adapter: Adapter) -> None:
    with looping(adapter.url, bridge(timeout=0.4)) as loop:
        adapter.heard(7)
        adapter.say(BURST)
        assert sample(loop)[1] == VALUES
        changes(loop, ("bms", Presence.ONLINE), ("bms", Presence.OFFLINE))
        assert loop.samples.empty()
        assert "no frames of pylontech_lv" in loop.devices[0].error
        adapter.say(BURST)

        def speaks_again() -> bool:
            adapter.say(BURST)
            return not loop.samples.empty()

        wait_until(speaks_again, "a sample within the longest pause", 15)
        changes(loop, ("bms", Presence.ONLINE))


def test_what_only_listens_is_looked_at_every_few_seconds_however_long_it_is_silent() -> None:
    settings = DeviceSettings("bms", 1.0, "can:socketcan/can0")
    device = Polled(settings, Can(settings))
    beat = device.beat
    for now_s in range(20):
        device.begin(float(now_s))
        device.failed(beat, "silence", float(now_s))
    assert device.pause_s(beat) == 2.0
    assert device.next(19.0) == (21.0, beat)


def test_what_was_heard_is_counted_for_the_status(adapter: Adapter) -> None:
    with looping(adapter.url, bridge()) as loop:
        adapter.heard(7)
        adapter.say(BURST + b"\xff\r")
        sample(loop)
        assert loop.poller.counts == {"frames": 6, "malformed": 1}


def test_two_batteries_on_one_bus_have_each_their_own_and_a_silent_one_starves_nobody(
    adapter: Adapter, pack: str
) -> None:
    bms, other = bridge(timeout=1.0), bridge(name="pack", profile=pack, timeout=1.0)
    with looping(adapter.url, bms, other) as loop:
        adapter.heard(7)
        adapter.say(BURST + lines((0x701, "8813")))
        both = dict(sample(loop)[:2] for _ in range(2))
        assert both == {"bms": VALUES, "pack": {"battery_v": 50.0}}
        changes(loop, ("bms", Presence.ONLINE), ("pack", Presence.ONLINE))
        given: list[tuple[str, Values]] = []

        def goes_on(count: int) -> bool:
            """Let one of them speak on; tell whether that gave so many samples."""
            adapter.say(BURST)
            adapter.hears_nothing(0.1)
            while not loop.samples.empty():
                given.append(sample(loop)[:2])
            return len(given) >= count

        wait_until(lambda: goes_on(0) and not loop.changes.empty(), "the silent one is offline")
        assert loop.changes.get() == ("pack", Presence.OFFLINE)
        wait_until(lambda: goes_on(len(given) + 1), "a sample of the other")
        wait_until(lambda: goes_on(12), "many samples of the other")
        assert all(one == ("bms", VALUES) for one in given)
        assert loop.devices[0].errors == 0


def test_a_noisy_line_gives_true_values_or_none() -> None:
    faults = Faults({"noise": 0.1, "silence": 0.1}, seed=5)
    device = bridge(timeout=5)
    with serve_pty(SIMULATOR(), baud=115200, faults=faults) as served:
        link = opened(served.url, device)
        for _ in range(3):
            values = device.poll(link, "beat")
            assert load().strict("battery", values) == (values, {})
        link.close()


# ---------------------------------------------------------------------- captures

LOG = """\
(1700000000.000000) can0 351#1402740E740ECC01
(1700000000.002000) can0 355#6300630000000000
(1700000000.004000) can1 355#0100630000000000
(1700000000.004500) can0 305#0000000000000000
(1700000000.006000) can0 356#4E1302004A010000
(1700000002.000000) can0 355#6200630000000000
(1700000002.002000) can0 356#4F1302004A010000
"""
VIEW = """\
  can0  355   [8]  63 00 63 00 00 00 00 00
  can0  356   [8]  4E 13 02 00 4A 01 00 00
this line is damaged
  can0  355   [8]  62 00 63 00 00 00 00 00
  can0  356   [8]  4F 13 02 00 4A 01 00 00
"""
DELTA = """\
 (000.000000)  can0  355   [8]  63 00 63 00 00 00 00 00   'c.c.....'
 (000.002000)  can0  356   [8]  4E 13 02 00 4A 01 00 00   'N...J...'
 (001.998000)  can0  355   [8]  62 00 63 00 00 00 00 00   'b.c.....'
 (000.002000)  can0  356   [8]  4F 13 02 00 4A 01 00 00   'O...J...'
"""


@pytest.mark.parametrize("text", [LOG, VIEW, DELTA], ids=["log", "view", "delta"])
def test_a_capture_is_played_in_every_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "candump.log"
    path.write_text(text)
    device = bridge(timeout=1.5)
    link = opened(f"can:candump/{path}?speed=5", device)
    polled = [device.poll(link, "beat") for _ in range(2)]
    assert [values["soc_percent"] for values in polled] == [99, 98]
    assert [values["battery_v"] for values in polled] == [49.42, 49.43]
    with pytest.raises(Silence):
        device.poll(link, "beat")
    assert link.counts["malformed"] == (text == VIEW)
    link.close()


def test_a_capture_is_played_at_its_own_pace(tmp_path: Path) -> None:
    path = tmp_path / "candump.log"
    path.write_text(LOG)
    device = bridge()
    link = opened(f"can:candump/{path}", device)
    began_s = time.monotonic()
    for _ in range(2):
        device.poll(link, "beat")
    assert time.monotonic() - began_s >= 2.0
    link.close()


def test_a_capture_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"no\.log: cannot be read \(No such file"):
        opened(f"can:candump/{tmp_path}/no.log", bridge())


@pytest.mark.parametrize("text", ["", "\n", "root:x:0:0:root:/root:/bin/bash\n"])
def test_a_file_that_is_no_capture_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "passwd"
    path.write_text(text)
    with pytest.raises(LinkError, match="passwd: has no line of candump, such as 'can0  355 "):
        opened(f"can:candump/{path}", bridge())


def test_the_end_of_a_capture_does_not_spin(tmp_path: Path) -> None:
    path = tmp_path / "candump.log"
    path.write_text("can0  305   [0]\n")
    link = opened(f"can:candump/{path}", bridge())
    reader = f"/proc/self/task/{link._thread.native_id}/stat"  # noqa: SLF001 - its processor time

    def ticks() -> int:
        fields = Path(reader).read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    assert len(link.take(0.0, time.monotonic() + 1.0)) == 1
    assert link.take(time.monotonic(), time.monotonic() + 1.0) == []
    assert ticks() - before < 0.5 * os.sysconf("SC_CLK_TCK")
    link.close()


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("serial:///dev/ttyACM0", "did you mean 'can:slcan//dev/ttyACM0?bitrate=500000'?"),
        ("tcp://192.0.2.7:502", "did you mean 'can:socketcan/can0'?"),
    ],
)
def test_a_link_that_is_no_bus_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Can.check_link(url, [bridge(url)])
    assert str(caught.value) == f"link: '{url}' is no CAN bus; {message}"


def test_two_bit_rates_on_one_bus_are_refused(tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text(PACK + "bitrate: 250000\n")
    devices = [bridge(), bridge(name="slow", profile=str(slow))]
    with pytest.raises(ConfigError, match="one bit rate, found bms 500000, slow 250000; use two"):
        Can.check_link("can:socketcan/can0", devices)


def test_two_devices_cannot_be_one_battery(pack: str) -> None:
    with pytest.raises(ConfigError, match="bms and other would both show the one battery that"):
        Can.check_link("can:socketcan/can0", [bridge(), bridge(name="other")])
    Can.check_link("can:socketcan/can0", [bridge(), bridge(name="pack", profile=pack)])


def test_the_bit_rate_of_an_adapter_is_that_of_the_profile(
    adapter: Adapter, tmp_path: Path
) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text(PACK + "bitrate: 250000\n")
    device = bridge(profile=str(slow))
    link = opened(f"can:slcan/{adapter.path}", device)
    assert adapter.heard(7) == b"C\rS5\rO\r"
    link.close()


def test_another_bit_rate_than_that_of_the_profile_is_doubted() -> None:
    url = "can:slcan//dev/ttyACM0?bitrate=250000"
    assert bridge(url).warnings == ("link: found bitrate=250000, the profile says 500000",)
    assert bridge("can:slcan//dev/ttyACM0").warnings == ()


def test_a_profile_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="pylontech_lv"):
        bridge(profile="pylontec_lv")
