"""Aurora inverters on a line in trouble: no answer is ever that to another question."""

import struct
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest

from bridges.aurora import Aurora
from bridges.aurora.bus import Bus
from bridges.aurora.frame import MEASURE, SERIAL, answer, checksum
from bridges.aurora.simulator import Simulator
from heliobus.calling import serve_dialling
from heliobus.errors import FrameError
from heliobus.exchange import Echo
from heliobus.line import Faults
from heliobus.link import open_link
from heliobus.polled import Presence
from heliobus.sample import Values
from heliobus.simulation import serve_pty, serve_tcp
from tests.aurora_far import NOON_S, Asked, Clock, Heard, Roof, Wire, far, settings
from tests.helpers import free_port, wait_until
from tests.pollers import polling

# What the bridge may put on the wire.
ASKED = frozenset({50, 52, 58, 59, 63, 65, 68, 70, 72, 78})
TROUBLE = ("silence", "noise", "cut", "flip", "echo", "echo_only", "late", "slow")
THREE = (
    settings("east", address=2),
    settings("west", address=3, simulate="trio"),
    settings("shed", address=4, simulate="uno"),
)


def _stale(value: float = 1234.5) -> bytes:
    return answer(b"\0\6" + struct.pack(">f", value))


# ---------------------------------------------------------------------- in memory


@pytest.mark.parametrize("kind", [8, 23, 3])
def test_a_late_answer_is_passed_over(kind: int) -> None:
    """It comes after the next request, when its own was given up."""
    roof = Roof()
    true = roof.poll()
    late: list[bytes] = []

    def hold(asked: Asked, answered: bytes) -> bytes:
        if asked[1:] == (MEASURE, kind) and not late:
            late.append(_stale())
            return b""
        held, late[:] = b"".join(late[-1:]), [b""] if late else []
        return held + answered

    roof.wire.respond = hold
    roof.wire.sent.clear()
    assert roof.poll() == true
    assert late == [b""]
    at = roof.wire.asked.index((2, MEASURE, kind))
    assert roof.wire.asked[at + 1] == (2, SERIAL, 0)  # what can be told


def test_an_answer_in_the_place_of_another_fails_the_poll() -> None:
    """Each answer is that to the question before: only the end tells."""
    roof = Roof()
    roof.poll()
    queue: Queue[bytes] = Queue()
    queue.put(_stale())

    def shifted(_: Asked, answered: bytes) -> bytes:
        queue.put(answered)
        return queue.get()

    roof.bus.doubt()
    roof.bus.in_step = True
    roof.wire.respond = shifted
    with pytest.raises(FrameError):
        roof.poll()
    roof.wire.respond = lambda _, answered: answered
    assert roof.poll()["output_w"]


def test_only_the_end_of_a_poll_tells_of_a_shift_in_its_middle() -> None:
    roof = Roof()
    roof.poll()
    roof.bus.doubt()
    queue: Queue[bytes] = Queue()

    def shifted(asked: Asked, answered: bytes) -> bytes:
        if asked[1:] == (MEASURE, 8):
            queue.put(_stale())
        queue.put(answered)
        return queue.get()

    roof.wire.respond = shifted
    with pytest.raises(FrameError, match="the serial number of address 2"):
        roof.poll()


def test_a_second_answer_behind_the_first_is_no_answer() -> None:
    roof = Roof()
    true = roof.poll()
    once = [True]

    def twice(asked: Asked, answered: bytes) -> bytes:
        if asked[1:] == (MEASURE, 3) and once:
            once.clear()
            return _stale() + answered
        return answered

    roof.wire.respond = twice
    assert roof.poll() == true


def test_an_answer_right_behind_another_casts_doubt_on_it() -> None:
    """The first was a late one; the true one comes a moment later."""

    class OneByOne(Wire):
        def _receive(self, timeout_s: float) -> bytes:
            found = super()._receive(timeout_s)
            self.waiting = found[8:]
            return found[:8]

    roof = Roof()
    true = roof.poll()
    once = [True]

    def twice(asked: Asked, answered: bytes) -> bytes:
        if asked[1:] == (MEASURE, 8) and once:
            once.clear()
            return _stale() + answered
        return answered

    roof.bus._link = OneByOne(roof.far, twice)  # noqa: SLF001 - another wire
    assert roof.poll() == true
    assert once == []


