"""The loop on one link: what is asked when, and what becomes of answers and of silence."""

import logging
import math
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliobus.bridge import Bridge, Event, Group, Identity, Parts
from heliobus.errors import FrameError, LinkError
from heliobus.link import Link, ask, open_link
from heliobus.polled import PATIENCE_BEATS, Polled, Presence, back_off_s
from heliobus.poller import Poller, stop_all
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from tests.helpers import wait_until

BEAT = Group("beat", 5.0, 0.3)


class Letters:
    """A bridge whose device answers the line `X` with the line `x=7`; a group is a letter."""

    kind = "sensor"
    identity = Identity()

    def __init__(self, groups: Sequence[Group] = (BEAT,)) -> None:
        self.groups = groups
        self.forgotten = 0

    def poll(self, link: Link, group: str) -> Values:
        return ask(link, group.encode() + b"\n", self._take, timeout_s=0.3, quiet_s=0.02)

    def _take(self, data: bytes) -> tuple[Values, int] | None:
        line, end, _ = data.partition(b"\n")
        if not end:
            return None
        name, _, value = line.decode().partition("=")
        if not value.isdigit():
            raise FrameError(f"found {line!r}, expected a number")
        return {name: int(value)}, len(line) + 1

    def forget(self) -> None:
        self.forgotten += 1


def polled(
    name: str = "device",
    groups: Sequence[Group] = (BEAT,),
    bridge: Callable[[Sequence[Group]], Bridge[Any]] = Letters,
) -> Polled:
    device = Polled(DeviceSettings(name, groups[0].every_s, ""), bridge(groups))
    device.allowed = True
    return device


# ---------------------------------------------------------------------- planning, in no time


class Plan:
    """The order of a link's work in imagined time. `takes(device, group)` gives seconds.

    A negative time is that of a silence after which the group has failed.
    """

    def __init__(
        self, *devices: Polled, takes: Callable[[Polled, Group], float] | None = None
    ) -> None:
        self.devices = devices
        self.takes = takes or (lambda _, group: group.wire_s)
        self.now_s = 0.0
        self.asked: list[tuple[float, str, str]] = []
        for device in devices:
            device.begin(0.0)

    def run(self, until_s: float) -> "Plan":
        while True:
            turns = [(*device.next(self.now_s), device) for device in self.devices]
            due_s, group, device = min(turns, key=lambda turn: turn[0])
            if max(due_s, self.now_s) > until_s:
                return self
            if due_s > self.now_s:
                self.now_s = due_s
                continue
            self._ask(device, group)

    def _ask(self, device: Polled, group: Group) -> None:
        self.asked.append((round(self.now_s, 3), device.name, group.name))
        seconds = self.takes(device, group)
        self.now_s += abs(seconds)
        device.asked(group, self.now_s)
        if seconds < 0:
            device.failed(group, "silence", self.now_s)
            return
        if device.took(group, {group.name: 1}, seconds) is not None:
            device.itself.presence = Presence.ONLINE

    def times(self, group: str, device: str = "device") -> list[float]:
        return [time for time, who, what in self.asked if (who, what) == (device, group)]


def test_beats_keep_their_cadence_without_drift() -> None:
    plan = Plan(polled()).run(60)
    assert plan.times("beat") == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]


def test_turns_that_were_missed_are_left_out() -> None:
    durations = iter([0.3, 12.0, 0.3, 0.3, 0.3])
    plan = Plan(polled(), takes=lambda *_: next(durations)).run(25)
    assert plan.times("beat") == [0, 5, 20, 25]


def test_the_beat_comes_first_and_the_other_groups_fill_its_gaps() -> None:
    slow = Group("slow", 30.0, 2.0)
    once = Group("once", math.inf, 4.0)
    plan = Plan(polled(groups=[BEAT, slow, once])).run(100)
    assert plan.asked[0] == (0.0, "device", "beat")
    assert plan.times("beat") == [5.0 * number for number in range(21)]
    assert plan.times("slow") == [0.3, 30.3, 60.3, 90.3]
    assert plan.times("once") == [5.3]


