"""A simulated OutBack gateway: what a MATE3S says of the devices at its hub, with its bugs.

Ports 1 to 3 have inverters, 4 and 5 charge controllers if any, 6 the battery monitor.
"""

from collections.abc import Mapping, Sequence

from bridges.sunspec.codec import Value
from bridges.sunspec.simulated_device import Content, Kind
from bridges.sunspec.simulated_part import Part, Share
from heliobus.house import RATED_V

_INVERTER_PORTS, _CHARGER_PORTS, _MONITOR_PORT = (1, 2, 3), (4, 5), 6
_INVERTING, _CHARGING = 2, 3
_SILENT, _FLOAT, _BULK, _ABSORB = 0, 1, 2, 3
_FLOAT_SOC, _ABSORB_SOC = 0.985, 0.93
_MATE3S = 3  # seen in a MATE3S, though its map ends with 2
_ON, _AUTO, _BULK_BIT, _USING = 0x20, 0x100, 0x800, 0x4
_FAULT = 7
_NEVER = 0
_DAWN_W = 5.0
_STEP_W = 100.0  # of the power of an inverter


def _common(model: str, version: str) -> Content:
    names: dict[str, Value] = {"Mn": "OutBack_Power", "Md": model, "Vr": version}
    return Content(1, {**names, "SN": "SIM00001", "DA": 0}, length=65)


def _gateway(*, kind: int, major: int, middle: int, minor: int) -> Content:
    said: dict[str, Value] = {
        "Major_Firmware_Number": major,
        "Mid_Firmware_Number": middle,
        "Minor_Firmware_Number": minor,
        "Encryption_Key": 0,
        "MAC_Address": "0090EA-000001",
        "Enable_DHCP": 1,
        "TCP/IP_Address": "192.0.2.64",
        "Modbus_Port": 502,
        "System_Name": "Power room",
        "Voltage_SF": -1,
        "Hour_SF": -1,
        "Time_Zone_SF": -1,
        "Temp_SF": 0,
        "Temp_Batt": 24,
        "Error": 0,
        "Status": 0,
        "Gateway_Type": kind,
        "System_Voltage": 48,
    }
    return Content(64110, {f"OutBack_{name}": value for name, value in said.items()})


def _control(part: Part) -> Content:
    status = _ON | _AUTO | (_BULK_BIT if part.battery_w > 0 else 0)
    said: dict[str, Value] = {
        "DC_Voltage_SF": -1,
        "AC_Current_SF": -1,
        "Time_SF": -1,
        "Bulk_Charge_Enable_Disable": 0,
        "Inverter_AC_Drop_Use": 0,
        "Set_Inverter_Mode": 0,
        "Grid_Tie_Mode": 0,
        "Set_Inverter_Charger_Mode": 0,
        "Control_Status": status | (_USING if part.house.on_mains else 0),
        "Set_Absorb_Voltage": 57.6,
        "Set_Absorb_Time": 2.0,
        "Set_Float_Voltage": 54.4,
        "Set_AGS_OP_Mode": 2,
        "AGS_Operational_State": 0,
        "Gen_Last_Run_Start_Time_GMT": _NEVER,
        "Gen_Last_Start_Run_Duration": 0,
    }
    return Content(64120, {f"OB_{name}": value for name, value in said.items()}, length=27)


def _inverter_101(part: Part) -> Content:
    """Say it as these gateways do: W, VA and VAr in kW, no energy, and always a fault."""
    kilo = part.load_w / 1000.0
    scales = dict.fromkeys(("W_SF", "VA_SF", "VAr_SF", "Hz_SF"), -2)
    said: dict[str, Value] = {"W": kilo, "VA": kilo, "VAr": kilo, "Hz": 60.0, **scales}
    said |= {"A": part.load_w / 240.0, "AphA": part.load_w / 240.0, "A_SF": 0}
    said |= {"PhVphA": 120, "V_SF": 0, "PF": 0, "PF_SF": -2, "WH_SF": 0}
    said |= {"DCV": part.house.battery_v, "DCV_SF": -1, "St": _FAULT, "StVnd": _INVERTING}
    return Content(101, {**said, "Evt1": 0, "Evt2": 0})