def test_a_late_answer_of_another_inverter_is_passed_over() -> None:
    roof = Roof(*THREE)
    true = {name: roof.poll(name) for name in ("east", "west")}
    late = [_stale()]

    def hold(asked: Asked, answered: bytes) -> bytes:
        if asked[0] == 2:
            return b""
        return b"".join(late.pop() for _ in late[:1]) + answered

    roof.wire.respond = hold
    assert roof.tries("east") is None
    assert roof.poll("west") == true["west"]
    assert late == []


def test_who_is_there_is_told_by_two_equal_serial_numbers() -> None:
    roof = Roof()
    strays = [answer(b"654321")]
    roof.wire.respond = lambda _, answered: strays.pop() if strays else answered
    values = roof.poll()
    assert values["output_w"]
    assert roof.bridges["east"].identity.serial == roof.far.inverters["east"].serial


def test_the_serial_number_of_another_is_not_believed_at_first() -> None:
    roof = Roof(*THREE)
    roof.poll("east")
    theirs = answer(roof.far.inverters["east"].serial.encode())
    roof.wire.respond = lambda asked, answered: theirs if asked[:2] == (3, SERIAL) else answered
    bridge = Aurora(settings("west", address=3, retries=0))
    with pytest.raises(FrameError, match="which was that of address 2; expected one of its own"):
        bridge.poll(roof.bus, "beat")


@pytest.mark.parametrize("serial", [b"1234\0\0", b"12345 ", b" 23456"])
def test_a_short_serial_number_gets_into_step_as_well(serial: bytes) -> None:
    roof = Roof()
    roof.wire.respond = lambda asked, told: answer(serial) if asked[1] == SERIAL else told
    roof.poll()
    roof.bus.doubt()
    assert roof.poll()["output_w"]
    assert roof.bridges["east"].identity.serial == serial.strip(b"\0 ").decode()


def test_another_inverter_in_its_place_is_met_anew() -> None:
    roof = Roof()
    roof.poll()
    roof.poll(group="identity")
    other = far(settings("other"))
    roof.wire.far = other
    roof.bus.doubt()
    for _ in range(2):
        assert roof.tries() is None
    roof.bridges["east"].forget()
    assert roof.poll()["output_w"]
    assert roof.bridges["east"].identity.serial == other.inverters["other"].serial
    assert roof.bridges["east"].identity.model == ""


def test_an_inverter_without_a_serial_number_is_asked_all_the_same() -> None:
    roof = Roof()
    roof.far.inverters["east"].refusals[SERIAL] = 51
    roof.wire.respond = lambda asked, answered: (
        answer(bytes((51, 6, 0, 0, 0, 0))) if asked[1] == SERIAL else answered
    )
    assert roof.poll()["output_w"]
    roof.far.inverters["east"].awake = False
    assert roof.tries() is None
    roof.far.inverters["east"].awake = None
    assert roof.poll()["output_w"]


def test_damage_is_asked_again_within_bounds() -> None:
    roof = Roof(settings(retries=2))
    roof.poll()
    damage = 2

    def damaged(asked: Asked, answered: bytes) -> bytes:
        nonlocal damage
        if asked[1] == MEASURE and damage:
            damage -= 1
            return b"\xff" + answered[1:]
        return answered

    roof.wire.respond = damaged
    assert roof.poll()["output_w"]
    damage = 3
    with pytest.raises(FrameError, match="CRC is"):
        roof.poll()


def test_an_echo_is_no_answer() -> None:
    roof = Roof()
    roof.wire.respond = lambda _, answered: roof.wire.sent[-1] + answered
    assert roof.poll()["output_w"]
    roof.wire.respond = lambda *_: roof.wire.sent[-1]
    with pytest.raises(Echo, match="only its echo"):
        roof.poll()


