"""The message log of a Studer installation as events: each new entry is told once."""

import pytest

from bridges.studer.frame import Error, Type
from bridges.studer.messages import severity_of, text_of
from heliobus import contract
from tests.studer_far import XT, Far, connected

CONTRACT = contract.load()
NOW_S = 1_700_000_000


def test_the_first_look_at_the_log_tells_no_history() -> None:
    far = Far({101: XT, 102: XT})
    far.logs(19, 101, NOW_S)
    with connected(far) as near:
        near.poll()
        near.poll("slow")
        assert near.events() == []


def test_a_new_entry_of_the_log_is_told_once() -> None:
    far = Far({101: XT, 102: XT})
    far.logs(10, 501, NOW_S)
    with connected(far, parts={"xt_2": "right"}) as near:
        near.poll()
        far.logs(0, 102, NOW_S + 60)
        far.logs(19, 101, NOW_S + 90)
        near.poll()
        first, second = near.events()
        assert first.name == "message_logged"
        assert first.text == (
            "battery low (message 0), logged 2023-11-14 22:14:20 by the clock of the installation"
        )
        assert first.details == {"severity": "warning", "subject": "right"}
        assert second.details == {"severity": "error", "subject": "xcom_xt_1"}
        assert near.events() == []
        near.poll()
        near.poll("slow")
        assert near.events() == []
        far.logs(999, 501, NOW_S + 95)
        near.poll("slow")
        [third] = near.events()
        assert third.text.startswith("message 999, logged")
        assert third.details == {"severity": "info", "subject": "xcom"}


def test_an_entry_in_the_hour_that_comes_twice_is_told() -> None:
    far = Far({101: XT, 102: XT})
    far.logs(10, 501, NOW_S)
    with connected(far) as near:
        near.poll("slow")
        far.logs(19, 101, NOW_S - 3600)
        near.poll("slow")
        assert len(near.events()) == 1


@pytest.mark.parametrize("empty", [0x22, 0x26])
def test_the_first_entry_ever_is_told(empty: int) -> None:
    far = Far({101: XT, 102: XT})
    far.no_entry = empty
    with connected(far) as near:
        near.poll("slow")
        assert near.events() == []
        far.logs(19, 101, NOW_S)
        near.poll()
        assert [event.details["severity"] for event in near.events()] == ["error"]


def test_a_gateway_without_a_log_is_not_asked_for_it_again() -> None:
    far = Far({101: XT})
    far.no_entry = Error.TYPE_NOT_SUPPORTED
    with connected(far) as near:
        for _ in range(3):
            near.poll("slow")
        assert far.count(Type.MESSAGE) == 1
        near.bridge.forget()  # another may be in its place
        near.poll("slow")
        assert far.count(Type.MESSAGE) == 2


def test_a_log_that_cannot_be_read_now_is_looked_at_again() -> None:
    far = Far({101: XT})
    far.logs(10, 501, NOW_S)
    with connected(far) as near:
        near.poll("slow")
        log, far.log, far.no_entry = far.log, [], Error.RESPONSE_TIMEOUT
        near.poll("slow")
        far.log = log
        far.logs(19, 101, NOW_S + 5)
        near.poll("slow")
        assert len(near.events()) == 1


def test_the_log_may_be_left_to_another_program() -> None:
    far = Far({101: XT})
    far.logs(10, 501, NOW_S)
    with connected(far, read_log=False) as near:
        assert near.poll()[""]["message_pending"] is True
        near.poll("slow")
        assert near.poll()[""]["message_pending"] is True
        assert far.count(Type.MESSAGE) == 0


def test_a_log_that_is_not_answered_costs_no_values() -> None:
    far = Far({101: XT, 102: XT})
    far.flags |= 1
    with connected(far, timeout=0.1) as near:
        far.mute = {0}  # the newest message
        assert "xt_1" in near.poll()


def test_messages_reach_the_contract() -> None:
    far = Far({101: XT, 102: XT})
    far.logs(10, 501, NOW_S)
    with connected(far) as near:
        near.poll()
        far.logs(225, 601, NOW_S + 1)
        near.poll()
        [event] = near.events()
        told = {"event": event.name, "text": event.text, **event.details}
        assert CONTRACT.strict("event", told) == (told, {})


def test_what_was_logged_while_the_gateway_was_away_is_told_afterwards() -> None:
    far = Far({101: XT})
    far.logs(10, 501, NOW_S)
    with connected(far) as near:
        near.poll()
        near.poll("slow")
        near.bridge.forget()
        far.logs(19, 101, NOW_S + 5)
        near.poll()
        assert len(near.events()) == 1


def test_the_log_of_another_installation_is_no_news() -> None:
    far = Far({101: XT})
    far.logs(10, 501, NOW_S)
    with connected(far) as near:
        near.poll("slow")
        far.log = []
        for at in range(5):
            far.logs(19, 101, NOW_S - 100_000 + at)
        near.poll("slow")
        assert near.events() == []


def test_an_entry_that_comes_while_the_log_is_read_is_told_once() -> None:
    far = Far({101: XT})
    far.logs(10, 501, NOW_S)
    with connected(far) as near:
        near.poll("slow")
        far.logs(0, 101, NOW_S + 1)
        far.logs(19, 101, NOW_S + 2)
        far.logs_between = (225, 101, NOW_S + 3)
        near.poll("slow")
        near.poll("slow")
        told = [event.text.partition(" (message")[0] for event in near.events()]
        assert sorted(told) == sorted(text_of(number) for number in (0, 19, 225))


def test_every_message_has_few_words_and_a_severity() -> None:
    for number in (0, 19, 235):
        assert not text_of(number).startswith("message")
    assert (text_of(998), severity_of(998)) == ("message 998", "info")
    assert {severity_of(number) for number in range(236)} == {"info", "warning", "error"}
