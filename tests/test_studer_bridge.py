"""The bridge to Studer installations, against a gateway that speaks bytes."""

import logging

import pytest

from bridges.studer import Studer
from bridges.studer.frame import READ, Question, Type, answer, find, request
from heliobus import contract
from heliobus.bridge import Gateway, Identity, Reporter
from heliobus.errors import ConfigError, FrameError, LinkError
from heliobus.exchange import Silence
from heliobus.settings import DeviceSettings
from tests.helpers import wait_until
from tests.studer_far import BMS, BSP, VT, XT, Far, Near, connected

CONTRACT = contract.load()


def house() -> Far:
    return Far({101: XT, 102: XT, 301: VT, 601: BMS})


def foreign(target: int, number: int, value: str) -> bytes:
    """Give the portal's question, and the answer to it."""
    sent = request(Question.info(target, number), source=2)
    return sent + answer(find(sent)[0][0], bytes.fromhex(value)) + b"\r\n"


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize("many", [True, False], ids=["many at once", "one by one"])
def test_all_that_is_behind_a_gateway_is_told_of(many: bool) -> None:  # noqa: FBT001
    far = house()
    far.many = many
    with connected(far) as near:
        values = near.poll()
        assert set(values) == {"", "xt_1", "xt_2", "vt_1", "bms"}
        assert values["xt_1"] == {
            "battery_v": 51.5, "battery_a": -20.0, "charge_state": "float", "charge_state_code": 4,
            "grid_v": 231.0, "grid_connected": False, "output_v": 230.5, "mode": "inverting",
            "mode_code": 1, "switched_on": True, "output_w": 1000.0, "grid_w": 0.0,
        }  # fmt: skip
        assert values["vt_1"] == {
            "battery_v": 51.6, "battery_a": 40.0, "pv_v": 120.5, "pv_a": 17.5, "pv_w": 2375.0,
            "mode": "charging", "mode_code": 9, "charge_state": "absorption",
            "charge_state_code": 1,
        }  # fmt: skip
        assert values["bms"] == {
            "battery_v": 51.4, "battery_a": 20.0, "soc_percent": 88.0, "battery_w": 1028.0
        }  # fmt: skip
        assert values[""] == {
            "message_pending": False, "sd_card_present": True, "sd_card_full": False
        }  # fmt: skip
        assert near.poll("slow")["vt_1"] == {"yield_today_kwh": 7.5, "yield_kwh": 12500.0}
        assert near.poll("settings")["xt_1"] == {"charge_limit_a": 60.0}
        kinds = {name: part.kind for name, part in near.bridge.parts.items()}
        assert kinds == {
            "xt_1": "inverter",
            "xt_2": "inverter",
            "vt_1": "charger",
            "bms": "battery",
        }
        for part, found in values.items():
            kind = kinds.get(part, "gateway")
            assert CONTRACT.strict(kind, found) == (found, {})


def test_it_is_a_gateway_that_reports() -> None:
    bridge = Studer(DeviceSettings("xcom", 2.0, "tcp://192.0.2.9:4001", {}))
    assert isinstance(bridge, Gateway)
    assert isinstance(bridge, Reporter)
    assert bridge.kind == "gateway"
    assert [(group.name, group.every_s) for group in bridge.groups] == [
        ("fast", 2.0), ("slow", 60.0), ("settings", 600.0),
    ]  # fmt: skip


def test_devices_say_who_they_are() -> None:
    with connected(house()) as near:
        near.poll()
        near.poll("settings")
        parts = near.bridge.parts
        assert parts["xt_1"].identity == Identity(
            "Studer Innotec", "Xtender XTM", "12345678", "1.74.4"
        )
        assert parts["vt_1"].identity == Identity("Studer Innotec", "VarioTrack VT-65")
        assert parts["bms"].identity == Identity("Pylontech")
        assert near.bridge.identity == Identity(
            "Studer Innotec", "Xcom-LAN", "000102030405060708090a0b0c0d0e0f"
        )


