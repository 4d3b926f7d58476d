"""Simulated inverters, meters and batteries of several makers, each with its own habits."""

from collections.abc import Mapping, Sequence

from bridges.sunspec.codec import Value
from bridges.sunspec.simulated_device import Content, Kind
from bridges.sunspec.simulated_part import Part, Share
from heliobus.house import CELLS, RATED_V

_SLEEPING, _MPPT = 2, 4
_CHARGING, _DISCHARGING = 4, 3
_PV, _STORE = 0, 1
_DAWN_W = 5.0
_VOLTS = 230.0
_PHASES = ("A", "B", "C")
_WRAP = 1 << 32

Said = dict[str, Value]


def _common(
    maker: str, model: str, *, option: str = "", length: int = 66, unit: int = 1
) -> Content:
    serial = f"SIM{maker[:3].upper()}{unit:04}"
    said: Said = {"Mn": maker, "Md": model, "Vr": "1.20.4", "SN": serial, "DA": unit}
    said |= {"Opt": option}
    return Content(1, said, length=length)


def _acc32(energy_wh: float) -> int:
    """Count as they do: upwards, and from 0 on after 32 bits."""
    return int(energy_wh) % _WRAP


def _ac(watts: float, phases: int) -> Said:
    """Give what integer and float inverters say alike."""
    said: Said = {"W": watts, "VA": abs(watts) * 1.01, "VAr": abs(watts) * 0.1, "Hz": 50.0}
    said |= {"A": abs(watts) / _VOLTS, "PF": 99.0 if watts else 0.0}
    for phase in _PHASES[:phases]:
        said |= {f"Aph{phase}": abs(watts) / phases / _VOLTS, f"PhVph{phase}": _VOLTS}
    return said


def _inverter(part: Part, number: int, **more: Value) -> Content:
    """Give a model 101 to 103 or 111 to 113 of the whole PV."""
    watts, phases = part.pv_w, number % 10
    said = _ac(watts, phases)
    said |= {"DCW": watts * 1.03, "TmpSnk": 26.0 + watts / 250.0, "StVnd": 4}
    said |= {"St": _MPPT if watts > _DAWN_W else _SLEEPING, "Evt1": 0, "Evt2": 0}
    if number > 110:  # noqa: PLR2004 - the models with floats
        return Content(number, {**said, "WH": float(int(part.total["pv"])), **more})
    scales = dict.fromkeys(("A_SF", "Hz_SF", "PF_SF", "DCA_SF"), -2)
    scales |= dict.fromkeys(("V_SF", "DCV_SF", "Tmp_SF"), -1)
    scales |= dict.fromkeys(("W_SF", "VA_SF", "VAr_SF", "WH_SF", "DCW_SF"), 0)
    return Content(number, {**said, "WH": _acc32(part.total["pv"]), **scales, **more})


def _strings(part: Part, *, unused: bool = False) -> Content:
    """Give two strings, or one and an input that is not used."""
    said: Said = {"DCA_SF": -2, "DCV_SF": -1, "DCW_SF": 0, "DCWH_SF": 0, "N": 2}
    for at, share in enumerate((1.0, 0.0) if unused else (0.6, 0.4)):
        said[f"module[{at}].ID"] = at + 1
        said[f"module[{at}].IDStr"] = f"String {at + 1}" if share else "Not supported"
        if not share:
            continue
        watts, volts = part.pv_w * 1.03 * share, 420.0 - 30.0 * at
        is_light = watts > _DAWN_W
        said |= {
            f"module[{at}].DCW": watts,
            f"module[{at}].DCV": volts if is_light else 0.0,
            f"module[{at}].DCA": watts / volts if is_light else 0.0,
            f"module[{at}].DCWH": _acc32(part.total["pv"] * share),
            f"module[{at}].DCSt": _MPPT if is_light else _SLEEPING,
        }
    return Content(160, said, length=48)


def _nameplate(rated_w: int) -> Content:
    said: Said = {"DERTyp": 4, "WRtg": rated_w, "WRtg_SF": 0, "VARtg": rated_w, "VARtg_SF": 0}
    return Content(120, {**said, "ARtg": rated_w / _VOLTS, "ARtg_SF": -2})


def _settings(rated_w: int) -> Content:
    said: Said = {"WMax": rated_w, "WMax_SF": 0, "VRef": _VOLTS, "VRef_SF": 0}
    return Content(121, said)


def _status(part: Part) -> Content:
    said: Said = {"PVConn": 7, "StorConn": 0, "ECPConn": 1, "TmSrc": "RTC"}
    return Content(122, {**said, "ActWh": int(part.total["pv"])})


