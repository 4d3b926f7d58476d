"""A gateway of OutBack: one device for each port of its HUB, and the totals of the house."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bridges.sunspec import SunSpec
from bridges.sunspec.codec import Value
from bridges.sunspec.simulator import simulator
from heliobus import contract
from heliobus.asking import Asking
from heliobus.bridge import Identity
from heliobus.bridging import BridgeComponent
from heliobus.settings import BridgeSettings, DeviceSettings
from heliobus.simulation import serve_tcp
from tests.bridge_site import OFFLINE, ONLINE, Site, running, told
from tests.helpers import BrokerProcess, further_vectors
from tests.sunspec_far import END, Far, block, common, connected

RECORDED = {vector["name"]: vector for vector in further_vectors("sunspec.json") or []}
needs_recording = pytest.mark.skipif(
    "mate3s_whole" not in RECORDED, reason="no further vectors (HELIOBUS_VECTORS)"
)

GATEWAY = block(64110, {"OutBack_SMTP_Email_Password": "geheim", "OutBack_Write_Password": "1234"})
SCALES = ("DC_Voltage", "AC_Current", "AC_Voltage", "AC_Frequency", "kWh")


def mate(*blocks: list[int], model: str = "MATE3S") -> Far:
    return Far(common("OutBack_Power", model), GATEWAY, *blocks, END, most=100)


def of(prefix: str, **values: Value) -> dict[str, Value]:
    scales: dict[str, Value] = {f"{prefix}_{name}_SF": 0 for name in SCALES}
    scales |= {f"{prefix}_DC_Voltage_SF": -1, f"{prefix}_kWh_SF": -1}
    return scales | {f"{prefix}_{name}": value for name, value in values.items()}


def fxr(port: int, **values: Value) -> list[int]:
    own: dict[str, Value] = {
        "Port_number": port,
        "Inverter_Operating_mode": 2,
        "AC_Input_Selection": 0,
        "AC_Input_State": 0,
        "Output_kW": 0.7,
        "Load_kW": 0.7,
        "Buy_kW": 0,
        "Sell_kW": 0,
        "Error_Flags": 0,
        "Warning_Flags": 0,
    }
    return block(64117, of("GS_Single", **{**own, **values}))


def charger(port: int, watts: int, kwh: float = 1.0) -> list[int]:
    return block(
        64111,
        {
            "CC_Port_number": port, "CC_Power_SF": 0, "CC_Watts": watts, "CC_Charger_State": 2,
            "CC_KWH_SF": -1, "CC_Todays_kWH": kwh, "CC_Lifetime_Max_Watts": 3072,
        },
    )  # fmt: skip


def shunt(port: int, **values: Value) -> list[int]:
    scales: dict[str, Value] = {
        "FN_DC_Voltage_SF": -1, "FN_DC_Current_SF": -1, "FN_kW_SF": -2, "FN_kWh_SF": -2,
    }  # fmt: skip
    own = {f"FN_{name}": value for name, value in values.items()}
    return block(64118, {**scales, "FN_Port_Number": port, **own})


def some(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def reads_within(far: Far, held: range) -> list[tuple[int, int]]:
    return [(at, n) for _, at, n in far.asked if at + n > held.start and at < held.stop]


# ---------------------------------------------------------------------- a real one


def recorded(name: str) -> Far:
    far = Far(most=100)
    far.words = RECORDED[name]["registers"]
    return far


@needs_recording
def test_a_recorded_mate3s_is_its_inverters_chargers_and_battery_monitor() -> None:
    with connected(recorded("mate3s_whole")) as near:
        found = near.poll()
        assert near.kinds == {
            "": "site",
            "inverter_1": "inverter",
            "inverter_2": "inverter",
            "charger_3": "charger",
            "charger_4": "charger",
            "battery_5": "battery",
        }
        assert found[""] == {
            "pv_w": 678,
            "yield_today_kwh": 0.2,
            "yield_kwh": 12339,
            "output_w": 700,
            "output_a": 3,
            "charger_w": 0,
            "charger_a": 0,
            "load_w": 700,
            "ac_coupled_w": 0,
            "grid_w": 0,
            "grid_import_today_kwh": 4.3,
            "grid_export_today_kwh": 0,
            "battery_a": -3.7,
            "battery_w": -180,
            "battery_v": 50.6,
            "battery_c": 12,
            "soc_percent": 96,
            "alarms": [],
        }
        assert found["inverter_1"] == {
            "mode": "inverting",
            "mode_code": 2,
            "fault_code": 0,
            "warning_code": 0,
            "alarms": [],
            "battery_v": 50.8,
            "battery_c": 12,
            "charge_target_v": 49.2,
            "aux_on": True,
            "transformer_01_c": 40,
            "capacitor_01_c": 33,
            "mosfet_01_c": 39,
            "grid_connected": False,
            "grid_hz": 50,
            "grid_v": 214,
            "grid_a": 0,
            "grid_w": 0,
            "generator_v": 0,
            "output_v": 236,
            "output_a": 3,
            "output_w": 700,
            "load_w": 700,
            "charger_a": 0,
            "charger_w": 0,
            "ac_coupled_w": 0,
            "output_today_kwh": 0.8,
            "charger_today_kwh": 0,
            "grid_import_today_kwh": 2,
            "grid_export_today_kwh": 0,
            "generator_today_kwh": 0,
        }
        assert found["inverter_2"]["mode"] == "off"
        assert found["charger_3"] == {
            "charge_state": "bulk",
            "charge_state_code": 2,
            "battery_v": 50.7,
            "battery_a": 7.9,
            "battery_w": 400,
            "pv_v": 87.2,
            "pv_a": 4,
            "pv_w": 400,
            "pv_open_circuit_v": 110.1,
            "pv_max_today_v": 110,
            "pv_max_v": 138.4,
            "battery_min_today_v": 49.5,
            "battery_max_today_v": 51.9,
            "battery_max_v": 64.4,
            "yield_today_kwh": 0.1,
            "yield_kwh": 6109,
            "charged_today_ah": 3,
            "charged_ah": 109600,
        }
        assert some(
            found["battery_5"], "battery_v", "battery_a", "battery_w", "soc_percent",
            "since_full_h",
            "shunt_01_a", "shunt_02_a", "shunt_03_a", "battery_charge_w", "battery_discharge_w",
            "net_today_kwh", "battery_min_today_v", "discharged_ah",
        ) == {
            "battery_v": 50.6,
            "battery_a": -3.7,
            "battery_w": -180,
            "soc_percent": 96,
            "since_full_h": 16.8,
            "shunt_01_a": 12.8,
            "shunt_02_a": -16.6,
            "shunt_03_a": 0.1,
            "battery_charge_w": 660,
            "battery_discharge_w": 840,
            "net_today_kwh": -0.61,
            "battery_min_today_v": 49.8,
            "discharged_ah": 200_000,
        }  # fmt: skip


@needs_recording
def test_a_recorded_mate3s_tells_settings_and_names() -> None:
    with connected(recorded("mate3s_whole")) as near:
        near.poll()
        slow = near.poll("slow")
        assert slow["inverter_1"] == {
            "battery_absorption_v": 57.6,
            "absorption_min": 120,
            "battery_float_v": 54.4,
            "float_min": 60,
            "equalization_v": 63.6,
            "equalization_time_min": 60,
            "battery_under_v": 46.8,
            "output_rated_v": 230,
            "grid_limit_a": 30,
            "grid_charge_limit_a": 7.5,
            "sell_v": 52.8,
            "grid_feed_enabled": True,
            "charge_enabled": False,
        }
        assert slow["battery_5"] == {"capacity_ah": 380, "charge_efficiency_percent": 95}
        assert near.bridge.identity.model == "MATE3S"
        assert near.identity("inverter_1") == Identity(
            "OutBack Power", "VFXR3048E", "SPARE FXR", "1.6.15"
        )
        assert near.identity("charger_4").model == "FM80-150VDC"


@needs_recording
def test_of_a_recorded_mate3s_no_password_is_read_and_no_request_is_too_long() -> None:
    far = recorded("mate3s_whole")
    with connected(far) as near:
        for group in ("fast", "slow", "layout"):
            near.poll(group)
    system = range(40071, 40491)  # model 64110 without its header
    assert [
        start for _, start, n in far.asked if start + n > system[0] and start <= system[-1]
    ] == []
    assert max(count for _, _, count in far.asked) <= 100


@needs_recording
def test_an_axs_port_with_nothing_attached_is_a_house_without_values() -> None:
    with connected(recorded("axs_port_nothing_attached")) as near:
        assert near.poll() == {"": {"alarms": []}}
        assert near.kinds == {"": "site"}
        assert near.bridge.identity.model == "AXS_PORT"


# ---------------------------------------------------------------------- built ones


def test_a_password_is_never_asked_for() -> None:
    far = mate(fxr(1), charger(3, 400))
    with connected(far) as near:
        for group in ("fast", "slow", "layout"):
            near.poll(group)
    begin = 40002 + 68 + 2
    held = range(begin, begin + len(GATEWAY) - 2)
    assert reads_within(far, held) == []


def test_a_model_that_has_grown_is_read_in_pieces_that_the_gateway_can_give() -> None:
    values: dict[str, Value] = {"GSconfig_Port_number": 1, "GSconfig_Model_Number": "FXR"}
    far = mate(fxr(1), block(64116, values, length=120))
    with connected(far) as near:
        near.poll()
        near.poll("slow")
        assert near.identity("inverter_1").model == "FXR"
    assert max(count for _, _, count in far.asked) <= 100


@pytest.mark.parametrize("number", [101, 102, 103])
def test_the_gateway_s_own_inverter_model_is_ignored(number: int) -> None:
    scales: dict[str, Value] = {"W_SF": -2, "A_SF": 0}
    own = block(number, {**scales, "W": 0.7, "St": 7, "Evt1": 4})
    with connected(mate(own, fxr(1, Output_kW=0.7))) as near:
        found = near.poll()
        assert set(found) == {"", "inverter_1"}
        assert (found[""]["output_w"], found[""]["alarms"]) == (700, [])


def test_a_radian_gives_each_phase_and_their_sums() -> None:
    radian = block(
        64115,
        of(
            "GS_Split", Port_number=2, Inverter_Operating_mode=8, AC_Input_Selection=0,
            AC_Input_State=1, L1_Output_AC_Voltage=121, L2_Output_AC_Voltage=119,
            L1_Grid_Input_AC_Voltage=120, L2_Grid_Input_AC_Voltage=122,
            L1_Inverter_Output_Current=5, L2_Inverter_Output_Current=8,
            L1_Inverter_Charge_Current=1, L2_Inverter_Charge_Current=2,
            L1_Inverter_Buy_Current=4, L2_Inverter_Buy_Current=3,
            L1_Inverter_Sell_Current=0, L2_Inverter_Sell_Current=1,
            L1_Output_kWh=2.5, L2_Output_kWh=3.1, AC1_L1_Buy_kWh=1, AC1_L2_Buy_kWh=0.5,
            Output_kW=1.5, Buy_kW=0.8, Sell_kW=0.1, Load_kW=2.2, Charge_kW=0.3,
        ),
    )  # fmt: skip
    with connected(mate(radian)) as near:
        own = near.poll()["inverter_2"]
        assert own == {
            "mode": "support",
            "mode_code": 8,
            "input_source": "grid",
            "grid_connected": True,
            "output_w": 1500,
            "load_w": 2200,
            "charger_w": 300,
            "grid_w": 700,
            "grid_v": 242,
            "grid_l1_v": 120,
            "grid_l2_v": 122,
            "grid_a": 6,
            "grid_l1_a": 4,
            "grid_l2_a": 2,
            "output_v": 240,
            "output_l1_v": 121,
            "output_l2_v": 119,
            "output_a": 13,
            "output_l1_a": 5,
            "output_l2_a": 8,
            "output_l1_today_kwh": 2.5,
            "output_l2_today_kwh": 3.1,
            "charger_a": 3,
            "output_today_kwh": 5.6,
            "grid_import_today_kwh": 1.5,
        }


def test_an_fx_is_an_inverter_as_long_as_its_model_is() -> None:
    fx = block(
        64113,
        of(
            "FX", Port_number=1, Inverter_Operating_Mode=2, Inverter_Output_Current=2,
            Output_AC_Voltage=230, Output_kW=0.4, Buy_kW=0.3, Sell_kW=0.1, Battery_Voltage=25.2,
            Error_Flags=1, Warning_Flags=0,
        ),
    )  # fmt: skip
    with connected(mate(fx)) as near:
        assert near.poll()["inverter_1"] == {
            "mode": "inverting",
            "mode_code": 2,
            "fault_code": 1,
            "warning_code": 0,
            "alarms": ["low_vac"],
            "battery_v": 25.2,
            "grid_w": 200,
            "output_v": 230,
            "output_a": 2,
            "output_w": 400,
        }


def test_what_comes_from_a_generator_is_not_from_the_grid() -> None:
    running = fxr(
        1, AC_Input_Selection=1, AC_Input_State=1, Buy_kW=2.5, AC_Input_Frequency=60,
        Inverter_Operating_mode=3,
    )  # fmt: skip
    with connected(mate(running)) as near:
        found = near.poll()
        own = found["inverter_1"]
        assert (own["input_source"], own["generator_w"], own["generator_hz"]) == (
            "generator",
            2500,
            60,
        )
        assert found[""]["generator_w"] == 2500
        assert not {"grid_w", "grid_hz", "grid_a"} & own.keys()


def test_a_fault_is_told_by_the_device_and_by_the_house() -> None:
    with connected(mate(fxr(1), fxr(2, Error_Flags=0b10_0000, Warning_Flags=0b100))) as near:
        found = near.poll()
        assert found["inverter_1"]["alarms"] == []
        assert found["inverter_2"]["alarms"] == ["high_vdc", "ac_input_voltage_too_low"]
        assert found[""]["alarms"] == [
            "inverter_2: ac_input_voltage_too_low",
            "inverter_2: high_vdc",
        ]


def test_a_charger_s_fault_is_told_by_the_house_from_its_settings() -> None:
    settings = block(64112, {"CCconfig_Port_number": 3, "CCconfig_Faults": 0b100_0000})
    with connected(mate(charger(3, 400), settings)) as near:
        assert near.poll()[""]["alarms"] == []
        assert near.poll("slow")["charger_3"]["alarms"] == ["over_temp"]
        assert near.poll()[""]["alarms"] == ["charger_3: over_temp"]


def test_sums_wait_for_each_device_and_the_others_do_not() -> None:
    far = mate(fxr(1), charger(3, 400), charger(4, 278), shunt(5, Battery_Current=-3.7))
    with connected(far) as near:
        assert some(near.poll()[""], "pv_w", "output_w", "battery_a") == {
            "pv_w": 678,
            "output_w": 700,
            "battery_a": -3.7,
        }
        last = 40002 + 68 + len(GATEWAY) + len(fxr(1)) + len(charger(3, 0)) + 10
        far.refused[last] = 4
        found = near.poll()
        assert "charger_4" not in found
        assert found["charger_3"]["pv_w"] == 400
        assert some(found[""], "pv_w", "output_w", "battery_a") == {
            "output_w": 700,
            "battery_a": -3.7,
        }


def test_without_a_battery_monitor_the_inverters_say_the_voltage() -> None:
    with connected(mate(fxr(1, Battery_Voltage=50.8), charger(3, 400))) as near:
        own = near.poll()[""]
        assert own["battery_v"] == 50.8
        assert not {"battery_w", "soc_percent"} & own.keys()


def test_two_devices_at_one_port_are_told_apart() -> None:
    named = ({"GSconfig_Port_number": 1, "GSconfig_Model_Number": name} for name in ("A", "B"))
    first, second = (block(64116, dict(one)) for one in named)
    far = mate(fxr(1, Output_kW=0.3), first, fxr(1, Output_kW=0.5), second)
    with connected(far) as near:
        found = near.poll()
        near.poll("slow")
        assert found["inverter_1"]["output_w"] == 300
        assert found["inverter_1_2"]["output_w"] == 500
        assert near.identity("inverter_1").model == "A"
        assert near.identity("inverter_1_2").model == "B"


def test_settings_are_of_the_device_at_their_port_wherever_they_stand() -> None:
    first, second = (
        block(64116, {"GSconfig_Port_number": port, "GSconfig_Model_Number": f"at {port}"})
        for port in (1, 2)
    )
    with connected(mate(fxr(1), fxr(2), second, first)) as near:
        near.poll()
        near.poll("slow")
        assert near.identity("inverter_1").model == "at 1"
        assert near.identity("inverter_2").model == "at 2"


def test_a_mate_is_asked_once_a_second_at_most(caplog: pytest.LogCaptureFixture) -> None:
    with connected(mate(fxr(1))) as near:
        bridge = SunSpec(DeviceSettings("mate", 0.2, near.settings.link, {}))
        assert bridge.groups[0].every_s == 0.2  # it may be any device
        bridge.poll(near.master, "fast")
        assert bridge.groups[0].every_s == 1
        bridge.forget()
        bridge.poll(near.master, "fast")
    assert caplog.text.count("mate: asked every 1 s at most: a MATE3 may hang") == 1


def test_the_highest_power_of_a_charger_is_not_believed() -> None:
    with connected(mate(charger(3, 400))) as near:
        assert 3072 not in near.poll()["charger_3"].values()


def test_a_port_that_is_plugged_in_later_is_found() -> None:
    far = mate(fxr(1))
    with connected(far) as near:
        near.poll()
        near.poll("layout")
        far.put(common("OutBack_Power", "MATE3S"), GATEWAY, fxr(1), charger(3, 400), END)
        near.poll("layout")
        assert near.poll()["charger_3"]["pv_w"] == 400


def test_a_port_that_is_plugged_in_before_others_makes_no_device_another() -> None:
    far = mate(fxr(2, Output_kW=0.2), fxr(3, Output_kW=0.3))
    with connected(far) as near:
        near.poll()
        all_three = (fxr(port, Output_kW=port / 10) for port in (1, 2, 3))
        far.put(common("OutBack_Power", "MATE3S"), GATEWAY, *all_three, END)
        found = near.poll()
        # Where 2 and 3 were, there are now 1 and 2, as long as those and of the same model.
        assert {part: own["output_w"] for part, own in found.items()} == {
            "": 600,
            "inverter_1": 100,
            "inverter_2": 200,
            "inverter_3": 300,
        }


# ---------------------------------------------------------------------- on the bus


@pytest.mark.broker
def test_a_mate3s_on_the_bus(mosquitto: BrokerProcess, tmp_path: Path) -> None:
    site = Site(mosquitto, tmp_path)
    with serve_tcp(simulator("mate3s", tcp=True)) as served:
        device = DeviceSettings("mate", 0.2, served.url, {"parts": {"inverter_1": "radian_left"}})
        bridge = BridgeSettings("outback", "sunspec", (device,))
        source = Asking(bridge, SunSpec)
        component = BridgeComponent(site.settings("outback"), bridge, source, contract.load())
        with running(component):
            names = ("mate", "radian_left", "mate_inverter_2", "mate_charger_4", "mate_battery_6")
            for name in names:
                told(site, f"{name}/availability", ONLINE)
            found = told(site, "radian_left/info", b"GS8048A", b'"via":"mate"')
            assert json.loads(found["mate/info"])["kind"] == "site"
            whole = told(site, "mate/state", b"pv_w")
            values = json.loads(whole["mate/state"])
            assert {"pv_w", "load_w", "battery_w", "soc_percent", "output_w"} <= values.keys()
            served.stop()
            for name in names:
                told(site, f"{name}/availability", OFFLINE)
