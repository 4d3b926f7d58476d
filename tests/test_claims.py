"""Claims: a device has one bridge, whatever order the broker's messages come in."""

from collections import deque
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliobus.claims import Claim, Claims


def settled(me: str = "a", *, takeover: bool = False) -> Claims:
    """Give the claims of a bridge on device `x` that was alone when it came."""
    claims = Claims(me, ["x"], takeover=takeover)
    assert claims.settle() == ["x"]
    assert claims.take_info("x", me, takeover=takeover) == []
    assert claims.state("x") is Claim.OURS
    return claims


def test_a_free_device_is_claimed_when_the_broker_has_told_all() -> None:
    claims = Claims("a", ["x", "y"])
    assert (claims.state("x"), claims.holder("x")) == (Claim.PENDING, None)
    assert claims.settle() == ["x", "y"]
    assert claims.state("x") is Claim.CLAIMED
    assert claims.take_info("x", "a") == []
    assert (claims.state("x"), claims.state("y")) == (Claim.OURS, Claim.CLAIMED)


def test_the_device_of_a_bridge_that_lives_is_refused_by_name() -> None:
    claims = Claims("a", ["x", "y"])
    claims.take_status("b", offline=False)
    claims.take_info("x", "b")
    assert claims.settle() == ["y"]
    assert (claims.state("x"), claims.holder("x")) == (Claim.THEIRS, "b")
    assert claims.state("y") is Claim.CLAIMED


def test_it_makes_no_difference_whether_status_or_info_is_told_first() -> None:
    claims = Claims("a", ["x"])
    claims.take_info("x", "b")
    claims.take_status("b", offline=False)
    assert claims.settle() == []
    assert claims.state("x") is Claim.THEIRS


@pytest.mark.parametrize("known", [True, False])
def test_the_device_of_a_bridge_that_is_offline_or_was_never_heard_is_free(
    known: bool,  # noqa: FBT001 - as pytest calls it
) -> None:
    claims = Claims("a", ["x"])
    if known:
        claims.take_status("b", offline=True)
    claims.take_info("x", "b")
    assert claims.settle() == ["x"]


def test_a_refused_device_is_taken_over_when_its_bridge_goes_offline() -> None:
    claims = Claims("a", ["x"])
    claims.take_status("b", offline=False)
    claims.take_info("x", "b")
    claims.settle()
    assert claims.take_status("c", offline=True) == []
    assert claims.take_status("b", offline=True) == ["x"]
    assert claims.state("x") is Claim.CLAIMED


def test_a_refused_device_is_taken_over_when_its_info_is_cleared() -> None:
    claims = Claims("a", ["x"])
    claims.take_status("b", offline=False)
    claims.take_info("x", "b")
    claims.settle()
    assert claims.take_info("x", None) == ["x"]


def test_what_is_ours_is_said_again_when_its_former_bridge_clears_it() -> None:
    claims = settled()
    assert claims.take_info("x", None) == ["x"]
    assert claims.state("x") is Claim.OURS


def test_takeover_takes_a_device_from_a_bridge_that_lives() -> None:
    claims = Claims("a", ["x"], takeover=True)
    claims.take_status("b", offline=False)
    claims.take_info("x", "b")
    assert claims.settle() == ["x"]


def test_a_bridge_gives_way_to_one_that_takes_over() -> None:
    claims = settled()
    claims.take_status("b", offline=False)
    assert claims.take_info("x", "b", takeover=True) == []
    assert (claims.state("x"), claims.holder("x")) == (Claim.THEIRS, "b")


def test_one_that_takes_over_wins_whichever_info_comes_first() -> None:
    plain, taking = Claims("a", ["x"]), Claims("b", ["x"], takeover=True)
    plain.take_status("b", offline=False)
    taking.take_status("a", offline=False)
    assert plain.settle() == taking.settle() == ["x"]
    assert plain.take_info("x", "a") == taking.take_info("x", "a") == []
    assert plain.take_info("x", "b", takeover=True) == []
    assert taking.take_info("x", "b", takeover=True) == []
    assert (plain.state("x"), taking.state("x")) == (Claim.THEIRS, Claim.OURS)


def test_of_two_that_take_over_the_first_keeps_the_device_and_both_are_quiet() -> None:
    second = Claims("b", ["x"], takeover=True)
    second.take_status("a", offline=False)
    second.take_info("x", "a", takeover=True)
    assert second.settle() == []
    assert second.state("x") is Claim.THEIRS


def test_a_bridge_says_again_what_is_its_own_when_another_comes_too_late() -> None:
    claims = settled()
    claims.take_status("b", offline=False)
    assert claims.take_info("x", "b") == ["x"]
    assert claims.state("x") is Claim.OURS


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_of_two_that_start_at_once_the_first_by_name_keeps_the_device(order: str) -> None:
    first, second = Claims("a", ["x"]), Claims("b", ["x"])
    first.take_status("b", offline=False)
    second.take_status("a", offline=False)
    assert first.settle() == second.settle() == ["x"]
    again = [first.take_info("x", name) for name in order]
    assert again == ([[], ["x"]] if order == "ab" else [[], []])  # the last info names it
    assert [second.take_info("x", name) for name in order] == [[], []]
    assert second.take_info("x", "a") == []
    assert (first.state("x"), second.state("x")) == (Claim.OURS, Claim.THEIRS)