def _named(prefix: str, said: Mapping[str, Value]) -> dict[str, Value]:
    return {f"{prefix}_{name}": value for name, value in said.items()}


def _share_kw(watts: float, port: int, count: int) -> float:
    """Give one share in the steps in which it is told, so that all together are right."""
    upper, lower = (round(watts * part / count / _STEP_W) for part in (port, port - 1))
    return (upper - lower) * _STEP_W / 1000.0


def _of_inverter(part: Part, port: int, count: int) -> dict[str, Value]:
    """Give what both sorts of inverters say: one share of the house."""
    load_kw, grid_kw, charge_kw = (
        _share_kw(watts, port, count)
        for watts in (part.load_w, part.grid_w, max(0.0, part.grid_w - part.load_w))
    )
    return {
        "Port_number": port,
        "DC_Voltage_SF": -1,
        "AC_Current_SF": 0,
        "AC_Voltage_SF": 0,
        "AC_Frequency_SF": -1,
        "kWh_SF": -1,
        "Error_Flags": 0,
        "Warning_Flags": 0,
        "Inverter_Operating_mode": _CHARGING if part.house.on_mains else _INVERTING,
        "Battery_Voltage": part.house.battery_v,
        "Temp_Compensated_Target_Voltage": 57.6,
        "AUX_Output_State": 0,
        "AUX_Relay_Output_State": 0,
        "Sell_Status": 0x20,
        "L_Module_FET_Temperature": 34 + round(4 * load_kw) + port,
        "Battery_Temperature": 24,
        "AC_Input_Selection": 1,
        "AC_Input_Frequency": 60.0 if part.house.on_mains else 0.0,
        "AC_Input_State": int(part.house.on_mains),
        "Charger_kWh": part.today["imported"] * 0.3 / count / 1000.0,
        "Output_kW": 0.0 if part.house.on_mains else load_kw,
        "Buy_kW": grid_kw,
        "Sell_kW": 0.0,
        "Charge_kW": charge_kw,
        "Load_kW": load_kw,
        "AC_Couple_kW": 0.0,
    }


def _radian(part: Part, port: int, count: int) -> Content:
    said = _of_inverter(part, port, count)
    load_a = part.load_w / count / 240.0
    for leg in ("L1", "L2"):
        said |= {
            f"{leg}_Inverter_Output_Current": 0.0 if part.house.on_mains else load_a,
            f"{leg}_Inverter_Charge_Current": max(0.0, part.grid_w / count / 240.0 - load_a),
            f"{leg}_Inverter_Buy_Current": part.grid_w / count / 240.0,
            f"{leg}_Inverter_Sell_Current": 0,
            f"{leg}_Grid_Input_AC_Voltage": 0,
            f"{leg}_Gen_Input_AC_Voltage": 120 * part.house.on_mains,
            f"{leg}_Output_AC_Voltage": 120,
            f"AC1_{leg}_Buy_kWh": 0.0,
            f"AC2_{leg}_Buy_kWh": part.today["imported"] / count / 2000.0,
            f"AC1_{leg}_Sell_kWh": 0.0,
            f"AC2_{leg}_Sell_kWh": 0.0,
            f"{leg}_Output_kWh": part.today["load"] / count / 2000.0,
        }
    said["AC_Input_Voltage"] = 240 * part.house.on_mains
    return Content(64115, {**_named("GS_Split", said), "GS_Split_GT_Number": 0})


def _fxr(part: Part, port: int, count: int) -> Content:
    said = _of_inverter(part, port, count)
    load_a = part.load_w / count / 230.0
    said |= {
        "Inverter_Output_Current": 0.0 if part.house.on_mains else load_a,
        "Inverter_Charge_Current": max(0.0, part.grid_w / count / 230.0 - load_a),
        "Inverter_Buy_Current": part.grid_w / count / 230.0,
        "Inverter_Sell_Current": 0,
        "Grid_Input_AC_Voltage": 0,
        "Gen_Input_AC_Voltage": 230 * part.house.on_mains,
        "Output_AC_Voltage": 230,
        "AC_Input_Voltage": 230 * part.house.on_mains,
        "AC1_Buy_kWh": 0.0,
        "AC2_Buy_kWh": part.today["imported"] / count / 1000.0,
        "AC1_Sell_kWh": 0.0,
        "AC2_Sell_kWh": 0.0,
        "Output_kWh": part.today["load"] / count / 1000.0,
    }
    # One register less than in the map, as recorded.
    return Content(64117, _named("GS_Single", said), length=46)