def test_a_group_that_fits_in_no_gap_makes_one_beat_late_and_not_two() -> None:
    beat, slow = Group("beat", 1.0, 0.3), Group("slow", 30.0, 2.0)
    plan = Plan(polled(groups=[beat, slow])).run(100)
    assert len(plan.times("slow")) == 4
    waited = [later - due for later, due in zip(plan.times("slow"), (0, 30, 60, 90), strict=True)]
    assert max(waited) <= (PATIENCE_BEATS + 1) * beat.every_s
    gaps = sorted(b - a for a, b in pairwise(plan.times("beat")))
    assert gaps[-5:] == pytest.approx([1.0, 2.3, 2.3, 2.3, 2.3])


GROUPS = st.lists(
    st.tuples(st.sampled_from([5.0, 10.0, 30.0, 60.0]), st.floats(0.05, 4.0)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(every_s=st.sampled_from([0.5, 1.0, 2.0, 5.0]), wire=st.floats(0.1, 0.9), slow=GROUPS)
def test_no_group_is_starved_and_no_beat_waits_for_more_than_one(
    every_s: float, wire: float, slow: list[tuple[float, float]]
) -> None:
    groups = [Group("beat", every_s, wire * every_s)]
    groups += [Group(f"slow {n}", max(e, every_s), w) for n, (e, w) in enumerate(slow)]
    plan = Plan(polled(groups=groups)).run(300)
    longest_s = max(group.wire_s for group in groups)
    beats = plan.times("beat")
    assert max(b - a for a, b in pairwise(beats)) < every_s * 2 + longest_s
    # One turn of each beat may go to a group that does not fit: so many turns there are in all.
    turns_s = (longest_s + 2 * every_s) * (len(groups) + PATIENCE_BEATS)
    for group in groups[1:]:
        assert len(plan.times(group.name)) >= 300 // (group.every_s + turns_s) - 1


def test_the_back_off_doubles_up_to_a_minute_for_ever() -> None:
    assert [back_off_s(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert back_off_s(10**6) == 60


def test_a_device_that_never_answers_costs_one_timeout_per_back_off() -> None:
    dead, alive = polled("dead"), polled("alive")
    plan = Plan(dead, alive, takes=lambda who, group: -3.0 if who is dead else group.wire_s)
    plan.run(300)
    starts = plan.times("beat", "dead")
    waits = [b - a - 3.0 for a, b in pairwise(starts)]
    assert all(wait >= back for wait, back in zip(waits, (1, 2, 4, 8, 16, 32, 60), strict=False))
    assert len(starts) <= 10
    assert len(plan.times("beat", "alive")) >= 60 - len(starts)


def test_only_the_beat_of_a_silent_device_is_asked() -> None:
    slow = Group("slow", 5.0, 0.2)
    plan = Plan(polled(groups=[BEAT, slow]), takes=lambda *_: -1.0).run(100)
    assert plan.times("slow") == []


def test_a_group_that_is_asked_once_and_fails_is_asked_again_a_minute_later() -> None:
    once = Group("once", math.inf, 0.5)
    fails = iter([-0.5, -0.5, 0.5])
    plan = Plan(
        polled(groups=[BEAT, once]),
        takes=lambda _, group: group.wire_s if group is BEAT else next(fails),
    ).run(600)
    assert len(plan.times("once")) == 3
    assert plan.times("once")[1] - plan.times("once")[0] >= 60


def test_a_group_that_is_seldom_asked_and_fails_is_asked_again_a_minute_later() -> None:
    slow = Group("slow", 300.0, 0.2)
    fails = iter([-0.2])
    plan = Plan(
        polled(groups=[BEAT, slow]),
        takes=lambda _, group: group.wire_s if group is BEAT else next(fails, 0.2),
    ).run(1000)
    waits = [b - a for a, b in pairwise(plan.times("slow"))]
    assert waits[:3] == pytest.approx([60.0, 300.0, 300.0], abs=6.0)


def test_a_slow_group_that_never_answers_costs_one_timeout_per_back_off() -> None:
    slow = Group("slow", 10.0, 0.2)
    plan = Plan(
        polled(groups=[BEAT, slow]),
        takes=lambda _, group: -3.0 if group is slow else group.wire_s,
    ).run(600)
    waits = [b - a - 3.0 for a, b in pairwise(plan.times("slow"))]
    assert all(wait >= back for wait, back in zip(waits, (1, 2, 4, 8, 16, 32, 60), strict=False))
    assert len(waits) < 20


def test_a_slow_group_that_answers_again_has_its_cadence_again() -> None:
    slow = Group("slow", 10.0, 0.2)
    fails = iter([-0.2] * 6)
    plan = Plan(
        polled(groups=[BEAT, slow]),
        takes=lambda _, group: next(fails, 0.2) if group is slow else group.wire_s,
    ).run(300)
    assert [b - a for a, b in pairwise(plan.times("slow")[-10:])] == pytest.approx([10.0] * 9)


# ---------------------------------------------------------------------- values


def test_values_of_slow_groups_are_carried_until_their_next_turn() -> None:
    slow = Group("slow", 30.0, 1.0)
    device = polled(groups=[BEAT, slow])
    device.begin(0.0)
    assert device.took(slow, {"a": 1, "b": 2}, 0.1) is None
    assert device.took(BEAT, {"x": 1}, 0.1) == {"": {"a": 1, "b": 2, "x": 1}}
    assert device.took(slow, {"a": 3}, 0.1) is None
    assert device.took(BEAT, {"x": 2}, 0.1) == {"": {"a": 3, "x": 2}}


def test_values_of_a_group_that_failed_are_dropped() -> None:
    slow, other = Group("slow", 30.0, 1.0), Group("other", 30.0, 1.0)
    device = polled(groups=[BEAT, slow, other])
    device.begin(0.0)
    device.took(slow, {"a": 1}, 0.1)
    device.took(other, {"b": 1}, 0.1)
    device.failed(slow, "silence", 9.0)
    assert device.took(BEAT, {"x": 1}, 0.1) == {"": {"b": 1, "x": 1}}
    assert (device.polls, device.errors) == (3, 1)


def test_nothing_is_carried_over_a_lost_link() -> None:
    slow = Group("slow", 30.0, 1.0)
    device = polled(groups=[BEAT, slow])
    device.begin(0.0)
    device.took(slow, {"a": 1}, 0.1)
    device.begin(9.0)
    assert device.took(BEAT, {"x": 1}, 0.1) == {"": {"x": 1}}


def test_nothing_is_carried_over_a_connection_that_opened_itself_anew() -> None:
    slow, once = Group("slow", 30.0, 1.0), Group("once", math.inf, 1.0)
    device = polled(groups=[BEAT, slow, once])
    device.begin(0.0)
    device.itself.presence = Presence.ONLINE
    for group, name in ((slow, "a"), (once, "b")):
        device.asked(group, 1.0)
        device.took(group, {name: 1}, 0.1)
    device.asked(BEAT, 1.0)
    assert device.next(2.0) == (5.0, BEAT)
    device.lost(2.0)
    assert device.took(BEAT, {"x": 1}, 0.1) == {"": {"x": 1}}
    assert device.next(2.0) == (2.0, slow)
    device.asked(slow, 2.0)
    assert device.next(2.0) == (2.0, once)


def test_nothing_is_carried_of_a_part_that_was_away() -> None:
    slow = Group("slow", 300.0, 1.0)
    device = polled(groups=[BEAT, slow])
    device.begin(0.0)
    device.took(slow, Parts({"1": {"a": 1}, "2": {"a": 2}}), 0.1)
    device.took(BEAT, Parts({"1": {"x": 1}, "2": {"x": 2}}), 0.1)
    device.absent(["1", "2"])
    for _ in range(2):
        device.took(BEAT, Parts({"1": {"x": 1}}), 0.1)
        device.absent(["1"])
    assert device.took(BEAT, Parts({"1": {"x": 1}, "2": {"x": 2}}), 0.1) == {
        "1": {"a": 1, "x": 1},
        "2": {"x": 2},
    }


def test_one_field_may_have_a_cadence_of_its_own_in_each_part() -> None:
    slow = Group("slow", 300.0, 1.0)
    device = polled(groups=[BEAT, slow])
    device.begin(0.0)
    device.took(slow, Parts({"1": {"a": 1}}), 0.1)
    samples = device.took(BEAT, Parts({"1": {"x": 1}, "2": {"a": 2}}), 0.1)
    assert samples is not None
    for part, values in samples.items():
        device.member(part).show(values)
    assert device.member("1").cadence_s == {"a": 300.0, "x": 5.0}
    assert device.member("2").cadence_s == {"a": 5.0}


def test_the_cadence_of_each_published_field_is_known() -> None:
    slow = Group("slow", 30.0, 1.0)
    device = polled(groups=[BEAT, slow])
    device.begin(0.0)
    device.took(slow, {"a": 1}, 0.1)
    samples = device.took(BEAT, {"x": 1}, 0.1)
    assert samples is not None
    device.itself.show(samples[""])
    assert device.itself.cadence_s == {"a": 30.0, "x": 5.0}


def test_times_of_polls_are_told_once_there_is_one() -> None:
    device = polled()
    device.begin(0.0)
    assert device.percentiles_ms() is None
    for duration_s in (0.1, 0.2, 0.3):
        device.took(BEAT, {}, duration_s)
    assert device.percentiles_ms() == (200.0, 300.0)


# ---------------------------------------------------------------------- on a real link


class Device:
    """A TCP server of lines: `answers` maps a request to its answer; without one it is silent."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = dict(answers)
        self.asked: SimpleQueue[str] = SimpleQueue()
        self.connection: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self.connection, _ = self._listener.accept()
                with suppress(OSError), self.connection.makefile("r") as lines:
                    for line in lines:
                        self.asked.put(line.strip())
                        if (answer := self.answers.get(line.strip())) is not None:
                            self.say(answer)

    def say(self, line: str) -> None:
        assert self.connection is not None
        self.connection.sendall(line.encode() + b"\n")

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with suppress(OSError):
            self.hang_up()


class Room:
    """A poller on a device, and what it said."""

    def __init__(self, device: Device, *devices: Polled) -> None:
        self.samples: SimpleQueue[tuple[str, Values]] = SimpleQueue()
        self.changes: SimpleQueue[tuple[str, Presence | None]] = SimpleQueue()
        self.events: SimpleQueue[tuple[str, Event]] = SimpleQueue()
        self.poller = Poller(
            device.url,
            devices,
            on_sample=lambda who, values, _: self.samples.put((who.name, values)),
            on_change=lambda who: self.changes.put((who.name, who.presence)),
            on_event=lambda who, event: self.events.put((who.name, event)),
        )
        self.poller.start()

    def sample(self) -> tuple[str, Values]:
        return self.samples.get(timeout=10)

    def change(self) -> tuple[str, Presence | None]:
        return self.changes.get(timeout=10)


Server = Callable[[Mapping[str, str]], Device]
Open = Callable[..., Room]


@pytest.fixture
def server() -> Iterator[Server]:
    with ExitStack() as stack:

        def make(answers: Mapping[str, str]) -> Device:
            device = Device(answers)
            stack.callback(device.close)
            return device

        yield make


@pytest.fixture
def room(server: Server) -> Iterator[Open]:  # noqa: ARG001 - devices outlive their pollers
    with ExitStack() as stack:

        def make(device: Device, *devices: Polled) -> Room:
            one = Room(device, *devices)
            stack.callback(one.poller.stop)
            return one

        yield make


FAST = Group("b", 0.05, 0.01)
SLOW = Group("s", 0.2, 0.01)


def test_a_device_that_answers_comes_online_and_gives_samples(server: Server, room: Open) -> None:
    device = polled(groups=[FAST, SLOW])
    one = room(server({"b": "x=1", "s": "y=2"}), device)
    assert one.sample() == ("device", {"x": 1})
    assert one.change() == ("device", Presence.ONLINE)
    assert one.sample() == ("device", {"x": 1, "y": 2})


def test_a_device_that_is_not_allowed_is_not_asked_until_it_is(server: Server, room: Open) -> None:
    refused, allowed = polled("refused", [FAST]), polled("allowed", [Group("c", 0.05, 0.01)])
    refused.allowed = False
    device = server({"b": "x=1", "c": "x=2"})
    one = room(device, refused, allowed)
    assert [one.sample()[0] for _ in range(5)] == ["allowed"] * 5
    refused.allowed = True
    one.poller.wake()
    wait_until(lambda: one.sample()[0] == "refused", "the other device")


def test_two_missed_beats_make_a_device_offline(
    server: Server, room: Open, caplog: pytest.LogCaptureFixture
) -> None:
    line = server({"b": "x=1"})
    device = polled(groups=[FAST])
    one = room(line, device)
    assert one.change() == ("device", Presence.ONLINE)
    line.answers["b"] = "rubbish"
    assert one.change() == ("device", Presence.OFFLINE)
    assert device.failures == 2
    assert "device (127.0.0.1:" in caplog.text
    assert "found b'rubbish', expected a number; trying again in 1 s" in caplog.text
    assert caplog.text.count("rubbish") == 1
    line.answers["b"] = "x=3"
    assert one.change() == ("device", Presence.ONLINE)


def test_after_silence_nothing_old_is_shown(server: Server, room: Open) -> None:
    line = server({"b": "x=1", "s": "y=2"})
    one = room(line, polled(groups=[FAST, Group("s", 60.0, 0.01)]))
    wait_until(lambda: one.sample()[1] == {"x": 1, "y": 2}, "both groups")
    line.answers["b"] = "rubbish"
    assert [one.change(), one.change()] == [
        ("device", Presence.ONLINE),
        ("device", Presence.OFFLINE),
    ]
    while not one.samples.empty():
        one.sample()
    line.answers["s"], line.answers["b"] = "y=5", "x=7"
    assert one.sample()[1] == {"x": 7}
    assert one.sample()[1] == {"x": 7, "y": 5}


def test_a_lost_link_is_opened_again_and_everything_forgotten(
    server: Server, room: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    line = server({"b": "x=1"})
    device = polled(groups=[FAST])
    one = room(line, device)
    assert one.change() == ("device", Presence.ONLINE)
    line.hang_up()
    assert one.change() == ("device", Presence.OFFLINE)
    assert one.change() == ("device", Presence.ONLINE)
    assert isinstance(device.bridge, Letters)
    assert device.bridge.forgotten == 1
    assert "connection lost; trying again" in caplog.text
    assert f"{line.url}: open again" in caplog.text


def test_a_device_that_was_silent_is_learned_anew_and_not_before(
    server: Server, room: Open
) -> None:
    line = server({"b": "x=1"})
    device = polled(groups=[FAST])
    one = room(line, device)
    assert isinstance(device.bridge, Letters)
    assert one.change() == ("device", Presence.ONLINE)
    assert device.bridge.forgotten == 0
    line.answers["b"] = "rubbish"
    assert one.change() == ("device", Presence.OFFLINE)
    wait_until(lambda: device.failures > 2, "one failure more", 20)
    assert device.bridge.forgotten == 1
    line.answers["b"] = "x=3"
    assert one.change() == ("device", Presence.ONLINE)
    assert device.bridge.forgotten == 1


class Known(Letters):
    """A bridge that learns the model at the first answer."""

    def poll(self, link: Link, group: str) -> Values:
        values = super().poll(link, group)
        self.identity = Identity(model="M")
        return values

    def forget(self) -> None:
        self.identity = Identity()


def test_a_device_that_is_offline_is_still_called_what_it_was(server: Server, room: Open) -> None:
    line = server({"b": "x=1"})
    device = polled(groups=[FAST], bridge=Known)
    one = room(line, device)
    assert one.change() == ("device", Presence.ONLINE)
    assert device.itself.about.identity.model == "M"
    line.answers["b"] = "rubbish"
    assert one.change() == ("device", Presence.OFFLINE)
    wait_until(lambda: device.bridge.identity == Identity(), "it to be forgotten")
    assert device.itself.about.identity.model == "M"


class Way:
    """A way that opens itself anew."""

    def __init__(self, link: Link) -> None:
        self.url, self.name, self.tap = link.url, link.name, link.tap
        self.link = link
        self.losses = 0

    def close(self) -> None:
        self.link.close()


class Wandering(Letters):
    """A bridge whose way is lost where it is told so, without a word."""

    def __init__(self, groups: Sequence[Group]) -> None:
        super().__init__(groups)
        self.loses = False

    @staticmethod
    def open_link(url: str, _devices: object) -> Way:
        return Way(open_link(url))

    def poll(self, link: "Way", group: str) -> Values:  # type: ignore[override] # its own way
        link.losses += self.loses
        self.loses = False
        return super().poll(link.link, group)


def test_what_was_carried_goes_with_a_connection_that_opens_itself_anew(
    server: Server, room: Open
) -> None:
    line = server({"b": "x=1", "s": "y=2"})
    device = polled(groups=[FAST, Group("s", 60.0, 0.01)], bridge=Wandering)
    one = room(line, device)
    wait_until(lambda: one.sample()[1] == {"x": 1, "y": 2}, "both groups")
    assert isinstance(device.bridge, Wandering)
    line.answers["s"] = "y=3"
    device.bridge.loses = True
    wait_until(lambda: one.sample()[1] == {"x": 1}, "the new connection")
    wait_until(lambda: one.sample()[1] == {"x": 1, "y": 3}, "the slow group's turn")
    assert one.changes.qsize() == 1  # it was there all the time


class Attentive(Letters):
    """A bridge that shows what it has of an answer."""

    got = b""

    def _take(self, data: bytes) -> tuple[Values, int] | None:
        self.got = data
        return super()._take(data)


def test_an_answer_in_pieces_is_logged_in_one_line(
    server: Server, room: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    line = server({})
    device = polled(groups=[Group("b", 60.0, 0.01)], bridge=Attentive)
    one = room(line, device)
    assert line.asked.get(timeout=10) == "b"
    assert line.connection is not None
    line.connection.sendall(b"x")
    bridge = device.bridge
    assert isinstance(bridge, Attentive)
    wait_until(lambda: bridge.got == b"x", "the first piece to be taken")
    line.say("=42")
    assert one.sample() == ("device", {"x": 42})
    logged = [record.message for record in caplog.records if record.levelno == logging.DEBUG]
    assert logged == [f"{line.url} tx 62 0a", f"{line.url} rx 78 3d 34 32 0a"]


class Flapping(Letters):
    """A bridge whose link fails after each answer."""

    answers = 0

    def poll(self, link: Link, group: str) -> Values:
        self.answers += 1
        if self.answers % 2 == 0:
            raise LinkError(f"{link.name}: fails")
        return super().poll(link, group)


def test_a_link_that_fails_now_and_then_is_opened_again_after_a_second(
    server: Server, room: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: SimpleQueue[int] = SimpleQueue()

    def no_wait(number: int) -> float:
        failures.put(number)
        return 0.0

    monkeypatch.setattr("heliobus.poller.back_off_s", no_wait)
    room(server({"b": "x=1"}), polled(groups=[FAST], bridge=Flapping))
    assert [failures.get(timeout=10) for _ in range(4)] == [1, 1, 1, 1]


def test_a_link_that_cannot_be_opened_is_tried_again(
    server: Server, room: Open, caplog: pytest.LogCaptureFixture
) -> None:
    line = server({})
    line.close()
    device = polled(groups=[FAST])
    one = room(line, device)
    assert one.change() == ("device", Presence.OFFLINE)
    wait_until(lambda: device.errors >= 2, "a second attempt")
    assert caplog.text.count("127.0.0.1") == 1


def test_a_link_that_is_gone_is_tried_again_sooner_than_a_device_that_is_silent(
    server: Server, room: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliobus.poller.back_off_s", lambda _: 3600.0)
    monkeypatch.setattr("heliobus.poller.LONGEST_REOPEN_S", 0.0)
    line = server({})
    line.close()
    device = polled(groups=[FAST])
    room(line, device)
    wait_until(lambda: device.errors >= 3, "a third attempt")


class Reporting(Letters):
    """A bridge whose device logs each question, and one that it did not answer."""

    def poll(self, link: Link, group: str) -> Values:
        self.logged = [Event("device_message", f"asked for {group}")]
        return super().poll(link, group)

    def events(self) -> list[Event]:
        logged, self.logged = self.logged, []
        return logged


@pytest.mark.parametrize("answers", [{"b": "x=1"}, {}])
def test_what_a_device_has_logged_is_reported_whether_it_answered_or_not(
    server: Server, room: Open, answers: Mapping[str, str]
) -> None:
    one = room(server(answers), polled(groups=[FAST], bridge=Reporting))
    found = one.events.get(timeout=10)
    assert found == ("device", Event("device_message", "asked for b"))


def test_a_stop_waits_for_the_answer_that_is_on_its_way(server: Server, room: Open) -> None:
    line = server({})
    one = room(line, polled(groups=[Group("b", 60.0, 0.01)]))
    assert line.asked.get(timeout=10) == "b"
    stopping = threading.Thread(target=one.poller.stop)
    stopping.start()
    line.say("x=42")
    assert one.sample() == ("device", {"x": 42})
    stopping.join(5)
    assert not one.poller.alive


class Endless(Letters):
    """A bridge that waits for an answer for ever."""

    def poll(self, link: Link, group: str) -> Values:  # noqa: ARG002 - it does not matter which
        while True:
            link.read(60.0)


def test_a_stop_does_not_wait_for_an_answer_that_does_not_come(server: Server, room: Open) -> None:
    device = Polled(DeviceSettings("device", 5.0, ""), Endless([FAST]))
    device.allowed = True
    line = server({})
    one = room(line, device)
    wait_until(lambda: line.connection, "the connection")
    one.poller.stop()
    assert not one.poller.alive
    assert one.samples.empty()


def test_many_links_are_stopped_at_once_and_not_one_after_the_other(
    server: Server, room: Open
) -> None:
    lines = [server({}) for _ in range(3)]
    rooms = [room(line, polled(groups=[Group("b", 60.0, 0.01)])) for line in lines]
    for line in lines:
        assert line.asked.get(timeout=10) == "b"
    stopping = threading.Thread(target=stop_all, args=[[one.poller for one in rooms]])
    stopping.start()
    lines[-1].say("x=42")  # while the first ones are still waited for
    assert rooms[-1].sample() == ("device", {"x": 42})
    wait_until(lambda: not rooms[-1].poller.alive, "the end of the last")
    stopping.join(10)
    assert not any(one.poller.alive for one in rooms)


class Broken(Letters):
    """A bridge whose link fails at the first byte, each time."""

    def poll(self, link: Link, group: str) -> Values:  # noqa: ARG002 - it does not matter which
        raise LinkError(f"{link.name}: fails")


def test_a_link_that_opens_and_fails_at_once_is_tried_every_two_seconds_at_most(
    server: Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    device = Polled(DeviceSettings("device", 5.0, ""), Broken([FAST]))
    device.allowed = True
    waits_s: SimpleQueue[float | None] = SimpleQueue()
    wait = threading.Event.wait

    def soon(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread().name.startswith("link "):
            waits_s.put(timeout)
            timeout = 0.0
        return wait(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", soon)
    one = Room(server({}), device)
    waits = [waits_s.get(timeout=10) for _ in range(5)]
    one.poller.stop()
    assert waits == [1, 2, 2, 2, 2]
    assert caplog.text.count("fails; trying again") == 1
    assert "open again" not in caplog.text


def test_a_poller_that_was_never_allowed_anything_stops() -> None:
    device = polled()
    device.allowed = False
    poller = Poller(
        "tcp://127.0.0.1:1",
        [device],
        on_sample=lambda *_: None,
        on_change=lambda _: None,
        on_event=lambda *_: None,
    )
    poller.start()
    poller.stop()
    poller.stop()
    assert not poller.alive