def test_devices_that_are_not_ours_are_no_concern_of_ours() -> None:
    claims = settled()
    assert claims.take_info("other", "b") == []
    assert claims.take_info("other", None) == []


def test_after_a_lost_connection_everything_is_asked_anew() -> None:
    claims = settled()
    claims.lost_connection()
    assert claims.state("x") is Claim.PENDING
    claims.take_status("b", offline=False)
    claims.take_info("x", "b")
    assert claims.settle() == []


# ---------------------------------------------------------------------- found while it runs


def test_a_device_found_late_is_decided_at_once() -> None:
    claims = settled()
    assert claims.add(["new"]) == ["new"]
    assert claims.add(["new"]) == []
    assert claims.state("new") is Claim.CLAIMED


def test_a_device_found_before_the_broker_has_told_all_waits_for_that() -> None:
    claims = Claims("a", [])
    assert claims.add(["new"]) == []
    assert not claims.refuses("new")
    assert claims.settle() == ["new"]


def test_a_device_found_late_is_left_to_the_living_bridge_that_has_it() -> None:
    claims = settled()
    claims.take_status("b", offline=False)
    claims.take_info("new", "b")
    assert claims.refuses("new")
    assert claims.add(["new"]) == []
    assert (claims.state("new"), claims.holder("new")) == (Claim.THEIRS, "b")
    assert claims.take_status("b", offline=True) == ["new"]


@pytest.mark.parametrize("last", ["offline", "cleared", "ours"])
def test_what_was_another_bridges_once_is_free_when_it_is_found(last: str) -> None:
    claims = settled()
    claims.take_status("b", offline=False)
    claims.take_info("new", "b")
    match last:
        case "offline":
            assert claims.take_status("b", offline=True) == []
        case "cleared":
            claims.take_info("new", None)
        case _:
            claims.take_info("new", "a")
    assert claims.add(["new"]) == ["new"]


# ---------------------------------------------------------------------- any order of things


class Broker:
    """One order of messages for all, and what is retained."""

    def __init__(self) -> None:
        self.retained: dict[tuple[str, str], tuple[str, str | None, bool]] = {}
        self.queues: dict[str, deque[tuple[str, str, str | None, bool]]] = {}

    def publish(self, topic: tuple[str, str], body: tuple[str, str | None, bool]) -> None:
        self.retained[topic] = body
        for queue in self.queues.values():
            queue.append((topic[0], *body))


class Bridge:
    """What `heliobus.bridging` does with claims, against that broker."""

    def __init__(self, name: str, broker: Broker, *, takeover: bool, finds: bool) -> None:
        self.name = name
        self.broker = broker
        self.takeover = takeover
        self.claims = Claims(name, [] if finds else ["x"], takeover=takeover)
        self.up = False
        self.asks = False

    def connect(self) -> None:
        if self.up:
            return
        self.up = self.asks = True
        self.claims.lost_connection()
        told = sorted((topic[0], *body) for topic, body in self.broker.retained.items())
        self.broker.queues[self.name] = deque(told)
        self.broker.publish(("status", self.name), (self.name, "online", False))

    def vanish(self) -> None:
        if self.up:
            self.up = False
            del self.broker.queues[self.name]
            self.broker.publish(("status", self.name), (self.name, "offline", False))

    def take(self, most: int) -> None:
        queue = self.broker.queues.get(self.name, deque())
        while queue and most > 0:
            most -= 1
            leaf, subject, value, takeover = queue.popleft()
            if leaf == "info":
                self._publish(self.claims.take_info("x", value, takeover=takeover))
            elif subject != self.name:
                self._publish(self.claims.take_status(subject, offline=value == "offline"))
            elif value == "online" and self.asks:
                self.asks = False
                self._publish(self.claims.settle())

    def find(self) -> None:
        self._publish(self.claims.add(["x"]))

    def _publish(self, devices: Iterable[str]) -> None:
        for device in devices:
            self.broker.publish(("info", device), (device, self.name, self.takeover))

    @property
    def measures(self) -> bool:
        return self.up and self.claims.holds("x")


NAMES = ("a", "b", "c")
STEP = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["connect", "vanish", "take", "find"]),
    st.integers(1, 4),
)


@settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(STEP, max_size=40),
    takes_over=st.sets(st.sampled_from(NAMES)),
    finders=st.sets(st.sampled_from(NAMES)),
)
def test_when_all_is_told_one_living_bridge_has_the_device_and_the_info_names_it(
    steps: list[tuple[str, str, int]], takes_over: set[str], finders: set[str]
) -> None:
    broker = Broker()
    bridges = [
        Bridge(name, broker, takeover=name in takes_over, finds=name in finders) for name in NAMES
    ]
    for name, what, most in steps:
        bridge = bridges[NAMES.index(name)]
        match what:
            case "connect":
                bridge.connect()
            case "vanish":
                bridge.vanish()
            case "find":
                bridge.find()
            case _:
                bridge.take(most)
    for bridge in bridges:
        bridge.find()
    for _ in range(30):
        for bridge in bridges:
            bridge.take(1000)
    assert not any(broker.queues.values()), "they still talk"
    living = [bridge for bridge in bridges if bridge.up]
    measuring = [bridge.name for bridge in living if bridge.measures]
    assert len(measuring) == (1 if living else 0), measuring
    if living:
        assert broker.retained["info", "x"][1] == measuring[0]
        if any(bridge.takeover for bridge in living):
            assert set(measuring) <= takes_over
