"""Three days of samples of every kind, for the queries of the dashboards.

The inverter is the demo's: the simulated house, asked by the real bridge in its own bytes. For
kinds that have no bridge yet the values are made here, each in the range of the contract.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridges.voltronic.simulator import Simulator
from heliobus.contract import Contract
from heliobus.house import House as SimulatedHouse
from heliobus.sample import Sample, Value, Values
from heliobus.settings import DeviceSettings
from tests.voltronic_wire import Alone, Wire

SITE = "farm"
END_MS = 1_795_262_400_000  # 2026-11-21T12:00:00Z
DAY_MS = 86_400_000
BEGIN_MS = END_MS - 3 * DAY_MS
_COARSE_MS, _FINE_MS = 900_000, 60_000
_FINE_FROM_MS = END_MS - 3_600_000
CELLS, CHARGERS = 16, 6
_GROUPS = ("status", "warnings", "charger", "settings", "energy")


@dataclass
class _Clock:
    now_s: float

    def __call__(self) -> float:
        return self.now_s


def samples(contract: Contract) -> list[Sample]:
    """Give everything, checked as a publisher's messages are, in the order of time."""
    found = [*_inverter(), *_made(), *_events()]
    for sample in found:
        _, bad = contract.strict(sample.kind, sample.values)
        if bad:
            raise ValueError(f"{sample.device}: {bad}")
    return found


def times_ms() -> Iterator[int]:
    """Give the times of the samples: a quarter of an hour, and a minute in the last hour."""
    yield from range(BEGIN_MS, _FINE_FROM_MS, _COARSE_MS)
    yield from range(_FINE_FROM_MS, END_MS + 1, _FINE_MS)


def _inverter() -> Iterator[Sample]:
    clock = _Clock(BEGIN_MS / 1000)
    link = Wire(Simulator("pi30max", house=SimulatedHouse(clock)))
    bridge = Alone(DeviceSettings(name="inverter", link="memory:", every_s=5.0))
    values: Values = {}
    for at_ms in times_ms():
        clock.now_s = at_ms / 1000
        for group in _GROUPS:
            values |= bridge.poll(link, group)
        yield _sample("inverter", "inverter", at_ms, values)


def _made() -> Iterator[Sample]:
    for at_ms in times_ms():
        sun, hours = _sun(at_ms), (at_ms - BEGIN_MS) / 3_600_000
        yield _sample("bank", "battery", at_ms, _battery(sun, at_ms))
        for number in range(1, CHARGERS + 1):
            yield _sample(f"tristar_{number}", "charger", at_ms, _charger(number, sun, at_ms))
        for role, share in (("grid", -0.4), ("load", 0.5), ("boiler", 0.2), ("pv", -1.0)):
            yield _sample(f"meter_{role}", "meter", at_ms, _meter(share, sun, hours))
        yield _sample("house", "site", at_ms, _site(sun, at_ms, hours))
        yield _sample("roof", "inverter", at_ms, _micro_inverter(sun, at_ms, hours))
        yield _sample("dtu", "gateway", at_ms, _gateway(sun, hours))
        yield _sample("sky", "weather", at_ms, _weather(sun))
        for name, role in (("axpert", "bridge"), ("archive", "sink")):
            component = _component(role, hours)
            yield Sample(SITE, None, name, "component", at_ms, None, component)


def _sample(device: str, kind: str, at_ms: int, values: Mapping[str, Value]) -> Sample:
    return Sample(SITE, "axpert", device, kind, at_ms, None, dict(values))


def _sun(at_ms: int) -> float:
    hour = at_ms % DAY_MS / 3_600_000
    return max(0.0, math.sin(math.pi * (hour - 6.0) / 13.0))


def _today(at_ms: int, per_day: float) -> float:
    """Give a counter that falls to 0 at midnight: 0.0 to `per_day`."""
    return round(per_day * (at_ms % DAY_MS) / DAY_MS, 3)


def _battery(sun: float, at_ms: int) -> dict[str, Value]:
    amps = round(60.0 * sun - 10.0, 1)
    cells = {f"cell_{n:02}_v": round(3.31 + 0.002 * n, 3) for n in range(1, CELLS + 1)}
    balancing = {f"cell_{n:02}_balancing": n == CELLS for n in range(1, CELLS + 1)}
    return {
        "battery_v": 53.1,
        "battery_a": amps,
        "battery_w": round(53.1 * amps, 1),
        "soc_percent": round(50.0 + 40.0 * sun, 1),
        "soh_percent": 98.0,
        "battery_c": 24.5,
        "cell_min_v": 3.312,
        "cell_max_v": 3.342,
        "cell_delta_v": 0.03,
        "charge_limit_a": 100.0,
        "discharge_limit_a": 120.0,
        "cycles": 211,
        "remaining_kwh": 9.8,
        "charge_enabled": True,
        "discharge_enabled": True,
        "balancing": sun > 0.5,
        "charged_today_kwh": _today(at_ms, 12.0),
        "discharged_today_kwh": _today(at_ms, 9.0),
        "temperature_01_c": 23.9,
        "temperature_02_c": 25.1,
        "alarms": [],
        **cells,
        **balancing,
    }