def test_many_infos_cost_few_questions() -> None:
    far = house()
    with connected(far) as near:
        near.poll()
        far.asked.clear()
        near.poll()
        assert far.count(Type.MULTI_INFO) == len(far.asked) == 2  # 31 infos
        assert max(len(frame.question.items) for frame in far.asked) == 24


def test_a_battery_monitor_is_told_from_a_battery_behind_an_xcom_can() -> None:
    with connected(Far({101: XT, 601: BSP})) as near:
        values = near.poll()
        assert set(values) == {"", "xt_1", "bsp"}
        assert "time_to_empty_min" not in near.poll("slow").get("bsp", {})
        near.poll("settings")
        assert near.bridge.parts["bsp"].identity.model == "BSP"


def test_a_battery_monitor_may_also_give_no_number_for_the_version() -> None:
    with connected(Far({101: XT, 601: {**BSP, 7054: None}})) as near:
        assert set(near.poll()) == {"", "xt_1", "bsp"}


def test_the_search_ends_at_the_first_address_without_a_device() -> None:
    far = Far({101: XT, 103: XT})
    with connected(far) as near:
        assert set(near.poll()) == {"", "xt_1"}
        sought = [frame.target for frame in far.asked if frame.object_type == Type.INFO]
        assert sought == [101, 102, 301, 701, 601, 601]


def test_a_gateway_may_refuse_in_its_own_name() -> None:
    far = house()
    far.own_name = True
    with connected(far) as near:
        assert set(near.poll()) == {"", "xt_1", "xt_2", "vt_1", "bms"}
        far.many = False
        near.bridge.forget()
        far.devices.pop(101)
        far.devices.pop(102)
        assert set(near.poll()) == {"", "vt_1", "bms"}


def test_a_gateway_may_say_nothing_of_what_is_not_there() -> None:
    far = Far({101: XT, 601: BMS})
    far.mute = {102, 301, 701}
    with connected(far, timeout=0.1) as near:
        assert set(near.poll()) == {"", "xt_1", "bms"}
        far.asked.clear()
        near.poll("settings")
        assert not {frame.target for frame in far.asked} & far.mute


def test_what_its_owner_has_named_is_looked_for_at_each_slow_turn() -> None:
    """Its first answers may have been lost."""
    far = Far({101: XT, 301: VT})
    far.mute = {301}
    with connected(far, timeout=0.1, parts={"vt_1": "panels"}) as near:
        assert set(near.poll()) == {"", "xt_1"}
        far.asked.clear()
        near.poll("slow")
        sought = [frame.target for frame in far.asked if frame.object_type == Type.INFO]
        assert sought == [301]
        far.mute = set()
        near.poll("slow")
        assert set(near.poll()) == {"", "xt_1", "vt_1"}


def test_what_was_there_before_is_looked_for_at_each_slow_turn() -> None:
    far = Far({101: XT, 102: XT})
    with connected(far, timeout=0.1) as near:
        assert set(near.poll()) == {"", "xt_1", "xt_2"}
        near.bridge.forget()
        gone = far.devices.pop(102)
        assert set(near.poll()) == {"", "xt_1"}
        far.devices[102] = gone
        near.poll("slow")
        assert set(near.poll()) == {"", "xt_1", "xt_2"}


@pytest.mark.parametrize(
    ("link", "interface", "model"),
    [
        ("serial:///dev/x", "xcom-232i", "Xcom-232i"),
        ("serial:///dev/x", "xcom-lan-serial", "Xcom-LAN"),
        ("listen://0.0.0.0:4001", "xcom-232i", "Xcom-LAN"),
        ("socket://192.0.2.9:4001", "xcom-232i", "Xcom-LAN"),
        ("rfc2217://192.0.2.9:4001", "xcom-lan-serial", "Xcom-LAN"),
        ("rfc2217://192.0.2.9:4001", "xcom-232i", "Xcom-232i"),
    ],
)
def test_a_gateway_is_called_what_it_is(link: str, interface: str, model: str) -> None:
    bridge = Studer(DeviceSettings("xcom", 2.0, link, {"interface": interface}))
    assert bridge.identity.model == model


