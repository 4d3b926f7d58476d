"""Captured frames of CAN batteries, by the command `decode`: ours, and an optional folder."""

import json
from typing import Any

import pytest

from bridges.can import profiles
from bridges.can.codec import decode, identity
from bridges.can.frames import Profile
from heliobus.contract import load
from tests.can_vectors import answer
from tests.helpers import ROOT, further_vectors

Vector = dict[str, Any]

OURS: list[Vector] = json.loads((ROOT / "bridges/can/vectors/quoted.json").read_text())
SETS: list[Vector] = further_vectors("pylontech_can.json") or []

_LIMITS = {
    "charge_limit_v": 53.2,
    "charge_limit_a": 370.0,
    "discharge_limit_a": 370.0,
    "discharge_limit_v": 46.0,
}
_QUIET = {
    "protection_code": 0,
    "protection_warning_code": 0,
    "alarms": [],
    "charge_enabled": True,
    "discharge_enabled": True,
    "charge_requested": False,
    "full_charge_requested": False,
    "request_code": 0xC0,
}
# The name of a set, the profile that fits it, and all that it must give.
KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "US5000 on Raspberry Pi can0": (
        "pylontech_lv",
        {
            **_QUIET,
            "modules_count": 4,
            "charge_limit_v": 53.2,
            "charge_limit_a": 120.0,
            "discharge_limit_a": 160.0,
            "discharge_limit_v": 45.0,
            "soc_percent": 90,
            "soh_percent": 100,
            "battery_v": 49.96,
            "battery_a": -1.5,
            "battery_w": -74.94,
            "battery_c": 5.5,
            "maker": "PYLON",
        },
    ),
    "US2000/US3000 x10 (setfirelabs classic)": (
        "pylontech_lv",
        {
            **_QUIET,
            **_LIMITS,
            "modules_count": 10,
            "soc_percent": 26,
            "soh_percent": 100,
            "battery_v": 48.66,
            "battery_a": 0.0,
            "battery_w": 0.0,
            "battery_c": 33.0,
            "maker": "PYLON",
        },
    ),
    "US2000C limits only": (
        "pylontech_lv",
        {
            "charge_limit_v": 53.2,
            "charge_limit_a": 10.0,
            "discharge_limit_a": 25.0,
            "discharge_limit_v": 45.0,
        },
    ),
    "Eco-Worthy Cubix 100 x2, 'Pylon V2.0.6' mode": (
        "pylon_v2",
        {
            **_QUIET,
            "modules_count": 2,
            "charge_limit_v": 58.4,
            "charge_limit_a": 200.0,
            "discharge_limit_a": 200.0,
            "discharge_limit_v": 44.8,
            "soc_percent": 30,
            "soh_percent": 100,
            "battery_v": 52.41,
            "battery_a": 0.0,
            "battery_w": 0.0,
            "battery_c": 11.3,
            "maker": "PYLON",
            "firmware": "13.5",
            "temperature_max_c": 11.8,
            "temperature_min_c": 10.8,
            "cell_max_v": 3.279,
            "cell_min_v": 3.274,
            "cell_min_id": "0204",
            "cell_max_id": "0206",
            "temperature_min_id": "0202",
            "temperature_max_id": "0202",
            "modules_online_count": 2,
            "modules_offline_count": 0,
            "modules_charge_blocked_count": 0,
            "modules_discharge_blocked_count": 0,
            "capacity_ah": 200,
            "frame_371": "04 01 02 02 06 02 04 02",
        },
    ),
    "Seplos 0x373 series (time series of cell extremes)": (
        "pylon_v2",
        {
            "cell_min_v": 3.261,
            "cell_max_v": 3.27,
            "temperature_min_c": 21,
            "temperature_max_c": 23,
        },
    ),
    "BYD (powerforum dump) with 0x305 reply": (
        "sma_lv",
        {
            "charge_limit_v": 57.0,
            "charge_limit_a": 10.0,
            "discharge_limit_a": 10.0,
            "discharge_limit_v": 42.0,
            "soc_percent": 50,
            "soh_percent": 100,
            "battery_v": 53.0,
            "battery_a": 10.0,
            "battery_w": 530.0,
            "battery_c": 24.0,
            "alarm_code": 0x028282A8,
            "warning_code": 0x028282A8,
            "alarms": [],
            "maker": "BYD",
            "firmware": "1.2",
            "frame_305": "00 00 00 00 00 00 00 00",
        },
    ),
    "REC-BMS 8S, 250 kbit/s, Victron dialect": (
        "victron_lv",
        {
            "charge_limit_v": 28.7,
            "charge_limit_a": 70.0,
            "discharge_limit_a": 100.0,
            "discharge_limit_v": 23.1,
            "soc_percent": 50,
            "soc_hires_percent": 50.0,
            "soh_percent": 100,
            "battery_v": 26.1,
            "battery_a": 0.0,
            "battery_w": 0.0,
            "battery_c": 29.5,
            "alarm_code": 0x0082A0A8,
            "warning_code": 0x0A800000,
            "alarms": [],
            "capacity_ah": 100,
            "maker": "REC-BMS",
            "serial": "1Q-1845",
            "firmware": "2.6",
        },
    ),
    "Discover AES via Lynx II gateway": (
        "discover",
        {
            "charge_limit_v": 55.8,
            "charge_limit_a": 282.0,
            "discharge_limit_a": 282.0,
            "discharge_limit_v": 43.2,
            "capacity_ah": 300,
            "remaining_ah": 186,
            "soc_percent": 62,
            "soh_percent": 100,
            "battery_v": 52.2,
            "battery_a": -23.9,
            "battery_w": -1247.58,
            "battery_c": 19.0,
            "alarm_code": 0xAFFEAAAB,
            "alarms": [],
            "maker": "DISCOVER",
            "model": "Discover AES",
            "frame_372": "00 00 00 02",
            "frame_373": "01 00 00 00",
        },
    ),
    "Samsung ELPM482 x2 native BMS frame": (
        "pylontech_lv",
        {"frame_502": "45 02 ac 03 ac 03 c0 01"},
    ),
    "diyBMS emulation, early code": (
        "pylontech_lv",
        {
            "charge_limit_v": 58.0,
            "charge_limit_a": 10.0,
            "discharge_limit_a": 10.0,
            "discharge_limit_v": 57.5,
            "battery_v": 52.68,
            "battery_a": 0.0,
            "battery_w": 0.0,
            "battery_c": 14.0,
            "protection_code": 0,
            "protection_warning_code": 0,
            "alarms": [],
            "modules_count": 0,
            "maker": "PYLON",
        },
    ),
    "CONSTRUCTED all V1.2 protection bits": (
        "pylontech_lv",
        {
            "protection_code": 0x099E,
            "protection_warning_code": 0,
            "alarms": [
                "over-voltage protection",
                "under-voltage protection",
                "over-temperature protection",
                "under-temperature protection",
                "discharge over-current protection",
                "charge over-current protection",
                "system error protection",
            ],
            "modules_count": 1,
        },
    ),
    "CONSTRUCTED full-charge request": (
        "pylontech_lv",
        {
            "charge_enabled": True,
            "discharge_enabled": True,
            "charge_requested": False,
            "full_charge_requested": True,
            "request_code": 0xC8,
        },
    ),
    "CONSTRUCTED SMA 'invalid' sentinels": (
        "pylontech_lv",
        {"soc_percent": 50, "battery_v": 52.0},
    ),
}