def test_a_line_that_never_falls_silent_is_given_up() -> None:
    roof = Roof()

    class Babble(Wire):
        def _receive(self, timeout_s: float) -> bytes:
            return super()._receive(timeout_s) or b"\x55"

    bridge = Aurora(settings(timeout=0.1, retries=0))
    with pytest.raises(FrameError):
        bridge.poll(Bus(Babble(roof.far), gap_s=0.001), "beat")


# ---------------------------------------------------------------------- on a wire


def _expected(simulator: Simulator, *names: str) -> dict[str, Values]:
    bus = Bus(Wire(simulator))
    found = {}
    for one in THREE:
        if one.name in names:
            bridge = Aurora(one)
            found[one.name] = {**bridge.poll(bus, "beat"), **bridge.poll(bus, "energy")}
    return found


@pytest.mark.parametrize("kind", TROUBLE)
def test_a_faulty_line_gives_each_inverter_its_own_values_or_none(kind: str) -> None:
    expected = _expected(far(*THREE), "east", "west", "shed")
    faults = Faults({kind: 0.08}, seed=11, slow_s=0.2)
    simulator = far(*THREE, faults=faults)
    devices = [settings(one.name, "", **{**one.options, "timeout": 0.12}) for one in THREE]
    with serve_pty(simulator, baud=115200, faults=faults) as service:
        bus = Bus(open_link(service.url), gap_s=0.01, quiet_s=0.03)
        bridges = [Aurora(device) for device in devices]
        given = 0
        for _ in range(2):
            for bridge in bridges:
                for group in ("beat", "energy"):
                    try:
                        values = bridge.poll(bus, group)
                    except FrameError:
                        continue
                    given += bool(values)
                    assert values.items() <= expected[bridge.name].items()
        bus.close()
    assert given > 2


@pytest.mark.parametrize("trouble", ["", *TROUBLE])
def test_nothing_but_reading_is_ever_on_the_wire(trouble: str) -> None:
    faults = Faults({trouble: 0.3} if trouble else {}, seed=5, slow_s=0.08)
    heard = Heard(far(*THREE, faults=faults))
    wants = settings("east", address=2, read_alarms=True, timeout=0.06)
    devices = [wants, settings("west", address=3, timeout=0.06)]
    with serve_pty(heard, baud=115200, faults=faults) as service:
        bus = Bus(open_link(service.url), gap_s=0.004, quiet_s=0.01)
        bridges = [Aurora(device) for device in devices]
        for bridge in bridges:
            for group in bridge.groups:
                with suppress(FrameError):
                    bridge.poll(bus, group.name)
            bridge.forget()
        bus.close()
    assert len(heard.requests) > 20
    for request in heard.requests:
        assert request[8:] == checksum(request[:8])
        assert request[0] in (2, 3)
        assert request[1] in ASKED or (request[0], request[1]) == (2, 86)
        assert request[1] not in (53, 71, 85, 252, 253, 254)
    assert all(inverter.writes == 0 for inverter in heard.far.inverters.values())


def test_the_wire_takes_as_long_as_is_planned() -> None:
    """Three inverters every 10 s, at the real speed, with the gaps that the notes want."""
    simulator = far(*THREE)
    with serve_pty(simulator, baud=19200) as service:
        bus = Aurora.open_link(service.url, [])
        for one in THREE:
            bridge = Aurora(one)
            bridge.poll(bus, "beat")
            bus._doubtful_until_s = 0.0  # noqa: SLF001 - nobody waits for half a minute
            asked = sum(sum(each.asked.values()) for each in simulator.inverters.values())
            bridge.poll(bus, "beat")
            now = sum(sum(each.asked.values()) for each in simulator.inverters.values())
            assert now - asked <= 10
            assert (now - asked) * 0.08 <= bridge.groups[0].wire_s * 1.05
        bus.close()


# ---------------------------------------------------------------------- unplugged