def test_what_was_added_is_found_later() -> None:
    far = Far({101: XT})
    with connected(far) as near:
        near.poll()
        far.devices[301] = dict(VT)
        near.poll("settings")
        assert "vt_1" in near.poll()
        assert near.bridge.parts["vt_1"].identity.model == "VarioTrack VT-65"


def test_a_gateway_without_devices_is_there_all_the_same() -> None:
    far = Far({})
    with connected(far) as near:
        assert set(near.poll()) == {""}
        far.devices[101] = dict(XT)
        assert set(near.poll()) == {"", "xt_1"}


def test_at_night_a_solar_charger_is_asleep() -> None:
    far = Far({301: {**VT, 11004: 0.0, 11016: 0}})
    with connected(far) as near:
        values = near.poll()["vt_1"]
        assert (values["mode"], values["pv_w"]) == ("asleep", 0.0)


def test_parts_have_the_names_of_their_owner() -> None:
    with connected(house(), parts={"xt_1": "left", "vs_1": "roof"}) as near:
        assert near.bridge.parts["vs_1"].kind == ""  # not seen yet
        near.poll()
        assert near.bridge.parts["xt_1"].name == "left"
        assert near.bridge.parts["xt_2"].name == ""


# ---------------------------------------------------------------------- what cannot work


def test_a_part_that_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="found 'xt_10', expected what can be behind a gateway"):
        Studer(DeviceSettings("xcom", 2.0, "tcp://192.0.2.9:1", {"parts": {"xt_10": "left"}}))


def test_a_link_has_one_gateway() -> None:
    one, two = (Studer(DeviceSettings(n, 2.0, "tcp://192.0.2.9:1", {})) for n in ("one", "two"))
    Studer.check_link("tcp://192.0.2.9:1", [one])
    with pytest.raises(ConfigError, match="found 2 entries, expected one"):
        Studer.check_link("tcp://192.0.2.9:1", [one, two])


@pytest.mark.parametrize(
    ("interface", "baud", "parity"), [("xcom-232i", 38400, "E"), ("xcom-lan-serial", 115200, "N")]
)
def test_the_interface_sets_speed_and_parity(
    interface: str, baud: int, parity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, str] = {}

    def note(_url: str, *, line: dict[str, str]) -> None:
        opened.update(line)

    monkeypatch.setattr("bridges.studer.open_link", note)
    bridge = Studer(DeviceSettings("x", 2.0, "serial:///dev/x", {"interface": interface}))
    Studer.open_link("serial:///dev/x", [bridge])
    assert (opened["baud"], opened["parity"]) == (str(baud), parity)


def test_a_serial_gateway_is_read_too() -> None:
    with connected(house(), pty=True) as near:
        assert near.poll()["xt_1"]["output_w"] == 1000.0


# ---------------------------------------------------------------------- whose answer it is


@pytest.mark.parametrize("many", [True, False], ids=["many at once", "one by one"])
def test_foreign_frames_and_noise_are_passed_over(many: bool) -> None:  # noqa: FBT001
    far = house()
    far.many = many
    far.before = b"\xff\x00" + foreign(102, 3000, "00005C42") + foreign(101, 3136, "0000C040")
    with connected(far) as near:
        values = near.poll()
        assert values["xt_1"]["battery_v"] == 51.5
        assert values["xt_1"]["output_w"] == 1000.0


@pytest.mark.parametrize("many", [True, False], ids=["many at once", "one by one"])
def test_a_late_answer_is_never_that_to_another_question(many: bool) -> None:  # noqa: FBT001
    far = Far({101: {**XT, 3136: 1.0}, 102: {**XT, 3136: 2.0}})
    far.many = many
    with connected(far, timeout=0.1) as near:
        near.poll()
        far.late = True
        for power_kw in (3.0, 4.0):
            far.devices[101][3136] = power_kw
            with pytest.raises(FrameError):
                near.poll()
        far.late = False
        far.devices[101][3136] = 5.0
        values = wait_until(lambda: _polled(near), "an answer again")
        assert values["xt_1"]["output_w"] == 5000.0
        assert values["xt_2"]["output_w"] == 2000.0


