"""CAN buses that are listened to: adapters on a serial port, buses of python-can, their traps."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import can
import pytest
from can.interfaces.virtual import VirtualBus
from hypothesis import given
from hypothesis import strategies as st

from heliobus import can_bus, slcan
from heliobus.can_bus import EXTENDED, CanBus, interface_fault, open_bus
from heliobus.errors import ConfigError, LinkError
from heliobus.link import open_link
from heliobus.slcan import Heard, Lines, Sort
from tests.can_far import BURST, Adapter, lines
from tests.helpers import wait_until

FRAME = b"t3558AABBCCDDEEFF0011\r"
HEARD = Heard(Sort.DATA, 0x355, bytes.fromhex("AABBCCDDEEFF0011"))


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    with Adapter() as made:
        yield made


@contextmanager
def listening(url: str, wants: tuple[int, ...] = ()) -> Iterator[CanBus]:
    bus = open_bus(url, wants=wants)
    try:
        yield bus
    finally:
        bus.close()


def gathered(bus: CanBus, count: int) -> list[tuple[int, str]]:
    """Give the first frames that come, without their times."""
    found: list[tuple[int, str]] = []
    last_s, end_s = 0.0, time.monotonic() + 10
    while len(found) < count and time.monotonic() < end_s:
        for frame in bus.take(last_s, end_s):
            last_s = frame.at_s
            found.append((frame.id, frame.data.hex()))
    return found


# ---------------------------------------------------------------------- the text


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        (b"t3558AABBCCDDEEFF0011", [HEARD]),
        (b"t3558aabbccddeeff0011", [HEARD]),
        (b"t3558AABBCCDDEEFF00111F2E", [HEARD]),
        (b"t35C2C000", [Heard(Sort.DATA, 0x35C, b"\xc0\x00")]),
        (b"t7FF0", [Heard(Sort.DATA, 0x7FF, b"")]),
        (b"T1FFFFFFF1AA", [Heard(Sort.DATA, 0x1FFFFFFF | EXTENDED, b"\xaa")]),
        (b"r3558", [Heard(Sort.REMOTE)]),
        (b"R000003558", [Heard(Sort.REMOTE)]),
        (b"d3558AABBCCDDEEFF0011", [Heard(Sort.FD)]),
        (b"b3559AABBCCDDEEFF001122334455", [Heard(Sort.FD)]),
        (b"", []),
        (b"z", []),
        (b"V1013", []),
        (b"NA123", []),
        (b"F00", []),
        (b"t3558AABB", [Heard(Sort.MALFORMED)]),
        (b"t3559AABBCCDDEEFF001122", [Heard(Sort.MALFORMED)]),
        (b"t8008AABBCCDDEEFF0011", [Heard(Sort.MALFORMED)]),
        (b"t3552AABBCC", [Heard(Sort.MALFORMED)]),
        (b"tXYZ", [Heard(Sort.MALFORMED)]),
        (b"t", [Heard(Sort.MALFORMED)]),
        (b"\xff\x80t3558AABBCCDDEEFF0011", [Heard(Sort.MALFORMED)]),
    ],
    ids=lambda value: value.decode("latin-1") if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("end", [b"\r", b"\a"], ids=["cr", "bel"])
def test_a_line_is_read_as_the_manual_says(line: bytes, heard: list[Heard], end: bytes) -> None:
    assert list(Lines().take(line + end)) == heard


def test_any_cut_gives_the_same_frames() -> None:
    whole = FRAME + b"\r" + lines((0x35C, "C000")) + FRAME
    expected = [HEARD, Heard(Sort.DATA, 0x35C, b"\xc0\x00"), HEARD]
    for at in range(len(whole)):
        taker = Lines()
        assert [*taker.take(whole[:at]), *taker.take(whole[at:])] == expected


def test_noise_costs_its_own_line() -> None:
    noisy = FRAME + b"\xff\xfe" + FRAME + FRAME
    assert list(Lines().take(noisy)) == [HEARD, Heard(Sort.MALFORMED), HEARD]


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_bytes_are_taken_and_little_is_kept(pieces: list[bytes]) -> None:
    taker = Lines()
    for piece in pieces:
        for heard in taker.take(piece):
            assert len(heard.data) <= 8
    assert len(taker._got) <= 160  # noqa: SLF001 - the bound of the memory
    *_, last = taker.take(b"\r" + FRAME)
    assert last == HEARD


@given(st.integers(0, 0x7FF), st.binary(max_size=8))
def test_what_is_written_is_read(identifier: int, data: bytes) -> None:
    written = slcan.encode(identifier, data) + slcan.encode(identifier | EXTENDED, data)
    assert [*Lines().take(written)] == [
        Heard(Sort.DATA, identifier, data),
        Heard(Sort.DATA, identifier | EXTENDED, data),
    ]


# ---------------------------------------------------------------------- an adapter


def test_an_adapter_hears_nothing_but_the_commands_that_open_and_close_it(
    adapter: Adapter,
) -> None:
    with listening(adapter.url) as bus:
        assert adapter.heard(7) == b"C\rS6\rO\r"
        adapter.say(BURST + b"\a" + b"\xff\r" + b"r3558\r" + b"t3058" + b"0" * 16 + b"\r")
        assert len(gathered(bus, 7)) == 7
        assert adapter.hears_nothing()
    assert adapter.heard(2) == b"C\r"
    assert adapter.hears_nothing()


@pytest.mark.parametrize(
    ("query", "commands"),
    [
        ("bitrate=250000", b"C\rS5\rO\r"),
        ("bitrate=500000&listen_only=yes", b"C\rS6\rL\r"),
        ("bitrate=500000&listen_only=no", b"C\rS6\rO\r"),
        ("baud=1000000", b"C\rS6\rO\r"),
    ],
)
def test_the_link_says_the_bit_rate_and_whether_to_acknowledge(
    adapter: Adapter, query: str, commands: bytes
) -> None:
    with listening(f"can:slcan/{adapter.path}?{query}"):
        assert adapter.heard(7) == commands


def test_no_part_of_heliobus_can_send_on_a_bus() -> None:
    root = Path(slcan.__file__).parent
    for path in (root / "can_bus.py", root / "slcan.py", *root.parent.glob("bridges/can/*.py")):
        if "simulator" not in path.name:
            assert ".send(" not in path.read_text(), path


def test_an_adapter_that_lost_its_power_behind_a_port_that_stays_is_opened_again(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = b"C\rS6\rO\r"
    monkeypatch.setattr(can_bus, "_MUTE_S", 0.3)
    with listening(adapter.url) as bus:
        assert adapter.heard(14) == opening * 2
        monkeypatch.setattr(can_bus, "_MUTE_S", 60.0)
        adapter.say(b"\r\r\r" + FRAME)
        assert gathered(bus, 1) == [(0x355, "aabbccddeeff0011")]
        assert bus.counts == {"frames": 1}


def test_frames_have_rising_times_and_wait_for_who_takes_them(adapter: Adapter) -> None:
    with listening(adapter.url) as bus:
        adapter.say(BURST)
        assert [identifier for identifier, _ in gathered(bus, 6)] == [
            *(0x351, 0x355, 0x356, 0x359, 0x35C, 0x35E)
        ]
        frames = bus.take(0.0, 0.0)
        assert len(frames) == 6
        assert all(one.at_s < other.at_s for one, other in pairwise(frames))
        assert bus.take(frames[2].at_s, 0.0) == frames[3:]
        assert bus.take(frames[-1].at_s, time.monotonic() + 0.05) == []


def test_what_is_no_data_frame_of_11_bits_is_counted_and_not_given(adapter: Adapter) -> None:
    with listening(adapter.url) as bus:
        adapter.say(b"r3558\rT000003558AABBCCDDEEFF0011\rd3551AA\rt3558AABB\r\xff\r" + FRAME)
        assert gathered(bus, 1) == [(0x355, "aabbccddeeff0011")]
        assert bus.counts == {"frames": 1, "remote": 1, "extended": 1, "fd": 1, "malformed": 2}


def test_a_frame_of_29_bits_is_given_to_a_profile_that_asks(adapter: Adapter) -> None:
    with listening(adapter.url, wants=(0x355 | EXTENDED,)) as bus:
        adapter.say(b"T000003562AABB\rT000003552AABB\r")
        assert gathered(bus, 1) == [(0x355 | EXTENDED, "aabb")]
        assert bus.counts == {"frames": 1, "extended": 1}


def test_bytes_that_are_no_text_cost_a_line_and_not_the_connection(adapter: Adapter) -> None:
    with listening(adapter.url) as bus:
        for _ in range(20):
            adapter.say(FRAME + b"\xff\xfe\x80\r" + b"tXYZ\r")
        assert len(gathered(bus, 20)) == 20
        assert bus.counts["malformed"] == 40


@pytest.mark.parametrize("pause_s", [0.0, 0.005], ids=["at_once", "200_a_second"])
def test_no_frame_is_missed(adapter: Adapter, pause_s: float) -> None:
    count = 600
    with listening(adapter.url) as bus:
        for number in range(count):
            adapter.say(lines((0x355, f"{number:016X}")))
            threading.Event().wait(pause_s)
        wait_until(lambda: bus.counts["frames"] == count, "all frames")
        assert gathered(bus, count) == [(0x355, f"{number:016x}") for number in range(count)]


def test_an_adapter_that_is_pulled_is_a_lost_link_at_the_next_take(adapter: Adapter) -> None:
    with listening(adapter.url) as bus:
        adapter.say(FRAME)
        gathered(bus, 1)
        adapter.pull()
        with pytest.raises(LinkError, match=f"^{adapter.path}: device lost"):
            bus.take(time.monotonic(), time.monotonic() + 10)
        with pytest.raises(LinkError, match="device lost"):
            bus.take(0.0, 0.0)


def test_closing_ends_what_waits_and_all_threads(adapter: Adapter) -> None:
    before = threading.active_count()
    with listening(adapter.url) as bus:
        failed: list[LinkError] = []

        def take() -> None:
            with pytest.raises(LinkError) as caught:
                bus.take(0.0, time.monotonic() + 60)
            failed.append(caught.value)

        waiting = threading.Thread(target=take)
        waiting.start()
        bus.close()
        waiting.join(10)
        bus.close()
    assert f"{failed[0]}" == f"{adapter.path}: closed"
    wait_until(lambda: threading.active_count() == before, "the end of all threads")


def test_an_adapter_is_opened_again_after_it_was_closed(adapter: Adapter) -> None:
    for _ in range(3):
        with listening(adapter.url) as bus:
            adapter.say(FRAME)
            assert len(gathered(bus, 1)) == 1


def test_who_holds_an_adapter_is_named(adapter: Adapter) -> None:
    holding = f"import serial, time; s = serial.Serial('{adapter.path}', exclusive=True); print(1)"
    other = subprocess.Popen(
        [sys.executable, "-uc", f"{holding}; time.sleep(60)"], stdout=subprocess.PIPE
    )
    with other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"1\n"
            with pytest.raises(LinkError, match=f"held by .*pid {other.pid}.*one owner"):
                open_bus(adapter.url)
        finally:
            other.kill()


def test_an_adapter_that_is_not_there_is_a_missing_port() -> None:
    with pytest.raises(LinkError, match=r"^/dev/ttyNone7: no such port"):
        open_bus("can:slcan//dev/ttyNone7")


# ---------------------------------------------------------------------- buses of python-can


def test_frames_of_a_bus_of_python_can_are_given() -> None:
    with listening("can:virtual/given") as bus, VirtualBus("given") as other:
        other.send(can.Message(arbitration_id=0x355, data=b"\x5d\x00", is_extended_id=False))
        assert gathered(bus, 1) == [(0x355, "5d00")]


def test_error_frames_and_lying_lengths_never_become_values() -> None:
    with listening("can:virtual/odd") as bus, VirtualBus("odd") as other:
        said = [
            can.Message(arbitration_id=0x40, is_error_frame=True, data=bytes(8)),
            can.Message(arbitration_id=0x355, is_remote_frame=True, is_extended_id=False, dlc=8),
            can.Message(arbitration_id=0x355, dlc=8, data=b"\x01\x02", is_extended_id=False),
            can.Message(arbitration_id=0x355, data=bytes(12), is_fd=True, is_extended_id=False),
            can.Message(arbitration_id=0x355, data=b"\x01\x02", is_extended_id=True),
            can.Message(arbitration_id=0x356, data=b"\x01\x02", is_extended_id=False),
        ]
        for message in said:
            other.send(message)
        assert gathered(bus, 1) == [(0x356, "0102")]
        assert bus.counts == {
            "frames": 1,
            "errors": 1,
            "bus_off": 1,
            "remote": 1,
            "malformed": 1,
            "fd": 1,
            "extended": 1,
        }


def test_what_an_adapter_says_of_its_state_is_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    with listening("can:virtual/off") as bus, VirtualBus("off") as other:
        for _ in range(3):
            for error, data in ((0x04, "00200000"), (0x04, "00080000"), (0x40, ""), (0x100, "")):
                message = can.Message(
                    arbitration_id=error, is_error_frame=True, data=bytes.fromhex(data)
                )
                other.send(message)
        wait_until(lambda: bus.counts["restarts"] == 3, "all error frames")
        expected = {"errors": 12, "error_passive": 3, "bus_off": 3, "restarts": 3}
        assert bus.counts == expected
    assert caplog.text.count("off: bus-off: the adapter has cut itself off") == 1
    assert caplog.text.count("off: many errors (error-passive)") == 1


def test_a_bus_that_fails_is_a_lost_link(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise can.CanOperationError("Network is down", 100)

    with listening("can:virtual/down") as bus:
        monkeypatch.setattr(VirtualBus, "_recv_internal", fails)
        with pytest.raises(LinkError, match=r"^down: the bus is lost .*type can bitrate 500000"):
            bus.take(0.0, time.monotonic() + 10)


# ---------------------------------------------------------------------- SocketCAN


def interface(folder: Path, name: str, kind: int, flags: str) -> None:
    (folder / name).mkdir()
    (folder / name / "type").write_text(f"{kind}\n")
    (folder / name / "flags").write_text(f"{flags}\n")


UP = r"`sudo ip link set can0 up type can bitrate 500000 restart-ms 100`"


def test_an_interface_that_is_down_is_told_how_to_come_up(tmp_path: Path) -> None:
    interface(tmp_path, "can0", 280, "0x40080")
    assert interface_fault("can0", tmp_path) == f"the interface is down; type {UP}"


def test_an_interface_that_is_up_has_no_fault(tmp_path: Path) -> None:
    interface(tmp_path, "can0", 280, "0x40081")
    assert interface_fault("can0", tmp_path) == ""


def test_an_interface_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    plug = "plug the adapter in, or load its driver"
    assert interface_fault("can0", tmp_path) == f"no such CAN interface; {plug}; then type {UP}"
    interface(tmp_path, "can1", 280, "0x40081")
    assert interface_fault("can0", tmp_path).startswith("no such CAN interface; there is can1;")


def test_an_interface_of_another_sort_is_refused(tmp_path: Path) -> None:
    interface(tmp_path, "eth0", 1, "0x1003")
    assert interface_fault("eth0", tmp_path).startswith("is no CAN interface")


def test_an_interface_that_is_missing_here_is_a_lost_link() -> None:
    with pytest.raises(LinkError, match=r"^nocan7: no such CAN interface"):
        open_bus("can:socketcan/nocan7")


def test_no_bus_is_opened_by_a_link_for_bytes_and_the_other_way_round() -> None:
    with pytest.raises(ConfigError, match="carries no CAN frames"):
        open_bus("serial:///dev/ttyACM0")
    with pytest.raises(LinkError, match="carries CAN frames, expected a link for bytes"):
        open_link("can:socketcan/can0")


def test_listening_to_an_adapter_costs_no_python_can(adapter: Adapter) -> None:
    code = (
        f"import sys; from heliobus.can_bus import open_bus; open_bus('{adapter.url}').close(); "
        "sys.exit('can' in sys.modules)"
    )
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
