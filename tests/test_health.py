"""How the components are becomes samples: once a minute, and at every coming and going."""

import json

from hypothesis import given
from hypothesis import strategies as st

from heliobus import contract
from heliobus.health import Health
from heliobus.sample import Sample, time_ms

CONTRACT = contract.load()
T0 = "2026-11-21T10:15:30.000Z"
BRIDGE = {
    "state": "online",
    "role": "bridge",
    "type": "voltronic",
    "version": "0.1.0",
    "contract": "0.1",
    "time": T0,
    "uptime_s": 86.5,
    "devices": {
        "inverter": {"state": "online", "polls": 900, "errors": 2, "p50_ms": 410, "p95_ms": 620.5},
        "spare": {
            "state": "offline", "polls": 10, "errors": 7, "p50_ms": 90, "p95_ms": 95,
            "error": "/dev/ttyUSB1: no answer in 2 s",
        },
    },
    "clock": {"synced": True, "waiting": 3},
    "journal": {"size_bytes": 18_000_000, "oldest": "2026-11-20T10:15:30.000Z", "unjournaled": 1},
    "heads": {},
}  # fmt: skip
SINK = {
    "state": "online", "role": "sink", "time": T0, "uptime_s": 10, "devices": {},
    "stored": 12, "rewritten": 1, "rejected": 4, "holes": 2, "lag_s": 7.5, "error": "locked",
}  # fmt: skip


def taken(status: object) -> Sample | None:
    return Health(lambda: time_ms(T0)).take("farm", "axpert", json.loads(json.dumps(status)))


def at(second: int, **changes: object) -> dict[str, object]:
    return {**BRIDGE, "time": f"2026-11-21T10:{15 + second // 60}:{second % 60:02}.000Z", **changes}


def test_a_bridge_s_status_becomes_a_sample() -> None:
    sample = taken(BRIDGE)
    assert sample is not None
    assert (sample.site, sample.device, sample.kind) == ("farm", "axpert", "component")
    assert (sample.bridge, sample.prev_ms, sample.time_ms) == (None, None, time_ms(T0))
    assert sample.values == {
        "is_online": True, "component_role": "bridge", "uptime_s": 86.5, "is_synced": True,
        "waiting_count": 3, "journal_bytes": 18_000_000, "unjournaled_count": 1,
        "journal_age_s": 86400.0, "offline_count": 1, "polls_count": 910, "errors_count": 9,
        "poll_p50_s": 0.41, "poll_p95_s": 0.6205,
        "component_error": "/dev/ttyUSB1: no answer in 2 s",
    }  # fmt: skip


def test_a_sink_s_status_becomes_a_sample() -> None:
    sample = taken(SINK)
    assert sample is not None
    assert sample.values == {
        "is_online": True, "component_role": "sink", "uptime_s": 10, "stored_count": 12,
        "rewritten_count": 1, "rejected_count": 4, "holes_count": 2, "lag_s": 7.5,
        "component_error": "locked", "offline_count": 0, "polls_count": 0, "errors_count": 0,
    }  # fmt: skip


def test_the_contract_takes_every_value() -> None:
    for status in (BRIDGE, SINK):
        sample = taken(status)
        assert sample is not None
        assert CONTRACT.sift("component", sample.values) == (sample.values, {})


def test_one_in_a_minute_is_enough() -> None:
    health = Health(lambda: 0)
    due = [second for second in range(0, 200, 10) if health.take("farm", "axpert", at(second))]
    assert due == [0, 60, 120, 180]


def test_each_component_has_its_own_minute() -> None:
    health = Health(lambda: 0)
    assert health.take("farm", "axpert", at(0))
    assert health.take("farm", "archive", at(5))
    assert health.take("barn", "axpert", at(7))


def test_a_clock_set_back_silences_nobody() -> None:
    health = Health(lambda: 0)
    assert health.take("farm", "axpert", at(100))
    assert health.take("farm", "axpert", at(0))


def test_going_and_coming_back_is_told_at_once_and_once() -> None:
    health = Health(lambda: time_ms("2026-11-21T10:15:34.000Z"))
    will = {"state": "offline"}
    health.take("farm", "axpert", at(0))
    gone = health.take("farm", "axpert", will)
    assert gone is not None
    assert gone.values == {"is_online": False}
    assert gone.time_ms == time_ms("2026-11-21T10:15:34.000Z")
    assert health.take("farm", "axpert", will) is None
    back = health.take("farm", "axpert", at(9))
    assert back is not None
    assert back.values["is_online"] is True


def test_what_was_gone_before_we_came_is_no_news() -> None:
    assert taken({"state": "offline"}) is None


def test_a_status_without_a_time_is_no_sample() -> None:
    assert taken({**BRIDGE, "time": "yesterday"}) is None
    assert taken({"state": "online"}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted({*BRIDGE, *SINK} - {"time"})), JSON))
def test_whatever_stands_in_a_status_breaks_nothing(changes: dict[str, object]) -> None:
    health = Health(lambda: 0)
    health.take("farm", "axpert", {**BRIDGE, **changes})
    devices = {"inverter": changes, "spare": {"polls": 10**400, "p50_ms": float("inf")}}
    sample = health.take("farm", "other", {**BRIDGE, "devices": devices})
    assert sample is not None
    assert sample.values["offline_count"] == 2
