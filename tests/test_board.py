"""The table and the lines of the bus: what they show, and that no message can harm them."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heliobus import contract
from heliobus.board import Board
from heliobus.bus import Message
from heliobus.cells import Row, Style
from heliobus.sample import time_ms
from heliobus.topics import Topics

NOW_MS = time_ms("2026-11-21T10:15:30.000Z")
CONTRACT = contract.load()

INFO = {
    "kind": "inverter",
    "maker": "Voltronic",
    "model": "MAX-8000",
    "bridge": "axpert",
    "contract": "0.1",
    "every_s": 2,
}
STATE = {
    "time": "2026-11-21T10:15:28.500Z",
    "prev": None,
    "kind": "inverter",
    "bridge": "axpert",
    "mode": "battery",
    "pv_w": 3021,
    "battery_v": 53.06,
    "yield_today_kwh": 1234.5,
}
STATUS = {
    "state": "online",
    "role": "bridge",
    "type": "voltronic",
    "time": "2026-11-21T10:15:20.000Z",
    "devices": {"inverter": {"state": "online", "polls": 1234, "errors": 1}},
}


def message(leaf: str, body: object) -> Message:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(f"heliobus/farm/{leaf}", payload, retained=False)


class Shown:
    """A board, and what it says to each message."""

    def __init__(self, wanted: str = "") -> None:
        self.board = Board(CONTRACT, Topics("farm"), wanted)
        self.lines: list[str | None] = []

    def take(self, leaf: str, body: object) -> str | None:
        self.lines.append(self.board.take(message(leaf, body), NOW_MS))
        return self.lines[-1]

    def online(self, **values: Any) -> "Shown":
        self.take("bus/axpert/status", STATUS)
        self.take("inverter/info", INFO)
        self.take("inverter/availability", b"online")
        self.take("inverter/state", {**STATE, **values})
        return self

    def table(self, width: int = 80, after_s: float = 0.0) -> list[str]:
        rows = self.board.table(NOW_MS + round(after_s * 1000), width)
        return ["".join(text for text, _ in row).rstrip() for row in rows]

    def low_table(self, height: int, width: int = 80) -> list[str]:
        rows = self.board.table(NOW_MS, width, height)
        return ["".join(text for text, _ in row).rstrip() for row in rows]


def in_style(rows: Iterable[Row], wanted: Style) -> list[str]:
    return [text.strip() for row in rows for text, style in row if style is wanted]


def test_a_device_stands_in_columns_with_units() -> None:
    assert Shown().online().table() == [
        f"heliobus farm{'10:15:30 UTC':>67}",
        "",
        "inverter  Voltronic MAX-8000        online, 1 s ago",
        "  Mode                   battery         PV power                 3,021 W",
        "  Battery voltage          53.06 V       Yield today           1,234.50 kWh",
        "",
        "axpert    bridge voltronic          online, 1,234 polls, 1 error, 10 s ago",
    ]


def test_a_wider_terminal_has_more_columns() -> None:
    shown = Shown().online()
    [row] = [line for line in shown.table(width=120) if "PV power" in line]
    assert row == (
        "  Mode                   battery         PV power                 3,021 W    "
        "   Battery voltage          53.06 V"
    )
    [row] = [line for line in shown.table(width=30) if "PV power" in line]
    assert row == "  PV power                 3,0"


def test_a_long_text_takes_the_place_of_several_cells() -> None:
    shown = Shown("inverter").online(alarms=["battery_low", "fan_locked", "over_temperature"])
    assert "  Alarms               battery_low, fan_locked, over_temperature" in shown.table()


def power_room() -> Shown:
    """Give a house of an inverter and two chargers, one of which is not there."""
    shown = Shown().online()
    for name, volts in (("sc1", 52.31), ("sc2", 52.4)):
        shown.take(f"{name}/state", {
            "time": "2026-11-21T10:15:25.000Z", "kind": "charger", "bridge": "chargers",
            "charge_state": "bulk", "pv_w": 1204.5, "pv_v": 101.26, "battery_v": volts,
            "battery_a": 22.7, "yield_today_kwh": 12.3,
        })  # fmt: skip
        shown.take(f"{name}/availability", b"online" if name == "sc1" else b"offline")
    return shown


def test_where_the_table_is_too_high_devices_of_a_kind_share_one() -> None:
    assert len(power_room().table()) == 17
    assert power_room().low_table(17) == power_room().table()
    assert power_room().low_table(16) == [
        f"heliobus farm{'10:15:30 UTC':>67}",
        "",
        "charger            Charge state       PV       PV  Battery  Battery  Yield today",
        "sc1       5 s      bulk          1,204 W  101.3 V  52.31 V   22.7 A    12.30 kWh",
        "sc2       OFFLINE  bulk          1,204 W  101.3 V  52.40 V   22.7 A    12.30 kWh",
        "",
        "inverter           Mode          PV  Battery   Yield today",
        "inverter  1 s      battery  3,021 W  53.06 V  1,234.50 kWh",
        "",
        "axpert    bridge voltronic          online, 1,234 polls, 1 error, 10 s ago",
    ]


def test_where_it_is_still_too_high_the_kinds_move_together() -> None:
    shown = power_room().low_table(9)
    assert [line.partition(" ")[0] for line in shown] == [
        "heliobus", "", "charger", "sc1", "sc2", "inverter", "inverter", "", "axpert",
    ]  # fmt: skip


def test_where_that_is_still_too_high_the_components_that_are_well_share_a_line() -> None:
    shown = power_room()
    well = {"state": "online", "role": "bridge", "type": "modbus", "time": STATUS["time"]}
    shown.take("bus/archive/status", {**well, "role": "sink", "type": "sql", "stored": 1234})
    for name in ("chargers", "meters"):
        shown.take(f"bus/{name}/status", {**well, "devices": {name: {"polls": 7, "errors": 0}}})
    shown.take("bus/roof/status", {**well, "error": "its configuration is wrong"})
    shown.take("bus/well/status", {**well, "state": "offline"})
    assert len(shown.low_table(15)) == 15
    assert shown.low_table(14)[8:] == [
        "axpert    bridge voltronic          online, 1,234 polls, 1 error, 10 s ago",
        "roof      bridge modbus             online, 10 s ago",
        "          its configuration is wrong",
        "well      bridge modbus             OFFLINE, 10 s ago",
        "online: archive 1,234 stored, chargers 7 polls, meters 7 polls",
    ]
    assert all(len(line) <= 30 for line in shown.low_table(13, width=30))


def test_columns_that_do_not_fit_are_left_out() -> None:
    assert power_room().low_table(10, width=50)[2:4] == [
        "charger            Charge state       PV       PV",
        "sc1       5 s      bulk          1,204 W  101.3 V",
    ]
    assert max(map(len, power_room().low_table(10, width=20))) <= 20


def test_a_device_without_a_value_of_the_others_has_a_gap() -> None:
    shown = power_room()
    state = {"time": "2026-11-21T10:15:25.000Z", "kind": "charger", "pv_w": 7}
    shown.take("sc3/state", state)
    shown.take("sc4/info", {"kind": "charger", "bridge": "chargers", "contract": "0.1"})
    table = shown.low_table(15)
    assert "sc3       5 s                        7 W" in table
    assert not any(line.startswith("sc4") for line in table if "waiting" not in line)


def test_a_table_of_simulated_things_says_so() -> None:
    shown = Shown().online(simulated=True)
    assert shown.table()[0] == f"heliobus farm (simulated){'10:15:30 UTC':>55}"
    shown.take("well/state", STATE)
    assert shown.table()[0].startswith("heliobus farm (some simulated) ")


def test_nothing_yet_is_said_to_be_waited_for() -> None:
    shown = Shown()
    assert shown.table()[2] == "waiting for the first sample ..."
    shown.take("bus/axpert/status", STATUS)
    assert shown.table()[2:] == [
        "waiting for the first sample ...",
        "",
        "axpert  bridge voltronic          online, 1,234 polls, 1 error, 10 s ago",
    ]
    assert Shown("pump").table()[2] == "waiting for the first sample of 'pump' ..."


def test_a_device_without_a_sample_waits_for_its_first() -> None:
    shown = Shown()
    shown.take("inverter/info", INFO)
    shown.take("inverter/availability", b"offline")
    assert shown.table()[2] == "inverter  Voltronic MAX-8000        waiting for its first sample"


def test_offline_is_what_the_device_says() -> None:
    shown = Shown().online()
    line = shown.take("inverter/availability", b"offline")
    assert line == "10:15:30 inverter  offline"
    assert shown.table(after_s=300)[2] == "inverter  Voltronic MAX-8000        OFFLINE, 5 min ago"


def test_offline_is_what_the_will_of_its_bridge_says() -> None:
    shown = Shown().online()
    line = shown.take("bus/axpert/status", {"state": "offline"})
    assert line == "10:15:30 bus/axpert  offline"
    table = shown.table(after_s=8)
    assert table[2] == (
        "inverter  Voltronic MAX-8000        OFFLINE with its bridge axpert, 9 s ago"
    )
    assert table[-1] == "axpert                              OFFLINE"


@pytest.mark.parametrize(
    ("after_s", "text"),
    [(4.0, "online, 5 s ago"), (5.0, "STALE, 6 s ago"), (7300, "STALE, 2 h ago")],
)
def test_stale_is_older_than_three_times_its_cadence(after_s: float, text: str) -> None:
    assert Shown().online().table(after_s=after_s)[2].endswith(text)


def test_a_publisher_that_says_little_is_shown_all_the_same() -> None:
    shown = Shown()
    shown.take("shed/state", {"time": STATE["time"], "kind": "sensor", "temperature_c": 4})
    assert shown.table()[2] == "shed  sensor                    1 s ago"


def test_names_are_bold_and_trouble_is_red() -> None:
    shown = Shown().online()
    rows = shown.board.table(NOW_MS, 80)
    assert in_style(rows, Style.NAME) == ["heliobus farm", "inverter", "axpert"]
    assert in_style(rows, Style.ALARM) == []
    shown.take("bus/axpert/status", {"state": "offline"})
    assert in_style(shown.board.table(NOW_MS, 80), Style.ALARM) == ["OFFLINE", "OFFLINE"]


def test_a_component_tells_what_is_wrong() -> None:
    shown = Shown()
    error = "no whole answer to QPIGS in 3 s, got '28 30'; " * 4
    devices = {"inverter": {"state": "offline", "polls": 1, "errors": 2, "error": error}}
    clock = {"synced": False, "waiting": 1}
    shown.take("bus/axpert/status", {**STATUS, "devices": devices, "clock": clock})
    sink = {"state": "online", "role": "sink", "type": "sql", "stored": 12345, "rejected": 0}
    shown.take("bus/archive/status", {**sink, "holes": 1, "lag_s": 90.5, "error": "disk full"})
    assert shown.table()[4:] == [
        "archive  sink sql                  online, 12,345 stored, 1 hole, 90 s behind",
        "         disk full",
        "axpert   bridge voltronic          online, 1 poll, 2 errors, 10 s ago",
        "         its clock is not synchronised; 1 sample held back until it is",
        "         inverter: no whole answer to QPIGS in 3 s, got '28 30'; no whole answer",
        "         to QPIGS in 3 s, got '28 30'; no whole answer to QPIGS in 3 s, got '28",
    ]


def test_a_clock_that_holds_nothing_back_yet_says_no_number() -> None:
    shown = Shown()
    clock = {"synced": False, "waiting": 0}
    shown.take("bus/axpert/status", {**STATUS, "clock": clock})
    assert shown.table()[-1] == "        its clock is not synchronised"


HINT = "heard nothing below solar/ yet; look at the base topic"
LISTENS = {
    "state": "online",
    "role": "bridge",
    "type": "mqtt",
    "devices": {
        "dtu": {"state": "online", "messages": 40, "errors": 0},
        "roof": {"state": "online", "messages": 2, "errors": 1},
    },
}


def test_a_bridge_that_listens_counts_what_it_has_heard() -> None:
    shown = Shown()
    shown.take("bus/dtu/status", LISTENS)
    assert shown.table()[-1] == "dtu  bridge mqtt               online, 42 messages, 1 error"
    shown.take("bus/dtu/status", {**LISTENS, "devices": {}})
    assert shown.table()[-1] == "dtu  bridge mqtt               online, 0 messages, 0 errors"


def test_hints_stand_below_their_component() -> None:
    shown = Shown()
    shown.take("bus/dtu/status", {**LISTENS, "hints": [HINT, "a command is retained"]})
    assert shown.table()[-2:] == [f"     hint: {HINT}", "     hint: a command is retained"]


def test_a_hint_and_an_error_are_each_a_line_once() -> None:
    shown = Shown()
    troubled = {**LISTENS, "hints": [HINT], "error": "broker away"}
    assert shown.take("bus/dtu/status", troubled) == (
        f"10:15:30 bus/dtu  online\n10:15:30 bus/dtu  broker away\n10:15:30 bus/dtu  hint: {HINT}"
    )
    assert shown.take("bus/dtu/status", troubled) is None
    again = shown.take("bus/dtu/status", {**troubled, "hints": [HINT, "two\nlines"]})
    assert again == "10:15:30 bus/dtu  hint: two?lines"


def test_a_device_with_a_title_is_shown_by_it() -> None:
    shown = Shown().online()
    shown.take("inverter/info", {**INFO, "title": "Barn roof"})
    assert shown.table()[2] == "inverter  Barn roof                 online, 1 s ago"


def test_a_sample_is_a_line_of_what_matters_most() -> None:
    assert Shown().online().lines == [
        "10:15:30 bus/axpert  online",
        None,
        "10:15:30 inverter  online",
        "10:15:28 inverter  mode=battery  pv_w=3021  battery_v=53.06  yield_today_kwh=1234.5",
    ]


def test_an_old_sample_says_its_age() -> None:
    line = Shown().take("inverter/state", {**STATE, "time": "2026-11-19T10:15:30.000Z"})
    assert line is not None
    assert line.endswith("yield_today_kwh=1234.5  (2 d ago)")


@pytest.mark.parametrize(("ahead_s", "said"), [(9, "0 s ago"), (7300, "2 h in the future")])
def test_a_clock_that_is_ahead_shows(ahead_s: int, said: str) -> None:
    shown = Shown().online()
    assert shown.table(after_s=-ahead_s)[2].endswith(f"online, {said}")


def test_a_device_is_filtered_by_a_part_of_its_name_and_shown_whole() -> None:
    lines = Shown("inv").online(fan_percent=30).lines
    assert lines[-1] == (
        "10:15:28 inverter  mode=battery  pv_w=3021  battery_v=53.06  yield_today_kwh=1234.5"
        "  fan_percent=30"
    )


def test_a_field_is_filtered_by_a_part_of_its_name() -> None:
    shown = Shown("battery")
    assert shown.online().lines == [None, None, None, "10:15:28 inverter  battery_v=53.06"]
    assert shown.table()[2:4] == [
        "inverter  Voltronic MAX-8000        online, 1 s ago",
        "  Battery voltage          53.06 V",
    ]
    shown.take("pump/state", {"time": STATE["time"], "kind": "sensor", "flow_hz": 4})
    assert not any("pump" in line for line in shown.table())


def test_the_line_of_a_component_is_told_from_that_of_a_device_of_its_name() -> None:
    shown = Shown()
    assert shown.take("bus/opendtu/status", {"state": "online"}) == "10:15:30 bus/opendtu  online"
    assert shown.take("opendtu/availability", b"online") == "10:15:30 opendtu  online"


def test_an_event_is_a_line() -> None:
    body = {"time": STATE["time"], "kind": "event", "event": "lost", "text": "a day is lost"}
    assert Shown().take("bus/axpert/event", body) == "10:15:30 bus/axpert  a day is lost"
    assert Shown("pump").take("bus/axpert/event", body) is None


def test_the_same_name_on_another_site_is_told_apart() -> None:
    shown = Shown().online()
    payload = json.dumps(STATE).encode()
    line = shown.board.take(Message("heliobus/hut/inverter/state", payload, retained=True), NOW_MS)
    assert line is not None
    assert line.startswith("10:15:28 hut/inverter  mode=battery")
    assert [line.split()[0] for line in shown.table() if "ago" in line] == [
        *("inverter", "hut/inverter", "axpert"),
    ]


@pytest.mark.parametrize("leaf", ["state", "info", "availability"])
def test_an_empty_payload_clears(leaf: str) -> None:
    shown = Shown()
    shown.take("inverter/state", {**STATE, "bridge": None})
    shown.take("inverter/info", INFO)
    shown.take("inverter/availability", b"online")
    for cleared in ("availability", "state", "info"):
        assert shown.take(f"inverter/{cleared}", b"") is None
        assert "inverter" in shown.table()[2] or cleared == "info"
    assert shown.table()[2:] == ["waiting for the first sample ...", ""]
    assert shown.take(f"inverter/{leaf}", b"") is None
    shown.take("bus/axpert/status", STATUS)
    assert shown.take("bus/axpert/status", b"") is None
    assert "axpert" not in shown.table()[-1]


@pytest.mark.parametrize(
    ("leaf", "payload", "line"),
    [
        ("pump/state", b"{", "not JSON: Expecting property name"),
        ("pump/state", b"[]", "found list, expected a JSON object"),
        ("pump/state", b'{"kind":"sensor"}', "time: found None"),
        ("pump/availability", b"maybe", "found 'maybe', expected online or offline"),
        ("pump/info", b"{}", "info: "),
        ("bus/axpert/status", b'{"state":"tired"}', "status: "),
        ("bus/axpert/status", b'{"state":"online","stored":"x"}', "status: "),
        ("bus/axpert/event", b"\xff", "not JSON"),
    ],
)
def test_a_malformed_message_is_one_line_and_stands_below_the_table(
    leaf: str, payload: bytes, line: str
) -> None:
    shown = Shown()
    said = shown.take(leaf, payload)
    assert said is not None
    assert said.startswith(f"10:15:30 heliobus/farm/{leaf}: {line}")
    assert shown.table()[-1].startswith(f"1 message refused: heliobus/farm/{leaf}: {line}"[:80])
    shown.take(leaf, payload)
    assert shown.table()[-1].startswith("2 messages refused: ")


def test_a_bad_value_costs_itself_only() -> None:
    line = Shown().online(pv_w="lots").lines[-1]
    assert line is not None
    assert "  battery_v=53.06  " in line
    assert "  (pv_w: found 'lots', expected a number" in line


def test_no_name_and_no_value_commands_the_terminal() -> None:
    shown = Shown().online(mode="\x1b[2J\nx\u202e")
    shown.board.take(Message("heliobus/farm/\x1b[31m/availability", b"online", retained=False), 0)
    shown.take("inverter/info", {**INFO, "maker": "\x9b5m"})
    text = "".join([*shown.table(), *(line or "" for line in shown.lines)])
    assert text.isprintable()
    assert "mode=?[2J?x?" in text
    assert "?[31m" in text


def test_topics_that_say_nothing_here_are_let_pass() -> None:
    shown = Shown()
    for leaf in (
        "inverter/set/homeassistant",
        "inverter/result",
        "bus/axpert/replay",
        "x",
        "a/b/c",
    ):
        assert shown.take(leaf, b"anything") is None
    assert shown.board.take(Message("zigbee2mqtt/x", b"1", retained=False), NOW_MS) is None
    assert len(shown.table()) == 4


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*STATE, *STATUS, *INFO, "error", "stored", "clock", "alarms"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(
    leaf=st.sampled_from(
        [
            *("inverter/state", "inverter/info", "inverter/availability"),
            *("bus/axpert/status", "bus/axpert/event"),
        ]
    ),
    base=st.sampled_from([STATE, INFO, STATUS, {}]),
    change=st.dictionaries(
        st.sampled_from([*STATE, *STATUS, *INFO, "error", "stored", "clock", "alarms", "lag_s"]),
        anything,
        max_size=3,
    ),
    noise=st.binary(max_size=10),
    width=st.integers(1, 200),
)
@example("inverter/state", STATE, {"pv_w": 10**400}, b"", 80)
@example("inverter/state", STATE, {"time": "0001-01-01T00:00:00+14:00"}, b"", 80)
@example("bus/axpert/status", STATUS, {"lag_s": 1e300}, b"", 80)
@example("bus/axpert/status", STATUS, {"time": "9999-99-99T99:99:99.999Z"}, b"", 80)
def test_no_message_harms_the_table(
    leaf: str, base: dict[str, Any], change: dict[str, Any], noise: bytes, width: int
) -> None:
    shown = Shown().online()
    shown.take(leaf, {**base, **change})
    shown.take(leaf, noise)
    table = shown.table(width)
    assert all(len(line) <= width for line in table)
    assert all((line or "").isprintable() for line in [*table, *shown.lines])