def _charger(number: int, sun: float, at_ms: int) -> dict[str, Value]:
    watts = round(600.0 * sun * (1.0 - 0.02 * number), 1)
    return {
        "charge_state": "bulk" if sun > 0.1 else "asleep",
        "charge_state_code": 5 if sun > 0.1 else 3,
        "pv_w": watts,
        "pv_v": round(90.0 * min(1.0, sun * 5), 1),
        "battery_v": 53.2,
        "battery_a": round(watts / 53.2, 2),
        "charge_target_v": 57.6,
        "heatsink_c": round(20.0 + 30.0 * sun, 1),
        "yield_today_kwh": _today(at_ms, 4.0),
        "yield_kwh": round(1000.0 + (at_ms - BEGIN_MS) / DAY_MS * 4.0, 3),
        "load_today_kwh": 0.0,
        "load_kwh": 0.0,
        "alarms": [],
    }


def _meter(share: float, sun: float, hours: float) -> dict[str, Value]:
    watts = round(500.0 + 2000.0 * share * sun, 1)
    phases: dict[str, Value] = {}
    for phase in ("l1", "l2", "l3"):
        phases |= {f"{phase}_w": round(watts / 3, 1), f"{phase}_v": 230.4, f"{phase}_a": 0.8}
    return {
        "power_w": watts,
        "voltage_v": 230.4,
        "current_a": round(watts / 230.4, 2),
        "frequency_hz": 50.02,
        "power_factor": 0.97,
        # Replaced after 30 hours: the new one begins at 0.
        "import_kwh": round((hours if hours < 30 else hours - 30) * 0.5, 3),
        "export_kwh": round(50.0 + hours * 0.25, 3) if share < 0 else 0.0,
        "alarms": [],
        **phases,
    }


def _site(sun: float, at_ms: int, hours: float) -> dict[str, Value]:
    return {
        "pv_w": round(4000.0 * sun, 1),
        "load_w": 700.0,
        "battery_w": round(3000.0 * sun - 500.0, 1),
        "grid_w": -120.0,
        "generator_w": 0.0,
        "soc_percent": round(50.0 + 40.0 * sun, 1),
        "yield_today_kwh": _today(at_ms, 24.0),
        "yield_kwh": round(5000.0 + hours, 3),
        "load_today_kwh": _today(at_ms, 16.8),
        "load_kwh": round(4000.0 + hours * 0.7, 3),
        "mode": "hybrid",
        "alarms": [],
    }


def _micro_inverter(sun: float, at_ms: int, hours: float) -> dict[str, Value]:
    strings: dict[str, Value] = {}
    for number in range(1, 5):
        strings[f"pv_{number:02}_w"] = round(300.0 * sun, 1)
        strings[f"pv_{number:02}_irradiation_percent"] = round(70.0 * sun, 1)
    return {
        "reachable": sun > 0.0,
        "producing": sun > 0.05,
        "output_w": round(1150.0 * sun, 1),
        "output_v": 231.0,
        "output_hz": 50.01,
        "power_factor": 0.999,
        "efficiency_percent": 95.5,
        "device_c": round(10.0 + 30.0 * sun, 1),
        "power_limit_percent": 100.0,
        "power_limit_w": 1500.0,
        "signal_dbm": -72.0,
        "data_age_s": 4.0,
        "pv_w": round(1200.0 * sun, 1),
        "pv_v": 36.4,
        "pv_a": round(33.0 * sun, 1),
        # Less from day to day: what is left of yesterday's would be seen in today's.
        "yield_today_kwh": _today(at_ms, 8.0 - (at_ms // DAY_MS - BEGIN_MS // DAY_MS)),
        "yield_kwh": round(800.0 + hours * 0.2, 3),
        "alarms": [],
        **strings,
    }


def _gateway(sun: float, hours: float) -> dict[str, Value]:
    return {
        "output_w": round(1150.0 * sun, 1),
        "uptime_s": round(hours * 3600.0),
        "signal_dbm": -61.0,
        "heap_free_bytes": 120_000,
        "alarms": [],
    }


def _weather(sun: float) -> dict[str, Value]:
    return {"temperature_c": 12.5, "irradiance_w_m2": round(900.0 * sun, 1)}


def _component(role: str, hours: float) -> dict[str, Value]:
    common: dict[str, Any] = {
        "component_role": role,
        "is_online": True,
        "uptime_s": hours * 3600.0,
        "component_error": "",
    }
    if role == "sink":
        return {
            **common,
            "lag_s": 0.4,
            "stored_count": round(hours * 720),
            "rewritten_count": 0,
            "rejected_count": 0,
            "holes_count": 0,
        }
    return {
        **common,
        "is_synced": True,
        "polls_count": round(hours * 720),
        "errors_count": 2,
        "offline_count": 0,
        "poll_p50_s": 0.61,
        "poll_p95_s": 0.74,
        "journal_bytes": 2_000_000,
        "journal_age_s": hours * 3600.0,
        "unjournaled_count": 0,
        "waiting_count": 0,
    }


def _events() -> Iterator[Sample]:
    told = (
        ("alert_raised", "warning", "inverter", "overload"),
        ("alert_cleared", "info", "inverter", "overload"),
        ("lost", "error", "bank", "the disk was full"),
    )
    for number, (event, severity, subject, text) in enumerate(told):
        values: Values = {"event": event, "severity": severity, "subject": subject, "text": text}
        values["reason"] = "as seen by the test"
        at_ms = END_MS - (number + 1) * 600_000
        yield Sample(SITE, "axpert", "bus", "event", at_ms, None, values)
