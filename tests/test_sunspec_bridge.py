"""The bridge to SunSpec devices: what becomes of their models, and of their oddities."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import pytest

from bridges.sunspec import SunSpec, mapping, models
from bridges.sunspec.codec import Group, Value
from bridges.sunspec.mapping import Mapped, Rule
from bridges.sunspec.resting import is_resting
from heliobus import contract
from heliobus.bridge import Gateway, Identity, Sleeper
from heliobus.errors import FrameError
from heliobus.exchange import Silence
from heliobus.line import Faults
from heliobus.modbus import Refused
from heliobus.sample import Values
from heliobus.settings import DeviceSettings
from tests.helpers import further_vectors
from tests.modbus_far import far_tcp, mbap
from tests.sunspec_far import END, Far, Near, block, common, connected

CONTRACT = contract.load()

# Scale factors of an inverter.
SCALES: dict[str, Value] = {
    "A_SF": -2, "V_SF": -1, "W_SF": 0, "Hz_SF": -2, "VA_SF": 0, "VAr_SF": 0, "PF_SF": -2,
    "WH_SF": 0, "DCA_SF": -2, "DCV_SF": -1, "DCW_SF": 0, "Tmp_SF": 0,
}  # fmt: skip


def inverter(number: int = 103, **values: Value) -> list[int]:
    return block(number, {**SCALES, "St": 4, "W": 1500, "WH": 12_345_678, **values})


def meter(number: int = 203, **values: Value) -> list[int]:
    scales: dict[str, Value] = {
        "A_SF": -1, "V_SF": -1, "W_SF": 0, "Hz_SF": -1, "PF_SF": -2, "TotWh_SF": 0, "VAR_SF": 0,
    }  # fmt: skip
    return block(number, {**scales, "W": 640, **values})


def battery(**values: Value) -> list[int]:
    scales: dict[str, Value] = {"A_SF": -1, "W_SF": 0, "V_SF": -1, "SoC_SF": 0}
    return block(802, {**scales, **values})


# ---------------------------------------------------------------------- one device


def test_an_inverter_gives_its_values_at_the_first_poll() -> None:
    far = Far(
        common("Acme", "Sun 5", "S77"),
        inverter(
            A=6.5, AphA=2.1, PhVphA=230.4, PPVphAB=399.9, Hz=49.98, VA=1510, VAr=-40, PF=-99.5,
            DCV=410.5, DCW=1550, TmpSnk=41, StVnd=4, Evt1=0b1000_0001,
        ),
        END,
    )  # fmt: skip
    with connected(far) as near:
        assert near.bridge.kind == ""
        assert near.poll()[""] == {
            "mode": "running",
            "mode_code": 4,
            "vendor_state_code": 4,
            "output_w": 1500,
            "output_a": 6.5,
            "output_va": 1510,
            "output_var": -40,
            "output_hz": 49.98,
            "power_factor": -0.995,
            "output_l1_a": 2.1,
            "output_l1_v": 230.4,
            "output_l12_v": 399.9,
            "yield_kwh": 12345.678,
            "pv_v": 410.5,
            "pv_w": 1550,
            "heatsink_c": 41,
            "alarms": ["ground_fault", "over_temp"],
        }
        assert near.kinds == {"": "inverter"}
        assert near.bridge.identity == Identity("Acme", "Sun 5", "S77", "1.2")


def test_the_bridge_is_a_gateway_and_sleeps() -> None:
    with connected(Far(common(), inverter(), END)) as near:
        assert isinstance(near.bridge, Gateway)
        assert isinstance(near.bridge, Sleeper)


def test_a_code_that_nobody_knows_is_unknown_and_keeps_its_number() -> None:
    with connected(Far(common(), inverter(St=77), END)) as near:
        own = near.poll()[""]
        assert (own["mode"], own["mode_code"]) == ("unknown", 77)


def test_a_single_phase_is_the_output() -> None:
    with connected(Far(common(), inverter(101, PhVphA=230.4), END)) as near:
        own = near.poll()[""]
        assert own["output_v"] == 230.4
        assert "output_l1_v" not in own


@pytest.mark.parametrize(
    ("said", "meant"), [(-99.87, -0.9987), (100.0, 1.0), (0.99, 0.99), (-1.0, -1.0), (64.2, 0.642)]
)
def test_a_power_factor_is_a_share_whichever_way_it_is_said(said: float, meant: float) -> None:
    with connected(Far(common(), inverter(PF=said), END)) as near:
        assert near.poll()[""]["power_factor"] == meant


def test_a_scale_factor_counts_with_the_value_it_came_with() -> None:
    far = Far(common("Fronius"), inverter(DCW_SF=0, DCW=6120), END)
    with connected(far) as near:
        assert near.poll()[""]["pv_w"] == 6120
        far.put(common("Fronius"), inverter(DCW_SF=-2, DCW=61.03), END)
        assert near.poll()[""]["pv_w"] == 61.03


def test_a_scale_factor_that_is_not_implemented_leaves_its_value_unknown() -> None:
    words = inverter(W=1500)
    words[15] = 0x8000
    with connected(Far(common(), words, END)) as near:
        own = near.poll()[""]
        assert "output_w" not in own
        assert own["yield_kwh"] == 12345.678


def test_what_is_not_told_at_night_is_absent() -> None:
    far = Far(common(), inverter(St=2, W=0), END)
    with connected(far) as near:
        assert near.poll()[""] == {
            "mode": "asleep",
            "mode_code": 2,
            "output_w": 0,
            "yield_kwh": 12345.678,
        }


def test_a_float_that_is_no_number_is_absent() -> None:
    far = Far(common(), block(113, {"W": math.nan, "Hz": 50.01, "St": 4}), END)
    with connected(far) as near:
        assert near.poll()[""] == {"mode": "running", "mode_code": 4, "output_hz": 50.01}


def test_power_over_twice_the_rating_is_rubbish() -> None:
    nameplate = block(120, {"WRtg": 5000, "WRtg_SF": 0})
    far = Far(common(), inverter(W=32_000, DCW=9000), nameplate, END)
    with connected(far) as near:
        assert near.poll()[""]["output_w"] == 32_000  # the rating is not known yet
        assert near.poll("slow")[""] == {"output_rated_w": 5000}
        own = near.poll()[""]
        assert "output_w" not in own
        assert own["pv_w"] == 9000
        for watts, stays in ((10_000, True), (10_001, False), (-10_001, False)):
            far.put(common(), inverter(W=watts), nameplate, END)
            assert ("output_w" in near.poll()[""]) is stays


def test_settings_are_asked_apart() -> None:
    far = Far(
        common(),
        inverter(),
        block(123, {"WMaxLimPct": 70, "WMaxLimPct_SF": 0, "WMaxLim_Ena": 1}),
        END,
    )
    with connected(far) as near:
        assert "power_limit_percent" not in near.poll()[""]
        assert near.poll("slow")[""] == {"power_limit_percent": 70}


def test_a_limit_that_is_off_is_none() -> None:
    controls = block(123, {"WMaxLimPct": 70, "WMaxLimPct_SF": 0, "WMaxLim_Ena": 0})
    with connected(Far(common(), inverter(), controls, END)) as near:
        near.poll()
        assert near.poll("slow")[""] == {}


# ---------------------------------------------------------------------- strings and batteries


def strings(*modules: dict[str, Value]) -> list[int]:
    values: dict[str, Value] = {"DCA_SF": -2, "DCV_SF": -1, "DCW_SF": 0, "DCWH_SF": 0}
    for at, module in enumerate(modules):
        values |= {f"module[{at}].{name}": value for name, value in module.items()}
    return block(160, {**values, "N": len(modules)}, length=8 + 20 * len(modules))


def test_strings_are_shown_and_summed_and_unused_ones_are_not() -> None:
    far = Far(
        common("Fronius"),
        inverter(DCW=3000),
        strings(
            {"IDStr": "String 1", "DCV": 420, "DCA": 4.5, "DCW": 1900, "DCWH": 7_000_000},
            {"IDStr": "String 2", "DCV": 380, "DCW": 1000},
            {"IDStr": "Not supported"},
        ),
        END,
    )
    with connected(far) as near:
        own = near.poll()[""]
        assert {name: value for name, value in own.items() if name.startswith("pv_")} == {
            "pv_01_v": 420,
            "pv_01_a": 4.5,
            "pv_01_w": 1900,
            "pv_01_yield_kwh": 7000,
            "pv_02_v": 380,
            "pv_02_w": 1000,
            "pv_w": 2900,
        }


def test_the_battery_of_a_fronius_is_not_taken_for_a_string() -> None:
    far = Far(
        common("Fronius"),
        inverter(DCW=500),
        block(124, {"ChaState": 63, "ChaState_SF": 0, "ChaSt": 4}),
        strings(
            {"IDStr": "MPPT 1", "DCW": 2000},
            {"IDStr": "MPPT 2", "DCW": 500},
            {"IDStr": "StCha 3", "DCW": 1700, "DCV": 405.5},
            {"IDStr": "StDisCha 4", "DCW": 0},
        ),
        END,
    )
    with connected(far) as near:
        own = near.poll()[""]
        assert (own["pv_w"], own["battery_w"], own["battery_v"]) == (2500, 1700, 405.5)
        assert (own["soc_percent"], own["charging"], own["discharging"]) == (63, True, False)
        assert own["output_kwh"] == 12345.678
        assert not {"pv_03_w", "yield_kwh"} & own.keys()


def test_the_dc_power_of_a_hybrid_is_not_its_pv_power() -> None:
    far = Far(common(), inverter(DCW=3000), battery(A=1, W=100), END)
    with connected(far) as near:
        assert "pv_w" not in near.poll()[""]


@pytest.mark.parametrize(
    ("state", "raw_w", "battery_w"),
    [(3, -2335, -2335), (3, 2335, -2335), (4, -2335, 2335), (4, 2335, 2335), (6, 2335, -2335)],
    ids=["discharging", "discharging, turned", "charging, turned", "charging", "holding"],
)
def test_a_battery_s_power_is_positive_while_it_charges(
    state: int, raw_w: int, battery_w: int
) -> None:
    with connected(Far(common(), battery(ChaSt=state, W=raw_w, A=raw_w / 50), END)) as near:
        own = near.poll()[""]
        assert near.kinds == {"": "battery"}
        assert own["battery_w"] == battery_w
        assert math.copysign(1, float(str(own["battery_a"]))) == math.copysign(1, battery_w)


def test_the_sign_that_a_battery_s_state_has_shown_holds_while_it_is_silent() -> None:
    far = Far(common(), battery(ChaSt=6, W=100, A=2), END)

    def battery_w(**values: Value) -> Any:
        far.put(common(), battery(**values), END)
        return near.poll()[""]["battery_w"]

    with connected(far) as near:
        assert battery_w(ChaSt=6, W=100) == -100  # nothing is known yet
        assert battery_w(ChaSt=4, W=2000, A=40) == 2000
        assert battery_w(ChaSt=6, W=100) == 100
        assert battery_w(W=-100) == -100
        assert battery_w(ChaSt=3, W=5) == -5  # the state is late: one reading turns no sign
        assert battery_w(ChaSt=6, W=100, A=2) == 100
        assert near.poll()[""]["battery_a"] == 2
        near.bridge.forget()
        assert battery_w(ChaSt=6, W=100) == -100
        assert battery_w(ChaSt=4, W=-2000) == 2000
        assert battery_w(ChaSt=6, W=-100) == 100


def test_each_battery_shows_its_own_sign() -> None:
    far = Far(common(), battery(ChaSt=4, W=50), battery(ChaSt=4, W=-60), END)
    with connected(far) as near:
        near.poll()
        far.put(common(), battery(ChaSt=6, W=50), battery(ChaSt=6, W=-60), END)
        found = near.poll()
        assert (found[""]["battery_w"], found["battery_1"]["battery_w"]) == (50, 60)


def test_reserved_bits_are_no_alarms_and_unnamed_ones_are() -> None:
    evt1 = 1 << 1 | 1 << 27  # the last one is reserved
    with connected(Far(common(), battery(SoC=50, Evt1=evt1, Evt2=1 << 5), END)) as near:
        assert near.poll()[""]["alarms"] == ["over_temp_alarm", "bit_5"]


def test_a_bit_without_a_name_in_two_places_is_one_alarm() -> None:
    words = battery(SoC=50, Evt1=1 << 31, Evt2=1 << 31)
    with connected(Far(common(), words, END)) as near:
        assert near.poll()[""]["alarms"] == ["bit_31"]


def test_a_battery_within_an_inverter_is_a_device_of_its_own() -> None:
    far = Far(common("Kostal", "Plenticore"), inverter(), battery(SoC=55, W=-400), END)
    with connected(far) as near:
        assert near.poll()["battery_1"] == {"soc_percent": 55, "battery_w": 400}
        assert near.kinds == {"": "inverter", "battery_1": "battery"}
        assert near.identity("battery_1") == Identity(maker="Kostal")


def test_a_battery_model_of_a_wrong_length_costs_no_device() -> None:
    values: dict[str, Value] = {"NStr": 2, "ModTmp_SF": 0, "ModTmpAvg": 25}
    bank = block(803, values, length=26 + 17)
    far = Far(common("E3DC"), inverter(), bank, END)
    with connected(far) as near:
        found = near.poll()
        assert found[""]["output_w"] == 1500
        assert found["battery_1"] == {"battery_c": 25, "modules_count": 2}


def test_the_counters_of_a_maker_with_the_low_word_first_are_read_so() -> None:
    port: dict[str, Value] = {
        "DCW_SF": 0, "DCWH_SF": 0, "NPrt": 1, "Prt[0].PrtTyp": 0, "Prt[0].DCW": 900,
    }  # fmt: skip
    words = block(714, port, length=18 + 25)
    model = models.find(714)
    assert model is not None
    inner = next(point for point in model.top.groups[0].points if point.name == "DCWhInj")
    at = model.top.size + inner.offset
    words[at : at + 4] = [0xD687, 0x0012, 0, 0]  # 1,234,567 Wh
    measured = block(701, {"InvSt": 3, "W_SF": 0, "W": 880})
    with connected(Far(common("OutBack", "OGHI8048A"), measured, words, END)) as near:
        assert near.poll()[""] == {
            "mode": "running",
            "mode_code": 3,
            "output_w": 880,
            "pv_01_w": 900,
            "pv_01_yield_kwh": 1234.567,
            "pv_w": 900,
        }


def test_a_newer_inverter_gives_each_phase_and_what_flows_to_its_battery() -> None:
    scales: dict[str, Value] = {
        "A_SF": -1, "V_SF": -1, "Hz_SF": -2, "W_SF": 0, "PF_SF": -2, "VA_SF": 0, "Var_SF": 0,
        "TotWh_SF": 0, "Tmp_SF": 0,
    }  # fmt: skip
    measured = block(
        701,
        {
            **scales, "InvSt": 4, "ConnSt": 1, "W": 2400, "VA": 2450, "Var": -120, "PF": 0.98,
            "A": 10.5, "LNV": 231, "LLV": 400, "Hz": 50.02, "TotWhInj": 9_000_000, "TotWhAbs": 7000,
            "WL1": 700, "WL2": 800, "WL3": 900, "AL1": 3.1, "AL2": 3.5, "AL3": 3.9,
            "VL1": 230.1, "VL2": 230.2, "VL3": 230.3, "VL1L2": 398.1, "VL2L3": 398.2,
            "VL3L1": 398.3, "TmpAmb": 20, "TmpCab": 30, "TmpSnk": 40,
        },
    )  # fmt: skip
    ports: dict[str, Value] = {
        "DCA_SF": -1, "DCV_SF": -1, "DCW_SF": 0, "DCWH_SF": 0, "NPrt": 2,
        "Prt[0].PrtTyp": 0, "Prt[0].DCW": 3000, "Prt[0].DCV": 400, "Prt[0].DCA": 7.5,
        "Prt[1].PrtTyp": 1, "Prt[1].DCW": -500, "Prt[1].DCV": 50, "Prt[1].DCA": -10,
        "Prt[1].DCWhInj": 2000, "Prt[1].DCWhAbs": 3000,
    }  # fmt: skip
    far = Far(
        common(), measured, block(713, {"SoC": 61, "Pct_SF": 0}), block(714, ports, length=68), END
    )
    with connected(far) as near:
        found = near.poll()
        assert found["battery_1"] == {"soc_percent": 61}
        assert found[""] == {
            "mode": "throttled",
            "mode_code": 4,
            "grid_connected": True,
            "output_w": 2400,
            "output_a": 10.5,
            "output_va": 2450,
            "output_var": -120,
            "output_hz": 50.02,
            "output_v": 231,
            "power_factor": 0.98,
            "output_l1_w": 700,
            "output_l2_w": 800,
            "output_l3_w": 900,
            "output_l1_a": 3.1,
            "output_l2_a": 3.5,
            "output_l3_a": 3.9,
            "output_l1_v": 230.1,
            "output_l2_v": 230.2,
            "output_l3_v": 230.3,
            "output_l12_v": 398.1,
            "output_l23_v": 398.2,
            "output_l31_v": 398.3,
            "ambient_c": 20,
            "cabinet_c": 30,
            "heatsink_c": 40,
            "pv_01_v": 400,
            "pv_01_a": 7.5,
            "pv_01_w": 3000,
            "pv_w": 3000,
            "battery_v": 50,
            "battery_a": 10,
            "battery_w": 500,
            "charged_kwh": 3,
            "discharged_kwh": 2,
            "output_kwh": 9000,
        }


def test_of_two_models_that_say_the_same_the_first_counts() -> None:
    newer = block(701, {"InvSt": 6, "W_SF": 0, "W": 1490, "WL1": 500})
    with connected(Far(common(), inverter(W=1500), newer, END)) as near:
        own = near.poll()[""]
        assert (own["mode"], own["output_w"], own["output_l1_w"]) == ("running", 1500, 500)


# ---------------------------------------------------------------------- meters


def test_a_meter_gives_consumption_as_positive() -> None:
    far = Far(
        common("Veris"),
        meter(
            A=5.2, WphA=640, PhVphA=230.1, PPV=398.5, PhVphAB=399, Hz=50, PF=0.99,
            TotWhImp=906_630, TotWhExp=1200,
        ),
        END,
    )  # fmt: skip
    with connected(far, role="grid") as near:
        own = near.poll()[""]
        assert own == {
            "power_w": 640,
            "l1_w": 640,
            "current_a": 5.2,
            "l1_v": 230.1,
            "line_average_v": 398.5,
            "l12_v": 399,
            "frequency_hz": 50,
            "power_factor": 0.99,
            "import_kwh": 906.63,
            "export_kwh": 1.2,
        }
        assert near.kinds == {"": "meter"}


def test_a_meter_gives_each_phase_its_own() -> None:
    said: dict[str, Value] = {
        "VA_SF": 0, "TotVAh_SF": 0, "W": 60, "A": 6, "PhV": 231, "PPV": 400, "VA": 66, "VAR": 6,
        "WphA": 10, "WphB": 20, "WphC": 30, "AphA": 1, "AphB": 2, "AphC": 3,
        "PhVphA": 231, "PhVphB": 232, "PhVphC": 233,
        "PhVphAB": 401, "PhVphBC": 402, "PhVphCA": 403,
        "VAphA": 11, "VAphB": 22, "VAphC": 33, "VARphA": 1, "VARphB": 2, "VARphC": 3,
        "PFphA": 0.91, "PFphB": 0.92, "PFphC": 0.93,
        "TotWhImpPhA": 1000, "TotWhImpPhB": 2000, "TotWhImpPhC": 3000,
        "TotWhExpPhA": 4000, "TotWhExpPhB": 5000, "TotWhExpPhC": 6000,
        "TotVAhImp": 7000, "TotVAhExp": 8000,
    }  # fmt: skip
    with connected(Far(common(), meter(203, **said), END)) as near:
        assert near.poll()[""] == {
            "power_w": 60, "l1_w": 10, "l2_w": 20, "l3_w": 30,
            "current_a": 6, "l1_a": 1, "l2_a": 2, "l3_a": 3,
            "voltage_v": 231, "l1_v": 231, "l2_v": 232, "l3_v": 233,
            "line_average_v": 400, "l12_v": 401, "l23_v": 402, "l31_v": 403,
            "apparent_va": 66, "l1_va": 11, "l2_va": 22, "l3_va": 33,
            "reactive_var": 6, "l1_var": 1, "l2_var": 2, "l3_var": 3,
            "l1_power_factor": 0.91, "l2_power_factor": 0.92, "l3_power_factor": 0.93,
            "l1_import_kwh": 1, "l2_import_kwh": 2, "l3_import_kwh": 3,
            "l1_export_kwh": 4, "l2_export_kwh": 5, "l3_export_kwh": 6,
            "import_kvah": 7, "export_kvah": 8,
        }  # fmt: skip


def test_the_meters_of_a_solaredge_are_devices_with_their_role_and_the_sign_of_the_bus() -> None:
    far = Far(
        common("SolarEdge", "SE10K"),
        inverter(),
        common("WattNode", "WNC", "M1", "Export+Import"),
        meter(W=-700, WphA=-700, TotWhImp=5000),
        common("WattNode", "WNC", "M2", "Production"),
        meter(W=1500),
        END,
    )
    with connected(far) as near:
        found = near.poll()
        assert near.kinds == {"": "inverter", "meter_1": "meter", "meter_2": "meter"}
        assert found["meter_1"] == {"power_w": 700, "l1_w": 700, "import_kwh": 5}
        assert found["meter_2"] == {"power_w": 1500}
        parts = near.bridge.parts
        assert (parts["meter_1"].role, parts["meter_2"].role) == ("grid", "pv")
        assert near.identity("meter_2") == Identity("WattNode", "WNC", "M2", "1.2")


def test_a_consumption_meter_of_a_solaredge_can_be_turned_back() -> None:
    far = Far(common("SolarEdge"), inverter(), common(option="Consumption"), meter(W=900), END)
    for invert, watts in (([], -900), (["meter_1.power_w"], 900)):
        with connected(far, invert=invert) as near:
            assert near.poll()["meter_1"] == {"power_w": watts}
            assert near.bridge.parts["meter_1"].role == "load"


@pytest.mark.parametrize(
    ("option", "role"),
    [("Export+Import", "grid"), ("Import", "grid"), ("Production", "pv"), ("consumption", "load")],
)
def test_a_meter_behind_an_inverter_says_what_it_measures(option: str, role: str) -> None:
    far = Far(common(), inverter(), common(option=option), meter(), END)
    with connected(far) as near:
        near.poll()
        assert near.bridge.parts["meter_1"].role == role


def test_an_owner_turns_signs_and_gives_names() -> None:
    far = Far(common(), inverter(), meter(W=640), battery(W=100), END)
    with connected(
        far, invert=["output_w", "meter_1.power_w"], parts={"meter_1": "house"}, role="load"
    ) as near:
        assert near.bridge.parts["meter_1"].name == "house"
        assert near.bridge.parts["meter_1"].kind == ""
        found = near.poll()
        assert found[""]["output_w"] == -1500
        assert found["meter_1"]["power_w"] == -640
        part = near.bridge.parts["meter_1"]
        assert (part.kind, part.name, part.role) == ("meter", "house", "load")
        assert near.bridge.parts["battery_1"].role == ""


def test_a_misspelled_part_is_told_once_with_those_that_there_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    far = Far(common(), inverter(), END)
    with connected(far, parts={"metr_1": "house", "meter_1": "shed"}) as near:
        near.poll()
        assert "dev: parts: no metr_1, meter_1 behind it; there are: none" in caplog.text
        far.put(common(), inverter(), meter(W=640), battery(W=100), END)
        near.bridge.forget()
        for _ in range(2):
            near.poll()
    told = "dev: parts: no metr_1 behind it; there are: meter_1, battery_1"
    assert caplog.text.count(told) == 1


def test_a_part_that_comes_later_ends_the_complaint(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    far = Far(common(), inverter(), END)
    with connected(far, parts={"meter_1": "house"}) as near:
        near.poll()
        far.put(common(), inverter(), meter(W=640), END)
        near.bridge.forget()
        near.poll()
    assert "dev: all that parts names is there" in caplog.text


def test_a_meter_with_a_part_of_its_model_at_another_base_is_read() -> None:
    words = meter(204, TotWhImp=4000)[: 2 + 81]
    words[1] = 81
    with connected(Far(common("Accuenergy"), words, END, base=50000)) as near:
        assert near.poll()[""] == {"power_w": 640, "import_kwh": 4}


def test_two_meters_in_one_part_of_the_chain_are_two_devices() -> None:
    with connected(Far(common(), meter(W=1), meter(W=2), END)) as near:
        assert near.poll() == {"": {"power_w": 1}, "meter_1": {"power_w": 2}}


def test_a_counter_of_a_kostal_that_is_below_zero_means_its_amount() -> None:
    words = meter(TotWhImp=4000)
    words[46:48] = [0xFFFF, 0xF060]  # -4000 where TotWhImp is
    for maker, kwh in (("KOSTAL", 4.0), ("Acme", 4294963.296)):
        with connected(Far(common(maker), words, END)) as near:
            assert near.poll()[""]["import_kwh"] == kwh
    with connected(Far(common("KOSTAL"), meter(TotWhImp=4000), END)) as near:
        assert near.poll()[""] == {"power_w": 640, "import_kwh": 4}


# ---------------------------------------------------------------------- what devices refuse


def test_a_model_that_is_refused_is_left_out_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    far = Far(common("SMA"), inverter(), strings({"DCW": 1}))
    far.refused[40002 + 68 + 52 + 10] = 2
    with connected(far) as near:
        for _ in range(3):
            assert near.poll()[""]["output_w"] == 1500
        asked = [start for _, start, _ in far.asked if start == 40122]
        assert len(asked) == 2  # its header, and itself once
    assert caplog.text.count("dev: model 160 at 40122 cannot be read") == 1


def test_a_model_that_was_refused_is_tried_again_when_the_chain_is_looked_at() -> None:
    far = Far(common("SMA"), inverter(), strings({"DCW": 700}), END)
    far.refused[40132] = 4
    with connected(far) as near:
        near.poll()
        far.refused.clear()
        assert "pv_w" not in near.poll()[""]
        near.poll("layout")
        assert near.poll()[""]["pv_w"] == 700


def test_a_device_that_refuses_everything_fails_until_it_answers_again() -> None:
    far = Far(common(), inverter(), END)
    with connected(far) as near:
        far.refused[40075] = 4
        for _ in range(3):
            with pytest.raises(Refused):
                near.poll()
        far.refused.clear()
        assert near.poll()[""]["output_w"] == 1500


def test_a_model_that_was_once_given_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    far = Far(common(), inverter(), meter(), END)
    with connected(far) as near:
        near.poll()
        far.refused[40075] = 4
        for _ in range(3):
            assert set(near.poll()) == {"meter_1"}
        far.refused.clear()
        assert near.poll()[""]["output_w"] == 1500
    assert caplog.text.count("dev: model 103 at 40070 cannot be read") == 1
    assert caplog.text.count("dev: model 103 is read again") == 1


def test_a_part_that_is_gone_from_the_end_makes_the_chain_looked_at() -> None:
    far = Far(common(), inverter(), meter())
    with connected(far) as near:
        near.poll()
        far.put(common(), inverter())
        assert set(near.poll()) == {""}  # the meter is beyond the end: exception 2
        far.asked.clear()
        near.poll()
        assert (40122, 2) in [(start, count) for _, start, count in far.asked]  # its header
        far.asked.clear()
        near.poll()
        assert [start for _, start, _ in far.asked] == [40070]


def test_a_device_that_does_not_say_who_it_is_is_read_all_the_same() -> None:
    far = Far(common(), inverter(), common("Meter"), meter(), END)
    who = 40070 + 52 + 10
    far.refused = {40010: 2, who: 4}
    with connected(far) as near:
        assert set(near.poll()) == {"", "meter_1"}
        assert near.identity("meter_1") == Identity()
        far.refused.clear()
        near.bridge.forget()
        assert set(near.poll()) == {"", "meter_1"}


def test_what_failed_while_the_device_started_is_found_soon() -> None:
    far = Far(common(), inverter(), meter(), END)
    far.refused[40122] = 4
    with connected(far) as near:
        assert set(near.poll()) == {""}
        far.refused.clear()
        near.poll("layout")  # due at once, too
        assert set(near.poll()) == {"", "meter_1"}


def test_the_rating_of_a_device_is_not_taken_for_that_of_another() -> None:
    far = Far(common(serial="OLD"), inverter(), block(120, {"WRtg": 5000, "WRtg_SF": 0}), END)
    with connected(far) as near:
        near.poll()
        near.poll("slow")
        far.put(common(serial="NEW"), inverter(W=20_000), END)
        near.bridge.forget()
        assert near.poll()[""]["output_w"] == 20_000


def test_a_busy_device_is_asked_for_the_same_again() -> None:
    far = Far(common(), inverter(), END)
    with connected(far) as near:
        near.poll()
        far.refused[40075] = 6
        with pytest.raises(Refused):
            near.poll()
        far.refused.clear()
        assert near.poll()[""]["output_w"] == 1500


def test_a_gateway_that_does_not_reach_its_device_means_silence() -> None:
    far = Far(common(), inverter(), END)
    with connected(far) as near:
        near.poll()
        far.refused[40075] = 11
        with pytest.raises(Silence):
            near.poll()


def asked_at(far: Far, *starts: int) -> list[int]:
    """Give those of these addresses that requests began at, and forget the requests."""
    found = [start for _, start, _ in far.asked if start in starts]
    far.asked.clear()
    return found


@pytest.mark.parametrize("code", [6, 10, 11], ids=["busy", "no path", "no answer"])
def test_a_model_that_never_answers_costs_no_other_one(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    far = Far(common(), inverter(), meter(W=7), battery(SoC=50), END)
    far.refused[40080] = code  # within the inverter, which is asked first
    first, second, third = 40070, 40122, 40229
    with connected(far) as near:
        with pytest.raises(FrameError):
            near.poll()
        far.asked.clear()
        for _ in range(3):
            assert near.poll() == {"meter_1": {"power_w": 7}, "battery_1": {"soc_percent": 50}}
            assert asked_at(far, first, second, third) == [second, third, first]
        assert set(near.poll()) == {"meter_1", "battery_1"}
        assert asked_at(far, first, second, third) == [second, third]
        near.poll("layout")
        far.asked.clear()
        for once in ([second, third, first], [second, third]):
            near.poll()
            assert asked_at(far, first, second, third) == once
        near.poll("layout")
        far.refused.clear()
        assert near.poll()[""]["output_w"] == 1500
    assert caplog.text.count("dev: model 103 at 40070 cannot be read") == 1


def test_a_model_that_once_answered_is_asked_on_when_it_falls_silent() -> None:
    far = Far(common(), inverter(), meter(W=7), END)
    with connected(far) as near:
        near.poll()
        far.refused[40130] = 11
        for _ in range(5):
            assert set(near.poll()) == {""}
        far.refused.clear()
        assert near.poll()["meter_1"] == {"power_w": 7}


def test_a_device_that_goes_away_during_a_poll_costs_no_timeout_for_each_model() -> None:
    far = Far(common(), inverter(), meter(W=7), battery(SoC=50), meter(W=8), END)
    with connected(far) as near:
        near.poll()
        far.refused |= {40130: 11, 40240: 11, 40300: 11}
        far.asked.clear()
        blocks = (40070, 40122, 40229, 40293)
        assert set(near.poll()) == {""}
        assert len(asked_at(far, *blocks)) == 3
        far.refused[40080] = 11
        with pytest.raises(Silence):
            near.poll()
        assert len(asked_at(far, *blocks)) == 1


def test_settings_that_never_come_do_not_fail_the_device() -> None:
    far = Far(common(), inverter(), block(120, {"WRtg": 5000, "WRtg_SF": 0}), END)
    far.refused[40130] = 11
    with connected(far) as near:
        with pytest.raises(Silence):
            near.poll("slow")
        near.poll()
        for _ in range(3):
            assert near.poll("slow") == {}
        far.asked.clear()
        near.poll("slow")
        assert far.asked == []
        far.refused[40080] = 11
        with pytest.raises(Silence):
            near.poll()


def test_a_device_of_models_that_nobody_knows_says_so() -> None:
    with (
        connected(Far(common(), [64001, 2, 0, 0], END)) as near,
        pytest.raises(FrameError, match="it has models 1, 64001, of which heliobus can show none"),
    ):
        near.poll()


def test_no_request_is_longer_than_the_owner_allows() -> None:
    far = Far(common(), inverter(), meter(), END, most=30)
    with connected(far, max_registers=30) as near:
        assert near.poll()["meter_1"] == {"power_w": 640}
    assert max(count for _, _, count in far.asked) == 30


def test_only_holding_registers_are_read_and_nothing_else_is_asked() -> None:
    far = Far(common(), inverter(), meter(), END)
    with connected(far) as near:
        for group in ("fast", "slow", "layout", "fast"):
            near.poll(group)
    assert {function for function, _, _ in far.asked} == {3}


@pytest.mark.parametrize(("connect", "connections"), [("keep", 1), ("per_poll", 4)])
def test_a_connection_is_kept_or_made_for_each_poll(connect: str, connections: int) -> None:
    device = Far(common(), inverter(), meter(), block(120, {"WRtg": 1, "WRtg_SF": 0}), END)

    def answer(request: bytes) -> Sequence[bytes]:
        return [mbap(request, device.answer(request[7:], Faults()))]

    with far_tcp(answer) as far:
        near = Near(far.url, {"connect": connect})
        for group in ("fast", "slow", "fast"):
            near.poll(group)
        device.refused[40080] = 6
        with pytest.raises(Refused):
            near.poll()
        near.master.close()
    assert far.connections == connections


# ---------------------------------------------------------------------- the chain over time


def test_after_a_reconnect_the_chain_is_checked_and_not_walked() -> None:
    far = Far(common(), inverter(), meter(), END)
    with connected(far) as near:
        near.poll()
        near.bridge.forget()
        assert near.bridge.kind == "inverter"
        far.asked.clear()
        assert near.poll()[""]["output_w"] == 1500
        starts = [start for _, start, _ in far.asked]
        # Marker and first header, last header, who it is; then the two models.
        assert starts == [40000, 40229, 40002, 40070, 40122]
        far.asked.clear()
        near.poll()
        assert [start for _, start, _ in far.asked] == [40070, 40122]


def test_another_device_at_the_same_place_is_recognised() -> None:
    far = Far(common(serial="OLD"), inverter(), END)
    with connected(far) as near:
        near.poll()
        far.put(common(serial="NEW"), inverter(W=9), END)
        near.bridge.forget()
        assert near.poll()[""]["output_w"] == 9
        assert near.bridge.identity.serial == "NEW"


def test_a_chain_that_moves_between_two_polls_is_walked_again_at_once() -> None:
    far = Far(common(), inverter(), meter(W=1), END)
    with connected(far) as near:
        near.poll()
        far.put(common(), battery(W=-7), inverter(W=8), meter(W=2), END)
        found = near.poll()
        assert {part: own.get("output_w", own.get("power_w")) for part, own in found.items()} == {
            "": 8,
            "meter_1": 2,
            "battery_1": None,
        }


def test_a_device_that_was_added_is_found_when_the_chain_is_looked_at() -> None:
    far = Far(common(), inverter(), END)
    with connected(far) as near:
        near.poll()
        assert near.poll("layout") == {}
        far.put(common(), inverter(), meter(), END)
        assert set(near.poll()) == {""}
        near.poll("layout")
        assert set(near.poll()) == {"", "meter_1"}


def test_a_chain_without_an_end_is_walked_when_it_is_looked_at() -> None:
    far = Far(common(), inverter())
    with connected(far) as near:
        near.poll()
        near.poll("layout")
        far.put(common(), inverter(), meter())
        near.poll("layout")
        assert set(near.poll()) == {"", "meter_1"}


def test_a_chain_that_was_just_walked_is_not_looked_at_again() -> None:
    far = Far(common(), inverter(), END)
    with connected(far) as near:
        near.poll()
        far.asked.clear()
        near.poll("layout")
        assert far.asked == []


def test_a_part_that_is_gone_is_remembered_and_told_no_more() -> None:
    far = Far(common(), inverter(), meter(), END)
    with connected(far) as near:
        near.poll()
        far.put(common(), inverter(), END)
        near.bridge.forget()
        assert set(near.poll()) == {""}
        assert set(near.bridge.parts) == {"meter_1"}


def test_how_a_chain_ends_oddly_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    far = Far(common(), inverter(), [0] * 20)
    with connected(far) as near:
        near.poll()
        near.poll("layout")
        near.poll("layout")
    assert caplog.text.count("dev: no end model: zeros at 40122") == 1


# ---------------------------------------------------------------------- the night


@pytest.mark.parametrize(
    ("values", "rated_w", "is_hybrid", "rests"),
    [
        ({"mode": "asleep"}, None, False, True),
        ({"mode": "standby"}, None, True, True),
        ({"mode": "starting", "output_w": 0}, 5000, False, True),
        ({"mode": "running", "output_w": 40}, None, False, True),
        ({"mode": "running", "output_w": 140}, 5000, False, True),
        ({"mode": "running", "output_w": 160}, 5000, False, False),
        ({"mode": "running", "output_w": 10}, 5000, True, False),
        ({"mode": "fault", "output_w": 0}, 5000, False, False),
        ({}, 5000, False, False),
    ],
)
def test_an_inverter_rests_when_it_sleeps_or_has_faded_out(
    values: Values, rated_w: float | None, *, is_hybrid: bool, rests: bool
) -> None:
    assert is_resting(values, rated_w, is_hybrid=is_hybrid) is rests


def test_an_inverter_that_fell_silent_at_dusk_is_asleep() -> None:
    far = Far(common(), inverter(W=3), END)
    with connected(far) as near:
        assert near.bridge.asleep(lost=False) is None
        near.poll()
        far.silent = True
        with pytest.raises(Silence):
            near.poll()
        near.bridge.forget()
        assert near.bridge.asleep(lost=False) == {"mode": "asleep"}
        assert near.bridge.kind == "inverter"
        far.silent = False
        far.put(common(), inverter(W=2000), END)
        assert near.poll()[""]["output_w"] == 2000
        assert near.bridge.asleep(lost=False) is None


def test_a_meter_does_not_sleep() -> None:
    with connected(Far(common(), meter(W=0), END)) as near:
        near.poll()
        assert near.bridge.asleep(lost=False) is None


# ---------------------------------------------------------------------- the mapping


def every_mapped() -> list[tuple[int, Mapped]]:
    both = (mapping.standard(), mapping.outback())
    return [(number, one) for each in both for number, one in each.models.items()]


def kinds_of(number: int, mapped: Mapped) -> list[str]:
    if mapped.kind:
        return [mapped.kind]
    found = mapping.outback().models
    return [found[pair].kind for pair in mapped.pairs if number]


@pytest.mark.parametrize(("number", "mapped"), every_mapped(), ids=lambda v: str(v)[:5])
def test_every_field_of_the_mapping_is_in_the_contract(number: int, mapped: Mapped) -> None:
    sorts = [sort for sorts in mapped.groups.values() for sort in sorts]
    rules = [*mapped.rules, *(rule for sort in sorts for rule in (*sort.rules, *sort.sums))]
    for kind in kinds_of(number, mapped):
        names = {rule.name.replace("##", "01") for rule in rules if rule.name[0] != "_"}
        assert {name for name in names if CONTRACT.field(kind, name) is None} == set()
    for total in mapping.outback().totals:
        assert CONTRACT.field("site", total.name) is not None


@pytest.mark.parametrize(("number", "mapped"), every_mapped(), ids=lambda v: str(v)[:5])
def test_every_point_of_the_mapping_is_in_its_model(number: int, mapped: Mapped) -> None:
    model = models.find(number)
    assert model is not None

    def unknown(group: Group, rules: tuple[Rule, ...]) -> set[str]:
        own = {point.name for point in group.points}
        chosen = [rule for rule in rules if rule.manner == "first"]
        assert all(own & {point for point, _ in rule.of} for rule in chosen)
        named = {point for rule in rules if rule not in chosen for point, _ in rule.of}
        named |= {point for rule in rules for point, _ in rule.when}
        named |= {rule.toward for rule in rules if rule.toward}
        return named - own

    assert unknown(model.top, mapped.rules) == set()
    said = {point for points in mapped.identity.values() for point in points}
    assert said | {mapped.port} - {""} <= {point.name for point in model.top.points} | {""}
    groups = {group.name: group for group in model.top.groups}
    for name, sorts in mapped.groups.items():
        for sort in sorts:
            assert unknown(groups[name], (*sort.rules, *sort.sums)) == set()


@pytest.mark.parametrize(
    "vector", further_vectors("sunspec.json") or [], ids=lambda vector: str(vector["name"])
)
def test_every_recorded_device_gives_what_the_contract_lets_pass(vector: dict[str, Any]) -> None:
    far = Far(base=vector["base"])
    far.words = vector["registers"]
    with connected(far) as near:
        fast, slow = near.poll(), near.poll("slow")
    for part, kind in near.kinds.items():
        values = {**slow.get(part, {}), **fast.get(part, {})}
        assert CONTRACT.strict(kind, values)[1] == {}
    assert any(fast.values())


def test_options_may_be_texts() -> None:
    device = DeviceSettings("dev", 10.0, "", {"timeout": "5s", "slow": "2m", "pause": "500ms"})
    assert SunSpec(device).groups[1].every_s == 120