def _controls() -> Content:
    said: Said = {"Conn": 1, "WMaxLimPct": 100.0, "WMaxLimPct_SF": -2, "WMaxLim_Ena": 0}
    return Content(123, said)


def _storage(part: Part) -> Content:
    said: Said = {"WChaMax": 5000, "WChaMax_SF": 0, "ChaState": 100 * part.house.soc}
    said |= {"ChaState_SF": -2, "ChaSt": _CHARGING if part.battery_w > 0 else _DISCHARGING}
    return Content(124, {**said, "StorCtl_Mod": 0})


def _meter(
    watts: float, imported_wh: float, exported_wh: float, *, number: int, length: int = 105
) -> Content:
    """Give a meter; its currents have no sign."""
    phases = 1 if number == 201 else 3  # noqa: PLR2004 - the model of one phase
    said: Said = {"A": abs(watts) / _VOLTS, "PhV": _VOLTS, "Hz": 50.0, "W": watts, "VA": abs(watts)}
    for phase in _PHASES[:phases]:
        said |= {f"Aph{phase}": abs(watts) / phases / _VOLTS, f"PhVph{phase}": _VOLTS}
        said[f"Wph{phase}"] = watts / phases
    said |= {"A_SF": -2, "V_SF": -1, "Hz_SF": -2, "W_SF": 0, "VA_SF": 0, "TotWh_SF": 0}
    said |= {"TotWhImp": _acc32(imported_wh), "TotWhExp": _acc32(exported_wh)}
    return Content(number, said, length=length)


def _grid(part: Part, *, number: int = 203, length: int = 105) -> Content:
    total = part.total
    return _meter(part.grid_w, total["imported"], total["exported"], number=number, length=length)


# ---------------------------------------------------------------------- the makers


def _fronius(part: Part, *, number: int) -> Sequence[Content]:
    """Say 160 and all from 120 on in whole numbers, also where the inverter's model has floats."""
    return [
        _common("Fronius", "Symo 5.0-3-M", length=65),
        _inverter(part, number),
        _nameplate(5000),
        _settings(5000),
        _status(part),
        _controls(),
        _strings(part, unused=number > 110),  # noqa: PLR2004 - the models with floats
    ]


def _solaredge(part: Part) -> Sequence[Content]:
    """Say the meters behind common models of their own: power is positive while feeding in."""
    total, meter = part.total, "SE-WNC-3Y-400-MB"
    return [
        _common("SolarEdge ", "SE10K", length=65),
        _inverter(part, 103, DCV=750.0, DCA=part.pv_w * 1.03 / 750.0),
        _common("WattNode", meter, option="Export+Import", length=65, unit=2),
        _meter(-part.grid_w, total["imported"], total["exported"], number=203),
        _common("WattNode", meter, option="Consumption", length=65, unit=3),
        _meter(-part.load_w, total["load"], 0.0, number=203),
    ]


def _sma(part: Part) -> Sequence[Content]:
    contents = [_common("SMA", "STP10.0-3SE-40", unit=126), _inverter(part, 103)]
    contents += [_nameplate(10_000), _settings(10_000), _status(part), _controls()]
    return [*contents, Content(126, length=64), Content(130, length=60), _strings(part)]


def _acuvim(part: Part) -> Sequence[Content]:
    """Say no more than the first 81 registers of the meter's model."""
    return [_common("Accuenergy", "Acuvim II"), _grid(part, number=204, length=81)]