def _polled(near: Near) -> dict[str, dict[str, object]]:
    try:
        return {part: {**values} for part, values in near.poll().items()}
    except FrameError:
        return {}


# ---------------------------------------------------------------------- what a gateway cannot


def test_a_gateway_that_refuses_many_at_once_is_asked_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    far = house()
    far.many = False
    with caplog.at_level(logging.INFO), connected(far) as near:
        near.poll()
        near.poll()
        near.poll("slow")
    assert far.count(Type.MULTI_INFO) == 1
    assert "reading its values one by one" in caplog.text


def test_a_gateway_that_tells_many_at_once_in_another_shape_is_asked_one_by_one() -> None:
    far = house()
    far.odd = True
    with connected(far) as near:
        assert near.poll()["xt_1"]["output_w"] == 1000.0
        near.poll()
    assert far.count(Type.MULTI_INFO) == 1


def test_what_a_device_does_not_have_is_not_asked_for_again() -> None:
    far = Far({101: XT})
    far.many = False
    with connected(far) as near:
        near.poll("slow")
        far.asked.clear()
        near.poll("slow")
        assert [frame.object_id for frame in far.asked if frame.object_type == Type.INFO] == [3083]


def test_what_cannot_be_read_now_is_asked_for_again() -> None:
    far = Far({101: XT})
    far.many = False
    with connected(far) as near:
        far.failing = {3136}
        assert "output_w" not in near.poll()["xt_1"]
        far.failing = set()
        assert near.poll()["xt_1"]["output_w"] == 1000.0


def test_a_busy_gateway_is_asked_again() -> None:
    far = Far({101: XT})
    with connected(far) as near:
        near.poll()
        far.busy = 1
        assert near.poll()["xt_1"]["battery_v"] == 51.5
        far.busy = 10
        with pytest.raises(FrameError, match="GATEWAY_BUSY"):
            near.poll()
        far.busy = 0
        assert near.poll()["xt_1"]["battery_v"] == 51.5


@pytest.mark.parametrize("many", [True, False], ids=["many at once", "one by one"])
def test_a_device_that_is_gone_costs_the_others_nothing(many: bool) -> None:  # noqa: FBT001
    far = house()
    far.many = many
    with connected(far) as near:
        near.poll()
        gone = far.devices.pop(102)
        assert set(near.poll()) == {"", "xt_1", "vt_1", "bms"}
        far.devices[102] = gone
        assert set(near.poll()) == {"", "xt_1", "xt_2", "vt_1", "bms"}


def test_a_silent_device_costs_the_others_one_timeout() -> None:
    far = house()
    far.many = False
    with connected(far, timeout=0.1) as near:
        near.poll()
        far.mute = {11000}
        assert set(near.poll()) == {"", "xt_1", "xt_2", "bms"}


def test_a_silent_gateway_is_silent() -> None:
    far = house()
    far.silent = True
    hint = r"in 0\.1 s; is it on, and the cable right\? See 'No answer\?' in bridges/studer/README"
    with connected(far, timeout=0.1) as near, pytest.raises(Silence, match=hint):
        near.poll()


def test_a_code_that_is_none_costs_its_field() -> None:
    far = Far({101: {**XT, 3028: 1.5}})
    far.devices[101][3020] = 7
    with connected(far) as near:
        values = near.poll()["xt_1"]
        assert "mode" not in values
        assert "grid_connected" not in values
        assert values["battery_v"] == 51.5


# ---------------------------------------------------------------------- reading only


def test_only_reading_goes_over_the_wire() -> None:
    far = house()
    far.logs(10, 501, 1_700_000_000)
    with connected(far) as near:
        for many in (True, False):
            far.many = many
            near.bridge.forget()
            for group in ("fast", "slow", "settings", "fast"):
                near.poll(group)
    assert {(frame.service, frame.service_flags) for frame in far.asked} == {(READ, 0)}


def test_a_link_that_is_gone_is_a_link_error() -> None:
    with connected(house()) as near:
        near.poll()
        near.link.close()
        with pytest.raises(LinkError):
            near.poll()