def _inverter_settings(port: int, model: str) -> Content:
    said: dict[str, Value] = {
        "Port_number": port,
        "DC_Voltage_SF": -1,
        "AC_Current_SF": -1,
        "AC_Voltage_SF": 0,
        "Time_SF": -1,
        "Major_Firmware_Number": 1,
        "Mid_Firmware_Number": 6,
        "Minor_Firmware_Number": 15,
        "Absorb_Volts": 57.6,
        "Float_Volts": 54.4,
        "Serial_Number": f"SIMINV{port:02}",
        "Model_Number": model,
    }
    return Content(64116, _named("GSconfig", said), length=89)


def _charger(part: Part, port: int, count: int) -> Content:
    watts, today, total = (
        each / count for each in (part.pv_w, part.today["pv"] / 1000.0, part.total["pv"] / 1000.0)
    )
    is_light = watts > _DAWN_W
    array_v = 84.0 + 2 * port if is_light else 2.0
    state = _ABSORB if part.house.soc > _ABSORB_SOC else _BULK
    state = _FLOAT if part.house.soc > _FLOAT_SOC else state
    low, high = part.range_today("battery_v")
    said: dict[str, Value] = {
        "Port_number": port,
        "Voltage_SF": -1,
        "Current_SF": -1,
        "Power_SF": 0,
        "AH_SF": 0,
        "KWH_SF": -1,
        "Temp_SF": 0,
        "Batt_Voltage": part.house.battery_v,
        "Array_Voltage": array_v,
        "Batt_Current": watts / part.house.battery_v,
        "Array_Current": watts / array_v,
        "Charger_State": state if is_light else _SILENT,
        "Watts": watts,
        "Todays_Min_Battery_Volts": low,
        "Todays_Max_Battery_Volts": high,
        "VOC": array_v + 18.0,
        "Todays_Peak_VOC": 112,
        "Todays_kWH": today,
        "Todays_AH": today * 1000.0 / part.house.battery_v,
        "Lifetime_kWH_Hours": total,
        "Lifetime_kAmp_Hours": total / part.house.battery_v,
        "Lifetime_Max_Watts": 4096,
        "Lifetime_Max_Battery_Volts": 64.4,
        "Lifetime_Max_VOC": 138.4,
    }
    return Content(64111, _named("CC", said))


def _charger_settings(port: int) -> Content:
    said: dict[str, Value] = {"Port_number": port, "Voltage_SF": -1, "Current_SF": -1}
    said |= {"Hours_SF": -1, "Absorb_Volts": 57.6, "Float_Volts": 54.4}
    said |= {"Model_Number": "FM80-150VDC"}
    return Content(64112, _named("CCconfig", said), length=88)