def _battery(part: Part) -> Sequence[Content]:
    common: Said = {"SoC": 100 * part.house.soc, "SoC_SF": -1, "SoH": 98.5, "SoH_SF": -1}
    scales = {"V_SF": -1, "A_SF": -1, "CellV_SF": -3, "W_SF": 0, "WHRtg_SF": 0, "AHRtg_SF": 0}
    cell_v = part.house.battery_v / CELLS
    bank: Said = {
        **common,
        **scales,
        "WHRtg": part.capacity_wh,
        "AHRtg": part.capacity_wh / RATED_V,
        "DoD": 100 - 100 * part.house.soc,
        "DoD_SF": -1,
        "NCyc": 312,
        "Typ": 4,
        "State": 3,
        "ChaSt": _CHARGING if part.battery_w > 0 else _DISCHARGING,
        "V": part.house.battery_v,
        "A": part.battery_w / part.house.battery_v,
        "W": part.battery_w,
        "Evt1": 0,
        "CellVMax": cell_v + 0.01,
        "CellVMin": cell_v - 0.01,
        "CellVAvg": cell_v,
    }
    strings: Said = {"NStr": 2, "NStrCon": 2, "ModTmpMax": 28.5, "ModTmpMin": 24.0}
    strings |= {"ModTmpAvg": 26.0, "ModTmp_SF": -1, "StrVAvg": part.house.battery_v}
    strings |= {name: scales[name] for name in ("V_SF", "A_SF", "CellV_SF")}
    strings |= {"SoC_SF": -1, "SoH_SF": -1}
    for at in range(2):
        told = {
            "StrNMod": 8,
            "StrSt": 3,
            "StrSoC": 100 * part.house.soc,
            "StrSoH": 98.5,
            "StrA": part.battery_w / part.house.battery_v / 2,
            "StrCellVMax": cell_v + 0.01,
            "StrCellVMin": cell_v - 0.01,
            "StrModTmpAvg": 26.0,
            "StrEvt1": 0,
        }
        strings |= {f"string[{at}].{name}": value for name, value in told.items()}
    return [_common("Simulated", "Bank 15"), Content(802, bank), Content(803, strings, 26 + 64)]


def _hybrid(part: Part) -> Sequence[Content]:
    """Say what the newer models say: power is positive while feeding the house and the grid."""
    total = part.total
    watts = part.load_w - part.grid_w
    ac: Said = {"ACType": 0, "St": 1, "InvSt": 3, "ConnSt": 1, "Alrm": 0, "W": watts}
    ac |= {"VA": abs(watts), "A": watts / _VOLTS, "LNV": _VOLTS, "Hz": 50.0, "TmpCab": 35.5}
    ac |= {"TotWhInj": int(total["load"]), "TotWhAbs": int(total["imported"]), "Tmp_SF": -1}
    ac |= {"A_SF": -2, "V_SF": -1, "Hz_SF": -2, "W_SF": 0, "VA_SF": 0, "TotWh_SF": 0}
    store: Said = {"WHRtg": part.capacity_wh, "SoC": 100 * part.house.soc, "SoH": 99.0}
    store |= {"WHAvail": part.capacity_wh * part.house.soc, "WH_SF": 0, "Pct_SF": -1, "Sta": 0}
    ports = (
        (_PV, part.pv_w, 380.0, total["pv"], 0.0),
        (_STORE, -part.battery_w, part.house.battery_v, total["discharged"], total["charged"]),
    )
    dc: Said = {"NPrt": 2, "PrtAlrms": 0, "DCW": sum(port[1] for port in ports)}
    dc |= {"DCA_SF": -1, "DCV_SF": -1, "DCW_SF": 0, "DCWH_SF": 0, "Tmp_SF": -1}
    for at, (kind, power_w, volts, given_wh, taken_wh) in enumerate(ports):
        told: Said = {"PrtTyp": kind, "ID": at + 1, "DCW": power_w, "DCV": volts}
        told |= {"DCA": power_w / volts, "DCWhInj": int(given_wh), "DCWhAbs": int(taken_wh)}
        told |= {"DCSta": 1, "DCAlrm": 0, "Tmp": 31.5}
        dc |= {f"Prt[{at}].{name}": value for name, value in told.items()}
    contents = [_common("Simulated", "Hybrid 8"), Content(701, ac), Content(713, store)]
    return [*contents, Content(714, dc, 18 + 2 * 25)]


_ROOF, _FIELD = Share(roof_w=5000.0), Share(roof_w=9000.0)
_BANK, _HYBRID = Share(stores=True), Share(panels_w=6000.0, inverts=True)
KINDS: Mapping[str, Kind] = {
    "fronius": Kind(
        "Fronius Symo: model 103, two strings", _ROOF, lambda part: _fronius(part, number=103)
    ),
    "fronius_float": Kind(
        "Fronius Symo that speaks in floats: model 113, one string",
        _ROOF,
        lambda part: _fronius(part, number=113),
    ),
    "solaredge": Kind("SolarEdge with two meters behind it", _FIELD, _solaredge),
    "sma": Kind("SMA STP SE at unit 126: no end of its chain", _FIELD, _sma, unit=126, ends=False),
    "acuvim": Kind("Accuenergy Acuvim II: a meter at base 50000", Share(), _acuvim, base=50000),
    "battery": Kind("a battery of two strings: models 802, 803", _BANK, _battery),
    "hybrid_701": Kind("a hybrid inverter: models 701, 713, 714", _HYBRID, _hybrid),
}