def line_of(vector: Vector) -> dict[str, Any]:
    frames = [{"id": f["id"], "data": f.get("data", f.get("data_hex"))} for f in vector["frames"]]
    return {"frames": frames}


def bytes_of(vector: Vector) -> dict[int, bytes]:
    frames = line_of(vector)["frames"]
    return {int(frame["id"], 16): bytes.fromhex(frame["data"]) for frame in frames}


def fitting(vector: Vector) -> Profile:
    name = vector["profile"] if "profile" in vector else KNOWN[vector["name"]][0]
    return profiles.load(name, beside=ROOT)


CHECKED = [(v["name"], line_of(v), v["profile"], v["values"]) for v in OURS]
CHECKED += [(v["name"], line_of(v), *KNOWN[v["name"]]) for v in SETS if v["name"] in KNOWN]
EVERY = [*OURS, *SETS]
FITTED = [vector for vector in EVERY if "profile" in vector or vector["name"] in KNOWN]


@pytest.mark.parametrize(
    ("line", "profile", "values"), [one[1:] for one in CHECKED], ids=[one[0] for one in CHECKED]
)
def test_each_set_gives_all_that_it_says_and_nothing_else(
    line: dict[str, Any], profile: str, values: dict[str, Any]
) -> None:
    found = answer(line, profile=profile)
    assert found["ok"]
    assert found["values"] == values
    assert not load().strict("battery", {k: v for k, v in values.items() if k in found["units"]})[1]


@pytest.mark.parametrize("vector", EVERY, ids=[vector["name"] for vector in EVERY])
def test_every_set_decodes_by_every_profile(vector: Vector) -> None:
    for name in profiles.names():
        assert answer(line_of(vector), profile=name)["ok"]


@pytest.mark.parametrize("vector", FITTED, ids=[vector["name"] for vector in FITTED])
def test_no_profile_makes_anything_of_a_set_that_the_contract_refuses(vector: Vector) -> None:
    for name in profiles.names():
        profile = profiles.load(name, beside=ROOT)
        assert load().strict(profile.kind, decode(profile, bytes_of(vector)))[1] == {}


@pytest.mark.parametrize("vector", FITTED, ids=[vector["name"] for vector in FITTED])
def test_a_frame_that_is_cut_gives_fewer_values_and_never_other_ones(vector: Vector) -> None:
    profile = fitting(vector)
    whole = bytes_of(vector)
    values, who = decode(profile, whole), identity(profile, whole)
    for number, data in whole.items():
        for length in range(len(data)):
            cut = {**whole, number: data[:length]}
            left = decode(profile, cut)
            assert {name: values.get(name) for name in left} == left
            for name, text in identity(profile, cut).items():
                assert who[name].startswith(text)


@pytest.mark.parametrize("vector", FITTED, ids=[vector["name"] for vector in FITTED])
def test_a_frame_that_is_padded_with_zeros_gives_the_same_values(vector: Vector) -> None:
    profile = fitting(vector)
    whole = bytes_of(vector)
    values = decode(profile, whole)
    for number, data in whole.items():
        padded = decode(profile, {**whole, number: data.ljust(8, b"\0")})
        assert {name: padded.get(name) for name in values} == values


@pytest.mark.parametrize("vector", FITTED, ids=[vector["name"] for vector in FITTED])
def test_the_usual_profile_says_nothing_that_the_fitting_one_denies(vector: Vector) -> None:
    usual = profiles.load("pylontech_lv", beside=ROOT)
    frames = bytes_of(vector)
    said, right = decode(usual, frames), decode(fitting(vector), frames)
    assert {name: right.get(name) for name in said} == said