def _monitor(part: Part) -> Content:
    """Shunt A has the inverters, B the charge controllers, C what else is in the house."""
    volts, today = part.house.battery_v, part.today
    own_w = part.inverted_w, part.pv_w
    shunts_w = *own_w, part.battery_w - sum(own_w)
    amps = [round(watts / volts, 1) for watts in shunts_w]
    kilo = [round(watts / 1000.0, 2) for watts in shunts_w]
    net_wh = today["charged"] - today["discharged"]
    low, high = part.range_today("battery_v")
    said: dict[str, Value] = {
        "Port_Number": _MONITOR_PORT,
        "DC_Voltage_SF": -1,
        "DC_Current_SF": -1,
        "Time_SF": -1,
        "kWh_SF": -2,
        "kW_SF": -2,
        **{f"Shunt_{name}_Current": each for name, each in zip("ABC", amps, strict=True)},
        "Battery_Voltage": volts,
        "Battery_Current": sum(amps),
        "Battery_Temperature": 24,
        "Status_Flags": 0,
        "Input_Current": sum(max(0.0, each) for each in amps),
        "Output_Current": sum(max(0.0, -each) for each in amps),
        "Input_kW": sum(max(0.0, each) for each in kilo),
        "Output_kW": sum(max(0.0, -each) for each in kilo),
        "Net_kW": sum(kilo),
        "Days_Since_Charge_Parameters_Met": 0.7,
        "State_Of_Charge": 100 * part.house.soc,
        "Todays_Minimum_SOC": 100 * part.range_today("soc")[0],
        "Todays_Maximum_SOC": 100 * part.range_today("soc")[1],
        "Todays_NET_Input_AH": today["charged"] / volts,
        "Todays_NET_Input_kWh": today["charged"] / 1000.0,
        "Todays_NET_Output_AH": today["discharged"] / volts,
        "Todays_NET_Output_kWh": today["discharged"] / 1000.0,
        "Todays_NET_Battery_AH": net_wh / volts,
        "Todays_NET_Battery_kWh": net_wh / 1000.0,
        "Todays_Minimum_Battery_Voltage": low,
        "Todays_Maximum_Battery_Voltage": high,
        "Todays_Minimum_Battery_Time": int(part.low_s),
        "Todays_Maximum_Battery_Time": int(part.high_s),
        "Cycle_Charge_Factor": 98,
        "Cycle_kWh_Charge_Efficiency": 94,
        "Total_Days_At_100_Percent": 246.9,
        "Lifetime_kAH_Removed": 143,
    }
    return Content(64118, _named("FN", said))


def _monitor_settings(part: Part) -> Content:
    said: dict[str, Value] = {"Port_Number": _MONITOR_PORT, "DC_Voltage_SF": -1}
    said |= {"DC_Current_SF": -1, "kWh_SF": -2, "Major_Firmware_Number": 1}
    said |= {"Battery_Capacity": part.capacity_wh / RATED_V, "Charged_Volts": 57.2}
    return Content(64119, _named("FNconfig", said))


def _mate3s(
    part: Part, *, radian: bool, chargers: Sequence[int] = _CHARGER_PORTS
) -> Sequence[Content]:
    inverter, model = (_radian, "GS8048A") if radian else (_fxr, "VFXR3048E")
    contents = [
        _common("MATE3S", "001.004.002.0317"),
        _gateway(kind=_MATE3S, major=1, middle=4, minor=2),
        _control(part),
        _inverter_101(part),
        Content(64255),
    ]
    for port in _INVERTER_PORTS:
        contents += inverter(part, port, len(_INVERTER_PORTS)), _inverter_settings(port, model)
    for port in chargers:
        contents += _charger(part, port, len(chargers)), _charger_settings(port)
    return [*contents, _monitor(part), _monitor_settings(part)]


def _axs(_: Part) -> Sequence[Content]:
    return [
        _common("AXS_PORT", "003.019.000.2049"),
        _gateway(kind=1, major=3, middle=19, minor=0),
    ]


_WHOLE = Share(panels_w=9000.0, inverts=True, stores=True)
_NO_PANELS = Share(inverts=True, stores=True)
KINDS: Mapping[str, Kind] = {
    "mate3s": Kind(
        "OutBack MATE3S with three Radians, two charge controllers and a FLEXnet DC",
        _WHOLE,
        lambda part: _mate3s(part, radian=True),
        most=100,
    ),
    "mate3s_fx": Kind(
        "OutBack MATE3S with three FXR inverters, two charge controllers and a FLEXnet DC",
        _WHOLE,
        lambda part: _mate3s(part, radian=False),
        most=100,
    ),
    "axs_empty": Kind(
        "OutBack AXS Port with nothing attached: its chain ends in zeros",
        Share(),
        _axs,
        most=100,
        zeros_until=43008,
    ),
    "mate3s_radians": Kind(
        "OutBack MATE3S with three Radians and a FLEXnet DC; the chargers are of another maker",
        _NO_PANELS,
        lambda part: _mate3s(part, radian=True, chargers=()),
        most=100,
    ),
}