def test_a_cable_that_is_plugged_in_again_is_in_use_within_5_s(tmp_path: Path) -> None:
    path = tmp_path / "cable"
    simulator = far(*THREE[:2], clock=lambda: NOON_S + time.monotonic() % 1000)
    devices = [settings("east", address=2), settings("west", address=3)]
    devices = [replace(one, every_s=0.5) for one in devices]
    with polling(f"serial://{path}", Aurora, *devices) as seen:
        with serve_pty(simulator, baud=19200, link_path=path):
            wait_until(lambda: seen.is_online("east", "west"), "both inverters", 20)
        wait_until(
            lambda: all(one is Presence.OFFLINE for one in seen.presence.values()), "the loss"
        )
        counts = seen.counts()
        with serve_pty(simulator, baud=19200, link_path=path):
            wait_until(lambda: seen.is_online("east", "west"), "both inverters again", 5)
        first = {name: seen.samples[name][count] for name, count in counts.items()}
    assert all(values["mode"] == "running" for values in first.values())
    assert all("yield_kwh" not in values for values in first.values())


def test_a_converter_that_is_started_again_is_in_use_within_5_s() -> None:
    port = free_port()
    device = replace(settings("east"), every_s=0.5)
    with polling(f"socket://127.0.0.1:{port}", Aurora, device) as seen:
        for _ in range(2):
            with serve_tcp(far(settings("east")), port=port):
                wait_until(lambda: seen.is_online("east"), "the inverter", 5)
            wait_until(lambda: seen.presence["east"] is Presence.OFFLINE, "the loss")


def test_a_converter_that_dials_in_is_asked_and_asked_again_after_a_new_call() -> None:
    port = free_port()
    device = replace(settings("east"), every_s=0.5)
    with polling(f"listen://127.0.0.1:{port}", Aurora, device) as seen:
        for _ in range(2):
            wait_until(lambda: seen.presence.get("east") is Presence.OFFLINE, "nobody")
            with serve_dialling(far(settings("east")), "127.0.0.1", port):
                wait_until(lambda: seen.is_online("east"), "the inverter", 5)


def test_one_dead_inverter_leaves_the_others_their_turns() -> None:
    simulator = far(*THREE[:2])
    simulator.inverters["west"].awake = False
    devices = [settings("east", address=2), settings("west", address=3)]
    devices = [replace(one, every_s=0.2) for one in devices]
    with (
        serve_pty(simulator, baud=115200) as service,
        polling(service.url, Aurora, *devices) as seen,
    ):
        wait_until(lambda: len(seen.samples["east"]) > 2, "turns of the living", 30)
        assert seen.presence.get("west") is not Presence.ONLINE
        assert seen.samples["west"] == []


@pytest.mark.slow
def test_the_night_falls_and_ends_without_a_fault() -> None:
    clock = Clock()
    simulator = far(settings("east"), clock=clock)
    device = replace(settings("east", timeout=0.2), every_s=0.3)
    with (
        serve_pty(simulator, baud=115200) as service,
        polling(service.url, Aurora, device) as seen,
    ):
        wait_until(lambda: seen.is_online("east"), "the day", 10)
        simulator.inverters["east"].awake = None
        clock.now_s += 7 * 3600.0 - 480
        wait_until(lambda: seen.samples["east"][-1]["mode"] == "waiting", "the evening", 10)
        clock.now_s += 3600.0
        wait_until(lambda: seen.presence["east"] is Presence.ASLEEP, "the night", 10)
        assert seen.samples["east"][-1] == {"mode": "asleep"}
        assert seen.polled[0].error == ""
        clock.now_s += 16 * 3600.0
        wait_until(lambda: seen.is_online("east"), "the morning", 20)
        assert seen.samples["east"][-1]["mode"] == "running"


def test_alarms_become_events_of_the_device() -> None:
    simulator = far(settings("east"))
    simulator.inverters["east"].warn(38)
    device = replace(settings("east", read_alarms=True), every_s=5.0)
    with serve_pty(simulator, baud=19200) as service, polling(service.url, Aurora, device) as seen:
        ((name, event),) = wait_until(lambda: seen.events, "an event", 20)
    assert (name, event.name, event.text) == ("east", "alarm_logged", "E025 Riso low")
